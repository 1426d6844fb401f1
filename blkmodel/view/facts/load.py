"""What fio measures on a disk of the model: with processes that have a read each; with reads that come by chance."""

from functools import lru_cache
from typing import NamedTuple

from blkmodel import scenario
from blkmodel.device.controller import Controller
from blkmodel.device.service import Service
from blkmodel.sim import booted

_CPUS, _TURNS = 4, 40


class Load(NamedTuple):
    """iops: reads that ended a second; latency, stages: the mean time of a read, and how much of it it was in each of
    STAGES, in microseconds; columns: of `iostat -x`."""

    iops: float
    latency: float
    stages: tuple[float, ...]
    columns: dict[str, float]


@lru_cache(maxsize=64)
def load(jobs: str, tags: int = 1023, queues: int = 1, least: int = 100, extra: int = 0, servers: int = 0,
         scheduler: str = "none") -> Load:
    """Run fio's jobs, which are one or report as one, on an NVMe disk with so many queues, of so many tags each.

    least, extra: microseconds that a command takes, and that are drawn beyond, on average; servers: how many it serves
    at once (0: all).
    """
    with booted(_CPUS):
        service = Service(least * 1000, extra * 1000, in_order=False, servers=servers)
        scenario.nvme_probe(controller=Controller(queues, service=service), io_queue_depth=tags + 1)
        scenario.set_scheduler("nvme0n1", scheduler)
        done = scenario.run_workload("nvme0n1", jobs)
    said, bios = done.json["jobs"][0]["read"], done.bios["nvme0n1"]
    return Load(said["iops"], said["lat_ns"]["mean"] / 1000,
                tuple(spent / bios / 1000 for spent in done.spent["nvme0n1"]), done.disks[0].columns)


def readers(processes: int, least: int = 100, **disk: int | str) -> Load:
    """So many processes with one read at a time each, for as long as a disk takes for _TURNS reads one by one."""
    return load(f"[a]\nrw=randread\ndirect=1\nsize=8m\ntime_based\nruntime={_TURNS * least}us\nnumjobs={processes}\n"
                "group_reporting\n", least=least, **disk)


def arrivals(rate: int, count: int = 250, **disk: int | str) -> Load:
    """So many reads a second, which come by chance, whatever became of those before."""
    return load("[a]\nioengine=libaio\nrw=randread\ndirect=1\nsize=8m\nio_submit_mode=offload\nrate_process=poisson\n"
                f"iodepth=256\nio_size={4 * count}k\nrate_iops={rate}\n", **disk)
