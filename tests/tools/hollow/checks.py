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
from blkmodel.device.controller import Controller
from blkmodel.device.faults import ENABLE, FAIL, SILENT, STUCK, Fault
from blkmodel.device.namespace import Namespace
from blkmodel.include.linux import nvme
from blkmodel.sim.machine import from_capture
from blkmodel.userland import dmsetup
from tests import leaks

KERNEL = Path(__file__).resolve().parents[2] / "recordings" / "linux-5.4"


def _maps(step):
    for path in sorted((KERNEL / "maps").glob("*.json")):
        document = json.loads(path.read_text())
        for case in document["cases"][len(path.name) % step::step]:
            assert maps.compare_case(from_capture(document["machine"]), case) == []


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
    for i, attributes in enumerate(({"irqmode": 0}, {"irqmode": 1}, {"irqmode": 2},
                                    {"submit_queues": 3, "blocking": 1}, {"blocksize": 4096, "hw_queue_depth": 1})):
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
    """Whichever attempt fails: an error or a reduced depth, nothing left but what 5.4 loses, and the next try succeeds.
    """
    for params in ({"submit_queues": 2, "hw_queue_depth": 4}, {"submit_queues": 1, "hw_queue_depth": 2}):
        kernel = blkmodel.boot(2)
        nth = 1
        while True:
            held = leaks.kinds(kernel.memory)
            kernel.memory.fail_nth(nth)
            failed = kernel.memory.failed
            error = _load(params)
            assert error in (None, "ENOMEM")
            if not error:
                scenario.null_blk_unload()
            happened = kernel.memory.failed > failed
            kernel.memory.fail_never()
            leaks.lost(held, leaks.kinds(kernel.memory))
            if not happened:
                break
            nth += 1
        before = kernel.memory.totals()
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


def mapped_devices_hold_data():
    """Each sector is where the table says; tables change under a device; and nothing is left when it goes."""
    kernel = blkmodel.boot(2)
    scenario.null_blk_load(nr_devices=0)
    one, two = (scenario.null_blk_create(name, size=8, memory_backed=1) for name in ("a", "b"))
    left = []
    for _ in range(2):  # the second time is as the first
        scenario.dm_load()
        disk = dmsetup.create("x", f"0 64 striped 2 8 /dev/{one} 64 /dev/{two} 0\n64 32 linear /dev/{one} 8\n"
                                   "96 8 zero\n104 8 error", uuid="U")
        data = b"".join(bytes([n]) * 512 for n in range(96))
        assert scenario.io(disk, "write", 0, 96 * 512, data=data) == data
        assert scenario.io(disk, "read", 0, 104 * 512, cpu=1) == data + bytes(4096)
        assert _failure(scenario.io, disk, "read", 100 * 512, 4096) == "EIO"
        assert scenario.io(one, "read", 64 * 512, 8192) == data[:4096] + data[8192:12288]
        assert scenario.io(two, "read", 0, 4096) == data[4096:8192]
        assert scenario.io(one, "read", 4096, 32 * 512) == data[64 * 512:]
        assert dmsetup.table("x") == ("0 64 striped 2 8 254:0 64 254:1 0\n64 32 linear 254:0 8\n"
                                      "96 8 zero \n104 8 error \n")
        assert dmsetup.status("x") == "0 64 striped 2 254:0 254:1 1 AA\n64 32 linear \n96 8 zero \n104 8 error \n"
        above = dmsetup.create("y", f"0 16 linear /dev/{disk} 56")
        assert scenario.io(above, "read", 0, 8192) == data[56 * 512:72 * 512]
        assert _failure(dmsetup.remove, "x") == "EBUSY"
        dmsetup.remove("y")
        dmsetup.suspend("x")
        dmsetup.load("x", f"0 8 linear /dev/{two} 99999999")
        assert _failure(dmsetup.resume, "x") == "EINVAL"
        assert _failure(dmsetup.load, "x", "0 8 nosuch") == "EINVAL"
        dmsetup.load("x", f"0 96 linear /dev/{two} 0")
        dmsetup.resume("x")
        assert scenario.io(disk, "read", 0, 4096) == data[4096:8192]
        dmsetup.rename("x", "z")
        assert dmsetup.dmsetup("ls") == "z\t(253:0)\n"
        assert dmsetup.dmsetup("deps", "z") == "1 dependencies\t: (254, 1)\n"
        dmsetup.remove("z")
        left.append(_later(kernel))
        scenario.dm_unload()
        left.append(_later(kernel))
    assert left[:2] == left[2:]
    assert left[0] != left[1]


def _later(kernel):
    """What is left a minute later, when no timer of a disk runs any more."""
    kernel.loop.advance(60_000_000_000)
    return _left(kernel)


def _failure(function, *args, **more):
    """Call a function; return the name of the error that the kernel gives, or None."""
    try:
        function(*args, **more)
    except KernelError as why:
        return why.name
    return None


