"""Tags: nobody shares one, nobody waits in vain, and queues that share them get their part."""

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel import boot, machine
from blkmodel.block import blk_mq, blk_mq_tag
from blkmodel.block.blk_mq_h import blk_mq_alloc_data
from blkmodel.block.blk_mq_tag_h import BLK_MQ_TAG_FAIL, BLK_MQ_TAG_MAX, blk_mq_tag_is_reserved
from blkmodel.include.linux.blk_mq import (BLK_MQ_F_ALLOC_POLICY_START_BIT, BLK_MQ_REQ_NOWAIT, BLK_MQ_REQ_RESERVED,
    BLK_MQ_S_TAG_ACTIVE)
from blkmodel.include.linux.blk_types import REQ_OP_DRV_IN, REQ_OP_READ
from blkmodel.include.linux.blkdev import BLK_TAG_ALLOC_RR, MQ_RQ_COMPLETE
from blkmodel.include.linux.sbitmap import DEFINE_SBQ_WAIT
from blkmodel.lib import sbitmap
from blkmodel.services.base.bug import KernelBug
from blkmodel.services.base.err import EINVAL, ENOMEM, IS_ERR
from blkmodel.services.tasks.sched import TASK_UNINTERRUPTIBLE
from blkmodel.sim.events import HungTask
from blkmodel.sim.kernel import Context
from tests.block.simple_driver import Driver
from tests.invariants import any_bit_clear


def get(q, flags=BLK_MQ_REQ_NOWAIT):
    """A request, or None."""
    rq = blk_mq.blk_mq_alloc_request(q, REQ_OP_READ, flags)
    return None if IS_ERR(rq) else rq


@pytest.mark.parametrize("tag", [4, 100])
def test_a_tag_that_there_is_not_can_not_be_given_back(tag):
    boot(1)
    hctx = Driver(depth=4, reserved_tags=1).load().queue_hw_ctx[0]
    with pytest.raises(KernelBug):
        blk_mq_tag.blk_mq_put_tag(hctx, hctx.tags, hctx.ctxs[0], hctx.tags.nr_reserved_tags + tag)


@given(depth=st.integers(1, 100), reserved=st.integers(0, 3), round_robin=st.booleans(),
       steps=st.lists(st.tuples(st.sampled_from(["get", "get", "reserved", "put"]), st.integers(0, 3),
                                st.integers(0, 99)), max_size=300))
@settings(deadline=None, max_examples=60)
def test_no_tag_is_held_twice(depth, reserved, round_robin, steps):
    kernel = boot(4)
    driver = Driver(queues=2, depth=depth + reserved, reserved_tags=reserved,
                    flags=BLK_TAG_ALLOC_RR << BLK_MQ_F_ALLOC_POLICY_START_BIT if round_robin else 0)
    q = driver.load()
    assert driver.set.tags[0].bitmap_tags.round_robin == round_robin
    held: list = []
    for step, cpu, which in steps:
        if step == "put":
            if held:
                kernel.task("end", blk_mq.blk_mq_free_request, held.pop(which % len(held)), cpu=cpu)
            continue
        if step == "reserved" and not reserved:
            continue
        flags = BLK_MQ_REQ_NOWAIT | (BLK_MQ_REQ_RESERVED if step == "reserved" else 0)
        rq = kernel.task("submit", get, q, flags, cpu=cpu)
        if rq is None and round_robin:  # it looked from the CPU's hint on only; from now on the hint is 0
            rq = kernel.task("submit", get, q, flags, cpu=cpu)
        of_kind = [other for other in held if other.mq_hctx is q.queue_ctx[cpu].hctxs[0]
                   and blk_mq_tag_is_reserved(other.mq_hctx.tags, other.tag) == (step == "reserved")]
        if rq is None:
            assert len(of_kind) == (reserved if step == "reserved" else depth)
            continue
        assert blk_mq_tag_is_reserved(rq.mq_hctx.tags, rq.tag) == (step == "reserved")
        assert rq is rq.mq_hctx.tags.static_rqs[rq.tag] is rq.mq_hctx.tags.rqs[rq.tag]
        assert rq not in held
        held.append(rq)
        assert any_bit_clear(rq.mq_hctx.tags.bitmap_tags.sb) == (sum(
            other.mq_hctx is rq.mq_hctx and other.tag >= reserved for other in held) < depth)
    for rq in held:
        blk_mq.blk_mq_free_request(rq)
    assert len({get(q).tag for _ in range(depth)}) == depth


