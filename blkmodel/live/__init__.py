"""One call that makes a view answer to its reader: `live(view, cpus=(1, 64))`, in JupyterLab and in the static site.

In JupyterLab the controls are widgets, and the view runs in the kernel. In the static site the cell's stored HTML
already has the figure and its form; a script hands each change to answer(), in an interpreter that runs in the page.
Both draw with draw(), so both show the same, to the letter.
"""

import importlib
import inspect
import json
import os
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape, unescape
from typing import Any, NamedTuple

from blkmodel.errors import KernelError
from blkmodel.live.controls import (Bounds, Check, Choice, Control, Fixed, Slider, Steps, Text, Values, control, form,
    settle)
from blkmodel.sim import HungTask
from blkmodel.sim.ground import NoGround

__all__ = ["Check", "Choice", "Fixed", "Live", "Slider", "Steps", "Text", "answer", "draw", "live"]

STILL = "This is a still. It answers to its controls where JavaScript is on, and in JupyterLab while a kernel runs."
View = Callable[..., str]
SAID_BY_THE_MODEL = (KernelError, HungTask, NoGround, ValueError)


class Drawn(NamedTuple):
    """An answer: the figure, or the message that stands in its place; the values it is for, and their bounds."""

    html: str
    error: bool
    values: Values
    bounds: Values


def live(view: View, /, *, start: Values | None = None, follow: str = "", name: str = "", **controls: Any) -> "Live":
    """Show a view with one control for each of the parameters named in `controls`.

    view: a function of a `blkmodel.view.figures` module; all its parameters have plain defaults, and it returns HTML.
    controls: parameter → `(low, high)` or `(low, high, step)`, a list or a dict of choices, True or False, a text, or
        `Slider`, `Choice`, `Check`, `Text`, `Steps`. A bound may be another parameter's name, or a function of others.
        A number or None fixes the parameter, and so does `Fixed(value)`.
    start: parameter → the value to begin with, where that is not the view's default.
    follow: figures with the same word share the parameters that they have in common.
    name: what the figure is called in the page's address; the view's name by default.
    """
    name = name or view.__name__
    others = [other for other in _groups[follow].values() if other.name != name] if follow else []
    made = {each: found for each, wanted in controls.items() if (found := control(each, wanted)[0])}
    return Live(view, _values(view, controls, start or {}, others), made, follow, name)


def draw(view: View, values: Values, bounds: Bounds) -> Drawn:
    """Call the view; what the model says against it becomes a message. Bugs are raised."""
    settled: Values = {}
    try:
        values, settled = settle(values, bounds)
        return Drawn(view(**values), False, values, settled)
    except SAID_BY_THE_MODEL as error:
        return Drawn(message(error), True, values, settled)


def answer(request: str) -> str:
    """Answer the script of the static site. JSON in: view, values, bounds; JSON out: a Drawn.

    A bug of ours is a message too: a reader has no use for a traceback.
    """
    asked = json.loads(request)
    try:
        bounds = {name: tuple(_found(each) for each in pair) for name, pair in asked["bounds"].items()}
        drawn = draw(_found(asked["view"]), asked["values"], bounds)
    except (ImportError, EOFError):  # the interpreter in the page lacks a module: not the model's doing
        raise
    except Exception as error:
        drawn = Drawn(message(error), True, asked["values"], {})
    return json.dumps(drawn._asdict())


def message(error: Exception) -> str:
    """What a reader is told instead of a figure: the errno with what failed, and the lines of the kernel log."""
    ours = isinstance(error, SAID_BY_THE_MODEL)
    said = escape(f"{error}" if ours else f"The model stopped: {type(error).__name__}: {error}")
    log = ""
    if isinstance(error, KernelError):
        what = str(error.strerror).partition("\n")[0].removesuffix(f": {error.name}")
        said = f"<strong>{escape(error.name)}</strong> ({error.errno}): {escape(what)}"
        log = f"<pre>{escape(chr(10).join(error.log))}</pre>" if error.log else ""
    return f'<div class="blk-message"><p>{said}</p>{log}</div>'


