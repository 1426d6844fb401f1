"""The partition table of UEFI (GPT): a head and entries behind the first sector, and both again at the disk's end.

What the boot parameter `gpt` changes is left out: without it a disk whose first sector says nothing of a GPT, or whose
first head is broken, has none, whatever is at its end.
"""

from struct import iter_unpack, unpack, unpack_from

from blkmodel.block.partitions.check_h import parsed_partitions, put_partition, read_part_sector
from blkmodel.block.partitions.efi_h import (EFI_PMBR_OSTYPE_EFI_GPT, GPT_HEADER_SIGNATURE, GPT_MBR_HYBRID,
    GPT_MBR_PROTECTIVE, GPT_PRIMARY_PARTITION_TABLE_LBA, gpt_entry, gpt_header, legacy_mbr)
from blkmodel.include.linux.blkdev import bdev_logical_block_size
from blkmodel.include.linux.fs import block_device
from blkmodel.reference.omission import no_chapter
from blkmodel.services import (GFP_KERNEL, KMALLOC_MAX_SIZE, array_in_bytes, crc32, i_size_read, kfree, kzalloc,
    pr_warn, put_page)
from blkmodel.sim import NULL, Array, sizeof

OMITTED = no_chapter("force_gpt_fn")

U32, U64 = (1 << 32) - 1, (1 << 64) - 1


def efi_crc32(buf: bytes) -> int:
    """The checksum that the tables have."""
    return crc32(U32, buf) ^ U32


def last_lba(bdev: block_device) -> int:
    """The number of a device's last block."""
    return i_size_read(bdev.bd_inode) // bdev_logical_block_size(bdev) - 1


def pmbr_part_valid(os_type: int, starting_lba: int) -> int:
    """Whether an entry of the first sector says that there is a GPT: GPT_MBR_PROTECTIVE or 0."""
    valid = os_type == EFI_PMBR_OSTYPE_EFI_GPT and starting_lba == GPT_PRIMARY_PARTITION_TABLE_LBA
    return GPT_MBR_PROTECTIVE if valid else 0


def is_pmbr_valid(mbr: bytes) -> int:
    """Whether the first sector says that there is a GPT: GPT_MBR_PROTECTIVE, GPT_MBR_HYBRID where it has other
    partitions too, or 0. (In C the disk's size is only for a message of debugging.)"""
    if mbr[510:] != b"\x55\xaa":
        return 0
    records = list(iter_unpack("<4xB3xI4x", mbr[446:510]))
    if not any(pmbr_part_valid(*record) for record in records):
        return 0
    hybrid = any(os_type not in (EFI_PMBR_OSTYPE_EFI_GPT, 0) for os_type, _ in records)
    return GPT_MBR_HYBRID if hybrid else GPT_MBR_PROTECTIVE


