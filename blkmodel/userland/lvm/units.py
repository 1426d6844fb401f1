"""Sizes as LVM reads and prints them."""

import re
from math import floor, inf
from typing import NamedTuple

from blkmodel.userland.getopt import saturated

SECTORS = {"b": 1 / 512, "s": 1.0, **{unit: 2 * 1024.0 ** power for power, unit in enumerate("kmgtpe")}}
NAMES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


class Size(NamedTuple):
    """An amount: `sign` is "", "+" or "-"; percent is None, or what `amount` is a percentage of (VG, LV, PVS, FREE).

    amount: sectors, or, where extents were asked for, extents or a percentage.
    """

    sign: str
    amount: int
    percent: str | None


def parse_size(text: str, factor: int = 2048) -> Size:
    """Sectors of a size such as `10m`, `1.5G`, `2048s`; without a unit each is `factor` of them.

    ValueError says what is wrong, in LVM's words.
    """
    sign, digits, unit = re.findall(r"^([+-]?)([0-9]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?)(.?)", text, re.DOTALL)[0]
    if unit in ("+", "-") and not digits:
        raise ValueError("Multiple sign symbols detected.")
    if digits[:1] not in (*"0123456789", "."):
        raise ValueError("Size requires number argument.")
    try:
        value = float(digits)
    except ValueError:
        raise ValueError(f"Can't parse size argument at '{digits[:1]}'.") from None
    unit = unit.lower()
    if value == inf:
        raise ValueError(f"Can't parse size argument at '{unit or ' '}'. Numerical result out of range")
    if unit == "b" and int(value) % 512:
        below = int(value) // 512 * 512
        raise ValueError(f"Size is not a multiple of 512. Try using {below} or {below + 512}.")
    if unit and unit not in SECTORS:
        raise ValueError("Can't parse size argument.")
    value *= SECTORS[unit] if unit else factor
    if value >= float((1 << 64) - 1 >> 9):
        raise ValueError("Size is too big (>=16EiB).")
    return Size(sign, int(value), None)


def parse_extents(text: str) -> Size:
    """Extents such as `+10`, or a percentage such as `50%FREE`. ValueError says, where LVM does, what is wrong."""
    if not (found := re.match(r"([+-]?)([0-9]+)(?:%(.*)|$)", text)):
        raise ValueError
    sign, amount, of = found[1], saturated(found[2], 1 << 64), found[3]
    if amount >= 1 << 63:
        raise ValueError
    if of is None:
        return Size(sign, amount, None)
    if amount >= (1 << 32) - 1:
        raise ValueError("Percentage is too big (>=-1%).")  # LVM prints the limit with its sign
    for full in ("VG", "LV", "PVS", "FREE"):
        if of and full.startswith(of.upper()):
            return Size(sign, amount, full)
    raise ValueError(f"Specified %{of} is unknown.")


def display_size(sectors: int) -> str:
    """Two digits behind the point; `<` says that they were rounded up."""
    if not (size := sectors * 512):
        return "0   "
    unit, name = next((1024 ** n, name) for n, name in enumerate(NAMES) if size < 1024 ** (n + 1) or n == 6)
    hundredths = 100.0 * size / unit
    rounded = "<" if floor(hundredths) != round(hundredths) else ""
    return f"{rounded}{size / unit:.{0 if name == 'B' else 2}f} {name}"
