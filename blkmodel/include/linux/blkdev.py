"""Request queues, their limits, and requests (include/linux/blkdev.h, blk_types.h)."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any

from blkmodel.include.linux.bio import *
from blkmodel.include.linux.genhd import *
from blkmodel.services import (DMA_FROM_DEVICE, DMA_TO_DEVICE, delayed_work, kobject, list_head, mutex, percpu_ref,
    test_bit, timer_list, wait_queue_head, work_struct)
from blkmodel.sim import NULL, Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from blkmodel.block.blk_h import blk_flush_queue
    from blkmodel.block.blk_mq_h import blk_mq_ctx
    from blkmodel.block.blk_stat_h import blk_queue_stats, blk_stat_callback
    from blkmodel.include.linux.blk_mq import blk_mq_hw_ctx, blk_mq_ops, blk_mq_tag_set
    from blkmodel.include.linux.blk_types import bio as struct_bio
    from blkmodel.include.linux.elevator import elevator_queue
    from blkmodel.include.linux.fs import block_device
    from blkmodel.services import backing_dev_info, call_single_data, rb_node

BLKDEV_MIN_RQ, BLKDEV_MAX_RQ = 4, 128
BLK_TAG_ALLOC_RR, BLK_MAX_REQUEST_COUNT, BLK_MQ_POLL_STATS_BKTS, BLK_PLUG_FLUSH_SIZE = 1, 16, 16, 128 * 1024
BLK_MAX_SEGMENTS, BLK_SAFE_MAX_SECTORS, BLK_DEF_MAX_SECTORS, BLK_MAX_SEGMENT_SIZE = 128, 255, 2560, 65536
BLK_SEG_BOUNDARY_MASK, SECTOR_SHIFT, BLKDEV_DISCARD_SECURE = 0xFFFFFFFF, 9, 1
BLKDEV_ZERO_NOUNMAP, UINT_MAX, USHRT_MAX = 1, 0xFFFFFFFF, 0xFFFF

(QUEUE_FLAG_STOPPED, QUEUE_FLAG_DYING, QUEUE_FLAG_NOMERGES, QUEUE_FLAG_SAME_COMP, QUEUE_FLAG_FAIL_IO,
 QUEUE_FLAG_NONROT, QUEUE_FLAG_IO_STAT, QUEUE_FLAG_DISCARD, QUEUE_FLAG_NOXMERGES, QUEUE_FLAG_ADD_RANDOM,
 QUEUE_FLAG_SECERASE, QUEUE_FLAG_SAME_FORCE, QUEUE_FLAG_DEAD, QUEUE_FLAG_INIT_DONE, QUEUE_FLAG_POLL, QUEUE_FLAG_WC,
 QUEUE_FLAG_FUA, QUEUE_FLAG_DAX, QUEUE_FLAG_STATS, QUEUE_FLAG_POLL_STATS, QUEUE_FLAG_REGISTERED,
 QUEUE_FLAG_SCSI_PASSTHROUGH, QUEUE_FLAG_QUIESCED, QUEUE_FLAG_PCI_P2PDMA) = (0, 1, *range(3, 15), *range(16, 26))
QUEUE_FLAG_MQ_DEFAULT = 1 << QUEUE_FLAG_IO_STAT | 1 << QUEUE_FLAG_SAME_COMP

RQF_SORTED, RQF_STARTED, RQF_SOFTBARRIER, RQF_FLUSH_SEQ, RQF_MIXED_MERGE = 1 << 0, 1 << 1, 1 << 3, 1 << 4, 1 << 5
RQF_MQ_INFLIGHT, RQF_DONTPREP, RQF_PREEMPT, RQF_COPY_USER, RQF_FAILED = 1 << 6, 1 << 7, 1 << 8, 1 << 9, 1 << 10
RQF_QUIET, RQF_ELVPRIV, RQF_IO_STAT = 1 << 11, 1 << 12, 1 << 13
RQF_HASHED, RQF_STATS, RQF_SPECIAL_PAYLOAD = 1 << 16, 1 << 17, 1 << 18
RQF_MQ_POLL_SLEPT, RQF_TIMED_OUT = 1 << 20, 1 << 21
RQF_NOMERGE_FLAGS = RQF_STARTED | RQF_SOFTBARRIER | RQF_FLUSH_SEQ | RQF_SPECIAL_PAYLOAD

BLK_ZONED_NONE, BLK_ZONED_HA, BLK_ZONED_HM = range(3)

READ, WRITE = 0, 1

MQ_RQ_IDLE, MQ_RQ_IN_FLIGHT, MQ_RQ_COMPLETE = 0, 1, 2


class queue_limits(Struct):
    """What a device can take in one request. Sectors are of 512 bytes; sizes and masks in bytes."""

    bounce_pfn: int = 0
    seg_boundary_mask: int = 0
    virt_boundary_mask: int = 0
    max_hw_sectors: int = 0
    max_dev_sectors: int = 0
    chunk_sectors: int = 0
    max_sectors: int = 0
    max_segment_size: int = 0
    physical_block_size: int = 0
    logical_block_size: int = 0
    alignment_offset: int = 0
    io_min: int = 0
    io_opt: int = 0
    max_discard_sectors: int = 0
    max_hw_discard_sectors: int = 0
    max_write_same_sectors: int = 0
    max_write_zeroes_sectors: int = 0
    discard_granularity: int = 0
    discard_alignment: int = 0
    max_segments: int = 0
    max_integrity_segments: int = 0
    max_discard_segments: int = 0
    misaligned: int = 0
    discard_misaligned: int = 0
    raid_partial_stripes_expensive: int = 0
    zoned: int = 0


def copy_limits(to: queue_limits, frm: queue_limits) -> None:
    """Give limits the values of others. (In C an assignment.)"""
    for name in queue_limits.__slots__:
        setattr(to, name, getattr(frm, name))


class request_queue(Struct):
    """One disk's (or one controller's admin) queue: what submits to it, what serves it, and what it may be given.

    queue_ctx: a software queue for each possible CPU; queue_hw_ctx: nr_hw_queues hardware queues. q_usage_counter is
    held by every request and by whoever is submitting; while mq_freeze_depth is not 0 nobody gets in.
    """

    last_merge: request = NULL
    elevator: elevator_queue = NULL
    stats: blk_queue_stats = NULL
    make_request_fn: Callable[..., int] = NULL
    mq_ops: blk_mq_ops = NULL
    queue_ctx: list[blk_mq_ctx] = NULL
    nr_queues: int = 0
    queue_depth: int = 0
    queue_hw_ctx: list[blk_mq_hw_ctx] = NULL
    nr_hw_queues: int = 0
    backing_dev_info: backing_dev_info = NULL
    queuedata: Any = None
    queue_flags: int = 0
    id: int = 0
    bounce_gfp: int = 0
    kobj: kobject = field(default_factory=kobject)
    mq_kobj: kobject = NULL
    nr_requests: int = 0
    dma_pad_mask: int = 0
    dma_alignment: int = 0
    rq_timeout: int = 0
    poll_nsec: int = 0
    poll_cb: blk_stat_callback = NULL
    poll_stat: list[blk_rq_stat] = field(default_factory=lambda: [blk_rq_stat() for _ in range(BLK_MQ_POLL_STATS_BKTS)])
    timeout: timer_list = field(default_factory=timer_list)
    timeout_work: work_struct = field(default_factory=work_struct)
    limits: queue_limits = field(default_factory=queue_limits)
    required_elevator_features: int = 0
    node: int = 0
    fq: blk_flush_queue = NULL
    requeue_list: list_head = field(default_factory=list_head)
    requeue_work: delayed_work = field(default_factory=delayed_work)
    unused_hctx_list: list_head = field(default_factory=list_head)
    mq_freeze_depth: int = 0
    sysfs_lock: mutex = field(default_factory=lambda: mutex("&q->sysfs_lock"))
    sysfs_dir_lock: mutex = field(default_factory=lambda: mutex("&q->sysfs_dir_lock"))
    mq_freeze_lock: mutex = field(default_factory=lambda: mutex("&q->mq_freeze_lock"))
    mq_freeze_wq: wait_queue_head = field(default_factory=wait_queue_head)
    q_usage_counter: percpu_ref = field(default_factory=percpu_ref)
    tag_set: blk_mq_tag_set = NULL
    tag_set_list: list_head = NULL
    bio_split: bio_set = field(default_factory=bio_set)
    mq_sysfs_init_done: bool = False
    cmd_size: int = 0
    release_work: work_struct = field(default_factory=work_struct)


class request_flush(Struct, size=32):
    """A request's part in a flush sequence: the steps that are done (seq), the step's list that it is on, its own
    end_io. _rq is the request."""

    seq: int = 0
    list: list_head = NULL
    saved_end_io: Callable[..., None] = NULL
    _rq: request = NULL


class request(Struct):
    """A unit of work for a device: one bio, or several that follow each other on it.

    tag: its number on the hardware queue, -1 while it has none; internal_tag: its number among the scheduler's tags,
    or -1.
    `_data_len` and `_sector` are C's `__data_len` (bytes left) and `__sector`. Its driver's data lie behind it:
    blk_mq_rq_to_pdu().
    """

    q: request_queue = NULL
    mq_ctx: blk_mq_ctx = NULL
    mq_hctx: blk_mq_hw_ctx = NULL
    cmd_flags: int = 0
    rq_flags: int = 0
    tag: int = 0
    internal_tag: int = 0
    _data_len: int = 0
    _sector: int = 0
    bio: struct_bio = NULL
    biotail: struct_bio = NULL
    queuelist: list_head = NULL
    hash: list_head = NULL
    ipi_list: list_head = NULL
    rb_node: rb_node = NULL
    special_vec: bio_vec = NULL
    elv: Any = None
    flush: request_flush = NULL
    rq_disk: gendisk = NULL
    part: hd_struct = NULL
    start_time_ns: int = 0
    io_start_time_ns: int = 0
    stats_sectors: int = 0
    nr_phys_segments: int = 0
    extra_len: int = 0
    state: int = 0
    ref: int = 0
    timeout: int = 0
    deadline: int = 0
    csd: call_single_data = NULL
    fifo_time: int = 0
    end_io: Callable[..., None] = NULL
    end_io_data: Any = None
    _pdu: Any = None


class blk_plug(Struct):
    """Requests that a task holds back for a moment, in the hope of more to go with them."""

    mq_list: list_head = field(default_factory=list_head)
    cb_list: list_head = field(default_factory=list_head)
    rq_count: int = 0
    multiple_queues: bool = False


def blk_queue_dying(q: request_queue) -> bool:
    return test_bit(QUEUE_FLAG_DYING, q.queue_flags)


def blk_queue_init_done(q: request_queue) -> bool:
    return test_bit(QUEUE_FLAG_INIT_DONE, q.queue_flags)


def blk_queue_nomerges(q: request_queue) -> bool:
    return q.queue_flags >> QUEUE_FLAG_NOMERGES & 1 != 0


def blk_queue_noxmerges(q: request_queue) -> bool:
    return q.queue_flags >> QUEUE_FLAG_NOXMERGES & 1 != 0


def blk_queue_nonrot(q: request_queue) -> bool:
    return test_bit(QUEUE_FLAG_NONROT, q.queue_flags)


def blk_queue_io_stat(q: request_queue) -> bool:
    return test_bit(QUEUE_FLAG_IO_STAT, q.queue_flags)


def blk_queue_add_random(q: request_queue) -> bool:
    return test_bit(QUEUE_FLAG_ADD_RANDOM, q.queue_flags)


def blk_queue_discard(q: request_queue) -> bool:
    return test_bit(QUEUE_FLAG_DISCARD, q.queue_flags)


def blk_queue_secure_erase(q: request_queue) -> bool:
    return test_bit(QUEUE_FLAG_SECERASE, q.queue_flags)


def blk_queue_quiesced(q: request_queue) -> bool:
    return q.queue_flags >> QUEUE_FLAG_QUIESCED & 1 != 0


def blk_queue_registered(q: request_queue) -> bool:
    return test_bit(QUEUE_FLAG_REGISTERED, q.queue_flags)


def queue_is_mq(q: request_queue) -> bool:
    return q.mq_ops is not None


def req_op(rq: request) -> int:
    return rq.cmd_flags & REQ_OP_MASK


def blk_rq_pos(rq: request) -> int:
    return rq._sector


def blk_rq_bytes(rq: request) -> int:
    return rq._data_len


def blk_rq_sectors(rq: request) -> int:
    return rq._data_len >> SECTOR_SHIFT


def blk_rq_stats_sectors(rq: request) -> int:
    """How long the request was when the driver took it."""
    return rq.stats_sectors


def rq_data_dir(rq: request) -> int:
    """READ or WRITE."""
    return rq.cmd_flags & 1


def blk_rq_is_passthrough(rq: request) -> bool:
    """Whether a driver made the request up itself, so that its sectors mean nothing to the block layer."""
    return rq.cmd_flags & REQ_OP_MASK >= REQ_OP_SCSI_IN


def blk_noretry_request(rq: request) -> bool:
    """Whether a request that fails is to fail at once."""
    return bool(rq.cmd_flags & REQ_FAILFAST_MASK)


def rq_mergeable(rq: request) -> bool:
    """Whether other requests or bios may be joined to this one, by what it is."""
    if blk_rq_is_passthrough(rq) or req_op(rq) in (REQ_OP_FLUSH, REQ_OP_WRITE_ZEROES):
        return False
    return not (rq.cmd_flags & REQ_NOMERGE_FLAGS or rq.rq_flags & RQF_NOMERGE_FLAGS)


def bdev_get_queue(bdev: block_device) -> request_queue:
    return bdev.bd_disk.queue


def blk_queue_zoned_model(q: request_queue) -> int:
    """BLK_ZONED_*: how the disk's zones are to be written."""
    return q.limits.zoned


