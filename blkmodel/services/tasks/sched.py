"""Tasks, and what is a task's own (include/linux/sched.h, include/linux/sched/task_stack.h)."""

from typing import Any

from blkmodel.sim.memory import address_of


def object_is_on_stack(thing: Any) -> bool:
    """Whether a structure or an array is on the task's stack: then it has no address in the model's memory."""
    return not address_of(thing)
