"""The figure of the stack below a logical volume: what it says is what LVM's arithmetic and the disks say."""

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel.view.facts.volume_io import SIZE, SLOTS, went_down
from blkmodel.view.figures.lv_to_doorbell import VOLUMES, lv_to_doorbell, room

EXTENT = 2048  # sectors


def label(html):
    return re.search('aria-label="([^"]*)"', html)[1]


def place(told, sector):
    """(disk, sector of it) where a sector of the volume is, by LVM's segments."""
    extent, within = divmod(sector, EXTENT)
    segment = next(each for each in told.segments if each.start <= extent < each.start + each.length)
    offset = sector - segment.start * EXTENT
    if len(segment.areas) == 1:
        stripe = 0
    else:
        chunk, within = divmod(offset, segment.stripe_size)
        chunk, stripe = divmod(chunk, len(segment.areas))
        offset = chunk * segment.stripe_size + within
    pv, pe = segment.areas[stripe]
    return pv.path.removeprefix("/dev/"), pv.pe_start + pe * EXTENT + offset


@given(volume=st.sampled_from(list(VOLUMES.values())), op=st.sampled_from(["read", "write"]),
       start=st.integers(0, SIZE // 4 - 1), count=st.integers(1, 256), cpu=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_each_sector_goes_where_its_extent_is_and_is_asked_for_once(volume, op, start, count, cpu):
    first, kib = start * 4, min(count * 4, room(start * 4))
    told = went_down(volume, op, first, kib, cpu)
    assert told.pieces[0].first == first * 2
    assert sum(piece.sectors for piece in told.pieces) == kib * 2
    assert all(a.first + a.sectors == b.first for a, b in pairwise(told.pieces))
    wanted: dict[str, list[int]] = {}
    for piece in told.pieces:
        for offset in (0, piece.sectors - 1):
            assert place(told, piece.first + offset) == (piece.disk, piece.at + offset)
        wanted.setdefault(piece.disk, []).extend(range(piece.at, piece.at + piece.sectors))
    assert set(told.pairs) == set(wanted)
    for disk, pair in told.pairs.items():
        asked = [request.first + n for request in pair.requests for n in range(request.sectors)]
        assert sorted(asked) == sorted(wanted[disk])
        assert len({request.tag for request in pair.requests}) == len(pair.requests) < SLOTS
        assert all(a.slot + 1 == b.slot for a, b in pairwise(pair.requests))
        assert pair.doorbells[-1] == pair.requests[-1].slot + 1
        assert (pair.number, pair.hctx) == (cpu // 2 + 1, cpu // 2)


def test_the_disks_hold_what_the_commands_gave_to_volumes():
    assert went_down("around", "read", 0, 4, 0).runs == {
        "nvme0n1": [(2048, 4096, 0), (6144, 6144, None), (12288, 4096, 1)], "nvme1n1": []}
    assert went_down("striped", "read", 0, 4, 0).runs == {"nvme0n1": [(2048, 4096, 0)], "nvme1n1": [(2048, 4096, 0)]}


def test_a_plug_joins_what_a_stripe_cut_but_only_for_a_write():
    """A direct write is plugged, a direct read of up to 256 pages is not."""
    for op, requests in (("read", 16), ("write", 4)):
        told = went_down("striped", op, 0, 1024, 0)
        assert len(told.pieces) == 16
        assert sum(len(pair.requests) for pair in told.pairs.values()) == requests


def test_the_text_says_what_the_drawing_shows():
    html = lv_to_doorbell("onward", "read", 1920, 256, 2)
    assert label(html) == (
        "This read of 256 KiB in extents 1 and 2 becomes 2 pieces, and 2 requests on 2 disks. Doorbells are rung 2 "
        "times. Table: 0 4096 linear 259:0 2048; 4096 4096 linear 259:1 2048. "
        "Sectors 3840 to 4095 → nvme0n1 from 5888. Sectors 4096 to 4351 → nvme1n1 from 2048. "
        "nvme0n1, queue pair 2: 256 sectors from 5888, tag 3, slot 1; tail doorbell 2. "
        "nvme1n1, queue pair 2: 256 sectors from 2048, tag 1, slot 1; tail doorbell 2.")
    assert html.count('class="chip rq"') == html.count('class="slot new"') == 2
    assert html.count('class="hit"') == 2
    assert lv_to_doorbell("onward", "read", 0, 4, 2).count('class="hit"') == 1
    assert "in extent 0 becomes 1 piece, and 1 request on 1 disk. Doorbells are rung 1 time." in label(
        lv_to_doorbell("linear", "write", 0, 4))


@pytest.mark.parametrize(("first", "kib"), [(4096, 4), (2, 4), (0, 6), (0, 0), (0, 1028), (4092, 8), (-4, 4)])
def test_an_io_that_the_volume_cannot_do(first, kib):
    with pytest.raises(ValueError, match=f"first={first}, kib={kib}: the volume has 4096 KiB, in blocks of 4; up to "):
        lv_to_doorbell("linear", "read", first, kib)


def test_the_same_parameters_give_the_same_figure():
    once = lv_to_doorbell("striped", "write", 64, 512, 1)
    went_down.cache_clear()
    lv_to_doorbell("around", "write", 64, 512, 1)
    assert lv_to_doorbell("striped", "write", 64, 512, 1) == once
