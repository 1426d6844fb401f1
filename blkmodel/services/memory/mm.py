"""Pages: their bytes, who allocates them and with which flags, who uses them, and what state they are in
(include/linux/gfp.h, mm/page_alloc.c, mm.h, arch/x86/include/asm/page.h, arch/x86/include/asm/pgtable.h, page-flags.h,
mm/page-writeback.c, memblock.h, mm/filemap.c)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from blkmodel.services.data.list import list_head
from blkmodel.services.files.inode import I_DIRTY_PAGES, address_space
from blkmodel.services.memory.slab import GFP_ATOMIC, GFP_KERNEL, GFP_NOFS, GFP_NOIO, GFP_NOWAIT  # noqa: F401
from blkmodel.sim import NULL, PAGE_SIZE, Struct, place, statics, this
from blkmodel.sim.memory import DIRECT_MAP

PG_locked, PG_uptodate, PG_dirty, PG_error, PG_private, PG_readahead = 0, 2, 3, 8, 13, 18


class mem_map(statics):
    """All pages that are allocated: address of the first → run. Of what kmalloc() and its like gave out, the pages
    that somebody asked for: address → page. spare: pages of which the page cache takes the next ones it needs, the
    last one first."""

    def __init__(self) -> None:
        self.runs: dict[int, page_run] = {}
        self.others: dict[int, page] = {}
        self.spare: list[page] = []

    def page_at(self, addr: int) -> page:
        """The page that an address is in, which is allocated, as pages or not."""
        start = addr & ~(PAGE_SIZE - 1)
        for order in range(30):
            run = self.runs.get(start & ~((PAGE_SIZE << order) - 1))  # a run is aligned to its size, rounded up
            if run is not None and start < run._addr + run.nr * PAGE_SIZE:
                return run.page((start - run._addr) // PAGE_SIZE)
        this().memory.at(addr)
        if start not in self.others:
            self.others[start] = place(page, start)
            self.others[start].refcount = 1
        return self.others[start]


class page_run(Struct, size=0):
    """Pages that follow each other in memory, from address `_addr` on. Their bytes, zero at first, and their `page`s
    are made when somebody asks for them. (In C both are there from boot.)"""

    __slots__ = ("bytes", "nr", "pages")

    def __init__(self, addr: int, nr: int) -> None:
        self._addr, self.nr = addr, nr
        self.pages: dict[int, page] = {}
        self.bytes: bytearray = NULL

    def page(self, n: int) -> page:
        """The n-th page of the run, from 0."""
        if (found := self.pages.get(n)) is None:
            found = self.pages[n] = place(page, self._addr + n * PAGE_SIZE)
            found._run, found._start, found.refcount = self, n * PAGE_SIZE, 1
        return found

    def peek(self, start: int, length: int) -> bytes:
        """Bytes from `start` of the run on."""
        held = self.bytes
        return bytes(length) if held is None else bytes(held[start:start + length])

    def poke(self, start: int, data: bytes) -> None:
        """Store bytes from `start` of the run on."""
        if self.bytes is None:
            self.bytes = bytearray(self.nr * PAGE_SIZE)
        self.bytes[start:start + len(data)] = data


class page(Struct, size=64):
    """A page of memory, which others may follow. `_addr` is where the page itself lies.

    flags: PG_* bits. lru is the list it is on; private belongs to its owner; mapping is the address space whose
    cache it is in, index its place there. refcount (in C `_refcount`) counts who uses it. _run and _start say
    which bytes are its own; a page without a run holds what kmalloc() and its like gave out.
    """

    flags: int = 0
    lru: list_head = NULL
    private: Any = 0
    mapping: address_space = NULL
    index: int = 0
    refcount: int = 0
    _run: page_run = NULL
    _start: int = 0

    def nth(self, n: int) -> page:
        """The page n pages after this one, in the same run or not."""
        if (run := self._run) is None:
            return mem_map().page_at(self._addr + n * PAGE_SIZE)
        index = self._start // PAGE_SIZE + n
        return run.page(index) if index < run.nr else mem_map().page_at(run._addr + index * PAGE_SIZE)

    def read(self, offset: int, length: int) -> bytes:
        """Bytes from `offset` of the page on, or on into the pages after it."""
        if (run := self._run) is None:
            return this().memory.read(self._addr + offset, length)
        start = self._start + offset
        here = run.nr * PAGE_SIZE - start
        if length > here:
            end = mem_map().page_at(run._addr + run.nr * PAGE_SIZE)
            return self.read(offset, here) + end.read(0, length - here) if here > 0 else end.read(-here, length)
        return run.peek(start, length)

    def write(self, offset: int, data: bytes) -> None:
        """Store bytes from `offset` of the page on."""
        if (run := self._run) is None:
            this().memory.write(self._addr + offset, data)
            return
        start = self._start + offset
        here = run.nr * PAGE_SIZE - start
        if len(data) > here:
            mem_map().page_at(run._addr + run.nr * PAGE_SIZE).write(max(-here, 0), data[max(here, 0):])
        if here > 0:
            run.poke(start, data[:here])


def alloc_pages_node(nid: int, gfp: int, order: int) -> page:
    """Allocate 2**order pages that follow each other; return the first one's `page`, or None."""
    return alloc_pages_exact_nid(nid, PAGE_SIZE << order, gfp)


