"""CPUs that are kept free of what can run elsewhere, as the command line of the kernel asks (kernel/sched/isolation.c).

Left out: nohz_full=, and who asks for the mask: the scheduler, the tick and work queues. Interrupts are not among them.
"""

from blkmodel.services.base import pr_warn
from blkmodel.services.cpus.cpumask import (cpu_possible_mask, cpu_present_mask, cpumask_andnot, cpumask_intersects,
    cpumask_set_cpu, mask_of, nr_cpu_ids)
from blkmodel.sim import MachineError, parse_cpulist, statics, this


class housekeeping(statics):
    """mask: the CPUs that are not isolated."""

    def __init__(self) -> None:
        self.mask = cpu_possible_mask()


def housekeeping_isolcpus_setup(text: str) -> int:
    """Do what `isolcpus=` asks for: "2-3", "domain,2-3". Returns 1; or 0 where the log says why no CPU is isolated.

    5.4 knows the flags nohz and domain; with any other the CPUs are not even looked at.
    """
    while text[:1].isalpha():
        flag, comma, text = text.partition(",")
        if not comma or flag not in ("nohz", "domain"):
            pr_warn("isolcpus: Error, unknown flag")
            return 0
    try:
        isolated = mask_of(parse_cpulist(text))
    except MachineError:
        isolated = None
    if isolated is None or isolated.bits >> nr_cpu_ids():
        pr_warn("Housekeeping: nohz_full= or isolcpus= incorrect CPU range")
        return 0
    kept = housekeeping().mask
    cpumask_andnot(kept, cpu_possible_mask(), isolated)
    if not cpumask_intersects(kept, cpu_present_mask()):
        pr_warn(f"Housekeeping: must include one present CPU, using boot CPU:{this().cpu}")
        cpumask_set_cpu(this().cpu, kept)
    return 1
