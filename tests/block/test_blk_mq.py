"""The multi-queue core: what set-up builds, what a failure leaves, and how requests travel."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel import boot, machine, scenario
from blkmodel.block import blk_core, blk_mq, blk_mq_sched, mq_deadline
from blkmodel.block.blk_mq_cpumap import blk_mq_map_queues
from blkmodel.block.blk_mq_h import __blk_mq_get_ctx
from blkmodel.device.controller import Controller
from blkmodel.include.linux.blk_mq import (BLK_EH_DONE, BLK_MQ_CPU_WORK_BATCH, BLK_MQ_F_BLOCKING, BLK_MQ_F_TAG_SHARED,
    BLK_MQ_REQ_NOWAIT, BLK_MQ_REQ_RESERVED, BLK_MQ_S_SCHED_RESTART, BLK_MQ_S_STOPPED, BLK_QC_T_INTERNAL, blk_mq_ops,
    blk_mq_tag_set, request_to_qc_t)
from blkmodel.include.linux.blk_types import (BLK_QC_T_NONE, BLK_STS_DEV_RESOURCE, BLK_STS_IOERR, BLK_STS_RESOURCE,
    REQ_HIPRI, REQ_OP_DRV_IN, REQ_OP_READ, REQ_OP_WRITE)
from blkmodel.include.linux.blkdev import (MQ_RQ_COMPLETE, MQ_RQ_IDLE, MQ_RQ_IN_FLIGHT, QUEUE_FLAG_IO_STAT,
    QUEUE_FLAG_POLL_STATS, QUEUE_FLAG_STATS, RQF_DONTPREP, RQF_TIMED_OUT, blk_plug, request)
from blkmodel.services.base.err import EAGAIN, EBUSY, EINVAL, EIO, ENOMEM, IS_ERR, PTR_ERR
from blkmodel.services.cpus.cpuhotplug import CPUHP_BLK_MQ_DEAD, cpu_down, hotplug
from blkmodel.services.cpus.cpumask import cpumask_clear, cpumask_weight, for_each_cpu
from blkmodel.services.data.list import list_head
from blkmodel.services.tasks.rcupdate import srcu_struct
from blkmodel.services.tasks.refcount import percpu_ref_is_zero
from blkmodel.services.tasks.sched import TASK_UNINTERRUPTIBLE, schedule, set_current_state, wake_up_process
from blkmodel.services.tasks.timer import jiffies
from blkmodel.services.tasks.workqueue import WORK_CPU_UNBOUND
from blkmodel.sim.events import HungTask
from blkmodel.sim.kernel import Context, booted
from blkmodel.sim.memory import PAGE_SIZE
from blkmodel.sim.structure import sizeof
from blkmodel.trace import Call, record
from tests.block.simple_driver import Driver
from tests.invariants import any_bit_clear
from tests.leaks import drawn


def get(q, op=REQ_OP_READ, flags=BLK_MQ_REQ_NOWAIT):
    rq = blk_mq.blk_mq_alloc_request(q, op, flags)
    assert not IS_ERR(rq)
    return rq


def insert(rq, run=True, async_=False, at_head=False):
    blk_mq_sched.blk_mq_sched_insert_request(rq, at_head, run, async_)


# ---------------------------------------------------------------- tag sets


@pytest.mark.parametrize("wrong", [
    {"nr_hw_queues": 0}, {"queue_depth": 0}, {"queue_depth": 3, "reserved_tags": 3}, {"nr_maps": 4},
    {"ops": blk_mq_ops()}, {"ops": blk_mq_ops(queue_rq=print, get_budget=print)}])
def test_a_wrong_description_is_refused(wrong):
    kernel = boot(2)
    live = dict(kernel.memory.live)
    described = {"ops": blk_mq_ops(queue_rq=print), "nr_hw_queues": 1, "queue_depth": 8, **wrong}
    assert blk_mq.blk_mq_alloc_tag_set(blk_mq_tag_set(**described)) == -EINVAL
    assert kernel.memory.live == live


def test_a_set_gets_what_the_machine_can_use():
    kernel = boot(4)
    driver = Driver(queues=9, depth=20000)
    driver.load(queues=0)
    assert (driver.set.nr_hw_queues, driver.set.nr_maps, driver.set.queue_depth) == (4, 1, 10240)
    assert kernel.log[-1] == "blk-mq: reduced tag depth to 10240"
    assert [tags.nr_tags for tags in driver.set.tags] == [10240] * 4
    assert list(driver.set.map[0].mq_map) == [0, 1, 2, 3]


def test_a_crash_kernel_is_modest():
    boot(machine(4, kdump=True))
    spread = blk_mq_ops(queue_rq=print, map_queues=lambda set: pytest.fail("asked for a map"))
    modest = blk_mq_tag_set(ops=spread, nr_hw_queues=4, nr_maps=3, queue_depth=1000)
    assert blk_mq.blk_mq_alloc_tag_set(modest) == 0
    assert (modest.nr_hw_queues, modest.nr_maps, modest.queue_depth) == (1, 1, 64)
    assert list(modest.map[0].mq_map) == [0, 0, 0, 0]
    assert [tags is not None for tags in modest.tags] == [True, False, False, False]


def test_the_drivers_own_map():
    boot(4)

    def map_queues(set):
        assert [list(qmap.mq_map) for qmap in set.map] == [[0] * 4] * 3
        for type, qmap in enumerate(set.map):
            qmap.nr_queues, qmap.queue_offset = 1, type
            qmap.mq_map[:] = [type] * 4
        return 0
    driver = Driver(queues=3, nr_maps=3, ops={"map_queues": map_queues})
    q = driver.load()
    ctx = __blk_mq_get_ctx(q, 2)
    assert [hctx.queue_num for hctx in ctx.hctxs] == [0, 1, 2]
    assert [hctx.type for hctx in q.queue_hw_ctx[:3]] == [0, 1, 2]
    assert get(q, REQ_OP_READ).mq_hctx.queue_num == 1
    assert get(q, REQ_OP_WRITE).mq_hctx.queue_num == 0


def test_a_failed_map_fails_the_set():
    kernel = boot(4)
    live = dict(kernel.memory.live)
    driver = Driver(ops={"map_queues": lambda set: -EIO})
    assert blk_mq.blk_mq_alloc_tag_set(driver.set) == -EIO
    assert kernel.memory.live == live


@pytest.mark.parametrize("up", ["nvme", "null_blk"])
def test_requests_come_into_being_when_they_are_used(up):
    """What nobody has used is an address, unless a recording is on: then each is prepared, as in C. No one can tell."""
    def tags_of():
        with booted(4):
            if up == "nvme":
                scenario.nvme_probe(controller=Controller(queue_pairs=2))
            else:
                scenario.null_blk_load(submit_queues=2)
            return scenario.disk({"nvme": "nvme0n1", "null_blk": "nullb0"}[up]).queue.tag_set.tags[:2]

    def state(tags):
        def own(iod):
            return iod and (iod._addr, up == "nvme" and (iod.nvmeq.qid, iod.req.ctrl.instance))
        return [[(rq._addr, rq.state, rq.tag, own(rq._pdu)) for rq in each.static_rqs] for each in tags]

    unseen = tags_of()
    raw = [list.__getitem__(each.static_rqs, -1) for each in unseen]
    recording = record(tags_of)
    assert all(isinstance(each, int) for each in raw)
    assert not any(isinstance(item, int) for each in recording.result for item in list.__iter__(each.static_rqs))
    assert state(unseen) == state(recording.result)
    assert [each.static_rqs[-1]._addr for each in unseen] == raw
    assert unseen[0].static_rqs[3] is unseen[0].static_rqs[3] is unseen[0].static_rqs[2:4][1]
    prepared = sum(each.function == "blk_mq_init_request" for each in recording.of(Call))
    assert prepared >= sum(len(each.static_rqs) for each in unseen)


def check_runs(kernel, tags, cmd_size):
    """Requests lie in their runs, on cache lines, in order, without overlap; return the bytes no request uses."""
    size = sizeof(request) + cmd_size
    step = -(-size // 64) * 64
    runs = [(page._addr, PAGE_SIZE << page.private) for page in tags.page_list]
    requests = list(tags.static_rqs)
    waste = 0
    for start, length in runs:
        assert kernel.memory.live[start].size == length
        inside = [rq for rq in requests if start <= rq._addr < start + length]
        assert [rq._addr for rq in inside] == [start + i * step for i in range(len(inside))]
        assert len(inside) * step <= length
        waste += length - len(inside) * size
    assert len({rq._addr for rq in requests}) == len(requests) == tags.nr_tags
    assert waste == sum(length for _, length in runs) - len(requests) * size
    return waste


@given(st.integers(1, 700), st.integers(0, 6000))
@settings(deadline=None, max_examples=40)
def test_requests_lie_in_their_runs(depth, cmd_size):
    kernel = boot(2)
    driver = Driver(depth=depth, cmd_size=cmd_size)
    driver.load(queues=0)
    check_runs(kernel, driver.set.tags[0], cmd_size)
    for page in driver.set.tags[0].page_list:
        assert page.private <= 4


@pytest.mark.parametrize(("depth", "cmd_size", "orders", "waste"), [
    (32, 152, [2], 16384 - 32 * 424), (1023, 152, [4] * 7 + [0], None), (1, 0, [0], 4096 - 272), (9, 3000, [3], None)])
def test_runs(depth, cmd_size, orders, waste):
    kernel = boot(2)
    driver = Driver(depth=depth, cmd_size=cmd_size)
    driver.load(queues=0)
    tags = driver.set.tags[0]
    found = check_runs(kernel, tags, cmd_size)
    assert [page.private for page in tags.page_list] == orders
    assert waste is None or found == waste


@given(st.integers(0, 2**32), st.floats(0.05, 0.95), st.integers(1, 200), st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_scarce_memory_gives_smaller_runs_or_fewer_tags(seed, share, depth, queues):
    kernel = boot(4)
    live = dict(kernel.memory.live)
    driver = Driver(queues=queues, depth=depth, cmd_size=152)
    kernel.memory.fail_if(drawn(share, seed, kinds={f"pages({1 << order})" for order in range(5)}))
    ret = blk_mq.blk_mq_alloc_tag_set(driver.set)
    kernel.memory.fail_never()
    if ret:
        assert ret == -ENOMEM
        assert kernel.log[-1] == "blk-mq: failed to allocate request map"
    else:
        halved = [depth >> n for n in range(8)]
        assert driver.set.queue_depth in halved
        if driver.set.queue_depth != depth:
            assert kernel.log[-1] == f"blk-mq: reduced tag depth ({depth} -> {driver.set.queue_depth})"
        for tags in driver.set.tags[:queues]:
            assert tags.nr_tags == driver.set.queue_depth
            check_runs(kernel, tags, 152)
        blk_mq.blk_mq_free_tag_set(driver.set)
    if queues == 1 or (not ret and driver.set.queue_depth == depth):
        assert kernel.memory.live == live
    # Where a queue finds no memory, 5.4 loses the pages in which the requests of those before it lay.
    assert {kind for kind, _ in taken(kernel, live)} <= {f"pages({1 << order})" for order in range(5)}


def taken(kernel, live):
    """What is allocated that was not: kind and node of each, sorted."""
    return sorted((each.kind, each.node) for addr, each in kernel.memory.live.items() if addr not in live)


def attempts(kernel, fn):
    """How many allocations fn() tries."""
    before = kernel.memory.count
    fn()
    return kernel.memory.count - before


def three_types(set):
    """A map as an NVMe controller with read and poll queues has: two default queues, and one of each other type."""
    offset = 0
    for qmap, nr_queues in zip(set.map, (2, 1, 1), strict=True):
        qmap.nr_queues, qmap.queue_offset = nr_queues, offset
        blk_mq_map_queues(qmap)
        offset += nr_queues
    return 0


SETS: list[dict[str, Any]] = [
    {"queues": 1, "depth": 8, "cmd_size": 152},
    {"queues": 3, "depth": 9, "cmd_size": 100, "reserved_tags": 2},
    {"queues": 4, "depth": 8, "cmd_size": 88, "nr_maps": 3, "ops": {"map_queues": three_types}},
    {"queues": 2, "depth": 64, "cmd_size": 700, "flags": BLK_MQ_F_BLOCKING},
]


@pytest.mark.parametrize("described", SETS, ids=lambda described: f"{described['queues']}-{described['depth']}")
def test_every_allocation_of_a_tag_set_may_fail(described):
    """Without its arrays and maps there is no set. Without anything else the tags are half as many, in all queues,
    or lie in smaller runs of pages. The next try succeeds. Of what failed only the pages are left in which the requests
    of the queues before lay, which is what Linux loses."""
    kernel = boot(machine(6, nodes=2, present=5))
    live = dict(kernel.memory.live)
    driver = Driver(**described)
    depth, queues = described["depth"], described["queues"]
    number = attempts(kernel, lambda: driver.load(queues=0))
    whole = taken(kernel, live)
    assert whole
    runs = [[(each.kind, each.node) for each in map(kernel.memory.live.get, [page._addr for page in tags.page_list])]
            for tags in driver.set.tags[:queues]]
    driver.unload()
    assert kernel.memory.live == live
    arrays = 1 + driver.set.nr_maps
    outcomes = []
    for nth in range(1, number + 1):
        kernel.memory.fail_nth(nth)
        failed, said = kernel.memory.failed, len(kernel.log)
        ret = blk_mq.blk_mq_alloc_tag_set(driver.set)
        assert kernel.memory.failed == failed + 1
        kernel.memory.fail_never()
        if ret:
            outcomes.append(ret)
            assert kernel.memory.live == live
            assert driver.set.tags is None
            assert [qmap.mq_map for qmap in driver.set.map] == [None] * 3
        else:
            outcomes.append(driver.set.queue_depth)
            check_set(kernel, driver.set, queues, described["cmd_size"])
            reduced = [f"blk-mq: reduced tag depth ({depth} -> {depth // 2})"]
            assert kernel.log[said:] == (reduced if driver.set.queue_depth != depth else [])
            blk_mq.blk_mq_free_tag_set(driver.set)
            # 5.4 loses these: the failed queue comes after so many, each of which allocates as often.
            before = 0 if driver.set.queue_depth == depth else (nth - arrays - 1) * queues // (number - arrays)
            assert taken(kernel, live) == sorted(run for queue in runs[:before] for run in queue)
            live = dict(kernel.memory.live)
        driver.set.queue_depth = depth
        assert blk_mq.blk_mq_alloc_tag_set(driver.set) == 0
        assert taken(kernel, live) == whole
        check_set(kernel, driver.set, queues, described["cmd_size"])
        blk_mq.blk_mq_free_tag_set(driver.set)
        assert kernel.memory.live == live
    assert outcomes[:arrays] == [-ENOMEM] * arrays
    assert set(outcomes[arrays:]) == {depth // 2} | ({depth} if depth == 64 else set())


def test_a_driver_is_not_told_of_requests_that_are_lost():
    """What it set up for each request of the queues before the failed one, it can't undo: 5.4 does not call it."""
    boot(2)
    ended: list = []
    driver = Driver(queues=2, ops={"init_request": lambda set, rq, i, node: -ENOMEM if i else 0,
                                   "exit_request": lambda set, rq, i: ended.append(rq)})
    assert blk_mq.blk_mq_alloc_tag_set(driver.set) == -ENOMEM
    assert ended == []


