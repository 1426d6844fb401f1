"""Depths of a disk as a figure: who limits whom, and that no number is larger than what it comes out of."""

from __future__ import annotations

import itertools

import pytest

from blkmodel.view.facts.depths import depths
from blkmodel.view.figures.depths import depth_figure
from tests.view.wellformed import in_fresh_interpreters, label, parsed, words


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
def test_what_is_drawn(case):
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


def test_the_same_in_every_interpreter():
    assert len(in_fresh_interpreters("depth_figure()", "blkmodel.view.figures.depths")) == 1
