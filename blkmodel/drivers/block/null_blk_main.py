"""null_blk: disks without a medium, to see what the block layer itself does.

A disk completes what it is asked at once (irqmode 0), as an interrupt would (1), or after completion_nsec (2). One made
through configfs can keep its data in memory, behind a write cache. Left out: the mode that takes bios as they come
(queue_mode 0), bandwidth limits, and zones, which the reference kernel is configured without.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from blkmodel.block import blk_core, blk_mq, blk_settings, genhd
from blkmodel.drivers.block.null_blk_h import null_zone_init, nullb, nullb_cmd, nullb_device, nullb_queue
from blkmodel.errors import NotModelled
from blkmodel.include.linux.blk_mq import (BLK_EH_DONE, BLK_MQ_F_BLOCKING, BLK_MQ_F_NO_SCHED, BLK_MQ_F_SHOULD_MERGE,
    blk_mq_hw_ctx, blk_mq_ops, blk_mq_queue_data, blk_mq_rq_to_pdu, blk_mq_tag_set, queue_for_each_hw_ctx)
from blkmodel.include.linux.blkdev import (BLK_STS_IOERR, BLK_STS_OK, BLK_STS_RESOURCE, GENHD_FL_EXT_DEVT,
    GENHD_FL_SUPPRESS_PARTITION_INFO, QUEUE_FLAG_ADD_RANDOM, QUEUE_FLAG_DISCARD, QUEUE_FLAG_NONROT, REQ_FUA,
    REQ_OP_DISCARD, REQ_OP_FLUSH, SECTOR_SHIFT, UINT_MAX, blk_rq_bytes, blk_rq_pos, blk_rq_sectors,
    block_device_operations, gendisk, op_is_write, req_op, request, rq_for_each_segment, set_capacity)
from blkmodel.include.linux.fs import block_device
from blkmodel.reference.omission import no_chapter
from blkmodel.services import (BUG_ON, EBUSY, EINVAL, ENOMEM, ENOSPC, ERR_PTR, GFP_KERNEL, GFP_NOIO, HRTIMER_NORESTART,
    HZ, IS_ERR, NUMA_NO_NODE, WARN_ON, __free_page, alloc_page, badblocks_check, badblocks_clear, badblocks_exit,
    badblocks_init, badblocks_set, badblocks_show, config_item, config_item_init_type_name, config_item_put,
    config_item_type, configfs_register_subsystem, configfs_subsystem, configfs_unregister_subsystem, fault_attr,
    hrtimer, hrtimer_init, hrtimer_start, ida, ida_simple_get, ida_simple_remove, kcalloc, kernel_param, kfree,
    kstrtobool, kstrtoint, kstrtouint, kstrtoul, kzalloc, kzalloc_node, list_add_tail, list_del_init, list_empty,
    list_first_entry, list_head, mutex, nr_cpu_ids, nr_online_nodes, page as _page, param_set_bool,
    param_set_copystring, param_set_int, param_set_uint, param_set_ulong, pr_err, pr_info, pr_warn,
    radix_tree_delete_item, radix_tree_empty, radix_tree_gang_lookup, radix_tree_insert, radix_tree_lookup,
    setup_fault_attr, should_fail, signed_int, unsigned_int, unsigned_long)
from blkmodel.sim import NULL, PAGE_SIZE, Struct, sizeof, statics

OMITTED = no_chapter("""null_queue_bio null_handle_bio nullb_to_queue alloc_cmd __alloc_cmd free_cmd get_tag put_tag
                     setup_commands init_driver_queues""")
PAGE_SHIFT = 12
PAGE_SECTORS_SHIFT = PAGE_SHIFT - SECTOR_SHIFT
PAGE_SECTORS = 1 << PAGE_SECTORS_SHIFT
SECTOR_MASK, FREE_BATCH = PAGE_SECTORS - 1, 16

NULLB_DEV_FL_CONFIGURED, NULLB_DEV_FL_UP, NULLB_DEV_FL_THROTTLED, NULLB_DEV_FL_CACHE = range(4)
MAP_SZ = (PAGE_SIZE >> SECTOR_SHIFT) + 2
NULLB_PAGE_LOCK, NULLB_PAGE_FREE = MAP_SZ - 1, MAP_SZ - 2
NULL_IRQ_NONE, NULL_IRQ_SOFTIRQ, NULL_IRQ_TIMER = range(3)
NULL_Q_BIO, NULL_Q_RQ, NULL_Q_MQ = range(3)


class nullb_page(Struct, size=16):
    """A page of a disk's data. Bit n of bitmap: sector n of the page has data (for a larger block, its first one).

    NULLB_PAGE_LOCK: a page of the cache is being written back; NULLB_PAGE_FREE: meanwhile it was given up.
    """

    page: _page = NULL
    bitmap: int = 0


class variables(statics):
    """The module's parameters (g_* and two more), and what all its disks share. One set from load to unload.

    tag_set is for shared_tags; nullb_indexes are the numbers of disks.
    """

    def __init__(self) -> None:
        self.lock = mutex("&lock")
        self.nullb_list = list_head()
        self.null_major = 0
        self.nullb_indexes = ida()
        self.tag_set = blk_mq_tag_set()
        self.nullb_subsys = configfs_subsystem("nullb", nullb_group_make_item, nullb_group_drop_item,
                                               {"features": memb_group_features_show})
        self.g_no_sched = 0
        self.g_submit_queues = 1
        self.g_home_node = NUMA_NO_NODE
        self.g_queue_mode = NULL_Q_MQ
        self.g_gb = 250
        self.g_bs = 512
        self.nr_devices = 1
        self.g_blocking = False
        self.shared_tags = False
        self.g_irqmode = NULL_IRQ_SOFTIRQ
        self.g_completion_nsec = 10000
        self.g_hw_queue_depth = 64
        self.g_use_per_node_hctx = False
        self.g_zoned = False
        self.g_zone_size = 256
        self.g_zone_nr_conv = 0
        self.g_timeout_str = self.g_requeue_str = ""
        self.null_timeout_attr, self.null_requeue_attr = fault_attr(), fault_attr()

    def free_disks(self) -> None:
        """Take all disks away, and free their devices."""
        while not list_empty(self.nullb_list):
            disk = list_first_entry(self.nullb_list)
            dev = disk.dev
            null_del_dev(disk)
            null_free_dev(dev)


def null_param_store_val(text: str, min: int, max: int) -> tuple[int, int]:
    """Read a decimal number from min to max. Returns (0, value), or (-EINVAL, 0) for anything else."""
    ret, value = kstrtoint(text, 10)
    return (-EINVAL, 0) if ret or value < min or value > max else (0, value)


def null_set_queue_mode(text: str, kp: kernel_param) -> int:
    """Set parameter queue_mode. Returns 0 or -EINVAL."""
    ret, value = null_param_store_val(text, NULL_Q_BIO, NULL_Q_MQ)
    if not ret:
        variables().g_queue_mode = value
    return ret


def null_set_irqmode(text: str, kp: kernel_param) -> int:
    """Set parameter irqmode. Returns 0 or -EINVAL."""
    ret, value = null_param_store_val(text, NULL_IRQ_NONE, NULL_IRQ_TIMER)
    if not ret:
        variables().g_irqmode = value
    return ret


module_params = tuple(kernel_param(name, read, variables, field) for name, read, field in (
    ("no_sched", param_set_int, "g_no_sched"), ("submit_queues", param_set_int, "g_submit_queues"),
    ("home_node", param_set_int, "g_home_node"), ("queue_mode", null_set_queue_mode, "g_queue_mode"),
    ("gb", param_set_int, "g_gb"), ("bs", param_set_int, "g_bs"), ("nr_devices", param_set_uint, "nr_devices"),
    ("blocking", param_set_bool, "g_blocking"), ("shared_tags", param_set_bool, "shared_tags"),
    ("irqmode", null_set_irqmode, "g_irqmode"), ("completion_nsec", param_set_ulong, "g_completion_nsec"),
    ("hw_queue_depth", param_set_int, "g_hw_queue_depth"),
    ("use_per_node_hctx", param_set_bool, "g_use_per_node_hctx"), ("zoned", param_set_bool, "g_zoned"),
    ("zone_size", param_set_ulong, "g_zone_size"), ("zone_nr_conv", param_set_uint, "g_zone_nr_conv"),
    ("timeout", param_set_copystring, "g_timeout_str"), ("requeue", param_set_copystring, "g_requeue_str")))


# A device made through configfs

def nullb_device_uint_attr_show(val: int) -> str:
    """An unsigned number as a file shows it."""
    return f"{unsigned_int(val)}\n"


def nullb_device_ulong_attr_show(val: int) -> str:
    """An unsigned long number as a file shows it."""
    return f"{unsigned_long(val)}\n"


def nullb_device_bool_attr_show(val: bool) -> str:
    """A truth value as a file shows it."""
    return f"{int(val)}\n"


def nullb_device_uint_attr_store(page: str, count: int) -> tuple[int, int]:
    """Read an unsigned number. Returns (count, value) or (-errno, None)."""
    result, value = kstrtouint(page, 0)
    return (result or count), value


def nullb_device_ulong_attr_store(page: str, count: int) -> tuple[int, int]:
    """Read an unsigned long number. Returns (count, value) or (-errno, None)."""
    result, value = kstrtoul(page, 0)
    return (result or count), value


def nullb_device_bool_attr_store(page: str, count: int) -> tuple[int, bool]:
    """Read a truth value. Returns (count, value) or (-errno, None)."""
    result, value = kstrtobool(page)
    return (result or count), value


class NULLB_DEVICE_ATTR:
    """A file that shows field `name` of a device, and sets it while the device is off. (In C two functions that a macro
    writes out.)"""

    def __init__(self, name: str, shown: Callable[[Any], str], read: Callable[[str, int], tuple[int, int]]) -> None:
        self.name, self.shown, self.read = name, shown, read

    def show(self, item: config_item) -> str:
        return self.shown(getattr(item._owner, self.name))

    def store(self, item: config_item, page: str, count: int) -> int:
        """Set the field from a text. Returns count; -EBUSY while the device is on, -errno for a wrong text."""
        dev = item._owner
        if dev.flags >> NULLB_DEV_FL_CONFIGURED & 1:
            return -EBUSY
        ret, value = self.read(page, count)
        if ret >= 0:
            setattr(dev, self.name, value)
        return ret


def nullb_device_power_show(item: config_item) -> str:
    """power: whether the device is on."""
    return nullb_device_bool_attr_show(item._owner.power)


def nullb_device_power_store(item: config_item, page: str, count: int) -> int:
    """Turn a device on (1), which makes its disk, or off (0), which takes the disk away but keeps the data.

    Returns count; -ENOMEM where the disk can't be made, for whatever reason; -EINVAL for another text.
    """
    dev = item._owner
    ret, newp = nullb_device_bool_attr_store(page, count)
    if ret < 0:
        return ret

    if newp and not dev.power:
        dev.flags |= 1 << NULLB_DEV_FL_UP
        if null_add_dev(dev):
            dev.flags &= ~(1 << NULLB_DEV_FL_UP)
            return -ENOMEM
        dev.flags |= 1 << NULLB_DEV_FL_CONFIGURED
        dev.power = newp
    elif dev.power and not newp:
        dev.flags &= ~(1 << NULLB_DEV_FL_UP)
        dev.power = newp
        with variables().lock:
            null_del_dev(dev.nullb)
        dev.flags &= ~(1 << NULLB_DEV_FL_CONFIGURED)
    return count


def nullb_device_badblocks_show(item: config_item) -> str:
    """badblocks: the ranges of sectors that can't be read or written."""
    return badblocks_show(item._owner.badblocks, 0)


