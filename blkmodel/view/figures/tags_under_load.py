"""The tags of hardware queues while several processes read: who has them, who waits, and what is whose share.

    live(tags_under_load, processes="0 0 0 1", reads=(1, 12), queues=(1, 4), depth=(1, 32), step=Steps(last_step))
"""

from functools import lru_cache
from html import escape
from typing import NamedTuple

from blkmodel import scenario
from blkmodel.block import bio as block_bio, blk_core, blk_mq
from blkmodel.block.blk_mq_h import blk_mq_get_ctx, blk_mq_map_queue
from blkmodel.block.blk_mq_tag_h import bt_wait_ptr
from blkmodel.include.linux.blk_mq import blk_mq_ops, queue_for_each_hw_ctx
from blkmodel.include.linux.blk_types import BLK_STS_AGAIN, REQ_NOWAIT, REQ_OP_READ
from blkmodel.include.linux.sbitmap import DEFINE_SBQ_WAIT
from blkmodel.lib import sbitmap
from blkmodel.services.memory.gfp import GFP_KERNEL, alloc_page
from blkmodel.services.tasks.wait import TASK_UNINTERRUPTIBLE, autoremove_wake_function, init_waitqueue_func_entry
from blkmodel.sim import booted, this
from blkmodel.sim.kernel import Context
from blkmodel.sim.memory import PAGE_SIZE
from blkmodel.view.draw.figure import group, panel, rect, text
from blkmodel.view.draw.styles import sheets

__all__ = ["last_step", "tags_under_load"]

_MOST, _MOST_DISKS, _PER_ROW, _CELL = 12, 3, 16, 24
_PAUSE = 1000  # nanoseconds that a process needs from one read to the next; the disks need 10 microseconds for each
_COLOURS = ("default", "poll", "read")
_STYLE = sheets("base", "tags_under_load")


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


def last_step(processes="0 0 0 1", reads=6, queues=1, depth=8):
    """How many moments there are after the first."""
    return len(moments(_processes(processes), reads, queues, depth)) - 1


def tags_under_load(processes="0 0 0 1", reads=6, queues=1, depth=8, step=0):
    """Draw all tags after `step` of what happens while processes read, each on a CPU of its own.

    processes: the disk that each of them reads, 0 to 2. Each begins so many reads, one each microsecond, where no other
    is; a disk takes 10. The disks share one controller's tags: `queues` hardware queues of `depth` tags each.
    """
    told = moments(_processes(processes), reads, queues, depth)
    if step >= len(told):
        raise ValueError(f"step {step}: only {len(told) - 1} things happen")
    now = told[step]
    disks = max(_processes(processes)) + 1
    shown = "".join(_queue(n, queue, now.changed) for n, queue in enumerate(now.queues))
    label = " ".join([now.said, *(_describe(n, queue) for n, queue in enumerate(now.queues))])
    return panel("blk-load", label, _STYLE, f'<p class="now">{escape(now.said)}</p><p>{_key(disks)}</p>',
                 f'<div class="queues" aria-hidden="true">{shown}</div>')


def _processes(text):
    """The disk that each process reads."""
    words = text.replace(",", " ").split()
    for word in words:
        if not word.isdecimal() or int(word) >= _MOST_DISKS:
            raise ValueError(f"{word!r} is no disk: type 0, 1 or 2 for each process, such as 0 0 0 1")
    if not 0 < len(words) <= _MOST:
        raise ValueError(f"{len(words)} processes: type a disk for each of 1 to {_MOST}, such as 0 0 0 1")
    return tuple(map(int, words))


@lru_cache(maxsize=32)
def moments(processes, reads, queues, depth):
    """Let them read. Returns a Moment for the beginning, and for each request that the driver gets or is done with."""
    with booted(len(processes)) as kernel:
        scenario.null_blk_load(nr_devices=max(processes) + 1, shared_tags=1, submit_queues=min(queues, len(processes)),
                               hw_queue_depth=depth, irqmode=2)
        disks = [scenario.disk(f"nullb{n}").queue for n in range(max(processes) + 1)]
        for n, q in enumerate(disks):
            scenario.set_scheduler(f"nullb{n}", "none")
            _forget(q)
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

    def __init__(self, disk, cpu, reads):
        self.disk, self.cpu, self.left = disk, cpu, reads
        self.context = Context("task", f"process {cpu}", cpu)
        self.wait = self.ws = None

    def go_on(self):
        if self.wait is not None:
            sbitmap.sbitmap_finish_wait(self.bits, self.ws, self.wait)
            self.wait = None
        if self.left and self.read():
            self.left -= 1
            this().loop.post(self.context, self.go_on, _PAUSE)

    def read(self):
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

    def woken(self, waiter):
        if not autoremove_wake_function(waiter):
            return 0
        this().loop.post(self.context, self.go_on)
        return 1

    def submit(self):
        """Submit a bio of one page; return whether there was a request for it."""
        bio = block_bio.bio_alloc_bioset(GFP_KERNEL, 1, block_bio.variables().fs_bio_set)
        bio.bi_disk = self.disk
        bio.bi_iter.bi_sector = 16 * (16 * self.cpu + self.left)
        block_bio.bio_add_page(bio, alloc_page(GFP_KERNEL), PAGE_SIZE, 0)
        bio.bi_opf = REQ_OP_READ | REQ_NOWAIT
        refused = []

        def end_io(bio):
            if bio.bi_status == BLK_STS_AGAIN:
                refused.append(bio)
        bio.bi_end_io = end_io
        blk_core.submit_bio(bio)
        return not refused


