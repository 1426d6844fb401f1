"""Multipath: several ways to one disk, in groups. I/O goes down the paths of one group while any of them works.

A path is taken out of use when an I/O on it fails, and that I/O goes down another. Paths come back only when somebody
says so. With queue_if_no_path, I/O waits while there is none; else it fails. A table may ask for requests to be
mapped (the default), or bios. A group of a storage array's paths may have to be initialised before it is used: that
is a hardware handler's part.
"""

from dataclasses import field
from typing import Any

from blkmodel.block import bio as block_bio, blk_core
from blkmodel.block.partition_generic import bdevname
from blkmodel.drivers.md import dm, dm_path_selector, dm_rq, dm_table, dm_target, dm_uevent
from blkmodel.drivers.md.dm_bio_record_h import dm_bio_details, dm_bio_record, dm_bio_restore
from blkmodel.drivers.md.dm_mpath_h import dm_path
from blkmodel.drivers.md.dm_path_selector_h import path_selector
from blkmodel.drivers.md.dm_uevent import DM_UEVENT_PATH_FAILED, DM_UEVENT_PATH_REINSTATED
from blkmodel.include.linux.bio import bio_list, bio_list_add, bio_list_empty, bio_list_merge, bio_list_pop, bio_set_dev
from blkmodel.include.linux.blk_mq import BLK_MQ_REQ_NOWAIT
from blkmodel.include.linux.blk_types import (
    BLK_STS_DM_REQUEUE, BLK_STS_IOERR, BLK_STS_OK, BLK_STS_RESOURCE, REQ_FAILFAST_TRANSPORT, REQ_NOMERGE,
    blk_path_error)
from blkmodel.include.linux.blkdev import (
    SECTOR_SHIFT, bdev_get_queue, blk_plug, blk_queue_dying, blk_rq_bytes, test_bit)
from blkmodel.include.linux.device_mapper import (
    DM_ENDIO_DELAY_REQUEUE, DM_ENDIO_DONE, DM_ENDIO_INCOMPLETE, DM_ENDIO_REQUEUE, DM_MAPIO_DELAY_REQUEUE, DM_MAPIO_KILL,
    DM_MAPIO_REMAPPED, DM_MAPIO_REQUEUE, DM_MAPIO_SUBMITTED, DM_TARGET_IMMUTABLE, DM_TARGET_PASSES_INTEGRITY,
    DM_TARGET_SINGLETON, DM_TYPE_BIO_BASED, DM_TYPE_NONE, DM_TYPE_REQUEST_BASED, DMERR, DMWARN, STATUSTYPE_INFO, dm_arg,
    dm_arg_set, target_type)
from blkmodel.services.base.bug import WARN_ON, WARN_ON_ONCE
from blkmodel.services.base.err import ERR_PTR, IS_ERR, IS_ERR_OR_NULL, PTR_ERR
from blkmodel.services.base.errno import EAGAIN, EBUSY, EINVAL, EIO, ENOMEM, ENOTCONN, ENXIO
from blkmodel.services.base.kernel import sscanf
from blkmodel.services.base.module import THIS_MODULE
from blkmodel.services.base.printk import pr_info
from blkmodel.services.base.string import kstrdup
from blkmodel.services.data.bitops import assign_bit
from blkmodel.services.data.list import list_add_tail, list_del_init, list_head
from blkmodel.services.devices.scsi_dh import (
    SCSI_DH_DEV_OFFLINED, SCSI_DH_DEV_TEMP_BUSY, SCSI_DH_IMM_RETRY, SCSI_DH_NOSYS, SCSI_DH_OK, SCSI_DH_RES_TEMP_UNAVAIL,
    SCSI_DH_RETRY, scsi_dh_activate, scsi_dh_attach, scsi_dh_attached_handler_name, scsi_dh_set_params)
from blkmodel.services.files.inode import i_size_read
from blkmodel.services.memory.gfp import GFP_KERNEL
from blkmodel.services.memory.slab import kfree, kzalloc
from blkmodel.services.tasks.jiffies import msecs_to_jiffies
from blkmodel.services.tasks.wait import (
    TASK_UNINTERRUPTIBLE, finish_wait, init_wait, io_schedule, prepare_to_wait, wait_queue_entry, wait_queue_head,
    wake_up)
from blkmodel.services.tasks.workqueue import (
    INIT_DELAYED_WORK, INIT_WORK, alloc_workqueue, delayed_work, destroy_workqueue, flush_work, flush_workqueue,
    queue_delayed_work, queue_work, schedule_work, work_struct)
from blkmodel.sim import statics
from blkmodel.sim.memory import place
from blkmodel.sim.structure import Struct, sizeof, struct

DM_MSG_PREFIX = "multipath"
DM_PG_INIT_DELAY_MSECS = 2000
DM_PG_INIT_DELAY_DEFAULT = 0xFFFFFFFF

MPATHF_QUEUE_IO = 0  # all I/O is to wait
MPATHF_QUEUE_IF_NO_PATH = 1  # I/O is to wait where the last path has failed
MPATHF_SAVED_QUEUE_IF_NO_PATH = 2  # what that was before the device was suspended
MPATHF_RETAIN_ATTACHED_HW_HANDLER = 3
MPATHF_PG_INIT_DISABLED = 4
MPATHF_PG_INIT_REQUIRED = 5
MPATHF_PG_INIT_DELAY_RETRY = 6


@struct
class pgpath(Struct):
    """A path of group pg. While it is_active, I/O may go down it; fail_count: how often it has failed."""

    list: Any = None
    pg: Any = None
    fail_count: int = 0
    path: Any = field(default_factory=dm_path)
    activate_path: Any = field(default_factory=delayed_work)
    is_active: bool = False


@struct
class priority_group(Struct):
    """Paths that are as good as each other, between which a selector chooses. Groups are numbered from 1.

    bypassed: to be used only where no other can be.
    """

    list: Any = None
    m: Any = None
    ps: Any = field(default_factory=path_selector)
    pg_num: int = 0
    nr_pgpaths: int = 0
    pgpaths: Any = field(default_factory=list_head)
    bypassed: bool = False


