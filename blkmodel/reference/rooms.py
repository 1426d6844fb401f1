"""The rooms of the package: which modules there are, the kernel file that each stands for, its length, what it says."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from blkmodel.reference import mirror
from blkmodel.reference.source import kernel_file

_TOP = Path(__file__).parents[1]
_SENTENCE = re.compile(r".*?[.?!](?=\s+[A-Z(]|$)")


class Module(NamedTuple):
    """A module of the package: its dotted name below `blkmodel`, its room, the kernel file that it stands for (or
    nothing), its lines of code, and the first sentence of its documentation."""

    name: str
    room: str
    file: str
    lines: int
    says: str


class Written(NamedTuple):
    """A class, function or method as it is written: its lines of code, and the first sentence of its documentation."""

    lines: int
    says: str


def first_sentence(documentation):
    """The first sentence of a docstring, on one line."""
    paragraph = " ".join((documentation or "").split("\n\n")[0].split())
    return (_SENTENCE.match(paragraph) or [paragraph])[0]


def code_lines(source, tree=None):
    """The numbers of the lines that are code: no documentation, no comments, no blank lines. tree: its syntax tree."""
    said: set[int] = set()
    text = source.splitlines()
    lines = {i for i, line in enumerate(text, 1) if line.strip() and line.lstrip()[0] != "#"}
    for node in ast.walk(tree or ast.parse(source)):
        string = node.value if isinstance(node, ast.Expr) else node
        if isinstance(string, ast.Constant) and isinstance(string.value, str) and '"""' in text[string.lineno - 1]:
            (lines if string is node else said).update(range(string.lineno, string.end_lineno + 1))
    return lines - said


def file_of(name):
    """The kernel file that a module of the mirror, or a header, stands for; nothing where it is the model's own."""
    path = name.removesuffix("_h").replace(".", "/")
    if path.endswith(("blk_types", "null_blk")):  # of the headers, these two have no dash
        return f"{path}.h"
    if name.endswith("_h") or name.startswith("include."):
        return f"{path.replace('_', '-').replace('linux/dm-', 'uapi/linux/dm-')}.h"
    return kernel_file(name) if name.split(".")[0] in mirror.PARTS else ""


def room_of(path):
    """The room of a file, by its path in the package; or in the kernel."""
    first, *rest = path.parts
    if first == "drivers" and len(rest) > 1 and rest[0] in ("md", "nvme"):
        return f"drivers/{rest[0]}"
    shared = {"lib": "lib, kernel", "kernel": "lib, kernel", "drivers": "other drivers"}
    return shared.get(first, first) if rest else "top"


def path_of(module):
    """Where a module is, by its dotted name below `blkmodel`."""
    path = _TOP.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def read(module):
    """The syntax tree of a module, and the numbers of its lines of code."""
    source = path_of(module).read_text("utf8")
    return (tree := ast.parse(source)), code_lines(source, tree)


@cache
def modules():
    """Every module that says something, sorted by path; those that only mark a directory as a package say nothing."""
    found = []
    for path in sorted(each.relative_to(_TOP) for each in _TOP.rglob("*.py")):
        name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        (tree, lines), file = read(name), "" if path.stem == "__init__" else file_of(name)
        if lines or ast.get_docstring(tree):
            found.append(Module(name, room_of(path), file, len(lines), first_sentence(ast.get_docstring(tree))))
    return tuple(found)


@cache
def written(module):
    """Qualified name → Written, of every class, function and method of a module."""
    (tree, code), found = read(module), {}

    def visit(body, prefix):
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                lines = len(code.intersection(range(first, node.end_lineno + 1)))
                found[prefix + node.name] = Written(lines, first_sentence(ast.get_docstring(node)))
                visit(node.body if isinstance(node, ast.ClassDef) else (), f"{prefix}{node.name}.")
    visit(tree.body, "")
    return found
