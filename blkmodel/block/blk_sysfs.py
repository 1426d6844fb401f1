"""A queue in sysfs: its files, its place below its disk, and the end of its memory with its last reference."""

from blkmodel.block import bio as bio_module, blk_core, blk_mq, blk_mq_sysfs, blk_settings, blk_stat, elevator
from blkmodel.include.linux.blk_mq import BLK_MQ_POLL_CLASSIC, HCTX_TYPE_POLL, queue_for_each_hw_ctx
from blkmodel.include.linux.blkdev import (BLK_ZONED_HA, BLK_ZONED_HM, BLKDEV_MIN_RQ, QUEUE_FLAG_ADD_RANDOM,
    QUEUE_FLAG_DAX, QUEUE_FLAG_FUA, QUEUE_FLAG_INIT_DONE, QUEUE_FLAG_IO_STAT, QUEUE_FLAG_NOMERGES, QUEUE_FLAG_NONROT,
    QUEUE_FLAG_NOXMERGES, QUEUE_FLAG_POLL, QUEUE_FLAG_POLL_STATS, QUEUE_FLAG_REGISTERED, QUEUE_FLAG_SAME_COMP,
    QUEUE_FLAG_SAME_FORCE, QUEUE_FLAG_WC, UINT_MAX, blk_queue_dying, blk_queue_init_done, blk_queue_nomerges,
    blk_queue_noxmerges, blk_queue_registered, blk_queue_zoned_model, disk_to_dev, gendisk, queue_is_mq,
    queue_max_discard_segments, request_queue, test_bit)
from blkmodel.services import (EINVAL, EIO, ENOENT, ENXIO, INIT_WORK, KOBJ_ADD, KOBJ_REMOVE, WARN_ON, WARN_ONCE,
    attribute, attribute_group, bdi_put, call_rcu, cancel_delayed_work_sync, ida_simple_remove, jiffies_to_msecs,
    kmem_cache_free, kobj_type, kobject, kobject_add, kobject_del, kobject_get, kobject_put, kobject_uevent, kstrtoint,
    kstrtos64, kstrtou32, kstrtoul, msecs_to_jiffies, percpu_ref_switch_to_percpu, schedule_work, signed_int,
    sysfs_create_group, work_struct)
from blkmodel.sim import NULL

PAGE_SHIFT = 12


def queue_var_show(var: int) -> str:
    """A number as a file shows it."""
    return f"{int(var)}\n"


def queue_var_store(page: str, count: int) -> tuple[int, int]:
    """The number that was written to a file. Returns (number, bytes taken); (0, -EINVAL) for no number of 32 bits."""
    err, v = kstrtoul(page, 10)
    return (0, -EINVAL) if err or v > UINT_MAX else (v, count)


def queue_var_store64(page: str) -> tuple[int, int]:
    """Read a number of 64 bits, which may be negative. Returns it, and 0 or -errno."""
    err, v = kstrtos64(page, 10)
    return v, err


def queue_requests_show(q: request_queue) -> str:
    """nr_requests: how many requests the queue, or its scheduler, may have."""
    return queue_var_show(q.nr_requests)


def queue_requests_store(q: request_queue, page: str, count: int) -> int:
    """Change how many requests the queue, or its scheduler, may have; at least BLKDEV_MIN_RQ."""
    if not queue_is_mq(q):
        return -EINVAL
    nr, ret = queue_var_store(page, count)
    if ret < 0:
        return ret
    err = blk_mq.blk_mq_update_nr_requests(q, max(nr, BLKDEV_MIN_RQ))
    return err or ret


def queue_ra_show(q: request_queue) -> str:
    """read_ahead_kb: how far to read ahead, in KiB."""
    return queue_var_show(q.backing_dev_info.ra_pages << (PAGE_SHIFT - 10))


def queue_ra_store(q: request_queue, page: str, count: int) -> int:
    """Change how far to read ahead, in KiB; whole pages count."""
    ra_kb, ret = queue_var_store(page, count)
    if ret >= 0:
        q.backing_dev_info.ra_pages = ra_kb >> (PAGE_SHIFT - 10)
    return ret


