"""fio's job files: which options the model has, and what their values come to."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from blkmodel.sim import MachineError, parse_cpulist

PERCENTILES = (1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99)
SYNC = ("sync", "psync", "pvsync2")
BYTES = {power + tail: 1024 ** n for n, power in enumerate(("", "k", "m", "g", "t")) for tail in ("", "b", "ib")}
TIMES = {"ns": 1, "us": 1_000, "ms": 1_000_000, "": 1_000_000_000, "s": 1_000_000_000, "m": 60_000_000_000,
         "h": 3_600_000_000_000}
_PATTERNS = {"read": "r", "write": "w", "randread": "r", "randwrite": "w", "rw": "rw", "readwrite": "rw",
             "randrw": "rw"}
Split = list[tuple[int, int]]
_4K = [(4096, 100)]


class JobError(ValueError):
    """A job file that the model cannot run; the message names the section, the option, its value, and what would do."""


@dataclass
class Job:
    """A job, with fio's names and defaults.

    split: for reads and for writes the sizes of blocks, in bytes, each with its share in percent. rate: bytes a second,
    rate_iops: I/Os a second, of reads and of writes; None: as fast as it goes. cpus_allowed: where its tasks may run;
    empty: anywhere. Times are nanoseconds. options, common: as they were written, of its own and in [global].
    """

    name: str
    filename: str = ""
    rw: str = "read"
    ioengine: str = "psync"
    split: tuple[Split, Split] = (_4K, _4K)
    iodepth: int = 1
    numjobs: int = 1
    cpus_allowed: tuple[int, ...] = ()
    rate: tuple[int | None, ...] = (None, None)
    rate_iops: tuple[int | None, ...] = (None, None)
    rate_process: str = "linear"
    io_submit_mode: str = "inline"
    size: int | None = None
    io_size: int | None = None
    offset: int = 0
    runtime: int = 0
    startdelay: int = 0
    time_based: int = 0
    direct: int = 0
    fsync: int = 0
    rwmixread: int = 50
    norandommap: int = 0
    hipri: int = 0
    randseed: int = 0
    percentile_list: tuple[float, ...] = PERCENTILES
    stonewall: int = 0
    group_reporting: int = 0
    thread: int = 0
    options: Mapping[str, str] = field(default_factory=dict)
    common: Mapping[str, str] = field(default_factory=dict)

    @property
    def sides(self) -> str:
        """"r", "w" or "rw"."""
        return _PATTERNS[self.rw]


def scaled(units: Mapping[str, int], such: str) -> Callable[[str], int]:
    """What reads a number with one of some units, and otherwise asks for `such`."""
    def read(text: str) -> int:
        if not (found := re.fullmatch(f"([0-9]{{1,15}})({'|'.join(units)})", text.lower())):
            raise ValueError(such)
        return int(found[1]) * units[found[2]]
    return read


def _number(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch("[0-9]{1,18}", text) or not low <= int(text) <= high:
            raise ValueError(f"a number from {low} to {high}")
        return int(text)
    return read


def _one_of(*names: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return text
    return read


def _both(read: Callable[[str], Any], default: Any = None) -> Callable[[str], tuple[Any, ...]]:
    """A value for reads, and after a comma one for writes (and one for trims, which no job of the model has)."""
    def both(text: str) -> tuple[Any, ...]:
        parts = [read(part.strip()) if part.strip() else default for part in text.split(",")[:2]]
        return tuple(parts * 2 if len(parts) == 1 else parts)
    return both


_bytes = scaled(BYTES, "a number of bytes such as 4096, 4k or 1g")
_time = scaled(TIMES, "a time such as 10 (seconds), 500ms or 20us")


def _block(text: str) -> Split:
    if not (size := _bytes(text)) or size % 512:
        raise ValueError("sizes of whole sectors of 512 bytes")
    return [(size, 100)]


def _bssplit(text: str) -> Split:
    pairs = [part.partition("/") for part in text.split(":")]
    given = [int(share) if share.isdecimal() else None for _, _, share in pairs]
    rest = 100 - sum(share or 0 for share in given)
    if rest < 0 or (rest and None not in given):
        raise ValueError("sizes with shares that make 100, such as 4k/60:64k/40")
    return [(_block(size)[0][0], rest // given.count(None) if share is None else share)
            for (size, _, _), share in zip(pairs, given, strict=True)]


def _cpus(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted(parse_cpulist(text)))
    except MachineError:
        raise ValueError("CPUs such as 0-3,8") from None


def _percentiles(text: str) -> tuple[float, ...]:
    if not re.fullmatch(r"([0-9]{1,3}(\.[0-9]{1,6})?:?){1,20}", text) or not all(
            0 < float(each or 0) <= 100 for each in text.split(":")):
        raise ValueError("up to 20 numbers above 0 and up to 100, such as 50:99:99.9")
    return tuple(sorted(map(float, text.split(":"))))


OPTIONS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "blocksize": ("split", _both(_block, _4K)), "bs": ("split", _both(_block, _4K)),
    "bssplit": ("split", _both(_bssplit, _4K)), "buffered": ("direct", lambda text: not _number(0, 1)(text)),
    "readwrite": ("rw", _one_of(*_PATTERNS)), "directory": ("filename", str),
    "rwmixwrite": ("rwmixread", lambda text: 100 - _number(0, 100)(text))}
_read: tuple[tuple[str, Callable[[str], Any]], ...] = (
    ("direct time_based norandommap hipri stonewall group_reporting thread", _number(0, 1)),
    ("iodepth numjobs", _number(1, 65536)), ("fsync randseed", _number(0, 1 << 40)), ("rwmixread", _number(0, 100)),
    ("size io_size offset", _bytes), ("runtime startdelay", _time), ("filename", str), ("rw", _one_of(*_PATTERNS)),
    ("ioengine", _one_of("libaio", *SYNC)), ("io_submit_mode", _one_of("inline", "offload")),
    ("rate_process", _one_of("linear", "poisson")), ("rate", _both(_bytes)), ("cpus_allowed", _cpus),
    ("rate_iops", _both(_number(1, 1 << 40))), ("percentile_list", _percentiles))
OPTIONS |= {name: (name, read) for names, read in _read for name in names.split()}
"""What a job file can say: the option → what it sets, and what reads its value."""
IGNORED = ("name", "description", "randrepeat", "cpus_allowed_policy")
"""Options that are as good as said: the same seed draws the same places, and a job's task stays on one CPU."""


