"""Physical volumes and volume groups: which disks there are extents on, and how to find what a name means."""

import re
from collections.abc import Sequence

from blkmodel.include.linux.genhd import dev_to_part, hd_struct, part_devt, part_to_disk
from blkmodel.services import (IS_ERR, O_EXCL, O_RDWR, S_IFBLK, devices, filp_close, filp_open, format_dev_t,
    is_power_of_2)
from blkmodel.sim import this
from blkmodel.userland.getopt import saturated
from blkmodel.userland.lvm.process import Process
from blkmodel.userland.lvm.units import Size, display_size
from blkmodel.userland.lvm.volumes import (EXTENT_SIZE, PE_START, LogicalVolume, PhysicalVolume, Run, VolumeGroup,
    metadata)

PV_MIN_SIZE = 4096  # sectors: 2 MiB
NAME_LEN, U32_MAX, CLAIMED = 128, (1 << 32) - 1, "Can't open {} exclusively.  Mounted filesystem?"
CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


# The commands. Each takes its process, and the words that are no options.

def pvcreate(process: Process, *paths: str) -> None:
    """Make physical volumes of disks."""
    _make_pvs(process, paths)


def vgcreate(process: Process, name: str, *paths: str) -> None:
    """Make a volume group of disks, and physical volumes of those that are none yet."""
    size = process.options.get("physicalextentsize", Size("", EXTENT_SIZE, None)).amount
    if wrong := name_problem(name):
        process.wrong(wrong, f'New volume group name "{name}" is invalid.')
    if not size:
        process.wrong("Physical extent size may not be zero")
    if _in_filesystem(name):
        process.wrong(f"/dev/{name}: already exists in filesystem")
    if name in metadata().vgs:
        process.fail(f"A volume group called {name} already exists.")
    pvs = _make_pvs(process, paths)
    if not is_power_of_2(size) and size % 256:
        process.fail(f"Physical Extent size must be a multiple of {display_size(256)} when not a power of 2.")
    vg = VolumeGroup(name, new_uuid(), size, process.options.get("alloc", "normal"))
    for pv in pvs:
        vg.add(pv)
    metadata().vgs[name] = vg
    process.say(f'Volume group "{name}" successfully created')


def vgextend(process: Process, name: str, *paths: str) -> None:
    """Add disks to a volume group."""
    pvs = _make_pvs(process, paths)
    vg = group(process, name)
    for pv in pvs:
        vg.add(pv)
    process.say(f'Volume group "{name}" successfully extended')


# What names mean

def group(process: Process, name: str) -> VolumeGroup:
    """A volume group by its name, or `/dev/VG`."""
    if (vg := metadata().vgs.get(name.removeprefix("/dev/"))) is None:
        process.fail(f'Volume group "{name}" not found', f"Cannot process volume group {name}")
    return vg


def logical_volume(process: Process, word: str, missing: str = "Logical volume {1} not found in volume group {0}."
                   ) -> LogicalVolume:
    """A logical volume by `VG/LV`, or `/dev/VG/LV`."""
    vg_name, slash, name = word.removeprefix("/dev/").partition("/")
    if not slash:
        process.wrong("Please specify a logical volume path.")
    if (lv := group(process, vg_name).lv(name)) is None:
        process.fail(missing.format(vg_name, name))
    return lv


def extents_of(process: Process, vg: VolumeGroup, words: Sequence[str]) -> tuple[list[Run], bool]:
    """The extents in which to allocate: of the physical volumes that are named, or of all.

    Returns (physical volume, first, count) of each range, in order, and whether any was named.
    """
    if not words:
        return [(pv, 0, pv.pe_count) for pv in vg.pvs], False
    found: list[Run] = []
    for word in words:
        path, *parts = word.split(":")
        disk = _disk(path)
        pv = next((pv for pv in vg.pvs if disk is not None and pv.number == format_dev_t(part_devt(disk))), None)
        if pv is None:
            process.fail(f'Physical Volume "{path}" not found in Volume Group "{vg.name}".')
        if not pv.free_count:
            process.warn(f'WARNING: No free extents on physical volume "{path}".')
            continue
        for part in parts or ["0-"]:
            found.append((pv, *_range(process, pv, part)))
    if not found:
        process.fail("No specified PVs have space available.")
    return found, True


