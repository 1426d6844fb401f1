"""The control interface: ioctls on /dev/mapper/control, and the tables of names and UUIDs by which devices are found.

Every ioctl comes with a block of memory: a `dm_ioctl`, and behind it what the command needs, or room for its answer.
In C each has a copy of it in the kernel, `param`, and so it has here: the fields of the structure, and the bytes of the
block, where an answer is written. Left out: devices that are made at boot, which a module can't.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from blkmodel.block import genhd
from blkmodel.drivers.md import dm, dm_table
from blkmodel.drivers.md.dm_core_h import mapped_device
from blkmodel.drivers.md.dm_h import DM_STATUS_NOFLUSH_FLAG, DM_SUSPEND_LOCKFS_FLAG, DM_SUSPEND_NOFLUSH_FLAG, refused
from blkmodel.drivers.md.dm_target import dm_get_target_type, dm_put_target_type, dm_target_iterate
from blkmodel.errors import NotModelled
from blkmodel.include.linux.device_mapper import (DM_ANY_MINOR, DM_NAME, DM_TYPE_BIO_BASED, DM_TYPE_DAX_BIO_BASED,
    DM_TYPE_NONE, DMERR, DMINFO, DMWARN, STATUSTYPE_INFO, STATUSTYPE_TABLE, target_type)
from blkmodel.include.linux.dm_ioctl import (_IOC_NR, _IOC_TYPE, DATA_OFFSET, DM_ACTIVE_PRESENT_FLAG,
    DM_BUFFER_FULL_FLAG, DM_CONTROL_NODE, DM_DATA_OUT_FLAG, DM_DEFERRED_REMOVE, DM_DEV_CREATE_CMD, DM_DIR,
    DM_INACTIVE_PRESENT_FLAG, DM_INTERNAL_SUSPEND_FLAG, DM_IOCTL, DM_LIST_DEVICES_CMD, DM_LIST_VERSIONS_CMD,
    DM_MAX_TYPE_NAME, DM_NAME_LEN, DM_NOFLUSH_FLAG, DM_PERSISTENT_DEV_FLAG, DM_QUERY_INACTIVE_TABLE_FLAG,
    DM_READONLY_FLAG, DM_REMOVE_ALL_CMD, DM_SECURE_DATA_FLAG, DM_SKIP_LOCKFS_FLAG, DM_STATUS_TABLE_FLAG,
    DM_SUSPEND_FLAG, DM_UEVENT_GENERATED_FLAG, DM_UUID_FLAG, DM_UUID_LEN, DM_VERSION_CMD, DM_VERSION_EXTRA,
    DM_VERSION_MAJOR, DM_VERSION_MINOR, DM_VERSION_PATCHLEVEL, NAME_LIST, TARGET_DEPS, TARGET_MSG, TARGET_SPEC,
    TARGET_VERSIONS, U32, U64, align_val, bytes_of, dm_ioctl as dm_ioctl_struct, read_head, string_at, write_head)
from blkmodel.include.linux.genhd import disk_devt, get_disk_ro
from blkmodel.services import (BUG_ON, EBUSY, EFAULT, EINVAL, ENOMEM, ENOTTY, ENXIO, EPOLLIN, ERESTARTSYS, ERR_PTR,
    FMODE_READ, FMODE_WRITE, GFP_KERNEL, IS_ERR, KOBJ_CHANGE, KOBJ_REMOVE, MAPPER_CTRL_MINOR, MINOR, PTR_ERR, file,
    file_operations, hd_geometry, huge_decode_dev, huge_encode_dev, inode, kfree, kstrdup, kzalloc, list_add,
    list_del_init, list_for_each, list_head, misc_deregister, misc_register, miscdevice, nonseekable_open, sscanf)
from blkmodel.sim import NULL, Struct, sizeof, statics

DM_MSG_PREFIX, DM_DRIVER_EMAIL, NUM_BUCKETS = "ioctl", "dm-devel@redhat.com", 64
MASK_BUCKETS, ALIGN_MASK, ULONG_MAX = NUM_BUCKETS - 1, 7, (1 << 64) - 1
IOCTL_FLAGS_NO_PARAMS, IOCTL_FLAGS_ISSUE_GLOBAL_EVENT, DM_PARAMS_MALLOC = 1, 2, 0x0001
STATISTICS = ("@stats_create", "@stats_delete", "@stats_clear", "@stats_list", "@stats_print", "@stats_print_clear",
              "@stats_set_aux")


class dm_file(Struct, size=4):
    """An open control node. Polling it waits until more events have happened than global_event_nr."""

    global_event_nr: int = 0


class hash_cell(Struct):
    """A device by its name and, if it has one, its UUID. new_map: the table that is loaded, and not live yet."""

    name_list: list_head = NULL
    uuid_list: list_head = NULL
    name: str = NULL
    uuid: str = NULL
    md: mapped_device = NULL
    new_map: dm_table.dm_table = NULL


class vers_iter(Struct, size=40):
    """How far the list of versions is: `vers` is where the next goes, old_vers the one before, `end` the buffer's."""

    block: bytearray = NULL
    vers: int = 0
    old_vers: int = 0
    end: int = 0
    flags: int = 0


class variables(statics):
    """The tables: cells hashed by name, and by UUID."""

    def __init__(self) -> None:
        self._name_buckets: list[list_head] = []
        self._uuid_buckets: list[list_head] = []


def init_buckets(buckets: list[list_head]) -> None:
    """Make the NUM_BUCKETS lists of a table, all empty."""
    buckets[:] = [list_head() for _ in range(NUM_BUCKETS)]


def dm_hash_init() -> int:
    """Begin with empty tables of names and UUIDs. Returns 0."""
    init_buckets(variables()._name_buckets)
    init_buckets(variables()._uuid_buckets)
    return 0


def dm_hash_exit() -> None:
    """Remove all devices, whoever uses them, as the module is unloaded."""
    dm_hash_remove_all(False, False, False)


def hash_str(text: str) -> int:
    """Return the number of the list, below NUM_BUCKETS, that a name or UUID is on."""
    h = 0
    for byte in bytes_of(text):
        h = (h + (byte if byte < 128 else byte - 256)) * 2654435387 & 0xFFFFFFFF
    return h & MASK_BUCKETS