def check_set(kernel, set, queues, cmd_size):
    """Every hardware queue has its tags, requests and both arrays, as deep as the set says."""
    assert len([tags for tags in set.tags if tags is not None]) == set.nr_hw_queues == queues
    for tags in set.tags[:queues]:
        assert (tags.nr_tags, tags.nr_reserved_tags) == (set.queue_depth, set.reserved_tags)
        assert tags.bitmap_tags.sb.depth == set.queue_depth - set.reserved_tags
        assert tags.breserved_tags.sb.depth == set.reserved_tags
        assert len(tags.rqs) == len(tags.static_rqs) == set.queue_depth
        check_runs(kernel, tags, cmd_size)


@pytest.mark.parametrize("largest", [1, 2, 4, 8])
def test_where_large_runs_cannot_be_had_smaller_ones_do(largest):
    """The depth stays: the requests of a queue lie in more runs, down to single pages."""
    kernel = boot(2)
    kernel.memory.fail_if(lambda kind, size: kind.startswith("pages") and size > largest * PAGE_SIZE)
    driver = Driver(depth=300, cmd_size=152)
    driver.load(queues=0)
    assert driver.set.queue_depth == 300
    runs = [1 << page.private for page in driver.set.tags[0].page_list]
    assert runs[0] == largest == max(runs)
    assert sum(runs) >= 300 * 448 // PAGE_SIZE
    check_set(kernel, driver.set, 1, 152)


