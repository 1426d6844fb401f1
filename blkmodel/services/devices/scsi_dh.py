"""Device handlers of SCSI disks, which this kernel is without (CONFIG_SCSI_DH is not set): one of their answers
(include/scsi/scsi_dh.h)."""

SCSI_DH_DEV_OFFLINED = 14
