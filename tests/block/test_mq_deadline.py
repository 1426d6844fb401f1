"""mq-deadline: nothing lost, ascending batches, writes that wait no longer than they may, deadlines."""

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel import boot, scenario
from blkmodel.block import bio as bio_module, blk_core, blk_mq, elevator, mq_deadline
from blkmodel.include.linux.blk_mq import blk_mq_hw_ctx, blk_mq_ops
from blkmodel.include.linux.blk_types import REQ_OP_DRV_IN, REQ_OP_READ, REQ_OP_WRITE
from blkmodel.include.linux.blkdev import (QUEUE_FLAG_NOMERGES, READ, RQF_STARTED, WRITE, blk_rq_pos, request,
    request_queue, rq_data_dir)
from blkmodel.include.linux.elevator import ELEVATOR_FRONT_MERGE
from blkmodel.services.base.bug import KernelBug
from blkmodel.services.base.err import ENOMEM
from blkmodel.services.data.list import list_add_tail, list_head
from blkmodel.services.memory.mm import __free_page, alloc_page
from blkmodel.services.memory.slab import GFP_KERNEL
from blkmodel.services.tasks.timer import jiffies, jiffies_to_nsecs, time_after_eq
from blkmodel.sim import this


class Scheduler:
    """mq-deadline on a queue without a driver, that never merges."""

    def __init__(self):
        boot(2)
        self.q = request_queue(queue_flags=1 << QUEUE_FLAG_NOMERGES)
        self.type = mq_deadline.variables().mq_deadline
        assert self.type.ops.init_sched(self.q, self.type) == 0
        self.hctx = blk_mq_hw_ctx(queue=self.q)
        self.dd = self.q.elevator.elevator_data

    def insert(self, op, sector, at_head=False):
        rq = request(q=self.q, cmd_flags=op, _sector=sector, _data_len=512)
        waiting = list_head()
        list_add_tail(rq, waiting, "queuelist")
        self.type.ops.insert_requests(self.hctx, waiting, at_head)
        assert not waiting.entries
        return rq

    def dispatch(self):
        return self.type.ops.dispatch_request(self.hctx)

    def has_work(self):
        return self.type.ops.has_work(self.hctx)

    def drain(self):
        done = []
        while self.has_work():
            done.append(self.dispatch())
        return done


@pytest.fixture
def scheduler():
    return Scheduler()


def sectors(requests):
    return [blk_rq_pos(rq) for rq in requests]


def test_begins_with_the_settings_of_the_kernel(scheduler):
    shown = {attr.name: attr.show(scheduler.q.elevator) for attr in scheduler.type.elevator_attrs}
    assert shown == {"read_expire": "500\n", "write_expire": "5000\n", "writes_starved": "2\n",
                     "front_merges": "1\n", "fifo_batch": "16\n"}


@pytest.mark.parametrize(("name", "text", "then"), [
    ("read_expire", "100", "100\n"), ("read_expire", "-3", "0\n"), ("write_expire", "1", "4\n"),
    ("front_merges", "7", "1\n"), ("front_merges", "0\n", "0\n"), ("fifo_batch", "many", "0\n"),
    ("fifo_batch", "3 or 4", "3\n"), ("writes_starved", "-2", "-2\n"), ("fifo_batch", "4294967300", "4\n"),
    ("writes_starved", "2147483648", "-2147483648\n")])
def test_settings_are_moved_to_what_there_can_be(scheduler, name, text, then):
    attr = next(attr for attr in scheduler.type.elevator_attrs if attr.name == name)
    kobj = scheduler.q.elevator.kobj
    assert elevator.elv_attr_store(kobj, attr, text, len(text)) == len(text)
    assert elevator.elv_attr_show(kobj, attr) == then


def test_reads_go_by_sector(scheduler):
    for sector in (50, 10, 30, 20):
        scheduler.insert(REQ_OP_READ, sector)
    # The oldest begins; then what follows on the disk; then, as nothing does, the oldest again.
    assert sectors(scheduler.drain()) == [50, 10, 20, 30]
    assert scheduler.dispatch() is None


def test_equal_sectors_keep_their_order(scheduler):
    first, second = scheduler.insert(REQ_OP_READ, 8), scheduler.insert(REQ_OP_READ, 8)
    assert scheduler.drain() == [first, second]


def test_a_batch_ends_after_fifo_batch_requests(scheduler):
    scheduler.dd.fifo_batch = 3
    for sector in range(8):
        scheduler.insert(REQ_OP_READ, sector)
    seen = []
    while scheduler.has_work():
        scheduler.dispatch()
        seen.append(scheduler.dd.batching)
    assert seen == [1, 2, 3, 1, 2, 3, 1, 2]


