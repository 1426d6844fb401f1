"""The page cache, and reading and writing files through it or past it (include/linux/pagemap.h, mm/filemap.c,
mm/truncate.c, mm/page-writeback.c, fs.h)."""

from __future__ import annotations

from typing import Any

from blkmodel.services.base import EAGAIN, EBUSY, EEXIST, EINTR, EIO, ENOMEM, ERR_PTR, IS_ERR, PTR_ERR, linked
from blkmodel.services.files.file import IOCB_DIRECT, IOCB_DSYNC, IOCB_NOWAIT, file, kiocb
from blkmodel.services.files.inode import LLONG_MAX, address_space, i_size_read, writeback_control
from blkmodel.services.files.readahead import page_cache_async_readahead, page_cache_sync_readahead
from blkmodel.services.files.uio import (copy_to_iter, iov_iter, iov_iter_advance, iov_iter_copy_from_user_atomic,
    iov_iter_count, iov_iter_revert)
from blkmodel.services.memory.mm import (PageDirty, PageLocked, PagePrivate, PageReadahead, PageUptodate, PG_dirty,
    PG_error, PG_locked, PG_uptodate, __page_cache_alloc, clear_page_flag, get_page, page, put_page, set_page_flag)
from blkmodel.services.memory.slab import GFP_KERNEL
from blkmodel.services.tasks import fatal_signal_pending, wait_on_bit, wake_up_bit
from blkmodel.sim import NULL, PAGE_SIZE, this


def lock_page(page: page) -> None:
    while PageLocked(page):
        wait_on_bit(page, PG_locked, lambda: PageLocked(page), "a page's lock")
    set_page_flag(page, PG_locked)


def unlock_page(page: page) -> None:
    clear_page_flag(page, PG_locked)
    wake_up_bit(page, PG_locked)


def wait_on_page_locked(page: page) -> None:
    wait_on_bit(page, PG_locked, lambda: PageLocked(page), "a page to be read or written")


def add_to_page_cache(page: page, mapping: address_space, index: int) -> int:
    """Cache a new page, locked. The cache holds it. Returns 0, or -EEXIST where it has one for that place."""
    if index in mapping.pages:
        return -EEXIST
    set_page_flag(page, PG_locked)
    get_page(page)
    page.mapping, page.index = mapping, index
    mapping.pages[index] = page
    mapping.nrpages += 1
    return 0


def page_endio(page: page, is_write: bool, err: int) -> None:
    """A page was read, or not. (One that was written is told of elsewhere.)"""
    set_page_flag(page, PG_error if err else PG_uptodate)
    unlock_page(page)


def find_get_page(mapping: address_space, index: int) -> page:
    """The page that is cached for an index, with a reference; None where none is."""
    if (page := mapping.pages.get(index, NULL)) is not None:
        get_page(page)
    return page


def delete_from_page_cache(page: page) -> None:
    """Cache a page no more, and let it go."""
    del page.mapping.pages[page.index]
    page.mapping.nrpages -= 1
    page.mapping = NULL
    put_page(page)


def read_mapping_page(mapping: address_space, index: int, data: Any) -> page:
    """The page at an index, read if it is not cached, with a reference. Returns an error pointer on failure."""
    if (page := mapping.pages.get(index)) is None:
        if (page := __page_cache_alloc(GFP_KERNEL)) is None:
            return ERR_PTR(-ENOMEM)
        add_to_page_cache(page, mapping, index)
    else:
        get_page(page)
        if PageUptodate(page):
            return page
        lock_page(page)
        if PageUptodate(page):
            unlock_page(page)
            return page
        clear_page_flag(page, PG_error)  # the error may have been of the moment
    if (error := mapping.a_ops.readpage(data, page)) < 0:
        put_page(page)
        return ERR_PTR(error)
    wait_on_page_locked(page)
    if not PageUptodate(page):
        put_page(page)
        return ERR_PTR(-EIO)
    return page