# Finding a device

def __get_name_cell(name: str) -> hash_cell:
    """Find the cell of a name, and hold its device. Returns None for an unknown name."""
    for hc in variables()._name_buckets[hash_str(name)]:
        if hc.name == name:
            dm.dm_get(hc.md)
            return hc
    return NULL


def __get_uuid_cell(uuid: str) -> hash_cell:
    """Find the cell of a UUID, and hold its device. Returns None for an unknown UUID."""
    for hc in variables()._uuid_buckets[hash_str(uuid)]:
        if hc.uuid == uuid:
            dm.dm_get(hc.md)
            return hc
    return NULL


def __get_dev_cell(dev: int) -> hash_cell:
    """Find the cell of a device number, and hold its device. Returns None where there is no such device."""
    if (md := dm.dm_get_md(huge_decode_dev(dev))) is None:
        return NULL
    if (hc := dm.dm_get_mdptr(md)) is None:
        dm.dm_put(md)
        return NULL
    return hc


# Inserting, removing and renaming one

def alloc_cell(name: str, uuid: str | None, md: mapped_device) -> hash_cell:
    """Make a cell; None on failure. uuid may be None."""
    if (hc := kzalloc(hash_cell, GFP_KERNEL)) is None:
        return NULL
    hc.name = kstrdup(name, GFP_KERNEL)
    if hc.name is None:
        kfree(hc)
        return NULL
    if uuid is not None:
        hc.uuid = kstrdup(uuid, GFP_KERNEL)
        if hc.uuid is None:
            kfree(hc.name)
            kfree(hc)
            return NULL
    hc.md = md
    return hc


def free_cell(hc: hash_cell) -> None:
    """Free a cell with its name and UUID; None is allowed."""
    if hc is not None:
        kfree(hc.name)
        kfree(hc.uuid)
        kfree(hc)


def dm_hash_insert(name: str, uuid: str | None, md: mapped_device) -> int:
    """Make a device known by its name and UUID; the tables hold it. Returns 0, -ENOMEM, or -EBUSY for one in use."""
    if (cell := alloc_cell(name, uuid, md)) is None:
        return -ENOMEM
    if (hc := __get_name_cell(name)) is not None:
        dm.dm_put(hc.md)
        free_cell(cell)
        return -EBUSY
    list_add(cell, variables()._name_buckets[hash_str(name)], "name_list")
    if uuid is not None:
        if (hc := __get_uuid_cell(uuid)) is not None:
            list_del_init(cell, "name_list")
            dm.dm_put(hc.md)
            free_cell(cell)
            return -EBUSY
        list_add(cell, variables()._uuid_buckets[hash_str(uuid)], "uuid_list")
    dm.dm_get(md)
    dm.dm_set_mdptr(md, cell)
    return 0


def __hash_remove(hc: hash_cell) -> dm_table.dm_table:
    """Let nobody find a device any more; those who wait for its events wake. Returns its table that is not live, for
    the caller to destroy; or None."""
    list_del_init(hc, "uuid_list")
    list_del_init(hc, "name_list")
    dm.dm_set_mdptr(hc.md, None)
    table, srcu_idx = dm.dm_get_live_table(hc.md)
    if table is not None:
        dm_table.dm_table_event(table)
    dm.dm_put_live_table(hc.md, srcu_idx)
    table = hc.new_map
    dm.dm_put(hc.md)
    free_cell(hc)
    return table


def dm_hash_remove_all(keep_open_devices: bool, mark_deferred: bool, only_deferred: bool) -> None:
    """Remove all devices; but with keep_open_devices those that are open stay, and (only_deferred) those that are not
    to be removed anyhow. mark_deferred: they are removed when they are closed.

    One that is removed may have held another open: so it begins again after each.
    """
    again = True
    while again:
        again, dev_skipped = False, 0
        for hc in [hc for bucket in variables()._name_buckets for hc in bucket]:
            md = hc.md
            dm.dm_get(md)
            if keep_open_devices and dm.dm_lock_for_deletion(md, mark_deferred, only_deferred):
                dm.dm_put(md)
                dev_skipped += 1
                continue
            if (t := __hash_remove(hc)) is not None:
                dm.dm_sync_table(md)
                dm_table.dm_table_destroy(t)
            dm.dm_put(md)
            (dm.dm_destroy if keep_open_devices else dm.dm_destroy_immediate)(md)
            again = True
            break
    if dev_skipped:
        DMWARN(f"remove_all left {dev_skipped} open device(s)")


def __set_cell_uuid(hc: hash_cell, new_uuid: str) -> None:
    """Give a cell its UUID, and put it on the list of that. It must have none yet."""
    hc.uuid = new_uuid
    list_add(hc, variables()._uuid_buckets[hash_str(new_uuid)], "uuid_list")


def __change_cell_name(hc: hash_cell, new_name: str) -> str:
    """Give a cell another name. Returns the old one, for the caller to free."""
    list_del_init(hc, "name_list")
    old_name = hc.name
    hc.name = new_name
    list_add(hc, variables()._name_buckets[hash_str(new_name)], "name_list")
    return old_name


def dm_hash_rename(param: dm_ioctl_struct, new: str) -> mapped_device:
    """Give the device param.name another name or (DM_UUID_FLAG) a UUID. Returns the device, held, or ERR_PTR(-errno).

    -EBUSY: another device has it; -ENXIO: no such device; -EINVAL: it has a UUID.
    """
    old_name, change_uuid = NULL, bool(param.flags & DM_UUID_FLAG)
    if (new_data := kstrdup(new, GFP_KERNEL)) is None:
        return ERR_PTR(-ENOMEM)
    hc = __get_uuid_cell(new) if change_uuid else __get_name_cell(new)
    r = 0
    if hc is not None:
        r = refused(f"Unable to change {'uuid' if change_uuid else 'name'} on mapped device {param.name} to one that "
                    f"already exists: {new}", -EBUSY)
    elif (hc := __get_name_cell(param.name)) is None:
        r = refused(f"Unable to rename non-existent device, {param.name} to {'uuid ' if change_uuid else ''}{new}",
                    -ENXIO)
    elif change_uuid and hc.uuid is not None:
        r = refused(f"Unable to change uuid of mapped device {param.name} to {new} because uuid is "
                    f"already set to {hc.uuid}")
    if r:
        if hc is not None:
            dm.dm_put(hc.md)
        kfree(new_data)
        return ERR_PTR(r)
    if change_uuid:
        __set_cell_uuid(hc, new_data)
    else:
        old_name = __change_cell_name(hc, new_data)
    table, srcu_idx = dm.dm_get_live_table(hc.md)
    if table is not None:
        dm_table.dm_table_event(table)
    dm.dm_put_live_table(hc.md, srcu_idx)
    if not dm.dm_kobject_uevent(hc.md, KOBJ_CHANGE, param.event_nr):
        param.flags |= DM_UEVENT_GENERATED_FLAG
    kfree(old_name)
    return hc.md


