"""The kernel's log. Of messages that may come in floods it gets a few in so much time, and then how many there were
(include/linux/printk.h, ratelimit.h)."""

import sys
from types import CodeType

from blkmodel.services.tasks.timer import HZ, jiffies, time_before
from blkmodel.sim import Struct, statics, this

DEFAULT_RATELIMIT_INTERVAL, DEFAULT_RATELIMIT_BURST = 5 * HZ, 10


def pr_err(line: str) -> None:
    this().printk(line)


pr_warn = pr_info = pr_err


class ratelimit_state(Struct, size=40):
    """One place's limit: `burst` messages in `interval` ticks, from tick `begin` on (0: not begun).

    printed, missed: how many were let through and held back since.
    """

    interval: int = DEFAULT_RATELIMIT_INTERVAL
    burst: int = DEFAULT_RATELIMIT_BURST
    printed: int = 0
    missed: int = 0
    begin: int = 0


class limited(statics, dict[tuple[CodeType, int], ratelimit_state]):
    """The limits of those places in the source that have none of their own name."""


def __ratelimit(rs: ratelimit_state, func: str) -> bool:
    """Whether function `func` may print now; the first time after a flood, say what was held back."""
    if not rs.interval:
        return True
    if not rs.begin:
        rs.begin = jiffies()
    if time_before(rs.begin + rs.interval, jiffies()):
        if rs.missed:
            pr_warn(f"{func}: {rs.missed} callbacks suppressed")
            rs.missed = 0
        rs.begin = jiffies()
        rs.printed = 0
    if rs.burst > rs.printed:
        rs.printed += 1
        return True
    rs.missed += 1
    return False


def printk_ratelimited(*lines: str, func: str = "", depth: int = 1) -> None:
    """Print lines, as one message, where the place that this is called from (in C: written) may print now.

    func: the name of C's function, where that is not the caller's. depth: how far up the stack the place is.
    """
    caller = sys._getframe(depth)
    rs = limited().setdefault((caller.f_code, caller.f_lineno), ratelimit_state())
    if __ratelimit(rs, func or caller.f_code.co_name):
        for line in lines:
            pr_warn(line)


def pr_warn_ratelimited(rs: ratelimit_state, func: str, line: str) -> None:
    if __ratelimit(rs, func):
        pr_warn(line)
