"""Disks and their partitions (include/linux/genhd.h, blk_types.h, drivers/char/random.c)."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any

from blkmodel.include.linux.blk_types import *
from blkmodel.services import (GFP_KERNEL, HZ, MKDEV, alloc_percpu, device, free_percpu, kfree, kzalloc, kzalloc_node,
    percpu_ref, percpu_ref_exit, percpu_ref_get, percpu_ref_init, percpu_ref_kill, percpu_ref_put,
    percpu_ref_tryget_live, put_device, rcu_read_lock, rcu_read_unlock, rw_semaphore, work_struct)
from blkmodel.sim import NULL, Struct, running

if TYPE_CHECKING:
    from collections.abc import Callable

    from blkmodel.include.linux.blkdev import request_queue
    from blkmodel.include.linux.fs import block_device
    from blkmodel.services import badblocks, kobject, module

DISK_MAX_PARTS, GENHD_FL_REMOVABLE, GENHD_FL_UP = 256, 1, 16
GENHD_FL_SUPPRESS_PARTITION_INFO, GENHD_FL_EXT_DEVT = 32, 64
GENHD_FL_BLOCK_EVENTS_ON_EXCL_WRITE, GENHD_FL_NO_PART_SCAN, GENHD_FL_HIDDEN, DISK_EVENT_MEDIA_CHANGE = 256, 512, 1024, 1
DISK_PITER_REVERSE, DISK_PITER_INCL_EMPTY, DISK_PITER_INCL_PART0, DISK_PITER_INCL_EMPTY_PART0 = 1, 2, 4, 8
STAT_READ, STAT_WRITE, STAT_DISCARD, NR_STAT_GROUPS = 0, 1, 2, 3


class block_device_operations(Struct, size=112):
    """What the block layer calls in a driver for a disk as such; None where it has nothing to do. pr_ops: reservations,
    which the model has not; only whether a driver has them."""

    open: Callable[..., int] = NULL
    release: Callable[..., None] = NULL
    ioctl: Callable[..., int] = NULL
    check_events: Callable[..., int] = NULL
    revalidate_disk: Callable[..., int] = NULL
    getgeo: Callable[..., int] = NULL
    owner: module = NULL
    pr_ops: Any = None


class disk_stats(Struct, size=128):
    """What one CPU counted of a partition's I/O, by group (STAT_READ …); in_flight by direction, for bio drivers only.
    nsecs are nanoseconds; io_ticks and time_in_queue jiffies."""

    nsecs: list[int] = field(default_factory=lambda: [0] * NR_STAT_GROUPS)
    sectors: list[int] = field(default_factory=lambda: [0] * NR_STAT_GROUPS)
    ios: list[int] = field(default_factory=lambda: [0] * NR_STAT_GROUPS)
    merges: list[int] = field(default_factory=lambda: [0] * NR_STAT_GROUPS)
    io_ticks: int = 0
    time_in_queue: int = 0
    in_flight: list[int] = field(default_factory=lambda: [0, 0])


class disk_part_tbl(Struct, size=32):
    """The partitions of a disk by their number; `len` entries, None where there is none. last_lookup: the one found
    last by sector."""

    len: int = 0
    last_lookup: hd_struct = NULL
    part: list[hd_struct] = NULL


class timer_rand_state(Struct, size=24):
    """What the kernel remembers of a disk's last interrupts, to make random numbers of."""


class disk_part_iter(Struct, size=32):
    """Where a walk over a disk's partitions is: at `part`, which it holds; next comes number idx."""

    disk: gendisk = NULL
    part: hd_struct = NULL
    idx: int = 0
    flags: int = 0


class partition_meta_info(Struct, size=101):
    """What a table says of a partition besides where it is: its name."""

    volname: str = ""


class hd_struct(Struct):
    """A partition, or (number 0) the whole disk. Sectors are of 512 bytes; `_dev` is C's `__dev`, the device."""

    start_sect: int = 0
    nr_sects: int = 0
    alignment_offset: int = 0
    discard_alignment: int = 0
    _dev: device = field(default_factory=device)
    holder_dir: kobject = NULL
    policy: int = 0
    partno: int = 0
    info: partition_meta_info = NULL
    stamp: int = 0
    dkstats: list[disk_stats] = NULL
    ref: percpu_ref = field(default_factory=percpu_ref)
    rcu_work: work_struct = field(default_factory=work_struct)


class gendisk(Struct):
    """A disk: its name and numbers, its partitions (part0 is the whole of it) and the queue that serves it."""

    major: int = 0
    first_minor: int = 0
    minors: int = 0
    disk_name: str = ""
    devnode: Callable[..., str] = NULL
    events: int = 0
    part_tbl: disk_part_tbl = NULL
    lookup_sem: rw_semaphore = field(default_factory=lambda: rw_semaphore("&disk->lookup_sem"))
    part0: hd_struct = field(default_factory=hd_struct)
    fops: block_device_operations = NULL
    queue: request_queue = NULL
    private_data: Any = None
    flags: int = 0
    slave_dir: kobject = NULL
    random: timer_rand_state = NULL
    ev: Any = NULL
    node_id: int = 0
    bb: badblocks = NULL


def disk_to_dev(disk: gendisk) -> device:
    return disk.part0._dev


def part_to_dev(part: hd_struct) -> device:
    return part._dev


def dev_to_disk(dev: device) -> gendisk:
    return dev._owner


