"""What the kernel image holds: the files with something to do at boot, which is why every import brings them."""

from blkmodel.block import bio, blk_core, blk_mq, blk_softirq, genhd, mq_deadline
from blkmodel.fs import block_dev

__all__ = ["bio", "blk_core", "blk_mq", "blk_softirq", "block_dev", "genhd", "mq_deadline"]
