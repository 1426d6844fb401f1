"""How fast the model is: `make bench`. Nothing here is asserted about seconds; machines differ, and are shared."""

import json
import tracemalloc
from pathlib import Path

import pytest

from blkmodel.block import blk_mq, blk_mq_cpumap
from blkmodel.capture.check import check_file
from blkmodel.include.linux.blk_mq import blk_mq_ops, blk_mq_queue_map, blk_mq_tag_set
from blkmodel.include.linux.interrupt import irq_affinity
from blkmodel.kernel.irq.affinity import irq_create_affinity_masks
from blkmodel.sim import boot, machine

pytestmark = pytest.mark.benchmark

MAPS = sorted((Path(__file__).parent / "kernel" / "linux-5.4" / "maps").glob("*.json"))
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


def test_affinity_spread(benchmark):
    """512 vectors spread over 1024 CPUs on four nodes."""
    boot(machine(1024, nodes=4, threads=2, nr_cpus=1024))
    masks = benchmark(lambda: irq_create_affinity_masks(512, irq_affinity()))
    assert len(masks) == 512


def test_check_maps(benchmark):
    """All map recordings checked, case by case."""
    results = benchmark.pedantic(lambda: [check_file(path) for path in MAPS], rounds=1)
    assert [each.result for each in results] == ["passed"] * len(MAPS)
    benchmark.extra_info["cases"] = sum(len(json.loads(path.read_text())["cases"]) for path in MAPS)
