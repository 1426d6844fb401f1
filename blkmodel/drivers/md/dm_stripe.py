"""striped: a target whose sectors are spread over several devices, chunk by chunk."""

from collections.abc import Callable
from typing import Any

from blkmodel.block import bio as bio_module, blk_settings
from blkmodel.drivers.md import dm, dm_table
from blkmodel.drivers.md.dm_h import invalid
from blkmodel.drivers.md.dm_target import dm_register_target, dm_unregister_target
from blkmodel.include.linux.blkdev import (BLK_STS_NOTSUPP, REQ_OP_DISCARD, REQ_OP_SECURE_ERASE, REQ_OP_WRITE_SAME,
    REQ_OP_WRITE_ZEROES, REQ_PREFLUSH, REQ_RAHEAD, SECTOR_SHIFT, bio, bio_dev, bio_end_sector, bio_op, bio_set_dev,
    queue_limits)
from blkmodel.include.linux.device_mapper import (DM_ENDIO_DONE, DM_MAPIO_REMAPPED, DM_MAPIO_SUBMITTED,
    DM_TARGET_PASSES_INTEGRITY, DMWARN, STATUSTYPE_TABLE, dm_array_too_big, dm_dev, dm_target, dm_target_offset,
    target_type, to_bytes)
from blkmodel.services import (BUG_ON, EINVAL, ENOMEM, GFP_KERNEL, INIT_WORK, flush_work, format_dev_t, ilog2, kfree,
    kstrtouint, kzalloc, schedule_work, sscanf, work_struct)
from blkmodel.sim import NULL, Struct, sizeof

DM_MSG_PREFIX, DM_IO_ERROR_THRESHOLD = "striped", 15
EACH_STRIPE = (REQ_OP_DISCARD, REQ_OP_SECURE_ERASE, REQ_OP_WRITE_ZEROES, REQ_OP_WRITE_SAME)


class stripe(Struct):
    """One of the devices, from which sector on it is used, and how much I/O of it failed."""

    dev: dm_dev = NULL
    physical_start: int = 0
    error_count: int = 0


class stripe_c(Struct):
    """So many stripes, each of stripe_width sectors, which go to and fro after chunk_size sectors.

    stripes_shift, chunk_size_shift: their logarithms, if they are powers of two; else -1.
    """

    stripes: int = 0
    stripes_shift: int = 0
    stripe_width: int = 0
    chunk_size: int = 0
    chunk_size_shift: int = 0
    ti: dm_target = NULL
    trigger_event: work_struct = NULL
    stripe: list = NULL


def trigger_event(work: work_struct) -> None:
    """Wake those who wait for an event of the device, as I/O of a stripe failed."""
    dm_table.dm_table_event(work.data.ti.table)


def alloc_context(stripes: int) -> stripe_c:
    """Allocate a target's own data; None on failure."""
    if dm_array_too_big(sizeof(stripe_c), sizeof(stripe), stripes):
        return NULL
    if (sc := kzalloc(stripe_c, GFP_KERNEL, sizeof(stripe_c) + sizeof(stripe) * stripes)) is not None:
        sc.stripe = [stripe() for _ in range(stripes)]
        sc.trigger_event = work_struct()
    return sc


def get_stripe(ti: dm_target, sc: stripe_c, stripe: int, argv: list[str]) -> int:
    """Read a stripe's `device start`. Returns 0 or -errno."""
    numbers = sscanf(argv[1], "%llu%c")
    if len(numbers) != 1:
        return -EINVAL
    ret, sc.stripe[stripe].dev = dm_table.dm_get_device(ti, argv[0], dm_table.dm_table_get_mode(ti.table))
    if ret:
        return ret
    sc.stripe[stripe].physical_start = numbers[0]
    return 0


