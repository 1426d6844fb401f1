"""Every recording of a 5.4 kernel that the project has, against the model."""

import json
from pathlib import Path

import pytest

from blkmodel.capture.calls import ELSEWHERE
from blkmodel.capture.check import PASSED, check_file

KERNEL = Path(__file__).parents[1] / "recordings" / "linux-5.4"
MAPS = sorted((KERNEL / "maps").glob("*.json"))
CALLS = sorted((KERNEL / "calls").glob("*.json"))
OTHERS = [path for kind in ("device", "dm", "tables") for path in sorted((KERNEL / kind).glob("*.json"))]
PATHS = {"dm-create": 66, "dm-linear-read-4k": 126, "dm-load-linear": 185, "dm-load-multipath": 306,
         "dm-multipath-read-4k": 166, "dm-remove": 123, "dm-resume-linear": 153, "dm-resume-multipath": 173,
         "null_blk-read-4k": 59, "null_blk-set-up": 171, "nvme-probe": 1161, "nvme-remove": 224,
         "partition-probe": 1176, "partition-read-4k": 75, "partition-read-at-end": 75, "partition-read-p2": 80,
         "partition-read-past-end": 2, "partition-rescan": 267, "read-1m": 64, "read-4k": 74, "read-512k": 82,
         "write-4k": 97}


@pytest.mark.parametrize("path", MAPS, ids=lambda path: path.stem)
def test_maps(path):
    outcome = check_file(path)
    assert outcome.differences == []
    assert outcome.result == PASSED
    assert outcome.facts["cases"] == outcome.facts["passed"] > 0


def test_the_number_of_cases():
    assert sum(len(json.loads(path.read_text())["cases"]) for path in MAPS) == 972


@pytest.mark.parametrize("path", CALLS, ids=lambda path: path.stem)
def test_calls(path):
    outcome = check_file(path)
    assert outcome.result == PASSED, outcome.differences
    assert outcome.facts["paths"] == PATHS.get(path.stem, outcome.facts["paths"])
    assert outcome.facts["paths_made"] == outcome.facts["paths"] or ELSEWHERE in outcome.facts["chance"]
    assert outcome.facts["omitted"] == {}


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.stem)
def test_devices_sessions_and_tables(path):
    outcome = check_file(path)
    assert outcome.differences == []
    assert outcome.result == PASSED