@given(depth=st.integers(1, 40), waiters=st.integers(1, 30), reserved=st.booleans(), seed=st.randoms())
@settings(deadline=None, max_examples=60)
def test_everybody_who_waits_for_a_tag_is_served(depth, waiters, reserved, seed):
    kernel = boot(4)
    flags = BLK_MQ_REQ_RESERVED if reserved else 0
    driver = Driver(queues=1, depth=2 * depth, reserved_tags=depth)
    q = driver.load()
    in_use = set()
    served = []

    def serve(rq):
        """The device is done with it some time later."""
        assert rq not in in_use
        in_use.add(rq)
        kernel.loop.post(Context("irq", "end", seed.randrange(4)), lambda: end(rq),
                         seed.randrange(100_000, 900_000))

    def end(rq):
        in_use.remove(rq)
        blk_mq.blk_mq_free_request(rq)

    def submit():
        served.append(get(q, flags))
        serve(served[-1])

    for _ in range(depth):
        serve(get(q, flags | BLK_MQ_REQ_NOWAIT))
    assert get(q, flags | BLK_MQ_REQ_NOWAIT) is None
    for n in range(waiters):
        kernel.loop.post(Context("task", f"waiter {n}", n % 4), submit)
    kernel.loop.advance(1_000_000_000)
    assert len(served) == waiters
    assert not in_use
    tags = driver.set.tags[0]
    bitmap = tags.breserved_tags if reserved else tags.bitmap_tags
    assert bitmap.ws_active == 0
    assert all(not ws.wait.head.entries for ws in bitmap.ws)


def test_a_tag_that_never_comes():
    boot(2)
    driver = Driver(depth=1)
    q = driver.load()
    rq = get(q)
    # Nothing is queued but the run of other events: this hangs as the kernel would.
    with pytest.raises(HungTask):
        get(q, 0)
    blk_mq.blk_mq_free_request(rq)


def test_a_waiter_that_wakes_on_another_cpu_uses_that_ones_queue():
    kernel = boot(2)
    driver = Driver(queues=2, depth=1)
    q = driver.load()
    first = kernel.task("first", get, q, cpu=0)
    assert first.mq_hctx is q.queue_hw_ctx[0]
    bitmap = driver.set.tags[0].bitmap_tags
    mover = Context("task", "mover", 0)
    behind = DEFINE_SBQ_WAIT()
    woken = []

    def wake(waiter):
        woken.append(waiter)
        return 1

    def stand_in_line():
        behind.wait.func = wake
        for ws in bitmap.ws:
            if ws.wait.head.entries:
                sbitmap.sbitmap_prepare_to_wait(bitmap, ws, behind, TASK_UNINTERRUPTIBLE)

    def move():
        mover.cpu = 1
        blk_mq.blk_mq_free_request(first)
        assert woken == []
    kernel.loop.post(Context("task", "behind", 0), stand_in_line)
    kernel.loop.post(Context("irq", "end", 0), move, 1000)
    rq = kernel.run_in(mover, get, q, 0)
    assert rq.mq_hctx is q.queue_hw_ctx[1]
    assert rq.mq_ctx.cpu == 1
    assert woken == [behind.wait], "whoever stood behind has the wake-up that the mover could not use"
    assert bitmap.ws_active == 1


def test_waiting_first_sends_what_was_held_back():
    kernel = boot(2)
    driver = Driver(depth=1)
    q = driver.load()
    hctx = q.queue_hw_ctx[0]
    rq = get(q)
    blk_mq.__blk_mq_insert_request(hctx, rq, False)
    assert driver.taken == []
    kernel.loop.post(Context("irq", "end", 0), driver.finish, 1000)
    second = get(q, 0)
    assert driver.heard("taken") == [rq]
    assert second is rq


