"""What came of a step: a recording that is changed by one letter no longer agrees, and what is chance may differ."""

import json
from pathlib import Path

import pytest

from blkmodel.capture.check import FAILED, PASSED, SKIPPED, UNREADABLE, check_file
from tests.capture.test_formats import DROP, changed

KERNEL = Path(__file__).parents[1] / "recordings" / "linux-5.4"

READ = ("blk_update_request: critical medium error, dev nvme0n1, sector 0 op 0x0:(READ) flags 0x0 phys_seg 1 prio "
        "class 0")


@pytest.fixture
def check(tmp_path):
    """Check a recording of calls with one place in `observed` changed."""
    def check(name, *place, to):
        document = json.loads((KERNEL / "calls" / f"{name}.json").read_text())
        path = tmp_path / "changed.json"
        path.write_text(json.dumps(changed(document, "observed", *place, to=to)))
        return check_file(path)
    return check


def lost(name, file):
    """The text of one of a recording's files."""
    return json.loads((KERNEL / "calls" / f"{name}.json").read_text())["observed"]["files"][file]


@pytest.mark.parametrize(("name", "place", "to", "message"), [
    ("read-medium-error", ("results", 0, "errno"), "EIO",
     "result 1, errno: the recording has 'EIO', the model 'ENODATA'"),
    ("read-medium-error", ("results", 0, "errno"), DROP,
     "result 1, errno: the recording has None, the model 'ENODATA'"),
    ("read-retried", ("results", 0, "return"), 4095, "result 1, return: the recording has 4095, the model 4096"),
    ("nvme-fsync", ("results", 0, "op"), "fdatasync",
     "result 1, op: the recording has 'fdatasync', the model 'fsync'"),
    ("nvme-discard", ("results", 0, "return"), 1, "result 1, return: the recording has 1, the model 0"),
    ("nvme-zero-out", ("results",), [], "results: the recording has 0, the model 1"),
    ("wait-for-tag", ("results", 1, "ms"), 692,
     "result 2: the recording has it after 692 ms, the model after 2700"),
    ("read-medium-error", ("kernel_log", 0), READ.replace("phys_seg 1", "phys_seg 2"),
     f"kernel_log, line 1: the recording has '{READ.replace('phys_seg 1', 'phys_seg 2')}', the model '{READ}'"),
    ("read-medium-error", ("kernel_log", 0), DROP, f"kernel_log, line 1: the recording has none, the model '{READ}'"),
    ("cpu-offline", ("kernel_log", 0), "smpboot: CPU 2 is now offline", "kernel_log, line 1: the recording has "
     "'smpboot: CPU 2 is now offline', the model 'smpboot: CPU 1 is now offline'"),
    ("cpu-online", ("kernel_log", 1), "smpboot: Booting Node 0 Processor 1 APIC 0x2", "kernel_log, line 2: the "
     "recording has 'smpboot: Booting Node 0 Processor 1 APIC 0x2', the model 'smpboot: Booting Node 0 Processor 1 "
     "APIC 0x1'")])
def test_results_and_log_are_compared(check, name, place, to, message):
    outcome = check(name, *place, to=to)
    assert (outcome.result, outcome.differences) == (FAILED, [message])


