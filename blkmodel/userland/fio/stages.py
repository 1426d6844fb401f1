"""Where bios spend their time on the way through queues, as blktrace's btt would say; and what iostat makes of the
counters that the kernel keeps."""

import copy
from collections.abc import Callable, Iterable
from typing import Any, Self

from blkmodel.include.linux.blk_mq import blk_mq_hw_ctx, blk_mq_queue_data
from blkmodel.include.linux.blkdev import RQF_ELVPRIV, bio, bios_of, gendisk, request, request_queue
from blkmodel.reference.source import rows
from blkmodel.sim import this

STAGES = ("waiting for a tag", "in the scheduler", "queued in software", "in the device", "completing")
"""From when a bio comes to a queue until it has a request; from there until the driver takes that, with a scheduler or
without; until the driver says that it is done; until the bio has ended."""
COLUMNS: dict[str, str] = dict(rows("iostat.tsv", "userland"))
"""What the columns of `iostat -x` mean for Linux 5.4."""


def iostat(counted: list[int], nanoseconds: int) -> dict[str, float]:
    """The columns of `iostat -x`, by how much the numbers in /sys/block/DISK/stat grew in so many nanoseconds."""
    seconds, columns = max(nanoseconds, 1) / 1e9, list[float]()
    for ios, merges, sectors, ticks in (counted[:4], counted[4:8]):
        columns += [ios / seconds, sectors / 2 / seconds, merges / seconds, 100 * merges / max(merges + ios, 1),
                    ticks / max(ios, 1), sectors / 2 / max(ios, 1)]
    columns += [counted[10] / 1000 / seconds, min(counted[9] / 10 / seconds, 100.0)]
    return dict(zip(COLUMNS, columns, strict=True))


class Watch:
    """Notes, while it is entered, how long bios are in each of STAGES of some disks' queues. `spent`: for each disk's
    name the nanoseconds in each stage, of all bios together; `bios`: how many there were."""

    def __init__(self, disks: Iterable[gendisk]) -> None:
        self._disks = [disk for disk in disks if disk.queue.mq_ops is not None]
        self.spent = {disk.disk_name: [0] * len(STAGES) for disk in self._disks}
        self.bios = dict.fromkeys(self.spent, 0)
        self._ways: dict[bio, list[int]] = {}
        self._before = [(disk.queue, disk.queue.make_request_fn, disk.queue.mq_ops) for disk in self._disks]

    def __enter__(self) -> Self:
        for disk in self._disks:
            q, ops = disk.queue, copy.copy(disk.queue.mq_ops)
            ops.queue_rq = self._queue_rq(ops.queue_rq)
            ops.complete = self._complete(ops.complete) if ops.complete else ops.complete
            q.mq_ops, q.make_request_fn = ops, self._make_request(disk.disk_name, q.make_request_fn)
        return self

    def __exit__(self, *exc: object) -> None:
        for q, make_request_fn, ops in self._before:
            q.make_request_fn, q.mq_ops = make_request_fn, ops

    def _make_request(self, disk: str, make_request: Callable[..., int]) -> Callable[..., int]:
        ways = self._ways

        def seen(q: request_queue, bio: Any) -> int:
            if bio not in ways:  # what is left of one that was cut comes once more
                ways[bio] = [this().now]
                bio_end_io = bio.bi_end_io

                def end_io(bio: Any) -> None:
                    bio.bi_end_io = bio_end_io
                    self._ended(disk, ways.pop(bio))
                    bio_end_io(bio)
                bio.bi_end_io = end_io
            return make_request(q, bio)
        return seen

    def _queue_rq(self, queue_rq: Callable[..., int]) -> Callable[..., int]:
        def seen(hctx: blk_mq_hw_ctx, bd: blk_mq_queue_data) -> int:
            rq, now = bd.rq, this().now
            for way in filter(None, map(self._ways.get, bios_of(rq))):
                got = max(rq.start_time_ns, way[0])
                way[1:] = got, now if rq.rq_flags & RQF_ELVPRIV else got, now
            return queue_rq(hctx, bd)
        return seen

    def _complete(self, complete: Callable[..., None]) -> Callable[..., None]:
        def seen(rq: request) -> None:
            for way in filter(None, map(self._ways.get, bios_of(rq))):
                way[4:] = [this().now]
            complete(rq)
        return seen

    def _ended(self, disk: str, way: list[int]) -> None:
        """Add the stages of one bio, unless it never came to the driver."""
        if len(way) > 1:
            self.bios[disk] += 1
            times = [*way, *[this().now] * (len(STAGES) + 1 - len(way))]
            self.spent[disk] = [spent + end - begin for spent, begin, end in
                                zip(self.spent[disk], times, times[1:], strict=False)]
