"""What a kernel was recorded to do and what the model does, call by call: which of them stand beside each other.

    rows = side_by_side(json.loads(Path("read-4k.json").read_text()), recording, "irq")
"""

from collections.abc import Generator, Iterable, Iterator
from typing import Any, NamedTuple

from blkmodel.capture import trees
from blkmodel.capture.calls import untraced_files
from blkmodel.capture.trees import Forest
from blkmodel.reference import mirror
from blkmodel.reference.source import comparable
from blkmodel.trace import Recording


class Line(NamedTuple):
    """A call, so deep in its tree. file: where the function is, if the model knows it."""

    depth: int
    function: str
    file: str | None


class Row(NamedTuple):
    """A call of the kernel beside the model's; None where only the other side can show it."""

    theirs: Line | None
    ours: Line | None
    differs: bool


def side_by_side(document: dict[str, Any], recording: Recording, kind: str = "task") -> list[Row]:
    """Pair the calls in one kind of context of a `blkmodel-calls/1` document with those of a recording of the model.

    Calls that both can show are paired in their order, and differ if they are of different functions. The others stand
    alone: what the model leaves out, and what the kernel's tracer could not see.
    """
    recorded = [(context["context"], trees.expand(context["calls"])) for context in document["contexts"]]
    forests = recording.forest(document["scenario"]["roots"])
    files = {node.function: node.file for nodes in forests.values() for tree in nodes for node in tree.walk()}
    seen = frozenset().union(*(trees.functions(forest) for _, forest in recorded))
    untraced = untraced_files(seen, forests, "observed" in document)
    shown = {name for name in comparable() - mirror.uncompared() if files.get(name) not in untraced}
    theirs = [line for its_kind, forest in recorded if its_kind == kind for line in _lines(forest, files)]
    ours = [line for number, nodes in forests.items() if recording.contexts[number].kind == kind
            for line in _lines(trees.of_nodes(nodes), files)]
    return list(_rows(theirs, ours, shown))


def _lines(forest: Forest, files: dict[str, str]) -> Iterator[Line]:
    """Flatten a forest, in the order of the calls."""
    return (Line(len(path) - 1, path[-1], files.get(path[-1])) for path, _ in trees.walk(forest))


def _rows(theirs: Iterable[Line], ours: Iterable[Line], shown: set[str]) -> Iterator[Row]:
    left, right = iter(theirs), iter(ours)
    while True:
        their = yield from _up_to(left, shown, True)
        our = yield from _up_to(right, shown, False)
        if their is None and our is None:
            return
        yield Row(their, our, their is None or our is None or their.function != our.function)


def _up_to(lines: Iterator[Line], shown: set[str], theirs: bool) -> Generator[Row, None, Line | None]:
    """Yield the lines that only one side can show; return the next that both can, or None."""
    for line in lines:
        if line.function in shown:
            return line
        yield Row(line, None, False) if theirs else Row(None, line, False)
    return None
