"""NVMe, whatever the transport: a controller's states, its admin commands, what it says of itself, its namespaces.

A namespace becomes a disk (nvme_alloc_ns()), and a disk's requests become commands (nvme_setup_cmd()). Left out:
fabrics, commands and reservations from user space, security, and open-channel disks.
"""

from typing import Any
from uuid import UUID

from blkmodel.block import blk_core, blk_exec, blk_map, blk_mq, blk_settings, genhd
from blkmodel.drivers.nvme.host.nvme_h import (NVME_CTRL_CONNECTING, NVME_CTRL_DEAD, NVME_CTRL_DELETING, NVME_CTRL_LIVE,
    NVME_CTRL_NEW, NVME_CTRL_RESETTING, NVME_F_PCI_P2PDMA, NVME_NS_DEAD, NVME_NS_REMOVING, NVME_QID_ANY,
    NVME_QUIRK_NO_APST, NVME_QUIRK_SIMPLE_SUSPEND, NVME_REQ_CANCELLED, nvme_ctrl, nvme_ctrl_ops, nvme_get_ctrl,
    nvme_get_ns_from_dev, nvme_lba_to_sect, nvme_ns, nvme_ns_head, nvme_ns_ids, nvme_put_ctrl, nvme_req,
    nvme_reset_subsystem, nvme_sect_to_lba, nvme_set_disk_name, nvme_subsystem)
from blkmodel.errors import NotModelled
from blkmodel.fs import block_dev
from blkmodel.include.linux import nvme
from blkmodel.include.linux.blkdev import (BLK_STS_IOERR, BLK_STS_MEDIUM, BLK_STS_NEXUS, BLK_STS_NOSPC, BLK_STS_NOTSUPP,
    BLK_STS_OK, BLK_STS_PROTECTION, BLK_STS_RESOURCE, BLK_STS_TARGET, BLK_STS_TRANSPORT, GENHD_FL_EXT_DEVT, GENHD_FL_UP,
    QUEUE_FLAG_DISCARD, QUEUE_FLAG_NONROT, QUEUE_FLAG_PCI_P2PDMA, REQ_FAILFAST_DEV, REQ_FAILFAST_DRIVER, REQ_FUA,
    REQ_OP_DISCARD, REQ_OP_DRV_IN, REQ_OP_DRV_OUT, REQ_OP_FLUSH, REQ_OP_MASK, REQ_OP_READ, REQ_OP_WRITE,
    REQ_OP_WRITE_ZEROES, REQ_RAHEAD, RQF_DONTPREP, RQF_SPECIAL_PAYLOAD, UINT_MAX, USHRT_MAX, bio_vec, bios_of,
    blk_noretry_request, blk_queue_dying, blk_rq_nr_discard_segments, block_device_operations, gendisk, get_capacity,
    queue_logical_block_size, request, request_queue, rq_data_dir, set_capacity)
from blkmodel.include.linux.fs import block_device
from blkmodel.include.linux.nvme import (NVME_AEN_CFG_ANA_CHANGE, NVME_AEN_CFG_DISC_CHANGE, NVME_AEN_CFG_FW_ACT,
    NVME_AEN_CFG_NS_ATTR, NVME_CAP_MPSMIN, NVME_CAP_MQES, NVME_CAP_NSSRC, NVME_CAP_TIMEOUT, NVME_CC_AMS_RR,
    NVME_CC_CSS_NVM, NVME_CC_ENABLE, NVME_CC_IOCQES, NVME_CC_IOSQES, NVME_CC_MPS_SHIFT, NVME_CC_SHN_MASK,
    NVME_CC_SHN_NONE, NVME_CC_SHN_NORMAL, NVME_CSTS_RDY, NVME_CSTS_SHST_CMPLT, NVME_CSTS_SHST_MASK,
    NVME_CTRL_LPA_CMD_EFFECTS_LOG, NVME_CTRL_ONCS_DSM, NVME_CTRL_ONCS_TIMESTAMP, NVME_CTRL_ONCS_WRITE_ZEROES,
    NVME_CTRL_VWC_PRESENT, NVME_DSM_MAX_RANGES, NVME_DSMGMT_AD, NVME_FEAT_ASYNC_EVENT, NVME_FEAT_NUM_QUEUES,
    NVME_FEAT_TIMESTAMP, NVME_ID_CNS_CTRL, NVME_ID_CNS_NS, NVME_ID_CNS_NS_ACTIVE_LIST, NVME_ID_CNS_NS_DESC_LIST,
    NVME_IDENTIFY_DATA_SIZE, NVME_LOG_CMD_EFFECTS, NVME_NIDT_EUI64, NVME_NIDT_EUI64_LEN, NVME_NIDT_NGUID,
    NVME_NIDT_NGUID_LEN, NVME_NIDT_UUID, NVME_NIDT_UUID_LEN, NVME_NS_FLBAS_LBA_MASK, NVME_NSID_ALL, NVME_REG_CC,
    NVME_REG_CSTS, NVME_REG_VS, NVME_RW_DSM_FREQ_PREFETCH, NVME_RW_FUA, NVME_RW_LR, NVME_SC_DNR,
    NVME_SC_HOST_ABORTED_CMD, NVME_SC_SUCCESS, NVME_VS, nvme_admin_get_log_page, nvme_admin_identify,
    nvme_admin_set_features, nvme_cmd_dsm, nvme_cmd_flush, nvme_cmd_read, nvme_cmd_write, nvme_cmd_write_zeroes,
    nvme_command, nvme_dsm_range, nvme_effects_log, nvme_id_ctrl, nvme_id_ns, nvme_is_write)
from blkmodel.reference.omission import no_chapter
from blkmodel.services import (__GFP_NOWARN, EAGAIN, EBUSY, EINTR, EINVAL, EIO, ENETRESET, ENODEV, ENOMEM, ENOTTY,
    ENXIO, ERR_PTR, GFP_ATOMIC, GFP_KERNEL, HZ, INIT_LIST_HEAD, INIT_WORK, IS_ERR, MAJOR, MINORBITS, MKDEV, PTR_ERR,
    THIS_MODULE, WARN_ON_ONCE, WQ_MEM_RECLAIM, WQ_UNBOUND, __free_page, alloc_chrdev_region, alloc_page,
    alloc_workqueue, attribute, attribute_group, cdev_device_add, cdev_device_del, cdev_init, class_, class_create,
    class_destroy, cleanup_srcu_struct, destroy_workqueue, dev_err, dev_get_drvdata, dev_name, dev_set_drvdata,
    dev_set_name, dev_warn, dev_warn_once, device, device_add, device_del, device_initialize, file, file_operations,
    flush_work, hd_geometry, ida, ida_simple_get, ida_simple_remove, init_srcu_struct, inode, jiffies, kcalloc,
    kernel_param, kfree, kobject, kref, kref_get, kref_get_unless_zero, kref_init, kref_put, ktime_get_real,
    ktime_to_ms, kzalloc, kzalloc_node, list_add_tail, list_del_init, list_empty, list_head, list_move_tail, list_sort,
    list_splice_init, module_put, msleep, page_address, param_set_byte, param_set_uint, printk_ratelimited, put_device,
    queue_work, synchronize_rcu, synchronize_srcu, sysfs_create_link, sysfs_remove_link, thing_at, time_after,
    try_module_get, unregister_chrdev_region, unsigned_int, virt_to_page, wake_up_all, work_struct, workqueue_struct)
from blkmodel.sim import NULL, PAGE_SIZE, Array, Struct, sizeof, statics, wire

OMITTED = no_chapter("""
    nvme_try_sched_reset nvme_state_terminal nvme_wait_reset nvme_toggle_streams nvme_disable_streams
    nvme_enable_streams nvme_get_stream_params nvme_assign_write_stream nvme_end_sync_rq nvme_execute_rq_polled
    nvme_keep_alive_end_io nvme_keep_alive nvme_keep_alive_work nvme_start_keep_alive nvme_get_features
    nvme_set_latency_tolerance nvme_user_cmd nvme_submit_io nvme_dev_user_cmd __nvme_find_ns_head
    nvme_clear_changed_ns_log nvme_ctrl_pp_status nvme_get_fw_slot_info nvme_fw_act_work nvme_handle_aen_notice
    nvme_wait_freeze_timeout nvme_ns_has_pi nvme_aen_uevent""")
NVME_IOCTL_ID, NVME_IOCTL_RESET, NVME_IOCTL_SUBSYS_RESET, NVME_IOCTL_RESCAN = 0x4E40, 0x4E44, 0x4E45, 0x4E46
PASSTHROUGH = {0xC0484E41: "NVME_IOCTL_ADMIN_CMD", 0x40304E42: "NVME_IOCTL_SUBMIT_IO", 0xC0484E43: "NVME_IOCTL_IO_CMD",
               0xC0504E47: "NVME_IOCTL_ADMIN64_CMD", 0xC0504E48: "NVME_IOCTL_IO64_CMD"}
OF_DISKS = ("NVME_IOCTL_SUBMIT_IO", "NVME_IOCTL_IO64_CMD")
"""Commands of a user's own, which the model does not send; the last two are a disk's, and no controller's."""
PAGE_SHIFT = 12
NVME_MINORS = 1 << MINORBITS
NVME_AEN_SUPPORTED = (NVME_AEN_CFG_NS_ATTR | NVME_AEN_CFG_FW_ACT | NVME_AEN_CFG_ANA_CHANGE | NVME_AEN_CFG_DISC_CHANGE)
ALL_ONES = 0xFFFFFFFF  # what is read from a controller that is gone

