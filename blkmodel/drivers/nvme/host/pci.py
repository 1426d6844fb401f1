"""NVMe over PCI Express: how many I/O queues a controller gets, of which type, and which vector each one has.

So far without the bus: registers, commands on their rings, and completions.
"""

from dataclasses import field
from typing import Any

from blkmodel.block import blk_mq, blk_mq_cpumap, blk_mq_pci
from blkmodel.drivers.nvme.host import core
from blkmodel.drivers.nvme.host.nvme_h import (
    NVME_QUIRK_MEDIUM_PRIO_SQ,
    NVME_QUIRK_SHARED_TAGS,
    NVME_QUIRK_SINGLE_VECTOR,
    nvme_ctrl,
    nvme_req,
    nvme_request,
)
from blkmodel.drivers.pci import msi
from blkmodel.include.linux import nvme
from blkmodel.include.linux.blk_mq import (
    BLK_MQ_F_SHOULD_MERGE,
    BLK_MQ_MAX_DEPTH,
    HCTX_MAX_TYPES,
    HCTX_TYPE_DEFAULT,
    HCTX_TYPE_POLL,
    HCTX_TYPE_READ,
    blk_mq_ops,
    blk_mq_rq_to_pdu,
    blk_mq_tag_set,
)
from blkmodel.include.linux.blk_types import BLK_STS_IOERR
from blkmodel.include.linux.bug import BUG_ON, WARN_ON
from blkmodel.include.linux.cpumask import num_possible_cpus
from blkmodel.include.linux.device import dev_info, dev_to_node, dev_warn
from blkmodel.include.linux.dma_mapping import dma_alloc_coherent, dma_free_coherent
from blkmodel.include.linux.errno import EINVAL, EIO, ENOMEM
from blkmodel.include.linux.gfp import GFP_KERNEL
from blkmodel.include.linux.interrupt import IRQ_NONE, irq_affinity
from blkmodel.include.linux.io import ioremap, iounmap
from blkmodel.include.linux.jiffies import HZ
from blkmodel.include.linux.kstrtox import kstrtoint
from blkmodel.include.linux.moduleparam import kernel_param, param_set_int, param_set_uint
from blkmodel.include.linux.nvme import (
    NVME_ADM_SQES,
    NVME_AQ_DEPTH,
    NVME_CQ_IRQ_ENABLED,
    NVME_QUEUE_PHYS_CONTIG,
    NVME_REG_DBS,
    NVME_SQ_PRIO_MEDIUM,
    nvme_admin_create_cq,
    nvme_admin_create_sq,
    nvme_admin_delete_cq,
    nvme_admin_delete_sq,
    nvme_command,
    nvme_completion,
)
from blkmodel.include.linux.pci import (
    PCI_IRQ_AFFINITY,
    PCI_IRQ_ALL_TYPES,
    pci_free_irq,
    pci_request_irq,
    pci_resource_len,
    pci_resource_start,
    to_pci_dev,
)
from blkmodel.include.linux.wait import complete, completion
from blkmodel.sim import statics
from blkmodel.sim.structure import Struct, sizeof, struct

NVMEQ_ENABLED, NVMEQ_SQ_CMB, NVMEQ_DELETE_ERROR, NVMEQ_POLLED = 0, 1, 2, 3


@statics
class variables:
    """The module's parameters."""

    def __init__(self):
        self.io_queue_depth = 1024
        self.write_queues = 0
        self.poll_queues = 0


@struct
class nvme_dev(Struct):
    """A controller on the bus: its queues (0 is the admin queue), its vectors, and the tag sets.

    io_queues: by type, how many I/O queues it gets; max_qid: the highest queue number it is to have; online_queues:
    those that work, the admin queue included; num_vecs: its vectors; q_depth: entries of an I/O queue. dbs is the
    address of the doorbells, db_stride how many words lie from one to the next.
    """

    queues: Any = None
    tagset: Any = field(default_factory=blk_mq_tag_set)
    admin_tagset: Any = field(default_factory=blk_mq_tag_set)
    dbs: int = 0
    dev: Any = None
    online_queues: int = 0
    max_qid: int = 0
    io_queues: Any = field(default_factory=lambda: [0] * HCTX_MAX_TYPES)
    num_vecs: int = 0
    q_depth: int = 0
    io_sqes: int = 0
    db_stride: int = 0
    bar: int = 0
    bar_mapped_size: int = 0
    ctrl: Any = field(default_factory=nvme_ctrl)
    nr_allocated_queues: int = 0
    nr_write_queues: int = 0
    nr_poll_queues: int = 0


