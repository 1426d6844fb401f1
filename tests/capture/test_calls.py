"""Comparing call trees, with a made-up mirror whose functions have real names."""

from typing import Any

import pytest

import blkmodel
from blkmodel.capture import trees
from blkmodel.capture.calls import Share, compare
from blkmodel.reference import mirror
from blkmodel.reference.mirror import MirrorFunction
from blkmodel.reference.omission import Omission
from blkmodel.sim.kernel import Context
from blkmodel.trace import record

FILES = {"blk_mq_start_request": "block/blk-mq.c", "blk_add_timer": "block/blk-timeout.c",
         "blk_mq_complete_request": "block/blk-mq.c", "__blk_mq_issue_directly": "block/blk-mq.c",
         "null_queue_rq": "drivers/block/null_blk_main.c", "null_handle_cmd": "drivers/block/null_blk_main.c",
         "rescan_partitions": "block/partition-generic.c", "raise_blk_irq": "block/blk-softirq.c",
         "__blk_complete_request": "block/blk-softirq.c", "blk_mq_debugfs_register": "block/blk-mq-debugfs.c",
         "blk_account_io_start": "block/blk-core.c", "blk_poll": "block/blk-mq.c",
         "nvme_poll": "drivers/nvme/host/pci.c", "blk_mq_poll_hybrid": "block/blk-mq.c",
         "blk_mq_requeue_work": "block/blk-mq.c", "blk_mq_delay_kick_requeue_list": "block/blk-mq.c"}


def _caller():
    """A function with code of its own, which the recorder can tell from the others."""
    names: dict[str, Any] = {}
    exec("def call(run, below):\n    run(below)", names)
    return names["call"]


@pytest.fixture
def model(monkeypatch):
    """Make the model's run from a forest of (context kind, calls as in a recording); return its recording."""
    blkmodel.boot(1)
    made: dict[str, Any] = {name: _caller() for name in FILES}
    monkeypatch.setattr(mirror, "functions",
                        lambda: [MirrorFunction(name, FILES[name], fn) for name, fn in made.items()])
    monkeypatch.setattr(mirror, "omitted", dict)

    def run(forest):
        for name, below in forest:
            made[name](run, below)

    def model(*contexts):
        def play():
            for kind, calls in contexts:
                blkmodel.sim.this().run_in(Context(kind, "x", 0), run, trees.expand(calls))
        return record(play)
    return model


def document(*contexts, roots=("__blk_mq_issue_directly",), step=("io", {"cpu": 0}), task="dio", **more):
    return {"scenario": {"roots": list(roots), "traced": list(step)},
            "contexts": [{"context": kind, "task": task, "calls": calls} for kind, calls in contexts], **more}


ISSUE = ("task", [{"__blk_mq_issue_directly": [
    {"blk_mq_start_request": ["blk_add_timer"]}, "blk_mq_complete_request"]}])


def test_equal(model):
    found = compare(document(ISSUE), model(ISSUE))
    assert found.differences == []
    assert (found.trees, found.share, found.untraced) == (1, Share(4, 4), [])


def test_repeats_are_written_out():
    calls = [{"repeat": 2, "calls": ["a", {"b": [{"repeat": 2, "calls": ["c"]}]}]}]
    assert trees.expand(calls) == (("a", ()), ("b", (("c", ()), ("c", ())))) * 2


def test_what_is_out_of_scope_is_dropped_and_its_children_move_up(model):
    with_sysfs = ("task", [{"__blk_mq_issue_directly": [
        {"blk_mq_debugfs_register": [{"blk_mq_start_request": ["blk_add_timer"]}]},
        {"schedule": ["blk_mq_complete_request"]}]}])
    assert compare(document(with_sysfs), model(ISSUE)).differences == []
    ours = ("task", [{"__blk_mq_issue_directly": [
        {"blk_mq_debugfs_register": [{"blk_mq_start_request": ["blk_add_timer"]}]}, "blk_mq_complete_request"]}])
    assert compare(document(ISSUE), model(ours)).differences == []


