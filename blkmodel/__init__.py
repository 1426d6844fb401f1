"""Linux block I/O as an executable model: what v5.4 does to set up and use NVMe, blk-mq and device mapper."""

from blkmodel import built_in
from blkmodel.errors import KernelError
from blkmodel.sim import Kernel, Machine, MachineError, boot, machine

__all__ = ["Kernel", "KernelError", "Machine", "MachineError", "boot", "built_in", "machine"]
