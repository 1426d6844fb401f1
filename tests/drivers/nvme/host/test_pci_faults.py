"""Every fault at every step, for controllers and parameters of many kinds: what comes of it, that all is given back,
and that the next controller comes up."""

import re
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

import blkmodel
from blkmodel import KernelError, scenario
from blkmodel.device.controller import Controller
from blkmodel.device.faults import DISABLE, ENABLE, FAIL, FATAL, GONE, SHUTDOWN, SILENT, STUCK, Fault
from blkmodel.device.namespace import Namespace
from blkmodel.include.linux import nvme
from blkmodel.services.base.bug import KernelBug
from blkmodel.sim.events import HungTask
from blkmodel.trace import Command, record
from tests import leaks
from tests.drivers.nvme.host.test_pci_errors import remove, state

# what is different about the controller, and parameters of the driver
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}), "of all types": ({"queue_pairs": 6, "vectors": 7}, {"write_queues": 1, "poll_queues": 2}),
    "no doorbells in memory": ({"dbbuf": False}, {}),
    "no descriptors": ({"sgl": False}, {}), "a pin": ({"vectors": 0}, {}), "one vector": ({"vectors": 1}, {}),
    "NVMe 1.1": ({"version": nvme.NVME_VS(1, 1, 0)}, {}), "fewer usable": ({"usable": 1}, {}),
    "two namespaces": ({"namespaces": 2}, {}), "slow": ({"ready_time": 250_000_000}, {})}
EFFECTS = {"fail": (FAIL, nvme.NVME_SC_INTERNAL), "fail for good": (FAIL, nvme.NVME_SC_INTERNAL | nvme.NVME_SC_DNR),
           "no answer": (SILENT, 0), "breaks": (FATAL, 0), "is pulled out": (GONE, 0)}
# 5.4 keeps these for ever when a queue has several types: tests/block/test_blk_mq_sysfs.py
KEPT = {"blk_flush_queue", "blk_mq_hw_ctx", "pointer[]", "request", "sbitmap_word[]"}
# 5.4's own mistakes: a disk of a controller that is gone drops a reference of its queue that it could not take; and
# the admin queue's interrupt, that a timeout has freed, is freed again before vectors are spread anew.
WARNINGS = {"WARNING: CPU: 0", "WARNING: CPU: 0: refcount_t: underflow; use-after-free.",
            "WARNING: CPU: 1: Trying to free already-free IRQ 0"}


def controller(kind, *faults):
    more = dict(KINDS[kind][0])
    disks = {n + 1: Namespace(64, 12 if n else 9) for n in range(more.pop("namespaces", 1))}
    fields: dict[str, Any] = {"queue_pairs": 2, "vectors": 3, "namespaces": disks, "faults": list(faults)}
    return Controller(**fields | more)


def boot(kind):
    kernel = blkmodel.boot(2)
    scenario.nvme_load(io_queue_depth=4, **KINDS[kind][1])
    return kernel


def rest(kernel, kind):
    """All that has to be given back, once whatever was begun has ended."""
    kernel.loop.advance(1_000_000_000)
    totals, *others = state(kernel)
    if kind == "of all types":
        totals = {key: size for key, size in totals.items() if key[0] not in KEPT}
    return totals, others


def probe(kind, *faults):
    """The disks that there are then, or the name of the error."""
    try:
        name = scenario.nvme_probe(controller=controller(kind, *faults))
    except KernelError as why:
        return why.name
    return [ns.disk.disk_name for ns in scenario.nvme_controller(name).ctrl.namespaces]


def commands(kind):
    """How many commands the driver sends while a controller comes up, and while it goes."""
    boot(kind)
    coming = record(probe, kind)
    assert coming.result
    return len(coming.of(Command)), len(record(remove).of(Command))


