"""Queues from birth to death, what submission checks, how requests end, and plugs."""

from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from blkmodel import boot
from blkmodel.block import bio as bios, blk_core, blk_mq, blk_settings
from blkmodel.include.linux.blk_mq import BLK_MQ_REQ_NOWAIT, blk_mq_ops
from blkmodel.include.linux.blk_types import (BIO_QUIET, BLK_QC_T_NONE, BLK_STS_AGAIN, BLK_STS_IOERR, BLK_STS_NOTSUPP,
    BLK_STS_OK, BLK_STS_RESOURCE, BLK_STS_TIMEOUT, REQ_FAILFAST_DEV, REQ_FUA, REQ_HIPRI, REQ_NOMERGE, REQ_NOWAIT,
    REQ_OP_DISCARD, REQ_OP_DRV_IN, REQ_OP_FLUSH, REQ_OP_SECURE_ERASE, REQ_OP_WRITE, REQ_OP_WRITE_SAME,
    REQ_OP_WRITE_ZEROES, REQ_OP_ZONE_RESET, REQ_PREFLUSH, bio_flagged, bio_vec)
from blkmodel.include.linux.blkdev import (QUEUE_FLAG_DEAD, QUEUE_FLAG_DISCARD, QUEUE_FLAG_DYING, QUEUE_FLAG_FUA,
    QUEUE_FLAG_POLL, QUEUE_FLAG_SECERASE, QUEUE_FLAG_WC, RQF_FLUSH_SEQ, RQF_IO_STAT, RQF_MIXED_MERGE, RQF_QUIET,
    RQF_SPECIAL_PAYLOAD, blk_plug, request)
from blkmodel.include.linux.genhd import disk_part_tbl, gendisk, hd_ref_init, hd_struct, init_part_stats, part_stat_read
from blkmodel.services.base.bug import KernelBug
from blkmodel.services.base.err import EBUSY, EIO, ENODEV, ENOMEM, ETIMEDOUT
from blkmodel.services.data.list import list_add_tail
from blkmodel.services.memory.mm import alloc_pages_node
from blkmodel.services.memory.slab import GFP_KERNEL, GFP_NOIO, NUMA_NO_NODE
from blkmodel.services.tasks.refcount import percpu_ref_switch_to_percpu
from blkmodel.services.tasks.wait import add_wait_queue, init_waitqueue_func_entry, wait_queue_entry
from blkmodel.services.tasks.workqueue import INIT_DELAYED_WORK, INIT_WORK, delayed_work, work_struct
from blkmodel.sim.events import HungTask


@pytest.fixture
def kernel():
    return boot(2)


class Device:
    """A disk of 1000 sectors on a queue whose bios are collected."""

    def __init__(self, take=None, **limits):
        self.taken = []
        self.queue = blk_core.blk_alloc_queue_node(GFP_KERNEL, NUMA_NO_NODE)
        blk_settings.blk_queue_make_request(self.queue, take or self.collect)
        for name, value in limits.items():
            setattr(self.queue.limits, name, value)
        self.disk = gendisk(disk_name="test0", queue=self.queue)
        self.disk.part0.nr_sects = 1000
        self.disk.part_tbl = disk_part_tbl(len=3, part=[self.disk.part0, hd_struct(partno=1, start_sect=100,
                                                                                  nr_sects=50), None])
        init_part_stats(self.disk.part0)
        hd_ref_init(self.disk.part0, None)
        self.ended = []

    def collect(self, q, bio):
        assert q is self.queue
        self.taken.append(bio)
        return 7

    def bio(self, sector=0, sectors=8, op=0, pages=None):
        made = bios.bio_alloc_bioset(GFP_NOIO, 1, bios.variables().fs_bio_set)
        made.bi_disk, made.bi_opf = self.disk, op
        if sectors:
            bios.bio_add_page(made, pages or alloc_pages_node(0, 0, 4), sectors << 9, 0)
        made.bi_iter.bi_sector = sector
        made.bi_end_io = self.ended.append
        return made


@pytest.fixture
def device(kernel):
    return Device()


def held(kernel):
    return sorted((a.kind, a.size) for a in kernel.memory.live.values())


