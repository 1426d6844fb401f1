"""Two call trees side by side: what both can show in one row, and a mark where they differ."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from blkmodel import boot, scenario
from blkmodel.capture.beside import side_by_side
from blkmodel.trace import record
from blkmodel.view.figures.beside import beside
from tests.view.wellformed import label, parsed

CALLS = Path(__file__).resolve().parents[2] / "recordings" / "linux-5.4" / "calls"


@pytest.fixture(scope="module")
def pair():
    """A document, and what the model does in the same situation."""
    document = json.loads((CALLS / "null_blk-read-4k.json").read_text())
    boot(document["scenario"]["cpus"])
    for step in document["scenario"]["setup"]:
        scenario.run_step(step)
    return document, record(scenario.run_step, document["scenario"]["traced"])


def drawn(document, recording, kind="task"):
    return beside(side_by_side(document, recording, kind), document["kernel"]["release"])


def rows(html):
    """(what stands on the left, on the right, the row's classes), row by row."""
    found = []
    for row in parsed(html).iter("tr"):
        cells = ["".join(cell.itertext()) for cell in row.iter("td")]
        if cells:
            found.append((*cells, row.get("class", "")))
    return found


def test_what_both_show_stands_side_by_side(pair):
    html = drawn(*pair)
    made = rows(html)
    assert "none differs" in label(html)
    assert not [row for row in made if "differs" in row[2]]
    assert ("blk_mq_get_tag", "blk_mq_get_tag", "") in made
    assert all(left == right for left, right, _ in made if left and right)


def test_what_only_one_can_show(pair):
    made = rows(drawn(*pair))
    assert ("create_task_io_context", "", "only") in made
    assert ("", "__sbitmap_get_word", "only") in made
    assert ("", "null_queue_rq", "only") in made, "a driver that was not traced"
    assert {row[2] for row in made} == {"", "only"}


def test_the_order_is_that_of_both(pair):
    document, recording = pair
    made = rows(drawn(document, recording))
    calls = [event.function for event in recording.events if type(event).__name__ == "Call"]
    right = [name for _, name, _ in made if name]
    first = calls.index("blkdev_read_iter")
    assert calls[first:first + len(right)] == right


def test_a_difference_has_a_mark(pair):
    document = copy.deepcopy(pair[0])
    text = json.dumps(document["contexts"]).replace("blk_mq_put_tag", "blk_mq_free_tags")
    document["contexts"] = json.loads(text)
    html = drawn(document, pair[1])
    assert [row for row in rows(html) if "differs" in row[2]] == [("blk_mq_free_tags", "blk_mq_put_tag", "differs")]
    assert "and 1 differ" in label(html)


def test_another_kind_of_context(pair):
    document, recording = pair
    assert rows(drawn(document, recording, "irq")) == []
