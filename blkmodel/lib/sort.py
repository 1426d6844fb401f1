"""The kernel's sort: a heap sort, so items that compare equal do not keep their order.

The comparisons and swaps are the same ones as in C, in the same order: where ties end up is part of the result.
"""
from collections.abc import Callable
from typing import Any

from blkmodel.sim import NULL


def sort_r(base: list[Any], num: int, size: int, cmp_func: Callable[..., int], swap_func: Callable[..., None],
           priv: Any) -> None:
    """Sort the first `num` items of a list in place. cmp_func(a, b, priv) is below, at or above 0.

    The sift is the bottom-up one: go down to a leaf along the greater children, then back up to where the item
    belongs. `size`, an item's bytes, and swap_func matter only in C: the model swaps items whole.
    """
    end, root = num, num // 2
    if not root:
        return
    while True:
        if root:
            root -= 1  # [root, end) becomes a heap
        else:
            end -= 1  # [end, num) is sorted: move the greatest of the heap there
            if not end:
                return
            base[0], base[end] = base[end], base[0]

        at = root
        while 2 * at + 2 < end:
            left, right = 2 * at + 1, 2 * at + 2
            at = left if cmp_func(base[left], base[right], priv) >= 0 else right
        if 2 * at + 2 == end:
            at = 2 * at + 1  # the last leaf has no sibling

        while at != root and cmp_func(base[root], base[at], priv) >= 0:
            at = (at - 1) // 2
        place = at
        while at != root:
            at = (at - 1) // 2
            base[at], base[place] = base[place], base[at]


def sort(base: list[Any], num: int, size: int, cmp_func: Callable[..., int], swap_func: Callable[..., None]) -> None:
    """Sort as sort_r() does, with a comparison of two arguments."""
    sort_r(base, num, size, lambda a, b, priv: cmp_func(a, b), swap_func, NULL)
