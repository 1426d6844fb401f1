"""NVMe as the standard has it: registers, commands, completions, and what they point to (include/linux/nvme.h).

These structures are what driver and controller exchange in memory, so each says how it lies there (sim/wire.py).
Left out: what only fabrics and reservations need.
"""

from __future__ import annotations

from copy import copy
from dataclasses import field
from typing import Annotated, Any

from blkmodel.sim import NULL, Struct, wire
from blkmodel.sim.wire import u8, u16, u32, u64

NVME_NSID_ALL, NVME_AQ_DEPTH, NVME_NR_AEN_COMMANDS = 0xFFFFFFFF, 32, 1
NVME_AQ_BLK_MQ_DEPTH = NVME_AQ_DEPTH - NVME_NR_AEN_COMMANDS
NVME_AQ_MQ_TAG_DEPTH, NVME_IDENTIFY_DATA_SIZE = NVME_AQ_BLK_MQ_DEPTH - 1, 4096
NVME_DSM_MAX_RANGES = 256

NVME_REG_CAP, NVME_REG_VS, NVME_REG_INTMS, NVME_REG_INTMC, NVME_REG_CC, NVME_REG_CSTS = 0x0, 0x8, 0xC, 0x10, 0x14, 0x1C
NVME_REG_NSSR, NVME_REG_AQA, NVME_REG_ASQ, NVME_REG_ACQ, NVME_REG_CMBLOC, NVME_REG_CMBSZ = (
    0x20, 0x24, 0x28, 0x30, 0x38, 0x3C)
NVME_REG_DBS = 0x1000


def NVME_CAP_MQES(cap: int) -> int:
    return cap & 0xFFFF


def NVME_CAP_TIMEOUT(cap: int) -> int:
    """How long enabling and disabling may take, in half seconds."""
    return cap >> 24 & 0xFF


def NVME_CAP_STRIDE(cap: int) -> int:
    return cap >> 32 & 0xF


def NVME_CAP_NSSRC(cap: int) -> int:
    return cap >> 36 & 1


def NVME_CAP_MPSMIN(cap: int) -> int:
    return cap >> 48 & 0xF


def NVME_CAP_MPSMAX(cap: int) -> int:
    return cap >> 52 & 0xF



NVME_ADM_SQES, NVME_NVM_IOSQES, NVME_NVM_IOCQES, NVME_CC_ENABLE, NVME_CC_CSS_NVM = 6, 6, 4, 1, 0
NVME_CC_CSS_SHIFT, NVME_CC_MPS_SHIFT, NVME_CC_IOSQES_SHIFT, NVME_CC_IOCQES_SHIFT, NVME_CC_AMS_RR = 4, 7, 16, 20, 0
NVME_CC_SHN_NONE, NVME_CC_SHN_NORMAL, NVME_CC_SHN_MASK = 0, 1 << 14, 3 << 14
NVME_CC_IOSQES, NVME_CC_IOCQES = NVME_NVM_IOSQES << 16, NVME_NVM_IOCQES << 20
NVME_CSTS_RDY, NVME_CSTS_CFS, NVME_CSTS_NSSRO = 1, 2, 1 << 4
NVME_CSTS_SHST_OCCUR, NVME_CSTS_SHST_CMPLT, NVME_CSTS_SHST_MASK = 1 << 2, 2 << 2, 3 << 2

