"""Time as the kernel counts it (include/linux/jiffies.h, timekeeping.h, ktime.h, kernel/time/time.c)."""

from blkmodel.sim import running

HZ = 250
NSEC_PER_SEC = 1_000_000_000
TICK_NSEC = NSEC_PER_SEC // HZ
INITIAL_JIFFIES = (1 << 32) - 300 * HZ


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
    return -(-milliseconds * HZ // 1000)


def jiffies_to_msecs(ticks: int) -> int:
    return ticks * 1000 // HZ


def jiffies_to_nsecs(ticks: int) -> int:
    """Nanoseconds of so many ticks."""
    return ticks * NSEC_PER_SEC // HZ


def time_after_eq(a: int, b: int) -> bool:
    return a >= b


def time_after(a: int, b: int) -> bool:
    return a > b


def time_before(a: int, b: int) -> bool:
    return a < b
