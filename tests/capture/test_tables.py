"""Tables of what a kernel did in many cases: a fact that is changed is found."""

import json
from pathlib import Path

import pytest

from blkmodel.capture.check import FAILED, PASSED, UNREADABLE, check_file
from tests.capture.test_formats import DROP, changed

TABLES = Path(__file__).parents[1] / "recordings" / "linux-5.4" / "tables"


@pytest.fixture
def check(tmp_path):
    """Check a table with one place changed; of its cases only the first few."""
    def check(name, *place, to, cases=4):
        document = json.loads((TABLES / f"{name}.json").read_text())
        if "cases" in document:
            document["cases"] = document["cases"][:cases]
        path = tmp_path / "changed.json"
        path.write_text(json.dumps(changed(document, *place, to=to)))
        return check_file(path)
    return check


@pytest.mark.parametrize(("name", "place", "to", "message"), [
    ("nvme-statuses", ("cases", 0, "returned"), -5, "read 0x1 dnr: returned: the recording has -5, the model -95"),
    ("nvme-statuses", ("cases", 0, "error"), "Input/output error", "read 0x1 dnr: error: the recording has "
     "'Input/output error', the model 'Operation not supported'"),
    ("nvme-statuses", ("cases", 2, "status"), "0x286", "read 0x286 dnr: returned: the recording has -95, "
     "the model -61"),
    ("nvme-statuses", ("cases", 1, "returned"), 0, "read 0x1: returned: the recording has 0, the model 4096"),
    ("nvme-statuses", ("cases", 1, "kernel_log"), ["x"], "read 0x1: kernel_log: the recording has ['x'], the model []"),
    ("nr_requests", ("cases", 1, "now"), 1, "mq-deadline, 1: now: the recording has 1, the model 4"),
    ("nr_requests", ("cases", 1, "ok"), False, "mq-deadline, 1: ok: the recording has False, the model True"),
    ("cpu-hotplug", ("irq", "offline", "nvme0q3", "effective_affinity_list"), "2", "offline: irq nvme0q3: the "
     "recording has 'smp_affinity_list=2 effective_affinity_list=2', the model 'smp_affinity_list=2 "
     "effective_affinity_list=0'"),
    ("cpu-hotplug", ("irq", "before", "nvme0q3", "smp_affinity_list"), "2-3", "before: irq nvme0q3: the recording has "
     "'smp_affinity_list=2-3 effective_affinity_list=2', the model 'smp_affinity_list=2 effective_affinity_list=2'"),
    ("cpu-hotplug", ("irq", "offline", "nvme0q0", "effective_affinity_list"), "2", "offline: irq nvme0q0: the "
     "recording has 'smp_affinity_list=0-3 effective_affinity_list=2', the model 'smp_affinity_list=0-3 "
     "effective_affinity_list=1'"),
    ("cpu-hotplug", ("hctx_cpus", "after", "4"), "0,1,3", "after: hctx 4: the recording has '0,1,3', the model "
     "'0,1,2,3'"),
    ("cpu-hotplug", ("irq", "write_smp_affinity", "exit"), 0, "write_smp_affinity: exit: the recording has 0, the "
     "model 1")])
def test_every_fact_is_compared(check, name, place, to, message):
    outcome = check(name, *place, to=to)
    assert outcome.result == FAILED
    assert outcome.differences[0] == message
    assert outcome.facts["passed"] == outcome.facts["cases"] - 1


def test_which_of_its_cpus_an_interrupt_goes_to_is_chance(check):
    outcome = check("cpu-hotplug", "irq", "after", "nvme0q0", "effective_affinity_list", to="1")
    assert outcome.result == PASSED
    assert outcome.facts["chance"] == {"to which of its CPUs an interrupt goes": 2}


def test_a_log_that_was_held_back_is_not_compared(check):
    outcome = check("nvme-statuses", "cases", 0, "kernel_log", to=DROP)
    assert outcome.result == PASSED
    assert outcome.facts["chance"] == {"logs that the recording does not have": 1}


def test_what_cannot_be_run(check):
    assert check("nvme-statuses", "cases", 0, "status", to="0x9999").differences == [
        "ValueError: status=0x9999: it is a number from 0x0 to 0x7ff"]
    assert check("nr_requests", "cases", 0, "scheduler", to="bfq").result == FAILED


@pytest.mark.parametrize(("name", "place", "to", "message"), [
    ("nvme-statuses", ("cases", 0, "op"), "flush", "cases[0].op: expected one of read, write, found 'flush'"),
    ("nvme-statuses", ("cases", 0, "dnr"), 2, "cases[0].dnr: expected true or false, found 2"),
    ("nvme-statuses", ("cases", 0, "status"), [], "cases[0].status: expected a number, true or false, or a text"),
    ("nvme-statuses", ("cases",), [{}] * 1001, "cases: expected a list of at most 1000, found 1001"),
    ("nr_requests", ("cases", 0, "write"), -1, "cases[0].write: expected a number, at least 0, found -1"),
    ("nr_requests", ("setup",), [["null_blk.load", {"nr_devices": 1 << 20}]], "setup[0]: expected steps that make"),
    ("nr_requests", ("cases",), [{"scheduler": "none", "write": 2048, "ok": True, "now": 4}] * 600,
     "cases: expected at most 4194304 requests in all, found 1228800"),
    ("cpu-hotplug", ("scenario", "cpus"), 0, "scenario.cpus: expected a number, at least 1, found 0"),
    ("cpu-hotplug", ("irq", "before", "nvme0q0", "smp_affinity_list"), "x", "irq.before.nvme0q0.smp_affinity_list: "
     "expected a list of CPUs such as 0-3,8, found 'x'"),
    ("cpu-hotplug", ("hctx_cpus", "before"), ["0"], "hctx_cpus.before: expected an object, found ['0']")])
def test_shapes_and_limits(check, name, place, to, message):
    outcome = check(name, *place, to=to)
    assert outcome.result == UNREADABLE
    assert outcome.summary.startswith(message)


def test_a_table_of_no_disk(check):
    assert check("nr_requests", "setup", 0, 1, "hw_queue_depth", to="x").differences == [
        "KeyError: \"there is no disk 'nullb0'; there is none\""]
