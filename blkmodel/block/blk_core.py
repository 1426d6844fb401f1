"""The block core: queues from birth to death, how bios get into them, and how requests end, bio by bio.

Cgroups, integrity, tracing, I/O contexts of processes and the counting of pages per process are left out.
"""

from collections.abc import Callable
from typing import Any

from blkmodel.block import (bio as bio_module, blk_merge, blk_mq, blk_mq_sched, blk_stat, blk_sysfs, genhd,
    partition_generic)
from blkmodel.block.blk_h import blk_do_io_stat, req_set_nomerge
from blkmodel.block.blk_mq_h import blk_mq_plug
from blkmodel.include.linux.blk_mq import BLK_MQ_REQ_NOWAIT, BLK_MQ_REQ_PREEMPT
from blkmodel.include.linux.blkdev import (BIO_POOL_SIZE, BIO_QUIET, BIO_TRACE_COMPLETION, BIOSET_NEED_BVECS,
    BLK_QC_T_NONE, BLK_STS_AGAIN, BLK_STS_IOERR, BLK_STS_NOTSUPP, BLK_STS_OK, QUEUE_FLAG_DEAD, QUEUE_FLAG_DYING,
    QUEUE_FLAG_NOMERGES, QUEUE_FLAG_NOXMERGES, QUEUE_FLAG_POLL, QUEUE_FLAG_WC, REQ_FAILFAST_MASK, REQ_FUA, REQ_HIPRI,
    REQ_NOWAIT, REQ_OP_DISCARD, REQ_OP_DRV_IN, REQ_OP_DRV_OUT, REQ_OP_FLUSH, REQ_OP_MASK, REQ_OP_READ, REQ_OP_SCSI_IN,
    REQ_OP_SCSI_OUT, REQ_OP_SECURE_ERASE, REQ_OP_WRITE, REQ_OP_WRITE_SAME, REQ_OP_WRITE_ZEROES, REQ_OP_ZONE_RESET,
    REQ_OP_ZONE_RESET_ALL, REQ_PREFLUSH, RQF_FLUSH_SEQ, RQF_MIXED_MERGE, RQF_QUIET, RQF_SPECIAL_PAYLOAD, bio,
    bio_clear_flag, bio_end_sector, bio_list, bio_list_add, bio_list_merge, bio_list_pop, bio_op, bio_sectors, bio_set,
    bio_set_flag, blk_plug, blk_queue_discard, blk_queue_dying, blk_queue_get_max_sectors, blk_queue_io_stat,
    blk_queue_secure_erase, blk_rq_cur_bytes, blk_rq_get_max_sectors, blk_rq_is_passthrough, blk_rq_nr_discard_segments,
    blk_rq_sectors, counters_of, hd_struct, hd_struct_get, hd_struct_put, hd_struct_try_get, op_is_flush, op_is_write,
    op_stat_group, part_nr_sects_read, part_stat_lock, part_stat_unlock, queue_is_mq, queue_max_discard_segments,
    queue_max_segments, req_op, request, request_queue, rq_data_dir, test_bit)
from blkmodel.include.linux.elevator import ELEVATOR_BACK_MERGE, ELEVATOR_DISCARD_MERGE, ELEVATOR_FRONT_MERGE
from blkmodel.reference.omission import no_chapter
from blkmodel.services import (BDI_CAP_CGROUP_WRITEBACK, BUG_ON, EAGAIN, EBADE, EBUSY, EILSEQ, EIO, ENODATA, ENODEV,
    ENOLINK, ENOMEM, ENOSPC, EOPNOTSUPP, EREMCHG, EREMOTEIO, ETIMEDOUT, GFP_KERNEL, HZ, INIT_LIST_HEAD, INIT_WORK,
    IS_ERR, NSEC_PER_SEC, PERCPU_REF_INIT_ATOMIC, VM_READAHEAD_PAGES, WARN_ON_ONCE, WARN_ONCE, WQ_HIGHPRI,
    WQ_MEM_RECLAIM, bdi_alloc_node, bdi_put, cancel_work_sync, del_timer_sync, delayed_work, ida, ida_simple_get,
    ida_simple_remove, jiffies, kmem_cache_alloc_node, kmem_cache_create, kmem_cache_free, kobject_get, kobject_init,
    kobject_put, ktime_get_ns, list_empty, mod_delayed_work_on, percpu_ref, percpu_ref_exit, percpu_ref_init,
    percpu_ref_put, percpu_ref_tryget_live, pr_err, pr_info, printk_ratelimited, provide, queue_work, rcu_read_lock,
    rcu_read_unlock, timer_list, timer_setup, wait_event, wake_up_all, work_struct, workqueue_struct)
