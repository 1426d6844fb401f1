"""From a machine to its queues: boot, load a driver, and draw which hardware queue each CPU got."""

from blkmodel import scenario
from blkmodel.device import nvme
from blkmodel.include.linux.blk_mq import HCTX_TYPE_DEFAULT
from blkmodel.sim import booted, machine
from blkmodel.view.queue_map import queue_map


def machine_to_queues(driver="nvme", cpus=8, present=None, nodes=1, threads=1, queues=3, write_queues=0, poll_queues=0,
                      focus=-1):
    """Draw the map that a driver gets on a machine.

    queues: queue pairs of an NVMe device, or null_blk's submit_queues. write_queues and poll_queues are NVMe's. focus: a
    CPU whose path is lit; -1 for all.
    """
    with booted(machine(cpus, nodes=nodes, threads=threads, present=present)) as kernel:
        return queue_map(queue_of(driver, queues, write_queues, poll_queues), kernel, focus)


def queue_of(driver, queues, write_queues=0, poll_queues=0):
    """Load a driver on the kernel that runs now, and return the request queue of its first disk."""
    if driver == "nvme":
        return nvme.namespace_queue(nvme.bring_up_queues(queues, write_queues, poll_queues))
    if write_queues or poll_queues:
        raise ValueError("null_blk has queues of one type only: write_queues and poll_queues must be 0")
    scenario.null_blk_load(submit_queues=queues)
    return scenario.disk("nullb0").queue


def spread(q):
    """How many CPUs the busiest and the least busy hardware queue of the default type serve."""
    served = [hctx.nr_ctx for hctx in q.queue_hw_ctx[:q.nr_hw_queues] if hctx.type == HCTX_TYPE_DEFAULT]
    return max(served), min(served)
