"""Mapped devices: how one is made, given a table, suspended, resumed and destroyed, and what a bio meets there.

A bio is cut where targets meet. Each piece gets a clone, which its target sends on to a device below; the bio ends
with the last of its clones. While a device is suspended bios wait for it to go on. Left out: persistent reservations
and zones, which come through another interface; direct access to memory, which the reference kernel is configured
without; suspending from within the kernel, and limits of swapping. `THIS_MODULE` and locks mean nothing to a model with
one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import field
from typing import Any

from blkmodel.block import bio as bio_module, blk_core, blk_merge, blk_mq, blk_settings, blk_sysfs, genhd, ioctl
from blkmodel.drivers.md import dm_ioctl, dm_linear, dm_rq, dm_stripe, dm_sysfs, dm_table, dm_uevent
from blkmodel.drivers.md.dm_core_h import DM_RESERVED_MAX_IOS, mapped_device
from blkmodel.drivers.md.dm_h import DM_SUSPEND_LOCKFS_FLAG, DM_SUSPEND_NOFLUSH_FLAG, invalid, refused
from blkmodel.drivers.md.dm_target import dm_target_exit, dm_target_init
from blkmodel.fs import block_dev
from blkmodel.include.linux.blkdev import (BLK_QC_T_NONE, BLK_STS_DM_REQUEUE, BLK_STS_IOERR, BLK_STS_TARGET,
    QUEUE_FLAG_DISCARD, REQ_OP_DISCARD, REQ_OP_SECURE_ERASE, REQ_OP_WRITE, REQ_OP_WRITE_SAME, REQ_OP_WRITE_ZEROES,
    REQ_PREFLUSH, REQ_RAHEAD, REQ_SWAP, REQ_SYNC, SECTOR_SHIFT, bio as bio_struct, bio_has_data, bio_io_error, bio_list,
    bio_list_add, bio_list_add_head, bio_list_pop, bio_op, bio_sectors, bio_set, bio_set_dev, bioset_initialized,
    block_device_operations, copy_limits, disk_devt, disk_to_dev, gendisk, get_capacity, op_stat_group, part_stat_get,
    part_stat_lock, part_stat_unlock, queue_is_mq, queue_limits, request_queue, set_capacity, test_bit)
from blkmodel.include.linux.device_mapper import (DM_ANY_MINOR, DM_ENDIO_DONE, DM_ENDIO_INCOMPLETE, DM_ENDIO_REQUEUE,
    DM_MAPIO_KILL, DM_MAPIO_REMAPPED, DM_MAPIO_REQUEUE, DM_MAPIO_SUBMITTED, DM_NAME, DM_TYPE_BIO_BASED,
    DM_TYPE_DAX_BIO_BASED, DM_TYPE_NONE, DM_TYPE_NVME_BIO_BASED, DM_TYPE_REQUEST_BASED, DMERR, DMINFO, DMWARN, dm_arg,
    dm_dev, dm_dev as dm_dev_struct, dm_target, dm_target_offset, target_type, to_bytes)
from blkmodel.include.linux.fs import block_device
from blkmodel.reference.omission import no_chapter
from blkmodel.services import (BUG_ON, EAGAIN, EBUSY, EEXIST, EINTR, EINVAL, EIO, ENOMEM, ENOSPC, ENOTCONN, ENOTTY,
    ENXIO, EOPNOTSUPP, ERR_PTR, FMODE_EXCL, GFP_KERNEL, GFP_NOIO, GFP_NOWAIT, INIT_WORK, IS_ERR, MAJOR, MINOR,
    MINORBITS, MKDEV, NUMA_NO_NODE, PTR_ERR, SINGLE_DEPTH_NESTING, TASK_INTERRUPTIBLE, THIS_MODULE, WARN_ON,
    WARN_ON_ONCE, alloc_workqueue, cleanup_srcu_struct, destroy_workqueue, fatal_signal_pending, finish_wait,
    flush_workqueue, format_dev_t, hd_geometry, i_size_write, idr, idr_alloc, idr_find, idr_remove, idr_replace,
    init_srcu_struct, init_wait, io_schedule, jiffies, kernel_param, kfree, kobject, kobject_uevent, kobject_uevent_env,
    kzalloc_node, list_add, list_del_init, list_head, list_splice_init, module_put, msleep, mutex_lock,
    mutex_lock_nested, mutex_unlock, nr_online_nodes, param_set_int, param_set_uint, prepare_to_wait, queue_work,
    rcu_read_lock, rcu_read_unlock, round_up, signal_pending_state, srcu_read_lock, srcu_read_unlock, synchronize_rcu,
    synchronize_srcu, try_module_get, wait_event_interruptible, wait_queue_entry, wait_queue_head, waitqueue_active,
    wake_up, work_struct, workqueue_struct)
from blkmodel.sim import NULL, PAGE_SIZE, Struct, sizeof, statics, this

DM_MSG_PREFIX = "core"
OMITTED = no_chapter("""
    __dm_internal_suspend __dm_internal_resume dm_internal_suspend_noflush dm_internal_resume dm_internal_suspend_fast
    dm_internal_resume_fast dm_hold dm_post_suspending dm_post_suspending_md dm_accept_partial_bio __process_bio
    __set_swap_bios_limit get_num_write_same_bios __send_write_same disable_write_same""")
DM_COOKIE_ENV_VAR_NAME = "DM_COOKIE"
MINOR_ALLOCED = object()  # a number that is taken, by a device that is being made or destroyed
UINT_MAX = 0xFFFFFFFF

(DMF_BLOCK_IO_FOR_SUSPEND, DMF_SUSPENDED, DMF_FROZEN, DMF_FREEING, DMF_DELETING, DMF_NOFLUSH_SUSPENDING,
 DMF_DEFERRED_REMOVE, DMF_SUSPENDED_INTERNALLY, DMF_POST_SUSPENDING) = range(9)
DM_NUMA_NODE, DEFAULT_SWAP_BIOS, RESERVED_BIO_BASED_IOS = NUMA_NO_NODE, 8 * 1048576 // PAGE_SIZE, 16
DM_CLAIM_PTR = "I belong to device-mapper"


class clone_info(Struct):
    """How far the work on one bio is: from `sector` on, sector_count are still to be given to targets of `map`."""

    map: dm_table.dm_table = NULL
    bio: bio_struct = NULL
    io: dm_io = NULL
    sector: int = 0
    sector_count: int = 0


class dm_target_io(Struct):
    """What lies before a clone: whose it is, and for which target; target_bio_nr numbers the clones of one bio.

    inside_dm_io: it is the first clone of its bio, which lies within the dm_io. _data is the target's own (in C it lies
    before all of this).
    """

    io: dm_io = NULL
    ti: dm_target = NULL
    target_bio_nr: int = 0
    inside_dm_io: bool = False
    clone: bio_struct = NULL
    _data: Any = NULL


class dm_io(Struct):
    """One bio of a mapped device, under way: io_count clones and submitters are not done. `tio` has the first clone."""

    md: mapped_device = NULL
    status: int = 0
    io_count: int = 0
    orig_bio: bio_struct = NULL
    start_time: int = 0
    tio: dm_target_io = NULL


class dm_md_mempools(Struct):
    """What a device's clones are from, allocated when a table is loaded: io_bs for a bio's first, bs for others."""

    bs: bio_set = field(default_factory=bio_set)
    io_bs: bio_set = field(default_factory=bio_set)


class table_device(Struct):
    """A block device that the tables of a mapped device have open, count times."""

    list: list_head = NULL
    count: int = 0
    dm_dev: dm_dev_struct = NULL


class variables(statics):
    """The module's parameters, and what all devices share.

    _major: their major number; _minor_idr: their minors, each with its device; dm_global_event_nr counts what
    happened to any device, and dm_global_eventq has those who wait for that.
    """

    def __init__(self) -> None:
        self.major, self.reserved_bio_based_ios, self.dm_numa_node = 0, RESERVED_BIO_BASED_IOS, DM_NUMA_NODE
        self.swap_bios, self._major = DEFAULT_SWAP_BIOS, 0
        self._minor_idr = idr()
        self.deferred_remove_work = work_struct()
        INIT_WORK(self.deferred_remove_work, do_deferred_remove, None)
        self.deferred_remove_workqueue: workqueue_struct = NULL
        self.dm_global_event_nr = 0
        self.dm_global_eventq = wait_queue_head()


module_params = tuple(kernel_param(name, setter, variables, name) for name, setter in (
    ("major", param_set_uint), ("reserved_bio_based_ios", param_set_uint), ("dm_numa_node", param_set_int),
    ("swap_bios", param_set_int)))


def dm_issue_global_event() -> None:
    """Something happened to some device: wake who waits for that."""
    own = variables()
    own.dm_global_event_nr += 1
    wake_up(own.dm_global_eventq)


# What a target keeps with a bio

def dm_per_bio_data(bio: bio_struct, data_size: int, cls: Callable[[], Any]) -> Any:
    """The target's data of a clone: so many bytes, of the room that it has asked for, which are a structure `cls`."""
    tio = bio._front
    BUG_ON(data_size > tio.ti.per_io_data_size, "a target keeps more with a bio than it has asked for room for")
    if tio._data is None:
        tio._data = cls()
        tio._data._bio = bio
    return tio._data


