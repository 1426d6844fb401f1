"""PCI devices, and their interrupts by the device's own numbers."""

from dataclasses import field
from typing import Any

from blkmodel.include.linux.device import dev_get_drvdata, dev_set_drvdata, device
from blkmodel.include.linux.errno import EBUSY
from blkmodel.include.linux.gfp import GFP_KERNEL
from blkmodel.include.linux.interrupt import IRQF_SHARED, free_irq, request_threaded_irq
from blkmodel.include.linux.slab import kcalloc, kfree
from blkmodel.sim.structure import Struct, struct

PCI_IRQ_LEGACY, PCI_IRQ_MSI, PCI_IRQ_MSIX, PCI_IRQ_AFFINITY = 1, 2, 4, 8
PCI_IRQ_ALL_TYPES = PCI_IRQ_LEGACY | PCI_IRQ_MSI | PCI_IRQ_MSIX
PCI_VENDOR_ID_INTEL, PCI_VENDOR_ID_APPLE, PCI_VENDOR_ID_SAMSUNG = 0x8086, 0x106B, 0x144D
PCI_VENDOR_ID_REDHAT, PCI_VENDOR_ID_REDHAT_QUMRANET = 0x1B36, 0x1AF4
PCI_CLASS_STORAGE_EXPRESS = 0x010802

PCI_VENDOR_ID, PCI_DEVICE_ID, PCI_COMMAND, PCI_STATUS = 0, 2, 4, 6
PCI_COMMAND_MEMORY, PCI_COMMAND_MASTER = 2, 4
PCIBIOS_SUCCESSFUL, PCIBIOS_DEVICE_NOT_FOUND = 0, 0x86
pci_channel_io_normal, pci_channel_io_frozen, pci_channel_io_perm_failure = 1, 2, 3


@struct
class pci_dev(Struct):
    """A function on a PCI bus. `irq` is its pin's interrupt, 0 where it has none; resource[n] is (start, length) of
    its n-th window. msix_cap, msi_cap: where its interrupt capabilities are, 0 where it lacks them. error_state:
    whether it can be reached (pci_channel_io_*). enable_cnt: how many times it was enabled, less those undone.

    _device is the hardware: what the kernel reads from and writes to, with read_config(offset) and
    write_config(offset, value) of 16 bits. _owner: who asked for its windows, None where nobody did.
    """

    SIZE = 2176
    dev: Any = field(default_factory=device)
    vendor: int = 0
    device: int = 0
    irq: int = 0
    resource: Any = ()
    msi_cap: int = 0
    msix_cap: int = 0
    class_: int = 0
    error_state: int = pci_channel_io_normal
    enable_cnt: int = 0
    no_msi: int = 0
    msi_enabled: int = 0
    msix_enabled: int = 0
    _device: Any = None
    _owner: Any = None


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


def pci_read_config_word(pdev, where):
    """Read 16 bits of configuration space. Returns PCIBIOS_SUCCESSFUL or an error's number, and the value: all ones
    where no device answers."""
    if pdev.error_state == pci_channel_io_perm_failure:
        return PCIBIOS_DEVICE_NOT_FOUND, 0xFFFF
    return PCIBIOS_SUCCESSFUL, pdev._device.read_config(where)


def pci_write_config_word(pdev, where, value):
    """Write 16 bits of configuration space. Returns PCIBIOS_SUCCESSFUL or an error's number."""
    if pdev.error_state == pci_channel_io_perm_failure:
        return PCIBIOS_DEVICE_NOT_FOUND
    pdev._device.write_config(where, value)
    return PCIBIOS_SUCCESSFUL


def pci_device_is_present(pdev):
    """Whether a device answers."""
    error, vendor = pci_read_config_word(pdev, PCI_VENDOR_ID)
    return not error and vendor != 0xFFFF


def pci_channel_offline(pdev):
    return pdev.error_state != pci_channel_io_normal


def pci_is_enabled(pdev):
    return pdev.enable_cnt > 0


def pci_enable_device_mem(pdev):
    """Let the device answer in its windows, unless it does. Returns 0."""
    pdev.enable_cnt += 1
    if pdev.enable_cnt == 1:
        _set_command(pdev, PCI_COMMAND_MEMORY, True)
    return 0


def pci_disable_device(pdev):
    """Undo enabling; the last time, the device may not write to memory any more."""
    pdev.enable_cnt -= 1
    if pdev.enable_cnt == 0:
        _set_command(pdev, PCI_COMMAND_MASTER, False)


def pci_set_master(pdev):
    """Let the device read and write memory by itself."""
    _set_command(pdev, PCI_COMMAND_MASTER, True)


def _set_command(pdev, bit, on):
    command = pci_read_config_word(pdev, PCI_COMMAND)[1]
    pci_write_config_word(pdev, PCI_COMMAND, command | bit if on else command & ~bit)


def pci_request_mem_regions(pdev, name):
    """Claim the device's windows for a driver. Returns 0, or -EBUSY where somebody has them."""
    if pdev._owner is not None:
        return -EBUSY
    pdev._owner = name
    return 0


def pci_release_mem_regions(pdev):
    pdev._owner = None


def pci_save_state(pdev):
    """Keep what a reset would wipe out. (The model's device loses nothing.) Returns 0."""
    return 0


def pci_restore_state(pdev):
    """Bring back what pci_save_state() kept."""


def pci_enable_pcie_error_reporting(pdev):
    """Let the device report errors of the bus. It has none of that kind."""
    return 0


def pci_disable_pcie_error_reporting(pdev):
    return 0


def pcie_aspm_enabled(pdev):
    """Whether the link to the device saves power by itself: not here."""
    return False


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
