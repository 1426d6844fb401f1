"""The model's own source of a function, as lines of text."""

import re
from functools import cache
from importlib.resources import files

from blkmodel.reference import mirror


@cache
def places() -> dict[tuple[str, str], tuple[str, int]]:
    """(function, kernel file) → the model's file and the line where it begins."""
    return {(each.name, each.file): (each.function.__module__, each.function.__code__.co_firstlineno)
            for each in mirror.functions()}


@cache
def source(function: str, file: str) -> tuple[str, ...]:
    """The lines of a function of the mirror, without those that are blank at its end."""
    module, first = places()[function, file]
    path = files("blkmodel").joinpath(*f"{module}.py".split(".", module.count("."))[1:])
    lines = path.read_text("utf8").splitlines()[first - 1:]
    length = next((i for i, line in enumerate(lines) if i and line and not line[0].isspace()), len(lines))
    return tuple("\n".join(lines[:length]).rstrip().split("\n"))


def line_of_call(function: str, file: str, called: str) -> int | None:
    """Which line of a function calls another: its number in source(), if that can be told by the name alone."""
    lines = source(function, file)
    found = [i for i, line in enumerate(lines) if i and re.search(rf"\b{re.escape(called)}\(", line)]
    return found[0] if len(found) == 1 else None
