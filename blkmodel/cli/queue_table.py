"""`blkmodel map`: the queues of a machine as text."""

from typing import Any

from blkmodel.sim import Machine, format_cpulist
from blkmodel.view.facts.words import many


def queue_map(on: Machine, driver: str, observed: dict[str, Any]) -> str:
    """Return a text of two tables: the hardware queues with their CPUs, and the CPUs with their queues."""
    hctxs = observed["hctxs"]
    types = [name for name in ("default", "read", "poll") if any(hctx["type"] == name for hctx in hctxs)]
    lines = [f"{driver} on {many(len(on.possible), 'CPU')}, {many(len(on.nodes), 'node')}"
             + (f", {many(len(on.online), 'CPU')} online" if on.online != on.possible else ""),
             f"scheduler {observed['scheduler']}, nr_requests {observed['nr_requests']}", ""]
    interrupts = observed.get("irq_affinity", {})
    head = ["hctx", "type", "CPUs", "tags", "reserved", *(["interrupt"] if interrupts else [])]
    rows = [[hctx["index"], hctx["type"], format_cpulist(hctx["cpus"]), hctx["nr_tags"], hctx["nr_reserved_tags"],
             *([_interrupt(interrupts, hctx)] if interrupts else [])] for hctx in hctxs]
    lines += [*_table(head, rows), ""]
    serves = {(hctx["type"], cpu): hctx["index"] for hctx in hctxs for cpu in hctx["cpus"]}
    core = {cpu: min(threads) for threads in on.siblings for cpu in threads}
    rows = [[cpu, on.node_of[cpu], core.get(cpu, cpu) if cpu in on.present else "-",
             "online" if cpu in on.online else "present" if cpu in on.present else "absent",
             *(serves.get((name, cpu), "-") for name in types)] for cpu in sorted(on.possible)]
    lines += _table(["CPU", "node", "core", "state", *types], rows)
    return "\n".join(lines)


def _interrupt(interrupts: dict[str, str], hctx: dict[str, Any]) -> str:
    """Where the completions of a hardware queue arrive; a poll queue has no interrupt."""
    return "none" if hctx["type"] == "poll" else interrupts.get(str(hctx["index"] + 1), "-")


def _table(head: list[str], rows: list[list[Any]]) -> list[str]:
    """The lines of a table, with columns as wide as what is in them, and numbers to the right."""
    cells = [[str(value) for value in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    right = [all(isinstance(row[i], int) or row[i] == "-" for row in rows) for i in range(len(head))]
    return ["  ".join(cell.rjust(width) if to_the_right else cell.ljust(width)
                      for cell, width, to_the_right in zip(row, widths, right, strict=True)).rstrip() for row in cells]
