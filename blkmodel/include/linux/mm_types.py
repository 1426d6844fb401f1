"""struct page, and the bytes of memory."""

from typing import Any

from blkmodel.sim.memory import PAGE_SIZE, place
from blkmodel.sim.structure import Struct, struct


class page_run(Struct):
    """Pages that follow each other in memory, from address `_addr` on. Their bytes, zero at first, and their `page`s
    are made when somebody asks for them. (In C both are there from boot.)"""

    SIZE = 0
    __slots__ = ("bytes", "nr", "pages")

    def __init__(self, addr, nr):
        self._addr = addr
        self.nr = nr
        self.pages: Any = {}
        self.bytes: Any = None

    def page(self, n):
        """The n-th page of the run, from 0."""
        found = self.pages.get(n)
        if found is None:
            found = self.pages[n] = place(page, self._addr + n * PAGE_SIZE)
            found._run = self
            found._start = n * PAGE_SIZE
            found.refcount = 1
        return found


@struct
class page(Struct):
    """A page of memory, which others may follow. `_addr` is where the page itself lies.

    flags: PG_* bits. lru is the list it is on; private belongs to its owner; mapping is the address space whose
    cache it is in, index its place there. refcount (in C `_refcount`) counts who uses it. _run and _start say
    which bytes are its own.
    """

    SIZE = 64
    flags: int = 0
    lru: Any = None
    private: Any = 0
    mapping: Any = None
    index: int = 0
    refcount: int = 0
    _run: Any = None
    _start: int = 0

    def read(self, offset, length):
        """Bytes from `offset` of the page on, or on into the pages after it."""
        held = self._run.bytes
        start = self._start + offset
        assert start + length <= self._run.nr * PAGE_SIZE, "reading beyond the end of a run of pages"
        return bytes(length) if held is None else bytes(held[start:start + length])

    def write(self, offset, data):
        """Store bytes from `offset` of the page on."""
        run = self._run
        start = self._start + offset
        assert start + len(data) <= run.nr * PAGE_SIZE, "writing beyond the end of a run of pages"
        if run.bytes is None:
            run.bytes = bytearray(run.nr * PAGE_SIZE)
        run.bytes[start:start + len(data)] = data
