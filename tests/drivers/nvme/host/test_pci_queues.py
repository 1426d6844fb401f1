"""How many I/O queues a controller gets, of which type, and which vector each has."""

import pytest
from hypothesis import given, settings, strategies as st

import blkmodel
from blkmodel import KernelError, scenario
from blkmodel.device.controller import Controller
from blkmodel.device.faults import FAIL, Fault
from blkmodel.drivers.nvme.host import core, pci
from blkmodel.drivers.pci import msi
from blkmodel.include.linux import nvme
from blkmodel.include.linux.blk_mq import BLK_MQ_F_SHOULD_MERGE, HCTX_TYPE_DEFAULT, blk_mq_tag_set
from blkmodel.services.base.err import EINVAL, ENOMEM
from blkmodel.services.cpus.interrupt import irq_affinity as affinity_request, irq_to_desc, proc_irq
from blkmodel.services.devices.pci import PCI_COMMAND_MASTER, to_pci_dev
from blkmodel.sim.machine import machine
from tests.drivers.nvme.host.up import TYPES, device_of, enabled, io_queues, polled, probe, up, watched
from tests.machines import machines

INVALID_QUEUE = 0x10C


def observe(dev):
    """What the kernel shows of a controller's queues, in the words of a recording."""
    hctxs = []
    for kind, qmap in zip(TYPES, dev.tagset.map[:dev.tagset.nr_maps], strict=False):
        for queue in range(qmap.queue_offset, qmap.queue_offset + qmap.nr_queues):
            cpus = [cpu for cpu, used in enumerate(qmap.mq_map) if used == queue]
            if cpus:
                hctxs.append((queue, kind, cpus, dev.tagset.queue_depth))
    return dict(zip(TYPES, dev.io_queues, strict=True)), hctxs


def interrupts_of(dev):
    return {q.qid: proc_irq(msi.pci_irq_vector(dev.dev._owner, q.cq_vector))[0] for q in dev.queues
            if q.qid in enabled(dev) and q.qid not in polled(dev)}


@settings(max_examples=25)
@given(machines(cpus=16), st.integers(1, 30), st.integers(0, 20), st.integers(0, 20), st.sampled_from([0, 1, 2, 9, 65]))
def test_every_cpu_has_a_queue_of_each_type(on, pairs, write_queues, poll_queues, vectors):
    dev = up(on, params={"write_queues": write_queues, "poll_queues": poll_queues, "io_queue_depth": 4},
             queue_pairs=pairs, vectors=vectors)
    default, read, poll = dev.io_queues
    count = default + read + poll
    assert default >= 1
    assert poll <= poll_queues
    assert count == dev.tagset.nr_hw_queues == dev.online_queues - 1 == dev.max_qid
    assert count <= min(pairs, len(on.possible) + write_queues + poll_queues)
    assert enabled(dev) == list(range(count + 1))
    assert polled(dev) == list(range(default + read + 1, count + 1))
    assert io_queues(device_of(dev)) == io_queues(device_of(dev), "cqs") == list(range(1, count + 1))
    first = 0
    for qmap, nr in zip(dev.tagset.map[:dev.tagset.nr_maps], dev.io_queues, strict=False):
        if nr:
            assert (qmap.queue_offset, qmap.nr_queues) == (first, nr)
            assert all(first <= queue < first + nr for queue in qmap.mq_map)
        first += nr
    assert blkmodel.sim.this().log[-1] == f"nvme nvme0: {default}/{read}/{poll} default/read/poll queues"
    assert scenario.io("nvme0n1", "read", 0, 512, cpu=max(on.online)) == bytes(512)


def test_write_queues_beside_read_queues():
    dev = up(params={"write_queues": 2}, queue_pairs=8)
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
    dev = up(2, params={"poll_queues": 5}, queue_pairs=3)
    assert dev.io_queues == [1, 0, 2]
    assert dev.num_vecs == 1
    assert pci.queue_irq_offset(dev) == 0
    assert polled(dev) == [2, 3]
    assert [device_of(dev).engine.cqs[qid].vector for qid in (1, 2, 3)] == [0, None, None]


