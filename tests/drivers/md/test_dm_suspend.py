"""A suspended device lets nothing through and loses nothing; who hears of it, and what ends the waiting."""

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel import scenario
from blkmodel.block.blk_core import submit_bio
from blkmodel.drivers.md import dm
from blkmodel.drivers.md.dm_h import DM_SUSPEND_LOCKFS_FLAG
from blkmodel.include.linux import blk_types as ops
from blkmodel.include.linux.bio import bioset_initialized
from blkmodel.include.linux.device_mapper import DM_MAPIO_SUBMITTED
from blkmodel.services.base.bug import KernelBug
from blkmodel.services.base.err import EINTR, EINVAL, EIO, ENOMEM
from blkmodel.services.tasks.sched import send_sig
from blkmodel.sim import this
from blkmodel.sim.kernel import Context
from tests.drivers.md import control
from tests.drivers.md.ios import IO, read, write
from tests.drivers.md.machine import MS, SECTOR, Machine, Scripted
from tests.drivers.md.tables import Reference


def test_a_suspended_device_lets_nothing_through_and_loses_nothing():
    on = Machine()
    control.create("x", "0 64 linear /dev/d0 0")
    before = [write("dm-0", n, bytes([n]) * SECTOR) for n in range(4)]
    assert control.suspend("x") == 0
    assert [io.ends for io in before] == [1] * 4
    seen = len(on.disks[0].seen)
    during = [write("dm-0", n, bytes([n]) * SECTOR) for n in range(4, 9)]
    ahead = IO("dm-0", ops.REQ_OP_READ | ops.REQ_RAHEAD, 0, SECTOR)
    on.advance(10)
    assert len(on.disks[0].seen) == seen
    assert [io.ends for io in during] == [0] * 5
    assert (ahead.ends, ahead.status) == (1, ops.BLK_STS_IOERR)
    assert control.resume("x") == 0
    on.advance()
    assert [(io.ends, io.status) for io in during] == [(1, 0)] * 5
    assert bytes(on.stores["d0"][:9 * SECTOR]) == b"".join(bytes([n]) * SECTOR for n in range(9))
    assert [n for _, sector, count, _ in on.disks[0].seen for n in range(sector, sector + count)] == list(range(9))


steps = st.lists(st.one_of(st.tuples(st.just("write"), st.integers(1, 4)),
                           st.tuples(st.sampled_from(["suspend", "noflush", "resume", "swap", "cut", "wait"]),
                                     st.integers(0, 3))), max_size=24)
TABLES = ("0 256 linear /dev/d0 0", "0 256 linear /dev/d1 0", "0 100 linear /dev/d1 0\n100 156 linear /dev/d0 100",
          "0 256 striped 2 8 /dev/d2 0 /dev/d3 0")


