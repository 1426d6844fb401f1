"""Small numbers given out, lowest first: alone (ida), or each with a pointer (idr).

What the trees behind them allocate is not accounted.
"""

from blkmodel.services.base.errno import ENOSPC
from blkmodel.sim.structure import Struct


class idr(Struct):
    """Numbers in use, each with its pointer, which may be None."""

    __slots__ = ("held",)
    SIZE = 24

    def __init__(self):
        self.held = {}


class ida(idr):
    """Numbers in use."""

    __slots__ = ()
    SIZE = 16


def idr_alloc(numbers, pointer, start, end, gfp):
    """Give out the lowest free number from `start` on and below `end` (0: no end); -ENOSPC where there is none."""
    number = start
    while number in numbers.held:
        number += 1
    if end and number >= end:
        return -ENOSPC
    numbers.held[number] = pointer
    return number


def idr_find(numbers, number):
    return numbers.held.get(number)


def idr_replace(numbers, pointer, number):
    """Give a number in use another pointer."""
    if number in numbers.held:
        numbers.held[number] = pointer


def idr_remove(numbers, number):
    return numbers.held.pop(number, None)


def ida_simple_get(numbers, start, end, gfp):
    return idr_alloc(numbers, None, start, end, gfp)


def ida_simple_remove(numbers, number):
    del numbers.held[number]
