"""A probe in which something fails: what the driver says, that nothing is left, and that the next one succeeds."""

from collections import Counter
from typing import Any

import pytest

import blkmodel
from blkmodel import KernelError, scenario
from blkmodel.device.controller import Controller
from blkmodel.device.faults import DISABLE, ENABLE, FAIL, FATAL, GONE, SHUTDOWN, SILENT, STUCK, Fault
from blkmodel.device.namespace import Namespace
from blkmodel.drivers.nvme.host import core
from blkmodel.include.linux import nvme
from blkmodel.services.base.bug import KernelBug
from blkmodel.services.cpus.interrupt import irq_desc_tree
from blkmodel.services.devices.device import dev_name, devices
from blkmodel.sim.bus import bus
from blkmodel.sim.events import HungTask
from blkmodel.sim.interrupts import interrupts
from tests.drivers.nvme.host.up import log

FOUND = "pci function 0000:00:04.0"
QUEUES = "2/0/0 default/read/poll queues"
DOWN = "controller is down; will reset: CSTS=0x3, PCI_STATUS=0x10"
LOST = "controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0xffff"
NOT_READY, ABORTING = (f"Device not ready; aborting {what}" for what in ("initialisation", "reset"))
UNREADABLE = "Buffer I/O error on dev nvme0n1, logical block 0, async page read"
DISK = ["nvme0n1"]
# what the controller is asked for, in this order
STEPS = ("identify", "effects", "timestamp", "queue count", "cq 1", "sq 1", "cq 2", "sq 2", "doorbells", "events",
         "event", "identify for the scan", "list", "namespace", "names", "namespace again", "names again", "first read")


def state(kernel):
    """All that a probe can take and has to give back, as it is now."""
    kernel.loop.run_due()
    assert kernel.loop.pending() == []
    return (kernel.memory.totals(), dict(irq_desc_tree().descs), list(bus().windows),
            {cpu: (vectors.taken, vectors.aside) for cpu, vectors in interrupts().cpus.items()},
            {kind: names for kind, names in names_of_devices().items() if names},
            list(core.variables().nvme_subsystems))


def names_of_devices():
    return {kind: sorted(map(dev_name, of_kind)) for kind, of_kind in devices().of_class.items()}


def boot():
    kernel = blkmodel.boot(2)
    scenario.nvme_load(io_queue_depth=4)
    return kernel, state(kernel)


def attempt(*faults, **more):
    """Probe a controller of two queues. Returns the disks that there are, or the name of the error; and what was
    logged of it."""
    kernel = blkmodel.sim.this()
    before = len(kernel.log)
    found: Any
    try:
        name = scenario.nvme_probe(controller=Controller(queue_pairs=2, vectors=3, faults=list(faults),
                                                         namespaces={1: Namespace(64)}, **more))
        found = [ns.disk.disk_name for ns in scenario.nvme_controller(name).ctrl.namespaces]
    except KernelError as why:
        found = why.name
    return found, [line for line in log(before) if not line.startswith("io scheduler ")]


def remove():
    if "nvme0" in names_of_devices().get("nvme", ()):
        scenario.nvme_remove("nvme0")


def check_that_it_hangs(kernel):
    """A scan has added a disk since a reset froze them: the reset thaws what it did not freeze, or waits for that."""
    with pytest.raises(HungTask):
        remove()
    assert any(line.startswith("Call Trace: blk_mq_freeze_queue_wait ") for line in kernel.log)


# what 5.4 loses where an allocation fails: pages of requests of an I/O queue that was had, where another was not; a
# hardware queue of a disk's queue likewise; a disk's table of partitions
REQUESTS_LOST = {"pages(1)": 4096}
QUEUE_LOST = {"blk_mq_hw_ctx": 640, "pointer[]": 16, "sbitmap_word[]": 192, "blk_flush_queue": 88, "request": 384}
TABLE_LOST = {"disk_part_tbl": 40}


