"""Holding the model against tables of what a kernel did in many cases, each on a kernel that has just booted.

`blkmodel-statuses/1`: a status put in place of a command's own, once: what the read or write returned, the error, and
the log, where the kernel did not hold lines back. `blkmodel-nr_requests/1`: what writing nr_requests did, one after the
other, under each scheduler. `blkmodel-hotplug/1`: the CPUs of interrupts and hardware queues before the first step,
after it (`offline`) and after the last; and what writing the affinity of a queue's interrupt says. To which CPU an
interrupt goes of several that it may go to is chance.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from blkmodel.capture import looks
from blkmodel.capture.files import shown
from blkmodel.capture.observed import differs
from blkmodel.capture.reference import as_recorded, boot_reference, try_step
from blkmodel.drivers.pci.msi import pci_irq_vector
from blkmodel.errors import KernelError
from blkmodel.scenario import (io, nvme_controller, nvme_fault_inject, queue_file, run_step, set_irq_affinity,
    set_queue_file)
from blkmodel.services import DEFAULT_RATELIMIT_INTERVAL, HZ, to_pci_dev, whole_disks
from blkmodel.sim import this
from blkmodel.userland.libdm import strerror

CPUS = 4
Cases = Iterator[tuple[str, list[str]]]
"""What each case is, and how the model differs there: a line for each fact."""


def statuses(document: dict[str, Any], chance: Counter[str]) -> Cases:
    """Compare the cases of a `blkmodel-statuses/1`."""
    _boot(document, [["nvme.probe", {"device": "nvme0"}]])
    for case in document["cases"]:
        this().loop.advance(2 * DEFAULT_RATELIMIT_INTERVAL * 1_000_000_000 // HZ)
        before = len(this().log)
        nvme_fault_inject("nvme0n1", case["status"], case["dnr"], 100, 1)
        try:
            returned, error = len(io("nvme0n1", case["op"], 0, 4096)), None
        except KernelError as why:
            returned, error = -int(why.errno or 0), strerror(why.errno or 0)
        ours = {"returned": returned, "error": error, "kernel_log": this().log[before:]}
        if "kernel_log" not in case:
            chance["logs that the recording does not have"] += bool(ours.pop("kernel_log"))
        yield f"{case['op']} {case['status']}{' dnr' * case['dnr']}", _held(case, ours)


def nr_requests(document: dict[str, Any], chance: Counter[str]) -> Cases:
    """Compare the cases of a `blkmodel-nr_requests/1`."""
    _boot(document, [])
    disk = min(whole_disks(), default="nullb0")
    for case in document["cases"]:
        set_queue_file(disk, "scheduler", case["scheduler"])
        ok = True
        try:
            set_queue_file(disk, "nr_requests", case["write"])
        except KernelError:
            ok = False
        ours = {"ok": ok, "now": int(queue_file(disk, "nr_requests"))}
        yield f"{case['scheduler']}, {case['write']}", _held(case, ours)


def hotplug(document: dict[str, Any], chance: Counter[str]) -> Cases:
    """Compare the moments of a `blkmodel-hotplug/1`."""
    scenario = document["scenario"]
    _boot(scenario, [])
    steps = scenario["steps"]
    for moment, doing in (("before", []), ("offline", steps[:1]), ("after", steps[1:])):
        for step in doing:
            run_step(as_recorded(step, True))
        lines = []
        for name, facts in document["irq"].get(moment, {}).items():
            theirs = " ".join(f"{key}={facts.get(key, '')}" for key in ("smp_affinity_list", "effective_affinity_list"))
            lines += differs(f"irq {name}", theirs, [str(looks.read(f"irq {name}", scenario["setup"]))],
                             frozenset(this().online), chance)
        for number, cpus in document["hctx_cpus"].get(moment, {}).items():
            ours = str(looks.read(f"mq/{number}/cpu_list", scenario["setup"]))
            lines += differs(f"hctx {number}", ",".join(cpus.split(",")), ["".join(ours.split())], frozenset(), chance)
        yield moment, lines
    if (written := document["irq"].get("write_smp_affinity")) is not None:
        yield "write_smp_affinity", _held(written, _write_affinity(scenario))


def _write_affinity(scenario: dict[str, Any]) -> dict[str, Any]:
    """What the shell says of writing the affinity of the first queue's interrupt."""
    device = next((step[1]["device"] for step in scenario["setup"] if step[0] == "nvme.probe"), "nvme0")
    dev = nvme_controller(device)
    try:
        set_irq_affinity(pci_irq_vector(to_pci_dev(dev.dev), dev.queues[1].cq_vector), str(min(this().online)))
    except KernelError as why:
        return {"exit": 1, "error": f"sh: write error: {strerror(why.errno or 0)}"}
    return {"exit": 0, "error": None}


def _boot(document: dict[str, Any], setup: list[list[Any]]) -> None:
    boot_reference(document.get("cpus", CPUS), True)
    for step in document.get("setup", setup):
        try_step(step, True)


def _held(theirs: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    return [f"{key}: the recording has {shown(theirs.get(key))}, the model {shown(our)}"
            for key, our in ours.items() if theirs.get(key) != our]
