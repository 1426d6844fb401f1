"""Mapped devices: how they are made, opened, held and removed, their events, and memory that is short."""


import pytest

from blkmodel import KernelError, boot, machine, scenario
from blkmodel.drivers.md import dm, dm_ioctl, dm_table
from blkmodel.include.linux.dm_ioctl import DM_DEFERRED_REMOVE, DM_DEV_REMOVE_CMD
from blkmodel.services.base.bug import KernelBug
from blkmodel.services.base.err import EAGAIN, EBUSY, EINVAL, ENOMEM, ENOTTY, ENXIO, ERESTARTSYS
from blkmodel.services.base.kdev_t import MKDEV
from blkmodel.services.devices.backing_dev import WB_sync_congested, bdi_congested
from blkmodel.services.devices.device import devices, whole_disks
from blkmodel.services.devices.hdreg import hd_geometry
from blkmodel.services.devices.kobject import sysfs
from blkmodel.services.files.file import O_EXCL, O_RDONLY, filp_close, filp_open, vfs_ioctl
from blkmodel.services.tasks.sched import send_sig
from blkmodel.sim import this
from blkmodel.sim.kernel import Context
from tests import leaks
from tests.drivers.md import control
from tests.drivers.md.machine import MS, SECTOR, Machine

# ---------------------------------------------------------------- devices


def test_a_new_device():
    on = Machine()
    control.create("x")
    md = on.md()
    assert (md.name, md.disk.disk_name, md.type, md.holders, md.open_count) == ("254:0", "dm-0", 0, 1, 0)
    assert (md.disk.major, md.disk.first_minor, md.queue.make_request_fn) == (254, 0, dm.dm_make_request)
    assert md.queue.queuedata is md
    assert md.swap_bios == 2048
    assert dm.dm_get_md_queue(md) is md.queue
    assert dm.dm_get_size(md) == 0
    control.load("x", "0 48 linear /dev/d0 0")
    control.resume("x")
    assert dm.dm_get_size(md) == 48
    assert md.bdev.bd_inode.i_size == 48 * SECTOR
    assert md.type == 1
    assert md.queue.kobj.state_in_sysfs


def test_minor_numbers():
    on = Machine()
    for name in "abc":
        assert control.create(name) == 0
    assert control.remove("b") == 0
    assert control.create("d") == 0
    assert [on.md(f"dm-{n}").name for n in range(3)] == ["254:0", "254:1", "254:2"]
    assert dm.specific_minor(1 << 20) == -EINVAL
    assert dm.specific_minor(2) == -EBUSY
    assert dm.specific_minor(7) == 0
    assert dm.dm_get_md(254 << 20 | 7) is None  # it is being made
    dm.free_minor(7)
    assert dm.specific_minor(7) == 0


def test_finding_a_device_by_its_number():
    on = Machine()
    control.create("x")
    md = on.md()
    assert dm.dm_get_md(254 << 20) is md
    assert md.holders == 2
    dm.dm_put(md)
    for number in (254 << 20 | 1, 253 << 20):
        assert dm.dm_get_md(number) is None
    for bit in (dm.DMF_FREEING, dm.DMF_DELETING):
        md.flags |= 1 << bit
        assert dm.dm_get_md(254 << 20) is None
        md.flags &= ~(1 << bit)
    md.flags |= 1 << dm.DMF_FREEING
    with pytest.raises(KernelBug):
        dm.dm_get(md)
    md.flags = 0


def test_opening_and_removing():
    on = Machine()
    control.create("x", "0 8 linear /dev/d0 0")
    md = on.md()
    filp = this().task("user", filp_open, "dm-0", O_RDONLY)
    assert (dm.dm_open_count(md), md.holders) == (1, 2)
    assert control.remove("x") == -EBUSY
    this().task("user", filp_close, filp)
    assert (dm.dm_open_count(md), md.holders) == (0, 1)
    md.flags |= 1 << dm.DMF_DELETING
    with pytest.raises(KernelError) as caught:
        scenario.io("dm-0", "read", 0, SECTOR)
    assert caught.value.name == "ENXIO"
    md.flags = 0
    assert control.remove("x") == 0
    assert "dm-0" not in devices().nodes


