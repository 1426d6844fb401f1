"""Memory that need not lie side by side, and so can be large (mm/vmalloc.c)."""

from typing import Any

from blkmodel.services.memory.slab import NUMA_NO_NODE, wished_node
from blkmodel.sim import this


def vzalloc(size: int) -> int:
    """Allocate so many zeroed bytes. Returns their address, at which the caller places what it wants; 0 on failure."""
    return this().memory.allocate("vmalloc", size, wished_node(NUMA_NO_NODE))


def vfree(thing: Any) -> None:
    """Free the memory at whose beginning `thing` was placed; None is freed for nothing."""
    this().memory.free(thing)
