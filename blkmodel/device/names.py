"""What commands are called: opcode → the name that QEMU's controller has for it."""

from blkmodel.include.linux import nvme

ADMIN = {
    nvme.nvme_admin_delete_sq: "DELETE_SQ", nvme.nvme_admin_create_sq: "CREATE_SQ",
    nvme.nvme_admin_get_log_page: "GET_LOG_PAGE", nvme.nvme_admin_delete_cq: "DELETE_CQ",
    nvme.nvme_admin_create_cq: "CREATE_CQ", nvme.nvme_admin_identify: "IDENTIFY", nvme.nvme_admin_abort_cmd: "ABORT",
    nvme.nvme_admin_set_features: "SET_FEATURES", nvme.nvme_admin_get_features: "GET_FEATURES",
    nvme.nvme_admin_async_event: "ASYNC_EV_REQ", nvme.nvme_admin_dbbuf: "DBBUF_CONFIG",
    nvme.nvme_admin_directive_send: "DIRECTIVE_SEND", nvme.nvme_admin_directive_recv: "DIRECTIVE_RECV",
    nvme.nvme_admin_ns_attach: "NS_ATTACHMENT", nvme.nvme_admin_format_nvm: "FORMAT_NVM"}
IO = {nvme.nvme_cmd_flush: "FLUSH", nvme.nvme_cmd_write: "WRITE", nvme.nvme_cmd_read: "READ",
      nvme.nvme_cmd_compare: "COMPARE", nvme.nvme_cmd_write_zeroes: "WRITE_ZEROES", nvme.nvme_cmd_dsm: "DSM"}
