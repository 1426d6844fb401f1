"""Flakey: a device that works for some seconds, and for some it does not: to test what stands on it.

While it is down it fails all I/O; or drops writes, or fails them only; or changes a byte. Of reads it changes none,
though it says so: when a read has come back its bio has no bytes left for corrupt_bio_data() to look at.
"""

from collections.abc import Callable
from typing import Any

from blkmodel.block import bio as block_bio
from blkmodel.drivers.md import dm, dm_table
from blkmodel.drivers.md.dm_h import invalid, registered
from blkmodel.drivers.md.dm_target import dm_register_target, dm_unregister_target
from blkmodel.include.linux.blkdev import (BLK_STS_IOERR, READ, REQ_OP_ZONE_RESET, SECTOR_SHIFT, UINT_MAX, WRITE, bio,
    bio_data_dir, bio_for_each_segment, bio_has_data, bio_io_error, bio_op, bio_sectors, bio_set_dev)
from blkmodel.include.linux.device_mapper import (DM_ENDIO_DONE, DM_MAPIO_KILL, DM_MAPIO_REMAPPED, DM_MAPIO_SUBMITTED,
    STATUSTYPE_TABLE, dm_arg, dm_arg_set, dm_dev, dm_target, dm_target_offset, target_type)
from blkmodel.include.linux.fs import block_device
from blkmodel.services import (BUG_ON, ENOMEM, GFP_KERNEL, HZ, THIS_MODULE, i_size_read, jiffies, kfree, kzalloc,
    sscanf, test_bit, unsigned_int)
from blkmodel.sim import NULL, Struct, sizeof

DM_MSG_PREFIX = "flakey"
DROP_WRITES, ERROR_WRITES = range(2)
FEATURES = ("drop_writes", "error_writes")


class flakey_c(Struct, size=56):
    """A target: up for up_interval seconds, down for down_interval, and so on from tick start_time. flags: bits
    DROP_WRITES, ERROR_WRITES. corrupt_bio_byte: which byte of a bio is to be changed, from 1 (0: none)."""

    dev: dm_dev = NULL
    start_time: int = 0
    start: int = 0
    up_interval: int = 0
    down_interval: int = 0
    flags: int = 0
    corrupt_bio_byte: int = 0
    corrupt_bio_rw: int = 0
    corrupt_bio_value: int = 0
    corrupt_bio_flags: int = 0


class per_bio_data(Struct, size=1):
    """Whether a bio came while the device was down."""

    bio_submitted: bool = False
    _bio: bio = NULL


FEATURE_ARGS = (dm_arg(0, 6, "Invalid number of feature args"), dm_arg(1, UINT_MAX, "Invalid corrupt bio byte"),
                dm_arg(0, 255, "Invalid corrupt value to write into bio byte (0-255)"),
                dm_arg(0, UINT_MAX, "Invalid corrupt bio flags mask"))
# 5.4: both intervals are read by the first of two entries, so a wrong down interval is called a wrong up interval.
INTERVAL_ARG = dm_arg(0, UINT_MAX, "Invalid up interval")


def parse_features(arguments: dm_arg_set, fc: flakey_c, ti: dm_target) -> int:
    """[<number of words> <features>]. Returns 0 or -errno."""
    if not arguments.argc:
        return 0
    r, argc = dm_table.dm_read_arg_group(FEATURE_ARGS[0], arguments, ti)
    if r:
        return r
    while argc:
        arg_name = dm_table.dm_shift_arg(arguments)
        argc -= 1
        if arg_name is None:
            return invalid(ti, "Insufficient feature arguments")

        if arg_name.lower() in FEATURES:
            bit = FEATURES.index(arg_name.lower())
            if test_bit(bit, fc.flags):
                return invalid(ti, f"Feature {FEATURES[bit]} duplicated")
            fc.flags |= 1 << bit
            if test_bit(1 - bit, fc.flags):
                return invalid(ti, f"Feature {FEATURES[bit]} conflicts with feature {FEATURES[1 - bit]}")
        elif arg_name.lower() == "corrupt_bio_byte":
            if not argc:
                return invalid(ti, "Feature corrupt_bio_byte requires parameters")
            r, fc.corrupt_bio_byte = dm_table.dm_read_arg(FEATURE_ARGS[1], arguments, ti)
            if r:
                return r
            direction = dm_table.dm_shift_arg(arguments)
            # 5.4: the word is used without a look whether there is one. Mended by 98dba02d9a93 (6.4).
            BUG_ON(direction is None, "flakey looks for the direction of corrupt_bio_byte behind the table's end")
            if direction.lower() not in ("w", "r"):
                return invalid(ti, "Invalid corrupt bio direction (r or w)")
            fc.corrupt_bio_rw = WRITE if direction.lower() == "w" else READ
            r, fc.corrupt_bio_value = dm_table.dm_read_arg(FEATURE_ARGS[2], arguments, ti)
            if r:
                return r
            r, fc.corrupt_bio_flags = dm_table.dm_read_arg(FEATURE_ARGS[3], arguments, ti)
            if r:
                return r
            argc -= 4  # 5.4: where these were not announced, the number wraps round, and the words run out
        else:
            return invalid(ti, "Unrecognised flakey feature requested")

    for bit, feature in enumerate(FEATURES):
        if test_bit(bit, fc.flags) and fc.corrupt_bio_rw == WRITE:
            return invalid(ti, f"{feature} is incompatible with corrupt_bio_byte with the WRITE flag set")
    return 0


