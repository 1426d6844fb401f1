"""What fio says of its jobs when they have ended: as JSON, and as text, with fio's words, fields and ways to round.

Rates are of virtual time, to the nanosecond. Processors take none, and nothing is sampled while jobs run: what fio
says of that is 0.
"""

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import ceil, log10, sqrt
from typing import Any, NamedTuple

from blkmodel.errors import NAMES
from blkmodel.include.linux.blkdev import READ, WRITE
from blkmodel.userland.fio.jobs import SYNC, Job
from blkmodel.userland.fio.run import SYNC_IO, Clone
from blkmodel.userland.fio.stages import COLUMNS, STAGES

VERSION = "fio-3.33-blkmodel"
_KINDS = {"read": READ, "write": WRITE}
_LATENCIES = (2, 4, 10, 20, 50, 100, 250, 500, 750, 1000)
_DEPTHS = {"1": 1, "2": 2, "4": 4, "8": 8, "16": 16, "32": 32, ">=64": 64}
_BATCHES = {"0": 0, "4": 1, "8": 5, "16": 9, "32": 17, "64": 33, ">=64": 65}
"""The buckets for how many were under way, and for how many began or ended at once: name → the least in it."""


class Used(NamedTuple):
    """By how much the numbers of a disk in /sys/block/DISK/stat grew in a run; and what `iostat -x` makes of that."""

    name: str
    counted: list[int]
    columns: dict[str, float]


def bucket(number: int) -> int:
    """The middle of the bucket that fio counts a time in: each has one 64th of a power of two."""
    bits = max(number.bit_length() - 7, 0)
    return (number >> bits << bits) + (1 << bits >> 1)


def _times(times: Sequence[int], wanted: Sequence[float] = ()) -> dict[str, Any]:
    """Times in short: the least, the largest, their mean, the deviation of a sample, how many, and percentiles."""
    count, ranked = len(times), sorted(times) if wanted else ()
    mean = sum(times) / max(count, 1)
    found: dict[str, Any] = {
        "min": min(times, default=0), "max": max(times, default=0), "mean": mean,
        "stddev": sqrt(sum((each - mean) ** 2 for each in times) / max(count - 1, 1)), "N": count}
    if ranked:
        found["percentile"] = {f"{each:.6f}": bucket(ranked[ceil(round(each * count / 100, 6)) - 1]) for each in wanted}
    return found


def _shares(numbers: Counter[int], starts: dict[str, int], total: int, least: float) -> dict[str, float]:
    """Of `total` the percentages that are in buckets, and where it is any, at least so much."""
    found, names = dict.fromkeys(starts, 0), list(starts)
    for number, count in numbers.items():
        found[names[bisect_right(list(starts.values()), number) - 1]] += count
    return {name: max(100 * count / max(total, 1), least) if count else 0.0 for name, count in found.items()}