@struct
class multipath(Struct):
    """A target: its groups, the one in use (current_pg) and, if a group was asked for, the next one (next_pg).

    flags: bits MPATHF_*. nr_valid_paths: active paths of all groups. pg_init_*: how often, and after how many
    milliseconds, a group's initialisation is tried again, how many paths are at it, and how often it was begun.
    queued_bios: bios that wait; in request mode requests wait in the block layer.
    """

    flags: int = 0
    queue_mode: int = 0
    current_pgpath: Any = None
    current_pg: Any = None
    next_pg: Any = None
    nr_valid_paths: int = 0
    nr_priority_groups: int = 0
    priority_groups: Any = field(default_factory=list_head)
    hw_handler_name: Any = None
    hw_handler_params: Any = None
    pg_init_wait: Any = field(default_factory=wait_queue_head)
    pg_init_retries: int = 0
    pg_init_delay_msecs: int = 0
    pg_init_in_progress: int = 0
    pg_init_count: int = 0
    trigger_event: Any = field(default_factory=work_struct)
    ti: Any = None
    process_queued_bios: Any = field(default_factory=work_struct)
    queued_bios: Any = field(default_factory=bio_list)


@struct
class dm_mpath_io(Struct):
    """What multipath keeps with an I/O: where it went. _details: what lies behind that in bio mode."""

    pgpath: Any = None
    nr_bytes: int = 0
    _details: Any = field(default_factory=dm_bio_details)
    _bio: Any = None


PATH_SELECTOR_ARGS = (dm_arg(0, 1024, "invalid number of path selector args"),)
PRIORITY_GROUP_ARGS = (
    dm_arg(1, 1024, "invalid number of paths"),
    dm_arg(0, 1024, "invalid number of selector args"),
)
HW_HANDLER_ARGS = (dm_arg(0, 1024, "invalid number of hardware handler args"),)
FEATURE_ARGS = (
    dm_arg(0, 8, "invalid number of feature args"),
    dm_arg(1, 50, "pg_init_retries must be between 1 and 50"),
    dm_arg(0, 60000, "pg_init_delay_msecs must be between 0 and 60000"),
)
MULTIPATH_ARGS = (
    dm_arg(0, 1024, "invalid number of priority groups"),
    dm_arg(0, 1024, "invalid initial priority group number"),
)


@statics
class variables:
    """The module's workers: for bios that wait, and for hardware handlers."""

    def __init__(self):
        self.kmultipathd: Any = None
        self.kmpath_handlerd: Any = None


# ---------------------------------------------------------------- memory


def alloc_pgpath():
    """A path that is active; None on failure."""
    path = kzalloc(pgpath, GFP_KERNEL)
    if path is None:
        return None
    path.is_active = True
    path.path._owner = path
    return path


def free_pgpath(pgpath):
    """Free a path."""
    kfree(pgpath)


def alloc_priority_group():
    """A group without paths; None on failure."""
    return kzalloc(priority_group, GFP_KERNEL)


def free_pgpaths(pgpaths, ti):
    """Free a group's paths, and close what they lead to."""
    for path in pgpaths:
        list_del_init(path, "list")
        dm_table.dm_put_device(ti, path.path.dev)
        free_pgpath(path)


def free_priority_group(pg, ti):
    """Free a group, with its selector, as far as it has got one, and its paths."""
    ps = pg.ps
    if ps.type is not None:
        ps.type.destroy(ps)
        dm_path_selector.dm_put_path_selector(ps.type)
    free_pgpaths(pg.pgpaths, ti)
    kfree(pg)


def alloc_multipath(ti):
    """Begin with a target; None on failure. Whether it maps bios or requests is still to be said."""
    m = kzalloc(multipath, GFP_KERNEL)
    if m is not None:
        INIT_WORK(m.trigger_event, trigger_event, m)
        m.queue_mode = DM_TYPE_NONE
        m.ti = ti
        ti.private = m
    return m


def alloc_multipath_stage2(ti, m):
    """Go on, now that the features are known: requests are mapped unless bios were asked for. Returns 0."""
    if m.queue_mode == DM_TYPE_NONE:
        m.queue_mode = DM_TYPE_REQUEST_BASED
    elif m.queue_mode == DM_TYPE_BIO_BASED:
        INIT_WORK(m.process_queued_bios, process_queued_bios, m)
        # bios and hardware handlers do not go together: one that is attached stays, and that is all
        m.flags |= 1 << MPATHF_RETAIN_ATTACHED_HW_HANDLER
    dm_table.dm_table_set_type(ti.table, m.queue_mode)

    m.flags |= 1 << MPATHF_QUEUE_IO
    m.pg_init_in_progress = 0
    m.pg_init_count = 0
    m.pg_init_delay_msecs = DM_PG_INIT_DELAY_DEFAULT
    return 0


def free_multipath(m):
    """Free a target, as far as it has been made."""
    for pg in m.priority_groups:
        list_del_init(pg, "list")
        free_priority_group(pg, m.ti)
    kfree(m.hw_handler_name)
    kfree(m.hw_handler_params)
    kfree(m)


def get_mpio(info):
    """What multipath keeps with a request: a structure from when it is first asked for, an address before."""
    if isinstance(info.ptr, int):
        info.ptr = place(dm_mpath_io, info.ptr)
    return info.ptr


def multipath_per_bio_data_size():
    """Bytes that multipath keeps with a bio."""
    return sizeof(dm_mpath_io) + sizeof(dm_bio_details)


def get_mpio_from_bio(bio):
    """What it keeps with a bio."""
    return dm.dm_per_bio_data(bio, multipath_per_bio_data_size(), dm_mpath_io)


def get_bio_details_from_mpio(mpio):
    """What the bio was like: behind the rest."""
    return mpio._details


def multipath_init_per_bio_data(bio):
    """Begin with a bio: keep what it is like. Returns what multipath keeps with it."""
    mpio = get_mpio_from_bio(bio)
    bio_details = get_bio_details_from_mpio(mpio)
    mpio.nr_bytes = bio.bi_iter.bi_size
    mpio.pgpath = None
    dm_bio_record(bio_details, bio)
    return mpio


