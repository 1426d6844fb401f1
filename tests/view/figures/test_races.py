"""Two CPUs as a figure: it plays the run that goes wrong, and any other that somebody chooses."""

import re

import pytest

from blkmodel.live import Choice, Steps, Text, live
from blkmodel.view.facts.races import walk
from blkmodel.view.figures.races import ORDERS, last_step, race, race_by_hand
from tests.view.wellformed import in_fresh_interpreters, label, parsed, words


@pytest.mark.parametrize("order", ORDERS)
def test_it_ends_with_what_is_wrong(order):
    found = walk(*order.split(": ", 1))
    for step in range(last_step(order) + 1):
        html = race(order, step)
        assert ('<p class="says bad">' in html) == (step == last_step(order) and bool(found.complaint))
    assert found.complaint in words(html)
    assert label(html).startswith(f"{order}, after {found.run}: ")
    assert f"{found.states} states can be reached" in words(html)


def test_what_has_not_arrived_is_shown():
    before, after = (words(race("the last tag: without the waker's barrier", step)) for step in (3, 4))
    assert "free tags 0" in before
    assert "free tags 0" in after
    assert "free tags, as only F sees it" not in before
    assert "free tags, as only F sees it 1" in after


def test_by_hand():
    html = race_by_hand("the last tag: as the kernel does it", "WW")
    moves = dict(re.findall(r'data-set="run=(\w*)">([^<]*)<', html))
    assert moves == {"W": "Back", "WWW": "W goes on", "WWw": "W's write arrives", "WWF": "F goes on"}
    assert "W: stands in line" in words(html)
    assert race_by_hand("the last tag: as the kernel does it", "WWxW") == html, "as far as it can go"
    assert "The run: nothing" in words(race_by_hand("the last tag: as the kernel does it", "CTT"))
    bold = [each.get("class") for each in parsed(html).iter("li")]
    assert bold.count("new") == 3  # what each does next, and one write


def test_live():
    figure = live(race, order=Choice(ORDERS), step=Steps(last_step), start={"step": 3})
    assert figure.values == {"order": "the last tag: without the waker's barrier", "step": 3}
    live(race_by_hand, order=Choice(ORDERS), run=Text(size=24))
    assert len(in_fresh_interpreters("race(step=5)", "blkmodel.view.figures.races")) == 1