def queue_max_sectors_show(q: request_queue) -> str:
    """max_sectors_kb: the longest request, in KiB, as user space may lower it."""
    return queue_var_show(q.limits.max_sectors >> 1)


def queue_max_sectors_store(q: request_queue, page: str, count: int) -> int:
    """Change the longest request, in KiB; between a page and what the device takes."""
    max_sectors_kb, ret = queue_var_store(page, count)
    if ret < 0:
        return ret
    most_kb = q.limits.max_hw_sectors >> 1
    if q.limits.max_dev_sectors:
        most_kb = min(most_kb, q.limits.max_dev_sectors >> 1)
    if max_sectors_kb > most_kb or max_sectors_kb < 1 << (PAGE_SHIFT - 10):
        return -EINVAL
    q.limits.max_sectors = max_sectors_kb << 1
    q.backing_dev_info.io_pages = max_sectors_kb >> (PAGE_SHIFT - 10)
    return ret


def queue_max_hw_sectors_show(q: request_queue) -> str:
    """max_hw_sectors_kb: the longest request that the device takes, in KiB."""
    return queue_var_show(q.limits.max_hw_sectors >> 1)


def queue_max_segments_show(q: request_queue) -> str:
    """max_segments: how many pieces of memory a request may have."""
    return queue_var_show(q.limits.max_segments)


def queue_max_discard_segments_show(q: request_queue) -> str:
    """max_discard_segments: how many ranges one request to discard may have."""
    return queue_var_show(queue_max_discard_segments(q))


def queue_max_integrity_segments_show(q: request_queue) -> str:
    """max_integrity_segments: how many pieces of memory a request's protection data may have."""
    return queue_var_show(q.limits.max_integrity_segments)


def queue_max_segment_size_show(q: request_queue) -> str:
    """max_segment_size: how long each may be, in bytes."""
    return queue_var_show(q.limits.max_segment_size)


def queue_logical_block_size_show(q: request_queue) -> str:
    """logical_block_size: the smallest unit of I/O, in bytes."""
    return queue_var_show(q.limits.logical_block_size)


def queue_physical_block_size_show(q: request_queue) -> str:
    """physical_block_size: the smallest unit that is written without reading, in bytes."""
    return queue_var_show(q.limits.physical_block_size)


def queue_chunk_sectors_show(q: request_queue) -> str:
    """chunk_sectors: a request is cut where a multiple of so many sectors ends; 0 for nowhere."""
    return queue_var_show(q.limits.chunk_sectors)


def queue_io_min_show(q: request_queue) -> str:
    """minimum_io_size: the smallest I/O that costs no more than it must, in bytes."""
    return queue_var_show(q.limits.io_min)


def queue_io_opt_show(q: request_queue) -> str:
    """optimal_io_size: the length that the device takes best, in bytes; 0 where it does not say."""
    return queue_var_show(q.limits.io_opt)


def queue_discard_granularity_show(q: request_queue) -> str:
    """discard_granularity: the smallest range that the device can discard, in bytes; 0 where it can't."""
    return queue_var_show(q.limits.discard_granularity)


def queue_discard_max_hw_show(q: request_queue) -> str:
    """discard_max_hw_bytes: the longest range that the device discards at once."""
    return f"{q.limits.max_hw_discard_sectors << 9}\n"


def queue_discard_max_show(q: request_queue) -> str:
    """discard_max_bytes: the longest range that is discarded at once, as user space may lower it."""
    return f"{q.limits.max_discard_sectors << 9}\n"


def queue_discard_max_store(q: request_queue, page: str, count: int) -> int:
    """Change the longest range that is discarded at once, in bytes: whole units of the device, and no more than it
    takes."""
    max_discard, ret = queue_var_store(page, count)
    if ret < 0:
        return ret
    if max_discard & (q.limits.discard_granularity - 1):
        return -EINVAL
    q.limits.max_discard_sectors = min(max_discard >> 9, q.limits.max_hw_discard_sectors)
    return ret


def queue_discard_zeroes_data_show(q: request_queue) -> str:
    """discard_zeroes_data: 0; whether what was discarded reads as zeroes is not told."""
    return queue_var_show(0)


