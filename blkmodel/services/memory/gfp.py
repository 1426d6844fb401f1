"""Allocation flags, and pages (include/linux/gfp.h, mm/page_alloc.c, mm.h, arch/x86/include/asm/page.h)."""

from blkmodel.services.memory.mm_types import mem_map, page, page_run
from blkmodel.sim import this
from blkmodel.sim.memory import PAGE_SIZE
from blkmodel.sim.structure import NULL

GFP_KERNEL, GFP_NOIO, GFP_ATOMIC, GFP_NOWAIT, GFP_NOFS = 0xCC0, 0xC00, 0xA20, 0x800, 0xC40
__GFP_ZERO, __GFP_NOWARN, __GFP_NORETRY, __GFP_DIRECT_RECLAIM = 0x100, 0x2000, 0x10000, 0x400


def alloc_pages_node(nid: int, gfp: int, order: int) -> page:
    """Allocate 2**order pages that follow each other; return the first one's `page`, or None."""
    return alloc_pages_exact_nid(nid, PAGE_SIZE << order, gfp)


def alloc_pages_exact_nid(nid: int, size: int, gfp: int) -> page:
    """Allocate pages that follow each other, of `size` bytes together; return the first one's `page`, or None."""
    memory = this().memory
    if nid < 0:
        nid = this().machine.node_of[this().cpu]
    addr = memory.allocate(f"pages({size // PAGE_SIZE})", size, nid)
    if not addr:
        return NULL
    run = mem_map().runs[addr] = memory.live[addr].thing = page_run(addr, size // PAGE_SIZE)
    return run.page(0)


def alloc_page(gfp: int) -> page:
    return alloc_pages_node(-1, gfp, 0)


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
