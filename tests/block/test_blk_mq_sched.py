"""Between core and scheduler: tags of its own, what passes it by, restarts, and a queue that loses it."""

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel import boot
from blkmodel.block import blk_core, blk_mq, blk_mq_sched, blk_settings, elevator, mq_deadline
from blkmodel.include.linux.blk_mq import (BLK_MQ_F_SHOULD_MERGE, BLK_MQ_REQ_NOWAIT, BLK_MQ_REQ_RESERVED,
    BLK_MQ_S_SCHED_RESTART)
from blkmodel.include.linux.blk_types import (BLK_QC_T_NONE, BLK_STS_AGAIN, BLK_STS_DEV_RESOURCE, BLK_STS_IOERR,
    BLK_STS_OK, BLK_STS_RESOURCE, REQ_FAILFAST_MASK, REQ_NOWAIT, REQ_OP_DRV_IN, REQ_OP_READ, REQ_OP_WRITE, REQ_RAHEAD,
    bio, bio_vec, bvec_iter)
from blkmodel.include.linux.blkdev import (QUEUE_FLAG_NOMERGES, QUEUE_FLAG_NOXMERGES, READ, RQF_ELVPRIV, RQF_SORTED,
    blk_plug)
from blkmodel.include.linux.elevator import elevator_mq_ops, elevator_type
from blkmodel.services.base.err import EAGAIN, EINVAL, ENOMEM, IS_ERR, PTR_ERR
from blkmodel.services.data.list import list_add_tail, list_del_init, list_first_entry, list_head
from blkmodel.services.devices.kobject import kobject_add
from blkmodel.services.memory.mm import alloc_pages_node
from blkmodel.services.memory.slab import GFP_KERNEL, kfree, kzalloc_node
from blkmodel.sim.kernel import Context
from tests.block.simple_driver import Driver


def get(q, op=REQ_OP_READ, sector=0, flags=BLK_MQ_REQ_NOWAIT, length=4096):
    rq = blk_mq.blk_mq_alloc_request(q, op, flags)
    assert not IS_ERR(rq)
    rq._sector, rq._data_len = sector, length
    return rq


def insert(rq, run=True, at_head=False):
    blk_mq_sched.blk_mq_sched_insert_request(rq, at_head, run, False)


class Fifo:
    """A scheduler that gives requests out as they came, and counts what it is told."""

    def __init__(self, **more):
        self.held = list_head()
        self.told: list = []
        self.kind = elevator_type(elevator_name="fifo", ops=elevator_mq_ops(**{
            "init_sched": self.init_sched, "exit_sched": self.exit_sched, "insert_requests": self.insert_requests,
            "dispatch_request": self.dispatch_request, "has_work": lambda hctx: bool(self.held.entries),
            "prepare_request": lambda rq, bio: self.told.append(("prepare", rq)),
            "finish_request": lambda rq: self.told.append(("finish", rq)),
            "completed_request": lambda rq, now: self.told.append(("completed", rq)),
            "requeue_request": lambda rq: self.told.append(("requeue", rq)),
            "depth_updated": lambda hctx: self.told.append(("depth", hctx)), **more}))

    def init_sched(self, q, e):
        eq = elevator.elevator_alloc(q, e)
        if eq is None:
            return -ENOMEM
        q.elevator = eq
        return 0

    def exit_sched(self, e):
        self.told.append(("exit", None))

    def insert_requests(self, hctx, requests, at_head):
        for rq in requests:
            list_del_init(rq, "queuelist")
            list_add_tail(rq, self.held, "queuelist")

    def dispatch_request(self, hctx):
        if not self.held.entries:
            return None
        rq = list_first_entry(self.held)
        list_del_init(rq, "queuelist")
        return rq

    def put_on(self, q):
        blk_mq.blk_mq_freeze_queue(q)
        ret = blk_mq_sched.blk_mq_init_sched(q, self.kind)
        blk_mq.blk_mq_unfreeze_queue(q)
        return ret


def take_off(q):
    blk_mq.blk_mq_freeze_queue(q)
    eq = q.elevator
    blk_mq_sched.blk_mq_sched_free_requests(q)
    elevator.__elevator_exit(q, eq)
    assert blk_mq_sched.blk_mq_init_sched(q, None) == 0
    blk_mq.blk_mq_unfreeze_queue(q)


