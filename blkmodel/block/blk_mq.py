"""The multi-queue core: it builds and tears down tag sets and queues, and passes requests from bio to driver and back.

A bio becomes a request (blk_mq_make_request()), which gets a tag, and goes to the driver at once, or waits in a plug,
in its CPU's software queue, in the scheduler, or on the hardware queue's dispatch list; from there
blk_mq_dispatch_rq_list() sends it. Left out: what polling counts, the throttling hooks of rq-qos, debugfs.
"""

from functools import partial
from typing import Any

from blkmodel.block import (bio as block_bio, blk_core, blk_flush, blk_merge, blk_mq_cpumap, blk_mq_sched, blk_mq_sysfs,
    blk_mq_tag, blk_settings, blk_softirq, blk_stat, blk_timeout, elevator)
from blkmodel.block.blk_h import blk_queue_enter_live, blk_rq_bio_prep, is_flush_rq
from blkmodel.block.blk_mq_h import (__blk_mq_get_ctx, blk_mq_alloc_data, blk_mq_clear_mq_map, blk_mq_ctx, blk_mq_ctxs,
    blk_mq_get_ctx, blk_mq_get_dispatch_budget, blk_mq_hctx_stopped, blk_mq_hw_queue_mapped, blk_mq_map_queue,
    blk_mq_map_queue_type, blk_mq_plug, blk_mq_put_dispatch_budget, blk_mq_put_driver_tag, blk_mq_rq_state,
    blk_mq_tags_from_data)
from blkmodel.block.blk_mq_sched_h import (blk_mq_sched_bio_merge, blk_mq_sched_completed_request,
    blk_mq_sched_has_work, blk_mq_sched_needs_restart, blk_mq_sched_requeue_request)
from blkmodel.block.blk_mq_tag_h import (BLK_MQ_TAG_FAIL, BLK_MQ_TAG_MIN, blk_mq_tag_busy, blk_mq_tag_idle,
    blk_mq_tag_is_reserved, blk_mq_tags, bt_wait_ptr)
from blkmodel.block.blk_stat_h import blk_stat_activate_msecs, blk_stat_callback, blk_stat_is_active
from blkmodel.include.linux.blk_mq import (BLK_EH_DONE, BLK_EH_RESET_TIMER, BLK_MQ_CPU_WORK_BATCH, BLK_MQ_F_BLOCKING,
    BLK_MQ_F_TAG_SHARED, BLK_MQ_FLAG_TO_ALLOC_POLICY, BLK_MQ_MAX_DEPTH, BLK_MQ_POLL_CLASSIC, BLK_MQ_REQ_INTERNAL,
    BLK_MQ_REQ_NOWAIT, BLK_MQ_REQ_PREEMPT, BLK_MQ_REQ_RESERVED, BLK_MQ_S_STOPPED, HCTX_MAX_TYPES, HCTX_TYPE_DEFAULT,
    HCTX_TYPE_POLL, blk_mq_hw_ctx, blk_mq_queue_data, blk_mq_tag_set, blk_qc_t_is_internal, blk_qc_t_to_queue_num,
    blk_qc_t_to_tag, queue_for_each_hw_ctx, request_to_qc_t)
from blkmodel.include.linux.blkdev import (BLK_MAX_REQUEST_COUNT, BLK_MQ_POLL_STATS_BKTS, BLK_PLUG_FLUSH_SIZE,
    BLK_QC_T_NONE, BLK_STS_AGAIN, BLK_STS_DEV_RESOURCE, BLK_STS_IOERR, BLK_STS_OK, BLK_STS_RESOURCE, MQ_RQ_COMPLETE,
    MQ_RQ_IDLE, MQ_RQ_IN_FLIGHT, QUEUE_FLAG_IO_STAT, QUEUE_FLAG_MQ_DEFAULT, QUEUE_FLAG_POLL, QUEUE_FLAG_POLL_STATS,
    QUEUE_FLAG_QUIESCED, QUEUE_FLAG_SAME_COMP, QUEUE_FLAG_SAME_FORCE, QUEUE_FLAG_STATS, REQ_FAILFAST_MASK, REQ_HIPRI,
    REQ_NOWAIT, REQ_RAHEAD, RQF_DONTPREP, RQF_ELVPRIV, RQF_IO_STAT, RQF_MQ_INFLIGHT, RQF_MQ_POLL_SLEPT, RQF_PREEMPT,
    RQF_SOFTBARRIER, RQF_STATS, RQF_TIMED_OUT, bio, blk_plug, blk_queue_nomerges, blk_queue_nonrot, blk_queue_quiesced,
    blk_rq_sectors, blk_rq_stat, blk_rq_stats_sectors, hd_struct, op_is_flush, op_is_sync, queue_is_mq, request,
    request_queue, rq_data_dir, test_bit)
from blkmodel.include.linux.elevator import elevator_type
from blkmodel.include.linux.sbitmap import (__sbitmap_for_each_set, sbitmap as sbitmap_struct, sbitmap_clear_bit,
    sbitmap_for_each_set, sbitmap_free, sbitmap_set_bit, sbitmap_test_bit)
from blkmodel.lib import sbitmap
from blkmodel.reference.omission import no_chapter
from blkmodel.services import (__GFP_NORETRY, __GFP_NOWARN, __GFP_ZERO, BUG_ON, CPUHP_BLK_MQ_DEAD, EAGAIN, EINVAL,
    ENOMEM, ERR_PTR, GFP_KERNEL, GFP_NOIO, HRTIMER_MODE_ABS, HRTIMER_MODE_REL, HZ, INIT_DELAYED_WORK, INIT_LIST_HEAD,
    INIT_WORK, IS_ERR, NUMA_NO_NODE, TASK_RUNNING, TASK_UNINTERRUPTIBLE, WARN_ON, WARN_ON_ONCE, WORK_CPU_UNBOUND,
    WQ_FLAG_EXCLUSIVE, __add_wait_queue, __free_pages, __set_current_state, alloc_pages_node, alloc_percpu,
    call_single_data, cancel_delayed_work, cpu_online, cpu_online_mask, cpu_relax, cpu_to_node, cpuhp_setup_state_multi,
    cpuhp_state_add_instance_nocalls, cpuhp_state_remove_instance_nocalls, cpumask_clear, cpumask_empty, cpumask_first,
    cpumask_first_and, cpumask_next_and, cpumask_set_cpu, cpumask_test_cpu, cpus_share_cache, for_each_possible_cpu,
    get_cpu, hrtimer_cancel, hrtimer_init_sleeper_on_stack, hrtimer_set_expires, hrtimer_sleeper,
    hrtimer_sleeper_start_expires, ilog2, in_interrupt, init_srcu_struct, init_waitqueue_func_entry, io_schedule,
    is_kdump_kernel, jiffies, kcalloc_node, kfree, kobject_put, ktime_get_ns, kzalloc, kzalloc_node, list_add,
    list_add_tail, list_del_init, list_empty, list_first_entry, list_first_entry_or_null, list_head, list_is_singular,
    list_last_entry, list_sort, list_splice_init, list_splice_tail_init, local_memory_node, mod_timer, msecs_to_jiffies,
    mutex_lock, mutex_unlock, need_resched, nr_cpu_ids, page_address, percpu_ref_is_zero, percpu_ref_kill,
    percpu_ref_resurrect, percpu_ref_tryget, pr_err, pr_info, pr_warn, put_cpu, raw_smp_processor_id, rcu_read_lock,
    rcu_read_unlock, set_current_state, smp_call_function_single_async, srcu_read_lock, srcu_read_unlock, srcu_struct,
    subsys_initcall, synchronize_rcu, synchronize_srcu, time_after, time_after_eq, wait_event, wait_queue_entry,
    wake_up_all, work_struct)
from blkmodel.sim import NULL, PAGE_SIZE, Later, Struct, place, sizeof, this

OMITTED = no_chapter("""blk_mq_alloc_request_hctx blk_mq_can_queue blk_mq_init_sq_queue blk_mq_queue_stopped
    blk_mq_rq_cpu blk_mq_start_hw_queue blk_mq_start_hw_queues""")

BLK_MQ_DISPATCH_BUSY_EWMA_WEIGHT, BLK_MQ_DISPATCH_BUSY_EWMA_FACTOR = 8, 4
BLK_MQ_RESOURCE_DELAY = 3  # milliseconds
CACHE_LINE_SIZE, INT_MAX = 64, 0x7FFFFFFF


class blk_mq_qe_pair(Struct, size=32):
    """Which scheduler a queue had, while its hardware queues change and it has none."""

    node: Any = NULL
    q: request_queue = NULL
    type: elevator_type = NULL


# ---------------------------------------------------------------- what waits in a hardware queue


def blk_mq_poll_stats_bkt(rq: request) -> int:
    """The kind of request for statistics: by direction, and length in powers of two sectors; -1 for an empty one."""
    ddir = rq_data_dir(rq)
    bucket = ddir + 2 * ilog2(blk_rq_stats_sectors(rq))
    if bucket < 0:
        return -1
    return ddir + BLK_MQ_POLL_STATS_BKTS - 2 if bucket >= BLK_MQ_POLL_STATS_BKTS else bucket


def blk_mq_hctx_has_pending(hctx: blk_mq_hw_ctx) -> bool:
    """Whether anything waits to be dispatched: on its list, in a software queue, in the scheduler."""
    return (not list_empty(hctx.dispatch) or sbitmap.sbitmap_any_bit_set(hctx.ctx_map) or blk_mq_sched_has_work(hctx))


def blk_mq_hctx_mark_pending(hctx: blk_mq_hw_ctx, ctx: blk_mq_ctx) -> None:
    """Note that a software queue has requests for this hardware queue."""
    bit = ctx.index_hw[hctx.type]
    if not sbitmap_test_bit(hctx.ctx_map, bit):
        sbitmap_set_bit(hctx.ctx_map, bit)


def blk_mq_hctx_clear_pending(hctx: blk_mq_hw_ctx, ctx: blk_mq_ctx) -> None:
    """Note that a software queue has no more requests for this hardware queue."""
    sbitmap_clear_bit(hctx.ctx_map, ctx.index_hw[hctx.type])


def blk_mq_check_inflight(hctx: blk_mq_hw_ctx, rq: request, priv: tuple[hd_struct, list[int]], reserved: bool) -> bool:
    """Count, in priv = (part, inflight), a request to that partition."""
    part, inflight = priv
    if rq.part is part:
        inflight[0] += 1
    return True


def blk_mq_in_flight(q: request_queue, part: hd_struct) -> int:
    """How many requests to a partition have a driver tag."""
    inflight = [0, 0]
    blk_mq_tag.blk_mq_queue_tag_busy_iter(q, blk_mq_check_inflight, (part, inflight))
    return inflight[0]


def blk_mq_check_inflight_rw(hctx: blk_mq_hw_ctx, rq: request, priv: tuple[hd_struct, list[int]],
                             reserved: bool) -> bool:
    """Count, in priv = (part, [reads, writes]), a request to that partition by its direction."""
    part, inflight = priv
    if rq.part is part:
        inflight[rq_data_dir(rq)] += 1
    return True


def blk_mq_in_flight_rw(q: request_queue, part: hd_struct) -> list[int]:
    """How many reads and how many writes to a partition have a driver tag: [reads, writes]."""
    inflight = [0, 0]
    blk_mq_tag.blk_mq_queue_tag_busy_iter(q, blk_mq_check_inflight_rw, (part, inflight))
    return inflight


# ---------------------------------------------------------------- freezing and quiescing