def test_with_one_vector_the_queue_shares_the_admin_queues():
    dev = up(queue_pairs=4, vectors=1)
    assert dev.io_queues == [1, 0, 0]
    assert [queue.cq_vector for queue in dev.queues[:2]] == [0, 0]
    first = irq_to_desc(msi.pci_irq_vector(dev.dev._owner, 0)).action
    assert [first.dev_id, first.next.dev_id] == [dev.queues[0], dev.queues[1]]
    assert "".join(first.next.name) == "nvme0q1"
    assert list(dev.tagset.map[HCTX_TYPE_DEFAULT].mq_map) == [0] * 4
    assert not [line for line in blkmodel.sim.this().log if "WARNING" in line]


def test_a_controller_without_messages_uses_its_pin():
    dev = up(queue_pairs=4, vectors=0)
    assert (dev.io_queues, dev.num_vecs) == ([1, 0, 0], 1)
    assert interrupts_of(dev) == {0: "0-3", 1: "0-3"}
    assert scenario.io("nvme0n1", "write", 0, 4096, data=b"pin " * 1024) == b"pin " * 1024


def test_more_vectors_than_the_table_has():
    dev = up(8, queue_pairs=64, vectors=6)
    assert dev.io_queues == [5, 0, 0]
    assert dev.num_vecs == 6


@pytest.mark.parametrize(("text", "errno"), [("1", EINVAL), ("-5", EINVAL), ("0", EINVAL), ("x", EINVAL), ("", EINVAL),
                                             ("99999999999", EINVAL), ("2", 0), ("65536", 0)])
def test_io_queue_depth_is_checked(text, errno):
    blkmodel.boot(1)
    depth = next(kp for kp in pci.parameters if kp.name == "io_queue_depth")
    assert pci.io_queue_depth_set(text, depth) == -errno
    assert pci.variables().io_queue_depth == (1024 if errno else int(text))


@pytest.mark.parametrize(("name", "value", "module"), [
    ("io_queue_depth", 1, "nvme"), ("write_queues", -1, "nvme"), ("poll_queues", 1 << 32, "nvme"),
    ("max_retries", 256, "nvme_core"), ("io_timeout", "soon", "nvme_core")])
def test_refused_parameters(name, value, module):
    kernel = blkmodel.boot(1)
    before = kernel.memory.totals()
    with pytest.raises(KernelError, match=f"modprobe nvme {name}") as failure:
        scenario.nvme_probe(**{name: value})
    assert failure.value.log == (f"{module}: `{value}' invalid for parameter `{name}'",)
    assert kernel.memory.totals() == before
    scenario.nvme_probe()
    with pytest.raises(ValueError, match="nvme has no parameter 'depth'; it has admin_timeout, "):
        scenario.nvme_load(depth=3)


@pytest.mark.parametrize(("asked", "mqes", "tags"), [(1024, 2047, 1023), (2, 2047, 1), (4096, 2047, 2047),
                                                     (1024, 63, 63), (20000, 65535, 10239)])
def test_depth(asked, mqes, tags):
    """A ring of n entries holds n - 1 commands; a queue is no longer than the controller and the block layer allow."""
    dev = up(1, params={"io_queue_depth": asked}, queue_pairs=1, mqes=mqes)
    assert dev.tagset.queue_depth == tags
    assert dev.q_depth == min(asked, mqes + 1)
    assert dev.ctrl.sqsize == dev.q_depth - 1
    assert dev.queues[1].q_depth == len(dev.queues[1].cqes) == len(dev.queues[1].sq_cmds) == dev.q_depth
    assert device_of(dev).engine.sqs[1].size == device_of(dev).engine.cqs[1].size == dev.q_depth