def stripe_ctr(ti: dm_target, argc: int, argv: list[str]) -> int:
    """Make a target of `number_of_stripes chunk_size [device start]…`. Returns 0 or -errno."""
    if argc < 2:
        return invalid(ti, "Not enough arguments")
    error, stripes = kstrtouint(argv[0], 10)
    if error or not stripes:
        return invalid(ti, "Invalid stripe count")
    error, chunk_size = kstrtouint(argv[1], 10)
    if error or not chunk_size:
        return invalid(ti, "Invalid chunk_size")
    width, rest = divmod(ti.len, stripes)
    if rest:
        return invalid(ti, "Target length not divisible by number of stripes")
    if width % chunk_size:
        return invalid(ti, "Target length not divisible by chunk size")
    if argc != 2 + 2 * stripes & 0xFFFFFFFF:
        return invalid(ti, "Not enough destinations specified")
    if (sc := alloc_context(stripes)) is None:
        return invalid(ti, "Memory allocation for striped context failed", -ENOMEM)
    INIT_WORK(sc.trigger_event, trigger_event, sc)
    sc.ti, sc.stripes, sc.stripe_width = ti, stripes, width
    sc.stripes_shift = -1 if stripes & (stripes - 1) else ilog2(stripes)
    if r := dm.dm_set_target_max_io_len(ti, chunk_size):
        kfree(sc)
        return r
    ti.num_flush_bios = ti.num_discard_bios = ti.num_secure_erase_bios = stripes
    ti.num_write_same_bios = ti.num_write_zeroes_bios = stripes
    sc.chunk_size = chunk_size
    sc.chunk_size_shift = -1 if chunk_size & (chunk_size - 1) else ilog2(chunk_size)
    for i in range(stripes):
        if (r := get_stripe(ti, sc, i, argv[2 + 2 * i:])) < 0:
            for j in range(i - 1, -1, -1):
                dm_table.dm_put_device(ti, sc.stripe[j].dev)
            kfree(sc)
            return invalid(ti, "Couldn't parse stripe destination", r)
    ti.private = sc
    return 0


def stripe_dtr(ti: dm_target) -> None:
    """Close the stripes' devices and free what stripe_ctr() allocated."""
    sc = ti.private
    for i in range(sc.stripes):
        dm_table.dm_put_device(ti, sc.stripe[i].dev)
    flush_work(sc.trigger_event)
    kfree(sc)


def stripe_map_sector(sc: stripe_c, sector: int) -> tuple[int, int]:
    """Which stripe a sector is on, and which sector of it. In C both are out-parameters."""
    chunk = dm_target_offset(sc.ti, sector)
    if sc.chunk_size_shift < 0:
        chunk, chunk_offset = divmod(chunk, sc.chunk_size)
    else:
        chunk_offset = chunk & (sc.chunk_size - 1)
        chunk >>= sc.chunk_size_shift
    if sc.stripes_shift < 0:
        chunk, stripe = divmod(chunk, sc.stripes)
    else:
        stripe = chunk & (sc.stripes - 1)
        chunk >>= sc.stripes_shift
    return stripe, chunk * sc.chunk_size + chunk_offset


def stripe_map_range_sector(sc: stripe_c, sector: int, target_stripe: int) -> int:
    """The first sector of a stripe that is not before a sector of the target."""
    stripe, result = stripe_map_sector(sc, sector)
    if stripe == target_stripe:
        return result
    result -= result % sc.chunk_size
    if target_stripe < stripe:
        result += sc.chunk_size
    return result


def stripe_map_range(sc: stripe_c, bio: bio, target_stripe: int) -> int:
    """Make a bio without data one for those of its sectors that are on a stripe; one that has none there ends."""
    begin = stripe_map_range_sector(sc, bio.bi_iter.bi_sector, target_stripe)
    end = stripe_map_range_sector(sc, bio_end_sector(bio), target_stripe)
    if begin < end:
        bio_set_dev(bio, sc.stripe[target_stripe].dev.bdev)
        bio.bi_iter.bi_sector = begin + sc.stripe[target_stripe].physical_start
        bio.bi_iter.bi_size = to_bytes(end - begin)
        return DM_MAPIO_REMAPPED
    bio_module.bio_endio(bio)
    return DM_MAPIO_SUBMITTED