def flakey_ctr(ti: dm_target, argc: int, argv: list[str]) -> int:
    """<device> <first sector> <seconds up> <seconds down> [<features>]. Returns 0 or -errno."""
    arguments = dm_arg_set(argc, argv)
    if argc < 4:
        return invalid(ti, "Invalid argument count")
    if (fc := kzalloc(flakey_c, GFP_KERNEL)) is None:
        return invalid(ti, "Cannot allocate context", -ENOMEM)
    fc.start_time = jiffies()

    devname = dm_table.dm_shift_arg(arguments)
    found = sscanf(dm_table.dm_shift_arg(arguments), "%llu%c")
    r = invalid(ti, "Invalid device sector") if len(found) != 1 else 0
    if not r:
        fc.start = found[0]
        r, fc.up_interval = dm_table.dm_read_arg(INTERVAL_ARG, arguments, ti)
    if not r:
        r, fc.down_interval = dm_table.dm_read_arg(INTERVAL_ARG, arguments, ti)
    if not r:
        if not (both := unsigned_int(fc.up_interval + fc.down_interval)):
            r = invalid(ti, "Total (up + down) interval is zero")
        elif both < fc.up_interval:
            r = invalid(ti, "Interval overflow")
    if not r:
        r = parse_features(arguments, fc, ti)
    if not r:
        r, fc.dev = dm_table.dm_get_device(ti, devname, dm_table.dm_table_get_mode(ti.table))
        if r:
            ti.error = "Device lookup failed"
    if r:
        kfree(fc)
        return r
    ti.num_flush_bios = ti.num_discard_bios = 1
    ti.per_io_data_size = sizeof(per_bio_data)
    ti.private = fc
    return 0


def flakey_dtr(ti: dm_target) -> None:
    """Close the device below and free what flakey_ctr() allocated."""
    fc = ti.private
    dm_table.dm_put_device(ti, fc.dev)
    kfree(fc)


def flakey_map_sector(ti: dm_target, bi_sector: int) -> int:
    """The sector below that one of the mapped device is."""
    return ti.private.start + dm_target_offset(ti, bi_sector)


def flakey_map_bio(ti: dm_target, bio: bio) -> None:
    """Make a bio one for the device below: its device, and its sector where it has one."""
    bio_set_dev(bio, ti.private.dev.bdev)
    if bio_sectors(bio) or bio_op(bio) == REQ_OP_ZONE_RESET:
        bio.bi_iter.bi_sector = flakey_map_sector(ti, bio.bi_iter.bi_sector)


def corrupt_bio_data(bio: bio, fc: flakey_c) -> None:
    """Change one byte of a bio's data, on whichever page it is; a bio that is too short stays as it is."""
    at = fc.corrupt_bio_byte - 1
    if not bio_has_data(bio):
        return
    for bvec in bio_for_each_segment(bio):
        if bvec.bv_len > at:
            # 5.4: it is the memory of whoever writes that changes, not a copy. Mended in 6.5.
            bvec.bv_page.write(bvec.bv_offset + at, bytes((fc.corrupt_bio_value,)))
            break
        at -= bvec.bv_len


