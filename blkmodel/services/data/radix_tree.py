"""Radix trees: things by a number. What counts is who is found where; the inner nodes are not modelled
(lib/radix-tree.c, radix-tree.h)."""

from bisect import bisect_left, insort
from typing import Any

from blkmodel.services.base.err import EEXIST
from blkmodel.sim.structure import Struct


class radix_tree_root(Struct):
    """A tree: `items` by number, and their numbers in order."""

    __slots__ = ("items", "order")
    SIZE = 16

    def __init__(self) -> None:
        self.items: dict[int, Any] = {}
        self.order: list[int] = []


def radix_tree_insert(root: radix_tree_root, index: int, item: Any) -> int:
    """Put an item at a number. Returns 0, or -EEXIST where there is one."""
    if index in root.items:
        return -EEXIST
    root.items[index] = item
    insort(root.order, index)
    return 0


def radix_tree_lookup(root: radix_tree_root, index: int) -> Any:
    return root.items.get(index)


def radix_tree_delete_item(root: radix_tree_root, index: int, item: Any) -> Any:
    """Take the item away and return it; None where the number has not this item."""
    if root.items.get(index) is not item:
        return None
    del root.order[bisect_left(root.order, index)]
    return root.items.pop(index)


def radix_tree_gang_lookup(root: radix_tree_root, first: int, most: int) -> list[Any]:
    """Up to `most` items from number `first` on, in their order."""
    at = bisect_left(root.order, first)
    return [root.items[index] for index in root.order[at:at + most]]


def radix_tree_empty(root: radix_tree_root) -> bool:
    return not root.items
