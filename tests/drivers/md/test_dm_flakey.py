"""Flakey: what becomes of I/O while the device is up, and while it is down."""

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel import boot
from blkmodel.drivers.md import dm_flakey
from blkmodel.include.linux.blk_types import BLK_STS_IOERR, BLK_STS_OK, REQ_OP_WRITE, REQ_PREFLUSH, REQ_SYNC
from blkmodel.scenario import disk
from blkmodel.services.base.bug import KernelBug
from blkmodel.services.base.err import EEXIST, EINVAL, ENODEV, ENOMEM, ENOTTY, ENXIO
from tests import leaks
from tests.drivers.md import control
from tests.drivers.md.disks import Disk, load
from tests.drivers.md.ios import IO, read, write

SECTORS = 2048
A, B = b"\xaa" * 1024, b"\xbb" * 1024


class Flakey:
    """A machine with a disk full of A, and a device on it that is up first."""

    def __init__(self, words, device="240:0 16"):
        self.kernel = boot(2)
        self.disk = load(lambda: Disk("d0", bytearray(A * (SECTORS // 2)), cache=True))
        control.load_modules()
        assert control.create("once", "0 1 linear 240:0 0") == 0  # what is made once and kept
        assert control.remove("once") == 0
        self.before = self.kernel.memory.totals()
        self.result = control.create("f", f"0 1024 flakey {device} {words}".rstrip())

    def seconds(self, count):
        self.kernel.loop.advance(int(count * 1_000_000_000))

    def does(self, io):
        self.kernel.loop.advance(1_000_000)
        assert io.ends == 1
        return io.status

    def below(self, sector):
        """What the disk has where the device's sector is."""
        return bytes(self.disk.store[(sector + 16) * 512:(sector + 18) * 512])


@pytest.mark.parametrize(("up", "down", "ups"), [(1, 1, [1, 0, 1, 0, 1]), (2, 1, [1, 1, 0, 1, 1, 0]),
                                                 (0, 1, [0, 0, 0]), (1, 0, [1, 1, 1])])
def test_up_and_down(up, down, ups):
    on = Flakey(f"{up} {down}")
    assert control.table("f") == f"0 1024 flakey 240:0 16 {up} {down} 0 "
    assert control.status("f") == "0 1024 flakey "
    on.seconds(0.5)
    for second, is_up in enumerate(ups):
        expected = BLK_STS_OK if is_up else BLK_STS_IOERR
        assert on.does(write("dm-0", second * 2, B)) == expected
        assert on.does(read("dm-0", second * 2, 1024)) == expected
        assert on.does(IO("dm-0", REQ_OP_WRITE | REQ_PREFLUSH, 0)) == expected
        assert on.below(second * 2) == (B if is_up else A)
        on.seconds(0.997)


def test_its_name_is_taken_once():
    on = Flakey("1 1")
    assert dm_flakey.dm_flakey_init() == -EEXIST
    assert on.kernel.log[-1] == "device-mapper: flakey: register failed -17"


def test_dropping_writes():
    """They end well and go nowhere; reads are as ever."""
    on = Flakey("1 1 1 drop_writes")
    assert control.table("f") == "0 1024 flakey 240:0 16 1 1 1 drop_writes "
    assert on.does(write("dm-0", 0, B)) == BLK_STS_OK
    on.seconds(1)
    assert on.does(write("dm-0", 2, B)) == BLK_STS_OK
    assert (on.below(0), on.below(2)) == (B, A)
    io = read("dm-0", 2, 1024)
    assert on.does(io) == BLK_STS_OK
    assert io.data == A


def test_failing_writes():
    on = Flakey("0 1 1 Error_Writes")
    assert control.table("f") == "0 1024 flakey 240:0 16 0 1 1 error_writes "
    assert on.does(write("dm-0", 2, B)) == BLK_STS_IOERR
    assert on.below(2) == A
    io = read("dm-0", 2, 1024)
    assert on.does(io) == BLK_STS_OK
    assert io.data == A


@pytest.mark.parametrize("byte", [1, 2, 512, 1024])
def test_changing_a_byte_of_writes(byte):
    on = Flakey(f"0 1 5 corrupt_bio_byte {byte} w 7 0")
    assert control.table("f") == f"0 1024 flakey 240:0 16 0 1 5 corrupt_bio_byte {byte} w 7 0 "
    assert on.does(write("dm-0", 2, B)) == BLK_STS_OK
    assert on.below(2) == B[:byte - 1] + b"\7" + B[byte:]
    # reads fail: only writes are to be changed
    assert on.does(read("dm-0", 2, 1024)) == BLK_STS_IOERR


def test_a_bio_that_is_too_short_to_be_changed():
    on = Flakey("0 1 5 corrupt_bio_byte 1025 w 7 0")
    assert on.does(write("dm-0", 2, B)) == BLK_STS_OK
    assert on.below(2) == B


def test_a_byte_beyond_the_first_page():
    on = Flakey("0 1 5 corrupt_bio_byte 4100 w 7 0")
    assert on.does(write("dm-0", 0, B * 8)) == BLK_STS_OK
    assert bytes(on.disk.store[16 * 512:32 * 512]) == (B * 8)[:4099] + b"\7" + (B * 8)[4100:]


def test_only_bios_with_all_of_the_flags_are_changed():
    on = Flakey(f"0 1 5 corrupt_bio_byte 1 w 7 {REQ_SYNC}")
    assert on.does(write("dm-0", 0, B)) == BLK_STS_OK
    assert on.below(0) == B
    assert on.does(IO("dm-0", REQ_OP_WRITE | REQ_SYNC, 0, data=B)) == BLK_STS_OK
    assert on.below(0) == b"\7" + B[1:]


def test_reads_are_not_changed_though_they_are_to_be():
    """The bio is looked at after it has come back: then none of its bytes is left."""
    on = Flakey("0 1 5 corrupt_bio_byte 1 r 7 0")
    assert control.table("f") == "0 1024 flakey 240:0 16 0 1 5 corrupt_bio_byte 1 r 7 0 "
    io = read("dm-0", 2, 1024)
    assert on.does(io) == BLK_STS_OK
    assert io.data == A
    # one without the flags fails, and so do writes
    assert on.does(write("dm-0", 2, B)) == BLK_STS_IOERR
    other = Flakey(f"0 1 5 corrupt_bio_byte 1 r 7 {REQ_SYNC}")
    assert other.does(read("dm-0", 2, 1024)) == BLK_STS_IOERR


@pytest.mark.parametrize(("words", "line"), [
    ("1", "Invalid argument count"),
    ("x 1", "Invalid up interval"),
    ("1 x", "Invalid up interval"),
    ("0 0", "Total (up + down) interval is zero"),
    ("4294967295 2", "Interval overflow"),
    ("4294967295 1", "Total (up + down) interval is zero"),
    ("1 1 x", "Invalid number of feature args"),
    ("1 1 7 a b c d e f g", "Invalid number of feature args"),
    ("1 1 2 drop_writes", "Invalid number of feature args"),
    ("1 1 1 brush_teeth", "Unrecognised flakey feature requested"),
    ("1 1 2 drop_writes drop_writes", "Feature drop_writes duplicated"),
    ("1 1 2 error_writes error_writes", "Feature error_writes duplicated"),
    ("1 1 2 error_writes drop_writes", "Feature drop_writes conflicts with feature error_writes"),
    ("1 1 2 drop_writes error_writes", "Feature error_writes conflicts with feature drop_writes"),
    ("1 1 1 corrupt_bio_byte", "Feature corrupt_bio_byte requires parameters"),
    ("1 1 5 corrupt_bio_byte 0 r 1 0", "Invalid corrupt bio byte"),
    ("1 1 5 corrupt_bio_byte 1 x 1 0", "Invalid corrupt bio direction (r or w)"),
    ("1 1 5 corrupt_bio_byte 1 r 256 0", "Invalid corrupt value to write into bio byte (0-255)"),
    ("1 1 5 corrupt_bio_byte 1 r 1 x", "Invalid corrupt bio flags mask"),
    ("1 1 2 corrupt_bio_byte 1 r 1 0", "Insufficient feature arguments"),
    ("1 1 6 drop_writes corrupt_bio_byte 1 w 1 0",
     "drop_writes is incompatible with corrupt_bio_byte with the WRITE flag set"),
    ("1 1 6 corrupt_bio_byte 1 w 1 0 error_writes",
     "error_writes is incompatible with corrupt_bio_byte with the WRITE flag set"),
])
def test_tables_that_make_no_sense(words, line):
    on = Flakey(words)
    assert on.result == -EINVAL
    assert f"device-mapper: table: 254:0: flakey: {line}" in on.kernel.log
    on.kernel.loop.run_due()
    assert on.kernel.memory.totals() == on.before


@pytest.mark.parametrize(("device", "error", "line"), [("240:0 x", EINVAL, "Invalid device sector"),
                                                       ("/dev/nosuch 0", ENODEV, "Device lookup failed")])
def test_devices_that_make_no_sense(device, error, line):
    on = Flakey("1 1", device)
    assert on.result == -error
    assert f"device-mapper: table: 254:0: flakey: {line}" in on.kernel.log
    on.kernel.loop.run_due()
    assert on.kernel.memory.totals() == on.before


def test_a_table_that_ends_before_the_direction_crashes_the_kernel():
    with pytest.raises(KernelBug, match="behind the table's end"):
        Flakey("1 1 2 corrupt_bio_byte 1")


def test_dropping_writes_and_changing_reads_go_together():
    on = Flakey("0 1 6 drop_writes corrupt_bio_byte 1 r 1 0")
    assert control.table("f") == "0 1024 flakey 240:0 16 0 1 6 drop_writes corrupt_bio_byte 1 r 1 0 "
    assert on.does(write("dm-0", 0, B)) == BLK_STS_OK
    assert on.below(0) == A


@pytest.mark.parametrize(("table", "part"), [(f"0 {SECTORS} flakey 240:0 0 1 1", 0), ("0 1024 flakey 240:0 0 1 1", 1),
                                             (f"0 {SECTORS - 8} flakey 240:0 8 1 1", 1)])
def test_ioctls_go_to_the_device_below_as_a_whole_or_not(table, part):
    on = Flakey("x")
    assert control.create("f", table) == 0
    md = disk("dm-0").private_data
    r, index, bdev = on.kernel.task("ioctl", control.dm.dm_prepare_ioctl, md)
    control.dm.dm_unprepare_ioctl(md, index)
    assert (r, bdev.bd_disk) == (part, on.disk.disk)
    assert r != -ENOTTY


def test_every_allocation_of_a_load_fails_once():
    on = Flakey("x")
    nth, before = 1, on.before
    while True:
        failed = on.kernel.memory.failed
        on.kernel.memory.fail_nth(nth)
        r = control.create("f", "0 1024 flakey 240:0 0 1 1 1 drop_writes")
        happened = on.kernel.memory.failed > failed
        on.kernel.memory.fail_never()
        assert r in (0, -ENOMEM, -ENXIO)
        if r == 0:
            assert control.remove("f") == 0
        on.kernel.loop.run_due()
        before = leaks.but_a_table(before, on.kernel.memory.totals())
        if not happened:
            break
        nth += 1
    assert "device-mapper: table: 254:0: flakey: Cannot allocate context" in on.kernel.log


@given(st.integers(0, 4), st.integers(0, 4), st.lists(st.integers(1, 3000), max_size=12))
@settings(max_examples=30)
def test_it_is_down_when_the_clock_says_so(up, down, pauses):
    if not up + down:
        return
    on = Flakey(f"{up} {down}")
    start = on.kernel.now
    for milliseconds in pauses:
        on.kernel.loop.advance(milliseconds * 1_000_000)
        # whole ticks of 4 ms count
        elapsed = (on.kernel.now // 4_000_000 - start // 4_000_000) // 250
        is_up = elapsed % (up + down) < up
        assert on.does(read("dm-0", 0, 512)) == (BLK_STS_OK if is_up else BLK_STS_IOERR)