def dm_bio_from_per_bio_data(data: Any) -> bio_struct:
    """The clone that a target's data belong to."""
    return data._bio


def dm_bio_get_target_bio_nr(bio: bio_struct) -> int:
    """Return which of the clones of one bio this is, counted from 0."""
    return bio._front.target_bio_nr


def get_swap_bios() -> int:
    """How many bios of swapping a device lets through at once."""
    latch = variables().swap_bios
    return latch if latch > 0 else DEFAULT_SWAP_BIOS


def __dm_get_module_param_int(own: Any, name: str, min: int, max: int) -> int:
    """A parameter that must be from min to max, and is set so where it is not. `own`: the file's variables."""
    param = getattr(own, name)
    if not min <= param <= max:
        param = min if param < min else max
        setattr(own, name, param)
    return param


def __dm_get_module_param(own: Any, name: str, default: int, max: int) -> int:
    """A parameter of which 0 stands for the default, and which is at most max; it is set so where it is not."""
    if not (param := getattr(own, name)) or param > max:
        param = max if param else default
        setattr(own, name, param)
    return param


def dm_get_reserved_bio_based_ios() -> int:
    """How many clones a device has in reserve."""
    return __dm_get_module_param(variables(), "reserved_bio_based_ios", RESERVED_BIO_BASED_IOS, DM_RESERVED_MAX_IOS)


def dm_get_numa_node() -> int:
    """The node on which devices are allocated."""
    return __dm_get_module_param_int(variables(), "dm_numa_node", DM_NUMA_NODE, nr_online_nodes() - 1)


# The module

def local_init() -> int:
    """Get a major number, and a work queue for removing devices. Returns 0 or -errno."""
    own = variables()
    if r := dm_uevent.dm_uevent_init():
        return r
    own.deferred_remove_workqueue = alloc_workqueue("kdmremove")
    if own.deferred_remove_workqueue is None:
        dm_uevent.dm_uevent_exit()
        return -ENOMEM
    own._major = own.major
    if (r := genhd.register_blkdev(own._major, DM_NAME)) < 0:
        destroy_workqueue(own.deferred_remove_workqueue)
        dm_uevent.dm_uevent_exit()
        return r
    if not own._major:
        own._major = r
    return 0


def local_exit() -> None:
    """Give back what local_init() took: the work queue, the major number and the cache of events."""
    own = variables()
    destroy_workqueue(own.deferred_remove_workqueue)
    genhd.unregister_blkdev(own._major, DM_NAME)
    dm_uevent.dm_uevent_exit()
    own._major = 0
    DMINFO("cleaned up")


_inits = (local_init, dm_target_init, lambda: dm_linear.dm_linear_init(),
          lambda: dm_stripe.dm_stripe_init(), lambda: dm_ioctl.dm_interface_init())
_exits = (local_exit, dm_target_exit, lambda: dm_linear.dm_linear_exit(),
          lambda: dm_stripe.dm_stripe_exit(), lambda: dm_ioctl.dm_interface_exit())


def dm_init() -> int:
    """Load the module: begin with each of its parts. Returns 0 or -errno; then none is left."""
    for i, init in enumerate(_inits):
        if r := init():
            for undo in reversed(_exits[:i]):
                undo()
            return r
    return 0


def dm_exit() -> None:
    """Unload the module, with all devices."""
    for undo in reversed(_exits):
        undo()


# Opening and closing

def dm_deleting_md(md: mapped_device) -> bool:
    """Whether a device is being removed."""
    return test_bit(DMF_DELETING, md.flags)


def dm_blk_open(bdev: block_device, mode: int) -> int:
    """Somebody opens a device. Returns 0, or -ENXIO for one that is going."""
    if (md := bdev.bd_disk.private_data) is None or test_bit(DMF_FREEING, md.flags) or dm_deleting_md(md):
        return -ENXIO
    dm_get(md)
    md.open_count += 1
    return 0


def dm_blk_close(disk: gendisk, mode: int) -> None:
    """Somebody closes a device. One that was to be removed then is."""
    own, md = variables(), disk.private_data
    if WARN_ON(md is None):
        return
    md.open_count -= 1
    if md.open_count == 0 and test_bit(DMF_DEFERRED_REMOVE, md.flags):
        queue_work(own.deferred_remove_workqueue, own.deferred_remove_work)
    dm_put(md)


def dm_open_count(md: mapped_device) -> int:
    """Return how many have the block device open."""
    return md.open_count


def dm_lock_for_deletion(md: mapped_device, mark_deferred: bool, only_deferred: bool) -> int:
    """Let nobody open a device any more, as it is to be removed.

    Returns 0; -EBUSY for an open one (mark_deferred: it is removed when it is closed); -EEXIST where only such are
    to be removed, and it is none.
    """
    if dm_open_count(md):
        if mark_deferred:
            md.flags |= 1 << DMF_DEFERRED_REMOVE
        return -EBUSY
    if only_deferred and not test_bit(DMF_DEFERRED_REMOVE, md.flags):
        return -EEXIST
    md.flags |= 1 << DMF_DELETING
    return 0


def dm_cancel_deferred_remove(md: mapped_device) -> int:
    """Do not remove a device when it is closed. Returns 0, or -EBUSY where it is being removed."""
    if test_bit(DMF_DELETING, md.flags):
        return -EBUSY
    md.flags &= ~(1 << DMF_DEFERRED_REMOVE)
    return 0


def do_deferred_remove(work: work_struct) -> None:
    """Remove the devices that are to be, now that they are closed."""
    dm_ioctl.dm_deferred_remove()


def dm_get_size(md: mapped_device) -> int:
    """Return the size of the device in sectors."""
    return get_capacity(md.disk)


def dm_get_md_queue(md: mapped_device) -> request_queue:
    """Return the request queue of the device."""
    return md.queue


def dm_blk_getgeo(bdev: block_device, geo: hd_geometry) -> int:
    """Put into `geo` the geometry that was set for a device, or one of zeroes. Returns 0."""
    error, found = dm_get_geometry(bdev.bd_disk.private_data)
    geo.heads, geo.sectors, geo.cylinders, geo.start = found.heads, found.sectors, found.cylinders, found.start
    return error


def dm_prepare_ioctl(md: mapped_device) -> tuple[int, int, block_device]:
    """Find the device below that is to answer an ioctl: there is one only if the table has one target.

    Returns (r, index for dm_unprepare_ioctl(), block device): r is 0, 1 for a device of which only a part is used, or
    -errno. In C index and device are out-parameters.
    """
    while True:
        map, srcu_idx = dm_get_live_table(md)
        if map is None or not dm_table.dm_table_get_size(map) or dm_table.dm_table_get_num_targets(map) != 1:
            return -ENOTTY, srcu_idx, NULL
        tgt = dm_table.dm_table_get_target(map, 0)
        if tgt.type.prepare_ioctl is None:
            return -ENOTTY, srcu_idx, NULL
        if dm_suspended_md(md):
            return -EAGAIN, srcu_idx, NULL
        r, bdev = tgt.type.prepare_ioctl(tgt)
        if r != -ENOTCONN or fatal_signal_pending(this().context):
            return r, srcu_idx, bdev
        dm_put_live_table(md, srcu_idx)
        msleep(10)


