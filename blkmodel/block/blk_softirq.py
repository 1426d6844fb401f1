"""Completing requests in a softirq, on the CPU that submitted them or one that shares its cache."""

from typing import Any

from blkmodel.include.linux.blkdev import QUEUE_FLAG_SAME_COMP, QUEUE_FLAG_SAME_FORCE, request
from blkmodel.services import (BLOCK_SOFTIRQ, BUG_ON, CPUHP_BLOCK_SOFTIRQ_DEAD, call_single_data, cpu_online,
    cpuhp_setup_state_nocalls, cpus_share_cache, for_each_possible_cpu, list_add_tail, list_del_init, list_head,
    list_is_singular, list_splice_init, open_softirq, raise_softirq_irqoff, smp_call_function_single_async,
    smp_processor_id, subsys_initcall)
from blkmodel.sim import NULL, statics


class variables(statics):
    """blk_cpu_done: for each CPU, the requests that its softirq will complete."""

    def __init__(self) -> None:
        self.blk_cpu_done: list[list_head] = []


def blk_done_softirq(h: Any) -> None:
    """Let the drivers finish all requests that wait on this CPU."""
    local_list = list_head()
    list_splice_init(variables().blk_cpu_done[smp_processor_id()], local_list, "ipi_list")
    for rq in local_list:
        list_del_init(rq, "ipi_list")
        rq.q.mq_ops.complete(rq)


def trigger_softirq(data: request) -> None:
    """On the CPU that was interrupted for it, let a request wait for the softirq."""
    rq = data
    done = variables().blk_cpu_done[smp_processor_id()]
    list_add_tail(rq, done, "ipi_list")
    if list_is_singular(done):
        raise_softirq_irqoff(BLOCK_SOFTIRQ)


def raise_blk_irq(cpu: int, rq: request) -> int:
    """Interrupt a CPU so that its softirq completes a request. Returns 0, or 1 for a CPU that is offline."""
    if cpu_online(cpu):
        rq.csd = call_single_data(trigger_softirq, rq)
        smp_call_function_single_async(cpu, rq.csd)
        return 0
    return 1


def blk_softirq_cpu_dead(cpu: int) -> int:
    """A CPU is gone: what waited for its softirq is completed here."""
    done = variables().blk_cpu_done
    list_splice_init(done[cpu], done[smp_processor_id()], "ipi_list")
    raise_softirq_irqoff(BLOCK_SOFTIRQ)
    return 0


def __blk_complete_request(req: request) -> None:
    """Let a request that its device has done be completed in a softirq.

    It runs here if this CPU submitted the request or shares that one's cache, or if the queue does not care;
    else on the CPU that submitted it.
    """
    q, ccpu, shared = req.q, req.mq_ctx.cpu, False
    BUG_ON(not q.mq_ops.complete, "the driver can't complete requests")
    cpu = smp_processor_id()
    if q.queue_flags >> QUEUE_FLAG_SAME_COMP & 1:
        if not q.queue_flags >> QUEUE_FLAG_SAME_FORCE & 1:
            shared = cpus_share_cache(cpu, ccpu)
    else:
        ccpu = cpu
    if ccpu == cpu or shared or raise_blk_irq(ccpu, req):
        done = variables().blk_cpu_done[cpu]
        list_add_tail(req, done, "ipi_list")
        # With others there before it, the softirq is raised already.
        if list_is_singular(done):
            raise_softirq_irqoff(BLOCK_SOFTIRQ)


def blk_softirq_init() -> int:
    """At boot: every CPU has nothing to complete."""
    variables().blk_cpu_done = [list_head() for _ in for_each_possible_cpu()]
    open_softirq(BLOCK_SOFTIRQ, blk_done_softirq)
    cpuhp_setup_state_nocalls(CPUHP_BLOCK_SOFTIRQ_DEAD, "block/softirq:dead", NULL, blk_softirq_cpu_dead)
    return 0


subsys_initcall(blk_softirq_init)
