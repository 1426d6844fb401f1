"""The controller's admin commands: its queues, aborting, requests for events, doorbells in memory, and what the host
can set; and the log of the effects of commands. What no driver asks for is left out: the driver gets no feature, and
lends no memory.

Each command is a function of the controller and the command under way. It returns the result that the completion
bears, None where the answer comes later, or raises Refused with the status that the standard (or QEMU, where that
leaves a choice) has for it.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import TYPE_CHECKING

from blkmodel.device.identify import identify
from blkmodel.device.queues import CompletionQueue, Running, SubmissionQueue
from blkmodel.device.transfer import PRP_OFFSET_INVALID, Refused, from_host, to_host
from blkmodel.include.linux.nvme import (NVME_CC_IOCQES, NVME_CC_IOSQES, NVME_CMD_EFFECTS_CSUPP, NVME_CMD_EFFECTS_LBCC,
    NVME_CQ_IRQ_ENABLED, NVME_FEAT_ASYNC_EVENT, NVME_FEAT_NUM_QUEUES, NVME_FEAT_TIMESTAMP, NVME_LOG_CMD_EFFECTS,
    NVME_NSID_ALL, NVME_QUEUE_PHYS_CONTIG, NVME_SC_ABORT_REQ, NVME_SC_ASYNC_LIMIT, NVME_SC_CMD_SEQ_ERROR,
    NVME_SC_CQ_INVALID, NVME_SC_FEATURE_NOT_PER_NS, NVME_SC_FEATURE_NOT_SAVEABLE, NVME_SC_INVALID_FIELD,
    NVME_SC_INVALID_LOG_PAGE, NVME_SC_INVALID_QUEUE, NVME_SC_INVALID_VECTOR, NVME_SC_QID_INVALID, NVME_SC_QUEUE_SIZE,
    nvme_abort_cmd, nvme_admin_abort_cmd, nvme_admin_async_event, nvme_admin_create_cq, nvme_admin_create_sq,
    nvme_admin_dbbuf, nvme_admin_delete_cq, nvme_admin_delete_sq, nvme_admin_get_log_page, nvme_admin_identify,
    nvme_admin_set_features, nvme_cmd_read, nvme_create_cq, nvme_create_sq, nvme_dbbuf, nvme_delete_queue,
    nvme_effects_log, nvme_features, nvme_get_log_page_command)
from blkmodel.sim import wire

if TYPE_CHECKING:
    from blkmodel.device.controller import Controller

SAVE = 1 << 31


def create_cq(controller: Controller, running: Running) -> int:
    """Begin a completion queue, that interrupts if the host wants it to."""
    command = wire.view(nvme_create_cq, running.command)
    _check_entry_sizes(controller)
    if not 1 <= command.cqid <= controller.usable or command.cqid in controller.engine.cqs:
        raise Refused(NVME_SC_QID_INVALID)
    _check_ring(controller, command)
    if command.cq_flags & NVME_CQ_IRQ_ENABLED and command.irq_vector >= max(controller.vectors, 1):
        raise Refused(NVME_SC_INVALID_VECTOR)
    if not command.cq_flags & NVME_QUEUE_PHYS_CONTIG:
        raise Refused(NVME_SC_INVALID_FIELD)
    vector = command.irq_vector if command.cq_flags & NVME_CQ_IRQ_ENABLED else None
    controller.engine.add_completions(CompletionQueue(command.cqid, command.prp1, command.qsize + 1, vector))
    return 0


def create_sq(controller: Controller, running: Running) -> int:
    """Begin a submission queue, that completes into a completion queue that there is."""
    command = wire.view(nvme_create_sq, running.command)
    if (cq := controller.engine.cqs.get(command.cqid)) is None or not command.cqid:
        raise Refused(NVME_SC_CQ_INVALID)
    if not 1 <= command.sqid <= controller.usable or command.sqid in controller.engine.sqs:
        raise Refused(NVME_SC_QID_INVALID)
    _check_ring(controller, command)
    if not command.sq_flags & NVME_QUEUE_PHYS_CONTIG:
        raise Refused(NVME_SC_INVALID_FIELD)
    controller.engine.add_submissions(SubmissionQueue(command.sqid, command.prp1, command.qsize + 1, cq))
    return 0


def _check_entry_sizes(controller: Controller) -> None:
    """The host must have said how long entries are before it makes queues of them."""
    if controller.configuration and controller.configuration & 0xFF << 16 != NVME_CC_IOSQES | NVME_CC_IOCQES:
        raise Refused(NVME_SC_QUEUE_SIZE)


def _check_ring(controller: Controller, command: nvme_create_cq | nvme_create_sq) -> None:
    """Refuse a ring that is too short, too long, or does not begin a page."""
    if not 1 <= command.qsize <= controller.mqes:
        raise Refused(NVME_SC_QUEUE_SIZE)
    if command.prp1 & controller.page - 1:
        raise Refused(PRP_OFFSET_INVALID)


def _io_queue(there: Container[int], running: Running) -> int:
    """The number of the I/O queue that is to end, which must be one of these."""
    qid = wire.view(nvme_delete_queue, running.command).qid
    if not qid or qid not in there:
        raise Refused(NVME_SC_QID_INVALID)
    return qid


def delete_cq(controller: Controller, running: Running) -> int:
    """End a completion queue, that no submission queue completes into."""
    engine = controller.engine
    qid = _io_queue(engine.cqs, running)
    if any(sq.cq.qid == qid for sq in engine.sqs.values()):
        raise Refused(NVME_SC_INVALID_QUEUE)
    del engine.cqs[qid]
    return 0


def delete_sq(controller: Controller, running: Running) -> int | None:
    """End a submission queue, once what takes its time in it has ended; what never would is aborted."""
    engine = controller.engine
    sq = engine.sqs[_io_queue(engine.sqs, running)]
    if any(each.event for each in sq.running.values()):
        sq.ended_by = running
        return None
    engine.remove_submissions(sq)
    return 0


def abort(controller: Controller, running: Running) -> int:
    """End a command that is under way, if the controller does that. The result says whether it was left alone (1)."""
    command = wire.view(nvme_abort_cmd, running.command)
    if (sq := controller.engine.sqs.get(command.sqid)) is None:
        raise Refused(NVME_SC_INVALID_FIELD)
    victim = sq.running.get(command.cid)
    if victim is None or victim is running or not controller.aborts:
        return 1
    controller.engine.abort(victim, NVME_SC_ABORT_REQ)
    return 0


def async_event(controller: Controller, running: Running) -> int | None:
    """Keep a request for an event. None ever happens here, so it is answered when it is aborted."""
    if len(controller.engine.requests) >= controller.events:
        raise Refused(NVME_SC_ASYNC_LIMIT, retry=True)
    controller.engine.requests.append(running)
    return None


def doorbell_buffers(controller: Controller, running: Running) -> int:
    """Keep copies of the doorbells in the host's memory from now on."""
    command = wire.view(nvme_dbbuf, running.command)
    if (command.prp1 | command.prp2) & controller.page - 1 or not command.prp1 or not command.prp2:
        raise Refused(NVME_SC_INVALID_FIELD)
    controller.engine.shadow_doorbells(command.prp1, command.prp2)
    return 0


