"""A PCI device's interrupt vectors: how many it gets, which CPUs they go to, and their numbers in the kernel.

As far as a device shows that has a table of messages (MSI-X) or a pin. Left out: devices with MSI only, the
capability's registers one by one, and what sysfs shows.
"""

from blkmodel.kernel.irq import affinity
from blkmodel.reference.omission import no_chapter
from blkmodel.services import (BUG_ON, EINVAL, ENOMEM, ENOSPC, ERANGE, PCI_IRQ_AFFINITY, PCI_IRQ_LEGACY, PCI_IRQ_MSI,
    PCI_IRQ_MSIX, WARN_ON, WARN_ON_ONCE, alloc_msi_entry, cpu_possible_mask, cpumask, for_each_pci_msi_entry,
    free_msi_entry, irq_affinity, irq_chip, irq_data, irq_has_action, kfree, list_add_tail, list_del_init, msi_desc,
    msi_domain_alloc_irqs, msi_domain_free_irqs, nth_entry, pci_dev, provide, to_pci_dev)
from blkmodel.sim import NULL

OMITTED = no_chapter("pci_irq_get_node")


def pci_msi_domain_write_msg(irq_data: irq_data, msg: tuple[int, int]) -> None:
    """Tell the device what to write when it raises this interrupt: `msg` names a CPU and its vector."""
    entry = irq_data.common.msi_desc
    to_pci_dev(entry.dev)._device.messages[entry.entry_nr] = msg


def msix_mask_irq(entry: msi_desc, flag: int) -> None:
    """Let the device hold an entry's messages back, or send them; those held back are sent then."""
    entry.masked = flag
    to_pci_dev(entry.dev)._device.mask(entry.entry_nr, bool(flag))


def pci_msi_mask_irq(data: irq_data) -> None:
    """Let the device hold this interrupt back."""
    msix_mask_irq(data.common.msi_desc, 1)


def pci_msi_unmask_irq(data: irq_data) -> None:
    """Let the device raise this interrupt."""
    msix_mask_irq(data.common.msi_desc, 0)


pci_msi_controller = irq_chip("PCI-MSI", pci_msi_mask_irq, pci_msi_unmask_irq, pci_msi_domain_write_msg)


def pci_msi_setup_msi_irqs(dev: pci_dev, nvec: int, type: int) -> int:
    """Make the interrupts of all entries. Returns 0, or -ENOSPC with those made that could be."""
    return msi_domain_alloc_irqs(pci_msi_controller, dev.dev, nvec)


def pci_msi_teardown_msi_irqs(dev: pci_dev) -> None:
    """Do away with all entries' interrupts."""
    msi_domain_free_irqs(pci_msi_controller, dev.dev)


def free_msi_irqs(dev: pci_dev) -> None:
    """Free all entries and their interrupts, which nobody may handle any more."""
    for entry in for_each_pci_msi_entry(dev):
        if entry.irq:
            for i in range(entry.nvec_used):
                BUG_ON(irq_has_action(entry.irq + i), f"irq {entry.irq + i} is freed while it is handled")
    pci_msi_teardown_msi_irqs(dev)
    for entry in for_each_pci_msi_entry(dev):
        list_del_init(entry, "list")
        free_msi_entry(entry)


def msix_setup_entries(dev: pci_dev, base: object, entries: object, nvec: int, affd: irq_affinity | None) -> int:
    """Allocate nvec entries, with affinities where they are asked for and can be had. Returns 0 or -ENOMEM."""
    masks = affinity.irq_create_affinity_masks(nvec, affd) if affd is not None else None
    ret = 0
    for i in range(nvec):
        if (entry := alloc_msi_entry(dev.dev, 1, masks[i:i + 1] if masks is not None else NULL)) is None:
            free_msi_irqs(dev)
            ret = -ENOMEM
            break
        entry.is_msix, entry.entry_nr, entry.default_irq = 1, i, dev.irq
        list_add_tail(entry, dev.dev.msi_list, "list")
    kfree(masks)
    return ret


def msix_program_entries(dev: pci_dev, entries: object) -> None:
    """Mask all entries until somebody handles them."""
    for entry in for_each_pci_msi_entry(dev):
        msix_mask_irq(entry, 1)


def msix_capability_init(dev: pci_dev, entries: object, nvec: int, affd: irq_affinity | None) -> int:
    """Set up nvec vectors. Returns 0; or how many could be had, where not all could; or -ENOSPC, -ENOMEM.

    A vector to which the spreading gave no CPU can't be had.
    """
    if ret := msix_setup_entries(dev, None, entries, nvec, affd):
        return ret
    if ret := pci_msi_setup_msi_irqs(dev, nvec, PCI_IRQ_MSIX):
        avail = sum(1 for entry in for_each_pci_msi_entry(dev) if entry.irq)
        free_msi_irqs(dev)
        return avail or ret
    msix_program_entries(dev, entries)
    dev.msix_enabled = 1
    return 0


def pci_msi_supported(dev: pci_dev, nvec: int) -> int:
    """Whether the device may raise interrupts by messages, and at least one is asked for."""
    return int(not dev.no_msi and nvec >= 1)


