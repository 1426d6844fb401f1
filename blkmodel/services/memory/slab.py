"""Memory for structures and arrays; vzalloc()'s need not lie side by side, and so can be large. Every function returns
zeroed memory, or None when there is none (include/linux/slab.h, mm/slub.c, mm/slab_common.c, mm/vmalloc.c).

Where C passes a size, the model passes the structure class, or the name of a C type for an array.
"""

from typing import Any

from blkmodel.sim import NULL, Array, Struct, place_array, sizeof, this
from blkmodel.sim.structure import T

NUMA_NO_NODE, KMALLOC_MAX_SIZE = -1, 4 << 20
GFP_KERNEL, GFP_NOIO, GFP_ATOMIC, GFP_NOWAIT, GFP_NOFS = 0xCC0, 0xC00, 0xA20, 0x800, 0xC40
__GFP_ZERO, __GFP_NOWARN, __GFP_NORETRY, __GFP_DIRECT_RECLAIM = 0x100, 0x2000, 0x10000, 0x400


def kzalloc_node(cls: type[T], gfp: int, node: int, size: int | None = None) -> T:
    """Allocate one structure; `size` in bytes where it ends in a flexible array."""
    return this().memory.new(cls, wished_node(node), size)


def kzalloc(cls: type[T], gfp: int, size: int | None = None) -> T:
    return kzalloc_node(cls, gfp, NUMA_NO_NODE, size)


def kcalloc_node(n: int, ctype: type | str, gfp: int, node: int, cls: type[Array] = Array) -> Array:
    """Allocate an array of n pointers (None), numbers (0) or structures. One above KMALLOC_MAX_SIZE can't be had."""
    if n * sizeof(ctype) > KMALLOC_MAX_SIZE:
        return NULL
    items = [None if ctype == "pointer" else 0] * n if isinstance(ctype, str) else [ctype() for _ in range(n)]
    return this().memory.new_array(ctype, items, wished_node(node), cls)


def array_in_bytes(n: int, ctype: type | str, size: int, gfp: int, node: int = NUMA_NO_NODE) -> Array:
    """Allocate `size` bytes for an array of n numbers or structures and what lies behind them. Each structure is None,
    as zeros, until somebody makes it."""
    memory = this().memory
    addr = memory.allocate(f"{ctype if isinstance(ctype, str) else ctype.__name__}[]", size, wished_node(node))
    if not addr:
        return NULL
    array = memory.live[addr].thing = place_array(ctype, [0 if isinstance(ctype, str) else None] * n, addr)
    return array


def kcalloc(n: int, ctype: type | str, gfp: int) -> Array:
    return kcalloc_node(n, ctype, gfp, NUMA_NO_NODE)


def kfree(thing: Any) -> None:
    this().memory.free(thing)


def thing_at(addr: int) -> Any:
    """What was allocated at an address. (In C that is the address itself.)"""
    return this().memory.at(addr).thing


def wished_node(node: int) -> int:
    """The node to allocate on: the running CPU's where the caller has no wish."""
    kernel = this()
    return kernel.machine.node_of[kernel.cpu] if node == NUMA_NO_NODE else node


class kmem_cache(Struct, size=216):
    """Memory for objects of one kind: structures of class `cls`, or arrays of `count` of them; `size` bytes each."""

    name: str = ""
    size: int = 0
    cls: type = NULL
    count: int = 0


def kmem_cache_create(name: str, size: int, cls: type, count: int = 0) -> kmem_cache:
    """Make a cache; None on failure. (`cls` and `count` say what C leaves to the user of the memory.)"""
    if (cache := kzalloc(kmem_cache, 0)) is not None:
        cache.name, cache.size, cache.cls, cache.count = name, size, cls, count
    return cache


def kmem_cache_destroy(cache: kmem_cache) -> None:
    kfree(cache)


def kmem_cache_alloc_node(cache: kmem_cache, gfp: int, node: int) -> Any:
    """One object, zeroed; None on failure. The structures of an array are None until Array.make()."""
    if cache.count:
        return array_in_bytes(cache.count, cache.cls, cache.size, gfp, node)
    return kzalloc_node(cache.cls, gfp, node, cache.size)


def kmem_cache_alloc(cache: kmem_cache, gfp: int) -> Any:
    return kmem_cache_alloc_node(cache, gfp, NUMA_NO_NODE)


def kmem_cache_free(cache: kmem_cache, thing: Any) -> None:
    this().memory.free(thing)


def vzalloc(size: int) -> int:
    """Allocate so many zeroed bytes. Returns their address, at which the caller places what it wants; 0 on failure."""
    return this().memory.allocate("vmalloc", size, wished_node(NUMA_NO_NODE))


def vfree(thing: Any) -> None:
    """Free the memory at whose beginning `thing` was placed; None is freed for nothing."""
    this().memory.free(thing)
