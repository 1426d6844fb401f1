"""Request-based devices: the queue that they get, and requests that are cloned, completed, put back and killed.

A target of the test's own stands in for multipath where that would not do what is to be seen.
"""

import pytest

from blkmodel import boot
from blkmodel.block import blk_core, blk_mq
from blkmodel.drivers.md import dm_rq, dm_target
from blkmodel.include.linux.blk_mq import BLK_MQ_MAX_DEPTH
from blkmodel.include.linux.blk_types import (BLK_STS_IOERR, BLK_STS_OK, BLK_STS_TARGET, REQ_OP_DISCARD,
    REQ_OP_WRITE_ZEROES)
from blkmodel.include.linux.blkdev import (QUEUE_FLAG_DISCARD, RQF_FAILED, bdev_get_queue, blk_plug, blk_queue_discard,
    blk_rq_bytes)
from blkmodel.include.linux.device_mapper import (DM_ENDIO_DELAY_REQUEUE, DM_ENDIO_DONE, DM_ENDIO_INCOMPLETE,
    DM_ENDIO_REQUEUE, DM_MAPIO_DELAY_REQUEUE, DM_MAPIO_KILL, DM_MAPIO_REMAPPED, DM_MAPIO_REQUEUE, DM_MAPIO_SUBMITTED,
    DM_TARGET_IMMUTABLE, target_type)
from blkmodel.scenario import disk
from blkmodel.services.base.bug import KernelBug
from blkmodel.services.base.err import EINVAL, ENOMEM
from blkmodel.sim.kernel import Context
from blkmodel.sim.structure import sizeof
from tests import leaks
from tests.drivers.md import control
from tests.drivers.md.disks import Disk, load
from tests.drivers.md.ios import IO, read, write

SECTORS = 2048
DATA = b"\x5a" * 4096


class Target:
    """A machine with a disk and a device on it, whose target does what a test says.

    answers: what mapping the next requests brings (then DM_MAPIO_REMAPPED); verdicts: what is made of the next
    statuses (then DM_ENDIO_DONE). ended: (status, bytes) of each clone.
    """

    def __init__(self, features=DM_TARGET_IMMUTABLE, size=0, **params):
        self.kernel = boot(4)
        self.disk = load(lambda: Disk("d0", bytearray(SECTORS * 512)))
        control.load_modules()
        for name, value in params.items():
            setattr(dm_rq.variables(), name, value)
        self.answers, self.verdicts, self.ended, self.kept = [], [], [], []
        self.size = size
        self.type = target_type(name="test", version=(1, 0, 0), features=features, ctr=self.ctr, dtr=self.dtr,
                                clone_and_map_rq=self.map, release_clone_rq=self.release, rq_end_io=self.end,
                                iterate_devices=self.iterate)
        assert dm_target.dm_register_target(self.type) == 0
        self.result = control.create("rq", f"0 {SECTORS} test")
        self.queue = disk("dm-0").queue if not self.result else None

    def ctr(self, ti, argc, argv):
        r, self.dev = control.dm.dm_table.dm_get_device(ti, "240:0", 3)
        ti.num_discard_bios = ti.num_write_same_bios = ti.num_write_zeroes_bios = 1
        ti.per_io_data_size = self.size
        return r

    def dtr(self, ti):
        control.dm.dm_table.dm_put_device(ti, self.dev)

    def iterate(self, ti, fn, data):
        return fn(ti, self.dev, 0, ti.len, data)

    def map(self, ti, rq, info):
        r = self.answers.pop(0) if self.answers else DM_MAPIO_REMAPPED
        self.kept.append(info.ptr)
        if r != DM_MAPIO_REMAPPED:
            return r, None
        clone = blk_core.blk_get_request(bdev_get_queue(self.dev.bdev), rq.cmd_flags, 0)
        clone.bio = clone.biotail = None
        clone.rq_disk = self.dev.bdev.bd_disk
        return r, clone

    def release(self, clone, info):
        blk_core.blk_put_request(clone)

    def end(self, ti, clone, error, info):
        self.ended.append((error, blk_rq_bytes(clone)))
        return self.verdicts.pop(0) if self.verdicts else DM_ENDIO_DONE

    def advance(self, milliseconds):
        self.kernel.loop.advance(milliseconds * 1_000_000)


