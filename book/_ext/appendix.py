"""The pages of the appendix that are computed when the book is built.

* ``{fidelity} recordings``, ``chance``, ``omitted``, ``defects``: what holds the model, and what does not.
* ``{api} blkmodel.trace``: a module's public names with their signatures and docstrings; names may follow.
* ``{commands}``: what `blkmodel --help` says, and the help of each command.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import json
import os
import re
import sys
from collections import Counter
from functools import cache
from pathlib import Path

from docutils import nodes
from kernel_names import KERNEL, page_of
from sphinx.util.docutils import SphinxDirective

from blkmodel.capture.check import check
from blkmodel.capture.recordings import every
from blkmodel.cli.main import main
from blkmodel.reference import mirror
from blkmodel.reference.source import REFERENCE, defects, kernel_file

ROOT = Path(__file__).resolve().parents[2]
KINDS = {"calls": "which functions were called beneath which", "device": "what a controller saw of its driver",
         "dm": "what dmsetup was told, and what there was then", "maps": "which CPU got which queue",
         "tables": "statuses, queue depths that were written, and CPUs that went: what became of each"}
CODE = re.compile(r"`([^`]+)`")


def worded(text, wrap=nodes.paragraph):
    """A paragraph in which what stands in backticks is code."""
    parts = CODE.split(" ".join(text.split()))
    return wrap("", "", *(nodes.literal("", part) if number % 2 else nodes.Text(part)
                          for number, part in enumerate(parts) if part))


def linked(text, address, wrap=nodes.paragraph):
    return wrap("", "", nodes.reference("", text, refuri=address, internal=not address.startswith("http")))


def table(titles, rows):
    """A table; a cell is a text or a node."""
    group = nodes.tgroup(cols=len(titles))
    group += [nodes.colspec(colwidth=1) for _ in titles]
    for part, lines in ((nodes.thead(), [titles]), (nodes.tbody(), rows)):
        part += [nodes.row("", *(nodes.entry("", cell if isinstance(cell, nodes.Node) else worded(str(cell)))
                                 for cell in line)) for line in lines]
        group += part
    return nodes.table("", group)


@cache
def checked():
    """Kind → what `blkmodel check` says of its recordings. They are checked once for all directives, some at a time."""
    said = io.StringIO()
    paths = {str(path): kind for kind in KINDS for path in every(kind)}
    check(paths, as_json=True, out=said)
    found = {kind: [] for kind in KINDS}
    for each in json.loads(said.getvalue())["files"]:
        found[paths[each["file"]]].append(each)
    return found


def recordings():
    for kind, what in KINDS.items():
        files = checked()[kind]
        yield worded(f"`tests/recordings/linux-5.4/{kind}`, {what}:")
        yield table(["recording", "result", "what `blkmodel check` says"],
                    [[f"`{Path(each['file']).name}`", each["result"], each["summary"].partition(";")[0]]
                     for each in files])
    untraced = Counter(name for each in checked()["calls"] for name in each["facts"].get("untraced", ()))
    yield worded("Files that some of the tracers were not told of. What the model does in them is not compared there:")
    yield table(["file", "in so many recordings of calls"], [[f"`{file}`", n] for file, n in sorted(untraced.items())])


def chance():
    """What the recordings' README calls chance, and how often the model differs in it."""
    text = re.sub(r"^#+ .*$", "", (ROOT / "tests" / "recordings" / "README.md").read_text(), flags=re.MULTILINE)
    blocks = re.split(r"\n\s*\n|\n?^\* ", text, flags=re.MULTILINE)
    sentences = [each for block in blocks for each in re.split(r"(?<=[.])\s+(?=[A-Z])", block)]
    yield nodes.block_quote("", *(worded(each) for each in sentences if re.search(r"\b[Cc]hance\b", each)))
    let_pass = Counter()
    for files in checked().values():
        for each in files:
            let_pass.update(each["facts"].get("chance", {}))
    yield table(["what was let pass", "times"], [[what, n] for what, n in let_pass.most_common()])


def omitted():
    """Reason → the functions left out for it, by the file that calls them; and how many calls of recordings that is."""
    seen = sum(sum(each["facts"].get("omitted", {}).values()) for each in checked()["calls"])
    number = Counter(mirror.omitted().values())
    yield table(["reason", "functions"], [[reason.value, n] for reason, n in number.most_common()]
                + [["all", number.total()]])
    yield worded(f"{seen} calls of the recordings are to one of these, and were left out of the comparison.")
    items = []
    for module in mirror.modules():
        reasons = {}
        for name, reason in getattr(module, "OMITTED", {}).items():
            if name in mirror.omitted():
                reasons.setdefault(reason, []).append(f"`{name}`")
        if reasons:
            term = linked(kernel_file(module.__name__), f"../{page_of(module.__name__)}", nodes.term)
            items.append(nodes.definition_list_item("", term, nodes.definition("", *(
                worded(f"{reason.value}: {', '.join(sorted(names))}") for reason, names in reasons.items()))))
    yield nodes.definition_list("", *items)


