"""Disks: their numbers and names, how they are added, found, opened for the first time and removed.

Left out: bad block lists, power management, and asking disks with removable media for events: no disk of the model has
any.
"""

from collections.abc import Callable
from typing import Any

from blkmodel.block import blk_core, blk_mq, blk_sysfs, blk_timeout, elevator, partition_generic
from blkmodel.fs import block_dev
from blkmodel.include.linux.blkdev import (DISK_MAX_PARTS, DISK_PITER_INCL_EMPTY, DISK_PITER_INCL_EMPTY_PART0,
    DISK_PITER_INCL_PART0, DISK_PITER_REVERSE, GENHD_FL_EXT_DEVT, GENHD_FL_HIDDEN, GENHD_FL_NO_PART_SCAN,
    GENHD_FL_REMOVABLE, GENHD_FL_SUPPRESS_PARTITION_INFO, GENHD_FL_UP, counters_of, dev_to_disk, disk_devt,
    disk_max_parts, disk_part_iter, disk_part_scan_enabled, disk_part_tbl, disk_put_part, disk_to_dev, free_part_stats,
    gendisk, get_capacity, get_disk_ro, hd_free_part, hd_ref_init, hd_struct, init_part_stats, part_devt,
    part_nr_sects_read, part_stat_counted, part_stat_set_all, part_to_dev, part_to_disk, queue_is_mq,
    rand_initialize_disk, request_queue, set_capacity)
from blkmodel.include.linux.fs import block_device
from blkmodel.reference.omission import no_chapter
from blkmodel.services import (EBUSY, EINVAL, ENODEV, ENOMEM, ENOSPC, FMODE_READ, GFP_KERNEL, GFP_NOWAIT, KOBJ_ADD,
    KOBJ_CHANGE, MAJOR, MINOR, MINORBITS, MKDEV, WARN_ON, WARN_ON_ONCE, attribute, attribute_group, bdi_register_owner,
    bdi_unregister, call_rcu, class_, dev_name, dev_set_name, dev_set_uevent_suppress, device, device_add, device_del,
    device_initialize, device_type, down_write, idr, idr_alloc, idr_find, idr_remove, idr_replace, kfree, kobj_lookup,
    kobj_map, kobj_map_domain, kobj_map_init, kobj_unmap, kobject, kobject_create_and_add, kobject_get_unless_zero,
    kobject_name, kobject_put, kobject_uevent, kobject_uevent_env, kzalloc, kzalloc_node, module, module_init,
    module_put, pr_err, pr_warn, proc_create_seq, provide, rcu_read_lock, rcu_read_unlock, request_module, seq_file,
    seq_operations, seq_puts, sscanf, subsys_initcall, sysfs_create_files, sysfs_create_link, sysfs_remove_files,
    sysfs_remove_link, try_module_get, up_write, whole_disks)
from blkmodel.sim import NULL, Struct, statics

OMITTED = no_chapter("""__disk_events_show __disk_unblock_events disk_check_events disk_clear_events
    disk_events_poll_jiffies disk_events_workfn""")

BLOCK_EXT_MAJOR, BLKDEV_MAJOR_HASH_SIZE, BLKDEV_MAJOR_MAX, NR_EXT_DEVT = 259, 255, 512, 1 << MINORBITS


class blk_major_name(Struct, size=32):
    """Who has a major number. (In C the lists link them; here a list holds them.)"""

    major: int = 0
    name: str = ""


class variables(statics):
    """major_names: who has which major number, hashed; bdev_map: which disk has which number; ext_devt_idr: the minor
    numbers of BLOCK_EXT_MAJOR; block_depr: /sys/block."""

    def __init__(self) -> None:
        self.major_names: list[list[blk_major_name]] = [[] for _ in range(BLKDEV_MAJOR_HASH_SIZE)]
        self.bdev_map: kobj_map_domain = NULL
        self.ext_devt_idr = idr()
        self.block_depr: kobject = NULL


def part_inc_in_flight(q: request_queue, part: hd_struct, rw: int) -> None:
    """Count I/O that begins, for a driver without requests; requests are counted where they are."""
    if not queue_is_mq(q):
        for stats in counters_of(part):
            stats.in_flight[rw] += 1


