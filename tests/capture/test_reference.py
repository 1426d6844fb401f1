"""The machine that was recorded: what of it a recording tells only by its trees."""

import json
from pathlib import Path
from typing import Any

import pytest

from blkmodel import scenario
from blkmodel.capture.check import check_file
from blkmodel.capture.reference import boot_reference, leave_as_found, traced_step
from blkmodel.drivers.block.null_blk_main import variables
from blkmodel.include.linux.blkdev import QUEUE_FLAG_STATS

CALLS = Path(__file__).parents[1] / "recordings" / "linux-5.4" / "calls"


def read(name):
    return json.loads((CALLS / f"{name}.json").read_text())


@pytest.mark.parametrize("name", ["poll-fixed-sleep-read", "poll-off-hipri-read"])
def test_requests_that_somebody_had_timed_before(name):
    outcome = check_file(CALLS / f"{name}.json")
    assert outcome.facts["chance"]["requests of nvme0n1 that were timed, which its setup does not say"] == 1


def test_requests_that_nobody_times():
    boot_reference(4, True)
    scenario.nvme_probe("nvme0", poll_queues=1)
    assert leave_as_found(read("poll-read")) == {}
    assert not scenario.disk("nvme0n1").queue.queue_flags >> QUEUE_FLAG_STATS & 1
    assert len(leave_as_found(read("poll-fixed-sleep-read"))) == 1
    assert scenario.disk("nvme0n1").queue.queue_flags >> QUEUE_FLAG_STATS & 1
    assert leave_as_found(read("poll-fixed-sleep-read")) == {}


def test_a_cache_that_had_a_page():
    boot_reference(4, True)
    scenario.null_blk_load(nr_devices=0)
    scenario.null_blk_create("a", memory_backed=1, size=64, cache_size=4)
    document = read("null_blk-cache-fsync")
    assert leave_as_found(document) == {"pages in the cache of nullb0, which its setup does not say": 1}
    assert [each.dev.curr_cache for each in variables().nullb_list] == [4096]
    assert leave_as_found(document) == {}
    document["scenario"]["traced"][0] = "io"
    scenario.flush("nullb0")
    assert leave_as_found(document) == {}


def test_where_pages_of_the_cache_lay():
    assert traced_step(read("buffered-read-4k"))[1]["page_runs"] == [1, 1, 1, 1]
    assert traced_step(read("buffered-read-64k"))[1]["page_runs"] == [1, 2, 1, 1, 2] + [1] * 9
    assert traced_step(read("poll-read")) == read("poll-read")["scenario"]["traced"]


@pytest.mark.parametrize(("segments", "runs"), [
    (1, [4]), (3, [2, 1, 1]), (4, [1, 1, 1, 1]), (0, [1] * 4), (9, [1] * 4)])
def test_segments_of_a_write(segments, runs):
    step: list[Any] = ["buffered", {"disk": "nvme0n1", "op": "write", "offset": 4095, "length": 8194, "cpu": 0}]
    calls = [{"repeat": segments, "calls": ["dma_direct_map_page"]}]
    document = {"scenario": {"traced": step}, "contexts": [{"context": "task", "calls": calls}]}
    assert traced_step(document) == ["buffered", {**step[1], "page_runs": runs}]