def test_a_queue_lives_and_dies(kernel):
    before = held(kernel)
    q = blk_core.blk_alloc_queue_node(GFP_KERNEL, 0)
    assert (q.id, q.node, q.kobj.refcount, q.q_usage_counter.count) == (0, 0, 1, 1)
    assert q.backing_dev_info.name == "block"
    assert q.backing_dev_info.ra_pages == q.backing_dev_info.io_pages == 32
    other = blk_core.blk_alloc_queue_node(GFP_KERNEL, NUMA_NO_NODE)
    assert other.id == 1
    assert blk_core.blk_get_queue(q)
    blk_core.blk_cleanup_queue(q)
    assert q.queue_flags >> QUEUE_FLAG_DYING & q.queue_flags >> QUEUE_FLAG_DEAD & 1
    assert not blk_core.blk_get_queue(q)
    kernel.loop.run_due()
    assert held(kernel) != before
    blk_core.blk_put_queue(q)
    kernel.loop.run_due()
    assert blk_core.blk_alloc_queue_node(GFP_KERNEL, NUMA_NO_NODE).id == 0
    for each in (other,):
        blk_core.blk_cleanup_queue(each)
    kernel.loop.run_due()


def test_every_allocation_of_a_queue_fails_in_turn(kernel):
    before = held(kernel)
    for nth in range(1, 40):
        kernel.memory.fail_nth(nth)
        q = blk_core.blk_alloc_queue_node(GFP_KERNEL, 0)
        if q is not None:
            break
        assert held(kernel) == before
        assert blk_core.variables().blk_queue_ida.held == {}
    # the queue, two pools with two elements each, seven of its backing device, statistics, the usage counter
    assert nth == 1 + 6 + 7 + 1 + 1 + 1
    blk_core.blk_cleanup_queue(q)
    kernel.loop.settle()
    assert held(kernel) == before


def test_flags(device):
    q = device.queue
    blk_core.blk_queue_flag_set(QUEUE_FLAG_POLL, q)
    assert blk_core.blk_queue_flag_test_and_set(QUEUE_FLAG_POLL, q)
    blk_core.blk_queue_flag_clear(QUEUE_FLAG_POLL, q)
    assert not blk_core.blk_queue_flag_test_and_set(QUEUE_FLAG_POLL, q)
    assert q.queue_flags == 1 << QUEUE_FLAG_POLL


@given(st.integers(0, 13))
def test_statuses_and_errnos(status):
    boot(1)
    assert blk_core.errno_to_blk_status(blk_core.blk_status_to_errno(status)) == status


def test_odd_statuses(kernel):
    assert blk_core.errno_to_blk_status(-9999) == BLK_STS_IOERR
    assert blk_core.blk_status_to_errno(BLK_STS_TIMEOUT) == -ETIMEDOUT
    assert blk_core.blk_status_to_errno(BLK_STS_RESOURCE) == -ENOMEM
    assert blk_core.blk_status_to_errno(200) == -EIO
    blk_core.print_req_error(request(), 200, "x")
    assert all("WARNING" in line for line in kernel.log[-2:])
    assert blk_core.blk_op_str(REQ_OP_FLUSH) == "FLUSH"
    assert blk_core.blk_op_str(77) == "UNKNOWN"


def test_entering(device, kernel):
    q = device.queue
    assert blk_core.blk_queue_enter(q, 0) == 0
    assert q.q_usage_counter.count == 2
    blk_core.blk_queue_exit(q)
    blk_mq.blk_freeze_queue_start(q)
    assert blk_core.blk_queue_enter(q, BLK_MQ_REQ_NOWAIT) == -EBUSY
    with pytest.raises(HungTask):
        blk_core.blk_queue_enter(q, 0)
    kernel.loop.post(kernel.context, lambda: blk_mq.blk_mq_unfreeze_queue(q), 5)
    assert blk_core.blk_queue_enter(q, 0) == 0
    blk_core.blk_queue_exit(q)
    blk_core.blk_set_queue_dying(q)
    assert blk_core.blk_queue_enter(q, 0) == -ENODEV
    assert q.q_usage_counter.count == 0


def test_those_who_wait_for_a_frozen_queue_are_woken_when_it_is_empty_and_when_it_dies(device):
    woken: list = []
    waiter = wait_queue_entry()
    init_waitqueue_func_entry(waiter, woken.append)
    add_wait_queue(device.queue.mq_freeze_wq, waiter)
    assert blk_core.blk_queue_enter(device.queue, 0) == 0
    blk_mq.blk_freeze_queue_start(device.queue)
    assert woken == []
    blk_core.blk_queue_exit(device.queue)
    assert woken == [waiter]
    blk_core.blk_set_queue_dying(device.queue)  # it is frozen, and empty, already
    assert woken == [waiter, waiter]