from blkmodel.sim import NULL, sizeof, statics, this

OMITTED = no_chapter("""blk_alloc_queue blk_check_plugged blk_clear_pm_only blk_rq_err_bytes blk_set_pm_only
    blk_steal_bios direct_make_request kblockd_schedule_work_on""")

BLK_OP_NAMES = {REQ_OP_READ: "READ", REQ_OP_WRITE: "WRITE", REQ_OP_FLUSH: "FLUSH", REQ_OP_DISCARD: "DISCARD",
                REQ_OP_SECURE_ERASE: "SECURE_ERASE", REQ_OP_ZONE_RESET: "ZONE_RESET",
                REQ_OP_ZONE_RESET_ALL: "ZONE_RESET_ALL", REQ_OP_WRITE_SAME: "WRITE_SAME",
                REQ_OP_WRITE_ZEROES: "WRITE_ZEROES", REQ_OP_SCSI_IN: "SCSI_IN", REQ_OP_SCSI_OUT: "SCSI_OUT",
                REQ_OP_DRV_IN: "DRV_IN", REQ_OP_DRV_OUT: "DRV_OUT"}

# what a queue must be able to do for some operations; zoned devices are left out
CAN_DO = {REQ_OP_DISCARD: blk_queue_discard, REQ_OP_SECURE_ERASE: blk_queue_secure_erase,
          REQ_OP_WRITE_SAME: lambda q: q.limits.max_write_same_sectors, REQ_OP_ZONE_RESET: lambda q: False,
          REQ_OP_ZONE_RESET_ALL: lambda q: False, REQ_OP_WRITE_ZEROES: lambda q: q.limits.max_write_zeroes_sectors}

# errno and words of each status; the index is the status
BLK_ERRORS = ((0, ""), (-EOPNOTSUPP, "operation not supported"), (-ETIMEDOUT, "timeout"),
              (-ENOSPC, "critical space allocation"), (-ENOLINK, "recoverable transport"),
              (-EREMOTEIO, "critical target"), (-EBADE, "critical nexus"), (-ENODATA, "critical medium"),
              (-EILSEQ, "protection"), (-ENOMEM, "kernel resource"), (-EIO, "I/O"),
              (-EREMCHG, "dm internal retry"), (-EAGAIN, "nonblocking retry"), (-EBUSY, "device resource"))


class variables(statics):
    """The numbers that queues have, the cache that they are from, and the block layer's own workers, which no other
    task of their CPU is to keep waiting."""

    def __init__(self) -> None:
        self.blk_queue_ida, self.blk_requestq_cachep = ida(), NULL
        self.kblockd_workqueue = workqueue_struct(name="kblockd", flags=WQ_MEM_RECLAIM | WQ_HIGHPRI)


def blk_queue_flag_set(flag: int, q: request_queue) -> None:
    """Set one of a queue's flags."""
    q.queue_flags |= 1 << flag


def blk_queue_flag_clear(flag: int, q: request_queue) -> None:
    """Clear one of a queue's flags."""
    q.queue_flags &= ~(1 << flag)


def blk_queue_flag_test_and_set(flag: int, q: request_queue) -> bool:
    """Set a flag; return whether it was set before."""
    was = test_bit(flag, q.queue_flags)
    q.queue_flags |= 1 << flag
    return was


def blk_rq_init(q: request_queue, rq: request) -> None:
    """Make a request empty, for somebody who has its memory from elsewhere. The driver's data behind it stay."""
    pdu = rq._pdu
    request.__init__(rq)
    rq._pdu, rq.q, rq._sector, rq.tag, rq.internal_tag = pdu, q, -1, -1, -1
    rq.start_time_ns = ktime_get_ns()
    rq.ref = 1


def blk_op_str(op: int) -> str:
    """An operation's name, for the log."""
    return BLK_OP_NAMES.get(op, "UNKNOWN")


def errno_to_blk_status(errno: int) -> int:
    """The status that stands for a negative errno; BLK_STS_IOERR where none does."""
    return next((status for status, (known, _) in enumerate(BLK_ERRORS) if known == errno), BLK_STS_IOERR)


