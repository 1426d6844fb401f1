"""Hardware and software queues in sysfs: below a disk, `mq/3/cpu7` says that CPU 7 uses hardware queue 3.

The queues live as long as these objects are held.
"""

from blkmodel.block import blk_flush
from blkmodel.include.linux.blk_mq import BLK_MQ_F_BLOCKING, blk_mq_hw_ctx, queue_for_each_hw_ctx
from blkmodel.include.linux.blkdev import request_queue
from blkmodel.include.linux.sbitmap import sbitmap_free
from blkmodel.services import (KOBJ_ADD, KOBJ_REMOVE, attribute, cleanup_srcu_struct, device, for_each_cpu, free_percpu,
    kfree, kobj_type, kobject, kobject_add, kobject_del, kobject_get, kobject_init, kobject_put, kobject_uevent,
    sysfs_create_files)


def blk_mq_sysfs_release(kobj: kobject) -> None:
    """Free all software queues of a request queue."""
    ctxs = kobj._owner
    free_percpu(ctxs.queue_ctx)
    kfree(ctxs)


def blk_mq_ctx_sysfs_release(kobj: kobject) -> None:
    """Let go of what holds all software queues: they are freed together, with the last one."""
    kobject_put(kobj._owner.ctxs.kobj)


def blk_mq_hw_sysfs_release(kobj: kobject) -> None:
    """Free a hardware queue."""
    hctx = kobj._owner
    if hctx.flags & BLK_MQ_F_BLOCKING:
        cleanup_srcu_struct(hctx.srcu)
    blk_flush.blk_free_flush_queue(hctx.fq)
    sbitmap_free(hctx.ctx_map)
    kfree(hctx.ctxs)
    kfree(hctx)


def blk_mq_hw_sysfs_nr_tags_show(hctx: blk_mq_hw_ctx) -> str:
    """The file nr_tags: how many tags the hardware queue has."""
    return f"{hctx.tags.nr_tags}\n"


def blk_mq_hw_sysfs_nr_reserved_tags_show(hctx: blk_mq_hw_ctx) -> str:
    """The file nr_reserved_tags: how many of them are reserved."""
    return f"{hctx.tags.nr_reserved_tags}\n"


def blk_mq_hw_sysfs_cpus_show(hctx: blk_mq_hw_ctx) -> str:
    """The file cpu_list: the CPUs that use the hardware queue."""
    return ", ".join(str(cpu) for cpu in for_each_cpu(hctx.cpumask)) + "\n"


default_hw_ctx_attrs = (attribute("nr_tags", 0o444, blk_mq_hw_sysfs_nr_tags_show),
                        attribute("nr_reserved_tags", 0o444, blk_mq_hw_sysfs_nr_reserved_tags_show),
                        attribute("cpu_list", 0o444, blk_mq_hw_sysfs_cpus_show))
blk_mq_ktype = kobj_type(release=blk_mq_sysfs_release)
blk_mq_ctx_ktype = kobj_type(release=blk_mq_ctx_sysfs_release)
blk_mq_hw_ktype = kobj_type(release=blk_mq_hw_sysfs_release)


def blk_mq_unregister_hctx(hctx: blk_mq_hw_ctx) -> None:
    """Take a hardware queue and its software queues out of sysfs."""
    if not hctx.nr_ctx:
        return
    for ctx in hctx.ctxs[:hctx.nr_ctx]:
        kobject_del(ctx.kobj)
    kobject_del(hctx.kobj)


def blk_mq_register_hctx(hctx: blk_mq_hw_ctx) -> int:
    """Show a hardware queue that is used, with its software queues. Returns 0 or -errno."""
    if not hctx.nr_ctx:
        return 0
    if ret := kobject_add(hctx.kobj, hctx.queue.mq_kobj, str(hctx.queue_num)):
        return ret
    sysfs_create_files(hctx.kobj, default_hw_ctx_attrs)
    # 5.4: a software queue is shown below a queue of each type, holds them all, and lets go only of the last.
    for ctx in hctx.ctxs[:hctx.nr_ctx]:
        if ret := kobject_add(ctx.kobj, hctx.kobj, f"cpu{ctx.cpu}"):
            break
    return ret


def blk_mq_unregister_dev(dev: device, q: request_queue) -> None:
    """Take a disk's `mq` directory out of sysfs."""
    for hctx in queue_for_each_hw_ctx(q):
        blk_mq_unregister_hctx(hctx)
    kobject_uevent(q.mq_kobj, KOBJ_REMOVE)
    kobject_del(q.mq_kobj)
    kobject_put(dev.kobj)
    q.mq_sysfs_init_done = False


def blk_mq_hctx_kobj_init(hctx: blk_mq_hw_ctx) -> None:
    """Let a hardware queue be held."""
    kobject_init(hctx.kobj, blk_mq_hw_ktype, hctx)


def blk_mq_sysfs_deinit(q: request_queue) -> None:
    """Let go of a request queue's software queues."""
    for ctx in q.queue_ctx:
        kobject_put(ctx.kobj)
    kobject_put(q.mq_kobj)


def blk_mq_sysfs_init(q: request_queue) -> None:
    """Let software queues be held, each holding what they are all part of."""
    kobject_init(q.mq_kobj, blk_mq_ktype, q.mq_kobj._owner)
    for ctx in q.queue_ctx:
        kobject_get(q.mq_kobj)
        kobject_init(ctx.kobj, blk_mq_ctx_ktype, ctx)


def __blk_mq_register_dev(dev: device, q: request_queue) -> int:
    """Show a disk's `mq` directory. Returns 0 or -errno; then nothing is shown."""
    if (ret := kobject_add(q.mq_kobj, kobject_get(dev.kobj), "mq")) < 0:
        return ret
    kobject_uevent(q.mq_kobj, KOBJ_ADD)
    for i, hctx in enumerate(queue_for_each_hw_ctx(q)):
        if ret := blk_mq_register_hctx(hctx):
            for shown in reversed(q.queue_hw_ctx[:i]):
                blk_mq_unregister_hctx(shown)
            kobject_uevent(q.mq_kobj, KOBJ_REMOVE)
            kobject_del(q.mq_kobj)
            kobject_put(dev.kobj)
            return ret
    q.mq_sysfs_init_done = True
    return 0


def blk_mq_sysfs_unregister(q: request_queue) -> None:
    """Take the hardware queues out of sysfs while they change."""
    with q.sysfs_dir_lock:
        if q.mq_sysfs_init_done:
            for hctx in queue_for_each_hw_ctx(q):
                blk_mq_unregister_hctx(hctx)


def blk_mq_sysfs_register(q: request_queue) -> int:
    """Show the hardware queues in sysfs again, after they have changed. Returns 0 or -errno."""
    with q.sysfs_dir_lock:
        if not q.mq_sysfs_init_done:
            return 0
        for hctx in queue_for_each_hw_ctx(q):
            if ret := blk_mq_register_hctx(hctx):
                return ret
    return 0
