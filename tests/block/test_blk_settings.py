"""Limits: what each setter sets, and what stacking comes to."""

import pytest
from hypothesis import given, strategies as st

from blkmodel import boot
from blkmodel.block import blk_core, blk_settings
from blkmodel.include.linux.blkdev import QUEUE_FLAG_FUA, QUEUE_FLAG_WC, queue_limits, test_bit as bit
from blkmodel.include.linux.fs import block_device
from blkmodel.include.linux.genhd import gendisk, hd_struct
from blkmodel.services.base.bug import KernelBug
from blkmodel.services.memory.slab import GFP_KERNEL, NUMA_NO_NODE
from blkmodel.sim import this


@pytest.fixture
def q():
    boot(1)
    made = blk_core.blk_alloc_queue_node(GFP_KERNEL, NUMA_NO_NODE)
    blk_settings.blk_queue_make_request(made, lambda q, bio: -1)
    return made


def defaults():
    limits = queue_limits()
    blk_settings.blk_set_default_limits(limits)
    return limits


def test_a_new_queue(q):
    limits = q.limits
    assert q.nr_requests == 128
    assert q.make_request_fn(q, None) == -1
    assert q.dma_alignment == 511
    assert (limits.max_segments, limits.max_segment_size, limits.max_sectors, limits.max_hw_sectors) == (
        128, 65536, 255, 255)
    assert (limits.seg_boundary_mask, limits.virt_boundary_mask, limits.chunk_sectors) == (0xFFFFFFFF, 0, 0)
    assert limits.logical_block_size == limits.physical_block_size == limits.io_min == 512
    assert limits.bounce_pfn == (1 << 52) - 1
    assert limits.max_discard_segments == 1


def test_numbers_that_are_just_set(q):
    for setter, value, where, name in (
            (blk_settings.blk_queue_rq_timeout, 30, q, "rq_timeout"),
            (blk_settings.blk_queue_max_write_zeroes_sectors, 8, q.limits, "max_write_zeroes_sectors"),
            (blk_settings.blk_queue_max_discard_segments, 9, q.limits, "max_discard_segments"),
            (blk_settings.blk_queue_io_opt, 65536, q.limits, "io_opt"),
            (blk_settings.blk_queue_chunk_sectors, 256, q.limits, "chunk_sectors"),
            (blk_settings.blk_queue_dma_alignment, 3, q, "dma_alignment"),
            (blk_settings.blk_queue_max_segment_size, 8192, q.limits, "max_segment_size"),
            (blk_settings.blk_queue_max_segments, 127, q.limits, "max_segments")):
        setter(q, value)
        assert getattr(where, name) == value
    blk_settings.blk_queue_max_discard_sectors(q, 100)
    assert (q.limits.max_discard_sectors, q.limits.max_hw_discard_sectors) == (100, 100)
    with pytest.raises(KernelBug):
        blk_settings.blk_queue_chunk_sectors(q, 3)


@pytest.mark.parametrize(("asked", "dev", "hw", "most"), [(1024, 0, 1024, 1024), (10000, 0, 10000, 2560),
                                                         (1024, 64, 1024, 64), (1, 0, 8, 8)])
def test_the_longest_request(q, asked, dev, hw, most):
    q.limits.max_dev_sectors = dev
    blk_settings.blk_queue_max_hw_sectors(q, asked)
    assert (q.limits.max_hw_sectors, q.limits.max_sectors) == (hw, most)
    assert q.backing_dev_info.io_pages == most >> 3


def test_least_values(q):
    blk_settings.blk_queue_max_segments(q, 0)
    blk_settings.blk_queue_max_segment_size(q, 512)
    assert (q.limits.max_segments, q.limits.max_segment_size) == (1, 4096)


def test_block_sizes_drag_each_other_up(q):
    blk_settings.blk_queue_logical_block_size(q, 4096)
    assert (q.limits.logical_block_size, q.limits.physical_block_size, q.limits.io_min) == (4096, 4096, 4096)
    blk_settings.blk_queue_physical_block_size(q, 512)
    assert q.limits.physical_block_size == 4096
    blk_settings.blk_queue_physical_block_size(q, 8192)
    assert (q.limits.physical_block_size, q.limits.io_min) == (8192, 8192)
    blk_settings.blk_queue_io_min(q, 512)
    assert q.limits.io_min == 8192
    blk_settings.blk_limits_io_min(q.limits, 65536)
    assert q.limits.io_min == 65536
    blk_settings.blk_limits_io_opt(q.limits, 5)
    assert q.limits.io_opt == 5


def test_a_virtual_boundary_makes_pieces_endless(q):
    blk_settings.blk_queue_virt_boundary(q, 4095)
    assert (q.limits.virt_boundary_mask, q.limits.max_segment_size) == (4095, 0xFFFFFFFF)
    blk_settings.blk_queue_max_segment_size(q, 65536)
    assert q.limits.max_segment_size == 65536
    blk_settings.blk_queue_virt_boundary(q, 0)
    assert (q.limits.virt_boundary_mask, q.limits.max_segment_size) == (0, 65536)


