"""Multipath: several ways to one disk, in groups. I/O goes down the paths of one group while any of them works.

A path is taken out of use when an I/O on it fails, and that I/O goes down another. Paths come back only when somebody
says so. With queue_if_no_path, I/O waits while there is none; else it fails. Requests are mapped. A table may ask for
bios to be mapped instead: such a device can be made, but mapping its bios is left out. Left out too are the hardware
handlers of SCSI, which initialise a group of a storage array's paths before it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any

from blkmodel.block import blk_core
from blkmodel.drivers.md import dm, dm_path_selector, dm_rq, dm_table, dm_uevent
from blkmodel.drivers.md.dm_bio_record_h import dm_bio_details
from blkmodel.drivers.md.dm_h import invalid, refused
from blkmodel.drivers.md.dm_mpath_h import dm_path
from blkmodel.drivers.md.dm_path_selector_h import path_selector
from blkmodel.drivers.md.dm_target import dm_register_target, dm_unregister_target
from blkmodel.drivers.md.dm_uevent import DM_UEVENT_PATH_FAILED, DM_UEVENT_PATH_REINSTATED
from blkmodel.errors import NotModelled
from blkmodel.include.linux.blk_mq import BLK_MQ_REQ_NOWAIT
from blkmodel.include.linux.blkdev import (BLK_STS_IOERR, BLK_STS_RESOURCE, REQ_FAILFAST_TRANSPORT, REQ_NOMERGE,
    SECTOR_SHIFT, bdev_get_queue, bio, blk_path_error, blk_queue_dying, blk_rq_bytes, request, test_bit)
from blkmodel.include.linux.device_mapper import (DM_ENDIO_DELAY_REQUEUE, DM_ENDIO_DONE, DM_ENDIO_REQUEUE,
    DM_MAPIO_DELAY_REQUEUE, DM_MAPIO_KILL, DM_MAPIO_REMAPPED, DM_MAPIO_REQUEUE, DM_TARGET_IMMUTABLE,
    DM_TARGET_PASSES_INTEGRITY, DM_TARGET_SINGLETON, DM_TYPE_BIO_BASED, DM_TYPE_NONE, DM_TYPE_REQUEST_BASED, DMERR,
    DMWARN, STATUSTYPE_INFO, dm_arg, dm_arg_set, dm_dev, dm_target, map_info, target_type)
from blkmodel.include.linux.fs import block_device
from blkmodel.reference.omission import Omission, no_chapter
from blkmodel.services import (BUG_ON, EBUSY, EINVAL, EIO, ENOMEM, ENOTCONN, ENXIO, ERR_PTR, GFP_KERNEL, INIT_WORK,
    IS_ERR, IS_ERR_OR_NULL, PTR_ERR, SCSI_DH_DEV_OFFLINED, THIS_MODULE, WARN_ON_ONCE, assign_bit, flush_work,
    i_size_read, kfree, kzalloc, list_add_tail, list_del_init, list_head, mutex, schedule_work, sscanf, work_struct)
from blkmodel.sim import NULL, Struct, place, sizeof

DM_MSG_PREFIX = "multipath"
OMITTED = {
    **dict.fromkeys(("__pg_init_all_paths", "pg_init_all_paths", "setup_scsi_dh", "activate_path_work",
                     "pg_init_limit_reached", "multipath_wait_for_pg_init_completion"), Omission.OTHER_SUBSYSTEM),
    **no_chapter("""get_mpio_from_bio get_bio_details_from_mpio multipath_init_per_bio_data must_push_back_bio __map_bio
                 __multipath_map_bio process_queued_bios multipath_end_io_bio""")}
DM_PG_INIT_DELAY_DEFAULT = 0xFFFFFFFF

# QUEUE_IO: no path has been chosen yet. QUEUE_IF_NO_PATH: I/O is to wait where the last path has failed; SAVED_…: what
# that was before the device was suspended. PG_INIT_DISABLED (4) and PG_INIT_REQUIRED (5) are for hardware handlers.
(MPATHF_QUEUE_IO, MPATHF_QUEUE_IF_NO_PATH, MPATHF_SAVED_QUEUE_IF_NO_PATH, MPATHF_RETAIN_ATTACHED_HW_HANDLER,
 MPATHF_PG_INIT_DELAY_RETRY) = 0, 1, 2, 3, 6


class pgpath(Struct):
    """A path of group pg. While it is_active, I/O may go down it; fail_count: how often it has failed."""

    list: list_head = NULL
    pg: priority_group = NULL
    fail_count: int = 0
    path: dm_path = field(default_factory=dm_path)
    is_active: bool = False


pgpath_struct = pgpath


class priority_group(Struct):
    """Paths that are as good as each other, between which a selector chooses. Groups are numbered from 1.

    bypassed: to be used only where no other can be.
    """

    list: list_head = NULL
    m: multipath = NULL
    ps: path_selector = field(default_factory=path_selector)
    pg_num: int = 0
    nr_pgpaths: int = 0
    pgpaths: list_head = field(default_factory=list_head)
    bypassed: bool = False


class multipath(Struct):
    """A target: its groups, the one in use (current_pg) and, if a group was asked for, the next one (next_pg).

    flags: bits MPATHF_*. nr_valid_paths: active paths of all groups. pg_init_retries, pg_init_delay_msecs: what the
    table says of initialising groups; pg_init_in_progress: paths that are found to be gone; pg_init_count stays 0.
    I/O that waits for a path waits in the block layer.
    """

    flags: int = 0
    queue_mode: int = 0
    current_pgpath: pgpath = NULL
    current_pg: priority_group = NULL
    next_pg: priority_group = NULL
    nr_valid_paths: int = 0
    nr_priority_groups: int = 0
    priority_groups: list_head = field(default_factory=list_head)
    pg_init_retries: int = 0
    pg_init_delay_msecs: int = 0
    pg_init_in_progress: int = 0
    pg_init_count: int = 0
    work_mutex: mutex = field(default_factory=lambda: mutex("&m->work_mutex"))
    trigger_event: work_struct = field(default_factory=work_struct)
    ti: dm_target = NULL


class dm_mpath_io(Struct):
    """What multipath keeps with a request: the path that it went down, and its bytes."""

    pgpath: pgpath_struct = NULL
    nr_bytes: int = 0


PATH_SELECTOR_ARGS = (dm_arg(0, 1024, "invalid number of path selector args"),)
PRIORITY_GROUP_ARGS = (dm_arg(1, 1024, "invalid number of paths"), dm_arg(0, 1024, "invalid number of selector args"))
HW_HANDLER_ARGS = (dm_arg(0, 1024, "invalid number of hardware handler args"),)
FEATURE_ARGS = (
    dm_arg(0, 8, "invalid number of feature args"), dm_arg(1, 50, "pg_init_retries must be between 1 and 50"),
    dm_arg(0, 60000, "pg_init_delay_msecs must be between 0 and 60000"))
MULTIPATH_ARGS = (
    dm_arg(0, 1024, "invalid number of priority groups"), dm_arg(0, 1024, "invalid initial priority group number"))


# ---------------------------------------------------------------- memory


def alloc_pgpath() -> pgpath:
    """Allocate a path that is active. Returns None when memory runs out."""
    if (path := kzalloc(pgpath, GFP_KERNEL)) is None:
        return NULL
    path.is_active, path.path._owner = True, path
    return path


def free_pgpath(pgpath: pgpath) -> None:
    """Free a path, whose device has been closed."""
    kfree(pgpath)


def alloc_priority_group() -> priority_group:
    """Allocate a group without paths or selector. Returns None when memory runs out."""
    return kzalloc(priority_group, GFP_KERNEL)


def free_pgpaths(pgpaths: list_head, ti: dm_target) -> None:
    """Free a group's paths, and close what they lead to."""
    for path in pgpaths:
        list_del_init(path, "list")
        dm_table.dm_put_device(ti, path.path.dev)
        free_pgpath(path)


