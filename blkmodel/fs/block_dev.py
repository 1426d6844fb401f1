"""Block devices as files: which inode stands for a device number, opening and closing, and direct I/O.

The page cache is read and written through; swapping is left out.
"""

from typing import Any

from blkmodel.block import bio as bio_module, blk_core, blk_flush, blk_mq, genhd, ioctl, partition_generic
from blkmodel.fs import mpage
from blkmodel.fs.buffer import (block_read_full_page, block_write_begin, block_write_end, block_write_full_page,
    buffer_head, set_buffer_mapped, try_to_free_buffers)
from blkmodel.include.linux.blkdev import (BIO_MAX_PAGES, BIOSET_NEED_BVECS, BLK_QC_T_NONE, BLK_STS_IOERR,
    DISK_EVENT_MEDIA_CHANGE, GENHD_FL_BLOCK_EVENTS_ON_EXCL_WRITE, GENHD_FL_HIDDEN, GENHD_FL_UP, READ, REQ_FUA, REQ_IDLE,
    REQ_NOWAIT, REQ_OP_READ, REQ_OP_WRITE, REQ_SYNC, bdev_get_queue, bdev_logical_block_size, bio as bio_struct,
    bio_get, bio_set, bio_set_dev, bio_set_polled, bio_vec, blk_plug, disk_part_scan_enabled, disk_put_part,
    disk_to_dev, gendisk, get_capacity, part_to_dev)
from blkmodel.include.linux.fs import I_BDEV, block_device
from blkmodel.reference.omission import no_chapter
from blkmodel.services import (BUG_ON, EBUSY, EINVAL, EIOCBQUEUED, ENOMEDIUM, ENOMEM, ENOSPC, ENOTBLK, ENXIO,
    EOPNOTSUPP, EPERM, ERESTARTSYS, ERR_PTR, FMODE_EXCL, FMODE_NDELAY, FMODE_NOWAIT, FMODE_WRITE, FMODE_WRITE_IOCTL,
    GFP_KERNEL, I_DIRTY, I_NEW, IOCB_DIRECT, IOCB_DSYNC, IOCB_HIPRI, IOCB_NOWAIT, IS_ERR, MAJOR, MINOR, O_ACCMODE,
    O_EXCL, O_LARGEFILE, O_NDELAY, PTR_ERR, S_IFBLK, S_IFMT, TASK_RUNNING, TASK_UNINTERRUPTIBLE, WARN_ON, WARN_ON_ONCE,
    __generic_file_write_iter, __set_current_state, address_space, address_space_operations, bdi_get, bdi_put,
    bit_waitqueue, blk_wake_io_task, blksize_bits, clear_inode, file, file_operations, filemap_flush,
    filemap_write_and_wait, filemap_write_and_wait_range, finish_wait, fs_initcall, generic_file_read_iter,
    generic_write_sync, generic_writepages, i_blocksize, i_size_read, i_size_write, iget5_locked, ihold, ilookup5,
    init_wait, inode, inode_unhashed, invalidate_mapping_pages, io_schedule, iov_iter, iov_iter_alignment,
    iov_iter_count, iov_iter_npages, iov_iter_rw, iov_iter_truncate, iput, is_power_of_2, is_sync_kiocb, iter_is_iovec,
    kcalloc, kern_path, kfree, kiocb, kmem_cache, kmem_cache_alloc, kmem_cache_create, kmem_cache_free, kobject,
    kobject_get, kobject_name, kobject_put, kzalloc, list_add, list_del_init, list_head, module_init, mutex_lock,
    mutex_lock_nested, mutex_unlock, noop_backing_dev_info, page, pr_info, pr_warn, prepare_to_wait, printk_ratelimited,
    provide, put_page, remove_inode_hash, sb_is_blkdev_sb, schedule, set_current_state, super_block, super_operations,
    sysfs_create_link, sysfs_remove_link, truncate_inode_pages, truncate_inode_pages_final, unlock_new_inode,
    unlock_page, wait_queue_entry, wake_up_bit, write_inode_now, writeback_control)
from blkmodel.sim import NULL, PAGE_SIZE, Struct, sizeof, statics, this

OMITTED = no_chapter("blkdev_fallocate blkdev_get_by_path blkdev_iopoll check_disk_change nr_blockdev_pages")

DIO_INLINE_BIO_VECS = 4
CLAIMED = "claimed, in part"  # holder of a whole disk of which somebody holds a partition (in C bd_may_claim itself)


class bdev_inode(Struct, size=800):
    """A block device and the inode that it is found by. The size is worked out from the declarations."""

    bdev: block_device = NULL
    vfs_inode: inode = NULL


class blkdev_dio(Struct, size=24):
    """A direct I/O that its caller does not wait for, or that is too long for one bio. It lies before the first bio.

    ref counts the bios that are under way, once there are several (multi_bio). iocb: whom to tell; waiter: whom to
    wake. (In C these two share their place.)
    """

    iocb: kiocb = NULL
    waiter: Any = NULL
    size: int = 0
    ref: int = 0
    multi_bio: bool = False
    should_dirty: bool = False
    is_sync: bool = False
    bio: bio_struct = NULL


class bd_holder_disk(Struct, size=32):
    """A disk that is made of a block device, refcnt times."""

    list: Any = NULL
    disk: gendisk = NULL
    refcnt: int = 0


