"""Virtual time and what waits for it: work items, timers, interrupts. One thread, no clock, no race.

A task runs until it sleeps or ends. Only then does anything that was queued run, each thing in a
context of its own, in the order of its time, first queued first. A task that sleeps resumes as soon as
what it waits for has happened. One thread has one stack: a task that sleeps can go on only when those have
ended, or sleep no more, that began meanwhile. What may have to wait for another task is queued as patient: it begins
when no task sleeps.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blkmodel.sim.kernel import Context, Kernel

HUNG_TASK_TIMEOUT = 120_000_000_000
HUNG_TASK_STEPS = 1000


class HungTask(AssertionError):
    """A task sleeps for something that nothing queued can bring about, or that all that runs does not bring about."""


class Event:
    """Something that will run at a time, in a context, unless it is cancelled first."""

    __slots__ = ("cancelled", "context", "fn", "time")

    def __init__(self, time: int, context: Context, fn: Callable[..., Any]) -> None:
        self.time = time
        self.context = context
        self.fn = fn
        self.cancelled = False


class EventLoop:
    """What is queued on one kernel. `now` is virtual time in nanoseconds; it moves when something later runs."""

    def __init__(self, kernel: Kernel) -> None:
        self.now = 0
        self._kernel = kernel
        self._order = count()
        self._queue: list[tuple[int, int, Event]] = []
        self._patient: list[tuple[int, int, Event]] = []
        self._asleep: list[tuple[Callable[..., Any], Context]] = []
        self._steps = 0
        self._woken_early = -1

    def post(self, context: Context, fn: Callable[..., Any], delay: int = 0, patient: bool = False) -> Event:
        """Queue fn() to run in `context`, `delay` nanoseconds from now. Returns the event, to cancel it.

        A patient one does not begin while a task sleeps, unless that would sleep for ever.
        """
        event = Event(self.now + delay, context, fn)
        if self._kernel.observer:
            self._kernel.observer("post", context=context)
        heappush(self._patient if patient else self._queue, (event.time, next(self._order), event))
        return event

    def run_one(self, until: int | None = None) -> bool:
        """Run the next event (if it is due by `until`); return whether there was one."""
        while self._queue or self._patient:
            queue = self._queue
            if self._patient and self._asleep:
                if not queue and until is None:
                    queue = self._patient
            elif self._patient and (not queue or self._patient[0] < queue[0]):
                queue = self._patient
            if not queue:
                return False
            time, _, event = queue[0]
            if until is not None and time > until:
                return False
            heappop(queue)
            if event.cancelled:
                continue
            self.now = max(self.now, time)
            self._steps += 1
            self._kernel.run_in(event.context, event.fn)
            return True
        return False

    def run_due(self) -> None:
        """Run everything that is due now, and what that queues for now."""
        while self.run_one(self.now):
            pass

    def give_way(self) -> None:
        """Let the running task sleep until everything has run that is due now."""
        self._asleep.append((lambda: True, self._kernel.context))
        try:
            self.run_due()
        finally:
            self._asleep.pop()

    def advance(self, nanoseconds: int) -> None:
        """Let that much virtual time pass, running what falls due."""
        end = self.now + nanoseconds
        while self.run_one(end):
            pass
        self.now = end

    def sleep_until(self, condition: Callable[..., Any], why: str, timeout: int | None = None,
                    may_wake_early: bool = False) -> bool:
        """Let the running task sleep until condition(); return whether it came true before `timeout` ns passed.

        Without a timeout, a condition that nothing queued brings about is a hang, and raises HungTask; so is one that
        is still not true after 120 seconds in which much has run: something is tried over and over. But a task that
        fell asleep earlier can go on only after this one. Where it could go on and nothing else can happen, this one
        wakes early, once, if it may: that is, if it looks for itself whether it got what it waits for.
        """
        end = None if timeout is None else self.now + timeout
        hung, steps = self.now + HUNG_TASK_TIMEOUT, self._steps + HUNG_TASK_STEPS
        self._asleep.append((condition, self._kernel.context))
        try:
            while not condition():
                if (end is not None or self.now <= hung or self._steps <= steps) and self.run_one(end):
                    continue
                if end is not None:
                    self.now = end
                    return False
                early = may_wake_early and self._woken_early != self._steps
                if early and any(other() for other, _ in self._asleep[:-1]):
                    self._woken_early = self._steps
                    return False
                task = self._kernel.context
                raise HungTask(f"task {task.name} on CPU {task.cpu} sleeps for ever, waiting for {why}")
        finally:
            self._asleep.pop()
        return True

    def sleepers(self) -> list[Context]:
        """Return the contexts of the tasks that sleep, the latest last."""
        return [context for _, context in self._asleep]

    def beneath_can_go_on(self, cpu: int | None = None) -> bool:
        """Whether a task (of that CPU) that fell asleep could go on, were the running one not above it on the stack."""
        return any(cpu in (None, context.cpu) and condition() for condition, context in self._asleep)

    def pending(self) -> list[Event]:
        """Return the events that are still to run, in order."""
        waiting = sorted([*self._queue, *self._patient], key=lambda e: e[:2])
        return [event for _, _, event in waiting if not event.cancelled]
