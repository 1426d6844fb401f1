"""What a controller keeps a log of: the effects of its commands, which is all that the driver asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blkmodel.device.queues import Running
from blkmodel.device.transfer import Refused, to_host
from blkmodel.include.linux.nvme import (NVME_CMD_EFFECTS_CSUPP, NVME_CMD_EFFECTS_LBCC, NVME_LOG_CMD_EFFECTS,
    NVME_SC_INVALID_FIELD, NVME_SC_INVALID_LOG_PAGE, nvme_cmd_read, nvme_effects_log, nvme_get_log_page_command)
from blkmodel.sim import wire

if TYPE_CHECKING:
    from blkmodel.device.controller import Controller


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
