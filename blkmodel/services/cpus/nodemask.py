"""Sets of NUMA nodes, each one number with a bit per node (include/linux/nodemask.h)."""

from blkmodel.sim import this
from blkmodel.sim.structure import Struct


class nodemask(Struct):
    """A set of nodes: bit n of `bits` stands for node n. (In C its type is nodemask_t.)"""

    __slots__ = ("bits",)
    SIZE = 8

    def __init__(self) -> None:
        self.bits = 0


def node_set(node: int, mask: nodemask) -> None:
    mask.bits |= 1 << node


def for_each_node_mask(mask: nodemask) -> list[int]:
    return [node for node in range(mask.bits.bit_length()) if mask.bits >> node & 1]


def first_memory_node() -> int:
    """The lowest node that has memory: in the model, that there is."""
    return min(this().machine.nodes)


def nr_online_nodes() -> int:
    """How many nodes there are; in the model all are online."""
    return len(this().machine.nodes)
