"""Tasks: how they sleep and are woken, in which states, with which signals, with what on the stack; and what a CPU does
while it waits for another (include/linux/sched.h, include/linux/sched/task_stack.h, include/linux/sched/signal.h,
kernel/sched/core.c, kernel/signal.c, preempt.h, blkdev.h, arch/x86/include/asm/processor.h)."""

from typing import Any

from blkmodel.services.base.bug import BUG_ON
from blkmodel.services.base.symbols import linked
from blkmodel.sim import Context, HungTask, address_of, running, this

TASK_RUNNING, TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE, TASK_WAKEKILL = 0, 1, 2, 0x100


def set_current_state(state: int) -> None:
    """Say how the running task is going to sleep; whoever wakes it before it does takes that back."""
    running.kernel.context.state = state


__set_current_state = set_current_state


def wake_up_process(task: Context) -> bool:
    """Let a task go on that sleeps, or is about to; return whether it was so."""
    return running.kernel.loop.wake(task)


blk_wake_io_task = wake_up_process


def wake_up_state(task: Context, state: int) -> bool:
    """Wake a task, if it sleeps in one of these states; return whether it did."""
    return bool(task.state & state) and this().loop.wake(task)


def schedule(why: str = "a wake-up") -> None:
    """Sleep, in the state that the task has set, until woken; a signal that may wake it does so at once.

    A task that goes to sleep lets go of what its plug holds back: it might be what it is to wait for.
    """
    kernel = running.kernel
    task = kernel.context
    if task.atomic:
        BUG_ON(True, f"scheduling while atomic: {task.name}, with {[lock.name for lock in task.locks or ()]}")
    if not task.state:
        return
    if task.plug is not None:
        linked.blk_flush_plug_list(task.plug, True)
    if task.signal and signal_pending_state(task.state, task):
        task.state = TASK_RUNNING
    if task.state:
        kernel.loop.block(why)


io_schedule = schedule


def cond_resched() -> None:
    """Let another task of this CPU go on, where one could. (In the model none is kept waiting by a task that runs.)"""
    this().loop.rested()


def need_resched() -> bool:
    """Whether another task of this CPU could go on, were this one not running. (In C the timer's tick finds that.)"""
    kernel = this()
    return kernel.loop.wanted(kernel.cpu)


def object_is_on_stack(thing: Any) -> bool:
    """Whether a structure or an array is on the task's stack: then it has no address in the model's memory."""
    return not address_of(thing)


def in_interrupt() -> bool:
    """Whether an interrupt or a softirq is being handled, which must not sleep."""
    return this().context.kind in ("irq", "softirq")


def cpu_relax() -> None:
    """Let the rest of the machine go on by a step; with nothing left to happen, whoever waits waits for ever."""
    kernel = this()
    if not kernel.loop.relax():
        raise HungTask(f"task {kernel.context.name} on CPU {kernel.cpu} polls for ever")


def fatal_signal_pending(task: Context) -> bool:
    """Whether a signal is to end the task. (The model's processes handle none, so every one is fatal.)"""
    return task.signal


def signal_pending_state(state: int, task: Context) -> bool:
    """Whether a signal is to end the task's sleep in that state."""
    return bool(state & (TASK_INTERRUPTIBLE | TASK_WAKEKILL)) and task.signal


def send_sig(task: Context) -> None:
    """Send a task a signal; it wakes up if it sleeps in a state that allows that."""
    task.signal = True
    wake_up_state(task, TASK_INTERRUPTIBLE | TASK_WAKEKILL)
