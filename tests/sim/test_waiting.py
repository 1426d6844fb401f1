"""Waiting: who is woken, who is passed over, and whose turn it then is."""

from blkmodel import boot
from blkmodel.services.tasks.sched import TASK_RUNNING, TASK_UNINTERRUPTIBLE
from blkmodel.services.tasks.wait import (finish_wait, init_wait, prepare_to_wait, prepare_to_wait_exclusive,
    wait_queue_entry, wait_queue_head, waitqueue_active, wake_up, wake_up_all, wake_up_nr)
from blkmodel.sim.kernel import Context


def sleeper(kernel, queue, exclusive=True):
    """A task that is about to sleep in a queue."""
    waiter = wait_queue_entry()
    task = Context("task", "sleeper", 0)

    def stand():
        init_wait(waiter)
        (prepare_to_wait_exclusive if exclusive else prepare_to_wait)(queue, waiter, TASK_UNINTERRUPTIBLE)
    kernel.run_in(task, stand)
    return waiter, task


def test_exclusive_waiters_are_woken_in_their_order_and_the_others_together():
    kernel, queue = boot(1), wait_queue_head()
    tasks = [sleeper(kernel, queue)[1] for _ in range(3)]
    others = [sleeper(kernel, queue, exclusive=False)[1] for _ in range(2)]
    wake_up(queue)
    assert [task.runnable for task in tasks + others] == [True, False, False, True, True]
    wake_up_nr(queue, 1)
    assert [task.runnable for task in tasks] == [True, True, False]
    wake_up_all(queue)
    assert not waitqueue_active(queue)


def test_a_task_that_does_not_sleep_takes_nobodys_turn():
    kernel, queue = boot(1), wait_queue_head()
    (waiter, awake), (_, asleep) = sleeper(kernel, queue), sleeper(kernel, queue)
    awake.state = TASK_RUNNING  # woken by something else, and not yet gone from the queue
    wake_up(queue)
    assert asleep.runnable
    assert waiter.entry is queue.head
    finish_wait(queue, waiter)
    assert not waitqueue_active(queue)
