"""Call trees as values: a tree is (function, trees that it called), a forest a tuple of trees."""

from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any

from blkmodel.trace import Node

Tree = tuple[str, "Forest"]
Forest = tuple[Tree, ...]


def expand(calls: list[Any]) -> Forest:
    """Return the forest that the `calls` of a recording stand for, with its repeats written out."""
    forest: list[Tree] = []
    for call in calls:
        if isinstance(call, str):
            forest.append((call, ()))
        elif "repeat" in call:
            forest += expand(call["calls"]) * call["repeat"]
        else:
            forest += [(function, expand(below)) for function, below in call.items()]
    return tuple(forest)


def of_nodes(nodes: list[Node], dropped_files: frozenset[str] = frozenset()) -> Forest:
    """Return the forest of the recorder's nodes, with the functions of some files dropped."""
    forest: list[Tree] = []
    for node in nodes:
        below = of_nodes(node.calls, dropped_files)
        forest += below if node.file in dropped_files else [(node.function, below)]
    return tuple(forest)


def keep(forest: Forest, wanted: Callable[[str], bool]) -> Forest:
    """Drop every function for which wanted(function) is not true; its children move up."""
    kept: list[Tree] = []
    for function, below in forest:
        below = keep(below, wanted)
        kept += [(function, below)] if wanted(function) else below
    return tuple(kept)


def walk(forest: Forest, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Forest]]:
    """Yield of each call, in order, the path from a root to it, and what it called."""
    for function, below in forest:
        path = (*above, function)
        yield path, below
        yield from walk(below, path)


def functions(forest: Forest) -> set[str]:
    """Return the names that occur."""
    return {path[-1] for path, _ in walk(forest)}


def calls_to(forest: Forest, names: set[str]) -> int:
    """Count the calls to these functions."""
    return sum((function in names) + calls_to(below, names) for function, below in forest)


def below(forest: Forest, name: str) -> Iterator[Forest]:
    """Yield what each call to a function called, in order."""
    return (called for path, called in walk(forest) if path[-1] == name)


def paths(forest: Forest) -> set[tuple[str, ...]]:
    """Return the distinct paths from a root to each function."""
    return {path for path, _ in walk(forest)}


def first_difference(recorded: Forest, model: Forest, above: tuple[str, ...] = ()) -> str | None:
    """Return in words where two forests, beneath the same calls, begin to differ; None where they are equal."""
    for i, (theirs, ours) in enumerate(zip_longest(recorded, model)):
        if ours and theirs and ours[0] == theirs[0]:
            if ours[1] != theirs[1]:
                return first_difference(theirs[1], ours[1], (*above, ours[0]))
            continue
        where = " > ".join(above) or "at the root"
        after = f" after {recorded[i - 1][0]}" if i else ""
        return (f"{where}: call {i + 1}{after}: the recording has {theirs[0] if theirs else 'none'}, "
                f"the model has {ours[0] if ours else 'none'}")
    return None
