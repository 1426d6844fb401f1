"""Statistics of a queue's requests: what block/blk-stat.h declares."""

from dataclasses import field
from typing import Any

from blkmodel.services.data.list import list_head
from blkmodel.services.tasks.jiffies import jiffies, msecs_to_jiffies
from blkmodel.services.tasks.timer import mod_timer, timer_list, timer_pending
from blkmodel.sim.structure import Struct, struct


@struct
class blk_queue_stats(Struct):
    """Who wants statistics of a queue; enable_accounting: somebody else who wants requests to be timed."""

    SIZE = 24
    callbacks: Any = field(default_factory=list_head)
    enable_accounting: bool = False


@struct
class blk_stat_callback(Struct):
    """Somebody who wants statistics, for as long as the timer runs. Then timer_fn(callback) finds them in `stat`.

    bucket_fn(rq) says in which of so many `buckets` a request counts, or -1. cpu_stat: what each CPU has gathered,
    bucket by bucket, CPU by CPU.
    """

    SIZE = 120
    list: Any = None
    timer: Any = field(default_factory=timer_list)
    cpu_stat: Any = None
    bucket_fn: Any = None
    buckets: int = 0
    stat: Any = None
    timer_fn: Any = None
    data: Any = None


def blk_stat_is_active(cb):
    """Whether statistics are being gathered."""
    return timer_pending(cb.timer)


def blk_stat_activate_msecs(cb, msecs):
    """Gather statistics for so many milliseconds from now."""
    mod_timer(cb.timer, jiffies() + msecs_to_jiffies(msecs))
