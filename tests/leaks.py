"""What Linux 5.4 loses where an allocation fails, by kind and number."""

import random
import re
from collections import Counter

TABLE = Counter({"disk_part_tbl": 1})
HCTX = Counter({"blk_mq_hw_ctx": 1, "pointer[]": 1, "sbitmap_word[]": 1, "blk_flush_queue": 1, "request": 1})
BLOCKING = HCTX + Counter({"srcu_data[]": 1})


def kinds(memory):
    """How many allocations of each kind there are."""
    return Counter(each.kind for each in memory.live.values())


def lost(before, after):
    """What is there besides: pages in which the requests of hardware queues lay, and one disk's table of partitions,
    or hardware queues of one request queue. Anything else, and less than before, is an error."""
    besides = after - before
    assert not before - after
    other = {kind: number for kind, number in besides.items() if not re.fullmatch(r"pages\(\d+\)", kind)}
    queues = other.get("blk_mq_hw_ctx")
    assert other in ({}, TABLE, dict.fromkeys(HCTX, queues), dict.fromkeys(BLOCKING, queues))
    return besides


def but_a_table(before, after):
    """Memory in use after, of what was before: the same, or one disk's table of partitions more."""
    more = {key: size - before.get(key, 0) for key, size in after.items() if size != before.get(key, 0)}
    assert before.keys() <= after.keys()
    assert all(kind == "disk_part_tbl" and size == 40 for (kind, _), size in more.items()), more
    return after


def drawn(share, seed, kinds=None):
    """What Memory.fail_if() takes, to make a share (0 to 1) of the attempts fail; of these kinds only, where given."""
    draw = random.Random(seed)
    return lambda kind, size: (kinds is None or kind in kinds) and draw.random() < share