def free_priority_group(pg: priority_group, ti: dm_target) -> None:
    """Free a group, with its selector, as far as it has got one, and its paths."""
    ps = pg.ps
    if ps.type is not None:
        ps.type.destroy(ps)
        dm_path_selector.dm_put_path_selector(ps.type)
    free_pgpaths(pg.pgpaths, ti)
    kfree(pg)


def alloc_multipath(ti: dm_target) -> multipath:
    """Begin with a target; None on failure. Whether it maps bios or requests is still to be said."""
    if (m := kzalloc(multipath, GFP_KERNEL)) is not None:
        INIT_WORK(m.trigger_event, trigger_event, m)
        m.queue_mode, m.ti, ti.private = DM_TYPE_NONE, ti, m
    return m


def alloc_multipath_stage2(ti: dm_target, m: multipath) -> int:
    """Go on, now that the features are known: requests are mapped unless bios were asked for. Returns 0."""
    if m.queue_mode == DM_TYPE_NONE:
        m.queue_mode = DM_TYPE_REQUEST_BASED
    elif m.queue_mode == DM_TYPE_BIO_BASED:
        # bios and hardware handlers do not go together: one that is attached stays, and that is all
        m.flags |= 1 << MPATHF_RETAIN_ATTACHED_HW_HANDLER
    dm_table.dm_table_set_type(ti.table, m.queue_mode)

    m.flags |= 1 << MPATHF_QUEUE_IO
    m.pg_init_in_progress = m.pg_init_count = 0
    # 5.4: this comes after the features were read, so what a table says of pg_init_delay_msecs is lost
    m.pg_init_delay_msecs = DM_PG_INIT_DELAY_DEFAULT
    return 0