def test_tag_set():
    dev = up(machine(4, nodes=2), node=1, params={"poll_queues": 1, "io_timeout": 7}, queue_pairs=4)
    tagset = dev.tagset
    assert dev.ctrl.tagset is tagset
    assert (tagset.nr_hw_queues, tagset.nr_maps, tagset.numa_node) == (4, 3, 1)
    assert (tagset.timeout, tagset.cmd_size, tagset.flags) == (7 * 250, 88, BLK_MQ_F_SHOULD_MERGE)
    assert tagset.driver_data is dev
    rq = tagset.tags[2].static_rqs[0]
    assert rq._pdu.nvmeq is dev.queues[3]
    assert rq._pdu.req.ctrl is dev.ctrl
    admin = dev.admin_tagset
    assert dev.ctrl.admin_tagset is admin
    assert (admin.nr_hw_queues, admin.queue_depth, admin.numa_node, admin.timeout) == (1, 30, 1, 60 * 250)
    assert admin.tags[0].static_rqs[29]._pdu.nvmeq is dev.queues[0]
    assert dev.ctrl.admin_q.queue_hw_ctx[0].driver_data is dev.queues[0]
    queue = scenario.disk("nvme0n1").queue
    assert [hctx.driver_data for hctx in queue.queue_hw_ctx[:4]] == list(dev.queues[1:5])


def test_rings_lie_on_the_devices_node():
    kernel = blkmodel.boot(machine(4, nodes=2))
    before = kernel.memory.totals()
    dev = probe(1, {"io_queue_depth": 100}, queue_pairs=2)
    totals = kernel.memory.totals()
    assert totals["nvme_completion[]", 1] == 3 * 4096
    assert totals["nvme_command[]", 1] == 4096 + 2 * 8192
    assert ("nvme_command[]", 0) not in totals
    assert len(dev.queues[1].cqes) == 100
    scenario.nvme_remove()
    assert not {"nvme_command[]", "nvme_completion[]"} & {kind for kind, _ in kernel.memory.totals()} - set(before)


@pytest.mark.parametrize("stride", [0, 2])
def test_doorbells(stride):
    dev = up(2, queue_pairs=2, stride=stride)
    step = 8 << stride
    assert dev.db_stride == 1 << stride
    assert [queue.q_db - dev.bar for queue in dev.queues[:3]] == [0x1000, 0x1000 + step, 0x1000 + 2 * step]
    assert pci.db_bar_size(dev, 2) == 0x1000 + 3 * step
    assert (pci.sq_idx(3, 1 << stride), pci.cq_idx(3, 1 << stride)) == (6 << stride, 7 << stride)
    assert scenario.io("nvme0n1", "read", 0, 4096, cpu=1) == bytes(4096)


def test_a_short_window_means_fewer_queues(monkeypatch):
    """The doorbells must lie in the register window: with two pages there is room for 511 pairs of them."""
    monkeypatch.setattr(Controller, "window", 8192)
    dev = up(machine(600, nr_cpus=1024), params={"io_queue_depth": 2}, queue_pairs=600, vectors=2048)
    assert dev.io_queues == [511, 0, 0]
    assert pci.nvme_remap_bar(dev, 8192) == 0
    assert pci.nvme_remap_bar(dev, 8193) == -ENOMEM
    assert (dev.bar_mapped_size, dev.dbs) == (8192, dev.bar + 0x1000)


def test_a_window_without_room_for_any():
    """Even the first mapping asks for two pages."""
    kernel = blkmodel.boot(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Controller, "window", 4096)
        with pytest.raises(KernelError) as failure:
            probe()
    assert failure.value.name == "ENODEV"
    assert kernel.log == ["io scheduler mq-deadline registered", "io scheduler kyber registered"]


