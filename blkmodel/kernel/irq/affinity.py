"""Spreading a device's interrupt vectors over the CPUs.

Every possible CPU gets a vector of each set, and a vector's CPUs are close to each other. The CPUs that are
present are served first, node by node; then those that may be plugged in later, starting at the next vector.
"""

from typing import TYPE_CHECKING

from blkmodel.lib.sort import sort
from blkmodel.services import (ENOMEM, GFP_KERNEL, IRQ_AFFINITY_MAX_SETS, WARN_ON, WARN_ON_ONCE, cpu_possible_mask,
    cpu_present_mask, cpu_to_node, cpumask, cpumask_and, cpumask_andnot, cpumask_clear_cpu, cpumask_copy, cpumask_first,
    cpumask_intersects, cpumask_next, cpumask_or, cpumask_set_cpu, cpumask_test_and_clear_cpu, cpumask_weight,
    for_each_node, for_each_node_mask, for_each_possible_cpu, irq_affinity, irq_affinity_desc, irq_default_affinity,
    kcalloc, kfree, node_set, nodemask, nr_cpu_ids, nr_node_ids, topology_sibling_cpumask)
from blkmodel.sim import NULL, Struct

UINT_MAX = 0xFFFFFFFF


class node_vectors(Struct):
    """A node's share. nvectors: first, under the name of ncpus, its CPUs to be served; then the vectors it gets.

    UINT_MAX stands for a node that has no CPU to be served.
    """

    id: int = 0
    nvectors: int = 0
    if TYPE_CHECKING:
        ncpus: int = 0


node_vectors.ncpus = node_vectors.nvectors  # in C the two are a union


def irq_spread_init_one(irqmsk: cpumask, nmsk: cpumask, cpus_per_vec: int) -> None:
    """Move cpus_per_vec CPUs from nmsk to irqmsk: the lowest, its online siblings, the next, and so on."""
    while cpus_per_vec > 0:
        if (cpu := cpumask_first(nmsk)) >= nr_cpu_ids():
            return
        cpumask_clear_cpu(cpu, nmsk)
        cpumask_set_cpu(cpu, irqmsk)
        cpus_per_vec -= 1

        siblmsk, sibl = topology_sibling_cpumask(cpu), -1
        while cpus_per_vec > 0:
            if (sibl := cpumask_next(sibl, siblmsk)) >= nr_cpu_ids():
                break
            if cpumask_test_and_clear_cpu(sibl, nmsk):
                cpumask_set_cpu(sibl, irqmsk)
                cpus_per_vec -= 1


def alloc_node_to_cpumask() -> list[cpumask]:
    """Allocate an empty mask for each node; None when memory runs out.

    (The masks lie in the array: CONFIG_CPUMASK_OFFSTACK, which would allocate each of its own, is off.)
    """
    return kcalloc(nr_node_ids(), cpumask, GFP_KERNEL)


def free_node_to_cpumask(masks: list[cpumask]) -> None:
    """Free what alloc_node_to_cpumask() allocated."""
    kfree(masks)


def build_node_to_cpumask(masks: list[cpumask]) -> None:
    """Set each node's mask to its possible CPUs."""
    for cpu in for_each_possible_cpu():
        cpumask_set_cpu(cpu, masks[cpu_to_node(cpu)])


def get_nodes_in_cpumask(node_to_cpumask: list[cpumask], mask: cpumask, nodemsk: nodemask) -> int:
    """Add the nodes that have CPUs in `mask` to nodemsk; return how many they are."""
    nodes = 0
    for n in for_each_node():
        if cpumask_intersects(mask, node_to_cpumask[n]):
            node_set(n, nodemsk)
            nodes += 1
    return nodes


def ncpus_cmp_func(left: node_vectors, right: node_vectors) -> int:
    """Compare nodes by their CPUs. The difference is a C int, so UINT_MAX counts as -1: empty nodes come first."""
    return (left.ncpus - right.ncpus + (1 << 31)) % (1 << 32) - (1 << 31)