NVME_CTRL_ONCS_DSM, NVME_CTRL_ONCS_WRITE_ZEROES, NVME_CTRL_ONCS_TIMESTAMP, NVME_CTRL_VWC_PRESENT = 4, 8, 1 << 6, 1
NVME_CTRL_OACS_SEC_SUPP, NVME_CTRL_OACS_DIRECTIVES, NVME_CTRL_OACS_DBBUF_SUPP = 1, 1 << 5, 1 << 8
NVME_CTRL_LPA_CMD_EFFECTS_LOG = 1 << 1
NVME_ID_CNS_NS, NVME_ID_CNS_CTRL, NVME_ID_CNS_NS_ACTIVE_LIST, NVME_ID_CNS_NS_DESC_LIST = 0, 1, 2, 3
NVME_NS_FLBAS_LBA_MASK = 0xF
NVME_NIDT_EUI64_LEN, NVME_NIDT_NGUID_LEN, NVME_NIDT_UUID_LEN = 8, 16, 16
NVME_NIDT_EUI64, NVME_NIDT_NGUID, NVME_NIDT_UUID, NVME_CMD_EFFECTS_CSUPP, NVME_CMD_EFFECTS_LBCC = 1, 2, 3, 1, 2
NVME_AEN_CFG_NS_ATTR, NVME_AEN_CFG_FW_ACT, NVME_AEN_CFG_ANA_CHANGE, NVME_AEN_CFG_DISC_CHANGE = (
    1 << 8, 1 << 9, 1 << 11, 1 << 31)

nvme_cmd_flush, nvme_cmd_write, nvme_cmd_read, nvme_cmd_compare = 0x00, 0x01, 0x02, 0x05
nvme_cmd_write_zeroes, nvme_cmd_dsm, NVME_SGL_FMT_ADDRESS = 0x08, 0x09, 0
NVME_SGL_FMT_DATA_DESC, NVME_SGL_FMT_SEG_DESC, NVME_SGL_FMT_LAST_SEG_DESC, NVME_CMD_FUSE_FIRST = 0, 2, 3, 1
NVME_CMD_SGL_METABUF, NVME_CMD_SGL_ALL, NVME_RW_LR, NVME_RW_FUA = 1 << 6, 3 << 6, 1 << 15, 1 << 14
NVME_RW_DSM_FREQ_PREFETCH = 7
NVME_DSMGMT_IDR, NVME_DSMGMT_AD = 1, 4

nvme_admin_delete_sq, nvme_admin_create_sq, nvme_admin_get_log_page = 0x00, 0x01, 0x02
nvme_admin_delete_cq, nvme_admin_create_cq, nvme_admin_identify = 0x04, 0x05, 0x06
nvme_admin_abort_cmd, nvme_admin_set_features, nvme_admin_get_features, nvme_admin_async_event = 0x08, 0x09, 0x0A, 0x0C
nvme_admin_ns_attach, nvme_admin_directive_send, nvme_admin_directive_recv = 0x15, 0x19, 0x1A
nvme_admin_dbbuf, nvme_admin_format_nvm = 0x7C, 0x80

NVME_QUEUE_PHYS_CONTIG, NVME_CQ_IRQ_ENABLED = 1, 2
NVME_FEAT_VOLATILE_WC, NVME_FEAT_NUM_QUEUES, NVME_FEAT_IRQ_COALESCE = 0x06, 0x07, 0x08
NVME_FEAT_ASYNC_EVENT, NVME_FEAT_AUTO_PST = 0x0B, 0x0C
NVME_FEAT_HOST_MEM_BUF, NVME_FEAT_TIMESTAMP = 0x0D, 0x0E
NVME_LOG_ERROR, NVME_LOG_SMART, NVME_LOG_FW_SLOT, NVME_LOG_CHANGED_NS, NVME_LOG_CMD_EFFECTS = (
    0x01, 0x02, 0x03, 0x04, 0x05)

