"""The tours, the recordings of a real kernel, and the code as it is written, held together."""

import ast
import json
from pathlib import Path

import pytest

from blkmodel.capture import trees
from blkmodel.reference import mirror, rooms
from blkmodel.reference.source import comparable, definitions
from blkmodel.view.facts import tour
from blkmodel.view.facts.tour import EVENINGS
from tests.tools.size import CORE

CALLS = Path(__file__).resolve().parents[2] / "recordings" / "linux-5.4" / "calls"
RECORDED = {
    ("set-up", "the tag set"): "nvme-probe", ("set-up", "the queues"): "nvme-probe",
    ("read", "down to the doorbell"): "read-4k", ("read", "and back"): "read-4k",
    ("mapped", "dmsetup create"): "dm-create", ("mapped", "dmsetup load"): "dm-load-linear",
    ("mapped", "dmsetup resume"): "dm-resume-linear", ("mapped", "a read"): "dm-linear-read-4k",
}


def in_recording(name, leg):
    """The functions that a kernel called there, in the order of the first calls."""
    document = json.loads((CALLS / f"{name}.json").read_text())
    forest = [tree for context in document["contexts"] for tree in trees.expand(context["calls"])]
    if leg.below:
        forest = [tree for above in outermost(forest, (leg.below,)) for tree in above[1]]
    found: dict[str, None] = {}
    for tree in outermost(forest, leg.roots):
        found |= dict.fromkeys(preorder(tree, leg.without))
    return list(found)


def outermost(forest, names):
    for tree in forest:
        if tree[0] in names:
            yield tree
        else:
            yield from outermost(tree[1], names)


def preorder(tree, without):
    if tree[0] not in without:
        yield tree[0]
        for below in tree[1]:
            yield from preorder(below, without)


@pytest.mark.parametrize(("name", "leg"), [(name, leg) for name, evening in EVENINGS.items() for leg in evening.legs],
                         ids=lambda each: getattr(each, "title", each))
def test_a_kernel_called_them_in_this_order(name, leg):
    known = {function for function in comparable() - mirror.omitted().keys() if len(definitions()[function]) == 1}
    files = {each.file for each in mirror.traced()}
    model = [function for function, module in tour.calls(name, leg)
             if function in known and rooms.file_of(module) in files]
    kernel = [function for function in in_recording(RECORDED[name, leg.title], leg) if function in known]
    assert model == kernel


@pytest.mark.parametrize("name", EVENINGS)
def test_every_function_is_there_and_has_so_many_lines(name):
    """Counted once more, in a plainer way: the lines that are not blank, all comment, or documentation."""
    for step in tour.steps(name):
        source = rooms.path_of(step.module).read_text()
        place = ast.parse(source).body
        for part in step.function.split("."):
            node = next(each for each in place if getattr(each, "name", None) == part)
            place = node.body
        first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
        documentation = ast.get_docstring(node, clean=False)
        quiet = range(place[0].lineno, place[0].end_lineno + 1) if documentation is not None else range(0)
        lines = [line.strip() for number, line in enumerate(source.splitlines(), 1)
                 if first <= number <= node.end_lineno and number not in quiet]
        assert step.lines == sum(bool(line) and not line.startswith("#") for line in lines), step
        if documentation is None:
            assert step.says == ""
        else:
            assert " ".join(documentation.split()).startswith(step.says)
            assert step.says


def test_what_is_read_in_an_evening():
    everything = tour.steps("set-up")
    assert tour.total(everything)[1] <= CORE
    assert {each.room for each in everything} >= {"block", "drivers/nvme", "lib, kernel", "services"}
    mirror = [each.function for each in everything if each.room != "services"]
    assert mirror[:2] == ["nvme_dev_add", "blk_mq_alloc_tag_set"]


def test_nothing_is_met_twice():
    met = [(each.function, each.module) for name in EVENINGS for steps in tour.tour(name).values() for each in steps]
    assert len(met) == len(set(met))


def test_what_the_mirror_has_on_the_way_says_what_it_is_for():
    for name in EVENINGS:
        assert [each.function for each in tour.steps(name) if each.file.endswith(".c") and not each.says] == []


def test_who_imports_whom():
    found = tour.imports()
    assert ("sim", "services") not in found
    assert ("block", "services") in found
    assert all(one != other for one, other in found)
