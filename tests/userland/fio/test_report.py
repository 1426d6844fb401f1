"""fio's words and fields: what the real fio 3.33 said of jobs on a file, as text and as JSON, is in fio-3.33.json."""

import json
import math
import re
import statistics
from pathlib import Path

import pytest
from hypothesis import given, strategies

from blkmodel.scenario import run_workload
from blkmodel.userland.fio.report import bucket, short
from tests.userland.fio.disks import nvme

REAL = json.loads((Path(__file__).parent / "fio-3.33.json").read_text())
JOBS = "\n".join(REAL["jobfile"]).replace("/tmp/f", "/dev/nvme0n1")


@pytest.fixture(scope="module")
def report():
    with nvme(least=90_000, extra=10_000):
        return run_workload(jobs=JOBS)


def test_fios_json_as_text_is_fios_text(report):
    """The numbers that fio gave in its JSON, in our words: its own text, to the letter, but for process numbers."""
    before, report.json = report.json, REAL["json"]
    try:
        ours = report.text().replace("-blkmodel", "").splitlines()
    finally:
        report.json = before
    for mine, theirs in zip(ours, REAL["text"], strict=True):
        assert re.sub("pid=[0-9]+", "", mine) == re.sub("pid=[0-9]+", "", theirs)


def shape(value):
    """Which keys there are, and what is below them; of numbers whether they are whole."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    return [shape(each) for each in value] if isinstance(value, list) else type(value).__name__


def test_the_json_has_fios_keys_and_kinds_of_numbers(report):
    mine, theirs = json.loads(report.as_json()), REAL["json"]
    assert shape(mine) == shape(theirs)
    assert [list(each) for each in mine["jobs"]] == [list(each) for each in theirs["jobs"]]


def test_what_is_said_is_what_was_measured(report):
    """Of each job and side: bytes, rates, times and percentiles, computed anew from each I/O's times."""
    first, *_ = report.json["jobs"]
    clone = report.clones[0]
    times, seconds = list(clone.sides[0].clat), (clone.end - clone.begin) / 1e9
    said = first["read"]
    assert said["total_ios"] == len(times) == 2048
    assert said["io_bytes"] == 8 << 20
    assert said["iops"] == pytest.approx(2048 / seconds)
    assert said["bw_bytes"] == pytest.approx((8 << 20) / seconds, 1e-6)
    assert said["clat_ns"]["mean"] == pytest.approx(statistics.fmean(times))
    assert said["clat_ns"]["stddev"] == pytest.approx(statistics.stdev(times))
    assert (said["clat_ns"]["min"], said["clat_ns"]["max"]) == (min(times), max(times))
    for name, value in said["clat_ns"]["percentile"].items():
        at = sorted(times)[max(math.ceil(round(float(name) * 20.48, 6)), 1) - 1]
        assert abs(value - at) <= at / 64, name
    below = sum(time < 100_000 for time in times) / 20.48
    assert first["latency_us"]["100"] == pytest.approx(below)
    assert sum(first["latency_us"].values()) == pytest.approx(100)
    assert first["iodepth_level"]["8"] > 99
    assert first["iodepth_complete"]["4"] > 99


def test_a_group_is_reported_as_one(report):
    _, both, _ = report.json["jobs"]
    alone = [clone for clone in report.clones if clone.job.name == "wr"]
    assert len(alone) == 2
    assert {each.job.name for each in report.clones} == {"rd", "wr", "one"}
    assert both["read"]["total_ios"] == sum(len(each.sides[0].clat) for each in alone)
    assert both["read"]["total_ios"] + both["write"]["total_ios"] == 4096
    assert both["read"]["total_ios"] / 4096 == pytest.approx(.7, abs=.03)
    writes = [len(each.sides[1].clat) for each in alone]
    assert both["sync"]["total_ios"] == sum(count // 8 for count in writes)
    assert [each["groupid"] for each in report.json["jobs"]] == [0, 1, 2]
    assert alone[0].begin >= report.clones[0].end, "a stonewall waits for those before it"


def test_the_disk_is_what_the_kernel_counted(report):
    disk, = report.json["disk_util"]
    reads = sum(job["read"]["total_ios"] for job in report.json["jobs"])
    assert (disk["name"], disk["read_ios"]) == ("nvme0n1", reads)
    (name, counted, columns), = report.disks
    assert counted[2] == reads * 8
    assert name == "nvme0n1"
    assert columns["rareq-sz"] == 4
    assert columns["r_await"] == pytest.approx(.1, abs=.01)


@given(strategies.integers(0, 1 << 33))
def test_a_bucket_is_near_what_is_in_it(number):
    assert abs(bucket(number) - number) <= number / 128


@pytest.mark.parametrize(("value", "text"), [(999, "999"), (9999, "9999"), (10_000, "10.0k"), (123_456, "123k"),
                                             (1_234_567, "1235k"), (12_345_678, "12.3M")])
def test_numbers_are_short(value, text):
    assert short(value) == text
