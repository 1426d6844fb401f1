"""Tasks that sleep and go on: in which order, when, with what held; and what is left of them."""

import asyncio
import threading
from functools import partial
from typing import Any, cast

import pytest

from blkmodel import boot, scenario
from blkmodel.block import blk_mq, blk_mq_tag
from blkmodel.drivers.block import null_blk_main
from blkmodel.drivers.md import dm
from blkmodel.include.linux.blkdev import MQ_RQ_COMPLETE
from blkmodel.services.base.bug import KernelBug
from blkmodel.services.base.err import ERESTARTSYS
from blkmodel.services.tasks.locks import (Deadlock, down_read, down_write, mutex, mutex_lock, mutex_unlock,
    rw_semaphore, up_read, up_write)
from blkmodel.services.tasks.rcupdate import (init_srcu_struct, rcu_read_lock, rcu_read_unlock, srcu_read_lock,
    srcu_read_unlock, srcu_struct, synchronize_rcu, synchronize_srcu)
from blkmodel.services.tasks.sched import send_sig
from blkmodel.services.tasks.timer import INITIAL_JIFFIES, TICK_NSEC, calc_wheel_index, jiffies, msleep
from blkmodel.services.tasks.wait import (complete, completion, wait_event, wait_event_interruptible,
    wait_for_completion, wait_queue_head, wake_up_all)
from blkmodel.services.tasks.workqueue import INIT_WORK, WQ_HIGHPRI, alloc_workqueue, queue_work, work_struct
from blkmodel.sim import Context, booted, ground
from blkmodel.sim.events import HungTask
from blkmodel.sim.ground import Nested, NoGround
from blkmodel.view.figures.tag_map import tag_map

MS = 1_000_000


def reader(disk, n=0, done=None, name=None):
    """A process's job: read a page, and note when it was done."""
    def job():
        assert scenario._dio(disk, scenario._asked(disk, "read", n * 4096, 4096)) == bytes(4096)
        if done is not None:
            done.append((name or f"R{n}", scenario.this().now))
    return job


def in_turn(*calls):
    def job():
        for call in calls:
            call()
    return job


def names(done):
    return [name for name, _ in done]


# Who goes on

def test_a_process_whose_read_is_done_goes_on_while_another_sleeps():
    kernel, done = boot(4), list[Any]()
    scenario.null_blk_load(nr_devices=2, gb=1)
    scenario.dmsetup_run("create", "slow", "--table", "0 2048 delay /dev/nullb1 0 1000")
    began = kernel.now
    kernel.tasks([("fast", 0, reader("nullb0", 0, done, "fast")), ("slow", 1, reader("dm-0", 0, done, "slow"))])
    assert names(done) == ["fast", "slow"]
    assert done[0][1] - began < 100_000
    assert done[1][1] - began >= 1000 * MS


def test_without_its_wake_up_a_task_sleeps_for_ever(monkeypatch):
    kernel, done = boot(2), list[Any]()
    scenario.null_blk_load(gb=1)
    q = scenario.disk("nullb0").queue
    kernel.task("a", blk_mq.blk_freeze_queue_start, q)
    with monkeypatch.context() as patched:
        patched.setattr(blk_mq, "wake_up_all", lambda queue: None)
        stuck = kernel.tasks([("reader", 0, reader("nullb0", 0, done)),
                              ("thaw", 1, lambda: blk_mq.blk_mq_unfreeze_queue(q))])
    assert names(stuck and [(task.name, 0) for task in stuck]) == ["reader"]
    assert not done
    assert "INFO: task reader blocked for more than 120 seconds." in kernel.log
    assert any(line.startswith("Call Trace: blk_queue_enter generic_make_request") for line in kernel.log)
    kernel.task("again", wake_up_all, q.mq_freeze_wq)
    assert names(done) == ["R0"]