class variables(statics):
    """The file system of block devices, all of them, and what bios of direct I/O are from."""

    def __init__(self) -> None:
        self.blockdev_superblock = super_block(s_op=bdev_sops)
        self.bdev_cachep: kmem_cache = NULL
        self.all_bdevs = list_head()
        self.blkdev_dio_pool = bio_set()


def bdev_write_inode(bdev: block_device) -> None:
    """Write the inode back until it is clean."""
    inode = bdev.bd_inode
    while inode.i_state & I_DIRTY:
        if ret := write_inode_now(inode, True):
            printk_ratelimited("VFS: Dirty inode writeback failed for block device "
                               f"{partition_generic.bdevname(bdev)} (err={ret}).")


def kill_bdev(bdev: block_device) -> None:
    """Drop all pages that are cached, changed or not."""
    mapping = bdev.bd_inode.i_mapping
    if mapping.nrpages:
        truncate_inode_pages(mapping, 0)


def invalidate_bdev(bdev: block_device) -> None:
    """Drop the cached pages that nobody uses or has changed."""
    mapping = bdev.bd_inode.i_mapping
    if mapping.nrpages:
        invalidate_mapping_pages(mapping, 0, -1)


def set_init_blocksize(bdev: block_device) -> None:
    """Let buffers be as large as the device's size is a multiple of: from a logical block to a page."""
    bsize = bdev_logical_block_size(bdev)
    size = i_size_read(bdev.bd_inode)
    while bsize < PAGE_SIZE:
        if size & bsize:
            break
        bsize <<= 1
    bdev.bd_block_size = bsize
    bdev.bd_inode.i_blkbits = blksize_bits(bsize)


def set_blocksize(bdev: block_device, size: int) -> int:
    """Let buffers be of `size` bytes: a power of two, from a logical block to a page. What is cached goes.

    Returns 0 or -EINVAL.
    """
    if size > PAGE_SIZE or size < 512 or not is_power_of_2(size) or size < bdev_logical_block_size(bdev):
        return -EINVAL
    if bdev.bd_block_size != size:
        sync_blockdev(bdev)
        bdev.bd_block_size = size
        bdev.bd_inode.i_blkbits = blksize_bits(size)
        kill_bdev(bdev)
    return 0


def blkdev_get_block(inode: inode, iblock: int, bh: buffer_head, create: int) -> int:
    """Say where block iblock of a block device is: there."""
    bh.b_bdev = I_BDEV(inode)
    bh.b_blocknr = iblock
    set_buffer_mapped(bh)
    return 0


def bdev_file_inode(file: file) -> inode:
    """The inode of the block device that was opened; the file's own is the node's."""
    return file.f_mapping.host


def dio_bio_write_op(iocb: kiocb) -> int:
    """Operation and flags of a direct write; one that is to be on the medium when it returns goes past the cache."""
    op = REQ_OP_WRITE | REQ_SYNC | REQ_IDLE
    if iocb.ki_flags & IOCB_DSYNC:
        op |= REQ_FUA
    return op


def blkdev_bio_end_io_simple(bio: bio_struct) -> None:
    """Wake who waits for the bio."""
    waiter = bio.bi_private
    bio.bi_private = NULL
    blk_wake_io_task(waiter)


def __blkdev_direct_IO_simple(iocb: kiocb, iter: iov_iter, nr_pages: int) -> int:
    """Read or write a buffer of up to BIO_MAX_PAGES pages past the page cache, with one bio, and wait.

    Returns how many bytes, or -errno.
    """
    bdev = I_BDEV(bdev_file_inode(iocb.ki_filp))
    pos = iocb.ki_pos
    if (pos | iov_iter_alignment(iter)) & (bdev_logical_block_size(bdev) - 1):
        return -EINVAL
    if nr_pages <= DIO_INLINE_BIO_VECS:
        vecs = [bio_vec() for _ in range(nr_pages)]
    else:
        if (vecs := kcalloc(nr_pages, bio_vec, GFP_KERNEL)) is None:
            return -ENOMEM
    task = this().context
    bio = bio_struct()
    bio_module.bio_init(bio, vecs, nr_pages)
    bio_set_dev(bio, bdev)
    bio.bi_iter.bi_sector = pos >> 9
    bio.bi_private, bio.bi_end_io = task, blkdev_bio_end_io_simple
    if not (ret := bio_module.bio_iov_iter_get_pages(bio, iter)):
        ret = bio.bi_iter.bi_size
        should_dirty = False
        if iov_iter_rw(iter) == READ:
            bio.bi_opf = REQ_OP_READ
            should_dirty = iter_is_iovec(iter)
        else:
            bio.bi_opf = dio_bio_write_op(iocb)
        if iocb.ki_flags & IOCB_NOWAIT:
            bio.bi_opf |= REQ_NOWAIT
        if iocb.ki_flags & IOCB_HIPRI:
            bio_set_polled(bio, iocb)
        cookie = blk_core.submit_bio(bio)
        while True:
            set_current_state(TASK_UNINTERRUPTIBLE)
            if bio.bi_private is None:
                break
            if not iocb.ki_flags & IOCB_HIPRI or not blk_mq.blk_poll(bdev_get_queue(bdev), cookie, True):
                io_schedule()
        __set_current_state(TASK_RUNNING)
        bio_module.bio_release_pages(bio, should_dirty)
        if bio.bi_status:
            ret = blk_core.blk_status_to_errno(bio.bi_status)
    if nr_pages > DIO_INLINE_BIO_VECS:
        kfree(vecs)
    bio_module.bio_uninit(bio)
    return ret


