"""What a kernel does about the impossible (include/asm-generic/bug.h)."""

import sys
from typing import Any

from blkmodel.sim import statics, this


class KernelBug(AssertionError):
    """BUG(): the kernel would stop here."""

    name = "BUG"


def WARN_ON(condition: Any, what: str = '') -> bool:
    """Log a warning where the condition holds; return whether it does."""
    if condition:
        kernel = this()
        kernel.printk(f"WARNING: CPU: {kernel.cpu}: {what}".rstrip(": "))
    return bool(condition)


@statics
class warned:
    """The places in the source that have warned since boot, of those that warn once; and the lines of which one is
    enough."""

    def __init__(self) -> None:
        self.places: set[tuple] = set()


def WARN_ON_ONCE(condition: Any, what: str = '') -> bool:
    """Log a warning where the condition holds, once only from each place in the source; return whether it does."""
    return _once(condition, what)


def WARN_ONCE(condition: Any, what: str) -> bool:
    """Log a warning that says what it is about, once only from each place in the source; return whether it holds."""
    return _once(condition, what)


def _once(condition: Any, what: str) -> bool:
    if condition:
        caller = sys._getframe(2)
        place = caller.f_code, caller.f_lineno
        if place not in warned().places:
            warned().places.add(place)
            WARN_ON(True, what)
    return bool(condition)


def BUG_ON(condition: Any, what: str = '') -> None:
    if condition:
        raise KernelBug(what)
