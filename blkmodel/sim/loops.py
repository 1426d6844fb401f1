"""Loops that ask as often as C's do."""

from collections.abc import Callable, Iterator
from itertools import count, takewhile
from typing import Any


def up_to(number: Callable[[], int], item: Callable[[int], Any] = int) -> Iterator[Any]:
    """Bring item(0), item(1), … below number(), which is asked for again before each, as the condition of a `for` of C
    is."""
    return map(item, takewhile(lambda i: i < number(), count()))