def blk_freeze_queue_start(q: request_queue) -> None:
    """Let nobody enter the queue any more. Freezes nest; each needs its unfreeze."""
    mutex_lock(q.mq_freeze_lock)
    q.mq_freeze_depth += 1
    first = q.mq_freeze_depth == 1
    if first:
        percpu_ref_kill(q.q_usage_counter)
    mutex_unlock(q.mq_freeze_lock)
    if first and queue_is_mq(q):
        blk_mq_run_hw_queues(q, False)


def blk_mq_freeze_queue_wait(q: request_queue) -> None:
    """Sleep until nobody is in the queue: no request, no submitter."""
    wait_event(q.mq_freeze_wq, lambda: percpu_ref_is_zero(q.q_usage_counter), "a queue to drain")


def blk_freeze_queue(q: request_queue) -> None:
    """Close the queue and wait until it is empty, so that anything about it may be changed."""
    blk_freeze_queue_start(q)
    blk_mq_freeze_queue_wait(q)


def blk_mq_freeze_queue(q: request_queue) -> None:
    """blk_freeze_queue() by the name that pairs with blk_mq_unfreeze_queue()."""
    blk_freeze_queue(q)


def blk_mq_unfreeze_queue(q: request_queue) -> None:
    """End one freeze; the last one lets those in who wait outside."""
    with q.mq_freeze_lock:
        q.mq_freeze_depth -= 1
        WARN_ON_ONCE(q.mq_freeze_depth < 0, "a queue was unfrozen too often")
        if not q.mq_freeze_depth:
            percpu_ref_resurrect(q.q_usage_counter)
            wake_up_all(q.mq_freeze_wq)


def blk_mq_quiesce_queue_nowait(q: request_queue) -> None:
    """Let no request be dispatched from now on; dispatches that are under way may go on."""
    blk_core.blk_queue_flag_set(QUEUE_FLAG_QUIESCED, q)


def blk_mq_quiesce_queue(q: request_queue) -> None:
    """Let no request be dispatched, and wait until no dispatch is under way. Completions go on."""
    blk_mq_quiesce_queue_nowait(q)
    rcu = False
    for hctx in queue_for_each_hw_ctx(q):
        if hctx.flags & BLK_MQ_F_BLOCKING:
            synchronize_srcu(hctx.srcu)
        else:
            rcu = True
    if rcu:
        synchronize_rcu()


def blk_mq_unquiesce_queue(q: request_queue) -> None:
    """Let requests be dispatched again, first those that came meanwhile."""
    blk_core.blk_queue_flag_clear(QUEUE_FLAG_QUIESCED, q)
    blk_mq_run_hw_queues(q, True)


def blk_mq_wake_waiters(q: request_queue) -> None:
    """Wake everybody who waits for a tag, to see that the queue is dying."""
    for hctx in queue_for_each_hw_ctx(q):
        if blk_mq_hw_queue_mapped(hctx):
            blk_mq_tag.blk_mq_tag_wakeup_all(hctx.tags, True)


# ---------------------------------------------------------------- getting and freeing requests


def blk_mq_need_time_stamp(rq: request) -> bool:
    """Whether anybody will ask how long the request took: statistics, or a scheduler."""
    return rq.rq_flags & (RQF_IO_STAT | RQF_STATS) != 0 or rq.q.elevator is not None


def blk_mq_rq_ctx_init(data: blk_mq_alloc_data, tag: int, op: int, alloc_time_ns: int) -> request:
    """Make the request that belongs to a tag ready for an operation, and return it.

    With a scheduler the tag is the scheduler's; a driver tag comes when the request is dispatched.
    """
    hctx, q = data.hctx, data.q
    rq = blk_mq_tags_from_data(data).static_rqs[tag]
    rq_flags = 0
    if data.flags & BLK_MQ_REQ_INTERNAL:
        rq.tag, rq.internal_tag = -1, tag
    else:
        if hctx.flags & BLK_MQ_F_TAG_SHARED:
            rq_flags = RQF_MQ_INFLIGHT
            hctx.nr_active += 1
        rq.tag, rq.internal_tag = tag, -1
        hctx.tags.rqs[tag] = rq

    rq.q, rq.mq_ctx, rq.mq_hctx = q, data.ctx, hctx
    if data.flags & BLK_MQ_REQ_PREEMPT:
        rq_flags |= RQF_PREEMPT
    if q.queue_flags >> QUEUE_FLAG_IO_STAT & 1:
        rq_flags |= RQF_IO_STAT
    rq.rq_flags, rq.cmd_flags = rq_flags, op
    rq.queuelist = rq.hash = rq.rb_node = rq.rq_disk = rq.part = NULL
    rq.start_time_ns = ktime_get_ns() if blk_mq_need_time_stamp(rq) else 0
    rq.io_start_time_ns = rq.stats_sectors = rq.nr_phys_segments = rq.extra_len = rq.deadline = rq.timeout = 0
    rq.end_io = rq.end_io_data = NULL
    rq.ref = 1
    return rq


def blk_mq_get_request(q: request_queue, bio: bio, data: blk_mq_alloc_data) -> request:
    """Get a request, and with it a reference to the queue, in which the caller already is.

    data says what for; its ctx and hctx are chosen here unless it has them. Sleeps until there is a tag.
    Returns the request, or None where data forbids sleeping and no tag is free.
    """
    e, clear_ctx_on_error = q.elevator, False

    blk_queue_enter_live(q)
    data.q = q
    if data.ctx is None:
        data.ctx = blk_mq_get_ctx(q)
        clear_ctx_on_error = True
    if data.hctx is None:
        data.hctx = blk_mq_map_queue(q, data.cmd_flags, data.ctx)
    if data.cmd_flags & REQ_NOWAIT:
        data.flags |= BLK_MQ_REQ_NOWAIT

    if e is not None:
        data.flags |= BLK_MQ_REQ_INTERNAL
        # Flushes pass the scheduler by, and reserved tags are few: neither is limited.
        if (not op_is_flush(data.cmd_flags) and e.type.ops.limit_depth and not data.flags & BLK_MQ_REQ_RESERVED):
            e.type.ops.limit_depth(data.cmd_flags, data)
    else:
        blk_mq_tag_busy(data.hctx)

    if (tag := blk_mq_tag.blk_mq_get_tag(data)) == BLK_MQ_TAG_FAIL:
        if clear_ctx_on_error:
            data.ctx = NULL
        blk_core.blk_queue_exit(q)
        return NULL

    rq = blk_mq_rq_ctx_init(data, tag, data.cmd_flags, 0)
    if e is not None and not op_is_flush(data.cmd_flags):
        rq.elv = NULL
        if e.type.ops.prepare_request:
            e.type.ops.prepare_request(rq, bio)
            rq.rq_flags |= RQF_ELVPRIV
    data.hctx.queued += 1
    return rq


def blk_mq_alloc_request(q: request_queue, op: int, flags: int) -> request:
    """Get a request that no bio asked for, for the driver's own use. Returns it, or ERR_PTR(-errno)."""
    alloc_data = blk_mq_alloc_data(flags=flags, cmd_flags=op)
    if ret := blk_core.blk_queue_enter(q, flags):
        return ERR_PTR(ret)

    rq = blk_mq_get_request(q, NULL, alloc_data)
    blk_core.blk_queue_exit(q)
    if rq is None:
        return ERR_PTR(-EAGAIN)

    rq._data_len, rq._sector = 0, -1
    rq.bio = rq.biotail = NULL
    return rq


def __blk_mq_free_request(rq: request) -> None:
    """Give back the tags and the reference to the queue of a request that nobody uses any more."""
    q, ctx, hctx, sched_tag = rq.q, rq.mq_ctx, rq.mq_hctx, rq.internal_tag
    rq.mq_hctx = NULL
    if rq.tag != -1:
        blk_mq_tag.blk_mq_put_tag(hctx, hctx.tags, ctx, rq.tag)
    if sched_tag != -1:
        blk_mq_tag.blk_mq_put_tag(hctx, hctx.sched_tags, ctx, sched_tag)
    blk_mq_sched.blk_mq_sched_restart(hctx)
    blk_core.blk_queue_exit(q)


def blk_mq_free_request(rq: request) -> None:
    """Drop the owner's reference to a request. It is free unless the timeout handler looks at it just now."""
    if rq.rq_flags & RQF_ELVPRIV:
        e = rq.q.elevator
        if e is not None and e.type.ops.finish_request:
            e.type.ops.finish_request(rq)
    if rq.rq_flags & RQF_MQ_INFLIGHT:
        rq.mq_hctx.nr_active -= 1
    rq.state = MQ_RQ_IDLE
    rq.ref -= 1
    if rq.ref == 0:
        __blk_mq_free_request(rq)


def __blk_mq_end_request(rq: request, error: int) -> None:
    """End a request all of whose data is accounted for: through its end_io, or by freeing it."""
    now = ktime_get_ns() if blk_mq_need_time_stamp(rq) else 0
    if rq.rq_flags & RQF_STATS:
        blk_mq_poll_stats_start(rq.q)
        blk_stat.blk_stat_add(rq, now)
    if rq.internal_tag != -1:
        blk_mq_sched_completed_request(rq, now)
    blk_core.blk_account_io_done(rq, now)
    if rq.end_io is not None:
        rq.end_io(rq, error)
    else:
        blk_mq_free_request(rq)


def blk_mq_end_request(rq: request, error: int) -> None:
    """End the whole of a request, and with it its bios, with a status."""
    BUG_ON(blk_core.blk_update_request(rq, error, rq._data_len), "a request has bytes left after its end")
    __blk_mq_end_request(rq, error)


def __blk_mq_complete_request_remote(data: request) -> None:
    """On the CPU that submitted it, let the driver finish a request."""
    rq = data
    rq.q.mq_ops.complete(rq)


def __blk_mq_complete_request(rq: request) -> None:
    """Let the driver finish a request on the right CPU: the one that submitted it, or one that shares its cache.

    A device with a single queue has a single interrupt, on one CPU: there, a softirq spares the interrupt.
    """
    ctx, q = rq.mq_ctx, rq.q
    rq.state = MQ_RQ_COMPLETE
    if q.nr_hw_queues == 1:
        blk_softirq.__blk_complete_request(rq)
        return
    if rq.cmd_flags & REQ_HIPRI or not q.queue_flags >> QUEUE_FLAG_SAME_COMP & 1:
        q.mq_ops.complete(rq)
        return

    shared = False
    cpu = get_cpu()
    if not q.queue_flags >> QUEUE_FLAG_SAME_FORCE & 1:
        shared = cpus_share_cache(cpu, ctx.cpu)
    if cpu != ctx.cpu and not shared and cpu_online(ctx.cpu):
        rq.csd = call_single_data(__blk_mq_complete_request_remote, rq)
        smp_call_function_single_async(ctx.cpu, rq.csd)
    else:
        q.mq_ops.complete(rq)
    put_cpu()


def hctx_unlock(hctx: blk_mq_hw_ctx, srcu_idx: int) -> None:
    """End what hctx_lock() began."""
    if not hctx.flags & BLK_MQ_F_BLOCKING:
        rcu_read_unlock()
    else:
        srcu_read_unlock(hctx.srcu, srcu_idx)


def hctx_lock(hctx: blk_mq_hw_ctx) -> int:
    """Begin a dispatch, which quiescing waits for; one that may sleep where the driver may. Returns its index."""
    if not hctx.flags & BLK_MQ_F_BLOCKING:
        rcu_read_lock()
        return 0
    return srcu_read_lock(hctx.srcu)


def blk_mq_complete_request(rq: request) -> bool:
    """The driver's word that a request is done; its `complete` runs on the right CPU. Returns whether it will."""
    if blk_timeout.blk_should_fake_timeout(rq.q):
        return False
    __blk_mq_complete_request(rq)
    return True


