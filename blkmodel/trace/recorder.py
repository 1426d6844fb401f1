"""The recorder: what the model did, as plain events, and the call trees they make.

    with record() as recording:        recording = record(fn, argument)
        fn(argument)                   recording.result

The model knows nothing of it. While a recording is on, the interpreter reports calls and returns, which are
matched by code object with the mirror's functions; a hook on the base class of all structures, and one on
arrays, report assignments; memory, contexts, the log, and what passes between processors and devices are reported by
the one place in `sim` or `device` that each passes through. Afterwards all of it is taken off.

What first fills the fields of a structure is its creation, not an assignment, and makes no event.
"""

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cache, partial
from types import FrameType
from typing import Any, Self

from blkmodel.reference import mirror
from blkmodel.sim.kernel import Context, Kernel
from blkmodel.sim.memory import Memory
from blkmodel.sim.structure import Array, Struct
from blkmodel.trace.events import (Alloc, Assign, Call, Command, Completion, ContextRecord, Doorbell, Enter, Free,
    Interrupt, Item, Leave, Log, RegisterRead, RegisterWrite, Return)


class Node:
    """A call in a tree: what it called in turn, in order, and what it returned.

    start and end are the indexes of its Call and its Return among the recording's events (end is None where the
    recording ended first), so that what happened meanwhile can be found.
    """

    __slots__ = ("calls", "context", "end", "file", "function", "start", "value")

    def __init__(self, function: str, file: str, context: int, start: int) -> None:
        self.function, self.file, self.context, self.start = function, file, context, start
        self.end: int | None = None
        self.value: Any = None
        self.calls: list[Node] = []

    def walk(self) -> "Iterator[Node]":
        """Yield this call, and all that are below it, in their order."""
        below = [self]
        while below:
            yield (node := below.pop())
            below += reversed(node.calls)

    def __repr__(self) -> str:
        return f"<{self.function}: {len(self.calls)} calls>"


class RecordingError(RuntimeError):
    """A recording cannot begin."""