def test_a_request_that_no_run_can_hold():
    """A request is larger than what can be had: no smaller run is of use, nor any smaller depth."""
    kernel = boot(2)
    live = dict(kernel.memory.live)
    kernel.memory.fail_if(lambda kind, size: size >= 4 * PAGE_SIZE)
    driver = Driver(depth=8, cmd_size=9000)
    assert blk_mq.blk_mq_alloc_tag_set(driver.set) == -ENOMEM
    assert kernel.log[-1] == "blk-mq: failed to allocate request map"
    assert kernel.memory.live == live


def test_a_driver_that_fails_to_prepare_a_request():
    kernel = boot(2)
    live = dict(kernel.memory.live)
    prepared: list = []

    def init_request(set, rq, hctx_idx, node):
        if len(prepared) == 6:
            return -EIO
        prepared.append(rq)
        return 0
    driver = Driver(depth=8, ops={"init_request": init_request, "exit_request": lambda set, rq, i: prepared.remove(rq)})
    assert blk_mq.blk_mq_alloc_tag_set(driver.set) == 0
    assert driver.set.queue_depth == 4
    assert prepared == list(driver.set.tags[0].static_rqs)
    blk_mq.blk_mq_free_tag_set(driver.set)
    assert prepared == []
    assert kernel.memory.live == live


# ---------------------------------------------------------------- queues


@pytest.mark.parametrize("described", SETS, ids=lambda described: f"{described['queues']}-{described['depth']}")
def test_every_allocation_of_a_queue_may_fail(described):
    """There is no queue then, and the next try succeeds. Of the queue only those hardware queues are left that it had
    already, with all that is theirs, which is what Linux loses.

    With the hardware queues that it had already go their tags, which are the set's: the next queue allocates them
    anew. One failure the kernel does not look for: the counters by which a blocking driver's queue is quiesced.
    """
    kernel = boot(machine(6, nodes=2, present=5))
    driver = Driver(**described)
    driver.load(queues=0)
    live = dict(kernel.memory.live)
    number = attempts(kernel, driver.add_queue)
    driver.remove_queue(driver.queues[0])
    assert kernel.memory.live == live
    hctx = ["blk_flush_queue", "blk_mq_hw_ctx", "pointer[]", "request", "sbitmap_word[]"]
    if described.get("flags"):
        hctx.append("srcu_data[]")
    kinds = Counter(each.kind for each in live.values())
    failures = 0
    for nth in range(1, number + 1):
        kernel.memory.fail_nth(nth)
        live, failed = dict(kernel.memory.live), kernel.memory.failed
        q = blk_mq.blk_mq_init_queue(driver.set)
        assert kernel.memory.failed == failed + 1
        kernel.memory.fail_never()
        kernel.loop.settle()
        if IS_ERR(q):
            failures += 1
            assert PTR_ERR(q) == -ENOMEM
        else:
            driver.queues.append(q)
            driver.remove_queue(q)
        lost = [i for i in range(described["queues"]) if driver.set.tags[i] is None]
        assert lost == list(range(len(lost)))
        assert len(lost) < described["queues"]
        assert [kind for kind, _ in taken(kernel, live)] == sorted(hctx * len(lost))
        assert list(driver.set.tag_list) == []
        q = driver.add_queue()
        check_mapping(q, driver.set)
        check_set(kernel, driver.set, described["queues"], described["cmd_size"])
        driver.remove_queue(q)
        kinds.update(hctx * len(lost))
        assert Counter(each.kind for each in kernel.memory.live.values()) == kinds
    assert failures == number - (described["queues"] if described.get("flags") else 0)
    driver.unload()