# ---------------------------------------------------------------- choosing a path


def __pg_init_all_paths(m):
    """Let the hardware handler initialise the group in use, down each active path. Returns how many are at it."""
    if m.pg_init_in_progress or test_bit(MPATHF_PG_INIT_DISABLED, m.flags):
        return 0
    m.pg_init_count += 1
    m.flags &= ~(1 << MPATHF_PG_INIT_REQUIRED)
    if m.current_pg is None:
        return 0
    pg_init_delay = 0
    if test_bit(MPATHF_PG_INIT_DELAY_RETRY, m.flags):
        given = m.pg_init_delay_msecs != DM_PG_INIT_DELAY_DEFAULT
        pg_init_delay = msecs_to_jiffies(m.pg_init_delay_msecs if given else DM_PG_INIT_DELAY_MSECS)
    for path in m.current_pg.pgpaths:
        if path.is_active and queue_delayed_work(variables().kmpath_handlerd, path.activate_path, pg_init_delay):
            m.pg_init_in_progress += 1
    return m.pg_init_in_progress


def pg_init_all_paths(m):
    """The same, for who does not hold the lock."""
    return __pg_init_all_paths(m)


def __switch_pg(m, pg):
    """Use a group from now on. With a hardware handler it has to be initialised first, and I/O waits till then."""
    m.current_pg = pg
    if m.hw_handler_name is not None:
        m.flags |= 1 << MPATHF_PG_INIT_REQUIRED | 1 << MPATHF_QUEUE_IO
    else:
        m.flags &= ~(1 << MPATHF_PG_INIT_REQUIRED | 1 << MPATHF_QUEUE_IO)
    m.pg_init_count = 0


def choose_path_in_pg(m, pg, nr_bytes):
    """Let a group's selector choose, and use the group if there is a path. Returns the path, or ERR_PTR(-ENXIO)."""
    path = pg.ps.type.select_path(pg.ps, nr_bytes)
    if path is None:
        return ERR_PTR(-ENXIO)
    chosen = path._owner
    if m.current_pg is not pg:
        m.current_pgpath = chosen
        __switch_pg(m, pg)
    return chosen


def choose_pgpath(m, nr_bytes):
    """Choose a path: in the group that was asked for, else in the one in use, else in the first that has one.

    Bypassed groups come last, and are initialised with a delay. Returns the path, or None.
    """
    if m.nr_valid_paths:
        if m.next_pg is not None:
            pg = m.next_pg
            m.next_pg = None
            chosen = choose_path_in_pg(m, pg, nr_bytes)
            if not IS_ERR_OR_NULL(chosen):
                return chosen
        if m.current_pg is not None:
            chosen = choose_path_in_pg(m, m.current_pg, nr_bytes)
            if not IS_ERR_OR_NULL(chosen):
                return chosen
        for bypassed in (False, True):
            for pg in m.priority_groups:
                if pg.bypassed != bypassed:
                    continue
                chosen = choose_path_in_pg(m, pg, nr_bytes)
                if not IS_ERR_OR_NULL(chosen):
                    if bypassed:
                        m.flags |= 1 << MPATHF_PG_INIT_DELAY_RETRY
                    return chosen
    else:
        m.flags &= ~(1 << MPATHF_QUEUE_IO)
    m.current_pgpath = None
    m.current_pg = None
    return None


def __must_push_back(m, flags):
    """Whether I/O is to wait in device mapper's core: while the device is suspended without flushing, which has
    switched queue_if_no_path off for a time."""
    return (test_bit(MPATHF_QUEUE_IF_NO_PATH, flags) != test_bit(MPATHF_SAVED_QUEUE_IF_NO_PATH, flags)
            and dm.dm_noflush_suspending(m.ti))


def must_push_back_rq(m):
    """Whether a request is to be put back, as there is no path."""
    return test_bit(MPATHF_QUEUE_IF_NO_PATH, m.flags) or __must_push_back(m, m.flags)


def must_push_back_bio(m):
    """Whether a bio is to be put back; with queue_if_no_path it waits here instead."""
    return __must_push_back(m, m.flags)


# ---------------------------------------------------------------- mapping


def multipath_clone_and_map(ti, rq, map_context):
    """Choose a path for a request, and get an empty request on the queue that it leads to.

    Returns (DM_MAPIO_*, the request or None).
    """
    m = ti.private
    nr_bytes = blk_rq_bytes(rq)
    mpio = get_mpio(map_context)

    chosen = m.current_pgpath
    if chosen is None or not test_bit(MPATHF_QUEUE_IO, m.flags):
        chosen = choose_pgpath(m, nr_bytes)
    if chosen is None:
        if must_push_back_rq(m):
            return DM_MAPIO_DELAY_REQUEUE, None
        dm_table.dm_table_get_md(m.ti.table)  # for a message that is off
        return DM_MAPIO_KILL, None
    if test_bit(MPATHF_QUEUE_IO, m.flags) or test_bit(MPATHF_PG_INIT_REQUIRED, m.flags):
        pg_init_all_paths(m)
        return DM_MAPIO_DELAY_REQUEUE, None

    mpio.pgpath = chosen
    mpio.nr_bytes = nr_bytes
    bdev = chosen.path.dev.bdev
    q = bdev_get_queue(bdev)
    clone = blk_core.blk_get_request(q, rq.cmd_flags | REQ_NOMERGE, BLK_MQ_REQ_NOWAIT)
    if IS_ERR(clone):
        if blk_queue_dying(q):
            m.pg_init_in_progress += 1
            activate_or_offline_path(chosen)
            return DM_MAPIO_DELAY_REQUEUE, None
        return DM_MAPIO_REQUEUE, None  # the block layer tries again when a tag is free
    clone.bio = clone.biotail = None
    clone.rq_disk = bdev.bd_disk
    clone.cmd_flags |= REQ_FAILFAST_TRANSPORT
    if chosen.pg.ps.type.start_io is not None:
        chosen.pg.ps.type.start_io(chosen.pg.ps, chosen.path, nr_bytes)
    return DM_MAPIO_REMAPPED, clone


