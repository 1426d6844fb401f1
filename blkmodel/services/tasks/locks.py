"""Locks: mutexes and read-write semaphores, whose holders may sleep; and lockdep, which notices two orders
(kernel/locking/mutex.c, mutex.h, kernel/locking/rwsem.c, rwsem.h, kernel/locking/lockdep.c).

A lock's `name` is its class's, as lockdep knows it. They are no structures of the model's memory: what holds them is
seen in Context.locks, and a task that waits for one has it as its `waits`. `with lock:` holds a mutex for a block.
"""

import sys
from collections import deque
from typing import Any

from blkmodel.services.base.bug import BUG_ON, KernelBug
from blkmodel.services.tasks.sched import TASK_UNINTERRUPTIBLE, schedule, set_current_state, wake_up_process
from blkmodel.sim import Context, HungTask, running, statics, this
from blkmodel.sim.events import functions_of
from blkmodel.sim.ground import Halted

SINGLE_DEPTH_NESTING = 1


class Deadlock(HungTask):
    """Tasks wait for each other: each holds what another waits for."""


class mutex:
    """owner: the task that holds it. waiters: those who wait, first come first."""

    __slots__ = ("name", "owner", "waiters")

    def __init__(self, name: str) -> None:
        self.name = name
        self.owner: Context | None = None
        self.waiters: deque[Context] = deque()

    def __enter__(self) -> None:
        mutex_lock(self)

    def __exit__(self, kind: Any, *exc: object) -> None:
        if kind is None or not issubclass(kind, HungTask | Halted):  # who is hung keeps what he has
            mutex_unlock(self)

    def owners(self) -> list[Context]:
        """Who has to let go before somebody else gets it."""
        return [self.owner] if self.owner is not None else []

    def give_back(self, task: Context) -> None:
        """Let go for a task that was ended as hung, and is woken now."""
        _give_up(self)


class rw_semaphore(mutex):
    """Also `readers` may hold it, together: `with sem.read:`. writers: those among the waiters who want it alone."""

    __slots__ = ("read", "readers", "writers")

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.readers: list[Context] = []
        self.writers: list[Context] = []
        self.read = reading(self)

    def __enter__(self) -> None:
        down_write(self)

    def owners(self) -> list[Context]:
        return super().owners() + self.readers

    def give_back(self, task: Context) -> None:
        if task in self.readers:
            self.readers.remove(task)
        if not self.readers:
            _give_up(self)


class reading:
    """What holds a semaphore for a block, together with others."""

    __slots__ = ("sem",)

    def __init__(self, sem: rw_semaphore) -> None:
        self.sem = sem

    def __enter__(self) -> None:
        down_read(self.sem)

    def __exit__(self, kind: Any, *exc: object) -> None:
        if kind is None or not issubclass(kind, HungTask | Halted):
            up_read(self.sem)


class lockdep(statics, dict[tuple[str, str], list[str]]):
    """order: (class held, class taken then) → the functions in which that was first seen."""


def _acquired(lock: mutex, task: Context, nested: bool = False) -> None:
    """Note that a task holds a lock; two classes that are taken in both orders are a bug, whether it hurts now or not.
    """
    if (held := task.locks) is None:
        held = task.locks = []
    elif held and not nested:
        order = lockdep()
        for other in held:
            if (other.name, lock.name) not in order and other.name != lock.name:
                _check_order(order, other.name, lock.name)
    held.append(lock)


def _check_order(order: dict[tuple[str, str], list[str]], held: str, taken: str) -> None:
    stack = functions_of(sys._getframe(3))
    seen, found = {taken}, [(taken, [taken])]
    for name, path in found:
        for first, then in order:
            if first == name and then not in seen:
                if then == held:
                    before = order[path[-1], held]
                    raise KernelBug(f"possible circular locking dependency: {taken} is taken with {held} held, in "
                                    f"{' '.join(stack)}; but {held} with {path[-1]} held, in {' '.join(before)}")
                seen.add(then)
                found.append((then, [*path, then]))
    order[held, taken] = stack


