"""Sessions: a file in which a machine goes on from command to command, as a user at the command line has it."""

import io
import json
import os
import subprocess
import sys

import pytest

from blkmodel.cli import session
from blkmodel.cli.main import main

STEPS = ["nvme.probe device=nvme0 sectors=131072", "nvme.probe device=nvme1 sectors=131072"]


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "my.json"
    file.write_text(json.dumps({"format": session.FORMAT, "machine": {"cpus": 2}, "steps": STEPS}))
    return file


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command; return its exit status, what it printed, and what it complained of."""
    def run(*arguments, stdin=""):
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        status = main([str(each) for each in arguments])
        return (status, *capsys.readouterr())
    return run


def steps(path):
    return json.loads(path.read_text())["steps"][len(STEPS):]


def test_commands_go_on_from_each_other(run, path):
    assert run("dmsetup", "--session", path, "create", "lin0", "--table", "0 2048 linear /dev/nvme0n1 0") == (0, "", "")
    assert run("dmsetup", "--session", path, "load", "lin0", stdin="0 1024 zero\n1024 8 error\n") == (0, "", "")
    assert run("dmsetup", "--session", path, "resume", "lin0") == (0, "", "")
    assert run("dmsetup", "--session", path, "table") == (0, "lin0: 0 1024 zero \nlin0: 1024 8 error \n", "")
    assert run("dmsetup", "--session", path, "ls") == (0, "lin0\t(254:0)\n", "")
    assert steps(path) == ["dmsetup create lin0 --table '0 2048 linear /dev/nvme0n1 0'",
                           "dmsetup load lin0 --table '0 1024 zero\n1024 8 error\n'", "dmsetup resume lin0"]


def test_what_is_refused_is_said_as_the_tool_says_it(run, path):
    assert run("dmsetup", "--session", path, "remove", "lin0") == (
        1, "", "device-mapper: remove ioctl on lin0  failed: No such device or address\nCommand failed.\n")
    assert run("dmsetup", "--session", path, "bogus") == (1, "", "Unknown command.\n")
    assert steps(path) == ["dmsetup remove lin0"]


def test_lvm_and_dmsetup_see_the_same_machine(run, path):
    status, out, err = run("lvm", "--session", path, "vgcreate", "vg0", "/dev/nvme0n1", "/dev/nvme1n1")
    assert (status, out.splitlines()[-1], err) == (0, '  Volume group "vg0" successfully created', "")
    run("lvm", "--session", path, "lvcreate", "-i", "2", "-l", "4", "-n", "a", "vg0")
    assert run("dmsetup", "--session", path, "table") == (
        0, "vg0-a: 0 32768 striped 2 128 259:0 2048 259:1 2048\n", "")
    status, out, _ = run("session", path)
    assert status == 0
    assert out.splitlines()[-3:] == ["$ lvcreate -i 2 -l 4 -n a vg0", "  Using default stripesize 64.00 KiB.",
                                     '  Logical volume "a" created.']


def test_a_controller_is_described_in_a_session(run, path):
    """The field's commonest log: a command is not answered, and its abort is answered but does nothing."""
    def described(more):
        probe = f"nvme.probe device=nvme0 max_ioqpairs=1 dbbuf=0 {more}"
        path.write_text(json.dumps({"format": session.FORMAT, "machine": {"cpus": 1}, "steps": [
            probe, "io disk=nvme0n1 op=write offset=0 length=512"]}))
        return run("dmesg", "--session", path)
    _, out, _ = described("aborts=0 faults='silent queue=1 opcode=1'")
    assert [line.split(" QID 1 ")[-1] for line in out.splitlines()[-4:]] == [
        "timeout, aborting", "nvme nvme0: Abort status: 0x0", "timeout, reset controller",
        "nvme nvme0: 1/0/0 default/read/poll queues"]
    assert "reset" not in described("faults='silent queue=1 opcode=1'")[1]
    for more, why in (("aborts=2", "expected true or false, found 2"),
                      ("faults='deaf queue=1'", "effect='deaf': at command it can be "),
                      ("faults='silent queue=x'", "'queue=x' is neither at=STEP nor nth, opcode, queue or "),
                      ("faults='fail queue=1'", "a command fails with a status from 0x1 to 0x7fff")):
        status, out, err = described(more)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert "step 1 (nvme.probe device=nvme0" in err
        assert why in err


def test_without_a_file_there_are_two_disks(run):
    assert run("lvm", "vgcreate", "vg0", "/dev/nvme0n1", "/dev/nvme1n1")[0] == 0
    assert run("dmsetup", "ls") == (0, "No devices found\n", "")
    assert run("dmsetup", "--", "--version")[1].startswith("Library version:   1.02.185")