def test_a_queue_is_all_freed():
    kernel = boot(machine(8, nodes=2, threads=2))
    live = dict(kernel.memory.live)
    driver = Driver(queues=5, depth=16, cmd_size=64)
    driver.load(queues=3)
    driver.unload()
    assert kernel.memory.live == live


def check_mapping(q, set):
    """Every CPU's software queue goes to a hardware queue of each type that knows it and has tags."""
    for cpu, ctx in enumerate(q.queue_ctx):
        assert ctx.cpu == cpu
        assert ctx.queue is q
        for type, hctx in enumerate(ctx.hctxs):
            qmap = set.map[type if type < set.nr_maps else 0]
            assert hctx is q.queue_hw_ctx[qmap.mq_map[cpu]]
            assert hctx.ctxs[ctx.index_hw[hctx.type]] is ctx
            assert hctx.tags is not None
            assert hctx.tags is set.tags[hctx.queue_num]
            assert hctx.tags.static_rqs[0] is not None
            assert hctx.ctx_map.depth == hctx.nr_ctx == cpumask_weight(hctx.cpumask)
    for type in range(set.nr_maps):
        of_type = [hctx for hctx in q.queue_hw_ctx[:q.nr_hw_queues] if hctx.nr_ctx and hctx.type == type]
        assert sorted(cpu for hctx in of_type for cpu in for_each_cpu(hctx.cpumask)) == list(range(len(q.queue_ctx)))
    for number, hctx in enumerate(q.queue_hw_ctx[:q.nr_hw_queues]):
        assert hctx.queue_num == number
        assert hctx.queue is q
        if not hctx.nr_ctx:
            assert hctx.tags is None
    for hctx in q.queue_hw_ctx[q.nr_hw_queues:]:
        assert hctx is None


@given(st.integers(1, 8), st.lists(st.tuples(st.integers(0, 10), st.sampled_from([0.0, 0.0, 0.2, 0.6])), max_size=6),
       st.integers(0, 2**32), st.integers(1, 2))
@settings(deadline=None, max_examples=60)
def test_hardware_queues_come_and_go(start, changes, seed, sharers):
    kernel = boot(machine(8, nodes=2, present=6))
    live = dict(kernel.memory.live)
    driver = Driver(queues=start, depth=4)
    driver.load(queues=sharers)
    for number, share in changes:
        before = driver.set.nr_hw_queues
        kernel.memory.fail_if(drawn(share, seed))
        blk_mq.blk_mq_update_nr_hw_queues(driver.set, number)
        kernel.memory.fail_never()
        if share == 0.0:
            assert driver.set.nr_hw_queues == (min(number, 8) if number else before)
        for q in driver.queues:
            assert q.nr_hw_queues == driver.set.nr_hw_queues
            assert q.mq_freeze_depth == 0
            check_mapping(q, driver.set)
            rq = get(q)
            insert(rq)
            assert driver.taken == [rq]
            driver.finish()
    driver.unload()
    assert kernel.memory.live == live


def test_sharing_a_tag_set_begins_with_the_second_queue():
    boot(2)
    driver = Driver(queues=2)
    first = driver.load()
    assert not first.queue_hw_ctx[0].flags & BLK_MQ_F_TAG_SHARED
    second = driver.add_queue()
    assert driver.set.flags & BLK_MQ_F_TAG_SHARED
    for q in (first, second):
        assert all(hctx.flags & BLK_MQ_F_TAG_SHARED for hctx in q.queue_hw_ctx[:2])
        assert [hctx.tags for hctx in q.queue_hw_ctx[:2]] == list(driver.set.tags)
    driver.remove_queue(first)
    assert not driver.set.flags & BLK_MQ_F_TAG_SHARED
    assert not any(hctx.flags & BLK_MQ_F_TAG_SHARED for hctx in second.queue_hw_ctx[:2])


def test_fewer_requests_and_back():
    boot(2)
    driver = Driver(depth=16)
    q = driver.load()
    assert blk_mq.blk_mq_update_nr_requests(q, 5) == 0
    assert q.nr_requests == 5
    held = [get(q) for _ in range(5)]
    assert PTR_ERR(blk_mq.blk_mq_alloc_request(q, REQ_OP_READ, BLK_MQ_REQ_NOWAIT)) == -EAGAIN
    for rq in held:
        blk_mq.blk_mq_free_request(rq)
    assert blk_mq.blk_mq_update_nr_requests(q, 17) == -EINVAL
    assert q.nr_requests == 5
    assert blk_mq.blk_mq_update_nr_requests(q, 16) == 0
    assert len({get(q).tag for _ in range(16)}) == 16


# ---------------------------------------------------------------- freezing, quiescing, stopping


def test_a_frozen_queue_lets_nobody_in_and_waits_for_those_inside():
    kernel = boot(2)
    driver = Driver()
    q = driver.load()
    rq = get(q)
    insert(rq)
    blk_mq.blk_freeze_queue_start(q)
    assert PTR_ERR(blk_mq.blk_mq_alloc_request(q, REQ_OP_READ, BLK_MQ_REQ_NOWAIT)) == -EBUSY
    assert not percpu_ref_is_zero(q.q_usage_counter)
    kernel.loop.advance(10_000_000)
    assert not percpu_ref_is_zero(q.q_usage_counter)
    kernel.loop.post(kernel.context, driver.finish)
    blk_mq.blk_mq_freeze_queue_wait(q)
    assert driver.taken == []
    blk_mq.blk_mq_freeze_queue(q)
    blk_mq.blk_mq_unfreeze_queue(q)
    assert q.mq_freeze_depth == 1
    blk_mq.blk_mq_unfreeze_queue(q)
    blk_mq.blk_mq_free_request(get(q))


@pytest.mark.parametrize("flags", [0, BLK_MQ_F_BLOCKING])
def test_a_quiesced_queue_dispatches_later(flags):
    kernel = boot(2)
    driver = Driver(flags=flags)
    q = driver.load()
    blk_mq.blk_mq_quiesce_queue(q)
    rq = get(q, REQ_OP_DRV_IN)
    insert(rq)
    kernel.loop.run_due()
    assert driver.taken == []
    blk_mq.blk_mq_unquiesce_queue(q)
    kernel.loop.run_due()
    assert driver.taken == [rq]


