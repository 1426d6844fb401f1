"""Schedulers: what one is, and what it does for a queue."""

from dataclasses import field
from typing import Any

from blkmodel.include.linux.blkdev import blk_rq_pos, blk_rq_sectors
from blkmodel.services.data.hashtable import DECLARE_HASHTABLE
from blkmodel.services.data.list import list_first_entry
from blkmodel.services.devices.kobject import kobject
from blkmodel.sim.structure import Struct, struct

ELEVATOR_NO_MERGE, ELEVATOR_FRONT_MERGE, ELEVATOR_BACK_MERGE, ELEVATOR_DISCARD_MERGE = 0, 1, 2, 3
ELV_HASH_BITS = 6
ELV_NAME_MAX = 16
ELEVATOR_F_ZBD_SEQ_WRITE = 1


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
    """A kind of scheduler: its name, its operations, the features it has.

    elevator_attrs: the files it has in /sys: show(e) returns a text, store(e, page, count) the bytes taken or
    -errno. list: the registered kinds, while it is one of them.
    """

    ops: Any = field(default_factory=elevator_mq_ops)
    elevator_attrs: Any = ()
    elevator_name: str = ""
    elevator_alias: str = None
    elevator_features: int = 0
    elevator_owner: Any = None
    list: Any = None


@struct
class elevator_queue(Struct):
    """A scheduler at work on one queue. hash: the mergeable requests, by the sector at which they end.

    registered: whether it shows in /sys. It lives as long as kobj is held.
    """

    type: Any = None
    elevator_data: Any = None
    kobj: Any = field(default_factory=kobject)
    registered: int = 0
    hash: Any = field(default_factory=lambda: DECLARE_HASHTABLE(ELV_HASH_BITS))


def rq_end_sector(rq):
    """The sector behind the request's last one."""
    return blk_rq_pos(rq) + blk_rq_sectors(rq)


def rb_entry_rq(node):
    """The request at a place in a sorted tree; None for no place."""
    return node.entry if node else None


def rq_entry_fifo(head):
    """The oldest request on a list."""
    return list_first_entry(head)
