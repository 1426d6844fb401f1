"""Where the reference kernel itself errs: the list, the comments in the code and the tests agree; and what no other
test shows."""

import ast
import re
from itertools import count
from pathlib import Path

import pytest

from blkmodel import KernelError, boot, scenario
from blkmodel.block import bio as bios, blk_core, blk_settings
from blkmodel.device.controller import Controller
from blkmodel.device.namespace import Namespace
from blkmodel.drivers.block.null_blk_main import NULLB_PAGE_LOCK
from blkmodel.drivers.md import dm, dm_service_time
from blkmodel.reference.source import defects, line_of
from blkmodel.services.base.bug import KernelBug
from blkmodel.services.memory.slab import GFP_KERNEL, NUMA_NO_NODE
from blkmodel.sim.kernel import Context
from blkmodel.sim.structure import Array
from blkmodel.trace import Call, record
from blkmodel.userland import dmsetup
from blkmodel.view.figures.defects import errors
from tests.leaks import drawn
from tests.tools.comments import comments

ROOT = Path(__file__).resolve().parents[2]


def test_the_list_and_the_comments_agree():
    """Each function of the list has a comment `# 5.4: …`, and each function with such a comment is in the list."""
    listed = {(each.function, each.file) for each in defects()}
    marked = {(each.function, each.file) for each in comments() if each.function}
    assert marked - listed == set(), "not in blkmodel/reference/defects.tsv"
    outside = [each.file for each in comments() if not each.function]  # at what a function looks something up in
    assert sorted(file for _, file in listed - marked) == sorted(outside), f"without a comment: {listed - marked}"


@pytest.mark.parametrize("defect", defects(), ids=lambda each: each.function)
def test_every_row(defect):
    assert line_of(defect.function, defect.file), "the kernel has no such function there"
    assert re.fullmatch(r"-|[0-9a-f]{12} \(\d\.\d+\)", defect.mended)
    path, name = defect.test.split("::")
    tests = ast.parse((ROOT / path).read_text()).body
    assert name in {node.name for node in tests if isinstance(node, ast.FunctionDef)}


def test_rows_are_sorted_into_files():
    files = [each.file for each in defects()]
    assert len({*files}) == sum(one != other for one, other in zip(files, [*files[1:], ""], strict=True))


def test_the_page_has_them_all():
    html = errors()
    assert html.count("<dt>") == len(defects())
    assert html.count("Mended by") == sum(each.mended != "-" for each in defects())


def test_a_page_that_does_not_fit_is_lost():
    """The queue takes one page at a time; a copy of three begins with one, and nobody has the second any more."""
    kernel = boot(1)
    q = blk_core.blk_alloc_queue_node(GFP_KERNEL, NUMA_NO_NODE)
    blk_settings.blk_queue_make_request(q, lambda q, bio: -1)
    q.limits.max_hw_sectors = 8
    before = kernel.memory.live.keys() | set()
    bio = bios.bio_copy_kern(q, Array("u8", bytes(12288)), 12288, GFP_KERNEL, 0)
    assert bio.bi_iter.bi_size == 4096

    def held():
        return [each.kind for addr, each in kernel.memory.live.items() if addr not in before]
    assert held() == ["bio", "pages(1)", "pages(1)"]
    bio.bi_end_io(bio)
    assert held() == ["pages(1)"]


def test_a_discard_that_waited_is_not_cut():
    """Cut into four where the device is not suspended; after a resume it goes down whole."""
    def clones(suspended):
        kernel = boot(1)
        scenario.nvme_probe()
        scenario.dm_load()
        disk = dmsetup.create("lin0", "0 8192 linear /dev/nvme0n1 0")
        scenario.set_queue_file(disk, "discard_max_bytes", 256 << 10)
        if suspended:
            dmsetup.run(("suspend", "lin0"))
            md = scenario.disk(disk).private_data
            kernel.loop.post(Context("task", "dmsetup", 0), lambda: dm.dm_resume(md), 5_000_000)
        recording = record(scenario.discard, disk, 0, 1 << 20)
        return sum(event.function == "alloc_tio" for event in recording.of(Call))
    assert (clones(False), clones(True)) == (4, 1)


def test_pages_of_a_cache_stay_locked():
    """Of two pages the first finds no memory: the second stays locked, and is passed over from then on."""
    kernel = boot(4)
    scenario.null_blk_load(nr_devices=0)
    name = scenario.null_blk_create("c", memory_backed=1, cache_size=1, size=4)
    scenario.io(name, "write", 0, 8192)
    cache = scenario.disk(name).private_data.dev.cache
    kernel.memory.fail_if(drawn(1, 0, kinds={"nullb_page"}))
    with pytest.raises(KernelError, match="ENOMEM"):
        scenario.flush(name)
    assert [cache.items[number].bitmap >> NULLB_PAGE_LOCK & 1 for number in (0, 1)] == [0, 1]
    kernel.memory.fail_never()
    with pytest.raises(KernelBug, match="looks for ever for a free page"):
        scenario.flush(name)


def test_tags_of_another_queue_are_freed():
    """A namespace comes, and there is no memory for its second hardware queue. The first one has the tags of both."""
    kernel = boot(2)
    controller = Controller(namespaces={1: Namespace(64)})
    scenario.nvme_probe(controller=controller)
    controller.namespaces[2] = Namespace(64)
    asked = count()
    kernel.memory.fail_if(lambda kind, size: kind == "blk_mq_hw_ctx" and next(asked) > 0)
    with pytest.raises(KernelBug, match="tags are freed that another queue uses"):
        scenario.set_nvme_file("nvme0", "rescan_controller", 1)


def test_more_hardware_queues_than_at_first():
    """One CPU, and a second queue that comes with a reset: it polls, for which there need not be another interrupt."""
    boot(1)
    scenario.nvme_probe(vectors=2, write_queues=1)
    scenario.nvme_load(write_queues=0, poll_queues=1)
    with pytest.raises(KernelBug, match="behind the end of their array"):
        scenario.set_nvme_file("nvme0", "reset_controller", 1)


def test_a_number_is_lost():
    """The disk could not be registered; the next one does not get its number."""
    kernel = boot(4)
    scenario.null_blk_load(nr_devices=0)
    kernel.memory.fail_if(drawn(1, 0, kinds={"gendisk"}))
    with pytest.raises(KernelError, match="ENOMEM"):
        scenario.null_blk_create("lost")
    kernel.memory.fail_never()
    assert scenario.null_blk_create("next") == "nullb1"


def test_a_path_with_much_under_way_seems_better():
    """3 GiB do not fit into an int; nothing at all is more than they become."""
    boot(1)
    busy, idle = (dm_service_time.path_info(relative_throughput=1, in_flight_size=size) for size in (3 << 30, 0))
    assert dm_service_time.st_compare_load(busy, idle, 4096) < 0
