"""Multipath: which path I/O takes, what becomes of it when paths fail, and what the table's words may be."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blkmodel import boot
from blkmodel.include.linux.blk_types import (
    BLK_STS_IOERR,
    BLK_STS_MEDIUM,
    BLK_STS_OK,
    BLK_STS_RESOURCE,
    BLK_STS_TARGET,
    BLK_STS_TRANSPORT,
)
from blkmodel.include.linux.errno import EBUSY, EINVAL, ENXIO
from tests.drivers.md import control
from tests.drivers.md.disks import Disk, load
from tests.drivers.md.ios import read, write

MS = 1_000_000
SECTORS = 2048
MODES = pytest.mark.parametrize("mode", ["rq", "bio"])


class Paths:
    """A machine with disks that lead to the same data, and device mapper."""

    def __init__(self, count, cpus=2, **more):
        self.kernel = boot(cpus)
        self.store = bytearray(SECTORS * 512)
        self.disks = [load(lambda n=n: Disk(f"p{n}", self.store, **more)) for n in range(count)]
        control.load_modules()
        self.memory = self.kernel.memory.totals()

    def table(self, groups, mode="rq", features=(), first=1, selector="round-robin"):
        """The words of a table: for each group the numbers of its disks."""
        features = [*features, *(["queue_mode", mode] if mode != "rq" else [])]
        words = [len(features), *features, 0, len(groups), first if groups else 0]
        for group in groups:
            words += [selector, 0, len(group), 1]
            for n in group:
                words += [self.disks[n].number, 1]
        return f"0 {SECTORS} multipath {' '.join(map(str, words))}"

    def create(self, *groups, **more):
        assert control.create("mp", self.table(groups, **more)) == 0

    def state(self):
        """Of each group its state and its paths' states, such as `A:AF E:A`."""
        words = control.status("mp").split()[3:]
        found = []
        groups, words = int(words[4]), words[6:]
        for _ in range(groups):
            state, count, each = words[0], int(words[2]), int(words[3])
            words = words[4:]
            found.append(f"{state}:{''.join(words[i * (3 + each) + 1] for i in range(count))}")
            words = words[count * (3 + each):]
        return " ".join(found)

    def seen(self):
        """How many requests each disk has ended."""
        return [len(disk.seen) for disk in self.disks]

    def advance(self, milliseconds):
        self.kernel.loop.advance(milliseconds * MS)


def blocks(count):
    return [bytes([n + 1]) * 4096 for n in range(count)]


# ---------------------------------------------------------------- choosing


@MODES
def test_round_robin_goes_over_the_paths_of_the_first_group(mode):
    on = Paths(3)
    on.create([0, 1], [2], mode=mode)
    for n, data in enumerate(blocks(6)):
        write("dm-0", n * 8, data)
        on.advance(1)
    assert on.seen() == [3, 3, 0]
    assert on.state() == "A:AA E:A"
    assert bytes(on.store[:6 * 4096]) == b"".join(blocks(6))


@MODES
def test_the_group_that_the_table_says_is_the_first(mode):
    on = Paths(3)
    on.create([0], [1], [2], mode=mode, first=2)
    assert on.state() == "E:A E:A E:A"
    assert control.status("mp").split()[3:9] == ["2", "1", "0", "0", "3", "2"]
    read("dm-0", 0, 4096)
    on.advance(1)
    assert on.seen() == [0, 1, 0]
    assert on.state() == "E:A A:A E:A"


@MODES
def test_service_time_prefers_the_path_that_can_carry_more(mode):
    on = Paths(2, delay=MS)
    features = "" if mode == "rq" else "2 queue_mode bio "
    table = (f"0 {SECTORS} multipath {features or '0 '}0 1 1 service-time 0 2 2 {on.disks[0].number} 1 1 "
             f"{on.disks[1].number} 1 3")
    assert control.create("mp", table) == 0
    shown = table.replace(" 2 queue_mode", " 3 retain_attached_hw_handler queue_mode")
    assert control.table("mp") == shown + " "
    for n in range(8):
        read("dm-0", n * 8, 4096)
    assert control.status("mp").endswith(f"{on.disks[0].number} A 0 8192 1 {on.disks[1].number} A 0 24576 3 ")
    on.advance(20)
    assert on.seen() == [2, 6]
    assert control.status("mp").endswith(f"{on.disks[0].number} A 0 0 1 {on.disks[1].number} A 0 0 3 ")