def dm_unprepare_ioctl(md: mapped_device, srcu_idx: int) -> None:
    """Let go of the live table that dm_prepare_ioctl() held, once the ioctl is done."""
    dm_put_live_table(md, srcu_idx)


def dm_blk_ioctl(bdev: block_device, mode: int, cmd: int, arg: dm_arg) -> int:
    """Hand an ioctl to the device below. Returns what its driver says, or -errno."""
    md = bdev.bd_disk.private_data
    r, srcu_idx, bdev = dm_prepare_ioctl(md)
    if r >= 0:
        r = ioctl.__blkdev_driver_ioctl(bdev, mode, cmd, arg)
    dm_unprepare_ioctl(md, srcu_idx)
    return r


# Clones

def alloc_io(md: mapped_device, bio: bio_struct) -> dm_io:
    """Begin with a bio: allocate what is kept of it, with its first clone; None on failure."""
    if (clone := bio_module.bio_alloc_bioset(GFP_NOIO, 0, md.io_bs)) is None:
        return NULL
    tio = clone._front = dm_target_io(clone=clone, inside_dm_io=True)
    io = dm_io(tio=tio, io_count=1, orig_bio=bio, md=md)
    start_io_acct(io)
    return io


def free_io(md: mapped_device, io: dm_io) -> None:
    """Free what alloc_io() allocated for a bio: the first clone, in which the dm_io lies."""
    bio_module.bio_put(io.tio.clone)


def alloc_tio(ci: clone_info, ti: dm_target, target_bio_nr: int, gfp_mask: int) -> dm_target_io:
    """Get a clone for a target: the first one of its bio lies ready. Returns its dm_target_io; None on failure."""
    if ci.io.tio.io is None:
        tio = ci.io.tio
    else:
        if (clone := bio_module.bio_alloc_bioset(gfp_mask, 0, ci.io.md.bs)) is None:
            return NULL
        tio = clone._front = dm_target_io(clone=clone)
    tio.io, tio.ti, tio.target_bio_nr = ci.io, ti, target_bio_nr
    return tio


def free_tio(tio: dm_target_io) -> None:
    """Free a clone. The first of its bio goes with the dm_io."""
    if not tio.inside_dm_io:
        bio_module.bio_put(tio.clone)


def md_in_flight_bios(md: mapped_device) -> bool:
    """Return whether bios are under way, by the counters of the disk, summed over all CPUs."""
    return sum(sum(cpu.in_flight) for cpu in dm_disk(md).part0.dkstats) != 0


def md_in_flight(md: mapped_device) -> bool:
    """Return whether I/O is under way: requests of a device that takes requests, else bios."""
    return blk_mq.blk_mq_queue_inflight(md.queue) if queue_is_mq(md.queue) else md_in_flight_bios(md)


def start_io_acct(io: dm_io) -> None:
    """Note when a bio begins, and count it in the disk's statistics."""
    md, bio = io.md, io.orig_bio
    io.start_time = jiffies()
    bio_module.generic_start_io_acct(md.queue, bio_op(bio), bio_sectors(bio), dm_disk(md).part0)


def end_io_acct(io: dm_io) -> None:
    """Count a bio that ends, and wake who waits for the last one to."""
    md, bio = io.md, io.orig_bio
    bio_module.generic_end_io_acct(md.queue, bio_op(bio), dm_disk(md).part0, io.start_time)
    if waitqueue_active(md.wait):
        wake_up(md.wait)


def queue_io(md: mapped_device, bio: bio_struct) -> None:
    """Let a bio wait until the device's worker submits it."""
    bio_list_add(md.deferred, bio)
    queue_work(md.wq, md.work)


# The live table

def dm_get_live_table(md: mapped_device) -> tuple[dm_table.dm_table, int]:
    """The live table, or None; it stays while it is held. Returns (it, index for dm_put_live_table()).

    In C the index is an out-parameter.
    """
    srcu_idx = srcu_read_lock(md.io_barrier)
    return md.map, srcu_idx


def dm_put_live_table(md: mapped_device, srcu_idx: int) -> None:
    """Let go of the live table that dm_get_live_table() held; srcu_idx is the index that it returned."""
    srcu_read_unlock(md.io_barrier, srcu_idx)


def dm_sync_table(md: mapped_device) -> None:
    """Wait until nobody holds a table that was the live one."""
    synchronize_srcu(md.io_barrier)
    synchronize_rcu()


def dm_get_live_table_fast(md: mapped_device) -> dm_table.dm_table:
    """Return the live table, or None, to a caller that does not sleep before dm_put_live_table_fast()."""
    rcu_read_lock()
    return md.map


def dm_put_live_table_fast(md: mapped_device) -> None:
    """Let go of the live table that dm_get_live_table_fast() held."""
    rcu_read_unlock()


# Devices below

def open_table_device(td: table_device, dev: int, md: mapped_device) -> int:
    """Open a block device for a table, for device mapper alone. Returns 0 or -errno."""
    BUG_ON(td.dm_dev.bdev is not None)
    if IS_ERR(bdev := block_dev.blkdev_get_by_dev(dev, td.dm_dev.mode | FMODE_EXCL, DM_CLAIM_PTR)):
        return PTR_ERR(bdev)
    if r := block_dev.bd_link_disk_holder(bdev, dm_disk(md)):
        block_dev.blkdev_put(bdev, td.dm_dev.mode | FMODE_EXCL)
        return r
    td.dm_dev.bdev = bdev
    return 0


def close_table_device(td: table_device, md: mapped_device) -> None:
    """Close a block device that open_table_device() opened; do nothing where it is not open."""
    if td.dm_dev.bdev is None:
        return
    block_dev.bd_unlink_disk_holder(td.dm_dev.bdev, dm_disk(md))
    block_dev.blkdev_put(td.dm_dev.bdev, td.dm_dev.mode | FMODE_EXCL)
    td.dm_dev.bdev = NULL


def find_table_device(devices: list_head, dev: int, mode: int) -> table_device:
    """The block device of that number, if it is open with that mode; else None."""
    return next((td for td in devices if td.dm_dev.bdev.bd_dev == dev and td.dm_dev.mode == mode), NULL)


def dm_get_table_device(md: mapped_device, dev: int, mode: int) -> tuple[int, dm_dev]:
    """Open a block device for a table, once for all tables of a device. Returns (0, dm_dev) or (-errno, None).

    In C the dm_dev is an out-parameter.
    """
    with md.table_devices_lock:
        if (td := find_table_device(md.table_devices, dev, mode)) is None:
            if (td := kzalloc_node(table_device, GFP_KERNEL, md.numa_node_id)) is None:
                return -ENOMEM, NULL
            td.dm_dev = dm_dev(mode=mode, _owner=td)
            if r := open_table_device(td, dev, md):
                kfree(td)
                return r, NULL
            td.dm_dev.name = format_dev_t(dev)
            td.count = 1
            list_add(td, md.table_devices, "list")
        else:
            td.count += 1
        return 0, td.dm_dev


def dm_put_table_device(md: mapped_device, d: dm_dev) -> None:
    """Close a block device for a table; it stays open until the last of its users has done so."""
    td = d._owner
    with md.table_devices_lock:
        td.count -= 1
        if td.count == 0:
            close_table_device(td, md)
            list_del_init(td, "list")
            kfree(td)


def free_table_devices(devices: list_head) -> None:
    """There should be none open any more: free what is kept of them."""
    for td in devices:
        DMWARN(f"dm_destroy: {td.dm_dev.name} still exists with {td.count} references")
        kfree(td)


def dm_get_geometry(md: mapped_device) -> tuple[int, hd_geometry]:
    """The geometry of a device. Returns (0, hd_geometry); in C that is an out-parameter."""
    return 0, md.geometry


