"""blktrace: what the kernel's trace points tell of a disk, in the lines that blkparse prints.

The mirror has no calls of trace points. Each stands beside a call that the mirror makes: it is the first thing that a
function does, or the last, or comes just before or after another call. There the interpreter is asked for the values
that the trace point has in its hands.
"""

from collections import Counter
from collections.abc import Iterator
from types import FrameType
from typing import Any, NamedTuple, Self

from blkmodel.block.blk_core import blk_status_to_errno
from blkmodel.drivers.md.dm import dm_disk
from blkmodel.include.linux.bio import bio_sectors
from blkmodel.include.linux.blk_types import (BIO_TRACE_COMPLETION, REQ_FUA, REQ_META, REQ_OP_DISCARD, REQ_OP_FLUSH,
    REQ_OP_MASK, REQ_OP_SECURE_ERASE, REQ_PREFLUSH, REQ_RAHEAD, REQ_SYNC, bio, bio_clear_flag, bio_flagged, op_is_write)
from blkmodel.include.linux.blkdev import blk_rq_bytes, blk_rq_pos, request, request_queue, rq_data_dir
from blkmodel.include.linux.genhd import disk_devt, part_devt
from blkmodel.reference import mirror
from blkmodel.services import MAJOR, MINOR, whole_disks
from blkmodel.sim import this
from blkmodel.trace import watch


class Event(NamedTuple):
    """What a trace point tells: the letter of the action, whose queue, sector, bytes, operation with its flags; and
    what else belongs to the action: an error, a depth, another sector, or (device, sector)."""

    action: str
    q: request_queue
    sector: int = 0
    size: int = 0
    opf: int = 0
    more: Any = 0


def _bio(action: str, bio: bio, more: Any = 0) -> Event:
    return Event(action, bio.bi_disk.queue, bio.bi_iter.bi_sector, bio.bi_iter.bi_size, bio.bi_opf, more)


def _rq(action: str, rq: request, size: int | None = None, error: int = 0) -> Event:
    return Event(action, rq.q, max(blk_rq_pos(rq), 0), blk_rq_bytes(rq) if size is None else size, rq.cmd_flags, error)


_BEGINS = {"__blk_mq_insert_req_list": "I", "blk_mq_sched_request_inserted": "I", "blk_mq_start_request": "D",
           "__blk_mq_requeue_request": "R"}
_MERGES = {"bio_attempt_back_merge": "M", "bio_attempt_front_merge": "F"}
_WATCHED = {*_BEGINS, *_MERGES, "blk_mq_insert_requests", "blk_update_request", "bio_clear_flag", "blk_partition_remap",
            "generic_make_request_checks", "generic_make_request", "blk_mq_get_request", "blk_add_rq_to_plug",
            "blk_mq_try_issue_directly", "blk_mq_sched_insert_requests", "__map_bio", "dm_dispatch_clone_request"}


