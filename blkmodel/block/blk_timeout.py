"""Timeouts of requests: one timer a queue, which rolls forward with the requests that are started."""

from blkmodel.block import blk_core
from blkmodel.block.blk_h import BLK_MAX_TIMEOUT
from blkmodel.include.linux.blkdev import (QUEUE_FLAG_FAIL_IO, RQF_TIMED_OUT, dev_to_disk, request, request_queue,
    test_bit)
from blkmodel.services import (HZ, debugfs, device, jiffies, mod_timer, round_jiffies_up, should_fail, simple_strtoul,
    time_after, time_before, timer_pending)


def blk_should_fake_timeout(q: request_queue) -> bool:
    """Whether a completion is to get lost now, which the disk's io-timeout-fail allows."""
    return q.queue_flags >> QUEUE_FLAG_FAIL_IO & 1 != 0 and should_fail(debugfs().fail_io_timeout, 1)


def part_timeout_show(dev: device) -> str:
    """io-timeout-fail: whether completions of the disk's requests may get lost on purpose."""
    return f"{int(test_bit(QUEUE_FLAG_FAIL_IO, dev_to_disk(dev).queue.queue_flags))}\n"


def part_timeout_store(dev: device, buf: str, count: int) -> int:
    """Change whether completions may get lost on purpose. Returns the bytes taken."""
    val, _ = simple_strtoul(buf, 10)
    (blk_core.blk_queue_flag_set if val else blk_core.blk_queue_flag_clear)(QUEUE_FLAG_FAIL_IO, dev_to_disk(dev).queue)
    return count


def blk_rq_timeout(timeout: int) -> int:
    """The tick for which to set a queue's timer: `timeout`, but no more than about BLK_MAX_TIMEOUT from now.

    The timer runs often enough to see requests that get a shorter time later.
    """
    maxt = round_jiffies_up(jiffies() + BLK_MAX_TIMEOUT)
    if time_after(timeout, maxt):
        timeout = maxt
    return timeout


def blk_add_timer(req: request) -> None:
    """Note when a request that starts now will be late, and see to it that its queue's timer runs in time."""
    q = req.q
    if not req.timeout:
        req.timeout = q.rq_timeout
    req.rq_flags &= ~RQF_TIMED_OUT
    expiry = jiffies() + req.timeout
    req.deadline = expiry
    expiry = blk_rq_timeout(round_jiffies_up(expiry))
    if not timer_pending(q.timeout) or time_before(expiry, q.timeout.expires):
        # A timer that is nearly right is left alone.
        diff = q.timeout.expires - expiry
        if not timer_pending(q.timeout) or diff >= HZ // 2:
            mod_timer(q.timeout, expiry)
