"""Load as figures: depth, IOPS, latency and where the time goes; what iostat says of a disk that has little to do."""

from __future__ import annotations

import pytest

from blkmodel.view.facts.load import arrivals, readers
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


def test_busy_is_what_util_is_not():
    found = arrivals(1000, least=100, servers=1)
    assert found.columns["%util"] > 95
    assert found.iops * 100 / 1e4 == pytest.approx(10, abs=1)
    assert found.columns["aqu-sz"] == 0


def test_figures_say_in_words_what_they_draw():
    drawn = depth_and_latency(tags=8)
    for shown in ("8 at once: 80,000 IOPS, 100 µs", "16 at once: 80,000 IOPS, 198 µs (98 µs waiting for a tag"):
        assert shown in label(drawn)
    assert "98 µs in the scheduler" in label(depth_and_latency(tags=8, scheduler="kyber"))
    assert "80,000 198 15.80" in words(drawn)
    assert "%util 98; 0.11 reads there on average, aqu-sz 0.00" in label(busy())
    assert label(busy(least=50_000)) == "No rate is slow enough for this disk."
