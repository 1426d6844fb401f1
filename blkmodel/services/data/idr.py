"""Small numbers given out, lowest first: alone (ida), or each with a pointer (idr) (lib/idr.c, idr.h).

What the trees behind them allocate is not accounted.
"""

from typing import Any

from blkmodel.services.base.err import ENOSPC
from blkmodel.sim.structure import Struct


class idr(Struct):
    """Numbers in use, each with its pointer, which may be None."""

    __slots__ = ("held",)
    SIZE = 24

    def __init__(self) -> None:
        self.held: dict[int, Any] = {}


class ida(idr):
    """Numbers in use."""

    __slots__ = ()
    SIZE = 16


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
