"""Service time: each I/O goes down the path that is expected to end it first.

That is the one with the fewest bytes under way for what it can carry. The reference kernel is built without this
module; its structures are known from the source alone.
"""

from dataclasses import field

from blkmodel.drivers.md import dm_path_selector
from blkmodel.drivers.md.dm_mpath_h import dm_path
from blkmodel.drivers.md.dm_path_selector_h import path_selector, path_selector_type
from blkmodel.include.linux.device_mapper import DMERR, DMINFO, DMWARN_LIMIT, STATUSTYPE_INFO, STATUSTYPE_TABLE
from blkmodel.services import (EINVAL, ENOMEM, GFP_KERNEL, THIS_MODULE, kfree, kzalloc, list_add_tail, list_del_init,
    list_head, list_move, list_move_tail, ratelimit_state, signed_int, sscanf, unsigned_long)
from blkmodel.sim import NULL, Struct, statics

DM_MSG_PREFIX, ST_MIN_IO, ST_MAX_RELATIVE_THROUGHPUT = "multipath service-time", 1, 100
ST_MAX_RELATIVE_THROUGHPUT_SHIFT = 7
ST_MAX_INFLIGHT_SIZE, ST_VERSION = (1 << 64) - 1 >> ST_MAX_RELATIVE_THROUGHPUT_SHIFT, "0.3.0"


class selector(Struct, size=40):
    """The paths of one group: those that can be used, the one used last at the end, and those that failed."""

    valid_paths: list_head = field(default_factory=list_head)
    failed_paths: list_head = field(default_factory=list_head)


class path_info(Struct, size=40):
    """A path: what it can carry, relative to the others, and the bytes of all I/Os that are under way on it."""

    list: list_head = NULL
    path: dm_path = NULL
    repeat_count: int = 0
    relative_throughput: int = 0
    in_flight_size: int = 0


class variables(statics):
    """How often the module has warned of repeat counts."""

    def __init__(self) -> None:
        self.repeat_count_limit = ratelimit_state()


def alloc_selector() -> selector:
    """Allocate a selector without paths. Returns None when memory runs out."""
    return kzalloc(selector, GFP_KERNEL)


def st_create(ps: path_selector, argv: list[str]) -> int:
    """Begin with a group. Arguments are not looked at. Returns 0 or -ENOMEM."""
    if (s := alloc_selector()) is None:
        return -ENOMEM
    ps.context = s
    return 0


def free_paths(paths: list_head) -> None:
    """Take all paths off a list, and free what is kept of each."""
    for pi in paths:
        list_del_init(pi, "list")
        kfree(pi)


def st_destroy(ps: path_selector) -> None:
    """Free the selector of a group, with what it keeps of each path."""
    s = ps.context
    free_paths(s.valid_paths)
    free_paths(s.failed_paths)
    kfree(s)
    ps.context = NULL


def st_status(ps: path_selector, path: dm_path | None, type: int) -> str:
    """What a status or a table says of a path, or (None) of the selector."""
    if path is None:
        return "0 "
    pi = path.pscontext
    if type == STATUSTYPE_INFO:
        return f"{signed_int(pi.in_flight_size)} {pi.relative_throughput} "
    return f"{pi.repeat_count} {pi.relative_throughput} " if type == STATUSTYPE_TABLE else ""


def st_add_path(ps: path_selector, path: dm_path, argv: list[str]) -> tuple[int, str]:
    """Add a path. Arguments: [repeat count, which now is 1 [relative throughput: 0 to 100, by default 1]].

    A path of throughput 0 is used only while no other can be. Returns (0, None) or (-errno, words).
    """
    s, repeat_count, relative_throughput = ps.context, ST_MIN_IO, 1
    if len(argv) > 2:
        return -EINVAL, "service-time ps: incorrect number of arguments"
    if argv:
        found = sscanf(argv[0], "%u%c")
        if len(found) != 1:
            return -EINVAL, "service-time ps: invalid repeat count"
        repeat_count = found[0]
    if repeat_count > 1:
        DMWARN_LIMIT(variables().repeat_count_limit, "st_add_path", "repeat_count > 1 is deprecated, using 1 instead")
        repeat_count = 1
    if len(argv) == 2:
        found = sscanf(argv[1], "%u%c")
        if len(found) != 1 or found[0] > ST_MAX_RELATIVE_THROUGHPUT:
            return -EINVAL, "service-time ps: invalid relative_throughput value"
        relative_throughput = found[0]

    if (pi := kzalloc(path_info, GFP_KERNEL)) is None:
        return -ENOMEM, "service-time ps: Error allocating path context"
    pi.path, pi.repeat_count, pi.relative_throughput = path, repeat_count, relative_throughput
    path.pscontext = pi
    list_add_tail(pi, s.valid_paths, "list")
    return 0, NULL


