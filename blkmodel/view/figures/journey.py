"""The way of one I/O as a line map: where it passes, where its requests wait, and who takes them on from there.

    live(journey, disk=DISKS, op=["read", "write"], kib=SIZES, scheduler=["none", "mq-deadline"], depth=(1, 32),
         cpu=(0, 3))
"""

from html import escape

from blkmodel.view.draw import group, kernel_url, legend, panel, rect, text
from blkmodel.view.facts.io_way import DISKS as DISKS, SIZES as SIZES, STATIONS, Station, Stop, stops, waited
from blkmodel.view.facts.recorded import recorded_io

_KINDS = {"process": "ctx", "worker": "default", "softirq": "tags", "interrupt": "poll"}
_ROW, _RAIL, _SIDE, _BOX, _WIDTH = 36, 16, 58, 150, 252


def journey(disk: str = "nvme 4", op: str = "read", kib: int = 4, scheduler: str = "none", depth: int = 32,
            cpu: int = 1) -> str:
    """Draw the way of one I/O of so many KiB by a process on that CPU, past the page cache, on a machine of 4 CPUs.

    disk: a value of DISKS. depth: the tags that each of its hardware queues has.
    """
    made = stops(recorded_io(disk, op, kib, scheduler, depth, cpu))
    said = _summary(made, op, kib)
    label = " ".join([said] + [f"{i}. {stop.station.name}{_times(stop)}: {stop.function}, {_who(stop)}."
                               for i, stop in enumerate(made, 1)])
    return panel("blk-way", label, "journey", f"<p><b>{escape(said)}</b></p><p>{_key(made)}</p>",
                 f'<div class="two"><div class="map" aria-hidden="true">{_map(made)}</div>',
                 f"<ol>{''.join(map(_item, made))}</ol></div>")


def _summary(made: list[Stop], op: str, kib: int) -> str:
    count = {stop.station.name: stop.times for stop in made}
    bios, requests, places = count["a bio"], count["a tag, and a request"], waited(made)
    size = f"{kib} KiB" if kib < 1024 else f"{kib >> 10} MiB"
    return (f"This {op} of {size} is {bios} bio{'s' * (bios > 1)} and {requests} request{'s' * (requests > 1)}. "
            f"{'They wait' if requests > 1 else 'It waits'} "
            + (f"in: {', '.join(places)}." if places else "nowhere before the driver."))


def _times(stop: Stop) -> str:
    return f" × {stop.times}" if stop.times > 1 else ""


def _who(stop: Stop) -> str:
    return "; ".join(f"{name if kind == 'worker' else kind}, CPU\N{NO-BREAK SPACE}{cpu}"
                     for kind, name, cpu in stop.who)


def _item(stop: Stop) -> str:
    name = f"<code>{escape(stop.function)}</code>"
    url = kernel_url(stop.function, stop.file)
    link = f'<a href="{url}">{name}</a>' if url else name
    return f'<li><b>{escape(stop.station.name)}</b>{_times(stop)}: {link} <span class="dim">({_who(stop)})</span></li>'


def _map(made: list[Stop]) -> str:
    """The line, from top to bottom; places to wait lie beside it."""
    numbers = {stop.station: i for i, stop in enumerate(made, 1)}
    by_station = {stop.station: stop for stop in made}
    parts, marks, who = [], [], "process"
    for row, station in enumerate(STATIONS):
        y = row * _ROW + _ROW / 2
        stop = by_station.get(station)
        who = stop.who[0][0] if stop else who
        top, bottom = y - _ROW / 2 * (row > 0), y + _ROW / 2 * (row < len(STATIONS) - 1)
        parts.append(f'<path class="line by-{who}" d="{_path(top, y, bottom, bool(stop) and station.waits)}"/>')
        marks.append(_mark(station, stop, numbers.get(station), y))
    height = len(STATIONS) * _ROW
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
            f'viewBox="0 0 {_WIDTH} {height}">{"".join(parts + marks)}</svg>')


def _path(top: float, y: float, bottom: float, aside: bool) -> str:
    """One row of the line; aside, it goes by the place beside it."""
    if not aside:
        return f"M{_RAIL} {top:g}V{bottom:g}"
    return (f"M{_RAIL} {top:g}C{_RAIL} {y - 6:g} {_SIDE - 20} {y - 5:g} {_SIDE} {y - 5:g}V{y + 5:g}"
            f"C{_SIDE - 20} {y + 5:g} {_RAIL} {y + 6:g} {_RAIL} {bottom:g}")


def _mark(station: Station, stop: Stop | None, number: int | None, y: float) -> str:
    """A station: its number where it was passed, and its name."""
    label = station.name + (_times(stop) if stop else "")
    x = _SIDE + 2 if station.waits else _RAIL
    parts = [text(x + (20 if station.waits else 18), y + 4, label, "head" if stop else "dim")]
    if station.waits:
        parts.insert(0, rect(_SIDE, y - 13, _BOX, 26, "box band" if stop else "box not", 4))
    if stop:
        parts += [f'<circle class="stop" cx="{x}" cy="{y:g}" r="10"/>', text(x, y + 4, number, "small head", "middle")]
    elif not station.waits:
        parts.append(f'<circle class="box" cx="{x}" cy="{y:g}" r="3.5"/>')
    return group(parts, "part", f"{label}: {stop.function}, {_who(stop)}" if stop else f"{label}: not on this way")


def _key(made: list[Stop]) -> str:
    """Whose colours are on the line."""
    there = dict.fromkeys(kind for stop in made for kind, *_ in stop.who)
    lines = (f'<span class="key dim">{legend("blk-way-key", 22, 8, f"""<path class="line by-{who}" d="M3 4H19"/>""")}'
             f"{who}</span>" for who in there)
    return f'{"".join(lines)}<span class="key dim">boxes beside the line: places to wait</span>'