def nullb_device_badblocks_store(item: config_item, page: str, count: int) -> int:
    """Make sectors bad ("+16-23"), or good again ("-16-23"). Returns count, or -errno for another text."""
    bb, buf = item._owner.badblocks, page.strip()
    start_text, dash, end_text = buf[1:].partition("-")
    if buf[:1] not in ("+", "-") or not dash:
        return -EINVAL
    ret, start = kstrtoul(start_text, 0)
    if ret:
        return ret
    ret, end = kstrtoul(end_text, 0)
    if ret:
        return ret
    if start > end:
        return -EINVAL
    bb.shift = 0
    return (badblocks_set if buf[0] == "+" else badblocks_clear)(bb, start, end - start + 1) or count


def nullb_device_release(item: config_item) -> None:
    """The device's directory is gone: free its data and itself."""
    dev = item._owner
    null_free_device_storage(dev, False)
    null_free_dev(dev)


_attrs = [NULLB_DEVICE_ATTR(name, show, store) for names, show, store in (
    ("size completion_nsec cache_size zone_size", nullb_device_ulong_attr_show, nullb_device_ulong_attr_store),
    ("submit_queues home_node queue_mode blocksize irqmode hw_queue_depth index zone_nr_conv",
     nullb_device_uint_attr_show, nullb_device_uint_attr_store),
    ("blocking use_per_node_hctx memory_backed discard zoned", nullb_device_bool_attr_show,
     nullb_device_bool_attr_store)) for name in names.split()]