def test_a_device_that_is_removed_when_it_is_closed():
    on = Machine()
    control.create("x", "0 8 linear /dev/d0 0")
    control.create("y", "0 8 linear /dev/d0 8")
    filp = this().task("user", filp_open, "dm-0", O_RDONLY)
    r, head, _ = control.ioctl(DM_DEV_REMOVE_CMD, name="x", flags=DM_DEFERRED_REMOVE)
    assert (r, head.flags & DM_DEFERRED_REMOVE) == (0, DM_DEFERRED_REMOVE)
    assert dm.dm_test_deferred_remove_flag(on.md())
    this().task("user", filp_close, filp)
    assert "dm-0" not in devices().nodes
    assert "dm-1" in devices().nodes
    filp = this().task("user", filp_open, "dm-1", O_RDONLY)
    control.ioctl(DM_DEV_REMOVE_CMD, name="y", flags=DM_DEFERRED_REMOVE)
    assert control.message("y", "@cancel_deferred_remove") == 0
    this().task("user", filp_close, filp)
    assert "dm-1" in devices().nodes
    on.md("dm-1").flags |= 1 << dm.DMF_DELETING
    assert dm.dm_cancel_deferred_remove(on.md("dm-1")) == -EBUSY


def test_a_device_that_is_held_is_destroyed_when_it_is_let_go():
    on = Machine()
    control.create("x", "0 8 linear /dev/d0 0")
    md = on.md()
    dm.dm_get(md)
    this().loop.post(Context("task", "holder", 0), lambda: dm.dm_put(md), 20 * MS)
    assert control.remove("x") == 0
    assert this().loop.now >= 20 * MS


def test_unloading_does_not_ask_who_uses_a_device():
    on = Machine()
    control.create("x", "0 8 linear /dev/d0 0")
    this().task("user", filp_open, "dm-0", O_RDONLY)
    this().task("rmmod", dm_ioctl.dm_hash_exit)
    assert "device-mapper: core: 254:0: Forcibly removing mapped_device still in use! (1 users)" in on.kernel.log


def test_a_device_below_is_opened_once_and_shown():
    on = Machine()
    control.create("x", "0 8 linear /dev/d0 0\n8 8 linear /dev/d0 8\n16 8 linear /dev/d1 0")
    md = on.md()
    assert sorted((each.dm_dev.name, each.count) for each in md.table_devices) == [("240:0", 1), ("240:1", 1)]
    assert md.disk.slave_dir.links.keys() == {"d0", "d1"}
    assert on.disks[0].disk.part0.holder_dir.links.keys() == {"dm-0"}
    control.load("x", "0 8 linear /dev/d0 0")
    assert [each.count for each in md.table_devices if each.dm_dev.name == "240:0"] == [2]
    control.resume("x")
    assert [(each.dm_dev.name, each.count) for each in md.table_devices] == [("240:0", 1)]
    assert md.disk.slave_dir.links.keys() == {"d0"}
    assert control.create("y", "0 8 linear /dev/d0 8") == 0  # device mapper holds it, not one device of it
    assert control.remove("x") == control.remove("y") == 0
    assert on.disks[0].disk.part0.holder_dir.links == {}


def test_a_device_below_is_closed_once():
    on = Machine()
    control.create("x", "0 8 linear /dev/d0 0")
    md = on.md()
    (below,) = md.table_devices
    for _ in range(2):
        this().task("kernel", dm.close_table_device, below, md)
        assert below.dm_dev.bdev is None
        assert on.disks[0].disk.part0.holder_dir.links == {}


def test_a_device_below_that_nobody_closed():
    on = Machine()
    control.create("x", "0 8 linear /dev/d0 0")
    r, _ = this().task("kernel", dm.dm_get_table_device, on.md(), MKDEV(240, 1), 3)
    assert r == 0
    assert control.remove("x") == 0
    assert on.kernel.log[-1] == "device-mapper: core: dm_destroy: 240:1 still exists with 1 references"
    assert not [each for each in on.kernel.memory.live.values() if each.kind == "table_device"]


@pytest.mark.parametrize("step", ["resume", "remove"])
def test_a_table_goes_when_nobody_looks_at_it_any_more(step):
    on = Machine()
    control.create("x", "0 8 linear /dev/d0 0")
    md = on.md()
    assert control.suspend("x") == control.load("x", "0 8 linear /dev/d1 0") == 0
    table, index = dm.dm_get_live_table(md)
    left = []

    def leave():
        left.append(table.num_targets)
        dm.dm_put_live_table(md, index)
    this().loop.post(Context("task", "reader", 0), leave, 20 * MS)
    assert (control.resume("x") if step == "resume" else control.remove("x")) == 0
    assert left == [1]
    assert this().loop.now >= 20 * MS


