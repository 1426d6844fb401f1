"""Logical volumes: made, made larger and smaller, activated and removed."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from blkmodel.sim import NULL
from blkmodel.userland.libdm import Refused
from blkmodel.userland.lvm import allocation
from blkmodel.userland.lvm.allocation import ANYWHERE, Allocation, maps_of
from blkmodel.userland.lvm.groups import extents_of, group, logical_volume, name_problem, new_uuid
from blkmodel.userland.lvm.process import WRONG, Failed, Process
from blkmodel.userland.lvm.sizes import (extents_of_size, new_part, reduced, resized_part, stripes_asked_for,
    stripes_of_last, stripes_to_add, whole_stripes)
from blkmodel.userland.lvm.units import Size, display_size
from blkmodel.userland.lvm.volumes import LogicalVolume, Run, VolumeGroup, device

PREFIXES = ("pvmove", "snapshot")
COMPONENTS = ("_cdata", "_cmeta", "_corig", "_cpool", "_cvol", "_wcorig", "_mimage", "_mlog", "_rimage", "_rmeta",
              "_tdata", "_tmeta", "_vdata", "_imeta", "_iorig", "_pmspare", "_vorigin")


# The commands. Each takes its process, and the words that are no options.

def lvcreate(process: Process, *words: str) -> None:
    """Make a logical volume."""
    options = process.options
    _size_or_extents(process, bool(words), "Please specify either size or extents (not both).")
    if options.get("type", "linear" if "stripes" not in options else "striped") == "linear":
        for option in ("stripes", "stripesize"):
            if option in options:
                process.fail(f"Command does not accept option: --{option} {process.typed[option]}.", status=WRONG)
    vg_name, *paths = words
    name = _new_name(process, vg_name.removeprefix("/dev/"))
    process.no_zero()
    stripes, stripe_size = stripes_asked_for(process)
    vg = group(process, vg_name)
    untouched = _untouched(process)
    size = options.get("size") or options["extents"]
    extents = extents_of_size(process, vg, size.amount) if "size" in options else size.amount
    ranges, named = extents_of(process, vg, paths)
    if size.percent:
        extents = new_part(process, vg, size, ranges if named else None)
        whole = stripes * max(stripe_size // vg.extent_size, 1)
        if (rest := extents % whole) and vg.free_count < extents - rest + whole:
            process.say(f"Rounding size ({extents} extents) down to stripe boundary size ({extents - rest} extents)")
            extents -= rest
            if not extents:
                process.fail("Adjusted size of logical volume is 0 extents. Needs to be larger.")
    if name is not None and vg.lv(name) is not None:
        process.fail(f'Logical Volume "{name}" already exists in volume group "{vg.name}"')
    if stripe_size > vg.extent_size:
        process.say(f"Reducing requested stripe size {display_size(stripe_size)} to maximum, physical extent size "
                    f"{display_size(vg.extent_size)}.")
        stripe_size = vg.extent_size
    if rest := extents % stripes:
        up = extents + stripes - rest
        process.say(f"Rounding size {display_size(extents * vg.extent_size)} ({extents} extents) up to stripe boundary "
                    f"size {display_size(up * vg.extent_size)} ({up} extents).")
        extents = up
    alloc = options.get("alloc", "inherit")
    volumes = len({pv.number for pv, _, _ in ranges})
    if alloc != ANYWHERE and stripes > volumes:
        process.fail(f"Number of stripes ({stripes}) must not exceed number of physical volumes ({volumes})")
    if not size.percent and vg.free_count < extents:
        process.fail(f'Volume group "{vg.name}" has insufficient free space ({vg.free_count} extents): {extents} '
                     "required.")
    lv = LogicalVolume(name or _free_name(vg), vg, new_uuid(), alloc)
    _extend(process, lv, extents, stripes, stripe_size, ranges, alloc, bool(size.percent))
    vg.lvs.append(lv)
    if options.get("activate", "y") != "n":
        try:
            process.activate(lv, new=True)
        except Refused:
            vg.lvs.remove(lv)
            raise
    if untouched:
        process.warn(f"WARNING: Logical volume {lv.full_name} not zeroed.")
    process.say(f'Logical volume "{lv.name}" created.')


def resize(process: Process, *words: str, extend: bool) -> None:
    """Make a logical volume larger (lvextend), or smaller (lvreduce)."""
    options = process.options
    _size_or_extents(process, bool(words), "Please specify either size or extents but not both.",
                     needed=not extend or len(words) < 2)
    process.no_zero()
    word, *paths = words
    lv = logical_volume(process, word)
    vg = lv.vg
    ranges, named = extents_of(process, vg, paths)
    stripes, stripe_size = stripes_to_add(process, vg)
    size = options.get("size") or options.get("extents") or Size("+", 100, "PVS")
    amount, physical = size.amount, False
    if "size" in options:
        if rest := amount % vg.extent_size:
            amount += vg.extent_size - rest if size.sign != "-" else -rest
            process.say(f"Rounding size to boundary between physical extents: {display_size(amount)}.")
        amount //= vg.extent_size
    elif size.percent:
        amount, physical = resized_part(process, lv, size, ranges if named else None)
    if size.sign == "-" or (not size.sign and amount < lv.extents):
        stripes, stripe_size, wanted, last_part = reduced(process, lv, size, amount)
    else:
        stripes, stripe_size = stripes_of_last(process, lv, stripes, stripe_size)
        last_part = amount if size.sign == "+" else amount - lv.extents
        wanted = lv.extents + last_part
    if not wanted:
        process.fail("New size of 0 not permitted.")
    if wanted == lv.extents:
        process.fail(f"New size ({wanted} extents) matches existing size ({lv.extents} extents).")
    wanted = whole_stripes(process, lv, wanted, last_part, stripes, stripe_size, size)
    if wanted < lv.extents and extend:
        process.fail(f"New size given ({wanted} extents) not larger than existing size ({lv.extents} extents)")
    if wanted > lv.extents and not extend:
        process.fail(f"New size given ({wanted} extents) not less than existing size ({lv.extents} extents)")
    if wanted == lv.extents:
        process.fail(f"New size ({wanted} extents) matches existing size ({lv.extents} extents)")

    before, segments = lv.extents, [replace(segment) for segment in lv.segments]
    if wanted < before:
        _confirm_reduction(process, lv, wanted)
        lv.cut(before - wanted)
    else:
        approximate = (physical and not size.sign) or (size.sign == "+" and size.percent == "FREE")
        _extend(process, lv, wanted - before, stripes, stripe_size, ranges,
                options.get("alloc") or lv.alloc, approximate)
    was = f"{display_size(before * vg.extent_size)} ({before} extents)"
    if lv.extents == before:
        process.say(f"Size of logical volume {lv.full_name} unchanged from {was}.")
    else:
        process.say(f"Size of logical volume {lv.full_name} changed from {was} to "
                    f"{display_size(lv.extents * vg.extent_size)} ({lv.extents} extents).")
        if lv.active:
            try:
                process.suspend(lv)
            except Refused:
                lv.segments = segments
                process.warn(f"Failed to suspend logical volume {lv.full_name}.")
                raise
            process.resume(lv)
    process.say(f"Logical volume {lv.full_name} successfully resized.")


def lvchange(process: Process, *words: str) -> None:
    """Make logical volumes mapped devices, or none."""
    if "activate" not in process.options:
        process.no_syntax()
    def change(lv: LogicalVolume) -> None:
        if process.options["activate"] != "n":
            process.activate(lv)
        elif lv.active:
            process.unused(lv)
            process.deactivate(lv)
    _each(process, words, change)


def _each(process: Process, words: Sequence[str], do: Callable[[LogicalVolume], object]) -> None:
    """Call do() for each logical volume that is named, and all of each group; one that fails does not keep it from the
    others."""
    failed: Exception | None = None
    for word in words:
        one = "/" in word.removeprefix("/dev/")
        for lv in [logical_volume(process, word, 'Failed to find logical volume "{0}/{1}"')] if one \
                else list(group(process, word).lvs):
            try:
                do(lv)
            except (Failed, Refused) as why:
                failed = failed or why
    if failed:
        raise failed


def lvremove(process: Process, *words: str) -> None:
    """Remove logical volumes."""
    def remove(lv: LogicalVolume) -> None:
        if lv.active:
            process.unused(lv)
            process.ask(f"Do you really want to remove active logical volume {lv.full_name}",
                        f"Logical volume {lv.full_name} not removed.")
            try:
                process.deactivate(lv)
            except Refused:
                process.warn(f"Cannot deactivate logical volume {lv.full_name}.")
                raise
        lv.vg.lvs.remove(lv)
        process.say(f'Logical volume "{lv.name}" successfully removed.')
    _each(process, words, remove)


# Their parts

def _new_name(process: Process, vg_name: str) -> str | None:
    """The name that a new volume is to have, or None."""
    if "name" not in process.options:
        return None
    name = process.options["name"].removeprefix("/dev/")
    if "/" in name:
        its_vg, _, name = name.partition("/")
        if "/" in name:
            process.wrong(f'"{process.options["name"]}": Invalid path for Logical Volume.')
        if its_vg != vg_name:
            process.wrong(f'Inconsistent volume group names given: "{its_vg}" and "{vg_name}"')
    for how, part in (*(("starting", each) for each in PREFIXES if name.startswith(each)),
                      *(("including", each) for each in COMPONENTS if each in name)):
        process.wrong(f'Names {how} "{part}" are reserved. Please choose a different LV name.')
    if name_problem(name):
        process.wrong(f'Logical volume name "{name}" is invalid.')
    return name


def _size_or_extents(process: Process, enough: bool, not_both: str, needed: bool = True) -> None:
    """One of the two options must be given, or (where none is needed) may be; and there must be words enough."""
    if len(given := {"size", "extents"} & process.options.keys()) == 2:
        process.wrong(not_both)
    if not enough or (needed and not given):
        process.no_syntax()


def _untouched(process: Process) -> bool:
    """Whether a new volume is to be left as it is: neither zeroed nor wiped. (The model never does either.)"""
    options = process.options
    zero = options.get("zero", "y")
    wipe = options.get("wipesignatures", zero)
    if kind := {"n": "inactive", "ay": "auto activated"}.get(options.get("activate", "")):
        if options.get("zero", options.get("wipesignatures")) == "y":
            # LVM 2.03.16 takes that for success
            process.fail(f"Cannot zero {kind} logical volume with option -Zy or -Wy.", status=0)
        return True
    return zero == wipe == "n"


def _free_name(vg: VolumeGroup) -> str:
    """The name that LVM gives: lvol0, or one more than the highest there is."""
    numbers = [int(found[1]) for lv in vg.lvs if (found := re.match(r"lvol([0-9]+)", lv.name))]
    return f"lvol{max(numbers) + 1 if numbers else 0}"


def _extend(process: Process, lv: LogicalVolume, extents: int, stripes: int, stripe_size: int, ranges: list[Run],
            alloc: str, as_much_as_possible: bool) -> None:
    """Allocate extents for a volume, and add them to its segments."""
    before = lv.extents
    request = Allocation(maps_of(ranges), extents, stripes, before, lv.segments[0] if lv.segments else None,
                         lv.segments[-1] if lv.segments else None, lv.name)
    if stripes > 1 and extents % stripes:
        process.fail(f"Number of extents requested ({extents}) needs to be divisible by {stripes}.")
    try:
        request.run(lv.vg.alloc if alloc == "inherit" else alloc, as_much_as_possible)
    except allocation.Full as why:
        process.fail(str(why))
    lv.add(request.found, stripe_size)


def _confirm_reduction(process: Process, lv: LogicalVolume, wanted: int) -> None:
    if lv.active:
        also = " and open" * bool((device(lv) or NULL).open_count)
        process.warn(f"WARNING: Reducing active{also} logical volume to {display_size(wanted * lv.vg.extent_size)}.")
        process.warn("THIS MAY DESTROY YOUR DATA (filesystem etc.)")
        process.ask(f"Do you really want to reduce {lv.full_name}", f"Logical volume {lv.full_name} NOT reduced.")