def blk_mq_request_started(rq: request) -> int:
    """Whether the driver has the request, or had it and it is not freed yet."""
    return blk_mq_rq_state(rq) != MQ_RQ_IDLE


def blk_mq_request_completed(rq: request) -> int:
    """Whether the driver has said that the request is done."""
    return blk_mq_rq_state(rq) == MQ_RQ_COMPLETE


def blk_mq_start_request(rq: request) -> None:
    """The driver's word that it takes the request: its time runs from here."""
    if rq.q.queue_flags >> QUEUE_FLAG_STATS & 1:
        rq.io_start_time_ns = ktime_get_ns()
        rq.stats_sectors = blk_rq_sectors(rq)
        rq.rq_flags |= RQF_STATS
    WARN_ON_ONCE(blk_mq_rq_state(rq) != MQ_RQ_IDLE, "a request was started twice")
    blk_timeout.blk_add_timer(rq)
    rq.state = MQ_RQ_IN_FLIGHT


# ---------------------------------------------------------------- requeueing


def __blk_mq_requeue_request(rq: request) -> None:
    """Take a request back from the driver: it is as if it had not been started."""
    blk_mq_put_driver_tag(rq)
    if blk_mq_request_started(rq):
        rq.state = MQ_RQ_IDLE
        rq.rq_flags &= ~RQF_TIMED_OUT


def blk_mq_requeue_request(rq: request, kick_requeue_list: bool) -> None:
    """Put a request that the driver could not do back, to be inserted again, at once where the list is kicked."""
    __blk_mq_requeue_request(rq)
    blk_mq_sched_requeue_request(rq)
    BUG_ON(rq.queuelist is not None, "a request to be requeued is on a list")
    blk_mq_add_to_requeue_list(rq, True, kick_requeue_list)


def blk_mq_requeue_work(work: work_struct) -> None:
    """Insert everything that was requeued, and dispatch it.

    A request that keeps what the driver prepared must not be merged, so it goes right to the dispatch list.
    """
    q, rq_list = work.data, list_head()
    list_splice_init(q.requeue_list, rq_list, "queuelist")
    for rq in rq_list:
        if not rq.rq_flags & (RQF_SOFTBARRIER | RQF_DONTPREP):
            continue
        rq.rq_flags &= ~RQF_SOFTBARRIER
        list_del_init(rq, "queuelist")
        if rq.rq_flags & RQF_DONTPREP:
            blk_mq_request_bypass_insert(rq, False, False)
        else:
            blk_mq_sched.blk_mq_sched_insert_request(rq, True, False, False)
    for rq in rq_list:
        list_del_init(rq, "queuelist")
        blk_mq_sched.blk_mq_sched_insert_request(rq, False, False, False)
    blk_mq_run_hw_queues(q, False)


def blk_mq_add_to_requeue_list(rq: request, at_head: bool, kick_requeue_list: bool) -> None:
    """Put a request on its queue's requeue list. RQF_SOFTBARRIER says that it is to be inserted at the head."""
    q = rq.q
    BUG_ON(rq.rq_flags & RQF_SOFTBARRIER, "a request to be requeued has the soft barrier flag")
    if at_head:
        rq.rq_flags |= RQF_SOFTBARRIER
        list_add(rq, q.requeue_list, "queuelist")
    else:
        list_add_tail(rq, q.requeue_list, "queuelist")
    if kick_requeue_list:
        blk_mq_kick_requeue_list(q)


def blk_mq_kick_requeue_list(q: request_queue) -> None:
    """Let the requeue list be worked off now."""
    blk_core.kblockd_mod_delayed_work_on(WORK_CPU_UNBOUND, q.requeue_work, 0)


def blk_mq_delay_kick_requeue_list(q: request_queue, msecs: int) -> None:
    """Let the requeue list be worked off after so many milliseconds."""
    blk_core.kblockd_mod_delayed_work_on(WORK_CPU_UNBOUND, q.requeue_work, msecs_to_jiffies(msecs))


def blk_mq_tag_to_rq(tags: blk_mq_tags, tag: int) -> request:
    """The request that was last given a tag; None for a number that is no tag."""
    return tags.rqs[tag] if tag < tags.nr_tags else NULL


def blk_mq_rq_inflight(hctx: blk_mq_hw_ctx, rq: request, priv: list[bool], reserved: bool) -> bool:
    """Note in priv[0] that the queue has a started request, and look no further."""
    if blk_mq_request_started(rq) and rq.q is hctx.queue:
        priv[0] = True
        return False
    return True


def blk_mq_queue_inflight(q: request_queue) -> bool:
    """Whether the driver has any request of the queue."""
    busy = [False]
    blk_mq_tag.blk_mq_queue_tag_busy_iter(q, blk_mq_rq_inflight, busy)
    return busy[0]


# ---------------------------------------------------------------- timeouts


def blk_mq_rq_timed_out(req: request, reserved: bool) -> None:
    """Ask the driver about a request that takes too long; it may want more time."""
    req.rq_flags |= RQF_TIMED_OUT
    if req.q.mq_ops.timeout:
        if (ret := req.q.mq_ops.timeout(req, reserved)) == BLK_EH_DONE:
            return
        WARN_ON_ONCE(ret != BLK_EH_RESET_TIMER)
    blk_timeout.blk_add_timer(req)


def blk_mq_req_expired(rq: request, next: list[int]) -> bool:
    """Whether a request in flight is past its deadline; else next[0] becomes the earliest deadline (0: none)."""
    if blk_mq_rq_state(rq) != MQ_RQ_IN_FLIGHT or rq.rq_flags & RQF_TIMED_OUT:
        return False
    deadline = rq.deadline
    if time_after_eq(jiffies(), deadline):
        return True
    if next[0] == 0 or time_after(next[0], deadline):
        next[0] = deadline
    return False


def blk_mq_check_expired(hctx: blk_mq_hw_ctx, rq: request, priv: list[int], reserved: bool) -> bool:
    """Handle one request if it is late. A reference keeps it from being freed and used anew meanwhile."""
    next = priv
    if not blk_mq_req_expired(rq, next) or rq.ref == 0:
        return True
    rq.ref += 1
    if blk_mq_req_expired(rq, next):
        blk_mq_rq_timed_out(rq, reserved)
    if is_flush_rq(rq, hctx):
        rq.end_io(rq, 0)
    else:
        rq.ref -= 1
        if rq.ref == 0:
            __blk_mq_free_request(rq)
    return True


def blk_mq_timeout_work(work: work_struct) -> None:
    """Look for late requests, and set the timer to the next deadline.

    With none in flight the queue has long been idle: its hardware queues give up their share of shared tags.
    """
    q, next = work.data, [0]
    # Not blk_queue_enter(): a late request may be what a freeze waits for.
    if not percpu_ref_tryget(q.q_usage_counter):
        return
    blk_mq_tag.blk_mq_queue_tag_busy_iter(q, blk_mq_check_expired, next)
    if next[0] != 0:
        mod_timer(q.timeout, next[0])
    else:
        for hctx in queue_for_each_hw_ctx(q):
            if blk_mq_hw_queue_mapped(hctx):
                blk_mq_tag_idle(hctx)
    blk_core.blk_queue_exit(q)


# ---------------------------------------------------------------- dispatching


def flush_busy_ctx(sb: sbitmap_struct, bitnr: int, data: tuple[blk_mq_hw_ctx, list_head]) -> bool:
    """Move one software queue's requests to the list in data = (hctx, list)."""
    hctx, to = data
    list_splice_tail_init(hctx.ctxs[bitnr].rq_lists[hctx.type], to, "queuelist")
    sbitmap_clear_bit(sb, bitnr)
    return True


def blk_mq_flush_busy_ctxs(hctx: blk_mq_hw_ctx, to: list_head) -> None:
    """Move the requests of all software queues that have any to a list."""
    sbitmap_for_each_set(hctx.ctx_map, flush_busy_ctx, (hctx, to))


def dispatch_rq_from_ctx(sb: sbitmap_struct, bitnr: int, data: list[Any]) -> bool:
    """Take the first request of one software queue, into data[1] (data[0] is the hctx); True where it had none."""
    hctx = data[0]
    waiting = hctx.ctxs[bitnr].rq_lists[hctx.type]
    if not list_empty(waiting):
        data[1] = list_first_entry(waiting)
        list_del_init(data[1], "queuelist")
        if list_empty(waiting):
            sbitmap_clear_bit(sb, bitnr)
    return data[1] is None


def blk_mq_dequeue_from_ctx(hctx: blk_mq_hw_ctx, start: blk_mq_ctx) -> request:
    """Take one request from the first software queue that has any, from `start` on and round; None for none."""
    off = start.index_hw[hctx.type] if start is not None else 0
    data = [hctx, NULL]
    __sbitmap_for_each_set(hctx.ctx_map, off, dispatch_rq_from_ctx, data)
    return data[1]


def blk_mq_get_driver_tag(rq: request) -> bool:
    """Make sure that a request has a driver tag; without a scheduler it has had one from the start.

    Never sleeps. Returns whether it has one now.
    """
    if rq.tag != -1:
        return True
    data = blk_mq_alloc_data(q=rq.q, hctx=rq.mq_hctx, flags=BLK_MQ_REQ_NOWAIT, cmd_flags=rq.cmd_flags)
    if blk_mq_tag_is_reserved(data.hctx.sched_tags, rq.internal_tag):
        data.flags |= BLK_MQ_REQ_RESERVED
    shared = blk_mq_tag_busy(data.hctx)
    if (tag := blk_mq_tag.blk_mq_get_tag(data)) == BLK_MQ_TAG_FAIL:
        return False
    rq.tag = tag
    if shared:
        rq.rq_flags |= RQF_MQ_INFLIGHT
        data.hctx.nr_active += 1
    data.hctx.tags.rqs[tag] = rq
    return True


def blk_mq_dispatch_wake(wait: wait_queue_entry) -> int:
    """Run a hardware queue that waited for a shared tag; it waits no longer. (It is the waiter's `private`.)"""
    hctx = wait.private
    if wait.entry is not None:
        list_del_init(wait, "entry")
        hctx.tags.bitmap_tags.ws_active -= 1
    blk_mq_run_hw_queue(hctx, True)
    return 1


def blk_mq_mark_tag_wait(hctx: blk_mq_hw_ctx, rq: request) -> bool:
    """Arrange that the hardware queue is run when a tag is freed, and try for a tag once more.

    Where tags are shared the freed one may be another queue's, so the hardware queue waits for it like a task;
    else marking it for a restart will do. Returns whether the request got a tag after all.
    """
    sbq = hctx.tags.bitmap_tags
    if not hctx.flags & BLK_MQ_F_TAG_SHARED:
        blk_mq_sched.blk_mq_sched_mark_restart_hctx(hctx)
        return blk_mq_get_driver_tag(rq)

    wait = hctx.dispatch_wait
    if wait.entry is not None:
        return False
    wq = bt_wait_ptr(sbq, hctx).wait
    sbq.ws_active += 1
    wait.flags &= ~WQ_FLAG_EXCLUSIVE
    # 5.4: no barrier between standing in line and trying again: who frees a tag may not see who stands there.
    __add_wait_queue(wq, wait)
    if not blk_mq_get_driver_tag(rq):
        return False
    list_del_init(wait, "entry")
    sbq.ws_active -= 1
    return True


