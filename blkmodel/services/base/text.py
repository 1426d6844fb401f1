"""Texts: kinds of characters, copies, and numbers in texts. To the kernel a text is bytes: each is looked at alone, and
byte 0xa0 is a blank. The kstrto…() return (0, value), or (-errno, None) where the text is not such a number
(include/linux/ctype.h, lib/string.c, mm/util.c, lib/kstrtox.c, kernel.h, lib/vsprintf.c)."""

import re
from typing import Any

from blkmodel.services.base.err import EINVAL, ERANGE
from blkmodel.services.memory.slab import NUMA_NO_NODE, wished_node
from blkmodel.sim import NULL, this

SPACES = " \t\n\v\f\r\xa0"


def each_byte(text: str) -> str:
    """A text as the kernel has it: a character for each byte."""
    return text.encode("utf8", "surrogateescape").decode("latin1")


def of_bytes(text: str) -> str:
    """A text as we have it, of one that has a character for each byte."""
    return text.encode("latin1").decode("utf8", "surrogateescape")


def isspace(character: str) -> bool:
    return character in SPACES


def skip_spaces(text: str, at: int) -> int:
    """Where the first character from `at` on is that is no blank."""
    while at < len(text) and isspace(text[at]):
        at += 1
    return at


class allocated(str):
    """A text on the heap, at _addr; kfree() frees it."""

    _addr = 0


def kstrdup(text: str, gfp: int) -> allocated:
    """A copy of a text; None where there is no memory for it."""
    addr = this().memory.allocate("char[]", len(text.encode("utf8", "surrogateescape")) + 1, wished_node(NUMA_NO_NODE))
    if not addr:
        return NULL
    copy = allocated(text)
    copy._addr = addr
    return copy


_OVERFLOW = 1 << 64
_DIGITS = {8: "01234567", 10: "0123456789", 16: "0123456789abcdefABCDEF"}


def _kstrto(text: str, base: int, low: int, high: int) -> tuple[int, Any]:
    sign = -1 if text.startswith("-") and low < 0 else 1
    digits = text[1:] if text[:1] in ("-" if sign < 0 else "+",) else text
    if base == 0:
        if digits[:2].lower() == "0x":
            base, digits = 16, digits[2:]
        else:
            base = 8 if digits.startswith("0") else 10
    end = len(digits) - len(digits.lstrip(_DIGITS[base]))
    if (number := int(digits[:end] or "0", base)) >= _OVERFLOW:  # C sees that before it sees what follows
        return -ERANGE, None
    if not end or digits[end:] not in ("", "\n"):
        return -EINVAL, None
    return (0, sign * number) if low <= sign * number <= high else (-ERANGE, None)


def kstrtoint(text: str, base: int) -> tuple[int, Any]:
    return _kstrto(text, base, -(1 << 31), (1 << 31) - 1)


def kstrtouint(text: str, base: int) -> tuple[int, Any]:
    return _kstrto(text, base, 0, (1 << 32) - 1)


kstrtou32 = kstrtouint


def kstrtoul(text: str, base: int) -> tuple[int, Any]:
    return _kstrto(text, base, 0, (1 << 64) - 1)


def kstrtos64(text: str, base: int) -> tuple[int, Any]:
    return _kstrto(text, base, -(1 << 63), (1 << 63) - 1)


def kstrtobool(text: str) -> tuple[int, Any]:
    """`y`, `1`, `on` and what begins so, or `n`, `0`, `off`."""
    if text[:1] in ("y", "Y", "1") or text[:2].lower() == "on":
        return 0, True
    if text[:1] in ("n", "N", "0") or text[:2].lower() == "of":
        return 0, False
    return -EINVAL, None


def simple_strtoul(text: str, base: int) -> tuple[int, str]:
    """The number that a text begins with, and the rest of the text: (0, text) where it begins with none."""
    start = 2 if base == 16 and re.match("0[xX][0-9a-fA-F]", text) else 0
    rest = text[start:].lstrip(_DIGITS[base])
    return int(text[start:len(text) - len(rest)] or "0", base) & 0xFFFFFFFFFFFFFFFF, rest


def sscanf(text: str, form: str) -> list[Any]:
    """Read what a format of %u, %lu, %llu, %d and %c, white space and other characters says, as far as the text goes.

    Returns the values that were read. A number is decimal; one that is too large loses its upper bits.
    """
    values: list[int | str] = []
    at = 0
    for part in re.findall(r"%l*[udc]|\s+|.", form):
        if part.isspace() or (part[-1] in "ud" and part[0] == "%"):
            if not text[at:] and not part.isspace():  # C looks for an end before it skips blanks
                break
            at = skip_spaces(text, at)
        if part.isspace():
            continue
        pattern = {"c": r"(?s:.)", "u": r"[0-9]+", "d": r"-?[0-9]+"}[part[-1]] if part[0] == "%" else re.escape(part)
        if not (found := re.compile(pattern).match(text, at)):
            break
        at = found.end()
        if part == "%c":
            values.append(found[0])
        elif part[0] == "%":
            bits = 64 if "l" in part else 32
            number = int(found[0]) & (1 << bits) - 1
            values.append(number - (number >> bits - 1 << bits) if part[-1] == "d" else number)
    return values
