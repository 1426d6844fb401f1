"""Holding what came of a step against a recording of it: the `observed` of `blkmodel-calls/1`.

`results`: what each system call of a process returned, and its errno; of aio, how many were submitted, and the end of
each. `kernel_log`: the lines, in order. `files`: what each file, dmsetup and command said, read in the model at the
same moment: before the step, while it runs, or after it.

While several things are done at a time, files are read just before the last of them begins; a controller's state may be
any that it was in. The first of a list may be of that moment too. A single value is of afterwards, but `inflight` of
several things is of while they run.

What is let pass, and counted, is chance or the test machine's own:

* how long something took there, if both sides differ by at most LATE. It was emulated in software, and a queue's timer
  is late by up to a second, to which it is rounded;
* lines of the log that come from elsewhere in the kernel: its clocks, its random numbers, a link that goes down;
* the tag in `I/O 65 QID 1 timeout`, addresses of memory, and where on the bus a device is;
* which of several CPUs an interrupt goes to, if it may and they are online;
* the times in `stat`;
* on which hardware queue partitions were looked for: where the recording tells (`queued`), the model does it there;
* what earlier steps of the same boot left, which the setup does not have: that a disk has read and written more, that
  paths of multipath have failed more often, and that it no longer waits for its first I/O;
* what dmsetup says of semaphores, which the recorded kernel was built without;
* files and commands that no state of the model answers.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import zip_longest
from typing import Any, NamedTuple

from blkmodel.capture import looks
from blkmodel.capture.files import shown
from blkmodel.capture.reference import as_recorded
from blkmodel.drivers.nvme.host.core import STATE_NAMES
from blkmodel.drivers.nvme.host.nvme_h import nvme_ctrl
from blkmodel.errors import KernelError
from blkmodel.scenario import run_step, together
from blkmodel.sim import Context, parse_cpulist, this
from blkmodel.trace import Assign, Enter, Leave, Log, Recording

LATE = 1500  # milliseconds
WIDE = 200  # characters of a line that are shown
OBSERVER = "observer"
"""The process that reads files while others run; its calls are not the step's."""
TIMES_OF_STAT = (3, 7, 9, 10, 14)
SEMAPHORES = r"Kernel not configured for semaphores \(System V IPC\)\.|Not using udev synchronisation code\."
ELSEWHERE = (r"(audit|clocksource|hrtimer|perf|random|rcu|sched|tsc|workqueue): |"
             r"process \d+ \(.*\) no longer affine to cpu|pcieport \S+: pciehp: Slot\(\d+\): Link (Up|Down)")
"""How lines of the log begin that come from what the model has no part of."""
MASKS = ((r"\bI/O \d+ QID", "I/O TAG QID"), (r"\b(0x)?[0-9a-f]{16}\b|\(____ptrval____\)", "ADDRESS"),
         (r"\b[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\b", "PLACE"), (r"\bSlot\(\d+\)", "Slot"))


class Done(NamedTuple):
    """What one step brought, or its KernelError; when it began and ended, in nanoseconds."""

    result: Any
    began: int
    ended: int


