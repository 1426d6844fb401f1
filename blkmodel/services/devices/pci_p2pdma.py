"""A device's own memory for other devices to use. The reference kernel is configured without it
(drivers/pci/p2pdma.c)."""


from blkmodel.services.base.errno import EOPNOTSUPP
from blkmodel.services.devices.pci import pci_dev


def pci_p2pdma_add_resource(pdev: pci_dev, bar: int, size: int, offset: int) -> int:
    """Let part of a window be such memory: -EOPNOTSUPP."""
    return -EOPNOTSUPP
