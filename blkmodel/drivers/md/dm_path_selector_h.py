"""Path selectors: the code that chooses down which path an I/O goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from blkmodel.drivers.md.dm_mpath_h import dm_path
from blkmodel.sim import NULL, Struct


class path_selector(Struct):
    """A selector at work for one group of paths; `context` is its own."""

    type: path_selector_type = NULL
    context: Any = NULL


class path_selector_type(Struct, size=96):
    """What a selector can do. table_args, info_args: how many words of a table, or of a status, it has for each path.

    create(ps, argv), destroy(ps), add_path(ps, path, argv), which returns (0 or -errno, the error's words or None),
    select_path(ps, nr_bytes), which returns a path or None, fail_path(ps, path), reinstate_path(ps, path),
    status(ps, path or None, type), which returns a text, start_io(ps, path, nr_bytes), end_io(ps, path, nr_bytes).
    """

    name: str = ""
    module: Any = NULL
    table_args: int = 0
    info_args: int = 0
    create: Callable[[path_selector, list[str]], int] = NULL
    destroy: Callable[[path_selector], None] = NULL
    add_path: Callable[[path_selector, dm_path, list[str]], tuple[int, str]] = NULL
    select_path: Callable[[path_selector, int], dm_path] = NULL
    fail_path: Callable[[path_selector, dm_path], None] = NULL
    reinstate_path: Callable[[path_selector, dm_path], int] = NULL
    status: Callable[[path_selector, dm_path | None, int], str] = NULL
    start_io: Callable[[path_selector, dm_path, int], int] = NULL
    end_io: Callable[[path_selector, dm_path, int], int] = NULL