@pytest.mark.parametrize(("content", "why"), [
    ("{", "line 1, column 2: expected JSON: "), ("[]", "expected an object with format, machine, steps"),
    ({"format": "blkmodel-calls/1"}, "format: expected one of blkmodel-session/1, found 'blkmodel-calls/1'"),
    ({"steps": ["x", 7]}, "steps[1]: expected a text, found 7"),
    ({"machine": {"cpus": 0}}, "machine.cpus: expected a number, at least 1, found 0"),
    ({"machine": {"cpus": 2, "nodes": 3}}, "machine: nodes=3: it must be at least 1 and at most 2"),
    ({"steps": ["nvme.prob"]}, "step 1 (nvme.prob): nvme.prob: not a step that the model has; expected one of "),
    ({"steps": ["nvme.probe 7"]}, "step 1 (nvme.probe 7): 7: expected a parameter as NAME=VALUE"),
    ({"steps": ["nvme.probe speed=9"]}, "step 1 (nvme.probe speed=9): nvme has no parameter 'speed'; it has aborts, "),
    ({"steps": ["dmsetup 'ls"]}, "step 1 (dmsetup 'ls): No closing quotation"),
    ({"steps": ["io disk=sda op=read offset=0 length=512"]}, "step 1 (io disk=sda op=read offset=0 length=512): "),
    ({"steps": ["dmsetup create m --notable", "dmsetup message m 0 @stats_list"]},
     "step 2 (dmsetup message m 0 @stats_list): device mapper statistics (message @stats_list) is not modelled")])
def test_a_session_that_cannot_be_done(run, path, content, why):
    if isinstance(content, dict):
        content = json.dumps({"format": session.FORMAT, "machine": {"cpus": 2}, "steps": []} | content)
    path.write_text(content)
    status, out, err = run("dmsetup", "--session", path, "create", "x", "--notable")
    assert (status, out) == (2, "")
    assert err.startswith(f"blkmodel dmsetup: {path}: ")
    assert why in err
    assert path.read_text() == content


def test_what_is_not_modelled_changes_nothing(run, path):
    run("dmsetup", "--session", path, "create", "m", "--notable")
    before = path.read_text()
    assert run("dmsetup", "--session", path, "message", "m", "0", "@stats_list") == (
        2, "", "blkmodel dmsetup: device mapper statistics (message @stats_list) is not modelled\n")
    assert path.read_text() == before


def test_a_session_begins_with_its_first_command(run, tmp_path):
    path = tmp_path / "new.json"
    status, _, err = run("session", path)
    assert (status, err) == (2, f"blkmodel session: {path}: expected a file that can be read: "
                             "No such file or directory\n")
    assert run("dmsetup", "--session", path, "ls") == (0, "No devices found\n", "")
    assert not path.exists()
    run("dmsetup", "--session", path, "create", "m", "--notable")
    assert session.read(path).steps == [*session.DISKS, "dmsetup create m --notable"]
    assert run("dmsetup", "--session", path, "ls") == (0, "m\t(254:0)\n", "")
    status, _, err = run("dmsetup", "--session", tmp_path / "none" / "new.json", "create", "m", "--notable")
    assert status == 2
    assert "none/new.json: the step cannot be kept: No such file or directory" in err
    assert not (tmp_path / "none").exists()


def test_no_command(run):
    assert run("lvm", "pvscan") == (2, "", "blkmodel lvm: LVM's command pvscan is not modelled\n")
    status, _, err = run("lvm", "pvfoo")
    assert (status, err) == (2, "blkmodel lvm: expected one of LVM's commands, pvcreate, vgcreate, vgextend, lvcreate, "
                                "lvextend, lvreduce, lvchange, lvremove; found pvfoo\n")


def test_a_kernel_that_does_not_go_on(run, path):
    """flakey forgets to see whether there is a word for the direction, and asks for what is not there."""
    before = path.read_text()
    status, out, err = run("dmsetup", "--session", path, "create", "f", "--table",
                           "0 8 flakey /dev/nvme0n1 0 1 1 3 corrupt_bio_byte 1")
    assert (status, out) == (2, "") or status == 1, err
    if status == 2:
        assert "the kernel does not go on" in err
        assert path.read_text() == before


def test_what_lies_beside_a_session_stays(run, path):
    beside = path.with_name("my.json.new")
    beside.write_text("mine")
    path.chmod(0o640)
    assert run("dmsetup", "--session", path, "create", "m", "--notable") == (0, "", "")
    assert (beside.read_text(), path.stat().st_mode & 0o777) == ("mine", 0o640)
    assert sorted(each.name for each in path.parent.iterdir()) == ["my.json", "my.json.lock", "my.json.new"]
    assert steps(path) == ["dmsetup create m --notable"]


