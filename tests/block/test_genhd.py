"""Disks from allocation to their end: numbers, files, events, and every allocation failing in turn."""

import pytest

from blkmodel import boot
from blkmodel.block import blk_core, blk_mq, genhd
from blkmodel.fs import block_dev
from blkmodel.include.linux.blk_mq import BLK_MQ_F_SHOULD_MERGE, blk_mq_ops, blk_mq_queue_data, blk_mq_tag_set
from blkmodel.include.linux.blkdev import QUEUE_FLAG_FAIL_IO
from blkmodel.include.linux.genhd import (DISK_EVENT_MEDIA_CHANGE, GENHD_FL_EXT_DEVT, GENHD_FL_HIDDEN, GENHD_FL_UP,
    block_device_operations, disk_part_iter, disk_to_dev, gendisk, get_capacity, hd_struct, set_capacity)
from blkmodel.services.base.err import EBUSY, EINVAL, ENODEV, IS_ERR, PTR_ERR
from blkmodel.services.base.kdev_t import MKDEV
from blkmodel.services.base.module import module, module_put
from blkmodel.services.devices.device import devices
from blkmodel.services.devices.kobject import object_at, sysfs
from blkmodel.services.memory.slab import NUMA_NO_NODE
from blkmodel.sim.memory import PAGE_SIZE

SECTORS = 2048


def serve(hctx, bd: blk_mq_queue_data):
    blk_mq.blk_mq_start_request(bd.rq)
    blk_mq.blk_mq_end_request(bd.rq, 0)
    return 0


OPS = blk_mq_ops(queue_rq=serve)


def new_disk(minors):
    return genhd.__alloc_disk_node(minors, 0)


class Disk:
    """A disk whose requests are done at once, as a driver adds and removes it."""

    def __init__(self, flags=0, minors=16, **fops):
        self.set = blk_mq_tag_set(ops=OPS, nr_hw_queues=1, queue_depth=4, numa_node=0,
                                  flags=BLK_MQ_F_SHOULD_MERGE)
        self.fops = block_device_operations(**fops)
        self.flags, self.minors = flags, minors
        self.disk = self.queue = None
        self.major = 0

    def add(self, name="test0"):
        """Returns 0 or the errno with which a driver would give up; then nothing is left."""
        error = blk_mq.blk_mq_alloc_tag_set(self.set)
        if error:
            return error
        self.queue = blk_mq.blk_mq_init_queue(self.set)
        if IS_ERR(self.queue):
            error = PTR_ERR(self.queue)
            blk_mq.blk_mq_free_tag_set(self.set)
            return error
        self.disk = new_disk(self.minors)
        if self.disk is None:
            blk_core.blk_cleanup_queue(self.queue)
            blk_mq.blk_mq_free_tag_set(self.set)
            return -12
        self.major = genhd.register_blkdev(0, "test")
        if self.major < 0:
            blk_core.blk_cleanup_queue(self.queue)
            genhd.put_disk(self.disk)
            blk_mq.blk_mq_free_tag_set(self.set)
            return self.major
        self.disk.major = self.major
        self.disk.fops = self.fops
        self.disk.flags |= self.flags
        self.disk.queue = self.queue
        self.disk.disk_name = name
        set_capacity(self.disk, SECTORS)
        genhd.device_add_disk(None, self.disk, None)
        return 0

    def remove(self):
        genhd.del_gendisk(self.disk)
        blk_core.blk_cleanup_queue(self.queue)
        genhd.put_disk(self.disk)
        blk_mq.blk_mq_free_tag_set(self.set)
        genhd.unregister_blkdev(self.major, "test")


@pytest.fixture
def kernel():
    return boot(2)


@pytest.fixture
def made(kernel):
    disk = Disk()
    assert kernel.task("insmod", disk.add) == 0
    return disk


def held(kernel):
    return sorted((a.kind, a.size) for a in kernel.memory.live.values())


