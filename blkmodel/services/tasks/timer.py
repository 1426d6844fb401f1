"""Time as the kernel counts it, and timers: a function that runs once, at a tick, in a softirq on the CPU that set it;
or in an interrupt, once a time in nanoseconds has passed (include/linux/jiffies.h, timekeeping.h, ktime.h,
kernel/time/time.c, timer.h, kernel/time/timer.c, kernel/time/hrtimer.c, hrtimer.h, delay.h)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any

from blkmodel.services.tasks.sched import (TASK_RUNNING, TASK_UNINTERRUPTIBLE, schedule, set_current_state,
    wake_up_process)
from blkmodel.sim import NULL, Context, Event, Struct, running, this

HZ = 250
NSEC_PER_SEC = 1_000_000_000
TICK_NSEC = NSEC_PER_SEC // HZ
MAX_JIFFY_OFFSET = (1 << 62) - 2
INITIAL_JIFFIES = (1 << 32) - 300 * HZ
LVL_DEPTH = 9
MAX_SCHEDULE_TIMEOUT = (1 << 63) - 1
HRTIMER_NORESTART, HRTIMER_MODE_ABS, HRTIMER_MODE_REL = 0, 0, 1


def jiffies() -> int:
    """Ticks since boot, from a start that makes overflow come early, as in a real kernel."""
    return INITIAL_JIFFIES + running.kernel.loop.now // TICK_NSEC


def ktime_get_ns() -> int:
    return running.kernel.loop.now


def ktime_get_real() -> int:
    """The time of day, in nanoseconds since 1970: the model's machine has no clock, and begins there."""
    return running.kernel.loop.now


def ktime_to_ms(kt: int) -> int:
    """A time in nanoseconds as whole milliseconds."""
    return kt // 1_000_000


