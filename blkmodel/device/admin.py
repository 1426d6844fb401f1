"""The controller's admin commands: what it is, what can be set, its queues, its logs, events, and doorbells in memory.

Each is a function of the controller and the command under way. It returns the result that the completion bears, None
where the answer comes later, or raises Refused with the status that the standard (or QEMU, where that leaves a
choice) has for it.
"""

from blkmodel.device.queues import CompletionQueue, SubmissionQueue
from blkmodel.device.transfer import PRP_OFFSET_INVALID, Refused, pieces, read_host, write_host
from blkmodel.include.linux.nvme import (
    NVME_AEN_CFG_NS_ATTR,
    NVME_AER_ERROR,
    NVME_AER_NOTICE,
    NVME_AER_SMART,
    NVME_CC_IOCQES,
    NVME_CC_IOSQES,
    NVME_CMD_EFFECTS_CSUPP,
    NVME_CMD_EFFECTS_LBCC,
    NVME_CMD_SGL_ALL,
    NVME_CQ_IRQ_ENABLED,
    NVME_CTRL_LPA_CMD_EFFECTS_LOG,
    NVME_CTRL_OACS_DBBUF_SUPP,
    NVME_CTRL_ONCS_COMPARE,
    NVME_CTRL_ONCS_DSM,
    NVME_CTRL_ONCS_TIMESTAMP,
    NVME_CTRL_ONCS_WRITE_ZEROES,
    NVME_CTRL_VWC_PRESENT,
    NVME_FEAT_ARBITRATION,
    NVME_FEAT_ASYNC_EVENT,
    NVME_FEAT_AUTO_PST,
    NVME_FEAT_ERR_RECOVERY,
    NVME_FEAT_HOST_BEHAVIOR,
    NVME_FEAT_HOST_MEM_BUF,
    NVME_FEAT_IRQ_COALESCE,
    NVME_FEAT_IRQ_CONFIG,
    NVME_FEAT_NUM_QUEUES,
    NVME_FEAT_POWER_MGMT,
    NVME_FEAT_TEMP_THRESH,
    NVME_FEAT_TIMESTAMP,
    NVME_FEAT_VOLATILE_WC,
    NVME_FEAT_WRITE_ATOMIC,
    NVME_HOST_MEM_ENABLE,
    NVME_IDENTIFY_DATA_SIZE,
    NVME_LOG_CHANGED_NS,
    NVME_LOG_CMD_EFFECTS,
    NVME_LOG_ERROR,
    NVME_LOG_FW_SLOT,
    NVME_LOG_SMART,
    NVME_NIDT_EUI64,
    NVME_NIDT_NGUID,
    NVME_NIDT_UUID,
    NVME_NSID_ALL,
    NVME_QUEUE_PHYS_CONTIG,
    NVME_SC_ABORT_REQ,
    NVME_SC_ASYNC_LIMIT,
    NVME_SC_CMD_SEQ_ERROR,
    NVME_SC_CQ_INVALID,
    NVME_SC_FEATURE_NOT_CHANGEABLE,
    NVME_SC_FEATURE_NOT_PER_NS,
    NVME_SC_FEATURE_NOT_SAVEABLE,
    NVME_SC_INVALID_FIELD,
    NVME_SC_INVALID_LOG_PAGE,
    NVME_SC_INVALID_NS,
    NVME_SC_INVALID_OPCODE,
    NVME_SC_INVALID_QUEUE,
    NVME_SC_INVALID_VECTOR,
    NVME_SC_QID_INVALID,
    NVME_SC_QUEUE_SIZE,
    nvme_abort_cmd,
    nvme_admin_abort_cmd,
    nvme_admin_async_event,
    nvme_admin_create_cq,
    nvme_admin_create_sq,
    nvme_admin_dbbuf,
    nvme_admin_delete_cq,
    nvme_admin_delete_sq,
    nvme_admin_get_features,
    nvme_admin_get_log_page,
    nvme_admin_identify,
    nvme_admin_set_features,
    nvme_cmd_compare,
    nvme_cmd_dsm,
    nvme_cmd_flush,
    nvme_cmd_read,
    nvme_cmd_write,
    nvme_cmd_write_zeroes,
    nvme_create_cq,
    nvme_create_sq,
    nvme_dbbuf,
    nvme_delete_queue,
    nvme_effects_log,
    nvme_error_slot,
    nvme_features,
    nvme_fw_slot_info_log,
    nvme_get_log_page_command,
    nvme_host_mem_buf_desc,
    nvme_id_ctrl,
    nvme_id_ns,
    nvme_id_power_state,
    nvme_identify,
    nvme_lbaf,
    nvme_ns_id_desc,
    nvme_smart_log,
)
from blkmodel.include.linux.pci import PCI_VENDOR_ID_REDHAT, PCI_VENDOR_ID_REDHAT_QUMRANET
from blkmodel.sim import this, wire
from blkmodel.sim.structure import Array, sizeof

