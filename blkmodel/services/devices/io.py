"""Device registers in the kernel's address space; those of 64 bits in two accesses, the lower half first
(include/asm-generic/io.h, io-64-nonatomic-lo-hi.h)."""

from blkmodel.sim.bus import bus


def ioremap(start: int, size: int) -> int:
    """Make `size` bytes of a device's window accessible; return the address. (The model's is the window's own.)"""
    return start


def iounmap(addr: int) -> None:
    """Give up the addresses that ioremap() returned. (The model took none.)"""


def readl(addr: int) -> int:
    """Read a register of 32 bits. Where no device answers, all bits are one."""
    return bus().read(addr)


def writel(value: int, addr: int) -> None:
    """Write a register of 32 bits. What the device does of it, it may do later."""
    bus().write(addr, value)


def lo_hi_readq(addr: int) -> int:
    low = readl(addr)
    return readl(addr + 4) << 32 | low


def lo_hi_writeq(value: int, addr: int) -> None:
    writel(value & 0xFFFFFFFF, addr)
    writel(value >> 32, addr + 4)