def blkdev_bio_end_io(bio: bio_struct) -> None:
    """One bio of a direct I/O has ended. With the last one, its caller is told the result or woken."""
    dio = bio.bi_private
    should_dirty = dio.should_dirty
    if bio.bi_status and not dio.bio.bi_status:
        dio.bio.bi_status = bio.bi_status
    if dio.multi_bio:
        dio.ref -= 1
    if not dio.multi_bio or dio.ref == 0:
        if not dio.is_sync:
            iocb = dio.iocb
            if not dio.bio.bi_status:
                ret = dio.size
                iocb.ki_pos += ret
            else:
                ret = blk_core.blk_status_to_errno(dio.bio.bi_status)
            iocb.ki_complete(iocb, ret, 0)
            if dio.multi_bio:
                bio_module.bio_put(dio.bio)
        else:
            waiter, dio.waiter = dio.waiter, NULL
            blk_wake_io_task(waiter)
    if should_dirty:
        bio_module.bio_check_pages_dirty(bio)
    else:
        bio_module.bio_release_pages(bio, False)
        bio_module.bio_put(bio)


def __blkdev_direct_IO(iocb: kiocb, iter: iov_iter, nr_pages: int) -> int:
    """Read or write a buffer past the page cache, with as many bios as it takes; wait unless iocb.ki_complete is set.

    Returns how many bytes, -EIOCBQUEUED when that is told later, or -errno.
    """
    bdev = I_BDEV(bdev_file_inode(iocb.ki_filp))
    # Longer than a page, as in C: what is done for each bio depends on how many there are so far.
    is_poll = bool(iocb.ki_flags & IOCB_HIPRI)
    is_read = iov_iter_rw(iter) == READ
    pos = iocb.ki_pos
    cookie = BLK_QC_T_NONE
    ret = 0
    if (pos | iov_iter_alignment(iter)) & (bdev_logical_block_size(bdev) - 1):
        return -EINVAL
    task = this().context
    bio = bio_module.bio_alloc_bioset(GFP_KERNEL, nr_pages, variables().blkdev_dio_pool)
    dio = bio._front = blkdev_dio(bio=bio)
    dio.is_sync = is_sync = is_sync_kiocb(iocb)
    if is_sync:
        dio.waiter = task
        bio_get(bio)
    else:
        dio.iocb = iocb
    dio.should_dirty = is_read and iter_is_iovec(iter)
    plug = blk_plug()
    if not is_poll:
        blk_core.blk_start_plug(plug)
    while True:
        bio_set_dev(bio, bdev)
        bio.bi_iter.bi_sector = pos >> 9
        bio.bi_private, bio.bi_end_io = dio, blkdev_bio_end_io
        if ret := bio_module.bio_iov_iter_get_pages(bio, iter):
            bio.bi_status = BLK_STS_IOERR
            bio_module.bio_endio(bio)
            break
        if is_read:
            bio.bi_opf = REQ_OP_READ
            if dio.should_dirty:
                bio_module.bio_set_pages_dirty(bio)
        else:
            bio.bi_opf = dio_bio_write_op(iocb)
        if iocb.ki_flags & IOCB_NOWAIT:
            bio.bi_opf |= REQ_NOWAIT
        dio.size += bio.bi_iter.bi_size
        pos += bio.bi_iter.bi_size
        if not (nr_pages := iov_iter_npages(iter, BIO_MAX_PAGES)):
            polled = is_poll
            if polled:
                bio_set_polled(bio, iocb)
            cookie = blk_core.submit_bio(bio)
            break
        if not dio.multi_bio:
            # the first bio holds the result: whoever tells it still needs it when that bio has ended
            if not is_sync:
                bio_get(bio)
            dio.multi_bio = True
            dio.ref = 2
        else:
            dio.ref += 1
        blk_core.submit_bio(bio)
        bio = bio_module.bio_alloc_bioset(GFP_KERNEL, nr_pages, bio_module.variables().fs_bio_set)
    if not is_poll:
        blk_core.blk_finish_plug(plug)
    if not is_sync:
        return -EIOCBQUEUED
    while True:
        set_current_state(TASK_UNINTERRUPTIBLE)
        if dio.waiter is None:
            break
        if not is_poll or not blk_mq.blk_poll(bdev_get_queue(bdev), cookie, True):
            io_schedule()
    __set_current_state(TASK_RUNNING)
    if not ret:
        ret = blk_core.blk_status_to_errno(dio.bio.bi_status)
    if not ret:
        ret = dio.size
    bio_module.bio_put(dio.bio)
    return ret


def blkdev_direct_IO(iocb: kiocb, iter: iov_iter) -> int:
    """Read or write a buffer past the page cache. Returns how many bytes, or -errno."""
    if not (nr_pages := iov_iter_npages(iter, BIO_MAX_PAGES + 1)):
        return 0
    if is_sync_kiocb(iocb) and nr_pages <= BIO_MAX_PAGES:
        return __blkdev_direct_IO_simple(iocb, iter, nr_pages)
    return __blkdev_direct_IO(iocb, iter, min(nr_pages, BIO_MAX_PAGES))


def blkdev_init() -> int:
    """At boot: make the bio_set of direct I/O."""
    return bio_module.bioset_init(variables().blkdev_dio_pool, 4, sizeof(blkdev_dio), BIOSET_NEED_BVECS)


