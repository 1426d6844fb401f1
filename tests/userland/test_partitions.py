"""Partitions as a user sees them: tables that are written, disks that are made of them, what is busy."""

import json
from functools import partial

import pytest

from blkmodel import boot, scenario
from blkmodel.cli.main import main
from blkmodel.errors import KernelError, NotModelled
from blkmodel.userland.partitions import TWO, parsed, tables

PARTS = "2048+2048,8192+2048,16384+2048,32768+1000"


@pytest.fixture(params=["mbr", "gpt"])
def disk(request):
    boot(4)
    scenario.nvme_probe(partitions=request.param)
    return "nvme0n1"


def refused(errno, fn, *args):
    with pytest.raises(KernelError) as why:
        fn(*args)
    assert why.value.name == errno


def test_what_is_there(disk):
    assert scenario.this().log[-1] == " nvme0n1: p1 p2"
    assert scenario.look.lsblk() == (
        "NAME        MAJ:MIN RM SIZE RO TYPE MOUNTPOINTS\n"
        "nvme0n1     259:0    0  64M  0 disk \n"
        "├─nvme0n1p1 259:1    0  16M  0 part \n"
        "└─nvme0n1p2 259:2    0  32M  0 part \n")
    assert scenario.cat("/proc/partitions") == (
        "major minor  #blocks  name\n\n"
        " 259        0      65536 nvme0n1\n"
        " 259        1      16384 nvme0n1p1\n"
        " 259        2      32768 nvme0n1p2\n")
    files = {"partition": "2", "start": "34816", "size": "65536", "ro": "0", "alignment_offset": "0",
             "discard_alignment": "0", "inflight": "       0        0"}
    assert {file: scenario.cat(f"/sys/block/{disk}/{disk}p2/{file}") for file in files} == {
        file: f"{text}\n" for file, text in files.items()}


def test_io_is_moved(disk):
    """To where the partition is, and not beyond it; it is counted there and for the disk."""
    scenario.io(f"{disk}p2", "write", 4096, 512, data=b"x" * 512)
    assert scenario.io(disk, "read", (TWO[1][0] + 8) * 512, 512) == b"x" * 512
    assert scenario.io(f"{disk}p1", "read", (TWO[0][1] - 1) * 512, 4096) == bytes(512)
    assert scenario.io(f"{disk}p1", "read", TWO[0][1] * 512, 4096) == b""
    refused("ENOSPC", scenario.io, f"{disk}p1", "write", TWO[0][1] * 512, 512)
    rows = [line.split() for line in scenario.cat("/proc/diskstats").splitlines()]
    assert [(row[2], row[3], row[5], row[7], row[9]) for row in rows[1:]] == [
        (f"{disk}p1", "1", "1", "0", "0"), (f"{disk}p2", "1", "1", "1", "1")]
    assert rows[0][7] == "1"
    stat = scenario.cat(f"/sys/block/{disk}/stat").split()
    assert rows[0][3:] == stat


def test_who_has_a_partition_has_the_disk(disk):
    table = "0 1000 linear /dev/{} 0"
    assert scenario.dmsetup_run("create", "part", "--table", table.format(f"{disk}p1")).exit == 0
    assert scenario.dmsetup_run("create", "whole", "--table", table.format(disk)).errno == 16
    assert scenario.dmsetup_run("create", "other", "--table", table.format(f"{disk}p2")).exit == 0
    assert scenario.dmsetup_run("deps", "-o", "blkdevname", "part").output.endswith(f"({disk}p1)\n")
    refused("EBUSY", scenario.rescan_partitions, disk)
    refused("EBUSY", scenario.partition, disk, "mbr", PARTS)
    assert scenario.cat("/proc/partitions").count("nvme") == 3, "a table that could not be written"
    for name in ("part", "other"):
        scenario.dmsetup_run("remove", name)
    assert scenario.dmsetup_run("create", "whole", "--table", table.format(disk)).exit == 0
    assert scenario.dmsetup_run("create", "part", "--table", table.format(f"{disk}p1")).errno == 16


def test_a_table_is_written(disk):
    scenario.partition(disk, "mbr", PARTS)
    assert scenario.this().log[-1] == " nvme0n1: p1 p2 p3 p4"
    scenario.partition(disk, "gpt", "34+1,2048+100")
    assert scenario.cat("/proc/partitions").split()[-8:] == ["259", "1", "0", "nvme0n1p1", "259", "2", "50",
                                                             "nvme0n1p2"]
    refused("EINVAL", scenario.rescan_partitions, f"{disk}p1")
    scenario.nvme_remove()
    assert scenario.look.lsblk() == ""


def test_lvm_on_a_partition(disk):
    assert scenario.lvm_run("pvcreate", f"/dev/{disk}").errors[-1].endswith("device is partitioned")
    assert scenario.lvm_run("vgcreate", "vg", f"/dev/{disk}p2").exit == 0
    assert scenario.lvm_run("lvcreate", "-L", "8m", "-n", "lv", "vg").exit == 0
    scenario.io("dm-0", "write", 0, 512, data=b"y" * 512)
    assert scenario.io(disk, "read", (TWO[1][0] + 2048) * 512, 512) == b"y" * 512


