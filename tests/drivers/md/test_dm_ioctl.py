"""The control interface: what it refuses, with which words; how devices are found; what it answers in what room."""

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel import boot
from blkmodel.drivers.md import dm, dm_ioctl, dm_table, dm_target
from blkmodel.errors import NotModelled
from blkmodel.include.linux import dm_ioctl as uapi
from blkmodel.include.linux.device_mapper import target_type
from blkmodel.include.linux.dm_ioctl import (_IOWR, DATA_OFFSET, DM_ACTIVE_PRESENT_FLAG, DM_BUFFER_FULL_FLAG,
    DM_DEFERRED_REMOVE, DM_DEV_ARM_POLL_CMD, DM_DEV_CREATE_CMD, DM_DEV_REMOVE_CMD, DM_DEV_RENAME_CMD,
    DM_DEV_SET_GEOMETRY_CMD, DM_DEV_STATUS_CMD, DM_DEV_SUSPEND_CMD, DM_DEV_WAIT_CMD, DM_GET_TARGET_VERSION_CMD,
    DM_INACTIVE_PRESENT_FLAG, DM_INTERNAL_SUSPEND_FLAG, DM_LIST_DEVICES_CMD, DM_LIST_VERSIONS_CMD, DM_NOFLUSH_FLAG,
    DM_PERSISTENT_DEV_FLAG, DM_QUERY_INACTIVE_TABLE_FLAG, DM_READONLY_FLAG, DM_REMOVE_ALL_CMD, DM_STATUS_TABLE_FLAG,
    DM_SUSPEND_FLAG, DM_TABLE_CLEAR_CMD, DM_TABLE_DEPS_CMD, DM_TABLE_LOAD_CMD, DM_TABLE_STATUS_CMD, DM_TARGET_MSG_CMD,
    DM_UEVENT_GENERATED_FLAG, DM_UUID_FLAG, DM_VERSION_CMD, HEAD, NAME_LIST, TARGET_DEPS, TARGET_MSG, TARGET_SPEC,
    TARGET_VERSIONS, U32, bytes_of, string_at, text_of)
from blkmodel.services.base.err import EBUSY, EFAULT, EINVAL, ENOMEM, ENOTTY, ENXIO, ERESTARTSYS, PTR_ERR
from blkmodel.services.devices.cdev import misc_register, miscdevice
from blkmodel.services.devices.device import devices
from blkmodel.services.devices.kobject import sysfs
from blkmodel.services.files.file import EPOLLIN, O_RDONLY, filp_close, filp_open, vfs_ioctl
from blkmodel.services.tasks.sched import send_sig
from blkmodel.sim import this
from blkmodel.sim.kernel import Context
from tests.drivers.md import control
from tests.drivers.md.machine import MS, Machine, Scripted, noting

DEVICE_0 = 254 << 8


def said(on, before):
    """What the kernel has said since, of those lines that device mapper's interface says."""
    return [each.removeprefix("device-mapper: ioctl: ") for each in on.kernel.log[before:]]


def refused(on, cmd, data=b"", target_count=0, **fields):
    """Do an ioctl that fails. Returns (-errno, lines)."""
    before, memory = len(on.kernel.log), on.kernel.memory.totals()
    r, _, _ = control.ioctl(cmd, data, target_count, **fields)
    assert on.kernel.memory.totals() == memory
    return r, said(on, before)


def names():
    """(name, UUID) of all devices, as the tables have them."""
    return sorted((str(hc.name), str(hc.uuid or "")) for bucket in dm_ioctl.variables()._name_buckets for hc in bucket)


def raw(block, cmd):
    """An ioctl on a block as it is. Returns 0 or -errno."""
    return this().task("dmsetup", dm_ioctl.dm_ctl_ioctl, None, _IOWR(cmd), block)


# ---------------------------------------------------------------- the block


@pytest.mark.parametrize(("version", "r"), [
    ((4, 0, 0), 0), ((4, 41, 99), 0), ((4, 42, 0), -EINVAL), ((3, 0, 0), -EINVAL), ((5, 0, 0), -EINVAL)])
def test_versions(version, r):
    on = Machine(disks=0)
    before = len(on.kernel.log)
    block = bytearray(HEAD.size)
    HEAD.pack_into(block, 0, *version, 0, 0, 0, 0, 0, 0, 0, 0, b"", b"")
    assert raw(block, DM_VERSION_CMD) == r
    assert HEAD.unpack_from(block)[:3] == (4, 41, 0)
    assert said(on, before) == ([] if r == 0 else [
        f"ioctl interface mismatch: kernel(4.41.0), user({'.'.join(map(str, version))}), cmd(0)"])


def test_commands_that_there_are_not():
    on = Machine(disks=0)
    before = len(on.kernel.log)
    block = bytearray(HEAD.size)
    HEAD.pack_into(block, 0, 4, 0, 0, 312, 0, 0, 0, 0, 0, 0, 0, b"", b"")
    assert raw(block, 18) == raw(block, 255) == -ENOTTY
    assert said(on, before) == [f"dm_ctl_ioctl: unknown command 0xc138fd{nr}" for nr in ("12", "ff")]
    assert dm_ioctl.dm_ctl_ioctl(None, 0x1234, block) == -ENOTTY
    assert said(on, before)[2:] == []


@pytest.mark.parametrize(("length", "size", "r"), [
    (11, 312, -EFAULT), (304, 312, -EFAULT), (DATA_OFFSET, DATA_OFFSET, 0), (400, 400, 0), (400, 401, -EFAULT),
    (400, 304, -EINVAL), (400, 0, -EINVAL)])
def test_a_block_that_is_too_small(length, size, r):
    on = Machine(disks=0)
    block = bytearray(HEAD.size)
    HEAD.pack_into(block, 0, 4, 0, 0, size, 0, 0, 0, 0, 0, 0, 0, b"", b"")
    block = (block + bytes(100))[:length]
    memory = on.kernel.memory.totals()
    assert raw(block, DM_LIST_VERSIONS_CMD) == r
    assert on.kernel.memory.totals() == memory


