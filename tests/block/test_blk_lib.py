"""Discarding and zeroing: which bios a range becomes, and what a process gets for asking."""

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel import KernelError, boot, scenario
from blkmodel.block import blk_lib, blk_settings, ioctl
from blkmodel.fs import block_dev
from blkmodel.include.linux.blk_types import (BIO_QUEUE_ENTERED, REQ_NOUNMAP, REQ_OP_DISCARD, REQ_OP_MASK, REQ_OP_READ,
    REQ_OP_SECURE_ERASE, REQ_OP_WRITE, REQ_OP_WRITE_ZEROES, bio_flagged)
from blkmodel.include.linux.blkdev import BLKDEV_DISCARD_SECURE, QUEUE_FLAG_SECERASE, request_queue
from blkmodel.include.linux.fs import BLKSECDISCARD, BLKZEROOUT, block_device
from blkmodel.include.linux.genhd import gendisk
from blkmodel.services.base.err import EBADF, EINVAL, ENOTTY, ENXIO, EOPNOTSUPP, EPERM, IS_ERR
from blkmodel.services.files.file import FMODE_WRITE, O_NDELAY, O_RDONLY, O_RDWR, filp_close, filp_open
from blkmodel.services.files.pagemap import read_mapping_page, truncate_inode_pages
from blkmodel.services.memory.mm import ZERO_PAGE, put_page
from blkmodel.services.memory.slab import GFP_KERNEL
from blkmodel.sim.memory import PAGE_SIZE

SECTORS = 16384


@pytest.fixture
def kernel():
    kernel = boot(2)
    scenario.null_blk_load(nr_devices=0)
    return kernel


class Seen:
    """A disk in memory, and the bios but reads that reach its queue: (operation, first sector, sectors)."""

    def __init__(self, zeroes=0, **attributes):
        self.name = scenario.null_blk_create("d", size=8, memory_backed=1, discard=1, **attributes)
        self.q = scenario.disk(self.name).queue
        blk_settings.blk_queue_max_write_zeroes_sectors(self.q, zeroes)
        self.bios, self.flags, self.statuses = [], [], []
        self.make_request, self.q.make_request_fn = self.q.make_request_fn, self.take

    def take(self, q, bio):
        op = bio.bi_opf & REQ_OP_MASK
        if op == REQ_OP_READ or bio_flagged(bio, BIO_QUEUE_ENTERED):  # or the rest of one that was cut
            return self.make_request(q, bio)
        self.bios.append((op, bio.bi_iter.bi_sector, bio.bi_iter.bi_size >> 9))
        self.flags.append(bio.bi_opf & ~REQ_OP_MASK)
        if op in (REQ_OP_WRITE, REQ_OP_DISCARD) and not self.statuses:
            return self.make_request(q, bio)
        bio.bi_status = (self.statuses.pop(0) if self.statuses else 0) or bio.bi_status
        block_dev.bio_module.bio_endio(bio)
        return 0

    def open(self, flags=O_RDWR):
        filp = filp_open(self.name, flags)
        assert not IS_ERR(filp)
        return filp, filp.f_mapping.host._owner.bdev


def test_a_discard_forgets_data(kernel):
    disk = Seen()
    scenario.io(disk.name, "write", 0, 16384)
    scenario.discard(disk.name, 4096, 8192)
    wanted = scenario.sector_numbers(0, 4096) + bytes(8192) + scenario.sector_numbers(12288, 4096)
    assert scenario.io(disk.name, "read", 0, 16384) == wanted
    assert (REQ_OP_DISCARD, 8, 16) in disk.bios


@pytest.mark.parametrize(("offset", "length"), [(100, 512), (512, 100), (0, 8 << 20 | 512), (0, 0)])
def test_ranges_that_can_not_be_discarded(kernel, offset, length):
    disk = Seen()
    with pytest.raises(KernelError) as why:
        scenario.discard(disk.name, offset, length)
    assert why.value.errno == EINVAL
    assert disk.bios == []


