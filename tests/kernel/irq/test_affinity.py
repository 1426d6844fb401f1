"""Spreading vectors over CPUs: what always holds, some cases by hand, and what happens without memory.

That the result is the kernel's own is shown by the recordings of queue maps: tests/drivers/nvme/host/test_pci.py.
"""

import pytest
from hypothesis import given, strategies as st

import blkmodel
from blkmodel.kernel.irq import affinity
from blkmodel.services.cpus.interrupt import IRQ_AFFINITY_MAX_SETS, irq_affinity
from blkmodel.sim.machine import Machine, machine
from tests.machines import machines


def spread(on, nvecs, **affd):
    """Boot, spread, and return the CPUs of each vector."""
    blkmodel.boot(on)
    masks = affinity.irq_create_affinity_masks(nvecs, irq_affinity(**affd))
    return None if masks is None else [set(desc.mask) for desc in masks]


def on_nodes(*nodes, present=None, **more):
    """A machine whose nodes have these CPUs."""
    cpus = frozenset().union(*nodes)
    plugged = cpus if present is None else frozenset(present)
    return Machine(possible=cpus, present=plugged, online=plugged, nodes=dict(enumerate(map(frozenset, nodes))), **more)


@given(machines(), st.integers(1, 80))
def test_every_cpu_has_a_vector(on, nvecs):
    """Every possible CPU is in some vector's mask; in one only, unless whole nodes are handed out."""
    vectors = spread(on, nvecs)
    assert set().union(*vectors) == on.possible
    if nvecs > len([node for node in on.nodes.values() if node]):
        assert sum(map(len, vectors)) == len(on.possible)


@given(machines(), st.integers(1, 80))
def test_no_vector_is_empty_while_there_are_cpus(on, nvecs):
    """Vectors beyond the CPUs get none, and they are the last; only then does the kernel warn."""
    vectors = spread(on, nvecs)
    nodes = len([node for node in on.nodes.values() if node])
    empty = [not cpus for cpus in vectors]
    assert empty == sorted(empty)
    if nvecs > nodes:
        present, absent = len(on.present), len(on.possible - on.present)
        assert empty.count(False) == min(nvecs, min(nvecs, present) + min(nvecs, absent))
        assert len([line for line in blkmodel.sim.this().log if "WARNING" in line]) == any(empty)


@given(machines(all_present=True), st.integers(1, 80))
def test_nodes_do_not_share_a_vector(on, nvecs):
    """With more vectors than nodes each vector is of one node, and a node's vectors are equal but for one CPU."""
    nodes = [node for node in on.nodes.values() if node]
    vectors = spread(on, nvecs)
    if nvecs <= len(nodes):
        assert all(any(node <= cpus for cpus in vectors) for node in nodes)
        return
    for node in nodes:
        own = [cpus for cpus in vectors if cpus & node]
        assert all(cpus <= node for cpus in own)
        assert 1 <= len(own) <= len(node)
        assert max(map(len, own)) - min(map(len, own)) <= 1
        assert abs(len(own) - min(nvecs, len(on.possible)) * len(node) / len(on.possible)) < len(nodes)


@given(machines(), st.integers(0, 3), st.integers(0, 3), st.lists(st.integers(1, 20), min_size=1, max_size=4))
def test_sets_are_spread_each_for_itself(on, pre, post, sizes):
    calls = []

    def calc_sets(affd, nvecs):
        calls.append(nvecs)
        affd.nr_sets = len(sizes)
        affd.set_size[:len(sizes)] = sizes
    nvecs = pre + sum(sizes) + post
    blkmodel.boot(on)
    masks = affinity.irq_create_affinity_masks(
        nvecs, irq_affinity(pre_vectors=pre, post_vectors=post, calc_sets=calc_sets))
    assert calls == [sum(sizes)]
    assert [desc.is_managed for desc in masks] == [0] * pre + [1] * sum(sizes) + [0] * post
    free = masks[:pre] + masks[nvecs - post:]
    assert all(desc.mask.bits == (1 << on.nr_cpus) - 1 for desc in free)
    at = pre
    for size in sizes:
        alone = spread(on, size)
        assert [set(desc.mask) for desc in masks[at:at + size]] == alone
        at += size


def test_siblings_stay_together():
    assert spread(machine(8, threads=2), 2) == [{0, 1, 2, 3}, {4, 5, 6, 7}]
    apart = Machine(possible=frozenset(range(8)), present=frozenset(range(8)), online=frozenset(range(8)),
                    nodes={0: frozenset(range(8))}, siblings=tuple(frozenset((c, c + 4)) for c in range(4)))
    assert spread(apart, 4) == [{0, 4}, {1, 5}, {2, 6}, {3, 7}]
    assert spread(apart, 8) == [{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}]


def test_only_online_siblings_count():
    """A core's threads are known once they have run: CPU 4 is present but offline."""
    on = Machine(possible=frozenset(range(8)), present=frozenset(range(8)), online=frozenset(range(8)) - {4},
                 nodes={0: frozenset(range(8))}, siblings=tuple(frozenset((c, c + 4)) for c in range(4)))
    assert spread(on, 4) == [{0, 1}, {2, 6}, {3, 7}, {4, 5}]


