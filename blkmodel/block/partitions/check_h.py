"""Scanning for partitions: what block/partitions/check.h declares."""

from dataclasses import field

from blkmodel.block import partition_generic
from blkmodel.include.linux.fs import block_device
from blkmodel.include.linux.genhd import get_capacity, partition_meta_info
from blkmodel.services import page
from blkmodel.sim import NULL, Array, Struct


class parsed_partition(Struct, size=128):
    """A partition that was found: its first sector and how many there are. (In C it has no name of its own, and the
    first is called `from`.)"""

    start: int = 0
    size: int = 0
    info: partition_meta_info = field(default_factory=partition_meta_info)


class parsed_partitions(Struct, size=72):
    """What a scan has found: up to `limit` partitions, None where there is none, and the line for the log. `name` is
    what their numbers stand behind there; `_pp_buf` is the page that C writes the line into."""

    bdev: block_device = NULL
    name: str = ""
    parts: Array = NULL
    next: int = 0
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


def put_partition(p: parsed_partitions, n: int, start: int, size: int) -> None:
    """Note a partition, if there can be one of that number."""
    if n < p.limit:
        p.parts[n] = parsed_partition(start, size)
        p.pp_buf += f" {p.name}{n}"
