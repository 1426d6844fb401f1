"""Tasks, and what is a task's own."""

from blkmodel.sim.memory import address_of


def object_is_on_stack(thing):
    """Whether a structure or an array is on the task's stack: then it has no address in the model's memory."""
    return not address_of(thing)
