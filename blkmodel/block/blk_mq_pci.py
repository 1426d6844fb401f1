"""Which hardware queue each CPU uses, where each queue has an interrupt vector: the queue that interrupts that CPU."""

from blkmodel.block.blk_mq_h import blk_mq_clear_mq_map
from blkmodel.drivers.pci import msi
from blkmodel.include.linux.blk_mq import blk_mq_queue_map
from blkmodel.services import WARN_ON_ONCE, for_each_cpu, pci_dev


def blk_mq_pci_map_queues(qmap: blk_mq_queue_map, pdev: pci_dev, offset: int) -> int:
    """Give each CPU the queue whose vector may interrupt it. The type's first queue has vector `offset`. Returns 0.

    Where a vector has no affinity all CPUs are left with queue 0.
    """
    for queue in range(qmap.nr_queues):
        if (mask := msi.pci_irq_get_affinity(pdev, queue + offset)) is None:
            WARN_ON_ONCE(qmap.nr_queues > 1, "several queues, and vectors without affinity")
            blk_mq_clear_mq_map(qmap)
            return 0
        for cpu in for_each_cpu(mask):
            qmap.mq_map[cpu] = qmap.queue_offset + queue
    return 0