module_init(blkdev_init)


def __sync_blockdev(bdev: block_device, wait: int) -> int:
    """Write cached changes back; `wait`: until they are on the device. Returns 0 or -errno."""
    if bdev is None:
        return 0
    if not wait:
        return filemap_flush(bdev.bd_inode.i_mapping)
    return filemap_write_and_wait(bdev.bd_inode.i_mapping)


def sync_blockdev(bdev: block_device) -> int:
    """Write cached changes back, and wait. Returns 0 or -errno."""
    return __sync_blockdev(bdev, 1)


def blkdev_fsync(filp: file, start: int, end: int, datasync: int) -> int:
    """Write back what is cached of bytes `start` to `end` of an open block device, and flush the device's own cache.

    Returns 0 or -errno.
    """
    bdev = I_BDEV(bdev_file_inode(filp))
    if error := filemap_write_and_wait_range(filp.f_mapping, start, end):
        return error
    error, _ = blk_flush.blkdev_issue_flush(bdev, GFP_KERNEL)
    return 0 if error == -EOPNOTSUPP else error


def fsync_bdev(bdev: block_device) -> int:
    """Write back what is cached of a block device, and wait. (And of a file system on it: the model has none.)"""
    return sync_blockdev(bdev)


def freeze_bdev(bdev: block_device) -> super_block:
    """Freeze the file system on a block device, and write back what is cached. Returns it: here None, for none."""
    with bdev.bd_fsfreeze_mutex:
        bdev.bd_fsfreeze_count += 1
        if bdev.bd_fsfreeze_count == 1:
            sync_blockdev(bdev)
    return NULL


def thaw_bdev(bdev: block_device, sb: super_block) -> int:
    """Let the file system on a block device go on, with the last thaw. Returns 0, or -EINVAL where it is not frozen."""
    with bdev.bd_fsfreeze_mutex:
        if not bdev.bd_fsfreeze_count:
            return -EINVAL
        bdev.bd_fsfreeze_count -= 1
    return 0


def blkdev_writepage(page: page, wbc: writeback_control) -> int:
    """Write a cached page back."""
    return block_write_full_page(page, blkdev_get_block)


def blkdev_writepages(mapping: address_space, wbc: writeback_control) -> int:
    """Write changed pages back."""
    return generic_writepages(mapping, wbc)


def blkdev_readpages(file: file, mapping: address_space, pages: list[page], nr_pages: int) -> int:
    """Read many pages into the cache."""
    return mpage.mpage_readpages(mapping, pages, nr_pages, blkdev_get_block)


def blkdev_write_begin(file: file, mapping: address_space, pos: int, len: int, flags: int) -> page:
    """The locked page in which bytes are to be written; or an error pointer."""
    return block_write_begin(mapping, pos, len, flags, blkdev_get_block)


def blkdev_write_end(file: file, mapping: address_space, pos: int, len: int, copied: int, page: page) -> int:
    """Bytes were written to a cached page. Returns how many."""
    ret = block_write_end(file, mapping, pos, len, copied, page)
    unlock_page(page)
    put_page(page)
    return ret


def bdev_read_page(bdev: block_device, sector: int, page: page) -> int:
    """Let the driver read a page without a bio, if it can (as those of disks in memory can): none of the model's."""
    return -EOPNOTSUPP


def blkdev_readpage(file: file, page: page) -> int:
    """Read a page into the cache."""
    return block_read_full_page(page, blkdev_get_block)


def bdev_alloc_inode(sb: super_block) -> inode:
    """Allocate a block device with its inode; None on failure. (In C the cache prepares them when it grows.)"""
    if (ei := kmem_cache_alloc(variables().bdev_cachep, GFP_KERNEL)) is None:
        return NULL
    ei.bdev = block_device()
    ei.vfs_inode = inode(_owner=ei)
    return ei.vfs_inode


def bdev_free_inode(inode: inode) -> None:
    """Free a block device with its inode."""
    kmem_cache_free(variables().bdev_cachep, inode._owner)


def bdev_evict_inode(inode: inode) -> None:
    """Nobody has the block device any more: drop its pages, and what it holds."""
    bdev = I_BDEV(inode)
    truncate_inode_pages_final(inode.i_data, 0)
    clear_inode(inode)
    list_del_init(bdev, "bd_list")
    if bdev.bd_bdi is not noop_backing_dev_info():
        bdi_put(bdev.bd_bdi)
        bdev.bd_bdi = noop_backing_dev_info()


def bdev_cache_init() -> None:
    """At boot: make the cache of block devices."""
    variables().bdev_cachep = kmem_cache_create("bdev_cache", sizeof(bdev_inode), bdev_inode)


fs_initcall(bdev_cache_init)


def bdev_test(inode: inode, data: int) -> int:
    """Whether an inode is that of a device number."""
    return I_BDEV(inode).bd_dev == data


def bdev_set(inode: inode, data: int) -> int:
    """Make a new inode that of a device number."""
    I_BDEV(inode).bd_dev = data
    return 0


def bdev_unhash_inode(dev: int) -> None:
    """Let nobody find the block device of a number any more; the next to open it gets a new one."""
    if (inode := ilookup5(variables().blockdev_superblock, MAJOR(dev) + MINOR(dev), bdev_test, dev)) is not None:
        remove_inode_hash(inode)
        iput(inode)


