"""Cutting, joining and mapping: each piece within the limits, every sector once."""

from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel import boot
from blkmodel.block import bio as bios, blk_core, blk_merge, blk_settings, elevator
from blkmodel.include.linux.bio import bio_for_each_bvec, bio_sectors
from blkmodel.include.linux.blk_types import (BIO_CHAIN, BIO_QUEUE_ENTERED, REQ_FAILFAST_DEV, REQ_NOMERGE,
    REQ_OP_DISCARD, REQ_OP_WRITE, REQ_OP_WRITE_SAME, REQ_OP_WRITE_ZEROES, REQ_PREFLUSH, bio, bio_flagged, bio_vec)
from blkmodel.include.linux.blkdev import RQF_IO_STAT, RQF_MIXED_MERGE, RQF_SPECIAL_PAYLOAD, request
from blkmodel.include.linux.elevator import (ELEVATOR_BACK_MERGE, ELEVATOR_DISCARD_MERGE, ELEVATOR_FRONT_MERGE,
    ELEVATOR_NO_MERGE)
from blkmodel.include.linux.genhd import gendisk, hd_ref_init, init_part_stats
from blkmodel.services.memory.mm import alloc_pages_node, nth_page
from blkmodel.services.memory.scatterlist import scatterlist, sg_init_table, sg_next
from blkmodel.services.memory.slab import GFP_KERNEL, NUMA_NO_NODE
from blkmodel.sim.memory import PAGE_SIZE


@pytest.fixture
def q():
    boot(1)
    return queue()


def queue(**limits):
    made = blk_core.blk_alloc_queue_node(GFP_KERNEL, NUMA_NO_NODE)
    blk_settings.blk_queue_make_request(made, None)
    for name, value in limits.items():
        setattr(made.limits, name, value)
    return made


def bio_of(lengths, sector=0, op=0, offset=0):
    """A bio over vectors of these lengths, each in memory of its own, the first at `offset` of its page."""
    made = bios.bio_alloc_bioset(GFP_KERNEL, len(lengths), bios.variables().fs_bio_set)
    for length in lengths:
        page = alloc_pages_node(0, 0, 4)
        bios.__bio_add_page(made, page, length, offset)
        offset = 0
    made.bi_iter.bi_sector = sector
    made.bi_opf = op
    return made


def plain(sectors, sector, op):
    """A bio that moves no memory."""
    made = bios.bio_alloc_bioset(GFP_KERNEL, 0, bios.variables().fs_bio_set)
    made.bi_iter.bi_size, made.bi_iter.bi_sector, made.bi_opf = sectors << 9, sector, op
    return made


def request_of(q, *members, **fields):
    rq = request(q=q, cmd_flags=members[0].bi_opf, _sector=members[0].bi_iter.bi_sector, bio=members[0],
                 biotail=members[-1], _data_len=sum(of.bi_iter.bi_size for of in members), **fields)
    for one, following in pairwise(members):
        one.bi_next = following
    rq.nr_phys_segments = blk_merge.blk_recalc_rq_segments(rq)
    return rq


def cut_all(q, whole, monkeypatch):
    """Cut a bio as a submission would: until nothing is left. Returns the pieces and their segments."""
    again: list[bio] = []
    monkeypatch.setattr(blk_core, "generic_make_request", again.append)
    pieces = []
    following = whole
    while following is not None:
        piece, segments = blk_merge.__blk_queue_split(q, following)
        pieces.append((piece, segments))
        following = again.pop() if again else None
    return pieces


shapes = st.lists(st.integers(1, 128).map(lambda n: n * 512), min_size=1, max_size=12)


@given(shapes, st.integers(0, 300), st.integers(0, 7).map(lambda n: n * 512),
       st.fixed_dictionaries({"max_sectors": st.integers(8, 400), "max_segments": st.integers(1, 20),
                              "max_segment_size": st.sampled_from([4096, 8192, 65536, 0xFFFFFFFF]),
                              "seg_boundary_mask": st.sampled_from([0xFFF, 0xFFFF, 0xFFFFFFFF]),
                              "chunk_sectors": st.sampled_from([0, 8, 64]),
                              "physical_block_size": st.sampled_from([512, 4096])}))
