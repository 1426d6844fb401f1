"""Input from strangers: whatever a file or a command line holds, the answer is a sentence, soon, and an exit status."""

import json
import os
import re
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel.capture import sysfs
from blkmodel.capture.check import FAILED, PASSED, SKIPPED, UNREADABLE, check_file
from blkmodel.capture.files import printable
from blkmodel.cli import session
from blkmodel.cli.main import main
from tests.capture.test_formats import CALLS, DEVICE, LATER, MAP, NVME, SESSION

HOSTILE = Path(__file__).parents[1] / "recordings" / "hostile"
NVME_PROBE = ("--after", "nvme.probe")
CREATE = (*NVME_PROBE, "--after")


@pytest.fixture
def run(capsys):
    """Run a command; return its exit status, and what it said, in which nothing commands a terminal."""
    def run(*arguments):
        try:
            status = main([str(each) for each in arguments])
        except SystemExit as exit:
            status = int(exit.code or 0)
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        assert not re.search(r"[^\n\t\x20-\x7e\xa1-\uffff]", out + err)
        return status, out, err
    return run


@pytest.mark.parametrize(("name", "status", "why"), [
    ("check_bigint", 2, "expected numbers of at most 20 digits"),
    ("check_calls_repeat_1000000000", 2, "repeat: expected a number, at most 131072, found 1000000000"),
    ("check_deepcalls450", 2, "expected values that are nested at most 200 deep"),
    ("check_dev_evlist", 2, "expected an event: a list that begins with one of read, write"),
    ("check_hctxs_empty", 1, "hctxs: the kernel has 0, the model 2"),
    ("check_io_4GB", 2, "length: expected a number, at most 16777216, found 4096000000"),
    ("check_nb_badname", 2, "expected text of whole characters, found "),
    ("check_node_empty", 2, "machine.nodes: expected an object of 1 to 1024 fields"),
])
def test_files_to_check(run, name, status, why):
    found, out, err = run("check", HOSTILE / f"{name}.json")
    assert (found, err.count("\n")) == (status, status == 2)
    assert why in (err if status == 2 else out)


@pytest.mark.parametrize(("name", "why"), [
    ("session_hugeint", "expected numbers of at most 20 digits"),
    ("session_iobig", "io.length: expected a number, at most 16777216"),
    ("session_sectbig", "nvme.probe.sectors: expected a number"),
])
def test_sessions(run, name, why):
    for command in (["session"], ["dmesg", "--session"], ["dmsetup", "--session"], ["lvm", "--session"]):
        words = {"dmsetup": ["ls"], "lvm": ["pvcreate", "/dev/nvme0n1"]}.get(command[0], [])
        status, out, err = run(*command, HOSTILE / f"{name}.json", *words)
        assert (status, out, err.count("\n")) == (2, "", 1), err
        assert why in err


