"""Who goes first where several could: `check` accepts each order that a kernel can produce, and no other."""

import copy
import json

import pytest

from blkmodel.capture import check
from blkmodel.capture.check import PASSED, Turns, check_file
from blkmodel.capture.observed import Watch
from blkmodel.capture.reference import traced_step
from blkmodel.sim import this
from blkmodel.trace import record

ROOTS = ["blkdev_read_iter", "nvme_irq", "blk_mq_run_work_fn", "null_cmd_timer_expired"]


def scenario(setup, reads, ms=50):
    """A recording without contexts: reads, (disk, CPU), that begin so many milliseconds apart."""
    steps = [{"ms": ms * n, "step": ["io", {"disk": disk, "op": "read", "offset": n << 16, "length": 4096, "cpu": cpu,
                                            "page_runs": [1]}]} for n, (disk, cpu) in enumerate(reads)]
    return {"format": "blkmodel-calls/1", "kernel": {"release": "5.4.120", "arch": "x86_64", "config": {}},
            "scenario": {"name": "orders", "cpus": 4, "setup": setup, "traced": ["together", {"steps": steps}],
                         "roots": ROOTS}, "contexts": [], "observed": {"results": []}}


def of_the_model(document, others):
    """A recording of what the model does in a schedule, and the schedule."""
    watch, turns = Watch(document, traced_step(document)), Turns(others)
    check._set_up(document, watch, None)
    this().loop.choose = turns.choose
    recording = record(watch.run)

    def calls(nodes):
        return [{node.function: calls(node.calls)} if node.calls else node.function for node in nodes]
    found = [(recording.contexts[number], calls(nodes)) for number, nodes in recording.forest(ROOTS).items()]
    return {**document, "observed": {}, "contexts": [
        {"context": context.kind, "task": {"io": "dio"}.get(context.name, "kworker"), "calls": nodes}
        for context, nodes in found]}, turns


@pytest.fixture
def checked(tmp_path):
    def checked(document):
        (file := tmp_path / "orders.json").write_text(json.dumps(document))
        outcome = check_file(file)
        return outcome, [what for what in outcome.facts.get("chance", {}) if what.startswith("who goes first")]
    return checked


def tags(*cpus):
    """Readers on CPUs of a disk with three tags, and four of its scheduler."""
    return scenario([["null_blk.load", {"submit_queues": 1, "hw_queue_depth": 3, "queue_mode": 2, "nr_devices": 1,
                                        "irqmode": 2, "completion_nsec": 1_500_000_000}],
                     ["queue_file", {"disk": "nullb0", "file": "nr_requests", "value": "4"}]],
                    [("nullb0", cpu) for cpu in cpus])


ELSEWHERE = tags(0, 1, 2, 3, 3)
"""The last reader waits for a tag of the scheduler. Who brings one lets the worker of CPU 0 send what waits, too."""


def test_who_waits_for_a_tag_may_go_first_on_another_cpu(checked, monkeypatch):
    usual, turns = of_the_model(ELSEWHERE, {})
    assert turns.said[0] == ["kblockd on CPU 0", "dio on CPU 3"]
    assert (checked(usual)[0].result, checked(usual)[1]) == (PASSED, [])
    other, _ = of_the_model(ELSEWHERE, {0: 1})
    outcome, first = checked(other)
    assert outcome.result == PASSED, outcome.differences
    assert first == ["who goes first: dio on CPU 3 before kblockd on CPU 0"]
    monkeypatch.setattr(check, "MOST_SCHEDULES", 0)
    assert checked(other)[0].result != PASSED


def test_on_its_own_cpu_a_worker_of_high_priority_is_first(checked, monkeypatch):
    monkeypatch.setattr("blkmodel.services.tasks.workqueue.HIGHPRI_NICE_LEVEL", 0)
    elsewhere, here = (of_the_model(tags(0, 1, 2, 3, cpu), {})[0] for cpu in (3, 0))
    assert all(checked(document)[0].result == PASSED for document in (elsewhere, here))
    monkeypatch.undo()
    assert checked(elsewhere)[0].result == PASSED
    assert checked(here)[0].result != PASSED


