"""A recording, event by event, with who was at work and in which functions."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from blkmodel.trace.events import Call, Enter, Leave, Return
from blkmodel.trace.recorder import Recording


class Moment(NamedTuple):
    """An event. context: a number of the recording's `contexts`. time: nanoseconds since boot.

    path: the calls that are under way in this context, outermost first: without the one that the event makes, with the
    one that it ends. It changes as the walk goes on; copy it to keep it.
    """

    event: Any
    context: int
    path: list[Call]
    time: int

    def within(self, *functions: str) -> bool:
        """Whether these are the innermost functions, the innermost last."""
        return [call.function for call in self.path[-len(functions):]] == list(functions)


def walk(recording: Recording) -> Iterator[Moment]:
    """Yield the moments of a recording, in order, but for those at which a context begins or ends."""
    contexts, time = [0], 0
    paths: dict[int, list[Call]] = {}
    for event in recording.events:
        kind, time = type(event), getattr(event, "time", time)
        if kind is Enter:
            contexts.append(event.context)
        elif kind is Leave:
            contexts.pop()
        else:
            path = paths.setdefault(contexts[-1], [])
            yield Moment(event, contexts[-1], path, time)
            if kind is Call:
                path.append(event)
            elif kind is Return:
                path.pop()
