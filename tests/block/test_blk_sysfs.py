"""A queue's files, and when they are there."""

import pytest

from blkmodel import KernelError, boot, scenario
from blkmodel.block import blk_core, blk_settings, blk_sysfs
from blkmodel.include.linux.blkdev import (BLK_ZONED_HA, BLK_ZONED_HM, QUEUE_FLAG_ADD_RANDOM, QUEUE_FLAG_DAX,
    QUEUE_FLAG_FUA, QUEUE_FLAG_INIT_DONE, QUEUE_FLAG_IO_STAT, QUEUE_FLAG_NOMERGES, QUEUE_FLAG_NONROT,
    QUEUE_FLAG_NOXMERGES, QUEUE_FLAG_REGISTERED, QUEUE_FLAG_SAME_COMP, QUEUE_FLAG_SAME_FORCE, blk_queue_registered)
from blkmodel.include.linux.genhd import disk_to_dev
from blkmodel.services.base.err import EINVAL, EIO, ENOENT, ENXIO, ERANGE
from blkmodel.services.devices.kobject import KOBJ_ADD, KOBJ_REMOVE, object_at, sysfs
from tests.block.test_genhd import Disk


@pytest.fixture
def made():
    kernel = boot(2)
    disk = Disk()
    assert kernel.task("insmod", disk.add) == 0
    return disk


def show(disk, name):
    return blk_sysfs.queue_attr_show(disk.queue.kobj, disk.queue.kobj.attrs[name])


def store(disk, name, text):
    return blk_sysfs.queue_attr_store(disk.queue.kobj, disk.queue.kobj.attrs[name], text, len(text))


def test_what_a_queue_shows(made):
    assert object_at("block/test0/queue") is made.queue.kobj
    assert {name: show(made, name) for name in made.queue.kobj.attrs} == {
        "nr_requests": "8\n", "read_ahead_kb": "128\n", "max_hw_sectors_kb": "127\n", "max_sectors_kb": "127\n",
        "max_segments": "128\n", "max_discard_segments": "1\n", "max_integrity_segments": "0\n",
        "max_segment_size": "65536\n", "scheduler": "[mq-deadline] kyber none\n", "hw_sector_size": "512\n",
        "logical_block_size": "512\n", "physical_block_size": "512\n", "chunk_sectors": "0\n",
        "minimum_io_size": "512\n", "optimal_io_size": "0\n", "discard_granularity": "0\n",
        "discard_max_bytes": "0\n", "discard_max_hw_bytes": "0\n", "discard_zeroes_data": "0\n",
        "write_same_max_bytes": "0\n", "write_zeroes_max_bytes": "0\n", "rotational": "1\n", "zoned": "none\n",
        "nr_zones": "0\n", "nomerges": "0\n", "rq_affinity": "1\n", "iostats": "1\n", "add_random": "0\n",
        "io_poll": "0\n", "write_cache": "write through\n", "fua": "0\n", "dax": "0\n", "wbt_lat_usec": -EINVAL,
        "io_poll_delay": "-1\n"}
    blk_settings.blk_queue_write_cache(made.queue, True, False)
    assert show(made, "write_cache") == "write back\n"


def test_limits_are_shown(made):
    """Each file shows its own limit: no two have the same value."""
    limits, said = made.queue.limits, {}
    for number, (file, field, unit) in enumerate((
            ("max_discard_segments", "max_discard_segments", 1),
            ("max_integrity_segments", "max_integrity_segments", 1), ("chunk_sectors", "chunk_sectors", 1),
            ("minimum_io_size", "io_min", 1), ("optimal_io_size", "io_opt", 1),
            ("discard_granularity", "discard_granularity", 1), ("discard_max_bytes", "max_discard_sectors", 512),
            ("discard_max_hw_bytes", "max_hw_discard_sectors", 512),
            ("write_same_max_bytes", "max_write_same_sectors", 512),
            ("write_zeroes_max_bytes", "max_write_zeroes_sectors", 512)), 3):
        setattr(limits, field, number)
        said[file] = f"{number * unit}\n"
    assert {file: show(made, file) for file in said} == said
    for zoned, word in ((BLK_ZONED_HA, "host-aware\n"), (BLK_ZONED_HM, "host-managed\n")):
        limits.zoned = zoned
        assert show(made, "zoned") == word


@pytest.mark.parametrize(("file", "flag", "neg"), [
    ("rotational", QUEUE_FLAG_NONROT, 1), ("iostats", QUEUE_FLAG_IO_STAT, 0), ("add_random", QUEUE_FLAG_ADD_RANDOM, 0)])
def test_files_of_one_flag(made, file, flag, neg):
    for value in (1, 0, 2):
        assert store(made, file, f"{value}\n") == 2
        assert made.queue.queue_flags >> flag & 1 == (bool(value) ^ neg)
        assert show(made, file) == f"{min(value, 1)}\n"
    assert store(made, file, "x") == -EINVAL


