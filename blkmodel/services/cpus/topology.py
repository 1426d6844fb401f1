"""Which NUMA node a CPU is on, which CPUs share its core, and sets of nodes (arch/x86/include/asm/topology.h,
mm/page_alloc.c, topology.h, nodemask.h, kernel/sched/core.c)."""

from blkmodel.services.cpus.cpumask import cpumask, mask_of
from blkmodel.sim import statics, this
from blkmodel.sim.structure import Struct, struct


@struct
class nodemask(Struct):
    """A set of nodes: bit n of `bits` stands for node n. (In C its type is nodemask_t.)"""

    SIZE = 8
    bits: int = 0


def node_set(node: int, mask: nodemask) -> None:
    mask.bits |= 1 << node


def for_each_node_mask(mask: nodemask) -> list[int]:
    return [node for node in range(mask.bits.bit_length()) if mask.bits >> node & 1]


def first_memory_node() -> int:
    """The lowest node that has memory: in the model, that there is."""
    return min(this().machine.nodes)


def nr_online_nodes() -> int:
    """How many nodes there are; in the model all are online."""
    return len(this().machine.nodes)


def cpu_to_node(cpu: int) -> int:
    return this().machine.node_of[cpu]


def local_memory_node(node: int) -> int:
    """The node that gives memory to a node's CPUs: itself, as every node of the model has memory."""
    return node


def for_each_node() -> list[int]:
    return sorted(this().machine.nodes)


def nr_node_ids() -> int:
    """One more than the highest node's number."""
    return max(this().machine.nodes) + 1


def cpumask_of_node(node: int) -> cpumask:
    """The online CPUs of a node."""
    kernel = this()
    return mask_of(kernel.machine.nodes.get(node, frozenset()) & kernel.online)


@statics
class places:
    """Where each CPU is: its core's hardware threads."""

    def __init__(self) -> None:
        self.core = {cpu: core for core in this().machine.siblings for cpu in core}


def topology_sibling_cpumask(cpu: int) -> cpumask:
    """The online threads of a CPU's core; empty for a CPU that is not online."""
    online = this().online
    if cpu not in online:
        return cpumask()
    return mask_of(thread for thread in places().core.get(cpu, (cpu,)) if thread in online)


def cpus_share_cache(a: int, b: int) -> bool:
    return a == b or any(a in shared and b in shared for shared in this().machine.caches)
