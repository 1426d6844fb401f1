"""`blkmodel check`: the model against recordings, a line a file."""

import gc
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from os import cpu_count
from pathlib import Path
from typing import Any, TextIO

from blkmodel.capture import calls, device, maps, sessions, tables
from blkmodel.capture.files import printable, shown
from blkmodel.capture.formats import CALLS, CAPTURE, DEVICE, DMSETUP, HOTPLUG, NR_REQUESTS, STATUSES, FormatError, read
from blkmodel.capture.observed import Watch
from blkmodel.capture.reference import as_recorded, boot_reference, leave_as_found, traced_step
from blkmodel.errors import KernelError, NotModelled
from blkmodel.reference.source import RELEASE
from blkmodel.scenario import run_step
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
GARBAGE = 400_000
"""So many objects more than there were are looked through for garbage: about as many as a hundred megabytes hold."""


@contextmanager
def _collecting_seldom() -> Iterator[None]:
    """Let the interpreter not look for garbage by itself: every case makes, and drops, a kernel of many objects."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _collect() -> None:
    if gc.get_count()[0] > GARBAGE:
        gc.collect()


@_collecting_seldom()
def check_file(path: str | Path) -> Outcome:
    """Run the model in the situation that a recording is of, and compare. Never raises for what the file holds."""
    try:
        return _check(path, read(path))
    except FormatError as why:
        return Outcome(str(path), UNREADABLE, why.message)
    except (MemoryError, RecursionError) as why:
        return Outcome(str(path), UNREADABLE, f"expected a recording that can be compared: {type(why).__name__}")


def _check(path: str | Path, document: dict[str, Any]) -> Outcome:
    release = document["kernel"]["release"]
    if release != RELEASE and not release.startswith(f"{RELEASE}."):
        return Outcome(str(path), SKIPPED, f"kernel {shown(release)[1:-1]}; the model is of Linux {RELEASE}")
    compare = _CHECKS.get(document["format"])
    return compare(path, document) if compare else _check_cases(path, document)


def _check_maps(document: dict[str, Any], chance: Counter[str]) -> tables.Cases:
    for i, case in enumerate(document["cases"]):
        yield f"cases[{i}], {maps.describe(case)}", maps.compare_case(document["machine"], case, chance)
        _collect()


_CASES: dict[str, Callable[[dict[str, Any], Counter[str]], tables.Cases]] = {
    CAPTURE: _check_maps, STATUSES: tables.statuses, NR_REQUESTS: tables.nr_requests, HOTPLUG: tables.hotplug}


def _check_cases(path: str | Path, document: dict[str, Any]) -> Outcome:
    chance: Counter[str] = Counter()
    try:
        found = list(_CASES[document["format"]](document, chance))
    except NotModelled as why:
        return Outcome(str(path), SKIPPED, f"step {why.what}")
    except Exception as why:  # a bug of the model, or what it refuses: the other files are still to be checked
        return Outcome(str(path), FAILED, "the model cannot run the cases", [f"{type(why).__name__}: {why}"])
    differences = [f"{case}: {line}" for case, lines in found for line in lines]
    total, passed = len(found), sum(not lines for _, lines in found)
    return Outcome(str(path), FAILED if differences else PASSED, f"{passed} of {total} cases", differences,
                   {"cases": total, "passed": passed, "chance": dict(sorted((+chance).items()))})


def _try_step(step: list[Any], later: bool) -> None:
    """Do a step, as one of the `later` recordings or not. One that the kernel refuses is done, too: what it did until
    then is what is compared."""
    with suppress(KernelError):
        run_step(as_recorded(step, later))


def _set_up(document: dict[str, Any], watch: Watch, anywhere: int | None, scans: int | None = None) -> dict[str, int]:
    """Boot, and do the steps before the traced one, with those who are bound to no CPU on `anywhere`; in these steps on
    `scans`, where partitions are to be looked for there. Returns what leave_as_found() does."""
    kernel = boot_reference(document["scenario"]["cpus"], watch.later, anywhere if scans is None else scans)
    for step in document["scenario"]["setup"]:
        _try_step(step, watch.later)
        kernel.loop.advance(BETWEEN)
    kernel.anywhere = anywhere
    left = leave_as_found(document)
    watch.look("before")
    return left


def _check_calls(path: str | Path, document: dict[str, Any]) -> Outcome:
    """Compare with a run of the model; where they differ, with others in which those who are bound to no CPU, workers
    and processes alike, run on each CPU in turn: which one that was is chance."""
    found = None
    for anywhere in [None, *range(min(document["scenario"]["cpus"], MOST_TRIED))]:
        try:
            other, differences, chance = _compared(document, anywhere)
        except NotModelled as why:
            return Outcome(str(path), SKIPPED, f"step {why.what}")
        except Exception as why:  # a bug of the model, or a step that it refuses: other files are still to be checked
            return Outcome(str(path), FAILED, "the model cannot run the scenario", [f"{type(why).__name__}: {why}"])
        if found is None or not differences:
            found = other, differences, chance
        if not differences:
            break
    assert found is not None
    return _outcome_of_calls(path, *found)


def _compared(document: dict[str, Any], anywhere: int | None) -> tuple[calls.Comparison, list[str], Counter[str]]:
    """Run the model in the situation of a recording of calls, and compare. Returns the comparison, all differences, and
    what was let pass."""
    watch = Watch(document, traced_step(document))
    left = _set_up(document, watch, anywhere)
    if (cpu := watch.scanned_elsewhere()) is not None:
        left = _set_up(document, watch, anywhere, cpu)
    recording = record(watch.run)
    watch.look("after")
    found = calls.compare(document, recording, watch.own(recording))
    chance = Counter(found.chance | left)
    return found, [*found.differences, *watch.compare(recording, chance)], chance


def _outcome_of_calls(path: str | Path, found: calls.Comparison, differences: list[str],
                      chance: Counter[str]) -> Outcome:
    omitted = sum(found.omitted.values())
    summary = f"{found.trees} trees, {found.share}"
    if omitted:
        summary += f", {omitted} calls omitted"
    if found.untraced:
        summary += f"; not traced in this recording: {', '.join(found.untraced)}"
    return Outcome(str(path), FAILED if differences else PASSED, summary, differences,
                   {"trees": found.trees, "paths_made": found.share.made, "paths": found.share.total,
                    "omitted": found.omitted, "untraced": found.untraced, "chance": dict(+chance)})


def _check_device(path: str | Path, document: dict[str, Any]) -> Outcome:
    scenario = document["scenario"]
    scanned = 0  # commands before the first I/O that somebody asked for: they look for partitions
    try:
        boot_reference(scenario["cpus"], True)  # which the controller does not see of the first recordings
        with record() as recording:
            for step in scenario["steps"]:
                alone = scanned == _io_commands(recording)
                _try_step(step, True)
                if alone and step[0] == "nvme.probe":
                    scanned = _io_commands(recording)
    except NotModelled as why:
        return Outcome(str(path), SKIPPED, f"step {why.what}")
    except Exception as why:  # a bug of the model, or a step that it refuses: the other files are still to be checked
        return Outcome(str(path), FAILED, "the model cannot run the scenario", [f"{type(why).__name__}: {why}"])
    differences = device.compare(document, device.events(recording), scanned)
    total = len(document["events"])
    return Outcome(str(path), FAILED if differences else PASSED, f"{total} events", differences,
                   {"events": total, "chance": device.chance(document, scanned)})


def _io_commands(recording: Recording) -> int:
    return sum(event.queue > 0 for event in recording.of(Command))


def _check_session(path: str | Path, document: dict[str, Any]) -> Outcome:
    chance: Counter[str] = Counter()
    try:
        found = sessions.compare(document, chance)
    except NotModelled as why:
        return Outcome(str(path), SKIPPED, f"step {why.what}")
    except Exception as why:  # a bug of the model, or a step that it refuses: the other files are still to be checked
        return Outcome(str(path), FAILED, "the model cannot run the session", [f"{type(why).__name__}: {why}"])
    differences = [f"step {number}, {sessions.describe(step)}: {line}"
                   for number, (step, lines) in enumerate(zip(document["session"], found, strict=True), 1)
                   for line in lines]
    total = len(found)
    passed = sum(not lines for lines in found)
    return Outcome(str(path), FAILED if differences else PASSED, f"{passed} of {total} steps", differences,
                   {"steps": total, "passed": passed, "chance": dict(+chance)})


_CHECKS = {CALLS: _check_calls, DEVICE: _check_device, DMSETUP: _check_session}


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
    workers = min(len(paths), cpu_count() or 1)
    if workers == 1:
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