def test_a_disk_is_there_and_gone_again(kernel):
    before = held(kernel)
    disk = Disk()
    assert kernel.task("insmod", disk.add) == 0
    assert disk.disk.flags & GENHD_FL_UP
    assert devices().nodes["test0"].rdev == MKDEV(disk.major, 0)
    assert disk_to_dev(disk.disk).kobj.links["bdi"] is disk.queue.backing_dev_info.dev.kobj
    kernel.task("rmmod", disk.remove)
    assert held(kernel) == before
    assert not devices().nodes
    assert "test0" not in sysfs().root["block"].links
    assert not [line for line in kernel.log if "WARNING" in line]


def test_every_allocation_fails_in_turn(kernel):
    """Nothing is left, but for the table of partitions of one disk whose references could not be counted."""
    before = held(kernel)
    refusals = tables = 0
    for nth in range(1, 400):
        disk = Disk()
        kernel.memory.fail_nth(nth)
        failed = kernel.memory.failed
        error = kernel.task("insmod", disk.add)
        kernel.memory.fail_never()
        if error:
            assert error == -12
            refusals += 1
        else:
            kernel.task("rmmod", disk.remove)
        if held(kernel) != before:
            assert held(kernel) == sorted([*before, ("disk_part_tbl", 40)]), f"allocation {nth}"
            before = held(kernel)
            tables += 1
        if kernel.memory.failed == failed:
            break
    assert nth > 60
    assert refusals > 30
    assert tables == 1
    again = Disk()
    assert kernel.task("insmod", again.add) == 0
    kernel.task("rmmod", again.remove)
    assert held(kernel) == before


def test_files_of_a_disk(made):
    kobj = object_at("block/test0")
    assert "badblocks" not in kobj.attrs
    shown = {name: attr.show(disk_to_dev(made.disk)) for name, attr in kobj.attrs.items()}
    assert shown["range"] == shown["ext_range"] == "16\n"
    assert shown["size"] == f"{SECTORS}\n"
    assert shown["removable"] == shown["hidden"] == shown["ro"] == "0\n"
    assert shown["capability"] == "10\n"
    assert shown["alignment_offset"] == shown["discard_alignment"] == "0\n"
    assert shown["inflight"] == "       0        0\n"
    reads = str(shown["stat"]).split()
    assert reads[0] == "1"  # the scan for partitions
    assert reads[2] == "8"
    assert shown["events"] == shown["events_async"] == ""
    assert shown["events_poll_msecs"] == "-1\n"
    made.disk.queue.limits.misaligned = made.disk.queue.limits.discard_misaligned = 1
    assert genhd.disk_alignment_offset_show(disk_to_dev(made.disk)) == "-1\n"
    assert genhd.disk_discard_alignment_show(disk_to_dev(made.disk)) == "-1\n"


def test_user_space_hears_of_a_disk_once(kernel, made):
    told = [event for event in sysfs().uevents if event[1] == "test0"]
    assert [action for action, *_ in told] == ["add"]
    assert "DEVNAME=test0" in told[0][2]
    assert "DEVTYPE=disk" in told[0][2]


def test_a_driver_can_name_the_node(kernel):
    disk = Disk()
    genhd_alloc = genhd.__alloc_disk_node

    def named(*args):
        found = genhd_alloc(*args)
        found.devnode = lambda of: "sub/name"
        return found
    genhd.__alloc_disk_node = named
    try:
        kernel.task("insmod", disk.add)
    finally:
        genhd.__alloc_disk_node = genhd_alloc
    assert set(devices().nodes) == {"sub/name"}


def test_numbers(made, kernel):
    disk, partno = genhd.get_gendisk(MKDEV(made.major, 5))
    assert (disk, partno) == (made.disk, 5)
    genhd.put_disk_and_module(disk)
    assert genhd.get_gendisk(MKDEV(made.major + 1, 0)) == (None, 0)
    made.disk.flags &= ~GENHD_FL_UP
    assert genhd.get_gendisk(MKDEV(made.major, 0)) == (None, 0)
    made.disk.flags |= GENHD_FL_UP
    references = disk_to_dev(made.disk).kobj.refcount
    made.disk.flags |= GENHD_FL_HIDDEN
    assert genhd.get_gendisk(MKDEV(made.major, 0)) == (None, 0)
    made.disk.flags &= ~GENHD_FL_HIDDEN
    assert disk_to_dev(made.disk).kobj.refcount == references
    made.disk.fops, fops = None, made.disk.fops
    assert genhd.exact_lock(0, made.disk) == -1
    made.disk.fops = fops


