"""Any schedule of processes over a disk comes to its end: each read and write once, data right, nobody left asleep."""

import threading

from hypothesis import given, settings, strategies as st

from blkmodel import boot, scenario
from blkmodel.block import blk_mq, blk_sysfs
from blkmodel.device.nvme import unplug
from blkmodel.drivers.md import dm
from blkmodel.drivers.md.dm_h import DM_SUSPEND_LOCKFS_FLAG
from blkmodel.drivers.nvme.host import core as nvme_core
from blkmodel.errors import KernelError
from blkmodel.services.base.err import EBUSY, EINVAL, ENETRESET
from blkmodel.services.devices.pci import to_pci_dev
from blkmodel.services.tasks.timer import msleep, usleep_range
from blkmodel.trace import record
from tests.invariants import bios_watched, queue_at_rest, tags_watched

PAGE = 4096
DOINGS = st.lists(st.tuples(st.sampled_from(["read", "write", "freeze", "none", "mq-deadline", "nr_requests", "pause"]),
                            st.integers(0, 7)), min_size=1, max_size=4)


def store(q, file, text):
    """Write a file of a queue in sysfs."""
    ret = blk_sysfs.queue_attr_store(q.kobj, q.kobj.attrs[file], text, len(text))
    assert ret in (len(text), -EINVAL), (file, text, ret)  # more requests than there are tags


class Disk:
    """A disk, and what processes do to it at once. gone: it was unplugged. ended: how many reads and writes have."""

    def __init__(self, kernel, name):
        self.kernel, self.name, self.disk = kernel, name, scenario.disk(name)
        self.gone, self.ended = False, 0

    def process(self, doings, n):
        """One process's job: it writes and reads pages of its own, and changes what all share."""
        mine: dict = {}

        def run():
            for kind, x in doings:
                what, *on = kind.split()
                if what in ("read", "write"):
                    self.io("dm-0" if on else self.name, what, n, x, mine)
                elif hasattr(self, what):
                    getattr(self, what)(x)
                elif not self.gone:
                    store(self.disk.queue, "scheduler", kind)
        return run

    def run(self, schedule):
        jobs = [(f"p{n}", n % 4, self.process(doings, n)) for n, doings in enumerate(schedule)]
        assert self.kernel.tasks(jobs) == [], self.kernel.log[-6:]

    def io(self, disk, op, n, x, mine):
        """Read or write a page that nobody else writes. It fails only if the disk has been unplugged."""
        data, at = bytes([n * 16 + x + 1]) * PAGE, (n * 8 + x) * PAGE
        found = scenario._dio(disk, scenario.Asked(op, at, PAGE, [1], data, 0))
        if isinstance(found, int):
            assert self.gone, (disk, op, found)
        elif op == "read":
            assert found == mine.get(at, bytes(PAGE))
        else:
            mine[at] = data
        self.ended += 1

    def freeze(self, x):
        q = self.disk.queue
        blk_mq.blk_mq_freeze_queue(q)
        usleep_range(10 * x + 1, 10 * x + 1)
        blk_mq.blk_mq_unfreeze_queue(q)

    def nr_requests(self, x):
        if not self.gone:
            store(self.disk.queue, "nr_requests", str(4 + x))

    def pause(self, x):
        msleep(x)


TURNS = st.lists(st.integers(0, 5), max_size=40)


def choice(turns):
    """Chooses who goes first where several could, as long as there are turns; then the first of them does."""
    left = list(turns)
    return lambda could: left.pop() % len(could) if left else 0


def in_memory(schedule, depth, choose=None):
    """Let processes do what is scheduled with a null_blk disk, to the end."""
    kernel = boot(4, seed=7)
    kernel.loop.choose = choose
    scenario.null_blk_load(nr_devices=0)
    there = Disk(kernel, scenario.null_blk_create("mem", memory_backed=1, size=1, irqmode=2, completion_nsec=20_000,
                                                  hw_queue_depth=depth, submit_queues=2))
    there.run(schedule)
    return there


def inputs_and_outputs(schedule):
    """How many reads and writes there are in it."""
    return sum(kind.startswith(("read", "write")) for doings in schedule for kind, _ in doings)


