"""Tables: which sectors of a mapped device are which target's, and what the device can do as a consequence.

A table is filled target by target, in order and without gaps; dm_table_complete() then makes it ready for use. The
last sectors of its targets (`highs`) are the leaves of a tree in which each node has KEYS_PER_NODE keys, a cache line
of them; so a target is found in few steps. The reference kernel has no integrity data, no direct access to memory and
no zoned disks; what is asked about them is asked, and answered so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any

from blkmodel.block import blk_core, blk_mq, blk_settings
from blkmodel.block.partition_generic import bdevname
from blkmodel.drivers.md import dm
from blkmodel.drivers.md.dm_core_h import mapped_device
from blkmodel.drivers.md.dm_h import dm_dev_internal, dm_target_hybrid, dm_target_request_based, invalid, refused
from blkmodel.drivers.md.dm_target import dm_get_target_type, dm_put_target_type
from blkmodel.errors import NotModelled
from blkmodel.fs import block_dev
from blkmodel.include.linux.blkdev import (BLK_ZONED_NONE, QUEUE_FLAG_ADD_RANDOM, QUEUE_FLAG_DAX, QUEUE_FLAG_DISCARD,
    QUEUE_FLAG_FUA, QUEUE_FLAG_NONROT, QUEUE_FLAG_SECERASE, QUEUE_FLAG_WC, SECTOR_SHIFT, bdev_get_queue,
    blk_queue_add_random, blk_queue_discard, blk_queue_nonrot, blk_queue_secure_erase, blk_queue_zoned_model,
    copy_limits, gendisk, queue_is_mq, queue_limits, request_queue)
from blkmodel.include.linux.device_mapper import (DM_TYPE_BIO_BASED, DM_TYPE_DAX_BIO_BASED, DM_TYPE_NONE,
    DM_TYPE_NVME_BIO_BASED, DM_TYPE_REQUEST_BASED, DMERR, DMWARN, dm_arg, dm_arg_set, dm_dev, dm_div_up, dm_round_up,
    dm_target, dm_target_always_writeable, dm_target_is_immutable, dm_target_is_wildcard, dm_target_needs_singleton,
    dm_target_passes_integrity, target_type)
from blkmodel.reference.omission import no_chapter
from blkmodel.services import (BDI_CAP_STABLE_WRITES, BUG_ON, EINVAL, ENODEV, ENOMEM, EOVERFLOW, FMODE_WRITE,
    GFP_KERNEL, GFP_NOIO, IS_ERR, MAJOR, MINOR, MKDEV, bdi_cap_stable_pages_required, bdi_congested, each_byte,
    i_size_read, isspace, kcalloc, kfree, kzalloc, list_add, list_del_init, list_empty, list_head, name_to_dev_t,
    of_bytes, skip_spaces, sscanf, unsigned_long, vfree, vzalloc)
from blkmodel.sim import NULL, Array, Struct, place, place_array, sizeof
from blkmodel.sim.loops import up_to

DM_MSG_PREFIX = "table"
OMITTED = no_chapter("""device_not_zoned_model dm_table_supports_zoned_model device_not_matches_zone_sectors
    dm_table_add_target_callbacks dm_table_device_name device_not_dax_capable
    device_not_dax_synchronous_capable upgrade_mode""")
MAX_DEPTH = 16
NODE_SIZE = 64  # L1_CACHE_BYTES
KEYS_PER_NODE = NODE_SIZE // sizeof("u64")
CHILDREN_PER_NODE, NO_SECTOR, UINT_MAX = KEYS_PER_NODE + 1, (1 << 64) - 1, 0xFFFFFFFF
ULONG_MAX, PAGE_SHIFT = NO_SECTOR, 12
PRESUSPEND, PRESUSPEND_UNDO, POSTSUSPEND = range(3)


class dm_table(Struct):
    """Which targets a mapped device consists of: num_targets of num_allocated, in the order of their sectors.

    type: DM_TYPE_*. highs: the last sector of each target. index: the levels of the tree, from the root to the leaves,
    which are the highs; counts: the nodes of each; `depth` levels. mode: FMODE_*. devices: what its targets use,
    as dm_dev_internal. event_fn(event_context) is called when a target has something to tell. mempools are what the
    device's clones will be from, until the table is made live.
    """

    md: mapped_device = NULL
    type: int = DM_TYPE_NONE
    depth: int = 0
    counts: list[int] = field(default_factory=lambda: [0] * MAX_DEPTH)
    index: list[Any] = field(default_factory=lambda: [None] * MAX_DEPTH)
    num_targets: int = 0
    num_allocated: int = 0
    highs: Array = NULL
    targets: Array = NULL
    immutable_target_type: target_type = NULL
    integrity_supported: bool = False
    singleton: bool = False
    mode: int = 0
    devices: list_head = field(default_factory=list_head)
    event_fn: Callable[[Any], None] = NULL
    event_context: Any = NULL
    mempools: dm.dm_md_mempools = NULL


# The tree of targets

def int_log(n: int, base: int) -> int:
    """How many times n is to be divided by base, each time rounded up, until it is 1."""
    result = 0
    while n > 1:
        n = dm_div_up(n, base)
        result += 1
    return result


def get_child(n: int, k: int) -> int:
    """The node, on the level below, of node n's key k."""
    return n * CHILDREN_PER_NODE + k


def get_node(t: dm_table, level: int, n: int) -> int:
    """Where the keys of node n begin in the array of a level."""
    return n * KEYS_PER_NODE


