"""The checker: what it says of files that agree, that do not, and that cannot be read."""

import json
from pathlib import Path

import pytest

from blkmodel.cli.main import main

KERNEL = Path(__file__).parents[1] / "recordings" / "linux-5.4"


@pytest.fixture
def run(capsys):
    """Run `blkmodel check`; return its exit status and the lines that it printed."""
    def run(*arguments):
        status = main(["check", *map(str, arguments)])
        return status, capsys.readouterr().out.splitlines()
    return run


@pytest.fixture
def altered(tmp_path):
    """Write a copy of a recording after change(document)."""
    def altered(name, change):
        document = json.loads((KERNEL / name).read_text())
        change(document)
        path = tmp_path / name.replace("/", "-")
        path.write_text(json.dumps(document))
        return path
    return altered


def few(document):
    document["cases"] = document["cases"][:2] + document["cases"][-2:]


def test_a_line_a_file_and_the_sum(run, altered):
    path = altered("maps/c4.json", few)
    assert run(path, path) == (0, [f"{path}: passed: 4 of 4 cases"] * 2 + ["2 passed, 0 failed"])


@pytest.mark.parametrize(("place", "value", "message"), [
    (("hctxs", 1, "cpus"), [0, 1], "hctxs[1].cpus: the kernel has 0-1, the model 2-3"),
    (("hctxs", 0, "type"), "read", "hctxs[0].type: the kernel has read, the model default"),
    (("hctxs", 0, "nr_tags"), 31, "hctxs[0].nr_tags: the kernel has 31, the model 1023"),
    (("hctxs", 0, "nr_reserved_tags"), 1, "hctxs[0].nr_reserved_tags: the kernel has 1, the model 0"),
    (("queues", "default"), 1, "queues.default: the kernel has 1, the model 2"),
    (("nr_requests",), 256, "nr_requests: the kernel has 256, the model 1023"),
    (("scheduler",), "kyber", "scheduler: the kernel has kyber, the model none"),
    (("sbitmap", "wake_batch"), 4, "sbitmap.wake_batch: the kernel has 4, the model 8"),
    (("irq_affinity", "2"), "3", "irq_affinity.2: the kernel has 3, the model 2-3"),
])
def test_every_fact_is_compared(run, altered, place, value, message):
    def change(document):
        few(document)
        inner = document["cases"][1]["observed"]
        for key in place[:-1]:
            inner = inner[key]
        assert inner[place[-1]] != value
        inner[place[-1]] = value
    path = altered("maps/c4.json", change)
    assert run(path) == (1, [
        f"{path}: failed: 3 of 4 cases",
        f"    cases[1], nvme max_ioqpairs=2 write_queues=0 poll_queues=0: {message}",
        "0 passed, 1 failed"])


def test_a_hardware_queue_too_many(run, altered):
    def change(document):
        few(document)
        document["cases"][1]["observed"]["hctxs"].pop()
    status, lines = run(altered("maps/c4.json", change))
    assert status == 1
    assert lines[1].endswith("hctxs: the kernel has 1, the model 2")


def with_params(driver, **params):
    """Make the first case of a driver the only one, with these parameters instead; what was observed stays."""
    def change(document):
        case = next(case for case in document["cases"] if case["driver"] == driver)
        case["params"] = params
        document["cases"] = [case]
    return change


def test_a_parameter_that_the_driver_does_not_have(run, altered):
    path = altered("maps/c4.json", with_params("null_blk", queues=2))
    status, lines = run(path)
    assert status == 1
    assert lines[1].startswith("    cases[0], null_blk queues=2: the model fails: ValueError: "
                               "null_blk has no parameter 'queues'; it has blocking, bs, ")


def test_what_the_driver_refuses(run, altered):
    path = altered("maps/c4.json", with_params("null_blk", hw_queue_depth=0))
    assert run(path)[1][1].endswith("KernelError: [Errno 22] insmod null_blk hw_queue_depth=0: EINVAL")


def test_a_disk_that_takes_bios_is_not_modelled(run, altered):
    status, lines = run(altered("maps/c4.json", with_params("null_blk", queue_mode=0, blocking=True, home_node=-1)))[:2]
    assert status == 1
    assert "null_blk's queue_mode 0" in "".join(lines)


def test_all_differences_only_where_asked(run, altered):
    def change(document):
        few(document)
        document["cases"][1]["observed"].update(nr_requests=1, scheduler="kyber")
    path = altered("maps/c4.json", change)
    assert run(path)[1][2] == "    and 1 more (-v shows all)"
    verbose = run("-v", path)[1]
    assert [line.rpartition(": ")[2] for line in verbose[1:3]] == [
        "the kernel has 1, the model 1023", "the kernel has kyber, the model none"]


