"""What a CPU runs: in which context, with what on the stack, with which signals, and what it does while it waits for
another (include/linux/sched.h, include/linux/sched/task_stack.h, include/linux/sched/signal.h, preempt.h,
arch/x86/include/asm/processor.h)."""

from typing import Any

from blkmodel.services.tasks.wait import TASK_INTERRUPTIBLE
from blkmodel.sim import this
from blkmodel.sim.events import HungTask
from blkmodel.sim.kernel import Context
from blkmodel.sim.memory import address_of


def need_resched() -> bool:
    """Whether another task of this CPU could go on, were this one not running. (In C the timer's tick finds that.)"""
    kernel = this()
    return kernel.loop.beneath_can_go_on(kernel.cpu)


def object_is_on_stack(thing: Any) -> bool:
    """Whether a structure or an array is on the task's stack: then it has no address in the model's memory."""
    return not address_of(thing)


def in_interrupt() -> bool:
    """Whether an interrupt or a softirq is being handled, which must not sleep."""
    return this().context.kind in ("irq", "softirq")


def cpu_relax() -> None:
    """Let the rest of the machine go on by a step; with nothing left to happen, whoever waits waits for ever."""
    kernel = this()
    if not kernel.loop.run_one():
        raise HungTask(f"task {kernel.context.name} on CPU {kernel.cpu} polls for ever")


def signal_pending_state(state: int, task: Context) -> bool:
    """Whether a signal is to end the task's sleep in that state."""
    return state == TASK_INTERRUPTIBLE and task.signal


def fatal_signal_pending(task: Context) -> bool:
    """Whether a signal is to end the task. (The model knows but one kind of signal.)"""
    return task.signal
