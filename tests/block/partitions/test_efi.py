"""The table of UEFI: which are taken, which are warned of, and what is read from them."""

from binascii import crc32
from struct import pack_into

import pytest

from blkmodel import boot
from blkmodel.services.devices.kobject import sysfs
from blkmodel.userland.partitions import tables
from tests.fs.test_block_dev import SECTORS, Ram

LAST = SECTORS - 1
HEADS = {1: 512, LAST: 512 * LAST}


@pytest.fixture
def ram():
    made = Ram(boot(2), "ram0")
    for offset, data in tables("gpt", SECTORS, [(64, 100), (200, 50)]):
        made.bytes[offset:offset + len(data)] = data
    return made


def change(ram, lba, at, form, value, summed=True):
    """Write into the head in block `lba`, and (summed) let its checksum be right again."""
    head = HEADS[lba]
    pack_into(form, ram.bytes, head + at, value)
    if summed:
        pack_into("<I", ram.bytes, head + 16, 0)
        pack_into("<I", ram.bytes, head + 16, crc32(ram.bytes[head:head + 92]))


def parts(ram):
    """Add the disk; return (first sector, sectors) of its partitions by number."""
    ram.add()
    return {part.partno: (part.start_sect, part.nr_sects) for part in ram.disk.part_tbl.part[1:] if part is not None}


def test_partitions_are_found(ram):
    assert parts(ram) == {1: (64, 100), 2: (200, 50)}
    assert ram.kernel.log[-1] == " ram0: p1 p2"
    assert [words[3:] for action, name, words in sysfs().uevents if name == "ram0p1"] == [
        ("DEVTYPE=partition", "PARTN=1", "PARTNAME=part1")]
    live = len(ram.kernel.memory.live)
    ram.remove()
    ram.kernel.loop.run_due()
    assert not [thing for thing in ram.kernel.memory.live.values() if type(thing.thing).__name__ == "hd_struct"]
    assert len(ram.kernel.memory.live) < live


@pytest.mark.parametrize(("at", "form", "value"), [
    (0, "<Q", 0), (12, "<I", 91), (12, "<I", 513), (24, "<Q", 2), (40, "<Q", SECTORS), (48, "<Q", SECTORS),
    (48, "<Q", 33), (72, "<Q", LAST), (80, "<I", 0), (84, "<I", 256), (80, "<I", 32769), (88, "<I", 7)],
    ids=["signature", "small", "large", "place", "first", "last", "order", "entries beyond", "none", "entry", "many",
         "sum"])
def test_a_head_that_is_not_right(ram, at, form, value):
    """Then there is no partition, whatever is at the disk's end: and the table of DOS is only for protection."""
    change(ram, 1, at, form, value)
    assert parts(ram) == {}


def test_a_head_whose_checksum_is_wrong(ram):
    change(ram, 1, 56, "<B", 7, summed=False)
    assert parts(ram) == {}


def test_entries_whose_checksum_is_wrong(ram):
    ram.bytes[1024] ^= 1
    assert parts(ram) == {}


@pytest.mark.parametrize(("lba", "at", "form", "value", "lines"), [
    (LAST, 0, "<Q", 0, ["Alternate GPT is invalid, using primary GPT."]),
    (LAST, 32, "<Q", 2, ["GPT:Primary header LBA != Alt. header alternate_lba", "GPT:1 != 2"]),
    (LAST, 40, "<Q", 35, ["GPT:first_usable_lbas don't match.", "GPT:34 != 35"]),
    (LAST, 48, "<Q", 100, ["GPT:last_usable_lbas don't match.", f"GPT:{SECTORS - 34} != 100"]),
    (LAST, 56, "<B", 0, ["GPT:disk_guids don't match."]),
    (LAST, 80, "<I", 64, ["GPT:num_partition_entries don't match: 0x80 != 0x40",
                          "GPT:partition_entry_array_crc32 values don't match: "]),
])
def test_the_other_head(ram, lba, at, form, value, lines):
    """One that is broken, or says something else, is warned of; the first one counts."""
    change(ram, lba, at, form, value)
    if at == 80:
        pack_into("<I", ram.bytes, HEADS[LAST] + 88, crc32(ram.bytes[512 * (LAST - 32):512 * (LAST - 16)]))
        change(ram, lba, at, form, value)
    before = len(ram.kernel.log)
    assert parts(ram) == {1: (64, 100), 2: (200, 50)}
    said = ram.kernel.log[before:]
    assert all(any(line.startswith(wanted) for line in said) for wanted in lines)
    assert ("GPT: Use GNU Parted to correct GPT errors." in said) == (at > 0)