def dm_set_geometry(md: mapped_device, geo: hd_geometry) -> int:
    """Set the geometry of a device. Returns 0, or -EINVAL for one that begins behind its own end."""
    if geo.start > geo.cylinders * geo.heads * geo.sectors:
        return refused("Start sector is beyond the geometry limits.")
    md.geometry = geo
    return 0


# How a bio ends

def __noflush_suspending(md: mapped_device) -> bool:
    """Whether the device is being suspended, and I/O that targets can't do now is to wait until it is resumed."""
    return test_bit(DMF_NOFLUSH_SUSPENDING, md.flags)


def dec_pending(io: dm_io, error: int) -> None:
    """One clone of a bio, or its submitter, is done, with this status. With the last one, the bio ends.

    A bio that a target wants to have again later waits, if the device is being suspended so; else it fails. One that
    was a flush with data is submitted again for its data.
    """
    md = io.md
    if error and not (io.status == BLK_STS_DM_REQUEUE and __noflush_suspending(md)):
        io.status = error
    io.io_count -= 1
    if io.io_count:
        return
    if io.status == BLK_STS_DM_REQUEUE:
        if __noflush_suspending(md):
            bio_list_add_head(md.deferred, io.orig_bio)
        else:
            io.status = BLK_STS_IOERR
    io_error, bio = io.status, io.orig_bio
    end_io_acct(io)
    free_io(md, io)
    if io_error == BLK_STS_DM_REQUEUE:
        return
    if bio.bi_opf & REQ_PREFLUSH and bio.bi_iter.bi_size:
        bio.bi_opf &= ~REQ_PREFLUSH
        queue_io(md, bio)
    else:
        if io_error:
            bio.bi_status = io_error
        bio_module.bio_endio(bio)


def disable_discard(md: mapped_device) -> None:
    """A device below refused to discard: do not ask again."""
    limits = dm_get_queue_limits(md)
    limits.max_discard_sectors = 0
    blk_core.blk_queue_flag_clear(QUEUE_FLAG_DISCARD, md.queue)


def disable_write_zeroes(md: mapped_device) -> None:
    """A device below refused to write zeroes: do not ask again."""
    dm_get_queue_limits(md).max_write_zeroes_sectors = 0


def swap_bios_limit(ti: dm_target, bio: bio_struct) -> bool:
    """Whether a bio is one of swapping, of which the target takes so many at once."""
    return bool(bio.bi_opf & REQ_SWAP) and ti.limit_swap_bios


def clone_endio(bio: bio_struct) -> None:
    """End a clone, after its target (end_io) has looked at its status, changed it, or taken the clone back."""
    error, tio = bio.bi_status, bio._front
    io, md, endio = tio.io, tio.io.md, tio.ti.type.end_io
    if error == BLK_STS_TARGET and md.type != DM_TYPE_NVME_BIO_BASED:
        limits = bio.bi_disk.queue.limits
        if bio_op(bio) == REQ_OP_DISCARD and not limits.max_discard_sectors:
            disable_discard(md)
        elif bio_op(bio) == REQ_OP_WRITE_ZEROES and not limits.max_write_zeroes_sectors:
            disable_write_zeroes(md)
    if endio is not None:
        r, error = endio(tio.ti, bio, error)
        if r == DM_ENDIO_REQUEUE:
            error = BLK_STS_DM_REQUEUE
        elif r == DM_ENDIO_INCOMPLETE:
            return
        elif r != DM_ENDIO_DONE:
            DMWARN(f"unimplemented target endio return value: {r}")
            BUG_ON(True, "a target's end_io")
    BUG_ON(swap_bios_limit(tio.ti, bio), "no target of the model limits bios of swapping")
    free_tio(tio)
    dec_pending(io, error)


# How a bio is cut

def max_io_len_target_boundary(sector: int, ti: dm_target) -> int:
    """How many sectors there are from `sector` to the end of its target."""
    return ti.len - dm_target_offset(ti, sector)


def max_io_len(sector: int, ti: dm_target) -> int:
    """How many sectors from `sector` on a target takes at once."""
    length = max_io_len_target_boundary(sector, ti)
    if ti.max_io_len:
        length = min(length, ti.max_io_len - dm_target_offset(ti, sector) % ti.max_io_len)
    return length


def dm_set_target_max_io_len(ti: dm_target, len: int) -> int:
    """Let a target get no bio that crosses a multiple of so many sectors. Returns 0 or -EINVAL."""
    if len > UINT_MAX:
        DMERR(f"Specified maximum size of target IO ({len}) exceeds limit ({UINT_MAX})")
        return invalid(ti, "Maximum size of target IO is too large")
    ti.max_io_len = len
    return 0


def __map_bio(tio: dm_target_io) -> int:
    """Give a clone to its target, and do what that says. Returns a cookie to poll with."""
    clone, io, ti, ret = tio.clone, tio.io, tio.ti, BLK_QC_T_NONE
    clone.bi_end_io = clone_endio
    io.io_count += 1
    BUG_ON(swap_bios_limit(ti, clone), "no target of the model limits bios of swapping")
    if (r := ti.type.map(ti, clone)) == DM_MAPIO_REMAPPED:
        ret = blk_core.generic_make_request(clone)
    elif r in (DM_MAPIO_KILL, DM_MAPIO_REQUEUE):
        BUG_ON(swap_bios_limit(ti, clone), "no target of the model limits bios of swapping")
        free_tio(tio)
        dec_pending(io, BLK_STS_IOERR if r == DM_MAPIO_KILL else BLK_STS_DM_REQUEUE)
    elif r != DM_MAPIO_SUBMITTED:
        DMWARN(f"unimplemented target map return value: {r}")
        BUG_ON(True, "a target's map")
    return ret


def bio_setup_sector(bio: bio_struct, sector: int, len: int) -> None:
    """Let a bio be one for so many sectors from `sector` on."""
    bio.bi_iter.bi_sector = sector
    bio.bi_iter.bi_size = to_bytes(len)


def clone_bio(tio: dm_target_io, bio: bio_struct, sector: int, len: int) -> int:
    """Make a clone one for `len` sectors of a bio, from `sector` on. Returns 0."""
    clone = tio.clone
    bio_module.__bio_clone_fast(clone, bio)
    bio_module.bio_advance(clone, to_bytes(sector - clone.bi_iter.bi_sector))
    clone.bi_iter.bi_size = to_bytes(len)
    return 0


def alloc_multiple_bios(blist: bio_list, ci: clone_info, ti: dm_target, num_bios: int) -> None:
    """Put so many clones on a list: without waiting or, if memory is short, with waiting, which only one caller may
    do."""
    if not num_bios:
        return
    if num_bios == 1:
        tio = alloc_tio(ci, ti, 0, GFP_NOIO)
        bio_list_add(blist, tio.clone)
        return
    for gfp_mask in (GFP_NOWAIT, GFP_NOIO):
        bio_nr = 0
        if gfp_mask == GFP_NOIO:
            mutex_lock(ci.io.md.table_devices_lock)
        while bio_nr < num_bios:
            if (tio := alloc_tio(ci, ti, bio_nr, gfp_mask)) is None:
                break
            bio_list_add(blist, tio.clone)
            bio_nr += 1
        if gfp_mask == GFP_NOIO:
            mutex_unlock(ci.io.md.table_devices_lock)
        if bio_nr == num_bios:
            return
        while (bio := bio_list_pop(blist)) is not None:
            free_tio(bio._front)


def __clone_and_map_simple_bio(ci: clone_info, tio: dm_target_io, len: int | None) -> int:
    """Make a clone one for `len` sectors (or, None, for all) of the bio, and map it. Returns a cookie."""
    clone = tio.clone
    bio_module.__bio_clone_fast(clone, ci.bio)
    if len is not None:
        bio_setup_sector(clone, ci.sector, len)
    return __map_bio(tio)


def __send_duplicate_bios(ci: clone_info, ti: dm_target, num_bios: int, len: int | None) -> None:
    """Map so many clones of one bio, each for the same `len` sectors (None: for all of it)."""
    blist = bio_list()
    alloc_multiple_bios(blist, ci, ti, num_bios)
    while (bio := bio_list_pop(blist)) is not None:
        __clone_and_map_simple_bio(ci, bio._front, len)


