"""A view with controls of every kind, for tests: a machine from above, its nodes, its cores and which CPUs there are.

Only views of the package can be live; this one says that it is one.
"""

import sys

from blkmodel.sim import Machine
from blkmodel.sim.machine import format_cpulist, machine, parse_cpulist
from blkmodel.view.draw.figure import figure, group, rect, text

_CPU, _GAP, _NODE_GAP, _COLUMNS = 40, 5, 16, 16


def machine_map(cpus: int = 8, present: int | None = None, nodes: int = 1, threads: int = 2, marked: str = "",
                names: bool = True) -> str:
    """Draw a regular machine. `marked`: a CPU list; those CPUs stand out. Without `names`, boxes bear numbers only."""
    described = machine(cpus=cpus, present=present, nodes=nodes, threads=threads)
    chosen, parts, y, width = parse_cpulist(marked), [], 2, 0
    for node, members in sorted(described.nodes.items()):
        boxes, bottom, right = _node(described, sorted(members), chosen, y + 24, names)
        width = max(width, right)
        parts.append((node, y, bottom, boxes))
        y = bottom + _NODE_GAP
    drawn = []
    for node, top, bottom, boxes in parts:
        drawn += [rect(1, top, width + 12, bottom - top, "band", 5), text(10, top + 16, f"node {node}", "small dim"),
                  *boxes]
    return figure(max(width + 14, 160), y - _NODE_GAP + 2, describe(described, chosen), drawn)


def describe(described: Machine, chosen: frozenset[int] = frozenset()) -> str:
    """Say in words what the map shows."""
    lines = [f"A machine of {len(described.possible)} possible CPUs on {len(described.nodes)} node(s), "
             f"{len(described.present)} of them present."]
    lines += [f"Node {node}: CPUs {format_cpulist(members)}." for node, members in sorted(described.nodes.items())]
    shared = [core for core in described.siblings if len(core) > 1]
    if shared:
        lines.append(f"{len(shared)} cores run more than one CPU; the first runs {format_cpulist(shared[0])}.")
    if chosen & described.possible:
        lines.append(f"Marked: {format_cpulist(chosen & described.possible)}.")
    return " ".join(lines)


def _node(described: Machine, members: list[int], chosen: frozenset[int], top: int,
          names: bool) -> tuple[list[str], int, int]:
    """The boxes of one node in rows of cores; return them, where they end, and how wide they are."""
    boxes, x, y, right = [], 10, top, 0
    for core in _cores(described, members):
        wide = len(core) * (_CPU + 2) + 4
        if x > 10 and x + wide > 10 + _COLUMNS * (_CPU + 2):
            x, y = 10, y + 38
        if len(core) > 1:
            box = rect(x - 2, y - 2, wide, 34, "box", 4)
            boxes.append(group([box], "", f"one core runs CPUs {format_cpulist(core)}"))
        for i, cpu in enumerate(core):
            boxes.append(_cpu(described, cpu, cpu in chosen, x + 1 + i * (_CPU + 2), y, names))
        x += wide + _GAP
        right = max(right, x - _GAP)
    return boxes, y + 38, right


def _cores(described: Machine, members: list[int]) -> list[list[int]]:
    """A node's CPUs core by core, in order; a CPU that shares with nobody, or is not there, stands alone."""
    core_of = {cpu: core for core in described.siblings for cpu in core}
    return list(map(sorted, dict.fromkeys(core_of.get(cpu, frozenset({cpu})) & frozenset(members) for cpu in members)))


def _cpu(described: Machine, cpu: int, marked: bool, x: int, y: int, names: bool) -> str:
    state = "" if cpu in described.present else " absent"
    kind, on = ("default", "on") if marked else ("cpu", "")
    tip = f"CPU {cpu}, node {described.node_of[cpu]}" + ("" if cpu in described.present else ", not there yet")
    label = f"CPU {cpu}" if names else str(cpu)
    return group([rect(x, y, _CPU, 30, f"box {kind}{state}"),
                  text(x + _CPU / 2, y + 19, label, f"small {on}".strip(), "middle")], "part", tip)


machine_map.__module__ = "blkmodel.view.figures.machine_map"
sys.modules[machine_map.__module__] = sys.modules[__name__]