def st_fail_path(ps: path_selector, path: dm_path) -> None:
    """Put a path with those that may not be used."""
    list_move(path.pscontext, ps.context.failed_paths, "list")


def st_reinstate_path(ps: path_selector, path: dm_path) -> int:
    """Put a path with those that may be used, behind them. Returns 0."""
    list_move_tail(path.pscontext, ps.context.valid_paths, "list")
    return 0


def st_compare_load(pi1: path_info, pi2: path_info, incoming: int) -> int:
    """Compare two paths for an I/O of so many bytes: below 0 the first is better, above 0 the second, 0: as good."""
    # 5.4: differences of sizes are cut to an int, which can turn the answer round from 2 GiB under way on
    sz1 = unsigned_long(signed_int(pi1.in_flight_size))
    sz2 = unsigned_long(signed_int(pi2.in_flight_size))
    if pi1.relative_throughput == pi2.relative_throughput:
        return signed_int(sz1 - sz2)
    if sz1 == sz2 or not pi1.relative_throughput or not pi2.relative_throughput:
        return pi2.relative_throughput - pi1.relative_throughput

    # (sz1 + incoming) / throughput1 against (sz2 + incoming) / throughput2, without dividing
    sz1, sz2 = unsigned_long(sz1 + incoming), unsigned_long(sz2 + incoming)
    if sz1 >= ST_MAX_INFLIGHT_SIZE or sz2 >= ST_MAX_INFLIGHT_SIZE:
        sz1 >>= ST_MAX_RELATIVE_THROUGHPUT_SHIFT
        sz2 >>= ST_MAX_RELATIVE_THROUGHPUT_SHIFT
    st1 = unsigned_long(sz1 * pi2.relative_throughput)
    st2 = unsigned_long(sz2 * pi1.relative_throughput)
    return signed_int(st1 - st2) if st1 != st2 else pi2.relative_throughput - pi1.relative_throughput


def st_select_path(ps: path_selector, nr_bytes: int) -> dm_path:
    """The best path for an I/O of so many bytes, of equals the one used longest ago; None where there is none."""
    s, best = ps.context, NULL
    for pi in s.valid_paths:
        if best is None or st_compare_load(pi, best, nr_bytes) < 0:
            best = pi
    if best is None:
        return NULL
    list_move_tail(best, s.valid_paths, "list")
    return best.path


def st_start_io(ps: path_selector, path: dm_path, nr_bytes: int) -> int:
    """Count the bytes of an I/O that goes down a path. Returns 0."""
    path.pscontext.in_flight_size += nr_bytes
    return 0


def st_end_io(ps: path_selector, path: dm_path, nr_bytes: int) -> int:
    """Count the bytes of an I/O off its path, as it has ended. Returns 0."""
    path.pscontext.in_flight_size -= nr_bytes
    return 0


st_ps = path_selector_type(
    name="service-time", module=THIS_MODULE, table_args=2, info_args=2, create=st_create, destroy=st_destroy,
    status=st_status, add_path=st_add_path, fail_path=st_fail_path, reinstate_path=st_reinstate_path,
    select_path=st_select_path, start_io=st_start_io, end_io=st_end_io)


def dm_st_init() -> int:
    """Load the module: register the path selector. Returns 0 or -errno."""
    if (r := dm_path_selector.dm_register_path_selector(st_ps)) < 0:
        DMERR(f"register failed {r}")
    DMINFO(f"version {ST_VERSION} loaded")
    return r


def dm_st_exit() -> None:
    """Unload the module: unregister the path selector."""
    if (r := dm_path_selector.dm_unregister_path_selector(st_ps)) < 0:
        DMERR(f"unregister failed {r}")