@MODES
def test_groups_can_be_switched_disabled_and_enabled(mode):
    on = Paths(3)
    on.create([0], [1], [2], mode=mode)

    def used():
        before = on.seen()
        read("dm-0", 0, 512)
        on.advance(1)
        return [after - was for after, was in zip(on.seen(), before, strict=True)].index(1) + 1
    assert used() == 1
    assert control.message("mp", "switch_group 3") == 0
    assert used() == 3
    assert control.message("mp", "disable_group 3") == 0
    assert on.state() == "E:A E:A D:A"
    assert used() == 1
    assert control.message("mp", "disable_group 1") == 0
    assert control.message("mp", "disable_group 2") == 0
    # all of them are disabled: then the first does
    assert used() == 1
    assert on.state() == "D:A D:A D:A"
    assert control.message("mp", "enable_group 2") == 0
    assert used() == 2
    assert on.state() == "D:A A:A D:A"
    # whoever is switched to, none is disabled any more
    assert control.message("mp", "Switch_Group 1") == 0
    assert on.state() == "E:A E:A E:A"
    assert used() == 1


@pytest.mark.parametrize(("text", "line"), [
    ("switch_group 0", "invalid PG number supplied to switch_pg_num"),
    ("switch_group 3", "invalid PG number supplied to switch_pg_num"),
    ("switch_group 1x", "invalid PG number supplied to switch_pg_num"),
    ("disable_group x", "invalid PG number supplied to bypass_pg"),
    ("enable_group 3", "invalid PG number supplied to bypass_pg"),
    ("fail_path", "Invalid multipath message arguments. Expected 2 arguments, got 1."),
    ("queue_if_no_path now please", "Invalid multipath message arguments. Expected 2 arguments, got 3."),
    ("brush teeth", "Unrecognised multipath message received: brush"),
    ("fail_path nowhere", "message: error getting device nowhere"),
])
def test_messages_that_make_no_sense(text, line):
    on = Paths(2)
    on.create([0], [1])
    before = control.status("mp"), on.kernel.memory.totals()
    assert control.message("mp", text) < 0
    assert on.kernel.log[-1] == f"device-mapper: multipath: {line}"
    assert (control.status("mp"), on.kernel.memory.totals()) == before


def test_a_message_about_a_device_that_is_no_path():
    on = Paths(2)
    on.create([0])
    before = on.kernel.memory.totals()
    assert control.message("mp", f"fail_path {on.disks[1].number}") == -EINVAL
    assert on.state() == "E:A"
    assert on.kernel.memory.totals() == before
    assert control.message("mp", "fail_path 240:77") == -ENXIO


def test_no_messages_while_suspended():
    on = Paths(1)
    on.create([0])
    assert control.suspend("mp") == 0
    assert control.message("mp", "queue_if_no_path") == -EBUSY
    assert control.resume("mp") == 0
    assert control.message("mp", "queue_if_no_path") == 0


# ---------------------------------------------------------------- failing


@MODES
@pytest.mark.parametrize("status", [BLK_STS_IOERR, BLK_STS_TRANSPORT, BLK_STS_RESOURCE])
def test_a_path_that_fails_is_taken_out_and_its_io_goes_down_another(mode, status):
    on = Paths(2)
    on.create([0], [1], mode=mode)
    on.disks[0].status = status
    data = blocks(1)[0]
    io = write("dm-0", 0, data)
    on.advance(200)
    assert (io.ends, io.status) == (1, BLK_STS_OK)
    assert bytes(on.store[:4096]) == data
    assert on.state() == "E:F A:A"
    assert on.seen() == [1, 1]
    assert on.kernel.log[-1] == f"device-mapper: multipath: Failing path {on.disks[0].number}."
    words = control.status("mp").split()
    assert words[words.index(on.disks[0].number) + 1:][:2] == ["F", "1"]


@MODES
@pytest.mark.parametrize("status", [BLK_STS_TARGET, BLK_STS_MEDIUM])
def test_an_error_that_no_path_would_cure_is_passed_on(mode, status):
    on = Paths(2)
    on.create([0], [1], mode=mode)
    on.disks[0].status = status
    io = read("dm-0", 0, 4096)
    on.advance(200)
    assert (io.ends, io.status) == (1, status)
    assert on.state() == "A:A E:A"
    assert on.seen() == [1, 0]


