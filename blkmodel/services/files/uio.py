"""Buffers that I/O is asked for with: user memory in pages (lib/iov_iter.c, uio.h)."""

from collections.abc import Iterable
from typing import Any

from blkmodel.services.base import EFAULT
from blkmodel.services.memory.mm import alloc_pages_exact_nid, get_page, mem_map, nth_page, page
from blkmodel.sim import NULL, PAGE_SIZE, Struct, this


class user_buffer(Struct, size=0):
    """Memory of a process: `pages`, one after another in its address space from the page-aligned `addr` on, wherever
    they lie in memory."""

    addr: int = 0
    pages: list[page] = NULL

    def read(self, offset: int, length: int) -> bytes:
        """Bytes from `offset` on."""
        found = bytearray()
        while len(found) < length:
            n, start = divmod(offset + len(found), PAGE_SIZE)
            found += self.pages[n].read(start, min(PAGE_SIZE - start, length - len(found)))
        return bytes(found)

    def write(self, offset: int, data: bytes) -> None:
        """Store bytes from `offset` on."""
        done = 0
        while done < len(data):
            n, start = divmod(offset + done, PAGE_SIZE)
            count = min(PAGE_SIZE - start, len(data) - done)
            self.pages[n].write(start, data[done:done + count])
            done += count


def map_user_buffer(page_runs: Iterable[int], addr: int = 139637976727552) -> user_buffer:
    """Give a process a buffer whose pages lie in physically contiguous runs of so many pages each; None where there is
    no memory. (What mmap() and the first touch of each page come to.)"""
    pages: list[Any] = []
    for count in page_runs:
        first = alloc_pages_exact_nid(-1, (count + 1) * PAGE_SIZE, 0)  # one more, so that runs do not touch
        if first is None:
            unmap_user_buffer(user_buffer(addr, pages))
            return None
        pages.extend(nth_page(first, n) for n in range(count))
    return user_buffer(addr, pages)


def unmap_user_buffer(buffer: user_buffer) -> None:
    """Take the buffer back. Nothing may use its pages any more."""
    for held in buffer.pages:
        assert held.refcount == 1, f"the page at {held._addr:#x} is still in use"
        if held._start == 0:
            del mem_map().runs[held._addr]
            this().memory.release(held._addr)


class iov_iter(Struct, size=40):
    """Where somebody is in a buffer of user memory: `count` bytes of `_buffer` are left, of which _at are done. type:
    READ or WRITE."""

    type: int = 0
    count: int = 0
    _buffer: user_buffer = NULL
    _at: int = 0


def iov_iter_init(iter: iov_iter, direction: int, buffer: user_buffer, offset: int, count: int) -> None:
    """Begin at `offset` of a user buffer."""
    iter.type, iter._buffer, iter._at, iter.count = direction, buffer, offset, count


def iov_iter_count(iter: iov_iter) -> int:
    return iter.count


def iter_is_iovec(iter: iov_iter) -> bool:
    return iter._buffer is not None


def iov_iter_rw(iter: iov_iter) -> int:
    return iter.type


def iov_iter_truncate(iter: iov_iter, count: int) -> None:
    """Leave no more than so many bytes."""
    if iter.count > count:
        iter.count = count


def iov_iter_alignment(iter: iov_iter) -> int:
    """The address and the length, or-ed."""
    return iter._buffer.addr + iter._at | iter.count if iter.count else 0


def iov_iter_npages(iter: iov_iter, maxpages: int) -> int:
    """How many pages the rest is in, up to maxpages."""
    if not iter.count:
        return 0
    start = (iter._buffer.addr + iter._at) % PAGE_SIZE
    return min(-(-(start + iter.count) // PAGE_SIZE), maxpages)


def iov_iter_advance(iter: iov_iter, count: int) -> None:
    """Move so many bytes on."""
    iter.count -= count
    iter._at += count


def iov_iter_revert(iter: iov_iter, count: int) -> None:
    """Move back, in user memory."""
    iter.count += count
    iter._at -= count


def iov_iter_get_pages(iter: iov_iter, maxpages: int) -> tuple[list[page], int, int]:
    """Hold the next pages of user memory, up to the first that is not there.

    Returns (pages, bytes they give, offset in the first); the bytes are -EFAULT where there is no page.
    """
    first, offset = divmod(iter._at, PAGE_SIZE)
    wanted = -(-(iter.count + offset) // PAGE_SIZE)
    pages = iter._buffer.pages[first:first + (wanted if wanted < maxpages else maxpages)]
    if not pages:
        return pages, -EFAULT, offset
    for held in pages:
        get_page(held)
    return pages, min(len(pages) * PAGE_SIZE - offset, iter.count), offset


def iov_iter_copy_from_user_atomic(page: page, iter: iov_iter, offset: int, bytes: int) -> int:
    """Copy the next bytes of user memory to `offset` of a page. Returns how many; where they were is not moved on."""
    page.write(offset, iter._buffer.read(iter._at, bytes))
    return bytes


def copy_to_iter(data: bytes, iter: iov_iter) -> int:
    """Store bytes into the buffer and move on."""
    iter._buffer.write(iter._at, data)
    iov_iter_advance(iter, len(data))
    return len(data)
