"""Where LVM puts the extents of a logical volume: the same areas that `lvcreate` and `lvextend` choose.

Policies are tried from the strictest to the one that is allowed: contiguous (right behind the last segment, or in one
piece), cling (on the physical volumes of the first segment), normal, and anywhere (several stripes on one physical
volume). What a policy finds is kept, and the next one goes on from there. Left out: mirrors, RAID, pools, tags.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from blkmodel.userland.lvm.volumes import PhysicalVolume, Run, Segment

CONTIGUOUS, CLING, NORMAL, ANYWHERE = "contiguous", "cling", "normal", "anywhere"
POLICIES = (CONTIGUOUS, CLING, NORMAL, ANYWHERE)


class Full(Exception):
    """There is no room; the message is LVM's."""


@dataclass(eq=False)
class Area:
    """Free extents that lie side by side: `count` of them from `start` on. unreserved: not wanted in this pass."""

    map: PVMap
    start: int
    count: int
    unreserved: int


@dataclass(eq=False)
class PVMap:
    """The free areas of one physical volume, the largest first."""

    pv: PhysicalVolume
    areas: list[Area] = field(default_factory=list)

    def insert(self, area: Area, size: int) -> None:
        """Put an area before the first that is smaller than `size`."""
        self.areas.insert(next((i for i, other in enumerate(self.areas) if size > other.count), len(self.areas)), area)

    def consume(self, area: Area, count: int) -> None:
        """Take extents from the start of an area."""
        self.areas.remove(area)
        if count < area.count:
            area.start += count
            area.count -= count
            area.unreserved = area.count
            self.insert(area, area.count)


def maps_of(ranges: list[Run]) -> list[PVMap]:
    """The free areas in ranges of extents: (physical volume, first, count) each, in the order in which they are to be
    looked at."""
    maps: list[PVMap] = []
    for pv, first, count in ranges:
        if (map := next((each for each in maps if each.pv is pv), None)) is None:
            map = PVMap(pv)
            maps.append(map)
        end = min(first + count, pv.pe_count)
        for start, length in pv.free():
            low, high = max(start, first), min(start + length, end)
            if low < high:
                map.insert(Area(map, low, high - low, high - low), high - low)
    return maps


@dataclass(eq=False)
class Slot:
    """Where one of the parallel areas is to be: so many extents of an area."""

    area: Any = None
    used: int = 0


