"""Checks of state: what the kernel has after a scenario, not which functions it called.

QUICK ones run against every function, the fastest first; THOROUGH ones where those notice nothing.

Each drives the whole model and looks at results only: queue maps against recordings, memory that is left, data that
is read back, errors that are reported.
"""

import json
from pathlib import Path

import blkmodel
from blkmodel import KernelError, scenario
from blkmodel.capture import maps

KERNEL = Path(__file__).resolve().parents[1] / "kernel" / "linux-5.4"


def _maps(step):
    for path in sorted((KERNEL / "maps").glob("*.json")):
        document = json.loads(path.read_text())
        for case in document["cases"][len(path.name) % step::step]:
            assert maps.compare_case(document["machine"], case) == []


def a_few_maps():
    _maps(29)


def load_and_unload():
    """What loading takes, unloading gives back; and the second time is as the first."""
    kernel = blkmodel.boot(4)
    before = _left(kernel)
    used = []
    for _ in range(2):
        scenario.null_blk_load(submit_queues=3, hw_queue_depth=8)
        used.append(kernel.memory.totals())
        scenario.null_blk_unload()
        assert _left(kernel) == before
    assert used[0] == used[1]


def _left(kernel):
    assert kernel.loop.pending() == []
    assert not [line for line in kernel.log if line.startswith("WARNING")]
    return kernel.memory.totals()


def data_comes_back():
    """Each mode keeps what is written, whoever writes it, and however it lies in memory."""
    kernel = blkmodel.boot(4)
    scenario.null_blk_load(nr_devices=0)
    before = _left(kernel)
    for i, attributes in enumerate(({"irqmode": 0}, {"irqmode": 1}, {"irqmode": 2}, {"queue_mode": 0, "irqmode": 0},
                                    {"queue_mode": 0, "irqmode": 2}, {"submit_queues": 3, "blocking": 1},
                                    {"blocksize": 4096, "hw_queue_depth": 1})):
        name = scenario.null_blk_create(f"d{i}", size=8, memory_backed=1, **attributes)
        for at, (offset, length, runs) in enumerate(((0, 4096, None), (8192, 8192, [2]), (1 << 20, 1 << 20, None),
                                                     (4096, 131072, [1, 31]))):
            data = bytes((offset // 512 + n // 512 + i) & 255 for n in range(length))
            assert scenario.io(name, "write", offset, length, cpu=at % 4, page_runs=runs, data=data) == data
            assert scenario.io(name, "read", offset, length, cpu=(at + 1) % 4) == data
        assert scenario.io(name, "read", 8192, 512 if "blocksize" not in attributes else 4096)
        scenario.null_blk_remove(f"d{i}")
    assert _left(kernel) == before


def schedulers_change():
    kernel = blkmodel.boot(2)
    scenario.null_blk_load(nr_devices=0)
    before = _left(kernel)
    name = scenario.null_blk_create("d", size=8, memory_backed=1)
    for to in ("none", "mq-deadline", "none", "mq-deadline"):
        scenario.set_scheduler(name, to)
        assert scenario.scheduler(name) == to
        assert scenario.disk(name).queue.nr_requests == (64 if to == "none" else 128)
        data = to.encode().ljust(4096)
        scenario.io(name, "write", 4096, 4096, data=data)
        assert scenario.io(name, "read", 4096, 4096, cpu=1) == data
    scenario.null_blk_remove("d")
    assert _left(kernel) == before


def every_allocation_fails_once():
    """Whichever attempt fails: an error or a reduced depth, nothing left, and the next try succeeds."""
    for params in ({"submit_queues": 2, "hw_queue_depth": 4}, {"queue_mode": 0, "hw_queue_depth": 2}):
        kernel = blkmodel.boot(2)
        before = _left(kernel)
        nth = 1
        while True:
            kernel.memory.fail_nth(nth)
            failed = kernel.memory.failed
            error = _load(params)
            assert error in (None, "ENOMEM")
            if not error:
                scenario.null_blk_unload()
            happened = kernel.memory.failed > failed
            kernel.memory.fail_never()
            assert kernel.memory.totals() == before
            if not happened:
                break
            nth += 1
        scenario.null_blk_load(**params)
        scenario.null_blk_unload()
        assert kernel.memory.totals() == before


def _load(params):
    """Load null_blk; return the name of the error, or None."""
    try:
        scenario.null_blk_load(**params)
    except KernelError as why:
        return why.name
    return None


def more_maps():
    _maps(11)


QUICK = (load_and_unload, schedulers_change, every_allocation_fails_once, a_few_maps, data_comes_back)
THOROUGH = (more_maps,)
