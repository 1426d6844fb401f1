"""What must hold of the mirror as a whole: names, places, directions of import, and what is left out."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import blkmodel
from blkmodel import scenario
from blkmodel.reference import mirror
from blkmodel.reference.omission import Omission
from blkmodel.reference.source import definitions, in_scope, kernel_file, scope
from blkmodel.sim.structure import Struct, layouts

PACKAGE = Path(blkmodel.__file__).parent
MODEL = ("include", "services", "sim", "device", *mirror.PARTS)
ABOVE = ("capture", "cli", "live", "scenario", "trace", "userland", "view", "__main__")
NOTEBOOK = ("live",)  # what runs in a notebook, and may need more than the standard library


def every_module():
    return sorted(found.name for found in pkgutil.walk_packages([str(PACKAGE)], "blkmodel.")
                  if not found.name.endswith("__main__"))


def path_of(name):
    path = PACKAGE.parent / Path(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def syntax(name):
    return ast.parse(path_of(name).read_text())


def imports(name):
    """Every module that a module imports, wherever in it; `from package import module` gives both."""
    found = set()
    for node in ast.walk(syntax(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}, line {node.lineno}: write the import in full"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def part(name):
    return name.split(".")[1] if name.count(".") else ""


MIRROR = mirror.module_names()
FILES = {each.file for of in definitions().values() for each in of}


def structures():
    classes, found = [Struct], []
    for name in every_module():
        importlib.import_module(name)
    while classes:
        cls = classes.pop()
        classes += cls.__subclasses__()
        if cls.__module__.startswith("blkmodel.") and cls is not Struct:
            found.append(cls)
    # `struct` makes a second class of each that it is put on; the first is nobody's.
    return [cls for cls in found if getattr(sys.modules[cls.__module__], cls.__name__, None) is cls]


@pytest.mark.parametrize("name", MIRROR)
def test_every_function_is_one_of_that_kernel_file(name):
    file = kernel_file(name)
    if file not in FILES:
        pytest.skip(f"{file} was not traced: its functions are not known")
    for node in syntax(name).body:
        if isinstance(node, ast.FunctionDef):
            assert any(each.file == file for each in definitions().get(node.name, ())), \
                f"{name}, line {node.lineno}: {file} has no function {node.name}"


@pytest.mark.parametrize("name", MIRROR)
def test_functions_are_plain(name):
    """Neither decorated nor generators: the recorder must see each call once, with the function's own code."""
    for node in ast.walk(syntax(name)):
        assert not isinstance(node, ast.Yield | ast.YieldFrom | ast.AsyncFunctionDef | ast.Global), \
            f"{name}, line {node.lineno}"
        if isinstance(node, ast.FunctionDef):
            assert not node.decorator_list, f"{name}, line {node.lineno}: {node.name} is decorated"
    for node in syntax(name).body:
        if isinstance(node, ast.FunctionDef):
            assert ast.get_docstring(node), f"{name}, line {node.lineno}: {node.name} does not say what it is for"


def module_state():
    """What could change in every mirror module: its containers, and the fields of its tables of operations."""
    state = {}
    for module in mirror.modules():
        for name, value in vars(module).items():
            if isinstance(value, list | dict | set | bytearray) and not name.startswith("__"):
                state[module.__name__, name] = repr(value)
            elif isinstance(value, Struct):
                slots = {slot for base in type(value).__mro__ for slot in vars(base).get("__slots__", ())}
                state[module.__name__, name] = repr({slot: getattr(value, slot, None) for slot in sorted(slots)})
    return state


def test_modules_hold_no_state():
    """What differs from one kernel to the next is kept by the kernel, not by a module: two boots begin alike."""
    before = module_state()
    blkmodel.boot(2)
    scenario.null_blk_load()
    scenario.set_scheduler("nullb0", "none")
    scenario.io("nullb0", "write", 0, 4096)
    assert module_state() == before


