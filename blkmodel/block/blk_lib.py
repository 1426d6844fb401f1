"""Operations on ranges of a block device that have no data of their own: discarding, and filling with zeroes.

A range becomes as many bios as it takes; each is chained to the next, so that the last one ends when all have. Writing
the same block many times is left out.
"""

from blkmodel.block import bio as block_bio, blk_core, genhd
from blkmodel.block.blk_h import bio_allowed_max_sectors
from blkmodel.include.linux.blkdev import (BIO_MAX_PAGES, BLKDEV_DISCARD_SECURE, BLKDEV_ZERO_NOUNMAP, REQ_NOUNMAP,
    REQ_OP_DISCARD, REQ_OP_SECURE_ERASE, REQ_OP_WRITE, REQ_OP_WRITE_ZEROES, UINT_MAX, bdev_get_queue,
    bdev_logical_block_size, bdev_write_zeroes_sectors, bio, bio_set_dev, blk_plug, blk_queue_discard,
    blk_queue_secure_erase)
from blkmodel.include.linux.fs import block_device
from blkmodel.reference.omission import no_chapter
from blkmodel.services import EINVAL, ENXIO, EOPNOTSUPP, EPERM, WARN_ON_ONCE, ZERO_PAGE, cond_resched
from blkmodel.sim import NULL, PAGE_SIZE

OMITTED = no_chapter("__blkdev_issue_zeroout")


def blk_next_bio(bio: bio, nr_pages: int, gfp: int) -> bio:
    """Allocate the bio that follows `bio` (None for the first), which is submitted, and which it will outlast."""
    new = block_bio.bio_alloc_bioset(gfp, nr_pages, block_bio.variables().fs_bio_set)
    if bio is not None:
        block_bio.bio_chain(bio, new)
        blk_core.submit_bio(bio)
    return new


def __blkdev_issue_discard(bdev: block_device, sector: int, nr_sects: int, gfp_mask: int, flags: int,
                           biop: bio) -> tuple[int, bio]:
    """Submit all bios but the last that discard a range; BLKDEV_DISCARD_SECURE: erase it.

    biop is the bio that they follow, or None. Returns (0 or -errno, the last bio); in C an in- and out-parameter.
    """
    q, bio = bdev_get_queue(bdev), biop
    if q is None:
        return -ENXIO, bio
    if genhd.bdev_read_only(bdev):
        return -EPERM, bio
    if flags & BLKDEV_DISCARD_SECURE:
        if not blk_queue_secure_erase(q):
            return -EOPNOTSUPP, bio
        op = REQ_OP_SECURE_ERASE
    else:
        if not blk_queue_discard(q):
            return -EOPNOTSUPP, bio
        op = REQ_OP_DISCARD
    if (sector | nr_sects) & (bdev_logical_block_size(bdev) >> 9) - 1 or not nr_sects:
        return -EINVAL, bio

    while nr_sects:
        req_sects = min(nr_sects, bio_allowed_max_sectors(q))
        WARN_ON_ONCE(req_sects << 9 > UINT_MAX)
        bio = blk_next_bio(bio, 0, gfp_mask)
        bio.bi_iter.bi_sector = sector
        bio_set_dev(bio, bdev)
        bio.bi_opf = op
        bio.bi_iter.bi_size = req_sects << 9
        sector += req_sects
        nr_sects -= req_sects
        cond_resched()
    return 0, bio


def blkdev_issue_discard(bdev: block_device, sector: int, nr_sects: int, gfp_mask: int, flags: int) -> int:
    """Discard a range, and wait. Returns 0, also where the device then says that it can't after all, or -errno."""
    plug = blk_plug()
    blk_core.blk_start_plug(plug)
    ret, bio = __blkdev_issue_discard(bdev, sector, nr_sects, gfp_mask, flags, NULL)
    if not ret and bio is not None:
        if (ret := block_bio.submit_bio_wait(bio)) == -EOPNOTSUPP:
            ret = 0
        block_bio.bio_put(bio)
    blk_core.blk_finish_plug(plug)
    return ret


