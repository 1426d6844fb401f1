"""Tags under load as a figure: no disk has more than its share, everybody is served, and what is drawn is so."""

from __future__ import annotations

import itertools

import pytest

from blkmodel.view.facts.tag_load import moments
from blkmodel.view.figures.tags_under_load import last_step, tags_under_load
from tests.view.wellformed import in_fresh_interpreters, label, parsed, words

SVG = "{http://www.w3.org/2000/svg}"
CASES = [((0, 0, 0, 1), 6, 1, 8), ((0,), 12, 1, 1), ((0, 1, 2), 3, 2, 3), ((0, 0, 0, 0, 1, 1), 5, 3, 4),
         ((0, 1, 1, 2, 2, 2), 8, 1, 32), ((2, 0), 2, 4, 2)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_everybody_is_served_and_nobody_has_too_much(case):
    processes, reads, _, depth = case
    told = moments(*case)
    begun = [each for each in told if " reads disk " in each.said]
    done = [each for each in told if " is done" in each.said]
    assert len(begun) == len(done) == len(processes) * reads
    assert len(told) == 1 + len(begun) + len(done)
    for cpu, disk in enumerate(processes):
        assert sum(each.said.startswith(f"CPU {cpu} reads disk {disk},") for each in begun) == reads
    for before, now in itertools.pairwise(told):
        queue, tag = now.changed
        was, owner = before.queues[queue].tags[tag], now.queues[queue].tags[tag]
        if " is done" in now.said:
            assert was is not None
            assert owner is None
        else:  # an interrupt may come between a process's getting the tag and its sending the request
            assert was in (None, owner)
            assert owner is not None
        for here, there in zip(before.queues, now.queues, strict=True):
            assert len(there.tags) == depth
            for a, b in zip(here.shares, there.shares, strict=True):
                if b.has > a.has:
                    assert b.has <= b.most
                assert b.has == sum(owner is not None and owner[0] == b.disk for owner in there.tags)
    assert not any(owner for queue in told[-1].queues for owner in queue.tags)
    assert not any(share.waits for queue in told[-1].queues for share in queue.shares)


def test_who_waits():
    told = moments((0, 0, 0, 1), 6, 1, 8)
    assert any(share.waits for each in told for queue in each.queues for share in queue.shares)
    shares = {tuple(share.most for share in each.queues[0].shares) for each in told}
    assert shares == {(8, 8), (4, 4)}  # alone the first disk may have all, and half of them from then on


@pytest.mark.parametrize("step", [0, 3, 20, 48])
def test_every_tag_is_drawn(step):
    html = tags_under_load(step=step)
    now = moments((0, 0, 0, 1), 6, 1, 8)[step]
    tips = [group[0].text for group in parsed(html).iter(f"{SVG}g") if group.get("class") == "part"]
    assert tips == [f"tag {tag}: " + (f"CPU {owner[1]}'s, for disk {owner[0]}" if owner else "free")
                    for tag, owner in enumerate(now.queues[0].tags)]
    new = [each for each in parsed(html).iter(f"{SVG}rect") if each.get("class") == "new"]
    assert len(new) == 1 + bool(now.changed)  # one of them is the key's
    assert label(html).startswith(now.said)
    assert now.said in words(html)


def test_alone_a_disk_has_no_share():
    assert "of at most" not in words(tags_under_load("0 0", step=3))
    assert last_step("0 0", 2) == 8


@pytest.mark.parametrize(("asked", "why"), [
    ({"processes": "3"}, "'3' is no disk"), ({"processes": "x"}, "'x' is no disk"), ({"processes": ""}, "0 processes"),
    ({"processes": "0 " * 13}, "13 processes: type a disk for each of 1 to 12"), ({"step": 49}, "from 0 to 48")])
def test_what_it_can_not_use(asked, why):
    with pytest.raises(ValueError, match=why):
        tags_under_load(**asked)


def test_the_same_in_every_interpreter():
    assert len(in_fresh_interpreters("tags_under_load(step=20)", "blkmodel.view.figures.tags_under_load")) == 1