def queue_max_hw_sectors(q: request_queue) -> int:
    return q.limits.max_hw_sectors


def queue_max_segments(q: request_queue) -> int:
    return q.limits.max_segments


def queue_max_discard_segments(q: request_queue) -> int:
    return q.limits.max_discard_segments


def queue_logical_block_size(q: request_queue) -> int:
    return q.limits.logical_block_size


def bdev_logical_block_size(bdev: block_device) -> int:
    return bdev.bd_disk.queue.limits.logical_block_size


def bdev_alignment_offset(bdev: block_device) -> int:
    """How far the start of a disk or partition is from that of a physical block, in bytes; -1: none fits all below."""
    limits = bdev.bd_disk.queue.limits
    if limits.misaligned:
        return -1
    return limits.alignment_offset if bdev is bdev.bd_contains else bdev.bd_part.alignment_offset


def bdev_write_zeroes_sectors(bdev: block_device) -> int:
    """The most sectors that the device fills with zeroes in one request; 0 where it can't."""
    q = bdev_get_queue(bdev)
    return q.limits.max_write_zeroes_sectors if q is not None else 0


def queue_limit_alignment_offset(limits: queue_limits, sector: int) -> int:
    """How many bytes behind `sector` the next natural boundary is."""
    granularity = max(limits.physical_block_size, limits.io_min)
    alignment = sector % (granularity >> SECTOR_SHIFT) << SECTOR_SHIFT
    return (granularity + limits.alignment_offset - alignment) % granularity


