"""Sorting lists."""

from functools import cmp_to_key


def list_sort(priv, head, cmp):
    """Sort a list; equal entries keep their order. cmp(priv, a, b) is above 0 where a must come after b."""
    order = sorted(head.entries, key=cmp_to_key(lambda a, b: -cmp(priv, b, a)))
    for entry in order:
        head.entries.move_to_end(entry)