def _side(clones: list[Clone], rw: int | None, elapsed: int) -> dict[str, Any]:
    """What is said of the reads or the writes of clones; None: of what none of them does."""
    slat, clat, lengths = ([each for clone in clones if rw is not None for each in getattr(clone.sides[rw], name)]
                           for name in ("slat", "clat", "lengths"))
    speed, own = (sum(lengths) * 1e9 / elapsed, elapsed // 1_000_000) if clat and elapsed else (0.0, 0)
    none = {"bw_min": 0, "bw_max": 0, "bw_agg": 0.0, "bw_mean": 0.0, "bw_dev": 0.0, "bw_samples": 0, "iops_min": 0,
            "iops_max": 0, "iops_mean": 0.0, "iops_stddev": 0.0, "iops_samples": 0}
    return {"io_bytes": sum(lengths), "io_kbytes": sum(lengths) // 1024, "bw_bytes": int(speed),
            "bw": int(speed) // 1024, "iops": len(clat) * 1e9 / elapsed if elapsed else 0.0, "runtime": own,
            "total_ios": len(clat), "short_ios": 0, "drop_ios": 0,
            "slat_ns": _times(slat if clones[0].job.ioengine not in SYNC else ()),
            "clat_ns": _times(clat, clones[0].job.percentile_list),
            "lat_ns": _times([before + after for before, after in zip(slat, clat, strict=True)]), **none}


def _said(options: Mapping[str, str]) -> dict[str, str]:
    """The options that have a value: fio tells of no others."""
    return {option: text for option, text in options.items() if text}


def _job(group: int, clones: list[Clone]) -> dict[str, Any]:
    """What is said of a clone, or of those of a group together."""
    job, elapsed = clones[0].job, max(each.end - each.begin for each in clones)
    syncs = [time for each in clones for time in each.sides[SYNC_IO].clat]
    depths, ends = (sum((getattr(each, name) for each in clones), Counter[int]()) for name in ("depths", "ends"))
    times = [time for each in clones for rw in _KINDS.values() for time in each.sides[rw].clat]
    units = Counter[int](), Counter[int](), Counter[int]()
    for time in times:
        unit = (time >= 1000) + (time >= 1_000_000)
        units[unit][time // 1000 ** unit] += 1
    tops = [{str(top): low for low, top in zip((0, *tops), tops, strict=False)}
            for tops in (_LATENCIES, _LATENCIES, (*_LATENCIES, 2000))]
    tops[2][">=2000"] = 2000
    lat = [_shares(numbers, starts, len(times), 0.01) for numbers, starts in zip(units, tops, strict=True)]
    return {
        "jobname": job.name, "groupid": group, "error": next((each.error for each in clones if each.error), 0),
        "eta": 0, "elapsed": -(-elapsed // 1_000_000_000), "job options": _said(job.options),
        **{kind: _side(clones, rw, elapsed) for kind, rw in (*_KINDS.items(), ("trim", None))},
        "sync": {"total_ios": len(syncs), "lat_ns": _times(syncs, job.percentile_list)},
        "job_runtime": sum(each.end - each.begin for each in clones) // 1_000_000,
        "usr_cpu": 0.0, "sys_cpu": 0.0, "ctx": 0, "majf": 0, "minf": 0,
        "iodepth_level": _shares(depths, _DEPTHS, len(times), 0.1),
        "iodepth_submit": _shares(Counter({1: len(times)}), _BATCHES, len(times), 0.1),
        "iodepth_complete": _shares(ends, _BATCHES, sum(ends.values()), 0.1),
        "latency_ns": lat[0], "latency_us": lat[1], "latency_ms": lat[2], "latency_depth": job.iodepth,
        "latency_target": 0, "latency_percentile": 100.0, "latency_window": 0}


class Report:
    """What came of a run of jobs: `json` as fio says it; `disks` that they used; and for each disk of `bios` how many
    bios there were, and the nanoseconds that all of them were in each of STAGES (`spent`)."""

    def __init__(self, jobs: Sequence[Job], groups: list[list[Clone]], disks: list[Used], spent: dict[str, list[int]],
                 bios: dict[str, int]) -> None:
        self.jobs, self.disks, self.spent, self.bios = jobs, disks, spent, bios
        self.clones = [clone for clones in groups for clone in clones]
        entries, self._members = [], list[int]()
        for group, clones in enumerate(groups):
            together = [each for each in clones if each.job.group_reporting]
            alone = [[each] for each in clones if not each.job.group_reporting]
            for each in filter(None, (*alone, together)):
                entries.append(_job(group, each))
                self._members.append(len(each))
        end = max(clone.end for clone in self.clones)
        self.json: dict[str, Any] = {
            "fio version": VERSION, "timestamp": end // 1_000_000_000, "timestamp_ms": end // 1_000_000,
            "time": f"{datetime.fromtimestamp(end // 1_000_000_000, UTC):%a %b %e %H:%M:%S %Y}",
            "global options": _said(jobs[0].common), "jobs": entries,
            "disk_util": [{
                "name": name, "read_ios": said[0], "write_ios": said[4], "read_merges": said[1], "write_merges":
                said[5], "read_ticks": said[3], "write_ticks": said[7], "in_queue": said[10], "util": columns["%util"]}
                for name, said, columns in disks]}

    def as_json(self) -> str:
        """What fio prints with --output-format=json."""
        return json.dumps(self.json, indent=2, separators=(",", " : ")) + "\n"

    def text(self) -> str:
        """What fio prints."""
        lines, group = [], -1
        for job in self.jobs:
            group += bool(job.stonewall) or group < 0
            sizes = [f"({name}) " + "-".join(f"{pick(size for size, _ in job.split[rw])}B" for pick in (min, max))
                     for name, rw in (("R", READ), ("W", WRITE), ("T", WRITE))]
            lines.append(f"{job.name}: (g={group}): rw={job.rw}, bs={', '.join(sizes)}, ioengine={job.ioengine}, "
                         f"iodepth={job.iodepth}" + "\n..." * (job.numjobs > 1))
        kinds = Counter("thread" if clone.job.thread else "process" for clone in self.clones)
        started = [f"{count} {kind}{('es' if kind == 'process' else 's') * (count > 1)}"
                   for kind, count in sorted(kinds.items())]
        lines += [VERSION, f"Starting {' and '.join(started)}", ""]
        for number, entry in enumerate(self.json["jobs"]):
            lines += self._entry(number, entry)
        for group in sorted({entry["groupid"] for entry in self.json["jobs"]}):
            lines += ["", f"Run status group {group} (all jobs):", *self._group(group)]
        lines += ["", "Disk stats (read/write):"]
        lines += [f"  {d['name']}: ios={d['read_ios']}/{d['write_ios']}, merge={d['read_merges']}/{d['write_merges']}, "
                  f"ticks={d['read_ticks']}/{d['write_ticks']}, in_queue={d['in_queue']}, util={d['util']:.2f}%"
                  for d in self.json["disk_util"]]
        return "\n".join(lines) + "\n"

    def more(self) -> str:
        """Where bios spent their time, and what `iostat -x` would say, with what each column means."""
        lines = []
        for disk, bios in self.bios.items():
            if bios:
                lines += ["", f"{disk}: {bios} bios, on average"]
                lines += [f"{spent / bios / 1000:12.2f} usec {stage}"
                          for stage, spent in zip(STAGES, self.spent[disk], strict=True)]
        for disk, _, columns in self.disks:
            lines += ["", f"iostat -x {disk}"]
            lines += [f"{value:12.2f} {name:8} {COLUMNS[name]}" for name, value in columns.items()]
        return "\n".join(lines) + "\n"

    def _entry(self, number: int, entry: dict[str, Any]) -> list[str]:
        error = f" ({NAMES.get(entry['error'], entry['error'])})" if entry["error"] else ""
        lines = [f"{entry['jobname']}: (groupid={entry['groupid']}, jobs={self._members[number]}): "
                 f"err={entry['error']:2d}{error}: pid={number + 1}: {self.json['time']}"]
        for kind in _KINDS:
            said = entry[kind]
            if said["bw_bytes"]:
                lines += [f"  {kind}: IOPS={short(said['iops'])}, BW={_speed(said['bw_bytes'])}"
                          f"({short(said['io_bytes'], 4, 1024, 'B')}/{said['runtime']}msec)"
                          + "; 0 zone resets" * (kind == "write")]
                lines += [_line(name, said[f"{name.strip()}_ns"]) for name in ("slat", "clat", " lat")
                          if said[f"{name.strip()}_ns"]["N"]]
                lines += _ranks("clat", said["clat_ns"]["percentile"])
        for unit in ("nsec", "usec", "msec"):
            shown = [f"{top}={share:.2f}%" for top, share in entry[f"latency_{unit[0]}s"].items() if share]
            lines += [f"  lat ({unit})   : {', '.join(shown[at:at + 5])}" for at in range(0, len(shown), 5)]
        if (syncs := entry["sync"])["total_ios"]:
            lines += ["  fsync/fdatasync/sync_file_range:", _line("sync", syncs["lat_ns"]),
                      *_ranks("sync", syncs["lat_ns"]["percentile"])]
        lines.append("  cpu          : usr={usr_cpu:.2f}%, sys={sys_cpu:.2f}%, ctx={ctx}, majf={majf}, minf={minf}"
                     .format_map(entry))
        for head, name in (("  IO depths   ", "level"), ("     submit   ", "submit"), ("     complete ", "complete")):
            lines.append(f"{head} : " + ", ".join(f"{k}={share:.1f}%" for k, share in entry[f"iodepth_{name}"].items()))
        counts = [entry[kind]["total_ios"] for kind in (*_KINDS, "trim", "sync")]
        return [*lines, f"     issued rwts: total={','.join(map(str, counts))} short=0,0,0,0 dropped=0,0,0,0",
                f"     latency   : target=0, window=0, percentile=100.00%, depth={entry['latency_depth']}"]

    def _group(self, group: int) -> Iterable[str]:
        for kind in _KINDS:
            own = [each for each in self.json["jobs"] if each["groupid"] == group and each[kind]["bw_bytes"]]
            if own:
                moved, times, speeds = ([each[kind][name] for each in own] for name in
                                        ("io_bytes", "runtime", "bw_bytes"))
                seconds = max(each[kind]["io_bytes"] / each[kind]["bw_bytes"] for each in own)
                pairs = ["-".join(short(edge(speeds), 4, base, "B/s") for edge in (min, max)) for base in (1024, 1000)]
                yield (f"{kind.upper():>7}: bw={_speed(sum(moved) / seconds)}, {pairs[0]} ({pairs[1]}), "
                       f"io={short(sum(moved), 4, 1024, 'B')} ({short(sum(moved), 4, 1000, 'B')}), "
                       f"run={min(times)}-{max(times)}msec")


def short(value: float, digits: int = 4, base: int = 1000, unit: str = "") -> str:
    """A number with a prefix where it has more than so many digits, as fio shortens it."""
    whole, rest, power = int(value), 0, 0
    while len(str(whole)) > digits:
        whole, rest = divmod(whole, base)
        power += 1
    places = digits - len(str(whole)) - 1 if power else 0
    return (f"{whole + rest / base:.{max(places, 0)}f}" + (("", "Ki", "Mi", "Gi", "Ti") if base == 1024 else
                                                          ("", "k", "M", "G", "T"))[power] + unit)


def _speed(value: float) -> str:
    return f"{short(value, 4, 1024, 'B/s')} ({short(value, 4, 1000, 'B/s')})"


def _line(name: str, said: dict[str, Any]) -> str:
    """slat, clat or lat in a line, in the unit in which they can be read."""
    power = next((power for power in (2, 1) if said["min"] > 2 * 1000 ** power and said["max"] >= 100 * 1000 ** power
                  and said["stddev"] > 1000 ** power), 0)
    low, high, mean, spread = (said[key] / 1000 ** power for key in ("min", "max", "mean", "stddev"))
    return (f"    {name} ({'num'[power]}sec): min={short(low, 6)}, max={short(high, 6)}, avg={mean:5.2f}, "
            f"stdev={spread:5.2f}")


def _ranks(name: str, found: dict[str, int]) -> list[str]:
    """The lines with percentiles."""
    low, high = min(found.values()), max(found.values())
    power = next((power for power in (2, 1) if low > 2 * 1000 ** power and high >= 100 * 1000 ** power), 0)
    width = max(5, int(log10(max(high // 1000 ** power, 1)) + 1))
    places = max(len(each.rstrip("0").partition(".")[2]) for each in found) or 1
    cells = [f" {float(each):{places + 3}.{places}f}th=[{-(-value // 1000 ** power):{width}d}]"
             for each, value in found.items()]
    row = 73 // (10 + places + width)
    lines = ["     |" + ",".join(cells[at:at + row]) for at in range(0, len(cells), row)]
    return [f"    {name} percentiles ({'num'[power]}sec):", *(line + "," for line in lines[:-1]), lines[-1]]
