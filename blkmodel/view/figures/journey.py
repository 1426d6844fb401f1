"""The way of one I/O as a line map: where it passes, where its requests wait, and who takes them on from there.

    live(journey, disk=DISKS, op=["read", "write"], kib=SIZES, scheduler=["none", "mq-deadline"], depth=(1, 32),
         cpu=(0, 3))
"""

from functools import lru_cache
from html import escape
from typing import NamedTuple

from blkmodel import scenario
from blkmodel.device.controller import Controller
from blkmodel.device.service import Service
from blkmodel.sim import booted
from blkmodel.trace import Assign, Call, Doorbell, Return, record
from blkmodel.trace.walk import walk
from blkmodel.view.draw.call_tree import kernel_url
from blkmodel.view.draw.figure import group, panel, rect, text
from blkmodel.view.draw.styles import sheets

DISKS = {"NVMe, 4 queues": "nvme 4", "NVMe, 1 queue": "nvme 1", "null_blk, 4 queues": "null_blk 4",
         "null_blk, 1 queue": "null_blk 1"}
SIZES = {"4 KiB": 4, "64 KiB": 64, "512 KiB": 512, "1 MiB": 1024, "3 MiB": 3072}


class Station(NamedTuple):
    """A place on the way: whoever calls one of `functions` is there. waits: a request may lie there for a while.

    The dispatch list has no function of its own: whoever puts a request on it is there. So is it with the doorbell.
    """

    name: str
    functions: tuple[str, ...]
    waits: bool = False


class Stop(NamedTuple):
    """A station that was passed: in how many calls, the first one's function and file, and everybody who made one.

    who: (kind, name, CPU), in the order in which they came.
    """

    station: Station
    times: int
    function: str
    file: str
    who: tuple[tuple[str, str, int], ...]


_JOIN = ("bio_attempt_back_merge", "bio_attempt_front_merge", "bio_attempt_discard_merge")
_DISPATCH_LIST = Station("dispatch list", (), True)
_DOORBELL = Station("the doorbell", ())
STATIONS = (
    Station("the process asks", ("blkdev_read_iter", "blkdev_write_iter")),
    Station("a bio", ("submit_bio",)),
    Station("cut in two", ("bio_split",)),
    Station("joined to a request", _JOIN),
    Station("queue for a tag", ("sbitmap_prepare_to_wait",), True),
    Station("a tag, and a request", ("blk_mq_rq_ctx_init",)),
    Station("plug", ("blk_add_rq_to_plug",), True),
    Station("scheduler", ("dd_insert_request",), True),
    Station("software queue", ("blk_mq_insert_requests", "__blk_mq_insert_request"), True),
    _DISPATCH_LIST,
    Station("the driver", ("nvme_queue_rq", "null_queue_rq")),
    _DOORBELL,
    Station("an interrupt", ("nvme_irq", "null_cmd_timer_expired")),
    Station("a softirq", ("blk_done_softirq",)),
    Station("the bio ends", ("bio_endio",)),
    Station("the request ends", ("__blk_mq_end_request",)),
)
_KINDS = {"process": "ctx", "worker": "default", "softirq": "tags", "interrupt": "poll"}
_ROW, _RAIL, _SIDE, _BOX, _WIDTH = 36, 16, 58, 150, 252
_STYLE = sheets("base", "journey")


def journey(disk="nvme 4", op="read", kib=4, scheduler="none", depth=32, cpu=1):
    """Draw the way of one I/O of so many KiB by a process on that CPU, past the page cache, on a machine of 4 CPUs.

    disk: a value of DISKS. depth: the tags that each of its hardware queues has.
    """
    recording = recorded_io(disk, op, kib, scheduler, depth, cpu)
    made = stops(recording)
    said = _summary(made, op, kib)
    label = " ".join([said] + [f"{i}. {stop.station.name}{_times(stop)}: {stop.function}, {_who(stop)}."
                               for i, stop in enumerate(made, 1)])
    return panel("blk-way", label, _STYLE, f"<p><b>{escape(said)}</b></p><p>{_key(made)}</p>",
                 f'<div class="two"><div class="map" aria-hidden="true">{_map(made)}</div>',
                 f"<ol>{''.join(map(_item, made))}</ol></div>")


@lru_cache(maxsize=32)
def recorded_io(disk, op, kib, scheduler="none", depth=32, cpu=1):
    """Record one I/O at the start of a disk that takes 10 µs for each request, and has its scheduler chosen."""
    driver, queues = disk.split()
    with booted(4):
        if driver == "nvme":
            controller = Controller(int(queues), service=Service(least=10_000))
            name = scenario.nvme_probe(controller=controller, io_queue_depth=depth + 1) + "n1"
        else:
            scenario.null_blk_load(submit_queues=int(queues), hw_queue_depth=depth, irqmode=2)
            name = "nullb0"
        scenario.set_scheduler(name, scheduler)
        return record(scenario.io, name, op, 0, kib << 10, cpu=cpu)