def bdget(dev: int) -> block_device:
    """Find the block device of a number, or make one, with a reference; None on failure."""
    inode = iget5_locked(variables().blockdev_superblock, MAJOR(dev) + MINOR(dev), bdev_test, bdev_set, dev)
    if inode is None:
        return NULL
    bdev = I_BDEV(inode)
    if inode.i_state & I_NEW:
        bdev.bd_contains = bdev.bd_super = NULL
        bdev.bd_inode = inode
        bdev.bd_block_size = i_blocksize(inode)
        bdev.bd_part_count = bdev.bd_invalidated = 0
        inode.i_mode = S_IFBLK
        inode.i_rdev = dev
        inode.i_bdev = bdev
        inode.i_data.a_ops = def_blk_aops
        list_add(bdev, variables().all_bdevs, "bd_list")
        unlock_new_inode(inode)
    return bdev


def bdgrab(bdev: block_device) -> block_device:
    """Take another reference to a block device."""
    ihold(bdev.bd_inode)
    return bdev


def bdput(bdev: block_device) -> None:
    """Drop a reference to a block device."""
    iput(bdev.bd_inode)


def bd_acquire(inode: inode) -> block_device:
    """The block device of a device node, with a reference; None on failure. The node remembers it, and holds it too.

    One that is no longer found by its number is forgotten: its disk is gone.
    """
    bdev = inode.i_bdev
    if bdev is not None and not inode_unhashed(bdev.bd_inode):
        return bdgrab(bdev)
    if bdev is not None:
        bd_forget(inode)
    if (bdev := bdget(inode.i_rdev)) is not None and inode.i_bdev is None:
        bdgrab(bdev)
        inode.i_bdev = bdev
        inode.i_mapping = bdev.bd_inode.i_mapping
    return bdev


def bd_forget(inode: inode) -> None:
    """Let a node, or a block device's own inode, forget the block device; a node lets it go."""
    bdev = NULL if sb_is_blkdev_sb(inode.i_sb) else inode.i_bdev
    inode.i_bdev = NULL
    inode.i_mapping = inode.i_data
    if bdev is not None:
        bdput(bdev)


def bd_may_claim(bdev: block_device, whole: block_device, holder: Any) -> bool:
    """Whether somebody may have a block device for himself, considering who has it, or the whole disk."""
    if bdev.bd_holder is holder:
        return True
    if bdev.bd_holder is not None:
        return False
    return True if whole is bdev else whole.bd_holder in (None, CLAIMED)


def bd_prepare_to_claim(bdev: block_device, whole: block_device, holder: Any) -> int:
    """Wait until nobody else is about to claim anything of the disk. Returns 0, or -EBUSY for a device that is held."""
    while True:
        if not bd_may_claim(bdev, whole, holder):
            return -EBUSY
        if whole.bd_claiming is None:
            return 0
        wq = bit_waitqueue(whole, "bd_claiming")
        wait = wait_queue_entry()
        init_wait(wait)
        prepare_to_wait(wq, wait, TASK_UNINTERRUPTIBLE)
        schedule("another claim on the disk")
        finish_wait(wq, wait)


def bdev_get_gendisk(bdev: block_device) -> tuple[gendisk, int]:
    """The disk of a block device, with references, and the partition's number; (None, 0) for one that is gone."""
    disk, partno = genhd.get_gendisk(bdev.bd_dev)
    if disk is None:
        return NULL, 0
    if inode_unhashed(bdev.bd_inode):
        genhd.put_disk_and_module(disk)
        return NULL, 0
    return disk, partno


def bd_start_claiming(bdev: block_device, holder: Any) -> block_device:
    """Begin to claim a block device, so that others wait. Returns the whole disk's, with a reference, or an error
    pointer."""
    disk, partno = bdev_get_gendisk(bdev)
    if disk is None:
        return ERR_PTR(-ENXIO)
    whole = genhd.bdget_disk(disk, 0) if partno else bdgrab(bdev)
    genhd.put_disk_and_module(disk)
    if whole is None:
        return ERR_PTR(-ENOMEM)
    if err := bd_prepare_to_claim(bdev, whole, holder):
        bdput(whole)
        return ERR_PTR(err)
    whole.bd_claiming = holder
    return whole


def bd_clear_claiming(whole: block_device, holder: Any) -> None:
    """The claim is decided: others may go on."""
    BUG_ON(whole.bd_claiming is not holder)
    whole.bd_claiming = NULL
    wake_up_bit(whole, "bd_claiming")


def bd_finish_claiming(bdev: block_device, whole: block_device, holder: Any) -> None:
    """The claim is made: the holder has the block device for himself, and nobody can claim the whole disk."""
    BUG_ON(not bd_may_claim(bdev, whole, holder))
    whole.bd_holders += 1
    whole.bd_holder = CLAIMED
    bdev.bd_holders += 1
    bdev.bd_holder = holder
    bd_clear_claiming(whole, holder)


def bd_abort_claiming(bdev: block_device, whole: block_device, holder: Any) -> None:
    """The claim is given up."""
    bd_clear_claiming(whole, holder)


def bd_find_holder_disk(bdev: block_device, disk: gendisk) -> bd_holder_disk:
    """What a block device knows of a disk that is made of it; None for nothing."""
    for holder in bdev.bd_holder_disks:
        if holder.disk is disk:
            return holder
    return NULL