class Recording:
    """What happened while it was on: `events`, in order, and the `contexts` they were in.

    Context 0 is whatever ran when the recording began. `result` is what the recorded function returned. functions:
    whose calls to note; without, those that a kernel's own tracer would see. watched: to which structures, and arrays,
    assignments are noted, which are most of the events; without, to all.
    """

    def __init__(self, functions: Sequence[mirror.MirrorFunction] = (), watched: Sequence[type] | None = None) -> None:
        self.events: list[Any] = []
        self.contexts: list[ContextRecord] = []
        self.result: Any = None
        self._watched = (Struct, Array) if watched is None else watched
        self._functions = functions or mirror.traced()  # held, so that no other code gets the identity of theirs

    def __enter__(self) -> Self:
        if Memory.observer:
            raise RecordingError("a recording is on already: leave it first, or record both steps in one")
        stack = [0]
        self.contexts.append(ContextRecord("task", "swapper", 0))
        observe = self._observer(stack)
        set_field, set_item = self._hooks()
        self._fills = {cls: vars(cls)["__init__"] for above in self._watched for cls in _structures(above)}
        for cls, init in self._fills.items():
            cls.__init__ = _filled_unwatched(cls, init)
        for cls in self._watched:
            setattr(cls, *(("__setitem__", set_item) if cls is Array else ("__setattr__", set_field)))
        Memory.observer = Kernel.observer = staticmethod(observe)
        self._unwatch = watch(self._profiler(stack), [each.function for each in self._functions])
        return self

    def __exit__(self, *exc: object) -> None:
        self._unwatch()
        for cls, init in self._fills.items():
            cls.__init__ = init
        for cls in self._watched:
            delattr(cls, "__setitem__" if cls is Array else "__setattr__")
        Memory.observer = Kernel.observer = None

    def _profiler(self, stack: list[int]) -> Callable[[FrameType, str, Any], None]:
        """Make what the interpreter calls at every call and return; `stack` ends in the running context's number."""
        known = {id(each.function.__code__): (each.name, each.file) for each in self._functions}.get
        names = {each.function.__code__.co_name for each in self._functions}  # says enough of most calls
        append, event_of = self.events.append, tuple.__new__  # which takes half as long as Call(…)
        depths = {0: 0}

        def profile(frame: FrameType, event: str, value: Any) -> None:
            if event == "call":
                if (code := frame.f_code).co_name in names and (found := known(id(code))):
                    context, (name, file) = stack[-1], found
                    depth = depths.get(context, 0)
                    depths[context] = depth + 1
                    append(event_of(Call, (name, file, depth, context)))
            elif event == "return":
                if (code := frame.f_code).co_name in names and (found := known(id(code))):
                    context, (name, file) = stack[-1], found
                    if (depth := depths.get(context, 0) - 1) >= 0:
                        depths[context] = depth
                        append(event_of(Return, (name, file, depth, context, value)))
        return profile

    def _hooks(self) -> tuple[Callable[[Struct, str, Any], None], Callable[[Array, Any, Any], None]]:
        """Make the functions that structures and arrays call at every assignment."""
        append, event_of, put = self.events.append, tuple.__new__, object.__setattr__
        missing = object()

        def set_field(self: Struct, name: str, value: Any) -> None:
            old = getattr(self, name, missing)
            put(self, name, value)
            if old is not missing:
                append(event_of(Assign, (self, name, old, value)))

        def set_item(self: Array, index: Any, value: Any) -> None:
            old = self[index]
            list.__setitem__(self, index, value)
            append(event_of(Item, (self, index, old, value)))
        return set_field, set_item

    def _observer(self, stack: list[int]) -> Callable[..., None]:
        """Make the function that `sim` calls when memory, contexts or the log change."""
        posted: dict[int, tuple] = {}  # identity of a context → the context, held, and when it was queued
        running: dict[int, tuple[Context, int]] = {}  # identity of one that has not ended → it, and its number

        def observe(what: str, **facts: Any) -> None:
            if what == "post":
                posted[id(facts["context"])] = facts["context"], len(self.events)
            elif (event := happened[what](**facts)) is not None:
                self.events.append(event)

        def enter(context: Context, time: int) -> Enter:
            if id(context) in running:  # it slept
                stack.append(running[id(context)][1])
                return Enter(stack[-1], time, None)
            stack.append(len(self.contexts))
            self.contexts.append(ContextRecord(context.kind, context.name, context.cpu))
            running[id(context)] = context, stack[-1]
            return Enter(stack[-1], time, posted.pop(id(context), (None, None))[1])

        def sleep(context: Context, time: int) -> Leave | None:
            return Leave(stack.pop(), time) if len(stack) > 1 else None

        def leave(context: Context, time: int) -> Leave | None:
            running.pop(id(context), None)
            return sleep(context, time)

        happened: dict[str, Callable[..., Any]] = {
            "alloc": lambda kind, size, node, addr, count: Alloc(kind, size, node, addr, count),
            "free": lambda kind, size, node, addr, count: Free(kind, size, node, addr),
            "enter": enter, "leave": leave, "sleep": sleep, "resume": enter, "printk": Log,
            "register_read": RegisterRead, "register_write": RegisterWrite, "doorbell": Doorbell, "command": Command,
            "completion": Completion, "interrupt": Interrupt}
        return observe

    def forest(self, roots: Iterable[str] | None = None) -> dict[int, list[Node]]:
        """Return context number → its call trees (lists of Node, in order); contexts without calls are left out.

        With `roots`, the outermost calls to these functions are the trees, and calls outside them are left out.
        """
        trees, open_calls = dict[int, list[Node]](), dict[int, list[Node]]()
        for index, event in enumerate(self.events):
            if type(event) is Call:
                node = Node(event.function, event.file, event.context, index)
                path = open_calls.setdefault(event.context, [])
                (path[-1].calls if path else trees.setdefault(event.context, [])).append(node)
                path.append(node)
            elif type(event) is Return:
                node = open_calls[event.context].pop()
                node.end, node.value = index, event.value
        if roots is not None:
            trees = {n: found for n, forest in trees.items() if (found := list(outermost(forest, set(roots))))}
        return dict(sorted(trees.items()))

    def of(self, *kinds: type) -> list[Any]:
        """Return the events of these kinds, in order."""
        return [event for event in self.events if isinstance(event, kinds)]


