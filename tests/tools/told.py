"""Where the chapters tell of which function and structure of the kernel: blkmodel/reference/told.tsv.

    python -m tests.tools.told           writes it anew, after a chapter has changed

A name is told of where a text has it in backticks, or a cell names it: what is noted beside its call in a tree. Of each
chapter the first such section counts.
"""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

from docutils import nodes

from blkmodel.reference.source import definitions

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "blkmodel" / "reference" / "told.tsv"
NAME = re.compile(r"""[`"](?:struct )?([a-z_]\w+)(?:\(\))?[`"]""")
HEADING = re.compile(r"^#{2,3} (.+)$", re.MULTILINE)


def chapters():
    """The notebooks of the book, in its order."""
    listed = re.findall(r"file: book/([\w-]+)", (ROOT / "_toc.yml").read_text())
    return [name for name in listed if (ROOT / "book" / f"{name}.ipynb").exists() and name not in ("symptoms", "names")]


def sections(chapter):
    """(the section's anchor in the site, text) of a chapter: what is before its first heading has no anchor."""
    cells = json.loads((ROOT / "book" / f"{chapter}.ipynb").read_text())["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    quiet = [text.replace("#", "") if cell["cell_type"] == "code" else text
             for cell, text in zip(cells, texts, strict=True)]
    parts = HEADING.split("\n\n".join(quiet))
    titled = zip(parts[1::2], parts[2::2], strict=True)
    return [("", parts[0]), *((f"#{nodes.make_id(title)}", body) for title, body in titled)]


def told():
    """Name → the places that tell of it, a chapter once."""
    known = set(definitions()) | set(json.loads((files("blkmodel.reference") / "structs.json").read_text())["structs"])
    found: dict[str, dict[str, str]] = {}
    for chapter in chapters():
        for anchor, text in sections(chapter):
            for name in NAME.findall(text):
                if name in known:
                    found.setdefault(name, {}).setdefault(chapter, f"{chapter}{anchor}")
    return {name: list(places.values()) for name, places in sorted(found.items())}


def table():
    """The table as text."""
    return "name\tplaces\n" + "".join(f"{name}\t{' '.join(places)}\n" for name, places in told().items())


if __name__ == "__main__":
    TABLE.write_text(table())
