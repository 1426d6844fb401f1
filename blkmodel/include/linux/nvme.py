"""NVMe as the standard has it: registers, commands, completions."""

from typing import Any

from blkmodel.sim.structure import Struct, struct

NVME_AQ_DEPTH, NVME_NR_AEN_COMMANDS = 32, 1
NVME_AQ_BLK_MQ_DEPTH = NVME_AQ_DEPTH - NVME_NR_AEN_COMMANDS
NVME_AQ_MQ_TAG_DEPTH = NVME_AQ_BLK_MQ_DEPTH - 1
NVME_REG_DBS = 0x1000
NVME_ADM_SQES, NVME_NVM_IOSQES = 6, 6

nvme_admin_delete_sq, nvme_admin_create_sq, nvme_admin_delete_cq, nvme_admin_create_cq = 0x00, 0x01, 0x04, 0x05
nvme_admin_set_features = 0x09
NVME_FEAT_NUM_QUEUES = 0x07
NVME_QUEUE_PHYS_CONTIG, NVME_CQ_IRQ_ENABLED, NVME_SQ_PRIO_MEDIUM = 1, 2, 4

NVME_SC_SUCCESS, NVME_SC_INVALID_OPCODE, NVME_SC_INVALID_FIELD = 0x0, 0x1, 0x2
NVME_SC_CQ_INVALID, NVME_SC_QID_INVALID, NVME_SC_QUEUE_SIZE = 0x100, 0x101, 0x102
NVME_SC_INVALID_VECTOR, NVME_SC_INVALID_QUEUE, NVME_SC_DNR = 0x108, 0x10C, 0x4000


@struct
class nvme_completion(Struct):
    """What the controller writes when a command is done. The lowest bit of status is the phase."""

    result: int = 0
    sq_head: int = 0
    sq_id: int = 0
    command_id: int = 0
    status: int = 0


@struct
class nvme_features(Struct):
    """Set or get the feature `fid`; what of it is in dword11 and the following."""

    opcode: int = 0
    flags: int = 0
    command_id: int = 0
    nsid: int = 0
    dptr: Any = None
    fid: int = 0
    dword11: int = 0
    dword12: int = 0
    dword13: int = 0
    dword14: int = 0
    dword15: int = 0


@struct
class nvme_create_cq(Struct):
    """Create completion queue `cqid`: qsize + 1 entries at prp1, which raise vector irq_vector if cq_flags say so."""

    opcode: int = 0
    flags: int = 0
    command_id: int = 0
    prp1: int = 0
    cqid: int = 0
    qsize: int = 0
    cq_flags: int = 0
    irq_vector: int = 0


@struct
class nvme_create_sq(Struct):
    """Create submission queue `sqid`: qsize + 1 entries at prp1, which complete into queue `cqid`."""

    opcode: int = 0
    flags: int = 0
    command_id: int = 0
    prp1: int = 0
    sqid: int = 0
    qsize: int = 0
    sq_flags: int = 0
    cqid: int = 0


@struct
class nvme_delete_queue(Struct):
    """Delete queue `qid`."""

    SIZE = 64
    opcode: int = 0
    flags: int = 0
    command_id: int = 0
    qid: int = 0


class nvme_command(Struct):
    """A command: 64 bytes, read as what its opcode says. All of C's union members name the one that was put in."""

    __slots__ = ("common",)

    def __init__(self, common=None):
        self.common = common

    @property
    def features(self):
        return self.common

    create_cq = create_sq = delete_queue = features
