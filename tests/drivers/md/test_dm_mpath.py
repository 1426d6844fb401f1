"""Multipath: which path I/O takes, what becomes of it when paths fail, and what the table's words may be."""

from functools import partial

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel import boot, scenario
from blkmodel.block.blk_core import blk_finish_plug, blk_queue_flag_set, blk_start_plug
from blkmodel.block.blk_mq import blk_freeze_queue_start
from blkmodel.drivers.md import dm_mpath, dm_rq
from blkmodel.drivers.md.dm_bio_record_h import dm_bio_details
from blkmodel.errors import NotModelled
from blkmodel.fs.block_dev import bdput, lookup_bdev
from blkmodel.include.linux.blk_types import (BLK_STS_DEV_RESOURCE, BLK_STS_IOERR, BLK_STS_MEDIUM, BLK_STS_OK,
    BLK_STS_RESOURCE, BLK_STS_TARGET, BLK_STS_TRANSPORT, REQ_OP_WRITE)
from blkmodel.include.linux.blkdev import QUEUE_FLAG_DYING, blk_plug
from blkmodel.include.linux.dm_ioctl import DM_DEV_STATUS_CMD
from blkmodel.services.base.err import EBUSY, EINVAL, EIO, ENOMEM, ENXIO
from blkmodel.services.devices.kobject import sysfs
from blkmodel.services.files.file import O_RDONLY, filp_open, vfs_ioctl
from blkmodel.sim.kernel import Context
from blkmodel.sim.structure import sizeof
from tests import leaks
from tests.drivers.md import control
from tests.drivers.md.disks import Disk, load
from tests.drivers.md.ios import IO, read, write

MS = 1_000_000
SECTORS = 2048


class Paths:
    """A machine with disks that lead to the same data, and device mapper."""

    def __init__(self, count, cpus=2, **more):
        self.kernel = boot(cpus)
        self.store = bytearray(SECTORS * 512)
        self.disks = [load(lambda n=n: Disk(f"p{n}", self.store, **more)) for n in range(count)]
        control.load_modules()
        params = dm_rq.variables()
        params.dm_mq_queue_depth, params.reserved_rq_based_ios = 64, 8
        self.create(range(count))  # what is made once and kept
        assert control.remove("mp") == 0

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


def test_round_robin_goes_over_the_paths_of_the_first_group():
    on = Paths(3)
    on.create([0, 1], [2])
    for n, data in enumerate(blocks(6)):
        write("dm-0", n * 8, data)
        on.advance(1)
    assert on.seen() == [3, 3, 0]
    assert on.state() == "A:AA E:A"
    assert bytes(on.store[:6 * 4096]) == b"".join(blocks(6))


def test_the_group_that_the_table_says_is_the_first():
    on = Paths(3)
    on.create([0], [1], [2], first=2)
    assert on.state() == "E:A E:A E:A"
    assert control.status("mp").split()[3:9] == ["2", "1", "0", "0", "3", "2"]
    read("dm-0", 0, 4096)
    on.advance(1)
    assert on.seen() == [0, 1, 0]
    assert on.state() == "E:A A:A E:A"


def test_service_time_prefers_the_path_that_can_carry_more():
    on = Paths(2, delay=MS)
    table = (f"0 {SECTORS} multipath 0 0 1 1 service-time 0 2 2 {on.disks[0].number} 1 1 "
             f"{on.disks[1].number} 1 3")
    assert control.create("mp", table) == 0
    assert control.table("mp") == table + " "
    for n in range(8):
        read("dm-0", n * 8, 4096)
    assert control.status("mp").endswith(f"{on.disks[0].number} A 0 8192 1 {on.disks[1].number} A 0 24576 3 ")
    on.advance(20)
    assert on.seen() == [2, 6]
    assert control.status("mp").endswith(f"{on.disks[0].number} A 0 0 1 {on.disks[1].number} A 0 0 3 ")


def test_groups_can_be_switched_disabled_and_enabled():
    on = Paths(3)
    on.create([0], [1], [2])

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


@pytest.mark.parametrize("status", [BLK_STS_IOERR, BLK_STS_TRANSPORT, BLK_STS_RESOURCE])
def test_a_path_that_fails_is_taken_out_and_its_io_goes_down_another(status):
    on = Paths(2)
    on.create([0], [1])
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


