"""A recording replayed: its steps, and what every structure held at each of them.

A step is what one function does from its call, or from where something it called came back, to its next call or its
return. A call makes a step even if nothing happens in it; a coming back only if something does.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from types import MemberDescriptorType
from typing import Any, NamedTuple

from blkmodel.sim.structure import Array, Struct
from blkmodel.trace.events import Alloc, Assign, Call, Enter, Free, Item, Leave, Log, Return
from blkmodel.trace.recorder import Node, Recording


class Step(NamedTuple):
    """Events start to end (without) of a recording. path: the calls it is in, outermost first; none outside of all
    functions. call: whether it begins with the last of these being called. event: what ended it, or None."""

    start: int
    end: int
    context: int
    path: tuple[Node, ...]
    call: bool
    event: Any


class Change(NamedTuple):
    """A field (or an item, `[3]`) of a structure (or an array) changed at event `at`."""

    at: int
    thing: Any
    field: str
    old: Any
    new: Any


class Replay:
    """What a recording's steps are, and what was there at each: all of it computed from its events.

    `steps` in order. `forest`: context → its call trees. `first`: index of a Call event → the number of the step that
    it begins (the first step is number 1). `objects`: the structures and arrays that changed, in the order of their
    first change.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording, self.events = recording, recording.events
        self.forest = recording.forest()
        self.steps = list(steps_of(recording.events, self.forest))
        self.first = {step.path[-1].start: number for number, step in enumerate(self.steps, 1) if step.call}
        self.objects = []
        self._changes: dict[int, dict[str, list[Change]]] = {}
        for change in _changes(self.events):
            if id(change.thing) not in self._changes:
                self.objects.append(change.thing)
            self._changes.setdefault(id(change.thing), {}).setdefault(change.field, []).append(change)
        self._names = _names(self.objects, self.events)

    def end(self, number: int) -> int:
        """How many events have happened when so many steps are done."""
        return self.steps[number - 1].end if number else 0

    def step_of(self, at: int) -> int:
        """The number of the step in which an event happens."""
        return bisect_right(self.steps, at, key=lambda step: step.end) + 1

    def fields(self, thing: Any) -> list[str]:
        """The fields (or items) of an object that change at any time, in the order of their first change."""
        return list(self._changes.get(id(thing), ()))

    def value(self, thing: Any, field: str, at: int) -> Any:
        """What a field holds once `at` events have happened."""
        if not (changes := self._changes.get(id(thing), {}).get(field)):
            return thing[int(field[1:-1])] if field.startswith("[") else getattr(thing, field)
        done = bisect_left(changes, at, key=lambda change: change.at)
        return changes[done - 1].new if done else changes[0].old

    def changes(self, start: int, end: int | None) -> dict[tuple[Any, str], tuple[Any, Any]]:
        """What changed in the events start to end: (object, field) → (old, new); not what is as it was before."""
        found: dict[tuple[int, str], list] = {}
        for change in _changes(self.events, start, end):
            entry = found.setdefault((id(change.thing), change.field), [change.thing, change.old, change.new])
            entry[2] = change.new
        return {(thing, field): (old, new) for (_, field), (thing, old, new) in found.items() if not _same(old, new)}

    def name(self, thing: Any) -> tuple[str, str]:
        """What an object is called: its type, numbered where there are several; what it is embedded in, if anything."""
        return self._names.get(id(thing)) or (_type(thing), "")

    def memory(self, at: int) -> tuple[tuple[int, int], tuple[int, int], Alloc | None]:
        """What was taken once `at` events have happened, and what was given back, and the last that was taken.

        Each of the two is (how many, bytes); a refused allocation counts among what was taken, with no bytes.
        """
        taken = [event for event in self.events[:at] if type(event) is Alloc]
        freed = [event for event in self.events[:at] if type(event) is Free]
        return ((len(taken), sum(event.size for event in taken if event.addr)),
                (len(freed), sum(event.size for event in freed)), taken[-1] if taken else None)

    def log(self, at: int) -> list[str]:
        """The lines of the kernel's log so far."""
        return [event.line for event in self.events[:at] if type(event) is Log]

    def own(self, step: Step) -> list[Any]:
        """The objects that the functions of a step's path changed themselves before that step, last changed first."""
        found: dict[int, object] = {}
        for earlier in self.steps[:bisect_left(self.steps, step.start, key=lambda each: each.start)]:
            if earlier.context == step.context and earlier.path == step.path[:len(earlier.path)]:
                for thing, _ in self.changes(earlier.start, earlier.end):
                    found.pop(id(thing), None)
                    found[id(thing)] = thing
        return list(reversed(found.values()))

    def over(self, number: int) -> int | None:
        """The number of the step that follows when what the current step calls is not looked into; None at the end."""
        step = self.steps[number - 1] if number else None
        if step is None or type(step.event) is not Call:
            return number + 1 if number < len(self.steps) else None
        called = self.steps[self.first[step.end] - 1].path[-1]
        return self._after(called.end)

    def out(self, number: int) -> int | None:
        """The number of the first step after the current function has returned; None where there is none."""
        path = self.steps[number - 1].path if number else ()
        return self._after(path[-1].end) if path else None

    def caller(self, number: int) -> int | None:
        """The number of the last step of the current function's caller before it was called; None without one."""
        path = self.steps[number - 1].path[:-1] if number else ()
        if not path:
            return None
        begun = self.first[self.steps[number - 1].path[-1].start]
        return next(before for before in range(begun - 1, 0, -1) if self.steps[before - 1].path == path)

    def calls_of(self, words: str) -> list[tuple[int, str]]:
        """The numbers of the steps in which functions with these letters in their name are called, with the name."""
        return [(number, step.path[-1].function) for number, step in enumerate(self.steps, 1)
                if step.call and words in step.path[-1].function]

    def _after(self, event: int | None) -> int | None:
        if event is None:
            return None
        number = bisect_left(self.steps, event + 1, key=lambda step: step.start)
        return number + 1 if number < len(self.steps) else None


