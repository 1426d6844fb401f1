"""Block devices as whoever opens them sees them. (What an inode and an open file are is in services/files.)"""

from dataclasses import field
from typing import Any

from blkmodel.services.data.list import list_head
from blkmodel.services.devices.backing_dev import noop_backing_dev_info
from blkmodel.sim.structure import Struct, struct

BLKDISCARD, BLKSECDISCARD, BLKZEROOUT = 0x1277, 0x127D, 0x127F


@struct
class block_device(Struct):
    """A disk or partition that is, or may be, open. Its pages are cached on bd_inode.

    bd_openers count those who have it open; while there are any, bd_disk, bd_part and bd_contains (the whole disk's)
    are set. bd_holder is who has it for itself, bd_holders times; bd_claiming who is about to. bd_invalidated: the
    next open scans for partitions.
    """

    bd_dev: int = 0
    bd_openers: int = 0
    bd_inode: Any = None
    bd_super: Any = None
    bd_claiming: Any = None
    bd_holder: Any = None
    bd_holders: int = 0
    bd_write_holder: bool = False
    bd_holder_disks: Any = field(default_factory=list_head)
    bd_contains: Any = None
    bd_block_size: int = 0
    bd_partno: int = 0
    bd_part: Any = None
    bd_part_count: int = 0
    bd_invalidated: int = 0
    bd_disk: Any = None
    bd_queue: Any = None
    bd_bdi: Any = field(default_factory=noop_backing_dev_info)
    bd_list: Any = None
    bd_fsfreeze_count: int = 0


def I_BDEV(of):
    """The block device that an inode of the block devices' own file system is part of."""
    return of._owner.bdev
