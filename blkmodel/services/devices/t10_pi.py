"""Protection information: a checksum and the place of a block, stored with it as metadata (include/linux/t10-pi.h)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blkmodel.services.base.arithmetic import ilog2

if TYPE_CHECKING:
    from blkmodel.include.linux.blkdev import request

T10_PI_TUPLE_SIZE = 8


def t10_pi_ref_tag(rq: request) -> int:
    """What a request's first block has for its place: its number, in 32 bits."""
    shift = ilog2(rq.q.limits.logical_block_size)
    return rq._sector >> shift - 9 & 0xFFFFFFFF