def free_multipath(m: multipath) -> None:
    """Free a target, as far as it has been made."""
    for pg in m.priority_groups:
        list_del_init(pg, "list")
        free_priority_group(pg, m.ti)
    kfree(m)


def get_mpio(info: map_info) -> dm_mpath_io:
    """What multipath keeps with a request: a structure from when it is first asked for, an address before."""
    if isinstance(info.ptr, int):
        info.ptr = place(dm_mpath_io, info.ptr)
    return info.ptr


def multipath_per_bio_data_size() -> int:
    """Return how many bytes multipath wants with each bio, where it maps bios."""
    return sizeof(dm_mpath_io) + sizeof(dm_bio_details)


# ---------------------------------------------------------------- choosing a path


def __switch_pg(m: multipath, pg: priority_group) -> None:
    """Use a group from now on. (With a hardware handler it would have to be initialised first, and I/O would wait.)"""
    m.current_pg = pg
    m.flags &= ~(1 << MPATHF_QUEUE_IO)
    m.pg_init_count = 0


def choose_path_in_pg(m: multipath, pg: priority_group, nr_bytes: int) -> pgpath:
    """Let a group's selector choose, and use the group if there is a path. Returns the path, or ERR_PTR(-ENXIO)."""
    if (path := pg.ps.type.select_path(pg.ps, nr_bytes)) is None:
        return ERR_PTR(-ENXIO)
    chosen = path._owner
    if m.current_pg is not pg:
        m.current_pgpath = chosen
        __switch_pg(m, pg)
    return chosen


def choose_pgpath(m: multipath, nr_bytes: int) -> pgpath:
    """Choose a path: in the group that was asked for, else in the one in use, else in the first that has one.

    Bypassed groups come last, and are initialised with a delay. Returns the path, or None.
    """
    if m.nr_valid_paths:
        next_pg, m.next_pg = m.next_pg, NULL
        for pg in (next_pg, m.current_pg):
            if pg is not None:
                if not IS_ERR_OR_NULL(chosen := choose_path_in_pg(m, pg, nr_bytes)):
                    return chosen
        for bypassed in (False, True):
            for pg in m.priority_groups:
                if pg.bypassed != bypassed:
                    continue
                if not IS_ERR_OR_NULL(chosen := choose_path_in_pg(m, pg, nr_bytes)):
                    if bypassed:
                        m.flags |= 1 << MPATHF_PG_INIT_DELAY_RETRY
                    return chosen
    else:
        m.flags &= ~(1 << MPATHF_QUEUE_IO)
    m.current_pgpath = m.current_pg = NULL
    return NULL


def __must_push_back(m: multipath, flags: int) -> bool:
    """Whether I/O is to wait in device mapper's core: while the device is suspended without flushing, which has
    switched queue_if_no_path off for a time."""
    return (test_bit(MPATHF_QUEUE_IF_NO_PATH, flags) != test_bit(MPATHF_SAVED_QUEUE_IF_NO_PATH, flags)
            and dm.dm_noflush_suspending(m.ti))


def must_push_back_rq(m: multipath) -> bool:
    """Whether a request is to be put back, as there is no path."""
    return test_bit(MPATHF_QUEUE_IF_NO_PATH, m.flags) or __must_push_back(m, m.flags)


# ---------------------------------------------------------------- mapping


def multipath_clone_and_map(ti: dm_target, rq: request, map_context: map_info) -> tuple[int, request]:
    """Choose a path for a request, and get an empty request on the queue that it leads to.

    Returns (DM_MAPIO_*, the request or None).
    """
    m, nr_bytes, mpio = ti.private, blk_rq_bytes(rq), get_mpio(map_context)

    if (chosen := m.current_pgpath) is None or not test_bit(MPATHF_QUEUE_IO, m.flags):
        chosen = choose_pgpath(m, nr_bytes)
    if chosen is None:
        if must_push_back_rq(m):
            return DM_MAPIO_DELAY_REQUEUE, NULL
        dm_table.dm_table_get_md(m.ti.table)  # recorder: for a message, which is off
        return DM_MAPIO_KILL, NULL

    mpio.pgpath, mpio.nr_bytes = chosen, nr_bytes
    bdev = chosen.path.dev.bdev
    q = bdev_get_queue(bdev)
    if IS_ERR(clone := blk_core.blk_get_request(q, rq.cmd_flags | REQ_NOMERGE, BLK_MQ_REQ_NOWAIT)):
        if blk_queue_dying(q):
            m.pg_init_in_progress += 1
            activate_or_offline_path(chosen)
            return DM_MAPIO_DELAY_REQUEUE, NULL
        return DM_MAPIO_REQUEUE, NULL  # the block layer tries again when a tag is free
    clone.bio = clone.biotail = NULL
    clone.rq_disk = bdev.bd_disk
    clone.cmd_flags |= REQ_FAILFAST_TRANSPORT
    if chosen.pg.ps.type.start_io is not None:
        chosen.pg.ps.type.start_io(chosen.pg.ps, chosen.path, nr_bytes)
    return DM_MAPIO_REMAPPED, clone


