"""A bio dropped on a mapped device: into which pieces it is cut, and where each of them goes.

    live(bio_map, table=…, op=["read", "write"], first=(0, 6136, 8), sectors=(8, 1024, 8))
"""

from html import escape

from blkmodel.view.draw import COLOURS, key, log, panel, strip
from blkmodel.view.facts.bio_pieces import TABLE, Piece, sent
from blkmodel.view.facts.mapped import SECTORS, lines_of
from blkmodel.view.facts.words import many


def bio_map(table: str = TABLE, op: str = "read", first: int = 1984, sectors: int = 256) -> str:
    """Read or write so many sectors of a device with this table, from `first` on; `;` ends a line of it."""
    made, error, length = sent(lines_of(table), op, first, sectors)
    if length is None:
        body, label = f'<p class="says bad">There is no such device.</p>{log(error)}', f"Refused: {'; '.join(error)}"
    else:
        body, label = _draw(made, error, length, op, first, sectors)
    return panel("blk-md", label, "mapped", body)


def _draw(made: tuple[Piece, ...], error: str, length: int, op: str, first: int, sectors: int) -> tuple[str, str]:
    drawn = [(piece, COLOURS[piece.target % len(COLOURS)], f"p{i}") for i, piece in enumerate(made)]
    ends = f", and ends in {error}" if error else ""
    said = f"The {op} of sectors {first} to {first + sectors - 1} is {many(len(made), 'piece')}{ends}."
    device = strip([(piece.first, piece.sectors, colour, name) for piece, colour, name in drawn], length)
    rows, words = "", []
    for piece, colour, _ in drawn:
        to = f"{piece.disk}, from sector {piece.at}" if piece.disk else "no disk"
        line = f"sectors {piece.first} to {piece.first + piece.sectors - 1}: {piece.kind} → {to}"
        words.append(line)
        rows += f"<li>{key(colour)}<span>{escape(line)}</span></li>"
    disks = "".join(f"<h4>{disk}</h4>" + strip([(piece.at, piece.sectors, colour, name) for piece, colour, name in drawn
                                                if piece.disk == disk], SECTORS) for disk in ("nullb0", "nullb1"))
    return f'<p class="says">{said}</p>{device}<ol>{rows}</ol>{disks}', f"{said} {'. '.join(words)}."
