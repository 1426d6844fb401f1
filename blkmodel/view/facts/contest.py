"""Reads behind writes: in which order a disk is given requests, how long each waits, and what they cost the kernel."""

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from blkmodel import scenario
from blkmodel.device.controller import Controller
from blkmodel.device.service import Service
from blkmodel.include.linux.nvme import nvme_cmd_read
from blkmodel.sim import booted
from blkmodel.trace import Call, Command, Completion, record

READS = 4


class Served(NamedTuple):
    """A request as the disk saw it. page: where on the disk. waited: microseconds from its submission to its end."""

    read: bool
    page: int
    waited: float


class Contest(NamedTuple):
    """served: in the order in which the disk fetched them. calls: of the kernel, for each request. travel: pages that a
    disk's head would have to go over."""

    served: tuple[Served, ...]
    calls: float
    travel: int

    def longest(self, read: bool) -> float:
        """How long the last of the reads, or of the writes, took."""
        return max((each.waited for each in self.served if each.read == read), default=0)


@lru_cache(maxsize=32)
def contest(scheduler: str, depth: int, writes: int) -> Contest:
    """Let a process submit so many writes, and behind them READS reads, at once: of a page each, all over the disk.

    The disk is an NVMe disk with one queue; it takes `depth` commands at once, and 100 µs for each.
    """
    with booted(4) as kernel:
        scenario.nvme_probe(controller=Controller(1, service=Service(least=100_000)), io_queue_depth=depth + 1)
        scenario.set_scheduler("nvme0n1", scheduler)
        if scheduler != "none":
            scenario.set_queue_file("nvme0n1", "nr_requests", writes + READS)
        wanted = [{"op": "write" if n < writes else "read", "offset": (37 * n + 11) % 256 << 14, "length": 4096}
                  for n in range(writes + READS)]
        begun = kernel.now
        recording = record(scenario.aio, "nvme0n1", wanted, cpu=1)
    under_way, served = {}, []
    for event in recording.of(Command, Completion):
        if type(event) is Command:
            under_way[event.command.command_id] = len(served)
            served.append(Served(event.command.opcode == nvme_cmd_read, event.command.slba >> 3, 0))
        else:
            at = under_way[event.completion.command_id]
            served[at] = served[at]._replace(waited=(event.time - begun) / 1000)
    travel = sum(abs(there.page - here.page) for here, there in pairwise(served))
    return Contest(tuple(served), len(recording.of(Call)) / len(served), travel)
