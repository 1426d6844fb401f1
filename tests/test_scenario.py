"""The package's face: commands of a user, errors, and every allocation failing once."""

import pytest

from blkmodel import KernelError, boot, machine, scenario
from blkmodel.device.controller import Controller
from blkmodel.device.service import Service
from blkmodel.errors import NotModelled
from blkmodel.services.base.bug import KernelBug
from blkmodel.services.base.err import ENOMEM
from tests import leaks
from tests.leaks import drawn


def live(kernel):
    return {addr: (a.kind, a.size) for addr, a in kernel.memory.live.items()}


def test_unknown_parameters_are_refused_before_anything_happens():
    kernel = boot(2)
    before, log = live(kernel), list(kernel.log)
    with pytest.raises(ValueError, match=r"no parameter 'submit_queue'; it has .*submit_queues"):
        scenario.null_blk_load(gb=1, submit_queue=2)
    assert live(kernel) == before
    assert kernel.log == log
    scenario.null_blk_load()


def test_a_module_is_loaded_once():
    boot(2)
    scenario.null_blk_load()
    with pytest.raises(KernelError) as again:
        scenario.null_blk_load()
    assert again.value.name == "EEXIST"
    scenario.null_blk_unload()
    with pytest.raises(KernelError) as gone:
        scenario.null_blk_unload()
    assert gone.value.name == "ENOENT"


def test_each_load_begins_with_the_defaults():
    boot(4)
    scenario.null_blk_load(submit_queues=3, nr_devices=2, hw_queue_depth=8)
    scenario.null_blk_unload()
    scenario.null_blk_load()
    assert scenario.disk("nullb0").queue.nr_hw_queues == 1
    assert scenario.disk("nullb0").queue.nr_requests == 128
    with pytest.raises(KeyError, match="nullb0"):
        scenario.disk("nullb1")


def test_the_log_of_a_load():
    kernel = boot(2)
    scenario.null_blk_load()
    assert kernel.log[-1] == "null_blk: module loaded"


@pytest.mark.parametrize("params", [{}, {"submit_queues": 2}])
@pytest.mark.parametrize("length", [512, 4096, 65536, 1 << 20])
def test_io(params, length):
    kernel = boot(2)
    scenario.null_blk_load(**params)
    scenario.io("nullb0", "read", 0, 512)  # from the first time on, the device's node holds the block device
    before = live(kernel)
    assert scenario.io("nullb0", "read", 1024, length, cpu=1) == bytes(length)
    assert scenario.io("nullb0", "write", 1024, length) == scenario.sector_numbers(1024, length)
    assert live(kernel) == before


def test_io_at_the_end_and_misaligned():
    boot(1)
    scenario.null_blk_load(gb=1)
    assert scenario.io("nullb0", "read", (1 << 30) - 4096, 8192) == bytes(4096)
    assert scenario.io("nullb0", "read", 1 << 30, 4096) == b""
    with pytest.raises(KernelError) as full:
        scenario.io("nullb0", "write", 1 << 30, 4096)
    assert full.value.name == "ENOSPC"
    with pytest.raises(KernelError) as odd:
        scenario.io("nullb0", "read", 100, 4096)
    assert odd.value.name == "EINVAL"


def test_io_says_what_is_wrong_with_it():
    boot(2)
    scenario.null_blk_load()
    with pytest.raises(KeyError, match="nullb0"):
        scenario.io("nullb7", "read", 0, 512)
    with pytest.raises(ValueError, match="read or write"):
        scenario.io("nullb0", "erase", 0, 512)
    with pytest.raises(ValueError, match="online"):
        scenario.io("nullb0", "read", 0, 512, cpu=2)
    with pytest.raises(ValueError, match="pages"):
        scenario.io("nullb0", "read", 0, 8192, page_runs=[1])


def memory_disk(**attributes):
    scenario.null_blk_load(nr_devices=0)
    return scenario.null_blk_create("d", size=8, memory_backed=1, **attributes)


@pytest.mark.parametrize("attributes", [{}, {"irqmode": 2}, {"submit_queues": 4, "irqmode": 2, "hw_queue_depth": 2}],
                         ids=str)
def test_many_at_once(attributes):
    """Several processes write, then others read, each eight places with one call, on few tags."""
    kernel = boot(4)
    disk = memory_disk(**attributes)
    scenario.io(disk, "read", 0, 512)
    before = live(kernel)
    places = [[{"offset": (64 * process + 8 * i) * 512, "length": 512 << i % 4} for i in range(8)]
              for process in range(4)]
    written, read = (scenario.together([
        {"step": ["aio", {"disk": disk, "wanted": [{"op": op, **each} for each in places[p]], "cpu": cpu(p)}]}
        for p in range(4)]) for op, cpu in (("write", lambda p: p), ("read", lambda p: 3 - p)))
    wanted = [[scenario.sector_numbers(**each) for each in process] for process in places]
    assert written == read == wanted
    assert [kind for kind, _ in live(kernel).values()].count("nullb_page") == 32
    assert {addr: kind for addr, kind in live(kernel).items() if addr in before} == before


