"""Admin commands: queues come and go, commands are aborted, requests for events held, each wrong request is refused."""

import pytest

from blkmodel.device.faults import SILENT, Fault
from blkmodel.device.service import Service
from blkmodel.device.transfer import PRP_OFFSET_INVALID
from blkmodel.include.linux import nvme
from blkmodel.include.linux.nvme import NVME_SC_DNR, nvme_data_ptr
from blkmodel.services.memory.dma_mapping import dma_alloc_coherent
from tests.device.host import Host, Queue, pages, transfer


def create_cq(queue, **change):
    return nvme.nvme_create_cq(**{"opcode": nvme.nvme_admin_create_cq, "prp1": queue.cq_addr, "cqid": queue.qid,
                                  "qsize": queue.depth - 1, "cq_flags": 1} | change)


def create_sq(queue, **change):
    return nvme.nvme_create_sq(**{"opcode": nvme.nvme_admin_create_sq, "prp1": queue.sq_addr, "sqid": queue.qid,
                                  "qsize": queue.depth - 1, "sq_flags": 1, "cqid": queue.qid} | change)


def delete(opcode, qid):
    return nvme.nvme_delete_queue(opcode=opcode, qid=qid)


delete_cq, delete_sq = nvme.nvme_admin_delete_cq, nvme.nvme_admin_delete_sq


def test_queues_are_made_completion_first_and_deleted_last():
    host = Host(queue_pairs=2)
    queue = Queue(host, 1, 8)
    assert host.code(create_sq(queue)) == nvme.NVME_SC_CQ_INVALID | NVME_SC_DNR
    assert host.code(create_cq(queue)) == 0
    assert host.code(create_cq(queue)) == nvme.NVME_SC_QID_INVALID | NVME_SC_DNR
    assert host.code(create_sq(queue)) == 0
    assert host.code(create_sq(queue)) == nvme.NVME_SC_QID_INVALID | NVME_SC_DNR
    assert host.code(delete(delete_cq, 1)) == nvme.NVME_SC_INVALID_QUEUE | NVME_SC_DNR
    assert host.code(delete(delete_sq, 1)) == 0
    assert host.code(delete(delete_cq, 1)) == 0
    assert host.code(delete(delete_sq, 1)) == nvme.NVME_SC_QID_INVALID | NVME_SC_DNR
    assert host.code(delete(delete_cq, 1)) == nvme.NVME_SC_QID_INVALID | NVME_SC_DNR


@pytest.mark.parametrize("opcode", [delete_cq, delete_sq])
def test_the_admin_queue_stays(opcode):
    host = Host()
    assert host.code(delete(opcode, 0)) == nvme.NVME_SC_QID_INVALID | NVME_SC_DNR
    assert set(host.controller.engine.cqs) == set(host.controller.engine.sqs) == {0}


@pytest.mark.parametrize(("change", "code"), [
    ({"cqid": 0}, nvme.NVME_SC_QID_INVALID), ({"cqid": 3}, nvme.NVME_SC_QID_INVALID),
    ({"qsize": 0}, nvme.NVME_SC_QUEUE_SIZE), ({"qsize": 2048}, nvme.NVME_SC_QUEUE_SIZE),
    ({"cq_flags": 3, "irq_vector": 65}, nvme.NVME_SC_INVALID_VECTOR), ({"cq_flags": 0}, nvme.NVME_SC_INVALID_FIELD),
    ({"prp1": 0x1010}, PRP_OFFSET_INVALID)])
def test_bad_completion_queues(change, code):
    host = Host(queue_pairs=2)
    assert host.code(create_cq(Queue(host, 1, 8), **change)) == code | NVME_SC_DNR
    assert set(host.controller.engine.cqs) == {0}


@pytest.mark.parametrize(("change", "code"), [
    ({"sqid": 0}, nvme.NVME_SC_QID_INVALID), ({"sqid": 3}, nvme.NVME_SC_QID_INVALID),
    ({"cqid": 0}, nvme.NVME_SC_CQ_INVALID), ({"cqid": 2}, nvme.NVME_SC_CQ_INVALID),
    ({"qsize": 0}, nvme.NVME_SC_QUEUE_SIZE), ({"qsize": 2048}, nvme.NVME_SC_QUEUE_SIZE),
    ({"sq_flags": 0}, nvme.NVME_SC_INVALID_FIELD), ({"prp1": 0x1010}, PRP_OFFSET_INVALID)])
def test_bad_submission_queues(change, code):
    host = Host(queue_pairs=2)
    queue = Queue(host, 1, 8)
    assert host.code(create_cq(queue)) == 0
    assert host.code(create_sq(queue, **change)) == code | NVME_SC_DNR
    assert set(host.controller.engine.sqs) == {0}