def high(t: dm_table, level: int, n: int) -> int:
    """The highest key below node n of a level; one beyond all sectors where there is no such node."""
    while level < t.depth - 1:
        n = get_child(n, CHILDREN_PER_NODE - 1)
        level += 1
    return NO_SECTOR if n >= t.counts[level] else t.index[level][get_node(t, level, n) + KEYS_PER_NODE - 1]


def setup_btree_index(level: int, t: dm_table) -> int:
    """Fill a level of the tree with the highest keys of the level below."""
    for n in range(t.counts[level]):
        node = get_node(t, level, n)
        for k in range(KEYS_PER_NODE):
            t.index[level][node + k] = high(t, level + 1, get_child(n, k))
    return 0


def dm_vcalloc(nmemb: int, elem_size: int) -> int:
    """Allocate zeroed memory for so many elements. Returns its address, or 0."""
    return 0 if nmemb > ULONG_MAX // elem_size else vzalloc(nmemb * elem_size)


def alloc_targets(t: dm_table, num: int) -> int:
    """Allocate both arrays of a table, the highs and behind them the targets. Returns 0 or -ENOMEM.

    A target is placed in its array when it is added.
    """
    if not (addr := dm_vcalloc(num, sizeof(dm_target) + sizeof("u64"))):
        return -ENOMEM
    vfree(t.highs)
    t.num_allocated = num
    t.highs = place_array("u64", [NO_SECTOR] * num, addr)
    t.targets = place_array("dm_target", [None] * num, addr + num * sizeof("u64"))
    return 0


def dm_table_create(mode: int, num_targets: int, md: mapped_device) -> tuple[int, dm_table]:
    """Make an empty table with room for so many targets. Returns (0, table), or (-ENOMEM, None).

    In C the table is an out-parameter.
    """
    if (t := kzalloc(dm_table, GFP_KERNEL)) is None:
        return -ENOMEM, NULL
    num_targets = dm_round_up(num_targets or KEYS_PER_NODE, KEYS_PER_NODE) & UINT_MAX
    if not num_targets or alloc_targets(t, num_targets):
        kfree(t)
        return -ENOMEM, NULL
    t.mode, t.md = mode, md
    return 0, t


def free_devices(devices: list_head, md: mapped_device) -> None:
    """Close what a table's targets have left open."""
    for dd in devices:
        DMWARN(f"{dm.dm_device_name(md)}: dm_table_destroy: dm_put_device call missing for {dd.dm_dev.name}")
        dm.dm_put_table_device(md, dd.dm_dev)
        kfree(dd)


def dm_table_destroy(t: dm_table) -> None:
    """Destroy a table that is not live, or one that was never completed, with its targets."""
    if t is None:
        return
    if t.depth >= 2:
        vfree(t.index[t.depth - 2])
    for tgt in t.targets[:t.num_targets]:
        if tgt.type.dtr is not None:
            tgt.type.dtr(tgt)
        dm_put_target_type(tgt.type)
    vfree(t.highs)
    free_devices(t.devices, t.md)
    dm.dm_free_md_mempools(t.mempools)
    kfree(t)


# Devices below

def find_device(devices: list_head, dev: int) -> dm_dev_internal:
    """The entry of a list of devices for a device number, or None."""
    return next((dd for dd in devices if dd.dm_dev.bdev.bd_dev == dev), NULL)


def device_area_is_invalid(ti: dm_target, dev: dm_dev, start: int, len: int, data: queue_limits) -> int:
    """Whether a target can't have these sectors of a device below; the log says why. data: the target's limits."""
    bdev = dev.bdev
    dev_size = i_size_read(bdev.bd_inode) >> SECTOR_SHIFT
    block_sectors = data.logical_block_size >> SECTOR_SHIFT

    def wrong(line: str) -> int:
        DMWARN(f"{dm.dm_device_name(ti.table.md)}: {line}")
        return 1

    if (q := bdev_get_queue(bdev)) is None or q.make_request_fn is None:
        return wrong(f"{bdevname(bdev)} is not yet initialised: start={start}, len={len}, dev_size={dev_size}")
    if not dev_size:
        return 0
    if start >= dev_size or unsigned_long(start + len) > dev_size:
        return wrong(f"{bdevname(bdev)} too small for target: start={start}, len={len}, dev_size={dev_size}")
    if block_sectors <= 1:
        return 0
    for what, sectors in (("start", start), ("len", len)):
        if sectors & (block_sectors - 1):
            return wrong(f"{what}={sectors} not aligned to h/w logical block size {data.logical_block_size} of "
                         f"{bdevname(bdev)}")
    return 0


def dm_get_dev_t(path: str) -> int:
    """The number of the block device that a path is the node of, or that it names otherwise; 0 for none."""
    if IS_ERR(bdev := block_dev.lookup_bdev(path)):
        return name_to_dev_t(path)
    dev = bdev.bd_dev
    block_dev.bdput(bdev)
    return dev


def dm_get_device(ti: dm_target, path: str, mode: int) -> tuple[int, dm_dev]:
    """Open a device for a target, by path or as "major:minor", unless its table has it open already.

    Returns (0, dm_dev), or (-errno, None): -ENODEV for no such path, -EOVERFLOW for numbers that are none, or what
    opening it brings. In C the dm_dev is an out-parameter.
    """
    t = ti.table
    BUG_ON(t is None)
    numbers = sscanf(path, "%u:%u%c")
    if len(numbers) == 2:
        dev = MKDEV(*numbers)
        if [MAJOR(dev), MINOR(dev)] != numbers:
            return -EOVERFLOW, NULL
    else:
        if not (dev := dm_get_dev_t(path)):
            return -ENODEV, NULL

    if (dd := find_device(t.devices, dev)) is None:
        if (dd := kzalloc(dm_dev_internal, GFP_KERNEL)) is None:
            return -ENOMEM, NULL
        r, dd.dm_dev = dm.dm_get_table_device(t.md, dev, mode)
        if r:
            kfree(dd)
            return r, NULL
        dd.count = 1
        list_add(dd, t.devices, "list")
    else:
        BUG_ON(dd.dm_dev.mode != mode | dd.dm_dev.mode, "no target of the model wants more than the others of a table")
        dd.count += 1
    return 0, dd.dm_dev


