"""Lists: in which order a sort compares, which a recording shows."""

from hypothesis import given, strategies as st

from blkmodel.services.data.list import list_add_tail, list_head, list_sort


class Entry:
    def __init__(self, key, place):
        self.key, self.place, self.on = key, place, None


def compared(keys):
    """Sort entries with such keys; return them, and the pairs that were compared."""
    head, pairs = list_head(), []

    def cmp(priv, a, b):
        pairs.append((a.key, b.key))
        return a.key - b.key
    for place, key in enumerate(keys):
        list_add_tail(Entry(key, place), head, "on")
    list_sort(None, head, cmp)
    return [(entry.key, entry.place) for entry in head], pairs


def test_runs_are_merged_as_they_come():
    """Two wait until a third has come, and are merged first; what is left at the end, from the end."""
    assert compared([]) == ([], [])
    assert compared([1, 2])[1] == [(1, 2)]
    assert compared([1, 2, 3])[1] == [(1, 2), (1, 3), (2, 3)]
    assert compared([1, 2, 3, 4])[1] == [(1, 2), (3, 4), (1, 3), (2, 3)]
    assert compared([4, 3, 2, 1])[1] == [(4, 3), (2, 1), (3, 1), (3, 2)]


@given(st.lists(st.integers(0, 9), max_size=70))
def test_equal_entries_keep_their_order(keys):
    entries, pairs = compared(keys)
    assert entries == sorted(zip(keys, range(len(keys)), strict=True))
    assert len(pairs) <= len(keys) * len(keys).bit_length()
