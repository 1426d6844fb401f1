"""NVMe controllers that are plugged in, and unplugged."""

from blkmodel.device.controller import Controller
from blkmodel.services import (__irq_alloc_descs, device_initialize, irq_chip, irq_free_descs, irq_to_desc, kobject_add,
    kobject_del, list_head, pci_bus_type, pci_dev, pci_lock_rescan_remove, pci_stop_and_remove_bus_device,
    pci_unlock_rescan_remove, set_dev_node)
from blkmodel.sim import NULL, statics, this
from blkmodel.sim.bus import bus

WINDOW_START, FIRST_SLOT = 0xFEB00000, 4


class slots(statics):
    """How many devices were plugged in so far."""

    def __init__(self) -> None:
        self.used = 0


def plug_in(controller: Controller, node: int | None = None) -> pci_dev:
    """A device on the bus that the controller is behind; with a pin where it has no vectors. No driver knows of it yet.

    Where the firmware does not say on which node it is, that is the first.
    """
    number = slots().used
    slots().used += 1
    pdev = pci_dev(vendor=controller.vendor, device=controller.device, class_=controller.class_code)
    device_initialize(pdev.dev, pdev)
    pdev.dev.release = lambda dev: None  # it is not of the heap
    kobject_add(pdev.dev.kobj, NULL, f"0000:00:{FIRST_SLOT + number:02x}.0")
    pdev.dev.msi_list = list_head()
    set_dev_node(pdev.dev, min(this().machine.nodes) if node is None else node)
    start = max((first + length for first, length in bus().windows), default=WINDOW_START)
    start = -(-start // controller.window) * controller.window
    bus().attach(start, controller.window, controller)
    pdev.resource = ((start, controller.window),)
    pdev.msix_cap = 0x40 if controller.vectors else 0
    pdev._device = controller
    if not controller.vectors:
        pdev.irq = _wire_pin(pdev)
    return pdev


def unplug(pdev: pci_dev) -> None:
    """Take a device off the bus again. Its driver gives it up first, unless it has gone by itself."""
    pci_lock_rescan_remove()
    if pdev in pci_bus_type().devices:  # who comes second finds nothing
        pci_stop_and_remove_bus_device(pdev)
        kobject_del(pdev.dev.kobj)
        bus().detach(pdev._device)
        if pdev.irq:
            irq_free_descs(pdev.irq, 1)
    pci_unlock_rescan_remove()


def _wire_pin(pdev: pci_dev) -> int:
    """Give the device a pin: an interrupt that goes by the I/O interrupt controller; 0 where memory is short."""
    controller = pdev._device
    if (irq := __irq_alloc_descs(-1, 0, 1, pdev.dev.numa_node, None, None)) < 0:
        return 0
    irq_to_desc(irq).irq_data.chip = irq_chip(
        "IO-APIC", lambda data: controller.mask(0, True), lambda data: controller.mask(0, False),
        lambda data, msg: controller.messages.update({0: msg}))
    return irq