def errors():
    """How many defects of the kernel are known, by file; the page of defects has each."""
    known = Counter(each.file for each in defects())
    mended = Counter(each.file for each in defects() if each.mended != "-")
    yield table(["file", "defects", "mended later, by a commit that we know"],
                [[linked(file, f"{KERNEL}/source/{file}"), n, mended[file]] for file, n in sorted(known.items())]
                + [["all", known.total(), mended.total()]])


class Fidelity(SphinxDirective):
    required_arguments = 1

    def run(self):
        return list({"recordings": recordings, "chance": chance, "omitted": omitted, "defects": errors}
                    [self.arguments[0]]())


def public(module):
    """The names that a module offers: its `__all__`, or its own functions and exceptions without an underscore."""
    def offered(thing):
        return inspect.isfunction(thing) or (inspect.isclass(thing) and issubclass(thing, Exception))
    return getattr(module, "__all__", None) or [
        name for name, thing in vars(module).items()
        if not name.startswith("_") and offered(thing) and thing.__module__ == module.__name__]


def signature(name, thing):
    """`name(parameters)`, as it is called, without the modules of its types."""
    try:
        found = inspect.signature(thing)
    except ValueError:
        return name
    own = [each for each in found.parameters.values() if each.name != "self"]
    said = re.sub(r"(?:[a-z_]\w*\.)+(?=[A-Za-z_])", "", str(found.replace(parameters=own)))
    return name + re.sub(r"(?<=: )'([^']+)'|(?<=-> )'([^']+)'", r"\1\2", said)  # (a type may be written as a text)


def described(text):
    """A docstring's paragraphs; what is indented in it, or begins with the name of a parameter, stands apart."""
    for block in re.split(r"\n\s*\n", text or ""):
        if block.startswith("    "):
            yield nodes.literal_block("", inspect.cleandoc(block), language="python")
        else:
            yield from map(worded, re.split(r"\n(?=\w+(?:, \w+)*: )", block))


def entry(module, name, thing):
    inner = [entry(module, f"{name}.{each}", method) for each, method in vars(thing).items()
             if inspect.isfunction(method) and not each.startswith("_") and inspect.getdoc(method)
             ] if inspect.isclass(thing) else []
    package = hasattr(sys.modules[thing.__module__], "__path__")
    page = page_of(f"{thing.__module__}.index" if package else thing.__module__)
    term = nodes.term("", "", nodes.literal("", signature(name, thing)), nodes.Text(" "), nodes.reference(
        "", "source", refuri=f"../{page}#{name}", internal=True), ids=[f"{module}.{name}"])
    return nodes.definition_list_item("", term, nodes.definition(
        "", *described(inspect.getdoc(thing)), *([nodes.definition_list("", *inner)] if inner else [])))


class Api(SphinxDirective):
    required_arguments, optional_arguments, final_argument_whitespace = 1, 1, True

    def run(self):
        module = importlib.import_module(self.arguments[0])
        wanted = self.arguments[1].split() if len(self.arguments) > 1 else public(module)
        items = [entry(module.__name__, name, getattr(module, name)) for name in wanted]
        return [*described(inspect.getdoc(module)), nodes.definition_list("", *items, classes=["api"])]


def help_of(*words):
    said = io.StringIO()
    before, os.environ["COLUMNS"] = os.environ.get("COLUMNS"), "88"
    try:
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            main([*words, "--help"])
    finally:
        os.environ.pop("COLUMNS") if before is None else os.environ.update(COLUMNS=before)
    return said.getvalue()


def commands():
    """The commands that `blkmodel --help` lists."""
    return re.findall(r"^    (\w+) ", help_of(), re.MULTILINE)


class Commands(SphinxDirective):
    def run(self):
        return [nodes.literal_block("", help_of(*words), language="none")
                for words in ([], *([each] for each in commands()))]


def setup(app):
    app.add_directive("fidelity", Fidelity)
    app.add_directive("api", Api)
    app.add_directive("commands", Commands)
    return {"version": REFERENCE, "parallel_read_safe": True, "parallel_write_safe": True}
