"""Flushes: a write that must be on the medium becomes a sequence of up to three steps, PREFLUSH, DATA and POSTFLUSH.

Only what the device needs is done: nothing, if it has no volatile cache; no POSTFLUSH, if it knows FUA.
A flush serves all requests that wait for one when it is sent; those that come while it is under way wait for the next.
So two lists are enough, the pending and the running one, which change places. The request that is in a sequence is
ended once after DATA, and once more, for its bio, after the last step.
"""

from blkmodel.block import bio as block_bio, blk_core, blk_mq, blk_mq_sched
from blkmodel.block.blk_h import blk_flush_queue, blk_get_flush_queue
from blkmodel.block.blk_mq_h import blk_mq_put_driver_tag
from blkmodel.block.blk_mq_tag_h import blk_mq_tag_set_rq
from blkmodel.include.linux.blkdev import (BLK_STS_OK, QUEUE_FLAG_FUA, QUEUE_FLAG_WC, REQ_DRV, REQ_FAILFAST_MASK,
    REQ_FUA, REQ_OP_FLUSH, REQ_OP_WRITE, REQ_PREFLUSH, REQ_SYNC, RQF_FLUSH_SEQ, bdev_get_queue, bio_set_dev,
    blk_rq_sectors, request, request_flush, request_queue)
from blkmodel.include.linux.fs import block_device
from blkmodel.services import (BUG_ON, ENXIO, HZ, WARN_ON, jiffies, kfree, kzalloc_node, list_del_init, list_empty,
    list_first_entry, list_first_entry_or_null, list_move_tail, list_next_entry, time_before)
from blkmodel.sim import NULL, sizeof

REQ_FSEQ_PREFLUSH, REQ_FSEQ_DATA, REQ_FSEQ_POSTFLUSH, REQ_FSEQ_DONE = 1, 2, 4, 8
REQ_FSEQ_ACTIONS, FLUSH_PENDING_TIMEOUT = REQ_FSEQ_PREFLUSH | REQ_FSEQ_DATA | REQ_FSEQ_POSTFLUSH, 5 * HZ
CACHE_LINE_SIZE = 64


def blk_flush_policy(fflags: int, rq: request) -> int:
    """Which steps (REQ_FSEQ_*) a request needs on a device with these queue flags."""
    policy = 0
    if blk_rq_sectors(rq):
        policy |= REQ_FSEQ_DATA
    if fflags >> QUEUE_FLAG_WC & 1:
        if rq.cmd_flags & REQ_PREFLUSH:
            policy |= REQ_FSEQ_PREFLUSH
        if not fflags >> QUEUE_FLAG_FUA & 1 and rq.cmd_flags & REQ_FUA:
            policy |= REQ_FSEQ_POSTFLUSH
    return policy


def blk_flush_cur_seq(rq: request) -> int:
    """The step that a request is at: the first that is not done."""
    return ~rq.flush.seq & rq.flush.seq + 1


def blk_flush_restore_request(rq: request) -> None:
    """Make a request in a sequence an ordinary one again; its bio, done with after DATA, is still to be ended."""
    rq.bio = rq.biotail
    rq.rq_flags &= ~RQF_FLUSH_SEQ
    rq.end_io = rq.flush.saved_end_io


def blk_flush_queue_rq(rq: request, add_front: bool) -> None:
    """Send a request of a sequence on its way, by the requeue list."""
    blk_mq.blk_mq_add_to_requeue_list(rq, add_front, True)


def blk_flush_complete_seq(rq: request, fq: blk_flush_queue, seq: int, error: int) -> None:
    """Note steps of a request as done, and begin the next; with an error, or after the last, end the request."""
    pending = fq.flush_queue[fq.flush_pending_idx]
    BUG_ON(rq.flush.seq & seq, "a step of a flush sequence was done twice")
    rq.flush.seq |= seq
    cmd_flags, q = rq.cmd_flags, rq.q

    seq = blk_flush_cur_seq(rq) if not error else REQ_FSEQ_DONE
    if seq in (REQ_FSEQ_PREFLUSH, REQ_FSEQ_POSTFLUSH):
        if list_empty(pending):
            fq.flush_pending_since = jiffies()
        list_move_tail(rq.flush, pending, "list")
    elif seq == REQ_FSEQ_DATA:
        list_move_tail(rq.flush, fq.flush_data_in_flight, "list")
        blk_flush_queue_rq(rq, True)
    else:
        BUG_ON(seq != REQ_FSEQ_DONE, "a flush sequence is at no step")
        BUG_ON(rq.queuelist is not None, "a request at the end of its flush sequence is on a list")
        list_del_init(rq.flush, "list")
        blk_flush_restore_request(rq)
        blk_mq.blk_mq_end_request(rq, error)
    blk_kick_flush(q, fq, cmd_flags)


def flush_end_io(flush_rq: request, error: int) -> None:
    """A flush is done: all requests that it served come to their next step.

    The timeout handler may hold the flush request; then the last of the two to let go does the work.
    """
    q = flush_rq.q
    fq = blk_get_flush_queue(q, flush_rq.mq_ctx)
    flush_rq.ref -= 1
    if flush_rq.ref:
        # 5.4: it stays marked as completed; where the handler takes the controller down, it waits for ever until no
        # request is.
        fq.rq_status = error
        return
    if fq.rq_status != BLK_STS_OK:
        error = fq.rq_status

    hctx = flush_rq.mq_hctx
    if q.elevator is None:
        blk_mq_tag_set_rq(hctx, flush_rq.tag, fq.orig_rq)
        flush_rq.tag = -1
    else:
        blk_mq_put_driver_tag(flush_rq)
        flush_rq.internal_tag = -1

    running = fq.flush_queue[fq.flush_running_idx]
    BUG_ON(fq.flush_pending_idx == fq.flush_running_idx, "a flush ends that was not under way")
    fq.flush_running_idx ^= 1
    flush = list_first_entry_or_null(running)
    while flush is not None:
        following = list_next_entry(flush, "list")
        seq = blk_flush_cur_seq(flush._rq)
        BUG_ON(seq not in (REQ_FSEQ_PREFLUSH, REQ_FSEQ_POSTFLUSH), "a request waits for a flush that it does not need")
        blk_flush_complete_seq(flush._rq, fq, seq, error)
        flush = following


