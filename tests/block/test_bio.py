"""Bios: where they come from, their vectors, cutting, chaining and ending; and what must always hold."""

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel import boot
from blkmodel.block import bio as bios, blk_core, genhd
from blkmodel.include.linux.bio import (BIO_MAX_PAGES, BIOSET_NEED_BVECS, BVEC_POOL_IDX, bio_for_each_bvec,
    bio_for_each_segment, bio_get, bio_sectors, bio_set, copy_of)
from blkmodel.include.linux.blk_types import (BIO_CLONED, BIO_THROTTLED, BIO_TRACE_COMPLETION, BLK_STS_IOERR,
    REQ_OP_DISCARD, REQ_OP_WRITE, bio, bio_flagged, bio_set_flag, bio_vec)
from blkmodel.include.linux.blkdev import READ
from blkmodel.include.linux.genhd import gendisk, init_part_stats, part_stat_read
from blkmodel.services.base.bug import KernelBug
from blkmodel.services.files.uio import iov_iter, iov_iter_count, iov_iter_init, map_user_buffer, unmap_user_buffer
from blkmodel.services.memory.mm import (PageDirty, PG_dirty, alloc_page, alloc_pages_node, clear_page_flag, mem_map,
    nth_page)
from blkmodel.services.memory.slab import GFP_ATOMIC, GFP_KERNEL, GFP_NOIO, NUMA_NO_NODE
from blkmodel.services.tasks.timer import jiffies
from blkmodel.sim.memory import PAGE_SIZE
from tests.leaks import drawn


@pytest.fixture
def kernel():
    return boot(2)


def held(kernel):
    return sorted((a.kind, a.size) for a in kernel.memory.live.values())


def fs_bio_set():
    return bios.variables().fs_bio_set


