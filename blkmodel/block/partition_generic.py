"""Partitions: their names and files, how they come and go, and how a disk is scanned for them.

Left out: disks with zones, and a driver that can unlock more of its disk than it says. The model has neither.
"""

from blkmodel.block import genhd
from blkmodel.block.partitions import check
from blkmodel.fs import block_dev
from blkmodel.include.linux.blkdev import (DISK_PITER_INCL_EMPTY, alloc_part_info, bio, dev_to_part, disk_part_iter,
    disk_to_dev, free_part_info, free_part_stats, gendisk, get_capacity, get_disk_ro, hd_free_part, hd_ref_init,
    hd_struct, hd_struct_kill, init_part_stats, part_devt, part_stat_counted, part_stat_set_all, part_to_dev,
    part_to_disk, partition_meta_info, queue_limit_alignment_offset, queue_limit_discard_alignment)
from blkmodel.include.linux.fs import block_device
from blkmodel.reference.omission import no_chapter
from blkmodel.services import (EBUSY, EIO, ENOMEM, ENOSPC, ERR_PTR, GFP_KERNEL, INIT_WORK, IS_ERR, KOBJ_ADD,
    KOBJ_CHANGE, PTR_ERR, PageError, attribute, attribute_group, dev_name, dev_set_name, dev_set_uevent_suppress,
    device, device_add, device_del, device_initialize, device_type, kfree, kobject_create_and_add, kobject_put,
    kobject_uevent, kzalloc, page, percpu_ref, pr_err, pr_warn, put_device, put_page, queue_work, read_mapping_page,
    work_struct)
from blkmodel.sim import NULL

OMITTED = no_chapter("__bdevname disk_unlock_native_capacity part_zone_aligned whole_disk_show")

U64 = (1 << 64) - 1


def disk_name(hd: gendisk, partno: int) -> str:
    """The name of a disk (partno 0) or of one of its partitions: with a `p` where the disk's name ends in a digit."""
    return hd.disk_name if not partno else f"{hd.disk_name}{'p' if hd.disk_name[-1].isdigit() else ''}{partno}"


def bdevname(bdev: block_device) -> str:
    """The name of what a block device stands for."""
    return disk_name(bdev.bd_disk, bdev.bd_part.partno)


def bio_devname(bio: bio) -> str:
    """The name of what a bio is for."""
    return disk_name(bio.bi_disk, bio.bi_partno)


def part_partition_show(dev: device) -> str:
    """partition: which partition of its disk it is."""
    return f"{dev_to_part(dev).partno}\n"


def part_start_show(dev: device) -> str:
    """start: which sector of its disk is its first."""
    return f"{dev_to_part(dev).start_sect}\n"


def part_size_show(dev: device) -> str:
    """size: how many sectors of 512 bytes a disk has."""
    return f"{dev_to_part(dev).nr_sects}\n"


def part_ro_show(dev: device) -> str:
    """ro: whether it is read-only."""
    return f"{int(bool(dev_to_part(dev).policy))}\n"


def part_alignment_offset_show(dev: device) -> str:
    """alignment_offset: how far its first sector is from a physical block's start, in bytes."""
    return f"{dev_to_part(dev).alignment_offset}\n"


def part_discard_alignment_show(dev: device) -> str:
    """discard_alignment: how far the first range that can be discarded is off, in bytes."""
    return f"{dev_to_part(dev).discard_alignment}\n"


def part_stat_show(dev: device) -> str:
    """stat: what was counted of its I/O; see part_stat_counted()."""
    part = dev_to_part(dev)
    in_flight = genhd.part_in_flight(part_to_disk(part).queue, part)
    return " ".join(f"{value:8d}" for value in part_stat_counted(part, in_flight)) + "\n"


def part_inflight_show(dev: device) -> str:
    """inflight: I/Os that are under way, reads and writes."""
    part = dev_to_part(dev)
    reads, writes = genhd.part_in_flight_rw(part_to_disk(part).queue, part)
    return f"{reads:8d} {writes:8d}\n"


