"""Read-copy-update: readers end what they begin, and who waits for them sleeps for a grace period. Readers of an
srcu_struct may sleep; each counts its own (include/linux/rcupdate.h, kernel/rcu/tree.c, kernel/rcu/srcutree.c, srcu.h).

A reader of RCU does not sleep, and one CPU runs at a time: so when a grace period has passed, all have left.
"""

from collections.abc import Callable
from dataclasses import field
from typing import Any

from blkmodel.services.base.err import ENOMEM
from blkmodel.services.memory.percpu import alloc_percpu, free_percpu
from blkmodel.services.tasks.timer import TICK_NSEC, schedule_timeout_uninterruptible
from blkmodel.services.tasks.wait import (complete, completion, wait_event, wait_for_completion, wait_queue_head,
    wake_up_all)
from blkmodel.sim import NULL, Context, Struct, running, this

GRACE_TICKS = 2


def rcu_read_lock() -> None:
    running.kernel.context.rcu += 1


def rcu_read_unlock() -> None:
    kernel = running.kernel
    context = kernel.context
    left = context.rcu = context.rcu - 1
    assert left >= 0, "rcu_read_unlock() without rcu_read_lock()"
    if not left and context.kind == "task":
        kernel.loop.spend()


def synchronize_rcu() -> None:
    """Sleep for a grace period: every reader that is inside has left then."""
    done = completion()
    call_rcu(lambda: complete(done))
    wait_for_completion(done)


def call_rcu(fn: Callable[[], Any]) -> None:
    """Call fn() in a softirq once every reader that is inside has left. (In C it is given a structure's rcu_head.)"""
    kernel = this()
    kernel.loop.grace += 1

    def run() -> None:
        kernel.loop.grace -= 1
        fn()
    # by the end of the next tick but one every reader that is inside now has left for certain
    kernel.loop.post(Context("softirq", "rcu", kernel.cpu), run, GRACE_TICKS * TICK_NSEC - kernel.loop.now % TICK_NSEC)


class srcu_data(Struct, size=384):
    """One CPU's part. The size is worked out from the declaration; no debug information gives it."""


class srcu_struct(Struct, size=3480):
    """Of `_readers` those are inside that came in before the running grace period, and those that came in since: the
    index that a reader got says which. _left is where those wait who wait for readers; sda is the CPUs' parts. The size
    is worked out from the declaration, for 512 CPUs."""

    sda: list[srcu_data] = NULL
    _readers: list[int] = field(default_factory=lambda: [0, 0])
    _idx: int = 0
    _left: wait_queue_head = field(default_factory=wait_queue_head)


def init_srcu_struct(srcu: srcu_struct) -> int:
    """Returns 0, or -ENOMEM."""
    srcu.sda = alloc_percpu(srcu_data)
    return 0 if srcu.sda is not None else -ENOMEM


def cleanup_srcu_struct(srcu: srcu_struct) -> None:
    assert not any(srcu._readers), "a reader is still inside"
    free_percpu(srcu.sda)
    srcu.sda = NULL


def srcu_read_lock(srcu: srcu_struct) -> int:
    """Enter; the index that is returned is for srcu_read_unlock()."""
    srcu._readers[srcu._idx] += 1
    return srcu._idx


def srcu_read_unlock(srcu: srcu_struct, index: int) -> None:
    assert srcu._readers[index] > 0, "srcu_read_unlock() without srcu_read_lock()"
    srcu._readers[index] -= 1
    if not srcu._readers[index]:
        wake_up_all(srcu._left)
    this().loop.spend()


def synchronize_srcu(srcu: srcu_struct) -> None:
    """Wait until those readers have left that are inside now. It takes a tick at least, in which others have their
    turn."""
    wait_event(srcu._left, lambda: not srcu._readers[1 - srcu._idx], "earlier readers of an srcu_struct")
    index, srcu._idx = srcu._idx, 1 - srcu._idx
    schedule_timeout_uninterruptible(1, "a grace period")
    wait_event(srcu._left, lambda: not srcu._readers[index], "the readers of an srcu_struct")
