"""Counting semaphores: so many may hold something at once; who comes later sleeps (include/linux/semaphore.h,
kernel/locking/semaphore.c)."""

from blkmodel.services.tasks.wait import wait_event, wait_queue_head
from blkmodel.sim.structure import Struct


class semaphore(Struct):
    """`count` more may take it without waiting."""

    __slots__ = ("count", "wait_list")
    SIZE = 24

    def __init__(self) -> None:
        self.count = 0
        self.wait_list = wait_queue_head()


def sema_init(sem: semaphore, count: int) -> None:
    sem.count = count


def down(sem: semaphore) -> None:
    """Take it, once there is one to be had."""
    wait_event(sem.wait_list, lambda: sem.count > 0, "a semaphore")
    sem.count -= 1


def up(sem: semaphore) -> None:
    """Give it back."""
    sem.count += 1
