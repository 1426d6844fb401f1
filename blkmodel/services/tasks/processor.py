"""What a processor does while it waits for another (arch/x86/include/asm/processor.h)."""

from blkmodel.sim import this
from blkmodel.sim.events import HungTask


def cpu_relax() -> None:
    """Let the rest of the machine go on by a step; with nothing left to happen, whoever waits waits for ever."""
    kernel = this()
    if not kernel.loop.run_one():
        raise HungTask(f"task {kernel.context.name} on CPU {kernel.cpu} polls for ever")
