"""Commands on their way: doorbells and when they ring, completions and their phase, polling, retries, timeouts."""

import pytest
from hypothesis import given, strategies as st

from blkmodel import KernelError, scenario
from blkmodel.block import blk_mq
from blkmodel.device.faults import FAIL, FATAL, SILENT, Fault
from blkmodel.device.namespace import Namespace
from blkmodel.drivers.nvme.host import core, pci
from blkmodel.include.linux import nvme
from blkmodel.include.linux.blk_types import BLK_STS_IOERR, BLK_STS_RESOURCE
from blkmodel.services.cpus.interrupt import IRQ_HANDLED, IRQ_NONE
from blkmodel.sim import this
from tests.drivers.nvme.host.up import commands, device_of, log, polled, up, watched

SECOND = 1_000_000_000
PAGE = 4096


def reads(count, **more):
    """What so many reads that can't be merged want."""
    return [{"op": "read", "offset": i * 2 * PAGE, "length": PAGE, **more} for i in range(count)]


def rung(seen, side="sq"):
    return [told["value"] for kind, told in seen if kind == "doorbell" and told["side"] == side and told["queue"]]


# Doorbells.


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_a_doorbell_is_rung_when_the_controller_waits_for_that_place(event, new, old):
    """That is, when going from the old place to the new one, perhaps round, leaves `event` behind."""
    steps = (new - old) % 0x10000
    assert pci.nvme_dbbuf_need_event(event, new, old) == ((event - old) % 0x10000 < steps)


@pytest.mark.parametrize("dbbuf", [False, True])
def test_several_commands_are_told_of_at_once(dbbuf):
    dev = up(2, queue_pairs=2, dbbuf=dbbuf)
    tail = dev.queues[1].sq_tail
    with watched("doorbell", "command") as seen:
        assert scenario.aio("nvme0n1", reads(5)) == [bytes(PAGE)] * 5
    assert rung(seen) == [tail + 5]
    assert [kind for kind, _ in seen].index("command") > 0
    assert len(commands(seen)) == 5


def test_a_copy_of_the_doorbell_is_enough_while_the_controller_is_at_work():
    """It looks there for more before it goes to sleep."""
    dev = up(queue_pairs=1)
    slot = dev.queues[1].dbbuf_sq_db
    words, i = slot
    before = dev.queues[1].sq_tail
    with watched("doorbell", "command") as seen:
        scenario.io("nvme0n1", "read", 0, PAGE)
    assert words[i] == dev.queues[1].sq_tail == before + 1
    events, at = dev.queues[1].dbbuf_sq_ei
    assert events[at] == before + 1
    events[at] = before + 100  # as if it were awake
    with watched("doorbell") as seen:
        pci.nvme_submit_cmd(dev.queues[1], nvme.nvme_command(), True)
    assert rung(seen) == []
    assert words[i] == before + 2


def test_a_full_ring_is_told_of_before_it_is_full():
    """Whatever waits for company is let go when the next command would come round to what was told last."""
    dev = up(queue_pairs=1, dbbuf=False, params={"io_queue_depth": 4})
    q = dev.queues[1]
    q.last_sq_tail = q.sq_tail = 0
    with watched("doorbell") as seen:
        for _ in range(3):
            pci.nvme_submit_cmd(q, nvme.nvme_command(), False)
    assert rung(seen) == [3]
    assert q.sq_tail == q.last_sq_tail == 3


def test_what_waits_is_told_of_when_the_rest_cannot_be_sent(monkeypatch):
    """There is no memory for the second of three commands, of which the last would have rung."""
    dev = up(2, queue_pairs=2, dbbuf=False)
    setup = core.nvme_setup_cmd
    sent = []

    def nvme_setup_cmd(ns, req):
        sent.append(req)
        return (BLK_STS_RESOURCE, None) if len(sent) == 2 else setup(ns, req)
    monkeypatch.setattr(core, "nvme_setup_cmd", nvme_setup_cmd)
    before = dev.queues[1].sq_tail
    with watched("doorbell") as seen:
        assert scenario.aio("nvme0n1", reads(3)) == [bytes(PAGE)] * 3
    assert rung(seen)[0] == before + 1
    assert rung(seen)[-1] == before + 3


def test_nothing_to_tell():
    dev = up(queue_pairs=1)
    with watched("doorbell") as seen:
        pci.nvme_commit_rqs(dev.ctrl.namespaces and scenario.disk("nvme0n1").queue.queue_hw_ctx[0])
    assert rung(seen) == []


# Completions.


@pytest.mark.parametrize("depth", [2, 3, 5])
@pytest.mark.parametrize("dbbuf", [False, True])
def test_rings_go_round(depth, dbbuf):
    """Each time round the phase changes; nothing is lost or seen twice."""
    dev = up(2, queue_pairs=1, dbbuf=dbbuf, params={"io_queue_depth": depth})
    q = dev.queues[1]
    phases = set()
    before = device_of(dev).namespaces[1].reads
    for n in range(1, 12):
        assert scenario.aio("nvme0n1", reads(n % 4 + 1), cpu=n % 2) == [bytes(PAGE)] * (n % 4 + 1)
        phases.add(q.cq_phase)
    assert phases == {0, 1}
    assert device_of(dev).namespaces[1].reads - before == sum(n % 4 + 1 for n in range(1, 12))
    assert q.sq_tail == q.cq_head


