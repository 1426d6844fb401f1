"""Between the core and the schedulers: tags for a scheduler, inserting, merging, and choosing what to dispatch next.

Left out: I/O contexts, which no scheduler of the model asks for, and debugfs.
"""

from blkmodel.block import blk_core, blk_flush, blk_merge, blk_mq, elevator
from blkmodel.block.blk_mq_h import (blk_mq_ctx, blk_mq_get_ctx, blk_mq_get_dispatch_budget, blk_mq_hctx_stopped,
    blk_mq_map_queue, blk_mq_put_dispatch_budget)
from blkmodel.block.blk_mq_sched_h import blk_mq_sched_allow_merge
from blkmodel.include.linux.blk_mq import (BLK_MQ_F_SHOULD_MERGE, BLK_MQ_S_SCHED_RESTART, blk_mq_hw_ctx, blk_mq_tag_set,
    queue_for_each_hw_ctx)
from blkmodel.include.linux.blkdev import (BLKDEV_MAX_RQ, RQF_FLUSH_SEQ, RQF_SORTED, bio, blk_queue_quiesced,
    blk_rq_is_passthrough, op_is_flush, request, request_queue, rq_mergeable)
from blkmodel.include.linux.elevator import (ELEVATOR_BACK_MERGE, ELEVATOR_DISCARD_MERGE, ELEVATOR_FRONT_MERGE,
    ELEVATOR_NO_MERGE, elevator_queue, elevator_type)
from blkmodel.lib import sbitmap
from blkmodel.reference.omission import no_chapter
from blkmodel.services import (ENOMEM, WARN_ON, kobject_put, list_add, list_empty, list_head, list_splice_init,
    percpu_ref_get, percpu_ref_put)
from blkmodel.sim import NULL

OMITTED = no_chapter("blk_mq_sched_free_hctx_data")


def blk_mq_sched_mark_restart_hctx(hctx: blk_mq_hw_ctx) -> None:
    """Let a hardware queue be run again when one of its requests is freed."""
    hctx.state |= 1 << BLK_MQ_S_SCHED_RESTART


def blk_mq_sched_restart(hctx: blk_mq_hw_ctx) -> None:
    """Run a hardware queue if it is marked for that; called when one of its requests is freed."""
    if not hctx.state >> BLK_MQ_S_SCHED_RESTART & 1:
        return
    hctx.state &= ~(1 << BLK_MQ_S_SCHED_RESTART)
    blk_mq.blk_mq_run_hw_queue(hctx, True)


def blk_mq_do_dispatch_sched(hctx: blk_mq_hw_ctx) -> None:
    """Dispatch what the scheduler gives out, one request at a time, as long as the driver takes them."""
    q = hctx.queue
    ops, rq_list = q.elevator.type.ops, list_head()
    while True:
        if (ops.has_work and not ops.has_work(hctx)) or not blk_mq_get_dispatch_budget(hctx):
            break
        if (rq := ops.dispatch_request(hctx)) is None:
            blk_mq_put_dispatch_budget(hctx)
            break
        list_add(rq, rq_list, "queuelist")
        if not blk_mq.blk_mq_dispatch_rq_list(q, rq_list, True):
            break


def blk_mq_next_ctx(hctx: blk_mq_hw_ctx, ctx: blk_mq_ctx) -> blk_mq_ctx:
    """The software queue after this one, round, among those of a hardware queue."""
    idx = ctx.index_hw[hctx.type] + 1
    return hctx.ctxs[0 if idx == hctx.nr_ctx else idx]


def blk_mq_do_dispatch_ctx(hctx: blk_mq_hw_ctx) -> None:
    """Dispatch one request of each software queue in turn, as long as the driver takes them."""
    q, rq_list, ctx = hctx.queue, list_head(), hctx.dispatch_from
    while True:
        if not sbitmap.sbitmap_any_bit_set(hctx.ctx_map) or not blk_mq_get_dispatch_budget(hctx):
            break
        if (rq := blk_mq.blk_mq_dequeue_from_ctx(hctx, ctx)) is None:
            blk_mq_put_dispatch_budget(hctx)
            break
        list_add(rq, rq_list, "queuelist")
        ctx = blk_mq_next_ctx(hctx, rq.mq_ctx)
        if not blk_mq.blk_mq_dispatch_rq_list(q, rq_list, True):
            break
    hctx.dispatch_from = ctx


