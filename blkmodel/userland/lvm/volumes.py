"""Physical volumes, volume groups, logical volumes and their segments: who has which extents, and which table it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from blkmodel.drivers.md import dm, dm_ioctl
from blkmodel.include.linux.genhd import disk_devt
from blkmodel.services import MAJOR, MINOR
from blkmodel.sim import statics
from blkmodel.userland.libdm import Target

PE_START = 2048  # sectors: 1 MiB
EXTENT_SIZE = 8192  # sectors: 4 MiB


@dataclass(eq=False)
class PhysicalVolume:
    """A disk that extents are taken from. Its first one begins at sector pe_start; it has pe_count of them.

    number: the disk's "major:minor"; size: its sectors. vg: the group it is in, or None.
    """

    path: str
    number: str
    size: int
    pe_start: int = PE_START
    pe_count: int = 0
    vg: VolumeGroup | None = None

    def used(self) -> list[tuple[int, int, LogicalVolume]]:
        """(first extent, count, logical volume) of what is taken, in order."""
        found = []
        for lv in self.vg.lvs if self.vg is not None else ():
            for segment in lv.segments:
                found += [(pe, segment.area_length, lv) for pv, pe in segment.areas if pv is self]
        return sorted(found, key=lambda run: run[0])

    def free(self) -> list[tuple[int, int]]:
        """(first extent, count) of what is not taken, in order."""
        found, at = [], 0
        for pe, count, _ in self.used():
            if pe > at:
                found.append((at, pe - at))
            at = pe + count
        if at < self.pe_count:
            found.append((at, self.pe_count - at))
        return found

    @property
    def free_count(self) -> int:
        """How many extents are not taken."""
        return sum(count for _, count in self.free())


Run = tuple[PhysicalVolume, int, int]
"""Extents that lie side by side: on which physical volume, the first of them, and how many."""


@dataclass(eq=False)
class Segment:
    """`length` extents of a logical volume, from its extent `start` on, in parallel areas of equal length.

    areas: the physical volume and first extent of each. stripe_size: sectors; 0 for one area alone.
    """

    start: int
    length: int
    stripe_size: int
    areas: list[tuple[PhysicalVolume, int]]

    @property
    def area_length(self) -> int:
        return self.length // len(self.areas)

    def goes_on_in(self, other: Segment) -> bool:
        """Whether another segment is but the rest of this one."""
        return (len(self.areas) == len(other.areas) and self.stripe_size == other.stripe_size
                and all(pv is their_pv and pe + self.area_length == their_pe for (pv, pe), (their_pv, their_pe)
                        in zip(self.areas, other.areas, strict=True)))


@dataclass(eq=False)
class LogicalVolume:
    """A volume made of segments. alloc: its policy, or "inherit"."""

    name: str
    vg: VolumeGroup
    uuid: str
    alloc: str = "inherit"
    segments: list[Segment] = field(default_factory=list)

    @property
    def extents(self) -> int:
        return sum(segment.length for segment in self.segments)

    @property
    def active(self) -> bool:
        """Whether it is a mapped device."""
        return device(self) is not None

    @property
    def full_name(self) -> str:
        return f"{self.vg.name}/{self.name}"

    @property
    def dm_name(self) -> str:
        """The mapped device's name: hyphens within the two names are doubled."""
        return f"{self.vg.name.replace('-', '--')}-{self.name.replace('-', '--')}"

    @property
    def dm_uuid(self) -> str:
        return f"LVM-{self.vg.uuid}{self.uuid}"

    def add(self, found: list[list[Run]], stripe_size: int) -> None:
        """Add what an allocation found for each stripe; segments that go on in each other become one."""
        for each in zip(*found, strict=True):
            length = each[0][2] * len(each)
            self.segments.append(Segment(self.extents, length, stripe_size if len(each) > 1 else 0,
                                         [(pv, pe) for pv, pe, _ in each]))
        merged: list[Segment] = []
        for segment in self.segments:
            if merged and merged[-1].goes_on_in(segment):
                merged[-1].length += segment.length
            else:
                merged.append(segment)
        self.segments = merged

    def cut(self, extents: int) -> None:
        """Give up the last so many extents."""
        while extents:
            last = self.segments[-1]
            count = min(extents, last.length)
            last.length -= count
            extents -= count
            if not last.length:
                self.segments.pop()

    def targets(self) -> list[Target]:
        """The table: (start, length, type, parameters) of each segment, in sectors."""
        size, found = self.vg.extent_size, []
        for segment in self.segments:
            areas = " ".join(f"{pv.number} {pv.pe_start + pe * size}" for pv, pe in segment.areas)
            kind, params = "linear", areas
            if len(segment.areas) > 1:
                kind, params = "striped", f"{len(segment.areas)} {segment.stripe_size} {areas}"
            found.append((segment.start * size, segment.length * size, kind, params))
        return found

    def table(self) -> str:
        """The table as text, a line for each segment."""
        return "\n".join(" ".join(map(str, target)) for target in self.targets())


class Device(NamedTuple):
    """A volume's mapped device: its number, whether it has a live table and one that is loaded; whether another device
    is made of it, and how often it is open."""

    major: int
    minor: int
    suspended: bool
    live: bool
    loaded: bool
    held: bool
    open_count: int


def device(lv: LogicalVolume) -> Device | None:
    """The mapped device that has a volume's UUID, or None: LVM asks the kernel, whoever may have made it or not."""
    if (cell := dm_ioctl.__get_uuid_cell(lv.dm_uuid)) is None:
        return None
    md = cell.md
    disk = dm.dm_disk(md)
    number = disk_devt(disk)
    holders = disk.part0.holder_dir.links if disk.part0.holder_dir is not None else {}
    found = Device(MAJOR(number), MINOR(number), bool(dm.dm_suspended_md(md)), md.map is not None,
                   cell.new_map is not None, bool(holders), dm.dm_open_count(md))
    dm.dm_put(md)
    return found


@dataclass(eq=False)
class VolumeGroup:
    """Physical volumes whose extents, of extent_size sectors, logical volumes are made of."""

    name: str
    uuid: str
    extent_size: int = EXTENT_SIZE
    alloc: str = "normal"
    pvs: list[PhysicalVolume] = field(default_factory=list)
    lvs: list[LogicalVolume] = field(default_factory=list)

    @property
    def extents(self) -> int:
        return sum(pv.pe_count for pv in self.pvs)

    @property
    def free_count(self) -> int:
        return sum(pv.free_count for pv in self.pvs)

    def lv(self, name: str) -> LogicalVolume | None:
        return next((lv for lv in self.lvs if lv.name == name), None)

    def add(self, pv: PhysicalVolume) -> None:
        pv.vg, pv.pe_count = self, (pv.size - pv.pe_start) // self.extent_size
        self.pvs.append(pv)


class metadata(statics):
    """What the disks of a machine say of LVM (here: without being written to them): physical volumes by the disk's
    number, volume groups by name."""

    def __init__(self) -> None:
        self.pvs: dict[str, PhysicalVolume] = {}
        self.vgs: dict[str, VolumeGroup] = {}
