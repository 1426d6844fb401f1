"""NVMe controllers to the host: what drivers/nvme/host/nvme.h declares, as far as PCI Express needs it.

The reference kernel is configured without multipath and without open-channel disks: their functions are empty there,
and left out here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any

from blkmodel.block import blk_mq
from blkmodel.include.linux.blk_mq import blk_mq_tag_set
from blkmodel.include.linux.blkdev import SECTOR_SHIFT, dev_to_disk, gendisk, request, request_queue
from blkmodel.include.linux.nvme import NVME_REG_NSSR, NVME_SC_DNR, nvme_command, nvme_effects_log
from blkmodel.services import (ENOTTY, cdev as _cdev, debugfs, device as _device, get_device, ida, kref as _kref,
    list_head, module as _module, mutex, nvme_fault_inject, page, put_device, rw_semaphore, should_fail, srcu_struct,
    wait_queue_head, work_struct)
from blkmodel.sim import NULL, Struct

NVME_QUIRK_NO_APST, NVME_QUIRK_SIMPLE_SUSPEND = 1 << 4, 1 << 10
NVME_REQ_CANCELLED, NVME_QID_ANY = 1, -1

(NVME_CTRL_NEW, NVME_CTRL_LIVE, NVME_CTRL_RESETTING, NVME_CTRL_CONNECTING, NVME_CTRL_DELETING,
 NVME_CTRL_DEAD) = range(6)
NVME_NS_REMOVING, NVME_NS_DEAD, NVME_F_METADATA_SUPPORTED, NVME_F_PCI_P2PDMA = 0, 1, 2, 4


class nvme_request(Struct):
    """What the NVMe core keeps with each request: its command, the controller's answer, how often it was tried."""

    cmd: nvme_command = NULL
    result: int = 0
    retries: int = 0
    flags: int = 0
    status: int = 0
    ctrl: nvme_ctrl = NULL


class nvme_ctrl_ops(Struct):
    """How a controller is reached. In C reading takes a pointer for the value; here it returns (error, value)."""

    name: str = ""
    module: _module = NULL
    flags: int = 0
    reg_read32: Callable[..., tuple[int, int]] = NULL
    reg_write32: Callable[..., int] = NULL
    reg_read64: Callable[..., tuple[int, int]] = NULL
    free_ctrl: Callable[..., None] = NULL
    submit_async_event: Callable[..., None] = NULL
    delete_ctrl: Callable[..., None] = NULL
    get_address: Callable[..., str] = NULL


class nvme_ctrl(Struct):
    """A controller, however it is connected: its state, its admin queue, what it says of itself, its namespaces.

    queue_count: the queues that have memory, the admin queue included. It lives as long as its device (`device`, which
    is ctrl_device once that is initialised). _owner is the structure that embeds it (in C found by its address).
    """

    state: int = NVME_CTRL_NEW
    identified: bool = False
    ops: nvme_ctrl_ops = NULL
    admin_q: request_queue = NULL
    dev: _device = NULL
    instance: int = 0
    numa_node: int = 0
    tagset: blk_mq_tag_set = NULL
    admin_tagset: blk_mq_tag_set = NULL
    scan_lock: mutex = field(default_factory=lambda: mutex("&ctrl->scan_lock"))
    namespaces_rwsem: rw_semaphore = field(default_factory=lambda: rw_semaphore("&ctrl->namespaces_rwsem"))
    namespaces: list_head = field(default_factory=list_head)
    ctrl_device: _device = field(default_factory=_device)
    device: _device = NULL
    cdev: _cdev = field(default_factory=_cdev)
    reset_work: work_struct = field(default_factory=work_struct)
    state_wq: wait_queue_head = field(default_factory=wait_queue_head)
    subsys: nvme_subsystem = NULL
    subsys_entry: object = NULL
    cntlid: int = 0
    ctrl_config: int = 0
    queue_count: int = 0
    cap: int = 0
    page_size: int = 0
    max_hw_sectors: int = 0
    max_segments: int = 0
    oncs: int = 0
    oacs: int = 0
    sqsize: int = 0
    abort_limit: int = 0
    vwc: int = 0
    vs: int = 0
    sgls: int = 0
    oaes: int = 0
    shutdown_timeout: int = 0
    subsystem: bool = False
    quirks: int = 0
    effects: nvme_effects_log = NULL
    scan_work: work_struct = field(default_factory=work_struct)
    async_event_work: work_struct = field(default_factory=work_struct)
    created: bool = False
    discard_page: page = NULL
    discard_page_busy: int = 0
    _owner: Any = NULL


