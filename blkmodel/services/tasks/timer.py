"""Timers: a function that runs once, at a tick, in a softirq on the CPU that set it (include/linux/timer.h,
kernel/time/timer.c)."""

from collections.abc import Callable
from typing import Any

from blkmodel.services.tasks.jiffies import HZ, jiffies, jiffies_to_nsecs
from blkmodel.sim import running, this
from blkmodel.sim.events import Event
from blkmodel.sim.kernel import Context
from blkmodel.sim.structure import NULL, Struct, struct


@struct
class timer_list(Struct):
    """A timer. While it is pending, function(timer) is called at tick `expires`.

    data is whom it belongs to (in C that is found from the timer's address); _event is the run that is queued.
    """

    SIZE = 40
    expires: int = 0
    function: Callable[..., None] = NULL
    data: Any = None
    _event: Event = NULL


def timer_setup(timer: timer_list, callback: Callable[[timer_list], None], flags: int, owner: Any) -> None:
    timer.function = callback
    timer.data = owner


def timer_pending(timer: timer_list) -> bool:
    return timer._event is not None


def mod_timer(timer: timer_list, expires: int) -> bool:
    """Let the timer run at tick `expires`; return whether it was pending already."""
    was = del_timer(timer)
    kernel = this()
    timer.expires = expires

    def run() -> None:
        timer._event = NULL
        timer.function(timer)
    delay = jiffies_to_nsecs(max(expires - jiffies(), 0))
    timer._event = kernel.loop.post(Context("softirq", "timer", kernel.cpu), run, delay)
    return was


def del_timer(timer: timer_list) -> bool:
    """Stop the timer; return whether it was pending."""
    if timer._event is None:
        return False
    timer._event.cancelled = True
    timer._event = NULL
    return True


del_timer_sync = del_timer


def round_jiffies_up(tick: int) -> int:
    """Move a tick up to a full second, so that many timers run together; each CPU 3 ticks after the one before."""
    skew = 3 * running.kernel.context.cpu
    rounded = (tick + skew) // HZ * HZ + HZ - skew
    return rounded if rounded > jiffies() else tick
