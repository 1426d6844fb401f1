"""Block devices as whoever opens them sees them (include/linux/fs.h, fs/block_dev.c).

What an inode and an open file are is in services/files; what opens one is known from here, too, as it is in C.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any

from blkmodel.services import (FMODE_READ, FMODE_WRITE, O_RDONLY, O_RDWR, backing_dev_info, filp_close, filp_open,
    list_head, mutex, new_sync_read, new_sync_write, noop_backing_dev_info)
from blkmodel.sim import NULL, Struct

if TYPE_CHECKING:
    from blkmodel.include.linux.genhd import gendisk, hd_struct
    from blkmodel.services import inode, super_block

BLKROSET, BLKROGET, BLKRRPART, BLKGETSIZE, BLKFLSBUF, BLKRASET, BLKRAGET, BLKFRASET, BLKFRAGET, BLKSECTGET = range(
    0x125D, 0x1267)
BLKSSZGET, BLKPG, BLKBSZGET, BLKBSZSET, BLKGETSIZE64 = 0x1268, 0x1269, 0x80081270, 0x40081271, 0x80081272
BLKTRACESETUP, BLKTRACESTART, BLKTRACESTOP, BLKTRACETEARDOWN = 0xC0481273, 0x1274, 0x1275, 0x1276
BLKIOMIN, BLKIOOPT, BLKALIGNOFF, BLKPBSZGET, BLKDISCARDZEROES, BLKROTATIONAL = *range(0x1278, 0x127D), 0x127E
BLKREPORTZONE, BLKRESETZONE, BLKGETZONESZ, BLKGETNRZONES = 0xC0101282, 0x40101283, 0x80041284, 0x80041285
BLKDISCARD, BLKSECDISCARD, BLKZEROOUT = 0x1277, 0x127D, 0x127F


class block_device(Struct):
    """A disk or partition that is, or may be, open. Its pages are cached on bd_inode.

    bd_openers count those who have it open; while there are any, bd_disk, bd_part and bd_contains (the whole disk's)
    are set. bd_holder is who has it for itself, bd_holders times; bd_claiming who is about to. bd_invalidated: the
    next open scans for partitions.
    """

    bd_dev: int = 0
    bd_openers: int = 0
    bd_inode: inode = NULL
    bd_mutex: mutex = field(default_factory=lambda: mutex("&bdev->bd_mutex"))
    bd_super: super_block = NULL
    bd_claiming: Any = None
    bd_holder: Any = None
    bd_holders: int = 0
    bd_write_holder: bool = False
    bd_holder_disks: list_head = field(default_factory=list_head)
    bd_contains: block_device = NULL
    bd_block_size: int = 0
    bd_partno: int = 0
    bd_part: hd_struct = NULL
    bd_part_count: int = 0
    bd_invalidated: int = 0
    bd_disk: gendisk = NULL
    bd_bdi: backing_dev_info = field(default_factory=noop_backing_dev_info)
    bd_list: list_head = NULL
    bd_fsfreeze_count: int = 0
    bd_fsfreeze_mutex: mutex = field(default_factory=lambda: mutex("&bdev->bd_fsfreeze_mutex"))


def I_BDEV(of: inode) -> block_device:
    """The block device that an inode of the block devices' own file system is part of."""
    return of._owner.bdev
