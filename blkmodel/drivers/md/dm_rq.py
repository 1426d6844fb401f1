"""Request-based devices: each request becomes another one, a clone, for a queue below.

The clone's bios share the memory of the original's. When the clone is done the target looks at its status; then the
original ends, or goes back to be mapped again. Statistics are left out.
"""

from __future__ import annotations

from dataclasses import field

from blkmodel.block import bio as block_bio, blk_core, blk_mq
from blkmodel.drivers.md import dm, dm_table
from blkmodel.drivers.md.dm_core_h import DM_RESERVED_MAX_IOS, mapped_device
from blkmodel.include.linux.blk_mq import (BLK_MQ_F_SHOULD_MERGE, BLK_MQ_MAX_DEPTH, blk_mq_cleanup_rq, blk_mq_hw_ctx,
    blk_mq_ops, blk_mq_queue_data, blk_mq_rq_to_pdu, blk_mq_tag_set)
from blkmodel.include.linux.blkdev import (BLK_STS_DEV_RESOURCE, BLK_STS_IOERR, BLK_STS_OK, BLK_STS_RESOURCE,
    BLK_STS_TARGET, REQ_OP_DISCARD, REQ_OP_WRITE_ZEROES, RQF_FAILED, RQF_IO_STAT, bio, blk_queue_io_stat, disk_devt,
    queue_is_mq, req_op, request, request_queue)
from blkmodel.include.linux.device_mapper import (DM_ENDIO_DELAY_REQUEUE, DM_ENDIO_DONE, DM_ENDIO_INCOMPLETE,
    DM_ENDIO_REQUEUE, DM_MAPIO_DELAY_REQUEUE, DM_MAPIO_KILL, DM_MAPIO_REMAPPED, DM_MAPIO_REQUEUE, DM_MAPIO_SUBMITTED,
    DMWARN, dm_target, map_info)
from blkmodel.services import (BUG_ON, ENOMEM, GFP_ATOMIC, GFP_KERNEL, IS_ERR, PTR_ERR, kernel_param, kfree,
    ktime_get_ns, kzalloc_node, param_set_bool, param_set_uint, waitqueue_active, wake_up)
from blkmodel.sim import NULL, Struct, sizeof, statics

DM_MSG_PREFIX, DM_MQ_NR_HW_QUEUES, DM_MQ_QUEUE_DEPTH, RESERVED_REQUEST_BASED_IOS = "core-rq", 1, 2048, 256


class dm_rq_target_io(Struct):
    """What lies behind each request: its way through device mapper. `info` is the target's; completed: bytes."""

    md: mapped_device = NULL
    ti: dm_target = NULL
    orig: request = NULL
    clone: request = NULL
    error: int = 0
    info: map_info = field(default_factory=map_info)
    completed: int = 0


class dm_rq_clone_bio_info(Struct):
    """What lies before each bio of a clone: the bio that it stands for."""

    orig: bio = NULL
    tio: dm_rq_target_io = NULL


class variables(statics):
    """The module's parameters."""

    def __init__(self) -> None:
        self.dm_mq_nr_hw_queues = DM_MQ_NR_HW_QUEUES
        self.dm_mq_queue_depth = DM_MQ_QUEUE_DEPTH
        self.use_blk_mq = True
        self.reserved_rq_based_ios = RESERVED_REQUEST_BASED_IOS


module_params = tuple(kernel_param(name, setter, variables, name) for name, setter in (
    ("reserved_rq_based_ios", param_set_uint), ("dm_mq_nr_hw_queues", param_set_uint),
    ("dm_mq_queue_depth", param_set_uint), ("use_blk_mq", param_set_bool)))  # nothing looks at the last any more


def dm_get_reserved_rq_based_ios() -> int:
    """How many bios a device keeps in reserve for clones."""
    return dm.__dm_get_module_param(variables(), "reserved_rq_based_ios", RESERVED_REQUEST_BASED_IOS,
                                    DM_RESERVED_MAX_IOS)


def dm_get_blk_mq_nr_hw_queues() -> int:
    """Return how many hardware queues a device gets: the module's parameter, from 1 to 32."""
    return dm.__dm_get_module_param(variables(), "dm_mq_nr_hw_queues", 1, 32)