def blk_status_to_errno(status: int) -> int:
    """The negative errno of a status, 0 for BLK_STS_OK."""
    if WARN_ON_ONCE(status >= len(BLK_ERRORS)):
        return -EIO
    return BLK_ERRORS[status][0]


def print_req_error(req: request, status: int, caller: str) -> None:
    """Log that a request failed, ten times in five seconds."""
    if WARN_ON_ONCE(status >= len(BLK_ERRORS)):
        return
    disk = req.rq_disk.disk_name if req.rq_disk is not None else "?"
    printk_ratelimited(f"{caller}: {BLK_ERRORS[status][1]} error, dev {disk}, sector {req._sector} "
                       f"op {req_op(req):#x}:({blk_op_str(req_op(req))}) flags {req.cmd_flags & ~REQ_OP_MASK:#x} "
                       f"phys_seg {req.nr_phys_segments} prio class 0")


def req_bio_endio(rq: request, bio: bio, nbytes: int, error: int) -> None:
    """So many bytes of a request's bio are done; the bio ends with its last byte, unless a flush is to follow."""
    if error:
        bio.bi_status = error
    if rq.rq_flags & RQF_QUIET:
        bio_set_flag(bio, BIO_QUIET)
    bio_module.bio_advance(bio, nbytes)
    if bio.bi_iter.bi_size == 0 and not rq.rq_flags & RQF_FLUSH_SEQ:
        bio_module.bio_endio(bio)


def blk_dump_rq_flags(rq: request, msg: str) -> None:
    """Log what a request looks like."""
    pr_info(f"{msg}: dev {rq.rq_disk.disk_name if rq.rq_disk is not None else '?'}: flags={rq.cmd_flags:x}")
    pr_info(f"  sector {rq._sector}, nr/cnr {blk_rq_sectors(rq)}/{blk_rq_cur_bytes(rq) >> 9}")
    pr_info(f"  bio {getattr(rq.bio, '_addr', 0):x}, biotail {getattr(rq.biotail, '_addr', 0):x}, "
            f"len {rq._data_len}")


def blk_sync_queue(q: request_queue) -> None:
    """Stop the queue's timer and the work that it starts."""
    del_timer_sync(q.timeout)
    cancel_work_sync(q.timeout_work)


def blk_put_queue(q: request_queue) -> None:
    """Drop a reference to a queue; the last one frees it, later, in a worker."""
    kobject_put(q.kobj)


def blk_set_queue_dying(q: request_queue) -> None:
    """Let nobody in any more, and send away those who wait: for the queue, or for a tag."""
    blk_queue_flag_set(QUEUE_FLAG_DYING, q)
    blk_mq.blk_freeze_queue_start(q)
    if queue_is_mq(q):
        blk_mq.blk_mq_wake_waiters(q)
    wake_up_all(q.mq_freeze_wq)


def blk_cleanup_queue(q: request_queue) -> None:
    """End a queue's life: wait for what is in it, then take it apart. Its memory stays until the last reference."""
    with q.sysfs_lock:
        blk_set_queue_dying(q)
        blk_queue_flag_set(QUEUE_FLAG_NOMERGES, q)
        blk_queue_flag_set(QUEUE_FLAG_NOXMERGES, q)
        blk_queue_flag_set(QUEUE_FLAG_DYING, q)
    blk_mq.blk_freeze_queue(q)
    blk_queue_flag_set(QUEUE_FLAG_DEAD, q)
    blk_sync_queue(q)
    if queue_is_mq(q):
        blk_mq.blk_mq_exit_queue(q)
    with q.sysfs_lock:
        if q.elevator is not None:
            blk_mq_sched.blk_mq_sched_free_requests(q)
    percpu_ref_exit(q.q_usage_counter)
    blk_put_queue(q)


def blk_queue_enter(q: request_queue, flags: int) -> int:
    """Hold the queue for a submission; wait while it is frozen, unless BLK_MQ_REQ_NOWAIT forbids.

    Returns 0, -EBUSY where that would mean waiting, -ENODEV for a dying queue.
    """
    # Left out: queues that only requests for power management may enter (pm_only).
    while True:
        rcu_read_lock()
        success = percpu_ref_tryget_live(q.q_usage_counter)
        rcu_read_unlock()
        if success:
            return 0
        if flags & BLK_MQ_REQ_NOWAIT:
            return -EBUSY
        wait_event(q.mq_freeze_wq, lambda: not q.mq_freeze_depth or blk_queue_dying(q), "a frozen queue")
        if blk_queue_dying(q):
            return -ENODEV


