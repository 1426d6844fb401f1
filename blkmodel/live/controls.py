"""The controls of a live figure: what a reader can change, between which bounds, and the form that shows it.

A bound is a number, the name of another parameter whose value it is, or a function of other parameters. The form
is HTML with real form elements; the script of the static site and the widgets of JupyterLab go by the same controls.
"""

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

Number = int | float
_NARROW, _LINE = 26, 64  # letters that there is room for in one of several columns, and in the only one
_ROWS = 16  # lines that are seen of a long text
Bound = Number | str | Callable[..., Number]
Values = dict[str, Any]
Bounds = dict[str, tuple[Bound, Bound]]


@dataclass(frozen=True)
class Control:
    """One parameter's control. `label` is what the reader sees; by default the parameter's name in words."""

    label: str = field(default="", kw_only=True)

    def bounds(self) -> tuple[Bound, Bound] | None:
        """The lowest and the highest value, as Bounds; None for a control that has none."""
        return None

    def html(self, name: str, value: Any, low: Number, high: Number) -> str:
        """The control as form elements; each kind of control has its own. low, high: its bounds as numbers."""
        raise NotImplementedError


@dataclass(frozen=True)
class Slider(Control):
    """A number from `low` to `high`: a slider, and a field to type it.

    Where the first value is None, an empty field stands for None, and `none` is what it then says.
    """

    low: Bound = 0
    high: Bound = 100
    step: Number = 1
    none: str = field(default="all", kw_only=True)

    def bounds(self) -> tuple[Bound, Bound]:
        return self.low, self.high

    def html(self, name: str, value: Any, low: Number, high: Number) -> str:
        limits, empty = f'min="{low}" max="{high}" step="{self.step}"', f' placeholder="{escape(self.none)}" data-none'
        typed, at = ("", high) if value is None else (value, value)
        return (f'<div class="blk-control" data-kind="number" data-name="{name}"><label>{escape(self.label)} '
                f'<input type="number" {limits} value="{typed}"{empty if value is None else ""}></label>'
                f'<input type="range" {limits} value="{at}" aria-label="{escape(self.label)}"></div>')


@dataclass(frozen=True)
class Steps(Control):
    """After which step: 0, before the first, to `last`. Buttons, a slider, and the arrow keys."""

    last: Bound = 1

    def bounds(self) -> tuple[Bound, Bound]:
        return 0, self.last

    def html(self, name: str, value: Any, low: Number, high: Number) -> str:
        button = '<button type="button" data-go="{}" aria-label="{}">{}</button>'
        buttons = "".join(button.format(*each) for each in (
            ("first", "first step", "⇤"), ("back", "one step back", "←"), ("play", "play", "▶"),
            ("next", "next step", "→"), ("last", "last step", "⇥")))
        return (f'<div class="blk-control blk-steps" data-kind="steps" data-name="{name}" role="group" '
                f'aria-label="{escape(self.label)}">{buttons}<input type="range" min="{low}" max="{high}" step="1" '
                f'value="{value}" aria-label="{escape(self.label)}"><output>{value} of {high}</output></div>')


@dataclass(frozen=True)
class Choice(Control):
    """One of a few values: a list of them, or a dict by what the reader calls them."""

    options: list | tuple | dict = ()

    def pairs(self) -> list[tuple[str, Any]]:
        """(what it is called, value) of each option."""
        return list(self.options.items()) if isinstance(self.options, dict) else \
            [("none" if each is None else str(each), each) for each in self.options]

    def html(self, name: str, value: Any, *_: Any) -> str:
        options = "".join(f'<option value="{escape(json.dumps(each))}"{" selected" if each == value else ""}>'
                          f"{escape(called)}</option>" for called, each in self.pairs())
        wide = " blk-wide" if max(len(called) for called, _ in self.pairs()) > _NARROW else ""
        return _labelled("choice", name, f"{escape(self.label)} <select>{options}</select>", wide)


@dataclass(frozen=True)
class Check(Control):
    """Yes or no."""

    def html(self, name: str, value: Any, *_: Any) -> str:
        return _labelled("check", name, f'<input type="checkbox"{" checked" if value else ""}> {escape(self.label)}')


