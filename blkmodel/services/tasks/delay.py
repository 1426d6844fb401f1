"""Sleeping for a time (kernel/time/timer.c)."""

from blkmodel.sim import this


def msleep(milliseconds: int) -> None:
    """Sleep for so long, whatever happens meanwhile."""
    this().loop.sleep_until(lambda: False, "time to pass", milliseconds * 1_000_000)
