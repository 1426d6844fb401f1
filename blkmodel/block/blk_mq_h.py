"""Software queues: what block/blk-mq.h declares."""

from dataclasses import field
from typing import Any

from blkmodel.include.linux.blk_mq import HCTX_MAX_TYPES
from blkmodel.include.linux.list import list_head
from blkmodel.sim.structure import Struct, struct


@struct
class blk_mq_ctxs(Struct):
    """All software queues of a request queue: one for each possible CPU."""

    queue_ctx: Any = None


@struct
class blk_mq_ctx(Struct):
    """One CPU's software queue. By type of I/O: the requests that wait (rq_lists), the hardware queue that they go to
    (hctxs) and its own place among that one's software queues (index_hw)."""

    rq_lists: Any = field(default_factory=lambda: [list_head() for _ in range(HCTX_MAX_TYPES)])
    cpu: int = 0
    index_hw: Any = field(default_factory=lambda: [0] * HCTX_MAX_TYPES)
    hctxs: Any = field(default_factory=lambda: [None] * HCTX_MAX_TYPES)
    rq_merged: int = 0
    queue: Any = None
    ctxs: Any = None


@struct
class blk_mq_alloc_data(Struct):
    """What a search for a request is given (q, flags, shallow_depth, cmd_flags) and where it got to (ctx, hctx)."""

    q: Any = None
    flags: int = 0
    shallow_depth: int = 0
    cmd_flags: int = 0
    ctx: Any = None
    hctx: Any = None