def test_reads_go_first_and_writes_wait_for_two_batches(scheduler):
    scheduler.dd.fifo_batch = 1
    for sector in range(6):
        scheduler.insert(REQ_OP_WRITE, 100 + sector)
    for sector in range(6):
        scheduler.insert(REQ_OP_READ, sector)
    directions = "".join("rw"[rq_data_dir(rq)] for rq in scheduler.drain())
    assert directions == "rrwrrwrrwwww"


def test_a_negative_writes_starved_is_a_very_large_one(scheduler):
    scheduler.dd.writes_starved, scheduler.dd.fifo_batch = -1, 1
    for sector in range(6):
        scheduler.insert(REQ_OP_READ, sector)
    scheduler.insert(REQ_OP_WRITE, 0)
    assert [rq_data_dir(rq) for rq in scheduler.drain()] == [READ] * 6 + [WRITE]


def test_what_is_late_begins_the_next_batch(scheduler):
    scheduler.dd.fifo_batch = 1
    late = scheduler.insert(REQ_OP_READ, 5)
    assert late.fifo_time == jiffies() + 125
    assert blk_rq_pos(scheduler.insert(REQ_OP_READ, 10)) == 10
    first = scheduler.insert(REQ_OP_READ, 11)
    scheduler.dd.next_rq[READ] = first
    this().loop.advance(jiffies_to_nsecs(124))
    assert scheduler.dispatch() is first
    scheduler.insert(REQ_OP_READ, 12)
    scheduler.dd.next_rq[READ] = None
    this().loop.advance(jiffies_to_nsecs(1))
    assert scheduler.dispatch() is late


@pytest.mark.parametrize(("ticks", "sector"), [(124, 10), (125, 1)])
def test_what_follows_on_the_disk_waits_for_what_is_late(scheduler, ticks, sector):
    scheduler.dd.fifo_batch = 1
    first, _, following = (scheduler.insert(REQ_OP_READ, at) for at in (5, 1, 10))
    assert scheduler.dispatch() is first
    assert scheduler.dd.next_rq[READ] is following
    this().loop.advance(jiffies_to_nsecs(ticks))
    assert blk_rq_pos(scheduler.dispatch()) == sector


def test_at_head_and_passthrough_requests_go_before_all(scheduler):
    plain = scheduler.insert(REQ_OP_READ, 1)
    driver = scheduler.insert(REQ_OP_DRV_IN, 0)
    head = scheduler.insert(REQ_OP_WRITE, 9, at_head=True)
    assert scheduler.drain() == [head, driver, plain]


def test_a_front_merge_moves_the_request_in_its_tree(scheduler):
    low, high = scheduler.insert(REQ_OP_READ, 10), scheduler.insert(REQ_OP_READ, 20)
    high._sector = 4
    scheduler.type.ops.request_merged(scheduler.q, high, ELEVATOR_FRONT_MERGE)
    assert scheduler.type.ops.next_request(scheduler.q, high) is low
    assert scheduler.type.ops.former_request(scheduler.q, low) is high
    assert elevator.elv_rb_find(scheduler.dd.sort_list[READ], 4) is high


def test_merged_requests_keep_the_earlier_deadline_and_place(scheduler):
    older, between = scheduler.insert(REQ_OP_READ, 30), scheduler.insert(REQ_OP_READ, 40)
    this().loop.advance(jiffies_to_nsecs(3))
    newer = scheduler.insert(REQ_OP_READ, 20)
    deadline = older.fifo_time
    scheduler.type.ops.requests_merged(scheduler.q, newer, older)
    assert newer.fifo_time == deadline
    assert list(scheduler.dd.fifo_list[READ]) == [newer, between]
    assert scheduler.drain() == [newer, between]


def test_the_removed_request_is_no_ones_next(scheduler):
    first, second, third = (scheduler.insert(REQ_OP_READ, sector) for sector in (1, 2, 3))
    assert scheduler.dispatch() is first
    assert scheduler.dd.next_rq[READ] is second
    mq_deadline.deadline_remove_request(scheduler.q, second)
    assert scheduler.dd.next_rq[READ] is third


def test_ends_with_no_request_left_and_nothing_allocated():
    scheduler = Scheduler()
    memory = this().memory
    kinds = [a.kind for a in memory.live.values()]
    assert {"elevator_queue", "deadline_data"} <= set(kinds)
    scheduler.insert(REQ_OP_READ, 1)
    with pytest.raises(KernelBug):
        scheduler.type.ops.exit_sched(scheduler.q.elevator)
    scheduler.drain()
    scheduler.type.ops.exit_sched(scheduler.q.elevator)
    assert "deadline_data" not in [a.kind for a in memory.live.values()]


@pytest.mark.parametrize("nth", [1, 2])
def test_no_memory_leaves_nothing(nth):
    kernel = boot(1)
    before = dict(kernel.memory.live)
    q = request_queue()
    kernel.memory.fail_nth(nth)
    assert mq_deadline.dd_init_queue(q, mq_deadline.variables().mq_deadline) == -ENOMEM
    assert q.elevator is None
    assert kernel.memory.live == before


