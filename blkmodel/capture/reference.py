"""The kernel that was recorded, booted in the model."""

from typing import Any

from blkmodel.reference.source import was_built
from blkmodel.scenario import DM_TARGETS, modules
from blkmodel.services.devices.kobject import sysfs
from blkmodel.sim import Kernel, Machine, boot, machine

VECTORS = 65
"""The interrupt vectors of the NVMe controller of the machine that was recorded: QEMU's."""


def boot_reference(on: Machine | int, later: bool = False, anywhere: int | None = None) -> Kernel:
    """Boot a kernel that has only those modules that the reference kernel was built with; `later`: the second one, of
    whose recordings each tells what was observed, and whose CPUs share a cache: no request is completed elsewhere.
    anywhere: the CPU for those that are bound to none. Returns it."""
    kernel = boot(machine(on) if later and isinstance(on, int) else on)
    kernel.anywhere = anywhere
    if later:
        sysfs().config.add("FAIL_IO_TIMEOUT")
    modules().missing.update(file for file in DM_TARGETS if not was_built(file))
    return kernel


def as_recorded(step: list[Any], later: bool = False) -> list[Any]:
    """A step, on the machine that was recorded: where nothing else is said, a controller has its number of vectors, and
    leaves a command alone that it is told to abort.

    When the first recordings were taken, the disk nvme0n1 had been opened and read since its probe, and no other; when
    the `later` ones were, none.
    """
    if step[0] != "nvme.probe":
        return step
    return [step[0], {"vectors": VECTORS, "aborts": 0, "opened": step[1].get("device") == "nvme0" and not later,
                      **step[1]}]
