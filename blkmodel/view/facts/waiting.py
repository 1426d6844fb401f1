"""What waits in the kernel before a disk gets it: how deep the queue for tags is, and what schedulers make of it."""

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from blkmodel import scenario
from blkmodel.block.blk_mq_tag_h import blk_mq_tags
from blkmodel.device import Controller, Service
from blkmodel.include.linux.nvme import nvme_cmd_read
from blkmodel.sim import Context, booted, this
from blkmodel.trace import Call, Command, Completion, record
from blkmodel.userland.look import reader
from blkmodel.view.facts.queue_facts import hctxs
from blkmodel.view.facts.words import attempt

_MS, READS = 1_000_000, 4


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
        if nr_requests is not None:
            refused = attempt(scenario.set_queue_file, "nullb0", "nr_requests", nr_requests) or ""

        def look() -> None:
            sched = [hctx.sched_tags for hctx in hctxs(q) if hctx.sched_tags]
            tags = [hctx.tags for hctx in hctxs(q)]
            asleep = [len(list(ws.wait.head)) for each in sched or tags for ws in each.bitmap_tags.ws]
            inflight = str(reader("/sys/block/nullb0/inflight")())
            found.append(Depths(jobs * iodepth, _taken(sched) if sched else None, _taken(tags), q.nr_requests,
                                sum(map(int, inflight.split())), sum(asleep), refused))
        kernel.loop.post(Context("task", "observer", 0), look, _MS // 2)
        scenario.together([{"step": ["aio", {"disk": "nullb0", "cpu": job, "wanted": [
            {"op": "read", "offset": (n * jobs + job) << 13, "length": 4096} for n in range(iodepth)]}]}
            for job in range(jobs)])
        return found[0]


def _taken(those: list[blk_mq_tags]) -> tuple[int, int]:
    """How many of these tags are taken, and how many there are."""
    maps = [tags.bitmap_tags.sb for tags in those]
    taken = sum((word.word & ~word.cleared).bit_count() for bits in maps for word in bits.map)
    return taken, sum(bits.depth for bits in maps)


class Served(NamedTuple):
    """A request as the disk saw it. page: where on the disk. waited: microseconds from its submission to its end."""

    read: bool
    page: int
    waited: float


class Contest(NamedTuple):
    """served: in the order in which the disk fetched them. calls: of the kernel, for each request. travel: pages that a
    disk's head would have to go over."""

    served: tuple[Served, ...]
    calls: float
    travel: int

    def longest(self, read: bool) -> float:
        """How long the last of the reads, or of the writes, took."""
        return max((each.waited for each in self.served if each.read == read), default=0)


@lru_cache(maxsize=32)
def contests(depth: int, writes: int) -> dict[str, Contest]:
    """Let a process submit so many writes, and behind them READS reads, at once: of a page each, all over the disk.
    Then once more, with the next scheduler of three.

    The disk is an NVMe disk with one queue; it takes `depth` commands at once, and 100 µs for each.
    """
    with booted(4):
        scenario.nvme_probe(controller=Controller(1, service=Service(least=100_000)), io_queue_depth=depth + 1)
        return {scheduler: _contest(scheduler, writes) for scheduler in ("none", "mq-deadline", "kyber")}


def contest(scheduler: str, depth: int, writes: int) -> Contest:
    """What one scheduler makes of it."""
    return contests(depth, writes)[scheduler]


def _contest(scheduler: str, writes: int) -> Contest:
    scenario.set_scheduler("nvme0n1", scheduler)
    if scheduler != "none":
        scenario.set_queue_file("nvme0n1", "nr_requests", writes + READS)
    wanted = [{"op": "write" if n < writes else "read", "offset": (37 * n + 11) % 256 << 14, "length": 4096}
              for n in range(writes + READS)]
    begun = this().now
    recording = record(scenario.aio, "nvme0n1", wanted, cpu=1, watched=())
    under_way: dict[int, int] = {}
    served: list[Served] = []
    for event in recording.of(Command, Completion):
        if type(event) is Command:
            under_way[event.command.command_id] = len(served)
            served.append(Served(event.command.opcode == nvme_cmd_read, event.command.slba >> 3, 0))
        else:
            at = under_way[event.completion.command_id]
            served[at] = served[at]._replace(waited=(event.time - begun) / 1000)
    travel = sum(abs(there.page - here.page) for here, there in pairwise(served))
    return Contest(tuple(served), len(recording.of(Call)) / len(served), travel)
