"""What is asked of an open block device: of every disk, and of drivers."""

import pytest

from blkmodel import boot, scenario
from blkmodel.block import ioctl
from blkmodel.device.controller import Controller
from blkmodel.device.namespace import Namespace
from blkmodel.drivers.nvme.host.nvme_h import NVME_CTRL_RESETTING
from blkmodel.errors import KernelError, NotModelled
from blkmodel.fs import block_dev
from blkmodel.include.linux import fs
from blkmodel.include.linux.fs import BLKFLSBUF, BLKGETSIZE64, BLKSSZGET
from blkmodel.include.linux.genhd import disk_devt
from blkmodel.services.base.err import EAGAIN, EBUSY, EFAULT, EINVAL, EIO, ENOTTY, EOPNOTSUPP, IS_ERR, PTR_ERR
from blkmodel.services.devices.hdreg import HDIO_GETGEO
from blkmodel.services.files.file import FMODE_READ, O_RDWR, filp_close, filp_open
from blkmodel.services.files.pagemap import read_mapping_page
from blkmodel.services.memory.mm import put_page, set_page_dirty
from blkmodel.sim import this
from blkmodel.trace import Call, record

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


@pytest.mark.parametrize("disk", ["nullb0", "dm-0"])
def test_what_every_disk_says(kernel, disk):
    q = scenario.disk(disk).queue
    q.limits.io_opt, q.limits.max_sectors = 3 << 30, 70000
    for cmd, says in ((fs.BLKGETSIZE, GIB >> 9), (fs.BLKPBSZGET, 4096), (fs.BLKIOMIN, 4096), (fs.BLKIOOPT, 3 << 30),
                      (fs.BLKALIGNOFF, 0), (fs.BLKDISCARDZEROES, 0), (fs.BLKSECTGET, 0xFFFF), (fs.BLKROGET, 0),
                      (fs.BLKROTATIONAL, 0), (fs.BLKBSZGET, 4096), (fs.BLKGETZONESZ, 0), (fs.BLKGETNRZONES, 0),
                      (fs.BLKRAGET, 256), (fs.BLKFRAGET, 256)):
        assert ask(disk, cmd, [None]) == (0, [says])
        assert ask(disk, cmd, None) == (-EINVAL if cmd in (fs.BLKRAGET, fs.BLKFRAGET) else -EFAULT, None)
    q.limits.misaligned = 1
    assert ask(disk, fs.BLKALIGNOFF, [None]) == (0, [-1])
    for cmd in (fs.BLKREPORTZONE, fs.BLKRESETZONE):
        assert ask(disk, cmd, None)[0] == -ENOTTY


def test_reading_ahead(kernel):
    """In sectors; kept in pages, of the product of 64 bits."""
    for arg, says in ((1000, 1000), (1, 0), (1 << 55, 0), ((1 << 55) + 16, 16)):
        assert ask("nullb0", fs.BLKRASET, arg)[0] == 0
        assert ask("nullb0", fs.BLKFRAGET, [None]) == (0, [says])


def test_a_disk_is_made_read_only(kernel):
    """Any number but 0 says so; a device of device mapper asks the disk below first, which knows no such thing."""
    for disk in ("nullb0", "dm-0"):
        for number, says in ((7, 1), (0, 0), (1 << 32, 0), (-1, 1)):
            assert ask(disk, fs.BLKROSET, [number])[0] == 0
            assert ask(disk, fs.BLKROGET, [None]) == (0, [says])
        assert ask(disk, fs.BLKROSET, None)[0] == -EFAULT