@dataclass(eq=False)
class Live:
    """A live figure, as a cell shows it. `values` is the reader's state, and what other figures may follow."""

    view: View
    values: Values
    controls: dict[str, Control]
    follow: str = ""
    name: str = ""
    drawn: Drawn = field(init=False)
    _widgets: Values = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.drawn = draw(self.view, self.values, self.bounds)
        self.values = self.drawn.values
        if self.follow:
            _groups[self.follow][self.name] = self  # in a notebook, a cell that runs again replaces its figure

    @property
    def bounds(self) -> Bounds:
        """Parameter → its bounds, of those that have any."""
        return {name: pair for name, each in self.controls.items() if (pair := each.bounds())}

    def html(self) -> str:
        """The still with its form, ready to be taken in hand by the script."""
        spec = {"view": _path(self.view), "name": self.name, "follow": self.follow or None, "values": self.values,
                "bounds": {name: [_path(b) if callable(b) else b for b in pair] for name, pair in self.bounds.items()}}
        ready = form(self.controls, self.values, self.drawn.bounds)
        return (f'<div class="blk-live" data-live="{escape(json.dumps(spec))}">{ready}'
                f'<div class="blk-shown">{self.drawn.html}</div><p class="blk-status" role="status">{STILL}</p></div>')

    def set(self, **values: Any) -> None:
        """Change parameters, here and in what follows along, and draw anew."""
        for figure in dict.fromkeys([self, *(_groups[self.follow].values() if self.follow else ())]):
            figure._take(values)

    def __repr__(self) -> str:
        label = re.search(r'aria-label="([^"]*)"', self.drawn.html)
        return f"{self.name}: {unescape(label[1] if label else re.sub(r'<[^>]+>', ' ', self.drawn.html)).strip()}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Values:
        bundle = {"text/plain": repr(self), "text/html": self.html()}
        if not os.environ.get("BLKMODEL_STILL"):
            from blkmodel.live import widgets
            bundle = widgets.build(self)._repr_mimebundle_() | bundle
        return bundle

    def _take(self, values: Values) -> None:
        self.drawn = draw(self.view, self.values | {n: v for n, v in values.items() if n in self.values}, self.bounds)
        self.values = self.drawn.values
        if self._widgets:
            self._widgets["show"](self)


_groups: defaultdict[str, dict[str, Live]] = defaultdict(dict)  # word → the figures that follow each other by it


def _values(view: View, controls: Values, start: Values, others: list[Live]) -> Values:
    """The values to begin with: the view's defaults, what is already shown to followers, and what the author says."""
    path = _path(view)
    parameters = inspect.signature(view).parameters
    for name in {*controls, *start}:
        if name not in parameters:
            raise ValueError(f"{path} has no parameter {name!r}; it has {', '.join(parameters)}")
    values = {}
    for name, parameter in parameters.items():
        given = control(name, controls[name])[1] if name in controls else None
        if given is None and parameter.default is inspect.Parameter.empty:
            raise ValueError(f"{path}: the parameter {name!r} needs a default, or a fixed value")
        values[name] = parameter.default if given is None else given
    for other in others:
        values |= {n: v for n, v in other.values.items() if n in values}
    values |= start
    if json.loads(json.dumps(values)) != values:
        raise ValueError(f"{path}: a live figure's parameters are numbers, texts, True, False, None, lists of them")
    return values


def _path(function: Callable[..., Any]) -> str:
    """How the static site calls a function: module and name. It can call only what is at the top of a view's module."""
    found = getattr(importlib.import_module(function.__module__), function.__name__, None)
    if found is not function or not function.__module__.startswith("blkmodel.view."):
        raise ValueError(f"{function.__qualname__} of {function.__module__} must be at the top level of a module in "
                         "blkmodel/view: the static site knows no other functions")
    return f"{function.__module__}:{function.__name__}"


def _found(path: Any) -> Any:
    """The function of a path; what is no path comes back as it is."""
    if not isinstance(path, str) or ":" not in path:
        return path
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
