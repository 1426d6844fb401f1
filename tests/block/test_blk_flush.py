"""Flushes: each request goes through the steps that it needs, in order, and is ended once."""

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel import boot, scenario
from blkmodel.block import blk_core, blk_flush, blk_mq, blk_mq_sched, mq_deadline
from blkmodel.block.blk_flush import REQ_FSEQ_DATA, REQ_FSEQ_POSTFLUSH, REQ_FSEQ_PREFLUSH
from blkmodel.block.blk_h import is_flush_rq
from blkmodel.include.linux.blk_mq import BLK_EH_DONE, BLK_MQ_REQ_NOWAIT
from blkmodel.include.linux.blk_types import BLK_STS_IOERR, REQ_FUA, REQ_OP_FLUSH, REQ_OP_WRITE, REQ_PREFLUSH, REQ_SYNC
from blkmodel.include.linux.blkdev import QUEUE_FLAG_FUA, QUEUE_FLAG_WC, req_op
from blkmodel.include.linux.fs import block_device
from blkmodel.services.base.err import ENXIO, IS_ERR
from blkmodel.services.data.list import list_empty
from blkmodel.services.memory.slab import GFP_KERNEL
from blkmodel.trace import Call, record
from tests.block.simple_driver import Driver


class Disk(Driver):
    """A driver whose device has a volatile write cache or not, and knows FUA or not."""

    def __init__(self, cache=True, fua=False, **more):
        super().__init__(**more)
        q = self.load()
        if cache:
            blk_core.blk_queue_flag_set(QUEUE_FLAG_WC, q)
        if fua:
            blk_core.blk_queue_flag_set(QUEUE_FLAG_FUA, q)
        self.ended = []

    def submit(self, flags, length=4096):
        rq = blk_mq.blk_mq_alloc_request(self.queues[0], REQ_OP_WRITE | flags, BLK_MQ_REQ_NOWAIT)
        assert not IS_ERR(rq)
        rq._data_len = length
        rq.end_io = self.end_io
        blk_mq_sched.blk_mq_sched_insert_request(rq, False, True, False)
        return rq

    def end_io(self, rq, status):
        self.ended.append((rq, status))
        blk_mq.blk_mq_free_request(rq)

    def kinds(self):
        return ["flush" if req_op(rq) == REQ_OP_FLUSH else "data" for rq in self.taken]


@pytest.mark.parametrize(("cache", "fua", "flags", "length", "steps"), [
    (False, False, REQ_PREFLUSH | REQ_FUA, 4096, REQ_FSEQ_DATA),
    (False, False, REQ_PREFLUSH, 0, 0),
    (True, False, REQ_PREFLUSH, 0, REQ_FSEQ_PREFLUSH),
    (True, False, REQ_FUA, 4096, REQ_FSEQ_DATA | REQ_FSEQ_POSTFLUSH),
    (True, True, REQ_FUA, 4096, REQ_FSEQ_DATA),
    (True, True, REQ_PREFLUSH | REQ_FUA, 4096, REQ_FSEQ_PREFLUSH | REQ_FSEQ_DATA),
    (True, False, REQ_PREFLUSH | REQ_FUA, 4096, REQ_FSEQ_PREFLUSH | REQ_FSEQ_DATA | REQ_FSEQ_POSTFLUSH)])
def test_steps(cache, fua, flags, length, steps):
    kernel = boot(2)
    disk = Disk(cache, fua)
    rq = blk_mq.blk_mq_alloc_request(disk.queues[0], REQ_OP_WRITE | flags, BLK_MQ_REQ_NOWAIT)
    rq._data_len = length
    assert blk_flush.blk_flush_policy(disk.queues[0].queue_flags, rq) == steps
    blk_mq.blk_mq_free_request(rq)

    rq = disk.submit(flags, length)
    order = []
    kernel.loop.run_due()
    while disk.taken:
        taken, = disk.taken
        order += disk.kinds()
        assert taken.cmd_flags & REQ_SYNC or req_op(taken) == REQ_OP_FLUSH
        if taken is rq:
            assert not taken.cmd_flags & REQ_PREFLUSH
            assert bool(taken.cmd_flags & REQ_FUA) == bool(flags & REQ_FUA and fua)
        else:
            assert is_flush_rq(taken, taken.mq_hctx)
            assert taken.tag == rq.tag
        disk.finish()
        kernel.loop.run_due()
    assert order == [name for step, name in ((REQ_FSEQ_PREFLUSH, "flush"), (REQ_FSEQ_DATA, "data"),
                                             (REQ_FSEQ_POSTFLUSH, "flush")) if steps & step]
    assert disk.ended == [(rq, 0)]
    assert len({blk_mq.blk_mq_alloc_request(disk.queues[0], 0, BLK_MQ_REQ_NOWAIT).tag for _ in range(4)}) == 4


def test_steps_with_a_scheduler():
    kernel = boot(2)
    disk = Disk(depth=2)
    q = disk.queues[0]
    assert blk_mq_sched.blk_mq_init_sched(q, mq_deadline.variables().mq_deadline) == 0
    requests = [disk.submit(REQ_PREFLUSH | REQ_FUA) for _ in range(4)]
    order = []
    for _ in range(100):
        kernel.loop.run_due()
        if not disk.taken:
            break
        order += disk.kinds()[:1]
        driver_tags = [rq.tag for rq in disk.taken]
        assert len(set(driver_tags)) == len(driver_tags)
        done = disk.taken[0]
        disk.finish()
        # A driver tag is held for one step only.
        assert done.tag == -1
    assert order.count("data") == 4
    assert sorted(map(id, requests)) == sorted(id(rq) for rq, _ in disk.ended)
    for tags in (disk.set.tags[0], q.queue_hw_ctx[0].sched_tags):
        assert not any(word.word & ~word.cleared for word in tags.bitmap_tags.sb.map)


