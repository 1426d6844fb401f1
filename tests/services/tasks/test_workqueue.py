"""Work: it runs once for each time that it is queued, in a worker; what never comes to an end is noticed."""

import pytest

from blkmodel import boot
from blkmodel.services.tasks.timer import HZ, jiffies, jiffies_to_nsecs
from blkmodel.services.tasks.wait import complete, completion, wait_event, wait_for_completion, wait_queue_head
from blkmodel.services.tasks.workqueue import (INIT_DELAYED_WORK, INIT_WORK, WORK_CPU_UNBOUND, alloc_workqueue,
    delayed_work, destroy_workqueue, flush_workqueue, queue_delayed_work_on, queue_work, schedule_work, work_struct)
from blkmodel.sim.events import HungTask


def test_delayed_work_runs_once_at_its_tick():
    kernel = boot(2)
    queue, work, ran = alloc_workqueue("mine"), delayed_work(), []
    INIT_DELAYED_WORK(work, lambda work: ran.append((jiffies(), kernel.context.name, work.data)), "owner")
    due = (jiffies() + 2 * HZ) // 8 * 8 + 8  # the wheel is that coarse there
    assert queue_delayed_work_on(WORK_CPU_UNBOUND, queue, work, 2 * HZ)
    assert not queue_delayed_work_on(WORK_CPU_UNBOUND, queue, work, 0)
    assert work._event is not None
    flush_workqueue(queue)
    assert not ran
    kernel.loop.advance(jiffies_to_nsecs(3 * HZ))
    assert ran == [(due, "mine", "owner")]
    assert work._event is None
    destroy_workqueue(queue)


def test_flushing_waits_for_what_is_queued():
    boot(2)
    queue, works, ran = alloc_workqueue("mine"), [work_struct() for _ in range(3)], []
    for work in works:
        INIT_WORK(work, lambda work: ran.append(work.data), works.index(work))
        assert queue_work(queue, work)
    flush_workqueue(queue)
    assert ran == [0, 1, 2]


def test_work_that_queues_itself_does_not_stop_the_clock():
    kernel = boot(1)
    work, ran = work_struct(), []

    def again(work):
        ran.append(kernel.now)
        schedule_work(work)
    INIT_WORK(work, again, None)
    kernel.task("starter", schedule_work, work)
    assert set(ran) == {0}
    assert work._event is not None
    kernel.loop.advance(jiffies_to_nsecs(10))
    assert len(set(ran)) == 6
    assert kernel.now == jiffies_to_nsecs(10)


def test_waiting_for_what_is_only_tried_over_and_over_is_a_hang():
    kernel = boot(1)
    work = delayed_work()
    INIT_DELAYED_WORK(work, lambda work: queue_delayed_work_on(WORK_CPU_UNBOUND, "trier", work, HZ // 10), None)
    queue_delayed_work_on(WORK_CPU_UNBOUND, "trier", work, 0)
    with pytest.raises(HungTask, match="waiting for Godot"):
        kernel.task("sleeper", wait_event, wait_queue_head(), lambda: False, "Godot")
    assert 120 <= kernel.now / 1e9 < 221


def test_waiting_long_for_what_comes_is_none():
    kernel = boot(1)
    work, done = delayed_work(), completion()
    INIT_DELAYED_WORK(work, lambda work: complete(done), None)
    queue_delayed_work_on(WORK_CPU_UNBOUND, "late", work, 1000 * HZ)
    kernel.task("sleeper", wait_for_completion, done)
    assert 1000 * 10**9 < kernel.now < 1020 * 10**9
    assert "INFO: task sleeper blocked for more than 120 seconds." in kernel.log