def __send_empty_flush(ci: clone_info) -> int:
    """Send a flush to all targets, as many times as each wants. Returns 0."""
    bio_set_dev(ci.bio, ci.io.md.bdev)
    BUG_ON(bio_has_data(ci.bio))
    target_nr = 0
    while (ti := dm_table.dm_table_get_target(ci.map, target_nr)) is not None:
        target_nr += 1
        __send_duplicate_bios(ci, ti, ti.num_flush_bios, None)
    return 0


def __clone_and_map_data_bio(ci: clone_info, ti: dm_target, sector: int, len: int) -> int:
    """Map a clone of `len` sectors of the bio, from `sector` on. Returns 0."""
    tio = alloc_tio(ci, ti, 0, GFP_NOIO)
    clone_bio(tio, ci.bio, sector, len)  # which can fail only where there are integrity data
    __map_bio(tio)
    return 0


def get_num_discard_bios(ti: dm_target) -> int:
    """How many clones of a discard a target wants."""
    return ti.num_discard_bios


def get_num_write_zeroes_bios(ti: dm_target) -> int:
    """How many clones of a write of zeroes a target wants."""
    return ti.num_write_zeroes_bios


def __send_changing_extent_only(ci: clone_info, ti: dm_target, num_bios: int) -> int:
    """Map so many clones of a bio without data, up to the target's end. Returns 0, or -EOPNOTSUPP for none."""
    if not num_bios:
        return -EOPNOTSUPP
    length = min(ci.sector_count, max_io_len_target_boundary(ci.sector, ti))
    __send_duplicate_bios(ci, ti, num_bios, length)
    ci.sector += length
    ci.sector_count -= length
    return 0


def __send_discard(ci: clone_info, ti: dm_target) -> int:
    """Map as many clones of a discard as the target wants. Returns 0, or -EOPNOTSUPP where it wants none."""
    return __send_changing_extent_only(ci, ti, get_num_discard_bios(ti))


def __send_write_zeroes(ci: clone_info, ti: dm_target) -> int:
    """Map as many clones of a write of zeroes as the target wants. Returns 0, or -EOPNOTSUPP where it wants none."""
    return __send_changing_extent_only(ci, ti, get_num_write_zeroes_bios(ti))


def is_abnormal_io(bio: bio_struct) -> bool:
    """Whether a bio has no data of the length that it is for."""
    return bio_op(bio) in (REQ_OP_DISCARD, REQ_OP_SECURE_ERASE, REQ_OP_WRITE_SAME, REQ_OP_WRITE_ZEROES)


def __process_abnormal_io(ci: clone_info, ti: dm_target) -> tuple[bool, int]:
    """Map a bio whose length is not that of its data: a discard or write of zeroes.

    Returns (whether the bio is one of these, 0 or -errno); in C the latter is an out-parameter. Write-same and secure
    erases, of which no device of the model is capable, are left out.
    """
    send = {REQ_OP_DISCARD: __send_discard, REQ_OP_WRITE_ZEROES: __send_write_zeroes}.get(bio_op(ci.bio))
    return (False, 0) if send is None else (True, send(ci, ti))


def __split_and_process_non_flush(ci: clone_info) -> int:
    """Map as much of the bio as one target takes. Returns 0 or -errno."""
    if (ti := dm_table.dm_table_find_target(ci.map, ci.sector)) is None:
        return -EIO
    abnormal, r = __process_abnormal_io(ci, ti)
    if abnormal:
        return r
    length = min(max_io_len(ci.sector, ti), ci.sector_count)
    if (r := __clone_and_map_data_bio(ci, ti, ci.sector, length)) < 0:
        return r
    ci.sector += length
    ci.sector_count -= length
    return 0


def init_clone_info(ci: clone_info, md: mapped_device, map: dm_table.dm_table, bio: bio_struct) -> None:
    """Set how far the work on a bio is: at its start, with a dm_io allocated and counted."""
    ci.map = map
    ci.io = alloc_io(md, bio)
    ci.sector = bio.bi_iter.bi_sector


def __split_and_process_bio(md: mapped_device, map: dm_table.dm_table, bio: bio_struct) -> int:
    """Map a bio: its first piece now; the rest is submitted again, to come after what the first piece led to.

    Returns a cookie to poll with.
    """
    ci, ret, error = clone_info(), BLK_QC_T_NONE, 0
    init_clone_info(ci, md, map, bio)
    if bio.bi_opf & REQ_PREFLUSH:
        flush_bio = bio_struct()
        bio_module.bio_init(flush_bio, NULL, 0)
        flush_bio.bi_opf = REQ_OP_WRITE | REQ_PREFLUSH | REQ_SYNC
        ci.bio, ci.sector_count = flush_bio, 0
        error = __send_empty_flush(ci)
        bio_module.bio_uninit(ci.bio)
    else:
        ci.bio, ci.sector_count = bio, bio_sectors(bio)
        while ci.sector_count and not error:
            error = __split_and_process_non_flush(ci)
            if this().context.bio_list is not None and ci.sector_count and not error:
                b = bio_module.bio_split(bio, bio_sectors(bio) - ci.sector_count, GFP_NOIO, md.queue.bio_split)
                ci.io.orig_bio = b
                # the rest is counted when it comes again
                part_stat_lock()
                part_stat_get(dm_disk(md).part0).sectors[op_stat_group(bio_op(bio))] -= ci.sector_count
                part_stat_unlock()
                bio_module.bio_chain(b, bio)
                ret = blk_core.generic_make_request(bio)
                break
    dec_pending(ci.io, blk_core.errno_to_blk_status(error))
    return ret


def dm_process_bio(md: mapped_device, map: dm_table.dm_table, bio: bio_struct) -> int:
    """Map a bio by a table. One for a device without a table, or behind its end, fails. Returns a cookie."""
    if map is None or (md.immutable_target is None
                       and dm_table.dm_table_find_target(map, bio.bi_iter.bi_sector) is None):
        bio_io_error(bio)
        return BLK_QC_T_NONE
    if this().context.bio_list is not None and is_abnormal_io(bio):  # 5.4: not for what waited for a resume
        bio = blk_merge.blk_queue_split(md.queue, bio)
    dm_get_md_type(md)  # recorder: for DM_TYPE_NVME_BIO_BASED: the shorter way of its bios is left out
    return __split_and_process_bio(md, map, bio)


def dm_make_request(q: request_queue, bio: bio_struct) -> int:
    """Take a bio. While the device is suspended it waits, unless it reads ahead: that fails. Returns a cookie."""
    md = q.queuedata
    map, srcu_idx = dm_get_live_table(md)
    if test_bit(DMF_BLOCK_IO_FOR_SUSPEND, md.flags):
        dm_put_live_table(md, srcu_idx)
        if not bio.bi_opf & REQ_RAHEAD:
            queue_io(md, bio)
        else:
            bio_io_error(bio)
        return BLK_QC_T_NONE
    ret = dm_process_bio(md, map, bio)
    dm_put_live_table(md, srcu_idx)
    return ret


def dm_any_congested(congested_data: mapped_device, bdi_bits: int) -> int:
    """Those of the bits that say that the device, or any below, has as much to do as it can: all while it is suspended.

    Of one that takes requests, only its own queue is looked at.
    """
    r, md = bdi_bits, congested_data
    if not test_bit(DMF_BLOCK_IO_FOR_SUSPEND, md.flags):
        if dm_rq.dm_request_based(md):
            r = md.queue.backing_dev_info._congested.state & bdi_bits
        else:
            if (map := dm_get_live_table_fast(md)) is not None:
                r = dm_table.dm_table_any_congested(map, bdi_bits)
            dm_put_live_table_fast(md)
    return r


# A device is made

def free_minor(minor: int) -> None:
    """Give the minor number of a device back, for the next device to take."""
    idr_remove(variables()._minor_idr, minor)


