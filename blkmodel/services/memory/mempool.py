"""Memory pools: a reserve of elements, so that an allocation that may sleep always comes to an end
(include/linux/mempool.h, mm/mempool.c)."""

from collections.abc import Callable
from typing import Any

from blkmodel.services.base import BUG_ON, ENOMEM
from blkmodel.services.data.list import list_empty
from blkmodel.services.memory.slab import (__GFP_DIRECT_RECLAIM, GFP_KERNEL, NUMA_NO_NODE, array_in_bytes, kcalloc_node,
    kfree, kmem_cache, kmem_cache_alloc, kmem_cache_free, kzalloc, kzalloc_node)
from blkmodel.services.tasks import (HZ, TASK_UNINTERRUPTIBLE, finish_wait, init_wait, prepare_to_wait,
    schedule_timeout, wait_queue_entry, wait_queue_head, wake_up)
from blkmodel.sim import NULL, Struct, this

RETRY = 5 * HZ  # a waiter looks again after this many jiffies, whatever happens


class mempool(Struct, size=72):
    """curr_nr elements, at most min_nr, are in reserve. alloc(gfp, pool_data) and free(element, pool_data) make and
    give back elements. A pool without `elements` is not set up."""

    __slots__ = ("alloc", "curr_nr", "elements", "free", "min_nr", "pool_data", "wait")

    def __init__(self) -> None:
        self.min_nr = self.curr_nr = 0
        self.elements: list[Any] = NULL
        self.pool_data: Any = None
        self.alloc: Callable[..., Any] = NULL
        self.free: Callable[..., None] = NULL
        self.wait = wait_queue_head()


def mempool_initialized(pool: mempool) -> bool:
    return pool.elements is not None


def mempool_init_node(pool: mempool, min_nr: int, alloc: Callable[..., Any], free: Callable[..., None], pool_data: Any,
                      gfp: int, node: int) -> int:
    """Set up a pool and fill its reserve. Returns 0, or -ENOMEM with nothing left allocated."""
    pool.min_nr, pool.pool_data, pool.alloc, pool.free = min_nr, pool_data, alloc, free
    pool.elements = kcalloc_node(min_nr, "pointer", gfp, node)
    if pool.elements is None:
        return -ENOMEM
    while pool.curr_nr < min_nr:
        if (element := alloc(gfp, pool_data)) is None:
            mempool_exit(pool)
            return -ENOMEM
        _add(pool, element)
    return 0


def mempool_init(pool: mempool, min_nr: int, alloc: Callable[..., Any], free: Callable[..., None],
                 pool_data: Any) -> int:
    return mempool_init_node(pool, min_nr, alloc, free, pool_data, GFP_KERNEL, NUMA_NO_NODE)


def mempool_init_slab_pool(pool: mempool, min_nr: int, cache: kmem_cache) -> int:
    return mempool_init(pool, min_nr, mempool_alloc_slab, mempool_free_slab, cache)


def mempool_exit(pool: mempool) -> None:
    """Free the reserve. What was given out must have come back."""
    while pool.curr_nr:
        pool.free(_remove(pool), pool.pool_data)
    kfree(pool.elements)
    pool.elements = NULL


def mempool_create_node(min_nr: int, alloc: Callable[..., Any], free: Callable[..., None], pool_data: Any, gfp: int,
                        node: int) -> mempool:
    """Allocate and set up a pool; None on failure."""
    if (pool := kzalloc_node(mempool, gfp, node)) is None:
        return NULL
    if mempool_init_node(pool, min_nr, alloc, free, pool_data, gfp, node):
        kfree(pool)
        return NULL
    return pool


def mempool_destroy(pool: mempool) -> None:
    if pool is not None:
        mempool_exit(pool)
        kfree(pool)


def mempool_alloc(pool: mempool, gfp: int) -> Any:
    """An element: a new one, or one of the reserve. With neither, sleep until one comes back where `gfp` allows it;
    otherwise return None."""
    if gfp & __GFP_DIRECT_RECLAIM:
        this().loop.spend()
    while True:
        if (element := pool.alloc(gfp, pool.pool_data)) is not None:
            return element
        if pool.curr_nr:
            return _remove(pool)
        if not gfp & __GFP_DIRECT_RECLAIM:
            return None
        waiter = wait_queue_entry()
        init_wait(waiter)
        prepare_to_wait(pool.wait, waiter, TASK_UNINTERRUPTIBLE)
        schedule_timeout(RETRY, "an element of a memory pool")
        finish_wait(pool.wait, waiter)


def mempool_free(element: Any, pool: mempool) -> None:
    """Give an element back: to the reserve while that is not full."""
    if element is None:
        return
    if pool.curr_nr < pool.min_nr:
        _add(pool, element)
        if not list_empty(pool.wait.head):
            wake_up(pool.wait)
    else:
        pool.free(element, pool.pool_data)


def mempool_alloc_slab(gfp: int, cache: kmem_cache) -> Any:
    return kmem_cache_alloc(cache, gfp)


def mempool_free_slab(element: Any, cache: kmem_cache) -> None:
    kmem_cache_free(cache, element)


def mempool_kmalloc(gfp: int, pool_data: Any) -> Any:
    """One structure of a class; or, for (n, class, size), an array of n in `size` bytes, of which each is None, as
    zeros, until somebody makes it."""
    if isinstance(pool_data, tuple):
        n, cls, size = pool_data
        return array_in_bytes(n, cls, size, gfp)
    return kzalloc(pool_data, gfp)


def mempool_kfree(element: Any, pool_data: Any) -> None:
    kfree(element)


def _add(pool: mempool, element: Any) -> None:
    BUG_ON(pool.elements is None, "an element comes back to a memory pool that is gone")
    pool.elements[pool.curr_nr] = element
    pool.curr_nr += 1


def _remove(pool: mempool) -> Any:
    pool.curr_nr -= 1
    element = pool.elements[pool.curr_nr]
    pool.elements[pool.curr_nr] = None
    return element