def test_a_block_that_is_not_there_in_memory():
    on = Machine(disks=0)
    block = bytearray(400)
    HEAD.pack_into(block, 0, 4, 0, 0, 400, 0, 0, 0, 0, 0, 0, 0, b"", b"")
    on.kernel.memory.fail_nth(1)
    assert raw(block, DM_LIST_VERSIONS_CMD) == -ENOMEM
    on.kernel.memory.fail_never()


def test_names_that_do_not_end():
    on = Machine(disks=0)
    block = bytearray(HEAD.size + 7)
    HEAD.pack_into(block, 0, 4, 0, 0, 312, 0, 0, 0, 0, 0, 0, 0, b"n" * 128, b"u" * 129)
    assert raw(block, DM_DEV_CREATE_CMD) == 0
    assert names() == [("n" * 127, "u" * 128)]
    assert on.md().name == "254:0"


@pytest.mark.parametrize("cmd", [DM_DEV_REMOVE_CMD, DM_DEV_RENAME_CMD, DM_DEV_SUSPEND_CMD, DM_DEV_STATUS_CMD,
                                 DM_DEV_WAIT_CMD, DM_TABLE_LOAD_CMD, DM_TABLE_CLEAR_CMD, DM_TABLE_DEPS_CMD,
                                 DM_TABLE_STATUS_CMD, DM_TARGET_MSG_CMD, DM_DEV_SET_GEOMETRY_CMD, DM_DEV_ARM_POLL_CMD,
                                 DM_GET_TARGET_VERSION_CMD])
def test_a_name_or_a_uuid(cmd):
    on = Machine(disks=0)
    assert refused(on, cmd, name="x", uuid="u") == (-EINVAL, [f"only supply one of name or uuid, cmd({cmd})"])


@pytest.mark.parametrize(("cmd", "data"), [
    (DM_DEV_REMOVE_CMD, b""), (DM_DEV_SUSPEND_CMD, b""), (DM_DEV_STATUS_CMD, b""), (DM_DEV_WAIT_CMD, b""),
    (DM_TABLE_LOAD_CMD, b""), (DM_TABLE_CLEAR_CMD, b""), (DM_TABLE_DEPS_CMD, b""), (DM_TABLE_STATUS_CMD, b""),
    (DM_TARGET_MSG_CMD, TARGET_MSG.pack(0) + b"m\0"), (DM_DEV_SET_GEOMETRY_CMD, b"1 2 3 4\0")])
@pytest.mark.parametrize("flags", [0, DM_SUSPEND_FLAG])
def test_a_device_that_there_is_not(cmd, data, flags):
    on = Machine(disks=0)
    assert control.create("other") == 0
    for whom in ({"name": "x"}, {"uuid": "x"}, {"dev": DEVICE_0 + 1}, {"dev": 0x0101}, {},
                 {"name": "other", "dev": DEVICE_0}):
        assert refused(on, cmd, data, flags=flags, **whom) == (-ENXIO, [])
    assert names() == [("other", "")]


# ---------------------------------------------------------------- creating, finding, removing


def test_a_device_is_found_by_name_or_uuid_or_number():
    Machine(disks=0)
    r, head, _ = control.ioctl(DM_DEV_CREATE_CMD, name="x", uuid="u-1")
    assert (r, head.dev, head.flags, head.open_count, head.event_nr, head.target_count) == (0, DEVICE_0, 0, 0, 0, 0)
    for whom in ({"name": "x"}, {"uuid": "u-1"}, {"dev": DEVICE_0}):
        r, head, _ = control.ioctl(DM_DEV_STATUS_CMD, **whom)
        assert (r, head.name, head.uuid, head.dev) == (0, "x", "u-1", DEVICE_0)
    assert control.ioctl(DM_DEV_STATUS_CMD, uuid="u-1", dev=DEVICE_0)[0] == -ENXIO


def test_names_that_are_refused():
    on = Machine(disks=0)
    assert refused(on, DM_DEV_CREATE_CMD) == (-EINVAL, ["name not supplied when creating device"])
    assert refused(on, DM_DEV_CREATE_CMD, name="a/b") == (-EINVAL, ["invalid device name"])
    control.ioctl(DM_DEV_CREATE_CMD, name="x", uuid="u")
    assert refused(on, DM_DEV_CREATE_CMD, name="x") == (-EBUSY, [])
    assert refused(on, DM_DEV_CREATE_CMD, name="y", uuid="u") == (-EBUSY, [])
    assert names() == [("x", "u")]
    assert control.create("y") == 0
    assert on.md("dm-1").holders == 1


def test_a_number_that_is_wished_for():
    on = Machine(disks=0)
    r, head, _ = control.ioctl(DM_DEV_CREATE_CMD, name="x", flags=DM_PERSISTENT_DEV_FLAG, dev=DEVICE_0 + 7)
    assert (r, head.dev) == (0, DEVICE_0 + 7)
    assert on.md("dm-7").name == "254:7"
    before = len(on.kernel.log)
    assert control.ioctl(DM_DEV_CREATE_CMD, name="y", flags=DM_PERSISTENT_DEV_FLAG, dev=DEVICE_0 + 7)[0] == -ENXIO
    assert control.ioctl(DM_DEV_CREATE_CMD, name="z", flags=DM_PERSISTENT_DEV_FLAG, dev=0xFFF << 20 | 0xFFFFF)[0] == 0
    assert len(on.kernel.log) == before


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(["create", "remove", "rename", "uuid"]), st.sampled_from("abcd"),
                          st.sampled_from("abcd")), max_size=20))
