"""Which types of target there are, and one that is always there: error, which fails all I/O."""

from collections.abc import Callable
from typing import Any

from blkmodel.include.linux.blkdev import bio, request
from blkmodel.include.linux.device_mapper import (DM_MAPIO_KILL, DM_TARGET_WILDCARD, DMCRIT, dm_target, map_info,
    target_type)
from blkmodel.reference.omission import no_chapter
from blkmodel.services import BUG_ON, EEXIST, module_put, request_module, try_module_get
from blkmodel.sim import NULL, statics

DM_MSG_PREFIX = "target"
OMITTED = no_chapter("io_err_dax_direct_access")


class variables(statics):
    """_targets: the types that are registered, the newest first. (In C the types themselves are linked; but a type of
    the model belongs to no one kernel.)"""

    def __init__(self) -> None:
        self._targets: list[target_type] = []


def __find_target_type(name: str) -> target_type:
    """Return the registered type of that name, or None."""
    return next((tt for tt in variables()._targets if tt.name == name), NULL)


def get_target_type(name: str) -> target_type:
    """The type of that name, with its module held, or None."""
    if (tt := __find_target_type(name)) is not None and not try_module_get(tt.module):
        tt = NULL
    return tt


def load_module(name: str) -> None:
    """Ask for the module that has the type of that name, dm-NAME."""
    request_module(f"dm-{name}")


def dm_get_target_type(name: str) -> target_type:
    """The type of that name, whose module is loaded where it has to be; None where there is none."""
    if (tt := get_target_type(name)) is None:
        load_module(name)
        tt = get_target_type(name)
    return tt


def dm_put_target_type(tt: target_type) -> None:
    """Let go of a type's module, which dm_get_target_type() held."""
    module_put(tt.module)


def dm_target_iterate(iter_func: Callable[[target_type, Any], None], param: Any) -> int:
    """Call iter_func(type, param) for every type, the newest first."""
    for tt in variables()._targets:
        iter_func(tt, param)
    return 0


def dm_register_target(tt: target_type) -> int:
    """Make a type known. Returns 0, or -EEXIST where another has its name."""
    if __find_target_type(tt.name) is not None:
        return -EEXIST
    variables()._targets.insert(0, tt)
    return 0


def dm_unregister_target(tt: target_type) -> None:
    """Take a type off the list; it must be on it."""
    if __find_target_type(tt.name) is None:
        DMCRIT(f"Unregistering unrecognised target: {tt.name}")
        BUG_ON(True, "a target type that nobody registered")
    variables()._targets.remove(tt)


def io_err_ctr(tt: dm_target, argc: int, args: list[str]) -> int:
    """Make an error target. It takes discards too, so that they fail as other I/O does."""
    tt.num_discard_bios = 1
    return 0


def io_err_dtr(tt: dm_target) -> None:
    """Undo io_err_ctr(): there is nothing to free."""


def io_err_map(tt: dm_target, bio: bio) -> int:
    """Fail a bio. Returns DM_MAPIO_KILL."""
    return DM_MAPIO_KILL


def io_err_clone_and_map_rq(ti: dm_target, rq: request, map_context: map_info) -> tuple[int, request]:
    """Fail a request. Returns (DM_MAPIO_KILL, None)."""
    return DM_MAPIO_KILL, NULL


def io_err_release_clone_rq(clone: request, map_context: map_info) -> None:
    """Free the clone of a request: there is none."""


error_target = target_type(name="error", version=(1, 5, 0), features=DM_TARGET_WILDCARD, ctr=io_err_ctr,
                           dtr=io_err_dtr, map=io_err_map, clone_and_map_rq=io_err_clone_and_map_rq,
                           release_clone_rq=io_err_release_clone_rq)


def dm_target_init() -> int:
    """Register the type `error`, which is always there. Returns 0 or -EEXIST."""
    return dm_register_target(error_target)


def dm_target_exit() -> None:
    """Unregister the type `error`."""
    dm_unregister_target(error_target)
