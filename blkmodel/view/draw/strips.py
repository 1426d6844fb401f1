"""Strips of sectors, the keys to their colours, and lines of a log: what figures of mapped devices are drawn with."""

from html import escape

COLOURS = ("default", "read", "poll", "tags", "memory", "waste")


def strip(parts, length, least=4):
    """A strip of `length` sectors with parts (first, sectors, colour, key) on it; a part is at least so wide."""
    shapes = "".join(
        f'<rect class="box {colour}" x="{1000 * first / length:.2f}" y="1" '
        f'width="{max(least, 1000 * sectors / length):.2f}" height="20" data-key="{key}"/>'
        for first, sectors, colour, key in parts)
    return ('<svg xmlns="http://www.w3.org/2000/svg" class="blk-md-strip" aria-hidden="true" '
            'preserveAspectRatio="none" viewBox="0 0 1000 22"><rect class="box" x="0" y="1" width="1000" height="20"/>'
            f"{shapes}</svg>")


def key(colour):
    """A little box of a colour, for a legend."""
    return ('<svg xmlns="http://www.w3.org/2000/svg" class="blk-md-key" width="13" height="13" aria-hidden="true">'
            f'<rect class="box {colour}" x=".5" y=".5" width="12" height="12"/></svg>')


def log(lines):
    return f'<ul class="log">{"".join(f"<li>{escape(line)}</li>" for line in lines)}</ul>'
