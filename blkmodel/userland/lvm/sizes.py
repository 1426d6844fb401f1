"""How many extents a size on the command line comes to: whole extents, percentages of what, whole stripes."""

from blkmodel.services import is_power_of_2
from blkmodel.userland.lvm.allocation import maps_of
from blkmodel.userland.lvm.process import Process
from blkmodel.userland.lvm.units import Size, display_size
from blkmodel.userland.lvm.volumes import LogicalVolume, Run, VolumeGroup

MAX_STRIPES = 128
STRIPE_SIZE_MIN = 8  # sectors: 4 KiB
STRIPE_SIZE = 128  # sectors: 64 KiB
MAX_EXTENTS = (1 << 32) - 1


def stripes_asked_for(process: Process) -> tuple[int, int]:
    """How many stripes are asked for, and their size in sectors (0: for one alone)."""
    options = process.options
    stripes = options.get("stripes", 1)
    stripe_size = options["stripesize"].amount if "stripesize" in options else 0
    if stripes > MAX_STRIPES:
        process.wrong(f"Number of stripes ({stripes}) must be between 1 and {MAX_STRIPES}.")
    if stripes == 1:
        if stripe_size:
            process.say("Ignoring stripesize argument with single stripe.")
        return 1, 0
    if not stripe_size:
        stripe_size = STRIPE_SIZE
        process.say(f"Using default stripesize {display_size(stripe_size)}.")
    if stripe_size < STRIPE_SIZE_MIN or not is_power_of_2(stripe_size):
        process.wrong(f"Invalid stripe size {display_size(stripe_size)}.")
    return stripes, stripe_size


def extents_of_size(process: Process, vg: VolumeGroup, sectors: int) -> int:
    """The extents that hold so many sectors, rounded up."""
    if rest := sectors % vg.extent_size:
        sectors += vg.extent_size - rest
        process.say(f"Rounding up size to full physical extent {display_size(sectors)}")
    if sectors > MAX_EXTENTS * vg.extent_size:
        process.fail(f"Volume too large ({display_size(sectors)}) for extent size {display_size(vg.extent_size)}. "
                     f"Upper limit is less than {display_size(MAX_EXTENTS * vg.extent_size)}.")
    return sectors // vg.extent_size


def stripes_to_add(process: Process, vg: VolumeGroup) -> tuple[int, int]:
    """How many more stripes of which size are asked for, for a volume that there is; 0 for what is not said."""
    options = process.options
    stripe_size = options["stripesize"].amount if "stripesize" in options else 0
    if stripe_size > vg.extent_size:
        process.say(f"Reducing stripe size {display_size(stripe_size)} to maximum, physical extent size "
                    f"{display_size(vg.extent_size)}.")
        stripe_size = vg.extent_size
    if stripe_size and not is_power_of_2(stripe_size):
        process.fail("Stripe size must be power of 2.")
    return options.get("stripes", 0), stripe_size


def _percent(amount: int, of: int, up: bool) -> int:
    return -(-amount * of // 100) if up else amount * of // 100


def new_part(process: Process, vg: VolumeGroup, size: Size, ranges: list[Run] | None) -> int:
    """Extents of a percentage, for a new volume."""
    if size.percent == "LV":
        process.fail("Please express size as %FREE, %PVS or %VG.")
    if not (extents := _part_of_disks(process, vg, size, ranges, False, 0)):
        process.fail("Calculated size of logical volume is 0 extents. Needs to be larger.")
    return extents


def resized_part(process: Process, lv: LogicalVolume, size: Size, ranges: list[Run] | None) -> tuple[int, bool]:
    """Extents of a percentage, for a volume that there is. Returns them, and whether they are a part of the disks."""
    vg, up = lv.vg, size.sign != "-"
    if size.percent == "LV":
        return _percent(size.amount, lv.extents, up), False
    return _part_of_disks(process, vg, size, ranges, up, lv.extents), True


def _part_of_disks(process: Process, vg: VolumeGroup, size: Size, ranges: list[Run] | None, up: bool, before: int
                   ) -> int:
    """Extents of a percentage of what the disks have, or have free; of the ranges, where some are named.

    before: extents that the volume has already. A size that is a part of the group is no larger than what is free.
    """
    if size.percent == "FREE":
        return _percent(size.amount, vg.free_count, up)
    if size.percent != "VG":
        free = None if ranges is None else sum(area.count for each in maps_of(ranges) for area in each.areas)
        return _percent(size.amount, vg.extents if free is None else free, up)
    extents = _percent(size.amount, vg.extents, up)
    if not size.sign and extents > before + vg.free_count:
        extents = before + vg.free_count
        process.say(f"Reducing {size.amount}%VG to remaining free space "
                    f"{display_size(extents * vg.extent_size)} in VG.")
    return extents


def reduced(process: Process, lv: LogicalVolume, size: Size, amount: int) -> tuple[int, int, int, int]:
    """What a smaller size is.

    Returns stripes and stripe size of the segment that will be the last, the size in extents, and how many of them are
    in that segment.
    """
    if {"stripes", "stripesize"} & set(process.options):
        process.say("Ignoring stripes, stripesize and mirrors arguments when reducing.")
    if size.sign == "-":
        if amount >= lv.extents:
            process.fail(f"Unable to reduce {lv.full_name} below 1 extent.")
        amount = lv.extents - amount
    before = 0
    for segment in lv.segments:
        if amount <= before + segment.length:
            break
        before += segment.length
    return len(segment.areas), segment.stripe_size, amount, amount - before


def stripes_of_last(process: Process, lv: LogicalVolume, stripes: int, stripe_size: int) -> tuple[int, int]:
    """Stripes and stripe size for more extents: as asked for, or as in the segments that there are."""
    if stripes == 1 or (stripes > 1 and stripe_size):
        return stripes, stripe_size if stripes > 1 else 0
    their_size = their_stripes = 0
    for segment in lv.segments:
        if ((their_size and their_size != segment.stripe_size and segment.stripe_size and not stripe_size)
                or (their_stripes and their_stripes != len(segment.areas) and not stripes)):
            process.fail("Please specify number of stripes (-i) and stripesize (-I)")
        their_size, their_stripes = segment.stripe_size, len(segment.areas)
    stripes = stripes or their_stripes
    if not stripe_size and stripes > 1:
        stripe_size = their_size or STRIPE_SIZE
        which = "stripesize of last segment" if their_size else "default stripesize"
        process.say(f"Using {which} {display_size(stripe_size)}")
    return stripes, stripe_size


def whole_stripes(process: Process, lv: LogicalVolume, wanted: int, last_part: int, stripes: int, stripe_size: int,
                  size: Size) -> int:
    """A size of which the last segment's part is of whole stripes."""
    vg = lv.vg
    if stripes <= 1:
        return wanted
    if stripe_size < STRIPE_SIZE_MIN:
        process.fail(f"Invalid stripe size {display_size(stripe_size)}.")
    extents = stripes * max(stripe_size // vg.extent_size, 1)
    if not (rest := last_part % extents):
        return wanted
    up = wanted - rest + extents
    if wanted < lv.extents or not size.percent or vg.free_count >= up - lv.extents:
        process.say(f"Rounding size ({wanted} extents) up to stripe boundary size for segment ({up} extents).")
        return up
    process.say(f"Rounding size ({wanted} extents) down to stripe boundary size for segment ({wanted - rest} extents)")
    return wanted - rest
