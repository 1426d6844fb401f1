"""PCI devices, and their interrupts by the device's own numbers (drivers/pci/pci-driver.c, drivers/pci/bus.c,
drivers/pci/remove.c, drivers/pci/probe.c, pci.h, drivers/base/dd.c, drivers/pci/access.c, drivers/pci/pci.c,
drivers/pci/pcie/aer.c, drivers/pci/irq.c)."""

from collections.abc import Callable, Iterable
from dataclasses import field
from typing import Any

from blkmodel.services.base import EBUSY, ENODEV, ENXIO, linked, pr_warn
from blkmodel.services.cpus.interrupt import IRQF_SHARED, free_irq, request_threaded_irq
from blkmodel.services.devices.device import dev_get_drvdata, dev_name, dev_set_drvdata, dev_to_node, device, put_device
from blkmodel.services.memory.slab import GFP_KERNEL, kcalloc, kfree
from blkmodel.services.tasks import mutex, mutex_lock, mutex_unlock, work_on_cpu
from blkmodel.sim import NULL, Struct, statics, this

PCI_IRQ_LEGACY, PCI_IRQ_MSI, PCI_IRQ_MSIX, PCI_IRQ_AFFINITY = 1, 2, 4, 8
PCI_IRQ_ALL_TYPES = PCI_IRQ_LEGACY | PCI_IRQ_MSI | PCI_IRQ_MSIX
PCI_VENDOR_ID_REDHAT = 0x1B36
PCI_VENDOR_ID_REDHAT_QUMRANET, PCI_CLASS_STORAGE_EXPRESS = 0x1AF4, 0x010802

PCI_VENDOR_ID, PCI_DEVICE_ID, PCI_COMMAND, PCI_STATUS, PCI_COMMAND_MEMORY, PCI_COMMAND_MASTER = 0, 2, 4, 6, 2, 4
PCIBIOS_SUCCESSFUL, PCIBIOS_DEVICE_NOT_FOUND, pci_channel_io_normal, pci_channel_io_perm_failure = 0, 0x86, 1, 3


class pci_dev(Struct, size=2176):
    """A function on a PCI bus. `irq` is its pin's interrupt, 0 where it has none; resource[n] is (start, length) of
    its n-th window. msix_cap: where its capability of interrupts by message is, 0 where it lacks that. error_state:
    whether it can be reached (pci_channel_io_*). enable_cnt: how many times it was enabled, less those undone.

    _device is the hardware: what the kernel reads from and writes to, with read_config(offset) and
    write_config(offset, value) of 16 bits. _owner: who asked for its windows, None where nobody did.
    """

    dev: device = field(default_factory=device)
    vendor: int = 0
    device: int = 0
    irq: int = 0
    resource: tuple[tuple[int, int], ...] = ()
    msix_cap: int = 0
    class_: int = 0
    error_state: int = pci_channel_io_normal
    enable_cnt: int = 0
    no_msi: int = 0
    msix_enabled: int = 0
    _device: Any = None
    _owner: str = NULL


class pci_device_id(Struct, size=32):
    """Devices that a driver is for: of a class (in C `class`). (C's may be of a maker, too.)"""

    class_: int = 0
    class_mask: int = 0


class pci_driver(Struct, size=288):
    """A driver: the devices that it is for, probe(pdev, id) to take one over, remove(pdev) to give it up,
    shutdown(pdev) when the machine goes down."""

    name: str = ""
    id_table: tuple[pci_device_id, ...] = ()
    probe: Callable[..., int] = NULL
    remove: Callable[..., None] = NULL
    shutdown: Callable[..., None] = NULL


class pci_bus_type(statics):
    """The devices on the bus, and the drivers, in the order in which they came. rescan_remove_lock: of who takes
    devices off the bus."""

    def __init__(self) -> None:
        self.rescan_remove_lock = mutex("pci_rescan_remove_lock")
        self.devices: list[pci_dev] = []
        self.drivers: list[pci_driver] = []


