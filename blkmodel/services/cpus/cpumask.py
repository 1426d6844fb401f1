"""Sets of CPUs, and where CPUs are: on which NUMA node, on which core. The model keeps a set of CPUs or of nodes as one
number with a bit for each, however many there are (include/linux/cpumask.h, lib/cpumask.c,
arch/x86/include/asm/topology.h, mm/page_alloc.c, topology.h, nodemask.h, kernel/sched/core.c)."""

from collections.abc import Iterable, Iterator

from blkmodel.sim import Struct, statics, this


class cpumask(Struct, size=64):
    """A set of CPUs: bit n of `bits` stands for CPU n."""

    __slots__ = ("bits",)

    def __init__(self, bits: int = 0) -> None:
        self.bits = bits

    def __iter__(self) -> Iterator[int]:
        return iter(_cpus(self.bits))

    def __repr__(self) -> str:
        return f"<cpumask {self.bits:#x}>"


def _cpus(bits: int) -> list[int]:
    cpus = []
    while bits:
        low = bits & -bits
        cpus.append(low.bit_length() - 1)
        bits ^= low
    return cpus


def mask_of(cpus: Iterable[int]) -> cpumask:
    """A mask of the given CPUs. (Not the kernel's: it writes masks out bit by bit.)"""
    return cpumask(sum(1 << cpu for cpu in cpus))


def nr_cpu_ids() -> int:
    """One more than the highest possible CPU's number."""
    return this().nr_cpu_ids


num_possible_cpus = nr_cpu_ids


def cpu_possible_mask() -> cpumask:
    return mask_of(this().machine.possible)


def cpu_present_mask() -> cpumask:
    return mask_of(this().machine.present)


def cpu_online_mask() -> cpumask:
    return mask_of(this().online)


def for_each_possible_cpu() -> range:
    return range(this().nr_cpu_ids)


def for_each_present_cpu() -> list[int]:
    return sorted(this().machine.present)


def for_each_online_cpu() -> list[int]:
    return sorted(this().online)


def for_each_cpu(mask: cpumask) -> list[int]:
    return _cpus(mask.bits)


def cpu_online(cpu: int) -> bool:
    return cpu in this().online


def cpumask_first(mask: cpumask) -> int:
    """The lowest CPU of the mask; nr_cpu_ids() where it is empty."""
    return (mask.bits & -mask.bits).bit_length() - 1 if mask.bits else nr_cpu_ids()


def cpumask_next(cpu: int, mask: cpumask) -> int:
    """The lowest CPU above `cpu` (which may be -1); nr_cpu_ids() where there is none."""
    above = mask.bits >> (cpu + 1) << (cpu + 1)
    return (above & -above).bit_length() - 1 if above else nr_cpu_ids()


def cpumask_first_and(a: cpumask, b: cpumask) -> int:
    return cpumask_next_and(-1, a, b)


def cpumask_next_and(cpu: int, a: cpumask, b: cpumask) -> int:
    return cpumask_next(cpu, cpumask(a.bits & b.bits))


def cpumask_test_cpu(cpu: int, mask: cpumask) -> bool:
    return bool(mask.bits >> cpu & 1)


def cpumask_set_cpu(cpu: int, mask: cpumask) -> None:
    mask.bits |= 1 << cpu


def cpumask_clear_cpu(cpu: int, mask: cpumask) -> None:
    mask.bits &= ~(1 << cpu)


def cpumask_test_and_clear_cpu(cpu: int, mask: cpumask) -> bool:
    was = cpumask_test_cpu(cpu, mask)
    cpumask_clear_cpu(cpu, mask)
    return was


def cpumask_clear(mask: cpumask) -> None:
    mask.bits = 0


def cpumask_copy(to: cpumask, mask: cpumask) -> None:
    to.bits = mask.bits


def cpumask_and(to: cpumask, a: cpumask, b: cpumask) -> bool:
    """Set `to` to what is in both; return whether that is any CPU."""
    to.bits = a.bits & b.bits
    return to.bits != 0


def cpumask_or(to: cpumask, a: cpumask, b: cpumask) -> None:
    to.bits = a.bits | b.bits


def cpumask_andnot(to: cpumask, a: cpumask, b: cpumask) -> bool:
    """Set `to` to what is in a and not in b; return whether that is any CPU."""
    to.bits = a.bits & ~b.bits
    return to.bits != 0


def cpumask_empty(mask: cpumask) -> bool:
    return mask.bits == 0


def cpumask_intersects(a: cpumask, b: cpumask) -> bool:
    return a.bits & b.bits != 0


def cpumask_subset(a: cpumask, b: cpumask) -> bool:
    return a.bits & ~b.bits == 0


def cpumask_weight(mask: cpumask) -> int:
    return mask.bits.bit_count()


class nodemask(Struct, size=8):
    """A set of nodes: bit n of `bits` stands for node n. (In C its type is nodemask_t.)"""

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


class places(statics):
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