def blk_kick_flush(q: request_queue, fq: blk_flush_queue, flags: int) -> None:
    """Send a flush for the requests that wait for one, unless one is under way.

    With a scheduler it waits also for data in flight, which will want a flush too; not for ever, though.
    `flags` are those of the request that gave rise to it.
    """
    pending = fq.flush_queue[fq.flush_pending_idx]
    flush_rq = fq.flush_rq
    if fq.flush_pending_idx != fq.flush_running_idx or list_empty(pending):
        return
    if (not list_empty(fq.flush_data_in_flight) and q.elevator is not None
            and time_before(jiffies(), fq.flush_pending_since + FLUSH_PENDING_TIMEOUT)):
        return

    first_rq = list_first_entry(pending)._rq
    fq.flush_pending_idx ^= 1
    blk_core.blk_rq_init(q, flush_rq)
    # The two requests are never in flight at the same time, so one tag does for both.
    flush_rq.mq_ctx, flush_rq.mq_hctx = first_rq.mq_ctx, first_rq.mq_hctx
    if q.elevator is None:
        fq.orig_rq = first_rq
        flush_rq.tag = first_rq.tag
        blk_mq_tag_set_rq(flush_rq.mq_hctx, first_rq.tag, flush_rq)
    else:
        flush_rq.internal_tag = first_rq.internal_tag
    flush_rq.cmd_flags = REQ_OP_FLUSH | REQ_PREFLUSH | flags & REQ_DRV | flags & REQ_FAILFAST_MASK
    flush_rq.rq_flags |= RQF_FLUSH_SEQ
    flush_rq.rq_disk, flush_rq.end_io = first_rq.rq_disk, flush_end_io
    blk_flush_queue_rq(flush_rq, False)


def mq_flush_data_end_io(rq: request, error: int) -> None:
    """The data of a request in a sequence is written."""
    q, hctx = rq.q, rq.mq_hctx
    fq = blk_get_flush_queue(q, rq.mq_ctx)
    if q.elevator is not None:
        WARN_ON(rq.tag < 0)
        blk_mq_put_driver_tag(rq)
    blk_flush_complete_seq(rq, fq, REQ_FSEQ_DATA, error)
    blk_mq_sched.blk_mq_sched_restart(hctx)


def blk_insert_flush(rq: request) -> None:
    """Begin with a request that asks for a flush or for FUA: end it, dispatch it, or begin its sequence."""
    q = rq.q
    fflags = q.queue_flags
    policy = blk_flush_policy(fflags, rq)
    fq = blk_get_flush_queue(q, rq.mq_ctx)
    rq.cmd_flags &= ~REQ_PREFLUSH
    if not fflags >> QUEUE_FLAG_FUA & 1:
        rq.cmd_flags &= ~REQ_FUA
    # Both flags mean that somebody waits.
    rq.cmd_flags |= REQ_SYNC

    if not policy:
        blk_mq.blk_mq_end_request(rq, 0)
        return
    BUG_ON(rq.bio is not rq.biotail, "a request to be flushed has several bios")
    if policy == REQ_FSEQ_DATA:
        blk_mq.blk_mq_request_bypass_insert(rq, False, False)
        return

    rq.flush = request_flush(saved_end_io=rq.end_io, _rq=rq)
    rq.rq_flags |= RQF_FLUSH_SEQ
    rq.end_io = mq_flush_data_end_io
    blk_flush_complete_seq(rq, fq, REQ_FSEQ_ACTIONS & ~policy, 0)


def blkdev_issue_flush(bdev: block_device, gfp_mask: int) -> tuple[int, int]:
    """Flush a block device's cache and wait for it. Returns (0 or -errno, the sector of the error)."""
    if bdev.bd_disk is None:
        return -ENXIO, 0
    if (q := bdev_get_queue(bdev)) is None or q.make_request_fn is None:
        return -ENXIO, 0
    bio = block_bio.bio_alloc_bioset(gfp_mask, 0, block_bio.variables().fs_bio_set)
    bio_set_dev(bio, bdev)
    bio.bi_opf = REQ_OP_WRITE | REQ_PREFLUSH
    ret = block_bio.submit_bio_wait(bio)
    error_sector = bio.bi_iter.bi_sector
    block_bio.bio_put(bio)
    return ret, error_sector


def blk_alloc_flush_queue(q: request_queue, node: int, cmd_size: int, flags: int) -> blk_flush_queue:
    """Allocate a hardware queue's flush queue, with its one request. Returns it, or None."""
    if (fq := kzalloc_node(blk_flush_queue, flags, node)) is None:
        return NULL
    rq_sz = -(-(sizeof(request) + cmd_size) // CACHE_LINE_SIZE) * CACHE_LINE_SIZE
    fq.flush_rq = kzalloc_node(request, flags, node, rq_sz)
    if fq.flush_rq is None:
        kfree(fq)
        return NULL
    return fq


def blk_free_flush_queue(fq: blk_flush_queue) -> None:
    """Free a flush queue; None is freed for nothing."""
    if fq is None:
        return
    kfree(fq.flush_rq)
    kfree(fq)