def test_a_disk_that_has_grown(ram):
    """Both heads fit each other, but the other one is not where the disk ends."""
    for lba, at in ((1, 32), (LAST - 40, 24)):
        if lba != 1:
            ram.bytes[512 * lba:512 * lba + 512] = ram.bytes[512 * LAST:]
            HEADS[lba] = 512 * lba
        change(ram, lba, at, "<Q", LAST - 40)
    before = len(ram.kernel.log)
    assert len(parts(ram)) == 2
    assert ram.kernel.log[before:-1] == [
        "GPT:Primary header thinks Alt. header is not at the end of the disk.", f"GPT:{LAST - 40} != {LAST}",
        "GPT:Alternate GPT header not at the end of the disk.", f"GPT:{LAST - 40} != {LAST}",
        "GPT: Use GNU Parted to correct GPT errors."]


@pytest.mark.parametrize(("at", "value", "found"), [(450, 0, {1: (1, LAST)}), (454, 2, {}), (510, 0, {}),
                                                    (466, 0x83, {1: (64, 100), 2: (200, 50)})],
                         ids=["type", "start", "magic", "hybrid"])
def test_the_first_sector(ram, at, value, found):
    ram.bytes[at] = value
    assert parts(ram) == found


def test_entries_that_are_none(ram):
    """One of no type, one beyond the disk; a name is made of what can be printed."""
    entries = ram.bytes[1024:1024 + 128 * 128]
    entries[0:16] = bytes(16)
    entries[128 + 56:128 + 62] = "\x07é\0".encode("utf-16-le")
    entries[256:384] = entries[128:256]
    pack_into("<Q", entries, 256 + 40, SECTORS)
    ram.bytes[1024:1024 + 128 * 128] = entries
    change(ram, 1, 88, "<I", crc32(entries))
    assert parts(ram) == {2: (200, 50)}
    assert ram.disk.part_tbl.part[2].info.volname == "!é"


@pytest.mark.parametrize(("kind", "nth", "found"), [
    ("parsed_partitions", 0, ()), ("parsed_partition[]", 0, ()), ("legacy_mbr", 0, ()), ("gpt_header", 0, ()),
    ("gpt_header", 1, (1, 2)), ("gpt_entry[]", 0, ()), ("gpt_entry[]", 1, (1, 2)), ("hd_struct", 0, (2,)),
    ("partition_meta_info", 0, (2,)), ("partition_meta_info", 1, (1,)), ("disk_stats[]", 0, (2,))])
def test_without_memory(ram, kind, nth, found):
    """Of each kind the nth allocation may fail: then there are fewer partitions, or none, and nothing is left."""
    asked = []

    def refused(what, size):
        asked.append(what)
        return what == kind and asked.count(kind) == nth + 1
    ram.kernel.memory.fail_if(refused)
    there = parts(ram)
    ram.kernel.memory.fail_never()
    assert kind in asked
    assert tuple(there) == found
    assert [line for line in ram.kernel.log if "could not be added" in line] == [
        f" ram0: p{i} could not be added: {16 if kind == 'hd_struct' else 12}"
        for i in (1, 2) if found and i not in found]
    ram.remove()
    ram.kernel.loop.run_due()
    kinds = {"parsed_partitions", "gpt_header", "legacy_mbr", "hd_struct", "partition_meta_info"}
    assert not [thing for thing in ram.kernel.memory.live.values() if type(thing.thing).__name__ in kinds]
