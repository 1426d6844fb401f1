"""Blocks that are known to be bad: the table of them, which stays empty in the model (block/badblocks.c)."""


from blkmodel.services.base.err import ENOMEM
from blkmodel.services.memory.mm import GFP_KERNEL
from blkmodel.services.memory.slab import kcalloc, kfree
from blkmodel.sim.structure import NULL, Struct, struct


@struct
class badblocks(Struct):
    """`shift` is -1 while the table is not in use; `page`: room for 512 entries."""

    SIZE = 64
    shift: int = 0
    page: list[int] = NULL


def badblocks_init(bb: badblocks, enable: int) -> int:
    """Make an empty table. Returns 0 or -ENOMEM."""
    bb.page = kcalloc(512, "u64", GFP_KERNEL)
    bb.shift = 0 if enable and bb.page is not None else -1
    return 0 if bb.page is not None else -ENOMEM


def badblocks_exit(bb: badblocks) -> None:
    kfree(bb.page)
    bb.page = NULL
