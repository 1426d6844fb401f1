"""Bits of words. A word is a number; bits at and above `size` do not count (lib/find_bit.c, bitops.h,
include/asm-generic/bitops/non-atomic.h)."""

from typing import Any


def find_next_zero_bit(word: int, size: int, offset: int) -> int:
    """The lowest clear bit from `offset` on; `size` where there is none."""
    clear = (~word & (1 << size) - 1) >> offset << offset
    return (clear & -clear).bit_length() - 1 if clear else size


def find_next_bit(word: int, size: int, offset: int) -> int:
    """The lowest set bit from `offset` on; `size` where there is none."""
    return find_next_zero_bit(~word, size, offset)


def assign_bit(bit: int, word: int, value: Any) -> int:
    """The word with that bit as `value` says."""
    return word & ~(1 << bit) | bool(value) << bit


def test_bit(bit: int, word: int) -> bool:
    return word >> bit & 1 != 0