def queue_limit_discard_alignment(limits: queue_limits, sector: int) -> int:
    """How many bytes behind `sector` the next range that can be discarded begins."""
    if not limits.max_discard_sectors:
        return 0
    if not (granularity := limits.discard_granularity >> SECTOR_SHIFT):
        return 0
    alignment = limits.discard_alignment >> SECTOR_SHIFT
    return (granularity + alignment - sector % granularity) % granularity << SECTOR_SHIFT


def blk_max_size_offset(q: request_queue, offset: int) -> int:
    """The most sectors that a request from sector `offset` on may have: not beyond the end of its chunk."""
    if not q.limits.chunk_sectors:
        return q.limits.max_sectors
    return min(q.limits.max_sectors, q.limits.chunk_sectors - (offset & (q.limits.chunk_sectors - 1)))


def blk_queue_get_max_sectors(q: request_queue, op: int) -> int:
    """The most sectors that a request of an operation may have."""
    if op in (REQ_OP_DISCARD, REQ_OP_SECURE_ERASE):
        return min(q.limits.max_discard_sectors, UINT_MAX >> SECTOR_SHIFT)
    if op == REQ_OP_WRITE_SAME:
        return q.limits.max_write_same_sectors
    return q.limits.max_write_zeroes_sectors if op == REQ_OP_WRITE_ZEROES else q.limits.max_sectors