@pytest.mark.parametrize(("depth", "requests"), [(4, 8), (128, 256), (1000, 256)])
def test_a_scheduler_has_tags_of_its_own(depth, requests):
    kernel = boot(2)
    driver = Driver(queues=2, depth=depth, reserved_tags=1)
    q = driver.load()
    live = dict(kernel.memory.live)
    fifo = Fifo()
    assert fifo.put_on(q) == 0
    assert q.nr_requests == requests
    for hctx in q.queue_hw_ctx[:2]:
        assert (hctx.sched_tags.nr_tags, hctx.sched_tags.nr_reserved_tags) == (requests, 1)
        assert all(rq is not None for rq in hctx.sched_tags.static_rqs)
    rq = get(q)
    assert (rq.tag, rq.internal_tag >= 1) == (-1, True)
    assert rq.rq_flags & RQF_ELVPRIV
    blk_mq.blk_mq_free_request(rq)
    assert [what for what, _ in fifo.told] == ["prepare", "finish"]
    take_off(q)
    assert fifo.told[-1] == ("exit", None)
    assert q.nr_requests == depth
    assert kernel.memory.live == live


@pytest.mark.parametrize("queues", [1, 2])
def test_every_allocation_of_a_scheduler_may_fail(queues):
    kernel = boot(2)
    driver = Driver(queues=queues, depth=4)
    q = driver.load()
    live = dict(kernel.memory.live)
    count = kernel.memory.count
    fifo = Fifo()
    assert fifo.put_on(q) == 0
    number = kernel.memory.count - count
    take_off(q)
    failures = 0
    for nth in range(1, number + 1):
        kernel.memory.fail_nth(nth)
        ret = fifo.put_on(q)
        kernel.memory.fail_never()
        if ret:
            failures += 1
            assert ret == -ENOMEM
            assert q.elevator is None
            assert kernel.memory.live == live
            assert fifo.put_on(q) == 0
        take_off(q)
        assert kernel.memory.live == live
    assert failures >= number - queues, "only a page run may be had smaller"


def test_a_scheduler_that_fails_on_a_hardware_queue():
    kernel = boot(2)
    driver = Driver(queues=2, depth=4)
    q = driver.load()
    live = dict(kernel.memory.live)

    def init_hctx(hctx, number):
        if number:
            return -EINVAL
        hctx.sched_data = kzalloc_node(list_head, 0, 0)
        return 0

    def exit_hctx(hctx, number):
        kfree(hctx.sched_data)
    assert Fifo(init_hctx=init_hctx, exit_hctx=exit_hctx).put_on(q) == -EINVAL
    assert q.elevator is None
    assert all(hctx.sched_data is None and hctx.sched_tags is None for hctx in q.queue_hw_ctx[:2])
    assert kernel.memory.live == live


def test_driver_tags_come_with_dispatch():
    kernel = boot(2)
    driver = Driver(depth=2)
    q = driver.load()
    fifo = Fifo()
    fifo.put_on(q)
    hctx = q.queue_hw_ctx[0]
    requests = [get(q) for _ in range(4)]
    assert PTR_ERR(blk_mq.blk_mq_alloc_request(q, REQ_OP_READ, BLK_MQ_REQ_NOWAIT)) == -EAGAIN
    for rq in requests:
        insert(rq)
        assert rq.rq_flags & RQF_SORTED
    assert driver.taken == requests[:2]
    assert sorted(rq.tag for rq in driver.taken) == [0, 1]
    assert list(hctx.dispatch) == [requests[2]]
    assert list(fifo.held) == [requests[3]]
    assert requests[2].tag == -1
    assert hctx.state >> BLK_MQ_S_SCHED_RESTART & 1
    driver.finish()
    assert driver.taken == requests[1:3]
    driver.finish()
    assert driver.taken == requests[2:]
    driver.finish()
    driver.finish()
    assert driver.heard("completed") == requests
    assert [rq for what, rq in fifo.told if what == "completed"] == requests
    kernel.loop.run_due()
    take_off(q)


