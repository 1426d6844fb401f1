"""Processes that read disks with shared tags: who has which tag of a hardware queue, and who waits, at each moment."""

from functools import lru_cache
from typing import Any, NamedTuple

from blkmodel import scenario
from blkmodel.block import bio as block_bio, blk_core, blk_mq
from blkmodel.block.blk_mq_h import blk_mq_get_ctx, blk_mq_map_queue
from blkmodel.block.blk_mq_tag_h import bt_wait_ptr
from blkmodel.include.linux.blk_mq import blk_mq_hw_ctx, blk_mq_ops, blk_mq_queue_data, queue_for_each_hw_ctx
from blkmodel.include.linux.blk_types import BLK_STS_AGAIN, REQ_NOWAIT, REQ_OP_READ, bio
from blkmodel.include.linux.blkdev import request, request_queue
from blkmodel.include.linux.genhd import gendisk
from blkmodel.include.linux.sbitmap import DEFINE_SBQ_WAIT
from blkmodel.lib import sbitmap
from blkmodel.services.memory.mm import GFP_KERNEL, PAGE_SIZE, alloc_page
from blkmodel.services.tasks.wait import (
    TASK_UNINTERRUPTIBLE, autoremove_wake_function, init_waitqueue_func_entry, wait_queue_entry)
from blkmodel.sim import booted, this
from blkmodel.sim.kernel import Context

_MOST, _MOST_DISKS = 12, 3
_PAUSE = 1000  # nanoseconds that a process needs from one read to the next; the disks need 10 microseconds for each


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
            process = _Process(scenario.disk(f"nullb{disk}"), cpu, reads)
            kernel.loop.post(process.context, process.go_on, cpu * _PAUSE // len(processes))
        kernel.loop.advance(reads * len(processes) * 1_000_000)
        return tuple(watch.moments)


class _Process:
    """Reads a disk in places that do not lie side by side. Where it finds no tag it sleeps, as in blk_mq_get_tag().

    So that several can sleep and wake in any order, each is a thing that goes on when it is woken: it asks for a
    request without waiting, and stands in the wait queue itself.
    """

    def __init__(self, disk: gendisk, cpu: int, reads: int) -> None:
        self.disk, self.cpu, self.left = disk, cpu, reads
        self.context = Context("task", f"process {cpu}", cpu)
        self.wait: Any = None

    def go_on(self) -> None:
        """Leave the wait queue if it stood in one, begin the next read, and come again after a pause."""
        if self.wait is not None:
            sbitmap.sbitmap_finish_wait(self.bits, self.ws, self.wait)
            self.wait = None
        if self.left and self.read():
            self.left -= 1
            this().loop.post(self.context, self.go_on, _PAUSE)

    def read(self) -> bool:
        """Begin one read; return whether that could be done."""
        if self.submit():
            return True
        hctx = blk_mq_map_queue(self.disk.queue, REQ_OP_READ, blk_mq_get_ctx(self.disk.queue))
        self.bits = hctx.tags.bitmap_tags
        self.ws = bt_wait_ptr(self.bits, hctx)
        blk_mq.blk_mq_run_hw_queue(hctx, False)
        if self.submit():
            return True
        self.wait = DEFINE_SBQ_WAIT()
        init_waitqueue_func_entry(self.wait.wait, self.woken)
        sbitmap.sbitmap_prepare_to_wait(self.bits, self.ws, self.wait, TASK_UNINTERRUPTIBLE)
        if not self.submit():
            return False
        sbitmap.sbitmap_finish_wait(self.bits, self.ws, self.wait)
        self.wait = None
        return True

    def woken(self, waiter: wait_queue_entry) -> int:
        """What the wait queue calls: have the process go on; return whether it was asleep."""
        if not autoremove_wake_function(waiter):
            return 0
        this().loop.post(self.context, self.go_on)
        return 1

    def submit(self) -> bool:
        """Submit a bio of one page; return whether there was a request for it."""
        read = block_bio.bio_alloc_bioset(GFP_KERNEL, 1, block_bio.variables().fs_bio_set)
        read.bi_disk = self.disk
        read.bi_iter.bi_sector = 16 * (16 * self.cpu + self.left)
        block_bio.bio_add_page(read, alloc_page(GFP_KERNEL), PAGE_SIZE, 0)
        read.bi_opf = REQ_OP_READ | REQ_NOWAIT
        refused = []

        def end_io(ended: bio) -> None:
            if ended.bi_status == BLK_STS_AGAIN:
                refused.append(ended)
        read.bi_end_io = end_io
        blk_core.submit_bio(read)
        return not refused


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
