"""Services and headers: a module says which kernel files its functions are of, and the kernel has them there."""

import ast
import importlib

import pytest

from blkmodel.reference.source import rows
from tests.tools.names import functions, kernel_files, modules

OURS = {
    "what is said with an operator, an assignment or a cast in C":
        "copy_limits copy_of mask_of signed_int unsigned_int unsigned_long",
    "what is the head of a loop in C": "bios_of counters_of nth_entry segments_of",
    "one function where C has one for each flag": "clear_page_flag set_page_flag",
    "trees: in C each caller walks": "find_by_key insert_by_key",
    "structures as bytes": "bytes_of read_head string_at text_of write_head",
    "texts as bytes": "each_byte of_bytes",
    "memory": "array_in_bytes cache_pages thing_at wished_node",
    "time and tasks": "nsecs_to_wheel",
    "names below /dev and /sys, and counters as files show them":
        "inode_at object_at part_stat_counted whole_disks",
    "user space, the linker and /proc": "map_user_buffer proc_irq provide unmap_user_buffer",
}
"""Why → the functions of ours that others import. What only its own module uses begins with an underscore."""

NOT_THE_KERNELS = {name for names in OURS.values() for name in names.split()}
MODULES = dict(modules())
FILES = {name: file for name, file, _ in rows("services.tsv")}
"""Function → the kernel file that has it, for what services and headers have of the kernel."""


@pytest.mark.parametrize("module", MODULES)
def test_every_function_is_of_a_file_that_its_module_names(module):
    tree = MODULES[module]
    files = kernel_files(ast.get_docstring(tree))
    for name in set(functions(tree)) - NOT_THE_KERNELS:
        assert name in FILES, f"{module}: the kernel has no {name} in {files}"
        assert FILES[name] in files, f"{module} does not name {FILES[name]}, which has {name}"


def test_headers_name_their_own():
    for module, tree in MODULES.items():
        if module.startswith("include/linux/"):
            own = module.removeprefix("include/linux/").removesuffix(".py")
            first = kernel_files(ast.get_docstring(tree))[0].rpartition("/")[2]
            assert first in (f"{own}.h", f"{own.replace('_', '-')}.h")


def test_nothing_stands_in_the_tables_for_nothing():
    defined = {name for tree in MODULES.values() for name in functions(tree)}
    assert set(FILES) == defined - NOT_THE_KERNELS
    assert defined >= NOT_THE_KERNELS


def test_a_header_by_its_own_name_leads_to_the_module_that_stands_for_it():
    header = importlib.import_module
    for name, place, thing in (("jiffies", "tasks.timer", "jiffies"), ("rbtree", "data.rbtree", "rb_root")):
        theirs = header(f"blkmodel.services.{place}")
        assert getattr(header(f"blkmodel.include.linux.{name}"), thing) is getattr(theirs, thing)
    with pytest.raises(ModuleNotFoundError, match=r"blkmodel\.include\.linux\.nothing"):
        header("blkmodel.include.linux.nothing")
    assert not hasattr(header("blkmodel.include.linux.rbtree"), "rb_nothing")
