"""The kernel's source at the reference tag: which function is in which file, and which files the model stands for."""

from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import NamedTuple

REFERENCE, RELEASE = "v5.4.120", "5.4"


class Definition(NamedTuple):
    """A function of the kernel. `traceable` says whether the tracer of the recordings could see it."""

    function: str
    file: str
    line: int
    traceable: bool


class Defect(NamedTuple):
    """Where the reference kernel itself errs. The place in the model has a comment that begins with `5.4:`.

    kernel: what the function does; mended: the commit that mended it and its release, or `-`; model: what the model
    does there; test: the test that holds it.
    """

    function: str
    file: str
    kernel: str
    mended: str
    model: str
    test: str


def rows(name: str, room: str = "reference") -> list[list[str]]:
    """The rows of a table in a room, without its head."""
    return [line.split("\t") for line in (files(f"blkmodel.{room}") / name).read_text("utf8").splitlines()[1:]]


@cache
def definitions() -> dict[str, tuple[Definition, ...]]:
    """Return function name → its definitions: more than one where files have a static function each of that name."""
    return {name: tuple(Definition(name, file, int(line), traceable == "1") for _, file, line, traceable in of)
            for name, of in groupby(rows("functions.tsv"), lambda row: row[0])}


@cache
def scope() -> dict[str, tuple[str, str]]:
    """Return file → (`in` or `out`: whether the model stands for it, why or why not); what is not listed is outside."""
    return {file: (scope, why) for file, scope, why in rows("scope.tsv")}


def defects() -> list[Defect]:
    """Return the defects of the reference kernel that the model has, works round or shows, by file."""
    return [Defect(*row) for row in rows("defects.tsv")]


def in_scope(file: str) -> bool:
    """Whether the model stands for this file."""
    return file in scope() and scope()[file][0] == "in"


@cache
def was_built(file: str) -> bool:
    """Whether the reference kernel has a file: whether the tracer could see any function of it that no other has."""
    return any(of[0].traceable for of in definitions().values() if len(of) == 1 and of[0].file == file)


INLINED = frozenset({"aix_magic_present", "alloc_read_gpt_entries", "alloc_read_gpt_header", "allocate_partitions",
                     "compare_gpts", "find_valid_gpt", "is_gpt_valid", "is_pmbr_valid", "parse_extended", "set_info"})
"""Static functions of block/partitions that the compiler of the recorded kernel put into their callers, or into a part
with another name: it was told to inline nothing in block/, but not below it. functions.tsv has them as traceable. In
recordings of a scan their callees stand beneath their callers' callers (efi_partition > read_lba)."""


@cache
def comparable() -> frozenset[str]:
    """Return the functions that a recording and the model are compared by: traceable, and in scope wherever defined."""
    return frozenset(name for name, of in definitions().items() if name not in INLINED
                     and all(each.traceable and in_scope(each.file) for each in of))


@cache
def file_of_module() -> dict[str, str]:
    """Return dotted path below the package → kernel file, for every file that a module could stand for.

    A dash in a file's name is an underscore in the module's: `block.blk_mq` is `block/blk-mq.c`.
    """
    known = {each.file for of in definitions().values() for each in of} | set(scope())
    return {file.removesuffix(".c").replace("-", "_").replace("/", "."): file for file in known}


def kernel_file(module: str) -> str:
    """Return the kernel file that a module of the mirror stands for, by the module's full name."""
    path = module.removeprefix("blkmodel.")
    return file_of_module().get(path) or path.replace(".", "/") + ".c"


def line_of(function: str, file: str) -> int | None:
    """The line at which a file defines a function, at the reference tag; None where it does not."""
    return next((each.line for each in definitions().get(function, ()) if each.file == file), None)
