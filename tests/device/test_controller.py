"""The controller's admin commands, as far as they are about queues."""

import pytest

import blkmodel
from blkmodel.device.controller import Controller
from blkmodel.include.linux import nvme
from blkmodel.include.linux.nvme import NVME_CQ_IRQ_ENABLED, NVME_SC_DNR, nvme_command


def status(controller, **command):
    kinds = {nvme.nvme_admin_create_cq: nvme.nvme_create_cq, nvme.nvme_admin_create_sq: nvme.nvme_create_sq,
             nvme.nvme_admin_delete_cq: nvme.nvme_delete_queue, nvme.nvme_admin_delete_sq: nvme.nvme_delete_queue}
    code, _ = controller.execute(nvme_command(kinds.get(command["opcode"], nvme.nvme_features)(**command)))
    return code


def test_queues_are_made_completion_first_and_deleted_last():
    controller = Controller(2)
    cq = {"opcode": nvme.nvme_admin_create_cq, "cqid": 1, "qsize": 7}
    sq = {"opcode": nvme.nvme_admin_create_sq, "sqid": 1, "cqid": 1, "qsize": 7}
    delete_cq = {"opcode": nvme.nvme_admin_delete_cq, "qid": 1}
    delete_sq = {"opcode": nvme.nvme_admin_delete_sq, "qid": 1}
    assert status(controller, **sq) == nvme.NVME_SC_CQ_INVALID | NVME_SC_DNR
    assert status(controller, **cq) == 0
    assert status(controller, **cq) == nvme.NVME_SC_QID_INVALID | NVME_SC_DNR
    assert status(controller, **sq) == 0
    assert status(controller, **sq) == nvme.NVME_SC_QID_INVALID | NVME_SC_DNR
    assert status(controller, **delete_cq) == nvme.NVME_SC_INVALID_QUEUE | NVME_SC_DNR
    assert [status(controller, **delete_sq), status(controller, **delete_cq)] == [0, 0]
    assert status(controller, **delete_sq) == status(controller, **delete_cq) == nvme.NVME_SC_QID_INVALID | NVME_SC_DNR


@pytest.mark.parametrize(("change", "code"), [
    ({"cqid": 0}, nvme.NVME_SC_QID_INVALID), ({"cqid": 3}, nvme.NVME_SC_QID_INVALID),
    ({"qsize": 0}, nvme.NVME_SC_QUEUE_SIZE), ({"qsize": 2048}, nvme.NVME_SC_QUEUE_SIZE),
    ({"irq_vector": 65, "cq_flags": NVME_CQ_IRQ_ENABLED}, nvme.NVME_SC_INVALID_VECTOR)])
def test_bad_completion_queues(change, code):
    command = {"opcode": nvme.nvme_admin_create_cq, "cqid": 1, "qsize": 7} | change
    assert status(Controller(2), **command) == code | NVME_SC_DNR


@pytest.mark.parametrize(("change", "code"), [
    ({"sqid": 0}, nvme.NVME_SC_QID_INVALID), ({"sqid": 3}, nvme.NVME_SC_QID_INVALID),
    ({"qsize": 0}, nvme.NVME_SC_QUEUE_SIZE), ({"qsize": 2048}, nvme.NVME_SC_QUEUE_SIZE)])
def test_bad_submission_queues(change, code):
    controller = Controller(2)
    status(controller, opcode=nvme.nvme_admin_create_cq, cqid=1, qsize=7)
    command = {"opcode": nvme.nvme_admin_create_sq, "sqid": 1, "cqid": 1, "qsize": 7} | change
    assert status(controller, **command) == code | NVME_SC_DNR


def test_other_commands_are_refused():
    assert status(Controller(), opcode=0x7F) == nvme.NVME_SC_INVALID_OPCODE | NVME_SC_DNR
    for features in ({"fid": 1}, {"fid": 7, "dword11": 0xFFFF}, {"fid": 7, "dword11": 0xFFFF0000}):
        assert status(Controller(), opcode=9, **features) == nvme.NVME_SC_INVALID_FIELD | NVME_SC_DNR


@pytest.mark.parametrize(("pairs", "vectors", "size"), [(64, 65, 16384), (1, 1, 16384), (511, 65, 16384),
                                                        (512, 65, 32768), (64, 2048, 65536)])
def test_window(pairs, vectors, size):
    assert Controller(pairs, vectors).window == size


@pytest.mark.parametrize("bad", [{"queue_pairs": 0}, {"queue_pairs": 65536}, {"vectors": -1}, {"vectors": 2049},
                                 {"mqes": 0}, {"mqes": 65536}])
def test_impossible_controllers(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))}={next(iter(bad.values()))}: it must be"):
        Controller(**bad)


def test_a_masked_vector_is_sent_once_it_may():
    kernel = blkmodel.boot(2)
    controller, seen = Controller(), []
    from blkmodel.sim.interrupts import interrupts
    interrupts().connect((1, 50), "x", lambda: seen.append(kernel.cpu))
    controller.messages[3] = 1, 50
    controller.mask(3, True)
    controller.interrupt(3)
    controller.interrupt(3)
    kernel.loop.run_due()
    assert seen == []
    controller.mask(3, False)
    kernel.loop.run_due()
    assert seen == [1]
    controller.interrupt(4)
    kernel.loop.run_due()
    assert seen == [1]