def stops(recording):
    """The stations of an I/O, in the order in which it first came to each. A bio that could not be joined does not
    count."""
    station_of = {function: station for station in STATIONS for function in station.functions}
    lists = {id(event.new.dispatch) for event in recording.of(Assign) if event.field == "mq_hctx" and event.new}
    found: dict[Station, tuple] = {}
    for moment in walk(recording):
        event = moment.event
        call, station = event, None
        if type(event) is Call and event.function not in _JOIN:
            station = station_of.get(event.function)
        elif type(event) is Return and event.function in _JOIN and event.value:
            station = station_of[event.function]
        elif type(event) is Assign and event.field == "queuelist" and id(event.new) in lists:
            call, station = moment.path[-1], _DISPATCH_LIST
        elif type(event) is Doorbell and event.side == "sq":
            call, station = moment.path[-1], _DOORBELL
        if station:
            first, whose, times = found.get(station, (call, {}, 0))
            whose[_by(recording.contexts[moment.context])] = True
            found[station] = first, whose, times + 1
    return [Stop(station, times, first.function, first.file, tuple(whose))
            for station, (first, whose, times) in found.items()]


def waited(made):
    """The names of the stations where something waited."""
    return [stop.station.name for stop in made if stop.station.waits]


def _by(context):
    """Who a context is, in a reader's words: (kind, name, CPU)."""
    kinds = {"irq": "interrupt", "softirq": "softirq"}
    kind = kinds.get(context.kind, "process" if context.name == "dio" else "worker")
    return kind, context.name, context.cpu


def _summary(made, op, kib):
    count = {stop.station.name: stop.times for stop in made}
    bios, requests, places = count["a bio"], count["a tag, and a request"], waited(made)
    size = f"{kib} KiB" if kib < 1024 else f"{kib >> 10} MiB"
    return (f"This {op} of {size} is {bios} bio{'s' * (bios > 1)} and {requests} request{'s' * (requests > 1)}. "
            f"{'They wait' if requests > 1 else 'It waits'} "
            + (f"in: {', '.join(places)}." if places else "nowhere before the driver."))


def _times(stop):
    return f" × {stop.times}" if stop.times > 1 else ""


def _who(stop):
    return "; ".join(f"{name if kind == 'worker' else kind}, CPU\N{NO-BREAK SPACE}{cpu}"
                     for kind, name, cpu in stop.who)


def _item(stop):
    name = f"<code>{escape(stop.function)}</code>"
    url = kernel_url(stop.function, stop.file)
    link = f'<a href="{url}">{name}</a>' if url else name
    return f'<li><b>{escape(stop.station.name)}</b>{_times(stop)}: {link} <span class="dim">({_who(stop)})</span></li>'


def _map(made):
    """The line, from top to bottom; places to wait lie beside it."""
    numbers = {stop.station: i for i, stop in enumerate(made, 1)}
    by_station = {stop.station: stop for stop in made}
    parts, marks, who = [], [], "process"
    for row, station in enumerate(STATIONS):
        y = row * _ROW + _ROW / 2
        stop = by_station.get(station)
        who = stop.who[0][0] if stop else who
        top = y if row == 0 else y - _ROW / 2
        bottom = y if row == len(STATIONS) - 1 else y + _ROW / 2
        parts.append(f'<path class="line by-{who}" d="{_path(top, y, bottom, stop and station.waits)}"/>')
        marks.append(_mark(station, stop, numbers.get(station), y))
    height = len(STATIONS) * _ROW
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
            f'viewBox="0 0 {_WIDTH} {height}">{"".join(parts + marks)}</svg>')


def _path(top, y, bottom, aside):
    """One row of the line; aside, it goes by the place beside it."""
    if not aside:
        return f"M{_RAIL} {top:g}V{bottom:g}"
    return (f"M{_RAIL} {top:g}C{_RAIL} {y - 6:g} {_SIDE - 20} {y - 5:g} {_SIDE} {y - 5:g}V{y + 5:g}"
            f"C{_SIDE - 20} {y + 5:g} {_RAIL} {y + 6:g} {_RAIL} {bottom:g}")


def _mark(station, stop, number, y):
    """A station: its number where it was passed, and its name."""
    label = station.name + (_times(stop) if stop else "")
    dim = "" if stop else " dim"
    if station.waits:
        parts = [rect(_SIDE, y - 13, _BOX, 26, "box band" if stop else "box not", 4),
                 text(_SIDE + 22, y + 4, label, f"head{dim}" if stop else "dim")]
        x = _SIDE + 2
    else:
        parts = [text(_RAIL + 18, y + 4, label, "head" if stop else "dim")]
        x = _RAIL
    if stop:
        parts += [f'<circle class="stop" cx="{x}" cy="{y:g}" r="10"/>', text(x, y + 4, number, "small head", "middle")]
    elif not station.waits:
        parts.append(f'<circle class="box" cx="{x}" cy="{y:g}" r="3.5"/>')
    return group(parts, "part", f"{label}: {stop.function}, {_who(stop)}" if stop else f"{label}: not on this way")


def _key(made):
    """Whose colours are on the line."""
    there = dict.fromkeys(kind for stop in made for kind, *_ in stop.who)
    keys = "".join(f'<span class="key dim"><svg xmlns="http://www.w3.org/2000/svg" class="blk-way-key" width="22" '
                   f'height="8" aria-hidden="true"><path class="line by-{who}" d="M3 4H19"/></svg>{who}</span>'
                   for who in there)
    return f'{keys}<span class="key dim">boxes beside the line: places to wait</span>'
