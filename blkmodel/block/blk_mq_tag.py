"""Tags: the numbers by which a hardware queue and its driver know the requests in flight.

A tag is a bit of a scalable bitmap. Queues that share a tag set get a fair share of the tags each.
"""

from collections.abc import Callable
from typing import Any

from blkmodel.block import blk_core, blk_mq
from blkmodel.block.blk_mq_h import (blk_mq_alloc_data, blk_mq_ctx, blk_mq_get_ctx, blk_mq_hw_queue_mapped,
    blk_mq_map_queue, blk_mq_tags_from_data)
from blkmodel.block.blk_mq_tag_h import (BLK_MQ_TAG_FAIL, BLK_MQ_TAG_MAX, blk_mq_tag_is_reserved, blk_mq_tags,
    bt_wait_ptr)
from blkmodel.include.linux.blk_mq import (BLK_MQ_F_TAG_SHARED, BLK_MQ_REQ_INTERNAL, BLK_MQ_REQ_NOWAIT,
    BLK_MQ_REQ_RESERVED, BLK_MQ_S_TAG_ACTIVE, blk_mq_hw_ctx, blk_mq_tag_set, queue_for_each_hw_ctx)
from blkmodel.include.linux.blkdev import BLK_TAG_ALLOC_RR, BLKDEV_MAX_RQ, request, request_queue
from blkmodel.include.linux.sbitmap import (DEFINE_SBQ_WAIT, sbitmap as sbitmap_struct, sbitmap_for_each_set,
    sbitmap_queue, sbitmap_queue_free)
from blkmodel.lib import sbitmap
from blkmodel.reference.omission import no_chapter
from blkmodel.services import (BUG_ON, EINVAL, ENOMEM, GFP_KERNEL, TASK_UNINTERRUPTIBLE, WARN_ON_ONCE, io_schedule,
    kfree, kzalloc_node, msleep, percpu_ref_tryget, pr_err)
from blkmodel.sim import NULL

OMITTED = no_chapter("blk_mq_has_free_tags blk_mq_unique_tag")


def __blk_mq_tag_busy(hctx: blk_mq_hw_ctx) -> bool:
    """Count a hardware queue as one that uses its shared tags, once, until it goes idle."""
    if not hctx.state >> BLK_MQ_S_TAG_ACTIVE & 1:
        hctx.state |= 1 << BLK_MQ_S_TAG_ACTIVE
        hctx.tags.active_queues += 1
    return True


def blk_mq_tag_wakeup_all(tags: blk_mq_tags, include_reserve: bool) -> None:
    """Wake everybody who waits for one of the tags."""
    sbitmap.sbitmap_queue_wake_all(tags.bitmap_tags)
    if include_reserve:
        sbitmap.sbitmap_queue_wake_all(tags.breserved_tags)


def __blk_mq_tag_idle(hctx: blk_mq_hw_ctx) -> None:
    """Count a hardware queue no longer as one that uses its shared tags: the others' shares grow."""
    tags = hctx.tags
    if not hctx.state >> BLK_MQ_S_TAG_ACTIVE & 1:
        return
    hctx.state &= ~(1 << BLK_MQ_S_TAG_ACTIVE)
    tags.active_queues -= 1
    blk_mq_tag_wakeup_all(tags, False)


