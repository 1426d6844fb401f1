"""What writes back to a device: as much of it as belongs to a request queue (mm/backing-dev.c, backing-dev.h)."""

from collections.abc import Callable
from typing import Any

from blkmodel.services.base import ENOMEM, MAJOR, MINOR, MKDEV
from blkmodel.services.devices.device import class_, device, device_create, device_unregister, get_device, put_device
from blkmodel.services.memory.percpu import alloc_percpu_gfp, free_percpu
from blkmodel.services.memory.slab import kfree, kzalloc, kzalloc_node
from blkmodel.sim import NULL, Struct, statics

VM_READAHEAD_PAGES = 32  # 128 KiB
BDI_CAP_STABLE_WRITES, BDI_CAP_CGROUP_WRITEBACK = 0x08, 0x20
WB_async_congested, WB_sync_congested = 0, 1
PERCPU_COUNTERS = 5  # wb_init(): completions, and four statistics

bdi_class = class_(name="bdi")


class bdi_writeback_congested(Struct, size=16):
    """Whether the device is congested; shared by all who write back to it."""

    state: int = 0


class backing_dev_info(Struct, size=808):
    """A device that pages are written back to. ra_pages: how far to read ahead; io_pages: the largest I/O, in pages.

    congested_fn is asked with congested_data whether it is congested, where that is not to be read off a bit. refcnt
    references are held. dev is its device while it is registered, owner the disk's. The size is worked out from the
    declaration.
    """

    ra_pages: int = 0
    io_pages: int = 0
    name: str = NULL
    congested_fn: Callable[[Any, int], int] = NULL
    congested_data: Any = None
    refcnt: int = 0
    capabilities: int = 0
    dev: device = NULL
    owner: device = NULL
    _congested: bdi_writeback_congested = NULL
    _counters: list[list[int]] = NULL


class _variables(statics):
    """What a block device that has no disk points to."""

    def __init__(self) -> None:
        self.noop_backing_dev_info = backing_dev_info(name="noop", refcnt=1)


def noop_backing_dev_info() -> backing_dev_info:
    return _variables().noop_backing_dev_info


def bdi_alloc_node(gfp: int, node: int) -> backing_dev_info:
    """Allocate one, with a reference; None on failure."""
    if (bdi := kzalloc_node(backing_dev_info, gfp, node)) is None:
        return NULL
    bdi.refcnt = 1
    if _init(bdi, gfp):
        kfree(bdi)
        return NULL
    return bdi


def bdi_get(bdi: backing_dev_info) -> backing_dev_info:
    bdi.refcnt += 1
    return bdi


def bdi_put(bdi: backing_dev_info) -> None:
    """Drop a reference; the last one frees it."""
    bdi.refcnt -= 1
    if bdi.refcnt == 0:
        if bdi.dev is not None:
            bdi_unregister(bdi)
        _exit(bdi)
        kfree(bdi)


def bdi_register_owner(bdi: backing_dev_info, owner: device) -> int:
    """Show it in sysfs, under the number of the disk's device, which it holds. Returns 0 or -ENOMEM."""
    if bdi.dev is None:
        dev = device_create(bdi_class, None, MKDEV(0, 0), bdi, f"{MAJOR(owner.devt)}:{MINOR(owner.devt)}")
        if dev is None:
            return -ENOMEM
        bdi.dev = dev
    bdi.owner = get_device(owner)
    return 0


def bdi_unregister(bdi: backing_dev_info) -> None:
    if bdi.dev is not None:
        device_unregister(bdi.dev)
        bdi.dev = NULL
    if bdi.owner is not None:
        put_device(bdi.owner)
        bdi.owner = NULL


def bdi_cap_stable_pages_required(bdi: backing_dev_info) -> bool:
    """Whether pages must not change while they are written."""
    return bool(bdi.capabilities & BDI_CAP_STABLE_WRITES)


def _init(bdi: backing_dev_info, gfp: int) -> int:
    bdi._congested = kzalloc(bdi_writeback_congested, gfp)
    if bdi._congested is None:
        return -ENOMEM
    bdi._counters = []
    for _ in range(PERCPU_COUNTERS):
        if (counter := alloc_percpu_gfp("int", gfp)) is None:
            _exit(bdi)
            return -ENOMEM
        bdi._counters.append(counter)
    return 0


def _exit(bdi: backing_dev_info) -> None:
    for counter in reversed(bdi._counters):
        free_percpu(counter)
    kfree(bdi._congested)


def bdi_congested(bdi: backing_dev_info, cong_bits: int) -> int:
    """Those of the bits that say that a device has as much to do as it can."""
    if bdi.congested_fn:
        return bdi.congested_fn(bdi.congested_data, cong_bits)
    return bdi._congested.state & cong_bits
