"""SVG text for every figure: one palette, one set of shapes, the same meaning everywhere.

A kind of thing (`cpu`, `ctx`, `hctx-default`, `tags`, …) always has the same colour and shape. Colours are CSS
variables, so that the light theme, the dark theme and print each have their own; they differ in brightness too, for
those who see no hue. A figure carries its style with it: it looks the same in a page, in JupyterLab and on paper.
"""

from html import escape

from blkmodel.view.draw.styles import sheets

_STYLE = sheets("base")


def text(x, y, content, classes="", anchor="start"):
    """A line of text; (x, y) is where its baseline starts, ends (`end`) or has its middle (`middle`)."""
    at = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:g}" y="{y:g}"{at}{_classes(classes)}>{escape(str(content))}</text>'


def rect(x, y, width, height, classes="box", radius=3, tip=None):
    """A box; `tip` is shown when a pointer rests on it."""
    shape = f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}"{_classes(classes)}'
    return f"{shape}/>" if tip is None else f"{shape}><title>{escape(tip)}</title></rect>"


def curve(x1, y1, x2, y2, classes):
    """A line from left to right that leaves and arrives level."""
    middle = (x1 + x2) / 2
    return (f'<path d="M{x1:g} {y1:g}C{middle:g} {y1:g} {middle:g} {y2:g} {x2:g} {y2:g}"{_classes(classes)}/>')


def group(parts, classes="", tip=None):
    """Shapes that belong together."""
    title = f"<title>{escape(tip)}</title>" if tip else ""
    return f"<g{_classes(classes)}>{title}{''.join(parts)}</g>"


def figure(width, height, label, parts, role="img"):
    """A whole figure as HTML text. `label` says in words what it shows, for those who cannot see it.

    role: `group` where parts of it are links; what is in an `img` cannot be reached.
    """
    return plain(f'<svg xmlns="http://www.w3.org/2000/svg" role="{role}" aria-label="{escape(label)}" '
                 f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}">{"".join(parts)}</svg>')


def plain(content):
    """What needs no style but the common one, as HTML."""
    return f'<div class="blk"><style>{_STYLE}</style>{content}</div>'


def panel(classes, label, style, *parts):
    """A figure that is made of text and tables, as HTML. `label` says in words what it shows; `style` is its sheets."""
    return (f'<div class="blk {classes}" role="group" aria-label="{escape(label)}"><style>{style}</style>'
            f"{''.join(parts)}</div>")


def _classes(classes):
    return f' class="{classes}"' if classes else ""
