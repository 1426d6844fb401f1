"""Device registers in the kernel's address space."""


def ioremap(start, size):
    """Make `size` bytes of a device's window accessible; return the address. (The model's is the window's own.)"""
    return start


def iounmap(addr):
    """Undo ioremap()."""
