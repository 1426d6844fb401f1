"""Bios and their vectors: where they come from, how pages are put in, how they are cut, chained and ended.

Passthrough of user memory (bio_map_user_iov(), bio_copy_user_iov()), integrity and cgroups are left out.
"""

from bisect import bisect_left
from typing import Any

from blkmodel.block import blk_core, genhd
from blkmodel.include.linux.blkdev import (BIO_CHAIN, BIO_CLONED, BIO_MAX_PAGES, BIO_NO_PAGE_REF, BIO_POOL_SIZE,
    BIO_REFFED, BIO_THROTTLED, BIO_TRACE_COMPLETION, BIOSET_NEED_BVECS, BVEC_POOL_IDX, BVEC_POOL_MAX, BVEC_POOL_OFFSET,
    REQ_OP_READ, REQ_SYNC, UINT_MAX, UIO_MAXIOV, bio as bio_struct, bio_advance_iter, bio_clear_flag, bio_flagged,
    bio_for_each_segment, bio_for_each_segment_all, bio_full, bio_inc_remaining, bio_kmalloc, bio_op, bio_sectors,
    bio_set, bio_set_flag, bio_vec, bvec_iter, copy_of, counters_of, hd_struct, op_is_write, op_stat_group,
    part_stat_get, part_stat_lock, part_stat_unlock, part_to_disk, queue_max_hw_sectors, queue_max_segments,
    request_queue)
from blkmodel.reference.omission import no_chapter
from blkmodel.services import (__GFP_DIRECT_RECLAIM, BUG_ON, EINVAL, ENOMEM, ERR_PTR, GFP_KERNEL, INIT_WORK, WARN_ON,
    WARN_ON_ONCE, PageDirty, __free_page, alloc_page, complete, completion, iov_iter, iov_iter_advance, iov_iter_count,
    iov_iter_get_pages, jiffies, jiffies_to_nsecs, kcalloc, kfree, kmem_cache, kmem_cache_alloc, kmem_cache_create,
    kmem_cache_destroy, kmem_cache_free, kzalloc, mempool, mempool_alloc, mempool_exit, mempool_free,
    mempool_init_slab_pool, mempool_initialized, offset_in_page, page, put_page, schedule_work, set_page_dirty,
    subsys_initcall, virt_to_page, wait_for_completion_io, work_struct)
from blkmodel.sim import NULL, PAGE_SIZE, Struct, address_of, sizeof, statics, wire

OMITTED = no_chapter("""__bio_iov_bvec_add_pages bio_alloc_rescue bio_copy_data bio_copy_data_iter bio_reset bio_trim
    bvec_nr_vecs punt_bios_to_rescuer""")

BIO_INLINE_VECS, PAGE_SHIFT, PAGE_MASK = 4, 12, ~(PAGE_SIZE - 1)
BVEC_SIZES = (1, 4, 16, 64, 128, BIO_MAX_PAGES)
BVEC_NAMES = ("biovec-1", "biovec-4", "biovec-16", "biovec-64", "biovec-128", "biovec-max")


class bio_slab(Struct, size=24):
    """A cache of bios of one size, and how many bio_sets use it."""

    slab: kmem_cache = NULL
    slab_ref: int = 0
    slab_size: int = 0
    name: str = ""


class variables(statics):
    """bvec_slabs: the caches of vector tables, by pool index. bio_slabs: the caches of bios; the kernel keeps them,
    and the first bio_set, for good. bio_dirty_list: bios that wait to have their pages dirtied again."""

    def __init__(self) -> None:
        self.bvec_slabs = [NULL] * len(BVEC_SIZES)
        self.fs_bio_set = bio_set()
        self.bio_slabs: Any = NULL
        self.bio_slab_nr = self.bio_slab_max = 0
        self.bio_dirty_list: Any = NULL
        self.bio_dirty_work = work_struct()
        INIT_WORK(self.bio_dirty_work, bio_dirty_fn, NULL)


