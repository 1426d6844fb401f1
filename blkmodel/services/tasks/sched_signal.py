"""Signals, as far as a sleeping task heeds them."""

from blkmodel.services.tasks.wait import TASK_INTERRUPTIBLE


def signal_pending_state(state, task):
    """Whether a signal is to end the task's sleep in that state."""
    return state == TASK_INTERRUPTIBLE and task.signal


def fatal_signal_pending(task):
    """Whether a signal is to end the task. (The model knows but one kind of signal.)"""
    return task.signal