EVENT_ERROR, EVENT_SMART, EVENT_NOTICE = NVME_AER_ERROR, NVME_AER_SMART, NVME_AER_NOTICE
LOG_ERROR, LOG_SMART, LOG_CHANGED = NVME_LOG_ERROR, NVME_LOG_SMART, NVME_LOG_CHANGED_NS
TEMPERATURE, WARNING, CRITICAL = 323, 343, 373  # kelvins
NAMESPACES = 256  # the highest number that a namespace can have
BYTES = bytes.fromhex("005452")  # the maker's number, as QEMU has it, lowest byte first
FORMATS = ((9, 0), (9, 8), (9, 16), (9, 64), (12, 0), (12, 8), (12, 16), (12, 64))
SLOT_1_ONLY = 1 << 1 | 1
LARGE_PAGES, SMART_BY_NAMESPACE, OFFSETS = 1 << 0, 1 << 0, 1 << 2
SGL_ANY_ALIGNMENT = 1
SAVE, SELECT = 1 << 31, 8
CURRENT, DEFAULT, SAVED, SUPPORTED = range(4)
CHANGEABLE, OF_NAMESPACE = 4, 2
SUBNQN = "nqn.2019-08.org.qemu:"


class Features:
    """What the host can set, by feature number, as after a reset; and what goes with it.

    errors: how many commands failed. buffers: the pieces of the host's memory that the controller may use.
    """

    def __init__(self, controller):
        self.controller = controller
        self.values = {NVME_FEAT_ARBITRATION: 0, NVME_FEAT_POWER_MGMT: 0, NVME_FEAT_TEMP_THRESH: WARNING,
                       NVME_FEAT_ERR_RECOVERY: 0, NVME_FEAT_VOLATILE_WC: int(controller.write_cache),
                       NVME_FEAT_IRQ_COALESCE: 0, NVME_FEAT_WRITE_ATOMIC: 0, NVME_FEAT_ASYNC_EVENT: 0}
        self.defaults = dict(self.values)
        self.under = 0
        self.timestamp = 0
        self.stamped = 0
        self.power_table = bytes(256)
        self.behavior = bytes(512)
        self.buffers: list[tuple[int, int]] = []
        self.errors = 0
        self.plain_vectors: set[int] = set()

    def supported(self):
        """The numbers of the features that there are."""
        found = {*self.values, NVME_FEAT_NUM_QUEUES, NVME_FEAT_IRQ_CONFIG, NVME_FEAT_TIMESTAMP,
                 NVME_FEAT_HOST_BEHAVIOR}
        if self.controller.apst:
            found.add(NVME_FEAT_AUTO_PST)
        if self.controller.host_memory[0]:
            found.add(NVME_FEAT_HOST_MEM_BUF)
        if not self.controller.write_cache:
            found.discard(NVME_FEAT_VOLATILE_WC)
        return found

    def burst(self):
        """How many commands of one queue are fetched in a turn."""
        power = self.values[NVME_FEAT_ARBITRATION] & 7
        return 1 << power if power < 7 else 1 << 16

    def caches(self):
        """Whether what is written need not last until it is flushed."""
        return self.controller.write_cache and self.values[NVME_FEAT_VOLATILE_WC] & 1

    def tells_of_namespaces(self):
        return self.values[NVME_FEAT_ASYNC_EVENT] & NVME_AEN_CFG_NS_ATTR

    def aggregate(self, cq, written):
        """Interrupt for completions: at once, or when there are enough of them, or the first has waited long enough."""
        controller = self.controller
        threshold = self.values[NVME_FEAT_IRQ_COALESCE] & 0xFF
        time = self.values[NVME_FEAT_IRQ_COALESCE] >> 8 & 0xFF
        cq.unsaid += written
        if not threshold or not time or not cq.qid or cq.vector in self.plain_vectors or cq.unsaid > threshold:
            if cq.told:
                cq.told.cancelled = True
                cq.told = None
            cq.unsaid = 0
            controller.interrupt(cq.vector)
        elif cq.told is None:
            cq.told = controller._post(lambda: self._long_enough(cq), time * 100_000)

    def _long_enough(self, cq):
        cq.told = None
        cq.unsaid = 0
        if self.controller.cqs.get(cq.qid) is cq:
            self.controller.interrupt(cq.vector)