SAME_NAME = {("blkmodel.drivers.md.dm_service_time", "path_info"), ("blkmodel.drivers.md.dm_service_time", "selector")}
"""Structures that the debug information has of another file: round-robin's."""


@pytest.mark.parametrize("cls", [cls for cls in structures() if cls.__name__ in layouts()
                                 and (cls.__module__, cls.__name__) not in SAME_NAME], ids=lambda c: c.__name__)
def test_structures_have_the_kernels_fields(cls):
    """Where C's name begins with two underscores the model's begins with one, as does what is only the model's."""
    fields = {slot for base in cls.__mro__ for slot in vars(base).get("__slots__", ())}
    own = {name for name in fields if not name.startswith("_")}
    assert "SIZE" not in vars(cls), "the debug information has its size"
    assert own <= {field["name"] for field in layouts()[cls.__name__]["fields"]}


@pytest.mark.parametrize("name", every_module())
def test_imports_point_one_way(name):
    own = {other for other in imports(name) if other.split(".")[0] == "blkmodel"}
    foreign = {other.split(".")[0] for other in imports(name)} - {"blkmodel"} - set(sys.stdlib_module_names)
    if part(name) not in NOTEBOOK:
        assert not foreign, f"{name} needs more than the standard library"
    if part(name) in MODEL:
        assert {other for other in own if part(other) in ABOVE} == set()
    if part(name) == "services":
        assert {other for other in own if part(other) not in ("services", "sim", "")} == set()
    if part(name) == "sim":
        assert {other for other in own if part(other) not in ("sim", "")} == set()
    if part(name) == "view":
        assert {other for other in own if part(other) in (*NOTEBOOK, "__main__")} == set()


def test_every_module_can_be_imported_first():
    """Each in a process that has imported nothing of the package yet."""
    script = """
import importlib, os, sys
for name in sys.argv[1:]:
    pid = os.fork()
    if pid == 0:
        try:
            importlib.import_module(name)
            os._exit(0)
        except BaseException as why:
            print(f"{name}: {type(why).__name__}: {why}", flush=True)
            os._exit(1)
    os.waitpid(pid, 0)
"""
    names = [name for name in every_module() if part(name) not in NOTEBOOK]
    done = subprocess.run([sys.executable, "-c", script, *names], cwd=PACKAGE.parent, capture_output=True, text=True,
                          check=True)
    assert done.stdout == ""


def test_omissions_say_why_and_are_nowhere_defined():
    defined = {each.name for each in mirror.functions()}
    for module in mirror.modules():
        own = {each.name for each in mirror.functions() if each.function.__module__ == module.__name__}
        for name, reason in getattr(module, "OMITTED", {}).items():
            assert isinstance(reason, Omission), f"{module.__name__}: {name}"
            has = own if reason is Omission.NO_CHAPTER else defined
            assert name not in has, f"{module.__name__}: {name} is omitted, but the mirror has it"
            files = {each.file for each in definitions().get(name, ())}
            if reason is Omission.NO_CHAPTER:
                assert kernel_file(module.__name__) in files, f"{module.__name__}: {name} is not of this file"
            else:
                assert any(in_scope(file) for file in files), f"{module.__name__}: {name} need not be listed"


def test_the_number_of_omissions():
    """Of calls that a recording shows. What no recording, chapter, figure or exercise runs is left out by the rule."""
    assert [name for name, why in mirror.omitted().items() if why is not Omission.NO_CHAPTER] == [
        "__pg_init_all_paths", "pg_init_all_paths", "setup_scsi_dh", "activate_path_work", "pg_init_limit_reached",
        "multipath_wait_for_pg_init_completion"]  # hardware handlers of SCSI disks


def test_kernel_files():
    assert kernel_file("blkmodel.block.blk_mq_tag") == "block/blk-mq-tag.c"
    assert kernel_file("blkmodel.drivers.block.null_blk_main") == "drivers/block/null_blk_main.c"
    assert kernel_file("blkmodel.fs.block_dev") == "fs/block_dev.c"
    assert scope()["block/blk-sysfs.c"].why == "inspection"
