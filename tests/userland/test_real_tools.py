"""What tools print of the model, and what the real ones printed of a real Linux 5.4.120 in the same situation.

The recording has a row for each command that was typed there: what the shell was told, what stands for it in the model,
and what was printed. They are done here in the same order, on a machine with the same disks.
"""

import json
import re
import shlex
from collections import Counter
from pathlib import Path

import pytest

from blkmodel import boot, scenario
from blkmodel.cli import session
from blkmodel.reference import mirror
from blkmodel.reference.source import definitions
from blkmodel.userland import blktrace, iostat, look, nvme
from blkmodel.userland.blktrace import Blktrace

RECORDED = json.loads((Path(__file__).parents[1] / "recordings/tools-5.4.120.json").read_text())
ROWS = RECORDED["rows"]
FIRMWARE = {"7.2.22  ": "7.2     "}  # the recorded QEMU's, and the one that the model is like
NOT_OF_THE_MODEL = {
    "ctratt": "0x8000", "cntrltype": "1", "ocfs": "0x3",  # what 5.4 has no name for
    "oacs": "0x10a", "lpa": "0x7", "oncs": "0x15d"}  # commands that the model's controller has not
NO_SUCH_FILES = {"uevent", "dev", "power", "trace", "bdi", "device", "subsystem"}


@pytest.fixture(scope="module")
def printed():
    """What the model prints, row by row."""
    boot(4)
    for line in session.DISKS:
        session.do(shlex.split(line))
    words = [shlex.split(row["model"]) for row in ROWS]
    return [session.do([*each, "-x"] if each == ["iostat"] else each).output for each in words]


def rows(tool):
    return [number for number, row in enumerate(ROWS) if row["model"].startswith(tool)]


@pytest.mark.parametrize("number", [*rows("lsblk"), *rows("nvme list")])
def test_disks_and_controllers_are_listed_to_the_letter(printed, number):
    said = ROWS[number]["output"]
    for theirs, ours in FIRMWARE.items():
        said = said.replace(theirs, ours)
    assert printed[number] == said


@pytest.mark.parametrize("number", rows("nvme id-ctrl"))
def test_a_controller_is_identified_to_the_letter(printed, number):
    theirs, ours = ROWS[number]["output"].splitlines(), printed[number].splitlines()
    assert len(ours) == len(theirs)
    other = {}
    for their, our in zip(theirs, ours, strict=True):
        if our != their:
            assert our[:12] == their[:12]
            other[their[:10].strip()] = their[12:]
    assert other.pop("fr") in FIRMWARE
    assert other == NOT_OF_THE_MODEL


@pytest.mark.parametrize("number", rows("sysfs"))
def test_files_of_sysfs_come_in_the_same_order_with_the_same_text(printed, number):
    there = {line.partition(":")[0] for line in printed[number].splitlines()}
    told = [line.partition(":") for line in ROWS[number]["output"].splitlines() if not line.startswith("grep: ")]
    assert {file for file, _, _ in told} >= there
    known = [(file, text) for file, _, text in told if file in there]
    ours = [(file, text) for file, _, text in (line.partition(":") for line in printed[number].splitlines())]
    assert len(ours) > 70
    assert [each for each in ours if not each[0].endswith("/stat")] == [
        each for each in known if not each[0].endswith("/stat")]
    missing = {part for file, _, _ in told if file not in there
               for part in [next((p for p in file.split("/")[3:] if p in NO_SUCH_FILES), file)]}
    assert missing <= NO_SUCH_FILES


def counters(said):
    """The lines of /proc/diskstats that are in a text: disk → numbers."""
    lines = re.findall(r"^ +\d+ +\d+ (\S+) ([\d ]+)$", said, re.MULTILINE)
    return {name: [int(number) for number in numbers.split()] for name, numbers in lines}