def dm_deferred_remove() -> None:
    """Remove the devices that are to be removed when they are closed, and are."""
    dm_hash_remove_all(True, False, True)


# The commands

def remove_all(filp: file, param: dm_ioctl_struct, param_size: int) -> int:
    """DM_REMOVE_ALL: remove all devices that are not open. Returns 0."""
    dm_hash_remove_all(True, bool(param.flags & DM_DEFERRED_REMOVE), False)
    param.data_size = 0
    return 0


def get_result_buffer(param: dm_ioctl_struct, param_size: int) -> tuple[int, int]:
    """Say in param.data_start where the answer goes. Returns (that, how many bytes there are).

    In C the number of bytes is an out-parameter.
    """
    param.data_start = align_val(sizeof(dm_ioctl_struct))
    return param.data_start, max(param_size - param.data_start, 0)


def list_devices(filp: file, param: dm_ioctl_struct, param_size: int) -> int:
    """DM_LIST_DEVICES: number, name and events of each device, each entry saying where the next is. Returns 0."""
    cells = [hc for bucket in variables()._name_buckets for hc in bucket]
    needed = sum(align_val(NAME_LIST.size + len(bytes_of(hc.name)) + 1) + align_val(U32.size) for hc in cells)
    nl, length = get_result_buffer(param, param_size)
    if length < needed or length < U64.size:
        param.flags |= DM_BUFFER_FULL_FLAG
        return 0
    param.data_size = param.data_start + needed
    block = param._block
    U64.pack_into(block, nl, 0)  # no device
    orig_nl, old_nl = nl, 0
    for hc in cells:
        if old_nl:
            U32.pack_into(block, old_nl + U64.size, nl - old_nl)
        NAME_LIST.pack_into(block, nl, huge_encode_dev(disk_devt(dm.dm_disk(hc.md))), 0)
        old_nl, name = nl, bytes_of(hc.name) + b"\0"
        block[nl + NAME_LIST.size:nl + NAME_LIST.size + len(name)] = name
        event_nr = align_val(nl + NAME_LIST.size + len(name))
        U32.pack_into(block, event_nr, dm.dm_get_event_nr(hc.md))
        nl = align_val(event_nr + U32.size)
    BUG_ON(nl - orig_nl != needed)
    return 0


def list_version_get_needed(tt: target_type, needed: list[int]) -> None:
    """Add to needed[0] what a type's entry takes, in bytes."""
    needed[0] += TARGET_VERSIONS.size + len(bytes_of(tt.name)) + ALIGN_MASK


def list_version_get_info(tt: target_type, info: vers_iter) -> None:
    """Write the entry of a target type: its version and name. Sets DM_BUFFER_FULL_FLAG where it does not fit."""
    name = bytes_of(tt.name) + b"\0"
    # 5.4: `next` is not counted, so that the last entry may end 4 bytes behind the buffer
    if info.vers + 3 * U32.size + len(name) > info.end:
        info.flags = DM_BUFFER_FULL_FLAG
        return
    if info.old_vers:
        U32.pack_into(info.block, info.old_vers, info.vers - info.old_vers)
    TARGET_VERSIONS.pack_into(info.block, info.vers, 0, *tt.version)
    info.old_vers = info.vers
    at = info.vers + TARGET_VERSIONS.size
    info.block[at:at + len(name)] = name
    info.vers = align_val(at + len(name))


def __list_versions(param: dm_ioctl_struct, param_size: int, name: str | None) -> int:
    """List name and version of one type or (None) of all. Returns 0, or -EINVAL for no such type."""
    needed, tt = [0], NULL
    if name is not None and (tt := dm_get_target_type(name)) is None:
        return -EINVAL
    # in C each of the two calls below asks again whether it is one type
    iterate = dm_target_iterate if tt is None else lambda function, param: function(tt, param)
    iterate(list_version_get_needed, needed)
    vers, length = get_result_buffer(param, param_size)
    if length < needed[0]:
        param.flags |= DM_BUFFER_FULL_FLAG
    else:
        param.data_size = param.data_start + needed[0]
        iter_info = vers_iter(block=param._block, vers=vers, end=vers + length)
        iterate(list_version_get_info, iter_info)
        param.flags |= iter_info.flags
    if tt is not None:
        dm_put_target_type(tt)
    return 0


def list_versions(filp: file, param: dm_ioctl_struct, param_size: int) -> int:
    """DM_LIST_VERSIONS: list name and version of all types of target. Returns 0."""
    return __list_versions(param, param_size, None)


def get_target_version(filp: file, param: dm_ioctl_struct, param_size: int) -> int:
    """DM_GET_TARGET_VERSION: list the version of the type named param.name. Returns 0, or -EINVAL for no such type."""
    return __list_versions(param, param_size, param.name)


def check_name(name: str) -> int:
    """Check the name of a device. Returns 0, or -EINVAL for one with a slash."""
    if "/" in name:
        return refused("invalid device name")
    return 0


def dm_get_inactive_table(md: mapped_device) -> tuple[dm_table.dm_table, int]:
    """The table that is loaded and not live; or None. Returns (it, index for dm_put_live_table())."""
    _, srcu_idx = dm.dm_get_live_table(md)
    if (hc := dm.dm_get_mdptr(md)) is None or hc.md is not md:
        DMWARN("device has been removed from the dev hash table.")
        return NULL, srcu_idx
    return hc.new_map, srcu_idx


