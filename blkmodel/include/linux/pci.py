"""PCI devices, and their interrupts by the device's own numbers."""

from dataclasses import field
from typing import Any

from blkmodel.include.linux.device import dev_get_drvdata, dev_set_drvdata, device
from blkmodel.include.linux.gfp import GFP_KERNEL
from blkmodel.include.linux.interrupt import IRQF_SHARED, free_irq, request_threaded_irq
from blkmodel.include.linux.slab import kcalloc, kfree
from blkmodel.sim.structure import Struct, struct

PCI_IRQ_LEGACY, PCI_IRQ_MSI, PCI_IRQ_MSIX, PCI_IRQ_AFFINITY = 1, 2, 4, 8
PCI_IRQ_ALL_TYPES = PCI_IRQ_LEGACY | PCI_IRQ_MSI | PCI_IRQ_MSIX
PCI_VENDOR_ID_INTEL, PCI_VENDOR_ID_APPLE, PCI_VENDOR_ID_SAMSUNG = 0x8086, 0x106B, 0x144D


@struct
class pci_dev(Struct):
    """A function on a PCI bus. `irq` is its pin's interrupt, 0 where it has none; resource[n] is (start, length) of
    its n-th window. msix_cap, msi_cap: where its interrupt capabilities are, 0 where it lacks them.

    _device is the hardware: what the kernel reads from and writes to.
    """

    SIZE = 2176
    dev: Any = field(default_factory=device)
    vendor: int = 0
    device: int = 0
    irq: int = 0
    resource: Any = ()
    msi_cap: int = 0
    msix_cap: int = 0
    no_msi: int = 0
    msi_enabled: int = 0
    msix_enabled: int = 0
    _device: Any = None


def to_pci_dev(dev):
    return dev._owner


def pci_get_drvdata(pdev):
    return dev_get_drvdata(pdev.dev)


def pci_set_drvdata(pdev, data):
    dev_set_drvdata(pdev.dev, data)


def pci_resource_start(pdev, bar):
    return pdev.resource[bar][0]


def pci_resource_len(pdev, bar):
    return pdev.resource[bar][1]


def pci_alloc_irq_vectors(dev, min_vecs, max_vecs, flags):
    return msi.pci_alloc_irq_vectors_affinity(dev, min_vecs, max_vecs, flags, None)


def pci_request_irq(dev, nr, handler, thread_fn, dev_id, name):
    """Handle vector `nr` of the device from now on. Returns 0 or what request_threaded_irq() does.

    The name is kept in memory of its own (C makes it from a format); where there is none it has no name.
    """
    devname = kcalloc(len(name) + 1, "u8", GFP_KERNEL)
    if devname is not None:
        devname[:] = [*name, ""]
    ret = request_threaded_irq(msi.pci_irq_vector(dev, nr), handler, thread_fn, IRQF_SHARED, devname, dev_id)
    if ret:
        kfree(devname)
    return ret


def pci_free_irq(dev, nr, dev_id):
    """Handle vector `nr` no more."""
    kfree(free_irq(msi.pci_irq_vector(dev, nr), dev_id))


from blkmodel.drivers.pci import msi  # noqa: E402 (it takes names from here)
