"""linear: sectors of a device below, from one of them on."""

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel.drivers.md import dm_linear, dm_target
from blkmodel.include.linux import blk_types as ops
from blkmodel.include.linux.bio import bio_sectors
from blkmodel.include.linux.blk_types import BLK_STS_OK
from blkmodel.include.linux.device_mapper import DM_MAPIO_REMAPPED, dm_target as dm_target_struct, target_type
from blkmodel.services.base.err import EEXIST, ENOMEM
from tests.drivers.md import control
from tests.drivers.md.ios import a_bio, read, write
from tests.drivers.md.machine import SECTOR, Machine, noting


def target(on, n=0):
    return on.md().map.targets[n]


def test_a_bio_goes_on_to_the_device_below():
    on = Machine(disks=2)
    control.create("x", "0 16 linear /dev/d0 100\n16 8 linear /dev/d1 3")
    for sector, disk, below in ((0, 0, 100), (15, 0, 115), (16, 1, 3), (23, 1, 10)):
        on.disks[disk].seen.clear()
        data = sector.to_bytes(4, "little") * 128
        io = write("dm-0", sector, data)
        on.advance()
        assert (io.ends, io.status) == (1, BLK_STS_OK)
        assert on.disks[disk].seen == [(ops.REQ_OP_WRITE, below, 1, BLK_STS_OK)]
        assert on.stores[f"d{disk}"][below * SECTOR:(below + 1) * SECTOR] == data
        again = read("dm-0", sector, SECTOR)
        on.advance()
        assert again.data == data
        io.free()
        again.free()


@settings(max_examples=50)
@given(begin=st.integers(0, 1 << 40), start=st.integers(0, (1 << 64) - 1), within=st.integers(0, 1 << 20))
def test_the_sector_below(begin, start, within):
    """Counted from the beginning of the target; numbers wrap as the kernel's do."""
    ti = dm_target_struct(begin=begin, private=dm_linear.linear_c(start=start))
    assert dm_linear.linear_map_sector(ti, begin + within) == (start + within) % (1 << 64)


@pytest.mark.parametrize(("op", "sectors", "moves"), [
    (ops.REQ_OP_WRITE, 2, True), (ops.REQ_OP_DISCARD, 2, True), (ops.REQ_OP_FLUSH, 0, False),
    (ops.REQ_OP_WRITE | ops.REQ_PREFLUSH, 0, False), (ops.REQ_OP_ZONE_RESET, 0, True)])
def test_a_bio_without_sectors_stays_where_it_is(op, sectors, moves):
    """A flush is for the whole device. Resetting a zone has no size, but a place."""
    on = Machine(disks=1)
    control.create("x", "0 8 zero\n8 16 linear /dev/d0 100")
    bio = a_bio(op, 10, sectors)
    assert dm_linear.linear_map(target(on, 1), bio) == DM_MAPIO_REMAPPED
    assert bio.bi_disk is on.disks[0].disk
    assert bio.bi_iter.bi_sector == (102 if moves else 10)
    assert bio_sectors(bio) == sectors


def test_what_it_says_of_itself():
    on = Machine(disks=1)
    control.create("x", "0 8 linear /dev/d0 00100")
    assert control.status("x") == "0 8 linear "
    assert control.table("x") == "0 8 linear 240:0 100"
    ti = target(on)
    assert (ti.num_flush_bios, ti.num_discard_bios, ti.num_secure_erase_bios, ti.num_write_same_bios,
            ti.num_write_zeroes_bios) == (1, 1, 1, 1, 1)
    asked: list[tuple] = []
    assert dm_linear.linear_iterate_devices(ti, noting(asked, 5), "data") == 5
    assert asked == [(ti, ti.private.dev, 100, 8, "data")]


@pytest.mark.parametrize(("table", "part"), [("0 192 linear /dev/d0 0", 0), ("0 191 linear /dev/d0 0", 1),
                                             ("0 191 linear /dev/d0 1", 1)])
def test_who_answers_ioctls(table, part):
    on = Machine(disks=1)
    control.create("x", table)
    assert dm_linear.linear_prepare_ioctl(target(on)) == (part, target(on).private.dev.bdev)
    assert target(on).private.dev.bdev.bd_disk is on.disks[0].disk


def test_no_memory():
    on = Machine(disks=1)
    control.create("x")
    on.kernel.memory.fail_if(lambda kind, size: kind == "linear_c")
    assert control.load("x", "0 8 linear /dev/d0 0") == -ENOMEM
    on.kernel.memory.fail_never()
    assert "device-mapper: table: 254:0: linear: Cannot allocate linear context" in on.kernel.log
    assert control.load("x", "0 8 linear /dev/d0 0") == 0


def test_the_name_may_be_taken():
    on = Machine(disks=0)
    dm_linear.dm_linear_exit()
    other = target_type(name="linear")
    dm_target.dm_register_target(other)
    assert dm_linear.dm_linear_init() == -EEXIST
    assert on.kernel.log[-1] == "device-mapper: linear: register failed -17"
    dm_target.dm_unregister_target(other)
    assert dm_linear.dm_linear_init() == 0