def test_the_size_of_buffers(kernel):
    """From a logical block to a page; not where somebody has the disk for itself: device mapper has the one below."""
    scenario.null_blk_create("y", size=64, blocksize=1024)
    for size, ret in ((512, -EINVAL), (1024, 0), (3072, -EINVAL), (8192, -EINVAL), (2048, 0), ((1 << 32) + 4096, 0)):
        assert ask("nullb1", fs.BLKBSZSET, [size])[0] == ret
    assert ask("nullb1", fs.BLKBSZSET, None)[0] == -EINVAL
    assert ask("nullb0", fs.BLKBSZSET, [4096])[0] == -EBUSY
    assert scenario.disk("nullb1").queue.limits.logical_block_size == 1024

    def process():
        filp = filp_open("nullb1", O_RDWR)
        bdev = block_dev.I_BDEV(block_dev.bdev_file_inode(filp))
        mapping = changed_page(filp)
        sizes = []
        for size in (bdev.bd_block_size, 1024):
            assert ioctl.blkdev_ioctl(bdev, FMODE_READ, fs.BLKBSZSET, [size]) == 0
            sizes.append((bdev.bd_block_size, 1 << bdev.bd_inode.i_blkbits, mapping.nrpages))
        filp_close(filp)
        return sizes
    assert kernel.task("ask", process) == [(4096, 4096, 1), (1024, 1024, 0)]


@pytest.mark.parametrize(("cmd", "name"), [
    (fs.BLKPG, "BLKPG"), (fs.BLKTRACESETUP, "BLKTRACESETUP"),
    (0x401870C8, "IOC_PR_REGISTER"), (0x401070CD, "IOC_PR_CLEAR")])
def test_what_is_not_modelled_says_so(kernel, cmd, name):
    """Reservations are a driver's; null_blk has none."""
    with pytest.raises(NotModelled, match=f"the ioctl {name} is not modelled"):
        ask("dm-0", cmd, [None])
    if name.startswith("IOC_PR"):
        assert ask("nullb0", cmd, [None])[0] == -EOPNOTSUPP


def test_what_only_a_namespace_says():
    """Also through a device of device mapper that is all of it."""
    boot(2)
    scenario.nvme_probe(controller=Controller(namespaces={7: Namespace(64)}))
    assert scenario.dmsetup_run("create", "l", "--table", "0 64 linear /dev/nvme0n1 0").exit == 0
    for disk in ("nvme0n1", "dm-0"):
        assert ask(disk, 0x4E40, None)[0] == 7
        assert ask(disk, 0x4E44, None)[0] == -ENOTTY
        with pytest.raises(NotModelled, match="the ioctl NVME_IOCTL_ADMIN_CMD is not modelled"):
            ask(disk, 0xC0484E41, None)


def test_a_controllers_own_node():
    kernel = boot(2)
    scenario.nvme_probe()

    def process(cmd):
        filp = filp_open("nvme0", O_RDWR)
        if IS_ERR(filp):
            return PTR_ERR(filp)
        ret = filp.f_op.unlocked_ioctl(filp, cmd, None)
        filp_close(filp)
        return ret
    ctrl = scenario.nvme_controller("nvme0").ctrl
    held = ctrl.device.kobj.refcount
    before = len(kernel.log)
    scan = record(kernel.task, "ask", process, 0x4E46)
    kernel.loop.run_due()
    assert (scan.result, "nvme_queue_scan" in [call.function for call in scan.of(Call)]) == (0, True)
    assert [kernel.task("ask", process, cmd) for cmd in (0x4E44, 0x4E45, 0x4E40, 0x40304E42)] == [
        0, -ENOTTY, -ENOTTY, -ENOTTY]
    assert kernel.log[before:] == ["nvme nvme0: resetting controller", "nvme nvme0: 2/0/0 default/read/poll queues"]
    with pytest.raises(NotModelled, match="the ioctl NVME_IOCTL_IO_CMD is not modelled"):
        kernel.task("ask", process, 0xC0484E43)
    ctrl.state, state = NVME_CTRL_RESETTING, ctrl.state
    assert kernel.task("ask", process, 0x4E44) == -EAGAIN
    ctrl.state = state
    assert ctrl.device.kobj.refcount == held + 1  # that of the file which nobody closed


def test_a_range_that_goes_round(kernel):
    """Its end is 0, which is within the disk; its beginning is not, and that is found when the bio is sent."""
    scenario.null_blk_create("d", size=64, memory_backed=1, discard=1)
    with pytest.raises(KernelError, match="EIO"):
        scenario.discard("nullb1", (1 << 64) - 4096, 4096)
    with pytest.raises(KernelError, match="EINVAL"):
        scenario.discard("nullb1", 1 << 63, 4096)
    with pytest.raises(KernelError, match="EINVAL"):
        scenario.zero_out("nullb1", (1 << 64) - 4096, 4096)