def altered(document, change):
    """A copy, with the first list of at least three different calls changed."""
    document = copy.deepcopy(document)

    def altered(calls):
        names = [name if isinstance(name, str) else next(iter(name)) for name in calls]
        if len(set(names)) > 2:
            change(calls)
            return True
        return any(altered(below) for call in calls if isinstance(call, dict) for below in call.values())
    assert any(altered(context["calls"]) for context in document["contexts"] if context["task"] == "kworker")
    return document


@pytest.mark.parametrize("change", [lambda calls: calls.insert(0, calls.pop(1)), lambda calls: calls.pop(0),
                                    lambda calls: calls.append(calls[0])], ids=["swapped", "missing", "twice"])
def test_no_schedule_makes_up_for_a_wrong_call(checked, monkeypatch, change):
    tried, compared = [], check._compared
    monkeypatch.setattr(check, "MOST_SCHEDULES", 10)

    def noted(*how):
        tried.append(how)
        return compared(*how)
    monkeypatch.setattr(check, "_compared", noted)
    assert checked(altered(of_the_model(ELSEWHERE, {0: 1})[0], change))[0].result != PASSED
    assert 10 < len(tried) <= 2 * 5 + 10
    assert len({(cpu, turns.late, str(turns.others)) for _, cpu, turns in tried}) == len(tried)


def test_disks_end_what_they_do_at_once_in_any_order(checked):
    """Half of the read is of a disk with interrupts, half of one with a timer: whichever ends last ends the read."""
    document = scenario([
        ["nvme.device", {"device": "nvme0", "latency_ms": 5}], ["nvme.probe", {"device": "nvme0"}],
        ["null_blk.load", {"submit_queues": 1, "irqmode": 2, "completion_nsec": 5_000_000, "no_sched": 1}],
        ["dmsetup", "create", "s", "--table", "0 2048 striped 2 4 /dev/nvme0n1 0 /dev/nullb0 0"]], [("dm-0", 1)])
    document["scenario"]["traced"][1]["steps"][0]["step"][1]["length"] = 4096
    usual, turns = of_the_model(document, {})
    assert turns.said[1:] == [["hrtimer on CPU 1", "nvme"]]
    other, turns = of_the_model(document, {1: 1, 2: 1})
    assert turns.said[2] == ["hrtimer on CPU 1", "nvme0q2 on CPU 1"]
    assert [checked(each)[0].result for each in (usual, other)] == [PASSED, PASSED]
    assert checked(usual)[1] == [] != checked(other)[1]
    both = {**usual, "contexts": [*usual["contexts"], *other["contexts"]]}
    assert checked(both)[0].result != PASSED


def test_a_controller_ends_its_commands_in_any_order(checked, monkeypatch):
    """A read of 1 MiB is three commands: whichever ends last ends the read, and no command ends twice."""
    document = scenario([["nvme.probe", {"device": "nvme0"}]], [("nvme0n1", 1)])
    document["scenario"]["traced"][1]["steps"][0]["step"][1] |= {"length": 1 << 20, "page_runs": [1] * 256}
    usual, turns = of_the_model(document, {})
    commands = [first for first, then in turns.said if then == "what follows"]
    assert len(commands) == 3
    made = [usual, *(of_the_model(document, {number: 1})[0] for number in (0, 1))]
    assert made[1]["contexts"] != usual["contexts"]
    assert [checked(each)[0].result for each in made] == [PASSED] * 3
    assert checked(made[1])[1] == [f"who goes first: what follows before {commands[0]}"]
    ends = [context for context in usual["contexts"] if context["context"] == "irq"]
    assert checked({**usual, "contexts": [*usual["contexts"], ends[-1]]})[0].result != PASSED
    swapped = copy.deepcopy(made[1])
    swapped["contexts"][-1] = swapped["contexts"][-2]
    assert checked(swapped)[0].result != PASSED
    monkeypatch.setattr(check, "MOST_SCHEDULES", 0)
    assert checked(made[1])[0].result != PASSED