@pytest.mark.parametrize(("words", "why"), [
    (["trace", "nvme.probe", "--after", "x '"], "--after x ': No closing quotation"),
    (["trace", "nvme.probe", "--after", "x\ny"], "--after x\\ny: x: not a step that the model has"),
    (["trace", "nvme.probe", "--after", "x\n'"], "--after x\\n': No closing quotation"),
    (["trace", "nvme.probe", "--after", "nvme.probe sectors=0 x=\n"], "--after nvme.probe sectors=0 x=\\n: "),
    (["map", "--bo\ngus"], "unrecognized arguments: --bo\\ngus"),
    (["trace", *NVME_PROBE, "io", "disk=nvme0n1", "op=read", "offset=0", "length=99999999999"],
     "io.length: expected a number, at most 16777216, found 99999999999"),
    (["trace", *NVME_PROBE, "io", "disk=nvme0n1", "op=read", "offset=0", "length=512", "flags=loud"],
     "io.flags[0]: expected one of hipri, dsync, nowait, found 'loud'"),
    (["trace", *NVME_PROBE, "io", "disk=nvme0n1", "op=read", "offset=\u0660", "length=512"],
     "io.offset: expected a number, at least 0, found '\u0660'"),
    (["trace", "nvme.probe", "controller=x"], "nvme.probe: expected no controller that is made in Python"),
    (["trace", "nvme.probe", "use_cmb_sqes=1"], "nvme's parameter use_cmb_sqes is not modelled"),
    (["trace", "null_blk.configure", "name=a", "mbps=1"], "null_blk's attribute mbps is not modelled"),
    (["trace", "nvme.mask_interrupt", "device=nvme0", "vector=4096"],
     "nvme.mask_interrupt.vector: expected a number, at most 2047"),
    (["trace", "aio", "disk=nullb0", "wanted=[{"], "wanted: line 1, column 3: expected JSON"),
    (["trace", "together", 'steps=[{"step": ["together", {"steps": []}]}]'],
     "together.steps[0].step: expected a step that is no together"),
    (["trace", "fail_io_timeout", "times=-2"], "fail_io_timeout.times: expected a number, at least 0, found"),
    (["trace", "nvme.device", "device=nvme0", "bad_sectors_read=x"],
     "nvme.device.bad_sectors_read: expected at most 256 sectors with commas between them, found 'x'"),
    (["trace", "null_blk.load", "nr_devices=1000000"], "null_blk.load nr_devices=1000000: expected steps that "
                                                       "make at most 262144 requests"),
    (["trace", "null_blk.load", "--after", "dmsetup create v --table garbage"], "--after dmsetup create v --table "
                                                                               "garbage: Invalid format on line 1"),
    (["map", "--cpus", "\u0664"], "argument --cpus: expected a number, found '\u0664'"),
    (["map", "--cpus", "9" * 5000], "argument --cpus: expected a number, found"),
    (["map", "--cpus", "512", "--queues", "512", "--vectors", "2048"], "at most 262144"),
    (["map", "--cpus", "512", "--driver", "null_blk", "--depth", "65536"], "at most 262144"),
    (["map", "--vectors", "0"], "--vectors 0: nvme takes at least 1 and at most 2048"),
    (["map", "\udcff"], "argument 2: expected UTF-8 text, found '\\udcff'"),
    (["check"], "the following arguments are required: FILE"),
    (["check", "/dev/zero"], ""), (["check", "."], ""), (["session", "/dev/zero"], "not a regular file"),
    (["lvm", "lvcreate", "-s", "-L", "4m", "-n", "s", "vg/x"], "lvcreate's option --snapshot is not modelled"),
    (["lvm", "lvcreate", "--type", "raid1", "-l", "1", "vg"], "the segment type raid1 is not modelled"),
    (["lvm", "lvcreate", "-rnone", "-l", "1", "vg"], "lvcreate's option --readahead is not modelled"),
    (["lvm", "lvcreate", "-T", "-l", "1", "vg"], "lvcreate's option --thin is not modelled"),
    (["lvm", "lvcreate", "-m", "1", "-l", "1", "vg"], "lvcreate's option --mirrors is not modelled"),
    (["lvm", "vgcreate", "-v", "vg", "/dev/nvme0n1"], "vgcreate's option --verbose is not modelled"),
    (["lvm", "lvs"], "LVM's command lvs is not modelled"),
])
def test_command_lines(run, words, why):
    status, out, err = run(*words)
    assert status == 2
    assert (out, err.count("\n")) == ("0 passed, 0 failed, 1 unreadable\n" if words[1:2] in (["."], ["/dev/zero"])
                                       and words[0] == "check" else "", 1)
    assert why in err


@pytest.mark.parametrize(("words", "status"), [
    (["create", "a", "--table", "\u0660 \u0663 zero"], 1), (["message", "a", "\u0660", "x"], 1),
    (["create", "a", "--table", f"0 {'9' * 5000} zero"], 0), (["message", "a", "9" * 5000, "x"], 1),
    (["create", "a", "-j", "9" * 5000, "-m", "9" * 5000, "--notable"], 0), (["wait", "a", "9" * 5000], 1),
    (["create", "a", "-j", "254", "-m", "99999999999", "--notable"], 0), (["create", "a/b", "--notable"], 1)])
def test_numbers_are_of_ascii_digits_and_of_any_length(run, words, status):
    found, out, err = run("dmsetup", *words)
    assert (found, out, bool(err)) == (status, "", bool(status))