def test_a_ring_is_aligned_to_the_pages_that_the_host_chose():
    host = Host(enable=False)
    host.admin.sq_addr = dma_alloc_coherent(host.pdev.dev, 128, nvme.nvme_command, 0)[1]
    ring = dma_alloc_coherent(host.pdev.dev, 1024, nvme.nvme_completion, 0)[1]
    host.admin.cq_addr = ring
    host.enable(nvme.NVME_CC_ENABLE | nvme.NVME_CC_IOSQES | nvme.NVME_CC_IOCQES | 2 << nvme.NVME_CC_MPS_SHIFT)
    aligned = not (host.admin.sq_addr | ring) & 0x3FFF
    assert bool(host.status & nvme.NVME_CSTS_CFS) != aligned


def test_entry_sizes_must_be_set_before_queues_are_made():
    host = Host(enable=False)
    host.enable(nvme.NVME_CC_ENABLE)
    assert host.code(create_cq(Queue(host, 1, 8))) == nvme.NVME_SC_QUEUE_SIZE | NVME_SC_DNR


def test_fewer_queues_than_are_said_to_be_there():
    host = Host(queue_pairs=4, usable=1)
    assert host.code(create_cq(Queue(host, 1, 8))) == 0
    assert host.code(create_cq(Queue(host, 2, 8))) == nvme.NVME_SC_QID_INVALID | NVME_SC_DNR


def test_two_submission_queues_complete_into_one():
    host = Host()
    first = host.queue(1)
    second = host.queue(2, cqid=1)
    page = pages(1)
    for queue in (first, second):
        queue.put(transfer(nvme.nvme_cmd_read, 0, 1, page._addr, command_id=queue.qid))
        queue.ring()
    host.run()
    assert [(entry.sq_id, entry.command_id, entry.sq_head) for entry in first.take_all()] == [(1, 1, 1), (2, 2, 1)]
    assert second.take() is None


def test_other_commands_are_refused():
    host = Host()
    for opcode in (0x7F, 0x10, 0x80):
        assert host.code(nvme.nvme_common_command(opcode=opcode)) == nvme.NVME_SC_INVALID_OPCODE | NVME_SC_DNR
    fused = nvme.nvme_delete_queue(opcode=delete_sq, qid=1, flags=nvme.NVME_CMD_FUSE_FIRST)
    assert host.code(fused) == nvme.NVME_SC_INVALID_FIELD | NVME_SC_DNR


def test_no_descriptors_for_admin_commands():
    host = Host()
    page = pages(1)
    command = nvme.nvme_identify(opcode=nvme.nvme_admin_identify, cns=1, flags=nvme.NVME_CMD_SGL_METABUF,
                                 dptr=nvme_data_ptr(sgl=nvme.nvme_sgl_desc(page._addr, 4096)))
    assert host.code(command) == nvme.NVME_SC_INVALID_FIELD | NVME_SC_DNR


# Aborting.

def abort(sqid, cid, **fields):
    return nvme.nvme_abort_cmd(opcode=nvme.nvme_admin_abort_cmd, sqid=sqid, cid=cid, **fields)


def slow():
    return Service(least=1_000_000)


def test_aborting_a_command_that_is_under_way():
    host = Host(service=slow())
    queue = host.queue(1)
    page = pages(1)
    page.write(0, b"kept")
    queue.put(transfer(nvme.nvme_cmd_read, 0, 8, page._addr, command_id=7))
    queue.ring()
    host.run()
    assert queue.take() is None
    assert host.do(abort(1, 7)).result == 0
    aborted = queue.take()
    assert (aborted.command_id, aborted.status >> 1) == (7, nvme.NVME_SC_ABORT_REQ)
    host.kernel.loop.advance(2_000_000)
    assert queue.take() is None
    assert page.read(0, 4) == b"kept"


def test_aborting_what_is_not_there():
    host = Host(service=slow())
    host.queue(1)
    assert host.do(abort(1, 7)).result == 1
    assert host.code(abort(2, 7)) == nvme.NVME_SC_INVALID_FIELD | NVME_SC_DNR


def test_aborting_an_event_request():
    host = Host()
    host.admin.put(nvme.nvme_common_command(opcode=nvme.nvme_admin_async_event, command_id=900))
    host.admin.put(abort(0, 900, command_id=901))
    host.admin.ring()
    host.run()
    answers = {entry.command_id: entry.status >> 1 for entry in host.admin.take_all()}
    assert answers == {900: nvme.NVME_SC_ABORT_REQ, 901: 0}
    assert not host.controller.engine.requests


@pytest.mark.parametrize("lost", [False, True])
def test_deleting_a_queue_waits_for_what_ends_and_aborts_what_would_not(lost):
    host = Host(service=slow(), faults=[Fault(SILENT, queue=1)] if lost else [])
    queue = host.queue(1)
    page = pages(1)
    queue.put(transfer(nvme.nvme_cmd_read, 0, 8, page._addr, command_id=3))
    queue.ring()
    host.run()
    command = delete(delete_sq, 1)
    command.command_id = 900
    host.admin.put(command)
    host.admin.ring()
    host.run()
    if not lost:
        assert host.admin.take() is None
        host.kernel.loop.advance(2_000_000)
    assert host.admin.take().command_id == 900
    assert queue.take().status >> 1 == (nvme.NVME_SC_ABORT_QUEUE if lost else 0)
    assert 1 not in host.controller.engine.sqs
    host.kernel.loop.advance(2_000_000)
    assert queue.take() is None


