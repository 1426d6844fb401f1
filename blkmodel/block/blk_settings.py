"""Limits: what a driver says that its device can take, and what a device on top of others can.

Sectors are of 512 bytes; sizes, masks and offsets are in bytes.
"""

from collections.abc import Callable

from blkmodel.block import blk_core
from blkmodel.include.linux.blkdev import (BLK_DEF_MAX_SECTORS, BLK_MAX_SEGMENT_SIZE, BLK_MAX_SEGMENTS,
    BLK_SAFE_MAX_SECTORS, BLK_SEG_BOUNDARY_MASK, BLKDEV_MAX_RQ, QUEUE_FLAG_FUA, QUEUE_FLAG_WC, SECTOR_SHIFT, UINT_MAX,
    USHRT_MAX, bdev_get_queue, get_start_sect, queue_limit_alignment_offset, queue_limit_discard_alignment,
    queue_limits, request_queue)
from blkmodel.include.linux.fs import block_device
from blkmodel.reference.omission import no_chapter
from blkmodel.services import (BUG_ON, WARN_ON_ONCE, is_power_of_2, lcm_not_zero, min_not_zero, pr_info, round_down,
    unsigned_int)
from blkmodel.sim import PAGE_SIZE

OMITTED = no_chapter("""blk_queue_alignment_offset blk_queue_bounce_limit blk_queue_dma_drain
    blk_queue_max_write_same_sectors blk_queue_required_elevator_features blk_queue_stack_limits
    blk_queue_update_dma_alignment blk_queue_update_dma_pad blk_set_queue_depth disk_stack_limits""")

PAGE_SHIFT, BLK_BOUNCE_ANY = 12, (1 << 64) - 1


def blk_queue_rq_timeout(q: request_queue, timeout: int) -> None:
    """Set how many jiffies a request may take, of 32 bits."""
    q.rq_timeout = unsigned_int(timeout)


def blk_set_default_limits(lim: queue_limits) -> None:
    """Set limits that any device can meet."""
    lim.max_segments, lim.max_discard_segments, lim.max_integrity_segments = BLK_MAX_SEGMENTS, 1, 0
    lim.seg_boundary_mask, lim.virt_boundary_mask, lim.max_segment_size = BLK_SEG_BOUNDARY_MASK, 0, BLK_MAX_SEGMENT_SIZE
    lim.max_sectors = lim.max_hw_sectors = BLK_SAFE_MAX_SECTORS
    lim.max_dev_sectors = lim.chunk_sectors = lim.max_write_same_sectors = lim.max_write_zeroes_sectors = 0
    lim.max_discard_sectors = lim.max_hw_discard_sectors = lim.discard_granularity = 0
    lim.discard_alignment = lim.discard_misaligned = 0
    lim.logical_block_size = lim.physical_block_size = lim.io_min = 512
    lim.bounce_pfn = BLK_BOUNCE_ANY >> PAGE_SHIFT
    lim.alignment_offset = lim.io_opt = lim.misaligned = lim.zoned = 0


def blk_set_stacking_limits(lim: queue_limits) -> None:
    """Set limits that are none, to be lowered by those of each device below."""
    blk_set_default_limits(lim)
    lim.max_segments = lim.max_discard_segments = USHRT_MAX
    lim.max_hw_sectors = lim.max_segment_size = lim.max_sectors = lim.max_dev_sectors = UINT_MAX
    lim.max_write_same_sectors = lim.max_write_zeroes_sectors = UINT_MAX


def blk_queue_make_request(q: request_queue, mfn: Callable[..., int]) -> None:
    """Set who is given the queue's bios, mfn(q, bio), and begin with the default limits."""
    q.nr_requests, q.make_request_fn = BLKDEV_MAX_RQ, mfn
    blk_queue_dma_alignment(q, 511)
    blk_set_default_limits(q.limits)


def blk_queue_max_hw_sectors(q: request_queue, max_hw_sectors: int) -> None:
    """Set the most sectors that the device takes in one request; a page is the least.

    max_sectors, which user space may lower, becomes that too, but no more than BLK_DEF_MAX_SECTORS.
    """
    limits = q.limits
    if unsigned_int(max_hw_sectors << SECTOR_SHIFT) < PAGE_SIZE:
        max_hw_sectors = 1 << (PAGE_SHIFT - SECTOR_SHIFT)
        pr_info(f"blk_queue_max_hw_sectors: set to minimum {max_hw_sectors}")
    limits.max_hw_sectors = max_hw_sectors
    limits.max_sectors = min(min_not_zero(max_hw_sectors, limits.max_dev_sectors), BLK_DEF_MAX_SECTORS)
    q.backing_dev_info.io_pages = limits.max_sectors >> (PAGE_SHIFT - SECTOR_SHIFT)


