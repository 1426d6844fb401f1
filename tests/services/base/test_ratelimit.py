"""What is said a few times only, or once."""

import pytest

from blkmodel import boot
from blkmodel.block import bio as bios, blk_core, genhd
from blkmodel.fs import block_dev
from blkmodel.include.linux.bio import bio_set_dev
from blkmodel.include.linux.blk_types import REQ_OP_READ, REQ_OP_WRITE
from blkmodel.include.linux.genhd import disk_devt, disk_to_dev
from blkmodel.scenario import disk, null_blk_load
from blkmodel.services.base.bug import DO_ONCE, WARN_ON_ONCE, WARN_ONCE
from blkmodel.services.base.printk import printk_ratelimited
from blkmodel.services.devices.device import dev_warn_once
from blkmodel.services.files.file import FMODE_READ


@pytest.fixture
def kernel():
    return boot(2)


def flood(times, what="flood"):
    for n in range(times):
        printk_ratelimited(f"{what} {n}", "second line")


def test_ten_in_five_seconds(kernel):
    """Then what was held back is counted, when the next one comes."""
    before = len(kernel.log)
    flood(25)
    assert kernel.log[before:] == [line for n in range(10) for line in (f"flood {n}", "second line")]
    kernel.loop.advance(5_000_000_000)
    flood(1)
    assert len(kernel.log) == before + 20
    kernel.loop.advance(4_000_000)
    flood(1)
    assert kernel.log[before + 20:] == ["flood: 16 callbacks suppressed", "flood 0", "second line"]
    kernel.loop.advance(6_000_000_000)
    flood(1, "quiet before")
    assert kernel.log[before + 23:] == ["quiet before 0", "second line"]


def test_each_place_has_its_own_limit(kernel):
    before = len(kernel.log)
    for _ in range(12):
        printk_ratelimited("one")
        printk_ratelimited("other")
    assert kernel.log[before:] == ["one", "other"] * 10
    with boot(1) as other:  # and each kernel
        before = len(other.log)
        flood(1)
        assert len(other.log) == before + 2


def test_a_warning_once_from_each_place(kernel):
    before = len(kernel.log)
    for _ in range(3):
        assert WARN_ONCE(1, "here")
        assert WARN_ONCE(1, "there")
        assert WARN_ON_ONCE([0], "elsewhere")
        assert not WARN_ONCE(0, "never")
    assert kernel.log[before:] == [f"WARNING: CPU: 0: {place}" for place in ("here", "there", "elsewhere")]


def submit(times, sector, op):
    bdev = block_dev.blkdev_get_by_dev(disk_devt(disk("nullb0")), FMODE_READ, None)
    for _ in range(times):
        bio = bios.bio_alloc_bioset(0, 0, bios.variables().fs_bio_set)
        bio_set_dev(bio, bdev)
        bio.bi_iter.bi_sector, bio.bi_iter.bi_size, bio.bi_opf = sector, 512, op
        bio.bi_end_io = bios.bio_put
        if op == REQ_OP_READ:
            blk_core.submit_bio(bio)
        else:
            blk_core.generic_make_request_checks(bio)
    block_dev.blkdev_put(bdev, FMODE_READ)


def test_what_reaches_beyond_the_end(kernel):
    null_blk_load(gb=1)
    kernel.task("dd", submit, 50, 1 << 40, REQ_OP_READ)
    assert [line for line in kernel.log if "beyond" in line or "want=" in line] == [
        "attempt to access beyond end of device", f"nullb0: rw=0, want={(1 << 40) + 1}, limit=2097152"] * 10
    kernel.loop.advance(6_000_000_000)
    kernel.task("dd", submit, 1, 1 << 40, REQ_OP_READ)
    assert kernel.log[-3] == "handle_bad_sector: 40 callbacks suppressed"


def test_writes_to_what_is_read_only(kernel):
    null_blk_load(gb=1)
    genhd.set_disk_ro(disk("nullb0"), True)
    kernel.task("dd", submit, 3, 0, REQ_OP_WRITE)
    assert [line for line in kernel.log if "read-only" in line] == [
        "WARNING: CPU: 0: generic_make_request: Trying to write to read-only block-device nullb0 (partno 0)"]


def test_what_is_done_once_from_each_place(kernel):
    done: list[int] = []
    for n in range(3):
        assert DO_ONCE(done.append, n) == (n == 0)
        assert DO_ONCE(done.append, n + 10) == (n == 0)
    assert done == [0, 10]
    null_blk_load()
    before = len(kernel.log)
    for n in range(2):
        dev_warn_once(disk_to_dev(disk("nullb0")), f"warned {n}")
    assert [line.rpartition(": ")[2] for line in kernel.log[before:]] == ["warned 0"]
