"""Memory of a tag set: every page run is the model's own."""

from __future__ import annotations

import re
from html import unescape
from xml.etree import ElementTree

import pytest

from blkmodel.sim import booted
from blkmodel.view.facts.tag_pages import contents, describe, load_driver, summary
from blkmodel.view.figures.page_runs import page_runs
from blkmodel.view.figures.tag_memory import tag_memory

CASES = [{"driver": "nvme", "depth": 1, "queues": 1}, {"driver": "null_blk", "depth": 1, "queues": 1},
         {"driver": "nvme", "depth": 1023, "queues": 2}, {"driver": "null_blk", "depth": 100, "queues": 16},
         {"driver": "nvme", "depth": 77, "queues": 3}, {"driver": "null_blk", "depth": 600, "queues": 2}]


def loaded(driver, depth, queues):
    with booted(queues) as kernel:
        return load_driver(driver, depth, queues), kernel


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_shows_what_the_model_allocated(case):
    html = tag_memory(**case)
    assert html == tag_memory(**case)
    tree = ElementTree.fromstring(f"<div>{html}</div>")
    tag_set, kernel = loaded(**case)
    runs = contents(tag_set.tags[0], kernel.memory, tag_set.cmd_size)
    assert len([each for each in tree.iter() if each.get("class") == "run"]) == len(runs)
    assert summary(runs) in unescape(html)
    assert unescape(re.findall(r'aria-label="([^"]*)"', html)[-1]) == describe(runs)
    assert f"{tag_set.queue_depth} tags, takes" in html
    for run in runs:
        assert run["size"] == kernel.memory.live[run["addr"]].size
        assert 0 <= run["waste"] == run["size"] - (run["last"] - run["first"] + 1) * run["stride"]
        assert run["order"] <= 4
        for tag in range(run["first"], run["last"] + 1):
            assert tag_set.tags[0].static_rqs[tag]._addr == run["addr"] + (tag - run["first"]) * run["stride"]
    assert [run["first"] for run in runs][1:] == [run["last"] + 1 for run in runs][:-1]
    assert runs[-1]["last"] == tag_set.queue_depth - 1


def test_one_request_is_as_large_as_one_of_many():
    for driver in ("nvme", "null_blk"):
        one, many = (contents(s.tags[0], k.memory, s.cmd_size)[0]["stride"]
                     for s, k in (loaded(driver, depth, 1) for depth in (1, 2)))
        assert one == many


def test_the_runs_of_one_queue_alone():
    tag_set, kernel = loaded("null_blk", 8, 1)
    assert "8 requests of 448 bytes in 1 page run, 4 KiB; 512 bytes" in page_runs(tag_set.tags[0], kernel.memory)
