"""Device numbers (include/linux/kdev_t.h)."""


MINORBITS = 20
MINORMASK = (1 << MINORBITS) - 1


def MAJOR(dev: int) -> int:
    return dev >> MINORBITS


def MINOR(dev: int) -> int:
    return dev & MINORMASK


def MKDEV(major: int, minor: int) -> int:
    """A number of 32 bits; what is too large for its part loses bits, or runs into the other."""
    return (major << MINORBITS | minor) & 0xFFFFFFFF


def new_encode_dev(dev: int) -> int:
    """A device number as user space is told it: 12 bits of major, between 8 and 12 bits of minor."""
    return MINOR(dev) & 0xFF | MAJOR(dev) << 8 | (MINOR(dev) & ~0xFF) << 12


def new_decode_dev(dev: int) -> int:
    """A device number from what user space gave, of which 32 bits count."""
    return MKDEV((dev & 0xFFF00) >> 8, dev & 0xFF | dev >> 12 & 0xFFF00)


huge_encode_dev = new_encode_dev
huge_decode_dev = new_decode_dev


def format_dev_t(dev: int) -> str:
    return f"{MAJOR(dev)}:{MINOR(dev)}"