def dev_to_part(dev: device) -> hd_struct:
    """The partition that a device stands for: part0 for a disk's."""
    return dev._owner.part0 if isinstance(dev._owner, gendisk) else dev._owner


def part_to_disk(part: hd_struct) -> gendisk:
    """The disk that a partition is on; None for None."""
    if part is None:
        return None
    return part._dev.parent._owner if part.partno else part._dev._owner


def disk_max_parts(disk: gendisk) -> int:
    return DISK_MAX_PARTS if disk.flags & GENHD_FL_EXT_DEVT else disk.minors


def disk_part_scan_enabled(disk: gendisk) -> bool:
    return disk_max_parts(disk) > 1 and not disk.flags & GENHD_FL_NO_PART_SCAN


def disk_devt(disk: gendisk) -> int:
    return MKDEV(disk.major, disk.first_minor)


def part_devt(part: hd_struct) -> int:
    return part._dev.devt


def get_capacity(disk: gendisk) -> int:
    """The disk's size in sectors."""
    return disk.part0.nr_sects


def set_capacity(disk: gendisk, sectors: int) -> None:
    disk.part0.nr_sects = sectors


def get_start_sect(bdev: block_device) -> int:
    return bdev.bd_part.start_sect


def part_nr_sects_read(part: hd_struct) -> int:
    return part.nr_sects


def get_disk_ro(disk: gendisk) -> int:
    return disk.part0.policy


def disk_put_part(part: hd_struct) -> None:
    if part is not None:
        put_device(part._dev)


def hd_ref_init(part: hd_struct, release: Callable[..., None]) -> int:
    """Start counting the I/O that uses a partition. Returns 0 or -ENOMEM."""
    part.ref._owner = part
    return percpu_ref_init(part.ref, release, 0, 0)


def hd_struct_get(part: hd_struct) -> None:
    percpu_ref_get(part.ref)


def hd_struct_try_get(part: hd_struct) -> bool:
    return percpu_ref_tryget_live(part.ref)


def hd_struct_put(part: hd_struct) -> None:
    percpu_ref_put(part.ref)


def hd_struct_kill(part: hd_struct) -> None:
    percpu_ref_kill(part.ref)


def init_part_stats(part: hd_struct) -> bool:
    """Allocate a partition's counters; return whether they could be had."""
    part.dkstats = alloc_percpu(disk_stats)
    return part.dkstats is not None


def free_part_stats(part: hd_struct) -> None:
    free_percpu(part.dkstats)


def alloc_part_info(disk: gendisk) -> partition_meta_info:
    """Allocate room for what a table says of a partition; None on failure."""
    return kzalloc_node(partition_meta_info, GFP_KERNEL, disk.node_id)


def free_part_info(part: hd_struct) -> None:
    kfree(part.info)


def hd_free_part(part: hd_struct) -> None:
    """Free what hangs on a partition."""
    free_part_stats(part)
    free_part_info(part)
    percpu_ref_exit(part.ref)


def op_stat_group(op: int) -> int:
    """The group of statistics that an operation counts in."""
    return STAT_DISCARD if op == REQ_OP_DISCARD else op & 1


part_stat_lock = rcu_read_lock
part_stat_unlock = rcu_read_unlock


def part_stat_get(part: hd_struct) -> disk_stats:
    """What the running CPU counted of a partition."""
    return part.dkstats[running.kernel.context.cpu]


def counters_of(part: hd_struct) -> tuple[disk_stats, ...]:
    """Where the running CPU counts I/O of a partition: there and, if that is another, for its whole disk."""
    cpu = running.kernel.context.cpu
    return (part.dkstats[cpu], part_to_disk(part).part0.dkstats[cpu]) if part.partno else (part.dkstats[cpu],)


def part_stat_read(part: hd_struct, field: str, group: int | None = None) -> int:
    """The sum over all CPUs."""
    values = [getattr(cpu, field) for cpu in part.dkstats]
    return sum(values) if group is None else sum(value[group] for value in values)


def part_stat_counted(part: hd_struct, in_flight: int) -> list[int]:
    """What was counted of a partition's I/O: reads, writes and what is in flight, then discards. (Not the kernel's.)

    For each kind: I/Os, merges, sectors, milliseconds; in the middle I/Os in flight, milliseconds with I/O, and
    milliseconds of all I/Os together.
    """
    kinds = [[part_stat_read(part, "ios", kind), part_stat_read(part, "merges", kind),
              part_stat_read(part, "sectors", kind), part_stat_read(part, "nsecs", kind) // 1_000_000]
             for kind in (STAT_READ, STAT_WRITE, STAT_DISCARD)]
    ticks = [part_stat_read(part, name) * 1000 // HZ for name in ("io_ticks", "time_in_queue")]
    return [*kinds[0], *kinds[1], in_flight, *ticks, *kinds[2]]


def part_stat_set_all(part: hd_struct, value: int) -> None:
    """Set all counters to `value`."""
    for cpu in part.dkstats:
        cpu.nsecs, cpu.sectors, cpu.ios, cpu.merges = ([value] * NR_STAT_GROUPS for _ in range(4))
        cpu.io_ticks = cpu.time_in_queue = value
        cpu.in_flight = [value, value]


def rand_initialize_disk(disk: gendisk) -> None:
    """Prepare to make random numbers of a disk's interrupts. Without memory there will be none from it."""
    disk.random = kzalloc(timer_rand_state, 0)