def blk_rq_get_max_sectors(rq: request, offset: int) -> int:
    """The most sectors that this request may grow to, from sector `offset` on."""
    q = rq.q
    if blk_rq_is_passthrough(rq):
        return q.limits.max_hw_sectors
    op = req_op(rq)
    if not q.limits.chunk_sectors or op in (REQ_OP_DISCARD, REQ_OP_SECURE_ERASE):
        return blk_queue_get_max_sectors(q, op)
    return min(blk_max_size_offset(q, offset), blk_queue_get_max_sectors(q, op))


def blk_rq_cur_bytes(rq: request) -> int:
    """Bytes of the request's first bio that are left in one piece of one page; all of them where it moves no data."""
    if rq.bio is None:
        return 0
    return bio_iovec(rq.bio).bv_len if bio_has_data(rq.bio) else rq.bio.bi_iter.bi_size


def blk_rq_nr_phys_segments(rq: request) -> int:
    return 1 if rq.rq_flags & RQF_SPECIAL_PAYLOAD else rq.nr_phys_segments


def blk_rq_nr_discard_segments(rq: request) -> int:
    return max(rq.nr_phys_segments, 1)


def req_bvec(rq: request) -> bio_vec:
    """The first piece of a request's memory: all of it where it has one segment."""
    return rq.special_vec if rq.rq_flags & RQF_SPECIAL_PAYLOAD else mp_bvec_iter_bvec(rq.bio.bi_io_vec, rq.bio.bi_iter)


