"""Paths that fail as a figure: where the read goes, held to the status that a real kernel was recorded with."""

from __future__ import annotations

import pytest

from blkmodel.view.facts.paths import way
from blkmodel.view.figures.paths import GROUPS, read_paths
from tests.view.wellformed import in_fresh_interpreters, label, parsed, words


@pytest.mark.parametrize(("case", "came", "went", "status"), [
    (("0 1", "round-robin", False, 1, False), "4096 bytes", [0, 1], "1 1 A 0 2 0 259:0 F 1 259:1 A 0"),
    (("0|1", "round-robin", False, 1, False), "4096 bytes", [0, 1], "2 2 E 0 1 0 259:0 F 1 A 0 1 0 259:1 A 0"),
    (("0 1", "round-robin", False, 2, False), "EIO", [0, 1], "1 1 A 0 2 0 259:0 F 1 259:1 F 1"),
    (("0 1", "round-robin", False, 1, True), "ENODATA", [0], "1 1 A 0 2 0 259:0 A 0 259:1 A 0")])
def test_as_recorded(case, came, went, status):
    """mp-path-error, mp-switch-group, mp-both-paths-error and mp-medium-error of a real 5.4.120."""
    told, *rest = way(*case)
    assert rest == [came, f"0 131072 multipath 2 0 0 0 {status}"]
    assert [int(row.said[4]) for row in told if row.said.endswith("has the command")] == went


def test_without_a_path_it_asks_every_26_ticks_until_there_is_one():
    told, came, _ = way("0 1 2", "round-robin", True, 3, False)
    # 100 ms are 25 ticks, and the timer wheel is one late
    assert [row.ms for row in told if row.said == "no path is left"] == [0, 104, 208]
    assert next(row.said for row in told if row.ms == 250) == "path 0 is reinstated"
    assert came == "4096 bytes"


@pytest.mark.parametrize("groups", GROUPS.values())
@pytest.mark.parametrize("failing", range(4))
def test_a_path_that_has_failed_is_not_chosen(groups, failing):
    told, came, _ = way(groups, "service-time", False, failing, False)
    assert came == ("EIO" if failing == 3 else "4096 bytes")
    for row in told:
        assert not row.said.endswith("chosen") or row.path not in row.failed
    assert len(told[-1].failed) == failing


def test_what_is_drawn():
    html, (told, _, status) = read_paths(failing=2), way("0|1 2", "round-robin", False, 2, False)
    body = list(parsed(html).iter("tr"))[2:]
    assert len(body) == len(told)
    for drawn, row in zip(body, told, strict=True):
        cells = list(drawn)
        at = [number - 2 for number, cell in enumerate(cells[1:5], 1) if cell.text == "●"]
        assert at == [-1 if row.path is None else row.path]
        assert {number for number, cell in enumerate(cells[2:5]) if cell.get("class") == "spared"} == set(row.failed)
        assert cells[5].text == row.said
    assert status in words(html)
    assert label(html).startswith("The read comes to 4096 bytes. Paths that fail: 2.")


def test_the_same_in_every_interpreter():
    assert len(in_fresh_interpreters("read_paths(failing=3)", "blkmodel.view.figures.paths")) == 1
