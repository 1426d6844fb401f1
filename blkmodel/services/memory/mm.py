"""Pages: who uses them, and what state they are in (arch/x86/include/asm/pgtable.h, mm.h, page-flags.h,
mm/page-writeback.c, memblock.h)."""


from blkmodel.services.files.inode import I_DIRTY_PAGES
from blkmodel.services.memory.gfp import __free_page, mem_map, page_run
from blkmodel.services.memory.mm_types import page
from blkmodel.sim import statics
from blkmodel.sim.memory import DIRECT_MAP, PAGE_SIZE

PG_locked, PG_error, PG_uptodate, PG_dirty, PG_private = 0, 2, 3, 4, 12


@statics
class empty_zero_page:
    """A page of zeroes that nobody writes to. It is part of the kernel and not of the heap."""

    def __init__(self) -> None:
        self.run = page_run(DIRECT_MAP - PAGE_SIZE, 1)
        mem_map().runs[self.run._addr] = self.run


def ZERO_PAGE() -> page:
    return empty_zero_page().run.page(0)


def offset_in_page(addr: int) -> int:
    return addr % PAGE_SIZE


def get_page(page: page) -> None:
    page.refcount += 1


def put_page(page: page) -> None:
    """Drop a reference to a page; the last one frees it."""
    assert page.refcount > 0, "a page was put too often"
    page.refcount -= 1
    if page.refcount == 0:
        __free_page(page)


def PageLocked(page: page) -> bool:
    return bool(page.flags >> PG_locked & 1)


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
    """Mark a page as changed since it was read or written back; the inode that it is cached of then has such a page."""
    page.flags |= 1 << PG_dirty
    if page.mapping is not None:
        page.mapping.host.i_state |= I_DIRTY_PAGES
