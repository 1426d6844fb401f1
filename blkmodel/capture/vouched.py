"""What vouches for each function of the mirror: a recording, and of what, or only the kernel's source.

`calls`: a recording of calls has it. `state`: none has, but it runs where a recording of queues, of what a controller
saw, or of a session of dmsetup is met. `source`: neither; it was read from the kernel's source, and only tests of the
model's own hold it.
"""

import sys
from collections import Counter
from types import FrameType
from typing import Any

from blkmodel.capture import maps, trees
from blkmodel.capture.check import check_file
from blkmodel.capture.formats import read
from blkmodel.capture.recordings import every
from blkmodel.reference import mirror
from blkmodel.reference.source import definitions
from blkmodel.sim.machine import from_capture

CALLS, STATE, SOURCE = KINDS = "calls", "state", "source"


def vouched() -> dict[tuple[str, str], str]:
    """(file, function) → one of KINDS, for every function of the mirror."""
    calls, state = _in_calls(), _run_for_state()
    own = [(each.file, each.name) for each in mirror.functions()]
    return {each: CALLS if each in calls else STATE if each in state else SOURCE for each in own}


def by_file(of: dict[tuple[str, str], str]) -> dict[str, Counter[str]]:
    """File → how many of its functions each kind vouches for."""
    counted: dict[str, Counter[str]] = {}
    for (file, _), kind in sorted(of.items()):
        counted.setdefault(file, Counter())[kind] += 1
    return counted


def said() -> str:
    """All of it in one sentence."""
    number = Counter(vouched().values())
    return (f"Of the {number.total()} functions of the model's mirror, {number[CALLS]} occur in a recording of calls; "
            f"{number[STATE]} more run where a recording of state is met; {number[SOURCE]} were read from the kernel's "
            "source, and only the project's own tests hold them.")


def _in_calls() -> set[tuple[str, str]]:
    found: set[str] = set()
    for path in every("calls"):
        found = found.union(*(trees.functions(trees.expand(each["calls"])) for each in read(path)["contexts"]))
    return {(each.file, name) for name in found for each in definitions().get(name, ())}


def _run_for_state() -> set[tuple[str, str]]:
    """What runs where recordings of state are met; of queue maps the first case of each driver and each set of its
    parameters, on each machine."""
    codes = {id(each.function.__code__): (each.file, each.name) for each in mirror.functions()}
    seen: set[int] = set()

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            seen.add(id(frame.f_code))
    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        for path in (*every("device"), *every("dm")):
            check_file(path)
        for path in every("maps"):
            document = read(path)
            firsts = {(case["driver"], *sorted(case["params"])): case for case in reversed(document["cases"])}
            for case in firsts.values():
                maps.compare_case(from_capture(document["machine"]), case)
    finally:
        sys.setprofile(before)
    return {codes[code] for code in seen & codes.keys()}