nullb_device_type = config_item_type(nullb_device_release, {
    **{attr.name: (attr.show, attr.store) for attr in _attrs},
    "power": (nullb_device_power_show, nullb_device_power_store),
    "badblocks": (nullb_device_badblocks_show, nullb_device_badblocks_store)})


def nullb_group_make_item(group: configfs_subsystem, name: str) -> config_item:
    """A directory has been made: allocate a device, which is off. Returns its config_item or ERR_PTR(-ENOMEM)."""
    if (dev := null_alloc_dev()) is None:
        return ERR_PTR(-ENOMEM)
    config_item_init_type_name(dev.item, name, nullb_device_type, dev)
    return dev.item


def nullb_group_drop_item(group: configfs_subsystem, item: config_item) -> None:
    """A directory is removed: turn its device off, and let it go."""
    dev = item._owner
    if dev.flags >> NULLB_DEV_FL_UP & 1:
        dev.flags &= ~(1 << NULLB_DEV_FL_UP)
        dev.power = False
        with variables().lock:
            null_del_dev(dev.nullb)
    config_item_put(item)


def memb_group_features_show(item: config_item) -> str:
    """features: what devices can be set up to do."""
    return "memory_backed,discard,bandwidth,cache,badblocks,zoned,zone_size\n"


def null_cache_active(nullb: nullb) -> bool:
    """Whether the device has a write cache."""
    return bool(nullb.dev.flags >> NULLB_DEV_FL_CACHE & 1)


def null_alloc_dev() -> nullb_device:
    """Allocate a device as the module's parameters say. Returns the nullb_device or None."""
    g, dev = variables(), kzalloc(nullb_device, GFP_KERNEL)
    if dev is None:
        return NULL
    if badblocks_init(dev.badblocks, 0):
        kfree(dev)
        return NULL

    dev.size = unsigned_long(signed_int(g.g_gb * 1024))
    dev.blocksize, dev.hw_queue_depth = unsigned_int(g.g_bs), unsigned_int(g.g_hw_queue_depth)
    for name in ("completion_nsec", "submit_queues", "home_node", "queue_mode", "irqmode", "blocking", "zoned",
                 "zone_size", "zone_nr_conv", "use_per_node_hctx"):
        setattr(dev, name, getattr(g, f"g_{name}"))
    return dev


def null_free_dev(dev: nullb_device) -> None:
    """Free a device that has no disk."""
    if dev is None:
        return
    badblocks_exit(dev.badblocks)
    kfree(dev)


# Commands