def filled(lengths, sector=0, pages=8):
    """A bio over vectors of these lengths, each in memory of its own."""
    vecs = [bio_vec(alloc_pages_node(0, 0, 3), length, 0) for length in lengths]
    made = bio(bi_io_vec=vecs, bi_vcnt=len(vecs), bi_max_vecs=len(vecs), _bi_remaining=1, _bi_cnt=1)
    made.bi_iter.bi_size = sum(lengths)
    made.bi_iter.bi_sector = sector
    for vec in vecs:
        vec.bv_page.write(0, bytes((vec.bv_page._addr // 512 + i) % 251 for i in range(vec.bv_len)))
    return made


def data_of(of):
    return b"".join(bv.bv_page.read(bv.bv_offset, bv.bv_len) for bv in bio_for_each_bvec(of))


def test_a_bio_set_comes_and_goes(kernel):
    before = held(kernel)
    bs = bio_set()
    assert bios.bioset_init(bs, 4, 24, BIOSET_NEED_BVECS) == 0
    assert bs.bio_slab.size == 104 + 24 + 64
    assert bs.bio_pool.curr_nr == bs.bvec_pool.curr_nr == 4
    other = bio_set()
    assert bios.bioset_init_from_src(other, bs) == 0
    assert other.bio_slab is bs.bio_slab
    assert other.bvec_pool.min_nr == 4
    bios.bioset_exit(other)
    bios.bioset_exit(bs)
    bios.bioset_exit(bio_set())
    assert held(kernel) == before


def test_a_bio_set_that_can_not_be_had(kernel):
    assert bios.bioset_init(bio_set(), 1, 8, 0) == 0
    before = held(kernel)
    for nth in range(1, 20):
        bs = bio_set()
        kernel.memory.fail_nth(nth)
        if bios.bioset_init(bs, 2, 4096, BIOSET_NEED_BVECS) == 0:
            break
        assert held(kernel) in (before, held(kernel)[:0] or before)
    assert nth == 8  # a cache, two pools of a table and two elements each
    bios.bioset_exit(bs)
    assert held(kernel) == before


def test_caches_of_bios_are_shared_by_size_and_slots_used_again(kernel):
    own = bios.variables()
    slabs = [bios.bio_find_or_create_slab(size) for size in (100, 200, 300, 400, 500)]
    assert [slab.name for slab in slabs] == [f"bio-{n}" for n in range(own.bio_slab_nr - 5, own.bio_slab_nr)]
    assert own.bio_slab_max >= own.bio_slab_nr
    assert bios.bio_find_or_create_slab(300) is slabs[2]
    bs = bio_set(bio_slab=slabs[2])
    bios.bio_put_slab(bs)
    bios.bio_put_slab(bs)
    again = bios.bio_find_or_create_slab(600)
    assert again.name == slabs[2].name
    bios.bio_put_slab(bs)
    assert "unable to find slab" in kernel.log[-1]


@pytest.mark.parametrize(("nr", "idx"), [(0, 0), (1, 0), (4, 0), (5, 3), (16, 3), (17, 4), (64, 4), (65, 5),
                                         (128, 5), (129, 6), (256, 6)])
def test_tables_of_vectors(kernel, nr, idx):
    before = held(kernel)
    made = bios.bio_alloc_bioset(GFP_KERNEL, nr, fs_bio_set())
    assert BVEC_POOL_IDX(made) == idx
    assert len(made.bi_io_vec or ()) == (bios.BVEC_SIZES[idx - 1] if idx else nr)
    assert made.bi_max_vecs == nr
    assert all(isinstance(each, bio_vec) for each in (made.bi_io_vec or ())[:nr])
    bios.bio_put(made)
    assert held(kernel) == before


def test_too_many_vectors(kernel):
    before = held(kernel)
    assert bios.bio_alloc_bioset(GFP_KERNEL, BIO_MAX_PAGES + 1, fs_bio_set()) is None
    assert bios.bio_alloc_bioset(GFP_KERNEL, 1025, None) is None
    assert bios.bvec_alloc(GFP_KERNEL, 0, None) == (None, 0)
    bs = bio_set()
    bios.bioset_init(bs, 1, 0, 0)
    assert bios.bio_alloc_bioset(GFP_KERNEL, 1, bs) is None
    bios.bioset_exit(bs)
    assert held(kernel) == before


def test_bios_from_the_heap(kernel):
    made = bios.bio_alloc_bioset(GFP_KERNEL, 10, None)
    assert kernel.memory.live[made._addr].size == 104 + 160
    assert len(made.bi_io_vec) == 10
    bios.bio_put(made)
    kernel.memory.fail_nth(1)
    assert bios.bio_alloc_bioset(GFP_KERNEL, 10, None) is None


def test_the_reserve_gives_when_memory_does_not(kernel):
    kernel.memory.fail_if(drawn(1, 0))
    first = bios.bio_alloc_bioset(GFP_ATOMIC, 256, fs_bio_set())
    second = bios.bio_alloc_bioset(GFP_NOIO, 20, fs_bio_set())  # a smaller table becomes one of the largest
    assert BVEC_POOL_IDX(second) == 6
    assert bios.bio_alloc_bioset(GFP_ATOMIC, 0, fs_bio_set()) is None
    bios.bio_put(first)
    third = bios.bio_alloc_bioset(GFP_ATOMIC, 20, fs_bio_set())
    assert third is None  # atomic, there is no way from a smaller table to the reserve; the bio goes back
    assert fs_bio_set().bio_pool.curr_nr == 1
    bios.bio_put(second)
    assert fs_bio_set().bio_pool.curr_nr == fs_bio_set().bvec_pool.curr_nr == 2


def test_who_waits_for_a_bio_gets_the_one_that_comes_back(kernel):
    kernel.memory.fail_if(drawn(1, 0))
    taken = [bios.bio_alloc_bioset(GFP_NOIO, 0, fs_bio_set()) for _ in range(2)]
    kernel.loop.post(kernel.context, lambda: bios.bio_put(taken[0]), 1000)
    assert bios.bio_alloc_bioset(GFP_NOIO, 0, fs_bio_set()) is taken[0]


def test_memory_goes_on_from_one_allocation_into_the_next(kernel):
    first, second = alloc_page(0), alloc_page(0)
    low, high = sorted((first, second), key=lambda page: page._addr)
    assert low._addr + PAGE_SIZE == high._addr
    made = bios.bio_alloc_bioset(GFP_KERNEL, 2, fs_bio_set())
    for page in (low, high):
        bios.bio_add_page(made, page, PAGE_SIZE, 0)
    assert made.bi_vcnt == 1
    assert [bv.bv_page for bv in bio_for_each_segment(made)] == [low, high]
    low.write(4000, bytes(range(200)))
    assert high.read(0, 104) == bytes(range(96, 200))
    assert low.read(4000, 200) == bytes(range(200))
    assert low.read(4096 + 10, 5) == high.read(10, 5)
    low.write(4096 + 10, b"there")
    assert high.read(10, 5) == b"there"


def test_references(kernel):
    made = bios.bio_alloc_bioset(GFP_KERNEL, 0, fs_bio_set())
    before = len(kernel.memory.live)
    bio_get(made)
    bios.bio_put(made)
    assert len(kernel.memory.live) == before
    bios.bio_put(made)
    assert len(kernel.memory.live) == before - 1


def test_pages_that_follow_each_other_make_one_vector(kernel):
    first = alloc_pages_node(0, 0, 1)
    second = nth_page(first, 1)
    made = bios.bio_alloc_bioset(GFP_KERNEL, 2, fs_bio_set())
    assert bios.bio_add_page(made, first, 1024, 0) == 1024
    assert bios.__bio_try_merge_page(made, first, 3072, 1024) == (True, True)
    assert bios.__bio_try_merge_page(made, second, 512, 0) == (True, False)
    assert bios.__bio_try_merge_page(made, second, 512, 1024) == (False, False)
    assert made.bi_vcnt == 1
    assert bios.bio_add_page(made, second, 512, 1024) == 512
    assert bios.bio_add_page(made, second, 512, 2048) == 0  # full, and a gap
    made.bi_iter.bi_size = 0xFFFFFFFF
    assert bios.__bio_try_merge_page(made, second, 512, 1536) == (False, False)
    bio_set_flag(made, BIO_CLONED)
    assert bios.__bio_try_merge_page(made, second, 512, 1536) == (False, False)
    assert "WARNING" in kernel.log[-1]


def user_read(runs, offset=0, length=None):
    buffer = map_user_buffer(runs)
    found = iov_iter()
    iov_iter_init(found, READ, buffer, offset, length or sum(runs) * PAGE_SIZE - offset)
    return buffer, found


def test_user_pages(kernel):
    before = held(kernel)
    buffer, at = user_read([1, 3, 1], 512)
    made = bio()
    bios.bio_init(made, [bio_vec() for _ in range(5)], 5)
    assert bios.bio_iov_iter_get_pages(made, at) == 0
    lengths = [vec.bv_len for vec in made.bi_io_vec[:made.bi_vcnt]]
    assert lengths in ([3584, 12288, 4096], [3584 + 12288, 4096], [20480 - 512])
    assert made.bi_io_vec[0].bv_offset == 512
    assert [page.refcount for page in buffer.pages] == [2] * 5
    assert bios.bio_iov_iter_get_pages(made, at) == -22
    bios.bio_release_pages(made, True)
    assert [page.refcount for page in buffer.pages] == [1] * 5
    assert all(PageDirty(page) for page in buffer.pages)
    unmap_user_buffer(buffer)
    assert held(kernel) == before


def test_a_buffer_longer_than_the_bio(kernel):
    buffer, at = user_read([1] * 6)
    made = bio()
    bios.bio_init(made, [bio_vec() for _ in range(4)], 4)
    assert bios.bio_iov_iter_get_pages(made, at) == 0
    assert iov_iter_count(at) == 6 * PAGE_SIZE - made.bi_iter.bi_size
    assert made.bi_iter.bi_size >= 4 * PAGE_SIZE
    bios.bio_release_pages(made, False)
    assert not any(PageDirty(page) for page in buffer.pages)
    unmap_user_buffer(buffer)


def test_chained_bios_end_once_with_the_first_error(kernel):
    ended: list[bio] = []
    parent = bios.bio_alloc_bioset(GFP_KERNEL, 0, fs_bio_set())
    parent.bi_end_io = ended.append
    children = [bios.bio_alloc_bioset(GFP_KERNEL, 0, fs_bio_set()) for _ in range(3)]
    for child in children:
        bios.bio_chain(child, parent)
    with pytest.raises(KernelBug):
        bios.bio_chain(children[0], parent)
    children[1].bi_status = BLK_STS_IOERR
    bios.bio_endio(children[0])
    bios.bio_endio(parent)
    bios.bio_endio(children[1])
    assert ended == []
    bios.bio_chain_endio(children[2])
    assert ended == [parent]
    assert parent.bi_status == BLK_STS_IOERR


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.randoms())
def test_any_chain_ends_once(tree, order):
    """Bios chained to the last one or to the first, ended in any order: each parent ends once, after its children."""
    boot(1)
    root = bios.bio_alloc_bioset(GFP_KERNEL, 0, fs_bio_set())
    ended: list[bio] = []
    root.bi_end_io = ended.append
    made = [root]
    for to_last in tree:
        child = bios.bio_alloc_bioset(GFP_KERNEL, 0, fs_bio_set())
        bios.bio_chain(child, made[-1] if to_last else root)
        made.append(child)
    order.shuffle(made)
    for number, each in enumerate(made):
        assert not ended, number
        bios.bio_endio(each)
    assert ended == [root]


@given(st.lists(st.integers(1, 64).map(lambda n: n * 512), min_size=1, max_size=8), st.data())
@settings(max_examples=60)
def test_iteration_is_the_bytes(lengths, data):
    boot(1)
    made = filled([min(length, 8 * PAGE_SIZE) for length in lengths], sector=100)
    whole = data_of(made)
    assert len(whole) == made.bi_iter.bi_size
    assert b"".join(bv.bv_page.read(bv.bv_offset, bv.bv_len) for bv in bio_for_each_segment(made)) == whole
    assert all(bv.bv_offset + bv.bv_len <= PAGE_SIZE for bv in bio_for_each_segment(made))
    skipped = 0
    while made.bi_iter.bi_size:
        assert data_of(made) == whole[skipped:]
        assert made.bi_iter.bi_sector == 100 + skipped // 512
        step = data.draw(st.integers(1, made.bi_iter.bi_size // 512)) * 512
        bios.bio_advance(made, step)
        skipped += step
    assert data_of(made) == b""


@given(st.lists(st.integers(1, 64).map(lambda n: n * 512), min_size=1, max_size=6), st.data())
@settings(max_examples=60)
def test_a_split_bio_covers_the_same_sectors_once(lengths, data):
    boot(1)
    whole = filled(lengths, sector=7)
    content, sectors = data_of(whole), bio_sectors(whole)
    pieces = []
    while bio_sectors(whole) > 1 and data.draw(st.booleans()):
        pieces.append(bios.bio_split(whole, data.draw(st.integers(1, bio_sectors(whole) - 1)), GFP_NOIO, fs_bio_set()))
    pieces.append(whole)
    at = 7
    for piece in pieces:
        assert piece.bi_iter.bi_sector == at
        at += bio_sectors(piece)
    assert at == 7 + sectors
    assert b"".join(map(data_of, pieces)) == content


def test_split_and_clone(kernel):
    whole = filled([4096])
    bio_set_flag(whole, BIO_TRACE_COMPLETION)
    bio_set_flag(whole, BIO_THROTTLED)
    whole.bi_opf, whole.bi_partno = REQ_OP_WRITE, 1
    part = bios.bio_split(whole, 3, GFP_NOIO, fs_bio_set())
    assert bio_flagged(part, BIO_CLONED)
    assert bio_flagged(part, BIO_TRACE_COMPLETION)
    assert bio_flagged(part, BIO_THROTTLED)
    assert (part.bi_opf, part.bi_partno) == (REQ_OP_WRITE, 1)
    assert part.bi_io_vec is whole.bi_io_vec
    for wrong in (0, 5):
        with pytest.raises(KernelBug):
            bios.bio_split(whole, wrong, GFP_NOIO, fs_bio_set())
    taken = [bios.bio_alloc_bioset(GFP_NOIO, 0, fs_bio_set())]
    kernel.memory.fail_if(drawn(1, 0))
    taken += [bios.bio_alloc_bioset(GFP_NOIO, 0, fs_bio_set()) for _ in range(2)]
    assert bios.bio_split(whole, 1, GFP_ATOMIC, fs_bio_set()) is None
    assert bios.bio_clone_fast(whole, GFP_ATOMIC, fs_bio_set()) is None


def test_advance_truncate_and_fill(kernel):
    made = filled([4096, 4096], sector=10)
    content = data_of(made)
    bios.bio_advance(made, 1024)
    made.bi_iter.bi_size = 5120
    assert made.bi_iter.bi_sector == 12
    assert data_of(made) == content[1024:1024 + 5120]
    short = copy_of(made.bi_iter)
    bios.bio_truncate(made, 5120)
    bios.bio_truncate(made, 3000)
    assert made.bi_iter.bi_size == 3000
    made.bi_iter = short
    # what is beyond is zeroed at its place in the first page, counted from the page's start, not the bio's
    assert data_of(made) == content[1024:3000] + bytes(72) + content[3072:4096] + bytes(2048)
    at = made.bi_iter
    kept = data_of(made)
    later = copy_of(at)
    later.bi_size, later.bi_idx, later.bi_bvec_done = 2048, 1, 0
    bios.zero_fill_bio_iter(made, later)
    assert made.bi_iter is at
    assert data_of(made)[:3072] == kept[:3072]
    assert not any(data_of(made)[3072:])
    bios.zero_fill_bio_iter(made, copy_of(at))
    assert not any(data_of(made))
    whole = filled([4096])
    kept = data_of(whole)
    position = copy_of(whole.bi_iter)
    bios.bio_truncate(whole, 1000)
    whole.bi_iter = position
    assert data_of(whole) == kept[:1000] + bytes(3096)
    write = filled([1024])
    write.bi_opf = REQ_OP_WRITE
    kept = data_of(write)
    bios.bio_truncate(write, 512)
    assert write.bi_iter.bi_size == 512
    write.bi_iter.bi_size = 1024
    assert data_of(write) == kept


def test_a_discard_has_no_vectors_to_go_through(kernel):
    made = bio(bi_opf=REQ_OP_DISCARD)
    made.bi_iter.bi_size = 8192
    bios.bio_advance(made, 4096)
    assert (made.bi_iter.bi_sector, made.bi_iter.bi_size) == (8, 4096)


def test_pages_of_a_bio(kernel):
    made = bios.bio_alloc_bioset(GFP_KERNEL, 2, fs_bio_set())
    before = len(mem_map().runs)
    pages = [alloc_page(0) for _ in range(2)]
    for page in pages:
        bios.bio_add_page(made, page, PAGE_SIZE, 0)
    bios.bio_set_pages_dirty(made)
    assert all(PageDirty(page) for page in pages)
    bios.bio_free_pages(made)
    assert len(mem_map().runs) == before


def test_pages_cleaned_meanwhile_are_dirtied_again(kernel):
    buffers = []
    for clean in (False, True):
        buffer, at = user_read([1])
        made = bios.bio_alloc_bioset(GFP_KERNEL, 1, fs_bio_set())
        bios.bio_iov_iter_get_pages(made, at)
        bios.bio_set_pages_dirty(made)
        if clean:
            clear_page_flag(buffer.pages[0], PG_dirty)
        bios.bio_check_pages_dirty(made)
        buffers.append(buffer)
    assert [buffer.pages[0].refcount for buffer in buffers] == [1, 2]
    kernel.loop.run_due()
    assert PageDirty(buffers[1].pages[0])
    for buffer in buffers:
        unmap_user_buffer(buffer)


def test_bios_that_wait_for_a_worker_are_all_let_go_once(kernel):
    buffers = []
    for _ in range(2):
        buffer, at = user_read([1])
        made = bios.bio_alloc_bioset(GFP_KERNEL, 1, fs_bio_set())
        bios.bio_iov_iter_get_pages(made, at)
        bios.bio_check_pages_dirty(made)
        buffers.append(buffer)
    assert bios.variables().bio_dirty_list is made
    kernel.loop.run_due()
    assert bios.variables().bio_dirty_list is None
    assert [buffer.pages[0].refcount for buffer in buffers] == [1, 1]
    assert all(PageDirty(buffer.pages[0]) for buffer in buffers)
    bios.bio_dirty_fn(bios.variables().bio_dirty_work)
    assert [buffer.pages[0].refcount for buffer in buffers] == [1, 1]
    for buffer in buffers:
        unmap_user_buffer(buffer)


def test_the_end_of_a_bio_is_traced_once(kernel):
    made = filled([512])
    made.bi_disk = gendisk()
    bio_set_flag(made, BIO_TRACE_COMPLETION)
    bios.bio_endio(made)
    assert not bio_flagged(made, BIO_TRACE_COMPLETION)
    bio_set_flag(made, BIO_TRACE_COMPLETION)
    made.bi_disk = None  # a bio for no disk is not traced
    bios.bio_endio(made)
    assert bio_flagged(made, BIO_TRACE_COMPLETION)


def test_waiting_for_a_bio(kernel, monkeypatch):
    made = filled([512])

    def later(of):
        of.bi_status = BLK_STS_IOERR
        kernel.loop.post(kernel.context, lambda: bios.bio_endio(of), 50)
    monkeypatch.setattr(blk_core, "submit_bio", later)
    assert bios.submit_bio_wait(made) == -5
    assert kernel.now == 50


def test_what_overlaps_is_counted_by_its_beginnings(kernel):
    """Three I/Os of 20 ticks, ten ticks apart: 40 ticks are busy. Counted are three beginnings, and what comes before
    each end."""
    disk = gendisk()
    init_part_stats(disk.part0)
    q = blk_core.blk_alloc_queue_node(GFP_KERNEL, NUMA_NO_NODE)
    seen, begun = [], []
    for moment in range(0, 50, 10):
        kernel.loop.advance(10 * 4_000_000)
        if moment < 30:
            bios.generic_start_io_acct(q, REQ_OP_WRITE, 8, disk.part0)
            begun.append(jiffies())
        if moment >= 20:
            bios.generic_end_io_acct(q, REQ_OP_WRITE, disk.part0, begun.pop(0))
        seen.append(part_stat_read(disk.part0, "io_ticks"))
    assert seen == [1, 2, 3, 13, 23]


def test_accounting_of_a_driver_without_requests(kernel):
    disk = gendisk()
    init_part_stats(disk.part0)
    q = blk_core.blk_alloc_queue_node(GFP_KERNEL, NUMA_NO_NODE)
    start = jiffies()
    bios.generic_start_io_acct(q, REQ_OP_WRITE, 8, disk.part0)
    assert genhd.part_in_flight(q, disk.part0) == 1
    kernel.loop.advance(8_000_000)
    bios.generic_end_io_acct(q, REQ_OP_WRITE, disk.part0, start)
    assert genhd.part_in_flight(q, disk.part0) == 0
    read = {name: part_stat_read(disk.part0, name, 1) for name in ("ios", "sectors", "nsecs")}
    assert read == {"ios": 1, "sectors": 8, "nsecs": 8_000_000}
    assert part_stat_read(disk.part0, "time_in_queue") == 2
    assert part_stat_read(disk.part0, "io_ticks") == 3
    bios.generic_start_io_acct(q, REQ_OP_DISCARD, 4, disk.part0)
    assert part_stat_read(disk.part0, "sectors", 2) == 4