def dm_get_live_or_inactive_table(md: mapped_device, param: dm_ioctl_struct) -> tuple[dm_table.dm_table, int]:
    """The table that is asked for. Returns (it, index for dm_put_live_table())."""
    return dm_get_inactive_table(md) if param.flags & DM_QUERY_INACTIVE_TABLE_FLAG else dm.dm_get_live_table(md)


def __dev_status(md: mapped_device, param: dm_ioctl_struct) -> None:
    """Write the state of a device into param: its flags, number, opens, events and number of targets."""
    disk = dm.dm_disk(md)
    param.flags &= ~(DM_SUSPEND_FLAG | DM_READONLY_FLAG | DM_ACTIVE_PRESENT_FLAG | DM_INTERNAL_SUSPEND_FLAG)
    if dm.dm_suspended_md(md):
        param.flags |= DM_SUSPEND_FLAG
    if dm.dm_suspended_internally_md(md):
        param.flags |= DM_INTERNAL_SUSPEND_FLAG
    if dm.dm_test_deferred_remove_flag(md):
        param.flags |= DM_DEFERRED_REMOVE
    param.dev = huge_encode_dev(disk_devt(disk))
    param.open_count = dm.dm_open_count(md)
    param.event_nr = dm.dm_get_event_nr(md)
    param.target_count = 0
    table, srcu_idx = dm.dm_get_live_table(md)
    if table is not None:
        if not param.flags & DM_QUERY_INACTIVE_TABLE_FLAG:
            if get_disk_ro(disk):
                param.flags |= DM_READONLY_FLAG
            param.target_count = dm_table.dm_table_get_num_targets(table)
        param.flags |= DM_ACTIVE_PRESENT_FLAG
    dm.dm_put_live_table(md, srcu_idx)
    if param.flags & DM_QUERY_INACTIVE_TABLE_FLAG:
        table, srcu_idx = dm_get_inactive_table(md)
        if table is not None:
            if not dm_table.dm_table_get_mode(table) & FMODE_WRITE:
                param.flags |= DM_READONLY_FLAG
            param.target_count = dm_table.dm_table_get_num_targets(table)
        dm.dm_put_live_table(md, srcu_idx)


def dev_create(filp: file, param: dm_ioctl_struct, param_size: int) -> int:
    """DM_DEV_CREATE: make a device with a name and, if it is given one, a UUID. Returns 0 or -errno."""
    m = DM_ANY_MINOR
    if r := check_name(param.name):
        return r
    if param.flags & DM_PERSISTENT_DEV_FLAG:
        m = MINOR(huge_decode_dev(param.dev))
    r, md = dm.dm_create(m)
    if r:
        return r
    if r := dm_hash_insert(param.name, param.uuid or None, md):
        dm.dm_put(md)
        dm.dm_destroy(md)
        return r
    param.flags &= ~DM_INACTIVE_PRESENT_FLAG
    __dev_status(md, param)
    dm.dm_put(md)
    return 0


def __find_device_hash_cell(param: dm_ioctl_struct) -> hash_cell:
    """The cell of the device that is meant: by one of UUID, name and number. Its device is held; or None.

    Then param has its name and UUID, and says whether it has a table that is not live.
    """
    hc = NULL
    if param.uuid and not (param.name or param.dev):
        hc = __get_uuid_cell(param.uuid)
    elif param.name and not (param.uuid or param.dev):
        hc = __get_name_cell(param.name)
    elif param.dev and not (param.uuid or param.name):
        hc = __get_dev_cell(param.dev)
    if hc is None:
        return NULL
    param.name = str(hc.name)
    param.uuid = str(hc.uuid or "")
    param.flags &= ~DM_INACTIVE_PRESENT_FLAG
    if hc.new_map is not None:
        param.flags |= DM_INACTIVE_PRESENT_FLAG
    return hc


def find_device(param: dm_ioctl_struct) -> mapped_device:
    """Find the device that param names, and hold it. Returns None for no such device."""
    hc = __find_device_hash_cell(param)
    return hc.md if hc is not None else NULL


def dev_remove(filp: file, param: dm_ioctl_struct, param_size: int) -> int:
    """DM_DEV_REMOVE: remove a device that is not open, or (DM_DEFERRED_REMOVE) that is removed when it is closed.

    Returns 0, -ENXIO for no such device, -EBUSY for an open one.
    """
    if (hc := __find_device_hash_cell(param)) is None:
        return -ENXIO
    md = hc.md
    if r := dm.dm_lock_for_deletion(md, bool(param.flags & DM_DEFERRED_REMOVE), False):
        dm.dm_put(md)
        return 0 if r == -EBUSY and param.flags & DM_DEFERRED_REMOVE else r
    if (t := __hash_remove(hc)) is not None:
        dm.dm_sync_table(md)
        dm_table.dm_table_destroy(t)
    param.flags &= ~DM_DEFERRED_REMOVE
    if not dm.dm_kobject_uevent(md, KOBJ_REMOVE, param.event_nr):
        param.flags |= DM_UEVENT_GENERATED_FLAG
    dm.dm_put(md)
    dm.dm_destroy(md)
    return 0


def invalid_str(block: bytearray, at: int, end: int) -> int:
    """Check that a text that begins at a place in a block ends before `end`. Returns 0 or -EINVAL."""
    return 0 if block.find(b"\0", at, end) >= 0 else -EINVAL


def dev_rename(filp: file, param: dm_ioctl_struct, param_size: int) -> int:
    """DM_DEV_RENAME: give a device another name or (DM_UUID_FLAG) a UUID. Returns 0 or -errno."""
    change_uuid = bool(param.flags & DM_UUID_FLAG)
    longest = DM_UUID_LEN - 1 if change_uuid else DM_NAME_LEN - 1
    new_data = string_at(param._block, param.data_start)
    if (param.data_start < DATA_OFFSET or invalid_str(param._block, param.data_start, param_size) or not new_data
            or len(bytes_of(new_data)) > longest):
        return refused("Invalid new mapped device name or uuid string supplied.")
    if not change_uuid and (r := check_name(new_data)):
        return r
    if IS_ERR(md := dm_hash_rename(param, new_data)):
        return PTR_ERR(md)
    __dev_status(md, param)
    dm.dm_put(md)
    return 0