def queue_write_same_max_show(q: request_queue) -> str:
    """write_same_max_bytes: the longest range that the device fills with copies of a block at once."""
    return f"{q.limits.max_write_same_sectors << 9}\n"


def queue_write_zeroes_max_show(q: request_queue) -> str:
    """write_zeroes_max_bytes: the longest range that the device fills with zeroes at once."""
    return f"{q.limits.max_write_zeroes_sectors << 9}\n"


class QUEUE_SYSFS_BIT_FNS:
    """What shows and changes one flag of a queue (in C a macro); neg: the file says the opposite."""

    def __init__(self, flag: int, neg: bool) -> None:
        self.flag, self.neg = flag, neg

    def show(self, q: request_queue) -> str:
        return queue_var_show(test_bit(self.flag, q.queue_flags) != self.neg)

    def store(self, q: request_queue, page: str, count: int) -> int:
        val, ret = queue_var_store(page, count)
        if ret >= 0:
            change = blk_core.blk_queue_flag_set if bool(val) != self.neg else blk_core.blk_queue_flag_clear
            change(self.flag, q)
        return ret


def queue_zoned_show(q: request_queue) -> str:
    """zoned: whether the device has zones that are written in order: `none`, `host-aware`, `host-managed`."""
    return {BLK_ZONED_HA: "host-aware\n", BLK_ZONED_HM: "host-managed\n"}.get(blk_queue_zoned_model(q), "none\n")


def queue_nr_zones_show(q: request_queue) -> str:
    """nr_zones: 0; the recorded kernel is built without zones."""
    return queue_var_show(0)


def queue_nomerges_show(q: request_queue) -> str:
    """nomerges: 2 for no merging at all, 1 for only what is cheap to find, 0 for all."""
    return queue_var_show(blk_queue_nomerges(q) << 1 | blk_queue_noxmerges(q))


def queue_nomerges_store(q: request_queue, page: str, count: int) -> int:
    """Change how much is merged: 2 for nothing, 1 for what is cheap to find, 0 for all."""
    nm, ret = queue_var_store(page, count)
    if ret < 0:
        return ret
    blk_core.blk_queue_flag_clear(QUEUE_FLAG_NOMERGES, q)
    blk_core.blk_queue_flag_clear(QUEUE_FLAG_NOXMERGES, q)
    if nm == 2:
        blk_core.blk_queue_flag_set(QUEUE_FLAG_NOMERGES, q)
    elif nm:
        blk_core.blk_queue_flag_set(QUEUE_FLAG_NOXMERGES, q)
    return ret


def queue_rq_affinity_show(q: request_queue) -> str:
    """rq_affinity: 0 to complete wherever the interrupt comes, 1 on the CPUs that share the submitter's cache, 2 on
    the very CPU."""
    same, force = test_bit(QUEUE_FLAG_SAME_COMP, q.queue_flags), test_bit(QUEUE_FLAG_SAME_FORCE, q.queue_flags)
    return queue_var_show(same << force)


def queue_rq_affinity_store(q: request_queue, page: str, count: int) -> int:
    """Change where requests are completed: 0, 1 or 2, as queue_rq_affinity_show() says."""
    val, ret = queue_var_store(page, count)
    if ret < 0:
        return ret
    if val == 2:
        blk_core.blk_queue_flag_set(QUEUE_FLAG_SAME_COMP, q)
        blk_core.blk_queue_flag_set(QUEUE_FLAG_SAME_FORCE, q)
    elif val == 1:
        blk_core.blk_queue_flag_set(QUEUE_FLAG_SAME_COMP, q)
        blk_core.blk_queue_flag_clear(QUEUE_FLAG_SAME_FORCE, q)
    elif val == 0:
        blk_core.blk_queue_flag_clear(QUEUE_FLAG_SAME_COMP, q)
        blk_core.blk_queue_flag_clear(QUEUE_FLAG_SAME_FORCE, q)
    return ret


def queue_poll_delay_show(q: request_queue) -> str:
    """io_poll_delay: how many microseconds to sleep before polling; 0 for half of what is usual, -1 for not at all."""
    val = q.poll_nsec if q.poll_nsec == BLK_MQ_POLL_CLASSIC else int(q.poll_nsec / 1000)
    return f"{val}\n"