@pytest.mark.parametrize("status", [BLK_STS_TARGET, BLK_STS_MEDIUM])
def test_an_error_that_no_path_would_cure_is_passed_on(status):
    on = Paths(2)
    on.create([0], [1])
    on.disks[0].status = status
    io = read("dm-0", 0, 4096)
    on.advance(200)
    assert (io.ends, io.status) == (1, status)
    assert on.state() == "A:A E:A"
    assert on.seen() == [1, 0]


def test_without_any_path_io_fails():
    on = Paths(2)
    on.create([0, 1])
    for disk in on.disks:
        disk.status = BLK_STS_IOERR
    first = read("dm-0", 0, 4096)
    on.advance(200)
    second = read("dm-0", 0, 4096)
    on.advance(200)
    assert [(io.ends, io.status) for io in (first, second)] == [(1, BLK_STS_IOERR)] * 2
    assert on.seen() == [1, 1]
    assert on.state() == "E:FF"


def test_queue_if_no_path_holds_io_until_a_path_is_back():
    on = Paths(2)
    on.create([0, 1], features=["queue_if_no_path"])
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


def test_fail_if_no_path_lets_what_waits_fail():
    on = Paths(1)
    on.create([0])
    assert control.message("mp", "queue_if_no_path") == 0
    assert control.table("mp").split()[3:5] == ["1", "queue_if_no_path"]
    on.disks[0].status = BLK_STS_IOERR
    ios = [read("dm-0", n * 8, 4096) for n in range(3)]
    on.advance(1000)
    assert [io.ends for io in ios] == [0] * 3
    assert control.message("mp", "fail_if_no_path") == 0
    on.advance(200)
    assert [(io.ends, io.status) for io in ios] == [(1, BLK_STS_IOERR)] * 3


@pytest.mark.parametrize("noflush", [False, True])
def test_suspending_lets_go_of_what_waits_or_keeps_it(noflush):
    """To suspend, all I/O must end: what has no path fails, or, without flushing, waits in the core till it goes on."""
    on = Paths(1)
    on.create([0], features=["queue_if_no_path"])
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


def test_paths_fail_and_come_back_by_message_too():
    on = Paths(2)
    on.create([0, 1])
    first = on.disks[0].number
    assert control.message("mp", f"fail_path {first}") == 0
    assert control.message("mp", f"fail_path {first}") == 0  # it has failed already
    assert on.state() == "E:FA"
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


def test_user_space_hears_of_paths():
    on = Paths(2)
    on.create([0, 1])
    sysfs().uevents.clear()
    event = control.ioctl(DM_DEV_STATUS_CMD, name="mp")[1].event_nr
    control.message("mp", f"fail_path {on.disks[1].number}")
    control.message("mp", f"reinstate_path {on.disks[1].number}")
    assert control.ioctl(DM_DEV_STATUS_CMD, name="mp")[1].event_nr == event + 2
    told = [words for action, name, words in sysfs().uevents if (action, name) == ("change", "dm-0")]
    assert [words[:7] for words in told] == [
        ("DM_TARGET=multipath", f"DM_ACTION=PATH_{what}", f"DM_SEQNUM={n}", f"DM_PATH={on.disks[1].number}",
         f"DM_NR_VALID_PATHS={left}", "DM_NAME=mp", "DM_UUID=")
        for n, (what, left) in enumerate([("FAILED", 1), ("REINSTATED", 2)], 1)]
    assert not [each for each in on.kernel.memory.live.values() if each.kind == "dm_uevent"]


def test_user_space_does_not_hear_of_the_paths_of_a_device_that_has_lost_its_name():
    on = Paths(1)
    on.create([0])
    sysfs().uevents.clear()
    md = scenario.disk("dm-0").private_data
    cell, md.interface_ptr = md.interface_ptr, None
    on.kernel.task("kernel", dm_mpath.fail_path, next(iter(next(iter(multipath().priority_groups)).pgpaths)))
    on.advance(1)
    assert on.kernel.log[-1] == "device-mapper: uevent: dm_send_uevents: skipping sending uevent for lost device"
    assert sysfs().uevents == []
    md.interface_ptr = cell