def test_the_first_difference_is_named(model):
    less = ("task", [{"__blk_mq_issue_directly": ["blk_mq_start_request", "blk_mq_complete_request"]}])
    found = compare(document(ISSUE), model(less))
    assert found.differences == ["task tree: __blk_mq_issue_directly > blk_mq_start_request: call 1: "
                                 "the recording has blk_add_timer, the model has none"]
    assert found.share == Share(3, 4)
    assert compare(document(less), model(ISSUE)).differences == [
        "task tree: __blk_mq_issue_directly > blk_mq_start_request: call 1: "
        "the recording has none, the model has blk_add_timer"]


def test_order_matters(model):
    turned = ("task", [{"__blk_mq_issue_directly": [
        "blk_mq_complete_request", {"blk_mq_start_request": ["blk_add_timer"]}]}])
    assert compare(document(ISSUE), model(turned)).differences == [
        "task tree: __blk_mq_issue_directly: call 1: "
        "the recording has blk_mq_start_request, the model has blk_mq_complete_request"]


def test_the_number_of_task_trees_matters(model):
    found = compare(document(ISSUE), model(ISSUE, ISSUE))
    assert found.differences == ["task: the recording has 1 trees of __blk_mq_issue_directly, the model 2"]


def test_omitted_calls_are_dropped_and_counted(model, monkeypatch):
    monkeypatch.setattr(mirror, "omitted", lambda: {"blk_account_io_start": Omission.STATISTICS})
    more = ("task", [{"__blk_mq_issue_directly": [
        "blk_account_io_start", {"blk_mq_start_request": ["blk_account_io_start", "blk_add_timer"]},
        "blk_mq_complete_request"]}])
    found = compare(document(more), model(ISSUE))
    assert found.differences == []
    assert found.omitted == {"blk_account_io_start": 2}
    assert found.share == Share(4, 6)


def test_what_no_recording_is_said_to_run_must_not_be_in_one(model, monkeypatch):
    monkeypatch.setattr(mirror, "omitted", lambda: {"blk_account_io_start": Omission.NO_CHAPTER})
    more = ("task", [{"__blk_mq_issue_directly": [
        "blk_account_io_start", {"blk_mq_start_request": ["blk_add_timer"]}, "blk_mq_complete_request"]}])
    found = compare(document(more), model(ISSUE))
    assert found.omitted == {}
    assert found.differences == ["task tree: __blk_mq_issue_directly: call 1: the recording has blk_account_io_start, "
                                 "the model has blk_mq_start_request"]


def test_a_driver_that_was_not_traced_is_dropped_from_the_model(model):
    through_driver = ("task", [{"__blk_mq_issue_directly": [{"null_queue_rq": [
        {"blk_mq_start_request": ["blk_add_timer"]}, {"null_handle_cmd": ["blk_mq_complete_request"]}]}]}])
    found = compare(document(ISSUE), model(through_driver))
    assert found.differences == []
    assert found.untraced == ["drivers/block/null_blk_main.c"]


def test_a_driver_of_which_one_function_was_seen_was_traced(model):
    recorded = ("task", [{"__blk_mq_issue_directly": [{"null_queue_rq": ["blk_mq_start_request"]}]}])
    ours = ("task", [{"__blk_mq_issue_directly": [{"null_queue_rq": [{"null_handle_cmd": ["blk_mq_start_request"]}]}]}])
    found = compare(document(recorded), model(ours))
    assert found.untraced == []
    assert found.differences == ["task tree: __blk_mq_issue_directly > null_queue_rq: call 1: "
                                 "the recording has blk_mq_start_request, the model has null_handle_cmd"]


def test_the_core_is_never_taken_for_untraced(model):
    without_timer = ("task", [{"__blk_mq_issue_directly": ["blk_mq_start_request", "blk_mq_complete_request"]}])
    found = compare(document(without_timer), model(ISSUE))
    assert found.untraced == []
    assert len(found.differences) == 1


IRQ = ("irq", ["blk_mq_complete_request"])


