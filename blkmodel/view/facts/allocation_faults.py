"""Scenarios in which one allocation fails: what was taken, when it was given back, and the failure's way out."""

from collections import Counter
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from blkmodel.errors import KernelError
from blkmodel.services import KernelBug
from blkmodel.trace import Alloc, Free, Log, Node, under_way, walk
from blkmodel.view.facts.recorded import SCENARIOS, live, recorded


class Taken(NamedTuple):
    """An allocation: its number in the scenario, what and how much, in which function; when, and when it was given
    back and in which function, if it was. Times count allocations and releases."""

    number: int
    kind: str
    size: int
    function: str
    at: int
    until: int | None
    freed_in: str


class Story(NamedTuple):
    """What a figure tells. cut: at which time the allocation failed. path: the calls it was in. before, after: how many
    allocations are live before it, and once everything is undone; left: how many differ in kind or size. made: what
    came of it all the same."""

    scenario: str
    allocation: int
    taken: list[Taken]
    cut: int | None
    path: tuple[Node, ...]
    error: KernelBug | KernelError | None
    log: list[str]
    before: int
    after: int
    left: int
    length: int
    made: str


@lru_cache(maxsize=32)
def story_of(scenario: str, allocation: int) -> Story:
    """Run a scenario with its n-th allocation failing (0: none), take back what it did, and tell of it."""
    done = recorded(scenario, allocation)
    if allocation and done.error is None:
        with done.kernel:
            SCENARIOS[scenario].undo()
    after = live(done.kernel) if allocation else done.before
    taken: list[Taken] = []
    open_: dict[int, int] = {}
    time, cut = 0, None
    path: tuple[Node, ...] = ()
    for event, context, calls, _ in walk(done.recording, (Alloc, Free)):
        function = calls[-1].function if calls else ""
        if type(event) is Alloc:
            taken.append(Taken(event.attempt - done.first + 1, event.kind, event.size, function, time, None, ""))
            if event.addr:
                open_[event.addr] = len(taken) - 1
            else:
                at = next(at for at, each in enumerate(done.recording.events) if each is event)
                cut, path = time, tuple(under_way(done.recording.forest().get(context, []), at))
        elif type(event) is Free and event.addr in open_:
            at = open_.pop(event.addr)
            taken[at] = taken[at]._replace(until=time, freed_in=function)
        time += 1
    counts = Counter(done.before.values())
    counts.subtract(after.values())
    differ, log = sum(map(abs, counts.values())), [event.line for event in done.recording.of(Log)]
    return Story(scenario, allocation, taken, cut, path, done.error, log, len(done.before), len(after),
                 differ, time, f", {done.made}" if done.made else "")


def given_back(story: Story) -> list[Taken]:
    """The allocations that are given back after the failure."""
    return [each for each in story.taken if story.cut is not None and each.until is not None and each.until > story.cut]


def alike(taken: list[Taken]) -> list[list[Taken]]:
    """Allocations that follow each other and are alike, in one row: [[Taken, …], …]."""
    return [list(row) for _, row in groupby(taken, lambda each: (*each[1:4], each.freed_in, each.until is None))]
