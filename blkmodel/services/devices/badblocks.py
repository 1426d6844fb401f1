"""Blocks that are known to be bad: the table of them (block/badblocks.c)."""

from blkmodel.services.base import ENOMEM
from blkmodel.services.memory.slab import GFP_KERNEL, kcalloc, kfree
from blkmodel.sim import NULL, Struct


class badblocks(Struct, size=64):
    """`shift` is -1 while the table is not in use; `page`: room for 512 entries. _ranges: (first sector, the one behind
    the last), apart and in order, where the C has packed entries."""

    shift: int = 0
    page: list[int] = NULL
    _ranges: list[tuple[int, int]] = NULL


def badblocks_init(bb: badblocks, enable: int) -> int:
    """Make an empty table. Returns 0 or -ENOMEM."""
    bb.page, bb._ranges = kcalloc(512, "u64", GFP_KERNEL), []
    bb.shift = 0 if enable and bb.page is not None else -1
    return 0 if bb.page is not None else -ENOMEM


def badblocks_exit(bb: badblocks) -> None:
    kfree(bb.page)
    bb.page = NULL


def badblocks_check(bb: badblocks, s: int, sectors: int) -> bool:
    """Whether one of the sectors from `s` on is bad."""
    return any(first < s + sectors and s < end for first, end in bb._ranges)


def badblocks_set(bb: badblocks, s: int, sectors: int) -> int:
    """Note that sectors are bad. Returns 0."""
    apart = [each for each in bb._ranges if each[1] < s or s + sectors < each[0]]
    near = [each for each in bb._ranges if each not in apart]
    first, end = min([s, *(each[0] for each in near)]), max([s + sectors, *(each[1] for each in near)])
    bb._ranges = sorted([*apart, (first, end)])
    return 0


def badblocks_clear(bb: badblocks, s: int, sectors: int) -> int:
    """Note that sectors are good again. Returns 0."""
    parts = [part for first, end in bb._ranges for part in ((first, min(end, s)), (max(first, s + sectors), end))]
    bb._ranges = [(first, end) for first, end in parts if first < end]
    return 0


def badblocks_show(bb: badblocks, unack: int) -> str:
    """The table as a file shows it: a line for each range, its first sector and how many there are."""
    return "" if bb.shift < 0 else "".join(f"{first} {end - first}\n" for first, end in bb._ranges)
