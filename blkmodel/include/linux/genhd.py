"""Disks and their partitions."""

from dataclasses import field
from typing import Any

from blkmodel.include.linux.blk_types import REQ_OP_DISCARD
from blkmodel.services.base.kdev_t import MKDEV
from blkmodel.services.devices.device import device, put_device
from blkmodel.services.memory.percpu import alloc_percpu, free_percpu
from blkmodel.services.memory.slab import kzalloc
from blkmodel.services.tasks.percpu_refcount import (
    percpu_ref, percpu_ref_exit, percpu_ref_get, percpu_ref_init, percpu_ref_kill, percpu_ref_put,
    percpu_ref_tryget_live)
from blkmodel.services.tasks.rcupdate import rcu_read_lock, rcu_read_unlock
from blkmodel.services.tasks.workqueue import work_struct
from blkmodel.sim import running
from blkmodel.sim.structure import Struct, struct

DISK_MAX_PARTS = 256
GENHD_FL_REMOVABLE, GENHD_FL_UP = 1, 16
GENHD_FL_SUPPRESS_PARTITION_INFO, GENHD_FL_EXT_DEVT = 32, 64
GENHD_FL_BLOCK_EVENTS_ON_EXCL_WRITE, GENHD_FL_NO_PART_SCAN = 256, 512
GENHD_FL_HIDDEN = 1024
DISK_EVENT_MEDIA_CHANGE, DISK_EVENT_EJECT_REQUEST = 1, 2
DISK_EVENT_FLAG_POLL, DISK_EVENT_FLAG_UEVENT = 1, 2
DISK_PITER_REVERSE, DISK_PITER_INCL_EMPTY, DISK_PITER_INCL_PART0, DISK_PITER_INCL_EMPTY_PART0 = 1, 2, 4, 8
STAT_READ, STAT_WRITE, STAT_DISCARD = 0, 1, 2
NR_STAT_GROUPS = 3


@struct
class block_device_operations(Struct):
    """What the block layer calls in a driver for a disk as such; None where it has nothing to do."""

    SIZE = 112
    open: Any = None
    release: Any = None
    rw_page: Any = None
    ioctl: Any = None
    check_events: Any = None
    media_changed: Any = None
    unlock_native_capacity: Any = None
    revalidate_disk: Any = None
    getgeo: Any = None
    owner: Any = None


@struct
class disk_stats(Struct):
    """What one CPU counted of a partition's I/O, by group (STAT_READ …); in_flight by direction, for bio drivers only.
    nsecs are nanoseconds; io_ticks and time_in_queue jiffies."""

    SIZE = 128
    nsecs: Any = field(default_factory=lambda: [0] * NR_STAT_GROUPS)
    sectors: Any = field(default_factory=lambda: [0] * NR_STAT_GROUPS)
    ios: Any = field(default_factory=lambda: [0] * NR_STAT_GROUPS)
    merges: Any = field(default_factory=lambda: [0] * NR_STAT_GROUPS)
    io_ticks: int = 0
    time_in_queue: int = 0
    in_flight: Any = field(default_factory=lambda: [0, 0])


@struct
class disk_part_tbl(Struct):
    """The partitions of a disk by their number; `len` entries, None where there is none. last_lookup: the one found
    last by sector."""

    SIZE = 32
    len: int = 0
    last_lookup: Any = None
    part: Any = None


@struct
class timer_rand_state(Struct):
    """What the kernel remembers of a disk's last interrupts, to make random numbers of."""

    SIZE = 24


@struct
class disk_part_iter(Struct):
    """Where a walk over a disk's partitions is: at `part`, which it holds; next comes number idx."""

    SIZE = 32
    disk: Any = None
    part: Any = None
    idx: int = 0
    flags: int = 0


@struct
class hd_struct(Struct):
    """A partition, or (number 0) the whole disk. Sectors are of 512 bytes; `_dev` is C's `__dev`, the device."""

    start_sect: int = 0
    nr_sects: int = 0
    alignment_offset: int = 0
    discard_alignment: int = 0
    _dev: Any = field(default_factory=device)
    holder_dir: Any = None
    policy: int = 0
    partno: int = 0
    info: Any = None
    stamp: int = 0
    dkstats: Any = None
    ref: Any = field(default_factory=percpu_ref)
    rcu_work: Any = field(default_factory=work_struct)