def bio_find_or_create_slab(extra_size: int) -> kmem_cache:
    """Get the cache for bios with so many bytes around them, made where there is none; None on failure.

    A slot whose cache is gone is used again. A cache that a later failure leaves without users stays in no slot.
    """
    own, size, entry = variables(), sizeof(bio_struct) + extra_size, -1
    for i in range(own.bio_slab_nr):
        found = own.bio_slabs[i]
        if found.slab is None and entry == -1:
            entry = i
        elif found.slab_size == size:
            found.slab_ref += 1
            if found.slab is not None:
                return found.slab
            break
    if own.bio_slab_nr == own.bio_slab_max and entry == -1:
        if (larger := kcalloc(own.bio_slab_max << 1, bio_slab, GFP_KERNEL)) is None:
            return NULL
        larger[:own.bio_slab_max] = own.bio_slabs
        kfree(own.bio_slabs)
        own.bio_slab_max <<= 1
        own.bio_slabs = larger
    if entry == -1:
        entry = own.bio_slab_nr
        own.bio_slab_nr += 1
    found = own.bio_slabs[entry]
    found.name = f"bio-{entry}"
    if (slab := kmem_cache_create(found.name, size, bio_struct)) is None:
        return NULL
    found.slab, found.slab_ref, found.slab_size = slab, 1, size
    return slab


def bio_put_slab(bs: bio_set) -> None:
    """Let a bio_set's cache go; the last user destroys it."""
    own = variables()
    for found in own.bio_slabs[:own.bio_slab_nr]:
        if found.slab is bs.bio_slab:
            break
    else:
        WARN_ON(True, "bio: unable to find slab!")
        return
    WARN_ON(not found.slab_ref)
    found.slab_ref -= 1
    if found.slab_ref == 0:
        kmem_cache_destroy(found.slab)
        found.slab = NULL


def bvec_free(pool: mempool, bv: list[bio_vec], idx: int) -> None:
    """Give a table of vectors back to where it is from: the largest to the mempool, 0 is the bio's own."""
    if not idx:
        return
    idx -= 1
    BUG_ON(idx > BVEC_POOL_MAX)
    if idx == BVEC_POOL_MAX:
        mempool_free(bv, pool)
    else:
        kmem_cache_free(variables().bvec_slabs[idx], bv)


def bvec_alloc(gfp_mask: int, nr: int, pool: mempool) -> tuple[list[bio_vec], int]:
    """Allocate a table for `nr` vectors. Returns (table, pool index from 1); (None, 0) on failure.

    A table of a smaller size that is not to be had becomes one of the largest, which the mempool has in reserve,
    if the caller may sleep.
    """
    if not 0 < nr <= BIO_MAX_PAGES:
        return NULL, 0
    if (idx := bisect_left(BVEC_SIZES, nr)) != BVEC_POOL_MAX:
        table = kmem_cache_alloc(variables().bvec_slabs[idx], gfp_mask & ~__GFP_DIRECT_RECLAIM)
        if table is None and gfp_mask & __GFP_DIRECT_RECLAIM:
            idx = BVEC_POOL_MAX
    if idx == BVEC_POOL_MAX:
        table = mempool_alloc(pool, gfp_mask)
    return (table.make(nr), idx + 1) if table is not None else (NULL, 0)


def bio_uninit(bio: bio_struct) -> None:
    """Free what hangs on a bio: here nothing, as there are neither cgroups nor integrity data.

    A compiler sees that, and drops the calls from within this file; so does the model.
    """


def bio_free(bio: bio_struct) -> None:
    """Free a bio, with its vectors, to where it is from."""
    bs = bio.bi_pool
    if bs is not None:
        bvec_free(bs.bvec_pool, bio.bi_io_vec, BVEC_POOL_IDX(bio))
        bio.bi_io_vec = bio._front = NULL
        mempool_free(bio, bs.bio_pool)
    else:
        kfree(bio)


def bio_init(bio: bio_struct, table: list[bio_vec], max_vecs: int) -> None:
    """Make a bio empty, with a table for `max_vecs` vectors."""
    bio.bi_next = bio.bi_disk = bio.bi_end_io = bio.bi_private = bio.bi_pool = NULL
    bio.bi_opf = bio.bi_flags = bio.bi_status = bio.bi_partno = bio.bi_vcnt = 0
    at = bio.bi_iter
    at.bi_sector = at.bi_size = at.bi_idx = at.bi_bvec_done = 0
    bio._bi_remaining = bio._bi_cnt = 1
    bio.bi_io_vec, bio.bi_max_vecs = table, max_vecs


