"""How long hardware and software queues live: as long as their kobjects are held. What /sys shows is left out."""

from blkmodel.block import blk_flush
from blkmodel.include.linux.blk_mq import BLK_MQ_F_BLOCKING
from blkmodel.include.linux.kobject import kobj_type, kobject_get, kobject_init, kobject_put
from blkmodel.include.linux.percpu import free_percpu
from blkmodel.include.linux.sbitmap import sbitmap_free
from blkmodel.include.linux.slab import kfree
from blkmodel.include.linux.srcu import cleanup_srcu_struct


def blk_mq_sysfs_release(kobj):
    """Free all software queues of a request queue."""
    ctxs = kobj._owner
    free_percpu(ctxs.queue_ctx)
    kfree(ctxs)


def blk_mq_ctx_sysfs_release(kobj):
    """Let go of what holds all software queues: they are freed together, with the last one."""
    kobject_put(kobj._owner.ctxs.kobj)


def blk_mq_hw_sysfs_release(kobj):
    """Free a hardware queue."""
    hctx = kobj._owner
    if hctx.flags & BLK_MQ_F_BLOCKING:
        cleanup_srcu_struct(hctx.srcu)
    blk_flush.blk_free_flush_queue(hctx.fq)
    sbitmap_free(hctx.ctx_map)
    kfree(hctx.ctxs)
    kfree(hctx)


blk_mq_ktype = kobj_type(release=blk_mq_sysfs_release)
blk_mq_ctx_ktype = kobj_type(release=blk_mq_ctx_sysfs_release)
blk_mq_hw_ktype = kobj_type(release=blk_mq_hw_sysfs_release)


def blk_mq_hctx_kobj_init(hctx):
    """Let a hardware queue be held."""
    kobject_init(hctx.kobj, blk_mq_hw_ktype, hctx)


def blk_mq_sysfs_deinit(q):
    """Let go of a request queue's software queues."""
    for ctx in q.queue_ctx:
        kobject_put(ctx.kobj)
    kobject_put(q.mq_kobj)


def blk_mq_sysfs_init(q):
    """Let software queues be held, each holding what they are all part of."""
    kobject_init(q.mq_kobj, blk_mq_ktype, q.mq_kobj._owner)
    for ctx in q.queue_ctx:
        kobject_get(q.mq_kobj)
        kobject_init(ctx.kobj, blk_mq_ctx_ktype, ctx)