def check_that_all_is_given_back(kernel, before):
    """But for what 5.4 loses, which is returned by kind; and that another controller comes up, and goes again."""
    remove()
    after = state(kernel)
    lost = {kind: size - before[0].get((kind, 0), 0) for (kind, _), size in after[0].items()
            if size != before[0].get((kind, 0), 0)}
    assert after[1:] == before[1:]
    assert lost in ({}, REQUESTS_LOST, QUEUE_LOST, TABLE_LOST)
    assert all(lost.get(kind, 0) + size == after[0].get((kind, 0), 0) for (kind, _), size in before[0].items())
    assert attempt()[0] == DISK
    remove()
    assert state(kernel) == after
    return lost


def sweep(step):
    """Fail one allocation of a probe after the other, each `step`th; return all that the driver said, and how often,
    and after how many what is lost. Without an admin queue the kernel stops: that is counted among them."""
    said: Counter[Any] = Counter()
    losses: Counter[Any] = Counter()
    nth = 1
    while True:
        kernel, before = boot()
        kernel.memory.fail_nth(nth)
        failed = kernel.memory.failed
        try:
            found, log = attempt()
        except KernelBug as why:
            losses[str(why)] += 1
            nth += step
            continue
        if kernel.memory.failed == failed:
            return said, nth, losses
        kernel.memory.fail_never()
        assert found in (DISK, [], "ENOMEM", "EINVAL", "ENOSPC", "EIO")
        assert isinstance(found, list) or "error -" in log[-1] or "Removing after probe failure status: -" in log[-1]
        said[(str(found), *(line for line in log if line not in (FOUND, QUEUES)))] += 1
        losses[frozenset(check_that_all_is_given_back(kernel, before))] += 1
        nth += step


def test_an_allocation_fails():
    sweep(13)


def test_an_error_is_taken_for_the_admin_queue():
    """No memory for the admin queue: who gives the controller up looks into the error as if it were that queue."""
    kernel, _ = boot()
    kernel.memory.fail_if(lambda kind, size: kind == "request_queue")
    with pytest.raises(KernelBug, match=r"ERR_PTR\(-ENOMEM\) is taken for a pointer: ->queue_flags"):
        attempt()


@pytest.mark.slow
def test_each_allocation_fails():
    said, tried, losses = sweep(1)
    assert tried > 150
    del losses[frozenset()]
    assert losses == {"ERR_PTR(-ENOMEM) is taken for a pointer: ->queue_flags": 27, frozenset(REQUESTS_LOST): 9,
                      frozenset(QUEUE_LOST): 5, frozenset(TABLE_LOST): 1}
    removing = "Removing after probe failure status: "
    expected = {
        ("ENOMEM", "nvme: probe of 0000:00:04.0 failed with error -12"),  # before the controller has a name
        ("EINVAL", f"{removing}-22"),  # no memory for vectors: taken for a device that has none
        ("ENOSPC", f"{removing}-28"),
        ("ENOMEM", f"{removing}-12"),
        ("EIO", f"{removing}-5"),
        ("EIO", "Identify Controller failed (-12)", f"{removing}-5"),
        ("ENOMEM", "could not set timestamp (-12)", f"{removing}-12"),
        (str(DISK), "nvme 0000:00:04.0: unable to allocate dma for dbbuf"),
        (str(DISK), "1/0/0 default/read/poll queues"),
        (str(DISK), "blk-mq: reduced tag depth (30 -> 15)"),
        (str(DISK), "blk-mq: reduced tag depth (3 -> 1)"),
        (str(DISK), "WARNING: CPU: 1: several queues, and vectors without affinity"),
        ("[]", "IO queues tagset allocation failed -12"),
        ("[]", "Identify namespace failed (-12)"),
        ("[]", "Identify Descriptors failed (-12)"),
        ("[]",),
        (str(DISK),),
        (str(DISK), "Identify namespace failed (-12)"),
        (str(DISK), "Identify Descriptors failed (-12)"),
        (str(DISK), "WARNING: CPU: 0: bdi_register_owner"),
    }
    assert expected - said.keys() == set()
    assert said.keys() - expected == set()