@pytest.mark.parametrize("what", ["link", "lock is a directory", "lock is a link", "lock is a pipe"])
def test_a_step_that_cannot_be_kept(run, path, what):
    victim, lock = path.with_name("victim"), path.with_name("my.json.lock")
    victim.write_text("mine")
    before = path.read_text()
    if what == "link":
        linked = path.rename(path.with_name("real.json"))
        path.symlink_to(linked)
    elif what == "lock is a directory":
        lock.mkdir()
    elif what == "lock is a link":
        lock.symlink_to(victim)
    else:
        os.mkfifo(lock)
    status, out, err = run("dmsetup", "--session", path, "create", "m", "--notable")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"{path}: the step cannot be kept: " in err
    assert (path.read_text(), victim.read_text(), path.is_symlink()) == (before, "mine", what == "link")


def test_commands_at_once_lose_nothing(path):
    """As many processes, and every one's step is there afterwards."""
    commands = [[sys.executable, "-m", "blkmodel", "dmsetup", "--session", str(path), "create", f"m{n}", "--notable"]
                for n in range(4)]
    started = [subprocess.Popen(command) for command in commands]
    assert [each.wait() for each in started] == [0] * 4
    assert sorted(steps(path)) == [f"dmsetup create m{n} --notable" for n in range(4)]


def test_a_step_that_could_not_be_read_again(run, path):
    before = path.read_text()
    table = "0 8 zero #" + "x" * (1 << 16)
    status, _, err = run("dmsetup", "--session", path, "create", "m", "--table", table)
    assert (status, path.read_text()) == (2, before)
    assert "the step cannot be kept: steps[2]: expected a text of at most 65536 characters" in err
    status, _, err = run("dmsetup", "--session", path, "create", "m", stdin=table)
    assert (status, path.read_text()) == (2, before)
    assert "standard input: expected a table of at most 65536 characters" in err


def test_the_log_of_the_kernel(run, path):
    run("dmsetup", "--session", path, "create", "m", "--table", "0 8 nosuch")
    status, out, err = run("dmesg", "--session", path)
    assert (status, err) == (0, "")
    assert "device-mapper: table: 254:0: nosuch: unknown target type\n" in out
    assert "nvme nvme0: " in run("dmesg")[1]


def test_the_log_of_a_kernel_that_does_not_go_on(run, path):
    """What fails is what came of a step; what never ends is the end, and what came before it is told."""
    path.write_text(json.dumps({"format": session.FORMAT, "machine": {"cpus": 1}, "steps": [
        "nvme.probe device=nvme0 faults='fail opcode=1 queue=1 nth=0 status=0x4281'",
        "io disk=nvme0n1 op=write offset=0 length=512", "dmsetup create m --table '0 8 linear /dev/nvme0n1 0'",
        "dmsetup suspend m", "io disk=dm-0 op=read offset=0 length=512"]}))
    status, out, err = run("session", path)
    assert status == 2
    assert [line for line in out.splitlines() if line.startswith("$")][-1] == "$ dmsetup suspend m"
    assert "write 512 bytes of nvme0n1 at 0: ENODATA" in err or "write 512 bytes of nvme0n1 at 0: EIO" in err
    assert "step 5 (io disk=dm-0 op=read offset=0 length=512): the kernel does not go on: task dio" in err
    status, out, err = run("dmesg", "--session", path)
    assert status == 2
    assert "error, dev nvme0n1, sector 0 op 0x1:(WRITE)" in out
    assert "device-mapper: ioctl: " in out
    assert "step 5 (io disk=dm-0" in err


@pytest.mark.parametrize("kind", ["snapshot", "thin-pool", "crypt"])
def test_a_target_that_the_kernel_has(run, path, kind):
    before = path.read_text()
    assert run("dmsetup", "--session", path, "create", "m", "--table", f"0 8 {kind}") == (
        2, "", f"blkmodel dmsetup: device mapper's target {kind} is not modelled\n")
    assert path.read_text() == before
    assert run("trace", "dmsetup", "create", "m", "--table", f"0 8 {kind}")[0] == 2


def test_what_could_command_a_terminal_is_escaped(run, path):
    name = "a\x1b[31m\u202eb"
    assert run("dmsetup", "--session", path, "create", name, "--notable") == (0, "", "")
    for words in (("dmsetup", "--session", path, "ls"), ("session", path), ("dmsetup", "create", f"{name}/")):
        _, out, err = run(*words)
        assert "a\\x1b[31m\\u202eb" in out + err
        assert not {"\x1b", "\u202e"} & set(out + err)


