"""Scenarios with a name, recorded once: what the figures that follow a recording have in common.

A scenario boots a kernel of its own, prepares it, and records one command of a user. The kernel is kept with the
recording and nothing runs on it afterwards, so that what its structures hold is how the command left them.
"""

from bisect import bisect_left
from collections.abc import Callable
from functools import lru_cache, partial
from itertools import accumulate
from typing import Any, NamedTuple

from blkmodel import scenario
from blkmodel.block import blk_mq
from blkmodel.device import Controller, Namespace, Service
from blkmodel.drivers.block import null_blk_main
from blkmodel.errors import KernelError
from blkmodel.include.linux.blkdev import request
from blkmodel.services import KernelBug, dev_name, devices
from blkmodel.sim import Kernel, Machine, booted, machine, this
from blkmodel.trace import Alloc, Free, Recording, record
from blkmodel.trace.on_bus import Passing, passings
from blkmodel.trace.replay import Replay, Step
from blkmodel.view.facts.words import caught, many


class Scenario(NamedTuple):
    """title: what a reader calls it. prepare(): done before the recording. act(): recorded. undo(): takes it back.
    made(): what has come of it, in words, where that is worth saying.

    An act may fail: it raises KernelError, or returns -errno.
    """

    title: str
    act: Callable[[], Any]
    prepare: Callable[[], Any] = lambda: None
    undo: Callable[[], Any] = lambda: None
    on: Machine = machine(4)
    made: Callable[[], str] = lambda: ""


class Recorded(NamedTuple):
    """A recording with its kernel. error: the KernelError it ended with, or None. first: the number that its first
    attempt to allocate has since boot. before: the live allocations then, address → (kind, bytes). made: what came of
    it, in words, or nothing."""

    recording: Any
    kernel: Any
    error: KernelBug | KernelError | None
    first: int
    before: dict
    made: str


def _alloc_tag_set() -> int:
    return this().task("insmod", null_blk_main.null_init_tag_set, None, null_blk_main.variables().tag_set)


def _three_queues() -> None:
    variables = null_blk_main.variables()
    variables.g_submit_queues, variables.g_hw_queue_depth = 3, 32


def _probe() -> str:
    """Bring a controller of two queues up, and wait until all that is given back later has been."""
    try:
        return scenario.nvme_probe(controller=Controller(queue_pairs=2, vectors=3, namespaces={1: Namespace(64)}))
    finally:
        this().loop.run_due()


def _controller() -> str:
    """The I/O queues and disks that a controller has."""
    dev = scenario.nvme_controller("nvme0")
    disks = ", ".join(ns.disk.disk_name for ns in dev.ctrl.namespaces)
    return f"with {many(dev.online_queues - 1, 'I/O queue')} and {disks or 'no disk'}"


def remove_controllers() -> None:
    """Unplug whatever controllers the driver has kept, and wait until all is given back."""
    for dev in list(devices().of_class.get("nvme", ())):
        scenario.nvme_remove(dev_name(dev))
    this().loop.run_due()


THREE = {"submit_queues": 3, "hw_queue_depth": 32}
_load, _load_three = scenario.null_blk_load, partial(scenario.null_blk_load, **THREE)
_read_4k = partial(scenario.io, "nullb0", "read", 0, 4096)
SCENARIOS = {
    "load": Scenario("load null_blk, 3 queues of 32", _load_three, undo=scenario.null_blk_unload),
    "load-one": Scenario("load null_blk, one queue (mq-deadline)", _load, undo=scenario.null_blk_unload),
    "tag-set": Scenario(
        "allocate a tag set alone, 3 queues of 32", _alloc_tag_set, _three_queues,
        lambda: this().task("rmmod", blk_mq.blk_mq_free_tag_set, null_blk_main.variables().tag_set)),
    "read": Scenario("read 4 KiB from null_blk", _read_4k, _load_three),
    "read-one": Scenario("read 4 KiB through mq-deadline", _read_4k, _load),
    "write": Scenario("write 64 KiB to null_blk", lambda: scenario.io("nullb0", "write", 0, 1 << 16), _load_three),
    "scheduler": Scenario("choose mq-deadline for 3 queues", lambda: scenario.set_scheduler("nullb0", "mq-deadline"),
                          _load_three, lambda: scenario.set_scheduler("nullb0", "none")),
    "unload": Scenario("unload null_blk", scenario.null_blk_unload, _load_three),
    "nvme-read": Scenario("read 4 KiB from NVMe", lambda: scenario.io("nvme0n1", "read", 0, 4096), _probe),
    "probe": Scenario("bring an NVMe controller up, 2 queues of 4", _probe,
                      lambda: scenario.nvme_load(io_queue_depth=4), remove_controllers, machine(2), _controller)}