def parse(text: str) -> list[Job]:
    """The jobs of a job file. JobError says what about it the model cannot run."""
    common: dict[str, str] = {}
    sections: list[tuple[str, dict[str, str], dict[str, str]]] = []
    into: dict[str, str] | None = None
    for line in filter(None, (re.split("[#;]", line)[0].strip() for line in text.splitlines())):
        if line == "[global]":
            into = common
        elif line[0] + line[-1] == "[]":
            sections.append((line[1:-1], dict(common), into := {}))
        elif into is None:
            raise JobError(f"{line!r}: before it a section must begin, [global] or one with the name of a job")
        else:
            option, _, value = map(str.strip, line.partition("="))
            into[option] = value
    return [job_of(*section) for section in sections]


def job_of(name: str, common: Mapping[str, str], own: Mapping[str, str]) -> Job:
    """A job of that name, by its options as texts, which come after common ones. JobError names one that cannot be."""
    job = Job(own.get("name", name), options=own, common=common)
    for option, text in [*common.items(), *own.items()]:
        said = f"[{name}] {option}={text}"
        if option in OPTIONS:
            sets, read = OPTIONS[option]
            try:
                setattr(job, sets, read(text or "1"))
            except ValueError as why:
                raise JobError(f"{said}: the model takes {why}") from None
        elif option not in IGNORED:
            raise JobError(f"{said}: the model has no such option; it has {', '.join(sorted(OPTIONS))}")
    if job.ioengine in SYNC:
        job.iodepth = 1
    for option, wrong, right in (
            ("io_submit_mode", job.io_submit_mode == "offload" and (job.ioengine in SYNC or job.fsync),
             "offload with ioengine=libaio and without fsync"),
            ("hipri", job.hipri and job.ioengine != "pvsync2", "it with ioengine=pvsync2"),
            ("rate_process", job.rate_process == "poisson" and not any(job.rate_iops), "poisson with rate_iops")):
        if wrong:
            raise JobError(f"[{name}] {option}: the model takes {right}")
    return job
