"""Partitions that go."""

import pytest

from blkmodel import boot
from blkmodel.block import partition_generic
from blkmodel.include.linux.genhd import hd_struct_get, hd_struct_put, part_stat_read
from tests.fs.test_block_dev import Ram, open_part


@pytest.mark.parametrize("in_use", [False, True])
def test_a_partition_lives_until_io_on_it_has_ended(in_use):
    kernel = boot(2)
    ram = Ram(kernel).add()
    part = open_part(ram.disk)
    part.dkstats[1].ios[0] = 3
    references = part._dev.kobj.refcount
    if in_use:
        hd_struct_get(part)
    kernel.task("partx", partition_generic.delete_partition, ram.disk, 1)
    assert ram.disk.part_tbl.part[1] is None
    if in_use:
        assert (part.start_sect, part.nr_sects, part_stat_read(part, "ios", 0)) == (2048, 1024, 3)
        assert part._dev.kobj.refcount == references
        hd_struct_put(part)
        kernel.loop.run_due()
    assert (part.start_sect, part.nr_sects, part_stat_read(part, "ios", 0)) == (0, 0, 0)
    assert part._dev.kobj.refcount == references - 1
