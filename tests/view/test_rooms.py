"""Three rooms: how things look, what figures ask of the model, and figures. Imports and texts keep them apart."""

import ast
import re
from pathlib import Path

import pytest

import blkmodel.view
from blkmodel.view.draw.styles import SHEETS, style

VIEW = Path(blkmodel.view.__path__[0])
MAY_NOT = {"draw": ("figures",), "facts": ("figures", "draw"), "figures": ()}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text("utf8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{each.name}" for each in node.names)


@pytest.mark.parametrize("room", MAY_NOT)
def test_imports_point_one_way(room):
    for path in (VIEW / room).rglob("*.py"):
        for name in imported(path):
            assert not name.startswith(tuple(f"blkmodel.view.{other}" for other in MAY_NOT[room])), f"{path}: {name}"


def test_facts_have_no_html():
    for path in (VIEW / "facts").glob("*.py"):
        assert not re.search(r"</|<svg|<div|<span|html", path.read_text("utf8")), path


def test_no_style_sheet_is_left_in_python():
    for path in VIEW.rglob("*.py"):
        assert not re.search(r"\.blk-[\w-]+[ {]", path.read_text("utf8")), path


def test_every_sheet_is_used_and_is_there():
    written = "\n".join(path.read_text("utf8") for path in [*VIEW.rglob("*.py"), *VIEW.parent.glob("live/*.py")])
    assert set(SHEETS) == {path.stem for path in (VIEW / "draw/styles").glob("*.css")}
    for name, text in SHEETS.items():
        assert re.search(rf"""["' ]{name}["' ]""", written), name
        assert "\n" not in text
        assert "/*" not in text
        assert text.count("{") == text.count("}") > 0


def test_a_style_begins_with_what_every_figure_has():
    assert style() == SHEETS["base"]
    assert style("mapped bus") == SHEETS["base"] + SHEETS["mapped"] + SHEETS["bus"]
