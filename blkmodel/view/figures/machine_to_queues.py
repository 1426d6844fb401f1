"""From a machine to its queues: boot, load a driver, and draw which hardware queue each CPU got.

    live(machine_to_queues, driver=["nvme", "null_blk"], cpus=(1, 64), present=Slider(1, "cpus"), nodes=(1, there),
         threads=(1, 4), queues=(1, 64), write_queues=(0, 8), poll_queues=(0, 8),
         release=RELEASES, focus=Slider(0, last_cpu, none="no CPU"))
"""

from functools import lru_cache
from typing import Any

from blkmodel.include.linux.blkdev import request_queue
from blkmodel.releases import running
from blkmodel.sim import Kernel, booted, machine
from blkmodel.view.facts.queue_facts import queue_of
from blkmodel.view.figures.queue_map import queue_map

RELEASES = {"Linux 5.4 to 5.9": "5.4", "5.10 to 5.15": "5.10", "5.16, 5.17": "5.16", "5.18 to 6.2": "5.18",
            "6.3 to 6.8": "6.3", "6.9, 6.10": "6.9", "6.11 to 6.16": "6.11", "6.17 to 6.19": "6.17"}
"""What a reader chooses from: releases that give CPUs the same queues."""


def machine_to_queues(driver: str = "nvme", cpus: int = 8, present: int | None = None, nodes: int = 1, threads: int = 1,
                      queues: int = 3, write_queues: int = 0, poll_queues: int = 0, depth: int | None = None,
                      vectors: int = 65, focus: int | None = None, release: str = "5.4") -> str:
    """Draw the map that a driver gets on a machine.

    queues: queue pairs of an NVMe device, or null_blk's submit_queues. write_queues, poll_queues and vectors (how many
    interrupt vectors the device has) are NVMe's. depth: tags of a hardware queue; None for the driver's own. focus: a
    CPU whose path is lit; None for all. release: whose kernel gives CPUs their queues; all else is 5.4's.
    """
    on = driver, cpus, present, nodes, threads
    q, kernel = _built(release, *on, queues, write_queues, poll_queues, depth, vectors)
    with kernel:
        return queue_map(q, kernel, focus)


def there(cpus: int, present: int | None) -> int:
    """How many CPUs the machine has now: all that it can have, if nothing else is said."""
    return present or cpus


def last_cpu(cpus: int) -> int:
    """The highest CPU that can be in focus."""
    return cpus - 1


@lru_cache(maxsize=1)  # a machine is big; the next question is mostly about the same one, with another focus
def _built(release: str, driver: str, cpus: int, present: int | None, nodes: int, threads: int,
           *queues: Any) -> tuple[request_queue, Kernel]:
    with running(release), booted(machine(cpus, nodes=nodes, threads=threads, present=present)) as kernel:
        return queue_of(driver, *queues), kernel