def watch(profile: Callable[[FrameType, str, Any], None], functions: Iterable[Any]) -> Callable[[], object]:
    """Let the interpreter tell of calls and returns, besides whom it tells already, until what this returns is called.

    In a page, where setprofile() would look at stacks that are not in memory while they wait, it is told which
    functions to tell of.
    """
    if sys.platform != "emscripten":
        before: Any = sys.getprofile()
        sys.setprofile(_both(before, profile) if callable(before) else profile)
        return partial(sys.setprofile, before)
    monitoring: Any = vars(sys)["monitoring"]
    tool, on = monitoring.PROFILER_ID, monitoring.events
    if monitoring.get_tool(tool) is None:  # once: to take it back would look at stacks that are not in memory
        monitoring.use_tool_id(tool, "blkmodel")
    told = {on.PY_START: "call", on.PY_RESUME: "call", on.PY_RETURN: "return", on.PY_YIELD: "return"}
    for function in functions:
        monitoring.set_local_events(tool, function.__code__, sum(told))

    def tell(event: Any, what: str) -> Callable[[], object]:
        def hook(code: Any, at: int, value: Any = None, frame: Any = None) -> None:
            frame = frame or sys._getframe(1)
            if before:
                before(code, at, value, frame)
            profile(frame, what, value)
        before = monitoring.register_callback(tool, event, hook)
        return partial(monitoring.register_callback, tool, event, before)
    undo = [tell(*each) for each in told.items()]
    return lambda: [each() for each in undo]


def _both(before: Callable[..., None], profile: Callable[..., None]) -> Callable[..., None]:
    """One hook that calls two: whoever else wants to hear of calls goes on to."""
    def hook(frame: FrameType, event: str, value: Any) -> None:
        before(frame, event, value)
        profile(frame, event, value)
    return hook


def _structures(cls: type[Any]) -> Iterator[type[Any]]:
    """A class and all below it that fill structures, but for those of _unwatched(), and those that got their slots in
    another."""
    if cls is not Array and "__setattr__" not in vars(cls) and "__slots__" in vars(cls):
        if "__init__" in vars(cls):
            yield cls
        for below in cls.__subclasses__():
            yield from _structures(below)


@cache
def _unwatched(cls: Any) -> type:
    """A class like this one, whose structures can be filled while assignments are watched, and nobody sees it."""
    same = {name: value for name, value in vars(cls).items() if name not in cls.__slots__}
    return type(cls.__name__, cls.__bases__, same | {"__setattr__": object.__setattr__})


def _filled_unwatched(cls: Any, init: Callable[..., None]) -> Callable[..., None]:
    """What first fills a structure while a recording is on: a hundred thousand requests have forty fields each."""
    become, unwatched = object.__setattr__, _unwatched(cls)

    def fill(self: Any, *args: Any, **fields: Any) -> None:
        become(self, "__class__", unwatched)
        init(self, *args, **fields)
        become(self, "__class__", cls)
    return fill


def outermost(forest: list[Node], roots: Collection[str]) -> Iterator[Node]:
    """Yield the outermost calls to these functions."""
    for node in forest:
        yield from (node,) if node.function in roots else outermost(node.calls, roots)


def under_way(nodes: list[Node], at: int) -> list[Node]:
    """The calls of a context that an event is in, outermost first. One that never returned has not ended."""
    node = next((node for node in nodes if node.start <= at and (node.end is None or at <= node.end)), None)
    return [node, *under_way(node.calls, at)] if node else []


def record(fn: Callable[..., Any] | None = None, *args: Any, watched: Sequence[type] | None = None,
           functions: Collection[str] | None = None, **kwargs: Any) -> Recording:
    """Record what fn(*args, **kwargs) does; without fn, return a recording to be used in a `with` statement.

    watched: as a Recording takes it. functions: names; without, the calls of all functions are noted.
    """
    wanted = mirror.traced()
    recording = Recording([each for each in wanted if functions is None or each.name in functions], watched)
    if fn is not None:
        with recording:
            recording.result = fn(*args, **kwargs)
    return recording