@settings(max_examples=60)
@given(steps)
def test_no_bio_is_lost_or_doubled_when_tables_change_under_it(steps):
    """Each write is to sectors of its own, and is afterwards where one of the tables says."""
    on = Machine(disks=4, sectors=256, delay=MS)
    control.create("x", TABLES[0])
    suspended, sector = False, 0
    writes: list[tuple[int, bytes, IO]] = []
    for what, number in steps:
        if what == "write" and sector + 8 <= 256:
            data = (len(writes) + 1).to_bytes(4, "little") * 128 * number
            writes.append((sector, data, write("dm-0", sector, data, cpu=number % 2)))
            sector += 8
        elif what in ("suspend", "noflush"):
            assert control.suspend("x", noflush=what == "noflush") == 0
            suspended = True
            assert not dm.md_in_flight(on.md())
        elif what == "resume":
            assert control.resume("x") == 0
            suspended = False
        elif what == "swap":
            assert control.load("x", TABLES[number]) == 0
        elif what == "cut":
            assert control.load("x", TABLES[number]) == control.resume("x") == 0
            suspended = False
        elif what == "wait":
            before = sum(len(disk.seen) for disk in on.disks)
            on.advance(number)
            assert not suspended or before == sum(len(disk.seen) for disk in on.disks)
    control.resume("x")
    on.advance(100)
    for start, data, io in writes:
        assert (io.ends, io.status) == (1, 0)
        found = []
        for table in TABLES:
            place = Reference({f"/dev/{name}": store for name, store in on.stores.items()})
            place.tables["/dev/dm-0"] = table.splitlines()
            found.append(place.read("/dev/dm-0", start, len(data) // SECTOR))
        assert data in found
    assert not dm.md_in_flight(on.md())


@pytest.mark.parametrize("failing", ["load", "suspend", "resume"])
def test_every_allocation_of_a_swap_under_io_fails_once(failing):
    """Whichever it is: an error or none, no write is lost, nothing is left, and the next try works.

    A table that could not be made live is gone, and has to be loaded again.
    """
    on = Machine(disks=4, sectors=256, delay=MS)
    memory = on.kernel.memory
    steps = {"load": lambda: control.load("x", TABLES[3]), "suspend": lambda: control.suspend("x"),
             "resume": lambda: control.resume("x")}
    nth, failures, happened = 0, 0, True  # the first round is for what is made once and kept
    before = None
    while happened:
        assert control.create("x", TABLES[2]) == 0
        ios = [write("dm-0", 96, bytes([1]) * SECTOR * 8)]
        happened = not nth
        for n, (step, do) in enumerate(steps.items(), 2):
            failed = memory.failed
            if step == failing and nth:
                memory.fail_nth(nth)
            r = do()
            memory.fail_never()
            happened = happened or memory.failed > failed
            if r:
                assert (r, step) == (-ENOMEM, failing)
                failures += 1
                if step == "resume":
                    assert steps["load"]() == 0
                assert do() == 0
            ios.append(write("dm-0", 8 * n, bytes([n]) * SECTOR * 8))
        on.advance(100)
        assert [(io.ends, io.status) for io in ios] == [(1, 0)] * 4
        assert control.table("x").split()[2] == "striped"
        for io in ios:
            io.free()
        assert control.remove("x") == 0
        before = before or memory.totals()
        assert memory.totals() == before, f"allocation {nth}"
        nth += 1
    assert failures > {"load": 20, "suspend": -1, "resume": 3}[failing]


def test_a_device_whose_table_could_not_be_swapped_wants_another_table_first():
    """What bios are cloned from is gone then; the old table, made live again without it, crashes the kernel."""
    on = Machine()
    control.create("x", "0 8 linear /dev/d0 0")
    for again in (True, False):
        assert control.load("x", "0 8 linear /dev/d1 0") == 0
        nth = 1
        while bioset_initialized(on.md().bs):
            on.kernel.memory.fail_nth(nth)
            failed = control.resume("x")
            on.kernel.memory.fail_never()
            assert failed == -ENOMEM or control.load("x", "0 8 linear /dev/d1 0") == 0
            nth += 1
        assert failed == -ENOMEM
        assert dm.dm_suspended_md(on.md())
        if again:
            assert control.load("x", "0 8 linear /dev/d2 0") == 0
        assert control.resume("x") == 0
        if again:
            assert scenario.io("dm-0", "read", 0, SECTOR) == bytes(on.stores["d2"][:SECTOR])
    with pytest.raises(KernelBug, match="memory pool that is gone"):
        scenario.io("dm-0", "read", 0, SECTOR)


def test_suspending_twice_and_resuming_what_runs():
    on = Machine()
    control.create("x", "0 8 linear /dev/d0 0")
    md = on.md()
    assert control.resume("x") == 0
    assert this().task("kernel", dm.dm_resume, md) == -EINVAL
    assert control.suspend("x") == control.suspend("x") == 0
    assert this().task("kernel", dm.dm_suspend, md, DM_SUSPEND_LOCKFS_FLAG) == -EINVAL
    assert control.create("y") == 0
    assert control.suspend("y") == 0
    assert control.resume("y") == -EINVAL  # it has no table
    empty_table = on.md("dm-1")
    assert dm.dm_suspended_md(empty_table)


def test_a_signal_ends_suspending_and_all_goes_on():
    """A target keeps a bio: a process would wait for ever, if somebody did not interrupt it."""
    on = Machine()
    events = []
    scripted = Scripted(maps=[DM_MAPIO_SUBMITTED], presuspend=lambda ti: events.append("presuspend"),
                        presuspend_undo=lambda ti: events.append("undo"))
    control.create("x", "0 8 scripted /dev/d0")
    io = read("dm-0", 0, SECTOR)

    def suspend():
        task = this().context

        def interrupt():
            send_sig(task)
        this().loop.post(Context("task", "shell", 0), interrupt, MS)
        return dm.dm_suspend(on.md(), DM_SUSPEND_LOCKFS_FLAG)
    assert this().task("dmsetup", suspend) == -EINTR
    assert events == ["presuspend", "undo"]
    assert not dm.dm_suspended_md(on.md())
    assert on.md().bdev.bd_fsfreeze_count == 0
    this().task("later", submit_bio, scripted.bios[0])
    another = read("dm-0", 1, SECTOR)
    on.advance()
    assert (io.ends, another.ends) == (1, 1)


def test_the_file_system_goes_on_when_the_device_does():
    on = Machine()
    control.create("x", "0 8 linear /dev/d0 0")
    md = on.md()

    def frozen():
        return bool(md.flags & 1 << dm.DMF_FROZEN), md.bdev.bd_fsfreeze_count
    for noflush, state in ((False, (True, 1)), (True, (False, 0))):
        assert control.suspend("x", noflush) == 0
        assert (frozen(), md.frozen_sb) == (state, None)
        assert control.resume("x") == 0
        assert (frozen(), md.frozen_sb) == ((False, 0), None)


def test_targets_hear_of_suspending_and_resuming():
    on = Machine()
    heard = []

    def hear(what):
        def listen(ti):
            post = bool(dm.dm_table.dm_table_get_md(ti.table).flags >> dm.DMF_POST_SUSPENDING & 1)
            heard.append((what, dm.dm_suspended(ti), post, dm.dm_noflush_suspending(ti)))
            return 0
        return listen
    Scripted(presuspend=hear("presuspend"), postsuspend=hear("postsuspend"), preresume=hear("preresume"),
             resume=hear("resume"))
    control.create("x", "0 8 scripted /dev/d0")
    assert heard == [("preresume", True, False, False), ("resume", True, False, False)]
    heard.clear()
    control.suspend("x", noflush=True)
    assert heard == [("presuspend", False, False, True), ("postsuspend", True, True, False)]
    assert not on.md().flags >> dm.DMF_POST_SUSPENDING & 1
    assert not on.md().flags >> dm.DMF_NOFLUSH_SUSPENDING & 1


def test_a_target_that_cannot_resume():
    on = Machine()
    Scripted(preresume=lambda ti: -EIO)
    assert control.create("x") == control.load("x", "0 8 scripted /dev/d0") == 0
    assert control.resume("x") == -EIO
    assert on.kernel.log[-1] == "device-mapper: table: 254:0: scripted: preresume failed, error = -5"
    assert dm.dm_suspended_md(on.md())