def test_quiescing_waits_for_dispatches_under_way():
    kernel = boot(2)
    q = Driver(flags=BLK_MQ_F_BLOCKING).load()
    hctx = q.queue_hw_ctx[0]
    inside = blk_mq.hctx_lock(hctx)
    kernel.loop.post(kernel.context, lambda: blk_mq.hctx_unlock(hctx, inside), 70_000_000)
    blk_mq.blk_mq_quiesce_queue(q)
    assert kernel.now == 70_000_000

    simple = Driver().load()
    inside = blk_mq.hctx_lock(simple.queue_hw_ctx[0])
    with pytest.raises(AssertionError):
        blk_mq.blk_mq_quiesce_queue(simple)
    blk_mq.hctx_unlock(simple.queue_hw_ctx[0], inside)
    blk_mq.blk_mq_quiesce_queue(simple)


def test_a_driver_that_may_sleep_has_larger_hardware_queues():
    kernel = boot(2)
    for flags, size in ((0, 640), (BLK_MQ_F_BLOCKING, 640 + sizeof(srcu_struct))):
        hctx = Driver(flags=flags).load().queue_hw_ctx[0]
        assert kernel.memory.live[hctx._addr].size == size


def test_a_stopped_queue_dispatches_when_it_is_started():
    kernel = boot(2)
    driver = Driver(queues=2)
    q = driver.load()
    blk_mq.blk_mq_stop_hw_queues(q)
    rq = get(q)
    insert(rq)
    assert driver.taken == []
    for hctx in q.queue_hw_ctx[:2]:
        hctx.state &= ~(1 << BLK_MQ_S_STOPPED)
    blk_mq.blk_mq_run_hw_queues(q, True)
    kernel.loop.run_due()
    assert driver.taken == [rq]


# ---------------------------------------------------------------- dispatching


def test_a_requests_life():
    boot(2)
    driver = Driver(queues=2)
    q = driver.load()
    rq = get(q)
    assert (rq.state, rq.internal_tag, rq.ref, rq.q) == (MQ_RQ_IDLE, -1, 1, q)
    assert blk_mq.blk_mq_tag_to_rq(rq.mq_hctx.tags, rq.tag) is rq
    assert blk_mq.blk_mq_tag_to_rq(rq.mq_hctx.tags, 4) is None
    assert rq.mq_ctx.cpu == 0
    assert not blk_mq.blk_mq_queue_inflight(q)
    insert(rq)
    assert driver.log == [("taken", rq, True)]
    assert rq.state == MQ_RQ_IN_FLIGHT
    assert blk_mq.blk_mq_queue_inflight(q)
    assert blk_mq.blk_mq_in_flight(q, None) == 1
    assert blk_mq.blk_mq_in_flight_rw(q, None) == [1, 0]
    hctx = rq.mq_hctx
    assert driver.finish() is True
    assert rq.mq_hctx is None
    assert rq.state == MQ_RQ_IDLE
    assert any_bit_clear(hctx.tags.bitmap_tags.sb)
    assert hctx.nr_active == 0
    assert not blk_mq.blk_mq_queue_inflight(q)


def test_a_request_is_timed_if_anybody_will_ask():
    kernel = boot(2)
    q = Driver(depth=8).load()
    kernel.loop.advance(5000)
    assert get(q).start_time_ns == 5000
    blk_core.blk_queue_flag_clear(QUEUE_FLAG_IO_STAT, q)
    assert get(q).start_time_ns == 0
    assert blk_mq_sched.blk_mq_init_sched(q, mq_deadline.variables().mq_deadline) == 0
    assert get(q).start_time_ns == 5000


def test_to_run_a_hardware_queue_on_a_cpu_that_is_not_its_own_is_warned_of():
    kernel = boot(2)
    hctx = Driver(queues=2).load().queue_hw_ctx[0]
    before = len(kernel.log)
    for cpu in (0, 1):
        kernel.task("runs", blk_mq.__blk_mq_run_hw_queue, hctx, cpu=cpu)
    cpumask_clear(hctx.cpumask)
    kernel.task("runs", blk_mq.__blk_mq_run_hw_queue, hctx, cpu=0)
    hctx.next_cpu = 7  # all of its CPUs are gone
    kernel.task("runs", blk_mq.__blk_mq_run_hw_queue, hctx, cpu=0)
    assert kernel.log[before:] == ["run queue from wrong CPU 1, hctx active",
                                   "run queue from wrong CPU 0, hctx inactive"]


@pytest.mark.parametrize(("cpu", "kind"), [(0, "task"), (1, "task"), (2, "irq")])
def test_many_queues_complete_where_the_request_came_from(cpu, kind):
    boot(machine(4, nodes=2))
    driver = Driver(queues=4)
    q = driver.load()
    insert(get(q))
    driver.finish(cpu=cpu)
    where = 0 if kind == "irq" else cpu
    assert driver.log[-1][2] == (kind, where)


@pytest.mark.parametrize(("cpu", "where"), [(0, 0), (1, 1), (2, 0)])
def test_a_single_queue_completes_in_a_softirq(cpu, where):
    boot(machine(4, nodes=2))
    driver = Driver(queues=1)
    q = driver.load()
    insert(get(q))
    driver.finish(cpu=cpu)
    assert driver.log[-1][2] == ("softirq", where)


@pytest.mark.parametrize("status", [BLK_STS_RESOURCE, BLK_STS_DEV_RESOURCE])
def test_a_busy_driver_gets_its_requests_again(status):
    kernel = boot(2)
    driver = Driver(depth=4)
    q = driver.load()
    hctx = q.queue_hw_ctx[0]
    running = get(q)
    insert(running)
    driver.refusals = [status]
    first, second = get(q), get(q)
    insert(first, run=False)
    insert(second)
    assert driver.taken == [running]
    assert driver.log[-1] == ("refused", first, status)
    assert hctx.dispatch_busy == 2
    assert first.state == MQ_RQ_IDLE
    # Not marked for a restart, the queue is run again at once, by a worker.
    kernel.loop.run_due()
    assert driver.taken == [running, first, second]
    assert list(hctx.dispatch) == []
    assert hctx.dispatch_busy == 1