def dm_get_blk_mq_queue_depth() -> int:
    """Return how many requests each hardware queue of a device gets: the module's parameter."""
    return dm.__dm_get_module_param(variables(), "dm_mq_queue_depth", DM_MQ_QUEUE_DEPTH, BLK_MQ_MAX_DEPTH)


def dm_request_based(md: mapped_device) -> bool:
    """Return whether a device takes requests: whether its queue is one of blk-mq."""
    return queue_is_mq(md.queue)


def dm_start_queue(q: request_queue) -> None:
    """Let the device's requests be mapped again, first those that were put back."""
    blk_mq.blk_mq_unquiesce_queue(q)
    blk_mq.blk_mq_kick_requeue_list(q)


def dm_stop_queue(q: request_queue) -> None:
    """Let no request of the device be mapped, and wait until none is being mapped."""
    blk_mq.blk_mq_quiesce_queue(q)


def end_clone_bio(clone: bio) -> None:
    """One bio of a clone is done: note how much that is of the original, whose own bios end with the last.

    After an error the original stays as it is, for the target to decide.
    """
    info, error, is_last = clone._front, clone.bi_status, clone.bi_next is None
    tio, nr_bytes = info.tio, info.orig.bi_iter.bi_size
    block_bio.bio_put(clone)
    if tio.error:
        return
    if error:
        tio.error = error
    else:
        tio.completed += nr_bytes
        if not is_last:
            return
    blk_core.blk_update_request(tio.orig, BLK_STS_OK, tio.completed)


def tio_from_request(rq: request) -> dm_rq_target_io:
    """Return device mapper's own data, which lie right behind a request."""
    return blk_mq_rq_to_pdu(rq, dm_rq_target_io)


def rq_end_stats(md: mapped_device, orig: request) -> None:
    """Count a request's time where somebody asked for statistics, which nobody can here."""


def rq_completed(md: mapped_device) -> None:
    """One request less is under way: wake who waits for that, and let the device go."""
    if waitqueue_active(md.wait):
        wake_up(md.wait)
    dm.dm_put(md)


def dm_end_request(clone: request, error: int) -> None:
    """End the original with a status, after the clone is freed."""
    tio = clone.end_io_data
    md, rq = tio.md, tio.orig
    blk_core.blk_rq_unprep_clone(clone)
    tio.ti.type.release_clone_rq(clone, None)
    rq_end_stats(md, rq)
    blk_mq.blk_mq_end_request(rq, error)
    rq_completed(md)


def __dm_mq_kick_requeue_list(q: request_queue, msecs: int) -> None:
    """Let the requests that a queue put back be mapped again after so many milliseconds."""
    blk_mq.blk_mq_delay_kick_requeue_list(q, msecs)


def dm_mq_kick_requeue_list(md: mapped_device) -> None:
    """Let the requests that a device put back be mapped again at once."""
    __dm_mq_kick_requeue_list(dm.dm_get_md_queue(md), 0)


def dm_mq_delay_requeue_request(rq: request, msecs: int) -> None:
    """Put a request back, to be mapped again after so many milliseconds."""
    blk_mq.blk_mq_requeue_request(rq, False)
    __dm_mq_kick_requeue_list(rq.q, msecs)


def dm_requeue_original_request(tio: dm_rq_target_io, delay_requeue: bool) -> None:
    """Free the clone, if there is one, and put the original back: for a moment, or for 100 ms."""
    md, rq = tio.md, tio.orig
    rq_end_stats(md, rq)
    if tio.clone is not None:
        blk_core.blk_rq_unprep_clone(tio.clone)
        tio.ti.type.release_clone_rq(tio.clone, None)
    dm_mq_delay_requeue_request(rq, 100 if delay_requeue else 0)
    rq_completed(md)


def dm_done(clone: request, error: int, mapped: bool) -> None:
    """A clone is done: ask the target what to make of its status. A device that refused an operation that it does
    not have is not asked for it again."""
    r, tio = DM_ENDIO_DONE, clone.end_io_data
    if tio.ti is not None and mapped and tio.ti.type.rq_end_io is not None:
        r = tio.ti.type.rq_end_io(tio.ti, clone, error, tio.info)

    if error == BLK_STS_TARGET:
        limits = clone.q.limits
        if req_op(clone) == REQ_OP_DISCARD and not limits.max_discard_sectors:
            dm.disable_discard(tio.md)
        elif req_op(clone) == REQ_OP_WRITE_ZEROES and not limits.max_write_zeroes_sectors:
            dm.disable_write_zeroes(tio.md)

    if r == DM_ENDIO_DONE:
        dm_end_request(clone, error)
    elif r in (DM_ENDIO_REQUEUE, DM_ENDIO_DELAY_REQUEUE):
        dm_requeue_original_request(tio, r == DM_ENDIO_DELAY_REQUEUE)
    elif r != DM_ENDIO_INCOMPLETE:  # with which the target would deal itself
        DMWARN(f"unimplemented target endio return value: {r}")
        BUG_ON(True, "a target's rq_end_io() answers what nobody knows")