def test_what_is_left_over_goes_before_what_is_sorted():
    boot(2)
    driver = Driver(depth=8)
    q = driver.load()
    fifo = Fifo()
    fifo.put_on(q)
    first, second = get(q), get(q)
    driver.refusals = [BLK_STS_DEV_RESOURCE]
    insert(first)
    insert(second, run=False)
    assert driver.taken == []
    blk_mq.blk_mq_run_hw_queue(q.queue_hw_ctx[0], False)
    assert driver.taken == [first, second]
    assert first.tag != second.tag


def test_a_drivers_own_request_passes_the_scheduler_by():
    boot(2)
    driver = Driver()
    q = driver.load()
    fifo = Fifo()
    fifo.put_on(q)
    rq = get(q, REQ_OP_DRV_IN)
    insert(rq, run=False)
    assert list(q.queue_hw_ctx[0].dispatch) == [rq]
    assert not rq.rq_flags & RQF_SORTED
    assert list(fifo.held) == []
    head = get(q, REQ_OP_DRV_IN)
    insert(head, at_head=True)
    assert driver.taken == [head, rq]


def test_a_requeued_request_goes_back_to_the_scheduler():
    kernel = boot(2)
    driver = Driver()
    q = driver.load()
    fifo = Fifo()
    fifo.put_on(q)
    rq = get(q)
    insert(rq)
    driver.taken.remove(rq)
    blk_mq.blk_mq_requeue_request(rq, True)
    assert fifo.told[-1] == ("requeue", rq)
    assert rq.tag == -1
    kernel.loop.run_due()
    assert driver.taken == [rq]


def test_reserved_requests_get_reserved_driver_tags():
    boot(2)
    driver = Driver(depth=3, reserved_tags=1)
    q = driver.load()
    Fifo().put_on(q)
    rq = get(q, flags=BLK_MQ_REQ_NOWAIT | BLK_MQ_REQ_RESERVED)
    insert(rq)
    assert (rq.internal_tag, rq.tag) == (0, 0)


def test_a_hardware_queue_waits_for_a_shared_tag():
    kernel = boot(2)
    driver = Driver(depth=4)
    a, b = (driver.load(queues=2), driver.queues[1])
    for q in (a, b):
        Fifo().put_on(q)
    requests = [get(a) for _ in range(4)]
    for rq in requests:
        insert(rq)
    blocked = get(b)
    insert(blocked)
    hctx = b.queue_hw_ctx[0]
    bitmap = driver.set.tags[0].bitmap_tags
    assert blocked not in driver.taken
    assert hctx.dispatch_wait.entry is not None
    assert bitmap.ws_active == 1
    kernel.loop.run_due()
    assert driver.taken == requests
    driver.finish()
    assert driver.taken == [*requests[1:], blocked]
    assert hctx.dispatch_wait.entry is None
    assert bitmap.ws_active == 0


def test_more_requests_for_a_scheduler():
    boot(2)
    driver = Driver(queues=2, depth=4)
    q = driver.load()
    fifo = Fifo()
    fifo.put_on(q)
    assert blk_mq.blk_mq_update_nr_requests(q, 100) == 0
    assert [hctx.sched_tags.nr_tags for hctx in q.queue_hw_ctx[:2]] == [100, 100]
    assert [what for what, _ in fifo.told] == ["depth", "depth"]
    assert q.nr_requests == 100
    assert blk_mq.blk_mq_update_nr_requests(q, 5000) == -EINVAL
    take_off(q)


def test_the_number_of_hardware_queues_changes_under_a_scheduler(monkeypatch):
    kernel = boot(4)
    driver = Driver(queues=2, depth=4)
    q = driver.load()
    assert kobject_add(q.kobj, None, "queue") == 0  # a scheduler is shown below it when it comes back
    assert blk_mq_sched.blk_mq_init_sched(q, mq_deadline.variables().mq_deadline) == 0
    blk_mq.blk_mq_update_nr_hw_queues(driver.set, 4)
    assert q.elevator.type is mq_deadline.variables().mq_deadline
    assert all(hctx.sched_tags is not None for hctx in q.queue_hw_ctx[:4])
    count = kernel.memory.count
    # Without memory to note what scheduler there was, nothing changes.
    kernel.memory.fail_nth(1)
    blk_mq.blk_mq_update_nr_hw_queues(driver.set, 2)
    assert kernel.memory.count == count + 1
    assert (driver.set.nr_hw_queues, q.nr_hw_queues) == (4, 4)
    assert q.elevator.type is mq_deadline.variables().mq_deadline
    assert q.mq_freeze_depth == 0


