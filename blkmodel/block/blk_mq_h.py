"""Software queues: what block/blk-mq.h declares."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from blkmodel.include.linux.blk_mq import (BLK_MQ_REQ_INTERNAL, BLK_MQ_S_STOPPED, HCTX_MAX_TYPES, HCTX_TYPE_DEFAULT,
    HCTX_TYPE_POLL, HCTX_TYPE_READ, blk_mq_hw_ctx, blk_mq_queue_map)
from blkmodel.include.linux.blkdev import (REQ_HIPRI, REQ_OP_MASK, REQ_OP_READ, RQF_MQ_INFLIGHT, bio, blk_plug, request,
    request_queue)
from blkmodel.services import for_each_possible_cpu, kobject, list_head
from blkmodel.sim import NULL, Struct, running

if TYPE_CHECKING:
    from blkmodel.block.blk_mq_tag_h import blk_mq_tags


class blk_mq_ctxs(Struct):
    """All software queues of a request queue: one for each possible CPU."""

    kobj: kobject = field(default_factory=kobject)
    queue_ctx: list[blk_mq_ctx] = NULL


class blk_mq_ctx(Struct):
    """One CPU's software queue. By type of I/O: the requests that wait (rq_lists), the hardware queue that they go to
    (hctxs) and its own place among that one's software queues (index_hw)."""

    rq_lists: list[list_head] = field(default_factory=lambda: [list_head() for _ in range(HCTX_MAX_TYPES)])
    cpu: int = 0
    index_hw: list[int] = field(default_factory=lambda: [0] * HCTX_MAX_TYPES)
    hctxs: list[blk_mq_hw_ctx] = field(default_factory=lambda: [NULL] * HCTX_MAX_TYPES)
    rq_merged: int = 0
    queue: request_queue = NULL
    ctxs: blk_mq_ctxs = NULL
    kobj: kobject = field(default_factory=kobject)


class blk_mq_alloc_data(Struct):
    """What a search for a request is given (q, flags, shallow_depth, cmd_flags) and where it got to (ctx, hctx)."""

    q: request_queue = NULL
    flags: int = 0
    shallow_depth: int = 0
    cmd_flags: int = 0
    ctx: blk_mq_ctx = NULL
    hctx: blk_mq_hw_ctx = NULL


def blk_mq_map_queue_type(q: request_queue, type: int, cpu: int) -> blk_mq_hw_ctx:
    """The hardware queue that a CPU uses for a type of I/O."""
    return q.queue_hw_ctx[q.tag_set.map[type].mq_map[cpu]]


def blk_mq_map_queue(q: request_queue, flags: int, ctx: blk_mq_ctx) -> blk_mq_hw_ctx:
    """The hardware queue for an operation (`flags` as in cmd_flags) from a software queue."""
    if flags & REQ_HIPRI:
        return ctx.hctxs[HCTX_TYPE_POLL]
    return ctx.hctxs[HCTX_TYPE_READ if flags & REQ_OP_MASK == REQ_OP_READ else HCTX_TYPE_DEFAULT]


def blk_mq_rq_state(rq: request) -> int:
    """Where a request is: MQ_RQ_IDLE, MQ_RQ_IN_FLIGHT or MQ_RQ_COMPLETE."""
    return rq.state


def __blk_mq_get_ctx(q: request_queue, cpu: int) -> blk_mq_ctx:
    """A CPU's software queue."""
    return q.queue_ctx[cpu]


def blk_mq_get_ctx(q: request_queue) -> blk_mq_ctx:
    """The running CPU's software queue."""
    return q.queue_ctx[running.kernel.context.cpu]


def blk_mq_tags_from_data(data: blk_mq_alloc_data) -> blk_mq_tags:
    """Where a tag is looked for: among the scheduler's where there is one, else among the driver's."""
    return data.hctx.sched_tags if data.flags & BLK_MQ_REQ_INTERNAL else data.hctx.tags


def blk_mq_hctx_stopped(hctx: blk_mq_hw_ctx) -> bool:
    """Whether the driver has stopped the hardware queue."""
    return hctx.state >> BLK_MQ_S_STOPPED & 1 != 0


def blk_mq_hw_queue_mapped(hctx: blk_mq_hw_ctx) -> bool:
    """Whether any CPU uses the hardware queue, so that it has tags."""
    return bool(hctx.nr_ctx and hctx.tags is not None)


def blk_mq_put_dispatch_budget(hctx: blk_mq_hw_ctx) -> None:
    """Give back to the driver what blk_mq_get_dispatch_budget() took."""
    if hctx.queue.mq_ops.put_budget:
        hctx.queue.mq_ops.put_budget(hctx)


def blk_mq_get_dispatch_budget(hctx: blk_mq_hw_ctx) -> bool:
    """Ask the driver whether it would take a request now; one that has no such limit always would."""
    get_budget = hctx.queue.mq_ops.get_budget
    return get_budget(hctx) if get_budget else True


def __blk_mq_put_driver_tag(hctx: blk_mq_hw_ctx, rq: request) -> None:
    """Give a request's driver tag back; it is no longer counted as active on its hardware queue."""
    blk_mq_tag.blk_mq_put_tag(hctx, hctx.tags, rq.mq_ctx, rq.tag)
    rq.tag = -1
    if rq.rq_flags & RQF_MQ_INFLIGHT:
        rq.rq_flags &= ~RQF_MQ_INFLIGHT
        hctx.nr_active -= 1


def blk_mq_put_driver_tag(rq: request) -> None:
    """Give the driver tag back while the request keeps its scheduler tag; without a scheduler, keep it."""
    if rq.tag == -1 or rq.internal_tag == -1:
        return
    __blk_mq_put_driver_tag(rq.mq_hctx, rq)


def blk_mq_clear_mq_map(qmap: blk_mq_queue_map) -> None:
    """Let every possible CPU use the hardware queue 0."""
    for cpu in for_each_possible_cpu():
        qmap.mq_map[cpu] = 0


def blk_mq_plug(q: request_queue, bio: bio) -> blk_plug:
    """The plug that a bio may wait behind: the running task's, if it has one."""
    return running.kernel.context.plug


from blkmodel.block import blk_mq_tag  # noqa: E402 (it takes names from here)