def test_one_of_many_fails_alone():
    boot(2)
    disk = memory_disk(irqmode=2)
    found = scenario.aio(disk, [{"op": "read", "offset": 0, "length": 512}, {"op": "read", "offset": 7, "length": 512},
                                {"op": "write", "offset": 8 << 20, "length": 512},
                                {"op": "write", "offset": 0, "length": 512, "data": b"x" * 512}])
    assert [each if isinstance(each, bytes) else each.name for each in found] == [
        bytes(512), "EINVAL", "ENOSPC", b"x" * 512]
    with pytest.raises(ValueError, match="online"):
        scenario.aio(disk, [], cpu=2)


def test_flags_of_a_read_or_write():
    boot(2)
    disk = memory_disk(cache_size=1, irqmode=2)
    assert scenario.io(disk, "write", 0, 512, flags=["dsync"]) == bytes(512)
    assert scenario.io(disk, "read", 0, 512, flags=["hipri", "nowait"]) == bytes(512)  # no poll queues: it sleeps
    with pytest.raises(ValueError, match="flag 'sync': there is hipri, dsync, nowait"):
        scenario.io(disk, "read", 0, 512, flags=["sync"])


def test_a_cache_is_flushed():
    boot(2)
    disk = memory_disk(cache_size=1)
    device = scenario.disk(disk).private_data.dev
    scenario.io(disk, "write", 0, 8192)
    assert device.curr_cache == 8192
    scenario.flush(disk)
    assert device.curr_cache == 0
    scenario.io(disk, "write", 0, 8192, flags=["dsync"])
    assert device.curr_cache == 0
    for command in (scenario.flush, scenario.discard, scenario.zero_out):
        with pytest.raises(KeyError, match="no disk 'sda'"):
            command("sda", *(() if command is scenario.flush else (0, 512)))


def test_changing_the_scheduler():
    boot(2)
    scenario.null_blk_load()
    q = scenario.disk("nullb0").queue
    assert (scenario.scheduler("nullb0"), q.nr_requests) == ("mq-deadline", 128)
    scenario.set_scheduler("nullb0", "none")
    assert (scenario.scheduler("nullb0"), q.nr_requests) == ("none", 64)
    assert scenario.io("nullb0", "read", 0, 4096) == bytes(4096)
    scenario.set_scheduler("nullb0", "deadline")
    assert (scenario.scheduler("nullb0"), q.nr_requests) == ("mq-deadline", 128)
    scenario.set_scheduler("nullb0", "mq-deadline")
    with pytest.raises(KernelError) as unknown:
        scenario.set_scheduler("nullb0", "bfq")
    assert unknown.value.name == "EINVAL"
    assert scenario.io("nullb0", "read", 0, 4096) == bytes(4096)


def test_changing_the_scheduler_without_memory_leaves_none():
    kernel = boot(2)
    scenario.null_blk_load()
    start = kernel.memory.count
    scenario.set_scheduler("nullb0", "none")
    scenario.set_scheduler("nullb0", "mq-deadline")
    attempts = kernel.memory.count - start
    before = sorted(live(kernel).values())
    failures = 0
    for nth in range(1, attempts + 1):
        scenario.set_scheduler("nullb0", "none")
        kernel.memory.fail_nth(nth)
        try:
            scenario.set_scheduler("nullb0", "mq-deadline")
            errno = 0  # a large block of requests could not be had, but smaller ones could
        except KernelError as why:
            errno = why.errno
        assert errno in (0, ENOMEM)
        failures += errno != 0
        assert scenario.scheduler("nullb0") == ("none" if errno else "mq-deadline")
        assert scenario.io("nullb0", "read", 0, 512) == bytes(512)
        scenario.set_scheduler("nullb0", "mq-deadline")
        assert scenario.io("nullb0", "write", 0, 512) == scenario.sector_numbers(0, 512)
    assert failures > 8
    kinds = [kind for kind, _ in sorted(live(kernel).values())]
    kinds.remove("bdev_inode")  # of the device's node, from the first I/O on
    assert kinds == [kind for kind, _ in before]


def test_a_disk_does_without_a_scheduler_that_cannot_be_set_up():
    kernel = boot(2)
    kernel.memory.fail_if(drawn(1, 0, kinds={"elevator_queue"}))
    scenario.null_blk_load()
    assert '"mq-deadline" elevator initialization failed, falling back to "none"' in kernel.log
    assert scenario.scheduler("nullb0") == "none"
    assert scenario.io("nullb0", "read", 0, 4096) == bytes(4096)


def test_steps():
    boot(4)
    scenario.run_step(["null_blk.load", {"submit_queues": 3, "hw_queue_depth": 32}])
    read = scenario.run_step(["io", {"disk": "nullb0", "op": "read", "offset": 0, "length": 4096, "cpu": 0,
                                     "page_runs": [1]}])
    assert read == bytes(4096)
    with pytest.raises(NotModelled, match=r"loop\.load"):
        scenario.run_step(["loop.load", {}])


