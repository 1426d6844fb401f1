"""Scatterlists: memory in pieces, as a device is told of it (lib/scatterlist.c, scatterlist.h)."""

from __future__ import annotations

from blkmodel.services.memory.mm import page
from blkmodel.sim import NULL, Struct


class scatterlist(Struct, size=32):
    """One piece: `length` bytes from `offset` of a page on, and where the device sees it (dma_address, dma_length).

    last ends the list (in C the page pointer's lowest bits say that); _next is the entry behind this one.
    """

    page: page = NULL
    offset: int = 0
    length: int = 0
    dma_address: int = 0
    dma_length: int = 0
    last: bool = False
    _next: scatterlist = NULL


def sg_init_table(sgl: list[scatterlist], nents: int) -> None:
    """Make the first `nents` of an array of entries an empty list. An entry that is None, as zeros, is made."""
    for i in range(nents):
        sgl[i] = sgl[i] or scatterlist()
    for i, entry in enumerate(sgl[:nents]):
        entry.page = NULL
        entry.offset = entry.length = entry.dma_address = entry.dma_length = 0
        entry.last = i == nents - 1
        entry._next = sgl[i + 1] if i + 1 < nents else NULL


def sg_mark_end(sg: scatterlist) -> None:
    sg.last = True


def sg_unmark_end(sg: scatterlist) -> None:
    sg.last = False


def sg_next(sg: scatterlist) -> scatterlist:
    """The entry behind this one; None behind the last."""
    return NULL if sg.last else sg._next


def sg_set_page(sg: scatterlist, page: page, length: int, offset: int) -> None:
    sg.page, sg.offset, sg.length = page, offset, length


def sg_phys(sg: scatterlist) -> int:
    """Where the piece lies in memory."""
    return sg.page._addr + sg.offset


def sg_dma_address(sg: scatterlist) -> int:
    return sg.dma_address


def sg_dma_len(sg: scatterlist) -> int:
    return sg.dma_length
