"""Loops that ask as often as C's do."""

from collections.abc import Callable, Iterator


def up_to(count: Callable[[], int]) -> Iterator[int]:
    """Yield 0, 1, … below count(), which is asked for again before each, as in the condition of a `for` of C."""
    i = 0
    while i < count():
        yield i
        i += 1
