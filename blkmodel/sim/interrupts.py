"""Interrupts as the machine has them: messages to CPUs, each with a number that says what to run there.

A device interrupts a CPU by writing a message to it: (CPU, vector). Every CPU has vectors of its own, about two
hundred; a vector can be set aside on several CPUs for an interrupt that will later be on one of them.
"""

from collections.abc import Callable, Iterable
from typing import Any

from blkmodel.sim.kernel import Context, statics, this
from blkmodel.sim.structure import NULL

FIRST, END = 0x20, 0xEC
TIMER = 0x30
SYSTEM = frozenset({0x20, 0x32, 0x80})
"""Vectors on all CPUs that no device gets: moving interrupts, the old interrupt controller's cascade, system calls."""


class CpuVectors:
    """One CPU's vectors, as sets of bits. taken: in use. aside: set aside, whether in use or not."""

    __slots__ = ("aside", "taken")

    def __init__(self) -> None:
        self.aside = 0
        self.taken = 0

    def free(self) -> int:
        """How many could still be had."""
        return END - FIRST - len(SYSTEM) - (self.aside | self.taken).bit_count()

    def busy_aside(self) -> int:
        """How many of those set aside are in use."""
        return (self.aside & self.taken).bit_count()

    def lowest(self) -> int:
        """The lowest that could be had, or None."""
        spoken_for = self.aside | self.taken
        return next((v for v in range(FIRST, END) if not spoken_for >> v & 1 and v not in SYSTEM), NULL)


class interrupts(statics):
    """Every CPU's vectors, and what each runs: `entries` maps (CPU, vector) to a name and a function. `requested`:
    those that were raised and have not begun to run; raised again meanwhile, they run once."""

    def __init__(self) -> None:
        self.cpus = {cpu: CpuVectors() for cpu in this().machine.possible}
        self.cpus[0].taken |= 1 << TIMER
        self.entries: dict[tuple[int, int], tuple[str, Callable[[], Any]]] = {}
        self.requested: set[tuple[int, int]] = set()

    def set_aside(self, cpus: Iterable[int]) -> bool:
        """Set one vector aside on each of these CPUs, running or not; False, and none more, where one has none left."""
        done: list[int] = []
        for cpu in cpus:
            if (vector := self.cpus[cpu].lowest()) is None:
                self.drop_aside(done)  # which may give up others than were just set aside
                return False
            self.cpus[cpu].aside |= 1 << vector
            done.append(cpu)
        return True

    def drop_aside(self, cpus: Iterable[int]) -> None:
        """Give up one vector on each of these CPUs that was set aside and is not in use."""
        for cpu in cpus:
            idle = self.cpus[cpu].aside & ~self.cpus[cpu].taken
            self.cpus[cpu].aside ^= idle & -idle

    def take(self, cpus: Iterable[int]) -> tuple[int, int]:
        """Take a vector on the CPU that has most left, the lowest of such; return (CPU, vector), or None."""
        running = [cpu for cpu in sorted(cpus) if cpu in this().online and self.cpus[cpu].free() > 0]
        if not running:
            return NULL
        cpu = max(running, key=lambda c: self.cpus[c].free())
        vector = self.cpus[cpu].lowest()
        self.cpus[cpu].taken |= 1 << vector
        return cpu, vector

    def take_aside(self, cpus: Iterable[int]) -> tuple[int, int]:
        """Take a vector that is set aside, on the CPU where fewest of those are in use, the highest of such."""
        if not (running := [cpu for cpu in sorted(cpus, reverse=True) if cpu in this().online]):
            return NULL
        cpu = min(running, key=lambda c: self.cpus[c].busy_aside())
        if not (idle := self.cpus[cpu].aside & ~self.cpus[cpu].taken):
            return NULL
        self.cpus[cpu].taken |= idle & -idle
        return cpu, (idle & -idle).bit_length() - 1

    def give_back(self, target: tuple[int, int]) -> None:
        """Give back what take() or take_aside() returned."""
        cpu, vector = target
        self.cpus[cpu].taken &= ~(1 << vector)
        self.entries.pop(target, None)

    def connect(self, target: tuple[int, int], name: str, fn: Callable[..., Any]) -> None:
        """Let fn() run, as `name`, when that vector is raised on that CPU."""
        self.entries[target] = name, fn

    def message(self, target: tuple[int, int]) -> None:
        """Interrupt a CPU: what the vector stands for runs there, in a context of its own."""
        if (entry := self.entries.get(target)) is not None and target not in self.requested:
            self.requested.add(target)
            name, fn = entry

            def run() -> None:
                self.requested.discard(target)
                fn()
            this().loop.post(Context("irq", name, target[0]), run)
