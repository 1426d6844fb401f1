"""Registers of 64 bits in two accesses, the lower half first (include/linux/io-64-nonatomic-lo-hi.h)."""

from blkmodel.services.devices.io import readl, writel


def lo_hi_readq(addr: int) -> int:
    low = readl(addr)
    return readl(addr + 4) << 32 | low


def lo_hi_writeq(value: int, addr: int) -> None:
    writel(value & 0xFFFFFFFF, addr)
    writel(value >> 32, addr + 4)
