"""What changed since 5.4, held against both recordings and both kernels' lists of functions."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest

from blkmodel.capture import trees
from blkmodel.reference.source import comparable, definitions
from blkmodel.releases import version
from blkmodel.view.facts.since import (ADDED, MOVED, REMOVED, RENAMED, SCENES, STILL, UNSEEN, Line, beside, changes,
    differences, name_now, renamed, then)
from tests.capture.test_recordings import KERNEL
from tests.tools import later

NEW = later.files()
REUSED = {"__split_and_process_bio"}
"""Names that were given to another function."""


def recorded(kernel, scene):
    return json.loads((KERNEL.with_name(f"linux-{kernel}") / "calls" / f"{scene}.json").read_text())


def names(kernel, scene):
    return set().union(*(trees.functions(trees.expand(context["calls"]))
                         for context in recorded(kernel, scene)["contexts"]))


EVERYWHERE = {kernel: set().union(*(names(kernel, scene) for scene in SCENES.values())) for kernel in ("5.4", "6.12")}


def lines(forest, above, depth=1):
    for name, below in forest:
        yield Line(depth, name, above)
        yield from lines(below, name, depth + 1)


@pytest.mark.parametrize("scene", SCENES.values())
def test_then_is_what_a_real_5_4_did(scene):
    assert then(scene) == tuple(
        line for context in recorded("5.4", scene)["contexts"]
        for line in (Line(0, context["context"], ""),
                     *lines(trees.keep(trees.expand(context["calls"]), comparable().__contains__), context["context"])))


def test_what_is_packed_is_what_was_recorded():
    assert json.loads(later.TABLE.read_text()) == later.document()


def test_the_table_is_in_order_and_its_commits_look_like_some():
    assert all(version(a.since) <= version(b.since) for a, b in pairwise(changes()))
    assert all(re.fullmatch(r"[0-9a-f]{12}|-", each.commit) for each in changes())
    assert all(each.why and each.why[-1] not in "." for each in changes())
    assert len({(each.then, each.now) for each in changes()}) == len(changes())


@pytest.mark.parametrize("change", changes(), ids=lambda each: f"{each.then}-{each.now}")
def test_old_names_are_only_in_the_old_kernel_and_new_ones_only_in_the_new(change):
    """By the recordings; and by the lists of all functions, where the name was not given to another one."""
    if change.kind == STILL:
        assert change.then in EVERYWHERE["5.4"] ^ EVERYWHERE["6.12"] or change.then == "blk_start_plug"
        return
    if change.then != "-" and change.then not in REUSED:
        assert change.then not in EVERYWHERE["6.12"]
        places = {each.file for each in definitions().get(change.then, ())}
        assert places.isdisjoint(NEW.get(change.then, ()))
    if change.now != "-" and change.now not in REUSED:
        assert change.now not in EVERYWHERE["5.4"]
        assert change.now not in definitions()


@pytest.mark.parametrize("change", changes(), ids=lambda each: f"{each.then}-{each.now}")
def test_what_is_named_was_there(change):
    """An old name in 5.4's list, unless another change made it; a new name in 6.12's, unless another took it or it is
    inline in a header by now."""
    made, taken = {each.now for each in changes()}, {each.then for each in changes()}
    assert change.then == "-" or change.then in definitions() or change.then in made
    inline = {"__bio_split_to_limits"} | {each.now for each in changes() if each.kind == STILL}
    assert change.now == "-" or change.now in NEW or change.now in taken | inline


def test_a_name_that_was_given_away():
    assert name_now("__split_and_process_bio") == "dm_split_and_process_bio"
    assert name_now("__split_and_process_non_flush") == "__split_and_process_bio"
    assert [each.since for each in renamed("blk_mq_get_request")] == ["5.8", "5.16"]


@pytest.mark.parametrize("scene", SCENES.values())
def test_every_call_has_its_row_and_every_difference_its_word(scene):
    rows = beside(scene)
    assert [row.then for row in rows if row.then] == list(then(scene))
    assert {row.now.name for row in rows if row.now} - {"task", "irq", "softirq"} <= names("6.12", scene)
    for row in rows:
        if row.then and row.now:
            assert name_now(row.then.name) == row.now.name
            assert row.kind == ("" if row.then.name == row.now.name else RENAMED)
        elif row.kind == UNSEEN:
            # chance of compilation, or another path: the other kernel has it
            assert row.then is None or row.then.name in {*NEW, "rr_select_path"}, row
            assert row.now is None or row.now.name in definitions(), row
        elif row.kind == "":
            assert (row.then or row.now).depth == 0
        else:
            assert row.kind in (RENAMED, REMOVED, ADDED, STILL, MOVED)
    assert {row.changes for row in rows} - {()} == set(differences(scene))


def test_what_is_gone_is_said_to_be_gone_only_where_it_is():
    said = {(row.then or row.now).name: row.kind for scene in SCENES.values() for row in beside(scene)
            if not (row.then and row.now)}
    assert said["generic_make_request_checks"] == REMOVED
    assert said["blk_account_io_start"] == UNSEEN  # 6.12 has it, inline
    assert said["blk_mq_get_driver_tag"] == STILL
    assert said["nvme_queue_rqs"] == ADDED
