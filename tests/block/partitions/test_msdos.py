"""The table of DOS: what is a partition, and what is none."""

from struct import pack, pack_into

import pytest

from blkmodel import boot
from blkmodel.userland.partitions import tables
from tests.fs.test_block_dev import SECTORS, Ram


@pytest.fixture
def ram():
    return Ram(boot(2), "ramx")


def write(ram, label, parts, sector=0):
    for offset, data in tables(label, SECTORS, parts):
        ram.bytes[sector * 512 + offset:sector * 512 + offset + len(data)] = data


def entry(ram, slot, kind, start, sectors, sector=0, boot_ind=0):
    pack_into("<B3xB3xII", ram.bytes, 512 * sector + 446 + 16 * slot, boot_ind, kind, start, sectors)
    ram.bytes[512 * sector + 510:512 * sector + 512] = b"\x55\xaa"


def added(ram):
    """Add the disk; return (first sector, sectors) of its partitions by number, and the line of the log."""
    before = len(ram.kernel.log)
    ram.add()
    found = {part.partno: (part.start_sect, part.nr_sects) for part in ram.disk.part_tbl.part[1:] if part is not None}
    return found, ram.kernel.log[before:]


def test_four_partitions(ram):
    write(ram, "mbr", [(1, 1), (10, 20), (100, 200), (1000, 3096)])
    assert added(ram) == ({1: (1, 1), 2: (10, 20), 3: (100, 200), 4: (1000, 3096)}, [" ramx: ramx1 ramx2 ramx3 ramx4"])


def test_in_blocks_of_4096_bytes():
    ram = Ram(boot(2), "ramx", lbs=4096)
    entry(ram, 0, 0x83, 8, 16)
    entry(ram, 1, 0x0F, 64, 64)
    assert added(ram)[0] == {1: (64, 128), 2: (512, 8)}


@pytest.mark.parametrize(("kind", "sectors"), [(0x05, 1000), (0x0F, 2), (0x85, 1)])
def test_an_extended_partition(ram, kind, sectors):
    """Two sectors of it, in which a loader has room; what it holds is left out."""
    entry(ram, 0, kind, 100, sectors)
    assert added(ram) == ({1: (100, min(sectors, 2))}, [" ramx: ramx1 < >"])


def test_words_of_old_disk_managers(ram):
    entry(ram, 0, 0x54, 1, 1)
    entry(ram, 2, 0x55, 5, 1, boot_ind=0x80)
    assert added(ram) == ({1: (1, 1), 3: (5, 1)}, [" ramx: ramx1[DM] ramx3[EZD]"])


def test_partitions_and_the_end_of_the_disk(ram):
    entry(ram, 0, 0x83, 4000, 200)
    entry(ram, 1, 0x83, SECTORS, 1)
    assert added(ram) == ({1: (4000, SECTORS - 4000)}, [
        " ramx: ramx1 ramx2", "ramx: p1 size 200 extends beyond EOD, truncated",
        f"ramx: p2 start {SECTORS} is beyond EOD, truncated"])


@pytest.mark.parametrize(("slot", "reserved", "copies", "medium", "log"), [
    (0, 1, 2, 0xF8, [" ramx:"]), (0, 1, 2, 0xF0, [" ramx:"]), (0, 1, 2, 0xF1, []), (0, 0, 2, 0xF8, []),
    (0, 1, 0, 0xF8, []), (1, 1, 2, 0xF8, [])])
def test_a_fat_file_system(ram, slot, reserved, copies, medium, log):
    """A sector that ends as a table does, but whose entries are none: of a FAT file system the disk's name is said."""
    entry(ram, slot, 0x83, 1, 1, boot_ind=0x33)
    ram.bytes[14:22] = pack("<HB4xB", reserved, copies, medium)
    assert added(ram) == ({}, log)


def test_no_table(ram):
    entry(ram, 0, 0x83, 1, 1)
    ram.bytes[511] = 0
    assert added(ram) == ({}, [])


def test_a_disk_that_can_not_be_read(ram):
    ram.status = 10
    assert added(ram) == ({}, ["Buffer I/O error on dev ramx, logical block 0, async page read"] * 2
                          + [" ramx: unable to read partition table"])
