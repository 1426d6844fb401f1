"""The directories of hardware queues in sysfs, and what they hold."""

import pytest

from blkmodel import boot, scenario
from blkmodel.block import blk_mq_sysfs
from blkmodel.device.controller import Controller
from blkmodel.include.linux.genhd import disk_to_dev
from blkmodel.services.base.err import ENOENT, ENOMEM
from blkmodel.services.devices.kobject import KOBJ_ADD, KOBJ_REMOVE, kobject_add, object_at, sysfs


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


@pytest.fixture
def shown():
    """A disk of four CPUs with two hardware queues."""
    boot(4)
    scenario.null_blk_load(submit_queues=2, hw_queue_depth=8)
    return scenario.disk("nullb0")


def files_of(number):
    directory = object_at(f"block/nullb0/mq/{number}")
    return {name: attr.show(directory._owner) for name, attr in directory.attrs.items()}


def test_what_a_hardware_queue_shows(shown):
    assert sorted(shown.queue.mq_kobj.links) == ["0", "1"]
    assert files_of(0) == {"nr_tags": "8\n", "nr_reserved_tags": "0\n", "cpu_list": "0, 2\n"}
    assert files_of(1) == {"nr_tags": "8\n", "nr_reserved_tags": "0\n", "cpu_list": "1, 3\n"}
    shown.queue.queue_hw_ctx[1].tags.nr_reserved_tags = 2
    assert files_of(1)["nr_reserved_tags"] == "2\n"
    assert sorted(object_at("block/nullb0/mq/1").links) == ["cpu1", "cpu3"]


def test_hardware_queues_are_shown_again_after_they_have_changed(shown):
    q = shown.queue
    blk_mq_sysfs.blk_mq_sysfs_unregister(q)
    assert q.mq_kobj.links == {}
    assert blk_mq_sysfs.blk_mq_sysfs_register(q) == 0
    assert files_of(1)["cpu_list"] == "1, 3\n"
    blk_mq_sysfs.blk_mq_sysfs_unregister(q)
    q.mq_kobj.state_in_sysfs = False
    assert blk_mq_sysfs.blk_mq_register_hctx(q.queue_hw_ctx[0]) == -ENOENT
    assert q.queue_hw_ctx[0].kobj.attrs == {}
    assert blk_mq_sysfs.blk_mq_sysfs_register(q) == -ENOENT
    q.mq_sysfs_init_done = False  # what was never shown is not to be shown again
    assert blk_mq_sysfs.blk_mq_sysfs_register(q) == 0


def told_of_mq(since):
    return [action for action, name, _ in sysfs().uevents[since:] if name == "mq"]


def test_a_disk_shows_its_queues_while_it_is_there(shown):
    q, dev = shown.queue, disk_to_dev(shown)
    assert told_of_mq(0) == [KOBJ_ADD]
    references, since = dev.kobj.refcount, len(sysfs().uevents)
    blk_mq_sysfs.blk_mq_unregister_dev(dev, q)
    assert (told_of_mq(since), q.mq_sysfs_init_done) == ([KOBJ_REMOVE], False)
    gone = dev.kobj.refcount
    assert blk_mq_sysfs.__blk_mq_register_dev(dev, q) == 0
    assert (told_of_mq(since), q.mq_sysfs_init_done) == ([KOBJ_REMOVE, KOBJ_ADD], True)
    assert gone < dev.kobj.refcount == references


def test_a_disk_that_is_not_shown_shows_no_queues(shown):
    q, dev = shown.queue, disk_to_dev(shown)
    blk_mq_sysfs.blk_mq_unregister_dev(dev, q)
    since = len(sysfs().uevents)
    dev.kobj.state_in_sysfs = False
    assert blk_mq_sysfs.__blk_mq_register_dev(dev, q) == -ENOENT
    assert (told_of_mq(since), q.mq_sysfs_init_done) == ([], False)


def test_where_one_queue_can_not_be_shown_none_is(shown, monkeypatch):
    q, dev = shown.queue, disk_to_dev(shown)
    blk_mq_sysfs.blk_mq_unregister_dev(dev, q)
    references, since = dev.kobj.refcount, len(sysfs().uevents)
    monkeypatch.setattr(blk_mq_sysfs, "kobject_add",
                        lambda kobj, parent, name: -ENOMEM if name == "1" else kobject_add(kobj, parent, name))
    assert blk_mq_sysfs.__blk_mq_register_dev(dev, q) == -ENOMEM
    assert (told_of_mq(since), q.mq_sysfs_init_done) == ([KOBJ_ADD, KOBJ_REMOVE], False)
    assert object_at("block/nullb0/mq") is None
    assert not q.queue_hw_ctx[0].kobj.state_in_sysfs
    assert dev.kobj.refcount == references