def test_the_tables_are_as_what_was_done_says(steps):
    """Whatever is made, removed and renamed: names and UUIDs are each a device's, or nobody's."""
    boot(1)
    control.load_modules()
    there: dict[str, str] = {}  # name: UUID or ""
    for step, name, other in steps:
        if step == "create":
            uuid = other if other != "d" else ""
            r = control.ioctl(DM_DEV_CREATE_CMD, name=name, uuid=uuid)[0]
            taken = name in there or (uuid and uuid in there.values())
            assert r == (-EBUSY if taken else 0)
            if not taken:
                there[name] = uuid
        elif step == "remove":
            assert control.remove(name) == (0 if name in there else -ENXIO)
            there.pop(name, None)
        elif step == "rename":
            r = control.ioctl(DM_DEV_RENAME_CMD, bytes_of(other) + b"\0", name=name)[0]
            assert r == (-EBUSY if other in there else 0 if name in there else -ENXIO)
            if r == 0:
                there[other] = there.pop(name)
        else:
            r = control.ioctl(DM_DEV_RENAME_CMD, bytes_of(other) + b"\0", name=name, flags=DM_UUID_FLAG)[0]
            assert r == (-EBUSY if other in there.values() else -ENXIO if name not in there
                         else -EINVAL if there[name] else 0)
            if r == 0:
                there[name] = other
        assert names() == sorted(there.items())
        for name, uuid in there.items():
            by_name = control.ioctl(DM_DEV_STATUS_CMD, name=name)[1]
            assert (by_name.name, by_name.uuid) == (name, uuid)
            if uuid:
                assert control.ioctl(DM_DEV_STATUS_CMD, uuid=uuid)[1].dev == by_name.dev


def test_renaming():
    on = Machine(disks=1)
    control.create("x", "0 8 linear /dev/d0 0")
    r, head, _ = control.ioctl(DM_DEV_RENAME_CMD, b"y\0", name="x", event_nr=77)
    assert (r, head.name, head.event_nr, head.dev) == (0, "x", 1, DEVICE_0)
    assert head.flags == DM_UEVENT_GENERATED_FLAG | DM_ACTIVE_PRESENT_FLAG
    assert sysfs().uevents[-1][0] == "change"
    assert "DM_COOKIE=77" in sysfs().uevents[-1][2]
    assert names() == [("y", "")]
    r, head, _ = control.ioctl(DM_DEV_RENAME_CMD, b"u\0", name="y", flags=DM_UUID_FLAG)
    assert (r, head.event_nr) == (0, 2)
    assert names() == [("y", "u")]
    assert on.md().interface_ptr.uuid == "u"


@pytest.mark.parametrize(("data", "fields", "r", "lines"), [
    (b"\0", {}, -EINVAL, ["Invalid new mapped device name or uuid string supplied."]),
    (b"n" * 128 + b"\0", {}, -EINVAL, ["Invalid new mapped device name or uuid string supplied."]),
    (b"u" * 129 + b"\0", {"flags": DM_UUID_FLAG}, -EINVAL,
     ["Invalid new mapped device name or uuid string supplied."]),
    (b"n" * 16384, {}, -EINVAL, ["Invalid new mapped device name or uuid string supplied."]),
    (b"a/b\0", {}, -EINVAL, ["invalid device name"]),
    (b"y\0", {}, -EBUSY, ["Unable to change name on mapped device x to one that already exists: y"]),
    (b"u-y\0", {"flags": DM_UUID_FLAG}, -EBUSY,
     ["Unable to change uuid on mapped device x to one that already exists: u-y"]),
    (b"z\0", {"name": "none"}, -ENXIO, ["Unable to rename non-existent device, none to z"]),
    (b"z\0", {"name": "none", "flags": DM_UUID_FLAG}, -ENXIO,
     ["Unable to rename non-existent device, none to uuid z"]),
    (b"z\0", {"name": "y", "flags": DM_UUID_FLAG}, -EINVAL,
     ["Unable to change uuid of mapped device y to z because uuid is already set to u-y"]),
    (b"z\0", {"name": "", "uuid": "u-y"}, -ENXIO, ["Unable to rename non-existent device,  to z"]),
])
def test_renaming_that_is_refused(data, fields, r, lines):
    on = Machine(disks=0)
    control.create("x")
    control.ioctl(DM_DEV_CREATE_CMD, name="y", uuid="u-y")
    assert refused(on, DM_DEV_RENAME_CMD, data[:control.SIZE - control.DATA], **{"name": "x", **fields}) == (r, lines)
    assert names() == [("x", ""), ("y", "u-y")]


def test_renaming_with_names_of_the_greatest_length():
    Machine(disks=0)
    control.create("x")
    assert control.ioctl(DM_DEV_RENAME_CMD, b"n" * 127 + b"\0", name="x")[0] == 0
    assert control.ioctl(DM_DEV_RENAME_CMD, b"u/" * 64 + b"\0", name="n" * 127, flags=DM_UUID_FLAG)[0] == 0
    assert names() == [("n" * 127, "u/" * 64)]


def test_data_that_begin_in_the_head():
    on = Machine(disks=0)
    control.create("x")
    for cmd, line in ((DM_DEV_RENAME_CMD, "Invalid new mapped device name or uuid string supplied."),
                      (DM_DEV_SET_GEOMETRY_CMD, "Invalid geometry supplied.")):
        before = len(on.kernel.log)
        block = bytearray(400)
        HEAD.pack_into(block, 0, 4, 0, 0, 400, 300, 0, 0, 0, 0, 0, 0, b"x", b"")
        assert raw(block, cmd) == -EINVAL
        assert said(on, before) == [line]