def test_readers_of_one_tag_get_it_in_the_order_of_their_coming(monkeypatch):
    kernel, got, done = boot(8), list[Any](), list[Any]()
    scenario.null_blk_load(gb=1, irqmode=2, completion_nsec=MS, hw_queue_depth=1, no_sched=1)
    real = blk_mq.blk_mq_rq_ctx_init

    def spy(data, tag, op, time):
        got.append(kernel.context.name)
        return real(data, tag, op, time)
    monkeypatch.setattr(blk_mq, "blk_mq_rq_ctx_init", spy)
    began = kernel.now
    kernel.tasks([(f"P{n}", n, reader("nullb0", n, done, f"P{n}")) for n in range(1, 6)])
    assert got == names(done) == ["P1", "P2", "P3", "P4", "P5"]
    assert [round((time - began) / MS) for _, time in done] == [1, 2, 3, 4, 5]


def test_a_reader_waits_for_a_freeze_that_waits_for_another_reader():
    kernel, done = boot(4), []
    scenario.null_blk_load(gb=1, irqmode=2, completion_nsec=MS, submit_queues=4)
    q = scenario.disk("nullb0").queue

    def freeze():
        blk_mq.blk_mq_freeze_queue(q)
        done.append(("frozen", kernel.now))
        blk_mq.blk_mq_unfreeze_queue(q)
    assert kernel.tasks([("R1", 0, reader("nullb0", 1, done)), ("freezer", 1, freeze),
                         ("R2", 2, reader("nullb0", 2, done))]) == []
    assert names(done) == ["R1", "frozen", "R2"]


def test_the_scheduler_changes_while_two_processes_read():
    kernel, done = boot(4), list[Any]()
    scenario.null_blk_load(gb=1, irqmode=2, completion_nsec=MS)
    kobj, attr, _, store = scenario._queue_file("nullb0", "scheduler")
    assert kernel.tasks([("R1", 0, reader("nullb0", 1, done)), ("sh", 1, lambda: store(kobj, attr, "none", 4)),
                         ("R2", 2, reader("nullb0", 2, done))]) == []
    assert names(done) == ["R1", "R2"]
    assert scenario.scheduler("nullb0") == "none"


def test_requests_that_others_complete_are_waited_for():
    """blk_mq_tagset_wait_completed_request() looks again every five milliseconds, and ends no earlier."""
    kernel, order = boot(2), []
    scenario.null_blk_load(gb=1, irqmode=2, completion_nsec=100 * MS)
    q = scenario.disk("nullb0").queue
    scenario.set_scheduler("nullb0", "none")
    rq = kernel.task("taker", blk_mq.blk_mq_alloc_request, q, 0, 0)
    rq.state, rq.mq_hctx.tags.rqs[rq.tag] = MQ_RQ_COMPLETE, rq

    def end():
        msleep(20)
        order.append("ended")
        blk_mq.blk_mq_free_request(rq)
    kernel.tasks([("waiter", 0, in_turn(
        partial(blk_mq_tag.blk_mq_tagset_wait_completed_request, q.tag_set), partial(order.append, "waited"))),
                  ("ender", 1, end)])
    assert order == ["ended", "waited"]


# Locks

def test_a_second_suspend_waits_for_the_first_and_then_finds_the_device_suspended():
    kernel, ret = boot(4), {}
    scenario.null_blk_load(gb=1)
    scenario.dmsetup_run("create", "slow", "--table", "0 2048 delay /dev/nullb0 0 1000")
    md = scenario.disk("dm-0").private_data

    def suspend(n):
        def job():
            ret[n] = dm.dm_suspend(md, 0), kernel.now
        return job
    kernel.tasks([("reader", 0, reader("dm-0")), ("A", 1, suspend("A")), ("B", 2, suspend("B"))])
    assert [ret["A"][0], ret["B"][0]] == [0, -22]
    assert ret["B"][1] >= ret["A"][1]


