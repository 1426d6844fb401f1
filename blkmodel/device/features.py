"""What the host can set of a controller, and what it does with that."""

from blkmodel.device.identify import WARNING, namespace_of
from blkmodel.device.transfer import Refused, from_host, to_host
from blkmodel.include.linux.nvme import (
    NVME_AEN_CFG_NS_ATTR, NVME_AER_SMART, NVME_FEAT_ARBITRATION, NVME_FEAT_ASYNC_EVENT, NVME_FEAT_AUTO_PST,
    NVME_FEAT_ERR_RECOVERY, NVME_FEAT_HOST_BEHAVIOR, NVME_FEAT_HOST_MEM_BUF, NVME_FEAT_IRQ_COALESCE,
    NVME_FEAT_IRQ_CONFIG, NVME_FEAT_NUM_QUEUES, NVME_FEAT_POWER_MGMT, NVME_FEAT_TEMP_THRESH, NVME_FEAT_TIMESTAMP,
    NVME_FEAT_VOLATILE_WC, NVME_FEAT_WRITE_ATOMIC, NVME_HOST_MEM_ENABLE, NVME_LOG_SMART, NVME_NSID_ALL,
    NVME_SC_CMD_SEQ_ERROR, NVME_SC_FEATURE_NOT_CHANGEABLE, NVME_SC_FEATURE_NOT_PER_NS, NVME_SC_FEATURE_NOT_SAVEABLE,
    NVME_SC_INVALID_FIELD, nvme_features, nvme_host_mem_buf_desc)
from blkmodel.sim import this, wire
from blkmodel.sim.structure import Array, sizeof

TEMPERATURE = 323  # kelvins
SAVE, SELECT = 1 << 31, 8
CURRENT, DEFAULT, SAVED, SUPPORTED = range(4)
CHANGEABLE, OF_NAMESPACE = 4, 2


class Features:
    """What the host can set, by feature number, as after a reset; and what goes with it.

    buffers: the pieces of the host's memory that the controller may use.
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
        setting = self.values[NVME_FEAT_IRQ_COALESCE]
        threshold, time = setting & 0xFF, setting >> 8 & 0xFF
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
        if nsid != everywhere and namespace_of(controller, nsid) is None:
            raise Refused(NVME_SC_INVALID_FIELD)
    elif everywhere and nsid not in (0, everywhere):
        namespace_of(controller, nsid)
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
    if too_hot_or_cold(features):
        controller.notify(NVME_AER_SMART, 1, NVME_LOG_SMART)


def too_hot_or_cold(features):
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
    features.timestamp = int.from_bytes(from_host(controller, command, 8), "little") & (1 << 48) - 1
    features.stamped = this().now


def _timestamp(controller, command):
    """Milliseconds: what the host set (or none), and what went by since."""
    features = controller.features
    since = features.stamped if features.timestamp else controller.started
    now = features.timestamp + (this().now - since) // 1_000_000 & (1 << 48) - 1
    to_host(controller, command, (now | bool(features.timestamp) << 49).to_bytes(8, "little"))


def _set_power_table(controller, command, value):
    """When to go to which power state by itself."""
    features = controller.features
    features.power_table = from_host(controller, command, 256)
    features.values[NVME_FEAT_AUTO_PST] = value & 1


def _power_table(controller, command):
    features = controller.features
    to_host(controller, command, features.power_table)
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
    controller.features.behavior = from_host(controller, command, 512)


def _behavior(controller, command):
    to_host(controller, command, controller.features.behavior)


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