def multipath_release_clone(clone, map_context):
    """Free a clone. With map_context it has not been on its way: then the selector has to hear that it is not."""
    if map_context is not None:
        mpio = get_mpio(map_context)
        went = mpio.pgpath
        if went is not None and went.pg.ps.type.end_io is not None:
            went.pg.ps.type.end_io(went.pg.ps, went.path, mpio.nr_bytes)
    blk_core.blk_put_request(clone)


def __map_bio(m, bio):
    """Choose a path for a bio. Returns it, None where there is none, or ERR_PTR(-EAGAIN) where the bio now waits."""
    chosen = m.current_pgpath
    if chosen is None or not test_bit(MPATHF_QUEUE_IO, m.flags):
        chosen = choose_pgpath(m, bio.bi_iter.bi_size)
    queue_io = test_bit(MPATHF_QUEUE_IO, m.flags)  # choosing may have cleared it
    if (chosen is not None and queue_io) or (chosen is None and test_bit(MPATHF_QUEUE_IF_NO_PATH, m.flags)):
        bio_list_add(m.queued_bios, bio)
        if queue_io or test_bit(MPATHF_PG_INIT_REQUIRED, m.flags):
            pg_init_all_paths(m)
        else:
            queue_work(variables().kmultipathd, m.process_queued_bios)
        return ERR_PTR(-EAGAIN)
    return chosen


def __multipath_map_bio(m, bio, mpio):
    """Send a bio down a path. Returns DM_MAPIO_*."""
    chosen = __map_bio(m, bio)
    if IS_ERR(chosen):
        return DM_MAPIO_SUBMITTED
    if chosen is None:
        if must_push_back_bio(m):
            return DM_MAPIO_REQUEUE
        dm_table.dm_table_get_md(m.ti.table)  # for a message that is off
        return DM_MAPIO_KILL

    mpio.pgpath = chosen
    bio.bi_status = BLK_STS_OK
    bio_set_dev(bio, chosen.path.dev.bdev)
    bio.bi_opf |= REQ_FAILFAST_TRANSPORT
    if chosen.pg.ps.type.start_io is not None:
        chosen.pg.ps.type.start_io(chosen.pg.ps, chosen.path, mpio.nr_bytes)
    return DM_MAPIO_REMAPPED


def multipath_map_bio(ti, bio):
    """Map a bio. Returns DM_MAPIO_*."""
    mpio = multipath_init_per_bio_data(bio)
    return __multipath_map_bio(ti.private, bio, mpio)


def process_queued_io_list(m):
    """Let the I/O that waits be tried again."""
    if m.queue_mode == DM_TYPE_REQUEST_BASED:
        dm_rq.dm_mq_kick_requeue_list(dm_table.dm_table_get_md(m.ti.table))
    elif m.queue_mode == DM_TYPE_BIO_BASED:
        queue_work(variables().kmultipathd, m.process_queued_bios)


def process_queued_bios(work):
    """Map the bios that wait, as they were when they came."""
    m = work.data
    if bio_list_empty(m.queued_bios):
        return
    bios = bio_list()
    bio_list_merge(bios, m.queued_bios)
    m.queued_bios = bio_list()

    plug = blk_plug()
    blk_core.blk_start_plug(plug)
    while (bio := bio_list_pop(bios)) is not None:
        mpio = get_mpio_from_bio(bio)
        dm_bio_restore(get_bio_details_from_mpio(mpio), bio)
        r = __multipath_map_bio(m, bio, mpio)
        if r == DM_MAPIO_KILL:
            bio.bi_status = BLK_STS_IOERR
            block_bio.bio_endio(bio)
        elif r == DM_MAPIO_REQUEUE:
            bio.bi_status = BLK_STS_DM_REQUEUE
            block_bio.bio_endio(bio)
        elif r == DM_MAPIO_REMAPPED:
            blk_core.generic_make_request(bio)
        else:
            WARN_ON(r != DM_MAPIO_SUBMITTED, f"__multipath_map_bio() returned {r}")
    blk_core.blk_finish_plug(plug)


def queue_if_no_path(m, queue_if_no_path, save_old_value):
    """Say whether I/O is to wait, or to fail, while there is no path; save_old_value: remember what held. Returns 0."""
    saved = (save_old_value and test_bit(MPATHF_QUEUE_IF_NO_PATH, m.flags)) or (not save_old_value and queue_if_no_path)
    m.flags = assign_bit(MPATHF_SAVED_QUEUE_IF_NO_PATH, m.flags, saved)
    m.flags = assign_bit(MPATHF_QUEUE_IF_NO_PATH, m.flags, queue_if_no_path)
    if not queue_if_no_path:
        dm_table.dm_table_run_md_queue_async(m.ti.table)
        process_queued_io_list(m)
    return 0


def trigger_event(work):
    """Let those hear who wait for something to happen to the device: a path or a group is not in use any more."""
    dm_table.dm_table_event(work.data.ti.table)


# ---------------------------------------------------------------- the table's words


def parse_path_selector(arguments, pg, ti):
    """<selector> <number of arguments> <arguments>. Returns 0 or -errno."""
    pst = dm_path_selector.dm_get_path_selector(dm_table.dm_shift_arg(arguments))
    if pst is None:
        ti.error = "unknown path selector type"
        return -EINVAL
    r, ps_argc = dm_table.dm_read_arg_group(PATH_SELECTOR_ARGS[0], arguments, ti)
    if r:
        dm_path_selector.dm_put_path_selector(pst)
        return -EINVAL
    r = pst.create(pg.ps, arguments.argv[:ps_argc])
    if r:
        dm_path_selector.dm_put_path_selector(pst)
        ti.error = "path selector constructor failed"
        return r
    pg.ps.type = pst
    dm_table.dm_consume_args(arguments, ps_argc)
    return 0


