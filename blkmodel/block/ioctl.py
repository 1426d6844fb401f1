"""What a process can ask of an open block device besides reading and writing it: its sizes, partitions, to discard.

Where C puts a result into user space, `arg` is a list, and its first item becomes the result.
"""

from collections.abc import Callable
from typing import Any

from blkmodel.block import blk_lib, genhd, partition_generic
from blkmodel.errors import NotModelled
from blkmodel.fs import block_dev
from blkmodel.include.linux.blkdev import (BLKDEV_DISCARD_SECURE, BLKDEV_ZERO_NOUNMAP, USHRT_MAX, bdev_alignment_offset,
    bdev_get_queue, bdev_logical_block_size, blk_queue_discard, blk_queue_nonrot, disk_part_scan_enabled,
    get_start_sect)
from blkmodel.include.linux.fs import (BLKALIGNOFF, BLKBSZGET, BLKBSZSET, BLKDISCARD, BLKDISCARDZEROES, BLKFLSBUF,
    BLKFRAGET, BLKFRASET, BLKGETNRZONES, BLKGETSIZE, BLKGETSIZE64, BLKGETZONESZ, BLKIOMIN, BLKIOOPT, BLKPBSZGET, BLKPG,
    BLKRAGET, BLKRASET, BLKREPORTZONE, BLKRESETZONE, BLKROGET, BLKROSET, BLKROTATIONAL, BLKRRPART, BLKSECDISCARD,
    BLKSECTGET, BLKSSZGET, BLKTRACESETUP, BLKTRACESTART, BLKTRACESTOP, BLKTRACETEARDOWN, BLKZEROOUT, block_device)
from blkmodel.services import (EBADF, EBUSY, EFAULT, EINVAL, ENOIOCTLCMD, ENOTTY, EOPNOTSUPP, FMODE_EXCL, FMODE_WRITE,
    GFP_KERNEL, HDIO_GETGEO, hd_geometry, i_size_read, put_user, signed_int, truncate_inode_pages_range, unsigned_int,
    unsigned_long)
from blkmodel.sim import PAGE_SIZE


def __blkdev_reread_part(bdev: block_device) -> int:
    """Find a disk's partitions anew. Returns 0, -EINVAL for a partition or a disk that has none, -EBUSY, -EIO."""
    disk = bdev.bd_disk
    if not disk_part_scan_enabled(disk) or bdev is not bdev.bd_contains:
        return -EINVAL
    return partition_generic.rescan_partitions(disk, bdev)


def blkdev_reread_part(bdev: block_device) -> int:
    """Find a disk's partitions anew, while nobody else opens or closes it. Returns 0 or -errno."""
    with bdev.bd_mutex:
        return __blkdev_reread_part(bdev)


def blk_ioctl_discard(bdev: block_device, mode: int, arg: tuple[int, int], flags: int) -> int:
    """Discard a range, arg = (first byte, number of bytes). Returns 0 or -errno."""
    if not mode & FMODE_WRITE:
        return -EBADF
    if not blk_queue_discard(bdev_get_queue(bdev)):
        return -EOPNOTSUPP
    start, length = arg
    # 5.4: the sum of two numbers of 64 bits loses its upper bits; a range that goes round passes here.
    if (start | length) & 511 or unsigned_long(start + length) > i_size_read(bdev.bd_inode):
        return -EINVAL
    truncate_inode_pages_range(bdev.bd_inode.i_mapping, start, start + length - 1)
    return blk_lib.blkdev_issue_discard(bdev, start >> 9, length >> 9, GFP_KERNEL, flags)


def blk_ioctl_zeroout(bdev: block_device, mode: int, arg: tuple[int, int]) -> int:
    """Fill a range with zeroes, arg = (first byte, number of bytes). Returns 0 or -errno."""
    if not mode & FMODE_WRITE:
        return -EBADF
    start, length = arg
    end = unsigned_long(start + length - 1)
    if (start | length) & 511 or end >= i_size_read(bdev.bd_inode) or end < start:
        return -EINVAL
    truncate_inode_pages_range(bdev.bd_inode.i_mapping, start, end)
    return blk_lib.blkdev_issue_zeroout(bdev, start >> 9, length >> 9, GFP_KERNEL, BLKDEV_ZERO_NOUNMAP)