NVME_SC_SUCCESS, NVME_SC_INVALID_OPCODE, NVME_SC_INVALID_FIELD, NVME_SC_CMDID_CONFLICT = 0x0, 0x1, 0x2, 0x3
NVME_SC_INTERNAL, NVME_SC_ABORT_REQ, NVME_SC_ABORT_QUEUE = 0x6, 0x7, 0x8
NVME_SC_INVALID_NS, NVME_SC_CMD_SEQ_ERROR, NVME_SC_SGL_INVALID_LAST, NVME_SC_SGL_INVALID_DATA = 0xB, 0xC, 0xD, 0xF
NVME_SC_SGL_INVALID_TYPE, NVME_SC_LBA_RANGE, NVME_SC_CAP_EXCEEDED, NVME_SC_RESERVATION_CONFLICT = 0x11, 0x80, 0x81, 0x83
NVME_SC_CQ_INVALID, NVME_SC_QID_INVALID, NVME_SC_QUEUE_SIZE, NVME_SC_ASYNC_LIMIT = 0x100, 0x101, 0x102, 0x105
NVME_SC_INVALID_VECTOR, NVME_SC_INVALID_LOG_PAGE, NVME_SC_INVALID_QUEUE = 0x108, 0x109, 0x10C
NVME_SC_FEATURE_NOT_SAVEABLE, NVME_SC_FEATURE_NOT_PER_NS = 0x10D, 0x10F
NVME_SC_BAD_ATTRIBUTES, NVME_SC_INVALID_PI, NVME_SC_READ_ONLY, NVME_SC_ONCS_NOT_SUPPORTED = 0x180, 0x181, 0x182, 0x183
NVME_SC_WRITE_FAULT, NVME_SC_READ_ERROR, NVME_SC_GUARD_CHECK, NVME_SC_APPTAG_CHECK = 0x280, 0x281, 0x282, 0x283
NVME_SC_REFTAG_CHECK, NVME_SC_COMPARE_FAILED, NVME_SC_ACCESS_DENIED, NVME_SC_UNWRITTEN_BLOCK = (
    0x284, 0x285, 0x286, 0x287)
NVME_SC_HOST_PATH_ERROR, NVME_SC_HOST_ABORTED_CMD, NVME_SC_CRD, NVME_SC_DNR = 0x370, 0x371, 0x1800, 0x4000


def NVME_VS(major: int, minor: int, tertiary: int) -> int:
    return major << 16 | minor << 8 | tertiary


class nvme_completion(Struct):
    """What the controller writes when a command is done. result: what C's union holds, as one number. sq_head: how far
    it has read that submission queue. The lowest bit of status is the phase, the code begins in the next."""

    result: u64 = 0
    sq_head: u16 = 0
    sq_id: u16 = 0
    command_id: u16 = 0
    status: u16 = 0


class nvme_sgl_desc(Struct, size=16):
    """A piece of memory, or of a list of such descriptors: its upper four bits of `type` say which."""

    addr: u64 = 0
    length: u32 = 0
    rsvd: Annotated[bytes, 3] = b""
    type: u8 = 0


class nvme_data_ptr(Struct, size=16):
    """Where a command's data is: the addresses of two pages, or of one and of a list; or, where the command's flags say
    so, a descriptor, which then is `sgl`. (In C both are the same 16 bytes.)"""

    __slots__ = ("prp1", "prp2", "sgl")

    def __init__(self, prp1: int = 0, prp2: int = 0, sgl: nvme_sgl_desc = NULL) -> None:
        self.prp1 = prp1
        self.prp2 = prp2
        self.sgl: Any = sgl

    def to_bytes(self) -> bytes:
        if self.sgl is not None:
            return wire.pack(self.sgl)
        return self.prp1.to_bytes(8, "little") + self.prp2.to_bytes(8, "little")

    def from_bytes(self, data: bytes) -> None:
        self.prp1, self.prp2 = int.from_bytes(data[:8], "little"), int.from_bytes(data[8:], "little")
        self.sgl = nvme_sgl_desc()
        wire.unpack(self.sgl, data)


class _command(Struct, size=4):
    """What every command begins with."""

    opcode: u8 = 0
    flags: u8 = 0
    command_id: u16 = 0


class _namespace_command(_command, size=8):
    """What a command begins with that is for a namespace."""

    nsid: u32 = 0


class nvme_common_command(_namespace_command, size=64):
    """What all commands have in common; also those without anything of their own: flush, asynchronous event request."""

    cdw2: Annotated[Any, ("I", 2)] = (0, 0)
    metadata: u64 = 0
    dptr: Annotated[Any, nvme_data_ptr] = field(default_factory=nvme_data_ptr)
    cdw10: u32 = 0
    cdw11: u32 = 0
    cdw12: u32 = 0
    cdw13: u32 = 0
    cdw14: u32 = 0
    cdw15: u32 = 0