def pci_msi_vec_count(dev: pci_dev) -> int:
    """How many messages a device of the simpler kind can send. The model has none: -EINVAL."""
    return -EINVAL


def pci_msix_vec_count(dev: pci_dev) -> int:
    """How many entries the device's table has; -EINVAL where it has none."""
    return dev._device.vectors if dev.msix_cap else -EINVAL


def __pci_enable_msix(dev: pci_dev, entries: object, nvec: int, affd: irq_affinity | None, flags: int) -> int:
    """Set up nvec vectors. Returns 0; how many could be had, where that is less; or -errno."""
    if not pci_msi_supported(dev, nvec):
        return -EINVAL
    if (nr_entries := pci_msix_vec_count(dev)) < 0:
        return nr_entries
    return nr_entries if nvec > nr_entries else msix_capability_init(dev, entries, nvec, affd)


def pci_msix_shutdown(dev: pci_dev) -> None:
    """Let the device raise no interrupt by a message any more."""
    for entry in for_each_pci_msi_entry(dev):
        msix_mask_irq(entry, 1)
    dev.msix_enabled = 0


def pci_disable_msix(dev: pci_dev) -> None:
    """Give the vectors back, if there are any."""
    if not dev.msix_enabled:
        return
    pci_msix_shutdown(dev)
    free_msi_irqs(dev)


def __pci_enable_msi_range(dev: pci_dev, minvec: int, maxvec: int, affd: irq_affinity | None) -> int:
    """Set up messages of a device of the simpler kind (MSI), which the model has not. Returns -EINVAL or -ERANGE."""
    if not pci_msi_supported(dev, minvec) or dev.msix_enabled:
        return -EINVAL
    return -ERANGE if maxvec < minvec else pci_msi_vec_count(dev)


def __pci_enable_msix_range(dev: pci_dev, entries: object, minvec: int, maxvec: int, affd: irq_affinity | None,
                            flags: int) -> int:
    """Set up as many vectors as can be had, from minvec to maxvec. Returns how many, or -errno.

    Where fewer can be had than were tried, that many are tried next: they are spread anew.
    """
    nvec = maxvec
    if maxvec < minvec:
        return -ERANGE
    if WARN_ON_ONCE(dev.msix_enabled, "MSI-X is enabled already"):
        return -EINVAL
    while True:
        if affd is not None:
            if (nvec := affinity.irq_calc_affinity_vectors(minvec, nvec, affd)) < minvec:
                return -ENOSPC
        if (rc := __pci_enable_msix(dev, entries, nvec, affd, flags)) == 0:
            return nvec
        if rc < 0:
            return rc
        if rc < minvec:
            return -ENOSPC
        nvec = rc


def pci_alloc_irq_vectors_affinity(dev: pci_dev, min_vecs: int, max_vecs: int, flags: int,
                                   affd: irq_affinity | None) -> int:
    """Give a device interrupt vectors: messages of its table, or its pin. Returns how many, or -errno.

    With PCI_IRQ_AFFINITY they are spread over the CPUs, as affd says or all alike.
    """
    msix_vecs = msi_vecs = -ENOSPC
    if flags & PCI_IRQ_AFFINITY:
        if affd is None:
            affd = irq_affinity()
    elif WARN_ON(affd is not None, "affinity is described but not asked for"):
        affd = None

    if flags & PCI_IRQ_MSIX:
        if (msix_vecs := __pci_enable_msix_range(dev, None, min_vecs, max_vecs, affd, flags)) > 0:
            return msix_vecs
    if flags & PCI_IRQ_MSI:
        if (msi_vecs := __pci_enable_msi_range(dev, min_vecs, max_vecs, affd)) > 0:
            return msi_vecs
    if flags & PCI_IRQ_LEGACY and min_vecs == 1 and dev.irq:
        if affd is not None:
            # Only for its calc_sets(): the driver has to hear that there is one interrupt.
            affinity.irq_create_affinity_masks(1, affd)
        return 1
    return -ENOSPC if msix_vecs == -ENOSPC else msi_vecs


def pci_free_irq_vectors(dev: pci_dev) -> None:
    """Undo pci_alloc_irq_vectors_affinity()."""
    pci_disable_msix(dev)


def pci_irq_vector(dev: pci_dev, nr: int) -> int:
    """The kernel's number of the device's interrupt `nr`; -EINVAL where there is none."""
    if dev.msix_enabled:
        entry = nth_entry(dev, nr)
        return -EINVAL if WARN_ON_ONCE(entry is None, f"no vector {nr}") else entry.irq
    if WARN_ON_ONCE(nr > 0, f"no vector {nr}"):
        return -EINVAL
    return dev.irq + nr


def pci_irq_get_affinity(dev: pci_dev, nr: int) -> cpumask:
    """The CPUs of the device's interrupt `nr`: all possible ones for a pin; None where they were not worked out."""
    if not dev.msix_enabled:
        return cpu_possible_mask()
    entry = nth_entry(dev, nr)
    if WARN_ON_ONCE(entry is None, f"no vector {nr}"):
        return NULL
    return entry.affinity[0].mask if entry.affinity is not None else NULL


provide(pci_alloc_irq_vectors_affinity=pci_alloc_irq_vectors_affinity, pci_irq_vector=pci_irq_vector)
