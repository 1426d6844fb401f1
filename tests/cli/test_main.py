"""The command line."""

import json
import shlex
import subprocess
import sys

import pytest

from blkmodel.cli.main import main
from blkmodel.scenario import STEPS


@pytest.fixture
def run(capsys):
    """Run a command; return its exit status, what it printed, and what it complained of."""
    def run(*arguments):
        try:
            status = main(list(arguments))
        except SystemExit as exit:
            status = int(exit.code or 0)
        out, err = capsys.readouterr()
        return status, out, err
    return run


def test_map_of_another_release(run):
    words = ["map", "--cpus", "4", "--driver", "null_blk", "--queues", "2", "--release"]
    _, out, _ = run(*words, "6.12.117", "--json")
    case = json.loads(out)
    assert case["params"] == {"submit_queues": 2}
    assert [(hctx["type"], hctx["cpus"]) for hctx in case["observed"]["hctxs"]] == [
        ("default", [0, 1]), ("default", [2, 3]), ("poll", [0, 1, 2, 3])]
    _, out, _ = run(*words, "6.2", "--poll-queues", "0", "--json")
    assert [hctx["cpus"] for hctx in json.loads(out)["observed"]["hctxs"]] == [[0, 2], [1, 3]]
    assert run(*words, "5.4", "--poll-queues", "1") == (
        2, "", "blkmodel map: --poll-queues: null_blk of Linux 5.4 has none; use --driver nvme\n")
    assert run(*words, "7.0") == (
        2, "", "blkmodel map: kernel 7.0 (which CPU uses which queue is known from 5.4 to 6.19; after that CPUs are "
        "grouped by clusters, too, commit 89802ca36c96) is not modelled\n")
    assert run(*words, "6.12", "--poll-queues", "65535")[2].endswith("at most 262144\n")


def test_map_of_nvme(run):
    status, out, _ = run("map", "--cpus", "8", "--nodes", "2", "--queues", "3")
    assert status == 0
    assert out == """\
nvme max_ioqpairs=3 write_queues=0 poll_queues=0 on 8 CPUs, 2 nodes
scheduler none, nr_requests 1023

hctx  type     CPUs  tags  reserved  interrupt
   0  default  4-7   1023         0  4-7
   1  default  0-1   1023         0  0-1
   2  default  2-3   1023         0  2-3

CPU  node  core  state   default
  0     0     0  online        1
  1     0     1  online        1
  2     0     2  online        2
  3     0     3  online        2
  4     1     4  online        0
  5     1     5  online        0
  6     1     6  online        0
  7     1     7  online        0
"""


def test_map_with_short_queues(run):
    """A queue has at most MQES + 1 entries, one of which stays empty."""
    status, out, _ = run("map", "--mqes", "63", "--json")
    assert status == 0
    case = json.loads(out)
    assert case["device"] == {"max_ioqpairs": 4, "mqes": 63, "vectors": 129}
    assert case["observed"]["nr_requests"] == 63


def test_map_with_types_threads_and_absent_cpus(run):
    status, out, _ = run("map", "--cpus", "6", "--present", "4", "--threads", "2", "--queues", "4",
                         "--write-queues", "1", "--poll-queues", "1")
    assert status == 0
    assert "6 CPUs, 1 node, 4 CPUs online" in out
    rows = [line.split() for line in out.splitlines()[-6:]]
    assert [row[3] for row in rows] == ["online"] * 4 + ["absent"] * 2
    assert [row[2] for row in rows] == ["0", "0", "2", "2", "-", "-"]


def test_map_of_null_blk(run):
    status, out, _ = run("map", "--driver", "null_blk", "--queues", "3", "--depth", "32")
    assert status == 0
    assert "   0  default  0,3     32         0\n" in out


def test_map_as_json(run):
    _, out, _ = run("map", "--cpus", "2", "--driver", "null_blk", "--json")
    case = json.loads(out)
    assert case["params"] == {"submit_queues": 2}
    assert [hctx["cpus"] for hctx in case["observed"]["hctxs"]] == [[0], [1]]


@pytest.mark.parametrize(("arguments", "message"), [
    (("map", "--cpus", "0"), "blkmodel map: cpus=0: it must be at least 1 and at most 512\n"),
    (("map", "--cpus", "513"), "blkmodel map: cpus=513: it must be at least 1 and at most 512\n"),
    (("map", "--cpus", "4", "--present", "5"), "blkmodel map: present=5: it must be at least 1 and at most 4\n"),
    (("map", "--nodes", "9"), "blkmodel map: nodes=9: it must be at least 1 and at most 4\n"),
    (("map", "--queues", "0"), "blkmodel map: --queues 0: nvme takes at least 1 and at most 65535\n"),
    (("map", "--queues", "65536"), "blkmodel map: --queues 65536: nvme takes at least 1 and at most 65535\n"),
    (("map", "--poll-queues", "-1"), "blkmodel map: --poll-queues -1: nvme takes at least 0 and at most 65535\n"),
    (("map", "--write-queues", "65535"), "blkmodel map: [Errno 12] nvme_probe: ENOMEM\n"
                                         "  nvme: probe of 0000:00:04.0 failed with error -12\n"),
    (("map", "--driver", "null_blk", "--poll-queues", "1"),
     "blkmodel map: --poll-queues: null_blk of Linux 5.4 has none; use --driver nvme\n"),
    (("map", "--mqes", "0"), "blkmodel map: --mqes 0: nvme takes at least 1 and at most 65535\n"),
    (("map", "--depth", "1"), "blkmodel map: --depth 1: nvme takes at least 2 and at most 65536\n"),
    (("map", "--depth", "0", "--driver", "null_blk"),
     "blkmodel map: --depth 0: null_blk takes at least 1 and at most 65536\n"),
    (("trace", "null_blk"), "blkmodel trace: null_blk: not a step that the model has; expected one of "
                            f"{', '.join(STEPS)}\n"),
    (("trace", "null_blk.load", "queues"), "blkmodel trace: queues: expected a parameter as NAME=VALUE\n"),
])
def test_what_was_wrong(run, arguments, message):
    assert run(*arguments) == (2, "", message)


