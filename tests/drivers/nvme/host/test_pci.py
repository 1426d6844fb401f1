"""The NVMe driver's queues: every recorded map, the parameters, and what happens when not all can be had."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import blkmodel
from blkmodel import KernelError
from blkmodel.block import blk_mq
from blkmodel.device.controller import Controller
from blkmodel.device.nvme import bring_up_queues, irq_affinity
from blkmodel.drivers.nvme.host import core, pci
from blkmodel.drivers.nvme.host.nvme_h import (
    NVME_QUIRK_MEDIUM_PRIO_SQ,
    NVME_QUIRK_SHARED_TAGS,
    NVME_QUIRK_SINGLE_VECTOR,
    nvme_ctrl,
)
from blkmodel.drivers.pci import msi
from blkmodel.include.linux.blk_mq import BLK_MQ_F_SHOULD_MERGE, HCTX_TYPE_DEFAULT, blk_mq_tag_set
from blkmodel.include.linux.errno import EINVAL, ENOMEM
from blkmodel.include.linux.interrupt import irq_affinity as affinity_request
from blkmodel.include.linux.irqdesc import irq_to_desc
from blkmodel.include.linux.nvme import NVME_SQ_PRIO_MEDIUM
from blkmodel.sim.machine import from_capture, machine
from tests.machines import machines

MAPS = sorted((Path(__file__).parents[3] / "kernel" / "linux-5.4" / "maps").glob("*.json"))
TYPES = "default", "read", "poll"


def observe(dev):
    """What the kernel shows of a controller's queues, in the words of a recording."""
    hctxs = []
    for kind, qmap in zip(TYPES, dev.tagset.map[:dev.tagset.nr_maps], strict=False):
        for queue in range(qmap.queue_offset, qmap.queue_offset + qmap.nr_queues):
            cpus = [cpu for cpu, used in enumerate(qmap.mq_map) if used == queue]
            if cpus:
                hctxs.append((queue, kind, cpus, dev.tagset.queue_depth))
    return dict(zip(TYPES, dev.io_queues, strict=True)), hctxs


def polled(dev):
    return [q.qid for q in dev.queues if q.flags >> pci.NVMEQ_POLLED & 1]


def enabled(dev):
    return [q.qid for q in dev.queues if q.flags >> pci.NVMEQ_ENABLED & 1]


def only_map(set):
    """Stand in for the block layer where only its maps matter: a thousand requests a queue take their time."""
    for qmap in set.map[:set.nr_maps]:
        qmap.mq_map = [0] * blkmodel.sim.this().nr_cpu_ids
    return set.ops.map_queues(set)


@pytest.mark.parametrize("path", MAPS, ids=lambda path: path.stem)
def test_as_recorded(path, monkeypatch):
    """Queues of each type, the CPUs of each, and those of each interrupt."""
    monkeypatch.setattr(blk_mq, "blk_mq_alloc_tag_set", only_map)
    document = json.loads(path.read_text())
    on = from_capture(document["machine"])
    cases = [case for case in document["cases"] if case["driver"] == "nvme"]
    assert cases
    for case in cases:
        blkmodel.boot(on)
        dev = bring_up_queues(case["device"]["max_ioqpairs"], **case["params"])
        seen = case["observed"]
        queues, hctxs = observe(dev)
        assert queues == seen["queues"], case
        assert hctxs == [(h["index"], h["type"], h["cpus"], h["nr_tags"]) for h in seen["hctxs"]], case
        if "irq_affinity" in seen:
            ours = {str(qid) if qid else "admin": cpus for qid, cpus in irq_affinity(dev).items()}
            assert ours == seen["irq_affinity"], case


