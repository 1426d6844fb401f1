"""The memory of a tag set: the page runs of its requests, and what the rest of a device takes."""

from itertools import pairwise

from blkmodel.block.blk_mq_tag_h import blk_mq_tags
from blkmodel.include.linux.blk_mq import blk_mq_tag_set
from blkmodel.include.linux.blkdev import request
from blkmodel.services import PAGE_SIZE
from blkmodel.sim import Memory, format_cpulist, sizeof
from blkmodel.view.facts.queue_facts import queue_of
from blkmodel.view.facts.words import many


def contents(tags: blk_mq_tags, memory: Memory, cmd_size: int = 0) -> list[dict[str, int]]:
    """Return one dict a run: addr, size, order, first and last tag, stride and waste; sizes in bytes.

    cmd_size: bytes of the driver's data behind each request; needed only where there is a single request.
    """
    where = {rq._addr: tag for tag, rq in enumerate(tags.static_rqs) if rq is not None}
    stride = min((b - a for a, b in pairwise(sorted(where))), default=-(-(sizeof(request) + cmd_size) // 64) * 64)
    runs = []
    for page in tags.page_list:
        size, first, inside = PAGE_SIZE << page.private, where[page._addr], 1
        while where.get(page._addr + inside * stride) == first + inside and (inside + 1) * stride <= size:
            inside += 1
        runs.append({"addr": page._addr, "size": size, "order": page.private, "first": first,
                     "last": first + inside - 1, "stride": stride,
                     "waste": size - inside * stride, "node": memory.live[page._addr].node})
    return runs


def summary(runs: list[dict[str, int]]) -> str:
    """How many requests in how many runs, and how much of them is never used."""
    size, waste = sum(run["size"] for run in runs), sum(run["waste"] for run in runs)
    count = sum(run["last"] - run["first"] + 1 for run in runs)
    return (f"{many(count, 'request')} of {runs[0]['stride']} bytes in {many(len(runs), 'page run')}, {size >> 10} "
            f"KiB; {waste} bytes ({waste / size:.0%}) are never used.")


def describe(runs: list[dict[str, int]]) -> str:
    """Say in words what the runs hold."""
    alike: dict[tuple, list] = {}
    for run in runs:
        alike.setdefault((run["order"], run["waste"]), []).append(run)
    return " ".join([summary(runs)] + [
        f"{many(len(same), 'run')} of order {order}, {same[0]['size'] >> 10} KiB: tags {_spans(same)}, {waste} bytes "
        f"left over{' in each' if len(same) > 1 else ''}." for (order, waste), same in alike.items()])


def _spans(runs: list[dict[str, int]]) -> str:
    """The tags in these runs, as ranges."""
    tags = {tag for run in runs for tag in range(run["first"], run["last"] + 1)}
    return format_cpulist(tags).replace(",", ", ").replace("-", " to ")


def load_driver(driver: str, depth: int, queues: int) -> blk_mq_tag_set:
    """Load the driver and return the tag set of its first disk."""
    return queue_of(driver, queues, depth=depth).tag_set

