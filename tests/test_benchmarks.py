"""How fast the model is: `make bench`. Nothing here is asserted about seconds; machines differ, and are shared."""

import cProfile
import gc
import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from blkmodel import scenario
from blkmodel.block import blk_mq, blk_mq_cpumap
from blkmodel.capture.check import check
from blkmodel.device.controller import Controller
from blkmodel.include.linux.blk_mq import blk_mq_ops, blk_mq_queue_map, blk_mq_tag_set
from blkmodel.include.linux.blkdev import READ
from blkmodel.kernel.irq.affinity import irq_create_affinity_masks
from blkmodel.services.cpus.interrupt import irq_affinity
from blkmodel.services.files.file import O_DIRECT, O_RDONLY, filp_close, filp_open, new_sync_read
from blkmodel.services.files.uio import iov_iter, iov_iter_init, map_user_buffer, unmap_user_buffer
from blkmodel.sim import boot, machine
from blkmodel.trace import record

pytestmark = pytest.mark.benchmark

MAPS = sorted((Path(__file__).parent / "recordings" / "linux-5.4" / "maps").glob("*.json"))
OPS = blk_mq_ops(queue_rq=lambda hctx, bd: 0)


def tag_set(queues, depth):
    made = blk_mq_tag_set(ops=OPS, nr_hw_queues=queues, queue_depth=depth, cmd_size=152, numa_node=-1)
    assert blk_mq.blk_mq_alloc_tag_set(made) == 0
    return made


@pytest.mark.parametrize("queues", [32, 64, 128])
def test_tag_set(benchmark, queues):
    """A tag set of so many queues × 1023 requests: the time should double from row to row."""
    kernel = boot(queues)
    made = benchmark.pedantic(tag_set, (queues, 1023), rounds=3)
    assert sum(len(tags.static_rqs) for tags in made.tags) == queues * 1023
    benchmark.extra_info["allocations"] = kernel.memory.count


def test_tag_set_memory(benchmark):
    """What the interpreter needs for a tag set of 128 × 1023, in extra_info as MB."""
    boot(128)
    tracemalloc.start()
    benchmark.pedantic(tag_set, (128, 1023), rounds=1)
    benchmark.extra_info["MB"] = tracemalloc.get_traced_memory()[0] >> 20
    tracemalloc.stop()


def test_default_map(benchmark):
    """The default map of 8192 CPUs."""
    kernel = boot(machine(8192, threads=2, nr_cpus=8192))
    qmap = blk_mq_queue_map(mq_map=[0] * kernel.nr_cpu_ids, nr_queues=64)
    benchmark(blk_mq_cpumap.blk_mq_map_queues, qmap)
    assert set(qmap.mq_map) == set(range(64))


def _probe(queues):
    """Bring up a controller of so many queues of 1023 commands on as many CPUs; return the kernel."""
    kernel = boot(queues)
    scenario.nvme_probe(controller=Controller(queue_pairs=queues, vectors=queues + 1))
    return kernel


@pytest.mark.parametrize("queues", [32, 64, 128])
def test_nvme_set_up(benchmark, queues):
    """All of a probe: the time should double from row to row. extra_info: what the interpreter needs for it, in MB."""
    benchmark.pedantic(_probe, (queues,), rounds=3)
    tracemalloc.start()
    kernel = _probe(queues)
    benchmark.extra_info["MB"] = tracemalloc.get_traced_memory()[0] >> 20
    tracemalloc.stop()
    benchmark.extra_info["allocations"] = kernel.memory.count
    tags = scenario.nvme_controller().tagset.tags
    assert sum(len(each.static_rqs) for each in tags[:queues]) == queues * 1023


def test_nvme_set_up_recorded(benchmark):
    """128 queues on 128 CPUs, while a recording is on."""
    recording = benchmark.pedantic(record, (_probe, 128), rounds=1)
    benchmark.extra_info["events"] = len(recording.events)


