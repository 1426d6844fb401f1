"""What a controller keeps a log of."""

from blkmodel.device.features import TEMPERATURE, too_hot_or_cold
from blkmodel.device.transfer import Refused, to_host
from blkmodel.include.linux.nvme import (
    NVME_AER_ERROR, NVME_AER_NOTICE, NVME_AER_SMART, NVME_CMD_EFFECTS_CSUPP, NVME_CMD_EFFECTS_LBCC, NVME_LOG_CHANGED_NS,
    NVME_LOG_CMD_EFFECTS, NVME_LOG_ERROR, NVME_LOG_FW_SLOT, NVME_LOG_SMART, NVME_NSID_ALL, NVME_SC_INVALID_FIELD,
    NVME_SC_INVALID_LOG_PAGE, NVME_SC_INVALID_NS, nvme_admin_dbbuf, nvme_cmd_compare, nvme_cmd_dsm, nvme_cmd_flush,
    nvme_cmd_read, nvme_cmd_write, nvme_cmd_write_zeroes, nvme_effects_log, nvme_error_slot, nvme_fw_slot_info_log,
    nvme_get_log_page_command, nvme_smart_log)
from blkmodel.sim import this, wire


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
    to_host(controller, command, log[command.lpo:command.lpo + length])
    if not command.lsp & 0x80:  # the host may ask that events stay as they are
        controller.heard(_EVENTS.get(command.lid))
    return 0


def _log_errors(controller, command):
    return wire.pack(nvme_error_slot(error_count=controller.errors))


def _log_smart(controller, command):
    if command.nsid != NVME_NSID_ALL and controller.namespaces.get(command.nsid) is None:
        raise Refused(NVME_SC_INVALID_NS)
    chosen = (controller.namespaces.values() if command.nsid == NVME_NSID_ALL
              else [controller.namespaces[command.nsid]])

    def number(value):
        return value.to_bytes(16, "little")
    features = controller.features
    return wire.pack(nvme_smart_log(
        critical_warning=too_hot_or_cold(features) << 1, temperature=TEMPERATURE.to_bytes(2, "little"),
        avail_spare=100, spare_thresh=10,
        data_units_read=number(-(-sum(each.bytes_read for each in chosen) // 512_000)),
        data_units_written=number(-(-sum(each.bytes_written for each in chosen) // 512_000)),
        host_reads=number(sum(each.reads for each in chosen)),
        host_writes=number(sum(each.writes for each in chosen)),
        power_on_hours=number(this().now // 3_600_000_000_000), num_err_log_entries=number(controller.errors)))


def _log_firmware(controller, command):
    name = int.from_bytes(controller.firmware.encode().ljust(8), "little")
    return wire.pack(nvme_fw_slot_info_log(afi=1, frs=(name, 0, 0, 0, 0, 0, 0)))


def _log_changed(controller, command):
    numbers = sorted(controller.changed)
    controller.changed.clear()
    return b"".join(number.to_bytes(4, "little") for number in numbers).ljust(4096, b"\0")


def _log_effects(controller, command):
    log = nvme_effects_log()
    for opcode in controller.ADMIN:
        if opcode != nvme_admin_dbbuf or controller.dbbuf:
            log.acs[opcode] = NVME_CMD_EFFECTS_CSUPP
    for opcode in (nvme_cmd_read, nvme_cmd_compare):
        log.iocs[opcode] = NVME_CMD_EFFECTS_CSUPP
    for opcode in (nvme_cmd_flush, nvme_cmd_write, nvme_cmd_write_zeroes, nvme_cmd_dsm):
        log.iocs[opcode] = NVME_CMD_EFFECTS_CSUPP | NVME_CMD_EFFECTS_LBCC
    return wire.pack(log)


_LOGS = {NVME_LOG_ERROR: _log_errors, NVME_LOG_SMART: _log_smart, NVME_LOG_FW_SLOT: _log_firmware,
         NVME_LOG_CHANGED_NS: _log_changed, NVME_LOG_CMD_EFFECTS: _log_effects}
_EVENTS = {NVME_LOG_ERROR: NVME_AER_ERROR, NVME_LOG_SMART: NVME_AER_SMART, NVME_LOG_CHANGED_NS: NVME_AER_NOTICE}
