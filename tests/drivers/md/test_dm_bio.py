"""What a bio meets in a mapped device: it is cut, cloned, mapped by its targets, and ends once."""


import pytest
from hypothesis import given, settings, strategies as st

from blkmodel import KernelError, boot, scenario
from blkmodel.block.blk_core import blk_queue_flag_set, submit_bio
from blkmodel.block.blk_settings import blk_queue_max_discard_sectors, blk_queue_max_write_zeroes_sectors
from blkmodel.drivers.md import dm
from blkmodel.include.linux import blk_types as ops
from blkmodel.include.linux.blkdev import QUEUE_FLAG_DISCARD, QUEUE_FLAG_SECERASE, blk_queue_discard
from blkmodel.include.linux.device_mapper import (DM_ENDIO_INCOMPLETE, DM_ENDIO_REQUEUE, DM_MAPIO_DELAY_REQUEUE,
    DM_MAPIO_KILL, DM_MAPIO_REMAPPED, DM_MAPIO_REQUEUE, DM_MAPIO_SUBMITTED)
from blkmodel.include.linux.genhd import part_stat_read
from blkmodel.services.base.bug import KernelBug
from blkmodel.services.base.err import EIO
from blkmodel.sim import this
from blkmodel.sim.structure import Struct, sizeof
from blkmodel.trace import Call, record
from tests.drivers.md import control
from tests.drivers.md.ios import IO, read, write
from tests.drivers.md.machine import MS, SECTOR, Machine, Scripted
from tests.drivers.md.tables import Reference, lines, size_of


def reference(on):
    return Reference({f"/dev/{name}": store for name, store in on.stores.items()})


def same(on, expected):
    return all(bytes(store) == bytes(expected.stores[f"/dev/{name}"]) for name, store in on.stores.items())


