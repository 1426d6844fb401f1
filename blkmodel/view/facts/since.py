"""The calls of an I/O in Linux 5.4 and in 6.12, line beside line, and what was renamed, removed and added meanwhile.

The one side is what the model calls, the other what a kernel was recorded to call in the same scenario, both with the
functions that a tracer could see. reference/since.tsv says of a change the release that was the first, of those whose
sources were read, to have it, and which commit it was. Read were 5.4.120, 5.7.14, 5.8.1, 5.9.2, 5.10.7, 5.11.14,
5.12.9, 5.14.2, 5.15.16, 5.17-rc5, 5.19, 6.0.1, 6.1-rc7, 6.2.1, 6.3.8, 6.4.6, 6.5, 6.6.9, 6.8.1, 6.9, 6.11.11 and 6.12;
of 5.13, 5.16, 5.18 and 6.10 what was asked to be merged into them. `-` is a commit that is not known.
"""

import json
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

from blkmodel import scenario
from blkmodel.capture import trees
from blkmodel.reference.source import comparable, rows
from blkmodel.sim import booted
from blkmodel.trace import record

RENAMED, REMOVED, ADDED, STILL = "renamed", "removed", "added", "still there"
MOVED, UNSEEN = "moved", "not seen"
SCENES = {"read 4 KiB from NVMe": "read-4k", "write 4 KiB to NVMe": "write-4k",
          "read 4 KiB from null_blk": "null_blk-read-4k", "read 4 KiB through dm-linear": "dm-linear-read-4k",
          "read 4 KiB through multipath": "dm-multipath-read-4k", "create a mapped device": "dm-create"}
_UNTRACED = frozenset({"drivers/block/null_blk_main.c"})
"""What was loaded after the tracer began."""


class Change(NamedTuple):
    """A function that another release has otherwise; `-` stands for none. The same name twice: it is still there, but
    inline, or called by others."""

    then: str
    now: str
    since: str
    commit: str
    why: str

    @property
    def kind(self) -> str:
        """What became of it, in a word."""
        return ADDED if self.then == "-" else REMOVED if self.now == "-" else \
            STILL if self.then == self.now else RENAMED


class Line(NamedTuple):
    """A call, so deep below the first one of its context. above: the call that made it."""

    depth: int
    name: str
    above: str


class Row(NamedTuple):
    """A call then, and the call that takes its place now. changes: why they differ. kind: of the last of these; where
    there are none, "" for a call that is as it was, and for a task that only one side has; MOVED if the other side has
    the call elsewhere, or else UNSEEN."""

    then: Line | None
    now: Line | None
    kind: str = ""
    changes: tuple[Change, ...] = ()


@cache
def changes() -> tuple[Change, ...]:
    """All that is known, oldest first."""
    return tuple(Change(*row) for row in rows("since.tsv"))


@cache
def renamed(name: str) -> tuple[Change, ...]:
    """The names that a function got since 5.4, one after the other."""
    found: list[Change] = []
    for change in changes():
        if change.then == name and change.kind == RENAMED and not (found and found[-1].since == change.since):
            found.append(change)
            name = change.now
    return tuple(found)


@cache
def _origins() -> dict[str, tuple[Change, ...]]:
    """What functions of now are called → how the first that became it got there."""
    return {chain[-1].now: chain for each in reversed(changes()) if (chain := renamed(each.then))}


def name_now(name: str) -> str:
    """What a function of 5.4 is called now, if it is there."""
    chain = renamed(name)
    return chain[-1].now if chain else name


@cache
def _later() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((files("blkmodel.reference") / "later.json").read_text())
    return found


def then(scene: str) -> tuple[Line, ...]:
    """What the model calls: tasks, then interrupts, but for those that were not recorded of the later kernel at all."""
    told, recorded = _later()[scene]["scenario"], {(line.above, line.name) for line in now(scene)}
    with booted(told["cpus"]):
        for step in told["setup"]:
            scenario.run_step(step)
        recording = record(scenario.run_step, told["traced"], watched=())
    forests = [(recording.contexts[number].kind, nodes) for number, nodes in recording.forest(told["roots"]).items()]
    return tuple(line for kind, nodes in sorted(forests, key=lambda each: each[0] != "task")
                 if kind == "task" or (kind, nodes[0].function) in recorded
                 for line in _lines(kind, trees.keep(trees.of_nodes(nodes, _UNTRACED), comparable().__contains__)))


def now(scene: str) -> tuple[Line, ...]:
    """What a later kernel was recorded to call."""
    return tuple(line for kind, calls in _later()[scene]["contexts"]
                 for line in _lines(kind, trees.expand(calls)))


def _lines(kind: str, forest: trees.Forest) -> Iterator[Line]:
    """The calls of a context, in their order: first stands what kind of context it is."""
    return (Line(len(path) - 1, path[-1], path[-2] if path[1:] else "") for path, _ in trees.walk(((kind, forest),)))


@lru_cache(maxsize=len(SCENES))
def beside(scene: str) -> tuple[Row, ...]:
    """The calls of both, as many as possible in pairs: of one name, or of a name that became the other; rather those
    whose callers are a pair as well."""
    left, right = then(scene), now(scene)
    names = {line.name: name_now(line.name) for line in left}
    there = {line.name for line in right}
    best = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i, old in reversed([*enumerate(left)]):
        row, below, name, above = best[i], best[i + 1], names[old.name], names.get(old.above, "")
        for j, new in reversed([*enumerate(right)]):
            row[j] = max(below[j], row[j + 1])
            if new.name == name:
                row[j] = max(row[j], below[j + 1] + (3 if new.above == above else 2))
    found: list[Row] = []
    i = j = 0
    while i < len(left) or j < len(right):
        without_old = best[i + 1][j] if i < len(left) else -1
        without_new = best[i][j + 1] if j < len(right) else -1
        if best[i][j] > max(without_old, without_new):
            told = renamed(left[i].name)
            found.append(Row(left[i], right[j], RENAMED if told else "", told))
            i, j = i + 1, j + 1
        elif best[i][j] == without_old:
            name = left[i].name
            found.append(Row(left[i], None, *_alone(left[i], _gone(name), names[name] in there)))
            i += 1
        else:
            name = right[j].name
            found.append(Row(None, right[j], *_alone(right[j], _come(name), name in names.values())))
            j += 1
    return tuple(found)


def _alone(line: Line, told: tuple[Change, ...], elsewhere: bool) -> tuple[str, tuple[Change, ...]]:
    return told[-1].kind if told else (MOVED if elsewhere else UNSEEN) if line.depth else "", told


def _gone(name: str) -> tuple[Change, ...]:
    """What became of a function of 5.4."""
    chain = renamed(name)
    last = chain[-1].now if chain else name
    return chain + tuple(each for each in changes() if each.then == last and each.kind in (REMOVED, STILL))


def _come(name: str) -> tuple[Change, ...]:
    """Where a function of now came from."""
    return _origins().get(name) or tuple(
        each for each in changes() if each.now == name and each.kind in (ADDED, STILL))


def differences(scene: str) -> tuple[tuple[Change, ...], ...]:
    """What is to be told of a scene, each once, in the order of the calls."""
    return tuple(dict.fromkeys(row.changes for row in beside(scene) if row.changes))
