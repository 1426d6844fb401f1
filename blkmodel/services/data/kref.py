"""Reference counts that are part of a structure (include/linux/kref.h)."""

from collections.abc import Callable
from typing import Any

from blkmodel.sim.structure import Struct


class kref(Struct):
    """`refcount` references are held to the structure that embeds it: _owner (in C found by its address)."""

    __slots__ = ("_owner", "refcount")
    SIZE = 4

    def __init__(self) -> None:
        self.refcount = 0
        self._owner: Any = None


def kref_init(ref: kref, owner: Any) -> None:
    """Start with one reference. `owner` is the structure that embeds it."""
    ref.refcount = 1
    ref._owner = owner


def kref_get(ref: kref) -> None:
    ref.refcount += 1


def kref_get_unless_zero(ref: kref) -> bool:
    """Take a reference, unless the last one is gone; return whether."""
    if ref.refcount == 0:
        return False
    ref.refcount += 1
    return True


def kref_put(ref: kref, release: Callable[[kref], None]) -> bool:
    """Drop a reference; with the last one release(ref) is called. Returns whether it was."""
    assert ref.refcount > 0, "a reference was dropped twice"
    ref.refcount -= 1
    if ref.refcount == 0:
        release(ref)
        return True
    return False