def test_who_finds_a_disk_holds_it_and_its_drivers_module(made):
    made.disk.fops.owner = module()
    references = disk_to_dev(made.disk).kobj.refcount
    found, _ = genhd.get_gendisk(MKDEV(made.major, 0))
    assert disk_to_dev(found).kobj.refcount == references + 1
    assert found.fops.owner.refcnt == 2
    genhd.put_disk_and_module(found)
    assert disk_to_dev(found).kobj.refcount == references
    assert found.fops.owner.refcnt == 1
    genhd.put_disk_and_module(None)
    module_put(found.fops.owner)  # it goes
    assert genhd.get_gendisk(MKDEV(made.major, 0)) == (None, 0)
    assert disk_to_dev(found).kobj.refcount == references


@pytest.mark.parametrize(("answer", "asked"), [
    (-1, ["block-major-99-7"]), (0, ["block-major-99-7"]), (256, ["block-major-99-7", "block-major-99"])])
def test_for_a_number_that_nobody_has_a_module_is_asked_for(kernel, monkeypatch, answer, asked):
    """By both numbers; by the first alone where user space has none of that name, which is said with a number > 0."""
    names = []

    def request_module(name):
        names.append(name)
        return answer
    monkeypatch.setattr(genhd, "request_module", request_module)
    assert genhd.get_gendisk(MKDEV(99, 7)) == (None, 0)
    assert names == asked


def test_a_partition_is_written_back_and_dropped(made, monkeypatch):
    assert genhd.invalidate_partition(made.disk, 5) == 0  # there is none
    references = disk_to_dev(made.disk).kobj.refcount
    monkeypatch.setattr(block_dev, "__invalidate_device", lambda bdev, kill_dirty: -EBUSY if kill_dirty else 0)
    assert genhd.invalidate_partition(made.disk, 0) == -EBUSY
    assert disk_to_dev(made.disk).kobj.refcount == references


def test_numbers_of_the_extended_major(kernel):
    disk = Disk(flags=GENHD_FL_EXT_DEVT, minors=0)
    kernel.task("insmod", disk.add)
    devt = MKDEV(genhd.BLOCK_EXT_MAJOR, 0)
    assert disk_to_dev(disk.disk).devt == devt
    found, partno = genhd.get_gendisk(devt)
    assert (found, partno) == (disk.disk, 0)
    assert genhd.disk_ext_range_show(disk_to_dev(disk.disk)) == "256\n"
    genhd.put_disk_and_module(found)
    genhd.del_gendisk(disk.disk)
    assert genhd.get_gendisk(devt) == (None, 0)
    other = hd_struct()
    assert genhd.blk_alloc_devt(disk.disk.part0)[1] == MKDEV(genhd.BLOCK_EXT_MAJOR, 1)
    genhd.blk_free_devt(MKDEV(genhd.BLOCK_EXT_MAJOR, 1))
    assert other.nr_sects == 0
    genhd.put_disk(disk.disk)
    assert genhd.variables().ext_devt_idr.held == {}


def test_the_number_of_a_name(made):
    first = disk_to_dev(made.disk).devt
    assert first == MKDEV(made.major, 0)
    assert [genhd.blk_lookup_devt("test0", partno) for partno in (0, 5, 15, 16)] == [first, first + 5, first + 15, 0]
    assert genhd.blk_lookup_devt("test1", 0) == 0
    assert genhd.disk_expand_part_tbl(made.disk, 3) == 0
    part = made.disk.part_tbl.part[3] = hd_struct(partno=3)
    part._dev.parent, part._dev.devt, part._dev.kobj.refcount = disk_to_dev(made.disk), MKDEV(259, 7), 1
    assert genhd.blk_lookup_devt("test0", 3) == first + 3
    made.disk.minors = 1  # what partitions there are have numbers elsewhere
    assert [genhd.blk_lookup_devt("test0", partno) for partno in (0, 1, 3)] == [first, 0, MKDEV(259, 7)]
    assert part._dev.kobj.refcount == 1


