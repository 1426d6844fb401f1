"""What a shell keeps of a function, and what it drops."""

from typing import Any

import pytest

from blkmodel.include.linux.blk_mq import blk_mq_ops
from blkmodel.reference import mirror
from blkmodel.reference.mirror import MirrorFunction
from tests.tools.hollow.shell import hollow_out, returns_value, shell


def other(x):
    return x + 1


def unrelated(x):
    raise AssertionError("a shell calls only the mirror")


def stores(q, n):
    """Sets fields."""
    q.depth = n
    q.items[n] = other(n)
    unrelated(q)
    return q.depth


def loops(q, cpus):
    total = 0
    for cpu in cpus:
        total += cpu
        other(cpu)
    for cpu in cpus:
        q.seen = cpu
    if not total:
        unrelated(q)
    return other(total) or None


def only_calls(q):
    """Nothing of its own."""
    other(q)


def through_a_table(q):
    q.mq_ops.queue_rq(q)
    q.items.append(q)


def unpacks(q):
    q.head, second = other(q), 2
    other(second)


@pytest.fixture(autouse=True)
def fake_mirror(monkeypatch):
    functions: list[Any] = [other, stores, loops, only_calls, through_a_table, unpacks]
    monkeypatch.setattr(mirror, "functions",
                        lambda: [MirrorFunction(fn.__name__, "block/fake.c", fn) for fn in functions])


def body(function, neutral=0):
    return [line.strip() for line in shell(function, neutral).splitlines()[1:]]


def test_stores_and_other_calls_are_dropped():
    assert body(stores) == ["other(n)", "return 0"]
    assert body(stores, None) == ["other(n)", "return None"]


def test_loops_and_locals_stay_where_calls_need_them():
    assert body(loops) == ["total = 0", "for cpu in cpus:", "total += cpu", "other(cpu)",
                           "other(total) or None", "return 0"]


def test_a_function_that_only_calls_has_no_shell():
    assert shell(only_calls) is None


def test_calls_through_a_table_stay():
    assert "queue_rq" in blk_mq_ops.__slots__
    assert body(through_a_table) == ["q.mq_ops.queue_rq(q)"]


def test_a_local_beside_a_field_stays():
    assert body(unpacks) == ["_, second = (other(q), 2)", "other(second)"]


def test_who_returns_a_value():
    assert returns_value(stores)
    assert not returns_value(unpacks)


def test_everybody_who_holds_the_function_gets_the_shell():
    def victim(x):
        return x * 2
    held = {"op": victim}
    hollow_out(victim, "def victim(x):\n    return 0")
    assert held["op"](21) == 0
