"""`blkmodel trace`: a recording of the model as text."""

from itertools import groupby
from typing import Any

from blkmodel.reference.source import in_scope
from blkmodel.trace import Alloc, Call, Free, Log, Node, Recording, Return, walk


def call_tree(recording: Recording, everything: bool = False, allocations: bool = False) -> str:
    """Return the calls of each context, indented; equal calls that follow each other as one line with their number.

    By default only functions that the model stands for are shown; `everything` shows all that it has. With
    `allocations` the memory that each call took and gave back stands below it, and the lines that it logged.
    """
    lines = []
    for number, nodes in recording.forest().items():
        context = recording.contexts[number]
        shown = [line for group in _grouped(recording, nodes, everything, allocations) for line in group]
        if shown:
            lines += [f"{context.kind} {context.name}, CPU {context.cpu}", *(f"  {line}" for line in shown), ""]
    return "\n".join(lines).rstrip("\n")


def _grouped(recording: Recording, nodes: list[Node], everything: bool, allocations: bool) -> list[list[str]]:
    """Return the text of each call as a list of lines, with repeats folded."""
    shown: list[list[str]] = []
    for node in nodes:
        below = _below(recording, node, everything, allocations)
        if everything or in_scope(node.file):
            below = [[node.function, *(f"  {line}" for group in below for line in group)]]
        shown += below
    runs = ((group, len(list(run))) for group, run in groupby(shown))
    return [[f"{group[0]}  × {times}" if times > 1 else group[0], *group[1:]] for group, times in runs]


def _below(recording: Recording, node: Node, everything: bool, allocations: bool) -> list[list[str]]:
    """What is shown below one call, in order: its calls, and what happened to memory between them."""
    if not allocations:
        return _grouped(recording, node.calls, everything, allocations)
    groups, at = [], node.start + 1
    for call in [*node.calls, None]:
        end = call.start if call else node.end
        groups += [[text] for event in recording.events[at:end] if (text := _of_event(event))]
        if call:
            groups += _grouped(recording, [call], everything, allocations)
            at = call.end + 1 if call.end is not None else len(recording.events)
    return groups


def _of_event(event: Any) -> str | None:
    if isinstance(event, Alloc):
        return f"+ {event.kind}, {event.size} bytes on node {event.node}" + ("" if event.addr else ": none left")
    if isinstance(event, Free):
        return f"- {event.kind}, {event.size} bytes on node {event.node}"
    return f"log: {event.line}" if isinstance(event, Log) else None


def innermost(recording: Recording) -> str:
    """The function in which a recorded step failed, or sleeps for ever: the innermost that was running at its end."""
    name = "the process"
    for event, _, path, _ in walk(recording):
        if type(event) is Call:
            name = event.function
        elif type(event) is not Return and path:
            name = path[-1].function
    return name