def check(kind, fault):
    """Bring a controller up and take it away, with a fault. Returns what came of it."""
    kernel = boot(kind)
    before = rest(kernel, kind)
    logged = len(kernel.log)
    found = probe(kind, fault)
    if isinstance(found, str):
        said = [line for line in kernel.log[logged:] if "Removing after probe failure status: -" in line]
        assert found in ("EIO", "EINTR", "ENODEV")
        assert re.search(r"-(\d+)$", said[-1])[1] == {"EIO": "5", "EINTR": "4", "ENODEV": "19"}[found]
    try:
        remove()
    except HungTask:
        assert any(line.startswith("Call Trace: blk_mq_freeze_queue_wait ") for line in kernel.log)
        return "hangs"
    assert rest(kernel, kind) == before
    assert {line for line in kernel.log if line.startswith("WARNING")} <= WARNINGS
    again = probe(kind)
    assert isinstance(again, list)
    assert len(again) == len(controller(kind).namespaces)
    for disk in again:
        data = bytes(range(256)) * 16
        scenario.io(disk, "write", 4096, 4096, data=data)
        assert scenario.io(disk, "read", 4096, 4096) == data
    remove()
    assert rest(kernel, kind) == before
    return found if isinstance(found, str) else len(found)


def sweep(kind, effect, step):
    coming, going = commands(kind)
    found = []
    for nth in range(1 + coming % step, coming + going + 1, step):
        fault = Fault(EFFECTS[effect][0], nth=nth, status=EFFECTS[effect][1])
        found.append((nth, check(kind, fault)))
        assert fault.seen >= nth
    return found, coming


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("kind", KINDS)
def test_some_commands(kind, effect):
    sweep(kind, effect, 7)


def test_a_reset_waits_for_ever_for_what_a_scan_adds():
    """A command in the midst of bringing up gets no answer; the scan that was begun goes on while the reset does."""
    assert check("NVMe 1.1", Fault(EFFECTS["no answer"][0], nth=10)) == "hangs"


@pytest.mark.slow
@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("kind", ["plain", "of all types"])
def test_every_command(kind, effect):
    """The later it goes wrong, the less there is to give up: first the controller, then a disk, then nothing."""
    found, coming = sweep(kind, effect, 1)
    whole = len(controller(kind).namespaces)
    assert found[0][1] == "EIO"  # it did not say what it is
    assert all(what == whole for nth, what in found if nth > coming)
    if effect.startswith("fail"):
        assert [what for _, what in found].count("EIO") == 1
    elif effect == "no answer":
        given_up = [isinstance(what, str) for _, what in found if what != "hangs"]
        assert not any(late and not early for early, late in pairwise(given_up))
    assert set(Counter(what for _, what in found)) <= {"EIO", "EINTR", "ENODEV", "hangs", *range(whole + 1)}
    assert all("fail" not in effect and 9 < nth < coming for nth, what in found if what == "hangs")


@pytest.mark.parametrize("effect", [STUCK, FATAL, GONE])
@pytest.mark.parametrize("at", [ENABLE, DISABLE, SHUTDOWN])
@pytest.mark.parametrize("kind", KINDS)
def test_every_step_that_is_no_command(kind, at, effect):
    assert check(kind, Fault(effect, at)) == ("ENODEV" if at == ENABLE else len(controller(kind).namespaces))


@pytest.mark.parametrize("kind", ["of all types", "a pin", "fewer usable",
                                  "two namespaces"])
def test_an_allocation_fails(kind):
    nth, failed = 1, 1
    while failed:
        kernel = boot(kind)
        before = rest(kernel, kind)
        kernel.memory.fail_nth(nth)
        failed = -kernel.memory.failed
        held = leaks.kinds(kernel.memory)
        try:
            found = probe(kind)
        except KernelBug:  # no admin queue: 5.4 takes the error for one
            nth, failed = nth + 17, 1
            continue
        failed += kernel.memory.failed
        kernel.memory.fail_never()
        assert found in ("ENOMEM", "EINVAL", "ENOSPC", "EIO") or isinstance(found, list)
        remove()
        after = rest(kernel, kind)
        if not leaks.lost(held, leaks.kinds(kernel.memory)):
            assert after == before
        assert len(probe(kind)) == len(controller(kind).namespaces)
        remove()
        assert rest(kernel, kind) == after
        nth += 17
    assert nth > 150
