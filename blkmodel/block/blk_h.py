"""What block/blk.h declares: flush queues, and small helpers of the block core."""

from dataclasses import field

from blkmodel.block.blk_mq_h import blk_mq_ctx
from blkmodel.include.linux.blk_mq import blk_mq_hw_ctx
from blkmodel.include.linux.blkdev import (REQ_NOMERGE, REQ_OP_FLUSH, RQF_HASHED, RQF_IO_STAT, UINT_MAX, bio, bio_vec,
    blk_rq_is_passthrough, request, request_queue)
from blkmodel.include.linux.elevator import elevator_queue
from blkmodel.services import HZ, list_head, percpu_ref_get
from blkmodel.sim import NULL, Struct

BLK_MAX_TIMEOUT = 5 * HZ


class blk_flush_queue(Struct):
    """One hardware queue's flushes. Requests that need one wait on flush_queue[flush_pending_idx]; those that the flush
    under way serves are on flush_queue[flush_running_idx]. The two indexes are equal while no flush is under way.

    flush_data_in_flight: requests of a sequence whose data is being written. flush_rq: the one flush request; it
    bears the tag of orig_rq.
    """

    flush_pending_idx: int = 0
    flush_running_idx: int = 0
    rq_status: int = 0
    flush_pending_since: int = 0
    flush_queue: list[list_head] = field(default_factory=lambda: [list_head(), list_head()])
    flush_data_in_flight: list_head = field(default_factory=list_head)
    flush_rq: request = NULL
    orig_rq: request = NULL


def blk_get_flush_queue(q: request_queue, ctx: blk_mq_ctx) -> blk_flush_queue:
    """The flush queue of the hardware queue that a software queue's flushes go to."""
    return blk_mq_map_queue(q, REQ_OP_FLUSH, ctx).fq


def is_flush_rq(rq: request, hctx: blk_mq_hw_ctx) -> bool:
    """Whether a request is the hardware queue's own flush request."""
    return hctx.fq.flush_rq is rq


def blk_queue_enter_live(q: request_queue) -> None:
    """Enter a queue in which the caller already is."""
    percpu_ref_get(q.q_usage_counter)


def blk_rq_bio_prep(rq: request, bio: bio, nr_segs: int) -> None:
    """Make a request the carrier of one bio of nr_segs segments."""
    rq.nr_phys_segments, rq._data_len = nr_segs, bio.bi_iter.bi_size
    rq.bio = rq.biotail = bio
    if bio.bi_disk is not None:
        rq.rq_disk = bio.bi_disk


def biovec_phys_mergeable(q: request_queue, vec1: bio_vec, vec2: bio_vec) -> bool:
    """Whether two vectors are one piece of memory that no segment boundary cuts."""
    mask, addr1 = q.limits.seg_boundary_mask, vec1.bv_page._addr + vec1.bv_offset
    addr2 = vec2.bv_page._addr + vec2.bv_offset
    return addr1 + vec1.bv_len == addr2 and addr1 | mask == addr2 + vec2.bv_len - 1 | mask


def __bvec_gap_to_prev(q: request_queue, bprv: bio_vec, offset: int) -> bool:
    """Whether memory at `offset` of a page, put after a vector, breaks the virtual boundary between the two."""
    mask = q.limits.virt_boundary_mask
    return bool(offset & mask or bprv.bv_offset + bprv.bv_len & mask)


def bvec_gap_to_prev(q: request_queue, bprv: bio_vec, offset: int) -> bool:
    """Whether memory at `offset` of a page, put after a vector, leaves a gap that the device can't have."""
    return bool(q.limits.virt_boundary_mask) and __bvec_gap_to_prev(q, bprv, offset)


def blk_do_io_stat(rq: request) -> bool:
    """Whether a request counts in its disk's statistics."""
    return rq.rq_flags & RQF_IO_STAT != 0 and rq.rq_disk is not None and not blk_rq_is_passthrough(rq)


def ELV_ON_HASH(rq: request) -> bool:
    """Whether a request is in the merge hash."""
    return rq.rq_flags & RQF_HASHED != 0


def req_set_nomerge(q: request_queue, rq: request) -> None:
    """Let nothing more be merged into a request."""
    rq.cmd_flags |= REQ_NOMERGE
    if rq is q.last_merge:
        q.last_merge = NULL


def bio_allowed_max_sectors(q: request_queue) -> int:
    """The longest a bio can be: its size in bytes is 32 bits wide, in whole logical blocks."""
    return UINT_MAX // q.limits.logical_block_size * q.limits.logical_block_size >> 9


def elevator_exit(q: request_queue, e: elevator_queue) -> None:
    """Take a queue's scheduler away, with the requests of its tags."""
    blk_mq_sched.blk_mq_sched_free_requests(q)
    elevator.__elevator_exit(q, e)


from blkmodel.block import blk_mq_sched, elevator  # noqa: E402 (they take names from here)
from blkmodel.block.blk_mq_h import blk_mq_map_queue  # noqa: E402
