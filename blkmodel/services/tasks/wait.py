"""Wait queues and completions: how a task sleeps until something has happened (kernel/sched/core.c,
kernel/sched/wait.c, wait.h, blkdev.h, wait_bit.h, kernel/sched/completion.c, completion.h)."""

from collections.abc import Callable
from typing import Any

from blkmodel.services.base.err import ERESTARTSYS
from blkmodel.services.base.symbols import linked
from blkmodel.services.data.list import list_add_tail, list_del_init, list_head
from blkmodel.services.tasks.timer import jiffies, jiffies_to_nsecs
from blkmodel.sim import this
from blkmodel.sim.kernel import Context
from blkmodel.sim.structure import NULL, Struct, struct

TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE = 1, 2
WQ_FLAG_EXCLUSIVE = 1


class wait_queue_head(Struct):
    """Those who wait. Exclusive waiters are woken one at a time, the others together."""

    __slots__ = ("head",)
    SIZE = 24

    def __init__(self) -> None:
        self.head = list_head()


@struct
class wait_queue_entry(Struct):
    """One waiter. `func(entry)` is called to wake it and says whether it was woken; entry is its place in line."""

    SIZE = 40
    flags: int = 0
    private: Any = None
    func: Callable[..., int] = NULL
    entry: list_head = NULL


def default_wake_function(waiter: wait_queue_entry) -> int:
    """Wake the waiter's task; return whether it was asleep, as 1 or 0."""
    task = waiter.private
    slept = not task.runnable
    task.runnable = True
    return int(slept)


def autoremove_wake_function(waiter: wait_queue_entry) -> int:
    """Wake the waiter's task and, if it was asleep, take it off its queue. Returns whether it was, as 1 or 0."""
    ret = default_wake_function(waiter)
    if ret:
        list_del_init(waiter, "entry")
    return ret


def init_wait(waiter: wait_queue_entry) -> None:
    """Make the running task the one that is woken."""
    waiter.private = this().context
    waiter.func = autoremove_wake_function


def init_waitqueue_func_entry(waiter: wait_queue_entry, func: Callable[..., int]) -> None:
    waiter.func = func


def add_wait_queue(queue: wait_queue_head, waiter: wait_queue_entry) -> None:
    """Add at the front: those who are not exclusive stand before those who are."""
    list_add_tail(waiter, queue.head, "entry")
    queue.head.entries.move_to_end(waiter, last=False)


__add_wait_queue = add_wait_queue


def prepare_to_wait(queue: wait_queue_head, waiter: wait_queue_entry, state: int) -> None:
    """Join the queue and mark the task as sleeping; it sleeps at the next io_schedule()."""
    waiter.flags &= ~WQ_FLAG_EXCLUSIVE
    if waiter.entry is None:
        add_wait_queue(queue, waiter)
    waiter.private.runnable = False


def prepare_to_wait_exclusive(queue: wait_queue_head, waiter: wait_queue_entry, state: int) -> None:
    waiter.flags |= WQ_FLAG_EXCLUSIVE
    if waiter.entry is None:
        list_add_tail(waiter, queue.head, "entry")
    waiter.private.runnable = False


def finish_wait(queue: wait_queue_head, waiter: wait_queue_entry) -> None:
    waiter.private.runnable = True
    list_del_init(waiter, "entry")


def waitqueue_active(queue: wait_queue_head) -> bool:
    return bool(queue.head.entries)


def wake_up_nr(queue: wait_queue_head, nr: int) -> None:
    """Wake all waiters that are not exclusive and up to `nr` that are (0: all)."""
    for waiter in queue.head:
        exclusive = waiter.flags & WQ_FLAG_EXCLUSIVE
        if waiter.func(waiter) and exclusive:
            nr -= 1
            if nr == 0:
                break


def wake_up(queue: wait_queue_head) -> None:
    wake_up_nr(queue, 1)


def wake_up_all(queue: wait_queue_head) -> None:
    wake_up_nr(queue, 0)


def blk_schedule_flush_plug(task: Context) -> None:
    """A task that goes to sleep lets go of what its plug holds back: it might be what it is to wait for."""
    if task.plug is not None:
        linked.blk_flush_plug_list(task.plug, True)


def io_schedule() -> None:
    """Sleep until woken, or for no reason now and then: the caller looks again."""
    kernel = this()
    task = kernel.context
    blk_schedule_flush_plug(task)
    kernel.loop.sleep_until(lambda: task.runnable, "a wake-up", may_wake_early=True)


def wait_event(queue: wait_queue_head, condition: Callable[[], Any], why: str = 'a condition') -> None:
    """Sleep until condition() holds."""
    _schedule(condition, why)


def wait_event_timeout(queue: wait_queue_head, condition: Callable[[], Any], timeout: int) -> int:
    """Sleep until condition() holds or `timeout` jiffies have passed. Returns how many were left, at least 1; or 0."""
    until = jiffies() + timeout
    return max(until - jiffies(), 1) if _schedule(condition, "a condition", jiffies_to_nsecs(timeout)) else 0


def wait_event_interruptible(queue: wait_queue_head, condition: Callable[[], Any]) -> int:
    """Sleep until condition() holds. Returns 0, or -ERESTARTSYS where a signal comes first."""
    task = this().context
    _schedule(lambda: condition() or task.signal, "a condition, or a signal")
    return 0 if condition() else -ERESTARTSYS


def _schedule(condition: Callable[[], Any], why: str, timeout: int | None = None) -> bool:
    if condition():
        return True
    blk_schedule_flush_plug(this().context)
    return this().loop.sleep_until(condition, why, timeout)


class completion(Struct):
    """Something that will be done; `done` counts how often it was."""

    __slots__ = ("done", "wait")
    SIZE = 32

    def __init__(self) -> None:
        self.done = 0
        self.wait = wait_queue_head()


def complete(done: completion) -> None:
    done.done += 1
    wake_up(done.wait)


def wait_for_completion(done: completion) -> None:
    _schedule(lambda: done.done, "a completion")
    done.done -= 1


wait_for_completion_io = wait_for_completion


def wait_for_completion_io_timeout(done: completion, timeout: int) -> int:
    """Wait until it is done once more than was waited for, at most `timeout` jiffies. Returns how many were left, at
    least 1; 0 where they passed first."""
    until = jiffies() + timeout
    if not _schedule(lambda: done.done, "a completion", jiffies_to_nsecs(timeout)):
        return 0
    done.done -= 1
    return max(until - jiffies(), 1)


def init_completion(done: completion) -> None:
    """Start as if nothing had been done."""
    done.done = 0