def dm_set_device_limits(ti: dm_target, dev: dm_dev, start: int, len: int, data: queue_limits) -> int:
    """Lower the limits `data` to what a device below can meet from sector `start` on. Returns 0."""
    bdev = dev.bdev
    if (q := bdev_get_queue(bdev)) is None:
        b = bdevname(bdev)  # first: the compiler evaluates what a function is given from the last on
        DMWARN(f"{dm.dm_device_name(ti.table.md)}: Cannot set limits for nonexistent device {b}")
        return 0
    if blk_settings.bdev_stack_limits(data, bdev, start) < 0:
        b = bdevname(bdev)
        DMWARN(f"{dm.dm_device_name(ti.table.md)}: adding target device {b} caused an alignment "
               f"inconsistency: physical_block_size={q.limits.physical_block_size}, logical_block_size="
               f"{q.limits.logical_block_size}, alignment_offset={q.limits.alignment_offset}, "
               f"start={start << SECTOR_SHIFT}")
    data.zoned = blk_queue_zoned_model(q)
    return 0


def dm_put_device(ti: dm_target, d: dm_dev) -> None:
    """Close a device for a target; it stays open while another target of the table has it."""
    for dd in ti.table.devices:
        if dd.dm_dev is d:
            break
    else:
        DMWARN(f"{dm.dm_device_name(ti.table.md)}: device {d.name} not in table devices list")
        return
    dd.count -= 1
    if dd.count == 0:
        dm.dm_put_table_device(ti.table.md, d)
        list_del_init(dd, "list")
        kfree(dd)


# A table is filled

def adjoin(table: dm_table, ti: dm_target) -> bool:
    """Whether a target begins where the table ends so far."""
    if not table.num_targets:
        return not ti.begin
    prev = table.targets[table.num_targets - 1]
    return ti.begin == unsigned_long(prev.begin + prev.len)


def realloc_argv(size: int, old_argv: Any) -> tuple[Any, int]:
    """Get an array of arguments twice as large as the old one, of `size`, which is freed; 8 for none.

    Returns (array, its size), or (None, size). In C the size is an out-parameter.
    """
    # 5.4: the size is set only where there was an old array, so the first array is thought to be of size 0, and the
    # first argument brings the next one. Mended by 5a2a6c428190 (6.15).
    new_size, gfp = (size * 2, GFP_KERNEL) if size else (8, GFP_NOIO)
    if (argv := kcalloc(new_size, "pointer", gfp)) is not None and old_argv is not None:
        argv[:size] = old_argv[:size]
        size = new_size
    kfree(old_argv)
    return argv, size


def dm_split_args(text: str) -> tuple[int, int, Any]:
    """Split a text at its blanks; a backslash before a character makes it an ordinary one. Bytes 0xa0 are blanks, also
    within a character of several bytes.

    Returns (0, number of arguments, array of them), which the caller frees; or (-ENOMEM, 0, None). In C number and
    array are out-parameters.
    """
    argv, array_size = realloc_argv(0, None)
    if argv is None:
        return -ENOMEM, 0, NULL
    argc = end = 0
    text = each_byte(text)
    while True:
        if (start := skip_spaces(text, end)) == len(text):
            return 0, argc, argv
        word, end = "", start
        while end < len(text):
            if text[end] == "\\" and end + 1 < len(text):
                word += text[end + 1]
                end += 2
                continue
            if isspace(text[end]):
                break
            word += text[end]
            end += 1
        if argc + 1 > array_size:
            argv, array_size = realloc_argv(array_size, argv)
            if argv is None:
                return -ENOMEM, 0, NULL
        argv[argc] = of_bytes(word)
        argc += 1


def validate_hardware_logical_block_alignment(table: dm_table, limits: queue_limits) -> int:
    """Check that a bio in whole blocks of the device is, where targets meet, cut into whole blocks of each of them.

    Returns 0 or -EINVAL, with a line in the log.
    """
    block_sects = limits.logical_block_size >> SECTOR_SHIFT
    next_target_start = 0  # where the next target begins, in sectors from a block's start
    remaining = 0  # what the next target has to do of a block that began in one before
    ti, i = NULL, 0
    while i < dm_table_get_num_targets(table):
        ti, ti_limits = dm_table_get_target(table, i), queue_limits()
        blk_settings.blk_set_stacking_limits(ti_limits)
        if ti.type.iterate_devices is not None:
            ti.type.iterate_devices(ti, dm_set_device_limits, ti_limits)
        if remaining < ti.len and remaining & ((ti_limits.logical_block_size >> SECTOR_SHIFT) - 1):
            break
        next_target_start = next_target_start + ti.len & (block_sects - 1)
        remaining = block_sects - next_target_start if next_target_start else 0
        i += 1
    if remaining:
        return refused(f"{dm.dm_device_name(table.md)}: table line {i} (start sect {ti.begin} len "
                       f"{ti.len}) not aligned to h/w logical block size {limits.logical_block_size}")
    return 0


