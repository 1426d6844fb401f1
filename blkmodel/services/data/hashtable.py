"""Hash tables: an array of lists. An entry's field holds the list (bucket) it is on, or None
(include/linux/hashtable.h, hash.h)."""

from typing import Any

from blkmodel.services.data.list import list_add, list_del_init, list_head

GOLDEN_RATIO_64 = 0x61C8864680B583EB


def DECLARE_HASHTABLE(bits: int) -> list[list_head]:
    """A table of 2**bits empty buckets."""
    return [list_head() for _ in range(1 << bits)]


def hash_64(value: int, bits: int) -> int:
    """Spread a 64-bit number over 2**bits buckets."""
    return (value * GOLDEN_RATIO_64 & 0xFFFFFFFFFFFFFFFF) >> (64 - bits)


def hash_add(table: list[list_head], entry: Any, member: str, key: int) -> None:
    """Add at the front of the key's bucket."""
    list_add(entry, hash_for_each_possible(table, key), member)


def hash_del(entry: Any, member: str) -> None:
    list_del_init(entry, member)


def hash_for_each_possible(table: list[list_head], key: int) -> list_head:
    """The bucket where entries with this key are, newest first, among others."""
    return table[hash_64(key, len(table).bit_length() - 1)]