def queue_poll_delay_store(q: request_queue, page: str, count: int) -> int:
    """Change how long to sleep before polling, in microseconds, where the driver can poll."""
    if q.mq_ops is None or q.mq_ops.poll is None:
        return -EINVAL
    err, val = kstrtoint(page, 10)
    if err < 0:
        return err
    if val == BLK_MQ_POLL_CLASSIC:
        q.poll_nsec = BLK_MQ_POLL_CLASSIC
    elif val >= 0:
        # 5.4: the product loses its upper bits, and may be negative then.
        q.poll_nsec = signed_int(val * 1000)
    else:
        return -EINVAL
    return count


def queue_poll_show(q: request_queue) -> str:
    """io_poll: whether who asks for it may poll for his I/O."""
    return queue_var_show(test_bit(QUEUE_FLAG_POLL, q.queue_flags))


def queue_poll_store(q: request_queue, page: str, count: int) -> int:
    """Change whether polling may be asked for, where the disk has queues to be polled."""
    tag_set = q.tag_set
    if tag_set is None or tag_set.nr_maps <= HCTX_TYPE_POLL or not tag_set.map[HCTX_TYPE_POLL].nr_queues:
        return -EINVAL
    poll_on, ret = queue_var_store(page, count)
    if ret >= 0:
        (blk_core.blk_queue_flag_set if poll_on else blk_core.blk_queue_flag_clear)(QUEUE_FLAG_POLL, q)
    return ret


def queue_io_timeout_show(q: request_queue) -> str:
    """io_timeout: how long a request may take, in milliseconds."""
    return queue_var_show(jiffies_to_msecs(q.rq_timeout))


def queue_io_timeout_store(q: request_queue, page: str, count: int) -> int:
    """Change how long a request may take, in milliseconds; -EINVAL for 0 or no number of 32 bits."""
    err, val = kstrtou32(page, 10)
    if err or val == 0:
        return -EINVAL
    blk_settings.blk_queue_rq_timeout(q, msecs_to_jiffies(val))
    return count


def queue_wc_show(q: request_queue) -> str:
    """write_cache: `write back` where the device has a volatile cache."""
    return "write back\n" if test_bit(QUEUE_FLAG_WC, q.queue_flags) else "write through\n"


def queue_wc_store(q: request_queue, page: str, count: int) -> int:
    """Change whether the device is taken to have a volatile cache, whatever it has: `write back`, or `write through`
    or `none`. The device is not told."""
    if page.startswith("write back"):
        blk_core.blk_queue_flag_set(QUEUE_FLAG_WC, q)
    elif page.startswith(("write through", "none")):
        blk_core.blk_queue_flag_clear(QUEUE_FLAG_WC, q)
    else:
        return -EINVAL
    return count


def queue_wb_lat_show(q: request_queue) -> int:
    """wbt_lat_usec: -EINVAL; the recorded kernel is built without throttling of writes."""
    return -EINVAL


def queue_wb_lat_store(q: request_queue, page: str, count: int) -> int:
    """Change when writes are throttled: -EINVAL, or -ERANGE for no number of 64 bits; there is nothing to change."""
    _, ret = queue_var_store64(page)
    return ret if ret < 0 else -EINVAL


def queue_fua_show(q: request_queue) -> str:
    """fua: whether the device can write past its volatile cache."""
    return queue_var_show(test_bit(QUEUE_FLAG_FUA, q.queue_flags))


def queue_dax_show(q: request_queue) -> str:
    """dax: whether the device is memory that can be mapped as it is."""
    return queue_var_show(test_bit(QUEUE_FLAG_DAX, q.queue_flags))


def queue_attr_visible(kobj: kobject, attr: attribute, n: int) -> int:
    """A file's mode; the time a request may take is only to be seen where the driver looks after that."""
    q = kobj._owner
    return 0 if attr is QUEUE_IO_TIMEOUT and (q.mq_ops is None or q.mq_ops.timeout is None) else attr.mode