steps = st.lists(st.one_of(
    st.tuples(st.just("insert"), st.sampled_from([REQ_OP_READ, REQ_OP_WRITE]), st.integers(0, 60)),
    st.tuples(st.just("dispatch")),
    st.tuples(st.just("pass"), st.sampled_from([1, 100, 200, 2000]))), max_size=120)


@settings(deadline=None, max_examples=150)
@given(steps=steps, fifo_batch=st.integers(1, 5), writes_starved=st.integers(0, 3))
def test_whatever_comes(steps, fifo_batch, writes_starved):
    """Each request is dispatched once; batches ascend; writes starve no longer than allowed; the late go first."""
    s = Scheduler()
    s.dd.fifo_batch, s.dd.writes_starved = fifo_batch, writes_starved
    inserted, done = [], []
    starved = 0
    last = None

    def dispatch():
        nonlocal starved, last
        waiting = {d: list(s.dd.fifo_list[d]) for d in (READ, WRITE)}
        rq = s.dispatch()
        assert (rq is None) == (not waiting[READ] and not waiting[WRITE])
        if rq is None:
            return
        assert rq.rq_flags & RQF_STARTED
        done.append(rq)
        direction = rq_data_dir(rq)
        assert 1 <= s.dd.batching <= fifo_batch
        if s.dd.batching > 1:
            assert direction == rq_data_dir(last)
            assert blk_rq_pos(rq) >= blk_rq_pos(last)
        else:
            oldest = waiting[direction][0]
            if time_after_eq(jiffies(), oldest.fifo_time):
                assert rq is oldest
            starved = starved + 1 if direction == READ and waiting[WRITE] else 0
            assert starved <= writes_starved
        last = rq

    for step in steps:
        if step[0] == "insert":
            inserted.append(s.insert(step[1], step[2]))
        elif step[0] == "dispatch":
            dispatch()
        else:
            this().loop.advance(jiffies_to_nsecs(step[1]))
    while s.has_work():
        dispatch()
    assert len(done) == len(inserted)
    assert set(done) == set(inserted)
    assert s.dd.sort_list[READ].rb_node is None
    assert s.dd.sort_list[WRITE].rb_node is None
    s.type.ops.exit_sched(s.q.elevator)


def test_operations_that_do_nothing_are_there_to_be_called(scheduler):
    ops = scheduler.type.ops
    assert ops.prepare_request is mq_deadline.dd_prepare_request
    assert ops.finish_request is mq_deadline.dd_finish_request
    assert isinstance(blk_mq_ops(), blk_mq_ops)


def merged(first_sectors):
    """Submit one-sector reads to a stopped disk; return (sector, sectors) of each request there is, and let it run."""
    kernel = boot(2)
    scenario.null_blk_load()
    q = scenario.disk("nullb0").queue
    found: list = []
    done, pages = [], []

    def submit():
        blk_mq.blk_mq_quiesce_queue(q)
        free = q.queue_hw_ctx[0].sched_tags.bitmap_tags.sb
        for sector in first_sectors:
            page = alloc_page(GFP_KERNEL)
            pages.append(page)
            bio = bio_module.bio_alloc_bioset(GFP_KERNEL, 1, None)
            bio.bi_disk = scenario.disk("nullb0")
            bio.bi_opf = REQ_OP_READ
            bio.bi_iter.bi_sector = sector
            bio.bi_end_io = lambda bio: done.append(bio)
            bio_module.bio_add_page(bio, page, 512, 0)
            blk_core.submit_bio(bio)
        found.extend((blk_rq_pos(rq), rq._data_len // 512) for rq in q.elevator.elevator_data.fifo_list[READ])
        assert len(found) == sum((word.word & ~word.cleared).bit_count() for word in free.map)
        blk_mq.blk_mq_unquiesce_queue(q)
    kernel.task("submits", submit)
    assert len(done) == len(first_sectors)
    assert all(bio.bi_status == 0 for bio in done)
    for bio, page in zip(done, pages, strict=True):
        bio_module.bio_put(bio)
        __free_page(page)
    scenario.null_blk_unload()
    return found


@pytest.mark.parametrize(("submitted", "requests"), [
    ([8, 9, 10], [(8, 3)]),  # each behind the one before
    ([8, 7, 6], [(6, 3)]),  # each before the one before
    ([8, 10, 9], [(8, 3)]),  # one that closes the gap, and makes one request of two
    ([10, 8, 9], [(8, 3)]),
    ([8, 20, 9, 19], [(8, 2), (19, 2)]),
    ([30, 20, 10], [(30, 1), (20, 1), (10, 1)])])
def test_neighbours_become_one_request(submitted, requests):
    assert merged(submitted) == requests
