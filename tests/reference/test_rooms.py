"""The rooms of the package: what imports what, and that arrows between rooms point one way."""

import ast
import pkgutil
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import networkx
import pytest

import blkmodel

PACKAGE = Path(blkmodel.__file__).parent
MIRROR = ("block", "drivers", "fs", "include", "kernel", "lib")
ORDER = (("reference.source", "reference.omission"), ("sim",), ("services",), ("errors",), MIRROR, ("device",), ("",),
         ("releases",), ("reference.mirror",), ("reference.rooms",), ("trace",), ("userland",), ("scenario",),
         ("capture",), ("view.draw",), ("view.facts",), ("view.figures",), ("live",), ("cli",), ("__main__",))
"""Rooms from the bottom to the top; "" is blkmodel/__init__.py, which links the kernel. Rooms of one line are one."""
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
CIRCLES = (("block", "fs", "include"), ("drivers",))
"""The rooms of each circle of files that the kernel has too: disks and their files; device mapper."""
NOTEBOOK = ("live",)  # what runs in a notebook, and may need more than the standard library


def every_module():
    return sorted(found.name for found in pkgutil.walk_packages([str(PACKAGE)], "blkmodel."))


def path_of(name):
    path = PACKAGE.parent / Path(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def nodes(tree):
    """Every node, without what only a type checker sees: in C a forward declaration, which needs no header."""
    yield tree
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield from nodes(node)


@cache
def imports(name):
    """Every module that a module imports, wherever in it. What is imported from a package may be a module itself."""
    found = set()
    for node in nodes(ast.parse(path_of(name).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}, line {node.lineno}: write the import in full"
            inner = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            found |= {each if each in MODULES else node.module for each in inner.values()}
    return frozenset(found)


def room(name):
    """The room that a module is in: the part of the package, and where that has rooms of its own, which."""
    parts = name.split(".")[1:]
    return ".".join(parts[:2] if parts[:1] in (["view"], ["reference"]) else parts[:1])


MODULES = frozenset(every_module()) | {"blkmodel"}
WITH_CODE = sorted(name for name in MODULES if path_of(name).read_text().strip())


def circles():
    graph = networkx.DiGraph((name, other) for name in WITH_CODE for other in imports(name) if other in MODULES)
    return [found for found in networkx.strongly_connected_components(graph) if len(found) > 1]


def test_rooms_have_names_of_their_own():
    rooms = [path for path in PACKAGE.rglob("*") if path.is_dir() and any(path.glob("*.py"))]
    ours = [path for path in rooms if path.relative_to(PACKAGE).parts[0] not in MIRROR]
    names = Counter(path.name for path in [*ours, *(PACKAGE / part for part in MIRROR)])
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("name", WITH_CODE)
def test_imports_point_one_way(name):
    """A module imports what is in its own room, and what is in rooms below."""
    foreign = {other.split(".")[0] for other in imports(name)} - {"blkmodel"} - set(sys.stdlib_module_names)
    assert room(name) in NOTEBOOK or not foreign, f"{name} needs more than the standard library"
    for other in imports(name) & MODULES:
        above = LEVEL[room(other)] >= LEVEL[room(name)]
        assert room(other) == room(name) or not above or {room(name), room(other)} <= set(MIRROR), other


def test_other_rooms_import_services_by_their_face():
    assert [(name, node.module) for name in WITH_CODE if room(name) != "services"
            for node in nodes(ast.parse(path_of(name).read_text()))
            if isinstance(node, ast.ImportFrom) and node.module.startswith("blkmodel.services.")] == []


def test_files_go_in_circles_only_where_the_kernels_do():
    assert sorted(tuple(sorted({room(name) for name in found})) for found in circles()) == sorted(CIRCLES)
    assert all(name.startswith("blkmodel.drivers.md.") for found in circles() for name in found
               if room(name) == "drivers")


def test_every_module_can_be_imported_first():
    """Each before any other that `import blkmodel` has not brought: those in circles in a process of their own. For the
    others the order makes no difference."""
    script = """
import importlib, os, sys
import blkmodel
alone, together = (names.split() for names in sys.argv[1:])
for name in alone:
    pid = os.fork()
    if pid == 0:
        try:
            importlib.import_module(name)
            os._exit(0)
        except BaseException as why:
            print(f"{name}: {type(why).__name__}: {why}", flush=True)
            os._exit(1)
    os.waitpid(pid, 0)
for name in together:
    importlib.import_module(name)
"""
    alone = sorted(name for found in circles() for name in found)
    names = [name for name in every_module() if room(name) not in (*NOTEBOOK, "__main__") and name not in alone]
    done = subprocess.run([sys.executable, "-c", script, " ".join(alone), " ".join(names)], cwd=PACKAGE.parent,
                          capture_output=True, text=True, check=True)
    assert done.stdout == ""
