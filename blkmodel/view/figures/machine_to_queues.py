"""From a machine to its queues: boot, load a driver, and draw which hardware queue each CPU got.

    live(machine_to_queues, driver=["nvme", "null_blk"], cpus=(1, 64), present=Slider(1, "cpus"), nodes=(1, there),
         threads=(1, 4), queues=(1, 64), write_queues=(0, 8), poll_queues=(0, 8),
         focus=Slider(0, last_cpu, none="no CPU"))
"""

from functools import lru_cache
from typing import Any

from blkmodel.include.linux.blkdev import request_queue
from blkmodel.sim import Kernel, booted, machine
from blkmodel.view.facts.queue_facts import queue_of
from blkmodel.view.figures.queue_map import queue_map


def machine_to_queues(driver: str = "nvme", cpus: int = 8, present: int | None = None, nodes: int = 1, threads: int = 1,
                      queues: int = 3, write_queues: int = 0, poll_queues: int = 0, depth: int | None = None,
                      vectors: int = 65, focus: int | None = None) -> str:
    """Draw the map that a driver gets on a machine.

    queues: queue pairs of an NVMe device, or null_blk's submit_queues. write_queues, poll_queues and vectors (how many
    interrupt vectors the device has) are NVMe's. depth: tags of a hardware queue; None for the driver's own. focus: a
    CPU whose path is lit; None for all.
    """
    q, kernel = _built(driver, cpus, present, nodes, threads, queues, write_queues, poll_queues, depth, vectors)
    with kernel:
        return queue_map(q, kernel, focus)


def there(cpus: int, present: int | None) -> int:
    """How many CPUs the machine has now: all that it can have, if nothing else is said."""
    return present or cpus


def last_cpu(cpus: int) -> int:
    """The highest CPU that can be in focus."""
    return cpus - 1


@lru_cache(maxsize=1)  # a machine is big; the next question is mostly about the same one, with another focus
def _built(driver: str, cpus: int, present: int | None, nodes: int, threads: int,
           *queues: Any) -> tuple[request_queue, Kernel]:
    with booted(machine(cpus, nodes=nodes, threads=threads, present=present)) as kernel:
        return queue_of(driver, *queues), kernel
