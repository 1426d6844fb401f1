"""The line map of an I/O: it stops where the recording was, and nowhere else."""

from __future__ import annotations

import itertools
import re

import pytest

from blkmodel.trace import Call
from blkmodel.view.facts.io_way import STATIONS, stops, waited
from blkmodel.view.facts.recorded import recorded_io
from blkmodel.view.figures.journey import DISKS, journey
from tests.view.wellformed import in_fresh_interpreters, label, parsed, words

SVG = "{http://www.w3.org/2000/svg}"
CASES = [(disk, op, kib, scheduler, depth) for disk, op, (kib, depth), scheduler in itertools.product(
    DISKS.values(), ("read", "write"), ((4, 32), (512, 2)), ("none", "mq-deadline"))]


def names(*case):
    return [stop.station.name for stop in stops(recorded_io(*case))]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_shows_each_stop_with_its_number(case):
    html = journey(*case)
    made = stops(recorded_io(*case))
    marks = [(int(text.text), group[0].text) for group in parsed(html).iter(f"{SVG}g")
             for text in group.iter(f"{SVG}text") if text.text.isdigit()]
    assert sorted(number for number, _ in marks) == list(range(1, len(made) + 1))
    for number, tip in marks:
        stop = made[number - 1]
        assert tip.startswith(stop.station.name)
        assert stop.function in tip
        assert f"{number}. {stop.station.name}" in label(html)
    assert html.count("not on this way") == len(STATIONS) - len(made)
    calls = [event.function for event in recorded_io(*case).of(Call)]
    for stop in made:
        if stop.station.functions and "joined" not in stop.station.name:
            assert stop.times == sum(calls.count(function) for function in stop.station.functions)
    counts = {stop.station.name: stop.times for stop in made}
    assert counts["the driver"] == counts["the request ends"] == counts["a tag, and a request"]
    assert counts["the bio ends"] == counts["a bio"] + counts.get("cut in two", 0)


@pytest.mark.parametrize(("case", "places"), [
    (("nvme 4", "read", 4), []),
    (("nvme 4", "write", 4), ["plug", "software queue"]),
    (("nvme 1", "read", 4, "mq-deadline"), ["scheduler"]),
    (("null_blk 4", "read", 4), []),
    (("null_blk 1", "read", 4), []),
    (("null_blk 4", "write", 4), ["plug", "software queue"]),
    (("null_blk 4", "read", 4, "mq-deadline"), ["scheduler"]),
    (("null_blk 1", "write", 4, "mq-deadline"), ["plug", "scheduler"]),
    (("null_blk 4", "read", 1024, "none", 4), ["queue for a tag"]),
    (("null_blk 4", "read", 512, "mq-deadline", 4), ["scheduler", "dispatch list"]),
])
def test_where_it_waits(case, places):
    assert waited(stops(recorded_io(*case))) == places
    said = words(journey(*case))
    assert ("nowhere before the driver" in said) == (not places)
    assert all(place in said for place in places)


def test_who_takes_it_on():
    html = journey("null_blk 4", "write", 4)
    assert re.search(r"the driver</b>: .*?\(kblockd, CPU.1\)", html)
    assert "by-worker" in html
    assert "by-worker" not in journey("null_blk 4", "read", 4).split("</style>")[1]


def test_an_interrupt_may_end_several_and_a_doorbell_begin_several():
    stops_at = {stop.station.name: stop.times for stop in stops(recorded_io("nvme 4", "read", 1024))}
    assert stops_at["the driver"] == 3
    assert stops_at["the doorbell"] == stops_at["an interrupt"] == 1
    assert "the doorbell" not in names("null_blk 4", "read", 4)
    assert "a softirq" in names("nvme 1", "read", 4)


def test_what_is_not_joined_is_no_stop():
    assert "joined to a request" not in names("null_blk 1", "write", 1024)


def test_the_same_in_every_interpreter():
    assert len(in_fresh_interpreters("journey('null_blk 4', 'write', 512)", "blkmodel.view.figures.journey")) == 1
