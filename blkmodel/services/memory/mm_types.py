"""struct page, and the bytes of memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blkmodel.services.data.list import list_head
from blkmodel.sim import statics, this
from blkmodel.sim.memory import PAGE_SIZE, place
from blkmodel.sim.structure import NULL, Struct, struct

if TYPE_CHECKING:
    from blkmodel.services.files.inode import address_space



@statics
class mem_map:
    """All pages that are allocated: address of the first → run. Of what kmalloc() and its like gave out, the pages
    that somebody asked for: address → page."""

    def __init__(self) -> None:
        self.runs: dict[int, page_run] = {}
        self.others: dict[int, page] = {}

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


class page_run(Struct):
    """Pages that follow each other in memory, from address `_addr` on. Their bytes, zero at first, and their `page`s
    are made when somebody asks for them. (In C both are there from boot.)"""

    SIZE = 0
    __slots__ = ("bytes", "nr", "pages")

    def __init__(self, addr: int, nr: int) -> None:
        self._addr = addr
        self.nr = nr
        self.pages: dict[int, page] = {}
        self.bytes: bytearray = NULL

    def page(self, n: int) -> page:
        """The n-th page of the run, from 0."""
        found = self.pages.get(n)
        if found is None:
            found = self.pages[n] = place(page, self._addr + n * PAGE_SIZE)
            found._run = self
            found._start = n * PAGE_SIZE
            found.refcount = 1
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


@struct
class page(Struct):
    """A page of memory, which others may follow. `_addr` is where the page itself lies.

    flags: PG_* bits. lru is the list it is on; private belongs to its owner; mapping is the address space whose
    cache it is in, index its place there. refcount (in C `_refcount`) counts who uses it. _run and _start say
    which bytes are its own; a page without a run holds what kmalloc() and its like gave out.
    """

    SIZE = 64
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
        run = self._run
        if run is None:
            return mem_map().page_at(self._addr + n * PAGE_SIZE)
        index = self._start // PAGE_SIZE + n
        return run.page(index) if index < run.nr else mem_map().page_at(run._addr + index * PAGE_SIZE)

    def read(self, offset: int, length: int) -> bytes:
        """Bytes from `offset` of the page on, or on into the pages after it."""
        run = self._run
        if run is None:
            return this().memory.read(self._addr + offset, length)
        start = self._start + offset
        here = run.nr * PAGE_SIZE - start
        if length > here:
            end = mem_map().page_at(run._addr + run.nr * PAGE_SIZE)
            return self.read(offset, here) + end.read(0, length - here) if here > 0 else end.read(-here, length)
        return run.peek(start, length)

    def write(self, offset: int, data: bytes) -> None:
        """Store bytes from `offset` of the page on."""
        run = self._run
        if run is None:
            this().memory.write(self._addr + offset, data)
            return
        start = self._start + offset
        here = run.nr * PAGE_SIZE - start
        if len(data) > here:
            end = mem_map().page_at(run._addr + run.nr * PAGE_SIZE)
            if here > 0:
                self.write(offset, data[:here])
                end.write(0, data[here:])
            else:
                end.write(-here, data)
            return
        run.poke(start, data)