class nvme_subsystem(Struct):
    """What one or more controllers are parts of, known by its name (subnqn). nsheads: its namespaces, ns_ida the
    numbers that those have. `instance` is that of its first controller."""

    lock: mutex = field(default_factory=lambda: mutex("&subsys->lock"))
    instance: int = 0
    dev: _device = field(default_factory=_device)
    ref: _kref = field(default_factory=_kref)
    entry: object = NULL
    ctrls: list_head = field(default_factory=list_head)
    nsheads: list_head = field(default_factory=list_head)
    subnqn: str = ""
    serial: bytes = b""
    model: bytes = b""
    firmware_rev: bytes = b""
    vendor_id: int = 0
    ns_ida: ida = field(default_factory=ida)


class nvme_ns_ids(Struct, size=40):
    """The names of a namespace that are unique in the world; zeros for one that it has not."""

    eui64: bytes = bytes(8)
    nguid: bytes = bytes(16)
    uuid: bytes = bytes(16)


class nvme_ns_head(Struct):
    """A namespace of a subsystem. `list`: a nvme_ns for each controller through which it is seen: one, if it is private
    to a controller."""

    list: list_head = field(default_factory=list_head)
    srcu: srcu_struct = field(default_factory=srcu_struct)
    subsys: nvme_subsystem = NULL
    ns_id: int = 0
    ids: nvme_ns_ids = field(default_factory=nvme_ns_ids)
    entry: object = NULL
    ref: _kref = field(default_factory=_kref)
    instance: int = 0


class nvme_ns(Struct):
    """A namespace as one controller shows it: a disk. Its blocks have 2**lba_shift bytes and `ms` more of metadata.

    flags: NVME_NS_* bits.
    """

    list: object = NULL
    ctrl: nvme_ctrl = NULL
    queue: request_queue = NULL
    disk: gendisk = NULL
    siblings: object = NULL
    kref: _kref = field(default_factory=_kref)
    head: nvme_ns_head = NULL
    lba_shift: int = 0
    ms: int = 0
    flags: int = 0


def nvme_req(req: request) -> nvme_request:
    """The NVMe core's part of a request: the first of what its driver keeps there."""
    return req._pdu.req


def nvme_sect_to_lba(ns: nvme_ns, sector: int) -> int:
    """The number of the block that a sector of 512 bytes is in."""
    return sector >> ns.lba_shift - SECTOR_SHIFT


def nvme_lba_to_sect(ns: nvme_ns, lba: int) -> int:
    """The number of a block's first sector."""
    return lba << ns.lba_shift - SECTOR_SHIFT


def nvme_end_request(req: request, status: int, result: int) -> None:
    """Keep a controller's answer with its request, and complete that. `status` is a completion's, with the phase."""
    rq = req._pdu.req
    rq.status, rq.result = status >> 1, result
    if injected := debugfs().fault_inject:
        nvme_should_fail(req, injected)
    blk_mq.blk_mq_complete_request(req)


def nvme_should_fail(req: request, injected: dict[str, nvme_fault_inject]) -> None:
    """Put another status in place of the controller's, where that was asked for of the request's disk."""
    wanted = injected.get(req.rq_disk.disk_name) if req.rq_disk else None
    if wanted and should_fail(wanted.attr, 1):
        req._pdu.req.status = wanted.status | (NVME_SC_DNR if wanted.dont_retry else 0)


def nvme_get_ctrl(ctrl: nvme_ctrl) -> None:
    """Take a reference to a controller."""
    get_device(ctrl.device)


def nvme_put_ctrl(ctrl: nvme_ctrl) -> None:
    """Drop a reference to a controller, which is freed with the last one."""
    put_device(ctrl.device)


def nvme_reset_subsystem(ctrl: nvme_ctrl) -> int:
    """Reset all controllers of a subsystem, by a register that only some have. Returns 0 or -ENOTTY."""
    return ctrl.ops.reg_write32(ctrl, NVME_REG_NSSR, 0x4E564D65) if ctrl.subsystem else -ENOTTY


def nvme_set_disk_name(ns: nvme_ns, ctrl: nvme_ctrl) -> str:
    """A disk is named after its controller and the namespace's number in the subsystem."""
    return f"nvme{ctrl.instance}n{ns.head.instance}"


def nvme_get_ns_from_dev(dev: _device) -> nvme_ns:
    """The namespace of a disk's device."""
    return dev_to_disk(dev).private_data