def setup_scsi_dh(bdev, m, attached_handler_name, ti):
    """Attach the hardware handler that the table asks for, or keep the one that is attached.

    Returns (0 or -errno, the name of the attached handler where it was not taken over).
    """
    q = bdev_get_queue(bdev)
    retain = test_bit(MPATHF_RETAIN_ATTACHED_HW_HANDLER, m.flags)
    while True:
        if retain and attached_handler_name is not None:
            # what was meant for another handler is not for this one
            if m.hw_handler_name is not None and attached_handler_name != m.hw_handler_name:
                kfree(m.hw_handler_params)
                m.hw_handler_params = None
            # the table will show the handler that there is, not the one that was asked for
            kfree(m.hw_handler_name)
            m.hw_handler_name = attached_handler_name
            attached_handler_name = None
        if m.hw_handler_name is None:
            return 0, attached_handler_name
        r = scsi_dh_attach(q, m.hw_handler_name)
        if r != -EBUSY:
            break
        pr_info(f"dm-mpath: retaining handler on device {bdevname(bdev)}")
        retain = True
    if r < 0:
        ti.error = "error attaching hardware handler"
        return r, attached_handler_name
    if m.hw_handler_params is not None:
        r = scsi_dh_set_params(q, m.hw_handler_params)
        if r < 0:
            ti.error = "unable to set hardware handler parameters"
            return r, attached_handler_name
    return 0, attached_handler_name


def parse_path(arguments, ps, ti):
    """<device> <the selector's arguments>. Returns the path, or an error pointer."""
    m = ti.private
    if arguments.argc < 1:
        ti.error = "no device given"
        return ERR_PTR(-EINVAL)
    p = alloc_pgpath()
    if p is None:
        return ERR_PTR(-ENOMEM)
    mode = dm_table.dm_table_get_mode(ti.table)
    r, p.path.dev = dm_table.dm_get_device(ti, dm_table.dm_shift_arg(arguments), mode)
    if r:
        ti.error = "error getting device"
        free_pgpath(p)
        return ERR_PTR(r)

    q = bdev_get_queue(p.path.dev.bdev)
    attached_handler_name = scsi_dh_attached_handler_name(q, GFP_KERNEL)
    if attached_handler_name is not None or m.hw_handler_name is not None:
        INIT_DELAYED_WORK(p.activate_path, activate_path_work, p)
        r, attached_handler_name = setup_scsi_dh(p.path.dev.bdev, m, attached_handler_name, ti)
        kfree(attached_handler_name)
    if not r:
        r, error = ps.type.add_path(ps, p.path, arguments.argv)
        if not r:
            return p
        ti.error = error
    dm_table.dm_put_device(ti, p.path.dev)
    free_pgpath(p)
    return ERR_PTR(r)


def parse_priority_group(arguments, m):
    """<selector …> <number of paths> <arguments for each path> <paths>. Returns the group, or an error pointer."""
    ti = m.ti
    if arguments.argc < 2:
        arguments.argc = 0
        ti.error = "not enough priority group arguments"
        return ERR_PTR(-EINVAL)
    pg = alloc_priority_group()
    if pg is None:
        ti.error = "couldn't allocate priority group"
        return ERR_PTR(-ENOMEM)
    pg.m = m

    r = parse_path_selector(arguments, pg, ti)
    if not r:
        r, pg.nr_pgpaths = dm_table.dm_read_arg(PRIORITY_GROUP_ARGS[0], arguments, ti)
    if not r:
        r, nr_selector_args = dm_table.dm_read_arg(PRIORITY_GROUP_ARGS[1], arguments, ti)
    if not r:
        nr_args = 1 + nr_selector_args
        for _ in range(pg.nr_pgpaths):
            if arguments.argc < nr_args:
                ti.error = "not enough path parameters"
                r = -EINVAL
                break
            path = parse_path(dm_arg_set(nr_args, arguments.argv[:nr_args]), pg.ps, ti)
            if IS_ERR(path):
                r = PTR_ERR(path)
                break
            path.pg = pg
            list_add_tail(path, pg.pgpaths, "list")
            dm_table.dm_consume_args(arguments, nr_args)
    if not r:
        return pg
    free_priority_group(pg, ti)
    return ERR_PTR(r)


def parse_hw_handler(arguments, m):
    """<number of words> <hardware handler> <its arguments>. Returns 0 or -errno.

    Its arguments are kept as the handler wants them: their number and each of them, with a zero byte between.
    """
    ti = m.ti
    r, hw_argc = dm_table.dm_read_arg_group(HW_HANDLER_ARGS[0], arguments, ti)
    if r:
        return -EINVAL
    if not hw_argc:
        return 0
    if m.queue_mode == DM_TYPE_BIO_BASED:
        dm_table.dm_consume_args(arguments, hw_argc)
        DMERR(DM_MSG_PREFIX, "bio-based multipath doesn't allow hardware handler args")
        return 0

    m.hw_handler_name = kstrdup(dm_table.dm_shift_arg(arguments), GFP_KERNEL)
    if m.hw_handler_name is None:
        return -EINVAL
    if hw_argc > 1:
        params = "\0".join((str(hw_argc - 1), *arguments.argv[:hw_argc - 1]))
        m.hw_handler_params = kstrdup(params, GFP_KERNEL)
        if m.hw_handler_params is None:
            ti.error = "memory allocation failed"
            kfree(m.hw_handler_name)
            m.hw_handler_name = None
            return -ENOMEM
    dm_table.dm_consume_args(arguments, hw_argc - 1)
    return 0


def parse_features(arguments, m):
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
            queue_mode_name = dm_table.dm_shift_arg(arguments).lower()
            if queue_mode_name == "bio":
                m.queue_mode = DM_TYPE_BIO_BASED
            elif queue_mode_name in ("rq", "mq"):
                m.queue_mode = DM_TYPE_REQUEST_BASED
            else:
                ti.error = "Unknown 'queue_mode' requested"
                r = -EINVAL
            argc -= 1
        else:
            ti.error = "Unrecognised multipath feature request"
            r = -EINVAL
    return r


