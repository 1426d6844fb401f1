"""Statistics of a queue's requests: how long the driver takes for them, in windows of time, kind by kind.

Each CPU gathers on its own what ends there. When a window closes, a timer adds the CPUs up.
"""

from collections.abc import Callable
from typing import Any

from blkmodel.block import blk_core
from blkmodel.block.blk_stat_h import blk_queue_stats, blk_stat_callback, blk_stat_is_active
from blkmodel.include.linux.blkdev import QUEUE_FLAG_STATS, U64_MAX, blk_rq_stat, request, request_queue
from blkmodel.services import (GFP_KERNEL, WARN_ON, __alloc_percpu, call_rcu, del_timer_sync, for_each_online_cpu,
    for_each_possible_cpu, free_percpu, kcalloc, kfree, kzalloc, list_add_tail, list_del_init, list_empty,
    rcu_read_lock, rcu_read_unlock, smp_processor_id, timer_list, timer_setup)
from blkmodel.sim import NULL


def blk_rq_stat_init(stat: blk_rq_stat) -> None:
    """Let one kind's statistics begin anew."""
    stat.min = U64_MAX
    stat.max = stat.nr_samples = stat.mean = stat.batch = 0


def blk_rq_stat_sum(dst: blk_rq_stat, src: blk_rq_stat) -> None:
    """Add what a CPU has gathered (src) to the sum over all (dst)."""
    if not src.nr_samples:
        return
    dst.min = min(dst.min, src.min)
    dst.max = max(dst.max, src.max)
    dst.mean = (src.batch + dst.mean * dst.nr_samples) // (dst.nr_samples + src.nr_samples)
    dst.nr_samples += src.nr_samples


def blk_rq_stat_add(stat: blk_rq_stat, value: int) -> None:
    """Count one request that took `value` nanoseconds."""
    stat.min = min(stat.min, value)
    stat.max = max(stat.max, value)
    stat.batch += value
    stat.nr_samples += 1


def blk_stat_add(rq: request, now: int) -> None:
    """Count a request that ends now with everybody who is gathering."""
    q = rq.q
    value = now - rq.io_start_time_ns if now >= rq.io_start_time_ns else 0
    rcu_read_lock()
    for cb in q.stats.callbacks:
        if not blk_stat_is_active(cb):
            continue
        if (bucket := cb.bucket_fn(rq)) < 0:
            continue
        blk_rq_stat_add(cb.cpu_stat[smp_processor_id() * cb.buckets + bucket], value)
    rcu_read_unlock()


def blk_stat_timer_fn(t: timer_list) -> None:
    """A window closes: add up what the CPUs have gathered, and show it."""
    cb = t.data
    for stat in cb.stat:
        blk_rq_stat_init(stat)
    for cpu in for_each_online_cpu():
        for bucket in range(cb.buckets):
            cpu_stat = cb.cpu_stat[cpu * cb.buckets + bucket]
            blk_rq_stat_sum(cb.stat[bucket], cpu_stat)
            blk_rq_stat_init(cpu_stat)
    cb.timer_fn(cb)


def blk_stat_alloc_callback(timer_fn: Callable[..., None], bucket_fn: Callable[..., int], buckets: int,
                            data: Any) -> blk_stat_callback:
    """Allocate what somebody needs who wants statistics. Returns it, or None."""
    if (cb := kzalloc(blk_stat_callback, GFP_KERNEL)) is None:
        return NULL
    cb.stat = kcalloc(buckets, blk_rq_stat, GFP_KERNEL)
    if cb.stat is not None:
        cb.cpu_stat = __alloc_percpu(buckets, blk_rq_stat)
        if cb.cpu_stat is not None:
            cb.timer_fn, cb.bucket_fn, cb.data, cb.buckets = timer_fn, bucket_fn, data, buckets
            timer_setup(cb.timer, blk_stat_timer_fn, 0, cb)
            return cb
        kfree(cb.stat)
    kfree(cb)
    return NULL


def blk_stat_add_callback(q: request_queue, cb: blk_stat_callback) -> None:
    """Let somebody have statistics of a queue, whose requests are timed from now on."""
    for cpu in for_each_possible_cpu():
        for bucket in range(cb.buckets):
            blk_rq_stat_init(cb.cpu_stat[cpu * cb.buckets + bucket])
    list_add_tail(cb, q.stats.callbacks, "list")
    blk_core.blk_queue_flag_set(QUEUE_FLAG_STATS, q)


def blk_stat_enable_accounting(q: request_queue) -> None:
    """Have a queue's requests timed from now on, whoever wants it."""
    q.stats.enable_accounting = True
    blk_core.blk_queue_flag_set(QUEUE_FLAG_STATS, q)


def blk_stat_remove_callback(q: request_queue, cb: blk_stat_callback) -> None:
    """Let somebody have a queue's statistics no more. Requests are timed no longer when nobody is left who wants it."""
    list_del_init(cb, "list")
    if list_empty(q.stats.callbacks) and not q.stats.enable_accounting:
        blk_core.blk_queue_flag_clear(QUEUE_FLAG_STATS, q)
    del_timer_sync(cb.timer)


def blk_stat_free_callback_rcu(cb: blk_stat_callback) -> None:
    """Free a callback, when nobody can be counting there any more. (In C it is given the callback's rcu_head.)"""
    free_percpu(cb.cpu_stat)
    kfree(cb.stat)
    kfree(cb)


def blk_stat_free_callback(cb: blk_stat_callback) -> None:
    """Free a callback, if there is one, as soon as nobody can be counting there."""
    if cb is not None:
        call_rcu(lambda: blk_stat_free_callback_rcu(cb))


def blk_alloc_queue_stats() -> blk_queue_stats:
    """Allocate the list of who wants statistics of a queue; None on failure."""
    return kzalloc(blk_queue_stats, GFP_KERNEL)


def blk_free_queue_stats(stats: blk_queue_stats) -> None:
    """Free a queue's list of who wants its statistics; nobody may be left on it."""
    if stats is None:
        return
    WARN_ON(not list_empty(stats.callbacks), "somebody still wants statistics of a queue that goes")
    kfree(stats)
