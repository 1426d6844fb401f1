"""Block devices as files: found by number, opened, claimed, read and written past the cache and through it."""

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel import boot
from blkmodel.block import bio as bios, blk_core, blk_settings, genhd, partition_generic
from blkmodel.fs import block_dev
from blkmodel.include.linux.bio import bio_for_each_bvec
from blkmodel.include.linux.blk_types import (BLK_STS_IOERR, BLK_STS_MEDIUM, BLK_STS_NOTSUPP, REQ_FUA, REQ_HIPRI,
    REQ_IDLE, REQ_NOWAIT, REQ_OP_WRITE, REQ_PREFLUSH, REQ_RAHEAD, REQ_SYNC)
from blkmodel.include.linux.blkdev import QUEUE_FLAG_POLL, READ, WRITE
from blkmodel.include.linux.genhd import GENHD_FL_HIDDEN, block_device_operations, disk_to_dev, hd_struct, set_capacity
from blkmodel.services.base.err import (EAGAIN, EBADF, EBUSY, EFAULT, EINVAL, EIO, EIOCBQUEUED, ENODATA, ENOENT, ENOMEM,
    ENOSPC, ENXIO, EOPNOTSUPP, EPERM, ERESTARTSYS, IS_ERR, PTR_ERR)
from blkmodel.services.base.kdev_t import MKDEV
from blkmodel.services.devices.backing_dev import noop_backing_dev_info
from blkmodel.services.devices.device import devices
from blkmodel.services.devices.kobject import kobj_type, kobject, kobject_init
from blkmodel.services.files.file import (FMODE_EXCL, FMODE_NDELAY, FMODE_NOWAIT, FMODE_READ, FMODE_WRITE,
    FMODE_WRITE_IOCTL, IOCB_DIRECT, IOCB_DSYNC, IOCB_HIPRI, IOCB_NOWAIT, O_DIRECT, O_DSYNC, O_EXCL, O_NDELAY, O_RDONLY,
    O_RDWR, O_WRONLY, RWF_NOWAIT, filp_close, filp_open, kiocb, new_sync_read, new_sync_write, vfs_fsync)
from blkmodel.services.files.inode import I_DIRTY, inode_hashtable
from blkmodel.services.files.pagemap import read_mapping_page
from blkmodel.services.files.uio import iov_iter, iov_iter_init, map_user_buffer, unmap_user_buffer
from blkmodel.services.memory.mm import PageDirty, mem_map, put_page, set_page_dirty
from blkmodel.services.memory.slab import GFP_KERNEL, NUMA_NO_NODE
from blkmodel.sim.memory import PAGE_SIZE

SECTORS = 4096


def open_part(disk):
    """Give a disk a partition of 1024 sectors from 2048 on, as add_partition() would."""
    genhd.disk_expand_part_tbl(disk, 1)
    part = hd_struct(partno=1, start_sect=2048, nr_sects=1024)
    part._dev.parent = disk_to_dev(disk)
    part._dev._owner = part
    part._dev.devt = MKDEV(disk.major, disk.first_minor + 1)
    part._dev.kobj.name = "ram0p1"
    kobject_init(part._dev.kobj, kobj_type(), part._dev)
    genhd.init_part_stats(part)
    genhd.hd_ref_init(part, partition_generic.__delete_partition)
    disk.part_tbl.part[1] = part
    return part


def new_disk():
    return genhd.__alloc_disk_node(16, 0)


class Ram:
    """A disk in memory, whose driver has no requests: bios are done at once, or after `delay` nanoseconds."""

    def __init__(self, kernel, name="ram0", lbs=512, delay=0, **fops):
        self.kernel, self.delay = kernel, delay
        self.bytes = bytearray(SECTORS * 512)
        self.seen, self.status = [], 0
        self.queue = blk_core.blk_alloc_queue_node(GFP_KERNEL, NUMA_NO_NODE)
        blk_settings.blk_queue_make_request(self.queue, self.take)
        blk_settings.blk_queue_logical_block_size(self.queue, lbs)
        self.disk = new_disk()
        self.disk.major, self.disk.disk_name, self.disk.queue = 8, name, self.queue
        self.disk.fops = block_device_operations(**fops)
        set_capacity(self.disk, SECTORS)
        self.devt = MKDEV(8, 0)

    def add(self):
        self.kernel.task("insmod", genhd.device_add_disk, None, self.disk, None)
        self.seen.clear()
        return self

    def take(self, q, bio):
        self.seen.append((bio.bi_opf, bio.bi_iter.bi_sector, bio.bi_iter.bi_size))
        at = bio.bi_iter.bi_sector << 9
        for bv in bio_for_each_bvec(bio):
            if bio.bi_opf & REQ_OP_WRITE:
                self.bytes[at:at + bv.bv_len] = bv.bv_page.read(bv.bv_offset, bv.bv_len)
            else:
                bv.bv_page.write(bv.bv_offset, bytes(self.bytes[at:at + bv.bv_len]))
            at += bv.bv_len
        bio.bi_status = self.status
        if self.delay:
            self.kernel.loop.post(self.kernel.context, lambda: bios.bio_endio(bio), self.delay)
        else:
            bios.bio_endio(bio)
        return 0

    def remove(self):
        genhd.del_gendisk(self.disk)
        blk_core.blk_cleanup_queue(self.queue)
        genhd.put_disk(self.disk)


