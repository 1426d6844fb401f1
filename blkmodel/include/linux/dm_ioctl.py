"""What user space and device mapper say to each other: one block of memory, with a structure at its start
(include/uapi/linux/dm-ioctl.h, drivers/md/dm-ioctl.c).

The block is a bytearray, as user space has it; the structures are read from it and written to it, with C's layout.
"""

from dataclasses import field
from struct import Struct as Layout

from blkmodel.sim import NULL, Struct

DM_DIR, DM_CONTROL_NODE, DM_MAX_TYPE_NAME, DM_NAME_LEN, DM_UUID_LEN, DM_IOCTL = "mapper", "control", 16, 128, 129, 0xFD

(DM_VERSION_CMD, DM_REMOVE_ALL_CMD, DM_LIST_DEVICES_CMD, DM_DEV_CREATE_CMD, DM_DEV_REMOVE_CMD, DM_DEV_RENAME_CMD,
 DM_DEV_SUSPEND_CMD, DM_DEV_STATUS_CMD, DM_DEV_WAIT_CMD, DM_TABLE_LOAD_CMD, DM_TABLE_CLEAR_CMD, DM_TABLE_DEPS_CMD,
 DM_TABLE_STATUS_CMD, DM_LIST_VERSIONS_CMD, DM_TARGET_MSG_CMD, DM_DEV_SET_GEOMETRY_CMD, DM_DEV_ARM_POLL_CMD,
 DM_GET_TARGET_VERSION_CMD) = range(18)

DM_VERSION_MAJOR, DM_VERSION_MINOR, DM_VERSION_PATCHLEVEL, DM_VERSION_EXTRA = 4, 41, 0, "-ioctl (2019-09-16)"

DM_READONLY_FLAG, DM_SUSPEND_FLAG, DM_PERSISTENT_DEV_FLAG, DM_STATUS_TABLE_FLAG = 1 << 0, 1 << 1, 1 << 3, 1 << 4
DM_ACTIVE_PRESENT_FLAG, DM_INACTIVE_PRESENT_FLAG, DM_BUFFER_FULL_FLAG = 1 << 5, 1 << 6, 1 << 8
DM_SKIP_BDGET_FLAG, DM_SKIP_LOCKFS_FLAG, DM_NOFLUSH_FLAG, DM_QUERY_INACTIVE_TABLE_FLAG = (
    1 << 9, 1 << 10, 1 << 11, 1 << 12)
DM_UEVENT_GENERATED_FLAG, DM_UUID_FLAG, DM_SECURE_DATA_FLAG, DM_DATA_OUT_FLAG = 1 << 13, 1 << 14, 1 << 15, 1 << 16
DM_DEFERRED_REMOVE, DM_INTERNAL_SUSPEND_FLAG = 1 << 17, 1 << 18

HEAD = Layout("=3IIIIiIIIQ128s129s")  # struct dm_ioctl up to `data`
DATA_OFFSET = HEAD.size  # offsetof(struct dm_ioctl, data)
TARGET_SPEC = Layout("=QQiI16s")
NAME_LIST = Layout("=QI")  # up to the name
TARGET_VERSIONS = Layout("=I3I")  # up to the name
TARGET_DEPS = Layout("=II")  # up to the devices
TARGET_MSG = Layout("=Q")  # up to the message
U32, U64 = Layout("=I"), Layout("=Q")


class dm_ioctl(Struct):
    """What an ioctl is about: a device by name, uuid or number; flags DM_*_FLAG; and its answer.

    data_size: bytes of the block, at data_start of which more is to be found. event_nr is also a cookie that user
    space wants back with an event. _block is the kernel's copy of the whole block; what C reads and writes beyond
    `uuid` is there.
    """

    version: list[int] = field(default_factory=lambda: [0, 0, 0])
    data_size: int = 0
    data_start: int = 0
    target_count: int = 0
    open_count: int = 0
    flags: int = 0
    event_nr: int = 0
    padding: int = 0
    dev: int = 0
    name: str = ""
    uuid: str = ""
    _block: bytearray = NULL


def _IOWR(nr: int) -> int:
    """The command number of an ioctl that reads and writes a dm_ioctl."""
    return 3 << 30 | DATA_OFFSET + 7 << 16 | DM_IOCTL << 8 | nr


def _IOC_TYPE(command: int) -> int:
    return command >> 8 & 0xFF


def _IOC_NR(command: int) -> int:
    return command & 0xFF


def read_head(block: bytes | bytearray, param: dm_ioctl) -> None:
    """Set a dm_ioctl's fields from the bytes of a block."""
    (*param.version, param.data_size, param.data_start, param.target_count, param.open_count, param.flags,
     param.event_nr, param.padding, param.dev, name, uuid) = HEAD.unpack_from(block)
    param.name, param.uuid = text_of(name), text_of(uuid)


def write_head(param: dm_ioctl, block: bytearray) -> None:
    """Set the bytes of a block from a dm_ioctl's fields."""
    HEAD.pack_into(block, 0, *param.version, param.data_size, param.data_start, param.target_count, param.open_count,
                   param.flags, param.event_nr, param.padding, param.dev, bytes_of(param.name), bytes_of(param.uuid))


def text_of(string: bytes | bytearray) -> str:
    """Bytes, up to the first that is 0, as a text."""
    return bytes(string).partition(b"\0")[0].decode("utf8", "surrogateescape")


def bytes_of(text: str) -> bytes:
    return text.encode("utf8", "surrogateescape")


def string_at(block: bytes | bytearray, at: int) -> str:
    """The text that begins at a place in a block, up to a byte that is 0 or the block's end."""
    end = block.find(b"\0", at)
    return text_of(block[at:] if end < 0 else block[at:end])


def align_val(value: int) -> int:
    """The next multiple of 8."""
    return (value + 7) & ~7