def blk_mq_update_dispatch_busy(hctx: blk_mq_hw_ctx, busy: bool) -> None:
    """Keep a running average of how often the driver was busy: 16 per refusal, each older one counting 7/8."""
    if hctx.queue.elevator is not None:
        return
    ewma = hctx.dispatch_busy
    if not ewma and not busy:
        return
    ewma *= BLK_MQ_DISPATCH_BUSY_EWMA_WEIGHT - 1
    if busy:
        ewma += 1 << BLK_MQ_DISPATCH_BUSY_EWMA_FACTOR
    hctx.dispatch_busy = ewma // BLK_MQ_DISPATCH_BUSY_EWMA_WEIGHT


def blk_mq_handle_dev_resource(rq: request, waiting: list_head) -> None:
    """Put a request that the driver refused back in front, and give back the tag that the next one got early."""
    if (following := list_first_entry_or_null(waiting)) is not None:
        blk_mq_put_driver_tag(following)
    list_add(rq, waiting, "queuelist")
    __blk_mq_requeue_request(rq)


def blk_mq_dispatch_rq_list(q: request_queue, waiting: list_head, got_budget: bool) -> bool:
    """Send a list of requests to the driver, one by one, as long as it takes them.

    What is left goes to the hardware queue's dispatch list, and something is arranged to run that queue again.
    `got_budget`: the driver's budget for the one request on the list is taken already.
    Returns whether it is worth while to send more.
    """
    # Longer than a page, as in C: what is left is decided by how the loop ended.
    if list_empty(waiting):
        return False
    WARN_ON(not list_is_singular(waiting) and got_budget)

    no_tag = no_budget_avail = False
    errors = queued = 0
    ret = BLK_STS_OK
    while True:
        rq = list_first_entry(waiting)
        hctx = rq.mq_hctx
        if not got_budget and not blk_mq_get_dispatch_budget(hctx):
            blk_mq_put_driver_tag(rq)
            no_budget_avail = True
            break
        if not blk_mq_get_driver_tag(rq):
            if not blk_mq_mark_tag_wait(hctx, rq):
                blk_mq_put_dispatch_budget(hctx)
                # A restart, which is what one waits for without sharing, is looked at below.
                if hctx.flags & BLK_MQ_F_TAG_SHARED:
                    no_tag = True
                break

        list_del_init(rq, "queuelist")
        bd = blk_mq_queue_data(rq)
        # The last is also the one after which there is no tag for more.
        bd.last = list_empty(waiting) or not blk_mq_get_driver_tag(list_first_entry(waiting))
        if (ret := q.mq_ops.queue_rq(hctx, bd)) in (BLK_STS_RESOURCE, BLK_STS_DEV_RESOURCE):
            blk_mq_handle_dev_resource(rq, waiting)
            break
        if ret != BLK_STS_OK:
            errors += 1
            blk_mq_end_request(rq, BLK_STS_IOERR)
        else:
            queued += 1
        if list_empty(waiting):
            break

    if not list_empty(waiting):
        # The driver was told that more would come.
        if q.mq_ops.commit_rqs:
            q.mq_ops.commit_rqs(hctx)
        list_splice_tail_init(waiting, hctx.dispatch, "queuelist")
        # Marked for a restart, the queue is run when a request of it ends; a driver that is out of resources may
        # have none that could end, so a timer runs it too. A mark that is gone means that the restart came
        # before the requests were on the list.
        if not blk_mq_sched_needs_restart(hctx) or (no_tag and hctx.dispatch_wait.entry is None):
            blk_mq_run_hw_queue(hctx, True)
        elif ret == BLK_STS_RESOURCE or no_budget_avail:
            blk_mq_delay_run_hw_queue(hctx, BLK_MQ_RESOURCE_DELAY)
        blk_mq_update_dispatch_busy(hctx, True)
        return False
    blk_mq_update_dispatch_busy(hctx, False)

    return ret not in (BLK_STS_RESOURCE, BLK_STS_DEV_RESOURCE) and queued + errors != 0


def __blk_mq_run_hw_queue(hctx: blk_mq_hw_ctx) -> None:
    """Dispatch what waits in a hardware queue, on a CPU that is mapped to it."""
    cpu = raw_smp_processor_id()
    if not cpumask_test_cpu(cpu, hctx.cpumask) and cpu_online(hctx.next_cpu):
        pr_warn(f"run queue from wrong CPU {cpu}, hctx {'inactive' if cpumask_empty(hctx.cpumask) else 'active'}")
    WARN_ON_ONCE(in_interrupt(), "a hardware queue is run in an interrupt")
    srcu_idx = hctx_lock(hctx)
    blk_mq_sched.blk_mq_sched_dispatch_requests(hctx)
    hctx_unlock(hctx, srcu_idx)


def blk_mq_first_mapped_cpu(hctx: blk_mq_hw_ctx) -> int:
    """The first CPU mapped to a hardware queue that is online; the first at all where none is."""
    if (cpu := cpumask_first_and(hctx.cpumask, cpu_online_mask())) >= nr_cpu_ids():
        cpu = cpumask_first(hctx.cpumask)
    return cpu


def blk_mq_hctx_next_cpu(hctx: blk_mq_hw_ctx) -> int:
    """The CPU on which to run a hardware queue next: each of its CPUs in turn, BLK_MQ_CPU_WORK_BATCH times.

    Any CPU will do for a single queue, and when all of the queue's are offline.
    """
    if hctx.queue.nr_hw_queues == 1:
        return WORK_CPU_UNBOUND
    tried, next_cpu = False, hctx.next_cpu
    hctx.next_cpu_batch -= 1
    select_cpu = hctx.next_cpu_batch <= 0
    while True:
        if select_cpu:
            if (next_cpu := cpumask_next_and(next_cpu, hctx.cpumask, cpu_online_mask())) >= nr_cpu_ids():
                next_cpu = blk_mq_first_mapped_cpu(hctx)
            hctx.next_cpu_batch = BLK_MQ_CPU_WORK_BATCH
        if cpu_online(next_cpu):
            hctx.next_cpu = next_cpu
            return next_cpu
        if tried:
            break
        tried = select_cpu = True
    # Select again next time: its CPUs may be back.
    hctx.next_cpu, hctx.next_cpu_batch = next_cpu, 1
    return WORK_CPU_UNBOUND


def __blk_mq_delay_run_hw_queue(hctx: blk_mq_hw_ctx, async_: bool, msecs: int) -> None:
    """Run a hardware queue here and now if that is allowed and the CPU is one of its own; else through kblockd."""
    if blk_mq_hctx_stopped(hctx):
        return
    if not async_ and not hctx.flags & BLK_MQ_F_BLOCKING:
        if cpumask_test_cpu(get_cpu(), hctx.cpumask):
            __blk_mq_run_hw_queue(hctx)
            put_cpu()
            return
        put_cpu()
    blk_core.kblockd_mod_delayed_work_on(blk_mq_hctx_next_cpu(hctx), hctx.run_work, msecs_to_jiffies(msecs))


def blk_mq_delay_run_hw_queue(hctx: blk_mq_hw_ctx, msecs: int) -> None:
    """Run a hardware queue after so many milliseconds."""
    __blk_mq_delay_run_hw_queue(hctx, True, msecs)


def blk_mq_run_hw_queue(hctx: blk_mq_hw_ctx, async_: bool) -> bool:
    """Run a hardware queue if anything waits in it and it is not quiesced; return whether that was so."""
    srcu_idx = hctx_lock(hctx)
    need_run = not blk_queue_quiesced(hctx.queue) and blk_mq_hctx_has_pending(hctx)
    hctx_unlock(hctx, srcu_idx)
    if need_run:
        __blk_mq_delay_run_hw_queue(hctx, async_, 0)
        return True
    return False


def blk_mq_run_hw_queues(q: request_queue, async_: bool) -> None:
    """Run all hardware queues of a queue that are not stopped."""
    for hctx in queue_for_each_hw_ctx(q):
        if blk_mq_hctx_stopped(hctx):
            continue
        blk_mq_run_hw_queue(hctx, async_)


def blk_mq_stop_hw_queue(hctx: blk_mq_hw_ctx) -> None:
    """Let a hardware queue not be run until it is started; a dispatch under way is not waited for."""
    cancel_delayed_work(hctx.run_work)
    hctx.state |= 1 << BLK_MQ_S_STOPPED


def blk_mq_stop_hw_queues(q: request_queue) -> None:
    """Let none of a queue's hardware queues be run until it is started."""
    for hctx in queue_for_each_hw_ctx(q):
        blk_mq_stop_hw_queue(hctx)


def blk_mq_run_work_fn(work: work_struct) -> None:
    """Run a hardware queue, in a worker."""
    hctx = work.data
    if blk_mq_hctx_stopped(hctx):
        return
    __blk_mq_run_hw_queue(hctx)


# ---------------------------------------------------------------- inserting


def __blk_mq_insert_req_list(hctx: blk_mq_hw_ctx, rq: request, at_head: bool) -> None:
    """Put a request on its software queue's list."""
    (list_add if at_head else list_add_tail)(rq, rq.mq_ctx.rq_lists[hctx.type], "queuelist")


def __blk_mq_insert_request(hctx: blk_mq_hw_ctx, rq: request, at_head: bool) -> None:
    """Put a request on its software queue, and let the hardware queue know."""
    __blk_mq_insert_req_list(hctx, rq, at_head)
    blk_mq_hctx_mark_pending(hctx, rq.mq_ctx)


def blk_mq_request_bypass_insert(rq: request, at_head: bool, run_queue: bool) -> None:
    """Put a request right on the dispatch list, past software queue and scheduler."""
    hctx = rq.mq_hctx
    (list_add if at_head else list_add_tail)(rq, hctx.dispatch, "queuelist")
    if run_queue:
        blk_mq_run_hw_queue(hctx, False)


def blk_mq_insert_requests(hctx: blk_mq_hw_ctx, ctx: blk_mq_ctx, requests: list_head) -> None:
    """Move a list of requests of one software queue to it."""
    for rq in requests:
        BUG_ON(rq.mq_ctx is not ctx, "a request goes to another software queue than its own")
    list_splice_tail_init(requests, ctx.rq_lists[hctx.type], "queuelist")
    blk_mq_hctx_mark_pending(hctx, ctx)


def plug_rq_cmp(priv: Any, rqa: request, rqb: request) -> int:
    """Order a plug's requests: by software queue, hardware queue (by where these lie in memory), and sector."""
    a = rqa.mq_ctx._addr, rqa.mq_hctx._addr
    b = rqb.mq_ctx._addr, rqb.mq_hctx._addr
    if a != b:
        return -1 if a < b else 1
    return rqa._sector > rqb._sector


def blk_mq_flush_plug_list(plug: blk_plug, from_schedule: bool) -> None:
    """Send off what a plug holds back: each run of requests of one software and hardware queue together."""
    requests, rq_list = list_head(), list_head()
    list_splice_init(plug.mq_list, requests, "queuelist")
    if plug.rq_count > 2 and plug.multiple_queues:
        list_sort(NULL, requests, plug_rq_cmp)
    plug.rq_count = 0

    this_hctx = this_ctx = NULL
    for rq in requests:
        list_del_init(rq, "queuelist")
        BUG_ON(rq.q is None, "a plugged request has no queue")
        if rq.mq_hctx is not this_hctx or rq.mq_ctx is not this_ctx:
            if this_hctx is not None:
                blk_mq_sched.blk_mq_sched_insert_requests(this_hctx, this_ctx, rq_list, from_schedule)
            this_ctx, this_hctx = rq.mq_ctx, rq.mq_hctx
        list_add_tail(rq, rq_list, "queuelist")
    if this_hctx is not None:
        blk_mq_sched.blk_mq_sched_insert_requests(this_hctx, this_ctx, rq_list, from_schedule)


