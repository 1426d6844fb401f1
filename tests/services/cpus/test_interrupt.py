"""Where interrupts may go and what moves them, against what a real kernel said; and CPUs that are isolated."""

from __future__ import annotations

import json

import pytest

from blkmodel import KernelError, boot, scenario
from blkmodel.capture.recordings import recording
from blkmodel.services.cpus.cpuhotplug import cpu_down, cpu_up
from blkmodel.services.cpus.interrupt import irq_desc_tree, proc_irq
from blkmodel.services.cpus.isolation import housekeeping, housekeeping_isolcpus_setup

RECORDED = json.loads(recording("linux-5.4/tables/cpu-hotplug.json").read_text())


def controller(cpus=4, **params):
    kernel = boot(cpus)
    scenario.nvme_probe(io_queue_depth=64, **params)
    return kernel


def shown():
    return {"".join(desc.action.name): proc_irq(irq) for irq, desc in irq_desc_tree().descs.items()}


def number_of(name):
    return next(irq for irq, desc in irq_desc_tree().descs.items() if "".join(desc.action.name) == name)


def test_as_recorded_while_a_cpu_goes_and_comes_back():
    """But for the CPU that the admin queue's interrupt goes to: that depends on all interrupts of a machine."""
    kernel = controller(poll_queues=1)
    for when, act in (("before", None), ("offline", cpu_down), ("after", cpu_up)):
        if act:
            kernel.task("sh", act, 2)
        found = shown()
        assert found.keys() == RECORDED["irq"][when].keys()
        for name, files in RECORDED["irq"][when].items():
            may, now = found[name]
            if name == "nvme0q0":
                assert (may, int(now) in kernel.online) == (files["smp_affinity_list"], True)
            else:
                assert (may, now) == (files["smp_affinity_list"], files["effective_affinity_list"]), (when, name)


def test_what_a_queue_gets_for_a_new_affinity_is_what_was_recorded():
    controller()
    irq, before = number_of("nvme0q1"), shown()
    with pytest.raises(KernelError) as refused:
        scenario.set_irq_affinity(irq, "3")
    assert RECORDED["irq"]["write_smp_affinity"]["error"].endswith("Input/output error")
    assert (refused.value.name, shown()) == ("EIO", before)


def test_the_admin_queue_moves():
    controller()
    irq = number_of("nvme0q0")
    for cpus, now in (("3", "3"), ("1-3", "3"), ("1", "1")):
        scenario.set_irq_affinity(irq, cpus)
        assert proc_irq(irq) == (cpus, now)  # where it went already it stays
    desc = irq_desc_tree().descs[irq]
    before = list(desc.kstat_irqs)
    scenario.set_nvme_file("nvme0", "rescan_controller", 1)
    assert [cpu for cpu in range(4) if desc.kstat_irqs[cpu] > before[cpu]] == [1]


@pytest.mark.parametrize("cpus", ["4", "4-7", "", "x", "3-1"])
def test_what_is_no_affinity(cpus):
    controller()
    before = shown()
    with pytest.raises(KernelError) as refused:
        scenario.set_irq_affinity(number_of("nvme0q0"), cpus)
    assert (refused.value.name, shown()) == ("EINVAL", before)


def test_an_interrupt_that_there_is_not():
    controller()
    with pytest.raises(KeyError, match="there is no interrupt 7; there is 24, 25"):
        scenario.set_irq_affinity(7, "0")


@pytest.mark.parametrize(("text", "kept", "said"), [
    ("2-3", {0, 1}, None), ("domain,3", {0, 1, 2}, None), ("nohz,domain,0", {1, 2, 3}, None),
    ("managed_irq,2-3", {0, 1, 2, 3}, "isolcpus: Error, unknown flag"),
    ("domain,managed_irq,3", {0, 1, 2, 3}, "isolcpus: Error, unknown flag"),
    ("domain", {0, 1, 2, 3}, "isolcpus: Error, unknown flag"),
    ("2-9", {0, 1, 2, 3}, "Housekeeping: nohz_full= or isolcpus= incorrect CPU range"),
    ("3-2", {0, 1, 2, 3}, "Housekeeping: nohz_full= or isolcpus= incorrect CPU range"),
    ("0-3", {0}, "Housekeeping: must include one present CPU, using boot CPU:0")])
def test_isolated_cpus(text, kept, said):
    kernel = boot(4)
    begun = len(kernel.log)
    done = housekeeping_isolcpus_setup(text)
    assert set(housekeeping().mask) == kept
    assert kernel.log[begun:] == [said] * bool(said)
    assert done == (said is None or "boot CPU" in said)