def stripe_map(ti: dm_target, bio: bio) -> int:
    """Send a bio on: to the stripe of its sector or, where each stripe gets a clone, to that of the clone's number."""
    sc = ti.private
    if bio.bi_opf & REQ_PREFLUSH or bio_op(bio) in EACH_STRIPE:
        target_bio_nr = dm.dm_bio_get_target_bio_nr(bio)
        BUG_ON(target_bio_nr >= sc.stripes)
        if not bio.bi_opf & REQ_PREFLUSH:
            return stripe_map_range(sc, bio, target_bio_nr)
        bio_set_dev(bio, sc.stripe[target_bio_nr].dev.bdev)
        return DM_MAPIO_REMAPPED
    stripe, sector = stripe_map_sector(sc, bio.bi_iter.bi_sector)
    bio.bi_iter.bi_sector = sector + sc.stripe[stripe].physical_start
    bio_set_dev(bio, sc.stripe[stripe].dev.bdev)
    return DM_MAPIO_REMAPPED


def stripe_status(ti: dm_target, type: int, status_flags: int) -> str:
    """The devices, and for each whether I/O failed (D) or not (A); or how the target was made."""
    sc = ti.private
    stripes = sc.stripe[:sc.stripes]
    if type == STATUSTYPE_TABLE:
        return f"{sc.stripes} {sc.chunk_size}" + "".join(f" {each.dev.name} {each.physical_start}" for each in stripes)
    names = "".join(f"{each.dev.name} " for each in stripes)
    return f"{sc.stripes} {names}1 " + "".join("D" if each.error_count else "A" for each in stripes)


def stripe_end_io(ti: dm_target, bio: bio, error: int) -> tuple[int, int]:
    """Count failed I/O, and tell user space the first times. Returns (DM_ENDIO_DONE, error)."""
    sc = ti.private
    if not error or bio.bi_opf & REQ_RAHEAD or error == BLK_STS_NOTSUPP:
        return DM_ENDIO_DONE, error
    major_minor = format_dev_t(bio_dev(bio))
    for each in sc.stripe[:sc.stripes]:
        if each.dev.name == major_minor:
            each.error_count += 1
            if each.error_count < DM_IO_ERROR_THRESHOLD:
                schedule_work(sc.trigger_event)
    return DM_ENDIO_DONE, error


def stripe_iterate_devices(ti: dm_target, fn: Callable[..., int], data: Any) -> int:
    """Call fn for each stripe, until it returns another number than 0; return that."""
    sc = ti.private
    for each in sc.stripe[:sc.stripes]:
        if ret := fn(ti, each.dev, each.physical_start, sc.stripe_width, data):
            return ret
    return 0


def stripe_io_hints(ti: dm_target, limits: queue_limits) -> None:
    """Say that a chunk is the least, and a chunk of each stripe the best size of I/O."""
    sc = ti.private
    chunk_size = sc.chunk_size << SECTOR_SHIFT & 0xFFFFFFFF
    blk_settings.blk_limits_io_min(limits, chunk_size)
    blk_settings.blk_limits_io_opt(limits, chunk_size * sc.stripes & 0xFFFFFFFF)


stripe_target = target_type(name="striped", version=(1, 6, 0), features=DM_TARGET_PASSES_INTEGRITY, ctr=stripe_ctr,
                            dtr=stripe_dtr, map=stripe_map, end_io=stripe_end_io, status=stripe_status,
                            iterate_devices=stripe_iterate_devices, io_hints=stripe_io_hints)


def dm_stripe_init() -> int:
    """Register the target type. Returns 0 or -errno."""
    if (r := dm_register_target(stripe_target)) < 0:
        DMWARN("target registration failed")
    return r


def dm_stripe_exit() -> None:
    """Unregister the target type."""
    dm_unregister_target(stripe_target)
