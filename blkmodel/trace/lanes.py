"""Who ran on which CPU, in what context, and who had queued it: computed from a recording. A device has no CPU: −1."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from blkmodel.trace.events import Call, Command, Completion, Enter, Interrupt, Leave, Return
from blkmodel.trace.recorder import Recording


class Run(NamedTuple):
    """A stretch in which one context ran without another in between. start, end: events. time: virtual, nanoseconds.

    woken: the function in which it goes on; None where the context begins. asleep: the function in which it goes
    to sleep at its end; None where the context ends. calls: (depth, function) of what it calls. queued: the context and
    the function that had it queued, or None; posted: before which event. did: what a device did, in words.
    """

    context: int
    kind: str
    name: str
    cpu: int
    start: int
    end: int
    time: int
    woken: str | None
    calls: tuple[tuple[int, str], ...]
    asleep: str | None
    queued: tuple[int, str] | None
    posted: int | None
    did: str


_DOES = ((Command, "fetches", "command"), (Completion, "writes", "completion"), (Interrupt, "sends", "interrupt"))
KINDS = ("task", "worker", "softirq", "irq", "device")


def runs(recording: Recording, tasks: Sequence[str] = ("dio",)) -> list[Run]:
    """Return the runs of a recording in order. `tasks`: names of user's processes; other tasks are workers."""
    made: list[Run] = []
    wanted = {event.posted for event in recording.of(Enter)}
    queuers: dict[int | None, tuple[int, str]] = {}  # event before which something was queued → who queued it
    stack, paths = list[int](), dict[int, list[str]]()
    entered: dict[int, Enter] = {}
    calls: list[tuple[int, str]] = []
    start, time = 0, 0
    woken: str | None = None

    def within() -> str:
        path = paths.get(stack[-1]) if stack else None
        return path[-1] if path else ""

    def close(end: int, asleep: str | None) -> None:
        if stack and (calls or woken is None):
            who, posted = recording.contexts[stack[-1]], entered[stack[-1]].posted
            kind = who.kind if who.kind != "task" or who.name in tasks else "worker"
            made.append(Run(stack[-1], kind, who.name, who.cpu, start, end, time, woken, tuple(calls), asleep,
                            queuers.get(posted), posted, _did(recording.events[start:end])))
    for at, event in enumerate(recording.events):
        if at in wanted and stack:
            queuers[at] = stack[-1], within()
        if type(event) is Enter:
            close(at, within())
            stack.append(event.context)
            woken = within() if event.context in entered else None
            entered.setdefault(event.context, event)
            start, calls, time = at, [], event.time
        elif type(event) is Leave:
            close(at, within() or None)
            stack.pop()
            start, calls, time = at, [], event.time
            woken = within()
        elif type(event) is Call and stack:
            paths.setdefault(event.context, []).append(event.function)
            calls.append((event.depth, event.function))
        elif type(event) is Return and stack:
            paths[event.context].pop()
    return made


def _did(events: list[Any]) -> str:
    """Say what a device did in these events, such as "fetches 2 commands"."""
    counts = Counter(type(event) for event in events)
    said = [f"{does} {counts[kind]} {what}{'s' * (counts[kind] > 1)}" for kind, does, what in _DOES if counts[kind]]
    return ", ".join(said)