# Over 60 lines with its docstring, as in C: the checks of one line of a table, in their order.
def dm_table_add_target(t: dm_table, type: str, start: int, len: int, params: str) -> int:
    """Add a target of a type, by name, that is to have so many sectors from `start` on. Returns 0 or -errno.

    A target that is refused is not in the table; the log says why.
    """
    if t.singleton:
        return refused(f"{dm.dm_device_name(t.md)}: target type {t.targets[0].type.name} must appear alone in table")
    BUG_ON(t.num_targets >= t.num_allocated)
    tgt = t.targets[t.num_targets] = place(dm_target, t.targets._addr + t.num_targets * sizeof(dm_target))
    if not len:
        return refused(f"{dm.dm_device_name(t.md)}: zero-length target")
    tgt.type = dm_get_target_type(type)
    if tgt.type is None:
        return refused(f"{dm.dm_device_name(t.md)}: {type}: unknown target type")

    def dropped(r: int, error: str = "") -> int:
        tgt.error = error or tgt.error
        DMERR(f"{dm.dm_device_name(t.md)}: {type}: {tgt.error}")
        dm_put_target_type(tgt.type)
        return r

    if dm_target_needs_singleton(tgt.type):
        if t.num_targets:
            return dropped(-EINVAL, "singleton target type must appear alone in table")
        t.singleton = True
    if dm_target_always_writeable(tgt.type) and not t.mode & FMODE_WRITE:
        return dropped(-EINVAL, "target type may not be included in a read-only table")
    if t.immutable_target_type is not None:
        if t.immutable_target_type is not tgt.type:
            return dropped(-EINVAL, "immutable target type cannot be mixed with other target types")
    elif dm_target_is_immutable(tgt.type):
        if t.num_targets:
            return dropped(-EINVAL, "immutable target type cannot be mixed with other target types")
        t.immutable_target_type = tgt.type

    tgt.table, tgt.begin, tgt.len, tgt.error = t, start, len, "Unknown error"
    if not adjoin(t, tgt):
        return dropped(-EINVAL, "Gap in table")
    r, argc, argv = dm_split_args(params)
    if r:
        return dropped(r, "couldn't split parameters (insufficient memory)")
    try:
        r = tgt.type.ctr(tgt, argc, argv)
    except NotModelled:
        dm_put_target_type(tgt.type)
        raise
    finally:
        kfree(argv)
    if r:
        return dropped(r)

    t.highs[t.num_targets] = unsigned_long(tgt.begin + tgt.len - 1)
    t.num_targets += 1
    if not tgt.num_discard_bios and tgt.discards_supported:
        DMWARN(f"{dm.dm_device_name(t.md)}: {type}: ignoring discards_supported because num_discard_bios is zero.")
    return 0


# Arguments of targets

def validate_next_arg(arg: dm_arg, arg_set: dm_arg_set, ti: dm_target, grouped: int) -> tuple[int, int]:
    """Read the next argument, a number within arg.min and arg.max. `grouped`: so many arguments must follow it.

    Returns (0, number), or (-EINVAL, None) with ti.error set. In C the number, and where the error goes, are
    out-parameters.
    """
    arg_str = dm_shift_arg(arg_set)
    read = sscanf(arg_str, "%u%c") if arg_str else []
    if len(read) != 1 or not arg.min <= read[0] <= arg.max or (grouped and arg_set.argc < read[0]):
        return invalid(ti, arg.error), NULL
    return 0, read[0]


def dm_read_arg(arg: dm_arg, arg_set: dm_arg_set, ti: dm_target) -> tuple[int, int]:
    """Read the next argument, a number. Returns (0, number), or (-EINVAL, None) with ti.error set."""
    return validate_next_arg(arg, arg_set, ti, False)


def dm_read_arg_group(arg: dm_arg, arg_set: dm_arg_set, ti: dm_target) -> tuple[int, int]:
    """Read how many arguments follow as a group. Returns (0, number), or (-EINVAL, None) with ti.error set."""
    return validate_next_arg(arg, arg_set, ti, True)


def dm_shift_arg(arg_set: dm_arg_set) -> str:
    """The next argument, which is read with that; None where there is none left."""
    if not arg_set.argc:
        return NULL
    arg_set.argc -= 1
    r = arg_set.argv[0]
    arg_set.argv = arg_set.argv[1:]
    return r


def dm_consume_args(arg_set: dm_arg_set, num_args: int) -> None:
    """Pass over the next num_args arguments, of which there must be so many."""
    BUG_ON(arg_set.argc < num_args)
    arg_set.argc -= num_args
    arg_set.argv = arg_set.argv[num_args:]


# What kind of table it is

def __table_type_bio_based(table_type: int) -> bool:
    """Whether devices with such tables take bios."""
    return table_type in (DM_TYPE_BIO_BASED, DM_TYPE_DAX_BIO_BASED, DM_TYPE_NVME_BIO_BASED)


def __table_type_request_based(table_type: int) -> bool:
    """Whether devices with such tables take requests."""
    return table_type == DM_TYPE_REQUEST_BASED


def dm_table_set_type(t: dm_table, type: int) -> None:
    """Let a target that could be in either kind of table say which kind this one is to be."""
    t.type = type


def dm_table_supports_dax(t: dm_table) -> bool:
    """Whether all targets give direct access to memory that is a disk; no target of the model does."""
    for ti in up_to(lambda: dm_table_get_num_targets(t), lambda i: dm_table_get_target(t, i)):
        if ti.type.direct_access is None:
            return False
    return True


