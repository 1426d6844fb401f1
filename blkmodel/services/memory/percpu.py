"""The running CPU, and variables that each CPU has of its own (include/linux/smp.h, percpu.h, mm/percpu.c,
percpu-defs.h)."""

from typing import Any

from blkmodel.sim import Array, running, this


def smp_processor_id() -> int:
    return running.kernel.context.cpu


raw_smp_processor_id = get_cpu = smp_processor_id


def put_cpu() -> None:
    """End what get_cpu() began; the model never moves a running task."""


def alloc_percpu_gfp(ctype: type | str, gfp: int) -> Array:
    """Allocate one variable for each possible CPU: a structure class, or the name of a C type; None on failure."""
    return __alloc_percpu(1, ctype)


def alloc_percpu(ctype: type | str) -> Array:
    return alloc_percpu_gfp(ctype, 0)


def __alloc_percpu(n: int, ctype: type | str) -> Array:
    """Allocate n variables for each possible CPU, CPU by CPU; None on failure. (In C: so many bytes for each.)"""
    kernel = this()
    count = n * kernel.nr_cpu_ids
    items = [0] * count if isinstance(ctype, str) else [ctype() for _ in range(count)]
    return kernel.memory.new_array(ctype, items, kernel.machine.node_of[kernel.cpu])


def free_percpu(variables: list[Any]) -> None:
    this().memory.free(variables)