def replace_first(calls, old, new):
    """Rename the first call to a function; return whether there was one."""
    for i, call in enumerate(calls):
        if call == old:
            calls[i] = new
            return True
        if isinstance(call, dict):
            for below in (value for value in call.values() if isinstance(value, list)):
                if replace_first(below, old, new):
                    return True
    return False


def test_a_changed_call_is_found(run, altered):
    def change(document):
        assert replace_first(document["contexts"][0]["calls"], "get_first_sibling", "blk_mq_queue_tag_busy_iter")
    path = altered("calls/null_blk-set-up.json", change)
    status, lines = run(path)
    assert status == 1
    assert lines[1] == ("    task tree: blk_mq_alloc_tag_set > blk_mq_update_queue_map > blk_mq_map_queues: call 4 "
                        "after queue_index: the recording has blk_mq_queue_tag_busy_iter, "
                        "the model has get_first_sibling")


def test_calls_of_another_scenario_are_found(run, altered):
    def change(document):
        document["scenario"]["traced"][1]["submit_queues"] = 2
    status, lines = run(altered("calls/null_blk-set-up.json", change))
    assert status == 1
    assert "task tree: blk_mq_alloc_tag_set" in lines[1]


@pytest.mark.parametrize("name", ["calls/null_blk-set-up.json", "device/nvme-4cpu.json"])
def test_not_modelled_yet(run, altered, name):
    def change(document):
        scenario = document["scenario"]
        scenario["steps" if "steps" in scenario else "setup"].insert(0, ["virtio_blk.load", {}])
    path = altered(name, change)
    assert run(path) == (0, [f"{path}: not modelled yet: step virtio_blk.load",
                             "0 passed, 0 failed, 1 not modelled yet"])


def test_another_kernel(run, altered):
    path = altered("maps/c4.json", lambda document: document["kernel"].update(release="7.1.5"))
    assert run(path) == (0, [f"{path}: not modelled yet: kernel 7.1.5 (which CPU uses which queue is known from 5.4 to "
                             "6.19; after that CPUs are grouped by clusters, too, commit 89802ca36c96)",
                             "0 passed, 0 failed, 1 not modelled yet"])
    path = altered("maps/c4.json", lambda document: document["kernel"].update(release="5.40.1"))
    assert run(path)[1][-1] == "0 passed, 0 failed, 1 not modelled yet"


def test_a_bad_file(altered, capsys):
    good = altered("maps/c4.json", few)
    bad = good.with_name("bad.json")
    bad.write_text(good.read_text().replace('"possible": "0-3"', '"possible": "0-3-"'))
    assert main(["check", str(bad), str(good)]) == 2
    assert capsys.readouterr() == (
        f"{good}: passed: 4 of 4 cases\n1 passed, 0 failed, 1 unreadable\n",
        f"{bad}: unreadable: machine.possible: expected a list of CPUs such as 0-3,8, found '0-3-'\n")


def test_json(run, altered):
    good = altered("maps/c4.json", few)
    newer = altered("maps/c8n2.json", lambda document: document["kernel"].update(release="7.1.5"))
    status, lines = run("--json", good, newer, "nowhere.json")
    report = json.loads("\n".join(lines))
    assert status == 2
    assert (report["format"], report["passed"], report["failed"]) == ("blkmodel-check/1", 1, 0)
    assert [file["result"] for file in report["files"]] == ["passed", "not modelled yet", "unreadable"]
    assert report["files"][0]["facts"] == {"cases": 4, "passed": 4, "chance": {}}


def test_what_is_let_pass_is_said_where_asked(run):
    path = KERNEL / "device" / "nvme-4cpu.json"
    assert run(path)[1] == [f"{path}: passed: 114 events", "1 passed, 0 failed"]
    assert run("-v", path)[1][1:3] == ["    let pass: on which queue a command looks for partitions, 1 times",
                                       "    let pass: completion heads before the last of their queue, 22 times"]


def test_more_queues_than_qemu_has_vectors_for(run, altered):
    """As many queues as CPUs prove as many vectors, and one; a recording may say how many there are."""
    def change(document):
        every = "0-69"
        document["machine"] = {"possible": every, "present": every, "online": every, "nodes": {"0": every}}
        case = {"driver": "nvme", "params": {}, "device": {"max_ioqpairs": 128},
                "observed": {"queues": {"default": 70, "read": 0, "poll": 0}, "hctxs": [
                    {"index": n, "cpus": [n]} for n in range(70)]}}
        other = json.loads(json.dumps(case))
        other["device"]["vectors"] = 71
        document["cases"] = [case, other]
    assert run(altered("maps/c4.json", change))[0] == 0
