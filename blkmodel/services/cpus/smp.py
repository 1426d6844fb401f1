"""Calls to another CPU, through an interrupt there."""

from typing import Any

from blkmodel.sim import this
from blkmodel.sim.kernel import Context
from blkmodel.sim.structure import Struct, struct


@struct
class call_single_data(Struct):
    """What another CPU is asked to do: func(info)."""

    SIZE = 32
    func: Any = None
    info: Any = None


def smp_call_function_single_async(cpu, csd):
    """Let that CPU be interrupted and call csd.func(csd.info); the caller goes on at once."""
    this().loop.post(Context("irq", "call_function_single", cpu), lambda: csd.func(csd.info))
    return 0