def end_cmd(cmd: nullb_cmd) -> None:
    """A command is done: complete its request."""
    blk_mq.blk_mq_end_request(cmd.rq, cmd.error)


def null_cmd_timer_expired(timer: hrtimer) -> int:
    """A command's time has passed."""
    end_cmd(timer.data)
    return HRTIMER_NORESTART


def null_cmd_end_timer(cmd: nullb_cmd) -> None:
    """Let a command be done in completion_nsec."""
    hrtimer_start(cmd.timer, cmd.nq.dev.completion_nsec)


def null_complete_rq(rq: request) -> None:
    """The core says, on the right CPU: the request is complete."""
    end_cmd(blk_mq_rq_to_pdu(rq, nullb_cmd))


# Data in memory

def null_alloc_page(gfp_flags: int) -> nullb_page:
    """Allocate a page for data. Returns the nullb_page or None."""
    if (t_page := kzalloc(nullb_page, gfp_flags)) is None:
        return NULL
    t_page.page = alloc_page(gfp_flags)
    if t_page.page is None:
        kfree(t_page)
        return NULL
    return t_page


def null_free_page(t_page: nullb_page) -> None:
    """Free a page; one that is being written back is only marked, and freed then."""
    t_page.bitmap |= 1 << NULLB_PAGE_FREE
    if t_page.bitmap >> NULLB_PAGE_LOCK & 1:
        return
    __free_page(t_page.page)
    kfree(t_page)


def null_page_empty(page: nullb_page) -> bool:
    """Whether no sector of the page has data."""
    return page.bitmap & (1 << MAP_SZ - 2) - 1 == 0


def null_free_sector(nullb: nullb, sector: int, is_cache: bool) -> None:
    """Forget a block's data (in the cache, or on the disk), and its page when it was the last."""
    dev = nullb.dev
    root = dev.cache if is_cache else dev.data
    idx = sector >> PAGE_SECTORS_SHIFT
    if t_page := radix_tree_lookup(root, idx):
        t_page.bitmap &= ~(1 << (sector & SECTOR_MASK))
        if null_page_empty(t_page):
            ret = radix_tree_delete_item(root, idx, t_page)
            WARN_ON(ret is not t_page, "null_blk: another page was where this one is")
            null_free_page(ret)
            if is_cache:
                dev.curr_cache -= PAGE_SIZE


def null_radix_tree_insert(nullb: nullb, idx: int, t_page: nullb_page, is_cache: bool) -> nullb_page:
    """Put a page at its number; where there is one, free this. Returns the page that is there."""
    dev = nullb.dev
    root = dev.cache if is_cache else dev.data
    if radix_tree_insert(root, idx, t_page):
        null_free_page(t_page)
        t_page = radix_tree_lookup(root, idx)
        WARN_ON(t_page is None or t_page.page.index != idx, "null_blk: a page is at a wrong number")
    elif is_cache:
        dev.curr_cache += PAGE_SIZE
    return t_page


def null_free_device_storage(dev: nullb_device, is_cache: bool) -> None:
    """Free all pages of the cache, or of the disk."""
    pos = 0
    root = dev.cache if is_cache else dev.data
    while True:
        t_pages = radix_tree_gang_lookup(root, pos, FREE_BATCH)
        for t_page in t_pages:
            pos = t_page.page.index
            ret = radix_tree_delete_item(root, pos, t_page)
            WARN_ON(ret is not t_page, "null_blk: another page was where this one is")
            null_free_page(ret)
        pos += 1
        if len(t_pages) < FREE_BATCH:
            break
    if is_cache:
        dev.curr_cache = 0


def __null_lookup_page(nullb: nullb, sector: int, for_write: bool, is_cache: bool) -> nullb_page:
    """The page of a sector (in the cache, or on the disk), or None; to be read, only if the sector has data."""
    idx = sector >> PAGE_SECTORS_SHIFT
    t_page = radix_tree_lookup(nullb.dev.cache if is_cache else nullb.dev.data, idx)
    WARN_ON(t_page is not None and t_page.page.index != idx, "null_blk: a page is at a wrong number")
    return t_page if t_page and (for_write or t_page.bitmap >> (sector & SECTOR_MASK) & 1) else NULL


def null_lookup_page(nullb: nullb, sector: int, for_write: bool, ignore_cache: bool) -> nullb_page:
    """The page of a sector: from the cache, unless that is to be ignored, else from the disk; or None."""
    page = NULL if ignore_cache else __null_lookup_page(nullb, sector, for_write, True)
    return page or __null_lookup_page(nullb, sector, for_write, False)


def null_insert_page(nullb: nullb, sector: int, ignore_cache: bool) -> nullb_page:
    """The page of a sector to be written, made if need be (ignore_cache: on the disk). Returns it, or None."""
    if t_page := null_lookup_page(nullb, sector, True, ignore_cache):
        return t_page
    if (t_page := null_alloc_page(GFP_NOIO)) is None:
        return null_lookup_page(nullb, sector, True, ignore_cache)
    idx = sector >> PAGE_SECTORS_SHIFT
    t_page.page.index = idx
    return null_radix_tree_insert(nullb, idx, t_page, not ignore_cache)