ERROR_STATUS = {NVME_SC_SUCCESS: BLK_STS_OK, nvme.NVME_SC_CAP_EXCEEDED: BLK_STS_NOSPC,
                nvme.NVME_SC_LBA_RANGE: BLK_STS_TARGET, nvme.NVME_SC_BAD_ATTRIBUTES: BLK_STS_NOTSUPP,
                nvme.NVME_SC_ONCS_NOT_SUPPORTED: BLK_STS_NOTSUPP, nvme.NVME_SC_INVALID_OPCODE: BLK_STS_NOTSUPP,
                nvme.NVME_SC_INVALID_FIELD: BLK_STS_NOTSUPP, nvme.NVME_SC_INVALID_NS: BLK_STS_NOTSUPP,
                nvme.NVME_SC_WRITE_FAULT: BLK_STS_MEDIUM, nvme.NVME_SC_READ_ERROR: BLK_STS_MEDIUM,
                nvme.NVME_SC_UNWRITTEN_BLOCK: BLK_STS_MEDIUM, nvme.NVME_SC_ACCESS_DENIED: BLK_STS_MEDIUM,
                nvme.NVME_SC_READ_ONLY: BLK_STS_MEDIUM, nvme.NVME_SC_COMPARE_FAILED: BLK_STS_MEDIUM,
                nvme.NVME_SC_GUARD_CHECK: BLK_STS_PROTECTION, nvme.NVME_SC_APPTAG_CHECK: BLK_STS_PROTECTION,
                nvme.NVME_SC_REFTAG_CHECK: BLK_STS_PROTECTION, nvme.NVME_SC_INVALID_PI: BLK_STS_PROTECTION,
                nvme.NVME_SC_RESERVATION_CONFLICT: BLK_STS_NEXUS, nvme.NVME_SC_HOST_PATH_ERROR: BLK_STS_TRANSPORT}

# from which states a controller may go to each
TRANSITIONS = {
    NVME_CTRL_LIVE: (NVME_CTRL_NEW, NVME_CTRL_RESETTING, NVME_CTRL_CONNECTING),
    NVME_CTRL_RESETTING: (NVME_CTRL_NEW, NVME_CTRL_LIVE), NVME_CTRL_CONNECTING: (NVME_CTRL_NEW, NVME_CTRL_RESETTING),
    NVME_CTRL_DELETING: (NVME_CTRL_LIVE, NVME_CTRL_RESETTING, NVME_CTRL_CONNECTING),
    NVME_CTRL_DEAD: (NVME_CTRL_DELETING,)}
STATE_NAMES = {NVME_CTRL_NEW: "new", NVME_CTRL_LIVE: "live", NVME_CTRL_RESETTING: "resetting",
               NVME_CTRL_CONNECTING: "connecting", NVME_CTRL_DELETING: "deleting", NVME_CTRL_DEAD: "dead"}


class variables(statics):
    """The module's parameters (timeouts in seconds), and what all controllers share: workers, numbers, subsystems."""

    def __init__(self) -> None:
        self.admin_timeout, self.nvme_io_timeout, self.shutdown_timeout, self.nvme_max_retries = 60, 30, 5, 5
        self.nvme_wq: workqueue_struct = NULL
        self.nvme_reset_wq: workqueue_struct = NULL
        self.nvme_delete_wq: workqueue_struct = NULL
        self.nvme_subsystems = list_head()
        self.nvme_instance_ida = ida()
        self.nvme_chr_devt = 0
        self.nvme_class: class_ = NULL
        self.nvme_subsys_class: class_ = NULL

    def admin_ticks(self) -> int:
        """How many jiffies an admin command may take: an unsigned int, as in C."""
        return unsigned_int(self.admin_timeout * HZ)


parameters = (kernel_param("admin_timeout", param_set_uint, variables, "admin_timeout"),
              kernel_param("io_timeout", param_set_uint, variables, "nvme_io_timeout"),
              kernel_param("shutdown_timeout", param_set_byte, variables, "shutdown_timeout"),
              kernel_param("max_retries", param_set_byte, variables, "nvme_max_retries"))


def nvme_set_queue_dying(ns: nvme_ns) -> None:
    """End a namespace's queue: its controller is gone for good. Whatever waits for it is sent away."""
    if ns.disk is None or ns.flags >> NVME_NS_DEAD & 1:
        return
    ns.flags |= 1 << NVME_NS_DEAD
    blk_core.blk_set_queue_dying(ns.queue)
    # Those who wait for a quiesced queue would wait for ever.
    blk_mq.blk_mq_unquiesce_queue(ns.queue)
    # A dead namespace has no size, which ends those who write to its cache.
    block_dev.revalidate_disk(ns.disk)


def nvme_queue_scan(ctrl: nvme_ctrl) -> None:
    """Let the namespaces be looked at, if the controller works and has I/O queues."""
    if ctrl.state == NVME_CTRL_LIVE and ctrl.tagset is not None:
        queue_work(variables().nvme_wq, ctrl.scan_work)


def nvme_reset_ctrl(ctrl: nvme_ctrl) -> int:
    """Reset a controller, in a worker. Returns 0, or -EBUSY where it can't be reset now, or is being."""
    if not nvme_change_ctrl_state(ctrl, NVME_CTRL_RESETTING):
        return -EBUSY
    return -EBUSY if not queue_work(variables().nvme_reset_wq, ctrl.reset_work) else 0


def nvme_reset_ctrl_sync(ctrl: nvme_ctrl) -> int:
    """Reset a controller, and wait. Returns 0, -EBUSY, or -ENETRESET where it did not come back."""
    if not (ret := nvme_reset_ctrl(ctrl)):
        flush_work(ctrl.reset_work)
        if ctrl.state != NVME_CTRL_LIVE:
            ret = -ENETRESET
    return ret


def nvme_error_status(status: int) -> int:
    """The BLK_STS_* status that stands for a controller's."""
    return ERROR_STATUS.get(status & 0x7FF, BLK_STS_IOERR)


def nvme_req_needs_retry(req: request) -> bool:
    """Whether a failed request is to be tried again: neither its submitter nor the controller says no."""
    if blk_noretry_request(req):
        return False
    return not nvme_req(req).status & NVME_SC_DNR and nvme_req(req).retries < variables().nvme_max_retries


def nvme_retry_req(req: request) -> None:
    """Try a request again, soon: no controller of the model's asks for a delay (crdt)."""
    nvme_req(req).retries += 1
    blk_mq.blk_mq_requeue_request(req, False)
    blk_mq.blk_mq_delay_kick_requeue_list(req.q, 0)


def nvme_complete_rq(req: request) -> None:
    """End a request that the controller has answered, or try it again."""
    if (status := nvme_error_status(nvme_req(req).status)) != BLK_STS_OK and nvme_req_needs_retry(req):
        if not blk_queue_dying(req.q):
            nvme_retry_req(req)
            return
    blk_mq.blk_mq_end_request(req, status)


def nvme_cancel_request(req: request, data: object, reserved: bool) -> bool:
    """Complete a request that the controller will not answer any more, unless it is being completed."""
    if blk_mq.blk_mq_request_completed(req):
        return True
    nvme_req(req).status = NVME_SC_HOST_ABORTED_CMD
    nvme_req(req).flags |= NVME_REQ_CANCELLED
    blk_mq.blk_mq_complete_request(req)
    return True


def nvme_change_ctrl_state(ctrl: nvme_ctrl, new_state: int) -> bool:
    """Let a controller go to another state, if it can from the one it is in; return whether it did."""
    changed = ctrl.state in TRANSITIONS.get(new_state, ())
    if changed:
        ctrl.state = new_state
        wake_up_all(ctrl.state_wq)
    return changed


def nvme_free_ns_head(ref: kref) -> None:
    """No controller shows a namespace any more: free it, and let its subsystem go."""
    head = ref._owner
    ida_simple_remove(head.subsys.ns_ida, head.instance)
    cleanup_srcu_struct(head.srcu)
    nvme_put_subsystem(head.subsys)
    kfree(head)


def nvme_put_ns_head(head: nvme_ns_head) -> None:
    """Drop a reference to a subsystem's namespace."""
    kref_put(head.ref, nvme_free_ns_head)


def nvme_free_ns(ref: kref) -> None:
    """Nobody uses a namespace of a controller any more: let its disk go."""
    ns = ref._owner
    genhd.put_disk(ns.disk)
    nvme_put_ns_head(ns.head)
    nvme_put_ctrl(ns.ctrl)
    kfree(ns)


def nvme_put_ns(ns: nvme_ns) -> None:
    """Drop a reference to a namespace of a controller."""
    kref_put(ns.kref, nvme_free_ns)


def nvme_clear_nvme_request(req: request) -> None:
    """Count a request's tries from the first. RQF_DONTPREP says that this was done."""
    if not req.rq_flags & RQF_DONTPREP:
        rq = req._pdu.req
        rq.retries = rq.flags = 0
        req.rq_flags |= RQF_DONTPREP


def nvme_alloc_request(q: request_queue, cmd: nvme_command, flags: int, qid: int) -> request:
    """Get a request for a command, on any queue: only fabrics name one (qid). Returns it, or ERR_PTR(-errno)."""
    if IS_ERR(req := blk_mq.blk_mq_alloc_request(q, REQ_OP_DRV_OUT if nvme_is_write(cmd) else REQ_OP_DRV_IN, flags)):
        return req
    req.cmd_flags |= REQ_FAILFAST_DRIVER
    nvme_clear_nvme_request(req)
    nvme_req(req).cmd = cmd
    return req


def nvme_configure_directives(ctrl: nvme_ctrl) -> int:
    """Use streams of writes, where the module was told to: that parameter is left out, so it never is. Returns 0."""
    return 0


def nvme_setup_flush(ns: nvme_ns) -> tuple[int, nvme_command]:
    """The command that empties a volatile cache."""
    return BLK_STS_OK, nvme_command(nvme.nvme_common_command(opcode=nvme_cmd_flush, nsid=ns.head.ns_id))


