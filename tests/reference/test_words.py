"""Each docstring stands alone: whoever opens the book at one function has not read the function before it."""

import ast
import re
from pathlib import Path

import pytest

import blkmodel

PACKAGE = Path(blkmodel.__file__).parent
LEANS = re.compile(
    r"(?:The same|The other|Likewise|Ditto|As above|So (?:does|is|it)|What it)\b(?! (?:CPU|device|kernel))"
    r"|(?:Undo|Change|End|Let|Read|Do|Make|Take|Give) that\b(?=[.,;:])|Note that it\b"
    r"|(?!Whether|When|Where|Before|After)[A-Z][a-z]+ (?:it|them|those|these)\b(?! who| in | that| of | modules| bios)")
"""Openings that speak of something named before. A method may: its class has named it."""


def first_words(path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(node)):
            yield node.name, text


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_docstrings_stand_alone(path):
    assert [f"{name}: {text.splitlines()[0]}" for name, text in first_words(path) if LEANS.match(text)] == []


@pytest.mark.parametrize(("text", "leans"), [
    ("The same, reads and writes apart.", True), ("Free them.", True), ("Undo that; the last one does.", True),
    ("Note that it has none.", True), ("Let it go.", True), ("What it keeps with a bio.", True),
    ("Free a tag set's maps.", False), ("Let those in who wait.", False),
    ("Whether a queue is stopped.", False)])
def test_what_leans(text, leans):
    assert bool(LEANS.match(text)) == leans