def multipath_ctr(ti, argc, argv):
    """<features> <hardware handler> <number of groups> <the first one to use> <groups>. Returns 0 or -errno."""
    arguments = dm_arg_set(argc, argv)
    m = alloc_multipath(ti)
    if m is None:
        ti.error = "can't allocate multipath"
        return -EINVAL

    r = parse_features(arguments, m)
    if not r:
        r = alloc_multipath_stage2(ti, m)
    if not r:
        r = parse_hw_handler(arguments, m)
    if not r:
        r, m.nr_priority_groups = dm_table.dm_read_arg(MULTIPATH_ARGS[0], arguments, ti)
    if not r:
        r, next_pg_num = dm_table.dm_read_arg(MULTIPATH_ARGS[1], arguments, ti)
    if not r and bool(m.nr_priority_groups) != bool(next_pg_num):
        ti.error = "invalid initial priority group"
        r = -EINVAL

    pg_count = 0
    while not r and arguments.argc:
        pg = parse_priority_group(arguments, m)
        if IS_ERR(pg):
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
        ti.error = "priority group count mismatch"
        r = -EINVAL
    if r:
        free_multipath(m)
        return r

    ti.num_flush_bios = 1
    ti.num_discard_bios = 1
    ti.num_write_same_bios = 1
    ti.num_write_zeroes_bios = 1
    if m.queue_mode == DM_TYPE_BIO_BASED:
        ti.per_io_data_size = multipath_per_bio_data_size()
    else:
        ti.per_io_data_size = sizeof(dm_mpath_io)
    return 0


def multipath_wait_for_pg_init_completion(m):
    """Sleep until no path is being initialised."""
    wait = wait_queue_entry()
    init_wait(wait)
    while True:
        prepare_to_wait(m.pg_init_wait, wait, TASK_UNINTERRUPTIBLE)
        if not m.pg_init_in_progress:
            break
        io_schedule()
    finish_wait(m.pg_init_wait, wait)


def flush_multipath_work(m):
    """Wait until nothing of the target's is under way in a worker; no initialisation begins meanwhile."""
    if m.hw_handler_name is not None and m.pg_init_in_progress:
        if not test_bit(MPATHF_PG_INIT_DISABLED, m.flags):
            m.flags |= 1 << MPATHF_PG_INIT_DISABLED
            flush_workqueue(variables().kmpath_handlerd)
            multipath_wait_for_pg_init_completion(m)
            m.flags &= ~(1 << MPATHF_PG_INIT_DISABLED)
    if m.queue_mode == DM_TYPE_BIO_BASED:
        flush_work(m.process_queued_bios)
    flush_work(m.trigger_event)


def multipath_dtr(ti):
    """Undo multipath_ctr()."""
    m = ti.private
    flush_multipath_work(m)
    free_multipath(m)


# ---------------------------------------------------------------- what becomes of paths and groups


def fail_path(pgpath):
    """Take a path out of use, and let user space know. Returns 0."""
    m = pgpath.pg.m
    if not pgpath.is_active:
        return 0
    DMWARN(DM_MSG_PREFIX, f"Failing path {pgpath.path.dev.name}.")
    pgpath.pg.ps.type.fail_path(pgpath.pg.ps, pgpath.path)
    pgpath.is_active = False
    pgpath.fail_count += 1
    m.nr_valid_paths -= 1
    if pgpath is m.current_pgpath:
        m.current_pgpath = None
    dm_uevent.dm_path_uevent(DM_UEVENT_PATH_FAILED, m.ti, pgpath.path.dev.name, m.nr_valid_paths)
    schedule_work(m.trigger_event)
    return 0


def reinstate_path(pgpath):
    """Let a path be used again. What waits is tried again where it is the only one. Returns 0 or -errno."""
    m = pgpath.pg.m
    run_queue = False
    if pgpath.is_active:
        return 0
    DMWARN(DM_MSG_PREFIX, f"Reinstating path {pgpath.path.dev.name}.")
    r = pgpath.pg.ps.type.reinstate_path(pgpath.pg.ps, pgpath.path)
    if r:
        return r
    pgpath.is_active = True
    m.nr_valid_paths += 1
    if m.nr_valid_paths == 1:
        m.current_pgpath = None
        run_queue = True
    elif m.hw_handler_name is not None and m.current_pg is pgpath.pg:
        if queue_work(variables().kmpath_handlerd, pgpath.activate_path):
            m.pg_init_in_progress += 1
    dm_uevent.dm_path_uevent(DM_UEVENT_PATH_REINSTATED, m.ti, pgpath.path.dev.name, m.nr_valid_paths)
    schedule_work(m.trigger_event)
    if run_queue:
        dm_table.dm_table_run_md_queue_async(m.ti.table)
        process_queued_io_list(m)
    return 0


def action_dev(m, dev, action):
    """Do something to all paths that lead to a device. Returns what the last says, or -EINVAL where there is none."""
    r = -EINVAL
    for pg in m.priority_groups:
        for path in pg.pgpaths:
            if path.path.dev is dev:
                r = action(path)
    return r


def bypass_pg(m, pg, bypassed):
    """Avoid a group while there is another, or no longer; choose anew in any case."""
    pg.bypassed = bypassed
    m.current_pgpath = None
    m.current_pg = None
    schedule_work(m.trigger_event)


def switch_pg_num(m, pgstr):
    """Use the group of that number from the next I/O on; no group is bypassed any more. Returns 0 or -EINVAL."""
    found = sscanf(pgstr, "%u%c")
    if len(found) != 1 or not found[0] or found[0] > m.nr_priority_groups:
        DMWARN(DM_MSG_PREFIX, "invalid PG number supplied to switch_pg_num")
        return -EINVAL
    for pg in m.priority_groups:
        pg.bypassed = False
        if pg.pg_num == found[0]:
            m.current_pgpath = None
            m.current_pg = None
            m.next_pg = pg
    schedule_work(m.trigger_event)
    return 0


def bypass_pg_num(m, pgstr, bypassed):
    """bypass_pg() for the group of that number. Returns 0 or -EINVAL."""
    found = sscanf(pgstr, "%u%c")
    if len(found) != 1 or not found[0] or found[0] > m.nr_priority_groups:
        DMWARN(DM_MSG_PREFIX, "invalid PG number supplied to bypass_pg")
        return -EINVAL
    pg = next(pg for pg in m.priority_groups if pg.pg_num == found[0])
    bypass_pg(m, pg, bypassed)
    return 0