def test_no_reserved_tags():
    kernel = boot(2)
    q = Driver().load()
    data = blk_mq_alloc_data(q=q, flags=BLK_MQ_REQ_RESERVED, ctx=q.queue_ctx[0], hctx=q.queue_hw_ctx[0])
    assert blk_mq_tag.blk_mq_get_tag(data) == BLK_MQ_TAG_FAIL
    assert kernel.log[-1].startswith("WARNING")


def test_a_shallow_search():
    boot(2)
    q = Driver(depth=8).load()
    hctx = q.queue_hw_ctx[0]
    shift = hctx.tags.bitmap_tags.sb.shift
    tags = set()
    while True:
        data = blk_mq_alloc_data(q=q, flags=BLK_MQ_REQ_NOWAIT, shallow_depth=1, ctx=q.queue_ctx[0], hctx=hctx)
        tag = blk_mq_tag.blk_mq_get_tag(data)
        if tag == BLK_MQ_TAG_FAIL:
            break
        tags.add(tag)
    assert tags == set(range(0, 8, 1 << shift))


@given(depth=st.integers(1, 64), sharers=st.integers(2, 6))
@settings(deadline=None, max_examples=30)
def test_queues_that_share_get_equal_parts(depth, sharers):
    boot(2)
    driver = Driver(depth=depth)
    driver.load(queues=sharers)
    tags = driver.set.tags[0]
    for q in driver.queues:
        hctx = q.queue_hw_ctx[0]
        assert blk_mq_tag.__blk_mq_tag_busy(hctx)
        assert blk_mq_tag.__blk_mq_tag_busy(hctx)
        assert hctx.state >> BLK_MQ_S_TAG_ACTIVE & 1
    assert tags.active_queues == sharers
    share = max(-(-depth // sharers), 4) if depth > 1 else 1
    left = depth
    for q in driver.queues:
        count = 0
        while get(q) is not None:
            count += 1
        assert count == min(share, left)
        assert q.queue_hw_ctx[0].nr_active == count
        left -= count


def test_the_share_grows_when_a_queue_goes_idle():
    boot(2)
    driver = Driver(depth=16)
    a, b = (driver.load(queues=2), driver.queues[1])
    blk_mq.blk_mq_free_request(get(b))
    held = []
    while (rq := get(a)) is not None:
        held.append(rq)
    assert len(held) == 8
    blk_mq_tag.__blk_mq_tag_idle(b.queue_hw_ctx[0])
    blk_mq_tag.__blk_mq_tag_idle(b.queue_hw_ctx[0])
    assert driver.set.tags[0].active_queues == 1
    while (rq := get(a)) is not None:
        held.append(rq)
    assert len(held) == 16


def test_visits():
    boot(2)
    driver = Driver(queues=2, depth=8, reserved_tags=2)
    a, b = (driver.load(queues=2), driver.queues[1])
    requests = [get(a), get(b), get(a, BLK_MQ_REQ_NOWAIT | BLK_MQ_REQ_RESERVED), get(a)]
    for rq in requests[:3]:
        blk_mq.blk_mq_start_request(rq)

    seen: list = []

    def visit(hctx, rq, priv, reserved):
        priv.append((hctx.queue, rq, reserved))
        return True
    blk_mq_tag.blk_mq_queue_tag_busy_iter(a, visit, seen)
    assert seen == [(a, requests[2], True), (a, requests[0], False), (a, requests[3], False)]

    seen = []

    def visit_started(rq, priv, reserved):
        priv.append((rq, reserved))
        return True
    blk_mq_tag.blk_mq_tagset_busy_iter(driver.set, visit_started, seen)
    assert seen == [(requests[2], True), (requests[0], False), (requests[1], False)]

    seen = []
    blk_mq_tag.blk_mq_queue_tag_busy_iter(a, lambda hctx, rq, priv, reserved: seen.append(rq), None)
    assert seen == [requests[2], requests[0]], "one of each bitmap, since the visitor wants no more"


def test_a_dead_queue_is_not_visited():
    boot(2)
    driver = Driver()
    q = driver.load()
    blk_mq.blk_mq_freeze_queue(q)
    blk_mq_tag.blk_mq_queue_tag_busy_iter(q, lambda *arguments: pytest.fail("visited"), None)
    blk_mq.blk_mq_unfreeze_queue(q)


def test_waiting_for_completions_under_way():
    kernel = boot(2)
    driver = Driver()
    q = driver.load()
    rq = get(q)
    rq.state = MQ_RQ_COMPLETE
    kernel.loop.post(Context("softirq", "block", 0), lambda: blk_mq.blk_mq_end_request(rq, 0), 12_000_000)
    blk_mq_tag.blk_mq_tagset_wait_completed_request(driver.set)
    # msleep(5): two ticks of 4 ms and one more, and the timer wheel is one late
    assert kernel.now == 16_000_000
    assert rq.ref == 0


def test_wakeup_of_all():
    kernel = boot(2)
    driver = Driver(depth=64)
    q = driver.load()
    held = [get(q) for _ in range(64)]
    woken = []

    def wake():
        woken.append(kernel.now)
        blk_mq.blk_mq_wake_waiters(q)
        blk_mq.blk_mq_free_request(held.pop())
    kernel.loop.post(Context("task", "wake", 1), wake, 1000)
    kernel.loop.post(Context("task", "wake", 1), wake, 2000)
    # One freed tag is less than a batch of wake-ups, but everybody is woken.
    assert get(q, 0) is not None
    assert woken


def test_a_scheduler_may_grow_its_tags():
    kernel = boot(machine(2))
    driver = Driver(depth=8)
    q = driver.load()
    hctx = q.queue_hw_ctx[0]
    old = blk_mq.blk_mq_alloc_rq_map(driver.set, 0, 8, 0)
    assert blk_mq.blk_mq_alloc_rqs(driver.set, old, 0, 8) == 0
    held = sum(a.size for a in kernel.memory.live.values())

    assert blk_mq_tag.blk_mq_tag_update_depth(hctx, old, 0, True) == (-EINVAL, old)
    assert blk_mq_tag.blk_mq_tag_update_depth(hctx, old, 9, False) == (-EINVAL, old)
    assert blk_mq_tag.blk_mq_tag_update_depth(hctx, old, 2049, True) == (-EINVAL, old)
    count = kernel.memory.count
    ret, new = blk_mq_tag.blk_mq_tag_update_depth(hctx, old, 20, True)
    assert (ret, new.nr_tags, new.bitmap_tags.sb.depth) == (0, 20, 20)
    assert all(rq is not None for rq in new.static_rqs)
    tried = kernel.memory.count - count
    live = dict(kernel.memory.live)
    for nth in range(1, tried):
        kernel.memory.fail_nth(nth)
        ret, same = blk_mq_tag.blk_mq_tag_update_depth(hctx, new, 40, True)
        kernel.memory.fail_never()
        if ret:
            assert (ret, same) == (-ENOMEM, new)
            assert kernel.memory.live == live
        else:
            new = same
            assert new.nr_tags == 40
            break
    assert blk_mq_tag.blk_mq_tag_update_depth(hctx, new, 5, True) == (0, new)
    assert new.bitmap_tags.sb.depth == 5
    blk_mq.blk_mq_free_rqs(driver.set, new, 0)
    blk_mq.blk_mq_free_rq_map(new)
    assert sum(a.size for a in kernel.memory.live.values()) < held


def test_too_many_tags():
    kernel = boot(2)
    assert blk_mq_tag.blk_mq_init_tags(BLK_MQ_TAG_MAX + 1, 0, 0, 0) is None
    assert kernel.log[-1] == "blk-mq: tag depth too large"


def test_a_passthrough_request_may_use_the_last_tag():
    boot(2)
    q = Driver(depth=1).load()
    rq = blk_mq.blk_mq_alloc_request(q, REQ_OP_DRV_IN, BLK_MQ_REQ_NOWAIT)
    assert rq.tag == 0
    assert (rq._sector, rq._data_len, rq.bio) == (-1, 0, None)
