"""Timers of requests: one timer a queue, never too late for any request, seldom moved."""

from hypothesis import given, settings, strategies as st

from blkmodel import boot, scenario
from blkmodel.block import blk_timeout
from blkmodel.include.linux.blkdev import RQF_TIMED_OUT, request, request_queue
from blkmodel.services.devices.kobject import sysfs
from blkmodel.services.tasks.timer import HZ, jiffies, mod_timer, round_jiffies_up, timer_pending, timer_setup


def test_the_timer_is_at_most_about_five_seconds_ahead():
    kernel = boot(4)
    kernel.loop.advance(123_000_000)
    assert blk_timeout.blk_rq_timeout(jiffies() + 10) == jiffies() + 10
    far = blk_timeout.blk_rq_timeout(jiffies() + 100 * HZ)
    assert 5 * HZ <= far - jiffies() <= 6 * HZ
    assert far % HZ == 0
    # On another CPU at another moment, so that not all timers run at once.
    assert kernel.task("t", blk_timeout.blk_rq_timeout, jiffies() + 100 * HZ, cpu=2) % HZ == HZ - 6


@given(st.lists(st.tuples(st.integers(1, 40 * HZ), st.integers(0, 2 * HZ), st.integers(0, 3)), min_size=1, max_size=20))
@settings(deadline=None)
def test_the_timer_runs_in_time_for_every_request(starts):
    kernel = boot(4)
    q = request_queue(rq_timeout=30 * HZ)
    timer_setup(q.timeout, lambda timer: None, 0, q)
    for timeout, later, cpu in starts:
        kernel.loop.advance(later * 4_000_000)
        rq = request(q=q, timeout=timeout, rq_flags=RQF_TIMED_OUT)
        kernel.task("start", blk_timeout.blk_add_timer, rq, cpu=cpu)
        assert rq.deadline == jiffies() + timeout
        assert not rq.rq_flags & RQF_TIMED_OUT
        assert timer_pending(q.timeout)
        # It may be half a second off, and is rounded up to a full one.
        assert q.timeout.expires <= max(rq.deadline, jiffies()) + HZ + HZ // 2 + 12
        assert q.timeout.expires - jiffies() <= 6 * HZ + HZ // 2


def test_a_timer_that_is_nearly_right_stays():
    boot(2)
    q = request_queue(rq_timeout=2 * HZ)
    timer_setup(q.timeout, lambda timer: None, 0, q)
    mod_timer(q.timeout, round_jiffies_up(jiffies() + 2 * HZ) + HZ // 2 - 1)
    expires = q.timeout.expires
    blk_timeout.blk_add_timer(request(q=q))
    assert q.timeout.expires == expires
    mod_timer(q.timeout, jiffies() + 10 * HZ)
    blk_timeout.blk_add_timer(request(q=q))
    assert q.timeout.expires < expires


def test_a_completion_gets_lost_where_that_is_asked_for():
    """Of a disk whose io-timeout-fail is 1, and so often as fail_io_timeout says."""
    kernel = boot(2)
    sysfs().config.add("FAIL_IO_TIMEOUT")
    scenario.nvme_probe(dbbuf=0)
    took = []
    for asked, times in ((0, 1), (1, 1), (1, 0)):
        scenario.set_disk_file("nvme0n1", "io-timeout-fail", asked)
        scenario.fail_io_timeout(100, times)
        begun = kernel.now
        assert scenario.io("nvme0n1", "read", 0, 4096) == bytes(4096)
        took.append(kernel.now - begun >= 30_000_000_000)
    assert took == [False, True, False]
