"""Run the cells of a chapter in a page, in one namespace, as a notebook does. The page calls needs() and run(), its
editor complete() and describe().

JSON in, JSON out; outputs are what a notebook stores of a cell, but for numbers of execution.
"""

import ast
import importlib
import io
import json
import os
import sys
import time

import hints
import js

from blkmodel.view.draw import styles

os.environ["BLKMODEL_STILL"] = "1"  # a figure comes as HTML, which the page makes live
os.chdir(os.path.join(os.path.dirname(__file__), "book"))
importlib.reload(styles)  # sheets of figures that no live one needs have come only now

LONGEST = 200_000  # letters that one cell prints
MOST_SHOWN = 2_000_000  # letters of one value
MOST_PLACES = 20  # lines at either end of the way to an error
SOON = 0.1  # seconds; what a cell prints is told no more often
sources = {}
outputs = []
absent = {}  # name → the module for want of which it was not bound


class Said:
    """What a cell prints, put behind what it has shown."""

    encoding = "utf-8"

    def __init__(self, name):
        self.name = name
        self.untold, self.told = "", time.monotonic()

    def write(self, text):
        if sum(len(each.get("text", "")) for each in outputs) > LONGEST:
            raise RuntimeError(f"the cell has printed more than {LONGEST} letters")
        if not (outputs and outputs[-1].get("name") == self.name):
            outputs.append({"output_type": "stream", "name": self.name, "text": ""})
        outputs[-1]["text"] += text
        self.untold += text
        if time.monotonic() - self.told > SOON:
            js.tellSaid(self.untold)
            self.untold, self.told = "", time.monotonic()
        return len(text)

    def flush(self):
        pass

    def isatty(self):
        return False


def needs(source):
    """Import what a cell imports; say what is not there: whether the standard library has to come, and other modules.

    A name that a cell before would have bound, had it not needed such a module, needs that module too; what such a cell
    imports otherwise is there.
    """
    missing, library = set(), False
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return json.dumps({"library": False, "missing": []})  # the cell itself will say so
    importlib.invalidate_caches()
    for name in imported(tree):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            top = error.name.partition(".")[0]
            if top in sys.stdlib_module_names:
                library = True
            elif top not in sys.modules:  # else it is no module, as the cell itself will say
                missing.add(top)
        except (ImportError, EOFError):  # the library is listed in memory, but its file is empty
            library = True
        except Exception:
            continue  # the cell itself will say so
    binds, uses = names(tree)
    missing |= {absent[name] for name in uses - binds if name in absent}
    for name in binds:
        absent.pop(name, None)
    if missing:
        absent.update(dict.fromkeys(binds - brought(tree), min(missing)))
    return json.dumps({"library": library, "missing": sorted(missing)})


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            for each in node.names:
                known = sys.modules.get(node.module)
                if hasattr(known, "__path__") and not hasattr(known, each.name):
                    yield f"{node.module}.{each.name}"


def names(tree):
    """The names that a cell binds, and those that it uses."""
    binds, uses = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (uses if isinstance(node.ctx, ast.Load) else binds).add(node.id)
        elif isinstance(node, ast.alias):
            binds.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.arg):
            binds.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            binds.add(node.name)
    return binds, uses


def brought(tree):
    """Run those imports of a cell that can be run; return the names."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            try:
                exec(compile(ast.Module([node], []), "<imports>", "exec"), NAMES)
            except ImportError:
                continue
            found |= names(node)[0]
    return found


def run(asked):
    """Run a cell: its id and its source; return its outputs."""
    asked = json.loads(asked)
    outputs.clear()
    file = f"<cell {asked['id']}>"
    sources[file] = asked["source"].splitlines()
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin, sys.stdout, sys.stderr = io.StringIO(), Said("stdout"), Said("stderr")  # nobody can type an input()
    try:
        tree = ast.parse(asked["source"], file)
        shown = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, file, "exec"), NAMES)
        if shown:
            value = eval(compile(ast.Expression(shown.value), file, "eval"), NAMES)
            if value is not None and not asked["source"].rstrip().endswith(";"):
                show(value, "execute_result")
    except BaseException as error:
        outputs.append({"output_type": "error", "ename": type(error).__name__, "evalue": text_of(error),
                        "traceback": told(error, file)})
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
    return json.dumps(outputs)


def display(*things):
    """Show things among what the cell prints."""
    for each in things:
        show(each)


def show(value, kind="display_data"):
    """Put a value among the outputs, in all forms that it has."""
    data = {}
    if callable(bundle := getattr(value, "_repr_mimebundle_", None)):
        data |= bundle()
    for mime, method in (("text/html", "_repr_html_"), ("image/svg+xml", "_repr_svg_")):
        if mime not in data and callable(form := getattr(value, method, None)):
            data[mime] = form()
    data.setdefault("text/plain", repr(value))
    data = {str(mime): text if isinstance(text, str) else repr(text) for mime, text in data.items() if text is not None}
    if sum(map(len, data.values())) > MOST_SHOWN:
        raise RuntimeError(f"the value takes more than {MOST_SHOWN} letters to show")
    outputs.append({"output_type": kind, "data": data})


def text_of(error):
    """What an error says; that can fail, too."""
    try:
        return str(error)
    except Exception as why:
        return f"<{type(why).__name__} in its own words>"


def told(error, file):
    """An error in the reader's own lines: those of cells on the way to where it was raised, and what was raised."""
    lines = []
    if isinstance(error, SyntaxError) and error.filename in sources:
        lines += place(error.filename, error.lineno, file)
    passed = error.__traceback__
    while passed:
        code = passed.tb_frame.f_code
        if code.co_filename in sources:
            lines += place(code.co_filename, passed.tb_lineno, file, code.co_name)
        passed = passed.tb_next
    said = error.msg if isinstance(error, SyntaxError) else text_of(error)
    if len(lines) > 2 * MOST_PLACES:
        lines[MOST_PLACES:-MOST_PLACES] = [f"    … {(len(lines) - 2 * MOST_PLACES) // 2} more …"]
    return [*lines, f"{type(error).__name__}: {said}" if said else type(error).__name__]


def place(where, line, here, function="<module>"):
    text = sources[where][line - 1].strip() if line and line <= len(sources[where]) else ""
    cell = "" if where == here else f"{where[1:-1]}, "
    inside = "" if function.startswith("<") else f", in {function}"
    return [f"{cell}line {line}{inside}", f"    {text}"]


def complete(asked):
    return hint(hints.complete, asked)


def describe(asked):
    return hint(hints.describe, asked)


def hint(about, asked):
    """Answer the editor; an odd value among the reader's is no reason to lose all others with the interpreter."""
    try:
        return json.dumps(about(json.loads(asked), NAMES))
    except Exception:
        return "null"


NAMES = {"__name__": "__main__", "display": display}
