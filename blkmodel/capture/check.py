"""`blkmodel check`: the model against recordings, a line a file."""

from __future__ import annotations

import gc
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count
from os import cpu_count
from pathlib import Path
from typing import Any, TextIO

from blkmodel import releases
from blkmodel.capture import calls, device, maps, sessions, tables
from blkmodel.capture.files import printable, shown
from blkmodel.capture.formats import CALLS, CAPTURE, DEVICE, DMSETUP, HOTPLUG, NR_REQUESTS, STATUSES, FormatError, read
from blkmodel.capture.observed import Watch
from blkmodel.capture.reference import boot_reference, leave_as_found, traced_step, try_step
from blkmodel.device import LATER
from blkmodel.errors import NotModelled
from blkmodel.reference.source import RELEASE
from blkmodel.sim import Context, HungTask, this
from blkmodel.sim.machine import from_capture
from blkmodel.trace import Command, Recording, record

PASSED, FAILED, SKIPPED, UNREADABLE = "passed", "failed", "not modelled yet", "unreadable"


@dataclass
class Outcome:
    """How one file fared. summary is one line; differences are a line each, of which a short report shows the first.

    facts: what a program may want to know beside (cases, paths, omissions).
    """

    file: str
    result: str
    summary: str
    differences: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


BETWEEN = 6_000_000_000
"""Nanoseconds from the end of a step of a recording's setup to the next: each was a command of its own, and took
so long that a queue's timer (5 seconds at most) had run out before the next one."""
MOST_TRIED = 16
"""On so many CPUs at most it is tried where something ran whose CPU is chance."""
MOST_SCHEDULES = 50
"""So many others are tried at most, where it is chance who goes first."""
GARBAGE = 400_000
"""So many objects more than there were are looked through for garbage: about as many as a hundred megabytes hold."""


def check_file(path: str | Path) -> Outcome:
    """Run the model in the situation that a recording is of, and compare. Never raises for what the file holds."""
    collecting = gc.isenabled()
    gc.disable()  # every case makes, and drops, a kernel of many objects
    try:
        return _check(path, read(path))
    except FormatError as why:
        return Outcome(str(path), UNREADABLE, why.message)
    except (MemoryError, RecursionError) as why:
        return Outcome(str(path), UNREADABLE, f"expected a recording that can be compared: {type(why).__name__}")
    finally:
        if collecting:
            gc.enable()


BEYOND = "case not modelled: "
Found = tuple[str, list[str], dict[str, Any]]
"""What came of a recording: as in an Outcome the summary, the differences and the facts."""


def _check(path: str | Path, document: dict[str, Any]) -> Outcome:
    release = document["kernel"]["release"]
    if document["format"] == CAPTURE:
        try:
            releases.version(release)
        except NotModelled as why:
            return Outcome(str(path), SKIPPED, why.what)
    elif release != RELEASE and not release.startswith(f"{RELEASE}."):
        return Outcome(str(path), SKIPPED, f"kernel {shown(release)[1:-1]}; the model is of Linux {RELEASE}")
    what, run = _CHECKS[document["format"]]
    try:
        summary, differences, facts = run(document)
    except NotModelled as why:
        return Outcome(str(path), SKIPPED, f"step {why.what}")
    except Exception as why:  # a bug of the model, or what it refuses: the other files are still to be checked
        return Outcome(str(path), FAILED, f"the model cannot run the {what}", [f"{type(why).__name__}: {why}"])
    unknown = [what for what in facts["chance"] if what.startswith(BEYOND)]
    if unknown and not facts["cases"]:
        return Outcome(str(path), SKIPPED, unknown[0], [], facts)
    return Outcome(str(path), FAILED if differences else PASSED, summary, differences, facts)


def _cases_of(compare: Callable[[dict[str, Any], Counter[str]], tables.Cases], document: dict[str, Any],
              unit: str = "cases") -> Found:
    """Compare all cases, or whatever else a recording is a list of."""
    chance: Counter[str] = Counter()
    found = list(compare(document, chance))
    passed = sum(not lines for _, lines in found)
    beyond = sum(times for what, times in chance.items() if what.startswith(BEYOND))
    rest = f", {beyond} not modelled (-v says why)" if beyond else ""
    return (f"{passed} of {len(found)} {unit}{rest}", [f"{case}: {line}" for case, lines in found for line in lines],
            {unit: len(found), "passed": passed, "chance": dict(sorted((+chance).items()))})


