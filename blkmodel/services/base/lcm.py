"""Least common multiples (lib/math/lcm.c)."""

from math import lcm


def lcm_not_zero(a: int, b: int) -> int:
    """The least common multiple of two numbers of which 0 stands for none."""
    return lcm(a, b) or b or a
