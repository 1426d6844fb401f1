"""Signals, as far as a sleeping task heeds them (include/linux/sched/signal.h)."""


from blkmodel.services.tasks.wait import TASK_INTERRUPTIBLE
from blkmodel.sim.kernel import Context


def signal_pending_state(state: int, task: Context) -> bool:
    """Whether a signal is to end the task's sleep in that state."""
    return state == TASK_INTERRUPTIBLE and task.signal


def fatal_signal_pending(task: Context) -> bool:
    """Whether a signal is to end the task. (The model knows but one kind of signal.)"""
    return task.signal
