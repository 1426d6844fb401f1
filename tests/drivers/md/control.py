"""What a test says to device mapper: ioctls on its control node, each by a process of its own.

Each returns what the command brings, or -errno.
"""

from blkmodel.drivers.md import dm, dm_delay, dm_flakey, dm_ioctl, dm_mpath, dm_round_robin, dm_service_time, dm_zero
from blkmodel.include.linux.dm_ioctl import (_IOWR, DATA_OFFSET, DM_DEV_CREATE_CMD, DM_DEV_REMOVE_CMD,
    DM_DEV_SUSPEND_CMD, DM_NOFLUSH_FLAG, DM_STATUS_TABLE_FLAG, DM_SUSPEND_FLAG, DM_TABLE_CLEAR_CMD, DM_TABLE_LOAD_CMD,
    DM_TABLE_STATUS_CMD, DM_TARGET_MSG_CMD, TARGET_MSG, TARGET_SPEC, bytes_of, dm_ioctl as dm_ioctl_struct, read_head,
    string_at, text_of, write_head)
from blkmodel.services.files.file import file
from blkmodel.sim import this

DATA = DATA_OFFSET + 7
SIZE = 16384
MODULES = (dm.dm_init, dm_mpath.dm_multipath_init, dm_round_robin.dm_rr_init, dm_service_time.dm_st_init,
           dm_zero.dm_zero_init, dm_delay.dm_delay_init, dm_flakey.dm_flakey_init)


def load_modules():
    """Load device mapper, and every target that is a module."""
    for init in MODULES:
        assert this().task("insmod", init) == 0


def ioctl(cmd, data=b"", target_count=0, **fields):
    """One ioctl. Returns (0 or -errno, the dm_ioctl as it came back, the block)."""
    block = bytearray(SIZE)
    head = dm_ioctl_struct(version=[4, 0, 0], data_size=SIZE, data_start=DATA, target_count=target_count, **fields)
    write_head(head, block)
    block[DATA:DATA + len(data)] = data
    r = this().task("dmsetup", dm_ioctl.dm_ctl_ioctl, file(), _IOWR(cmd), block)
    read_head(block, head)
    return r, head, block


def create(name, table=None):
    r, _, _ = ioctl(DM_DEV_CREATE_CMD, name=name)
    if r or table is None:
        return r
    r = load(name, table) or resume(name)
    if r:
        remove(name)
    return r


def load(name, table):
    data = b""
    lines = table.splitlines()
    for line in lines:
        start, length, kind, *params = line.split(None, 3)
        text = bytes_of(params[0] if params else "") + b"\0"
        text += bytes(-(TARGET_SPEC.size + len(text)) % 8)
        data += TARGET_SPEC.pack(int(start), int(length), 0, TARGET_SPEC.size + len(text), bytes_of(kind)) + text
    return ioctl(DM_TABLE_LOAD_CMD, data, len(lines), name=name)[0]


def clear(name):
    return ioctl(DM_TABLE_CLEAR_CMD, name=name)[0]


def resume(name):
    return ioctl(DM_DEV_SUSPEND_CMD, name=name)[0]


def suspend(name, noflush=False):
    return ioctl(DM_DEV_SUSPEND_CMD, name=name, flags=DM_SUSPEND_FLAG | (DM_NOFLUSH_FLAG if noflush else 0))[0]


def remove(name):
    return ioctl(DM_DEV_REMOVE_CMD, name=name)[0]


def message(name, text):
    return ioctl(DM_TARGET_MSG_CMD, TARGET_MSG.pack(0) + bytes_of(text) + b"\0", name=name)[0]


def status(name, flags=0):
    """A line for each target of the live table: `begin length type state`."""
    r, head, block = ioctl(DM_TABLE_STATUS_CMD, name=name, flags=flags)
    if r:
        return r
    lines, at = [], DATA
    for _ in range(head.target_count):
        start, length, _, following, kind = TARGET_SPEC.unpack_from(block, at)
        lines.append(f"{start} {length} {text_of(kind)} {string_at(block, at + TARGET_SPEC.size)}")
        at = DATA + following
    return "\n".join(lines)


def table(name):
    return status(name, DM_STATUS_TABLE_FLAG)