@pytest.mark.parametrize(("offset", "length"), [(100, 512), (512, 100), (0, 8 << 20 | 512), (512, 0)])
def test_ranges_that_can_not_be_zeroed(kernel, offset, length):
    disk = Seen()
    with pytest.raises(KernelError) as why:
        scenario.zero_out(disk.name, offset, length)
    assert why.value.errno == EINVAL
    assert disk.bios == []


def test_who_may_discard(kernel):
    scenario.null_blk_create("plain", size=8)
    with pytest.raises(KernelError) as why:
        scenario.discard("nullb0", 0, 4096)
    assert why.value.errno == EOPNOTSUPP
    disk = Seen()
    filp, bdev = disk.open(O_RDONLY)
    assert ioctl.blk_ioctl_discard(bdev, filp.f_mode, (0, 512), 0) == -EBADF
    assert ioctl.blk_ioctl_zeroout(bdev, filp.f_mode, (0, 512)) == -EBADF
    assert block_dev.block_ioctl(filp, 0x5401, None) == -ENOTTY
    filp.f_flags |= O_NDELAY
    assert block_dev.block_ioctl(filp, BLKZEROOUT, (0, 512)) == -EBADF
    filp_close(filp)
    filp, bdev = disk.open()
    assert block_dev.block_ioctl(filp, BLKSECDISCARD, (0, 512)) == -EOPNOTSUPP
    disk.q.queue_flags |= 1 << QUEUE_FLAG_SECERASE
    assert block_dev.block_ioctl(filp, BLKSECDISCARD, (0, 512)) == 0
    assert disk.bios == [(REQ_OP_SECURE_ERASE, 0, 1)]
    bdev.bd_part.policy = 1
    for issue, *more in ((blk_lib.__blkdev_issue_discard, 0, None), (blk_lib.__blkdev_issue_write_zeroes, None, 0),
                         (blk_lib.__blkdev_issue_zero_pages, None)):
        assert issue(bdev, 0, 8, GFP_KERNEL, *more) == (-EPERM, None)
        nobody = block_device(bd_disk=gendisk(queue=None))
        assert issue(nobody, 0, 8, GFP_KERNEL, *more) == (-ENXIO, None)
    filp_close(filp)


def test_a_device_that_fails_to_discard_after_all(kernel):
    disk = Seen()
    disk.statuses = [1, 10]  # not supported, and an I/O error
    scenario.discard(disk.name, 0, 4096)
    with pytest.raises(KernelError, match="EIO"):
        scenario.discard(disk.name, 0, 4096)


@given(st.integers(0, SECTORS - 1), st.integers(1, SECTORS), st.sampled_from([0, 1, 8, 1000, 65535]),
       st.sampled_from([512, 4096]))
@settings(max_examples=60)
def test_zeroing_covers_the_range_once_and_nothing_else(first, count, most, blocksize):
    """Whoever does it, the device or the kernel: the bios are the range, in order, each within its limit."""
    boot(2)
    scenario.null_blk_load(nr_devices=0)
    block = blocksize // 512
    first, count = first // block * block, max(count // block, 1) * block
    count = min(count, SECTORS - first)
    disk = Seen(zeroes=most, blocksize=blocksize)
    at = max(first - 8, 0) * 512
    scenario.io(disk.name, "write", at, PAGE_SIZE)
    disk.bios.clear()
    disk.flags.clear()
    scenario.zero_out(disk.name, first * 512, count * 512)
    position = first
    for op, sector, sectors in disk.bios:
        assert (op, sector) == (REQ_OP_WRITE_ZEROES if most else REQ_OP_WRITE, position)
        assert sectors <= (most or 256 * 8)
        position += sectors
    assert position == first + count
    assert all(bool(flags & REQ_NOUNMAP) == bool(most) for flags in disk.flags)
    if not most:
        assert not any(ZERO_PAGE().read(0, PAGE_SIZE))
        found = scenario.io(disk.name, "read", at, PAGE_SIZE)
        for sector in range(8):
            here = at // 512 + sector
            zeroed = first <= here < first + count
            assert found[sector * 512:][:512] == (bytes(512) if zeroed else scenario.sector_numbers(here * 512, 512))