def nvme_setup_discard(ns: nvme_ns, req: request) -> tuple[int, nvme_command]:
    """The command that says which blocks hold nothing any more: a range for each bio, in memory of its own.

    That has room for the most ranges, as some controllers read them all. Without memory the controller's own page does,
    if no other request uses it. Returns a status and the command.
    """
    segments, ctrl = blk_rq_nr_discard_segments(req), ns.ctrl
    alloc_size = sizeof(nvme_dsm_range) * NVME_DSM_MAX_RANGES
    ranges = kcalloc(NVME_DSM_MAX_RANGES, nvme_dsm_range, GFP_ATOMIC | __GFP_NOWARN)
    addr = ranges._addr if ranges is not None else 0
    if ranges is None:
        if ctrl.discard_page_busy & 1:
            return BLK_STS_RESOURCE, NULL
        ctrl.discard_page_busy |= 1
        addr = page_address(ctrl.discard_page)
        ranges = Array(nvme_dsm_range, [nvme_dsm_range() for _ in range(NVME_DSM_MAX_RANGES)])

    n = 0
    for bio in bios_of(req):
        if n < segments:
            ranges[n].cattr, ranges[n].nlb = 0, bio.bi_iter.bi_size >> ns.lba_shift
            ranges[n].slba = nvme_sect_to_lba(ns, bio.bi_iter.bi_sector)
        n += 1
    page = virt_to_page(addr)
    if WARN_ON_ONCE(n != segments):
        if page is ctrl.discard_page:
            ctrl.discard_page_busy &= ~1
        else:
            kfree(ranges)
        return BLK_STS_IOERR, NULL
    if page is ctrl.discard_page:
        page.write(0, wire.pack(ranges))

    req.special_vec = bio_vec(page, alloc_size, addr % PAGE_SIZE)
    req.rq_flags |= RQF_SPECIAL_PAYLOAD
    return BLK_STS_OK, nvme_command(nvme.nvme_dsm_cmd(opcode=nvme_cmd_dsm, nsid=ns.head.ns_id, nr=segments - 1,
                                                      attributes=NVME_DSMGMT_AD))


def nvme_setup_write_zeroes(ns: nvme_ns, req: request) -> tuple[int, nvme_command]:
    """The command that makes blocks zeros without data."""
    return BLK_STS_OK, nvme_command(nvme.nvme_write_zeroes_cmd(
        opcode=nvme_cmd_write_zeroes, nsid=ns.head.ns_id, slba=nvme_sect_to_lba(ns, req._sector),
        length=(req._data_len >> ns.lba_shift) - 1))


def nvme_setup_rw(ns: nvme_ns, req: request) -> tuple[int, nvme_command]:
    """The command that reads or writes blocks. Returns a status and the command."""
    flags = req.cmd_flags
    control = dsmgmt = 0
    if flags & REQ_FUA:
        control |= NVME_RW_FUA
    if flags & (REQ_FAILFAST_DEV | REQ_RAHEAD):
        control |= NVME_RW_LR
    if flags & REQ_RAHEAD:
        dsmgmt |= NVME_RW_DSM_FREQ_PREFETCH
    return BLK_STS_OK, nvme_command(nvme.nvme_rw_command(
        opcode=nvme_cmd_write if rq_data_dir(req) else nvme_cmd_read, nsid=ns.head.ns_id,
        slba=nvme_sect_to_lba(ns, req._sector), length=(req._data_len >> ns.lba_shift) - 1 & 0xFFFF,
        control=control, dsmgmt=dsmgmt))


def nvme_cleanup_cmd(req: request) -> None:
    """Free the memory that a discard's ranges were in."""
    if req.rq_flags & RQF_SPECIAL_PAYLOAD:
        ns, page = req.rq_disk.private_data, req.special_vec.bv_page
        if page is ns.ctrl.discard_page:
            ns.ctrl.discard_page_busy &= ~1
        else:
            kfree(thing_at(page_address(page) + req.special_vec.bv_offset))


def nvme_setup_cmd(ns: nvme_ns, req: request) -> tuple[int, nvme_command]:
    """Make the command for a request; `ns` is None for one of the admin queue.

    Returns a BLK_STS_* status, and the command unless that is an error. In C it is an out-parameter.
    """
    nvme_clear_nvme_request(req)
    op = req.cmd_flags & REQ_OP_MASK
    if op in (REQ_OP_READ, REQ_OP_WRITE):
        ret, cmd = nvme_setup_rw(ns, req)
    elif op in (REQ_OP_DRV_IN, REQ_OP_DRV_OUT):
        ret, cmd = BLK_STS_OK, nvme_req(req).cmd.duplicate()
    elif op == REQ_OP_FLUSH:
        ret, cmd = nvme_setup_flush(ns)
    elif op == REQ_OP_WRITE_ZEROES:
        ret, cmd = nvme_setup_write_zeroes(ns, req)
    elif op == REQ_OP_DISCARD:
        ret, cmd = nvme_setup_discard(ns, req)
    else:
        WARN_ON_ONCE(True, f"operation {op} is not one of NVMe")
        return BLK_STS_IOERR, NULL
    if cmd is not None:
        cmd.common.command_id = req.tag
    return ret, cmd


def __nvme_submit_sync_cmd(q: request_queue, cmd: nvme_command, buffer: object, bufflen: int, timeout: int, qid: int,
                           at_head: int, flags: int, poll: bool) -> tuple[int, int]:
    """Let the controller execute a command, with `bufflen` bytes of data in `buffer`, and wait.

    Returns its status (0, or an NVMe status above 0) or -errno, and its result. In C the result is an out-parameter.
    Nobody here has it polled for (`poll`), as fabrics do.
    """
    result, req = 0, nvme_alloc_request(q, cmd, flags, qid)
    if IS_ERR(req):
        return PTR_ERR(req), result
    req.timeout = timeout or variables().admin_ticks()
    ret = blk_map.blk_rq_map_kern(q, req, buffer, bufflen, GFP_KERNEL) if buffer is not None and bufflen else 0
    if not ret:
        blk_exec.blk_execute_rq(req.q, NULL, req, at_head)
        result = nvme_req(req).result
        ret = -EINTR if nvme_req(req).flags & NVME_REQ_CANCELLED else nvme_req(req).status
    blk_mq.blk_mq_free_request(req)
    return ret, result


def nvme_submit_sync_cmd(q: request_queue, cmd: nvme_command, buffer: object, bufflen: int) -> int:
    """Let the controller execute a command on any queue, with `bufflen` bytes of data in `buffer`, and wait.

    Returns its status (0, or an NVMe status above 0) or -errno.
    """
    return __nvme_submit_sync_cmd(q, cmd, buffer, bufflen, 0, NVME_QID_ANY, 0, 0, False)[0]


def nvme_stop_keep_alive(ctrl: nvme_ctrl) -> None:
    """Tell a controller no more that its host lives: only hosts on fabrics do (kato), so there is nothing to end."""


def nvme_ctrl_limited_cns(ctrl: nvme_ctrl) -> bool:
    """Whether a controller may not know of lists of namespaces."""
    return ctrl.vs < NVME_VS(1, 1, 0)


def nvme_identify_ctrl(dev: nvme_ctrl) -> tuple[int, nvme_id_ctrl]:
    """Ask a controller what it is. Returns 0, its status or -errno; and what it says, which the caller frees.

    In C the second is an out-parameter, as in the other functions of the kind.
    """
    c = nvme_command(nvme.nvme_identify(opcode=nvme_admin_identify, cns=NVME_ID_CNS_CTRL))
    if (id := kzalloc(nvme_id_ctrl, GFP_KERNEL)) is None:
        return -ENOMEM, NULL
    if error := nvme_submit_sync_cmd(dev.admin_q, c, id, sizeof(nvme_id_ctrl)):
        kfree(id)
        return error, NULL
    return 0, id


def nvme_identify_ns_descs(ctrl: nvme_ctrl, nsid: int, ids: nvme_ns_ids) -> int:
    """Ask for a namespace's names, into `ids`. Returns 0, the controller's status or -errno."""
    c = nvme_command(nvme.nvme_identify(opcode=nvme_admin_identify, nsid=nsid, cns=NVME_ID_CNS_NS_DESC_LIST))
    if (data := kcalloc(NVME_IDENTIFY_DATA_SIZE, "u8", GFP_KERNEL)) is None:
        return -ENOMEM
    if status := nvme_submit_sync_cmd(ctrl.admin_q, c, data, NVME_IDENTIFY_DATA_SIZE):
        dev_warn(ctrl.device, f"Identify Descriptors failed ({status})")
        kfree(data)
        return status
    pos = 0
    while pos < NVME_IDENTIFY_DATA_SIZE:
        nidt, nidl = data[pos:pos + 2]
        if nidl == 0:
            break
        pos += sizeof(nvme.nvme_ns_id_desc)
        name = bytes(data[pos:pos + nidl])
        if nidt in NAMES_OF_NAMESPACES:
            field, length, what = NAMES_OF_NAMESPACES[nidt]
            if nidl != length:
                dev_warn(ctrl.device, f"ctrl returned bogus length: {nidl} for {what}")
                break
            setattr(ids, field, name)
        pos += nidl
    kfree(data)
    return status


NAMES_OF_NAMESPACES = {NVME_NIDT_EUI64: ("eui64", NVME_NIDT_EUI64_LEN, "NVME_NIDT_EUI64"),
                       NVME_NIDT_NGUID: ("nguid", NVME_NIDT_NGUID_LEN, "NVME_NIDT_NGUID"),
                       NVME_NIDT_UUID: ("uuid", NVME_NIDT_UUID_LEN, "NVME_NIDT_UUID")}


def nvme_identify_ns_list(dev: nvme_ctrl, nsid: int, ns_list: Array) -> int:
    """Ask which namespaces above `nsid` there are, the first 1024. Returns 0, the controller's status or -errno."""
    c = nvme_command(nvme.nvme_identify(opcode=nvme_admin_identify, cns=NVME_ID_CNS_NS_ACTIVE_LIST, nsid=nsid))
    return nvme_submit_sync_cmd(dev.admin_q, c, ns_list, NVME_IDENTIFY_DATA_SIZE)


def nvme_identify_ns(ctrl: nvme_ctrl, nsid: int) -> tuple[int, nvme_id_ns]:
    """Ask what a namespace is. Returns 0, the controller's status or -errno; and the answer, which the caller frees."""
    c = nvme_command(nvme.nvme_identify(opcode=nvme_admin_identify, nsid=nsid, cns=NVME_ID_CNS_NS))
    if (id := kzalloc(nvme_id_ns, GFP_KERNEL)) is None:
        return -ENOMEM, NULL
    if error := nvme_submit_sync_cmd(ctrl.admin_q, c, id, sizeof(nvme_id_ns)):
        dev_warn(ctrl.device, f"Identify namespace failed ({error})")
        kfree(id)
        return error, NULL
    return 0, id