def specific_minor(minor: int) -> int:
    """Take that minor number. Returns 0; -EINVAL for one that is too large, -EBUSY for one that is taken."""
    if minor >= 1 << MINORBITS:
        return -EINVAL
    if (r := idr_alloc(variables()._minor_idr, MINOR_ALLOCED, minor, minor + 1, GFP_NOWAIT)) < 0:
        return -EBUSY if r == -ENOSPC else r
    return 0


def next_free_minor() -> tuple[int, int]:
    """Take the lowest minor number that is free. Returns (0, it) or (-errno, None); in C an out-parameter."""
    r = idr_alloc(variables()._minor_idr, MINOR_ALLOCED, 0, 1 << MINORBITS, GFP_NOWAIT)
    return (r, NULL) if r < 0 else (0, r)


def cleanup_mapped_device(md: mapped_device) -> None:
    """Take a device apart, as far as it was made."""
    if md.wq is not None:
        destroy_workqueue(md.wq)
    bio_module.bioset_exit(md.bs)
    bio_module.bioset_exit(md.io_bs)
    if md.disk is not None:
        md.disk.private_data = NULL
        genhd.del_gendisk(md.disk)
        genhd.put_disk(md.disk)
    if md.queue is not None:
        blk_core.blk_cleanup_queue(md.queue)
    cleanup_srcu_struct(md.io_barrier)
    if md.bdev is not None:
        block_dev.bdput(md.bdev)
        md.bdev = NULL
    dm_rq.dm_mq_cleanup_mapped_device(md)


def alloc_dev(minor: int) -> mapped_device:
    """Make an empty device, with that minor number or (DM_ANY_MINOR) a free one: a disk that takes bios, without a
    table. Returns it; None on failure."""
    numa_node_id = dm_get_numa_node()
    if (md := kzalloc_node(mapped_device, GFP_KERNEL, numa_node_id)) is None:
        DMWARN("unable to allocate device, out of memory.")
        return NULL
    with ExitStack() as undo:
        undo.callback(kfree, md)
        if not try_module_get(THIS_MODULE):
            return NULL
        undo.callback(module_put, THIS_MODULE)
        r, minor = next_free_minor() if minor == DM_ANY_MINOR else (specific_minor(minor), minor)
        if r < 0:
            return NULL
        undo.callback(free_minor, minor)
        if init_srcu_struct(md.io_barrier) < 0:
            return NULL
        undo.callback(cleanup_mapped_device, md)

        md.numa_node_id, md.type, md.holders = numa_node_id, DM_TYPE_NONE, 1
        md.queue = blk_core.blk_alloc_queue_node(GFP_KERNEL, numa_node_id)
        if md.queue is None:
            return NULL
        md.queue.queuedata = md
        # until a table says what the device is; with requests, blk-mq then puts its own in this place
        blk_settings.blk_queue_make_request(md.queue, dm_make_request)
        md.disk = genhd.__alloc_disk_node(1, md.numa_node_id)
        if md.disk is None:
            return NULL
        INIT_WORK(md.work, dm_wq_work, md)
        md.swap_bios = get_swap_bios()

        md.disk.major, md.disk.first_minor, md.disk.fops = variables()._major, minor, dm_blk_dops
        md.disk.queue, md.disk.private_data = md.queue, md
        md.disk.disk_name = f"dm-{minor}"
        genhd.device_add_disk_no_queue_reg(NULL, md.disk)
        md.name = format_dev_t(MKDEV(variables()._major, minor))
        md.wq = alloc_workqueue("kdmflush")
        if md.wq is None:
            return NULL
        md.bdev = genhd.bdget_disk(md.disk, 0)
        if md.bdev is None:
            return NULL
        # from here on others find it
        idr_replace(variables()._minor_idr, md, minor)
        undo.pop_all()
    return md


def free_dev(md: mapped_device) -> None:
    """Free a device: its disk and queue, its minor number, and what is left of its devices below."""
    minor = MINOR(disk_devt(md.disk))
    unlock_fs(md)
    cleanup_mapped_device(md)
    free_table_devices(md.table_devices)
    free_minor(minor)
    module_put(THIS_MODULE)
    kfree(md)


# A table becomes the live one

def __bind_mempools(md: mapped_device, t: dm_table.dm_table) -> int:
    """Let the device's clones be from what the table brought. Returns 0 or -ENOMEM.

    A table for requests leaves a device what it has: the room before its clones never changes.
    """
    p, ret = dm_table.dm_table_get_md_mempools(t), 0
    if dm_table.dm_table_bio_based(t):
        # 5.4: where there is no memory for the new ones, the table that stays has none any more.
        bio_module.bioset_exit(md.bs)
        bio_module.bioset_exit(md.io_bs)
        bind = True
    else:
        bind = not bioset_initialized(md.bs)
    if bind:
        BUG_ON(p is None or bioset_initialized(md.bs) or bioset_initialized(md.io_bs))
        if not (ret := bio_module.bioset_init_from_src(md.bs, p.bs)):
            if ret := bio_module.bioset_init_from_src(md.io_bs, p.io_bs):
                bio_module.bioset_exit(md.bs)
    dm_table.dm_table_free_md_mempools(t)
    return ret


def event_callback(context: mapped_device) -> None:
    """A target of the live table has something to tell: wake who waits for that."""
    md, uevents = context, list_head()
    list_splice_init(md.uevent_list, uevents, "elist")
    dm_uevent.dm_send_uevents(uevents, disk_to_dev(md.disk).kobj)
    md.event_nr += 1
    wake_up(md.eventq)
    dm_issue_global_event()


def __set_size(md: mapped_device, size: int) -> None:
    """Set the size of the disk and of its block device, in sectors."""
    set_capacity(md.disk, size)
    i_size_write(md.bdev.bd_inode, size << SECTOR_SHIFT)


def __bind(md: mapped_device, t: dm_table.dm_table, limits: queue_limits) -> dm_table.dm_table:
    """Make a table the live one. Returns the one that was, or None; or an error pointer."""
    q = md.queue
    request_based, size = dm_table.dm_table_request_based(t), dm_table.dm_table_get_size(t)
    if size != dm_get_size(md):
        md.geometry = hd_geometry()
    __set_size(md, size)
    dm_table.dm_table_event_callback(t, event_callback, md)
    if request_based:
        # it runs still where the device had no table when it was suspended
        dm_rq.dm_stop_queue(q)
    if request_based or md.type == DM_TYPE_NVME_BIO_BASED:
        md.immutable_target = dm_table.dm_table_get_immutable_target(t)
    if ret := __bind_mempools(md, t):
        return ERR_PTR(ret)
    old_map = md.map
    md.map = t
    md.immutable_target_type = dm_table.dm_table_get_immutable_target_type(t)
    dm_table.dm_table_set_restrictions(t, q, limits)
    if old_map is not None:
        dm_sync_table(md)
    return old_map


def __unbind(md: mapped_device) -> dm_table.dm_table:
    """Take the live table away. Returns it, or None."""
    if (map := md.map) is None:
        return NULL
    dm_table.dm_table_event_callback(map, NULL, NULL)
    md.map = NULL
    dm_sync_table(md)
    return map


def dm_create(minor: int) -> tuple[int, mapped_device]:
    """Make a device. Returns (0, it), or (-errno, None): -ENXIO whatever failed, which the kernel does not say.

    In C the device is an out-parameter.
    """
    if (md := alloc_dev(minor)) is None:
        return -ENXIO, NULL
    if r := dm_sysfs.dm_sysfs_init(md):
        free_dev(md)
        return r, NULL
    return 0, md


def dm_lock_md_type(md: mapped_device) -> None:
    """Keep others from loading a table for the device."""
    mutex_lock(md.type_lock)


def dm_unlock_md_type(md: mapped_device) -> None:
    """Let others load a table for the device again."""
    mutex_unlock(md.type_lock)


def dm_set_md_type(md: mapped_device, type: int) -> None:
    """Set what kind of device it is, DM_TYPE_*."""
    md.type = type


def dm_get_md_type(md: mapped_device) -> int:
    """Return what kind of device it is, DM_TYPE_*."""
    return md.type


