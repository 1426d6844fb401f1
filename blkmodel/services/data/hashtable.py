"""Hash tables: an array of lists. An entry's field holds the list (bucket) it is on, or None."""

from blkmodel.services.data.list import list_add, list_del_init, list_head

GOLDEN_RATIO_64 = 0x61C8864680B583EB


def DECLARE_HASHTABLE(bits):
    """A table of 2**bits empty buckets."""
    return [list_head() for _ in range(1 << bits)]


def hash_64(value, bits):
    """Spread a 64-bit number over 2**bits buckets."""
    return (value * GOLDEN_RATIO_64 & 0xFFFFFFFFFFFFFFFF) >> (64 - bits)


def hash_add(table, entry, member, key):
    """Add at the front of the key's bucket."""
    list_add(entry, hash_for_each_possible(table, key), member)


def hash_del(entry, member):
    list_del_init(entry, member)


def hash_for_each_possible(table, key):
    """The bucket where entries with this key are, newest first, among others."""
    return table[hash_64(key, len(table).bit_length() - 1)]
