"""Scanning for partitions: what block/partitions/check.h declares."""

from dataclasses import field

from blkmodel.block import partition_generic
from blkmodel.include.linux.fs import block_device
from blkmodel.include.linux.genhd import get_capacity
from blkmodel.services.memory.mm import page
from blkmodel.sim.structure import NULL, Struct, struct

PARSED_PARTITION_SIZE = 128


@struct
class parsed_partitions(Struct):
    """What a scan has found: up to `limit` partitions, and the line for the log. `_pp_buf` is the page that C writes
    the line into."""

    SIZE = 72
    bdev: block_device = NULL
    name: str = ""
    parts: list[int] = field(default_factory=list)
    limit: int = 0
    access_beyond_eod: bool = False
    pp_buf: str = ""
    _pp_buf: page = NULL


def read_part_sector(state: parsed_partitions, n: int) -> tuple[bytes, page]:
    """Sector n of the disk that is scanned. Returns (its bytes, the page, held); (None, None) on failure."""
    if n >= get_capacity(state.bdev.bd_disk):
        state.access_beyond_eod = True
        return NULL, NULL
    return partition_generic.read_dev_sector(state.bdev, n)
