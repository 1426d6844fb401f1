"""A device's vectors: how many, their affinity, their handlers, and that all is given back."""

import pytest
from hypothesis import given, strategies as st

import blkmodel
from blkmodel.device.controller import Controller
from blkmodel.device.nvme import plug_in
from blkmodel.drivers.pci import msi
from blkmodel.services.base.err import EBUSY, EINVAL, ENOMEM, ENOSPC, ERANGE
from blkmodel.services.cpus.cpuhotplug import cpu_down, cpu_up
from blkmodel.services.cpus.interrupt import (IRQ_HANDLED, IRQF_SHARED, disable_irq, enable_irq, free_irq, irq_activate,
    irq_affinity, irq_desc_tree, irq_to_desc, irqaction, proc_irq, request_threaded_irq)
from blkmodel.services.devices.msi import for_each_pci_msi_entry
from blkmodel.services.devices.pci import (PCI_IRQ_AFFINITY, PCI_IRQ_ALL_TYPES, PCI_IRQ_MSIX, pci_alloc_irq_vectors,
    pci_free_irq, pci_request_irq)
from blkmodel.sim.interrupts import interrupts
from blkmodel.sim.machine import machine
from tests.machines import machines


def device(on=4, vectors=65, node=None):
    blkmodel.boot(on)
    return plug_in(Controller(vectors=vectors), node)


def spread(pdev, low, high, **affd):
    return msi.pci_alloc_irq_vectors_affinity(pdev, low, high, PCI_IRQ_ALL_TYPES | PCI_IRQ_AFFINITY,
                                              irq_affinity(**affd) if affd else None)


def affinities(pdev, count):
    return [proc_irq(msi.pci_irq_vector(pdev, nr))[0] for nr in range(count)]


def note(into, kernel):
    return lambda irq, dev_id: into.append((irq, dev_id, kernel.cpu)) or IRQ_HANDLED


def memory():
    return blkmodel.sim.this().memory.totals()


def nothing_is_left(before):
    state = interrupts()
    assert irq_desc_tree().descs == {}
    assert memory() == before
    assert state.entries == {}
    assert all(cpu.aside == 0 and cpu.taken.bit_count() == (number == 0) for number, cpu in state.cpus.items())


def test_without_affinity_any_number_up_to_the_table():
    pdev = device()
    before = memory()
    assert pci_alloc_irq_vectors(pdev, 1, 100, PCI_IRQ_ALL_TYPES) == 65
    assert [msi.pci_irq_vector(pdev, nr) for nr in range(65)] == list(range(24, 89))
    assert msi.pci_irq_get_affinity(pdev, 0) is None
    msi.pci_free_irq_vectors(pdev)
    nothing_is_left(before)


def test_spread_alike_there_is_one_vector_a_cpu():
    pdev = device(4)
    assert spread(pdev, 1, 32) == 4
    assert affinities(pdev, 4) == ["0", "1", "2", "3"]
    assert spread(pdev, 1, 32) == -EINVAL  # it has its vectors
    assert "WARNING" in blkmodel.sim.this().log[-1]


def test_the_driver_may_ask_for_more_than_there_are_cpus():
    """The vectors that no CPU is left for can't be had; it is tried again with those before them."""
    asked = []

    def calc_sets(affd, nvecs):
        asked.append(nvecs)
        affd.nr_sets, affd.set_size[0] = 1, nvecs
    pdev = device(4)
    assert spread(pdev, 1, 32, pre_vectors=1, calc_sets=calc_sets) == 5
    assert asked == [31, 4]
    assert any(line.endswith("some vectors have no CPU") for line in blkmodel.sim.this().log)
    assert msi.pci_irq_get_affinity(pdev, 0).bits == (1 << 512) - 1
    assert spread(plug_in(Controller()), 6, 32, pre_vectors=1, calc_sets=calc_sets) == -ENOSPC


@given(machines(), st.integers(1, 65), st.integers(0, 70))
def test_vectors_have_what_the_spreading_gave_them(on, low, more):
    pdev = device(on)
    before = memory()
    got = spread(pdev, low, low + more)
    if got < 0:
        assert got == -ENOSPC
        assert not pdev.msix_enabled
        nothing_is_left(before)
        return
    assert low <= got <= min(low + more, 65, len(on.possible))
    for nr in range(got):
        desc = irq_to_desc(msi.pci_irq_vector(pdev, nr))
        mask = msi.pci_irq_get_affinity(pdev, nr)
        assert desc.irq_common_data.affinity.bits == mask.bits != 0
        assert desc.irq_common_data.node == on.node_of[min(mask)]
        assert pci_request_irq(pdev, nr, note([], None), None, desc, "x") == 0
        effective = set(desc.irq_common_data.effective_affinity)
        assert effective <= on.online
        if set(mask) & on.online:
            assert effective <= set(mask)
            assert desc.irq_data._target[0] in effective
        else:
            assert desc.irq_data._target is None
    for nr in range(got):
        pci_free_irq(pdev, nr, irq_to_desc(msi.pci_irq_vector(pdev, nr)))
    msi.pci_free_irq_vectors(pdev)
    nothing_is_left(before)