def null_flush_cache_page(nullb: nullb, c_page: nullb_page) -> int:
    """Write a page of the cache to the disk, and free it. Returns 0 or -ENOMEM."""
    dev, idx = nullb.dev, c_page.page.index
    t_page = null_insert_page(nullb, idx << PAGE_SECTORS_SHIFT, True)

    c_page.bitmap &= ~(1 << NULLB_PAGE_LOCK)
    if c_page.bitmap >> NULLB_PAGE_FREE & 1:
        null_free_page(c_page)
        if t_page and null_page_empty(t_page):
            radix_tree_delete_item(dev.data, idx, t_page)
            null_free_page(t_page)
        return 0
    if t_page is None:
        return -ENOMEM

    for i in range(0, PAGE_SECTORS, dev.blocksize >> SECTOR_SHIFT):
        if c_page.bitmap >> i & 1:
            offset = i << SECTOR_SHIFT
            t_page.page.write(offset, c_page.page.read(offset, dev.blocksize))
            t_page.bitmap |= 1 << i

    null_free_page(radix_tree_delete_item(dev.cache, idx, c_page))
    dev.curr_cache -= PAGE_SIZE
    return 0


def null_make_cache_space(nullb: nullb, n: int) -> int:
    """Write back pages of the cache until n bytes are free in it. Returns 0 or -ENOMEM."""
    dev, flushed, before = nullb.dev, 0, -1
    while not (dev.cache_size * 1024 * 1024 > dev.curr_cache + n or dev.curr_cache == 0):
        c_pages = radix_tree_gang_lookup(dev.cache, nullb.cache_flush_pos, FREE_BATCH)
        locked = []
        for c_page in c_pages:
            nullb.cache_flush_pos = c_page.page.index
            if not c_page.bitmap >> NULLB_PAGE_LOCK & 1:
                c_page.bitmap |= 1 << NULLB_PAGE_LOCK
                locked.append(c_page)
        for c_page in locked:
            if err := null_flush_cache_page(nullb, c_page):
                return err  # 5.4: the rest of them stay locked, and are passed over from now on.
        flushed += len(locked) << PAGE_SHIFT
        if n <= flushed:
            break
        if not c_pages:
            nullb.cache_flush_pos = 0
        # 5.4: where the last page stays locked, it finds that one again and again, and never ends.
        BUG_ON(not locked and nullb.cache_flush_pos == before, "null_make_cache_space() looks for ever for a free page")
        before = nullb.cache_flush_pos
    return 0


def copy_to_nullb(nullb: nullb, source: _page, off: int, sector: int, n: int, is_fua: bool) -> int:
    """Write n bytes, from `off` of a page, to a sector on; is_fua: past the cache. Returns 0 or -ENOSPC."""
    dev, count = nullb.dev, 0
    while count < n:
        temp = min(dev.blocksize, n - count)
        if null_cache_active(nullb) and not is_fua:
            null_make_cache_space(nullb, PAGE_SIZE)

        offset = (sector & SECTOR_MASK) << SECTOR_SHIFT
        if (t_page := null_insert_page(nullb, sector, not null_cache_active(nullb) or is_fua)) is None:
            return -ENOSPC
        t_page.page.write(offset, source.read(off + count, temp))
        t_page.bitmap |= 1 << (sector & SECTOR_MASK)
        if is_fua:
            null_free_sector(nullb, sector, True)

        count += temp
        sector += temp >> SECTOR_SHIFT
    return 0


def copy_from_nullb(nullb: nullb, dest: _page, off: int, sector: int, n: int) -> int:
    """Read n bytes, from a sector on, to `off` of a page; what was never written is zeros. Returns 0."""
    dev, count = nullb.dev, 0
    while count < n:
        temp = min(dev.blocksize, n - count)
        offset = (sector & SECTOR_MASK) << SECTOR_SHIFT
        t_page = null_lookup_page(nullb, sector, False, not null_cache_active(nullb))
        dest.write(off + count, t_page.page.read(offset, temp) if t_page else bytes(temp))
        count += temp
        sector += temp >> SECTOR_SHIFT
    return 0


def null_handle_discard(nullb: nullb, sector: int, n: int) -> None:
    """Forget n bytes of data from a sector on."""
    dev = nullb.dev
    while n > 0:
        temp = min(n, dev.blocksize)
        null_free_sector(nullb, sector, False)
        if null_cache_active(nullb):
            null_free_sector(nullb, sector, True)
        sector += temp >> SECTOR_SHIFT
        n -= temp


def null_handle_flush(nullb: nullb) -> int:
    """Write the whole cache to the disk. Returns 0 or -ENOMEM."""
    dev = nullb.dev
    if not null_cache_active(nullb):
        return 0
    while True:
        if (err := null_make_cache_space(nullb, dev.cache_size * 1024 * 1024)) or dev.curr_cache == 0:
            break
    WARN_ON(not radix_tree_empty(dev.cache), "null_blk: the cache is not empty after a flush")
    return err


def null_transfer(nullb: nullb, page: _page, len: int, off: int, is_write: bool, sector: int, is_fua: bool) -> int:
    """Move `len` bytes between a page and the disk. Returns 0 or -errno."""
    if is_write:
        return copy_to_nullb(nullb, page, off, sector, len, is_fua)
    return copy_from_nullb(nullb, page, off, sector, len)