def test_user_space_does_not_hear_of_them_without_memory():
    on = Paths(2)
    on.create([0, 1])
    sysfs().uevents.clear()
    on.kernel.memory.fail_if(lambda kind, size: kind == "dm_uevent")
    assert control.message("mp", f"fail_path {on.disks[1].number}") == 0
    assert on.state() == "E:AF"
    assert on.kernel.log[-1] == "device-mapper: uevent: dm_build_path_uevent: dm_uevent_alloc() failed"
    assert sysfs().uevents == []


# ---------------------------------------------------------------- requests below


def test_a_clone_goes_past_the_scheduler_below_with_its_own_limits():
    """Requests are merged above; their clones carry all their bios, and are not merged again."""
    on = Paths(1, delay=MS)
    on.create([0])
    plug = blk_plug()
    task = Context("task", "plugger", 0)

    def plugged():
        blk_start_plug(plug)
        ios = [write("dm-0", n * 8, data, cpu=None) for n, data in enumerate(blocks(4))]
        blk_finish_plug(plug)
        return ios
    ios = on.kernel.run_in(task, plugged)
    on.advance(5)
    assert [(io.ends, io.status) for io in ios] == [(1, BLK_STS_OK)] * 4
    assert on.disks[0].seen == [(REQ_OP_WRITE, 0, 32, BLK_STS_OK)]
    assert bytes(on.store[:4 * 4096]) == b"".join(blocks(4))


def test_more_requests_than_the_path_has_tags():
    on = Paths(1, depth=2, delay=MS)
    on.create([0])
    wanted = blocks(12)
    ios = [write("dm-0", n * 16, data) for n, data in enumerate(wanted)]
    on.advance(200)
    assert [(io.ends, io.status) for io in ios] == [(1, BLK_STS_OK)] * 12
    for n, data in enumerate(wanted):
        assert bytes(on.store[n * 8192:n * 8192 + 4096]) == data
    assert on.state() == "A:A"


@pytest.mark.parametrize("status", [BLK_STS_RESOURCE, BLK_STS_DEV_RESOURCE])
def test_a_driver_that_refuses_a_clone_gets_it_again(status):
    on = Paths(2)
    on.create([0, 1], selector="service-time")
    for disk in on.disks:
        disk.refusals = [status] * 2
    io = write("dm-0", 0, blocks(1)[0])
    on.advance(200)
    assert (io.ends, io.status) == (1, BLK_STS_OK)
    assert on.state() == "A:AA"
    # what did not go down is not counted as under way
    assert control.status("mp").count(" A 0 0 1") == 2


def test_a_driver_that_fails_a_clone_at_once_fails_the_path():
    on = Paths(2)
    on.create([0], [1])
    on.disks[0].refusals = [BLK_STS_IOERR]
    io = write("dm-0", 0, blocks(1)[0])
    on.advance(200)
    assert (io.ends, io.status) == (1, BLK_STS_OK)
    assert on.state() == "E:F A:A"
    assert on.seen() == [0, 1]


def test_without_memory_for_its_bios_a_clone_is_made_later():
    on = Paths(1)
    on.create([0])
    refused: list[int] = []

    def short(kind, size):
        if kind == "bio" and len(refused) < 300:
            refused.append(size)
            return True
        return False
    io = IO("dm-0", REQ_OP_WRITE, 0, data=blocks(1)[0], before=lambda: on.kernel.memory.fail_if(short))
    on.advance(200)
    on.kernel.memory.fail_never()
    assert refused
    assert (io.ends, io.status) == (1, BLK_STS_OK)
    assert on.state() == "A:A"


def test_a_busy_path_keeps_requests_above_where_they_merge():
    on = Paths(2)
    on.create([0, 1])
    read("dm-0", 0, 512)
    on.advance(1)
    for disk in on.disks:
        disk.busy = True
    ios = [write("dm-0", n * 8, data) for n, data in enumerate(blocks(3))]
    on.advance(1)
    assert [io.ends for io in ios] == [0] * 3
    assert sum(on.seen()) == 1
    on.disks[1].busy = False
    on.advance(10)
    assert [io.ends for io in ios] == [1] * 3
    assert on.seen()[1] == 1  # one request, of three bios
    assert bytes(on.store[:3 * 4096]) == b"".join(blocks(3))