def test_left_over_requests_wait_for_an_end_or_a_delay():
    kernel = boot(2)
    driver = Driver(depth=8)
    q = driver.load()
    hctx = q.queue_hw_ctx[0]
    running = get(q)
    insert(running)
    driver.refusals = [BLK_STS_DEV_RESOURCE] * 3
    waits = get(q)
    insert(waits)
    kernel.loop.run_due()
    # The second refusal came with the mark set: only an end of a request runs the queue now.
    assert hctx.state >> BLK_MQ_S_SCHED_RESTART & 1
    assert len(driver.heard("refused")) == 2
    kernel.loop.advance(50_000_000)
    assert len(driver.heard("refused")) == 2
    driver.refusals = []
    driver.finish(running)
    assert driver.taken == [waits]

    # The mark is set again, by the dispatch of what was left over; but this driver may have no request that could end.
    driver.refusals = [BLK_STS_RESOURCE]
    delayed = get(q)
    insert(delayed)
    kernel.loop.run_due()
    assert driver.taken == [waits]
    kernel.loop.advance(8_000_000)
    assert driver.taken == [waits, delayed]


def test_an_error_ends_the_request():
    boot(2)
    driver = Driver()
    q = driver.load()
    ended = []
    rq = get(q)
    rq.end_io = lambda rq, status: ended.append(status)
    driver.refusals = [BLK_STS_IOERR]
    insert(rq)
    assert ended == [BLK_STS_IOERR]


def test_last_is_said_of_the_last_request():
    boot(2)
    driver = Driver(depth=4)
    q = driver.load()
    requests = [get(q) for _ in range(3)]
    for rq in requests[:2]:
        insert(rq, run=False)
    insert(requests[2])
    assert [(rq, last) for _, rq, last in driver.log] == list(zip(requests, [False, False, True], strict=True))


def test_insertion_at_the_head():
    boot(2)
    driver = Driver(depth=4)
    q = driver.load()
    first, second = get(q), get(q)
    insert(first, run=False)
    insert(second, at_head=True)
    assert driver.taken == [second, first]


def test_a_busy_queue_takes_turns_among_cpus():
    kernel = boot(2)
    driver = Driver(depth=8)
    q = driver.load()
    of_cpu = {cpu: [kernel.task("submit", get, q, cpu=cpu) for _ in range(2)] for cpu in (0, 1)}
    hctx = q.queue_hw_ctx[0]
    hctx.dispatch_busy = 8
    for rq in of_cpu[0] + of_cpu[1]:
        insert(rq, run=False)
    blk_mq.blk_mq_run_hw_queue(hctx, False)
    assert [rq.mq_ctx.cpu for rq in driver.taken] == [0, 1, 0, 1]
    assert hctx.dispatch_from.cpu == 0


def test_a_budget_is_asked_for_and_given_back():
    kernel = boot(2)
    asked: list = []
    returned: list = []

    def get_budget(hctx):
        asked.append(hctx)
        return len(asked) != 1
    driver = Driver(ops={"get_budget": get_budget, "put_budget": returned.append})
    q = driver.load()
    hctx = q.queue_hw_ctx[0]
    rq = get(q)
    insert(rq)
    assert driver.taken == []
    assert list(hctx.dispatch) == [rq]
    assert blk_mq.blk_mq_run_hw_queue(hctx, True) is True
    kernel.loop.run_due()
    assert driver.taken == [rq]
    # One by one from the software queues, since the driver was busy; the last time there is nothing to have it for.
    assert returned == []
    held = len(asked)
    hctx.ctx_map.map[0].word = 1
    blk_mq_sched.blk_mq_do_dispatch_ctx(hctx)
    assert len(asked) == held + 1
    assert returned == [hctx]


def test_a_requeued_request_comes_first_again():
    kernel = boot(2)
    driver = Driver(depth=4)
    q = driver.load()
    rq, prepared = get(q), get(q)
    insert(rq)
    insert(prepared)
    driver.taken = []
    prepared.rq_flags |= RQF_DONTPREP
    blk_mq.blk_mq_requeue_request(rq, False)
    blk_mq.blk_mq_requeue_request(prepared, False)
    assert rq.state == MQ_RQ_IDLE
    kernel.loop.run_due()
    assert driver.taken == []
    blk_mq.blk_mq_delay_kick_requeue_list(q, 100)
    kernel.loop.run_due()
    assert driver.taken == []
    kernel.loop.advance(104_000_000)
    # What must not be merged is on the dispatch list, which comes first.
    assert driver.taken == [prepared, rq]
    blk_mq.blk_mq_requeue_request(rq, True)
    kernel.loop.run_due()
    assert driver.taken == [prepared, rq, rq]


def test_a_plug_sends_each_queues_requests_together():
    boot(2)
    driver = Driver(depth=8)
    driver.load(queues=2)
    plug = blk_plug()
    a, b = driver.queues
    held = [get(a), get(b), get(a), get(b)]
    for sector, rq in enumerate(held):
        rq._sector = 10 - sector
        blk_mq.blk_add_rq_to_plug(plug, rq)
    assert (plug.rq_count, plug.multiple_queues) == (4, True)
    blk_mq.blk_mq_flush_plug_list(plug, False)
    assert plug.rq_count == 0
    assert driver.taken in ([held[2], held[0], held[3], held[1]], [held[3], held[1], held[2], held[0]])
    assert all(rq.queuelist is None for rq in held)


def test_a_refused_plug_stays_in_order():
    kernel = boot(2)
    driver = Driver(depth=8)
    q = driver.load()
    plug = blk_plug()
    held = [get(q) for _ in range(3)]
    for rq in held:
        blk_mq.blk_add_rq_to_plug(plug, rq)
    driver.refusals = [0, BLK_STS_RESOURCE]
    blk_mq.blk_mq_flush_plug_list(plug, False)
    kernel.loop.advance(10_000_000)
    assert driver.taken == held


def test_workers_take_turns_among_a_queues_cpus():
    boot(machine(4, present=3))
    driver = Driver(queues=2)
    q = driver.load()
    hctx = next(hctx for hctx in q.queue_hw_ctx[:2] if cpumask_weight(hctx.cpumask) > 1)
    online = [cpu for cpu in for_each_cpu(hctx.cpumask) if cpu < 3]
    chosen = [blk_mq.blk_mq_hctx_next_cpu(hctx) for _ in range(3 * BLK_MQ_CPU_WORK_BATCH)]
    assert set(chosen) == set(online)
    longest = max(len(run) for run in "".join(str(cpu) for cpu in chosen).replace("10", "1 0").replace("01", "0 1")
                  .replace("02", "0 2").replace("20", "2 0").replace("12", "1 2").replace("21", "2 1").split())
    assert longest <= BLK_MQ_CPU_WORK_BATCH or len(online) == 1


def test_a_single_queue_runs_anywhere():
    boot(2)
    q = Driver(queues=1).load()
    assert blk_mq.blk_mq_hctx_next_cpu(q.queue_hw_ctx[0]) == WORK_CPU_UNBOUND


