"""Splitting and merging as a figure: what it shows is what the driver got, within the limits that the reader set."""

from __future__ import annotations

import itertools

import pytest

from blkmodel.view.facts.transfers import transfer
from blkmodel.view.figures.split_merge import split_merge
from tests.view.wellformed import in_fresh_interpreters, label, parsed, words

SVG = "{http://www.w3.org/2000/svg}"
CASES = list(itertools.product(((64,), (8, 8, 4), (1, 2, 1, 20)), ((1,), (1, 3, 2), (64,)), (8, 64), (1, 3, 128),
                               (4, 16), (0, 16), (True, False), ("none", "mq-deadline")))


@pytest.mark.parametrize("case", CASES[::7], ids=str)
def test_requests_are_within_the_limits_and_are_the_whole(case):
    sizes, _, max_kib, max_segments, segment_kib, chunk_kib, gaps, _ = case
    way = transfer(*case)
    assert way.kib == sum(sizes)
    assert sum(length for _, _, length in way.vectors) == way.kib << 10
    at = 0
    for request in way.requests:
        assert request.offset == request.sector * 512 == at
        assert sum(segment.length for segment in request.segments) == request.length <= max_kib << 10
        assert len(request.segments) <= max_segments
        if gaps:
            assert max(segment.length for segment in request.segments) <= segment_kib << 10
        else:
            assert not any(segment.addr % 4096 for segment in request.segments[1:])
            assert not any((segment.addr + segment.length) % 4096 for segment in request.segments[:-1])
        if chunk_kib:
            assert at // (chunk_kib << 10) == (at + request.length - 1) // (chunk_kib << 10)
        at += request.length
    assert at == way.kib << 10
    # each byte is told of at the address where the process has it
    vectors = iter(way.vectors)
    _, addr, left = next(vectors)
    for segment in (segment for request in way.requests for segment in request.segments):
        done = 0
        while done < segment.length:
            if not left:
                _, addr, left = next(vectors)
            assert segment.addr + done == addr
            step = min(left, segment.length - done)
            addr, left, done = addr + step, left - step, done + step


@pytest.mark.parametrize(("asked", "said"), [
    ({}, "1 read of 64 KiB: 16 pages in 16 vectors of 1 bio, which becomes 1 request of 16 segments."),
    ({"runs": "64"}, "16 pages in 1 vector of 1 bio, which becomes 1 request of 1 segment."),
    ({"max_segments": 5}, "which becomes 4 requests of 16 segments."),
    ({"sizes": "8 8 8 8"}, "4 reads of 32 KiB in all: 8 pages in 8 vectors of 4 bios, which become 1 request"),
    ({"sizes": "8 8"}, "which become 2 requests"),  # two are not held back
    ({"sizes": "1 1 1", "gaps": False}, "3 pages in 3 vectors of 3 bios, which become 3 requests of 3 segments."),
    ({"sizes": "64", "chunk_kib": 16}, "which becomes 4 requests"),
])
def test_what_it_says(asked, said):
    html = split_merge(**asked)
    assert said in words(html)
    assert label(html).startswith(words(html).split(".")[0])


@pytest.mark.parametrize(("asked", "why"), [
    ({"max_kib": 32}, "cut at the most that a request may have"), ({"max_segments": 5}, "cut at the most segments"),
    ({"chunk_kib": 16}, "cut where a chunk ends")])
def test_why_a_bio_is_cut(asked, why):
    html = split_merge(**asked)
    cuts = [path for path in parsed(html).iter(f"{SVG}path") if path.get("class") == "cut"]
    assert len(cuts) == words(html).count(why) == label(html).count(why) > 0


@pytest.mark.parametrize("asked", [{}, {"sizes": "256", "runs": "1 3"}, {"sizes": "8 8 4", "max_kib": 4}])
def test_every_piece_is_drawn(asked):
    html = split_merge(**asked)
    tips = [title.text for title in parsed(html).iter(f"{SVG}title")]
    way = transfer(tuple(map(int, asked.get("sizes", "64").split())), tuple(map(int, asked.get("runs", "1").split())),
                   asked.get("max_kib", 64), 16, 64, 0, True, "none")
    assert sum("page at" in tip for tip in tips) == way.kib // 4
    assert sum(tip.startswith("bio ") for tip in tips) == len(way.vectors)
    assert sum(" at 0x" in tip and tip.startswith("request ") for tip in tips) == sum(
        len(request.segments) for request in way.requests)
    assert len(parsed(html).findall(".//li")) == len(way.requests)


@pytest.mark.parametrize(("asked", "why"), [
    ({"sizes": "big"}, "sizes: 'big' is no list of KiB"), ({"runs": "0"}, "runs: '0' is no list of pages"),
    ({"sizes": ""}, "sizes: '' is no list"), ({"sizes": "1000 1000"}, "2000 KiB are more than the 1024")])
def test_what_it_can_not_use(asked, why):
    with pytest.raises(ValueError, match=why):
        split_merge(**asked)


def test_the_same_in_every_interpreter():
    assert len(in_fresh_interpreters("split_merge('8 8 4', '1 2')", "blkmodel.view.figures.split_merge")) == 1