@settings(max_examples=150)
def test_pieces_are_within_the_limits_and_cover_each_sector_once(lengths, sector, offset, limits):
    boot(1)
    q = queue(**limits)
    whole = bio_of([min(length, 16 * PAGE_SIZE - offset) for length in lengths], sector, offset=offset)
    memory = [(bv.bv_page, bv.bv_offset, bv.bv_len) for bv in bio_for_each_bvec(whole)]
    sectors = bio_sectors(whole)
    with pytest.MonkeyPatch.context() as patch:
        pieces = cut_all(q, whole, patch)
    at = sector
    for piece, segments in pieces:
        assert piece.bi_iter.bi_sector == at
        assert 0 < bio_sectors(piece) <= limits["max_sectors"]
        at += bio_sectors(piece)
        if limits["chunk_sectors"]:
            first, last = piece.bi_iter.bi_sector, at - 1
            assert first // limits["chunk_sectors"] == last // limits["chunk_sectors"]
        assert 0 < segments <= limits["max_segments"]
        rq = request_of(q, piece)
        assert rq.nr_phys_segments == segments
        sglist = [scatterlist() for _ in range(segments)]
        sg_init_table(sglist, segments)
        assert blk_merge.blk_rq_map_sg(q, rq, sglist) <= segments
        sg = sglist[0]
        total = 0
        while sg is not None:
            total += sg.length
            start = sg.page._addr + sg.offset
            if sg.offset + sg.length > PAGE_SIZE:  # only memory of several pages is cut by these
                assert sg.length <= limits["max_segment_size"]
                assert start | limits["seg_boundary_mask"] == start + sg.length - 1 | limits["seg_boundary_mask"]
            sg = sg_next(sg)
        assert total == piece.bi_iter.bi_size
    assert at == sector + sectors
    assert sum(length for *_, length in memory) == sectors << 9


@given(shapes, st.data())
@settings(max_examples=80)
def test_no_piece_has_a_gap(lengths, data):
    boot(1)
    q = queue(virt_boundary_mask=4095, max_segment_size=0xFFFFFFFF, max_sectors=1024, max_hw_sectors=1024)
    whole = bio_of(lengths)
    with pytest.MonkeyPatch.context() as patch:
        pieces = cut_all(q, whole, patch)
    for piece, _ in pieces:
        vectors = bio_for_each_bvec(piece)
        assert all((bv.bv_offset + bv.bv_len) % PAGE_SIZE == 0 for bv in vectors[:-1])
        assert all(bv.bv_offset % PAGE_SIZE == 0 for bv in vectors[1:])
    assert sum(bio_sectors(piece) for piece, _ in pieces) == sum(lengths) >> 9


def test_what_a_cut_leaves(q, monkeypatch):
    whole = bio_of([65536] * 4)
    (first, _), (second, _), (third, _) = cut_all(q, whole, monkeypatch)
    assert third is whole
    assert [bio_sectors(piece) for piece in (first, second, third)] == [255, 255, 2]
    assert first.bi_opf & REQ_NOMERGE
    assert not third.bi_opf & REQ_NOMERGE
    assert bio_flagged(whole, BIO_QUEUE_ENTERED)
    assert bio_flagged(whole, BIO_CHAIN)
    assert whole._bi_remaining == 3
    assert first.bi_private is whole
    assert blk_merge.blk_queue_split(q, bio_of([512])).bi_iter.bi_size == 512


def test_a_cut_ends_at_a_physical_block(q):
    q.limits.physical_block_size = 4096
    assert blk_merge.get_max_io_size(q, plain(0, 0, 0)) == 248
    assert blk_merge.get_max_io_size(q, plain(0, 3, 0)) == 253
    q.limits.physical_block_size = 1 << 20
    q.limits.logical_block_size = 4096
    assert blk_merge.get_max_io_size(q, plain(0, 0, 0)) == 248