def transfer(expected, device, op, sector, count, fill, cpu=0):
    """Read or write a device and its reference alike."""
    name = device.removeprefix("/dev/")
    data = None
    if op == "write":
        data = bytes((fill + i) & 255 for i in range(count * 4)) * (SECTOR // 4)
        possible = expected.write(device, sector, data)
    else:
        possible = expected.read(device, sector, count) is not None

    def do():
        return scenario.io(name, op, sector * SECTOR, count * SECTOR, cpu=cpu, data=data)
    if possible:
        assert do() == (data or expected.read(device, sector, count))
    else:
        with pytest.raises(KernelError) as caught:
            do()
        assert caught.value.errno == EIO


def operations(most=12):
    return st.lists(st.tuples(st.sampled_from(["read", "write"]), st.integers(0, 1 << 16), st.integers(1, 80),
                              st.integers(0, 255)), min_size=1, max_size=most)




@settings(max_examples=60)
@given(st.data())
def test_a_table_maps_each_sector_where_its_lines_say(data):
    on = Machine()
    table = data.draw(lines(on.in_table()))
    expected = reference(on)
    expected.tables["/dev/dm-0"] = table
    assert control.create("x", "\n".join(table)) == 0
    size = size_of(table)
    for op, place, count, fill in data.draw(operations()):
        sector = place % size
        transfer(expected, "/dev/dm-0", op, sector, min(count, size - sector), fill)
    assert same(on, expected)
    assert on.md().io_bs.bio_pool.curr_nr == on.md().io_bs.bio_pool.min_nr
    assert not dm.md_in_flight(on.md())
    assert control.remove("x") == 0


@settings(max_examples=40)
@given(st.data())
def test_stacks_of_devices_hold_what_was_written_anywhere(data):
    on = Machine(disks=2)
    expected = reference(on)
    devices = on.in_table()
    for number in range(data.draw(st.integers(2, 4))):
        table = data.draw(lines(devices, most=3, kinds=("linear", "striped"), find=expected.find))
        if not control.create(f"x{number}", "\n".join(table)):
            expected.tables[f"/dev/dm-{number}"] = table
            devices.append((f"/dev/dm-{number}", size_of(table)))
    for op, place, count, fill in data.draw(operations()):
        device, size = data.draw(st.sampled_from(devices))
        sector = place % size
        transfer(expected, device, op, sector, min(count, size - sector), fill, cpu=fill % 2)
    assert same(on, expected)


def test_a_bio_is_cut_where_targets_meet_and_ends_once():
    on = Machine()
    control.create("x", "0 10 linear /dev/d0 0\n10 10 linear /dev/d1 5\n20 12 striped 2 3 /dev/d2 0 /dev/d0 100")
    io = write("dm-0", 6, bytes([7]) * SECTOR * 20)
    on.advance()
    assert (io.ends, io.status) == (1, 0)
    assert [(sector, count) for _, sector, count, _ in on.disks[0].seen] == [(6, 4), (100, 3)]
    assert [(sector, count) for _, sector, count, _ in on.disks[1].seen] == [(5, 10)]
    assert [(sector, count) for _, sector, count, _ in on.disks[2].seen] == [(0, 3)]
    stats = on.md().disk.part0
    assert part_stat_read(stats, "sectors", 1) == 20
    assert part_stat_read(stats, "ios", 1) == 4


def test_an_error_of_one_piece_is_the_bios():
    on = Machine()
    control.create("x", "0 8 linear /dev/d0 0\n8 8 linear /dev/d1 0\n16 8 linear /dev/d2 0")
    on.disks[1].status = ops.BLK_STS_MEDIUM
    io = read("dm-0", 0, 24 * SECTOR)
    on.advance()
    assert (io.ends, io.status) == (1, ops.BLK_STS_MEDIUM)


def test_behind_the_end_and_without_a_table():
    Machine()
    control.create("x", "0 8 linear /dev/d0 0")
    with pytest.raises(KernelError) as caught:
        scenario.io("dm-0", "write", 8 * SECTOR, SECTOR)
    assert caught.value.name == "ENOSPC"
    io = IO("dm-0", ops.REQ_OP_READ, 0, 9 * SECTOR)
    assert (io.ends, io.status) == (1, ops.BLK_STS_IOERR)
    control.create("y")
    io = IO("dm-1", ops.REQ_OP_READ, 0, SECTOR)
    assert (io.ends, io.status) == (1, ops.BLK_STS_IOERR)


@settings(max_examples=60)
@given(st.integers(1, 4), st.integers(1, 16), st.integers(1, 4), st.data())
def test_discards_reach_each_stripe_once(stripes, chunk, rows, data):
    """A discard is given to every stripe; each discards what it has of it, as one range."""
    on = Machine(disks=stripes, sectors=max(8, chunk * rows))
    for disk in on.disks:
        can_discard(disk.queue)
    size = chunk * rows * stripes
    places = " ".join(f"/dev/d{n} 0" for n in range(stripes))
    assert control.create("x", f"0 {size} striped {stripes} {chunk} {places}") == 0
    start = data.draw(st.integers(0, size - 1))
    end = data.draw(st.integers(start + 1, size))
    io = IO("dm-0", ops.REQ_OP_DISCARD, start, sectors=end - start)
    on.advance()
    assert (io.ends, io.status) == (1, 0)
    wanted: list[list[int]] = [[] for _ in range(stripes)]
    for sector in range(start, end):
        number, within = divmod(sector, chunk)
        wanted[number % stripes].append(number // stripes * chunk + within)
    for disk, sectors in zip(on.disks, wanted, strict=True):
        discarded = [range(sector, sector + count) for op, sector, count, _ in disk.seen]
        assert [n for part in discarded for n in part] == sectors
        assert len(discarded) == bool(sectors)


def can_discard(queue):
    blk_queue_max_discard_sectors(queue, 1 << 20)
    blk_queue_flag_set(QUEUE_FLAG_DISCARD, queue)
    queue.limits.discard_granularity = SECTOR


def test_zeroes_reach_each_stripe_once():
    on = Machine(disks=2)
    for disk in on.disks:
        blk_queue_max_write_zeroes_sectors(disk.queue, 1 << 20)
    assert control.create("x", "0 64 striped 2 8 /dev/d0 8 /dev/d1 0") == 0
    scenario.zero_out("dm-0", 4 * SECTOR, 40 * SECTOR)
    assert [seen[:3] for seen in on.disks[0].seen] == [(ops.REQ_OP_WRITE_ZEROES, 12, 20)]
    assert [seen[:3] for seen in on.disks[1].seen] == [(ops.REQ_OP_WRITE_ZEROES, 0, 20)]


ABNORMAL = (ops.REQ_OP_DISCARD, ops.REQ_OP_SECURE_ERASE, ops.REQ_OP_WRITE_ZEROES)


def allow_all(queue):
    """Let a queue take what it can't do."""
    queue.limits.max_discard_sectors = queue.limits.max_write_zeroes_sectors = 64
    queue.limits.discard_granularity = SECTOR
    queue.queue_flags |= 1 << QUEUE_FLAG_DISCARD | 1 << QUEUE_FLAG_SECERASE


@pytest.mark.parametrize("op", ABNORMAL)
def test_an_operation_without_data_goes_to_the_end_of_its_target(op):
    on = Machine()
    for disk in on.disks:
        allow_all(disk.queue)
    control.create("x", "0 8 linear /dev/d0 3\n8 16 linear /dev/d1 0")
    allow_all(on.md().queue)
    io = IO("dm-0", op, 4, sectors=12)
    on.advance()
    assert (io.ends, io.status) == (1, 0)
    assert [seen[:3] for seen in on.disks[0].seen] == [(op, 7, 4)]
    assert [seen[:3] for seen in on.disks[1].seen] == [(op, 0, 8)]


@pytest.mark.parametrize("op", [ops.REQ_OP_DISCARD, ops.REQ_OP_WRITE_ZEROES])
def test_a_target_that_does_not_take_an_operation(op):
    """The device's limits may be older than its targets."""
    on = Machine()
    control.create("x", "0 8 zero")
    allow_all(on.md().queue)
    on.md().map.targets[0].num_discard_bios = 0
    io = IO("dm-0", op, 0, sectors=8)
    assert (io.ends, io.status) == (1, ops.BLK_STS_NOTSUPP)


@pytest.mark.parametrize(("op", "limit"), [(ops.REQ_OP_DISCARD, "max_discard_sectors"),
                                           (ops.REQ_OP_WRITE_ZEROES, "max_write_zeroes_sectors")])
def test_what_a_disk_refuses_the_device_does_not_ask_again(op, limit):
    """The disk says by its limit that it can't after all."""
    on = Machine()
    allow_all(on.disks[0].queue)
    control.create("x", "0 8 linear /dev/d0 0")
    queue = on.md().queue
    assert getattr(queue.limits, limit)
    on.disks[0].status = ops.BLK_STS_TARGET
    io = IO("dm-0", op, 0, sectors=8)
    setattr(on.disks[0].queue.limits, limit, 0)
    on.advance()
    assert (io.ends, io.status, getattr(queue.limits, limit)) == (1, ops.BLK_STS_TARGET, 0)
    assert blk_queue_discard(queue) == (op != ops.REQ_OP_DISCARD)
    io = IO("dm-0", op, 0, sectors=8)
    assert (io.ends, io.status) == (1, ops.BLK_STS_NOTSUPP)


# ---------------------------------------------------------------- flushes


def test_a_flush_goes_to_every_disk():
    on = Machine(cache=True)
    control.create("x", "0 8 linear /dev/d0 0\n8 8 zero\n16 16 striped 2 8 /dev/d1 0 /dev/d2 0")
    scenario.flush("dm-0")
    assert [[op for op, *_ in disk.seen] for disk in on.disks] == [[ops.REQ_OP_FLUSH]] * 3


def test_a_flush_with_data_is_a_flush_and_then_the_data():
    on = Machine(disks=2, cache=True)
    control.create("x", "0 8 linear /dev/d0 0\n8 8 linear /dev/d1 0")
    io = IO("dm-0", ops.REQ_OP_WRITE | ops.REQ_PREFLUSH, 0, data=bytes([9]) * SECTOR)
    assert io.ends == 0
    on.advance()
    assert (io.ends, io.status) == (1, 0)
    assert [op for op, *_ in on.disks[0].seen] == [ops.REQ_OP_FLUSH, ops.REQ_OP_WRITE]
    assert [op for op, *_ in on.disks[1].seen] == [ops.REQ_OP_FLUSH]
    assert on.stores["d0"][:SECTOR] == bytes([9]) * SECTOR


def test_a_flush_that_fails_on_one_disk_fails():
    on = Machine(disks=2, cache=True)
    control.create("x", "0 16 striped 2 8 /dev/d0 0 /dev/d1 0")
    on.disks[1].status = ops.BLK_STS_IOERR
    with pytest.raises(KernelError) as caught:
        scenario.flush("dm-0")
    assert caught.value.name == "EIO"


def test_clones_of_one_bio_are_made_without_waiting_or_with_it():
    """Four clones, while memory is short: those that were made are given back, then all come of the reserve."""
    on = Machine(disks=1, cache=True)
    control.create("x", "0 8 striped 4 1 " + " ".join(f"/dev/d0 {8 * n}" for n in range(4)))
    left = []

    def refused(kind, size):
        left.append(kind)
        return kind == "bio" and len(left) > 2
    on.kernel.memory.fail_if(refused)
    io = IO("dm-0", ops.REQ_OP_WRITE | ops.REQ_PREFLUSH, 0)
    on.kernel.memory.fail_never()
    on.advance()
    assert (io.ends, io.status) == (1, 0)
    assert on.md().bs.bio_pool.curr_nr == on.md().bs.bio_pool.min_nr


# ---------------------------------------------------------------- targets with a mind of their own


@pytest.mark.parametrize(("answer", "status"), [(DM_MAPIO_KILL, ops.BLK_STS_IOERR),
                                                (DM_MAPIO_REQUEUE, ops.BLK_STS_IOERR)])
def test_a_target_that_does_not_map(answer, status):
    """Putting a bio back is only for suspending."""
    on = Machine()
    Scripted(maps=[answer])
    assert control.create("x", "0 8 scripted /dev/d0") == 0
    io = read("dm-0", 0, SECTOR)
    assert (io.ends, io.status) == (1, status)
    assert on.disks[0].seen == []


def test_a_target_that_keeps_a_bio():
    on = Machine()
    scripted = Scripted(maps=[DM_MAPIO_SUBMITTED])
    control.create("x", "0 8 scripted /dev/d0")
    io = read("dm-0", 0, SECTOR)
    assert io.ends == 0
    assert dm.md_in_flight(on.md())
    this().task("later", submit_bio, scripted.bios[0])
    on.advance()
    assert (io.ends, io.status) == (1, 0)


@pytest.mark.parametrize("answer", [7, DM_MAPIO_DELAY_REQUEUE])
def test_a_target_that_answers_nonsense(answer):
    on = Machine()
    Scripted(maps=[answer])
    control.create("x", "0 8 scripted /dev/d0")
    with pytest.raises(KernelBug):
        read("dm-0", 0, SECTOR)
    assert on.kernel.log[-1] == f"device-mapper: core: unimplemented target map return value: {answer}"


def test_a_target_that_ends_with_nonsense():
    on = Machine()
    Scripted(ends=[7])
    control.create("x", "0 8 scripted /dev/d0")
    read("dm-0", 0, SECTOR)
    with pytest.raises(KernelBug):
        on.advance()
    assert on.kernel.log[-1] == "device-mapper: core: unimplemented target endio return value: 7"


def test_a_target_that_takes_a_bio_back_when_it_ends():
    on = Machine()
    scripted = Scripted(ends=[DM_ENDIO_INCOMPLETE])
    control.create("x", "0 8 scripted /dev/d0")
    io = read("dm-0", 0, SECTOR)
    on.advance()
    assert io.ends == 0
    bio = scripted.bios[0]
    bio.bi_status = 0
    this().task("later", bio.bi_end_io, bio)
    assert (io.ends, io.status) == (1, 0)


def test_bios_that_are_put_back_while_the_device_is_suspended_come_again():
    """They wait, first in the line, and are mapped by the table that is live then."""
    on = Machine()
    Scripted(ends=[DM_ENDIO_REQUEUE, DM_ENDIO_REQUEUE])
    control.create("x", "0 16 scripted /dev/d0")
    first, second = read("dm-0", 0, SECTOR), read("dm-0", 8, SECTOR)
    assert control.load("x", "0 16 linear /dev/d1 0") == 0
    assert control.suspend("x", noflush=True) == 0
    assert (first.ends, second.ends, len(on.disks[0].seen)) == (0, 0, 2)
    assert control.resume("x") == 0
    on.advance()
    assert (first.ends, first.status, second.ends, second.status) == (1, 0, 1, 0)
    assert first.data == bytes(on.stores["d1"][:SECTOR])


def test_without_noflush_a_bio_that_is_put_back_fails():
    on = Machine()
    Scripted(ends=[DM_ENDIO_REQUEUE])
    control.create("x", "0 8 scripted /dev/d0")
    io = read("dm-0", 0, SECTOR)
    assert control.suspend("x") == 0
    assert (io.ends, io.status) == (1, ops.BLK_STS_IOERR)
    assert on.md().deferred.head is None


class remembered(Struct, size=24):
    """What a target keeps with a bio."""

    sector: int = 0
    _bio: object = None


def test_what_a_target_keeps_with_a_bio_is_there_when_it_ends():
    on = Machine()
    kept = []

    def remember(bio):
        data = dm.dm_per_bio_data(bio, sizeof(remembered), remembered)
        data.sector = bio.bi_iter.bi_sector
        kept.append((bio, data))
        return DM_MAPIO_REMAPPED
    scripted = Scripted(maps=[remember, remember])
    scripted.settings = {"per_io_data_size": sizeof(remembered)}
    control.create("x", "0 8 scripted /dev/d0\n8 8 scripted /dev/d1")
    io = read("dm-0", 4, 8 * SECTOR)
    assert [data.sector for _, data in kept] == [4, 8]
    for bio, data in kept:
        assert dm.dm_per_bio_data(bio, sizeof(remembered), remembered) is data
        assert dm.dm_bio_from_per_bio_data(data) is bio
    on.advance()
    assert io.ends == 1
    pads = on.md().bs.front_pad, on.md().io_bs.front_pad
    assert pads == (24 + 48, 24 + 48 + 64)


# ---------------------------------------------------------------- bios that need no cutting


# ---------------------------------------------------------------- what is counted, and what is cut


def test_how_long_bios_took():
    on = Machine(delay=20 * MS)
    control.create("x", "0 8 linear /dev/d0 0")
    on.advance(1000)
    read("dm-0", 0, SECTOR)
    on.advance(100)
    assert 15 * MS < part_stat_read(on.md().disk.part0, "nsecs", 0) < 30 * MS


@pytest.mark.parametrize("op", [ops.REQ_OP_DISCARD, ops.REQ_OP_WRITE_ZEROES])
def test_an_operation_without_data_is_cut_at_the_devices_limit(op):
    on = Machine(disks=1)
    allow_all(on.disks[0].queue)
    control.create("x", "0 128 linear /dev/d0 0")
    scenario.set_scheduler("d0", "none")
    allow_all(on.md().queue)
    limits = on.disks[0].queue.limits
    limits.max_discard_sectors = limits.max_write_zeroes_sectors = 1 << 20
    io = IO("dm-0", op, 0, sectors=100)
    on.advance()
    assert (io.ends, io.status) == (1, 0)
    assert sorted(seen[:3] for seen in on.disks[0].seen) == [(op, 0, 64), (op, 64, 36)]


def test_a_flush_comes_to_a_target_as_one_of_the_device():
    on = Machine(cache=True)
    disks = []

    class Looking(Scripted):
        def map(self, ti, bio):
            disks.append(bio.bi_disk)
            return super().map(ti, bio)
    Looking().settings = {"num_flush_bios": 2, "flush_supported": True}
    control.create("x", "0 8 scripted /dev/d0")
    scenario.flush("dm-0")
    assert disks == [on.md().disk] * 2


def test_a_bio_that_its_target_refuses_is_looked_at_again():
    """As recorded of an error target: the limit of swapping is asked for before the map, and before the clone goes."""
    boot(2)
    scenario.nvme_probe()
    assert scenario.dmsetup_run("create", "e0", "--table", "0 2048 error").exit == 0
    with record() as recording, pytest.raises(KernelError):
        scenario.io("dm-0", "read", 0, 4096)
    called = [call.function for call in recording.of(Call)]
    at = called.index("io_err_map")
    assert (called[at - 1], called[at + 1]) == ("swap_bios_limit", "swap_bios_limit")