def nvme_features(dev: nvme_ctrl, op: int, fid: int, dword11: int, buffer: object, buflen: int) -> tuple[int, int]:
    """Set or get a feature. Returns 0, the controller's status or -errno; and the result."""
    c = nvme_command(nvme.nvme_features(opcode=op, fid=fid, dword11=dword11))
    ret, result = __nvme_submit_sync_cmd(dev.admin_q, c, buffer, buflen, 0, NVME_QID_ANY, 0, 0, False)
    return ret, result & 0xFFFFFFFF


def nvme_set_features(dev: nvme_ctrl, fid: int, dword11: int, buffer: object, buflen: int) -> tuple[int, int]:
    """Set a feature. Returns the status and the result."""
    return nvme_features(dev, nvme_admin_set_features, fid, dword11, buffer, buflen)


def nvme_set_queue_count(ctrl: nvme_ctrl, count: int) -> tuple[int, int]:
    """Ask the controller for `count` I/O queue pairs. Returns 0 or -errno, and how many to use.

    A controller that refuses to say gets no I/O queues, but stays, so that it can be repaired.
    """
    q_count = unsigned_int(count - 1 | count - 1 << 16)
    status, result = nvme_set_features(ctrl, NVME_FEAT_NUM_QUEUES, q_count, None, 0)
    if status < 0:
        return status, count
    if status > 0:
        dev_err(ctrl.device, f"Could not set queue count ({status})")
        return 0, 0
    return 0, min(count, min(result & 0xFFFF, result >> 16) + 1)


def nvme_enable_aen(ctrl: nvme_ctrl) -> None:
    """Ask the controller to tell of the events that it can, and be ready to hear of one."""
    supported_aens = ctrl.oaes & NVME_AEN_SUPPORTED
    if not supported_aens:
        return
    status, _ = nvme_set_features(ctrl, NVME_FEAT_ASYNC_EVENT, supported_aens, None, 0)
    if status:
        dev_warn(ctrl.device, f"Failed to configure AEN (cfg {supported_aens:x})")
    queue_work(variables().nvme_wq, ctrl.async_event_work)


def nvme_open(bdev: block_device, mode: int) -> int:
    """A namespace's disk is opened. Returns 0, or -ENXIO for one that is going."""
    ns = bdev.bd_disk.private_data
    if not kref_get_unless_zero(ns.kref):
        return -ENXIO
    if not try_module_get(ns.ctrl.ops.module):
        nvme_put_ns(ns)
        return -ENXIO
    return 0


def nvme_release(disk: gendisk, mode: int) -> None:
    """A namespace's disk is closed: it no longer holds the namespace, or the driver."""
    ns = disk.private_data
    module_put(ns.ctrl.ops.module)
    nvme_put_ns(ns)


def nvme_getgeo(bdev: block_device, geo: hd_geometry) -> int:
    """What a disk from long ago would look like: some programs ask."""
    geo.heads, geo.sectors = 1 << 6, 1 << 5
    geo.cylinders = get_capacity(bdev.bd_disk) >> 11
    return 0


def nvme_config_discard(disk: gendisk, ns: nvme_ns) -> None:
    """Let a disk's queue take discards, if the controller does."""
    ctrl, queue = ns.ctrl, disk.queue
    size = queue_logical_block_size(queue)
    if not ctrl.oncs & NVME_CTRL_ONCS_DSM:
        blk_core.blk_queue_flag_clear(QUEUE_FLAG_DISCARD, queue)
        return
    queue.limits.discard_alignment, queue.limits.discard_granularity = 0, size
    # What a user has set meanwhile stays.
    if blk_core.blk_queue_flag_test_and_set(QUEUE_FLAG_DISCARD, queue):
        return
    blk_settings.blk_queue_max_discard_sectors(queue, UINT_MAX)
    blk_settings.blk_queue_max_discard_segments(queue, NVME_DSM_MAX_RANGES)


def nvme_config_write_zeroes(q: request_queue, ctrl: nvme_ctrl) -> None:
    """Let a queue take zeroings, if the controller does. Those are kept as short as transfers, to be safe."""
    if ctrl.oncs & NVME_CTRL_ONCS_WRITE_ZEROES:
        blk_settings.blk_queue_max_write_zeroes_sectors(q, ctrl.max_hw_sectors)


def nvme_report_ns_ids(ctrl: nvme_ctrl, nsid: int, id: nvme_id_ns, ids: nvme_ns_ids) -> int:
    """Fill in a namespace's names, as many as the controller's version has. Returns 0, its status or -errno."""
    ids.eui64, ids.nguid, ids.uuid = bytes(8), bytes(16), bytes(16)
    if ctrl.vs >= NVME_VS(1, 1, 0):
        ids.eui64 = id.eui64
    if ctrl.vs >= NVME_VS(1, 2, 0):
        ids.nguid = id.nguid
    return nvme_identify_ns_descs(ctrl, nsid, ids) if ctrl.vs >= NVME_VS(1, 3, 0) else 0


def nvme_ns_ids_valid(ids: nvme_ns_ids) -> bool:
    """Whether a namespace has any name."""
    return any(ids.uuid) or any(ids.nguid) or any(ids.eui64)


def nvme_ns_ids_equal(a: nvme_ns_ids, b: nvme_ns_ids) -> bool:
    """Whether two namespaces have the same names, and so are one."""
    return a.uuid == b.uuid and a.nguid == b.nguid and a.eui64 == b.eui64


def nvme_update_disk_info(disk: gendisk, ns: nvme_ns, id: nvme_id_ns) -> None:
    """Give a disk and its queue the size, block sizes and abilities of its namespace."""
    capacity = nvme_lba_to_sect(ns, id.nsze)
    bs = 1 << 9 if ns.lba_shift > PAGE_SHIFT else 1 << ns.lba_shift
    blk_mq.blk_mq_freeze_queue(disk.queue)
    phys_bs = io_opt = bs
    if id.nsfeat & 1 << 4:
        phys_bs *= 1 + id.npwg
        io_opt *= 1 + id.nows

    blk_settings.blk_queue_logical_block_size(disk.queue, bs)
    # File systems take the writing of a physical block to be atomic: here no more than a block is.
    blk_settings.blk_queue_physical_block_size(disk.queue, min(phys_bs, bs))
    blk_settings.blk_queue_io_min(disk.queue, phys_bs)
    blk_settings.blk_queue_io_opt(disk.queue, io_opt)

    # What has metadata that the kernel can't use, or blocks that it can't, has no size.
    if ns.ms or ns.lba_shift > PAGE_SHIFT:
        capacity = 0
    set_capacity(disk, capacity)
    nvme_config_discard(disk, ns)
    nvme_config_write_zeroes(disk.queue, ns.ctrl)
    genhd.set_disk_ro(disk, bool(id.nsattr & 1 << 0))
    blk_mq.blk_mq_unfreeze_queue(disk.queue)


def __nvme_revalidate_disk(disk: gendisk, id: nvme_id_ns) -> None:
    """Take over what the controller says of a namespace."""
    ns, fmt = disk.private_data, id.lbaf[id.flbas & NVME_NS_FLBAS_LBA_MASK]
    ns.lba_shift = fmt.ds or 9
    ns.ms = fmt.ms
    nvme_update_disk_info(disk, ns, id)


def nvme_revalidate_disk(disk: gendisk) -> int:
    """Look at a disk's namespace again. Returns 0, or -errno where it is not what it was; what may pass is no error."""
    ns = disk.private_data
    ctrl = ns.ctrl
    if ns.flags >> NVME_NS_DEAD & 1:
        set_capacity(disk, 0)
        return -ENODEV
    ret, id = nvme_identify_ns(ctrl, ns.head.ns_id)
    if not ret:
        if id.ncap == 0:
            ret = -ENODEV
        else:
            __nvme_revalidate_disk(disk, id)
            ids = nvme_ns_ids()
            ret = nvme_report_ns_ids(ctrl, ns.head.ns_id, id, ids)
            if not ret and not nvme_ns_ids_equal(ns.head.ids, ids):
                dev_err(ctrl.device, f"identifiers changed for nsid {ns.head.ns_id}")
                ret = -ENODEV
        kfree(id)
    if ret == -ENOMEM or (ret > 0 and not ret & NVME_SC_DNR):
        ret = 0
    elif ret > 0:
        ret = blk_core.blk_status_to_errno(nvme_error_status(ret))
    return ret


def nvme_ioctl(bdev: block_device, mode: int, cmd: int, arg: Any) -> int:
    """Do what only a namespace's disk can: say its number. Returns that, or -ENOTTY."""
    if cmd in PASSTHROUGH:
        raise NotModelled(f"the ioctl {PASSTHROUGH[cmd]}")
    return bdev.bd_disk.private_data.head.ns_id if cmd == NVME_IOCTL_ID else -ENOTTY


nvme_fops = block_device_operations(open=nvme_open, release=nvme_release, ioctl=nvme_ioctl, getgeo=nvme_getgeo,
                                    revalidate_disk=nvme_revalidate_disk, owner=THIS_MODULE, pr_ops="nvme_pr_ops")


def nvme_wait_ready(ctrl: nvme_ctrl, cap: int, enabled: bool) -> int:
    """Wait until a controller says that it is ready, or is not any more, as long as it may take.

    Returns 0; -ENODEV where it takes longer, or the controller is gone.
    """
    timeout = (NVME_CAP_TIMEOUT(cap) + 1) * HZ // 2 + jiffies()
    bit = NVME_CSTS_RDY if enabled else 0
    while True:
        ret, csts = ctrl.ops.reg_read32(ctrl, NVME_REG_CSTS)
        if ret:
            return ret
        if csts == ALL_ONES:
            return -ENODEV
        if csts & NVME_CSTS_RDY == bit:
            return 0
        msleep(100)
        if time_after(jiffies(), timeout):
            dev_err(ctrl.device, f"Device not ready; aborting {'initialisation' if enabled else 'reset'}")
            return -ENODEV