part_attr_group = attribute_group(attrs=(
    attribute("partition", 0o444, part_partition_show), attribute("start", 0o444, part_start_show),
    attribute("size", 0o444, part_size_show), attribute("ro", 0o444, part_ro_show),
    attribute("alignment_offset", 0o444, part_alignment_offset_show),
    attribute("discard_alignment", 0o444, part_discard_alignment_show), attribute("stat", 0o444, part_stat_show),
    attribute("inflight", 0o444, part_inflight_show)))


def part_release(dev: device) -> None:
    """The last reference to a partition is gone: free it, and its number."""
    p = dev_to_part(dev)
    genhd.blk_free_devt(dev.devt)
    hd_free_part(p)
    kfree(p)


def part_uevent(dev: device) -> list[str]:
    """What user space is told of a partition: its number, and its name where the table gives one."""
    part = dev_to_part(dev)
    name = part.info.volname if part.info is not None else ""
    return [f"PARTN={part.partno}", *([f"PARTNAME={name}"] if name else ())]


part_type = device_type(name="partition", groups=(part_attr_group,), release=part_release, uevent=part_uevent)


def delete_partition_work_fn(work: work_struct) -> None:
    """No I/O uses a deleted partition any more: let its device go."""
    part = work.data
    part.start_sect = part.nr_sects = 0
    part_stat_set_all(part, 0)
    put_device(part_to_dev(part))


def __delete_partition(ref: percpu_ref) -> None:
    """The last I/O that used a deleted partition has ended; the rest may sleep."""
    part = ref._owner
    INIT_WORK(part.rcu_work, delete_partition_work_fn, part)
    queue_work("events", part.rcu_work)


def delete_partition(disk: gendisk, partno: int) -> None:
    """Take a partition off its disk, if there is one of that number. It lives until I/O on it has ended."""
    table = disk.part_tbl
    if partno >= table.len or table.part[partno] is None:
        return
    part = table.part[partno]
    table.part[partno] = NULL
    table.last_lookup = NULL
    kobject_put(part.holder_dir)
    device_del(part_to_dev(part))
    genhd.blk_invalidate_devt(part_devt(part))
    hd_struct_kill(part)


def add_partition(disk: gendisk, partno: int, start: int, len: int, info: partition_meta_info) -> hd_struct:
    """Make a partition of `len` sectors from sector `start` on. info: what the table says of it; None for nothing.

    Returns it, or an error pointer: -EBUSY for a number that is taken (or no memory), -EINVAL for too high a one. (In
    C flags come too, of which the recorded kernel uses none.)
    """
    if err := genhd.disk_expand_part_tbl(disk, partno):
        return ERR_PTR(err)
    if disk.part_tbl.part[partno] is not None:
        return ERR_PTR(-EBUSY)
    if (p := kzalloc(hd_struct, GFP_KERNEL)) is None:
        return ERR_PTR(-EBUSY)
    if not init_part_stats(p):
        kfree(p)
        return ERR_PTR(-ENOMEM)
    pdev, ddev = part_to_dev(p), disk_to_dev(disk)
    p.start_sect, p.nr_sects, p.partno, p.policy = start, len, partno, get_disk_ro(disk)
    p.alignment_offset = queue_limit_alignment_offset(disk.queue.limits, start)
    p.discard_alignment = queue_limit_discard_alignment(disk.queue.limits, start)
    if info is not None:
        p.info = alloc_part_info(disk)
        if p.info is None:
            free_part_stats(p)
            kfree(p)
            return ERR_PTR(-ENOMEM)
        p.info.volname = info.volname
    name = dev_name(ddev)
    dev_set_name(pdev, f"{name}{'p' if name[-1].isdigit() else ''}{partno}")
    device_initialize(pdev, p)
    pdev.class_, pdev.type, pdev.parent = genhd.block_class, part_type, ddev
    err, pdev.devt = genhd.blk_alloc_devt(p)
    if err:
        free_part_info(p)
        free_part_stats(p)
        kfree(p)
        return ERR_PTR(err)
    # user space hears of the partition when others can be shown to hold it
    dev_set_uevent_suppress(pdev, 1)
    if err := device_add(pdev):
        put_device(pdev)
        return ERR_PTR(err)
    p.holder_dir = kobject_create_and_add("holders", pdev.kobj)
    err = -ENOMEM
    if p.holder_dir is not None:
        dev_set_uevent_suppress(pdev, 0)
        err = hd_ref_init(p, __delete_partition)
    if err:
        kobject_put(p.holder_dir)
        device_del(pdev)
        put_device(pdev)
        return ERR_PTR(err)
    disk.part_tbl.part[partno] = p
    if not ddev.kobj.uevent_suppress:
        kobject_uevent(pdev.kobj, KOBJ_ADD)
    return p


