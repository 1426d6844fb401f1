"""Whether this kernel was booted to save the memory of one that crashed (include/linux/crash_dump.h)."""

from blkmodel.sim import this


def is_kdump_kernel() -> bool:
    return this().machine.kdump