@pytest.mark.parametrize(("step", "found", "log"), [
    ("identify", "EIO", ["Identify Controller failed (6)", "Removing after probe failure status: -5"]),
    ("effects", DISK, [QUEUES]),
    ("timestamp", DISK, ["could not set timestamp (6)", QUEUES]),
    ("queue count", [], ["Could not set queue count (6)", "IO queues not created"]),
    ("cq 1", [], ["IO queues not created"]),
    ("sq 1", [], ["IO queues not created"]),
    ("cq 2", DISK, ["1/0/0 default/read/poll queues"]),
    ("sq 2", DISK, ["1/0/0 default/read/poll queues"]),
    ("doorbells", DISK, [QUEUES, "unable to set dbbuf"]),
    ("events", DISK, [QUEUES, "Failed to configure AEN (cfg 100)"]),
    ("event", DISK, [QUEUES]),
    ("identify for the scan", [], [QUEUES]),
    ("list", DISK, [QUEUES]),
    ("namespace", [], [QUEUES, "Identify namespace failed (6)"]),
    ("names", [], [QUEUES, "Identify Descriptors failed (6)"]),
    ("namespace again", DISK, [QUEUES, "Identify namespace failed (6)"]),
    ("names again", DISK, [QUEUES, "Identify Descriptors failed (6)"]),
    ("first read", DISK, [QUEUES]),
])
def test_a_command_fails(step, found, log):
    kernel, before = boot()
    fault = Fault(FAIL, nth=STEPS.index(step) + 1, status=nvme.NVME_SC_INTERNAL)
    assert attempt(fault) == (found, [FOUND, *log])
    check_that_all_is_given_back(kernel, before)


def test_the_first_read_fails_for_good():
    """The next parser reads the sector anew."""
    kernel, before = boot()
    fault = Fault(FAIL, nth=len(STEPS), status=nvme.NVME_SC_LBA_RANGE | nvme.NVME_SC_DNR)
    assert attempt(fault) == (DISK, [
        FOUND, QUEUES, "blk_update_request: critical target error, dev nvme0n1, sector 0 op 0x0:(READ) flags 0x0 "
        "phys_seg 1 prio class 0", UNREADABLE])
    check_that_all_is_given_back(kernel, before)


def late(tag, qid=0, then="disable controller"):
    return f"I/O {tag} QID {qid} timeout, {then}"


GIVEN_UP = "Removing after probe failure status: -4"


@pytest.mark.parametrize(("step", "found", "log"), [
    ("identify", "EIO", [late(16), "Identify Controller failed (-4)", "Removing after probe failure status: -5"]),
    ("effects", "EINTR", [late(17), GIVEN_UP]),
    ("timestamp", "EINTR", [late(18), "could not set timestamp (-4)", GIVEN_UP]),
    ("queue count", "EINTR", [late(19), GIVEN_UP]),
    ("cq 1", "EINTR", [late(16), GIVEN_UP]),
    ("sq 1", "EINTR", [late(17), GIVEN_UP]),
    ("cq 2", "EINTR", [late(18), GIVEN_UP]),
    ("sq 2", "EINTR", [late(19), GIVEN_UP]),
    ("doorbells", "ENODEV", [QUEUES, late(16), "unable to set dbbuf", "failed to mark controller live state",
                             "Removing after probe failure status: -19"]),
    ("events", DISK, [QUEUES, late(17, then="reset controller"), "Failed to configure AEN (cfg 100)"] + [
                     "blk_update_request: I/O error, dev nvme0n1, sector 0 op 0x0:(READ) flags 0x0 "
                     "phys_seg 1 prio class 0",
                     UNREADABLE] * 2 + [" nvme0n1: unable to read partition table", QUEUES]),
    ("event", DISK, [QUEUES]),
    ("identify for the scan", DISK, [QUEUES, late(4, then="reset controller"), QUEUES]),
    ("namespace", DISK, [QUEUES, late(6, then="reset controller"), "Identify namespace failed (-4)", QUEUES]),
    ("first read", DISK, [QUEUES, late(0, 1, "aborting"), "Abort status: 0x0"]),
])
def test_a_command_is_not_answered(step, found, log):
    """Whoever brings the controller up gives it up; afterwards it is reset, or the command aborted."""
    kernel, before = boot()
    assert attempt(Fault(SILENT, nth=STEPS.index(step) + 1)) == (found, [FOUND, *log])
    assert kernel.now >= (0 if step == "event" else 30 if step == "first read" else 60) * 1_000_000_000
    if step == "events":
        check_that_it_hangs(kernel)
    else:
        check_that_all_is_given_back(kernel, before)


