"""A controller's interrupts as /proc shows them: how often each came to which CPU, where it may go, where it goes."""

from operator import sub
from typing import NamedTuple

from blkmodel import scenario
from blkmodel.services import (cpu_down, cpumask, housekeeping, housekeeping_isolcpus_setup, irq_desc_tree,
    irq_do_set_affinity, mask_of, proc_irq)
from blkmodel.sim import booted
from blkmodel.view.facts.queue_facts import queue_of
from blkmodel.view.facts.words import attempt


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
        kept, descs = frozenset(housekeeping().mask), irq_desc_tree().descs
        for desc in descs.values() if spared else ():  # to a CPU that is kept, if it may; where it may go stays
            may = cpumask(desc.irq_common_data.affinity.bits)
            if desc.irq_data._managed and (wanted := kept & kernel.online & set(may)):
                irq_do_set_affinity(desc, mask_of(wanted))
                desc.irq_common_data.affinity.bits = may.bits
        if written is not None:
            irq = list(descs)[written]
            done = attempt(scenario.set_irq_affinity, irq, to) or "done"
            said.append(f"echo {to} > /proc/irq/{irq}/smp_affinity_list: {done}")
        before = {irq: list(desc.kstat_irqs) for irq, desc in descs.items()}
        for cpu in sorted(kept & kernel.online):
            scenario.io("nvme0n1", "read", cpu << 12, 4096, cpu=cpu)
        lines = tuple(Line(irq, "".join(desc.action.name), desc.irq_data._managed,
                           tuple(map(sub, desc.kstat_irqs, before[irq])), proc_irq(irq)[0],
                           desc.irq_data._target and desc.irq_data._target[0]) for irq, desc in descs.items())
        return Seen(lines, kept, frozenset(kernel.online), tuple(said))