@given(st.lists(st.tuples(st.sampled_from(["submit", "submit", "end", "busy", "rest"]), st.integers(0, 3),
                          st.sampled_from([REQ_OP_READ, REQ_OP_WRITE]), st.integers(0, 30)), max_size=80),
       st.integers(1, 4), st.booleans(), st.integers(1, 2))
@settings(deadline=None, max_examples=60)
def test_nothing_is_lost(steps, queues, scheduled, sharers):
    kernel = boot(4)
    driver = Driver(queues=queues, depth=3)
    driver.load(queues=sharers)
    if scheduled:
        for q in driver.queues:
            assert blk_mq_sched.blk_mq_init_sched(q, mq_deadline.variables().mq_deadline) == 0
    submitted = []

    def submit(q, op, sector):
        rq = blk_mq.blk_mq_alloc_request(q, op, BLK_MQ_REQ_NOWAIT)
        if not IS_ERR(rq):
            rq._sector, rq._data_len = 1000 * sector, 4096
            submitted.append(rq)
            insert(rq)
    for step, cpu, op, which in steps:
        if step == "submit":
            kernel.run_in(Context("task", "submit", cpu), submit, driver.queues[which % sharers], op, which)
        elif step == "end" and driver.taken:
            driver.finish(driver.taken[which % len(driver.taken)], cpu)
        elif step == "busy":
            driver.refusals.append(BLK_STS_DEV_RESOURCE)
        else:
            kernel.loop.run_due()
    driver.refusals = []
    # A driver that said BLK_STS_DEV_RESOURCE with nothing in flight has to run its queues itself.
    for q in driver.queues:
        blk_mq.blk_mq_run_hw_queues(q, True)
    kernel.loop.advance(10_000_000)
    while driver.taken:
        driver.finish()
    assert sorted(map(id, driver.heard("completed"))) == sorted(map(id, submitted))
    for tags in driver.set.tags[:queues]:
        assert not any(word.word & ~word.cleared for word in tags.bitmap_tags.sb.map)
    for q in driver.queues:
        assert all(hctx.nr_active == 0 for hctx in q.queue_hw_ctx[:queues])


def test_a_plug_for_a_scheduler():
    boot(2)
    driver = Driver(depth=8)
    q = driver.load()
    fifo = Fifo()
    fifo.put_on(q)
    plug = blk_plug()
    requests = [get(q) for _ in range(3)]
    for rq in requests:
        blk_mq.blk_add_rq_to_plug(plug, rq)
    blk_mq.blk_mq_flush_plug_list(plug, False)
    assert driver.taken == requests


@pytest.mark.parametrize("busy", [0, 1])
def test_the_queue_is_held_while_requests_are_inserted(busy):
    """They may all end meanwhile."""
    boot(2)
    driver = Driver(depth=8)
    q = driver.load()
    counts = []
    fifo = Fifo(insert_requests=lambda hctx, requests, at_head: counts.append(q.q_usage_counter.count))
    if busy:
        fifo.put_on(q)

    def queue_rq(hctx, bd):
        counts.append(q.q_usage_counter.count)
        return BLK_STS_OK
    driver.set.ops.queue_rq = queue_rq
    rq = get(q)
    before = q.q_usage_counter.count
    waiting = list_head()
    list_add_tail(rq, waiting, "queuelist")
    blk_mq_sched.blk_mq_sched_insert_requests(rq.mq_hctx, rq.mq_ctx, waiting, False)
    assert counts == [before + 1]
    assert q.q_usage_counter.count == before


def test_a_restart_is_asked_for_once():
    boot(2)
    q = Driver().load()
    hctx = q.queue_hw_ctx[0]
    blk_mq_sched.blk_mq_sched_mark_restart_hctx(hctx)
    assert hctx.state >> BLK_MQ_S_SCHED_RESTART & 1
    blk_mq_sched.blk_mq_sched_restart(hctx)
    assert not hctx.state >> BLK_MQ_S_SCHED_RESTART & 1


