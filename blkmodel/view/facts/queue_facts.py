"""What a queue map says in words: who uses which queue, how evenly, across which nodes, and who is interrupted."""

from typing import Any, NamedTuple

from blkmodel import scenario
from blkmodel.block.blk_mq_h import blk_mq_ctx
from blkmodel.device import Controller
from blkmodel.drivers.block import null_blk_main
from blkmodel.drivers.nvme.host.pci import NVMEQ_ENABLED, NVMEQ_POLLED, nvme_dev, nvme_queue
from blkmodel.drivers.pci import msi
from blkmodel.include.linux.blk_mq import HCTX_TYPE_DEFAULT, blk_mq_hw_ctx
from blkmodel.include.linux.blkdev import request_queue
from blkmodel.services import proc_irq
from blkmodel.sim import Kernel, format_cpulist, parse_cpulist
from blkmodel.view.facts.words import many

TYPES = ("default", "read", "poll")
_FOR = {"default": "writes", "read": "reads", "poll": "polled I/O"}


class Vector(NamedTuple):
    """What interrupts for a queue pair: the device's vector, the interrupt's number, where it may go, where it goes."""

    number: int
    irq: int
    cpus: frozenset
    now: frozenset


def hctxs(q: request_queue) -> list[blk_mq_hw_ctx]:
    """The hardware queues of a request queue."""
    return list(q.queue_hw_ctx[:q.nr_hw_queues])


def kinds_of(ctx: blk_mq_ctx, q: request_queue) -> list[tuple[int, blk_mq_hw_ctx]]:
    """The (type, hctx) pairs of a software queue, without the types that fall back to another's queue."""
    return [(kind, ctx.hctxs[kind]) for kind, qmap in enumerate(q.tag_set.map[:q.tag_set.nr_maps])
            if qmap.nr_queues and ctx.hctxs[kind] is not None]


def served(hctx: blk_mq_hw_ctx) -> frozenset[int]:
    """The CPUs that use a hardware queue."""
    return frozenset(hctx.cpumask)


def nodes_of(hctx: blk_mq_hw_ctx, kernel: Kernel) -> list[int]:
    """The nodes of the CPUs that use a hardware queue."""
    return sorted({kernel.machine.node_of[cpu] for cpu in served(hctx)})


def pair_of(hctx: blk_mq_hw_ctx) -> nvme_queue | None:
    """The NVMe queue pair behind a hardware queue; None with other drivers."""
    return hctx.driver_data if isinstance(hctx.driver_data, nvme_queue) else None


def vector_of(pair: nvme_queue | None) -> Vector | None:
    """The interrupt vector of a queue pair; None where it is polled."""
    if pair is None or pair.flags >> NVMEQ_POLLED & 1 or not pair.flags >> NVMEQ_ENABLED & 1:
        return None
    irq = msi.pci_irq_vector(pair.dev.dev._owner, pair.cq_vector)
    return Vector(pair.cq_vector, irq, *(parse_cpulist(text) for text in proc_irq(irq)))


def spare_pairs(q: request_queue) -> int:
    """How many queue pairs the controller has that the driver did not create."""
    dev = q.tag_set.driver_data
    return dev.dev._owner._device.queue_pairs - (dev.online_queues - 1) if isinstance(dev, nvme_dev) else 0


def summary(q: request_queue, kernel: Kernel) -> str:
    """How evenly the CPUs are shared out, whether a queue serves CPUs of several nodes, and what is not in use."""
    used = [hctx for hctx in hctxs(q) if hctx.nr_ctx]
    parts = [_evenness([hctx for hctx in used if hctx.type == kind], TYPES[kind])
             for kind in sorted({hctx.type for hctx in used})]
    if len(kernel.machine.nodes) > 1:
        across = [hctx.queue_num for hctx in used if len(nodes_of(hctx, kernel)) > 1]
        which = f"{_queues(across)} {'serves' if len(across) == 1 else 'serve'}"
        parts.append(f"{which} CPUs of more than one node." if across else "No queue serves CPUs of two nodes.")
    if idle := [hctx.queue_num for hctx in hctxs(q) if not hctx.nr_ctx]:
        parts.append(f"No CPU uses {_queues(idle).lower()}: no tags.")
    if spare_pairs(q):
        parts.append(f"{spare_pairs(q)} more queue pairs of the controller are not created.")
    return " ".join(parts)


