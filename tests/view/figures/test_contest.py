"""Three schedulers as a figure: none keeps the order, the others let reads pass, and all serve everything."""

from __future__ import annotations

import pytest

from blkmodel.view.facts.contest import READS, contest
from blkmodel.view.figures.contest import schedulers
from tests.view.wellformed import in_fresh_interpreters, label, parsed

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("depth", [1, 4, 64])
@pytest.mark.parametrize("writes", [0, 5, 20])
def test_everything_is_served_once(depth, writes):
    pages = sorted((37 * n + 11) % 256 * 4 for n in range(writes + READS))
    for name in ("none", "mq-deadline", "kyber"):
        found = contest(name, depth, writes)
        assert sorted(each.page for each in found.served) == pages
        assert sum(each.read for each in found.served) == READS
        assert max(found.longest(True), found.longest(False)) == 100 * -(-(writes + READS) // depth)


def test_what_each_is_good_for():
    none, deadline, kyber = (contest(name, 4, 20) for name in ("none", "mq-deadline", "kyber"))
    assert not any(each.read for each in none.served[:20]), "in the order of submission"
    assert deadline.longest(True) < none.longest(True) > kyber.longest(True)
    assert deadline.travel < .6 * none.travel
    assert kyber.travel > .9 * none.travel
    assert none.calls < min(deadline.calls, kyber.calls)


def test_what_is_drawn():
    html = schedulers(2, 10)
    drawn = [["read" in each.get("class") for each in svg.iter(f"{SVG}rect")] for svg in parsed(html).iter(f"{SVG}svg")]
    found = [contest(name, 2, 10) for name in ("none", "mq-deadline", "kyber")]
    assert drawn[:3] == [[each.read for each in one.served] for one in found]
    assert [cell.text for cell in parsed(html).iter("td") if cell.text] == [
        number for one in found for number in (f"{one.longest(True):g}", f"{one.longest(False):g}", f"{one.calls:.0f}",
                                               str(one.travel))]
    assert "none: " + "w" * 10 + "rrrr" in label(html)


def test_the_same_in_every_interpreter():
    assert len(in_fresh_interpreters("schedulers(4, 8)", "blkmodel.view.figures.contest")) == 1