def test_reading_ahead(made):
    assert store(made, "read_ahead_kb", "67\n") == 3
    assert made.queue.backing_dev_info.ra_pages == 16
    assert show(made, "read_ahead_kb") == "64\n"
    assert store(made, "read_ahead_kb", "-1") == -EINVAL


def test_the_longest_discard(made):
    limits = made.queue.limits
    assert store(made, "discard_max_bytes", "512") == -EINVAL, "a disk without discard has no granularity"
    limits.discard_granularity, limits.max_hw_discard_sectors = 4096, 64
    assert store(made, "discard_max_bytes", "8192") == 4
    assert (limits.max_discard_sectors, show(made, "discard_max_bytes")) == (16, "8192\n")
    assert store(made, "discard_max_bytes", "65536") == 5
    assert limits.max_discard_sectors == 64
    assert store(made, "discard_max_bytes", "512") == -EINVAL


def test_polling_where_there_are_queues_for_it(made):
    assert store(made, "io_poll", "1") == -EINVAL
    made.set.nr_maps = 3
    assert store(made, "io_poll", "1") == -EINVAL
    made.set.map[2].nr_queues = 1
    for text in ("1", "0"):
        assert store(made, "io_poll", text) == 1
        assert show(made, "io_poll") == f"{text}\n"
    assert store(made, "io_poll", "y") == -EINVAL


def test_flags_that_are_only_shown(made):
    made.queue.queue_flags |= 1 << QUEUE_FLAG_FUA
    assert (show(made, "fua"), show(made, "dax")) == ("1\n", "0\n")
    made.queue.queue_flags |= 1 << QUEUE_FLAG_DAX
    assert show(made, "dax") == "1\n"
    assert (store(made, "wbt_lat_usec", "75000"), store(made, "wbt_lat_usec", "9" * 20)) == (-EINVAL, -ERANGE)


def test_a_driver_that_looks_after_time(made):
    made.set.ops.timeout = len
    attr = blk_sysfs.QUEUE_IO_TIMEOUT
    assert blk_sysfs.queue_attr_visible(made.queue.kobj, attr, 0) == attr.mode == 0o644
    assert blk_sysfs.queue_io_timeout_show(made.queue) == "30000\n"
    made.set.ops.timeout = None
    assert blk_sysfs.queue_attr_visible(made.queue.kobj, attr, 0) == 0


@pytest.mark.parametrize(("text", "ticks", "shown"), [
    ("10000\n", 2500, "10000\n"), ("1", 1, "4\n"), ("2147483647", 536870912, "2147483648\n"),
    ("4294967295", 4294967294, "4294967288\n"), ("+7", 2, "8\n")])
def test_how_long_a_request_may_take(made, text, ticks, shown):
    """Milliseconds become ticks of 4, and both are of 32 bits; from 2 ** 31 on it is as long as can be."""
    assert blk_sysfs.queue_io_timeout_store(made.queue, text, len(text)) == len(text)
    assert made.queue.rq_timeout == ticks
    assert blk_sysfs.queue_io_timeout_show(made.queue) == shown


@pytest.mark.parametrize("text", ["0", "", "x", "-1", "4294967296", "1 ", "0x10"])
def test_no_time_at_all(made, text):
    assert blk_sysfs.queue_io_timeout_store(made.queue, text, len(text)) == -EINVAL
    assert made.queue.rq_timeout == 7500


def test_what_the_cache_is_taken_for(made):
    for text, shown in (("write back\n", "write back\n"), ("write", -EINVAL), ("none", "write through\n"),
                        ("write backwards", "write back\n"), ("write through", "write through\n")):
        assert store(made, "write_cache", text) == (shown if shown == -EINVAL else len(text))
        assert show(made, "write_cache") == ("write back\n" if shown == -EINVAL else shown)


def test_the_number_of_requests(made):
    assert store(made, "nr_requests", "6\n") == 2
    assert show(made, "nr_requests") == "6\n"
    assert store(made, "nr_requests", "1") == 1
    assert show(made, "nr_requests") == "4\n"
    for wrong in ("x", "-1", "4294967296", ""):
        assert store(made, "nr_requests", wrong) == -EINVAL
    made.queue.mq_ops, ops = None, made.queue.mq_ops
    assert store(made, "nr_requests", "6") == -EINVAL
    made.queue.mq_ops = ops


def test_the_longest_request(made):
    assert store(made, "max_sectors_kb", "64") == 2
    assert made.queue.limits.max_sectors == 128
    assert made.queue.backing_dev_info.io_pages == 16
    assert store(made, "max_sectors_kb", "128") == -EINVAL
    assert store(made, "max_sectors_kb", "3") == -EINVAL
    assert store(made, "max_sectors_kb", "y") == -EINVAL
    made.queue.limits.max_dev_sectors = 64
    assert store(made, "max_sectors_kb", "33") == -EINVAL