def _maps(document: dict[str, Any], chance: Counter[str]) -> tables.Cases:
    release, on = document["kernel"]["release"], from_capture(document["machine"])
    for i, case in enumerate(document["cases"]):
        if why := maps.not_modelled(document["machine"], case, release):
            chance[f"{BEYOND}{maps.describe(case)}: {why}"] += 1
            continue
        found = maps.compare_case(on, case, chance, release)
        yield f"cases[{i}], {maps.describe(case)}", found
        if gc.get_count()[0] > GARBAGE:
            gc.collect()


def _set_up(document: dict[str, Any], watch: Watch, anywhere: int | None, scans: int | None = None) -> dict[str, int]:
    """Boot, and do the steps before the traced one, with those who are bound to no CPU on `anywhere`; in these steps on
    `scans`, where partitions are to be looked for there. Returns what leave_as_found() does."""
    kernel = boot_reference(document["scenario"]["cpus"], watch.later, anywhere if scans is None else scans)
    for step in document["scenario"]["setup"]:
        try_step(step, watch.later)
        kernel.loop.advance(BETWEEN)
    kernel.anywhere = anywhere
    left = leave_as_found(document)
    watch.look("before")
    return left


class Turns:
    """A schedule: whose turn it is where several could go on or begin. late: whether commands of a controller end late,
    several at once. others: at which of these points, counted from 0, somebody else goes, and which. said: at each, who
    could; usual: and who does, where nobody else is to."""

    def __init__(self, others: dict[int, int], late: bool = False) -> None:
        self.others, self.late = others, late
        self.said: list[list[str]] = []
        self.usual: list[int] = []

    def choose(self, could: list[Context]) -> int:
        """Say who of these goes."""
        self.said.append([f"{each.name} on CPU {each.cpu}" if each.cpu >= 0 else each.name for each in could])
        self.usual.append(int(self.late and could[-1] is LATER))
        return self.others.get(len(self.said) - 1, self.usual[-1])

    def after(self) -> Iterator[Turns]:
        """The schedules that are this one up to its last choice, and choose otherwise once more."""
        for at in range(max(self.others, default=-1) + 1, len(self.said)):
            yield from (Turns({**self.others, at: other}, self.late) for other in range(len(self.said[at]))
                        if other != self.usual[at])

    def __str__(self) -> str:
        return "; ".join(["commands end late"] * self.late + [
            f"{self.said[at][other]} before {self.said[at][self.usual[at]]}" for at, other in self.others.items()])


def _calls(document: dict[str, Any]) -> Found:
    """Compare with a run of the model; where they differ, with others. In some, those who are bound to no CPU, workers
    and processes alike, run on each CPU in turn: which one that was is chance. In others, somebody else goes first
    where several could, or a controller ends a command late: that is chance as well, as far as the loop and the
    controller let choose. What came nearest before is tried in more ways first."""
    order, first = count(), None
    cpus = (None, *range(min(document["scenario"]["cpus"], MOST_TRIED)))
    left = [(0, n, next(order), Turns({}, late)) for late in (False, True) for n in range(len(cpus))]
    for _ in range(len(left) + MOST_SCHEDULES):
        if not left:
            break
        _, n, _, turns = heappop(left)
        try:
            found = _compared(document, cpus[n], turns)
        except HungTask:
            if first is None:
                raise
            continue
        if not found[1]:
            return found
        first = first or found
        for other in turns.after():
            heappush(left, (len(found[1]), n, next(order), other))
    assert first is not None
    return first


