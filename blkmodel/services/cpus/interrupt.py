"""Interrupts: who handles them and where they may go; softirqs, what an interrupt leaves for a moment later; and calls
to another CPU, through an interrupt there (kernel/irq/manage.c, interrupt.h, kernel/softirq.c, kernel/smp.c)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any

from blkmodel.services.base.bug import WARN_ON
from blkmodel.services.base.err import EBUSY, EINVAL, ENOMEM
from blkmodel.services.cpus.cpumask import cpumask
from blkmodel.services.cpus.irqdesc import (
    IRQS_PENDING, generic_handle_irq, irq_activate, irq_shutdown_and_deactivate, irq_startup, irq_to_desc)
from blkmodel.services.memory.mm import GFP_KERNEL
from blkmodel.services.memory.slab import kfree, kzalloc
from blkmodel.sim import statics, this
from blkmodel.sim.kernel import Context
from blkmodel.sim.structure import NULL, Struct, struct

BLOCK_SOFTIRQ = 4

IRQ_NONE, IRQ_HANDLED = 0, 1
IRQF_SHARED = 0x80
IRQ_AFFINITY_MAX_SETS = 4


@struct
class irq_affinity(Struct):
    """How a driver wants its vectors spread: pre_vectors at the beginning and post_vectors at the end not at all, the
    rest in nr_sets sets of set_size[i]. calc_sets(affd, nvecs) divides nvecs vectors into sets; priv is the driver's.
    """

    pre_vectors: int = 0
    post_vectors: int = 0
    nr_sets: int = 0
    set_size: list[int] = field(default_factory=lambda: [0] * IRQ_AFFINITY_MAX_SETS)
    calc_sets: Callable[..., None] = NULL
    priv: Any = None


@struct
class irq_affinity_desc(Struct):
    """The CPUs that one vector may interrupt; is_managed: they can't be changed."""

    mask: cpumask = field(default_factory=cpumask)
    is_managed: int = 0


@struct
class irqaction(Struct):
    """One handler of an interrupt: handler(irq, dev_id) returns IRQ_NONE or IRQ_HANDLED. next: the next one."""

    SIZE = 128
    handler: Callable[..., int] = NULL
    dev_id: Any = None
    next: irqaction = NULL
    irq: int = 0
    flags: int = 0
    name: Any = None


def request_threaded_irq(irq: int, handler: Callable[..., int], thread_fn: Callable[..., int] | None, irqflags: int,
                         devname: Any, dev_id: Any) -> int:
    """Handle an interrupt from now on. (The model's have no threads: thread_fn is None.)

    Returns 0; -EINVAL where there is no such interrupt, -EBUSY where it has a handler that does not share it,
    -ENOSPC where no CPU has a vector left for it, -ENOMEM.
    """
    desc = irq_to_desc(irq)
    if desc is None:
        return -EINVAL
    action = kzalloc(irqaction, GFP_KERNEL)
    if action is None:
        return -ENOMEM
    action.handler, action.dev_id, action.irq, action.flags, action.name = handler, dev_id, irq, irqflags, devname
    if desc.action is None:
        desc.action = action
        ret = irq_activate(desc)
        if ret:
            desc.action = None
            kfree(action)
            return ret
        irq_startup(desc)
        return 0
    last = desc.action
    if not last.flags & irqflags & IRQF_SHARED:
        kfree(action)
        return -EBUSY
    while last.next is not None:
        last = last.next
    last.next = action
    return 0


def request_irq(irq: int, handler: Callable[..., int], flags: int, name: Any, dev: Any) -> int:
    return request_threaded_irq(irq, handler, None, flags, name, dev)


def free_irq(irq: int, dev_id: Any) -> Any:
    """Take away the handler that was given with dev_id and return its name; without one the interrupt shuts down."""
    desc = irq_to_desc(irq)
    before, action = None, desc.action if desc is not None else None
    while action is not None and action.dev_id is not dev_id:
        before, action = action, action.next
    if action is None:
        WARN_ON(True, f"Trying to free already-free IRQ {irq}")
        return None
    if before is None:
        desc.action = action.next
    else:
        before.next = action.next
    if desc.action is None:
        irq_shutdown_and_deactivate(desc)
    devname = action.name
    kfree(action)
    return devname


def disable_irq(irq: int) -> None:
    """Hold an interrupt back until enable_irq() has been called as often. One that there is not is no matter."""
    desc = irq_to_desc(irq)
    if desc is not None:
        desc.depth += 1


def enable_irq(irq: int) -> None:
    desc = irq_to_desc(irq)
    if desc is None:
        return
    desc.depth -= 1
    if desc.depth == 0 and desc.istate & IRQS_PENDING:
        desc.istate &= ~IRQS_PENDING
        desc.irq_data.chip.irq_unmask(desc.irq_data)
        target = Context("irq", "".join(desc.action.name or ()), desc.irq_data._target[0])
        this().loop.post(target, lambda: generic_handle_irq(irq))


@statics
class softirqs:
    """vec: softirq → its action. pending: the (CPU, softirq) pairs that are raised and have not run yet."""

    def __init__(self) -> None:
        self.vec: dict[int, Callable[[int], None]] = {}
        self.pending: set[tuple[int, int]] = set()


def open_softirq(nr: int, action: Callable[[int], None]) -> None:
    """Name what a softirq runs: action(nr)."""
    softirqs().vec[nr] = action


def raise_softirq_irqoff(nr: int) -> None:
    """Let a softirq run on this CPU as soon as what runs now ends or sleeps; raised again meanwhile, it runs once."""
    kernel = this()
    state = softirqs()
    cpu = kernel.cpu
    if (cpu, nr) in state.pending:
        return
    state.pending.add((cpu, nr))

    def run() -> None:
        state.pending.discard((cpu, nr))
        state.vec[nr](nr)
    kernel.loop.post(Context("softirq", f"softirq {nr}", cpu), run)


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