def rq_dma_dir(rq: request) -> int:
    """Which way a device moves a request's data: DMA_TO_DEVICE or DMA_FROM_DEVICE."""
    return DMA_TO_DEVICE if rq.cmd_flags & 1 else DMA_FROM_DEVICE


def blk_rq_payload_bytes(rq: request) -> int:
    """Bytes that a device moves for a request: not those of sectors that it only hears of."""
    return rq.special_vec.bv_len if rq.rq_flags & RQF_SPECIAL_PAYLOAD else rq._data_len


def blk_rq_aligned(q: request_queue, addr: int, length: int) -> bool:
    """Whether a device can use memory at that address as it is."""
    return not (addr | length) & (q.dma_alignment | q.dma_pad_mask)


def bios_of(rq: request) -> list[struct_bio]:
    """A request's bios, in order. (In C __rq_for_each_bio().)"""
    bios, bio = [], rq.bio
    while bio is not None:
        bios.append(bio)
        bio = bio.bi_next
    return bios


def rq_for_each_bvec(rq: request) -> list[bio_vec]:
    """All vectors of a request that are left, each in as many pages that follow each other as it has."""
    return [vector for bio in bios_of(rq) for vector in bio_for_each_bvec(bio)]


def rq_for_each_segment(rq: request) -> list[bio_vec]:
    """All vectors of a request that are left, each cut at the ends of pages."""
    return [piece for vector in rq_for_each_bvec(rq) for piece in segments_of(vector)]