def test_geometry_that_is_refused():
    on = Machine(disks=1)
    control.create("x", "0 16 linear /dev/d0 0")
    ioctl = "device-mapper: ioctl: "
    for text, line in (("1 2 3", ioctl + "Unable to interpret geometry settings."),
                       ("1 2 3 x", ioctl + "Unable to interpret geometry settings."),
                       ("1 2 3 4x", ioctl + "Unable to interpret geometry settings."),
                       ("1 2 3 4 5", ioctl + "Unable to interpret geometry settings."),
                       ("65536 2 3 4", ioctl + "Geometry exceeds range limits."),
                       ("1 256 3 4", ioctl + "Geometry exceeds range limits."),
                       ("1 2 256 4", ioctl + "Geometry exceeds range limits."),
                       ("1 2 3 7", "device-mapper: core: Start sector is beyond the geometry limits.")):
        assert control.ioctl(DM_DEV_SET_GEOMETRY_CMD, bytes_of(text) + b"\0", name="x")[0] == -EINVAL
        assert on.kernel.log[-1] == line
    assert control.ioctl(DM_DEV_SET_GEOMETRY_CMD, b"x" * (control.SIZE - control.DATA), name="x")[0] == -EINVAL
    assert on.kernel.log[-1] == ioctl + "Invalid geometry supplied."
    assert on.md().geometry.start == 0
    before = len(on.kernel.log)
    assert control.ioctl(DM_DEV_SET_GEOMETRY_CMD, b"65535 255 255 4\0", name="x")[0] == 0
    geometry = on.md().geometry
    assert (geometry.cylinders, geometry.heads, geometry.sectors, geometry.start) == (65535, 255, 255, 4)
    assert len(on.kernel.log) == before


def test_removing():
    on = Machine(disks=1)
    control.create("x", "0 8 linear /dev/d0 0")
    control.load("x", "0 8 linear /dev/d0 8")
    filp = this().task("user", filp_open, "dm-0", O_RDONLY)
    before = len(on.kernel.log)
    assert control.ioctl(DM_DEV_REMOVE_CMD, name="x")[0] == -EBUSY
    assert len(on.kernel.log) == before  # it says so in the errno alone
    this().task("user", filp_close, filp)
    r, head, _ = control.ioctl(DM_DEV_REMOVE_CMD, name="x", event_nr=5)
    assert (r, head.flags & DM_UEVENT_GENERATED_FLAG) == (0, DM_UEVENT_GENERATED_FLAG)
    told = [(action, [word for word in words if "COOKIE" in word]) for action, name, words in sysfs().uevents
            if name == "dm-0"]
    assert told[-2:] == [("remove", ["DM_COOKIE=5"]), ("remove", [])]
    assert names() == []


def test_removing_all():
    on = Machine(disks=1)
    memory = on.kernel.memory.totals()
    control.create("below", "0 8 linear /dev/d0 0")
    control.create("above", "0 8 linear /dev/dm-0 0")
    control.create("open", "0 8 zero")
    control.create("table")
    control.load("table", "0 8 linear /dev/d0 0")
    filp = this().task("user", filp_open, "dm-2", O_RDONLY)
    r, head, _ = control.ioctl(DM_REMOVE_ALL_CMD)
    assert (r, head.data_size) == (0, control.SIZE)  # nothing of the answer comes back
    assert names() == [("open", "")]
    assert on.kernel.log[-1] == "device-mapper: ioctl: remove_all left 1 open device(s)"
    assert control.ioctl(DM_REMOVE_ALL_CMD, flags=DM_DEFERRED_REMOVE)[0] == 0
    assert names() == [("open", "")]
    this().task("user", filp_close, filp)
    assert names() == []
    before = len(on.kernel.log)
    assert control.ioctl(DM_REMOVE_ALL_CMD)[0] == 0
    assert len(on.kernel.log) == before
    this().loop.run_due()
    assert on.kernel.memory.totals() == memory


# ---------------------------------------------------------------- tables


def specs(*targets, gap=0):
    """Targets as a load says them: (start, length, type, parameters)."""
    data = b""
    for start, length, kind, params in targets:
        text = bytes_of(params) + b"\0"
        text += bytes(-(TARGET_SPEC.size + len(text)) % 8 + gap)
        data += TARGET_SPEC.pack(start, length, 0, TARGET_SPEC.size + len(text), bytes_of(kind)) + text
    return data


def test_targets_that_are_not_there():
    on = Machine(disks=1)
    control.create("x")
    one = specs((0, 8, "zero", ""))
    assert refused(on, DM_TABLE_LOAD_CMD, one, 0, name="x") == (-EINVAL, ["populate_table: no targets specified"])
    assert refused(on, DM_TABLE_LOAD_CMD, one, 2, name="x") == (-EINVAL, [
        "device-mapper: table: 254:0: zero-length target", "error adding target to table"])
    short = TARGET_SPEC.pack(0, 8, 0, TARGET_SPEC.size - 1, b"zero") + b"\0"
    assert refused(on, DM_TABLE_LOAD_CMD, short, 2, name="x") == (-EINVAL, ["unable to find target"])
    far = TARGET_SPEC.pack(0, 8, 0, 1 << 20, b"zero") + b"\0"
    assert refused(on, DM_TABLE_LOAD_CMD, far, 2, name="x") == (-EINVAL, ["unable to find target"])
    endless = TARGET_SPEC.pack(0, 8, 0, 0, b"zero") + b"x" * (control.SIZE - control.DATA - TARGET_SPEC.size)
    assert refused(on, DM_TABLE_LOAD_CMD, endless, 1, name="x") == (-EINVAL, ["unable to find target"])
    assert on.md().interface_ptr.new_map is None
    r, head, _ = control.ioctl(DM_TABLE_LOAD_CMD, specs((0, 8, "zero", ""), (8, 8, "error", ""), gap=64), 2, name="x")
    assert (r, head.flags, head.target_count) == (0, DM_INACTIVE_PRESENT_FLAG, 0)


def test_the_type_of_a_target_is_read_up_to_its_end():
    """And beyond, where none of its 16 bytes ends it: then what follows belongs to it."""
    on = Machine(disks=1)
    control.create("x")
    data = TARGET_SPEC.pack(0, 8, 0, 48, b"t" * 16) + b"more\0"
    assert refused(on, DM_TABLE_LOAD_CMD, data, 1, name="x")[1] == [
        f"device-mapper: table: 254:0: {'t' * 16}more: unknown target type", "error adding target to table"]