def test_a_registered_queue_drains_after_a_grace_period(device, kernel):
    percpu_ref_switch_to_percpu(device.queue.q_usage_counter)
    blk_mq.blk_freeze_queue_start(device.queue)
    assert device.queue.q_usage_counter.count == 1
    blk_mq.blk_mq_freeze_queue_wait(device.queue)
    assert device.queue.q_usage_counter.count == 0
    blk_mq.blk_mq_unfreeze_queue(device.queue)
    assert device.queue.q_usage_counter.percpu


def test_the_timer_of_a_queue_without_requests(device, kernel):
    seen: list[work_struct] = []
    INIT_WORK(device.queue.timeout_work, seen.append, device.queue)
    blk_core.blk_rq_timed_out_timer(device.queue.timeout)
    assert device.queue.timeout_work._event.context.name == "kblockd"
    blk_core.blk_sync_queue(device.queue)
    kernel.loop.run_due()
    assert seen == []
    blk_core.blk_timeout_work(device.queue.timeout_work)


def test_kblockd(kernel):
    ran = []
    work = delayed_work()
    INIT_DELAYED_WORK(work, lambda _: ran.append((kernel.context.name, kernel.cpu, kernel.now)), None)
    assert blk_core.kblockd_schedule_work(work)
    kernel.loop.run_due()
    assert not blk_core.kblockd_mod_delayed_work_on(1, work, 25)
    assert blk_core.kblockd_mod_delayed_work_on(1, work, 50)
    kernel.loop.advance(1_000_000_000)
    assert ran == [("kblockd", 0, 0), ("kblockd", 1, 204_000_000)]  # a timer waits for its tick to be over


def test_submission(device, kernel):
    bio = device.bio()
    assert blk_core.submit_bio(bio) == 7
    assert device.taken == [bio]
    assert device.queue.q_usage_counter.count == 1
    assert kernel.context.bio_list is None
    assert device.ended == []


@pytest.mark.parametrize(("sector", "sectors", "refused"), [(992, 8, False), (993, 8, True), (2000, 8, True),
                                                           (5000, 0, False)])
def test_the_end_of_the_disk(device, kernel, sector, sectors, refused):
    bio = device.bio(sector, sectors)
    assert blk_core.submit_bio(bio) == (BLK_QC_T_NONE if refused else 7)
    assert bio.bi_status == (BLK_STS_IOERR if refused else 0)
    if refused:
        assert kernel.log[-2:] == ["attempt to access beyond end of device",
                                   f"test0: rw=0, want={sector + sectors}, limit=1000"]
        assert device.ended == [bio]


def test_partitions_are_part_of_their_disk(device, kernel):
    inside, beyond, nowhere, empty = device.bio(42), device.bio(43), device.bio(), device.bio(7, 0)
    for bio, partno in ((inside, 1), (beyond, 1), (nowhere, 2), (empty, 1)):
        bio.bi_partno = partno
        blk_core.submit_bio(bio)
    assert device.taken == [inside, empty]
    assert (inside.bi_iter.bi_sector, inside.bi_partno) == (142, 0)
    assert empty.bi_iter.bi_sector == 7
    assert device.ended == [beyond, nowhere]
    assert kernel.log[-1] == "test0p1: rw=0, want=51, limit=50"


def test_a_disk_without_queue_and_injected_errors(device, kernel, monkeypatch):
    assert blk_core.should_fail_bio(device.bio()) == 0
    monkeypatch.setattr(blk_core, "should_fail_bio", lambda bio: -EIO)
    blk_core.submit_bio(device.bio())
    device.disk.queue = None
    blk_core.submit_bio(device.bio(5))
    assert kernel.log[-1].endswith("nonexistent block-device test0 (5)")
    assert [bio.bi_status for bio in device.ended] == [BLK_STS_IOERR] * 2


def test_writing_what_is_read_only_is_only_warned_of(device, kernel):
    device.disk.part0.policy = 1
    blk_core.submit_bio(device.bio())
    blk_core.submit_bio(device.bio(0, 0, REQ_OP_WRITE | REQ_PREFLUSH))
    before = len(kernel.log)
    blk_core.submit_bio(device.bio(0, 8, REQ_OP_WRITE))
    assert len(device.taken) == 2
    assert "read-only block-device test0 (partno 0)" in kernel.log[before]
    assert blk_core.bio_check_ro(device.bio(0, 8, REQ_OP_WRITE), device.disk.part0) is False


