"""LVM of the model beside the real one: the same words, the same extents, and the same tables."""

import json
import re
import shlex
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel import boot, scenario
from blkmodel.errors import KernelError, NotModelled
from blkmodel.services.files.file import O_RDONLY, filp_close, filp_open
from blkmodel.sim.kernel import Context
from blkmodel.userland import dmsetup, lvm
from blkmodel.userland.lvm.units import display_size, parse_extents, parse_size
from blkmodel.userland.lvm.volumes import metadata
from tests.tools.lvm.machine import machine, refusing, segments
from tests.tools.lvm.record import RECORDED, SEEDS, chosen, drawn, words_of

UUID = re.compile(r"\bLVM-\w{64}")
SCENARIOS = json.loads(RECORDED.read_text())["scenarios"]


def test_the_recording_is_of_these_commands():
    assert [(each["disks"], [step["command"] for step in each["steps"]]) for each in SCENARIOS] == [
        *chosen(), *map(drawn, SEEDS)]


@pytest.mark.parametrize("number", range(len(SCENARIOS)))
def test_a_session_of_the_real_tools(number):
    recorded = SCENARIOS[number]
    with machine(recorded["disks"]):
        for step in recorded["steps"]:
            refused, words = words_of(step["command"])
            with refusing(refused):
                done: Any = dmsetup.run(words[1:]) if words[0] == "dmsetup" else lvm.run(words)
            assert (done.exit, done.output, [UUID.sub("UUID", line) for line in done.errors]) == (
                step["exit"], step.get("output", ""), [UUID.sub("UUID", line) for line in step.get("errors", [])]), step
            if words[0] != "dmsetup":
                assert [[what, name, *([table.split("\n")] if table is not None else [])]
                        for what, name, table in getattr(done, "ioctls", [])] == step.get("changes", []), step
            assert segments() == step.get("segments", {}), step["command"]


@pytest.fixture
def group():
    """Two disks of 64 MiB, and a group of both: 30 extents."""
    kernel = boot(2)
    for name in ("nvme0", "nvme1"):
        scenario.nvme_probe(name, sectors=131072)
    scenario.dm_load()
    lvm.lvm("vgcreate", "vg0", "/dev/nvme0n1", "/dev/nvme1n1")
    return kernel


def test_from_python(group):
    assert lvm.lvm("lvcreate", "-L", "10m", "-n", "a", "vg0") == (
        '  Rounding up size to full physical extent 12.00 MiB\n  Logical volume "a" created.\n')
    volume = lvm.volume("vg0/a")
    assert volume.table() == "0 24576 linear 259:0 2048"
    assert dmsetup.table("vg0-a") == f"{volume.table()}\n"
    assert f"UUID: LVM-{volume.vg.uuid}{volume.uuid}\n" in dmsetup.dmsetup("info", "vg0-a")
    lvm.lvm("lvextend", "-l", "+2", "vg0/a", "/dev/nvme1n1")
    assert dmsetup.table("vg0-a") == "0 24576 linear 259:0 2048\n24576 16384 linear 259:1 2048\n"
    with pytest.raises(ValueError, match=r"insufficient free space \(25 extents\): 26 required"):
        lvm.lvm("lvcreate", "-l", "26", "vg0")
    with pytest.raises(ValueError, match="pvfoo: not a command of LVM that the model has; it has pvcreate, vgcreate"):
        lvm.lvm("pvfoo")
    with pytest.raises(NotModelled, match="LVM's command pvscan is not modelled"):
        lvm.lvm("pvscan")
    with pytest.raises(KeyError, match="there is no logical volume 'vg0/b'"):
        lvm.volume("vg0/b")


@pytest.mark.parametrize(("options", "disk", "at"), [
    ([], "nvme0n1", 2048 * 512 + 65536), (["-i", "2"], "nvme1n1", 2048 * 512)])
def test_what_is_written_to_a_volume_lies_where_its_extents_are(group, options, disk, at):
    lvm.lvm("lvcreate", "-l", "4", *options, "-n", "a", "vg0")
    data = bytes(range(256)) * 16
    scenario.io("dm-0", "write", 65536, 4096, data=data)
    assert scenario.io(disk, "read", at, 4096) == data