def null_handle_rq(cmd: nullb_cmd) -> int:
    """Move a request's data. Returns 0 or -errno."""
    rq, nullb = cmd.rq, cmd.nq.dev.nullb
    sector = blk_rq_pos(rq)
    if req_op(rq) == REQ_OP_DISCARD:
        null_handle_discard(nullb, sector, blk_rq_bytes(rq))
        return 0
    for bvec in rq_for_each_segment(rq):
        err = null_transfer(nullb, bvec.bv_page, bvec.bv_len, bvec.bv_offset, op_is_write(req_op(rq)), sector,
                            bool(rq.cmd_flags & REQ_FUA))
        if err:
            return err
        sector += bvec.bv_len >> SECTOR_SHIFT
    return 0


def null_handle_badblocks(cmd: nullb_cmd, sector: int, nr_sectors: int) -> int:
    """The status of a command for these sectors: an error where one of them is bad."""
    return BLK_STS_IOERR if badblocks_check(cmd.nq.dev.badblocks, sector, nr_sectors) else BLK_STS_OK


def null_handle_memory_backed(cmd: nullb_cmd, op: int) -> int:
    """Move a command's data. Returns its status."""
    return blk_core.errno_to_blk_status(null_handle_rq(cmd))


# The data path

def nullb_complete_cmd(cmd: nullb_cmd) -> None:
    """Let a command be done: at once, through the core's completion, or when its timer expires."""
    dev = cmd.nq.dev
    if dev.irqmode == NULL_IRQ_TIMER:
        null_cmd_end_timer(cmd)
    elif dev.irqmode == NULL_IRQ_SOFTIRQ:
        blk_mq.blk_mq_complete_request(cmd.rq)
    else:
        end_cmd(cmd)


def null_handle_cmd(cmd: nullb_cmd, sector: int, nr_sectors: int, op: int) -> int:
    """Do what a command asks, and complete it. Returns BLK_STS_OK; whether it went well is in cmd.error."""
    dev = cmd.nq.dev
    if op == REQ_OP_FLUSH:
        cmd.error = blk_core.errno_to_blk_status(null_handle_flush(dev.nullb))
    else:
        if dev.badblocks.shift != -1:
            cmd.error = null_handle_badblocks(cmd, sector, nr_sectors)
        if cmd.error == BLK_STS_OK and dev.memory_backed:
            cmd.error = null_handle_memory_backed(cmd, op)
    nullb_complete_cmd(cmd)
    return BLK_STS_OK


def should_timeout_request(rq: request) -> bool:
    """Whether the parameter `timeout` wants the request to be forgotten."""
    g = variables()
    return g.g_timeout_str != "" and should_fail(g.null_timeout_attr, 1)


def should_requeue_request(rq: request) -> bool:
    """Whether the parameter `requeue` wants the request to be sent back."""
    g = variables()
    return g.g_requeue_str != "" and should_fail(g.null_requeue_attr, 1)


def null_timeout_rq(rq: request, res: bool) -> int:
    """A request has taken too long: complete it."""
    pr_info(f"null_blk: rq {rq._addr:#x} timed out")
    blk_mq.blk_mq_complete_request(rq)
    return BLK_EH_DONE


def null_queue_rq(hctx: blk_mq_hw_ctx, bd: blk_mq_queue_data) -> int:
    """Take a request, in multi-queue mode. Returns BLK_STS_OK, or BLK_STS_RESOURCE where it pretends to be busy."""
    cmd, nq = blk_mq_rq_to_pdu(bd.rq, nullb_cmd), hctx.driver_data

    if nq.dev.irqmode == NULL_IRQ_TIMER:
        hrtimer_init(cmd.timer, cmd)
        cmd.timer.function = null_cmd_timer_expired
    cmd.rq, cmd.error, cmd.nq = bd.rq, BLK_STS_OK, nq

    blk_mq.blk_mq_start_request(bd.rq)
    if should_requeue_request(bd.rq):
        nq.requeue_selection += 1  # one time the core tries again, one time the driver asks for it
        if nq.requeue_selection & 1:
            return BLK_STS_RESOURCE
        blk_mq.blk_mq_requeue_request(bd.rq, True)
        return BLK_STS_OK
    if should_timeout_request(bd.rq):
        return BLK_STS_OK
    return null_handle_cmd(cmd, blk_rq_pos(bd.rq), blk_rq_sectors(bd.rq), req_op(bd.rq))


null_mq_ops = blk_mq_ops(queue_rq=null_queue_rq, complete=null_complete_rq, timeout=null_timeout_rq)


# Devices come and go

def cleanup_queue(nq: nullb_queue) -> None:
    """Free a queue's commands."""
    kfree(nq.tag_map)
    kfree(nq.cmds)


def cleanup_queues(nullb: nullb) -> None:
    """Free a device's queues."""
    for i in range(nullb.nr_queues):
        cleanup_queue(nullb.queues[i])
    kfree(nullb.queues)


def null_del_dev(nullb: nullb) -> None:
    """Take a device's disk away; the nullb_device stays."""
    if nullb is None:
        return
    dev = nullb.dev
    ida_simple_remove(variables().nullb_indexes, nullb.index)
    list_del_init(nullb, "list")
    genhd.del_gendisk(nullb.disk)
    blk_core.blk_cleanup_queue(nullb.q)
    if nullb.tag_set is nullb._tag_set:
        blk_mq.blk_mq_free_tag_set(nullb.tag_set)
    genhd.put_disk(nullb.disk)
    cleanup_queues(nullb)
    if null_cache_active(nullb):
        null_free_device_storage(dev, True)
    kfree(nullb)
    dev.nullb = NULL