def test_tools_that_read_leave_the_session_as_it_was(run, path):
    run("dmsetup", "--session", path, "create", "lin0", "--table", "0 2048 linear /dev/nvme0n1 0")
    before = path.read_text()
    for words in (("lsblk",), ("iostat", "-x"), ("nvme", "list"), ("sysfs", "/sys/block/dm-0"),
                  ("blktrace", "/dev/dm-0", "io", "disk=dm-0", "op=write", "offset=0", "length=4096")):
        status, out, err = run(words[0], "--session", path, *words[1:])
        assert (status, err, path.read_text()) == (0, "", before)
        assert {"lsblk": "└─lin0", "iostat": "%util", "nvme": "/dev/nvme1n1", "sysfs": "/sys/block/dm-0/dm/name:lin0",
                "blktrace": "254,0    0        1     0.000000000     1  Q  WS 0 + 8 [dio]\n"}[words[0]] in out
    assert run("lsblk", f"--session={path}") == run("lsblk", "--session", path, "--")
    assert run("lsblk") == (0, "NAME    MAJ:MIN RM SIZE RO TYPE MOUNTPOINTS\nnvme0n1 259:0    0  64M  0 disk \n"
                            "nvme1n1 259:1    0  64M  0 disk \n", "")


def test_all_that_a_session_did_is_traced_and_counted(run, path):
    document = json.loads(path.read_text())
    document["steps"] += ["io disk=nvme0n1 op=write offset=0 length=4096", "nvme list"]
    path.write_text(json.dumps(document))
    status, out, _ = run("blktrace", "--session", path, "nvme0n1")
    assert (status, [line.split()[5] for line in out.splitlines()]) == (
        0, ["Q", "G", "D", "C", "Q", "G", "P", "UT", "I", "D", "C"])
    assert run("session", path)[1].splitlines()[-1].startswith("/dev/nvme0n1")
    _, out, _ = run("iostat", "--session", path, "-dx", "/dev/nvme0n1")
    read, written = (out.splitlines()[3].split()[column] for column in (2, 8))
    assert read == written > "0.00"


@pytest.mark.parametrize(("words", "why"), [
    (("iostat",), "blkmodel iostat: expected -x or -dx, and names of disks; found none"),
    (("nvme", "reset"), "blkmodel nvme: expected list, list-subsys, id-ctrl; found reset"),
    (("blktrace",), "blkmodel blktrace: expected a whole disk, nvme0n1 or nvme1n1; found none"),
    (("blktrace", "sda"), "blkmodel blktrace: expected a whole disk, nvme0n1 or nvme1n1; found sda"),
    (("blktrace", "nvme0n1", "io"), "blkmodel blktrace: the step: io: missing a required argument: 'disk'; it takes "
     "disk, op, offset, length, cpu, page_runs, data, flags"),
    (("blktrace", "nvme0n1", "blktrace", "nvme0n1"),
     "blkmodel blktrace: blktrace: expected a step; found another blktrace"),
    (("sysfs", "/proc"), "blkmodel sysfs: there is no folder '/proc'; there is such as /sys/block/nvme0n1 or "
     "/sys/class/nvme/nvme0"),
    (("lsblk", "-f"), "blkmodel lsblk: expected no more words; found -f")])
def test_tools_that_read_say_what_is_wrong(run, words, why):
    assert run(*words) == (2, "", f"{why}\n")


def test_a_step_that_fails_is_traced_to_its_end(run):
    status, out, err = run("blktrace", "nvme0n1", "io", "disk=nvme0n1", "op=read", "offset=67108864", "length=512")
    assert (status, out, err) == (0, "", "")  # behind the end there is nothing to read
    status, out, err = run("blktrace", "nvme0n1", "dmsetup", "create", "m", "--table", "0 8 linear /dev/nvme9n1 0")
    assert (status, out) == (1, "")
    assert "No such device" in err


def test_a_controller_that_answers_no_more(run, path):
    """Its driver takes it away; so there is nothing to ask, and that is said."""
    path.write_text(json.dumps({"format": session.FORMAT, "machine": {"cpus": 1}, "steps": STEPS[:1]}))
    assert run("nvme", "--session", path, "id-ctrl", "/dev/nvme0")[0] == 0
    path.write_text(json.dumps({"format": session.FORMAT, "machine": {"cpus": 1}, "steps": [
        "nvme.probe device=nvme0 faults='fail queue=0 opcode=6 nth=8 status=0x2'"]}))
    status, out, err = run("nvme", "--session", path, "id-ctrl", "/dev/nvme0")
    assert (status, out) == (1, "")
    assert "nvme id-ctrl /dev/nvme0: EIO" in err