def test_a_parameter_that_the_driver_does_not_have(run):
    status, _, err = run("trace", "null_blk.load", "queues=3")
    assert status == 2
    assert err.startswith("blkmodel trace: null_blk has no parameter 'queues'; it has ")


def test_trace(run):
    status, out, _ = run("trace", "null_blk.load", "submit_queues=3", "hw_queue_depth=32", "--cpus", "4")
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == "task insmod, CPU 0"
    assert any(line.strip() == "blk_mq_init_request  × 32" for line in lines)
    assert any(line.strip() == "order_to_size  × 4" for line in lines)
    assert "pages(" not in out


def test_trace_with_allocations(run):
    _, out, _ = run("trace", "null_blk.load", "--allocations")
    assert "+ blk_mq_tags, " in out
    assert "log: null_blk: module loaded" in out


def test_trace_after_other_steps(run):
    status, out, _ = run("trace", "--after", "null_blk.load submit_queues=2", "io", "disk=nullb0", "op=read",
                         "offset=0", "length=4096", "cpu=1")
    assert status == 0
    assert "blk_mq_alloc_tag_set" not in out
    assert "CPU 1" in out
    assert "blkdev_read_iter" in out


READ = "io disk={} op=read offset=0 length=512"


@pytest.mark.parametrize(("after", "words", "shown", "said", "exit"), [
    (["nvme.probe", "dmsetup create v --table '0 8 error'"], READ.format("dm-0"),
     "dm_make_request", "[Errno 5] read 512 bytes of dm-0 at 0: EIO", 1),
    (["nvme.probe", "dmsetup create v --table '0 8 linear 259:0 0'", "dmsetup suspend v"],
     READ.format("dm-0"), "dm_make_request",
     "the kernel does not go on: task dio on CPU 0 sleeps for ever, waiting for a wake-up; state D, in __blk", 1),
    ([], "nvme.probe faults='stuck at=enable'", "nvme_wait_ready", "Device not ready; aborting initialisation", 1),
    ([], "dmsetup create v --table '0 8 crypt'", "dm_get_target_type", "target crypt is not modelled", 2),
    (["nvme.probe", "vgcreate vg /dev/nvme0n1"], "lvcreate -L 4m -n v vg", "linear_ctr", "", 0),
    ([], "lvcreate -s -L 4m -n v vg/x", "", "lvcreate's option --snapshot is not modelled", 2)])
def test_ends_that_are_bad(run, after, words, shown, said, exit):
    """The tree as far as it went, and then the errno, or where it sleeps."""
    status, out, err = run("trace", *(word for step in after for word in ("--after", step)), *shlex.split(words))
    assert status == exit
    assert said in err
    assert shown in out
    assert not shown or out.startswith("task ")


def test_a_bug_of_the_model_is_named_after_the_tree(run, monkeypatch):
    monkeypatch.setattr("blkmodel.block.bio.bio_iov_iter_get_pages", lambda bio, iter: bio.nothing)
    status, out, err = run("trace", "--after", "null_blk.load", *shlex.split(READ.format("nullb0")))
    assert (status, out.splitlines()[0]) == (1, "task dio, CPU 0")
    assert err.startswith("blkmodel trace: the model fails: AttributeError: ")


def test_trace_of_what_cannot_be(run):
    status, _, err = run("trace", "io", "disk=nullb0", "op=read", "offset=0", "length=4096")
    assert status == 2
    assert "nullb0" in err


@pytest.mark.parametrize(("words", "why"), [
    (("io", "disk=nullb0"), "io: missing a required argument: 'op'; it takes disk, op, offset, length, "),
    (("io", "disk=nullb0", "sector=3"), "io: missing a required argument: 'op'; it takes disk, op, "),
    (("null_blk.unload", "x=1"), "null_blk.unload: got an unexpected keyword argument 'x'; it takes "),
])
def test_trace_of_a_step_without_what_it_needs(run, words, why):
    status, out, err = run("trace", "--after", "null_blk.load", *words)
    assert (status, out) == (2, "")
    assert err.startswith(f"blkmodel trace: {why}")


def test_trace_with_the_pages_of_a_buffer(run):
    """The same bytes in one piece of memory, or in two: that makes one segment more."""
    def segments(page_runs):
        status, out, _ = run("trace", "--after", "null_blk.load", "io", "disk=nullb0", "op=read", "offset=0",
                             "length=8192", f"page_runs={page_runs}")
        assert status == 0
        return out
    assert segments("2") != segments("1,1")
    status, _, err = run("trace", "--after", "null_blk.load", "io", "disk=nullb0", "op=read", "offset=0",
                         "length=8192", "page_runs=1")
    assert (status, err) == (2, "blkmodel trace: page_runs=[1]: 8192 bytes need 2 pages, in runs of one at least\n")


def test_no_command_and_help(run):
    assert run()[0] == 2
    status, out, _ = run("--help")
    assert status == 0
    for command in ("check", "map", "trace", "capture"):
        assert command in out


def test_as_a_module():
    done = subprocess.run([sys.executable, "-m", "blkmodel", "map", "--cpus", "1", "--queues", "0"],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "blkmodel map: --queues 0: nvme takes at least 1 and at most 65535\n")
