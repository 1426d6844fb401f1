"""Executing a request that a driver made up itself: insert it past the scheduler, and wait for its end, or not."""

from collections.abc import Callable

from blkmodel.block import blk_mq_sched
from blkmodel.include.linux.blkdev import blk_rq_is_passthrough, gendisk, request, request_queue
from blkmodel.services import WARN_ON, complete, completion, wait_for_completion_io
from blkmodel.sim import NULL


def blk_end_sync_rq(rq: request, error: int) -> None:
    """The request has ended: wake who waits for it, and who frees it."""
    waiting, rq.end_io_data = rq.end_io_data, NULL
    complete(waiting)


def blk_execute_rq_nowait(q: request_queue, bd_disk: gendisk, rq: request, at_head: int,
                          done: Callable[..., None]) -> None:
    """Insert a request and have it dispatched; done(rq, status) is called at its end, and has to free it."""
    WARN_ON(not blk_rq_is_passthrough(rq), "only a driver's own request is executed")
    rq.rq_disk, rq.end_io = bd_disk, done
    blk_mq_sched.blk_mq_sched_insert_request(rq, bool(at_head), True, False)


def blk_execute_rq(q: request_queue, bd_disk: gendisk, rq: request, at_head: int) -> None:
    """Insert a request, have it dispatched, and sleep until its end. The caller still has to free it."""
    wait = completion()
    rq.end_io_data = wait
    blk_execute_rq_nowait(q, bd_disk, rq, at_head, blk_end_sync_rq)
    wait_for_completion_io(wait)