def test_a_number_that_is_in_use_is_a_conflict():
    host = Host(service=slow())
    queue = host.queue(1)
    page = pages(1)
    for _ in range(2):
        queue.put(transfer(nvme.nvme_cmd_read, 0, 8, page._addr, command_id=3))
    queue.ring()
    host.run()
    assert queue.take().status >> 1 == nvme.NVME_SC_CMDID_CONFLICT
    host.kernel.loop.advance(2_000_000)
    assert queue.take().status >> 1 == 0


# Events.

def ask(host, number=1):
    for n in range(number):
        host.admin.put(nvme.nvme_common_command(opcode=nvme.nvme_admin_async_event, command_id=900 + n))
    host.admin.ring()
    host.run()


def test_event_requests_are_held_and_limited():
    host = Host(events=2)
    ask(host, 3)
    refused = host.admin.take_all()
    assert [(entry.command_id, entry.status >> 1) for entry in refused] == [(902, nvme.NVME_SC_ASYNC_LIMIT)]
    host.write(nvme.NVME_REG_CC, 0)
    host.run()
    assert host.admin.take() is None
    assert not host.controller.engine.requests


@pytest.mark.parametrize(("odd", "qid", "value"), [(0, 5, 0), (1, 5, 0), (0, 0, 32), (1, 0, 32)])
def test_wrong_doorbells_are_ignored(odd, qid, value):
    host = Host()
    before = host.controller.engine.sqs[0].tail, host.controller.engine.cqs[0].head
    host.doorbell(qid, odd, value)
    host.run()
    assert (host.controller.engine.sqs[0].tail, host.controller.engine.cqs[0].head) == before


# Doorbells in memory.

def share_doorbells(host, count=8):
    doorbells, at = dma_alloc_coherent(host.pdev.dev, count, "u32", 0)
    wanted, wanted_at = dma_alloc_coherent(host.pdev.dev, count, "u32", 0)
    assert host.code(nvme.nvme_dbbuf(opcode=nvme.nvme_admin_dbbuf, prp1=at, prp2=wanted_at)) == 0
    return doorbells, wanted


@pytest.mark.parametrize("stride", [0, 1])
def test_doorbells_in_memory(stride):
    host = Host(stride=stride)
    queue = host.queue(1)
    host.queue(2)
    doorbells, wanted = share_doorbells(host, 16)
    page = pages(1)
    tail, head = 2 << stride, 3 << stride
    queue.put(transfer(nvme.nvme_cmd_read, 0, 1, page._addr, command_id=0))
    doorbells[tail] = queue.tail
    queue.ring()
    queue.put(transfer(nvme.nvme_cmd_read, 0, 1, page._addr, command_id=1))
    doorbells[tail] = queue.tail  # not rung: the controller has not looked since the last one
    assert wanted[tail] == 0
    host.run()
    assert wanted[tail] == 2
    assert [entry.command_id for entry in queue.take_all(ring=False)] == [0, 1]
    doorbells[head] = queue.head
    queue.put(transfer(nvme.nvme_cmd_read, 0, 1, page._addr, command_id=2))
    doorbells[tail] = queue.tail
    queue.ring()
    host.run()
    assert host.controller.engine.cqs[1].head == 2
    assert wanted[head] == 2
    assert len(queue.take_all()) == 1


def test_doorbells_in_memory_begin_as_they_are():
    host = Host()
    queue = host.queue(1)
    page = pages(1)
    for _ in range(3):
        host.code(transfer(nvme.nvme_cmd_read, 0, 1, page._addr), queue)
    doorbells, wanted = share_doorbells(host)
    assert (doorbells[2:4], wanted[2:4]) == ([3, 3], [0, 0])


@pytest.mark.parametrize("change", [{"prp1": 0}, {"prp2": 0}, {"prp1": 0x1004}, {"prp2": 0x1010}])
def test_bad_places_for_doorbells(change):
    host = Host()
    command = nvme.nvme_dbbuf(**{"opcode": nvme.nvme_admin_dbbuf, "prp1": 0x1000, "prp2": 0x2000} | change)
    assert host.code(command) == nvme.NVME_SC_INVALID_FIELD | NVME_SC_DNR


def test_a_controller_without_doorbells_in_memory():
    host = Host(dbbuf=False)
    command = nvme.nvme_dbbuf(opcode=nvme.nvme_admin_dbbuf, prp1=0x1000, prp2=0x2000)
    assert host.code(command) == nvme.NVME_SC_INVALID_OPCODE | NVME_SC_DNR