def put_ushort(arg: list[int], val: int) -> int:
    """Put a number of 16 bits into user space. Returns 0 or -EFAULT."""
    return put_user(val & USHRT_MAX, arg)


def put_int(arg: list[int], val: int) -> int:
    """Put a number of 32 bits with a sign into user space. Returns 0 or -EFAULT."""
    return put_user(signed_int(val), arg)


def put_uint(arg: list[int], val: int) -> int:
    """Put a number of 32 bits into user space. Returns 0 or -EFAULT."""
    return put_user(unsigned_int(val), arg)


def put_long(arg: list[int], val: int) -> int:
    """Put a number of 64 bits with a sign into user space. Returns 0 or -EFAULT."""
    return put_user((val + (1 << 63)) % (1 << 64) - (1 << 63), arg)


def put_ulong(arg: list[int], val: int) -> int:
    """Put a number of 64 bits, a long, into user space. Returns 0 or -EFAULT."""
    return put_user(unsigned_long(val), arg)


def put_u64(arg: list[int], val: int) -> int:
    """Put a number of 64 bits into user space. Returns 0 or -EFAULT."""
    return put_user(unsigned_long(val), arg)


def __blkdev_driver_ioctl(bdev: block_device, mode: int, cmd: int, arg: Any) -> int:
    """Let the disk's driver do what `cmd` says. Returns what it says, or -ENOTTY where it does no such thing."""
    disk = bdev.bd_disk
    return disk.fops.ioctl(bdev, mode, cmd, arg) if disk.fops.ioctl is not None else -ENOTTY


def is_unrecognized_ioctl(ret: int) -> bool:
    """Whether an answer of a driver says that it does not know what it was asked for."""
    return ret in (-EINVAL, -ENOTTY, -ENOIOCTLCMD)


def blkdev_flushbuf(bdev: block_device, mode: int, cmd: int, arg: Any) -> int:
    """Write back what is cached of a device, and let it go, unless the driver does that. Returns 0 or -errno."""
    ret = __blkdev_driver_ioctl(bdev, mode, cmd, arg)
    if not is_unrecognized_ioctl(ret):
        return ret
    block_dev.fsync_bdev(bdev)
    block_dev.invalidate_bdev(bdev)
    return 0


def blkdev_getgeo(bdev: block_device, argp: list[hd_geometry]) -> int:
    """Ask the driver for the geometry that a disk claims. Returns 0; -EINVAL without `argp`, -ENOTTY if it has none."""
    if not argp:
        return -EINVAL
    disk = bdev.bd_disk
    if disk.fops.getgeo is None:
        return -ENOTTY
    geo = hd_geometry(start=get_start_sect(bdev))  # the driver may say otherwise
    if ret := disk.fops.getgeo(bdev, geo):
        return ret
    argp[0] = geo
    return 0


def blkdev_roset(bdev: block_device, mode: int, cmd: int, arg: list[int]) -> int:
    """Make a disk or partition read-only, or writable, unless the driver does that. Returns 0 or -errno."""
    ret = __blkdev_driver_ioctl(bdev, mode, cmd, arg)
    if not is_unrecognized_ioctl(ret):
        return ret
    if not arg:
        return -EFAULT
    genhd.set_device_ro(bdev, signed_int(arg[0]))
    return 0


def blkdev_bszset(bdev: block_device, mode: int, argp: list[int]) -> int:
    """Set the size of buffers, which no one else may have claimed. Returns 0 or -errno; -EBUSY where one has."""
    if not argp:
        return -EINVAL
    if not mode & FMODE_EXCL:
        block_dev.bdgrab(bdev)
        if block_dev.blkdev_get(bdev, mode | FMODE_EXCL, bdev) < 0:
            return -EBUSY
    ret = block_dev.set_blocksize(bdev, signed_int(argp[0]))
    if not mode & FMODE_EXCL:
        block_dev.blkdev_put(bdev, mode | FMODE_EXCL)
    return ret


