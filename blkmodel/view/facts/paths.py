"""A read of a multipath device whose paths fail: where its request is, step by step, and what becomes of it."""

from functools import lru_cache
from typing import NamedTuple

from blkmodel import scenario
from blkmodel.device import FAIL, Fault
from blkmodel.drivers.md import dm_mpath
from blkmodel.sim import Context, booted
from blkmodel.trace import Assign, Call, Command, Return, record, walk
from blkmodel.userland import dmsetup
from blkmodel.view.facts.mapped import targets_of
from blkmodel.view.facts.words import attempt, got

MOVES = {"multipath_end_io": "the clone has ended", "dm_requeue_original_request": "back in the queue of dm-0",
         "dm_end_request": "the read ends", "dm_kill_unmapped_request": "the read ends, with an error"}
"""What it means for the read that a function is called."""
_READ, _DNR, _LATER = 2, 0x4000, 250_000_000


class Row(NamedTuple):
    """path: that the request is on, None while device mapper has it. failed: paths that are out of use. ms: since the
    read began."""

    path: int | None
    failed: frozenset[int]
    said: str
    ms: float


@lru_cache(maxsize=16)
def way(groups: str, selector: str, waits: bool, failing: int, medium: bool) -> tuple[tuple[Row, ...], str, str]:
    """The way of a read of 4 KiB; what the read came to; and what dmsetup status says after it.

    groups: the paths of each, 0 first, as in "0 1|2". waits: queue_if_no_path.
    failing: on so many paths the first read fails: where `medium`, with a medium error, else with an internal one. Path
    0 is reinstated after 250 ms, if it has failed.
    """
    members = [group.split() for group in groups.split("|")]
    with booted(2) as kernel:
        scenario.dm_load()
        for path in range(3):
            device = scenario.nvme_controller(scenario.nvme_probe(io_queue_depth=8)).dev._owner._device
            if path < failing:
                device.faults.append(Fault(FAIL, opcode=_READ, status=_DNR | (0x281 if medium else 0x6)))
        table = " ".join(f"{selector} 0 {len(each)} 1 " + " ".join(f"/dev/nvme{path}n1 1" for path in each)
                         for each in members)
        feature = "1 queue_if_no_path" if waits else "0"
        disk = dmsetup.create("mp", f"0 131072 multipath {feature} 0 {len(members)} 1 {table}")
        m = targets_of(scenario.disk(disk).private_data.map)[0].private
        there = [path for pg in m.priority_groups for path in pg.pgpaths]
        paths = {id(path): int(path.path.dev.bdev.bd_disk.disk_name[4]) for path in there}
        kernel.loop.post(Context("task", "multipathd", 0), lambda: dm_mpath.reinstate_path(there[0]), _LATER)
        begun = kernel.now
        recording = record(attempt, scenario.io, disk, "read", 0, 4096, cpu=1, watched=(dm_mpath.pgpath,))
        rows, at, failed = list[Row](), None, frozenset[int]()
        for event, _, _, time in walk(recording):
            if type(event) is Return and event.function == "choose_pgpath":
                at = paths.get(id(event.value))
                said = "no path is left" if at is None else f"path {at} is chosen"
            elif type(event) is Command and event.queue:
                said = f"nvme{at} has the command"
            elif type(event) is Assign and event.field == "is_active":
                failed = failed ^ {paths[id(event.object)]}
                said = f"path {paths[id(event.object)]} {'is reinstated' if event.new else 'fails'}"
            elif type(event) is Call and event.function in MOVES:
                said = MOVES[event.function]
                at = at if event.function == "multipath_end_io" else None
            else:
                continue
            rows.append(Row(at, failed, said, (time - begun) / 1e6))
        return tuple(rows), got(recording.result), dmsetup.status("mp").strip()