def test_the_smallest_node_is_served_first():
    """Ten CPUs, three vectors: the two CPUs of node 1 get the first of them."""
    assert spread(on_nodes(range(8), range(8, 10)), 3) == [{8, 9}, {0, 1, 2, 3}, {4, 5, 6, 7}]


def test_a_share_is_rounded_down_but_never_to_nothing():
    vectors = spread(on_nodes({0}, {1}, range(2, 16)), 4)
    assert vectors == [{1}, {0}, set(range(2, 9)), set(range(9, 16))]


def test_whole_nodes_when_there_is_no_vector_for_each():
    """They go round; and a node goes with its absent CPUs, which then may come twice."""
    on = on_nodes(range(4), range(4, 8), range(8, 12))
    assert spread(on, 2) == [{0, 1, 2, 3, 8, 9, 10, 11}, {4, 5, 6, 7}]
    on = on_nodes({0, 1, 4}, {2, 3, 5}, present=range(4))
    assert spread(on, 1) == [set(range(6))]
    assert spread(on, 2) == [{0, 1, 4}, {2, 3, 5}]


def test_absent_cpus_begin_at_the_next_vector():
    assert spread(machine(8, present=4), 6) == [{0, 6}, {1, 7}, {2}, {3}, {4}, {5}]
    assert spread(machine(8, present=4), 4) == [{0, 4}, {1, 5}, {2, 6}, {3, 7}]
    assert spread(machine(8, present=4), 3) == [{0, 1, 4, 5}, {2, 6}, {3, 7}]


def test_a_node_without_present_cpus_waits():
    on = on_nodes({0, 1, 2}, {3, 4}, present={0, 1, 2})
    assert spread(on, 3) == [{0, 3}, {1, 4}, {2}]


def test_empty_nodes_sort_first():
    """Their count is UINT_MAX, and the difference of two counts is a signed number."""
    def node(ncpus):
        return affinity.node_vectors(0, ncpus)
    assert affinity.ncpus_cmp_func(node(affinity.UINT_MAX), node(3)) == -4
    assert affinity.ncpus_cmp_func(node(3), node(affinity.UINT_MAX)) == 4
    assert affinity.ncpus_cmp_func(node(5), node(3)) == 2
    share = node(7)
    share.nvectors = 2
    assert share.ncpus == 2


def test_nothing_to_spread_still_asks_the_driver():
    sets = []
    affd = irq_affinity(pre_vectors=1, calc_sets=lambda affd, nvecs: sets.append(nvecs))
    blkmodel.boot(4)
    assert affinity.irq_create_affinity_masks(1, affd) is None
    assert sets == [0]
    affd = irq_affinity(pre_vectors=2)
    assert affinity.irq_create_affinity_masks(1, affd) is None
    assert (affd.nr_sets, affd.set_size[0]) == (1, 0)


def test_too_many_sets_are_refused():
    def calc_sets(affd, nvecs):
        affd.nr_sets = IRQ_AFFINITY_MAX_SETS + 1
    blkmodel.boot(4)
    assert affinity.irq_create_affinity_masks(4, irq_affinity(calc_sets=calc_sets)) is None
    assert "WARNING" in blkmodel.sim.this().log[-1]


@given(machines(), st.integers(1, 90), st.integers(1, 90), st.integers(0, 3))
def test_how_many_vectors_are_of_use(on, minvec, more, resv):
    blkmodel.boot(on)
    maxvec = minvec + more
    alike, sets = irq_affinity(pre_vectors=resv), irq_affinity(pre_vectors=resv, calc_sets=affinity.default_calc_sets)
    if resv > minvec:
        assert affinity.irq_calc_affinity_vectors(minvec, maxvec, alike) == 0
    else:
        assert affinity.irq_calc_affinity_vectors(minvec, maxvec, alike) == min(maxvec, resv + len(on.possible))
        assert affinity.irq_calc_affinity_vectors(minvec, maxvec, sets) == maxvec


@pytest.mark.parametrize("nth", range(1, 7))
def test_without_memory_nothing_is_left(nth):
    """Masks, the nodes' masks of either set, and the nodes' shares: six allocations, and any may fail."""
    kernel = blkmodel.boot(machine(8, nodes=2, present=4))

    def two_sets(affd, nvecs):
        affd.nr_sets, affd.set_size[:2] = 2, [3, 3]
    affd = irq_affinity(calc_sets=two_sets)
    before = kernel.memory.totals()
    kernel.memory.fail_nth(nth)
    assert affinity.irq_create_affinity_masks(6, affd) is None
    assert kernel.memory.totals() == before


def test_what_is_left_is_the_masks():
    kernel = blkmodel.boot(machine(8, nodes=2))
    before = kernel.memory.totals()
    affinity.irq_create_affinity_masks(6, irq_affinity())
    assert kernel.memory.totals() == before | {("irq_affinity_desc[]", 0): 6 * 72}