def _reads(disk, count):
    """Read 4 KiB so many times, one after the other, as one process that has the disk open."""
    filp = filp_open(disk, O_DIRECT | O_RDONLY)
    buffer, at = map_user_buffer([1]), iov_iter()
    for i in range(count):
        iov_iter_init(at, READ, buffer, 0, 4096)
        assert new_sync_read(filp, at, (i & 1023) << 12) == 4096
    filp_close(filp)
    unmap_user_buffer(buffer)


def _spent(kernel, disk, count):
    """The seconds of processor time that so many take."""
    began = time.process_time()
    kernel.task("dio", _reads, disk, count)
    return time.process_time() - began


DISKS: dict[str, tuple[str, Callable[[], Any]]] = {
    "null_blk": ("nullb0", lambda: scenario.null_blk_load(submit_queues=4)),
    "null_blk, one queue": ("nullb0", scenario.null_blk_load), "NVMe": ("nvme0n1", scenario.nvme_probe)}


@pytest.mark.parametrize("scheduler", ["none", "mq-deadline"])
@pytest.mark.parametrize("kind", DISKS)
def test_reads(benchmark, kind, scheduler):
    """Complete reads of 4 KiB, one at a time, of which extra_info says how many in a second, and what in calls."""
    kernel = boot(4)
    disk, load = DISKS[kind]
    load()
    scenario.set_scheduler(disk, scheduler)
    kernel.task("dio", _reads, disk, 100)
    benchmark.pedantic(kernel.task, ("dio", _reads, disk, 1000), rounds=3)
    spent = min(_spent(kernel, disk, 300) for _ in range(20))
    benchmark.extra_info["reads per second of processor time"] = round(300 / spent)
    calls = cProfile.Profile()
    calls.runcall(kernel.task, "dio", _reads, disk, 100)
    benchmark.extra_info["calls for each"] = sum(row.callcount for row in calls.getstats()) // 100


@pytest.mark.parametrize("kind", ["null_blk", "NVMe"])
def test_a_million_reads(benchmark, kind):
    """What is left of a million reads in the interpreter's own memory, in extra_info as blocks: a few, or it grows."""
    kernel = boot(4)
    disk, load = DISKS[kind]
    load()
    kernel.task("dio", _reads, disk, 3000)  # until every ring has been filled once
    gc.collect()
    before, held = sys.getallocatedblocks(), kernel.memory.used
    benchmark.pedantic(kernel.task, ("dio", _reads, disk, 1_000_000), rounds=1)
    gc.collect()
    benchmark.extra_info["blocks more"] = sys.getallocatedblocks() - before
    assert kernel.memory.used == held


def test_reads_recorded(benchmark):
    """The same from NVMe while a recording is on; extra_info has the price of that, as a ratio."""
    kernel = boot(4)
    scenario.nvme_probe()
    plain = min(_spent(kernel, "nvme0n1", 100) for _ in range(20))
    recorded = min(record(_spent, kernel, "nvme0n1", 100).result for _ in range(10))
    benchmark.pedantic(lambda: record(kernel.task, "dio", _reads, "nvme0n1", 100), rounds=3)
    benchmark.extra_info["times as long"] = round(recorded / plain, 1)


def test_affinity_spread(benchmark):
    """512 vectors spread over 1024 CPUs on four nodes."""
    boot(machine(1024, nodes=4, threads=2, nr_cpus=1024))
    masks = benchmark(lambda: irq_create_affinity_masks(512, irq_affinity()))
    assert len(masks) == 512


def test_check_maps(benchmark):
    """`blkmodel check` of all map recordings, with as many files at once as there are CPUs."""
    said = StringIO()
    assert benchmark.pedantic(lambda: check(MAPS, out=said), rounds=1) == 0
    assert said.getvalue().endswith(f"{len(MAPS)} passed, 0 failed\n")
    benchmark.extra_info["cases"] = sum(len(json.loads(path.read_text())["cases"]) for path in MAPS)
