"""fio: job files run on a machine of the model, in virtual time. What takes time is the disks alone, and each says how
much: so the order of things is the kernel's, and the nanoseconds are whatever was chosen."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from blkmodel.device import Service
from blkmodel.include.linux.genhd import part_stat_counted
from blkmodel.services import whole_disks
from blkmodel.sim import this
from blkmodel.userland.fio.jobs import TIMES, JobError, job_of, parse, scaled
from blkmodel.userland.fio.report import Report, Used
from blkmodel.userland.fio.run import run
from blkmodel.userland.fio.stages import Watch, iostat


def run_workload(disk: str | None = None, jobs: str | Sequence[Mapping[str, Any]] = (), watch: bool = True) -> Report:
    """Run fio's jobs on the current machine, and say what came of them.

    jobs: the text of a job file; or for each job its options, "name" among them. disk: the one for jobs that name no
    disk of the machine. watch: whether to note the stages of each bio, which takes a little longer. JobError says what
    the model cannot run.
    """
    asked = parse(jobs) if isinstance(jobs, str) else [job_of(f"job{n}", {}, {
        key: str(int(value)) if isinstance(value, bool) else str(value) for key, value in each.items()})
        for n, each in enumerate(jobs, 1)]
    if not asked:
        raise JobError("there is no job: a section with its name begins one, such as [job1]")
    disks, began = list(whole_disks().values()), this().now
    before = [part_stat_counted(each.part0, 0) for each in disks]
    with Watch(disks if watch else ()) as seen:
        groups = run(asked, disk)
    used = []
    for each, early in zip(disks, before, strict=True):
        counted = [b - a for a, b in zip(early, part_stat_counted(each.part0, 0), strict=True)]
        if any(counted):
            used.append(Used(each.disk_name, counted, iostat(counted, this().now - began)))
    return Report(asked, groups, used, seen.spent, seen.bios)


def service_of(text: str, read: Callable[[str], Any], seed: int = 0) -> Service:
    """The service that words such as `least=80us,extra=20us,servers=4` describe, by the fields of Service; or
    `like=FILE`, by the completion latencies in fio's own JSON, which read(FILE) returns. ValueError: it is none."""
    values: dict[str, Any] = {"in_order": False, "seed": seed}
    expected = f"{text!r}: expected least=TIME, extra=TIME, servers=NUMBER, like=FILE, with commas between them"
    for name, _, value in (word.strip().partition("=") for word in text.split(",")):
        if name == "like":
            values["quantiles"] = measured(read(value))
        elif name in ("least", "extra", "servers"):
            values[name] = scaled({"": 1} if name == "servers" else TIMES, expected)(value)
        else:
            raise ValueError(expected)
    return Service(**values)


def measured(output: Any) -> tuple[tuple[float, int], ...]:
    """The quantiles of a Service by what fio measured: its JSON, of which the first job's reads or else writes count.
    ValueError where there are none."""
    try:
        job = output["jobs"][0]
        lat = next(job[kind]["clat_ns"] for kind in ("read", "write") if job[kind]["clat_ns"]["N"])
        ranks = sorted((float(rank) / 100, int(value)) for rank, value in lat["percentile"].items())
        low, high = int(lat["min"]), int(lat["max"])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, StopIteration):
        raise ValueError("expected fio's JSON, with completion latencies and percentiles of its first job") from None
    return ((0.0, low), *((rank, min(max(value, low), high)) for rank, value in ranks if rank < 1), (1.0, high))
