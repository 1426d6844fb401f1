"""What a multi-queue driver fills in and gets: tag set, queue maps, operations, hardware queues
(include/linux/blk-mq.h, blk_types.h)."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any

from blkmodel.include.linux.blkdev import request, request_queue
from blkmodel.include.linux.sbitmap import sbitmap
from blkmodel.services import cpumask, delayed_work, kobject, list_head, mutex, wait_queue_entry
from blkmodel.sim import NULL, Struct, sizeof

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from blkmodel.block.blk_h import blk_flush_queue
    from blkmodel.block.blk_mq_h import blk_mq_ctx
    from blkmodel.block.blk_mq_tag_h import blk_mq_tags
    from blkmodel.services import srcu_struct

HCTX_TYPE_DEFAULT, HCTX_TYPE_READ, HCTX_TYPE_POLL, HCTX_MAX_TYPES = 0, 1, 2, 3

BLK_MQ_F_SHOULD_MERGE, BLK_MQ_F_TAG_SHARED, BLK_MQ_F_BLOCKING, BLK_MQ_F_NO_SCHED = 1 << 0, 1 << 1, 1 << 5, 1 << 6
BLK_MQ_F_ALLOC_POLICY_START_BIT, BLK_MQ_F_ALLOC_POLICY_BITS = 8, 1
BLK_MQ_S_STOPPED, BLK_MQ_S_TAG_ACTIVE, BLK_MQ_S_SCHED_RESTART = 0, 1, 2
BLK_MQ_MAX_DEPTH, BLK_MQ_CPU_WORK_BATCH = 10240, 8

BLK_MQ_REQ_NOWAIT, BLK_MQ_REQ_RESERVED, BLK_MQ_REQ_INTERNAL, BLK_MQ_REQ_PREEMPT, BLK_MQ_UNIQUE_TAG_BITS = 1, 2, 4, 8, 16
BLK_MQ_POLL_CLASSIC, BLK_QC_T_SHIFT, BLK_QC_T_INTERNAL, BLK_EH_DONE, BLK_EH_RESET_TIMER = -1, 16, 1 << 31, 0, 1


class blk_mq_queue_map(Struct):
    """Which hardware queue each CPU uses, for one type of I/O.

    mq_map: CPU → index of a hardware queue, one entry for each possible CPU. The type has nr_queues queues,
    from queue_offset on.
    """

    mq_map: list[int] = NULL
    nr_queues: int = 0
    queue_offset: int = 0


class blk_mq_ops(Struct):
    """What the core calls in a driver; None where the driver has nothing to do.

    _make_pdu(driver_data, set, hctx_idx) makes a request's data as init_request leaves them, in a driver where that
    can neither fail nor be noticed: it may then be done when the request is first used.
    """

    queue_rq: Callable[..., int] = NULL
    commit_rqs: Callable[..., None] = NULL
    get_budget: Callable[..., bool] = NULL
    put_budget: Callable[..., None] = NULL
    timeout: Callable[..., int] = NULL
    poll: Callable[..., int] = NULL
    complete: Callable[..., None] = NULL
    init_hctx: Callable[..., int] = NULL
    exit_hctx: Callable[..., None] = NULL
    init_request: Callable[..., int] = NULL
    exit_request: Callable[..., None] = NULL
    initialize_rq_fn: Callable[..., None] = NULL
    cleanup_rq: Callable[..., None] = NULL
    busy: Callable[..., bool] = NULL
    map_queues: Callable[..., int] = NULL
    _make_pdu: Callable[..., Any] = NULL


class blk_mq_tag_set(Struct):
    """What the queues of one device share: its hardware queues' tags and requests, and the CPU maps.

    map: one blk_mq_queue_map for each of nr_maps types. tags: one blk_mq_tags for each hardware queue. cmd_size:
    bytes of the driver's own data behind each request. tag_list: the request queues that use the set.
    """

    map: list[blk_mq_queue_map] = field(default_factory=lambda: [blk_mq_queue_map() for _ in range(HCTX_MAX_TYPES)])
    nr_maps: int = 0
    ops: blk_mq_ops = NULL
    nr_hw_queues: int = 0
    queue_depth: int = 0
    reserved_tags: int = 0
    cmd_size: int = 0
    numa_node: int = 0
    timeout: int = 0
    flags: int = 0
    driver_data: Any = None
    tags: list[blk_mq_tags] = NULL
    tag_list_lock: mutex = field(default_factory=lambda: mutex("&set->tag_list_lock"))
    tag_list: list_head = field(default_factory=list_head)

    def _prepared(self, hctx_idx: int, addr: int) -> request:
        """The request at an address, as blk_mq_init_request() leaves it."""
        rq = request(_pdu=self.ops._make_pdu(self.driver_data, self, hctx_idx) if self.ops._make_pdu else NULL)
        rq._addr = addr
        if rq._pdu is not None:
            rq._pdu._addr = addr + sizeof(request)
        return rq


class blk_mq_hw_ctx(Struct):
    """A hardware queue as the block layer sees it: who feeds it (ctxs, ctx_map, cpumask), what waits to be dispatched
    (dispatch), and the tags it hands out.

    nr_ctx software queues are in `ctxs`; cpumask holds their CPUs. state: BLK_MQ_S_* bits.
    """

    dispatch: list_head = field(default_factory=list_head)
    state: int = 0
    run_work: delayed_work = field(default_factory=delayed_work)
    cpumask: cpumask = field(default_factory=cpumask)
    next_cpu: int = 0
    next_cpu_batch: int = 0
    flags: int = 0
    sched_data: Any = None
    queue: request_queue = NULL
    fq: blk_flush_queue = NULL
    driver_data: Any = None
    ctx_map: sbitmap = field(default_factory=sbitmap)
    dispatch_from: blk_mq_ctx = NULL
    dispatch_busy: int = 0
    type: int = 0
    nr_ctx: int = 0
    ctxs: list[blk_mq_ctx] = NULL
    dispatch_wait: wait_queue_entry = field(default_factory=wait_queue_entry)
    wait_index: int = 0
    tags: blk_mq_tags = NULL
    sched_tags: blk_mq_tags = NULL
    queued: int = 0
    numa_node: int = 0
    queue_num: int = 0
    nr_active: int = 0
    cpuhp_dead: list_head = NULL
    kobj: kobject = field(default_factory=kobject)
    hctx_list: list_head = NULL
    srcu: srcu_struct = NULL


class blk_mq_queue_data(Struct):
    """What queue_rq is given: a request, and whether it is the last for now."""

    rq: request = NULL
    last: bool = False


def BLK_MQ_FLAG_TO_ALLOC_POLICY(flags: int) -> int:
    return flags >> BLK_MQ_F_ALLOC_POLICY_START_BIT & (1 << BLK_MQ_F_ALLOC_POLICY_BITS) - 1


def blk_mq_rq_to_pdu(rq: request, cls: type) -> Any:
    """The driver's own data behind a request: a structure of `cls`, made when it is first asked for."""
    if (pdu := rq._pdu) is None:
        pdu = rq._pdu = cls()
        pdu._addr = rq._addr + sizeof(request)
    return pdu