def alloc_pages_exact_nid(nid: int, size: int, gfp: int) -> page:
    """Allocate pages that follow each other, of `size` bytes together; return the first one's `page`, or None."""
    memory = this().memory
    if nid < 0:
        nid = this().machine.node_of[this().cpu]
    if not (addr := memory.allocate(f"pages({size // PAGE_SIZE})", size, nid)):
        return NULL
    run = mem_map().runs[addr] = memory.live[addr].thing = page_run(addr, size // PAGE_SIZE)
    return run.page(0)


def alloc_page(gfp: int) -> page:
    return alloc_pages_node(-1, gfp, 0)


def __page_cache_alloc(gfp: int) -> page:
    """Allocate a page for the page cache; None on failure."""
    spare = mem_map().spare
    return spare.pop() if spare else alloc_page(gfp)


def cache_pages(page_runs: Sequence[int]) -> list[page]:
    """Let the next pages that the page cache takes lie in physically contiguous runs of so many each, while memory
    suffices. Returns those that it has not taken yet, which are to be put in the end."""
    spare, held = mem_map().spare, dict[int, page]()
    behind = 0

    def starts(around: Iterable[int]) -> int:
        """Where a run of `count` pages that are held starts; of those only that are in runs with these."""
        for addr in around:
            while addr - PAGE_SIZE in held and addr - PAGE_SIZE != behind:
                addr -= PAGE_SIZE
            if addr != behind and all(addr + n * PAGE_SIZE in held for n in range(count)):
                return addr
        return 0
    for count in page_runs:
        start = starts(held)
        while not start and (new := alloc_page(GFP_KERNEL)) is not None:
            held[new._addr] = new
            start = starts([new._addr])
        if not start:
            break
        behind = start + count * PAGE_SIZE
        spare += [held.pop(addr) for addr in range(start, behind, PAGE_SIZE)]
    for each in held.values():
        put_page(each)
    spare.reverse()
    return spare


def __free_pages(first: page, order: int) -> None:
    del mem_map().runs[first._addr]
    this().memory.release(first._addr)


def __free_page(of: page) -> None:
    __free_pages(of, 0)


def page_address(of: page) -> int:
    """Where the page lies. (In the model a `page` has its page's address.)"""
    return of._addr


def virt_to_page(addr: int) -> page:
    """The page that the address is in."""
    return mem_map().page_at(addr)


def nth_page(of: page, n: int) -> page:
    """The page n pages after this one."""
    return of.nth(n)


class empty_zero_page(statics):
    """A page of zeroes that nobody writes to. It is part of the kernel and not of the heap."""

    def __init__(self) -> None:
        self.run = page_run(DIRECT_MAP - PAGE_SIZE, 1)
        mem_map().runs[self.run._addr] = self.run
        this().memory.part(self.run._addr, PAGE_SIZE, self.run)


def ZERO_PAGE() -> page:
    return empty_zero_page().run.page(0)


def offset_in_page(addr: int) -> int:
    return addr % PAGE_SIZE


def get_page(page: page) -> None:
    page.refcount += 1


def put_page(page: page) -> None:
    """Drop a reference to a page; the last one frees it."""
    left = page.refcount = page.refcount - 1
    if left <= 0:
        assert left == 0, "a page was put too often"
        __free_page(page)


def PageLocked(page: page) -> bool:
    return bool(page.flags >> PG_locked & 1)


def PageReadahead(page: page) -> bool:
    return bool(page.flags >> PG_readahead & 1)


def PageError(page: page) -> bool:
    return bool(page.flags >> PG_error & 1)


def PageUptodate(page: page) -> bool:
    return bool(page.flags >> PG_uptodate & 1)


def PageDirty(page: page) -> bool:
    return bool(page.flags >> PG_dirty & 1)


def PagePrivate(page: page) -> bool:
    return bool(page.flags >> PG_private & 1)


def set_page_flag(page: page, bit: int) -> None:
    """In C SetPage…() of each flag."""
    page.flags |= 1 << bit


def clear_page_flag(page: page, bit: int) -> None:
    """In C ClearPage…() of each flag."""
    page.flags &= ~(1 << bit)


def set_page_dirty(page: page) -> None:
    """Mark a page as changed since it was read or written back, and its buffers; the inode that it is cached of then
    has such a page."""
    page.flags |= 1 << PG_dirty
    for buffer in page.private if page.flags >> PG_private & 1 else ():
        buffer.dirty = True
    if page.mapping is not None:
        page.mapping.host.i_state |= I_DIRTY_PAGES