@MODES
def test_without_any_path_io_fails(mode):
    on = Paths(2)
    on.create([0, 1], mode=mode)
    for disk in on.disks:
        disk.status = BLK_STS_IOERR
    first = read("dm-0", 0, 4096)
    on.advance(200)
    second = read("dm-0", 0, 4096)
    on.advance(200)
    assert [(io.ends, io.status) for io in (first, second)] == [(1, BLK_STS_IOERR)] * 2
    assert on.seen() == [1, 1]
    assert on.state() == "E:FF"


@MODES
def test_queue_if_no_path_holds_io_until_a_path_is_back(mode):
    on = Paths(2)
    on.create([0, 1], mode=mode, features=["queue_if_no_path"])
    for disk in on.disks:
        disk.status = BLK_STS_IOERR
    wanted = blocks(5)
    ios = [write("dm-0", n * 8, data) for n, data in enumerate(wanted)]
    on.advance(3000)
    assert [io.ends for io in ios] == [0] * 5
    assert on.state() == "E:FF"
    on.disks[1].status = BLK_STS_OK
    assert control.message("mp", f"reinstate_path {on.disks[1].number}") == 0
    on.advance(200)
    assert [(io.ends, io.status) for io in ios] == [(1, BLK_STS_OK)] * 5
    assert bytes(on.store[:5 * 4096]) == b"".join(wanted)
    assert on.state() == "A:FA"
    assert sum(sectors for _, _, sectors, status in on.disks[1].seen if status == BLK_STS_OK) == 5 * 8


@MODES
def test_fail_if_no_path_lets_what_waits_fail(mode):
    on = Paths(1)
    on.create([0], mode=mode)
    assert control.message("mp", "queue_if_no_path") == 0
    assert control.table("mp").split()[3:5] == ["1" if mode == "rq" else "4", "queue_if_no_path"]
    on.disks[0].status = BLK_STS_IOERR
    ios = [read("dm-0", n * 8, 4096) for n in range(3)]
    on.advance(1000)
    assert [io.ends for io in ios] == [0] * 3
    assert control.message("mp", "fail_if_no_path") == 0
    on.advance(200)
    assert [(io.ends, io.status) for io in ios] == [(1, BLK_STS_IOERR)] * 3


@MODES
@pytest.mark.parametrize("noflush", [False, True])
def test_suspending_lets_go_of_what_waits_or_keeps_it(mode, noflush):
    """To suspend, all I/O must end: what has no path fails, or, without flushing, waits in the core till it goes on."""
    on = Paths(1)
    on.create([0], mode=mode, features=["queue_if_no_path"])
    on.disks[0].status = BLK_STS_IOERR
    ios = [read("dm-0", n * 8, 4096) for n in range(3)]
    on.advance(1000)
    assert control.suspend("mp", noflush) == 0
    assert [io.ends for io in ios] == [0 if noflush else 1] * 3
    if not noflush:
        assert {io.status for io in ios} == {BLK_STS_IOERR}
    late = read("dm-0", 64, 4096)
    on.disks[0].status = BLK_STS_OK
    on.advance(1000)
    assert late.ends == 0
    assert control.resume("mp") == 0
    # queue_if_no_path is as it was
    assert "queue_if_no_path" in control.table("mp")
    assert control.message("mp", f"reinstate_path {on.disks[0].number}") == 0
    on.advance(200)
    assert (late.ends, late.status) == (1, BLK_STS_OK)
    assert [(io.ends, io.status) for io in ios] == [(1, BLK_STS_OK if noflush else BLK_STS_IOERR)] * 3


@MODES
def test_paths_fail_and_come_back_by_message_too(mode):
    on = Paths(2)
    on.create([0, 1], mode=mode)
    first = on.disks[0].number
    events = on.kernel.task("w", control.ioctl, control.DM_TABLE_STATUS_CMD)[0]
    assert control.message("mp", f"fail_path {first}") == 0
    assert control.message("mp", f"fail_path {first}") == 0  # it has failed already
    assert on.state() == "E:FA"
    assert events < 0
    for n in range(4):
        read("dm-0", n * 8, 512)
        on.advance(1)
    assert on.seen() == [0, 4]
    assert control.message("mp", f"reinstate_path {first}") == 0
    assert control.message("mp", f"reinstate_path {first}") == 0
    assert on.state() == "A:AA"
    for n in range(4):
        read("dm-0", n * 8, 512)
        on.advance(1)
    assert on.seen() == [2, 6]
    assert [line for line in on.kernel.log if "path" in line][-2:] == [
        f"device-mapper: multipath: Failing path {first}.", f"device-mapper: multipath: Reinstating path {first}."]