@settings(max_examples=60)
@given(machines(cpus=24), st.integers(1, 40), st.integers(0, 30), st.integers(0, 30), st.sampled_from([0, 1, 2, 9, 65]))
def test_every_cpu_has_a_queue_of_each_type(on, pairs, write_queues, poll_queues, vectors):
    kernel = blkmodel.boot(on)
    dev = bring_up_queues(pairs, write_queues, poll_queues, io_queue_depth=4, vectors=vectors)
    default, read, poll = dev.io_queues
    count = default + read + poll
    assert default >= 1
    assert poll <= poll_queues
    assert count == dev.tagset.nr_hw_queues == dev.online_queues - 1 == dev.max_qid
    assert count <= min(pairs, len(on.possible) + write_queues + poll_queues)
    assert enabled(dev) == list(range(count + 1))
    assert polled(dev) == list(range(default + read + 1, count + 1))
    assert set(dev.dev._owner._device.sqs) == set(range(1, count + 1))
    first = 0
    for qmap, nr in zip(dev.tagset.map[:dev.tagset.nr_maps], dev.io_queues, strict=False):
        if nr:
            assert (qmap.queue_offset, qmap.nr_queues) == (first, nr)
            assert all(first <= queue < first + nr for queue in qmap.mq_map)
        first += nr
    assert kernel.log[-1] == f"nvme nvme0: {default}/{read}/{poll} default/read/poll queues"


def test_write_queues_beside_read_queues():
    blkmodel.boot(4)
    dev = bring_up_queues(8, write_queues=2)
    assert observe(dev) == ({"default": 2, "read": 4, "poll": 0},
                            [(0, "default", [0, 1], 1023), (1, "default", [2, 3], 1023), (2, "read", [0], 1023),
                             (3, "read", [1], 1023), (4, "read", [2], 1023), (5, "read", [3], 1023)])


@pytest.mark.parametrize(("vectors", "write", "sets"), [
    (0, 0, (1, 0, 1)), (0, 5, (1, 0, 1)), (1, 3, (1, 0, 1)), (4, 0, (4, 0, 1)), (4, 1, (1, 3, 2)), (4, 3, (3, 1, 2)),
    (4, 4, (3, 1, 2)), (4, 9, (3, 1, 2))])
def test_how_vectors_are_divided(vectors, write, sets):
    dev = pci.nvme_dev(nr_write_queues=write)
    affd = affinity_request(priv=dev)
    pci.nvme_calc_irq_sets(affd, vectors)
    assert (*affd.set_size[:2], affd.nr_sets) == sets
    assert dev.io_queues[:2] == affd.set_size[:2]


def test_polled_queues_leave_one():
    blkmodel.boot(2)
    dev = bring_up_queues(3, poll_queues=5)
    assert dev.io_queues == [1, 0, 2]
    assert dev.num_vecs == 1
    assert pci.queue_irq_offset(dev) == 0
    assert polled(dev) == [2, 3]
    controller = dev.dev._owner._device
    assert [controller.cqs[qid].vector is not None for qid in (1, 2, 3)] == [True, False, False]


def test_with_one_vector_the_queue_shares_the_admin_queues():
    kernel = blkmodel.boot(4)
    dev = bring_up_queues(4, vectors=1)
    assert dev.io_queues == [1, 0, 0]
    assert [queue.cq_vector for queue in dev.queues[:2]] == [0, 0]
    first = irq_to_desc(msi.pci_irq_vector(dev.dev._owner, 0)).action
    assert [first.dev_id, first.next.dev_id] == [dev.queues[0], dev.queues[1]]
    assert "".join(first.next.name) == "nvme0q1"
    assert list(dev.tagset.map[HCTX_TYPE_DEFAULT].mq_map) == [0] * 4
    assert not [line for line in kernel.log if "WARNING" in line]


def test_a_controller_without_messages_uses_its_pin():
    blkmodel.boot(4)
    dev = bring_up_queues(4, vectors=0)
    assert (dev.io_queues, dev.num_vecs) == ([1, 0, 0], 1)
    assert irq_affinity(dev) == {0: "0-3", 1: "0-3"}


def test_more_vectors_than_the_table_has():
    blkmodel.boot(8)
    dev = bring_up_queues(64, vectors=6)
    assert dev.io_queues == [5, 0, 0]
    assert dev.num_vecs == 6


def test_quirks():
    blkmodel.boot(4)
    assert bring_up_queues(4, quirks=NVME_QUIRK_SINGLE_VECTOR).io_queues == [1, 0, 0]
    blkmodel.boot(4)
    dev = bring_up_queues(4, quirks=NVME_QUIRK_SHARED_TAGS)
    assert dev.io_queues == [1, 0, 0]
    assert dev.tagset.reserved_tags == 32
    assert dev.tagset.tags[0].nr_reserved_tags == 32
    blkmodel.boot(1)
    dev = bring_up_queues(4, quirks=NVME_QUIRK_MEDIUM_PRIO_SQ)
    assert dev.dev._owner._device.sqs[1].priority == NVME_SQ_PRIO_MEDIUM >> 1


