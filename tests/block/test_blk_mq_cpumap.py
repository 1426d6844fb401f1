"""The default map: as recorded of null_blk, and what always holds of it."""

import json
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

import blkmodel
from blkmodel.block.blk_mq_cpumap import blk_mq_hw_queue_to_node, blk_mq_map_queues, get_first_sibling, queue_index
from blkmodel.include.linux.blk_mq import blk_mq_queue_map
from blkmodel.services.memory.slab import NUMA_NO_NODE
from blkmodel.sim.machine import Machine, from_capture, machine
from tests.machines import machines

MAPS = sorted((Path(__file__).parents[1] / "recordings" / "linux-5.4" / "maps").glob("*.json"))


def default_map(on, nr_queues, offset=0):
    """Boot and return the queue of each CPU, and the map."""
    kernel = blkmodel.boot(on)
    qmap = blk_mq_queue_map([0] * kernel.nr_cpu_ids, nr_queues, offset)
    assert blk_mq_map_queues(qmap) == 0
    return qmap.mq_map, qmap


@pytest.mark.parametrize("path", MAPS, ids=lambda path: path.stem)
def test_null_blk_as_recorded(path):
    """null_blk has as many hardware queues as it is told, up to one a CPU."""
    document = json.loads(path.read_text())
    on = from_capture(document["machine"])
    cases = [case for case in document["cases"] if case["driver"] == "null_blk"]
    assert cases
    for case in cases:
        mq_map, _ = default_map(on, min(case["params"]["submit_queues"], len(on.possible)))
        for hctx in case["observed"]["hctxs"]:
            assert [cpu for cpu, queue in enumerate(mq_map) if queue == hctx["index"]] == hctx["cpus"], case


@given(machines(), st.integers(1, 80), st.integers(0, 100))
def test_every_cpu_has_a_queue_of_the_type(on, nr_queues, offset):
    mq_map, _ = default_map(on, nr_queues, offset)
    assert all(offset <= queue < offset + nr_queues for queue in mq_map)
    assert len(set(mq_map)) <= min(nr_queues, len(on.possible))


@given(machines(), st.integers(1, 80))
def test_present_cpus_choose_first(on, nr_queues):
    """The first present CPUs have queues of their own, in order; with queues enough everybody has."""
    mq_map, _ = default_map(on, nr_queues)
    first = sorted(on.present)[:nr_queues]
    assert [mq_map[cpu] for cpu in first] == list(range(len(first)))
    if nr_queues >= len(on.possible):
        assert len(set(mq_map)) == len(on.possible)


@given(machines(), st.integers(1, 80))
def test_threads_of_a_core_share_once_queues_run_out(on, nr_queues):
    mq_map, _ = default_map(on, nr_queues)
    for core in on.siblings:
        threads = sorted(core & on.online)
        for cpu in threads:
            assert get_first_sibling(cpu) == threads[0]
            # The first nr_queues present CPUs each took a queue before cores counted.
            if sorted(on.present).index(cpu) >= nr_queues and len(on.present) >= nr_queues:
                assert mq_map[cpu] == mq_map[threads[0]]
    assert all(get_first_sibling(cpu) == cpu for cpu in on.possible - on.online)


def test_queues_are_counted_round():
    qmap = blk_mq_queue_map(None, 3, 10)
    assert [queue_index(qmap, 3, q) for q in range(5)] == [10, 11, 12, 10, 11]


def test_cores_by_hand():
    """Four cores of two threads, three queues: CPUs 0 to 2 take one each, 3 follows its core, 4 takes the next."""
    mq_map, _ = default_map(machine(8, threads=2), 3)
    assert list(mq_map) == [0, 1, 2, 2, 0, 0, 1, 1]


def test_absent_cpus_come_last():
    mq_map, _ = default_map(machine(6, present=2), 4)
    assert list(mq_map) == [0, 1, 2, 3, 0, 1]


def test_a_queue_is_on_the_node_of_its_first_cpu():
    _, qmap = default_map(machine(8, nodes=2), 3)
    assert list(qmap.mq_map) == [0, 1, 2, 0, 1, 2, 0, 1]
    assert [blk_mq_hw_queue_to_node(qmap, queue) for queue in range(4)] == [0, 0, 0, NUMA_NO_NODE]
    on = Machine(possible=frozenset(range(2)), present=frozenset(range(2)), online=frozenset(range(2)),
                 nodes={3: frozenset({0}), 1: frozenset({1})})
    _, qmap = default_map(on, 2)
    assert [blk_mq_hw_queue_to_node(qmap, queue) for queue in range(2)] == [3, 1]
