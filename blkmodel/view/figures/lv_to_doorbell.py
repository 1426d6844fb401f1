"""The stack below a logical volume: its extents, the table, sectors of the disks, requests, queue pairs, doorbells.

    live(lv_to_doorbell, volume=VOLUMES, op=["read", "write"], first=(0, 4092, 4), kib=(4, room, 4), cpu=(0, 3))
"""

from html import escape

from blkmodel.userland.lvm.volumes import PE_START
from blkmodel.view.draw import COLOURS, key, panel, stretched
from blkmodel.view.facts.volume_io import COMMANDS, MOST, SECTORS, SIZE, SLOTS, VOLUMES as VOLUMES, Told, went_down
from blkmodel.view.facts.words import many

_TOP, _BOX, _DOWN, _GAP = 1, 22, 112, 24


def room(first: int) -> int:
    """How many KiB an I/O can have that begins at so many."""
    return min(MOST, SIZE - first)


def lv_to_doorbell(volume: str = "onward", op: str = "read", first: int = 1920, kib: int = 256, cpu: int = 2) -> str:
    """Read or write so many KiB of vg0/data from KiB `first` on, by a process on that CPU; draw what becomes of it.

    volume: a value of VOLUMES. Each of the two disks has two queue pairs, and the machine four CPUs.
    """
    if not 0 <= first < SIZE or not 0 < kib <= room(first) or first % 4 or kib % 4:
        raise ValueError(f"first={first}, kib={kib}: the volume has {SIZE} KiB, in blocks of 4; up to {MOST} at once")
    told = went_down(volume, op, first, kib, cpu)
    said = _says(told, op, first, kib)
    commands = "; ".join(("vgcreate -s 1m …", *COMMANDS[volume]))
    return panel("blk-md blk-lv", " ".join([said, *_words(told)]), "mapped lv_to_doorbell",
                 f'<p class="says">{escape(said)}</p><div aria-hidden="true">'
                 f'<p class="dim"><code>{escape(commands)}</code></p>'
                 f"<h4>The volume vg0/data: {many(SIZE >> 10, 'extent')} of 1 MiB</h4>{_map(told)}"
                 f'<div class="two">{"".join(f"<span>{disk}</span>" for disk in told.runs)}</div>{_keys(told)}'
                 f'<h4>Its table</h4><ol>{"".join(_line(told, i) for i in range(len(told.lines)))}</ol>'
                 f'<div class="disks">{"".join(_disk(told, disk) for disk in told.pairs)}</div></div>')


def _says(told: Told, op: str, first: int, kib: int) -> str:
    extents = range(first >> 10, (first + kib - 1 >> 10) + 1)
    where = f"extent {extents[0]}" if len(extents) == 1 else f"extents {extents[0]} and {extents[-1]}"
    requests = sum(len(pair.requests) for pair in told.pairs.values())
    rings = sum(len(pair.doorbells) for pair in told.pairs.values())
    return (f"This {op} of {kib} KiB in {where} becomes {many(len(told.pieces), 'piece')}, and "
            f"{many(requests, 'request')} on {many(len(told.pairs), 'disk')}. "
            f"Doorbells are rung {many(rings, 'time')}.")


def _words(told: Told) -> list[str]:
    """The figure from top to bottom, in words."""
    found = [f"Table: {'; '.join(told.lines)}."]
    found += [f"Sectors {piece.first} to {piece.first + piece.sectors - 1} → {piece.disk} from {piece.at}."
              for piece in told.pieces]
    return found + [f"{disk}, queue pair {pair.number}: " + "; ".join(
        f"{request.sectors} sectors from {request.first}, tag {request.tag}, slot {request.slot}"
        for request in pair.requests) + f"; tail doorbell {', '.join(map(str, pair.doorbells))}."
        for disk, pair in told.pairs.items()]


# The map: the volume above, the disks below, both as wide as the figure

def _colour(segment: int | None) -> str:
    return "cpu" if segment is None else COLOURS[segment % len(COLOURS)]


def _on_volume(sector: int) -> float:
    return 500 * sector / SIZE


def _on_disk(told: Told, disk: str, sector: int) -> float:
    width = (1000 - _GAP) / len(told.runs)
    return list(told.runs).index(disk) * (width + _GAP) + width * sector / SECTORS


