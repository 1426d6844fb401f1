"""An object of the model and what it points to, as boxes of fields and arrows between them."""

from dataclasses import fields

from blkmodel.sim.structure import Array, Struct, sizeof
from blkmodel.view.figure import curve, figure, group, rect, text

_WIDTH, _GAP, _LINE, _ITEMS = 150, 26, 17, 3
_KINDS = {"blk_mq_tag_set": "ctx", "request_queue": "ctx", "blk_mq_ctx": "ctx", "blk_mq_hw_ctx": "default",
          "blk_mq_tags": "tags", "sbitmap_queue": "tags", "sbitmap": "tags", "request": "memory", "page": "memory"}


def structure_graph(root, depth=2, wanted=None, items=1):
    """Draw `root` and what it points to, `depth` arrows deep; of an array, what its first `items` point to.

    `wanted`: structure name → the fields to show, in that order; of others, those that are not zero. Each structure is
    drawn once, however many point to it.
    """
    columns = _columns(root, depth, wanted or {}, items)
    places = _place(columns)
    width = len(columns) * (_WIDTH + _GAP) - _GAP + 4
    height = max(y + box for y, box in ((places[id(n)][1], _height(rows)) for col in columns for n, rows in col)) + 4
    arrows, boxes = [], []
    for column in columns:
        for node, rows in column:
            boxes.append(_box(node, rows, *places[id(node)]))
            arrows += _arrows(node, rows, places)
    label = f"{_name(root)} and what it points to: " + "; ".join(
        f"{_name(node)} with " + ", ".join(f"{name}={value}" for name, value, _ in rows) for c in columns
        for node, rows in c)
    return figure(width, height, label, arrows + boxes)


def _columns(root, depth, wanted, items):
    """Return, for each distance from root, the (node, rows) that are that far away."""
    seen, level, columns = {id(root)}, [root], []
    for distance in range(depth + 1):
        column = [(node, _rows(node, wanted)) for node in level]
        columns.append(column)
        following = []
        for node, rows in column if distance < depth else []:
            for _, _, target in rows if isinstance(node, Struct) else rows[:items]:
                if target is not None and id(target) not in seen:
                    seen.add(id(target))
                    following.append(target)
        if not following:
            break
        level = following
    return columns


def _rows(node, wanted):
    """The (label, value as text, what it points to or None) of a structure's fields or an array's first items."""
    if isinstance(node, Array | list | tuple):
        rows = [_row(f"[{i}]", item, wanted) for i, item in enumerate(node[:_ITEMS])]
        return rows + ([("…", f"{len(node)} in all", None)] if len(node) > _ITEMS else [])
    names = wanted.get(type(node).__name__)
    if names is None:
        names = [f.name for f in fields(node) if not f.name.startswith("_") and _shows(getattr(node, f.name))]
    return [_row(name, getattr(node, name), wanted) for name in names]


def _shows(value):
    return value is not None and value != 0 and value != "" and not callable(value)


def _row(name, value, wanted):
    if isinstance(value, Struct) and (hasattr(value, "__dataclass_fields__") or type(value).__name__ in wanted):
        return name, "→", value
    if isinstance(value, Array) or (isinstance(value, list | tuple) and value and isinstance(value[0], Struct)):
        return name, f"→ {len(value)} items", value
    if value is None:
        return name, "NULL", None
    if hasattr(value, "bits"):
        return name, f"{value.bits:#x}", None
    if hasattr(value, "__len__") and not isinstance(value, str):
        return name, f"{len(value)} entries", None
    if callable(value):
        return name, getattr(value, "__name__", "?"), None
    return name, str(value), None


def _height(rows):
    return 24 + _LINE * len(rows) + 6


def _place(columns):
    places = {}
    for i, column in enumerate(columns):
        y = 2
        for node, rows in column:
            places[id(node)] = (2 + i * (_WIDTH + _GAP), y)
            y += _height(rows) + 14
    return places


def _name(node):
    return f"{node.ctype}[{len(node)}]" if isinstance(node, Array) else \
        f"[{len(node)}]" if isinstance(node, list | tuple) else type(node).__name__


def _box(node, rows, x, y):
    kind = _KINDS.get(type(node).__name__, "cpu")
    name, on = _name(node), " on" if kind in ("default", "tags") else ""
    address = getattr(node, "_addr", 0)
    tip = f"{name} at {address:#x}" if address else f"{name}, inside another structure"
    if isinstance(node, Struct) and address:
        tip += f", {sizeof(type(node))} bytes"  # type: ignore[arg-type]  # a class can be hashed
    parts = [rect(x, y, _WIDTH, _height(rows), "box"), rect(x, y, _WIDTH, 22, f"box {kind}"),
             text(x + 8, y + 15, name, f"head mono{on}")]
    for i, (label, value, _) in enumerate(rows):
        at = y + 24 + _LINE * i + 12
        parts += [text(x + 8, at, label, "mono small"), text(x + _WIDTH - 8, at, value, "mono small dim", "end")]
    return group(parts, "", tip)


def _arrows(node, rows, places):
    x, y = places[id(node)]
    for i, (_, _, target) in enumerate(rows):
        if target is not None and id(target) in places:
            to_x, to_y = places[id(target)]
            if to_x > x:
                yield curve(x + _WIDTH, y + 24 + _LINE * i + 8, to_x, to_y + 11, "edge-line edge")
