"""Job files: what their options come to, and which are refused. examples.tsv has the kinds of job files among fio's own
examples: of each the option that the model has not (-: none), and a few of the options that it says."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from blkmodel.scenario import run_workload
from blkmodel.userland.fio.jobs import OPTIONS, JobError, parse
from tests.userland.fio.disks import nvme

EXAMPLES = [line.split("\t") for line in
            (Path(__file__).parent / "examples.tsv").read_text().splitlines()[1:]]


def job(*lines):
    found, = parse("\n".join(["[job]", *lines]))
    return found


@pytest.mark.parametrize(("name", "refused", "options"), EXAMPLES, ids=[name for name, _, _ in EXAMPLES])
def test_fios_examples_run_or_are_refused_by_name(name, refused, options):
    """Those that run do so for two seconds, on a disk that is slow."""
    lines = [line for line in options.split(";") if not line.startswith("runtime")]
    text = "\n".join(["[job]", *lines, "runtime=2"])
    if refused not in ("-", "time_based"):
        with pytest.raises(JobError, match=rf"^\[job\] {refused}\b") as caught:
            parse(text)
        assert len(str(caught.value)) < 600
        return
    if refused == "time_based":  # writes into the page cache, which takes no time, and nobody is held back there
        with pytest.raises(JobError, match="time_based: nvme0n1 takes no time"), nvme(least=10**8, sectors=32 << 21):
            run_workload("nvme0n1", text)
        return
    with nvme(least=10**8, sectors=32 << 21):
        done = run_workload("nvme0n1", text).json["jobs"]
    assert sum(each["read"]["total_ios"] + each["write"]["total_ios"] for each in done) > 10
    assert not any(each["error"] for each in done)


def test_an_example_runs_of_each_kind_that_the_subset_is_for():
    """Random and in order, rates, sizes in shares; and most of the examples are for what is no disk."""
    assert sum(refused == "-" for _, refused, _ in EXAMPLES) >= 6
    assert {refused for _, refused, _ in EXAMPLES} >= {"ioengine", "verify", "zonemode", "rw", "-"}


@pytest.mark.parametrize(("line", "field", "value"), [
    ("bs=4k,64K", "split", ([(4096, 100)], [(65536, 100)])), ("blocksize=1m", "split", ([(1 << 20, 100)],) * 2),
    ("bs=,8k", "split", ([(4096, 100)], [(8192, 100)])),
    ("bssplit=4k/60:64k/40", "split", ([(4096, 60), (65536, 40)],) * 2),
    ("bssplit=4k/50:8k/:16k/,512/100", "split", ([(4096, 50), (8192, 25), (16384, 25)], [(512, 100)])),
    ("rate=1m,500k", "rate", (1 << 20, 500 << 10)), ("rate_iops=50", "rate_iops", (50, 50)),
    ("rate=,1k", "rate", (None, 1024)), ("cpus_allowed=0-2,5", "cpus_allowed", (0, 1, 2, 5)),
    ("runtime=90", "runtime", 90 * 10**9), ("runtime=20ms", "runtime", 20 * 10**6),
    ("runtime=2m", "runtime", 12 * 10**10),
    ("buffered=0", "direct", 1), ("buffered=1", "direct", 0), ("direct", "direct", 1),
    ("rwmixwrite=30", "rwmixread", 70),
    ("percentile_list=99.9:50", "percentile_list", (50.0, 99.9)), ("size=2G  ; a note", "size", 2 << 30),
    ("rw=randrw # a note", "rw", "randrw"), ("name=other", "name", "other")])
def test_options_are_read(line, field, value):
    assert getattr(job(line), field) == value


@pytest.mark.parametrize(("line", "right"), [
    ("verify=crc32c", "has"), ("rw=trim", "randwrite"), ("bs=1000", "sectors"), ("bs=", "sectors"),
    ("iodepth=0", "from 1"),
    ("numjobs=x", "from 1"), ("ioengine=io_uring", "libaio"), ("bssplit=4k/60:64k/50", "make 100"),
    ("bssplit=4k/60", "make 100"), ("percentile_list=50:101", "up to 100"), ("percentile_list=50::99", "up to 20"),
    ("percentile_list=0", "above 0"), ("runtime=soon", "500ms"), ("size=10%", "4k"), ("cpus_allowed=a", "0-3,8"),
    ("direct=2", "from 0 to 1"), ("rwmixread=101", "100"), ("hipri=1", "pvsync2"),
    ("rate_process=poisson", "rate_iops"),
    ("io_submit_mode=offload", "libaio"), ("rate=fast", "4k"), ("filename=/dev/sda", "/dev/nvme0n1")])
def test_what_cannot_be_is_refused_with_what_would_do(line, right):
    option = line.partition("=")[0]
    with nvme() if option == "filename" else nullcontext(), pytest.raises(
            JobError, match=rf"^\[job\] {option}\b.*{right}"):
        run_workload(None, f"[job]\n{line}\n")


def test_sections_take_what_is_common_up_to_them():
    first, second = parse("[global]\nbs=8k\niodepth=4\nioengine=libaio\n[a]\n[global]\niodepth=2\n[b]\nbs=16k\n")
    assert (first.iodepth, first.split[0], first.options) == (4, [(8192, 100)], {})
    assert (second.iodepth, second.split[0]) == (2, [(16384, 100)])
    assert second.common["bs"] == "8k"
    with pytest.raises(JobError, match="section"):
        parse("rw=read\n[a]\n")
    with pytest.raises(JobError, match="no job"):
        run_workload("nvme0n1", "[global]\nrw=read\n")


def test_jobs_are_also_given_by_their_options():
    with nvme(least=1000):
        done = run_workload("nvme0n1", [{"name": "a", "rw": "randread", "direct": True, "size": 65536}, {"size": "8k"}])
    assert [(each["jobname"], each["read"]["total_ios"]) for each in done.json["jobs"]] == [("a", 16), ("job2", 2)]


def test_options_are_what_the_tests_know():
    assert len(OPTIONS) == 33
