"""Memory for structures and arrays. Every function returns zeroed memory, or None when there is none.

Where C passes a size, the model passes the structure class, or the name of a C type for an array.
"""

from blkmodel.sim import this

NUMA_NO_NODE = -1


def kzalloc_node(cls, gfp, node, size=None):
    """Allocate one structure; `size` in bytes where it ends in a flexible array."""
    return this().memory.new(cls, _on(node), size)


def kzalloc(cls, gfp, size=None):
    return kzalloc_node(cls, gfp, NUMA_NO_NODE, size)


def kcalloc_node(n, ctype, gfp, node):
    """Allocate an array of n pointers (None), numbers (0) or structures."""
    if isinstance(ctype, str):
        items = [None if ctype == "pointer" else 0] * n
    else:
        items = [ctype() for _ in range(n)]
    return this().memory.new_array(ctype, items, _on(node))


def kcalloc(n, ctype, gfp):
    return kcalloc_node(n, ctype, gfp, NUMA_NO_NODE)


def kfree(thing):
    this().memory.free(thing)


def _on(node):
    """The node to allocate on: the running CPU's where the caller has no wish."""
    kernel = this()
    return kernel.machine.node_of[kernel.cpu] if node == NUMA_NO_NODE else node