def test_a_device_is_congested_as_those_below_are_and_while_it_is_suspended():
    on = Machine()
    control.create("x", "0 8 linear /dev/d0 0\n8 8 linear /dev/d1 0")
    bdi, below = on.md().queue.backing_dev_info, whole_disks()["d1"].queue.backing_dev_info
    assert bdi_congested(bdi, 3) == 0
    below._congested.state = 1 << WB_sync_congested
    assert (bdi_congested(bdi, 3), bdi_congested(bdi, 1)) == (2, 0)
    assert control.suspend("x") == 0
    assert bdi_congested(bdi, 3) == 3


def test_a_disk_that_somebody_has_for_himself():
    on = Machine()
    filp = this().task("user", filp_open, "/dev/d0", O_RDONLY | O_EXCL)
    assert control.create("x", "0 8 linear /dev/d0 0") == -EBUSY
    assert on.kernel.log[-2:] == ["device-mapper: table: 254:0: linear: Device lookup failed",
                                  "device-mapper: ioctl: error adding target to table"]
    this().task("user", filp_close, filp)
    assert control.create("x", "0 8 linear /dev/d0 0") == 0


def test_geometry():
    on = Machine()
    control.create("x", "0 48 linear /dev/d0 0")
    md = on.md()
    assert dm.dm_set_geometry(md, hd_geometry(2, 3, 4, 25)) == -EINVAL
    assert on.kernel.log[-1] == "device-mapper: core: Start sector is beyond the geometry limits."
    assert dm.dm_set_geometry(md, hd_geometry(2, 3, 4, 24)) == 0
    geo = hd_geometry()
    error = dm.dm_blk_getgeo(md.bdev if md.bdev.bd_disk else opened(md), geo)
    assert (error, geo.heads, geo.sectors, geo.cylinders, geo.start) == (0, 2, 3, 4, 24)
    control.load("x", "0 48 linear /dev/d1 0")
    control.resume("x")
    assert dm.dm_get_geometry(md)[1].heads == 2
    control.load("x", "0 47 linear /dev/d1 0")
    control.resume("x")
    assert dm.dm_get_geometry(md)[1].heads == 0  # a table of another size


def opened(md):
    """The device's block device, open."""
    this().task("user", filp_open, md.disk.disk_name, O_RDONLY)
    return md.bdev


def test_an_ioctl_goes_to_the_device_below():
    on = Machine()
    asked = []

    def answer(bdev, mode, cmd, arg):
        asked.append((bdev.bd_disk.disk_name, cmd, arg))
        return 5
    on.disks[0].disk.fops.ioctl = answer
    control.create("x", "0 8 linear /dev/d0 0")
    filp = this().task("user", filp_open, "dm-0", O_RDONLY)

    def ask():
        return this().task("user", vfs_ioctl, filp, 0x5310, "arg")
    assert ask() == 5
    assert asked == [("d0", 0x5310, "arg")]
    control.suspend("x")
    assert ask() == -EAGAIN
    for table in ("0 8 linear /dev/d0 0\n8 8 linear /dev/d0 8", "0 8 zero"):
        control.load("x", table)
        control.resume("x")
        assert ask() == -ENOTTY
    control.load("x", "0 8 linear /dev/d1 0")
    control.resume("x")
    assert ask() == -ENOTTY  # the disk does nothing of the kind
    assert on.md().io_barrier._readers == [0, 0]


# ---------------------------------------------------------------- events


def test_events():
    on = Machine()
    control.create("x", "0 8 linear /dev/d0 0")
    md = on.md()
    before = dm.variables().dm_global_event_nr
    dm_table.dm_table_event(md.map)
    assert (dm.dm_get_event_nr(md), dm.variables().dm_global_event_nr) == (1, before + 1)
    assert dm.dm_wait_event(md, 0) == 0
    this().loop.post(Context("irq", "disk", 0), lambda: dm_table.dm_table_event(md.map), MS)
    assert this().task("user", dm.dm_wait_event, md, 1) == 0
    assert dm.dm_get_event_nr(md) == 2
    assert [dm.dm_next_uevent_seq(md) for _ in range(3)] == [1, 2, 3]


def test_a_signal_ends_waiting_for_an_event():
    on = Machine()
    control.create("x", "0 8 linear /dev/d0 0")

    def wait():
        task = this().context
        this().loop.post(Context("task", "shell", 0), lambda: send_sig(task), MS)
        return dm.dm_wait_event(on.md(), 0)
    assert this().task("user", wait) == -ERESTARTSYS


