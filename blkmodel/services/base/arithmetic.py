"""Small arithmetic, and what becomes of a number that is put where C has fewer bits for it, or no sign
(include/linux/kernel.h, lib/math/lcm.c, log2.h)."""

from math import lcm


def min_not_zero(a: int, b: int) -> int:
    """The smaller of two numbers of which 0 stands for none."""
    return min(a, b) if a and b else a or b


def round_down(number: int, multiple: int) -> int:
    return number - number % multiple


def round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def lcm_not_zero(a: int, b: int) -> int:
    """The least common multiple of two numbers of which 0 stands for none."""
    return lcm(a, b) or b or a


def is_power_of_2(number: int) -> bool:
    return number != 0 and number & (number - 1) == 0


def ilog2(number: int) -> int:
    return number.bit_length() - 1


def signed_int(number: int) -> int:
    return (number + (1 << 31) & 0xFFFFFFFF) - (1 << 31)


def unsigned_int(number: int) -> int:
    return number & 0xFFFFFFFF


def unsigned_long(number: int) -> int:
    return number & 0xFFFFFFFFFFFFFFFF
