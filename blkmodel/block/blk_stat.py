"""Statistics of a queue's requests: only what holds memory. What they count is left out."""

from blkmodel.block.blk_stat_h import blk_queue_stats
from blkmodel.include.linux.gfp import GFP_KERNEL
from blkmodel.include.linux.slab import kfree, kzalloc


def blk_alloc_queue_stats():
    """Allocate the list of who wants statistics of a queue; None on failure."""
    return kzalloc(blk_queue_stats, GFP_KERNEL)


def blk_free_queue_stats(stats):
    """Free that list."""
    kfree(stats)
