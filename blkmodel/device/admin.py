"""The controller's admin commands: here its queues, aborting, events, and doorbells in memory.

Each command is a function of the controller and the command under way. It returns the result that the completion
bears, None where the answer comes later, or raises Refused with the status that the standard (or QEMU, where that
leaves a choice) has for it.
"""

from blkmodel.device.features import get_features, set_features
from blkmodel.device.identify import identify
from blkmodel.device.logs import get_log_page
from blkmodel.device.queues import CompletionQueue, SubmissionQueue
from blkmodel.device.transfer import PRP_OFFSET_INVALID, Refused
from blkmodel.include.linux.nvme import (
    NVME_CC_IOCQES, NVME_CC_IOSQES, NVME_CQ_IRQ_ENABLED, NVME_QUEUE_PHYS_CONTIG, NVME_SC_ABORT_REQ, NVME_SC_ASYNC_LIMIT,
    NVME_SC_CQ_INVALID, NVME_SC_INVALID_FIELD, NVME_SC_INVALID_OPCODE, NVME_SC_INVALID_QUEUE, NVME_SC_INVALID_VECTOR,
    NVME_SC_QID_INVALID, NVME_SC_QUEUE_SIZE, nvme_abort_cmd, nvme_admin_abort_cmd, nvme_admin_async_event,
    nvme_admin_create_cq, nvme_admin_create_sq, nvme_admin_dbbuf, nvme_admin_delete_cq, nvme_admin_delete_sq,
    nvme_admin_get_features, nvme_admin_get_log_page, nvme_admin_identify, nvme_admin_set_features, nvme_create_cq,
    nvme_create_sq, nvme_dbbuf, nvme_delete_queue)
from blkmodel.sim import wire


def create_cq(controller, running):
    command = wire.view(nvme_create_cq, running.command)
    _check_entry_sizes(controller)
    if not 1 <= command.cqid <= controller.usable or command.cqid in controller.cqs:
        raise Refused(NVME_SC_QID_INVALID)
    _check_ring(controller, command)
    if command.cq_flags & NVME_CQ_IRQ_ENABLED and command.irq_vector >= max(controller.vectors, 1):
        raise Refused(NVME_SC_INVALID_VECTOR)
    if not command.cq_flags & NVME_QUEUE_PHYS_CONTIG:
        raise Refused(NVME_SC_INVALID_FIELD)
    vector = command.irq_vector if command.cq_flags & NVME_CQ_IRQ_ENABLED else None
    controller.add_queue(CompletionQueue(command.cqid, command.prp1, command.qsize + 1, vector))
    return 0


def create_sq(controller, running):
    command = wire.view(nvme_create_sq, running.command)
    cq = controller.cqs.get(command.cqid)
    if cq is None or not command.cqid:
        raise Refused(NVME_SC_CQ_INVALID)
    if not 1 <= command.sqid <= controller.usable or command.sqid in controller.sqs:
        raise Refused(NVME_SC_QID_INVALID)
    _check_ring(controller, command)
    if not command.sq_flags & NVME_QUEUE_PHYS_CONTIG:
        raise Refused(NVME_SC_INVALID_FIELD)
    priority = command.sq_flags >> 1 & 3
    controller.add_queue(SubmissionQueue(command.sqid, command.prp1, command.qsize + 1, cq, priority))
    return 0


def _check_entry_sizes(controller):
    """The host must have said how long entries are before it makes queues of them."""
    if controller.configuration and controller.configuration & 0xFF << 16 != NVME_CC_IOSQES | NVME_CC_IOCQES:
        raise Refused(NVME_SC_QUEUE_SIZE)


def _check_ring(controller, command):
    if not 1 <= command.qsize <= controller.mqes:
        raise Refused(NVME_SC_QUEUE_SIZE)
    if command.prp1 & controller.page - 1:
        raise Refused(PRP_OFFSET_INVALID)


def delete_cq(controller, running):
    qid = wire.view(nvme_delete_queue, running.command).qid
    if not qid or qid not in controller.cqs:
        raise Refused(NVME_SC_QID_INVALID)
    if any(sq.cq.qid == qid for sq in controller.sqs.values()):
        raise Refused(NVME_SC_INVALID_QUEUE)
    del controller.cqs[qid]
    return 0


def delete_sq(controller, running):
    qid = wire.view(nvme_delete_queue, running.command).qid
    if not qid or qid not in controller.sqs:
        raise Refused(NVME_SC_QID_INVALID)
    controller.remove_submissions(controller.sqs[qid])
    return 0


def abort(controller, running):
    """End a command that is under way. The result says whether it was left alone (1)."""
    command = wire.view(nvme_abort_cmd, running.command)
    sq = controller.sqs.get(command.sqid)
    if sq is None:
        raise Refused(NVME_SC_INVALID_FIELD)
    victim = sq.running.get(command.cid)
    if victim is None or victim is running:
        return 1
    if victim in controller.requests:
        controller.requests.remove(victim)
    controller.abort(victim, NVME_SC_ABORT_REQ)
    return 0


def async_event(controller, running):
    if len(controller.requests) >= controller.events:
        raise Refused(NVME_SC_ASYNC_LIMIT, retry=True)
    controller.hold(running)
    return None


def doorbell_buffers(controller, running):
    """Keep copies of the doorbells in the host's memory from now on."""
    command = wire.view(nvme_dbbuf, running.command)
    if not controller.dbbuf:
        raise Refused(NVME_SC_INVALID_OPCODE)
    if (command.prp1 | command.prp2) & controller.page - 1 or not command.prp1 or not command.prp2:
        raise Refused(NVME_SC_INVALID_FIELD)
    controller.shadow_doorbells(command.prp1, command.prp2)
    return 0


HANDLERS = {
    nvme_admin_delete_sq: delete_sq, nvme_admin_create_sq: create_sq, nvme_admin_get_log_page: get_log_page,
    nvme_admin_delete_cq: delete_cq, nvme_admin_create_cq: create_cq, nvme_admin_identify: identify,
    nvme_admin_abort_cmd: abort, nvme_admin_set_features: set_features, nvme_admin_get_features: get_features,
    nvme_admin_async_event: async_event, nvme_admin_dbbuf: doorbell_buffers}