def nvme_disable_ctrl(ctrl: nvme_ctrl) -> int:
    """Disable a controller: it forgets its queues. Returns 0 or -errno.

    It is not told of a shutdown: it could complete what waits in queues, to memory that is somebody else's by now.
    """
    ctrl.ctrl_config &= ~NVME_CC_SHN_MASK
    ctrl.ctrl_config &= ~NVME_CC_ENABLE
    if ret := ctrl.ops.reg_write32(ctrl, NVME_REG_CC, ctrl.ctrl_config):
        return ret
    return nvme_wait_ready(ctrl, ctrl.cap, False)


def nvme_enable_ctrl(ctrl: nvme_ctrl) -> int:
    """Enable a controller, with pages of 4 KiB and entries of the usual sizes. Returns 0 or -errno."""
    page_shift = 12
    ret, ctrl.cap = ctrl.ops.reg_read64(ctrl, nvme.NVME_REG_CAP)
    if ret:
        dev_err(ctrl.device, f"Reading CAP failed ({ret})")
        return ret
    dev_page_min = NVME_CAP_MPSMIN(ctrl.cap) + 12
    if page_shift < dev_page_min:
        dev_err(ctrl.device, f"Minimum device page size {1 << dev_page_min} too large for host ({1 << page_shift})")
        return -ENODEV
    ctrl.page_size, ctrl.ctrl_config = 1 << page_shift, NVME_CC_CSS_NVM
    ctrl.ctrl_config |= page_shift - 12 << NVME_CC_MPS_SHIFT
    ctrl.ctrl_config |= NVME_CC_AMS_RR | NVME_CC_SHN_NONE
    ctrl.ctrl_config |= NVME_CC_IOSQES | NVME_CC_IOCQES
    ctrl.ctrl_config |= NVME_CC_ENABLE
    ret = ctrl.ops.reg_write32(ctrl, NVME_REG_CC, ctrl.ctrl_config)
    return ret or nvme_wait_ready(ctrl, ctrl.cap, True)


def nvme_shutdown_ctrl(ctrl: nvme_ctrl) -> int:
    """Tell a controller that its power may go, and wait until it is ready for that. Returns 0 or -errno."""
    timeout = jiffies() + ctrl.shutdown_timeout * HZ
    ctrl.ctrl_config &= ~NVME_CC_SHN_MASK
    ctrl.ctrl_config |= NVME_CC_SHN_NORMAL
    if ret := ctrl.ops.reg_write32(ctrl, NVME_REG_CC, ctrl.ctrl_config):
        return ret
    while True:
        ret, csts = ctrl.ops.reg_read32(ctrl, NVME_REG_CSTS)
        if ret or csts & NVME_CSTS_SHST_MASK == NVME_CSTS_SHST_CMPLT:
            return ret
        msleep(100)
        if time_after(jiffies(), timeout):
            dev_err(ctrl.device, "Device shutdown incomplete; abort shutdown")
            return -ENODEV


def nvme_set_queue_limits(ctrl: nvme_ctrl, q: request_queue) -> None:
    """Give a queue the controller's limits."""
    if ctrl.max_hw_sectors:
        max_segments = ctrl.max_hw_sectors // (ctrl.page_size >> 9) + 1
        if ctrl.max_segments:
            max_segments = min(max_segments, ctrl.max_segments)
        blk_settings.blk_queue_max_hw_sectors(q, ctrl.max_hw_sectors)
        blk_settings.blk_queue_max_segments(q, min(max_segments, USHRT_MAX))
    blk_settings.blk_queue_virt_boundary(q, ctrl.page_size - 1)
    vwc = bool(ctrl.vwc & NVME_CTRL_VWC_PRESENT)
    blk_settings.blk_queue_write_cache(q, vwc, vwc)


def nvme_configure_timestamp(ctrl: nvme_ctrl) -> int:
    """Tell a controller what time it is. Returns 0, its status or -errno."""
    if not ctrl.oncs & NVME_CTRL_ONCS_TIMESTAMP:
        return 0
    ts = Array("u64", [ktime_to_ms(ktime_get_real())])
    ret, _ = nvme_set_features(ctrl, NVME_FEAT_TIMESTAMP, 0, ts, 8)
    if ret:
        dev_warn_once(ctrl.device, f"could not set timestamp ({ret})")
    return ret


def nvme_configure_acre(ctrl: nvme_ctrl) -> int:
    """Tell a controller that the host heeds the delays that it asks for before a retry: none asks (crdt). Returns 0."""
    return 0


def nvme_configure_apst(ctrl: nvme_ctrl) -> int:
    """Tell a controller when to save power by itself: none of the model's can (apsta). Returns 0."""
    return 0


class nvme_core_quirk_entry(Struct, size=32):
    """What is odd about controllers of a maker (vid), of a model (mn) and firmware (fr) where those are given."""

    vid: int = 0
    mn: bytes | None = None
    fr: bytes | None = None
    quirks: int = 0


core_quirks = (nvme_core_quirk_entry(vid=0x1179, mn=b"THNSF5256GPUK TOSHIBA", quirks=NVME_QUIRK_NO_APST),
               nvme_core_quirk_entry(vid=0x14A4, fr=b"22301111", quirks=NVME_QUIRK_SIMPLE_SUSPEND))


def string_matches(idstr: bytes, match: bytes | None, len: int) -> bool:
    """Whether a text that is padded with blanks to `len` is that one; None is any."""
    return match is None or idstr.ljust(len, b"\0") == match.ljust(len, b" ")


def quirk_matches(id: nvme_id_ctrl, q: nvme_core_quirk_entry) -> bool:
    """Whether a controller is one of those with a quirk."""
    return q.vid == id.vid and string_matches(id.mn, q.mn, 40) and string_matches(id.fr, q.fr, 8)


def nvme_init_subnqn(subsys: nvme_subsystem, ctrl: nvme_ctrl, id: nvme_id_ctrl) -> None:
    """Name a subsystem as the controller does: all of the model's have a name for it."""
    subsys.subnqn = id.subnqn.partition(b"\0")[0].decode("latin-1")


def nvme_release_subsystem(dev: device) -> None:
    """The last reference to a subsystem's device is gone: give its number back, and free the subsystem."""
    subsys = dev._owner
    if subsys.instance >= 0:
        ida_simple_remove(variables().nvme_instance_ida, subsys.instance)
    kfree(subsys)


def nvme_destroy_subsystem(ref: kref) -> None:
    """No controller or namespace is in a subsystem any more: take it off the list, and its device away."""
    subsys = ref._owner
    list_del_init(subsys, "entry")
    device_del(subsys.dev)
    put_device(subsys.dev)


def nvme_put_subsystem(subsys: nvme_subsystem) -> None:
    """Drop a reference to a subsystem."""
    kref_put(subsys.ref, nvme_destroy_subsystem)


def __nvme_find_get_subsystem(subsysnqn: str) -> nvme_subsystem:
    """The subsystem of that name, with a reference; None where there is none."""
    for subsys in variables().nvme_subsystems:
        if subsys.subnqn == subsysnqn and kref_get_unless_zero(subsys.ref):
            return subsys
    return NULL


def nvme_validate_cntlid(subsys: nvme_subsystem, ctrl: nvme_ctrl, id: nvme_id_ctrl) -> bool:
    """Whether a controller may join the others of a subsystem: its number is its own, and there may be several."""
    for other in subsys.ctrls:
        if other.state in (NVME_CTRL_DELETING, NVME_CTRL_DEAD):
            continue
        if other.cntlid == ctrl.cntlid:
            dev_err(ctrl.device, f"Duplicate cntlid {ctrl.cntlid} with {dev_name(other.device)}, rejecting")
            return False
        if id.cmic & 1 << 1:
            continue
        dev_err(ctrl.device, "Subsystem does not support multiple controllers")
        return False
    return True


def nvme_init_subsystem(ctrl: nvme_ctrl, id: nvme_id_ctrl) -> int:
    """Make a controller part of its subsystem, which is made where there is none yet. Returns 0 or -errno."""
    if (subsys := kzalloc(nvme_subsystem, GFP_KERNEL)) is None:
        return -ENOMEM
    subsys.instance = -1
    kref_init(subsys.ref, subsys)
    INIT_LIST_HEAD(subsys.ctrls)
    INIT_LIST_HEAD(subsys.nsheads)
    nvme_init_subnqn(subsys, ctrl, id)
    subsys.serial, subsys.model, subsys.firmware_rev = id.sn, id.mn, id.fr
    subsys.vendor_id = id.vid

    device_initialize(subsys.dev, subsys)
    subsys.dev.class_ = variables().nvme_subsys_class
    subsys.dev.release = nvme_release_subsystem
    dev_set_name(subsys.dev, f"nvme-subsys{ctrl.instance}")

    if (found := __nvme_find_get_subsystem(subsys.subnqn)) is not None:
        put_device(subsys.dev)
        subsys = found
        if not nvme_validate_cntlid(subsys, ctrl, id):
            nvme_put_subsystem(subsys)
            return -EINVAL
    else:
        if ret := device_add(subsys.dev):
            dev_err(ctrl.device, "failed to register subsystem device.")
            put_device(subsys.dev)
            return ret
        list_add_tail(subsys, variables().nvme_subsystems, "entry")

    if ret := sysfs_create_link(subsys.dev.kobj, ctrl.device.kobj, dev_name(ctrl.device)):
        dev_err(ctrl.device, "failed to create sysfs link from subsystem.")
        nvme_put_subsystem(subsys)
        return ret
    if found is None:
        subsys.instance = ctrl.instance
    ctrl.subsys = subsys
    list_add_tail(ctrl, subsys.ctrls, "subsys_entry")
    return 0


