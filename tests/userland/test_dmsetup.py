"""The tool dmsetup and its library: against what dmsetup 1.02.185 prints and asks the kernel for, and from Python."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel import KernelError, boot, scenario
from blkmodel.errors import NotModelled
from blkmodel.include.linux import dm_ioctl as uapi
from blkmodel.services.devices.device import devices
from blkmodel.services.files.file import O_RDONLY, filp_close, filp_open, mknod, unlink
from blkmodel.services.files.inode import S_IFBLK
from blkmodel.sim import this
from blkmodel.sim.kernel import Context
from blkmodel.userland import dmsetup, libdm
from tests.tools import dmsetup_drawn
from tests.tools.lvm.machine import machine

RECORDED = json.loads(Path(__file__).with_name("dmsetup-1.02.185.json").read_text())
"""What the tool printed, and the blocks that it gave the kernel, when this model answered its ioctls: number, flags,
event, device, name, UUID, and what is behind the head, in hexadecimal. Left out is what it says of nodes it misses,
for reading ahead."""


@pytest.fixture
def disks():
    kernel = boot(4)
    for n in range(2):
        scenario.nvme_probe(f"nvme{n}")
    scenario.dm_load()
    return kernel


@pytest.fixture
def asked(monkeypatch):
    """The ioctls that the library does."""
    blocks = []

    def vfs_ioctl(filp, cmd, block):
        head = uapi.dm_ioctl()
        uapi.read_head(block, head)
        blocks.append([cmd & 255, hex(head.flags), hex(head.event_nr), head.dev, head.name, head.uuid,
                       bytes(block[head.data_start:]).rstrip(b"\0").hex()])
        assert (head.version[0], head.data_start, head.data_size) == (4, 312, 16384)
        return done(filp, cmd, block)
    done = libdm.vfs_ioctl
    monkeypatch.setattr(libdm, "vfs_ioctl", vfs_ioctl)
    return blocks


def test_the_tool_does_as_the_tool(disks, asked):
    assert len(RECORDED["commands"]) == 153
    for command in RECORDED["commands"]:
        asked.clear()
        done = dmsetup.run(command["words"], command.get("stdin", ""))
        output = "".join(line for line in done.output.splitlines(True) if not line.startswith("Read Ahead"))
        assert {"words": command["words"], "exit": done.exit, "output": output, "errors": done.errors} == {
            key: command[key] for key in ("words", "exit", "output", "errors")}
        if command["words"] == ["remove_all"]:  # which looks at nodes in no order
            assert sorted(asked) == sorted(command["ioctls"])
        else:
            assert asked == command["ioctls"], command["words"]


def test_the_same_from_python(disks):
    assert dmsetup.create("x", "0 2048 linear /dev/nvme0n1 0", uuid="U-1") == "dm-0"
    assert dmsetup.create("y") == "dm-1"
    assert dmsetup.table("x") == "0 2048 linear 259:0 0\n"
    assert dmsetup.status("x") == "0 2048 linear \n"
    dmsetup.load("x", "0 2048 striped 2 128 /dev/nvme0n1 0 /dev/nvme1n1 0")
    dmsetup.suspend("x")
    assert "State:             SUSPENDED" in dmsetup.dmsetup("info", "x")
    dmsetup.resume("x")
    assert dmsetup.table("x") == "0 2048 striped 2 128 259:0 0 259:1 0\n"
    dmsetup.suspend("x", flush=False)
    dmsetup.resume("x")
    dmsetup.rename("x", "z")
    assert dmsetup.disk_of("z") == "dm-0"
    with pytest.raises(KeyError, match="there is no mapped device 'x'"):
        dmsetup.disk_of("x")
    dmsetup.message("z", 0, "@cancel_deferred_remove")
    data = bytes(range(256)) * 32
    scenario.io("dm-0", "write", 65536 - 4096, 8192, data=data)
    assert scenario.io("nvme0n1", "read", 65536 - 4096, 4096) == data[:4096]
    assert scenario.io("nvme1n1", "read", 0, 4096) == data[4096:]
    for name in "yz":
        dmsetup.remove(name)
    assert dmsetup.dmsetup("ls") == "No devices found\n"


def test_what_is_refused_is_an_exception(disks):
    with pytest.raises(KernelError) as caught:
        dmsetup.create("x", "0 2048 nosuch 1 2 3")
    assert str(caught.value).splitlines()[0] == "[Errno 22] dmsetup create x --table 0 2048 nosuch 1 2 3: EINVAL"
    assert caught.value.log == (
        "device-mapper: reload ioctl on x (254:0) failed: Invalid argument", "Command failed.",
        "device-mapper: table: 254:0: nosuch: unknown target type",
        "device-mapper: ioctl: error adding target to table")
    with pytest.raises(ValueError, match="Invalid format on line 2 of table"):
        dmsetup.create("x", "0 8 zero\n8 zero")
    with pytest.raises(KernelError, match="ENXIO"):
        dmsetup.message("x", 0, "hello")
    assert dmsetup.dmsetup("ls") == "No devices found\n"


def test_nodes(disks):
    def nodes():
        return {name: node.rdev & 0xFFFFF for name, node in devices().nodes.items()
                if name.startswith("mapper/") and name != "mapper/control"}
    dmsetup.create("a")
    assert nodes() == {}
    dmsetup.dmsetup("create", "early", "--notable", "--addnodeoncreate")
    assert nodes() == {"mapper/early": 1}
    dmsetup.load("a", "0 8 zero")
    dmsetup.resume("a")
    assert nodes() == {"mapper/early": 1, "mapper/a": 0}
    dmsetup.rename("a", "b")
    dmsetup.rename("early", "a")
    assert nodes() == {"mapper/b": 0, "mapper/a": 1}
    assert scenario.io("mapper/b", "read", 0, 4096) == bytes(4096)
    del devices().nodes["mapper/a"]
    dmsetup.dmsetup("mknodes")
    assert nodes() == {"mapper/b": 0, "mapper/a": 1}
    mknod("/dev/mapper/gone", S_IFBLK, 254 << 20 | 1)
    unlink("/dev/mapper/a")
    mknod("/dev/mapper/a", S_IFBLK, 254 << 20 | 7)
    dmsetup.dmsetup("mknodes")
    assert nodes() == {"mapper/b": 0, "mapper/a": 1}
    dmsetup.dmsetup("remove", "/dev/mapper/b")
    dmsetup.dmsetup("remove", "/dev/dm-1")
    assert nodes() == {}


def test_answers_that_are_longer_than_the_block(disks):
    """The library asks again, with twice the room, as often as it takes."""
    stripes = " ".join("/dev/nvme0n1 0" for _ in range(64))
    table = "\n".join(f"{n * 512} 512 striped 64 8 {stripes}" for n in range(40))
    dmsetup.create("long", table)
    lines = dmsetup.table("long").splitlines()
    assert len(lines) == 40
    assert all(line.endswith(" 259:0 0" * 64) for line in lines)
    assert len("".join(lines)) > 16384
    for n in range(200):
        dmsetup.create(f"{n:0100}")
    assert len(dmsetup.dmsetup("ls").splitlines()) == 201


def test_removing_a_device_that_is_about_to_be_closed(disks):
    dmsetup.create("x", "0 8 zero")
    filp = this().task("user", filp_open, "dm-0", O_RDONLY)
    assert dmsetup.run(["remove", "x"]).errors[0] == (
        "device-mapper: remove ioctl on x  failed: Device or resource busy")
    started = this().loop.now
    assert dmsetup.run(["remove", "--retry", "x"]).errno == 16
    assert this().loop.now - started == 24 * 200_000_000
    this().loop.post(Context("task", "user", 0), lambda: filp_close(filp), 500_000_000)
    assert dmsetup.run(["remove", "--retry", "x"]).exit == 0
    assert dmsetup.dmsetup("ls") == "No devices found\n"


def test_device_mapper_that_is_not_there():
    boot(1)
    done = dmsetup.run(["ls"])
    assert (done.exit, done.output, done.ioctl) == (1, "", None)
    assert done.errors == [
        "/dev/mapper/control: open failed: No such file or directory",
        "Failure to communicate with kernel device-mapper driver.",
        "Check that device-mapper is available in the kernel.",
        "Incompatible libdevmapper 1.02.185 (2022-05-18) and kernel driver (unknown version).",
        "Command failed."]


def test_a_device_that_cannot_be_taken_back(disks, monkeypatch):
    """Somebody opens it before its table has failed."""
    opened = []

    def open_it(filp, cmd, block):
        r = done(filp, cmd, block)
        if cmd & 255 == uapi.DM_DEV_CREATE_CMD:
            opened.append(filp_open("dm-0", O_RDONLY))
        return r
    done = libdm.vfs_ioctl
    monkeypatch.setattr(libdm, "vfs_ioctl", open_it)
    failed = dmsetup.run(["create", "x", "--table", "0 8 nosuch"])
    assert (failed.exit, failed.ioctl, failed.errno) == (1, "reload", 22)
    assert failed.errors == ["device-mapper: reload ioctl on x (254:0) failed: Invalid argument",
                             "device-mapper: remove ioctl on x  failed: Device or resource busy",
                             "Failed to revert device creation.", "Command failed."]
    assert dmsetup.dmsetup("ls") == "x\t(254:0)\n"


def test_how_devices_are_called(disks):
    dmsetup.create("x", "0 8 linear /dev/nvme0n1 0")
    for option, ours, below in (("devno", "254:0", "259, 0"), ("blkdevname", "dm-0", "nvme0n1"),
                                ("devname", "x", "nvme0n1"), ("b,d", "254:0", "259, 0")):
        assert dmsetup.dmsetup("ls", "-o", option) == f"x\t({ours})\n"
        assert dmsetup.dmsetup("deps", "-o", option, "x") == f"1 dependencies\t: ({below})\n"
    refused = dmsetup.run(["ls", "-o", "devno,size,devname"])
    assert (refused.exit, refused.errors) == (
        1, ["Option not recognised: size,devname.", "Couldn't process command line."])


def test_devices_are_in_the_order_in_which_the_kernel_has_them(disks):
    for name in "zxy":
        dmsetup.create(name, "0 8 zero")
    names = [line.split("\t")[0] for line in dmsetup.dmsetup("ls").splitlines()]
    assert sorted(names) != names
    assert dmsetup.dmsetup("info", "-c", "--noheadings", "-o", "name").split() == names


def test_a_message_that_nobody_takes(disks):
    dmsetup.create("x")
    assert dmsetup.run(["message", "x", "0", "hello"])[:3] == (0, "", [])


def test_a_table_that_cannot_be_wiped(disks):
    """The table is asked for, and what answers is not heard: loading fails too."""
    assert dmsetup.run(["wipe_table", "x"]).errors == [
        "device-mapper: table ioctl on x  failed: No such device or address",
        "device-mapper: reload ioctl on x  failed: No such device or address", "Command failed."]


def test_what_is_not_modelled_leaves_the_device_free(disks):
    dmsetup.create("x", "0 8 zero")
    with pytest.raises(NotModelled, match="@stats_list"):
        dmsetup.run(["message", "x", "0", "@stats_list"])
    dmsetup.remove("x")
    with pytest.raises(NotModelled, match="hardware handler alua"):
        dmsetup.create("x", "0 8 multipath 0 1 alua 0 0")
    assert dmsetup.dmsetup("ls") == "No devices found\n"


@pytest.mark.parametrize("seed", dmsetup_drawn.SEEDS)
def test_commands_that_are_drawn(seed):
    """Whatever it is told: the tool says what the real one says, and no word of it is too much for the kernel."""
    recorded = json.loads(dmsetup_drawn.RECORDED.read_text())[seed * dmsetup_drawn.COMMANDS:]
    with machine(dmsetup_drawn.DISKS):
        for words, expected in zip(dmsetup_drawn.drawn(seed), recorded, strict=False):
            done = dmsetup.run(words)
            assert dmsetup_drawn.said(done.exit, done.output, done.errors) == expected, words


def held(kernel):
    """What memory is held, but for the list of slabs for bios, which only grows."""
    return {what: size for what, size in kernel.memory.totals().items() if what[0] != "bio_slab[]"}


@pytest.mark.parametrize("seed", range(8))
def test_tables_that_are_drawn_leave_nothing(seed):
    """Refused, or made and removed: all memory comes back."""
    draw = random.Random(seed)
    with machine(dmsetup_drawn.DISKS) as kernel:
        made_once = (f"linear {device} 0" for device in dmsetup_drawn.DEVICES)  # and then kept: the device's inode
        for target in (*made_once, *dmsetup_drawn.TARGETS):
            dmsetup.run(["create", "warm", "--table", f"0 48 {target}"])
            dmsetup.run(["remove", "warm"])
        kernel.loop.run_due()
        before = held(kernel)
        for _ in range(20):
            table = dmsetup_drawn.table(draw)
            done = dmsetup.run(["create", "x", "--table", table])
            assert dmsetup.run(["remove", "x"]).exit == done.exit
            kernel.loop.run_due()
            assert held(kernel) == before, table


@pytest.mark.parametrize(("words", "what"), [
    (["help"], "dmsetup help"), (["-h"], "dmsetup's option --help"), (["ls", "--tree"], "dmsetup's option --tree"),
    (["create", "x", "--mode", "600"], "dmsetup's option --mode"), (["splitname", "a-b"], "dmsetup splitname")])
def test_what_the_tool_can_do_and_the_model_cannot(disks, words, what):
    with pytest.raises(NotModelled, match=f"^{what} is not modelled$"):
        dmsetup.run(words)


@pytest.mark.parametrize(("name", "node"), [
    ("plain-Name_1.2:3@4+5=6#", "plain-Name_1.2:3@4+5=6#"), ("a b", "a\\x20b"), ("ü", "\\xc3\\xbc"),
    ("a\\b", "a\\x5cb"), ("a\\x20b", "a\\x20b")])
def test_names_that_udev_cannot_bear(name, node):
    assert libdm.mangled(name) == node
    assert libdm.plain(node) == name.replace("\\x20", " ")


@given(st.text(max_size=20))
@settings(max_examples=50)
def test_a_mangled_name_says_which_it_was(name):
    if "\\x" not in name:
        assert libdm.plain(libdm.mangled(name)) == name


WORDS = ["a", "b", "--table", "0 8 zero", "--notable", "-f", "-u", "-v", "--inactive", "-c", "1", "--deferred", "-j",
         "254", "-m", "--", "--ta"]


@given(words=st.lists(st.sampled_from([*(set(dmsetup.COMMANDS) - {"wait"}), *WORDS]), max_size=5))
def test_any_words_do_something_or_say_why_not(words):
    """And what fails says so."""
    boot(1)
    scenario.dm_load()
    done = dmsetup.run(words)
    assert done.exit in (0, 1)
    assert not done.exit or done.errors
    assert not done.errno or done.exit
    assert [line for line in this().log if "WARNING" in line] == []
