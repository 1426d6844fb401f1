"""A controller that is up: what the tests of the driver begin with."""

import blkmodel
from blkmodel import scenario
from blkmodel.device.controller import Controller
from blkmodel.drivers.nvme.host import pci

TYPES = "default", "read", "poll"


def up(cpus=4, node=None, params=None, **controller):
    """Boot, and bring such a controller up. Returns its nvme_dev; the controller itself is at hand as device_of()."""
    blkmodel.boot(cpus)
    return probe(node, params, **controller)


def probe(node=None, params=None, **controller):
    """Bring one more up on the kernel that runs."""
    return scenario.nvme_controller(scenario.nvme_probe(controller=Controller(**controller), node=node,
                                                        **(params or {})))


def device_of(dev):
    return dev.dev._owner._device


def io_queues(controller, which="sqs"):
    """The numbers of the I/O queues that a controller has."""
    return sorted(getattr(controller, which).keys() - {0})


def polled(dev):
    return [q.qid for q in dev.queues if q.flags >> pci.NVMEQ_POLLED & 1]


def enabled(dev):
    return [q.qid for q in dev.queues if q.flags >> pci.NVMEQ_ENABLED & 1]


def left(kernel):
    """What is allocated, after whatever had to be freed later; nothing may wait, and nobody have warned."""
    kernel.loop.run_due()
    assert kernel.loop.pending() == []
    assert not [line for line in kernel.log if "WARNING" in line]
    return kernel.memory.totals()