def __bio_chain_endio(bio: bio_struct) -> bio_struct:
    """A chained bio has ended: hand its error to its parent, which is returned."""
    parent = bio.bi_private
    if bio.bi_status and not parent.bi_status:
        parent.bi_status = bio.bi_status
    bio_put(bio)
    return parent


def bio_chain_endio(bio: bio_struct) -> None:
    """End of a chained bio. bio_endio() sees it coming and loops instead, so that a long chain needs no stack."""
    bio_endio(__bio_chain_endio(bio))


def bio_chain(bio: bio_struct, parent: bio_struct) -> None:
    """Let `parent` end no sooner than `bio`, and with its error."""
    BUG_ON(bio.bi_private or bio.bi_end_io)
    bio.bi_private, bio.bi_end_io = parent, bio_chain_endio
    bio_inc_remaining(parent)


def bio_alloc_bioset(gfp_mask: int, nr_iovecs: int, bs: bio_set) -> bio_struct:
    """Allocate a bio for up to `nr_iovecs` vectors, from a bio_set or (None) from the heap; None on failure.

    If the caller may sleep, a bio_set always has a bio in the end.
    """
    if bs is None:
        if nr_iovecs > UIO_MAXIOV:
            return NULL
        bio = kzalloc(bio_struct, gfp_mask, sizeof(bio_struct) + nr_iovecs * sizeof(bio_vec))
        inline_vecs = nr_iovecs
    else:
        if WARN_ON_ONCE(nr_iovecs > 0 and not mempool_initialized(bs.bvec_pool)):
            return NULL
        # Left out: the rescuer, to whom a task that submits from within a submission hands its bios before it waits
        # for this pool. It is for bio_sets with BIOSET_NEED_RESCUER, of which the model has none.
        bio, inline_vecs = mempool_alloc(bs.bio_pool, gfp_mask), BIO_INLINE_VECS
    if bio is None:
        return NULL
    bio_init(bio, NULL, 0)
    table = NULL
    if nr_iovecs > inline_vecs:
        table, idx = bvec_alloc(gfp_mask, nr_iovecs, bs.bvec_pool)
        if table is None:
            mempool_free(bio, bs.bio_pool)
            return NULL
        bio.bi_flags |= idx << BVEC_POOL_OFFSET
    elif nr_iovecs:
        table = [bio_vec() for _ in range(nr_iovecs)]
    bio.bi_pool, bio.bi_max_vecs, bio.bi_io_vec = bs, nr_iovecs, table
    return bio


def zero_fill_bio_iter(bio: bio_struct, start: bvec_iter) -> None:
    """Zero the memory of a bio from the position `start` on."""
    at = bio.bi_iter
    bio.bi_iter = start
    for bv in bio_for_each_segment(bio):
        bv.bv_page.write(bv.bv_offset, bytes(bv.bv_len))
    bio.bi_iter = at


def bio_truncate(bio: bio_struct, new_size: int) -> None:
    """Shorten a bio to `new_size` bytes; the memory that a read no longer reaches is zeroed."""
    if new_size >= bio.bi_iter.bi_size:
        return
    if bio_op(bio) == REQ_OP_READ:
        done = 0
        for bv in bio_for_each_segment(bio):
            if done + bv.bv_len > new_size:
                offset = max(new_size - done, 0)
                # 5.4: counts from the page's start, also where the vector begins within the page. So does the model.
                bv.bv_page.write(offset, bytes(bv.bv_len - offset))
            done += bv.bv_len
    bio.bi_iter.bi_size = new_size


def bio_put(bio: bio_struct) -> None:
    """Drop a reference; the last one frees the bio."""
    if bio_flagged(bio, BIO_REFFED):
        BUG_ON(not bio._bi_cnt)
        bio._bi_cnt -= 1
        if bio._bi_cnt:
            return
    bio_free(bio)


