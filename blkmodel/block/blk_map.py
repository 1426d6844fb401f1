"""Data for requests that a driver made up itself. Left out: memory of user space."""

from typing import Any

from blkmodel.block import bio as block_bio
from blkmodel.block.blk_h import blk_rq_bio_prep
from blkmodel.include.linux.blkdev import (READ, REQ_OP_MASK, RQF_COPY_USER, bio, bio_for_each_bvec, blk_rq_aligned,
    queue_max_hw_sectors, req_op, request, request_queue, rq_data_dir)
from blkmodel.services import EINVAL, IS_ERR, PTR_ERR, object_is_on_stack
from blkmodel.sim import address_of


def blk_rq_append_bio(rq: request, bio: bio) -> int:
    """Give a request its bio, the only one: more are left out, as no driver of the model has any. Returns 0.

    In C the bio may be exchanged for one in memory that the device reaches; it reaches all.
    """
    blk_rq_bio_prep(rq, bio, len(bio_for_each_bvec(bio)))
    return 0


def blk_rq_map_kern(q: request_queue, rq: request, kbuf: Any, length: int, gfp_mask: int) -> int:
    """Let a request move `length` bytes of kernel memory, a structure or an array: as it lies there, or through a copy
    where that is not aligned as the queue asks, or on the stack. Returns 0 or -errno.
    """
    reading = rq_data_dir(rq) == READ
    if length > queue_max_hw_sectors(q) << 9 or not length or kbuf is None:
        return -EINVAL
    do_copy = not blk_rq_aligned(q, address_of(kbuf), length) or object_is_on_stack(kbuf)
    if do_copy:
        bio = block_bio.bio_copy_kern(q, kbuf, length, gfp_mask, reading)
    else:
        bio = block_bio.bio_map_kern(q, kbuf, length, gfp_mask)
    if IS_ERR(bio):
        return PTR_ERR(bio)
    bio.bi_opf &= ~REQ_OP_MASK
    bio.bi_opf |= req_op(rq)
    if do_copy:
        rq.rq_flags |= RQF_COPY_USER
    if ret := blk_rq_append_bio(rq, bio):
        block_bio.bio_put(bio)
    return ret
