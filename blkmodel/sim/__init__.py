"""What a kernel stands on: machine, memory, contexts, time. No kernel function lives here."""

from blkmodel.sim.kernel import Kernel, boot, booted, forget, running, statics, this
from blkmodel.sim.machine import Machine, MachineError, machine

__all__ = ["Kernel", "Machine", "MachineError", "boot", "booted", "forget", "machine", "running", "statics",
           "this"]