class Watch:
    """Does the traced step of a recording, and looks at what it names: look("before"), run(), look("after").

    steps: the step, or those that are done together. done: what each brought, by its identity. seen: moment → file →
    what it said. online: moment → CPUs. log: what the kernel said meanwhile.
    """

    def __init__(self, document: dict[str, Any], traced: list[Any]) -> None:
        self.traced = traced
        self.later = "observed" in document
        self.observed = document.get("observed", {})
        self.several = self.traced[0] == "together"
        self.steps = [each["step"] for each in self.traced[1]["steps"]] if self.several else [self.traced]
        self.done: dict[int, Done] = {}
        self.seen: dict[str, dict[str, looks.Answer | None]] = {}
        self.online: dict[str, frozenset[int]] = {}
        self.log: list[str] = []

    def look(self, moment: str) -> None:
        """Read every file that the recording names."""
        self.online[moment] = frozenset(this().online)
        self.seen[moment] = {name: looks.read(name, self.steps) for name in
                             {_parts(name)[1]: None for name in self.observed.get("files", ())}}

    def run(self) -> None:
        """Do the step. What the kernel refuses is done, too: what it did until then is what is compared."""
        before = len(this().log)
        if self.several:
            last = max((each.get("ms", 0) for each in self.traced[1]["steps"]), default=0)
            if "files" in self.observed:
                this().loop.post(Context("task", OBSERVER, min(this().online)), partial(self.look, "during"),
                                 max(last * 1_000_000 - 1, 0))
            together(self.traced[1]["steps"], self._do)
        else:
            with suppress(KernelError):
                self._do(self.traced)
        self.log = this().log[before:]

    def _do(self, step: list[Any]) -> Any:
        began, result = this().now, None
        try:
            result = run_step(as_recorded(step, self.later))
        except KernelError as why:
            result = why
            raise
        finally:
            self.done[id(step)] = Done(result, began, this().now)
        return result

    def scanned_elsewhere(self) -> int | None:
        """A CPU of the hardware queue on which the recording has looked for partitions, where the model has not."""
        for name, text in self.observed.get("files", {}).items():
            found = re.fullmatch(r"before/(hctx(\d+)/queued)", name)
            ours = self.seen["before"][found[1]] if found else None
            if found and ours and re.fullmatch(r"\d{1,9}", str(text)) and int(str(text)) > int(str(ours)):
                return next(iter(looks.hctx_of(self.steps, found[2]).cpumask), None)
        return None

    def own(self, recording: Recording) -> frozenset[int]:
        """The contexts of a recording in which files were read, and what that began."""
        found: set[int] = set()
        running: list[int] = []
        for event in recording.events:
            if type(event) is Enter:
                context = recording.contexts[event.context]
                if context.name == OBSERVER or (context.kind == "task" and found.intersection(running[-1:])):
                    found.add(event.context)
                running.append(event.context)
            elif type(event) is Leave:
                del running[-1:]
        return frozenset(found)

    def compare(self, recording: Recording, chance: Counter[str]) -> list[str]:
        """Compare everything. Returns a line for each difference; counts what is let pass."""
        lines = [*self._results(recording, chance), *self._log(recording, chance)]
        for name, recorded in self.observed.get("files", {}).items():
            lines += self._file(name, recorded, recording, chance)
        for key in self.observed.keys() - {"results", "kernel_log", "kernel_log_ms", "files"}:
            chance[f"observed facts that are not compared: {key}"] += len(self.observed[key])
        return lines

    def _results(self, recording: Recording, chance: Counter[str]) -> Iterator[str]:
        ours = [{"op": op, **_outcome(op, done.result), "ms": self._took(done, recording)}
                for step in self.steps if (op := _op(step)) and (done := self.done.get(id(step)))]
        if len(theirs := self.observed.get("results", ours)) != len(ours):
            yield f"results: the recording has {len(theirs)}, the model {len(ours)}"
        for number, (their, our) in enumerate(zip(theirs, ours, strict=False), 1):
            if abs(their.get("ms", our["ms"]) - our["ms"]) > LATE:
                yield f"result {number}: the recording has it after {their['ms']} ms, the model after {our['ms']}"
            for key in {**our, **their}.keys() - {"ms"}:
                if their.get(key) != our.get(key):
                    yield (f"result {number}, {key}: the recording has {shown(their.get(key))}, "
                           f"the model {shown(our.get(key))}")
            chance["milliseconds that something took"] += their.get("ms") != our["ms"]

    def _took(self, done: Done, recording: Recording) -> int:
        """Milliseconds that a step's process ran: one that ran alone until it left its context for good."""
        ended = done.ended
        if not self.several:
            first = next((event.context for event in recording.of(Enter)
                          if recording.contexts[event.context].kind == "task"), 0)
            ended = max((event.time for event in recording.of(Leave) if event.context == first), default=ended)
        return (ended - done.began) // 1_000_000

    def _log(self, recording: Recording, chance: Counter[str]) -> Iterator[str]:
        lines = list(zip_longest(self.observed.get("kernel_log", self.log), self.observed.get("kernel_log_ms", ())))
        theirs = [(line, after) for line, after in lines if line is None or not re.match(ELSEWHERE, line)]
        chance["lines of the log from elsewhere in the kernel"] += len(lines) - len(theirs)
        came, now = [], min((done.began for done in self.done.values()), default=0)
        began = now
        for event in recording.events:
            if type(event) is Log:
                came.append((now - began) // 1_000_000)
            elif type(event) in (Enter, Leave):
                now = event.time
        for number, ((their, after), (our, ours)) in enumerate(
                zip_longest(theirs, zip(self.log, came, strict=True), fillvalue=(None, None)), 1):
            if their is None or our is None or _masked(their) != _masked(our):
                has = ["none" if line is None else shown(line, WIDE) for line in (their, our)]
                yield f"kernel_log, line {number}: the recording has {has[0]}, the model {has[1]}"
                return
            chance["numbers in the log: tags, addresses, places on the bus"] += their != our
            if after is not None and ours is not None and abs(after - ours) > LATE:
                yield f"kernel_log, line {number}: the recording has it after {after} ms, the model after {ours}"

    def _file(self, name: str, recorded: str | list[str], recording: Recording, chance: Counter[str]) -> list[str]:
        moment, bare = _parts(name)
        values, lines = recorded if isinstance(recorded, list) else [recorded], []
        for i, value in enumerate(values):
            last = i == len(values) - 1
            at = [moment] if moment else ["after"] if last else ["before"]
            if self.several and not moment and (not last or (not i and bare.endswith("inflight"))):
                at = ["before", "during"] if len(values) > 1 else ["during"]
            if i > 0 and not last:
                at = [*at, "after"]
            ours = [text for each in at if (answer := self.seen.get(each, {}).get(bare)) is not None
                    for text in (answer if isinstance(answer, list) else [answer])]
            if i > 0 and not last and bare.endswith("/state"):
                ours = [STATE_NAMES.get(event.new, "") for event in recording.of(Assign)
                        if event.field == "state" and isinstance(event.object, nvme_ctrl)] + ours
            if (told := self._told(bare)) is not None:
                ours = [told]
            if ours:
                lines += differs(name, value, ours, self.online.get(at[0], frozenset()), chance)
            else:
                chance[f"files that only the test machine has: {re.sub('[0-9]+', 'N', bare)}"] += 1
        return lines

    def _told(self, name: str) -> str | None:
        """What there is to say of the steps themselves: how a command ended and what it printed; whether one process
        had returned when another began."""
        done = [self.done[id(step)] for step in self.steps]
        if self.several and re.fullmatch(r"returned before the \w+", name):
            return "yes" if done[0].ended < done[-1].began else "no"
        ended = re.fullmatch(r"(?:(\S+) )?exit", name)
        for step, each in zip(self.steps, done, strict=True):
            if step[0] == "dmsetup":
                if " ".join(step) == name:
                    return " ".join([f"exit {each.result.exit}", each.result.output, *each.result.errors])
            elif ended and ended[1] in (None, step[1].get("file")):
                return str(int(isinstance(each.result, KernelError)))
        return None


def _parts(name: str) -> tuple[str, str]:
    """A file's moment, before or after or "", and its name."""
    first, _, rest = name.partition("/")
    return (first, rest) if first in ("before", "after") else ("", name)


def _op(step: list[Any]) -> str | None:
    """What a result calls a step; None for one that has no result."""
    if step[0] in ("io", "buffered"):
        return str(step[1]["op"])
    if step[0] == "flush":
        return "fdatasync" if step[1].get("datasync") else "fsync"
    return step[0] if step[0] in ("aio", "discard", "zero_out", "rescan_partitions") else None


def _outcome(op: str, result: Any) -> dict[str, Any]:
    """What a system call returned, as a recording has it."""
    if isinstance(result, KernelError):
        return {"return": -1, "errno": result.name}
    if op == "aio":
        return {"submitted": len(result), "events": [_outcome("", each) for each in result]}
    return {"return": len(result) if isinstance(result, bytes) else 0}


def _masked(line: str) -> str:
    for pattern, to in MASKS:
        line = re.sub(pattern, to, line)
    return line.strip()


def differs(name: str, theirs: str, ours: list[str], online: frozenset[int], chance: Counter[str]) -> list[str]:
    """Compare word by word what a file says with what it says in the model: one of `ours`."""
    for what, same in (("", _same), *_CHANCE):
        if any(same(name, theirs, our, online) for our in ours):
            chance[what] += bool(what)
            return []
    return [f"{name}: the recording has {shown(theirs, WIDE)}, the model {shown(ours[0], WIDE)}"]


def _same(name: str, theirs: str, ours: str, online: frozenset[int]) -> bool:
    return theirs.split() == ours.split()


def _same_interrupt(name: str, theirs: str, ours: str, online: frozenset[int]) -> bool:
    found = [re.fullmatch(r"smp_affinity_list=([\d,-]+) effective_affinity_list=(\d{1,5})", text)
             for text in (theirs, ours)]
    allowed = {each[1] for each in found if each}
    return (all(found) and len(allowed) == 1 and
            {int(each[2]) for each in found if each} <= online.intersection(parse_cpulist(*allowed)))


def _same_counts(name: str, theirs: str, ours: str, online: frozenset[int]) -> bool:
    """Whether a disk has done at least as much: earlier steps of the boot count, too."""
    counts = [[word for i, word in enumerate(text.split()) if i not in TIMES_OF_STAT] for text in (theirs, ours)]
    return (name.endswith("stat") and len(theirs.split()) == len(ours.split())
            and all(re.fullmatch(r"\d{1,19}", word) for word in counts[0])
            and all(int(their) >= int(our) for their, our in zip(*counts, strict=True)))


def _same_paths(name: str, theirs: str, ours: str, online: frozenset[int]) -> bool:
    """Whether multipath is in the same state, but that its paths have failed more often, or I/O has come."""
    texts = [" ".join(text.split()) for text in (theirs, ours)]
    same = [re.sub(r"(multipath 2 )[01]\b|( [AF] )\d+\b", r"\1\2N", text) for text in texts]
    waits, failures = ([[int(each) for each in re.findall(pattern, text)] for text in texts]
                       for pattern in (r"multipath 2 ([01])\b", r" [AF] (\d{1,9})\b"))
    return (name.endswith("dmsetup status") and same[0] == same[1] and waits[0] <= waits[1]
            and all(their >= our for their, our in zip(*failures, strict=False)))


def _same_answer(name: str, theirs: str, ours: str, online: frozenset[int]) -> bool:
    return name.startswith("dmsetup ") and re.sub(SEMAPHORES, "", " ".join(theirs.split())).split() == ours.split()


_CHANCE: tuple[tuple[str, Callable[..., bool]], ...] = (
    ("to which of its CPUs an interrupt goes", _same_interrupt), ("times of I/Os in stat", _same_counts),
    ("what earlier steps of the boot did to paths", _same_paths), ("what dmsetup says of semaphores", _same_answer))