def multipath_release_clone(clone: request, map_context: map_info) -> None:
    """Free a clone. With map_context it has not been on its way: then the selector has to hear that it is not."""
    if map_context is not None:
        mpio = get_mpio(map_context)
        if (went := mpio.pgpath) is not None and went.pg.ps.type.end_io is not None:
            went.pg.ps.type.end_io(went.pg.ps, went.path, mpio.nr_bytes)
    blk_core.blk_put_request(clone)


def multipath_map_bio(ti: dm_target, bio: bio) -> int:
    """Map a bio, where the table says `queue_mode bio`: left out. Such a device can be made, but takes no I/O."""
    raise NotModelled("I/O of multipath with queue_mode bio")


def process_queued_io_list(m: multipath) -> None:
    """Let the requests that wait for a path be tried again."""
    if m.queue_mode == DM_TYPE_REQUEST_BASED:
        dm_rq.dm_mq_kick_requeue_list(dm_table.dm_table_get_md(m.ti.table))


def queue_if_no_path(m: multipath, queue_if_no_path: bool, save_old_value: bool) -> int:
    """Say whether I/O is to wait, or to fail, while there is no path; save_old_value: remember what held. Returns 0."""
    saved = (save_old_value and test_bit(MPATHF_QUEUE_IF_NO_PATH, m.flags)) or (not save_old_value and queue_if_no_path)
    m.flags = assign_bit(MPATHF_SAVED_QUEUE_IF_NO_PATH, m.flags, saved)
    m.flags = assign_bit(MPATHF_QUEUE_IF_NO_PATH, m.flags, queue_if_no_path)
    if not queue_if_no_path:
        dm_table.dm_table_run_md_queue_async(m.ti.table)
        process_queued_io_list(m)
    return 0


def trigger_event(work: work_struct) -> None:
    """Wake those who wait for an event of the device, as a path or a group is not in use any more."""
    dm_table.dm_table_event(work.data.ti.table)


# ---------------------------------------------------------------- the table's words


def parse_path_selector(arguments: dm_arg_set, pg: priority_group, ti: dm_target) -> int:
    """<selector> <number of arguments> <arguments>. Returns 0 or -errno."""
    if (pst := dm_path_selector.dm_get_path_selector(dm_table.dm_shift_arg(arguments))) is None:
        return invalid(ti, "unknown path selector type")
    r, ps_argc = dm_table.dm_read_arg_group(PATH_SELECTOR_ARGS[0], arguments, ti)
    if r:
        dm_path_selector.dm_put_path_selector(pst)
        return -EINVAL
    if r := pst.create(pg.ps, arguments.argv[:ps_argc]):
        dm_path_selector.dm_put_path_selector(pst)
        return invalid(ti, "path selector constructor failed", r)
    pg.ps.type = pst
    dm_table.dm_consume_args(arguments, ps_argc)
    return 0


def parse_path(arguments: dm_arg_set, ps: path_selector, ti: dm_target) -> pgpath:
    """<device> <the selector's arguments>. Returns the path, or an error pointer."""
    if arguments.argc < 1:
        return ERR_PTR(invalid(ti, "no device given"))
    if (p := alloc_pgpath()) is None:
        return ERR_PTR(-ENOMEM)
    mode = dm_table.dm_table_get_mode(ti.table)
    r, p.path.dev = dm_table.dm_get_device(ti, dm_table.dm_shift_arg(arguments), mode)
    if r:
        free_pgpath(p)
        return ERR_PTR(invalid(ti, "error getting device", r))
    r, error = ps.type.add_path(ps, p.path, arguments.argv)
    if not r:
        return p
    dm_table.dm_put_device(ti, p.path.dev)
    free_pgpath(p)
    return ERR_PTR(invalid(ti, error, r))


def parse_priority_group(arguments: dm_arg_set, m: multipath) -> priority_group:
    """<selector …> <number of paths> <arguments for each path> <paths>. Returns the group, or an error pointer."""
    ti = m.ti
    if arguments.argc < 2:
        arguments.argc = 0
        return ERR_PTR(invalid(ti, "not enough priority group arguments"))
    if (pg := alloc_priority_group()) is None:
        return ERR_PTR(invalid(ti, "couldn't allocate priority group", -ENOMEM))
    pg.m = m

    if not (r := parse_path_selector(arguments, pg, ti)):
        r, pg.nr_pgpaths = dm_table.dm_read_arg(PRIORITY_GROUP_ARGS[0], arguments, ti)
    if not r:
        r, nr_selector_args = dm_table.dm_read_arg(PRIORITY_GROUP_ARGS[1], arguments, ti)
    if not r:
        nr_args = 1 + nr_selector_args
        for _ in range(pg.nr_pgpaths):
            if arguments.argc < nr_args:
                r = invalid(ti, "not enough path parameters")
                break
            if IS_ERR(path := parse_path(dm_arg_set(nr_args, arguments.argv[:nr_args]), pg.ps, ti)):
                r = PTR_ERR(path)
                break
            path.pg = pg
            list_add_tail(path, pg.pgpaths, "list")
            dm_table.dm_consume_args(arguments, nr_args)
    if not r:
        return pg
    free_priority_group(pg, ti)
    return ERR_PTR(r)