def test_a_path_whose_disk_is_gone_fails():
    on = Paths(2)
    on.create([0], [1])
    read("dm-0", 0, 512)
    on.advance(1)
    blk_queue_flag_set(QUEUE_FLAG_DYING, on.disks[0].queue)
    blk_freeze_queue_start(on.disks[0].queue)
    io = read("dm-0", 0, 4096)
    on.advance(500)
    assert (io.ends, io.status) == (1, BLK_STS_OK)
    assert on.state() == "E:F A:A"
    assert control.remove("mp") == 0


def multipath():
    """What multipath keeps of the device."""
    return scenario.disk("dm-0").private_data.map.targets[0].private


# ---------------------------------------------------------------- ioctls


class Asked:
    """A device on two paths, open; each path's disk answers ioctls."""

    def __init__(self, table=None, **more):
        self.on = Paths(2)
        self.asked = []
        for each in self.on.disks:
            each.disk.fops.ioctl = self.answer
        assert control.create("mp", table(self.on) if table else self.on.table([[0, 1]], **more)) == 0
        self.filp = self.on.kernel.task("user", filp_open, "dm-0", O_RDONLY)

    def answer(self, bdev, mode, cmd, arg):
        self.asked.append((bdev.bd_disk.disk_name, cmd, arg))
        return 5

    def ask(self):
        return self.on.kernel.task("user", vfs_ioctl, self.filp, 0x5310, "arg")


def test_an_ioctl_goes_down_the_paths_by_turns():
    device = Asked()
    assert [device.ask() for _ in range(2)] == [5] * 2
    assert sorted(device.asked) == [("p0", 0x5310, "arg"), ("p1", 0x5310, "arg")]
    control.message("mp", f"fail_path {device.on.disks[0].number}")
    assert [device.ask() for _ in range(2)] == [5] * 2
    assert [name for name, *_ in device.asked[2:]] == ["p1"] * 2
    control.message("mp", f"fail_path {device.on.disks[1].number}")
    assert device.ask() == -EIO


def test_an_ioctl_waits_for_a_path_where_io_would():
    device = Asked(features=["queue_if_no_path"])
    for each in device.on.disks:
        control.message("mp", f"fail_path {each.number}")
    before = device.on.kernel.loop.now
    device.on.kernel.loop.post(Context("task", "multipathd", 0), lambda: dm_mpath.reinstate_path(
        next(iter(next(iter(multipath().priority_groups)).pgpaths))), 55 * MS)
    assert device.ask() == 5
    assert [name for name, *_ in device.asked] == ["p0"]
    assert device.on.kernel.loop.now - before >= 55 * MS


@pytest.mark.parametrize(("sectors", "part"), [(SECTORS, 0), (SECTORS - 8, 1)])
def test_which_path_an_ioctl_is_for(sectors, part):
    on = Paths(1)
    assert control.create("mp", on.table([[0]]).replace(f"0 {SECTORS}", f"0 {sectors}", 1)) == 0
    r, bdev = on.kernel.task("user", dm_mpath.multipath_prepare_ioctl, multipath().ti)
    assert (r, bdev.bd_disk) == (part, on.disks[0].disk)


# ---------------------------------------------------------------- what is kept


def test_what_is_kept_of_paths_and_bios():
    on = Paths(3)
    on.create([0, 1], [2], mode="bio")
    kept = sizeof(dm_mpath.dm_mpath_io) + sizeof(dm_bio_details)
    md = scenario.disk("dm-0").private_data
    assert (multipath().ti.per_io_data_size, dm_mpath.multipath_per_bio_data_size()) == (kept, kept)
    assert md.bs.front_pad == (kept + 7) // 8 * 8 + 48
    groups = [pg.pgpaths for pg in multipath().priority_groups]
    assert [len(list(paths)) for paths in groups] == [2, 1]
    assert control.remove("mp") == 0
    assert [list(paths) for paths in groups] == [[], []]


def test_a_table_that_names_a_hardware_handler_is_not_modelled():
    on = Paths(1)
    assert control.create("mp") == 0
    before = list(on.kernel.log)
    with pytest.raises(NotModelled, match="multipath's hardware handler alua is not modelled"):
        control.load("mp", on.table([[0]]).replace("multipath 0 0", "multipath 0 1 alua"))
    assert on.kernel.log == before
    assert control.remove("mp") == 0  # which waits for all who hold the device


