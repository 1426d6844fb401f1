"""What fio measures on a disk of the model: with processes that have a read each; with reads that come by chance."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from blkmodel import scenario
from blkmodel.device import Controller, Service
from blkmodel.sim import booted

_CPUS = 4


class Load(NamedTuple):
    """iops: reads that ended a second; latency, stages: the mean time of a read, and how much of it it was in each of
    STAGES, in microseconds; columns: of `iostat -x`."""

    iops: float
    latency: float
    stages: tuple[float, ...]
    columns: dict[str, float]


@lru_cache(maxsize=64)
def load(*files: str, tags: int = 1023, queues: int = 1, least: int = 100, extra: int = 0, servers: int = 0,
         scheduler: str = "none") -> tuple[Load, ...]:
    """Run fio's job files, one after the other, on an NVMe disk with so many queues, of so many tags each. The jobs of
    a file are one or report as one.

    least, extra: microseconds that a command takes, and that are drawn beyond, on average; servers: how many it serves
    at once (0: all).
    """
    with booted(_CPUS):
        service = Service(least * 1000, extra * 1000, in_order=False, servers=servers)
        scenario.nvme_probe(controller=Controller(queues, service=service), io_queue_depth=tags + 1)
        scenario.set_scheduler("nvme0n1", scheduler)
        return tuple(map(_measured, files))


def _measured(jobs: str) -> Load:
    done = scenario.run_workload("nvme0n1", jobs)
    said, bios = done.json["jobs"][0]["read"], done.bios["nvme0n1"]
    return Load(said["iops"], said["lat_ns"]["mean"] / 1000,
                tuple(spent / bios / 1000 for spent in done.spent["nvme0n1"]), done.disks[0].columns)


def _readers(processes: int, microseconds: int) -> str:
    return (f"[a]\nrw=randread\ndirect=1\nsize=8m\ntime_based\nruntime={microseconds}us\nnumjobs={processes}\n"
            "group_reporting\n")


def readers(processes: int, least: int = 100, **disk: Any) -> Load:
    """So many processes with one read at a time each, for as long as a disk takes for 40 reads one by one."""
    return load(_readers(processes, 40 * least), least=least, **disk)[0]


def curve(depths: Sequence[int], tags: int, queues: int = 1, least: int = 100, servers: int = 0,
          scheduler: str = "none") -> tuple[Load, ...]:
    """What readers get, each number of `depths` of them: for as long as the disk takes for two reads of each, and for
    six where they wait for each other, since the line is not there from the beginning on, nor until the end."""
    turns = [max(-(-n // min(queues, _CPUS)) / tags, n / (servers or n)) for n in depths]
    files = [_readers(n, round(least * (2 if turn <= 1 else 6 * turn))) for n, turn in zip(depths, turns, strict=True)]
    return load(*files, tags=tags, queues=queues, least=least, servers=servers, scheduler=scheduler)


def arrivals(rates: Sequence[int], count: int = 250, **disk: Any) -> tuple[Load, ...]:
    """So many reads a second, of each rate `count`, which come by chance, whatever became of those before."""
    return load(*(f"[a]\nioengine=libaio\nrw=randread\ndirect=1\nsize=8m\nio_submit_mode=offload\niodepth={count}\n"
                  f"rate_process=poisson\nio_size={4 * count}k\nrate_iops={rate}\n" for rate in rates), **disk)