def controllers_come_up_hold_data_and_go():
    """With queues of each type and of none but one; what is written comes back however it lies in memory; and nothing
    is left when they go but what Linux leaks."""
    controllers: tuple[tuple[dict, dict], ...] = (
        ({"io_queue_depth": 4, "write_queues": 1, "poll_queues": 1}, {"queue_pairs": 4, "vectors": 5}),
        ({"io_queue_depth": 8}, {"queue_pairs": 1, "sgl": False, "dbbuf": False, "mdts": 0}))
    for params, of in controllers:
        kernel = blkmodel.boot(2)
        scenario.nvme_load(**params)
        before = _left(kernel)
        controller = Controller(namespaces={1: Namespace(4096), 3: Namespace(64, shift=12)}, **of)
        name = scenario.nvme_probe(controller=controller)
        queues = scenario.nvme_controller(name).io_queues
        assert kernel.log[-1] == f"nvme {name}: {'/'.join(map(str, queues))} default/read/poll queues"
        assert sum(queues) == len(controller.engine.sqs) - 1 == len(controller.engine.cqs) - 1
        assert scenario.nvme_file(name, "state") == "live"
        assert scenario.queue_file("nvme0n2", "logical_block_size") == "4096"
        for at, (length, runs) in enumerate(((512, None), (8192, None), (65536, [16]), (12288, [1, 2]), (409600, None),
                                             (524288, [8] * 16))):
            data = bytes((n // 512 + at) & 255 for n in range(length))
            assert scenario.io("nvme0n1", "write", at * 512, length, cpu=at % 2, page_runs=runs, data=data) == data
            assert controller.namespaces[1].read(at * 512, length) == data
            assert scenario.io("nvme0n1", "read", at * 512, length, cpu=1 - at % 2,
                               flags=["hipri"] if at == 1 and params.get("poll_queues") else []) == data
        wanted = [{"op": "read", "offset": at * 4096, "length": 512} for at in range(9)]
        assert scenario.aio("nvme0n1", wanted) == [controller.namespaces[1].read(at * 4096, 512) for at in range(9)]
        scenario.discard("nvme0n1", 4096, 8192)
        scenario.zero_out("nvme0n1", 65536, 4096)
        assert not any(controller.namespaces[1].read(4096, 8192) + controller.namespaces[1].read(65536, 4096))
        scenario.flush("nvme0n1")
        assert not controller.namespaces[1].cached
        if not controller.dbbuf:  # whose copies 5.4 leaves stale, so that a command after a reset can get lost
            scenario.set_nvme_file(name, "reset_controller", 1)
            assert scenario.io("nvme0n1", "read", 0, 4096) == controller.namespaces[1].read(0, 4096)
        del controller.namespaces[3]
        controller.namespaces[2] = Namespace(8)
        scenario.set_nvme_file(name, "rescan_controller", 1)
        kernel.loop.run_due()
        assert [ns.head.ns_id for ns in scenario.nvme_controller(name).ctrl.namespaces] == [1, 2]
        scenario.nvme_remove(name)
        kernel.loop.advance(60_000_000_000)
        # a context that contexts of several types share is added to sysfs under each, and gives one back: Linux leaks
        assert (_left(kernel) == before) == ("write_queues" not in params)
        assert controller.status & nvme.NVME_CSTS_SHST_MASK == nvme.NVME_CSTS_SHST_CMPLT


def controllers_fail():
    """A command that fails, or gets no answer, while one comes up or is used."""
    for fault, error, said, seconds in (
            (Fault(FAIL, nth=1, status=6), "EIO", "Identify Controller failed (6)", 0),
            (Fault(FAIL, opcode=nvme.nvme_admin_create_sq, nth=2, status=6), None, "1/0/0 default/read/poll queues", 0),
            (Fault(FAIL, opcode=nvme.nvme_cmd_read, nth=1, status=6), None, "2/0/0 default/read/poll queues", 0),
            (Fault(SILENT, nth=5), "EINTR", "Removing after probe failure status: -4", 60),
            (Fault(SILENT, queue=1), None, "Abort status: 0x0", 31),
            (Fault(STUCK, at=ENABLE), "ENODEV", "Removing after probe failure status: -19", 8)):
        kernel = blkmodel.boot(2)
        scenario.nvme_load(io_queue_depth=4)
        before = _left(kernel)
        controller = Controller(queue_pairs=2, vectors=3, faults=[fault])
        assert _failure(scenario.nvme_probe, controller=controller) == error
        assert kernel.now // 1_000_000_000 == seconds
        assert f"nvme nvme0: {said}" in kernel.log
        if not error:
            assert scenario.io("nvme0n1", "read", 0, 4096) == bytes(4096)
            scenario.nvme_remove()
        kernel.loop.advance(60_000_000_000)
        assert _left(kernel) == before


def some_maps():
    _maps(11)


QUICK = (load_and_unload, controllers_fail, controllers_come_up_hold_data_and_go, schedulers_change,
         mapped_devices_hold_data, every_allocation_fails_once)
THOROUGH = (data_comes_back, some_maps)