def dm_get_immutable_target_type(md: mapped_device) -> target_type:
    """The type of target that no other may follow on the device, or None."""
    return md.immutable_target_type


def dm_get_queue_limits(md: mapped_device) -> queue_limits:
    """The device's limits, which live as long as the device is held."""
    BUG_ON(not md.holders)
    return md.queue.limits


def dm_init_congested_fn(md: mapped_device) -> None:
    """Let who reads ahead ask the device whether it is congested: say whom to ask."""
    md.queue.backing_dev_info.congested_data = md
    md.queue.backing_dev_info.congested_fn = dm_any_congested


def dm_setup_md_queue(md: mapped_device, t: dm_table.dm_table) -> int:
    """Set up a device's queue for its first table. Returns 0 or -errno; the log says what failed."""
    if (type := dm_get_md_type(md)) == DM_TYPE_REQUEST_BASED:
        if r := dm_rq.dm_mq_init_request_queue(md, t):
            return refused("Cannot initialize queue for request-based dm-mq mapped device", r)
        dm_init_congested_fn(md)
    elif type in (DM_TYPE_BIO_BASED, DM_TYPE_DAX_BIO_BASED, DM_TYPE_NVME_BIO_BASED):
        dm_init_congested_fn(md)
    else:
        WARN_ON_ONCE(True, "a table of no type")
    limits = queue_limits()
    if r := dm_table.dm_calculate_queue_limits(t, limits):
        return refused("Cannot calculate initial queue limits", r)
    dm_table.dm_table_set_restrictions(t, md.queue, limits)
    blk_sysfs.blk_register_queue(md.disk)
    return 0


# Finding, holding and destroying

def dm_get_md(dev: int) -> mapped_device:
    """Find a device by its number, and hold it. Returns None for no device, or one that is being removed."""
    minor = MINOR(dev)
    if MAJOR(dev) != variables()._major or minor >= 1 << MINORBITS:
        return NULL
    md = idr_find(variables()._minor_idr, minor)
    if (md is None or md is MINOR_ALLOCED or MINOR(disk_devt(dm_disk(md))) != minor
            or test_bit(DMF_FREEING, md.flags) or dm_deleting_md(md)):
        return NULL
    dm_get(md)
    return md


def dm_get_mdptr(md: mapped_device) -> Any:
    """Return the device's cell in the tables of names and UUIDs, or None."""
    return md.interface_ptr


def dm_set_mdptr(md: mapped_device, ptr: Any) -> None:
    """Set the device's cell in the tables of names and UUIDs; None where it is on neither."""
    md.interface_ptr = ptr


def dm_get(md: mapped_device) -> None:
    """Hold a device, so that it is not freed until dm_put(). A device that is being freed may not be held."""
    md.holders += 1
    BUG_ON(test_bit(DMF_FREEING, md.flags))


def dm_device_name(md: mapped_device) -> str:
    """Return the name of the device in the kernel log, "major:minor"."""
    return md.name


def __dm_destroy(md: mapped_device, wait: bool) -> None:
    """Destroy a device that nobody can find any more. `wait`: until nobody holds it."""
    idr_replace(variables()._minor_idr, MINOR_ALLOCED, MINOR(disk_devt(dm_disk(md))))
    md.flags |= 1 << DMF_FREEING
    blk_core.blk_set_queue_dying(md.queue)
    mutex_lock(md.suspend_lock)
    map, srcu_idx = dm_get_live_table(md)
    if not dm_suspended_md(md):
        dm_table.dm_table_presuspend_targets(map)
        md.flags |= 1 << DMF_SUSPENDED | 1 << DMF_POST_SUSPENDING
        dm_table.dm_table_postsuspend_targets(map)
    dm_put_live_table(md, srcu_idx)
    mutex_unlock(md.suspend_lock)
    if wait:
        while md.holders:
            msleep(1)
    elif md.holders:
        DMWARN(f"{dm_device_name(md)}: Forcibly removing mapped_device still in use! ({md.holders} users)")
    dm_sysfs.dm_sysfs_exit(md)
    dm_table.dm_table_destroy(__unbind(md))
    free_dev(md)


def dm_destroy(md: mapped_device) -> None:
    """Destroy a device that has no name any more, after waiting until nobody holds it."""
    __dm_destroy(md, True)


def dm_destroy_immediate(md: mapped_device) -> None:
    """Destroy a device that has no name any more, whoever holds it; the log warns of them."""
    __dm_destroy(md, False)


def dm_put(md: mapped_device) -> None:
    """Let go of a device that dm_get() held; the last one lets dm_destroy() go on."""
    md.holders -= 1


# Suspending and resuming

def dm_wait_for_completion(md: mapped_device, task_state: int) -> int:
    """Wait until no I/O is under way. Returns 0, or -EINTR where a signal comes first and task_state heeds it."""
    r, wait = 0, wait_queue_entry()
    init_wait(wait)
    while True:
        prepare_to_wait(md.wait, wait, task_state)
        if not md_in_flight(md):
            break
        if signal_pending_state(task_state, this().context):
            r = -EINTR
            break
        io_schedule()
    finish_wait(md.wait, wait)
    return r


def dm_wq_work(work: work_struct) -> None:
    """Submit the bios that waited, unless the device is being suspended."""
    md = work.data
    map, srcu_idx = dm_get_live_table(md)
    while not test_bit(DMF_BLOCK_IO_FOR_SUSPEND, md.flags):
        if (c := bio_list_pop(md.deferred)) is None:
            break
        if dm_rq.dm_request_based(md):
            blk_core.generic_make_request(c)
        else:
            dm_process_bio(md, map, c)
    dm_put_live_table(md, srcu_idx)


def dm_queue_flush(md: mapped_device) -> None:
    """Let bios through again, first those that waited."""
    md.flags &= ~(1 << DMF_BLOCK_IO_FOR_SUSPEND)
    queue_work(md.wq, md.work)


def dm_swap_table(md: mapped_device, table: dm_table.dm_table) -> dm_table.dm_table:
    """Make a table the live one of a suspended device. Returns the one that was, for the caller to destroy, or None.

    Returns ERR_PTR(-EINVAL) where the device is not suspended, or the table does not do. One without devices below
    leaves the limits: paths may come back.
    """
    mutex_lock(md.suspend_lock)
    map = ERR_PTR(-EINVAL)
    if dm_suspended_md(md):
        limits = queue_limits()
        live_map, r = NULL, 0
        if dm_table.dm_table_has_no_data_devices(table):
            if (live_map := dm_get_live_table_fast(md)) is not None:
                copy_limits(limits, md.queue.limits)
            dm_put_live_table_fast(md)
        if live_map is None:
            r = dm_table.dm_calculate_queue_limits(table, limits)
            map = ERR_PTR(r)
        if not r:
            map = __bind(md, table, limits)
            dm_issue_global_event()
    mutex_unlock(md.suspend_lock)
    return map


def lock_fs(md: mapped_device) -> int:
    """Freeze the file system on a device: there is none; but what is cached is written. Returns 0 or -errno."""
    WARN_ON(md.frozen_sb is not None)
    md.frozen_sb = block_dev.freeze_bdev(md.bdev)
    if IS_ERR(md.frozen_sb):
        r = PTR_ERR(md.frozen_sb)
        md.frozen_sb = NULL
        return r
    md.flags |= 1 << DMF_FROZEN
    return 0


def unlock_fs(md: mapped_device) -> None:
    """Let the file system on a device go on, if lock_fs() froze it."""
    if not test_bit(DMF_FROZEN, md.flags):
        return
    block_dev.thaw_bdev(md.bdev, md.frozen_sb)
    md.frozen_sb = NULL
    md.flags &= ~(1 << DMF_FROZEN)


