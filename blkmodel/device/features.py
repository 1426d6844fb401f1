"""What the host can set of a controller: how many queues there are to be, the time, and what the host hears.

Left out: what no driver asks for. The driver gets no feature, and lends no memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from blkmodel.device.queues import Running
from blkmodel.device.transfer import Refused, from_host
from blkmodel.include.linux.nvme import (NVME_FEAT_ASYNC_EVENT, NVME_FEAT_NUM_QUEUES, NVME_FEAT_TIMESTAMP,
    NVME_NSID_ALL, NVME_SC_CMD_SEQ_ERROR, NVME_SC_FEATURE_NOT_PER_NS, NVME_SC_FEATURE_NOT_SAVEABLE,
    NVME_SC_INVALID_FIELD, nvme_features)
from blkmodel.sim import wire

if TYPE_CHECKING:
    from blkmodel.device.controller import Controller

SAVE = 1 << 31


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