def blk_queue_exit(q: request_queue) -> None:
    """Let the queue go."""
    percpu_ref_put(q.q_usage_counter)


def blk_queue_usage_counter_release(ref: percpu_ref) -> None:
    """Nobody is in the queue any more: wake who waits for that."""
    wake_up_all(ref._owner.mq_freeze_wq)


def blk_rq_timed_out_timer(t: timer_list) -> None:
    """Some request may have taken too long: look into it where one may sleep."""
    kblockd_schedule_work(t.data.timeout_work)


def blk_timeout_work(work: work_struct) -> None:
    """What the timer of a queue without requests comes to: nothing."""


def blk_alloc_queue_node(gfp_mask: int, node_id: int) -> request_queue:
    """Allocate a queue, with its own bios for splitting and one reference; None on failure.

    Until blk_register_queue() its usage counter is in atomic mode, as it may be given up soon.
    """
    own = variables()
    if (q := kmem_cache_alloc_node(own.blk_requestq_cachep, gfp_mask, node_id)) is None:
        return NULL
    q.id = ida_simple_get(own.blk_queue_ida, 0, 0, gfp_mask)
    if q.id >= 0:
        if bio_module.bioset_init(q.bio_split, BIO_POOL_SIZE, 0, BIOSET_NEED_BVECS) == 0:
            q.backing_dev_info = bdi_alloc_node(gfp_mask, node_id)
            if q.backing_dev_info is not None:
                q.stats = blk_stat.blk_alloc_queue_stats()
                if q.stats is not None:
                    q.backing_dev_info.ra_pages = q.backing_dev_info.io_pages = VM_READAHEAD_PAGES
                    q.backing_dev_info.capabilities, q.backing_dev_info.name = BDI_CAP_CGROUP_WRITEBACK, "block"
                    q.node = node_id
                    timer_setup(q.timeout, blk_rq_timed_out_timer, 0, q)
                    INIT_WORK(q.timeout_work, blk_timeout_work, q)
                    kobject_init(q.kobj, blk_sysfs.blk_queue_ktype, q)
                    q.q_usage_counter._owner = q
                    if percpu_ref_init(q.q_usage_counter, blk_queue_usage_counter_release,
                                       PERCPU_REF_INIT_ATOMIC, GFP_KERNEL) == 0:
                        return q
                    blk_stat.blk_free_queue_stats(q.stats)
                bdi_put(q.backing_dev_info)
            bio_module.bioset_exit(q.bio_split)
        ida_simple_remove(own.blk_queue_ida, q.id)
    kmem_cache_free(own.blk_requestq_cachep, q)
    return NULL


def blk_get_queue(q: request_queue) -> bool:
    """Take a reference to a queue, unless it is dying; return whether."""
    if blk_queue_dying(q):
        return False
    kobject_get(q.kobj)
    return True


def blk_get_request(q: request_queue, op: int, flags: int) -> request:
    """Allocate a passthrough request. Returns it, or an error pointer."""
    WARN_ON_ONCE(op & REQ_NOWAIT)
    WARN_ON_ONCE(flags & ~(BLK_MQ_REQ_NOWAIT | BLK_MQ_REQ_PREEMPT))
    if not IS_ERR(req := blk_mq.blk_mq_alloc_request(q, op, flags)) and q.mq_ops.initialize_rq_fn is not None:
        q.mq_ops.initialize_rq_fn(req)
    return req


def blk_put_request(req: request) -> None:
    """Free a request."""
    blk_mq.blk_mq_free_request(req)


def bio_attempt_back_merge(req: request, bio: bio, nr_segs: int) -> bool:
    """Append a bio to a request at whose end it begins, if the limits allow; return whether."""
    failfast = bio.bi_opf & REQ_FAILFAST_MASK
    if not blk_merge.ll_back_merge_fn(req, bio, nr_segs):
        return False
    if req.cmd_flags & REQ_FAILFAST_MASK != failfast:
        blk_merge.blk_rq_set_mixed_merge(req)
    req.biotail.bi_next = bio
    req.biotail = bio
    req._data_len += bio.bi_iter.bi_size
    blk_account_io_start(req, False)
    return True


