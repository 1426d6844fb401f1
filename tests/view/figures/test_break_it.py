"""One allocation fails: the figure says what the kernel then did, and that nothing is left."""

import re

import pytest

from blkmodel import KernelError, boot, scenario
from blkmodel.live import Choice, Steps, live
from blkmodel.services.base.bug import KernelBug
from blkmodel.trace import Alloc
from blkmodel.view.facts.allocation_faults import given_back, story_of
from blkmodel.view.facts.recorded import THREE, recorded
from blkmodel.view.figures.break_it import BREAKABLE, break_it, last_allocation
from tests.view.wellformed import in_fresh_interpreters, label, parsed, words

LOST: dict[str, dict[int, int]] = {
    "tag-set": {**dict.fromkeys(range(12, 20), 1), **dict.fromkeys(range(21, 29), 2)},
    "load": {**dict.fromkeys(range(17, 25), 1), **dict.fromkeys(range(26, 34), 2), **dict.fromkeys(range(62, 67), 5),
             **dict.fromkeys(range(67, 72), 10), 75: 1},
    "load-one": {47: 1},
    "probe": {102: 1},
}
"""Of each scenario: the allocations after whose failure something is lost, and how many that are."""


@pytest.fixture(params=BREAKABLE.values())
def name(request):
    return request.param


def test_every_failure_is_drawn_and_leaves_what_linux_loses(name):
    lost = {}
    step = 17 if name == "probe" else 1  # of its two hundred a few; tests/drivers/nvme fails every one
    for allocation in range(0, last_allocation(name) + 1, step):
        html = break_it(name, allocation)
        story, done = story_of(name, allocation), recorded(name, allocation)
        assert parsed(html) is not None
        if story.left and not isinstance(story.error, KernelBug):
            lost[allocation] = story.left
        refused = [event for event in done.recording.of(Alloc) if not event.addr]
        assert len(refused) == (allocation > 0)
        assert len(story.taken) == len(done.recording.of(Alloc))
        if allocation:
            failed = story.taken[allocation - 1]
            assert (failed.kind, failed.size) == (refused[0].kind, refused[0].size)
            assert failed.until is None
            assert f"allocation {allocation} of {last_allocation(name)} fails, {failed.kind} of" in label(html)
            same = "the same" if not story.left else ""
            assert f"{story.before} live allocations before, {story.after} after: {same}" in words(html)
            assert len(list(parsed(html).iter("ol"))) == 1
        if story.error:
            assert story.error.name == "ENOMEM" or name == "probe"
            assert story.error.name in words(html)
        if story.error and not story.left:
            assert all(each.until is not None for each in story.taken if each is not story.taken[allocation - 1])
    assert lost == LOST.get(name, {})


def test_the_errno_is_the_commands_own():
    for allocation in range(1, last_allocation("load") + 1, 7):
        kernel = boot(4)
        log, error = len(kernel.log), None
        kernel.memory.fail_nth(allocation)
        try:
            scenario.null_blk_load(**THREE)
        except KernelError as refused:
            error = refused.name
        story = story_of("load", allocation)
        assert story.error.name == error if error else story.error is None
        assert story.log == kernel.log[log:]


def test_what_was_taken_last_is_given_back_first():
    story = story_of("scheduler", 14)
    last = [each for each in given_back(story) if each.freed_in == "blk_mq_init_bitmap_tags"]
    assert len(last) == 4, "the function that fails unwinds what is its own"
    assert [each.number for each in sorted(last, key=lambda each: each.until)] == [13, 12, 11, 10]
    assert [(node.function, node.value) for node in story.path[-2:]] == [("bt_alloc", -12),
                                                                         ("sbitmap_queue_init_node", -12)]
    said = words(break_it("scheduler", 14))
    assert "13 sbq_wait_state[] 512 B sbitmap_queue_init_node · given back as no. 1 in blk_mq_init_bitmap_tags" in said
    assert "blk_mq_init_tags C model NULL" in said


def test_less_depth_instead_of_an_error():
    html = break_it("tag-set", 12)
    assert "blk-mq: reduced tag depth (32 -> 16)" in words(html)
    assert "the kernel does without, and goes on" in words(html)


def test_smaller_runs_instead_of_an_error():
    story = story_of("tag-set", 11)
    assert [(each.kind, each.until) for each in story.taken[10:13]] == [("pages(4)", None), ("pages(2)", None),
                                                                      ("pages(2)", None)]
    assert story.error is None


def test_a_probe_ends_in_what_the_driver_makes_of_it():
    """Who asks for interrupt vectors and gets none for lack of memory says so; others go on without."""
    ends: dict[str | None, list[int]] = {}
    for allocation in range(1, last_allocation("probe"), 12):
        story = story_of("probe", allocation)
        ends.setdefault(story.error.name if story.error else None, []).append(allocation)
    assert {None, "BUG", "EIO"} <= ends.keys()
    story = story_of("probe", ends["EIO"][0])
    assert story.log[-1] == "nvme nvme0: Removing after probe failure status: -5"
    assert story.path[0].function == "nvme_reset_work"


@pytest.mark.parametrize("allocation", [0, 85, 173])
def test_of_many_rows_those_around_the_one_that_fails(allocation):
    rows = [row for row in parsed(break_it("probe", allocation)).iter("li") if row.get("data-key")]
    assert len(rows) == 32
    assert any(row.get("class") == "fails" for row in rows) == (allocation > 0)
    more = [int(each) for each in re.findall(r"(\d+) more", words(break_it("probe", allocation)))]
    assert sum(more) + sum(_count(row) for row in rows) == len(story_of("probe", allocation).taken)


def _count(row):
    """How many allocations a row stands for: "3" or "3–7"."""
    first, _, last = row.find("div/b").text.partition("–")
    return int(last or first) - int(first) + 1


@pytest.mark.parametrize(("allocation", "made"), [
    (63, "with 2 I/O queues and nvme0n1"), (85, "with 1 I/O queue and nvme0n1"),
    (90, "with 2 I/O queues and no disk")])
def test_what_there_is_all_the_same(allocation, made):
    assert f"the kernel does without, and goes on, {made}." in words(break_it("probe", allocation))
    assert f"The kernel does without and goes on, {made}." in label(break_it("probe", allocation))


def test_none_fails():
    assert "none fails" in words(break_it("load", 0))


def test_it_is_the_same_every_time():
    assert len(in_fresh_interpreters("break_it('load', 40)", "blkmodel.view.figures.break_it")) == 1


def test_as_a_live_figure(monkeypatch):
    monkeypatch.setenv("BLKMODEL_STILL", "1")
    figure = live(break_it, scenario=Choice(BREAKABLE), allocation=Steps(last_allocation))
    figure.set(scenario="scheduler", allocation=999)
    assert figure.values["allocation"] == last_allocation("scheduler")
