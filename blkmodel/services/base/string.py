"""Texts that are allocated (mm/util.c)."""

from blkmodel.services.memory.slab import NUMA_NO_NODE, wished_node
from blkmodel.sim import this
from blkmodel.sim.structure import NULL


class allocated(str):
    """A text on the heap, at _addr; kfree() frees it."""

    _addr = 0


def kstrdup(text: str, gfp: int) -> allocated:
    """A copy of a text; None where there is no memory for it."""
    addr = this().memory.allocate("char[]", len(text.encode("utf8", "surrogateescape")) + 1, wished_node(NUMA_NO_NODE))
    if not addr:
        return NULL
    copy = allocated(text)
    copy._addr = addr
    return copy
