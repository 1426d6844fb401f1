"""Protection information: a checksum and the place of a block, stored with it as metadata."""

from blkmodel.include.linux.blkdev import SECTOR_SHIFT, queue_logical_block_size
from blkmodel.services.base.log2 import ilog2

T10_PI_TUPLE_SIZE = 8


def t10_pi_ref_tag(rq):
    """What a request's first block has for its place: its number, in 32 bits."""
    shift = ilog2(queue_logical_block_size(rq.q))
    return rq._sector >> shift - SECTOR_SHIFT & 0xFFFFFFFF