def part_dec_in_flight(q: request_queue, part: hd_struct, rw: int) -> None:
    """Count I/O that has ended. It may have begun on another CPU: only the sum over all is never negative."""
    if not queue_is_mq(q):
        for stats in counters_of(part):
            stats.in_flight[rw] -= 1


def part_in_flight(q: request_queue, part: hd_struct) -> int:
    """How much I/O of a partition is under way."""
    if queue_is_mq(q):
        return blk_mq.blk_mq_in_flight(q, part)
    return max(sum(sum(cpu.in_flight) for cpu in part.dkstats), 0)


def part_in_flight_rw(q: request_queue, part: hd_struct) -> list[int]:
    """How much I/O of a partition is under way, as [reads, writes]. In C this is an out-parameter."""
    if queue_is_mq(q):
        return blk_mq.blk_mq_in_flight_rw(q, part)
    return [max(sum(cpu.in_flight[rw] for cpu in part.dkstats), 0) for rw in (0, 1)]


def __disk_get_part(disk: gendisk, partno: int) -> hd_struct:
    """The partition of that number, without a reference; None where there is none."""
    table = disk.part_tbl
    return NULL if partno < 0 or partno >= table.len else table.part[partno]


def disk_get_part(disk: gendisk, partno: int) -> hd_struct:
    """The partition of that number, with a reference to its device; None where there is none."""
    rcu_read_lock()
    if (part := __disk_get_part(disk, partno)) is not None:
        part._dev.kobj.refcount += 1
    rcu_read_unlock()
    return part


def disk_part_iter_init(piter: disk_part_iter, disk: gendisk, flags: int) -> None:
    """Begin a walk over a disk's partitions. DISK_PITER_* flags say which way, and whether over empty ones and the
    whole disk too."""
    rcu_read_lock()
    piter.disk, piter.part = disk, NULL
    if flags & DISK_PITER_REVERSE:
        piter.idx = disk.part_tbl.len - 1
    elif flags & (DISK_PITER_INCL_PART0 | DISK_PITER_INCL_EMPTY_PART0):
        piter.idx = 0
    else:
        piter.idx = 1
    piter.flags = flags
    rcu_read_unlock()


def disk_part_iter_next(piter: disk_part_iter) -> hd_struct:
    """The next partition, held until the one after it; None at the end."""
    disk_put_part(piter.part)
    piter.part = NULL
    rcu_read_lock()
    table = piter.disk.part_tbl
    if piter.flags & DISK_PITER_REVERSE:
        step = -1
        end = -1 if piter.flags & (DISK_PITER_INCL_PART0 | DISK_PITER_INCL_EMPTY_PART0) else 0
    else:
        step, end = 1, table.len
    while (end - piter.idx) * step > 0:
        part = table.part[piter.idx]
        piter.idx += step
        if part is None:
            continue
        if (part_nr_sects_read(part) or piter.flags & DISK_PITER_INCL_EMPTY
                or (piter.flags & DISK_PITER_INCL_EMPTY_PART0 and piter.idx - step == 0)):
            part._dev.kobj.refcount += 1
            piter.part = part
            break
    rcu_read_unlock()
    return piter.part


def disk_part_iter_exit(piter: disk_part_iter) -> None:
    """End a walk, wherever it is."""
    disk_put_part(piter.part)
    piter.part = NULL


def sector_in_part(part: hd_struct, sector: int) -> int:
    """Whether a sector of the disk is one of the partition's."""
    return part.start_sect <= sector < part.start_sect + part_nr_sects_read(part)


def disk_map_sector_rcu(disk: gendisk, sector: int) -> hd_struct:
    """The partition that a sector is in, without a reference; the whole disk where it is in none."""
    table = disk.part_tbl
    part = table.last_lookup
    if part is not None and sector_in_part(part, sector):
        return part
    for i in range(1, table.len):
        part = table.part[i]
        if part is not None and sector_in_part(part, sector):
            table.last_lookup = part
            return part
    return disk.part0


