"""Tasks, and what is a task's own (include/linux/sched.h, include/linux/sched/task_stack.h)."""

from typing import Any

from blkmodel.services.tasks.processor import cpu_relax
from blkmodel.sim.memory import address_of


def cond_resched() -> None:
    """Let others go on. In the model nothing happens meanwhile unless the task lets it."""
    cpu_relax()


def object_is_on_stack(thing: Any) -> bool:
    """Whether a structure or an array is on the task's stack: then it has no address in the model's memory."""
    return not address_of(thing)
