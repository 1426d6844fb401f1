"""Strips of sectors, the keys to their colours, and lines of a log: what figures of mapped devices are drawn with."""

from collections.abc import Iterable
from html import escape

from blkmodel.view.draw.figure import legend, stretched

COLOURS = ("default", "read", "poll", "tags", "memory", "waste")


def strip(parts: Iterable[tuple[int, int, str, str]], length: int, least: int = 4) -> str:
    """A strip of `length` sectors with parts (first, sectors, colour, key) on it; a part is at least so wide."""
    shapes = "".join(f'<rect class="box {colour}" x="{1000 * first / length:.2f}" y="1" '
                     f'width="{max(least, 1000 * sectors / length):.2f}" height="20" data-key="{key}"/>'
                     for first, sectors, colour, key in parts)
    whole = '<rect class="box" x="0" y="1" width="1000" height="20"/>'
    return stretched("blk-md-strip", 1000, 22, whole + shapes, ' aria-hidden="true"')


def key(colour: str, classes: str = "blk-md-key") -> str:
    """A little box of a colour, for a legend."""
    return legend(classes, 13, 13, f'<rect class="box {colour}" x=".5" y=".5" width="12" height="12"/>')


def log(lines: Iterable[str], nothing: str = "") -> str:
    """Lines of the kernel's log as a list; `nothing`: what stands there if there are none."""
    said = "".join(f"<li>{escape(line)}</li>" for line in lines) or (nothing and f'<li class="dim">{nothing}</li>')
    return f'<ul class="log">{said}</ul>'
