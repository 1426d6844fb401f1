"""Round robin: each I/O goes down the path that was used longest ago."""

from dataclasses import field

from blkmodel.drivers.md import dm_path_selector
from blkmodel.drivers.md.dm_mpath_h import dm_path
from blkmodel.drivers.md.dm_path_selector_h import path_selector, path_selector_type
from blkmodel.include.linux.device_mapper import DMERR, DMINFO, DMWARN_LIMIT, STATUSTYPE_TABLE
from blkmodel.services import (EINVAL, ENOMEM, GFP_KERNEL, THIS_MODULE, kfree, kzalloc, list_add_tail, list_del_init,
    list_empty, list_first_entry, list_head, list_move, list_move_tail, ratelimit_state, sscanf)
from blkmodel.sim import NULL, Struct, statics

DM_MSG_PREFIX, RR_MIN_IO, RR_VERSION = "multipath round-robin", 1, "1.2.0"


class path_info(Struct):
    """A path's place in line."""

    list: list_head = NULL
    path: dm_path = NULL
    repeat_count: int = 0


class selector(Struct):
    """The paths of one group: those that can be used, in the order of their turns, and those that failed."""

    valid_paths: list_head = field(default_factory=list_head)
    invalid_paths: list_head = field(default_factory=list_head)


class variables(statics):
    """How often the module has warned of repeat counts."""

    def __init__(self) -> None:
        self.repeat_count_limit = ratelimit_state()


def free_paths(paths: list_head) -> None:
    """Take all paths off a list, and free what is kept of each."""
    for pi in paths:
        list_del_init(pi, "list")
        kfree(pi)


def alloc_selector() -> selector:
    """Allocate a selector without paths. Returns None when memory runs out."""
    return kzalloc(selector, GFP_KERNEL)


def rr_create(ps: path_selector, argv: list[str]) -> int:
    """Begin with a group. Arguments are not looked at. Returns 0 or -ENOMEM."""
    if (s := alloc_selector()) is None:
        return -ENOMEM
    ps.context = s
    return 0


def rr_destroy(ps: path_selector) -> None:
    """Free the selector of a group, with what it keeps of each path."""
    s = ps.context
    free_paths(s.valid_paths)
    free_paths(s.invalid_paths)
    kfree(s)
    ps.context = NULL


def rr_status(ps: path_selector, path: dm_path | None, type: int) -> str:
    """What a status or a table says of a path, or (None) of the selector: its repeat count, in the table."""
    if path is None:
        return "0 "
    return f"{path.pscontext.repeat_count} " if type == STATUSTYPE_TABLE else ""


def rr_add_path(ps: path_selector, path: dm_path, argv: list[str]) -> tuple[int, str]:
    """Add a path at the end of the line; its argument, if any, was the number of I/Os in a row, which now is 1.

    Returns (0, None) or (-errno, words).
    """
    s, repeat_count = ps.context, RR_MIN_IO
    if len(argv) > 1:
        return -EINVAL, "round-robin ps: incorrect number of arguments"
    if len(argv) == 1:
        found = sscanf(argv[0], "%u%c")
        if len(found) != 1:
            return -EINVAL, "round-robin ps: invalid repeat count"
        repeat_count = found[0]
    if repeat_count > 1:
        DMWARN_LIMIT(variables().repeat_count_limit, "rr_add_path", "repeat_count > 1 is deprecated, using 1 instead")
        repeat_count = 1

    if (pi := kzalloc(path_info, GFP_KERNEL)) is None:
        return -ENOMEM, "round-robin ps: Error allocating path context"
    pi.path, pi.repeat_count = path, repeat_count
    path.pscontext = pi
    list_add_tail(pi, s.valid_paths, "list")
    return 0, NULL


def rr_fail_path(ps: path_selector, p: dm_path) -> None:
    """Put a path with those that may not be used."""
    list_move(p.pscontext, ps.context.invalid_paths, "list")


def rr_reinstate_path(ps: path_selector, p: dm_path) -> int:
    """A path can be used again: it is the next one. Returns 0."""
    list_move(p.pscontext, ps.context.valid_paths, "list")
    return 0


def rr_select_path(ps: path_selector, nr_bytes: int) -> dm_path:
    """The path for an I/O, which goes to the end of the line; None where there is none."""
    s = ps.context
    if list_empty(s.valid_paths):
        return NULL
    pi = list_first_entry(s.valid_paths)
    list_move_tail(pi, s.valid_paths, "list")
    return pi.path


rr_ps = path_selector_type(name="round-robin", module=THIS_MODULE, table_args=1, info_args=0, create=rr_create,
                           destroy=rr_destroy, status=rr_status, add_path=rr_add_path, fail_path=rr_fail_path,
                           reinstate_path=rr_reinstate_path, select_path=rr_select_path)


def dm_rr_init() -> int:
    """Load the module: register the path selector. Returns 0 or -errno."""
    if (r := dm_path_selector.dm_register_path_selector(rr_ps)) < 0:
        DMERR(f"register failed {r}")
    DMINFO(f"version {RR_VERSION} loaded")
    return r


def dm_rr_exit() -> None:
    """Unload the module: unregister the path selector."""
    if (r := dm_path_selector.dm_unregister_path_selector(rr_ps)) < 0:
        DMERR(f"unregister failed {r}")
