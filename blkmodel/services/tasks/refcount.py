"""Reference counts: those that are part of a structure, and one that is cheap to take until it is killed
(include/linux/kref.h, lib/percpu-refcount.c, percpu-refcount.h).

In the kernel the cheap one is a counter per CPU until it is killed and one counter after. One thread sees no
difference, so the model keeps one counter, and whether the initial reference still stands. What shows is when a killed
reference may end: in per-CPU mode only after a grace period, in a softirq; in atomic mode at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from blkmodel.services.base.err import ENOMEM
from blkmodel.services.memory.percpu import alloc_percpu_gfp, free_percpu
from blkmodel.services.tasks.rcupdate import call_rcu
from blkmodel.services.tasks.wait import wait_on_bit, wake_up_bit
from blkmodel.sim import NULL, Struct

PERCPU_REF_INIT_ATOMIC = 1


class kref(Struct, size=4):
    """`refcount` references are held to the structure that embeds it: _owner (in C found by its address)."""

    refcount: int = 0
    _owner: Any = None


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


class percpu_ref(Struct, size=56):
    """`count` references are held; `release(ref)` is called when the last goes. A dead one gives out no live ones.

    percpu: whether it is in per-CPU mode; force_atomic: whether it is to stay out of it; switching: whether it is
    on the way out of it. _owner is the structure that embeds it (in C found by its address).
    """

    count: int = 0
    dead: bool = False
    release: Callable[[percpu_ref], None] = NULL
    percpu_count: list[int] = NULL
    percpu: bool = False
    force_atomic: bool = False
    switching: bool = False
    _owner: Any = None


def percpu_ref_init(ref: percpu_ref, release: Callable[[percpu_ref], None], flags: int, gfp: int) -> int:
    """Start with one reference. Returns 0, or -ENOMEM where the per-CPU counters can't be had."""
    ref.percpu_count = alloc_percpu_gfp("unsigned long", gfp)
    if ref.percpu_count is None:
        return -ENOMEM
    ref.count = 1
    ref.dead = False
    ref.release = release
    ref.force_atomic = bool(flags & PERCPU_REF_INIT_ATOMIC)
    ref.percpu = not ref.force_atomic
    return 0


def percpu_ref_exit(ref: percpu_ref) -> None:
    free_percpu(ref.percpu_count)
    ref.percpu_count = NULL


def percpu_ref_get(ref: percpu_ref) -> None:
    ref.count += 1


def percpu_ref_tryget(ref: percpu_ref) -> bool:
    """Take a reference unless none is left."""
    if ref.count == 0:
        return False
    ref.count += 1
    return True


def percpu_ref_tryget_live(ref: percpu_ref) -> bool:
    """Take a reference unless the count has been killed."""
    if ref.dead:
        return False
    ref.count += 1
    return True


def percpu_ref_put(ref: percpu_ref) -> None:
    left = ref.count = ref.count - 1
    if left <= 0:
        assert left == 0, "a reference was dropped twice"
        ref.release(ref)


def percpu_ref_kill(ref: percpu_ref) -> None:
    """Drop the initial reference, after a grace period in per-CPU mode; from now on tryget_live fails."""
    ref.dead = True
    if not ref.percpu:
        percpu_ref_put(ref)
        return
    ref.percpu = False
    ref.switching = True

    def switched() -> None:
        ref.switching = False
        wake_up_bit(ref, "switching")
        percpu_ref_put(ref)
    call_rcu(switched)


def percpu_ref_switch_to_percpu(ref: percpu_ref) -> None:
    """From now on be in per-CPU mode whenever not dead."""
    ref.force_atomic = False
    ref.percpu = not ref.dead


def percpu_ref_resurrect(ref: percpu_ref) -> None:
    """Take the initial reference again."""
    wait_on_bit(ref, "switching", lambda: ref.switching, "a reference count to leave per-CPU mode")
    ref.dead = False
    ref.count += 1
    ref.percpu = not ref.force_atomic


def percpu_ref_is_zero(ref: percpu_ref) -> bool:
    return ref.count == 0
