"""A recording, event by event, with who was at work and in which functions."""

from collections.abc import Container, Iterator
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


def walk(recording: Recording, kinds: Container[type] = ()) -> Iterator[Moment]:
    """Yield the moments of a recording, in order, but for those at which a context begins or ends; with `kinds`, those
    of events of these types."""
    contexts, time, moment_of = [0], 0, tuple.__new__  # which takes half as long as Moment(…)
    paths: dict[int, list[Call]] = {}
    for event in recording.events:
        kind, time = type(event), getattr(event, "time", time)
        if kind is Enter:
            contexts.append(event.context)
        elif kind is Leave:
            contexts.pop()
        else:
            path = paths.setdefault(contexts[-1], [])
            if not kinds or kind in kinds:
                yield moment_of(Moment, (event, contexts[-1], path, time))
            if kind is Call:
                path.append(event)
            elif kind is Return:
                path.pop()
