"""Partitions: what a disk's and a partition's name is, and how a disk is scanned for them.

The model knows no partition tables: a scan reads the disk's first sector, as every parser does, and finds none.
So of making and deleting a partition only that is here which the whole disk needs.
"""

from blkmodel.block import genhd
from blkmodel.block.partitions import check
from blkmodel.fs import block_dev
from blkmodel.include.linux.blk_types import bio
from blkmodel.include.linux.fs import block_device
from blkmodel.include.linux.genhd import (
    DISK_PITER_INCL_EMPTY, STAT_DISCARD, STAT_READ, STAT_WRITE, dev_to_part, disk_part_iter, disk_to_dev, gendisk,
    get_capacity, hd_struct_kill, part_devt, part_stat_read, part_stat_set_all, part_to_dev, part_to_disk, set_capacity)
from blkmodel.services.base.err import EBUSY, EIO, IS_ERR
from blkmodel.services.devices.device import device, device_del, put_device
from blkmodel.services.devices.kobject import KOBJ_CHANGE, kobject_put, kobject_uevent
from blkmodel.services.files.pagemap import read_mapping_page
from blkmodel.services.memory.mm import PageError, page, put_page
from blkmodel.services.tasks.refcount import percpu_ref
from blkmodel.services.tasks.timer import HZ
from blkmodel.services.tasks.workqueue import INIT_WORK, queue_work, work_struct
from blkmodel.sim.structure import NULL


def disk_name(hd: gendisk, partno: int) -> str:
    """The name of a disk (partno 0) or of one of its partitions: with a `p` where the disk's name ends in a digit."""
    return hd.disk_name if not partno else f"{hd.disk_name}{'p' if hd.disk_name[-1].isdigit() else ''}{partno}"


def bdevname(bdev: block_device) -> str:
    """The name of what a block device stands for."""
    return disk_name(bdev.bd_disk, bdev.bd_part.partno)


def bio_devname(bio: bio) -> str:
    """The name of what a bio is for."""
    return disk_name(bio.bi_disk, bio.bi_partno)


def part_size_show(dev: device) -> str:
    """size: how many sectors of 512 bytes a disk has."""
    return f"{dev_to_part(dev).nr_sects}\n"


def part_stat_show(dev: device) -> str:
    """stat: what was counted of its I/O: reads, writes and what is in flight, then discards.

    For each kind: I/Os, merges, sectors, milliseconds; in the middle I/Os in flight, milliseconds with I/O, and
    milliseconds of all I/Os together.
    """
    part = dev_to_part(dev)
    kinds = [[part_stat_read(part, "ios", kind), part_stat_read(part, "merges", kind),
              part_stat_read(part, "sectors", kind), part_stat_read(part, "nsecs", kind) // 1_000_000]
             for kind in (STAT_READ, STAT_WRITE, STAT_DISCARD)]
    in_flight = genhd.part_in_flight(part_to_disk(part).queue, part)
    ticks = [part_stat_read(part, name) * 1000 // HZ for name in ("io_ticks", "time_in_queue")]
    return " ".join(f"{value:8d}" for value in (*kinds[0], *kinds[1], in_flight, *ticks, *kinds[2])) + "\n"


def part_inflight_show(dev: device) -> str:
    """inflight: I/Os that are under way, reads and writes."""
    part = dev_to_part(dev)
    reads, writes = genhd.part_in_flight_rw(part_to_disk(part).queue, part)
    return f"{reads:8d} {writes:8d}\n"


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
    """Find a disk's partitions anew. Returns 0, -EBUSY while one is open, -EIO for a disk that can't be read."""
    if res := drop_partitions(disk, bdev):
        return res
    if disk.fops.revalidate_disk is not None:
        disk.fops.revalidate_disk(disk)
    block_dev.check_disk_size_change(disk, bdev, True)
    bdev.bd_invalidated = 0
    if not get_capacity(disk):
        return 0
    state = check.check_partition(disk, bdev)
    return -EIO if IS_ERR(state) else 0


def invalidate_partitions(disk: gendisk, bdev: block_device) -> int:
    """The medium is gone: take all partitions off, and let the disk have no size. Returns 0 or -EBUSY."""
    if not bdev.bd_invalidated:
        return 0
    if res := drop_partitions(disk, bdev):
        return res
    set_capacity(disk, 0)
    block_dev.check_disk_size_change(disk, bdev, False)
    bdev.bd_invalidated = 0
    kobject_uevent(disk_to_dev(disk).kobj, KOBJ_CHANGE)
    return 0


def read_dev_sector(bdev: block_device, n: int) -> tuple[bytes, page]:
    """Sector n of a device, through the page cache. Returns (its bytes, the page, held); (None, None) on failure."""
    if IS_ERR(page := read_mapping_page(bdev.bd_inode.i_mapping, n >> 3, NULL)):
        return NULL, NULL
    if PageError(page):
        put_page(page)
        return NULL, NULL
    return page.read((n & 7) << 9, 512), page