def test_a_mutex_passes_in_turn_and_excludes_across_sleeps():
    kernel, lock, inside, order = boot(4), mutex("&lock"), list[Any](), list[Any]()

    def job(n):
        def run():
            with lock:
                assert not inside
                inside.append(n)
                msleep(10)
                inside.remove(n)
                order.append(n)
        return run
    kernel.tasks([(f"t{n}", n, job(n)) for n in range(4)])
    assert order == [0, 1, 2, 3]
    assert lock.owner is None


def test_readers_share_a_semaphore_and_a_writer_has_it_alone():
    kernel, sem, log = boot(4), rw_semaphore("&sem"), []

    def read(n):
        def run():
            down_read(sem)
            log.append(f"+{n}")
            msleep(10)
            log.append(f"-{n}")
            up_read(sem)
        return run

    def write():
        down_write(sem)
        log.append("W")
        up_write(sem)
    kernel.tasks([("r0", 0, read(0)), ("r1", 1, read(1)), ("w", 2, write), ("r2", 3, read(2))])
    assert log == ["+0", "+1", "-0", "-1", "W", "+2", "-2"]


def test_a_deadlock_says_who_holds_what():
    kernel, one, two = boot(2), mutex("&one"), mutex("&two")

    def job(first, second):
        def run():
            mutex_lock(first)
            msleep(10)
            mutex_lock(second, 1)
        return run
    with pytest.raises(Deadlock, match="B waits for &one, which A holds; A waits for &two, which B holds"):
        kernel.tasks([("A", 0, job(one, two)), ("B", 1, job(two, one))])


def test_two_orders_of_locks_are_a_bug_even_where_nobody_waits():
    kernel, one, two = boot(1), mutex("&one"), mutex("&two")

    def both(first, second):
        with first, second:
            pass
    kernel.task("a", both, one, two)
    with pytest.raises(KernelBug, match=r"&one is taken with &two held.*but &two with &one held"):
        kernel.task("b", both, two, one)


def test_nobody_sleeps_as_a_reader_of_rcu():
    def sleep():
        rcu_read_lock()
        try:
            msleep(1)
        finally:
            rcu_read_unlock()
    with pytest.raises(KernelBug, match="scheduling while atomic: sleeper"):
        boot(1).task("sleeper", sleep)


def test_what_a_hung_task_holds_is_given_back_when_it_is_woken():
    kernel, lock, queue = boot(2), mutex("&lock"), wait_queue_head()

    def hang():
        mutex_lock(lock)
        wait_event(queue, lambda: False, "Godot")
        mutex_unlock(lock)
    with pytest.raises(HungTask, match=r"task A on CPU 0 sleeps for ever, waiting for Godot; state D; it holds &lock"):
        kernel.task("A", hang)
    assert lock.owner is not None
    kernel.task("waker", wake_up_all, queue)
    with lock:
        pass


# Time

def test_workers_of_high_priority_go_before_those_who_were_woken():
    kernel, done = boot(4), list[str]()
    queue, others, woken = wait_queue_head(), [alloc_workqueue("usual"), alloc_workqueue("first", WQ_HIGHPRI)], []

    def interrupt():
        woken.append(True)
        wake_up_all(queue)
        for each in others:
            INIT_WORK(work := work_struct(), lambda work: done.append(work.data), each.name)
            queue_work(each, work)

    def sleeper(name):
        wait_event(queue, lambda: woken)
        done.append(name)
    def choose(could):
        said.append([each.name for each in could])
        return 0
    kernel.loop.choose = choose
    for cpu, could in ((0, [["first", "usual"]]), (1, [["first", "b", "usual"], ["b", "usual"]])):
        said = list[list[str]]()
        kernel.loop.post(Context("irq", "irq", 0), interrupt, 5)
        kernel.tasks([("b", cpu, lambda: sleeper("b"))])
        assert done == ["first", "b", "usual"]
        assert said[:len(could)] == could, "on the worker's CPU nobody else could"
        done.clear()
        woken.clear()


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("why", [NotImplementedError, ValueError])
def test_nobody_waits_for_what_a_process_held_that_made_no_sense(alone, why):
    kernel, lock, done, wrong = boot(2), mutex("lock"), list[str](), list[Exception]()

    def senseless():
        mutex_lock(lock)
        raise why("of that")

    def careful():
        with lock:
            done.append("careful")
    if alone:
        with pytest.raises(why, match="of that"):
            kernel.task("senseless", senseless)
        kernel.task("careful", careful)
    else:
        assert kernel.tasks([("senseless", 0, senseless), ("careful", 1, careful)], wrong) == []
        assert [str(each) for each in wrong] == ["of that"]
    assert done == ["careful"]


