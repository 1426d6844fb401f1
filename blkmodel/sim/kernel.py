"""One booted kernel: its machine, the CPU that runs now, and everything a mirror module keeps between calls.

Mirror functions have the kernel's own signatures, so they find the kernel they run in with this().
Booting makes a kernel the current one; `with kernel:` makes an older one current for a while.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from blkmodel.sim.events import EventLoop, HungTask
from blkmodel.sim.machine import Machine, machine
from blkmodel.sim.memory import Memory

NONSENSE = KeyError, NotImplementedError, TypeError, ValueError
"""What a process ends with that is asked for what makes no sense, or is not modelled."""


@dataclass(slots=True, eq=False)
class Context:
    """Who runs: kind is `task`, `irq`, `softirq` or `device` (on no CPU: -1); name is the task's or the handler's.

    `state` is not 0 from the moment a task is about to sleep until it is woken, and says what may wake it; `signal`: it
    has been sent one. nice: one below 0 goes before others. rcu: how many read-side sections it is in; locks: what it
    holds. While it sleeps: its stack and frame, for what (why) and (waits) for which lock, since when, and after how
    many steps of the loop; hung: it was ended there.
    """

    kind: str
    name: str
    cpu: int
    state: int = 0
    signal: bool = False
    nice: int = 0
    plug: Any = None
    bio_list: Any = None
    rcu: int = 0
    locks: Any = None
    waits: Any = field(init=False)
    hung: bool = field(init=False)
    stack: Any = field(init=False)
    why: str = field(init=False)
    since: int = field(init=False)
    step: int = field(init=False)
    frame: Any = field(init=False)
    reported: bool = field(init=False)

    @property
    def runnable(self) -> bool:
        """Whether it neither sleeps nor is about to."""
        return not self.state

    def let_go(self) -> None:
        """It was ended as hung, or ends where the model goes no further: nobody is to wait for what it held."""
        for lock in list(self.locks or ()):
            lock.give_back(self)
        self.locks = None

    @property
    def atomic(self) -> bool:
        """Whether it must not sleep: it is no task, or reads under RCU."""
        return self.kind != "task" or self.rcu > 0


class Kernel:
    """A booted kernel. The same machine, seed and calls give the same kernel, to the last address.

    `observer` is called with what happens in any kernel while somebody watches: post, enter, leave, printk; and
    what passes between it and devices: register_read, register_write, doorbell, command, completion, interrupt.
    `anywhere`: on which CPU those run that are bound to none; None: the first one for a process, as each rule says for
    others.
    """

    observer: Any = None

    def __init__(self, on: Machine, seed: int = 0) -> None:
        self.machine = on
        self.nr_cpu_ids = len(on.possible)
        self.online = set(on.online)
        self.memory = Memory(on.nodes, on.memory)
        self.random = random.Random(seed)
        self.log: list[str] = []
        self.anywhere: int | None = None
        self.context = Context("task", "swapper", min(on.online))
        self.loop = EventLoop(self)
        self.statics: dict[type, Any] = {}
        self._previous: list[Kernel] = []

    @property
    def cpu(self) -> int:
        """The CPU that runs now."""
        return self.context.cpu

    @property
    def now(self) -> int:
        """Virtual time since boot, in nanoseconds."""
        return self.loop.now

    @property
    def watched(self) -> bool:
        """Whether somebody notes what is called: then nothing is put off."""
        return self.observer is not None or sys.getprofile() is not None

    def chosen(self, cpu: int) -> int:
        """The CPU for who is bound to none: the one that all such run on, where that was said and it is online."""
        return self.anywhere if self.anywhere in self.online else cpu

    def printk(self, line: str) -> None:
        """Add a line to the kernel log."""
        self.log.append(line)
        if self.observer:
            self.observer("printk", line=line)

    def run_in(self, context: Context, fn: Callable[..., Any], *args: Any) -> Any:
        """Run fn(*args) in a context of its own, on that context's CPU, and come back."""
        before, self.context = self.context, context
        on = self.loop.stack.contexts
        on.append(context)
        if self.observer:
            self.observer("enter", context=context, time=self.now)
        try:
            return fn(*args) if args else fn()
        finally:
            if self.observer:
                self.observer("leave", context=context, time=self.now)
            on.pop()
            self.context = before

    def task(self, name: str, fn: Callable[..., Any], *args: Any, cpu: int | None = None) -> Any:
        """Run fn(*args) as a process of that name to its end; then let everything it left behind finish. A process that
        runs beside others becomes the one of that name."""
        cpu = self.chosen(min(self.online)) if cpu is None else cpu
        self._check_cpu(cpu)
        if self.context.kind == "task" and self.loop.beside:
            self.context.name, self.context.cpu = name, cpu
            return fn(*args)
        result = self.run_in(Context("task", name, cpu), self._guarded, fn, *args)
        self.loop.settle()
        return result

    def _guarded(self, fn: Callable[..., Any], *args: Any) -> Any:
        """What a process does: fn(*args), which may call itself until there is no stack left: that ends it; or make no
        sense, or come to what is not modelled: nobody is to wait for it then."""
        context = self.context
        try:
            return fn(*args)
        except NONSENSE:
            context.let_go()
            raise
        except RecursionError as why:
            self.printk(f"BUG: stack guard page was hit [{context.name}]")
            raise HungTask(f"task {context.name} on CPU {context.cpu} calls itself until its stack is full") from why

    def tasks(self, jobs: Sequence[tuple[Any, ...]], wrong: list[Exception] | None = None) -> list[Context]:
        """Run several processes, (name, cpu, fn) each, side by side; they begin in that order, one when those before it
        sleep or have ended, or (name, cpu, fn, delay) so many nanoseconds later. Everything that they leave behind
        finishes too.

        Returns the processes that sleep for ever: the log has the kernel's report on each. wrong: where somebody wants
        the others to end, it gets the exceptions of processes that made no sense.
        """
        left: list[Context] = []

        def run(context: Context, fn: Callable[[], Any]) -> None:
            try:
                self._check_cpu(context.cpu)
                self._guarded(fn)
            except NONSENSE as why:
                if wrong is None:
                    raise
                wrong.append(why)
            left.remove(context)
        for _, cpu, _, *delay in jobs:
            if not any(delay):  # until the others begin, their CPU may have come
                self._check_cpu(cpu)
        for name, cpu, fn, *delay in jobs:
            left.append(Context("task", name, cpu))
            self.loop.post(left[-1], partial(run, left[-1], fn), *delay)
        self.loop.wait_for(left)
        self.loop.settle()
        return left

    def _check_cpu(self, cpu: int) -> None:
        if cpu not in self.online:
            raise ValueError(f"CPU {cpu} is not online; online are {sorted(self.online)}")

    def __enter__(self) -> Kernel:
        self._previous.append(running.kernel)
        running.kernel = self
        return self

    def __exit__(self, *exc: Any) -> None:
        running.kernel = self._previous.pop()


