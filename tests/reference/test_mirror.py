"""What must hold of the mirror as a whole: names, places, and what is left out."""

import ast
import importlib
import sys
from functools import cache

import pytest

import blkmodel
from blkmodel import scenario
from blkmodel.capture.recordings import recording
from blkmodel.reference import mirror
from blkmodel.reference.omission import Omission
from blkmodel.reference.source import INLINED, definitions, in_scope, kernel_file, scope
from blkmodel.sim.structure import Struct, layouts
from tests.reference.test_rooms import every_module, path_of


@cache
def syntax(name):
    return ast.parse(path_of(name).read_text())


MIRROR = [module.__name__ for module in mirror.modules()]
FILES = {each.file for of in definitions().values() for each in of}


def structures():
    classes, found = [Struct], []
    for name in every_module():
        if not name.endswith("__main__"):
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
    assert scope()["block/blk-sysfs.c"] == ("in", "a queue's files")


def test_every_module_stands_for_a_file_in_scope():
    """But for interrupt vectors: what their file does besides is hardware detail, and figures show what they need."""
    assert [name for name in MIRROR if not in_scope(kernel_file(name))] == ["blkmodel.drivers.pci.msi"]


def test_functions_that_were_inlined_are_known_and_in_no_recording():
    """Their callees are: so they ran, in their callers."""
    assert {each.file.rpartition("/")[0] for name in INLINED for each in definitions()[name]} == {"block/partitions"}
    text = recording("linux-5.4/calls/partition-probe.json").read_text()
    assert not [name for name in INLINED if f'"{name}"' in text]
    assert all(f'"{name}"' in text for name in ("efi_partition", "read_lba", "msdos_partition", "check_partition"))
