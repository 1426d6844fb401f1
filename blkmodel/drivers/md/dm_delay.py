"""Delay: I/O goes to another device a given time later; reads, writes and flushes each have their own."""

from collections.abc import Callable
from dataclasses import field
from typing import Any

from blkmodel.block import blk_core
from blkmodel.drivers.md import dm, dm_table
from blkmodel.drivers.md.dm_h import invalid, registered
from blkmodel.drivers.md.dm_target import dm_register_target, dm_unregister_target
from blkmodel.include.linux.blkdev import (REQ_PREFLUSH, WRITE, bio, bio_data_dir, bio_list, bio_list_add, bio_list_get,
    bio_sectors, bio_set_dev)
from blkmodel.include.linux.device_mapper import (DM_MAPIO_REMAPPED, DM_MAPIO_SUBMITTED, DM_TARGET_PASSES_INTEGRITY,
    DMERR, STATUSTYPE_INFO, STATUSTYPE_TABLE, dm_dev, dm_target, dm_target_offset, target_type)
from blkmodel.services import (EINVAL, ENOMEM, GFP_KERNEL, INIT_WORK, THIS_MODULE, alloc_workqueue, del_timer_sync,
    destroy_workqueue, jiffies, kfree, kzalloc, list_add_tail, list_del_init, list_head, mod_timer, msecs_to_jiffies,
    queue_work, sscanf, time_after_eq, timer_list, timer_pending, timer_setup, work_struct, workqueue_struct)
from blkmodel.sim import NULL, Struct, sizeof

DM_MSG_PREFIX = "delay"


class delay_class(Struct, size=24):
    """Where one kind of I/O goes, from sector `start` on, and after how many milliseconds; ops: how much waits now."""

    dev: dm_dev = NULL
    start: int = 0
    delay: int = 0
    ops: int = 0


class delay_c(Struct, size=216):
    """A target. may_delay: it is not about to be suspended. argc: how many words its table has."""

    delay_timer: timer_list = field(default_factory=timer_list)
    kdelayd_wq: workqueue_struct = NULL
    flush_expired_bios: work_struct = field(default_factory=work_struct)
    delayed_bios: list_head = field(default_factory=list_head)
    may_delay: int = 0
    read: delay_class = field(default_factory=delay_class)
    write: delay_class = field(default_factory=delay_class)
    flush: delay_class = field(default_factory=delay_class)
    argc: int = 0


class dm_delay_info(Struct, size=40):
    """A bio that waits: of which kind it is, and until which tick."""

    context: delay_c = NULL
    class_: delay_class = NULL
    list: list_head = NULL
    expires: int = 0
    _bio: bio = NULL


def handle_delayed_timer(t: timer_list) -> None:
    """A bio's time has come: leave the rest to a worker."""
    dc = t.data
    queue_work(dc.kdelayd_wq, dc.flush_expired_bios)


def queue_timeout(dc: delay_c, expires: int) -> None:
    """Let the timer run at that tick, if it is not to run before."""
    if not timer_pending(dc.delay_timer) or expires < dc.delay_timer.expires:
        mod_timer(dc.delay_timer, expires)


def flush_bios(bio: bio) -> None:
    """Submit a chain of bios, linked by bi_next, each to the device that it is set to."""
    while bio is not None:
        following = bio.bi_next
        bio.bi_next = NULL
        blk_core.generic_make_request(bio)
        bio = following


def flush_delayed_bios(dc: delay_c, flush_all: int) -> bio:
    """Take those bios that have waited long enough, or all; set the timer for the others. Returns the chain."""
    expired, waiting = bio_list(), []
    for delayed in dc.delayed_bios:
        if flush_all or time_after_eq(jiffies(), delayed.expires):
            bio = dm.dm_bio_from_per_bio_data(delayed)
            list_del_init(delayed, "list")
            bio_list_add(expired, bio)
            delayed.class_.ops -= 1
        else:
            waiting.append(delayed.expires)
    if waiting:
        queue_timeout(dc, min(waiting))
    return bio_list_get(expired)


def flush_expired_bios(work: work_struct) -> None:
    """Submit those bios that have waited long enough."""
    flush_bios(flush_delayed_bios(work.data, False))


def delay_dtr(ti: dm_target) -> None:
    """Undo delay_ctr(), as far as it came."""
    dc = ti.private
    if dc.kdelayd_wq is not None:
        destroy_workqueue(dc.kdelayd_wq)
    for c in (dc.read, dc.write, dc.flush):
        if c.dev is not None:
            dm_table.dm_put_device(ti, c.dev)
    kfree(dc)


def delay_class_ctr(ti: dm_target, c: delay_class, argv: list[str]) -> int:
    """<device> <first sector> <milliseconds>. Returns 0 or -errno."""
    found = sscanf(argv[1], "%llu%c")
    if len(found) != 1:
        return invalid(ti, "Invalid device sector")
    c.start = found[0]
    found = sscanf(argv[2], "%u%c")
    if len(found) != 1:
        return invalid(ti, "Invalid delay")
    c.delay = found[0]
    ret, c.dev = dm_table.dm_get_device(ti, argv[0], dm_table.dm_table_get_mode(ti.table))
    if ret:
        ti.error = "Device lookup failed"
    return ret


