"""Which object stands for a device number: ranges of numbers, and how to find the object in each
(drivers/base/map.c)."""

from collections.abc import Callable
from dataclasses import field
from typing import Any

from blkmodel.services.base import ENOMEM, MAJOR, module, module_put, try_module_get
from blkmodel.services.devices.kobject import kobject
from blkmodel.services.memory.slab import GFP_KERNEL, kfree, kzalloc
from blkmodel.sim import NULL, Struct

ULONG_MAX = (1 << 64) - 1


class probe(Struct, size=56):
    """`range` numbers from `dev` on. lock(dev, data), where given, takes a reference or returns a negative number;
    get(dev, data) then returns the object."""

    dev: int = 0
    range: int = 0
    owner: module = NULL
    get: Callable[..., kobject] = NULL
    lock: Callable[..., int] = NULL
    data: Any = None


class kobj_map_domain(Struct, size=2048):
    """All ranges of one sort of numbers (in C `struct kobj_map`, with 255 lists of them by major number). The smallest
    ranges come first, and last one that has all numbers."""

    probes: list[probe] = field(default_factory=list)


def kobj_map(domain: kobj_map_domain, dev: int, range: int, module: module, get: Callable[..., Any],
             lock: Callable[..., int], data: Any) -> int:
    """Add a range, with an entry for each of its major numbers. Returns 0 or -ENOMEM."""
    majors = min(MAJOR(dev + range - 1) - MAJOR(dev) + 1, 255)
    if majors <= 0:  # no number at all, where a major begins: C asks for no bytes, and gets them
        return 0
    if (entry := kzalloc(probe, GFP_KERNEL, majors * probe.SIZE)) is None:
        return -ENOMEM
    entry.dev, entry.range, entry.owner, entry.get, entry.lock, entry.data = dev, range, module, get, lock, data
    listed = domain.probes
    listed.insert(next((i for i, other in enumerate(listed) if other.range >= range), len(listed)), entry)
    return 0


def kobj_unmap(domain: kobj_map_domain, dev: int, range: int) -> None:
    """Remove a range, if it is there."""
    for entry in domain.probes:
        if entry.dev == dev and entry.range == range:
            domain.probes.remove(entry)
            kfree(entry)
            return


def kobj_lookup(domain: kobj_map_domain, dev: int) -> tuple[Any, int]:
    """Find who stands for a number, the smallest range first. Returns (object, place in the range); (None, 0)."""
    best, retry = ULONG_MAX, True
    while retry:
        retry = False
        for entry in tuple(domain.probes):
            if entry.dev > dev or entry.dev + entry.range - 1 < dev:
                continue
            if entry.range - 1 >= best:
                break
            if not try_module_get(entry.owner):
                continue
            best, index = entry.range - 1, dev - entry.dev
            if entry.lock is not None and entry.lock(dev, entry.data) < 0:
                module_put(entry.owner)
                continue
            found = entry.get(dev, entry.data)
            module_put(entry.owner)
            if found is not None:
                return found, index
            retry = True
            break
    return None, 0


def kobj_map_init(base_probe: Callable[..., Any]) -> kobj_map_domain:
    """Make an empty set of ranges, whose last resort is base_probe(dev, data); None on failure."""
    domain = kzalloc(kobj_map_domain, GFP_KERNEL)
    base = kzalloc(probe, GFP_KERNEL)
    if domain is None or base is None:
        kfree(domain)
        kfree(base)
        return NULL
    base.dev, base.range, base.get = 1, ULONG_MAX, base_probe
    domain.probes.append(base)
    return domain