def _wait_for(lock: mutex, task: Context, free: Any) -> None:
    """Sleep in a lock's line until free(). That tasks wait for each other is an error, which says who holds what."""
    lock.waiters.append(task)
    task.waits = lock
    try:
        while not (free() and lock.waiters[0] is task):
            _look_for_deadlock(lock, task)
            set_current_state(TASK_UNINTERRUPTIBLE)
            schedule(f"the lock {lock.name}, which {' and '.join(who.name for who in lock.owners()) or 'nobody'} holds")
    finally:
        task.waits = None
        lock.waiters.remove(task)


def _look_for_deadlock(lock: mutex, task: Context) -> None:
    chain: list[Any] = [(task, lock)]
    at: Any = lock
    while at is not None and (owner := next(iter(at.owners()), None)) is not None:
        if owner is task:
            raise Deadlock("deadlock: " + "; ".join(
                f"{who.name} waits for {what.name}, which {what.owners()[0].name} holds" for who, what in chain))
        if any(owner is who for who, _ in chain):
            return
        at = getattr(owner, "waits", None)
        chain.append((owner, at))


def _might_sleep(task: Context, lock: mutex) -> None:
    """Who takes a lock that he may have to wait for is a task, in no read-side section and without a spinlock."""
    if task.atomic:
        BUG_ON(True, f"sleeping function called from invalid context: {task.name} takes {lock.name}")


def mutex_lock(lock: mutex, nested: int = 0) -> None:
    """Take a mutex, and sleep until it is free. (`nested`: in C the subclass, where a class is taken twice.)"""
    task = running.kernel.context
    _might_sleep(task, lock)
    if lock.owner is not None or lock.waiters:
        _wait_for(lock, task, lambda: lock.owner is None)
    _acquired(lock, task, bool(nested))
    lock.owner = task


mutex_lock_nested = mutex_lock


def mutex_unlock(lock: mutex) -> None:
    """Let go of a mutex; the first who waits is woken."""
    kernel = running.kernel
    if lock.owner is not kernel.context:
        BUG_ON(True, f"{kernel.context.name} releases {lock.name}, which it does not hold")
    kernel.context.locks.remove(lock)
    _give_up(lock)
    kernel.loop.spend()


def _give_up(lock: mutex) -> None:
    lock.owner = None
    if lock.waiters:
        wake_up_process(lock.waiters[0])


def down_write(sem: rw_semaphore) -> None:
    """Take a semaphore alone, and sleep until nobody has it."""
    task = running.kernel.context
    _might_sleep(task, sem)
    if sem.owner is not None or sem.readers or sem.waiters:
        sem.writers.append(task)
        try:
            _wait_for(sem, task, lambda: sem.owner is None and not sem.readers)
        finally:
            sem.writers.remove(task)
    sem.owner = task
    _acquired(sem, task)


def up_write(sem: rw_semaphore) -> None:
    mutex_unlock(sem)


def down_read(sem: rw_semaphore) -> None:
    """Take a semaphore together with other readers, and sleep while somebody has it alone or waits to."""
    task = running.kernel.context
    _might_sleep(task, sem)
    if sem.owner is not None or sem.waiters:
        _wait_for(sem, task, lambda: sem.owner is None)
        if sem.waiters and sem.waiters[0] not in sem.writers:
            wake_up_process(sem.waiters[0])
    sem.readers.append(task)
    _acquired(sem, task)


def up_read(sem: rw_semaphore) -> None:
    task = this().context
    BUG_ON(task.locks is None or sem not in task.locks, f"{task.name} releases {sem.name}, which it does not hold")
    task.locks.remove(sem)
    sem.readers.remove(task)
    if not sem.readers:
        _give_up(sem)
