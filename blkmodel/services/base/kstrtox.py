"""Numbers in texts. Each function returns (0, value), or (-errno, None) where the text is not such a number
(lib/kstrtox.c, kernel.h, lib/vsprintf.c)."""

from typing import Any

from blkmodel.services.base.errno import EINVAL, ERANGE

_HEX = tuple("0123456789abcdef")
_TRUE, _FALSE = ("y", "Y", "1"), ("n", "N", "0")


def _kstrto(text: str, base: int, low: int, high: int) -> tuple[int, Any]:
    text = text.removesuffix("\n")
    sign = -1 if text.startswith("-") and low < 0 else 1
    digits = text[1:] if text[:1] in ("-" if sign < 0 else "+",) else text
    if base == 0:
        if digits[:2].lower() == "0x":
            base, digits = 16, digits[2:]
        else:
            base = 8 if digits.startswith("0") else 10
    if not digits or any(c not in "0123456789abcdef"[:base] for c in digits.lower()):
        return -EINVAL, None
    value = sign * int(digits, base)
    return (0, value) if low <= value <= high else (-ERANGE, None)


def kstrtoint(text: str, base: int) -> tuple[int, Any]:
    return _kstrto(text, base, -(1 << 31), (1 << 31) - 1)


def kstrtouint(text: str, base: int) -> tuple[int, Any]:
    return _kstrto(text, base, 0, (1 << 32) - 1)


def kstrtoul(text: str, base: int) -> tuple[int, Any]:
    return _kstrto(text, base, 0, (1 << 64) - 1)


def kstrtobool(text: str) -> tuple[int, Any]:
    """`y`, `1`, `on` and what begins so, or `n`, `0`, `off`."""
    if text[:1] in _TRUE or text[:2].lower() == "on":
        return 0, True
    if text[:1] in _FALSE or text[:2].lower() == "of":
        return 0, False
    return -EINVAL, None


def simple_strtoul(text: str, base: int) -> tuple[int, str]:
    """The number that a text begins with, and the rest of the text: (0, text) where it begins with none."""
    start = 2 if base == 16 and text[:2].lower() == "0x" and text[2:3].lower() in _HEX else 0
    end = start
    while end < len(text) and text[end].lower() in _HEX[:base]:
        end += 1
    return int(text[start:end] or "0", base) & 0xFFFFFFFFFFFFFFFF, text[end:]