def nvme_get_log(ctrl: nvme_ctrl, nsid: int, log_page: int, lsp: int, log: object, size: int, offset: int) -> int:
    """Read `size` bytes of a log page, from `offset` on. Returns 0, the controller's status or -errno."""
    dwlen = size // 4 - 1
    c = nvme_command(nvme.nvme_get_log_page_command(
        opcode=nvme_admin_get_log_page, nsid=nsid, lid=log_page, lsp=lsp, numdl=dwlen & 0xFFFF, numdu=dwlen >> 16,
        lpo=offset))
    return nvme_submit_sync_cmd(ctrl.admin_q, c, log, size)


def nvme_get_effects_log(ctrl: nvme_ctrl) -> int:
    """Ask what each command does besides what it is for. Returns 0, the controller's status or -errno."""
    if ctrl.effects is None:
        ctrl.effects = kzalloc(nvme_effects_log, GFP_KERNEL)
    if ctrl.effects is None:
        return 0
    if ret := nvme_get_log(ctrl, NVME_NSID_ALL, NVME_LOG_CMD_EFFECTS, 0, ctrl.effects, sizeof(nvme_effects_log), 0):
        kfree(ctrl.effects)
        ctrl.effects = NULL
    return ret


def nvme_init_identify(ctrl: nvme_ctrl) -> int:
    """Ask a controller what it is, once its admin queue works, and set it up accordingly. Returns 0 or -errno.

    Only the first time is its subsystem sought, and are its quirks looked up.
    """
    # One long list, as in C: what the controller says is taken over field by field.
    ret, ctrl.vs = ctrl.ops.reg_read32(ctrl, NVME_REG_VS)
    if ret:
        dev_err(ctrl.device, f"Reading VS failed ({ret})")
        return ret
    page_shift = NVME_CAP_MPSMIN(ctrl.cap) + 12
    ctrl.sqsize = min(NVME_CAP_MQES(ctrl.cap), ctrl.sqsize)
    if ctrl.vs >= NVME_VS(1, 1, 0):
        ctrl.subsystem = bool(NVME_CAP_NSSRC(ctrl.cap))

    ret, id = nvme_identify_ctrl(ctrl)
    if ret:
        dev_err(ctrl.device, f"Identify Controller failed ({ret})")
        return -EIO
    if id.lpa & NVME_CTRL_LPA_CMD_EFFECTS_LOG:
        if (ret := nvme_get_effects_log(ctrl)) < 0:
            kfree(id)
            return ret
    ctrl.cntlid = id.cntlid

    if not ctrl.identified:
        if ret := nvme_init_subsystem(ctrl, id):
            kfree(id)
            return ret
        for quirk in core_quirks:
            if quirk_matches(id, quirk):
                ctrl.quirks |= quirk.quirks
    ctrl.oacs, ctrl.oncs, ctrl.oaes = id.oacs, id.oncs, id.oaes
    ctrl.abort_limit, ctrl.vwc = id.acl + 1, id.vwc
    max_hw_sectors = 1 << id.mdts + page_shift - 9 if id.mdts else UINT_MAX
    ctrl.max_hw_sectors = min(ctrl.max_hw_sectors, max_hw_sectors) if ctrl.max_hw_sectors else max_hw_sectors
    nvme_set_queue_limits(ctrl, ctrl.admin_q)
    ctrl.sgls = id.sgls

    ctrl.shutdown_timeout = variables().shutdown_timeout  # no controller of the model says that it needs longer (rtd3e)
    kfree(id)
    for configure in (nvme_configure_apst, nvme_configure_timestamp, nvme_configure_directives, nvme_configure_acre):
        if (ret := configure(ctrl)) < 0:
            return ret
    ctrl.identified = True
    return 0


def nvme_dev_open(inode: inode, file: file) -> int:
    """A controller's own node is opened. Returns 0; -EAGAIN where it is not live, -EINVAL where its driver goes."""
    ctrl = inode.i_cdev._owner
    if ctrl.state != NVME_CTRL_LIVE:
        return -EAGAIN
    nvme_get_ctrl(ctrl)
    if not try_module_get(ctrl.ops.module):
        nvme_put_ctrl(ctrl)
        return -EINVAL
    file.private_data = ctrl
    return 0


def nvme_dev_release(inode: inode, file: file) -> int:
    """A controller's own node is closed. Returns 0."""
    ctrl = inode.i_cdev._owner
    module_put(ctrl.ops.module)
    nvme_put_ctrl(ctrl)
    return 0


def nvme_dev_ioctl(file: file, cmd: int, arg: Any) -> int:
    """Reset a controller, or all of its subsystem, or look for namespaces anew. Returns 0 or -errno."""
    ctrl = file.private_data
    if cmd in PASSTHROUGH and PASSTHROUGH[cmd] not in OF_DISKS:
        raise NotModelled(f"the ioctl {PASSTHROUGH[cmd]}")
    if cmd == NVME_IOCTL_RESET:
        dev_warn(ctrl.device, "resetting controller")
        return nvme_reset_ctrl_sync(ctrl)
    if cmd == NVME_IOCTL_SUBSYS_RESET:
        return nvme_reset_subsystem(ctrl)
    if cmd != NVME_IOCTL_RESCAN:
        return -ENOTTY
    nvme_queue_scan(ctrl)
    return 0


nvme_dev_fops = file_operations(open=nvme_dev_open, release=nvme_dev_release, unlocked_ioctl=nvme_dev_ioctl)


def nvme_sysfs_reset(dev: device, buf: str, count: int) -> int:
    """reset_controller: whatever is written resets the controller. Returns `count` or -errno."""
    ret = nvme_reset_ctrl_sync(dev_get_drvdata(dev))
    return ret if ret < 0 else count


def nvme_sysfs_rescan(dev: device, buf: str, count: int) -> int:
    """rescan_controller: whatever is written lets the namespaces be looked at again. Returns `count`."""
    nvme_queue_scan(dev_get_drvdata(dev))
    return count


def wwid_show(dev: device) -> str:
    """wwid: a name of the namespace that is unique in the world: the best that it has, or one made of what it is."""
    head = nvme_get_ns_from_dev(dev).head
    ids, subsys = head.ids, head.subsys
    if any(ids.uuid):
        return f"uuid.{UUID(bytes=ids.uuid)}\n"
    if any(ids.nguid):
        return f"eui.{ids.nguid.hex()}\n"
    if any(ids.eui64):
        return f"eui.{ids.eui64.hex()}\n"
    serial, model = subsys.serial.rstrip(b" \0"), subsys.model.rstrip(b" \0")
    return f"nvme.{subsys.vendor_id:04x}-{serial.hex()}-{model.hex()}-{head.ns_id:08x}\n"


def nguid_show(dev: device) -> str:
    """nguid: the namespace's name of 16 bytes."""
    return f"{UUID(bytes=nvme_get_ns_from_dev(dev).head.ids.nguid)}\n"


def uuid_show(dev: device) -> str:
    """uuid: the namespace's UUID; where it has none, its other name of 16 bytes, as old programs expect."""
    ids = nvme_get_ns_from_dev(dev).head.ids
    if not any(ids.uuid):
        printk_ratelimited("No UUID available providing old NGUID")
        return f"{UUID(bytes=ids.nguid)}\n"
    return f"{UUID(bytes=ids.uuid)}\n"


def eui_show(dev: device) -> str:
    """eui: the namespace's name of 8 bytes."""
    return f"{nvme_get_ns_from_dev(dev).head.ids.eui64.hex(' ')}\n"


def nsid_show(dev: device) -> str:
    """nsid: the namespace's number on the controller."""
    return f"{nvme_get_ns_from_dev(dev).head.ns_id}\n"


def nvme_ns_id_attrs_are_visible(kobj: kobject, attr: attribute, n: int) -> int:
    """The mode of one of a disk's files of names; 0 for a name that the namespace has not."""
    ids = nvme_get_ns_from_dev(kobj._owner).head.ids
    if attr is dev_attr_uuid and not any(ids.uuid) and not any(ids.nguid):
        return 0
    if attr is dev_attr_nguid and not any(ids.nguid):
        return 0
    return 0 if attr is dev_attr_eui and not any(ids.eui64) else attr.mode


dev_attr_uuid = attribute("uuid", 0o444, uuid_show)
dev_attr_nguid = attribute("nguid", 0o444, nguid_show)
dev_attr_eui = attribute("eui", 0o444, eui_show)
nvme_ns_id_attr_group = attribute_group(attrs=(
    attribute("wwid", 0o444, wwid_show), dev_attr_uuid, dev_attr_nguid, dev_attr_eui,
    attribute("nsid", 0o444, nsid_show)), is_visible=nvme_ns_id_attrs_are_visible)
nvme_ns_id_attr_groups = (nvme_ns_id_attr_group,)


def nvme_sysfs_show_transport(dev: device) -> str:
    """transport: how the controller is connected."""
    return f"{dev_get_drvdata(dev).ops.name}\n"


def nvme_sysfs_show_state(dev: device) -> str:
    """state: in which state the controller is."""
    return f"{STATE_NAMES.get(dev_get_drvdata(dev).state, 'unknown state')}\n"


def nvme_sysfs_show_subsysnqn(dev: device) -> str:
    """subsysnqn: the name of the controller's subsystem."""
    return f"{dev_get_drvdata(dev).subsys.subnqn}\n"


def nvme_sysfs_show_address(dev: device) -> str:
    """address: where the controller is."""
    ctrl = dev_get_drvdata(dev)
    return ctrl.ops.get_address(ctrl)


def nvme_dev_attrs_are_visible(kobj: kobject, attr: attribute, n: int) -> int:
    """The mode of one of a controller's files; 0 for what its transport can't do."""
    ctrl = dev_get_drvdata(kobj._owner)
    missing = ((attr is dev_attr_delete_controller and ctrl.ops.delete_ctrl is None)
               or (attr is dev_attr_address and ctrl.ops.get_address is None))
    return 0 if missing else attr.mode


