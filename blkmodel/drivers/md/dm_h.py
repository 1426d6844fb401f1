"""What drivers/md/dm.h declares: flags of suspending and of status, and the devices of a table."""

from blkmodel.include.linux.device_mapper import DMERR, dm_dev as dm_dev_struct, dm_target
from blkmodel.services import EINVAL, list_head
from blkmodel.sim import NULL, Struct

DM_SUSPEND_LOCKFS_FLAG, DM_SUSPEND_NOFLUSH_FLAG, DM_STATUS_NOFLUSH_FLAG = 1 << 0, 1 << 1, 1 << 0


class dm_dev_internal(Struct):
    """A device of a table, which the table's targets use count times."""

    list: list_head = NULL
    count: int = 0
    dm_dev: dm_dev_struct = NULL


def dm_target_bio_based(ti: dm_target) -> bool:
    """Return whether the target can map bios."""
    return ti.type.map is not None


def dm_target_request_based(ti: dm_target) -> bool:
    """Return whether the target can map requests."""
    return ti.type.clone_and_map_rq is not None


def dm_target_hybrid(ti: dm_target) -> bool:
    """Whether a target takes bios or requests, as its table wants."""
    return dm_target_bio_based(ti) and dm_target_request_based(ti)


def invalid(ti: dm_target, error: str, errno: int = -EINVAL) -> int:
    """Say in a target's `error` why it can't be made: what is wrong with its arguments. Returns errno."""
    ti.error = error
    return errno


def refused(line: str, errno: int = -EINVAL, depth: int = 1) -> int:
    """Say in the log, as DMERR() does, why something is not done. Returns errno."""
    DMERR(line, depth + 1)
    return errno


def registered(r: int) -> int:
    """Say in the log that a module's target type could not be registered, if r is -errno. Returns r."""
    return refused(f"register failed {r}", r, depth=2) if r < 0 else r
