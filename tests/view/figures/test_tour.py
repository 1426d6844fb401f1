"""The tours and the list of modules, as they are drawn: well-formed, and each link leads to what is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import blkmodel
from blkmodel.reference import rooms
from blkmodel.view.facts.tour import EVENINGS, steps
from blkmodel.view.figures.defects import errors
from blkmodel.view.figures.tour import house, itinerary
from tests.view.wellformed import in_fresh_interpreters, label, parsed, words

PACKAGE = Path(blkmodel.__file__).parent


@cache
def places(page):
    """What a page of the model's sources has anchors for: its functions, classes and methods."""
    path = PACKAGE / f"{page.removeprefix('../model/').removesuffix('.html')}.py"
    tree = ast.parse((path if path.stem != "index" else path.with_name("__init__.py")).read_text())
    found = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
            if isinstance(node, ast.ClassDef):
                found |= {f"{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return found


@pytest.mark.parametrize("figure", [*EVENINGS, "house", "errors"])
def test_links_lead_somewhere(figure):
    html = {"house": house, "errors": errors}.get(figure, lambda: itinerary(figure))()
    parsed(html)
    links = re.findall(r'href="(\.\./model/.*?)"', html)
    assert links
    for link in links:
        page, _, place = link.partition("#")
        assert not place or place in places(page), link


@pytest.mark.parametrize("name", EVENINGS)
def test_every_step_is_drawn(name):
    said = words(itinerary(name))
    assert label(itinerary(name)).startswith(EVENINGS[name].title)
    for step in steps(name):
        assert step.function in said
    assert itinerary(name).count("aria-label") >= sum(bool(step.says) for step in steps(name))


def test_numbers_go_on_from_leg_to_leg():
    html = itinerary("read")
    first, second = re.findall(r'<ol start="(\d+)">', html)
    assert int(first) == 1
    assert int(second) == html[:html.rindex("<ol ")].count("<li") + 1


def test_all_modules_are_in_the_house():
    html = house()
    assert html.count("<li>") == len(rooms.modules())
    assert html.index("block/blk_mq") < html.index("sim/memory")
    assert "block/blk-mq.c" in words(html)


def test_it_is_the_same_each_time():
    assert len(in_fresh_interpreters("itinerary('set-up')", "blkmodel.view.figures.tour")) == 1