@pytest.mark.parametrize(("label", "sectors", "parts"), [
    ("dos", 4096, [(1, 1)]), ("mbr", 4096, [(0, 1)]), ("mbr", 4096, [(10, 10), (19, 1)]), ("mbr", 4096, [(1, 4096)]),
    ("gpt", 4096, [(33, 1)]), ("gpt", 4096, [(34, 4096 - 66)]), ("mbr", 99, [(1, 0)]),
    ("mbr", 4096, [(1, 1), (2, 1), (3, 1), (4, 1), (6, 1)]), ("gpt", 4096, [(34 + i, 1) for i in range(129)])])
def test_tables_that_can_not_be(label, sectors, parts):
    with pytest.raises(ValueError, match=r"label|partition"):
        tables(label, sectors, parts)


@pytest.mark.parametrize("text", ["1", "1+", "1+2,", ",1+2", "-1+2", "1+2;3+4", "1+2,x", "1" * 30 + "+1"])
def test_texts_that_are_no_partitions(text):
    with pytest.raises(ValueError, match="FIRST"):
        parsed(text)


def test_disks_that_are_none():
    boot(2)
    scenario.nvme_probe(partitions="gpt")
    for name in ("sda", "nvme0n1p1"):
        with pytest.raises(ValueError, match="no whole disk"):
            scenario.partition(name, "mbr", "1+1")
    with pytest.raises(ValueError, match="mbr, gpt"):
        scenario.nvme_device("nvme1", partitions="sun")
    with pytest.raises(ValueError, match="hotplug"):
        scenario.nvme_device("nvme1", slot="cold")
    with pytest.raises(ValueError, match="from 0 to"):
        scenario.nvme_device("nvme1", latency_ms=-1)


def test_files_that_are_not_there():
    boot(2)
    scenario.null_blk_load()
    assert scenario.cat("/proc/partitions") == "major minor  #blocks  name\n\n", "null_blk asks not to be shown"
    assert scenario.cat("/sys/block/nullb0/queue/nr_requests") == "128\n"
    for file in ("/proc/interrupts", "/sys/block/nullb0/trace/enable"):
        with pytest.raises(NotModelled):
            scenario.cat(file)
    for file in ("/proc/nothing", "/sys/block/nullb0/nothing", "/sys/block/sda/size", "partitions", "/sys/kernel/x"):
        with pytest.raises(KeyError):
            scenario.cat(file)
    refused("EINVAL", scenario.cat, "/sys/block/nullb0/queue/wbt_lat_usec")


def test_files_of_a_null_blk_device():
    boot(2)
    scenario.null_blk_load(nr_devices=0)
    scenario.null_blk_create("d", size=8, memory_backed=1, submit_queues=2, home_node=0)
    said = {"size": "8", "completion_nsec": "10000", "submit_queues": "2", "home_node": "0", "queue_mode": "2",
            "blocksize": "512", "irqmode": "1", "hw_queue_depth": "64", "index": "0", "blocking": "1", "power": "1",
            "use_per_node_hctx": "0", "memory_backed": "1", "discard": "0", "cache_size": "0", "zoned": "0",
            "zone_size": "256", "zone_nr_conv": "0"}
    assert {file: scenario.cat(f"/sys/kernel/config/nullb/d/{file}") for file in said} == {
        file: f"{text}\n" for file, text in said.items()}
    assert scenario.cat("/sys/kernel/config/nullb/features").startswith("memory_backed,")
    for file in ("nullb/d/none", "nullb/e/size", "nullb/none", "none/features"):
        refused("ENOENT", scenario.cat, f"/sys/kernel/config/{file}")
    with pytest.raises(NotModelled, match="mbps"):
        scenario.cat("/sys/kernel/config/nullb/d/mbps")
    with pytest.raises(NotModelled, match="mbps"):
        scenario.null_blk_create("e", mbps=1)
    refused("ENOENT", scenario.cat, "/sys/kernel/config/nullb/e/size")


def test_bad_blocks_of_a_null_blk_device():
    """What is bad can't be read or written; what is good again can, with what it held."""
    boot(2)
    scenario.null_blk_load(nr_devices=0)
    name = scenario.null_blk_create("d", size=8, memory_backed=1)
    written = scenario.io(name, "write", 0, 32768)
    scenario.null_blk_configure("d", badblocks="+16-23")
    scenario.null_blk_configure("d", badblocks="+20-31")
    scenario.null_blk_configure("d", badblocks="-26-27")
    assert scenario.cat("/sys/kernel/config/nullb/d/badblocks") == "16 10\n28 4\n"
    for sector in range(0, 64, 2):
        if sector in (*range(16, 26), *range(28, 32)):
            refused("EIO", scenario.io, name, "read", sector * 512, 1024)
        else:
            assert scenario.io(name, "read", sector * 512, 1024) == written[sector * 512:][:1024]
    for text in ("16-23", "+16", "+x-3", "+9-3", ""):
        refused("EINVAL", partial(scenario.null_blk_configure, badblocks=text), "d")
    assert name == "nullb0"


def test_in_a_session(tmp_path, capsys):
    path = tmp_path / "s.json"
    steps = ["nvme.probe device=nvme0 partitions=gpt", "partition disk=nvme0n1 label=mbr parts=2048+2048", "lsblk"]
    path.write_text(json.dumps({"format": "blkmodel-session/1", "machine": {"cpus": 2}, "steps": steps}))
    assert main(["session", str(path)]) == 0
    assert capsys.readouterr().out.endswith(
        "nvme0n1     259:0    0  64M  0 disk \n└─nvme0n1p1 259:1    0   1M  0 part \n")
    assert main(["dmesg", "--session", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == " nvme0n1: p1"