@pytest.mark.parametrize(("words", "why"), [
    (["lvcreate", "-i", "\u0662", "-l", "2", "vg"], "Invalid argument for --stripes: \u0662"),
    (["lvcreate", "-i", "9" * 5000, "-l", "2", "vg"], "Invalid argument for --stripes: 9"),
    (["lvcreate", "-l", "\u0662", "vg"], "Invalid argument for --extents: \u0662"),
    (["lvcreate", "-l", "9" * 5000, "vg"], "Invalid argument for --extents: 9"),
    (["lvcreate", "-L", "\u0662", "vg"], "Size requires number argument."),
    (["lvcreate", "-L", "1e999b", "vg"], "Can't parse size argument at 'b'. Numerical result out of range"),
    (["lvcreate", "--bogus", "vg"], "lvcreate: unrecognized option '--bogus'"),
    (["lvcreate", "-Q", "vg"], "lvcreate: invalid option -- 'Q'"),
    (["lvcreate", "-L"], "lvcreate: option requires an argument -- 'L'"),
    (["lvcreate", "--yes=3"], "lvcreate: option '--yes' doesn't allow an argument"),
])
def test_numbers_and_options_of_lvm(run, words, why):
    """As LVM 2.03.16 has it."""
    status, out, err = run("lvm", *words)
    assert (status, out) == (3, "")
    assert why in err


@pytest.mark.parametrize("words", [["map", "--cpus", "9" * 70_000], ["lvm", "x" * 70_000], ["trace", "x" * 70_000],
                                   ["trace", "nvme.probe", "--after", "'" + "x" * 70_000]])
def test_a_complaint_is_short_whatever_it_repeats(run, words):
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert len(err) <= 2001
    assert re.search(r"[x9]\.\.", err)


def test_the_tree_so_far_and_then_the_error(run):
    status, out, err = run("trace", *CREATE, "dmsetup create v --table '0 8 error'", "io", "disk=dm-0", "op=read",
                           "offset=0", "length=512")
    assert (status, err.count("\n")) == (1, 1)
    assert "dm_make_request" in out
    assert "EIO" in err


def test_the_tree_so_far_and_then_where_it_sleeps(run):
    status, out, err = run("trace", *CREATE, "dmsetup create v --table '0 8 linear 259:0 0'", "--after",
                           "dmsetup suspend v", "io", "disk=dm-0", "op=read", "offset=0", "length=512")
    assert (status, err.count("\n")) == (1, 1)
    assert "dm_make_request" in out
    assert re.search(r"sleeps for ever, waiting for .*; state D, in \w+", err)


def test_trace_of_a_tool_and_of_flags(run):
    status, out, err = run("trace", "--cpus", "2", "dmsetup", "create", "v", "--table", "0 8 zero")
    assert (status, err) == (0, "")
    assert "dm_table_create" in out
    assert run("trace", "dmsetup", "remove", "v")[0] == 1
    plain, flagged = (run("trace", *NVME_PROBE, "io", "disk=nvme0n1", "op=write", "offset=0", "length=512", *flags)
                      for flags in ((), ("flags=hipri,dsync",)))
    assert plain[0] == flagged[0] == 0
    assert plain[1] != flagged[1]


def test_as_many_queues_as_a_disk_has_vectors(run):
    for cpus, vectors, queues in (("65", (), 65), ("130", (), 128), ("65", ("--vectors", "65"), 64)):
        _, out, _ = run("map", "--cpus", cpus, *vectors, "--depth", "2", "--json")
        assert json.loads(out)["observed"]["queues"]["default"] == queues


def test_what_is_read_again_is_what_was_drawn(run, tmp_path):
    """`map --json` gives a case of a recording; with the vectors, or without them where the queues prove them."""
    for vectors, told in ((129, True), (129, False), (65, False), (33, True)):
        case = json.loads(run("map", "--cpus", "66", "--depth", "2", "--vectors", str(vectors), "--json")[1])
        if not told:
            del case["device"]["vectors"]
        every = "0-65"
        path = tmp_path / "recording.json"
        path.write_text(json.dumps({**MAP, "cases": [case], "machine": {
            "possible": every, "present": every, "online": every, "nodes": {"0": every}}}))
        assert check_file(path).differences == []


def test_what_version(run):
    assert re.fullmatch(r"blkmodel \S+.*, a model of Linux v5\.4\.120\n", run("--version")[1])


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.mkdir(), lambda path: path.symlink_to("/dev/zero"),
                                  lambda path: path.write_bytes(b" " * ((16 << 20) + 1)),
                                  lambda path: path.write_text("[" * 100_000), lambda path: path.write_text("[1, NaN]"),
                                  lambda path: path.write_text('{"a": 1, "a": 2}'),
                                  lambda path: path.write_bytes(b'"\xed\xa0\x80"')])