def delay_ctr(ti: dm_target, argc: int, argv: list[str]) -> int:
    """The three words of delay_class_ctr() for all I/O, or for reads and other I/O, or for reads, writes and flushes.

    Returns 0 or -errno.
    """
    if argc not in (3, 6, 9):
        return invalid(ti, "Requires exactly 3, 6 or 9 arguments")
    if (dc := kzalloc(delay_c, GFP_KERNEL)) is None:
        return invalid(ti, "Cannot allocate context", -ENOMEM)
    ti.private = dc
    timer_setup(dc.delay_timer, handle_delayed_timer, 0, dc)
    INIT_WORK(dc.flush_expired_bios, flush_expired_bios, dc)
    dc.may_delay, dc.argc = 1, argc

    ret = 0
    for c, first in ((dc.read, 0), (dc.write, 0 if argc == 3 else 3), (dc.flush, argc - 3)):
        ret = ret or delay_class_ctr(ti, c, argv[first:])
    if not ret:
        dc.kdelayd_wq = alloc_workqueue("kdelayd")
        if dc.kdelayd_wq is None:
            ret = -EINVAL
            DMERR("Couldn't start kdelayd")
    if ret:
        delay_dtr(ti)
        return ret
    ti.num_flush_bios = ti.num_discard_bios = 1
    ti.per_io_data_size = sizeof(dm_delay_info)
    return 0


def delay_bio(dc: delay_c, c: delay_class, bio: bio) -> int:
    """Let a bio wait, if its kind has a delay. Returns DM_MAPIO_*."""
    if not c.delay or not dc.may_delay:
        return DM_MAPIO_REMAPPED
    delayed = dm.dm_per_bio_data(bio, sizeof(dm_delay_info), dm_delay_info)
    delayed.context, delayed.expires = dc, jiffies() + msecs_to_jiffies(c.delay)
    c.ops += 1
    list_add_tail(delayed, dc.delayed_bios, "list")
    queue_timeout(dc, delayed.expires)
    return DM_MAPIO_SUBMITTED


def delay_presuspend(ti: dm_target) -> None:
    """The device is about to be suspended: nothing waits any more."""
    dc = ti.private
    dc.may_delay = 0
    del_timer_sync(dc.delay_timer)
    flush_bios(flush_delayed_bios(dc, True))


def delay_resume(ti: dm_target) -> None:
    """Delay bios again, after delay_presuspend() had stopped that."""
    ti.private.may_delay = 1


def delay_map(ti: dm_target, bio: bio) -> int:
    """Send a bio to its kind's device, now or later. Returns DM_MAPIO_*."""
    dc = ti.private
    delayed = dm.dm_per_bio_data(bio, sizeof(dm_delay_info), dm_delay_info)
    if bio_data_dir(bio) == WRITE:
        c = dc.flush if bio.bi_opf & REQ_PREFLUSH else dc.write
    else:
        c = dc.read
    delayed.class_ = c
    bio_set_dev(bio, c.dev.bdev)
    if bio_sectors(bio):
        bio.bi_iter.bi_sector = c.start + dm_target_offset(ti, bio.bi_iter.bi_sector)
    return delay_bio(dc, c, bio)


def delay_status(ti: dm_target, type: int, status_flags: int) -> str:
    """How many reads, writes and flushes wait; or the table's words."""
    dc = ti.private
    if type == STATUSTYPE_INFO:
        return f"{dc.read.ops} {dc.write.ops} {dc.flush.ops}"
    if type == STATUSTYPE_TABLE:
        return " ".join(f"{c.dev.name} {c.start} {c.delay}" for c in (dc.read, dc.write, dc.flush)[:dc.argc // 3])
    return ""


def delay_iterate_devices(ti: dm_target, fn: Callable[..., int], data: Any) -> int:
    """Call fn(ti, dev, start, len, data) for each kind of I/O, until one is not 0. Returns that."""
    dc = ti.private
    for c in (dc.read, dc.write, dc.flush):
        if ret := fn(ti, c.dev, c.start, ti.len, data):
            return ret
    return 0


delay_target = target_type(name="delay", version=(1, 2, 1), features=DM_TARGET_PASSES_INTEGRITY, module=THIS_MODULE,
                           ctr=delay_ctr, dtr=delay_dtr, map=delay_map, presuspend=delay_presuspend,
                           resume=delay_resume, status=delay_status, iterate_devices=delay_iterate_devices)


def dm_delay_init() -> int:
    """Load the module: register the target type. Returns 0 or -errno."""
    return registered(dm_register_target(delay_target))


def dm_delay_exit() -> None:
    """Unload the module: unregister the target type."""
    dm_unregister_target(delay_target)
