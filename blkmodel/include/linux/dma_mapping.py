"""Memory that a device reads and writes. Without an IOMMU its address there is where it lies."""

from blkmodel.include.linux.device import dev_to_node
from blkmodel.include.linux.slab import NUMA_NO_NODE
from blkmodel.sim import this
from blkmodel.sim.memory import PAGE_SIZE
from blkmodel.sim.structure import Array, sizeof


def dma_alloc_coherent(dev, count, ctype, gfp):
    """Allocate zeroed pages, on the device's node, for `count` things of a type. Returns an array and its address for
    the device; (None, 0) where there is no memory.

    Entries of an array of structures are None, standing for zeros, until somebody writes a structure there.
    """
    kernel = this()
    name = ctype if isinstance(ctype, str) else ctype.__name__
    node = dev_to_node(dev)
    if node == NUMA_NO_NODE:
        node = kernel.machine.node_of[kernel.cpu]
    size = -(-count * sizeof(ctype) // PAGE_SIZE) * PAGE_SIZE
    addr = kernel.memory.allocate(f"{name}[]", size, node) if size else 0
    if not addr:
        return None, 0
    array = Array(name, [0 if isinstance(ctype, str) else None] * count)
    array._addr = addr
    return array, addr


def dma_free_coherent(dev, array, dma_addr):
    """Free what dma_alloc_coherent() returned."""
    this().memory.release(array._addr)