def register_blkdev(major: int, name: str) -> int:
    """Take a major number for a driver; 0 takes the highest free one below 255.

    Returns the number where it was 0, else 0; -EBUSY, -EINVAL or -ENOMEM.
    """
    names, ret = variables().major_names, 0
    if major == 0:
        for major in range(BLKDEV_MAJOR_HASH_SIZE - 1, 0, -1):
            if not names[major]:
                break
        else:
            pr_err(f"register_blkdev: failed to get major for {name}")
            return -EBUSY
        ret = major
    if major >= BLKDEV_MAJOR_MAX:
        pr_err(f"register_blkdev: major requested ({major}) is greater than the maximum ({BLKDEV_MAJOR_MAX - 1}) "
               f"for {name}")
        return -EINVAL
    if (entry := kzalloc(blk_major_name, GFP_KERNEL)) is None:
        return -ENOMEM
    entry.major = major
    entry.name = name[:15]
    chain = names[major % BLKDEV_MAJOR_HASH_SIZE]
    for other in chain:
        if other.major == major:
            pr_err(f"register_blkdev: cannot get major {major} for {name}")
            kfree(entry)
            return -EBUSY
    chain.append(entry)
    return ret


def unregister_blkdev(major: int, name: str) -> None:
    """Give a major number back, by the name under which it was taken."""
    chain = variables().major_names[major % BLKDEV_MAJOR_HASH_SIZE]
    entry = NULL
    for other in chain:
        if other.major == major and other.name == name[:15]:
            entry = other
    if WARN_ON(entry is None):
        return
    chain.remove(entry)
    kfree(entry)


def blk_mangle_minor(minor: int) -> int:
    """A minor number as it is shown. (It is turned about only in kernels that look for who relies on its order.)"""
    return minor


def blk_alloc_devt(part: hd_struct) -> tuple[int, int]:
    """Find a partition's device number: among its disk's own, or a free one of BLOCK_EXT_MAJOR.

    Returns (0, number), or (-EBUSY, 0) where there is none. In C the number is an out-parameter.
    """
    disk = part_to_disk(part)
    if part.partno < disk.minors:
        return 0, MKDEV(disk.major, disk.first_minor + part.partno)
    if (idx := idr_alloc(variables().ext_devt_idr, part, 0, NR_EXT_DEVT, GFP_NOWAIT)) < 0:
        return (-EBUSY if idx == -ENOSPC else idx), 0
    return 0, MKDEV(BLOCK_EXT_MAJOR, blk_mangle_minor(idx))


def blk_free_devt(devt: int) -> None:
    """Give back a number of BLOCK_EXT_MAJOR."""
    if MAJOR(devt) == BLOCK_EXT_MAJOR:
        idr_remove(variables().ext_devt_idr, blk_mangle_minor(MINOR(devt)))


def blk_invalidate_devt(devt: int) -> None:
    """Let nobody find anything by the number any more. It is free only when its device is."""
    if MAJOR(devt) == BLOCK_EXT_MAJOR:
        idr_replace(variables().ext_devt_idr, NULL, blk_mangle_minor(MINOR(devt)))


def blk_register_region(devt: int, range: int, module: module, probe: Callable[..., Any], lock: Callable[..., Any],
                        data: Any) -> None:
    """Say who stands for `range` numbers from devt on: lock(devt, data), then probe(devt, data)."""
    kobj_map(variables().bdev_map, devt, range, module, probe, lock, data)


def blk_unregister_region(devt: int, range: int) -> None:
    """Let nobody stand any more for `range` numbers from devt on."""
    kobj_unmap(variables().bdev_map, devt, range)


def exact_match(devt: int, data: gendisk) -> kobject:
    """The object of a disk that was registered by its own numbers."""
    return disk_to_dev(data).kobj


def exact_lock(devt: int, data: gendisk) -> int:
    """Take a reference to a disk that was found by its number. Returns 0, or -1 for a disk that is going."""
    return 0 if get_disk_and_module(data) is not None else -1


