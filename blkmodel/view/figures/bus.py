"""Registers, doorbells, commands: everything that passes between driver and controller, and the call behind each.

    live(bus, scenario=BUS_SCENARIOS, step=Steps(last_passing))
"""

from html import escape

from blkmodel.trace.on_bus import Passing
from blkmodel.view.draw import panel
from blkmodel.view.draw.bus_rows import rows
from blkmodel.view.facts.bus_traffic import BUS_SCENARIOS, bus_passings
from blkmodel.view.facts.words import within

_ROWS = 9


def last_passing(scenario: str) -> int:
    """How many steps a scenario has."""
    return len(bus_passings(scenario)[0])


def bus(scenario: str = "probe", step: int = 1) -> str:
    """Draw what passes on the bus in a scenario, up to `step`; 0 is before anything did."""
    passed, error = bus_passings(scenario)
    within("step", step, len(passed))
    first = max(0, min(step - 1 - _ROWS // 2, len(passed) - _ROWS))
    shown = range(first, min(first + _ROWS, len(passed)))
    drawn = rows(passed, shown, range(max(step - 1, 0), step), lambda number: number + 1)
    title = next(title for title, name in BUS_SCENARIOS.items() if name == scenario)
    return panel("blk-bus", _describe(title, passed, error, step), "bus",
                 f'<p class="says">{_says(passed, error, step)}</p>{drawn}')


def _says(passed: tuple[Passing, ...], error: str, step: int) -> str:
    """One sentence: who does what; and how it ends."""
    if not step:
        return f"{len(passed)} things pass, and nothing has passed yet."
    each = passed[step - 1]
    meaning = f" ({escape(each.meaning)})" if each.meaning else ""
    time = f" At {_time(each)}." if each.time > passed[0].time else ""
    ends = f" It ends with {error}." if error and step == len(passed) else ""
    if not each.path:
        return f"The controller, by itself: <b>{escape(each.label)}</b>{meaning}.{time}{ends}"
    calls = " … ".join(f"<code>{escape(name)}</code>" for name in each.caller().split(" … "))
    who = f"{each.who.kind} {escape(each.who.name)}, CPU {each.who.cpu}"
    return f"{calls} ({who}): <b>{escape(each.label)}</b>{meaning}.{time}{ends}"


def _time(each: Passing) -> str:
    """When it was, in seconds since boot."""
    return f"{each.time / 1_000_000_000:.3f} s".replace(".000 s", " s")


def _describe(title: str, passed: tuple[Passing, ...], error: str, step: int) -> str:
    """The figure in words."""
    if not step:
        return f"Between driver and controller, {title}: {len(passed)} things pass; nothing yet."
    each = passed[step - 1]
    way = "from the driver to the controller" if each.to_controller else "from the controller to the driver"
    beneath = f", in {each.caller()}" if each.path else ", by itself"
    meaning = f": {each.meaning}" if each.meaning else ""
    ends = f" It ends with {error}." if error and step == len(passed) else ""
    return (f"Between driver and controller, {title}, {step} of {len(passed)}: {way}{beneath}: {each.label}{meaning}; "
            f"{_time(each)} after boot.{ends}")
