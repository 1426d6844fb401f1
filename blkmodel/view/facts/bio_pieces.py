"""Into which pieces device mapper cuts a bio, and where each of them goes."""

from functools import lru_cache
from typing import Any, NamedTuple

from blkmodel import scenario
from blkmodel.include.linux.blk_types import bio, bvec_iter
from blkmodel.include.linux.device_mapper import dm_target
from blkmodel.trace import Assign, Call, Recording, Return, record, walk
from blkmodel.view.facts.mapped import lines_of, mapped, targets_of
from blkmodel.view.facts.words import attempt


class Piece(NamedTuple):
    """A clone: its place in the mapped device, and its place on a disk (None: on none). Sectors."""

    first: int
    sectors: int
    target: int
    kind: str
    disk: str
    at: int


CUT = bio, bvec_iter
TABLE = "0 2048 linear /dev/nullb0 0; 2048 4096 striped 2 128 /dev/nullb0 4096 /dev/nullb1 0"


def mapped_pieces(table: str = TABLE, op: str = "read", first: int = 1984, sectors: int = 256) -> tuple[Piece, ...]:
    """The pieces that bio_map() draws."""
    return sent(lines_of(table), op, first, sectors)[0]


@lru_cache(maxsize=16)
def sent(table: str, op: str, first: int, sectors: int) -> tuple[tuple[Piece, ...], Any, int | None]:
    """(pieces, errno's name or "", sectors of the device); without a device ((), why, None)."""
    with mapped(table) as (disk, why):
        if disk is None:
            return (), why, None
        targets = targets_of(scenario.disk(disk).private_data.map)
        recording = record(attempt, scenario.io, disk, op, first * 512, sectors * 512, watched=CUT)
        error = recording.result if isinstance(recording.result, str) else ""
        return pieces(recording, targets), error, sum(target.len for target in targets)


def pieces(recording: Recording, targets: list[dm_target]) -> tuple[Piece, ...]:
    """The clones of a recording that watched CUT, in the order in which they were mapped."""
    held, found, clones = dict[tuple[int, str], Any](), list[Piece](), list[Any]()

    def now(thing: Any, field: str) -> Any:
        return held.get((id(thing), field), getattr(thing, field))
    for moment in walk(recording):
        event = moment.event
        if type(event) is Assign:
            held[id(event.object), event.field] = event.new
        elif type(event) is Return and event.function == "alloc_tio":
            clones.append(event.value)
        elif type(event) is Call and event.function == "__map_bio":
            at = now(clones[-1].clone, "bi_iter")
            place = now(at, "bi_sector"), now(at, "bi_size") >> 9
        elif type(event) is Return and event.function == "__map_bio":
            tio = clones[-1]
            index = next(i for i, target in enumerate(targets) if target is tio.ti)
            disk = now(tio.clone, "bi_disk").disk_name
            on: Any = None if disk.startswith("dm-") else disk
            found.append(Piece(*place, index, tio.ti.type.name, on, now(now(tio.clone, "bi_iter"), "bi_sector")))
    return tuple(found)