def test_several_completions_are_one_interrupt():
    dev = up(queue_pairs=1)
    head = dev.queues[1].cq_head
    with watched("interrupt", "doorbell") as seen:
        scenario.aio("nvme0n1", reads(4))
    assert [kind for kind, _ in seen].count("interrupt") == 1
    assert rung(seen, "cq") == [head + 4]


def test_whose_interrupt_it_is():
    """One that another has dealt with counts as handled, once."""
    dev = up(queue_pairs=1)
    q = dev.queues[1]
    assert pci.nvme_irq(0, q) == IRQ_NONE
    q.last_cq_head = q.cq_head - 1
    assert pci.nvme_irq(0, q) == IRQ_HANDLED
    assert q.last_cq_head == q.cq_head
    assert pci.nvme_irq(0, q) == IRQ_NONE


def test_a_completion_of_nothing():
    dev = up(queue_pairs=1)
    kernel = this()
    q = dev.queues[1]
    q.cqes[q.cq_head] = nvme.nvme_completion(command_id=5000, sq_id=1, status=q.cq_phase)
    before = q.cq_head
    assert kernel.task("irq", pci.nvme_irq, 0, q) == IRQ_HANDLED
    assert kernel.log[-1] == "nvme nvme0: invalid id 5000 completed on queue 1"
    assert q.cq_head == before + 1


def test_a_queue_that_is_out_of_service_takes_nothing():
    dev = up(queue_pairs=1)
    dev.queues[1].flags &= ~(1 << pci.NVMEQ_ENABLED)
    assert pci.nvme_queue_rq(scenario.disk("nvme0n1").queue.queue_hw_ctx[0],
                             blk_mq.blk_mq_queue_data(dev.tagset.tags[0].static_rqs[0])) == BLK_STS_IOERR


# Polling.


def test_a_polled_read_needs_no_interrupt():
    dev = up(queue_pairs=8, params={"poll_queues": 1})
    [polled_queue] = polled(dev)
    with watched("interrupt", "command") as seen:
        assert scenario.io("nvme0n1", "read", 0, PAGE, flags=["hipri"]) == bytes(PAGE)
    assert [told["queue"] for kind, told in seen if kind == "command"] == [polled_queue]
    assert "interrupt" not in [kind for kind, _ in seen]


def test_a_poll_looks_at_its_queue_only():
    dev = up(queue_pairs=8, params={"poll_queues": 2})
    hctx = scenario.disk("nvme0n1").queue.queue_hw_ctx[dev.tagset.nr_hw_queues - 1]
    assert pci.nvme_poll(hctx) == 0
    q = hctx.driver_data
    q.cqes[q.cq_head] = nvme.nvme_completion(command_id=4999, sq_id=q.qid, status=q.cq_phase)
    assert pci.nvme_poll(hctx) == 1
    assert this().log[-1] == f"nvme nvme0: invalid id 4999 completed on queue {q.qid}"


# Retries and errors.


@pytest.mark.parametrize(("status", "error"), [
    (nvme.NVME_SC_LBA_RANGE, "EREMOTEIO"), (nvme.NVME_SC_CAP_EXCEEDED, "ENOSPC"), (nvme.NVME_SC_INVALID_OPCODE,
                                                                                   "EOPNOTSUPP"),
    (nvme.NVME_SC_READ_ERROR, "ENODATA"), (nvme.NVME_SC_GUARD_CHECK, "EILSEQ"),
    (nvme.NVME_SC_RESERVATION_CONFLICT, "EBADE"), (nvme.NVME_SC_HOST_PATH_ERROR, "ENOLINK"),
    (nvme.NVME_SC_INTERNAL, "EIO")])
def test_what_a_status_means(status, error):
    """An error that the controller says not to be worth another try is reported at once."""
    dev = up(queue_pairs=1)
    fault = Fault(FAIL, queue=1, opcode=nvme.nvme_cmd_read, nth=0, status=status | nvme.NVME_SC_DNR)
    device_of(dev).faults.append(fault)
    with pytest.raises(KernelError) as why:
        scenario.io("nvme0n1", "read", 0, PAGE)
    assert why.value.name == error
    assert fault.seen == 1


@pytest.mark.parametrize("most", [0, 2, 5])
def test_other_errors_are_tried_again(most):
    dev = up(queue_pairs=1, params={"max_retries": most})
    fault = Fault(FAIL, queue=1, opcode=nvme.nvme_cmd_write, nth=0, status=nvme.NVME_SC_INTERNAL)
    device_of(dev).faults.append(fault)
    with pytest.raises(KernelError, match="EIO"):
        scenario.io("nvme0n1", "write", 0, PAGE)
    assert fault.seen == most + 1
    fault.nth = fault.seen + 1 if most else 10**6
    scenario.io("nvme0n1", "write", 0, PAGE, data=b"x" * PAGE)
    assert scenario.io("nvme0n1", "read", 0, PAGE) == b"x" * PAGE