class Blktrace:
    """What the trace points tell of a disk while this is entered: `lines`, as blkparse prints them.

    Processes are numbered in the order in which they come here; 0 stands for a CPU on which none runs.
    """

    def __init__(self, disk: str) -> None:
        self.lines: list[str] = []
        self._disk = disk
        self._first: set[int] = set()  # bios that no queue has told of
        self._at: dict[int, int] = {}  # where a clone of device mapper was before its target moved it
        self._pids: dict[Any, int] = {}
        self._counts: Counter[int] = Counter()
        self._began = 0

    @property
    def actions(self) -> list[str]:
        """The action of each line: Q, G, …."""
        return [line.split()[5] for line in self.lines]

    @property
    def text(self) -> str:
        """All lines."""
        return "".join(f"{line}\n" for line in self.lines)

    def __enter__(self) -> Self:
        found = [each.function for each in mirror.functions() if each.name in _WATCHED]
        self._unwatch = watch(self._seen, [*found, bio_clear_flag])
        return self

    def __exit__(self, *exc: object) -> None:
        self._unwatch()

    def _seen(self, frame: FrameType, event: str, value: Any) -> None:
        name, by = frame.f_code.co_name, frame.f_back
        if name in _WATCHED and event in ("call", "return") and by is not None:
            made = self._called if event == "call" else self._returned
            for each in made(name, frame.f_locals, by.f_code.co_name, by.f_locals, value):
                disk = whole_disks().get(self._disk)
                if disk is not None and disk.queue is each.q:
                    self.lines.append(self._line(disk_devt(disk), each))

    def _called(self, name: str, at: dict[str, Any], by: str, its: dict[str, Any], _: Any) -> Iterator[Event]:
        """What is told as a function begins; `by` called it and has the variables `its`."""
        if name in _BEGINS:
            yield _rq(_BEGINS[name], at["rq"])
        elif name == "blk_mq_insert_requests":
            yield from (_rq("I", rq) for rq in at["requests"])
        elif name == "blk_update_request":
            yield _rq("C", at["req"], at["nr_bytes"], blk_status_to_errno(at["error"]))
        elif name == "bio_clear_flag" and by == "bio_endio" and at["bit"] == BIO_TRACE_COMPLETION:
            yield _bio("C", at["of"], blk_status_to_errno(at["of"].bi_status))
        elif name == "generic_make_request_checks" and not bio_flagged(at["bio"], BIO_TRACE_COMPLETION):
            self._first.add(id(at["bio"]))
        elif name == "generic_make_request" and by in ("__blk_queue_split", "__split_and_process_bio"):
            yield _bio("X", its["split" if "split" in its else "b"], at["bio"].bi_iter.bi_sector)
        elif name == "generic_make_request" and by == "__map_bio":
            yield _bio("A", at["bio"], (disk_devt(its["io"].orig_bio.bi_disk), self._at.pop(id(at["bio"]))))
        elif name == "__map_bio":
            self._at[id(at["tio"].clone)] = at["tio"].clone.bi_iter.bi_sector
        elif name == "dm_dispatch_clone_request":
            clone, rq = at["clone"], at["rq"]
            yield Event("A", clone.q, blk_rq_pos(clone), blk_rq_bytes(clone), rq_data_dir(clone),
                        (disk_devt(dm_disk(its["md"])), blk_rq_pos(rq)))
        elif name == "blk_add_rq_to_plug" and (not at["plug"].rq_count or "request_count" not in its):
            yield Event("P", its["q"])
        elif name == "blk_mq_try_issue_directly" and at["rq"] is its.get("same_queue_rq"):
            yield Event("U", its["q"], more=1)
        elif name == "blk_mq_sched_insert_requests" and by == "blk_mq_flush_plug_list":
            requests = list(at["requests"])
            yield Event("UT" if its["from_schedule"] else "U", requests[0].q, more=len(requests))

    def _returned(self, name: str, at: dict[str, Any], by: str, its: dict[str, Any], value: Any) -> Iterator[Event]:
        """What is told once a function has returned `value`."""
        if name == "generic_make_request_checks" and id(at["bio"]) in self._first:
            self._first.remove(id(at["bio"]))
            if value:
                yield _bio("Q", at["bio"])
        elif name == "blk_partition_remap" and value == 0 and bio_sectors(at["bio"]):
            moved = at["part"].start_sect
            yield _bio("A", at["bio"], (part_devt(at["part"]), at["bio"].bi_iter.bi_sector - moved))
        elif name in _MERGES and value:
            yield _bio(_MERGES[name], at["bio"])
        elif name == "blk_mq_get_request" and by == "blk_mq_make_request" and value is not None:
            yield _bio("G", its["bio"])

    def _line(self, devt: int, event: Event) -> str:
        kernel = this()
        self._began = self._began or kernel.now
        self._counts[kernel.cpu] += 1
        pid, name = self._current()
        seconds, rest = divmod(kernel.now - self._began, 1_000_000_000)
        return (f"{MAJOR(devt):3},{MINOR(devt):<3} {kernel.cpu:2} {self._counts[kernel.cpu]:8} {seconds:5}.{rest:09} "
                f"{pid:5} {event.action:>2} {_rwbs(event.opf, event.size):>3} {_told(event, name)}")

    def _current(self) -> tuple[int, str]:
        """The number and the name of the process that runs on this CPU, or that is interrupted there."""
        kernel = this()
        for each in reversed(kernel.loop.stack.contexts):
            if each.kind == "task" and (each is kernel.context or (each.cpu == kernel.cpu and each.runnable)):
                return self._pids.setdefault(each, len(self._pids) + 1), each.name
        return 0, f"swapper/{kernel.cpu}"


def _rwbs(opf: int, size: int) -> str:
    """The letters of an operation: F for a flush before it, D, W, R or N, then FUA, readahead, sync and metadata."""
    op = opf & REQ_OP_MASK
    what = "D" if op in (REQ_OP_DISCARD, REQ_OP_SECURE_ERASE) else "W" if op_is_write(op) else "R" if size else "N"
    flags = ((REQ_FUA, "F"), (REQ_RAHEAD, "A"), (REQ_SYNC, "S"), (REQ_META, "M"))
    return "F" * bool(opf & REQ_PREFLUSH or op == REQ_OP_FLUSH) + what + "".join(w for bit, w in flags if opf & bit)


def _told(event: Event, name: str) -> str:
    """What blkparse says at the end of an action's line."""
    sector, sectors = event.sector, event.size >> 9
    if event.action in "CR":
        return f"{sector} + {sectors} [{event.more}]" if sectors else f"{sector} [{event.more}]"
    if event.action == "A":
        devt, before = event.more
        return f"{sector} + {sectors} <- ({MAJOR(devt)},{MINOR(devt)}) {before}"
    if event.action == "X":
        return f"{sector} / {event.more} [{name}]"
    if event.action in ("U", "UT"):
        return f"[{name}] {event.more}"
    return f"{sector} + {sectors} [{name}]" if sectors else f"[{name}]"
