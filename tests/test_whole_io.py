"""What must hold of every I/O, whatever the disk, its limits, its scheduler and the order in which it completes."""

import contextlib
import gc
import sys
from collections import Counter

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel import boot, machine, scenario
from blkmodel.block import blk_mq, blk_settings, elevator
from blkmodel.device.controller import Controller
from blkmodel.device.namespace import Namespace
from blkmodel.device.service import Service
from blkmodel.drivers.block import null_blk_main
from blkmodel.drivers.nvme.host import pci
from blkmodel.include.linux.blk_mq import BLK_MQ_S_STOPPED, queue_for_each_hw_ctx
from blkmodel.include.linux.blkdev import blk_queue_quiesced
from blkmodel.services.cpus.cpuhotplug import cpu_down, cpu_up
from blkmodel.sim import this
from blkmodel.sim.kernel import Context
from tests.block.ram_disk import SECTORS, RamDisk
from tests.invariants import at_rest, bios_watched, content, tags_watched
from tests.test_benchmarks import DISKS, _reads


class Expected:
    """What a disk's sectors may hold: the last write that ended, or any that was under way at the same time."""

    def __init__(self):
        self.may = [{bytes(512)} for _ in range(SECTORS)]
        self.serial = 0

    def ask(self, ops):
        """What scenario.together() is to be asked for, and what is written with it: (sector, its contents)."""
        asked, written = [], []
        for op, sector, count, runs, flags in ops:
            each = {"op": op, "offset": sector * 512, "length": count * 512, "page_runs": runs, "flags": flags}
            if op == "write":
                self.serial += 1
                each["data"] = content(sector, count, self.serial)
                written += [(sector + n, each["data"][n * 512:n * 512 + 512]) for n in range(count)]
            asked.append(each)
        return asked, written

    def check(self, ops, results):
        """What was read is what may be there."""
        for (op, sector, count, _, _), result in zip(ops, results, strict=True):
            assert isinstance(result, bytes), result
            assert len(result) == count * 512
            for n in range(count if op == "read" else 0):
                assert result[n * 512:n * 512 + 512] in self.may[sector + n], f"sector {sector + n}"


def phase(jobs):
    """Let processes work at the same time, (disk, its Expected, ops) each, and check what they read.

    Returns what must be on the medium now: (disk, sector, content).
    """
    wanted: list = []
    written: dict = {}
    for number, (disk, expected, ops) in enumerate(jobs):
        asked, writes = expected.ask(ops)
        wanted.append({"step": ["aio", {"disk": disk.name, "wanted": asked,
                                        "cpu": online()[number % len(online())]}]})
        for sector, there in writes:
            written.setdefault((disk, expected, sector), []).append(there)
    for (_, expected, sector), contents in written.items():
        expected.may[sector] |= set(contents)
    for (_, expected, ops), results in zip(jobs, scenario.together(wanted), strict=True):
        expected.check(ops, results)
    for (_, expected, sector), contents in written.items():
        expected.may[sector] = set(contents)
    return [(disk, sector + n, written[disk, expected, sector + n][0]) for disk, expected, ops in jobs
            for op, sector, count, _, flags in ops if "dsync" in flags
            for n in range(count) if len(written[disk, expected, sector + n]) == 1]


def online():
    return sorted(this().online)


@st.composite
def runs_of(draw, pages):
    """Runs of pages for a buffer of so many."""
    runs: list[int] = []
    while sum(runs) < pages:
        runs.append(draw(st.sampled_from([1, 1, 1, 2, 3, 8, 64])))
    return runs


