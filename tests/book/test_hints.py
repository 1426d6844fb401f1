"""What an editor is told of the code in it: what may stand at a place, and what a name is. Nothing is run for it."""

from __future__ import annotations

import builtins
import importlib.util
import inspect
import json
import sys

import pytest

import blkmodel
from blkmodel import scenario
from blkmodel.block import blk_mq
from blkmodel.drivers.nvme.host import core
from blkmodel.include.linux import blk_mq as blk_mq_h
from blkmodel.live import live
from tests.book.conftest import ROOT

PLACE = ROOT / "book" / "_engine" / "page" / "hints.py"
SPEC = importlib.util.spec_from_file_location("hints", PLACE)
hints = sys.modules["hints"] = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(hints)


def asked(code, above=()):
    """The place is where the bar stands: `kernel.|`; the end, if there is none."""
    before, _, after = code.partition("|")
    return {"before": before, "after": after, "above": list(above)}


def options(code, names=None, above=()):
    """Label → detail of what may stand at a place."""
    found = hints.complete(asked(code, above), names or {})
    json.dumps(found)  # it goes to the page
    return {each["label"]: each["detail"] for each in found["options"]} if found else None


def what(code, names=None, above=()):
    found = hints.describe(asked(code, above), names or {})
    json.dumps(found)
    return found


@pytest.fixture
def names():
    kernel = blkmodel.boot(4)
    return {"kernel": kernel, "listed": [kernel, {"it": kernel}], "blk_mq": blk_mq, "live": live, "number": 8,
            "tag_set": blk_mq_h.blk_mq_tag_set(nr_hw_queues=3)}


def test_names_of_the_interpreter_of_cells_and_of_python(names):
    found = options("for each in |", names, above=["from blkmodel.scenario import io\nfurther = 1"])
    assert found["number"] == "8"
    assert found["kernel"] == "Kernel"
    assert found["io"].startswith("(disk, ")
    assert found["further"] == found["lambda"] == ""
    assert found["len"] == "(obj, /)"
    assert set(options("x = nu|", names)) >= {"number", "enumerate"}
    assert "kernel" not in options("x = nu|", names)
    assert "here" in options("here = 1\nhe|")
    assert "he" not in options("here = 1\nhe|llo")


def test_names_that_begin_with_an_underscore_are_for_who_asks():
    assert "__import__" not in options("|")
    assert "__import__" in options("_|")


def test_imports():
    assert options("from blk|") == {"blkmodel": "module"}
    assert {"block", "sim", "view"} <= set(options("import os, blkmodel.|"))
    assert options("from blkmodel |") == {"import": ""}
    found = options("from blkmodel.block.blk_mq import (blk_mq_init_queue,  # a comment\n    blk_mq_free_|")
    assert found["blk_mq_free_tag_set"] == "(set)"
    assert {"blk_mq", "bio"} <= set(options("from blkmodel.block import |"))
    assert {"tag_memory"} <= set(options("from blkmodel.view.figures import tag_|"))


def test_a_module_that_was_not_imported_is_read_not_run(tmp_path, monkeypatch):
    package = tmp_path / "blk_hints_tried"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text('"""Inside."""\nclass A:\n    def f(self, a, *, b=2):\n        "Says."\n'
                                      'LIMIT: int = 3\n"""How many."""\nraise SystemExit\n')
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module(package.name)
    assert options(f"from {package.name} import |")["inner"] == "module"
    assert set(options(f"from {package.name}.inner import |")) == {"A", "LIMIT"}
    code = f"from {package.name}.inner import A, LIMIT\n"
    assert options(code + "A.|") == {"f": "(a, *, b=2)"}
    assert set(options(code + "A.f(1, |")) >= {"b="}
    assert what(code + "A.f")["doc"] == "Says."
    assert what(code + "LIMIT") == {"signature": "LIMIT: int", "doc": "How many."}
    assert what(f"from {package.name} import inner")["doc"] == "Inside."
    assert f"{package.name}.inner" not in sys.modules