@struct
class gendisk(Struct):
    """A disk: its name and numbers, its partitions (part0 is the whole of it) and the queue that serves it."""

    major: int = 0
    first_minor: int = 0
    minors: int = 0
    disk_name: str = ""
    devnode: Any = None
    events: int = 0
    event_flags: int = 0
    part_tbl: Any = None
    part0: Any = field(default_factory=hd_struct)
    fops: Any = None
    queue: Any = None
    private_data: Any = None
    flags: int = 0
    slave_dir: Any = None
    random: Any = None
    ev: Any = None
    node_id: int = 0
    bb: Any = None


def disk_to_dev(disk):
    return disk.part0._dev


def part_to_dev(part):
    return part._dev


def dev_to_disk(dev):
    return dev._owner


def dev_to_part(dev):
    """The partition that a device stands for: part0 for a disk's."""
    return dev._owner.part0 if isinstance(dev._owner, gendisk) else dev._owner


def part_to_disk(part):
    """The disk that a partition is on; None for None."""
    if part is None:
        return None
    return part._dev.parent._owner if part.partno else part._dev._owner


def disk_max_parts(disk):
    return DISK_MAX_PARTS if disk.flags & GENHD_FL_EXT_DEVT else disk.minors


def disk_part_scan_enabled(disk):
    return disk_max_parts(disk) > 1 and not disk.flags & GENHD_FL_NO_PART_SCAN


def disk_devt(disk):
    return MKDEV(disk.major, disk.first_minor)


def part_devt(part):
    return part._dev.devt


def get_capacity(disk):
    """The disk's size in sectors."""
    return disk.part0.nr_sects


def set_capacity(disk, sectors):
    disk.part0.nr_sects = sectors


def get_start_sect(bdev):
    return bdev.bd_part.start_sect


def part_nr_sects_read(part):
    return part.nr_sects


def get_disk_ro(disk):
    return disk.part0.policy


def disk_put_part(part):
    if part is not None:
        put_device(part._dev)


def hd_ref_init(part, release):
    """Start counting the I/O that uses a partition. Returns 0 or -ENOMEM."""
    part.ref._owner = part
    return percpu_ref_init(part.ref, release, 0, 0)


def hd_struct_get(part):
    percpu_ref_get(part.ref)


def hd_struct_try_get(part):
    return percpu_ref_tryget_live(part.ref)


def hd_struct_put(part):
    percpu_ref_put(part.ref)


def hd_struct_kill(part):
    percpu_ref_kill(part.ref)


def init_part_stats(part):
    """Allocate a partition's counters; return whether they could be had."""
    part.dkstats = alloc_percpu(disk_stats)
    return part.dkstats is not None


def free_part_stats(part):
    free_percpu(part.dkstats)


def hd_free_part(part):
    """Free what hangs on a partition."""
    free_part_stats(part)
    percpu_ref_exit(part.ref)


def op_stat_group(op):
    """The group of statistics that an operation counts in."""
    return STAT_DISCARD if op == REQ_OP_DISCARD else op & 1


part_stat_lock = rcu_read_lock
part_stat_unlock = rcu_read_unlock


def part_stat_get(part):
    """What the running CPU counted of a partition."""
    return part.dkstats[running.kernel.context.cpu]


def part_stat_counters(part):
    """Where the running CPU counts I/O of a partition: there and, if that is another, for its whole disk."""
    cpu = running.kernel.context.cpu
    if part.partno:
        return part.dkstats[cpu], part_to_disk(part).part0.dkstats[cpu]
    return (part.dkstats[cpu],)


def part_stat_read(part, field, group=None):
    """The sum over all CPUs."""
    values = [getattr(cpu, field) for cpu in part.dkstats]
    return sum(values) if group is None else sum(value[group] for value in values)


def part_stat_set_all(part, value):
    """Set all counters to `value`."""
    for cpu in part.dkstats:
        cpu.nsecs, cpu.sectors, cpu.ios, cpu.merges = ([value] * NR_STAT_GROUPS for _ in range(4))
        cpu.io_ticks = cpu.time_in_queue = value
        cpu.in_flight = [value, value]


def rand_initialize_disk(disk):
    """Prepare to make random numbers of a disk's interrupts. Without memory there will be none from it."""
    disk.random = kzalloc(timer_rand_state, 0)
