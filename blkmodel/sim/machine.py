"""The machine a kernel boots on: which CPUs there can be, are plugged in and run, and where they sit.

A machine is plain data, checked once. What a CPU list looks like (`"0-3,8"`) is the kernel's own syntax.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Cpus = frozenset[int]
MOST_CPUS, MOST_NODES = 8192, 1024
"""The largest NR_CPUS and MAX_NUMNODES that the kernel can be configured with."""


class MachineError(ValueError):
    """A machine that no kernel could boot on; the message says which value is wrong, and what would be right."""


def parse_cpulist(text: str) -> Cpus:
    """Return the CPUs of a list in the kernel's syntax: `"0-2,5"` is {0, 1, 2, 5}; the empty text is no CPU."""
    cpus: set[int] = set()
    for part in text.split(",") if text.strip() else []:
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise MachineError(f"CPU list {text!r}: {part!r} is neither a number nor a range such as 0-3")
        low, high = int(first), int(last) if dash else int(first)
        if high < low:
            raise MachineError(f"CPU list {text!r}: the range {part!r} runs backwards")
        if high >= MOST_CPUS:
            raise MachineError(f"CPU list {text!r}: {high} is too high; the highest CPU can be {MOST_CPUS - 1}")
        cpus.update(range(low, high + 1))
    return frozenset(cpus)


def format_cpulist(cpus: Iterable[int]) -> str:
    """Write CPUs in the kernel's list syntax; the inverse of parse_cpulist()."""
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(f"{a}-{b}" if a != b else f"{a}" for a, b in runs)


@dataclass(frozen=True)
class Machine:
    """CPUs and their places. Every set is within `possible`; every possible CPU is on exactly one node.

    nodes: NUMA node → its possible CPUs. siblings: sets of hardware threads that share a core.
    caches: sets of CPUs that share their last-level cache. nr_cpus: the kernel's CONFIG_NR_CPUS.
    kdump: booted as a crash kernel, which makes drivers modest. memory: bytes a node has.
    """

    possible: Cpus
    present: Cpus
    online: Cpus
    nodes: dict[int, Cpus]
    siblings: tuple[Cpus, ...] = ()
    caches: tuple[Cpus, ...] = ()
    nr_cpus: int = 512
    kdump: bool = False
    memory: int = 64 << 30
    node_of: dict[int, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._check()
        object.__setattr__(self, "node_of", {c: n for n, cpus in self.nodes.items() for c in cpus})

    def _check(self) -> None:
        if not self.online:
            raise MachineError("no CPU is online; a kernel needs at least CPU 0")
        if max(self.possible) >= self.nr_cpus:
            raise MachineError(f"CPU {max(self.possible)} is possible, but NR_CPUS is {self.nr_cpus}: "
                               f"the highest CPU can be {self.nr_cpus - 1}")
        if self.possible != frozenset(range(len(self.possible))):
            raise MachineError(f"possible CPUs {format_cpulist(self.possible)} are not numbered from 0 without gaps")
        for name, inner, outer_name, outer in (("present", self.present, "possible", self.possible),
                                               ("online", self.online, "present", self.present)):
            if inner - outer:
                raise MachineError(f"CPU {min(inner - outer)} is {name} but not {outer_name} "
                                   f"({format_cpulist(outer)})")
        for what, groups in (("node", self.nodes.values()), ("core", self.siblings), ("shared cache", self.caches)):
            seen: set[int] = set()
            for group in groups:
                if group - self.possible:
                    raise MachineError(f"CPU {min(group - self.possible)} is in a {what} but not possible "
                                       f"({format_cpulist(self.possible)})")
                if group & seen:
                    raise MachineError(f"CPU {min(group & seen)} is in more than one {what}")
                seen |= group
            if what == "node" and seen != self.possible:
                raise MachineError(f"CPU {min(self.possible - seen)} is on no node")
        for node in self.nodes:
            if not 0 <= node < MOST_NODES:
                raise MachineError(f"node {node}: it must be at least 0 and at most {MOST_NODES - 1}")


def machine(cpus: int = 4, nodes: int = 1, threads: int = 1, present: int | None = None, nr_cpus: int = 512,
            caches: tuple[Cpus, ...] | None = None, **more: Any) -> Machine:
    """Describe a regular machine: `cpus` possible CPUs, of which the first `present` are plugged in and online.

    Nodes get equal shares of neighbouring CPUs, the first ones one more where it does not divide;
    `threads` neighbouring CPUs share a core. CPUs that are not present are dealt out to the nodes,
    as x86 does. The CPUs of a node share a cache, unless `caches` says otherwise.
    """
    present = cpus if present is None else present
    for name, value, low, high in (("cpus", cpus, 1, nr_cpus), ("present", present, 1, cpus),
                                   ("nodes", nodes, 1, present), ("threads", threads, 1, None)):
        if value < low or (high is not None and value > high):
            top = f" and at most {high}" if high is not None else ""
            raise MachineError(f"{name}={value}: it must be at least {low}{top}")
    share, rest = divmod(present, nodes)
    starts = [n * share + min(n, rest) for n in range(nodes + 1)]
    layout = {n: frozenset(range(starts[n], starts[n + 1])) for n in range(nodes)}
    siblings = tuple(frozenset(range(c, min(c + threads, present))) for c in range(0, present, threads))
    plugged = frozenset(range(present))
    return Machine(possible=frozenset(range(cpus)), present=plugged, online=plugged,
                   nodes=deal_absent(layout, frozenset(range(cpus)) - plugged), siblings=siblings,
                   caches=tuple(layout.values()) if caches is None else caches, nr_cpus=nr_cpus, **more)


def deal_absent(nodes: Mapping[int, Iterable[int]], absent: Iterable[int]) -> dict[int, Cpus]:
    """Add CPUs that are not present to the nodes as x86 does at boot.

    It deals all CPUs out to the nodes, round robin from CPU 0; then each that is present moves to where it really is.
    """
    dealt = {n: set(cpus) for n, cpus in sorted(nodes.items())}
    order = list(dealt)
    for cpu in absent:
        dealt[order[cpu % len(order)]].add(cpu)
    return {n: frozenset(cpus) for n, cpus in dealt.items()}


def from_capture(facts: dict[str, Any]) -> Machine:
    """Build the machine that the `machine` part of a `blkmodel-capture/1` file describes.

    Where the file does not say on which nodes its absent CPUs are, they are dealt out as x86 does.
    """
    cpus: dict[str, Any] = {key: parse_cpulist(facts[key]) for key in ("possible", "present", "online")}
    nodes = {int(n): parse_cpulist(text) for n, text in facts["nodes"].items()}
    if "possible_nodes" in facts:
        # A node without CPUs counts too: it takes part when nodes are sorted.
        nodes = dict.fromkeys(nodes, frozenset())
        nodes |= {int(n): parse_cpulist(text) for n, text in facts["possible_nodes"].items()}
    else:
        nodes = deal_absent(nodes, cpus["possible"] - frozenset().union(*nodes.values()))
    cores = {parse_cpulist(text) for text in facts.get("thread_siblings", {}).values()}
    return Machine(**cpus, nodes=nodes, siblings=tuple(sorted(cores, key=min)),
                   caches=tuple(nodes.values()), nr_cpus=max(512, len(cpus["possible"])))
