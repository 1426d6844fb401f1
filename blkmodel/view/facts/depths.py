"""How deep a disk is asked, and how deep it goes: what is wanted, who has which tag, and who waits, at the fullest."""

from functools import lru_cache
from typing import NamedTuple

from blkmodel import scenario
from blkmodel.block.blk_mq_tag_h import blk_mq_tags
from blkmodel.errors import KernelError
from blkmodel.sim import booted
from blkmodel.sim.kernel import Context
from blkmodel.userland.look import reader
from blkmodel.view.facts.queue_facts import hctxs

_MS = 1_000_000


class Depths(NamedTuple):
    """Numbers of a disk, of all its hardware queues together. sched: taken, and all, of the scheduler; None
    without one. tags: the driver's. nr_requests, inflight: what the files say. asleep: processes that wait for a tag.
    refused: the error that writing nr_requests gave, or nothing."""

    wanted: int
    sched: tuple[int, int] | None
    tags: tuple[int, int]
    nr_requests: int
    inflight: int
    asleep: int
    refused: str


@lru_cache(maxsize=16)
def depths(jobs: int, iodepth: int, queues: int, depth: int, scheduler: str, nr_requests: int | None) -> Depths:
    """What a null_blk disk holds half a millisecond after processes, one on each CPU, began to read; a read takes one.

    iodepth: reads that each submits at once. depth: tags that the driver has for each hardware queue. nr_requests: what
    is written to that file before; None: nothing.
    """
    with booted(jobs) as kernel:
        scenario.null_blk_load(submit_queues=queues, hw_queue_depth=depth, irqmode=2, completion_nsec=_MS)
        scenario.set_scheduler("nullb0", scheduler)
        q, refused, found = scenario.disk("nullb0").queue, "", []
        try:
            if nr_requests is not None:
                scenario.set_queue_file("nullb0", "nr_requests", nr_requests)
        except KernelError as why:
            refused = why.name

        def look() -> None:
            sched = [hctx.sched_tags for hctx in hctxs(q) if hctx.sched_tags]
            tags = [hctx.tags for hctx in hctxs(q)]
            asleep = [len(list(ws.wait.head)) for each in sched or tags for ws in each.bitmap_tags.ws]
            inflight = str(reader("/sys/block/nullb0/inflight")())
            found.append(Depths(jobs * iodepth, _taken(sched) if sched else None, _taken(tags), q.nr_requests,
                                sum(map(int, inflight.split())), sum(asleep), refused))
        kernel.loop.post(Context("task", "observer", 0), look, _MS // 2)
        scenario.together([("nullb0", [{"op": "read", "offset": (n * jobs + job) << 13, "length": 4096}
                                       for n in range(iodepth)], job) for job in range(jobs)])
        return found[0]


def _taken(those: list[blk_mq_tags]) -> tuple[int, int]:
    """How many of these tags are taken, and how many there are."""
    maps = [tags.bitmap_tags.sb for tags in those]
    taken = sum((word.word & ~word.cleared).bit_count() for bits in maps for word in bits.map)
    return taken, sum(bits.depth for bits in maps)
