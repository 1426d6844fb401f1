"""The partition table of DOS, in the first sector: four partitions.

Left out are the chain of tables that an extended partition holds, so there are none from 5 on; and what tells a table
of AIX, and what other systems subdivide their partitions with: the recorded kernel is built without those.
"""

from struct import Struct
from typing import NamedTuple

from blkmodel.block.partitions.check_h import parsed_partitions, put_partition, read_part_sector
from blkmodel.block.partitions.efi_h import EFI_PMBR_OSTYPE_EFI_GPT
from blkmodel.include.linux.blkdev import bdev_logical_block_size
from blkmodel.reference.omission import no_chapter
from blkmodel.services import put_page

OMITTED = no_chapter("""
    aix_magic_present parse_extended parse_freebsd parse_minix parse_netbsd parse_openbsd parse_solaris_x86
    parse_unixware set_info""")

DOS_EXTENDED_PARTITION, WIN98_EXTENDED_PARTITION, LINUX_EXTENDED_PARTITION = 5, 0x0F, 0x85
DM6_PARTITION, EZD_PARTITION = 0x54, 0x55
_ENTRY = Struct("<B3xB3x2I")


class partition(NamedTuple):
    """An entry of a table. Its numbers are of logical blocks."""

    boot_ind: int
    sys_ind: int
    start_sect: int
    nr_sects: int


def is_extended_partition(p: partition) -> bool:
    """Whether an entry is where a chain of tables begins, or its next link."""
    return p.sys_ind in (DOS_EXTENDED_PARTITION, WIN98_EXTENDED_PARTITION, LINUX_EXTENDED_PARTITION)


def msdos_magic_present(data: bytes) -> bool:
    """Whether a sector ends as one with a table does."""
    return data[510:] == b"\x55\xaa"


def msdos_partition(state: parsed_partitions) -> int:
    """Look for a table, and note its partitions. Returns 1 for a table or a FAT file system, 0 for neither, -1 for a
    disk that can't be read."""
    sector_size = bdev_logical_block_size(state.bdev) // 512
    data, page = read_part_sector(state, 0)
    if data is None:
        return -1
    put_page(page)
    if not msdos_magic_present(data):
        return 0
    table = [partition(*entry) for entry in _ENTRY.iter_unpack(data[0x1BE:0x1FE])]
    for slot, p in enumerate(table, 1):
        if p.boot_ind not in (0, 0x80):
            # no table; a FAT file system has reserved sectors, copies of its table, and a medium
            return int(slot == 1 and any(data[14:16]) and data[16] > 0 and (data[21] >= 0xF8 or data[21] == 0xF0))
    if any(p.sys_ind == EFI_PMBR_OSTYPE_EFI_GPT for p in table):
        return 0
    state.next = 5
    for slot, p in enumerate(table, 1):
        start, size = p.start_sect * sector_size, p.nr_sects * sector_size
        if not size:
            continue
        if is_extended_partition(p):
            # so that nobody makes a file system there, but a loader has room
            put_partition(state, slot, start, min(size, max(sector_size, 2)))
            state.pp_buf += " < >"
            continue
        put_partition(state, slot, start, size)
        state.pp_buf += {DM6_PARTITION: "[DM]", EZD_PARTITION: "[EZD]"}.get(p.sys_ind, "")
    return 1