def test_attributes(names):
    found = options("kernel.|", names)
    assert found["nr_cpu_ids"] == "4"
    assert found["cpu"] == "property"
    assert found.keys() == {name for name in dir(names["kernel"]) if not name.startswith("_")}
    assert options("listed[1]['it'].|", names) == options("print( listed [0]\n .|", names) == found
    assert options("number.bit_l|", names) == {"bit_length": "()"}
    for nothing in ("kernel.cpu.", "listed[2].", "kernel().", "listed[number].", "1.", "'a'.", "nobody.",
                    "kernel.nothing.", "f(kernel).", "listed[0][1]."):
        assert options(nothing, names) is None, nothing


def test_nothing_of_the_readers_is_run():
    ran = []

    class Meta(type):
        def __getattribute__(cls, name):
            ran.append(name)
            return super().__getattribute__(name)

    class Odd(metaclass=Meta):
        __slots__ = ("__dict__", "full", "hollow")

        def __init__(self):
            self.full, self.inner = 3, self

        @property
        def asks(self):
            """What it is."""
            return ran.append("asks")

        def __getattribute__(self, name):
            ran.append(name)
            return object.__getattribute__(self, name)

        def __getattr__(self, name):
            ran.append(name)

        def __repr__(self):
            ran.append("repr")
            return ""

        def __eq__(self, other):
            ran.append("eq")

        def __bool__(self):
            ran.append("bool")

        __hash__ = None

    class Keys(dict):
        def __getitem__(self, key):
            ran.append(key)

    def takes(one, default=None):
        pass

    odd = Odd()
    takes.__defaults__ = (odd,)
    names = {"odd": odd, "keys": Keys(a=odd), "takes": takes}
    ran.clear()
    found = options("odd.inner.inner.|", names)
    assert found["full"] == "3"
    assert found["asks"] == found["hollow"] == "property"
    assert options("od|", names)["odd"] == "Odd"
    assert options("takes(|", names)["default="] == "Odd"
    assert what("takes", names)["signature"] == "takes(one, default=Odd)"
    assert what("odd", names)["signature"] == "odd: Odd"
    assert what("odd.asks", names)["signature"] == "asks"
    for nothing in ("odd.asks.", "odd.gone.", "keys['a'].", "odd['a'].", "odd()."):
        assert options(nothing, names) is None, nothing
    assert [each for each in ran if not each.startswith("__")] == []  # Python's own look at a class asks its metaclass


def test_parameters_by_name(names):
    found = options("tag_set = blk_mq.blk_mq_init_queue(|", names)
    assert found["set="] == ""
    code = "from blkmodel.live import live\nfrom blkmodel.view.figures.tag_memory import tag_memory\n"
    found = options(code + "live(tag_memory, start={}, |")
    assert found["follow="] == "''"
    assert "queues=" in found, "live() hands it on to the figure"
    assert "start=" not in found
    assert "view=" not in found, "it has no name"
    assert "queues=" not in options(code + "live(tag_memory, queues=|")
    assert "queues=" not in options(code + "live(tag_memory, [|")
    assert options("def own(alpha, *, beta=3):\n    ...\nown(1,\n    be|")["beta="] == ""
    assert "n=" not in options("def own(n, |")


@pytest.mark.parametrize("code", ["'ke|", "f\"ke|", "# ke|", "'''\nke|", "\"it's ke|", "x = 'a' 'ke|", "1e|", "def ke|",
                                  "class ke|", "import os as ke|", "for ke|", "'{ke|", "f'{{ke|", "f'{kernel} ke|",
                                  "f'{kernel:ke|", "f'{kernel!r:>ke|", "xf'{ke|"])
def test_no_options_where_no_name_stands(code, names):
    assert options(code, names) is None


@pytest.mark.parametrize("code", ["'' + ke|", "'''\n''' + ke|", "# so\nke|", "'broken\nke|", "if kernel: ke|",
                                  "f(\"#\", ke|", "''''''; ke|", "x = [ke|", "f'{ke|", "f'{{ {ke|}'",
                                  "rf\"a {1} {number[1:2]}{listed[ke|",
                                  "f'''{a}\n{f(ke|", "print(f'{a != ke|}')"])