@pytest.fixture
def kernel():
    return boot(2)


@pytest.fixture
def ram(kernel):
    return Ram(kernel).add()


def held(kernel):
    return sorted((a.kind, a.size) for a in kernel.memory.live.values())


def cached_pages():
    return sum(bdev.bd_inode.i_mapping.nrpages for bdev in block_dev.variables().all_bdevs)


def opened(ram, mode=FMODE_READ, holder=None):
    bdev = block_dev.blkdev_get_by_dev(ram.devt, mode, holder)
    assert not IS_ERR(bdev)
    return bdev


def transfer(name, op, pos, data_or_length, runs=None, flags=O_DIRECT):
    """pread or pwrite by a process that opens the disk for it. Returns bytes, or a negative errno."""
    length = len(data_or_length) if op == WRITE else data_or_length
    filp = filp_open(name, flags | (O_WRONLY if op == WRITE else O_RDONLY))
    buffer = map_user_buffer(runs or [1] * (-(-length // PAGE_SIZE)))
    at = iov_iter()
    iov_iter_init(at, op, buffer, 0, length)
    if op == WRITE:
        buffer.write(0, data_or_length)
    ret = (new_sync_write if op == WRITE else new_sync_read)(filp, at, pos)
    found = buffer.read(0, ret) if op == READ and ret > 0 else ret
    unmap_user_buffer(buffer)
    filp_close(filp)
    return found


def test_a_number_has_one_block_device(kernel):
    before = held(kernel)
    bdev = block_dev.bdget(MKDEV(8, 3))
    assert block_dev.bdget(MKDEV(8, 3)) is bdev
    assert bdev.bd_inode.i_count == 2
    assert (bdev.bd_dev, bdev.bd_block_size, bdev.bd_inode.i_rdev) == (MKDEV(8, 3), 4096, MKDEV(8, 3))
    other = block_dev.bdget(MKDEV(3, 8))  # hashed to the same place
    assert other is not bdev
    assert list(block_dev.variables().all_bdevs) == [other, bdev]
    block_dev.bdgrab(bdev)
    for each in (bdev, bdev, bdev, other):
        block_dev.bdput(each)
    kernel.loop.settle()
    assert held(kernel) == before
    assert inode_hashtable() == {}
    kernel.memory.fail_nth(1)
    assert block_dev.bdget(1) is None


def test_who_is_unhashed_is_not_found_again(kernel):
    bdev = block_dev.bdget(7)
    block_dev.bdev_unhash_inode(7)
    block_dev.bdev_unhash_inode(9)
    again = block_dev.bdget(7)
    assert again is not bdev
    assert bdev.bd_inode.i_count == 1


def test_opening_and_closing(ram, kernel):
    before = held(kernel)
    bdev = opened(ram)
    assert (bdev.bd_openers, bdev.bd_disk, bdev.bd_contains, bdev.bd_part) == (1, ram.disk, bdev, ram.disk.part0)
    assert bdev.bd_inode.i_size == SECTORS * 512
    assert bdev.bd_block_size == 4096
    assert bdev.bd_bdi is ram.queue.backing_dev_info
    references = disk_to_dev(ram.disk).kobj.refcount
    assert opened(ram) is bdev
    assert disk_to_dev(ram.disk).kobj.refcount == references
    block_dev.blkdev_put(bdev, FMODE_READ)
    assert bdev.bd_disk is ram.disk
    block_dev.blkdev_put(bdev, FMODE_READ)
    assert (bdev.bd_disk, bdev.bd_part, bdev.bd_contains) == (None, None, None)
    assert bdev.bd_bdi is noop_backing_dev_info()
    kernel.loop.settle()
    assert held(kernel) == before
    assert IS_ERR(block_dev.blkdev_get_by_dev(MKDEV(9, 0), FMODE_READ, None))
    kernel.memory.fail_nth(1)
    assert PTR_ERR(block_dev.blkdev_get_by_dev(ram.devt, FMODE_READ, None)) == -ENOMEM


def test_a_partition_opens_its_disk(ram, kernel):
    part = open_part(ram.disk)
    whole = block_dev.bdget(ram.devt)
    bdev = block_dev.blkdev_get_by_dev(part._dev.devt, FMODE_READ, None)
    assert (bdev.bd_contains, bdev.bd_part, bdev.bd_partno) == (whole, part, 1)
    assert (whole.bd_openers, whole.bd_part_count) == (1, 1)
    assert bdev.bd_inode.i_size == 1024 * 512
    assert partition_generic.bdevname(bdev) == "ram0p1"
    assert partition_generic.drop_partitions(ram.disk, whole) == -EBUSY
    assert partition_generic.rescan_partitions(ram.disk, whole) == -EBUSY
    block_dev.blkdev_put(bdev, FMODE_READ)
    assert (whole.bd_openers, whole.bd_part_count) == (0, 0)
    part.nr_sects = 0
    assert PTR_ERR(block_dev.blkdev_get_by_dev(part._dev.devt, FMODE_READ, None)) == -ENXIO
    assert whole.bd_openers == 0
    assert PTR_ERR(block_dev.blkdev_get_by_dev(MKDEV(8, 2), FMODE_READ, None)) == -ENXIO
    partition_generic.delete_partition(ram.disk, 9)
    partition_generic.delete_partition(ram.disk, 1)
    assert ram.disk.part_tbl.part[1] is None


def test_a_driver_that_refuses(kernel):
    answers = [0, -EIO, -ERESTARTSYS, 0, -EIO]
    calls = []

    def open_disk(bdev, mode):
        calls.append(mode)
        return answers.pop(0)
    ram = Ram(kernel, open=open_disk, release=lambda disk, mode: calls.append("release")).add()
    references = disk_to_dev(ram.disk).kobj.refcount
    assert PTR_ERR(block_dev.blkdev_get_by_dev(ram.devt, FMODE_READ, None)) == -EIO
    bdev = opened(ram)  # the second try after -ERESTARTSYS
    assert PTR_ERR(block_dev.blkdev_get_by_dev(ram.devt, FMODE_READ, None)) == -EIO
    block_dev.blkdev_put(bdev, FMODE_READ)
    assert calls[-1] == "release"
    assert disk_to_dev(ram.disk).kobj.refcount == references


def test_claims(ram, kernel):
    part = open_part(ram.disk)
    one, two = object(), object()
    excl = FMODE_READ | FMODE_EXCL
    bdev = opened(ram, excl, one)
    assert (bdev.bd_holder, bdev.bd_holders, bdev.bd_claiming) == (one, 2, None)
    assert opened(ram, excl, one) is bdev
    assert PTR_ERR(block_dev.blkdev_get_by_dev(ram.devt, excl, two)) == -EBUSY
    assert PTR_ERR(block_dev.blkdev_get_by_dev(part._dev.devt, excl, two)) == -EBUSY
    for _ in range(2):
        block_dev.blkdev_put(bdev, excl)
    assert bdev.bd_holder is None
    piece = block_dev.blkdev_get_by_dev(part._dev.devt, excl, two)
    whole = piece.bd_contains
    assert PTR_ERR(block_dev.blkdev_get_by_dev(ram.devt, excl, one)) == -EBUSY
    assert block_dev.bd_may_claim(whole, whole, block_dev.CLAIMED)
    whole_again = opened(ram)
    block_dev.blkdev_put(whole_again, FMODE_READ)
    block_dev.blkdev_put(piece, excl)
    assert (whole.bd_holder, whole.bd_holders) == (None, 0)
    assert PTR_ERR(block_dev.bd_start_claiming(block_dev.bdget(MKDEV(9, 9)), one)) == -ENXIO
    bdev = block_dev.bdget(ram.devt)
    assert block_dev.bd_start_claiming(bdev, one) is bdev
    began = kernel.now
    kernel.loop.post(kernel.context, lambda: block_dev.bd_abort_claiming(bdev, bdev, one), 10)
    assert block_dev.bd_start_claiming(bdev, two) is bdev
    assert kernel.now == began + 10
    block_dev.bd_finish_claiming(bdev, bdev, two)
    assert (bdev.bd_holder, bdev.bd_claiming) == (two, None)


def test_a_claim_is_given_up_when_opening_fails(kernel):
    ram = Ram(kernel, open=lambda bdev, mode: 0).add()
    ram.disk.fops.open = lambda bdev, mode: -EIO
    bdev = block_dev.bdget(ram.devt)
    assert PTR_ERR(block_dev.blkdev_get_by_dev(ram.devt, FMODE_READ | FMODE_EXCL, "me")) == -EIO
    assert (bdev.bd_claiming, bdev.bd_holder, bdev.bd_inode.i_count) == (None, None, 1)


def test_a_new_medium(kernel):
    ram = Ram(kernel).add()
    bdev = opened(ram)
    block_dev.flush_disk(bdev, True)
    assert bdev.bd_invalidated == 1
    assert block_dev.revalidate_disk(ram.disk) == 0
    assert bdev.bd_invalidated == 0
    block_dev.blkdev_put(bdev, FMODE_READ)


def test_a_disk_that_changes_its_size(ram, kernel):
    bdev = opened(ram)
    page = read_mapping_page(bdev.bd_inode.i_mapping, 0, None)
    put_page(page)
    set_capacity(ram.disk, 100)
    assert block_dev.revalidate_disk(ram.disk) == 0
    assert kernel.log[-1] == "ram0: detected capacity change from 2097152 to 51200"
    assert bdev.bd_inode.i_size == 51200
    assert cached_pages() == 0
    log = len(kernel.log)
    set_capacity(ram.disk, 200)
    block_dev.check_disk_size_change(ram.disk, bdev, False)
    assert bdev.bd_inode.i_size == 102400
    ram.disk.flags |= GENHD_FL_HIDDEN
    set_capacity(ram.disk, 300)
    ram.disk.fops.revalidate_disk = lambda disk: -5
    assert block_dev.revalidate_disk(ram.disk) == -5
    assert bdev.bd_inode.i_size == 102400
    ram.disk.flags &= ~GENHD_FL_HIDDEN
    kernel.memory.fail_never()
    assert block_dev.revalidate_disk(ram.disk) == -5
    assert len(kernel.log) == log
    ram.disk.minors = 1  # no partitions: only the size is looked at
    set_capacity(ram.disk, 400)
    bdev.bd_invalidated = 1
    block_dev.bdev_disk_changed(bdev, False)
    assert (bdev.bd_inode.i_size, bdev.bd_invalidated) == (204800, 0)
    block_dev.blkdev_put(bdev, FMODE_READ)


@pytest.mark.parametrize(("lbs", "sectors", "expected"), [(512, 4096, 4096), (512, 4095, 512), (512, 4098, 1024),
                                                         (4096, 4096, 4096)])
def test_the_size_of_buffers(kernel, lbs, sectors, expected):
    ram = Ram(kernel, lbs=lbs).add()
    set_capacity(ram.disk, sectors)
    bdev = opened(ram)
    assert bdev.bd_block_size == expected
    assert 1 << bdev.bd_inode.i_blkbits == expected
    block_dev.blkdev_put(bdev, FMODE_READ)


def test_reading_past_the_cache(ram, kernel):
    ram.bytes[:] = bytes(i * 7 % 251 for i in range(len(ram.bytes)))
    assert transfer("ram0", READ, 4096, 8192) == ram.bytes[4096:12288]
    assert ram.seen == [(0, 8, 8192)]
    assert transfer("ram0", READ, SECTORS * 512 - 4096, 8192) == ram.bytes[-4096:]
    assert transfer("ram0", READ, SECTORS * 512, 4096) == 0
    assert transfer("ram0", READ, 100, 512) == -EINVAL
    assert transfer("ram0", READ, 512, 100) == -EINVAL
    assert PTR_ERR(filp_open("nothing", O_RDONLY)) == -ENOENT


def test_writing_past_the_cache(ram, kernel):
    data = bytes(range(256)) * 48
    assert transfer("ram0", WRITE, 512, data, runs=[1, 2]) == len(data)
    assert ram.bytes[512:512 + len(data)] == data
    assert ram.seen == [(REQ_OP_WRITE | REQ_SYNC | REQ_IDLE, 1, len(data))]
    assert transfer("ram0", WRITE, SECTORS * 512, data) == -ENOSPC
    assert transfer("ram0", WRITE, SECTORS * 512 - 512, data) == 512
    assert transfer("ram0", WRITE, 0, b"") == 0
    assert transfer("ram0", WRITE, 100, data, flags=0) == len(data)
    assert ram.bytes[100:100 + len(data)] == data  # written back when it was closed
    ram.disk.part0.policy = 1
    assert transfer("ram0", WRITE, 0, data) == -EPERM
    assert block_dev.dio_bio_write_op(kiocb(ki_flags=IOCB_DSYNC)) & REQ_FUA
    ram.disk.part0.policy = 0
    blk_settings.blk_queue_write_cache(ram.queue, True, True)
    transfer("ram0", WRITE, 0, data[:512], flags=O_DIRECT | O_DSYNC)
    assert ram.seen[-2][0] & REQ_FUA
    assert ram.seen[-1] == (REQ_OP_WRITE | REQ_PREFLUSH | REQ_SYNC, 0, 0)


@given(st.lists(st.tuples(st.integers(0, 63), st.integers(1, 64), st.lists(st.integers(1, 9), min_size=1, max_size=4)),
                min_size=1, max_size=8), st.integers(0, 1000))
@settings(max_examples=40)
def test_what_was_written_is_read(writes, delay):
    kernel = boot(1)
    ram = Ram(kernel, delay=delay).add()
    blk_settings.blk_queue_max_hw_sectors(ram.queue, 64)
    expected = bytearray(SECTORS * 512)
    before = held(kernel)
    for number, (sector, sectors, runs) in enumerate(writes):
        length = min(sectors * 512, sum(runs) * PAGE_SIZE)
        data = bytes((number * 31 + i) % 256 for i in range(length))
        expected[sector * 512:sector * 512 + length] = data
        assert kernel.task("dd", transfer, "ram0", WRITE, sector * 512, data, runs) == length
    assert ram.bytes == expected
    assert kernel.task("dd", transfer, "ram0", READ, 0, 65536, [3, 13]) == expected[:65536]
    kernel.task("dd", transfer, "ram0", READ, 0, 512)
    kernel.loop.run_due()
    # the node remembers the block device; nothing else is left
    assert len(held(kernel)) == len(before) + 1


def test_errors_of_the_device(ram):
    ram.status = BLK_STS_MEDIUM
    assert transfer("ram0", READ, 0, 512) == -ENODATA
    assert transfer("ram0", READ, 0, 300 * PAGE_SIZE) == -ENODATA


def test_no_memory_for_vectors(ram, kernel):
    filp = filp_open("ram0", O_DIRECT)
    buffer = map_user_buffer([1] * 8)
    at = iov_iter()
    iov_iter_init(at, READ, buffer, 0, 8 * PAGE_SIZE)
    kernel.memory.fail_nth(1)
    assert new_sync_read(filp, at, 0) == -ENOMEM
    assert new_sync_read(filp, at, 0) == 8 * PAGE_SIZE
    assert new_sync_write(filp, at, 0) == -EBADF
    filp_close(filp)
    writer = filp_open("ram0", O_WRONLY)
    assert new_sync_read(writer, at, 0) == -EBADF
    filp_close(writer)


@pytest.mark.parametrize("pages", [256, 257, 600])
def test_long_buffers(kernel, pages):
    ram = Ram(kernel, delay=10)
    ram.bytes = bytearray(pages * PAGE_SIZE)
    set_capacity(ram.disk, pages * 8)
    ram.add()
    data = bytes(i % 253 for i in range(pages * PAGE_SIZE))
    before = held(kernel)
    assert transfer("ram0", WRITE, 0, data) == len(data)
    assert ram.bytes == data
    assert len(ram.seen) == -(-pages // 256)
    assert transfer("ram0", READ, 0, len(data)) == data
    kernel.loop.run_due()
    assert len(held(kernel)) == len(before) + 1


def test_nobody_waits(kernel):
    ram = Ram(kernel, delay=10)
    ram.bytes = bytearray(600 * PAGE_SIZE)
    set_capacity(ram.disk, 600 * 8)
    ram.add()
    filp = filp_open("ram0", O_RDWR | O_DIRECT)
    told = []
    for pages, status, expected in ((3, 0, 3 * PAGE_SIZE), (600, 0, 600 * PAGE_SIZE), (3, BLK_STS_IOERR, -EIO)):
        ram.status = status
        buffer = map_user_buffer([1] * pages)
        at = iov_iter()
        iov_iter_init(at, WRITE, buffer, 0, pages * PAGE_SIZE)
        iocb = kiocb(ki_filp=filp, ki_flags=IOCB_DIRECT, ki_complete=lambda *args: told.append(args))
        assert block_dev.blkdev_direct_IO(iocb, at) == -EIOCBQUEUED
        assert told == []
        kernel.loop.advance(10)
        assert told.pop() == (iocb, expected, 0)
        assert iocb.ki_pos == max(expected, 0)
        kernel.loop.run_due()
        unmap_user_buffer(buffer)
    filp_close(filp)


def test_flags_of_direct_io(ram, kernel):
    filp = filp_open("ram0", O_RDWR | O_DIRECT)
    buffer = map_user_buffer([1])
    for flags, expected in ((IOCB_NOWAIT, REQ_NOWAIT), (IOCB_HIPRI, REQ_HIPRI)):
        blk_core.blk_queue_flag_set(QUEUE_FLAG_POLL, ram.queue)
        at = iov_iter()
        iov_iter_init(at, READ, buffer, 0, 512)
        iocb = kiocb(ki_filp=filp, ki_flags=IOCB_DIRECT | flags)
        ret = block_dev.blkdev_direct_IO(iocb, at)
        if flags == IOCB_NOWAIT:  # a driver without requests can't promise that
            assert ret == -11
        else:
            assert ret == 512
            assert ram.seen[-1][0] & expected
    at = iov_iter()
    iov_iter_init(at, WRITE, buffer, 0, 512)
    assert block_dev.blkdev_write_iter(kiocb(ki_filp=filp, ki_flags=IOCB_NOWAIT), at) == -EOPNOTSUPP
    assert block_dev.blkdev_direct_IO(kiocb(ki_filp=filp), iov_iter()) == 0
    filp_close(filp)
    unmap_user_buffer(buffer)


def test_reading_through_the_cache(ram, kernel):
    ram.bytes[:] = bytes(i * 3 % 249 for i in range(len(ram.bytes)))
    filp = filp_open("ram0", O_RDONLY)
    buffer = map_user_buffer([3])
    at = iov_iter()
    iov_iter_init(at, READ, buffer, 0, 5000)
    assert new_sync_read(filp, at, 1000) == 5000
    assert buffer.read(0, 5000) == ram.bytes[1000:6000]
    assert ram.seen == [(REQ_RAHEAD, 0, 16384)]  # two more than asked for, since it begins at the start
    iov_iter_init(at, READ, buffer, 0, 100)
    new_sync_read(filp, at, 4096)
    assert len(ram.seen) == 1
    assert cached_pages() == 4
    bdev = block_dev.bdget(ram.devt)
    page = bdev.bd_inode.i_mapping.pages[0]
    page.write(10, b"changed")
    set_page_dirty(page)
    assert bdev.bd_inode.i_state & I_DIRTY
    block_dev.invalidate_bdev(bdev)
    assert list(bdev.bd_inode.i_mapping.pages) == [0]
    assert block_dev.__sync_blockdev(None, 1) == 0
    assert block_dev.__sync_blockdev(bdev, 0) == 0
    assert ram.bytes[10:17] == b"changed"
    assert transfer("ram0", READ, 0, 512) == ram.bytes[:512]
    set_page_dirty(page)
    ram.status = BLK_STS_IOERR
    assert block_dev.sync_blockdev(bdev) == -EIO
    assert "lost async page write" in kernel.log[-1]
    set_page_dirty(page)
    assert block_dev.fsync_bdev(bdev) == -EIO
    ram.status = 0
    page.write(10, b"again..")
    set_page_dirty(page)
    assert block_dev.fsync_bdev(bdev) == 0
    assert ram.bytes[10:17] == b"again.."
    assert transfer("ram0", WRITE, 0, b"z" * 512) == 512
    assert cached_pages() == 0
    block_dev.bdev_write_inode(bdev)
    assert not bdev.bd_inode.i_state & I_DIRTY
    block_dev.bdput(bdev)
    filp_close(filp)
    unmap_user_buffer(buffer)
    pages = len(mem_map().runs)
    kernel.task("rmmod", ram.remove)
    assert len(mem_map().runs) == pages


def test_freezing_counts_and_writes_back_the_first_time(kernel, ram):
    bdev = opened(ram)
    filp = filp_open("ram0", O_RDONLY)
    at = iov_iter()
    iov_iter_init(at, READ, map_user_buffer([1]), 0, 4096)
    assert new_sync_read(filp, at, 0) == 4096
    page = bdev.bd_inode.i_mapping.pages[0]
    for content in (b"first", b"later"):
        page.write(0, content)
        set_page_dirty(page)
        block_dev.freeze_bdev(bdev)
        assert ram.bytes[:5] == b"first"
    assert block_dev.thaw_bdev(bdev, None) == block_dev.thaw_bdev(bdev, None) == 0
    assert block_dev.thaw_bdev(bdev, None) == -EINVAL
    block_dev.freeze_bdev(bdev)
    assert ram.bytes[:5] == b"later"


def test_no_memory_for_direct_io_at_boot(kernel):
    bios.bioset_exit(block_dev.variables().blkdev_dio_pool)
    kernel.memory.fail_nth(1)
    assert block_dev.blkdev_init() == -ENOMEM
    kernel.memory.fail_never()
    assert block_dev.blkdev_init() == 0


def test_small_buffers_and_errors_through_the_cache(kernel):
    ram = Ram(kernel).add()
    set_capacity(ram.disk, 4095)  # so that a buffer is a sector
    bdev = opened(ram)
    data, page = partition_generic.read_dev_sector(bdev, 9)
    assert data == bytes(ram.bytes[9 * 512:10 * 512])
    assert [seen[1] for seen in ram.seen] == list(range(8, 16))
    put_page(page)
    last, page = partition_generic.read_dev_sector(bdev, 4094)
    assert last == bytes(512)
    put_page(page)
    ram.status = BLK_STS_IOERR
    assert partition_generic.read_dev_sector(bdev, 100) == (None, None)
    assert "Buffer I/O error on dev ram0, logical block 96, async page read" in kernel.log
    ram.status = 0
    again, page = partition_generic.read_dev_sector(bdev, 100)
    assert again == bytes(512)  # the page is read anew, and without its error
    put_page(page)
    kernel.memory.fail_nth(1)
    assert partition_generic.read_dev_sector(bdev, 200) == (None, None)
    kernel.memory.fail_never()
    before = cached_pages()
    assert before == 3
    block_dev.kill_bdev(bdev)
    assert cached_pages() == 0
    block_dev.kill_bdev(bdev)
    block_dev.blkdev_put(bdev, FMODE_READ)


def test_a_disk_that_can_not_be_scanned(kernel):
    ram = Ram(kernel)
    ram.status = BLK_STS_IOERR
    ram.add()
    assert " ram0: unable to read partition table" in kernel.log
    assert "ram0" in devices().nodes


def test_scanning_names_and_sectors(ram, kernel):
    bdev = opened(ram)
    bdev.bd_invalidated = 1
    block_dev.bdev_disk_changed(bdev, False)
    assert bdev.bd_invalidated == 0
    assert ram.seen[-1] == (0, 0, 4096)
    assert partition_generic.rescan_partitions(ram.disk, bdev) == 0
    ram.disk.disk_name = "sda"
    assert partition_generic.disk_name(ram.disk, 0) == "sda"
    assert partition_generic.disk_name(ram.disk, 2) == "sda2"
    block_dev.blkdev_put(bdev, FMODE_READ)


def test_a_scan_without_memory_finds_nothing(ram, kernel):
    bdev = opened(ram)
    before = held(kernel)
    for nth in (1, 2, 3):
        kernel.memory.fail_nth(nth)
        assert partition_generic.rescan_partitions(ram.disk, bdev) == 0
        assert held(kernel) == before
    block_dev.blkdev_put(bdev, FMODE_READ)


def test_files(ram, kernel):
    filp = filp_open("/dev/ram0", O_RDWR | O_EXCL | O_NDELAY)
    assert filp.f_mode & (FMODE_READ | FMODE_WRITE | FMODE_EXCL | FMODE_NDELAY) == 0xC3
    bdev = block_dev.bdget(ram.devt)
    assert bdev.bd_holder is filp
    assert PTR_ERR(filp_open("ram0", O_RDONLY | O_EXCL)) == -EBUSY
    ioctl = filp_open("ram0", 3)
    assert ioctl.f_mode & FMODE_WRITE_IOCTL
    assert block_dev.bdev_file_inode(ioctl) is bdev.bd_inode
    filp_close(ioctl)
    filp_close(filp)
    found = opened(ram)
    assert found is bdev
    block_dev.blkdev_put(found, FMODE_READ)
    assert PTR_ERR(block_dev.lookup_bdev("")) == -EINVAL
    assert PTR_ERR(block_dev.lookup_bdev("/dev/nobody")) == -ENOENT
    assert PTR_ERR(block_dev.lookup_bdev("ram0")) == -ENOENT
    node = devices().nodes["ram0"].inode
    assert node.i_bdev is bdev
    references = bdev.bd_inode.i_count
    block_dev.bd_forget(node)
    assert (node.i_bdev, bdev.bd_inode.i_count) == (None, references - 1)
    block_dev.bdput(bdev)
    kernel.loop.run_due()
    kernel.memory.fail_nth(1)
    assert PTR_ERR(filp_open("ram0", O_RDONLY)) == -ENOMEM
    kernel.memory.fail_nth(1)
    assert PTR_ERR(block_dev.lookup_bdev("/dev/ram0")) == -ENOMEM


def test_a_node_of_a_disk_that_was_replaced(ram, kernel):
    filp = filp_open("ram0", O_RDONLY)
    old = filp.f_mapping.host._owner.bdev
    block_dev.bdev_unhash_inode(ram.devt)
    again = filp_open("ram0", O_RDONLY)
    assert again.f_mapping.host._owner.bdev is not old
    assert old.bd_openers == 1
    for each in (filp, again):
        filp_close(each)


def test_syncing_flushes_the_devices_cache(ram, kernel):
    filp = filp_open("ram0", O_RDWR)
    assert vfs_fsync(filp, 0) == 0
    assert ram.seen == []  # no cache, nothing to flush
    blk_settings.blk_queue_write_cache(ram.queue, True, False)
    for status, error in ((0, 0), (BLK_STS_NOTSUPP, 0), (BLK_STS_IOERR, -EIO)):
        ram.status = status
        assert vfs_fsync(filp, 0) == error
        assert ram.seen.pop() == (REQ_OP_WRITE | REQ_PREFLUSH | REQ_SYNC, 0, 0)
    ram.status = 0
    page = read_mapping_page(filp.f_mapping, 0, None)
    set_page_dirty(page)
    put_page(page)
    ram.status = BLK_STS_IOERR
    assert vfs_fsync(filp, 0) == -EIO
    ram.status = 0
    assert transfer("ram0", WRITE, 0, b"d" * 512, flags=O_DIRECT | O_DSYNC) == 512
    filp_close(filp)


def test_what_is_written_at_once_writes_back_no_pages_but_its_own(ram, kernel):
    filp = filp_open("ram0", O_RDWR)
    pages = [read_mapping_page(filp.f_mapping, index, None) for index in range(3)]
    for page in pages:
        set_page_dirty(page)
    assert transfer("ram0", WRITE, PAGE_SIZE, b"d" * 512, flags=O_DIRECT | O_DSYNC) == 512
    assert [PageDirty(page) for page in pages] == [True, False, True]
    assert vfs_fsync(filp, 0) == 0
    assert not any(PageDirty(page) for page in pages)
    for page in pages:
        put_page(page)
    filp_close(filp)


def test_memory_that_a_process_does_not_have(ram, kernel):
    filp = filp_open("ram0", O_DIRECT | O_RDONLY)
    buffer = map_user_buffer([1])
    for start, found in ((PAGE_SIZE, -EFAULT), (0, PAGE_SIZE)):
        at = iov_iter()
        iov_iter_init(at, READ, buffer, start, 2 * PAGE_SIZE)
        bio = bios.bio_alloc_bioset(GFP_KERNEL, 4, bios.variables().fs_bio_set)
        ret = bios.bio_iov_iter_get_pages(bio, at)
        assert (ret or bio.bi_iter.bi_size) == found
        bios.bio_release_pages(bio, False)
        bios.bio_put(bio)
    iov_iter_init(at, READ, buffer, PAGE_SIZE, 512)
    assert new_sync_read(filp, at, 0) == -EFAULT
    unmap_user_buffer(buffer)
    filp_close(filp)


def test_what_can_not_be_done_without_waiting(ram, kernel):
    filp = filp_open("ram0", O_DIRECT | O_RDWR)
    buffer = map_user_buffer([1])
    at = iov_iter()
    for op, move in ((READ, new_sync_read), (WRITE, new_sync_write)):
        iov_iter_init(at, op, buffer, 0, 512)
        assert move(filp, at, 0, 1 << 9) == -EOPNOTSUPP
        assert move(filp, at, 0, RWF_NOWAIT) == -EAGAIN  # a driver without requests can't promise that
        put_page(read_mapping_page(filp.f_mapping, 0, None))
        iov_iter_init(at, op, buffer, 0, 512)
        assert move(filp, at, 0, RWF_NOWAIT) == -EAGAIN
        assert ram.seen.pop()[0] == 0  # only the page's
        block_dev.kill_bdev(filp.f_mapping.host._owner.bdev)
    assert ram.seen == []
    filp.f_mode &= ~FMODE_NOWAIT
    assert new_sync_read(filp, at, 0, RWF_NOWAIT) == -EOPNOTSUPP
    unmap_user_buffer(buffer)
    filp_close(filp)


def test_disks_made_of_disks(ram, kernel):
    top = new_disk()
    top.disk_name = top.part0._dev.kobj.name = "dm-0"
    top.slave_dir = kobject(name="slaves")
    bdev = opened(ram, FMODE_READ | FMODE_EXCL, top)
    before = held(kernel)
    references = ram.disk.part0.holder_dir.refcount
    assert block_dev.bd_link_disk_holder(bdev, top) == 0
    assert block_dev.bd_link_disk_holder(bdev, top) == 0
    assert block_dev.bd_find_holder_disk(bdev, top).refcnt == 2
    assert top.slave_dir.links == {"ram0": disk_to_dev(ram.disk).kobj}
    assert ram.disk.part0.holder_dir.links == {"dm-0": disk_to_dev(top).kobj}
    block_dev.bd_unlink_disk_holder(bdev, top)
    assert top.slave_dir.links
    block_dev.bd_unlink_disk_holder(bdev, top)
    assert top.slave_dir.links == ram.disk.part0.holder_dir.links == {}
    assert ram.disk.part0.holder_dir.refcount == references
    assert held(kernel) == before
    block_dev.bd_unlink_disk_holder(bdev, top)
    assert "WARNING" in kernel.log[-1]
    kernel.memory.fail_nth(1)
    assert block_dev.bd_link_disk_holder(bdev, top) == -ENOMEM
    top.slave_dir = None
    assert block_dev.bd_link_disk_holder(bdev, top) == 0
    assert "WARNING" in kernel.log[-1]
