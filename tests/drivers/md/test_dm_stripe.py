"""striped: sectors spread over devices, chunk by chunk; where they are, and what becomes of errors."""

import pytest
from hypothesis import given, strategies as st

from blkmodel.drivers.md import dm, dm_stripe, dm_target
from blkmodel.include.linux import blk_types as ops
from blkmodel.include.linux.blk_types import BLK_STS_IOERR, BLK_STS_NOTSUPP, BLK_STS_OK
from blkmodel.include.linux.blkdev import queue_limits
from blkmodel.include.linux.device_mapper import (DM_ENDIO_DONE, DM_MAPIO_REMAPPED, DM_MAPIO_SUBMITTED,
    dm_target as dm_target_struct, target_type)
from blkmodel.services.base.err import EEXIST, EINVAL, ENOMEM
from tests.drivers.md import control
from tests.drivers.md.ios import a_bio, read, write
from tests.drivers.md.machine import SECTOR, Machine, noting

TWO = "0 32 striped 2 8 /dev/d0 16 /dev/d1 0"


def target(on, n=0):
    return on.md().map.targets[n]


def context(stripes, chunk_size, begin=0):
    """What a striped target keeps, as far as it says where sectors are."""
    on = Machine(disks=1)
    rows = 4
    control.create("x")
    disk = "/dev/d0 0 "
    table = f"{begin} {stripes * chunk_size * rows} striped {stripes} {chunk_size} {disk * stripes}"
    assert control.create("y", (f"0 {begin} zero\n" if begin else "") + table) == 0
    return on.md("dm-1").map.targets[bool(begin)].private