def register_disk(parent: device, disk: gendisk, groups: tuple[attribute_group, ...]) -> None:
    """Make a disk known to the driver core and user space, and scan it for partitions: by opening it.

    What fails here is missing afterwards, but the disk stays.
    """
    dev = disk_to_dev(disk)
    dev.parent = parent
    dev_set_name(dev, disk.disk_name)
    # user space hears of the disk when its partitions are there
    dev_set_uevent_suppress(dev, 1)
    if groups:
        WARN_ON(dev.groups)
        dev.groups = groups
    if device_add(dev):
        return
    if sysfs_create_link(variables().block_depr, dev.kobj, kobject_name(dev.kobj)):
        device_del(dev)
        return
    disk.part0.holder_dir = kobject_create_and_add("holders", dev.kobj)
    disk.slave_dir = kobject_create_and_add("slaves", dev.kobj)
    if disk.flags & GENHD_FL_HIDDEN:
        return
    if disk_part_scan_enabled(disk) and get_capacity(disk):
        if (bdev := bdget_disk(disk, 0)) is not None:
            bdev.bd_invalidated = 1
            if block_dev.blkdev_get(bdev, FMODE_READ, None) >= 0:
                block_dev.blkdev_put(bdev, FMODE_READ)
    dev_set_uevent_suppress(dev, 0)
    kobject_uevent(dev.kobj, KOBJ_ADD)
    piter = disk_part_iter()
    disk_part_iter_init(piter, disk, 0)
    while (part := disk_part_iter_next(piter)) is not None:
        kobject_uevent(part_to_dev(part).kobj, KOBJ_ADD)
    disk_part_iter_exit(piter)
    if disk.queue.backing_dev_info.dev is not None:
        WARN_ON(sysfs_create_link(dev.kobj, disk.queue.backing_dev_info.dev.kobj, "bdi"))


def __device_add_disk(parent: device, disk: gendisk, groups: tuple[attribute_group, ...], register_queue: bool) -> None:
    """Add a disk that its driver has set up; see device_add_disk(). `register_queue`: and its queue."""
    if register_queue:
        elevator.elevator_init_mq(disk.queue)
    WARN_ON(disk.minors and not (disk.major or disk.first_minor))
    WARN_ON(not disk.minors and not disk.flags & (GENHD_FL_EXT_DEVT | GENHD_FL_HIDDEN))
    disk.flags |= GENHD_FL_UP
    retval, devt = blk_alloc_devt(disk.part0)
    if retval:
        WARN_ON(True, "no number for a disk")
        return
    disk.major = MAJOR(devt)
    disk.first_minor = MINOR(devt)
    disk_alloc_events(disk)
    if disk.flags & GENHD_FL_HIDDEN:
        disk.flags |= GENHD_FL_SUPPRESS_PARTITION_INFO | GENHD_FL_NO_PART_SCAN
    else:
        disk_to_dev(disk).devt = devt
        WARN_ON(bdi_register_owner(disk.queue.backing_dev_info, disk_to_dev(disk)), "bdi_register_owner")
        blk_register_region(disk_devt(disk), disk.minors, NULL, exact_match, exact_lock, disk)
    register_disk(parent, disk, groups)
    if register_queue:
        blk_sysfs.blk_register_queue(disk)
    # del_gendisk() lets it go, and needs it until then, whatever the driver does with its own
    # 5.4: where the queue is dying there is no reference to be had; it is let go all the same. So does the model.
    WARN_ON_ONCE(not blk_core.blk_get_queue(disk.queue))
    disk_add_events(disk)


def device_add_disk(parent: device, disk: gendisk, groups: tuple[attribute_group, ...]) -> None:
    """Add a disk, below the device `parent`, with more sysfs files (`groups`), so that it can be used.

    No error is reported: what could not be done is missing, and the log warns of some of it.
    """
    __device_add_disk(parent, disk, groups, True)


def device_add_disk_no_queue_reg(parent: device, disk: gendisk) -> None:
    """Add a disk, below the device `parent`, for a driver that registers the disk's queue itself, later."""
    __device_add_disk(parent, disk, NULL, False)


def del_gendisk(disk: gendisk) -> None:
    """Remove a disk from view, with its partitions. I/O that is under way goes on; no new one can begin.

    The disk and its queue live until put_disk() drops the last reference.
    """
    disk_del_events(disk)
    down_write(disk.lookup_sem)
    piter = disk_part_iter()
    disk_part_iter_init(piter, disk, DISK_PITER_INCL_EMPTY | DISK_PITER_REVERSE)
    while (part := disk_part_iter_next(piter)) is not None:
        invalidate_partition(disk, part.partno)
        block_dev.bdev_unhash_inode(part_devt(part))
        partition_generic.delete_partition(disk, part.partno)
    disk_part_iter_exit(piter)
    invalidate_partition(disk, 0)
    block_dev.bdev_unhash_inode(disk_devt(disk))
    set_capacity(disk, 0)
    disk.flags &= ~GENHD_FL_UP
    up_write(disk.lookup_sem)
    if not disk.flags & GENHD_FL_HIDDEN:
        sysfs_remove_link(disk_to_dev(disk).kobj, "bdi")
    if disk.queue is not None:
        if not disk.flags & GENHD_FL_HIDDEN:
            bdi_unregister(disk.queue.backing_dev_info)
        blk_sysfs.blk_unregister_queue(disk)
    else:
        WARN_ON(True)
    if not disk.flags & GENHD_FL_HIDDEN:
        blk_unregister_region(disk_devt(disk), disk.minors)
    blk_invalidate_devt(disk_devt(disk))
    kobject_put(disk.part0.holder_dir)
    kobject_put(disk.slave_dir)
    part_stat_set_all(disk.part0, 0)
    disk.part0.stamp = 0
    sysfs_remove_link(variables().block_depr, dev_name(disk_to_dev(disk)))
    device_del(disk_to_dev(disk))


