"""Objects of a kernel by name and path, such as `nullb0.queue.tag_set.tags[0]`: their fields as rows of text, and what
is reached from one of them, so many arrows deep."""

import re
from collections.abc import Callable, Collection
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from blkmodel.drivers.block import null_blk_main
from blkmodel.services import whole_disks
from blkmodel.sim import Array, Kernel, Struct, layouts, sizeof
from blkmodel.trace.replay import shown

_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
_NAME = re.compile(r"\w+")
_MOST = 60
NOTHING: dict[str, list] = {}


class Row(NamedTuple):
    """A field, or an item of an array: its name, and what it holds as text. target: the object that it points to or
    that lies in it (`inside`), or None. offset: bytes from where the structure begins, where that is known."""

    name: str
    text: str
    target: Any = None
    inside: bool = False
    offset: int | None = None


def anchors(kernel: Kernel) -> dict[str, Any]:
    """Where paths can begin: name → object. Each disk by its name, and null_blk's tag set."""
    with kernel:
        found, shared = whole_disks(), null_blk_main.variables().tag_set
    return found | ({"tag_set": shared} if shared.tags else {})


def find(kernel: Kernel, path: str) -> Any:
    """The object at a path. A ValueError says how far it leads, and what is there."""
    begin = _NAME.match(path)
    known = anchors(kernel)
    if begin is None or begin[0] not in known:
        raise ValueError(f"{path!r} must begin with {' or '.join(sorted(known)) or 'something, but there is nothing'}")
    thing, at = known[begin[0]], begin.end()
    while at < len(path):
        if (step := _STEP.match(path, at)) is None:
            raise ValueError(f"{path!r}: after {path[:at]} comes .field or [number]")
        thing = _field(thing, step[1], path[:at]) if step[1] else _item(thing, int(step[2]), path[:at])
        at = step.end()
    if not is_object(thing):
        raise ValueError(f"{path} is {'NULL' if thing is None else repr(thing)}: it points to nothing")
    return thing


def _field(thing: Any, name: str, path: str) -> Any:
    names = [each.name for each in fields(thing)] if is_dataclass(thing) else []
    if name not in names:
        raise ValueError(f"{path} has no field {name!r}; it has {', '.join(names) or 'none'}")
    return getattr(thing, name)


def _item(thing: Any, number: int, path: str) -> Any:
    if (items := items_of(thing)) is None:
        raise ValueError(f"{path} has no items: it is {'NULL' if thing is None else called(thing)}")
    if number >= len(items):
        raise ValueError(f"{path} has items 0 to {len(items) - 1}, and no {number}" if items else f"{path} is empty")
    return items[number]


def is_object(value: Any) -> bool:
    """Whether a value is something that can be drawn: a structure, or an array or list of anything."""
    return (isinstance(value, Struct) and (is_dataclass(value) or items_of(value) is not None)) or \
        isinstance(value, Array | list | tuple)


def items_of(thing: Any) -> Any:
    """The items of an array, or the entries of a list; None of what is neither."""
    if isinstance(thing, list | tuple):
        return thing
    entries = getattr(thing, "entries", None) if isinstance(thing, Struct) else None
    return None if entries is None else list(entries)


def called(thing: Any) -> str:
    """The C type of an object."""
    if isinstance(thing, Array):
        return f"{thing.ctype}[{len(thing)}]"
    if isinstance(thing, list | tuple):
        return f"{type(thing[0]).__name__ if thing else 'nothing'}[{len(thing)}]"
    return type(thing).__name__


def size_of(thing: Any) -> int | None:
    """The size of an object in bytes; None where nobody knows it."""
    if isinstance(thing, Array):
        return sizeof(thing.kind) * len(thing)
    if isinstance(thing, list | tuple):
        sizes = [size for each in thing if (size := size_of(each)) is not None]
        return sum(sizes) if sizes and len(sizes) == len(thing) else None
    known = isinstance(thing, Struct) and (hasattr(type(thing), "SIZE") or type(thing).__name__ in layouts())
    return sizeof(type(thing)) if known else None  # type: ignore[arg-type]  # a class can be hashed


def rows(thing: Any, everything: bool = False, items: int = 3, wanted: dict[str, list[str]] = NOTHING) -> list[Row]:
    """The rows of an object: of an array its first items, of a structure those fields that are not zero, or all.

    wanted: structure → the fields to show instead, in that order.
    """
    if (found := items_of(thing)) is not None:
        first = [_row(f"[{i}]", each, wanted) for i, each in enumerate(found[:items])]
        return first + ([Row("…", f"{len(found)} in all")] if len(found) > items else [])
    layout = {each["name"]: each for each in layouts().get(type(thing).__name__, {}).get("fields", ())}
    if (names := wanted.get(type(thing).__name__)) is None:
        names = [each.name for each in fields(thing) if not each.name.startswith("_")
                 and (everything or not _is_zero(getattr(thing, each.name)))]
    held = ((name, getattr(thing, name), layout.get(name, {"type": "*", "offset": None})) for name in names)
    return [_row(name, value, wanted, isinstance(value, Struct | list) and not c["type"].endswith("*"), c["offset"])
            for name, value, c in held]


def _is_zero(value: Any) -> bool:
    if isinstance(value, Struct) and not is_dataclass(value):
        return not getattr(value, "bits", True) or items_of(value) == []
    return value is None or (isinstance(value, int | str | list | tuple) and not value)


def _row(name: str, value: Any, wanted: dict[str, list[str]], inside: bool = False, offset: int | None = None) -> Row:
    if is_object(value) or type(value).__name__ in wanted:
        entries = items_of(value)
        many = "" if entries is None else f"{len(entries)} item{'s' * (len(entries) != 1)}"
        return Row(name, many, value if entries or entries is None else None, inside, offset)
    if hasattr(value, "bits"):
        return Row(name, f"{value.bits:#x}", offset=offset)
    if hasattr(value, "__len__") and not isinstance(value, str):
        return Row(name, f"{len(value)} entries", offset=offset)
    return Row(name, type(value).__name__ if isinstance(value, Struct) else shown(None, name, value), offset=offset)


class Node:
    """An object that is drawn: its number, its path from the root, its rows, and for a row's name what it leads to."""

    def __init__(self, thing: Any, number: int, path: str, rows: list[Row]) -> None:
        self.thing, self.number, self.path, self.rows = thing, number, path, rows
        self.kids: dict[str, Node] = {}
        self.leads: dict[str, Node] = {}


def nodes_from(thing: Any, depth: int, flipped: Collection[str],
               rows: Callable[[Any], list[Row]]) -> tuple[list[Node], int]:
    """The objects to draw, the nearest first, and how many there was no room for."""
    level = [Node(thing, 1, "", rows(thing))]
    nodes, known, rest = level[:], {id(thing): level[0]}, 0
    for distance in range(depth + len(flipped) + 1):
        following = []
        for node in level:
            for row in node.rows:
                path = join(node.path, row.name)
                if row.target is None or id(row.target) in known or (distance < depth) == (path in flipped):
                    continue
                if len(nodes) == _MOST:
                    rest += 1
                    continue
                kid = Node(row.target, len(nodes) + 1, path, rows(row.target))
                known[id(row.target)] = node.kids[row.name] = kid
                nodes.append(kid)
                following.append(kid)
        level = following
    for node in nodes:
        node.leads = {row.name: known[id(row.target)] for row in node.rows if id(row.target) in known}
    return nodes, rest


def join(path: str, name: str) -> str:
    """The path of a field or an item (`[3]`) of what is at a path; an empty path is where all paths begin."""
    return path + name if name.startswith("[") or not path else f"{path}.{name}"
