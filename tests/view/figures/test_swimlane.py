"""The swimlane: who ran where, in which order, and who had queued it, as the recording has them."""

import itertools

import pytest

from blkmodel.trace import Call, Enter, Leave
from blkmodel.trace.lanes import runs
from blkmodel.view.facts.recorded import recorded_reads
from blkmodel.view.figures.swimlane import IRQMODES, swimlane
from tests.view.wellformed import in_fresh_interpreters, label, parsed, words

CASES = list(itertools.product(IRQMODES.values(), ("none", "mq-deadline"), (1, 2, 4)))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_call_is_in_one_run(case):
    recording = recorded_reads(*case, 3, 2)
    done = runs(recording)
    assert sum(len(run.calls) for run in done) == len([call for call in recording.of(Call) if call.context])
    for before, after in itertools.pairwise(done):
        assert before.end <= after.start
        assert before.time <= after.time
    assert sum(run.woken is None for run in done) == len(recording.of(Enter)) == len(recording.of(Leave))
    for run in done:
        who = recording.contexts[run.context]
        assert (run.cpu, run.name) == (who.cpu, who.name)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_figure_has_a_bar_and_a_line_for_each_run(case):
    html = swimlane(*(*case, 7, 3))
    done = runs(recorded_reads(*case, 7, 3))
    root = parsed(html)
    bars = [each for each in root.iter("div") if "bar" in (each.get("class") or "").split()]
    assert sorted(int(each.text.split()[0]) for each in bars) == list(range(1, len(done) + 1))
    assert len(list(root.iter("li"))) == len(done)
    assert label(html).startswith(f"Who runs where: {len(done)} run")
    queued = [run for run in done if run.woken is None and run.queued]
    assert len(list(root.iter("line"))) == len(queued)


def who(*case):
    return [(run.kind, run.name, run.cpu, run.queued and run.queued[1]) for run in runs(recorded_reads(*case))]


def test_a_timer_ends_a_read_in_an_interrupt():
    assert who(2, "none", 2, 5) == [("task", "dio", 5, None), ("irq", "hrtimer", 5, "null_cmd_end_timer"),
                                        ("task", "dio", 5, None)]
    times = [run.time for run in runs(recorded_reads(2, "none", 2, 5))]
    assert times[1] - times[0] == 10_000
    assert "10 µs" in words(swimlane(2, "none", 2, 5))
    assert "10 microseconds of virtual time pass" in label(swimlane(2, "none", 2, 5))


def test_with_a_scheduler_a_worker_on_another_cpu_dispatches_and_interrupts_the_submitters():
    assert [each[:3] for each in who(1, "mq-deadline", 2, 5)] == [
        ("task", "dio", 5), ("worker", "kblockd", 1), ("irq", "call_function_single", 5), ("task", "dio", 5)]
    said = words(swimlane(1, "mq-deadline", 2, 5))
    assert "worker kblockd, CPU 1 , queued by kblockd_mod_delayed_work_on" in said
    assert "sleeps in __blkdev_direct_IO_simple" in said


def test_one_queue_completes_in_a_softirq_and_nothing_waits_at_once():
    assert [each[0] for each in who(1, "none", 1)] == ["task", "softirq", "task"]
    assert [each[0] for each in who(0, "none", 1)] == ["task"]
    assert "no virtual time passes" in words(swimlane(0, "none", 1))


def test_each_read_is_by_the_next_cpu():
    assert [run.cpu for run in runs(recorded_reads(0, "none", 2, 7, 3))] == [7, 0, 1]


def nvme(queues, shared=True, op="read"):
    return recorded_reads(0, "none", queues, 5, 1, op, "nvme", shared)


def kinds(recording):
    return [(run.kind, run.cpu) for run in runs(recording)]


def test_a_device_fetches_and_answers_and_interrupts():
    done = runs(nvme(8))
    assert kinds(nvme(8)) == [("task", 5), ("device", -1), ("device", -1), ("irq", 5), ("task", 5)]
    assert [run.did for run in done if run.kind == "device"] == ["fetches 1 command",
                                                                 "writes 1 completion, sends 1 interrupt"]
    said = words(swimlane(0, "none", 8, 5, 1, "read", "nvme"))
    assert "device nvme , queued by nvme_write_sq_db : fetches 1 command." in said
    assert "CPU -1" not in said
    assert "on CPU 5;" in label(swimlane(0, "none", 8, 5, 1, "read", "nvme"))


def test_where_a_completion_ends():
    assert kinds(nvme(2))[-2:] == [("irq", 7), ("task", 5)], "the CPUs share a cache"
    assert kinds(nvme(2, shared=False))[-3:] == [("irq", 7), ("irq", 5), ("task", 5)]
    assert kinds(nvme(1))[-2][0] == "softirq"


def test_a_write_is_sent_by_a_worker():
    assert kinds(nvme(8, op="write"))[:2] == [("task", 5), ("worker", 5)]
    assert "blkdev_write_iter" in words(swimlane(0, "none", 8, 5, 1, "write", "nvme"))


def test_it_is_the_same_every_time():
    assert len(in_fresh_interpreters("swimlane(2, 'mq-deadline', 2, 5, 2)", "blkmodel.view.figures.swimlane")) == 1
