"""Tables: which are refused, with which words; how targets are found; what a device can do as a consequence."""

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel import boot, scenario
from blkmodel.block import blk_core
from blkmodel.block.blk_settings import (blk_queue_logical_block_size, blk_queue_max_discard_sectors,
    blk_queue_max_hw_sectors, blk_queue_max_write_zeroes_sectors, blk_queue_physical_block_size, blk_queue_write_cache)
from blkmodel.drivers.md import dm, dm_table
from blkmodel.include.linux.blkdev import (QUEUE_FLAG_ADD_RANDOM, QUEUE_FLAG_DISCARD, QUEUE_FLAG_FUA, QUEUE_FLAG_NONROT,
    QUEUE_FLAG_SECERASE, QUEUE_FLAG_WC, test_bit as bit_is_set)
from blkmodel.include.linux.device_mapper import (DM_MAPIO_KILL, DM_TARGET_ALWAYS_WRITEABLE, DM_TARGET_IMMUTABLE,
    DM_TARGET_PASSES_INTEGRITY, DM_TARGET_SINGLETON, DM_TYPE_BIO_BASED, DM_TYPE_DAX_BIO_BASED, DM_TYPE_NONE,
    DM_TYPE_NVME_BIO_BASED, DM_TYPE_REQUEST_BASED, dm_arg, dm_arg_set, dm_dev, dm_target)
from blkmodel.include.linux.dm_ioctl import DM_READONLY_FLAG, DM_TABLE_LOAD_CMD, TARGET_SPEC
from blkmodel.services.base.err import EINVAL, ENODEV, ENOMEM, ENXIO, EOVERFLOW
from blkmodel.services.devices.backing_dev import BDI_CAP_STABLE_WRITES
from blkmodel.services.files.file import FMODE_READ, FMODE_WRITE
from blkmodel.services.memory.slab import kfree
from blkmodel.sim import this
from tests.drivers.md import control
from tests.drivers.md.machine import Machine, Scripted

ADDING = "device-mapper: ioctl: error adding target to table"
NO_QUEUE = ["device-mapper: core: Cannot calculate initial queue limits",
            "device-mapper: ioctl: unable to set up device queue for new table."]
NO_TYPE = "device-mapper: table: unable to determine table type"


def refused(on, table):
    """Load a table for a new device; return the error and the log's lines. The device is removed again."""
    assert control.create("x") == 0
    before = len(on.kernel.log)
    r = control.load("x", table)
    lines = on.kernel.log[before:]
    assert control.remove("x") == 0
    return r, lines


def line(what):
    return f"device-mapper: table: 254:0: {what}"


# ---------------------------------------------------------------- targets that are refused