def _map(told: Told) -> str:
    extent, parts, marks = SIZE // 4 * 2, [], []
    for i, segment in enumerate(told.segments):
        begin, end = segment.start * extent, (segment.start + segment.length) * extent
        parts += [_way(told, begin, end, disk, first, first + sectors, f"way {_colour(i)}")
                  for disk, runs in told.runs.items() for first, sectors, whose in runs if whose == i]
        parts += [_box(_on_volume(at), _on_volume(at + extent), _TOP, _colour(i), f"lv{at}")
                  for at in range(begin, end, extent)]
    for disk, runs in told.runs.items():
        parts.append(_box(_on_disk(told, disk, 0), _on_disk(told, disk, SECTORS), _DOWN, "", f"{disk}"))
        parts += [_box(_on_disk(told, disk, at), _on_disk(told, disk, at + extent), _DOWN, _colour(whose),
                       f"{disk}{at}") for first, sectors, whose in runs for at in range(first, first + sectors, extent)]
        parts.append(_box(_on_disk(told, disk, 0), _on_disk(told, disk, PE_START), _DOWN, "absent", f"{disk}lvm"))
    for i, piece in enumerate(told.pieces):
        end, there = piece.first + piece.sectors, piece.at + piece.sectors
        parts.append(_way(told, piece.first, end, piece.disk, piece.at, there, "io-way"))
        marks.append(_box(_on_volume(piece.first), _on_volume(end), _TOP, "io", f"p{i}"))
    marks += [_box(_on_disk(told, disk, request.first), _on_disk(told, disk, request.first + request.sectors), _DOWN,
                   "io thin", f"{disk}r{i}")
              for disk, pair in told.pairs.items() for i, request in enumerate(pair.requests)]
    return stretched("blk-lv-map", 1000, _DOWN + _BOX + 2, "".join(parts + marks))


def _way(told: Told, begin: int, end: int, disk: str, first: int, last: int, classes: str) -> str:
    """From sectors of the volume down to sectors of a disk."""
    top = _TOP + _BOX
    return (f'<path class="{classes}" d="M{_on_volume(begin):.2f} {top}H{_on_volume(end):.2f}'
            f'L{_on_disk(told, disk, last):.2f} {_DOWN}H{_on_disk(told, disk, first):.2f}Z"/>')


def _box(left: float, right: float, top: int, classes: str, name: str) -> str:
    return (f'<rect class="box {classes}" x="{left:.2f}" y="{top}" width="{max(2, right - left):.2f}" height="{_BOX}" '
            f'data-key="{name}"/>')


def _keys(told: Told) -> str:
    kinds = [(COLOURS[i], f"segment {i}" + f", {len(segment.areas)} stripes" * (len(segment.areas) > 1))
             for i, segment in enumerate(told.segments)]
    if any(whose is None for runs in told.runs.values() for *_, whose in runs):
        kinds.append(("cpu", "another volume"))
    kinds += [("io", "the I/O"), ("absent", "LVM's own 1 MiB")]
    return f'<p class="keys dim">{"".join(f"<span>{key(colour)}{name}</span>" for colour, name in kinds)}</p>'


def _line(told: Told, i: int) -> str:
    hit = ' class="hit"' if any(piece.target == i for piece in told.pieces) else ""
    return f"<li>{key(COLOURS[i])}<code{hit}>{escape(told.lines[i])}</code></li>"


# What the disks saw

def _disk(told: Told, disk: str) -> str:
    pair = told.pairs[disk]
    requests = "".join(f'<span class="chip rq">{request.first} + {request.sectors} <span class="dim">tag {request.tag}'
                       "</span></span>" for request in pair.requests)
    used = {request.slot for request in pair.requests}
    slots = "".join(f'<span class="slot{" new" * (slot in used)}">{slot}</span>' for slot in range(SLOTS))
    bells = "".join(f'<span class="chip bell">tail = {value}</span>' for value in pair.doorbells)
    return (f'<div><h4>{disk}: {many(len(pair.requests), "request")}</h4><div class="chips">{requests}</div>'
            f'<h4>Queue pair {pair.number} <span class="dim">(hardware queue {pair.hctx})</span></h4>'
            f'<div class="slots">{slots}</div><h4>Its doorbell</h4><div class="chips">{bells}</div></div>')
