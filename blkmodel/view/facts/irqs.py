"""A controller's interrupts as /proc shows them: how often each came to which CPU, where it may go, where it goes."""

from operator import sub
from typing import NamedTuple

from blkmodel import scenario
from blkmodel.errors import KernelError
from blkmodel.services.cpus.cpuhotplug import cpu_down
from blkmodel.services.cpus.cpumask import cpumask
from blkmodel.services.cpus.interrupt import irq_desc, irq_desc_tree, irq_do_set_affinity, proc_irq
from blkmodel.services.cpus.isolation import housekeeping, housekeeping_isolcpus_setup
from blkmodel.sim import booted
from blkmodel.view.facts.queue_facts import queue_of


class Line(NamedTuple):
    """An interrupt. counts: how often it came to each CPU; now: the CPU it goes to, None where it is shut down."""

    irq: int
    name: str
    managed: bool
    counts: tuple[int, ...]
    may: str
    now: int | None


class Seen(NamedTuple):
    """lines: of /proc/interrupts. kept: CPUs that are not isolated. online: those that run. said: the kernel's log on
    isolated CPUs, and what writing an affinity came to."""

    lines: tuple[Line, ...]
    kept: frozenset[int]
    online: frozenset[int]
    said: tuple[str, ...]


def interrupts_seen(cpus: int, queues: int, isolcpus: str, newer: bool, offline: int | None, written: int | None,
                    to: str = "0") -> Seen:
    """What /proc shows once each CPU that runs and is not isolated has read 4 KiB from an NVMe disk.

    isolcpus: of the command line, or nothing. newer: know its flag `managed_irq`, as 5.6 does and 5.4 does not.
    offline: a CPU that goes first. written: the queue pair to whose smp_affinity_list `to` is written.
    """
    with booted(cpus) as kernel:
        begun, spared = len(kernel.log), newer and "managed_irq," in isolcpus
        if isolcpus:
            housekeeping_isolcpus_setup(isolcpus.replace("managed_irq,", "") if spared else isolcpus)
        said = kernel.log[begun:]
        queue_of("nvme", queues, depth=64)
        if offline is not None:
            kernel.task("sh", cpu_down, offline)
        kept = frozenset(housekeeping().mask)
        descs = list(irq_desc_tree().descs.values())
        for desc in descs if spared else ():
            _spare(desc, kept, kernel.online)
        if written is not None:
            irq, line = descs[written].irq_data.irq, f"echo {to} > /proc/irq/{{}}/smp_affinity_list"
            try:
                scenario.set_irq_affinity(irq, to)
                said.append(f"{line.format(irq)}: done")
            except KernelError as why:
                said.append(f"{line.format(irq)}: {why.name}")
        before = {irq: list(desc.kstat_irqs) for irq, desc in irq_desc_tree().descs.items()}
        for cpu in sorted(kept & kernel.online):
            scenario.io("nvme0n1", "read", cpu << 12, 4096, cpu=cpu)
        lines = tuple(Line(irq, "".join(desc.action.name), desc.irq_data._managed,
                           tuple(map(sub, desc.kstat_irqs, before[irq])), proc_irq(irq)[0],
                           desc.irq_data._target and desc.irq_data._target[0])
                      for irq, desc in irq_desc_tree().descs.items())
        return Seen(lines, kept, frozenset(kernel.online), tuple(said))


def _spare(desc: irq_desc, kept: frozenset[int], online: set[int]) -> None:
    """Let a managed interrupt go to a CPU that is kept, if it may and one of them runs; where it may go stays."""
    affinity = desc.irq_common_data.affinity
    may = cpumask(affinity.bits)
    wanted = [cpu for cpu in may if cpu in kept & online]
    if desc.irq_data._managed and wanted:
        irq_do_set_affinity(desc, cpumask(sum(1 << cpu for cpu in wanted)))
        affinity.bits = may.bits