def get_gendisk(devt: int) -> tuple[gendisk, int]:
    """Find the disk of a device number. Returns (disk, with a reference to it and its module; partition number).

    (None, 0) where there is none, or it is hidden or gone. In C the partition number is an out-parameter.
    """
    disk, partno = NULL, 0
    if MAJOR(devt) != BLOCK_EXT_MAJOR:
        kobj, partno = kobj_lookup(variables().bdev_map, devt)
        if kobj is not None:
            disk = dev_to_disk(kobj._owner)
    else:
        part = idr_find(variables().ext_devt_idr, blk_mangle_minor(MINOR(devt)))
        if part is not None and get_disk_and_module(part_to_disk(part)) is not None:
            disk, partno = part_to_disk(part), part.partno
    if disk is None:
        return NULL, 0
    with disk.lookup_sem.read:
        there = not disk.flags & GENHD_FL_HIDDEN and disk.flags & GENHD_FL_UP
    if not there:
        put_disk_and_module(disk)
        return NULL, 0
    return disk, partno


def bdget_disk(disk: gendisk, partno: int) -> block_device:
    """The block device of a partition, or (0) of the disk, with a reference; None for no such, or no memory."""
    part = disk_get_part(disk, partno)
    bdev = block_dev.bdget(part_devt(part)) if part is not None else NULL
    disk_put_part(part)
    return bdev


def disk_seqf_start(seqf: seq_file, pos: int) -> gendisk:
    """The disk at a place in the order in which they came; None behind the last."""
    seqf.private = list(whole_disks().values())[pos:]
    return seqf.private[0] if seqf.private else NULL


def disk_seqf_next(seqf: seq_file, v: gendisk, pos: int) -> gendisk:
    """The disk after `v`; None for no more."""
    seqf.private = seqf.private[1:]
    return seqf.private[0] if seqf.private else NULL


def disk_seqf_stop(seqf: seq_file, v: gendisk) -> None:
    """Let the walk over the disks go."""
    seqf.private = None


def show_partition_start(seqf: seq_file, pos: int) -> gendisk:
    """The head of /proc/partitions, where there is any disk; and the first of them."""
    if (disk := disk_seqf_start(seqf, pos)) is not None and not pos:
        seq_puts(seqf, "major minor  #blocks  name\n\n")
    return disk


def show_partition(seqf: seq_file, v: gendisk) -> int:
    """A disk in /proc/partitions, and its partitions: numbers, KiB, name. Its driver may not want it there."""
    if (not get_capacity(v) or (not disk_max_parts(v) and v.flags & GENHD_FL_REMOVABLE)
            or v.flags & GENHD_FL_SUPPRESS_PARTITION_INFO):
        return 0
    piter = disk_part_iter()
    disk_part_iter_init(piter, v, DISK_PITER_INCL_PART0)
    while (part := disk_part_iter_next(piter)) is not None:
        devt = part_devt(part)
        seq_puts(seqf, f"{MAJOR(devt):4d}  {MINOR(devt):7d} {part_nr_sects_read(part) >> 1:10d} "
                       f"{partition_generic.disk_name(v, part.partno)}\n")
    disk_part_iter_exit(piter)
    return 0


def base_probe(devt: int, data: Any) -> kobject:
    """The last resort for a number that nobody has: ask for a driver's module."""
    if request_module(f"block-major-{MAJOR(devt)}-{MINOR(devt)}") > 0:
        request_module(f"block-major-{MAJOR(devt)}")
    return NULL