def deadline_queue():
    """A stopped queue with mq-deadline: it, and the sectors and sizes of the reads that wait, oldest first."""
    q = Driver(flags=BLK_MQ_F_SHOULD_MERGE, depth=32).load()
    blk_settings.blk_queue_max_segments(q, 16)
    assert blk_mq_sched.blk_mq_init_sched(q, mq_deadline.variables().mq_deadline) == 0
    blk_mq.blk_mq_quiesce_queue(q)
    fifo = q.elevator.elevator_data.fifo_list[READ]
    return q, lambda: [(rq._sector, rq._data_len // 4096) for rq in fifo]


@pytest.mark.parametrize(("flag", "first", "then"), [
    (None, 100, [(100, 2), (500, 1)]), (None, 500, [(500, 1), (100, 2)]),
    (QUEUE_FLAG_NOXMERGES, 100, [(100, 2), (500, 1)]), (QUEUE_FLAG_NOXMERGES, 500, [(500, 1), (100, 1), (108, 1)]),
    (QUEUE_FLAG_NOMERGES, 100, [(100, 1), (500, 1), (108, 1)])])
def test_a_request_joins_the_one_that_it_follows(flag, first, then):
    """It came from a plug; the one before it is the last that was merged with, or is found by where it ends."""
    kernel = boot(2)
    q, waiting = deadline_queue()
    plug = blk_plug()
    blk_core.blk_start_plug(plug)
    submit(q, 108)
    kernel.context.plug = None
    for sector in (first, 600 - first):
        submit(q, sector)
    used = q.q_usage_counter.count
    if flag is not None:
        blk_core.blk_queue_flag_set(flag, q)
    blk_core.blk_flush_plug_list(plug, False)
    assert waiting() == then
    assert q.q_usage_counter.count == used - (3 - len(then))  # who has joined is done with


def test_the_last_that_was_merged_with_is_tried_first():
    boot(2)
    q, waiting = deadline_queue()
    for sector in (0, 16, 100, 108):
        submit(q, sector)
    assert q.last_merge._sector == 100
    submit(q, 92)  # before it
    assert q.last_merge._sector == 92
    submit(q, 8)  # it closes the gap
    assert waiting() == [(0, 3), (92, 3)]
    assert q.last_merge._sector == 0


def waiting_bio(sector, length=4096):
    return bio(bi_opf=REQ_OP_READ, bi_iter=bvec_iter(sector, length), bi_vcnt=1)


@pytest.mark.parametrize(("sector", "merged"), [(8, True), (-8, True), (16, False)])
def test_a_bio_joins_a_request_of_its_cpu(sector, merged, monkeypatch):
    boot(2)
    driver = Driver(flags=BLK_MQ_F_SHOULD_MERGE, depth=32)
    q = driver.load()
    ctx = q.queue_ctx[0]
    first = get(q, sector=1000)
    insert(first, run=False)
    joined = []

    def join(where):
        joined.append(where)
        return True
    monkeypatch.setattr("blkmodel.block.blk_merge.blk_rq_merge_ok", lambda rq, bio: True)
    monkeypatch.setattr("blkmodel.block.blk_core.bio_attempt_back_merge", lambda *a: join("back"))
    monkeypatch.setattr("blkmodel.block.blk_core.bio_attempt_front_merge", lambda *a: join("front"))
    assert blk_mq_sched.__blk_mq_sched_bio_merge(q, waiting_bio(1000 + sector), 1) is merged
    assert joined == ([{8: "back", -8: "front"}[sector]] if merged else [])
    assert ctx.rq_merged == merged


def test_only_the_last_eight_are_looked_at(monkeypatch):
    boot(2)
    q = Driver(flags=BLK_MQ_F_SHOULD_MERGE, depth=32).load()
    looked = []
    monkeypatch.setattr("blkmodel.block.blk_merge.blk_rq_merge_ok", lambda rq, bio: looked.append(rq))
    requests = [get(q, sector=100 * n) for n in range(12)]
    for rq in requests:
        insert(rq, run=False)
    assert not blk_mq_sched.__blk_mq_sched_bio_merge(q, waiting_bio(5), 1)
    assert looked == requests[:3:-1]


def submit(q, sector, op=REQ_OP_READ):
    """Submit a bio of 4 KiB of its own memory; return it."""
    memory = alloc_pages_node(0, GFP_KERNEL, 0)
    sent = bio(bi_opf=op, bi_iter=bvec_iter(sector, 4096), bi_vcnt=1, bi_max_vecs=1,
               bi_io_vec=[bio_vec(memory, 4096, 0)], _bi_remaining=1, _bi_cnt=1)
    sent.bi_end_io = lambda ended: setattr(ended, "bi_private", "ended")
    blk_core.blk_queue_enter(q, 0)
    blk_mq.blk_mq_make_request(q, sent)
    blk_core.blk_queue_exit(q)
    return sent


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize(("sectors", "runs"), [
    ([0, 8, 16], [(0, 3)]), ([16, 8, 0], [(0, 3)]), ([0, 16, 8], [(0, 3)]), ([0, 100, 8], [(0, 2), (100, 1)])])
def test_neighbours_become_one_request(sectors, runs, scheduled):
    kernel = boot(2)
    driver = Driver(flags=BLK_MQ_F_SHOULD_MERGE, depth=32)
    q = driver.load()
    blk_settings.blk_queue_max_segments(q, 16)
    if scheduled:
        assert blk_mq_sched.blk_mq_init_sched(q, mq_deadline.variables().mq_deadline) == 0
    elif sectors == [0, 16, 8]:
        runs = [(0, 1), (8, 2)]  # latest first; and without a scheduler nobody sees that a gap was closed
    blk_mq.blk_mq_quiesce_queue(q)
    bios = [submit(q, 1000 + sector) for sector in sectors]
    blk_mq.blk_mq_unquiesce_queue(q)
    kernel.loop.run_due()
    assert sorted((rq._sector - 1000, rq._data_len // 4096) for rq in driver.taken) == runs
    while driver.taken:
        driver.finish()
    assert all(sent.bi_private == "ended" for sent in bios)
    assert q.queue_ctx[0].rq_merged == (0 if scheduled else len(sectors) - len(runs))
    assert not any(word.word & ~word.cleared for word in driver.set.tags[0].bitmap_tags.sb.map)


def test_a_bio_that_must_not_wait_ends_where_it_would():
    kernel = boot(2)
    driver = Driver(depth=1)
    q = driver.load()
    first = submit(q, 0)
    kernel.loop.run_due()
    second = submit(q, 800, REQ_OP_READ | REQ_NOWAIT)
    assert (second.bi_status, second.bi_private, first.bi_private) == (BLK_STS_AGAIN, "ended", None)
    ahead = driver.taken[0].cmd_flags
    assert not ahead & REQ_FAILFAST_MASK
    driver.finish()
    submit(q, 0, REQ_OP_READ | REQ_RAHEAD)
    kernel.loop.run_due()
    assert driver.taken[0].cmd_flags & REQ_FAILFAST_MASK == REQ_FAILFAST_MASK


def test_a_plugged_write_goes_by_software_queue_and_worker():
    """As write-4k records it: a driver that is told what is last has its requests held back."""
    kernel = boot(2)
    driver = Driver(queues=2, ops={"commit_rqs": lambda hctx: None})
    q = driver.load()
    plug = kernel.context.plug = blk_plug()
    sent = submit(q, 8, REQ_OP_WRITE)
    assert plug.rq_count == 1
    assert driver.taken == []
    blk_core.blk_flush_plug_list(plug, True)
    kernel.context.plug = None
    assert driver.taken == []
    assert [event.context.name for event in kernel.loop.pending() if event.context.kind == "task"] != []
    kernel.loop.run_due()
    assert [rq.bio for rq in driver.taken] == [sent]


@pytest.mark.parametrize("status", [BLK_STS_OK, BLK_STS_RESOURCE, BLK_STS_IOERR])
def test_what_a_submitter_may_poll_for(status):
    boot(2)
    driver = Driver(queues=2)
    q = driver.load()
    driver.refusals = [status]
    blk_core.blk_queue_enter(q, 0)
    sent = bio(bi_opf=REQ_OP_READ, bi_iter=bvec_iter(0, 0), _bi_remaining=1, _bi_cnt=1)
    cookie = blk_mq.blk_mq_make_request(q, sent)
    blk_core.blk_queue_exit(q)
    rq = driver.log[0][1]
    assert cookie == (BLK_QC_T_NONE if status == BLK_STS_IOERR else rq.tag)
