"""Virtual time, what waits for it, and which task runs: work items, timers, interrupts; no clock, no race.

A task runs until it sleeps or ends; interrupts that fall due meanwhile come at its next call into the services. Then
those run that were woken, in the order of their waking, but workers of high priority before them; and then what was
queued, each thing in a context of its own, in the order of its time, first queued first. Where it is chance who is
first, choose() may say otherwise. The interface is small: post() begins something at a time, block() lets the running
task sleep, wake() lets one that sleeps go on. Whichever stack has nothing of its own to do looks for what is next; what
must go on elsewhere is handed to the stack that it sleeps on (sim/ground.py).
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from itertools import chain, count
from typing import TYPE_CHECKING, Any

from blkmodel.sim import ground

if TYPE_CHECKING:
    from blkmodel.sim.kernel import Context, Kernel

HUNG_TASK_TIMEOUT = 120_000_000_000
HUNG_TASK_STEPS = 1000
SOFT_LOCKUP_CALLS = 1 << 18
"""From a task that goes on for so many calls, and never sleeps, nothing else is to be expected."""
CALL_COST = 50
"""Nanoseconds that a CPU needs from one of the calls that spend() counts to the next: EventLoop.cost of a new kernel.
"""
_MIRROR = ("block", "drivers", "fs", "kernel", "lib")
_Heap = list[tuple[int, int, "Event"]]
_STATES = {1: "S", 2: "D"}


class HungTask(AssertionError):
    """A task sleeps for something that nothing queued can bring about, or that all that runs does not bring about. Or
    it never sleeps, and comes to no end."""


class Event:
    """Something that will run at a time, in a context, unless it is cancelled first."""

    __slots__ = ("brief", "cancelled", "context", "fn", "time")

    def __init__(self, time: int, context: Context, fn: Callable[..., Any], brief: bool) -> None:
        self.brief = brief
        self.time = time
        self.context = context
        self.fn = fn
        self.cancelled = False


class _Driver:
    """When control goes back to the first stack: nothing is left to do until `until`, or one step is done (`once`), or
    done() says so. nest: a task may begin right there, since it is waited for to its end."""

    __slots__ = ("done", "nest", "once", "ran", "until")

    def __init__(self, until: int | None, once: bool = False, done: Callable[[], bool] | None = None,
                 nest: bool = False) -> None:
        self.until, self.once, self.done, self.nest = until, once, done, nest
        self.ran = False


def functions_of(frame: Any) -> list[str]:
    """The functions of the mirror that lead to a frame, innermost first, in the context that it is in."""
    names = []
    while frame is not None and frame.f_code.co_name != "run_in":
        place = frame.f_globals.get("__name__", "").split(".")
        if len(place) > 2 and place[0] == "blkmodel" and place[1] in _MIRROR:
            names.append(frame.f_code.co_name)
        frame = frame.f_back
    return names


class EventLoop:
    """What is queued on one kernel, and who sleeps. `now` is virtual time in nanoseconds; it moves when something later
    runs. `ground` makes stacks. `stack` is the one that runs, `stacks` are those that were begun and have not ended.
    choose(), where there is one, is told who could go on or begin, first whose turn it is, and says which of them does;
    so a controller asks which goes first, the end of a command or what follows.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.now = 0
        self.ground: Any = ground.best()
        self.stacks: list[Any] = []
        self.grace = 0  # so many callbacks wait for a grace period
        self.cost = CALL_COST
        self.choose: Callable[[list[Context]], int] | None = None
        self._clock = self._due = 0  # now and what was spent since; nothing timed is due before
        self._kernel = kernel
        self._order = count()
        self._timed: _Heap = []
        self._soon: _Heap = []
        self._pressing: _Heap = []
        self._tasks: _Heap = []
        self._heaps = self._timed, self._soon, self._pressing, self._tasks
        self._ready: deque[Context] = deque()
        self._polled: set[int] = set()  # tasks that have let others go on since something happened
        self._asleep: dict[int, Context] = {}
        self._busy: Context | None = None  # who runs, and so many calls since it began or slept
        self._calls = 0
        self._steps = 0
        self._idle: list[Any] = []
        self._base = self.stack = self.ground()
        self._drivers: list[_Driver] = []
        self._resumed: Context | None = None
        self._error: BaseException | None = None
        self._profile: Any = None

    @property
    def beside(self) -> bool:
        """Whether who runs has a stack of its own, beside others."""
        return self.stack is not self._base

    def post(self, context: Context, fn: Callable[..., Any], delay: int = 0, brief: bool = False) -> Event:
        """Queue fn() to run in `context`, `delay` nanoseconds from now. Returns the event, to cancel it.

        A task that is brief never sleeps, and so needs no stack of its own.
        """
        event = Event(self.now + delay, context, fn, brief or context.kind != "task")
        if self._kernel.observer:
            self._kernel.observer("post", context=context)
        heap = self._tasks if not event.brief else self._timed if delay else self._soon
        if context.nice < 0 and not delay:
            heap = self._pressing
        heappush(heap, (event.time, next(self._order), event))
        if delay:
            self._due = 0
        return event

    def spend(self) -> None:
        """The running CPU works for a moment, with interrupts on; what falls due by then comes in between.

        Whoever calls this states that nothing is half done here. The clock moves only to what comes; the rest of what
        the CPU has spent passes beside its waiting.
        """
        if (task := self._kernel.context).kind == "task":
            if task is not self._busy:
                self._busy, self._calls = task, 0
            self._calls += 1
            if self._calls > SOFT_LOCKUP_CALLS:
                self._look_for_lockup(task)
        clock = self._clock = self._clock + self.cost
        if clock >= self._due and not self._kernel.context.atomic:
            while self._timed and self._timed[0][0] <= self._clock:
                time, _, event = heappop(self._timed)
                if not event.cancelled:
                    self.now = max(time, self.now)
                    self._steps += 1
                    self._kernel.run_in(event.context, event.fn)
            self._due = self._timed[0][0] if self._timed else 1 << 62

    def rested(self) -> None:
        """The running task lets the CPU look for others: it is not stuck."""
        self._busy = None

    def _look_for_lockup(self, task: Context) -> None:
        """What the kernel's watchdog does, and what whoever waits for such a task has to."""
        calls = functions_of(sys._getframe(2))
        self.rested()
        self._kernel.printk(f"watchdog: BUG: soft lockup - CPU#{task.cpu} stuck for 22s! [{task.name}]")
        self._kernel.printk("Call Trace: " + " ".join(calls))
        raise HungTask(f"task {task.name} on CPU {task.cpu} never sleeps, and comes to no end in "
                       + ", called by ".join(calls))

    def block(self, why: str = "a wake-up") -> None:
        """Let the running task sleep until it is woken; it says before, in its state, how it is going to."""
        kernel, stack = self._kernel, self.stack
        self.rested()
        task = kernel.context
        if stack.halted:
            raise ground.Halted
        task.stack, task.why, task.since, task.step, task.frame = stack, why, self.now, self._steps, sys._getframe(1)
        task.reported = task.hung = False
        self._asleep[id(task)] = task
        driver = None
        if stack is self._base:
            driver = _Driver(self.now + HUNG_TASK_TIMEOUT)
            self._drivers.append(driver)
        try:
            while not self._run(stack, task):
                assert driver is not None
                self.now = self._clock = max(self.now, task.since + HUNG_TASK_TIMEOUT)
                self._look_for_hung_tasks()
                if self.hopeless(task):
                    if self.ground is ground.Nested and len(self._drivers) > 1:
                        raise ground.NoGround(ground.LACKS)  # whoever is to wake it waits beneath
                    task.hung = True
                    raise HungTask(self.described(task))
                driver.until = max(self.now, min(event.time for event in self._live()))
        except BaseException:
            if self._asleep.pop(id(task), None) is None and task in self._ready:
                self._ready.remove(task)
            raise
        finally:
            if driver is not None:
                self._drivers.pop()
            task.frame = None
            kernel.context = task
            if not self._drivers and self._idle:
                self._end_idle()

    def wake(self, task: Context) -> bool:
        """Let a task go on that sleeps, or is about to; return whether it was so."""
        if not task.state:
            return False
        task.state = 0
        if self._asleep.pop(id(task), None):
            self._ready.append(task)
        elif getattr(task, "hung", False):
            task.let_go()
        return True

    def hopeless(self, task: Context) -> bool:
        """Whether a task that sleeps does so for ever: nothing is queued, or 120 seconds have passed in which much has
        run: something is tried over and over."""
        if self._ready or not task.state:
            return False
        return next(self._live(), None) is None or (
            self.now >= task.since + HUNG_TASK_TIMEOUT and self._steps > task.step + HUNG_TASK_STEPS)

    def _live(self) -> Iterator[Event]:
        return (event for heap in self._heaps for _, _, event in heap if not event.cancelled)

    def _look_for_hung_tasks(self) -> None:
        """What the kernel's khungtaskd does: say once who has slept for 120 seconds, where neither signal nor time
        is to wake him."""
        for task in self._asleep.values():
            if task.state == 2 and not task.reported and self.now >= task.since + HUNG_TASK_TIMEOUT:
                task.reported = True
                self._kernel.printk(f"INFO: task {task.name} blocked for more than 120 seconds.")
                self._kernel.printk(f"task {task.name} state {_STATES.get(task.state, 'D')} on CPU {task.cpu}")
                self._kernel.printk("Call Trace: " + " ".join(functions_of(task.frame)))

    def described(self, task: Context) -> str:
        """Who sleeps, for what, in which functions, and what he holds."""
        calls, held = functions_of(task.frame), [lock.name for lock in task.locks or ()]
        state = _STATES.get(task.state & 3, "R")
        return (f"task {task.name} on CPU {task.cpu} sleeps for ever, waiting for {task.why}; state {state}"
                + (f", in {', called by '.join(calls)}" if calls else "")
                + (f"; it holds {', '.join(held)}" if held else ""))

    def run_one(self, until: int | None = None) -> bool:
        """Run what is next (if it is due by `until`); return whether there was anything."""
        return self._drive(until, once=True)

    def run_due(self) -> None:
        """Run everything that is due now, and what that queues for now."""
        if self._ready or any(self._heaps):
            self._drive(self.now)

    def advance(self, nanoseconds: int) -> None:
        """Let that much virtual time pass, running what falls due."""
        end = self.now + nanoseconds
        self._drive(end)
        self.now = self._clock = max(end, self.now)
        self._look_for_hung_tasks()

    def settle(self) -> None:
        """Let everything finish that the last process left behind: what is due, whoever began to run by that, and grace
        periods; but not what comes to no end in 120 seconds."""
        if not self._ready and not any(self._heaps):
            return
        if self._drivers:
            self._drive(self.now, nest=True)
            return
        mark, limit = self._steps, self.now + HUNG_TASK_TIMEOUT
        self._drive(self.now, nest=True)

        def at_rest() -> bool:
            return not self.grace and all(task.step < mark for task in self._asleep.values())
        while not at_rest() and self._drive(limit, done=at_rest, nest=True):
            self._drive(self.now, nest=True)

    def wait_for(self, left: list[Context]) -> list[Context]:
        """Run until the list of those that are waited for is empty, or only those are left that sleep for ever."""
        until = 0
        while left:
            last = max((task.since for task in self._asleep.values()), default=self.now)
            self._drive(max(last + HUNG_TASK_TIMEOUT, self.now + HUNG_TASK_TIMEOUT, until), done=lambda: not left)
            until = min((event.time for event in self._live()), default=0)
            if left and all(id(task) in self._asleep and self.hopeless(task) for task in left):
                self.now = self._clock = max(self.now, max(task.since for task in left) + HUNG_TASK_TIMEOUT)
                self._look_for_hung_tasks()
                break
        return left

    def relax(self) -> bool:
        """Let something else happen, for a task that polls; return whether there was anything."""
        kernel, stack = self._kernel, self.stack
        if stack is self._base:
            return self.run_one()
        task, event = kernel.context, None
        if not self._ready or id(task) in self._polled:
            event = self._next(None)
            if event is None and not self._ready:
                return False
            if event is not None and event.brief:
                kernel.run_in(event.context, event.fn)
                return True
        self._polled.add(id(task))
        task.stack = stack
        self._ready.append(task)
        if event is not None:
            to = self._stack_for(event)
        else:
            self._resumed = self._ready.popleft()
            to = self._resumed.stack
        self._hand_over(stack, to, False)
        if self._resumed is not task:
            self._run(stack, task)
        self._resumed, kernel.context = None, task
        return True

    def _drive(self, until: int | None, once: bool = False, done: Callable[[], bool] | None = None,
               nest: bool = False) -> bool:
        """Run what there is, until control comes back; a task on a stack of its own lets only interrupts and the like
        happen. Returns whether anything ran."""
        context, driver = self._kernel.context, _Driver(until, once, done, nest)
        if self.stack is not self._base:
            while not (once and driver.ran) and (event := self._next(until, tasks=False)):
                driver.ran = True
                self._kernel.run_in(event.context, event.fn)
            return driver.ran
        self._drivers.append(driver)
        try:
            self._run(self._base, None)
            return driver.ran
        finally:
            self._drivers.pop()
            self._kernel.context = context
            if not self._drivers and self._idle:
                self._end_idle()

    def _run(self, stack: Any, task: Context | None, over: bool = False) -> bool:
        """Run what is next, on this stack where that can be, until `task`, which sleeps here, goes on: True; or until
        control is the driver's, on the first stack: False. `over`: nobody sleeps on this stack, and it is left to
        others at the end."""
        while True:
            driver, to = self._drivers[-1], self._base
            if (driver.once and driver.ran) or (driver.done and driver.done()):
                pass
            elif chosen := (self._turn(driver.until) if self.choose or (self._ready and self._pressing)
                            else self._ready.popleft() if self._ready else self._next(driver.until)):
                driver.ran = True
                if chosen is task:
                    return True
                if isinstance(chosen, Event):
                    if chosen.brief or over or (driver.nest and task is None) or self.ground is ground.Nested:
                        self._kernel.run_in(chosen.context, chosen.fn)
                        continue
                    to = self._stack_for(chosen)
                else:
                    self._steps += 1
                    to, self._resumed = chosen.stack, chosen
                    if to is stack:
                        if task or driver.done:
                            raise ground.NoGround(ground.LACKS)
                        self._ready.appendleft(chosen)  # it goes on once whatever called the driver has returned
                        self._resumed = None
            if to is stack:
                return False
            if self._hand_over(stack, to, over):
                return True
            if self._resumed is task and task is not None:
                self._resumed = None
                return True

    def _turn(self, until: int | None) -> Context | Event | None:
        """Take what is next where somebody chooses, or workers go before tasks that were woken."""
        event: Event | None = None
        if self.choose is not None and len(could := self._could(until)) > 1:
            chosen = could[self.choose([each.context if isinstance(each, Event) else each for each in could])]
            if not isinstance(chosen, Event):
                self._ready.remove(chosen)
                return chosen
            event = chosen
            for heap in self._heaps:
                heap[:] = sorted(entry for entry in heap if entry[2] is not chosen)
        elif self._ready:
            while event is None or event.cancelled:
                if not self._pressing:
                    return self._ready.popleft()
                event = heappop(self._pressing)[2]
        if event is not None:
            heappush(self._soon, (0, -1, event))  # before all others
        return self._next(until)

    def _could(self, until: int | None) -> list[Context | Event]:
        """What could be next; first what is, where nobody chooses. No task goes on before a worker of high priority of
        its CPU. What an interrupt, or those who begin under one name, do on a CPU keeps its order; not what devices do.
        """
        queued = [entry for entry in sorted(chain(*self._heaps)) if not entry[2].cancelled]
        at = self.now if self._ready or not queued else max(self.now, queued[0][0])
        if until is not None and at > until:
            return []
        pressing = [event for _, _, event in sorted(self._pressing) if self._ready and not event.cancelled]
        heads: dict[Any, Event] = {}
        for event in (*pressing, *(event for time, _, event in queued if time <= at)):
            context = event.context
            line = event if context.kind == "device" else (context.kind, context.name, context.cpu)
            heads.setdefault(line, event)
        first = [event for event in heads.values() if event in pressing]
        barred = {event.context.cpu for event in pressing}
        woken = [task for task in self._ready if task.cpu not in barred]
        return [*first, *woken, *(event for event in heads.values() if event not in first)]

    def _next(self, until: int | None, tasks: bool = True) -> Event | None:
        """Take the next event that is due, and move the clock to it. tasks: it may be one that needs a stack."""
        self._clock = self.now
        while True:
            heap = self._soon
            if (timed := self._timed) and (not heap or timed[0] < heap[0]):
                heap = timed
            if tasks and (begun := self._tasks) and (not heap or begun[0] < heap[0]):
                heap = begun
            if (pressing := self._pressing) and (tasks or pressing[0][2].brief) and (not heap or pressing[0] < heap[0]):
                heap = pressing
            if not heap:
                return None
            time, _, event = heap[0]
            if time > self.now and until is not None and time > until and not event.cancelled:
                return None
            heappop(heap)
            if not event.cancelled:
                if event.time > self.now:
                    self.now = self._clock = event.time
                self._steps += 1
                if self._polled:
                    self._polled.clear()
                return event

    def _stack_for(self, event: Event) -> Any:
        """A stack that nobody sleeps on, on which the event is to run."""
        if self._idle:
            stack = self._idle.pop()
        else:
            stack = self.ground.begun()
            self.stacks.append(stack)
        stack.loop, stack.event = self, event
        return stack

    def _hand_over(self, stack: Any, to: Any, over: bool) -> bool:
        """Let another stack run, and wait until somebody hands back; where nobody sleeps here (`over`), do not wait,
        but return True."""
        if (observer := self._kernel.observer) and stack is not self._base:
            for context in reversed(stack.contexts):
                observer("sleep", context=context, time=self.now)
        if observer and to is not self._base:
            for context in to.contexts:
                observer("resume", context=context, time=self.now)
        self._profile = sys.getprofile()
        self.stack = to
        if over:
            self._idle.append(stack)
            to.go()
            return True
        to.go()
        stack.wait()
        self._follow_profile()
        if stack.halted:
            raise ground.Halted
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return False

    def serve(self, stack: Any) -> None:
        """Run the task that a stack was given, and then what is next, until others go on."""
        event, stack.event = stack.event, None
        self._follow_profile()
        try:
            self._kernel.run_in(event.context, event.fn)
            self._run(stack, None, over=True)
        except ground.Halted:
            self.stack = self._base
            self.stacks.remove(stack)
            stack.free()
            self._base.go()
        except BaseException as error:
            self._error = error
            self._hand_over(stack, self._base, over=True)

    def _follow_profile(self) -> None:
        """Let the interpreter call here what it called on the stack that handed over."""
        profile = self._profile
        if sys.getprofile() is not profile and (profile is None or callable(profile)):
            sys.setprofile(profile)

    def _end_idle(self) -> None:
        while self._idle:
            stack = self._idle.pop()
            self.stacks.remove(stack)
            stack.retire()

    def halt(self) -> None:
        """End all tasks, wherever they sleep: the machine is switched off. Their stacks end with them."""
        if self.stack is not self._base or self._drivers:
            return  # from within: who began it is there still
        self._end_idle()
        for stack in list(self.stacks):
            stack.halted = True
            self.stack = stack
            stack.go()
            self._base.wait()
            stack.join()
        self._asleep.clear()
        self._ready.clear()

    def sleepers(self) -> list[Context]:
        """Return the contexts of the tasks that sleep, in the order in which they fell asleep."""
        return [*self._ready, *self._asleep.values()]

    def wanted(self, cpu: int) -> bool:
        """Whether a task waits for that CPU alone."""
        return any(task.cpu == cpu for task in self._ready)

    def pending(self) -> list[Event]:
        """Return the events that are still to run, in order."""
        return [event for *_, event in sorted(chain(*self._heaps)) if not event.cancelled]

