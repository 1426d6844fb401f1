"""Which objects are reached from one of them, so many arrows deep."""

from collections.abc import Callable, Collection
from typing import Any

from blkmodel.view.facts.objects import Row

_MOST = 60


class Node:
    """An object that is drawn: its number, its path from the root, its rows, and for a row's name what it leads to."""

    def __init__(self, thing: Any, number: int, path: str, rows: list[Row]) -> None:
        self.thing, self.number, self.path, self.rows = thing, number, path, rows
        self.kids: dict[str, Node] = {}
        self.leads: dict[str, Node] = {}


def nodes_from(thing: Any, depth: int, flipped: Collection[str],
               rows: Callable[[Any], list[Row]]) -> tuple[list[Node], int]:
    """The objects to draw, the nearest first, and how many there was no room for."""
    first = Node(thing, 1, "", rows(thing))
    nodes, known, rest = [first], {id(thing): first}, 0
    level = [first]
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
    return path + name if name.startswith("[") or not path else f"{path}.{name}"