def add_symlink(frm: kobject, to: kobject) -> int:
    """Link from one object in sysfs to another."""
    return sysfs_create_link(frm, to, kobject_name(to))


def del_symlink(frm: kobject, to: kobject) -> None:
    """Remove the link from one object in sysfs to another."""
    sysfs_remove_link(frm, kobject_name(to))


def bd_link_disk_holder(bdev: block_device, disk: gendisk) -> int:
    """Show in sysfs that a disk is made of a claimed block device. Returns 0 or -errno."""
    with bdev.bd_mutex:
        WARN_ON_ONCE(bdev.bd_holder is None)
        if WARN_ON(disk.slave_dir is None or bdev.bd_part.holder_dir is None):
            return 0
        if (holder := bd_find_holder_disk(bdev, disk)) is not None:
            holder.refcnt += 1
            return 0
        if (holder := kzalloc(bd_holder_disk, GFP_KERNEL)) is None:
            return -ENOMEM
        holder.disk = disk
        holder.refcnt = 1
        if not (ret := add_symlink(disk.slave_dir, part_to_dev(bdev.bd_part).kobj)):
            if not (ret := add_symlink(bdev.bd_part.holder_dir, disk_to_dev(disk).kobj)):
                kobject_get(bdev.bd_part.holder_dir)
                list_add(holder, bdev.bd_holder_disks, "list")
                return 0
            del_symlink(disk.slave_dir, part_to_dev(bdev.bd_part).kobj)
        kfree(holder)
        return ret


def bd_unlink_disk_holder(bdev: block_device, disk: gendisk) -> None:
    """Show no more in sysfs that a disk is made of a block device."""
    with bdev.bd_mutex:
        holder = bd_find_holder_disk(bdev, disk)
        if WARN_ON_ONCE(holder is None):
            return
        holder.refcnt -= 1
        if holder.refcnt == 0:
            del_symlink(disk.slave_dir, part_to_dev(bdev.bd_part).kobj)
            del_symlink(bdev.bd_part.holder_dir, disk_to_dev(disk).kobj)
            kobject_put(bdev.bd_part.holder_dir)
            list_del_init(holder, "list")
            kfree(holder)


def flush_disk(bdev: block_device, kill_dirty: bool) -> None:
    """The disk became another, or smaller: drop what is cached of it, and scan it at the next open."""
    if __invalidate_device(bdev, kill_dirty):
        name = bdev.bd_disk.disk_name if bdev.bd_disk is not None else ""
        pr_warn(f"VFS: busy inodes on changed media or resized disk {name}")
    bdev.bd_invalidated = 1


def check_disk_size_change(disk: gendisk, bdev: block_device, verbose: bool) -> None:
    """Let the block device be as large as the disk; one that shrank keeps nothing cached."""
    disk_size = get_capacity(disk) << 9
    bdev_size = i_size_read(bdev.bd_inode)
    if disk_size == bdev_size:
        return
    if verbose:
        pr_info(f"{disk.disk_name}: detected capacity change from {bdev_size} to {disk_size}")
    i_size_write(bdev.bd_inode, disk_size)
    if bdev_size > disk_size:
        flush_disk(bdev, False)


def revalidate_disk(disk: gendisk) -> int:
    """Let a disk's driver look at the disk again, and follow its size. Returns what the driver says."""
    ret = disk.fops.revalidate_disk(disk) if disk.fops.revalidate_disk is not None else 0
    # the disk of a multipath device can't be opened
    if not disk.flags & GENHD_FL_HIDDEN:
        if (bdev := genhd.bdget_disk(disk, 0)) is None:
            return ret
        with bdev.bd_mutex:
            check_disk_size_change(disk, bdev, ret == 0)
            bdev.bd_invalidated = 0
        bdput(bdev)
    return ret


def bd_set_size(bdev: block_device, size: int) -> None:
    """Set a block device's size in bytes."""
    i_size_write(bdev.bd_inode, size)


def bdev_disk_changed(bdev: block_device, invalidate: bool) -> None:
    """Find a disk's partitions anew. (`invalidate`: its medium is gone, which no driver of the model says.)"""
    disk = bdev.bd_disk
    if disk_part_scan_enabled(disk):
        partition_generic.rescan_partitions(disk, bdev)
    else:
        check_disk_size_change(disk, bdev, not invalidate)
        bdev.bd_invalidated = 0