def pci_match_id(ids: Iterable[pci_device_id], pdev: pci_dev) -> pci_device_id:
    """The entry of a driver's table that a device is; None where it is not there."""
    for id in ids:
        if not (id.class_ ^ pdev.class_) & id.class_mask:
            return id
    return NULL


def pci_bus_add_device(pdev: pci_dev) -> None:
    """A device is on the bus: let its driver take it over, if there is one."""
    pci_bus_type().devices.append(pdev)
    for drv in pci_bus_type().drivers:
        if _attach(drv, pdev):
            break


def pci_stop_and_remove_bus_device(pdev: pci_dev) -> None:
    """A device goes: its driver gives it up first."""
    device_release_driver(pdev.dev)
    pci_bus_type().devices.remove(pdev)
    put_device(pdev.dev)


def pci_lock_rescan_remove() -> None:
    mutex_lock(pci_bus_type().rescan_remove_lock)


def pci_unlock_rescan_remove() -> None:
    mutex_unlock(pci_bus_type().rescan_remove_lock)


def pci_register_driver(drv: pci_driver) -> int:
    """Let a driver take over the devices that are there, and those that come. Returns 0, whatever becomes of them."""
    pci_bus_type().drivers.append(drv)
    for pdev in tuple(pci_bus_type().devices):
        _attach(drv, pdev)
    return 0


def pci_unregister_driver(drv: pci_driver) -> None:
    """Take a driver off all its devices."""
    pci_bus_type().drivers.remove(drv)
    for pdev in tuple(pci_bus_type().devices):
        if pdev.dev.driver is drv:
            device_release_driver(pdev.dev)


def device_release_driver(dev: device) -> None:
    """Take the driver off a device, if it has one."""
    with dev.mutex:
        if (drv := dev.driver) is not None:
            drv.remove(to_pci_dev(dev))
            dev.driver = None
            dev_set_drvdata(dev, None)


def _attach(drv: pci_driver, pdev: pci_dev) -> bool:
    """Let a driver take a device over, on a CPU that is near it; return whether it did."""
    with pdev.dev.mutex:
        if (id := pci_match_id(drv.id_table, pdev)) is None or pdev.dev.driver is not None:
            return False
        pdev.dev.driver = drv
        if error := work_on_cpu(_near(pdev.dev), lambda: drv.probe(pdev, id)):
            pdev.dev.driver = None
            dev_set_drvdata(pdev.dev, None)
            if error not in (-ENODEV, -ENXIO):
                pr_warn(f"{drv.name}: probe of {dev_name(pdev.dev)} failed with error {error}")
    return not error


def _near(dev: device) -> int:
    """The first online CPU of a device's node; the running one where it has no node, or the node no CPU."""
    kernel = this()
    return min(kernel.machine.nodes.get(dev_to_node(dev), frozenset()) & kernel.online, default=kernel.cpu)


def to_pci_dev(dev: device) -> pci_dev:
    return dev._owner


def pci_get_drvdata(pdev: pci_dev) -> Any:
    return dev_get_drvdata(pdev.dev)


def pci_set_drvdata(pdev: pci_dev, data: Any) -> None:
    dev_set_drvdata(pdev.dev, data)


def pci_resource_start(pdev: pci_dev, bar: int) -> int:
    return pdev.resource[bar][0]


def pci_resource_len(pdev: pci_dev, bar: int) -> int:
    return pdev.resource[bar][1]


def pci_read_config_word(pdev: pci_dev, where: int) -> tuple[int, int]:
    """Read 16 bits of configuration space. Returns PCIBIOS_SUCCESSFUL or an error's number, and the value: all ones
    where no device answers."""
    if pdev.error_state == pci_channel_io_perm_failure:
        return PCIBIOS_DEVICE_NOT_FOUND, 0xFFFF
    return PCIBIOS_SUCCESSFUL, pdev._device.read_config(where)