@pytest.mark.parametrize(("text", "errno"), [("1", EINVAL), ("-5", EINVAL), ("0", EINVAL), ("x", EINVAL), ("", EINVAL),
                                             ("99999999999", EINVAL), ("2", 0), ("65536", 0)])
def test_io_queue_depth_is_checked(text, errno):
    blkmodel.boot(1)
    assert pci.io_queue_depth_set(text, pci.parameters[0]) == -errno
    assert pci.variables().io_queue_depth == (1024 if errno else int(text))


@pytest.mark.parametrize(("name", "value"), [("io_queue_depth", 1), ("write_queues", -1), ("poll_queues", 1 << 32)])
def test_refused_parameters(name, value):
    blkmodel.boot(1)
    with pytest.raises(KernelError, match="loading nvme") as failure:
        bring_up_queues(**{name: value})
    assert failure.value.log == (f"nvme: `{value}' invalid for parameter `{name}'",)


@pytest.mark.parametrize(("asked", "mqes", "tags"), [(1024, 2047, 1023), (2, 2047, 1), (4096, 2047, 2047),
                                                     (1024, 63, 63), (20000, 65535, 10239)])
def test_depth(asked, mqes, tags):
    """A ring of n entries holds n - 1 commands; a queue is no longer than the controller and the block layer allow."""
    blkmodel.boot(1)
    dev = bring_up_queues(1, io_queue_depth=asked, mqes=mqes)
    assert dev.tagset.queue_depth == tags
    assert dev.q_depth == min(asked, mqes + 1)
    assert dev.queues[1].q_depth == len(dev.queues[1].cqes) == len(dev.queues[1].sq_cmds) == dev.q_depth


def test_tag_set():
    blkmodel.boot(machine(4, nodes=2))
    dev = bring_up_queues(4, poll_queues=1, node=1)
    tagset = dev.tagset
    assert dev.ctrl.tagset is tagset
    assert (tagset.nr_hw_queues, tagset.nr_maps, tagset.numa_node) == (4, 3, 1)
    assert (tagset.timeout, tagset.cmd_size, tagset.flags) == (30 * 250, 88, BLK_MQ_F_SHOULD_MERGE)
    assert tagset.driver_data is dev
    rq = tagset.tags[2].static_rqs[0]
    assert rq._pdu.nvmeq is dev.queues[3]
    assert rq._pdu.req.ctrl is dev.ctrl
    assert pci.nvme_mq_ops.map_queues is pci.nvme_pci_map_queues


def test_rings_lie_on_the_devices_node():
    kernel = blkmodel.boot(machine(4, nodes=2))
    before = kernel.memory.totals()
    dev = bring_up_queues(2, node=1, io_queue_depth=100)
    totals = kernel.memory.totals()
    assert totals["nvme_completion[]", 1] == 3 * 4096
    assert totals["nvme_command[]", 1] == 4096 + 2 * 8192
    assert ("nvme_command[]", 0) not in totals
    assert dev.queues[1].cqes[:] == [None] * 100
    pci.nvme_free_queues(dev, 0)
    assert dev.ctrl.queue_count == 0
    assert not {"nvme_command[]", "nvme_completion[]"} & {kind for kind, _ in kernel.memory.totals()} - set(before)


def test_doorbells():
    blkmodel.boot(2)
    dev = bring_up_queues(2)
    assert [queue.q_db - dev.bar for queue in dev.queues[:3]] == [0x1000, 0x1008, 0x1010]
    assert pci.db_bar_size(dev, 2) == 0x1000 + 24


def test_a_short_window_means_fewer_queues(monkeypatch):
    """The doorbells must lie in the register window: with two pages there is room for 511 pairs of them."""
    monkeypatch.setattr(Controller, "window", 8192)
    blkmodel.boot(machine(600, nr_cpus=1024))
    dev = bring_up_queues(600, io_queue_depth=2, vectors=2048)
    assert dev.io_queues == [511, 0, 0]
    assert pci.nvme_remap_bar(dev, 8192) == 0
    assert pci.nvme_remap_bar(dev, 8193) == -ENOMEM