def hctx_may_queue(hctx: blk_mq_hw_ctx, bt: sbitmap_queue) -> bool:
    """Whether a hardware queue is still below its fair share of shared tags.

    The share is the depth divided by the queues that are active, and at least 4.
    """
    if hctx is None or not hctx.flags & BLK_MQ_F_TAG_SHARED:
        return True
    if not hctx.state >> BLK_MQ_S_TAG_ACTIVE & 1 or bt.sb.depth == 1:
        return True
    users = hctx.tags.active_queues
    return not users or hctx.nr_active < max((bt.sb.depth + users - 1) // users, 4)


def __blk_mq_get_tag(data: blk_mq_alloc_data, bt: sbitmap_queue) -> int:
    """Take a free bit of the bitmap; -1 when there is none, or when this queue has had its share."""
    if not data.flags & BLK_MQ_REQ_INTERNAL and not hctx_may_queue(data.hctx, bt):
        return -1
    if data.shallow_depth:
        return sbitmap.__sbitmap_queue_get_shallow(bt, data.shallow_depth)
    return sbitmap.__sbitmap_queue_get(bt)


def blk_mq_get_tag(data: blk_mq_alloc_data) -> int:
    """Get a tag for what `data` describes, and sleep until there is one, unless data forbids that.

    A task may wake on another CPU; then it goes on with that CPU's queues, so data.ctx and data.hctx may change.
    Reserved tags come first: the others are numbered from nr_reserved_tags on.
    Returns the tag, or BLK_MQ_TAG_FAIL.
    """
    tags = blk_mq_tags_from_data(data)
    if data.flags & BLK_MQ_REQ_RESERVED:
        if not tags.nr_reserved_tags:
            WARN_ON_ONCE(True, "a reserved tag is asked for, and there are none")
            return BLK_MQ_TAG_FAIL
        bt, tag_offset = tags.breserved_tags, 0
    else:
        bt, tag_offset = tags.bitmap_tags, tags.nr_reserved_tags

    if (tag := __blk_mq_get_tag(data, bt)) != -1:
        return tag + tag_offset
    if data.flags & BLK_MQ_REQ_NOWAIT:
        return BLK_MQ_TAG_FAIL

    wait, ws = DEFINE_SBQ_WAIT(), bt_wait_ptr(bt, data.hctx)
    while True:
        # What is inserted but not yet dispatched may hold the tags: let it go first.
        blk_mq.blk_mq_run_hw_queue(data.hctx, False)
        if (tag := __blk_mq_get_tag(data, bt)) != -1:
            break
        sbitmap.sbitmap_prepare_to_wait(bt, ws, wait, TASK_UNINTERRUPTIBLE)
        if (tag := __blk_mq_get_tag(data, bt)) != -1:
            break

        bt_prev = bt
        io_schedule()
        sbitmap.sbitmap_finish_wait(bt, ws, wait)

        data.ctx = blk_mq_get_ctx(data.q)
        data.hctx = blk_mq_map_queue(data.q, data.cmd_flags, data.ctx)
        tags = blk_mq_tags_from_data(data)
        bt = tags.breserved_tags if data.flags & BLK_MQ_REQ_RESERVED else tags.bitmap_tags
        # The wake-up was for a tag that this task no longer wants: pass it on.
        if bt is not bt_prev:
            sbitmap.sbitmap_queue_wake_up(bt_prev)
        ws = bt_wait_ptr(bt, data.hctx)
    sbitmap.sbitmap_finish_wait(bt, ws, wait)
    return tag + tag_offset


def blk_mq_put_tag(hctx: blk_mq_hw_ctx, tags: blk_mq_tags, ctx: blk_mq_ctx, tag: int) -> None:
    """Give a tag back; whoever waits for one may be woken."""
    if not blk_mq_tag_is_reserved(tags, tag):
        real_tag = tag - tags.nr_reserved_tags
        BUG_ON(real_tag >= tags.nr_tags)
        sbitmap.sbitmap_queue_clear(tags.bitmap_tags, real_tag, ctx.cpu)
    else:
        BUG_ON(tag >= tags.nr_reserved_tags)
        sbitmap.sbitmap_queue_clear(tags.breserved_tags, tag, ctx.cpu)


def bt_iter(bitmap: sbitmap_struct, bitnr: int, data: tuple[blk_mq_hw_ctx, Callable[..., bool], Any, bool]) -> bool:
    """Show one busy tag's request to the visitor in data = (hctx, fn, priv, reserved); False ends the visit.

    With shared tags a tag can belong to another queue's request; that is passed over.
    """
    hctx, fn, priv, reserved = data
    tags = hctx.tags
    if not reserved:
        bitnr += tags.nr_reserved_tags
    rq = tags.rqs[bitnr]
    return fn(hctx, rq, priv, reserved) if rq is not None and rq.q is hctx.queue else True


def bt_for_each(hctx: blk_mq_hw_ctx, bt: sbitmap_queue, fn: Callable[..., bool], data: Any, reserved: bool) -> None:
    """Call fn(hctx, rq, data, reserved) for each request of the hardware queue that has a tag of this bitmap."""
    sbitmap_for_each_set(bt.sb, bt_iter, (hctx, fn, data, reserved))


def bt_tags_iter(bitmap: sbitmap_struct, bitnr: int, data: tuple[blk_mq_tags, Callable[..., bool], Any, bool]) -> bool:
    """Show one started request to the visitor in data = (tags, fn, priv, reserved); False ends the visit."""
    tags, fn, priv, reserved = data
    if not reserved:
        bitnr += tags.nr_reserved_tags
    rq = tags.rqs[bitnr]
    return fn(rq, priv, reserved) if rq is not None and blk_mq.blk_mq_request_started(rq) else True


def bt_tags_for_each(tags: blk_mq_tags, bt: sbitmap_queue, fn: Callable[..., bool], data: Any, reserved: bool) -> None:
    """Call fn(rq, data, reserved) for each started request that has a tag of this bitmap, whatever its queue."""
    if tags.rqs is not None:
        sbitmap_for_each_set(bt.sb, bt_tags_iter, (tags, fn, data, reserved))


def blk_mq_all_tag_busy_iter(tags: blk_mq_tags, fn: Callable[..., bool], priv: Any) -> None:
    """Call fn(rq, priv, reserved) for each started request among these tags."""
    if tags.nr_reserved_tags:
        bt_tags_for_each(tags, tags.breserved_tags, fn, priv, True)
    bt_tags_for_each(tags, tags.bitmap_tags, fn, priv, False)


def blk_mq_tagset_busy_iter(tagset: blk_mq_tag_set, fn: Callable[..., bool], priv: Any) -> None:
    """Call fn(rq, priv, reserved) for each started request of a tag set; fn returns False to stop a bitmap's turn."""
    for i in range(tagset.nr_hw_queues):
        if tagset.tags is not None and tagset.tags[i] is not None:
            blk_mq_all_tag_busy_iter(tagset.tags[i], fn, priv)


def blk_mq_tagset_count_completed_rqs(rq: request, data: Any, reserved: bool) -> bool:
    """Count, in data[0], a request whose completion is under way."""
    if blk_mq.blk_mq_request_completed(rq):
        data[0] += 1
    return True


def blk_mq_tagset_wait_completed_request(tagset: blk_mq_tag_set) -> None:
    """Wait until every request that the driver has completed has also been ended; its queues are shut down."""
    while True:
        count = [0]
        blk_mq_tagset_busy_iter(tagset, blk_mq_tagset_count_completed_rqs, count)
        if not count[0]:
            break
        msleep(5)


def blk_mq_queue_tag_busy_iter(q: request_queue, fn: Callable[..., bool], priv: Any) -> None:
    """Call fn(hctx, rq, priv, reserved) for each request of a queue that has a driver tag.

    A queue whose last reference is gone has none.
    """
    if not percpu_ref_tryget(q.q_usage_counter):
        return
    for hctx in queue_for_each_hw_ctx(q):
        if not blk_mq_hw_queue_mapped(hctx):
            continue
        tags = hctx.tags
        if tags.nr_reserved_tags:
            bt_for_each(hctx, tags.breserved_tags, fn, priv, True)
        bt_for_each(hctx, tags.bitmap_tags, fn, priv, False)
    blk_core.blk_queue_exit(q)


def bt_alloc(bt: sbitmap_queue, depth: int, round_robin: bool, node: int) -> int:
    """Allocate one tag bitmap. Returns 0 or -ENOMEM."""
    return sbitmap.sbitmap_queue_init_node(bt, depth, -1, round_robin, GFP_KERNEL, node)


def blk_mq_init_bitmap_tags(tags: blk_mq_tags, node: int, alloc_policy: int) -> blk_mq_tags:
    """Allocate the bitmaps of ordinary and of reserved tags. Returns tags; on failure None, and tags are freed."""
    depth = tags.nr_tags - tags.nr_reserved_tags
    round_robin = alloc_policy == BLK_TAG_ALLOC_RR
    if bt_alloc(tags.bitmap_tags, depth, round_robin, node):
        kfree(tags)
        return NULL
    if bt_alloc(tags.breserved_tags, tags.nr_reserved_tags, round_robin, node):
        sbitmap_queue_free(tags.bitmap_tags)
        kfree(tags)
        return NULL
    return tags


def blk_mq_init_tags(total_tags: int, reserved_tags: int, node: int, alloc_policy: int) -> blk_mq_tags:
    """Allocate the tags of one hardware queue, without requests; `reserved_tags` of them are kept apart.

    Returns the struct blk_mq_tags, or None.
    """
    if total_tags > BLK_MQ_TAG_MAX:
        pr_err("blk-mq: tag depth too large")
        return NULL
    if (tags := kzalloc_node(blk_mq_tags, GFP_KERNEL, node)) is None:
        return NULL
    tags.nr_tags, tags.nr_reserved_tags = total_tags, reserved_tags
    return blk_mq_init_bitmap_tags(tags, node, alloc_policy)


def blk_mq_free_tags(tags: blk_mq_tags) -> None:
    """Free what blk_mq_init_tags() allocated."""
    sbitmap_queue_free(tags.bitmap_tags)
    sbitmap_queue_free(tags.breserved_tags)
    kfree(tags)


def blk_mq_tag_update_depth(hctx: blk_mq_hw_ctx, tags: blk_mq_tags, tdepth: int,
                            can_grow: bool) -> tuple[int, blk_mq_tags]:
    """Change how many tags may be used: fewer by narrowing the bitmap, more (a scheduler's only) by new tags.

    In C the tags are passed by reference. Returns (0, the tags to use from now on), or (-errno, tags): -EINVAL where
    only reserved tags would be left or the depth is too great, -ENOMEM.
    """
    if tdepth <= tags.nr_reserved_tags:
        return -EINVAL, tags
    if tdepth <= tags.nr_tags:
        sbitmap.sbitmap_queue_resize(tags.bitmap_tags, tdepth - tags.nr_reserved_tags)
        return 0, tags
    if not can_grow or tdepth > 16 * BLKDEV_MAX_RQ:
        return -EINVAL, tags

    set = hctx.queue.tag_set
    if (new := blk_mq.blk_mq_alloc_rq_map(set, hctx.queue_num, tdepth, tags.nr_reserved_tags)) is None:
        return -ENOMEM, tags
    if blk_mq.blk_mq_alloc_rqs(set, new, hctx.queue_num, tdepth):
        blk_mq.blk_mq_free_rq_map(new)
        return -ENOMEM, tags
    blk_mq.blk_mq_free_rqs(set, tags, hctx.queue_num)
    blk_mq.blk_mq_free_rq_map(tags)
    return 0, new

