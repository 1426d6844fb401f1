"""The geometry of a disk, as it was once counted (include/linux/hdreg.h)."""

from blkmodel.sim import Struct

HDIO_GETGEO = 0x301


class hd_geometry(Struct, size=16):
    """So many cylinders of so many heads (tracks) of so many sectors; start: the first sector, of 512 bytes."""

    heads: int = 0
    sectors: int = 0
    cylinders: int = 0
    start: int = 0