dev_attr_delete_controller = attribute("delete_controller", 0o200)
dev_attr_address = attribute("address", 0o444, nvme_sysfs_show_address)
nvme_dev_attrs_group = attribute_group(attrs=(
    attribute("reset_controller", 0o200, NULL, nvme_sysfs_reset),
    attribute("rescan_controller", 0o200, NULL, nvme_sysfs_rescan),
    attribute("model", 0o444, lambda dev: f"{dev_get_drvdata(dev).subsys.model.decode('latin-1')}\n"),
    attribute("serial", 0o444, lambda dev: f"{dev_get_drvdata(dev).subsys.serial.decode('latin-1')}\n"),
    attribute("firmware_rev", 0o444, lambda dev: f"{dev_get_drvdata(dev).subsys.firmware_rev.decode('latin-1')}\n"),
    attribute("cntlid", 0o444, lambda dev: f"{dev_get_drvdata(dev).cntlid}\n"),
    dev_attr_delete_controller, attribute("transport", 0o444, nvme_sysfs_show_transport),
    attribute("subsysnqn", 0o444, nvme_sysfs_show_subsysnqn), dev_attr_address,
    attribute("state", 0o444, nvme_sysfs_show_state),
    attribute("numa_node", 0o444, lambda dev: f"{dev_get_drvdata(dev).numa_node}\n"),
    attribute("queue_count", 0o444, lambda dev: f"{dev_get_drvdata(dev).queue_count}\n"),
    attribute("sqsize", 0o444, lambda dev: f"{dev_get_drvdata(dev).sqsize}\n")), is_visible=nvme_dev_attrs_are_visible)
nvme_dev_attr_groups = (nvme_dev_attrs_group,)


def __nvme_check_ids(subsys: nvme_subsystem, new: nvme_ns_head) -> int:
    """Check that no other namespace of the subsystem has the same names. Returns 0 or -EINVAL."""
    for head in subsys.nsheads:
        if nvme_ns_ids_valid(new.ids) and nvme_ns_ids_equal(new.ids, head.ids):
            return -EINVAL
    return 0


def nvme_alloc_ns_head(ctrl: nvme_ctrl, nsid: int, id: nvme_id_ns) -> nvme_ns_head:
    """Make a namespace known to its subsystem. Returns it, or ERR_PTR(-errno)."""
    if (head := kzalloc(nvme_ns_head, GFP_KERNEL)) is None:
        return ERR_PTR(-ENOMEM)
    if (ret := ida_simple_get(ctrl.subsys.ns_ida, 1, 0, GFP_KERNEL)) >= 0:
        head.instance = ret
        INIT_LIST_HEAD(head.list)
        if not (ret := init_srcu_struct(head.srcu)):
            head.subsys, head.ns_id = ctrl.subsys, nsid
            kref_init(head.ref, head)
            if not (ret := nvme_report_ns_ids(ctrl, nsid, id, head.ids)):
                if ret := __nvme_check_ids(ctrl.subsys, head):
                    dev_err(ctrl.device, f"duplicate IDs for nsid {nsid}")
            if not ret:
                list_add_tail(head, ctrl.subsys.nsheads, "entry")
                kref_get(ctrl.subsys.ref)
                return head
            cleanup_srcu_struct(head.srcu)
        ida_simple_remove(ctrl.subsys.ns_ida, head.instance)
    kfree(head)
    if ret > 0:
        ret = blk_core.blk_status_to_errno(nvme_error_status(ret))
    return ERR_PTR(ret)


def nvme_init_ns_head(ns: nvme_ns, nsid: int, id: nvme_id_ns) -> int:
    """Tie a controller's namespace to its subsystem's, which is made. Returns 0 or -errno.

    One that several controllers show (bit 0 of id.nmic) is left out: no two get into one subsystem here.
    """
    with ns.ctrl.subsys.lock:
        if IS_ERR(head := nvme_alloc_ns_head(ns.ctrl, nsid, id)):
            return PTR_ERR(head)
        list_add_tail(ns, head.list, "siblings")
    ns.head = head
    return 0


def ns_cmp(priv: object, a: nvme_ns, b: nvme_ns) -> int:
    """Order namespaces by their numbers."""
    return a.head.ns_id - b.head.ns_id


def nvme_find_get_ns(ctrl: nvme_ctrl, nsid: int) -> nvme_ns:
    """The controller's namespace of that number, with a reference; None where there is none. They are in order."""
    with ctrl.namespaces_rwsem.read:
        for ns in ctrl.namespaces:
            if ns.head.ns_id == nsid:
                if not kref_get_unless_zero(ns.kref):
                    continue
                return ns
            if ns.head.ns_id > nsid:
                break
    return NULL


def nvme_setup_streams_ns(ctrl: nvme_ctrl, ns: nvme_ns) -> int:
    """Let a namespace's queue know how much a stream wants to be written at once: there are no streams. Returns 0."""
    return 0


def nvme_alloc_ns(ctrl: nvme_ctrl, nsid: int) -> int:
    """Make a disk of a namespace. Returns 0, or -errno with nothing left of it."""
    node = ctrl.numa_node
    if (ns := kzalloc_node(nvme_ns, GFP_KERNEL, node)) is None:
        return -ENOMEM
    ns.queue = blk_mq.blk_mq_init_queue(ctrl.tagset)
    if IS_ERR(ns.queue):
        ret = PTR_ERR(ns.queue)
        kfree(ns)
        return ret
    blk_core.blk_queue_flag_set(QUEUE_FLAG_NONROT, ns.queue)
    if ctrl.ops.flags & NVME_F_PCI_P2PDMA:
        blk_core.blk_queue_flag_set(QUEUE_FLAG_PCI_P2PDMA, ns.queue)
    ns.queue.queuedata = ns
    ns.ctrl = ctrl
    kref_init(ns.kref, ns)
    ns.lba_shift = 9  # until the disk is looked at
    blk_settings.blk_queue_logical_block_size(ns.queue, 1 << ns.lba_shift)
    nvme_set_queue_limits(ctrl, ns.queue)

    ret, id = nvme_identify_ns(ctrl, nsid)
    if not ret:
        ret = -EINVAL if id.ncap == 0 else nvme_init_ns_head(ns, nsid, id)
        if not ret:
            nvme_setup_streams_ns(ctrl, ns)
            if (disk := genhd.__alloc_disk_node(0, node)) is not None:
                disk.fops, disk.private_data, disk.queue, disk.flags = nvme_fops, ns, ns.queue, GENHD_FL_EXT_DEVT
                disk.disk_name = nvme_set_disk_name(ns, ctrl)
                ns.disk = disk
                __nvme_revalidate_disk(disk, id)
                with ctrl.namespaces_rwsem:
                    list_add_tail(ns, ctrl.namespaces, "list")
                nvme_get_ctrl(ctrl)
                genhd.device_add_disk(ctrl.device, ns.disk, nvme_ns_id_attr_groups)
                kfree(id)
                return 0
            ret = -ENOMEM
            with ctrl.subsys.lock:
                list_del_init(ns, "siblings")
                if list_empty(ns.head.list):
                    list_del_init(ns.head, "entry")
            nvme_put_ns_head(ns.head)
        kfree(id)
    blk_core.blk_cleanup_queue(ns.queue)
    kfree(ns)
    if ret > 0:
        ret = blk_core.blk_status_to_errno(nvme_error_status(ret))
    return ret


def nvme_ns_remove(ns: nvme_ns) -> None:
    """Take a namespace away, and its disk. It lives until nobody has it open."""
    if ns.flags >> NVME_NS_REMOVING & 1:
        return
    ns.flags |= 1 << NVME_NS_REMOVING
    with ns.ctrl.subsys.lock:
        list_del_init(ns, "siblings")
        if list_empty(ns.head.list):
            list_del_init(ns.head, "entry")
    synchronize_rcu()
    synchronize_srcu(ns.head.srcu)
    if ns.disk is not None and ns.disk.flags & GENHD_FL_UP:
        genhd.del_gendisk(ns.disk)
        blk_core.blk_cleanup_queue(ns.queue)
    with ns.ctrl.namespaces_rwsem:
        list_del_init(ns, "list")
    nvme_put_ns(ns)


def nvme_validate_ns(ctrl: nvme_ctrl, nsid: int) -> None:
    """Look at a namespace that the controller has: a new one becomes a disk, one that changed for good is removed."""
    if (ns := nvme_find_get_ns(ctrl, nsid)) is not None:
        if ns.disk is not None and block_dev.revalidate_disk(ns.disk):
            nvme_ns_remove(ns)
        nvme_put_ns(ns)
    else:
        nvme_alloc_ns(ctrl, nsid)


def nvme_remove_invalid_namespaces(ctrl: nvme_ctrl, nsid: int) -> None:
    """Remove the namespaces above number `nsid`, and the dead ones."""
    rm_list = list_head()
    with ctrl.namespaces_rwsem:
        for ns in ctrl.namespaces:
            if ns.head.ns_id > nsid or ns.flags >> NVME_NS_DEAD & 1:
                list_move_tail(ns, rm_list, "list")
    for ns in rm_list:
        nvme_ns_remove(ns)