@pytest.mark.parametrize("stripes", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("chunk_size", [1, 3, 8])
@pytest.mark.parametrize("begin", [0, 7])
def test_where_each_sector_is(stripes, chunk_size, begin):
    """Chunks are dealt out like cards; whatever is a power of two or not."""
    sc = context(stripes, chunk_size, begin)
    at = 0
    for row in range(4):
        for stripe in range(stripes):
            for offset in range(chunk_size):
                assert dm_stripe.stripe_map_sector(sc, begin + at) == (stripe, row * chunk_size + offset)
                at += 1
    for stripe in range(stripes):
        where = [n for n in range(at) if dm_stripe.stripe_map_sector(sc, begin + n)[0] == stripe]
        for sector in range(at):  # the first one of the stripe that is not before it
            first = sum(n < sector for n in where)
            assert dm_stripe.stripe_map_range_sector(sc, begin + sector, stripe) == first


@given(stripes=st.integers(1, 40), chunk_size=st.integers(1, 1 << 31), sector=st.integers(0, 1 << 50))
def test_sectors_far_away(stripes, chunk_size, sector):
    sc = dm_stripe.stripe_c(ti=dm_target_struct(begin=5), stripes=stripes, chunk_size=chunk_size,
                            stripes_shift=stripes.bit_length() - 1 if stripes & (stripes - 1) == 0 else -1,
                            chunk_size_shift=chunk_size.bit_length() - 1 if chunk_size & (chunk_size - 1) == 0 else -1)
    chunk = sector // chunk_size
    assert dm_stripe.stripe_map_sector(sc, sector + 5) == (
        chunk % stripes, chunk // stripes * chunk_size + sector % chunk_size)


def test_data_lie_on_both_disks():
    on = Machine(disks=2)
    control.create("x", TWO)
    data = b"".join(bytes([n]) * SECTOR for n in range(32))
    io = write("dm-0", 0, data)
    on.advance()
    assert (io.ends, io.status) == (1, BLK_STS_OK)
    chunk = 8 * SECTOR
    assert on.stores["d0"][16 * SECTOR:32 * SECTOR] == data[:chunk] + data[2 * chunk:3 * chunk]
    assert on.stores["d1"][:16 * SECTOR] == data[chunk:2 * chunk] + data[3 * chunk:]
    again = read("dm-0", 0, 32 * SECTOR)
    on.advance()
    assert again.data == data
    assert [(each[1], each[2]) for each in on.disks[0].seen] == [(16, 16)] * 2  # two chunks, one request
    io.free()
    again.free()


@pytest.mark.parametrize("op", [ops.REQ_OP_DISCARD, ops.REQ_OP_SECURE_ERASE, ops.REQ_OP_WRITE_ZEROES,
                                ops.REQ_OP_WRITE_SAME])
@pytest.mark.parametrize(("sector", "sectors", "areas"), [
    (0, 32, [(16, 16), (0, 16)]), (3, 4, [(19, 4), None]), (8, 8, [None, (0, 8)]), (6, 12, [(22, 4), (0, 8)])])
def test_what_has_no_data_goes_to_each_stripe_as_far_as_it_is_there(monkeypatch, op, sector, sectors, areas):
    on = Machine(disks=2)
    control.create("x", TWO)
    for stripe, area in enumerate(areas):
        ends: list[int] = []
        bio = a_bio(op, sector, sectors, lambda bio, ends=ends: ends.append(bio.bi_status))
        monkeypatch.setattr(dm, "dm_bio_get_target_bio_nr", lambda bio, number=stripe: number)
        r = dm_stripe.stripe_map(target(on), bio)
        if area is None:
            assert (r, ends) == (DM_MAPIO_SUBMITTED, [BLK_STS_OK])
        else:
            assert (r, ends) == (DM_MAPIO_REMAPPED, [])
            assert (bio.bi_iter.bi_sector, bio.bi_iter.bi_size) == (area[0], area[1] * SECTOR)
            assert bio.bi_disk is on.disks[stripe].disk


def test_what_it_says_of_itself():
    on = Machine(disks=2)
    control.create("x", TWO)
    ti = target(on)
    assert control.status("x") == "0 32 striped 2 240:0 240:1 1 AA"
    assert control.table("x") == "0 32 striped 2 8 240:0 16 240:1 0"
    assert (ti.num_flush_bios, ti.num_discard_bios, ti.num_secure_erase_bios, ti.num_write_same_bios,
            ti.num_write_zeroes_bios, ti.max_io_len) == (2, 2, 2, 2, 2, 8)
    asked: list[tuple] = []
    assert dm_stripe.stripe_iterate_devices(ti, noting(asked, 0), "data") == 0
    first, second = (each.dev for each in ti.private.stripe)
    assert asked == [(ti, first, 16, 16, "data"), (ti, second, 0, 16, "data")]
    assert dm_stripe.stripe_iterate_devices(ti, noting(asked, 7), "data") == 7
    assert len(asked) == 3


@pytest.mark.parametrize(("stripes", "chunk_size", "io_min", "io_opt"), [
    (1, 8, 4096, 4096), (3, 16, 8192, 24576), (2, 1, 512, 1024), (2, 1 << 22, 1 << 31, 0), (2, 1 << 23, 512, 0)])
def test_sizes_that_are_good(stripes, chunk_size, io_min, io_opt):
    """In bytes of 32 bits."""
    limits = queue_limits(logical_block_size=512, physical_block_size=512)
    ti = dm_target_struct(private=dm_stripe.stripe_c(stripes=stripes, chunk_size=chunk_size))
    dm_stripe.stripe_io_hints(ti, limits)
    assert (limits.io_min, limits.io_opt) == (io_min, io_opt)


def fail(on, disk, times=1):
    """Read what is on a disk, which fails, so often."""
    on.disks[disk].status = BLK_STS_IOERR
    for _ in range(times):
        io = read("dm-0", 8 * disk, SECTOR)
        on.advance()
        assert (io.ends, io.status) == (1, BLK_STS_IOERR)
        io.free()
    on.disks[disk].status = BLK_STS_OK


def test_errors_are_counted_and_told():
    """The first fourteen of a disk; and it remains a disk that failed."""
    on = Machine(disks=2)
    control.create("x", TWO)
    fail(on, 1)
    assert control.status("x") == "0 32 striped 2 240:0 240:1 1 AD"
    assert dm.dm_get_event_nr(on.md()) == 1
    fail(on, 1, 20)
    assert target(on).private.stripe[1].error_count == 21
    assert dm.dm_get_event_nr(on.md()) == 14
    fail(on, 0)
    assert dm.dm_get_event_nr(on.md()) == 15
    assert control.status("x") == "0 32 striped 2 240:0 240:1 1 DD"
    assert control.table("x") == "0 32 striped 2 8 240:0 16 240:1 0"


@pytest.mark.parametrize(("opf", "error", "counts"), [
    (ops.REQ_OP_READ, BLK_STS_OK, False), (ops.REQ_OP_READ | ops.REQ_RAHEAD, BLK_STS_IOERR, False),
    (ops.REQ_OP_DISCARD, BLK_STS_NOTSUPP, False), (ops.REQ_OP_WRITE, BLK_STS_IOERR, True)])
def test_errors_that_do_not_count(opf, error, counts):
    on = Machine(disks=2)
    control.create("x", TWO)
    bio = a_bio(opf, 0, 1)
    bio.bi_disk = on.disks[1].disk
    assert dm_stripe.stripe_end_io(target(on), bio, error) == (DM_ENDIO_DONE, error)
    assert [each.error_count for each in target(on).private.stripe] == [0, int(counts)]


def test_removing_waits_for_what_is_to_be_told():
    on = Machine(disks=2)
    control.create("x", TWO)
    bio = a_bio(ops.REQ_OP_READ, 0, 1)
    bio.bi_disk = on.disks[0].disk
    md = on.md()

    def fail_and_remove():
        dm_stripe.stripe_end_io(target(on), bio, BLK_STS_IOERR)
        assert dm.dm_get_event_nr(md) == 0
        ti = target(on)
        dm_stripe.flush_work(ti.private.trigger_event)
        assert dm.dm_get_event_nr(md) == 1
        dm_stripe.stripe_end_io(ti, bio, BLK_STS_IOERR)
        dm_stripe.stripe_dtr(ti)
    on.kernel.task("dmsetup", fail_and_remove)
    assert dm.dm_get_event_nr(md) == 2


def test_no_memory():
    on = Machine(disks=2)
    memory = on.kernel.memory.totals()
    control.create("x")
    on.kernel.memory.fail_if(lambda kind, size: kind == "stripe_c")
    assert control.load("x", TWO) == -ENOMEM
    on.kernel.memory.fail_never()
    assert "device-mapper: table: 254:0: striped: Memory allocation for striped context failed" in on.kernel.log
    assert control.load("x", TWO) == 0
    assert control.remove("x") == 0
    on.kernel.loop.run_due()
    assert on.kernel.memory.totals() == memory


@pytest.mark.parametrize("chunk", [1 << 32, (1 << 32) + 8])
def test_a_chunk_of_more_than_32_bits(chunk):
    on = Machine(disks=1)
    control.create("x")
    assert control.load("x", f"0 {chunk} striped 1 {chunk} /dev/d0 0") == -EINVAL
    assert "device-mapper: table: 254:0: striped: Invalid chunk_size" in on.kernel.log


def test_the_name_may_be_taken():
    on = Machine(disks=0)
    dm_stripe.dm_stripe_exit()
    other = target_type(name="striped")
    dm_target.dm_register_target(other)
    assert dm_stripe.dm_stripe_init() == -EEXIST
    assert on.kernel.log[-1] == "device-mapper: striped: target registration failed"
    dm_target.dm_unregister_target(other)
    assert dm_stripe.dm_stripe_init() == 0