@pytest.mark.parametrize(("text", "flags"), [("0", 0), ("1", 1 << QUEUE_FLAG_NOXMERGES),
                                             ("2", 1 << QUEUE_FLAG_NOMERGES)])
def test_no_merging(made, text, flags):
    both = 1 << QUEUE_FLAG_NOXMERGES | 1 << QUEUE_FLAG_NOMERGES
    made.queue.queue_flags |= both
    assert show(made, "nomerges") == "3\n"
    assert store(made, "nomerges", text) == 1
    assert made.queue.queue_flags & both == flags
    assert show(made, "nomerges") == f"{text}\n"
    assert store(made, "nomerges", "z") == -EINVAL


@pytest.mark.parametrize("text", ["0", "1", "2"])
def test_where_to_complete(made, text):
    for start in (0, 1 << QUEUE_FLAG_SAME_COMP, 1 << QUEUE_FLAG_SAME_COMP | 1 << QUEUE_FLAG_SAME_FORCE):
        made.queue.queue_flags = start
        assert store(made, "rq_affinity", text) == 1
        assert show(made, "rq_affinity") == f"{text}\n"
    assert store(made, "rq_affinity", "z") == -EINVAL


def test_how_long_to_sleep_before_polling(made):
    """In microseconds; where the driver can poll."""
    assert store(made, "io_poll_delay", "5") == -EINVAL
    made.set.ops.poll = len
    for text, nsec in (("5\n", 5000), ("0", 0), ("-1", -1)):
        assert store(made, "io_poll_delay", text) == len(text)
        assert made.queue.poll_nsec == nsec
        assert show(made, "io_poll_delay") == text.strip() + "\n"
    for wrong in ("-2", "x", ""):
        assert store(made, "io_poll_delay", wrong) == -EINVAL
    assert made.queue.poll_nsec == -1
    made.queue.mq_ops, ops = None, made.queue.mq_ops
    assert store(made, "io_poll_delay", "5") == -EINVAL
    made.queue.mq_ops = ops


def test_files_that_can_not_be_used(made):
    assert store(made, "max_segments", "1") == -EIO
    attr = blk_sysfs.QUEUE_IO_TIMEOUT
    attr_without = type(attr)(name="none")
    assert blk_sysfs.queue_attr_show(made.queue.kobj, attr_without) == -EIO
    blk_core.blk_set_queue_dying(made.queue)
    assert show(made, "nr_requests") == -ENOENT
    assert store(made, "nr_requests", "8") == -ENOENT


def test_registering(made):
    q = made.queue
    assert q.queue_flags >> QUEUE_FLAG_REGISTERED & q.queue_flags >> QUEUE_FLAG_INIT_DONE & 1
    assert q.q_usage_counter.percpu
    references = disk_to_dev(made.disk).kobj.refcount
    blk_sysfs.blk_unregister_queue(made.disk)
    assert not blk_queue_registered(q)
    assert object_at("block/test0/queue") is None
    assert disk_to_dev(made.disk).kobj.refcount == references - 4  # those of queue and mq
    blk_sysfs.blk_unregister_queue(made.disk)
    assert blk_sysfs.blk_register_queue(made.disk) == 0
    assert disk_to_dev(made.disk).kobj.refcount == references
    assert [action for action, name, _ in sysfs().uevents if name == "queue"] == [KOBJ_ADD, KOBJ_REMOVE, KOBJ_ADD]
    made.disk.queue = None
    assert blk_sysfs.blk_register_queue(made.disk) == -ENXIO
    blk_sysfs.blk_unregister_queue(made.disk)


def test_what_the_kernel_has_and_the_model_has_not():
    """It says so by its name, where the kernel would say something else; what the kernel has not either is an error."""
    boot(2)
    scenario.null_blk_load(gb=1)
    for call in (scenario.queue_file, lambda name, file: scenario.set_queue_file(name, file, 1)):
        with pytest.raises(KeyError, match="has no file 'readahead'"):
            call("nullb0", "readahead")
    with pytest.raises(KernelError, match="EINVAL"):
        scenario.set_scheduler("nullb0", "bfq")
    assert scenario.queue_file("nullb0", "scheduler") == "[mq-deadline] kyber none"


def test_a_delay_that_does_not_fit():
    """It is kept in nanoseconds, in 32 bits, and C divides towards 0."""
    boot(2)
    scenario.nvme_probe(poll_queues=1)
    q = scenario.disk("nvme0n1").queue
    for micros, nanos, shown in ((2147483, 2147483000, "2147483"), (3000000, -1294967296, "-1294967"),
                                 (4294968, 704, "0"), (2147483647, -1000, "-1")):
        scenario.set_queue_file("nvme0n1", "io_poll_delay", micros)
        assert (q.poll_nsec, scenario.queue_file("nvme0n1", "io_poll_delay")) == (nanos, shown)
