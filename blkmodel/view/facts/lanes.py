"""Reads and writes by several CPUs, recorded, and which of their runs had which other one queued."""

from functools import lru_cache

from blkmodel import scenario
from blkmodel.device.controller import Controller
from blkmodel.device.service import Service
from blkmodel.sim import booted, machine
from blkmodel.trace import Recording, record
from blkmodel.trace.lanes import Run

IRQMODES = {"at once, by the submitter": 0, "softirq": 1, "timer": 2}


@lru_cache(maxsize=32)
def recorded_reads(irqmode: int = 0, scheduler: str = "none", queues: int = 2, cpu: int = 5, reads: int = 1,
                   op: str = "read", driver: str = "null_blk", shared: bool = True) -> Recording:
    """Record reads or writes of 4 KiB on a machine of 8 CPUs on 2 nodes; each by the CPU after the last."""
    caches = None if shared else tuple(frozenset({each}) for each in range(8))
    with booted(machine(8, nodes=2, caches=caches)) as kernel:
        if driver == "nvme":
            controller = Controller(queues, service=Service(least=10_000))
            disk = scenario.nvme_probe(controller=controller, io_queue_depth=9) + "n1"
        else:
            scenario.null_blk_load(submit_queues=queues, irqmode=irqmode, hw_queue_depth=8)
            disk = "nullb0"
        scenario.set_scheduler(disk, scheduler)
        return record(_read, disk, [(cpu + i) % kernel.nr_cpu_ids for i in range(reads)], op)


def _read(disk: str, cpus: list[int], op: str) -> None:
    for i, cpu in enumerate(cpus):
        scenario.io(disk, op, i * 4096, 4096, cpu=cpu)


def source_of(done: list[Run], run: Run) -> int | None:
    """The number of the run in which this one was queued; None where it only goes on, or nobody was there."""
    if run.woken is not None or not run.queued:
        return None
    return next((j for j, each in enumerate(done)
                 if each.context == run.queued[0] and each.start <= (run.posted or 0) <= each.end), None)


def outermost(run: Run) -> list[str]:
    """The outermost functions that a run calls."""
    least = min((depth for depth, _ in run.calls), default=0)
    return [name for depth, name in run.calls if depth == least]


def main_call(run: Run) -> str:
    """What a run's bar is called: where it goes on, or the outermost function with most calls in it."""
    sizes: dict[str, int] = {}
    least, name = min((depth for depth, _ in run.calls), default=0), ""
    for depth, function in run.calls:
        name = function if depth == least else name
        sizes[name] = sizes.get(name, 0) + 1
    return run.woken or max(sizes, key=lambda each: sizes[each], default=run.did)