def flakey_map(ti: dm_target, bio: bio) -> int:
    """Send a bio down, or, while the device is down, fail it, drop it or change it. Returns DM_MAPIO_*."""
    fc = ti.private
    pb = dm.dm_per_bio_data(bio, sizeof(per_bio_data), per_bio_data)
    pb.bio_submitted = False
    elapsed = unsigned_int((jiffies() - fc.start_time) // HZ)
    up = elapsed % unsigned_int(fc.up_interval + fc.down_interval) < fc.up_interval
    if bio_op(bio) != REQ_OP_ZONE_RESET and not up:
        pb.bio_submitted = True
        # A read is failed at once, or after it has come back.
        if bio_data_dir(bio) == READ:
            if not (fc.corrupt_bio_byte or test_bit(DROP_WRITES, fc.flags) or test_bit(ERROR_WRITES, fc.flags)):
                return DM_MAPIO_KILL
        elif test_bit(DROP_WRITES, fc.flags):
            block_bio.bio_endio(bio)
            return DM_MAPIO_SUBMITTED
        elif test_bit(ERROR_WRITES, fc.flags):
            bio_io_error(bio)
            return DM_MAPIO_SUBMITTED
        elif fc.corrupt_bio_byte and fc.corrupt_bio_rw == WRITE:
            if bio.bi_opf & fc.corrupt_bio_flags == fc.corrupt_bio_flags:
                corrupt_bio_data(bio, fc)
        else:
            return DM_MAPIO_KILL
    flakey_map_bio(ti, bio)
    return DM_MAPIO_REMAPPED


def flakey_end_io(ti: dm_target, bio: bio, error: int) -> tuple[int, int]:
    """A bio has come back: change or fail a read of when the device was down. Returns (DM_ENDIO_DONE, its status)."""
    fc = ti.private
    pb = dm.dm_per_bio_data(bio, sizeof(per_bio_data), per_bio_data)
    if bio_op(bio) == REQ_OP_ZONE_RESET:
        return DM_ENDIO_DONE, error
    if not error and pb.bio_submitted and bio_data_dir(bio) == READ:
        if (fc.corrupt_bio_byte and fc.corrupt_bio_rw == READ
                and bio.bi_opf & fc.corrupt_bio_flags == fc.corrupt_bio_flags):
            corrupt_bio_data(bio, fc)  # 5.4: changes nothing, as bi_iter of a bio that is done has no bytes left
        elif not test_bit(DROP_WRITES, fc.flags) and not test_bit(ERROR_WRITES, fc.flags):
            error = BLK_STS_IOERR
    return DM_ENDIO_DONE, error


def flakey_status(ti: dm_target, type: int, status_flags: int) -> str:
    """Return the table's words (STATUSTYPE_TABLE); there is no other status."""
    fc = ti.private
    if type != STATUSTYPE_TABLE:
        return ""
    features: list[Any] = [feature for bit, feature in enumerate(FEATURES) if test_bit(bit, fc.flags)]
    if fc.corrupt_bio_byte:
        features += ["corrupt_bio_byte", fc.corrupt_bio_byte, "w" if fc.corrupt_bio_rw == WRITE else "r",
                     fc.corrupt_bio_value, fc.corrupt_bio_flags]
    words = (fc.dev.name, fc.start, fc.up_interval, fc.down_interval, len(features), *features)
    return "".join(f"{word} " for word in words)


def flakey_prepare_ioctl(ti: dm_target) -> tuple[int, block_device]:
    """The device that an ioctl is passed to. Returns (0, it), or (1, it) where the target is only a part of it."""
    fc = ti.private
    return int(bool(fc.start or ti.len != i_size_read(fc.dev.bdev.bd_inode) >> SECTOR_SHIFT)), fc.dev.bdev


def flakey_iterate_devices(ti: dm_target, fn: Callable[..., int], data: Any) -> int:
    """Call fn(ti, dev, start, len, data) for the device below. Returns what that returns."""
    fc = ti.private
    return fn(ti, fc.dev, fc.start, ti.len, data)


flakey_target = target_type(name="flakey", version=(1, 5, 0), module=THIS_MODULE, ctr=flakey_ctr, dtr=flakey_dtr,
                            map=flakey_map, end_io=flakey_end_io, status=flakey_status,
                            prepare_ioctl=flakey_prepare_ioctl, iterate_devices=flakey_iterate_devices)


def dm_flakey_init() -> int:
    """Load the module: register the target type. Returns 0 or -errno."""
    return registered(dm_register_target(flakey_target))


def dm_flakey_exit() -> None:
    """Unload the module: unregister the target type."""
    dm_unregister_target(flakey_target)
