"""Interrupts that a device raises by writing a message (include/linux/msi.h, kernel/irq/msi.c)."""

from collections.abc import Sequence
from itertools import islice

from blkmodel.services.base import ENOSPC
from blkmodel.services.cpus.cpumask import cpumask_copy
from blkmodel.services.cpus.interrupt import __irq_alloc_descs, irq_affinity_desc, irq_chip, irq_free_descs, irq_to_desc
from blkmodel.services.data.list import list_head
from blkmodel.services.devices.device import dev_to_node, device
from blkmodel.services.devices.pci import pci_dev
from blkmodel.services.memory.slab import GFP_KERNEL, kcalloc, kfree, kzalloc
from blkmodel.sim import NULL, Struct


class msi_desc(Struct, size=104):
    """One entry of a device's message table (number entry_nr) and the interrupt that it raises.

    affinity: an irq_affinity_desc for each of nvec_used interrupts, or None. masked: the device holds it back.
    """

    list: list_head = NULL
    irq: int = 0
    nvec_used: int = 0
    dev: device = NULL
    affinity: Sequence[irq_affinity_desc] = NULL
    masked: int = 0
    is_msix: int = 0
    entry_nr: int = 0
    default_irq: int = 0


def for_each_pci_msi_entry(pdev: pci_dev) -> list_head:
    return pdev.dev.msi_list


def nth_entry(pdev: pci_dev, nr: int) -> msi_desc:
    """Entry `nr` of a device, or None. (C walks the list wherever it needs one.)"""
    return next(islice(pdev.dev.msi_list.entries, nr, None), NULL)


def alloc_msi_entry(dev: device, nvec: int, affinity: Sequence[irq_affinity_desc]) -> msi_desc:
    """Allocate an entry, with a copy of its interrupts' affinities where they are given; None on failure."""
    if (desc := kzalloc(msi_desc, GFP_KERNEL)) is None:
        return NULL
    desc.dev, desc.nvec_used = dev, nvec
    if affinity is not None:
        desc.affinity = kcalloc(nvec, irq_affinity_desc, GFP_KERNEL)
        if desc.affinity is None:
            kfree(desc)
            return NULL
        for copy, original in zip(desc.affinity, affinity, strict=True):
            cpumask_copy(copy.mask, original.mask)
            copy.is_managed = original.is_managed
    return desc


def free_msi_entry(entry: msi_desc) -> None:
    kfree(entry.affinity)
    kfree(entry)


def msi_domain_alloc_irqs(chip: irq_chip, dev: device, nvec: int) -> int:
    """Make the interrupts of all a device's entries. Returns 0, or -ENOSPC with those made that could be."""
    for desc in dev.msi_list:
        if (virq := __irq_alloc_descs(-1, 0, desc.nvec_used, dev_to_node(dev), None, desc.affinity)) < 0:
            return -ENOSPC
        desc.irq = virq
        for i in range(desc.nvec_used):
            made = irq_to_desc(virq + i)
            made.irq_data.chip = chip
            made.irq_common_data.msi_desc = desc
    return 0


def msi_domain_free_irqs(chip: irq_chip, dev: device) -> None:
    """Do away with the interrupts of those of a device's entries that have any."""
    for desc in dev.msi_list:
        if desc.irq:
            irq_free_descs(desc.irq, desc.nvec_used)
            desc.irq = 0
