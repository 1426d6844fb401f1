"""The kernel's sort: sorted, and ties where the kernel's heap puts them."""

from hypothesis import given, strategies as st

from blkmodel.lib.sort import sort


def by_key(a, b):
    return a[0] - b[0]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers()), max_size=40))
def test_sorts(items):
    copy = list(items)
    sort(copy, len(copy), 8, by_key, None)
    assert [a for a, _ in copy] == sorted(a for a, _ in items)
    assert sorted(copy) == sorted(items)


def in_bytes(items, cmp):
    """The C function, statement by statement, with its byte offsets (elements of 8 bytes)."""
    base, size = list(items), 8
    n, a = len(base) * size, len(base) // 2 * size
    if not a:
        return base
    while True:
        if a:
            a -= size
        else:
            n -= size
            if not n:
                return base
            base[0], base[n // size] = base[n // size], base[0]
        b = a
        while True:
            c = 2 * b + size
            d = c + size
            if not d < n:
                break
            b = c if cmp(base[c // size], base[d // size]) >= 0 else d
        if d == n:
            b = c
        while b != a and cmp(base[a // size], base[b // size]) >= 0:
            b = parent(b, size)
        c = b
        while b != a:
            b = parent(b, size)
            base[b // size], base[c // size] = base[c // size], base[b // size]


def parent(i, size):
    i -= size
    i -= size & -(i & (size & -size))
    return i // 2


@given(st.lists(st.integers(0, 3), max_size=24))
def test_ties_end_up_as_in_c(keys):
    items = list(zip(keys, range(len(keys)), strict=True))
    ours = list(items)
    sort(ours, len(ours), 8, by_key, None)
    assert ours == in_bytes(items, by_key)


def test_ties_change_places():
    """It is no stable sort: four equal nodes do not come out in their order."""
    items = [(1, name) for name in "abcd"]
    sort(items, 4, 8, by_key, None)
    assert "".join(name for _, name in items) == "bcda"


@given(st.lists(st.integers(), max_size=20), st.integers(0, 20))
def test_leaves_the_rest_alone(items, num):
    num = min(num, len(items))
    copy = list(items)
    sort(copy, num, 8, lambda a, b: a - b, None)
    assert copy == sorted(items[:num]) + items[num:]