FAILURES = [
    {"submit_queues": 1, "hw_queue_depth": 4},
    {"submit_queues": 2, "hw_queue_depth": 4},
    {"submit_queues": 2, "hw_queue_depth": 4, "shared_tags": 1, "nr_devices": 2},
    {"use_per_node_hctx": 1, "hw_queue_depth": 64, "blocking": 1, "home_node": 1},
    {"submit_queues": 4, "hw_queue_depth": 2, "no_sched": 1, "irqmode": 2},
]


@pytest.mark.parametrize("params", FAILURES, ids=str)
def test_every_allocation_of_a_load_may_fail(params):
    """It fails with ENOMEM, or the kernel does without; only what 5.4 loses is left, and the next load works.

    What the kernel does without can be the number by which a disk is found: then it can't be opened (ENXIO).
    """
    kernel = boot(machine(4, nodes=2))
    before = live(kernel)
    start = kernel.memory.count
    scenario.null_blk_load(**params)
    attempts = kernel.memory.count - start
    scenario.null_blk_unload()
    assert live(kernel) == before or sorted(live(kernel).values()) == sorted(before.values())
    assert attempts > 20

    outcomes = set()
    tables = 0
    for nth in range(1, attempts + 1):
        kernel = boot(machine(4, nodes=2))
        held = leaks.kinds(kernel.memory)
        kernel.memory.fail_nth(nth)
        try:
            scenario.null_blk_load(**params)
        except KernelBug as why:
            outcomes.add(str(why))
            continue
        except KernelError as why:
            outcomes.add(why.name)
        else:
            outcomes.add(_try_io())
            scenario.null_blk_unload()
        assert kernel.memory.failed == 1
        kernel.memory.fail_never()
        tables += leaks.lost(held, leaks.kinds(kernel.memory)) == leaks.TABLE
        scenario.null_blk_load(**params)
        assert scenario.io("nullb0", "read", 0, 4096) == bytes(4096)
    assert tables == params.get("nr_devices", 1)
    assert "ENOMEM" in outcomes
    stops = {"tags are freed that another queue uses"} if "shared_tags" in params else set()
    assert outcomes - {"ENOMEM", "loaded", "loaded, ENXIO"} == stops


def _try_io():
    try:
        assert scenario.io("nullb0", "write", 4096, 4096, cpu=3) == scenario.sector_numbers(4096, 4096)
    except KernelError as why:
        return f"loaded, {why.name}"
    return "loaded"


def test_less_memory_makes_the_queues_less_deep():
    """Where the requests of a hardware queue do not fit, the kernel halves its depth, and says so. With two queues it
    loses each time what the first one had, and ends without memory."""
    boot(machine(2, memory=4 << 20))
    with pytest.raises(KernelError, match="ENOMEM"):
        scenario.null_blk_load(submit_queues=2, hw_queue_depth=8192)
    kernel = boot(machine(2, memory=3 << 20))
    scenario.null_blk_load(submit_queues=1, hw_queue_depth=8192)
    depth = scenario.disk("nullb0").queue.tag_set.queue_depth
    assert depth < 8192
    assert f"blk-mq: reduced tag depth (8192 -> {depth})" in kernel.log
    scenario.null_blk_unload()


def test_several_poll_one_queue():
    """None of them keeps time from passing for the others: each read takes as long as the disk does."""
    kernel = boot(4)
    disk = scenario.nvme_probe(poll_queues=1, controller=Controller(service=Service(least=50_000))) + "n1"
    before = kernel.now
    read = {"disk": disk, "op": "read", "length": 4096, "flags": ["hipri"]}
    found = scenario.together([{"step": ["io", {**read, "offset": cpu << 12, "cpu": cpu}]} for cpu in range(3)])
    assert found == [bytes(4096)] * 3
    assert 50_000 <= kernel.now - before < 100_000


def test_a_file_that_cannot_be_read():
    boot(2)
    scenario.nvme_probe()
    with pytest.raises(KernelError, match="wbt_lat_usec"):
        scenario.queue_file("nvme0n1", "wbt_lat_usec")


def test_a_process_begins_on_a_cpu_that_is_there_then():
    boot(4)
    scenario.nvme_probe()
    read = ["io", {"disk": "nvme0n1", "op": "read", "offset": 0, "length": 4096, "cpu": 3}]
    scenario.run_step(["cpu.offline", {"cpu": 3}])
    with pytest.raises(ValueError, match=r"CPU 3 is not online; online are \[0, 1, 2\]"):
        scenario.together([{"step": read}])
    with pytest.raises(ValueError, match=r"CPU 3 is not online; online are \[0, 1, 2\]"):
        scenario.together([{"ms": 1, "step": read}])
    assert scenario.together([{"step": ["cpu.online", {"cpu": 3}]}, {"ms": 1, "step": read}])[1] == bytes(4096)