def test_the_model_may_have_more_interrupts(model):
    recorded = document(IRQ, roots=("blk_mq_complete_request",))
    assert compare(recorded, model(IRQ, IRQ)).differences == []
    assert compare(recorded, model(("irq", [{"blk_mq_complete_request": ["blk_add_timer"]}]), IRQ)).differences == []


def test_the_model_may_not_have_fewer_interrupts(model):
    recorded = document(IRQ, IRQ, roots=("blk_mq_complete_request",))
    assert compare(recorded, model(IRQ)).differences == [
        "irq tree: 1 of 2 trees of blk_mq_complete_request are none of the model's 1; against its first: "
        "equal, but it has too few"]
    assert compare(recorded, model()).differences == [
        "irq tree: the recording has 2 trees of blk_mq_complete_request, the model none"]


def test_an_interrupt_is_not_a_softirq(model):
    recorded = document(("softirq", ["blk_mq_complete_request"]), roots=("blk_mq_complete_request",))
    assert len(compare(recorded, model(IRQ)).differences) == 1


def test_what_scans_for_partitions_was_traced_later(model):
    """A recording that tells nothing else of what was observed is one of the first."""
    scanned = ("task", [{"__blk_mq_issue_directly": [{"rescan_partitions": ISSUE[1][0]["__blk_mq_issue_directly"]}]}])
    found = compare(document(ISSUE), model(scanned))
    assert (found.differences, found.untraced) == ([], ["block/partition-generic.c"])
    found = compare(document(ISSUE, observed={"kernel_log": ["x", "y"]}), model(scanned))
    assert (len(found.differences), found.untraced) == (1, [])


HERE = ("irq", [{"blk_mq_complete_request": ["__blk_complete_request"]}])
ELSEWHERE = ("irq", [{"blk_mq_complete_request": [{"__blk_complete_request": ["raise_blk_irq"]}]}])


@pytest.mark.parametrize(("task", "step", "times", "passes"), [
    ("kworker", ("nvme.probe", {}), 1, True), ("kworker", ("io", {"cpu": 0}), 1, True),
    ("blkio", ("rescan_partitions", {"disk": "x"}), 1, True), ("kworker", ("nvme.probe", {}), 2, False),
    ("blkio", ("io", {"cpu": 0}), 1, False),
    ("dio", ("together", {"steps": [{"step": ["io", {"cpu": 1}]}]}), 1, False)])
@pytest.mark.parametrize("turn", [1, -1])
def test_on_which_cpu_a_request_of_a_worker_is_completed_is_chance(model, task, step, times, passes, turn):
    """In as many trees as there were such requests, either way; of a process that is bound to a CPU it is not."""
    theirs, ours = [(ISSUE, *[each] * times) for each in (HERE, ELSEWHERE)[::turn]]
    found = compare(document(*theirs, step=step, task=task), model(*ours))
    assert (found.differences == []) == passes
    if passes:
        assert sum(times for what, times in found.chance.items() if "may run anywhere" in what) == 1


def test_another_difference_beneath_an_interrupt_is_no_chance(model):
    other = ("irq", [{"blk_mq_complete_request": [{"__blk_complete_request": ["blk_add_timer"]}]}])
    assert compare(document(ISSUE, HERE, task="kworker"), model(ISSUE, other)).differences


def chance_of(found, words):
    return sum(times for what, times in found.chance.items() if words in what)


IN_VAIN, FOUND = "nvme_poll", {"nvme_poll": ["blk_mq_complete_request"]}
NOTHING = {"blk_poll": ["blk_mq_poll_hybrid", IN_VAIN]}


@pytest.mark.parametrize(("theirs", "ours", "times"), [
    ([{"blk_poll": [IN_VAIN, IN_VAIN, FOUND]}], [{"blk_poll": [FOUND]}], 2),
    ([{"blk_poll": [FOUND]}], [{"blk_poll": [IN_VAIN, FOUND]}], 0),
    ([NOTHING, "blk_poll", {"blk_poll": ["blk_mq_poll_hybrid", FOUND]}],
     [{"blk_poll": ["blk_mq_poll_hybrid", IN_VAIN, FOUND]}], 3)])
