"""What a kernel does about the impossible, and what it does once (include/asm-generic/bug.h, include/linux/once.h)."""

import sys
from collections.abc import Callable
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


class done_once(statics, set[tuple]):
    """The places in the source that have done since boot what is done once."""

    def first(self, depth: int) -> bool:
        """Whether the place that called is there for the first time; depth: how many calls above this one."""
        caller = sys._getframe(depth + 1)
        place = caller.f_code, caller.f_lineno
        new = place not in self
        self.add(place)
        return new


def WARN_ON_ONCE(condition: Any, what: str = '') -> bool:
    """Log a warning where the condition holds, once only from each place in the source; return whether it does."""
    if not condition:
        return False
    WARN_ON(done_once().first(1), what)
    return True


WARN_ONCE = WARN_ON_ONCE


def DO_ONCE(func: Callable[..., Any], *args: Any) -> bool:
    """Call a function, once only from each place in the source; return whether it was called now."""
    if first := done_once().first(1):
        func(*args)
    return first


def BUG_ON(condition: Any, what: str = '') -> None:
    if condition:
        raise KernelBug(what)
