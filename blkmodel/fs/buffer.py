"""Buffers: the blocks of a cached page, each read or written by a bio of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from blkmodel.block import bio as bio_module, blk_core, genhd
from blkmodel.include.linux.bio import BIO_QUIET, REQ_OP_READ, REQ_OP_WRITE, REQ_SYNC, bio, bio_flagged, bio_set_dev
from blkmodel.include.linux.fs import block_device
from blkmodel.include.linux.genhd import get_capacity, part_nr_sects_read
from blkmodel.services import (EIO, ENOMEM, ERR_PTR, GFP_NOFS, GFP_NOIO, I_DIRTY_PAGES, PageError, PageUptodate,
    PG_dirty, PG_error, PG_private, PG_uptodate, address_space, clear_page_flag, file, get_page,
    grab_cache_page_write_begin, i_size_read, inode, kfree, kzalloc, page, printk_ratelimited, provide, put_page,
    rcu_read_lock, rcu_read_unlock, set_page_flag, unlock_page, wait_on_bit, wake_up_bit)
from blkmodel.sim import NULL, PAGE_SIZE, Struct


class buffer_head(Struct, size=104):
    """One block of a page: b_size bytes, block number b_blocknr of b_bdev, if it is mapped. (In C the states are bits
    of b_state.) _offset is its place in the page."""

    uptodate: bool = False
    dirty: bool = False
    mapped: bool = False
    locked: bool = False
    write_error: bool = False
    quiet: bool = False
    b_page: page = NULL
    b_blocknr: int = 0
    b_size: int = 0
    b_bdev: block_device = NULL
    b_end_io: Callable[[buffer_head, bool], None] = NULL
    _offset: int = 0


def unlock_buffer(bh: buffer_head) -> None:
    """A buffer was read or written: wake who waits for that."""
    bh.locked = False
    wake_up_bit(bh, "locked")


def __wait_on_buffer(bh: buffer_head) -> None:
    """Wait until a buffer was read or written."""
    wait_on_bit(bh, "locked", lambda: bh.locked, "a block to be read or written")


def set_buffer_mapped(bh: buffer_head) -> None:
    """Say that a buffer has a place on the device: b_bdev and b_blocknr are set."""
    bh.mapped = True


def create_empty_buffers(page: page, blocksize: int, uptodate: bool = False, dirty: bool = False) -> list[buffer_head]:
    """Hang buffers on a page, which they hold, in that state. This does not fail: it tries again until there is
    memory."""
    buffers = []
    for offset in range(0, PAGE_SIZE, blocksize):
        while True:
            if (bh := kzalloc(buffer_head, GFP_NOFS)) is not None:
                break
        bh.b_page, bh.b_size, bh._offset = page, blocksize, offset
        bh.uptodate, bh.dirty = uptodate, dirty
        buffers.append(bh)
    page.private = buffers
    set_page_flag(page, PG_private)
    get_page(page)
    return buffers


def try_to_free_buffers(page: page) -> int:
    """Take the buffers off a page, unless one is in use; return whether."""
    if any(bh.locked for bh in page.private):
        return False
    for bh in page.private:
        kfree(bh)
    page.private = 0
    clear_page_flag(page, PG_private)
    put_page(page)
    return True


def block_invalidatepage(page: page) -> None:
    """Forget where a page's buffers are on the device."""
    for bh in page.private:
        bh.mapped = False


def block_read_full_page(page: page, get_block: Callable[..., int]) -> int:
    """Begin to read a locked page, a bio for each block; it is unlocked when all are there. Returns 0.

    get_block(inode, iblock, bh, create) says where a block is.
    """
    inode, end, blocks = _blocks(page)
    to_read = []
    for iblock, bh in blocks:
        if bh.uptodate:
            continue
        if not bh.mapped:
            if iblock < end and get_block(inode, iblock, bh, 0):
                set_page_flag(page, PG_error)
            if not bh.mapped:
                page.write(bh._offset, bytes(bh.b_size))
                bh.uptodate = True
                continue
        to_read.append(bh)
    if not to_read:
        if not PageError(page):
            set_page_flag(page, PG_uptodate)
        unlock_page(page)
        return 0
    for bh in to_read:
        bh.locked, bh.b_end_io = True, end_buffer_async_read
    for bh in to_read:
        submit_bh(REQ_OP_READ, 0, bh)
    return 0


def block_write_full_page(page: page, get_block: Callable[..., int]) -> int:
    """Begin to write a locked page, a bio for each changed block; it is unlocked when all are written. Returns 0."""
    inode, end, blocks = _blocks(page, True)
    to_write = []
    for iblock, bh in blocks:
        if iblock < end and bh.dirty:
            if not bh.mapped:
                get_block(inode, iblock, bh, 1)
            bh.dirty = False
            bh.locked, bh.b_end_io = True, end_buffer_async_write
            to_write.append(bh)
    for bh in to_write:
        submit_bh(REQ_OP_WRITE, REQ_SYNC, bh)
    if not to_write:
        unlock_page(page)
    return 0


def __block_write_begin_int(page: page, pos: int, len: int, get_block: Callable[..., int]) -> int:
    """Prepare the blocks of a locked page for bytes to be written there: those that are written in part only are read.

    Returns 0, or -EIO.
    """
    first = pos % PAGE_SIZE
    inode, _, blocks = _blocks(page)
    read = []
    for iblock, bh in blocks:
        if bh._offset + bh.b_size <= first or bh._offset >= first + len:
            bh.uptodate = bh.uptodate or PageUptodate(page)
            continue
        if not bh.mapped:
            get_block(inode, iblock, bh, 1)
        if PageUptodate(page):
            bh.uptodate = True
        elif not bh.uptodate and (bh._offset < first or bh._offset + bh.b_size > first + len):
            bh.locked, bh.b_end_io = True, end_buffer_read_sync
            submit_bh(REQ_OP_READ, 0, bh)
            read.append(bh)
    for bh in read:
        __wait_on_buffer(bh)
    return 0 if all(bh.uptodate for bh in read) else -EIO


