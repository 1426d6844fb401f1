"""Linked lists, and hash tables, which are arrays of lists. A head keeps its entries in order; an entry's field says
which list (or bucket) it is on, or None (include/linux/list.h, lib/list_sort.c, hashtable.h, hash.h).

In C the entry embeds a node; here the field that would hold the node is named by the caller.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Any

from blkmodel.sim import Struct

GOLDEN_RATIO_64 = 0x61C8864680B583EB


class list_head(Struct, size=16):
    """The head of a list; iterating gives a snapshot of its entries, so that they may be removed on the way."""

    __slots__ = ("entries",)

    def __init__(self) -> None:
        self.entries: OrderedDict[Any, None] = OrderedDict()

    def __iter__(self) -> Iterator[Any]:
        return iter(tuple(self.entries))

    def __len__(self) -> int:
        return len(self.entries)

    def __bool__(self) -> bool:
        return True


def INIT_LIST_HEAD(head: list_head) -> None:
    head.entries.clear()


def list_add_tail(entry: Any, head: list_head, member: str) -> None:
    """Add `entry` at the end of the list; `member` names its list field."""
    head.entries[entry] = None
    setattr(entry, member, head)


def list_add(entry: Any, head: list_head, member: str) -> None:
    """Add `entry` at the front of the list."""
    entries = head.entries
    entries[entry] = None
    entries.move_to_end(entry, last=False)
    setattr(entry, member, head)


def list_del_init(entry: Any, member: str) -> None:
    """Take `entry` off the list it is on; off none, nothing happens."""
    if (head := getattr(entry, member)) is not None:
        del head.entries[entry]
        setattr(entry, member, None)


def list_move_tail(entry: Any, head: list_head, member: str) -> None:
    list_del_init(entry, member)
    list_add_tail(entry, head, member)


def list_move(entry: Any, head: list_head, member: str) -> None:
    list_del_init(entry, member)
    list_add(entry, head, member)


def list_replace_init(old: Any, new: Any, member: str) -> None:
    """Put `new`, from whichever list it is on, where `old` is, and take `old` off."""
    head = getattr(old, member)
    list_del_init(new, member)
    entries = list(head.entries)
    entries[entries.index(old)] = new
    head.entries = OrderedDict.fromkeys(entries)
    setattr(new, member, head)
    setattr(old, member, None)


def list_empty(head: list_head) -> bool:
    return not head.entries


def list_first_entry(head: list_head) -> Any:
    """The first entry; the list must not be empty."""
    return next(iter(head.entries))


def list_first_entry_or_null(head: list_head) -> Any:
    return next(iter(head.entries), None)


def list_last_entry(head: list_head) -> Any:
    return next(reversed(head.entries))


def list_is_singular(head: list_head) -> bool:
    return len(head.entries) == 1


def list_next_entry(entry: Any, member: str) -> Any:
    """The entry after this one on its list, or None at the end. Linear in the list's length."""
    following = iter(getattr(entry, member).entries)
    for other in following:
        if other is entry:
            return next(following, None)
    return None


def list_for_each(head: Callable[[], list_head]) -> Iterator[Any]:
    """The entries of the list that head() returns; it is asked for again before each entry, and at the end. (In C a
    macro, which names the head in the condition of a loop.)"""
    for entry in head():
        head()
        yield entry
    head()


def list_splice_init(source: list_head, head: list_head, member: str) -> None:
    """Move all entries of `source` to the front of `head`, in their order."""
    for entry in reversed(tuple(source.entries)):
        list_move(entry, head, member)


def list_splice_tail_init(source: list_head, head: list_head, member: str) -> None:
    """Move all entries of `source` to the end of `head`, in their order."""
    for entry in tuple(source.entries):
        list_move_tail(entry, head, member)


def list_sort(priv: Any, head: list_head, cmp: Callable[[Any, Any, Any], int]) -> None:
    """Sort a list; equal entries keep their order. cmp(priv, a, b) is above 0 where a must come after b; it is asked of
    those pairs, in that order, of which the kernel asks it: runs are merged two by two as they come, the rest at the
    end."""
    def merged(older: list[Any], younger: list[Any]) -> list[Any]:
        runs, made = (deque(older), deque(younger)), list[Any]()
        while all(runs):
            made.append(runs[cmp(priv, runs[0][0], runs[1][0]) > 0].popleft())
        return [*made, *runs[0], *runs[1]]
    pending = list[list[Any]]()
    for count, entry in enumerate(head.entries):
        ones = (count ^ (count + 1)).bit_length() - 1  # at the low end of count
        if count >> ones:
            at = len(pending) - ones - 1
            pending[at - 1:at + 1] = [merged(*pending[at - 1:at + 1])]
        pending.append([entry])
    while len(pending) > 1:
        younger = pending.pop()
        pending[-1] = merged(pending[-1], younger)
    head.entries = OrderedDict.fromkeys(*pending or ((),))


def DECLARE_HASHTABLE(bits: int) -> list[list_head]:
    """A table of 2**bits empty buckets."""
    return [list_head() for _ in range(1 << bits)]


def hash_add(table: list[list_head], entry: Any, member: str, key: int) -> None:
    """Add at the front of the key's bucket."""
    list_add(entry, hash_for_each_possible(table, key), member)


hash_del = list_del_init


def hash_for_each_possible(table: list[list_head], key: int) -> list_head:
    """The bucket where entries with this key are, newest first, among others. (In C hash_64() says which.)"""
    return table[(key * GOLDEN_RATIO_64 & 0xFFFFFFFFFFFFFFFF) * len(table) >> 64]
