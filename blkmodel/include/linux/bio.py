"""Bios: what the macros of the header do, and iteration over their vectors (include/linux/bio.h, blk_types.h,
bvec.h)."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from blkmodel.include.linux.blk_types import *
from blkmodel.services import MKDEV, mempool
from blkmodel.sim import NULL, PAGE_SIZE, Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blkmodel.include.linux.fs import block_device
    from blkmodel.services import kiocb, kmem_cache

BIO_MAX_PAGES, BIO_POOL_SIZE, BVEC_POOL_BITS = 256, 2, 3
BVEC_POOL_OFFSET, BVEC_POOL_NR = 16 - BVEC_POOL_BITS, 6
BVEC_POOL_MAX, BIOSET_NEED_BVECS, UIO_MAXIOV = BVEC_POOL_NR - 1, 1, 1024
NO_DATA = (REQ_OP_DISCARD, REQ_OP_SECURE_ERASE, REQ_OP_WRITE_ZEROES)
UINT_MAX = 0xFFFFFFFF


class bio_list(Struct, size=16):
    """Bios linked by bi_next, from head to tail."""

    __slots__ = ("head", "tail")

    def __init__(self) -> None:
        self.head: bio = NULL
        self.tail: bio = NULL


class bio_set(Struct):
    """Where bios come from: two pools, so that there is always one to be had. front_pad bytes before each bio are
    its user's own."""

    bio_slab: kmem_cache = NULL
    front_pad: int = 0
    bio_pool: mempool = field(default_factory=mempool)
    bvec_pool: mempool = field(default_factory=mempool)


def bioset_initialized(bs: bio_set) -> bool:
    return bs.bio_slab is not None


def BVEC_POOL_IDX(of: bio) -> int:
    """Which cache a bio's vectors are from, counted from 1; 0 where they are its own."""
    return of.bi_flags >> BVEC_POOL_OFFSET


def bio_list_add(bios: bio_list, entry: bio) -> None:
    entry.bi_next = NULL
    if bios.tail is None:
        bios.head = entry
    else:
        bios.tail.bi_next = entry
    bios.tail = entry


def bio_list_add_head(bios: bio_list, entry: bio) -> None:
    entry.bi_next = bios.head
    bios.head = entry
    if bios.tail is None:
        bios.tail = entry


def bio_list_merge(bios: bio_list, others: bio_list) -> None:
    """Append the other list's bios, which stay linked there too."""
    if others.head is None:
        return
    if bios.tail is None:
        bios.head = others.head
    else:
        bios.tail.bi_next = others.head
    bios.tail = others.tail


def bio_list_get(bios: bio_list) -> bio:
    """Take all bios off, as a chain; None from an empty list."""
    first = bios.head
    bios.head = bios.tail = NULL
    return first


def bio_list_pop(bios: bio_list) -> bio:
    """Take the first bio off; None from an empty list."""
    if (first := bios.head) is not None:
        bios.head = first.bi_next
        if bios.head is None:
            bios.tail = NULL
        first.bi_next = NULL
    return first


def bio_kmalloc(gfp_mask: int, nr_iovecs: int) -> bio:
    """A bio from the heap; None on failure."""
    return bio_module.bio_alloc_bioset(gfp_mask, nr_iovecs, NULL)


def bio_sectors(of: bio) -> int:
    return of.bi_iter.bi_size >> 9


def bio_end_sector(of: bio) -> int:
    return of.bi_iter.bi_sector + (of.bi_iter.bi_size >> 9)


def bio_data_dir(of: bio) -> int:
    return int(op_is_write(bio_op(of)))


def bio_has_data(of: bio) -> bool:
    """Whether it moves bytes of memory."""
    return bool(of.bi_iter.bi_size) and bio_op(of) not in NO_DATA


def bio_no_advance_iter(of: bio) -> bool:
    """Whether its vectors do not go with its sectors."""
    return bio_op(of) in (*NO_DATA, REQ_OP_WRITE_SAME)


def bio_mergeable(of: bio) -> bool:
    return not of.bi_opf & REQ_NOMERGE_FLAGS


def bio_io_error(of: bio) -> None:
    """End a bio with an I/O error."""
    from blkmodel.block.bio import bio_endio
    of.bi_status = BLK_STS_IOERR
    bio_endio(of)


def zero_fill_bio(of: bio) -> None:
    """Zero the memory of what is left of a bio."""
    from blkmodel.block.bio import zero_fill_bio_iter
    zero_fill_bio_iter(of, of.bi_iter)


def bio_dev(of: bio) -> int:
    """The number of the disk that it is for, whichever partition of it."""
    return MKDEV(of.bi_disk.major, of.bi_disk.first_minor)