def dev_set_geometry(filp: file, param: dm_ioctl_struct, param_size: int) -> int:
    """DM_DEV_SET_GEOMETRY: set "cylinders heads sectors start". Returns 0, -ENXIO for no such device, or -EINVAL."""
    if (md := find_device(param)) is None:
        return -ENXIO
    r = -EINVAL
    if param.data_start < DATA_OFFSET or invalid_str(param._block, param.data_start, param_size):
        DMWARN("Invalid geometry supplied.")
    else:
        indata = sscanf(string_at(param._block, param.data_start), "%lu %lu %lu %lu%c")
        if len(indata) != 4:
            DMWARN("Unable to interpret geometry settings.")
        elif indata[0] > 65535 or indata[1] > 255 or indata[2] > 255 or indata[3] > ULONG_MAX:
            DMWARN("Geometry exceeds range limits.")
        else:
            geometry = hd_geometry(cylinders=indata[0], heads=indata[1], sectors=indata[2], start=indata[3])
            r = dm.dm_set_geometry(md, geometry)
            param.data_size = 0
    dm.dm_put(md)
    return r


def do_suspend(param: dm_ioctl_struct) -> int:
    """Suspend a device, if it is not suspended. Returns 0 or -errno."""
    if (md := find_device(param)) is None:
        return -ENXIO
    suspend_flags = 0 if param.flags & DM_SKIP_LOCKFS_FLAG else DM_SUSPEND_LOCKFS_FLAG
    if param.flags & DM_NOFLUSH_FLAG:
        suspend_flags |= DM_SUSPEND_NOFLUSH_FLAG
    r = 0 if dm.dm_suspended_md(md) else dm.dm_suspend(md, suspend_flags)
    if not r:
        __dev_status(md, param)
    dm.dm_put(md)
    return r


def do_resume(param: dm_ioctl_struct) -> int:
    """Make the table that is loaded the live one, if there is one, and resume a device. Returns 0 or -errno.

    A table that does not do is destroyed; then the device stays suspended, with the table that it had.
    """
    old_map = NULL
    if (hc := __find_device_hash_cell(param)) is None:
        return -ENXIO
    md = hc.md
    new_map, hc.new_map = hc.new_map, NULL
    param.flags &= ~DM_INACTIVE_PRESENT_FLAG
    if new_map is not None:
        suspend_flags = 0 if param.flags & DM_SKIP_LOCKFS_FLAG else DM_SUSPEND_LOCKFS_FLAG
        if param.flags & DM_NOFLUSH_FLAG:
            suspend_flags |= DM_SUSPEND_NOFLUSH_FLAG
        if not dm.dm_suspended_md(md):
            dm.dm_suspend(md, suspend_flags)
        if IS_ERR(old_map := dm.dm_swap_table(md, new_map)):
            dm.dm_sync_table(md)
            dm_table.dm_table_destroy(new_map)
            dm.dm_put(md)
            return PTR_ERR(old_map)
        read_only = not dm_table.dm_table_get_mode(new_map) & FMODE_WRITE
        genhd.set_disk_ro(dm.dm_disk(md), int(read_only))
    r = 0
    if dm.dm_suspended_md(md):
        if not (r := dm.dm_resume(md)) and not dm.dm_kobject_uevent(md, KOBJ_CHANGE, param.event_nr):
            param.flags |= DM_UEVENT_GENERATED_FLAG
    if old_map is not None:
        dm_table.dm_table_destroy(old_map)
    if not r:
        __dev_status(md, param)
    dm.dm_put(md)
    return r


def dev_suspend(filp: file, param: dm_ioctl_struct, param_size: int) -> int:
    """DM_DEV_SUSPEND: suspend a device (DM_SUSPEND_FLAG), or resume it. Returns 0 or -errno."""
    return do_suspend(param) if param.flags & DM_SUSPEND_FLAG else do_resume(param)


def dev_status(filp: file, param: dm_ioctl_struct, param_size: int) -> int:
    """DM_DEV_STATUS: how a device is. Returns 0, or -ENXIO for no such device."""
    if (md := find_device(param)) is None:
        return -ENXIO
    __dev_status(md, param)
    dm.dm_put(md)
    return 0


def retrieve_status(table: dm_table.dm_table, param: dm_ioctl_struct, param_size: int) -> None:
    """Write what each target of a table says of itself, or (DM_STATUS_TABLE_FLAG) how it was made."""
    outbuf, length = get_result_buffer(param, param_size)
    outptr = outbuf
    used = status_flags = 0
    type = STATUSTYPE_TABLE if param.flags & DM_STATUS_TABLE_FLAG else STATUSTYPE_INFO
    num_targets = dm_table.dm_table_get_num_targets(table)
    for i in range(num_targets):
        ti = dm_table.dm_table_get_target(table, i)
        remaining = length - (outptr - outbuf)
        if remaining <= TARGET_SPEC.size:
            param.flags |= DM_BUFFER_FULL_FLAG
            break
        spec = outptr
        outptr += TARGET_SPEC.size
        remaining -= TARGET_SPEC.size
        text = ""
        if ti.type.status is not None:
            if param.flags & DM_NOFLUSH_FLAG:
                status_flags |= DM_STATUS_NOFLUSH_FLAG
            text = ti.type.status(ti, type, status_flags)
        status = bytes_of(text)[:remaining - 1] + b"\0"
        param._block[outptr:outptr + len(status)] = status
        TARGET_SPEC.pack_into(param._block, spec, ti.begin, ti.len, 0, 0, bytes_of(ti.type.name))
        if len(status) == remaining:
            param.flags |= DM_BUFFER_FULL_FLAG
            break
        outptr += len(status)
        used = param.data_start + (outptr - outbuf)
        outptr = align_val(outptr)
        TARGET_SPEC.pack_into(param._block, spec, ti.begin, ti.len, 0, outptr - outbuf, bytes_of(ti.type.name))
    if used:
        param.data_size = used
    param.target_count = num_targets


