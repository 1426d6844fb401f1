"""What drivers/block/null_blk.h declares: devices that move no data, or keep it in memory."""

from __future__ import annotations

from dataclasses import field

from blkmodel.include.linux.blk_mq import blk_mq_tag_set
from blkmodel.include.linux.blkdev import gendisk, request, request_queue
from blkmodel.services import EINVAL, badblocks as _badblocks, config_item, hrtimer, pr_err, radix_tree_root
from blkmodel.sim import NULL, Array, Struct


class nullb_cmd(Struct):
    """One command under way, for a request."""

    rq: request = NULL
    error: int = 0
    nq: nullb_queue = NULL
    timer: hrtimer = field(default_factory=hrtimer)


class nullb_queue(Struct):
    """One of a device's queues. tag_map, cmds: of the mode that takes bios. requeue_selection: how often it pretended
    to be busy."""

    tag_map: list[int] = NULL
    queue_depth: int = 0
    requeue_selection: int = 0
    dev: nullb_device = NULL
    cmds: list[nullb_cmd] = NULL


class nullb_device(Struct):
    """What a device is to be like, and its data (page number → nullb_page), which outlive the disk.

    size, cache_size, zone_size: MB. flags: NULLB_DEV_FL_*. curr_cache: bytes in `cache`, which has not been written
    to `data` yet.
    """

    nullb: nullb = NULL
    item: config_item = field(default_factory=config_item)
    data: radix_tree_root = field(default_factory=radix_tree_root)
    cache: radix_tree_root = field(default_factory=radix_tree_root)
    flags: int = 0
    curr_cache: int = 0
    badblocks: _badblocks = field(default_factory=_badblocks)
    size: int = 0
    completion_nsec: int = 0
    cache_size: int = 0
    zone_size: int = 0
    zone_nr_conv: int = 0
    submit_queues: int = 0
    home_node: int = 0
    queue_mode: int = 0
    blocksize: int = 0
    irqmode: int = 0
    hw_queue_depth: int = 0
    index: int = 0
    blocking: bool = False
    use_per_node_hctx: bool = False
    power: bool = False
    memory_backed: bool = False
    discard: bool = False
    zoned: bool = False


class nullb(Struct):
    """A device that is there as a disk. `_tag_set` (in C `__tag_set`) is its own tag set, unless tag_set is another."""

    dev: nullb_device = NULL
    list: object = NULL
    index: int = 0
    q: request_queue = NULL
    disk: gendisk = NULL
    tag_set: blk_mq_tag_set = NULL
    _tag_set: blk_mq_tag_set = field(default_factory=blk_mq_tag_set)
    queue_depth: int = 0
    cache_flush_pos: int = 0
    queues: Array = NULL
    nr_queues: int = 0
    disk_name: str = ""


def null_zone_init(dev: nullb_device) -> int:
    """Refuse a zoned device, for which the reference kernel is not configured: -EINVAL."""
    pr_err("null_blk: CONFIG_BLK_DEV_ZONED not enabled")
    return -EINVAL
