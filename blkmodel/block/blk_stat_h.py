"""Statistics of a queue's requests: what block/blk-stat.h declares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any

from blkmodel.include.linux.blkdev import blk_rq_stat, request
from blkmodel.services import jiffies, list_head, mod_timer, msecs_to_jiffies, timer_list, timer_pending
from blkmodel.sim import NULL, Struct


class blk_queue_stats(Struct, size=24):
    """Who wants statistics of a queue; enable_accounting: somebody else who wants requests to be timed."""

    callbacks: list_head = field(default_factory=list_head)
    enable_accounting: bool = False


class blk_stat_callback(Struct, size=120):
    """Somebody who wants statistics, for as long as the timer runs. Then timer_fn(callback) finds them in `stat`.

    bucket_fn(rq) says in which of so many `buckets` a request counts, or -1. cpu_stat: what each CPU has gathered,
    bucket by bucket, CPU by CPU.
    """

    list: Any = NULL
    timer: timer_list = field(default_factory=timer_list)
    cpu_stat: list[blk_rq_stat] = NULL
    bucket_fn: Callable[[request], int] = NULL
    buckets: int = 0
    stat: list[blk_rq_stat] = NULL
    timer_fn: Callable[[blk_stat_callback], None] = NULL
    data: Any = NULL


def blk_stat_is_active(cb: blk_stat_callback) -> bool:
    """Whether statistics are being gathered."""
    return timer_pending(cb.timer)


def blk_stat_activate_msecs(cb: blk_stat_callback, msecs: int) -> None:
    """Gather statistics for so many milliseconds from now."""
    mod_timer(cb.timer, jiffies() + msecs_to_jiffies(msecs))
