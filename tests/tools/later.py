"""What a later kernel was recorded to call, cut down to what the figure shows: blkmodel/reference/later.json.

    python -m tests.tools.later          writes it anew, of the recordings that SCENES names

Kept are the functions of the rooms that the model stands for; what they called of others moves up.
"""

from __future__ import annotations

import json
from pathlib import Path

from blkmodel.view.facts.since import SCENES

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "tests" / "recordings" / "linux-6.12"
TABLE = ROOT / "blkmodel" / "reference" / "later.json"
ROOMS = ("block/", "fs/", "drivers/block/", "drivers/md/", "drivers/nvme/")


def files():
    """Function → the files that define it, in the later kernel."""
    found: dict[str, list[str]] = {}
    for row in (RECORDED / "functions.tsv").read_text().splitlines()[1:]:
        function, file, *_ = row.split("\t")
        found.setdefault(function, []).append(file)
    return found


def kept(calls, wanted):
    """The calls that are wanted, in the shape that recordings have; what the others called moves up."""
    found: list = []
    for call in calls:
        if isinstance(call, str):
            found += [call] * (call in wanted)
        elif "repeat" in call:
            inner = kept(call["calls"], wanted)
            found += [{"repeat": call["repeat"], "calls": inner}] if inner else []
        else:
            (name, below), = call.items()
            inner = kept(below, wanted)
            found += ([{name: inner}] if inner else [name]) if name in wanted else inner
    return found


def document():
    """Recording → its scenario, and what was called in each context."""
    wanted = {name for name, places in files().items() if all(place.startswith(ROOMS) for place in places)}
    found = {}
    for name in SCENES.values():
        told = json.loads((RECORDED / "calls" / f"{name}.json").read_text())
        scenario = told["scenario"]
        found[name] = {
            "scenario": {key: scenario[key] for key in ("cpus", "setup", "traced", "roots")},
            "contexts": [[context["context"], kept(context["calls"], wanted)] for context in told["contexts"]]}
    return found


if __name__ == "__main__":
    TABLE.write_text(json.dumps(document(), separators=(",", ":")) + "\n")
