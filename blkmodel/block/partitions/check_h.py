"""Scanning for partitions: what block/partitions/check.h declares."""

from dataclasses import field
from typing import Any

from blkmodel.block import partition_generic
from blkmodel.include.linux.genhd import get_capacity
from blkmodel.sim.structure import Struct, struct

PARSED_PARTITION_SIZE = 128


@struct
class parsed_partitions(Struct):
    """What a scan has found: up to `limit` partitions, and the line for the log. `_pp_buf` is the page that C writes
    the line into."""

    SIZE = 72
    bdev: Any = None
    name: str = ""
    parts: Any = field(default_factory=list)
    limit: int = 0
    access_beyond_eod: bool = False
    pp_buf: str = ""
    _pp_buf: Any = None


def read_part_sector(state, n):
    """Sector n of the disk that is scanned. Returns (its bytes, the page, held); (None, None) on failure."""
    if n >= get_capacity(state.bdev.bd_disk):
        state.access_beyond_eod = True
        return None, None
    return partition_generic.read_dev_sector(state.bdev, n)
