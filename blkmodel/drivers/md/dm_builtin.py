"""The part of device mapper that is always in the kernel, so that it outlives the module."""

from blkmodel.drivers.md.dm_core_h import dm_get_completion_from_kobject
from blkmodel.services import complete, kobject


def dm_kobject_release(kobj: kobject) -> None:
    """Nobody holds a device's directory any more: tell who waits for that."""
    complete(dm_get_completion_from_kobject(kobj))
