"""Schedulers: what one is, and what it does for a queue (include/linux/elevator.h)."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any

from blkmodel.include.linux.blkdev import blk_rq_pos, blk_rq_sectors, request
from blkmodel.services import DECLARE_HASHTABLE, kobject, list_first_entry, list_head, mutex
from blkmodel.sim import NULL, Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from blkmodel.services import module, rb_node

ELEVATOR_NO_MERGE, ELEVATOR_FRONT_MERGE, ELEVATOR_BACK_MERGE, ELEVATOR_DISCARD_MERGE = 0, 1, 2, 3
ELV_HASH_BITS, ELV_NAME_MAX, ELEVATOR_F_ZBD_SEQ_WRITE = 6, 16, 1


class elevator_mq_ops(Struct):
    """What the core calls in a scheduler; None where the scheduler has nothing to do."""

    init_sched: Callable[..., int] = NULL
    exit_sched: Callable[..., None] = NULL
    init_hctx: Callable[..., int] = NULL
    exit_hctx: Callable[..., None] = NULL
    depth_updated: Callable[..., None] = NULL
    allow_merge: Callable[..., bool] = NULL
    bio_merge: Callable[..., bool] = NULL
    request_merge: Callable[..., tuple[int, request]] = NULL
    request_merged: Callable[..., None] = NULL
    requests_merged: Callable[..., None] = NULL
    limit_depth: Callable[..., None] = NULL
    prepare_request: Callable[..., None] = NULL
    finish_request: Callable[..., None] = NULL
    insert_requests: Callable[..., None] = NULL
    dispatch_request: Callable[..., request] = NULL
    has_work: Callable[..., bool] = NULL
    completed_request: Callable[..., None] = NULL
    requeue_request: Callable[..., None] = NULL
    former_request: Callable[..., request] = NULL
    next_request: Callable[..., request] = NULL


class elevator_type(Struct):
    """A kind of scheduler: its name, its operations, the features it has.

    elevator_attrs: the files it has in /sys: show(e) returns a text, store(e, page, count) the bytes taken or
    -errno. list: the registered kinds, while it is one of them.
    """

    ops: elevator_mq_ops = field(default_factory=elevator_mq_ops)
    elevator_attrs: tuple = ()
    elevator_name: str = ""
    elevator_alias: str = NULL
    elevator_features: int = 0
    elevator_owner: module = NULL
    list: list_head = NULL


class elevator_queue(Struct):
    """A scheduler at work on one queue. hash: the mergeable requests, by the sector at which they end.

    registered: whether it shows in /sys. It lives as long as kobj is held.
    """

    type: elevator_type = NULL
    elevator_data: Any = None
    kobj: kobject = field(default_factory=kobject)
    sysfs_lock: mutex = field(default_factory=lambda: mutex("&eq->sysfs_lock"))
    registered: int = 0
    hash: list[list_head] = field(default_factory=lambda: DECLARE_HASHTABLE(ELV_HASH_BITS))


def rq_end_sector(rq: request) -> int:
    """The sector behind the request's last one."""
    return blk_rq_pos(rq) + blk_rq_sectors(rq)


def rb_entry_rq(node: rb_node) -> request:
    """The request at a place in a sorted tree; None for no place."""
    return node.entry if node else NULL


def rq_entry_fifo(head: list_head) -> request:
    """The oldest request on a list."""
    return list_first_entry(head)
