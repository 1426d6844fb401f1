"""Read-copy-update, as far as one thread can show it: that readers end what they begin. Readers of an srcu_struct may
sleep; each counts its own (include/linux/rcupdate.h, kernel/rcu/tree.c, kernel/rcu/srcutree.c, srcu.h)."""

from collections.abc import Callable
from typing import Any

from blkmodel.services.base.err import ENOMEM
from blkmodel.services.memory.percpu import alloc_percpu, free_percpu
from blkmodel.sim import running, this
from blkmodel.sim.kernel import Context
from blkmodel.sim.structure import NULL, Struct, struct


def rcu_read_lock() -> None:
    running.kernel.rcu_depth += 1


def rcu_read_unlock() -> None:
    kernel = running.kernel
    assert kernel.rcu_depth > 0, "rcu_read_unlock() without rcu_read_lock()"
    kernel.rcu_depth -= 1


def synchronize_rcu() -> None:
    """Wait until every reader that is inside has left; inside one, that is for ever."""
    assert this().rcu_depth == 0, "synchronize_rcu() inside a read-side section"


def call_rcu(fn: Callable[[], Any]) -> None:
    """Call fn() in a softirq once every reader that is inside has left. (In C it is given a structure's rcu_head.)"""
    kernel = this()
    kernel.loop.post(Context("softirq", "rcu", kernel.cpu), fn)


@struct
class srcu_data(Struct):
    """One CPU's part. The size is worked out from the declaration; no debug information gives it."""

    SIZE = 384


@struct
class srcu_struct(Struct):
    """`_readers` are inside; sda is the CPUs' parts. The size is worked out from the declaration, for 512 CPUs."""

    SIZE = 3480
    sda: list[srcu_data] = NULL
    _readers: int = 0


def init_srcu_struct(srcu: srcu_struct) -> int:
    """Returns 0, or -ENOMEM."""
    srcu.sda = alloc_percpu(srcu_data)
    return 0 if srcu.sda is not None else -ENOMEM


def cleanup_srcu_struct(srcu: srcu_struct) -> None:
    assert srcu._readers == 0, "a reader is still inside"
    free_percpu(srcu.sda)
    srcu.sda = NULL


def srcu_read_lock(srcu: srcu_struct) -> int:
    """Enter; the index that is returned is for srcu_read_unlock()."""
    srcu._readers += 1
    return 0


def srcu_read_unlock(srcu: srcu_struct, index: int) -> None:
    assert srcu._readers > 0, "srcu_read_unlock() without srcu_read_lock()"
    srcu._readers -= 1


def synchronize_srcu(srcu: srcu_struct) -> None:
    """Wait until the readers that are inside have left. It takes milliseconds, in which others have their turn."""
    this().loop.give_way()
    this().loop.sleep_until(lambda: srcu._readers == 0, "the readers of an srcu_struct")
