"""Cutting bios to what a device can take, joining what lies side by side, and turning requests into segments.

`__blk_queue_split` decides where a bio is cut; `bio_split` in bio.py cuts.

Left out: cutting and joining writes of the same block (REQ_OP_WRITE_SAME), and padding and drain, which no driver
asks for.
"""

from blkmodel.block import bio as bio_module, blk_core, elevator, genhd
from blkmodel.block.blk_h import (__bvec_gap_to_prev, bio_allowed_max_sectors, biovec_phys_mergeable, blk_do_io_stat,
    bvec_gap_to_prev, req_set_nomerge)
from blkmodel.include.linux.blkdev import (BIO_QUEUE_ENTERED, REQ_FAILFAST_MASK, REQ_NOMERGE, REQ_OP_DISCARD,
    REQ_OP_SECURE_ERASE, REQ_OP_WRITE_SAME, REQ_OP_WRITE_ZEROES, RQF_MIXED_MERGE, RQF_SPECIAL_PAYLOAD, SECTOR_SHIFT,
    UINT_MAX, bio, bio_data_dir, bio_for_each_bvec, bio_get_first_bvec, bio_get_last_bvec, bio_has_data, bio_iovec,
    bio_mergeable, bio_op, bio_sectors, bio_set, bio_set_flag, bio_vec, bios_of, blk_max_size_offset,
    blk_rq_get_max_sectors, blk_rq_nr_discard_segments, blk_rq_nr_phys_segments, blk_rq_sectors, hd_struct_put,
    part_stat_lock, part_stat_unlock, queue_max_discard_segments, queue_max_segments, req_op, request, request_queue,
    rq_data_dir, rq_for_each_bvec, rq_mergeable)
from blkmodel.include.linux.elevator import (ELEVATOR_BACK_MERGE, ELEVATOR_DISCARD_MERGE, ELEVATOR_FRONT_MERGE,
    ELEVATOR_NO_MERGE)
from blkmodel.reference.omission import no_chapter
from blkmodel.services import (GFP_NOIO, WARN_ON, WARN_ON_ONCE, nth_page, page, scatterlist, sg_mark_end, sg_next,
    sg_set_page, sg_unmark_end)
from blkmodel.sim import NULL, PAGE_SIZE

OMITTED = no_chapter("blk_bio_write_same_split")

PAGE_SHIFT = 12


def bio_will_gap(q: request_queue, prev_rq: request, prev: bio, next: bio) -> bool:
    """Whether `next` behind `prev` leaves a gap that the device can't have. prev_rq: the request that prev ends."""
    mask = q.limits.virt_boundary_mask
    if not mask or not bio_has_data(prev):
        return False
    # a request that begins off the boundary has nothing merged to it: its first piece may be its only odd one
    if bio_get_first_bvec(prev_rq.bio if prev_rq is not None else prev).bv_offset & mask:
        return True
    last, following = bio_get_last_bvec(prev), bio_get_first_bvec(next)
    return not biovec_phys_mergeable(q, last, following) and __bvec_gap_to_prev(q, last, following.bv_offset)


def req_gap_back_merge(req: request, bio: bio) -> bool:
    """Whether a bio behind a request leaves a gap."""
    return bio_will_gap(req.q, req, req.biotail, bio)


def req_gap_front_merge(req: request, bio: bio) -> bool:
    """Whether a bio before a request leaves a gap."""
    return bio_will_gap(req.q, NULL, bio, req.bio)


def blk_bio_discard_split(q: request_queue, bio: bio, bs: bio_set) -> tuple[bio, int]:
    """Cut a discard to the device's limit, at a multiple of its granularity.

    Returns (the part cut off, or None where nothing is to be cut; its number of segments).
    """
    granularity = max(q.limits.discard_granularity >> SECTOR_SHIFT, 1)
    max_discard_sectors = min(q.limits.max_discard_sectors, bio_allowed_max_sectors(q))
    max_discard_sectors -= max_discard_sectors % granularity
    if not max_discard_sectors or bio_sectors(bio) <= max_discard_sectors:
        return NULL, 1
    alignment = (q.limits.discard_alignment >> SECTOR_SHIFT) % granularity
    beyond = (bio.bi_iter.bi_sector + max_discard_sectors - alignment) % granularity
    split_sectors = max_discard_sectors
    if split_sectors > beyond:
        split_sectors -= beyond
    return bio_module.bio_split(bio, split_sectors, GFP_NOIO, bs), 1