def blk_queue_chunk_sectors(q: request_queue, chunk_sectors: int) -> None:
    """Let no request cross a multiple of so many sectors, a power of two."""
    BUG_ON(not is_power_of_2(chunk_sectors))
    q.limits.chunk_sectors = chunk_sectors


def blk_queue_max_discard_sectors(q: request_queue, max_discard_sectors: int) -> None:
    """Set the most sectors of a discard."""
    q.limits.max_hw_discard_sectors = q.limits.max_discard_sectors = max_discard_sectors


def blk_queue_max_write_zeroes_sectors(q: request_queue, max_write_zeroes_sectors: int) -> None:
    """Set the most sectors that are zeroed by one command."""
    q.limits.max_write_zeroes_sectors = max_write_zeroes_sectors


def blk_queue_max_segments(q: request_queue, max_segments: int) -> None:
    """Set how many pieces of memory a request may have; at least one."""
    if not max_segments:
        max_segments = 1
        pr_info(f"blk_queue_max_segments: set to minimum {max_segments}")
    q.limits.max_segments = max_segments


def blk_queue_max_discard_segments(q: request_queue, max_segments: int) -> None:
    """Set how many ranges a discard may have."""
    q.limits.max_discard_segments = max_segments


def blk_queue_max_segment_size(q: request_queue, max_size: int) -> None:
    """Set how long a piece of memory may be; at least a page. Makes no sense with a virtual boundary."""
    if max_size < PAGE_SIZE:
        max_size = PAGE_SIZE
        pr_info(f"blk_queue_max_segment_size: set to minimum {max_size}")
    WARN_ON_ONCE(q.limits.virt_boundary_mask)
    q.limits.max_segment_size = max_size


def blk_queue_logical_block_size(q: request_queue, size: int) -> None:
    """Set the smallest unit that the device can address; the other sizes are no smaller."""
    limits = q.limits
    limits.logical_block_size = size
    limits.physical_block_size = max(limits.physical_block_size, size)
    limits.io_min = max(limits.io_min, limits.physical_block_size)


def blk_queue_physical_block_size(q: request_queue, size: int) -> None:
    """Set the smallest unit that the device can write without reading."""
    limits = q.limits
    limits.physical_block_size = max(size, limits.logical_block_size)
    limits.io_min = max(limits.io_min, limits.physical_block_size)


def blk_limits_io_min(limits: queue_limits, min: int) -> None:
    """Set the smallest I/O that is worth it; no smaller than a block."""
    limits.io_min = max(unsigned_int(min), limits.logical_block_size, limits.physical_block_size)


def blk_queue_io_min(q: request_queue, min: int) -> None:
    """Set the smallest I/O that is worth it."""
    blk_limits_io_min(q.limits, min)


def blk_limits_io_opt(limits: queue_limits, opt: int) -> None:
    """Set the size of I/O that is best, of 32 bits."""
    limits.io_opt = unsigned_int(opt)


def blk_queue_io_opt(q: request_queue, opt: int) -> None:
    """Set the size of I/O that is best."""
    blk_limits_io_opt(q.limits, opt)


def blk_round_down_sectors(sectors: int, lbs: int) -> int:
    """A number of sectors in whole logical blocks; no less than a page."""
    return max(round_down(sectors, lbs >> SECTOR_SHIFT), PAGE_SIZE >> SECTOR_SHIFT)


