"""The calls that matter of one tree as a picture to remember: boxes that hang beneath each other, by source file."""

from collections.abc import Iterator
from html import escape

from blkmodel.trace import Node, Recording
from blkmodel.view.draw import group, kernel_url, plain, rect, text
from blkmodel.view.draw.figure import figure

_FILES = (("drivers/", "default", "the driver"), ("block/", "ctx", "the block layer"), ("lib/", "tags", "the library"),
          ("fs/", "memory", "the caller"))
_STEP, _BOX, _HEIGHT, _GAP = 22, 272, 36, 8


def call_picture(recording: Recording, root: str, notes: dict[str, str]) -> str:
    """Draw the first call of `root` in a recording, with those functions beneath it that have a note, in their order.

    notes: function → what it does, in a few words; it stands in the box. A function that is called several times is
    drawn once.
    """
    node = next(node for nodes in recording.forest([root]).values() for node in nodes)
    drawn, boxes, lines = list(_wanted(node, notes, 0, set())), [], []
    last: dict[int, float] = {}
    for row, (each, depth) in enumerate(drawn):
        x, y = 2 + depth * _STEP, 2 + row * (_HEIGHT + _GAP)
        if depth:
            left = x - _STEP + 10
            lines.append(f'<path class="edge-line" d="M{left} {last[depth - 1]:g}V{y + _HEIGHT / 2:g}H{x}"/>')
        last[depth] = y + _HEIGHT
        boxes.append(_box(each, notes[each.function], x, y))
    width = 2 + max(depth for _, depth in drawn) * _STEP + _BOX + 2
    height = len(drawn) * (_HEIGHT + _GAP) + 2
    label = f"{root} and what it leads to: " + "; ".join(
        f"{each.function}, {depth} deep: {notes[each.function]}" for each, depth in drawn) + "."
    return _key({_kind(each.file) for each, _ in drawn}) + figure(width, height, label, lines + boxes, "group")


def _wanted(node: Node, notes: dict[str, str], depth: int, seen: set[str]) -> Iterator[tuple[Node, int]]:
    """The calls to be drawn, each with how deep it hangs; what is between them is left out."""
    if node.function in notes and node.function not in seen:
        seen.add(node.function)
        yield node, depth
        depth += 1
    for call in node.calls:
        yield from _wanted(call, notes, depth, seen)


def _kind(file: str) -> tuple[str, str, str]:
    return next(entry for entry in _FILES if file.startswith(entry[0]))


def _box(node: Node, note: str, x: float, y: float) -> str:
    parts = [rect(x, y, _BOX, _HEIGHT, "box"), rect(x, y, 6, _HEIGHT, _kind(node.file)[1], 2),
             text(x + 14, y + 15, node.function, "head mono"), text(x + 14, y + 29, note, "small dim")]
    url = kernel_url(node.function, node.file)
    drawn = group(parts, "part", f"{node.function} in {node.file}: {note}")
    return f'<a href="{escape(url)}" style="text-decoration:none">{drawn}</a>' if url else drawn


def _key(kinds: set[tuple[str, str, str]]) -> str:
    items = "".join(f'<span style="white-space:nowrap;margin-right:1.2em"><svg xmlns="http://www.w3.org/2000/svg" '
                    f'width="8" height="14" style="display:inline;vertical-align:-2px;margin-right:.4em" '
                    f'aria-hidden="true">{rect(0, 0, 8, 14, kind, 2)}</svg>{escape(name)} <code>{escape(start)}</code>'
                    "</span>" for start, kind, name in _FILES if (start, kind, name) in kinds)
    return plain(f'<p style="font-size:13px">{items}</p>')