@pytest.mark.parametrize(("sector", "sectors", "cuts"), [(0, 100, [100]), (0, 300, [128, 128, 44]),
                                                         (5, 300, [123, 128, 49]), (8, 100, [100])])
def test_discards_are_cut_at_their_granularity(q, monkeypatch, sector, sectors, cuts):
    q.limits.max_discard_sectors, q.limits.discard_granularity = 130, 4096
    pieces = cut_all(q, plain(sectors, sector, REQ_OP_DISCARD), monkeypatch)
    assert [bio_sectors(piece) for piece, _ in pieces] == cuts
    assert {segments for _, segments in pieces} == {1}


def test_discards_without_a_limit_and_with_alignment(q, monkeypatch):
    assert blk_merge.blk_bio_discard_split(q, plain(9, 0, REQ_OP_DISCARD), q.bio_split) == (None, 1)
    q.limits.max_discard_sectors, q.limits.discard_granularity, q.limits.discard_alignment = 16, 4096, 1024
    pieces = cut_all(q, plain(40, 0, REQ_OP_DISCARD), monkeypatch)
    assert [bio_sectors(piece) for piece, _ in pieces] == [10, 16, 14]


def test_zeroing_is_cut(q, monkeypatch):
    assert blk_merge.__blk_queue_split(q, plain(100, 0, REQ_OP_WRITE_ZEROES))[1] == 0
    q.limits.max_write_zeroes_sectors = 40
    pieces = cut_all(q, plain(100, 0, REQ_OP_WRITE_ZEROES), monkeypatch)
    assert [bio_sectors(piece) for piece, _ in pieces] == [40, 40, 20]
    assert {found for _, found in pieces} == {0}


def test_writing_the_same_is_not_cut(q):
    same = plain(100, 0, REQ_OP_WRITE_SAME)
    assert blk_merge.__blk_queue_split(q, same) == (same, 1)


def test_segments_of_a_request(q):
    assert blk_merge.blk_recalc_rq_segments(request(q=q)) == 0
    assert request_of(q, bio_of([4096, 512]), bio_of([8192])).nr_phys_segments == 3
    q.limits.max_segment_size = 4096
    assert request_of(q, bio_of([4096, 512]), bio_of([8192])).nr_phys_segments == 4
    discard = request_of(q, plain(8, 0, REQ_OP_DISCARD), plain(8, 8, REQ_OP_DISCARD))
    assert discard.nr_phys_segments == 1
    q.limits.max_discard_segments = 2
    assert blk_merge.blk_recalc_rq_segments(discard) == 2
    assert request_of(q, plain(8, 0, REQ_OP_WRITE_ZEROES)).nr_phys_segments == 0
    assert request_of(q, bio_of([512], 0, REQ_OP_WRITE_SAME)).nr_phys_segments == 1


def mapped(q, rq, entries=8):
    sglist = [scatterlist() for _ in range(entries)]
    sg_init_table(sglist, entries)
    n = blk_merge.blk_rq_map_sg(q, rq, sglist)
    if n < entries:
        assert n == 0 or sg_next(sglist[n - 1]) is None
    return [(sg.page, sg.offset, sg.length) for sg in sglist[:n]]


def test_bios_whose_memory_goes_on_share_a_segment(q):
    page = alloc_pages_node(0, 0, 2)
    first, second = bio_of([]), bio_of([])
    for of, offset in ((first, 0), (second, 4096)):
        of.bi_io_vec, of.bi_vcnt, of.bi_iter.bi_size = [bio_vec(page, 4096, offset)], 1, 4096
    assert mapped(q, request_of(q, first, second)) == [(page, 0, 8192)]
    q.limits.max_segment_size = 4096
    assert mapped(q, request_of(q, first, second)) == [(page, 0, 4096), (nth_page(page, 1), 0, 4096)]
    q.limits.max_segment_size, q.limits.seg_boundary_mask = 65536, 4095
    assert len(mapped(q, request_of(q, first, second))) == 2