def parse_hw_handler(arguments: dm_arg_set, m: multipath) -> int:
    """<number of words> <hardware handler> <its arguments>. Returns 0 or -EINVAL.

    The handlers are a part of SCSI: a table that needs one raises NotModelled, once the target is freed.
    """
    r, hw_argc = dm_table.dm_read_arg_group(HW_HANDLER_ARGS[0], arguments, m.ti)
    if r:
        return -EINVAL
    if not hw_argc:
        return 0
    if m.queue_mode == DM_TYPE_BIO_BASED:
        dm_table.dm_consume_args(arguments, hw_argc)
        DMERR("bio-based multipath doesn't allow hardware handler args")
        return 0
    free_multipath(m)
    raise NotModelled(f"multipath's hardware handler {arguments.argv[0]}")


def parse_features(arguments: dm_arg_set, m: multipath) -> int:
    """<number of words> <features>. Returns 0 or -errno."""
    ti = m.ti
    r, argc = dm_table.dm_read_arg_group(FEATURE_ARGS[0], arguments, ti)
    if r:
        return -EINVAL
    while argc and not r:
        arg_name = dm_table.dm_shift_arg(arguments).lower()
        argc -= 1
        if arg_name == "queue_if_no_path":
            r = queue_if_no_path(m, True, False)
        elif arg_name == "retain_attached_hw_handler":
            m.flags |= 1 << MPATHF_RETAIN_ATTACHED_HW_HANDLER
        elif arg_name == "pg_init_retries" and argc >= 1:
            r, m.pg_init_retries = dm_table.dm_read_arg(FEATURE_ARGS[1], arguments, ti)
            argc -= 1
        elif arg_name == "pg_init_delay_msecs" and argc >= 1:
            r, m.pg_init_delay_msecs = dm_table.dm_read_arg(FEATURE_ARGS[2], arguments, ti)
            argc -= 1
        elif arg_name == "queue_mode" and argc >= 1:
            if (queue_mode_name := dm_table.dm_shift_arg(arguments).lower()) == "bio":
                m.queue_mode = DM_TYPE_BIO_BASED
            elif queue_mode_name in ("rq", "mq"):
                m.queue_mode = DM_TYPE_REQUEST_BASED
            else:
                r = invalid(ti, "Unknown 'queue_mode' requested")
            argc -= 1
        else:
            r = invalid(ti, "Unrecognised multipath feature request")
    return r


def multipath_ctr(ti: dm_target, argc: int, argv: list[str]) -> int:
    """<features> <hardware handler> <number of groups> <the first one to use> <groups>. Returns 0 or -errno."""
    arguments, m = dm_arg_set(argc, argv), alloc_multipath(ti)
    if m is None:
        return invalid(ti, "can't allocate multipath")

    if not (r := parse_features(arguments, m)):
        r = alloc_multipath_stage2(ti, m)
    if not r:
        r = parse_hw_handler(arguments, m)
    if not r:
        r, m.nr_priority_groups = dm_table.dm_read_arg(MULTIPATH_ARGS[0], arguments, ti)
    if not r:
        r, next_pg_num = dm_table.dm_read_arg(MULTIPATH_ARGS[1], arguments, ti)
    if not r and bool(m.nr_priority_groups) != bool(next_pg_num):
        r = invalid(ti, "invalid initial priority group")

    pg_count = 0
    while not r and arguments.argc:
        if IS_ERR(pg := parse_priority_group(arguments, m)):
            r = PTR_ERR(pg)
            break
        m.nr_valid_paths += pg.nr_pgpaths
        list_add_tail(pg, m.priority_groups, "list")
        pg_count += 1
        pg.pg_num = pg_count
        next_pg_num -= 1
        if not next_pg_num:
            m.next_pg = pg
    if not r and pg_count != m.nr_priority_groups:
        r = invalid(ti, "priority group count mismatch")
    if r:
        free_multipath(m)
        return r

    ti.num_flush_bios = ti.num_discard_bios = ti.num_write_same_bios = ti.num_write_zeroes_bios = 1
    bios = m.queue_mode == DM_TYPE_BIO_BASED
    ti.per_io_data_size = multipath_per_bio_data_size() if bios else sizeof(dm_mpath_io)
    return 0


