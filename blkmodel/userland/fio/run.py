"""What fio's jobs do: each clone of a job is a task, which reads and writes a disk through the system calls of its
engine."""

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, cast

from blkmodel.fs.aio import io_getevents, io_submit, iocb, kioctx
from blkmodel.include.linux.blkdev import READ, WRITE
from blkmodel.services import (EIO, IS_ERR, O_DIRECT, O_RDONLY, O_RDWR, PTR_ERR, RWF_HIPRI, S_IFBLK, complete,
    completion, devices, filemap_write_and_wait, filp_close, filp_open, i_size_read, invalidate_mapping_pages, iov_iter,
    iov_iter_init, map_user_buffer, new_sync_read, new_sync_write, unmap_user_buffer, usleep_range, vfs_fsync,
    wait_for_completion)
from blkmodel.sim import PAGE_SIZE, Context, this
from blkmodel.userland.fio.jobs import SYNC, Job, JobError

SYNC_IO = 2
"""What a clone does beside READ and WRITE."""
_MOST_IN_NO_TIME = 1 << 12
Io = tuple[int, int, int]
"""What is to be done (READ, WRITE, SYNC_IO), from which byte on, and how many bytes."""


class Side:
    """What came of the reads, the writes, or the syncs: of each the nanoseconds in the call that began it (slat), and
    from there to its end (clat), and how many bytes it moved (lengths)."""

    def __init__(self) -> None:
        self.slat, self.clat, self.lengths = array("q"), array("q"), array("q")