def blk_mq_bio_to_request(rq: request, bio: bio, nr_segs: int) -> None:
    """Make a request carry a bio."""
    if bio.bi_opf & REQ_RAHEAD:
        rq.cmd_flags |= REQ_FAILFAST_MASK
    rq._sector = bio.bi_iter.bi_sector
    blk_rq_bio_prep(rq, bio, nr_segs)
    blk_core.blk_account_io_start(rq, True)


# ---------------------------------------------------------------- issuing directly


def __blk_mq_issue_directly(hctx: blk_mq_hw_ctx, rq: request, last: bool) -> tuple[int, int]:
    """Give a request to the driver. Returns its status and what to poll for; refused, the request is as before."""
    new_cookie = request_to_qc_t(hctx, rq)
    if (ret := rq.q.mq_ops.queue_rq(hctx, blk_mq_queue_data(rq, last))) == BLK_STS_OK:
        blk_mq_update_dispatch_busy(hctx, False)
        return ret, new_cookie
    if ret in (BLK_STS_RESOURCE, BLK_STS_DEV_RESOURCE):
        blk_mq_update_dispatch_busy(hctx, True)
        __blk_mq_requeue_request(rq)
    else:
        blk_mq_update_dispatch_busy(hctx, False)
    return ret, BLK_QC_T_NONE


def __blk_mq_try_issue_directly(hctx: blk_mq_hw_ctx, rq: request, bypass_insert: bool, last: bool) -> tuple[int, int]:
    """Give a request to the driver if that may be done now; else insert it, unless `bypass_insert`.

    With `bypass_insert` a request that can't be given is the caller's again (BLK_STS_RESOURCE); but where the queue is
    stopped or quiesced it is inserted all the same. Returns a status and what to poll for.
    """
    q, run_queue = rq.q, True
    if blk_mq_hctx_stopped(hctx) or blk_queue_quiesced(q):
        run_queue = bypass_insert = False
    elif q.elevator is not None and not bypass_insert:
        pass
    elif blk_mq_get_dispatch_budget(hctx):
        if blk_mq_get_driver_tag(rq):
            return __blk_mq_issue_directly(hctx, rq, last)
        blk_mq_put_dispatch_budget(hctx)

    if bypass_insert:
        return BLK_STS_RESOURCE, BLK_QC_T_NONE
    blk_mq_sched.blk_mq_sched_insert_request(rq, False, run_queue, False)
    return BLK_STS_OK, BLK_QC_T_NONE


def blk_mq_try_issue_directly(hctx: blk_mq_hw_ctx, rq: request, cookie: int) -> int:
    """Give a request to the driver at once; what it refuses waits on the dispatch list, what fails is ended.

    Returns what to poll for: `cookie` unless the driver took the request or failed it.
    """
    srcu_idx = hctx_lock(hctx)
    ret, new_cookie = __blk_mq_try_issue_directly(hctx, rq, False, True)
    if ret in (BLK_STS_RESOURCE, BLK_STS_DEV_RESOURCE):
        blk_mq_request_bypass_insert(rq, False, True)
    elif ret != BLK_STS_OK:
        blk_mq_end_request(rq, ret)
        cookie = new_cookie
    elif new_cookie != BLK_QC_T_NONE:
        cookie = new_cookie
    hctx_unlock(hctx, srcu_idx)
    return cookie


def blk_mq_request_issue_directly(rq: request, last: bool) -> int:
    """Give a request to the driver past any scheduler; what can't be given stays the caller's. Returns a status."""
    hctx = rq.mq_hctx
    srcu_idx = hctx_lock(hctx)
    ret, _ = __blk_mq_try_issue_directly(hctx, rq, True, last)
    hctx_unlock(hctx, srcu_idx)
    return ret


def blk_mq_try_issue_list_directly(hctx: blk_mq_hw_ctx, requests: list_head) -> None:
    """Give a list of requests to the driver until it refuses one, which goes to the dispatch list; the rest stay."""
    while not list_empty(requests):
        rq = list_first_entry(requests)
        list_del_init(rq, "queuelist")
        if (ret := blk_mq_request_issue_directly(rq, list_empty(requests))) in (BLK_STS_RESOURCE, BLK_STS_DEV_RESOURCE):
            blk_mq_request_bypass_insert(rq, False, list_empty(requests))
            break
        if ret != BLK_STS_OK:
            blk_mq_end_request(rq, ret)
    if not list_empty(requests) and hctx.queue.mq_ops.commit_rqs:
        hctx.queue.mq_ops.commit_rqs(hctx)


def blk_add_rq_to_plug(plug: blk_plug, rq: request) -> None:
    """Hold a request back in the task's plug."""
    list_add_tail(rq, plug.mq_list, "queuelist")
    plug.rq_count += 1
    if not plug.multiple_queues and not list_is_singular(plug.mq_list):
        if list_first_entry(plug.mq_list).q is not rq.q:
            plug.multiple_queues = True


def blk_mq_make_request(q: request_queue, bio: bio) -> int:
    """Take a bio: split it if it is too long, merge it with a request that waits, or get a request for it and send that
    on its way. The caller is in the queue.

    With a plug a request waits there, if the device has one queue, or rotates, or can be told of several at once; one
    with many queues keeps one request back at most. Without, it goes to the scheduler, or right to the driver.
    Returns what the submitter may poll for, or BLK_QC_T_NONE.
    """
    is_flush_fua = op_is_flush(bio.bi_opf)
    same_queue_rq = NULL

    bio, nr_segs = blk_merge.__blk_queue_split(q, bio)
    if not is_flush_fua and not blk_queue_nomerges(q):
        merged, same_queue_rq = blk_core.blk_attempt_plug_merge(q, bio, nr_segs)
        if merged:
            return BLK_QC_T_NONE
    if blk_mq_sched_bio_merge(q, bio, nr_segs):
        return BLK_QC_T_NONE

    data = blk_mq_alloc_data(cmd_flags=bio.bi_opf)
    if (rq := blk_mq_get_request(q, bio, data)) is None:
        if bio.bi_opf & REQ_NOWAIT:
            bio.bi_status = BLK_STS_AGAIN
            block_bio.bio_endio(bio)
        return BLK_QC_T_NONE

    cookie = request_to_qc_t(data.hctx, rq)
    blk_mq_bio_to_request(rq, bio, nr_segs)

    plug = blk_mq_plug(q, bio)
    if is_flush_fua:
        blk_flush.blk_insert_flush(rq)
        blk_mq_run_hw_queue(data.hctx, True)
    elif plug is not None and (q.nr_hw_queues == 1 or q.mq_ops.commit_rqs or not blk_queue_nonrot(q)):
        request_count = plug.rq_count
        last = list_last_entry(plug.mq_list) if request_count else NULL
        if request_count >= BLK_MAX_REQUEST_COUNT or (last is not None and last._data_len >= BLK_PLUG_FLUSH_SIZE):
            blk_core.blk_flush_plug_list(plug, False)
        blk_add_rq_to_plug(plug, rq)
    elif q.elevator is not None:
        blk_mq_sched.blk_mq_sched_insert_request(rq, False, True, True)
    elif plug is not None and not blk_queue_nomerges(q):
        # Getting the request may have slept, which empties the plug.
        if list_empty(plug.mq_list):
            same_queue_rq = NULL
        if same_queue_rq is not None:
            list_del_init(same_queue_rq, "queuelist")
            plug.rq_count -= 1
        blk_add_rq_to_plug(plug, rq)
        if same_queue_rq is not None:
            data.hctx = same_queue_rq.mq_hctx
            cookie = blk_mq_try_issue_directly(data.hctx, same_queue_rq, cookie)
    elif (q.nr_hw_queues > 1 and op_is_sync(bio.bi_opf)) or not data.hctx.dispatch_busy:
        cookie = blk_mq_try_issue_directly(data.hctx, rq, cookie)
    else:
        blk_mq_sched.blk_mq_sched_insert_request(rq, False, True, True)
    return cookie


# ---------------------------------------------------------------- requests and their memory


def blk_mq_free_rqs(set: blk_mq_tag_set, tags: blk_mq_tags, hctx_idx: int) -> None:
    """Free all requests of a hardware queue, after the driver has undone its part of each."""
    if tags.rqs is not None and set.ops.exit_request:
        for i in range(tags.nr_tags):
            rq = tags.static_rqs[i]
            if rq is None:
                continue
            set.ops.exit_request(set, rq, hctx_idx)
            tags.static_rqs[i] = NULL
    while not list_empty(tags.page_list):
        page = list_first_entry(tags.page_list)
        list_del_init(page, "lru")
        __free_pages(page, page.private)


def blk_mq_free_rq_map(tags: blk_mq_tags) -> None:
    """Free the tags of a hardware queue and the arrays of its requests; the requests are gone already."""
    kfree(tags.rqs)
    tags.rqs = NULL
    kfree(tags.static_rqs)
    tags.static_rqs = NULL
    blk_mq_tag.blk_mq_free_tags(tags)


def blk_mq_alloc_rq_map(set: blk_mq_tag_set, hctx_idx: int, nr_tags: int, reserved_tags: int) -> blk_mq_tags:
    """Allocate the tags of one hardware queue, and the two arrays that will hold its requests.

    The memory is on the node of the CPUs that use the queue. The requests come later, in blk_mq_alloc_rqs().
    Returns the struct blk_mq_tags, or None; then nothing is left allocated.
    """
    if (node := blk_mq_cpumap.blk_mq_hw_queue_to_node(set.map[HCTX_TYPE_DEFAULT], hctx_idx)) == NUMA_NO_NODE:
        node = set.numa_node
    tags = blk_mq_tag.blk_mq_init_tags(nr_tags, reserved_tags, node, BLK_MQ_FLAG_TO_ALLOC_POLICY(set.flags))
    if tags is None:
        return NULL
    gfp = GFP_NOIO | __GFP_NOWARN | __GFP_NORETRY
    tags.rqs = kcalloc_node(nr_tags, "pointer", gfp, node)
    if tags.rqs is not None:
        tags.static_rqs = kcalloc_node(nr_tags, "pointer", gfp, node, Later)
        if tags.static_rqs is not None:
            return tags
        kfree(tags.rqs)
    blk_mq_tag.blk_mq_free_tags(tags)
    return NULL


def order_to_size(order: int) -> int:
    """Bytes in 2**order pages."""
    return PAGE_SIZE << order


def blk_mq_init_request(set: blk_mq_tag_set, rq: request, hctx_idx: int, node: int) -> int:
    """Let the driver prepare its part of a new request. Returns 0 or the driver's error."""
    if set.ops.init_request:
        if ret := set.ops.init_request(set, rq, hctx_idx, node):
            return ret
    rq.state = MQ_RQ_IDLE
    return 0