def shown(replay: Any, field: str, value: Any) -> str:
    """A value in a few letters."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:#x}" if abs(value) >= 1 << 20 or field.endswith(("flags", "bits", "mode")) else str(value)
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, Struct | Array):
        return f"→ {replay.name(value)[0]}"
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    return value.name if hasattr(value, "name") and isinstance(value.name, str) else type(value).__name__


def steps_of(events: list[Any], forest: dict[int, list[Node]]) -> Iterator[Step]:
    """Yield the steps: the events, cut where a function is called or returns, or another context begins or goes on."""
    nodes = {node.start: node for trees in forest.values() for tree in trees for node in tree.walk()}
    paths: dict[int, list[Node]] = {}
    contexts, begun, call, work = [0], 0, False, False
    for at, event in enumerate(events):
        if (kind := type(event)) not in (Call, Return, Enter, Leave):
            work = True
            continue
        if call or work:
            yield Step(begun, at, contexts[-1], tuple(paths.get(contexts[-1], ())), call, event)
        begun, call, work = at + 1, kind is Call, False
        if kind is Enter:
            contexts.append(event.context)
        elif kind is Leave:
            contexts.pop()
        elif kind is Call:
            paths.setdefault(event.context, []).append(nodes[at])
        else:
            paths[event.context].pop()
    if call or work:
        yield Step(begun, len(events), contexts[-1], tuple(paths.get(contexts[-1], ())), call, None)


def _changes(events: list[Any], start: int = 0, end: int | None = None) -> Iterator[Change]:
    """The assignments among the events start to end; a slice of an array is those of its items that become others."""
    for at in range(start, len(events) if end is None else end):
        event = events[at]
        if type(event) is Assign and not event.field.startswith("_"):
            yield Change(at, event.object, _place_of(event), event.old, event.new)
        elif type(event) is Item:
            if isinstance(event.index, slice):
                places = range(*event.index.indices(len(event.array)))
                yield from (Change(at, event.array, f"[{i}]", old, new)
                            for i, old, new in zip(places, event.old, event.new, strict=True) if old is not new)
            else:
                yield Change(at, event.array, f"[{event.index % len(event.array)}]", event.old, event.new)


def _place_of(event: Assign) -> str:
    """The field that is assigned to; of a union, whose members are names of one place, always the same."""
    place = getattr(type(event.object), event.field, None)
    return place.__name__ if type(place) is MemberDescriptorType else event.field


def _same(old: Any, new: Any) -> bool:
    return old is new or (type(old) is type(new) and not isinstance(old, Struct | list | dict) and old == new)


def _type(thing: Any) -> str:
    return f"{thing.ctype}[{len(thing)}]" if isinstance(thing, Array) else type(thing).__name__


def _names(objects: list[Any], events: list[Any]) -> dict[int, tuple[str, str]]:
    """Identity → (name, what it is embedded in) of every object that changes or is put anywhere."""
    known = {id(thing): thing for thing in objects}
    for event in events:
        if type(event) is Assign and isinstance(event.new, Struct | Array):
            known.setdefault(id(event.new), event.new)
    inside: dict[int, tuple] = {}
    for thing in list(known.values()):
        for each in fields(thing) if is_dataclass(thing) else ():
            held = getattr(thing, each.name)
            if each.default_factory is not MISSING and isinstance(held, Struct):
                inside.setdefault(id(held), (thing, each.name))
    many, seen, names = Counter(map(_type, known.values())), Counter[str](), {}
    for key, thing in known.items():
        kind = _type(thing)
        seen[kind] += 1
        names[key] = f"{kind} {seen[kind]}" if many[kind] > 1 else kind
    return {key: (name, _place(key, inside, names)) for key, name in names.items()}


def _place(key: int, inside: dict[int, tuple[Any, str]], names: dict[int, str]) -> str:
    """Where an embedded structure is: the outermost one around it, and the fields that lead to it."""
    path: list[str] = []
    while key in inside and len(path) < 6:
        owner, field = inside[key]
        path.insert(0, field)
        key = id(owner)
    return f"{names[key]}.{'.'.join(path)}" if path else ""
