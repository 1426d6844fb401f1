"""Device mapper as its targets see it: target types, targets, the devices below, and what a target may answer
(include/linux/device-mapper.h)."""

from __future__ import annotations

import sys
from dataclasses import field
from typing import TYPE_CHECKING, Any

from blkmodel.include.linux.blkdev import SECTOR_SHIFT, UINT_MAX, request
from blkmodel.services import pr_err, pr_warn_ratelimited
from blkmodel.sim import NULL, Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from blkmodel.drivers.md.dm_table import dm_table
    from blkmodel.include.linux.fs import block_device
    from blkmodel.services import module, ratelimit_state

DM_NAME, DM_ANY_MINOR = "device-mapper", -1

DM_TYPE_NONE, DM_TYPE_BIO_BASED, DM_TYPE_REQUEST_BASED, DM_TYPE_DAX_BIO_BASED, DM_TYPE_NVME_BIO_BASED = range(5)
STATUSTYPE_INFO, STATUSTYPE_TABLE = range(2)

DM_TARGET_SINGLETON = 0x01  # must be alone in its table
DM_TARGET_ALWAYS_WRITEABLE = 0x02
DM_TARGET_IMMUTABLE = 0x04  # once in a device's table, no other may follow
DM_TARGET_WILDCARD = 0x08  # may follow even that one
DM_TARGET_PASSES_INTEGRITY = 0x20

DM_ENDIO_DONE, DM_ENDIO_INCOMPLETE, DM_ENDIO_REQUEUE, DM_ENDIO_DELAY_REQUEUE = range(4)
DM_MAPIO_SUBMITTED, DM_MAPIO_REMAPPED = 0, 1
DM_MAPIO_REQUEUE, DM_MAPIO_DELAY_REQUEUE, DM_MAPIO_KILL = DM_ENDIO_REQUEUE, DM_ENDIO_DELAY_REQUEUE, 4


class target_type(Struct):
    """A kind of target; None for what it does not do. Where C has out-parameters the model returns them:

    ctr(ti, argc, argv) returns 0 or -errno, with the reason in ti.error; dtr(ti) undoes it.
    map(ti, bio) returns DM_MAPIO_*; end_io(ti, bio, error) returns (DM_ENDIO_*, error).
    clone_and_map_rq(ti, rq, map_context) returns (DM_MAPIO_*, the clone); release_clone_rq(clone, map_context);
    rq_end_io(ti, clone, error, map_context) returns DM_ENDIO_*.
    status(ti, STATUSTYPE_*, status_flags) returns the text, which the caller cuts to its buffer;
    message(ti, argc, argv) returns 0 or -errno.
    prepare_ioctl(ti) returns (0, or 1 for a part of a device only, or -errno; the block device).
    iterate_devices(ti, fn, data) calls fn(ti, dev, start, len, data) for each area below until one is not 0, and
    returns that. io_hints(ti, limits) changes the limits. busy(ti) says whether to wait with the next request.
    """

    features: int = 0
    name: str = ""
    module: module = NULL
    version: tuple[int, ...] = (0, 0, 0)
    ctr: Callable[..., int] = NULL
    dtr: Callable[..., None] = NULL
    map: Callable[..., int] = NULL
    clone_and_map_rq: Callable[..., tuple[int, request]] = NULL
    release_clone_rq: Callable[..., None] = NULL
    end_io: Callable[..., tuple[int, int]] = NULL
    rq_end_io: Callable[..., int] = NULL
    presuspend: Callable[..., None] = NULL
    presuspend_undo: Callable[..., None] = NULL
    postsuspend: Callable[..., None] = NULL
    preresume: Callable[..., int] = NULL
    resume: Callable[..., None] = NULL
    status: Callable[..., str] = NULL
    message: Callable[..., int] = NULL
    prepare_ioctl: Callable[..., tuple[int, block_device]] = NULL
    busy: Callable[..., bool] = NULL
    iterate_devices: Callable[..., int] = NULL
    io_hints: Callable[..., None] = NULL
    direct_access: Callable[..., int] = NULL


class dm_target(Struct):
    """One line of a table: sectors begin to begin + len of the device are a target's, of a type, with its own data in
    `private`. error: why it could not be made.

    max_io_len: sectors; no bio crosses a multiple of it, seen from begin (0: wherever). num_*_bios: how many clones
    of such a bio the target gets; 0: it takes none. per_io_data_size: bytes that it wants with each clone.
    """

    table: dm_table = NULL
    type: target_type = NULL
    begin: int = 0
    len: int = 0
    max_io_len: int = 0
    num_flush_bios: int = 0
    num_discard_bios: int = 0
    num_secure_erase_bios: int = 0
    num_write_same_bios: int = 0
    num_write_zeroes_bios: int = 0
    per_io_data_size: int = 0
    private: Any = None
    error: str = ""
    flush_supported: bool = False
    discards_supported: bool = False
    limit_swap_bios: bool = False


class dm_dev(Struct):
    """A block device that is below a mapped device, open with FMODE_* `mode`; name is "major:minor". _owner is the
    table_device that it is part of."""

    bdev: block_device = NULL
    mode: int = 0
    name: str = ""
    _owner: Any = None


class map_info(Struct, size=8):
    """What a target keeps with a request while it is under way: ptr."""

    ptr: Any = None


class dm_arg_set(Struct, size=16):
    """The arguments that are still to be read: argc of them, in argv."""

    argc: int = 0
    argv: list[str] = field(default_factory=list)


class dm_arg(Struct, size=16):
    """What a numeric argument may be, and what to say of another one."""

    min: int = 0
    max: int = 0
    error: str = ""


def dm_target_needs_singleton(type: target_type) -> bool:
    return bool(type.features & DM_TARGET_SINGLETON)


def dm_target_always_writeable(type: target_type) -> bool:
    return bool(type.features & DM_TARGET_ALWAYS_WRITEABLE)


def dm_target_is_immutable(type: target_type) -> bool:
    return bool(type.features & DM_TARGET_IMMUTABLE)


def dm_target_is_wildcard(type: target_type) -> bool:
    return bool(type.features & DM_TARGET_WILDCARD)


def dm_target_passes_integrity(type: target_type) -> bool:
    return bool(type.features & DM_TARGET_PASSES_INTEGRITY)


def dm_target_offset(ti: dm_target, sector: int) -> int:
    """A sector of the device, counted from its target's begin."""
    return sector - ti.begin


def dm_div_up(n: int, size: int) -> int:
    return -(-n // size)


def dm_round_up(n: int, size: int) -> int:
    return dm_div_up(n, size) * size


def dm_array_too_big(fixed: int, obj: int, num: int) -> bool:
    """Whether `fixed` bytes and so many objects of `obj` bytes are more than 32 bits can count."""
    return num > (UINT_MAX - fixed) // obj


def to_bytes(sectors: int) -> int:
    return sectors << SECTOR_SHIFT


def DMERR(line: str, depth: int = 1) -> None:
    """Log a line behind the DM_MSG_PREFIX of the file that this is called from; depth: how far up the stack that is.
    (In C a macro, which takes the name from where it is used.)"""
    pr_err(f"{DM_NAME}: {sys._getframe(depth).f_globals['DM_MSG_PREFIX']}: {line}")


DMCRIT = DMWARN = DMINFO = DMERR


def DMWARN_LIMIT(rs: ratelimit_state, func: str, line: str) -> None:
    """Log a line of function `func` that may come in floods, unless that place has printed too many lately, which `rs`
    counts."""
    pr_warn_ratelimited(rs, func, f"{DM_NAME}: {sys._getframe(1).f_globals['DM_MSG_PREFIX']}: {line}")
