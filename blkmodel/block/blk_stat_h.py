"""Statistics of a queue's requests: what block/blk-stat.h declares."""

from typing import Any

from blkmodel.sim.structure import Struct, struct


@struct
class blk_queue_stats(Struct):
    """Who wants statistics of a queue."""

    SIZE = 24
    callbacks: Any = None
