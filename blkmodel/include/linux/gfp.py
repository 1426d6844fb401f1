"""Allocation flags, and pages."""

from blkmodel.include.linux.mm_types import page
from blkmodel.sim import this
from blkmodel.sim.memory import PAGE_SIZE, place

GFP_KERNEL, GFP_NOIO, GFP_ATOMIC, GFP_NOWAIT, GFP_NOFS = 0xCC0, 0xC00, 0xA20, 0x800, 0xC40
__GFP_ZERO, __GFP_NOWARN, __GFP_NORETRY, __GFP_DIRECT_RECLAIM = 0x100, 0x2000, 0x10000, 0x400



def alloc_pages_node(nid, gfp, order):
    """Allocate 2**order pages that follow each other; return the first one's `page`, or None."""
    addr = this().memory.allocate(f"pages({order})", PAGE_SIZE << order, nid)
    return place(page, addr) if addr else None


def __free_pages(first, order):
    this().memory.release(first._addr)


def page_address(of):
    """Where the page lies. (In the model a `page` has its page's address.)"""
    return of._addr