def test_a_table_is_loaded_dropped_replaced_and_made_live():
    on = Machine(disks=2)
    memory = on.kernel.memory.totals()
    control.create("x")
    assert control.load("x", "0 8 linear /dev/d0 0") == 0
    assert control.load("x", "0 8 linear /dev/d1 0") == 0
    assert on.disks[0].disk.part0.holder_dir.links == {}
    assert on.disks[1].disk.part0.holder_dir.links.keys() == {"dm-0"}
    r, head, _ = control.ioctl(DM_TABLE_CLEAR_CMD, name="x")
    assert (r, head.flags) == (0, 0)
    assert on.disks[1].disk.part0.holder_dir.links == {}
    assert control.clear("x") == 0
    assert control.table("x") == ""
    for disk in "d0", "d1":
        r, head, _ = control.ioctl(DM_TABLE_LOAD_CMD, specs((0, 8, "linear", f"/dev/{disk} 0")), 1, name="x")
        assert head.flags & DM_INACTIVE_PRESENT_FLAG
        r, head, _ = control.ioctl(DM_DEV_SUSPEND_CMD, name="x", event_nr=9)
        assert (r, head.flags) == (0, DM_ACTIVE_PRESENT_FLAG | DM_UEVENT_GENERATED_FLAG)
        assert "DM_COOKIE=9" in sysfs().uevents[-1][2]
    assert control.table("x") == "0 8 linear 240:1 0"
    control.remove("x")
    this().loop.run_due()
    assert on.kernel.memory.totals() == memory


def test_a_device_keeps_its_kind():
    on = Machine(disks=1)
    multipath = "0 8 multipath 0 0 1 1 round-robin 0 1 1 /dev/d0 1"
    control.create("x", "0 8 linear /dev/d0 0")
    before = len(on.kernel.log)
    assert control.load("x", multipath) == -EINVAL
    assert said(on, before) == ["can't change device type (old=1 vs new=2) after initial table load."]
    control.create("y", multipath)
    assert control.load("y", "0 8 linear /dev/d0 0") == -EINVAL
    assert said(on, before)[1:] == ["can't replace immutable target type multipath"]
    assert control.load("y", "0 8 error") == 0
    assert not dm_ioctl.is_valid_type(2, 1)
    assert dm_ioctl.is_valid_type(1, 3)


def test_a_device_without_a_queue():
    """What a table needs for its device can't be had."""
    on = Machine(disks=1)
    control.create("x")
    before = len(on.kernel.log)
    on.disks[0].queue.make_request_fn = None
    assert control.load("x", "0 8 linear /dev/d0 0") == -EINVAL
    assert said(on, before)[1:] == ["device-mapper: core: Cannot calculate initial queue limits",
                                    "unable to set up device queue for new table."]


def test_a_table_for_reading_only():
    on = Machine(disks=1)
    control.create("x")
    r, _, _ = control.ioctl(DM_TABLE_LOAD_CMD, specs((0, 8, "linear", "/dev/d0 0")), 1, name="x",
                            flags=DM_READONLY_FLAG)
    assert r == 0
    head = control.ioctl(DM_DEV_STATUS_CMD, name="x", flags=DM_QUERY_INACTIVE_TABLE_FLAG)[1]
    assert (head.flags & DM_READONLY_FLAG, head.target_count) == (DM_READONLY_FLAG, 1)
    control.resume("x")
    assert on.md().disk.part0.policy == 1
    assert control.ioctl(DM_DEV_STATUS_CMD, name="x")[1].flags & DM_READONLY_FLAG
    control.load("x", "0 8 linear /dev/d0 0")
    head = control.ioctl(DM_DEV_STATUS_CMD, name="x", flags=DM_QUERY_INACTIVE_TABLE_FLAG)[1]
    assert head.flags & DM_READONLY_FLAG == 0
    control.resume("x")
    assert on.md().disk.part0.policy == 0


def test_a_device_that_goes_while_a_table_is_made():
    on = Machine(disks=1)
    control.create("x")
    md, cell = on.md(), on.md().interface_ptr
    def go(ti, argc, argv):
        dm.dm_set_mdptr(md, None)
        return 0
    dm_target.dm_register_target(target_type(name="going", version=(1, 0, 0), ctr=go, map=lambda ti, bio: 1))
    before = len(on.kernel.log)
    assert control.load("x", "0 8 going") == -ENXIO
    assert said(on, before) == ["device has been removed from the dev hash table."]
    assert control.ioctl(DM_DEV_STATUS_CMD, dev=DEVICE_0)[0] == -ENXIO
    dm.dm_set_mdptr(md, cell)
    assert control.load("x", "0 8 linear /dev/d0 0") == 0
    dm.dm_set_mdptr(md, None)
    assert this().task("dmsetup", dm_ioctl.dm_get_inactive_table, md)[0] is None
    assert said(on, before)[1:] == ["device has been removed from the dev hash table."]
    assert dm_ioctl.dm_copy_name_and_uuid(md) == dm_ioctl.dm_copy_name_and_uuid(None) == (-ENXIO, "", "")
    dm.dm_set_mdptr(md, cell)
    assert dm_ioctl.dm_copy_name_and_uuid(md) == (0, "x", "")


# ---------------------------------------------------------------- what is answered


def entries(block, at, layout):
    """The entries of a list from `at` on, where each says in its field number `next` how far the next one is."""
    while True:
        fields = layout.unpack_from(block, at)
        yield at, fields
        step = fields[-1] if layout is NAME_LIST else fields[0]
        if not step:
            return
        at += step


def answer(cmd, size, **fields):
    """An ioctl with a block of some size. Returns (0 or -errno, dm_ioctl, block)."""
    block = bytearray(size)
    head = uapi.dm_ioctl(version=[4, 0, 0], data_size=size, data_start=control.DATA, **fields)
    uapi.write_head(head, block)
    r = raw(block, cmd)
    uapi.read_head(block, head)
    return r, head, block


def test_no_device():
    Machine(disks=0)
    r, head, block = control.ioctl(DM_LIST_DEVICES_CMD)
    assert (r, head.data_start, head.data_size) == (0, 312, 312)
    assert NAME_LIST.unpack_from(block, 312)[0] == 0
    assert answer(DM_LIST_DEVICES_CMD, 319)[1].flags == DM_BUFFER_FULL_FLAG
    assert answer(DM_LIST_DEVICES_CMD, 320)[1].flags == 0