def dm_softirq_done(rq: request) -> None:
    """A request is done, or could not be mapped: finish it."""
    tio = tio_from_request(rq)
    if (clone := tio.clone) is None:
        md = tio.md
        rq_end_stats(md, rq)
        blk_mq.blk_mq_end_request(rq, tio.error)
        rq_completed(md)
        return
    dm_done(clone, tio.error, not rq.rq_flags & RQF_FAILED)


def dm_complete_request(rq: request, error: int) -> None:
    """Let a request be finished in a softirq, with a status for the target to see."""
    tio_from_request(rq).error = error
    blk_mq.blk_mq_complete_request(rq)


def dm_kill_unmapped_request(rq: request, error: int) -> None:
    """Let a request that could not be mapped be finished with a status; the target is not asked."""
    rq.rq_flags |= RQF_FAILED
    dm_complete_request(rq, error)


def end_clone_request(clone: request, error: int) -> None:
    """Complete the original of a clone that is done, with its status."""
    dm_complete_request(clone.end_io_data.orig, error)


def dm_dispatch_clone_request(clone: request, rq: request) -> int:
    """Give a clone to its queue. Returns a BLK_STS_* status; one that failed at once completes the original."""
    if blk_queue_io_stat(clone.q):
        clone.rq_flags |= RQF_IO_STAT
    clone.start_time_ns = ktime_get_ns()
    r = blk_core.blk_insert_cloned_request(clone.q, clone)
    if r not in (BLK_STS_OK, BLK_STS_RESOURCE, BLK_STS_DEV_RESOURCE):
        dm_complete_request(rq, r)
    return r


def dm_rq_bio_constructor(bio: bio, bio_orig: bio, data: dm_rq_target_io) -> int:
    """Make a clone's bio report to the bio that it stands for."""
    bio._front = dm_rq_clone_bio_info(bio_orig, data)
    bio.bi_end_io = end_clone_bio
    return 0


def setup_clone(clone: request, rq: request, tio: dm_rq_target_io, gfp_mask: int) -> int:
    """Make an empty request the clone of another. Returns 0 or -ENOMEM."""
    if r := blk_core.blk_rq_prep_clone(clone, rq, tio.md.bs, gfp_mask, dm_rq_bio_constructor, tio):
        return r
    clone.end_io, clone.end_io_data = end_clone_request, tio
    tio.clone = clone
    return 0


def init_tio(tio: dm_rq_target_io, rq: request, md: mapped_device) -> None:
    """Begin anew with a request. Where the target has room behind it, `info` stays: it says where."""
    tio.md, tio.orig, tio.error, tio.completed = md, rq, BLK_STS_OK, 0
    tio.ti = tio.clone = NULL
    if not md.init_tio_pdu:
        tio.info.ptr = NULL


def map_request(tio: dm_rq_target_io) -> int:
    """Let the target map a request, and send its clone down. Returns DM_MAPIO_*; on DM_MAPIO_REQUEUE the request is
    the caller's again."""
    ti, md, rq = tio.ti, tio.md, tio.orig
    r, clone = ti.type.clone_and_map_rq(ti, rq, tio.info)
    if r == DM_MAPIO_REMAPPED:
        if setup_clone(clone, rq, tio, GFP_ATOMIC):
            ti.type.release_clone_rq(clone, tio.info)
            return DM_MAPIO_REQUEUE
        disk_devt(dm.dm_disk(md))  # recorder: for a tracepoint, which is off
        if dm_dispatch_clone_request(clone, rq) in (BLK_STS_RESOURCE, BLK_STS_DEV_RESOURCE):
            blk_core.blk_rq_unprep_clone(clone)
            blk_mq_cleanup_rq(clone)
            tio.ti.type.release_clone_rq(clone, tio.info)
            tio.clone = NULL
            return DM_MAPIO_REQUEUE
    elif r == DM_MAPIO_DELAY_REQUEUE:
        dm_requeue_original_request(tio, True)
    elif r == DM_MAPIO_KILL:
        dm_kill_unmapped_request(rq, BLK_STS_IOERR)
    elif r not in (DM_MAPIO_SUBMITTED, DM_MAPIO_REQUEUE):  # then the target will submit it, or the caller tries again
        DMWARN(f"unimplemented target map return value: {r}")
        BUG_ON(True, "a target's clone_and_map_rq() answers what nobody knows")
    return r


