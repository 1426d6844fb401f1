"""Paths, as multipath and the path selectors know them."""

from typing import Any

from blkmodel.sim.structure import Struct, struct


@struct
class dm_path(Struct):
    """A path: the device it leads to, and what the path selector keeps of it. _owner is the pgpath that it is in."""

    dev: Any = None
    pscontext: Any = None
    _owner: Any = None
