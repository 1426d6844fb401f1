"""The recorder of packaged kernels without QEMU: what it packs, and what it makes of what was printed."""

import json
import lzma
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

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
    assert [wrong for wrong, _ in verify_kernel.calls("Kernel panic", "6.12", None, False)] == [
        ["0 of 4 call trees were recorded"]]
    assert verify_kernel.inside("Kernel panic", "6.12", tmp_path)[0] == []


def test_what_was_captured_inside_is_what_is_captured_from_outside(tmp_path):
    said = SAID[:SAID.index("@@case null")] + SAID[SAID.index("@@case nvme"):]
    verify_kernel.recording(said, "6.12.117", tmp_path)
    made, _ = verify_kernel.capture(tmp_path / "root0", "6.12.117")

    def inside(vectors, checked="1 passed, 0 failed"):
        made["cases"][0]["device"]["vectors"] = vectors
        return verify_kernel.inside(f"{said}@@inside\n{json.dumps(made)}\n@@checked\nf: passed: 1 of 1 cases\n{checked}"
                                    "\n@@done", "6.12.117", tmp_path)
    assert inside(65) == ([], "blkmodel inside the kernel: capture is that from outside; check: passed: 1 of 1 cases")
    assert inside(64)[0] == ["capture inside: the devices have {64} vectors"]
    assert inside(65, "0 passed, 1 failed")[0][1:] == ["check inside: 0 passed, 1 failed"]
    made["cases"][0]["observed"]["hctxs"][0]["cpus"] = [0]
    assert inside(65)[0] == ["capture inside and from outside differ"]
    assert verify_kernel.inside("@@inside\nsh: no such file\n@@checked\n@@done", "6.12", tmp_path)[0] == [
        "capture inside: sh: no such file"]


def test_modules_come_with_those_that_they_need(tmp_path):
    for name, depends in (("nvme.ko", b"nvme-core"), ("nvme-core.ko", b"t10-pi"), ("t10-pi.ko", b""), ("md.ko", b"")):
        (tmp_path / name).write_bytes(b"\x7fELF\0depends=" + depends + b"\0")
    (tmp_path / "null_blk.ko.xz").write_bytes(lzma.compress(b"\0depends=nvme,configfs\0"))
    assert list(verify_kernel.modules(tmp_path)) == ["t10_pi", "nvme_core", "nvme", "null_blk"]


def test_an_archive_has_files_and_directories_at_steps_of_four():
    packed = verify_kernel.archive({"bin/a": b"12345"})
    assert packed.count(b"070701") == 3
    assert int(packed[14:22], 16) == 0o40755
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


@pytest.mark.parametrize(("lines", "heard"), [
    (["a", "", "b", "", "c", "", "d"], "abcd"), (["a", "", "", "", "b"], "a"), (["", "", "", "a"], ""), ([], "")])
def test_a_boot_may_take_as_long_as_the_kernel_says_something(tmp_path, monkeypatch, lines, heard):
    """Each line comes after 100 s; nothing for 300 s is too long."""
    clock, left = SimpleNamespace(now=0), list(lines)
    clock.monotonic = lambda: clock.now

    class Qemu:
        def __init__(self, words, stdin):
            self.said = Path(words[words.index("-serial") + 1].removeprefix("file:"))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def poll(self):
            return None if left else 0

        def wait(self, seconds):
            clock.now += 100
            with self.said.open("a") as file:
                file.write(left.pop(0))
            raise subprocess.TimeoutExpired("qemu", seconds)

        def kill(self):
            left.clear()
    (tmp_path / "vmlinuz-6").touch()
    monkeypatch.setattr(verify_kernel, "time", clock)
    monkeypatch.setattr(verify_kernel, "initramfs", lambda kernel, files: b"")
    monkeypatch.setattr(subprocess, "Popen", Qemu)
    assert verify_kernel.boot(tmp_path, {"cpus": 1}, tmp_path, 300, {}) == heard


def test_a_function_is_looked_for_by_the_name_that_its_release_gives_it():
    names = ("generic_make_request", "blk_mq_get_request", "blk_mq_get_tag")
    assert verify_kernel.renamed_by("5.8.18", names) == {"blk_mq_get_request": "__blk_mq_alloc_request"}
    assert verify_kernel.renamed_by("6.12.117+deb12-amd64", names) == {
        "generic_make_request": "submit_bio_noacct", "blk_mq_get_request": "__blk_mq_alloc_requests"}
