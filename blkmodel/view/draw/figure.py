"""SVG text for every figure: one palette, one set of shapes, the same meaning everywhere.

A kind of thing (`cpu`, `ctx`, `hctx-default`, `tags`, …) always has the same colour and shape. Colours are CSS
variables, set in styles/base.css, so that the light theme, the dark theme and print each have their own; they differ
in brightness too, for those who see no hue. A figure carries its style with it: it looks the same in a page, in
JupyterLab and on paper.
"""

from collections.abc import Iterable
from html import escape

from blkmodel.view.draw.styles import style


def text(x: float, y: float, content: object, classes: str = "", anchor: str = "start") -> str:
    """A line of text; (x, y) is where its baseline starts, ends (`end`) or has its middle (`middle`)."""
    at = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:g}" y="{y:g}"{at}{_classes(classes)}>{escape(str(content))}</text>'


def rect(x: float, y: float, width: float, height: float, classes: str = "box", radius: float = 3) -> str:
    """A box."""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}"{_classes(classes)}/>'


def curve(x1: float, y1: float, x2: float, y2: float, classes: str) -> str:
    """A line from left to right that leaves and arrives level."""
    middle = (x1 + x2) / 2
    return (f'<path d="M{x1:g} {y1:g}C{middle:g} {y1:g} {middle:g} {y2:g} {x2:g} {y2:g}"{_classes(classes)}/>')


def group(parts: list[str], classes: str = "", tip: str | None = None) -> str:
    """Shapes that belong together."""
    title = f"<title>{escape(tip)}</title>" if tip else ""
    return f"<g{_classes(classes)}>{title}{''.join(parts)}</g>"


def figure(width: float, height: float, label: str, parts: list[str], role: str = "img") -> str:
    """A whole figure as HTML text. `label` says in words what it shows, for those who cannot see it.

    role: `group` where parts of it are links; what is in an `img` cannot be reached.
    """
    return plain(f'<svg xmlns="http://www.w3.org/2000/svg" role="{role}" aria-label="{escape(label)}" '
                 f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}">{"".join(parts)}</svg>')


def plain(content: str, classes: str = "", sheets: str = "") -> str:
    """HTML with the style that it needs: the common one, and these sheets."""
    return f'<div class="{f"blk {classes}".strip()}"><style>{style(sheets)}</style>{content}</div>'


def panel(classes: str, label: str, sheets: str, *parts: str) -> str:
    """A figure that is made of text and tables, as HTML. `label` says in words what it shows; sheets: of its style."""
    return (f'<div class="blk {classes}" role="group" aria-label="{escape(label)}"><style>{style(sheets)}</style>'
            f"{''.join(parts)}</div>")


def stretched(classes: str, width: float, height: float, shapes: str, attributes: str = "") -> str:
    """SVG text that fills the width that there is, however wide it is drawn; `attributes` begin with a blank."""
    return (f'<svg xmlns="http://www.w3.org/2000/svg" class="{classes}"{attributes} preserveAspectRatio="none" '
            f'viewBox="0 0 {width:g} {height:g}">{shapes}</svg>')


def table(titles: Iterable[str], rows: str, classes: str = "") -> str:
    """A table of rows (as HTML), with a title above each column; classes: of the titles."""
    heads = "".join(f'<th scope="col"{_classes(classes)}>{title}</th>' for title in titles)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def row(head: str, *cells: object) -> str:
    """A row of a table: its head, and its cells."""
    return f'<tr><th scope="row">{head}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def keys(classes: str, cells: list[tuple[str, str]]) -> str:
    """What shapes (SVG text, 15 by 15) mean, one behind the other."""
    return "".join(f'<span class="key dim">{legend(classes, 15, 15, shape)}{what}</span>' for shape, what in cells)


def legend(classes: str, width: int, height: int, shape: str) -> str:
    """A little picture of what a key explains, as SVG text."""
    return (f'<svg xmlns="http://www.w3.org/2000/svg" class="{classes}" width="{width}" height="{height}" '
            f'aria-hidden="true">{shape}</svg>')


def _classes(classes: str) -> str:
    return f' class="{classes}"' if classes else ""
