"""Processes that read disks with shared tags: who has which tag of a hardware queue, and who waits, at each moment."""

from functools import lru_cache, partial
from typing import NamedTuple

from blkmodel import scenario
from blkmodel.block import bio as block_bio, blk_core, blk_mq
from blkmodel.include.linux.blk_mq import blk_mq_hw_ctx, blk_mq_ops, blk_mq_queue_data, queue_for_each_hw_ctx
from blkmodel.include.linux.blkdev import REQ_OP_READ, gendisk, request, request_queue
from blkmodel.services import GFP_KERNEL, PAGE_SIZE, alloc_page, usleep_range
from blkmodel.sim import Context, booted

_MOST, _MOST_DISKS = 12, 3
_PAUSE = 1  # microsecond that a process needs from one read to the next; the disks need 10 microseconds for each


class Share(NamedTuple):
    """What one disk has of a hardware queue's tags: how many, how many it may have, and the CPUs that wait for one."""

    disk: int
    has: int
    most: int
    waits: tuple[int, ...]


class Queue(NamedTuple):
    """A hardware queue. tags: for each tag (disk, CPU), or None where it is free."""

    tags: tuple
    shares: tuple[Share, ...]


class Moment(NamedTuple):
    """The tags after something happened, and what that was: (queue, tag) is what it changed, if anything."""

    said: str
    changed: tuple
    queues: tuple[Queue, ...]


def disks_of(text: str) -> tuple[int, ...]:
    """The disk that each process reads."""
    words = text.replace(",", " ").split()
    for word in words:
        if not word.isdecimal() or int(word) >= _MOST_DISKS:
            raise ValueError(f"{word!r} is no disk: type 0, 1 or 2 for each process, such as 0 0 0 1")
    if not 0 < len(words) <= _MOST:
        raise ValueError(f"{len(words)} processes: type a disk for each of 1 to {_MOST}, such as 0 0 0 1")
    return tuple(map(int, words))


@lru_cache(maxsize=32)
def moments(processes: tuple[int, ...], reads: int, queues: int, depth: int) -> tuple[Moment, ...]:
    """Have processes read the disks with these numbers, `reads` reads each, at the same time.

    Returns a Moment for the beginning, and for each request that the driver gets or is done with.
    """
    with booted(len(processes)) as kernel:
        scenario.null_blk_load(nr_devices=max(processes) + 1, shared_tags=1, submit_queues=min(queues, len(processes)),
                               hw_queue_depth=depth, irqmode=2)
        disks = [scenario.disk(f"nullb{n}").queue for n in range(max(processes) + 1)]
        for n, q in enumerate(disks):
            scenario.set_scheduler(f"nullb{n}", "none")
            q.timeout_work.func(q.timeout_work)  # the scan for partitions is long past: the timer finds nothing to do
        watch = _Watch(disks, processes)
        for cpu, disk in enumerate(processes):
            kernel.loop.post(Context("task", f"process {cpu}", cpu),
                             partial(_reads, scenario.disk(f"nullb{disk}"), cpu, reads),
                             cpu * 1000 * _PAUSE // len(processes))
        kernel.loop.advance(reads * len(processes) * 1_000_000)
        return tuple(watch.moments)


def _reads(disk: gendisk, cpu: int, reads: int) -> None:
    """What a process does: begin so many reads of a disk, in places that do not lie side by side, with a pause after
    each. Where there is no tag it sleeps."""
    for left in range(reads, 0, -1):
        read = block_bio.bio_alloc_bioset(GFP_KERNEL, 1, block_bio.variables().fs_bio_set)
        read.bi_disk = disk
        read.bi_iter.bi_sector = 16 * (16 * cpu + left)
        block_bio.bio_add_page(read, alloc_page(GFP_KERNEL), PAGE_SIZE, 0)
        read.bi_opf, read.bi_end_io = REQ_OP_READ, block_bio.bio_put
        blk_core.submit_bio(read)
        usleep_range(_PAUSE, _PAUSE)


class _Watch:
    """Notes the tags whenever a driver gets a request, and whenever one of its requests is freed."""

    def __init__(self, disks: list[request_queue], processes: tuple[int, ...]) -> None:
        self.disks, self.processes = disks, processes
        self.moments = [Moment("All tags are free.", (), self.queues())]
        for n, q in enumerate(disks):
            q.mq_ops = self.watched(n, q.mq_ops)

    def watched(self, disk: int, driver: blk_mq_ops) -> blk_mq_ops:
        """A driver's operations, with a note before each request that it gets and after each that ends."""
        def queue_rq(hctx: blk_mq_hw_ctx, bd: blk_mq_queue_data) -> int:
            rq = bd.rq
            rq.end_io = lambda rq, error: self.ended(disk, rq)
            place, cpu = (hctx.queue_num, rq.tag), rq.mq_ctx.cpu
            self.note(f"CPU {cpu} reads disk {disk}, with tag {rq.tag} of hardware queue {hctx.queue_num}.", place)
            return driver.queue_rq(hctx, bd)
        return blk_mq_ops(queue_rq=queue_rq, complete=driver.complete, timeout=driver.timeout)

    def ended(self, disk: int, rq: request) -> None:
        """Free a request as its end_io, and note that its tag came back."""
        place, cpu = (rq.mq_hctx.queue_num, rq.tag), rq.mq_ctx.cpu
        blk_mq.blk_mq_free_request(rq)
        self.note(f"CPU {cpu}'s read of disk {disk} is done: tag {place[1]} of hardware queue {place[0]} comes back.",
                  place)

    def note(self, said: str, place: tuple[int, int]) -> None:
        """Add a moment: what was said, and (queue, tag) of what changed."""
        self.moments.append(Moment(said, place, self.queues()))

    def queues(self) -> tuple[Queue, ...]:
        """How all hardware queues are now."""
        return tuple(self.queue(n) for n in range(self.disks[0].nr_hw_queues))

    def queue(self, n: int) -> Queue:
        """How the n-th hardware queue is now: the owner of each tag, and each disk's share of them."""
        hctxs = [list(queue_for_each_hw_ctx(q))[n] for q in self.disks]
        tags = hctxs[0].tags
        bits, owners = tags.bitmap_tags, []
        for tag in range(tags.nr_tags):
            word = bits.sb.map[tag >> bits.sb.shift]
            rq = tags.rqs[tag] if (word.word & ~word.cleared) >> (tag & (1 << bits.sb.shift) - 1) & 1 else None
            owners.append((self.disks.index(rq.q), rq.mq_ctx.cpu) if rq is not None else None)
        waiting = [waiter.private.cpu for ws in bits.ws for waiter in ws.wait.head]
        users = tags.active_queues
        share = max(-(-tags.nr_tags // users), 4) if users and tags.nr_tags > 1 else tags.nr_tags
        most = tags.nr_tags if len(hctxs) == 1 else min(share, tags.nr_tags)
        has = [sum(owner is not None and owner[0] == disk for owner in owners) for disk in range(len(hctxs))]
        return Queue(tuple(owners), tuple(
            Share(disk, has[disk], most, tuple(cpu for cpu in waiting if self.processes[cpu] == disk))
            for disk in range(len(hctxs))))