def test_what_a_cpu_does_takes_time_and_interrupts_come_in_between(monkeypatch):
    kernel, now, most = boot(4), [0], [0]
    scenario.null_blk_load(gb=1, irqmode=2, completion_nsec=1, submit_queues=4)
    real, end = null_blk_main.null_mq_ops.queue_rq, blk_mq.blk_mq_end_request

    def queue_rq(hctx, bd):
        now[0] += 1
        most[0] = max(most[0], now[0])
        return real(hctx, bd)

    def ended(rq, error):
        now[0] -= 1
        return end(rq, error)
    monkeypatch.setattr(null_blk_main.null_mq_ops, "queue_rq", queue_rq)
    monkeypatch.setattr(blk_mq, "blk_mq_end_request", ended)
    began = kernel.now
    scenario.aio("nullb0", [{"op": "read", "offset": i << 20, "length": 4096} for i in range(40)])
    assert most[0] < 10
    assert kernel.now > began
    kernel.loop.cost = 0
    scenario.aio("nullb0", [{"op": "read", "offset": i << 20, "length": 4096} for i in range(40)])
    assert most[0] == 40


def test_a_grace_period_takes_time_and_others_go_on():
    kernel, seen = boot(4), {}
    scenario.null_blk_load(gb=1, irqmode=2, completion_nsec=10_000)
    q = scenario.disk("nullb0").queue

    def quiesce():
        began = kernel.now
        blk_mq.blk_mq_quiesce_queue(q)
        seen["ns"], seen["inflight"] = kernel.now - began, blk_mq.blk_mq_queue_inflight(q)
        blk_mq.blk_mq_unquiesce_queue(q)
    kernel.tasks([("reader", 0, reader("nullb0")), ("quiesce", 1, quiesce)])
    assert TICK_NSEC <= seen["ns"] <= 2 * TICK_NSEC
    assert not seen["inflight"]


def test_readers_of_srcu_are_waited_for_and_later_ones_are_not():
    kernel, srcu, log = boot(4), srcu_struct(), []
    assert init_srcu_struct(srcu) == 0

    def read(name, before, inside):
        def run():
            msleep(before)
            index = srcu_read_lock(srcu)
            msleep(inside)
            log.append(name)
            srcu_read_unlock(srcu, index)
        return run
    kernel.tasks([("early", 0, read("early", 0, 100)), ("late", 1, read("late", 60, 400)),
                  ("sync", 2, in_turn(
                      partial(msleep, 20), partial(synchronize_srcu, srcu), partial(log.append, "sync")))])
    assert log == ["early", "sync", "late"]


def test_the_timer_wheel_is_coarser_the_further_away():
    clk = INITIAL_JIFFIES
    assert [calc_wheel_index(clk + n, clk) - clk for n in (0, 1, 62)] == [1, 2, 63]
    for n, gran in ((63, 8), (503, 8), (504, 64), (4031, 64), (4032, 512)):
        assert calc_wheel_index(clk + n, clk) % gran == 0
        assert n < calc_wheel_index(clk + n, clk) - clk <= n + gran


