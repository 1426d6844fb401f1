"""High-resolution timers: a function that runs once a time in nanoseconds has passed, in an interrupt."""

from dataclasses import field
from typing import Any

from blkmodel.sim import this
from blkmodel.sim.kernel import Context
from blkmodel.sim.structure import Struct, struct

HRTIMER_NORESTART = 0
HRTIMER_MODE_ABS, HRTIMER_MODE_REL = 0, 1


@struct
class hrtimer(Struct):
    """A timer: function(timer) is called once it expires. data is whom it belongs to (in C that is found from the
    timer's address); _event is the run that is queued."""

    SIZE = 64
    function: Any = None
    data: Any = None
    _event: Any = None


def hrtimer_init(timer, owner):
    timer.data = owner
    timer._event = None


def hrtimer_start(timer, nanoseconds):
    """Let the timer expire on this CPU so long from now, and not when it was to before."""
    hrtimer_cancel(timer)
    kernel = this()

    def run():
        timer._event = None
        timer.function(timer)
    timer._event = kernel.loop.post(Context("irq", "hrtimer", kernel.cpu), run, nanoseconds)


def hrtimer_cancel(timer):
    """Stop the timer; return whether it was running."""
    if timer._event is None:
        return False
    timer._event.cancelled = True
    timer._event = None
    return True


@struct
class hrtimer_sleeper(Struct):
    """A timer that wakes a task. `task` is None once it has. _expires: when it is to, counted from the start of the
    timer or (from then on) from boot."""

    SIZE = 72
    timer: Any = field(default_factory=hrtimer)
    task: Any = None
    _expires: int = 0


def hrtimer_init_sleeper_on_stack(sleeper):
    """Make the running task the one that is woken."""
    hrtimer_init(sleeper.timer, sleeper)
    sleeper.timer.function = _wake
    sleeper.task = this().context


def _wake(timer):
    sleeper = timer.data
    sleeper.task.runnable = True
    sleeper.task = None
    return HRTIMER_NORESTART


def hrtimer_set_expires(sleeper, time):
    sleeper._expires = time


def hrtimer_sleeper_start_expires(sleeper, mode):
    """Let the timer run; in mode HRTIMER_MODE_REL the time counts from now."""
    now = this().loop.now
    if mode == HRTIMER_MODE_REL:
        sleeper._expires += now
    hrtimer_start(sleeper.timer, max(sleeper._expires - now, 0))
