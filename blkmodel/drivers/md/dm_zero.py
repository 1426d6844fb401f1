"""zero: a target of which zeroes are read, and that forgets what is written."""

from blkmodel.block import bio as bio_module
from blkmodel.drivers.md.dm_h import invalid, registered
from blkmodel.drivers.md.dm_target import dm_register_target, dm_unregister_target
from blkmodel.include.linux.bio import REQ_OP_READ, REQ_OP_WRITE, REQ_RAHEAD, bio, bio_op, zero_fill_bio
from blkmodel.include.linux.device_mapper import DM_MAPIO_KILL, DM_MAPIO_SUBMITTED, dm_target, target_type

DM_MSG_PREFIX = "zero"


def zero_ctr(ti: dm_target, argc: int, argv: list[str]) -> int:
    """Make a target; it takes no arguments. Returns 0 or -EINVAL."""
    if argc != 0:
        return invalid(ti, "No arguments required")
    ti.num_discard_bios = 1  # so that there is an answer to one; it fails all the same
    return 0


def zero_map(ti: dm_target, bio: bio) -> int:
    """End a read with zeroes, and a write with nothing; anything else fails, and so does reading ahead."""
    if (op := bio_op(bio)) == REQ_OP_READ:
        if bio.bi_opf & REQ_RAHEAD:
            return DM_MAPIO_KILL
        zero_fill_bio(bio)
    elif op != REQ_OP_WRITE:
        return DM_MAPIO_KILL
    bio_module.bio_endio(bio)
    return DM_MAPIO_SUBMITTED


zero_target = target_type(name="zero", version=(1, 1, 0), ctr=zero_ctr, map=zero_map)


def dm_zero_init() -> int:
    """Load the module: register the target type. Returns 0 or -errno."""
    return registered(dm_register_target(zero_target))


def dm_zero_exit() -> None:
    """Unload the module: unregister the target type."""
    dm_unregister_target(zero_target)