@st.composite
def operation(draw, block, longest=120):
    op = draw(st.sampled_from(["read", "write"]))
    count = block * draw(st.integers(1, max(draw(st.sampled_from([1, 8, 40, longest])) // block, 1)))
    sector = block * draw(st.integers(0, draw(st.sampled_from([40, (SECTORS - count) // block]))))
    sector = min(sector, SECTORS - count)
    flags = draw(st.sampled_from([(), (), (), ("dsync",)])) if op == "write" else ()
    return op, sector, count, draw(runs_of(-(-count // 8))), flags


def phases(block=1, longest=120):
    return st.lists(st.lists(st.lists(operation(block, longest), min_size=1, max_size=6), min_size=1, max_size=4),
                    min_size=1, max_size=4)


LIMITS = st.fixed_dictionaries({}, optional={
    "max_hw_sectors": st.sampled_from([8, 16, 24, 64, 255, 1000]),
    "max_segments": st.sampled_from([1, 2, 3, 8, 128]),
    "max_segment_size": st.sampled_from([4096, 8192, 12288, 65536]),
    "seg_boundary_mask": st.sampled_from([4095, 8191, 65535, 0xFFFFFFFF]),
    "virt_boundary": st.sampled_from([511, 4095]),
    "chunk_sectors": st.sampled_from([8, 32, 128, 256]),
})


def any_disk(data, **more):
    """A disk with any settings."""
    limits = data.draw(LIMITS)
    if "virt_boundary" in limits:
        limits.pop("max_segment_size", None)  # a device that has the one does not limit the other
    more.setdefault("queues", data.draw(st.integers(1, 4)))
    return RamDisk(seed=data.draw(st.integers(0, 2**32)),
                   scheduler=data.draw(st.sampled_from(["none", "mq-deadline"])),
                   refuse=data.draw(st.sampled_from([0.0, 0.0, 0.2, 0.5])), commits=data.draw(st.booleans()),
                   cache=data.draw(st.booleans()), fua=data.draw(st.booleans()), limits=limits, **more)


@given(data=st.data(), cpus=st.integers(1, 6), threads=st.sampled_from([1, 2]),
       depth=st.sampled_from([1, 2, 3, 8, 64]))
@settings(max_examples=50)
def test_data_read_is_data_last_written(data, cpus, threads, depth):
    """On a disk that does everything that a disk may do: in any order, in parts, refusing, within its limits."""
    kernel = boot(machine(cpus, threads=threads))
    disk = any_disk(data, depth=depth)
    expected = Expected()
    with tags_watched() as held, bios_watched():
        for processes in data.draw(phases()):
            for on, sector, there in phase([(disk, expected, ops) for ops in processes]):
                assert on.durable[sector * 512:sector * 512 + 512] == there
            assert not held
            at_rest(kernel, disk.q)
            if data.draw(st.booleans()):
                scenario.flush(disk.name)
                assert not disk.unflushed
                assert disk.durable == disk.bytes
    disk.remove()


@given(data=st.data(), cpus=st.integers(1, 6), depth=st.sampled_from([1, 3, 8, 20]), disks=st.integers(2, 3))
@settings(max_examples=30)
def test_disks_that_share_their_tags(data, cpus, depth, disks):
    """Nobody waits for ever for a tag that another disk's request has, and everybody gets his data."""
    kernel = boot(cpus)
    first = any_disk(data, depth=depth)
    disks = [first, *(any_disk(data, name=f"ram{n}", beside=first) for n in range(1, disks))]
    expected = [Expected() for _ in disks]
    with tags_watched() as held, bios_watched():
        for processes in data.draw(phases()):
            chosen = [data.draw(st.integers(0, len(disks) - 1)) for _ in processes]
            phase([(disks[n], expected[n], ops) for n, ops in zip(chosen, processes, strict=True)])
            assert not held
            for disk in disks:
                at_rest(kernel, disk.q)
    for disk in reversed(disks):
        disk.remove()


def meanwhile(data, q, cpus):
    """Something that somebody does to a queue that is in use. Returns a function."""
    what = data.draw(st.sampled_from(["scheduler", "depth", "freeze", "quiesce", "stop", "down", "up"]))
    pause, cpu = data.draw(st.integers(0, 100)), data.draw(st.integers(0, cpus - 1))
    scheduler = data.draw(st.sampled_from(["none", "mq-deadline"]))
    depth = data.draw(st.integers(32, 80))

    def freeze():
        blk_mq.blk_mq_freeze_queue(q)
        assert q.q_usage_counter.count == 0
        blk_mq.blk_mq_unfreeze_queue(q)

    def later(fn):
        this().loop.post(this().context, fn, pause * 1000)

    def quiesce():
        blk_mq.blk_mq_quiesce_queue(q)
        taken_up = q.queuedata.taken_up

        def unquiesce():
            # somebody else may have ended it: quiescing does not nest
            assert not blk_queue_quiesced(q) or q.queuedata.taken_up == taken_up
            blk_mq.blk_mq_unquiesce_queue(q)
        later(unquiesce)

    def stop():
        blk_mq.blk_mq_stop_hw_queues(q)

        def start():
            for hctx in queue_for_each_hw_ctx(q):
                hctx.state &= ~(1 << BLK_MQ_S_STOPPED)
            blk_mq.blk_mq_run_hw_queues(q, bool(pause % 2))
        later(start)
    def locked(fn, *args):
        with q.sysfs_lock:
            fn(*args)
    return {"scheduler": lambda: locked(elevator.elv_iosched_store, q, scheduler, len(scheduler)),
            "depth": lambda: locked(blk_mq.blk_mq_update_nr_requests, q, depth),
            "freeze": freeze, "quiesce": quiesce, "stop": stop,
            "down": lambda: cpu_down(cpu), "up": lambda: cpu_up(cpu)}[what]


@given(data=st.data(), cpus=st.integers(1, 6))
@settings(max_examples=40)
def test_whatever_is_done_to_the_queue_meanwhile(data, cpus):
    """The scheduler and the depth change, the queue is frozen, quiesced or stopped, CPUs come and go."""
    kernel = boot(cpus)
    disk = any_disk(data, depth=64)
    expected = Expected()
    with tags_watched() as held, bios_watched():
        for processes in data.draw(phases(longest=40)):
            for delay in data.draw(st.lists(st.integers(1, 100_000), max_size=4)):
                admin = Context("task", "admin", data.draw(st.sampled_from(online())))
                kernel.loop.post(admin, meanwhile(data, disk.q, cpus), delay)
            phase([(disk, expected, ops) for ops in processes])
            kernel.loop.advance(100_000_000)
            assert not held
            at_rest(kernel, disk.q, marks=True)
    disk.remove()


@given(data=st.data(), cpus=st.integers(1, 4), queues=st.integers(2, 4))
@settings(max_examples=30)
def test_polling(data, cpus, queues):
    """Who polls gets the data without an interrupt, and who does not poll gets his as ever."""
    kernel = boot(cpus)
    disk = any_disk(data, polled=True, queues=queues, depth=64)  # who sleeps for a tag can't poll meanwhile
    expected = Expected()
    for ops in data.draw(st.lists(st.lists(operation(1), min_size=1, max_size=4), min_size=1, max_size=4)):
        for op in ops:
            (each,), written = expected.ask([op])
            for sector, there in written:
                expected.may[sector] = {there}
            each["flags"] = [*each["flags"], "hipri"]
            result = scenario.io(disk.name, cpu=data.draw(st.sampled_from(online())), **each)
            expected.check([op], [result])
        phase([(disk, expected, ops)])
        at_rest(kernel, disk.q)
        assert disk.ready == []
    disk.remove()


@given(data=st.data(), cpus=st.integers(1, 3))
@settings(max_examples=15)
def test_long_transfers(data, cpus):
    """More than one bio holds: direct I/O cuts it, and waits for all its parts."""
    kernel = boot(cpus)
    disk = any_disk(data, depth=data.draw(st.sampled_from([1, 4, 64])))
    expected = Expected()
    for processes in data.draw(st.lists(st.lists(st.lists(operation(8, 5000), min_size=1, max_size=2), min_size=1,
                                                 max_size=2), min_size=1, max_size=2)):
        phase([(disk, expected, ops) for ops in processes])
        at_rest(kernel, disk.q)
    start = data.draw(st.integers(0, SECTORS - 3000))
    there = content(start, 3000, 99)
    assert scenario.io(disk.name, "write", start * 512, len(there), data=there) == there
    assert scenario.io(disk.name, "read", start * 512, len(there), page_runs=[375]) == there
    at_rest(kernel, disk.q)
    disk.remove()


@given(data=st.data(), most=st.sampled_from([0, 8, 100]), ranges=st.sampled_from([1, 2, 256]),
       granularity=st.sampled_from([0, 512, 4096, 12288]), alignment=st.sampled_from([0, 512, 1024]))
@settings(max_examples=30)
def test_discarded_and_zeroed_ranges(data, most, ranges, granularity, alignment):
    """What is discarded (and this disk then has zeroes there) or zeroed is exactly the range, however it is cut."""
    kernel = boot(2)
    disk = any_disk(data, depth=8)
    limits = disk.q.limits
    limits.discard_granularity, limits.discard_alignment = granularity, alignment
    blk_settings.blk_queue_max_discard_sectors(disk.q, data.draw(st.sampled_from([48, 100, 1 << 20])))
    blk_settings.blk_queue_max_discard_segments(disk.q, ranges)
    blk_settings.blk_queue_max_write_zeroes_sectors(disk.q, most)
    expected = Expected()
    for processes in data.draw(phases()):
        phase([(disk, expected, ops) for ops in processes])
        for command in data.draw(st.lists(st.sampled_from([scenario.discard, scenario.zero_out]), max_size=3)):
            first, count = data.draw(st.integers(0, 100)), data.draw(st.integers(1, 400))
            command(disk.name, first * 512, count * 512)
            for sector in range(first, first + count):
                expected.may[sector] = {bytes(512)}
        expected.check([("read", 0, 600, None, ())], [scenario.io(disk.name, "read", 0, 600 * 512)])
        at_rest(kernel, disk.q)
    disk.remove()


NULL_BLK = st.fixed_dictionaries({"irqmode": st.sampled_from([0, 1, 2])}, optional={
    "submit_queues": st.integers(1, 5), "cache_size": st.just(1),
    "blocksize": st.sampled_from([512, 4096]), "hw_queue_depth": st.sampled_from([1, 2, 8, 64]),
    "blocking": st.booleans(), "discard": st.booleans(), "completion_nsec": st.sampled_from([0, 10_000])})


@given(data=st.data(), attributes=NULL_BLK, cpus=st.integers(1, 6),
       scheduler=st.sampled_from(["none", "mq-deadline"]))
@settings(max_examples=40)
def test_null_blk(data, attributes, cpus, scheduler):
    kernel = boot(cpus)
    scenario.null_blk_load(nr_devices=0)
    name = scenario.null_blk_create("d", size=SECTORS * 512 >> 20, memory_backed=1, **attributes)
    q = scenario.disk(name).queue
    scenario.set_scheduler(name, scheduler)
    expected = Expected()
    disk = Named(name)
    with tags_watched() as held, bios_watched():
        for processes in data.draw(phases(attributes.get("blocksize", 512) // 512)):
            for _, sector, there in phase([(disk, expected, ops) for ops in processes]):
                page = null_blk_main.__null_lookup_page(q.queuedata, sector, True, False)
                assert page.page.read(sector % 8 * 512, 512) == there, "it was to be past the cache"
            assert not held
            at_rest(kernel, q)
    scenario.flush(name)
    for sector in range(0, SECTORS, 128):
        expected.check([("read", sector, 128, None, ())], [scenario.io(name, "read", sector * 512, 128 * 512)])
    scenario.null_blk_remove("d")


@contextlib.contextmanager
def rings_watched(controller):
    """While this is on, no submission ring may be written to where its entry has not been read yet."""
    submit = pci.nvme_submit_cmd

    def submit_cmd(nvmeq, cmd, write_sq):
        sq = controller.engine.sqs[nvmeq.qid]
        assert (nvmeq.sq_tail + 1) % nvmeq.q_depth != sq.head
        assert len(sq.running) < nvmeq.q_depth
        submit(nvmeq, cmd, write_sq)
    pci.nvme_submit_cmd = submit_cmd
    try:
        yield
    finally:
        pci.nvme_submit_cmd = submit


@given(data=st.data(), cpus=st.integers(1, 6), pairs=st.sampled_from([1, 2, 3, 64]), write_queues=st.integers(0, 3),
       poll_queues=st.integers(0, 2), depth=st.sampled_from([2, 3, 8, 64, 1024]),
       scheduler=st.sampled_from(["none", "mq-deadline"]), mdts=st.sampled_from([1, 3, 5, 7]), sgl=st.booleans(),
       dbbuf=st.booleans(), cache=st.booleans(), disks=st.integers(1, 2), in_order=st.booleans(),
       extra=st.sampled_from([0, 5_000, 50_000]))
@settings(max_examples=40)
def test_nvme(data, cpus, pairs, write_queues, poll_queues, depth, scheduler, mdts, sgl, dbbuf, cache, disks, in_order,
              extra):
    """Whatever the controller can do, in whichever order it completes: no ring is overrun, and all data are right."""
    kernel = boot(cpus)
    service = Service(least=extra and 1_000, extra=extra, in_order=in_order, seed=data.draw(st.integers(0, 99)))
    controller = Controller(queue_pairs=pairs, mdts=mdts, sgl=sgl, dbbuf=dbbuf, write_cache=cache, service=service,
                            namespaces={n + 1: Namespace(SECTORS) for n in range(disks)})
    scenario.nvme_probe(controller=controller, write_queues=write_queues, poll_queues=poll_queues,
                        io_queue_depth=depth)
    kernel.log.clear()  # some of these controllers make the driver wonder
    names = [f"nvme0n{n + 1}" for n in range(disks)]
    for name in names:
        scenario.set_scheduler(name, scheduler)
    jobs = [(Named(name), Expected()) for name in names]
    with tags_watched() as held, bios_watched(), rings_watched(controller):
        before = len(held)
        for processes in data.draw(phases()):
            for on, sector, there in phase([(*jobs[data.draw(st.integers(0, disks - 1))], ops) for ops in processes]):
                kept = controller.namespaces[names.index(on.name) + 1].kept
                assert not cache or kept[sector // 8][sector % 8 * 512:][:512] == there, "it was to be past the cache"
            assert len(held) == before
            for name in names:
                at_rest(kernel, scenario.disk(name).queue)
        scenario.flush(names[0])
        assert not controller.namespaces[1].cached
    scenario.nvme_remove()


@pytest.mark.parametrize("load", [scenario.nvme_probe, scenario.null_blk_load])
def test_a_long_run_leaves_nothing_behind(load):
    """Once its rings have been filled, a kernel holds no more after the next thousand I/Os than before them."""
    kernel = boot(2)
    load()
    disk = "nvme0n1" if load is scenario.nvme_probe else "nullb0"

    def run(count):
        for n in range(count):
            scenario.io(disk, "write" if n % 2 else "read", n % 64 << 12, 4096, cpu=n % 2)
        gc.collect()
        return len(gc.get_objects()), kernel.memory.totals(), len(kernel.loop.pending()), len(kernel.log)
    objects, *before = run(2200)  # a ring has 1024 places, and every other I/O is on another CPU
    more, *after = run(1000)
    assert after == before
    assert more - objects < 10


class Named:
    def __init__(self, name):
        self.name = name


@pytest.mark.parametrize(("kind", "most"), [("null_blk", 128), ("null_blk, one queue", 288), ("NVMe", 211)])
def test_what_the_mirror_stands_on_makes_few_calls(kind, most):
    """A read of 4 KiB that nobody watches: so many calls of services, sim, device and inlines, and no more."""
    kernel, (disk, load) = boot(4), DISKS[kind]
    load()
    kernel.task("dio", _reads, disk, 100)
    calls: Counter[str] = Counter()

    def count(frame, event, arg):
        if event == "call" and not frame.f_code.co_name.startswith("<"):  # newer Pythons call no comprehension
            calls[frame.f_globals["__name__"].partition(".")[2].partition(".")[0]] += 1
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        kernel.task("dio", _reads, disk, 400)
    finally:
        sys.setprofile(before)
    assert sum(calls[room] for room in ("services", "sim", "device", "include")) <= most * 400, calls