def bio_attempt_front_merge(req: request, bio: bio, nr_segs: int) -> bool:
    """Put a bio before a request at whose start it ends, if the limits allow; return whether."""
    failfast = bio.bi_opf & REQ_FAILFAST_MASK
    if not blk_merge.ll_front_merge_fn(req, bio, nr_segs):
        return False
    if req.cmd_flags & REQ_FAILFAST_MASK != failfast:
        blk_merge.blk_rq_set_mixed_merge(req)
    bio.bi_next = req.bio
    req.bio, req._sector = bio, bio.bi_iter.bi_sector
    req._data_len += bio.bi_iter.bi_size
    blk_account_io_start(req, False)
    return True


def bio_attempt_discard_merge(q: request_queue, req: request, bio: bio) -> bool:
    """Add a range to a discard request, wherever it lies, if the device takes so many; return whether."""
    segments = blk_rq_nr_discard_segments(req)
    if (segments >= queue_max_discard_segments(q)
            or blk_rq_sectors(req) + bio_sectors(bio) > blk_rq_get_max_sectors(req, req._sector)):
        req_set_nomerge(q, req)
        return False
    req.biotail.bi_next = bio
    req.biotail = bio
    req._data_len += bio.bi_iter.bi_size
    req.nr_phys_segments = segments + 1
    blk_account_io_start(req, False)
    return True


def blk_attempt_plug_merge(q: request_queue, bio: bio, nr_segs: int) -> tuple[bool, request]:
    """Try to merge a bio into a request that the task holds back, latest first.

    Returns (whether, the earliest held request for the same queue, or None). In C the second is an out-parameter.
    """
    plug, same_queue_rq = blk_mq_plug(q, bio), NULL
    if plug is None:
        return False, NULL
    for rq in reversed(plug.mq_list.entries):
        if rq.q is not q:
            continue
        same_queue_rq = rq
        if not blk_merge.blk_rq_merge_ok(rq, bio):
            continue
        kind = blk_merge.blk_try_merge(rq, bio)
        if ((kind == ELEVATOR_BACK_MERGE and bio_attempt_back_merge(rq, bio, nr_segs))
                or (kind == ELEVATOR_FRONT_MERGE and bio_attempt_front_merge(rq, bio, nr_segs))
                or (kind == ELEVATOR_DISCARD_MERGE and bio_attempt_discard_merge(q, rq, bio))):
            return True, same_queue_rq
    return False, same_queue_rq


def handle_bad_sector(bio: bio, maxsector: int) -> None:
    """Log that a bio reaches beyond the end of its disk or partition, ten times in five seconds."""
    printk_ratelimited("attempt to access beyond end of device",
                       f"{partition_generic.bio_devname(bio)}: rw={bio.bi_opf}, want={bio_end_sector(bio)}, "
                       f"limit={maxsector}")


def bio_check_ro(bio: bio, part: hd_struct) -> bool:
    """Warn of a write to what is read-only, the first time, but let it pass: some user space depends on that."""
    if part.policy and op_is_write(bio_op(bio)):
        if not (op_is_flush(bio.bi_opf) and not bio_sectors(bio)):
            WARN_ONCE(True, f"generic_make_request: Trying to write to read-only block-device "
                            f"{partition_generic.bio_devname(bio)} (partno {part.partno})")
    return False


def should_fail_bio(bio: bio) -> int:
    """Where errors can be injected: 0, or the negative errno that a bio is to fail with."""
    return 0


def bio_check_eod(bio: bio, maxsector: int) -> int:
    """Check that a bio ends within so many sectors; 0 of them is a disk that does not know. Returns 0 or -EIO."""
    nr_sectors = bio.bi_iter.bi_size >> 9
    if nr_sectors and maxsector and (nr_sectors > maxsector or bio.bi_iter.bi_sector > maxsector - nr_sectors):
        handle_bad_sector(bio, maxsector)
        return -EIO
    return 0


def blk_partition_remap(bio: bio) -> int:
    """Turn sectors of a partition into sectors of its disk. Returns 0, or -EIO for no such partition or sector."""
    rcu_read_lock()
    part = genhd.__disk_get_part(bio.bi_disk, bio.bi_partno)
    ret = -EIO
    if part is not None and not bio_check_ro(bio, part):
        if not bio_sectors(bio) and bio_op(bio) != REQ_OP_ZONE_RESET:
            ret = 0
        elif bio_check_eod(bio, part_nr_sects_read(part)) == 0:
            bio.bi_iter.bi_sector += part.start_sect
            ret = 0
    if ret == 0:
        bio.bi_partno = 0
    rcu_read_unlock()
    return ret