@struct
class nvme_queue(Struct):
    """A submission queue and its completion queue, of q_depth entries each: rings in memory (sq_cmds, cqes).

    sq_tail: where the next command goes; last_sq_tail: what the controller was told of that. cq_head: where the next
    completion will be, in an entry whose phase is cq_phase. flags: NVMEQ_* bits. q_db: address of its doorbells.
    """

    dev: Any = None
    sq_cmds: Any = None
    cqes: Any = None
    sq_dma_addr: int = 0
    cq_dma_addr: int = 0
    q_db: int = 0
    q_depth: int = 0
    cq_vector: int = 0
    sq_tail: int = 0
    last_sq_tail: int = 0
    cq_head: int = 0
    last_cq_head: int = 0
    qid: int = 0
    cq_phase: int = 0
    sqes: int = 0
    flags: int = 0
    delete_done: Any = field(default_factory=completion)


@struct
class nvme_iod(Struct):
    """What the driver keeps behind each request: the NVMe core's part, and the queue that it belongs to."""

    req: Any = field(default_factory=nvme_request)
    nvmeq: Any = None


def io_queue_depth_set(val, kp):
    """Take a text as io_queue_depth: a number from 2, as a ring of one entry holds nothing. Returns 0 or -EINVAL."""
    ret, n = kstrtoint(val, 10)
    if ret != 0 or n < 2:
        return -EINVAL
    return param_set_int(val, kp)


parameters = (
    kernel_param("io_queue_depth", io_queue_depth_set, variables, "io_queue_depth"),
    kernel_param("write_queues", param_set_uint, variables, "write_queues"),
    kernel_param("poll_queues", param_set_uint, variables, "poll_queues"),
)


def nvme_init_hctx(hctx, data, hctx_idx):
    """Tie hardware context n to queue n + 1 (queue 0 is the admin queue). Returns 0."""
    dev = data
    nvmeq = dev.queues[hctx_idx + 1]
    WARN_ON(dev.tagset.tags[hctx_idx] is not hctx.tags, "a hardware queue has another's tags")
    hctx.driver_data = nvmeq
    return 0


def nvme_init_request(set, req, hctx_idx, numa_node):
    """Tie a request to the queue that it will be sent on. Returns 0."""
    dev = set.driver_data
    iod = blk_mq_rq_to_pdu(req, nvme_iod)
    queue_idx = hctx_idx + 1 if set is dev.tagset else 0
    iod.nvmeq = dev.queues[queue_idx]
    nvme_req(req).ctrl = dev.ctrl
    return 0


def queue_irq_offset(dev):
    """The vector of the first I/O queue: 1, after the admin queue's; 0 where there is only one for all."""
    return 1 if dev.num_vecs > 1 else 0


def nvme_pci_map_queues(set):
    """Map the CPUs to queues, type by type: by the vectors' affinity; for polled queues, which have none, evenly.

    The types' queues follow each other in the order of the types. A type without queues is left as it is: the block
    layer uses the default type's in its place. Returns 0.
    """
    dev = set.driver_data
    offset = queue_irq_offset(dev)
    qoff = 0
    for i, qmap in enumerate(set.map[:set.nr_maps]):
        qmap.nr_queues = dev.io_queues[i]
        if not qmap.nr_queues:
            BUG_ON(i == HCTX_TYPE_DEFAULT, "no queue of the default type")
            continue
        qmap.queue_offset = qoff
        if i != HCTX_TYPE_POLL and offset:
            blk_mq_pci.blk_mq_pci_map_queues(qmap, to_pci_dev(dev.dev), offset)
        else:
            blk_mq_cpumap.blk_mq_map_queues(qmap)
        qoff += qmap.nr_queues
        offset += qmap.nr_queues
    return 0


def nvme_queue_rq(hctx, bd):
    """Send a request to the controller. (Without the bus it fails.)"""
    return BLK_STS_IOERR


