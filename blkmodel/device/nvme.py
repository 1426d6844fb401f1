"""An NVMe controller plugged in, as far as its queues: what to call until the driver can probe one by itself."""

from blkmodel.block import blk_mq, elevator
from blkmodel.device.controller import DEVICE_ID, Controller
from blkmodel.drivers.nvme.host import pci as nvme
from blkmodel.drivers.pci import msi
from blkmodel.errors import KernelError
from blkmodel.include.linux.device import class_, device, device_initialize, set_dev_node
from blkmodel.include.linux.err import IS_ERR, PTR_ERR
from blkmodel.include.linux.errno import ENOMEM
from blkmodel.include.linux.gfp import GFP_KERNEL
from blkmodel.include.linux.irqdesc import __irq_alloc_descs, irq_chip, irq_to_desc, proc_irq
from blkmodel.include.linux.list import list_head
from blkmodel.include.linux.moduleparam import parse_args
from blkmodel.include.linux.nvme import NVME_AQ_DEPTH, NVME_NVM_IOSQES, NVME_REG_DBS
from blkmodel.include.linux.pci import (
    PCI_CLASS_STORAGE_EXPRESS,
    PCI_IRQ_ALL_TYPES,
    PCI_VENDOR_ID_REDHAT,
    pci_alloc_irq_vectors,
    pci_dev,
    pci_set_drvdata,
)
from blkmodel.include.linux.slab import kcalloc_node, kzalloc_node
from blkmodel.sim import statics, this
from blkmodel.sim.bus import bus

WINDOW_START = 0xFEB00000
FIRST_SLOT = 4


@statics
class slots:
    """How many devices were plugged in so far."""

    def __init__(self):
        self.used = 0


def plug_in(controller, node=None):
    """A device on the bus that the controller is behind; with a pin where it has no vectors.

    Where the firmware does not say on which node it is, that is the first.
    """
    number = slots().used
    slots().used += 1
    pdev = pci_dev(vendor=PCI_VENDOR_ID_REDHAT, device=DEVICE_ID, class_=PCI_CLASS_STORAGE_EXPRESS)
    device_initialize(pdev.dev, pdev)
    pdev.dev.kobj.name = f"0000:00:{FIRST_SLOT + number:02x}.0"
    pdev.dev.msi_list = list_head()
    set_dev_node(pdev.dev, min(this().machine.nodes) if node is None else node)
    start = WINDOW_START + sum(length for _, length in bus().windows)
    start = -(-start // controller.window) * controller.window
    bus().attach(start, controller.window, controller)
    pdev.resource = ((start, controller.window),)
    pdev.msix_cap = 0x40 if controller.vectors else 0
    pdev._device = controller
    if not controller.vectors:
        pdev.irq = _wire_pin(pdev)
    return pdev


def bring_up_queues(queue_pairs=64, write_queues=0, poll_queues=0, io_queue_depth=1024, vectors=65, mqes=2047,
                    usable=None, node=None, quirks=0):
    """Load the driver with these parameters and let it create the I/O queues of such a controller.

    Returns the nvme_dev, its tag set described and allocated. A controller that ends up without I/O queues has none.
    Raises KernelError where a parameter is refused or the set-up fails.
    """
    log = len(this().log)
    args = [("write_queues", str(write_queues)), ("poll_queues", str(poll_queues)),
            ("io_queue_depth", str(io_queue_depth))]
    _check(parse_args("nvme", args, nvme.parameters), "loading nvme", log)
    pdev = plug_in(Controller(queue_pairs, vectors, mqes, usable), node)
    return this().task("kworker/u:nvme", _set_up, pdev, quirks, log)


def _set_up(pdev, quirks, log):
    """What the driver does from nvme_probe() on, without the steps that only the bus shows."""
    controller = pdev._device
    node = pdev.dev.numa_node
    parameters = nvme.variables()
    dev = kzalloc_node(nvme.nvme_dev, GFP_KERNEL, node)
    _check(dev is None and -ENOMEM, "nvme_probe", log)
    dev.nr_write_queues, dev.nr_poll_queues = parameters.write_queues, parameters.poll_queues
    dev.nr_allocated_queues = nvme.nvme_max_io_queues(dev) + 1
    dev.queues = kcalloc_node(dev.nr_allocated_queues, nvme.nvme_queue, GFP_KERNEL, node)
    _check(dev.queues is None and -ENOMEM, "nvme_probe", log)
    dev.dev = pdev.dev
    pci_set_drvdata(pdev, dev)
    dev.ctrl.quirks = quirks
    dev.ctrl.device = device(class_=class_("nvme"))
    dev.ctrl.device.kobj.name = "nvme0"
    dev.ctrl.admin_q = controller
    _check(nvme.nvme_remap_bar(dev, NVME_REG_DBS + 4096), "nvme_dev_map", log)

    _check(min(pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_ALL_TYPES), 0), "nvme_pci_enable", log)
    dev.q_depth = min(controller.mqes + 1, parameters.io_queue_depth)
    dev.ctrl.sqsize = dev.q_depth - 1
    dev.db_stride = 1
    dev.io_sqes = NVME_NVM_IOSQES

    adminq = dev.queues[0]
    _check(nvme.nvme_alloc_queue(dev, 0, NVME_AQ_DEPTH), "nvme_pci_configure_admin_queue", log)
    nvme.nvme_init_queue(adminq, 0)
    _check(nvme.queue_request_irq(adminq), "nvme_pci_configure_admin_queue", log)
    adminq.flags |= 1 << nvme.NVMEQ_ENABLED

    _check(nvme.nvme_setup_io_queues(dev), "nvme_setup_io_queues", log)
    if dev.online_queues >= 2:
        nvme.nvme_dev_add(dev)
    return dev


def namespace_queue(dev):
    """The request queue of a namespace on the controller, with the scheduler that adding its disk would choose."""
    return this().task("kworker/u:nvme", _namespace_queue, dev)


def _namespace_queue(dev):
    q = blk_mq.blk_mq_init_queue(dev.tagset)
    if IS_ERR(q):
        raise KernelError(PTR_ERR(q), "nvme_alloc_ns", this().log)
    elevator.elevator_init_mq(q)
    return q


def irq_affinity(dev):
    """The CPUs of each queue's interrupt, as /proc/irq/*/smp_affinity_list shows them: by queue number, 0 for admin."""
    pdev = dev.dev._owner
    return {q.qid: proc_irq(msi.pci_irq_vector(pdev, q.cq_vector))[0] for q in dev.queues
            if q.flags >> nvme.NVMEQ_ENABLED & 1 and not q.flags >> nvme.NVMEQ_POLLED & 1}


def _wire_pin(pdev):
    """Give the device a pin: an interrupt that goes by the I/O interrupt controller."""
    controller = pdev._device
    irq = __irq_alloc_descs(-1, 0, 1, pdev.dev.numa_node, None, None)
    irq_to_desc(irq).irq_data.chip = irq_chip(
        "IO-APIC", lambda data: controller.mask(0, True), lambda data: controller.mask(0, False),
        lambda data, msg: controller.messages.update({0: msg}))
    return irq


def _check(ret, what, log):
    if ret:
        raise KernelError(ret, what, this().log[log:])
