"""The kernel that was recorded, booted in the model."""

from blkmodel.reference.source import was_built
from blkmodel.scenario import DM_TARGETS, modules
from blkmodel.sim import boot


def boot_reference(on):
    """Boot a kernel that has only those modules that the reference kernel was built with. Returns it."""
    kernel = boot(on)
    modules().missing.update(file for file in DM_TARGETS if not was_built(file))
    return kernel
