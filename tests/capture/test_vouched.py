"""What vouches for which function."""

from collections import Counter

import pytest

from blkmodel.capture import vouched
from blkmodel.capture.recordings import every
from blkmodel.reference import mirror
from blkmodel.view.figures.vouched import fidelity


@pytest.fixture(scope="module")
def of():
    return vouched.vouched()


def test_each_function_is_counted_once(of):
    assert of.keys() == {(each.file, each.name) for each in mirror.functions()}
    assert set(of.values()) == set(vouched.KINDS)


@pytest.mark.parametrize(("file", "function", "kind"), [
    ("block/blk-mq.c", "blk_mq_get_request", "calls"), ("block/partitions/msdos.c", "msdos_partition", "calls"),
    ("block/partitions/msdos.c", "msdos_magic_present", "state"), ("block/partitions/efi.c", "compare_gpts", "source"),
    ("drivers/block/null_blk_main.c", "null_add_dev", "state")])
def test_what_vouches(of, file, function, kind):
    assert of[file, function] == kind


def test_without_recordings_nothing_is_vouched_for(monkeypatch):
    monkeypatch.setattr(vouched, "every", lambda kind: [])
    assert Counter(vouched.vouched().values()).keys() == {"source"}


def test_the_table_adds_up(of, monkeypatch):
    monkeypatch.setattr("blkmodel.view.figures.vouched.vouched", lambda: of)
    rows = vouched.by_file(of)
    assert sum(rows["fs/block_dev.c"].values()) == sum(file == "fs/block_dev.c" for file, _ in of)
    total = Counter(of.values())
    html = fidelity()
    assert f"<td>{total['calls']}</td><td>{total['state']}</td><td>{total['source']}</td></tr></tbody>" in html
    assert html.count("<tr>") == len(rows) + 2


def test_recordings_of_a_kind():
    assert {path.parent.name for path in every("maps")} == {"maps"}
    assert len(every("device")) >= 1
