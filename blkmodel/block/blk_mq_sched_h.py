"""What block/blk-mq-sched.h declares: asking the scheduler, where there is one."""

from blkmodel.include.linux.blk_mq import BLK_MQ_S_SCHED_RESTART, blk_mq_hw_ctx
from blkmodel.include.linux.blkdev import RQF_ELVPRIV, bio, bio_mergeable, blk_queue_nomerges, request, request_queue


def blk_mq_sched_bio_merge(q: request_queue, bio: bio, nr_segs: int) -> bool:
    """Try to merge a bio with a request that waits, where that is allowed; return whether it was taken up."""
    if blk_queue_nomerges(q) or not bio_mergeable(bio):
        return False
    return blk_mq_sched.__blk_mq_sched_bio_merge(q, bio, nr_segs)


def blk_mq_sched_allow_merge(q: request_queue, rq: request, bio: bio) -> bool:
    """Ask the scheduler, where there is one, whether it lets the bio join the request."""
    e = q.elevator
    return e.type.ops.allow_merge(q, rq, bio) if e is not None and e.type.ops.allow_merge else True


def blk_mq_sched_completed_request(rq: request, now: int) -> None:
    """Tell the scheduler, where there is one, that a request has ended at `now` ns."""
    e = rq.q.elevator
    if e is not None and e.type.ops.completed_request:
        e.type.ops.completed_request(rq, now)


def blk_mq_sched_requeue_request(rq: request) -> None:
    """Tell the scheduler that the driver gave a request back which the scheduler had prepared."""
    e = rq.q.elevator
    if rq.rq_flags & RQF_ELVPRIV and e is not None and e.type.ops.requeue_request:
        e.type.ops.requeue_request(rq)


def blk_mq_sched_has_work(hctx: blk_mq_hw_ctx) -> bool:
    """Whether the scheduler has requests for the hardware queue."""
    e = hctx.queue.elevator
    return e.type.ops.has_work(hctx) if e is not None and e.type.ops.has_work else False


def blk_mq_sched_needs_restart(hctx: blk_mq_hw_ctx) -> bool:
    """Whether the hardware queue is to be run when one of its requests is freed."""
    return bool(hctx.state >> BLK_MQ_S_SCHED_RESTART & 1)


from blkmodel.block import blk_mq_sched  # noqa: E402 (it takes names from here)
