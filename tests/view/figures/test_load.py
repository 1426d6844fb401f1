"""Load as figures: depth, IOPS, latency and where the time goes; what iostat says of a disk that has little to do."""

from __future__ import annotations

import pytest

from blkmodel.view.facts.load import arrivals, curve, readers
from blkmodel.view.figures.load import busy, depth_and_latency
from tests.view.wellformed import label, words


@pytest.mark.parametrize("scheduler", ["none", "mq-deadline", "kyber"])
@pytest.mark.parametrize(("tags", "servers"), [(4, 0), (16, 4), (64, 0)])
def test_iops_times_latency_is_how_many_there_are(tags, servers, scheduler):
    for processes in (1, 4, 16):
        found = readers(processes, tags=tags, servers=servers, scheduler=scheduler)
        assert found.iops * found.latency / 1e6 == pytest.approx(processes, rel=.08)
        assert sum(found.stages) == pytest.approx(found.latency, rel=.01)
        most = min(each for each in (tags, servers or 1024, processes) if each)
        assert found.iops == pytest.approx(most * 10_000, rel=.02)


def test_what_is_too_few_says_where_they_wait():
    """Eight tags or eight servers for 16 processes: as many IOPS, and as long; but for a tag, or in the device."""
    tag, server = readers(16, tags=8), readers(16, tags=64, servers=8)
    assert tag.iops == pytest.approx(server.iops, rel=.02)
    assert (tag.stages[0], tag.stages[3]) == (pytest.approx(98, abs=3), pytest.approx(100, abs=1))
    assert (server.stages[0], server.stages[3]) == (0, pytest.approx(198, abs=3))


@pytest.mark.parametrize("scheduler", ["none", "mq-deadline", "kyber"])
@pytest.mark.parametrize(("tags", "queues", "servers"), [(1, 1, 0), (4, 1, 0), (4, 2, 0), (16, 1, 4), (64, 4, 0)])
def test_a_short_run_finds_the_law_and_the_rate(tags, queues, servers, scheduler):
    """The figure's runs last as long as they must: little is lost when a line forms, and while it ends."""
    for processes, found in zip((1, 4, 16), curve((1, 4, 16), tags, queues, 100, servers, scheduler), strict=True):
        most = min(each for each in (tags * queues, servers or 1024, processes) if each)
        assert .92 * processes < found.iops * found.latency / 1e6 < 1.001 * processes
        assert sum(found.stages) == pytest.approx(found.latency, rel=.01)
        assert found.iops == pytest.approx(most * 10_000, rel=.03)


def test_busy_is_what_util_is_not():
    found, = arrivals([1000], least=100, servers=1)
    assert found.columns["%util"] > 95
    assert found.iops * 100 / 1e4 == pytest.approx(10, abs=1)
    assert found.columns["aqu-sz"] == 0


def test_figures_say_in_words_what_they_draw():
    drawn = depth_and_latency(tags=4)
    for shown in ("4 at once: 40,000 IOPS, 100 µs", "8 at once: 40,000 IOPS, 192 µs (92 µs waiting for a tag"):
        assert shown in label(drawn)
    assert "92 µs in the scheduler" in label(depth_and_latency(tags=4, scheduler="kyber"))
    assert "40,000 192 7.69" in words(drawn)
    assert "%util 100; 0.10 reads there on average, aqu-sz 0.00" in label(busy())
    assert label(busy(least=50_000)) == "No rate is slow enough for this disk."
