"""Memory: addresses, sizes, accounting by kind and node, and allocations that fail on demand.

Addresses are in the kernel's direct map. Small objects take slots of power-of-two size classes, page
runs take naturally aligned blocks; what is freed is used again, last freed first.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from blkmodel.sim import wire
from blkmodel.sim.structure import NULL, Array, Struct, T, sizeof

PAGE_SIZE = 4096
_MOST_SEEN = 4096
DIRECT_MAP = 0xFFFF888000000000


@dataclass(slots=True)
class Allocation:
    """One live allocation. `size` is what was asked for, `span` what it takes up; both in bytes.

    thing: what lies there, where a device may look: a structure, an array, or what has peek() and poke().
    """

    addr: int
    size: int
    span: int
    kind: str
    node: int
    thing: Any = field(default=None, compare=False, repr=False)


class MemoryError_(AssertionError):
    """The model used or freed what was not allocated: a bug that a real kernel would turn into corruption."""


class Memory:
    """The heap of one kernel. `live` maps the address of every allocation to its `Allocation`; `parts` does so for the
    blocks into which somebody divides an allocation to give them out, each a power of two long and aligned to that, and
    for what is the kernel's own and of no heap.

    `count` numbers the attempts since boot, failed ones included, so that the n-th can be made to fail.
    `observer` is called with what happens to any kernel's memory while somebody watches: alloc, free.
    """

    observer: Any = None

    def __init__(self, nodes: Iterable[int], bytes_per_node: int) -> None:
        self.live: dict[int, Allocation] = {}
        self.parts: dict[int, Allocation] = {}
        self.count = 0
        self.failed = 0
        self.used = 0
        self._next = {n: DIRECT_MAP + i * bytes_per_node for i, n in enumerate(sorted(nodes))}
        self._limit = {n: start + bytes_per_node for n, start in self._next.items()}
        self._free: dict[tuple[int, int], list[int]] = {}
        self.seen: dict[int, Allocation] = {}  # what _find() found where; another dict once anything has gone
        self.fail_never()

    def fail_nth(self, nth: int) -> None:
        """Make the n-th attempt from now fail (the next one is the first). It alone fails."""
        target = self.count + nth
        self._doomed = lambda count, kind, size: count == target

    def fail_if(self, refused: Callable[[str, int], bool]) -> None:
        """Make those attempts fail for which refused(kind, size) is true."""
        self._doomed = lambda count, kind, size: refused(kind, size)

    def fail_never(self) -> None:
        """Let every attempt succeed again while there is room."""
        self._doomed = lambda count, kind, size: False

    def allocate(self, kind: str, size: int, node: int) -> int:
        """Take `size` bytes on `node`; return the address, or 0 when it fails."""
        self.count += 1
        span = 1 << max(3, (size - 1).bit_length()) if size else 8
        addr = 0 if self._doomed(self.count, kind, size) else self._place(span, node)
        if addr:
            self.live[addr] = Allocation(addr, size, span, kind, node)
            self.used += span
        else:
            self.failed += 1
        if self.observer:
            self.observer("alloc", kind=kind, size=size, node=node, addr=addr, count=self.count)
        return addr

    def release(self, addr: int) -> None:
        """Give back what allocate() returned."""
        if (allocation := self.live.pop(addr, None)) is None:
            raise MemoryError_(f"freeing {addr:#x}, which is not allocated")
        self.used -= allocation.span
        self.seen = {}
        self._free.setdefault((allocation.node, allocation.span), []).append(addr)
        if self.observer:
            self.observer("free", kind=allocation.kind, size=allocation.size, node=allocation.node, addr=addr,
                          count=self.count)

    def new(self, cls: type[T], node: int, size: int | None = None) -> T:
        """Allocate a zeroed structure (with `size` bytes, where it ends in an array); None when it fails."""
        addr = self.allocate(cls.__name__, size or sizeof(cls), node)
        if not addr:
            return NULL
        thing = self.live[addr].thing = place(cls, addr)
        return thing

    def new_array(self, kind: type | str, items: Sequence[Any], node: int, cls: type[Array] = Array) -> Array:
        """Allocate an array that holds `items`; `kind` is a C type's name or a structure class."""
        name = kind if isinstance(kind, str) else kind.__name__
        if not (addr := self.allocate(f"{name}[]", sizeof(kind) * len(items), node)):
            return NULL
        array = self.live[addr].thing = place_array(kind, items, addr, cls)
        if not isinstance(kind, str):
            size = sizeof(kind)
            for item in array:
                item._addr = addr
                addr += size
        return array

    def free(self, thing: Any) -> None:
        """Free a structure or an array that new() or new_array() returned; None is freed for nothing."""
        if thing is not None:
            self.release(thing._addr)

    def part(self, addr: int, size: int, thing: Any) -> None:
        """Note that `size` bytes at `addr`, within an allocation, are given out and hold a thing; None: no more."""
        self.seen = {}
        if thing is None:
            del self.parts[addr]
        else:
            self.parts[addr] = Allocation(addr, size, size, type(thing).__name__, 0, thing)

    def at(self, addr: int, length: int = 1) -> Allocation:
        """The allocation, or part of one, that all of `length` bytes at `addr` are in."""
        found = self.seen.get(addr) or self._find(addr)
        if addr + length > found.addr + found.size:
            raise MemoryError_(f"{length} bytes at {addr:#x} reach beyond {found.kind} of {found.size} bytes")
        return found

    def _find(self, addr: int) -> Allocation:
        start = addr
        while start:
            found = self.parts.get(start) or self.live.get(start)
            if found is not None and addr < start + found.size:
                if found.thing is None:
                    raise MemoryError_(f"nothing is kept at {addr:#x}, in {found.kind} of {found.size} bytes")
                if len(self.seen) > _MOST_SEEN:
                    self.seen.clear()
                self.seen[addr] = found
                return found
            start &= start - 1  # whatever is allocated is aligned to its span
        raise MemoryError_(f"nothing is allocated at {addr:#x}")

    def read(self, addr: int, length: int) -> bytes:
        """The bytes at an address, as a device sees them."""
        found, here = self._here(addr, length)
        data = wire.peek(found.thing, addr - found.addr, here)
        return data if here == length else data + self.read(addr + here, length - here)

    def write(self, addr: int, data: bytes) -> None:
        """Store bytes at an address: what lies there has their values from then on."""
        found, here = self._here(addr, len(data))
        wire.poke(found.thing, addr - found.addr, data[:here])
        if here < len(data):
            self.write(addr + here, data[here:])

    def _here(self, addr: int, length: int) -> tuple[Allocation, int]:
        """The allocation at an address, and how many of `length` bytes are in it: all, unless it is of whole pages,
        behind which another may go on."""
        found = self.seen.get(addr) or self._find(addr)
        if (here := found.addr + found.size - addr) >= length:
            return found, length
        return (found, here) if found.size % PAGE_SIZE == 0 else (self.at(addr, length), length)

    def item(self, addr: int) -> tuple[Array, int]:
        """The array that an address is in, and the number of the item that begins there."""
        found = self.at(addr)
        return found.thing, (addr - found.addr) // sizeof(found.thing.kind)

    def store(self, addr: int, value: Any) -> None:
        """Make the item of an array that begins at `addr` such a value."""
        array, n = self.item(addr)
        array[n] = value

    def totals(self) -> dict[tuple[str, int], int]:
        """Return live bytes by (kind, node)."""
        totals: Counter = Counter()
        for allocation in self.live.values():
            totals[allocation.kind, allocation.node] += allocation.size
        return dict(totals)

    def _place(self, span: int, node: int) -> int:
        """Find room for `span` bytes, a power of two: a freed block, a slot of a slab page, or new pages."""
        if node not in self._next:
            node = min(self._next)
        if free := self._free.get((node, span)):
            return free.pop()
        if span < PAGE_SIZE:
            if page := self._place_pages(PAGE_SIZE, node):
                self._free.setdefault((node, span), []).extend(range(page + PAGE_SIZE - span, page, -span))
            return page
        return self._place_pages(span, node)

    def _place_pages(self, span: int, node: int) -> int:
        addr = -(-self._next[node] // span) * span
        if addr + span > self._limit[node]:
            return self._split(span, node)
        self._next[node] = addr + span
        return addr

    def _split(self, span: int, node: int) -> int:
        """Take `span` bytes from the smallest larger block that was freed; 0 where there is none."""
        sizes = [size for (on, size), free in self._free.items() if on == node and size > span and free]
        if not (larger := min(sizes, default=0)) or larger < PAGE_SIZE:
            return 0
        addr = self._free[node, larger].pop()
        while larger > span:
            larger //= 2
            self._free.setdefault((node, larger), []).append(addr + larger)
        return addr


def place(cls: type[T], addr: int) -> T:
    """Return a zeroed structure that lies at `addr`, in memory that is already allocated."""
    thing: Any = cls()
    thing._addr = addr
    return thing


def place_array(ctype: type | str, items: Iterable[Any], addr: int, cls: type[Array] = Array) -> Array:
    """Return an array of these items that lies at `addr`, in memory that is already allocated."""
    array = cls(ctype, items)
    array._addr = addr
    return array


def address_of(thing: Any) -> int:
    """The address of a structure or array; 0 for None and for what is not in the model's memory."""
    return getattr(thing, "_addr", 0) if isinstance(thing, Struct | Array) else 0