def pci_write_config_word(pdev: pci_dev, where: int, value: int) -> int:
    """Write 16 bits of configuration space. Returns PCIBIOS_SUCCESSFUL or an error's number."""
    if pdev.error_state == pci_channel_io_perm_failure:
        return PCIBIOS_DEVICE_NOT_FOUND
    pdev._device.write_config(where, value)
    return PCIBIOS_SUCCESSFUL


def pci_device_is_present(pdev: pci_dev) -> bool:
    """Whether a device answers."""
    error, vendor = pci_read_config_word(pdev, PCI_VENDOR_ID)
    return not error and vendor != 0xFFFF


def pci_channel_offline(pdev: pci_dev) -> bool:
    return pdev.error_state != pci_channel_io_normal


def pci_is_enabled(pdev: pci_dev) -> bool:
    return pdev.enable_cnt > 0


def pci_enable_device_mem(pdev: pci_dev) -> int:
    """Let the device answer in its windows, unless it does. Returns 0."""
    pdev.enable_cnt += 1
    if pdev.enable_cnt == 1:
        _set_command(pdev, PCI_COMMAND_MEMORY, True)
    return 0


def pci_disable_device(pdev: pci_dev) -> None:
    """Let a device go that was enabled; when all who enabled it have, it may not write to memory any more."""
    pdev.enable_cnt -= 1
    if pdev.enable_cnt == 0:
        _set_command(pdev, PCI_COMMAND_MASTER, False)


def pci_set_master(pdev: pci_dev) -> None:
    """Let the device read and write memory by itself."""
    _set_command(pdev, PCI_COMMAND_MASTER, True)


def _set_command(pdev: pci_dev, bit: int, on: bool) -> None:
    command = pci_read_config_word(pdev, PCI_COMMAND)[1]
    pci_write_config_word(pdev, PCI_COMMAND, command | bit if on else command & ~bit)


def pci_request_mem_regions(pdev: pci_dev, name: str) -> int:
    """Claim the device's windows for a driver. Returns 0, or -EBUSY where somebody has them."""
    if pdev._owner is not None:
        return -EBUSY
    pdev._owner = name
    return 0


def pci_release_mem_regions(pdev: pci_dev) -> None:
    pdev._owner = NULL


def pci_save_state(pdev: pci_dev) -> int:
    """Keep what a reset would wipe out. (The model's device loses nothing.) Returns 0."""
    return 0


def pci_enable_pcie_error_reporting(pdev: pci_dev) -> int:
    """Let the device report errors of the bus. It has none of that kind."""
    return 0


def pci_disable_pcie_error_reporting(pdev: pci_dev) -> int:
    return 0


def pci_alloc_irq_vectors(dev: pci_dev, min_vecs: int, max_vecs: int, flags: int) -> int:
    return linked.pci_alloc_irq_vectors_affinity(dev, min_vecs, max_vecs, flags, None)


def pci_request_irq(dev: pci_dev, nr: int, handler: Callable[..., int], thread_fn: Callable[..., int] | None,
                    dev_id: Any, name: str) -> int:
    """Handle vector `nr` of the device from now on. Returns 0 or what request_threaded_irq() does.

    The name is kept in memory of its own (C makes it from a format); where there is none it has no name.
    """
    if (devname := kcalloc(len(name) + 1, "u8", GFP_KERNEL)) is not None:
        devname[:] = [*name, ""]
    if ret := request_threaded_irq(linked.pci_irq_vector(dev, nr), handler, thread_fn, IRQF_SHARED, devname, dev_id):
        kfree(devname)
    return ret


def pci_free_irq(dev: pci_dev, nr: int, dev_id: Any) -> None:
    """Handle vector `nr` no more."""
    kfree(free_irq(linked.pci_irq_vector(dev, nr), dev_id))
