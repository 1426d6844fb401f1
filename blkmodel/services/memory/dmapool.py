"""Pools of small blocks that a device reads, cut from pages that it can reach (mm/dmapool.c)."""

from blkmodel.services.data.list import list_add, list_del_init, list_head
from blkmodel.services.devices.device import dev_to_node, device
from blkmodel.services.memory.gfp import GFP_KERNEL
from blkmodel.services.memory.slab import kfree, kzalloc, kzalloc_node, wished_node
from blkmodel.sim import this
from blkmodel.sim.memory import PAGE_SIZE
from blkmodel.sim.structure import NULL, Array, Struct, sizeof, struct


class dma_pool(Struct):
    """Blocks of `size` bytes, a power of two; pages of `allocation` bytes are cut into them. page_list has those pages,
    the newest first."""

    __slots__ = ("allocation", "dev", "name", "page_list", "size")
    SIZE = 104

    def __init__(self) -> None:
        self.page_list = list_head()
        self.size = 0
        self.dev: device = NULL
        self.allocation = 0
        self.name = ""


@struct
class dma_page(Struct):
    """A page of a pool, at address `dma`. in_use: how many blocks are given out; _free: where those begin that are not,
    the next to be given out last (in C a chain through the blocks themselves, which begins at `offset`)."""

    SIZE = 48
    page_list: list_head = NULL
    dma: int = 0
    in_use: int = 0
    _free: list[int] = NULL


def dma_pool_create(name: str, dev: device, size: int, align: int, boundary: int) -> dma_pool:
    """Make a pool of blocks of `size` bytes, aligned to that. Returns it, or None."""
    assert size == align == 1 << (size - 1).bit_length(), "blocks are a power of two long, and aligned to that"
    pool = kzalloc_node(dma_pool, GFP_KERNEL, dev_to_node(dev))
    if pool is not None:
        pool.name, pool.dev, pool.size = name, dev, size
        pool.allocation = max(size, PAGE_SIZE)
    return pool


def dma_pool_destroy(pool: dma_pool) -> None:
    """Free a pool and its pages. All blocks must have come back."""
    if pool is None:
        return
    for page in pool.page_list:
        assert not page.in_use, f"{page.in_use} blocks of pool {pool.name} are in use"
        list_del_init(page, "page_list")
        this().memory.release(page.dma)
        kfree(page)
    kfree(pool)


def dma_pool_alloc(pool: dma_pool, gfp: int, ctype: type | str) -> tuple[Array, int]:
    """Take a block. Returns an array of that type, which fills it, and its address for the device; (None, 0) where
    there is no memory. As after dma_alloc_coherent(), structures that nobody wrote are None."""
    page = next((page for page in pool.page_list if page._free), None)
    if page is None:
        page = _pool_alloc_page(pool, gfp)
        if page is None:
            return None, 0
        list_add(page, pool.page_list, "page_list")
    page.in_use += 1
    addr = page.dma + page._free.pop()
    array = Array(ctype, [0 if isinstance(ctype, str) else None] * (pool.size // sizeof(ctype)))
    array._addr = addr
    this().memory.part(addr, pool.size, array)
    return array, addr


def dma_pool_free(pool: dma_pool, array: Array, addr: int) -> None:
    """Give a block back, which the device will not look at any more."""
    page = next(page for page in pool.page_list if page.dma <= addr < page.dma + pool.allocation)
    this().memory.part(addr, pool.size, None)
    page.in_use -= 1
    page._free.append(addr - page.dma)


def _pool_alloc_page(pool: dma_pool, gfp: int) -> dma_page:
    page = kzalloc(dma_page, gfp)
    if page is None:
        return NULL
    page.dma = this().memory.allocate(f"dma_pool({pool.name})", pool.allocation, wished_node(dev_to_node(pool.dev)))
    if not page.dma:
        kfree(page)
        return NULL
    # The kernel takes the last block of a page, where there is more than one, as reaching beyond it.
    usable = [start for start in range(0, pool.allocation, pool.size) if not start or
              start + pool.size < pool.allocation]
    page._free = usable[::-1]
    return page