def test_options_where_one_does(code, names):
    assert "kernel" in options(code, names)


@pytest.mark.parametrize("module", [blk_mq, core, scenario], ids=lambda module: module.__name__)
def test_functions_say_what_their_source_says(module):
    """In the page there is no documentation but in the source."""
    seen = 0
    for name, each in vars(module).items():
        if inspect.isfunction(each) and each.__module__ == module.__name__:
            said = what(f"from {module.__name__} import {name}")
            assert said["doc"] == (inspect.getdoc(each) or "")
            assert said["signature"].startswith(f"{name}(")
            assert all(parameter in said["signature"] for parameter in inspect.signature(each).parameters)
            path = module.__name__.partition(".")[2].replace(".", "/")
            assert said["where"] == f"{path}.html#{name}"
            seen += 1
    assert seen > 40


def test_what_a_name_is(names):
    assert what("kern|el.cpu", names)["signature"] == "kernel: Kernel"
    assert what("kern|el.cpu", names)["doc"].startswith("A booted kernel.")
    assert what("kernel.c|pu", names) == {"signature": "cpu: int", "doc": "The CPU that runs now.",
                                          "where": "sim/kernel.html#Kernel.cpu"}
    assert what("tag_set.nr_hw_queues", names)["signature"] == "nr_hw_queues: int = 3"
    assert what("number", names) == {"signature": "number = 8", "doc": ""}
    said = what("from blkmodel.include.linux.blk_mq import blk_mq_tag_set\nx = blk_mq_tag_|set")
    assert said["signature"].startswith("class blk_mq_tag_set(map=…, nr_maps=0, ")
    assert said["doc"].startswith("What the queues of one device share")
    assert what("from blkmodel.block import blk_mq")["where"] == "block/blk_mq.html"
    assert what("import blkmodel.view")["where"] == "view/index.html"
    assert what("len")["doc"] == len.__doc__
    own = "def own(a,\n        b=2):\n    '''What it is for.\n\n    More.'''\n    return [\nown"
    assert what(own) == {"signature": "own(a, b=2)", "doc": "What it is for.\n\nMore."}
    for nothing in ("'ker|nel'", "# kernel", "for", "f().kernel", "nobody", "kernel.nothing", "3"):
        assert what(nothing, names) is None, nothing


def test_an_answer_takes_one_look_around(monkeypatch, names):
    """No file is read to complete, one to describe; however much there is, little is said."""
    opened = []
    plain = builtins.open

    def counted(path, *more, **named):
        opened.append(path)
        return plain(path, *more, **named)

    monkeypatch.setattr(builtins, "open", counted)
    hints.definitions.cache_clear()
    for code in ("k|", "kernel.|", "from blkmodel.block.blk_mq import |", "blk_mq.blk_mq_init_queue(|"):
        assert options(code, names)
    assert opened == []
    assert what("blk_mq.blk_mq_init_queue", names)
    assert len(opened) == 1
    many = {f"name_{number}": number for number in range(5000)}
    found = hints.complete(asked("|"), many)
    assert len(found["options"]) == hints.MOST
    assert found["more"]
    assert options("name_1234|", many) == {"name_1234": "1234"}
    assert "number" in options("x = 1\n" * 50_000 + "nu|", names)
    monkeypatch.setattr(hints, "LONGEST", 20)
    assert "far" not in options("far = 1; near = 2; it = 3\n|")


def test_fields_of_a_text(names):
    assert options("print(f'now {kernel.|} ns')", names)["now"] == "property"
    assert what("f'{kernel.mach|ine}'", names)["signature"].startswith("machine")
    assert "name=" in options("from blkmodel import scenario\nprint(f'{scenario.disk(|", names)


def test_odd_code_does_no_harm(names):
    for code in ("import", "from", "from . import |", "from .x import |", "import .|", "(((", ")))|", "f(|", "\\",
                 "def", "@|", "x = \"\"\"", "class A(|", "kernel..|", "[|].", "lambda |", "f'{|", "\x00|",
                 "from a import b as |", "def f(:\n |"):
        hints.complete(asked(code), names)
        hints.describe(asked(code), names)
