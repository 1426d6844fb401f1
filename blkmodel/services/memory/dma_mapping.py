"""Memory that a device reads and writes. Without an IOMMU its address there is where it lies
(include/linux/dma-mapping.h, kernel/dma/mapping.c, blkdev.h)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blkmodel.services.devices.device import dev_to_node, device
from blkmodel.services.memory.scatterlist import scatterlist
from blkmodel.services.memory.slab import wished_node
from blkmodel.sim import this
from blkmodel.sim.memory import PAGE_SIZE, place_array
from blkmodel.sim.structure import NULL, Array, sizeof

if TYPE_CHECKING:
    from blkmodel.include.linux.blk_types import bio_vec

DMA_TO_DEVICE, DMA_FROM_DEVICE = 1, 2
DMA_ATTR_NO_WARN = 1 << 8
DMA_MAPPING_ERROR = (1 << 64) - 1


def DMA_BIT_MASK(bits: int) -> int:
    return (1 << bits) - 1


def dma_alloc_coherent(dev: device, count: int, ctype: type | str, gfp: int) -> tuple[Array, int]:
    """Allocate zeroed pages, on the device's node, for `count` things of a type. Returns an array and its address for
    the device; (None, 0) where there is no memory.

    Entries of an array of structures are None, standing for zeros, until somebody writes a structure there.
    """
    memory = this().memory
    name = ctype if isinstance(ctype, str) else ctype.__name__
    size = -(-count * sizeof(ctype) // PAGE_SIZE) * PAGE_SIZE
    addr = memory.allocate(f"{name}[]", size, wished_node(dev_to_node(dev))) if size else 0
    if not addr:
        return NULL, 0
    items = [0 if isinstance(ctype, str) else None] * count
    array = memory.live[addr].thing = place_array(ctype, items, addr)
    return array, addr


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
        sg.dma_address = sg.page._addr + sg.offset
        sg.dma_length = sg.length
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