def test_special_payload(q):
    page = alloc_pages_node(0, 0, 0)
    rq = request(q=q, rq_flags=RQF_SPECIAL_PAYLOAD, special_vec=bio_vec(page, 16, 32))
    assert mapped(q, rq) == [(page, 32, 16)]
    same = request_of(q, bio_of([512], 0, REQ_OP_WRITE_SAME))
    assert mapped(q, same)[0][2] == 512
    assert mapped(q, request(q=q)) == []


def test_where_bios_fit(q):
    rq = request_of(q, bio_of([4096], 100))
    assert blk_merge.blk_try_merge(rq, bio_of([512], 108)) == ELEVATOR_BACK_MERGE
    assert blk_merge.blk_try_merge(rq, bio_of([512], 99)) == ELEVATOR_FRONT_MERGE
    assert blk_merge.blk_try_merge(rq, bio_of([512], 98)) == ELEVATOR_NO_MERGE
    discard = request_of(q, plain(8, 0, REQ_OP_DISCARD))
    q.limits.max_discard_segments = 4
    assert blk_merge.blk_try_merge(discard, plain(8, 999, REQ_OP_DISCARD)) == ELEVATOR_DISCARD_MERGE


def test_what_kinds_merge(q):
    rq = request_of(q, bio_of([4096]))
    good = bio_of([512], 8)
    assert blk_merge.blk_rq_merge_ok(rq, good)
    for field, value in (("bi_opf", REQ_NOMERGE), ("bi_opf", REQ_PREFLUSH), ("bi_opf", REQ_OP_WRITE),
                         ("bi_disk", gendisk())):
        bad = bio_of([512], 8)
        setattr(bad, field, value)
        assert not blk_merge.blk_rq_merge_ok(rq, bad), field


def test_limits_of_merging(q):
    rq = request_of(q, bio_of([4096]))
    assert blk_merge.ll_back_merge_fn(rq, bio_of([4096], 8), 1) == 1
    assert rq.nr_phys_segments == 2
    assert blk_merge.ll_front_merge_fn(rq, bio_of([4096], 8), 2) == 1
    assert rq.nr_phys_segments == 4
    q.limits.max_segments = 4
    q.last_merge = rq
    assert blk_merge.ll_back_merge_fn(rq, bio_of([4096], 8), 1) == 0
    assert rq.cmd_flags & REQ_NOMERGE
    assert q.last_merge is None
    for check in (blk_merge.ll_back_merge_fn, blk_merge.ll_front_merge_fn):
        long = request_of(q, bio_of([65536]))
        assert check(long, bio_of([65536]), 1) == 0
        assert long.cmd_flags & REQ_NOMERGE


def test_gaps(q):
    q.limits.virt_boundary_mask = 4095
    whole, odd = bio_of([4096]), bio_of([512])
    assert not blk_merge.req_gap_back_merge(request_of(q, whole), bio_of([512]))
    assert blk_merge.req_gap_back_merge(request_of(q, odd), bio_of([512]))
    assert blk_merge.req_gap_front_merge(request_of(q, whole), odd)
    assert not blk_merge.req_gap_front_merge(request_of(q, odd), whole)
    assert blk_merge.req_gap_back_merge(request_of(q, bio_of([512], offset=512)), bio_of([512]))
    for check in (blk_merge.ll_back_merge_fn, blk_merge.ll_front_merge_fn):
        assert check(request_of(q, odd), bio_of([512], offset=512), 1) == 0
    q.limits.virt_boundary_mask = 0
    assert not blk_merge.req_gap_back_merge(request_of(q, odd), bio_of([512]))


def counted_disk():
    disk = gendisk()
    init_part_stats(disk.part0)
    hd_ref_init(disk.part0, None)
    return disk


@pytest.fixture
def neighbours(monkeypatch):
    """elevator's list of requests is the given one, and what it hears of merges."""
    heard = []
    monkeypatch.setattr(elevator, "elv_merge_requests", lambda q, one, other: heard.append((one, other)))
    return heard


