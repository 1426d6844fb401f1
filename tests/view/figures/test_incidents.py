"""A read to which something happens, and a status that becomes an errno: the figures say what the recordings say."""

import json
from pathlib import Path

import pytest

from blkmodel.live import Choice, live
from blkmodel.services.base.err import NAMES
from blkmodel.view.facts.incidents import ending, incident
from blkmodel.view.figures.incidents import INCIDENTS, read_with
from blkmodel.view.figures.statuses import STATUSES, status_becomes
from tests.view.wellformed import in_fresh_interpreters, label, parsed, words

TABLE = Path(__file__).parents[2] / "recordings/linux-5.4/tables/nvme-statuses.json"


@pytest.mark.parametrize(("what", "before", "result", "states"), [
    ("lost", 0, "EIO", ["live", "resetting", "connecting", "deleting"]),
    ("lost", 3, "4096 bytes", ["live", "resetting", "connecting", "live"]),
    ("masked", 0, "4096 bytes", ["live"]), ("slow", 0, "4096 bytes", ["live"]),
    ("reset", 0, "4096 bytes", ["live", "resetting", "connecting", "live"]),
    ("unbound", 0, "4096 bytes", ["live", "deleting"]), ("pulled", 0, "EIO", ["live", "deleting", "dead"]),
    ("cpu", 0, "4096 bytes", ["live"])])
def test_what_becomes_of_a_read(what, before, result, states):
    """As recorded, but for the CPU: there the read is on the CPU that goes."""
    found = incident(what, 1000, before, 3000, False)
    assert (found.result, found.states) == (result, states)
    html = read_with(what, 1000, before, 3000)
    assert f"The process gets {result} after {found.took:.0f} ms" in words(html)
    assert len(list(parsed(html).iter("li"))) >= len(found.moments)
    assert label(html).count("; after") == len(found.moments) - 1


def said(what, **more):
    found = incident(what, **{"timeout": 1000, "before": 0, "takes": 3000, "aborts": False} | more)
    return [each.said for each in found.moments]


def test_a_first_command_that_is_sent_again_rings_no_doorbell():
    """The copy of the tail in memory is what it was before the reset, so 5.4 thinks that the controller knows."""
    assert "puts a command into the ring, and rings no doorbell" in said("lost")
    assert "puts a command into the ring, and rings no doorbell" not in said("lost", before=2)


def test_a_controller_that_aborts_is_asked_over_and_over():
    """Each time the command is sent anew, until it has been tried as often as nvme_core.max_retries says."""
    times = [sum("timeout, aborting" in each for each in said("slow", aborts=aborts)) for aborts in (False, True)]
    assert times == [1, 6]
    assert incident("slow", 1000, 0, 3000, True).result == "EIO"
    assert not any("timeout" in each for each in said("slow", takes=500))


def test_what_cannot_happen():
    with pytest.raises(ValueError, match="lost, masked"):
        read_with("flood")
    with pytest.raises(ValueError, match="0x281"):
        status_becomes(0x42)


CASES = json.loads(TABLE.read_text())["cases"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['op']} {case['status']} {case['dnr']}")
def test_a_status_becomes_what_was_recorded(case):
    status = int(case["status"], 16)
    found = ending(status, case["dnr"], case["op"], 1)
    returned = case["returned"]
    assert found.result == (f"{returned} bytes" if returned >= 0 else NAMES[-returned])
    if status in STATUSES.values():
        assert found.result in words(status_becomes(status, case["dnr"], case["op"], 1))


def test_a_status_that_does_not_go_away_is_tried_six_times():
    assert [ending(0x6, False, "read", times).attempts for times in (1, 5, 6, -1)] == [2, 6, 6, 6]
    assert ending(0x6, False, "read", 5).result == "4096 bytes"
    assert "sent 6 times" in words(status_becomes(0x6, False, "read", 7))
    assert "sent once" in words(status_becomes(0x6, True, "read", 7))


def test_the_same_in_every_process():
    assert len(in_fresh_interpreters("read_with('reset')", "blkmodel.view.figures.incidents")) == 1
    figure = live(read_with, what=Choice(INCIDENTS))
    figure.set(what="pulled")
    assert figure.values["what"] == "pulled"