def test_no_vectors_no_sense():
    pdev = device()
    assert pci_alloc_irq_vectors(pdev, 5, 3, PCI_IRQ_MSIX) == -ENOSPC
    assert msi.__pci_enable_msix_range(pdev, None, 5, 3, None, 0) == -ERANGE
    assert pci_alloc_irq_vectors(pdev, 66, 70, PCI_IRQ_ALL_TYPES) == -ENOSPC
    pdev.no_msi = 1
    assert pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_ALL_TYPES) == -EINVAL


def test_a_pin_where_there_is_no_table():
    sets = []
    pdev = device(vectors=0)
    assert spread(pdev, 1, 8, pre_vectors=1, calc_sets=lambda affd, nvecs: sets.append(nvecs)) == 1
    assert sets == [0]
    assert msi.pci_irq_vector(pdev, 0) == pdev.irq
    assert msi.pci_irq_vector(pdev, 1) == -EINVAL
    assert set(msi.pci_irq_get_affinity(pdev, 0)) == {0, 1, 2, 3}
    seen: list = []
    kernel = blkmodel.sim.this()
    for owner in (1, 2):
        assert pci_request_irq(pdev, 0, note(seen, kernel), None, owner, "x") == 0
    pdev._device.interrupt(0)
    kernel.loop.run_due()
    assert [dev_id for _, dev_id, _ in seen] == [1, 2]
    pci_free_irq(pdev, 0, 1)
    pdev._device.interrupt(0)
    kernel.loop.run_due()
    assert [dev_id for _, dev_id, _ in seen] == [1, 2, 2]


def test_affinity_of_a_vector_that_is_not_there():
    pdev = device()
    assert spread(pdev, 1, 2) == 2
    assert msi.pci_irq_get_affinity(pdev, 2) is None
    assert msi.pci_irq_vector(pdev, 2) == -EINVAL


@pytest.mark.parametrize("nth", range(1, 12))
def test_without_memory(nth):
    """One allocation fails: all is given back, or the vectors that could be had are there, or they are not spread."""
    pdev = device(3)
    before = memory()
    blkmodel.sim.this().memory.fail_nth(nth)
    got = spread(pdev, 1, 3)
    if got < 0:
        assert got in (-ENOMEM, -ENOSPC, -EINVAL)
        nothing_is_left(before)
    else:
        assert 1 <= got <= 3
        msi.pci_free_irq_vectors(pdev)
        nothing_is_left(before)


def test_without_memory_for_masks_vectors_are_not_spread():
    pdev = device(2)
    blkmodel.sim.this().memory.fail_nth(1)
    assert spread(pdev, 1, 2) == 2
    assert msi.pci_irq_get_affinity(pdev, 0) is None
    assert proc_irq(msi.pci_irq_vector(pdev, 0))[0] == "0-511"


def test_an_interrupt_runs_its_handler_where_it_may():
    pdev = device(4)
    kernel = blkmodel.sim.this()
    spread(pdev, 1, 4)
    seen: list = []
    for nr in range(4):
        assert pci_request_irq(pdev, nr, note(seen, kernel), None, nr, f"q{nr}") == 0
    for nr in (3, 0, 2):
        pdev._device.interrupt(nr)
    kernel.loop.run_due()
    assert seen == [(27, 3, 3), (24, 0, 0), (26, 2, 2)]
    assert irq_to_desc(27).kstat_irqs[3] == 1


def test_a_vector_that_nobody_handles_waits():
    pdev = device(4)
    kernel = blkmodel.sim.this()
    spread(pdev, 1, 4)
    seen: list = []
    pdev._device.interrupt(1)
    kernel.loop.run_due()
    assert pci_request_irq(pdev, 1, note(seen, kernel), None, 1, "late") == 0
    kernel.loop.run_due()
    assert seen == [(25, 1, 1)]