def test_a_device_of_bios_can_be_made_but_takes_none():
    on = Paths(1)
    on.create([0], mode="bio")
    with pytest.raises(NotModelled, match="queue_mode bio"):
        read("dm-0", 0, 4096)


def test_bios_and_handlers_do_not_go_together():
    on = Paths(1)
    table = f"0 {SECTORS} multipath 2 queue_mode bio 2 alua 1 1 1 round-robin 0 1 1 {on.disks[0].number} 1"
    assert control.create("mp", table) == 0
    assert "device-mapper: multipath: bio-based multipath doesn't allow hardware handler args" in on.kernel.log
    assert control.table("mp") == (f"0 {SECTORS} multipath 3 retain_attached_hw_handler queue_mode bio 0 1 1 "
                                   f"round-robin 0 1 1 {on.disks[0].number} 1 ")


# ---------------------------------------------------------------- the table's words

PATH = "240:0"
WRONG = [
    ("", "invalid number of feature args"),
    ("9 a b c d e f g h i", "invalid number of feature args"),
    ("x", "invalid number of feature args"),
    ("3 queue_if_no_path", "invalid number of feature args"),
    ("1 brush_teeth 0 0 0", "Unrecognised multipath feature request"),
    ("1 pg_init_retries 0 0 0", "Unrecognised multipath feature request"),
    ("2 pg_init_retries 0 0 0 0", "pg_init_retries must be between 1 and 50"),
    ("2 pg_init_retries 51 0 0 0", "pg_init_retries must be between 1 and 50"),
    ("2 pg_init_delay_msecs 60001 0 0 0", "pg_init_delay_msecs must be between 0 and 60000"),
    ("2 queue_mode sq 0 0 0", "Unknown 'queue_mode' requested"),
    ("0", "invalid number of hardware handler args"),
    ("0 1", "invalid number of hardware handler args"),
    ("0 0", "invalid number of priority groups"),
    ("0 0 1025 1", "invalid number of priority groups"),
    ("0 0 1", "invalid initial priority group number"),
    ("0 0 1 0", "invalid initial priority group"),
    ("0 0 0 1", "invalid initial priority group"),
    ("0 0 1 1", "priority group count mismatch"),
    ("0 0 1 1 round-robin", "not enough priority group arguments"),
    ("0 0 1 1 nosuch 0 1 0 " + PATH, "unknown path selector type"),
    ("0 0 1 1 round-robin x 1 0 " + PATH, "invalid number of path selector args"),
    ("0 0 1 1 round-robin 9 1 0 " + PATH, "invalid number of path selector args"),
    ("0 0 1 1 round-robin 0", "invalid number of paths"),
    ("0 0 1 1 round-robin 0 0 0", "invalid number of paths"),
    ("0 0 1 1 round-robin 0 1", "invalid number of selector args"),
    ("0 0 1 1 round-robin 0 1 1025", "invalid number of selector args"),
    ("0 0 1 1 round-robin 0 1 1 " + PATH, "not enough path parameters"),
    ("0 0 1 1 round-robin 0 2 0 " + PATH, "not enough path parameters"),
    ("0 0 1 1 round-robin 0 1 2 " + PATH + " 1 2", "round-robin ps: incorrect number of arguments"),
    ("0 0 1 1 round-robin 0 1 1 " + PATH + " x", "round-robin ps: invalid repeat count"),
    ("0 0 1 1 service-time 0 1 2 " + PATH + " 1 101", "service-time ps: invalid relative_throughput value"),
    ("0 0 1 1 round-robin 0 1 0 /dev/nosuch", "error getting device"),
    ("0 0 1 1 round-robin 0 1 0 " + PATH + " round-robin 0 1 0 " + PATH, "priority group count mismatch"),
    ("0 0 2 1 round-robin 0 1 0 " + PATH, "priority group count mismatch"),
    ("0 0 1 1 round-robin 0 1 0 " + PATH + " more", "not enough priority group arguments"),
]


@pytest.mark.parametrize(("words", "line"), WRONG + [("2 queue_mode bio " + words[2:], line) for words, line in WRONG
                                                     if words.startswith("0 ")])
