"""Things by number: radix trees, of which only counts who is found where; and small numbers given out, lowest first,
alone (ida) or each with a pointer (idr) (lib/radix-tree.c, radix-tree.h, lib/idr.c, idr.h).

The inner nodes are not modelled, and what they allocate is not accounted.
"""

from bisect import bisect_left, insort
from typing import Any

from blkmodel.services.base.err import EEXIST, ENOSPC
from blkmodel.sim import Struct


class radix_tree_root(Struct, size=16):
    """A tree: `items` by number, and their numbers in order."""

    __slots__ = ("items", "order")

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


class idr(Struct, size=24):
    """Numbers in use, each with its pointer, which may be None."""

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held: dict[int, Any] = {}


class ida(idr, size=16):
    """Numbers in use."""

    __slots__ = ()


def idr_alloc(numbers: idr, pointer: Any, start: int, end: int, gfp: int) -> int:
    """Give out the lowest free number from `start` on and below `end` (0: no end); -ENOSPC where there is none."""
    number = start
    while number in numbers.held:
        number += 1
    if end and number >= end:
        return -ENOSPC
    numbers.held[number] = pointer
    return number


def idr_find(numbers: idr, number: int) -> Any:
    return numbers.held.get(number)


def idr_replace(numbers: idr, pointer: Any, number: int) -> None:
    """Give a number in use another pointer."""
    if number in numbers.held:
        numbers.held[number] = pointer


def idr_remove(numbers: idr, number: int) -> Any:
    return numbers.held.pop(number, None)


def ida_simple_get(numbers: ida, start: int, end: int, gfp: int) -> int:
    return idr_alloc(numbers, None, start, end, gfp)


def ida_simple_remove(numbers: ida, number: int) -> None:
    del numbers.held[number]
