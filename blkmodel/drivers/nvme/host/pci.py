"""NVMe over PCI Express: a controller on the bus is probed, reset, given queues and vectors, used, and taken down.

A command is put into a submission ring, and the doorbell is rung (nvme_queue_rq()); an interrupt finds its completion
in the other ring (nvme_irq()). Left out: threaded interrupts, submission rings in the controller's own memory, power
management (not configured in the reference kernel), and metadata of the host's own.
"""

from __future__ import annotations

from dataclasses import field

from blkmodel.block import blk_core, blk_exec, blk_merge, blk_mq, blk_mq_cpumap, blk_mq_pci, blk_mq_tag
from blkmodel.block.blk_mq_tag_h import blk_mq_tags
from blkmodel.drivers.nvme.host import core
from blkmodel.drivers.nvme.host.nvme_h import (NVME_CTRL_CONNECTING, NVME_CTRL_DEAD, NVME_CTRL_DELETING, NVME_CTRL_LIVE,
    NVME_CTRL_RESETTING, NVME_F_METADATA_SUPPORTED, NVME_F_PCI_P2PDMA, NVME_QID_ANY, NVME_REQ_CANCELLED, nvme_ctrl,
    nvme_ctrl_ops, nvme_end_request, nvme_get_ctrl, nvme_put_ctrl, nvme_req, nvme_request)
from blkmodel.drivers.pci import msi
from blkmodel.include.linux import nvme
from blkmodel.include.linux.blk_mq import (BLK_EH_DONE, BLK_EH_RESET_TIMER, BLK_MQ_F_NO_SCHED, BLK_MQ_F_SHOULD_MERGE,
    BLK_MQ_MAX_DEPTH, BLK_MQ_REQ_NOWAIT, HCTX_MAX_TYPES, HCTX_TYPE_DEFAULT, HCTX_TYPE_POLL, HCTX_TYPE_READ,
    blk_mq_hw_ctx, blk_mq_ops, blk_mq_queue_data, blk_mq_tag_set)
from blkmodel.include.linux.blkdev import (BLK_STS_IOERR, BLK_STS_OK, BLK_STS_RESOURCE, bio_vec, blk_queue_dying,
    blk_rq_nr_phys_segments, blk_rq_payload_bytes, req_bvec, request, rq_dma_dir)
from blkmodel.include.linux.nvme import (NVME_ADM_SQES, NVME_AQ_BLK_MQ_DEPTH, NVME_AQ_DEPTH, NVME_AQ_MQ_TAG_DEPTH,
    NVME_CAP_MQES, NVME_CAP_NSSRC, NVME_CAP_STRIDE, NVME_CC_ENABLE, NVME_CMD_SGL_METABUF, NVME_CQ_IRQ_ENABLED,
    NVME_CSTS_CFS, NVME_CSTS_NSSRO, NVME_CSTS_RDY, NVME_CTRL_OACS_DBBUF_SUPP, NVME_NVM_IOSQES, NVME_QUEUE_PHYS_CONTIG,
    NVME_REG_ACQ, NVME_REG_AQA, NVME_REG_ASQ, NVME_REG_CAP, NVME_REG_CMBSZ, NVME_REG_CSTS, NVME_REG_DBS, NVME_REG_VS,
    NVME_SGL_FMT_DATA_DESC, NVME_SGL_FMT_LAST_SEG_DESC, NVME_SGL_FMT_SEG_DESC, NVME_VS, nvme_admin_abort_cmd,
    nvme_admin_async_event, nvme_admin_create_cq, nvme_admin_create_sq, nvme_admin_dbbuf, nvme_admin_delete_cq,
    nvme_admin_delete_sq, nvme_command, nvme_completion, nvme_rw_command, nvme_sgl_desc)
from blkmodel.reference.omission import no_chapter
from blkmodel.services import (BUG_ON, DMA_ATTR_NO_WARN, DMA_BIT_MASK, DO_ONCE, EBUSY, EINVAL, EIO, ENODEV, ENOMEM,
    GFP_ATOMIC, GFP_KERNEL, HZ, INIT_WORK, IRQ_HANDLED, IRQ_NONE, IS_ERR, NUMA_NO_NODE, PCI_CLASS_STORAGE_EXPRESS,
    PCI_IRQ_AFFINITY, PCI_IRQ_ALL_TYPES, PCI_STATUS, PCIBIOS_SUCCESSFUL, PTR_ERR, THIS_MODULE, WARN_ON, WARN_ON_ONCE,
    async_schedule, complete, completion, dev_info, dev_name, dev_to_node, dev_warn, dev_warn_ratelimited, device,
    device_release_driver, disable_irq, dma_alloc_coherent, dma_free_coherent, dma_map_bvec, dma_map_sg_attrs,
    dma_mapping_error, dma_max_mapping_size, dma_pool, dma_pool_alloc, dma_pool_create, dma_pool_destroy, dma_pool_free,
    dma_set_mask_and_coherent, dma_set_max_seg_size, dma_unmap_page, dma_unmap_sg, enable_irq, first_memory_node,
    flush_work, flush_workqueue, get_device, init_completion, ioremap, iounmap, irq_affinity, kcalloc_node,
    kernel_param, kfree, kstrtoint, kzalloc_node, lo_hi_readq, lo_hi_writeq, mempool, mempool_alloc,
    mempool_create_node, mempool_destroy, mempool_free, mempool_kfree, mempool_kmalloc, mutex, mutex_lock, mutex_unlock,
    num_possible_cpus, param_set_int, param_set_uint, pci_alloc_irq_vectors, pci_channel_io_normal, pci_channel_offline,
    pci_dev, pci_device_id, pci_device_is_present, pci_disable_device, pci_disable_pcie_error_reporting, pci_driver,
    pci_enable_device_mem, pci_enable_pcie_error_reporting, pci_free_irq, pci_get_drvdata, pci_is_enabled,
    pci_read_config_word, pci_register_driver, pci_release_mem_regions, pci_request_irq, pci_request_mem_regions,
    pci_resource_len, pci_resource_start, pci_save_state, pci_set_drvdata, pci_set_master, pci_unregister_driver,
    pr_warn, put_device, queue_work, readl, scatterlist, set_dev_node, sg_dma_address, sg_dma_len, sg_init_table,
    sg_next, sg_phys, to_pci_dev, unsigned_int, wait_for_completion_io_timeout, work_struct, writel)
from blkmodel.sim import NULL, PAGE_SIZE, Array, Struct, sizeof, statics

OMITTED = no_chapter("""nvme_cmb_size_unit nvme_cmb_size nvme_set_host_mem __nvme_alloc_host_mem nvme_alloc_host_mem
    nvme_setup_host_mem nvme_disable_prepare_reset nvme_reset_prepare nvme_reset_done nvme_shutdown nvme_error_detected
    nvme_slot_reset nvme_error_resume""")
NVME_MAX_KB_SZ = 4096
NVME_MAX_SEGS = 127  # so that the memory for a request's scatterlist and lists is within a page
SGES_PER_PAGE = PAGE_SIZE // sizeof(nvme_sgl_desc)

NVMEQ_ENABLED, NVMEQ_SQ_CMB, NVMEQ_DELETE_ERROR, NVMEQ_POLLED = 0, 1, 2, 3


class variables(statics):
    """The module's parameters."""

    def __init__(self) -> None:
        self.sgl_threshold, self.io_queue_depth, self.write_queues, self.poll_queues = 32 << 10, 1024, 0, 0


class nvme_dev(Struct):
    """A controller on the bus: its queues (0 is the admin queue), its vectors, its tag sets, its memory for lists.

    io_queues: by type, how many I/O queues it gets; max_qid: the highest queue number it is to have; online_queues:
    those that work, the admin queue included; num_vecs: its vectors; q_depth: entries of an I/O queue. bar is the
    address of the registers, dbs that of the doorbells, db_stride how many words lie from one of these to the next.
    dbbuf_dbs, dbbuf_eis: copies of the doorbells in memory, and how far the controller looks without being told.
    """

    queues: list[nvme_queue] = NULL
    tagset: blk_mq_tag_set = field(default_factory=blk_mq_tag_set)
    admin_tagset: blk_mq_tag_set = field(default_factory=blk_mq_tag_set)
    dbs: int = 0
    dev: device = NULL
    prp_page_pool: dma_pool = NULL
    prp_small_pool: dma_pool = NULL
    online_queues: int = 0
    max_qid: int = 0
    io_queues: list[int] = field(default_factory=lambda: [0] * HCTX_MAX_TYPES)
    num_vecs: int = 0
    q_depth: int = 0
    io_sqes: int = 0
    db_stride: int = 0
    bar: int = 0
    bar_mapped_size: int = 0
    remove_work: work_struct = field(default_factory=work_struct)
    subsystem: bool = False
    cmbsz: int = 0
    shutdown_lock: mutex = field(default_factory=lambda: mutex("&dev->shutdown_lock"))
    ctrl: nvme_ctrl = field(default_factory=nvme_ctrl)
    iod_mempool: mempool = NULL
    dbbuf_dbs: Array = NULL
    dbbuf_dbs_dma_addr: int = 0
    dbbuf_eis: Array = NULL
    dbbuf_eis_dma_addr: int = 0
    nr_allocated_queues: int = 0
    nr_write_queues: int = 0
    nr_poll_queues: int = 0

    def _new_iod(self, set: blk_mq_tag_set, hctx_idx: int) -> nvme_iod:
        """What a new request of a hardware queue has."""
        return nvme_iod(nvme_request(ctrl=self.ctrl), self.queues[hctx_idx + 1 if set is self.tagset else 0])


class nvme_queue(Struct):
    """A submission queue and its completion queue, of q_depth entries each: rings in memory (sq_cmds, cqes).

    sq_tail: where the next command goes; last_sq_tail: what the controller was told of that. cq_head: where the next
    completion will be, in an entry whose phase is cq_phase. flags: NVMEQ_* bits. q_db: address of its doorbells.
    dbbuf_*: where their copies in memory are, each as (array, index); None where there is none.
    """

    dev: nvme_dev = NULL
    sq_cmds: Array = NULL
    cqes: Array = NULL
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
    dbbuf_sq_db: tuple[Array, int] = NULL
    dbbuf_cq_db: tuple[Array, int] = NULL
    dbbuf_sq_ei: tuple[Array, int] = NULL
    dbbuf_cq_ei: tuple[Array, int] = NULL
    delete_done: completion = field(default_factory=completion)