def gone_with_a_request(cpu):
    """A CPU of four has queued a request for a queue of its own, and goes."""
    kernel = boot(4)
    driver = Driver(queues=4)
    q = driver.load()
    rq = kernel.task("submit", get, q, cpu=cpu)
    insert(rq, run=False)
    assert cpu_down(cpu) == 0
    return kernel, driver, q, rq


def test_what_a_dead_cpu_had_queued_is_dispatched():
    kernel, driver, q, rq = gone_with_a_request(3)
    assert list(rq.mq_ctx.rq_lists[rq.mq_hctx.type]) == []
    # The hardware queue that was made last hears of it first, and takes what there is of its type.
    assert list(q.queue_hw_ctx[3].dispatch) == [rq]
    assert not blk_mq.blk_mq_hctx_has_pending(q.queue_hw_ctx[0])
    assert q.queue_hw_ctx[3].ctx_map.map[0].word == 0
    kernel.loop.run_due()
    assert driver.taken == [rq]
    driver.finish()
    driver.unload()
    assert list(hotplug().instances[CPUHP_BLK_MQ_DEAD]) == []


def test_the_mark_of_what_a_dead_cpu_had_queued_stays():
    """It is in the map of the queue that the request waited for, and another one took it."""
    kernel, driver, q, rq = gone_with_a_request(1)
    assert list(q.queue_hw_ctx[3].dispatch) == [rq]
    assert [hctx.ctx_map.map[0].word for hctx in q.queue_hw_ctx[:4]] == [0, 1, 0, 0]
    kernel.loop.run_due()
    assert driver.taken == [rq]
    assert blk_mq.blk_mq_hctx_has_pending(q.queue_hw_ctx[1])
    driver.finish()


def test_all_cpus_of_a_queue_gone():
    kernel = boot(2)
    driver = Driver(queues=2)
    q = driver.load()
    hctx = q.queue_hw_ctx[1]
    rq = kernel.task("submit", get, q, cpu=1)
    cpu_down(1)
    assert blk_mq.blk_mq_hctx_next_cpu(hctx) == WORK_CPU_UNBOUND
    assert hctx.next_cpu_batch == 1
    insert(rq)
    kernel.loop.run_due()
    assert driver.taken == [rq]


# ---------------------------------------------------------------- timeouts


def test_a_late_request_is_shown_to_the_driver():
    kernel = boot(2)
    driver = Driver(timeout=250)
    q = driver.load()
    rq = get(q)
    insert(rq)
    kernel.loop.advance(900_000_000)
    assert driver.heard("late") == []
    kernel.loop.advance(3_000_000_000)
    # Each time the driver asks for more time.
    assert len(driver.heard("late")) >= 2
    driver.verdict = BLK_EH_DONE
    kernel.loop.advance(2_000_000_000)
    assert rq.rq_flags & RQF_TIMED_OUT
    late = len(driver.heard("late"))
    kernel.loop.advance(10_000_000_000)
    assert len(driver.heard("late")) == late
    driver.finish(rq)
    assert rq.ref == 0


def test_a_request_that_is_ended_while_it_is_late_is_freed_once():
    kernel = boot(2)
    ended = []
    driver = Driver(timeout=250)

    def timeout(rq, reserved):
        ended.append(rq)
        blk_mq.blk_mq_end_request(rq, 0)
        return BLK_EH_DONE
    driver.set.ops.timeout = timeout
    q = driver.load()
    rq = get(q, flags=BLK_MQ_REQ_NOWAIT)
    insert(rq)
    kernel.loop.advance(3_000_000_000)
    assert ended == [rq]
    assert rq.ref == 0
    assert len({get(q).tag for _ in range(4)}) == 4


def test_no_request_is_late_before_its_time():
    kernel = boot(2)
    driver = Driver(timeout=500)
    q = driver.load()
    insert(get(q))
    kernel.loop.advance(500_000_000)
    second = get(q)
    insert(second)
    assert second.deadline == jiffies() + 500
    driver.verdict = BLK_EH_DONE
    kernel.loop.advance(10_000_000_000)
    assert len(driver.heard("late")) == 2


def test_an_idle_queue_gives_up_its_share():
    kernel = boot(2)
    driver = Driver(depth=8, timeout=250)
    a = driver.load(queues=2)
    tags = driver.set.tags[0]
    rq = get(a)
    insert(rq)
    assert tags.active_queues == 1
    driver.finish()
    kernel.loop.advance(3_000_000_000)
    assert tags.active_queues == 0


# ---------------------------------------------------------------- cookies


def test_cookies():
    boot(2)
    driver = Driver(queues=2, reserved_tags=1, depth=4)
    q = driver.load()
    rq = get(q, flags=BLK_MQ_REQ_NOWAIT | BLK_MQ_REQ_RESERVED)
    rq.mq_hctx.queue_num = 1
    assert request_to_qc_t(rq.mq_hctx, rq) == 1 << 16 | rq.tag
    rq.tag, rq.internal_tag = -1, 7
    assert request_to_qc_t(rq.mq_hctx, rq) == 1 << 16 | 7 | BLK_QC_T_INTERNAL


def test_dispatching_nothing():
    boot(2)
    q = Driver().load()
    assert blk_mq.blk_mq_dispatch_rq_list(q, list_head(), False) is False
    assert not blk_mq.blk_mq_run_hw_queue(q.queue_hw_ctx[0], False)


# ---------------------------------------------------------------- polling


def polled_queue(poll):
    """A driver with a queue of each type, and its request queue; poll(hctx) looks for what is done."""
    def map_queues(set):
        for type, qmap in enumerate(set.map):
            qmap.nr_queues, qmap.queue_offset = 1, type
            qmap.mq_map[:] = [type] * 2
        return 0
    driver = Driver(queues=3, nr_maps=3, ops={"map_queues": map_queues, "poll": poll})
    return driver, driver.load()


def test_polling_finds_what_is_done():
    kernel = boot(2)
    done: list = []

    def poll(hctx):
        assert hctx.queue_num == 2
        found = len(done)
        while done:
            blk_mq.blk_mq_complete_request(done.pop())
        return found
    driver, q = polled_queue(poll)
    rq = get(q, REQ_OP_READ | REQ_HIPRI)
    assert rq.mq_hctx.queue_num == 2
    cookie = request_to_qc_t(rq.mq_hctx, rq)
    insert(rq)
    kernel.context.state = TASK_UNINTERRUPTIBLE
    assert blk_mq.blk_poll(q, BLK_QC_T_NONE, True) == 0
    assert blk_mq.blk_poll(q, cookie, False) == 0
    kernel.context.state = TASK_UNINTERRUPTIBLE
    kernel.loop.post(kernel.context, lambda: done.append(rq), 5000)
    assert blk_mq.blk_poll(q, cookie, True) == 1
    assert kernel.now == 5000
    assert rq.ref == 0
    # Completed here, whatever CPU submitted it.
    assert driver.log[-1] == ("completed", rq, ("task", 0))
    kernel.context.state = TASK_UNINTERRUPTIBLE
    with pytest.raises(HungTask):
        blk_mq.blk_poll(q, cookie, True)