def nvme_irq(irq, data):
    """Serve a queue's interrupt. (Nothing completes yet.)"""
    return IRQ_NONE


def adapter_delete_queue(dev, opcode, id):
    """Let the controller delete a queue. Returns its status or -errno."""
    c = nvme_command(nvme.nvme_delete_queue(opcode=opcode, qid=id))
    return core.nvme_submit_sync_cmd(dev.ctrl.admin_q, c, None, 0)


def adapter_alloc_cq(dev, qid, nvmeq, vector):
    """Let the controller create a completion queue, which raises a vector unless it is polled. Returns its status."""
    flags = NVME_QUEUE_PHYS_CONTIG
    if not nvmeq.flags >> NVMEQ_POLLED & 1:
        flags |= NVME_CQ_IRQ_ENABLED
    c = nvme_command(nvme.nvme_create_cq(opcode=nvme_admin_create_cq, prp1=nvmeq.cq_dma_addr, cqid=qid,
                                         qsize=nvmeq.q_depth - 1, cq_flags=flags, irq_vector=vector))
    return core.nvme_submit_sync_cmd(dev.ctrl.admin_q, c, None, 0)


def adapter_alloc_sq(dev, qid, nvmeq):
    """Let the controller create a submission queue, which completes into the completion queue of its number."""
    flags = NVME_QUEUE_PHYS_CONTIG
    if dev.ctrl.quirks & NVME_QUIRK_MEDIUM_PRIO_SQ:
        flags |= NVME_SQ_PRIO_MEDIUM
    c = nvme_command(nvme.nvme_create_sq(opcode=nvme_admin_create_sq, prp1=nvmeq.sq_dma_addr, sqid=qid,
                                         qsize=nvmeq.q_depth - 1, sq_flags=flags, cqid=qid))
    return core.nvme_submit_sync_cmd(dev.ctrl.admin_q, c, None, 0)


def adapter_delete_cq(dev, cqid):
    """Let the controller delete a completion queue."""
    return adapter_delete_queue(dev, nvme_admin_delete_cq, cqid)


def adapter_delete_sq(dev, sqid):
    """Let the controller delete a submission queue."""
    return adapter_delete_queue(dev, nvme_admin_delete_sq, sqid)


def nvme_free_queue(nvmeq):
    """Free a queue's rings."""
    dma_free_coherent(nvmeq.dev.dev, nvmeq.cqes, nvmeq.cq_dma_addr)
    if nvmeq.sq_cmds is not None:
        dma_free_coherent(nvmeq.dev.dev, nvmeq.sq_cmds, nvmeq.sq_dma_addr)


def nvme_free_queues(dev, lowest):
    """Free the rings of all queues from number `lowest` on."""
    for i in range(dev.ctrl.queue_count - 1, lowest - 1, -1):
        dev.ctrl.queue_count -= 1
        nvme_free_queue(dev.queues[i])


def nvme_suspend_queue(nvmeq):
    """Take a queue out of service: nothing is sent on it, and its interrupt is given back. 1 where it is out."""
    if not nvmeq.flags >> NVMEQ_ENABLED & 1:
        return 1
    nvmeq.flags &= ~(1 << NVMEQ_ENABLED)
    dev = nvmeq.dev
    dev.online_queues -= 1
    if not nvmeq.qid and dev.ctrl.admin_q is not None:
        blk_mq.blk_mq_quiesce_queue(dev.ctrl.admin_q)
    if nvmeq.flags >> NVMEQ_POLLED & 1:
        nvmeq.flags &= ~(1 << NVMEQ_POLLED)
    else:
        pci_free_irq(to_pci_dev(dev.dev), nvmeq.cq_vector, nvmeq)
    return 0


def nvme_suspend_io_queues(dev):
    """Take all I/O queues out of service."""
    for i in range(dev.ctrl.queue_count - 1, 0, -1):
        nvme_suspend_queue(dev.queues[i])


