"""Pseudo-random numbers. The same seed of a kernel gives the same ones (lib/random32.c)."""

from blkmodel.sim import this


def prandom_u32() -> int:
    return this().random.getrandbits(32)
