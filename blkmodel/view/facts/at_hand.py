"""The queues of a machine at hand, as `blkmodel capture` recorded them: what `blkmodel check` says of each case, and
the map that the kernel itself reported, in the form that a queue map is drawn from."""

import json
from collections import Counter
from functools import cached_property, lru_cache
from typing import Any

from blkmodel import releases
from blkmodel.block.blk_mq_h import blk_mq_ctx
from blkmodel.block.blk_mq_tag_h import blk_mq_tags
from blkmodel.capture import maps
from blkmodel.capture.files import FileError
from blkmodel.capture.formats import CAPTURE, parsed
from blkmodel.errors import NotModelled
from blkmodel.include.linux.blk_mq import HCTX_MAX_TYPES, blk_mq_hw_ctx, blk_mq_tag_set
from blkmodel.include.linux.blkdev import request_queue
from blkmodel.services import NUMA_NO_NODE, cpumask
from blkmodel.sim import NULL, Kernel, Machine
from blkmodel.sim.machine import from_capture
from blkmodel.view.facts.queue_facts import TYPES
from blkmodel.view.facts.words import many

AGREES, DIFFERS, BEYOND, LEFT = "agrees", "differs", "is not modelled", "is not looked at"
SEVERAL = {AGREES: "agree", DIFFERS: "differ", BEYOND: "are not modelled", LEFT: "are not looked at"}
MOST_TRIED = 40  # cases that differ from each other
MOST_DRAWN = 256  # CPUs, or queues


class AtHand:
    """A recording of queues. verdicts: of each case what came of it, and a line for each thing that there is to say."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.machine: Machine = from_capture(document["machine"])
        self.release: str = document["kernel"]["release"]
        self.cases: list[dict[str, Any]] = document["cases"]
        self._facts = document["machine"]
        for i, case in enumerate(self.cases):
            for hctx in case["observed"]["hctxs"]:
                if not self.machine.possible.issuperset(hctx["cpus"]):
                    raise FileError(f"cases[{i}]: expected queues of CPUs that the machine can have")

    @cached_property
    def verdicts(self) -> list[tuple[str, list[str]]]:
        tried, found = dict[str, tuple[str, list[str]]](), []
        for case in self.cases:
            same = json.dumps({name: fact for name, fact in case.items() if name != "disk"}, sort_keys=True)
            if same not in tried:
                tried[same] = self._tried(case) if len(tried) < MOST_TRIED else (LEFT, ["`blkmodel check` does that"])
            found.append(tried[same])
        return found

    def _tried(self, case: dict[str, Any]) -> tuple[str, list[str]]:
        try:
            releases.version(self.release)
            if why := maps.not_modelled(self._facts, case, self.release):
                return BEYOND, [why]
        except NotModelled as unknown:
            return BEYOND, [unknown.what]
        lines = maps.compare_case(self.machine, case, Counter(), self.release)
        return (DIFFERS if lines else AGREES), lines

    def summary(self) -> str:
        """How many cases came to what."""
        if not self.cases:
            return "No disk of it has hardware queues."
        came = Counter(verdict for verdict, _ in self.verdicts)
        counts = (f"{came[each]} {SEVERAL[each] if came[each] > 1 else each}" for each in SEVERAL if came[each])
        return f"The model of that release: of {many(len(self.cases), 'case')}, {', '.join(counts)}."

    def drawable(self, case: int) -> bool:
        """Whether a map has room for all, and there is something."""
        queues = len(self.cases[case]["observed"]["hctxs"])
        return 0 < queues <= MOST_DRAWN and len(self.machine.possible) <= MOST_DRAWN

    def queue(self, case: int) -> tuple[request_queue, Kernel]:
        """A request queue and a kernel that have as much as queue_map() draws, with what the kernel said of a case."""
        on, kernel = self.machine, Kernel(self.machine)
        with kernel:
            q = request_queue(queue_ctx=[blk_mq_ctx(cpu=cpu) for cpu in range(kernel.nr_cpu_ids)], queue_hw_ctx=[],
                              tag_set=blk_mq_tag_set(nr_maps=HCTX_MAX_TYPES))
            for each in self.cases[case]["observed"]["hctxs"]:
                kind, cpus = TYPES.index(each.get("type", TYPES[0])), sorted(each["cpus"])
                hctx = blk_mq_hw_ctx(queue_num=each["index"], type=kind, nr_ctx=len(cpus),
                                     cpumask=cpumask(sum(1 << cpu for cpu in set(cpus))),
                                     numa_node=on.node_of[cpus[0]] if cpus else NUMA_NO_NODE,
                                     tags=blk_mq_tags(nr_tags=each["nr_tags"]) if "nr_tags" in each else NULL)
                q.queue_hw_ctx.append(hctx)
                q.tag_set.map[kind].nr_queues += 1
                for cpu in cpus:
                    q.queue_ctx[cpu].hctxs[kind] = hctx
            q.queue_hw_ctx.sort(key=lambda hctx: (hctx.type, hctx.queue_num))
            q.nr_hw_queues = len(q.queue_hw_ctx)
        return q, kernel


@lru_cache(maxsize=1)  # the next question is about the same file, with another case or CPU
def at_hand(written: str) -> AtHand | None:
    """Read what `blkmodel capture` has written; None where nothing is. Raises FileError or ShapeError, with a
    sentence, where that is something else."""
    if not written.strip():
        return None
    document = parsed(written)
    if document["format"] != CAPTURE:
        raise FileError(f"expected {CAPTURE}, which blkmodel capture writes; found {document['format']}")
    return AtHand(document)