@pytest.mark.parametrize("wc", [True, False])
@pytest.mark.parametrize("fua", [True, False])
def test_write_cache(q, wc, fua):
    blk_settings.blk_queue_write_cache(q, not wc, not fua)
    blk_settings.blk_queue_write_cache(q, wc, fua)
    assert bit(QUEUE_FLAG_WC, q.queue_flags) == wc
    assert bit(QUEUE_FLAG_FUA, q.queue_flags) == fua


def test_stacking_takes_the_lower(q):
    blk_settings.blk_set_stacking_limits(q.limits)
    below = blk_core.blk_alloc_queue_node(GFP_KERNEL, NUMA_NO_NODE)
    blk_settings.blk_set_default_limits(below.limits)
    below.limits.max_write_zeroes_sectors = 77
    below.limits.chunk_sectors = 64
    below.limits.max_segments = 33
    assert blk_settings.blk_stack_limits(q.limits, below.limits, 0) == 0
    limits = q.limits
    assert (limits.max_segments, limits.max_sectors, limits.max_hw_sectors) == (33, 255, 255)
    assert (limits.max_write_zeroes_sectors, limits.max_write_same_sectors, limits.chunk_sectors) == (77, 0, 64)
    assert limits.max_discard_segments == 1
    assert limits.max_segment_size == 65536
    assert not limits.misaligned


def test_round_down():
    assert blk_settings.blk_round_down_sectors(255, 4096) == 248
    assert blk_settings.blk_round_down_sectors(3, 512) == 8


def test_a_partition_off_the_blocks_is_misaligned(q):
    bottom = gendisk(queue=q, disk_name="nvme0n1")
    below = blk_core.blk_alloc_queue_node(GFP_KERNEL, NUMA_NO_NODE)
    blk_settings.blk_set_default_limits(below.limits)
    blk_settings.blk_queue_physical_block_size(below, 4096)
    bottom.queue = below
    bdev = block_device(bd_disk=bottom, bd_part=hd_struct(partno=1, start_sect=64))
    blk_settings.blk_set_stacking_limits(q.limits)
    assert blk_settings.bdev_stack_limits(q.limits, bdev, 0) == 0
    assert q.limits.physical_block_size == 4096
    assert blk_settings.bdev_stack_limits(q.limits, bdev, 8) == 0
    bdev.bd_part.start_sect = 63
    assert blk_settings.bdev_stack_limits(q.limits, bdev, 0) == -1
    assert q.limits.misaligned == 1
    blk_settings.blk_set_stacking_limits(q.limits)
    bdev.bd_part.start_sect = 0
    assert blk_settings.bdev_stack_limits(q.limits, bdev, 8) == 0
    assert q.limits.misaligned == 0


def test_ranges_to_discard(q):
    t, b = defaults(), defaults()
    b.discard_granularity, b.discard_alignment, b.max_discard_sectors, b.max_hw_discard_sectors = 4096, 512, 80, 90
    assert blk_settings.blk_stack_limits(t, b, 0) == 0
    assert (t.discard_granularity, t.discard_alignment) == (4096, 8 * 512 + 512 - 4096 or 512)
    assert (t.max_discard_sectors, t.max_hw_discard_sectors, t.discard_misaligned) == (80, 90, 0)
    blk_settings.blk_stack_limits(t, b, 3)
    assert t.discard_misaligned == 1


sizes = st.sampled_from([512, 1024, 2048, 4096])


@given(sizes, sizes, sizes, sizes, st.integers(0, 64), st.integers(8, 4096), st.integers(8, 4096))
def test_stacked_limits_suit_both(top_lbs, top_pbs, low_lbs, low_pbs, start, top_max, low_max):
    boot(1)
    t, b = defaults(), defaults()
    for limits, lbs, pbs, most in ((t, top_lbs, top_pbs, top_max), (b, low_lbs, low_pbs, low_max)):
        limits.logical_block_size = lbs
        limits.physical_block_size = limits.io_min = max(lbs, pbs)
        limits.max_sectors = limits.max_hw_sectors = most
    before = t.max_sectors
    ret = blk_settings.blk_stack_limits(t, b, start)
    assert (ret == -1) == bool(t.misaligned)
    assert t.logical_block_size == max(top_lbs, low_lbs)
    assert t.physical_block_size % t.logical_block_size == 0
    assert t.io_min % t.physical_block_size == 0
    assert t.max_sectors <= max(8, min(before, b.max_sectors))
    assert t.max_sectors % (t.logical_block_size >> 9) == 0


def test_sizes_have_32_bits(q):
    """What does not fit is lost: a best size that is worked out, a length in bytes, a time."""
    t, b = defaults(), defaults()
    t.io_opt, b.io_opt = 65535 * 512, 65534 * 512
    blk_settings.blk_stack_limits(t, b, 0)
    assert t.io_opt == 65535 * 65534 * 512 & 0xFFFFFFFF
    blk_settings.blk_queue_io_opt(q, (1 << 32) + 4096)
    blk_settings.blk_queue_io_min(q, (1 << 32) + 8192)
    assert (q.limits.io_opt, q.limits.io_min) == (4096, 8192)
    blk_settings.blk_queue_rq_timeout(q, (1 << 32) + 1)
    assert q.rq_timeout == 1
    blk_settings.blk_queue_max_hw_sectors(q, 1 << 23)
    assert q.limits.max_hw_sectors == 8
    assert this().log[-1] == "blk_queue_max_hw_sectors: set to minimum 8"