ANSWERS: dict[int, tuple[Callable[[list[int], int], int], Callable[[block_device], int]]] = {
    **dict.fromkeys((BLKRAGET, BLKFRAGET), (
        put_long, lambda bdev: unsigned_long(bdev.bd_bdi.ra_pages * PAGE_SIZE) // 512)),
    BLKROGET: (put_int, lambda bdev: genhd.bdev_read_only(bdev) != 0),
    BLKBSZGET: (put_int, lambda bdev: bdev.bd_block_size), BLKSSZGET: (put_int, bdev_logical_block_size),
    BLKPBSZGET: (put_uint, lambda bdev: bdev_get_queue(bdev).limits.physical_block_size),
    BLKIOMIN: (put_uint, lambda bdev: bdev_get_queue(bdev).limits.io_min),
    BLKIOOPT: (put_uint, lambda bdev: bdev_get_queue(bdev).limits.io_opt),
    BLKALIGNOFF: (put_int, bdev_alignment_offset), BLKDISCARDZEROES: (put_uint, lambda bdev: 0),
    BLKGETZONESZ: (put_uint, lambda bdev: 0), BLKGETNRZONES: (put_uint, lambda bdev: 0),
    BLKSECTGET: (put_ushort, lambda bdev: min(USHRT_MAX, bdev_get_queue(bdev).limits.max_sectors)),
    BLKROTATIONAL: (put_ushort, lambda bdev: not blk_queue_nonrot(bdev_get_queue(bdev))),
    BLKGETSIZE: (put_ulong, lambda bdev: i_size_read(bdev.bd_inode) >> 9),
    BLKGETSIZE64: (put_u64, lambda bdev: i_size_read(bdev.bd_inode)),
}
"""What is asked of every disk: command → how the answer is put into user space, and what it is. No disk has zones."""

NOT_MODELLED = {BLKPG: "BLKPG", BLKTRACESETUP: "BLKTRACESETUP", BLKTRACESTART: "BLKTRACESTART",
                BLKTRACESTOP: "BLKTRACESTOP", BLKTRACETEARDOWN: "BLKTRACETEARDOWN"}
IOC_PR = {0x401870C8: "REGISTER", 0x401070C9: "RESERVE", 0x401070CA: "RELEASE", 0x401870CB: "PREEMPT",
          0x401870CC: "PREEMPT_ABORT", 0x401070CD: "CLEAR"}
"""Partitions by hand, tracing, and reservations where a driver has them: what the kernel can do and the model can't."""


def blkdev_ioctl(bdev: block_device, mode: int, cmd: int, arg: Any) -> int:
    """Do what `cmd` says: what is not for every disk, its driver does. Returns 0 or -errno."""
    if cmd in IOC_PR and bdev.bd_disk.fops.pr_ops is None:
        return -EOPNOTSUPP
    if cmd in NOT_MODELLED or cmd in IOC_PR:
        raise NotModelled(f"the ioctl {NOT_MODELLED.get(cmd) or f'IOC_PR_{IOC_PR[cmd]}'}")
    if cmd in (BLKRAGET, BLKFRAGET) and not arg:
        return -EINVAL
    if cmd in ANSWERS:
        put, ask = ANSWERS[cmd]
        return put(arg, ask(bdev))
    if cmd == BLKFLSBUF:
        return blkdev_flushbuf(bdev, mode, cmd, arg)
    if cmd == BLKROSET:
        return blkdev_roset(bdev, mode, cmd, arg)
    if cmd == BLKRRPART:
        return blkdev_reread_part(bdev)
    if cmd == BLKDISCARD:
        return blk_ioctl_discard(bdev, mode, arg, 0)
    if cmd == BLKSECDISCARD:
        return blk_ioctl_discard(bdev, mode, arg, BLKDEV_DISCARD_SECURE)
    if cmd == BLKZEROOUT:
        return blk_ioctl_zeroout(bdev, mode, arg)
    if cmd in (BLKREPORTZONE, BLKRESETZONE):
        return -ENOTTY
    if cmd == HDIO_GETGEO:
        return blkdev_getgeo(bdev, arg)
    if cmd in (BLKRASET, BLKFRASET):
        bdev.bd_bdi.ra_pages = unsigned_long(arg * 512) // PAGE_SIZE
        return 0
    if cmd == BLKBSZSET:
        return blkdev_bszset(bdev, mode, arg)
    return __blkdev_driver_ioctl(bdev, mode, cmd, arg)