def genhd_device_init() -> int:
    """At boot: make the table of numbers, the cache of queues, and /sys/block."""
    own = variables()
    own.bdev_map = kobj_map_init(base_probe)
    blk_core.blk_dev_init()
    register_blkdev(BLOCK_EXT_MAJOR, "blkext")
    own.block_depr = kobject_create_and_add("block", NULL)
    return 0


subsys_initcall(genhd_device_init)


def disk_range_show(dev: device) -> str:
    """range: how many numbers the disk has of its own."""
    return f"{dev_to_disk(dev).minors}\n"


def disk_ext_range_show(dev: device) -> str:
    """ext_range: how many partitions it can have."""
    return f"{disk_max_parts(dev_to_disk(dev))}\n"


def disk_removable_show(dev: device) -> str:
    """removable: whether its medium is."""
    return f"{int(bool(dev_to_disk(dev).flags & GENHD_FL_REMOVABLE))}\n"


def disk_hidden_show(dev: device) -> str:
    """hidden: whether it can't be opened, being part of another."""
    return f"{int(bool(dev_to_disk(dev).flags & GENHD_FL_HIDDEN))}\n"


def disk_ro_show(dev: device) -> str:
    """ro: whether it is read-only."""
    return f"{int(bool(get_disk_ro(dev_to_disk(dev))))}\n"


def disk_capability_show(dev: device) -> str:
    """capability: its GENHD_FL_* flags."""
    return f"{dev_to_disk(dev).flags:x}\n"


def disk_alignment_offset_show(dev: device) -> str:
    """alignment_offset: how far its first sector is from a physical block's start, in bytes; -1 for misaligned."""
    limits = dev_to_disk(dev).queue.limits
    return f"{-1 if limits.misaligned else limits.alignment_offset}\n"


def disk_discard_alignment_show(dev: device) -> str:
    """discard_alignment: how far the first range that can be discarded is off, in bytes; -1 for misaligned."""
    limits = dev_to_disk(dev).queue.limits
    return f"{-1 if limits.discard_misaligned else limits.discard_alignment}\n"


def disk_visible(kobj: kobject, attr: attribute, n: int) -> int:
    """The mode of one of a disk's files; 0 for the bad blocks of a disk that keeps no list of them."""
    return 0 if attr is DISK_BADBLOCKS and dev_to_disk(kobj._owner).bb is None else attr.mode


DISK_BADBLOCKS = attribute("badblocks", 0o644)
disk_attr_group = attribute_group(attrs=(
    attribute("range", 0o444, disk_range_show), attribute("ext_range", 0o444, disk_ext_range_show),
    attribute("removable", 0o444, disk_removable_show), attribute("hidden", 0o444, disk_hidden_show),
    attribute("ro", 0o444, disk_ro_show), attribute("size", 0o444, lambda dev: partition_generic.part_size_show(dev)),
    attribute("alignment_offset", 0o444, disk_alignment_offset_show),
    attribute("discard_alignment", 0o444, disk_discard_alignment_show),
    attribute("capability", 0o444, disk_capability_show),
    attribute("stat", 0o444, lambda dev: partition_generic.part_stat_show(dev)),
    attribute("inflight", 0o444, lambda dev: partition_generic.part_inflight_show(dev)), DISK_BADBLOCKS,
    attribute("io-timeout-fail", 0o644, blk_timeout.part_timeout_show, blk_timeout.part_timeout_store,
              config="FAIL_IO_TIMEOUT"),
), is_visible=disk_visible)


def disk_replace_part_tbl(disk: gendisk, new_ptbl: disk_part_tbl) -> None:
    """Give a disk another table of partitions, or none. The old one is freed when nobody reads it any more."""
    old_ptbl = disk.part_tbl
    disk.part_tbl = new_ptbl
    if old_ptbl is not None:
        old_ptbl.last_lookup = NULL
        call_rcu(lambda: kfree(old_ptbl))


def disk_expand_part_tbl(disk: gendisk, partno: int) -> int:
    """Make room in a disk's table for that partition. Returns 0, -EINVAL for too high a number, -ENOMEM."""
    old_ptbl = disk.part_tbl
    length = old_ptbl.len if old_ptbl is not None else 0
    target = partno + 1
    if target < 0 or (disk_max_parts(disk) and target > disk_max_parts(disk)):
        return -EINVAL
    if target <= length:
        return 0
    if (new_ptbl := kzalloc_node(disk_part_tbl, GFP_KERNEL, disk.node_id, disk_part_tbl.SIZE + target * 8)) is None:
        return -ENOMEM
    new_ptbl.len = target
    new_ptbl.part = [old_ptbl.part[i] if i < length else NULL for i in range(target)]
    disk_replace_part_tbl(disk, new_ptbl)
    return 0