def test_tables_that_make_no_sense(words, line):
    on = Paths(1)
    before = on.kernel.memory.totals()
    assert control.create("mp", f"0 {SECTORS} multipath {words}") < 0
    assert on.kernel.log[-2:] == [f"device-mapper: table: 254:0: multipath: {line}",
                                  "device-mapper: ioctl: error adding target to table"]
    on.kernel.loop.run_due()
    assert on.kernel.memory.totals() == before


@pytest.mark.parametrize(("words", "shown"), [
    ("0 0 0 0", "0 0 0 0 "),
    ("1 QUEUE_IF_NO_PATH 0 1 1 round-robin 0 1 0 DEV", "1 queue_if_no_path 0 1 1 round-robin 0 1 1 240:0 1 "),
    ("2 pg_init_retries 50 0 0 0", "2 pg_init_retries 50 0 0 0 "),
    ("2 pg_init_delay_msecs 0 0 0 0", "0 0 0 0 "),
    ("2 queue_mode mq 0 0 0", "0 0 0 0 "),
    ("4 queue_mode rq pg_init_retries 1 0 1 1 round-robin 0 1 1 DEV 0",
     "2 pg_init_retries 1 0 1 1 round-robin 0 1 1 240:0 0 "),
    ("1 retain_attached_hw_handler 0 1 1 service-time 0 1 0 DEV",
     "1 retain_attached_hw_handler 0 1 1 service-time 0 1 2 240:0 1 1 "),
    ("0 0 1 1 round-robin 2 a b 1 0 DEV", "0 0 1 1 round-robin 0 1 1 240:0 1 "),
    ("0 0 1 7 round-robin 0 1 0 DEV", "0 0 1 1 round-robin 0 1 1 240:0 1 "),
    ("0 0 2 2 round-robin 0 2 0 DEV DEV round-robin 0 1 0 DEV", "0 0 2 2 round-robin 0 2 1 240:0 1 240:0 1 "
                                                          "round-robin 0 1 1 240:0 1 "),
])
def test_tables_are_shown_as_they_would_be_written(words, shown):
    """All but pg_init_delay_msecs: what a table says of it is lost, as it gets its default after that was read."""
    on = Paths(1)
    on.kernel.task("look", lambda: bdput(lookup_bdev("/dev/p0")))  # what is known of a node stays known
    before = on.kernel.memory.totals()
    assert control.create("mp", f"0 {SECTORS} multipath {words}".replace("DEV", "/dev/p0")) == 0
    assert control.table("mp") == f"0 {SECTORS} multipath {shown}"
    assert control.remove("mp") == 0
    on.kernel.loop.run_due()
    assert on.kernel.memory.totals() == before


def test_a_device_that_is_there_already_keeps_its_kind():
    on = Paths(1)
    assert control.create("z", f"0 {SECTORS} zero") == 0
    assert control.load("z", on.table([[0]])) == -EINVAL
    assert control.load("z", on.table([[0]], mode="bio")) == 0
    on.create([0])
    assert control.load("mp", f"0 {SECTORS} zero") == -EINVAL
    assert control.load("mp", f"0 {SECTORS} error") == 0


def test_every_allocation_of_a_load_fails_once():
    on = Paths(2)
    for mode in ("rq", "bio"):
        table = on.table([[0], [1]], mode)
        assert control.create("mp") == 0
        control.remove("mp")
        on.kernel.loop.run_due()
        before = on.kernel.memory.totals()
        nth = 1
        while True:
            failed = on.kernel.memory.failed
            on.kernel.memory.fail_nth(nth)
            r = control.create("mp", table)
            happened = on.kernel.memory.failed > failed
            on.kernel.memory.fail_never()
            if r == 0:
                assert control.status("mp").startswith(f"0 {SECTORS} multipath 2 1 0 0 2 1 ")
                assert control.remove("mp") == 0
            else:
                assert r in (-ENOMEM, -EINVAL, -ENXIO)  # which of them, depends on where it was
            on.kernel.loop.run_due()
            before = leaks.but_a_table(before, on.kernel.memory.totals())
            if not happened:
                break
            nth += 1
        assert nth > 30


