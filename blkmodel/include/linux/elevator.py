"""Schedulers: what one is, and what it does for a queue."""

from dataclasses import field
from typing import Any

from blkmodel.sim.structure import Struct, struct

ELEVATOR_NO_MERGE, ELEVATOR_FRONT_MERGE, ELEVATOR_BACK_MERGE, ELEVATOR_DISCARD_MERGE = 0, 1, 2, 3
ELEVATOR_INSERT_FRONT, ELEVATOR_INSERT_BACK, ELEVATOR_INSERT_SORT = 1, 2, 3
ELV_HASH_BITS = 6


@struct
class elevator_mq_ops(Struct):
    """What the core calls in a scheduler; None where the scheduler has nothing to do."""

    init_sched: Any = None
    exit_sched: Any = None
    init_hctx: Any = None
    exit_hctx: Any = None
    depth_updated: Any = None
    allow_merge: Any = None
    bio_merge: Any = None
    request_merge: Any = None
    request_merged: Any = None
    requests_merged: Any = None
    limit_depth: Any = None
    prepare_request: Any = None
    finish_request: Any = None
    insert_requests: Any = None
    dispatch_request: Any = None
    has_work: Any = None
    completed_request: Any = None
    requeue_request: Any = None
    former_request: Any = None
    next_request: Any = None
    init_icq: Any = None
    exit_icq: Any = None


@struct
class elevator_type(Struct):
    """A kind of scheduler: its name, its operations, the features it has."""

    ops: Any = field(default_factory=elevator_mq_ops)
    elevator_name: str = ""
    elevator_alias: str = ""
    elevator_features: int = 0
    list: Any = None


@struct
class elevator_queue(Struct):
    """A scheduler at work on one queue. hash: the mergeable requests, by the sector at which they end."""

    type: Any = None
    elevator_data: Any = None
    registered: int = 0
    hash: Any = field(default_factory=dict)
