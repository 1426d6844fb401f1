"""Reading ahead: how much more of a file is read than somebody asks for (mm/readahead.c, log2.h)."""

from __future__ import annotations

from blkmodel.services.base import linked
from blkmodel.services.devices.backing_dev import WB_sync_congested, bdi_congested
from blkmodel.services.files.file import file, file_ra_state
from blkmodel.services.files.inode import address_space, i_size_read
from blkmodel.services.memory.mm import PG_readahead, __page_cache_alloc, clear_page_flag, page, set_page_flag
from blkmodel.services.memory.slab import GFP_KERNEL
from blkmodel.sim import PAGE_SIZE


def roundup_pow_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()


def read_pages(mapping: address_space, filp: file, pages: list[page], nr_pages: int, gfp: int) -> int:
    """Begin to read new pages into a mapping, behind a plug. Returns 0 or -errno."""
    plug = linked.blk_plug()
    linked.blk_start_plug(plug)
    ret = mapping.a_ops.readpages(filp, mapping, pages, nr_pages)
    linked.blk_finish_plug(plug)
    return ret


def __do_page_cache_readahead(mapping: address_space, filp: file, offset: int, nr_to_read: int,
                              lookahead_size: int) -> int:
    """Begin to read so many pages from index `offset` on, but those that are cached, or behind the end. The one that
    lookahead_size of them begin with is marked: whoever comes there has more read ahead. Returns how many."""
    pages: list[page] = []
    end_index = (i_size_read(mapping.host) - 1) // PAGE_SIZE
    for index in range(offset, min(offset + nr_to_read, end_index + 1)):
        if index in mapping.pages:
            if pages:
                read_pages(mapping, filp, pages, len(pages), GFP_KERNEL)
            pages = []
            continue
        if (new := __page_cache_alloc(GFP_KERNEL)) is None:
            break
        new.index = index
        pages.append(new)
        if index - offset == nr_to_read - lookahead_size:
            set_page_flag(new, PG_readahead)
    if pages:
        read_pages(mapping, filp, pages, len(pages), GFP_KERNEL)
    return len(pages)


def get_init_ra_size(size: int, max: int) -> int:
    """How much to read when somebody who may go on asks for `size` pages first: up to four times as much."""
    newsize = roundup_pow_of_two(size)
    return newsize * 4 if newsize <= max // 32 else newsize * 2 if newsize <= max // 4 else max


def get_next_ra_size(ra: file_ra_state, max: int) -> int:
    return 4 * ra.size if ra.size < max // 16 else 2 * ra.size if ra.size <= max // 2 else max


def count_history_pages(mapping: address_space, offset: int, max: int) -> int:
    """How many pages right before an index are cached, up to `max`."""
    return next((n for n in range(max) if offset - 1 - n not in mapping.pages), max)


def try_context_readahead(mapping: address_space, ra: file_ra_state, offset: int, req_size: int, max: int) -> int:
    """Whether what is cached before an index looks as if somebody read on and on; then set how far to read."""
    if (size := count_history_pages(mapping, offset, max)) <= req_size:
        return 0
    if size >= offset:
        size *= 2
    ra.start, ra.size, ra.async_size = offset, min(size + req_size, max), 1
    return 1


def ondemand_readahead(mapping: address_space, ra: file_ra_state, filp: file, hit_readahead_marker: bool, offset: int,
                       req_size: int) -> int:
    """Read `req_size` pages from index `offset` on, and as many more as it seems worth. Returns how many."""
    io_pages, max_pages = mapping.host.i_bdev.bd_bdi.io_pages, ra.ra_pages
    if req_size > max_pages and io_pages > max_pages:
        max_pages = min(req_size, io_pages)
    expected = ra.start + ra.size - ra.async_size, ra.start + ra.size
    if offset and offset in expected:
        ra.start += ra.size
        ra.size = ra.async_size = get_next_ra_size(ra, max_pages)
    elif offset and hit_readahead_marker:
        start = next((index for index in range(offset + 1, offset + 1 + max_pages) if index not in mapping.pages),
                     offset + 1 + max_pages)
        if start - offset > max_pages:
            return 0
        ra.start, ra.size = start, start - offset + req_size
        ra.size = ra.async_size = get_next_ra_size(ra, max_pages)
    elif not offset or req_size > max_pages or 0 <= offset - (ra.prev_pos % (1 << 64)) // PAGE_SIZE <= 1:
        ra.start, ra.size = offset, get_init_ra_size(req_size, max_pages)
        ra.async_size = ra.size - req_size if ra.size > req_size else ra.size
    elif not try_context_readahead(mapping, ra, offset, req_size, max_pages):
        return __do_page_cache_readahead(mapping, filp, offset, req_size, 0)
    # will this read come to the mark that it makes itself?
    if offset == ra.start and ra.size == ra.async_size:
        add_pages = get_next_ra_size(ra, max_pages)
        if ra.size + add_pages <= max_pages:
            ra.async_size = add_pages
            ra.size += add_pages
        else:
            ra.size, ra.async_size = max_pages, max_pages >> 1
    return __do_page_cache_readahead(mapping, filp, ra.start, ra.size, ra.async_size)


def page_cache_sync_readahead(mapping: address_space, ra: file_ra_state, filp: file, offset: int,
                              req_size: int) -> None:
    """Somebody asks for `req_size` pages, of which the first, at index `offset`, is not cached: read, and ahead."""
    if ra.ra_pages:
        ondemand_readahead(mapping, ra, filp, False, offset, req_size)


def page_cache_async_readahead(mapping: address_space, ra: file_ra_state, filp: file, page: page, offset: int,
                               req_size: int) -> None:
    """Somebody has come to the page that was marked for that: read further ahead, unless the device is congested."""
    if ra.ra_pages:
        clear_page_flag(page, PG_readahead)
        if not bdi_congested(mapping.host.i_bdev.bd_bdi, 1 << WB_sync_congested):
            ondemand_readahead(mapping, ra, filp, True, offset, req_size)