# ---------------------------------------------------------------- initialising a group


def pg_init_limit_reached(m, pgpath):
    """Whether a path has been tried often enough; if not, it is to be tried again."""
    if m.pg_init_count <= m.pg_init_retries and not test_bit(MPATHF_PG_INIT_DISABLED, m.flags):
        m.flags |= 1 << MPATHF_PG_INIT_REQUIRED
        return False
    return True


def pg_init_done(data, errors):
    """A hardware handler has initialised a path, or failed to: try again, use another, or let I/O begin.

    data: the path. errors: SCSI_DH_*.
    """
    pgpath = data
    pg = pgpath.pg
    m = pg.m
    delay_retry = False
    if errors == SCSI_DH_OK:
        pass
    elif errors == SCSI_DH_NOSYS:
        if m.hw_handler_name is None:
            errors = SCSI_DH_OK
        else:
            DMERR(DM_MSG_PREFIX, f"Could not failover the device: Handler scsi_dh_{m.hw_handler_name} Error {errors}.")
            fail_path(pgpath)
    elif errors == SCSI_DH_DEV_TEMP_BUSY:
        bypass_pg(m, pg, True)
    elif errors in (SCSI_DH_RETRY, SCSI_DH_IMM_RETRY, SCSI_DH_RES_TEMP_UNAVAIL):
        delay_retry = errors == SCSI_DH_RETRY
        if pg_init_limit_reached(m, pgpath):
            fail_path(pgpath)
        errors = SCSI_DH_OK
    else:
        fail_path(pgpath)

    if errors:
        if pgpath is m.current_pgpath:
            DMERR(DM_MSG_PREFIX, f"Could not failover device. Error {errors}.")
            m.current_pgpath = None
            m.current_pg = None
    elif not test_bit(MPATHF_PG_INIT_REQUIRED, m.flags):
        pg.bypassed = False

    m.pg_init_in_progress -= 1
    if m.pg_init_in_progress > 0:
        return
    if test_bit(MPATHF_PG_INIT_REQUIRED, m.flags):
        m.flags = assign_bit(MPATHF_PG_INIT_DELAY_RETRY, m.flags, delay_retry)
        if __pg_init_all_paths(m):
            return
    m.flags &= ~(1 << MPATHF_QUEUE_IO)
    process_queued_io_list(m)
    wake_up(m.pg_init_wait)


def activate_or_offline_path(pgpath):
    """Initialise a path; one whose disk is gone fails."""
    q = bdev_get_queue(pgpath.path.dev.bdev)
    if pgpath.is_active and not blk_queue_dying(q):
        scsi_dh_activate(q, pg_init_done, pgpath)
    else:
        pg_init_done(pgpath, SCSI_DH_DEV_OFFLINED)


def activate_path_work(work):
    """The same, in a worker."""
    activate_or_offline_path(work.data)


# ---------------------------------------------------------------- the end of an I/O


def multipath_end_io(ti, clone, error, map_context):
    """A clone is done. One whose path may be to blame takes it out of use, and is tried again on another.

    Returns DM_ENDIO_*.
    """
    mpio = get_mpio(map_context)
    went = mpio.pgpath
    r = DM_ENDIO_DONE
    if error and blk_path_error(error):
        m = ti.private
        r = DM_ENDIO_DELAY_REQUEUE if error == BLK_STS_RESOURCE else DM_ENDIO_REQUEUE
        if went is not None:
            fail_path(went)
        if m.nr_valid_paths == 0 and not must_push_back_rq(m):
            if error == BLK_STS_IOERR:
                dm_table.dm_table_get_md(m.ti.table)  # for a message that is off
            r = DM_ENDIO_DONE
    if went is not None and went.pg.ps.type.end_io is not None:
        went.pg.ps.type.end_io(went.pg.ps, went.path, mpio.nr_bytes)
    return r


def multipath_end_io_bio(ti, clone, error):
    """The same for a bio, which waits here to be tried again. Returns (DM_ENDIO_*, its status)."""
    m = ti.private
    mpio = get_mpio_from_bio(clone)
    went = mpio.pgpath
    r = DM_ENDIO_DONE
    if error and blk_path_error(error):
        if went is not None:
            fail_path(went)
        if m.nr_valid_paths == 0 and not test_bit(MPATHF_QUEUE_IF_NO_PATH, m.flags):
            if must_push_back_bio(m):
                r = DM_ENDIO_REQUEUE
            else:
                dm_table.dm_table_get_md(m.ti.table)  # for a message that is off
                error = BLK_STS_IOERR
        else:
            bio_list_add(m.queued_bios, clone)
            if not test_bit(MPATHF_QUEUE_IO, m.flags):
                queue_work(variables().kmultipathd, m.process_queued_bios)
            r = DM_ENDIO_INCOMPLETE
    if went is not None and went.pg.ps.type.end_io is not None:
        went.pg.ps.type.end_io(went.pg.ps, went.path, mpio.nr_bytes)
    return r, error


# ---------------------------------------------------------------- suspending


def multipath_presuspend(ti):
    """The device is about to be suspended, which waits for all I/O: let what has no path fail, not wait."""
    queue_if_no_path(ti.private, False, True)


def multipath_postsuspend(ti):
    """It is suspended: let the workers finish."""
    flush_multipath_work(ti.private)


def multipath_resume(ti):
    """It goes on: queue_if_no_path is what it was."""
    m = ti.private
    m.flags = assign_bit(MPATHF_QUEUE_IF_NO_PATH, m.flags, test_bit(MPATHF_SAVED_QUEUE_IF_NO_PATH, m.flags))


# ---------------------------------------------------------------- what user space asks


def multipath_status(ti, type, status_flags):
    """The target's state, or the words that make it.

    State: 2 <all I/O waits> <initialisations begun> 0 <groups> <group in use or next>, then for each group A (in
    use), E or D (bypassed), the selector's words, the number of paths, that of a path's words, and for each path its
    device, A or F (failed), how often it failed, and the selector's words.
    """
    m = ti.private
    words = []
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

    words.append("0 " if m.hw_handler_name is None or type == STATUSTYPE_INFO else f"1 {m.hw_handler_name} ")
    if m.next_pg is not None:
        pg_num = m.next_pg.pg_num
    elif m.current_pg is not None:
        pg_num = m.current_pg.pg_num
    else:
        pg_num = 1 if m.nr_priority_groups else 0
    words.append(f"{m.nr_priority_groups} {pg_num} ")

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


