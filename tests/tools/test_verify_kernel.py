"""The recorder of packaged kernels without QEMU: what it packs, and what it makes of what was printed."""

import json
import lzma

from blkmodel.capture.check import check_file
from tests.tools import verify_kernel

SAID = """ [    0.000000] Linux
@@case null_blk submit_queues=2
@@file /sys/devices/system/cpu/possible
0-3
@@file /sys/devices/system/cpu/present
0-3
@@file /sys/devices/system/cpu/online
0-3
@@file /sys/module/null_blk/parameters/submit_queues
2
@@file /sys/module/null_blk/parameters/hw_queue_depth
64
@@file /sys/module/null_blk/parameters/poll_queues
0
@@file /sys/block/nullb0/queue/scheduler
[none] mq-deadline
@@file /sys/block/nullb0/mq/0/cpu_list
0, 1
@@file /sys/block/nullb0/mq/1/cpu_list
2, 3
@@done
insmod: can't insert '/nvme.ko': Invalid argument
@@case nvme write_queues=0
@@file /sys/devices/system/cpu/possible
0-3
@@file /sys/devices/system/cpu/present
0-3
@@file /sys/devices/system/cpu/online
0-3
@@file /sys/class/nvme/nvme0/queue_count
3
@@file /sys/class/nvme/nvme0/serial
pairs2   \x20
@@file /sys/block/nvme0n1/mq/0/cpu_list
0, 1
@@file /sys/block/nvme0n1/mq/1/cpu_list
2, 3
@@end
[  12.0] reboot: Power down
"""


def test_what_was_printed_becomes_a_recording(tmp_path):
    found = verify_kernel.recording(SAID, "6.12.117+deb12-amd64", tmp_path)
    assert [case["driver"] for case in found["cases"]] == ["null_blk", "nvme"]
    assert found["cases"][1]["device"] == {"max_ioqpairs": 2, "vectors": 65}
    (tmp_path / "made.json").write_text(json.dumps(found))
    assert check_file(tmp_path / "made.json").summary == "2 of 2 cases"
    found["kernel"]["release"] = "6.1.0"
    (tmp_path / "made.json").write_text(json.dumps(found))
    assert check_file(tmp_path / "made.json").summary == "1 of 2 cases"


def test_nothing_printed_is_no_recording(tmp_path):
    assert verify_kernel.recording("Kernel panic", "6.12", tmp_path) == {}


def test_modules_come_with_those_that_they_need(tmp_path):
    for name, depends in (("nvme.ko", b"nvme-core"), ("nvme-core.ko", b"t10-pi"), ("t10-pi.ko", b""), ("md.ko", b"")):
        (tmp_path / name).write_bytes(b"\x7fELF\0depends=" + depends + b"\0")
    (tmp_path / "null_blk.ko.xz").write_bytes(lzma.compress(b"\0depends=nvme,configfs\0"))
    assert list(verify_kernel.modules(tmp_path)) == ["t10_pi", "nvme_core", "nvme", "null_blk"]


def test_an_archive_has_files_and_directories_at_steps_of_four():
    packed = verify_kernel.archive({"bin": b"", "bin/a": b"12345"})
    assert packed.count(b"070701") == 3
    at = packed.index(b"070701", 6)
    head = [int(packed[at + 6 + 8 * n:at + 14 + 8 * n], 16) for n in range(13)]
    assert (at % 4, head[1], head[6], head[11]) == (0, 0o100755, 5, 6)
    name = at + 110
    assert packed[name:name + 6] == b"bin/a\0"
    assert packed[(name + 6 + 3) // 4 * 4:][:5] == b"12345"


def test_a_machine_in_qemus_words():
    words = verify_kernel.machine(cpus=3, possible=8, nodes=["0-1", "2-7"])
    assert "3,maxcpus=8,sockets=1,cores=8,threads=1" in words
    assert [word for word in words if word.startswith("node,")] == [
        "node,nodeid=0,memdev=m0,cpus=0-1", "node,nodeid=1,memdev=m1,cpus=2-7"]
    assert sum(word.startswith("nvme,") for word in words) == len(verify_kernel.PAIRS)
