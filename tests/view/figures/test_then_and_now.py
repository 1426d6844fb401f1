"""The two columns of an I/O: what is folded, what is told of, and that a click chooses what the control does."""

from __future__ import annotations

import re

import pytest

from blkmodel.view.facts.since import SCENES, beside, differences
from blkmodel.view.figures.then_and_now import last_change, then_and_now
from tests.view.wellformed import in_fresh_interpreters, label, parsed, words


@pytest.mark.parametrize("scene", SCENES.values())
def test_every_difference_can_be_chosen_and_is_told_of(scene):
    for number, told in enumerate(differences(scene), 1):
        html = then_and_now(scene, number)
        root = parsed(html)
        assert all(each.why in words(html) and each.why in label(html) for each in told)
        assert [each.get("href").rpartition("/")[2] for each in root.iter("a")] == [
            each.commit for each in told if each.commit != "-"]
        chosen = [cell for cell in root.iter("td") if "chosen" in cell.get("class", "")]
        assert chosen
        assert {cell.get("data-set") for cell in chosen} == {f"change={number}"}
    assert last_change(scene) == len(differences(scene))


@pytest.mark.parametrize("scene", SCENES.values())
def test_unfolded_it_has_every_call(scene):
    html = then_and_now(scene, unfold=True)
    assert html.count("<code>") == sum(
        (row.then is not None) + (row.now is not None) for row in beside(scene))
    assert 'class="fold"' not in html
    folded = then_and_now(scene)
    assert len(folded) < len(html)
    hidden = sum(map(int, re.findall(r">(\d+) calls as they were", folded)))
    assert folded.count("<code>") == html.count("<code>") - 2 * hidden
    assert label(folded) != label(html)


@pytest.mark.parametrize("scene", SCENES.values())
def test_who_unfolds_leaves_what_was_not_folded_as_it_was(scene):
    """A browser then has only those rows to lay out that come."""
    folded, unfolded = (re.findall("<tbody>(.*?)</tbody>", then_and_now(scene, unfold=each)) for each in (False, True))
    assert len(folded) == len(unfolded)
    assert [old == new for old, new in zip(folded, unfolded, strict=True)] == [
        'class="fold"' not in body for body in folded]


def test_what_is_out_of_bounds_is_refused():
    with pytest.raises(ValueError, match="change"):
        then_and_now("read-4k", last_change("read-4k") + 1)


def test_it_is_the_same_in_every_interpreter():
    assert len(in_fresh_interpreters("then_and_now('read-4k', 5)",
                                     "blkmodel.view.figures.then_and_now")) == 1