def blk_mq_sched_dispatch_requests(hctx: blk_mq_hw_ctx) -> None:
    """Dispatch what waits in a hardware queue: first what was left over, then from scheduler or software queues.

    What is left over is dispatched alone, unless the driver took it all: the others can still be merged and sorted.
    While the driver has been busy of late, software queues take turns.
    """
    q = hctx.queue
    e = q.elevator
    if blk_mq_hctx_stopped(hctx) or blk_queue_quiesced(q):
        return
    has_sched_dispatch = e is not None and e.type.ops.dispatch_request
    rq_list = list_head()
    if not list_empty(hctx.dispatch):
        list_splice_init(hctx.dispatch, rq_list, "queuelist")

    if not list_empty(rq_list):
        blk_mq_sched_mark_restart_hctx(hctx)
        if blk_mq.blk_mq_dispatch_rq_list(q, rq_list, False):
            if has_sched_dispatch:
                blk_mq_do_dispatch_sched(hctx)
            else:
                blk_mq_do_dispatch_ctx(hctx)
    elif has_sched_dispatch:
        blk_mq_do_dispatch_sched(hctx)
    elif hctx.dispatch_busy:
        blk_mq_do_dispatch_ctx(hctx)
    else:
        blk_mq.blk_mq_flush_busy_ctxs(hctx, rq_list)
        blk_mq.blk_mq_dispatch_rq_list(q, rq_list, False)


def blk_mq_sched_try_merge(q: request_queue, bio: bio, nr_segs: int) -> tuple[bool, request]:
    """Join a bio to a request in the scheduler, and that request to its neighbour where the bio closed the gap.

    Returns (whether it was joined, the request that was taken up by its neighbour and is to be freed, or None).
    """
    merge, rq = elevator.elv_merge(q, bio)
    if merge == ELEVATOR_DISCARD_MERGE:
        return blk_core.bio_attempt_discard_merge(q, rq, bio), NULL
    if merge == ELEVATOR_NO_MERGE or not blk_mq_sched_allow_merge(q, rq, bio):
        return False, NULL
    back = merge == ELEVATOR_BACK_MERGE
    attempt = blk_core.bio_attempt_back_merge if back else blk_core.bio_attempt_front_merge
    if not attempt(rq, bio, nr_segs):
        return False, NULL
    merged_request = blk_merge.attempt_back_merge(q, rq) if back else blk_merge.attempt_front_merge(q, rq)
    if merged_request is None:
        elevator.elv_merged_request(q, rq, merge)
    return True, merged_request


def blk_mq_bio_list_merge(q: request_queue, requests: list_head, bio: bio, nr_segs: int) -> bool:
    """Try to join a bio to one of the last eight requests of a list; return whether it was."""
    checked = 8
    for rq in reversed(requests.entries):
        if not checked:
            break
        checked -= 1
        if not blk_merge.blk_rq_merge_ok(rq, bio):
            continue
        if (merge := blk_merge.blk_try_merge(rq, bio)) == ELEVATOR_BACK_MERGE:
            return blk_mq_sched_allow_merge(q, rq, bio) and blk_core.bio_attempt_back_merge(rq, bio, nr_segs)
        if merge == ELEVATOR_FRONT_MERGE:
            return blk_mq_sched_allow_merge(q, rq, bio) and blk_core.bio_attempt_front_merge(rq, bio, nr_segs)
        if merge == ELEVATOR_DISCARD_MERGE:
            return blk_core.bio_attempt_discard_merge(q, rq, bio)
    return False


