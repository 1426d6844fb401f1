"""Paths, as multipath and the path selectors know them."""

from typing import Any

from blkmodel.include.linux.device_mapper import dm_dev
from blkmodel.sim import NULL, Struct


class dm_path(Struct):
    """A path: the device it leads to, and what the path selector keeps of it. _owner is the pgpath that it is in."""

    dev: dm_dev = NULL
    pscontext: Any = NULL
    _owner: Any = NULL
