"""A bio dropped on a mapped device: into which pieces it is cut, and where each of them goes.

    live(bio_map, table=…, op=["read", "write"], first=(0, 6136, 8), sectors=(8, 1024, 8))
"""

from functools import lru_cache
from html import escape
from typing import NamedTuple

from blkmodel import scenario
from blkmodel.errors import KernelError
from blkmodel.trace import Assign, Call, Return, record
from blkmodel.trace.walk import walk
from blkmodel.view.draw.figure import panel
from blkmodel.view.draw.strips import COLOURS, key, log, strip
from blkmodel.view.draw.styles import sheets
from blkmodel.view.facts.mapped import SECTORS, lines_of, mapped, targets_of


class Piece(NamedTuple):
    """A clone: its place in the mapped device, and its place on a disk (None: on none). Sectors."""

    first: int
    sectors: int
    target: int
    kind: str
    disk: str | None
    at: int


_STYLE = sheets("base", "mapped")
_TABLE = "0 2048 linear /dev/nullb0 0; 2048 4096 striped 2 128 /dev/nullb0 4096 /dev/nullb1 0"


def bio_map(table=_TABLE, op="read", first=1984, sectors=256):
    """Read or write so many sectors of a device with this table, from `first` on; `;` ends a line of it."""
    made, error, length = _done(lines_of(table), op, first, sectors)
    if length is None:
        body, label = f'<p class="says bad">There is no such device.</p>{log(error)}', f"Refused: {'; '.join(error)}"
    else:
        body, label = _draw(made, error, length, op, first, sectors)
    return panel("blk-md", label, _STYLE, body)


def mapped_pieces(table=_TABLE, op="read", first=1984, sectors=256):
    """The pieces that bio_map() draws."""
    return _done(lines_of(table), op, first, sectors)[0]


@lru_cache(maxsize=16)
def _done(table, op, first, sectors):
    """(pieces, errno's name or "", sectors of the device); without a device ((), why, None)."""
    with mapped(table) as (disk, why):
        if disk is None:
            return (), why, None
        targets = targets_of(scenario.disk(disk).private_data.map)
        error = ""
        recording = record()
        with recording:
            try:
                scenario.io(disk, op, first * 512, sectors * 512)
            except KernelError as refused:
                error = refused.name
        return pieces(recording, targets), error, sum(target.len for target in targets)


def pieces(recording, targets):
    """The clones of a recording, in the order in which they were mapped."""
    held: dict = {}
    found: list[Piece] = []
    clones: list = []

    def now(thing, field):
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
            on = None if disk.startswith("dm-") else disk
            found.append(Piece(*place, index, tio.ti.type.name, on, now(now(tio.clone, "bi_iter"), "bi_sector")))
    return tuple(found)


def _draw(made, error, length, op, first, sectors):
    colours = [COLOURS[piece.target % len(COLOURS)] for piece in made]
    said = (f"The {op} of sectors {first} to {first + sectors - 1} is "
            f"{len(made)} piece{'s' * (len(made) != 1)}" + (f", and ends in {error}." if error else "."))
    device = strip([(piece.first, piece.sectors, colour, f"p{i}")
                    for i, (piece, colour) in enumerate(zip(made, colours, strict=True))], length)
    rows, words = "", []
    for piece, colour in zip(made, colours, strict=True):
        to = f"{piece.disk}, from sector {piece.at}" if piece.disk else "no disk"
        line = f"sectors {piece.first} to {piece.first + piece.sectors - 1}: {piece.kind} → {to}"
        words.append(line)
        rows += f"<li>{key(colour)}<span>{escape(line)}</span></li>"
    disks = "".join(
        f"<h4>{disk}</h4>" + strip([(piece.at, piece.sectors, colour, f"p{i}") for i, (piece, colour)
                                    in enumerate(zip(made, colours, strict=True)) if piece.disk == disk], SECTORS)
        for disk in ("nullb0", "nullb1"))
    return f'<p class="says">{said}</p>{device}<ol>{rows}</ol>{disks}', f"{said} {'. '.join(words)}."
