"""Which queue a CPU uses where queues have vectors: the one whose vector interrupts it."""

import pytest

import blkmodel
from blkmodel.block import blk_mq_pci
from blkmodel.device.controller import Controller
from blkmodel.device.nvme import plug_in
from blkmodel.drivers.pci import msi
from blkmodel.include.linux.blk_mq import blk_mq_queue_map
from blkmodel.services.cpus.interrupt import irq_affinity
from blkmodel.services.devices.pci import PCI_IRQ_AFFINITY, PCI_IRQ_ALL_TYPES, pci_alloc_irq_vectors


@pytest.fixture
def pdev():
    blkmodel.boot(4)
    return plug_in(Controller(vectors=65), None)


def mapped(pdev, queues, first, vector):
    """Map four CPUs, that had queue 9, to so many queues; the first has that number and that vector."""
    qmap = blk_mq_queue_map(mq_map=[9] * 4, nr_queues=queues, queue_offset=first)
    assert blk_mq_pci.blk_mq_pci_map_queues(qmap, pdev, vector) == 0
    return qmap.mq_map


def test_each_cpu_gets_the_queue_whose_vector_interrupts_it(pdev):
    asked = PCI_IRQ_ALL_TYPES | PCI_IRQ_AFFINITY
    assert msi.pci_alloc_irq_vectors_affinity(pdev, 3, 3, asked, irq_affinity(pre_vectors=1)) == 3
    masks = [sorted(msi.pci_irq_get_affinity(pdev, nr)) for nr in (1, 2)]
    assert sorted(masks[0] + masks[1]) == [0, 1, 2, 3]
    assert mapped(pdev, 2, 5, 1) == [5 if cpu in masks[0] else 6 for cpu in range(4)]
    assert mapped(pdev, 1, 5, 2) == [5 if cpu in masks[1] else 9 for cpu in range(4)]


@pytest.mark.parametrize(("queues", "warnings"), [(1, 0), (2, 1)])
def test_without_affinity_all_cpus_are_left_with_the_first_queue(pdev, queues, warnings):
    assert pci_alloc_irq_vectors(pdev, 1, 4, PCI_IRQ_ALL_TYPES) == 4
    assert mapped(pdev, queues, 5, 1) == [0] * 4
    assert sum("WARNING" in line for line in blkmodel.sim.this().log) == warnings