def test_what_is_no_file_to_read(run, tmp_path, make):
    path = tmp_path / "\x1b[31mfile"
    make(path)
    assert run("check", path)[0] == 2
    for command in (["session"], ["dmesg", "--session"]):
        status, out, err = run(*command, path)
        assert (status, out, err.count("\n")) == (2, "", 1)


def test_a_recording_is_written_as_a_whole_or_not_at_all(run, tmp_path):
    mine, link, pipe = tmp_path / "mine", tmp_path / "link", tmp_path / "pipe"
    mine.write_text("mine")
    link.symlink_to(mine)
    os.mkfifo(pipe)
    for place in (link, pipe, tmp_path):
        assert run("capture", "-o", place)[0] == 2
    assert (mine.read_text(), sorted(tmp_path.iterdir())) == ("mine", [link, mine, pipe])


def test_a_tree_of_a_stranger_is_read_in_bounded_time(run, tmp_path):
    cpu = tmp_path / "sys" / "devices" / "system" / "cpu"
    cpu.mkdir(parents=True)
    os.mkfifo(cpu / "possible")
    status, out, err = run("capture", "--root", tmp_path)
    assert (status, out) == (2, "")
    assert "possible: not a regular file" in err
    (cpu / "possible").unlink()
    (cpu / "possible").write_text("0-99999999999")
    assert "is above 1023" in run("capture", "--root", tmp_path)[2]


def tree(root, disks, queues=1):
    """A tree of disks that have queues."""
    for name in ("possible", "present", "online"):
        (root / "sys/devices/system/cpu").mkdir(parents=True, exist_ok=True)
        (root / "sys/devices/system/cpu" / name).write_text("0")
    for disk in disks:
        for queue in range(queues):
            (root / "sys/block" / disk / "mq" / str(queue)).mkdir(parents=True)
    return root


def test_links_of_a_strangers_tree_are_not_followed_for_what_they_say(run, tmp_path):
    root = tree(tmp_path, ["loop0"])
    for disk, link in (("vda", "vda"), ("vdb", "/virtio1/../loop0"), ("sda", "../block/host99999999999/target/loop0")):
        (root / "sys/block" / disk).symlink_to(link)
    status, out, _ = run("capture", "--root", root, "--names", "--release", "6.12")
    assert status == 0
    assert [case["disk"] for case in json.loads(out)["cases"]] == ["loop0"]
    (root / "mine.json").write_text(out)
    assert run("check", root / "mine.json")[0] == 1  # its queue has no CPU, which no kernel shows


def test_what_a_strangers_tree_says_of_queues_can_be_checked(run, tmp_path):
    root = tree(tmp_path, ["sda"])
    host = root / "sys/class/scsi_host/host1"
    (root / "sys/block/sda").rename(root / "sda")
    (root / "sys/host1/target").mkdir(parents=True)
    (root / "sda").rename(root / "sys/host1/target/sda")
    (root / "sys/block/sda").symlink_to("../host1/target/sda")
    host.mkdir(parents=True)
    for name, queues in (("\x1b[31m", "9" * 19), ("", "-5"), ("x" * 5000, "nine")):
        (host / "proc_name").write_text(name)
        (host / "nr_hw_queues").write_text(queues)
        status, out, _ = run("capture", "--root", root, "--release", "6.12")
        assert status == 0
        (root / "mine.json").write_text(out)
        found, _, err = run("check", root / "mine.json")
        assert found in (0, 1), err


def test_a_tree_of_very_many_queues_is_refused(run, tmp_path, monkeypatch):
    monkeypatch.setattr(sysfs, "MOST_FILES", 60)
    status, out, err = run("capture", "--root", tree(tmp_path, [f"nullb{n}" for n in range(9)], 9))
    assert (status, out) == (2, "")
    assert "expected the files of a running kernel, at most 60" in err


