"""Statistics: what is counted, by whom, and when it is added up."""

import pytest
from hypothesis import given, strategies as st

from blkmodel import boot
from blkmodel.block import blk_core, blk_stat
from blkmodel.block.blk_stat_h import blk_stat_activate_msecs, blk_stat_is_active
from blkmodel.include.linux.blk_types import U64_MAX, blk_rq_stat
from blkmodel.include.linux.blkdev import QUEUE_FLAG_STATS, request
from blkmodel.services.memory.slab import NUMA_NO_NODE
from blkmodel.sim.kernel import Context


def stat_of(values):
    stat = blk_rq_stat()
    blk_stat.blk_rq_stat_init(stat)
    for value in values:
        blk_stat.blk_rq_stat_add(stat, value)
    return stat


@given(st.lists(st.lists(st.integers(0, 10**12), max_size=5), min_size=1, max_size=4))
def test_the_cpus_are_added_up(by_cpu):
    """Shortest, longest, number; and a mean that each addition rounds down."""
    total = stat_of([])
    for values in by_cpu:
        blk_stat.blk_rq_stat_sum(total, stat_of(values))
    everything = [value for values in by_cpu for value in values]
    assert total.nr_samples == len(everything)
    if not everything:
        assert (total.min, total.max, total.mean) == (U64_MAX, 0, 0)
        return
    assert (total.min, total.max) == (min(everything), max(everything))
    mean = sum(everything) / len(everything)
    assert mean - len(by_cpu) <= total.mean <= mean


def gather(kernel, q, cb, *times, cpu=0):
    """Let requests of so many nanoseconds end now, on a CPU."""
    for took in times:
        rq = request(q=q, io_start_time_ns=kernel.now - took)
        kernel.run_in(Context("irq", "disk", cpu), blk_stat.blk_stat_add, rq, kernel.now)


@pytest.fixture
def counting():
    """A kernel, a queue, somebody who wants statistics, and what that one has been shown."""
    kernel = boot(3)
    kernel.loop.advance(10**9)
    shown: list = []

    def show(cb):
        shown.append([(stat.nr_samples, stat.min, stat.max, stat.mean) if stat.nr_samples else None
                      for stat in cb.stat])
    q = blk_core.blk_alloc_queue_node(0, NUMA_NO_NODE)
    cb = blk_stat.blk_stat_alloc_callback(show, lambda rq: (kernel.now - rq.io_start_time_ns) // 1000 - 1, 2, "data")
    assert (cb.data, cb.buckets, len(cb.stat), len(cb.cpu_stat)) == ("data", 2, 2, 6)
    return kernel, q, cb, shown


def test_a_window(counting):
    kernel, q, cb, shown = counting
    blk_stat.blk_stat_add_callback(q, cb)
    assert q.queue_flags >> QUEUE_FLAG_STATS & 1
    gather(kernel, q, cb, 1000)
    assert all(stat.nr_samples == 0 for stat in cb.cpu_stat)  # nobody asked yet
    blk_stat_activate_msecs(cb, 100)
    assert blk_stat_is_active(cb)
    gather(kernel, q, cb, 1000, 1500, 500)  # the last is of no kind that counts
    gather(kernel, q, cb, 1250, 2000, cpu=2)
    kernel.loop.advance(90_000_000)
    assert shown == []
    kernel.loop.advance(20_000_000)
    assert shown == [[(3, 1000, 1500, 1250), (1, 2000, 2000, 2000)]]
    assert not blk_stat_is_active(cb)
    blk_stat_activate_msecs(cb, 100)
    gather(kernel, q, cb, 2500, cpu=1)
    kernel.loop.advance(110_000_000)
    assert shown[1] == [None, (1, 2500, 2500, 2500)]


def test_a_clock_that_runs_backwards(counting):
    kernel, q, cb, shown = counting
    cb.bucket_fn = lambda rq: 0
    blk_stat.blk_stat_add_callback(q, cb)
    blk_stat_activate_msecs(cb, 4)
    gather(kernel, q, cb, -5)
    kernel.loop.advance(10_000_000)
    assert shown == [[(1, 0, 0, 0), None]]


def test_a_list_of_callbacks_is_gone_through_as_a_reader(counting):
    """One that is taken off the list meanwhile is not freed until the reader is done with it."""
    kernel, q, cb, _ = counting
    depths = []

    def no_bucket(rq):
        depths.append(kernel.context.rcu)
        return -1
    cb.bucket_fn = no_bucket
    blk_stat.blk_stat_add_callback(q, cb)
    blk_stat_activate_msecs(cb, 100)
    gather(kernel, q, cb, 1000)
    assert depths == [1]
    assert kernel.context.rcu == 0


def test_who_wants_none_any_more(counting):
    kernel, q, cb, shown = counting
    blk_stat.blk_stat_add_callback(q, cb)
    blk_stat_activate_msecs(cb, 100)
    blk_stat.blk_stat_remove_callback(q, cb)
    assert not q.queue_flags >> QUEUE_FLAG_STATS & 1
    gather(kernel, q, cb, 1000)
    kernel.loop.advance(200_000_000)
    assert shown == []
    assert all(stat.nr_samples == 0 for stat in cb.cpu_stat)
    q.stats.enable_accounting = True
    blk_stat.blk_stat_add_callback(q, cb)
    blk_stat.blk_stat_remove_callback(q, cb)
    assert q.queue_flags >> QUEUE_FLAG_STATS & 1


def test_memory():
    """Three allocations, any of which may fail; and all are given back once no CPU can be counting."""
    kernel = boot(2)
    live = dict(kernel.memory.live)
    for nth in (1, 2, 3):
        kernel.memory.fail_nth(nth)
        assert blk_stat.blk_stat_alloc_callback(None, None, 16, None) is None
        assert kernel.memory.live == live
    cb = blk_stat.blk_stat_alloc_callback(None, None, 16, None)
    assert kernel.memory.totals()["blk_rq_stat[]", 0] == 16 * 40 + 2 * 16 * 40
    blk_stat.blk_stat_free_callback(cb)
    assert kernel.memory.live != live
    kernel.loop.settle()
    assert kernel.memory.live == live
    blk_stat.blk_stat_free_callback(None)


def test_a_queues_list():
    kernel = boot(1)
    stats = blk_stat.blk_alloc_queue_stats()
    live = len(kernel.memory.live)
    blk_stat.blk_free_queue_stats(None)
    blk_stat.blk_free_queue_stats(stats)
    assert len(kernel.memory.live) == live - 1
    kernel.memory.fail_nth(1)
    assert blk_stat.blk_alloc_queue_stats() is None
