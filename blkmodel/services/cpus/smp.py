"""Calls to another CPU, through an interrupt there (kernel/smp.c)."""

from collections.abc import Callable
from typing import Any

from blkmodel.sim import this
from blkmodel.sim.kernel import Context
from blkmodel.sim.structure import NULL, Struct, struct


@struct
class call_single_data(Struct):
    """What another CPU is asked to do: func(info)."""

    SIZE = 32
    func: Callable[..., None] = NULL
    info: Any = None


def smp_call_function_single_async(cpu: int, csd: call_single_data) -> int:
    """Let that CPU be interrupted and call csd.func(csd.info); the caller goes on at once."""
    this().loop.post(Context("irq", "call_function_single", cpu), lambda: csd.func(csd.info))
    return 0
