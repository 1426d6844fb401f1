"""What a kernel log, a stack, a trace or a list of functions is about: which of its lines and names the book knows.

A text may be anything: it has at most MOST characters, and of a line the first WIDE are looked at.
"""

import re
from functools import cache
from typing import NamedTuple

from blkmodel.reference.source import definitions, line_of, rows

MOST, WIDE = 1 << 18, 400
_NAME = re.compile(r"\b(?P<called>[A-Za-z_]\w{1,63})(?=\+0x|\()|\b(?P<long>[a-z_]\w{0,62}_\w{1,62})\b")


class Symptom(NamedTuple):
    """Something that can be seen. key: its anchor; where: in a log, a stack, and so on; pattern: a regular expression,
    or `-`. Made in a function of a file; figure, read: addresses seen from a chapter's page; there may be no figure."""

    key: str
    where: str
    seen: str
    pattern: str
    means: str
    function: str
    file: str
    figure: str
    read: str

    def place(self) -> str:
        """The file of the kernel in which it is made, and the line at which the function begins."""
        return self.file if ":" in self.file else f"{self.file}:{line_of(self.function, self.file)}"


class Found(NamedTuple):
    """What is known of a part of a line: it is a symptom, or it is a function, which may be unknown all the same."""

    line: int
    start: int
    end: int
    symptom: Symptom | None
    function: str = ""


@cache
def symptoms() -> tuple[Symptom, ...]:
    """All symptoms, in the order of their table."""
    return tuple(Symptom(*row) for row in rows("symptoms.tsv"))


@cache
def told() -> dict[str, list[str]]:
    """Function or structure → the places of the book that tell of it: a chapter, and `#` and a section."""
    return {name: places.split() for name, places in rows("told.tsv")}


def lines_of(text: str) -> list[str]:
    """The lines of a text, cut to WIDE; a ValueError where the text is too long."""
    if len(text) > MOST:
        raise ValueError(f"expected a text of at most {MOST} characters, found {len(text)}")
    return [line[:WIDE] for line in re.split(r"\r\n?|\n", text.rstrip())]


def explain(lines: list[str]) -> list[Found]:
    """What is known, or named and unknown, in these lines, in their order. Of a stack the first symptom counts."""
    found, stacked = [], False
    patterns = [(re.compile(each.pattern), each) for each in symptoms() if each.pattern != "-"]
    for number, line in enumerate(lines):
        for pattern, symptom in patterns if len(line) > 9 else ():
            if (seen := pattern.search(line)) and not (stacked and symptom.where == "stack"):
                found.append(Found(number, *seen.span(), symptom))
                stacked |= symptom.where == "stack"
        stacked &= "+0x" in line
        found += [Found(number, *name.span(), None, name[0]) for name in _NAME.finditer(line)
                  if name[0] in definitions() or name["called"]]
    return found