def queue_for_each_hw_ctx(q: request_queue) -> Sequence[blk_mq_hw_ctx]:
    """The hardware queues of a request queue, in the order of their numbers."""
    return q.queue_hw_ctx[:q.nr_hw_queues] if q.nr_hw_queues else ()


def request_to_qc_t(hctx: blk_mq_hw_ctx, rq: request) -> int:
    """What a submitter can poll for: the hardware queue's number and the request's tag there."""
    if rq.tag != -1:
        return rq.tag | hctx.queue_num << BLK_QC_T_SHIFT
    return rq.internal_tag | hctx.queue_num << BLK_QC_T_SHIFT | BLK_QC_T_INTERNAL


def blk_qc_t_is_internal(cookie: int) -> bool:
    """Whether the tag is the scheduler's."""
    return bool(cookie & BLK_QC_T_INTERNAL)


def blk_qc_t_to_tag(cookie: int) -> int:
    return cookie & (1 << BLK_QC_T_SHIFT) - 1


def blk_qc_t_to_queue_num(cookie: int) -> int:
    return (cookie & ~BLK_QC_T_INTERNAL) >> BLK_QC_T_SHIFT


def blk_mq_cleanup_rq(rq: request) -> None:
    if rq.q.mq_ops.cleanup_rq is not None:
        rq.q.mq_ops.cleanup_rq(rq)
