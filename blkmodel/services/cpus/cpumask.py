"""Sets of CPUs. The model keeps a mask as one number with a bit per CPU, however many there are
(include/linux/cpumask.h, lib/cpumask.c)."""

from collections.abc import Iterable, Iterator

from blkmodel.sim import this
from blkmodel.sim.structure import Struct


class cpumask(Struct):
    """A set of CPUs: bit n of `bits` stands for CPU n."""

    __slots__ = ("bits",)
    SIZE = 64

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
