"""Work that runs later, in a worker of its own."""

from typing import Any

from blkmodel.include.linux.jiffies import jiffies_to_ns
from blkmodel.include.linux.slab import kfree, kzalloc
from blkmodel.sim import this
from blkmodel.sim.kernel import Context
from blkmodel.sim.structure import Struct, struct

WORK_CPU_UNBOUND = 512
BUSY = 16


@struct
class work_struct(Struct):
    """Work: `func(work)` to be called once each time it is queued; `data` is whom it belongs to.

    _event is the queued run, while there is one; _queue counts it. (In C the owner is found from the work's address.)
    _again: how often, since the clock last moved (at _now), it was queued from within itself and without delay.
    """

    SIZE = 32
    func: Any = None
    data: Any = None
    _event: Any = None
    _queue: Any = None
    _runs: bool = False
    _again: int = 0
    _now: int = 0


@struct
class workqueue_struct(Struct):
    """A driver's own work queue, for which a name does elsewhere. _busy: so many works wait or run."""

    SIZE = 320
    name: str = ""
    _busy: int = 0


class delayed_work(work_struct):
    """Work that can be queued for later."""

    __slots__ = ()
    SIZE = 88


def INIT_WORK(work, func, owner):
    work.func = func
    work.data = owner


INIT_DELAYED_WORK = INIT_WORK


def work_pending(work):
    return work._event is not None


def queue_delayed_work_on(cpu, name, work, delay):
    """Queue work for a worker of `name` on that CPU, `delay` jiffies from now; False where it already is queued.

    What a worker does takes no time in the model. Work that queues itself over and over would stop the clock: so it
    has to wait for the next tick now and then.
    """
    kernel = this()
    if work._event is not None:
        return False
    queue = None
    if isinstance(name, workqueue_struct):
        name, queue = name.name, name if not delay else None
    if work._runs and not delay:
        work._again = work._again + 1 if work._now == kernel.now else 0
        work._now = kernel.now
        delay = int(work._again > BUSY)
    cpu = kernel.cpu if cpu == WORK_CPU_UNBOUND or cpu not in kernel.online else cpu

    def run():
        work._event = work._queue = None
        work._runs = True
        work.func(work)
        work._runs = False
        if queue is not None:
            queue._busy -= 1
    if queue is not None:
        queue._busy += 1
    work._queue = queue
    work._event = kernel.loop.post(Context("task", name, cpu), run, jiffies_to_ns(delay))
    return True


def mod_delayed_work_on(cpu, name, work, delay):
    """Queue work, or change when queued work will run; return whether it was queued."""
    was = cancel_delayed_work(work)
    queue_delayed_work_on(cpu, name, work, delay)
    return was


def queue_delayed_work(name, work, delay):
    return queue_delayed_work_on(WORK_CPU_UNBOUND, name, work, delay)


def queue_work_on(cpu, name, work):
    return queue_delayed_work_on(cpu, name, work, 0)


def queue_work(name, work):
    return queue_work_on(WORK_CPU_UNBOUND, name, work)


def schedule_work(work):
    return queue_work("kworker", work)


def cancel_delayed_work(work):
    """Take queued work back; return whether there was any."""
    if work._event is None:
        return False
    work._event.cancelled = True
    if work._queue is not None:
        work._queue._busy -= 1
    work._event = work._queue = None
    return True


cancel_work_sync = cancel_delayed_work_sync = cancel_delayed_work


def flush_work(work):
    """Wait until queued work has run."""
    this().loop.sleep_until(lambda: work._event is None, "queued work")


def alloc_workqueue(name):
    """Make a work queue; None on failure. What it has for each CPU is not accounted."""
    queue = kzalloc(workqueue_struct, 0)
    if queue is not None:
        queue.name = name
    return queue


def flush_workqueue(queue):
    """Wait until the works that were queued have run; not for those that are for later."""
    this().loop.sleep_until(lambda: not queue._busy, f"the work queue {queue.name}")


def destroy_workqueue(queue):
    """Free a work queue, once its works have run."""
    flush_workqueue(queue)
    kfree(queue)