@pytest.mark.parametrize(("table", "errno", "what"), [
    ("0 0 zero", EINVAL, "zero-length target"),
    ("0 8 nosuch x", EINVAL, "nosuch: unknown target type"),
    ("8 8 zero", EINVAL, "zero: Gap in table"),
    ("0 8 zero\n9 8 error", EINVAL, "error: Gap in table"),
    ("0 8 zero\n7 8 error", EINVAL, "error: Gap in table"),
    ("0 8 zero x", EINVAL, "zero: No arguments required"),
    ("0 8 linear", EINVAL, "linear: Invalid argument count"),
    ("0 8 linear /dev/d0", EINVAL, "linear: Invalid argument count"),
    ("0 8 linear /dev/d0 0 0", EINVAL, "linear: Invalid argument count"),
    ("0 8 linear /dev/d0 abc", EINVAL, "linear: Invalid device sector"),
    ("0 8 linear /dev/d0 1x", EINVAL, "linear: Invalid device sector"),
    ("0 8 linear /dev/d0 -1", EINVAL, "linear: Invalid device sector"),
    ("0 8 linear /dev/nosuch 0", ENODEV, "linear: Device lookup failed"),
    ("0 8 linear x0 0", ENODEV, "linear: Device lookup failed"),
    ("0 8 linear d0 0", ENXIO, "linear: Device lookup failed"),  # a number: 0:208
    ("0 8 linear /dev/mapper/control 0", ENODEV, "linear: Device lookup failed"),
    ("0 8 linear 240:99 0", ENXIO, "linear: Device lookup failed"),
    ("0 8 linear 5000:0 0", EOVERFLOW, "linear: Device lookup failed"),
    ("0 8 linear 240:1048576 0", EOVERFLOW, "linear: Device lookup failed"),
    ("0 8 linear 240:0x 0", ENODEV, "linear: Device lookup failed"),
    ("0 8 striped", EINVAL, "striped: Not enough arguments"),
    ("0 8 striped 2", EINVAL, "striped: Not enough arguments"),
    ("0 8 striped x 4", EINVAL, "striped: Invalid stripe count"),
    ("0 8 striped 0 4", EINVAL, "striped: Invalid stripe count"),
    ("0 8 striped -1 4", EINVAL, "striped: Invalid stripe count"),
    ("0 8 striped 4294967296 4", EINVAL, "striped: Invalid stripe count"),
    ("0 8 striped 2 x", EINVAL, "striped: Invalid chunk_size"),
    ("0 8 striped 2 0", EINVAL, "striped: Invalid chunk_size"),
    ("0 9 striped 2 4 /dev/d0 0 /dev/d1 0", EINVAL,
     "striped: Target length not divisible by number of stripes"),
    ("0 12 striped 2 4 /dev/d0 0 /dev/d1 0", EINVAL, "striped: Target length not divisible by chunk size"),
    ("0 8 striped 2 4 /dev/d0 0 /dev/d1", EINVAL, "striped: Not enough destinations specified"),
    ("0 8 striped 2 4 /dev/d0 0 /dev/d1 0 x", EINVAL, "striped: Not enough destinations specified"),
    ("0 8 striped 2 4 /dev/d0 0 /dev/nosuch 0", ENODEV, "striped: Couldn't parse stripe destination"),
    ("0 8 striped 2 4 /dev/d0 x /dev/d1 0", EINVAL, "striped: Couldn't parse stripe destination"),
    ("0 8589934592 striped 2147483648 4", ENOMEM, "striped: Memory allocation for striped context failed"),
    ("0 8 multipath 0 0 0 0\n8 8 zero", EINVAL, "target type multipath must appear alone in table"),
    ("0 8 zero\n8 8 multipath 0 0 0 0", EINVAL, "multipath: singleton target type must appear alone in table"),
])
def test_a_line_that_is_refused(table, errno, what):
    on = Machine(disks=2)
    memory = on.kernel.memory.totals()
    assert refused(on, table) == (-errno, [line(what), ADDING])
    assert refused(on, "0 8 linear /dev/d0 0") == (0, [])
    assert on.kernel.memory.totals() == memory


@pytest.mark.parametrize(("features", "table", "what"), [
    (DM_TARGET_SINGLETON, "0 8 scripted /dev/d0\n8 8 zero", "target type scripted must appear alone in table"),
    (DM_TARGET_SINGLETON, "0 8 zero\n8 8 scripted /dev/d0",
     "scripted: singleton target type must appear alone in table"),
    (DM_TARGET_IMMUTABLE, "0 8 scripted /dev/d0\n8 8 zero",
     "zero: immutable target type cannot be mixed with other target types"),
    (DM_TARGET_IMMUTABLE, "0 8 zero\n8 8 scripted /dev/d0",
     "scripted: immutable target type cannot be mixed with other target types"),
])
def test_what_a_type_demands(features, table, what):
    on = Machine(disks=1)
    Scripted(features=features)
    assert refused(on, table)[1][:2] == [line(what), ADDING]


def test_a_table_that_must_not_be_read_only():
    on = Machine(disks=1)
    Scripted(features=DM_TARGET_ALWAYS_WRITEABLE)
    control.create("x")
    text = b"/dev/d0\0"
    data = TARGET_SPEC.pack(0, 8, 0, 48, b"scripted") + text
    r, _, _ = control.ioctl(DM_TABLE_LOAD_CMD, data, 1, name="x", flags=DM_READONLY_FLAG)
    assert r == -EINVAL
    assert on.kernel.log[-2:] == [line("scripted: target type may not be included in a read-only table"), ADDING]
    assert control.ioctl(DM_TABLE_LOAD_CMD, data, 1, name="x")[0] == 0