def __blkdev_issue_write_zeroes(bdev: block_device, sector: int, nr_sects: int, gfp_mask: int, biop: bio,
                                flags: int) -> tuple[int, bio]:
    """Submit all bios but the last that let the device fill a range with zeroes. Returns (0 or -errno, the last bio).

    BLKDEV_ZERO_NOUNMAP: it is to keep the space.
    """
    bio = biop
    if bdev_get_queue(bdev) is None:
        return -ENXIO, bio
    if genhd.bdev_read_only(bdev):
        return -EPERM, bio
    if (most := bdev_write_zeroes_sectors(bdev)) == 0:
        return -EOPNOTSUPP, bio

    while nr_sects:
        bio = blk_next_bio(bio, 0, gfp_mask)
        bio.bi_iter.bi_sector = sector
        bio_set_dev(bio, bdev)
        bio.bi_opf = REQ_OP_WRITE_ZEROES
        if flags & BLKDEV_ZERO_NOUNMAP:
            bio.bi_opf |= REQ_NOUNMAP
        req_sects = min(nr_sects, most)
        bio.bi_iter.bi_size = req_sects << 9
        nr_sects -= req_sects
        sector += req_sects
        cond_resched()
    return 0, bio


def __blkdev_sectors_to_bio_pages(nr_sects: int) -> int:
    """How many pages a bio for so many sectors has: one at least, and no more than it can have."""
    return min(-(-nr_sects // (PAGE_SIZE // 512)), BIO_MAX_PAGES)


def __blkdev_issue_zero_pages(bdev: block_device, sector: int, nr_sects: int, gfp_mask: int,
                              biop: bio) -> tuple[int, bio]:
    """Submit all bios but the last that write zeroes to a range. Returns (0 or -errno, the last bio).

    All their memory is one page, again and again.
    """
    bio = biop
    if bdev_get_queue(bdev) is None:
        return -ENXIO, bio
    if genhd.bdev_read_only(bdev):
        return -EPERM, bio
    while nr_sects:
        bio = blk_next_bio(bio, __blkdev_sectors_to_bio_pages(nr_sects), gfp_mask)
        bio.bi_iter.bi_sector = sector
        bio_set_dev(bio, bdev)
        bio.bi_opf = REQ_OP_WRITE
        while nr_sects:
            sz = min(PAGE_SIZE, nr_sects << 9)
            bi_size = block_bio.bio_add_page(bio, ZERO_PAGE(), sz, 0)
            nr_sects -= bi_size >> 9
            sector += bi_size >> 9
            if bi_size < sz:
                break
        cond_resched()
    return 0, bio


def blkdev_issue_zeroout(bdev: block_device, sector: int, nr_sects: int, gfp_mask: int, flags: int) -> int:
    """Fill a range with zeroes, and wait. Returns 0 or -errno.

    Where the device fails to do it itself, the zeroes are written.
    """
    ret, try_write_zeroes = 0, bool(bdev_write_zeroes_sectors(bdev))
    if (sector | nr_sects) & (bdev_logical_block_size(bdev) >> 9) - 1:
        return -EINVAL
    while True:
        bio, plug = NULL, blk_plug()
        blk_core.blk_start_plug(plug)
        if try_write_zeroes:
            ret, bio = __blkdev_issue_write_zeroes(bdev, sector, nr_sects, gfp_mask, bio, flags)
        else:
            ret, bio = __blkdev_issue_zero_pages(bdev, sector, nr_sects, gfp_mask, bio)
        if ret == 0 and bio is not None:
            ret = block_bio.submit_bio_wait(bio)
            block_bio.bio_put(bio)
        blk_core.blk_finish_plug(plug)
        if not ret or not try_write_zeroes:
            return ret
        try_write_zeroes = False