def test_every_allocation_of_a_swap_under_io_fails_once():
    """Whichever it is: an error or none, no write is lost, and the next try works."""
    on = Paths(2, delay=100_000)
    tables = [on.table(groups, features=["queue_if_no_path"]) for groups in ([[0], [1]], [[0, 1]])]
    assert control.create("mp", tables[0]) == 0
    nth, failures, happened = 1, 0, True
    while happened:
        happened = False
        steps = [("load", partial(control.load, "mp", tables[nth % 2])),
                 ("suspend", partial(control.suspend, "mp", noflush=True)), ("resume", partial(control.resume, "mp"))]
        ios = [write("dm-0", 0, bytes([1]) * 4096)]
        for n, (step, do) in enumerate(steps, 2):
            failed = on.kernel.memory.failed
            on.kernel.memory.fail_nth(nth)
            r = do()
            on.kernel.memory.fail_never()
            happened = happened or on.kernel.memory.failed > failed
            if r:
                assert r in (-ENOMEM, -EINVAL, -ENXIO)  # which of them, depends on where it was
                failures += 1
                if step == "resume":
                    assert steps[0][1]() == 0
                assert do() == 0
            ios.append(write("dm-0", n * 8, bytes([n]) * 4096))
        on.advance(300)
        assert [(io.ends, io.status) for io in ios] == [(1, BLK_STS_OK)] * 4
        assert bytes(on.store[16 * 512:40 * 512]) == b"".join(bytes([n]) * 4096 for n in (2, 3, 4))
        assert on.state() == ("A:AA" if nth % 2 else "A:A E:A")
        for io in ios:
            io.free()
        nth += 1
    assert failures > 10
    assert control.remove("mp") == 0


# ---------------------------------------------------------------- what always holds


@given(groups=st.sampled_from([((0,), (1,), (2,)), ((0, 1), (2,)), ((0, 1, 2),)]),
       selector=st.sampled_from(["round-robin", "service-time"]),
       steps=st.lists(st.tuples(st.sampled_from(["io", "fail", "heal", "reinstate", "switch", "disable", "enable",
                                                 "time", "noflush", "swap"]), st.integers(0, 31)), max_size=25))
@settings(max_examples=60)
def test_nothing_is_lost_while_a_path_is_left(groups, selector, steps):
    """Whatever fails, whoever says what to the device, and whichever table it gets: with queue_if_no_path each write
    ends once and well, in the end, if only one path works; and what was written last is what is read. While it is
    suspended nothing goes through."""
    on = Paths(3, delay=100_000)
    on.create(*groups, selector=selector, features=["queue_if_no_path"])
    written, ios = {}, []
    for n, (step, which) in enumerate(steps):
        disk = on.disks[which % 3]
        if step == "io" and which not in written:
            written[which] = bytes([n + 1]) * 4096
            ios.append(write("dm-0", which * 8, written[which], cpu=which % 2))
        elif step == "fail":
            disk.status = BLK_STS_IOERR
        elif step == "heal":
            disk.status = BLK_STS_OK
        elif step == "reinstate":
            control.message("mp", f"reinstate_path {disk.number}")
        elif step in ("switch", "disable", "enable"):
            assert control.message("mp", f"{step}_group {which % len(groups) + 1}") == 0
        elif step == "time":
            on.advance(which)
        elif step in ("noflush", "swap"):
            if step == "swap":
                groups = groups[1:] + groups[:1]
                table = on.table(groups, features=["queue_if_no_path"], selector=selector)
                assert control.load("mp", table) == 0
            assert control.suspend("mp", noflush=True) == 0
            before = on.seen()
            on.advance(which)
            assert on.seen() == before
            assert control.resume("mp") == 0
        assert all(io.ends <= 1 for io in ios)
    on.disks[steps[0][1] % 3 if steps else 0].status = BLK_STS_OK
    for _ in range(4):
        for disk in on.disks:
            control.message("mp", f"reinstate_path {disk.number}")
        on.advance(300)
    assert [(io.ends, io.status) for io in ios] == [(1, BLK_STS_OK)] * len(ios)
    for which, data in written.items():
        assert bytes(on.store[which * 4096:which * 4096 + 4096]) == data
        io = read("dm-0", which * 8, 4096)
        on.advance(300)
        assert io.data == data
    for io in ios:
        io.free()
    assert control.remove("mp") == 0