def test_a_target_that_wants_discards_and_takes_none():
    on = Machine(disks=1)
    Scripted().settings = {"discards_supported": True}
    assert refused(on, "0 8 scripted /dev/d0") == (0, [
        line("scripted: ignoring discards_supported because num_discard_bios is zero.")])


def test_a_target_that_leaves_a_device_open():
    on = Machine(disks=1)
    Scripted(dtr=lambda ti: None)
    control.create("x", "0 8 scripted /dev/d0")
    control.remove("x")
    assert on.kernel.log[-1] == line("dm_table_destroy: dm_put_device call missing for 240:0")
    assert on.disks[0].disk.part0.holder_dir.links == {}
    assert not [each for each in on.kernel.memory.live.values() if each.kind == "dm_dev_internal"]


def test_a_device_that_the_table_has_not():
    on = Machine(disks=1)
    control.create("x", "0 8 linear /dev/d0 0")
    dm_table.dm_put_device(on.md().map.targets[0], dm_dev(name="7:7"))
    assert on.kernel.log[-1] == line("device 7:7 not in table devices list")


# ---------------------------------------------------------------- tables that are refused


def test_a_disk_that_is_too_small():
    on = Machine(disks=2)
    assert refused(on, "0 16 linear /dev/d0 177") == (-EINVAL, [
        line("d0 too small for target: start=177, len=16, dev_size=192"), *NO_QUEUE])
    assert refused(on, "0 32 striped 2 16 /dev/d0 0 /dev/d1 192")[1][0] == line(
        "d1 too small for target: start=192, len=16, dev_size=192")
    assert refused(on, "0 16 linear /dev/d0 176") == (0, [])


def test_a_disk_of_unknown_size_may_be_used():
    on = Machine(disks=1)
    control.create("empty")
    assert control.create("x", "0 8 linear /dev/dm-0 100") == 0
    assert on.md("dm-1").map is not None


def test_a_disk_without_a_driver():
    on = Machine(disks=1)
    on.disks[0].queue.make_request_fn = None
    assert refused(on, "0 8 linear /dev/d0 3") == (-EINVAL, [
        line("d0 is not yet initialised: start=3, len=8, dev_size=192"), *NO_QUEUE])


@pytest.mark.parametrize(("table", "lines"), [
    ("0 8 linear /dev/d0 1", [
        "adding target device d0 caused an alignment inconsistency: physical_block_size=4096, "
        "logical_block_size=4096, alignment_offset=0, start=512",
        "start=1 not aligned to h/w logical block size 4096 of d0"]),
    ("0 9 linear /dev/d0 8", ["len=9 not aligned to h/w logical block size 4096 of d0"]),
    ("0 4 zero\n4 16 linear /dev/d0 0",
     ["table line 1 (start sect 4 len 16) not aligned to h/w logical block size 4096"]),
    ("0 8 linear /dev/d0 0\n8 4 zero",
     ["table line 2 (start sect 8 len 4) not aligned to h/w logical block size 4096"]),
])
def test_targets_that_do_not_fit_blocks(table, lines):
    on = Machine(disks=1)
    blk_queue_logical_block_size(on.disks[0].queue, 4096)
    assert refused(on, table) == (-EINVAL, [*(line(each) for each in lines), *NO_QUEUE])


@pytest.mark.parametrize("table", ["0 4 zero\n4 4 zero\n8 16 linear /dev/d0 0",
                                   "0 3 zero\n3 13 zero\n16 8 linear /dev/d0 8",
                                   "0 8 linear /dev/d0 8\n8 1 zero\n9 7 error"])
def test_targets_that_fit_blocks(table):
    on = Machine(disks=1)
    blk_queue_logical_block_size(on.disks[0].queue, 4096)
    assert refused(on, table) == (0, [])


def test_stripes_that_lie_badly_on_blocks():
    on = Machine(disks=3)
    blk_queue_physical_block_size(on.disks[2].queue, 4096)
    assert refused(on, "0 12 striped 2 3 /dev/d0 0 /dev/d1 0\n12 8 linear /dev/d2 0") == (0, [
        line("adding target device (start sect 12 len 8) caused an alignment inconsistency")])