def dm_start_request(md: mapped_device, orig: request) -> None:
    """A request is under way: hold the device, which might be closed before it is done."""
    blk_mq.blk_mq_start_request(orig)
    dm.dm_get(md)


def dm_mq_init_request(set: blk_mq_tag_set, rq: request, hctx_idx: int, numa_node: int) -> int:
    """Note which device a request is of, and where its target's data are: right behind device mapper's own."""
    md, tio = set.driver_data, blk_mq_rq_to_pdu(rq, dm_rq_target_io)
    tio.md = md
    if md.init_tio_pdu:
        tio.info.ptr = tio._addr + sizeof(dm_rq_target_io)
    return 0


def dm_mq_queue_rq(hctx: blk_mq_hw_ctx, bd: blk_mq_queue_data) -> int:
    """Take a request: its target's clone of it goes down at once. Returns BLK_STS_OK, or BLK_STS_RESOURCE where the
    queues below are busy, or the target wants it later."""
    rq = bd.rq
    tio = blk_mq_rq_to_pdu(rq, dm_rq_target_io)
    md = tio.md
    if (ti := md.immutable_target) is None:
        map, srcu_idx = dm.dm_get_live_table(md)
        ti = dm_table.dm_table_find_target(map, 0)
        dm.dm_put_live_table(md, srcu_idx)
    if ti.type.busy is not None and ti.type.busy(ti):
        return BLK_STS_RESOURCE

    dm_start_request(md, rq)
    init_tio(tio, rq, md)
    tio.ti = ti
    if map_request(tio) == DM_MAPIO_REQUEUE:
        rq_end_stats(md, rq)
        rq_completed(md)
        return BLK_STS_RESOURCE
    return BLK_STS_OK


dm_mq_ops = blk_mq_ops(queue_rq=dm_mq_queue_rq, complete=dm_softirq_done, init_request=dm_mq_init_request)


def dm_mq_init_request_queue(md: mapped_device, t: dm_table.dm_table) -> int:
    """Make a device's queue one of requests, of as many hardware queues and tags as the module's parameters say.

    Returns 0, or -errno; then the device has no tag set.
    """
    md.tag_set = kzalloc_node(blk_mq_tag_set, GFP_KERNEL, md.numa_node_id)
    if md.tag_set is None:
        return -ENOMEM
    set = md.tag_set
    set.ops, set.driver_data, set.numa_node, set.flags = dm_mq_ops, md, md.numa_node_id, BLK_MQ_F_SHOULD_MERGE
    set.queue_depth = dm_get_blk_mq_queue_depth()
    set.nr_hw_queues = dm_get_blk_mq_nr_hw_queues()
    set.cmd_size = sizeof(dm_rq_target_io)
    if (immutable_tgt := dm_table.dm_table_get_immutable_target(t)) is not None and immutable_tgt.per_io_data_size:
        set.cmd_size += immutable_tgt.per_io_data_size
        md.init_tio_pdu = True

    if not (err := blk_mq.blk_mq_alloc_tag_set(set)):
        if not IS_ERR(q := blk_mq.blk_mq_init_allocated_queue(set, md.queue, True)):
            return 0
        err = PTR_ERR(q)
        blk_mq.blk_mq_free_tag_set(set)
    kfree(set)
    md.tag_set = NULL
    return err


def dm_mq_cleanup_mapped_device(md: mapped_device) -> None:
    """Free the tag set of a device that took requests, at its end."""
    if md.tag_set is not None:
        blk_mq.blk_mq_free_tag_set(md.tag_set)
        kfree(md.tag_set)
        md.tag_set = NULL


def dm_attr_rq_based_seq_io_merge_deadline_show(md: mapped_device) -> str:
    """rq_based_seq_io_merge_deadline: a setting that there is no more; for user space that still asks."""
    return "0\n"
