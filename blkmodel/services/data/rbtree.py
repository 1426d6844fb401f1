"""Sorted trees. The model keeps a sorted list and finds places in it by bisection: what counts is the order
(include/linux/rbtree.h, lib/rbtree.c).

In C the caller walks the tree to insert; here it names the key. Equal keys keep the order of their insertion.
The entry's field holds its node while it is in a tree, or None.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from operator import attrgetter
from typing import Any

from blkmodel.sim.structure import NULL, Struct, struct

_place = attrgetter("key", "serial")


@struct
class rb_node(Struct):
    """One place in the tree `root`: `entry` stands there by `key`; serial orders entries of one key."""

    SIZE = 24
    key: int = 0
    serial: int = 0
    entry: Any = None
    root: rb_root = NULL


class rb_root(Struct):
    """A tree: its nodes, in their order; inserted counts the insertions there ever were."""

    __slots__ = ("inserted", "nodes")
    SIZE = 8

    def __init__(self) -> None:
        self.nodes: list[rb_node] = []
        self.inserted = 0


def RB_EMPTY_ROOT(root: rb_root) -> bool:
    return not root.nodes


def RB_EMPTY_NODE(node: rb_node) -> bool:
    """Whether an entry's field says that it is in no tree."""
    return node is None


def insert_by_key(root: rb_root, entry: Any, member: str, key: int) -> None:
    """Put `entry` into the tree behind all whose key is not greater. (In C rb_link_node() and rb_insert_color().)"""
    root.inserted += 1
    node = rb_node(key, root.inserted, entry, root)
    insort(root.nodes, node, key=_place)
    setattr(entry, member, node)


def rb_erase(node: rb_node, root: rb_root, member: str) -> None:
    """Take a node out of the tree; its entry is in none then."""
    assert node.root is root, "a node was erased from a tree that it is not in"
    del root.nodes[_index(node)]
    setattr(node.entry, member, None)


def find_by_key(root: rb_root, key: int) -> rb_node:
    """The first node with this key, or None. (In C the caller walks.)"""
    at = bisect_left(root.nodes, key, key=attrgetter("key"))
    return root.nodes[at] if at < len(root.nodes) and root.nodes[at].key == key else NULL


def rb_next(node: rb_node) -> rb_node:
    """The node after this one, or None."""
    after = _index(node) + 1
    return node.root.nodes[after] if after < len(node.root.nodes) else NULL


def rb_prev(node: rb_node) -> rb_node:
    """The node before this one, or None."""
    before = _index(node) - 1
    return node.root.nodes[before] if before >= 0 else NULL


def _index(node: rb_node) -> int:
    return bisect_left(node.root.nodes, _place(node), key=_place)