@pytest.mark.parametrize(("name", "file", "to"), [
    ("nvme-fsync", "queue/write_cache", "write through"), ("nvme-fsync", "queue/discard_max_bytes", "2199023255041"),
    ("switch-deadline-to-none", "/sys/block/nullb0/queue/scheduler", ["[mq-deadline] kyber none"] * 2),
    ("nr_requests-none-64", "/sys/block/nullb0/queue/nr_requests", ["16", "64"]),
    ("nr_requests-none-64", "/sys/block/nullb0/queue/nr_requests", ["32", "16"]),
    ("nr_requests-none-64", "exit", "0"), ("read-retried", "fault_inject/times", "1"),
    ("cpu-offline", "after/nullb0/mq/0/cpu_list", "0"), ("cpu-offline", "/sys/devices/system/cpu/online", ["0-3"] * 2),
    ("cpu-offline", "before/irq nvme0q2", "smp_affinity_list=2 effective_affinity_list=1"),
    ("cpu-offline", "after/irq nvme0q2", "smp_affinity_list=1 effective_affinity_list=2"),
    ("cpu-offline", "after/irq nvme0q0", "smp_affinity_list=0-3 effective_affinity_list=1"),
    ("partition-probe", "/sys/block/nvme0n1/nvme0n1p1", "start 2048 size 32769"),
    ("mp-path-error", "dmsetup status", "0 2048 multipath 2 0 0 0 1 1 A 0 2 0 259:0 A 1 259:1 A 0 "),
    ("mp-path-error", "dmsetup status", "0 2048 multipath 2 0 0 0 1 1 A 0 2 0 259:0 F 0 259:1 A 0 "),
    ("mp-path-error", "dmsetup status", "0 2048 multipath 2 1 0 0 1 1 A 0 2 0 259:0 F 1 259:1 A 0 "),
    ("dm-suspend-in-flight", "dmsetup info", "L--w"), ("dm-delay-read", "dmsetup status", "d0: 0 2048 delay 0 0 1"),
    ("dm-remove-busy", "dmsetup remove b0", "exit 0 device-mapper: remove ioctl on b0 failed: Device or resource busy "
     "Command failed."), ("dm-read-while-suspended", "returned before the resume", "yes")])
def test_files_are_compared(check, name, file, to):
    assert lost(name, file) != to
    outcome = check(name, "files", file, to=to)
    assert outcome.result == FAILED
    assert [line.partition(": the recording has ")[0] for line in outcome.differences] == [file]


@pytest.mark.parametrize(("name", "place", "to", "chance"), [
    ("wait-for-tag", ("results", 1, "ms"), 3100, "milliseconds that something took"),
    ("cpu-offline", ("files", "before/irq nvme0q0"), "smp_affinity_list=0-3 effective_affinity_list=0",
     "to which of its CPUs an interrupt goes"),
    ("dm-remove-busy", ("files", "dmsetup remove b0"), "exit 1 Not using udev synchronisation code. device-mapper: "
     "remove ioctl on b0 failed: Device or resource busy Command failed.", "what dmsetup says of semaphores"),
    ("mp-path-error", ("files", "dmsetup status"), "0 2048 multipath 2 0 0 0 1 1 A 0 2 0 259:0 F 3 259:1 A 0 ",
     "what earlier steps of the boot did to paths"),
    ("nvme-fsync", ("files", "cat 7"), "exit 0", "files that only the test machine has: cat N"),
    ("nvme-fsync", ("weather",), ["dry"], "observed facts that are not compared: weather"),
    ("partition-probe", ("kernel_log", 0), "nvme nvme0: pci function 0000:00:09.0",
     "numbers in the log: tags, addresses, places on the bus"),
    ("read-medium-error", ("kernel_log",), ["hrtimer: interrupt took 8123456 ns", READ],
     "lines of the log from elsewhere in the kernel")])
def test_chance_is_let_pass_and_counted(check, name, place, to, chance):
    outcome = check(name, *place, to=to)
    assert (outcome.result, outcome.differences) == (PASSED, [])
    assert outcome.facts["chance"][chance] >= 1


def test_partitions_are_looked_for_where_the_recording_says(check):
    """hctxN/queued counts the scan's read; more than one too many is a difference."""
    for queue in range(4):
        one = {f"before/hctx{i}/queued": str(int(i == queue)) for i in range(4)}
        assert check("nvme-fsync", "files", to=one).result == PASSED
    assert check("nvme-fsync", "files", to={"before/hctx1/queued": "2"}).differences == [
        "before/hctx1/queued: the recording has '2', the model '1'"]


