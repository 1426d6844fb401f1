"""A disk's number from a name that need not be in /dev."""

import pytest

from blkmodel import boot, scenario
from blkmodel.block.genhd import blk_lookup_devt
from blkmodel.services.base.kdev_t import MKDEV
from blkmodel.services.devices.device import devices
from blkmodel.services.files.mount import name_to_dev_t

DISK = MKDEV(254, 0)


@pytest.fixture
def disks():
    boot(2)
    scenario.null_blk_load()
    scenario.nvme_probe(partitions="mbr")


@pytest.mark.parametrize(("name", "number"), [
    ("254:0", DISK), ("9:3", MKDEV(9, 3)), ("9:3:77", MKDEV(9, 3)), ("9:3:77:", MKDEV(9, 3)),
    ("9:3:77:x", 0), ("9:3x", 0),
    ("4096:0", 0), ("9:1048576", 0), ("fe00", DISK), ("0xfe00", DISK), ("12300", MKDEV(0x123, 0)),
    ("d0", MKDEV(0, 0xD0)), ("fe00x", 0),
    ("nullb0", 0), ("", 0), ("/dev/nullb7", 0), ("/dev/", 0), ("/dev/nvme0n1p0", 0), ("/dev/nvme0n1p3", 0),
    ("/dev/nvme0n1x1", 0), ("/dev/" + "n" * 32, 0), ("/dev/nfs", 255), ("/dev/ram", MKDEV(1, 0)),
])
def test_numbers_of_names(disks, name, number):
    assert name_to_dev_t(name) == number


@pytest.mark.parametrize("name", ["nullb0", "nvme0n1", "nvme0n1p1", "nvme0n1p2"])
def test_disks_and_partitions_have_the_numbers_of_their_nodes(disks, name):
    assert name_to_dev_t(f"/dev/{name}") == devices().nodes[name].rdev != 0


def test_a_disk_with_numbers_of_its_own_has_one_for_a_partition_that_is_not_there(disks, monkeypatch):
    disk = scenario.disk("nullb0")
    monkeypatch.setattr(disk, "minors", 16)
    first = devices().nodes["nullb0"].rdev
    assert [blk_lookup_devt("nullb0", partno) for partno in (0, 3, 15, 16)] == [first, first + 3, first + 15, 0]
    assert (name_to_dev_t("/dev/nullb0p7"), name_to_dev_t("/dev/nullb0p17")) == (first + 7, 0)
