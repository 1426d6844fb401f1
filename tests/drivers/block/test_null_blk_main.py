"""null_blk: its parameters, its queues, how it completes, and the data it keeps."""

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel import KernelError, boot, machine, scenario
from blkmodel.block import bio as bio_module, blk_core
from blkmodel.errors import NotModelled
from blkmodel.include.linux.blk_types import (BLK_STS_RESOURCE, REQ_FUA, REQ_OP_DISCARD, REQ_OP_FLUSH, REQ_OP_WRITE,
    REQ_PREFLUSH)
from blkmodel.include.linux.blkdev import blk_queue_nonrot
from blkmodel.services.memory.mm import __free_page, alloc_page
from blkmodel.services.memory.slab import GFP_KERNEL
from blkmodel.services.tasks.wait import complete, completion, wait_for_completion
from blkmodel.sim import this
from tests.leaks import drawn

GB = 1 << 30


def load(cpus=4, **params):
    kernel = boot(cpus)
    scenario.null_blk_load(**params)
    return kernel


def queue(name="nullb0"):
    return scenario.disk(name).queue


def device(name="nullb0"):
    return scenario.disk(name).private_data.dev


def kinds(kernel):
    return sorted(a.kind for a in kernel.memory.live.values())


@pytest.mark.parametrize(("params", "queues"), [
    ({}, 1), ({"submit_queues": 3}, 3), ({"submit_queues": 9}, 4), ({"submit_queues": 0}, 1),
    ({"submit_queues": -5}, 1)])
def test_submit_queues_are_limited_to_the_cpus(params, queues):
    load(4, **params)
    assert queue().nr_hw_queues == queues
    assert scenario.scheduler("nullb0") == ("mq-deadline" if queues == 1 else "none")


def test_a_queue_for_each_node():
    kernel = load(machine(8, nodes=2), use_per_node_hctx=1, submit_queues=5)
    assert queue().nr_hw_queues == 2
    assert "null_blk: submit_queues param is set to 2." in kernel.log


@pytest.mark.parametrize(("params", "errno", "line"), [
    ({"queue_mode": 1}, "EINVAL", "null_blk: legacy IO path no longer available"),
    ({"queue_mode": 3}, "EINVAL", "null_blk: `3' invalid for parameter `queue_mode'"),
    ({"queue_mode": "0x2"}, "EINVAL", "null_blk: `0x2' invalid for parameter `queue_mode'"),
    ({"irqmode": 3}, "EINVAL", "null_blk: `3' invalid for parameter `irqmode'"),
    ({"submit_queues": "many"}, "EINVAL", "null_blk: `many' invalid for parameter `submit_queues'"),
    ({"gb": 1 << 40}, "ERANGE", f"null_blk: `{1 << 40}' invalid for parameter `gb'"),
    ({"zoned": 1}, "EINVAL", "null_blk: CONFIG_BLK_DEV_ZONED not enabled"),
    ({"zone_size": 3}, "EINVAL", "null_blk: zone_size must be power-of-two"),
])
def test_what_the_module_refuses(params, errno, line):
    kernel = boot(2)
    before = kinds(kernel)
    with pytest.raises(KernelError) as refused:
        scenario.null_blk_load(**params)
    assert refused.value.name == errno
    assert line in refused.value.log
    assert kinds(kernel) == before
    scenario.null_blk_load()


def test_bios_as_they_come_are_not_modelled():
    boot(2)
    with pytest.raises(NotModelled, match="queue_mode 0"):
        scenario.null_blk_load(queue_mode=0)
    scenario.null_blk_load()
    with pytest.raises(NotModelled, match="queue_mode 0"):
        scenario.null_blk_create("mem", queue_mode=0)


def test_a_depth_of_zero_is_refused():
    boot(2)
    with pytest.raises(KernelError) as refused:
        scenario.null_blk_load(hw_queue_depth=0)
    assert refused.value.name == "EINVAL"