def test_one_flush_serves_all_that_wait():
    kernel = boot(2)
    disk = Disk(depth=8)
    first = disk.submit(REQ_PREFLUSH, 0)
    kernel.loop.run_due()
    others = [disk.submit(REQ_PREFLUSH, 0) for _ in range(4)]
    kernel.loop.run_due()
    assert disk.kinds() == ["flush"], "one at a time"
    disk.finish()
    kernel.loop.run_due()
    assert disk.ended == [(first, 0)]
    assert disk.kinds() == ["flush"]
    disk.finish()
    kernel.loop.run_due()
    assert disk.ended == [(first, 0)] + [(rq, 0) for rq in others]
    assert disk.taken == []


@given(cache=st.booleans(), fua=st.booleans(), queues=st.integers(1, 2), steps=st.lists(st.tuples(
    st.sampled_from(["submit", "finish", "rest"]), st.sampled_from([REQ_PREFLUSH, REQ_FUA, REQ_PREFLUSH | REQ_FUA]),
    st.booleans(), st.integers(0, 20)), max_size=60))
@settings(deadline=None, max_examples=80)
def test_every_request_is_ended_once_after_its_steps(cache, fua, queues, steps):
    kernel = boot(2)
    disk = Disk(cache, fua, queues=queues, depth=6)
    q = disk.queues[0]
    submitted: list = []

    def finish(which):
        done = disk.taken[which % len(disk.taken)]
        disk.finish(done)

    for step, flags, data, which in steps:
        if step == "rest":
            kernel.loop.run_due()
        elif step == "finish":
            if disk.taken:
                finish(which)
        elif len(submitted) - len(disk.ended) < 6:
            submitted.append(disk.submit(flags, 4096 if data else 0))
        for hctx in q.queue_hw_ctx[:queues]:
            flights = [rq for rq in disk.taken if rq is hctx.fq.flush_rq]
            assert len(flights) <= 1
    for _ in range(1000):
        kernel.loop.run_due()
        if not disk.taken:
            break
        finish(0)
    assert sorted(map(id, submitted)) == sorted(id(rq) for rq, _ in disk.ended)
    assert all(status == 0 for _, status in disk.ended)
    for hctx in q.queue_hw_ctx[:queues]:
        assert hctx.fq.flush_pending_idx == hctx.fq.flush_running_idx
        assert all(list_empty(waiting) for waiting in [*hctx.fq.flush_queue, hctx.fq.flush_data_in_flight])
    for _ in range(6):
        assert not IS_ERR(blk_mq.blk_mq_alloc_request(q, 0, BLK_MQ_REQ_NOWAIT))


def test_a_failed_flush_fails_the_request():
    kernel = boot(2)
    disk = Disk()
    rq = disk.submit(REQ_PREFLUSH | REQ_FUA)
    kernel.loop.run_due()
    flush, = disk.taken
    disk.taken.remove(flush)
    blk_mq.blk_mq_end_request(flush, BLK_STS_IOERR)
    kernel.loop.run_due()
    assert disk.ended == [(rq, BLK_STS_IOERR)]
    assert disk.taken == []


def test_a_flush_that_ends_while_it_is_late():
    kernel = boot(2)
    disk = Disk(timeout=250)
    rq = disk.submit(REQ_PREFLUSH, 0)
    kernel.loop.run_due()
    flush, = disk.taken

    def timeout(late, reserved):
        disk.taken.remove(flush)
        blk_mq.blk_mq_end_request(flush, BLK_STS_IOERR)
        assert disk.ended == [], "the timeout handler still holds the flush"
        return BLK_EH_DONE
    disk.set.ops.timeout = timeout
    kernel.loop.advance(3_000_000_000)
    assert disk.ended == [(rq, BLK_STS_IOERR)]


def test_flush_queues_are_allocated_whole():
    kernel = boot(2)
    live = dict(kernel.memory.live)
    fq = blk_flush.blk_alloc_flush_queue(None, 0, 100, 0)
    assert kernel.memory.live[fq.flush_rq._addr].size == 384
    blk_flush.blk_free_flush_queue(fq)
    for nth in (1, 2):
        kernel.memory.fail_nth(nth)
        assert blk_flush.blk_alloc_flush_queue(None, 0, 100, 0) is None
    blk_flush.blk_free_flush_queue(None)
    assert kernel.memory.live == live


def test_flushing_a_block_device():
    boot(2)
    scenario.null_blk_load(nr_devices=1)
    disk = scenario.disk("nullb0")
    assert blk_flush.blkdev_issue_flush(block_device(), GFP_KERNEL) == (-ENXIO, 0)
    for cache in (False, True):
        if cache:
            blk_core.blk_queue_flag_set(QUEUE_FLAG_WC, disk.queue)
        with record() as recording:
            assert blk_flush.blkdev_issue_flush(block_device(bd_disk=disk), GFP_KERNEL) == (0, 0)
        assert ("flush_end_io" in {call.function for call in recording.of(Call)}) == cache