def dev_wait(filp: file, param: dm_ioctl_struct, param_size: int) -> int:
    """DM_DEV_WAIT: wait until a device has had another number of events; then say how it is. Returns 0 or -errno."""
    if (md := find_device(param)) is None:
        return -ENXIO
    if dm.dm_wait_event(md, param.event_nr):
        dm.dm_put(md)
        return -ERESTARTSYS
    __dev_status(md, param)
    table, srcu_idx = dm_get_live_or_inactive_table(md, param)
    if table is not None:
        retrieve_status(table, param, param_size)
    dm.dm_put_live_table(md, srcu_idx)
    dm.dm_put(md)
    return 0


def dev_arm_poll(filp: file, param: dm_ioctl_struct, param_size: int) -> int:
    """DM_DEV_ARM_POLL: let polling wait for events from now on. Returns 0."""
    filp.private_data.global_event_nr = dm.variables().dm_global_event_nr
    return 0


def get_mode(param: dm_ioctl_struct) -> int:
    """Return FMODE_*: for what the device of a table that is loaded may be opened."""
    return FMODE_READ if param.flags & DM_READONLY_FLAG else FMODE_READ | FMODE_WRITE


def next_target(last: int, next: int, block: bytearray, end: int) -> tuple[int, int, int]:
    """Find the target that is `next` bytes behind the one at `last`. Returns (0, its place, that of its parameters),
    or (-EINVAL, …) where that is not in the block. In C the places are out-parameters."""
    spec = last + next
    target_params = spec + TARGET_SPEC.size
    if spec < last + TARGET_SPEC.size:
        return -EINVAL, spec, target_params
    return invalid_str(block, target_params, end), spec, target_params


def populate_table(table: dm_table.dm_table, param: dm_ioctl_struct, param_size: int) -> int:
    """Fill a table with the targets that the block has, and make it ready. Returns 0 or -errno."""
    spec, next = 0, param.data_start
    if not param.target_count:
        return refused("populate_table: no targets specified")
    for _ in range(param.target_count):
        r, spec, target_params = next_target(spec, next, param._block, param_size)
        if r:
            return refused("unable to find target", r)
        sector_start, length, _status, next, _type = TARGET_SPEC.unpack_from(param._block, spec)
        target_type = string_at(param._block, target_params - DM_MAX_TYPE_NAME)
        r = dm_table.dm_table_add_target(table, target_type, sector_start, length,
                                         string_at(param._block, target_params))
        if r:
            return refused("error adding target to table", r)
    return dm_table.dm_table_complete(table)


def is_valid_type(cur: int, new: int) -> bool:
    """Whether a device of one type may be given a table of another."""
    return cur == new or (cur == DM_TYPE_BIO_BASED and new == DM_TYPE_DAX_BIO_BASED)


def table_load(filp: file, param: dm_ioctl_struct, param_size: int) -> int:
    """DM_TABLE_LOAD: make a table for a device, to be made live when it is resumed; one loaded before is dropped.

    The first one says what kind of device it is. Returns 0 or -errno, with lines in the log that say why.
    """
    if (md := find_device(param)) is None:
        return -ENXIO
    r, t = dm_table.dm_table_create(get_mode(param), param.target_count, md)
    if r:
        dm.dm_put(md)
        return r
    dm.dm_lock_md_type(md)
    try:
        r = populate_table(t, param, param_size)
    except NotModelled:
        dm_table.dm_table_destroy(t)
        dm.dm_put(md)
        raise
    if not r:
        immutable_target_type = dm.dm_get_immutable_target_type(md)
        if (immutable_target_type is not None
                and immutable_target_type is not dm_table.dm_table_get_immutable_target_type(t)
                and dm_table.dm_table_get_wildcard_target(t) is None):
            r = refused(f"can't replace immutable target type {immutable_target_type.name}")
        elif dm.dm_get_md_type(md) == DM_TYPE_NONE:
            dm.dm_set_md_type(md, dm_table.dm_table_get_type(t))
            if r := dm.dm_setup_md_queue(md, t):
                DMWARN("unable to set up device queue for new table.")
        else:
            # recorder: compiled code works arguments out from the last to the first
            new = dm_table.dm_table_get_type(t)
            if not is_valid_type(dm.dm_get_md_type(md), new):
                new = dm_table.dm_table_get_type(t)
                r = refused(f"can't change device type (old={dm.dm_get_md_type(md)} vs new={new}) after "
                            "initial table load.")
    dm.dm_unlock_md_type(md)
    if not r and ((hc := dm.dm_get_mdptr(md)) is None or hc.md is not md):
        r = refused("device has been removed from the dev hash table.", -ENXIO)
    if r:
        dm_table.dm_table_destroy(t)
        dm.dm_put(md)
        return r
    old_map, hc.new_map = hc.new_map, t
    param.flags |= DM_INACTIVE_PRESENT_FLAG
    __dev_status(md, param)
    if old_map is not None:
        dm.dm_sync_table(md)
        dm_table.dm_table_destroy(old_map)
    dm.dm_put(md)
    return 0


def table_clear(filp: file, param: dm_ioctl_struct, param_size: int) -> int:
    """DM_TABLE_CLEAR: drop the table that is not live. Returns 0, or -ENXIO for no such device."""
    if (hc := __find_device_hash_cell(param)) is None:
        return -ENXIO
    old_map, hc.new_map = hc.new_map, NULL
    param.flags &= ~DM_INACTIVE_PRESENT_FLAG
    __dev_status(hc.md, param)
    md = hc.md
    if old_map is not None:
        dm.dm_sync_table(md)
        dm_table.dm_table_destroy(old_map)
    dm.dm_put(md)
    return 0


def retrieve_deps(table: dm_table.dm_table, param: dm_ioctl_struct, param_size: int) -> None:
    """Write the numbers of the devices below, the newest first, or set DM_BUFFER_FULL_FLAG."""
    deps, length = get_result_buffer(param, param_size)
    count = 0
    # recorder: the list is asked for before each entry, as a macro of C does
    for _ in list_for_each(lambda: dm_table.dm_table_get_devices(table)):
        count += 1
    needed = TARGET_DEPS.size + U64.size * count
    if length < needed:
        param.flags |= DM_BUFFER_FULL_FLAG
        return
    TARGET_DEPS.pack_into(param._block, deps, count, 0)
    dev = deps + TARGET_DEPS.size
    for dd in list_for_each(lambda: dm_table.dm_table_get_devices(table)):
        U64.pack_into(param._block, dev, huge_encode_dev(dd.dm_dev.bdev.bd_dev))
        dev += U64.size
    param.data_size = param.data_start + needed


