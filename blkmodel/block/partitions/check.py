"""Scanning a disk for partitions: one parser after the other, until one knows the table."""

from blkmodel.block import partition_generic
from blkmodel.block.partitions import msdos
from blkmodel.block.partitions.check_h import PARSED_PARTITION_SIZE, parsed_partitions
from blkmodel.include.linux.fs import block_device
from blkmodel.include.linux.genhd import disk_max_parts, gendisk
from blkmodel.services.base.err import ENOSPC, ERR_PTR
from blkmodel.services.base.printk import pr_info
from blkmodel.services.memory.mm import GFP_KERNEL, __free_page, alloc_page
from blkmodel.services.memory.slab import kcalloc, kfree, kzalloc
from blkmodel.sim.structure import NULL


def allocate_partitions(hd: gendisk) -> parsed_partitions:
    """Allocate room for what a disk's scan can find; None on failure."""
    if (state := kzalloc(parsed_partitions, GFP_KERNEL)) is None:
        return NULL
    nr = disk_max_parts(hd)
    state.parts = kcalloc(nr * PARSED_PARTITION_SIZE, "u8", GFP_KERNEL)
    if state.parts is None:
        kfree(state)
        return NULL
    state.limit = nr
    return state


def free_partitions(state: parsed_partitions) -> None:
    """Free what allocate_partitions() allocated."""
    kfree(state.parts)
    kfree(state)


def check_partition(hd: gendisk, bdev: block_device) -> parsed_partitions:
    """Scan a disk. Returns what was found; None for nothing, or no memory; or an error pointer."""
    if (state := allocate_partitions(hd)) is None:
        return NULL
    state._pp_buf = alloc_page(GFP_KERNEL)
    if state._pp_buf is None:
        free_partitions(state)
        return NULL
    state.bdev = bdev
    state.name = partition_generic.disk_name(hd, 0)
    state.pp_buf = f" {state.name}:"
    res = 0
    for parser in (msdos.msdos_partition,):
        res = parser(state) or res
    if state.access_beyond_eod:
        res = -ENOSPC
    if res:
        pr_info(state.pp_buf + " unable to read partition table")
    __free_page(state._pp_buf)
    free_partitions(state)
    return ERR_PTR(res) if res else NULL
