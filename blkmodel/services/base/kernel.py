"""Small arithmetic, and numbers in texts (include/linux/kernel.h, lib/vsprintf.c)."""

import re
from typing import Any


def min_not_zero(a: int, b: int) -> int:
    """The smaller of two numbers of which 0 stands for none."""
    return min(a, b) if a and b else a or b


def round_down(number: int, multiple: int) -> int:
    return number - number % multiple


def round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def sscanf(text: str, form: str) -> list[Any]:
    """Read what a format of %u, %lu, %llu, %d and %c, white space and other characters says, as far as the text goes.

    Returns the values that were read. A number is decimal; one that is too large loses its upper bits.
    """
    values: list[int | str] = []
    at = 0
    for part in re.findall(r"%l*[udc]|\s+|.", form):
        if part.isspace() or (part[-1] in "ud" and part[0] == "%"):
            at = len(text) - len(text[at:].lstrip())
        if part.isspace():
            continue
        pattern = {"c": r"(?s:.)", "u": r"[0-9]+", "d": r"-?[0-9]+"}[part[-1]] if part[0] == "%" else re.escape(part)
        found = re.compile(pattern).match(text, at)
        if not found:
            break
        at = found.end()
        if part == "%c":
            values.append(found[0])
        elif part[0] == "%":
            bits = 64 if "l" in part else 32
            number = int(found[0]) & (1 << bits) - 1
            values.append(number - (number >> bits - 1 << bits) if part[-1] == "d" else number)
    return values