def queue_attr_show(kobj: kobject, attr: attribute) -> str | int:
    """Read a file of a queue. Returns its text, -EIO for one that can't be read, -ENOENT for a dying queue."""
    if attr.show is None:
        return -EIO
    with kobj._owner.sysfs_lock:
        return -ENOENT if blk_queue_dying(kobj._owner) else attr.show(kobj._owner)


def queue_attr_store(kobj: kobject, attr: attribute, page: str, length: int) -> int:
    """Write a file of a queue. Returns the bytes taken, or -errno as for reading."""
    if attr.store is None:
        return -EIO
    with kobj._owner.sysfs_lock:
        return -ENOENT if blk_queue_dying(kobj._owner) else attr.store(kobj._owner, page, length)


def blk_free_queue_rcu(q: request_queue) -> None:
    """Free a queue's memory, when nobody can be reading it any more. (In C it is given the queue's rcu_head.)"""
    kmem_cache_free(blk_core.variables().blk_requestq_cachep, q)


def blk_exit_queue(q: request_queue) -> None:
    """Let go of the scheduler and of what writes back to the queue."""
    if q.elevator is not None:
        elevator.__elevator_exit(q, q.elevator)
        q.elevator = NULL
    bdi_put(q.backing_dev_info)


def __blk_release_queue(work: work_struct) -> None:
    """Free what a queue holds, and at last the queue."""
    q = work.data
    if test_bit(QUEUE_FLAG_POLL_STATS, q.queue_flags):
        blk_stat.blk_stat_remove_callback(q, q.poll_cb)
    blk_stat.blk_stat_free_callback(q.poll_cb)
    blk_stat.blk_free_queue_stats(q.stats)
    if queue_is_mq(q):
        cancel_delayed_work_sync(q.requeue_work)
        for hctx in queue_for_each_hw_ctx(q):
            cancel_delayed_work_sync(hctx.run_work)
    blk_exit_queue(q)
    if queue_is_mq(q):
        blk_mq.blk_mq_release(q)
    bio_module.bioset_exit(q.bio_split)
    ida_simple_remove(blk_core.variables().blk_queue_ida, q.id)
    call_rcu(lambda: blk_free_queue_rcu(q))


def blk_release_queue(kobj: kobject) -> None:
    """The last reference to a queue is gone. What is to do may sleep, so a worker does it."""
    q = kobj._owner
    INIT_WORK(q.release_work, __blk_release_queue, q)
    schedule_work(q.release_work)


def blk_register_queue(disk: gendisk) -> int:
    """Show a disk's queue in sysfs. From now on its usage counter is a per-CPU one. Returns 0 or -errno."""
    dev = disk_to_dev(disk)
    q = disk.queue
    if WARN_ON(q is None):
        return -ENXIO
    WARN_ONCE(blk_queue_registered(q), f"{dev.kobj.name} is registering an already registered queue")
    # a queue may be given up before this, when its disk turns out not to be there: then a cheap end matters more
    if not blk_queue_init_done(q):
        blk_core.blk_queue_flag_set(QUEUE_FLAG_INIT_DONE, q)
        percpu_ref_switch_to_percpu(q.q_usage_counter)
    with q.sysfs_dir_lock:
        if (ret := kobject_add(q.kobj, kobject_get(dev.kobj), "queue")) < 0:
            return ret
        if ret := sysfs_create_group(q.kobj, queue_attr_group):
            kobject_del(q.kobj)
            kobject_put(dev.kobj)
            return ret
        if queue_is_mq(q):
            blk_mq_sysfs.__blk_mq_register_dev(dev, q)
        with q.sysfs_lock:
            if q.elevator is not None:
                if ret := elevator.elv_register_queue(q, False):
                    kobject_del(q.kobj)
                    kobject_put(dev.kobj)
                    return ret
            blk_core.blk_queue_flag_set(QUEUE_FLAG_REGISTERED, q)
            kobject_uevent(q.kobj, KOBJ_ADD)
            if q.elevator is not None:
                kobject_uevent(q.elevator.kobj, KOBJ_ADD)
    return 0