class Requests(Scripted):
    """A type of target that takes requests only."""

    def __init__(self, **more):
        super().__init__(clone_and_map_rq=lambda ti, rq, info: (DM_MAPIO_KILL, None), **more)
        self.type.map = None
        self.devices = ()

    def iterate(self, ti, fn, data):
        return fn(ti, ti.private, 0, ti.len, data)


@pytest.mark.parametrize(("features", "more", "table", "what"), [
    (0, {}, "0 8 scripted /dev/d0\n8 8 zero", "Inconsistent table: different target types can't be mixed up"),
    (0, {}, "0 8 zero\n8 8 scripted /dev/d0", "Inconsistent table: different target types can't be mixed up"),
    (0, {}, "0 8 scripted /dev/d0\n8 8 scripted /dev/d0", "request-based DM doesn't support multiple targets"),
    (0, {}, "0 8 scripted /dev/d0", "table load rejected: immutable target is required"),
    (DM_TARGET_IMMUTABLE, {"max_io_len": 8}, "0 8 scripted /dev/d0",
     "table load rejected: immutable target that splits IO is not supported"),
    (DM_TARGET_IMMUTABLE, {}, "0 8 scripted /dev/d0",
     "table load rejected: including non-request-stackable devices"),
])
def test_a_table_for_requests_that_is_refused(features, more, table, what):
    on = Machine(disks=1)
    Requests(features=features).settings = more
    assert refused(on, table) == (-EINVAL, [f"device-mapper: table: {what}", NO_TYPE, line(
        "dm_table_destroy: dm_put_device call missing for 240:0")])


def test_requests_do_not_go_to_what_takes_bios():
    on = Machine(disks=1)
    control.create("below", "0 8 linear /dev/d0 0")
    control.create("x")
    before = len(on.kernel.log)
    assert control.load("x", "0 8 multipath 0 0 1 1 round-robin 0 1 1 /dev/dm-0 1") == -EINVAL
    assert on.kernel.log[before:] == [
        "device-mapper: table: table load rejected: including non-request-stackable devices", NO_TYPE]
    assert control.load("x", "0 8 multipath 0 0 1 1 round-robin 0 1 1 /dev/d0 1") == 0


def test_what_kind_a_table_is():
    on = Machine(disks=1)
    Requests(features=DM_TARGET_IMMUTABLE, iterate_devices=Requests.iterate.__get__(Requests))
    for table, kind in (("0 8 zero", DM_TYPE_BIO_BASED), ("0 8 error", DM_TYPE_BIO_BASED),
                        ("0 8 scripted /dev/d0", DM_TYPE_REQUEST_BASED),
                        ("0 8 multipath 0 0 0 0", DM_TYPE_REQUEST_BASED)):
        control.create("x")
        assert control.load("x", table) == 0
        assert on.md().type == kind
        control.remove("x")


def test_a_target_that_can_do_either_does_as_the_device_does():
    on = Machine(disks=1)
    control.create("x", "0 8 multipath 0 0 1 1 round-robin 0 1 1 /dev/d0 1")
    assert control.load("x", "0 8 error") == 0
    assert (on.md().type, on.md().interface_ptr.new_map.type) == (DM_TYPE_REQUEST_BASED, DM_TYPE_REQUEST_BASED)
    assert control.load("x", "0 8 zero") == -EINVAL
    assert on.kernel.log[-1] == ("device-mapper: ioctl: can't replace immutable target type multipath")


# ---------------------------------------------------------------- finding a target


