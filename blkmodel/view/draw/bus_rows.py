"""What passes between driver and controller, as rows: the driver on the left, the controller on the right."""

from collections.abc import Callable, Sequence
from html import escape

from blkmodel.trace.on_bus import Passing

_SENDS = {"register": "register", "doorbell": "doorbell", "command": "reads memory", "completion": "writes memory",
          "interrupt": "interrupt"}
_IN_MEMORY = {"command": ' class="memory"', "completion": ' class="memory"'}


def rows(passed: Sequence[Passing], shown: range, now: range, step_of: Callable[[int], int]) -> str:
    """The driver on the left, the controller on the right, and beneath each other what passes between them.

    shown, now: the numbers of the passings that are drawn, and of those that pass just now (what follows these is
    still to come). step_of: number → the step that choosing it leads to. The style sheet is `bus`, the class blk-bus.
    """
    keys = "".join(f'<span class="key k-{kind}"><i{_IN_MEMORY.get(kind, "")}></i>{says}</span>'
                   for kind, says in _SENDS.items())
    drawn = "".join(_row(passed[number], number, now, step_of(number)) for number in shown)
    heads = '<div class="heads"><span>driver, and its memory</span><span>controller</span></div>'
    return f'<p class="dim">{keys}</p>{heads}<ol>{drawn}</ol>'


def _row(each: Passing, number: int, now: range, step: int) -> str:
    state = "now" if number in now else "after" if number >= now.stop else "before"
    call = f"{number + 1}. {each.caller()}"
    memory = " memory" if each.kind in _IN_MEMORY else ""
    way, back = ("", "") if each.to_controller else (" left", " back")
    return (f'<li class="{state} k-{each.kind}" data-key="p{number}" data-set="step={step}">'
            f'<div class="what{back}"><b>{escape(each.label)}</b><span class="call">{escape(call)}</span></div>'
            f'<div class="arrow{way}{memory}"></div><div class="dim">{escape(each.meaning)}</div></li>')
