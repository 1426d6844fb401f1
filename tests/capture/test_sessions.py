"""Sessions of dmsetup: what is compared, and how a difference is said."""

import json

import pytest

from blkmodel.capture import sessions
from blkmodel.capture.check import FAILED, PASSED, check_file
from blkmodel.scenario import dmsetup_run
from blkmodel.services.base.err import ENXIO
from blkmodel.sim import boot, this

SESSION: dict = {
    "format": "blkmodel-dmsetup/1", "kernel": {"release": "5.4.120"}, "devices": {},
    "session": [
        {"dmsetup": "create", "name": "z", "table": None, "exit": 0},
        {"dmsetup": "load", "name": "z", "table": "0 2048 zero", "exit": 0},
        {"dmsetup": "resume", "name": "z", "exit": 0},
        {"dmsetup": "create", "name": "z", "exit": 1, "failed_ioctl": "create", "error": "Device or resource busy"},
        {"dmsetup": "create", "name": "y", "table": "8 8 error", "exit": 1, "failed_ioctl": "reload",
         "error": "Invalid argument",
         "kernel_log": ["device-mapper: table: 254:1: error: Gap in table",
                        "device-mapper: ioctl: error adding target to table"]},
        {"dmsetup": "status", "name": "z", "exit": 0, "output": "0 2048 zero"},
        {"dmsetup": "ls", "exit": 0, "output": "z (254:0)"},
        {"dmsetup": "targets", "exit": 0,
         "output": "flakey v1.5.0 delay v1.2.1 zero v1.1.0 mirror v1.14.0 multipath v1.13.0 striped v1.6.0 "
                   "linear v1.4.0 error v1.5.0"},
        {"dmsetup": "rename", "name": "z", "new_name": "zz", "exit": 0},
        {"dmsetup": "remove", "name": "zz", "exit": 0},
    ],
}


@pytest.fixture
def altered(tmp_path):
    """The session with some fields of a step changed, checked."""
    def altered(step, **fields):
        document = json.loads(json.dumps(SESSION))
        document["session"][step].update(fields)
        path = tmp_path / "session.json"
        path.write_text(json.dumps(document))
        return check_file(path)
    return altered


def test_a_session_that_is_the_models(altered):
    outcome = altered(0)
    assert (outcome.result, outcome.summary, outcome.differences) == (PASSED, "10 of 10 steps", [])


def test_words_on_both_streams(altered):
    """What dmsetup itself says is compared where it was recorded, also before any ioctl; what was not is counted."""
    busy = "device-mapper: create ioctl on z failed: Device or resource busy Command failed."
    assert altered(3, output=busy).result == PASSED
    assert altered(3, output=busy.replace("create", "reload")).result == FAILED
    assert altered(5, output="0 2048 zero").facts["chance"]["words on standard error that the recording does not have"]
    slash = {"dmsetup": "remove", "name": "no/name", "exit": 1}
    assert altered(9, **slash, output="Device no/name not found Command failed.").result == PASSED
    assert altered(9, **slash, output="Device name not found Command failed.").result == FAILED


def test_a_log_that_was_recorded_is_compared(altered):
    assert altered(0, kernel_log=["x"]).result == FAILED
    assert altered(0, kernel_log=[]).result == PASSED


@pytest.mark.parametrize(("step", "fields", "difference"), [
    (2, {"exit": 1}, "step 3, dmsetup resume z: exit: recorded 1, the model has 0"),
    (3, {"failed_ioctl": "reload"}, "step 4, dmsetup create z --notable: the ioctl that failed: recorded 'reload', "
                                    "the model has 'create'"),
    (3, {"error": "File exists"}, "step 4, dmsetup create z --notable: the error: recorded 'File exists', the model "
                                  "has 'Device or resource busy'"),
    (3, {"kernel_log": ["x"]}, "step 4, dmsetup create z --notable: the kernel's log: recorded ['x'], the model has "
                               "[]"),
    (5, {"output": "0 2048 error"}, "step 6, dmsetup status z: output: recorded '0 2048 error', the model has "
                                    "'0 2048 zero'"),
    (6, {"output": ""}, "step 7, dmsetup ls: output: recorded '', the model has 'z (254:0)'"),
    (0, {"output": "made"}, "step 1, dmsetup create z --notable: output: recorded 'made', the model has ''"),
    (7, {"output": "thin v1.21.0 striped v1.6.0 linear v1.4.0 error v1.5.1"},
     "step 8, dmsetup targets: output: recorded 'striped v1.6.0 linear v1.4.0', the model has 'flakey v1.5.0 delay "
     "v1.2.1 zero v1.1.0 multipath v1.13.0 striped v1.6.0 linear v1.4.0 error v1.5.0'"),
])
def test_a_session_that_is_not(altered, step, fields, difference):
    outcome = altered(step, **fields)
    assert outcome.result == FAILED
    assert difference in outcome.differences


def test_a_command_as_it_was_typed():
    assert sessions.describe(SESSION["session"][1]) == "dmsetup load z --table '0 2048 zero'"


def test_the_recorded_kernel_has_no_service_time(altered):
    """A table that asks for it is refused there; the model's own kernel has it."""
    table = "0 8 multipath 0 0 1 1 service-time 0 1 0 7:0"
    outcome = altered(3, name="m", table=table, failed_ioctl="reload", error="Invalid argument", kernel_log=[
        "device-mapper: table: 254:1: multipath: unknown path selector type",
        "device-mapper: ioctl: error adding target to table"])
    assert outcome.differences == []
    boot(2)
    done = dmsetup_run("create", "m", "--table", table)
    assert "unknown path selector type" not in " ".join(this().log)
    assert done.errno == ENXIO  # there is no such disk