def test_no_number_is_left(kernel, monkeypatch):
    monkeypatch.setattr(genhd, "NR_EXT_DEVT", 1)
    first, second = Disk(flags=GENHD_FL_EXT_DEVT, minors=0), Disk(flags=GENHD_FL_EXT_DEVT, minors=0)
    kernel.task("insmod", first.add)
    assert genhd.blk_alloc_devt(first.disk.part0) == (-EBUSY, 0)
    kernel.task("insmod", second.add, "test1")
    assert "test1" not in devices().nodes
    assert any("WARNING" in line for line in kernel.log)


def test_majors(kernel):
    before = len(kernel.memory.live)
    first = genhd.register_blkdev(0, "one")
    assert first == 254
    assert genhd.register_blkdev(0, "two") == 253
    assert genhd.register_blkdev(first, "three") == -EBUSY
    assert kernel.log[-1] == "register_blkdev: cannot get major 254 for three"
    assert genhd.register_blkdev(512, "four") == -EINVAL
    assert genhd.register_blkdev(8, "sd") == 0
    genhd.unregister_blkdev(first, "wrong")
    assert "WARNING" in kernel.log[-1]
    for major, name in ((first, "one"), (253, "two"), (8, "sd")):
        genhd.unregister_blkdev(major, name)
    assert len(kernel.memory.live) == before
    for _ in range(300):
        last = genhd.register_blkdev(0, "all")
    assert last == -EBUSY
    assert kernel.log[-1] == "register_blkdev: failed to get major for all"


def test_walking_over_partitions(made):
    table = made.disk.part_tbl
    assert genhd.disk_expand_part_tbl(made.disk, 3) == 0
    assert genhd.disk_expand_part_tbl(made.disk, 16) == -EINVAL
    assert made.disk.part_tbl is not table
    parts = {}
    for number, size in ((1, 8), (3, 0)):
        part = parts[number] = hd_struct(partno=number, nr_sects=size, start_sect=number * 100)
        part._dev.parent = disk_to_dev(made.disk)
        part._dev.kobj.refcount = 1
        made.disk.part_tbl.part[number] = part
    whole = made.disk.part0

    def walk(flags):
        piter = disk_part_iter()
        genhd.disk_part_iter_init(piter, made.disk, flags)
        found = []
        while (part := genhd.disk_part_iter_next(piter)) is not None:
            assert part._dev.kobj.refcount > 1
            found.append(part.partno)
        genhd.disk_part_iter_exit(piter)
        return found
    references = whole._dev.kobj.refcount
    assert walk(0) == [1]
    assert walk(2) == [1, 3]
    assert walk(2 | 1) == [3, 1]
    assert walk(4) == [0, 1]
    assert walk(4 | 1) == [1, 0]
    whole.nr_sects = 0
    assert walk(4) == [1]
    assert walk(8) == [0, 1]
    assert [part._dev.kobj.refcount for part in parts.values()] == [1, 1]
    assert whole._dev.kobj.refcount == references
    piter = disk_part_iter()
    genhd.disk_part_iter_init(piter, made.disk, 0)
    genhd.disk_part_iter_next(piter)
    genhd.disk_part_iter_exit(piter)
    assert parts[1]._dev.kobj.refcount == 1

    assert genhd.disk_map_sector_rcu(made.disk, 107) is parts[1]
    assert made.disk.part_tbl.last_lookup is parts[1]
    assert genhd.disk_map_sector_rcu(made.disk, 100) is parts[1]
    assert genhd.disk_map_sector_rcu(made.disk, 108) is whole
    assert genhd.__disk_get_part(made.disk, -1) is None
    assert genhd.__disk_get_part(made.disk, 4) is None
    assert genhd.disk_get_part(made.disk, 2) is None


def test_in_flight(made):
    part, q = made.disk.part0, blk_core.blk_alloc_queue_node(0, NUMA_NO_NODE)
    genhd.part_inc_in_flight(q, part, 1)
    genhd.part_inc_in_flight(q, part, 0)
    assert genhd.part_in_flight(q, part) == 2
    assert genhd.part_in_flight_rw(q, part) == [1, 1]
    genhd.part_dec_in_flight(q, part, 1)
    genhd.part_dec_in_flight(q, part, 0)
    genhd.part_dec_in_flight(q, part, 0)
    assert genhd.part_in_flight(q, part) == 0
    assert genhd.part_in_flight_rw(q, part) == [0, 0]
    genhd.part_inc_in_flight(made.queue, part, 0)  # a queue with requests counts those
    assert part.dkstats[0].in_flight == [-1, 0]


