"""What drivers/md/dm-core.h declares: the mapped device, which only the core of device mapper looks into."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any

from blkmodel.include.linux.blk_mq import blk_mq_tag_set
from blkmodel.include.linux.blkdev import bio_list, bio_set, gendisk, request_queue
from blkmodel.include.linux.device_mapper import dm_target, target_type
from blkmodel.include.linux.fs import block_device
from blkmodel.services import (completion as completion_struct, hd_geometry, kobject, list_head, mutex, srcu_struct,
    super_block, wait_queue_head, work_struct, workqueue_struct)
from blkmodel.sim import NULL, Struct

if TYPE_CHECKING:
    from blkmodel.drivers.md.dm_table import dm_table

DM_RESERVED_MAX_IOS = 1024


class dm_kobject_holder(Struct, size=96):
    """The device's directory in sysfs, and what says that nobody holds it any more. _md is whose it is (in C found by
    its address)."""

    kobj: kobject = field(default_factory=kobject)
    completion: completion_struct = field(default_factory=completion_struct)
    _md: mapped_device = NULL


class mapped_device(Struct):
    """A disk that is made of others, as its table says. One thread needs no locks: the model has none of them.

    map: the live table, or None; read it with dm_get_live_table(). flags: bits DMF_*. type: DM_TYPE_*, set with the
    first table that is loaded, and never changed to another kind. holders: who may still use it; open_count: who has
    it open. table_devices: the block devices that its tables have open. deferred: bios that wait, for `work` in `wq`
    to submit them. bs and io_bs: what clones are from, with room for the targets' data before each. wait: who waits
    for I/O to end; eventq: who waits for event_nr to change. interface_ptr: its cell in the tables of names.
    """

    table_devices_lock: mutex = field(default_factory=lambda: mutex("&md->table_devices_lock"))
    table_devices: list_head = field(default_factory=list_head)
    map: dm_table = NULL
    flags: int = 0
    type: int = 0
    numa_node_id: int = 0
    queue: request_queue = NULL
    holders: int = 0
    open_count: int = 0
    immutable_target: dm_target = NULL
    immutable_target_type: target_type = NULL
    name: str = ""
    disk: gendisk = NULL
    work: work_struct = field(default_factory=work_struct)
    wait: wait_queue_head = field(default_factory=wait_queue_head)
    deferred: bio_list = field(default_factory=bio_list)
    interface_ptr: Any = NULL
    eventq: wait_queue_head = field(default_factory=wait_queue_head)
    event_nr: int = 0
    uevent_seq: int = 0
    uevent_list: list_head = field(default_factory=list_head)
    io_bs: bio_set = field(default_factory=bio_set)
    bs: bio_set = field(default_factory=bio_set)
    wq: workqueue_struct = NULL
    frozen_sb: super_block = NULL
    geometry: hd_geometry = field(default_factory=hd_geometry)
    kobj_holder: dm_kobject_holder = field(default_factory=dm_kobject_holder)
    bdev: block_device = NULL
    swap_bios: int = 0
    tag_set: blk_mq_tag_set = NULL
    init_tio_pdu: bool = False
    suspend_lock: mutex = field(default_factory=lambda: mutex("&md->suspend_lock"))
    type_lock: mutex = field(default_factory=lambda: mutex("&md->type_lock"))
    io_barrier: srcu_struct = field(default_factory=srcu_struct)


def dm_get_completion_from_kobject(kobj: kobject) -> completion_struct:
    """Return what is completed when nobody holds the device's directory any more."""
    return kobj._owner.completion