def msecs_to_jiffies(milliseconds: int) -> int:
    """Ticks of so many milliseconds, rounded up; of a number that is negative as an int, the most that there is."""
    return MAX_JIFFY_OFFSET if milliseconds & 1 << 31 else -(-milliseconds * HZ // 1000)


def jiffies_to_msecs(ticks: int) -> int:
    return ticks * 1000 // HZ & 0xFFFFFFFF


def jiffies_to_nsecs(ticks: int) -> int:
    """Nanoseconds of so many ticks."""
    return ticks * NSEC_PER_SEC // HZ


def time_after_eq(a: int, b: int) -> bool:
    return a >= b


def time_after(a: int, b: int) -> bool:
    return a > b


def time_before(a: int, b: int) -> bool:
    return a < b


class timer_list(Struct, size=40):
    """A timer. While it is pending, function(timer) is called at tick `expires`.

    data is whom it belongs to (in C that is found from the timer's address); _event is the run that is queued.
    """

    expires: int = 0
    function: Callable[..., None] = NULL
    data: Any = None
    _event: Event = NULL


def timer_setup(timer: timer_list, callback: Callable[[timer_list], None], flags: int, owner: Any) -> None:
    timer.function = callback
    timer.data = owner


def timer_pending(timer: timer_list) -> bool:
    return timer._event is not None


def calc_wheel_index(expires: int, clk: int) -> int:
    """The tick at which the timer wheel, where it is tick `clk`, runs a timer that is set to `expires`.

    The further away, the coarser: within 63 ticks to the next one, within 504 to a multiple of 8, then of 64, and so
    on. (In C: the bucket that is for that tick.)
    """
    delta = expires - clk
    if delta < 0:
        return clk
    level = next((lvl for lvl in range(LVL_DEPTH - 1) if delta < 63 << 3 * lvl), LVL_DEPTH - 1)
    gran = 1 << 3 * level
    if delta >= 63 << 3 * (LVL_DEPTH - 1):
        expires = clk + (63 << 3 * (LVL_DEPTH - 1)) - gran
    return (expires + gran) // gran * gran


def mod_timer(timer: timer_list, expires: int) -> bool:
    """Let the timer run once tick `expires` is over; return whether it was pending already."""
    was = del_timer(timer)
    timer.expires = expires
    _start(timer, "softirq", "timer", nsecs_to_wheel(expires))
    return was


def nsecs_to_wheel(expires: int) -> int:
    """In how many nanoseconds the timer wheel runs what is set to tick `expires`: at the next tick, at the earliest."""
    tick = max(calc_wheel_index(expires, jiffies()), jiffies() + 1)
    return (tick - INITIAL_JIFFIES) * TICK_NSEC - running.kernel.loop.now


def timer_reduce(timer: timer_list, expires: int) -> None:
    """Let the timer run at tick `expires`, unless it is to run before that."""
    if timer._event is None or time_before(expires, timer.expires):
        mod_timer(timer, expires)


def _start(timer: timer_list | hrtimer, kind: str, name: str, delay: int) -> None:
    kernel = this()

    def run() -> None:
        timer._event = NULL
        timer.function(timer)
    cpu = kernel.chosen(kernel.cpu) if kind == "softirq" else kernel.cpu
    timer._event = kernel.loop.post(Context(kind, name, cpu), run, delay)


def del_timer(timer: timer_list | hrtimer) -> bool:
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


def schedule_timeout(timeout: int, why: str = "a wake-up") -> int:
    """Sleep, in the state that the task has set, until woken, or at most so many ticks. Returns how many were left."""
    if timeout == MAX_SCHEDULE_TIMEOUT:
        schedule(why)
        return timeout
    expire = timeout + jiffies()
    timer = timer_list()
    timer_setup(timer, process_timeout, 0, this().context)
    mod_timer(timer, expire)
    schedule(why)
    del_timer_sync(timer)
    return max(expire - jiffies(), 0)


def process_timeout(timer: timer_list) -> None:
    """Wake the task that sleeps no longer than this timer."""
    wake_up_process(timer.data)


def schedule_timeout_uninterruptible(timeout: int, why: str = "a wake-up") -> int:
    set_current_state(TASK_UNINTERRUPTIBLE)
    return schedule_timeout(timeout, why)


def msleep(milliseconds: int) -> None:
    """Sleep for so long at least, whatever happens meanwhile."""
    timeout = msecs_to_jiffies(milliseconds) + 1
    while timeout:
        timeout = schedule_timeout_uninterruptible(timeout, "time to pass")


def usleep_range(least: int, most: int) -> None:
    """Sleep for so many microseconds, by a timer that is exact: the model takes the least."""
    sleeper = hrtimer_sleeper()
    hrtimer_init_sleeper_on_stack(sleeper)
    hrtimer_set_expires(sleeper, least * 1000)
    set_current_state(TASK_UNINTERRUPTIBLE)
    hrtimer_sleeper_start_expires(sleeper, HRTIMER_MODE_REL)
    while sleeper.task is not None:
        schedule("time to pass")
        set_current_state(TASK_UNINTERRUPTIBLE)
    set_current_state(TASK_RUNNING)


class hrtimer(Struct, size=64):
    """A timer: function(timer) is called once it expires. data is whom it belongs to (in C that is found from the
    timer's address); _event is the run that is queued."""

    function: Callable[..., int] = NULL
    data: Any = None
    _event: Event = NULL


def hrtimer_init(timer: hrtimer, owner: Any) -> None:
    timer.data = owner
    timer._event = NULL


def hrtimer_start(timer: hrtimer, nanoseconds: int) -> None:
    """Let the timer expire on this CPU so long from now, and not when it was to before."""
    hrtimer_cancel(timer)
    _start(timer, "irq", "hrtimer", nanoseconds)


hrtimer_cancel = del_timer


class hrtimer_sleeper(Struct, size=72):
    """A timer that wakes a task. `task` is None once it has. _expires: when it is to, counted from the start of the
    timer or (from then on) from boot."""

    timer: hrtimer = field(default_factory=hrtimer)
    task: Context = NULL
    _expires: int = 0


def hrtimer_init_sleeper_on_stack(sleeper: hrtimer_sleeper) -> None:
    """Make the running task the one that is woken."""
    hrtimer_init(sleeper.timer, sleeper)
    sleeper.timer.function = _wake
    sleeper.task = this().context


def _wake(timer: hrtimer) -> int:
    sleeper = timer.data
    task, sleeper.task = sleeper.task, None
    wake_up_process(task)
    return HRTIMER_NORESTART


def hrtimer_set_expires(sleeper: hrtimer_sleeper, time: int) -> None:
    sleeper._expires = time


def hrtimer_sleeper_start_expires(sleeper: hrtimer_sleeper, mode: int) -> None:
    """Let the timer run; in mode HRTIMER_MODE_REL the time counts from now."""
    now = this().loop.now
    if mode == HRTIMER_MODE_REL:
        sleeper._expires += now
    hrtimer_start(sleeper.timer, max(sleeper._expires - now, 0))