def table_deps(filp: file, param: dm_ioctl_struct, param_size: int) -> int:
    """DM_TABLE_DEPS: which devices are below one. Returns 0, or -ENXIO for no such device."""
    if (md := find_device(param)) is None:
        return -ENXIO
    __dev_status(md, param)
    table, srcu_idx = dm_get_live_or_inactive_table(md, param)
    if table is not None:
        retrieve_deps(table, param, param_size)
    dm.dm_put_live_table(md, srcu_idx)
    dm.dm_put(md)
    return 0


def table_status(filp: file, param: dm_ioctl_struct, param_size: int) -> int:
    """DM_TABLE_STATUS: what the targets of a device say. Returns 0, or -ENXIO for no such device."""
    if (md := find_device(param)) is None:
        return -ENXIO
    __dev_status(md, param)
    table, srcu_idx = dm_get_live_or_inactive_table(md, param)
    if table is not None:
        retrieve_status(table, param, param_size)
    dm.dm_put_live_table(md, srcu_idx)
    dm.dm_put(md)
    return 0


def message_for_md(md: mapped_device, argc: int, argv: list[str]) -> int:
    """Take a message that begins with @: it is for device mapper itself. Returns 0 or -errno; 2 for any other."""
    if not argv[0].startswith("@"):
        return 2
    if argv[0].lower() == "@cancel_deferred_remove":
        if argc != 1:
            return refused("Invalid arguments for @cancel_deferred_remove")
        return dm.dm_cancel_deferred_remove(md)
    if argv[0].lower() in STATISTICS:
        raise NotModelled(f"device mapper statistics (message {argv[0]})")
    return refused(f"Unsupported message sent to DM core: {argv[0]}")


def target_message(filp: file, param: dm_ioctl_struct, param_size: int) -> int:
    """DM_TARGET_MSG: give a message to the target of a sector. Returns 0 or -errno.

    (No target of the model answers with a text, as C provides for.)
    """
    tmsg = param.data_start
    get_result_buffer(param, param_size)
    if (md := find_device(param)) is None:
        return -ENXIO
    message = tmsg + TARGET_MSG.size
    if tmsg < DATA_OFFSET or invalid_str(param._block, message, param_size):
        DMWARN("Invalid target message parameters.")
        dm.dm_put(md)
        return -EINVAL
    (sector,) = TARGET_MSG.unpack_from(param._block, tmsg)
    r, argc, argv = dm_table.dm_split_args(string_at(param._block, message))
    if r:
        DMWARN("Failed to split target message parameters")
        dm.dm_put(md)
        return r
    if not argc:
        r = refused("Empty message received.")
    else:
        try:
            r = message_for_md(md, argc, argv)
        except NotModelled:
            kfree(argv)
            dm.dm_put(md)
            raise
    if r > 1:
        table, srcu_idx = dm.dm_get_live_table(md)
        if table is not None:
            if dm.dm_deleting_md(md):
                r = -ENXIO
            else:
                if (ti := dm_table.dm_table_find_target(table, sector)) is None:
                    r = refused("Target message sector outside device.")
                elif ti.type.message is not None:
                    r = ti.type.message(ti, argc, argv)
                else:
                    r = refused("Target type does not support messages")
        dm.dm_put_live_table(md, srcu_idx)
    kfree(argv)
    if r >= 0:
        __dev_status(md, param)
    dm.dm_put(md)
    return r


# The control node

ISSUES_EVENT = IOCTL_FLAGS_NO_PARAMS | IOCTL_FLAGS_ISSUE_GLOBAL_EVENT
_ioctls = (  # by the number of the command; there is nothing more to do for DM_VERSION_CMD
    (NULL, 0), (remove_all, ISSUES_EVENT), (list_devices, 0), (dev_create, ISSUES_EVENT), (dev_remove, ISSUES_EVENT),
    (dev_rename, IOCTL_FLAGS_ISSUE_GLOBAL_EVENT), (dev_suspend, IOCTL_FLAGS_NO_PARAMS),
    (dev_status, IOCTL_FLAGS_NO_PARAMS), (dev_wait, 0), (table_load, 0), (table_clear, IOCTL_FLAGS_NO_PARAMS),
    (table_deps, 0), (table_status, 0), (list_versions, 0), (target_message, 0), (dev_set_geometry, 0),
    (dev_arm_poll, IOCTL_FLAGS_NO_PARAMS), (get_target_version, 0))


def lookup_ioctl(cmd: int) -> tuple[Callable[..., int], int]:
    """What does a command, and what is to be known of it. Returns (function or None, IOCTL_FLAGS_*)."""
    return _ioctls[cmd] if cmd < len(_ioctls) else (NULL, 0)


def check_version(cmd: int, user: bytearray) -> int:
    """Check that user space means the same by the interface, and tell it the kernel's version. Returns 0 or -errno."""
    if len(user) < 3 * U32.size:
        return -EFAULT
    version = [U32.unpack_from(user, at)[0] for at in (0, 4, 8)]
    r = 0
    if version[0] != DM_VERSION_MAJOR or version[1] > DM_VERSION_MINOR:
        r = refused(f"ioctl interface mismatch: kernel({DM_VERSION_MAJOR}.{DM_VERSION_MINOR}."
                    f"{DM_VERSION_PATCHLEVEL}), user({version[0]}.{version[1]}.{version[2]}), cmd({cmd})")
    for at, number in ((0, DM_VERSION_MAJOR), (4, DM_VERSION_MINOR), (8, DM_VERSION_PATCHLEVEL)):
        U32.pack_into(user, at, number)
    return r


def free_params(param: dm_ioctl_struct, param_size: int, param_flags: int) -> None:
    """Free the kernel's copy of a block, where there is one. (DM_SECURE_DATA_FLAG, to wipe it before, does nothing.)"""
    if param_flags & DM_PARAMS_MALLOC:
        kfree(param)