def test_a_disk_without_events(made):
    assert made.disk.ev is None
    assert genhd.disk_events_poll_msecs_store(disk_to_dev(made.disk), "5", 1) == -ENODEV
    assert genhd.disk_events_poll_msecs_store(disk_to_dev(made.disk), "-2", 2) == -EINVAL
    assert genhd.disk_events_poll_msecs_store(disk_to_dev(made.disk), "x", 1) == -EINVAL
    assert genhd.disk_events_poll_msecs_show(disk_to_dev(made.disk)) == "-1\n"
    assert genhd.disk_events_show(disk_to_dev(made.disk)) == ""


def test_a_disk_with_events_is_left_out(kernel):
    genhd.disk_alloc_events(gendisk(fops=block_device_operations(check_events=len), events=DISK_EVENT_MEDIA_CHANGE))
    assert "WARNING" in kernel.log[-1]


def test_read_only(made):
    genhd.set_disk_ro(made.disk, 1)
    assert sysfs().uevents[-1][2][0] == "DISK_RO=1"
    number = len(sysfs().uevents)
    genhd.set_disk_ro(made.disk, 1)
    assert len(sysfs().uevents) == number
    assert genhd.disk_ro_show(disk_to_dev(made.disk)) == "1\n"
    bdev = block_dev.blkdev_get_by_dev(disk_to_dev(made.disk).devt, 1, None)
    assert genhd.bdev_read_only(bdev) == 1
    genhd.set_disk_ro(made.disk, 0)
    assert genhd.bdev_read_only(bdev) == 0
    assert genhd.bdev_read_only(None) == 0
    block_dev.blkdev_put(bdev, 1)


def test_a_disk_that_is_open_outlives_its_removal(kernel):
    before = held(kernel)
    disk = Disk()
    kernel.task("insmod", disk.add)
    bdev = block_dev.blkdev_get_by_dev(disk_to_dev(disk.disk).devt, 1, None)
    kernel.task("rmmod", disk.remove)
    assert get_capacity(disk.disk) == 0
    assert held(kernel) != before
    again = block_dev.blkdev_get_by_dev(MKDEV(disk.major, 0), 1, None)
    assert IS_ERR(again)
    kernel.task("close", block_dev.blkdev_put, bdev, 1)
    assert held(kernel) == before


def test_too_many_partitions(kernel):
    disk = genhd.__alloc_disk_node(1000, 0)
    assert disk.minors == 256
    assert kernel.log[-1] == "block: can't allocate more than 256 partitions"
    kernel.task("rm", genhd.put_disk, disk)


def test_the_scan_reads_one_page(kernel):
    disk = Disk()
    before = kernel.memory.count
    kernel.task("insmod", disk.add)
    assert kernel.memory.count > before
    assert not any(bdev.bd_inode.i_mapping.nrpages for bdev in block_dev.variables().all_bdevs)
    assert disk.disk.part0.dkstats[0].sectors[0] == PAGE_SIZE // 512


@pytest.mark.parametrize("built", [False, True])
def test_a_file_that_some_kernels_have(built):
    """io-timeout-fail is there in a kernel that is built to lose completions on purpose."""
    kernel = boot(2)
    if built:
        sysfs().config.add("FAIL_IO_TIMEOUT")
    made = Disk()
    assert kernel.task("insmod", made.add) == 0
    attr = disk_to_dev(made.disk).kobj.attrs.get("io-timeout-fail")
    assert (attr is not None) == built
    if built:
        for text, shown in (("1", "1\n"), ("0\n", "0\n"), ("7x", "1\n"), ("x", "0\n")):
            assert attr.store(disk_to_dev(made.disk), text, len(text)) == len(text)
            assert attr.show(disk_to_dev(made.disk)) == shown
            assert made.queue.queue_flags >> QUEUE_FLAG_FAIL_IO & 1 == int(shown)