# Timeouts.


def silent(dev, **more):
    fault = Fault(SILENT, queue=1, **more)
    device_of(dev).faults.append(fault)
    return fault


def test_a_late_command_is_aborted_and_tried_again():
    dev = up(queue_pairs=1)
    kernel, before = this(), len(this().log)
    silent(dev)
    with watched("command") as seen:
        assert scenario.io("nvme0n1", "read", 0, PAGE) == bytes(PAGE)
    [abort] = commands(seen, 0)
    assert abort.opcode == nvme.nvme_admin_abort_cmd
    assert 30 <= kernel.now / SECOND < 32
    tag = commands(seen)[0].command_id
    assert log(before) == [f"I/O {tag} QID 1 timeout, aborting", "Abort status: 0x0"]
    assert dev.ctrl.abort_limit == 4


def test_a_command_that_cannot_be_aborted_resets_the_controller():
    """The second time. Then it is tried again. (Without copies of the doorbells, as those outlive a reset.)"""
    dev = up(queue_pairs=1, dbbuf=False)
    kernel, before = this(), len(this().log)
    silent(dev)
    device_of(dev).faults.append(Fault(SILENT, queue=0, opcode=nvme.nvme_admin_abort_cmd))
    assert scenario.io("nvme0n1", "read", 0, PAGE) == bytes(PAGE)
    assert 60 <= kernel.now / SECOND < 63
    first, second, *rest = log(before)
    assert (first.partition(" timeout, ")[2], second.partition(" timeout, ")[2]) == ("aborting", "reset controller")
    assert rest == ["Abort status: 0x371", "1/0/0 default/read/poll queues"]
    assert scenario.nvme_file("nvme0", "state") == "live"


def test_a_command_that_is_kept_though_its_abort_is_answered():
    """What logs of the field have most often: the abort succeeds, and says in its result that it did nothing."""
    dev = up(queue_pairs=1, dbbuf=False, aborts=False)
    before = len(this().log)
    silent(dev)
    with watched("completion") as seen:
        assert scenario.io("nvme0n1", "read", 0, PAGE) == bytes(PAGE)
    answer = seen[0][1]["completion"]
    assert (answer.sq_id, answer.status >> 1, answer.result & 1) == (0, 0, 1)
    tag = log(before)[0].split()[1]
    assert log(before) == [f"I/O {tag} QID 1 timeout, aborting", "Abort status: 0x0",
                           f"I/O {tag} QID 1 timeout, reset controller", "1/0/0 default/read/poll queues"]
    assert 60 <= this().now / SECOND < 63


def test_only_so_many_are_aborted_at_once():
    """The controller says how many: four. The others get more time, until the controller is reset."""
    dev = up(queue_pairs=1, dbbuf=False)
    before = len(this().log)
    for _ in range(6):
        silent(dev, opcode=nvme.nvme_cmd_read)
    device_of(dev).faults.append(Fault(SILENT, nth=0, queue=0, opcode=nvme.nvme_admin_abort_cmd))
    assert scenario.aio("nvme0n1", reads(6)) == [bytes(PAGE)] * 6
    said = log(before)
    assert [line.rpartition(" ")[2] for line in said[:5]] == ["aborting"] * 4 + ["controller"]
    assert len([line for line in said if line.startswith("Abort status")]) == 4
    assert dev.ctrl.abort_limit == 4


def test_an_interrupt_that_got_lost():
    """The completion is found in the ring."""
    dev = up(queue_pairs=1)
    before = len(this().log)
    device_of(dev).masked.add(1)
    assert scenario.io("nvme0n1", "read", 0, PAGE) == bytes(PAGE)
    assert 30 <= this().now / SECOND < 32
    [line] = log(before)
    assert line.endswith("QID 1 timeout, completion polled")


def test_a_controller_that_broke_is_reset():
    dev = up(queue_pairs=1, dbbuf=False)
    before = len(this().log)
    device_of(dev).faults.append(Fault(FATAL, queue=1))
    assert scenario.io("nvme0n1", "read", 0, PAGE) == bytes(PAGE)
    assert log(before) == ["controller is down; will reset: CSTS=0x3, PCI_STATUS=0x10",
                                 "1/0/0 default/read/poll queues"]


def test_io_timeout_is_a_parameter():
    dev = up(queue_pairs=1, params={"io_timeout": 7})
    silent(dev)
    scenario.io("nvme0n1", "read", 0, PAGE)
    assert 7 <= this().now / SECOND < 9


def test_nothing_is_decided_while_the_bus_deals_with_an_error():
    dev = up(queue_pairs=1)
    pdev = dev.dev._owner
    pdev.error_state = 2
    silent(dev)
    kernel = this()
    kernel.loop.post(kernel.context, lambda: setattr(pdev, "error_state", 1), 45 * SECOND)
    assert scenario.io("nvme0n1", "read", 0, PAGE) == bytes(PAGE)
    assert 60 <= kernel.now / SECOND < 63


def test_a_small_disk():
    up(namespaces={1: Namespace(8)})
    assert scenario.io("nvme0n1", "read", 0, PAGE) == bytes(PAGE)