def __blkdev_get(bdev: block_device, mode: int, for_part: int) -> int:
    """Open a block device. The first to do so connects it with its disk; a partition opens the whole disk (for_part).

    Returns 0, or -errno with nothing held.
    """
    # Longer than a page, as in C: opening a partition opens the disk in the midst of it, and all unwind in one place.
    while True:
        disk, partno = bdev_get_gendisk(bdev)
        if disk is None:
            return -ENXIO
        genhd.disk_block_events(disk)
        mutex_lock_nested(bdev.bd_mutex, for_part)
        first_open = not bdev.bd_openers
        if first_open:
            bdev.bd_disk = disk
            bdev.bd_contains = bdev
            bdev.bd_partno = partno
            if not partno:
                ret = -ENXIO
                bdev.bd_part = genhd.disk_get_part(disk, partno)
                if bdev.bd_part is not None:
                    ret = disk.fops.open(bdev, mode) if disk.fops.open is not None else 0
                    if ret == -ERESTARTSYS:
                        # the driver was replaced meanwhile: look again who has the number
                        disk_put_part(bdev.bd_part)
                        bdev.bd_part = bdev.bd_disk = NULL
                        mutex_unlock(bdev.bd_mutex)
                        genhd.disk_unblock_events(disk)
                        genhd.put_disk_and_module(disk)
                        continue
                    if not ret:
                        bd_set_size(bdev, get_capacity(disk) << 9)
                        set_init_blocksize(bdev)
                    if bdev.bd_invalidated and ret in (0, -ENOMEDIUM):
                        bdev_disk_changed(bdev, ret == -ENOMEDIUM)
            else:
                ret = -ENOMEM
                if (whole := genhd.bdget_disk(disk, 0)) is not None:
                    BUG_ON(for_part)
                    if ret := __blkdev_get(whole, mode, 1):
                        bdput(whole)
                    else:
                        bdev.bd_contains = whole
                        bdev.bd_part = genhd.disk_get_part(disk, partno)
                        if not disk.flags & GENHD_FL_UP or bdev.bd_part is None or not bdev.bd_part.nr_sects:
                            ret = -ENXIO
                        else:
                            bd_set_size(bdev, bdev.bd_part.nr_sects << 9)
                            set_init_blocksize(bdev)
            if ret:
                disk_put_part(bdev.bd_part)
                bdev.bd_disk = bdev.bd_part = NULL
                if bdev.bd_contains is not bdev:
                    __blkdev_put(bdev.bd_contains, mode, 1)
                bdev.bd_contains = NULL
            elif bdev.bd_bdi is noop_backing_dev_info():
                bdev.bd_bdi = bdi_get(disk.queue.backing_dev_info)
        else:
            ret = 0
            if bdev.bd_contains is bdev:
                if bdev.bd_disk.fops.open is not None:
                    ret = bdev.bd_disk.fops.open(bdev, mode)
                if bdev.bd_invalidated and not ret:
                    bdev_disk_changed(bdev, False)
        if not ret:
            bdev.bd_openers += 1
            if for_part:
                bdev.bd_part_count += 1
        mutex_unlock(bdev.bd_mutex)
        genhd.disk_unblock_events(disk)
        # the first to open keeps the reference to the disk until the last closes
        if ret or not first_open:
            genhd.put_disk_and_module(disk)
        return ret


def blkdev_get(bdev: block_device, mode: int, holder: Any) -> int:
    """Open a block device with FMODE_* flags; FMODE_EXCL claims it for `holder`. Takes over the caller's reference.

    Returns 0, or -errno; the reference is gone then.
    """
    whole = NULL
    WARN_ON_ONCE(mode & FMODE_EXCL and holder is None)
    if mode & FMODE_EXCL and holder is not None:
        if IS_ERR(whole := bd_start_claiming(bdev, holder)):
            bdput(bdev)
            return PTR_ERR(whole)
    res = __blkdev_get(bdev, mode, 0)
    if whole is not None:
        disk = whole.bd_disk
        mutex_lock(bdev.bd_mutex)
        if not res:
            bd_finish_claiming(bdev, whole, holder)
        else:
            bd_abort_claiming(bdev, whole, holder)
        # a disk that somebody writes to alone is not asked for events: some would lose what is being written
        if (not res and mode & FMODE_WRITE and not bdev.bd_write_holder
                and disk.flags & GENHD_FL_BLOCK_EVENTS_ON_EXCL_WRITE):
            bdev.bd_write_holder = True
            genhd.disk_block_events(disk)
        mutex_unlock(bdev.bd_mutex)
        bdput(whole)
    if res:
        bdput(bdev)
    return res


def blkdev_get_by_dev(dev: int, mode: int, holder: Any) -> block_device:
    """Open the block device of a number. Returns it, or an error pointer."""
    if (bdev := bdget(dev)) is None:
        return ERR_PTR(-ENOMEM)
    err = blkdev_get(bdev, mode, holder)
    return ERR_PTR(err) if err else bdev


def blkdev_open(inode: inode, filp: file) -> int:
    """Open a device node. O_EXCL claims the device for the file. Returns 0 or -errno."""
    filp.f_flags |= O_LARGEFILE
    filp.f_mode |= FMODE_NOWAIT
    if filp.f_flags & O_NDELAY:
        filp.f_mode |= FMODE_NDELAY
    if filp.f_flags & O_EXCL:
        filp.f_mode |= FMODE_EXCL
    if filp.f_flags & O_ACCMODE == 3:
        filp.f_mode |= FMODE_WRITE_IOCTL
    if (bdev := bd_acquire(inode)) is None:
        return -ENOMEM
    filp.f_mapping = bdev.bd_inode.i_mapping
    return blkdev_get(bdev, filp.f_mode, filp)


def __blkdev_put(bdev: block_device, mode: int, for_part: int) -> None:
    """Close a block device, and let it go. The last to do so writes back and drops what is cached, and lets the disk
    go."""
    disk = bdev.bd_disk
    victim = NULL
    if bdev.bd_openers == 1:
        # what takes long is better done before others have to wait
        sync_blockdev(bdev)
    mutex_lock_nested(bdev.bd_mutex, for_part)
    if for_part:
        bdev.bd_part_count -= 1
    bdev.bd_openers -= 1
    if not bdev.bd_openers:
        WARN_ON_ONCE(bdev.bd_holders)
        sync_blockdev(bdev)
        kill_bdev(bdev)
        bdev_write_inode(bdev)
    if bdev.bd_contains is bdev and disk.fops.release is not None:
        disk.fops.release(disk, mode)
    if not bdev.bd_openers:
        disk_put_part(bdev.bd_part)
        bdev.bd_part = bdev.bd_disk = NULL
        if bdev is not bdev.bd_contains:
            victim = bdev.bd_contains
        bdev.bd_contains = NULL
        genhd.put_disk_and_module(disk)
    mutex_unlock(bdev.bd_mutex)
    bdput(bdev)
    if victim is not None:
        __blkdev_put(victim, mode, 1)


