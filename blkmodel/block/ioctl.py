"""What a process can ask of an open block device besides reading and writing it: to discard, or to fill with zeroes."""

from typing import Any

from blkmodel.block import blk_lib
from blkmodel.include.linux.blkdev import BLKDEV_DISCARD_SECURE, BLKDEV_ZERO_NOUNMAP, bdev_get_queue, blk_queue_discard
from blkmodel.include.linux.fs import BLKDISCARD, BLKSECDISCARD, BLKZEROOUT, block_device
from blkmodel.services.base.err import EBADF, EINVAL, ENOTTY, EOPNOTSUPP
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


def __blkdev_driver_ioctl(bdev: block_device, mode: int, cmd: int, arg: Any) -> int:
    """Let the disk's driver do what `cmd` says. Returns what it says, or -ENOTTY where it does no such thing."""
    disk = bdev.bd_disk
    return disk.fops.ioctl(bdev, mode, cmd, arg) if disk.fops.ioctl is not None else -ENOTTY


def blkdev_ioctl(bdev: block_device, mode: int, cmd: int, arg: Any) -> int:
    """Do what `cmd` says: what is not for every disk, its driver does. Returns 0 or -errno."""
    if cmd == BLKDISCARD:
        return blk_ioctl_discard(bdev, mode, arg, 0)
    if cmd == BLKSECDISCARD:
        return blk_ioctl_discard(bdev, mode, arg, BLKDEV_DISCARD_SECURE)
    if cmd == BLKZEROOUT:
        return blk_ioctl_zeroout(bdev, mode, arg)
    return __blkdev_driver_ioctl(bdev, mode, cmd, arg)