def test_flushes_without_a_cache(device):
    empty, write = device.bio(0, 0, REQ_OP_WRITE | REQ_PREFLUSH), device.bio(0, 8, REQ_OP_WRITE | REQ_FUA)
    for bio in (empty, write):
        blk_core.submit_bio(bio)
    assert device.ended == [empty]
    assert empty.bi_status == BLK_STS_OK
    assert write.bi_opf == REQ_OP_WRITE
    device.queue.queue_flags |= 1 << QUEUE_FLAG_WC | 1 << QUEUE_FLAG_FUA
    again = device.bio(0, 0, REQ_OP_WRITE | REQ_PREFLUSH)
    blk_core.submit_bio(again)
    assert device.taken == [write, again]


def test_polling_and_not_waiting(device):
    polled = device.bio(0, 8, REQ_HIPRI)
    blk_core.submit_bio(polled)
    assert polled.bi_opf == 0
    device.queue.queue_flags |= 1 << QUEUE_FLAG_POLL
    polled = device.bio(0, 8, REQ_HIPRI)
    blk_core.submit_bio(polled)
    assert polled.bi_opf == REQ_HIPRI
    hasty = device.bio(0, 8, REQ_NOWAIT)
    blk_core.submit_bio(hasty)
    assert hasty.bi_status == BLK_STS_AGAIN
    device.queue.mq_ops = blk_mq_ops()
    device.queue.nr_hw_queues = 0
    blk_mq.blk_freeze_queue_start(device.queue)
    hasty = device.bio(0, 8, REQ_NOWAIT)
    blk_core.submit_bio(hasty)
    assert hasty.bi_status == BLK_STS_AGAIN
    device.queue.mq_ops = None
    blk_core.blk_set_queue_dying(device.queue)
    late = device.bio()
    blk_core.submit_bio(late)
    assert late.bi_status == BLK_STS_IOERR


@pytest.mark.parametrize(("op", "prepare"), [
    (REQ_OP_DISCARD, lambda q: blk_core.blk_queue_flag_set(QUEUE_FLAG_DISCARD, q)),
    (REQ_OP_SECURE_ERASE, lambda q: blk_core.blk_queue_flag_set(QUEUE_FLAG_SECERASE, q)),
    (REQ_OP_WRITE_SAME, lambda q: setattr(q.limits, "max_write_same_sectors", 1)),
    (REQ_OP_WRITE_ZEROES, lambda q: blk_settings.blk_queue_max_write_zeroes_sectors(q, 1)),
    (REQ_OP_ZONE_RESET, None)])
def test_operations_that_not_all_can(device, op, prepare):
    refused = device.bio(0, 8, op)
    blk_core.submit_bio(refused)
    assert refused.bi_status == BLK_STS_NOTSUPP
    if prepare:
        prepare(device.queue)
        blk_core.submit_bio(device.bio(0, 8, op))
        assert len(device.taken) == 1


def test_drivers_on_drivers_need_no_stack(kernel):
    """A driver that submits a bio below and the rest of its own: each is finished below before the next begins."""
    order = []
    lower = Device(lambda q, bio: order.append(("lower", bio.bi_iter.bi_sector)))

    def split(q, bio):
        order.append(("upper", bio.bi_iter.bi_sector))
        sector = bio.bi_iter.bi_sector
        if sector < 2:
            blk_core.generic_make_request(upper.bio(sector + 1))
        blk_core.generic_make_request(lower.bio(sector * 10))
        blk_core.generic_make_request(lower.bio(sector * 10 + 5))
        return 0
    upper = Device(split)
    blk_core.submit_bio(upper.bio(0))
    assert order == [("upper", 0), ("lower", 0), ("lower", 5), ("upper", 1), ("lower", 10), ("lower", 15),
                     ("upper", 2), ("lower", 20), ("lower", 25)]


def request_of(device, *sizes, **fields):
    members = [device.bio(sector, size) for sector, size in sizes]
    for one, following in pairwise(members):
        one.bi_next = following
    return request(q=device.queue, bio=members[0], biotail=members[-1], _sector=sizes[0][0], rq_disk=device.disk,
                   _data_len=sum(size for _, size in sizes) << 9, nr_phys_segments=len(sizes), **fields)