def test_when_a_line_came_is_compared(check):
    log = "kernel_log_ms", 0
    assert check("timeout-completion-polled", *log, to=4900).result == FAILED
    assert check("timeout-completion-polled", *log, to=2000).result == PASSED


def test_parameters_of_a_module(check):
    """What a reset takes from a parameter that was changed before it."""
    file = "/sys/module/nvme/parameters/poll_queues"
    assert check("reset-fewer-queues", "files", to={file: "0"}).result == PASSED
    assert check("reset-fewer-queues", "files", to={file: "1"}).differences == [
        f"{file}: the recording has '1', the model '0'"]


def test_a_state_in_between_is_any_that_there_was(check):
    file = "/sys/class/nvme/nvme0/state"
    for between, result in (("connecting", PASSED), ("resetting", PASSED), ("dead", FAILED)):
        assert check("timeout-abort-reset", "files", file, 1, to=between).result == result


def test_what_is_read_while_things_run(check):
    for text, result in (("1 0", PASSED), ("0 0", FAILED), ("1 1", FAILED)):
        assert check("dm-remove-busy", "files", to={"/sys/block/dm-0/inflight": text}).result == result
    for texts, result in ((["0 0", "1 0", "0 0"], PASSED), (["0 0", "2 0", "0 0"], FAILED),
                          (["1 0", "0 0"], PASSED), (["1 0", "1 0"], FAILED)):
        assert check("dm-remove-busy", "files", to={"/sys/block/nvme2n1/inflight": texts}).result == result


@pytest.mark.parametrize("files", [
    {"irq nvme0q99999": "", "irq nvme7q1": ""}, {"hctx77/queued": "", "queue/nothing": "", "nodisk/stat": ""},
    {"/sys/class/nvme/nvme0/reset_controller": "", "/sys/class/nvme/nvme9/state": ""}, {"before/": "", "": ""},
    {"dmsetup status --nothing": "", "dmsetup status nothing": ""}, {"/sys/kernel/config/nothing": "x"},
    {"fault_inject/times": "", "exit": ["0", "1"], "/proc/uptime": "3", "dmsetup info": []}])
def test_strange_names_of_files(check, files):
    assert check("nvme-fsync", "files", to=files).result in (PASSED, FAILED, UNREADABLE)


@pytest.mark.parametrize(("place", "to", "message"), [
    (("results", 0), 7, "observed.results[0]: expected an object with , found 7"),
    (("results", 0, "ms"), -1, "observed.results[0].ms: expected a number, at least 0, found -1"),
    (("results", 0, "events"), [{"errno": "EIO"}], "observed.results[0].events[0]: expected the field return"),
    (("kernel_log",), {"a": 1}, "observed.kernel_log: expected a list"),
    (("kernel_log_ms",), ["1"], "observed.kernel_log_ms[0]: expected a number"),
    (("files",), ["a"], "observed.files: expected an object"),
    (("files", "x"), 3, "observed.files.x: expected a text"),
    (("files", "x"), ["a"] * 65, "observed.files.x: expected a list of at most 64, found 65")])
def test_shapes(check, place, to, message):
    outcome = check("nvme-fsync", *place, to=to)
    assert outcome.result == UNREADABLE
    assert outcome.summary.startswith(message)


def test_a_step_that_is_not_modelled_is_told(tmp_path):
    document = json.loads((KERNEL / "calls" / "wait-for-tag.json").read_text())
    document["scenario"]["traced"][1]["steps"][1]["step"] = ["virtio_blk.load", {}]
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(document))
    assert check_file(path).result == SKIPPED


def test_several_steps_of_which_there_is_none(tmp_path):
    document = json.loads((KERNEL / "calls" / "slot-power-off-in-flight.json").read_text())
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(changed(document, "scenario", "traced", 1, "steps", to=[])))
    outcome = check_file(path)
    assert outcome.result == FAILED
    assert not any(line.startswith("ValueError") for line in outcome.differences)
