"""Machines for properties: any number of CPUs and nodes, uneven, some CPUs absent or offline, threads anywhere."""

from hypothesis import strategies as st

from blkmodel.sim.machine import Machine


@st.composite
def machines(draw, cpus=64, nodes=4, all_present=False):
    """A machine of up to so many CPUs. A node's number may be skipped, and a node may have no CPU."""
    possible = draw(st.integers(1, cpus))
    present = possible if all_present else draw(st.integers(1, possible))
    offline = draw(st.sets(st.integers(1, possible))) if draw(st.booleans()) and not all_present else set()
    numbers = draw(st.lists(st.integers(0, nodes - 1), min_size=1, max_size=nodes, unique=True))
    where = draw(st.lists(st.sampled_from(numbers), min_size=possible, max_size=possible))
    threads = draw(st.sampled_from([1, 2, 4]))
    apart = draw(st.booleans())  # a core's threads are numbered apart, as on many machines
    cores = -(-possible // threads)
    plugged = frozenset(range(present))
    everyone = range(possible)
    siblings = tuple(frozenset(everyone[c::cores] if apart else everyone[c * threads:(c + 1) * threads])
                     for c in range(cores))
    return Machine(possible=frozenset(range(possible)), present=plugged, online=plugged - offline,
                   nodes={n: frozenset(c for c in range(possible) if where[c] == n) for n in numbers},
                   siblings=siblings)