def test_zeroes_are_written_where_the_device_fails(kernel):
    disk = Seen(zeroes=8)
    filp, bdev = disk.open()
    disk.statuses = [10, 0]
    assert blk_lib.blkdev_issue_zeroout(bdev, 0, 16, GFP_KERNEL, 0) == 0
    assert disk.bios == [(REQ_OP_WRITE_ZEROES, 0, 8), (REQ_OP_WRITE_ZEROES, 8, 8), (REQ_OP_WRITE, 0, 16)]
    blk_settings.blk_queue_max_write_zeroes_sectors(disk.q, 0)
    disk.q.limits.logical_block_size = 4096
    assert blk_lib.blkdev_issue_zeroout(bdev, 1, 8, GFP_KERNEL, 0) == -EINVAL
    assert blk_lib.__blkdev_issue_discard(bdev, 1, 8, GFP_KERNEL, 0, None) == (-EINVAL, None)
    assert blk_lib.__blkdev_issue_discard(bdev, 0, 0, GFP_KERNEL, 0, None) == (-EINVAL, None)
    assert blk_lib.__blkdev_issue_discard(bdev, 0, 8, GFP_KERNEL, BLKDEV_DISCARD_SECURE, None) == (-EOPNOTSUPP, None)
    ret, bio = blk_lib.__blkdev_issue_zero_pages(bdev, 8, 3000, GFP_KERNEL, None)
    assert (ret, bio.bi_iter.bi_sector, bio.bi_iter.bi_size >> 9, bio.bi_vcnt) == (0, 8 + 2048, 952, 119)
    assert blk_lib.__blkdev_issue_write_zeroes(bdev, 8, 8, GFP_KERNEL, None, 0) == (-EOPNOTSUPP, None)
    filp_close(filp)


def test_a_long_discard_is_several_bios_each_outlasted_by_the_next(kernel):
    disk = Seen()
    filp, bdev = disk.open()
    ended = []
    held = []
    disk.q.make_request_fn = lambda q, bio: held.append(bio)
    ret, last = blk_lib.__blkdev_issue_discard(bdev, 0, 3 << 23, GFP_KERNEL, 0, None)
    assert (ret, last.bi_iter.bi_size >> 9) == (0, (3 << 23) - 3 * ((1 << 23) - 1))
    assert held == []  # beyond the end of the disk: each ended at once, with an error
    assert last.bi_status
    last.bi_end_io = lambda bio: ended.append(bio.bi_status)
    block_dev.bio_module.bio_endio(last)
    assert ended == [10]
    filp_close(filp)


def test_what_is_cached_of_the_range_is_forgotten(kernel):
    disk = Seen()
    scenario.io(disk.name, "write", 0, 3 * PAGE_SIZE)
    filp, bdev = disk.open()
    mapping = bdev.bd_inode.i_mapping
    for index in range(3):
        put_page(read_mapping_page(mapping, index, None))
    assert block_dev.ioctl.blk_ioctl_zeroout(bdev, FMODE_WRITE, (512, 2 * PAGE_SIZE)) == 0
    assert sorted(mapping.pages) == [0, 2]  # a page of which a part is zeroed stays
    truncate_inode_pages(mapping, 0)
    put_page(read_mapping_page(mapping, 0, None))
    assert block_dev.ioctl.blk_ioctl_zeroout(bdev, FMODE_WRITE, (1024, 512)) == 0
    assert mapping.pages[0].read(0, PAGE_SIZE) == scenario.sector_numbers(0, 512) + bytes(PAGE_SIZE - 512)
    filp_close(filp)


def test_helpers():
    assert [blk_lib.__blkdev_sectors_to_bio_pages(n) for n in (1, 8, 9, 2048, 5000)] == [1, 1, 2, 256, 256]
    assert request_queue().limits.max_write_zeroes_sectors == 0
