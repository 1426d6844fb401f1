"""Registers, doorbells, commands: everything that passes between driver and controller, and the call behind each.

    live(bus, scenario=BUS_SCENARIOS, step=Steps(last_passing))
"""

from dataclasses import replace
from functools import lru_cache
from html import escape

from blkmodel import scenario as user
from blkmodel.device.controller import Controller
from blkmodel.device.faults import ENABLE, FAIL, FATAL, GONE, SILENT, STUCK, Fault
from blkmodel.errors import KernelError
from blkmodel.include.linux.nvme import NVME_SC_READ_ERROR
from blkmodel.sim import booted
from blkmodel.trace import record
from blkmodel.trace.on_bus import passings
from blkmodel.view.draw.figure import panel
from blkmodel.view.draw.styles import sheets

BUS_SCENARIOS = {"bring a controller up": "probe", "read 4 KiB": "read-4k", "read 1 MiB": "read-1m",
                 "write 8 KiB": "write-8k", "take it down": "remove",
                 "a controller that never gets ready": "stuck", "a read that fails once": "fail",
                 "a read that is never answered": "silent", "a controller that breaks": "fatal",
                 "the same, with doorbells in memory": "fatal-shadow", "a controller that is pulled out": "gone"}
_FAULTS = {"stuck": Fault(STUCK, at=ENABLE), "fail": Fault(FAIL, queue=1, status=NVME_SC_READ_ERROR),
           "silent": Fault(SILENT, queue=1), "fatal": Fault(FATAL, queue=1),
           "fatal-shadow": Fault(FATAL, queue=1), "gone": Fault(GONE, queue=1)}
_ROWS = 9
_KINDS = {"register": "default", "doorbell": "poll", "command": "read", "completion": "tags", "interrupt": "changed"}
_SENDS = {"register": "register", "doorbell": "doorbell", "command": "reads memory", "completion": "writes memory",
          "interrupt": "interrupt"}
_STYLE = sheets("base", "bus")


@lru_cache(maxsize=16)
def bus_passings(scenario):
    """What passes in a scenario, on a machine of 4 CPUs; and how it ends, where not well: the kernel's error."""
    with booted(4):
        controller = Controller(dbbuf=scenario != "fatal")
        if scenario not in ("probe", "stuck"):
            user.nvme_probe(controller=controller)
        if scenario in _FAULTS:
            controller.faults.append(replace(_FAULTS[scenario]))
        error = ""
        with record() as recording:
            try:
                _act(scenario, controller)
            except KernelError as refused:
                error = refused.name
        return tuple(passings(recording)), error


def _act(scenario, controller):
    if scenario in ("probe", "stuck"):
        user.nvme_probe(controller=controller)
    elif scenario == "remove":
        user.nvme_remove()
    elif scenario in _FAULTS:
        user.io("nvme0n1", "read", 0, 4096)
    else:
        op, size = scenario.split("-")
        user.io("nvme0n1", op, 0, int(size[:-1]) << (20 if size.endswith("m") else 10), cpu=1)


def last_passing(scenario):
    """How many steps a scenario has."""
    return len(bus_passings(scenario)[0])


def bus(scenario="probe", step=1):
    """Draw what passes on the bus in a scenario, up to `step`; 0 is before anything did."""
    passed, error = bus_passings(scenario)
    if not 0 <= step <= len(passed):
        raise ValueError(f"step={step}: there are {len(passed)}")
    first = max(0, min(step - 1 - _ROWS // 2, len(passed) - _ROWS))
    shown = range(first, min(first + _ROWS, len(passed)))
    drawn = rows(passed, shown, range(max(step - 1, 0), step), lambda number: number + 1)
    title = next(title for title, name in BUS_SCENARIOS.items() if name == scenario)
    return panel("blk-bus", _describe(title, passed, error, step), _STYLE,
                 f'<p class="says">{_says(passed, error, step)}</p>{drawn}')


def rows(passed, shown, now, step_of):
    """The driver on the left, the controller on the right, and beneath each other what passes between them.

    shown, now: the numbers of the passings that are drawn, and of those that pass just now (what follows these is
    still to come). step_of: number → the step that choosing it leads to. The style sheet is `bus`, the class blk-bus.
    """
    keys = "".join(f'<span class="key k-{kind}"><i{_memory(kind)}></i>{_SENDS[kind]}</span>' for kind in _KINDS)
    drawn = "".join(_row(passed[number], number, now, step_of(number)) for number in shown)
    heads = '<div class="heads"><span>driver, and its memory</span><span>controller</span></div>'
    return f'<p class="dim">{keys}</p>{heads}<ol>{drawn}</ol>'


def _memory(kind):
    return ' class="memory"' if kind in ("command", "completion") else ""


def _row(each, number, now, step):
    state = "now" if number in now else "after" if number >= now.stop else "before"
    call = f"{number + 1}. {_caller(each)}"
    memory = " memory" if each.kind in ("command", "completion") else ""
    way = "" if each.to_controller else " left"
    back = "" if each.to_controller else " back"
    return (f'<li class="{state} k-{each.kind}" data-key="p{number}" data-set="step={step}">'
            f'<div class="what{back}"><b>{escape(each.label)}</b><span class="call">{escape(call)}</span></div>'
            f'<div class="arrow{way}{memory}"></div><div class="dim">{escape(each.meaning)}</div></li>')


def _caller(each):
    """The functions in which the driver did it; of the controller's own doing there is none."""
    if not each.path:
        return "by itself"
    cause, last = each.cause(), each.path[-1]
    return cause if cause == last else f"{cause} … {last}"


def _says(passed, error, step):
    """One sentence: who does what; and how it ends."""
    if not step:
        return f"{len(passed)} things pass, and nothing has passed yet."
    each = passed[step - 1]
    meaning = f" ({escape(each.meaning)})" if each.meaning else ""
    time = f" At {_time(each)}." if each.time > passed[0].time else ""
    ends = f" It ends with {error}." if error and step == len(passed) else ""
    if not each.path:
        return f"The controller, by itself: <b>{escape(each.label)}</b>{meaning}.{time}{ends}"
    calls = " … ".join(f"<code>{escape(name)}</code>" for name in _caller(each).split(" … "))
    who = f"{each.who.kind} {escape(each.who.name)}, CPU {each.who.cpu}"
    return f"{calls} ({who}): <b>{escape(each.label)}</b>{meaning}.{time}{ends}"


def _time(each):
    """When it was, in seconds since boot."""
    return f"{each.time / 1_000_000_000:.3f} s".replace(".000 s", " s")


def _describe(title, passed, error, step):
    """The figure in words."""
    if not step:
        return f"Between driver and controller, {title}: {len(passed)} things pass; nothing yet."
    each = passed[step - 1]
    way = "from the driver to the controller" if each.to_controller else "from the controller to the driver"
    beneath = f", in {_caller(each)}" if each.path else ", by itself"
    meaning = f": {each.meaning}" if each.meaning else ""
    ends = f" It ends with {error}." if error and step == len(passed) else ""
    return (f"Between driver and controller, {title}, {step} of {len(passed)}: {way}{beneath}: {each.label}{meaning}; "
            f"{_time(each)} after boot.{ends}")