def test_a_signal_ends_an_interruptible_wait_only():
    kernel, queue, done = boot(2), wait_queue_head(), completion()
    tasks, ended = dict[str, Any](), list[Any]()

    def kill():
        msleep(10)
        for task in tasks.values():
            send_sig(task)
        complete(done)

    def wait(name, fn):
        def run():
            tasks[name] = kernel.context
            ended.append((name, fn()))
        return run
    kernel.tasks([("signalled", 0, wait("signalled", lambda: wait_event_interruptible(queue, lambda: False))),
                  ("not", 1, wait("not", lambda: wait_for_completion(done))), ("kill", 0, kill)])
    assert sorted(ended) == [("not", None), ("signalled", -ERESTARTSYS)]


# What is left

def test_a_thousand_tasks_that_slept_leave_no_thread():
    kernel, before, ended = boot(4), threading.active_count(), []
    most = []

    def job(n):
        def run():
            msleep(10 + n % 7)
            most.append(threading.active_count())
            ended.append(n)
        return run
    kernel.tasks([(f"t{n}", n % 4, job(n)) for n in range(1000)])
    assert len(ended) == 1000
    assert max(most) - before >= 1000
    assert threading.active_count() == before


def test_no_thread_outlives_its_kernel():
    before = threading.active_count()
    with booted(2) as kernel:
        queue = wait_queue_head()
        stuck = kernel.tasks([(f"t{n}", 0, lambda: wait_event(queue, lambda: False)) for n in range(3)])
        assert len(stuck) == 3
        assert threading.active_count() == before + 3
    assert threading.active_count() == before
    kernel = boot(1)
    kernel.tasks([("t", 0, lambda: wait_event(wait_queue_head(), lambda: False))])
    boot(1)
    assert threading.active_count() == before


def test_a_task_that_nobody_overtakes_needs_no_thread(monkeypatch):
    monkeypatch.setattr(threading, "Thread", None)
    boot(4)
    scenario.null_blk_load(gb=1, irqmode=2)
    assert len(scenario.io("nullb0", "read", 0, 4096)) == 4096


def test_on_one_stack_what_overtakes_is_refused_and_the_rest_is_the_same():
    def run(ground, overtake):
        kernel, done = boot(2), list[Any]()
        kernel.loop.ground = ground or kernel.loop.ground
        scenario.null_blk_load(gb=1, irqmode=2, completion_nsec=MS, nr_devices=2)
        if overtake:
            scenario.dmsetup_run("create", "slow", "--table", "0 2048 delay /dev/nullb1 0 100")
        kernel.tasks([("a", 0, reader("nullb0", 0, done, "a")), ("b", 1, reader("dm-0", 1, done, "b"))] if overtake else
                     [("a", 0, lambda: (reader("nullb0", 0, done, "a")(), reader("nullb1", 0, done, "b")()))])
        return done
    assert run(None, False) == run(Nested, False)
    assert names(run(None, True)) == ["a", "b"]
    with pytest.raises(NoGround, match="JavaScript Promise Integration"):
        run(Nested, True)


def test_on_one_stack_a_figure_of_waiting_says_what_it_lacks(monkeypatch):
    """Not that a task sleeps for ever, which whoever wakes it would not let it."""
    monkeypatch.setattr(ground, "best", lambda: Nested)
    assert "taken" in tag_map(step=5)
    with pytest.raises(NoGround, match="JavaScript Promise Integration"):
        tag_map(step=30)


def test_jiffies_begin_where_they_do():
    boot(1)
    assert jiffies() == INITIAL_JIFFIES
    synchronize = boot(1)
    synchronize.task("waiter", synchronize_rcu)
    assert jiffies() == INITIAL_JIFFIES + 2


def test_a_stack_of_the_page_is_handed_over_to_at_once():
    """Without a turn of the page's event loop: not when it is told to go on, nor when that was before it waits."""
    opened, told = asyncio.Future[None](loop=cast(Any, ground.AtOnce)), list[Any]()
    opened.add_done_callback(told.append)
    opened.set_result(None)
    assert told == [opened]
    opened.add_done_callback(told.append)
    assert told == [opened, opened]