def __bio_clone_fast(bio: bio_struct, bio_src: bio_struct) -> None:
    """Make an empty bio one for the same sectors as another, using its vectors, which must outlive it."""
    BUG_ON(bio.bi_pool is not None and BVEC_POOL_IDX(bio))
    bio.bi_disk, bio.bi_partno = bio_src.bi_disk, bio_src.bi_partno
    bio_set_flag(bio, BIO_CLONED)
    if bio_flagged(bio_src, BIO_THROTTLED):
        bio_set_flag(bio, BIO_THROTTLED)
    bio.bi_opf = bio_src.bi_opf
    bio.bi_iter = copy_of(bio_src.bi_iter)
    bio.bi_io_vec = bio_src.bi_io_vec


def bio_clone_fast(bio: bio_struct, gfp_mask: int, bs: bio_set) -> bio_struct:
    """Allocate a bio that shares another's vectors; None on failure."""
    if (clone := bio_alloc_bioset(gfp_mask, 0, bs)) is None:
        return NULL
    __bio_clone_fast(clone, bio)
    return clone


def page_is_mergeable(bv: bio_vec, page: page, length: int, offset: int) -> tuple[bool, bool]:
    """Whether memory goes on where a vector ends. Returns (that, whether in the vector's own last page)."""
    end, addr = bv.bv_page._addr + bv.bv_offset + bv.bv_len, page._addr
    if end != addr + offset:
        return False, False
    return True, (end - 1) & PAGE_MASK == addr


def __bio_add_pc_page(q: request_queue, bio: bio_struct, page: page, length: int, offset: int) -> int:
    """Add memory to a passthrough bio, within the queue's limits. Returns `length`, or 0 where it can't be.

    That it may go on where the last vector ends is left out: all that a driver of the model passes is within a page.
    """
    if bio_flagged(bio, BIO_CLONED) or bio.bi_iter.bi_size + length >> 9 > queue_max_hw_sectors(q):
        return 0
    if bio_full(bio, length) or bio.bi_vcnt >= queue_max_segments(q):
        return 0
    bv = bio.bi_io_vec[bio.bi_vcnt]
    bv.bv_page, bv.bv_len, bv.bv_offset = page, length, offset
    bio.bi_vcnt += 1
    bio.bi_iter.bi_size += length
    return length


def bio_add_pc_page(q: request_queue, bio: bio_struct, page: page, length: int, offset: int) -> int:
    """Add memory to a passthrough bio, within the queue's limits. Returns `length`, or 0 where it can't be added."""
    return __bio_add_pc_page(q, bio, page, length, offset)


def __bio_try_merge_page(bio: bio_struct, page: page, length: int, off: int) -> tuple[bool, bool]:
    """Lengthen the bio's last vector where the memory goes on from it. Returns (whether, whether in the same page)."""
    if bio.bi_flags & 1 << BIO_CLONED:
        WARN_ON_ONCE(True, "adding to a clone")
        return False, False
    if bio.bi_vcnt > 0:
        bv = bio.bi_io_vec[bio.bi_vcnt - 1]
        mergeable, same_page = page_is_mergeable(bv, page, length, off)
        if mergeable:
            if bio.bi_iter.bi_size > UINT_MAX - length:
                return False, False
            bv.bv_len += length
            bio.bi_iter.bi_size += length
            return True, same_page
    return False, False


def __bio_add_page(bio: bio_struct, page: page, length: int, off: int) -> None:
    """Put memory into the bio's next vector, which must be free."""
    WARN_ON_ONCE(bio_flagged(bio, BIO_CLONED) or bio_full(bio, length))
    bv = bio.bi_io_vec[bio.bi_vcnt]
    bv.bv_page, bv.bv_offset, bv.bv_len = page, off, length
    bio.bi_iter.bi_size += length
    bio.bi_vcnt += 1


def bio_add_page(bio: bio_struct, page: page, length: int, offset: int) -> int:
    """Add `length` bytes of memory to a bio. Returns `length`, or 0 where the bio is full."""
    merged, _ = __bio_try_merge_page(bio, page, length, offset)
    if not merged:
        if bio_full(bio, length):
            return 0
        __bio_add_page(bio, page, length, offset)
    return length


def bio_release_pages(bio: bio_struct, mark_dirty: bool) -> None:
    """Let go of the pages that bio_iov_iter_get_pages() took; those that were read into are dirty now."""
    if bio_flagged(bio, BIO_NO_PAGE_REF):
        return
    for bv in bio_for_each_segment_all(bio):
        if mark_dirty:
            set_page_dirty(bv.bv_page)
        put_page(bv.bv_page)