def nvme_scan_ns_list(ctrl: nvme_ctrl, nn: int) -> int:
    """Look at all namespaces that the controller lists, and remove the others. Returns 0, its status or -errno."""
    if (ns_list := kcalloc(NVME_IDENTIFY_DATA_SIZE // 4, "u32", GFP_KERNEL)) is None:
        return -ENOMEM
    prev, ended = 0, False
    for _ in range(-(-nn // 1024)):
        if ret := nvme_identify_ns_list(ctrl, prev, ns_list):
            kfree(ns_list)
            return ret
        looked_at = 0
        for nsid in ns_list[:min(nn, 1024)]:
            if not nsid:
                ended = True
                break
            nvme_validate_ns(ctrl, nsid)
            prev += 1
            while prev < nsid:
                if (ns := nvme_find_get_ns(ctrl, prev)) is not None:
                    nvme_ns_remove(ns)
                    nvme_put_ns(ns)
                prev += 1
            looked_at += 1
        if ended:
            break
        nn -= looked_at
    nvme_remove_invalid_namespaces(ctrl, prev)
    kfree(ns_list)
    return 0


def nvme_scan_ns_sequential(ctrl: nvme_ctrl, nn: int) -> None:
    """Look at all numbers that a namespace could have."""
    for i in range(1, nn + 1):
        nvme_validate_ns(ctrl, i)
    nvme_remove_invalid_namespaces(ctrl, nn)


def nvme_scan_work(work: work_struct) -> None:
    """Look which namespaces a controller has: by its list, or, where it gives none, number by number."""
    ctrl = work.data
    if ctrl.state != NVME_CTRL_LIVE or ctrl.tagset is None:
        return
    ret, id = nvme_identify_ctrl(ctrl)
    if ret:
        return
    with ctrl.scan_lock:
        nn = id.nn
        if nvme_ctrl_limited_cns(ctrl) or nvme_scan_ns_list(ctrl, nn):
            nvme_scan_ns_sequential(ctrl, nn)
    kfree(id)
    with ctrl.namespaces_rwsem:
        list_sort(None, ctrl.namespaces, ns_cmp)


def nvme_remove_namespaces(ctrl: nvme_ctrl) -> None:
    """Remove all namespaces of a controller. Of one that is dead nothing can be written back."""
    flush_work(ctrl.scan_work)
    if ctrl.state == NVME_CTRL_DEAD:
        nvme_kill_queues(ctrl)
    ns_list = list_head()
    with ctrl.namespaces_rwsem:
        list_splice_init(ctrl.namespaces, ns_list, "list")
    for ns in ns_list:
        nvme_ns_remove(ns)


def nvme_class_uevent(dev: device) -> list[str]:
    """What user space is told of a controller besides: how it is connected."""
    ctrl = dev._owner
    return [f"NVME_TRTYPE={ctrl.ops.name}"]


def nvme_async_event_work(work: work_struct) -> None:
    """Deal with an event, and ask for the next."""
    ctrl = work.data
    ctrl.ops.submit_async_event(ctrl)


def nvme_complete_async_event(ctrl: nvme_ctrl, status: int) -> None:
    """A controller tells of an event, or cannot: let the next be asked for. What an event sets off is left out."""
    if status >> 1 == NVME_SC_SUCCESS:
        queue_work(variables().nvme_wq, ctrl.async_event_work)


def nvme_stop_ctrl(ctrl: nvme_ctrl) -> None:
    """End what a controller's workers do, but for the reset and the scan."""
    nvme_stop_keep_alive(ctrl)
    flush_work(ctrl.async_event_work)


def nvme_start_ctrl(ctrl: nvme_ctrl) -> None:
    """A controller is live: listen to its events and, with I/O queues, look for its namespaces and let I/O begin."""
    nvme_enable_aen(ctrl)
    if ctrl.queue_count > 1:
        nvme_queue_scan(ctrl)
        nvme_start_queues(ctrl)
    ctrl.created = True


def nvme_uninit_ctrl(ctrl: nvme_ctrl) -> None:
    """Take a controller's own node away."""
    cdev_device_del(ctrl.cdev, ctrl.device)


def nvme_free_ctrl(dev: device) -> None:
    """The last reference to a controller is gone. Its number is its subsystem's, if it was the first there."""
    ctrl = dev._owner
    subsys = ctrl.subsys
    if subsys is None or ctrl.instance != subsys.instance:
        ida_simple_remove(variables().nvme_instance_ida, ctrl.instance)
    kfree(ctrl.effects)
    __free_page(ctrl.discard_page)
    if subsys is not None:
        list_del_init(ctrl, "subsys_entry")
        sysfs_remove_link(subsys.dev.kobj, dev_name(ctrl.device))
    ctrl.ops.free_ctrl(ctrl)
    if subsys is not None:
        nvme_put_subsystem(subsys)


def nvme_init_ctrl(ctrl: nvme_ctrl, dev: device, ops: nvme_ctrl_ops, quirks: int) -> int:
    """Initialise a controller, give it a number, and make its own node. Returns 0 or -errno."""
    ctrl.state = NVME_CTRL_NEW
    INIT_LIST_HEAD(ctrl.namespaces)
    ctrl.dev, ctrl.ops, ctrl.quirks = dev, ops, quirks
    INIT_WORK(ctrl.scan_work, nvme_scan_work, ctrl)
    INIT_WORK(ctrl.async_event_work, nvme_async_event_work, ctrl)

    ctrl.discard_page = alloc_page(GFP_KERNEL)
    if ctrl.discard_page is None:
        return -ENOMEM
    if (ret := ida_simple_get(variables().nvme_instance_ida, 0, 0, GFP_KERNEL)) < 0:
        __free_page(ctrl.discard_page)
        return ret
    ctrl.instance = ret

    device_initialize(ctrl.ctrl_device, ctrl)
    ctrl.device = ctrl.ctrl_device
    ctrl.device.devt = MKDEV(MAJOR(variables().nvme_chr_devt), ctrl.instance)
    ctrl.device.class_ = variables().nvme_class
    ctrl.device.parent, ctrl.device.groups, ctrl.device.release = ctrl.dev, nvme_dev_attr_groups, nvme_free_ctrl
    dev_set_drvdata(ctrl.device, ctrl)
    if not (ret := dev_set_name(ctrl.device, f"nvme{ctrl.instance}")):
        nvme_get_ctrl(ctrl)
        cdev_init(ctrl.cdev, nvme_dev_fops, ctrl)
        ctrl.cdev.owner = ops.module
        if not (ret := cdev_device_add(ctrl.cdev, ctrl.device)):
            return 0
        nvme_put_ctrl(ctrl)
    ida_simple_remove(variables().nvme_instance_ida, ctrl.instance)
    __free_page(ctrl.discard_page)
    return ret


def nvme_kill_queues(ctrl: nvme_ctrl) -> None:
    """End all queues of a controller that will do no I/O any more."""
    with ctrl.namespaces_rwsem.read:
        if ctrl.admin_q is not None and not blk_queue_dying(ctrl.admin_q):
            blk_mq.blk_mq_unquiesce_queue(ctrl.admin_q)
        for ns in ctrl.namespaces:
            nvme_set_queue_dying(ns)


def nvme_unfreeze(ctrl: nvme_ctrl) -> None:
    """Let submitters in again, to all namespaces."""
    with ctrl.namespaces_rwsem.read:
        for ns in ctrl.namespaces:
            blk_mq.blk_mq_unfreeze_queue(ns.queue)


def nvme_wait_freeze(ctrl: nvme_ctrl) -> None:
    """Wait until all namespaces' queues are empty."""
    with ctrl.namespaces_rwsem.read:
        for ns in ctrl.namespaces:
            blk_mq.blk_mq_freeze_queue_wait(ns.queue)


def nvme_start_freeze(ctrl: nvme_ctrl) -> None:
    """Let nobody into the namespaces' queues any more."""
    with ctrl.namespaces_rwsem.read:
        for ns in ctrl.namespaces:
            blk_mq.blk_freeze_queue_start(ns.queue)


def nvme_stop_queues(ctrl: nvme_ctrl) -> None:
    """Let no request of any namespace be sent from now on."""
    with ctrl.namespaces_rwsem.read:
        for ns in ctrl.namespaces:
            blk_mq.blk_mq_quiesce_queue(ns.queue)


def nvme_start_queues(ctrl: nvme_ctrl) -> None:
    """Let requests of all namespaces be sent again."""
    with ctrl.namespaces_rwsem.read:
        for ns in ctrl.namespaces:
            blk_mq.blk_mq_unquiesce_queue(ns.queue)


def nvme_sync_io_queues(ctrl: nvme_ctrl) -> None:
    """Wait until no namespace's timeouts are being handled."""
    with ctrl.namespaces_rwsem.read:
        for ns in ctrl.namespaces:
            blk_core.blk_sync_queue(ns.queue)


def nvme_sync_queues(ctrl: nvme_ctrl) -> None:
    """Wait until no timeouts are being handled, of namespaces or of the admin queue."""
    nvme_sync_io_queues(ctrl)
    if ctrl.admin_q is not None:
        blk_core.blk_sync_queue(ctrl.admin_q)


def nvme_core_init() -> int:
    """The module is loaded: make workers, numbers and classes. Returns 0 or -errno."""
    own, result = variables(), -ENOMEM
    own.nvme_wq = alloc_workqueue("nvme-wq", WQ_UNBOUND | WQ_MEM_RECLAIM)
    if own.nvme_wq is not None:
        own.nvme_reset_wq = alloc_workqueue("nvme-reset-wq", WQ_UNBOUND | WQ_MEM_RECLAIM)
        if own.nvme_reset_wq is not None:
            own.nvme_delete_wq = alloc_workqueue("nvme-delete-wq", WQ_UNBOUND | WQ_MEM_RECLAIM)
            if own.nvme_delete_wq is not None:
                result, own.nvme_chr_devt = alloc_chrdev_region(0, NVME_MINORS, "nvme")
                if not result:
                    own.nvme_class = class_create("nvme")
                    if not IS_ERR(own.nvme_class):
                        own.nvme_class.dev_uevent = nvme_class_uevent
                        own.nvme_subsys_class = class_create("nvme-subsystem")
                        if not IS_ERR(own.nvme_subsys_class):
                            return 0
                        result = PTR_ERR(own.nvme_subsys_class)
                        class_destroy(own.nvme_class)
                    else:
                        result = PTR_ERR(own.nvme_class)
                    unregister_chrdev_region(own.nvme_chr_devt, NVME_MINORS)
                destroy_workqueue(own.nvme_delete_wq)
            destroy_workqueue(own.nvme_reset_wq)
        destroy_workqueue(own.nvme_wq)
    return result


def nvme_core_exit() -> None:
    """The module is unloaded; no controller is left."""
    own = variables()
    class_destroy(own.nvme_subsys_class)
    class_destroy(own.nvme_class)
    unregister_chrdev_region(own.nvme_chr_devt, NVME_MINORS)
    destroy_workqueue(own.nvme_delete_wq)
    destroy_workqueue(own.nvme_reset_wq)
    destroy_workqueue(own.nvme_wq)