def blk_bio_write_zeroes_split(q: request_queue, bio: bio, bs: bio_set) -> tuple[bio, int]:
    """Cut a zeroing to the device's limit. Returns (the part cut off, or None; its number of segments: 0)."""
    most = q.limits.max_write_zeroes_sectors
    if not most or bio_sectors(bio) <= most:
        return NULL, 0
    return bio_module.bio_split(bio, most, GFP_NOIO, bs), 0


def get_max_io_size(q: request_queue, bio: bio) -> int:
    """How many sectors the next request may have: so many that it ends at a physical block, or at least a logical."""
    sectors = blk_max_size_offset(q, bio.bi_iter.bi_sector)
    pbs = q.limits.physical_block_size >> SECTOR_SHIFT
    start_offset = bio.bi_iter.bi_sector & (pbs - 1)
    max_sectors = sectors + start_offset & ~(pbs - 1)
    if max_sectors > start_offset:
        return max_sectors - start_offset
    return sectors & ~((q.limits.logical_block_size >> SECTOR_SHIFT) - 1)


def get_max_segment_size(q: request_queue, start_page: page, offset: int) -> int:
    """How long a segment may be that begins at `offset` of a page: up to its boundary, or its largest size."""
    mask = q.limits.seg_boundary_mask
    room = mask - (mask & (start_page._addr + offset)) + 1
    return min(room, q.limits.max_segment_size or room)


def bvec_split_segs(q: request_queue, bv: bio_vec, nsegs: int, sectors: int, max_segs: int,
                    max_sectors: int) -> tuple[bool, int, int]:
    """Count the segments that a vector of several pages makes, as long as the two limits allow.

    Returns (whether it did not fit as a whole, nsegs, sectors), with what fits added to the counts.
    """
    max_len = min(max_sectors, UINT_MAX >> SECTOR_SHIFT) - sectors << SECTOR_SHIFT
    length = min(bv.bv_len, max_len)
    total_len = 0
    while length and nsegs < max_segs:
        seg_size = min(get_max_segment_size(q, bv.bv_page, bv.bv_offset + total_len), length)
        nsegs += 1
        total_len += seg_size
        length -= seg_size
        if bv.bv_offset + total_len & q.limits.virt_boundary_mask:
            break
    return length > 0 or bv.bv_len > max_len, nsegs, sectors + (total_len >> SECTOR_SHIFT)


def blk_bio_segment_split(q: request_queue, bio: bio, bs: bio_set) -> tuple[bio, int]:
    """Cut a read or write before it has too many sectors, too many segments, or a gap.

    Returns (the part cut off, or None where nothing is to be cut; the number of its segments, else of the bio's).
    """
    nsegs = sectors = 0
    max_sectors = get_max_io_size(q, bio)
    max_segs, previous = q.limits.max_segments, NULL
    for bv in bio_for_each_bvec(bio):
        if previous is not None and bvec_gap_to_prev(q, previous, bv.bv_offset):
            break
        if (nsegs < max_segs and sectors + (bv.bv_len >> SECTOR_SHIFT) <= max_sectors
                and bv.bv_offset + bv.bv_len <= PAGE_SIZE):
            nsegs += 1
            sectors += bv.bv_len >> SECTOR_SHIFT
        else:
            cut, nsegs, sectors = bvec_split_segs(q, bv, nsegs, sectors, max_segs, max_sectors)
            if cut:
                break
        previous = bv
    else:
        return NULL, nsegs
    return bio_module.bio_split(bio, sectors, GFP_NOIO, bs), nsegs


