"""What drivers/md/dm-core.h declares: the mapped device, which only the core of device mapper looks into."""

from dataclasses import field
from typing import Any

from blkmodel.include.linux.bio import bio_list, bio_set
from blkmodel.services.data.list import list_head
from blkmodel.services.devices.hdreg import hd_geometry
from blkmodel.services.devices.kobject import kobject
from blkmodel.services.tasks.semaphore import semaphore
from blkmodel.services.tasks.srcu import srcu_struct
from blkmodel.services.tasks.wait import completion, wait_queue_head
from blkmodel.services.tasks.workqueue import work_struct
from blkmodel.sim.structure import Struct, struct

DM_RESERVED_MAX_IOS = 1024


@struct
class dm_kobject_holder(Struct):
    """The device's directory in sysfs, and what says that nobody holds it any more. _md is whose it is (in C found by
    its address)."""

    SIZE = 96
    kobj: Any = field(default_factory=kobject)
    completion: Any = field(default_factory=completion)
    _md: Any = None


@struct
class mapped_device(Struct):
    """A disk that is made of others, as its table says. One thread needs no locks: the model has none of them.

    map: the live table, or None; read it with dm_get_live_table(). flags: bits DMF_*. type: DM_TYPE_*, set with the
    first table that is loaded, and never changed to another kind. holders: who may still use it; open_count: who has
    it open. table_devices: the block devices that its tables have open. deferred: bios that wait, for `work` in `wq`
    to submit them. bs and io_bs: what clones are from, with room for the targets' data before each. wait: who waits
    for I/O to end; eventq: who waits for event_nr to change. interface_ptr: its cell in the tables of names.
    """

    table_devices: Any = field(default_factory=list_head)
    map: Any = None
    flags: int = 0
    type: int = 0
    numa_node_id: int = 0
    queue: Any = None
    holders: int = 0
    open_count: int = 0
    immutable_target: Any = None
    immutable_target_type: Any = None
    name: str = ""
    disk: Any = None
    work: Any = field(default_factory=work_struct)
    wait: Any = field(default_factory=wait_queue_head)
    deferred: Any = field(default_factory=bio_list)
    interface_ptr: Any = None
    eventq: Any = field(default_factory=wait_queue_head)
    event_nr: int = 0
    uevent_seq: int = 0
    uevent_list: Any = field(default_factory=list_head)
    internal_suspend_count: int = 0
    io_bs: Any = field(default_factory=bio_set)
    bs: Any = field(default_factory=bio_set)
    wq: Any = None
    frozen_sb: Any = None
    geometry: Any = field(default_factory=hd_geometry)
    kobj_holder: Any = field(default_factory=dm_kobject_holder)
    bdev: Any = None
    swap_bios: int = 0
    swap_bios_semaphore: Any = field(default_factory=semaphore)
    tag_set: Any = None
    init_tio_pdu: bool = False
    io_barrier: Any = field(default_factory=srcu_struct)


def dm_get_completion_from_kobject(kobj):
    return kobj._owner.completion