@settings(max_examples=20)
@given(st.lists(DOINGS, min_size=1, max_size=6), st.integers(4, 8), TURNS)
def test_any_schedule_ends_with_everything_at_rest(schedule, depth, turns):
    before = threading.active_count()
    there = in_memory(schedule, depth, choice(turns))
    assert there.ended == inputs_and_outputs(schedule)
    q = there.disk.queue
    assert not q.mq_freeze_depth
    assert not there.kernel.loop.sleepers()
    assert not blk_mq.blk_mq_queue_inflight(q)
    assert not any(lock.owner for lock in (q.sysfs_lock, q.sysfs_dir_lock, q.mq_freeze_lock))
    assert threading.active_count() == before
    scenario.null_blk_remove("mem")


WIDER = st.lists(st.tuples(
    st.sampled_from(["read", "write", "read dm", "write dm", "freeze", "none", "mq-deadline", "kyber", "nr_requests",
                     "pause", "reset", "suspend", "remove"]), st.integers(0, 7)), min_size=1, max_size=4)


class Together(Disk):
    """An NVMe disk, and a linear device on it."""

    def __init__(self, depth):
        kernel = boot(4, seed=7)
        # without copies of doorbells, which 5.4 leaves stale at a reset
        scenario.nvme_probe(sectors=1024, dbbuf=0, io_queue_depth=depth)
        assert scenario.dmsetup_run("create", "m", "--table", "0 1024 linear /dev/nvme0n1 0").exit == 0
        super().__init__(kernel, "nvme0n1")
        self.md = scenario.disk("dm-0").private_data
        self.pdev = to_pci_dev(scenario.nvme_controller().ctrl.dev)

    def reset(self, x):
        if not self.gone:
            ret = nvme_core.nvme_reset_ctrl_sync(scenario.nvme_controller().ctrl)
            assert ret in (0, -EBUSY, -ENETRESET) or self.gone

    def suspend(self, x):
        if dm.dm_suspend(self.md, DM_SUSPEND_LOCKFS_FLAG) == 0:
            usleep_range(10 * x + 1, 10 * x + 1)
            assert dm.dm_resume(self.md) == 0

    def remove(self, x):
        if not self.gone:
            self.gone = True
            unplug(self.pdev)


@settings(max_examples=20)
@given(st.lists(WIDER, min_size=1, max_size=6), st.integers(4, 8), TURNS)
def test_any_schedule_over_a_controller_and_a_mapped_device(schedule, depth, turns):
    before = threading.active_count()
    there = Together(depth)
    there.kernel.loop.choose = choice(turns)
    with tags_watched() as held, bios_watched():
        there.run(schedule)
        there.kernel.loop.advance(1_000_000_000)
    assert not held
    assert there.ended == inputs_and_outputs(schedule)
    assert not there.kernel.loop.sleepers()
    if not there.gone:
        queue_at_rest(there.disk.queue)
    assert scenario.dmsetup_run("remove", "m").exit == 0
    if not there.gone:
        scenario.nvme_remove()
    assert threading.active_count() == before


@settings(max_examples=3)
@given(st.lists(DOINGS, min_size=2, max_size=4))
def test_the_same_seed_gives_the_same_run_to_the_event(schedule):
    def events(choose=None):
        return [(type(event).__name__, *(x for x in event if isinstance(x, str | int)))
                for event in record(in_memory, schedule, 4, choose).events]
    assert events() == events() == events(choice([])), "where nobody chooses, the first of those who could goes"


def test_a_reader_and_a_removal_end_together():
    kernel = boot(2)
    scenario.null_blk_load(nr_devices=0)
    disk = scenario.null_blk_create("mem", memory_backed=1, size=1, irqmode=2, completion_nsec=1_000_000)
    asked, got = scenario._asked(disk, "read", 0, PAGE), []
    remove = scenario.configfs_rmdir
    assert kernel.tasks([("reader", 0, lambda: got.append(scenario._dio(disk, asked))),
                         ("rmdir", 1, lambda: remove("nullb/mem"))]) == []
    assert got == [bytes(PAGE)]
    try:
        scenario.io(disk, "read", 0, PAGE)
    except (KeyError, KernelError):
        return
    raise AssertionError("the disk is still there")