def test_what_user_space_is_told():
    on = Machine()
    control.create("x", "0 8 linear /dev/d0 0")
    sysfs().uevents.clear()
    assert dm.dm_kobject_uevent(on.md(), "change", 0) == 0
    assert dm.dm_kobject_uevent(on.md(), "change", 77) == 0
    (_, name, first), (_, _, second) = sysfs().uevents
    assert name == "dm-0"
    assert "DM_COOKIE=77" not in first
    assert "DM_COOKIE=77" in second


# ---------------------------------------------------------------- parameters and memory


@pytest.mark.parametrize(("asked", "given"), [(0, 16), (8, 8), (1024, 1024), (1025, 1024)])
def test_how_many_bios_are_in_reserve(asked, given):
    on = Machine()
    dm.variables().reserved_bio_based_ios = asked
    control.create("x", "0 8 linear /dev/d0 0")
    assert on.md().bs.bio_pool.min_nr == on.md().io_bs.bio_pool.min_nr == given
    assert dm.variables().reserved_bio_based_ios == given
    control.create("y", "0 40 striped 20 1 " + " ".join(f"/dev/d0 {n}" for n in range(20)))
    assert on.md("dm-1").bs.bio_pool.min_nr == max(given, 20)  # as many as a flush takes


@pytest.mark.parametrize(("asked", "given"), [(-1, -1), (-5, -1), (0, 0), (7, 1)])
def test_the_node_of_a_device(asked, given):
    boot(machine(4, nodes=2))
    scenario.dm_load(dm_numa_node=asked)
    assert dm.dm_get_numa_node() == given
    assert dm.variables().dm_numa_node == given
    control.create("x")
    assert scenario.disk("dm-0").private_data.numa_node_id == given


TABLE = "0 8 linear /dev/d0 0\n8 16 striped 2 8 /dev/d0 8 /dev/d1 0\n24 8 zero\n32 8 error"


@pytest.mark.parametrize("step", ["create", "load", "resume", "reload"])
def test_every_allocation_fails_once(step):
    """An error, or none where it is made up for; nothing is left but one table of partitions, which 5.4 loses; and the
    next try works."""
    on = Machine(disks=2)
    memory = on.kernel.memory

    def do():
        if step == "create":
            return control.create("x")
        if step == "load" or step == "reload":
            return control.load("x", TABLE)
        return control.resume("x")

    def prepare():
        if step != "create":
            assert control.create("x") == 0
        if step in ("resume", "reload"):
            assert control.load("x", TABLE) == 0
        if step == "reload":
            assert control.resume("x") == 0
    for _ in range(2):  # what is made once and kept
        prepare()
        assert do() == 0
        assert control.remove("x") == 0
    before = leaks.kinds(memory)
    nth, failures, tables = 1, 0, 0
    while True:
        prepare()
        memory.fail_nth(nth)
        failed = memory.failed
        r = do()
        happened = memory.failed > failed
        memory.fail_never()
        assert r in ((0, -ENOMEM, -ENXIO) if step == "create" else (0, -ENOMEM))
        failures += bool(r)
        if r:
            assert step == "create" or control.load("x", TABLE) == 0
            assert do() == 0
        if step != "create":
            control.load("x", TABLE)
            assert control.resume("x") == 0
            assert scenario.io("dm-0", "read", 24 * SECTOR, SECTOR) == bytes(SECTOR)
        assert control.remove("x") == 0
        besides = leaks.lost(before, leaks.kinds(memory))
        assert besides in ({}, leaks.TABLE)
        tables += bool(besides)
        before += besides
        assert control.ioctl(DM_DEV_REMOVE_CMD, name="x")[0] == -ENXIO
        if not happened:
            break
        nth += 1
    assert failures > 3
    assert tables == (step == "create")


def test_a_module_that_cannot_be_loaded():
    """Whichever allocation fails, nothing is left."""
    on = boot(2)
    scenario.dm_load()
    scenario.dm_unload()
    before = on.memory.totals()
    nth = 1
    while True:
        on.memory.fail_nth(nth)
        failed = on.memory.failed
        error = 0
        try:
            scenario.dm_load()
        except KernelError as why:
            error = why.errno
        if not error:
            assert on.memory.failed == failed
            break
        assert error == ENOMEM
        on.memory.fail_never()
        assert on.memory.totals() == before
        assert "mapper/control" not in devices().nodes
        nth += 1
    assert nth > 4
