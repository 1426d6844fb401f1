"""Functions that run later, in a worker of any CPU, so that whoever brings a device up need not wait
(include/linux/async.h)."""

from collections.abc import Callable
from typing import Any

from blkmodel.services.memory.gfp import GFP_ATOMIC
from blkmodel.services.memory.slab import kfree, kzalloc
from blkmodel.services.tasks.workqueue import wq_select_unbound_cpu
from blkmodel.sim import this
from blkmodel.sim.kernel import Context
from blkmodel.sim.structure import NULL, Struct, struct


@struct
class async_entry(Struct):
    """A function to be called, with its argument."""

    SIZE = 104
    func: Callable[..., None] = NULL
    data: Any = None


def async_schedule(func: Callable[..., None], data: Any) -> None:
    """Let func(data, cookie) be called by a worker; without memory, call it now. (The model's cookie is 0.)

    What is called so may wait for work that was queued before. So the model begins it when nobody sleeps.
    """
    entry = kzalloc(async_entry, GFP_ATOMIC)
    if entry is None:
        func(data, 0)
        return
    entry.func, entry.data = func, data

    def run() -> None:
        entry.func(entry.data, 0)
        kfree(entry)
    kernel = this()
    kernel.loop.post(Context("task", "kworker/u", wq_select_unbound_cpu(kernel.cpu)), run, patient=True)
