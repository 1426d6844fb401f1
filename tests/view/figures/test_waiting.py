"""What waits, as figures: who limits whom, and what three schedulers make of reads behind writes."""

from __future__ import annotations

import itertools

import pytest

from blkmodel.view.facts.waiting import READS, contest, depths
from blkmodel.view.figures.waiting import depth_figure, schedulers
from tests.view.wellformed import in_fresh_interpreters, label, parsed, words

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(("jobs", "iodepth", "queues", "depth", "scheduler", "nr"), [
    *itertools.product((1, 3), (1, 20), (1, 2), (4, 16), ("none", "mq-deadline"), (None, 5)),
    (2, 20, 2, 4, "kyber", None)])
def test_each_number_comes_out_of_the_one_above(jobs, iodepth, queues, depth, scheduler, nr):
    queues = min(queues, jobs)
    now = depths(jobs, iodepth, queues, depth, scheduler, nr)
    begun, room = now.sched or now.tags
    assert now.wanted == jobs * iodepth >= begun >= now.tags[0] == now.inflight
    if nr is None or now.refused:
        assert now.nr_requests == (depth if scheduler == "none" else 2 * depth)
    else:
        assert now.nr_requests == nr
    assert room == queues * now.nr_requests
    assert now.tags[1] == queues * (min(depth, now.nr_requests) if scheduler == "none" else depth)
    assert bool(now.refused) == (scheduler == "none" and nr is not None and nr > depth)
    assert now.asleep <= min(jobs, now.wanted - begun)
    if queues == 1:
        assert begun == min(now.wanted, room)
        assert now.inflight == min(begun, now.tags[1])


def test_who_waits():
    assert depths(2, 32, 1, 16, "none", None).asleep == 2
    assert depths(2, 32, 1, 16, "mq-deadline", None)[1:] == ((32, 32), (16, 16), 32, 16, 1, "")


@pytest.mark.parametrize("case", [{}, {"scheduler": "none", "nr_requests": 32}, {"nr_requests": 64}])
def test_the_depths_are_drawn(case):
    html = depth_figure(**case)
    asked = {"jobs": 2, "iodepth": 32, "queues": 1, "depth": 16, "scheduler": "mq-deadline", "nr_requests": None} | case
    now = depths(*asked.values())
    begun = (now.sched or now.tags)[0]
    said = f"Of 64 reads, {begun} have a request, and {now.inflight} are in flight. Not begun: {64 - begun}."
    assert said in words(html)
    assert label(html).startswith(said)
    assert ("nr_requests: EINVAL." in words(html)) == bool(now.refused)
    names = [row[0].text for row in parsed(html).iter("tr")]
    assert len(names) == (4 if now.sched else 3)


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


def test_each_scheduler_is_drawn():
    html = schedulers(2, 10)
    drawn = [["read" in each.get("class") for each in svg.iter(f"{SVG}rect")] for svg in parsed(html).iter(f"{SVG}svg")]
    found = [contest(name, 2, 10) for name in ("none", "mq-deadline", "kyber")]
    assert drawn[:3] == [[each.read for each in one.served] for one in found]
    assert [cell.text for cell in parsed(html).iter("td") if cell.text] == [
        number for one in found for number in (f"{one.longest(True):g}", f"{one.longest(False):g}", f"{one.calls:.0f}",
                                               str(one.travel))]
    assert "none: " + "w" * 10 + "rrrr" in label(html)


def test_the_same_in_every_interpreter():
    assert len(in_fresh_interpreters("depth_figure() + schedulers(4, 8)", "blkmodel.view.figures.waiting")) == 1