def test_how_often_a_process_polls_in_vain_is_chance(model, theirs, ours, times):
    found = compare(document(("task", [{"__blk_mq_issue_directly": theirs}])),
                    model(("task", [{"__blk_mq_issue_directly": ours}])))
    assert (found.differences, chance_of(found, "that found nothing")) == ([], times)


@pytest.mark.parametrize(("theirs", "ours"), [
    ([{"blk_poll": [FOUND]}], []),
    ([{"blk_poll": ["blk_mq_poll_hybrid"]}, {"blk_poll": [FOUND]}], [{"blk_poll": [FOUND]}]),  # it slept
    ([{"blk_poll": [{"blk_mq_poll_hybrid": ["blk_add_timer"]}, IN_VAIN]}], []),
    ([IN_VAIN], [])])
def test_what_a_poll_finds_and_whether_it_sleeps_is_none(model, theirs, ours):
    assert compare(document(("task", [{"__blk_mq_issue_directly": theirs}])),
                   model(("task", [{"__blk_mq_issue_directly": ours}]))).differences


def work(*calls):
    return {"blk_mq_requeue_work": list(calls)}


ROOTS = {"roots": ("blk_mq_requeue_work",)}


@pytest.mark.parametrize(("tasks", "ours", "passes"), [
    ([["a", "c"], ["b"]], "abc", True), ([["a", "c"], ["b"]], "acb", True), ([["a", "c"], ["b"]], "bac", True),
    ([["a", "c"], ["b"]], "cab", False), ([["a", "c"], ["b"]], "abb", False), ([["a", "b"], ["a"]], "aba", True),
    ([["a", "b"], ["a", "a"]], "aaab", True), ([["a"], ["b"]], "a", False)])
def test_which_of_two_tasks_was_first_is_not_said(model, tasks, ours, passes):
    trees_of = {"a": work("blk_add_timer"), "b": work("blk_mq_start_request"), "c": work("blk_mq_complete_request")}
    recorded = document(*(("task", [trees_of[each] for each in task]) for task in tasks), **ROOTS)
    found = compare(recorded, model(("task", [trees_of[each] for each in ours])))
    assert (found.differences == []) == passes


def test_how_often_a_request_is_put_off_is_chance(model):
    off, on = work("blk_mq_start_request", "blk_mq_delay_kick_requeue_list"), work("blk_mq_start_request")
    once = model(("task", [off, on]))
    found = compare(document(("task", [off, off]), ("task", [off, on]), **ROOTS), once)
    assert (found.differences, chance_of(found, "put a request off")) == ([], 2)
    assert compare(document(("task", [on]), **ROOTS), once).differences  # that it is, is none
    other = work("blk_add_timer", "blk_mq_delay_kick_requeue_list")
    assert compare(document(("task", [off, other, on]), **ROOTS), once).differences
    assert compare(document(("task", [off, on, on]), **ROOTS), once).differences


TRUE = {"blk_mq_complete_request": [{"blk_mq_start_request": ["blk_add_timer"]}, "__blk_complete_request"]}
LOST = {"blk_mq_complete_request": [{"blk_mq_start_request": ["blk_add_timer", "__blk_complete_request"]}]}


@pytest.mark.parametrize(("kind", "recorded", "passes"), [
    ("irq", LOST, True), ("softirq", LOST, True), ("task", LOST, False),
    ("irq", {"blk_mq_complete_request": [{"blk_mq_start_request": [{"blk_add_timer": ["__blk_complete_request"]}]}]},
     False),
    ("irq", {"blk_mq_complete_request": [{"blk_mq_start_request": ["__blk_complete_request", "blk_add_timer"]}]},
     False)])
def test_one_end_of_a_function_may_be_lost_in_an_interrupt(model, kind, recorded, passes):
    found = compare(document((kind, [recorded]), roots=("blk_mq_complete_request",)), model((kind, [TRUE])))
    assert (found.differences == []) == passes
    assert chance_of(found, "the tracer lost") == passes
    if passes:
        assert found.share == Share(4, 4)
