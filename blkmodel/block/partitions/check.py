"""Scanning a disk for partitions: one parser after the other, until one knows the table."""

from blkmodel.block import partition_generic
from blkmodel.block.partitions import efi, msdos
from blkmodel.block.partitions.check_h import parsed_partition, parsed_partitions
from blkmodel.include.linux.fs import block_device
from blkmodel.include.linux.genhd import disk_max_parts, gendisk
from blkmodel.services import (ENOSPC, ERR_PTR, GFP_KERNEL, __free_page, alloc_page, array_in_bytes, kfree, kzalloc,
    pr_info)
from blkmodel.sim import NULL, sizeof


def allocate_partitions(hd: gendisk) -> parsed_partitions:
    """Allocate room for what a disk's scan can find; None on failure."""
    if (state := kzalloc(parsed_partitions, GFP_KERNEL)) is None:
        return NULL
    nr = disk_max_parts(hd)
    state.parts = array_in_bytes(nr, parsed_partition, nr * sizeof(parsed_partition), GFP_KERNEL)
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
    """Scan a disk, and log what partitions there are. Returns what was found, which the caller frees; None for no
    table, or no memory; or an error pointer. (In C what a parser left behind that found no table is wiped away: the
    two that the recorded kernel has leave nothing.)"""
    if (state := allocate_partitions(hd)) is None:
        return NULL
    state._pp_buf = alloc_page(GFP_KERNEL)
    if state._pp_buf is None:
        free_partitions(state)
        return NULL
    state.bdev = bdev
    name = partition_generic.disk_name(hd, 0)
    state.name = "p" if name[-1].isdigit() else name
    state.pp_buf = f" {name}:"
    err = 0
    for parser in (efi.efi_partition, msdos.msdos_partition):
        if (res := parser(state)) > 0:
            pr_info(state.pp_buf)
            __free_page(state._pp_buf)
            return state
        err = res or err
    if state.access_beyond_eod:
        err = -ENOSPC
    if err:
        pr_info(state.pp_buf + " unable to read partition table")
    __free_page(state._pp_buf)
    free_partitions(state)
    return ERR_PTR(err) if err else NULL