def test_requests_end_in_parts(device, kernel):
    rq = request_of(device, (0, 8), (8, 8), (16, 8))
    first, second, third = rq.bio, rq.bio.bi_next, rq.biotail
    assert blk_core.blk_update_request(rq, 0, 512 * 10)
    assert device.ended == [first]
    assert (rq.bio, rq._sector, rq._data_len, rq.nr_phys_segments) == (second, 10, 14 * 512, 2)
    assert second.bi_iter.bi_size == 6 * 512
    assert blk_core.blk_update_request(rq, BLK_STS_TIMEOUT, 512 * 6)
    assert second.bi_status == BLK_STS_TIMEOUT
    assert kernel.log[-1] == ("blk_update_request: timeout error, dev test0, sector 10 op 0x0:(READ) flags 0x0 "
                              "phys_seg 2 prio class 0")
    assert not blk_core.blk_update_request(rq, 0, 512 * 8)
    assert device.ended == [first, second, third]
    assert (rq._data_len, third.bi_status) == (0, 0)
    assert not blk_core.blk_update_request(rq, 0, 512)


def test_quiet_and_passthrough_requests_log_nothing(device, kernel):
    before = len(kernel.log)
    rq = request_of(device, (0, 8), rq_flags=RQF_QUIET)
    bio = rq.bio
    blk_core.blk_update_request(rq, BLK_STS_IOERR, 4096)
    assert bio_flagged(bio, BIO_QUIET)
    rq = request_of(device, (0, 8), (8, 8), cmd_flags=REQ_OP_DRV_IN)
    assert blk_core.blk_update_request(rq, BLK_STS_IOERR, 4096)
    assert rq._sector == 0
    assert len(kernel.log) == before


def test_a_flush_ends_the_bios_itself(device):
    rq = request_of(device, (0, 8), rq_flags=RQF_FLUSH_SEQ)
    bio = rq.bio
    assert not blk_core.blk_update_request(rq, 0, 4096)
    assert bio.bi_iter.bi_size == 0
    assert device.ended == []


def test_requests_that_say_less_than_their_bios(device, kernel):
    rq = request_of(device, (0, 8), (8, 8))
    rq._data_len = 4096 + 512
    assert blk_core.blk_update_request(rq, 0, 4096)
    assert any("request botched: dev test0" in line for line in kernel.log)
    assert rq._data_len == 4096
    rq = request_of(device, (0, 8), (8, 8), rq_flags=RQF_SPECIAL_PAYLOAD)
    rq.nr_phys_segments = 9
    blk_core.blk_update_request(rq, 0, 4096)
    assert rq.nr_phys_segments == 9


def test_what_fails_together(device):
    rq = request_of(device, (0, 8), (8, 8), (16, 8), cmd_flags=REQ_FAILFAST_DEV)
    rq.rq_flags = RQF_MIXED_MERGE
    rq.bio.bi_opf = rq.bio.bi_next.bi_opf = REQ_FAILFAST_DEV
    assert blk_core.blk_update_request(rq, 0, 2 * 4096)
    assert not rq.cmd_flags & REQ_FAILFAST_DEV


def test_accounting(device, kernel):
    part = device.disk.part0
    rq = request_of(device, (0, 8), rq_flags=RQF_IO_STAT, start_time_ns=kernel.now)
    device.queue.mq_ops = None
    blk_core.blk_account_io_start(rq, True)
    assert rq.part is part
    assert part.ref.count == 2
    assert part.dkstats[0].in_flight == [1, 0]
    blk_core.blk_account_io_start(rq, False)
    kernel.loop.advance(40_000_000)
    blk_core.blk_account_io_completion(rq, 4096)
    blk_core.blk_account_io_done(rq, kernel.now)
    read = {name: part_stat_read(part, name, 0) for name in ("ios", "merges", "sectors", "nsecs")}
    assert read == {"ios": 1, "merges": 1, "sectors": 8, "nsecs": 40_000_000}
    assert part_stat_read(part, "time_in_queue") == 10
    assert part_stat_read(part, "io_ticks") == 11
    assert part.ref.count == 1
    assert part.dkstats[0].in_flight == [0, 0]
    quiet = request_of(device, (0, 8))
    for account in (lambda: blk_core.blk_account_io_start(quiet, True),
                    lambda: blk_core.blk_account_io_completion(quiet, 512),
                    lambda: blk_core.blk_account_io_done(quiet, 0)):
        account()
    assert part_stat_read(part, "ios", 0) == 1