def block_write_begin(mapping: address_space, pos: int, len: int, flags: int, get_block: Callable[..., int]) -> page:
    """The locked page in which `len` bytes from `pos` on are to be written, prepared for that; or an error pointer."""
    if (page := grab_cache_page_write_begin(mapping, pos // PAGE_SIZE, flags)) is None:
        return ERR_PTR(-ENOMEM)
    if status := __block_write_begin_int(page, pos, len, get_block):
        unlock_page(page)
        put_page(page)
        return ERR_PTR(status)
    return page


def block_write_end(file: file, mapping: address_space, pos: int, len: int, copied: int, page: page) -> int:
    """Bytes were written to a page: their blocks have changed. A page all of whose blocks are up to date is, too."""
    first = pos % PAGE_SIZE
    for bh in page.private:
        if bh._offset + bh.b_size > first and bh._offset < first + copied:
            bh.uptodate = True
            mark_buffer_dirty(bh)
    if all(bh.uptodate for bh in page.private):
        set_page_flag(page, PG_uptodate)
    return copied


def mark_buffer_dirty(bh: buffer_head) -> None:
    """Say that a block has changed, and with it its page and its inode."""
    bh.dirty = True
    set_page_flag(bh.b_page, PG_dirty)
    bh.b_page.mapping.host.i_state |= I_DIRTY_PAGES


def end_buffer_read_sync(bh: buffer_head, uptodate: bool) -> None:
    """A block was read, or not, for somebody who waits."""
    bh.uptodate = uptodate
    unlock_buffer(bh)


def _blocks(page: page, dirty: bool = False) -> tuple[inode, int, Iterable[tuple[int, buffer_head]]]:
    """A page's inode, the number of blocks up to its end, and (number of the block, buffer) of each of the page's.
    Where it has no buffers yet, it gets some: `dirty` ones, if it has changed."""
    host = page.mapping.host
    buffers = page.private or create_empty_buffers(page, 1 << host.i_blkbits, dirty, dirty)
    end = (i_size_read(host) + (1 << host.i_blkbits) - 1) >> host.i_blkbits
    return host, end, enumerate(buffers, (page.index * PAGE_SIZE) >> host.i_blkbits)


def end_buffer_async_read(bh: buffer_head, uptodate: bool) -> None:
    """A block was read, or not: with the last one of its page, the page is ready."""
    page = bh.b_page
    bh.locked, bh.uptodate = False, uptodate
    if not uptodate:
        set_page_flag(page, PG_error)
        _log(bh, "async page read")
    if not any(other.locked for other in page.private):
        if not PageError(page) and all(other.uptodate for other in page.private):
            set_page_flag(page, PG_uptodate)
        unlock_page(page)


def end_buffer_async_write(bh: buffer_head, uptodate: bool) -> None:
    """A block was written, or not: with the last one of its page, the page is free again."""
    page = bh.b_page
    bh.locked, bh.write_error, bh.uptodate = False, not uptodate, uptodate
    if not uptodate:
        set_page_flag(page, PG_error)
        _log(bh, "lost async page write")
    if not any(other.locked for other in page.private):
        unlock_page(page)


def end_bio_bh_io_sync(bio: bio) -> None:
    """The bio of a buffer has ended. A quiet one logs nothing."""
    bh = bio.bi_private
    bh.quiet = bio_flagged(bio, BIO_QUIET)
    bh.b_end_io(bh, not bio.bi_status)
    bio_module.bio_put(bio)


def guard_bio_eod(bio: bio) -> None:
    """Shorten a bio that begins within its partition and ends beyond; one beyond as a whole will fail."""
    rcu_read_lock()
    part = genhd.__disk_get_part(bio.bi_disk, bio.bi_partno)
    maxsector = part_nr_sects_read(part) if part is not None else get_capacity(bio.bi_disk)
    rcu_read_unlock()
    if not maxsector or bio.bi_iter.bi_sector >= maxsector:
        return
    room = maxsector - bio.bi_iter.bi_sector
    if bio.bi_iter.bi_size >> 9 > room:
        bio_module.bio_truncate(bio, room << 9)


def submit_bh(op: int, op_flags: int, bh: buffer_head) -> int:
    """Read or write one block, with a bio from the file systems' bio_set, which always has one."""
    bio = bio_module.bio_alloc_bioset(GFP_NOIO, 1, bio_module.variables().fs_bio_set)
    bio.bi_iter.bi_sector = bh.b_blocknr * (bh.b_size >> 9)
    bio_set_dev(bio, bh.b_bdev)
    bio_module.bio_add_page(bio, bh.b_page, bh.b_size, bh._offset)
    bio.bi_end_io, bio.bi_private, bio.bi_opf = end_bio_bh_io_sync, bh, op | op_flags
    guard_bio_eod(bio)
    blk_core.submit_bio(bio)
    return 0


def _log(bh: buffer_head, what: str) -> None:
    """Log that a buffer's read or write failed, unless its bio was quiet about it; ten times in five seconds."""
    if bh.quiet:
        return
    name = bh.b_bdev.bd_disk.disk_name if bh.b_bdev.bd_disk is not None else "?"
    printk_ratelimited(f"Buffer I/O error on dev {name}, logical block {bh.b_blocknr}, {what}",
                       func="buffer_io_error")


provide(block_invalidatepage=block_invalidatepage)
