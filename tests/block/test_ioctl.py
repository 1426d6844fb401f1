"""What is asked of an open block device: of every disk, and of drivers."""

import pytest

from blkmodel import boot, scenario
from blkmodel.block import ioctl
from blkmodel.fs import block_dev
from blkmodel.include.linux.fs import BLKFLSBUF, BLKGETSIZE64, BLKSSZGET
from blkmodel.include.linux.genhd import disk_devt
from blkmodel.services.base.err import EINVAL, EIO, ENOTTY
from blkmodel.services.devices.hdreg import HDIO_GETGEO
from blkmodel.services.files.file import FMODE_READ, O_RDWR, filp_close, filp_open
from blkmodel.services.files.pagemap import read_mapping_page
from blkmodel.services.memory.mm import put_page, set_page_dirty
from blkmodel.sim import this

GIB = 1 << 30


def ask(disk, cmd, arg):
    """Open a disk, do ioctl(cmd), close it. Returns what it says, and what is in user space then."""
    def process():
        bdev = block_dev.blkdev_get_by_dev(disk_devt(scenario.disk(disk)), FMODE_READ, None)
        ret = ioctl.blkdev_ioctl(bdev, FMODE_READ, cmd, arg)
        block_dev.blkdev_put(bdev, FMODE_READ)
        return ret
    return this().task("ask", process), arg


@pytest.fixture
def kernel():
    kernel = boot(2)
    scenario.null_blk_load(nr_devices=0)
    assert scenario.null_blk_create("x", size=1024, blocksize=4096, memory_backed=1) == "nullb0"
    scenario.dm_load()
    assert scenario.dmsetup_run("create", "g", "--table", "0 2097152 linear /dev/nullb0 0").exit == 0
    return kernel


@pytest.mark.parametrize("disk", ["nullb0", "dm-0"])
def test_sizes(kernel, disk):
    assert ask(disk, BLKGETSIZE64, [None]) == (0, [GIB])
    assert ask(disk, BLKSSZGET, [None]) == (0, [4096])
    assert ask(disk, 0x5331, [None]) == (-ENOTTY, [None])


def test_the_geometry_of_each_driver(kernel):
    """null_blk has none, NVMe works one out, device mapper says what was set for the device and not for its table."""
    assert ask("nullb0", HDIO_GETGEO, [None]) == (-ENOTTY, [None])
    ret, (geo,) = ask("dm-0", HDIO_GETGEO, [None])
    assert (ret, geo.cylinders, geo.heads, geo.sectors, geo.start) == (0, 0, 0, 0, 0)
    assert scenario.dmsetup_run("setgeometry", "g", "1024", "64", "32", "8").exit == 0
    ret, (geo,) = ask("dm-0", HDIO_GETGEO, [None])
    assert (ret, geo.cylinders, geo.heads, geo.sectors, geo.start) == (0, 1024, 64, 32, 8)
    scenario.nvme_probe()
    ret, (geo,) = ask("nvme0n1", HDIO_GETGEO, [None])
    size = ask("nvme0n1", BLKGETSIZE64, [None])[1][0]
    assert (ret, geo.cylinders, geo.heads, geo.sectors, geo.start) == (0, size >> 20, 64, 32, 0)
    assert ask("nvme0n1", HDIO_GETGEO, None) == (-EINVAL, None)


def test_a_driver_may_have_no_geometry_for_a_disk(kernel):
    scenario.disk("dm-0").fops.getgeo, real = lambda bdev, geo: -EIO, scenario.disk("dm-0").fops.getgeo
    try:
        assert ask("dm-0", HDIO_GETGEO, [None]) == (-EIO, [None])
    finally:
        scenario.disk("dm-0").fops.getgeo = real


def changed_page(filp):
    """Let the first page of an open disk be cached and changed; return the cache."""
    mapping = block_dev.bdev_file_inode(filp).i_mapping
    page = read_mapping_page(mapping, 0, None)
    page.write(0, b"changed")
    set_page_dirty(page)
    put_page(page)
    assert mapping.nrpages == 1
    return mapping


@pytest.mark.parametrize("disk", ["nullb0", "dm-0"])
def test_what_is_cached_is_written_and_forgotten(kernel, disk):
    filp = kernel.task("dd", filp_open, disk, O_RDWR)
    mapping = kernel.task("dd", changed_page, filp)
    assert ask(disk, BLKFLSBUF, None) == (0, None)
    assert mapping.nrpages == 0
    assert scenario.io(disk, "read", 0, 4096)[:7] == b"changed"
    kernel.task("dd", filp_close, filp)


@pytest.mark.parametrize(("says", "ret", "left"), [(-ENOTTY, 0, 0), (-EINVAL, 0, 0), (-515, 0, 0), (-EIO, -EIO, 1),
                                                   (0, 0, 1)])
def test_a_driver_may_flush_itself(kernel, says, ret, left):
    """Where the driver does not know what that is, its caches are written back and forgotten as for any disk."""
    def process():
        filp = filp_open("nullb0", O_RDWR)
        changed_page(filp)
        bdev = block_dev.I_BDEV(block_dev.bdev_file_inode(filp))
        fops = bdev.bd_disk.fops
        fops.ioctl = lambda bdev, mode, cmd, arg: says
        done = ioctl.blkdev_ioctl(bdev, FMODE_READ, BLKFLSBUF, None), bdev.bd_inode.i_mapping.nrpages
        fops.ioctl = None
        filp_close(filp)
        return done
    assert kernel.task("ask", process) == (ret, left)