def blk_mq_attempt_merge(q: request_queue, hctx: blk_mq_hw_ctx, ctx: blk_mq_ctx, bio: bio, nr_segs: int) -> bool:
    """Try to join a bio to a request that waits in this CPU's software queue; return whether it was."""
    if blk_mq_bio_list_merge(q, ctx.rq_lists[hctx.type], bio, nr_segs):
        ctx.rq_merged += 1
        return True
    return False


def __blk_mq_sched_bio_merge(q: request_queue, bio: bio, nr_segs: int) -> bool:
    """Try to join a bio to a request that waits, in the scheduler or in this CPU's software queue."""
    e = q.elevator
    if e is not None and e.type.ops.bio_merge:
        return e.type.ops.bio_merge(q, bio, nr_segs)
    ctx = blk_mq_get_ctx(q)
    hctx = blk_mq_map_queue(q, bio.bi_opf, ctx)
    if hctx.flags & BLK_MQ_F_SHOULD_MERGE and not list_empty(ctx.rq_lists[hctx.type]):
        return blk_mq_attempt_merge(q, hctx, ctx, bio, nr_segs)
    return False


def blk_mq_sched_try_insert_merge(q: request_queue, rq: request) -> bool:
    """Try to join a new request to one in the scheduler; return whether it was taken up."""
    return rq_mergeable(rq) and elevator.elv_attempt_insert_merge(q, rq)


def blk_mq_sched_request_inserted(rq: request) -> None:
    """A scheduler has taken a request in. (In C, a trace point says so.)"""


def blk_mq_sched_bypass_insert(hctx: blk_mq_hw_ctx, has_sched: bool, rq: request) -> bool:
    """Whether a request goes past the scheduler to the dispatch list: flushes, and a driver's own requests.

    A driver that is stuck may need its own request to get on again.
    """
    if rq.rq_flags & RQF_FLUSH_SEQ or blk_rq_is_passthrough(rq):
        return True
    if has_sched:
        rq.rq_flags |= RQF_SORTED
    return False


def blk_mq_sched_insert_request(rq: request, at_head: bool, run_queue: bool, async_: bool) -> None:
    """Insert one request where it belongs: flush machinery, dispatch list, scheduler, or software queue."""
    e, hctx = rq.q.elevator, rq.mq_hctx
    if not rq.rq_flags & RQF_FLUSH_SEQ and op_is_flush(rq.cmd_flags):
        blk_flush.blk_insert_flush(rq)
    else:
        WARN_ON(e is not None and rq.tag != -1, "a request for the scheduler has a driver tag")
        if blk_mq_sched_bypass_insert(hctx, e is not None, rq):
            # At most one flush is in flight; in front, it is merged with more that want one.
            at_head = True if rq.rq_flags & RQF_FLUSH_SEQ else at_head
            blk_mq.blk_mq_request_bypass_insert(rq, at_head, False)
        elif e is not None and e.type.ops.insert_requests:
            requests = list_head()
            list_add(rq, requests, "queuelist")
            e.type.ops.insert_requests(hctx, requests, at_head)
        else:
            blk_mq.__blk_mq_insert_request(hctx, rq, at_head)
    if run_queue:
        blk_mq.blk_mq_run_hw_queue(hctx, async_)


def blk_mq_sched_insert_requests(hctx: blk_mq_hw_ctx, ctx: blk_mq_ctx, requests: list_head,
                                 run_queue_async: bool) -> None:
    """Insert the requests of an unplugged list, all for one software and one hardware queue.

    Without a scheduler, and while the driver is not busy, they go right to the driver.
    """
    q = hctx.queue
    # The requests may end, and with them the last reference, before this function does.
    percpu_ref_get(q.q_usage_counter)
    e, done = q.elevator, False
    if e is not None and e.type.ops.insert_requests:
        e.type.ops.insert_requests(hctx, requests, False)
    else:
        if not hctx.dispatch_busy and e is None and not run_queue_async:
            blk_mq.blk_mq_try_issue_list_directly(hctx, requests)
            done = list_empty(requests)
        if not done:
            blk_mq.blk_mq_insert_requests(hctx, ctx, requests)
    if not done:
        blk_mq.blk_mq_run_hw_queue(hctx, run_queue_async)
    percpu_ref_put(q.q_usage_counter)


