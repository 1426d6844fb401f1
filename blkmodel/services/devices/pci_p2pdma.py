"""A device's own memory for other devices to use. The reference kernel is configured without it."""

from blkmodel.services.base.errno import EOPNOTSUPP


def pci_p2pdma_add_resource(pdev, bar, size, offset):
    """Let part of a window be such memory: -EOPNOTSUPP."""
    return -EOPNOTSUPP