class Clone:
    """One task of a job, on a CPU. sides: what came of its reads, writes and syncs; depths: how often so many were
    under way when one was begun; ends: how often so many were found to have ended; error: the errno that stopped it."""

    def __init__(self, job: Job, number: int, disk: str, cpu: int) -> None:
        self.job, self.number, self.disk, self.cpu = job, number, disk, cpu
        self.sides = [Side(), Side(), Side()]
        self.depths, self.ends = Counter[int](), Counter[int]()
        self.error = self.begin = self.end = self._under_way = self._due = self._in_no_time = self._moved_at = 0
        self._random = Random(f"fio {job.randseed} {number}")
        self._flight: dict[Any, tuple[int, int]] = {}

    def run(self) -> None:
        """Open the disk, do what the job asks for, and close it."""
        job, self.begin = self.job, this().now
        self.end = self.begin
        self._filp = filp = filp_open(self.disk, (O_DIRECT if job.direct else 0)
                                      | (O_RDONLY if job.sides == "r" else O_RDWR))
        if IS_ERR(filp):
            self.error = -PTR_ERR(filp)
            return
        if not job.direct:
            filemap_write_and_wait(filp.f_mapping)
            invalidate_mapping_pages(filp.f_mapping, 0, -1)
        largest = max(size for split in job.split for size, _ in split)
        buffers = [map_user_buffer([1] * -(-largest // PAGE_SIZE)) for _ in range(job.iodepth)]
        for buffer in buffers:
            buffer.write(0, self._random.randbytes(512) * (largest // 512))
        self._free, self._ctx, self._plan = list(buffers), kioctx(), self._planned(i_size_read(filp.f_mapping.host))
        if job.io_submit_mode == "offload":
            self._offload()
        else:
            self._inline()
        self.end = this().now
        for buffer in buffers:
            unmap_user_buffer(buffer)
        filp_close(filp)

    def _planned(self, there: int) -> Iterator[Io]:
        """All that the job does, in order, until its size or its time is used up. `_due` is when it may begin."""
        job, draw, asked, writes = self.job, self._random, [0, 0], 0
        size = there - job.offset if job.size is None else job.size
        if job.offset + size > there:
            raise JobError(f"[{job.name}] size={size}, offset={job.offset}: {self.disk} has {there} bytes")
        least = min(size for split in job.split for size, _ in split)
        left, places, at = (1 << 62) if job.time_based else job.io_size or size, self._places(size // least), 0
        following = [float(self.begin)] * 2
        while left >= least and size >= least and not self.error:
            rw = READ if job.sides == "r" or (job.sides == "rw" and draw.random() * 100 < job.rwmixread) else WRITE
            sizes, shares = zip(*job.split[rw], strict=True)
            length = draw.choices(sizes, shares)[0] if len(sizes) > 1 else sizes[0]
            if job.rw.startswith("rand"):
                at = max(min(next(places) * least, size - length), 0)
            elif at + length > size:
                at = 0
            self._due = max(int(following[rw]), this().now)
            if job.runtime and self._due >= self.begin + job.runtime:
                return
            asked[rw] += length
            if iops := job.rate_iops[rw]:
                following[rw] += draw.expovariate(iops) * 1e9 if job.rate_process == "poisson" else 1e9 / iops
            elif rate := job.rate[rw]:
                following[rw] = self.begin + asked[rw] * 1e9 / rate
            yield rw, job.offset + at, length
            at, left, writes = at + length, left - length, writes + (rw == WRITE)
            if job.fsync and rw == WRITE and not writes % job.fsync:
                yield SYNC_IO, 0, 0

    def _places(self, blocks: int) -> Iterator[int]:
        """Blocks at random: each of them once before any comes again, unless norandommap says that it need not."""
        draw = self._random
        while self.job.norandommap:
            yield draw.randrange(blocks)
        while True:
            moved: dict[int, int] = {}
            for n in range(blocks):
                drawn = draw.randrange(n, blocks)
                yield moved.get(drawn, drawn)
                moved[drawn] = moved.pop(n, n)

    def _inline(self) -> None:
        """Do one after the other, or up to iodepth at once. Before a pause, or a sync, all that were begun end."""
        for rw, at, length in self._plan:
            if rw == SYNC_IO or self._due > this().now:
                self._reap(self._under_way)
                if (microseconds := -((this().now - self._due) // 1000)) > 0:
                    usleep_range(microseconds, microseconds)
            self._do(rw, at, length)
            if not self._free:
                self._reap(1)
        self._reap(self._under_way)

    def _do(self, rw: int, at: int, length: int) -> None:
        """Do something, or (libaio) begin it."""
        begun, filp = this().now, self._filp
        if rw == SYNC_IO:
            self._ended(rw, begun, 0, vfs_fsync(filp, 0), 0)
            return
        self.depths[self._under_way + 1] += 1
        if self.job.ioengine in SYNC:
            moved = iov_iter()
            iov_iter_init(moved, rw, self._free[0], 0, length)
            flags = RWF_HIPRI if self.job.hipri else 0
            result = (new_sync_read if rw == READ else new_sync_write)(filp, moved, at, flags)
            self.ends[1] += 1
            self._ended(rw, begun, 0, result, length)
            return
        self._under_way += 1
        this().loop.rested()  # as in new_sync_read(): back from the last call, another task could go on
        asked = iocb(rw, filp, self._free.pop(), at, length)
        self._flight[asked] = begun, 0
        if (result := io_submit(self._ctx, [asked])) < 0:
            self._end(asked, result)
        elif asked in self._flight:
            self._flight[asked] = begun, this().now - begun

    def _reap(self, least: int) -> None:
        """Wait for so many to end, and take all that have."""
        while least > 0:
            events = io_getevents(self._ctx, 1)
            self.ends[len(events)] += 1
            least -= len(events)
            for event in events:
                self._end(event.obj, event.res)

    def _end(self, asked: iocb, result: int) -> None:
        begun, slat = self._flight.pop(asked)
        self._free.append(asked.buffer)
        self._under_way -= 1
        self._ended(asked.rw, begun, slat, result, asked.length)

    def _ended(self, rw: int, begun: int, slat: int, result: int, length: int) -> None:
        """Note what came of one; an error stops the job."""
        if result < length:
            self.error = self.error or (-result if result < 0 else EIO)
            return
        side, now = self.sides[rw], this().now
        side.slat.append(slat)
        side.clat.append(now - begun - slat)
        side.lengths.append(length)
        self._in_no_time = self._in_no_time + 1 if now == self._moved_at else 0
        self._moved_at = now
        if self._in_no_time > _MOST_IN_NO_TIME and self.job.time_based:
            raise JobError(f"[{self.job.name}] time_based: {self.disk} takes no time, so the job would never end")

    # io_submit_mode=offload: each begins at its time, in a thread of its own, whatever became of those before it. Only
    # where iodepth of them are under way the next one waits.

    def _offload(self) -> None:
        self._ctx, self._done, self._held = kioctx(events=cast(Any, self)), completion(), False
        self._prepare()
        wait_for_completion(self._done)

    def _prepare(self) -> None:
        """Have the next one begin when it is due."""
        self._coming = next(self._plan, None)
        if self._coming is not None:
            self._post(max(self._due - this().now, 0))
        elif not self._under_way:
            complete(self._done)

    def _post(self, delay: int) -> None:
        this().loop.post(Context("task", f"{self.job.name} {self.number}", self.cpu), self._arrive, delay)

    def _arrive(self) -> None:
        """Begin one; before that, as this may take a while, see to the next."""
        if not self._free:
            self._held = True
            return
        io, buffer = self._coming, self._free.pop()
        assert io is not None
        self._under_way += 1
        self._prepare()
        self._under_way -= 1
        self._free.append(buffer)
        self._do(*io)

    def append(self, event: Any) -> None:
        """One has ended, which the kernel adds to the events: let the one begin that was held back for it."""
        self.ends[1] += 1
        self._end(event.obj, event.res)
        if self._held:
            self._held = False
            self._post(0)
        elif self._coming is None and not self._under_way:
            complete(self._done)


def node_of(job: Job, disk: str | None) -> str:
    """The disk below /dev that a job reads and writes: the one that it names, else `disk`. JobError: there is none."""
    there = {name for name, node in devices().nodes.items() if node.mode == S_IFBLK}
    named = job.filename.removeprefix("/dev/")
    name = named if named in there or disk is None else disk
    if name not in there:
        raise JobError(f"[{job.name}] filename={job.filename or disk or ''}: it must be a disk, as the model has no "
                       f"file systems: {', '.join(f'/dev/{name}' for name in sorted(there)) or 'but there is none'}")
    return name


def run(jobs: Sequence[Job], disk: str | None) -> list[list[Clone]]:
    """Run jobs side by side, those behind a stonewall after those before it. Returns the clones, a list a group."""
    kernel, groups, turn = this(), list[list[Clone]](), 0
    for job in jobs:
        if job.stonewall or not groups:
            groups.append([])
        cpus = sorted(kernel.online & {*(job.cpus_allowed or kernel.online)})
        if not cpus:
            raise JobError(f"[{job.name}] cpus_allowed: none of them is online; online are {sorted(kernel.online)}")
        for number in range(job.numjobs):
            cpu = cpus[(number if job.cpus_allowed else turn) % len(cpus)]
            groups[-1].append(Clone(job, number, node_of(job, disk), cpu))
            turn += 1
    for group in groups:
        if stuck := kernel.tasks([(each.job.name, each.cpu, each.run, each.job.startdelay) for each in group]):
            raise JobError(f"a job does not go on: {kernel.loop.described(stuck[0])}")
    return groups