def bio_full(of: bio, length: int) -> bool:
    """Whether there is no vector, or no room in its size, for so many bytes more."""
    return of.bi_vcnt >= of.bi_max_vecs or of.bi_iter.bi_size > UINT_MAX - length


def bio_get(of: bio) -> None:
    of.bi_flags |= 1 << BIO_REFFED
    of._bi_cnt += 1


def bio_inc_remaining(of: bio) -> None:
    of.bi_flags |= 1 << BIO_CHAIN
    of._bi_remaining += 1


def bio_set_dev(of: bio, bdev: block_device) -> None:
    of.bi_disk, of.bi_partno = bdev.bd_disk, bdev.bd_partno


def bio_set_polled(of: bio, kiocb: kiocb) -> None:
    """Ask for polling instead of an interrupt; somebody who polls cannot wait for a request either."""
    of.bi_opf |= REQ_HIPRI
    if kiocb.ki_complete is not None:
        of.bi_opf |= REQ_NOWAIT


def bio_advance_iter(of: bio, at: bvec_iter, count: int) -> None:
    """Move a position so many bytes on, through the vectors that those bytes are in."""
    at.bi_sector += count >> 9
    left = at.bi_size = at.bi_size - count
    if of.bi_opf & REQ_OP_MASK > REQ_OP_FLUSH and bio_no_advance_iter(of):
        return
    assert left >= 0, "a bio was advanced beyond its end"
    vectors, done, index = of.bi_io_vec, at.bi_bvec_done + count, at.bi_idx
    while done and done >= (length := vectors[index].bv_len):
        done -= length
        index += 1
        if not done and not left:
            break
    at.bi_idx, at.bi_bvec_done = index, done


def mp_bvec_iter_bvec(bvec: Sequence[bio_vec], at: bvec_iter) -> bio_vec:
    """The memory at a position, up to its vector's end. It may go on into the pages after bv_page."""
    vector, done = bvec[at.bi_idx], at.bi_bvec_done
    return bio_vec(vector.bv_page, min(at.bi_size, vector.bv_len - done), vector.bv_offset + done)


def bio_for_each_bvec(of: bio) -> Sequence[bio_vec]:
    """The rest of a bio as vectors, each in as many pages that follow each other as it has."""
    at = of.bi_iter
    if not (left := at.bi_size):
        return ()
    vectors, index, done, found = of.bi_io_vec, at.bi_idx, at.bi_bvec_done, []
    while left:
        vector = vectors[index]
        length = vector.bv_len - done
        if length > left:
            length = left
        if done or length != vector.bv_len:
            vector = bio_vec(vector.bv_page, length, vector.bv_offset + done)
            done = 0
        found.append(vector)
        left -= length
        index += 1
    return found


def bio_for_each_segment(of: bio) -> list[bio_vec]:
    """The rest of a bio as vectors that each stay within one page."""
    return [piece for vector in bio_for_each_bvec(of) for piece in segments_of(vector)]


def segments_of(vector: bio_vec) -> Sequence[bio_vec]:
    """A vector cut at the ends of pages. (Not the kernel's.)"""
    if vector.bv_offset + vector.bv_len <= PAGE_SIZE:
        return (vector,)
    pieces, offset, left = [], vector.bv_offset, vector.bv_len
    while left:
        length = min(PAGE_SIZE - offset % PAGE_SIZE, left)
        pieces.append(bio_vec(vector.bv_page.nth(offset // PAGE_SIZE), length, offset % PAGE_SIZE))
        offset += length
        left -= length
    return pieces


def bio_for_each_segment_all(of: bio) -> list[bio_vec]:
    """All vectors of a bio that owns them, each cut at the ends of pages, wherever the bio stands."""
    return [piece for vector in of.bi_io_vec[:of.bi_vcnt] for piece in segments_of(vector)]


def bio_iovec(of: bio) -> bio_vec:
    """The memory at the bio's position, within one page."""
    return segments_of(mp_bvec_iter_bvec(of.bi_io_vec, of.bi_iter))[0]


def bio_get_first_bvec(of: bio) -> bio_vec:
    return mp_bvec_iter_bvec(of.bi_io_vec, of.bi_iter)


def bio_get_last_bvec(of: bio) -> bio_vec:
    """The last vector of what is left."""
    return bio_for_each_bvec(of)[-1]


def copy_of(at: bvec_iter) -> bvec_iter:
    """A position of its own that begins where `at` is. (In C an assignment.)"""
    return bvec_iter(at.bi_sector, at.bi_size, at.bi_idx, at.bi_bvec_done)


from blkmodel.block import bio as bio_module  # noqa: E402 (it takes names from here)
