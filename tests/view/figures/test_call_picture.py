"""A picture of calls: the chosen ones, each beneath the one that leads to it."""

from __future__ import annotations

import re

from blkmodel import boot, scenario
from blkmodel.trace import record
from blkmodel.view.figures.call_picture import call_picture
from tests.view.wellformed import parsed

NOTES = {"blkdev_read_iter": "the system call", "submit_bio": "hand it over", "blk_mq_make_request": "make a request",
         "blk_mq_get_tag": "take a tag", "__blk_mq_get_tag": "try", "null_queue_rq": "the driver",
         "bio_endio": "over & done", "never_called": "not drawn"}


def picture():
    boot(4)
    scenario.null_blk_load(submit_queues=2)
    return call_picture(record(scenario.io, "nullb0", "read", 0, 4096), "blkdev_read_iter", NOTES)


def test_it_draws_what_has_a_note_and_happened():
    drawn = re.findall(r'<text [^>]*head mono"[^>]*>(\w+)</text>', picture())
    assert drawn == ["blkdev_read_iter", "submit_bio", "blk_mq_make_request", "blk_mq_get_tag", "__blk_mq_get_tag",
                     "null_queue_rq", "bio_endio"]
    assert "over &amp; done" in picture()
    assert "not drawn" not in picture()


def test_each_hangs_beneath_its_caller():
    figure = parsed(f"<div>{picture()}</div>")
    boxes = {group[3].text: (float(group[1].get("x")), float(group[1].get("y")))
             for group in figure.iter("{http://www.w3.org/2000/svg}g") if len(group) > 3}
    assert boxes["blk_mq_get_tag"][0] > boxes["blk_mq_make_request"][0]
    assert boxes["null_queue_rq"][0] == boxes["blk_mq_get_tag"][0], "both are called on behalf of blk_mq_make_request"
    assert [y for _, y in boxes.values()] == sorted(y for _, y in boxes.values())


def test_it_says_so_in_words_too():
    said = re.search(r'role="group" aria-label="([^"]*)"', picture())[1]
    assert said.startswith("blkdev_read_iter and what it leads to: blkdev_read_iter, 0 deep: the system call; ")
    assert "null_queue_rq, 3 deep: the driver" in said