def blk_mq_alloc_rqs(set: blk_mq_tag_set, tags: blk_mq_tags, hctx_idx: int, depth: int) -> int:
    """Allocate the requests of a hardware queue, in runs of at most 16 pages.

    A request with the driver's data behind it is rounded up to whole cache lines; none crosses from one run into
    another. A run is the largest of which at least half is needed, and smaller where memory is short.
    While nobody watches, a request has no more than its address until it is first used, if its driver can wait.
    Returns 0, or -ENOMEM; then no request is left.
    """
    max_order, wait = 4, (set.ops._make_pdu or not set.ops.init_request) and not this().watched
    if (node := blk_mq_cpumap.blk_mq_hw_queue_to_node(set.map[HCTX_TYPE_DEFAULT], hctx_idx)) == NUMA_NO_NODE:
        node = set.numa_node
    INIT_LIST_HEAD(tags.page_list)
    rq_size = -(-(sizeof(request) + set.cmd_size) // CACHE_LINE_SIZE) * CACHE_LINE_SIZE
    left, static_rqs, i = rq_size * depth, tags.static_rqs, 0
    static_rqs.new = partial(set._prepared, hctx_idx)
    while i < depth:
        this_order = max_order
        while this_order and left < order_to_size(this_order - 1):
            this_order -= 1
        while True:
            page = alloc_pages_node(node, GFP_NOIO | __GFP_NOWARN | __GFP_NORETRY | __GFP_ZERO, this_order)
            if page is not None or not this_order:
                break
            this_order -= 1
            if order_to_size(this_order) < rq_size:
                break
        if page is None:
            blk_mq_free_rqs(set, tags, hctx_idx)
            return -ENOMEM

        page.private = this_order
        list_add_tail(page, tags.page_list, "lru")
        p = page_address(page)
        to_do = min(order_to_size(this_order) // rq_size, depth - i)
        left -= to_do * rq_size
        if wait:
            static_rqs[i:i + to_do] = range(p, p + to_do * rq_size, rq_size)
            i += to_do
            continue
        for _ in range(to_do):
            rq = static_rqs[i] = place(request, p)
            if blk_mq_init_request(set, rq, hctx_idx, node):
                static_rqs[i] = NULL
                blk_mq_free_rqs(set, tags, hctx_idx)
                return -ENOMEM
            p += rq_size
            i += 1
    return 0


# ---------------------------------------------------------------- hardware and software queues


def blk_mq_hctx_notify_dead(cpu: int, node: blk_mq_hw_ctx) -> int:
    """A CPU is gone: what waits in its software queue moves to the hardware queue's dispatch list, which is run.

    Called for every hardware queue (in C, `node` is a member of it).
    """
    hctx = node
    # 5.4: does not look whether the CPU is one of the hardware queue's: the first that is told takes what is another's,
    # whose mark stays. Mended by "blk-mq: drain I/O when all CPUs in a hctx are offline".
    ctx, moved = __blk_mq_get_ctx(hctx.queue, cpu), list_head()
    if not list_empty(ctx.rq_lists[hctx.type]):
        list_splice_init(ctx.rq_lists[hctx.type], moved, "queuelist")
        blk_mq_hctx_clear_pending(hctx, ctx)
    if list_empty(moved):
        return 0
    list_splice_tail_init(moved, hctx.dispatch, "queuelist")
    blk_mq_run_hw_queue(hctx, True)
    return 0


def blk_mq_remove_cpuhp(hctx: blk_mq_hw_ctx) -> None:
    """Tell a hardware queue no more about CPUs that go."""
    cpuhp_state_remove_instance_nocalls(CPUHP_BLK_MQ_DEAD, hctx, "cpuhp_dead")


def blk_mq_exit_hctx(q: request_queue, set: blk_mq_tag_set, hctx: blk_mq_hw_ctx, hctx_idx: int) -> None:
    """Put a hardware queue out of use. It is freed with the request queue, or used anew before."""
    if blk_mq_hw_queue_mapped(hctx):
        blk_mq_tag_idle(hctx)
    if set.ops.exit_request:
        set.ops.exit_request(set, hctx.fq.flush_rq, hctx_idx)
    if set.ops.exit_hctx:
        set.ops.exit_hctx(hctx, hctx_idx)
    blk_mq_remove_cpuhp(hctx)
    list_add(hctx, q.unused_hctx_list, "hctx_list")


def blk_mq_exit_hw_queues(q: request_queue, set: blk_mq_tag_set, nr_queue: int) -> None:
    """Put the first nr_queue hardware queues out of use."""
    for i, hctx in enumerate(queue_for_each_hw_ctx(q)):
        if i == nr_queue:
            break
        blk_mq_exit_hctx(q, set, hctx, i)


def blk_mq_hw_ctx_size(tag_set: blk_mq_tag_set) -> int:
    """Bytes of a hardware queue: with room for its own RCU where the driver may sleep."""
    hw_ctx_size = sizeof(blk_mq_hw_ctx)
    if tag_set.flags & BLK_MQ_F_BLOCKING:
        hw_ctx_size += sizeof(srcu_struct)
    return hw_ctx_size


def blk_mq_init_hctx(q: request_queue, set: blk_mq_tag_set, hctx: blk_mq_hw_ctx, hctx_idx: int) -> int:
    """Put a hardware queue into use as number hctx_idx: the driver hears of it, and of its flush request.

    Returns 0, or -1; then it is as before.
    """
    hctx.queue_num = hctx_idx
    cpuhp_state_add_instance_nocalls(CPUHP_BLK_MQ_DEAD, hctx, "cpuhp_dead")
    hctx.tags = set.tags[hctx_idx]
    if not (set.ops.init_hctx and set.ops.init_hctx(hctx, set.driver_data, hctx_idx)):
        if not blk_mq_init_request(set, hctx.fq.flush_rq, hctx_idx, hctx.numa_node):
            return 0
        if set.ops.exit_hctx:
            set.ops.exit_hctx(hctx, hctx_idx)
    blk_mq_remove_cpuhp(hctx)
    return -1


def blk_mq_alloc_hctx(q: request_queue, set: blk_mq_tag_set, node: int) -> blk_mq_hw_ctx:
    """Allocate a hardware queue that could serve every possible CPU. Returns it, or None."""
    gfp = GFP_NOIO | __GFP_NOWARN | __GFP_NORETRY
    if (hctx := kzalloc_node(blk_mq_hw_ctx, gfp, node, blk_mq_hw_ctx_size(set))) is None:
        return NULL
    if node == NUMA_NO_NODE:
        node = set.numa_node
    hctx.numa_node = node
    INIT_DELAYED_WORK(hctx.run_work, blk_mq_run_work_fn, hctx, bool(set.flags & BLK_MQ_F_BLOCKING))
    hctx.queue, hctx.flags = q, set.flags & ~BLK_MQ_F_TAG_SHARED

    hctx.ctxs = kcalloc_node(nr_cpu_ids(), "pointer", gfp, node)
    if hctx.ctxs is not None:
        if not sbitmap.sbitmap_init_node(hctx.ctx_map, nr_cpu_ids(), 3, gfp, node):
            hctx.nr_ctx = 0
            init_waitqueue_func_entry(hctx.dispatch_wait, blk_mq_dispatch_wake)
            hctx.dispatch_wait.private = hctx
            hctx.fq = blk_flush.blk_alloc_flush_queue(q, hctx.numa_node, set.cmd_size, gfp)
            if hctx.fq is not None:
                if hctx.flags & BLK_MQ_F_BLOCKING:
                    hctx.srcu = place(srcu_struct, hctx._addr + sizeof(blk_mq_hw_ctx))
                    init_srcu_struct(hctx.srcu)  # 5.4: does not look whether it could be had
                blk_mq_sysfs.blk_mq_hctx_kobj_init(hctx)
                return hctx
            sbitmap_free(hctx.ctx_map)
        kfree(hctx.ctxs)
    kfree(hctx)
    return NULL


def blk_mq_init_cpu_queues(q: request_queue, nr_hw_queues: int) -> None:
    """Make every possible CPU's software queue ready.

    A hardware queue that belongs to no node so far goes to that of its first CPU, unless there is only one queue.
    """
    set = q.tag_set
    for cpu in for_each_possible_cpu():
        ctx = __blk_mq_get_ctx(q, cpu)
        ctx.cpu = cpu
        for waiting in ctx.rq_lists:
            INIT_LIST_HEAD(waiting)
        ctx.queue = q
        for type in range(set.nr_maps):
            hctx = blk_mq_map_queue_type(q, type, cpu)
            if nr_hw_queues > 1 and hctx.numa_node == NUMA_NO_NODE:
                hctx.numa_node = local_memory_node(cpu_to_node(cpu))


def __blk_mq_alloc_rq_map(set: blk_mq_tag_set, hctx_idx: int) -> bool:
    """Allocate tags and requests of one hardware queue of a tag set; return whether that succeeded."""
    tags = set.tags[hctx_idx] = blk_mq_alloc_rq_map(set, hctx_idx, set.queue_depth, set.reserved_tags)
    if tags is None:
        return False
    if not blk_mq_alloc_rqs(set, tags, hctx_idx, set.queue_depth):
        return True
    blk_mq_free_rq_map(tags)
    set.tags[hctx_idx] = NULL
    return False


def blk_mq_free_map_and_requests(set: blk_mq_tag_set, hctx_idx: int) -> None:
    """Free tags and requests of one hardware queue of a tag set, if it has any."""
    if set.tags is not None and set.tags[hctx_idx] is not None:
        blk_mq_free_rqs(set, set.tags[hctx_idx], hctx_idx)
        blk_mq_free_rq_map(set.tags[hctx_idx])
        set.tags[hctx_idx] = NULL


def blk_mq_map_swqueue(q: request_queue) -> None:
    """Connect software and hardware queues as the set's maps say; the queue is frozen, or not in use yet.

    A CPU whose hardware queue can't get tags uses hardware queue 0, which always has some. A hardware queue that no
    CPU uses loses its tags.
    """
    set = q.tag_set
    for hctx in queue_for_each_hw_ctx(q):
        cpumask_clear(hctx.cpumask)
        hctx.nr_ctx, hctx.dispatch_from = 0, NULL

    for cpu in for_each_possible_cpu():
        ctx = __blk_mq_get_ctx(q, cpu)
        for type in range(set.nr_maps):
            if not set.map[type].nr_queues:
                ctx.hctxs[type] = blk_mq_map_queue_type(q, HCTX_TYPE_DEFAULT, cpu)
                continue
            hctx_idx = set.map[type].mq_map[cpu]
            if set.tags[hctx_idx] is None and not __blk_mq_alloc_rq_map(set, hctx_idx):
                set.map[type].mq_map[cpu] = 0
            hctx = blk_mq_map_queue_type(q, type, cpu)
            ctx.hctxs[type] = hctx
            # Types may share hardware queues.
            if cpumask_test_cpu(cpu, hctx.cpumask):
                continue
            cpumask_set_cpu(cpu, hctx.cpumask)
            hctx.type = type
            ctx.index_hw[type] = hctx.nr_ctx
            hctx.ctxs[hctx.nr_ctx] = ctx
            hctx.nr_ctx += 1
        for type in range(set.nr_maps, HCTX_MAX_TYPES):
            ctx.hctxs[type] = blk_mq_map_queue_type(q, HCTX_TYPE_DEFAULT, cpu)

    for i, hctx in enumerate(queue_for_each_hw_ctx(q)):
        if not hctx.nr_ctx:
            # Queue 0 keeps its tags: it is what is fallen back to.
            if i and set.tags[i] is not None:
                blk_mq_free_map_and_requests(set, i)
            hctx.tags = NULL
            continue
        hctx.tags = set.tags[i]
        WARN_ON(hctx.tags is None, "a mapped hardware queue has no tags")
        sbitmap.sbitmap_resize(hctx.ctx_map, hctx.nr_ctx)
        hctx.next_cpu = blk_mq_first_mapped_cpu(hctx)
        hctx.next_cpu_batch = BLK_MQ_CPU_WORK_BATCH


def queue_set_hctx_shared(q: request_queue, shared: bool) -> None:
    """Tell a queue's hardware queues whether they share their tags with another queue's."""
    for hctx in queue_for_each_hw_ctx(q):
        if shared:
            hctx.flags |= BLK_MQ_F_TAG_SHARED
        else:
            hctx.flags &= ~BLK_MQ_F_TAG_SHARED


def blk_mq_update_tag_set_depth(set: blk_mq_tag_set, shared: bool) -> None:
    """Tell all queues of a tag set whether they share it, each while it is frozen."""
    for q in set.tag_list:
        blk_mq_freeze_queue(q)
        queue_set_hctx_shared(q, shared)
        blk_mq_unfreeze_queue(q)


def blk_mq_del_queue_tag_set(q: request_queue) -> None:
    """Take a queue off its tag set; a queue that is left alone shares no longer."""
    set = q.tag_set
    with set.tag_list_lock:
        list_del_init(q, "tag_set_list")
        if list_is_singular(set.tag_list):
            set.flags &= ~BLK_MQ_F_TAG_SHARED
            blk_mq_update_tag_set_depth(set, False)


def blk_mq_add_queue_tag_set(set: blk_mq_tag_set, q: request_queue) -> None:
    """Add a queue to its tag set; with the second one the tags are shared."""
    with set.tag_list_lock:
        if not list_empty(set.tag_list) and not set.flags & BLK_MQ_F_TAG_SHARED:
            set.flags |= BLK_MQ_F_TAG_SHARED
            blk_mq_update_tag_set_depth(set, True)
        if set.flags & BLK_MQ_F_TAG_SHARED:
            queue_set_hctx_shared(q, True)
        list_add_tail(q, set.tag_list, "tag_set_list")


def blk_mq_alloc_ctxs(q: request_queue) -> int:
    """Allocate a software queue for each possible CPU. They are freed with the queue. Returns 0 or -ENOMEM."""
    if (ctxs := kzalloc(blk_mq_ctxs, GFP_KERNEL)) is None:
        return -ENOMEM
    ctxs.queue_ctx = alloc_percpu(blk_mq_ctx)
    if ctxs.queue_ctx is None:
        kfree(ctxs)
        return -ENOMEM
    for ctx in ctxs.queue_ctx:
        ctx.ctxs = ctxs
    ctxs.kobj._owner = ctxs
    q.mq_kobj, q.queue_ctx = ctxs.kobj, ctxs.queue_ctx
    return 0


def blk_mq_release(q: request_queue) -> None:
    """Free a queue's hardware and software queues, at the very end of the queue."""
    for hctx in queue_for_each_hw_ctx(q):
        WARN_ON_ONCE(hctx is not None and hctx.hctx_list is None, "a hardware queue is still in use")
    for hctx in q.unused_hctx_list:
        list_del_init(hctx, "hctx_list")
        kobject_put(hctx.kobj)
    kfree(q.queue_hw_ctx)
    blk_mq_sysfs.blk_mq_sysfs_deinit(q)


# ---------------------------------------------------------------- request queues


def blk_mq_init_queue(set: blk_mq_tag_set) -> request_queue:
    """Make a request queue on a tag set, without a scheduler. Returns it, or ERR_PTR(-ENOMEM)."""
    if (uninit_q := blk_core.blk_alloc_queue_node(GFP_KERNEL, set.numa_node)) is None:
        return ERR_PTR(-ENOMEM)
    if IS_ERR(q := blk_mq_init_allocated_queue(set, uninit_q, False)):
        blk_core.blk_cleanup_queue(uninit_q)
    return q


def blk_mq_alloc_and_init_hctx(set: blk_mq_tag_set, q: request_queue, hctx_idx: int, node: int) -> blk_mq_hw_ctx:
    """Get hardware queue hctx_idx on a node: one that went out of use there, or a new one. Returns it, or None."""
    for hctx in q.unused_hctx_list:
        if hctx.numa_node == node:
            list_del_init(hctx, "hctx_list")
            break
    else:
        hctx = blk_mq_alloc_hctx(q, set, node)
    if hctx is None:
        return NULL
    if blk_mq_init_hctx(q, set, hctx, hctx_idx):
        kobject_put(hctx.kobj)
        return NULL
    return hctx


def blk_mq_realloc_hw_ctxs(set: blk_mq_tag_set, q: request_queue) -> None:
    """Give a queue as many hardware queues as its set says, each on the node of its CPUs.

    One whose node has changed is replaced, if memory allows. Where there is none for more queues, the number stays
    as it was: the caller looks at q.nr_hw_queues.
    """
    # 5.4: the array has as many places as there are CPUs, or had to be queues when it was made; it does not grow.
    BUG_ON(set.nr_hw_queues > q.nr_queues, "hardware queues are put behind the end of their array")
    hctxs, reached = q.queue_hw_ctx, set.nr_hw_queues
    mutex_lock(q.sysfs_lock)
    for i in range(set.nr_hw_queues):
        node = blk_mq_cpumap.blk_mq_hw_queue_to_node(set.map[HCTX_TYPE_DEFAULT], i)
        if hctxs[i] is not None and hctxs[i].numa_node == node:
            continue
        if (hctx := blk_mq_alloc_and_init_hctx(set, q, i, node)) is not None:
            if hctxs[i] is not None:
                blk_mq_exit_hctx(q, set, hctxs[i], i)
            hctxs[i] = hctx
        elif hctxs[i] is not None:
            pr_warn(f"Allocate new hctx on node {node} fails,"
                    f"\t\t\t\t\t\tfallback to previous one on node {hctxs[i].numa_node}")
        else:
            reached = i
            break

    if reached != set.nr_hw_queues:
        first, end = q.nr_hw_queues, reached
    else:
        first, end = reached, q.nr_hw_queues
        q.nr_hw_queues = set.nr_hw_queues
    for j in range(first, end):
        hctx = hctxs[j]
        if hctx is not None:
            if hctx.tags is not None:
                # 5.4: a queue that was not there before gives up here, and others of the set go on with freed tags.
                BUG_ON(not q.nr_hw_queues and set.tags[j] is not None and any(
                    other is not q and other.queue_hw_ctx[j].tags is set.tags[j] for other in set.tag_list),
                    "tags are freed that another queue uses")
                blk_mq_free_map_and_requests(set, j)
            blk_mq_exit_hctx(q, set, hctx, j)
            hctxs[j] = NULL
    mutex_unlock(q.sysfs_lock)


def nr_hw_queues(set: blk_mq_tag_set) -> int:
    """The most hardware queues a set can have: as many as CPUs, or with several maps what the driver asks for."""
    return nr_cpu_ids() if set.nr_maps == 1 else max(set.nr_hw_queues, nr_cpu_ids())


def blk_mq_init_allocated_queue(set: blk_mq_tag_set, q: request_queue, elevator_init: bool) -> request_queue:
    """Make a bare request queue a multi-queue one on a tag set.

    Returns q, or ERR_PTR(-ENOMEM); then q is bare again, and hardware queues that it had already are lost.
    """
    q.mq_ops = set.ops
    q.poll_cb = blk_stat.blk_stat_alloc_callback(blk_mq_poll_stats_fn, blk_mq_poll_stats_bkt, BLK_MQ_POLL_STATS_BKTS, q)
    ready = False
    if q.poll_cb is not None:
        if not blk_mq_alloc_ctxs(q):
            blk_mq_sysfs.blk_mq_sysfs_init(q)
            q.nr_queues = nr_hw_queues(set)
            q.queue_hw_ctx = kcalloc_node(q.nr_queues, "pointer", GFP_KERNEL, set.numa_node)
            if q.queue_hw_ctx is not None:
                INIT_LIST_HEAD(q.unused_hctx_list)
                blk_mq_realloc_hw_ctxs(set, q)
                ready = q.nr_hw_queues != 0
                if not ready:
                    # 5.4: frees the array alone; the hardware queues that were put aside as unused are lost.
                    kfree(q.queue_hw_ctx)
            if not ready:
                blk_mq_sysfs.blk_mq_sysfs_deinit(q)
        if not ready:
            blk_stat.blk_stat_free_callback(q.poll_cb)
    if not ready:
        q.poll_cb = q.mq_ops = NULL
        return ERR_PTR(-ENOMEM)

    INIT_WORK(q.timeout_work, blk_mq_timeout_work, q)
    blk_settings.blk_queue_rq_timeout(q, set.timeout if set.timeout else 30 * HZ)
    q.tag_set = set
    q.queue_flags |= QUEUE_FLAG_MQ_DEFAULT
    if set.nr_maps > HCTX_TYPE_POLL and set.map[HCTX_TYPE_POLL].nr_queues:
        blk_core.blk_queue_flag_set(QUEUE_FLAG_POLL, q)
    INIT_DELAYED_WORK(q.requeue_work, blk_mq_requeue_work, q)
    INIT_LIST_HEAD(q.requeue_list)
    blk_settings.blk_queue_make_request(q, blk_mq_make_request)
    # blk_queue_make_request() sets it too.
    q.nr_requests, q.poll_nsec = set.queue_depth, BLK_MQ_POLL_CLASSIC

    blk_mq_init_cpu_queues(q, set.nr_hw_queues)
    blk_mq_add_queue_tag_set(set, q)
    blk_mq_map_swqueue(q)
    if elevator_init:
        elevator.elevator_init_mq(q)
    return q


def blk_mq_exit_queue(q: request_queue) -> None:
    """Put a queue's hardware queues out of use and take it off its tag set. Its tags can't be used from here on."""
    set = q.tag_set
    blk_mq_exit_hw_queues(q, set, set.nr_hw_queues)
    blk_mq_del_queue_tag_set(q)


# ---------------------------------------------------------------- tag sets


def __blk_mq_alloc_rq_maps(set: blk_mq_tag_set) -> int:
    """Allocate tags and requests of all hardware queues.

    Returns 0, or -ENOMEM; then none has any, but pages of requests are lost, and what the driver set up for each.
    """
    for i in range(set.nr_hw_queues):
        if not __blk_mq_alloc_rq_map(set, i):
            # 5.4: frees the tags of those before, but not their requests.
            for done in reversed(range(i)):
                blk_mq_free_rq_map(set.tags[done])
            return -ENOMEM
    return 0


def blk_mq_alloc_rq_maps(set: blk_mq_tag_set) -> int:
    """Allocate tags and requests of all hardware queues, of half the depth while memory is short.

    set.queue_depth says what depth it became. Returns 0 or -ENOMEM.
    """
    depth = set.queue_depth
    while True:
        if not (err := __blk_mq_alloc_rq_maps(set)):
            break
        set.queue_depth >>= 1
        if set.queue_depth < set.reserved_tags + BLK_MQ_TAG_MIN:
            break
    if err:
        pr_err("blk-mq: failed to allocate request map")
        return -ENOMEM
    if depth != set.queue_depth:
        pr_info(f"blk-mq: reduced tag depth ({depth} -> {set.queue_depth})")
    return 0


def blk_mq_update_queue_map(set: blk_mq_tag_set) -> int:
    """Fill in which CPU uses which hardware queue: as the driver wants it, or spread evenly. Returns 0 or -errno."""
    if set.nr_maps == 1:
        set.map[HCTX_TYPE_DEFAULT].nr_queues = set.nr_hw_queues
    if set.ops.map_queues and not is_kdump_kernel():
        # A driver maps the CPUs that its queues know of; no other may keep an old queue.
        for type in range(set.nr_maps):
            blk_mq_clear_mq_map(set.map[type])
        return set.ops.map_queues(set)
    BUG_ON(set.nr_maps > 1, "a driver with several maps must fill them in")
    return blk_mq_cpumap.blk_mq_map_queues(set.map[HCTX_TYPE_DEFAULT])


def blk_mq_alloc_tag_set(set: blk_mq_tag_set) -> int:
    """Allocate what a driver has described: the maps, and each hardware queue's tags and requests.

    Queues may become fewer (as many as CPUs do, one in a crash kernel), and the depth less (10240, 64 in a crash
    kernel, or what memory allows).
    Returns 0, -EINVAL where the description is wrong, -ENOMEM, or what the driver's map_queues says.
    """
    if not set.nr_hw_queues or not set.queue_depth or set.queue_depth < set.reserved_tags + BLK_MQ_TAG_MIN:
        return -EINVAL
    if not set.ops.queue_rq or (set.ops.get_budget is None) != (set.ops.put_budget is None):
        return -EINVAL
    if set.queue_depth > BLK_MQ_MAX_DEPTH:
        pr_info(f"blk-mq: reduced tag depth to {BLK_MQ_MAX_DEPTH}")
        set.queue_depth = BLK_MQ_MAX_DEPTH
    if not set.nr_maps:
        set.nr_maps = 1
    elif set.nr_maps > HCTX_MAX_TYPES:
        return -EINVAL

    if is_kdump_kernel():
        set.nr_hw_queues = set.nr_maps = 1
        set.queue_depth = min(64, set.queue_depth)
    if set.nr_maps == 1 and set.nr_hw_queues > nr_cpu_ids():
        set.nr_hw_queues = nr_cpu_ids()

    set.tags = kcalloc_node(nr_hw_queues(set), "pointer", GFP_KERNEL, set.numa_node)
    if set.tags is None:
        return -ENOMEM
    ret = -ENOMEM
    for qmap in set.map[:set.nr_maps]:
        qmap.mq_map = kcalloc_node(nr_cpu_ids(), "unsigned int", GFP_KERNEL, set.numa_node)
        if qmap.mq_map is None:
            break
        qmap.nr_queues = 1 if is_kdump_kernel() else set.nr_hw_queues
    else:
        if not (ret := blk_mq_update_queue_map(set)):
            ret = blk_mq_alloc_rq_maps(set)
        if not ret:
            INIT_LIST_HEAD(set.tag_list)
            return 0

    for qmap in set.map[:set.nr_maps]:
        kfree(qmap.mq_map)
        qmap.mq_map = NULL
    kfree(set.tags)
    set.tags = NULL
    return ret


def blk_mq_free_tag_set(set: blk_mq_tag_set) -> None:
    """Free what blk_mq_alloc_tag_set() allocated; no queue uses the set any more."""
    i = 0
    while i < nr_hw_queues(set):  # recorder: the kernel calls it for each round, and so it is recorded
        blk_mq_free_map_and_requests(set, i)
        i += 1
    for qmap in set.map[:set.nr_maps]:
        kfree(qmap.mq_map)
        qmap.mq_map = NULL
    kfree(set.tags)
    set.tags = NULL


def blk_mq_update_nr_requests(q: request_queue, nr: int) -> int:
    """Change how many requests a queue may have, as `nr_requests` in /sys does: of the scheduler where there is one.

    Returns 0, -EINVAL for a number out of range, or -ENOMEM.
    """
    if q.tag_set is None:
        return -EINVAL
    if q.nr_requests == nr:
        return 0
    blk_mq_freeze_queue(q)
    blk_mq_quiesce_queue(q)
    ret = 0
    for hctx in queue_for_each_hw_ctx(q):
        if hctx.tags is None:
            continue
        if hctx.sched_tags is None:
            ret, hctx.tags = blk_mq_tag.blk_mq_tag_update_depth(hctx, hctx.tags, nr, False)
        else:
            ret, hctx.sched_tags = blk_mq_tag.blk_mq_tag_update_depth(hctx, hctx.sched_tags, nr, True)
        if ret:
            break
        if q.elevator is not None and q.elevator.type.ops.depth_updated:
            q.elevator.type.ops.depth_updated(hctx)
    if not ret:
        q.nr_requests = nr
    blk_mq_unquiesce_queue(q)
    blk_mq_unfreeze_queue(q)
    return ret


def blk_mq_elv_switch_none(head: list_head, q: request_queue) -> bool:
    """Take a queue's scheduler away for a while, and note on a list which it was; False when memory is short."""
    if q.elevator is None:
        return True
    if (qe := kzalloc(blk_mq_qe_pair, GFP_NOIO | __GFP_NOWARN | __GFP_NORETRY)) is None:
        return False
    qe.q, qe.type = q, q.elevator.type
    list_add(qe, head, "node")
    with q.sysfs_lock:
        elevator.elevator_switch_mq(q, NULL)
    return True


def blk_mq_elv_switch_back(head: list_head, q: request_queue) -> None:
    """Give a queue the scheduler back that the list says it had."""
    for qe in head:
        if qe.q is q:
            list_del_init(qe, "node")
            kfree(qe)
            with q.sysfs_lock:
                elevator.elevator_switch_mq(q, qe.type)
            return


def __blk_mq_update_nr_hw_queues(set: blk_mq_tag_set, nr_hw_queues: int) -> None:
    """Change the number of hardware queues of all queues of a set, while they are frozen and without schedulers.

    Where memory is too short for more, it stays as it was.
    """
    if set.nr_maps == 1 and nr_hw_queues > nr_cpu_ids():
        nr_hw_queues = nr_cpu_ids()
    if nr_hw_queues < 1 or (set.nr_maps == 1 and nr_hw_queues == set.nr_hw_queues):
        return

    head = list_head()
    for q in set.tag_list:
        blk_mq_freeze_queue(q)
    synchronize_rcu()
    for q in set.tag_list:
        if not blk_mq_elv_switch_none(head, q):
            break
    else:
        for q in set.tag_list:
            blk_mq_sysfs.blk_mq_sysfs_unregister(q)
        prev_nr_hw_queues = set.nr_hw_queues
        set.nr_hw_queues = nr_hw_queues
        settled = False
        while not settled:
            blk_mq_update_queue_map(set)
            settled = True
            for q in set.tag_list:
                blk_mq_realloc_hw_ctxs(set, q)
                if q.nr_hw_queues != set.nr_hw_queues:
                    pr_warn(f"Increasing nr_hw_queues to {nr_hw_queues} fails, fallback to {prev_nr_hw_queues}")
                    set.nr_hw_queues = prev_nr_hw_queues
                    blk_mq_cpumap.blk_mq_map_queues(set.map[HCTX_TYPE_DEFAULT])
                    settled = False
                    break
                blk_mq_map_swqueue(q)
        for q in set.tag_list:
            blk_mq_sysfs.blk_mq_sysfs_register(q)
    for q in set.tag_list:
        blk_mq_elv_switch_back(head, q)
    for q in set.tag_list:
        blk_mq_unfreeze_queue(q)


def blk_mq_update_nr_hw_queues(set: blk_mq_tag_set, nr_hw_queues: int) -> None:
    """Change the number of hardware queues of a tag set that is in use."""
    with set.tag_list_lock:
        __blk_mq_update_nr_hw_queues(set, nr_hw_queues)


def blk_poll_stats_enable(q: request_queue) -> bool:
    """Let the requests of a queue be timed; return whether they were already."""
    if test_bit(QUEUE_FLAG_POLL_STATS, q.queue_flags):
        return True
    if blk_core.blk_queue_flag_test_and_set(QUEUE_FLAG_POLL_STATS, q):
        return True
    blk_stat.blk_stat_add_callback(q, q.poll_cb)
    return False


def blk_mq_poll_stats_start(q: request_queue) -> None:
    """Time requests for a tenth of a second from now, if they are to be timed and it is not being done."""
    if not test_bit(QUEUE_FLAG_POLL_STATS, q.queue_flags) or blk_stat_is_active(q.poll_cb):
        return
    blk_stat_activate_msecs(q.poll_cb, 100)


def blk_mq_poll_stats_fn(cb: blk_stat_callback) -> None:
    """Remember how long requests took, kind by kind, where there were any."""
    q = cb.data
    for bucket, stat in enumerate(cb.stat):
        if stat.nr_samples:
            q.poll_stat[bucket] = blk_rq_stat(stat.mean, stat.min, stat.max, stat.nr_samples, stat.batch)


def blk_mq_poll_nsecs(q: request_queue, hctx: blk_mq_hw_ctx, rq: request) -> int:
    """How long to sleep before it is worth looking at a request: half of what such requests took; 0 if not known."""
    if not blk_poll_stats_enable(q):
        return 0
    if (bucket := blk_mq_poll_stats_bkt(rq)) < 0:
        return 0
    return (q.poll_stat[bucket].mean + 1) // 2 if q.poll_stat[bucket].nr_samples else 0


def blk_mq_poll_hybrid_sleep(q: request_queue, hctx: blk_mq_hw_ctx, rq: request) -> bool:
    """Sleep a while, once, before a request is polled for: as long as poll_nsec says, or (0) half the usual time.

    Returns whether the task slept.
    """
    if rq.rq_flags & RQF_MQ_POLL_SLEPT:
        return False
    nsecs = q.poll_nsec if q.poll_nsec > 0 else blk_mq_poll_nsecs(q, hctx, rq)
    if not nsecs:
        return False
    rq.rq_flags |= RQF_MQ_POLL_SLEPT

    mode, hs = HRTIMER_MODE_REL, hrtimer_sleeper()
    hrtimer_init_sleeper_on_stack(hs)
    hrtimer_set_expires(hs, nsecs)
    task = this().context
    while True:
        if blk_mq_rq_state(rq) == MQ_RQ_COMPLETE:
            break
        set_current_state(TASK_UNINTERRUPTIBLE)
        hrtimer_sleeper_start_expires(hs, mode)
        if hs.task is not None:
            io_schedule()
        hrtimer_cancel(hs.timer)
        mode = HRTIMER_MODE_ABS
        if hs.task is None or task.signal:
            break
    __set_current_state(TASK_RUNNING)
    return True


def blk_mq_poll_hybrid(q: request_queue, hctx: blk_mq_hw_ctx, cookie: int) -> bool:
    """Sleep before polling, where the queue is set to that; return whether the task slept."""
    if q.poll_nsec == BLK_MQ_POLL_CLASSIC:
        return False
    if not blk_qc_t_is_internal(cookie):
        rq = blk_mq_tag_to_rq(hctx.tags, blk_qc_t_to_tag(cookie))
    else:
        rq = blk_mq_tag_to_rq(hctx.sched_tags, blk_qc_t_to_tag(cookie))
        # The scheduler's tag is gone as soon as the request is done.
        if rq is None:
            return False
    return blk_mq_poll_hybrid_sleep(q, hctx, rq)


def blk_poll(q: request_queue, cookie: int, spin: bool) -> int:
    """Ask the device whether the request of a cookie, or any other of its queue, is done; `spin`: until one is, or
    another task is to run on this CPU.

    Returns what the driver's poll() says if that is above 0, or 1 if the task slept instead, or was woken by another
    way; 0 where there is nothing to poll, or nothing was found.
    """
    if cookie == BLK_QC_T_NONE or not q.queue_flags >> QUEUE_FLAG_POLL & 1:
        return 0
    task = this().context
    if task.plug is not None:
        blk_core.blk_flush_plug_list(task.plug, False)
    hctx = q.queue_hw_ctx[blk_qc_t_to_queue_num(cookie)]
    if blk_mq_poll_hybrid(q, hctx, cookie):
        return 1
    while True:
        if (ret := q.mq_ops.poll(hctx)) > 0:
            __set_current_state(TASK_RUNNING)
            return ret
        if task.state == TASK_RUNNING:
            return 1
        if ret < 0 or not spin:
            break
        cpu_relax()
        if need_resched():
            break
    __set_current_state(TASK_RUNNING)
    return 0


def blk_mq_init() -> int:
    """At boot: hear of CPUs that go."""
    cpuhp_setup_state_multi(CPUHP_BLK_MQ_DEAD, "block/mq:dead", NULL, blk_mq_hctx_notify_dead)
    return 0


subsys_initcall(blk_mq_init)