def test_disabled_interrupts_happen_later():
    pdev = device(4)
    kernel = blkmodel.sim.this()
    spread(pdev, 1, 4)
    seen: list = []
    pci_request_irq(pdev, 2, note(seen, kernel), None, "x", "x")
    disable_irq(26)
    disable_irq(26)
    for _ in range(3):
        pdev._device.interrupt(2)
        kernel.loop.run_due()
    enable_irq(26)
    kernel.loop.run_due()
    assert seen == []
    enable_irq(26)
    kernel.loop.run_due()
    assert seen == [(26, "x", 2)] * 2  # the one that the kernel kept, and the one that the device held back


def test_unmanaged_interrupts_stay_near_the_device_while_they_may():
    """Without spreading an interrupt goes to the online CPUs of its device's node."""
    pdev = device(machine(8, nodes=2, present=6), node=1)
    pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_ALL_TYPES)
    assert proc_irq(24)[0] == "0-511"
    pci_request_irq(pdev, 0, note([], None), None, "x", "x")
    assert proc_irq(24) == ("3-5", "3")


def test_handlers():
    pdev = device()
    pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_ALL_TYPES)
    assert request_threaded_irq(99, None, None, 0, "x", "x") == -EINVAL
    assert request_threaded_irq(24, note([], None), None, 0, "x", "x") == 0
    assert request_threaded_irq(24, note([], None), None, IRQF_SHARED, "y", "y") == -EBUSY
    assert free_irq(24, "y") is None
    assert "WARNING" in blkmodel.sim.this().log[-1]
    assert free_irq(24, "x") == "x"
    blkmodel.sim.this().memory.fail_nth(1)
    assert request_threaded_irq(24, note([], None), None, 0, "x", "x") == -ENOMEM
    while interrupts().take({0, 1, 2, 3}):
        pass
    assert request_threaded_irq(24, note([], None), None, 0, "x", "x") == -ENOSPC
    assert irq_to_desc(24).action is None


@pytest.mark.parametrize(("full", "target", "broken"), [((), 3, False), ((3,), 2, False), ((2, 3), 4, True),
                                                         ((2, 3, 4, 5), 1, True)])
def test_where_an_interrupt_gets_a_vector_when_cpus_run_out_of_them(full, target, broken):
    """Where it may go, near its device and then far; after that anywhere on the device's node, then anywhere."""
    pdev = device(machine(6, nodes=2), node=1)
    pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_ALL_TYPES)
    desc = irq_to_desc(24)
    desc.action = irqaction(name="x")
    desc.irq_common_data.affinity.bits = 1 << 2 | 1 << 3
    while interrupts().take(full):
        pass
    assert irq_activate(desc) == 0
    assert desc.irq_data._target[0] == target
    complaint = "irq 24: Affinity broken due to vector space exhaustion."
    assert (complaint in blkmodel.sim.this().log) == broken


def test_managed_interrupts_stop_and_start_with_their_cpus():
    pdev = device(4)
    kernel = blkmodel.sim.this()
    spread(pdev, 1, 2)
    seen: list = []
    for nr in range(2):
        pci_request_irq(pdev, nr, note(seen, kernel), None, nr, f"q{nr}")
    assert [proc_irq(24), proc_irq(25)] == [("0-1", "1"), ("2-3", "3")]
    assert cpu_down(3) == 0
    assert proc_irq(25) == ("2-3", "2")
    assert cpu_down(2) == 0
    assert proc_irq(25)[0] == "2-3"
    pdev._device.interrupt(1)
    kernel.loop.run_due()
    assert seen == []
    assert cpu_up(2) == 0
    kernel.loop.run_due()
    assert seen == [(25, 1, 2)]
    assert cpu_up(3) == 0
    assert proc_irq(25) == ("2-3", "2")


def test_an_unmanaged_interrupt_breaks_its_affinity():
    pdev = device(machine(4, nodes=2), node=1)
    pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_ALL_TYPES)
    pci_request_irq(pdev, 0, note([], None), None, "x", "x")
    assert proc_irq(24) == ("2-3", "2")
    cpu_down(2)
    assert proc_irq(24) == ("2-3", "3")
    cpu_down(3)
    assert proc_irq(24) == ("0-1", "1")


def test_entries_know_whether_they_are_masked():
    """All are until somebody handles them, and again when nobody does."""
    pdev = device(2)
    spread(pdev, 1, 2)
    entries = list(for_each_pci_msi_entry(pdev))
    assert [bool(entry.masked) for entry in entries] == [True, True]
    pci_request_irq(pdev, 1, note([], None), None, "x", "x")
    assert [bool(entry.masked) for entry in entries] == [True, False]
    assert pdev._device.masked == {0}
    pci_free_irq(pdev, 1, "x")
    assert [bool(entry.masked) for entry in entries] == [True, True]
