"""What a page's interpreter makes of odd code in a cell, without a page: an output that can be sent there, always."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import types

import pytest

from tests.book.conftest import ROOT

PAGE = ROOT / "book" / "_engine" / "page"


@pytest.fixture
def cells(monkeypatch):
    """The module that runs them, anew, with a page that hears nothing."""
    monkeypatch.setitem(sys.modules, "js", types.SimpleNamespace(tellSaid=lambda text: None))
    monkeypatch.setattr(os, "chdir", lambda place: None)
    monkeypatch.setenv("BLKMODEL_STILL", "1")
    for name in ("hints", "cells"):
        spec = importlib.util.spec_from_file_location(name, PAGE / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
    return module


def run(cells, source):
    assert json.loads(cells.needs(source))["missing"] == []
    return json.loads(cells.run(json.dumps({"id": "odd", "source": source})))


@pytest.mark.parametrize(("source", "said"), [
    ("input('name? ')", "EOFError: EOF when reading a line"),
    ("class E(Exception):\n    def __str__(self): raise ValueError\nraise E", "E: <ValueError in its own words>"),
    ("'x' * 3_000_000", "RuntimeError: the value takes more than 2000000 letters to show"),
    ("while True: print('x' * 1000)", "RuntimeError: the cell has printed more than 200000 letters"),
    ("raise SystemExit(3)", "SystemExit: 3")])
def test_what_fails_says_so(cells, source, said):
    outputs = run(cells, source)
    assert outputs[-1]["traceback"][-1] == said


@pytest.mark.parametrize(("source", "data"), [
    ("class H:\n    def _repr_html_(self): return b'x'\n    __repr__ = lambda self: 'H'\nH()",
     {"text/html": "b'x'", "text/plain": "H"}),
    ("class H:\n    def _repr_mimebundle_(self): return {'text/plain': {1}, 2: 'x', 'image/png': None}\nH()",
     {"text/plain": "{1}", "2": "x"})])
def test_odd_forms_of_a_value(cells, source, data):
    assert run(cells, source)[-1]["data"] == data


@pytest.mark.parametrize("source", ["print('a\0b')", "x = " + "-" * 200_000 + "1"], ids=["a zero", "deep"])
def test_what_cannot_be_read(cells, source):
    assert run(cells, source)[-1]["output_type"] == "error"


def test_the_way_to_an_error_is_short(cells):
    lines = run(cells, "def f(): return f()\nf()")[-1]["traceback"]
    assert len(lines) == 42
    assert lines[:2] == ["line 2", "    f()"]
    assert lines[20].endswith("more …")
    assert lines[-1].startswith("RecursionError: ")
    assert len(run(cells, "def f(n): return f(n - 1) if n else 1 / 0\nf(5)")[-1]["traceback"]) == 15