@pytest.mark.parametrize("number", rows("iostat"))
def test_iostat_makes_of_the_recorded_counters_what_the_real_one_made_of_them(printed, number):
    said = ROWS[number]["output"]
    begin, *_, end = [round(float(each) * 100) for each in re.findall(r"^(\d+\.\d\d) \d+\.\d\d$", said, re.MULTILINE)]
    reports = [part for part in re.split(r"(?=^Linux )", said, flags=re.MULTILINE) if "%util" in part]
    disks = {name: each for name, each in counters(said).items() if not re.match(r"nvme\d+n\d+p", name)}
    for part, names in zip(reports, (list(disks), ["nvme1n1"]), strict=True):
        table = part[part.index("Device "):]
        assert table in [iostat.report({name: disks[name] for name in names}, uptime)
                         for uptime in range(begin, end + 1)]
    ours, theirs = (re.sub(r"\S+ \(\S+\) \t\S+ ", "", text.replace("((none))", "(blkmodel)")).splitlines()
                    for text in (printed[number], reports[1]))
    assert [ours[0], ours[1], ours[2]] == [theirs[0], theirs[1], theirs[2]]
    assert ours[-2:] == theirs[-2:] == ["", ""]


def test_the_kernel_counts_the_same(printed):
    """I/Os, merges and sectors of what was read at first, and of a disk that no tool with other ways wrote to."""
    said = counters(ROWS[rows("iostat")[0]]["output"])
    assert [said[disk][:3] + said[disk][4:7] for disk in ("nvme0n1", "nvme1n1")] == [[1, 0, 8, 0, 0, 0]] * 2
    theirs = counters(ROWS[rows("iostat")[-1]]["output"])
    ours = {name: [*map(int, scenario.cat(f"/sys/block/{name}/stat").split())] for name in ("nvme1n1", "dm-0")}
    for name, each in ours.items():
        assert each[:3] + each[4:7] == theirs[name][:3] + theirs[name][4:7]


def told(lines):
    """Of each line of blkparse what does not depend on time: device, CPU, action, operation and the rest, of a process
    only that there is one; the ends of I/Os apart, as they come in any order."""
    found = []
    for line in lines:
        parts = re.fullmatch(r"( *\d+,\d+ +\d+) +(\d+) +(\d+\.\d{9}) +\d+ (.{2} .{3}) (.*)", line)
        found.append((f"{parts[1]} {parts[4]}", re.sub(r"\[[a-z].*?\]", "[who]", parts[5])))
    ends = [each for each in found if each[0].endswith("C", 0, -4)]
    return [each for each in found if each not in ends], Counter(ends)


@pytest.mark.parametrize("number", rows("blktrace"))
def test_blktrace_tells_the_same_of_each_io(printed, number):
    theirs, ours = ROWS[number]["output"].splitlines(), printed[number].splitlines()
    assert len(theirs) >= 2
    assert told(ours) == told(theirs)
    for lines in (theirs, ours):
        assert all(len(line) > 52 and line[3] == "," for line in lines)
        by_cpu: Counter[str] = Counter()
        for line in lines:
            by_cpu[line[7:10]] += 1
            assert int(line[10:19]) == by_cpu[line[7:10]]


@pytest.mark.parametrize(("sectors", "said"), [
    (1, "512B"), (2047, "1023.5K"), (2048, "1M"), (64512, "31.5M"), (524288000, "250G"), (536870911, "256G")])
def test_sizes_are_as_lsblk_has_them(sectors, said):
    boot(1)
    scenario.dmsetup_run("create", "m", "--table", f"0 {sectors} zero")
    assert look.lsblk().splitlines()[1].split()[3] == said


def test_links_are_followed_from_a_class_only():
    boot(1)
    scenario.nvme_probe()
    scenario.dmsetup_run("create", "m", "--table", "0 8 linear /dev/nvme0n1 0")
    assert look.sysfs(["/sys/block/nvme0n1/holders"]) == ""
    assert {file.split("/")[3] for file in look.tree("/sys/block")} == {"nvme0n1", "dm-0"}
    assert look.tree("/sys/class/nvme/")["/sys/class/nvme/nvme0/state"] == "live\n"