def blk_stack_limits(t: queue_limits, b: queue_limits, start: int) -> int:
    """Lower limits `t` to what a device with limits `b` can meet, of which they use what is behind sector `start`.

    Returns 0, or -1 where blocks do not lie on blocks: then `misaligned` says so.
    """
    ret = 0
    for name in ("max_sectors", "max_hw_sectors", "max_dev_sectors", "bounce_pfn", "seg_boundary_mask",
                 "virt_boundary_mask", "max_segments", "max_discard_segments", "max_integrity_segments",
                 "max_segment_size"):
        setattr(t, name, min_not_zero(getattr(t, name), getattr(b, name)))
    t.max_write_same_sectors = min(t.max_write_same_sectors, b.max_write_same_sectors)
    t.max_write_zeroes_sectors = min(t.max_write_zeroes_sectors, b.max_write_zeroes_sectors)
    t.misaligned |= b.misaligned

    alignment = queue_limit_alignment_offset(b, start)
    if t.alignment_offset != alignment:
        top = max(t.physical_block_size, t.io_min) + t.alignment_offset
        bottom = max(b.physical_block_size, b.io_min) + alignment
        if max(top, bottom) % min(top, bottom):
            t.misaligned = 1
            ret = -1
    t.logical_block_size = max(t.logical_block_size, b.logical_block_size)
    t.physical_block_size = max(t.physical_block_size, b.physical_block_size)
    t.io_min = max(t.io_min, b.io_min)
    t.io_opt = unsigned_int(lcm_not_zero(t.io_opt, b.io_opt))
    if t.physical_block_size & (t.logical_block_size - 1):
        t.physical_block_size, t.misaligned = t.logical_block_size, 1
        ret = -1
    if t.io_min & (t.physical_block_size - 1):
        t.io_min, t.misaligned = t.physical_block_size, 1
        ret = -1
    if t.io_opt & (t.physical_block_size - 1):
        t.io_opt, t.misaligned = 0, 1
        ret = -1
    t.raid_partial_stripes_expensive = max(t.raid_partial_stripes_expensive, b.raid_partial_stripes_expensive)
    t.alignment_offset = lcm_not_zero(t.alignment_offset, alignment) % max(t.physical_block_size, t.io_min)
    if t.alignment_offset & (t.logical_block_size - 1):
        t.misaligned = 1
        ret = -1
    t.max_sectors = blk_round_down_sectors(t.max_sectors, t.logical_block_size)
    t.max_hw_sectors = blk_round_down_sectors(t.max_hw_sectors, t.logical_block_size)
    t.max_dev_sectors = blk_round_down_sectors(t.max_dev_sectors, t.logical_block_size)

    if b.discard_granularity:
        alignment = queue_limit_discard_alignment(b, start)
        if t.discard_granularity != 0 and t.discard_alignment != alignment:
            top = t.discard_granularity + t.discard_alignment
            bottom = b.discard_granularity + alignment
            if max(top, bottom) % min(top, bottom):
                t.discard_misaligned = 1
        t.max_discard_sectors = min_not_zero(t.max_discard_sectors, b.max_discard_sectors)
        t.max_hw_discard_sectors = min_not_zero(t.max_hw_discard_sectors, b.max_hw_discard_sectors)
        t.discard_granularity = max(t.discard_granularity, b.discard_granularity)
        t.discard_alignment = lcm_not_zero(t.discard_alignment, alignment) % t.discard_granularity
    if b.chunk_sectors:
        t.chunk_sectors = min_not_zero(t.chunk_sectors, b.chunk_sectors)
    return ret


def bdev_stack_limits(t: queue_limits, bdev: block_device, start: int) -> int:
    """Lower limits to what a partition can meet, used from its sector `start` on. Returns 0, or -1 for misaligned."""
    return blk_stack_limits(t, bdev_get_queue(bdev).limits, start + get_start_sect(bdev))


def blk_queue_virt_boundary(q: request_queue, mask: int) -> None:
    """Let pieces of memory only begin and end at multiples of mask + 1, but for the first and the last.

    Such devices see no pieces, only pages: a piece may be as long as it likes.
    """
    q.limits.virt_boundary_mask = mask
    if mask:
        q.limits.max_segment_size = UINT_MAX


def blk_queue_dma_alignment(q: request_queue, mask: int) -> None:
    """Set how memory must be aligned for the device: to mask + 1."""
    q.dma_alignment = mask


def blk_queue_write_cache(q: request_queue, wc: bool, fua: bool) -> None:
    """Say whether the device has a volatile write cache, and whether it can write past it."""
    if wc:
        blk_core.blk_queue_flag_set(QUEUE_FLAG_WC, q)
    else:
        blk_core.blk_queue_flag_clear(QUEUE_FLAG_WC, q)
    if fua:
        blk_core.blk_queue_flag_set(QUEUE_FLAG_FUA, q)
    else:
        blk_core.blk_queue_flag_clear(QUEUE_FLAG_FUA, q)
