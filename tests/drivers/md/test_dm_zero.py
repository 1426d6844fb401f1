"""zero: zeroes are read, and what is written is forgotten."""

import pytest

from blkmodel.drivers.md import dm_target, dm_zero
from blkmodel.include.linux import blk_types as ops
from blkmodel.include.linux.blk_types import BLK_STS_IOERR, BLK_STS_NOTSUPP, BLK_STS_OK
from blkmodel.include.linux.device_mapper import target_type
from blkmodel.services.base.err import EEXIST
from tests.drivers.md import control
from tests.drivers.md.ios import IO, read, write
from tests.drivers.md.machine import SECTOR, Machine


def test_reads_and_writes():
    Machine(disks=0)
    control.create("x", "0 64 zero")
    io = write("dm-0", 8, b"x" * 8192)
    again = read("dm-0", 8, 8192, before=None)
    assert (io.ends, io.status, again.ends, again.status) == (1, BLK_STS_OK, 1, BLK_STS_OK)
    assert again.data == bytes(8192)
    assert io.data == b"x" * 8192


def test_a_read_makes_memory_zero():
    Machine(disks=0)
    control.create("x", "0 64 zero")
    io = IO("dm-0", ops.REQ_OP_READ, 0, data=b"y" * 1024)
    assert (io.status, io.data) == (BLK_STS_OK, bytes(1024))


@pytest.mark.parametrize(("op", "status"), [
    (ops.REQ_OP_READ | ops.REQ_RAHEAD, BLK_STS_IOERR), (ops.REQ_OP_READ | ops.REQ_SYNC, BLK_STS_OK),
    (ops.REQ_OP_WRITE | ops.REQ_FUA, BLK_STS_OK), (ops.REQ_OP_DISCARD, BLK_STS_NOTSUPP)])
def test_what_else_there_is(op, status):
    on = Machine(disks=0)
    control.create("x", "0 64 zero")
    io = IO("dm-0", op, 0, **({"sectors": 8} if op == ops.REQ_OP_DISCARD else {"data": b"z" * SECTOR}))
    assert (io.ends, io.status) == (1, status)
    assert on.md().map.targets[0].num_discard_bios == 1


def test_what_it_says_of_itself():
    Machine(disks=0)
    control.create("x", "0 64 zero")
    assert control.status("x") == control.table("x") == "0 64 zero "


def test_loading_it():
    on = Machine(disks=0)
    dm_zero.dm_zero_exit()
    control.create("x")
    assert control.load("x", "0 8 zero") < 0
    other = target_type(name="zero")
    dm_target.dm_register_target(other)
    assert dm_zero.dm_zero_init() == -EEXIST
    assert on.kernel.log[-1] == "device-mapper: zero: register failed -17"
    dm_target.dm_unregister_target(other)
    assert dm_zero.dm_zero_init() == 0
    assert control.load("x", "0 8 zero") == 0