def nvme_alloc_sq_cmds(dev, nvmeq, qid):
    """Allocate a submission ring, in the host's memory. Returns 0 or -ENOMEM."""
    nvmeq.sq_cmds, nvmeq.sq_dma_addr = dma_alloc_coherent(
        dev.dev, (nvmeq.q_depth << nvmeq.sqes) // sizeof(nvme_command), nvme_command, GFP_KERNEL)
    return 0 if nvmeq.sq_cmds is not None else -ENOMEM


def nvme_alloc_queue(dev, qid, depth):
    """Allocate the rings of queue `qid`, unless it has them. Returns 0, or -ENOMEM with nothing left allocated."""
    nvmeq = dev.queues[qid]
    if dev.ctrl.queue_count > qid:
        return 0
    nvmeq.sqes = dev.io_sqes if qid else NVME_ADM_SQES
    nvmeq.q_depth = depth & 0xFFFF
    nvmeq.cqes, nvmeq.cq_dma_addr = dma_alloc_coherent(dev.dev, nvmeq.q_depth, nvme_completion, GFP_KERNEL)
    if nvmeq.cqes is None:
        return -ENOMEM
    if nvme_alloc_sq_cmds(dev, nvmeq, qid):
        dma_free_coherent(dev.dev, nvmeq.cqes, nvmeq.cq_dma_addr)
        return -ENOMEM
    nvmeq.dev = dev
    nvmeq.cq_head = 0
    nvmeq.cq_phase = 1
    nvmeq.q_db = dev.dbs + qid * 2 * dev.db_stride * 4
    nvmeq.qid = qid
    dev.ctrl.queue_count += 1
    return 0


def queue_request_irq(nvmeq):
    """Handle the interrupt of a queue's vector. Returns 0 or -errno."""
    pdev = to_pci_dev(nvmeq.dev.dev)
    return pci_request_irq(pdev, nvmeq.cq_vector, nvme_irq, None, nvmeq,
                           f"nvme{nvmeq.dev.ctrl.instance}q{nvmeq.qid}")


def nvme_init_queue(nvmeq, qid):
    """Put a queue at its beginning: empty rings, first phase; count it as online."""
    dev = nvmeq.dev
    nvmeq.sq_tail = 0
    nvmeq.last_sq_tail = 0
    nvmeq.cq_head = 0
    nvmeq.cq_phase = 1
    nvmeq.q_db = dev.dbs + qid * 2 * dev.db_stride * 4
    nvmeq.cqes[:] = [None] * nvmeq.q_depth
    dev.online_queues += 1


def nvme_create_queue(nvmeq, qid, polled):
    """Create an I/O queue pair on the controller and handle its interrupt, if it has one: the vector of its number.

    Returns 0; the controller's status (above 0) where it can't, or -errno; then no half of the pair is left there.
    """
    dev = nvmeq.dev
    vector = 0
    nvmeq.flags &= ~(1 << NVMEQ_DELETE_ERROR)
    if polled:
        nvmeq.flags |= 1 << NVMEQ_POLLED
    else:
        vector = 0 if dev.num_vecs == 1 else qid

    result = adapter_alloc_cq(dev, qid, nvmeq, vector)
    if result:
        return result
    result = adapter_alloc_sq(dev, qid, nvmeq)
    if result < 0:
        return result
    if result:
        adapter_delete_cq(dev, qid)
        return result

    nvmeq.cq_vector = vector
    nvme_init_queue(nvmeq, qid)
    if not polled:
        result = queue_request_irq(nvmeq)
        if result < 0:
            dev.online_queues -= 1
            adapter_delete_sq(dev, qid)
            adapter_delete_cq(dev, qid)
            return result
    nvmeq.flags |= 1 << NVMEQ_ENABLED
    return result


nvme_mq_ops = blk_mq_ops(
    queue_rq=nvme_queue_rq,
    init_hctx=nvme_init_hctx,
    init_request=nvme_init_request,
    map_queues=nvme_pci_map_queues,
)


def db_bar_size(dev, nr_io_queues):
    """How far the doorbells of so many I/O queues reach into the register window, in bytes."""
    return NVME_REG_DBS + (nr_io_queues + 1) * 8 * dev.db_stride


def nvme_remap_bar(dev, size):
    """Make at least `size` bytes of the register window accessible. Returns 0; -ENOMEM where it is not so long."""
    pdev = to_pci_dev(dev.dev)
    if size <= dev.bar_mapped_size:
        return 0
    if size > pci_resource_len(pdev, 0):
        return -ENOMEM
    if dev.bar:
        iounmap(dev.bar)
    dev.bar = ioremap(pci_resource_start(pdev, 0), size)
    if not dev.bar:
        dev.bar_mapped_size = 0
        return -ENOMEM
    dev.bar_mapped_size = size
    dev.dbs = dev.bar + NVME_REG_DBS
    return 0


def nvme_create_io_queues(dev):
    """Allocate and create I/O queues up to number max_qid; those after the interrupt-driven ones are polled.

    A controller that can't create them all, or memory for only some, is no error: online_queues says how many there
    are. Returns 0 or -errno.
    """
    ret = 0
    for i in range(dev.ctrl.queue_count, dev.max_qid + 1):
        if nvme_alloc_queue(dev, i, dev.q_depth):
            ret = -ENOMEM
            break

    highest = min(dev.max_qid, dev.ctrl.queue_count - 1)
    if highest != 1 and dev.io_queues[HCTX_TYPE_POLL]:
        rw_queues = dev.io_queues[HCTX_TYPE_DEFAULT] + dev.io_queues[HCTX_TYPE_READ]
    else:
        rw_queues = highest
    for i in range(dev.online_queues, highest + 1):
        ret = nvme_create_queue(dev.queues[i], i, i > rw_queues)
        if ret:
            break
    return min(ret, 0)


def nvme_calc_irq_sets(affd, nrirqs):
    """Divide nrirqs vectors into those of default queues and those of read queues.

    Only with write_queues are there read queues; then one at least, which takes two vectors.
    """
    dev = affd.priv
    nr_write_queues = dev.nr_write_queues
    if not nrirqs:
        nrirqs = 1
        nr_read_queues = 0
    elif nrirqs == 1 or not nr_write_queues:
        nr_read_queues = 0
    elif nr_write_queues >= nrirqs:
        nr_read_queues = 1
    else:
        nr_read_queues = nrirqs - nr_write_queues

    dev.io_queues[HCTX_TYPE_DEFAULT] = affd.set_size[HCTX_TYPE_DEFAULT] = nrirqs - nr_read_queues
    dev.io_queues[HCTX_TYPE_READ] = affd.set_size[HCTX_TYPE_READ] = nr_read_queues
    affd.nr_sets = 2 if nr_read_queues else 1


def nvme_setup_irqs(dev, nr_io_queues):
    """Get vectors for the admin queue and for those of nr_io_queues queues that are not polled.

    Polled queues leave at least one for others. io_queues then has the queues of each type. Returns how many vectors
    there are, or -errno.
    """
    affd = irq_affinity(pre_vectors=1, calc_sets=nvme_calc_irq_sets, priv=dev)
    this_p_queues = dev.nr_poll_queues
    if this_p_queues >= nr_io_queues:
        this_p_queues = nr_io_queues - 1
        irq_queues = 1
    else:
        irq_queues = nr_io_queues - this_p_queues + 1
    dev.io_queues[HCTX_TYPE_POLL] = this_p_queues
    dev.io_queues[HCTX_TYPE_DEFAULT] = 1
    dev.io_queues[HCTX_TYPE_READ] = 0
    if dev.ctrl.quirks & NVME_QUIRK_SINGLE_VECTOR:
        irq_queues = 1
    return msi.pci_alloc_irq_vectors_affinity(to_pci_dev(dev.dev), 1, irq_queues,
                                              PCI_IRQ_ALL_TYPES | PCI_IRQ_AFFINITY, affd)


def nvme_disable_io_queues(dev):
    """Delete all I/O queues on the controller: first those for submissions."""
    if __nvme_disable_io_queues(dev, nvme_admin_delete_sq):
        __nvme_disable_io_queues(dev, nvme_admin_delete_cq)


def nvme_max_io_queues(dev):
    """How many I/O queues could be of use: one a CPU, and those asked for besides."""
    return num_possible_cpus() + dev.nr_write_queues + dev.nr_poll_queues


def nvme_setup_io_queues(dev):
    """Create as many I/O queues as are of use, the controller has, and memory and vectors allow.

    Where only some can be created, they are deleted, and it is tried again with as many: so the vectors are spread
    anew over those that there will be. Returns 0 (without I/O queues, too) or -errno.
    """
    adminq = dev.queues[0]
    pdev = to_pci_dev(dev.dev)
    # Sampled here, so that writing to the parameters meanwhile does no harm.
    dev.nr_write_queues = variables().write_queues
    dev.nr_poll_queues = variables().poll_queues
    if dev.ctrl.quirks & NVME_QUIRK_SHARED_TAGS:
        nr_io_queues = 1
    else:
        nr_io_queues = min(nvme_max_io_queues(dev), dev.nr_allocated_queues - 1)
    result, nr_io_queues = core.nvme_set_queue_count(dev.ctrl, nr_io_queues)
    if result < 0:
        return result
    if nr_io_queues == 0:
        return 0
    adminq.flags &= ~(1 << NVMEQ_ENABLED)

    while nvme_remap_bar(dev, db_bar_size(dev, nr_io_queues)):
        nr_io_queues -= 1
        if not nr_io_queues:
            return -ENOMEM
    adminq.q_db = dev.dbs

    while True:
        # The admin queue had a vector of its own; now it gets the first of all.
        pci_free_irq(pdev, 0, adminq)
        msi.pci_free_irq_vectors(pdev)
        result = nvme_setup_irqs(dev, nr_io_queues)
        if result <= 0:
            return -EIO
        dev.num_vecs = result
        dev.max_qid = max(result - 1, 1) + dev.io_queues[HCTX_TYPE_POLL]

        result = queue_request_irq(adminq)
        if result:
            return result
        adminq.flags |= 1 << NVMEQ_ENABLED
        result = nvme_create_io_queues(dev)
        if result or dev.online_queues < 2:
            return result
        if dev.online_queues - 1 >= dev.max_qid:
            break
        nr_io_queues = dev.online_queues - 1
        nvme_disable_io_queues(dev)
        nvme_suspend_io_queues(dev)

    default, read, poll = dev.io_queues
    dev_info(dev.ctrl.device, f"{default}/{read}/{poll} default/read/poll queues")
    return 0


def nvme_delete_queue(nvmeq, opcode):
    """Let the controller delete one half of a queue; delete_done says when. Returns 0 or -errno."""
    c = nvme_command(nvme.nvme_delete_queue(opcode=opcode, qid=nvmeq.qid))
    nvmeq.delete_done.done = 0
    if core.nvme_submit_sync_cmd(nvmeq.dev.ctrl.admin_q, c, None, 0) and opcode == nvme_admin_delete_cq:
        nvmeq.flags |= 1 << NVMEQ_DELETE_ERROR
    complete(nvmeq.delete_done)
    return 0


def __nvme_disable_io_queues(dev, opcode):
    """Delete one half of each I/O queue, from the last to the first. Returns whether the controller answered."""
    for qid in range(dev.online_queues - 1, 0, -1):
        nvme_delete_queue(dev.queues[qid], opcode)
    return True


def nvme_dev_add(dev):
    """Describe the I/O queues to the block layer and let it allocate their tags and requests.

    One tag less than a ring has entries: a full ring would look empty. Without memory the controller stays as it is.
    """
    if dev.ctrl.tagset is None:
        tagset = dev.tagset
        tagset.ops = nvme_mq_ops
        tagset.nr_hw_queues = dev.online_queues - 1
        tagset.nr_maps = 2  # default and read
        if dev.io_queues[HCTX_TYPE_POLL]:
            tagset.nr_maps += 1
        tagset.timeout = core.variables().nvme_io_timeout * HZ
        tagset.numa_node = dev_to_node(dev.dev)
        tagset.queue_depth = min(dev.q_depth, BLK_MQ_MAX_DEPTH) - 1
        tagset.cmd_size = sizeof(nvme_iod)
        tagset.flags = BLK_MQ_F_SHOULD_MERGE
        tagset.driver_data = dev
        if dev.ctrl.quirks & NVME_QUIRK_SHARED_TAGS:
            tagset.reserved_tags = NVME_AQ_DEPTH
        ret = blk_mq.blk_mq_alloc_tag_set(tagset)
        if ret:
            dev_warn(dev.ctrl.device, f"IO queues tagset allocation failed {ret}")
            return
        dev.ctrl.tagset = tagset
    else:
        blk_mq.blk_mq_update_nr_hw_queues(dev.tagset, dev.online_queues - 1)
        nvme_free_queues(dev, dev.online_queues)