def test_fewer_queues_than_promised():
    """A controller that can't create all queues gets as many again, with the CPUs spread anew."""
    kernel = blkmodel.boot(8)
    dev = bring_up_queues(8, usable=3)
    assert observe(dev)[1] == [(0, "default", [0, 1, 2], 1023), (1, "default", [3, 4, 5], 1023),
                               (2, "default", [6, 7], 1023)]
    assert set(dev.dev._owner._device.cqs) == {1, 2, 3}
    assert enabled(dev) == [0, 1, 2, 3]
    assert dev.ctrl.queue_count == 9  # the rings of the others stay until the controller goes
    assert irq_affinity(dev) == {0: "0-7", 1: "0-2", 2: "3-5", 3: "6-7"}
    assert len([line for line in kernel.log if "default/read/poll" in line]) == 1


def test_no_io_queue_at_all():
    blkmodel.boot(4)
    dev = bring_up_queues(4, usable=0)
    assert dev.online_queues == 1
    assert dev.ctrl.tagset is None


def test_set_queue_count():
    class Answers:
        def __init__(self, *answer):
            self.answer = answer

        def execute(self, cmd):
            self.asked = cmd.features.dword11
            return self.answer
    blkmodel.boot(1)
    dev = bring_up_queues(1)
    for answer, expected in (((0, 0x0003_0007), (0, 4)), ((0, 0x0007_0002), (0, 3)), ((0, 0x00FF_00FF), (0, 6)),
                             ((0x4002, 0), (0, 0)), ((-ENOMEM, 0), (-ENOMEM, 6))):
        ctrl = nvme_ctrl(admin_q=Answers(*answer), device=dev.ctrl.device)
        assert core.nvme_set_queue_count(ctrl, 6) == expected
        assert ctrl.admin_q.asked == 0x0005_0005
    assert "nvme nvme0: Could not set queue count (16386)" in blkmodel.sim.this().log


def test_memory_for_some_queues_only():
    """Whichever allocation fails, the driver either says so or works with what it could have."""
    refusals = set()
    for nth in range(1, 400):
        kernel = blkmodel.boot(3)
        kernel.memory.fail_nth(nth)
        try:
            dev = bring_up_queues(3, io_queue_depth=4)
        except KernelError as why:
            refusals.add(why.name)
            continue
        count = dev.online_queues - 1
        assert enabled(dev) == list(range(count + 1))
        assert set(dev.dev._owner._device.sqs) == set(dev.dev._owner._device.cqs) == set(range(1, count + 1))
        if count:
            assert sum(dev.io_queues) == count
            assert dev.ctrl.tagset is None or dev.tagset.nr_hw_queues <= count
        if not kernel.memory.failed:
            break
    else:
        pytest.fail("it never got through")
    # Without messages it asks for the pin, which it has not; without an interrupt's descriptor there is no room.
    assert refusals == {"ENOMEM", "EINVAL", "ENOSPC", "EIO"}


def test_suspended_queues_can_be_created_again():
    blkmodel.boot(2)
    dev = bring_up_queues(2)
    pci.nvme_disable_io_queues(dev)
    pci.nvme_suspend_io_queues(dev)
    assert dev.online_queues == 1
    assert pci.nvme_suspend_queue(dev.queues[1]) == 1
    assert dev.dev._owner._device.cqs == {}
    assert all(queue.delete_done.done == 1 for queue in dev.queues[1:3])
    assert pci.nvme_create_io_queues(dev) == 0
    assert enabled(dev) == [0, 1, 2]


def test_a_type_without_queues_is_left_alone():
    blkmodel.boot(2)
    dev = bring_up_queues(2)
    other = blk_mq_tag_set(nr_maps=2, driver_data=dev)
    other.map[0].mq_map = [7, 7]
    other.map[1].mq_map = [9, 9]
    pci.nvme_pci_map_queues(other)
    assert (other.map[0].mq_map, other.map[1].mq_map) == ([0, 1], [9, 9])