def _compared(document: dict[str, Any], anywhere: int | None, turns: Turns) -> Found:
    """Run the model in the situation of a recording of calls, and compare."""
    watch = Watch(document, traced_step(document))
    left = _set_up(document, watch, anywhere)
    if (cpu := watch.scanned_elsewhere()) is not None:
        left = _set_up(document, watch, anywhere, cpu)
    this().loop.choose = turns.choose
    recording = record(watch.run)
    this().loop.choose = None
    watch.look("after")
    found = calls.compare(document, recording, watch.own(recording))
    chance = Counter(found.chance | left)
    if turns.others or turns.late:
        chance[f"who goes first: {turns}"] += 1
    summary = f"{found.trees} trees, {found.share}"
    if found.omitted:
        summary += f", {sum(found.omitted.values())} calls omitted"
    if found.untraced:
        summary += f"; not traced in this recording: {', '.join(found.untraced)}"
    return (summary, [*found.differences, *watch.compare(recording, chance)],
            {"trees": found.trees, "paths_made": found.share.made, "paths": found.share.total,
             "omitted": found.omitted, "untraced": found.untraced, "chance": dict(+chance)})


def _device(document: dict[str, Any]) -> Found:
    scanned = 0  # commands before the first I/O that somebody asked for: they look for partitions
    boot_reference(document["scenario"]["cpus"], True)  # which the controller does not see of the first recordings
    with record() as recording:
        for step in document["scenario"]["steps"]:
            alone = scanned == _io_commands(recording)
            try_step(step, True)
            if alone and step[0] == "nvme.probe":
                scanned = _io_commands(recording)
    total = len(document["events"])
    return (f"{total} events", device.compare(document, device.events(recording), scanned),
            {"events": total, "chance": device.chance(document, scanned)})


def _io_commands(recording: Recording) -> int:
    return sum(event.queue > 0 for event in recording.of(Command))


_CHECKS: dict[str, tuple[str, Callable[[dict[str, Any]], Found]]] = {
    CALLS: ("scenario", _calls), DEVICE: ("scenario", _device),
    DMSETUP: ("session", partial(_cases_of, sessions.compare, unit="steps")),
    CAPTURE: ("cases", partial(_cases_of, _maps)), STATUSES: ("cases", partial(_cases_of, tables.statuses)),
    NR_REQUESTS: ("cases", partial(_cases_of, tables.nr_requests)),
    HOTPLUG: ("cases", partial(_cases_of, tables.hotplug))}
"""Format of a recording → what is run of it, in a word, and how the model is held against it."""


def check(paths: Iterable[str | Path], verbose: bool = False, as_json: bool = False, out: TextIO | None = None) -> int:
    """Check files, report, and return the exit status: 0, 1 where the model differs, 2 where a file can't be read.

    What cannot be read is said on standard error.
    """
    out = out or sys.stdout
    outcomes = []
    for outcome in _outcomes([str(path) for path in paths]):
        outcomes.append(outcome)
        if not as_json:
            _report(outcome, verbose, out)
    number = {result: sum(o.result == result for o in outcomes) for result in (PASSED, FAILED, SKIPPED, UNREADABLE)}
    if as_json:
        json.dump({"format": "blkmodel-check/1", **number, "files": [asdict(o) for o in outcomes]}, out, indent=1)
        out.write("\n")
    else:
        rest = "".join(f", {number[result]} {result}" for result in (SKIPPED, UNREADABLE) if number[result])
        print(f"{number[PASSED]} passed, {number[FAILED]} failed{rest}", file=out)
    return 2 if number[UNREADABLE] else 1 if number[FAILED] else 0


def _outcomes(paths: list[str]) -> Iterator[Outcome]:
    """Check files, as many at once as there are CPUs; yield the outcome of each, in order."""
    if (workers := min(len(paths), cpu_count() or 1)) == 1:
        yield from map(check_file, paths)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(check_file, paths)


def _report(outcome: Outcome, verbose: bool, out: TextIO) -> None:
    print(printable(f"{outcome.file}: {outcome.result}: {outcome.summary}", keep=""),
          file=sys.stderr if outcome.result == UNREADABLE else out)
    for line in outcome.differences if verbose else outcome.differences[:1]:
        print(printable(f"    {line}"), file=out)
    if not verbose and len(outcome.differences) > 1:
        print(f"    and {len(outcome.differences) - 1} more (-v shows all)", file=out)
    if verbose:
        for name, times in outcome.facts.get("omitted", {}).items():
            print(f"    omitted: {name}, {times} times", file=out)
        for what, times in outcome.facts.get("chance", {}).items():
            print(f"    let pass: {what}, {times} times", file=out)
