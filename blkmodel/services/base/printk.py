"""The kernel's log (include/linux/printk.h)."""

from blkmodel.sim import this


def pr_err(line: str) -> None:
    this().printk(line)


pr_warn = pr_info = pr_err
