"""The key names every colour that there is."""

from __future__ import annotations

import re

from blkmodel.view.draw.styles import SHEETS
from blkmodel.view.figures.palette import COLOURS, palette
from tests.view.wellformed import parsed, words

INK = {"ink", "dim", "line", "paper", "on", "code", "mono"}  # letters, lines and paper: they stand for nothing


def test_every_colour_of_the_palette_is_named_once():
    colours = set(re.findall(r"--blk-(\w+):", SHEETS["base"])) - INK
    assert colours <= COLOURS.keys()
    assert len(set(COLOURS.values())) == len(COLOURS)
    assert all(f".{kind}{{" in SHEETS["base"] for kind in COLOURS)
    assert all(what in words(palette()) for what in COLOURS.values())
    assert len(list(parsed(palette()).iter("{http://www.w3.org/2000/svg}rect"))) == len(COLOURS)