class nvme_iod(Struct):
    """What the driver keeps behind each request: the NVMe core's part, the queue that it belongs to, and its data.

    sg: the scatterlist, of nents entries, where the data are not in one piece (then dma_len is its length). npages: how
    many pages its PRP or SGL list has; 0: a small block; -1: none. _list are those (in C behind the scatterlist);
    first_dma is the address of the first.
    """

    req: nvme_request = field(default_factory=nvme_request)
    nvmeq: nvme_queue = NULL
    use_sgl: bool = False
    aborted: int = 0
    npages: int = 0
    nents: int = 0
    first_dma: int = 0
    dma_len: int = 0
    sg: list[scatterlist] = NULL
    _list: list[Array] = NULL


def io_queue_depth_set(val: str, kp: kernel_param) -> int:
    """Take a text as io_queue_depth: a number from 2, as a ring of one entry holds nothing. Returns 0 or -EINVAL."""
    ret, n = kstrtoint(val, 10)
    return -EINVAL if ret != 0 or n < 2 else param_set_int(val, kp)


parameters = (kernel_param("sgl_threshold", param_set_uint, variables, "sgl_threshold"),
              kernel_param("io_queue_depth", io_queue_depth_set, variables, "io_queue_depth"),
              kernel_param("write_queues", param_set_uint, variables, "write_queues"),
              kernel_param("poll_queues", param_set_uint, variables, "poll_queues"))


def sq_idx(qid: int, stride: int) -> int:
    """Which word of the doorbells is that of a submission queue."""
    return qid * 2 * stride


def cq_idx(qid: int, stride: int) -> int:
    """Which word of the doorbells is that of a completion queue."""
    return (qid * 2 + 1) * stride


def to_nvme_dev(ctrl: nvme_ctrl) -> nvme_dev:
    """The controller on the bus that a controller is."""
    return ctrl._owner


# ---------------------------------------------------------------- doorbells in memory


def nvme_dbbuf_size(dev: nvme_dev) -> int:
    """Bytes of the copies of all doorbells."""
    return dev.nr_allocated_queues * 8 * dev.db_stride


def nvme_dbbuf_dma_alloc(dev: nvme_dev) -> int:
    """Allocate copies of the doorbells, unless there are any. Returns 0 or -ENOMEM."""
    words = nvme_dbbuf_size(dev) // 4
    if dev.dbbuf_dbs is not None:
        # 5.4: after a reset they still say what they said, so that a doorbell may not be rung that must be. Mended by
        # "nvme-pci: clear shadow doorbell memory on resets".
        return 0
    dev.dbbuf_dbs, dev.dbbuf_dbs_dma_addr = dma_alloc_coherent(dev.dev, words, "u32", GFP_KERNEL)
    if dev.dbbuf_dbs is None:
        return -ENOMEM
    dev.dbbuf_eis, dev.dbbuf_eis_dma_addr = dma_alloc_coherent(dev.dev, words, "u32", GFP_KERNEL)
    if dev.dbbuf_eis is None:
        dma_free_coherent(dev.dev, dev.dbbuf_dbs, dev.dbbuf_dbs_dma_addr)
        dev.dbbuf_dbs = NULL
        return -ENOMEM
    return 0


def nvme_dbbuf_dma_free(dev: nvme_dev) -> None:
    """Free the copies of the doorbells, and of how far the controller looks without being told."""
    if dev.dbbuf_dbs is not None:
        dma_free_coherent(dev.dev, dev.dbbuf_dbs, dev.dbbuf_dbs_dma_addr)
        dev.dbbuf_dbs = NULL
    if dev.dbbuf_eis is not None:
        dma_free_coherent(dev.dev, dev.dbbuf_eis, dev.dbbuf_eis_dma_addr)
        dev.dbbuf_eis = NULL


def nvme_dbbuf_init(dev: nvme_dev, nvmeq: nvme_queue, qid: int) -> None:
    """Let an I/O queue know where the copies of its doorbells are."""
    if dev.dbbuf_dbs is None or not qid:
        return
    sq, cq = sq_idx(qid, dev.db_stride), cq_idx(qid, dev.db_stride)
    nvmeq.dbbuf_sq_db = (dev.dbbuf_dbs, sq)
    nvmeq.dbbuf_cq_db = (dev.dbbuf_dbs, cq)
    nvmeq.dbbuf_sq_ei = (dev.dbbuf_eis, sq)
    nvmeq.dbbuf_cq_ei = (dev.dbbuf_eis, cq)


def nvme_dbbuf_free(nvmeq: nvme_queue) -> None:
    """Let an I/O queue use its doorbells themselves."""
    if not nvmeq.qid:
        return
    nvmeq.dbbuf_sq_db = nvmeq.dbbuf_cq_db = nvmeq.dbbuf_sq_ei = nvmeq.dbbuf_cq_ei = NULL


def nvme_dbbuf_set(dev: nvme_dev) -> None:
    """Tell the controller where the copies are. Where it won't use them, they are given up."""
    if dev.dbbuf_dbs is None:
        return
    c = nvme_command(nvme.nvme_dbbuf(opcode=nvme_admin_dbbuf, prp1=dev.dbbuf_dbs_dma_addr, prp2=dev.dbbuf_eis_dma_addr))
    if core.nvme_submit_sync_cmd(dev.ctrl.admin_q, c, None, 0):
        dev_warn(dev.ctrl.device, "unable to set dbbuf")
        nvme_dbbuf_dma_free(dev)
        for i in range(1, dev.online_queues + 1):
            # 5.4: the loop goes one queue too far, which is none if all have been allocated. Here it is passed over.
            if i < dev.nr_allocated_queues:
                nvme_dbbuf_free(dev.queues[i])


def nvme_dbbuf_need_event(event_idx: int, new_idx: int, old: int) -> bool:
    """Whether going from `old` to new_idx passes what the controller looks at without being told."""
    return (new_idx - event_idx - 1 & 0xFFFF) < (new_idx - old & 0xFFFF)


def nvme_dbbuf_update_and_check_event(value: int, dbbuf_db: tuple[Array, int],
                                      dbbuf_ei: tuple[Array, int]) -> bool:
    """Store a doorbell's value in its copy; return whether the doorbell itself must be rung, too."""
    if dbbuf_db is not None:
        words, i = dbbuf_db
        old_value = words[i] & 0xFFFF
        words[i] = value
        events, i = dbbuf_ei
        if not nvme_dbbuf_need_event(events[i] & 0xFFFF, value, old_value):
            return False
    return True


# ---------------------------------------------------------------- what the block layer asks for when it sets up


