"""Which hardware queue each CPU uses, where the device has no wish: as even as can be, threads of a core together."""

from blkmodel.include.linux.blk_mq import blk_mq_queue_map
from blkmodel.services import (NUMA_NO_NODE, cpu_to_node, cpumask_first, for_each_possible_cpu, for_each_present_cpu,
    local_memory_node, nr_cpu_ids, topology_sibling_cpumask)


def queue_index(qmap: blk_mq_queue_map, nr_queues: int, q: int) -> int:
    """The number of the type's q-th queue, counted round."""
    return qmap.queue_offset + q % nr_queues


def get_first_sibling(cpu: int) -> int:
    """The lowest online thread of a CPU's core; the CPU itself where it is not online."""
    ret = cpumask_first(topology_sibling_cpumask(cpu))
    return ret if ret < nr_cpu_ids() else cpu


def blk_mq_map_queues(qmap: blk_mq_queue_map) -> int:
    """Give every possible CPU a queue of the type. Returns 0.

    CPUs that are present come first, so that no queue is left to absent ones. While there are queues each CPU gets
    one of its own; after that a thread shares its core's first thread's, and a new core gets the next queue, round.
    """
    mq_map, nr_queues, q = qmap.mq_map, qmap.nr_queues, 0
    for cpu in for_each_possible_cpu():
        mq_map[cpu] = -1
    for cpu in for_each_present_cpu():
        if q >= nr_queues:
            break
        mq_map[cpu] = queue_index(qmap, nr_queues, q)
        q += 1

    for cpu in for_each_possible_cpu():
        if mq_map[cpu] != -1:
            continue
        if q < nr_queues:
            mq_map[cpu] = queue_index(qmap, nr_queues, q)
            q += 1
            continue
        if (first_sibling := get_first_sibling(cpu)) == cpu:
            mq_map[cpu] = queue_index(qmap, nr_queues, q)
            q += 1
        else:
            mq_map[cpu] = mq_map[first_sibling]
    return 0


def blk_mq_hw_queue_to_node(qmap: blk_mq_queue_map, index: int) -> int:
    """The memory node of the first CPU that uses a queue; NUMA_NO_NODE where none does."""
    try:
        cpu = qmap.mq_map.index(index)
    except ValueError:
        return NUMA_NO_NODE
    return local_memory_node(cpu_to_node(cpu))
