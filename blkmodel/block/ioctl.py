"""What a process can ask of an open block device besides reading and writing it: its sizes, to discard, to flush.

Where C puts a result into user space, `arg` is a list, and its first item becomes the result.
"""

from typing import Any

from blkmodel.block import blk_lib
from blkmodel.fs import block_dev
from blkmodel.include.linux.blkdev import (
    BLKDEV_DISCARD_SECURE, BLKDEV_ZERO_NOUNMAP, bdev_get_queue, bdev_logical_block_size, blk_queue_discard)
from blkmodel.include.linux.fs import (
    BLKDISCARD, BLKFLSBUF, BLKGETSIZE64, BLKSECDISCARD, BLKSSZGET, BLKZEROOUT, block_device)
from blkmodel.include.linux.genhd import get_start_sect
from blkmodel.services.base.arithmetic import signed_int
from blkmodel.services.base.err import EBADF, EINVAL, ENOIOCTLCMD, ENOTTY, EOPNOTSUPP
from blkmodel.services.devices.hdreg import HDIO_GETGEO, hd_geometry
from blkmodel.services.files.file import FMODE_WRITE
from blkmodel.services.files.inode import i_size_read
from blkmodel.services.files.pagemap import truncate_inode_pages_range
from blkmodel.services.memory.mm import GFP_KERNEL


def blk_ioctl_discard(bdev: block_device, mode: int, arg: tuple[int, int], flags: int) -> int:
    """Discard a range, arg = (first byte, number of bytes). Returns 0 or -errno."""
    if not mode & FMODE_WRITE:
        return -EBADF
    if not blk_queue_discard(bdev_get_queue(bdev)):
        return -EOPNOTSUPP
    start, length = arg
    if (start | length) & 511 or start + length > i_size_read(bdev.bd_inode):
        return -EINVAL
    truncate_inode_pages_range(bdev.bd_inode.i_mapping, start, start + length - 1)
    return blk_lib.blkdev_issue_discard(bdev, start >> 9, length >> 9, GFP_KERNEL, flags)


def blk_ioctl_zeroout(bdev: block_device, mode: int, arg: tuple[int, int]) -> int:
    """Fill a range with zeroes, arg = (first byte, number of bytes). Returns 0 or -errno."""
    if not mode & FMODE_WRITE:
        return -EBADF
    start, length = arg
    end = start + length - 1
    if (start | length) & 511 or end >= i_size_read(bdev.bd_inode) or end < start:
        return -EINVAL
    truncate_inode_pages_range(bdev.bd_inode.i_mapping, start, end)
    return blk_lib.blkdev_issue_zeroout(bdev, start >> 9, length >> 9, GFP_KERNEL, BLKDEV_ZERO_NOUNMAP)


def put_int(arg: list[int], val: int) -> int:
    """Put a number of 32 bits with a sign into user space. Returns 0."""
    arg[0] = signed_int(val)
    return 0


def put_u64(arg: list[int], val: int) -> int:
    """Put a number of 64 bits into user space. Returns 0."""
    arg[0] = val
    return 0


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


def blkdev_ioctl(bdev: block_device, mode: int, cmd: int, arg: Any) -> int:
    """Do what `cmd` says: what is not for every disk, its driver does. Returns 0 or -errno."""
    if cmd == BLKFLSBUF:
        return blkdev_flushbuf(bdev, mode, cmd, arg)
    if cmd == BLKDISCARD:
        return blk_ioctl_discard(bdev, mode, arg, 0)
    if cmd == BLKSECDISCARD:
        return blk_ioctl_discard(bdev, mode, arg, BLKDEV_DISCARD_SECURE)
    if cmd == BLKZEROOUT:
        return blk_ioctl_zeroout(bdev, mode, arg)
    if cmd == HDIO_GETGEO:
        return blkdev_getgeo(bdev, arg)
    if cmd == BLKSSZGET:
        return put_int(arg, bdev_logical_block_size(bdev))
    if cmd == BLKGETSIZE64:
        return put_u64(arg, i_size_read(bdev.bd_inode))
    return __blkdev_driver_ioctl(bdev, mode, cmd, arg)