@pytest.mark.parametrize(("bs", "then"), [(512, 512), (1000, 512), (4096, 4096), (8192, 4096), (1, 512)])
def test_block_sizes_are_moved_to_what_there_can_be(bs, then):
    kernel = load(2, bs=bs)
    assert queue().limits.logical_block_size == queue().limits.physical_block_size == then
    assert ("null_blk: invalid block size" in kernel.log) == (bs > 4096)


def test_the_node_of_the_device():
    load(machine(4, nodes=2), home_node=1)
    assert device().home_node == 1
    assert this().memory.live[queue()._addr].node == 1
    kernel = load(machine(4, nodes=2), home_node=2)
    assert "null_blk: invalid home_node value" in kernel.log
    assert device().home_node == -1


def test_size_and_kind_of_the_disk():
    load(2, gb=3)
    assert scenario.disk("nullb0").part0.nr_sects == 3 * GB // 512
    assert blk_queue_nonrot(queue())


def test_no_sched_refuses_schedulers():
    load(2, no_sched=1)
    assert scenario.scheduler("nullb0") == "none"
    scenario.set_scheduler("nullb0", "mq-deadline")
    assert scenario.scheduler("nullb0") == "none"


@pytest.mark.parametrize("shared", [0, 1])
def test_disks_may_share_their_tags(shared):
    kernel = boot(2)
    before = kinds(kernel)
    scenario.null_blk_load(nr_devices=3, shared_tags=shared, submit_queues=2)
    tags = {id(queue(name).queue_hw_ctx[0].tags) for name in ("nullb0", "nullb1", "nullb2")}
    assert len(tags) == (1 if shared else 3)
    for name in ("nullb0", "nullb1", "nullb2"):
        assert scenario.io(name, "read", 0, 4096) == bytes(4096)
    scenario.null_blk_unload()
    assert kinds(kernel) == before


@pytest.mark.parametrize("submit_queues", [1, 3])
@pytest.mark.parametrize("irqmode", [0, 1, 2])
def test_how_it_completes(submit_queues, irqmode):
    kernel = boot(4)
    before = kinds(kernel)
    scenario.null_blk_load(submit_queues=submit_queues, irqmode=irqmode, completion_nsec=70_000)
    for cpu in range(4):
        start = kernel.now
        assert len(scenario.io("nullb0", "read", 8192 * cpu, 8192, cpu=cpu)) == 8192
        assert kernel.now - start == (70_000 if irqmode == 2 else 0)
        assert scenario.io("nullb0", "write", 0, 512, cpu=cpu) == scenario.sector_numbers(0, 512)
    scenario.null_blk_unload()
    assert kinds(kernel) == before


def test_a_request_that_takes_too_long_is_completed_by_the_timeout():
    """The partition scan's read; its own timer would come a second later, for a request that is free by then."""
    kernel = boot(2)
    scenario.null_blk_load(irqmode=2, completion_nsec=6_000_000_000)
    assert any(line.startswith("null_blk: rq 0x") and line.endswith(" timed out") for line in kernel.log)
    assert 5_000_000_000 <= kernel.now < 6_000_000_000


# Data in memory

def memory_backed(kernel=None, **more):
    kernel = kernel or load(4)
    return scenario.null_blk_create("mem", memory_backed=1, size=16, **more)


def submit(name, opf, sector=0, size=0, pages=()):
    """Submit a bio as the kernel itself does; return its status once it is done."""
    def task():
        done, status = completion(), []

        def end_io(bio):
            status.append(bio.bi_status)
            complete(done)
        bio = bio_module.bio_alloc_bioset(GFP_KERNEL, max(len(pages), 1), None)
        bio.bi_disk = scenario_disk
        bio.bi_opf = opf
        bio.bi_iter.bi_sector = sector
        for page in pages:
            bio_module.bio_add_page(bio, page, 4096, 0)
        if not pages:
            bio.bi_iter.bi_size = size
        bio.bi_end_io = end_io
        blk_core.submit_bio(bio)
        wait_for_completion(done)
        bio_module.bio_put(bio)
        return status[0]
    scenario_disk = scenario.disk(name)
    return this().task("kernel", task)