def flush_multipath_work(m: multipath) -> None:
    """Wait until nothing of the target's is under way in a worker."""
    flush_work(m.trigger_event)


def multipath_dtr(ti: dm_target) -> None:
    """Wait for the target's work items, and free what multipath_ctr() made."""
    m = ti.private
    flush_multipath_work(m)
    free_multipath(m)


# ---------------------------------------------------------------- what becomes of paths and groups


def fail_path(pgpath: pgpath) -> int:
    """Take a path out of use, and let user space know. Returns 0."""
    m = pgpath.pg.m
    if not pgpath.is_active:
        return 0
    DMWARN(f"Failing path {pgpath.path.dev.name}.")
    pgpath.pg.ps.type.fail_path(pgpath.pg.ps, pgpath.path)
    pgpath.is_active = False
    pgpath.fail_count += 1
    m.nr_valid_paths -= 1
    if pgpath is m.current_pgpath:
        m.current_pgpath = NULL
    dm_uevent.dm_path_uevent(DM_UEVENT_PATH_FAILED, m.ti, pgpath.path.dev.name, m.nr_valid_paths)
    schedule_work(m.trigger_event)
    return 0


def reinstate_path(pgpath: pgpath) -> int:
    """Let a path be used again. What waits is tried again where it is the only one. Returns 0 or -errno."""
    m, run_queue = pgpath.pg.m, False
    if pgpath.is_active:
        return 0
    DMWARN(f"Reinstating path {pgpath.path.dev.name}.")
    if r := pgpath.pg.ps.type.reinstate_path(pgpath.pg.ps, pgpath.path):
        return r
    pgpath.is_active = True
    m.nr_valid_paths += 1
    if m.nr_valid_paths == 1:
        m.current_pgpath = NULL
        run_queue = True
    dm_uevent.dm_path_uevent(DM_UEVENT_PATH_REINSTATED, m.ti, pgpath.path.dev.name, m.nr_valid_paths)
    schedule_work(m.trigger_event)
    if run_queue:
        dm_table.dm_table_run_md_queue_async(m.ti.table)
        process_queued_io_list(m)
    return 0


def action_dev(m: multipath, dev: dm_dev, action: Callable[[pgpath], int]) -> int:
    """Do something to all paths that lead to a device. Returns what the last says, or -EINVAL where there is none."""
    r = -EINVAL
    for pg in m.priority_groups:
        for path in pg.pgpaths:
            if path.path.dev is dev:
                r = action(path)
    return r


def bypass_pg(m: multipath, pg: priority_group, bypassed: bool) -> None:
    """Avoid a group while there is another, or no longer; choose anew in any case."""
    pg.bypassed = bypassed
    m.current_pgpath = m.current_pg = NULL
    schedule_work(m.trigger_event)


def switch_pg_num(m: multipath, pgstr: str) -> int:
    """Use the group of that number from the next I/O on; no group is bypassed any more. Returns 0 or -EINVAL."""
    found = sscanf(pgstr, "%u%c")
    if len(found) != 1 or not found[0] or found[0] > m.nr_priority_groups:
        return refused("invalid PG number supplied to switch_pg_num")
    for pg in m.priority_groups:
        pg.bypassed = False
        if pg.pg_num == found[0]:
            m.current_pgpath = m.current_pg = NULL
            m.next_pg = pg
    schedule_work(m.trigger_event)
    return 0


def bypass_pg_num(m: multipath, pgstr: str, bypassed: bool) -> int:
    """bypass_pg() for the group of that number. Returns 0 or -EINVAL."""
    found = sscanf(pgstr, "%u%c")
    if len(found) != 1 or not found[0] or found[0] > m.nr_priority_groups:
        return refused("invalid PG number supplied to bypass_pg")
    pg = next(pg for pg in m.priority_groups if pg.pg_num == found[0])
    bypass_pg(m, pg, bypassed)
    return 0


# ---------------------------------------------------------------- initialising a group


def pg_init_done(data: pgpath, errors: int) -> None:
    """A path could not be initialised: take it out of use, and let I/O be tried again.

    data: the path. errors: SCSI_DH_DEV_OFFLINED; what hardware handlers say otherwise is left out with them.
    """
    pgpath = data
    m = pgpath.pg.m
    fail_path(pgpath)
    if errors and pgpath is m.current_pgpath:
        DMERR(f"Could not failover device. Error {errors}.")
        m.current_pgpath = m.current_pg = NULL
    m.pg_init_in_progress -= 1
    if m.pg_init_in_progress > 0:
        return
    m.flags &= ~(1 << MPATHF_QUEUE_IO)
    process_queued_io_list(m)