def __dm_suspend(md: mapped_device, map: dm_table.dm_table, suspend_flags: int, task_state: int,
                 dmf_suspended_flag: int) -> int:
    """Let bios wait from now on, then wait for those that are under way; set the flag when none is.

    Returns 0, or -errno; then everything goes on. DM_SUSPEND_NOFLUSH_FLAG: a target that can't do I/O now, so that it
    would never end, may put it back.
    """
    do_lockfs = suspend_flags & DM_SUSPEND_LOCKFS_FLAG
    noflush = suspend_flags & DM_SUSPEND_NOFLUSH_FLAG
    if noflush:
        md.flags |= 1 << DMF_NOFLUSH_SUSPENDING
    dm_table.dm_table_presuspend_targets(map)
    if not noflush and do_lockfs and (r := lock_fs(md)):
        dm_table.dm_table_presuspend_undo_targets(map)
        return r
    md.flags |= 1 << DMF_BLOCK_IO_FOR_SUSPEND
    if map is not None:
        synchronize_srcu(md.io_barrier)
    # before the worker is waited for: requests may be put off to it from the queue
    if dm_rq.dm_request_based(md):
        dm_rq.dm_stop_queue(md.queue)
    flush_workqueue(md.wq)
    if not (r := dm_wait_for_completion(md, task_state)):
        md.flags |= 1 << dmf_suspended_flag
    if noflush:
        md.flags &= ~(1 << DMF_NOFLUSH_SUSPENDING)
    if map is not None:
        synchronize_srcu(md.io_barrier)
    if r < 0:
        dm_queue_flush(md)
        if dm_rq.dm_request_based(md):
            dm_rq.dm_start_queue(md.queue)
        unlock_fs(md)
        dm_table.dm_table_presuspend_undo_targets(map)
    return r


def dm_suspend(md: mapped_device, suspend_flags: int) -> int:
    """Suspend a device. Returns 0, -EINVAL where it is suspended, -EINTR, or what freezing brings."""
    mutex_lock_nested(md.suspend_lock, SINGLE_DEPTH_NESTING)
    r = -EINVAL
    if not dm_suspended_md(md):
        BUG_ON(dm_suspended_internally_md(md), "what suspends from within is left out, and so is waiting for its end")
        map = md.map
        if not (r := __dm_suspend(md, map, suspend_flags, TASK_INTERRUPTIBLE, DMF_SUSPENDED)):
            md.flags |= 1 << DMF_POST_SUSPENDING
            dm_table.dm_table_postsuspend_targets(map)
            md.flags &= ~(1 << DMF_POST_SUSPENDING)
    mutex_unlock(md.suspend_lock)
    return r


def __dm_resume(md: mapped_device, map: dm_table.dm_table) -> int:
    """Let targets go on, then bios. Returns 0 or -errno."""
    if map is not None and (r := dm_table.dm_table_resume_targets(map)):
        return r
    dm_queue_flush(md)
    if dm_rq.dm_request_based(md):
        dm_rq.dm_start_queue(md.queue)
    unlock_fs(md)
    return 0


def dm_resume(md: mapped_device) -> int:
    """Resume a device. Returns 0; -EINVAL where it is not suspended, or has no table; or -errno of a target."""
    mutex_lock_nested(md.suspend_lock, SINGLE_DEPTH_NESTING)
    r = -EINVAL
    if dm_suspended_md(md):
        BUG_ON(dm_suspended_internally_md(md), "what suspends from within is left out, and so is waiting for its end")
        if (map := md.map) is not None and dm_table.dm_table_get_size(map):
            if not (r := __dm_resume(md, map)):
                md.flags &= ~(1 << DMF_SUSPENDED)
    mutex_unlock(md.suspend_lock)
    return r


# Events

def dm_kobject_uevent(md: mapped_device, action: str, cookie: int) -> int:
    """Tell user space what happened to a device; it gets its cookie (0: none) back. Returns 0 or -errno."""
    kobj = disk_to_dev(md.disk).kobj
    if not cookie:
        return kobject_uevent(kobj, action)
    return kobject_uevent_env(kobj, action, (f"{DM_COOKIE_ENV_VAR_NAME}={cookie}",))


def dm_next_uevent_seq(md: mapped_device) -> int:
    """The number of the next event that user space is told."""
    md.uevent_seq += 1
    return md.uevent_seq


def dm_get_event_nr(md: mapped_device) -> int:
    """Return how many events the device has had."""
    return md.event_nr


def dm_wait_event(md: mapped_device, event_nr: int) -> int:
    """Wait until the number of events is another than event_nr. Returns 0, or -ERESTARTSYS for a signal."""
    return wait_event_interruptible(md.eventq, lambda: event_nr != md.event_nr)


def dm_uevent_add(md: mapped_device, event: dm_uevent.dm_uevent) -> None:
    """Let user space be told of an event, with the next one that a target reports."""
    list_add(event, md.uevent_list, "elist")


def dm_disk(md: mapped_device) -> gendisk:
    """Return the gendisk of the device."""
    return md.disk


def dm_kobject(md: mapped_device) -> kobject:
    """Return the kobject of the directory `dm` of the device in sysfs."""
    return md.kobj_holder.kobj


def dm_get_from_kobject(kobj: kobject) -> mapped_device:
    """Find the device of a directory `dm` in sysfs, and hold it. Returns None for one that is being removed."""
    md = kobj._owner._md
    if test_bit(DMF_FREEING, md.flags) or dm_deleting_md(md):
        return NULL
    dm_get(md)
    return md


def dm_suspended_md(md: mapped_device) -> bool:
    """Whether user space has suspended the device."""
    return test_bit(DMF_SUSPENDED, md.flags)


def dm_suspended_internally_md(md: mapped_device) -> bool:
    """Whether the kernel has suspended it for itself."""
    return test_bit(DMF_SUSPENDED_INTERNALLY, md.flags)


def dm_test_deferred_remove_flag(md: mapped_device) -> bool:
    """Whether the device is to be removed when it is closed."""
    return test_bit(DMF_DEFERRED_REMOVE, md.flags)


def dm_suspended(ti: dm_target) -> int:
    """Whether a target's device is suspended."""
    return dm_suspended_md(dm_table.dm_table_get_md(ti.table))


def dm_noflush_suspending(ti: dm_target) -> bool:
    """Whether a target's device is being suspended, and it may put I/O back."""
    return __noflush_suspending(dm_table.dm_table_get_md(ti.table))


# What clones are from

def dm_alloc_md_mempools(md: mapped_device, type: int, integrity: int, per_io_data_size: int,
                         min_pool_size: int) -> dm_md_mempools:
    """Allocate what a device's clones will be from, so many bytes of a target's before each, at least so many in
    reserve. Returns it, or None. (`integrity`: the kernel is configured without.)"""
    if (pools := kzalloc_node(dm_md_mempools, GFP_KERNEL, md.numa_node_id)) is None:
        return NULL
    if type == DM_TYPE_REQUEST_BASED:
        pool_size = max(dm_rq.dm_get_reserved_rq_based_ios(), min_pool_size)
        front_pad = sizeof(dm_rq.dm_rq_clone_bio_info) - sizeof(bio_struct)
    else:
        BUG_ON(type not in (DM_TYPE_BIO_BASED, DM_TYPE_DAX_BIO_BASED, DM_TYPE_NVME_BIO_BASED))
        pool_size = max(dm_get_reserved_bio_based_ios(), min_pool_size)
        front_pad = round_up(per_io_data_size, 8) + sizeof(dm_target_io) - sizeof(bio_struct)
        io_front_pad = round_up(front_pad, 8) + sizeof(dm_io) - sizeof(dm_target_io)
        if bio_module.bioset_init(pools.io_bs, pool_size, io_front_pad, 0):
            dm_free_md_mempools(pools)
            return NULL
    if bio_module.bioset_init(pools.bs, pool_size, front_pad, 0):
        dm_free_md_mempools(pools)
        return NULL
    return pools


def dm_free_md_mempools(pools: dm_md_mempools) -> None:
    """Free the pools that dm_alloc_md_mempools() made; None is allowed."""
    if pools is None:
        return
    bio_module.bioset_exit(pools.bs)
    bio_module.bioset_exit(pools.io_bs)
    kfree(pools)


dm_blk_dops = block_device_operations(open=dm_blk_open, release=dm_blk_close, ioctl=dm_blk_ioctl,
                                      getgeo=dm_blk_getgeo, owner=THIS_MODULE, pr_ops="dm_pr_ops")