def null_config_discard(nullb: nullb) -> None:
    """Let the queue discard, where the device can."""
    if not nullb.dev.discard:
        return
    nullb.q.limits.discard_granularity = nullb.q.limits.discard_alignment = nullb.dev.blocksize
    blk_settings.blk_queue_max_discard_sectors(nullb.q, UINT_MAX >> SECTOR_SHIFT)
    blk_core.blk_queue_flag_set(QUEUE_FLAG_DISCARD, nullb.q)


def null_open(bdev: block_device, mode: int) -> int:
    """Opening needs nothing. Returns 0."""
    return 0


def null_release(disk: gendisk, mode: int) -> None:
    """Closing needs nothing."""


null_fops = block_device_operations(open=null_open, release=null_release)


def null_init_queue(nullb: nullb, nq: nullb_queue) -> None:
    """Tell a queue whose it is, and how deep."""
    nq.queue_depth, nq.dev = nullb.queue_depth, nullb.dev


def null_init_queues(nullb: nullb) -> None:
    """Give each hardware queue that is in use the driver's queue of the same number."""
    for i, hctx in enumerate(queue_for_each_hw_ctx(nullb.q)):
        if not hctx.nr_ctx or not hctx.tags:
            continue
        # 5.4: with shared_tags there are as many as submit_queues of the module says, which may be more than the
        # device's own.
        BUG_ON(i >= len(nullb.queues), "null_blk sets up a queue behind the end of its device's")
        nq = nullb.queues[i]
        hctx.driver_data = nq
        null_init_queue(nullb, nq)
        nullb.nr_queues += 1


def setup_queues(nullb: nullb) -> int:
    """Allocate a device's queues. Returns 0 or -ENOMEM."""
    nullb.queues = kcalloc(nullb.dev.submit_queues, nullb_queue, GFP_KERNEL)
    if nullb.queues is None:
        return -ENOMEM
    nullb.queue_depth = nullb.dev.hw_queue_depth
    return 0


def null_gendisk_register(nullb: nullb) -> int:
    """Make the disk, and let it be seen. Returns 0 or -ENOMEM."""
    dev = nullb.dev
    disk = nullb.disk = genhd.__alloc_disk_node(1, dev.home_node)
    if disk is None:
        return -ENOMEM
    set_capacity(disk, unsigned_long(dev.size * 1024 * 1024) >> SECTOR_SHIFT)

    disk.flags |= GENHD_FL_EXT_DEVT | GENHD_FL_SUPPRESS_PARTITION_INFO
    disk.major, disk.first_minor, disk.fops = variables().null_major, nullb.index, null_fops
    disk.private_data, disk.queue, disk.disk_name = nullb, nullb.q, nullb.disk_name
    genhd.device_add_disk(NULL, disk, NULL)
    return 0


def null_init_tag_set(nullb: nullb, set: blk_mq_tag_set) -> int:
    """Allocate tags for one device, or (nullb None) for all of them. Returns 0 or -errno."""
    g = variables()
    set.ops, set.cmd_size, set.driver_data = null_mq_ops, sizeof(nullb_cmd), None
    set.nr_hw_queues = nullb.dev.submit_queues if nullb else g.g_submit_queues
    set.queue_depth = nullb.dev.hw_queue_depth if nullb else unsigned_int(g.g_hw_queue_depth)
    set.numa_node = nullb.dev.home_node if nullb else g.g_home_node
    set.flags = BLK_MQ_F_SHOULD_MERGE | (BLK_MQ_F_NO_SCHED if g.g_no_sched else 0)
    if (nullb and nullb.dev.blocking) or g.g_blocking:
        set.flags |= BLK_MQ_F_BLOCKING
    return blk_mq.blk_mq_alloc_tag_set(set)