@settings(max_examples=40)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=700))
def test_the_target_of_each_sector(lengths):
    """Tables of up to three levels; the tree is as high as it needs to be."""
    boot(1)
    control.load_modules()
    control.create("x")
    r, t = dm_table.dm_table_create(FMODE_READ | FMODE_WRITE, len(lengths), dm.dm_get_md(254 << 20))
    assert r == 0
    start = 0
    for length in lengths:
        assert dm_table.dm_table_add_target(t, "zero", start, length, "") == 0
        start += length
    assert dm_table.dm_table_complete(t) == 0
    assert t.depth == (1 if len(lengths) <= 8 else 2 if len(lengths) <= 72 else 3)
    sector = 0
    for target, length in zip(t.targets, lengths, strict=False):
        for n in {sector, sector + length // 2, sector + length - 1}:
            assert dm_table.dm_table_find_target(t, n) is target
        sector += length
    assert dm_table.dm_table_get_size(t) == sector
    assert dm_table.dm_table_find_target(t, sector) is None
    memory = this().memory
    nodes = sum(t.counts[:t.depth - 1])
    indexes = [each for each in memory.live.values() if each.kind == "vmalloc" and each.size == nodes * 64]
    assert bool(indexes) == (t.depth > 1)
    dm_table.dm_table_destroy(t)
    assert not [each for each in memory.live.values() if each.kind == "vmalloc"]


def test_a_table_of_more_targets_than_there_can_be():
    boot(1)
    assert dm_table.dm_table_create(3, 0xFFFFFFFF, None) == (-ENOMEM, None)
    assert dm_table.dm_table_create(3, 1 << 30, None) == (-ENOMEM, None)
    assert dm_table.dm_vcalloc(1 << 40, 1 << 40) == 0
    assert this().memory.totals() == {key: value for key, value in this().memory.totals().items()
                                      if key[0] != "dm_table"}
    r, t = dm_table.dm_table_create(3, 0, None)
    assert (r, t.num_allocated, t.type, t.mode) == (0, 8, DM_TYPE_NONE, 3)


# ---------------------------------------------------------------- arguments


@settings(max_examples=200)
@given(st.lists(st.text("ab\\ \t", min_size=0, max_size=6), max_size=20))
def test_arguments_are_split_at_blanks(words):
    """A backslash makes the character behind it an ordinary one, and is dropped; at the end it is one itself."""
    boot(1)
    text = " ".join(words)
    expected, word, quoted, at = [], None, False, 0
    while at < len(text):
        c = text[at]
        quoted = c == "\\" and at + 1 < len(text)
        if quoted:
            at, c = at + 1, text[at + 1]
        if c in " \t" and not quoted:
            if word is not None:
                expected.append(word)
            word = None
        else:
            word = (word or "") + c
        at += 1
    if word is not None:
        expected.append(word)
    r, argc, argv = dm_table.dm_split_args(text)
    assert (r, argv[:argc]) == (0, expected)
    assert len(argv) == max(8, 1 << (argc - 1).bit_length()) if argc else len(argv) == 8
    kfree(argv)
    assert not [each for each in this().memory.live.values() if each.kind == "pointer[]" and each.addr == argv._addr]


@pytest.mark.parametrize(("text", "words"), [
    ("a\xa0b", ["a\udcc2", "b"]), ("/dev/mapper/\xe0 0", ["/dev/mapper/\udcc3", "0"]), ("a\udca0b", ["a", "b"]),
    ("\u4e2d\u3000b", ["\u4e2d\u3000b"]), ("a\x85b\x1cc", ["a\x85b\x1cc"]), ("a\vb\fc\rd", ["a", "b", "c", "d"])])
def test_a_blank_is_a_byte(text, words):
    """Byte 0xa0 is one, wherever it is; other blanks of Unicode are none."""
    Machine(disks=1)
    r, argc, argv = dm_table.dm_split_args(text)
    assert (r, argv[:argc]) == (0, words)


def test_a_path_that_is_no_text():
    kernel = boot(2)
    scenario.null_blk_load(gb=1)
    assert scenario.dmsetup_run("create", "x", "--table", "0 8 linear /dev/nullb0\xa00").exit == 1
    assert kernel.log[-1] == "device-mapper: ioctl: error adding target to table"


def test_splitting_without_memory():
    on = Machine(disks=1)
    words = " ".join("x" * 12)
    for nth in (1, 2, 3):
        on.kernel.memory.fail_nth(nth)
        assert dm_table.dm_split_args(words) == (-ENOMEM, 0, None)
    on.kernel.memory.fail_never()
    control.create("x")
    before = len(on.kernel.log)
    on.kernel.memory.fail_if(lambda kind, size: kind == "pointer[]")
    assert control.load("x", "0 8 linear /dev/d0 0") == -ENOMEM
    on.kernel.memory.fail_never()
    assert on.kernel.log[before:] == [line("linear: couldn't split parameters (insufficient memory)"), ADDING]


@pytest.mark.parametrize(("words", "low", "high", "result"), [
    (["3", "x"], 1, 5, (0, 3)), (["5"], 1, 5, (0, 5)), (["6"], 1, 5, None), (["0"], 1, 5, None), ([], 0, 5, None),
    (["2x"], 0, 5, None), (["-1"], 0, 5, None), (["4294967298"], 0, 5, (0, 2)),
])
def test_reading_an_argument(words, low, high, result):
    ti, left = dm_target(), dm_arg_set(len(words), words)
    read = dm_table.dm_read_arg(dm_arg(low, high, "no such number"), left, ti)
    assert read == (result or (-EINVAL, None))
    assert ti.error == ("" if result else "no such number")
    assert (left.argc, left.argv) == (max(len(words) - 1, 0), words[1:])


@pytest.mark.parametrize(("words", "result"), [(["2", "a", "b", "c"], (0, 2)), (["3", "a", "b"], (-EINVAL, None)),
                                               (["0"], (0, 0))])
def test_reading_a_group(words, result):
    ti, left = dm_target(), dm_arg_set(len(words), words)
    assert dm_table.dm_read_arg_group(dm_arg(0, 9, "no"), left, ti) == result
    if result[0] == 0:
        dm_table.dm_consume_args(left, result[1])
        assert left.argv == words[1 + result[1]:]
        assert dm_table.dm_shift_arg(left) == (words[1 + result[1]] if len(words) > 1 + result[1] else None)


# ---------------------------------------------------------------- what a device can do


def test_limits_come_from_what_is_below():
    on = Machine(disks=2)
    blk_queue_max_hw_sectors(on.disks[0].queue, 512)
    blk_queue_max_hw_sectors(on.disks[1].queue, 64)
    blk_queue_logical_block_size(on.disks[1].queue, 1024)
    control.create("x", "0 8 linear /dev/d0 0")
    queue = on.md().queue
    limits = queue.limits
    assert (limits.max_hw_sectors, limits.logical_block_size, limits.max_segments) == (512, 512, 128)
    assert queue.backing_dev_info.io_pages == 64
    control.load("x", "0 8 linear /dev/d0 0\n8 16 striped 2 8 /dev/d0 8 /dev/d1 0")
    control.resume("x")
    assert (limits.max_hw_sectors, limits.logical_block_size) == (64, 1024)
    assert (limits.io_min, limits.io_opt) == (4096, 8192)
    assert queue.backing_dev_info.io_pages == 8
    control.load("x", "0 16 zero")
    control.resume("x")
    assert limits.max_hw_sectors == 0xFFFFFFFF
    assert (limits.io_min, limits.io_opt) == (512, 0)


def test_a_table_without_disks_leaves_the_limits():
    """As far as its targets say that they have none: multipath does, zero does not say."""
    on = Machine(disks=1)
    blk_queue_max_hw_sectors(on.disks[0].queue, 64)
    control.create("x", "0 8 multipath 0 0 1 1 round-robin 0 1 1 /dev/d0 1")
    control.load("x", "0 8 multipath 0 0 0 0")
    control.resume("x")
    assert on.md().queue.limits.max_hw_sectors == 64


flags = st.tuples(*[st.booleans()] * 8)


@settings(max_examples=60)
@given(flags, flags, st.sampled_from(["two", "striped", "zero", "error"]))
def test_flags_come_from_what_is_below(first, second, table):
    """All disks must discard, erase, repeat a block, write zeroes; any one caches, rotates, or wants stable pages."""
    on = Machine(disks=2)
    for disk, able in zip(on.disks, (first, second), strict=True):
        discard, erase, same, zeroes, cache, fua, rotates, random = able
        q = disk.queue
        for flag, wanted in ((QUEUE_FLAG_DISCARD, discard), (QUEUE_FLAG_SECERASE, erase),
                             (QUEUE_FLAG_NONROT, not rotates), (QUEUE_FLAG_ADD_RANDOM, random)):
            (blk_core.blk_queue_flag_set if wanted else blk_core.blk_queue_flag_clear)(flag, q)
        blk_queue_max_discard_sectors(q, 8 * discard)
        q.limits.discard_granularity = 512 * discard
        q.limits.max_write_same_sectors = 16 * same
        blk_queue_max_write_zeroes_sectors(q, 32 * zeroes)
        blk_queue_write_cache(q, cache, cache and fua)
        q.backing_dev_info.capabilities |= BDI_CAP_STABLE_WRITES * rotates
    text = {"two": "0 8 linear /dev/d0 0\n8 8 linear /dev/d1 0", "striped": "0 16 striped 2 8 /dev/d0 0 /dev/d1 0",
            "zero": "0 8 linear /dev/d0 0\n8 8 zero", "error": "0 8 linear /dev/d0 0\n8 8 error"}[table]
    control.create("x")
    blk_core.blk_queue_flag_set(QUEUE_FLAG_ADD_RANDOM, on.md().queue)
    assert control.load("x", text) == control.resume("x") == 0
    q = on.md().queue
    every = [first, second] if table in ("two", "striped") else [first]
    without = table in ("zero", "error")  # a target of which nothing is known below

    def has(flag):
        return bool(bit_is_set(flag, q.queue_flags))
    assert has(QUEUE_FLAG_DISCARD) == (all(each[0] for each in every) and not without)
    assert bool(q.limits.max_discard_sectors) == has(QUEUE_FLAG_DISCARD)
    assert bool(q.limits.discard_granularity) == has(QUEUE_FLAG_DISCARD)
    assert has(QUEUE_FLAG_SECERASE) == (all(each[1] for each in every) and not without)
    assert bool(q.limits.max_write_same_sectors) == (all(each[2] for each in every) and not without)
    assert bool(q.limits.max_write_zeroes_sectors) == (all(each[3] for each in every) and not without)
    assert has(QUEUE_FLAG_WC) == any(each[4] for each in every)
    assert has(QUEUE_FLAG_FUA) == any(each[4] and each[5] for each in every)
    assert has(QUEUE_FLAG_NONROT) == (not any(each[6] for each in every))
    assert has(QUEUE_FLAG_ADD_RANDOM) == all(each[7] for each in every)
    assert bool(q.backing_dev_info.capabilities & BDI_CAP_STABLE_WRITES) == any(each[6] for each in every)


def test_a_target_may_want_flushes_and_discards_that_nothing_below_does():
    on = Machine(disks=1)
    Scripted(iterate_devices=lambda ti, fn, data: fn(ti, ti.private, 0, ti.len, data)).settings = {
        "flush_supported": True, "num_flush_bios": 1, "discards_supported": True, "num_discard_bios": 1}
    control.create("x", "0 8 scripted /dev/d0")
    q = on.md().queue
    assert bit_is_set(QUEUE_FLAG_WC, q.queue_flags)
    assert bit_is_set(QUEUE_FLAG_FUA, q.queue_flags)
    assert bit_is_set(QUEUE_FLAG_DISCARD, q.queue_flags)


def test_a_disk_that_has_gone():
    """Its queue is not there any more, while it is still in the table."""
    on = Machine(disks=1)
    control.create("x", "0 8 linear /dev/d0 0")
    table = on.md().map
    queue, on.disks[0].disk.queue = on.disks[0].disk.queue, None
    dev = next(iter(table.devices)).dm_dev
    before = len(on.kernel.log)
    assert dm_table.dm_set_device_limits(table.targets[0], dev, 0, 8, None) == 0
    assert dm_table.device_area_is_invalid(table.targets[0], dev, 0, 8, on.md().queue.limits) == 1
    assert on.kernel.log[before:] == [line("Cannot set limits for nonexistent device d0"),
                                      line("d0 is not yet initialised: start=0, len=8, dev_size=192")]
    for capable in (dm_table.device_flush_capable, dm_table.device_is_rotational, dm_table.device_is_not_random,
                    dm_table.device_requires_stable_pages, dm_table.device_not_discard_capable,
                    dm_table.device_not_secure_erase_capable, dm_table.device_not_write_same_capable,
                    dm_table.device_not_write_zeroes_capable):
        assert capable(None, dev, 0, 8, 1) is False
    on.disks[0].disk.queue = queue


def test_a_disk_whose_profile_of_integrity_is_the_devices(monkeypatch):
    """If disks had one, as they have not here, all would need to, and all targets to pass it on."""
    on = Machine(disks=2)
    having = {"d0", "d1"}
    monkeypatch.setattr(dm_table, "integrity_profile_exists", lambda disk: disk.disk_name in having)
    Scripted(features=DM_TARGET_PASSES_INTEGRITY)
    control.create("x", "0 8 scripted /dev/d0\n8 8 scripted /dev/d1")
    table = on.md().map
    assert table.integrity_supported is True
    assert dm_table.dm_table_get_integrity_disk(table) is on.disks[0].disk
    having.remove("d1")
    assert dm_table.dm_table_get_integrity_disk(table) is None
    control.create("y", "0 8 linear /dev/d0 0\n8 8 zero")
    assert on.md("dm-1").map.integrity_supported is False


@pytest.mark.parametrize(("kind", "bios", "requests"), [
    (DM_TYPE_NONE, False, False), (DM_TYPE_BIO_BASED, True, False), (DM_TYPE_REQUEST_BASED, False, True),
    (DM_TYPE_DAX_BIO_BASED, True, False), (DM_TYPE_NVME_BIO_BASED, True, False)])
def test_kinds(kind, bios, requests):
    boot(1)
    _, t = dm_table.dm_table_create(3, 1, None)
    dm_table.dm_table_set_type(t, kind)
    assert dm_table.dm_table_get_type(t) == kind
    assert (dm_table.dm_table_bio_based(t), dm_table.dm_table_request_based(t)) == (bios, requests)


def test_a_table_of_no_kind_has_nothing_to_clone_from():
    on = Machine(disks=1)
    _, t = dm_table.dm_table_create(3, 1, None)
    assert dm_table.dm_table_alloc_md_mempools(t, None) == -EINVAL
    assert on.kernel.log[-1] == "device-mapper: table: no table type is set, can't allocate mempools"


def test_direct_access_is_what_all_targets_can_or_none(monkeypatch):
    on = Machine(disks=1)
    control.create("x", "0 8 linear /dev/d0 0\n8 8 zero")
    table = on.md().map
    assert dm_table.dm_table_supports_dax(table) is False
    for target, every in zip(table.targets[:2], (False, True), strict=True):
        monkeypatch.setattr(target.type, "direct_access", lambda ti, pgoff, nr_pages: nr_pages)
        assert dm_table.dm_table_supports_dax(table) is every


def test_nvme_disks_do_not_end_parts():
    on = Machine(disks=1)
    control.create("x", "0 8 linear /dev/d0 0")
    table = on.md().map
    assert dm_table.dm_table_does_not_support_partial_completion(table) is False
    on.disks[0].disk.disk_name = "nvme0n1"
    assert dm_table.dm_table_does_not_support_partial_completion(table) is True


def test_what_a_table_is_asked():
    on = Machine(disks=2)
    control.create("x", "0 8 linear /dev/d0 0\n8 8 error\n16 8 linear /dev/d1 0")
    table = on.md().map
    assert dm_table.dm_table_get_num_targets(table) == 3
    assert dm_table.dm_table_get_target(table, 2).begin == 16
    assert dm_table.dm_table_get_target(table, 3) is None
    assert [each.dm_dev.name for each in dm_table.dm_table_get_devices(table)] == ["240:1", "240:0"]
    assert dm_table.dm_table_get_mode(table) == FMODE_READ | FMODE_WRITE
    assert dm_table.dm_table_get_wildcard_target(table).begin == 8
    assert dm_table.dm_table_get_immutable_target(table) is None
    assert dm_table.dm_table_get_md(table) is on.md()
    assert dm_table.dm_table_has_no_data_devices(table) is False
    control.create("y", "0 8 zero\n8 8 linear /dev/d0 0")
    assert dm_table.dm_table_get_wildcard_target(on.md("dm-1").map) is None
