"""mq-deadline's lists as a figure: the states are the model's, and what it gives out is what a driver would get."""

from __future__ import annotations

import itertools
import re

import pytest

from blkmodel.view.facts.deadline import driver_order, states
from blkmodel.view.figures.deadline_lists import deadline_lists, last_step
from tests.view.wellformed import in_fresh_interpreters, label, parsed, words

WANTED = "r40 w12 r8 r24 w16 w4 r30"


@pytest.mark.parametrize("wanted", [WANTED, "w50 w10 w30 r26 r6 r44", "r1", "w9 r9", "r2 w4 r6 w8 r10 w12 r14 w16"])
@pytest.mark.parametrize(("fifo_batch", "writes_starved"), [(16, 2), (1, 1), (2, 0), (1, 4)])
def test_the_order_is_the_drivers(wanted, fifo_batch, writes_starved):
    told = states(wanted, 0, fifo_batch, writes_starved)
    order = driver_order(wanted, {"fifo_batch": fifo_batch, "writes_starved": writes_starved})
    # with a driver that takes the first at once, the exercise's disk begins before all are there
    assert sorted(order.split()) == sorted(each.name for each in told[-1].given)
    if wanted == "r1":
        assert order == "r1"
    assert last_step(wanted, 0, fifo_batch, writes_starved) == len(told) - 1 == len(wanted.split())


@pytest.mark.parametrize("apart", [0, 100, 300])
@pytest.mark.parametrize("fifo_batch", [1, 3, 16])
def test_what_always_holds(apart, fifo_batch):
    told = states(WANTED, apart, fifo_batch, 2)
    everything = set(WANTED.split())
    for before, now in itertools.pairwise(told):
        for direction in (0, 1):
            assert sorted(now.by_sector[direction]) == sorted(now.by_age[direction])
            pages = [each.page for each in now.by_sector[direction]]
            assert pages == sorted(pages)
            left = [each.left for each in now.by_age[direction]]
            assert left == sorted(left)
        assert {each.name for lists in now.by_age for each in lists} | {each.name for each in now.given} == everything
        last = now.given[-1]
        direction = "rw".index(last.kind)
        if "follows the last one, and the batch" in now.why:
            assert last.name == before.follows.name
            assert now.batching == before.batching + 1 <= fifo_batch
        else:
            assert now.batching == 1
            if "late" in now.why:
                assert before.by_age[direction][0].left <= 0
            if "oldest" in now.why:
                assert last.name == before.by_age[direction][0].name
            if "waited long enough" in now.why:
                assert last.kind == "w"
                assert before.starved >= 2
        assert now.starved <= 3


def test_reads_and_writes_alternate_when_a_batch_is_one():
    told = states("r2 w4 r6 w8 r10 w12", 0, 1, 1)
    assert [each.kind for each in told[-1].given] == ["r", "w"] * 3


@pytest.mark.parametrize("step", [0, 1, 4, 7])
def test_every_request_is_drawn_where_it_is(step):
    html = deadline_lists(step=step)
    now = states(WANTED, 0, 16, 2)[step]
    chips = [each for each in parsed(html).iter("span") if (each.get("class") or "").startswith("rq")]
    assert len(chips) == len(now.given) + 2 * sum(map(len, now.by_age))
    marked = [each for each in chips if "next" in each.get("class").split()]
    assert len(marked) == (2 if step < 7 else 0)
    told = states(WANTED, 0, 16, 2)
    if step < 7:
        assert {each.find("b").text for each in marked} == {told[step + 1].given[-1].name}
    assert re.search(r"Given to the driver: (.*?)\.$", label(html))[1] == (
        ", ".join(each.name for each in now.given) or "nothing")


def test_neighbours_are_one_request():
    html = deadline_lists("r8 r9 r7 w1")
    assert "r7–9" in words(html)
    assert last_step("r8 r9 r7 w1") == 2


def test_time_passes_between_them():
    assert "700 ms late" in words(deadline_lists(apart=200))
    assert "their oldest is late" in label(deadline_lists(apart=200, step=1))


@pytest.mark.parametrize(("asked", "why"), [
    ({"wanted": "x3"}, "'x3' is no request"), ({"wanted": "r"}, "'r' is no request"), ({"wanted": ""}, "0 requests"),
    ({"wanted": "r1000"}, "up to page 999"), ({"wanted": "r1 " * 17}, "17 requests: type from 1 to 16"),
    ({"step": 8}, "step=8: it is a number from 0 to 7")])
def test_what_it_can_not_use(asked, why):
    with pytest.raises(ValueError, match=why):
        deadline_lists(**asked)


def test_the_same_in_every_interpreter():
    assert len(in_fresh_interpreters("deadline_lists(step=3)", "blkmodel.view.figures.deadline_lists")) == 1