def blk_unregister_queue(disk: gendisk) -> None:
    """Take a disk's queue out of sysfs, if it is there."""
    q = disk.queue
    if WARN_ON(q is None) or not blk_queue_registered(q):
        return
    with q.sysfs_lock:
        blk_core.blk_queue_flag_clear(QUEUE_FLAG_REGISTERED, q)
    with q.sysfs_dir_lock:
        if queue_is_mq(q):
            blk_mq_sysfs.blk_mq_unregister_dev(disk_to_dev(disk), q)
        kobject_uevent(q.kobj, KOBJ_REMOVE)
        kobject_del(q.kobj)
        with q.sysfs_lock:
            if q.elevator is not None:
                elevator.elv_unregister_queue(q)
    kobject_put(disk_to_dev(disk).kobj)


_nonrot, _random, _iostats = (QUEUE_SYSFS_BIT_FNS(QUEUE_FLAG_NONROT, True),
                               QUEUE_SYSFS_BIT_FNS(QUEUE_FLAG_ADD_RANDOM, False),
                               QUEUE_SYSFS_BIT_FNS(QUEUE_FLAG_IO_STAT, False))
QUEUE_IO_TIMEOUT = attribute("io_timeout", 0o644, queue_io_timeout_show, queue_io_timeout_store)
queue_attr_group = attribute_group(attrs=(
    attribute("nr_requests", 0o644, queue_requests_show, queue_requests_store),
    attribute("read_ahead_kb", 0o644, queue_ra_show, queue_ra_store),
    attribute("max_hw_sectors_kb", 0o444, queue_max_hw_sectors_show),
    attribute("max_sectors_kb", 0o644, queue_max_sectors_show, queue_max_sectors_store),
    attribute("max_segments", 0o444, queue_max_segments_show),
    attribute("max_discard_segments", 0o444, queue_max_discard_segments_show),
    attribute("max_integrity_segments", 0o444, queue_max_integrity_segments_show),
    attribute("max_segment_size", 0o444, queue_max_segment_size_show),
    attribute("scheduler", 0o644, lambda q: elevator.elv_iosched_show(q),
              lambda q, page, count: elevator.elv_iosched_store(q, page, count)),
    attribute("hw_sector_size", 0o444, queue_logical_block_size_show),
    attribute("logical_block_size", 0o444, queue_logical_block_size_show),
    attribute("physical_block_size", 0o444, queue_physical_block_size_show),
    attribute("chunk_sectors", 0o444, queue_chunk_sectors_show),
    attribute("minimum_io_size", 0o444, queue_io_min_show),
    attribute("optimal_io_size", 0o444, queue_io_opt_show),
    attribute("discard_granularity", 0o444, queue_discard_granularity_show),
    attribute("discard_max_bytes", 0o644, queue_discard_max_show, queue_discard_max_store),
    attribute("discard_max_hw_bytes", 0o444, queue_discard_max_hw_show),
    attribute("discard_zeroes_data", 0o444, queue_discard_zeroes_data_show),
    attribute("write_same_max_bytes", 0o444, queue_write_same_max_show),
    attribute("write_zeroes_max_bytes", 0o444, queue_write_zeroes_max_show),
    attribute("rotational", 0o644, _nonrot.show, _nonrot.store), attribute("zoned", 0o444, queue_zoned_show),
    attribute("nr_zones", 0o444, queue_nr_zones_show),
    attribute("nomerges", 0o644, queue_nomerges_show, queue_nomerges_store),
    attribute("rq_affinity", 0o644, queue_rq_affinity_show, queue_rq_affinity_store),
    attribute("iostats", 0o644, _iostats.show, _iostats.store),
    attribute("add_random", 0o644, _random.show, _random.store),
    attribute("io_poll", 0o644, queue_poll_show, queue_poll_store),
    attribute("write_cache", 0o644, queue_wc_show, queue_wc_store),
    attribute("fua", 0o444, queue_fua_show), attribute("dax", 0o444, queue_dax_show),
    attribute("wbt_lat_usec", 0o644, queue_wb_lat_show, queue_wb_lat_store),
    attribute("io_poll_delay", 0o644, queue_poll_delay_show, queue_poll_delay_store), QUEUE_IO_TIMEOUT,
), is_visible=queue_attr_visible)

blk_queue_ktype = kobj_type(release=blk_release_queue)