def __bio_iov_iter_get_pages(bio: bio_struct, iter: iov_iter) -> int:
    """Hold the buffer's next pages, as many as the bio has vectors for, and add them. Returns 0 or -errno."""
    pages, size, offset = iov_iter_get_pages(iter, bio.bi_max_vecs - bio.bi_vcnt)
    if size <= 0:
        return size
    left = size
    for held in pages:
        length = min(PAGE_SIZE - offset, left)
        merged, same_page = __bio_try_merge_page(bio, held, length, offset)
        if merged:
            if same_page:
                put_page(held)
        else:
            if WARN_ON_ONCE(bio_full(bio, length)):
                return -EINVAL
            __bio_add_page(bio, held, length, offset)
        left -= length
        offset = 0
    iov_iter_advance(iter, size)
    return 0


def bio_iov_iter_get_pages(bio: bio_struct, iter: iov_iter) -> int:
    """Fill an empty bio with a buffer's pages, until one of the two is used up. Returns 0, or -errno for none."""
    if WARN_ON_ONCE(bio.bi_vcnt):
        return -EINVAL
    # Left out: buffers of kernel memory (iov_iter_is_bvec()), whose pages need not be held.
    while True:
        if (ret := __bio_iov_iter_get_pages(bio, iter)) or not iov_iter_count(iter) or bio_full(bio, 0):
            return 0 if bio.bi_vcnt else ret


def submit_bio_wait_endio(bio: bio_struct) -> None:
    """Wake who waits for the bio."""
    complete(bio.bi_private)


def submit_bio_wait(bio: bio_struct) -> int:
    """Submit a bio and wait for its end. Returns 0 or -errno."""
    done = completion()
    bio.bi_private, bio.bi_end_io = done, submit_bio_wait_endio
    bio.bi_opf |= REQ_SYNC
    blk_core.submit_bio(bio)
    wait_for_completion_io(done)
    return blk_core.blk_status_to_errno(bio.bi_status)


def bio_advance(bio: bio_struct, bytes: int) -> None:
    """Move a bio so many bytes on."""
    bio_advance_iter(bio, bio.bi_iter, bytes)


def bio_free_pages(bio: bio_struct) -> None:
    """Free all pages of a bio that owns them."""
    for bv in bio_for_each_segment_all(bio):
        __free_page(bv.bv_page)


def bio_map_kern_endio(bio: bio_struct) -> None:
    """End of a bio that used the kernel's memory as it was."""
    bio_put(bio)


def bio_map_kern(q: request_queue, data: Any, length: int, gfp_mask: int) -> bio_struct:
    """Make a bio of kernel memory, a structure or an array. Returns it, or ERR_PTR(-errno)."""
    kaddr = data._addr
    end, start = kaddr + length + PAGE_SIZE - 1 >> PAGE_SHIFT, kaddr >> PAGE_SHIFT
    nr_pages = end - start
    if (bio := bio_kmalloc(gfp_mask, nr_pages)) is None:
        return ERR_PTR(-ENOMEM)
    offset = offset_in_page(kaddr)
    for _ in range(nr_pages):
        if length <= 0:
            break
        count = min(PAGE_SIZE - offset, length)
        if bio_add_pc_page(q, bio, virt_to_page(kaddr), count, offset) < count:
            bio_put(bio)
            return ERR_PTR(-EINVAL)
        kaddr += count
        length -= count
        offset = 0
    bio.bi_end_io = bio_map_kern_endio
    return bio


def bio_copy_kern_endio(bio: bio_struct) -> None:
    """End of a bio with a copy of the kernel's memory: free the copy."""
    bio_free_pages(bio)
    bio_put(bio)


def bio_copy_kern_endio_read(bio: bio_struct) -> None:
    """End of a read into a copy of the kernel's memory: put what was read where it was wanted, and free the copy."""
    read = b"".join(bv.bv_page.read(bv.bv_offset, bv.bv_len) for bv in bio_for_each_segment_all(bio))
    wire.poke(bio.bi_private, 0, read)
    bio_copy_kern_endio(bio)


