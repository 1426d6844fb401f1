"""How CPUs are spread over vectors and queues, where a later kernel does it otherwise than 5.4.

kernel/irq/affinity.c, lib/group_cpus.c, lib/sort.c, block/blk-mq-cpumap.c.
"""

from collections.abc import Callable
from typing import Any

from blkmodel.include.linux.blk_mq import blk_mq_queue_map
from blkmodel.kernel.irq import affinity
from blkmodel.services import (GFP_KERNEL, cpu_possible_mask, cpumask, cpumask_and, cpumask_or, cpumask_weight,
    for_each_cpu, for_each_node_mask, for_each_possible_cpu, irq_affinity_desc, kcalloc, kfree, nodemask)

_spread_5_4 = affinity.__irq_build_affinity_masks


def irq_build_5_18(startvec: int, numvecs: int, firstvec: int, node_to_cpumask: list[cpumask], cpu_mask: cpumask,
                   nmsk: cpumask, masks: list[irq_affinity_desc]) -> int:
    """__irq_build_affinity_masks(), which since 5.18 gives a vector those CPUs of a node that are to be served now.

    Before, with no more vectors than nodes, the first go (CPUs that are present) gave each vector its node's absent
    CPUs too, and the second could give them once more, to another.
    """
    nodemsk = nodemask()
    nodes = affinity.get_nodes_in_cpumask(node_to_cpumask, cpu_mask, nodemsk)
    if numvecs > nodes or not nodes:
        return _spread_5_4(startvec, numvecs, firstvec, node_to_cpumask, cpu_mask, nmsk, masks)
    curvec = startvec
    for n in for_each_node_mask(nodemsk):
        cpumask_and(nmsk, cpu_mask, node_to_cpumask[n])
        cpumask_or(masks[curvec].mask, masks[curvec].mask, nmsk)
        curvec += 1
        if curvec == firstvec + numvecs:
            curvec = firstvec
    return numvecs


def group_cpus_evenly(numgrps: int) -> list[cpumask] | None:
    """Share all possible CPUs out to numgrps groups: since 6.3 what spread a set of vectors does so for queues, too.

    It is the same function, made one for everybody: the vectors begin at 0. None when memory runs out.
    """
    if (masks := kcalloc(numgrps, irq_affinity_desc, GFP_KERNEL)) is None:
        return None
    error = affinity.irq_build_affinity_masks(0, numgrps, 0, masks)
    kfree(masks)
    return None if error else [each.mask for each in masks]


def blk_mq_map_queues_6_3(qmap: blk_mq_queue_map) -> int:
    """Give each queue of the type a group of CPUs that are close to each other. Returns 0."""
    return _map(qmap, qmap.nr_queues)


def blk_mq_map_queues_6_17(qmap: blk_mq_queue_map) -> int:
    """As in 6.3; but where there are more queues than CPUs, the groups are gone through again, and the last queue that
    a group comes to has its CPUs. Returns 0."""
    return _map(qmap, min(qmap.nr_queues, cpumask_weight(cpu_possible_mask())))


def _map(qmap: blk_mq_queue_map, nr_masks: int) -> int:
    if (masks := group_cpus_evenly(qmap.nr_queues)) is None:
        for cpu in for_each_possible_cpu():
            qmap.mq_map[cpu] = qmap.queue_offset
        return 0
    for queue in range(qmap.nr_queues):
        for cpu in for_each_cpu(masks[queue % nr_masks]):
            qmap.mq_map[cpu] = qmap.queue_offset + queue
    return 0


def sort_6_9(base: list[Any], num: int, size: int, cmp_func: Callable[..., int],
             swap_func: Callable[..., None]) -> None:
    """sort(), which since 6.9 takes the two greatest off the heap at a time, and of equal children the right one: so
    items that compare equal end up in another order."""
    _double_pop(base, num, cmp_func, 1)


def sort_6_11(base: list[Any], num: int, size: int, cmp_func: Callable[..., int],
              swap_func: Callable[..., None]) -> None:
    """As in 6.9, but the last two or three items are put in order without a heap."""
    if num < 2:
        return
    end = _double_pop(base, num, cmp_func, 3) - 1
    base[0], base[end] = base[end], base[0]
    if end == 2 and cmp_func(base[0], base[1]) > 0:
        base[0], base[1] = base[1], base[0]


def _double_pop(base: list[Any], num: int, cmp_func: Callable[..., int], last: int) -> int:
    """Sort until `last` items are left on the heap, or fewer; return how many these are."""
    end, root, shift = num, num // 2, 0
    while root or end > last:
        if root:
            root -= 1 << shift  # [root, end) becomes a heap; after two were taken off, from where the second was
        else:
            end -= 1  # [end, num) is sorted
            base[0], base[end] = base[end], base[0]
            if end > 2:
                shift = int(cmp_func(base[1], base[2]) <= 0)
                root, end = 1 << shift, end - 1
                base[root], base[end] = base[end], base[root]
        at = root
        while 2 * at + 2 < end:
            left, right = 2 * at + 1, 2 * at + 2
            at = left if cmp_func(base[left], base[right]) > 0 else right
        if 2 * at + 2 == end:
            at = 2 * at + 1  # the last leaf has no sibling
        while at != root and cmp_func(base[root], base[at]) >= 0:
            at = (at - 1) // 2
        place = at
        while at != root:
            at = (at - 1) // 2
            base[at], base[place] = base[place], base[at]
    return end
