"""From a machine to its queues: boot, load a driver, and draw which hardware queue each CPU got.

    live(machine_to_queues, driver=["nvme", "null_blk"], cpus=(1, 64), present=(1, "cpus"), nodes=(1, "present"),
         threads=(1, 4), queues=(1, 64), write_queues=(0, 8), poll_queues=(0, 8),
         focus=Slider(0, last_cpu, none="no CPU"), start={"present": 8})
"""

from functools import lru_cache

from blkmodel import scenario
from blkmodel.device.controller import Controller
from blkmodel.include.linux.blk_mq import HCTX_TYPE_DEFAULT
from blkmodel.sim import booted, machine
from blkmodel.view.figures.queue_map import queue_map


def machine_to_queues(driver="nvme", cpus=8, present=None, nodes=1, threads=1, queues=3, write_queues=0, poll_queues=0,
                      depth=None, vectors=65, focus=None):
    """Draw the map that a driver gets on a machine.

    queues: queue pairs of an NVMe device, or null_blk's submit_queues. write_queues, poll_queues and vectors (how many
    interrupt vectors the device has) are NVMe's. depth: tags of a hardware queue; None for the driver's own. focus: a
    CPU whose path is lit; None for all.
    """
    q, kernel = _built(driver, cpus, present, nodes, threads, queues, write_queues, poll_queues, depth, vectors)
    with kernel:
        return queue_map(q, kernel, focus)


def last_cpu(cpus):
    """The highest CPU that can be in focus."""
    return cpus - 1


@lru_cache(maxsize=1)  # a machine is big; the next question is mostly about the same one, with another focus
def _built(driver, cpus, present, nodes, threads, *queues):
    with booted(machine(cpus, nodes=nodes, threads=threads, present=present)) as kernel:
        return queue_of(driver, *queues), kernel


def queue_of(driver, queues, write_queues=0, poll_queues=0, depth=None, vectors=65):
    """Load a driver on the kernel that runs now, and return the request queue of its first disk."""
    if driver == "nvme":
        size = {} if depth is None else {"io_queue_depth": depth + 1}
        scenario.nvme_probe(controller=Controller(queues, vectors), write_queues=write_queues, poll_queues=poll_queues,
                            **size)
        return scenario.disk("nvme0n1").queue
    if write_queues or poll_queues:
        raise ValueError("null_blk has queues of one type only: write_queues and poll_queues must be 0")
    scenario.null_blk_load(submit_queues=queues, **({} if depth is None else {"hw_queue_depth": depth}))
    return scenario.disk("nullb0").queue


def spread(q):
    """How many CPUs the busiest and the least busy hardware queue of the default type serve."""
    served = [hctx.nr_ctx for hctx in q.queue_hw_ctx[:q.nr_hw_queues] if hctx.type == HCTX_TYPE_DEFAULT]
    return max(served), min(served)