@settings(max_examples=30)
@given(st.sets(st.text("abcdefghij", min_size=1, max_size=20), max_size=6), st.integers(0, 400))
def test_the_list_of_devices(wanted, room):
    """All devices with their numbers and events, or nothing where there is not room for all."""
    boot(1)
    control.load_modules()
    there = {}
    for minor, name in enumerate(sorted(wanted)):
        control.create(name, "0 8 zero")
        for _ in range(minor):
            dm_table.dm_table_event(dm.dm_get_md(254 << 20 | minor).map)
        there[name] = (DEVICE_0 + minor, minor)
    needed = sum((12 + len(name) + 1 + 7) // 8 * 8 + 8 for name in there)
    r, head, block = answer(DM_LIST_DEVICES_CMD, 312 + room)
    assert r == 0
    if room < max(needed, 8):
        assert (head.flags, head.data_size) == (DM_BUFFER_FULL_FLAG, DATA_OFFSET)
        return
    assert (head.flags, head.data_size) == (0, 312 + needed)
    if not there:  # then no device is written, which is eight bytes, and no more
        assert not any(block[head.data_start:])
        return
    found = {}
    for at, (dev, _) in entries(block, head.data_start, NAME_LIST):
        name = string_at(block, at + NAME_LIST.size)
        found[name] = (dev, U32.unpack_from(block, (at + NAME_LIST.size + len(name) + 1 + 7) // 8 * 8)[0])
    assert found == there


def test_devices_are_listed_by_what_their_names_hash_to():
    """The last six bits of 59 times the letter: 17 for c, 22 for b, 27 for a. On one list the newest is first."""
    Machine(disks=0)
    for name in "cbadCe":
        assert control.create(name) == 0
    _, head, block = control.ioctl(DM_LIST_DEVICES_CMD)
    order = sorted("eCdabc", key=lambda name: ord(name) * 59 % 64)
    assert [string_at(block, at + NAME_LIST.size) for at, _ in entries(block, head.data_start, NAME_LIST)] == order


def test_the_list_of_versions():
    Machine(disks=0)
    r, head, block = control.ioctl(DM_LIST_VERSIONS_CMD)
    found = {string_at(block, at + TARGET_VERSIONS.size): fields[1:]
             for at, fields in entries(block, head.data_start, TARGET_VERSIONS)}
    assert r == 0
    assert found == {"zero": (1, 1, 0), "multipath": (1, 13, 0), "delay": (1, 2, 1), "flakey": (1, 5, 0),
                     "striped": (1, 6, 0), "linear": (1, 4, 0), "error": (1, 5, 0)}
    needed = sum(16 + len(name) + 7 for name in found)
    assert head.data_size == 312 + needed
    assert answer(DM_LIST_VERSIONS_CMD, 312 + needed)[2][312:] == block[312:312 + needed]
    assert answer(DM_LIST_VERSIONS_CMD, 312 + needed - 1)[1].flags == DM_BUFFER_FULL_FLAG


def test_the_version_of_one_type():
    on = Machine(disks=0)
    r, head, block = control.ioctl(DM_GET_TARGET_VERSION_CMD, name="striped")
    assert (r, head.data_size) == (0, 312 + 16 + 7 + 7)
    assert list(entries(block, 312, TARGET_VERSIONS)) == [(312, (0, 1, 6, 0))]
    assert string_at(block, 328) == "striped"
    assert answer(DM_GET_TARGET_VERSION_CMD, 341, name="striped")[1].flags == DM_BUFFER_FULL_FLAG
    assert refused(on, DM_GET_TARGET_VERSION_CMD, name="nosuch") == (-EINVAL, [])


def test_types_that_come_while_they_are_listed_find_no_room():
    """Room is worked out first. What does not find any is said to be missing."""
    Machine(disks=0)
    block = bytearray(100)
    info = dm_ioctl.vers_iter(block=block, vers=8, end=60)
    dm_ioctl.list_version_get_info(target_type(name="first", version=(1, 2, 3)), info)
    assert (info.vers, info.old_vers, info.flags) == (32, 8, 0)
    dm_ioctl.list_version_get_info(target_type(name="a" * 16, version=(1, 2, 3)), info)
    assert (info.vers, info.old_vers, info.flags) == (32, 8, DM_BUFFER_FULL_FLAG)
    info.flags = 0
    dm_ioctl.list_version_get_info(target_type(name="a" * 15, version=(1, 2, 3)), info)
    assert (info.vers, info.old_vers, info.flags) == (64, 32, 0)


def test_the_devices_below():
    on = Machine(disks=3)
    control.create("x", "0 8 linear /dev/d0 0\n8 16 striped 2 8 /dev/d1 0 /dev/d0 8")
    control.load("x", "0 8 linear /dev/d2 0")
    for flags, numbers in ((0, [240 << 8 | 1, 240 << 8]), (DM_QUERY_INACTIVE_TABLE_FLAG, [240 << 8 | 2])):
        needed = 312 + 8 + 8 * len(numbers)
        for size in (needed, needed + 40):
            r, head, block = answer(DM_TABLE_DEPS_CMD, size, name="x", flags=flags)
            assert (r, head.data_size, head.flags & DM_BUFFER_FULL_FLAG) == (0, needed, 0)
            assert TARGET_DEPS.unpack_from(block, 312) == (len(numbers), 0)
            assert [uapi.U64.unpack_from(block, 320 + 8 * n)[0] for n in range(len(numbers))] == numbers
        r, head, _ = answer(DM_TABLE_DEPS_CMD, needed - 1, name="x", flags=flags)
        assert (r, head.flags & DM_BUFFER_FULL_FLAG, head.data_size) == (0, DM_BUFFER_FULL_FLAG, DATA_OFFSET)
    control.create("y")
    r, head, _ = control.ioctl(DM_TABLE_DEPS_CMD, name="y")
    assert (r, head.data_size) == (0, DATA_OFFSET)
    assert on.md("dm-1").map is None


@settings(max_examples=60)
@given(st.integers(0, 230))
def test_a_status_as_far_as_there_is_room(room):
    """Whole lines of the targets that fit; the answer says that there would be more."""
    Machine(disks=1)
    lines = ["0 8 linear 240:0 0", "8 8 zero ", "16 8 linear 240:0 11"]
    control.create("x", "\n".join(lines))
    r, head, block = answer(DM_TABLE_STATUS_CMD, 312 + room, name="x", flags=DM_STATUS_TABLE_FLAG)
    ends, at = [], 0
    for line in lines:
        end = at + TARGET_SPEC.size + len(line.split(None, 3)[3] if line.count(" ") > 2 and line[-1] != " " else "") + 1
        ends.append(end)
        at = (end + 7) // 8 * 8
    fit = sum(room > end for end in ends)
    assert (r, head.target_count, bool(head.flags & DM_BUFFER_FULL_FLAG)) == (0, 3, fit < 3)
    assert head.data_size == (312 + ends[fit - 1] if fit else DATA_OFFSET)
    at = 312
    for line in lines[:fit]:
        start, length, status, following, kind = TARGET_SPEC.unpack_from(block, at)
        assert f"{start} {length} {text_of(kind)} {string_at(block, at + TARGET_SPEC.size)}" == line
        assert status == 0
        at = 312 + following


def test_a_status_of_either_table():
    Machine(disks=2)
    control.create("x", "0 8 linear /dev/d0 0")
    control.load("x", "0 16 striped 2 8 /dev/d0 0 /dev/d1 0")
    assert control.status("x") == "0 8 linear "
    assert control.table("x") == "0 8 linear 240:0 0"
    inactive = DM_QUERY_INACTIVE_TABLE_FLAG
    assert control.status("x", inactive) == "0 16 striped 2 240:0 240:1 1 AA"
    assert control.status("x", inactive | DM_STATUS_TABLE_FLAG) == "0 16 striped 2 8 240:0 0 240:1 0"


def test_a_target_is_told_not_to_flush_for_its_status():
    Machine(disks=1)
    asked: list[tuple] = []
    Scripted(status=noting(asked, "words"))
    control.create("x", "0 8 scripted /dev/d0")
    assert control.status("x") == control.status("x", DM_NOFLUSH_FLAG) == "0 8 scripted words"
    assert control.table("x") == "0 8 scripted words"
    assert [each[1:] for each in asked] == [(0, 0), (0, 1), (1, 0)]


def test_how_a_device_is():
    on = Machine(disks=1)
    control.create("x")

    def flags(**more):
        r, head, _ = control.ioctl(DM_DEV_STATUS_CMD, name="x", flags=more.get("flags", 0))
        assert r == 0
        return head.flags & ~more.get("flags", 0), head.target_count, head.open_count
    assert flags() == (0, 0, 0)
    control.load("x", "0 8 zero\n8 8 error")
    assert flags() == (DM_INACTIVE_PRESENT_FLAG, 0, 0)
    assert flags(flags=DM_QUERY_INACTIVE_TABLE_FLAG) == (DM_INACTIVE_PRESENT_FLAG, 2, 0)
    control.resume("x")
    assert flags() == (DM_ACTIVE_PRESENT_FLAG, 2, 0)
    assert flags(flags=DM_QUERY_INACTIVE_TABLE_FLAG) == (DM_ACTIVE_PRESENT_FLAG, 0, 0)
    filp = this().task("user", filp_open, "dm-0", O_RDONLY)
    assert flags() == (DM_ACTIVE_PRESENT_FLAG, 2, 1)
    assert control.ioctl(DM_DEV_REMOVE_CMD, name="x", flags=DM_DEFERRED_REMOVE)[0] == 0
    assert flags() == (DM_ACTIVE_PRESENT_FLAG | DM_DEFERRED_REMOVE, 2, 1)
    assert control.message("x", "@Cancel_Deferred_Remove") == 0
    this().task("user", filp_close, filp)
    assert control.suspend("x") == 0
    assert flags() == (DM_ACTIVE_PRESENT_FLAG | DM_SUSPEND_FLAG, 2, 0)
    assert control.suspend("x") == 0  # it is
    control.resume("x")
    on.md().flags |= 1 << dm.DMF_SUSPENDED_INTERNALLY
    assert flags() == (DM_ACTIVE_PRESENT_FLAG | DM_INTERNAL_SUSPEND_FLAG, 2, 0)
    on.md().flags &= ~(1 << dm.DMF_SUSPENDED_INTERNALLY)


def test_waiting_for_an_event():
    on = Machine(disks=1)
    control.create("x", "0 8 linear /dev/d0 0")
    table = on.md().map
    this().loop.post(Context("irq", "disk", 0), lambda: dm_table.dm_table_event(table), 3 * MS)
    started = this().loop.now
    r, head, block = control.ioctl(DM_DEV_WAIT_CMD, name="x", event_nr=0, flags=DM_STATUS_TABLE_FLAG)
    assert (r, head.event_nr, head.target_count) == (0, 1, 1)
    assert this().loop.now - started >= 3 * MS
    assert string_at(block, 312 + TARGET_SPEC.size) == "240:0 0"
    assert control.ioctl(DM_DEV_WAIT_CMD, name="x", event_nr=0)[1].event_nr == 1  # one has happened

    def wait():
        task = this().context
        this().loop.post(Context("task", "shell", 0), lambda: send_sig(task), MS)
        head = uapi.dm_ioctl(name="x", event_nr=1, _block=bytearray(400))
        return dm_ioctl.dev_wait(None, head, 400)
    holders = on.md().holders
    assert this().task("dmsetup", wait) == -ERESTARTSYS
    assert on.md().holders == holders


def test_polling():
    Machine(disks=1)

    def happened(filp):
        return filp.f_op.poll(filp, None)
    control.create("x", "0 8 linear /dev/d0 0")
    filp = this().task("dmeventd", filp_open, "mapper/control", O_RDONLY)
    assert happened(filp) == 0
    for step in (lambda: control.create("y"), lambda: control.remove("y"), lambda: control.ioctl(DM_REMOVE_ALL_CMD),
                 lambda: control.create("x", "0 8 linear /dev/d0 0"),
                 lambda: control.ioctl(DM_DEV_RENAME_CMD, b"z\0", name="x"),
                 lambda: dm_table.dm_table_event(dm.dm_get_md(254 << 20).map)):
        step()
        assert happened(filp) == EPOLLIN
        block = bytearray(400)
        uapi.write_head(uapi.dm_ioctl(version=[4, 0, 0], data_size=400), block)
        assert this().task("dmeventd", vfs_ioctl, filp, _IOWR(DM_DEV_ARM_POLL_CMD), block) == 0
        assert happened(filp) == 0
    for step in (lambda: control.table("z"), lambda: control.load("z", "0 8 error"), lambda: control.remove("none")):
        step()
        assert happened(filp) == 0
    this().task("dmeventd", filp_close, filp)


# ---------------------------------------------------------------- messages


@pytest.mark.parametrize(("text", "r", "line"), [
    ("", -EINVAL, "device-mapper: ioctl: Empty message received."),
    ("   ", -EINVAL, "device-mapper: ioctl: Empty message received."),
    ("hello", -EINVAL, "device-mapper: ioctl: Target type does not support messages"),
    ("@cancel_deferred_remove now", -EINVAL,
     "device-mapper: ioctl: Invalid arguments for @cancel_deferred_remove"),
    ("@nonsense", -EINVAL, "device-mapper: ioctl: Unsupported message sent to DM core: @nonsense"),
    ("@stats_nonsense 1", -EINVAL, "device-mapper: ioctl: Unsupported message sent to DM core: @stats_nonsense"),
])
def test_messages_that_are_refused(text, r, line):
    on = Machine(disks=1)
    control.create("x", "0 8 linear /dev/d0 0")
    memory = on.kernel.memory.totals()
    assert control.message("x", text) == r
    assert on.kernel.log[-1] == line
    assert on.kernel.memory.totals() == memory


def test_messages_go_to_the_target_of_a_sector():
    on = Machine(disks=1)
    heard: list[tuple] = []
    Scripted(message=noting(heard, 0))
    control.create("x", "0 8 linear /dev/d0 0\n8 8 scripted /dev/d0\n16 8 scripted /dev/d0")
    for sector in (8, 15, 16):
        r, head, _ = control.ioctl(DM_TARGET_MSG_CMD, TARGET_MSG.pack(sector) + b"some words\0", name="x")
        assert (r, head.target_count) == (0, 3)
    assert [(ti.begin, argc, argv[:argc]) for ti, argc, argv in heard] == [
        (8, 2, ["some", "words"]), (8, 2, ["some", "words"]), (16, 2, ["some", "words"])]
    data = TARGET_MSG.pack(24) + b"words\0"
    assert control.ioctl(DM_TARGET_MSG_CMD, data, name="x")[0] == -EINVAL
    assert on.kernel.log[-1] == "device-mapper: ioctl: Target message sector outside device."
    on.md().flags |= 1 << dm.DMF_DELETING
    found = dm_ioctl.find_device
    dm_ioctl.find_device = lambda param: on.md()
    dm.dm_get(on.md())
    try:
        assert control.ioctl(DM_TARGET_MSG_CMD, TARGET_MSG.pack(8) + b"words\0", name="x")[0] == -ENXIO
    finally:
        dm_ioctl.find_device = found
        on.md().flags = 0


def test_a_message_to_a_device_without_a_table():
    """Nobody is there who could refuse it: 2 is not an error."""
    Machine(disks=1)
    control.create("x")
    assert control.message("x", "hello") == 2


def test_messages_that_are_not_whole():
    on = Machine(disks=1)
    control.create("x", "0 8 linear /dev/d0 0")
    assert refused(on, DM_TARGET_MSG_CMD, b"x" * (control.SIZE - control.DATA), name="x") == (
        -EINVAL, ["Invalid target message parameters."])
    before = len(on.kernel.log)
    block = bytearray(400)
    HEAD.pack_into(block, 0, 4, 0, 0, 400, 300, 0, 0, 0, 0, 0, 0, b"x", b"")
    assert raw(block, DM_TARGET_MSG_CMD) == -EINVAL
    assert said(on, before) == ["Invalid target message parameters."]
    on.kernel.memory.fail_nth(2)
    assert control.message("x", "hello") == -ENOMEM
    on.kernel.memory.fail_never()
    assert said(on, before)[1:] == ["Failed to split target message parameters"]


def test_statistics_are_left_out():
    Machine(disks=1)
    control.create("x", "0 8 linear /dev/d0 0")
    with pytest.raises(NotModelled):
        control.message("x", "@stats_list")


# ---------------------------------------------------------------- the node


def test_the_control_node():
    on = Machine(disks=0)
    on.kernel.memory.fail_nth(1)
    failed = this().task("dmsetup", filp_open, "mapper/control", O_RDONLY)
    on.kernel.memory.fail_never()
    assert PTR_ERR(failed) == -ENOMEM
    memory = on.kernel.memory.totals()
    filp = this().task("dmsetup", filp_open, "mapper/control", O_RDONLY)
    assert on.kernel.memory.totals() != memory
    this().task("dmsetup", filp_close, filp)
    assert on.kernel.memory.totals() == memory
    assert devices().nodes["mapper/control"].rdev == 10 << 20 | 236


def test_a_node_that_is_taken():
    """Somebody else has the number: device mapper does not load."""
    on = boot(1)
    assert on.task("insmod", misc_register, miscdevice(minor=236, name="other")) == 0
    assert on.task("insmod", dm_ioctl.dm_interface_init) == -EBUSY
    assert on.log[-1] == "device-mapper: ioctl: misc_register failed for control device"
