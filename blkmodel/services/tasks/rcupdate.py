"""Read-copy-update, as far as one thread can show it: that readers end what they begin (include/linux/rcupdate.h,
kernel/rcu/tree.c)."""

from collections.abc import Callable
from typing import Any

from blkmodel.sim import running, this
from blkmodel.sim.kernel import Context


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
