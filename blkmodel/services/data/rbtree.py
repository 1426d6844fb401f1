"""Sorted trees: red-black ones, of the shape that the kernel's have (include/linux/rbtree.h, lib/rbtree.c).

In C the caller walks the tree to insert and to find; here it names the key. Equal keys keep the order of their
insertion. The entry's field holds its node while it is in a tree, or None.
"""

from __future__ import annotations

from typing import Any

from blkmodel.sim import NULL, Struct


class rb_node(Struct, size=24):
    """One place in the tree `root`: `entry` stands there by `key`, smaller ones to its left. sides: left and right."""

    key: int = 0
    entry: Any = None
    root: rb_root = NULL
    parent: rb_node = NULL
    sides: list[rb_node] = NULL
    red: bool = True


class rb_root(Struct, size=8):
    """A tree, by the node at its top."""

    __slots__ = ("rb_node",)

    def __init__(self) -> None:
        self.rb_node: rb_node = NULL

    @property
    def nodes(self) -> list[rb_node]:
        """Its nodes, in their order: for who looks at a tree from outside."""
        def below(node: rb_node) -> list[rb_node]:
            return [] if node is None else [*below(node.sides[0]), node, *below(node.sides[1])]
        return below(self.rb_node)


def RB_EMPTY_ROOT(root: rb_root) -> bool:
    return root.rb_node is None


def RB_EMPTY_NODE(node: rb_node) -> bool:
    """Whether an entry's field says that it is in no tree."""
    return node is None


def insert_by_key(root: rb_root, entry: Any, member: str, key: int) -> None:
    """Put `entry` into the tree behind all whose key is not greater. (In C rb_link_node() and rb_insert_color().)"""
    parent, at, side = NULL, root.rb_node, 0
    while at is not None:
        side = int(key >= at.key)
        parent, at = at, at.sides[side]
    node = rb_node(key, entry, root, parent, [NULL, NULL])
    _hang(root, parent, side, node)
    setattr(entry, member, node)
    while (parent := node.parent) is not None and parent.red:
        above = parent.parent
        side = int(parent is above.sides[1])
        if (uncle := above.sides[1 - side]) is not None and uncle.red:
            parent.red = uncle.red = False
            above.red = True
            node = above
            continue
        if node is parent.sides[1 - side]:
            _rotate(parent, side)
            parent = node
        parent.red, above.red = False, True
        _rotate(above, 1 - side)
        break
    root.rb_node.red = False


def rb_erase(node: rb_node, root: rb_root, member: str) -> None:
    """Take a node out of the tree; its entry is in none then."""
    assert node.root is root, "a node was erased from a tree that it is not in"
    left, right = node.sides
    if left is None or right is None:
        child, parent, gone_red = left or right, node.parent, node.red
        side = _replace(node, child)
    else:
        after = rb_next(node)  # it takes the place of the node, and its colour
        child, gone_red = after.sides[1], after.red
        parent, side = (after, 1) if after is right else (after.parent, 0)
        if after is not right:
            _hang(root, parent, 0, child)
            _hang(root, after, 1, right)
        _hang(root, after, 0, left)
        _replace(node, after)
        after.red = node.red
    if not gone_red:
        _balance(root, parent, side, child)
    node.root = NULL
    setattr(node.entry, member, None)


def _balance(root: rb_root, parent: rb_node, side: int, node: rb_node) -> None:
    """Below `parent` on one side, where `node` hangs, there is a black node less on the way down: put that right."""
    while parent is not None and (node is None or not node.red):
        other = parent.sides[1 - side]
        if other.red:
            other.red, parent.red = False, True
            _rotate(parent, side)
            other = parent.sides[1 - side]
        near, far = other.sides[side], other.sides[1 - side]
        if not (near is not None and near.red) and not (far is not None and far.red):
            other.red = True
            node, parent = parent, parent.parent
            side = int(parent is not None and node is parent.sides[1])
            continue
        if far is None or not far.red:
            near.red, other.red = False, True
            _rotate(other, 1 - side)
            other, far = near, other
        other.red, parent.red, far.red = parent.red, False, False
        _rotate(parent, side)
        return
    if node is not None:
        node.red = False


def _hang(root: rb_root, parent: rb_node, side: int, node: rb_node) -> None:
    """Let a node, or none, hang on a side of another, or be the top."""
    if parent is None:
        root.rb_node = node
    else:
        parent.sides[side] = node
    if node is not None:
        node.parent = parent


def _replace(old: rb_node, new: rb_node) -> int:
    """Let a node, or none, hang where another does. Returns the side."""
    side = int(old.parent is not None and old is old.parent.sides[1])
    _hang(old.root, old.parent, side, new)
    return side


def _rotate(node: rb_node, side: int) -> None:
    """Let a node go down to a side, and the one that hangs on its other side take its place."""
    up = node.sides[1 - side]
    _replace(node, up)
    _hang(node.root, node, 1 - side, up.sides[side])
    _hang(node.root, up, side, node)


def find_by_key(root: rb_root, key: int) -> rb_node:
    """The node with this key that is nearest to the top, or None. (In C the caller walks.)"""
    at = root.rb_node
    while at is not None and at.key != key:
        at = at.sides[key > at.key]
    return at


def rb_next(node: rb_node) -> rb_node:
    """The node after this one, or None."""
    return _beside(node, 1)


def rb_prev(node: rb_node) -> rb_node:
    """The node before this one, or None."""
    return _beside(node, 0)


def _beside(node: rb_node, side: int) -> rb_node:
    if node.sides[side] is not None:
        node = node.sides[side]
        while node.sides[1 - side] is not None:
            node = node.sides[1 - side]
        return node
    while node.parent is not None and node is node.parent.sides[side]:
        node = node.parent
    return node.parent