@pytest.mark.parametrize(("cpu", "found"), [(0, 0), (1, 1)])
def test_polling_ends_when_another_task_is_to_run(cpu, found):
    """One that is woken on this CPU ends it; one on another CPU is no reason."""
    kernel = boot(2)
    polls: list = []
    said: list = []

    def poll(hctx):
        polls.append(kernel.now)
        return len(polls) > 10
    _, q = polled_queue(poll)
    rq = get(q, REQ_OP_READ | REQ_HIPRI)
    cookie = request_to_qc_t(rq.mq_hctx, rq)

    def sleeps():
        sleeper = kernel.context
        kernel.loop.post(Context("irq", "wakes", cpu), lambda: wake_up_process(sleeper), 5000)
        for delay in (2000, 3000, *range(6000, 90_000, 1000)):
            kernel.loop.post(Context("irq", "other", cpu), lambda: None, delay)
        set_current_state(TASK_UNINTERRUPTIBLE)
        schedule()

    def spins():
        kernel.context.state = TASK_UNINTERRUPTIBLE
        said.append(blk_mq.blk_poll(q, cookie, True))
        assert kernel.context.runnable
    assert kernel.tasks([("sleeper", cpu, sleeps), ("poller", 0, spins)]) == []
    assert said == [found]
    assert (len(polls) <= 10) == (not found)


@pytest.mark.parametrize(("sectors", "bucket"), [(0, -1), (1, 0), (2, 2), (3, 2), (8, 6), (127, 12), (128, 14),
                                                 (4096, 14)])
def test_kinds_of_requests_for_statistics(sectors, bucket):
    """Each direction has eight: by length, doubled from one to the next, and all from 64 KiB on are one."""
    assert blk_mq.blk_mq_poll_stats_bkt(request(stats_sectors=sectors)) == bucket
    write = blk_mq.blk_mq_poll_stats_bkt(request(stats_sectors=sectors, cmd_flags=REQ_OP_WRITE))
    assert write == (bucket + 1 if sectors else -1)


def submit_and_poll(kernel, driver, q, takes, op=REQ_OP_READ):
    """Send 4 KiB that take so many nanoseconds, and poll until they are done; return when each look at it was."""
    rq = get(q, op | REQ_HIPRI)
    rq._data_len = 4096
    cookie = request_to_qc_t(rq.mq_hctx, rq)
    insert(rq)
    began = kernel.now
    kernel.loop.post(Context("irq", "device", 0), lambda: driver.ready.append(rq), takes)
    driver.looks.clear()
    while rq.state != MQ_RQ_IDLE:
        kernel.context.state = TASK_UNINTERRUPTIBLE
        blk_mq.blk_poll(q, cookie, True)
    return [look - began for look in driver.looks]


@pytest.fixture
def polling():
    kernel = boot(2)

    def poll(hctx):
        driver.looks.append(kernel.now)
        found = len(driver.ready)
        while driver.ready:
            rq = driver.ready.pop()
            blk_core.blk_update_request(rq, 0, rq._data_len)
            blk_mq.__blk_mq_end_request(rq, 0)
        return found
    driver, q = polled_queue(poll)
    driver.ready, driver.looks = [], []
    return kernel, driver, q


def test_polling_looks_all_the_time_unless_it_is_told_to_sleep(polling):
    kernel, driver, q = polling
    assert submit_and_poll(kernel, driver, q, 8000)[0] == 0
    assert not q.queue_flags >> QUEUE_FLAG_STATS & 1


def test_sleeping_before_polling(polling):
    """For as long as it is told, and once for each request."""
    kernel, driver, q = polling
    q.poll_nsec = 5000
    looks = submit_and_poll(kernel, driver, q, 8000)
    assert (looks[0], looks[-1]) == (5000, 8000)
    assert submit_and_poll(kernel, driver, q, 3000) == [5000]
    assert not kernel.loop.pending() or all(event.cancelled is False for event in kernel.loop.pending())


def test_who_has_slept_has_not_looked(polling):
    """It is told that there may be something, and may ask again."""
    kernel, driver, q = polling
    rq = get(q, REQ_OP_READ | REQ_HIPRI)
    cookie = request_to_qc_t(rq.mq_hctx, rq)
    assert not blk_mq.blk_mq_poll_hybrid(q, rq.mq_hctx, cookie)
    q.poll_nsec = 5000
    assert blk_mq.blk_poll(q, cookie, False) == 1
    assert (driver.looks, kernel.now) == ([], 5000)
    kernel.context.state = TASK_UNINTERRUPTIBLE
    assert blk_mq.blk_poll(q, cookie, False) == 0
    assert driver.looks == [5000]


def test_sleeping_half_of_what_is_usual(polling):
    """Told 0, the kernel times requests in windows of 100 ms, from the first on; reads and writes by themselves."""
    kernel, driver, q = polling
    q.poll_nsec = 0
    assert submit_and_poll(kernel, driver, q, 8000)[0] == 0
    assert q.queue_flags >> QUEUE_FLAG_STATS & 1
    assert q.queue_flags >> QUEUE_FLAG_POLL_STATS & 1
    for takes in (9000, 8000, 7001):  # the first of these opens the window
        assert submit_and_poll(kernel, driver, q, takes)[0] == 0
    kernel.loop.advance(110_000_000)
    assert [bucket for bucket, stat in enumerate(q.poll_stat) if stat.nr_samples] == [6]
    stat = q.poll_stat[6]
    assert (stat.nr_samples, stat.min, stat.max, stat.mean) == (3, 7001, 9000, 8000)
    assert submit_and_poll(kernel, driver, q, 8000)[0] == 4000
    assert submit_and_poll(kernel, driver, q, 8000, REQ_OP_WRITE)[0] == 0
    kernel.loop.advance(110_000_000)
    assert [bucket for bucket, stat in enumerate(q.poll_stat) if stat.nr_samples] == [6, 7]
    driver.unload()


def test_what_is_done_already_is_not_slept_for(polling):
    kernel, _, q = polling
    q.poll_nsec = 5000
    rq = get(q, REQ_OP_READ | REQ_HIPRI)
    rq.state = MQ_RQ_COMPLETE
    assert blk_mq.blk_mq_poll_hybrid_sleep(q, rq.mq_hctx, rq)
    assert kernel.now == 0
    assert not blk_mq.blk_mq_poll_hybrid_sleep(q, rq.mq_hctx, rq)