def generic_make_request_checks(bio: bio) -> bool:
    """Check that a bio makes sense for its disk; one that does not ends here, with an error. Returns whether to go on.

    A flush for a disk without a volatile cache ends at once, or becomes a plain write.
    """
    q, part0, refused = bio.bi_disk.queue, bio.bi_disk.part0, NULL
    if q is None:
        pr_err("generic_make_request: Trying to access nonexistent block-device "
               f"{partition_generic.bio_devname(bio)} ({bio.bi_iter.bi_sector})")
        refused = BLK_STS_IOERR
    elif bio.bi_opf & REQ_NOWAIT and not queue_is_mq(q):
        refused = BLK_STS_AGAIN
    elif should_fail_bio(bio):
        refused = BLK_STS_IOERR
    elif bio.bi_partno:
        if blk_partition_remap(bio):
            refused = BLK_STS_IOERR
    elif bio_check_ro(bio, part0) or bio_check_eod(bio, part0.nr_sects):
        refused = BLK_STS_IOERR
    if refused is None:
        if bio.bi_opf & (REQ_PREFLUSH | REQ_FUA) and not test_bit(QUEUE_FLAG_WC, q.queue_flags):
            bio.bi_opf &= ~(REQ_PREFLUSH | REQ_FUA)
            if not bio_sectors(bio):
                refused = BLK_STS_OK
        if bio.bi_opf & REQ_HIPRI and not test_bit(QUEUE_FLAG_POLL, q.queue_flags):
            bio.bi_opf &= ~REQ_HIPRI
        can_do = CAN_DO.get(bio.bi_opf & REQ_OP_MASK)
        if refused is None and can_do is not None and not can_do(q):
            refused = BLK_STS_NOTSUPP
    if refused is None:
        bio.bi_flags |= 1 << BIO_TRACE_COMPLETION
        return True
    bio.bi_status = refused
    bio_module.bio_endio(bio)
    return False


def generic_make_request(bio: bio) -> int:
    """Bring a bio to its queue's driver or, from within a driver, put it on the task's list for afterwards.

    So stacked drivers need no more stack than one. A driver's new bios come in this order: those for lower devices,
    those for the same one, then what was there before: each bio is finished, below, before the next. Returns a
    cookie to poll with, of the last.
    """
    task, ret = this().context, BLK_QC_T_NONE
    if not generic_make_request_checks(bio):
        return ret
    if task.bio_list is not None:
        bio_list_add(task.bio_list[0], bio)
        return ret
    BUG_ON(bio.bi_next is not None)
    bio_lists = task.bio_list = [bio_list(), bio_list()]
    while bio is not None:
        q = bio.bi_disk.queue
        if blk_queue_enter(q, BLK_MQ_REQ_NOWAIT if bio.bi_opf & REQ_NOWAIT else 0) == 0:
            # what was there before waits in the second list, while the driver fills the first
            bio_lists.reverse()
            bio_lists[0].head = bio_lists[0].tail = NULL
            ret = q.make_request_fn(q, bio)
            blk_queue_exit(q)
            if bio_lists[0].head is None:
                bio_lists.reverse()
            else:
                lower, same = bio_list(), bio_list()
                while (bio := bio_list_pop(bio_lists[0])) is not None:
                    bio_list_add(same if bio.bi_disk.queue is q else lower, bio)
                bio_list_merge(bio_lists[0], lower)
                bio_list_merge(bio_lists[0], same)
                bio_list_merge(bio_lists[0], bio_lists[1])
        else:
            bio.bi_status = BLK_STS_AGAIN if bio.bi_opf & REQ_NOWAIT and not blk_queue_dying(q) else BLK_STS_IOERR
            bio_module.bio_endio(bio)
        bio = bio_list_pop(bio_lists[0])
    task.bio_list = NULL
    return ret


def submit_bio(bio: bio) -> int:
    """Give a bio to the block layer, which will end it. Returns a cookie to poll with."""
    return generic_make_request(bio)