def test_a_terminal_that_knows_ascii_only():
    done = subprocess.run([sys.executable, "-m", "blkmodel", "trace", "null_blk.load"], capture_output=True,
                          check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\xd7 64" in done.stdout


# Good files, changed

TEXTS = ["", "\0", "\x1b[31m", "\u202e", "x" * 70_000, "0-3", "0-99999999999", "3-1", "\u0663", "nvme0", "../x", "\n"]
WORDS = ["9" * 30, "length=9999999999", "-1", "'", "op=write", "flags=hipri", "vectors=0", "--type=raid1", "8", "error"]
BYTES = ["", "\ud800", "}", '"', "1e999", "9" * 5000, "[" * 5000]
ANYTHING = st.sampled_from([None, True, -1, 0, 1, 2, 65536, 1 << 31, 1 << 63, 1 << 64, 10**40, 0.5, [], {}, [[]], [{}],
                            {"": ""}, {"repeat": 1 << 17, "calls": ["a"]}, *TEXTS])
MACHINE = {"possible": "0-3", "present": "0-1", "online": "0-1", "nodes": {"0": "0-1"},
           "possible_nodes": {"0": "0,2", "1": "1,3"}, "thread_siblings": {"0": "0-1", "1": "0-1"}}
GOOD = {"map": MAP, "machine": {**MAP, "machine": MACHINE}, "nvme": NVME, "calls": CALLS, "later": LATER,
        "device": DEVICE, "dmsetup": SESSION,
        "session": {"format": session.FORMAT, "machine": {"cpus": 2, "nodes": 1, "threads": 1, "present": 2}, "steps": [
            "nvme.probe device=nvme0 sectors=131072", "io disk=nvme0n1 op=read offset=0 length=512 cpu=0 page_runs=1",
            "dmsetup create v --table '0 8 zero'", "vgcreate -s 4m vg /dev/nvme0n1", "lvcreate -l 50%FREE -n a vg",
            "null_blk.load submit_queues=2 hw_queue_depth=4"]}}


def places(value, path=()):
    """Every place in a document."""
    yield path
    for key, below in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(below, (*path, key))


@st.composite
def changed(draw, good):
    """A good document in which one to three places hold something else, or nothing, or stand twice."""
    document = json.loads(json.dumps(good))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([each for each in places(document) if each] or [None]))
        if path is None:
            break
        inner = document
        for key in path[:-1]:
            inner = inner[key]
        how = draw(st.sampled_from(["other", "other", "gone", "name", "twice", "word"]))
        if how == "gone":
            del inner[path[-1]]
        elif how == "name" and isinstance(inner, dict):
            inner[draw(st.sampled_from(TEXTS))] = inner.pop(path[-1])
        elif how == "twice" and isinstance(inner, list):
            inner.append(deepcopy(inner[path[-1]]))
        elif how == "word" and isinstance(inner[path[-1]], str):
            words = inner[path[-1]].split(" ")
            words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from([*TEXTS, *WORDS]))
            inner[path[-1]] = " ".join(words)
        else:
            inner[path[-1]] = deepcopy(draw(ANYTHING))
    text = json.dumps(document)
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(BYTES)) + text[at + 1:]
    return text


@pytest.mark.parametrize("kind", GOOD)
def test_a_good_file_that_was_changed(tmp_path_factory, kind):
    path = tmp_path_factory.mktemp("changed") / "file.json"

    @given(changed(GOOD[kind]))
    @settings(max_examples=40)
    def any_change(text):
        path.write_bytes(text.encode("utf8", "surrogatepass"))
        if kind != "session":
            outcome = check_file(path)
            assert outcome.result in (PASSED, FAILED, SKIPPED, UNREADABLE)
            said = [outcome.summary] if outcome.result == UNREADABLE else []
        else:
            try:
                session.read(path).replay()
                said = []
            except session.SessionError as why:
                said = [str(why)]
        assert all(len(line) < 2000 and printable(line, keep="") == line for line in said), said
    any_change()


@pytest.mark.parametrize("words", [["map"], ["lsblk"], ["capture"]])
def test_a_full_disk_is_said_in_a_line(words):
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "blkmodel", *words], stdout=full, stderr=subprocess.PIPE,
                              check=False)
    assert done.returncode == 2
    assert done.stderr.endswith(b"standard output: No space left on device\n")
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(("command", "status"), [("map >&-", 0), ("lsblk >&-", 0), ("dmsetup create a <&-", 0),
                                                 ("map --cpus x 2>&-", 2)])
def test_a_stream_that_is_closed_is_nobodys(command, status):
    done = subprocess.run(f"{sys.executable} -m blkmodel {command}", shell=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (status, b"")


@pytest.mark.parametrize("place", ["", ".", "..", "/"])
def test_a_session_that_is_a_directory(run, place):
    status, out, err = run("dmsetup", "--session", place, "create", "a", "--notable")
    assert (status, out) == (2, "")
    assert "the step cannot be kept: it is a directory" in err
