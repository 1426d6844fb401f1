"""SVG text for every figure: one palette, one set of shapes, the same meaning everywhere.

A kind of thing (`cpu`, `ctx`, `hctx-default`, `tags`, …) always has the same colour and shape. Colours are CSS
variables, so that the light theme, the dark theme and print each have their own; they differ in brightness too, for
those who see no hue. A figure carries its style with it: it looks the same in a page, in JupyterLab and on paper.
"""

from html import escape

_LIGHT = {"ink": "#1c2530", "dim": "#5a6675", "line": "#a9b4c0", "paper": "#ffffff", "band": "#f1f4f7",
          "cpu": "#dfe5ec", "ctx": "#cfe3f5", "default": "#1f5fa8", "read": "#2f8f6b", "poll": "#c2600f",
          "tags": "#8a63b5", "memory": "#f3d9a4", "waste": "#8d6a1f", "changed": "#b3261e", "on": "#ffffff"}
_DARK = {"ink": "#e6ebf1", "dim": "#a3afbd", "line": "#56626f", "paper": "#14181e", "band": "#1d232b",
         "cpu": "#36414d", "ctx": "#234b6d", "default": "#6fb1f0", "read": "#63cfa3", "poll": "#f0a05a",
         "tags": "#c3a1ea", "memory": "#6d5526", "waste": "#e2bd67", "changed": "#ff8a80", "on": "#10141a"}


def _variables(colours):
    return "".join(f"--blk-{name}:{value};" for name, value in colours.items())


STYLE = (
    f".blk{{{_variables(_LIGHT)}"
    "--blk-code:var(--blk-mono,ui-monospace,SFMono-Regular,Menlo,Consolas,monospace);"
    "font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;color:var(--blk-ink)}"
    f"html[data-theme=dark] .blk,body[data-jp-theme-light=false] .blk{{{_variables(_DARK)}}}"
    f"@media print{{html[data-theme=dark] .blk{{{_variables(_LIGHT)}}}}}"
    ".blk svg{display:block;max-width:100%;height:auto;font-family:inherit}"
    ".blk text{fill:var(--blk-ink);font-size:12px}.blk .dim{fill:var(--blk-dim)}.blk .small{font-size:10px}"
    ".blk .head{font-weight:600}.blk .mono{font-family:var(--blk-code)}"
    ".blk .on text,.blk text.on{fill:var(--blk-on)}"
    ".blk .box{stroke:var(--blk-line);fill:var(--blk-paper)}.blk .band{fill:var(--blk-band);stroke:none}"
    ".blk .absent{stroke-dasharray:3 2;fill:none}"
    + "".join(f".blk .{kind}{{fill:var(--blk-{kind})}}.blk .edge-{kind}{{fill:none;stroke:var(--blk-{kind})}}"
              for kind in ("cpu", "ctx", "default", "read", "poll", "tags", "memory", "waste", "changed"))
    + ".blk .edge{stroke-width:1.4;opacity:.75}.blk .edge-line{fill:none;stroke:var(--blk-line)}"
    ".blk-links{white-space:nowrap}.blk .blk-links a{display:inline-block;min-width:24px;padding:0 3px;font-size:11px;"
    "line-height:24px;text-align:center;color:var(--blk-dim)}.blk .blk-links a:hover{color:var(--blk-ink)}"
    ".blk .faint{opacity:.16}.blk .lit{opacity:1;stroke-width:2.6}"
    "@media (prefers-reduced-motion:no-preference){.blk .edge,.blk .part{transition:opacity .15s}}"
)


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
    return (f'<div class="blk"><style>{STYLE}</style>'
            f'<svg xmlns="http://www.w3.org/2000/svg" role="{role}" aria-label="{escape(label)}" '
            f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}">{"".join(parts)}</svg></div>')


def _classes(classes):
    return f' class="{classes}"' if classes else ""
