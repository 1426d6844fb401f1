"""Work that runs later, in a worker; async_schedule() takes one of any CPU, so that whoever brings a device up need
not wait (include/linux/workqueue.h, kernel/workqueue.c, async.h)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from blkmodel.services.memory.slab import GFP_ATOMIC, kfree, kzalloc
from blkmodel.services.tasks.timer import jiffies, nsecs_to_wheel
from blkmodel.services.tasks.wait import wait_event, wait_queue_head, wake_up_all
from blkmodel.sim import NULL, Context, Event, Struct, statics, this

WORK_CPU_UNBOUND = 512
BUSY = 16
WQ_UNBOUND, WQ_MEM_RECLAIM, WQ_HIGHPRI = 2, 8, 16
HIGHPRI_NICE_LEVEL = -20


class work_struct(Struct, size=32):
    """Work: `func(work)` to be called once each time it is queued; `data` is whom it belongs to.

    _event is the queued run, while there is one; _queue counts it. _runs: whether it runs; _late: whether the queued
    run has its time come, and waits for that to end. (In C the owner is found from the work's address.)
    _sleeps: whether it may.
    _again: how often, since the clock last moved (at _now), it was queued from within itself and without delay.
    """

    func: Callable[..., Any] = NULL
    data: Any = None
    _event: Event = NULL
    _queue: workqueue_struct = NULL
    _runs: bool = False
    _late: bool = False
    _sleeps: bool = True
    _again: int = 0
    _now: int = 0


class workqueue_struct(Struct, size=320):
    """A driver's own work queue, for which a name does elsewhere. flags: WQ_UNBOUND: its workers are no CPU's own;
    WQ_HIGHPRI: they go before other tasks of their CPU. _busy: so many works wait or run."""

    name: str = ""
    flags: int = 0
    _busy: int = 0


class workers(statics):
    """idle: where those wait who want work to have run; all are woken whenever some has."""

    def __init__(self) -> None:
        self.idle = wait_queue_head()


class delayed_work(work_struct, size=88):
    """Work that can be queued for later."""


def INIT_WORK(work: work_struct, func: Callable[..., Any], owner: Any, sleeps: bool = True) -> None:
    """Say what the work is, whose, and whether it may sleep. (The last is the model's: who does not needs no stack.)"""
    work.func = func
    work.data = owner
    work._sleeps = sleeps


INIT_DELAYED_WORK = INIT_WORK


def wq_select_unbound_cpu(cpu: int) -> int:
    """The CPU on which a worker wakes that is no CPU's own: the next one that is online, as this one is busy."""
    online = sorted(this().online)
    return this().chosen(next((other for other in online if other > cpu), online[0]))


def queue_delayed_work_on(cpu: int, name: str | workqueue_struct, work: work_struct, delay: int) -> bool:
    """Queue work for a worker of `name` on that CPU, `delay` jiffies from now; False where it already is queued.

    Work that is queued while it runs runs again afterwards, never beside itself. What a worker does takes no time in
    the model, so work that queues itself over and over would stop the clock: it has to wait for the next tick now and
    then.
    """
    kernel = this()
    if work._event is not None:
        return False
    queue, nice = None, 0
    if isinstance(name, workqueue_struct):
        queue = name if not delay else None
        if name.flags & WQ_UNBOUND:
            cpu = wq_select_unbound_cpu(kernel.cpu)
        if name.flags & WQ_HIGHPRI:
            nice = HIGHPRI_NICE_LEVEL
        name = name.name
    if work._runs and not delay:
        work._again = work._again + 1 if work._now == kernel.now else 0
        work._now = kernel.now
        delay = int(work._again > BUSY)
    cpu = kernel.cpu if cpu == WORK_CPU_UNBOUND or cpu not in kernel.online else cpu
    context = Context("task", name, cpu, nice=nice)

    def run() -> None:
        if work._runs:
            work._late = True
            return
        work._event = work._queue = NULL
        work._runs = True
        work.func(work)
        work._runs = False
        if queue is not None:
            queue._busy -= 1
        if work._late:
            work._late = False
            work._event = kernel.loop.post(context, run, 0, not work._sleeps)
        wake_up_all(workers().idle)
    if queue is not None:
        queue._busy += 1
    work._queue = queue
    work._event = kernel.loop.post(context, run, nsecs_to_wheel(jiffies() + delay) if delay else 0, not work._sleeps)
    return True


def mod_delayed_work_on(cpu: int, name: str | workqueue_struct, work: work_struct, delay: int) -> bool:
    """Queue work, or change when queued work will run; return whether it was queued."""
    was = cancel_delayed_work(work)
    queue_delayed_work_on(cpu, name, work, delay)
    return was


def queue_work_on(cpu: int, name: str | workqueue_struct, work: work_struct) -> bool:
    return queue_delayed_work_on(cpu, name, work, 0)


def queue_work(name: str | workqueue_struct, work: work_struct) -> bool:
    return queue_work_on(WORK_CPU_UNBOUND, name, work)


def schedule_work(work: work_struct) -> bool:
    return queue_work("kworker", work)


def cancel_delayed_work(work: work_struct) -> bool:
    """Take queued work back; return whether there was any."""
    if work._event is None:
        return False
    work._event.cancelled = True
    if work._queue is not None:
        work._queue._busy -= 1
    work._event = work._queue = NULL
    work._late = False
    return True


def cancel_delayed_work_sync(work: work_struct) -> bool:
    """Take queued work back, and wait until it does not run; return whether there was any."""
    was = cancel_delayed_work(work)
    wait_event(workers().idle, lambda: not work._runs, "work that runs")
    return was


cancel_work_sync = cancel_delayed_work_sync


def flush_work(work: work_struct) -> bool:
    """Wait until queued work has run; return whether there was any."""
    if work._event is None and not work._runs:
        return False
    wait_event(workers().idle, lambda: work._event is None and not work._runs, "queued work")
    return True


def work_on_cpu(cpu: int, fn: Callable[[], int]) -> int:
    """Let a worker of that CPU call fn(), and wait. Returns what it returns."""
    returned = []
    work = work_struct()
    INIT_WORK(work, lambda work: returned.append(fn()), None)
    queue_work_on(cpu, "kworker", work)
    flush_work(work)
    return returned[0]


def alloc_workqueue(name: str, flags: int = 0) -> workqueue_struct:
    """Make a work queue; None on failure. What it has for each CPU is not accounted."""
    if (queue := kzalloc(workqueue_struct, 0)) is not None:
        queue.name, queue.flags = name, flags
    return queue


def flush_workqueue(queue: workqueue_struct) -> None:
    """Wait until the works that were queued have run; not for those that are for later."""
    wait_event(workers().idle, lambda: not queue._busy, f"the work queue {queue.name}")


def destroy_workqueue(queue: workqueue_struct) -> None:
    """Free a work queue, once its works have run."""
    flush_workqueue(queue)
    kfree(queue)


class async_entry(Struct, size=104):
    """A function to be called, with its argument."""

    func: Callable[..., None] = NULL
    data: Any = None


def async_schedule(func: Callable[..., None], data: Any) -> None:
    """Let func(data, cookie) be called by a worker; without memory, call it now. (The model's cookie is 0.)"""
    if (entry := kzalloc(async_entry, GFP_ATOMIC)) is None:
        func(data, 0)
        return
    entry.func, entry.data = func, data

    def run() -> None:
        entry.func(entry.data, 0)
        kfree(entry)
    kernel = this()
    kernel.loop.post(Context("task", "kworker/u", wq_select_unbound_cpu(kernel.cpu)), run)