def nvme_npages(size: int, dev: nvme_dev) -> int:
    """How many pages the PRP list of so many bytes takes, or one more."""
    nprps = -(-(size + dev.ctrl.page_size) // dev.ctrl.page_size)
    return -(-8 * nprps // (PAGE_SIZE - 8))


def nvme_pci_npages_sgl(num_seg: int) -> int:
    """How many pages the SGL of so many segments takes."""
    return -(-num_seg * sizeof(nvme_sgl_desc) // PAGE_SIZE)


def nvme_pci_iod_alloc_size(dev: nvme_dev, size: int, nseg: int, use_sgl: bool) -> int:
    """Bytes of a scatterlist of so many entries, with a pointer for each page of a list behind it."""
    npages = nvme_pci_npages_sgl(nseg) if use_sgl else nvme_npages(size, dev)
    return sizeof("pointer") * npages + sizeof(scatterlist) * nseg


def nvme_admin_init_hctx(hctx: blk_mq_hw_ctx, data: nvme_dev, hctx_idx: int) -> int:
    """Tie the admin queue's only hardware context to queue 0. Returns 0."""
    dev = data
    WARN_ON(hctx_idx != 0)
    WARN_ON(dev.admin_tagset.tags[0] is not hctx.tags, "the admin queue has another's tags")
    hctx.driver_data = dev.queues[0]
    return 0


def nvme_init_hctx(hctx: blk_mq_hw_ctx, data: nvme_dev, hctx_idx: int) -> int:
    """Tie hardware context n to queue n + 1 (queue 0 is the admin queue). Returns 0."""
    dev = data
    nvmeq = dev.queues[hctx_idx + 1]
    WARN_ON(dev.tagset.tags[hctx_idx] is not hctx.tags, "a hardware queue has another's tags")
    hctx.driver_data = nvmeq
    return 0


def nvme_init_request(set: blk_mq_tag_set, req: request, hctx_idx: int, numa_node: int) -> int:
    """Tie a request to the queue that it will be sent on. Returns 0."""
    req._pdu = set.driver_data._new_iod(set, hctx_idx)
    req._pdu._addr = req._addr + sizeof(request)
    return 0


def queue_irq_offset(dev: nvme_dev) -> int:
    """The vector of the first I/O queue: 1, after the admin queue's; 0 where there is only one for all."""
    return 1 if dev.num_vecs > 1 else 0


def nvme_pci_map_queues(set: blk_mq_tag_set) -> int:
    """Map the CPUs to queues, type by type: by the vectors' affinity; for polled queues, which have none, evenly.

    The types' queues follow each other in the order of the types. A type without queues is left as it is: the block
    layer uses the default type's in its place. Returns 0.
    """
    dev = set.driver_data
    offset, qoff = queue_irq_offset(dev), 0
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


# ---------------------------------------------------------------- submitting


def nvme_write_sq_db(nvmeq: nvme_queue, write_sq: bool) -> None:
    """Ring a submission queue's doorbell, if that is asked for, or the next command would come round to what the
    controller was told last."""
    tail = nvmeq.sq_tail
    if not write_sq:
        next_tail = tail + 1
        if next_tail == nvmeq.q_depth:
            next_tail = 0
        if next_tail != nvmeq.last_sq_tail:
            return
    if nvme_dbbuf_update_and_check_event(tail, nvmeq.dbbuf_sq_db, nvmeq.dbbuf_sq_ei):
        writel(tail, nvmeq.q_db)
    nvmeq.last_sq_tail = tail


def nvme_submit_cmd(nvmeq: nvme_queue, cmd: nvme_command, write_sq: bool) -> None:
    """Put a command into a submission ring. write_sq: and ring the doorbell."""
    tail = nvmeq.sq_tail
    nvmeq.sq_cmds[(tail << nvmeq.sqes) // 64] = cmd
    tail += 1
    nvmeq.sq_tail = 0 if tail == nvmeq.q_depth else tail
    nvme_write_sq_db(nvmeq, write_sq)


def nvme_commit_rqs(hctx: blk_mq_hw_ctx) -> None:
    """No more commands come for now: ring the doorbell for those that are there."""
    nvmeq = hctx.driver_data
    if nvmeq.sq_tail != nvmeq.last_sq_tail:
        nvme_write_sq_db(nvmeq, True)


def nvme_pci_iod_list(req: request) -> list[Array]:
    """The pages of a request's PRP or SGL list."""
    return req._pdu._list


def nvme_pci_use_sgls(dev: nvme_dev, req: request) -> bool:
    """Whether to describe a request's memory by segments: where the controller can, for I/O in large pieces."""
    if (nseg := blk_rq_nr_phys_segments(req)) == 0:
        return False
    avg_seg_size = -(-blk_rq_payload_bytes(req) // nseg)
    if not dev.ctrl.sgls & 3 or not req._pdu.nvmeq.qid:
        return False
    sgl_threshold = variables().sgl_threshold
    return bool(sgl_threshold) and avg_seg_size >= sgl_threshold


def nvme_free_prps(dev: nvme_dev, req: request) -> None:
    """Free the pages of a PRP list: the last entry of each is the address of the next."""
    last_prp, iod = dev.ctrl.page_size // 8 - 1, req._pdu
    dma_addr = iod.first_dma
    for i in range(iod.npages):
        prp_list = nvme_pci_iod_list(req)[i]
        next_dma_addr = prp_list[last_prp]
        dma_pool_free(dev.prp_page_pool, prp_list, dma_addr)
        dma_addr = next_dma_addr


def nvme_free_sgls(dev: nvme_dev, req: request) -> None:
    """Free the pages of an SGL: the last descriptor of each points to the next."""
    last_sg, iod = SGES_PER_PAGE - 1, req._pdu
    dma_addr = iod.first_dma
    for i in range(iod.npages):
        sg_list = nvme_pci_iod_list(req)[i]
        link = sg_list[last_sg]
        dma_pool_free(dev.prp_page_pool, sg_list, dma_addr)
        dma_addr = link.addr if link is not None else 0


def nvme_unmap_sg(dev: nvme_dev, req: request) -> None:
    """Take the memory of a request in several pieces back from the controller."""
    iod = req._pdu
    dma_unmap_sg(dev.dev, iod.sg, iod.nents, rq_dma_dir(req))


def nvme_unmap_data(dev: nvme_dev, req: request) -> None:
    """Take a request's memory back from the controller, and free what described it."""
    iod = req._pdu
    if iod.dma_len:
        dma_unmap_page(dev.dev, iod.first_dma, iod.dma_len, rq_dma_dir(req))
        return
    WARN_ON_ONCE(not iod.nents)
    nvme_unmap_sg(dev, req)
    if iod.npages == 0:
        dma_pool_free(dev.prp_small_pool, nvme_pci_iod_list(req)[0], iod.first_dma)
    elif iod.use_sgl:
        nvme_free_sgls(dev, req)
    else:
        nvme_free_prps(dev, req)
    mempool_free(iod.sg, dev.iod_mempool)


def nvme_print_sgl(sgl: list[scatterlist], nents: int) -> None:
    """Log the pieces of a scatterlist that can't be described."""
    for i, sg in enumerate(sgl[:nents]):
        pr_warn(f"sg[{i}] phys_addr:{sg_phys(sg):#018x} offset:{sg.offset} length:{sg.length} "
                f"dma_address:{sg_dma_address(sg):#018x} dma_length:{sg_dma_len(sg)}")


def nvme_pci_setup_prps(dev: nvme_dev, req: request, cmnd: nvme_rw_command) -> int:
    """Describe a request's memory by the addresses of its pages: the first in the command, a second one there too, more
    of them in a list, whose pages are chained. Returns a BLK_STS_* status.

    Only the first piece may begin within a page, and only the last end there.
    """
    iod, length = req._pdu, blk_rq_payload_bytes(req)
    sg = iod.sg[0]
    dma_len, dma_addr, page_size = sg_dma_len(sg), sg_dma_address(sg), dev.ctrl.page_size
    offset, pages = dma_addr & (page_size - 1), nvme_pci_iod_list(req)

    # One long function, as in C, with the list's pages in it.
    length -= page_size - offset
    if length <= 0:
        iod.first_dma = 0
        cmnd.dptr.prp1, cmnd.dptr.prp2 = sg_dma_address(iod.sg[0]), iod.first_dma
        return BLK_STS_OK
    dma_len -= page_size - offset
    if dma_len:
        dma_addr += page_size - offset
    else:
        sg = sg_next(sg)
        dma_addr, dma_len = sg_dma_address(sg), sg_dma_len(sg)
    if length <= page_size:
        iod.first_dma = dma_addr
        cmnd.dptr.prp1, cmnd.dptr.prp2 = sg_dma_address(iod.sg[0]), iod.first_dma
        return BLK_STS_OK

    nprps = -(-length // page_size)
    if nprps <= 256 // 8:
        pool = dev.prp_small_pool
        iod.npages = 0
    else:
        pool = dev.prp_page_pool
        iod.npages = 1
    prp_list, prp_dma = dma_pool_alloc(pool, GFP_ATOMIC, "u64")
    if prp_list is None:
        iod.first_dma, iod.npages = dma_addr, -1
        return BLK_STS_RESOURCE
    pages.append(prp_list)
    iod.first_dma = prp_dma
    i = 0
    while True:
        if i == page_size >> 3:
            old_prp_list = prp_list
            prp_list, prp_dma = dma_pool_alloc(pool, GFP_ATOMIC, "u64")
            if prp_list is None:
                nvme_free_prps(dev, req)
                return BLK_STS_RESOURCE
            pages.append(prp_list)
            iod.npages += 1
            prp_list[0] = old_prp_list[i - 1]
            old_prp_list[i - 1] = prp_dma
            i = 1
        prp_list[i] = dma_addr
        i += 1
        dma_len -= page_size
        dma_addr += page_size
        length -= page_size
        if length <= 0:
            break
        if dma_len > 0:
            continue
        if dma_len < 0:
            WARN_ON(DO_ONCE(nvme_print_sgl, iod.sg, iod.nents),
                    f"Invalid SGL for payload:{blk_rq_payload_bytes(req)} nents:{iod.nents}")
            return BLK_STS_IOERR
        sg = sg_next(sg)
        dma_addr, dma_len = sg_dma_address(sg), sg_dma_len(sg)
    cmnd.dptr.prp1, cmnd.dptr.prp2 = sg_dma_address(iod.sg[0]), iod.first_dma
    return BLK_STS_OK


def nvme_pci_sgl_set_data(sge: nvme_sgl_desc, sg: scatterlist) -> None:
    """Make a descriptor that of a piece of memory."""
    sge.addr = sg_dma_address(sg)
    sge.length = sg_dma_len(sg)
    sge.type = NVME_SGL_FMT_DATA_DESC << 4


def nvme_pci_sgl_set_seg(sge: nvme_sgl_desc, dma_addr: int, entries: int) -> None:
    """Make a descriptor that of more descriptors: all that are left, or a page of them."""
    sge.addr = dma_addr
    if entries < SGES_PER_PAGE:
        sge.length = entries * sizeof(nvme_sgl_desc)
        sge.type = NVME_SGL_FMT_LAST_SEG_DESC << 4
    else:
        sge.length, sge.type = PAGE_SIZE, NVME_SGL_FMT_SEG_DESC << 4


def nvme_pci_setup_sgls(dev: nvme_dev, req: request, cmd: nvme_rw_command, entries: int) -> int:
    """Describe a request's memory by its segments: in the command where it is one, else in a list. Returns a status."""
    iod = req._pdu
    sg = iod.sg[0]
    cmd.flags = NVME_CMD_SGL_METABUF
    cmd.dptr.sgl = nvme_sgl_desc()
    if entries == 1:
        nvme_pci_sgl_set_data(cmd.dptr.sgl, sg)
        return BLK_STS_OK

    if entries <= 256 // sizeof(nvme_sgl_desc):
        pool = dev.prp_small_pool
        iod.npages = 0
    else:
        pool = dev.prp_page_pool
        iod.npages = 1
    sg_list, sgl_dma = dma_pool_alloc(pool, GFP_ATOMIC, nvme_sgl_desc)
    if sg_list is None:
        iod.npages = -1
        return BLK_STS_RESOURCE
    nvme_pci_iod_list(req).append(sg_list)
    iod.first_dma = sgl_dma
    nvme_pci_sgl_set_seg(cmd.dptr.sgl, sgl_dma, entries)
    i = 0
    while True:
        if i == SGES_PER_PAGE:
            link = sg_list[i - 1]
            old_sg_list = sg_list
            sg_list, sgl_dma = dma_pool_alloc(pool, GFP_ATOMIC, nvme_sgl_desc)
            if sg_list is None:
                nvme_free_sgls(dev, req)
                return BLK_STS_RESOURCE
            nvme_pci_iod_list(req).append(sg_list)
            iod.npages += 1
            sg_list[0] = link
            old_sg_list[i - 1] = link = nvme_sgl_desc()
            i = 1
            # 5.4: the descriptor that moves to the new page is not counted. No request has so many segments.
            nvme_pci_sgl_set_seg(link, sgl_dma, entries)
        sge = sg_list[i] = nvme_sgl_desc()
        nvme_pci_sgl_set_data(sge, sg)
        i += 1
        sg = sg_next(sg)
        entries -= 1
        if entries == 0:
            return BLK_STS_OK


def nvme_setup_prp_simple(dev: nvme_dev, req: request, cmnd: nvme_rw_command, bv: bio_vec) -> int:
    """Describe memory in one piece that begins within two pages' length of its end: by one or two addresses."""
    iod, page_size = req._pdu, dev.ctrl.page_size
    first_prp_len = page_size - (bv.bv_offset & page_size - 1)
    addr = dma_map_bvec(dev.dev, bv, rq_dma_dir(req), 0)
    iod.first_dma = addr
    if dma_mapping_error(dev.dev, addr):
        return BLK_STS_RESOURCE
    iod.dma_len = bv.bv_len
    cmnd.dptr.prp1 = addr
    if bv.bv_len > first_prp_len:
        cmnd.dptr.prp2 = addr + first_prp_len
    return BLK_STS_OK


def nvme_setup_sgl_simple(dev: nvme_dev, req: request, cmnd: nvme_rw_command, bv: bio_vec) -> int:
    """Describe memory in one piece by a descriptor."""
    iod = req._pdu
    iod.first_dma = dma_map_bvec(dev.dev, bv, rq_dma_dir(req), 0)
    if dma_mapping_error(dev.dev, iod.first_dma):
        return BLK_STS_RESOURCE
    iod.dma_len = bv.bv_len
    cmnd.flags = NVME_CMD_SGL_METABUF
    cmnd.dptr.sgl = nvme_sgl_desc(addr=iod.first_dma, length=iod.dma_len, type=NVME_SGL_FMT_DATA_DESC << 4)
    return BLK_STS_OK


def nvme_map_data(dev: nvme_dev, req: request, cmnd: nvme_command) -> int:
    """Let the controller use a request's memory, and describe that in the command. Returns a BLK_STS_* status."""
    iod = req._pdu
    if blk_rq_nr_phys_segments(req) == 1:
        bv = req_bvec(req)
        if bv.bv_offset + bv.bv_len <= dev.ctrl.page_size * 2:
            return nvme_setup_prp_simple(dev, req, cmnd.common, bv)
        if iod.nvmeq.qid and variables().sgl_threshold and dev.ctrl.sgls & 3:
            return nvme_setup_sgl_simple(dev, req, cmnd.common, bv)

    iod.dma_len = 0
    iod.sg = mempool_alloc(dev.iod_mempool, GFP_ATOMIC)
    if iod.sg is None:
        return BLK_STS_RESOURCE
    iod._list = []
    ret = BLK_STS_RESOURCE
    sg_init_table(iod.sg, blk_rq_nr_phys_segments(req))
    iod.nents = blk_merge.blk_rq_map_sg(req.q, req, iod.sg)
    if iod.nents:
        if nr_mapped := dma_map_sg_attrs(dev.dev, iod.sg, iod.nents, rq_dma_dir(req), DMA_ATTR_NO_WARN):
            iod.use_sgl = nvme_pci_use_sgls(dev, req)
            if iod.use_sgl:
                ret = nvme_pci_setup_sgls(dev, req, cmnd.common, nr_mapped)
            else:
                ret = nvme_pci_setup_prps(dev, req, cmnd.common)
            if ret == BLK_STS_OK:
                return BLK_STS_OK
            nvme_unmap_sg(dev, req)
    mempool_free(iod.sg, dev.iod_mempool)
    return ret


def nvme_queue_rq(hctx: blk_mq_hw_ctx, bd: blk_mq_queue_data) -> int:
    """Send a request to the controller. Returns a BLK_STS_* status; the doorbell may wait where more is to come."""
    ns, nvmeq, req = hctx.queue.queuedata, hctx.driver_data, bd.rq
    iod = req._pdu
    iod.aborted, iod.npages, iod.nents = 0, -1, 0
    # A queue that is out of service still drains.
    if not nvmeq.flags & 1 << NVMEQ_ENABLED:
        return BLK_STS_IOERR
    ret, cmnd = core.nvme_setup_cmd(ns, req)
    if ret:
        return ret
    if blk_rq_nr_phys_segments(req):
        if ret := nvme_map_data(nvmeq.dev, req, cmnd):
            core.nvme_cleanup_cmd(req)
            return ret
    blk_mq.blk_mq_start_request(req)
    nvme_submit_cmd(nvmeq, cmnd, bd.last)
    return BLK_STS_OK


# ---------------------------------------------------------------- completing


def nvme_pci_complete_rq(req: request) -> None:
    """Finish a request that the controller has answered, on the CPU where that is to be done."""
    dev = req._pdu.nvmeq.dev
    core.nvme_cleanup_cmd(req)
    if blk_rq_nr_phys_segments(req):
        nvme_unmap_data(dev, req)
    core.nvme_complete_rq(req)


def nvme_cqe_pending(nvmeq: nvme_queue) -> bool:
    """Whether the next entry of the completion ring is new: its phase says so."""
    cqe = nvmeq.cqes[nvmeq.cq_head]
    return cqe is not None and cqe.status & 1 == nvmeq.cq_phase


def nvme_ring_cq_doorbell(nvmeq: nvme_queue) -> None:
    """Tell the controller how far the completion ring was read."""
    head = nvmeq.cq_head
    if nvme_dbbuf_update_and_check_event(head, nvmeq.dbbuf_cq_db, nvmeq.dbbuf_cq_ei):
        writel(head, nvmeq.q_db + nvmeq.dev.db_stride * 4)


def nvme_queue_tagset(nvmeq: nvme_queue) -> blk_mq_tags:
    """The tags of a queue's commands."""
    return nvmeq.dev.admin_tagset.tags[0] if not nvmeq.qid else nvmeq.dev.tagset.tags[nvmeq.qid - 1]


def nvme_handle_cqe(nvmeq: nvme_queue, idx: int) -> None:
    """Complete the request that an entry of the completion ring is about.

    Requests for events have no struct request: they neither time out nor keep a queue from freezing.
    """
    cqe = nvmeq.cqes[idx]
    if nvmeq.qid == 0 and cqe.command_id >= NVME_AQ_BLK_MQ_DEPTH:
        core.nvme_complete_async_event(nvmeq.dev.ctrl, cqe.status)
        return
    if (req := blk_mq.blk_mq_tag_to_rq(nvme_queue_tagset(nvmeq), cqe.command_id)) is None:
        dev_warn(nvmeq.dev.ctrl.device, f"invalid id {cqe.command_id} completed on queue {cqe.sq_id}")
        return
    nvme_end_request(req, cqe.status, cqe.result)


def nvme_complete_cqes(nvmeq: nvme_queue, start: int, end: int) -> None:
    """Complete the requests of a range of entries, which may go round."""
    while start != end:
        nvme_handle_cqe(nvmeq, start)
        start += 1
        if start == nvmeq.q_depth:
            start = 0


def nvme_update_cq_head(nvmeq: nvme_queue) -> None:
    """Go on by one entry; each time round, new entries have the other phase."""
    if nvmeq.cq_head == nvmeq.q_depth - 1:
        nvmeq.cq_head = 0
        nvmeq.cq_phase ^= 1
    else:
        nvmeq.cq_head += 1


def nvme_process_cq(nvmeq: nvme_queue, tag: int) -> tuple[int, int, int]:
    """Find the new entries of a completion ring, and tell the controller. Completing them comes after.

    Returns how many are those of a tag (-1: of any), the first of them and the one behind the last. In C the range is
    two out-parameters.
    """
    found, start = 0, nvmeq.cq_head
    while nvme_cqe_pending(nvmeq):
        if tag == -1 or nvmeq.cqes[nvmeq.cq_head].command_id == tag:
            found += 1
        nvme_update_cq_head(nvmeq)
    end = nvmeq.cq_head
    if start != end:
        nvme_ring_cq_doorbell(nvmeq)
    return found, start, end


def nvme_irq(irq: int, data: nvme_queue) -> int:
    """Serve a queue's interrupt. It counts as handled also where an earlier one has found what this one is about."""
    nvmeq, ret = data, IRQ_NONE
    if nvmeq.cq_head != nvmeq.last_cq_head:
        ret = IRQ_HANDLED
    _, start, end = nvme_process_cq(nvmeq, -1)
    nvmeq.last_cq_head = nvmeq.cq_head
    if start != end:
        nvme_complete_cqes(nvmeq, start, end)
        return IRQ_HANDLED
    return ret


def nvme_poll_irqdisable(nvmeq: nvme_queue, tag: int) -> int:
    """Look for completions of any queue, with its interrupt held back meanwhile. Returns how many were of the tag."""
    pdev = to_pci_dev(nvmeq.dev.dev)
    if nvmeq.flags >> NVMEQ_POLLED & 1:
        found, start, end = nvme_process_cq(nvmeq, tag)
    else:
        disable_irq(msi.pci_irq_vector(pdev, nvmeq.cq_vector))
        found, start, end = nvme_process_cq(nvmeq, tag)
        enable_irq(msi.pci_irq_vector(pdev, nvmeq.cq_vector))
    nvme_complete_cqes(nvmeq, start, end)
    return found


def nvme_poll(hctx: blk_mq_hw_ctx) -> int:
    """Look for completions of a polled queue, for somebody who waits. Returns 1 if there were any, else 0."""
    nvmeq = hctx.driver_data
    if not nvme_cqe_pending(nvmeq):
        return 0
    found, start, end = nvme_process_cq(nvmeq, -1)
    nvme_complete_cqes(nvmeq, start, end)
    return int(found > 0)


# ---------------------------------------------------------------- admin commands


def nvme_pci_submit_async_event(ctrl: nvme_ctrl) -> None:
    """Ask the controller to answer when there is an event to tell of."""
    nvmeq = to_nvme_dev(ctrl).queues[0]
    c = nvme_command(nvme.nvme_common_command(opcode=nvme_admin_async_event, command_id=NVME_AQ_BLK_MQ_DEPTH))
    nvme_submit_cmd(nvmeq, c, True)


def adapter_delete_queue(dev: nvme_dev, opcode: int, id: int) -> int:
    """Let the controller delete a queue. Returns its status or -errno."""
    c = nvme_command(nvme.nvme_delete_queue(opcode=opcode, qid=id))
    return core.nvme_submit_sync_cmd(dev.ctrl.admin_q, c, None, 0)


def adapter_alloc_cq(dev: nvme_dev, qid: int, nvmeq: nvme_queue, vector: int) -> int:
    """Let the controller create a completion queue, which raises a vector unless it is polled. Returns its status."""
    flags = NVME_QUEUE_PHYS_CONTIG
    if not nvmeq.flags >> NVMEQ_POLLED & 1:
        flags |= NVME_CQ_IRQ_ENABLED
    c = nvme_command(nvme.nvme_create_cq(opcode=nvme_admin_create_cq, prp1=nvmeq.cq_dma_addr, cqid=qid,
                                         qsize=nvmeq.q_depth - 1, cq_flags=flags, irq_vector=vector))
    return core.nvme_submit_sync_cmd(dev.ctrl.admin_q, c, None, 0)


def adapter_alloc_sq(dev: nvme_dev, qid: int, nvmeq: nvme_queue) -> int:
    """Let the controller create a submission queue, which completes into the completion queue of its number."""
    flags = NVME_QUEUE_PHYS_CONTIG
    c = nvme_command(nvme.nvme_create_sq(opcode=nvme_admin_create_sq, prp1=nvmeq.sq_dma_addr, sqid=qid,
                                         qsize=nvmeq.q_depth - 1, sq_flags=flags, cqid=qid))
    return core.nvme_submit_sync_cmd(dev.ctrl.admin_q, c, None, 0)


def adapter_delete_cq(dev: nvme_dev, cqid: int) -> int:
    """Let the controller delete a completion queue."""
    return adapter_delete_queue(dev, nvme_admin_delete_cq, cqid)


def adapter_delete_sq(dev: nvme_dev, sqid: int) -> int:
    """Let the controller delete a submission queue."""
    return adapter_delete_queue(dev, nvme_admin_delete_sq, sqid)


# ---------------------------------------------------------------- requests that take too long


def abort_endio(req: request, error: int) -> None:
    """The controller has answered an abort. The aborted request ends by itself."""
    nvmeq = req._pdu.nvmeq
    dev_warn(nvmeq.dev.ctrl.device, f"Abort status: 0x{nvme_req(req).status:x}")
    nvmeq.dev.ctrl.abort_limit += 1
    blk_mq.blk_mq_free_request(req)


def nvme_should_reset(dev: nvme_dev, csts: int) -> bool:
    """Whether a controller's status asks for a reset: it failed, or its subsystem was reset; and none is under way."""
    nssro = dev.subsystem and csts & NVME_CSTS_NSSRO
    if dev.ctrl.state in (NVME_CTRL_RESETTING, NVME_CTRL_CONNECTING):
        return False
    return bool(csts & NVME_CSTS_CFS or nssro)


def nvme_warn_reset(dev: nvme_dev, csts: int) -> None:
    """Log that a controller is down, with what the bus says of it."""
    result, pci_status = pci_read_config_word(to_pci_dev(dev.dev), PCI_STATUS)
    if result == PCIBIOS_SUCCESSFUL:
        dev_warn(dev.ctrl.device, f"controller is down; will reset: CSTS=0x{csts:x}, PCI_STATUS=0x{pci_status:x}")
    else:
        dev_warn(dev.ctrl.device, f"controller is down; will reset: CSTS=0x{csts:x}, PCI_STATUS read failed ({result})")


def nvme_timeout(req: request, reserved: bool) -> int:
    """A request takes too long. Perhaps its interrupt was lost; else it is aborted the first time, and the controller
    reset the second, or where it is an admin command. While a controller is set up it is given up.

    Returns BLK_EH_DONE where the request has ended, BLK_EH_RESET_TIMER where it gets more time.
    """
    iod = req._pdu
    nvmeq = iod.nvmeq
    dev = nvmeq.dev
    csts = readl(dev.bar + NVME_REG_CSTS)
    if pci_channel_offline(to_pci_dev(dev.dev)):
        return BLK_EH_RESET_TIMER
    if nvme_should_reset(dev, csts):
        nvme_warn_reset(dev, csts)
        nvme_dev_disable(dev, False)
        core.nvme_reset_ctrl(dev.ctrl)
        return BLK_EH_DONE
    if nvme_poll_irqdisable(nvmeq, req.tag):
        dev_warn(dev.ctrl.device, f"I/O {req.tag} QID {nvmeq.qid} timeout, completion polled")
        return BLK_EH_DONE

    if dev.ctrl.state in (NVME_CTRL_CONNECTING, NVME_CTRL_DELETING):
        if dev.ctrl.state == NVME_CTRL_CONNECTING:
            core.nvme_change_ctrl_state(dev.ctrl, NVME_CTRL_DELETING)
        # Disabling ends all requests. The reset then sees that its command was cancelled.
        dev_warn_ratelimited(dev.ctrl.device, f"I/O {req.tag} QID {nvmeq.qid} timeout, disable controller")
        nvme_req(req).flags |= NVME_REQ_CANCELLED
        nvme_dev_disable(dev, True)
        return BLK_EH_DONE
    if dev.ctrl.state == NVME_CTRL_RESETTING:
        return BLK_EH_RESET_TIMER

    if not nvmeq.qid or iod.aborted:
        dev_warn(dev.ctrl.device, f"I/O {req.tag} QID {nvmeq.qid} timeout, reset controller")
        nvme_req(req).flags |= NVME_REQ_CANCELLED
        nvme_dev_disable(dev, False)
        core.nvme_reset_ctrl(dev.ctrl)
        return BLK_EH_DONE

    dev.ctrl.abort_limit -= 1
    if dev.ctrl.abort_limit < 0:
        dev.ctrl.abort_limit += 1
        return BLK_EH_RESET_TIMER
    iod.aborted = 1
    cmd = nvme_command(nvme.nvme_abort_cmd(opcode=nvme_admin_abort_cmd, cid=req.tag, sqid=nvmeq.qid))
    dev_warn(nvmeq.dev.ctrl.device, f"I/O {req.tag} QID {nvmeq.qid} timeout, aborting")
    if IS_ERR(abort_req := core.nvme_alloc_request(dev.ctrl.admin_q, cmd, BLK_MQ_REQ_NOWAIT, NVME_QID_ANY)):
        dev.ctrl.abort_limit += 1
        return BLK_EH_RESET_TIMER
    abort_req.timeout = core.variables().admin_ticks()
    abort_req.end_io_data = None
    blk_exec.blk_execute_rq_nowait(abort_req.q, NULL, abort_req, 0, abort_endio)
    return BLK_EH_RESET_TIMER


# ---------------------------------------------------------------- queues


def nvme_free_queue(nvmeq: nvme_queue) -> None:
    """Free a queue's rings."""
    dma_free_coherent(nvmeq.dev.dev, nvmeq.cqes, nvmeq.cq_dma_addr)
    if nvmeq.sq_cmds is None:
        return
    dma_free_coherent(nvmeq.dev.dev, nvmeq.sq_cmds, nvmeq.sq_dma_addr)


def nvme_free_queues(dev: nvme_dev, lowest: int) -> None:
    """Free the rings of all queues from number `lowest` on."""
    for i in range(dev.ctrl.queue_count - 1, lowest - 1, -1):
        dev.ctrl.queue_count -= 1
        nvme_free_queue(dev.queues[i])


def nvme_suspend_queue(nvmeq: nvme_queue) -> int:
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


def nvme_suspend_io_queues(dev: nvme_dev) -> None:
    """Take all I/O queues out of service."""
    for i in range(dev.ctrl.queue_count - 1, 0, -1):
        nvme_suspend_queue(dev.queues[i])


def nvme_disable_admin_queue(dev: nvme_dev, shutdown: bool) -> None:
    """Disable the controller, or shut it down, and see what it completed until then."""
    nvmeq = dev.queues[0]
    if shutdown:
        core.nvme_shutdown_ctrl(dev.ctrl)
    else:
        core.nvme_disable_ctrl(dev.ctrl)
    nvme_poll_irqdisable(nvmeq, -1)


def nvme_reap_pending_cqes(dev: nvme_dev) -> None:
    """See what a disabled controller completed of I/O before; whatever is left will be cancelled."""
    for i in range(dev.ctrl.queue_count - 1, 0, -1):
        _, start, end = nvme_process_cq(dev.queues[i], -1)
        nvme_complete_cqes(dev.queues[i], start, end)


def nvme_alloc_sq_cmds(dev: nvme_dev, nvmeq: nvme_queue, qid: int) -> int:
    """Allocate a submission ring, in the host's memory. Returns 0 or -ENOMEM."""
    nvmeq.sq_cmds, nvmeq.sq_dma_addr = dma_alloc_coherent(
        dev.dev, (nvmeq.q_depth << nvmeq.sqes) // sizeof(nvme_command), nvme_command, GFP_KERNEL)
    return 0 if nvmeq.sq_cmds is not None else -ENOMEM


def nvme_alloc_queue(dev: nvme_dev, qid: int, depth: int) -> int:
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
    nvmeq.dev, nvmeq.cq_head, nvmeq.cq_phase, nvmeq.q_db = dev, 0, 1, dev.dbs + qid * 2 * dev.db_stride * 4
    nvmeq.qid = qid
    dev.ctrl.queue_count += 1
    return 0


def queue_request_irq(nvmeq: nvme_queue) -> int:
    """Handle the interrupt of a queue's vector. Returns 0 or -errno."""
    pdev = to_pci_dev(nvmeq.dev.dev)
    return pci_request_irq(pdev, nvmeq.cq_vector, nvme_irq, None, nvmeq, f"nvme{nvmeq.dev.ctrl.instance}q{nvmeq.qid}")


def nvme_init_queue(nvmeq: nvme_queue, qid: int) -> None:
    """Put a queue at its beginning: empty rings, first phase; count it as online."""
    dev = nvmeq.dev
    nvmeq.sq_tail = nvmeq.last_sq_tail = nvmeq.cq_head = 0
    nvmeq.cq_phase, nvmeq.q_db = 1, dev.dbs + qid * 2 * dev.db_stride * 4
    nvmeq.cqes[:] = [NULL] * nvmeq.q_depth
    nvme_dbbuf_init(dev, nvmeq, qid)
    dev.online_queues += 1


def nvme_create_queue(nvmeq: nvme_queue, qid: int, polled: bool) -> int:
    """Create an I/O queue pair on the controller and handle its interrupt, if it has one: the vector of its number.

    Returns 0; the controller's status (above 0) where it can't, or -errno; then no half of the pair is left there.
    """
    dev, vector = nvmeq.dev, 0
    nvmeq.flags &= ~(1 << NVMEQ_DELETE_ERROR)
    if polled:
        nvmeq.flags |= 1 << NVMEQ_POLLED
    else:
        vector = 0 if dev.num_vecs == 1 else qid

    if result := adapter_alloc_cq(dev, qid, nvmeq, vector):
        return result
    if (result := adapter_alloc_sq(dev, qid, nvmeq)) < 0:
        return result
    if result:
        adapter_delete_cq(dev, qid)
        return result

    nvmeq.cq_vector = vector
    nvme_init_queue(nvmeq, qid)
    if not polled:
        if (result := queue_request_irq(nvmeq)) < 0:
            dev.online_queues -= 1
            adapter_delete_sq(dev, qid)
            adapter_delete_cq(dev, qid)
            return result
    nvmeq.flags |= 1 << NVMEQ_ENABLED
    return result


nvme_mq_admin_ops = blk_mq_ops(queue_rq=nvme_queue_rq, complete=nvme_pci_complete_rq, init_hctx=nvme_admin_init_hctx,
                               init_request=nvme_init_request, timeout=nvme_timeout, _make_pdu=nvme_dev._new_iod)
nvme_mq_ops = blk_mq_ops(
    queue_rq=nvme_queue_rq, complete=nvme_pci_complete_rq, commit_rqs=nvme_commit_rqs, init_hctx=nvme_init_hctx,
    init_request=nvme_init_request, map_queues=nvme_pci_map_queues, timeout=nvme_timeout, poll=nvme_poll,
    _make_pdu=nvme_dev._new_iod)


def nvme_dev_remove_admin(dev: nvme_dev) -> None:
    """End the admin queue. Who still waits for it is sent away."""
    if dev.ctrl.admin_q is not None and not blk_queue_dying(dev.ctrl.admin_q):
        blk_mq.blk_mq_unquiesce_queue(dev.ctrl.admin_q)
        blk_core.blk_cleanup_queue(dev.ctrl.admin_q)
        blk_mq.blk_mq_free_tag_set(dev.admin_tagset)


def nvme_alloc_admin_tags(dev: nvme_dev) -> int:
    """Make the admin queue's request queue, with its tags, or let it go on after a reset. Returns 0 or -errno."""
    if dev.ctrl.admin_q is not None:
        blk_mq.blk_mq_unquiesce_queue(dev.ctrl.admin_q)
        return 0
    tagset = dev.admin_tagset
    tagset.ops, tagset.nr_hw_queues, tagset.queue_depth = nvme_mq_admin_ops, 1, NVME_AQ_MQ_TAG_DEPTH
    tagset.timeout = core.variables().admin_ticks()
    tagset.numa_node = dev_to_node(dev.dev)
    tagset.cmd_size = sizeof(nvme_iod)
    tagset.flags, tagset.driver_data = BLK_MQ_F_NO_SCHED, dev
    if blk_mq.blk_mq_alloc_tag_set(tagset):
        return -ENOMEM
    dev.ctrl.admin_tagset = tagset
    dev.ctrl.admin_q = admin_q = blk_mq.blk_mq_init_queue(tagset)
    if IS_ERR(admin_q):
        # 5.4: the error stays in ctrl->admin_q. Who gives the controller up takes it for a queue, and the kernel stops.
        blk_mq.blk_mq_free_tag_set(tagset)
        return -ENOMEM
    if not blk_core.blk_get_queue(admin_q):
        nvme_dev_remove_admin(dev)
        dev.ctrl.admin_q = NULL
        return -ENODEV
    return 0


def db_bar_size(dev: nvme_dev, nr_io_queues: int) -> int:
    """How far the doorbells of so many I/O queues reach into the register window, in bytes."""
    return NVME_REG_DBS + (nr_io_queues + 1) * 8 * dev.db_stride


def nvme_remap_bar(dev: nvme_dev, size: int) -> int:
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
    dev.bar_mapped_size, dev.dbs = size, dev.bar + NVME_REG_DBS
    return 0


def nvme_pci_configure_admin_queue(dev: nvme_dev) -> int:
    """Disable the controller, tell it where the admin queue is, and enable it. Returns 0 or -errno."""
    if (result := nvme_remap_bar(dev, db_bar_size(dev, 0))) < 0:
        return result
    dev.subsystem = bool(NVME_CAP_NSSRC(dev.ctrl.cap)) if readl(dev.bar + NVME_REG_VS) >= NVME_VS(1, 1, 0) else False
    if dev.subsystem and readl(dev.bar + NVME_REG_CSTS) & NVME_CSTS_NSSRO:
        writel(NVME_CSTS_NSSRO, dev.bar + NVME_REG_CSTS)
    if (result := core.nvme_disable_ctrl(dev.ctrl)) < 0:
        return result
    if result := nvme_alloc_queue(dev, 0, NVME_AQ_DEPTH):
        return result

    nvmeq = dev.queues[0]
    aqa = nvmeq.q_depth - 1
    aqa |= aqa << 16
    writel(aqa, dev.bar + NVME_REG_AQA)
    lo_hi_writeq(nvmeq.sq_dma_addr, dev.bar + NVME_REG_ASQ)
    lo_hi_writeq(nvmeq.cq_dma_addr, dev.bar + NVME_REG_ACQ)
    if result := core.nvme_enable_ctrl(dev.ctrl):
        return result
    nvmeq.cq_vector = 0
    nvme_init_queue(nvmeq, 0)
    if result := queue_request_irq(nvmeq):
        dev.online_queues -= 1
        return result
    nvmeq.flags |= 1 << NVMEQ_ENABLED
    return result


def nvme_create_io_queues(dev: nvme_dev) -> int:
    """Allocate and create I/O queues up to number max_qid; those after the interrupt-driven ones are polled.

    A controller that can't create them all, or memory for only some, is no error: online_queues says how many there
    are. Returns 0 or -errno.
    """
    ret = 0
    for i in range(dev.ctrl.queue_count, dev.max_qid + 1):
        if nvme_alloc_queue(dev, i, dev.q_depth):
            ret = -ENOMEM
            break

    if (highest := min(dev.max_qid, dev.ctrl.queue_count - 1)) != 1 and dev.io_queues[HCTX_TYPE_POLL]:
        rw_queues = dev.io_queues[HCTX_TYPE_DEFAULT] + dev.io_queues[HCTX_TYPE_READ]
    else:
        rw_queues = highest
    for i in range(dev.online_queues, highest + 1):
        if ret := nvme_create_queue(dev.queues[i], i, i > rw_queues):
            break
    return min(ret, 0)


# ---------------------------------------------------------------- memory of the controller's own


def nvme_map_cmb(dev: nvme_dev) -> None:
    """See whether the controller has memory of its own. Using it is left out: the reference kernel can't either."""
    dev.cmbsz = readl(dev.bar + NVME_REG_CMBSZ)


def nvme_free_host_mem(dev: nvme_dev) -> None:
    """Free the memory that the controller has of the host: none of the model's controllers wants any (hmpre)."""


# ---------------------------------------------------------------- how many queues


def nvme_calc_irq_sets(affd: irq_affinity, nrirqs: int) -> None:
    """Divide nrirqs vectors into those of default queues and those of read queues.

    Only with write_queues are there read queues; then one at least, which takes two vectors.
    """
    dev = affd.priv
    nr_write_queues = dev.nr_write_queues
    if not nrirqs:
        nrirqs, nr_read_queues = 1, 0
    elif nrirqs == 1 or not nr_write_queues:
        nr_read_queues = 0
    elif nr_write_queues >= nrirqs:
        nr_read_queues = 1
    else:
        nr_read_queues = nrirqs - nr_write_queues

    dev.io_queues[HCTX_TYPE_DEFAULT] = affd.set_size[HCTX_TYPE_DEFAULT] = nrirqs - nr_read_queues
    dev.io_queues[HCTX_TYPE_READ] = affd.set_size[HCTX_TYPE_READ] = nr_read_queues
    affd.nr_sets = 2 if nr_read_queues else 1


def nvme_setup_irqs(dev: nvme_dev, nr_io_queues: int) -> int:
    """Get vectors for the admin queue and for those of nr_io_queues queues that are not polled.

    Polled queues leave at least one for others. io_queues then has the queues of each type. Returns how many vectors
    there are, or -errno.
    """
    affd = irq_affinity(pre_vectors=1, calc_sets=nvme_calc_irq_sets, priv=dev)
    this_p_queues = dev.nr_poll_queues
    if this_p_queues >= nr_io_queues:
        this_p_queues, irq_queues = nr_io_queues - 1, 1
    else:
        irq_queues = nr_io_queues - this_p_queues + 1
    dev.io_queues[HCTX_TYPE_POLL] = this_p_queues
    dev.io_queues[HCTX_TYPE_DEFAULT] = 1
    dev.io_queues[HCTX_TYPE_READ] = 0
    return msi.pci_alloc_irq_vectors_affinity(to_pci_dev(dev.dev), 1, irq_queues,
                                              PCI_IRQ_ALL_TYPES | PCI_IRQ_AFFINITY, affd)


def nvme_disable_io_queues(dev: nvme_dev) -> None:
    """Delete all I/O queues on the controller: first those for submissions."""
    if __nvme_disable_io_queues(dev, nvme_admin_delete_sq):
        __nvme_disable_io_queues(dev, nvme_admin_delete_cq)


def nvme_max_io_queues(dev: nvme_dev) -> int:
    """How many I/O queues could be of use: one a CPU, and those asked for besides."""
    return unsigned_int(num_possible_cpus() + dev.nr_write_queues + dev.nr_poll_queues)


def nvme_setup_io_queues(dev: nvme_dev) -> int:
    """Create as many I/O queues as are of use, the controller has, and memory and vectors allow.

    Where only some can be created, they are deleted, and it is tried again with as many: so the vectors are spread
    anew over those that there will be. Returns 0 (without I/O queues, too) or -errno.
    """
    adminq, pdev = dev.queues[0], to_pci_dev(dev.dev)
    # Sampled here, so that writing to the parameters meanwhile does no harm.
    dev.nr_write_queues = variables().write_queues
    dev.nr_poll_queues = variables().poll_queues
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
        # 5.4: a timeout may have given its interrupt back meanwhile, which is done again then. Mended by "nvme-pci: fix
        # multiple races in nvme_setup_io_queues".
        pci_free_irq(pdev, 0, adminq)
        msi.pci_free_irq_vectors(pdev)
        if (result := nvme_setup_irqs(dev, nr_io_queues)) <= 0:
            return -EIO
        dev.num_vecs = result
        dev.max_qid = max(result - 1, 1) + dev.io_queues[HCTX_TYPE_POLL]

        if result := queue_request_irq(adminq):
            return result
        adminq.flags |= 1 << NVMEQ_ENABLED
        if (result := nvme_create_io_queues(dev)) or dev.online_queues < 2:
            return result
        if dev.online_queues - 1 >= dev.max_qid:
            break
        nr_io_queues = dev.online_queues - 1
        nvme_disable_io_queues(dev)
        nvme_suspend_io_queues(dev)

    default, read, poll = dev.io_queues
    dev_info(dev.ctrl.device, f"{default}/{read}/{poll} default/read/poll queues")
    return 0


def nvme_del_queue_end(req: request, error: int) -> None:
    """The controller has answered that half of a queue is deleted."""
    nvmeq = req.end_io_data
    blk_mq.blk_mq_free_request(req)
    complete(nvmeq.delete_done)


def nvme_del_cq_end(req: request, error: int) -> None:
    """The controller has answered that a completion queue is deleted, or (an error) that it could not."""
    nvmeq = req.end_io_data
    if error:
        nvmeq.flags |= 1 << NVMEQ_DELETE_ERROR
    nvme_del_queue_end(req, error)


def nvme_delete_queue(nvmeq: nvme_queue, opcode: int) -> int:
    """Ask the controller to delete half of a queue; delete_done says when it has. Returns 0 or -errno."""
    q = nvmeq.dev.ctrl.admin_q
    cmd = nvme_command(nvme.nvme_delete_queue(opcode=opcode, qid=nvmeq.qid))
    if IS_ERR(req := core.nvme_alloc_request(q, cmd, BLK_MQ_REQ_NOWAIT, NVME_QID_ANY)):
        return PTR_ERR(req)
    req.timeout = core.variables().admin_ticks()
    req.end_io_data = nvmeq
    init_completion(nvmeq.delete_done)
    blk_exec.blk_execute_rq_nowait(q, NULL, req, False,
                                   nvme_del_cq_end if opcode == nvme_admin_delete_cq else nvme_del_queue_end)
    return 0


def __nvme_disable_io_queues(dev: nvme_dev, opcode: int) -> bool:
    """Delete one half of each I/O queue, from the last to the first, as many at once as there are tags for.

    Returns whether the controller answered in time.
    """
    nr_queues, sent = dev.online_queues - 1, 0
    while True:
        timeout = core.variables().admin_ticks()
        while nr_queues > 0:
            if nvme_delete_queue(dev.queues[nr_queues], opcode):
                break
            nr_queues -= 1
            sent += 1
        while sent:
            if (timeout := wait_for_completion_io_timeout(dev.queues[nr_queues + sent].delete_done, timeout)) == 0:
                return False
            sent -= 1
            if nr_queues:
                break
        else:
            return True


def nvme_dev_add(dev: nvme_dev) -> None:
    """Describe the I/O queues to the block layer and let it allocate their tags and requests.

    One tag less than a ring has entries: a full ring would look empty. Without memory the controller stays as it is.
    """
    if dev.ctrl.tagset is None:
        tagset = dev.tagset
        tagset.ops, tagset.nr_hw_queues = nvme_mq_ops, dev.online_queues - 1
        tagset.nr_maps = 2  # default and read
        if dev.io_queues[HCTX_TYPE_POLL]:
            tagset.nr_maps += 1
        tagset.timeout = unsigned_int(core.variables().nvme_io_timeout * HZ)
        tagset.numa_node = dev_to_node(dev.dev)
        tagset.queue_depth = min(dev.q_depth, BLK_MQ_MAX_DEPTH) - 1
        tagset.cmd_size = sizeof(nvme_iod)
        tagset.flags, tagset.driver_data = BLK_MQ_F_SHOULD_MERGE, dev
        if ret := blk_mq.blk_mq_alloc_tag_set(tagset):
            dev_warn(dev.ctrl.device, f"IO queues tagset allocation failed {ret}")
            return
        dev.ctrl.tagset = tagset
    else:
        blk_mq.blk_mq_update_nr_hw_queues(dev.tagset, dev.online_queues - 1)
        nvme_free_queues(dev, dev.online_queues)
    nvme_dbbuf_set(dev)


# ---------------------------------------------------------------- up, and down


def nvme_pci_enable(dev: nvme_dev) -> int:
    """Let the device answer on the bus and use memory, get it one vector, and see what queues it could have.

    Returns 0 or -errno.
    """
    pdev = to_pci_dev(dev.dev)
    if pci_enable_device_mem(pdev):
        return -ENOMEM
    pci_set_master(pdev)
    if dma_set_mask_and_coherent(dev.dev, DMA_BIT_MASK(64)):
        pci_disable_device(pdev)
        return -ENOMEM
    if readl(dev.bar + NVME_REG_CSTS) == core.ALL_ONES:
        pci_disable_device(pdev)
        return -ENODEV
    # Some devices have no pin. How many vectors there will be is known later.
    if (result := pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_ALL_TYPES)) < 0:
        return result

    dev.ctrl.cap = lo_hi_readq(dev.bar + NVME_REG_CAP)
    dev.q_depth = min(NVME_CAP_MQES(dev.ctrl.cap) + 1, variables().io_queue_depth)
    dev.ctrl.sqsize = dev.q_depth - 1
    dev.db_stride = 1 << NVME_CAP_STRIDE(dev.ctrl.cap)
    dev.dbs = dev.bar + 4096
    dev.io_sqes = NVME_NVM_IOSQES

    nvme_map_cmb(dev)
    pci_enable_pcie_error_reporting(pdev)
    pci_save_state(pdev)
    return 0


def nvme_dev_unmap(dev: nvme_dev) -> None:
    """Give the register window back."""
    if dev.bar:
        iounmap(dev.bar)
    pci_release_mem_regions(to_pci_dev(dev.dev))


def nvme_pci_disable(dev: nvme_dev) -> None:
    """Give the vectors back, and let the device use memory no more."""
    pdev = to_pci_dev(dev.dev)
    msi.pci_free_irq_vectors(pdev)
    if pci_is_enabled(pdev):
        pci_disable_pcie_error_reporting(pdev)
        pci_disable_device(pdev)


def nvme_dev_disable(dev: nvme_dev, shutdown: bool) -> None:
    """Stop a controller, whatever state it is in: afterwards it touches no memory, and no request waits for it.

    shutdown: it is told that its power may go, what was begun is awaited, and what still comes fails. Otherwise
    requests wait, or are tried again, until it has been reset.
    """
    dead, pdev = True, to_pci_dev(dev.dev)
    mutex_lock(dev.shutdown_lock)
    if pci_is_enabled(pdev):
        csts = readl(dev.bar + NVME_REG_CSTS)
        if dev.ctrl.state in (NVME_CTRL_LIVE, NVME_CTRL_RESETTING):
            # Who shuts the machine down would wait here until the queues are empty; that is left out.
            core.nvme_start_freeze(dev.ctrl)
        dead = bool(csts & NVME_CSTS_CFS or not csts & NVME_CSTS_RDY or pdev.error_state != pci_channel_io_normal)
    core.nvme_stop_queues(dev.ctrl)
    if not dead and dev.ctrl.queue_count > 0:
        nvme_disable_io_queues(dev)
        nvme_disable_admin_queue(dev, shutdown)
    nvme_suspend_io_queues(dev)
    nvme_suspend_queue(dev.queues[0])
    nvme_pci_disable(dev)
    nvme_reap_pending_cqes(dev)

    blk_mq_tag.blk_mq_tagset_busy_iter(dev.tagset, core.nvme_cancel_request, dev.ctrl)
    blk_mq_tag.blk_mq_tagset_busy_iter(dev.admin_tagset, core.nvme_cancel_request, dev.ctrl)
    blk_mq_tag.blk_mq_tagset_wait_completed_request(dev.tagset)
    blk_mq_tag.blk_mq_tagset_wait_completed_request(dev.admin_tagset)
    # Nobody will start the queues again: let what waits in them fail.
    if shutdown:
        core.nvme_start_queues(dev.ctrl)
        if dev.ctrl.admin_q is not None and not blk_queue_dying(dev.ctrl.admin_q):
            blk_mq.blk_mq_unquiesce_queue(dev.ctrl.admin_q)
    mutex_unlock(dev.shutdown_lock)


def nvme_setup_prp_pools(dev: nvme_dev) -> int:
    """Make the pools for PRP and SGL lists: of pages, and of small blocks for lists of up to 32 entries.

    Returns 0 or -ENOMEM.
    """
    dev.prp_page_pool = dma_pool_create("prp list page", dev.dev, PAGE_SIZE, PAGE_SIZE, 0)
    if dev.prp_page_pool is None:
        return -ENOMEM
    dev.prp_small_pool = dma_pool_create("prp list 256", dev.dev, 256, 256, 0)
    if dev.prp_small_pool is None:
        dma_pool_destroy(dev.prp_page_pool)
        return -ENOMEM
    return 0


def nvme_release_prp_pools(dev: nvme_dev) -> None:
    """Free the pools for PRP and SGL lists."""
    dma_pool_destroy(dev.prp_page_pool)
    dma_pool_destroy(dev.prp_small_pool)


def nvme_free_tagset(dev: nvme_dev) -> None:
    """Free the tags of the I/O queues."""
    if dev.tagset.tags is not None:
        blk_mq.blk_mq_free_tag_set(dev.tagset)
    dev.ctrl.tagset = NULL


def nvme_pci_free_ctrl(ctrl: nvme_ctrl) -> None:
    """The last reference to a controller is gone: free it."""
    dev = to_nvme_dev(ctrl)
    nvme_dbbuf_dma_free(dev)
    put_device(dev.dev)
    nvme_free_tagset(dev)
    if dev.ctrl.admin_q is not None:
        blk_core.blk_put_queue(dev.ctrl.admin_q)
    kfree(dev.queues)
    mempool_destroy(dev.iod_mempool)
    kfree(dev)


def nvme_remove_dead_ctrl(dev: nvme_dev) -> None:
    """Give a controller up that could not be brought up: end its queues, and have its driver taken off it."""
    core.nvme_change_ctrl_state(dev.ctrl, NVME_CTRL_DELETING)
    nvme_get_ctrl(dev.ctrl)
    nvme_dev_disable(dev, False)
    core.nvme_kill_queues(dev.ctrl)
    if not queue_work(core.variables().nvme_wq, dev.remove_work):
        nvme_put_ctrl(dev.ctrl)


def nvme_reset_work(work: work_struct) -> None:
    """Bring a controller up, from whatever state: registers, admin queue, what it is, I/O queues, then it is live.

    A controller that works but has no I/O queue stays, without namespaces, so that it can be repaired; one that does
    not work is removed.
    """
    dev = work.data
    if WARN_ON(dev.ctrl.state != NVME_CTRL_RESETTING, f"reset of a controller in state {dev.ctrl.state}"):
        result = -ENODEV
    else:
        result = 0
        if dev.ctrl.ctrl_config & NVME_CC_ENABLE:
            nvme_dev_disable(dev, False)
        core.nvme_sync_queues(dev.ctrl)
        with dev.shutdown_lock:
            if not (result := nvme_pci_enable(dev)):
                result = nvme_pci_configure_admin_queue(dev)
            if not result:
                result = nvme_alloc_admin_tags(dev)
            if not result:
                # So that a scatterlist is within a page.
                dev.ctrl.max_hw_sectors = min(NVME_MAX_KB_SZ << 1, dma_max_mapping_size(dev.dev) >> 9)
                dev.ctrl.max_segments = NVME_MAX_SEGS
                dma_set_max_seg_size(dev.dev, 0xFFFFFFFF)
    if not result:
        if not core.nvme_change_ctrl_state(dev.ctrl, NVME_CTRL_CONNECTING):
            dev_warn(dev.ctrl.device, "failed to mark controller CONNECTING")
            result = -EBUSY
    if not result:
        result = core.nvme_init_identify(dev.ctrl)
    if not result:
        if dev.ctrl.oacs & NVME_CTRL_OACS_DBBUF_SUPP and nvme_dbbuf_dma_alloc(dev):
            dev_warn(dev.dev, "unable to allocate dma for dbbuf")
        result = nvme_setup_io_queues(dev)
    if not result:
        if dev.online_queues < 2:
            dev_warn(dev.ctrl.device, "IO queues not created")
            core.nvme_kill_queues(dev.ctrl)
            core.nvme_remove_namespaces(dev.ctrl)
            nvme_free_tagset(dev)
        else:
            core.nvme_start_queues(dev.ctrl)
            # 5.4: a scan that was waiting for the admin queue may have added a namespace by now, whose queue nobody
            # froze; then this waits for ever. Mended by "nvme: fix deadlock between reset and scan".
            core.nvme_wait_freeze(dev.ctrl)
            nvme_dev_add(dev)
            core.nvme_unfreeze(dev.ctrl)
        if core.nvme_change_ctrl_state(dev.ctrl, NVME_CTRL_LIVE):
            core.nvme_start_ctrl(dev.ctrl)
            return
        dev_warn(dev.ctrl.device, "failed to mark controller live state")
        result = -ENODEV
    dev_warn(dev.ctrl.device, f"Removing after probe failure status: {result}")
    nvme_remove_dead_ctrl(dev)


def nvme_remove_dead_ctrl_work(work: work_struct) -> None:
    """Take the driver off a controller that is given up."""
    dev = work.data
    pdev = to_pci_dev(dev.dev)
    if pci_get_drvdata(pdev) is not None:
        device_release_driver(pdev.dev)
    nvme_put_ctrl(dev.ctrl)


def nvme_pci_reg_read32(ctrl: nvme_ctrl, off: int) -> tuple[int, int]:
    """Read a register. Returns 0 and its value."""
    return 0, readl(to_nvme_dev(ctrl).bar + off)


def nvme_pci_reg_write32(ctrl: nvme_ctrl, off: int, val: int) -> int:
    """Write a register. Returns 0."""
    writel(val, to_nvme_dev(ctrl).bar + off)
    return 0


def nvme_pci_reg_read64(ctrl: nvme_ctrl, off: int) -> tuple[int, int]:
    """Read a register of 64 bits. Returns 0 and its value."""
    return 0, lo_hi_readq(to_nvme_dev(ctrl).bar + off)


def nvme_pci_get_address(ctrl: nvme_ctrl) -> str:
    """Where the controller is on the bus."""
    return dev_name(to_pci_dev(to_nvme_dev(ctrl).dev).dev)


nvme_pci_ctrl_ops = nvme_ctrl_ops(
    name="pcie", module=THIS_MODULE, flags=NVME_F_METADATA_SUPPORTED | NVME_F_PCI_P2PDMA,
    reg_read32=nvme_pci_reg_read32, reg_write32=nvme_pci_reg_write32, reg_read64=nvme_pci_reg_read64,
    free_ctrl=nvme_pci_free_ctrl, submit_async_event=nvme_pci_submit_async_event, get_address=nvme_pci_get_address)


def nvme_dev_map(dev: nvme_dev) -> int:
    """Claim the device's windows, and make its registers accessible. Returns 0 or -ENODEV."""
    pdev = to_pci_dev(dev.dev)
    if pci_request_mem_regions(pdev, "nvme"):
        return -ENODEV
    if nvme_remap_bar(dev, NVME_REG_DBS + 4096):
        pci_release_mem_regions(pdev)
        return -ENODEV
    return 0


def check_vendor_combination_bug(pdev: pci_dev) -> int:
    """Quirks of devices that show in some computers only: of saving power, which is left out. Returns 0."""
    return 0


def nvme_async_probe(data: nvme_dev, cookie: int) -> None:
    """Wait until a controller is up and its namespaces have been looked at: whoever waits for all devices waits so."""
    dev = data
    flush_work(dev.ctrl.reset_work)
    flush_work(dev.ctrl.scan_work)
    nvme_put_ctrl(dev.ctrl)


def nvme_probe(pdev: pci_dev, id: pci_device_id) -> int:
    """Take a device over: allocate what the controller needs in any case, and have it brought up by a worker.

    Returns 0, or -errno with nothing left of it.
    """
    node = dev_to_node(pdev.dev)
    if node == NUMA_NO_NODE:
        set_dev_node(pdev.dev, first_memory_node())

    if (dev := kzalloc_node(nvme_dev, GFP_KERNEL, node)) is None:
        return -ENOMEM
    dev.ctrl._owner = dev
    dev.nr_write_queues = variables().write_queues
    dev.nr_poll_queues = variables().poll_queues
    dev.nr_allocated_queues = unsigned_int(nvme_max_io_queues(dev) + 1)
    dev.queues = kcalloc_node(dev.nr_allocated_queues, nvme_queue, GFP_KERNEL, node)
    result = -ENOMEM
    if dev.queues is not None:
        dev.dev = get_device(pdev.dev)
        pci_set_drvdata(pdev, dev)
        if not (result := nvme_dev_map(dev)):
            INIT_WORK(dev.ctrl.reset_work, nvme_reset_work, dev)
            INIT_WORK(dev.remove_work, nvme_remove_dead_ctrl_work, dev)
            if not (result := nvme_setup_prp_pools(dev)):
                # The largest command must do with a page.
                # recorder: the source has this after the quirks; the compiler, and so the recording, has it before.
                alloc_size = nvme_pci_iod_alloc_size(dev, NVME_MAX_KB_SZ, NVME_MAX_SEGS, True)
                quirks = check_vendor_combination_bug(pdev)
                WARN_ON_ONCE(alloc_size > PAGE_SIZE)
                dev.iod_mempool = mempool_create_node(1, mempool_kmalloc, mempool_kfree,
                                                      (NVME_MAX_SEGS, scatterlist, alloc_size), GFP_KERNEL, node)
                result = -ENOMEM
                if dev.iod_mempool is not None:
                    if not (result := core.nvme_init_ctrl(dev.ctrl, pdev.dev, nvme_pci_ctrl_ops, quirks)):
                        dev_info(dev.ctrl.device, f"pci function {dev_name(pdev.dev)}")
                        core.nvme_reset_ctrl(dev.ctrl)
                        async_schedule(nvme_async_probe, dev)
                        return 0
                    mempool_destroy(dev.iod_mempool)
                nvme_release_prp_pools(dev)
            nvme_dev_unmap(dev)
        put_device(dev.dev)
    kfree(dev.queues)
    kfree(dev)
    return result


def nvme_remove(pdev: pci_dev) -> None:
    """Give a device up, whether the controller is up, half up, or gone."""
    dev = pci_get_drvdata(pdev)
    core.nvme_change_ctrl_state(dev.ctrl, NVME_CTRL_DELETING)
    pci_set_drvdata(pdev, None)
    if not pci_device_is_present(pdev):
        core.nvme_change_ctrl_state(dev.ctrl, NVME_CTRL_DEAD)
        nvme_dev_disable(dev, True)
        nvme_dev_remove_admin(dev)
    flush_work(dev.ctrl.reset_work)
    core.nvme_stop_ctrl(dev.ctrl)
    core.nvme_remove_namespaces(dev.ctrl)
    nvme_dev_disable(dev, True)
    nvme_free_host_mem(dev)
    nvme_dev_remove_admin(dev)
    nvme_free_queues(dev, 0)
    core.nvme_uninit_ctrl(dev.ctrl)
    nvme_release_prp_pools(dev)
    nvme_dev_unmap(dev)
    nvme_put_ctrl(dev.ctrl)


nvme_id_table = (pci_device_id(class_=PCI_CLASS_STORAGE_EXPRESS, class_mask=0xFFFFFF),)
nvme_driver = pci_driver(name="nvme", id_table=nvme_id_table, probe=nvme_probe, remove=nvme_remove)


def nvme_init() -> int:
    """The module is loaded: take over the devices that there are, and those that come. Returns 0 or -errno."""
    return pci_register_driver(nvme_driver)


def nvme_exit() -> None:
    """The module is unloaded: give all devices up."""
    pci_unregister_driver(nvme_driver)
    flush_workqueue(core.variables().nvme_wq)