def test_fewer_queues_than_promised():
    """A controller that can't create all queues gets as many again, with the CPUs spread anew."""
    dev = up(8, queue_pairs=8, usable=3)
    assert observe(dev)[1] == [(0, "default", [0, 1, 2], 1023), (1, "default", [3, 4, 5], 1023),
                               (2, "default", [6, 7], 1023)]
    assert io_queues(device_of(dev)) == io_queues(device_of(dev), "cqs") == [1, 2, 3]
    assert enabled(dev) == [0, 1, 2, 3]
    assert dev.ctrl.queue_count == 9  # the rings of the others stay until the controller goes
    assert interrupts_of(dev) == {0: "0-7", 1: "0-2", 2: "3-5", 3: "6-7"}
    assert len([line for line in blkmodel.sim.this().log if "default/read/poll" in line]) == 1
    assert scenario.io("nvme0n1", "read", 0, 4096, cpu=7) == bytes(4096)


def test_no_io_queue_at_all():
    dev = up(queue_pairs=4, usable=0)
    assert dev.online_queues == 1
    assert dev.ctrl.tagset is None
    assert dev.ctrl.state == core.NVME_CTRL_LIVE
    assert blkmodel.sim.this().log[-1] == "nvme nvme0: IO queues not created"
    assert list(dev.ctrl.namespaces) == []


def test_no_io_queue_after_a_reset():
    """The tag set goes with the namespaces."""
    dev = up(queue_pairs=2)
    assert dev.ctrl.tagset is dev.tagset
    device_of(dev).usable = 0
    scenario.set_nvme_file("nvme0", "reset_controller", 1)
    assert blkmodel.sim.this().log[-1] == "nvme nvme0: IO queues not created"
    assert dev.ctrl.tagset is None
    assert list(dev.ctrl.namespaces) == []
    assert dev.tagset.tags is None


@pytest.mark.parametrize(("granted", "used"), [(2, 2), (64, 4)])
def test_queues_granted(granted, used):
    assert up(queue_pairs=64, granted=granted).io_queues == [used, 0, 0]


def test_a_controller_that_does_not_say_how_many():
    """It keeps its admin queue, and has no disk."""
    dev = up(faults=[Fault(FAIL, opcode=nvme.nvme_admin_set_features, nth=2, status=0x2)])
    assert dev.online_queues == 1
    assert blkmodel.sim.this().log[-2:] == ["nvme nvme0: Could not set queue count (2)",
                                            "nvme nvme0: IO queues not created"]
    assert dev.ctrl.state == core.NVME_CTRL_LIVE


@pytest.mark.parametrize("half", [nvme.nvme_admin_create_cq, nvme.nvme_admin_create_sq])
def test_half_a_queue_is_deleted_again(half):
    dev = up(faults=[Fault(FAIL, opcode=half, nth=3, status=0x101)])
    assert dev.io_queues == [2, 0, 0]
    assert io_queues(device_of(dev)) == io_queues(device_of(dev), "cqs") == [1, 2]


def test_suspended_queues_can_be_created_again():
    dev = up(2, queue_pairs=2)
    kernel = blkmodel.sim.this()
    kernel.task("test", pci.nvme_disable_io_queues, dev)
    kernel.task("test", pci.nvme_suspend_io_queues, dev)
    assert dev.online_queues == 1
    assert pci.nvme_suspend_queue(dev.queues[1]) == 1
    assert io_queues(device_of(dev)) == io_queues(device_of(dev), "cqs") == []
    assert kernel.task("test", pci.nvme_create_io_queues, dev) == 0
    assert enabled(dev) == [0, 1, 2]


def test_a_type_without_queues_is_left_alone():
    dev = up(2, queue_pairs=2)
    other = blk_mq_tag_set(nr_maps=2, driver_data=dev)
    other.map[0].mq_map = [7, 7]
    other.map[1].mq_map = [9, 9]
    pci.nvme_pci_map_queues(other)
    assert (other.map[0].mq_map, other.map[1].mq_map) == ([0, 1], [9, 9])


# What the controller is asked to delete, and what is freed.