def _range(process: Process, pv: PhysicalVolume, text: str) -> tuple[int, int]:
    """`4`, `4-7`, `4-`, `-7`, `4+8`: (first extent, count)."""
    match = re.match(r"([0-9]*)(?:(-)([0-9]*)|(\+)([0-9]+))?", text)
    rest = text[match.end():] if match else text
    if match is None or rest or not text:
        process.fail(f"Physical extent parsing error at {rest}.")
    first = last = saturated(match[1], U32_MAX)
    if match[2]:
        last = saturated(match[3], U32_MAX) if match[3] else pv.pe_count - 1
    elif match[4]:
        last = first + saturated(match[5], U32_MAX) - 1
    if last < first or last >= pv.pe_count:
        process.fail(f"PE range error: start extent {first} to end extent {last}.")
    return first, last - first + 1


def name_problem(name: str) -> str | None:
    """What is wrong with a name, or None."""
    if name.startswith("-"):
        return "Name cannot start with hyphen."
    if name in (".", ".."):
        return "Name starts with . or .. and has no following character(s)."
    if not re.fullmatch(r"[a-zA-Z0-9._+-]*", name):
        return "Name contains invalid character, valid set includes: [a-zA-Z0-9.-_+]."
    return f"Name length exceeds maximum limit of {NAME_LEN - 1}." if len(name) >= NAME_LEN else None


def _in_filesystem(name: str) -> bool:
    """Whether /dev has something of that name: a node, or the directory of a group that has an active volume."""
    return (any(node.split("/")[0] == name for node in devices().nodes)
            or (name in metadata().vgs and any(lv.active for lv in metadata().vgs[name].lvs)))


def new_uuid() -> str:
    """An identifier that nothing else has."""
    draw = this().random
    return "".join(draw.choice(CHARACTERS) for _ in range(32))


# Physical volumes

def _make_pvs(process: Process, paths: Sequence[str]) -> list[PhysicalVolume]:
    """Make physical volumes of those disks that are none yet. Returns all, in order."""
    found, refused = [], []
    for path in paths:
        disk = _disk(path)
        pv = None if disk is None else metadata().pvs.get(format_dev_t(part_devt(disk)))
        if disk is None:
            refused.append(f"No device found for {path}.")
        elif pv is None or pv.vg is None:
            found.append((path, disk, pv))
        elif process.command == "pvcreate":
            refused += [f'Can\'t initialize physical volume "{path}" of volume group "{pv.vg.name}" without -ff',
                        f"{path}: physical volume not initialized."]
        else:
            refused += [f"Physical volume '{path}' is already in volume group '{pv.vg.name}'",
                        f"Unable to add physical volume '{path}' to volume group '{pv.vg.name}'",
                        f"{path}: physical volume not initialized."]
    claimed = [path for path, _, _ in found if not _can_claim(path)]
    refused += map(CLAIMED.format, claimed)
    for path, disk, _ in found:
        if path in claimed:
            refused += [CLAIMED.format(path), f"Error opening device {path} for reading at 0 length 4096.",
                        f"Cannot use {path}: device has a signature"]
        elif not disk.partno and any(part_to_disk(disk).part_tbl.part[1:]):
            refused.append(f"Cannot use {path}: device is partitioned")
        elif disk.nr_sects < PV_MIN_SIZE:
            refused.append(f"Cannot use {path}: device is too small (pv_min_size)")
    if refused:
        process.fail(*refused)
    return [pv if pv is not None and process.command != "pvcreate" else _new_pv(process, path, disk)
            for path, disk, pv in found]


def _new_pv(process: Process, path: str, disk: hd_struct) -> PhysicalVolume:
    pv = PhysicalVolume(path, format_dev_t(part_devt(disk)), disk.nr_sects, _first_extent(disk))
    metadata().pvs[pv.number] = pv
    process.say(f'Physical volume "{path}" successfully created.')
    return pv


def _can_claim(path: str) -> bool:
    """Whether a disk can be claimed: nobody else has."""
    if IS_ERR(file := filp_open(path.removeprefix("/dev/"), O_RDWR | O_EXCL)):
        return False
    filp_close(file)
    return True


def _disk(path: str) -> hd_struct | None:
    """The disk, or the partition, that a node is of; None for no such node."""
    node = devices().nodes.get(path.removeprefix("/dev/")) if path.startswith("/dev/") else None
    if node is None or node.mode != S_IFBLK:
        return None
    return next((dev_to_part(dev) for dev in devices().of_class.get("block", ()) if dev.devt == node.rdev), None)


def _first_extent(disk: hd_struct) -> int:
    """Where a disk's extents begin: at 1 MiB, or the next multiple of what the disk likes, where that does not fit."""
    align, limits = PE_START, part_to_disk(disk).queue.limits
    for wish in (limits.io_min >> 9, limits.io_opt >> 9):
        if wish and align % wish:
            align = wish
    return -(-PE_START // align) * align
