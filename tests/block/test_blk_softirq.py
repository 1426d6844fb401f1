"""Completion in softirqs: every request once, on the right CPU, also when a CPU goes."""

from hypothesis import given, settings, strategies as st

from blkmodel import boot, machine
from blkmodel.block import blk_mq, blk_softirq
from blkmodel.block.blk_mq_h import blk_mq_ctx
from blkmodel.include.linux.blk_mq import BLK_MQ_REQ_NOWAIT, blk_mq_ops
from blkmodel.include.linux.blkdev import QUEUE_FLAG_SAME_COMP, QUEUE_FLAG_SAME_FORCE, request, request_queue
from blkmodel.services.cpus.cpuhotplug import cpu_down
from blkmodel.services.data.list import list_empty
from blkmodel.sim import this
from tests.block.simple_driver import Driver


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30), st.booleans(), st.booleans())
@settings(deadline=None)
def test_where_requests_are_completed(ends, same, force):
    kernel = boot(machine(4, nodes=2))
    completed = []
    q = request_queue(mq_ops=blk_mq_ops(complete=lambda rq: completed.append((rq, this().context.kind, this().cpu))))
    q.queue_flags = same << QUEUE_FLAG_SAME_COMP | force << QUEUE_FLAG_SAME_FORCE
    expected = {}

    def end_all():
        for of, on in ends:
            rq = request(q=q, mq_ctx=blk_mq_ctx(cpu=of))
            kernel.run_in(type(kernel.context)("irq", "device", on), blk_softirq.__blk_complete_request, rq)
            near = of == on or (of // 2 == on // 2 and not force)
            expected[rq] = on if near or not same else of
    kernel.task("device", end_all)
    assert len(completed) == len(ends)
    assert {rq: cpu for rq, _, cpu in completed} == expected
    assert all(kind == "softirq" for _, kind, _ in completed)
    assert all(list_empty(done) for done in blk_softirq.variables().blk_cpu_done)


def test_what_waited_on_a_dead_cpu_is_completed():
    kernel = boot(machine(2, nodes=2))
    driver = Driver()
    q = driver.load()
    rq = kernel.task("submit", blk_mq.blk_mq_alloc_request, q, 0, BLK_MQ_REQ_NOWAIT, cpu=1)
    blk_mq.blk_mq_start_request(rq)
    kernel.run_in(type(kernel.context)("irq", "device", 1), blk_mq.blk_mq_complete_request, rq)
    cpu_down(1)
    kernel.loop.run_due()
    assert driver.heard("completed") == [rq]
    assert driver.log[-1][2][1] == 0
    late = blk_mq.blk_mq_alloc_request(q, 0, BLK_MQ_REQ_NOWAIT)
    late.mq_ctx = q.queue_ctx[1]
    blk_mq.blk_mq_start_request(late)
    driver.taken.append(late)
    driver.finish(late)
    assert driver.log[-1][2] == ("softirq", 0)
