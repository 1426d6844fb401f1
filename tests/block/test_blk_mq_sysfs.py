"""The directories of hardware queues in sysfs, and what they hold."""

import pytest

from blkmodel import boot, scenario
from blkmodel.device.controller import Controller


def left_over(**params):
    """The kinds of allocations that are left when a controller has come and gone, and how many of each."""
    kernel = boot(4)
    scenario.nvme_load(io_queue_depth=8, **params)
    before = set(kernel.memory.live)
    scenario.nvme_probe(controller=Controller(queue_pairs=8, vectors=9))
    scenario.nvme_remove()
    kernel.loop.run_due()
    kinds = [each.kind for addr, each in kernel.memory.live.items() if addr not in before]
    return {kind: kinds.count(kind) for kind in sorted(kinds)}


def test_queues_of_one_type_are_all_freed():
    assert left_over() == {}


@pytest.mark.parametrize(("params", "queues"), [
    ({"write_queues": 1}, 1), ({"write_queues": 3}, 3), ({"poll_queues": 1}, 4),
    ({"poll_queues": 1, "write_queues": 2}, 2 + 4)])
def test_queues_of_several_types_are_never_freed_but_the_last_type(params, queues):
    """5.4 shows a software queue below a hardware queue of each type. It then holds all of them, and lets go only of
    the one that it was shown below last: those of all types but the last outlive the disk."""
    assert left_over(**params) == {"blk_flush_queue": queues, "blk_mq_hw_ctx": queues, "pointer[]": queues,
                                   "request": queues, "sbitmap_word[]": queues}