def device_is_rq_stackable(ti: dm_target, dev: dm_dev, start: int, len: int, data: Any) -> bool:
    """Whether a device below takes requests: a whole multi-queue disk does."""
    bdev = dev.bdev
    return bdev is bdev.bd_contains and queue_is_mq(bdev_get_queue(bdev))


def dm_table_determine_type(t: dm_table) -> int:
    """Find out whether a table's device takes bios or requests, and check that it can. Returns 0 or -EINVAL."""
    devices = dm_table_get_devices(t)
    live_md_type = dm.dm_get_md_type(t.md)
    if t.type != DM_TYPE_NONE:
        bio_based = t.type == DM_TYPE_BIO_BASED
        BUG_ON(t.type in (DM_TYPE_DAX_BIO_BASED, DM_TYPE_NVME_BIO_BASED))
    else:
        bio_based = request_based = hybrid = False
        for tgt in t.targets[:t.num_targets]:
            if dm_target_hybrid(tgt):
                hybrid = True
            elif dm_target_request_based(tgt):
                request_based = True
            else:
                bio_based = True
            if bio_based and request_based:
                return refused("Inconsistent table: different target types can't be mixed up")
        if hybrid and not bio_based and not request_based:
            # the targets can do either: go on as before, or with bios on a new device
            request_based = __table_type_request_based(live_md_type)
            bio_based = not request_based
        if not bio_based:
            BUG_ON(not request_based)
            t.type = DM_TYPE_REQUEST_BASED

    if bio_based:
        t.type = DM_TYPE_BIO_BASED
        BUG_ON(dm_table_supports_dax(t), "DM_TYPE_DAX_BIO_BASED is left out")
        tgt = dm_table_get_immutable_target(t)
        if tgt is None or tgt.max_io_len or not dm_table_does_not_support_partial_completion(t):
            if list_empty(devices) and live_md_type == DM_TYPE_NVME_BIO_BASED:
                t.type = DM_TYPE_NVME_BIO_BASED
            return 0
        # bios that need no splitting go straight to NVMe: that is checked as requests are
        t.type = DM_TYPE_NVME_BIO_BASED

    if t.num_targets > 1:
        kind = "nvme bio-based" if t.type == DM_TYPE_NVME_BIO_BASED else "request-based"
        return refused(f"{kind} DM doesn't support multiple targets")
    if list_empty(devices):
        live_table, srcu_idx = dm.dm_get_live_table(t.md)
        if live_table is not None:
            t.type = live_table.type
        dm.dm_put_live_table(t.md, srcu_idx)
        return 0
    if (tgt := dm_table_get_immutable_target(t)) is None:
        return refused("table load rejected: immutable target is required")
    if tgt.max_io_len:
        return refused("table load rejected: immutable target that splits IO is not supported")
    if tgt.type.iterate_devices is None or not tgt.type.iterate_devices(tgt, device_is_rq_stackable, None):
        return refused("table load rejected: including non-request-stackable devices")
    return 0


def dm_table_get_type(t: dm_table) -> int:
    """The kind of table, DM_TYPE_*."""
    return t.type


def dm_table_get_immutable_target_type(t: dm_table) -> target_type:
    """The type of target that no other may follow on the device, or None."""
    return t.immutable_target_type


def dm_table_get_immutable_target(t: dm_table) -> dm_target:
    """The table's only target, where it is of such a type; else None."""
    return NULL if t.num_targets > 1 or not dm_target_is_immutable(t.targets[0].type) else t.targets[0]


def dm_table_get_wildcard_target(t: dm_table) -> dm_target:
    """The first target of a type that may follow any; None where there is none."""
    for i in range(dm_table_get_num_targets(t)):
        ti = dm_table_get_target(t, i)
        if dm_target_is_wildcard(ti.type):
            return ti
    return NULL


def dm_table_bio_based(t: dm_table) -> bool:
    """Whether the device takes bios."""
    return __table_type_bio_based(dm_table_get_type(t))


def dm_table_request_based(t: dm_table) -> bool:
    """Whether the device takes requests."""
    return __table_type_request_based(dm_table_get_type(t))


# A table is made ready

def dm_table_alloc_md_mempools(t: dm_table, md: mapped_device) -> int:
    """Allocate what the device's clones will be from. Returns 0, -EINVAL or -ENOMEM."""
    type = dm_table_get_type(t)
    per_io_data_size = min_pool_size = 0
    if type == DM_TYPE_NONE:
        return refused("no table type is set, can't allocate mempools")
    if __table_type_bio_based(type):
        for ti in t.targets[:t.num_targets]:
            per_io_data_size = max(per_io_data_size, ti.per_io_data_size)
            min_pool_size = max(min_pool_size, ti.num_flush_bios)
    t.mempools = dm.dm_alloc_md_mempools(md, type, t.integrity_supported, per_io_data_size, min_pool_size)
    return 0 if t.mempools is not None else -ENOMEM


def dm_table_free_md_mempools(t: dm_table) -> None:
    """Free the table's pools, which the device has taken over, or which no device will use."""
    dm.dm_free_md_mempools(t.mempools)
    t.mempools = NULL


def dm_table_get_md_mempools(t: dm_table) -> dm.dm_md_mempools:
    """Return the pools that the device's clones will be from, until the table is made live."""
    return t.mempools


def setup_indexes(t: dm_table) -> int:
    """Build the levels of the tree above the leaves, from the bottom up, in one piece of memory. Returns 0, -ENOMEM."""
    total = 0
    for i in range(t.depth - 2, -1, -1):
        t.counts[i] = dm_div_up(t.counts[i + 1], CHILDREN_PER_NODE)
        total += t.counts[i]
    if not (addr := dm_vcalloc(total, NODE_SIZE)):
        return -ENOMEM
    for i in range(t.depth - 2, -1, -1):
        t.index[i] = place_array("u64", [0] * (KEYS_PER_NODE * t.counts[i]), addr)
        addr += NODE_SIZE * t.counts[i]
        setup_btree_index(i, t)
    return 0