def test_two_requests_become_one(q, neighbours, monkeypatch):
    disk = counted_disk()
    first, second = (request_of(q, bio_of([4096], sector), rq_disk=disk, rq_flags=RQF_IO_STAT, part=disk.part0,
                                start_time_ns=time) for sector, time in ((0, 9), (8, 5)))
    tail = second.bio
    disk.part0.ref.count += 2
    monkeypatch.setattr(elevator, "elv_latter_request", lambda q, rq: second)
    assert blk_merge.attempt_back_merge(q, first) is second
    assert (first._data_len, first.nr_phys_segments, first.start_time_ns) == (8192, 2, 5)
    assert first.bio.bi_next is tail is first.biotail
    assert second.bio is None
    assert neighbours == [(first, second)]
    assert disk.part0.ref.count == 2
    monkeypatch.setattr(elevator, "elv_former_request", lambda q, rq: first)
    third = request_of(q, bio_of([4096], 16), rq_disk=disk)
    assert blk_merge.attempt_front_merge(q, third) is third
    freed: list[request] = []
    monkeypatch.setattr(blk_core, "blk_put_request", freed.append)
    fourth = request_of(q, bio_of([4096], 24), rq_disk=disk)
    assert blk_merge.blk_attempt_req_merge(q, first, fourth) == 1
    assert freed == [fourth]
    assert blk_merge.blk_attempt_req_merge(q, first, request_of(q, bio_of([512], 99), rq_disk=disk)) == 0
    monkeypatch.setattr(elevator, "elv_latter_request", lambda q, rq: None)
    monkeypatch.setattr(elevator, "elv_former_request", lambda q, rq: None)
    assert blk_merge.attempt_back_merge(q, first) is None
    assert blk_merge.attempt_front_merge(q, first) is None


def test_requests_that_stay_two(q, neighbours):
    for change in ({"rq_disk": gendisk()}, {"cmd_flags": REQ_OP_WRITE}, {"cmd_flags": REQ_NOMERGE}):
        first, second = (request_of(q, bio_of([4096], sector)) for sector in (0, 8))
        for name, value in change.items():
            setattr(second, name, value)
        assert blk_merge.attempt_merge(q, first, second) is None
    q.limits.max_segments = 1
    first, second = (request_of(q, bio_of([4096], sector)) for sector in (0, 8))
    assert blk_merge.attempt_merge(q, first, second) is None
    q.limits.max_segments, q.limits.max_sectors = 9, 8
    assert blk_merge.attempt_merge(q, first, second) is None
    q.limits.max_sectors, q.limits.virt_boundary_mask = 80, 8191
    assert blk_merge.attempt_merge(q, first, second) is None
    assert neighbours == []


def test_discards_of_several_ranges(q, neighbours):
    q.limits.max_discard_segments, q.limits.max_discard_sectors = 3, 1000
    first, second = (request_of(q, plain(8, sector, REQ_OP_DISCARD)) for sector in (0, 500))
    assert blk_merge.attempt_merge(q, first, second) is second
    assert first.nr_phys_segments == 2
    assert neighbours == []  # there is no order to keep among ranges
    third = request_of(q, plain(8, 700, REQ_OP_DISCARD), plain(8, 800, REQ_OP_DISCARD))
    assert blk_merge.attempt_merge(q, first, third) is third
    assert blk_merge.attempt_merge(q, first, request_of(q, plain(8, 900, REQ_OP_DISCARD))) is None
    assert first.cmd_flags & REQ_NOMERGE


def test_requests_that_fail_differently(q, neighbours):
    first, second = (request_of(q, bio_of([4096], sector, op)) for sector, op in ((0, REQ_FAILFAST_DEV), (8, 0)))
    assert blk_merge.attempt_merge(q, first, second) is second
    assert first.rq_flags & second.rq_flags & RQF_MIXED_MERGE
    assert first.bio.bi_opf & REQ_FAILFAST_DEV
    assert not first.biotail.bi_opf & REQ_FAILFAST_DEV
    blk_merge.blk_rq_set_mixed_merge(first)
    assert not first.biotail.bi_opf & REQ_FAILFAST_DEV