def blkdev_put(bdev: block_device, mode: int) -> None:
    """Close a block device that was opened with these flags; with FMODE_EXCL it is no longer held."""
    mutex_lock(bdev.bd_mutex)
    if mode & FMODE_EXCL:
        bdev.bd_holders -= 1
        bdev.bd_contains.bd_holders -= 1
        WARN_ON_ONCE(bdev.bd_holders < 0 or bdev.bd_contains.bd_holders < 0)
        bdev_free = not bdev.bd_holders
        if bdev_free:
            bdev.bd_holder = NULL
        if not bdev.bd_contains.bd_holders:
            bdev.bd_contains.bd_holder = NULL
        if bdev_free and bdev.bd_write_holder:
            genhd.disk_unblock_events(bdev.bd_disk)
            bdev.bd_write_holder = False
    # the next open shall know of a new medium
    genhd.disk_flush_events(bdev.bd_disk, DISK_EVENT_MEDIA_CHANGE)
    mutex_unlock(bdev.bd_mutex)
    __blkdev_put(bdev, mode, 0)


def blkdev_close(inode: inode, filp: file) -> int:
    """Close a file of a device node."""
    blkdev_put(I_BDEV(bdev_file_inode(filp)), filp.f_mode)
    return 0


def blkdev_write_iter(iocb: kiocb, frm: iov_iter) -> int:
    """Write a buffer to an open block device, up to its end. Returns how many bytes, or -errno.

    -EPERM: it is read-only; -ENOSPC: the place is behind its end.
    """
    bd_inode = bdev_file_inode(iocb.ki_filp)
    size = i_size_read(bd_inode)
    if genhd.bdev_read_only(I_BDEV(bd_inode)):
        return -EPERM
    if not iov_iter_count(frm):
        return 0
    if iocb.ki_pos >= size:
        return -ENOSPC
    if iocb.ki_flags & (IOCB_NOWAIT | IOCB_DIRECT) == IOCB_NOWAIT:
        return -EOPNOTSUPP
    iov_iter_truncate(frm, size - iocb.ki_pos)
    plug = blk_plug()
    blk_core.blk_start_plug(plug)
    if (ret := __generic_file_write_iter(iocb, frm)) > 0:
        ret = generic_write_sync(iocb, ret)
    blk_core.blk_finish_plug(plug)
    return ret


def blkdev_read_iter(iocb: kiocb, to: iov_iter) -> int:
    """Read from an open block device into a buffer, up to its end. Returns how many bytes, or -errno."""
    size = i_size_read(bdev_file_inode(iocb.ki_filp))
    if iocb.ki_pos >= size:
        return 0
    iov_iter_truncate(to, size - iocb.ki_pos)
    return generic_file_read_iter(iocb, to)


def block_ioctl(file: file, cmd: int, arg: Any) -> int:
    """Do what a process asks of an open block device. Returns 0 or -errno."""
    mode = file.f_mode
    if file.f_flags & O_NDELAY:
        mode |= FMODE_NDELAY
    else:
        mode &= ~FMODE_NDELAY
    return ioctl.blkdev_ioctl(I_BDEV(bdev_file_inode(file)), mode, cmd, arg)


def blkdev_releasepage(page: page, wait: int) -> int:
    """Take the buffers off a cached page; return whether that was done."""
    return try_to_free_buffers(page)


def lookup_bdev(pathname: str) -> block_device:
    """The block device of a node's name, with a reference; or an error pointer."""
    if not pathname:
        return ERR_PTR(-EINVAL)
    if IS_ERR(found := kern_path(pathname)):
        return ERR_PTR(PTR_ERR(found))
    if found.i_mode & S_IFMT != S_IFBLK:
        return ERR_PTR(-ENOTBLK)
    bdev: block_device = bd_acquire(found)
    return bdev if bdev is not None else ERR_PTR(-ENOMEM)


def __invalidate_device(bdev: block_device, kill_dirty: bool) -> int:
    """Drop what is cached of a block device, but for what is in use. Returns 0: no file system can be busy."""
    invalidate_bdev(bdev)
    return 0


def_blk_aops = address_space_operations(readpage=blkdev_readpage, readpages=blkdev_readpages,
                                        writepage=blkdev_writepage, writepages=blkdev_writepages,
                                        write_begin=blkdev_write_begin, write_end=blkdev_write_end,
                                        releasepage=blkdev_releasepage, direct_IO=blkdev_direct_IO)
def_blk_fops = file_operations(open=blkdev_open, release=blkdev_close, read_iter=blkdev_read_iter,
                               write_iter=blkdev_write_iter, fsync=blkdev_fsync, unlocked_ioctl=block_ioctl)
bdev_sops = super_operations(alloc_inode=bdev_alloc_inode, free_inode=bdev_free_inode, evict_inode=bdev_evict_inode)


provide(bd_forget=bd_forget, def_blk_fops=def_blk_fops)
