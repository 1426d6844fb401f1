"""Tags: what block/blk-mq-tag.h declares."""

from dataclasses import field
from typing import Any

from blkmodel.include.linux.blk_mq import BLK_MQ_F_TAG_SHARED, blk_mq_hw_ctx
from blkmodel.include.linux.blkdev import request
from blkmodel.include.linux.sbitmap import sbitmap_queue, sbq_wait_ptr, sbq_wait_state
from blkmodel.services import list_head
from blkmodel.sim import NULL, Struct

BLK_MQ_TAG_FAIL, BLK_MQ_TAG_MIN, BLK_MQ_TAG_MAX = 0xFFFFFFFF, 1, 0xFFFFFFFE


class blk_mq_tags(Struct):
    """The tags of one hardware queue, and the requests that bear them.

    Tag t is free or taken in bitmap_tags (in breserved_tags for t < nr_reserved_tags). static_rqs[t] is the request
    allocated for t; rqs[t] is the request that last was given t. page_list: the page runs that hold the requests.
    """

    nr_tags: int = 0
    nr_reserved_tags: int = 0
    active_queues: int = 0
    bitmap_tags: sbitmap_queue = field(default_factory=sbitmap_queue)
    breserved_tags: sbitmap_queue = field(default_factory=sbitmap_queue)
    rqs: list[request] = NULL
    static_rqs: Any = NULL
    page_list: list_head = field(default_factory=list_head)


def bt_wait_ptr(bt: sbitmap_queue, hctx: blk_mq_hw_ctx) -> sbq_wait_state:
    """The wait queue to sleep on for a tag: each time the hardware queue's next one."""
    if hctx is None:
        return bt.ws[0]
    ws, hctx.wait_index = sbq_wait_ptr(bt, hctx.wait_index)
    return ws


def blk_mq_tag_busy(hctx: blk_mq_hw_ctx) -> bool:
    """Count the hardware queue among those that share the tags; False where the tags are not shared."""
    return blk_mq_tag.__blk_mq_tag_busy(hctx) if hctx.flags & BLK_MQ_F_TAG_SHARED else False


def blk_mq_tag_idle(hctx: blk_mq_hw_ctx) -> None:
    """Count the hardware queue no longer among those that share the tags."""
    if hctx.flags & BLK_MQ_F_TAG_SHARED:
        blk_mq_tag.__blk_mq_tag_idle(hctx)


def blk_mq_tag_set_rq(hctx: blk_mq_hw_ctx, tag: int, rq: request) -> None:
    """Let a flush request bear the tag of the request that it is sent for, or give it back."""
    hctx.tags.rqs[tag] = rq


def blk_mq_tag_is_reserved(tags: blk_mq_tags, tag: int) -> bool:
    """Whether a tag is one of those that are kept apart: the lowest ones."""
    return tag < tags.nr_reserved_tags


from blkmodel.block import blk_mq_tag  # noqa: E402 (it takes names from here)