def copy_params(user: bytearray, param_kernel: dm_ioctl_struct, ioctl_flags: int) -> tuple[int, dm_ioctl_struct, int]:
    """Copy a block from user space: all of it, if the command has a use for that.

    Returns (0, dm_ioctl, flags for free_params()), or (-errno, None, 0). In C the latter two are out-parameters.
    """
    if len(user) < DATA_OFFSET:
        return -EFAULT, NULL, 0
    read_head(user, param_kernel)
    if param_kernel.data_size < DATA_OFFSET:
        return -EINVAL, NULL, 0
    param_flags, size = 0, param_kernel.data_size
    if ioctl_flags & IOCTL_FLAGS_NO_PARAMS:
        dmi = param_kernel
        dmi.data_size = DATA_OFFSET
        dmi._block = bytearray(sizeof(dm_ioctl_struct))
    else:
        if (dmi := kzalloc(dm_ioctl_struct, GFP_KERNEL, size)) is None:
            return -ENOMEM, NULL, 0
        param_flags |= DM_PARAMS_MALLOC
        read_head(user, dmi)
        if len(user) < size:
            dmi._block = bytearray()
            free_params(dmi, size, param_flags)
            return -EFAULT, NULL, 0
        dmi._block = bytearray(user[:size])
    return 0, dmi, param_flags


def validate_params(cmd: int, param: dm_ioctl_struct) -> int:
    """Check whom a command is about: a device that is made needs a name, another one has a name or a UUID. Returns 0 or
    -EINVAL."""
    param.flags &= ~(DM_BUFFER_FULL_FLAG | DM_UEVENT_GENERATED_FLAG | DM_SECURE_DATA_FLAG | DM_DATA_OUT_FLAG)
    if cmd in (DM_REMOVE_ALL_CMD, DM_LIST_DEVICES_CMD, DM_LIST_VERSIONS_CMD):
        return 0
    if cmd == DM_DEV_CREATE_CMD:
        if not param.name:
            return refused("name not supplied when creating device")
    elif param.uuid and param.name:
        return refused(f"only supply one of name or uuid, cmd({cmd})")
    param.name = string_at(bytes_of(param.name)[:DM_NAME_LEN - 1], 0)
    param.uuid = string_at(bytes_of(param.uuid)[:DM_UUID_LEN - 1], 0)
    return 0


def ctl_ioctl(file: file, command: int, user: bytearray) -> int:
    """Do a command. `user` is user space's block, a bytearray, which gets the answer. Returns 0 or -errno."""
    if _IOC_TYPE(command) != DM_IOCTL:
        return -ENOTTY
    cmd = _IOC_NR(command)
    if r := check_version(cmd, user):
        return r
    if cmd == DM_VERSION_CMD:
        return 0
    fn, ioctl_flags = lookup_ioctl(cmd)
    if fn is None:
        return refused(f"dm_ctl_ioctl: unknown command 0x{command:x}", -ENOTTY)
    r, param, param_flags = copy_params(user, dm_ioctl_struct(), ioctl_flags)
    if r:
        return r
    input_param_size = param.data_size
    if not (r := validate_params(cmd, param)):
        param.data_size = DATA_OFFSET
        r = fn(file, param, input_param_size)
        if param.flags & DM_BUFFER_FULL_FLAG and ioctl_flags & IOCTL_FLAGS_NO_PARAMS:
            DMERR(f"ioctl {cmd} tried to output some data but has IOCTL_FLAGS_NO_PARAMS set")
        if not r and ioctl_flags & IOCTL_FLAGS_ISSUE_GLOBAL_EVENT:
            dm.dm_issue_global_event()
        if not r:
            write_head(param, param._block)
            if len(user) < param.data_size:
                r = -EFAULT
            else:
                user[:param.data_size] = param._block[:param.data_size]
    free_params(param, input_param_size, param_flags)
    return r


def dm_ctl_ioctl(file: file, command: int, u: bytearray) -> int:
    """Answer an ioctl on the control node. Returns 0 or -errno."""
    return ctl_ioctl(file, command, u)


def dm_open(inode: inode, filp: file) -> int:
    """Somebody opens the control node. Returns 0 or -ENOMEM."""
    if r := nonseekable_open(inode, filp):
        return r
    priv = filp.private_data = kzalloc(dm_file, GFP_KERNEL)
    if priv is None:
        return -ENOMEM
    priv.global_event_nr = dm.variables().dm_global_event_nr
    return 0


def dm_release(inode: inode, filp: file) -> int:
    """Free what dm_open() allocated, as the control node is closed. Returns 0."""
    kfree(filp.private_data)
    return 0


def dm_poll(filp: file, wait: Any) -> int:
    """Whether something happened to a device since the node was opened, or polling was armed: EPOLLIN, or 0."""
    return EPOLLIN if dm.variables().dm_global_event_nr - filp.private_data.global_event_nr > 0 else 0


_ctl_fops = file_operations(open=dm_open, release=dm_release, poll=dm_poll, unlocked_ioctl=dm_ctl_ioctl)
_dm_misc = miscdevice(minor=MAPPER_CTRL_MINOR, name=DM_NAME, nodename=f"{DM_DIR}/{DM_CONTROL_NODE}", fops=_ctl_fops)


def dm_interface_init() -> int:
    """Make the control node and the empty tables of names and UUIDs. Returns 0 or -errno."""
    if r := dm_hash_init():
        return r
    if r := misc_register(_dm_misc):
        DMERR("misc_register failed for control device")
        dm_hash_exit()
        return r
    DMINFO(f"{DM_VERSION_MAJOR}.{DM_VERSION_MINOR}.{DM_VERSION_PATCHLEVEL}{DM_VERSION_EXTRA} "
           f"initialised: {DM_DRIVER_EMAIL}")
    return 0


def dm_interface_exit() -> None:
    """Remove the control node, and all devices."""
    misc_deregister(_dm_misc)
    dm_hash_exit()


def dm_copy_name_and_uuid(md: mapped_device) -> tuple[int, str, str]:
    """A device's name and UUID ("": none). Returns (0, name, uuid), or (-ENXIO, "", "") for one that is going.

    In C name and uuid are out-parameters.
    """
    if md is None:
        return -ENXIO, "", ""
    hc = dm.dm_get_mdptr(md)
    return (-ENXIO, "", "") if hc is None or hc.md is not md else (0, str(hc.name), str(hc.uuid or ""))
