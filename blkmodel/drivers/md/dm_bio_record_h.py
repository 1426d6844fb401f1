"""What a bio was like before it went down, so that it can be sent again."""

from typing import Any

from blkmodel.include.linux.bio import copy_of
from blkmodel.sim.structure import Struct, struct


@struct
class dm_bio_details(Struct):
    """What the layers below change in a bio. `_bi_remaining` is C's `__bi_remaining`."""

    SIZE = 56
    bi_disk: Any = None
    bi_partno: int = 0
    _bi_remaining: int = 0
    bi_flags: int = 0
    bi_iter: Any = None
    bi_end_io: Any = None


def dm_bio_record(bd, bio):
    bd.bi_disk = bio.bi_disk
    bd.bi_partno = bio.bi_partno
    bd.bi_flags = bio.bi_flags
    bd.bi_iter = copy_of(bio.bi_iter)
    bd._bi_remaining = bio._bi_remaining
    bd.bi_end_io = bio.bi_end_io


def dm_bio_restore(bd, bio):
    bio.bi_disk = bd.bi_disk
    bio.bi_partno = bd.bi_partno
    bio.bi_flags = bd.bi_flags
    bio.bi_iter = copy_of(bd.bi_iter)
    bio._bi_remaining = bd._bi_remaining
    bio.bi_end_io = bd.bi_end_io