def test_io_on_a_partition_that_goes_counts_for_the_disk(device, kernel):
    part = device.disk.part_tbl.part[1]
    part._dev.parent = device.disk.part0._dev
    device.disk.part0._dev._owner = device.disk
    init_part_stats(part)
    hd_ref_init(part, lambda ref: None)
    rq = request_of(device, (110, 8), rq_flags=RQF_IO_STAT)
    blk_core.blk_account_io_start(rq, True)
    assert rq.part is part
    assert [stats.in_flight[0] for stats in (part.dkstats[0], device.disk.part0.dkstats[0])] == [1, 1]
    part.ref.dead = True
    rq = request_of(device, (110, 8), rq_flags=RQF_IO_STAT)
    blk_core.blk_account_io_start(rq, True)
    assert rq.part is device.disk.part0


def test_clones(device, kernel):
    source = request_of(device, (0, 8), (8, 8), extra_len=5)
    clone, seen = request(), []

    def prepare(bio, of, data):
        seen.append((bio, of, data))
        return 0
    assert blk_core.blk_rq_prep_clone(clone, source, None, GFP_NOIO, prepare, "data") == 0
    assert (clone._sector, clone._data_len, clone.nr_phys_segments, clone.extra_len) == (0, 8192, 2, 5)
    assert clone.bio.bi_io_vec is source.bio.bi_io_vec
    assert [(of, data) for _, of, data in seen] == [(source.bio, "data"), (source.biotail, "data")]
    blk_core.blk_rq_unprep_clone(clone)
    assert clone.bio is None
    special = request_of(device, (0, 8), rq_flags=RQF_SPECIAL_PAYLOAD, special_vec=bio_vec())
    blk_core.__blk_rq_prep_clone(clone, special)
    assert clone.special_vec is special.special_vec
    before = held(kernel)
    refused = request()
    answers = iter([0, 1])
    assert blk_core.blk_rq_prep_clone(refused, source, None, GFP_NOIO, lambda *_: next(answers), None) == -ENOMEM
    assert refused.bio is None
    assert held(kernel) == before


def test_clones_are_checked(device, kernel, monkeypatch):
    issued = []

    def issue(rq, last):
        issued.append((rq, last))
        return 0
    monkeypatch.setattr(blk_mq, "blk_mq_request_issue_directly", issue)
    rq = request_of(device, (0, 8), (8, 8))
    assert blk_core.blk_insert_cloned_request(device.queue, rq) == 0
    assert issued == [(rq, True)]
    device.queue.limits.max_segments = 1
    assert blk_core.blk_insert_cloned_request(device.queue, rq) == BLK_STS_IOERR
    assert kernel.log[-1] == "blk_cloned_rq_check_limits: over max segments limit. (2 > 1)"
    device.queue.limits.max_sectors = 15
    assert blk_core.blk_insert_cloned_request(device.queue, rq) == BLK_STS_IOERR
    assert kernel.log[-1] == "blk_cloned_rq_check_limits: over max size limit. (16 > 15)"
    assert len(issued) == 1


def test_passthrough_requests(device, kernel, monkeypatch):
    made: list[request] = []
    rq = request()
    monkeypatch.setattr(blk_mq, "blk_mq_alloc_request", lambda q, op, flags: rq)
    monkeypatch.setattr(blk_mq, "blk_mq_free_request", made.append)
    device.queue.mq_ops = blk_mq_ops(initialize_rq_fn=made.append)
    assert blk_core.blk_get_request(device.queue, REQ_OP_DRV_IN, 0) is rq
    blk_core.blk_put_request(rq)
    assert made == [rq, rq]
    blk_core.blk_get_request(device.queue, REQ_OP_DRV_IN | REQ_NOWAIT, 0)
    assert "WARNING" in kernel.log[-1]
    device.queue.mq_ops = blk_mq_ops(busy=lambda q: True)
    assert blk_core.blk_lld_busy(device.queue)
    device.queue.mq_ops = None
    assert blk_core.blk_lld_busy(device.queue) == 0


def test_an_empty_request(device, kernel):
    rq = request_of(device, (0, 8), rq_flags=3)
    kernel.loop.advance(5)
    blk_core.blk_rq_init(device.queue, rq)
    assert (rq.q, rq._sector, rq.tag, rq.internal_tag, rq.start_time_ns, rq.ref) == (device.queue, -1, -1, -1, 5, 1)
    assert (rq.bio, rq.rq_flags) == (None, 0)


