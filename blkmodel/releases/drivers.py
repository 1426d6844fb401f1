"""How many queues a driver asks for, where a later kernel does it otherwise than 5.4.

drivers/nvme/host/pci.c, drivers/block/null_blk/main.c.
"""

from dataclasses import replace

from blkmodel.block import blk_mq, blk_mq_cpumap
from blkmodel.drivers.block import null_blk_main
from blkmodel.drivers.block.null_blk_h import nullb, nullb_cmd, nullb_device, nullb_queue
from blkmodel.drivers.nvme.host import pci
from blkmodel.drivers.pci import msi
from blkmodel.include.linux.blk_mq import (BLK_MQ_F_BLOCKING, BLK_MQ_F_NO_SCHED, BLK_MQ_F_SHOULD_MERGE,
    HCTX_TYPE_DEFAULT, HCTX_TYPE_POLL, HCTX_TYPE_READ, blk_mq_tag_set)
from blkmodel.services import (EINVAL, ENOMEM, GFP_KERNEL, PCI_IRQ_AFFINITY, PCI_IRQ_ALL_TYPES, irq_affinity, kcalloc,
    kernel_param, kstrtouint, nr_cpu_ids, num_possible_cpus, param_set_int, param_set_uint, pr_err, signed_int,
    to_pci_dev, unsigned_int)
from blkmodel.sim import sizeof

_null_validate_conf_5_4 = null_blk_main.null_validate_conf


def io_queue_count_set(val: str, kp: kernel_param) -> int:
    """Take a text as write_queues or poll_queues: at most one for each possible CPU. Returns 0 or -EINVAL."""
    ret, n = kstrtouint(val, 10)
    return -EINVAL if ret != 0 or n > num_possible_cpus() else param_set_uint(val, kp)


nvme_parameters_5_8 = tuple(replace(kp, set=io_queue_count_set) if kp.name in ("write_queues", "poll_queues") else kp
                            for kp in pci.parameters)


def nvme_setup_irqs_5_10(dev: pci.nvme_dev, nr_io_queues: int) -> int:
    """Get vectors as 5.4 does; but where polled queues leave only one for others, that has a vector of its own, too.

    In 5.4 it shares the admin queue's.
    """
    affd = irq_affinity(pre_vectors=1, calc_sets=pci.nvme_calc_irq_sets, priv=dev)
    poll_queues = min(dev.nr_poll_queues, nr_io_queues - 1)
    dev.io_queues[HCTX_TYPE_POLL] = poll_queues
    dev.io_queues[HCTX_TYPE_DEFAULT], dev.io_queues[HCTX_TYPE_READ] = 1, 0
    irq_queues = 1 + nr_io_queues - poll_queues
    return msi.pci_alloc_irq_vectors_affinity(to_pci_dev(dev.dev), 1, irq_queues,
                                              PCI_IRQ_ALL_TYPES | PCI_IRQ_AFFINITY, affd)


null_blk_parameters_5_16 = (*null_blk_main.module_params,
                            kernel_param("poll_queues", param_set_int, null_blk_main.variables, "g_poll_queues"))


def _null_poll_queues() -> int:
    """The module's parameter: one, if nobody says otherwise."""
    return signed_int(getattr(null_blk_main.variables(), "g_poll_queues", 1))


def setup_queues_5_16(nullb: nullb) -> int:
    """Allocate a device's queues: enough for as many as there can be, polled ones too. Returns 0 or -ENOMEM."""
    nullb.queues = kcalloc(nr_cpu_ids() + max(_null_poll_queues(), 0), nullb_queue, GFP_KERNEL)
    nullb.queue_depth = nullb.dev.hw_queue_depth
    return -ENOMEM if nullb.queues is None else 0


def null_map_queues(set: blk_mq_tag_set) -> int:
    """Map the CPUs to the queues that complete by themselves, and to those that are polled. Returns 0."""
    polled, qoff = _null_poll_queues(), 0
    for i, nr_queues in ((HCTX_TYPE_DEFAULT, set.nr_hw_queues - polled), (HCTX_TYPE_READ, 0), (HCTX_TYPE_POLL, polled)):
        if i < set.nr_maps:
            set.map[i].nr_queues, set.map[i].queue_offset = nr_queues, qoff
            if nr_queues:
                blk_mq_cpumap.blk_mq_map_queues(set.map[i])
            qoff += nr_queues
    return 0


_null_mq_ops = replace(null_blk_main.null_mq_ops, map_queues=null_map_queues)


def null_init_tag_set_5_16(nullb: nullb, set: blk_mq_tag_set) -> int:
    """Allocate tags as 5.4 does, for polled queues too: with one queue for submissions, there are two, hence no
    scheduler by default. Returns 0 or -errno."""
    g = null_blk_main.variables()
    set.ops, set.cmd_size, set.driver_data = _null_mq_ops, sizeof(nullb_cmd), None
    set.nr_hw_queues = nullb.dev.submit_queues if nullb else g.g_submit_queues
    set.queue_depth = nullb.dev.hw_queue_depth if nullb else unsigned_int(g.g_hw_queue_depth)
    set.numa_node = nullb.dev.home_node if nullb else g.g_home_node
    set.flags = BLK_MQ_F_SHOULD_MERGE | (BLK_MQ_F_NO_SCHED if g.g_no_sched else 0)
    if (nullb and nullb.dev.blocking) or g.g_blocking:
        set.flags |= BLK_MQ_F_BLOCKING
    if (polled := _null_poll_queues()) < 0:
        return -EINVAL  # there is no check in the kernel, which goes astray
    if polled:
        set.nr_hw_queues, set.nr_maps = set.nr_hw_queues + polled, 3
    return blk_mq.blk_mq_alloc_tag_set(set)


def null_validate_conf_6_9(dev: nullb_device) -> None:
    """Move a device's settings to what there can be: no queues that take bios any more."""
    if dev.queue_mode == null_blk_main.NULL_Q_BIO:
        pr_err("null_blk: BIO-based IO path is no longer available, using blk-mq instead.")
        dev.queue_mode = null_blk_main.NULL_Q_MQ
    _null_validate_conf_5_4(dev)
