"""The NVMe controller, as far as it is a number of queue pairs and interrupt vectors."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from blkmodel.include.linux.nvme import (
    NVME_CQ_IRQ_ENABLED,
    NVME_FEAT_NUM_QUEUES,
    NVME_REG_DBS,
    NVME_SC_CQ_INVALID,
    NVME_SC_DNR,
    NVME_SC_INVALID_FIELD,
    NVME_SC_INVALID_OPCODE,
    NVME_SC_INVALID_QUEUE,
    NVME_SC_INVALID_VECTOR,
    NVME_SC_QID_INVALID,
    NVME_SC_QUEUE_SIZE,
    NVME_SC_SUCCESS,
    nvme_admin_create_cq,
    nvme_admin_create_sq,
    nvme_admin_delete_cq,
    nvme_admin_delete_sq,
    nvme_admin_set_features,
)
from blkmodel.sim.interrupts import interrupts

PAGE = 4096
VECTOR_ENTRY = 16


@dataclass(eq=False)
class Controller:
    """A controller with so many I/O queue pairs and interrupt vectors (0: it has a pin instead).

    mqes: the entries that a queue can have, less one. usable: the pairs that it really can create. messages: for each
    vector what it writes to interrupt, (CPU, vector there); masked: those it holds back; pending: those of them that
    wait. cqs, sqs: the I/O queues that exist, by number, as the command that made each.
    """

    queue_pairs: int = 64
    vectors: int = 65
    mqes: int = 2047
    usable: int = None
    messages: dict[int, Any] = field(default_factory=dict)
    masked: set[int] = field(default_factory=set)
    pending: set[int] = field(default_factory=set)
    cqs: dict[int, Any] = field(default_factory=dict)
    sqs: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self):
        for name, low, high in (("queue_pairs", 1, 65535), ("vectors", 0, 2048), ("mqes", 1, 65535)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name}={value}: it must be at least {low} and at most {high}")
        if self.usable is None:
            self.usable = self.queue_pairs

    @property
    def window(self):
        """Bytes of its register window: registers, two doorbells a queue pair, the vector table, its pending bits."""
        doorbells = -(-(NVME_REG_DBS + (self.queue_pairs + 1) * 8) // PAGE) * PAGE
        table = -(-self.vectors * VECTOR_ENTRY // PAGE) * PAGE
        size = doorbells + table + -(-self.vectors // 64) * 8
        return 1 << (size - 1).bit_length()

    def mask(self, vector, masked):
        """Hold a vector's messages back, or send them, the one that waits first."""
        if masked:
            self.masked.add(vector)
            return
        self.masked.discard(vector)
        if vector in self.pending:
            self.pending.discard(vector)
            self.interrupt(vector)

    def interrupt(self, vector):
        """Raise an interrupt vector."""
        if vector in self.masked:
            self.pending.add(vector)
        elif vector in self.messages:
            interrupts().message(self.messages[vector])

    def execute(self, cmd):
        """Execute an admin command; return its status and its result."""
        cmd = cmd.common
        handler = self._handlers.get(cmd.opcode)
        status, result = handler(self, cmd) if handler else (NVME_SC_INVALID_OPCODE, 0)
        return status | NVME_SC_DNR if status else NVME_SC_SUCCESS, result

    def _set_features(self, cmd):
        """Only the number of queues can be set, once. It answers with what it has, whatever it was asked for."""
        if cmd.fid != NVME_FEAT_NUM_QUEUES or 0xFFFF in (cmd.dword11 & 0xFFFF, cmd.dword11 >> 16):
            return NVME_SC_INVALID_FIELD, 0
        return NVME_SC_SUCCESS, self.queue_pairs - 1 | self.queue_pairs - 1 << 16

    def _create_cq(self, cmd):
        if not 1 <= cmd.cqid <= self.usable or cmd.cqid in self.cqs:
            return NVME_SC_QID_INVALID, 0
        if not 1 <= cmd.qsize <= self.mqes:
            return NVME_SC_QUEUE_SIZE, 0
        if cmd.cq_flags & NVME_CQ_IRQ_ENABLED and cmd.irq_vector >= max(self.vectors, 1):
            return NVME_SC_INVALID_VECTOR, 0
        self.cqs[cmd.cqid] = cmd
        return NVME_SC_SUCCESS, 0

    def _create_sq(self, cmd):
        if cmd.cqid not in self.cqs:
            return NVME_SC_CQ_INVALID, 0
        if not 1 <= cmd.sqid <= self.usable or cmd.sqid in self.sqs:
            return NVME_SC_QID_INVALID, 0
        if not 1 <= cmd.qsize <= self.mqes:
            return NVME_SC_QUEUE_SIZE, 0
        self.sqs[cmd.sqid] = cmd
        return NVME_SC_SUCCESS, 0

    def _delete_cq(self, cmd):
        if any(sq.cqid == cmd.qid for sq in self.sqs.values()):
            return NVME_SC_INVALID_QUEUE, 0
        return (NVME_SC_SUCCESS if self.cqs.pop(cmd.qid, None) else NVME_SC_QID_INVALID), 0

    def _delete_sq(self, cmd):
        return (NVME_SC_SUCCESS if self.sqs.pop(cmd.qid, None) else NVME_SC_QID_INVALID), 0

    _handlers: ClassVar[dict] = {
        nvme_admin_set_features: _set_features,
        nvme_admin_create_cq: _create_cq,
        nvme_admin_create_sq: _create_sq,
        nvme_admin_delete_cq: _delete_cq,
        nvme_admin_delete_sq: _delete_sq,
    }
