"""linear: a target whose sectors are those of a device below, from one of them on."""

from collections.abc import Callable
from typing import Any

from blkmodel.drivers.md import dm_table
from blkmodel.drivers.md.dm_h import invalid, registered
from blkmodel.drivers.md.dm_target import dm_register_target, dm_unregister_target
from blkmodel.include.linux.blkdev import REQ_OP_ZONE_RESET, SECTOR_SHIFT, bio, bio_op, bio_sectors, bio_set_dev
from blkmodel.include.linux.device_mapper import (DM_MAPIO_REMAPPED, DM_TARGET_PASSES_INTEGRITY, STATUSTYPE_TABLE,
    dm_dev, dm_target, dm_target_offset, target_type)
from blkmodel.include.linux.fs import block_device
from blkmodel.services import ENOMEM, GFP_KERNEL, i_size_read, kfree, kzalloc, sscanf, unsigned_long
from blkmodel.sim import NULL, Struct

DM_MSG_PREFIX = "linear"


class linear_c(Struct):
    """The device below, and the sector of it at which the target begins."""

    dev: dm_dev = NULL
    start: int = 0


def linear_ctr(ti: dm_target, argc: int, argv: list[str]) -> int:
    """Make a target of `device start`. Returns 0 or -errno."""
    if argc != 2:
        return invalid(ti, "Invalid argument count")
    if (lc := kzalloc(linear_c, GFP_KERNEL)) is None:
        return invalid(ti, "Cannot allocate linear context", -ENOMEM)
    numbers = sscanf(argv[1], "%llu%c")
    if len(numbers) != 1:
        kfree(lc)
        return invalid(ti, "Invalid device sector")
    lc.start = numbers[0]
    ret, lc.dev = dm_table.dm_get_device(ti, argv[0], dm_table.dm_table_get_mode(ti.table))
    if ret:
        kfree(lc)
        return invalid(ti, "Device lookup failed", ret)
    ti.num_flush_bios = ti.num_discard_bios = ti.num_secure_erase_bios = 1
    ti.num_write_same_bios = ti.num_write_zeroes_bios = 1
    ti.private = lc
    return 0


def linear_dtr(ti: dm_target) -> None:
    """Close the device below and free what linear_ctr() allocated."""
    lc = ti.private
    dm_table.dm_put_device(ti, lc.dev)
    kfree(lc)


def linear_map_sector(ti: dm_target, bi_sector: int) -> int:
    """The sector of the device below that a sector is."""
    return unsigned_long(ti.private.start + dm_target_offset(ti, bi_sector))


def linear_map_bio(ti: dm_target, bio: bio) -> None:
    """Make a bio one for the device below: its device, and its sector where it has one."""
    bio_set_dev(bio, ti.private.dev.bdev)
    if bio_sectors(bio) or bio_op(bio) == REQ_OP_ZONE_RESET:
        bio.bi_iter.bi_sector = linear_map_sector(ti, bio.bi_iter.bi_sector)


def linear_map(ti: dm_target, bio: bio) -> int:
    """Send a bio on to the device below. Returns DM_MAPIO_REMAPPED."""
    linear_map_bio(ti, bio)
    return DM_MAPIO_REMAPPED


def linear_status(ti: dm_target, type: int, status_flags: int) -> str:
    """Return the table's words (STATUSTYPE_TABLE); there is no other status."""
    lc = ti.private
    return f"{lc.dev.name} {lc.start}" if type == STATUSTYPE_TABLE else ""


def linear_prepare_ioctl(ti: dm_target) -> tuple[int, block_device]:
    """The device below answers ioctls; returns (1 where only a part of it is used, it)."""
    lc = ti.private
    return int(bool(lc.start or ti.len != i_size_read(lc.dev.bdev.bd_inode) >> SECTOR_SHIFT)), lc.dev.bdev


def linear_iterate_devices(ti: dm_target, fn: Callable[..., int], data: Any) -> int:
    """Call fn(ti, dev, start, len, data) for the one area below. Returns what it returns."""
    lc = ti.private
    return fn(ti, lc.dev, lc.start, ti.len, data)


linear_target = target_type(name="linear", version=(1, 4, 0), features=DM_TARGET_PASSES_INTEGRITY, ctr=linear_ctr,
                            dtr=linear_dtr, map=linear_map, status=linear_status, prepare_ioctl=linear_prepare_ioctl,
                            iterate_devices=linear_iterate_devices)


def dm_linear_init() -> int:
    """Register the target type. Returns 0 or -errno."""
    return registered(dm_register_target(linear_target))


def dm_linear_exit() -> None:
    """Unregister the target type."""
    dm_unregister_target(linear_target)
