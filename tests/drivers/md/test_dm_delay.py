"""Delay: when I/O arrives below, and where."""

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel import boot
from blkmodel.drivers.md import dm_delay, dm_table
from blkmodel.include.linux.blk_types import (BLK_STS_OK, REQ_FUA, REQ_OP_DISCARD, REQ_OP_READ, REQ_OP_WRITE,
    REQ_PREFLUSH)
from blkmodel.scenario import disk
from blkmodel.services.base.err import EEXIST, EINVAL, ENODEV, ENOMEM, ENXIO
from blkmodel.services.tasks.timer import timer_pending
from blkmodel.sim import this
from blkmodel.sim.memory import PAGE_SIZE
from tests import leaks
from tests.drivers.md import control
from tests.drivers.md.disks import Disk, load
from tests.drivers.md.ios import IO, read, write

SECTORS = 2048
TICK = 4  # milliseconds


class Delayed:
    """A machine with three disks, each with data of its own, and a device on them."""

    def __init__(self, words):
        self.kernel = boot(2)
        self.disks = [load(lambda n=n: Disk(f"d{n}", bytearray(SECTORS * 512), delay=0, cache=True)) for n in range(3)]
        control.load_modules()
        for once in ("0 1 linear 240:0 0\n1 1 linear 240:1 0\n2 1 linear 240:2 0", "0 1 delay 240:0 0 1"):
            assert control.create("once", once) == 0  # what is made once and kept
            assert control.remove("once") == 0
        self.before = self.kernel.memory.totals()
        self.result = control.create("d", f"0 1024 delay {words}")

    def advance(self, milliseconds):
        self.kernel.loop.advance(milliseconds * 1_000_000)

    def waiting(self):
        """How many reads, writes and flushes wait."""
        return [int(word) for word in control.status("d").split()[3:]]


def test_a_bio_goes_on_when_its_time_has_come():
    on = Delayed("240:0 16 100")
    assert control.table("d") == "0 1024 delay 240:0 16 100"
    io = write("dm-0", 8, b"\x07" * PAGE_SIZE)
    assert on.waiting() == [0, 1, 0]
    on.advance(100 - TICK)
    assert (io.ends, on.disks[0].seen) == (0, [])
    on.advance(2 * TICK)
    assert (io.ends, io.status) == (1, BLK_STS_OK)
    assert on.waiting() == [0, 0, 0]
    assert on.disks[0].seen == [(REQ_OP_WRITE, 24, 8, BLK_STS_OK)]
    io = read("dm-0", 8, PAGE_SIZE)
    assert on.waiting() == [1, 0, 0]
    on.advance(100 + TICK)
    assert io.data == b"\x07" * PAGE_SIZE


def test_each_kind_has_its_own_way():
    on = Delayed("240:0 0 0 240:1 8 20 240:2 16 40")
    assert control.table("d") == "0 1024 delay 240:0 0 0 240:1 8 20 240:2 16 40"
    ios = [read("dm-0", 0, 512), write("dm-0", 0, bytes(512)), IO("dm-0", REQ_OP_WRITE | REQ_PREFLUSH, 0),
           IO("dm-0", REQ_OP_WRITE | REQ_FUA, 2, data=bytes(512))]
    assert on.waiting() == [0, 2, 1]
    on.advance(1)
    assert [io.ends for io in ios] == [1, 0, 0, 0]
    on.advance(20 + TICK)
    assert [io.ends for io in ios] == [1, 1, 0, 1]
    on.advance(20 + TICK)
    assert [io.ends for io in ios] == [1, 1, 1, 1]
    assert [sorted((op, sector) for op, sector, _, _ in disk.seen) for disk in on.disks[:2]] == [
        [(REQ_OP_READ, 0)], [(REQ_OP_WRITE, 8), (REQ_OP_WRITE, 10)]]
    assert len(on.disks[2].seen) == 1  # the flush


def test_two_kinds():
    on = Delayed("240:0 0 8 240:1 8 20")
    assert control.table("d") == "0 1024 delay 240:0 0 8 240:1 8 20"
    ios = [write("dm-0", 0, bytes(512)), IO("dm-0", REQ_OP_WRITE | REQ_PREFLUSH, 0)]
    on.advance(100)
    assert [io.ends for io in ios] == [1, 1]
    assert on.disks[0].seen == []


def test_the_timer_is_for_the_next_bio_alone():
    on = Delayed("240:0 0 1000 240:0 0 100")
    slow, fast = read("dm-0", 0, 512), write("dm-0", 8, bytes(512))
    on.advance(100 + TICK)
    assert (slow.ends, fast.ends) == (0, 1)
    on.advance(900 + 8 * TICK)
    assert slow.ends == 1
    assert on.kernel.loop.pending() == [] or slow.ends == 1