@dataclass(frozen=True)
class Text(Control):
    """A text; a view that cannot use it raises a ValueError, which is shown to the reader.

    size: how many letters it mostly has. If there is no room for them beside the label, it may take several lines.
    file: whether a reader may choose a file instead, which is read where it is shown, and goes nowhere.
    """

    size: int = 12
    file: bool = False

    def html(self, name: str, value: Any, *_: Any) -> str:
        field = f'<input type="text" size="{self.size}" spellcheck="false" value="{escape(value)}">'
        if self.size > _NARROW:
            rows = min(1 + len(value) // _LINE, _ROWS)
            field = f'<textarea rows="{rows}" spellcheck="false">{escape(value)}</textarea>'
        made = _labelled("text", name, f"{escape(self.label)} {field}", " blk-wide" * (self.size > _NARROW))
        chooser = f'<input type="file" aria-label="a file: {escape(self.label)}">'
        return made.replace("</div>", f"{chooser}</div>") if self.file else made


@dataclass(frozen=True)
class Fixed:
    """No control: a value of the author's, where the plain value would make one."""

    value: object


def control(name: str, wanted: Any) -> tuple[Control | None, Any]:
    """Return the control that an author's shorthand asks for, and the value that it begins with where it says one.

    `(low, high)` or `(low, high, step)` is a slider, a list or a dict a choice, True and False a checkbox, a string a
    line of text. What else is a plain value has no control.
    """
    value: object = None
    if isinstance(wanted, Control):
        made: Control = wanted
    elif isinstance(wanted, Fixed):
        return None, wanted.value
    elif isinstance(wanted, tuple) and wanted and not isinstance(wanted[0], str) and len(wanted) in (2, 3):
        made = Slider(*wanted)
    elif isinstance(wanted, list | tuple | dict):
        made = Choice(wanted)
    elif isinstance(wanted, bool):
        made, value = Check(), wanted
    elif isinstance(wanted, str):
        made, value = Text(), wanted
    else:
        return None, wanted
    return replace(made, label=made.label or words(name)), value


def _labelled(kind: str, name: str, content: str, wide: str = "") -> str:
    return f'<div class="blk-control{wide}" data-kind="{kind}" data-name="{name}"><label>{content}</label></div>'


def words(name: str) -> str:
    """A parameter's name as a reader would say it: `nr_cpus` is "nr CPUs"."""
    return " ".join({"cpu": "CPU", "cpus": "CPUs", "io": "I/O", "irq": "IRQ"}.get(w, w) for w in name.split("_"))


def settle(values: Values, bounds: Bounds) -> tuple[Values, dict[str, tuple[Number, Number]]]:
    """Return the values with every bounded one within its bounds, and those bounds as numbers: name → (low, high).

    None is within all bounds. `bounds`: name → (low, high), each a Bound; they are taken in order, so that one may
    depend on those before it.
    """
    values, settled = dict(values), {}
    for name, (low, high) in bounds.items():
        least, most = _number(low, values), _number(high, values)
        if most < least:
            raise ValueError(f"{words(name)}: there is nothing between {least} and {most}")
        if values[name] is not None:
            values[name] = min(max(values[name], least), most)
        settled[name] = (least, most)
    return values, settled


def form(controls: dict[str, Control], values: Values, bounds: dict[str, tuple[Number, Number]]) -> str:
    """The controls as HTML. It is hidden and off until a script takes it in hand."""
    parts = [each.html(name, values[name], *bounds.get(name, (values[name], values[name])))
             for name, each in controls.items()]
    return ('<form autocomplete="off"><fieldset class="blk-controls" disabled hidden>'
            f'{"".join(parts)}<button type="button" class="blk-reset" data-go="reset">Reset</button></fieldset></form>')


def _number(bound: Bound, values: Values) -> Number:
    if isinstance(bound, str):
        return values[bound]
    if callable(bound):
        wanted = inspect.signature(bound).parameters
        return bound(**{name: value for name, value in values.items() if name in wanted})
    return bound
