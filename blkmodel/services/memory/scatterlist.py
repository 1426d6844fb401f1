"""Scatterlists: memory in pieces, as a device is told of it."""

from typing import Any

from blkmodel.sim.structure import Struct


class scatterlist(Struct):
    """One piece: `length` bytes from `offset` of a page on, and where the device sees it (dma_address, dma_length).

    last ends the list (in C the page pointer's lowest bits say that); _next is the entry behind this one.
    """

    __slots__ = ("_next", "dma_address", "dma_length", "last", "length", "offset", "page")
    SIZE = 32

    def __init__(self):
        self.page: Any = None
        self.offset = 0
        self.length = 0
        self.dma_address = 0
        self.dma_length = 0
        self.last = False
        self._next: Any = None


def sg_init_table(sgl, nents):
    """Make the first `nents` of an array of entries an empty list. An entry that is None, as zeros, is made."""
    for i in range(nents):
        if sgl[i] is None:
            sgl[i] = scatterlist()
    for i in range(nents):
        entry = sgl[i]
        entry.page = None
        entry.offset = entry.length = entry.dma_address = entry.dma_length = 0
        entry.last = i == nents - 1
        entry._next = sgl[i + 1] if i + 1 < nents else None


def sg_mark_end(sg):
    sg.last = True


def sg_unmark_end(sg):
    sg.last = False


def sg_next(sg):
    """The entry behind this one; None behind the last."""
    return None if sg.last else sg._next


def sg_set_page(sg, page, length, offset):
    sg.page = page
    sg.offset = offset
    sg.length = length


def sg_phys(sg):
    """Where the piece lies in memory."""
    return sg.page._addr + sg.offset


def sg_dma_address(sg):
    return sg.dma_address


def sg_dma_len(sg):
    return sg.dma_length