def _places(controller, command, length):
    if command.flags & NVME_CMD_SGL_ALL:
        raise Refused(NVME_SC_INVALID_FIELD)  # admin commands say where their data is by pages only
    return pieces(this().memory, command, length, controller.page)


def _to_host(controller, command, data):
    write_host(this().memory, _places(controller, command, len(data)), data)


def _from_host(controller, command, length):
    return read_host(this().memory, _places(controller, command, length))


# What it is.

def identify(controller, running):
    command = wire.view(nvme_identify, running.command)
    answer = _IDENTIFY.get(command.cns)
    if answer is None:
        raise Refused(NVME_SC_INVALID_FIELD)
    _to_host(controller, command, answer(controller, command).ljust(NVME_IDENTIFY_DATA_SIZE, b"\0"))
    return 0


def _identify_controller(controller, command):
    preferred, least = controller.host_memory
    states = [nvme_id_power_state(max_power=power, entry_lat=entry, exit_lat=leave, flags=2 if index else 0)
              for index, (power, entry, leave) in enumerate(controller.power_states)]
    states += [nvme_id_power_state() for _ in range(32 - len(states))]
    effects = NVME_CTRL_LPA_CMD_EFFECTS_LOG
    return wire.pack(nvme_id_ctrl(
        vid=PCI_VENDOR_ID_REDHAT, ssvid=PCI_VENDOR_ID_REDHAT_QUMRANET, sn=controller.serial.encode().ljust(20),
        mn=controller.model.encode().ljust(40), fr=controller.firmware.encode().ljust(8), rab=6, ieee=BYTES,
        mdts=controller.mdts, ver=controller.version, oaes=NVME_AEN_CFG_NS_ATTR,
        oacs=NVME_CTRL_OACS_DBBUF_SUPP if controller.dbbuf else 0, acl=3, aerl=controller.events - 1,
        frmw=SLOT_1_ONLY, lpa=SMART_BY_NAMESPACE | effects | OFFSETS, npss=len(controller.power_states) - 1,
        apsta=int(controller.apst), wctemp=WARNING, cctemp=CRITICAL, hmpre=preferred, hmmin=least, sqes=0x66,
        cqes=0x44, nn=NAMESPACES, oncs=(NVME_CTRL_ONCS_COMPARE | NVME_CTRL_ONCS_DSM | NVME_CTRL_ONCS_WRITE_ZEROES
                                        | NVME_CTRL_ONCS_TIMESTAMP),
        vwc=NVME_CTRL_VWC_PRESENT | 3 << 1 if controller.write_cache else 0,
        sgls=SGL_ANY_ALIGNMENT if controller.sgl else 0, subnqn=(SUBNQN + controller.serial).encode(), psd=states))


def _identify_namespace(controller, command):
    namespace = _namespace(controller, command.nsid)
    if namespace is None:
        return b""
    formats = [nvme_lbaf(ms, ds) for ds, ms in FORMATS]
    shift = namespace.shift
    index = next((i for i, (ds, ms) in enumerate(FORMATS) if (ds, ms) == (shift, 0)), len(FORMATS))
    if index == len(FORMATS):
        formats.append(nvme_lbaf(0, shift))
    granularity = max(4096 >> shift, 1) - 1
    return wire.pack(nvme_id_ns(
        nsze=namespace.blocks, ncap=namespace.blocks, nuse=namespace.blocks, nsfeat=1 << 2 | 1 << 4,
        nlbaf=len(formats) - 1, flbas=index, mc=3, dpc=0x1F, dlfeat=1, npdg=granularity, npda=granularity,
        nguid=namespace.nguid, eui64=namespace.eui64,
        lbaf=formats + [nvme_lbaf() for _ in range(16 - len(formats))]))


