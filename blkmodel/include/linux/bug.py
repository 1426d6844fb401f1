"""What a kernel does about the impossible."""

from blkmodel.sim import this


class KernelBug(AssertionError):
    """BUG(): the kernel would stop here."""


def WARN_ON(condition, what=""):
    """Log a warning where the condition holds; return whether it does."""
    if condition:
        kernel = this()
        kernel.printk(f"WARNING: CPU: {kernel.cpu}: {what}".rstrip(": "))
    return bool(condition)


WARN_ON_ONCE = WARN_ON


def BUG_ON(condition, what=""):
    if condition:
        raise KernelBug(what)