def bio_copy_kern(q: request_queue, data: Any, length: int, gfp_mask: int, reading: int) -> bio_struct:
    """Make a bio with a copy of kernel memory that a device can't use as it is. Returns it, or ERR_PTR(-errno)."""
    kaddr = address_of(data)
    end, start = kaddr + length + PAGE_SIZE - 1 >> PAGE_SHIFT, kaddr >> PAGE_SHIFT
    if end < start:
        return ERR_PTR(-EINVAL)
    if (bio := bio_kmalloc(gfp_mask, end - start)) is None:
        return ERR_PTR(-ENOMEM)
    done = 0
    while done < length:
        count = min(PAGE_SIZE, length - done)
        if (page := alloc_page(q.bounce_gfp | gfp_mask)) is None:
            bio_free_pages(bio)
            bio_put(bio)
            return ERR_PTR(-ENOMEM)
        if not reading:
            page.write(0, wire.peek(data, done, count))
        if bio_add_pc_page(q, bio, page, count, 0) < count:
            break  # 5.4: forgets the page that did not fit; nobody frees it.
        done += count
    if reading:
        bio.bi_end_io, bio.bi_private = bio_copy_kern_endio_read, data
    else:
        bio.bi_end_io = bio_copy_kern_endio
    return bio


def bio_set_pages_dirty(bio: bio_struct) -> None:
    """Mark a bio's pages as changed, before the device changes them."""
    for bv in bio_for_each_segment_all(bio):
        set_page_dirty(bv.bv_page)


def bio_dirty_fn(work: work_struct) -> None:
    """Do what bio_check_pages_dirty() could not do in an interrupt."""
    own = variables()
    bio, own.bio_dirty_list = own.bio_dirty_list, NULL
    while bio is not None:
        following = bio.bi_private
        bio_release_pages(bio, True)
        bio_put(bio)
        bio = following


def bio_check_pages_dirty(bio: bio_struct) -> None:
    """Let a finished read's pages and the bio go; a page that was cleaned meanwhile is dirtied again, by a worker."""
    own = variables()
    for bv in bio_for_each_segment_all(bio):
        if not PageDirty(bv.bv_page):
            bio.bi_private = own.bio_dirty_list
            own.bio_dirty_list = bio
            schedule_work(own.bio_dirty_work)
            return
    bio_release_pages(bio, False)
    bio_put(bio)


def update_io_ticks(part: hd_struct, now: int, end: bool) -> None:
    """Count the ticks in which a partition, and the disk it is on, had I/O. `end`: the I/O ends now."""
    while True:
        stamp = part.stamp
        if stamp != now:
            part.stamp = now
            # 5.4: where an I/O begins, one tick stands for all since the stamp, though others may have been under way.
            part_stat_get(part).io_ticks += now - stamp if end else 1
        if not part.partno:
            return
        part = part_to_disk(part).part0


def generic_start_io_acct(q: request_queue, op: int, sectors: int, part: hd_struct) -> None:
    """Account the start of a bio of a driver that has no requests."""
    group = op_stat_group(op)
    part_stat_lock()
    update_io_ticks(part, jiffies(), False)
    for stats in counters_of(part):
        stats.ios[group] += 1
        stats.sectors[group] += sectors
    genhd.part_inc_in_flight(q, part, int(op_is_write(op)))
    part_stat_unlock()


def generic_end_io_acct(q: request_queue, req_op: int, part: hd_struct, start_time: int) -> None:
    """Account the end of a bio of a driver that has no requests; start_time is the tick (jiffy) of its start."""
    now = jiffies()
    group = op_stat_group(req_op)
    part_stat_lock()
    update_io_ticks(part, now, True)
    for stats in counters_of(part):
        stats.nsecs[group] += jiffies_to_nsecs(now - start_time)
        stats.time_in_queue += now - start_time
    genhd.part_dec_in_flight(q, part, int(op_is_write(req_op)))
    part_stat_unlock()


def bio_remaining_done(bio: bio_struct) -> bool:
    """Whether nothing is left for this bio to wait for, one thing less than before being left."""
    if not bio_flagged(bio, BIO_CHAIN):
        return True
    BUG_ON(bio._bi_remaining <= 0)
    bio._bi_remaining -= 1
    if bio._bi_remaining:
        return False
    bio_clear_flag(bio, BIO_CHAIN)
    return True


