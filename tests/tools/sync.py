"""Who takes which lock, wakes whom and waits for what to have ended: in the kernel's C and in the mirror.

The kernel's side is kept in sync.tsv; `python -m tests.tools.sync --kernel TREE` reads it anew from a source tree of
the reference kernel. Spinlocks are not in it: what the model's CPU does while it would hold one is never interrupted.
"""

import argparse
import ast
import re
from pathlib import Path
from typing import NamedTuple

import blkmodel
from blkmodel.reference.rooms import modules

TABLE = Path(__file__).with_name("sync.tsv")
ONE = {"mutex_lock_nested": "mutex_lock", "down_write": "mutex_lock", "up_write": "mutex_unlock",
       "mutex_lock_killable": "mutex_lock", "wake_up_interruptible": "wake_up",
       "flush_work": "flush", "flush_workqueue": "flush", "cancel_work_sync": "cancel",
       "cancel_delayed_work_sync": "cancel", "synchronize_srcu_expedited": "synchronize_srcu",
       "synchronize_rcu_expedited": "synchronize_rcu"}
"""Call → the one that it counts as."""
CALLS = {*ONE, *ONE.values(), "down_read", "up_read", "wake_up_all", "wake_up_nr", "wake_up_process", "wake_up_bit",
         "complete", "complete_all", "synchronize_rcu", "synchronize_srcu", "synchronize_irq", "call_rcu",
         "del_timer_sync", "srcu_read_lock", "srcu_read_unlock", "blk_wake_io_task"} - {"flush", "cancel"}
_CALL = re.compile(rf"\b({'|'.join(sorted(CALLS, key=len, reverse=True))})\s*\(([^;]*?)\)\s*[;)|&]")
_FUNCTION = re.compile(r"^(?!#)[A-Za-z_][^;{}()]*?\b(\w+)\s*\(([^;{}]*)\)\s*(?:__\w+\([^)]*\)\s*)*\n\{(.*?)^\}",
                       re.S | re.M)
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)


class Row(NamedTuple):
    """function (of that file) calls `call` for `what`: a lock, a queue of waiters, a work item."""

    file: str
    function: str
    call: str
    what: str


def of_c(file, source):
    """The rows of a C file."""
    for function, _, body in _FUNCTION.findall(_COMMENT.sub(" ", source)):
        for call, arguments in _CALL.findall(body):
            words = re.findall(r"\w+", arguments.split(",")[0])
            yield Row(file, function, ONE.get(call, call), words[-1] if words else "")


def of_mirror(file, source):
    """The rows of a module. `with lock:` takes it and lets it go; `with semaphore.read:` takes it with others."""
    for function in ast.parse(source).body:
        for node in ast.walk(function) if isinstance(function, ast.FunctionDef) else ():
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", "")  # those of a driver's table of functions are attributes
                if name in CALLS:
                    yield Row(file, function.name, ONE.get(name, name), _named(node.args[0]) if node.args else "")
            for item in node.items if isinstance(node, ast.With) else ():
                if isinstance(item.context_expr, ast.Attribute):
                    what, read = _named(item.context_expr), item.context_expr.attr == "read"
                    yield Row(file, function.name, "down_read" if read else "mutex_lock", what)
                    yield Row(file, function.name, "up_read" if read else "mutex_unlock", what)


def _named(node):
    """The last name of an expression: of `q.sysfs_lock`, sysfs_lock; of `ctrl.a_sem.read`, a_sem."""
    if isinstance(node, ast.Attribute):
        return _named(node.value) if node.attr == "read" else node.attr
    return node.id if isinstance(node, ast.Name) else ""


def kernel():
    """The kernel's rows, as they were read."""
    return {Row(*line.split("\t")) for line in TABLE.read_text().splitlines()[1:]}


def model():
    """The mirror's rows."""
    here = Path(blkmodel.__file__).parent
    return {row for each in modules() if each.file
            for row in of_mirror(each.file, (here / f"{each.name.replace('.', '/')}.py").read_text())}


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.tools.sync", description=__doc__.split("\n")[0])
    parser.add_argument("--kernel", metavar="TREE", type=Path, required=True, help="a tree of the reference kernel")
    tree = parser.parse_args().kernel
    rows = {row for each in modules() if each.file and each.file.endswith(".c")
            for row in of_c(each.file, (tree / each.file).read_text("latin1"))}
    TABLE.write_text("".join("\t".join(row) + "\n" for row in [Row._fields, *sorted(rows)]))


if __name__ == "__main__":
    main()