def drop_partitions(disk: gendisk, bdev: block_device) -> int:
    """Take all partitions off a disk. Returns 0, or -EBUSY while one is open."""
    if bdev.bd_part_count or bdev.bd_super is not None:
        return -EBUSY
    if res := genhd.invalidate_partition(disk, 0):
        return res
    piter = disk_part_iter()
    genhd.disk_part_iter_init(piter, disk, DISK_PITER_INCL_EMPTY)
    while (part := genhd.disk_part_iter_next(piter)) is not None:
        delete_partition(disk, part.partno)
    genhd.disk_part_iter_exit(piter)
    return 0


def rescan_partitions(disk: gendisk, bdev: block_device) -> int:
    """Find a disk's partitions anew. Returns 0, -EBUSY while one is open, -EIO for a disk that can't be read.

    One that begins behind the disk's end is left out, one that ends there cut. (In C a driver is asked before that
    whether its disk has more than it says.)
    """
    if res := drop_partitions(disk, bdev):
        return res
    if disk.fops.revalidate_disk is not None:
        disk.fops.revalidate_disk(disk)
    block_dev.check_disk_size_change(disk, bdev, True)
    bdev.bd_invalidated = 0
    if not get_capacity(disk) or (state := check.check_partition(disk, bdev)) is None:
        return 0
    if IS_ERR(state):
        if PTR_ERR(state) == -ENOSPC:
            pr_warn(f"{disk.disk_name}: partition table beyond EOD, truncated")
        return -EIO
    if state.access_beyond_eod:
        pr_warn(f"{disk.disk_name}: partition table partially beyond EOD, truncated")
    kobject_uevent(disk_to_dev(disk).kobj, KOBJ_CHANGE)
    found = [(p, part) for p, part in enumerate(state.parts) if p and part is not None and part.size]
    genhd.disk_expand_part_tbl(disk, found[-1][0] if found else 0)
    for p, part in found:
        size = part.size
        if part.start >= get_capacity(disk):
            pr_warn(f"{disk.disk_name}: p{p} start {part.start} is beyond EOD, truncated")
            continue
        if part.start + size & U64 > get_capacity(disk):
            pr_warn(f"{disk.disk_name}: p{p} size {size} extends beyond EOD, truncated")
            size = get_capacity(disk) - part.start
        if IS_ERR(added := add_partition(disk, p, part.start, size, part.info)):
            pr_err(f" {disk.disk_name}: p{p} could not be added: {-PTR_ERR(added)}")
    check.free_partitions(state)
    return 0


def read_dev_sector(bdev: block_device, n: int) -> tuple[bytes, page]:
    """Sector n of a device, through the page cache. Returns (its bytes, the page, held); (None, None) on failure."""
    if IS_ERR(page := read_mapping_page(bdev.bd_inode.i_mapping, n >> 3, NULL)):
        return NULL, NULL
    if PageError(page):
        put_page(page)
        return NULL, NULL
    return page.read((n & 7) << 9, 512), page
