"""Linux block I/O as an executable model: what v5.4 does to set up and use NVMe, blk-mq and device mapper."""

# What the kernel's image holds: files with something to do at boot, or that the services call.
from blkmodel.block import bio, blk_core, blk_mq, blk_softirq, genhd, kyber_iosched, mq_deadline
from blkmodel.drivers.pci import msi
from blkmodel.errors import KernelError
from blkmodel.fs import block_dev, buffer
from blkmodel.sim import Kernel, Machine, MachineError, boot, machine

__all__ = ["Kernel", "KernelError", "Machine", "MachineError", "boot", "machine"]

_ = bio, blk_core, blk_mq, blk_softirq, genhd, kyber_iosched, mq_deadline, msi, block_dev, buffer