# Features

class Features:
    """What the host has set, as after a reset. events: bits of the kinds that it would hear of, of which none happens;
    timestamp: milliseconds since 1970."""

    __slots__ = ("events", "timestamp")

    def __init__(self) -> None:
        self.events = self.timestamp = 0


def set_features(controller: Controller, running: Running) -> int:
    """Set a feature. None of them is of a namespace alone, or outlasts a reset."""
    command = wire.view(nvme_features, running.command)
    if command.fid & SAVE:
        raise Refused(NVME_SC_FEATURE_NOT_SAVEABLE)
    if (change := _CHANGES.get(command.fid & 0xFF)) is None:
        raise Refused(NVME_SC_INVALID_FIELD)
    if command.nsid not in (0, NVME_NSID_ALL):
        raise Refused(NVME_SC_FEATURE_NOT_PER_NS)
    return change(controller, command)


def _set_queues(controller: Controller, command: nvme_features) -> int:
    """The number of queues can be set before there are any. The controller answers with what it has, whatever it was
    asked for."""
    if any(controller.engine.cqs.keys() - {0}):
        raise Refused(NVME_SC_CMD_SEQ_ERROR)
    if 0xFFFF in (command.dword11 & 0xFFFF, command.dword11 >> 16):
        raise Refused(NVME_SC_INVALID_FIELD)
    return controller.granted - 1 | controller.granted - 1 << 16


def _set_events(controller: Controller, command: nvme_features) -> int:
    """The kinds of events that the host would hear of."""
    controller.features.events = command.dword11
    return 0


def _set_timestamp(controller: Controller, command: nvme_features) -> int:
    """The time of day, in the command's data."""
    controller.features.timestamp = int.from_bytes(from_host(controller, command, 8), "little") & (1 << 48) - 1
    return 0


_CHANGES: dict[int, Callable[[Controller, nvme_features], int]] = {
    NVME_FEAT_NUM_QUEUES: _set_queues, NVME_FEAT_ASYNC_EVENT: _set_events, NVME_FEAT_TIMESTAMP: _set_timestamp}


# Logs

def get_log_page(controller: Controller, running: Running) -> int:
    """Bring a log, or a part of it, to the host."""
    command = wire.view(nvme_get_log_page_command, running.command)
    length = (command.numdu << 16 | command.numdl) * 4 + 4
    if command.lid != NVME_LOG_CMD_EFFECTS:
        raise Refused(NVME_SC_INVALID_LOG_PAGE)
    if command.lpo & 3 or controller.too_long(length):
        raise Refused(NVME_SC_INVALID_FIELD)
    log = _effects(controller)
    if command.lpo >= len(log):
        raise Refused(NVME_SC_INVALID_FIELD)
    to_host(controller, command, log[command.lpo:command.lpo + length])
    return 0


def _effects(controller: Controller) -> bytes:
    """Which commands there are, and which of them change what is stored."""
    log = nvme_effects_log()
    for opcode in controller.admin:
        log.acs[opcode] = NVME_CMD_EFFECTS_CSUPP
    for opcode in controller.io:
        log.iocs[opcode] = NVME_CMD_EFFECTS_CSUPP | (NVME_CMD_EFFECTS_LBCC if opcode != nvme_cmd_read else 0)
    return wire.pack(log)


HANDLERS: dict[int, Callable[[Controller, Running], int | None]] = {
    nvme_admin_delete_sq: delete_sq, nvme_admin_create_sq: create_sq, nvme_admin_get_log_page: get_log_page,
    nvme_admin_delete_cq: delete_cq, nvme_admin_create_cq: create_cq, nvme_admin_identify: identify,
    nvme_admin_abort_cmd: abort, nvme_admin_set_features: set_features,
    nvme_admin_async_event: async_event, nvme_admin_dbbuf: doorbell_buffers}