def blk_cloned_rq_check_limits(q: request_queue, rq: request) -> int:
    """Check a request that was made for another queue against this one's limits. Returns 0 or -EIO."""
    most = blk_queue_get_max_sectors(q, req_op(rq))
    if blk_rq_sectors(rq) > most:
        pr_err(f"blk_cloned_rq_check_limits: over max size limit. ({blk_rq_sectors(rq)} > {most})")
        return -EIO
    rq.nr_phys_segments = blk_merge.blk_recalc_rq_segments(rq)
    if rq.nr_phys_segments > queue_max_segments(q):
        pr_err("blk_cloned_rq_check_limits: over max segments limit. "
               f"({rq.nr_phys_segments} > {queue_max_segments(q)})")
        return -EIO
    return 0


def blk_insert_cloned_request(q: request_queue, rq: request) -> int:
    """Give a stacking driver's request to the queue below. Returns a BLK_STS_* status."""
    if blk_cloned_rq_check_limits(q, rq):
        return BLK_STS_IOERR
    if blk_queue_io_stat(q):
        blk_account_io_start(rq, True)
    return blk_mq.blk_mq_request_issue_directly(rq, True)


def blk_account_io_completion(req: request, bytes: int) -> None:
    """Count the sectors of a request that are done."""
    if blk_do_io_stat(req):
        group = op_stat_group(req_op(req))
        part_stat_lock()
        for stats in counters_of(req.part):
            stats.sectors[group] += bytes >> 9
        part_stat_unlock()


def blk_account_io_done(req: request, now: int) -> None:
    """Count a request that has ended, at `now` ns, and let its partition go. A flush's data counts once only."""
    if blk_do_io_stat(req) and not req.rq_flags & RQF_FLUSH_SEQ:
        group = op_stat_group(req_op(req))
        part_stat_lock()
        part = req.part
        bio_module.update_io_ticks(part, jiffies(), True)
        spent = now - req.start_time_ns
        for stats in counters_of(part):
            stats.ios[group] += 1
            stats.nsecs[group] += spent
            stats.time_in_queue += spent * HZ // NSEC_PER_SEC
        genhd.part_dec_in_flight(req.q, part, rq_data_dir(req))
        hd_struct_put(part)
        part_stat_unlock()


def blk_account_io_start(rq: request, new_io: bool) -> None:
    """Count a request that begins, and hold the partition that it is on; or (not new_io) a bio merged into one."""
    if not blk_do_io_stat(rq):
        return
    direction = rq_data_dir(rq)
    part_stat_lock()
    if not new_io:
        part = rq.part
        for stats in counters_of(part):
            stats.merges[direction] += 1
    else:
        part = genhd.disk_map_sector_rcu(rq.rq_disk, rq._sector)
        if not hd_struct_try_get(part):
            part = rq.rq_disk.part0  # the partition is being deleted: count for the disk
            hd_struct_get(part)
        genhd.part_inc_in_flight(rq.q, part, direction)
        rq.part = part
    bio_module.update_io_ticks(part, jiffies(), False)
    part_stat_unlock()


def blk_update_request(req: request, error: int, nr_bytes: int) -> bool:
    """So many bytes of a request are done, with this status: end the bios that they are in.

    Returns whether something of the request is left; then it stands for that alone.
    """
    if req.bio is None:
        return False
    if error and not blk_rq_is_passthrough(req) and not req.rq_flags & RQF_QUIET:
        print_req_error(req, error, "blk_update_request")
    blk_account_io_completion(req, nr_bytes)
    total_bytes = 0
    while req.bio is not None:
        bio = req.bio
        if (bio_bytes := min(bio.bi_iter.bi_size, nr_bytes)) == bio.bi_iter.bi_size:
            req.bio = bio.bi_next
        bio_clear_flag(bio, BIO_TRACE_COMPLETION)
        req_bio_endio(req, bio, bio_bytes, error)
        total_bytes += bio_bytes
        nr_bytes -= bio_bytes
        if not nr_bytes:
            break
    if req.bio is None:
        req._data_len = 0
        return False
    req._data_len -= total_bytes
    if not blk_rq_is_passthrough(req):
        req._sector += total_bytes >> 9
    if req.rq_flags & RQF_MIXED_MERGE:
        req.cmd_flags &= ~REQ_FAILFAST_MASK
        req.cmd_flags |= req.bio.bi_opf & REQ_FAILFAST_MASK
    if not req.rq_flags & RQF_SPECIAL_PAYLOAD:
        if req._data_len < blk_rq_cur_bytes(req):
            blk_dump_rq_flags(req, "request botched")
            req._data_len = blk_rq_cur_bytes(req)
        req.nr_phys_segments = blk_merge.blk_recalc_rq_segments(req)
    return True