def __blk_queue_split(q: request_queue, bio: bio) -> tuple[bio, int]:
    """Cut a bio to the queue's limits. What is left is submitted again, and ends no sooner than what was cut off.

    Returns (the bio to go on with, its number of segments). In C both are out-parameters.
    """
    if (op := bio_op(bio)) in (REQ_OP_DISCARD, REQ_OP_SECURE_ERASE):
        split, nr_segs = blk_bio_discard_split(q, bio, q.bio_split)
    elif op == REQ_OP_WRITE_ZEROES:
        split, nr_segs = blk_bio_write_zeroes_split(q, bio, q.bio_split)
    elif op == REQ_OP_WRITE_SAME:
        split, nr_segs = NULL, 1  # left out: cutting it to the device's limit
    else:
        split, nr_segs = blk_bio_segment_split(q, bio, q.bio_split)
    if split is None:
        return bio, nr_segs
    split.bi_opf |= REQ_NOMERGE  # more of it comes anyway
    bio_set_flag(bio, BIO_QUEUE_ENTERED)
    bio_module.bio_chain(split, bio)
    blk_core.generic_make_request(bio)
    return split, nr_segs


def blk_queue_split(q: request_queue, bio: bio) -> bio:
    """Cut a bio to the queue's limits, for a driver that has no requests (blk-mq calls
    `__blk_queue_split`). Returns the bio to go on with."""
    bio, _ = __blk_queue_split(q, bio)
    return bio


def blk_recalc_rq_segments(rq: request) -> int:
    """Count a request's segments anew."""
    if rq.bio is None:
        return 0
    if (op := bio_op(rq.bio)) in (REQ_OP_DISCARD, REQ_OP_SECURE_ERASE):
        return len(bios_of(rq)) if queue_max_discard_segments(rq.q) > 1 else 1
    if op == REQ_OP_WRITE_ZEROES:
        return 0
    if op == REQ_OP_WRITE_SAME:
        return 1
    nsegs = sectors = 0
    for bv in rq_for_each_bvec(rq):
        _, nsegs, sectors = bvec_split_segs(rq.q, bv, nsegs, sectors, UINT_MAX, UINT_MAX)
    return nsegs


def blk_next_sg(sg: scatterlist, sglist: list[scatterlist]) -> scatterlist:
    """The list's entry after `sg`; the first where that is None. Whatever ended the list before ends it no more."""
    if sg is None:
        return sglist[0]
    sg_unmark_end(sg)
    return sg_next(sg)


def blk_bvec_map_sg(q: request_queue, bvec: bio_vec, sglist: list[scatterlist],
                    sg: scatterlist) -> tuple[int, scatterlist]:
    """Put a vector of several pages into scatterlist entries after `sg`. Returns (their number, the last)."""
    nbytes = bvec.bv_len
    nsegs = total = 0
    while nbytes > 0:
        offset = bvec.bv_offset + total
        length = min(get_max_segment_size(q, bvec.bv_page, offset), nbytes)
        sg = blk_next_sg(sg, sglist)
        sg_set_page(sg, nth_page(bvec.bv_page, offset >> PAGE_SHIFT), length, offset % PAGE_SIZE)
        total += length
        nbytes -= length
        nsegs += 1
    return nsegs, sg


def __blk_bvec_map_sg(bv: bio_vec, sglist: list[scatterlist], sg: scatterlist) -> tuple[int, scatterlist]:
    """Put a vector within one page into one entry after `sg`. Returns (1, the entry)."""
    sg = blk_next_sg(sg, sglist)
    sg_set_page(sg, bv.bv_page, bv.bv_len, bv.bv_offset)
    return 1, sg


def __blk_segment_map_sg_merge(q: request_queue, bvec: bio_vec, bvprv: bio_vec, sg: scatterlist) -> bool:
    """Lengthen the last entry by a vector whose memory goes on from it, where a new bio begins; return whether."""
    if sg is None or sg.length + bvec.bv_len > q.limits.max_segment_size:
        return False
    if not biovec_phys_mergeable(q, bvprv, bvec):
        return False
    sg.length += bvec.bv_len
    return True


def __blk_bios_map_sg(q: request_queue, bio: bio, sglist: list[scatterlist],
                      sg: scatterlist) -> tuple[int, scatterlist]:
    """Put all memory of a request's bios into a scatterlist. Returns (the number of entries, the last)."""
    nsegs, bvprv = 0, NULL
    while bio is not None:
        new_bio = bvprv is not None
        for bvec in bio_for_each_bvec(bio):
            if not (new_bio and __blk_segment_map_sg_merge(q, bvec, bvprv, sg)):
                if bvec.bv_offset + bvec.bv_len <= PAGE_SIZE:
                    more, sg = __blk_bvec_map_sg(bvec, sglist, sg)
                else:
                    more, sg = blk_bvec_map_sg(q, bvec, sglist, sg)
                nsegs += more
            new_bio, bvprv = False, bvec
        bio = bio.bi_next
    return nsegs, sg