def multipath_message(ti, argc, argv):
    """Do what a message says: queue_if_no_path, fail_if_no_path; disable_group, enable_group, switch_group with a
    number; reinstate_path, fail_path with a device. Returns 0, -EBUSY while the device is suspended, or -errno."""
    m = ti.private
    if dm.dm_suspended(ti):
        return -EBUSY
    word = argv[0].lower()
    if argc == 1 and word == "queue_if_no_path":
        return queue_if_no_path(m, True, False)
    if argc == 1 and word == "fail_if_no_path":
        return queue_if_no_path(m, False, False)
    if argc != 2:
        DMWARN(DM_MSG_PREFIX, f"Invalid multipath message arguments. Expected 2 arguments, got {argc}.")
        return -EINVAL

    if word == "disable_group":
        return bypass_pg_num(m, argv[1], True)
    if word == "enable_group":
        return bypass_pg_num(m, argv[1], False)
    if word == "switch_group":
        return switch_pg_num(m, argv[1])
    if word == "reinstate_path":
        action = reinstate_path
    elif word == "fail_path":
        action = fail_path
    else:
        DMWARN(DM_MSG_PREFIX, f"Unrecognised multipath message received: {argv[0]}")
        return -EINVAL
    r, dev = dm_table.dm_get_device(ti, argv[1], dm_table.dm_table_get_mode(ti.table))
    if r:
        DMWARN(DM_MSG_PREFIX, f"message: error getting device {argv[1]}")
        return r
    r = action_dev(m, dev, action)
    dm_table.dm_put_device(ti, dev)
    return r


def multipath_prepare_ioctl(ti):
    """Choose the device that an ioctl is passed to.

    Returns (0, it), (1, it) where it is larger or smaller than the target, or (-errno, None).
    """
    m = ti.private
    bdev = None
    chosen = m.current_pgpath
    if chosen is None or not test_bit(MPATHF_QUEUE_IO, m.flags):
        chosen = choose_pgpath(m, 0)
    if chosen is not None:
        if not test_bit(MPATHF_QUEUE_IO, m.flags):
            bdev = chosen.path.dev.bdev
            r = 0
        else:
            r = -ENOTCONN
    else:
        r = -ENOTCONN if test_bit(MPATHF_QUEUE_IF_NO_PATH, m.flags) else -EIO
    if r == -ENOTCONN:
        if m.current_pg is None:
            choose_pgpath(m, 0)
        if test_bit(MPATHF_PG_INIT_REQUIRED, m.flags):
            pg_init_all_paths(m)
        dm_table.dm_table_run_md_queue_async(m.ti.table)
        process_queued_io_list(m)
    if not r and ti.len != i_size_read(bdev.bd_inode) >> SECTOR_SHIFT:
        return 1, bdev
    return r, bdev


def multipath_iterate_devices(ti, fn, data):
    """Call fn(ti, dev, start, len, data) for each path, until one is not 0. Returns that."""
    for pg in ti.private.priority_groups:
        for p in pg.pgpaths:
            ret = fn(ti, p.path.dev, ti.begin, ti.len, data)
            if ret:
                return ret
    return 0


def pgpath_busy(pgpath):
    """Whether the queue that a path leads to says that it has no room."""
    return blk_core.blk_lld_busy(bdev_get_queue(pgpath.path.dev.bdev))


def multipath_busy(ti):
    """Whether a request could be mapped now but would wait below. Where it could not be mapped the answer is no: it
    has to be tried, to fail or to be put back."""
    m = ti.private
    if m.pg_init_in_progress:
        return True
    if not m.nr_valid_paths and test_bit(MPATHF_QUEUE_IF_NO_PATH, m.flags):
        return m.queue_mode != DM_TYPE_REQUEST_BASED
    pg = m.current_pg
    if m.current_pgpath is None and m.next_pg is not None:
        pg = m.next_pg
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
    name="multipath",
    version=(1, 13, 0),
    features=DM_TARGET_SINGLETON | DM_TARGET_IMMUTABLE | DM_TARGET_PASSES_INTEGRITY,
    module=THIS_MODULE,
    ctr=multipath_ctr,
    dtr=multipath_dtr,
    clone_and_map_rq=multipath_clone_and_map,
    release_clone_rq=multipath_release_clone,
    rq_end_io=multipath_end_io,
    map=multipath_map_bio,
    end_io=multipath_end_io_bio,
    presuspend=multipath_presuspend,
    postsuspend=multipath_postsuspend,
    resume=multipath_resume,
    status=multipath_status,
    message=multipath_message,
    prepare_ioctl=multipath_prepare_ioctl,
    iterate_devices=multipath_iterate_devices,
    busy=multipath_busy,
)


def dm_multipath_init():
    """Load the module. Returns 0 or -errno."""
    own = variables()
    own.kmultipathd = alloc_workqueue("kmpathd")
    if own.kmultipathd is None:
        DMERR(DM_MSG_PREFIX, "failed to create workqueue kmpathd")
        return -ENOMEM
    own.kmpath_handlerd = alloc_workqueue("kmpath_handlerd")
    if own.kmpath_handlerd is None:
        DMERR(DM_MSG_PREFIX, "failed to create workqueue kmpath_handlerd")
        r = -ENOMEM
    else:
        r = dm_target.dm_register_target(multipath_target)
        if r >= 0:
            return 0
        DMERR(DM_MSG_PREFIX, f"request-based register failed {r}")
        r = -EINVAL
        destroy_workqueue(own.kmpath_handlerd)
    destroy_workqueue(own.kmultipathd)
    return r


def dm_multipath_exit():
    """Unload it."""
    own = variables()
    destroy_workqueue(own.kmpath_handlerd)
    destroy_workqueue(own.kmultipathd)
    dm_target.dm_unregister_target(multipath_target)
