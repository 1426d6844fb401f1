"""What drivers/md/dm.h declares: flags of suspending and of status, and the devices of a table."""

from typing import Any

from blkmodel.sim.structure import Struct, struct

DM_SUSPEND_LOCKFS_FLAG, DM_SUSPEND_NOFLUSH_FLAG = 1 << 0, 1 << 1
DM_STATUS_NOFLUSH_FLAG = 1 << 0


@struct
class dm_dev_internal(Struct):
    """A device of a table, which the table's targets use count times."""

    list: Any = None
    count: int = 0
    dm_dev: Any = None


def dm_target_bio_based(ti):
    return ti.type.map is not None


def dm_target_request_based(ti):
    return ti.type.clone_and_map_rq is not None


def dm_target_hybrid(ti):
    """Whether a target takes bios or requests, as its table wants."""
    return dm_target_bio_based(ti) and dm_target_request_based(ti)
