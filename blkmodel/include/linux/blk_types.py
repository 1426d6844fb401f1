"""Bios, their vectors, statuses and operations (include/linux/blk_types.h, bio.h)."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any

from blkmodel.sim import NULL, Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from blkmodel.include.linux.bio import bio_set
    from blkmodel.include.linux.genhd import gendisk
    from blkmodel.services import page

(BLK_STS_OK, BLK_STS_NOTSUPP, BLK_STS_TIMEOUT, BLK_STS_NOSPC, BLK_STS_TRANSPORT, BLK_STS_TARGET, BLK_STS_NEXUS,
 BLK_STS_MEDIUM, BLK_STS_PROTECTION, BLK_STS_RESOURCE, BLK_STS_IOERR, BLK_STS_DM_REQUEUE, BLK_STS_AGAIN,
 BLK_STS_DEV_RESOURCE) = range(14)

REQ_OP_BITS = 8
REQ_OP_MASK = (1 << REQ_OP_BITS) - 1
REQ_OP_READ, REQ_OP_WRITE, REQ_OP_FLUSH, REQ_OP_DISCARD, REQ_OP_SECURE_ERASE = 0, 1, 2, 3, 5
REQ_OP_ZONE_RESET, REQ_OP_WRITE_SAME, REQ_OP_ZONE_RESET_ALL, REQ_OP_WRITE_ZEROES = 6, 7, 8, 9
REQ_OP_SCSI_IN, REQ_OP_SCSI_OUT, REQ_OP_DRV_IN, REQ_OP_DRV_OUT = 32, 33, 34, 35

(REQ_FAILFAST_DEV, REQ_FAILFAST_TRANSPORT, REQ_FAILFAST_DRIVER, REQ_SYNC, REQ_META, REQ_PRIO, REQ_NOMERGE, REQ_IDLE,
 REQ_INTEGRITY, REQ_FUA, REQ_PREFLUSH, REQ_RAHEAD, REQ_BACKGROUND, REQ_NOWAIT, REQ_NOWAIT_INLINE, REQ_CGROUP_PUNT,
 REQ_NOUNMAP, REQ_HIPRI, REQ_DRV, REQ_SWAP) = (1 << bit for bit in range(REQ_OP_BITS, REQ_OP_BITS + 20))
REQ_FAILFAST_MASK = REQ_FAILFAST_DEV | REQ_FAILFAST_TRANSPORT | REQ_FAILFAST_DRIVER
REQ_NOMERGE_FLAGS = REQ_NOMERGE | REQ_PREFLUSH | REQ_FUA

(BIO_NO_PAGE_REF, BIO_CLONED, BIO_BOUNCED, BIO_USER_MAPPED, BIO_NULL_MAPPED, BIO_WORKINGSET, BIO_QUIET, BIO_CHAIN,
 BIO_REFFED, BIO_THROTTLED, BIO_TRACE_COMPLETION, BIO_QUEUE_ENTERED, BIO_TRACKED) = range(13)

U64_MAX, BLK_QC_T_NONE = (1 << 64) - 1, -1


class blk_rq_stat(Struct, size=40):
    """How long requests took, in nanoseconds: nr_samples of them, the shortest min, the longest max, the mean.

    In what a CPU gathers `batch` is the sum, and mean is not used.
    """

    mean: int = 0
    min: int = 0
    max: int = 0
    nr_samples: int = 0
    batch: int = 0


class bio_vec(Struct):
    """A piece of memory: bv_len bytes from bv_offset of the page bv_page, or on into the pages after it."""

    bv_page: page = NULL
    bv_len: int = 0
    bv_offset: int = 0


class bvec_iter(Struct):
    """Where a bio stands: the next sector, the bytes left, the current vector and how much of that is done."""

    __slots__ = ("bi_bvec_done", "bi_idx", "bi_sector", "bi_size")

    def __init__(self, bi_sector: int = 0, bi_size: int = 0, bi_idx: int = 0, bi_bvec_done: int = 0) -> None:
        self.bi_sector, self.bi_size, self.bi_idx, self.bi_bvec_done = bi_sector, bi_size, bi_idx, bi_bvec_done


class bio(Struct):
    """One I/O in the words of whoever asks: a run of sectors of a disk, and the memory to move.

    `bi_iter` moves on as the bio is done; `bi_io_vec` does not change. `_bi_remaining` (in C `__bi_remaining`) counts
    what must end before the bio ends: itself, and the bios chained to it; `_bi_cnt` (`__bi_cnt`) its references.
    _front is what its user keeps in the bytes before it (in C found from the bio's address).
    """

    bi_next: bio = NULL
    bi_disk: gendisk = NULL
    bi_opf: int = 0
    bi_flags: int = 0
    bi_status: int = 0
    bi_partno: int = 0
    bi_iter: bvec_iter = field(default_factory=bvec_iter)
    _bi_remaining: int = 0
    bi_end_io: Callable[..., None] = NULL
    bi_private: Any = None
    bi_vcnt: int = 0
    bi_max_vecs: int = 0
    _bi_cnt: int = 0
    bi_io_vec: list[bio_vec] = NULL
    bi_pool: bio_set = NULL
    _front: Any = None


def blk_path_error(error: int) -> bool:
    """Whether an I/O that failed so might succeed on another path to its disk."""
    return error not in (BLK_STS_NOTSUPP, BLK_STS_NOSPC, BLK_STS_TARGET, BLK_STS_NEXUS, BLK_STS_MEDIUM,
                         BLK_STS_PROTECTION)


def bio_op(of: bio) -> int:
    return of.bi_opf & REQ_OP_MASK


def op_is_write(op: int) -> bool:
    return op & 1 != 0


def op_is_flush(op: int) -> bool:
    return op & (REQ_FUA | REQ_PREFLUSH) != 0


def op_is_sync(op: int) -> bool:
    return op & REQ_OP_MASK == REQ_OP_READ or op & (REQ_SYNC | REQ_FUA | REQ_PREFLUSH) != 0


def bio_flagged(of: bio, bit: int) -> bool:
    return of.bi_flags >> bit & 1 != 0


def bio_set_flag(of: bio, bit: int) -> None:
    of.bi_flags |= 1 << bit


def bio_clear_flag(of: bio, bit: int) -> None:
    of.bi_flags &= ~(1 << bit)