def _forget(q):
    """The scan for partitions is long past: its timer has found nothing to do, and the queue counts as idle."""
    q.timeout_work.func(q.timeout_work)


class _Watch:
    """Notes the tags whenever a driver gets a request, and whenever one of its requests is freed."""

    def __init__(self, disks, processes):
        self.disks, self.processes = disks, processes
        self.moments = [Moment("All tags are free.", (), self.queues())]
        for n, q in enumerate(disks):
            q.mq_ops = self.watched(n, q.mq_ops)

    def watched(self, disk, driver):
        def queue_rq(hctx, bd):
            rq = bd.rq
            rq.end_io = lambda rq, error: self.ended(disk, rq)
            place, cpu = (hctx.queue_num, rq.tag), rq.mq_ctx.cpu
            self.note(f"CPU {cpu} reads disk {disk}, with tag {rq.tag} of hardware queue {hctx.queue_num}.", place)
            return driver.queue_rq(hctx, bd)
        return blk_mq_ops(queue_rq=queue_rq, complete=driver.complete, timeout=driver.timeout)

    def ended(self, disk, rq):
        place, cpu = (rq.mq_hctx.queue_num, rq.tag), rq.mq_ctx.cpu
        blk_mq.blk_mq_free_request(rq)
        self.note(f"CPU {cpu}'s read of disk {disk} is done: tag {place[1]} of hardware queue {place[0]} comes back.",
                  place)

    def note(self, said, place):
        self.moments.append(Moment(said, place, self.queues()))

    def queues(self):
        return tuple(self.queue(n) for n in range(self.disks[0].nr_hw_queues))

    def queue(self, n):
        hctxs = [list(queue_for_each_hw_ctx(q))[n] for q in self.disks]
        tags = hctxs[0].tags
        bits, owners = tags.bitmap_tags, []
        for tag in range(tags.nr_tags):
            word = bits.sb.map[tag >> bits.sb.shift]
            taken = (word.word & ~word.cleared) >> (tag & (1 << bits.sb.shift) - 1) & 1
            rq = tags.rqs[tag] if taken else None
            owners.append((self.disks.index(rq.q), rq.mq_ctx.cpu) if rq is not None else None)
        waiting = [waiter.private.cpu for ws in bits.ws for waiter in ws.wait.head]
        users = tags.active_queues
        share = max(-(-tags.nr_tags // users), 4) if users and tags.nr_tags > 1 else tags.nr_tags
        most = tags.nr_tags if len(hctxs) == 1 else min(share, tags.nr_tags)
        has = [sum(owner is not None and owner[0] == disk for owner in owners) for disk in range(len(hctxs))]
        return Queue(tuple(owners), tuple(
            Share(disk, has[disk], most, tuple(cpu for cpu in waiting if self.processes[cpu] == disk))
            for disk in range(len(hctxs))))


def _cpus(cpus):
    return f"CPU {cpus[0]}" if len(cpus) == 1 else f"CPUs {', '.join(map(str, cpus))}"


def _share(share, alone):
    most = "" if alone else f" of at most {share.most}"
    waits = f"; {_cpus(share.waits)} wait{'s' if len(share.waits) == 1 else ''} for one" if share.waits else ""
    return f"disk {share.disk} has {share.has}{most}{waits}"


def _describe(number, queue):
    free = sum(owner is None for owner in queue.tags)
    return (f"Hardware queue {number}: {free} of {len(queue.tags)} tags are free; "
            + "; ".join(_share(share, len(queue.shares) == 1) for share in queue.shares) + ".")


def _queue(number, queue, changed):
    rows = -(-len(queue.tags) // _PER_ROW)
    width, height = min(len(queue.tags), _PER_ROW) * _CELL + 3, rows * _CELL + 3
    cells = "".join(_tag(tag, owner, (number, tag) == changed) for tag, owner in enumerate(queue.tags))
    shares = "".join(f"<li>{escape(_share(share, len(queue.shares) == 1))}</li>" for share in queue.shares)
    return (f'<div data-key="queue{number}"><h4>hardware queue {number}</h4><svg xmlns="http://www.w3.org/2000/svg" '
            f'class="blk-load-tags" width="{width}" height="{height}" viewBox="0 0 {width} {height}">{cells}</svg>'
            f"<ul>{shares}</ul></div>")


def _tag(tag, owner, new):
    x, y, size = tag % _PER_ROW * _CELL + 1, tag // _PER_ROW * _CELL + 1, _CELL - 2
    parts = [rect(x, y, size, size, f"box {_COLOURS[owner[0]]}" if owner else "box", 2)]
    if owner:
        parts.append(text(x + size / 2, y + size / 2 + 4, owner[1], "num on", "middle"))
    if new:
        parts.append(rect(x - .5, y - .5, size + 1, size + 1, "new", 3))
    return group(parts, "part", f"tag {tag}: " + (f"CPU {owner[1]}'s, for disk {owner[0]}" if owner else "free"))


def _key(disks):
    cells = [(f'<rect class="box {_COLOURS[disk]}" x="1" y="1" width="13" height="13" rx="2"/>',
              f"taken for disk {disk}, by this CPU") for disk in range(disks)]
    cells += [('<rect class="box" x="1" y="1" width="13" height="13" rx="2"/>', "free"),
              ('<rect class="new" x="2" y="2" width="11" height="11" rx="2"/>', "just taken or given back")]
    return "".join(f'<span class="key dim"><svg xmlns="http://www.w3.org/2000/svg" class="blk-load-key" width="15" '
                   f'height="15" aria-hidden="true">{shape}</svg>{what}</span>' for shape, what in cells)