@pytest.mark.parametrize(("params", "queues", "depth"), [
    ({}, 1, 2048),
    ({"dm_mq_nr_hw_queues": 3, "dm_mq_queue_depth": 16}, 3, 16),
    ({"dm_mq_nr_hw_queues": 100, "dm_mq_queue_depth": 16}, 4, 16),  # no more than CPUs
    ({"dm_mq_nr_hw_queues": 0, "dm_mq_queue_depth": 0}, 1, 2048),
    ({"dm_mq_queue_depth": 100_000}, 1, BLK_MQ_MAX_DEPTH),
])
def test_the_queue_is_what_the_parameters_say(params, queues, depth):
    on = Target(**params)
    assert on.result == 0
    assert on.queue.nr_hw_queues == queues
    assert on.queue.tag_set.queue_depth == depth
    assert on.queue.tag_set.cmd_size == sizeof(dm_rq.dm_rq_target_io)
    assert dm_rq.dm_request_based(disk("dm-0").private_data)
    assert (on.queue.elevator is not None) == (queues == 1)


def test_parameters_that_are_out_of_range_are_set_right():
    on = Target(dm_mq_nr_hw_queues=33, dm_mq_queue_depth=1 << 20, reserved_rq_based_ios=5000)
    own = dm_rq.variables()
    assert (own.dm_mq_nr_hw_queues, own.dm_mq_queue_depth, own.reserved_rq_based_ios) == (32, BLK_MQ_MAX_DEPTH, 1024)
    assert disk("dm-0").private_data.bs.bio_pool.min_nr == 1024
    assert on.result == 0


@pytest.mark.parametrize("size", [0, 16, 40])
def test_a_target_gets_room_behind_each_request(size):
    on = Target(size=size, dm_mq_queue_depth=8)
    assert on.queue.tag_set.cmd_size == sizeof(dm_rq.dm_rq_target_io) + size
    for n in range(3):
        read("dm-0", n * 8, 512)
        on.advance(1)
    if size:
        rqs = on.queue.queue_hw_ctx[0].sched_tags.static_rqs
        assert set(on.kept) <= {rq._pdu._addr + sizeof(dm_rq.dm_rq_target_io) for rq in rqs}
    else:
        assert on.kept == [None] * 3


def test_io_goes_through():
    on = Target(dm_mq_queue_depth=8)
    io = write("dm-0", 8, DATA)
    on.advance(1)
    assert (io.ends, io.status) == (1, BLK_STS_OK)
    io = read("dm-0", 8, 4096)
    on.advance(1)
    assert (io.ends, io.data) == (1, DATA)
    assert [status for status, _ in on.ended] == [BLK_STS_OK] * 2
    md = disk("dm-0").private_data
    assert md.holders == 1