def blk_mq_sched_free_tags(set: blk_mq_tag_set, hctx: blk_mq_hw_ctx, hctx_idx: int) -> None:
    """Free a hardware queue's scheduler tags and their requests."""
    if hctx.sched_tags is not None:
        blk_mq.blk_mq_free_rqs(set, hctx.sched_tags, hctx_idx)
        blk_mq.blk_mq_free_rq_map(hctx.sched_tags)
        hctx.sched_tags = NULL


def blk_mq_sched_alloc_tags(q: request_queue, hctx: blk_mq_hw_ctx, hctx_idx: int) -> int:
    """Allocate scheduler tags for a hardware queue, q.nr_requests of them, with requests. Returns 0 or -ENOMEM."""
    set = q.tag_set
    hctx.sched_tags = blk_mq.blk_mq_alloc_rq_map(set, hctx_idx, q.nr_requests, set.reserved_tags)
    if hctx.sched_tags is None:
        return -ENOMEM
    if ret := blk_mq.blk_mq_alloc_rqs(set, hctx.sched_tags, hctx_idx, q.nr_requests):
        blk_mq_sched_free_tags(set, hctx, hctx_idx)
    return ret


def blk_mq_sched_tags_teardown(q: request_queue) -> None:
    """Free all scheduler tags of a queue; their requests are freed already."""
    for hctx in queue_for_each_hw_ctx(q):
        if hctx.sched_tags is not None:
            blk_mq.blk_mq_free_rq_map(hctx.sched_tags)
            hctx.sched_tags = NULL


def blk_mq_init_sched(q: request_queue, e: elevator_type) -> int:
    """Give a queue a scheduler of kind `e`, or none; the queue is frozen.

    With one, a hardware queue has twice as many scheduler tags as driver tags, and at most 256: requests that wait
    to be sorted have no driver tag yet.
    Returns 0, -ENOMEM, or what the scheduler says; then the queue has none.
    """
    if e is None:
        q.elevator, q.nr_requests = NULL, q.tag_set.queue_depth
        return 0

    q.nr_requests = 2 * min(q.tag_set.queue_depth, BLKDEV_MAX_RQ)
    ret = 0
    for i, hctx in enumerate(queue_for_each_hw_ctx(q)):
        if ret := blk_mq_sched_alloc_tags(q, hctx, i):
            break
    if not ret:
        ret = e.ops.init_sched(q, e)
    if ret:
        blk_mq_sched_free_requests(q)
        blk_mq_sched_tags_teardown(q)
        q.elevator = NULL
        return ret

    for i, hctx in enumerate(queue_for_each_hw_ctx(q)):
        if e.ops.init_hctx:
            if ret := e.ops.init_hctx(hctx, i):
                eq = q.elevator
                blk_mq_sched_free_requests(q)
                blk_mq_exit_sched(q, eq)
                kobject_put(eq.kobj)
                return ret
    return 0


def blk_mq_sched_free_requests(q: request_queue) -> None:
    """Free the requests of a queue's scheduler tags, while the tag set is still there."""
    for i, hctx in enumerate(queue_for_each_hw_ctx(q)):
        if hctx.sched_tags is not None:
            blk_mq.blk_mq_free_rqs(q.tag_set, hctx.sched_tags, i)


def blk_mq_exit_sched(q: request_queue, e: elevator_queue) -> None:
    """Take a queue's scheduler away; the requests of its tags are freed already."""
    for i, hctx in enumerate(queue_for_each_hw_ctx(q)):
        if e.type.ops.exit_hctx and hctx.sched_data is not None:
            e.type.ops.exit_hctx(hctx, i)
            hctx.sched_data = NULL
    if e.type.ops.exit_sched:
        e.type.ops.exit_sched(e)
    blk_mq_sched_tags_teardown(q)
    q.elevator = NULL
