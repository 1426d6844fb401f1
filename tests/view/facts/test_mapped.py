"""Figures of mapped devices: tables, bios that meet them, and a device's life."""

import re
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from blkmodel.view.facts.bio_pieces import mapped_pieces
from blkmodel.view.facts.mapped_life import STORY
from blkmodel.view.figures.bio_map import bio_map
from blkmodel.view.figures.device_state import device_state, last_command
from blkmodel.view.figures.table_editor import LIMITS, table_editor

STRIPED = "0 4096 striped 2 16 /dev/nullb0 1000 /dev/nullb1 2000"


def label(html):
    return re.search('aria-label="([^"]*)"', html)[1]


def test_a_table_shows_where_its_sectors_are_and_what_limits_follow():
    said = label(table_editor("0 2048 linear /dev/nullb0 64; 2048 8 zero"))
    assert "sectors 0 to 2047: linear → nullb0, sectors 64 to 2111" in said
    assert "sectors 2048 to 2055: zero, on no disk" in said
    assert all(field in said for field in LIMITS)
    assert "logical_block_size 512," in said
    assert "logical_block_size 4096," in label(table_editor("0 2048 linear /dev/nullb1 0"))


def test_a_table_may_be_typed_line_by_line():
    assert table_editor("0 2048 zero\n 2048 8 zero\n") == table_editor("0 2048 zero; 2048 8 zero")


@pytest.mark.parametrize(("table", "why"), [
    ("8 2048 zero", "zero: Gap in table"),
    ("0 2048 linear /dev/nosuch 0", "linear: Device lookup failed"),
    ("0 2048 linear /dev/nullb0 131000", "nullb0 too small for target: start=131000, len=2048, dev_size=131072"),
    ("0 2048 nosuch", "nosuch: unknown target type"),
    ("0 words", "Invalid format on line 1"),
])
def test_a_refusal_is_the_kernels_or_the_tools(table, why):
    assert why in label(table_editor(table))
    assert why in label(bio_map(table))


@pytest.mark.parametrize("view", [table_editor, bio_map])
@pytest.mark.parametrize("table", ["", " ; ;", "# a comment"])
def test_a_table_without_a_line_is_no_table(view, table):
    """dmsetup would make a device without one; nothing of it could be drawn."""
    for _ in range(2):  # the device does not stay
        with pytest.raises(ValueError, match="a table has at least one line, such as 0 2048 linear"):
            view(table)
    assert "2 targets" in table_editor()


def test_the_same_table_gives_the_same_figure_whatever_was_drawn_before():
    before = table_editor(STRIPED)
    table_editor("0 2048 linear /dev/nosuch 0")
    bio_map("0 2048 zero; 2048 8 error", first=2040, sectors=16)
    assert table_editor(STRIPED) == before


@given(st.integers(0, 511), st.integers(1, 64))
def test_pieces_of_a_stripe_are_where_arithmetic_says(start, count):
    first, sectors = start * 8, min(count, 512 - start) * 8
    made = mapped_pieces(STRIPED, "read", first, sectors)
    assert made[0].first == first
    assert sum(piece.sectors for piece in made) == sectors
    assert all(a.first + a.sectors == b.first for a, b in pairwise(made))
    for piece in made:
        chunk, within = divmod(piece.first, 16)
        assert within + piece.sectors <= 16
        assert (piece.disk, piece.at) == (f"nullb{chunk % 2}", (1000, 2000)[chunk % 2] + chunk // 2 * 16 + within)


def test_a_bio_that_meets_an_error_ends_with_it():
    said = label(bio_map("0 2048 zero; 2048 8 error", first=2040, sectors=16))
    assert "ends in EIO" in said
    assert "sectors 2040 to 2047: zero → no disk" in said


def test_the_story_swaps_tables_only_at_resume():
    said = [label(device_state(step)) for step in range(last_command() + 1)]
    assert "does not exist" in said[0]
    assert "live table: none; inactive table: 0 2048 linear" in said[3]
    assert "live table: 0 2048 linear; inactive table: none; active, 2048 sectors" in said[4]
    assert "live table: 0 2048 linear; inactive table: 0 4096 linear; suspended" in said[6]
    assert "live table: 0 4096 linear; inactive table: none; active, 4096 sectors" in said[7]
    assert "fails" in said[10]
    assert said[-1].endswith("no device.")
    assert len(said) == len(STORY) + 1
