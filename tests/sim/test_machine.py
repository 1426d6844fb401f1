"""Machines: which are refused and with which words, where x86 puts CPUs that are absent, and CPU lists."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

import blkmodel
from blkmodel.block.blk_mq import blk_mq_alloc_tag_set
from blkmodel.include.linux.blk_mq import blk_mq_ops, blk_mq_tag_set
from blkmodel.sim.machine import (Machine, MachineError, deal_absent, format_cpulist, from_capture, machine,
    parse_cpulist)
from tests.machines import machines


def cpus(text):
    return parse_cpulist(text)


def described(possible="0-3", present=None, online=None, nodes: Any = None, **more: Any):
    present = possible if present is None else present
    online = present if online is None else online
    nodes = {0: possible} if nodes is None else nodes
    more = {key: tuple(map(cpus, value)) if isinstance(value, list) else value for key, value in more.items()}
    return Machine(cpus(possible), cpus(present), cpus(online), {n: cpus(text) for n, text in nodes.items()}, **more)


@pytest.mark.parametrize(("facts", "why"), [
    ({"possible": ""}, "no CPU is online; a kernel needs at least CPU 0"),
    ({"online": ""}, "no CPU is online; a kernel needs at least CPU 0"),
    ({"possible": "0-3,5"}, "possible CPUs 0-3,5 are not numbered from 0 without gaps"),
    ({"possible": "1-3"}, "possible CPUs 1-3 are not numbered from 0 without gaps"),
    ({"present": "0-4"}, "CPU 4 is present but not possible (0-3)"),
    ({"present": "0-2", "online": "0-3"}, "CPU 3 is online but not present (0-2)"),
    ({"nodes": {0: "0-2", 1: "2-3"}}, "CPU 2 is in more than one node"),
    ({"nodes": {0: "0-1", 1: "3"}}, "CPU 2 is on no node"),
    ({"nodes": {}}, "CPU 0 is on no node"),
    ({"nodes": {0: "0-4"}}, "CPU 4 is in a node but not possible (0-3)"),
    ({"nodes": {-1: "0-3"}}, "node -1: it must be at least 0 and at most 1023"),
    ({"nodes": {0: "0-3", 1024: ""}}, "node 1024: it must be at least 0 and at most 1023"),
    ({"siblings": ["0-1", "2,7"]}, "CPU 7 is in a core but not possible (0-3)"),
    ({"siblings": ["0-1", "1-2"]}, "CPU 1 is in more than one core"),
    ({"caches": ["0-3", "3"]}, "CPU 3 is in more than one shared cache"),
    ({"nr_cpus": 3}, "CPU 3 is possible, but NR_CPUS is 3: the highest CPU can be 2"),
    ({"possible": "0-512"}, "CPU 512 is possible, but NR_CPUS is 512: the highest CPU can be 511"),
])
def test_refusals(facts, why):
    with pytest.raises(MachineError) as refused:
        described(**facts)
    assert str(refused.value) == why


@pytest.mark.parametrize(("facts", "why"), [
    ({"cpus": 0}, "cpus=0: it must be at least 1 and at most 512"),
    ({"cpus": 10**9}, "cpus=1000000000: it must be at least 1 and at most 512"),
    ({"cpus": 65, "nr_cpus": 64}, "cpus=65: it must be at least 1 and at most 64"),
    ({"present": 0}, "present=0: it must be at least 1 and at most 4"),
    ({"present": 5}, "present=5: it must be at least 1 and at most 4"),
    ({"nodes": 0}, "nodes=0: it must be at least 1 and at most 4"),
    ({"nodes": 3, "present": 2}, "nodes=3: it must be at least 1 and at most 2"),
    ({"threads": 0}, "threads=0: it must be at least 1"),
])
def test_refusals_of_regular_machines(facts, why):
    with pytest.raises(MachineError) as refused:
        machine(**facts)
    assert str(refused.value) == why


@pytest.mark.parametrize(("text", "why"), [
    ("x", "'x' is neither a number nor a range such as 0-3"), ("0-", "'0-' is neither a number nor a range"),
    ("-1", "'-1' is neither a number nor a range such as 0-3"), ("0,,2", "'' is neither a number nor a range"),
    ("3-1", "the range '3-1' runs backwards"), ("0-8192", "8192 is too high; the highest CPU can be 8191"),
])
def test_cpu_lists_that_are_none(text, why):
    with pytest.raises(MachineError, match=f"CPU list {text!r}: {why}"):
        parse_cpulist(text)


@given(st.sets(st.integers(0, 8191)))
def test_cpu_lists_there_and_back(numbers):
    assert parse_cpulist(format_cpulist(numbers)) == numbers


def test_cpu_lists_as_the_kernel_writes_them():
    assert format_cpulist({0, 1, 2, 5, 7, 8}) == "0-2,5,7-8"
    assert parse_cpulist(" 0-1, 3\n") == {0, 1, 3}
    assert format_cpulist(()) == ""
    assert parse_cpulist("") == frozenset()


def test_x86_deals_every_cpu_out_before_it_knows_which_are_there():
    """So an absent CPU's node follows from its number, and not from how many CPUs are absent before it."""
    assert machine(8, nodes=2, present=5).nodes == {0: {0, 1, 2, 6}, 1: {3, 4, 5, 7}}
    assert machine(8, nodes=2, present=4).nodes == {0: {0, 1, 4, 6}, 1: {2, 3, 5, 7}}
    assert deal_absent({0: {0}, 2: {1}, 5: frozenset()}, {2, 3, 4}) == {0: {0, 3}, 2: {1, 4}, 5: {2}}


FACTS = {"possible": "0-7", "present": "0-4", "online": "0-3", "nodes": {"0": "0-1", "1": "2-3"},
         "thread_siblings": {"0": "0-1", "1": "0-1", "2": "2", "3": "3"}}


def test_a_recorded_machine():
    on = from_capture(FACTS)
    assert (on.possible, on.present, on.online) == (cpus("0-7"), cpus("0-4"), cpus("0-3"))
    assert on.nodes == {0: cpus("0-1,4,6"), 1: cpus("2-3,5,7")}
    assert on.siblings == (cpus("0-1"), cpus("2"), cpus("3"))
    assert on.node_of == {0: 0, 1: 0, 4: 0, 6: 0, 2: 1, 3: 1, 5: 1, 7: 1}


def test_a_recording_that_knows_better_where_absent_cpus_are():
    on = from_capture({**FACTS, "possible_nodes": {"0": "0-1,4-7", "1": "2-3"}})
    assert on.nodes == {0: cpus("0-1,4-7"), 1: cpus("2-3")}


def test_a_node_without_cpus_is_one():
    """Memory alone makes a node; it has a place where nodes are sorted."""
    facts = {**FACTS, "nodes": {"0": "0-1", "1": "2-3", "2": ""}}
    assert from_capture({**facts, "possible_nodes": {"0": "0-1,4-7", "1": "2-3"}}).nodes == {
        0: cpus("0-1,4-7"), 1: cpus("2-3"), 2: frozenset()}
    assert from_capture(facts).nodes == {0: cpus("0-1,6"), 1: cpus("2-4,7"), 2: cpus("5")}


@given(machines())
def test_every_machine_boots(on):
    kernel = blkmodel.boot(on)
    assert kernel.cpu == 0
    made = blk_mq_tag_set(ops=blk_mq_ops(queue_rq=lambda hctx, bd: 0), nr_hw_queues=3, queue_depth=2, numa_node=-1)
    assert blk_mq_alloc_tag_set(made) == 0
    assert {allocation.node for allocation in kernel.memory.live.values()} <= set(on.nodes)