def test_a_disk_that_is_in_use(group):
    scenario.nvme_probe("nvme2")
    dmsetup.create("lin0", "0 8 linear /dev/nvme2n1 0")
    for words in (["pvcreate"], ["vgcreate", "vg1"], ["vgextend", "vg0"]):
        done = lvm.run([*words, "/dev/nvme2n1"])
        assert (done.exit, done.output) == (5, "")
        assert done.errors[0] == "  Can't open /dev/nvme2n1 exclusively.  Mounted filesystem?"
    dmsetup.remove("lin0")
    lvm.lvm("vgextend", "vg0", "/dev/nvme2n1")


@pytest.mark.parametrize("words", ["lvremove -y vg0/a", "lvremove -f vg0/a", "lvremove vg0/a", "lvchange -an vg0/a"])
def test_a_volume_that_is_in_use(group, words):
    """By a device that is made of it, which sysfs says; or by who has it open, which is looked at for five seconds. No
    ioctl changes anything, and nobody is asked."""
    lvm.lvm("lvcreate", "-l", "1", "-n", "a", "vg0")
    dmsetup.create("top", "0 8 linear /dev/mapper/vg0-a 0")
    before = segments()
    done = lvm.run(words.split())
    assert (done.exit, done.output, done.ioctls) == (5, "", [])
    assert done.errors == ["  Logical volume vg0/a is used by another device."]
    dmsetup.remove("top")
    held = group.task("cat", filp_open, "dm-0", O_RDONLY)
    now = group.now
    done = lvm.run(words.split())
    assert (done.exit, done.output, done.ioctls) == (5, "", [])
    assert done.errors == ["  Logical volume vg0/a in use."]
    assert (segments(), (group.now - now) // 1_000_000) == (before, 4800)
    group.loop.post(Context("task", "cat", 0), lambda: filp_close(held), 1_000_000_000)
    assert lvm.run([*words.split(), *(["-y"] if "remove" in words else [])]).exit == 0


def test_a_volume_that_is_open_is_reduced_with_another_warning(group):
    lvm.lvm("lvcreate", "-l", "3", "-n", "a", "vg0")
    said = [lvm.run(["lvreduce", "-y", "-l", "-1", "vg0/a"]).errors[0]]
    dmsetup.create("top", "0 8 linear /dev/mapper/vg0-a 0")
    said.append(lvm.run(["lvreduce", "-y", "-l", "-1", "vg0/a"]).errors[0])
    assert said == ["  WARNING: Reducing active logical volume to 8.00 MiB.",
                    "  WARNING: Reducing active and open logical volume to 4.00 MiB."]


def test_one_volume_in_use_does_not_keep_the_others(group):
    for name in ("a", "b", "c"):
        lvm.lvm("lvcreate", "-l", "1", "-n", name, "vg0")
    dmsetup.create("top", "0 8 linear /dev/mapper/vg0-b 0")
    done = lvm.run(["lvremove", "-y", "vg0"])
    assert (done.exit, done.errors) == (5, ["  Logical volume vg0/b is used by another device."])
    assert done.output == '  Logical volume "a" successfully removed.\n  Logical volume "c" successfully removed.\n'
    assert list(segments()) == ["b"]


@pytest.mark.parametrize(("words", "undo"), [
    ("lvchange -ay vg0/warm", "lvchange -an vg0/warm"), ("lvcreate -l 3 -n a vg0", "lvremove -y vg0/a"),
    ("lvextend -l +2 vg0/warm", "lvreduce -y -l -2 vg0/warm")])
def test_memory_runs_out(group, words, undo):
    """Whichever allocation fails: it is done, or what is as before is said, and the next try succeeds. A volume whose
    new table could not be made live is suspended, and LVM has noted its new size: to activate it mends that."""
    lvm.lvm("lvcreate", "-l", "1", "-n", "warm", "vg0")
    if "lvchange" in words:
        lvm.lvm(*undo.split())
    before, tables = segments(), dmsetup.dmsetup("table")
    refused, suspended = 0, 0
    for nth in range(1, 400):
        failed = group.memory.failed
        group.memory.fail_nth(nth)
        done = lvm.run(words.split())
        group.memory.fail_never()
        if done.exit:
            refused += 1
            assert done.errors
            half = "lvchange" in words and dmsetup.dmsetup("ls") == "vg0-warm\t(254:0)\n"
            assert dmsetup.dmsetup("table") == ("vg0-warm: \n" if half else tables), nth
            if any("Problem reactivating" in line for line in done.errors):
                suspended += 1
                assert "State:             SUSPENDED" in dmsetup.dmsetup("info", "vg0-warm")
                lvm.lvm("lvchange", "-ay", "vg0/warm")
            else:
                assert segments() == before, nth
                lvm.lvm(*words.split())
        assert all(dmsetup.table(lv.dm_name) == f"{lv.table()}\n" for lv in metadata().vgs["vg0"].lvs)
        assert segments() != before or "lvchange" in words
        lvm.lvm(*undo.split())
        assert (segments(), dmsetup.dmsetup("table")) == (before, tables)
        if group.memory.failed == failed:
            break
    assert refused > 3
    assert bool(suspended) == ("lvextend" in words)
    assert nth < 399


def test_a_refused_ioctl_is_an_exception(group):
    dmsetup.create("vg0-a", "0 8 zero")
    with pytest.raises(KernelError, match="EBUSY") as refused:
        lvm.lvm("lvcreate", "-l", "1", "-n", "a", "vg0")
    assert refused.value.log[-1] == "Failed to activate new LV vg0/a."
    assert segments() == {}


@given(seed=st.integers(min_value=10_000))
@settings(max_examples=60, deadline=None)
def test_nobody_shares_an_extent(seed):
    """Whatever is done: volumes lie side by side, are without gaps, and are what device mapper was told."""
    sizes, lines = drawn(seed)
    with machine(sizes):
        for line in lines:
            lvm.run(shlex.split(line))
        for vg in metadata().vgs.values():
            for pv in vg.pvs:
                runs = pv.used()
                assert all(one + count <= other for (one, count, _), (other, _, _) in pairwise(runs))
                assert not runs or runs[-1][0] + runs[-1][1] <= pv.pe_count
                assert pv.pe_start + pv.pe_count * vg.extent_size <= pv.size
                assert sum(count for _, count, _ in runs) + pv.free_count == pv.pe_count
            for lv in vg.lvs:
                at = 0
                for segment in lv.segments:
                    assert segment.start == at
                    assert segment.area_length * len(segment.areas) == segment.length > 0
                    at += segment.length
                assert dmsetup.table(lv.dm_name) == f"{lv.table()}\n"


@pytest.mark.parametrize(("text", "sectors"), [
    ("10m", 20480), ("10", 20480), ("1.5G", 3 << 20), ("2048s", 2048), ("1K", 2), ("512b", 1), ("1t", 1 << 31),
    (".5m", 1024)])
def test_sizes(text, sectors):
    assert parse_size(text).amount == sectors
    assert parse_size(f"+{text}").sign == "+"


@pytest.mark.parametrize(("text", "why"), [
    ("", "Size requires number argument"), ("m", "Size requires number argument"), ("1x", "Can't parse size argument"),
    ("--1m", "Multiple sign symbols detected"), ("513b", "not a multiple of 512. Try using 512 or 1024"),
    ("16e", "Size is too big")])
def test_sizes_that_are_none(text, why):
    with pytest.raises(ValueError, match=why):
        parse_size(text)


def test_extents():
    assert parse_extents("+50%f") == ("+", 50, "FREE")
    assert parse_extents("7") == ("", 7, None)
    with pytest.raises(ValueError, match="Specified %foo is unknown"):
        parse_extents("5%foo")


@pytest.mark.parametrize(("sectors", "shown"), [
    (0, "0   "), (1, "512 B"), (3, "1.50 KiB"), (8192, "4.00 MiB"), (2047, "1023.50 KiB"), (1 << 21, "1.00 GiB"),
    ((1 << 21) - 2048, "1023.00 MiB"), ((1 << 31) - 2048, "<1024.00 GiB")])
def test_sizes_as_they_are_shown(sectors, shown):
    assert display_size(sectors) == shown