def blk_rq_map_sg(q: request_queue, rq: request, sglist: list[scatterlist]) -> int:
    """Put a request's memory into the scatterlist `sglist`. Returns the number of entries, at most its segments'."""
    sg, nsegs = NULL, 0
    if rq.rq_flags & RQF_SPECIAL_PAYLOAD:
        nsegs, sg = __blk_bvec_map_sg(rq.special_vec, sglist, sg)
    elif rq.bio is not None and bio_op(rq.bio) == REQ_OP_WRITE_SAME:
        nsegs, sg = __blk_bvec_map_sg(bio_iovec(rq.bio), sglist, sg)
    elif rq.bio is not None:
        nsegs, sg = __blk_bios_map_sg(q, rq.bio, sglist, sg)
    if sg is not None:
        sg_mark_end(sg)
    WARN_ON(nsegs > blk_rq_nr_phys_segments(rq), "a request has more segments than were counted")
    return nsegs


def blk_rq_get_max_segments(rq: request) -> int:
    """How many segments the request may grow to."""
    return queue_max_discard_segments(rq.q) if req_op(rq) == REQ_OP_DISCARD else queue_max_segments(rq.q)


def ll_new_hw_segment(req: request, bio: bio, nr_phys_segs: int) -> int:
    """Add a bio's segments to a request's, if it may have so many; return whether, as 1 or 0."""
    if req.nr_phys_segments + nr_phys_segs > blk_rq_get_max_segments(req):
        req_set_nomerge(req.q, req)
        return 0
    req.nr_phys_segments += nr_phys_segs
    return 1


def ll_back_merge_fn(req: request, bio: bio, nr_segs: int) -> int:
    """Whether the limits let a bio be appended; its segments are counted then."""
    if req_gap_back_merge(req, bio):
        return 0
    if blk_rq_sectors(req) + bio_sectors(bio) > blk_rq_get_max_sectors(req, req._sector):
        req_set_nomerge(req.q, req)
        return 0
    return ll_new_hw_segment(req, bio, nr_segs)


def ll_front_merge_fn(req: request, bio: bio, nr_segs: int) -> int:
    """Whether the limits let a bio be put in front; its segments are counted then."""
    if req_gap_front_merge(req, bio):
        return 0
    if blk_rq_sectors(req) + bio_sectors(bio) > blk_rq_get_max_sectors(req, bio.bi_iter.bi_sector):
        req_set_nomerge(req.q, req)
        return 0
    return ll_new_hw_segment(req, bio, nr_segs)


def req_attempt_discard_merge(q: request_queue, req: request, next: request) -> bool:
    """Whether a discard may take over another's ranges; they are counted then."""
    segments = blk_rq_nr_discard_segments(req)
    if (segments >= queue_max_discard_segments(q)
            or blk_rq_sectors(req) + bio_sectors(next.bio) > blk_rq_get_max_sectors(req, req._sector)):
        req_set_nomerge(q, req)
        return False
    req.nr_phys_segments = segments + blk_rq_nr_discard_segments(next)
    return True


def ll_merge_requests_fn(q: request_queue, req: request, next: request) -> int:
    """Whether the limits let one request swallow the next; its segments are counted then."""
    if req_gap_back_merge(req, next.bio):
        return 0
    if blk_rq_sectors(req) + blk_rq_sectors(next) > blk_rq_get_max_sectors(req, req._sector):
        return 0
    total_phys_segments = req.nr_phys_segments + next.nr_phys_segments
    if total_phys_segments > blk_rq_get_max_segments(req):
        return 0
    req.nr_phys_segments = total_phys_segments
    return 1


def blk_rq_set_mixed_merge(rq: request) -> None:
    """Let each bio of a request keep how it is to fail, as the request will have bios that differ in that."""
    failfast = rq.cmd_flags & REQ_FAILFAST_MASK
    if rq.rq_flags & RQF_MIXED_MERGE:
        return
    for each in bios_of(rq):
        WARN_ON_ONCE(each.bi_opf & REQ_FAILFAST_MASK and each.bi_opf & REQ_FAILFAST_MASK != failfast)
        each.bi_opf |= failfast
    rq.rq_flags |= RQF_MIXED_MERGE