def activate_or_offline_path(pgpath: pgpath) -> None:
    """Let a path whose disk is gone fail. (A hardware handler would initialise another path here.)"""
    BUG_ON(pgpath.is_active and not blk_queue_dying(bdev_get_queue(pgpath.path.dev.bdev)))
    pg_init_done(pgpath, SCSI_DH_DEV_OFFLINED)


# ---------------------------------------------------------------- the end of an I/O


def multipath_end_io(ti: dm_target, clone: request, error: int, map_context: map_info) -> int:
    """A clone is done. One whose path may be to blame takes it out of use, and is tried again on another.

    Returns DM_ENDIO_*.
    """
    mpio = get_mpio(map_context)
    went, r = mpio.pgpath, DM_ENDIO_DONE
    if error and blk_path_error(error):
        m = ti.private
        r = DM_ENDIO_DELAY_REQUEUE if error == BLK_STS_RESOURCE else DM_ENDIO_REQUEUE
        if went is not None:
            fail_path(went)
        if m.nr_valid_paths == 0 and not must_push_back_rq(m):
            if error == BLK_STS_IOERR:
                dm_table.dm_table_get_md(m.ti.table)  # recorder: for a message, which is off
            r = DM_ENDIO_DONE
    if went is not None and went.pg.ps.type.end_io is not None:
        went.pg.ps.type.end_io(went.pg.ps, went.path, mpio.nr_bytes)
    return r


# ---------------------------------------------------------------- suspending


def multipath_presuspend(ti: dm_target) -> None:
    """The device is about to be suspended, which waits for all I/O: let what has no path fail, not wait."""
    queue_if_no_path(ti.private, False, True)


def multipath_postsuspend(ti: dm_target) -> None:
    """The device is suspended: wait for the target's work items."""
    with ti.private.work_mutex:
        flush_multipath_work(ti.private)


def multipath_resume(ti: dm_target) -> None:
    """Give queue_if_no_path the value that it had before the device was suspended."""
    m = ti.private
    m.flags = assign_bit(MPATHF_QUEUE_IF_NO_PATH, m.flags, test_bit(MPATHF_SAVED_QUEUE_IF_NO_PATH, m.flags))


# ---------------------------------------------------------------- what user space asks


def multipath_status(ti: dm_target, type: int, status_flags: int) -> str:
    """The target's state, or the words that make it.

    State: 2 <all I/O waits> <initialisations begun> 0 <groups> <group in use or next>, then for each group A (in
    use), E or D (bypassed), the selector's words, the number of paths, that of a path's words, and for each path its
    device, A or F (failed), how often it failed, and the selector's words.
    """
    m, words = ti.private, []
    if type == STATUSTYPE_INFO:
        words.append(f"2 {test_bit(MPATHF_QUEUE_IO, m.flags):d} {m.pg_init_count} ")
    else:
        features = []
        if test_bit(MPATHF_QUEUE_IF_NO_PATH, m.flags):
            features.append("queue_if_no_path ")
        if m.pg_init_retries:
            features.append(f"pg_init_retries {m.pg_init_retries} ")
        if m.pg_init_delay_msecs != DM_PG_INIT_DELAY_DEFAULT:
            features.append(f"pg_init_delay_msecs {m.pg_init_delay_msecs} ")
        if test_bit(MPATHF_RETAIN_ATTACHED_HW_HANDLER, m.flags):
            features.append("retain_attached_hw_handler ")
        if m.queue_mode != DM_TYPE_REQUEST_BASED:
            WARN_ON_ONCE(m.queue_mode != DM_TYPE_BIO_BASED)
            features.append("queue_mode bio ")
        words += [f"{sum(len(feature.split()) for feature in features)} ", *features]

    if m.next_pg is not None:
        pg_num = m.next_pg.pg_num
    elif m.current_pg is not None:
        pg_num = m.current_pg.pg_num
    else:
        pg_num = 1 if m.nr_priority_groups else 0
    words.append(f"0 {m.nr_priority_groups} {pg_num} ")  # the first of them: no hardware handler

    for pg in m.priority_groups:
        ps = pg.ps
        if type == STATUSTYPE_INFO:
            words.append("D " if pg.bypassed else "A " if pg is m.current_pg else "E ")
        else:
            words.append(f"{ps.type.name} ")
        words.append(ps.type.status(ps, None, type) if ps.type.status is not None else "0 ")
        args = ps.type.info_args if type == STATUSTYPE_INFO else ps.type.table_args
        words.append(f"{pg.nr_pgpaths} {args} ")
        for p in pg.pgpaths:
            words.append(f"{p.path.dev.name} ")
            if type == STATUSTYPE_INFO:
                words.append(f"{'A' if p.is_active else 'F'} {p.fail_count} ")
            if ps.type.status is not None:
                words.append(ps.type.status(ps, p.path, type))
    return "".join(words)