def read_lba(state: parsed_partitions, lba: int, count: int) -> bytes:
    """Read `count` bytes from block lba on; fewer where the disk ends or can't be read. (In C, into a buffer.)"""
    n = lba * (bdev_logical_block_size(state.bdev) // 512)
    buffer = bytearray()
    if lba > last_lba(state.bdev):
        return b""
    while len(buffer) < count:
        data, page = read_part_sector(state, n)
        if data is None:
            break
        buffer += data[:count - len(buffer)]
        put_page(page)
        n += 1
    return bytes(buffer)


def alloc_read_gpt_entries(state: parsed_partitions, gpt: gpt_header) -> tuple[Array, bytes]:
    """Read the entries of a head. Returns them, which the caller frees, and as they lie on the disk; (None, b"") for
    none, no memory, or a disk that can't be read. Those that no disk could have partitions for stay None."""
    count = gpt.num_partition_entries * gpt.sizeof_partition_entry
    if not count:
        return NULL, b""
    if (pte := array_in_bytes(gpt.num_partition_entries, gpt_entry, count, GFP_KERNEL)) is None:
        return NULL, b""
    raw = read_lba(state, gpt.partition_entry_lba, count)
    if len(raw) < count:
        kfree(pte)
        return NULL, b""
    for i in range(min(len(pte), state.limit - 1)):
        pte[i] = gpt_entry(*unpack_from(gpt_entry.FORM, raw, i * sizeof(gpt_entry)))
    return pte, raw


def alloc_read_gpt_header(state: parsed_partitions, lba: int) -> gpt_header:
    """Read a head. Returns it, which the caller frees; None for no memory, or a disk that can't be read."""
    ssz = bdev_logical_block_size(state.bdev)
    if (gpt := kzalloc(gpt_header, GFP_KERNEL, ssz)) is None:
        return NULL
    block = read_lba(state, lba, ssz)
    if len(block) < ssz:
        kfree(gpt)
        return NULL
    for name, value in zip(gpt_header.__slots__, (*unpack_from(gpt_header.FORM, block), block), strict=True):
        setattr(gpt, name, value)
    return gpt


def is_gpt_valid(state: parsed_partitions, lba: int) -> tuple[gpt_header, Array]:
    """Read the table whose head is in block lba. Returns its head and its entries, which the caller frees, or
    (None, None) where anything about it is not right. (In C both are out-parameters.)"""
    if (gpt := alloc_read_gpt_header(state, lba)) is None:
        return NULL, NULL
    size, lastlba = gpt.header_size, last_lba(state.bdev)
    if (gpt.signature == GPT_HEADER_SIGNATURE and sizeof(gpt_header) <= size <= len(gpt._block)
            and efi_crc32(gpt._block[:16] + bytes(4) + gpt._block[20:size]) == gpt.header_crc32
            and gpt.my_lba == lba and gpt.first_usable_lba <= gpt.last_usable_lba <= lastlba
            and gpt.sizeof_partition_entry == sizeof(gpt_entry)
            and gpt.num_partition_entries * gpt.sizeof_partition_entry <= KMALLOC_MAX_SIZE):
        ptes, raw = alloc_read_gpt_entries(state, gpt)
        if ptes is not None:
            if efi_crc32(raw) == gpt.partition_entry_array_crc32:
                return gpt, ptes
            kfree(ptes)
    kfree(gpt)
    return NULL, NULL


def is_pte_valid(pte: gpt_entry, lastlba: int) -> bool:
    """Whether an entry is a partition that lies on the disk."""
    return any(pte.partition_type_guid) and pte.starting_lba <= lastlba and pte.ending_lba <= lastlba


def compare_gpts(pgpt: gpt_header, agpt: gpt_header, lastlba: int) -> None:
    """Warn where a table and the other one at the disk's end do not fit each other, or the disk."""
    if pgpt is None or agpt is None:
        return
    lines = []
    for ours, theirs, what in (
            (pgpt.my_lba, agpt.alternate_lba, "Primary header LBA != Alt. header alternate_lba"),
            (pgpt.alternate_lba, agpt.my_lba, "Primary header alternate_lba != Alt. header my_lba"),
            (pgpt.first_usable_lba, agpt.first_usable_lba, "first_usable_lbas don't match."),
            (pgpt.last_usable_lba, agpt.last_usable_lba, "last_usable_lbas don't match.")):
        if ours != theirs:
            lines += [f"GPT:{what}", f"GPT:{ours} != {theirs}"]
    if pgpt.disk_guid != agpt.disk_guid:
        lines.append("GPT:disk_guids don't match.")
    for name, what in (("num_partition_entries", ""), ("sizeof_partition_entry", " values"),
                       ("partition_entry_array_crc32", " values")):
        if getattr(pgpt, name) != getattr(agpt, name):
            lines.append(f"GPT:{name}{what} don't match: {getattr(pgpt, name):#x} != {getattr(agpt, name):#x}")
    for place, what in ((pgpt.alternate_lba, "Primary header thinks Alt. header is not at the end of the disk."),
                        (agpt.my_lba, "Alternate GPT header not at the end of the disk.")):
        if place != lastlba:
            lines += [f"GPT:{what}", f"GPT:{place} != {lastlba}"]
    for line in (*lines, *["GPT: Use GNU Parted to correct GPT errors."][:len(lines)]):
        pr_warn(line)


def find_valid_gpt(state: parsed_partitions) -> tuple[gpt_header, Array]:
    """Find a disk's GPT. Returns its head and its entries, which the caller frees; (None, None) where there is none.

    The first sector has to say that there is one. The table at the disk's end is only looked at to warn.
    """
    if (legacymbr := kzalloc(legacy_mbr, GFP_KERNEL)) is None:
        return NULL, NULL
    good_pmbr = is_pmbr_valid(read_lba(state, 0, sizeof(legacy_mbr)))
    kfree(legacymbr)
    if not good_pmbr:
        return NULL, NULL
    pgpt, pptes = is_gpt_valid(state, GPT_PRIMARY_PARTITION_TABLE_LBA)
    if pgpt is None:
        return NULL, NULL
    agpt, aptes = is_gpt_valid(state, pgpt.alternate_lba)
    compare_gpts(pgpt, agpt, last_lba(state.bdev))
    kfree(agpt)
    kfree(aptes)
    if agpt is None:
        pr_warn("Alternate GPT is invalid, using primary GPT.")
    return pgpt, pptes


def efi_partition(state: parsed_partitions) -> int:
    """Look for a GPT, and note its partitions. Returns 1, or 0 where there is none or it can't be read."""
    ssz = bdev_logical_block_size(state.bdev) // 512
    gpt, ptes = find_valid_gpt(state)
    if gpt is None:
        return 0
    for i in range(min(gpt.num_partition_entries, state.limit - 1)):
        pte = ptes[i]
        if not is_pte_valid(pte, last_lba(state.bdev)):
            continue
        size = pte.ending_lba - pte.starting_lba + 1 & U64
        put_partition(state, i + 1, pte.starting_lba * ssz, size * ssz & U64)
        name = [char & 0xFF for char in unpack("<36H", pte.partition_name)]
        letters = [c if 32 <= c < 127 or c >= 160 else ord("!") for c in name[:[*name, 0].index(0)]]
        state.parts[i + 1].info.volname = bytes(letters).decode("latin1")
    kfree(ptes)
    kfree(gpt)
    return 1