@pytest.mark.parametrize("more", [{}, {"blocksize": 4096}, {"cache_size": 1},
                                  {"submit_queues": 2, "irqmode": 2}])
def test_what_is_written_is_read_back(more):
    kernel = boot(4)
    scenario.null_blk_load()
    before = kinds(kernel)
    name = memory_backed(kernel, **more)
    assert scenario.io(name, "read", 4096, 8192) == bytes(8192)
    data = bytes(range(256)) * 48
    assert scenario.io(name, "write", 8192, len(data), data=data, cpu=1) == data
    assert scenario.io(name, "read", 8192, len(data), cpu=2) == data
    assert scenario.io(name, "read", 4096, 8192, page_runs=[2]) == bytes(4096) + data[:4096]
    scenario.null_blk_remove("mem")
    assert kinds(kernel) == before
    scenario.null_blk_unload()


@settings(deadline=None, max_examples=25)
@given(writes=st.lists(st.tuples(st.integers(0, 63), st.integers(1, 24), st.integers(0, 255)), max_size=8),
       cache=st.booleans())
def test_the_disk_is_an_array_of_sectors(writes, cache):
    boot(2)
    scenario.null_blk_load()
    name = scenario.null_blk_create("mem", memory_backed=1, size=1, cache_size=int(cache))
    image = bytearray(96 * 512)
    for sector, count, value in writes:
        data = bytes([value]) * (count * 512)
        scenario.io(name, "write", sector * 512, len(data), data=data)
        image[sector * 512:][:0] = b""
        image[sector * 512:sector * 512 + len(data)] = data
    assert scenario.io(name, "read", 0, len(image)) == bytes(image)


def test_discarded_sectors_read_as_zeros_and_their_pages_are_freed():
    name = memory_backed(discard=1)
    scenario.io(name, "write", 0, 8192)
    assert len(device(name).data.items) == 2
    assert queue(name).limits.discard_granularity == 512
    assert submit(name, REQ_OP_DISCARD, 0, 4096) == 0
    assert len(device(name).data.items) == 1
    assert scenario.io(name, "read", 0, 8192) == bytes(4096) + scenario.sector_numbers(4096, 4096)


def test_a_flush_empties_the_cache():
    name = memory_backed(cache_size=1)
    data = bytes([7]) * 65536
    scenario.io(name, "write", 0, len(data), data=data)
    assert len(device(name).cache.items) == 16
    assert device(name).curr_cache == 65536
    assert not device(name).data.items
    assert submit(name, REQ_OP_WRITE | REQ_PREFLUSH) == 0
    assert not device(name).cache.items
    assert device(name).curr_cache == 0
    assert len(device(name).data.items) == 16
    assert scenario.io(name, "read", 0, len(data)) == data


def test_a_flush_that_finds_no_memory_for_what_is_cached_fails():
    name = memory_backed(cache_size=1)
    scenario.io(name, "write", 0, 4096)
    this().memory.fail_if(drawn(1, 0, kinds={"nullb_page"}))
    assert submit(name, REQ_OP_WRITE | REQ_PREFLUSH) == BLK_STS_RESOURCE
    this().memory.fail_never()
    assert "WARNING: CPU: 0: null_blk: the cache is not empty after a flush" in this().log
    assert len(device(name).cache.items) == 1
    assert submit(name, REQ_OP_WRITE | REQ_PREFLUSH) == 0
    assert not device(name).cache.items


def test_a_cache_is_lost_with_the_power():
    name = memory_backed(cache_size=1)
    scenario.io(name, "write", 0, 8192)
    dev = device(name)
    scenario._command("sh", "echo", scenario.configfs_write_file, "nullb/mem/power", "0")
    assert (dev.curr_cache, len(dev.cache.items)) == (0, 0)
    scenario._command("sh", "echo", scenario.configfs_write_file, "nullb/mem/power", "1")
    assert scenario.io(name, "read", 0, 8192) == bytes(8192)