def test_an_empty_request_keeps_the_drivers_data(kernel):
    rq = request(_sector=5, _pdu="the driver's", tag=3)
    blk_core.blk_rq_init(None, rq)
    assert (rq._pdu, rq.tag, rq._sector, rq.ref) == ("the driver's", -1, -1, 1)


def test_plugs(kernel, monkeypatch):
    flushed = []

    def flush(plug, from_schedule):
        flushed.append(from_schedule)
        plug.mq_list.entries.clear()
    monkeypatch.setattr(blk_mq, "blk_mq_flush_plug_list", flush)
    outer, inner = blk_plug(), blk_plug()
    outer.rq_count = 5
    blk_core.blk_start_plug(outer)
    blk_core.blk_start_plug(inner)
    assert kernel.context.plug is outer
    assert outer.rq_count == 0
    list_add_tail(request(), outer.mq_list, "queuelist")
    blk_core.blk_finish_plug(inner)
    assert flushed == []
    blk_core.blk_flush_plug_list(outer, True)
    assert flushed == [True]
    blk_core.blk_finish_plug(outer)
    assert flushed == [True]
    assert kernel.context.plug is None
    list_add_tail(request(), outer.cb_list, "queuelist")
    with pytest.raises(KernelBug):
        blk_core.blk_flush_plug_list(outer, True)


def test_merging_into_what_is_held_back(device, kernel):
    q = device.queue
    assert blk_core.blk_attempt_plug_merge(q, device.bio(), 1) == (False, None)
    plug = blk_plug()
    blk_core.blk_start_plug(plug)
    other = Device()
    requests = [request_of(device, (8, 8)), request_of(other, (0, 8)), request_of(device, (100, 8))]
    for rq in requests:
        list_add_tail(rq, plug.mq_list, "queuelist")
    back, front = device.bio(108), device.bio(0)
    assert blk_core.blk_attempt_plug_merge(q, back, 1) == (True, requests[2])
    assert (requests[2].biotail, requests[2]._data_len) == (back, 8192)
    assert blk_core.blk_attempt_plug_merge(q, front, 1) == (True, requests[0])
    assert (requests[0].bio, requests[0]._sector, requests[0]._data_len) == (front, 0, 8192)
    assert blk_core.blk_attempt_plug_merge(q, device.bio(50), 1) == (False, requests[0])
    assert blk_core.blk_attempt_plug_merge(q, device.bio(16, 8, REQ_NOMERGE), 1) == (False, requests[0])
    q.limits.max_sectors = 16
    assert blk_core.blk_attempt_plug_merge(q, device.bio(16), 1) == (False, requests[0])
    blk_core.blk_finish_plug(blk_plug())
    kernel.context.plug = None


def test_bios_that_fail_differently_merge_all_the_same(device):
    rq = request_of(device, (8, 8))
    assert blk_core.bio_attempt_back_merge(rq, device.bio(16, 8, REQ_FAILFAST_DEV), 1)
    assert rq.rq_flags & RQF_MIXED_MERGE
    rq = request_of(device, (8, 8))
    assert blk_core.bio_attempt_front_merge(rq, device.bio(0, 8, REQ_FAILFAST_DEV), 1)
    assert rq.rq_flags & RQF_MIXED_MERGE
    device.queue.limits.max_sectors = 8
    assert not blk_core.bio_attempt_front_merge(request_of(device, (8, 8)), device.bio(0), 1)


def test_discards_gather_ranges(device):
    q = device.queue
    q.limits.max_discard_segments, q.limits.max_discard_sectors = 3, 100
    rq = request_of(device, (0, 8), cmd_flags=REQ_OP_DISCARD)
    for sector in (500, 300):
        more = device.bio(sector, 8, REQ_OP_DISCARD)
        assert blk_core.bio_attempt_discard_merge(q, rq, more)
        assert rq.biotail is more
    assert (rq._data_len, rq.nr_phys_segments) == (3 * 4096, 3)
    q.last_merge = rq
    assert not blk_core.bio_attempt_discard_merge(q, rq, device.bio(700, 8, REQ_OP_DISCARD))
    assert q.last_merge is None
    rq = request_of(device, (0, 8), cmd_flags=REQ_OP_DISCARD)
    assert not blk_core.bio_attempt_discard_merge(q, rq, device.bio(700, 96, REQ_OP_DISCARD))