def null_validate_conf(dev: nullb_device) -> None:
    """Move a device's settings to what there can be."""
    dev.blocksize = min(max(dev.blocksize // 512 * 512, 512), 4096)

    if dev.queue_mode == NULL_Q_MQ and dev.use_per_node_hctx:
        dev.submit_queues = nr_online_nodes()
    elif dev.submit_queues > nr_cpu_ids():
        dev.submit_queues = nr_cpu_ids()
    elif dev.submit_queues == 0:
        dev.submit_queues = 1

    dev.queue_mode = min(dev.queue_mode, NULL_Q_MQ)
    dev.irqmode = min(dev.irqmode, NULL_IRQ_TIMER)
    if dev.memory_backed:
        dev.blocking = True  # it allocates memory for data, and that may sleep
    else:
        dev.cache_size = 0


def __null_setup_fault(attr: fault_attr, text: str) -> bool:
    """Read one of the parameters `timeout` and `requeue`; return whether it makes sense."""
    return not text or bool(setup_fault_attr(attr, text))


def null_setup_fault() -> bool:
    """Read the parameters `timeout` and `requeue`; return whether they make sense."""
    g = variables()
    return (__null_setup_fault(g.null_timeout_attr, g.g_timeout_str)
            and __null_setup_fault(g.null_requeue_attr, g.g_requeue_str))


def null_add_dev(dev: nullb_device) -> int:
    """Make a device's disk. Returns 0 or -errno; then nothing of it is left but the number of the disk, if it had one.

    One function, as in C; what is undone where a step fails is written once.
    """
    null_validate_conf(dev)
    if dev.queue_mode == NULL_Q_BIO:
        raise NotModelled("null_blk's queue_mode 0")
    g = variables()

    if (nb := kzalloc_node(nullb, GFP_KERNEL, dev.home_node)) is None:
        return -ENOMEM
    nb.dev, dev.nullb = dev, nb

    with ExitStack() as undo:
        undo.callback(setattr, dev, "nullb", None)
        undo.callback(kfree, nb)
        if rv := setup_queues(nb):
            return rv
        undo.callback(cleanup_queues, nb)

        nb.tag_set = g.tag_set if g.shared_tags else nb._tag_set
        if not g.shared_tags:
            if rv := null_init_tag_set(nb, nb.tag_set):
                return rv
        if not null_setup_fault():
            return 0  # 5.4 says that all went well; there is no disk, and the tag set stays
        if not g.shared_tags:
            undo.callback(blk_mq.blk_mq_free_tag_set, nb.tag_set)
        nb.tag_set.timeout = 5 * HZ
        nb.q = blk_mq.blk_mq_init_queue(nb.tag_set)
        if IS_ERR(nb.q):
            return -ENOMEM
        undo.callback(blk_core.blk_cleanup_queue, nb.q)
        null_init_queues(nb)

        if dev.cache_size > 0:
            dev.flags |= 1 << NULLB_DEV_FL_CACHE
            blk_settings.blk_queue_write_cache(nb.q, True, True)
        if dev.zoned:
            return null_zone_init(dev)

        nb.q.queuedata = nb
        blk_core.blk_queue_flag_set(QUEUE_FLAG_NONROT, nb.q)
        blk_core.blk_queue_flag_clear(QUEUE_FLAG_ADD_RANDOM, nb.q)

        # 5.4: who fails after this does not give the number back. Mended by "null_blk: fix ida error handling in
        # null_add_dev()".
        with g.lock:
            nb.index = dev.index = ida_simple_get(g.nullb_indexes, 0, 0, GFP_KERNEL)

        blk_settings.blk_queue_logical_block_size(nb.q, dev.blocksize)
        blk_settings.blk_queue_physical_block_size(nb.q, dev.blocksize)
        null_config_discard(nb)

        nb.disk_name = f"nullb{nb.index}"
        if rv := null_gendisk_register(nb):
            return rv
        undo.pop_all()

    with g.lock:
        list_add_tail(nb, g.nullb_list, "list")
    return 0


def null_init() -> int:
    """Load the module, with its parameters set: make nr_devices disks. Returns 0 or -errno; then none is left."""
    g = variables()
    if g.g_bs > PAGE_SIZE:
        pr_warn("null_blk: invalid block size")
        pr_warn(f"null_blk: defaults block size to {PAGE_SIZE}")
        g.g_bs = PAGE_SIZE
    if g.g_zone_size == 0 or g.g_zone_size & g.g_zone_size - 1:
        pr_err("null_blk: zone_size must be power-of-two")
        return -EINVAL
    if g.g_home_node != NUMA_NO_NODE and g.g_home_node >= nr_online_nodes():
        pr_err("null_blk: invalid home_node value")
        g.g_home_node = NUMA_NO_NODE
    if g.g_queue_mode == NULL_Q_RQ:
        pr_err("null_blk: legacy IO path no longer available")
        return -EINVAL
    if g.g_queue_mode == NULL_Q_MQ and g.g_use_per_node_hctx:
        if g.g_submit_queues != nr_online_nodes():
            pr_warn(f"null_blk: submit_queues param is set to {nr_online_nodes()}.")
            g.g_submit_queues = nr_online_nodes()
    elif g.g_submit_queues > nr_cpu_ids():
        g.g_submit_queues = nr_cpu_ids()
    elif g.g_submit_queues <= 0:
        g.g_submit_queues = 1

    with ExitStack() as undo:
        if g.g_queue_mode == NULL_Q_MQ and g.shared_tags:
            if ret := null_init_tag_set(NULL, g.tag_set):
                return ret
            undo.callback(blk_mq.blk_mq_free_tag_set, g.tag_set)

        if ret := configfs_register_subsystem(g.nullb_subsys):
            return ret
        undo.callback(configfs_unregister_subsystem, g.nullb_subsys)

        g.null_major = genhd.register_blkdev(0, "nullb")
        if g.null_major < 0:
            return g.null_major
        undo.callback(genhd.unregister_blkdev, g.null_major, "nullb")

        for _ in range(g.nr_devices):
            dev = null_alloc_dev()
            ret = -ENOMEM if dev is None else null_add_dev(dev)
            if ret:
                null_free_dev(dev)
                g.free_disks()
                return ret
        undo.pop_all()

    pr_info("null_blk: module loaded")
    return 0


def null_exit() -> None:
    """Unload the module: take all its disks away."""
    g = variables()
    configfs_unregister_subsystem(g.nullb_subsys)
    genhd.unregister_blkdev(g.null_major, "nullb")
    with g.lock:
        g.free_disks()
    if g.g_queue_mode == NULL_Q_MQ and g.shared_tags:
        blk_mq.blk_mq_free_tag_set(g.tag_set)