def blk_lld_busy(q: request_queue) -> int:
    """Whether the driver says that it has no room."""
    return q.mq_ops.busy(q) if queue_is_mq(q) and q.mq_ops.busy is not None else 0


def blk_rq_unprep_clone(rq: request) -> None:
    """Free the bios of a cloned request."""
    while (bio := rq.bio) is not None:
        rq.bio = bio.bi_next
        bio_module.bio_put(bio)


def __blk_rq_prep_clone(dst: request, src: request) -> None:
    """Give a cloned request what the other one says of itself, but for its bios."""
    dst._sector, dst._data_len = src._sector, src._data_len
    if src.rq_flags & RQF_SPECIAL_PAYLOAD:
        dst.rq_flags |= RQF_SPECIAL_PAYLOAD
        dst.special_vec = src.special_vec
    dst.nr_phys_segments, dst.extra_len = src.nr_phys_segments, src.extra_len


def blk_rq_prep_clone(rq: request, rq_src: request, bs: bio_set, gfp_mask: int, bio_ctr: Callable[..., Any],
                      data: Any) -> int:
    """Make an empty request a clone of another: with bios that share its bios' vectors.

    bio_ctr(bio, bio_src, data), where given, prepares each; it returns 0, or anything else to give up.
    Returns 0, or -ENOMEM with no bio left.
    """
    if bs is None:
        bs = bio_module.variables().fs_bio_set
    bio_src = rq_src.bio
    while bio_src is not None:
        bio = bio_module.bio_clone_fast(bio_src, gfp_mask, bs)
        if bio is None or (bio_ctr is not None and bio_ctr(bio, bio_src, data)):
            if bio is not None:
                bio_module.bio_put(bio)
            blk_rq_unprep_clone(rq)
            return -ENOMEM
        if rq.bio is not None:
            rq.biotail.bi_next = bio
        else:
            rq.bio = bio
        rq.biotail = bio
        bio_src = bio_src.bi_next
    __blk_rq_prep_clone(rq, rq_src)
    return 0


def kblockd_schedule_work(work: work_struct) -> int:
    """Let the block layer's own worker do something, on this CPU."""
    return queue_work(variables().kblockd_workqueue, work)


def kblockd_mod_delayed_work_on(cpu: int, dwork: delayed_work, delay: int) -> int:
    """Let the block layer's own worker do something `delay` jiffies from now, whenever it was to be done before."""
    return mod_delayed_work_on(cpu, variables().kblockd_workqueue, dwork, delay)


def blk_start_plug(plug: blk_plug) -> None:
    """Let the task hold its requests back from now on. Within another plug, nothing happens."""
    task = this().context
    if task.plug is not None:
        return
    INIT_LIST_HEAD(plug.mq_list)
    INIT_LIST_HEAD(plug.cb_list)
    plug.rq_count, plug.multiple_queues = 0, False
    task.plug = plug


def flush_plug_callbacks(plug: blk_plug, from_schedule: bool) -> None:
    """Call those who asked to be called when the plug is pulled: nobody, in the model."""
    # Left out: blk_check_plugged(), by which somebody would ask for that.
    BUG_ON(not list_empty(plug.cb_list), "a plug has callbacks")


def blk_flush_plug_list(plug: blk_plug, from_schedule: bool) -> None:
    """Let go what a plug holds back. `from_schedule`: because the task goes to sleep."""
    flush_plug_callbacks(plug, from_schedule)
    if not list_empty(plug.mq_list):
        blk_mq.blk_mq_flush_plug_list(plug, from_schedule)


def blk_finish_plug(plug: blk_plug) -> None:
    """End what blk_start_plug() began with this plug."""
    task = this().context
    if plug is not task.plug:
        return
    blk_flush_plug_list(plug, False)
    task.plug = NULL


def blk_dev_init() -> int:
    """At boot: make the cache of queues."""
    variables().blk_requestq_cachep = kmem_cache_create("request_queue", sizeof(request_queue), request_queue)
    return 0


provide(blk_flush_plug_list=blk_flush_plug_list, blk_finish_plug=blk_finish_plug, blk_plug=blk_plug,
        blk_start_plug=blk_start_plug)