def _evenness(same_type: list[blk_mq_hw_ctx], kind: str) -> str:
    busiest = max(same_type, key=lambda hctx: hctx.nr_ctx)
    idlest = min(same_type, key=lambda hctx: hctx.nr_ctx)
    name = f"{kind} queue" if len(same_type) == 1 else f"{kind} queues"
    if busiest.nr_ctx == idlest.nr_ctx:
        each = "serves" if len(same_type) == 1 else "each serve"
        return f"{len(same_type)} {name} {each} {many(busiest.nr_ctx, 'CPU')}."
    return (f"{len(same_type)} {name}: the busiest, {busiest.queue_num}, serves {many(busiest.nr_ctx, 'CPU')}, "
            f"the least busy, {idlest.queue_num}, {idlest.nr_ctx}.")


def path(q: request_queue, kernel: Kernel, cpu: int) -> list[str]:
    """Where a CPU is, and its ways: for each type from its software queue to the CPU that is interrupted."""
    on = kernel.machine
    core = next((c for c in on.siblings if cpu in c and len(c) > 1), frozenset({cpu})) - {cpu}
    where = f"CPU {cpu}, node {on.node_of[cpu]}" + (f", on one core with {format_cpulist(core)}" if core else "")
    where += "" if cpu in kernel.online else " (not there yet: its way is laid out already)"
    ways, kinds = [], kinds_of(q.queue_ctx[cpu], q)
    for kind, hctx in kinds:
        what = "all I/O" if len(kinds) == 1 else _FOR[TYPES[kind]]
        if kind == 0 and [k for k, _ in kinds] == [0, 2]:
            what = "reads and writes"
        ways.append(f"{what} → hctx {hctx.queue_num} ({hctx.tags.nr_tags if hctx.tags else 0} tags){_beyond(hctx)}")
    return [where, *ways]


def _beyond(hctx: blk_mq_hw_ctx) -> str:
    if (pair := pair_of(hctx)) is None:
        return ""
    if (vector := vector_of(pair)) is None:
        return f" → queue pair {pair.qid}, which is polled"
    return (f" → queue pair {pair.qid} → vector {vector.number} (IRQ {vector.irq}), which may interrupt CPU "
            f"{format_cpulist(vector.cpus)} and now interrupts CPU {format_cpulist(vector.now)}")


def describe(q: request_queue, kernel: Kernel, focus: int | None = None) -> str:
    """Say in words what the map shows."""
    on = kernel.machine
    present = "" if on.present == on.possible else f", {len(on.present)} of them present,"
    threads = max(map(len, on.siblings), default=1)
    cores = f", {threads} to a core," if threads > 1 else ""
    lines = [f"{kernel.nr_cpu_ids} possible CPUs{present} on {len(on.nodes)} node(s){cores} use {q.nr_hw_queues} "
             "hardware queue(s)."]
    if focus in on.possible:
        lines.append(f"In focus: {'; '.join(path(q, kernel, focus))}.")
    for hctx in hctxs(q):
        tags = hctx.tags.nr_tags if hctx.tags else 0
        line = (f"Hardware queue {hctx.queue_num} ({TYPES[hctx.type]}): CPUs {format_cpulist(served(hctx)) or 'none'}, "
                f"{tags} tags")
        if pair := pair_of(hctx):
            vector = vector_of(pair)
            way = f"vector {vector.number} to CPUs {format_cpulist(vector.cpus)}" if vector else "polled"
            line += f", queue pair {pair.qid}, {way}"
        lines.append(line + ".")
    return " ".join([*lines, summary(q, kernel)])


def _queues(numbers: list[int]) -> str:
    return f"Queue{'s' if len(numbers) > 1 else ''} {format_cpulist(numbers)}"


def queue_of(driver: str, queues: int, write_queues: int = 0, poll_queues: int = 0, depth: int | None = None,
             vectors: int = 65) -> request_queue:
    """Load a driver on the kernel that runs now, and return the request queue of its first disk."""
    if driver == "nvme":
        size: dict[str, Any] = {} if depth is None else {"io_queue_depth": depth + 1}
        scenario.nvme_probe(controller=Controller(queues, vectors), write_queues=write_queues, poll_queues=poll_queues,
                            **size)
        return scenario.disk("nvme0n1").queue
    polls = any(kp.name == "poll_queues" for kp in null_blk_main.module_params)
    if write_queues or (poll_queues and not polls):
        raise ValueError("null_blk has no read queues, and polled ones only since Linux 5.16")
    said = {"hw_queue_depth": depth, "poll_queues": poll_queues or None}
    scenario.null_blk_load(submit_queues=queues, **{name: value for name, value in said.items() if value is not None})
    return scenario.disk("nullb0").queue


def spread(q: request_queue) -> tuple[int, int]:
    """How many CPUs the busiest and the least busy hardware queue of the default type serve."""
    served = [hctx.nr_ctx for hctx in hctxs(q) if hctx.type == HCTX_TYPE_DEFAULT]
    return max(served), min(served)
