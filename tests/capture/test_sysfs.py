"""Reading the queues of a machine, from a tree that looks like /sys and /proc."""

import json
import shutil

import pytest

from blkmodel.capture.check import FAILED, PASSED, SKIPPED, check_file
from blkmodel.capture.formats import read
from blkmodel.capture.sysfs import capture
from blkmodel.cli.main import main

TAGS = """nr_tags=1023
nr_reserved_tags=0
active_queues=0

bitmap_tags:
depth=1023
busy=0
cleared=0
bits_per_word=64
map_nr=16
alloc_hint={1, 2}
wake_batch=8
"""
FILES = {
    "sys/devices/system/cpu/possible": "0-3", "sys/devices/system/cpu/present": "0-1",
    "sys/devices/system/cpu/online": "0-1", "sys/devices/system/node/node0/cpulist": "0-1",
    "sys/devices/system/cpu/cpu0/topology/thread_siblings_list": "0-1",
    "sys/devices/system/cpu/cpu1/topology/thread_siblings_list": "0-1",
    "sys/block/nvme0n1/queue/nr_requests": "1023",
    "sys/block/nvme0n1/queue/scheduler": "[none] mq-deadline",
    "sys/block/nvme0n1/mq/0/cpu_list": "0, 2", "sys/block/nvme0n1/mq/0/nr_tags": "1023",
    "sys/block/nvme0n1/mq/0/nr_reserved_tags": "0",
    "sys/block/nvme0n1/mq/1/cpu_list": "1, 3", "sys/block/nvme0n1/mq/1/nr_tags": "1023",
    "sys/block/nvme0n1/mq/1/nr_reserved_tags": "0",
    "sys/kernel/debug/block/nvme0n1/hctx0/type": "default", "sys/kernel/debug/block/nvme0n1/hctx1/type": "default",
    "sys/kernel/debug/block/nvme0n1/hctx0/tags": TAGS,
    "sys/module/nvme/parameters/write_queues": "0", "sys/module/nvme/parameters/poll_queues": "0",
    "sys/class/nvme/nvme0/queue_count": "3",
    "proc/interrupts": "  24:  1  2  PCI-MSI 1 nvme0q0\n  25:  1  2  PCI-MSI 2 nvme0q1\n  26:  0  0  PCI-MSI 3 nvme0q2",
    "proc/irq/24/smp_affinity_list": "0-1", "proc/irq/25/smp_affinity_list": "0,2",
    "proc/irq/26/smp_affinity_list": "1,3",
    "sys/block/nullb0/queue/nr_requests": "128", "sys/block/nullb0/queue/scheduler": "[mq-deadline] none",
    "sys/block/nullb0/mq/0/cpu_list": "0, 1, 2, 3", "sys/block/nullb0/mq/0/nr_tags": "64",
    "sys/block/nullb0/mq/0/nr_reserved_tags": "0",
    "sys/module/null_blk/parameters/submit_queues": "1", "sys/module/null_blk/parameters/hw_queue_depth": "64",
    "sys/block/sda/queue/nr_requests": "64",
}
OTHERS = {  # disk → where its link leads to, and what there is of it beside cpu_list
    "vda": ("../devices/pci0000:00/0000:00:02.0/virtio1/block/vda", {
        "sys/module/virtio_blk/parameters/poll_queues": "1",
        "proc/interrupts": "35: 0 virtio1-config\n36: 0 virtio1-req.0\n37: 0 virtio1-req.1\n38: 0 virtio10-req.0"}),
    "sdb": ("../devices/pci0000:00/ata1/host7/target7:0:0/7:0:0:0/block/sdb", {
        "sys/class/scsi_host/host7/proc_name": "mpt3sas", "sys/class/scsi_host/host7/nr_hw_queues": "3"}),
    "sdc": ("../devices/pci0000:00/0000:00:03.0/virtio2/host8/target8:0:0/8:0:0:0/block/sdc", {
        "sys/class/scsi_host/host8/proc_name": "virtio_scsi\u0007"}),
    "loop0": ("../devices/virtual/block/loop0", {}),
}
NULLB = [f"/sys/kernel/debug/block/nullb0/hctx0/{name}: No such file or directory" for name in ("type", "tags")]