class nvme_rw_command(_namespace_command):
    """Read or write (or compare) length + 1 blocks of a namespace from block `slba` on."""

    metadata: u64 = 0
    dptr: Annotated[Any, nvme_data_ptr] = field(default_factory=nvme_data_ptr)
    slba: u64 = 0
    length: u16 = 0
    control: u16 = 0
    dsmgmt: u32 = 0


class nvme_dsm_cmd(_namespace_command, size=64):
    """Tell the controller of nr + 1 ranges of blocks what `attributes` says: that they hold nothing (AD), say."""

    rsvd2: Annotated[bytes, 16] = b""
    dptr: Annotated[Any, nvme_data_ptr] = field(default_factory=nvme_data_ptr)
    nr: u32 = 0
    attributes: u32 = 0


class nvme_dsm_range(Struct, size=16):
    """nlb blocks from `slba` on."""

    cattr: u32 = 0
    nlb: u32 = 0
    slba: u64 = 0


class nvme_write_zeroes_cmd(_namespace_command, size=64):
    """Let length + 1 blocks from `slba` on be zeros."""

    rsvd2: u64 = 0
    metadata: u64 = 0
    dptr: Annotated[Any, nvme_data_ptr] = field(default_factory=nvme_data_ptr)
    slba: u64 = 0
    length: u16 = 0
    control: u16 = 0


class nvme_identify(_namespace_command):
    """Say what the controller, a namespace or a list of them is, as `cns` says."""

    dptr: Annotated[Any, nvme_data_ptr] = field(default_factory=nvme_data_ptr)
    cns: u8 = 0


class nvme_features(_namespace_command):
    """Set or get the feature `fid`; what of it is in dword11 and the following."""

    dptr: Annotated[Any, nvme_data_ptr] = field(default_factory=nvme_data_ptr)
    fid: u32 = 0
    dword11: u32 = 0


class nvme_create_cq(_command):
    """Create completion queue `cqid`: qsize + 1 entries at prp1, which raise vector irq_vector if cq_flags say so."""

    prp1: u64 = 0
    cqid: u16 = 0
    qsize: u16 = 0
    cq_flags: u16 = 0
    irq_vector: u16 = 0


class nvme_create_sq(_command):
    """Create submission queue `sqid`: qsize + 1 entries at prp1, which complete into queue `cqid`."""

    prp1: u64 = 0
    sqid: u16 = 0
    qsize: u16 = 0
    sq_flags: u16 = 0
    cqid: u16 = 0


class nvme_delete_queue(_command, size=64):
    """Delete queue `qid`."""

    rsvd1: Annotated[bytes, 36] = b""
    qid: u16 = 0


class nvme_abort_cmd(_command, size=64):
    """Abort the command `cid` of submission queue `sqid`."""

    rsvd1: Annotated[bytes, 36] = b""
    sqid: u16 = 0
    cid: u16 = 0


class nvme_get_log_page_command(_namespace_command, size=64):
    """Bring so many dwords, less one (numdl, numdu: its halves), of log `lid` from byte `lpo` on. (In C lpo is also two
    halves, lpol and lpou.)"""

    rsvd2: Annotated[bytes, 16] = b""
    dptr: Annotated[Any, nvme_data_ptr] = field(default_factory=nvme_data_ptr)
    lid: u8 = 0
    lsp: u8 = 0
    numdl: u16 = 0
    numdu: u16 = 0
    rsvd11: u16 = 0
    lpo: u64 = 0


class nvme_dbbuf(_command, size=64):
    """Keep copies of the doorbells in memory at prp1, and at prp2 say up to where they will do."""

    rsvd1: Annotated[bytes, 20] = b""
    prp1: u64 = 0
    prp2: u64 = 0


def _member(cls: type) -> Any:
    """A name of C's union: what was put in, as that kind of command."""
    def bring(self: Any) -> Any:
        return wire.view(cls, self.common)

    def put(self: Any, command: Any) -> None:
        self.common = command
    return property(bring, put)


