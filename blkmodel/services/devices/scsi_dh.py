"""Device handlers of SCSI disks: what activates the paths of some storage arrays.

This is a kernel without them (CONFIG_SCSI_DH is not set): any may be asked for, and none does anything.
"""

SCSI_DH_OK, SCSI_DH_DEV_TEMP_BUSY = 0, 2
SCSI_DH_RETRY, SCSI_DH_IMM_RETRY = 10, 11
SCSI_DH_RES_TEMP_UNAVAIL, SCSI_DH_DEV_OFFLINED, SCSI_DH_NOSYS = 13, 14, 16


def scsi_dh_activate(q, fn, data):
    fn(data, SCSI_DH_OK)
    return 0


def scsi_dh_attach(q, name):
    return SCSI_DH_NOSYS


def scsi_dh_attached_handler_name(q, gfp):
    return None


def scsi_dh_set_params(q, params):
    return -SCSI_DH_NOSYS