def blk_account_io_merge(req: request) -> None:
    """A request that went into another is no longer in flight."""
    if blk_do_io_stat(req):
        part_stat_lock()
        genhd.part_dec_in_flight(req.q, req.part, rq_data_dir(req))
        hd_struct_put(req.part)
        part_stat_unlock()


def blk_discard_mergable(req: request) -> bool:
    """Whether it is a discard for a device that takes several ranges in one."""
    return req_op(req) == REQ_OP_DISCARD and queue_max_discard_segments(req.q) > 1


def blk_try_req_merge(req: request, next: request) -> int:
    """How a request can be joined to another by where they lie: an ELEVATOR_* constant."""
    if blk_discard_mergable(req):
        return ELEVATOR_DISCARD_MERGE
    return ELEVATOR_BACK_MERGE if req._sector + blk_rq_sectors(req) == next._sector else ELEVATOR_NO_MERGE


def attempt_merge(q: request_queue, req: request, next: request) -> request:
    """Move the bios of `next` to the end of `req`. Returns `next`, now empty, to be freed; None where they differ."""
    if not rq_mergeable(req) or not rq_mergeable(next):
        return NULL
    if req_op(req) != req_op(next) or rq_data_dir(req) != rq_data_dir(next) or req.rq_disk is not next.rq_disk:
        return NULL
    if (kind := blk_try_req_merge(req, next)) == ELEVATOR_DISCARD_MERGE:
        if not req_attempt_discard_merge(q, req, next):
            return NULL
    elif kind == ELEVATOR_BACK_MERGE:
        if not ll_merge_requests_fn(q, req, next):
            return NULL
    else:
        return NULL
    if ((req.rq_flags | next.rq_flags) & RQF_MIXED_MERGE
            or req.cmd_flags & REQ_FAILFAST_MASK != next.cmd_flags & REQ_FAILFAST_MASK):
        blk_rq_set_mixed_merge(req)
        blk_rq_set_mixed_merge(next)
    req.start_time_ns = min(req.start_time_ns, next.start_time_ns)
    req.biotail.bi_next = next.bio
    req.biotail = next.biotail
    req._data_len += next._data_len
    if not blk_discard_mergable(req):
        elevator.elv_merge_requests(q, req, next)
    blk_account_io_merge(next)
    next.bio = NULL
    return next


def attempt_back_merge(q: request_queue, rq: request) -> request:
    """Merge the request that the scheduler has after this one into it. Returns that one, to be freed, or None."""
    next = elevator.elv_latter_request(q, rq)
    return attempt_merge(q, rq, next) if next is not None else NULL


def attempt_front_merge(q: request_queue, rq: request) -> request:
    """Merge this request into the one before it. Returns this one, to be freed, or None."""
    prev = elevator.elv_former_request(q, rq)
    return attempt_merge(q, prev, rq) if prev is not None else NULL


def blk_attempt_req_merge(q: request_queue, rq: request, next: request) -> int:
    """Merge `next` into `rq` and free it; return whether, as 1 or 0."""
    if (free := attempt_merge(q, rq, next)) is None:
        return 0
    blk_core.blk_put_request(free)
    return 1


def blk_rq_merge_ok(rq: request, bio: bio) -> bool:
    """Whether a bio is of a request's kind, so that it could be part of it. (Priorities and hints are left out.)"""
    if not rq_mergeable(rq) or not bio_mergeable(bio):
        return False
    return req_op(rq) == bio_op(bio) and bio_data_dir(bio) == rq_data_dir(rq) and rq.rq_disk is bio.bi_disk


def blk_try_merge(rq: request, bio: bio) -> int:
    """How a bio can be joined to a request by where it lies: an ELEVATOR_* constant."""
    if blk_discard_mergable(rq):
        return ELEVATOR_DISCARD_MERGE
    sector = bio.bi_iter.bi_sector
    if rq._sector + blk_rq_sectors(rq) == sector:
        return ELEVATOR_BACK_MERGE
    return ELEVATOR_FRONT_MERGE if rq._sector - bio_sectors(bio) == sector else ELEVATOR_NO_MERGE
