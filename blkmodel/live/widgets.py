"""The controls of a live figure as widgets of JupyterLab. Imported only where a kernel is going to show one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from typing import TYPE_CHECKING, Any

import ipywidgets
import traitlets

from blkmodel.live.controls import Check, Choice, Control, Number, Slider, Steps
from blkmodel.view.draw import SHEETS

if TYPE_CHECKING:
    from blkmodel.live import Live

_STYLE = f"<style>{SHEETS['widgets']}</style>"
_MOVE = re.compile(r'<button[^>]* data-key="[^"]*" data-set="(\w+)=([^"]*)"( aria-disabled="true")?>([^<]*)</button>')


class Optional(ipywidgets.HBox):
    """A slider that can be off: its value is then None."""

    value = traitlets.Any()

    def __init__(self, slider: Any, none: str) -> None:
        self._off, self._slider = ipywidgets.Checkbox(value=True, description=none, indent=False), slider
        self._off.layout.width = "auto"
        super().__init__([slider, self._off])
        self._off.observe(lambda _: self._tell(), "value")
        slider.observe(lambda _: self._slid(), "value")
        self.observe(lambda change: self._show(change["new"]), "value")

    min = property(lambda self: self._slider.min, lambda self, low: self._bound("min", low))
    max = property(lambda self: self._slider.max, lambda self, high: self._bound("max", high))

    def _bound(self, name: str, value: Number) -> None:
        off = self._off.value
        setattr(self._slider, name, value)
        self._off.value = off

    def _slid(self) -> None:
        self._off.value = False
        self._tell()

    def _tell(self) -> None:
        self.value = None if self._off.value else self._slider.value

    def _show(self, value: Any) -> None:
        if value is not None:
            self._slider.value = value
        self._off.value = value is None


def build(figure: Live) -> ipywidgets.VBox:
    """Make the widgets of a figure, join them to it, and return the box that holds them."""
    made, rows = {}, []
    for name, control in figure.controls.items():
        made[name], row = _widget(control, figure.values[name], *figure.drawn.bounds.get(name, (0, 0)))
        made[name].observe(lambda change, name=name: _changed(figure, name, change["new"]), "value")
        rows.append(row)
    reset = ipywidgets.Button(description="Reset", layout={"width": "auto"})
    author = dict(figure.values)
    reset.on_click(lambda _: figure.set(**author))
    shown = ipywidgets.HTML(_STYLE + figure.drawn.html)
    moves = ipywidgets.HBox()
    figure._widgets = {"controls": made, "shown": shown, "moves": moves, "show": show}
    _move(figure, moves)
    bar = ipywidgets.Box([*rows, reset], layout={"flex_flow": "row wrap", "align_items": "center", "grid_gap": "0 1em"})
    return ipywidgets.VBox([bar, moves, shown])


def show(figure: Live) -> None:
    """Bring the widgets up to what the figure has drawn."""
    for name, widget in figure._widgets["controls"].items():
        with widget.hold_trait_notifications():
            if name in figure.drawn.bounds:
                low, high = figure.drawn.bounds[name]
                widget.min = min(low, widget.max)
                widget.max, widget.min = high, low
            if widget.value != figure.values[name]:
                widget.value = figure.values[name]
    figure._widgets["shown"].value = _STYLE + figure.drawn.html
    _move(figure, figure._widgets["moves"])


def _move(figure: Live, box: ipywidgets.HBox) -> None:
    """Make the buttons that lead on from what is drawn once more, as widgets: HTML cannot answer here."""
    if not (drawn := re.search(r'<div class="blk-moves">.*?</div>', figure.drawn.html)):
        return
    moves = _MOVE.findall(drawn[0])
    while len(box.children) < len(moves):
        button = ipywidgets.Button(layout={"width": "auto"})
        button.on_click(lambda made: figure.set(**made.target))
        box.children = (*box.children, button)
    for button, (name, value, off, label) in zip(box.children, moves, strict=True):
        button.description, button.disabled, button.target = label, bool(off), {name: json.loads(unescape(value))}


def _changed(figure: Live, name: str, value: Any) -> None:
    if figure.values[name] != value:
        figure.set(**{name: value})


def _widget(control: Control, value: Any, low: Number, high: Number) -> tuple[Any, Any]:
    """Return the widget that holds the value, and what is shown of it."""
    wide = {"description_width": "initial"}
    if isinstance(control, Choice):
        widget = ipywidgets.Dropdown(options=control.pairs(), value=value, description=control.label, style=wide)
    elif isinstance(control, Check):
        widget = ipywidgets.Checkbox(value=value, description=control.label, indent=False)
    elif isinstance(control, Slider):
        at = high if value is None else value
        whole = all(isinstance(each, int) for each in (at, low, high, control.step))
        kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
        widget = kind(value=at, min=low, max=high, step=control.step, description=control.label, style=wide)
        if value is None:
            widget = Optional(widget, control.none)
    elif isinstance(control, Steps):
        widget = ipywidgets.IntSlider(value=value, min=low, max=high, description=control.label, style=wide)
        return widget, _buttons(widget)
    else:
        field = ipywidgets.Textarea if "\n" in value else ipywidgets.Text
        widget = field(value=value, description=control.label, continuous_update=False, style=wide,
                       layout={"width": f"{getattr(control, 'size', 0) + 16}ch"})
    return widget, _with_file(widget) if getattr(control, "file", False) else widget


def _with_file(field: Any) -> ipywidgets.HBox:
    """A field for text with a button that chooses a file for it."""
    def taken(change: Any) -> None:
        field.value = change["new"][0]["content"].tobytes().decode("utf8", "replace")
    chooser = ipywidgets.FileUpload(description="a file")
    chooser.observe(taken, "value")
    return ipywidgets.HBox([field, chooser])


def _buttons(slider: Any) -> ipywidgets.HBox:
    """The slider of a step control with its buttons. Play runs in the browser and moves the slider there."""
    def button(sign: str, says: str, target: Callable[[], int]) -> ipywidgets.Button:
        made = ipywidgets.Button(description=sign, tooltip=says, layout={"width": "3em"})
        made.on_click(lambda _: setattr(slider, "value", min(max(target(), slider.min), slider.max)))
        return made
    play = ipywidgets.Play(value=slider.value, min=slider.min, max=slider.max, interval=700, show_repeat=False)
    for trait in ("value", "min", "max"):
        ipywidgets.link((slider, trait), (play, trait))
    return ipywidgets.HBox([button("⇤", "first step", lambda: slider.min),
                            button("←", "one step back", lambda: slider.value - 1), play,
                            button("→", "next step", lambda: slider.value + 1),
                            button("⇥", "last step", lambda: slider.max), slider])