def bio_endio(bio: bio_struct) -> None:
    """End a bio; with bi_status as its error. When nothing chained to it is left, its owner is told."""
    while True:
        if not bio_remaining_done(bio):
            return
        if bio.bi_end_io is not bio_chain_endio:
            break
        bio = __bio_chain_endio(bio)
    if bio.bi_disk is not None and bio_flagged(bio, BIO_TRACE_COMPLETION):
        blk_core.blk_status_to_errno(bio.bi_status)  # recorder: for a trace point, also while it is off
        bio_clear_flag(bio, BIO_TRACE_COMPLETION)
    if bio.bi_end_io is not None:
        bio.bi_end_io(bio)


def bio_split(bio: bio_struct, sectors: int, gfp: int, bs: bio_set) -> bio_struct:
    """Cut the first `sectors` off a bio: they become a new bio, which shares its vectors; None on failure."""
    BUG_ON(sectors <= 0)
    BUG_ON(sectors >= bio_sectors(bio))
    if (split := bio_clone_fast(bio, gfp, bs)) is None:
        return NULL
    split.bi_iter.bi_size = sectors << 9
    bio_advance(bio, split.bi_iter.bi_size)
    if bio_flagged(bio, BIO_TRACE_COMPLETION):
        bio_set_flag(split, BIO_TRACE_COMPLETION)
    return split


def biovec_init_pool(pool: mempool, pool_entries: int) -> int:
    """Set up a reserve of the largest vector tables. Returns 0 or -ENOMEM."""
    return mempool_init_slab_pool(pool, pool_entries, variables().bvec_slabs[BVEC_POOL_MAX])


def bioset_exit(bs: bio_set) -> None:
    """Free what a bio_set holds. One that was set up in part, or not at all, is as good."""
    mempool_exit(bs.bio_pool)
    mempool_exit(bs.bvec_pool)
    if bs.bio_slab is not None:
        bio_put_slab(bs)
    bs.bio_slab = NULL


def bioset_init(bs: bio_set, pool_size: int, front_pad: int, flags: int) -> int:
    """Set up a bio_set with `pool_size` bios in reserve. Returns 0, or -ENOMEM with nothing left allocated."""
    back_pad = BIO_INLINE_VECS * sizeof(bio_vec)
    bs.front_pad = front_pad
    bs.bio_slab = bio_find_or_create_slab(front_pad + back_pad)
    if bs.bio_slab is None:
        return -ENOMEM
    if mempool_init_slab_pool(bs.bio_pool, pool_size, bs.bio_slab) == 0:
        if not flags & BIOSET_NEED_BVECS or biovec_init_pool(bs.bvec_pool, pool_size) == 0:
            return 0
    bioset_exit(bs)
    return -ENOMEM


def bioset_init_from_src(bs: bio_set, src: bio_set) -> int:
    """Set up a bio_set like another. Returns 0 or -ENOMEM."""
    return bioset_init(bs, src.bio_pool.min_nr, src.front_pad, BIOSET_NEED_BVECS if src.bvec_pool.min_nr else 0)


def biovec_init_slabs() -> None:
    """Make the caches of vector tables, but for the sizes that are within a bio itself."""
    own = variables()
    for i, (name, nr_vecs) in enumerate(zip(BVEC_NAMES, BVEC_SIZES, strict=True)):
        if nr_vecs > BIO_INLINE_VECS:
            own.bvec_slabs[i] = kmem_cache_create(name, nr_vecs * sizeof(bio_vec), bio_vec, nr_vecs)


def init_bio() -> int:
    """At boot: make the caches, and the bio_set that file systems use."""
    own = variables()
    own.bio_slab_max, own.bio_slab_nr = 2, 0
    own.bio_slabs = kcalloc(own.bio_slab_max, bio_slab, GFP_KERNEL)
    biovec_init_slabs()
    return bioset_init(own.fs_bio_set, BIO_POOL_SIZE, 0, BIOSET_NEED_BVECS)


subsys_initcall(init_bio)
