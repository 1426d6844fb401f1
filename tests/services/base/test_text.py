"""Small arithmetic, and numbers in texts."""

import pytest

from blkmodel.services.base.text import sscanf


@pytest.mark.parametrize(("text", "form", "values"), [
    ("12", "%u%c", [12]),
    ("12x", "%u%c", [12, "x"]),
    ("3 ", "%u%c", [3, " "]),
    (" 7", "%u%c", [7]),
    ("", "%u%c", []),
    ("+7", "%u%c", []),
    ("-7", "%u%c", []),
    ("0x10", "%u%c", [0, "x"]),
    ("4294967297", "%u%c", [1]),
    ("4294967297", "%llu%c", [4294967297]),
    ("18446744073709551617", "%llu%c", [1]),
    ("2147483648", "%d", [-2147483648]),
    ("-5", "%d", [-5]),
    ("259:0", "%u:%u%c", [259, 0]),
    ("259-0", "%u:%u%c", [259]),
    ("1  2 3 4", "%lu %lu %lu %lu%c", [1, 2, 3, 4]),
    ("٣", "%u", []),
])
def test_sscanf(text, form, values):
    assert sscanf(text, form) == values