def test_who_is_at_work():
    boot(2)
    scenario.nvme_probe()
    with Blktrace("nvme0n1") as seen:
        scenario.io("nvme0n1", "write", 0, 4096, cpu=1)
    assert [line[36:].split()[:2] + line.split("[")[1:] for line in seen.lines] == [
        ["1", "Q", "dio]"], ["1", "G", "dio]"], ["1", "P", "dio]"], ["1", "UT", "dio] 1"], ["1", "I", "dio]"],
        ["2", "D", "kblockd]"], ["0", "C", "0]"]]


TRACE_POINTS = {
    "block/bio.c": {1865: "bio_endio"}, "block/blk-merge.c": {335: "__blk_queue_split"},
    "block/blk-core.c": {608: "bio_attempt_back_merge", 630: "bio_attempt_front_merge", 859: "blk_partition_remap",
                         969: "generic_make_request_checks", 1438: "blk_update_request"},
    "block/blk-mq.c": {682: "blk_mq_start_request", 718: "__blk_mq_requeue_request", 1670: "__blk_mq_insert_req_list",
                       1722: "blk_mq_insert_requests", 1776: "blk_mq_flush_plug_list", 1797: "blk_mq_flush_plug_list",
                       **dict.fromkeys((2009, 2035, 2042, 2063, 2067), "blk_mq_make_request")},
    "block/blk-mq-sched.c": {367: "blk_mq_sched_request_inserted"}, "drivers/md/dm-rq.c": {403: "map_request"},
    "drivers/md/dm.c": {1336: "__map_bio", 1718: "__split_and_process_bio"}}
"""Lines of v5.4.120 that begin with `trace_block_`, in what the model stands for, and the function that each is in."""
BESIDE = {"blk_mq_make_request": {"blk_mq_get_request", "blk_add_rq_to_plug", "blk_mq_try_issue_directly"},
          "map_request": {"dm_dispatch_clone_request"}, "bio_endio": {"bio_clear_flag"},
          "__blk_queue_split": {"generic_make_request"}, "__split_and_process_bio": {"generic_make_request"},
          "blk_mq_flush_plug_list": {"blk_mq_sched_insert_requests"}}
"""What such a function calls right before or after its trace points, where these neither begin nor end it."""


def test_each_trace_point_has_its_place():
    for file, lines in TRACE_POINTS.items():
        begins = sorted((each.line, each.function) for known in definitions().values() for each in known
                        if each.file == file)
        assert {line: [name for at, name in begins if at <= line][-1] for line in lines} == lines
    functions = {name for lines in TRACE_POINTS.values() for name in lines.values()}
    assert {beside for name in functions for beside in BESIDE.get(name, {name})} | {
        "generic_make_request"} == blktrace._WATCHED
    assert {each.name for each in mirror.functions()} | {"bio_clear_flag"} >= blktrace._WATCHED


def test_words_that_will_not_do():
    boot(1)
    scenario.nvme_probe()
    for run, words, why in (
            (iostat.run, [], "expected -x or -dx"), (iostat.run, ["-xk"], "found -xk"),
            (iostat.run, ["-x", "sda"], "'sda'"), (nvme.run, ["smart-log"], "found smart-log"),
            (nvme.run, [], "expected list, list-subsys, id-ctrl; found none"),
            (nvme.run, ["list", "-v"], "found -v"), (nvme.run, ["id-ctrl"], "such as /dev/nvme0; found none"),
            (nvme.run, ["id-ctrl", "/dev/sda"], "there is /dev/nvme0, /dev/nvme0n1"), (look.sysfs, [], "found none"),
            (look.sysfs, ["/sys/block/sda"], "'/sys/block/sda'"), (look.lsblk_run, ["-f"], "found -f")):
        with pytest.raises((KeyError, ValueError)) as raised:
            run(words)
        assert why in raised.value.args[0]