def test_a_reset_before_the_disk_is_shown_takes_its_scheduler_away():
    """A disk with one queue has mq-deadline. A reset puts it aside, and then cannot show it below what is not shown."""
    kernel = blkmodel.boot(1)
    scenario.nvme_load(io_queue_depth=4)
    before = state(kernel)
    found, log = attempt(Fault(SILENT, nth=STEPS.index("namespace again") - 1))
    assert (found, log) == (DISK, [
        FOUND, "1/0/0 default/read/poll queues", late(4, then="reset controller"), "Identify namespace failed (-4)",
        "1/0/0 default/read/poll queues", "kobject_add_internal failed for iosched (error: -2 parent: (null))",
        "nvme0n1: detected capacity change from 0 to 32768"])
    assert scenario.scheduler("nvme0n1") == "none"
    remove()
    assert state(kernel) == before


@pytest.mark.parametrize("effect", [FATAL, GONE])
@pytest.mark.parametrize("step", STEPS)
def test_the_controller_breaks_down(effect, step):
    """While it is brought up it is given up; later it is reset, which helps where it is still there."""
    kernel, before = boot()
    found, log = attempt(Fault(effect, nth=STEPS.index(step) + 1))
    if STEPS.index(step) < STEPS.index("events"):
        assert found in ("EIO", "EINTR", "ENODEV")
        assert late(16 + STEPS.index(step) % 4) in log
    elif effect == GONE:
        assert found == "ENODEV"
        assert LOST in log
        assert "Removing after probe failure status: -19" in log
    elif step == "first read":
        # v5.4.120 does not clear its copies of doorbells, and so does not ring when the read is tried again.
        assert found == "ENODEV"
        assert log[2:5] == [DOWN, QUEUES, late(0, 1)]
    else:
        assert found == DISK
        assert log[:3] == [FOUND, QUEUES, DOWN]
    if effect == FATAL and step in ("events", "list"):
        check_that_it_hangs(kernel)
    else:
        check_that_all_is_given_back(kernel, before)


@pytest.mark.parametrize(("effect", "seconds", "log"), [
    (STUCK, 8, [NOT_READY]), (FATAL, 8, [NOT_READY]), (GONE, 0, [])])
def test_it_cannot_be_enabled(effect, seconds, log):
    kernel, before = boot()
    assert attempt(Fault(effect, ENABLE)) == ("ENODEV", [FOUND, *log, "Removing after probe failure status: -19"])
    assert kernel.now // 1_000_000_000 == seconds
    check_that_all_is_given_back(kernel, before)


@pytest.mark.parametrize("effect", [STUCK, FATAL, GONE])
def test_it_cannot_be_shut_down(effect):
    """The driver waits for five seconds, and goes on."""
    kernel, before = boot()
    assert attempt(Fault(effect, SHUTDOWN))[0] == DISK
    remove()
    assert kernel.log[-1] == "nvme nvme0: Device shutdown incomplete; abort shutdown"
    assert kernel.now // 1_000_000_000 == 5
    check_that_all_is_given_back(kernel, before)


@pytest.mark.parametrize(("effect", "before", "after"), [(STUCK, 2, 1), (FATAL, 2, 0), (GONE, 0, 0)])
def test_it_cannot_be_disabled(effect, before, after):
    """It is disabled before a reset and in it; and when it is given up, unless it says that it is broken."""
    kernel, _ = boot()
    assert attempt(Fault(effect, DISABLE, nth=0))[0] == DISK
    said = len(kernel.log)
    with pytest.raises(KernelError, match="ENETRESET"):
        scenario.set_nvme_file("nvme0", "reset_controller", 1)
    assert log(said) == [
        *[ABORTING] * before, "Removing after probe failure status: -19", *[ABORTING] * after]
    assert names_of_devices()["nvme"] == names_of_devices()["block"] == []