def alloc_nodes_vectors(numvecs: int, node_to_cpumask: list[cpumask], cpu_mask: cpumask, nodemsk: nodemask,
                        nmsk: cpumask, node_vectors: list[node_vectors]) -> None:
    """Divide numvecs vectors among the nodes that have CPUs in cpu_mask, in proportion to those CPUs.

    Every such node gets at least one, which takes numvecs above the number of nodes, and none more than it has
    CPUs. So the smallest nodes are served first, and what is left is divided anew each time. nmsk is scratch.
    """
    nr_nodes = nr_node_ids()
    for n in range(nr_nodes):
        node_vectors[n].id, node_vectors[n].ncpus = n, UINT_MAX

    remaining_ncpus = 0
    for n in for_each_node_mask(nodemsk):
        cpumask_and(nmsk, cpu_mask, node_to_cpumask[n])
        if not (ncpus := cpumask_weight(nmsk)):
            continue
        remaining_ncpus += ncpus
        node_vectors[n].ncpus = ncpus
    numvecs = min(remaining_ncpus, numvecs)

    sort(node_vectors, nr_nodes, 8, ncpus_cmp_func, NULL)

    for nv in node_vectors:
        if nv.ncpus == UINT_MAX:
            continue
        WARN_ON_ONCE(numvecs == 0, "no vector is left for a node")
        ncpus = nv.ncpus
        nvectors = max(1, numvecs * ncpus // remaining_ncpus)
        WARN_ON_ONCE(nvectors > ncpus, "a node gets more vectors than it has CPUs")
        nv.nvectors = nvectors
        remaining_ncpus -= ncpus
        numvecs -= nvectors


def __irq_build_affinity_masks(startvec: int, numvecs: int, firstvec: int, node_to_cpumask: list[cpumask],
                               cpu_mask: cpumask, nmsk: cpumask, masks: list[irq_affinity_desc]) -> int:
    """Give the CPUs of cpu_mask to the vectors firstvec … firstvec + numvecs - 1, beginning at startvec.

    With no more vectors than nodes, each node goes to one vector whole (with all its possible CPUs, whether in
    cpu_mask or not). nmsk is scratch. Returns how many vectors got CPUs, or -ENOMEM.
    """
    if not cpumask_weight(cpu_mask):
        return 0

    last_affv, curvec, nodemsk = firstvec + numvecs, startvec, nodemask()
    if numvecs <= get_nodes_in_cpumask(node_to_cpumask, cpu_mask, nodemsk):
        for n in for_each_node_mask(nodemsk):
            cpumask_or(masks[curvec].mask, masks[curvec].mask, node_to_cpumask[n])
            curvec += 1
            if curvec == last_affv:
                curvec = firstvec
        return numvecs

    if (shares := kcalloc(nr_node_ids(), node_vectors, GFP_KERNEL)) is None:
        return -ENOMEM
    alloc_nodes_vectors(numvecs, node_to_cpumask, cpu_mask, nodemsk, nmsk, shares)

    done = 0
    for nv in shares:
        if nv.nvectors == UINT_MAX:
            continue
        cpumask_and(nmsk, cpu_mask, node_to_cpumask[nv.id])
        if not (ncpus := cpumask_weight(nmsk)):
            continue
        WARN_ON_ONCE(nv.nvectors > ncpus, "a node gets more vectors than it has CPUs")

        # The first extra_vecs vectors take one CPU more, where it does not divide.
        extra_vecs = ncpus - nv.nvectors * (ncpus // nv.nvectors)
        for _ in range(nv.nvectors):
            cpus_per_vec = ncpus // nv.nvectors
            if extra_vecs:
                cpus_per_vec += 1
                extra_vecs -= 1
            if curvec >= last_affv:
                curvec = firstvec
            irq_spread_init_one(masks[curvec].mask, nmsk, cpus_per_vec)
            curvec += 1
        done += nv.nvectors
    kfree(shares)
    return done


def irq_build_affinity_masks(startvec: int, numvecs: int, firstvec: int, masks: list[irq_affinity_desc]) -> int:
    """Spread one set of vectors: over the CPUs that are present, then over those that are only possible.

    The second go begins at the first vector that the first left empty, or at firstvec where it left none.
    Returns 0 or -ENOMEM.
    """
    nmsk, npresmsk = cpumask(), cpumask()
    if (node_to_cpumask := alloc_node_to_cpumask()) is None:
        return -ENOMEM
    build_node_to_cpumask(node_to_cpumask)

    nr_present = nr_others = 0
    ret = __irq_build_affinity_masks(startvec, numvecs, firstvec, node_to_cpumask, cpu_present_mask(), nmsk, masks)
    if ret >= 0:
        nr_present = ret
        curvec = firstvec if nr_present >= numvecs else firstvec + nr_present
        cpumask_andnot(npresmsk, cpu_possible_mask(), cpu_present_mask())
        if (ret := __irq_build_affinity_masks(curvec, numvecs, firstvec, node_to_cpumask, npresmsk, nmsk, masks)) >= 0:
            nr_others = ret
            WARN_ON(nr_present + nr_others < numvecs, "some vectors have no CPU")

    free_node_to_cpumask(node_to_cpumask)
    return min(ret, 0)


def default_calc_sets(affd: irq_affinity, affvecs: int) -> None:
    """Put all vectors in one set."""
    affd.nr_sets = 1
    affd.set_size[0] = affvecs


def irq_create_affinity_masks(nvecs: int, affd: irq_affinity) -> list[irq_affinity_desc]:
    """Work out the CPUs of each of a device's vectors.

    Those before and after the sets (pre_vectors, post_vectors) may interrupt any CPU; the others are managed:
    their CPUs are fixed. The driver divides them into sets by affd.calc_sets(), which is called in any case.
    Returns an array of nvecs irq_affinity_desc, which the caller frees; None where nothing is to be spread, or
    when memory runs out.
    """
    resv = affd.pre_vectors + affd.post_vectors
    affvecs = nvecs - resv if nvecs > resv else 0
    if affd.calc_sets is None:
        affd.calc_sets = default_calc_sets
    affd.calc_sets(affd, affvecs)
    if WARN_ON_ONCE(affd.nr_sets > IRQ_AFFINITY_MAX_SETS, "too many sets of vectors"):
        return NULL
    if not affvecs:
        return NULL

    if (masks := kcalloc(nvecs, irq_affinity_desc, GFP_KERNEL)) is None:
        return NULL

    for curvec in range(affd.pre_vectors):
        cpumask_copy(masks[curvec].mask, irq_default_affinity())

    curvec, usedvecs = affd.pre_vectors, 0
    for this_vecs in affd.set_size[:affd.nr_sets]:
        if irq_build_affinity_masks(curvec, this_vecs, curvec, masks):
            kfree(masks)
            return NULL
        curvec += this_vecs
        usedvecs += this_vecs

    for curvec in range(affd.pre_vectors + min(usedvecs, affvecs), nvecs):
        cpumask_copy(masks[curvec].mask, irq_default_affinity())
    for i in range(affd.pre_vectors, nvecs - affd.post_vectors):
        masks[i].is_managed = 1
    return masks


def irq_calc_affinity_vectors(minvec: int, maxvec: int, affd: irq_affinity) -> int:
    """How many vectors are of use, of at most maxvec: one for each possible CPU, and those not to be spread.

    A driver that divides them into sets may use them all. 0 where fewer than those not to be spread would do.
    """
    resv = affd.pre_vectors + affd.post_vectors
    if resv > minvec:
        return 0
    return resv + min(maxvec - resv if affd.calc_sets else cpumask_weight(cpu_possible_mask()), maxvec - resv)
