"""What is told when a CPU goes away: states with callbacks, some of them for many instances; and what x86 logs of it
(include/linux/cpuhotplug.h, kernel/cpu.c, arch/x86/kernel/smpboot.c)."""

from collections.abc import Callable
from typing import Any

from blkmodel.services.base import EBUSY, EINVAL, pr_info
from blkmodel.services.cpus.cpumask import cpu_to_node
from blkmodel.services.cpus.interrupt import irq_affinity_online_cpu, irq_migrate_all_off_this_cpu
from blkmodel.services.data.list import list_add, list_del_init, list_head
from blkmodel.sim import statics, this

CPUHP_BLOCK_SOFTIRQ_DEAD, CPUHP_BLK_MQ_DEAD = 20, 23


class hotplug(statics):
    """teardown: state → what runs on another CPU once a CPU is dead. instances: state → who is told."""

    def __init__(self) -> None:
        self.teardown: dict[int, Callable[..., Any]] = {}
        self.instances: dict[int, list_head] = {}


def cpuhp_setup_state_nocalls(state: int, name: str, startup: Callable[..., Any], teardown: Callable[..., Any]) -> int:
    hotplug().teardown[state] = teardown
    return 0


def cpuhp_setup_state_multi(state: int, name: str, startup: Callable[..., Any], teardown: Callable[..., Any]) -> int:
    """When a CPU is dead, let teardown(cpu, instance) be called for each instance that was added to the state."""
    hotplug().instances[state] = list_head()
    return cpuhp_setup_state_nocalls(state, name, startup, teardown)


def cpuhp_state_add_instance_nocalls(state: int, instance: Any, member: str) -> int:
    """Add an instance, before those that are there; `member` names its field for that."""
    list_add(instance, hotplug().instances[state], member)
    return 0


def cpuhp_state_remove_instance_nocalls(state: int, instance: Any, member: str) -> int:
    list_del_init(instance, member)
    return 0


def cpu_down(cpu: int) -> int:
    """Take a CPU offline: what sleeps or is to run there moves to another, then the dead CPU's states are torn down.

    Returns 0, -EINVAL for a CPU that is not online, -EBUSY for the last one.
    """
    kernel = this()
    if cpu not in kernel.online:
        return -EINVAL
    if len(kernel.online) == 1:
        return -EBUSY
    kernel.online.discard(cpu)
    irq_migrate_all_off_this_cpu(cpu)
    refuge = min(kernel.online)
    queued = [event.context for event in kernel.loop.pending()]
    for context in [kernel.context, *kernel.loop.sleepers(), *queued]:
        if context.cpu == cpu:
            context.cpu = refuge
    states = hotplug()
    for state in sorted(states.teardown, reverse=True):
        if state in states.instances:
            for instance in states.instances[state]:
                states.teardown[state](cpu, instance)
        else:
            states.teardown[state](cpu)
    pr_info(f"smpboot: CPU {cpu} is now offline")
    return 0


def cpu_up(cpu: int) -> int:
    """Bring a CPU that is present online again. Returns 0, or -EINVAL."""
    kernel = this()
    if cpu not in kernel.machine.present:
        return -EINVAL
    if cpu == 1:
        pr_info("x86: Booting SMP configuration:")
    pr_info(f"smpboot: Booting Node {cpu_to_node(cpu)} Processor {cpu} APIC {cpu:#x}")
    kernel.online.add(cpu)
    irq_affinity_online_cpu(cpu)
    return 0
