"""Sorted trees: in order, in balance, and of the shape that lib/rbtree.c gives them."""

from types import SimpleNamespace

from hypothesis import given, strategies as st

from blkmodel.services.data.rbtree import (RB_EMPTY_NODE, RB_EMPTY_ROOT, find_by_key, insert_by_key, rb_erase, rb_next,
    rb_prev, rb_root)


def inserted(keys):
    root, entries = rb_root(), [SimpleNamespace(name=name, key=key, node=None) for name, key in enumerate(keys)]
    for entry in entries:
        insert_by_key(root, entry, "node", entry.key)
    return root, entries


def shape(node):
    """(left, name, right) of a node, all the way down; the name of a red one is negative."""
    return node and (shape(node.sides[0]), -node.entry.name if node.red else node.entry.name, shape(node.sides[1]))


def black_nodes(node):
    """How many black nodes each way down from a node has; all have as many, and no red one is below a red one."""
    if node is None:
        return 0
    below = {black_nodes(side) for side in node.sides}
    assert len(below) == 1
    assert not node.red or not any(side is not None and side.red for side in node.sides)
    assert all(side is None or side.parent is node for side in node.sides)
    return below.pop() + (not node.red)


@given(st.lists(st.integers(0, 9), max_size=40), st.randoms(use_true_random=False))
def test_in_order_and_in_balance(keys, random):
    root, entries = inserted(keys)
    left = sorted(entries, key=lambda entry: entry.key)
    for entry in random.sample(entries, len(entries)):
        assert not root.rb_node.red
        black_nodes(root.rb_node)
        nodes = [each.node for each in left]
        assert [rb_next(node) for node in nodes] == [*nodes[1:], None]
        assert [rb_prev(node) for node in nodes] == [None, *nodes[:-1]]
        assert find_by_key(root, entry.key).key == entry.key
        rb_erase(entry.node, root, "node")
        assert RB_EMPTY_NODE(entry.node)
        left.remove(entry)
        assert (find_by_key(root, entry.key) is None) == all(each.key != entry.key for each in left)
    assert RB_EMPTY_ROOT(root)


def test_shapes():
    """The third of three goes round its parent; of several with one key that at the top is found."""
    root, (_, second, *_) = inserted([8, 8, 8])
    assert shape(root.rb_node) == ((None, 0, None), 1, (None, -2, None))
    assert find_by_key(root, 8).entry is second
    root, entries = inserted(range(8))
    assert shape(root.rb_node) == (((None, 0, None), -1, (None, 2, None)), 3,
                                   ((None, 4, None), -5, (None, 6, (None, -7, None))))
    rb_erase(entries[3].node, root, "node")
    assert shape(root.rb_node) == (((None, 0, None), -1, (None, 2, None)), 4,
                                   ((None, 5, None), -6, (None, 7, None)))