@pytest.fixture
def root(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return tmp_path / "root"


def test_everything_is_read(root):
    recording, missing = capture(root, release="5.4.120")
    assert missing == NULLB
    assert recording["machine"] == {"possible": "0-3", "present": "0-1", "online": "0-1", "nodes": {"0": "0-1"},
                                    "thread_siblings": {"0": "0-1", "1": "0-1"}}
    nullb, nvme = recording["cases"]
    assert nvme == {
        "driver": "nvme", "params": {"write_queues": 0, "poll_queues": 0}, "device": {"max_ioqpairs": 2},
        "observed": {
            "nr_requests": 1023, "scheduler": "none",
            "hctxs": [{"index": 0, "type": "default", "cpus": [0, 2], "nr_tags": 1023, "nr_reserved_tags": 0},
                      {"index": 1, "type": "default", "cpus": [1, 3], "nr_tags": 1023, "nr_reserved_tags": 0}],
            "sbitmap": {"depth": 1023, "bits_per_word": 64, "map_nr": 16, "wake_batch": 8},
            "irq_affinity": {"1": "0,2", "2": "1,3"}}}
    assert nullb["params"] == {"submit_queues": 1, "hw_queue_depth": 64}
    assert nullb["observed"]["scheduler"] == "mq-deadline"
    assert nullb["observed"]["hctxs"] == [{"index": 0, "cpus": [0, 1, 2, 3], "nr_tags": 64, "nr_reserved_tags": 0}]
    assert "sbitmap" not in nullb["observed"]


def add(root, disk, queues):
    """Give the tree a disk of OTHERS', whose queues have these CPUs."""
    link, files = OTHERS[disk]
    place = root / "sys/block" / link
    for number, cpus in enumerate(queues):
        (place / "mq" / str(number)).mkdir(parents=True)
        (place / "mq" / str(number) / "cpu_list").write_text(f"{cpus}\n")
    (root / "sys/block" / disk).symlink_to(link)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")


def others(root, release):
    """What check says of each disk that is neither NVMe's nor null_blk's."""
    recording = capture(root, release, names=True)[0]
    recording["cases"] = [case for case in recording["cases"] if case["disk"] in OTHERS]
    (root / "mine.json").write_text(json.dumps(recording))
    read(root / "mine.json")
    return {case["disk"]: case for case in recording["cases"]}, check_file(root / "mine.json")


def test_other_drivers(root):
    add(root, "vda", ["0, 2", "1, 3", "0, 1, 2, 3"])
    add(root, "sdb", ["0, 1, 2", "3", ""])
    add(root, "sdc", ["0, 1, 2, 3"])
    add(root, "loop0", ["0, 1, 2, 3"])
    cases, outcome = others(root, "5.19.1")
    assert {disk: (case["driver"], case["params"], case["device"]) for disk, case in cases.items()} == {
        "vda": ("virtio_blk", {"poll_queues": 1}, {"queues": 3, "vectors": 2}),
        "sdb": ("scsi mpt3sas", {}, {"queues": 3, "vectors": 0}),
        "sdc": ("scsi virtio_scsi", {}, {"queues": 1, "vectors": 0}),
        "loop0": ("loop", {}, {"queues": 1, "vectors": 0})}
    assert (outcome.result, outcome.summary) == (PASSED, "3 of 3 cases, 1 not modelled (-v says why)")
    assert outcome.facts["chance"] == {
        "case not modelled: sdb scsi mpt3sas queues=3 vectors=0: scsi mpt3sas may have a map of its own": 1,
        "facts that only the model tells: type": 5}


def test_by_vectors_or_not(root):
    """Two threads of a core: a virtio disk whose queues have vectors shares them out as NVMe does, another by turns."""
    add(root, "vda", ["0, 1, 3", "2"])
    (root / "sys/module/virtio_blk/parameters/poll_queues").write_text("0")
    cpu = root / "sys/devices/system/cpu"
    for name, text in (("present", "0-3"), ("online", "0-3"), ("cpu2/topology/thread_siblings_list", "2-3"),
                       ("cpu3/topology/thread_siblings_list", "2-3"), ("../node/node0/cpulist", "0-3")):
        (cpu / name).parent.mkdir(parents=True, exist_ok=True)
        (cpu / name).write_text(text)
    for release, vectors, said in (("5.4.120", 2, ["0-1", "2-3"]), ("5.4.120", 1, ["0,2-3", "1"]),
                                   ("6.3.0", 1, ["0-1", "2-3"]), ("6.3.0", 2, ["0-1", "2-3"])):
        (root / "proc/interrupts").write_text("".join(f"3{n}: 0 virtio1-req.{n}\n" for n in range(vectors)))
        outcome = others(root, release)[1]
        assert outcome.result == FAILED
        assert [line.rpartition("the model ")[2] for line in outcome.differences] == said


def test_paths_of_a_disk_and_fabrics(root):
    for disk in ("nvme1c0n1", "nvme2n1"):
        (root / "sys/block" / disk / "mq/0").mkdir(parents=True)
        (root / "sys/block" / disk / "mq/0/cpu_list").write_text("0, 1, 2, 3")
    (root / "sys/class/nvme/nvme2").mkdir()
    (root / "sys/class/nvme/nvme2/transport").write_text("tcp\n")
    (root / "sys/block/nvme3n1").mkdir()  # many paths lead to it, and it has no queues itself
    cases = {case["disk"]: case for case in capture(root, "6.1.0", names=True)[0]["cases"]}
    assert cases["nvme1c0n1"]["driver"] == "nvme"
    assert cases["nvme2n1"]["driver"] == "nvme over fabrics"
    assert "nvme3n1" not in cases


def test_isolated_cpus_are_not_modelled_where_queues_lack_them(root):
    add(root, "loop0", ["0, 1, 2, 3"])
    (root / "sys/devices/system/cpu/isolated").write_text("1\n")
    assert others(root, "5.19.1")[1].summary == "1 of 1 cases"
    outcome = others(root, "6.12.117")[1]
    assert outcome.result == SKIPPED
    assert "isolated" in outcome.summary


def test_names_only_where_asked(root, capsys):
    assert main(["capture", "--root", str(root)]) == 0
    assert "nvme0n1" not in capsys.readouterr().out
    assert main(["capture", "--root", str(root), "--names"]) == 0
    assert capsys.readouterr().out.count('"disk":"nvme0n1"') == 1


def test_no_disk_with_queues(root, capsys):
    shutil.rmtree(root / "sys/block")
    shutil.rmtree(root / "sys/kernel")
    assert main(["capture", "--root", str(root)]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["cases"] == []
    assert err == f"blkmodel capture: no disk here has hardware queues: there is no {root}/sys/block/DISK/mq\n"


def test_without_debugfs_one_line_says_so(root):
    shutil.rmtree(root / "sys/kernel")
    recording, missing = capture(root)
    assert missing == ["/sys/kernel/debug/block: types of queues and the bitmap of tags; for root, where mounted"]
    assert ["type" in hctx for hctx in recording["cases"][1]["observed"]["hctxs"]] == [False, False]


def test_what_cannot_be_read_is_left_out_and_said(root):
    (root / "sys/block/nvme0n1/queue/nr_requests").unlink()
    recording, missing = capture(root)
    assert missing == [*NULLB, "/sys/block/nvme0n1/queue/nr_requests: No such file or directory"]
    assert "nr_requests" not in recording["cases"][1]["observed"]


def test_parameters_of_null_blk(root):
    for name, text in (("queue_mode", "2"), ("use_per_node_hctx", "Y"), ("shared_tags", "N"), ("home_node", "-1"),
                       ("no_sched", "?")):
        (root / "sys/module/null_blk/parameters" / name).write_text(f"{text}\n")
    assert capture(root)[0]["cases"][0]["params"] == {"submit_queues": 1, "hw_queue_depth": 64, "queue_mode": 2,
                                                      "use_per_node_hctx": 1, "shared_tags": 0, "home_node": -1}


@pytest.mark.parametrize(("name", "text", "why"), [
    ("possible", None, "No such file or directory"), ("present", "x", "CPU list 'x': 'x' is neither a number nor"),
    ("online", "", "no CPU")])
def test_a_tree_that_is_no_kernels(root, capsys, name, text, why):
    path = root / "sys/devices/system/cpu" / name
    path.unlink()
    if text is not None:
        path.write_text(text)
    assert main(["capture", "--root", str(root)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"blkmodel capture: --root {root}: expected the files of a running kernel; "
                          f"/sys/devices/system/cpu/{name}: {why}")


def test_lists_that_are_none_are_left_out_and_said(root):
    (root / "proc/irq/25/smp_affinity_list").write_text("ff\n")
    (root / "sys/block/nvme0n1/mq/1/cpu_list").write_text("1-\n")
    recording, missing = capture(root)
    assert [line for line in missing if "CPU list" in line] == [
        "/sys/block/nvme0n1/mq/1/cpu_list: CPU list '1-': '1-' is neither a number nor a range such as 0-3",
        "/proc/irq/25/smp_affinity_list: CPU list 'ff': 'ff' is neither a number nor a range such as 0-3"]
    observed = recording["cases"][1]["observed"]
    assert observed["irq_affinity"] == {"2": "1,3"}
    assert [hctx["cpus"] for hctx in observed["hctxs"]] == [[0, 2], []]


def test_what_is_left_out_is_said_once(root, capsys):
    interrupts = root / "proc/interrupts"
    interrupts.write_text(f"{interrupts.read_text()}\n" * 1000)
    (root / "proc/irq/25/smp_affinity_list").write_text("ff\n")
    assert main(["capture", "--root", str(root)]) == 0
    err = capsys.readouterr().err
    assert err.count("/proc/irq/25/smp_affinity_list: CPU list 'ff'") == 1


def test_the_command_writes_what_the_checker_reads(root, tmp_path, capsys):
    assert main(["capture", "--root", str(root), "--release", "5.4.120", "-o", str(tmp_path / "mine.json")]) == 0
    assert read(tmp_path / "mine.json") == capture(root, "5.4.120")[0]
    assert main(["capture", "--root", str(root)]) == 0
    assert len(json.loads(capsys.readouterr().out)["cases"]) == 2


def test_this_machine_can_be_read(capsys):
    assert main(["capture"]) == 0
    assert json.loads(capsys.readouterr().out)["format"] == "blkmodel-capture/1"


def test_a_place_that_cannot_be_written(root, tmp_path, capsys):
    assert main(["capture", "--root", str(root), "-o", str(tmp_path / "no" / "where.json")]) == 2
    assert "No such file or directory" in capsys.readouterr().err