STEPPED = {each.title: name for name, each in SCENARIOS.items()}
BREAKABLE = {SCENARIOS[name].title: name for name in ("tag-set", "load", "load-one", "scheduler", "probe")}


@lru_cache(maxsize=8)
def recorded(name: str, fail: int = 0) -> Recorded:
    """Record a scenario; with `fail`, its n-th attempt to allocate (the first is 1) gets nothing, and
    assignments are not noted."""
    wanted = SCENARIOS[name]
    with booted(wanted.on) as kernel:
        wanted.prepare()
        first, before = kernel.memory.count + 1, live(kernel)
        if fail:
            kernel.memory.fail_nth(fail)
        recording = record(caught, (KernelBug, KernelError), wanted.act, watched=() if fail else None)
        error = recording.result if isinstance(recording.result, KernelBug | KernelError) else None
        kernel.memory.fail_never()
        if isinstance(recording.result, int) and recording.result < 0:
            error = KernelError(recording.result, wanted.title)
        return Recorded(recording, kernel, error, first, before, "" if error else wanted.made())


@lru_cache(maxsize=16)
def attempts(name: str) -> int:
    """How many times a scenario asks for memory when it always gets it."""
    return len(recorded(name).recording.of(Alloc))


def live(kernel: Kernel) -> dict[int, tuple[str, int]]:
    """The live allocations of a kernel: address → (kind, bytes)."""
    return {addr: (each.kind, each.size) for addr, each in kernel.memory.live.items()}


@lru_cache(maxsize=8)
def replay_of(scenario: str) -> Replay:
    """The replay of a scenario, made once."""
    return Replay(recorded(scenario).recording)


@lru_cache(maxsize=8)
def passings_of(scenario: str) -> list[Passing]:
    """What passes on the bus in a scenario, in order."""
    return passings(recorded(scenario).recording)


def passing_in(scenario: str, step: Step | None, at: int) -> range:
    """The numbers of what passes on the bus in this step; empty, and where it would be, if nothing does."""
    times = [each.at for each in passings_of(scenario)]
    return range(bisect_left(times, step.start) if step else 0, bisect_left(times, at))


@lru_cache(maxsize=8)
def live_sizes(replay: Replay) -> list[int]:
    """Bytes live, above the least there are at any time, at some two hundred evenly spaced events."""
    grown = (event.size * bool(event.addr) if type(event) is Alloc else -event.size if type(event) is Free else 0
             for event in replay.events)
    sizes = list(accumulate(grown))[::max(1, len(replay.events) // 200)]
    return [size - min(sizes) for size in sizes]


@lru_cache(maxsize=32)
def recorded_io(disk: str, op: str, kib: int, scheduler: str = "none", depth: int = 32, cpu: int = 1) -> Recording:
    """Record one I/O at the start of a disk that takes 10 µs for each request, and has its scheduler chosen. Of
    assignments, those to requests."""
    driver, queues = disk.split()
    with booted(4):
        name = _slow_disk(driver, int(queues), depth, scheduler)
        return record(scenario.io, name, op, 0, kib << 10, cpu=cpu, watched=(request,))


@lru_cache(maxsize=32)
def recorded_reads(irqmode: int = 0, scheduler: str = "none", queues: int = 2, cpu: int = 5, reads: int = 1,
                   op: str = "read", driver: str = "null_blk", shared: bool = True) -> Recording:
    """Record reads or writes of 4 KiB on a machine of 8 CPUs on 2 nodes; each by the CPU after the last."""
    caches = None if shared else tuple(frozenset({each}) for each in range(8))
    with booted(machine(8, nodes=2, caches=caches)) as kernel:
        disk = _slow_disk(driver, queues, 8, scheduler, irqmode)
        return record(_read, disk, [(cpu + i) % kernel.nr_cpu_ids for i in range(reads)], op)


def _slow_disk(driver: str, queues: int, depth: int, scheduler: str, irqmode: int = 2) -> str:
    """Load a driver with queues of so many tags, on a disk that takes 10 µs for each request. Returns its name."""
    if driver == "nvme":
        controller = Controller(queues, service=Service(least=10_000))
        name = scenario.nvme_probe(controller=controller, io_queue_depth=depth + 1) + "n1"
    else:
        scenario.null_blk_load(submit_queues=queues, hw_queue_depth=depth, irqmode=irqmode)
        name = "nullb0"
    scenario.set_scheduler(name, scheduler)
    return name


def _read(disk: str, cpus: list[int], op: str) -> None:
    for i, cpu in enumerate(cpus):
        scenario.io(disk, op, i * 4096, 4096, cpu=cpu)