def dm_table_build_index(t: dm_table) -> int:
    """Build the tree in which targets are looked up. Returns 0 or -ENOMEM."""
    leaf_nodes = dm_div_up(t.num_targets, KEYS_PER_NODE)
    t.depth = 1 + int_log(leaf_nodes, CHILDREN_PER_NODE)
    t.counts[t.depth - 1] = leaf_nodes
    t.index[t.depth - 1] = t.highs
    return setup_indexes(t) if t.depth >= 2 else 0


def integrity_profile_exists(disk: gendisk) -> bool:
    """Whether a disk keeps integrity data: none does, as the kernel is configured without."""
    return False


def dm_table_get_integrity_disk(t: dm_table) -> gendisk:
    """A disk below whose integrity data are as those of all of them; None where there is none."""
    for i in range(dm_table_get_num_targets(t)):
        if not dm_target_passes_integrity(dm_table_get_target(t, i).type):
            return NULL
    template_disk = NULL
    for dd in dm_table_get_devices(t):
        template_disk = dd.dm_dev.bdev.bd_disk
        if not integrity_profile_exists(template_disk):
            return NULL
    return template_disk


def dm_table_register_integrity(t: dm_table) -> int:
    """Let the device have integrity data if all devices below have: they have none. Returns 0."""
    t.integrity_supported = dm_table_get_integrity_disk(t) is not None
    return 0


def dm_table_complete(t: dm_table) -> int:
    """Make a table ready for use, once it has all its targets. Returns 0 or -errno; the log says what failed."""
    if r := dm_table_determine_type(t):
        return refused("unable to determine table type", r)
    if r := dm_table_build_index(t):
        return refused("unable to build btrees", r)
    dm_table_register_integrity(t)  # which can fail only where there are such data
    if r := dm_table_alloc_md_mempools(t, t.md):
        DMERR("unable to allocate mempools")
    return r


def dm_table_event_callback(t: dm_table, fn: Callable[[Any], None], context: Any) -> None:
    """Say whom to call, fn(context), when a target has something to tell; None for nobody."""
    t.event_fn, t.event_context = fn, context


def dm_table_event(t: dm_table) -> None:
    """Call the event function of the live table: a target has something to tell."""
    if t.event_fn is not None:
        t.event_fn(t.event_context)


def dm_table_get_size(t: dm_table) -> int:
    """How many sectors the targets have together."""
    return unsigned_long(t.highs[t.num_targets - 1] + 1) if t.num_targets else 0


def dm_table_get_target(t: dm_table, index: int) -> dm_target:
    """The target of that number; None behind the last."""
    return t.targets[index] if index < t.num_targets else NULL


def dm_table_find_target(t: dm_table, sector: int) -> dm_target:
    """The target that a sector belongs to; None behind the end."""
    if sector >= dm_table_get_size(t):
        return NULL
    n = k = 0
    for level in range(t.depth):
        n = get_child(n, k)
        node = get_node(t, level, n)
        for k in range(KEYS_PER_NODE):
            if t.index[level][node + k] >= sector:
                break
    return t.targets[KEYS_PER_NODE * n + k]


# What the device can do, by what the devices below can do
# recorder: C asks for the number of targets before each round of a loop, which a recording shows; hence up_to().

def dm_table_any_dev_attr(t: dm_table, func: Callable[..., int], data: Any) -> bool:
    """Whether func(ti, dev, start, len, data) holds for any device below."""
    for ti in up_to(lambda: dm_table_get_num_targets(t), lambda i: dm_table_get_target(t, i)):
        if ti.type.iterate_devices is not None and ti.type.iterate_devices(ti, func, data):
            return True
    return False


def count_device(ti: dm_target, dev: dm_dev, start: int, len: int, data: list[int]) -> int:
    """Add one to data[0], for a device below. Returns 0."""
    data[0] += 1
    return 0


def dm_table_has_no_data_devices(table: dm_table) -> bool:
    """Whether no target has a device below it, as far as targets tell."""
    for ti in up_to(lambda: dm_table_get_num_targets(table), lambda i: dm_table_get_target(table, i)):
        if ti.type.iterate_devices is None:
            return False
        num_devices = [0]
        ti.type.iterate_devices(ti, count_device, num_devices)
        if num_devices[0]:
            return False
    return True


def validate_hardware_zoned_model(table: dm_table, zoned_model: int, zone_sectors: int) -> int:
    """Return 0 for a table without zones below it, or -EINVAL: the model has no disks with zones."""
    return 0 if zoned_model == BLK_ZONED_NONE else -EINVAL


def dm_calculate_queue_limits(table: dm_table, limits: queue_limits) -> int:
    """Work out a table's limits from those of all devices below, and check that the targets fit on them.

    Returns 0, or -EINVAL with a line in the log.
    """
    blk_settings.blk_set_stacking_limits(limits)
    for i in up_to(lambda: dm_table_get_num_targets(table)):
        ti_limits = queue_limits()
        blk_settings.blk_set_stacking_limits(ti_limits)
        ti = dm_table_get_target(table, i)
        if ti.type.iterate_devices is not None:
            ti.type.iterate_devices(ti, dm_set_device_limits, ti_limits)
            if ti.type.io_hints is not None:
                ti.type.io_hints(ti, ti_limits)
            if ti.type.iterate_devices(ti, device_area_is_invalid, ti_limits):
                return -EINVAL
        if blk_settings.blk_stack_limits(limits, ti_limits, 0) < 0:
            DMWARN(f"{dm.dm_device_name(table.md)}: adding target device (start sect {ti.begin} len "
                   f"{ti.len}) caused an alignment inconsistency")
        limits.zoned = limits.zoned or ti_limits.zoned
    if validate_hardware_zoned_model(table, limits.zoned, limits.chunk_sectors):
        return -EINVAL
    return validate_hardware_logical_block_alignment(table, limits)


