"""Read-copy-update whose readers may sleep: each srcu_struct counts its own readers (kernel/rcu/srcutree.c, srcu.h)."""


from blkmodel.services.base.errno import ENOMEM
from blkmodel.services.memory.percpu import alloc_percpu, free_percpu
from blkmodel.sim import this
from blkmodel.sim.structure import NULL, Struct, struct


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