class _NoKernel:
    """Stands where a kernel should be."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no kernel is running: call blkmodel.boot(machine) first")


_no_kernel: Any = _NoKernel()


class _Running:
    kernel: Kernel


running = _Running()
running.kernel = _no_kernel
"""running.kernel is the kernel that runs now: what this() returns, for those who ask very often."""
_boot_calls: list[tuple] = []  # as the linker collects them: complete once everything is imported


def at_boot(level: int, fn: Callable[[], Any], beside: str = "") -> None:
    """Let every kernel run fn() while it boots, in the order of levels, then of modules: its own, or the one that it
    is linked behind. To be called while modules are imported."""
    _boot_calls.append((level, beside or fn.__module__, fn.__name__, fn))


def boot(on: Machine | int = 4, seed: int = 0) -> Kernel:
    """Boot a kernel on a machine (or on so many plain CPUs, which share nothing) and make it the current one.

    What still sleeps in the one that it replaces ends there.
    """
    if isinstance(running.kernel, Kernel):
        running.kernel.loop.halt()
    return _boot(on, seed)


def _boot(on: Machine | int, seed: int) -> Kernel:
    kernel = running.kernel = Kernel(machine(on, caches=()) if isinstance(on, int) else on, seed)
    for *_, fn in sorted(_boot_calls, key=lambda call: call[:3]):
        kernel.task("swapper", fn)
    return kernel


@contextmanager
def booted(on: Machine | int = 4, seed: int = 0) -> Iterator[Kernel]:
    """Boot a kernel for the length of a `with` block; then the one before it runs again."""
    before = running.kernel
    try:
        yield _boot(on, seed)
    finally:
        running.kernel.loop.halt()
        running.kernel = before


def this() -> Kernel:
    """The kernel that runs now."""
    return running.kernel


class _Kept(type):
    def __call__(cls) -> Any:
        kept = running.kernel.statics
        try:
            return kept[cls]
        except KeyError:
            made = kept[cls] = super().__call__()
            return made


class statics(metaclass=_Kept):
    """Base of a C file's static variables, with their defaults: to call such a class returns this kernel's own set."""


def forget(variables: Any) -> None:
    """Drop a C file's static variables, as unloading its module does: the next use begins with the defaults."""
    this().statics.pop(variables, None)