def test_suspending_sends_everything_on():
    on = Delayed("240:0 0 5000")
    ios = [write("dm-0", n, bytes([n]) * 512) for n in range(5)]
    assert control.suspend("d") == 0
    assert [io.ends for io in ios] == [1] * 5
    late = write("dm-0", 9, bytes(512))
    assert control.resume("d") == 0
    assert on.waiting() == [0, 1, 0]
    on.advance(4900)
    assert late.ends == 0
    on.advance(400)
    assert late.ends == 1
    assert control.remove("d") == 0
    for io in (*ios, late):
        io.free()
    on.kernel.loop.run_due()
    assert on.kernel.memory.totals() == on.before


def test_from_when_it_is_to_be_suspended_nothing_waits():
    """The device takes bios still, until its file system is frozen."""
    on = Delayed("240:0 0 5000")
    first = write("dm-0", 0, bytes(512))
    table = disk("dm-0").private_data.map
    timer = table.targets[0].private.delay_timer
    assert timer_pending(timer)
    this().task("kernel", dm_table.dm_table_presuspend_targets, table)
    second = write("dm-0", 8, bytes(512))
    assert not timer_pending(timer)
    assert on.waiting() == [0, 0, 0]
    on.advance(1)
    assert (first.ends, second.ends) == (1, 1)


def test_its_name_is_taken_once():
    on = Delayed("240:0 0 1")
    assert dm_delay.dm_delay_init() == -EEXIST
    assert on.kernel.log[-1] == "device-mapper: delay: register failed -17"


def test_discards_wait_as_writes_do():
    on = Delayed("240:0 0 0 240:1 0 20")
    io = IO("dm-0", REQ_OP_DISCARD, 0)
    on.advance(100)
    assert io.ends == 1


@pytest.mark.parametrize(("words", "error", "line"), [
    ("", EINVAL, "Requires exactly 3, 6 or 9 arguments"),
    ("240:0 0", EINVAL, "Requires exactly 3, 6 or 9 arguments"),
    ("240:0 0 1 2", EINVAL, "Requires exactly 3, 6 or 9 arguments"),
    ("240:0 -1 1", EINVAL, "Invalid device sector"),
    ("240:0 0x1 1", EINVAL, "Invalid device sector"),
    ("240:0 0 1s", EINVAL, "Invalid delay"),
    ("/dev/nosuch 0 1", ENODEV, "Device lookup failed"),
    ("240:0 0 1 240:1 0 x", EINVAL, "Invalid delay"),
    ("240:0 0 1 240:1 x 1", EINVAL, "Invalid device sector"),
    ("240:0 0 1 240:1 0 1 240:2 0 -", EINVAL, "Invalid delay"),
    ("240:0 0 1 240:1 0 1 /dev/nosuch 0 1", ENODEV, "Device lookup failed"),
])
def test_tables_that_make_no_sense(words, error, line):
    on = Delayed(words)
    assert on.result == -error
    assert f"device-mapper: table: 254:0: delay: {line}" in on.kernel.log
    on.kernel.loop.run_due()
    assert on.kernel.memory.totals() == on.before


def test_every_allocation_of_a_load_fails_once():
    on = Delayed("x")
    nth, before = 1, on.before
    while True:
        failed = on.kernel.memory.failed
        on.kernel.memory.fail_nth(nth)
        r = control.create("d", "0 1024 delay 240:0 0 1 240:1 0 2 240:2 0 3")
        happened = on.kernel.memory.failed > failed
        on.kernel.memory.fail_never()
        assert r in (0, -ENOMEM, -EINVAL, -ENXIO)
        if r == 0:
            assert control.remove("d") == 0
        on.kernel.loop.run_due()
        before = leaks.but_a_table(before, on.kernel.memory.totals())
        if not happened:
            break
        nth += 1
    assert "device-mapper: table: 254:0: delay: Cannot allocate context" in on.kernel.log
    assert "device-mapper: delay: Couldn't start kdelayd" in on.kernel.log


@given(st.lists(st.tuples(st.integers(0, 60), st.booleans(), st.integers(0, 200)), max_size=20),
       st.integers(0, 100), st.integers(0, 100))
@settings(max_examples=30)
def test_no_bio_is_early_nor_more_than_two_ticks_late(steps, read_delay, write_delay):
    on = Delayed(f"240:0 0 {read_delay} 240:1 0 {write_delay}")
    ios = []
    for later, is_write, sector in steps:
        on.advance(later)
        io = write("dm-0", sector, bytes(512)) if is_write else read("dm-0", sector, 512)
        ios.append((io, on.kernel.now + (write_delay if is_write else read_delay) * 1_000_000))
    for _ in range(120):
        on.advance(1)
        for io, due in ios:
            assert not (io.ends and on.kernel.now < due - TICK * 1_000_000)
            assert io.ends == 1 or on.kernel.now < due + 2 * TICK * 1_000_000
    assert all(io.ends == 1 for io, _ in ios)
    assert on.waiting() == [0, 0, 0]
