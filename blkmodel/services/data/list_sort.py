"""Sorting lists (lib/list_sort.c)."""

from collections.abc import Callable
from functools import cmp_to_key
from typing import Any

from blkmodel.services.data.list import list_head


def list_sort(priv: Any, head: list_head, cmp: Callable[[Any, Any, Any], int]) -> None:
    """Sort a list; equal entries keep their order. cmp(priv, a, b) is above 0 where a must come after b."""
    order = sorted(head.entries, key=cmp_to_key(lambda a, b: -cmp(priv, b, a)))
    for entry in order:
        head.entries.move_to_end(entry)
