"""The controller's I/O commands, on a namespace's blocks.

Each is a function of the controller and the command under way; it returns the result that the
completion bears, or raises Refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from blkmodel.device.namespace import Namespace
from blkmodel.device.queues import Running
from blkmodel.device.transfer import Places, Refused, pieces, read_host, write_host
from blkmodel.include.linux.nvme import (NVME_CMD_SGL_ALL, NVME_DSMGMT_AD, NVME_NSID_ALL, NVME_RW_FUA,
    NVME_SC_INVALID_FIELD, NVME_SC_INVALID_NS, NVME_SC_LBA_RANGE, NVME_SC_READ_ERROR, NVME_SC_WRITE_FAULT, nvme_cmd_dsm,
    nvme_cmd_flush, nvme_cmd_read, nvme_cmd_write, nvme_cmd_write_zeroes, nvme_common_command, nvme_dsm_cmd,
    nvme_dsm_range, nvme_rw_command, nvme_write_zeroes_cmd)
from blkmodel.sim import Array, sizeof, this, wire

if TYPE_CHECKING:
    from blkmodel.device.controller import Controller


def read(controller: Controller, running: Running) -> int:
    """Bring blocks to the host."""
    namespace, command, places, start = _transfer(controller, running)
    length = (command.length + 1) << namespace.shift
    if namespace.bad_read and namespace.fails(namespace.bad_read, start, length):
        raise Refused(NVME_SC_READ_ERROR, retry=True)
    write_host(this().memory, places, namespace.read(start, length))
    namespace.reads += 1
    return 0


def write(controller: Controller, running: Running) -> int:
    """Store blocks that the host has."""
    namespace, command, places, start = _transfer(controller, running)
    if namespace.bad_write and namespace.fails(namespace.bad_write, start, (command.length + 1) << namespace.shift):
        raise Refused(NVME_SC_WRITE_FAULT, retry=True)
    namespace.write(start, read_host(this().memory, places), _through(controller, command.control))
    namespace.writes += 1
    return 0


def _transfer(controller: Controller, running: Running) -> tuple[Namespace, nvme_rw_command, Places, int]:
    """What a read or a write is about: namespace, command, places in the host's memory, first byte."""
    held = running.command
    command = held if isinstance(held, nvme_rw_command) else wire.view(nvme_rw_command, held)
    namespace = _namespace(controller, command.nsid)
    length = (command.length + 1) << namespace.shift
    if controller.too_long(length):
        raise Refused(NVME_SC_INVALID_FIELD)
    _check_range(namespace, command.slba, command.length + 1)
    if command.flags & NVME_CMD_SGL_ALL and not controller.sgl:
        raise Refused(NVME_SC_INVALID_FIELD)
    return namespace, command, pieces(this().memory, command, length, controller.page), command.slba << namespace.shift


def flush(controller: Controller, running: Running) -> int:
    """Let all that was written last."""
    nsid = wire.view(nvme_common_command, running.command).nsid
    for namespace in controller.namespaces.values() if nsid == NVME_NSID_ALL else [_namespace(controller, nsid)]:
        namespace.flush()
    return 0


def write_zeroes(controller: Controller, running: Running) -> int:
    """Make blocks zeros, without any from the host."""
    command = wire.view(nvme_write_zeroes_cmd, running.command)
    namespace = _namespace(controller, command.nsid)
    _check_range(namespace, command.slba, command.length + 1)
    namespace.zero(command.slba << namespace.shift, (command.length + 1) << namespace.shift,
                   _through(controller, command.control))
    return 0


def manage_dataset(controller: Controller, running: Running) -> int:
    """Hear what the host says of ranges of blocks. Those that it needs no more are zeros from then on."""
    command = wire.view(nvme_dsm_cmd, running.command)
    namespace, count = _namespace(controller, command.nsid), (command.nr & 0xFF) + 1
    if not command.attributes & NVME_DSMGMT_AD:
        return 0
    ranges = Array(nvme_dsm_range, [None] * count)
    places = pieces(this().memory, command, count * sizeof(nvme_dsm_range), controller.page)
    wire.unpack(ranges, read_host(this().memory, places))
    for each in ranges:
        _check_range(namespace, each.slba, each.nlb)
    for each in ranges:
        namespace.zero(each.slba << namespace.shift, each.nlb << namespace.shift, _through(controller, 0))
    return 0


def _through(controller: Controller, control: int) -> bool:
    """Whether what is written lasts at once: the command says so, or there is no cache."""
    return bool(control & NVME_RW_FUA) or not controller.write_cache


def _namespace(controller: Controller, nsid: int) -> Namespace:
    """The namespace of that number. Refused where there is none."""
    if (namespace := controller.namespaces.get(nsid)) is None:
        raise Refused(NVME_SC_INVALID_NS if not 1 <= nsid <= 256 else NVME_SC_INVALID_FIELD)
    return namespace


def _check_range(namespace: Namespace, first: int, count: int) -> None:
    """Refuse blocks beyond the last."""
    if first + count > namespace.blocks:
        raise Refused(NVME_SC_LBA_RANGE)


HANDLERS: dict[int, Callable[[Controller, Running], int | None]] = {
    nvme_cmd_flush: flush, nvme_cmd_write: write, nvme_cmd_read: read, nvme_cmd_write_zeroes: write_zeroes,
    nvme_cmd_dsm: manage_dataset}
