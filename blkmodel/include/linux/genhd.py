"""Disks and their partitions."""

from dataclasses import field
from typing import Any

from blkmodel.sim.structure import Struct, struct

DISK_MAX_PARTS = 256
DISK_NAME_LEN = 32
GENHD_FL_REMOVABLE, GENHD_FL_MEDIA_CHANGE_NOTIFY, GENHD_FL_CD, GENHD_FL_UP = 1, 4, 8, 16
GENHD_FL_SUPPRESS_PARTITION_INFO, GENHD_FL_EXT_DEVT = 32, 64
GENHD_FL_NATIVE_CAPACITY, GENHD_FL_BLOCK_EVENTS_ON_EXCL_WRITE, GENHD_FL_NO_PART_SCAN = 128, 256, 512
GENHD_FL_HIDDEN = 1024
DISK_EVENT_MEDIA_CHANGE, DISK_EVENT_EJECT_REQUEST = 1, 2


@struct
class hd_struct(Struct):
    """A partition, or (number 0) the whole disk. Sectors are of 512 bytes; `_dev` is C's `__dev`, the device."""

    start_sect: int = 0
    nr_sects: int = 0
    alignment_offset: int = 0
    discard_alignment: int = 0
    _dev: Any = None
    holder_dir: Any = None
    policy: int = 0
    partno: int = 0
    info: Any = None
    stamp: int = 0
    dkstats: Any = None
    ref: Any = None


@struct
class gendisk(Struct):
    """A disk: its name and numbers, its partitions (part0 is the whole of it) and the queue that serves it."""

    major: int = 0
    first_minor: int = 0
    minors: int = 0
    disk_name: str = ""
    devnode: Any = None
    events: int = 0
    event_flags: int = 0
    part_tbl: Any = None
    part0: Any = field(default_factory=hd_struct)
    fops: Any = None
    queue: Any = None
    private_data: Any = None
    flags: int = 0
    slave_dir: Any = None
    ev: Any = None
    node_id: int = 0
