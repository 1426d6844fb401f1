"""Path selectors: the code that chooses down which path an I/O goes."""

from typing import Any

from blkmodel.sim.structure import Struct, struct


@struct
class path_selector(Struct):
    """A selector at work for one group of paths; `context` is its own."""

    type: Any = None
    context: Any = None


@struct
class path_selector_type(Struct):
    """What a selector can do. table_args, info_args: how many words of a table, or of a status, it has for each path.

    create(ps, argv), destroy(ps), add_path(ps, path, argv), which returns (0 or -errno, the error's words or None),
    select_path(ps, nr_bytes), which returns a path or None, fail_path(ps, path), reinstate_path(ps, path),
    status(ps, path or None, type), which returns a text, start_io(ps, path, nr_bytes), end_io(ps, path, nr_bytes).
    """

    SIZE = 96
    name: str = ""
    module: Any = None
    table_args: int = 0
    info_args: int = 0
    create: Any = None
    destroy: Any = None
    add_path: Any = None
    select_path: Any = None
    fail_path: Any = None
    reinstate_path: Any = None
    status: Any = None
    start_io: Any = None
    end_io: Any = None
