"""Wait queues and completions: how a task sleeps until something has happened (kernel/sched/core.c, wait.h, wait_bit.h,
kernel/sched/wait.c, kernel/sched/wait_bit.c, kernel/sched/completion.c, completion.h).

A task goes on when somebody wakes it, and looks for itself whether what it waits for is there.
"""

from collections.abc import Callable
from typing import Any

from blkmodel.services.base.err import ERESTARTSYS
from blkmodel.services.data.list import list_add_tail, list_del_init, list_head
from blkmodel.services.tasks.sched import (TASK_INTERRUPTIBLE, TASK_RUNNING, TASK_UNINTERRUPTIBLE, set_current_state,
    signal_pending_state, wake_up_process)
from blkmodel.services.tasks.timer import MAX_SCHEDULE_TIMEOUT, schedule_timeout
from blkmodel.sim import NULL, Struct, statics, this

WQ_FLAG_EXCLUSIVE = 1


class wait_queue_head(Struct, size=24):
    """Those who wait. Exclusive waiters are woken one at a time, the others together."""

    __slots__ = ("head",)

    def __init__(self) -> None:
        self.head = list_head()


class wait_queue_entry(Struct, size=40):
    """One waiter. `func(entry)` is called to wake it and says whether it was woken; entry is its place in line."""

    flags: int = 0
    private: Any = None
    func: Callable[..., int] = NULL
    entry: list_head = NULL


def default_wake_function(waiter: wait_queue_entry) -> int:
    """Wake the waiter's task; return whether it was asleep, as 1 or 0."""
    return int(wake_up_process(waiter.private))


def autoremove_wake_function(waiter: wait_queue_entry) -> int:
    """Wake the waiter's task and, if it was asleep, take it off its queue. Returns whether it was, as 1 or 0."""
    if ret := default_wake_function(waiter):
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
    """Join the queue and mark the task as sleeping; it sleeps at the next schedule()."""
    waiter.flags &= ~WQ_FLAG_EXCLUSIVE
    if waiter.entry is None:
        add_wait_queue(queue, waiter)
    set_current_state(state)


def prepare_to_wait_exclusive(queue: wait_queue_head, waiter: wait_queue_entry, state: int) -> None:
    waiter.flags |= WQ_FLAG_EXCLUSIVE
    if waiter.entry is None:
        list_add_tail(waiter, queue.head, "entry")
    set_current_state(state)


def finish_wait(queue: wait_queue_head, waiter: wait_queue_entry) -> None:
    set_current_state(TASK_RUNNING)
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


def _wait(queue: wait_queue_head, condition: Callable[[], Any], state: int, timeout: int, why: str) -> int:
    """Sleep in a queue until condition() holds, as it is looked for at the beginning and whenever woken.

    Returns how many jiffies of `timeout` were left, at least 1; 0 where they passed first; -ERESTARTSYS where a signal
    came first.
    """
    if condition():
        return timeout
    waiter = wait_queue_entry()
    init_wait(waiter)
    left = timeout
    while True:
        if signal_pending_state(state, waiter.private):
            list_del_init(waiter, "entry")
            left = 0 if condition() else -ERESTARTSYS
            break
        prepare_to_wait(queue, waiter, state)
        if condition():
            left = max(left, 1)
            break
        if not left:
            break
        left = schedule_timeout(left, why)
    finish_wait(queue, waiter)
    return left


def wait_event(queue: wait_queue_head, condition: Callable[[], Any], why: str = 'a condition') -> None:
    """Sleep until somebody wakes the queue and condition() holds."""
    _wait(queue, condition, TASK_UNINTERRUPTIBLE, MAX_SCHEDULE_TIMEOUT, why)


def wait_event_interruptible(queue: wait_queue_head, condition: Callable[[], Any]) -> int:
    """Sleep until condition() holds. Returns 0, or -ERESTARTSYS where a signal comes first."""
    return min(_wait(queue, condition, TASK_INTERRUPTIBLE, MAX_SCHEDULE_TIMEOUT, "a condition, or a signal"), 0)


class bit_waits(statics, dict[tuple[int, Any], wait_queue_head]):
    """The queues of those who wait for a bit, or a field, of something: (its identity, which) → queue. (In C they are
    shared by hash.)"""


def bit_waitqueue(word: Any, bit: Any) -> wait_queue_head:
    """The queue of those who wait for that bit, or field, of something."""
    return bit_waits().setdefault((id(word), bit), wait_queue_head())


def wake_up_bit(word: Any, bit: Any) -> None:
    """Wake those who wait for it."""
    if (queue := bit_waits().get((id(word), bit))) is not None:
        wake_up_all(queue)
        if not waitqueue_active(queue):
            del bit_waits()[id(word), bit]


def wait_on_bit(word: Any, bit: Any, busy: Callable[[], Any], why: str) -> None:
    """Sleep until a bit, or field, is no longer busy() and somebody has said so by wake_up_bit()."""
    if busy():
        wait_event(bit_waitqueue(word, bit), lambda: not busy(), why)


class completion(Struct, size=32):
    """Something that will be done; `done` counts how often it was."""

    __slots__ = ("done", "wait")

    def __init__(self) -> None:
        self.done = 0
        self.wait = wait_queue_head()


def complete(done: completion) -> None:
    """Say that it is done once more, and wake the first who waits."""
    done.done += 1
    wake_up(done.wait)


def wait_for_completion_io_timeout(done: completion, timeout: int) -> int:
    """Wait until it is done once more than was waited for, at most `timeout` jiffies. Returns how many were left, at
    least 1; 0 where they passed first."""
    left = timeout
    if not done.done:
        waiter = wait_queue_entry()
        init_wait(waiter)
        waiter.func = default_wake_function
        waiter.flags |= WQ_FLAG_EXCLUSIVE
        list_add_tail(waiter, done.wait.head, "entry")
        while not done.done and left > 0:
            set_current_state(TASK_UNINTERRUPTIBLE)
            left = schedule_timeout(left, "a completion")
        list_del_init(waiter, "entry")
        if not done.done:
            return left
    done.done -= 1
    return max(left, 1)


def wait_for_completion(done: completion) -> None:
    """Wait until it is done once more than was waited for."""
    wait_for_completion_io_timeout(done, MAX_SCHEDULE_TIMEOUT)


wait_for_completion_io = wait_for_completion


def init_completion(done: completion) -> None:
    """Start as if nothing had been done."""
    done.done = 0