def _list_namespaces(controller, command):
    if command.nsid >= NVME_NSID_ALL - 1:
        raise Refused(NVME_SC_INVALID_NS)
    found = sorted(nsid for nsid in controller.namespaces if nsid > command.nsid)[:NVME_IDENTIFY_DATA_SIZE // 4]
    return b"".join(nsid.to_bytes(4, "little") for nsid in found)


def _describe_namespace(controller, command):
    namespace = _namespace(controller, command.nsid)
    if namespace is None:
        raise Refused(NVME_SC_INVALID_FIELD)
    names = ((NVME_NIDT_UUID, namespace.uuid), (NVME_NIDT_NGUID, namespace.nguid), (NVME_NIDT_EUI64, namespace.eui64))
    return b"".join(wire.pack(nvme_ns_id_desc(kind, len(name))) + name for kind, name in names if name)


_IDENTIFY = {0: _identify_namespace, 1: _identify_controller, 2: _list_namespaces, 3: _describe_namespace}


def _namespace(controller, nsid):
    """The namespace of a number that one could have; None where none has it."""
    if not 1 <= nsid <= NAMESPACES:
        raise Refused(NVME_SC_INVALID_NS)
    return controller.namespaces.get(nsid)


# What can be set.

def set_features(controller, running):
    command = wire.view(nvme_features, running.command)
    fid, value, features = command.fid & 0xFF, command.dword11, controller.features
    if command.fid & SAVE:
        raise Refused(NVME_SC_FEATURE_NOT_SAVEABLE)
    if fid not in features.supported():
        raise Refused(NVME_SC_INVALID_FIELD)
    _check_scope(controller, fid, command.nsid, NVME_NSID_ALL)
    change = _CHANGES.get(fid)
    if change is None:
        raise Refused(NVME_SC_FEATURE_NOT_CHANGEABLE)
    return change(controller, command, value) or 0


def get_features(controller, running):
    command = wire.view(nvme_features, running.command)
    fid, select, features = command.fid & 0xFF, command.fid >> SELECT & 7, controller.features
    if fid not in features.supported() or select > SUPPORTED:
        raise Refused(NVME_SC_INVALID_FIELD)
    _check_scope(controller, fid, command.nsid, None)
    if select == SUPPORTED:
        return (CHANGEABLE if fid in _CHANGES else 0) | (OF_NAMESPACE if fid == NVME_FEAT_ERR_RECOVERY else 0)
    if fid in _BRINGS:
        return _BRINGS[fid](controller, command) or 0
    return features.values[fid] if select == CURRENT else features.defaults[fid]


def _check_scope(controller, fid, nsid, everywhere):
    """A feature of namespaces is set for one; any other is set for none."""
    if fid == NVME_FEAT_ERR_RECOVERY:
        if nsid != everywhere and _namespace(controller, nsid) is None:
            raise Refused(NVME_SC_INVALID_FIELD)
    elif everywhere and nsid not in (0, everywhere):
        _namespace(controller, nsid)
        raise Refused(NVME_SC_FEATURE_NOT_PER_NS)


def _set_value(controller, command, value):
    controller.features.values[command.fid & 0xFF] = value


def _set_queues(controller, command, value):
    """The number of queues can be set before there are any. The controller answers with what it has, whatever it was
    asked for."""
    if any(controller.cqs.keys() - {0}):
        raise Refused(NVME_SC_CMD_SEQ_ERROR)
    if 0xFFFF in (value & 0xFFFF, value >> 16):
        raise Refused(NVME_SC_INVALID_FIELD)
    return _granted(controller, command)


def _granted(controller, command):
    return controller.granted - 1 | controller.granted - 1 << 16


def _set_power(controller, command, value):
    if value & 0x1F >= len(controller.power_states):
        raise Refused(NVME_SC_INVALID_FIELD)
    _set_value(controller, command, value)


def _set_temperature(controller, command, value):
    sensor, side = value >> 16 & 0xF, value >> 20 & 3
    if side > 1:
        raise Refused(NVME_SC_INVALID_FIELD)
    features = controller.features
    if sensor:
        return
    if side:
        features.under = value & 0xFFFF
    else:
        features.values[NVME_FEAT_TEMP_THRESH] = value & 0xFFFF
    if _too_hot_or_cold(features):
        controller.notify(EVENT_SMART, 1, LOG_SMART)


def _too_hot_or_cold(features):
    return not features.under < TEMPERATURE < features.values[NVME_FEAT_TEMP_THRESH]


def _temperature(controller, command):
    sensor, side = command.dword11 >> 16 & 0xF, command.dword11 >> 20 & 3
    if side > 1:
        raise Refused(NVME_SC_INVALID_FIELD)
    features = controller.features
    if sensor:
        return 0
    if command.fid >> SELECT & 7 != CURRENT:
        return 0 if side else WARNING
    return features.under if side else features.values[NVME_FEAT_TEMP_THRESH]


def _set_cache(controller, command, value):
    if not value & 1:
        for namespace in controller.namespaces.values():
            namespace.flush()
    _set_value(controller, command, value & 1)


def _set_vector(controller, command, value):
    """Whether a vector's interrupts are aggregated too."""
    vector = value & 0xFFFF
    if vector >= max(controller.vectors, 1):
        raise Refused(NVME_SC_INVALID_FIELD)
    plain = controller.features.plain_vectors
    (plain.add if value >> 16 & 1 else plain.discard)(vector)


def _vector(controller, command):
    vector = command.dword11 & 0xFFFF
    if vector >= max(controller.vectors, 1):
        raise Refused(NVME_SC_INVALID_FIELD)
    return vector | (vector in controller.features.plain_vectors or not vector) << 16


def _set_timestamp(controller, command, value):
    features = controller.features
    features.timestamp = int.from_bytes(_from_host(controller, command, 8), "little") & (1 << 48) - 1
    features.stamped = this().now


def _timestamp(controller, command):
    """Milliseconds: what the host set (or none), and what went by since."""
    features = controller.features
    since = features.stamped if features.timestamp else controller.started
    now = features.timestamp + (this().now - since) // 1_000_000 & (1 << 48) - 1
    _to_host(controller, command, (now | bool(features.timestamp) << 49).to_bytes(8, "little"))


def _set_power_table(controller, command, value):
    """When to go to which power state by itself."""
    features = controller.features
    features.power_table = _from_host(controller, command, 256)
    features.values[NVME_FEAT_AUTO_PST] = value & 1


def _power_table(controller, command):
    features = controller.features
    _to_host(controller, command, features.power_table)
    return features.values.get(NVME_FEAT_AUTO_PST, 0)


def _set_host_memory(controller, command, value):
    """Take pieces of the host's memory to use, or give them back."""
    features = controller.features
    if not value & NVME_HOST_MEM_ENABLE:
        features.buffers = []
        features.values[NVME_FEAT_HOST_MEM_BUF] = 0
        return
    if features.buffers:
        raise Refused(NVME_SC_CMD_SEQ_ERROR)
    count, where = command.dword15, command.dword14 << 32 | command.dword13
    if where & 15 or not count:
        raise Refused(NVME_SC_INVALID_FIELD)
    pieces_ = Array(nvme_host_mem_buf_desc, [None] * count)
    wire.unpack(pieces_, this().memory.read(where, count * sizeof(nvme_host_mem_buf_desc)))
    if any(piece.addr & controller.page - 1 or not piece.size for piece in pieces_):
        raise Refused(NVME_SC_INVALID_FIELD)
    size = sum(piece.size for piece in pieces_) * controller.page // 4096
    if size < controller.host_memory[1] or command.dword12 * controller.page // 4096 != size:
        raise Refused(NVME_SC_INVALID_FIELD)
    features.buffers = [(piece.addr, piece.size * controller.page) for piece in pieces_]
    features.values[NVME_FEAT_HOST_MEM_BUF] = value & 1


def _host_memory(controller, command):
    return controller.features.values.get(NVME_FEAT_HOST_MEM_BUF, 0)


def _set_behavior(controller, command, value):
    controller.features.behavior = _from_host(controller, command, 512)


def _behavior(controller, command):
    _to_host(controller, command, controller.features.behavior)


_CHANGES = {
    NVME_FEAT_ARBITRATION: _set_value, NVME_FEAT_POWER_MGMT: _set_power, NVME_FEAT_TEMP_THRESH: _set_temperature,
    NVME_FEAT_ERR_RECOVERY: _set_value, NVME_FEAT_VOLATILE_WC: _set_cache, NVME_FEAT_NUM_QUEUES: _set_queues,
    NVME_FEAT_IRQ_COALESCE: _set_value, NVME_FEAT_IRQ_CONFIG: _set_vector, NVME_FEAT_WRITE_ATOMIC: _set_value,
    NVME_FEAT_ASYNC_EVENT: _set_value, NVME_FEAT_AUTO_PST: _set_power_table,
    NVME_FEAT_HOST_MEM_BUF: _set_host_memory, NVME_FEAT_TIMESTAMP: _set_timestamp,
    NVME_FEAT_HOST_BEHAVIOR: _set_behavior}
_BRINGS = {
    NVME_FEAT_TEMP_THRESH: _temperature, NVME_FEAT_NUM_QUEUES: _granted, NVME_FEAT_IRQ_CONFIG: _vector,
    NVME_FEAT_AUTO_PST: _power_table, NVME_FEAT_HOST_MEM_BUF: _host_memory, NVME_FEAT_TIMESTAMP: _timestamp,
    NVME_FEAT_HOST_BEHAVIOR: _behavior}


# Queues.

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


# Logs.

def get_log_page(controller, running):
    command = wire.view(nvme_get_log_page_command, running.command)
    length = (command.numdu << 16 | command.numdl) * 4 + 4
    make = _LOGS.get(command.lid)
    if make is None:
        raise Refused(NVME_SC_INVALID_LOG_PAGE)
    if command.lpo & 3 or (controller.mdts and length > 4096 << controller.page_min + controller.mdts):
        raise Refused(NVME_SC_INVALID_FIELD)
    log = make(controller, command)
    if command.lpo >= len(log):
        raise Refused(NVME_SC_INVALID_FIELD)
    _to_host(controller, command, log[command.lpo:command.lpo + length])
    if not command.lsp & 0x80:  # the host may ask that events stay as they are
        controller.heard(_EVENTS.get(command.lid))
    return 0


def _log_errors(controller, command):
    return wire.pack(nvme_error_slot(error_count=controller.features.errors))


def _log_smart(controller, command):
    if command.nsid != NVME_NSID_ALL and controller.namespaces.get(command.nsid) is None:
        raise Refused(NVME_SC_INVALID_NS)
    chosen = (controller.namespaces.values() if command.nsid == NVME_NSID_ALL
              else [controller.namespaces[command.nsid]])

    def number(value):
        return value.to_bytes(16, "little")
    features = controller.features
    return wire.pack(nvme_smart_log(
        critical_warning=_too_hot_or_cold(features) << 1, temperature=TEMPERATURE.to_bytes(2, "little"),
        avail_spare=100, spare_thresh=10,
        data_units_read=number(-(-sum(each.bytes_read for each in chosen) // 512_000)),
        data_units_written=number(-(-sum(each.bytes_written for each in chosen) // 512_000)),
        host_reads=number(sum(each.reads for each in chosen)),
        host_writes=number(sum(each.writes for each in chosen)),
        power_on_hours=number(this().now // 3_600_000_000_000), num_err_log_entries=number(features.errors)))


def _log_firmware(controller, command):
    name = int.from_bytes(controller.firmware.encode().ljust(8), "little")
    return wire.pack(nvme_fw_slot_info_log(afi=1, frs=(name, 0, 0, 0, 0, 0, 0)))


def _log_changed(controller, command):
    numbers = sorted(controller.changed)
    controller.changed.clear()
    return b"".join(number.to_bytes(4, "little") for number in numbers).ljust(4096, b"\0")


def _log_effects(controller, command):
    log = nvme_effects_log()
    for opcode in HANDLERS:
        if opcode != nvme_admin_dbbuf or controller.dbbuf:
            log.acs[opcode] = NVME_CMD_EFFECTS_CSUPP
    for opcode in (nvme_cmd_read, nvme_cmd_compare):
        log.iocs[opcode] = NVME_CMD_EFFECTS_CSUPP
    for opcode in (nvme_cmd_flush, nvme_cmd_write, nvme_cmd_write_zeroes, nvme_cmd_dsm):
        log.iocs[opcode] = NVME_CMD_EFFECTS_CSUPP | NVME_CMD_EFFECTS_LBCC
    return wire.pack(log)


_LOGS = {NVME_LOG_ERROR: _log_errors, NVME_LOG_SMART: _log_smart, NVME_LOG_FW_SLOT: _log_firmware,
         NVME_LOG_CHANGED_NS: _log_changed, NVME_LOG_CMD_EFFECTS: _log_effects}
_EVENTS = {NVME_LOG_ERROR: EVENT_ERROR, NVME_LOG_SMART: EVENT_SMART, NVME_LOG_CHANGED_NS: EVENT_NOTICE}

HANDLERS = {
    nvme_admin_delete_sq: delete_sq, nvme_admin_create_sq: create_sq, nvme_admin_get_log_page: get_log_page,
    nvme_admin_delete_cq: delete_cq, nvme_admin_create_cq: create_cq, nvme_admin_identify: identify,
    nvme_admin_abort_cmd: abort, nvme_admin_set_features: set_features, nvme_admin_get_features: get_features,
    nvme_admin_async_event: async_event, nvme_admin_dbbuf: doorbell_buffers}
