"""Interrupts: what the kernel numbers and calls them, where they may go, and who handles them; softirqs, what an
interrupt leaves for a moment later; and calls to another CPU, through an interrupt there (kernel/irq/irqdesc.c,
irqdesc.h, kernel/irq/chip.c, kernel/irq/manage.c, interrupt.h, kernel/irq/cpuhotplug.c, kernel/irq/proc.c,
kernel/softirq.c, kernel/smp.c).

What the x86 code below does with a CPU's vectors is in blkmodel.sim.interrupts. Left out: threads, triggers,
power management, and the files in /proc (proc_irq() reads what they would show).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

from blkmodel.services.base import EBUSY, EINVAL, EIO, ENOMEM, ENOSPC, WARN_ON, pr_warn
from blkmodel.services.cpus.cpumask import (cpu_online_mask, cpu_to_node, cpumask, cpumask_and, cpumask_copy,
    cpumask_empty, cpumask_first, cpumask_intersects, cpumask_of_node, cpumask_subset, cpumask_test_cpu, for_each_cpu,
    mask_of)
from blkmodel.services.memory.percpu import alloc_percpu, free_percpu
from blkmodel.services.memory.slab import GFP_KERNEL, NUMA_NO_NODE, kfree, kzalloc, kzalloc_node
from blkmodel.sim import NULL, Context, MachineError, Struct, format_cpulist, parse_cpulist, running, statics, this
from blkmodel.sim.interrupts import interrupts

if TYPE_CHECKING:
    from blkmodel.services.devices.msi import msi_desc

IRQS_PENDING = 0x200
FIRST_DYNAMIC_IRQ = 24
"""The numbers below belong to the pins of the I/O interrupt controller."""
BLOCK_SOFTIRQ, IRQ_NONE, IRQ_HANDLED, IRQF_SHARED, IRQ_AFFINITY_MAX_SETS = 4, 0, 1, 0x80, 4


class irq_chip(Struct, size=272):
    """What can be done to an interrupt at its source. Each takes the irq_data; writing takes the message too: where
    the interrupt goes, as (CPU, vector)."""

    name: str = ""
    irq_mask: Callable[..., None] = NULL
    irq_unmask: Callable[..., None] = NULL
    irq_write_msi_msg: Callable[..., None] = NULL


class irq_common_data(Struct, size=152):
    """Where an interrupt may go (affinity), where it goes (effective_affinity), and its node and MSI entry."""

    node: int = NUMA_NO_NODE
    msi_desc: msi_desc = NULL
    affinity: cpumask = field(default_factory=cpumask)
    effective_affinity: cpumask = field(default_factory=cpumask)


class irq_data(Struct, size=56):
    """An interrupt to its chip. _managed: its affinity is fixed. _started: it can happen.

    _target: the (CPU, vector) that it has, or None.
    """

    irq: int = 0
    common: irq_common_data = NULL
    chip: irq_chip = NULL
    _managed: bool = False
    _started: bool = False
    _target: tuple[int, int] = NULL


class irq_desc(Struct, size=576):
    """One interrupt. `action` heads the chain of its handlers; while `depth` is not 0 it is disabled, and one that
    happens is IRQS_PENDING. kstat_irqs counts per CPU."""

    irq_common_data: irq_common_data = field(default_factory=irq_common_data)
    irq_data: irq_data = field(default_factory=irq_data)
    kstat_irqs: list[int] = NULL
    action: irqaction = NULL
    istate: int = 0
    depth: int = 1

    def __post_init__(self) -> None:
        self.irq_data.common = self.irq_common_data


class irq_desc_tree(statics):
    """All interrupts there are: number → irq_desc."""

    def __init__(self) -> None:
        self.descs: dict[int, irq_desc] = {}


def irq_to_desc(irq: int) -> irq_desc:
    """The interrupt of that number, or None."""
    return irq_desc_tree().descs.get(irq, NULL)


def irq_has_action(irq: int) -> bool:
    """Whether anybody handles it."""
    return irq_to_desc(irq).action is not None


def irq_default_affinity() -> cpumask:
    """Where interrupts may go that nobody has an opinion on: to any CPU the kernel was built for."""
    return cpumask((1 << this().machine.nr_cpus) - 1)


def __irq_alloc_descs(irq: int, first: int, cnt: int, node: int, owner: Any,
                      affinity: Sequence[irq_affinity_desc] | None) -> int:
    """Make `cnt` interrupts with the lowest free numbers that follow each other (`irq` is -1, `owner` None).

    affinity: an irq_affinity_desc for each; or None: they may go anywhere, and belong to `node`.
    Returns the first number; -EINVAL where an affinity is empty, -ENOSPC where a managed one can't have its vectors,
    -ENOMEM.
    """
    if affinity is not None and any(cpumask_empty(desc.mask) for desc in affinity[:cnt]):
        return -EINVAL
    descs, start = irq_desc_tree().descs, max(first, FIRST_DYNAMIC_IRQ)
    while any(start + i in descs for i in range(cnt)):
        start += 1
    for i in range(cnt):
        mask, managed = irq_default_affinity(), False
        if affinity is not None:
            mask, managed = affinity[i].mask, bool(affinity[i].is_managed)
            node = cpu_to_node(cpumask_first(mask))
        desc = _alloc_desc(start + i, node, mask)
        ret = -ENOMEM if desc is None else 0
        if desc is not None and managed:
            if interrupts().set_aside(for_each_cpu(mask)):
                desc.irq_data._managed = True
            else:
                irq_free_descs(start + i, 1)
                ret = -ENOSPC
        if ret:
            irq_free_descs(start, i)
            return ret
    return start


def _alloc_desc(irq: int, node: int, mask: cpumask) -> irq_desc:
    if (desc := kzalloc_node(irq_desc, GFP_KERNEL, node)) is None:
        return NULL
    desc.kstat_irqs = alloc_percpu("unsigned int")
    if desc.kstat_irqs is None:
        kfree(desc)
        return NULL
    desc.irq_data.irq = irq
    desc.irq_common_data.node = node
    cpumask_copy(desc.irq_common_data.affinity, mask)
    _point_nowhere(desc)
    irq_desc_tree().descs[irq] = desc
    return desc


def irq_free_descs(start: int, cnt: int) -> None:
    """Do away with interrupts that nobody handles."""
    for irq in range(start, start + cnt):
        desc = irq_desc_tree().descs.pop(irq)
        if desc.irq_data._managed:
            interrupts().drop_aside(for_each_cpu(desc.irq_common_data.affinity))
        free_percpu(desc.kstat_irqs)
        kfree(desc)


def generic_handle_irq(irq: int) -> int:
    """Handle an interrupt that has happened on this CPU; one that is disabled happens when it is enabled again."""
    if (desc := irq_to_desc(irq)) is None:
        return -EINVAL
    if desc.depth:
        desc.istate |= IRQS_PENDING
        desc.irq_data.chip.irq_mask(desc.irq_data)
        return 0
    desc.kstat_irqs[running.kernel.context.cpu] += 1
    action = desc.action
    while action is not None:
        action.handler(irq, action.dev_id)
        action = action.next
    return 0


def irq_activate(desc: irq_desc) -> int:
    """Give an interrupt a vector on some CPU, unless it is managed: that has one set aside. Returns 0 or -ENOSPC.

    CPUs of its node that it may go to are tried first; then all that it may go to, all of its node, all that are
    online. The last two are not what was asked for, which is logged.
    """
    if desc.irq_data._managed:
        return 0
    common, of_node, near = desc.irq_common_data, cpumask(), cpumask()
    if common.node != NUMA_NO_NODE:
        of_node = cpumask_of_node(common.node)
        cpumask_and(near, of_node, common.affinity)
    for mask in (near, common.affinity, of_node, cpu_online_mask()):
        if target := interrupts().take(for_each_cpu(mask)):
            _point_at(desc, target)
            break
    if not cpumask_subset(common.effective_affinity, common.affinity):
        pr_warn(f"irq {desc.irq_data.irq}: Affinity broken due to vector space exhaustion.")
    return 0 if target else -ENOSPC


def irq_startup(desc: irq_desc) -> None:
    """Let an interrupt happen. A managed one whose CPUs are all offline stays shut down: that is no error."""
    data, common = desc.irq_data, desc.irq_common_data
    desc.depth = 0
    if data._managed:
        if not cpumask_intersects(common.affinity, cpu_online_mask()):
            return
        _point_at(desc, interrupts().take_aside(for_each_cpu(common.affinity)))
    else:
        irq_setup_affinity(desc)
    data._started = True
    data.chip.irq_unmask(data)


def irq_setup_affinity(desc: irq_desc) -> None:
    """Choose where an interrupt goes that is not managed: online CPUs, of its node if it may go to any of those."""
    common, mask = desc.irq_common_data, cpumask()
    cpumask_and(mask, cpu_online_mask(), irq_default_affinity())
    if common.node != NUMA_NO_NODE:
        nodemask = cpumask_of_node(common.node)
        if cpumask_intersects(mask, nodemask):
            cpumask_and(mask, mask, nodemask)
    if not cpumask_intersects(mask, common.effective_affinity):
        if (target := interrupts().take(for_each_cpu(mask))) is None:
            return
        interrupts().give_back(desc.irq_data._target)
        _point_at(desc, target)
    cpumask_copy(common.affinity, mask)


def irq_shutdown_and_deactivate(desc: irq_desc) -> None:
    """Let an interrupt happen no more, and give its vector back."""
    data = desc.irq_data
    desc.depth, desc.istate = 1, 0
    if data._started:
        data.chip.irq_mask(data)
        data._started = False
    if data._target is not None:
        interrupts().give_back(data._target)
        _point_nowhere(desc)


def irq_migrate_all_off_this_cpu(cpu: int) -> None:
    """Move the interrupts that go to a CPU which has just gone offline.

    One that is managed shuts down when the last of its CPUs goes; any other breaks its affinity then.
    """
    for desc in list(irq_desc_tree().descs.values()):
        data, common = desc.irq_data, desc.irq_common_data
        if data._target is None or data._target[0] != cpu:
            continue
        if not cpumask_intersects(common.affinity, cpu_online_mask()):
            if data._managed:
                irq_shutdown_and_deactivate(desc)
                continue
            cpumask_copy(common.affinity, cpu_online_mask())
        irq_do_set_affinity(desc, common.affinity)


def irq_do_set_affinity(desc: irq_desc, mask: cpumask) -> int:
    """Let an interrupt go to the CPUs of a mask: where it goes to one that is online, it stays. Returns 0 or -ENOSPC.

    5.4 knows no CPUs that are spared here: `isolcpus=managed_irq` came with 5.6.
    """
    data, state = desc.irq_data, interrupts()
    if data._target is not None and not cpumask_test_cpu(data._target[0], mask_of(this().online & set(mask))):
        if (target := (state.take_aside if data._managed else state.take)(for_each_cpu(mask))) is None:
            return -ENOSPC
        state.give_back(data._target)
        _point_at(desc, target)
    cpumask_copy(desc.irq_common_data.affinity, mask)
    return 0


def write_irq_affinity(irq: int, text: str) -> int:
    """What writing a list of CPUs to /proc/irq/N/smp_affinity_list does: the interrupt goes to these from now on.

    Returns how many characters were taken; -EIO for a managed interrupt, before the list is looked at; -EINVAL for
    what is no list, or has no CPU that is online; -ENOSPC where none of them has a vector left.
    """
    desc = irq_to_desc(irq)
    if desc.irq_data._managed:
        return -EIO
    try:
        mask = mask_of(parse_cpulist(text))
    except MachineError:
        return -EINVAL
    if not cpumask_intersects(mask, cpu_online_mask()):
        return -EINVAL
    return irq_do_set_affinity(desc, mask) or len(text)


def irq_affinity_online_cpu(cpu: int) -> int:
    """Start the managed interrupts that had shut down for want of this CPU, which is online again. Returns 0."""
    for desc in irq_desc_tree().descs.values():
        data, affinity = desc.irq_data, desc.irq_common_data.affinity
        if data._managed and desc.action is not None and data._target is None and affinity.bits >> cpu & 1:
            irq_startup(desc)
    return 0


def _point_at(desc: irq_desc, target: tuple[int, int]) -> None:
    """Send an interrupt to a CPU and vector from now on."""
    irq = desc.irq_data.irq
    name = "".join(desc.action.name or ()) or f"irq {irq}"
    desc.irq_data._target = target
    desc.irq_common_data.effective_affinity.bits = 1 << target[0]
    interrupts().connect(target, name, lambda: generic_handle_irq(irq))
    desc.irq_data.chip.irq_write_msi_msg(desc.irq_data, target)


def _point_nowhere(desc: irq_desc) -> None:
    """Without a vector an interrupt is said to go to the first CPU that is online."""
    desc.irq_data._target = NULL
    cpumask_copy(desc.irq_common_data.effective_affinity, mask_of({min(this().online)}))


def proc_irq(irq: int) -> tuple[str, ...]:
    """What /proc/irq/N/smp_affinity_list and effective_affinity_list show. (Not the kernel's.)"""
    common = irq_to_desc(irq).irq_common_data
    return tuple(format_cpulist(for_each_cpu(mask)) for mask in (common.affinity, common.effective_affinity))


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


class irq_affinity_desc(Struct):
    """The CPUs that one vector may interrupt; is_managed: they can't be changed."""

    mask: cpumask = field(default_factory=cpumask)
    is_managed: int = 0


class irqaction(Struct, size=128):
    """One handler of an interrupt: handler(irq, dev_id) returns IRQ_NONE or IRQ_HANDLED. next: the next one."""

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
    if (desc := irq_to_desc(irq)) is None:
        return -EINVAL
    if (action := kzalloc(irqaction, GFP_KERNEL)) is None:
        return -ENOMEM
    action.handler, action.dev_id, action.irq, action.flags, action.name = handler, dev_id, irq, irqflags, devname
    if desc.action is None:
        desc.action = action
        if ret := irq_activate(desc):
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
    if (desc := irq_to_desc(irq)) is not None:
        desc.depth += 1


def enable_irq(irq: int) -> None:
    if (desc := irq_to_desc(irq)) is None:
        return
    desc.depth -= 1
    if desc.depth == 0 and desc.istate & IRQS_PENDING:
        desc.istate &= ~IRQS_PENDING
        desc.irq_data.chip.irq_unmask(desc.irq_data)
        target = Context("irq", "".join(desc.action.name or ()), desc.irq_data._target[0])
        this().loop.post(target, lambda: generic_handle_irq(irq))


class softirqs(statics):
    """vec: softirq → its action. pending: the (CPU, softirq) pairs that are raised and have not run yet."""

    def __init__(self) -> None:
        self.vec: dict[int, Callable[[int], None]] = {}
        self.pending: set[tuple[int, int]] = set()


def open_softirq(nr: int, action: Callable[[int], None]) -> None:
    """Name what a softirq runs: action(nr)."""
    softirqs().vec[nr] = action


def raise_softirq_irqoff(nr: int) -> None:
    """Let a softirq run on this CPU as soon as what runs now ends or sleeps; raised again meanwhile, it runs once."""
    kernel, state = this(), softirqs()
    cpu = kernel.cpu
    if (cpu, nr) in state.pending:
        return
    state.pending.add((cpu, nr))

    def run() -> None:
        state.pending.discard((cpu, nr))
        state.vec[nr](nr)
    kernel.loop.post(Context("softirq", f"softirq {nr}", cpu), run)


class call_single_data(Struct, size=32):
    """What another CPU is asked to do: func(info)."""

    func: Callable[..., None] = NULL
    info: Any = None


def smp_call_function_single_async(cpu: int, csd: call_single_data) -> int:
    """Let that CPU be interrupted and call csd.func(csd.info); the caller goes on at once."""
    this().loop.post(Context("irq", "call_function_single", cpu), lambda: csd.func(csd.info))
    return 0
