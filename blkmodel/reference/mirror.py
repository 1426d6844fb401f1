"""The mirror seen from outside: its modules, its functions, and what it knowingly leaves out."""

import importlib
import pkgutil
from functools import cache, lru_cache
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from blkmodel.reference.omission import Omission
from blkmodel.reference.source import kernel_file

PARTS = ("block", "drivers", "fs", "kernel", "lib")
UNTRACED = ("fs/aio.c", "fs/buffer.c")
"""Files of the mirror that the tracer of the recordings was not told of: nor is the recorder."""


class MirrorFunction(NamedTuple):
    """A function of the mirror: its name, the kernel file it is in, and what Python calls."""

    name: str
    file: str
    function: Any


@cache
def modules() -> tuple[ModuleType, ...]:
    """Import the modules that each stand for one kernel file, and return them, in the order in which they are walked,
    which is that of their names; a private header is none."""
    return tuple(importlib.import_module(found.name) for part in PARTS for found in
                 pkgutil.walk_packages(importlib.import_module(f"blkmodel.{part}").__path__, f"blkmodel.{part}.")
                 if not found.ispkg and not found.name.endswith("_h"))


def functions() -> list[MirrorFunction]:
    """Return every function that a mirror module defines at its top level, module by module, in their order there."""
    return [each for module in modules() for each in _functions_of(module, tuple(map(id, vars(module).values())))]


@lru_cache(maxsize=128)
def _functions_of(module: ModuleType, there: tuple[int, ...]) -> list[MirrorFunction]:
    """Those of one module, while it has these objects: another release's functions may take the place of some."""
    return [MirrorFunction(value.__name__, kernel_file(module.__name__), value) for value in vars(module).values()
            if isinstance(value, FunctionType) and value.__module__ == module.__name__
            and value.__name__ != "__annotate__"]  # Python's own


@cache
def by_place() -> dict[tuple[str, str], FunctionType]:
    """Return (name, kernel file) → what Python calls, of every function."""
    return {(each.name, each.file): each.function for each in functions()}


def traced() -> list[MirrorFunction]:
    """Return the functions that a recording shows."""
    return [each for each in functions() if each.file not in UNTRACED]


def uncompared() -> set[str]:
    """Return the names whose calls a recording may have and the model not: omitted, but not for want of a chapter.

    What no recording runs is omitted as NO_CHAPTER; where a recording does show such a call, the model lacks it.
    """
    return {name for name, reason in omitted().items() if reason is not Omission.NO_CHAPTER}


def omitted() -> dict[str, Omission]:
    """Return name → reason, of all calls that some mirror module leaves out, and no other has under that name."""
    defined = {each.name for each in functions()}
    return {name: reason for module in modules() for name, reason in getattr(module, "OMITTED", {}).items()
            if name not in defined}