class nvme_command(Struct):
    """A command: 64 bytes, read as what its opcode says.

    C's union has a member for each kind of command; here `common` is the one that was put in, and the others' names
    bring the same bytes as theirs. Assigning to any name puts a command in.
    """

    __slots__ = ("common",)

    def __init__(self, common: Any = None) -> None:
        self.common: Any = nvme_common_command() if common is None else common

    def to_bytes(self) -> bytes:
        return wire.pack(self.common)

    def from_bytes(self, data: bytes) -> None:
        self.common = nvme_common_command()
        wire.unpack(self.common, data)

    def duplicate(self) -> nvme_command:
        """A copy of the command that has its own bytes (in C memcpy())."""
        common = copy(self.common)
        if hasattr(common, "dptr"):
            common.dptr = copy(common.dptr)
        return nvme_command(common)

    rw = _member(nvme_rw_command)
    identify = _member(nvme_identify)
    features = _member(nvme_features)
    create_cq = _member(nvme_create_cq)
    create_sq = _member(nvme_create_sq)
    delete_queue = _member(nvme_delete_queue)
    dsm = _member(nvme_dsm_cmd)
    write_zeroes = _member(nvme_write_zeroes_cmd)
    abort = _member(nvme_abort_cmd)
    get_log_page = _member(nvme_get_log_page_command)
    dbbuf = _member(nvme_dbbuf)


class nvme_id_ctrl(Struct):
    """What a controller says of itself."""

    vid: u16 = 0
    ssvid: u16 = 0
    sn: Annotated[bytes, 20] = b""
    mn: Annotated[bytes, 40] = b""
    fr: Annotated[bytes, 8] = b""
    rab: u8 = 0
    ieee: Annotated[bytes, 3] = b""
    cmic: u8 = 0
    mdts: u8 = 0
    cntlid: u16 = 0
    ver: u32 = 0
    oaes: u32 = 0
    oacs: u16 = 0
    acl: u8 = 0
    aerl: u8 = 0
    frmw: u8 = 0
    lpa: u8 = 0
    wctemp: u16 = 0
    cctemp: u16 = 0
    sqes: u8 = 0
    cqes: u8 = 0
    nn: u32 = 0
    oncs: u16 = 0
    vwc: u8 = 0
    sgls: u32 = 0
    subnqn: Annotated[bytes, 256] = b""
    psd: Annotated[bytes, 1024] = b""


class nvme_lbaf(Struct, size=4):
    """A block format: 2**ds bytes of data, `ms` of metadata."""

    ms: u16 = 0
    ds: u8 = 0
    rp: u8 = 0


class nvme_id_ns(Struct):
    """What a namespace is: nsze blocks, of format number flbas & 15 among `lbaf`."""

    nsze: u64 = 0
    ncap: u64 = 0
    nuse: u64 = 0
    nsfeat: u8 = 0
    nlbaf: u8 = 0
    flbas: u8 = 0
    npwg: u16 = 0
    nows: u16 = 0
    nsattr: u8 = 0
    nguid: Annotated[bytes, 16] = b""
    eui64: Annotated[bytes, 8] = b""
    lbaf: Annotated[Any, (nvme_lbaf, 16)] = field(default_factory=lambda: [nvme_lbaf() for _ in range(16)])


class nvme_ns_id_desc(Struct, size=4):
    """Before each name of a namespace: its kind, and how many bytes of it follow."""

    nidt: u8 = 0
    nidl: u8 = 0


class nvme_effects_log(Struct, size=4096):
    """For each opcode, of admin (acs) and I/O commands (iocs), what it does: NVME_CMD_EFFECTS_* bits."""

    acs: Annotated[Any, ("I", 256)] = field(default_factory=lambda: [0] * 256)
    iocs: Annotated[Any, ("I", 256)] = field(default_factory=lambda: [0] * 256)


def nvme_is_write(cmd: nvme_command) -> int:
    """Whether data goes to the controller."""
    return cmd.common.opcode & 1