def test_a_queue_that_cannot_be_deleted():
    """The controller says why. What failed is remembered until the queue is created again."""
    dev = up(2, queue_pairs=2)
    task = blkmodel.sim.this().task
    assert task("test", pci.adapter_delete_sq, dev, 9) == nvme.NVME_SC_QID_INVALID | nvme.NVME_SC_DNR
    assert task("test", pci.adapter_delete_cq, dev, 9) == nvme.NVME_SC_QID_INVALID | nvme.NVME_SC_DNR
    # its submission queue is there
    assert task("test", pci.adapter_delete_cq, dev, 2) == INVALID_QUEUE | nvme.NVME_SC_DNR
    device_of(dev).faults.append(Fault(FAIL, opcode=nvme.nvme_admin_delete_cq, status=nvme.NVME_SC_INTERNAL))
    task("test", pci.nvme_disable_io_queues, dev)  # from the last to the first
    assert [q.qid for q in dev.queues if q.flags >> pci.NVMEQ_DELETE_ERROR & 1] == [2]
    assert io_queues(device_of(dev), "cqs") == [2]
    assert task("test", pci.adapter_delete_cq, dev, 2) == 0
    task("test", pci.nvme_suspend_io_queues, dev)
    assert task("test", pci.nvme_create_io_queues, dev) == 0
    assert not [q.qid for q in dev.queues if q.flags >> pci.NVMEQ_DELETE_ERROR & 1]


def test_rings_are_freed_from_a_number_on():
    dev = up(4, queue_pairs=4)
    kernel = blkmodel.sim.this()
    before = kernel.memory.totals()
    kernel.task("test", pci.nvme_disable_io_queues, dev)
    kernel.task("test", pci.nvme_suspend_io_queues, dev)
    pci.nvme_free_queues(dev, 3)
    assert dev.ctrl.queue_count == 3
    assert kernel.memory.totals()["nvme_completion[]", 0] == before["nvme_completion[]", 0] - 2 * 16384
    assert kernel.task("test", pci.nvme_create_io_queues, dev) == 0
    assert dev.ctrl.queue_count == 5
    assert kernel.memory.totals() == before


def test_a_controller_that_is_down_may_not_write_to_memory():
    dev = up(2, queue_pairs=2)
    pdev = to_pci_dev(dev.dev)
    assert (pdev.enable_cnt, device_of(dev).pci_command & PCI_COMMAND_MASTER) == (1, PCI_COMMAND_MASTER)
    blkmodel.sim.this().task("init", pci.nvme_dev_disable, dev, True)
    assert (pdev.enable_cnt, device_of(dev).pci_command & PCI_COMMAND_MASTER) == (0, 0)
    assert pdev.msix_enabled == 0


def test_without_copies_doorbells_are_rung():
    """Where the controller won't use them, the queues forget them."""
    dev = up(2, queue_pairs=2)
    assert all(q.dbbuf_sq_db and q.dbbuf_cq_db and q.dbbuf_sq_ei and q.dbbuf_cq_ei for q in dev.queues[1:3])
    dev = up(2, queue_pairs=2, faults=[Fault(FAIL, opcode=nvme.nvme_admin_dbbuf, status=nvme.NVME_SC_INTERNAL)])
    assert dev.dbbuf_dbs is dev.dbbuf_eis is None
    for q in dev.queues[1:3]:
        assert (q.dbbuf_sq_db, q.dbbuf_cq_db, q.dbbuf_sq_ei, q.dbbuf_cq_ei) == (None,) * 4
    with watched("doorbell") as seen:
        for _ in range(3):
            scenario.io("nvme0n1", "read", 0, 4096)
    assert len([told for _, told in seen if told["side"] == "sq"]) == 3


# The controller's own memory.


def test_the_controllers_own_memory(monkeypatch):
    """Of it the driver reads how large it is."""
    registers = Controller._registers
    monkeypatch.setattr(Controller, "_registers", lambda self: {**registers(self), nvme.NVME_REG_CMBSZ: 4 << 12})
    assert up(1, queue_pairs=1, vectors=2).cmbsz == 4 << 12