@pytest.mark.parametrize(("answers", "milliseconds"), [
    ([DM_MAPIO_REQUEUE], 20),
    ([DM_MAPIO_REQUEUE] * 3, 60),
    ([DM_MAPIO_DELAY_REQUEUE], 110),
    ([DM_MAPIO_DELAY_REQUEUE, DM_MAPIO_REQUEUE, DM_MAPIO_DELAY_REQUEUE], 250),
])
def test_a_target_that_cannot_map_now_gets_the_request_again(answers, milliseconds):
    on = Target(dm_mq_queue_depth=8)
    on.answers = list(answers)
    io = write("dm-0", 0, DATA)
    on.advance(milliseconds // 2 if DM_MAPIO_DELAY_REQUEUE in answers else 0)
    if DM_MAPIO_DELAY_REQUEUE in answers:
        assert io.ends == 0
    on.advance(milliseconds)
    assert (io.ends, io.status) == (1, BLK_STS_OK)
    assert on.disk.store[:4096] == DATA
    assert disk("dm-0").private_data.holders == 1


def test_a_request_that_cannot_be_mapped_is_killed():
    on = Target(dm_mq_queue_depth=8)
    on.answers = [DM_MAPIO_KILL]
    io = write("dm-0", 0, DATA)
    on.advance(1)
    assert (io.ends, io.status) == (1, BLK_STS_IOERR)
    assert on.ended == []  # the target is not asked
    assert on.disk.seen == []
    rqs = on.queue.queue_hw_ctx[0].sched_tags.static_rqs
    assert len([rq for rq in rqs if rq.rq_flags & RQF_FAILED]) == 1
    assert disk("dm-0").private_data.holders == 1


def test_a_target_may_keep_a_request():
    on = Target(dm_mq_queue_depth=8)
    on.answers = [DM_MAPIO_SUBMITTED]
    io = write("dm-0", 0, DATA)
    on.advance(100)
    assert io.ends == 0
    tags = on.queue.queue_hw_ctx[0].tags
    rq = next(rq for rq in tags.rqs if rq is not None and rq.state)
    on.kernel.task("target", dm_rq.dm_complete_request, rq, BLK_STS_OK)
    on.advance(1)
    assert (io.ends, io.status) == (1, BLK_STS_OK)


def test_an_answer_that_nobody_knows():
    on = Target(dm_mq_queue_depth=8)
    on.answers = [77]
    with pytest.raises(KernelBug):
        write("dm-0", 0, DATA)
    assert on.kernel.log[-1] == "device-mapper: core-rq: unimplemented target map return value: 77"
    on = Target(dm_mq_queue_depth=8)
    on.verdicts = [77]
    write("dm-0", 0, DATA)
    with pytest.raises(KernelBug):
        on.advance(1)
    assert on.kernel.log[-1] == "device-mapper: core-rq: unimplemented target endio return value: 77"


@pytest.mark.parametrize(("verdict", "later"), [(DM_ENDIO_REQUEUE, 0), (DM_ENDIO_DELAY_REQUEUE, 95)])
def test_a_target_may_want_a_request_again(verdict, later):
    on = Target(dm_mq_queue_depth=8)
    on.verdicts = [verdict]
    on.disk.status = BLK_STS_IOERR
    on.disk.delay = 2_000_000
    io = write("dm-0", 0, DATA)
    on.advance(3)
    on.disk.status = BLK_STS_OK
    assert io.ends == 0
    on.advance(later)
    assert io.ends == 0
    on.advance(10)
    assert (io.ends, io.status) == (1, BLK_STS_OK)
    assert on.disk.store[:4096] == DATA
    assert on.ended == [(BLK_STS_IOERR, 0), (BLK_STS_OK, 0)]
    assert disk("dm-0").private_data.holders == 1


def test_a_target_may_deal_with_the_end_itself():
    on = Target(dm_mq_queue_depth=8)
    on.verdicts = [DM_ENDIO_INCOMPLETE]
    write("dm-0", 0, DATA)
    on.advance(100)
    assert disk("dm-0").private_data.holders == 2
    assert len(on.ended) == 1


def test_an_error_is_passed_on_with_the_data_that_was_done_before_it():
    """Bios of a clone that came before the one that failed have ended well; the clone's status is for the rest."""
    on = Target(dm_mq_queue_depth=8)
    on.disk.status = BLK_STS_IOERR
    io = write("dm-0", 0, DATA)
    on.advance(1)
    assert (io.ends, io.status) == (1, BLK_STS_IOERR)
    assert [status for status, _ in on.ended] == [BLK_STS_IOERR]


@pytest.mark.parametrize("whole", [0, 1, 2, 3])
def test_bios_that_were_done_before_an_error_end_well(whole):
    """The disk does so many of a request's three bios, then fails."""
    on = Target(dm_mq_queue_depth=8)

    def partly(rq):
        if whole:
            blk_core.blk_update_request(rq, BLK_STS_OK, whole * 4096)
        if whole < 3:
            blk_mq.blk_mq_end_request(rq, BLK_STS_IOERR)
        else:
            blk_mq.__blk_mq_end_request(rq, BLK_STS_OK)
    on.disk.set.ops.complete = partly
    plug = blk_plug()

    def plugged():
        blk_core.blk_start_plug(plug)
        ios = [write("dm-0", n * 8, DATA, cpu=None) for n in range(3)]
        blk_core.blk_finish_plug(plug)
        return ios
    ios = on.kernel.run_in(Context("task", "plugger", 0), plugged)
    on.advance(1)
    assert [(io.ends, io.status) for io in ios] == [(1, BLK_STS_OK if n < whole else BLK_STS_IOERR) for n in range(3)]
    assert [status for status, _ in on.ended] == [BLK_STS_OK if whole == 3 else BLK_STS_IOERR]


@pytest.mark.parametrize(("op", "limit"), [(REQ_OP_DISCARD, "max_discard_sectors"),
                                           (REQ_OP_WRITE_ZEROES, "max_write_zeroes_sectors")])
def test_an_operation_that_the_device_below_turns_out_not_to_have_is_not_asked_for_again(op, limit):
    on = Target(dm_mq_queue_depth=8)
    for q in (on.queue, on.disk.queue):
        for name in ("max_discard_sectors", "max_write_same_sectors", "max_write_zeroes_sectors"):
            setattr(q.limits, name, 1024)
        q.limits.discard_granularity = 512
        blk_core.blk_queue_flag_set(QUEUE_FLAG_DISCARD, q)
    on.disk.status = BLK_STS_TARGET

    def gone():
        setattr(on.disk.queue.limits, limit, 0)
    io = IO("dm-0", op, 0)
    io_2 = None
    assert io.ends == 0 or io.status == BLK_STS_TARGET
    on.advance(1)
    assert getattr(on.queue.limits, limit) == 1024  # it has it, and failed all the same
    gone()
    io_2 = IO("dm-0", op, 0, before=lambda: setattr(on.disk.queue.limits, limit, 1024))
    gone()
    on.advance(1)
    assert io_2.ends == 1
    assert getattr(on.queue.limits, limit) == 0
    if op == REQ_OP_DISCARD:
        assert not blk_queue_discard(on.queue)


def test_a_device_whose_target_is_not_immutable_looks_it_up():
    """An error target may replace any: requests that come then fail."""
    on = Target(dm_mq_queue_depth=8)
    assert control.suspend("rq") == 0
    assert control.load("rq", f"0 {SECTORS} error") == 0
    io = write("dm-0", 0, DATA)
    assert control.resume("rq") == 0
    on.advance(1)
    assert (io.ends, io.status) == (1, BLK_STS_IOERR)
    assert disk("dm-0").private_data.immutable_target is None


def test_suspending_waits_for_what_is_under_way_and_keeps_the_rest():
    on = Target(dm_mq_queue_depth=8)
    on.disk.delay = 50_000_000
    first = write("dm-0", 0, DATA)
    assert control.suspend("rq") == 0
    assert first.ends == 1
    second = write("dm-0", 8, DATA)
    on.advance(1000)
    assert second.ends == 0
    assert control.resume("rq") == 0
    on.advance(100)
    assert second.ends == 1


def test_every_allocation_of_the_queue_fails_once():
    on = Target(dm_mq_queue_depth=4, dm_mq_nr_hw_queues=2, reserved_rq_based_ios=2)
    assert control.remove("rq") == 0
    on.kernel.loop.run_due()
    before = leaks.kinds(on.kernel.memory)
    nth = 1
    lost = 0
    while True:
        assert control.create("rq") == 0
        failed = on.kernel.memory.failed
        on.kernel.memory.fail_nth(nth)
        r = control.load("rq", f"0 {SECTORS} test")
        happened = on.kernel.memory.failed > failed
        on.kernel.memory.fail_never()
        assert r in (0, -ENOMEM, -EINVAL)
        if not r:
            assert control.resume("rq") == 0
            io = write("dm-0", 0, DATA)
            on.advance(1)
            assert io.status == BLK_STS_OK
            io.free()
        assert control.remove("rq") == 0
        on.kernel.loop.run_due()
        after = leaks.kinds(on.kernel.memory)
        lost += bool(leaks.lost(before, after))
        before = after
        if not happened:
            break
        nth += 1
    assert nth > 40
    assert 0 < lost < 20


def test_a_device_whose_queue_could_not_be_made_is_of_no_use():
    """The kernel notes the kind of the device before it makes the queue, and does not look whether there is one."""
    on = Target(dm_mq_queue_depth=4)
    assert control.remove("rq") == 0
    assert control.create("rq") == 0
    on.kernel.memory.fail_if(lambda kind, size: kind == "blk_mq_tags")
    assert control.load("rq", f"0 {SECTORS} test") == -ENOMEM
    on.kernel.memory.fail_never()
    assert on.kernel.log[-3:] == ["blk-mq: failed to allocate request map",
                                  "device-mapper: core: Cannot initialize queue for request-based dm-mq mapped device",
                                  "device-mapper: ioctl: unable to set up device queue for new table."]
    assert disk("dm-0").private_data.tag_set is None
    assert control.load("rq", f"0 {SECTORS} test") == 0
    assert not dm_rq.dm_request_based(disk("dm-0").private_data)
    assert control.remove("rq") == 0
    assert control.create("rq", f"0 {SECTORS} test") == 0
    assert dm_rq.dm_request_based(disk("dm-0").private_data)
