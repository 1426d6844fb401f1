"""What a kernel stands on: machine, memory, contexts, time. No kernel function lives here."""

from blkmodel.sim.events import Event, HungTask
from blkmodel.sim.kernel import Context, Kernel, boot, booted, forget, running, statics, this
from blkmodel.sim.machine import Machine, MachineError, format_cpulist, machine, parse_cpulist
from blkmodel.sim.memory import PAGE_SIZE, Memory, address_of, place, place_array
from blkmodel.sim.structure import NULL, Array, Later, Struct, layouts, sizeof