def dm_table_verify_integrity(t: dm_table) -> None:
    """See that the device's integrity data are as those below: it has none."""
    BUG_ON(integrity_profile_exists(dm.dm_disk(t.md)))


def device_flush_capable(ti: dm_target, dev: dm_dev, start: int, len: int, data: int) -> bool:
    """Whether a device below has the queue flags `data`."""
    return (q := bdev_get_queue(dev.bdev)) is not None and bool(q.queue_flags & data)


def dm_table_supports_flush(t: dm_table, flush: int) -> bool:
    """Whether any target is to be sent flushes: as it wants them itself, or a device below has the flag."""
    for ti in up_to(lambda: dm_table_get_num_targets(t), lambda i: dm_table_get_target(t, i)):
        if ti.num_flush_bios and (ti.flush_supported or (
                ti.type.iterate_devices is not None and ti.type.iterate_devices(ti, device_flush_capable, flush))):
            return True
    return False


def device_dax_write_cache_enabled(ti: dm_target, dev: dm_dev, start: int, len: int, data: Any) -> bool:
    """Whether a device below is memory behind a cache that must be flushed."""
    return False


def device_is_rotational(ti: dm_target, dev: dm_dev, start: int, len: int, data: Any) -> bool:
    """Return whether a device below is a disk that rotates."""
    return (q := bdev_get_queue(dev.bdev)) is not None and not blk_queue_nonrot(q)


def device_is_not_random(ti: dm_target, dev: dm_dev, start: int, len: int, data: Any) -> bool:
    """Whether the timing of a device below is not to be used for random numbers."""
    return (q := bdev_get_queue(dev.bdev)) is not None and not blk_queue_add_random(q)


def device_is_partial_completion(ti: dm_target, dev: dm_dev, start: int, len: int, data: Any) -> bool:
    """Whether a device below may end parts of a request: all but NVMe disks."""
    return not bdevname(dev.bdev).startswith("nvme")


def dm_table_does_not_support_partial_completion(t: dm_table) -> bool:
    """Return whether no device below may end parts of a request."""
    return not dm_table_any_dev_attr(t, device_is_partial_completion, None)


def device_not_write_same_capable(ti: dm_target, dev: dm_dev, start: int, len: int, data: Any) -> bool:
    """Return whether a device below has no write-same, which repeats a block."""
    return (q := bdev_get_queue(dev.bdev)) is not None and not q.limits.max_write_same_sectors


def dm_table_supports_write_same(t: dm_table) -> bool:
    """Whether all targets and devices below can repeat a block."""
    for ti in up_to(lambda: dm_table_get_num_targets(t), lambda i: dm_table_get_target(t, i)):
        if (not ti.num_write_same_bios or ti.type.iterate_devices is None
                or ti.type.iterate_devices(ti, device_not_write_same_capable, None)):
            return False
    return True


def device_not_write_zeroes_capable(ti: dm_target, dev: dm_dev, start: int, len: int, data: Any) -> bool:
    """Whether a device below can't write zeroes without being sent them."""
    return (q := bdev_get_queue(dev.bdev)) is not None and not q.limits.max_write_zeroes_sectors


def dm_table_supports_write_zeroes(t: dm_table) -> bool:
    """Whether all targets and devices below can write zeroes."""
    for ti in up_to(lambda: dm_table_get_num_targets(t), lambda i: dm_table_get_target(t, i)):
        if (not ti.num_write_zeroes_bios or ti.type.iterate_devices is None
                or ti.type.iterate_devices(ti, device_not_write_zeroes_capable, None)):
            return False
    return True


def device_not_discard_capable(ti: dm_target, dev: dm_dev, start: int, len: int, data: Any) -> bool:
    """Whether a device below can't discard."""
    return (q := bdev_get_queue(dev.bdev)) is not None and not blk_queue_discard(q)


def dm_table_supports_discards(t: dm_table) -> bool:
    """Whether all targets discard, by themselves or because all devices below do."""
    for ti in up_to(lambda: dm_table_get_num_targets(t), lambda i: dm_table_get_target(t, i)):
        if not ti.num_discard_bios:
            return False
        if not ti.discards_supported and (
                ti.type.iterate_devices is None or ti.type.iterate_devices(ti, device_not_discard_capable, None)):
            return False
    return True


def device_not_secure_erase_capable(ti: dm_target, dev: dm_dev, start: int, len: int, data: Any) -> bool:
    """Whether a device below can't erase for good."""
    return (q := bdev_get_queue(dev.bdev)) is not None and not blk_queue_secure_erase(q)


def dm_table_supports_secure_erase(t: dm_table) -> bool:
    """Whether all targets and devices below can erase for good."""
    for ti in up_to(lambda: dm_table_get_num_targets(t), lambda i: dm_table_get_target(t, i)):
        if (not ti.num_secure_erase_bios or ti.type.iterate_devices is None
                or ti.type.iterate_devices(ti, device_not_secure_erase_capable, None)):
            return False
    return True


