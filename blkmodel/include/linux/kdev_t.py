"""Device numbers."""

MINORBITS = 20
MINORMASK = (1 << MINORBITS) - 1


def MAJOR(dev):
    return dev >> MINORBITS


def MINOR(dev):
    return dev & MINORMASK


def MKDEV(major, minor):
    return major << MINORBITS | minor
