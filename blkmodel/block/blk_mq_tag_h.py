"""Tags: what block/blk-mq-tag.h declares."""

from dataclasses import field
from typing import Any

from blkmodel.include.linux.list import list_head
from blkmodel.include.linux.sbitmap import sbitmap_queue
from blkmodel.sim.structure import Struct, struct

BLK_MQ_TAG_FAIL, BLK_MQ_TAG_MIN = 0xFFFFFFFF, 1


@struct
class blk_mq_tags(Struct):
    """The tags of one hardware queue, and the requests that bear them.

    Tag t is free or taken in bitmap_tags (in breserved_tags for t < nr_reserved_tags). static_rqs[t] is the request
    allocated for t; rqs[t] is the request that last was given t. page_list: the page runs that hold the requests.
    """

    nr_tags: int = 0
    nr_reserved_tags: int = 0
    active_queues: int = 0
    bitmap_tags: Any = field(default_factory=sbitmap_queue)
    breserved_tags: Any = field(default_factory=sbitmap_queue)
    rqs: Any = None
    static_rqs: Any = None
    page_list: Any = field(default_factory=list_head)