def disk_release(dev: device) -> None:
    """The last reference to a disk is gone: free it, and let its queue go."""
    disk = dev_to_disk(dev)
    blk_free_devt(dev.devt)
    disk_release_events(disk)
    kfree(disk.random)
    disk_replace_part_tbl(disk, NULL)
    hd_free_part(disk.part0)
    if disk.queue is not None:
        blk_core.blk_put_queue(disk.queue)
    kfree(disk)


def block_devnode(dev: device) -> str:
    """The name of a disk's node, where its driver has one for it."""
    disk = dev_to_disk(dev)
    return disk.devnode(disk) if disk.devnode is not None else NULL


block_class = class_(name="block")
disk_type = device_type(name="disk", groups=(disk_attr_group,), release=disk_release, devnode=block_devnode)


def diskstats_show(seqf: seq_file, v: gendisk) -> int:
    """A disk in /proc/diskstats, and its partitions: numbers, name, and what the file `stat` of each says."""
    piter = disk_part_iter()
    disk_part_iter_init(piter, v, DISK_PITER_INCL_EMPTY_PART0)
    while (hd := disk_part_iter_next(piter)) is not None:
        devt = part_devt(hd)
        counted = part_stat_counted(hd, part_in_flight(v.queue, hd))
        seq_puts(seqf, f"{MAJOR(devt):4d} {MINOR(devt):7d} {partition_generic.disk_name(v, hd.partno)} "
                       f"{' '.join(map(str, counted))}\n")
    disk_part_iter_exit(piter)
    return 0


def proc_genhd_init() -> int:
    """At boot: make /proc/diskstats and /proc/partitions."""
    proc_create_seq("diskstats", seq_operations(disk_seqf_start, disk_seqf_stop, disk_seqf_next, diskstats_show))
    proc_create_seq("partitions", seq_operations(show_partition_start, disk_seqf_stop, disk_seqf_next, show_partition))
    return 0


module_init(proc_genhd_init)


def blk_lookup_devt(name: str, partno: int) -> int:
    """The number of a disk's partition, by the disk's name; 0 for none.

    Where the disk has numbers of its own for partitions, it is the one that the partition would have.
    """
    if (disk := whole_disks().get(name)) is None:
        return 0
    if partno < disk.minors:
        return disk_to_dev(disk).devt + partno
    devt = part_devt(part) if (part := disk_get_part(disk, partno)) is not None else 0
    disk_put_part(part)
    return devt


def __alloc_disk_node(minors: int, node_id: int) -> gendisk:
    """Allocate a disk with so many numbers of its own, for it and its partitions; None on failure.

    It has one reference, which put_disk() drops.
    """
    if minors > DISK_MAX_PARTS:
        pr_err(f"block: can't allocate more than {DISK_MAX_PARTS} partitions")
        minors = DISK_MAX_PARTS
    if (disk := kzalloc_node(gendisk, GFP_KERNEL, node_id)) is None:
        return NULL
    if not init_part_stats(disk.part0):
        kfree(disk)
        return NULL
    disk.node_id = node_id
    if disk_expand_part_tbl(disk, 0):
        free_part_stats(disk.part0)
        kfree(disk)
        return NULL
    disk.part_tbl.part[0] = disk.part0
    if hd_ref_init(disk.part0, partition_generic.__delete_partition):
        # 5.4: hd_free_part() does not know of the table of partitions, and nobody frees it.
        hd_free_part(disk.part0)
        kfree(disk)
        return NULL
    disk.minors = minors
    rand_initialize_disk(disk)
    disk_to_dev(disk).class_, disk_to_dev(disk).type = block_class, disk_type
    device_initialize(disk_to_dev(disk), disk)
    return disk


def get_disk_and_module(disk: gendisk) -> kobject:
    """Take a reference to a disk and its driver's module. Returns its object, or None for a disk that is going."""
    if disk.fops is None:
        return NULL
    owner = disk.fops.owner
    if owner is not None and not try_module_get(owner):
        return NULL
    if (kobj := kobject_get_unless_zero(disk_to_dev(disk).kobj)) is None:
        module_put(owner)
    return kobj