class Allocation:
    """One request: to add `extents` to a volume that has `before` of them in segments, the last of which is `last`.

    stripes: how many parallel areas. found: for each stripe the (physical volume, first extent, count) chosen.
    """

    def __init__(self, maps: list[PVMap], extents: int, stripes: int, before: int = 0, first: Segment | None = None,
                 last: Segment | None = None, name: str = "") -> None:
        self.maps, self.stripes, self.first, self.last, self.name = maps, stripes, first, last, name
        self.allocated, self.wanted = before, before + extents
        self.found: list[list[Run]] = [[] for _ in range(stripes)]
        self.slots = [Slot() for _ in range(max(len(maps), stripes) + (len(last.areas) if last is not None else 0))]
        self.positional = 0
        self.flags: set[str] = set()

    def run(self, policy: str, as_much_as_possible: bool = False) -> int:
        """Find room, with policies up to that one. Returns how many extents there now are; Full for want of room.

        as_much_as_possible: less than was asked for will do.
        """
        may_split = policy != CONTIGUOUS
        for trying in POLICIES[:POLICIES.index(policy) + 1]:
            before = self.allocated
            if not as_much_as_possible:
                self._check_room()
            self._begin(trying, may_split)
            self._with(trying, as_much_as_possible)
            if self.allocated == self.wanted or (not may_split and self.allocated != before):
                break
        if self.allocated != self.wanted:
            kind = "" if may_split else "contiguous "
            if not as_much_as_possible:
                raise Full(f"Insufficient suitable {kind}allocatable extents for logical volume {self.name}: "
                           f"{self.wanted - self.allocated} more required")
            if not self.allocated:
                raise Full(f"Insufficient suitable {kind}allocatable extents found for logical volume {self.name}.")
        return self.allocated

    def _check_room(self) -> None:
        needed, free = self.wanted - self.allocated, self._free()
        if needed > free:
            raise Full(f"Insufficient free space: {needed} extents needed, but only {free} available")

    def _free(self) -> int:
        return sum(area.count for map in self.maps for area in map.areas)

    def _begin(self, policy: str, may_split: bool) -> None:
        """Which rules a policy has. positional: the n-th area goes on from the n-th one of the segment before."""
        flags = self.flags = set()
        if self.last is not None and self.stripes == len(self.last.areas):
            flags.add("count matches")
            if policy == CONTIGUOUS:
                flags |= {"contiguous", "positional"}
            elif policy == CLING:
                flags |= {"cling", "positional"}
        elif policy == CLING:
            flags |= {"cling to allocated", "positional"}
        if policy == NORMAL and self.allocated != self.wanted:
            flags.add("cling to allocated")
        if may_split:
            flags.add("may split")

    def _with(self, policy: str, as_much_as_possible: bool) -> None:
        while True:
            before = self.allocated
            self._find(policy, self.wanted - self.allocated)
            if before == self.allocated:
                if policy == CLING and {"cling", "positional"} <= self.flags:
                    self.flags.remove("positional")
                elif policy == NORMAL and "cling to allocated" in self.flags:
                    self.flags.remove("cling to allocated")
                else:
                    return
            elif policy == NORMAL:
                self.flags.add("cling to allocated")
            if (policy == CONTIGUOUS or self.allocated == self.wanted or "may split" not in self.flags
                    or (as_much_as_possible and not self._free())):
                return

    def _find(self, policy: str, wanted: int) -> None:
        """Look for one set of parallel areas, and take it if there is one."""
        for slot in self.slots:
            slot.area = None
        for map in self.maps:
            for area in tuple(map.areas):
                if area.unreserved != area.count:
                    area.unreserved = area.count
                    map.areas.remove(area)
                    map.insert(area, area.unreserved)
        last = len(self.last.areas) if self.last is not None and {"contiguous", "cling"} & self.flags else self.stripes
        self.positional = last if "positional" in self.flags else 0

        found = preferred = iteration = 0
        while True:
            before = found
            for map in self.maps:
                if not map.areas:
                    continue
                if not (policy != ANYWHERE and iteration and any(
                        slot.area is not None and slot.area.map is map for slot in self.slots[:self.stripes])):
                    more, is_preferred = self._look_at(map, policy, wanted, found, iteration)
                    found += more
                    preferred += is_preferred
                if policy == ANYWHERE and found + self.positional >= self.stripes:
                    break
                if preferred == self.positional and self.positional == self.stripes:
                    break
            if policy == ANYWHERE and before != found and found < self.stripes:
                continue
            if (policy == NORMAL and preferred and preferred < self.positional and "cling to allocated" in self.flags
                    and not iteration):
                iteration += 1
                continue
            break

        if found + preferred < self.stripes or (
                preferred < self.positional and "cling to allocated" not in self.flags and not found):
            return
        if found > 1:
            end = self.positional + found
            self.slots[self.positional:end] = sorted(self.slots[self.positional:end], key=lambda slot: -slot.used)
        if preferred and preferred != self.positional:
            for slot in self.slots[:self.stripes]:
                if slot.area is None:
                    spare = self.slots[self.positional]
                    slot.area, slot.used = spare.area, spare.used
                    spare.area = None
                    self.positional += 1
        if found + self.positional >= self.stripes:
            self._take(wanted)

    def _look_at(self, map: PVMap, policy: str, wanted: int, found: int, iteration: int) -> tuple[int, bool]:
        """Look at the areas of one physical volume. Returns (how many were noted, whether one is preferred)."""
        more = at = 0
        while at < len(map.areas):
            area = map.areas[at]
            if (verdict := self._check(area, policy, wanted, bool(more), iteration)) in ("preferred", "next volume"):
                return more, verdict == "preferred"
            if verdict == "use":
                more += not more or policy == ANYWHERE
                self._note(self.positional + found + more - 1, area, self._reserve(area, wanted))
            at = map.areas.index(area) + 1
        return more, False

    def _check(self, area: Area, policy: str, wanted: int, already_found: bool, iteration: int) -> str:
        if not area.unreserved or (iteration and any(slot.area is area for slot in self.slots)):
            return "next area"
        if not iteration and {"contiguous", "cling", "cling to allocated"} & self.flags:
            matches = "count matches" in self.flags
            pv, last, first = area.map.pv, self.last, self.first
            if last is not None and ("contiguous" in self.flags or matches) and self._matches(
                    area, [one is pv and pe + last.area_length == area.start for one, pe in last.areas]):
                return self._good()
            if "contiguous" in self.flags:
                return "next area"
            if first is not None and ("cling" in self.flags or matches) and self._matches(
                    area, [one is pv for one, _ in first.areas]):
                return self._good()
            if "cling to allocated" in self.flags and self._matches(
                    area, [any(one is pv for one, _, _ in taken) for taken in self.found]):
                return self._good()
            return "next volume"
        if area.unreserved * self.stripes < wanted and (
                "may split" not in self.flags or (already_found and policy != ANYWHERE)):
            return "next volume"
        return self._good()

    def _good(self) -> str:
        return "preferred" if "positional" in self.flags else "use"

    def _matches(self, area: Area, fitting: list[bool]) -> bool:
        """Whether an area fits one of the parallel ones; if areas are positional, it then gets the slot of that one."""
        positional = "positional" in self.flags
        for i, fits in enumerate(fitting):
            if fits and not (positional and (self.slots[i].area is not None or i >= self.positional)):
                if positional:
                    self._note(i, area, area.count)
                return True
        return False

    def _reserve(self, area: Area, wanted: int) -> int:
        """How much of an area is wanted; it is not wanted again in this pass."""
        required = min(wanted // self.stripes, area.unreserved)
        area.unreserved -= required
        if area.unreserved:
            area.map.areas.remove(area)
            area.map.insert(area, area.unreserved)
        return required

    def _note(self, number: int, area: Area, used: int) -> None:
        while number >= len(self.slots):
            self.slots += [Slot() for _ in self.slots]
        self.slots[number].area, self.slots[number].used = area, used

    def _take(self, wanted: int) -> None:
        length = min(wanted // self.stripes, *(slot.used for slot in self.slots[:self.stripes]))
        for i, slot in enumerate(self.slots[:self.stripes]):
            if length:
                area = slot.area
                self.found[i].append((area.map.pv, area.start, length))
                area.map.consume(area, length)
        self.allocated += length * self.stripes
