"""Device registers in the kernel's address space."""

from blkmodel.sim.bus import bus


def ioremap(start, size):
    """Make `size` bytes of a device's window accessible; return the address. (The model's is the window's own.)"""
    return start


def iounmap(addr):
    """Undo ioremap()."""


def readl(addr):
    """Read a register of 32 bits. Where no device answers, all bits are one."""
    return bus().read(addr)


def writel(value, addr):
    """Write a register of 32 bits. What the device does of it, it may do later."""
    bus().write(addr, value)