def device_requires_stable_pages(ti: dm_target, dev: dm_dev, start: int, len: int, data: Any) -> bool:
    """Whether pages must not change while a device below writes them."""
    return (q := bdev_get_queue(dev.bdev)) is not None and bdi_cap_stable_pages_required(q.backing_dev_info)


def dm_table_set_restrictions(t: dm_table, q: request_queue, limits: queue_limits) -> None:
    """Give a device's queue the limits of a table, and the flags that its targets and the devices below allow."""
    copy_limits(q.limits, limits)
    if not dm_table_supports_discards(t):
        blk_core.blk_queue_flag_clear(QUEUE_FLAG_DISCARD, q)
        q.limits.max_discard_sectors = q.limits.max_hw_discard_sectors = 0
        q.limits.discard_granularity = q.limits.discard_alignment = q.limits.discard_misaligned = 0
    else:
        blk_core.blk_queue_flag_set(QUEUE_FLAG_DISCARD, q)
    if dm_table_supports_secure_erase(t):
        blk_core.blk_queue_flag_set(QUEUE_FLAG_SECERASE, q)
    wc = dm_table_supports_flush(t, 1 << QUEUE_FLAG_WC)
    blk_settings.blk_queue_write_cache(q, wc, wc and dm_table_supports_flush(t, 1 << QUEUE_FLAG_FUA))
    if not dm_table_supports_dax(t):
        blk_core.blk_queue_flag_clear(QUEUE_FLAG_DAX, q)
    dm_table_any_dev_attr(t, device_dax_write_cache_enabled, None)
    if dm_table_any_dev_attr(t, device_is_rotational, None):
        blk_core.blk_queue_flag_clear(QUEUE_FLAG_NONROT, q)
    else:
        blk_core.blk_queue_flag_set(QUEUE_FLAG_NONROT, q)
    if not dm_table_supports_write_same(t):
        q.limits.max_write_same_sectors = 0
    if not dm_table_supports_write_zeroes(t):
        q.limits.max_write_zeroes_sectors = 0
    dm_table_verify_integrity(t)
    if dm_table_any_dev_attr(t, device_requires_stable_pages, None):
        q.backing_dev_info.capabilities |= BDI_CAP_STABLE_WRITES
    else:
        q.backing_dev_info.capabilities &= ~BDI_CAP_STABLE_WRITES
    if blk_queue_add_random(q) and dm_table_any_dev_attr(t, device_is_not_random, None):
        blk_core.blk_queue_flag_clear(QUEUE_FLAG_ADD_RANDOM, q)
    # let reads be larger than what is read ahead
    q.backing_dev_info.io_pages = limits.max_sectors >> (PAGE_SHIFT - SECTOR_SHIFT)


def dm_table_get_num_targets(t: dm_table) -> int:
    """How many targets there are."""
    return t.num_targets


def dm_table_get_devices(t: dm_table) -> list_head:
    """The list of devices below, as dm_dev_internal, the newest first."""
    return t.devices


def dm_table_get_mode(t: dm_table) -> int:
    """FMODE_*: what the table's device may be opened for."""
    return t.mode


# Suspending and resuming

def suspend_targets(t: dm_table, mode: int) -> None:
    """Tell each target that the device is about to be suspended, is not after all, or is."""
    for ti in t.targets[:t.num_targets]:
        hook = (ti.type.presuspend, ti.type.presuspend_undo, ti.type.postsuspend)[mode]
        if hook is not None:
            hook(ti)


def dm_table_presuspend_targets(t: dm_table) -> None:
    """Tell each target that the device is about to be suspended. There may be no table."""
    if t is not None:
        suspend_targets(t, PRESUSPEND)


def dm_table_presuspend_undo_targets(t: dm_table) -> None:
    """Tell each target that the device is not suspended after all. There may be no table."""
    if t is not None:
        suspend_targets(t, PRESUSPEND_UNDO)


def dm_table_postsuspend_targets(t: dm_table) -> None:
    """Tell each target that the device is suspended, and no I/O is under way. There may be no table."""
    if t is not None:
        suspend_targets(t, POSTSUSPEND)


def dm_table_resume_targets(t: dm_table) -> int:
    """Let each target get ready, then go on. Returns 0, or -errno of the first that can't; then none goes on."""
    for ti in t.targets[:t.num_targets]:
        if ti.type.preresume is not None and (r := ti.type.preresume(ti)):
            return refused(f"{dm.dm_device_name(t.md)}: {ti.type.name}: preresume failed, error = {r}", r)
    for ti in t.targets[:t.num_targets]:
        if ti.type.resume is not None:
            ti.type.resume(ti)
    return 0


def dm_table_any_congested(t: dm_table, bdi_bits: int) -> int:
    """Those of the bits that say that any device below has as much to do as it can."""
    r = 0
    for dd in dm_table_get_devices(t):
        if (q := bdev_get_queue(dd.dm_dev.bdev)) is not None:
            r |= bdi_congested(q.backing_dev_info, bdi_bits)
        else:
            b = bdevname(dd.dm_dev.bdev)
            DMWARN(f"{dm.dm_device_name(t.md)}: any_congested: nonexistent device {b}")
    return r


def dm_table_get_md(t: dm_table) -> mapped_device:
    """The device that the table is for."""
    return t.md


def dm_table_run_md_queue_async(t: dm_table) -> None:
    """Let the device's queue run, if it has requests: a target can take some again."""
    if not dm_table_request_based(t):
        return
    if (queue := dm.dm_get_md_queue(dm_table_get_md(t))) is not None:
        blk_mq.blk_mq_run_hw_queues(queue, True)