def filemap_range_has_page(mapping: address_space, start: int, end: int) -> bool:
    """Whether any page is cached that bytes `start` to `end` are in."""
    return any(start // PAGE_SIZE <= index <= end // PAGE_SIZE for index in mapping.pages)


def generic_writepages(mapping: address_space, wbc: writeback_control) -> int:
    """Begin to write changed pages back, behind a plug. Returns 0 or -errno."""
    plug = linked.blk_plug()
    linked.blk_start_plug(plug)
    ret = write_cache_pages(mapping, wbc)
    linked.blk_finish_plug(plug)
    return ret


def write_cache_pages(mapping: address_space, wbc: writeback_control) -> int:
    """Begin to write changed pages back, in the order of their index. Returns 0 or -errno."""
    ret = 0
    for changed in _dirty_pages(mapping, wbc):
        if PageDirty(changed):
            lock_page(changed)
            if changed.mapping is not mapping or not PageDirty(changed):
                unlock_page(changed)
                continue
            clear_page_flag(changed, PG_dirty)
            ret = mapping.a_ops.writepage(changed, wbc) or ret
    return ret


def _dirty_pages(mapping: address_space, wbc: writeback_control) -> list[page]:
    first, last = wbc.range_start // PAGE_SIZE, wbc.range_end // PAGE_SIZE
    return sorted((page for index, page in mapping.pages.items() if first <= index <= last and PageDirty(page)),
                  key=lambda page: page.index)


def filemap_write_and_wait_range(mapping: address_space, lstart: int, lend: int) -> int:
    """Write back the changed pages that bytes `lstart` to `lend` are in, and wait. Returns 0 or -errno."""
    wbc = writeback_control(lstart, lend)
    written = _dirty_pages(mapping, wbc)
    if any(PageDirty(page) for page in mapping.pages.values()):
        mapping.a_ops.writepages(mapping, wbc)
    for each in written:
        wait_on_page_locked(each)
    return -EIO if any(buffer.write_error for each in written if PagePrivate(each) for buffer in each.private) else 0


def filemap_write_and_wait(mapping: address_space) -> int:
    """Write all changed pages back, and wait. Returns 0 or -errno."""
    return filemap_write_and_wait_range(mapping, 0, LLONG_MAX)


filemap_flush = filemap_write_and_wait


def try_to_release_page(page: page, gfp: int) -> int:
    """Let what a page's owner hung on it go; return whether that was done."""
    return page.mapping.a_ops.releasepage(page, gfp)


def truncate_inode_pages_range(mapping: address_space, start: int, end: int) -> None:
    """Drop all cached pages from byte `start` to `end` (-1: to the last), changed or not. A page of which only a part
    is within stays, and that part is zeroed."""
    for cached in sorted(mapping.pages.values(), key=lambda page: page.index):
        first = max(start - cached.index * PAGE_SIZE, 0)
        behind = PAGE_SIZE if end == -1 else min(end + 1 - cached.index * PAGE_SIZE, PAGE_SIZE)
        if first >= behind:
            continue
        if behind - first < PAGE_SIZE:
            cached.write(first, bytes(behind - first))
            continue
        lock_page(cached)
        if PagePrivate(cached):
            linked.block_invalidatepage(cached)
            try_to_release_page(cached, 0)
        clear_page_flag(cached, PG_dirty)
        unlock_page(cached)
        delete_from_page_cache(cached)


def truncate_inode_pages(mapping: address_space, start: int) -> None:
    truncate_inode_pages_range(mapping, start, -1)


truncate_inode_pages_final = truncate_inode_pages


def invalidate_mapping_pages(mapping: address_space, start: int, end: int) -> int:
    """Drop the cached pages from index `start` to `end` (-1: to the last) that nobody uses or has changed. Returns how
    many."""
    return _invalidate(mapping, start, end)[0]


def invalidate_inode_pages2_range(mapping: address_space, start: int, end: int) -> int:
    """Drop the cached pages from index `start` to `end` that nobody uses or has changed. Returns 0, or -EBUSY where a
    page stayed."""
    if not mapping.nrpages:
        return 0
    return -EBUSY if _invalidate(mapping, start, end)[1] else 0


def _invalidate(mapping: address_space, start: int, end: int) -> tuple[int, int]:
    dropped = kept = 0
    for cached in sorted(mapping.pages.values(), key=lambda page: page.index):
        if cached.index < start or (end != -1 and cached.index > end):
            continue
        if (PageDirty(cached) or PageLocked(cached) or cached.refcount > 1 + PagePrivate(cached)
                or (PagePrivate(cached) and not try_to_release_page(cached, GFP_KERNEL))):
            kept += 1
            continue
        delete_from_page_cache(cached)
        dropped += 1
    return dropped, kept


def generic_file_read_iter(iocb: kiocb, iter: iov_iter) -> int:
    """Read into a buffer, past the page cache (IOCB_DIRECT) or through it. Returns how many bytes, or -errno."""
    if not (count := iter.count):
        return 0
    done = 0
    if iocb.ki_flags & IOCB_DIRECT:
        mapping = iocb.ki_filp.f_mapping
        size = mapping.host.i_size
        if iocb.ki_flags & IOCB_NOWAIT:
            if filemap_range_has_page(mapping, iocb.ki_pos, iocb.ki_pos + count - 1):
                return -EAGAIN
        elif mapping.nrpages and (error := filemap_write_and_wait_range(mapping, iocb.ki_pos,
                                                                        iocb.ki_pos + count - 1)):
            return error
        if (done := mapping.a_ops.direct_IO(iocb, iter)) >= 0:
            iocb.ki_pos += done
            count -= done
        if count != iter.count:
            iov_iter_revert(iter, count - iter.count)
        if done < 0 or not count or iocb.ki_pos >= size:
            return done
    return generic_file_buffered_read(iocb, iter, done)


def generic_file_buffered_read(iocb: kiocb, iter: iov_iter, written: int) -> int:
    """Read through the page cache. `written` bytes were read before. Returns how many in all, or -errno."""
    filp, ra = iocb.ki_filp, iocb.ki_filp.f_ra
    mapping = filp.f_mapping
    last_index = -(-(iocb.ki_pos + iov_iter_count(iter)) // PAGE_SIZE)
    size, error, prev_pos = i_size_read(mapping.host), 0, ra.prev_pos
    while iov_iter_count(iter) and iocb.ki_pos < size:
        index, offset = divmod(iocb.ki_pos, PAGE_SIZE)
        if index not in mapping.pages and not iocb.ki_flags & IOCB_NOWAIT:
            page_cache_sync_readahead(mapping, ra, filp, index, last_index - index)
        if (cached := mapping.pages.get(index)) is not None and PageReadahead(cached):
            page_cache_async_readahead(mapping, ra, filp, cached, index, last_index - index)
        if iocb.ki_flags & IOCB_NOWAIT and (cached is None or not PageUptodate(cached)):
            error = -EAGAIN
            break
        if IS_ERR(page := read_mapping_page(mapping, index, filp)):
            error = PTR_ERR(page)
            break
        count = min(PAGE_SIZE - offset, iov_iter_count(iter), size - iocb.ki_pos)
        copy_to_iter(page.read(offset, count), iter)
        put_page(page)
        iocb.ki_pos += count
        prev_pos = index * PAGE_SIZE + iocb.ki_pos % PAGE_SIZE
        written += count
    ra.prev_pos = prev_pos
    return written or error


def generic_file_direct_write(iocb: kiocb, iter: iov_iter) -> int:
    """Write a buffer past the page cache, and drop what it has of the place. Returns how many bytes, or -errno."""
    mapping, pos, write_len = iocb.ki_filp.f_mapping, iocb.ki_pos, iov_iter_count(iter)
    start, end = pos // PAGE_SIZE, (pos + write_len - 1) // PAGE_SIZE
    if iocb.ki_flags & IOCB_NOWAIT:
        if filemap_range_has_page(mapping, pos, pos + write_len - 1):
            return -EAGAIN
    elif error := filemap_write_and_wait_range(mapping, pos, pos + write_len - 1):
        return error
    if mapping.nrpages and (error := invalidate_inode_pages2_range(mapping, start, end)):
        return 0 if error == -EBUSY else error
    written = mapping.a_ops.direct_IO(iocb, iter)
    if mapping.nrpages:
        invalidate_inode_pages2_range(mapping, start, end)
    if written > 0:
        iocb.ki_pos = pos + written
        write_len -= written
    iov_iter_revert(iter, write_len - iter.count)
    return written


def generic_write_sync(iocb: kiocb, count: int) -> int:
    """What was written is to be on the medium, if its writer asked for that (IOCB_DSYNC). Returns `count` or -errno."""
    if iocb.ki_flags & IOCB_DSYNC:
        if ret := iocb.ki_filp.f_op.fsync(iocb.ki_filp, iocb.ki_pos - count, iocb.ki_pos - 1, 1):
            return ret
    return count


def generic_perform_write(filp: file, iter: iov_iter, pos: int) -> int:
    """Write a buffer into the page cache, page by page. Returns how many bytes, or -errno."""
    a_ops, written = filp.f_mapping.a_ops, 0
    while iov_iter_count(iter):
        offset = pos % PAGE_SIZE
        count = min(PAGE_SIZE - offset, iov_iter_count(iter))
        if fatal_signal_pending(this().context):
            return written or -EINTR
        if IS_ERR(page := a_ops.write_begin(filp, filp.f_mapping, pos, count, 0)):
            return written or PTR_ERR(page)
        copied = a_ops.write_end(filp, filp.f_mapping, pos, count,
                                 iov_iter_copy_from_user_atomic(page, iter, offset, count), page)
        iov_iter_advance(iter, copied)
        pos += copied
        written += copied
    return written


def grab_cache_page_write_begin(mapping: address_space, index: int, flags: int) -> page:
    """The page at an index, locked and with a reference; a new one if none is cached; None on failure."""
    while True:
        if (page := find_get_page(mapping, index)) is None:
            if (page := __page_cache_alloc(GFP_KERNEL)) is None or not add_to_page_cache(page, mapping, index):
                return page
        else:
            lock_page(page)
            if page.mapping is mapping:
                return page
            unlock_page(page)
        put_page(page)


def __generic_file_write_iter(iocb: kiocb, iter: iov_iter) -> int:
    """Write a buffer, past the page cache (IOCB_DIRECT) or into it. Returns how many bytes, or -errno.

    What can't be written past it, since somebody uses a page, is written through it.
    """
    written = 0
    if iocb.ki_flags & IOCB_DIRECT:
        if (written := generic_file_direct_write(iocb, iter)) < 0 or not iov_iter_count(iter):
            return written
    pos, mapping = iocb.ki_pos, iocb.ki_filp.f_mapping
    if (status := generic_perform_write(iocb.ki_filp, iter, pos)) < 0:
        return written or status
    if iocb.ki_flags & IOCB_DIRECT:
        if error := filemap_write_and_wait_range(mapping, pos, pos + status - 1):
            return written or error
        invalidate_mapping_pages(mapping, pos // PAGE_SIZE, (pos + status - 1) // PAGE_SIZE)
    iocb.ki_pos = pos + status
    return written + status
