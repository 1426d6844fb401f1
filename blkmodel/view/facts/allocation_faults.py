"""Scenarios in which one allocation fails: what was taken, when it was given back, and the failure's way out."""

from collections import Counter
from functools import lru_cache
from typing import NamedTuple

from blkmodel.trace import Alloc, Free, Log
from blkmodel.trace.replay import steps_of
from blkmodel.view.facts.recorded import SCENARIOS, live, recorded


class Taken(NamedTuple):
    """An allocation: its number in the scenario, what and how much, in which function; when, and when it was given
    back and in which function, if it was. Times count allocations and releases."""

    number: int
    kind: str
    size: int
    function: str
    at: int
    until: int
    freed_in: str


class Story(NamedTuple):
    """What a figure tells. cut: at which time the allocation failed. path: the calls it was in. before, after: how many
    allocations are live before it, and once everything is undone; left: how many differ in kind or size. made: what
    came of it all the same."""

    scenario: str
    allocation: int
    taken: list
    cut: int
    path: tuple
    error: object
    log: list
    before: int
    after: int
    left: int
    length: int
    made: str


@lru_cache(maxsize=32)
def story_of(scenario, allocation):
    done = recorded(scenario, allocation)
    after = _undone(scenario, done) if allocation else done.before
    events = done.recording.events
    taken, time, cut, path, open_ = [], 0, None, (), {}
    for step in steps_of(events, done.recording.forest()):
        for event in events[step.start:step.end]:
            if type(event) is Alloc:
                function = step.path[-1].function if step.path else ""
                taken.append(Taken(event.attempt - done.first + 1, event.kind, event.size, function, time, None, ""))
                if event.addr:
                    open_[event.addr] = len(taken) - 1
                else:
                    cut, path = time, step.path
            elif type(event) is Free and event.addr in open_:
                at = open_.pop(event.addr)
                function = step.path[-1].function if step.path else ""
                taken[at] = taken[at]._replace(until=time, freed_in=function)
            if type(event) in (Alloc, Free):
                time += 1
    log = [event.line for event in done.recording.of(Log)]
    return Story(scenario, allocation, taken, cut, path, done.error, log, len(done.before), len(after),
                 _differ(done.before, after), time, f", {done.made}" if done.made else "")


def _undone(scenario, done):
    """The live allocations at the end, after what succeeded has been undone."""
    if done.error is None:
        with done.kernel:
            SCENARIOS[scenario].undo()
    return live(done.kernel)


def _differ(before, after):
    """How many allocations are in one of the two only, by kind and size."""
    counts = Counter(before.values())
    counts.subtract(after.values())
    return sum(map(abs, counts.values()))


def given_back(story):
    """The allocations that are given back after the failure."""
    return [each for each in story.taken if story.cut is not None and each.until is not None and each.until > story.cut]


def alike(taken):
    """Allocations that follow each other and are alike, in one row: [[Taken, …], …]."""
    rows: list[list[Taken]] = []
    for each in taken:
        key = (each.kind, each.size, each.function, each.freed_in, each.until is None)
        if rows and key == (*rows[-1][-1][1:4], rows[-1][-1].freed_in, rows[-1][-1].until is None):
            rows[-1].append(each)
        else:
            rows.append([each])
    return rows