def multipath_message(ti: dm_target, argc: int, argv: list[str]) -> int:
    """Do what a message says: queue_if_no_path, fail_if_no_path; disable_group, enable_group, switch_group with a
    number; reinstate_path, fail_path with a device. Returns 0, -EBUSY while the device is suspended, or -errno."""
    m = ti.private
    with m.work_mutex:
        if dm.dm_suspended(ti):
            return -EBUSY
        word = argv[0].lower()
        if argc == 1 and word in ("queue_if_no_path", "fail_if_no_path"):
            return queue_if_no_path(m, word == "queue_if_no_path", False)
        if argc != 2:
            return refused(f"Invalid multipath message arguments. Expected 2 arguments, got {argc}.")

        if word in ("disable_group", "enable_group"):
            return bypass_pg_num(m, argv[1], word == "disable_group")
        if word == "switch_group":
            return switch_pg_num(m, argv[1])
        if (action := {"reinstate_path": reinstate_path, "fail_path": fail_path}.get(word)) is None:
            return refused(f"Unrecognised multipath message received: {argv[0]}")
        r, dev = dm_table.dm_get_device(ti, argv[1], dm_table.dm_table_get_mode(ti.table))
        if r:
            return refused(f"message: error getting device {argv[1]}", r)
        r = action_dev(m, dev, action)
        dm_table.dm_put_device(ti, dev)
        return r


def multipath_prepare_ioctl(ti: dm_target) -> tuple[int, block_device]:
    """Choose the device that an ioctl is passed to.

    Returns (0, it), (1, it) where it is larger or smaller than the target, or (-errno, None).
    """
    m, bdev = ti.private, NULL
    if (chosen := m.current_pgpath) is None or not test_bit(MPATHF_QUEUE_IO, m.flags):
        chosen = choose_pgpath(m, 0)
    if chosen is not None:
        bdev, r = chosen.path.dev.bdev, 0
    else:
        r = -ENOTCONN if test_bit(MPATHF_QUEUE_IF_NO_PATH, m.flags) else -EIO
    if r == -ENOTCONN:
        if m.current_pg is None:
            choose_pgpath(m, 0)
        dm_table.dm_table_run_md_queue_async(m.ti.table)
        process_queued_io_list(m)
    return (1, bdev) if not r and ti.len != i_size_read(bdev.bd_inode) >> SECTOR_SHIFT else (r, bdev)


def multipath_iterate_devices(ti: dm_target, fn: Callable[..., int], data: Any) -> int:
    """Call fn(ti, dev, start, len, data) for each path, until one is not 0. Returns that."""
    for pg in ti.private.priority_groups:
        for p in pg.pgpaths:
            if ret := fn(ti, p.path.dev, ti.begin, ti.len, data):
                return ret
    return 0


def pgpath_busy(pgpath: pgpath) -> bool:
    """Whether the queue that a path leads to says that it has no room."""
    return bool(blk_core.blk_lld_busy(bdev_get_queue(pgpath.path.dev.bdev)))


def multipath_busy(ti: dm_target) -> bool:
    """Whether a request could be mapped now but would wait below. Where it could not be mapped the answer is no: it
    has to be tried, to fail or to be put back."""
    m = ti.private
    if m.pg_init_in_progress:
        return True
    if not m.nr_valid_paths and test_bit(MPATHF_QUEUE_IF_NO_PATH, m.flags):
        return m.queue_mode != DM_TYPE_REQUEST_BASED
    pg = m.next_pg if m.current_pgpath is None and m.next_pg is not None else m.current_pg
    if pg is None:
        return False

    has_active = False
    for path in pg.pgpaths:
        if path.is_active:
            has_active = True
            if not pgpath_busy(path):
                return False
    return has_active


multipath_target = target_type(
    name="multipath", version=(1, 13, 0),
    features=DM_TARGET_SINGLETON | DM_TARGET_IMMUTABLE | DM_TARGET_PASSES_INTEGRITY, module=THIS_MODULE,
    ctr=multipath_ctr, dtr=multipath_dtr, clone_and_map_rq=multipath_clone_and_map,
    release_clone_rq=multipath_release_clone, rq_end_io=multipath_end_io, map=multipath_map_bio,
    presuspend=multipath_presuspend, postsuspend=multipath_postsuspend,
    resume=multipath_resume, status=multipath_status, message=multipath_message, prepare_ioctl=multipath_prepare_ioctl,
    iterate_devices=multipath_iterate_devices, busy=multipath_busy)


def dm_multipath_init() -> int:
    """Load the module: register the target type. Returns 0, or -EINVAL."""
    if (r := dm_register_target(multipath_target)) < 0:
        return refused(f"request-based register failed {r}")
    return 0


def dm_multipath_exit() -> None:
    """Unload the module: unregister the target type."""
    dm_unregister_target(multipath_target)