def put_disk(disk: gendisk) -> None:
    """Drop a reference to a disk; the last one frees it."""
    if disk is not None:
        kobject_put(disk_to_dev(disk).kobj)


def put_disk_and_module(disk: gendisk) -> None:
    """Undo get_disk_and_module()."""
    if disk is not None:
        owner = disk.fops.owner
        put_disk(disk)
        module_put(owner)


def set_disk_ro_uevent(gd: gendisk, ro: int) -> None:
    """Tell user space that a disk became read-only, or writable."""
    kobject_uevent_env(disk_to_dev(gd).kobj, KOBJ_CHANGE, (f"DISK_RO={1 if ro else 0}",))


def set_device_ro(bdev: block_device, flag: int) -> None:
    """Make an open disk or partition read-only, or writable, and nothing else of the disk."""
    bdev.bd_part.policy = flag


def set_disk_ro(disk: gendisk, flag: int) -> None:
    """Make a disk and its partitions read-only, or writable."""
    if disk.part0.policy != flag:
        set_disk_ro_uevent(disk, flag)
        disk.part0.policy = flag
    piter = disk_part_iter()
    disk_part_iter_init(piter, disk, DISK_PITER_INCL_EMPTY)
    while (part := disk_part_iter_next(piter)) is not None:
        part.policy = flag
    disk_part_iter_exit(piter)


def bdev_read_only(bdev: block_device) -> int:
    """Whether an open disk or partition is read-only."""
    return bdev.bd_part.policy if bdev is not None else 0


def invalidate_partition(disk: gendisk, partno: int) -> int:
    """Write back what is cached of a partition, then drop it. Returns 0, or what could not be dropped."""
    res = 0
    if (bdev := bdget_disk(disk, partno)) is not None:
        block_dev.fsync_bdev(bdev)
        res = block_dev.__invalidate_device(bdev, True)
        block_dev.bdput(bdev)
    return res


def disk_block_events(disk: gendisk) -> None:
    """Ask a disk with events for none until disk_unblock_events(). The model's disks have none."""


def disk_unblock_events(disk: gendisk) -> None:
    """Undo one disk_block_events(), and ask a disk with events again. The model's disks have none."""


def disk_flush_events(disk: gendisk, mask: int) -> None:
    """Ask a disk with events soon, clearing the events of `mask`. The model's disks have none."""


def disk_events_show(dev: device) -> str:
    """events: which events the disk can tell of: none."""
    return ""


def disk_events_async_show(dev: device) -> str:
    """events_async: which events the disk tells of unasked; none ever did."""
    return ""


def disk_events_poll_msecs_show(dev: device) -> str:
    """events_poll_msecs: how often the disk is asked for events, in milliseconds; -1 for one that has none."""
    return "-1\n"


def disk_events_poll_msecs_store(dev: device, buf: str, count: int) -> int:
    """Change how often the disk is asked. Returns -EINVAL for no such number, -ENODEV for a disk without events."""
    intv = sscanf(buf, "%ld")
    return -ENODEV if count and intv and intv[0] >= -1 else -EINVAL


disk_events_attrs = (
    attribute("events", 0o444, disk_events_show), attribute("events_async", 0o444, disk_events_async_show),
    attribute("events_poll_msecs", 0o644, disk_events_poll_msecs_show, disk_events_poll_msecs_store))


def disk_alloc_events(disk: gendisk) -> None:
    """Prepare to ask a disk for events, if it has any. The model's disks have none."""
    WARN_ON(disk.fops.check_events is not None and disk.events, "disks that have events are left out")


def disk_add_events(disk: gendisk) -> None:
    """Show a disk's files that have to do with events. (It would begin to be asked for them, too.)"""
    if sysfs_create_files(disk_to_dev(disk).kobj, disk_events_attrs) < 0:
        pr_warn(f"{disk.disk_name}: failed to create sysfs files for events")


def disk_del_events(disk: gendisk) -> None:
    """Remove a disk's files that have to do with events. (It would be asked no more, too.)"""
    sysfs_remove_files(disk_to_dev(disk).kobj, disk_events_attrs)


def disk_release_events(disk: gendisk) -> None:
    """Free what the asking for events needed: nothing, for a disk that has none."""


provide(blk_lookup_devt=blk_lookup_devt)
