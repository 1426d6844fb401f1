"""struct page."""

from typing import Any

from blkmodel.sim.structure import Struct, struct


@struct
class page(Struct):
    """A page of memory, the first of a run. `_addr` is where the page itself lies.

    lru is the list it is on; private belongs to its owner; mapping is the inode whose cache it is in, index its
    place there.
    """

    SIZE = 64
    lru: Any = None
    private: Any = 0
    mapping: Any = None
    index: int = 0
