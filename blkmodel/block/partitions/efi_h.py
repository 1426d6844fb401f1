"""The partition table of UEFI: what block/partitions/efi.h declares. Numbers in it are little-endian."""

from blkmodel.sim import Struct

EFI_PMBR_OSTYPE_EFI_GPT = 0xEE
GPT_MBR_PROTECTIVE, GPT_MBR_HYBRID = 1, 2
GPT_HEADER_SIGNATURE = 0x5452415020494645
GPT_PRIMARY_PARTITION_TABLE_LBA = 1


class gpt_header(Struct):
    """The head of a table: where it is itself (my_lba), where the other one is, and where the entries are. It has a
    whole block, `_block`. FORM is how it lies there."""

    SIZE, FORM = 92, "<Q4I4Q16sQ3I"
    signature: int = 0
    revision: int = 0
    header_size: int = 0
    header_crc32: int = 0
    reserved1: int = 0
    my_lba: int = 0
    alternate_lba: int = 0
    first_usable_lba: int = 0
    last_usable_lba: int = 0
    disk_guid: bytes = bytes(16)
    partition_entry_lba: int = 0
    num_partition_entries: int = 0
    sizeof_partition_entry: int = 0
    partition_entry_array_crc32: int = 0
    _block: bytes = b""


class gpt_entry(Struct):
    """A partition, or (type zero) none: its first and last block, and its name in UTF-16."""

    SIZE, FORM = 128, "<16s16s3Q72s"
    partition_type_guid: bytes = bytes(16)
    unique_partition_guid: bytes = bytes(16)
    starting_lba: int = 0
    ending_lba: int = 0
    attributes: int = 0
    partition_name: bytes = bytes(72)


class legacy_mbr(Struct, size=512):
    """The first sector, for programs that know no GPT."""
