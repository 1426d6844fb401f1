"""Memory that a device reads and writes, and pools of small blocks of it, cut from pages. Without an IOMMU its address
there is where it lies (include/linux/dma-mapping.h, kernel/dma/mapping.c, blkdev.h, mm/dmapool.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blkmodel.services.data.list import list_add, list_del_init, list_head
from blkmodel.services.devices.device import dev_to_node, device
from blkmodel.services.memory.scatterlist import scatterlist
from blkmodel.services.memory.slab import GFP_KERNEL, array_in_bytes, kfree, kzalloc, kzalloc_node, wished_node
from blkmodel.sim import NULL, PAGE_SIZE, Array, Struct, sizeof, this

if TYPE_CHECKING:
    from blkmodel.include.linux.blk_types import bio_vec

DMA_TO_DEVICE, DMA_FROM_DEVICE, DMA_ATTR_NO_WARN, DMA_MAPPING_ERROR = 1, 2, 1 << 8, (1 << 64) - 1


def DMA_BIT_MASK(bits: int) -> int:
    return (1 << bits) - 1


def dma_alloc_coherent(dev: device, count: int, ctype: type | str, gfp: int) -> tuple[Array, int]:
    """Allocate zeroed pages, on the device's node, for `count` things of a type. Returns an array and its address for
    the device; (None, 0) where there is no memory.

    Entries of an array of structures are None, standing for zeros, until somebody writes a structure there.
    """
    size = -(-count * sizeof(ctype) // PAGE_SIZE) * PAGE_SIZE
    array = array_in_bytes(count, ctype, size, gfp, dev_to_node(dev)) if size else NULL
    return (array, array._addr) if array is not None else (NULL, 0)


def dma_free_coherent(dev: device, array: Array, dma_addr: int) -> None:
    """Free what dma_alloc_coherent() returned; None for nothing."""
    this().memory.free(array)


def dma_map_bvec(dev: device, bv: bio_vec, direction: int, attrs: int) -> int:
    """Let the device use a piece of memory. Returns its address there."""
    return bv.bv_page._addr + bv.bv_offset


def dma_unmap_page(dev: device, addr: int, size: int, direction: int) -> None:
    """The device is done with a piece of memory. (Without an IOMMU or a bounce buffer, nothing is to be done.)"""


def dma_mapping_error(dev: device, dma_addr: int) -> bool:
    return dma_addr == DMA_MAPPING_ERROR


def dma_map_sg_attrs(dev: device, sgl: list[scatterlist], nents: int, direction: int, attrs: int) -> int:
    """Let the device use the pieces of a scatterlist. Returns how many it sees: without an IOMMU, as many."""
    for sg in sgl[:nents]:
        sg.dma_address, sg.dma_length = sg.page._addr + sg.offset, sg.length
    return nents


def dma_unmap_sg(dev: device, sgl: list[scatterlist], nents: int, direction: int) -> None:
    """The device is done with the pieces of a scatterlist."""


def dma_set_mask_and_coherent(dev: device, mask: int) -> int:
    """Say how far the device can address memory. Returns 0: it reaches all there is."""
    return 0


def dma_max_mapping_size(dev: device) -> int:
    """How many bytes can be mapped at once: without bounce buffers, any number."""
    return (1 << 64) - 1


def dma_set_max_seg_size(dev: device, size: int) -> int:
    """Say how long one piece for the device may be. (The queue's own limit is what is looked at.)"""
    return 0


class dma_pool(Struct, size=104):
    """Blocks of `size` bytes, a power of two; pages of `allocation` bytes are cut into them. page_list has those pages,
    the newest first."""

    __slots__ = ("allocation", "dev", "name", "page_list", "size")

    def __init__(self) -> None:
        self.page_list = list_head()
        self.size = 0
        self.dev: device = NULL
        self.allocation, self.name = 0, ""


class dma_page(Struct, size=48):
    """A page of a pool, at address `dma`. in_use: how many blocks are given out; _free: where those begin that are not,
    the next to be given out last (in C a chain through the blocks themselves, which begins at `offset`)."""

    page_list: list_head = NULL
    dma: int = 0
    in_use: int = 0
    _free: list[int] = NULL


def dma_pool_create(name: str, dev: device, size: int, align: int, boundary: int) -> dma_pool:
    """Make a pool of blocks of `size` bytes, aligned to that. Returns it, or None."""
    assert size == align == 1 << (size - 1).bit_length(), "blocks are a power of two long, and aligned to that"
    if (pool := kzalloc_node(dma_pool, GFP_KERNEL, dev_to_node(dev))) is not None:
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
    if (page := next((page for page in pool.page_list if page._free), None)) is None:
        if (page := _pool_alloc_page(pool, gfp)) is None:
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
    if (page := kzalloc(dma_page, gfp)) is None:
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