def test_a_write_with_fua_goes_past_the_cache():
    name = memory_backed(cache_size=1)
    scenario.io(name, "write", 0, 4096)
    page = alloc_page(GFP_KERNEL)
    page.write(0, bytes([9]) * 4096)
    assert submit(name, REQ_OP_WRITE | REQ_FUA, 0, pages=[page]) == 0
    __free_page(page)
    assert not device(name).cache.items
    assert scenario.io(name, "read", 0, 4096) == bytes([9]) * 4096


def test_a_full_cache_writes_back():
    name = memory_backed(cache_size=1)
    size = 1 << 20
    for offset in range(0, 2 * size, 1 << 18):
        scenario.io(name, "write", offset, 1 << 18)
    assert device(name).curr_cache < size
    assert scenario.io(name, "read", 0, 2 * size) == scenario.sector_numbers(0, 2 * size)


def test_no_memory_for_data_is_an_error_of_the_write():
    name = memory_backed()
    this().memory.fail_if(drawn(1, 0, kinds={"nullb_page"}))
    with pytest.raises(KernelError) as failed:
        scenario.io(name, "write", 0, 4096)
    assert failed.value.name == "ENOSPC"
    this().memory.fail_never()
    assert scenario.io(name, "read", 0, 4096) == bytes(4096)


def test_off_keeps_the_data_and_settings_need_it_off():
    name = memory_backed()
    scenario.io(name, "write", 0, 4096)
    with pytest.raises(KernelError) as busy:
        scenario._command("sh", "echo", scenario.configfs_write_file, "nullb/mem/size", "1")
    assert busy.value.name == "EBUSY"
    for power in "01":
        scenario._command("sh", "echo", scenario.configfs_write_file, "nullb/mem/power", power)
    assert scenario.io(name, "read", 0, 4096) == scenario.sector_numbers(0, 4096)


def test_configfs_needs_the_module_and_a_new_name():
    boot(2)
    with pytest.raises(KernelError):
        scenario.null_blk_create("a")
    scenario.null_blk_load(nr_devices=0)
    assert scenario.null_blk_create("a") == "nullb0"
    with pytest.raises(KernelError) as there:
        scenario.null_blk_create("a")
    assert there.value.name == "EEXIST"


def test_an_empty_flush_without_a_cache():
    load(2)
    assert submit("nullb0", REQ_OP_WRITE | REQ_PREFLUSH) == 0
    assert REQ_OP_FLUSH != REQ_OP_WRITE


def test_bad_blocks_are_set_shown_and_hit():
    boot(2)
    scenario.null_blk_load(nr_devices=0)
    disk = scenario.null_blk_create("bad", size=1, memory_backed=1, badblocks="+16-23")
    assert scenario.cat("/sys/kernel/config/nullb/bad/badblocks") == "16 8\n"
    assert scenario.io(disk, "read", 0, 4096) == bytes(4096)
    with pytest.raises(KernelError, match="EIO"):
        scenario.io(disk, "write", 8192, 512)
    scenario.null_blk_configure("bad", badblocks="-16-23")
    assert scenario.io(disk, "write", 8192, 512) == scenario.sector_numbers(8192, 512)
    for text in ("16-23", "+16", "+23-16", "+x-23"):
        with pytest.raises(KernelError, match="EINVAL"):
            scenario.null_blk_configure("bad", badblocks=text)


@pytest.mark.parametrize(("what", "seconds"), [("timeout", 5), ("requeue", 0)])
def test_a_request_that_is_forgotten_or_sent_back(what, seconds):
    """The first read after the scan; the next is as quick as ever."""
    kernel = load(2, **{what: "2,100,0,1"})
    took = []
    for _ in range(2):
        begun = kernel.now
        assert scenario.io("nullb0", "read", 0, 4096) == bytes(4096)
        took.append((kernel.now - begun) // 1_000_000_000)
    assert took[0] in (seconds, seconds + bool(seconds))
    assert took[1] == 0
    assert any("timed out" in line for line in kernel.log) == (what == "timeout")
    queues = scenario.disk("nullb0").private_data.queues
    assert sum(nq.requeue_selection for nq in queues) == (what == "requeue")
