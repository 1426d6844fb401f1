"""Charts of what was measured, drawn by matplotlib in the colours of all figures: for chapters, which have it.

    figure, axes = chart(height=240)
    axes.step(times, used, color=COLOURS["tags"])
    drawn(figure, "Tags in use over 2 ms. …")

What comes out is text that is the same on each run, with the colours as variables: it follows the page's theme. The
words in it are text, in the page's font. Nothing else of the package needs this module, nor what it imports.
"""

import re
from hashlib import sha256
from html import escape
from io import StringIO
from typing import Any

import matplotlib
from cycler import cycler
from IPython.display import HTML
from matplotlib.figure import Figure

from blkmodel.view.draw import SHEETS, plain

COLOURS = dict(reversed(re.findall(r"--blk-(\w+):(#[0-9a-f]{6})", SHEETS["base"].partition("}")[0])))
"""What a colour is for in all figures (`ink`, `dim`, `line`, `default`, `read`, `tags`, …) → the colour of the light
theme, which stands for that of any."""
matplotlib.rcParams.update({
    "svg.fonttype": "none", "svg.hashsalt": "blkmodel", "font.size": 11, "axes.titlesize": 11,
    "axes.titlelocation": "left", "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
    "legend.frameon": False, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "axes.axisbelow": True, "grid.linewidth": 0.5, "grid.color": COLOURS["line"], "axes.edgecolor": COLOURS["dim"],
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"), COLOURS["ink"]),
    "axes.prop_cycle": cycler(color=[COLOURS[name] for name in ("default", "poll", "read", "tags")],
                                         linestyle=["-", "--", "-.", ":"])})


def chart(rows: int = 1, columns: int = 1, width: int = 560, height: int = 280, **shared: Any) -> tuple[Figure, Any]:
    """Begin a chart of so many pixels; shared: what Figure.subplots() takes. Returns the figure, and its axes."""
    figure = Figure((width / 72, height / 72), dpi=72, layout="constrained")
    return figure, figure.subplots(rows, columns, **shared)


def drawn(figure: Figure, label: str) -> HTML:
    """Return a chart as a cell shows it. label: what it shows in words, for those who cannot see it."""
    file = StringIO()
    figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    body = _OURS.sub("", file.getvalue().partition("<svg")[2].partition(">")[2])
    body = re.sub("<[^>]*>", lambda tag: re.sub(r"-?\d+\.\d+", _rounded, tag[0]), body)
    body = body.replace("\n", " ")
    names = {name: f"\0-{number}" for number, name in enumerate(re.findall(r' id="([^"]*)"', body))}
    body = re.sub("|".join(names) or "$^", lambda found: names[found[0]], body)
    body = body.replace("\0", "chart-" + sha256(body.encode()).hexdigest()[:8])  # a page may have several charts
    body = re.sub('font-family:[^;"]*', "font-family: var(--blk-code)", body)
    for name, colour in COLOURS.items():
        body = body.replace(colour, f"var(--blk-{name})")
    width, height = figure.bbox.size
    return HTML(plain(f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(label)}" '
                      f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}" '
                      f'style="stroke-linejoin:round">{body}'))


_OURS = re.compile(r"""<style.*?</style>|\ ?font-family:(?![^;"]*mono)[^;"]*;?|\ transform="rotate\(-0[^"]*"
                   |\ id="(?![mpC]?[0-9a-f]{10}")[^"]*"|\n\ *(?=<)|(?<=\S)\n(?=")""", re.DOTALL | re.VERBOSE)
"""What is left out of matplotlib's text: what the page decides, and names that nothing in it refers to."""


def _rounded(number: re.Match[str]) -> str:
    return f"{round(float(number[0]), 1):g}"
