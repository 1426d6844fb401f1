"""A tour of the model's own code: the functions that a scenario calls, in the order of their first calls.

It is computed from a recording in which not only the kernel's functions are noted, but the headers' and the services'
too. What the simulation below them does (memory, time, structures) is no part of it.
"""

import ast
import importlib
from collections import Counter
from collections.abc import Callable
from functools import lru_cache, partial
from types import FunctionType
from typing import Any, NamedTuple

from blkmodel import scenario
from blkmodel.reference import rooms
from blkmodel.reference.mirror import MirrorFunction
from blkmodel.sim import booted
from blkmodel.trace import Recording
from blkmodel.trace.recorder import outermost


class Leg(NamedTuple):
    """A part of an evening: the calls to `roots`, as far as they are below a call to `below`, where that is given.

    without: calls that are passed by, with all below them. act: which of the evening's acts they are in.
    """

    title: str
    roots: tuple[str, ...]
    below: str = ""
    without: tuple[str, ...] = ()
    act: int = 0


class Evening(NamedTuple):
    """What is read in one evening. prepare(): done before. acts: each is recorded. room: the only one to read in."""

    title: str
    prepare: Callable[[], Any]
    acts: tuple[Callable[[], Any], ...]
    legs: tuple[Leg, ...]
    room: str = ""


class Step(NamedTuple):
    """A function on the way: where it is (module: dotted, below `blkmodel`; file: the kernel's, or nothing), its lines
    of code, and what it says of itself."""

    function: str
    module: str
    room: str
    file: str
    lines: int
    says: str


EVENINGS = {
    "set-up": Evening("A tag set and a disk's queues", lambda: None, (scenario.nvme_probe,), (
        Leg("the tag set", ("nvme_dev_add",), without=("nvme_dbbuf_set",)),
        Leg("the queues", ("blk_mq_init_queue",), "nvme_alloc_ns"))),
    "read": Evening("A read", scenario.nvme_probe, (partial(scenario.io, "nvme0n1", "read", 0, 4096),), (
        Leg("down to the doorbell", ("blkdev_read_iter",)), Leg("and back", ("nvme_irq",)))),
    "mapped": Evening("A mapped device", scenario.nvme_probe, (
        partial(scenario.dmsetup_run, "create", "lin0", "--notable"),
        partial(scenario.dmsetup_run, "load", "lin0", "--table", "0 2048 linear /dev/nvme0n1 0"),
        partial(scenario.dmsetup_run, "resume", "lin0"), partial(scenario.io, "dm-0", "read", 0, 4096)), (
        Leg("dmsetup create", ("dm_ctl_ioctl",)), Leg("dmsetup load", ("dm_ctl_ioctl",), act=1),
        Leg("dmsetup resume", ("dm_ctl_ioctl",), act=2),
        Leg("a read", ("blkdev_read_iter", "nvme_irq"), act=3)), "drivers/md")}


@lru_cache(maxsize=1)
def functions():
    """Everything that a tour can pass: functions and methods of the mirror, of the headers and of the services."""
    found = []
    for each in (each for each in rooms.modules() if each.file or each.room in ("services", "sim")):
        module = importlib.import_module(f"blkmodel.{each.name}")
        for value in vars(module).values():
            for inner in [value, *(vars(value).values() if isinstance(value, type) else ())]:
                inner = inner.fget if isinstance(inner, property) else inner
                if isinstance(inner, FunctionType) and inner.__code__.co_filename == module.__file__:
                    found.append(MirrorFunction(inner.__qualname__, each.name, inner))
    return found


@lru_cache(maxsize=8)
def _forests(name):
    """The call trees of each of an evening's acts, whatever the context."""
    evening, forests = EVENINGS[name], []
    with booted(4):
        evening.prepare()
        for act in evening.acts:
            with Recording(functions()) as recording:
                act()
            forests.append([node for nodes in recording.forest().values() for node in nodes])
    return forests


def calls(name, leg):
    """The functions that a leg of an evening calls, in the order of the first calls: (qualified name, module)."""
    return [each for each in _all_calls(name, leg) if _modules()[each[1]].room != "sim"]


def _all_calls(name, leg):
    forest = _forests(name)[leg.act]
    if leg.below:
        forest = [node for above in outermost(forest, (leg.below,)) for node in above.calls]
    return dict.fromkeys((node.function, node.file)
                         for tree in sorted(outermost(forest, leg.roots), key=lambda node: node.start)
                         for node in _preorder(tree, leg.without))


def _preorder(node, without):
    if node.function not in without:
        yield node
        for each in node.calls:
            yield from _preorder(each, without)


@lru_cache(maxsize=8)
def tour(name):
    """Leg → what is new in it: a step for each function that no leg and no evening before it has called."""
    evenings = list(EVENINGS)
    known = {each for before in evenings[:evenings.index(name)] for leg in EVENINGS[before].legs
             for each in calls(before, leg)}
    found = {}
    for leg in EVENINGS[name].legs:
        new = [each for each in calls(name, leg) if each not in known]
        known.update(new)
        found[leg] = tuple(_step(*each) for each in new)
    return found


def steps(name):
    """All steps of an evening's tour, in order, of the room to read in, where there is one."""
    room = EVENINGS[name].room
    return tuple(each for of_leg in tour(name).values() for each in of_leg if room in ("", each.room))


def beneath(name):
    """The sum of what the simulation has a part in, on the way of an evening."""
    found = {each for leg in EVENINGS[name].legs for each in _all_calls(name, leg)}
    return total([_step(*each) for each in found if _modules()[each[1]].room == "sim"])


def _step(function, name):
    module, written = _modules()[name], rooms.written(name)[function]
    return Step(function, name, module.room, module.file, written.lines, written.says)


@lru_cache(maxsize=1)
def _modules():
    return {each.name: each for each in rooms.modules()}


def total(steps):
    """How many functions, and how many lines they have together."""
    return len(steps), sum(each.lines for each in steps)


def imports():
    """(room, room) → how many modules of the first import something of the second, whatever only for its type."""
    known = {name: hall(each) for name, each in _modules().items() if not name.startswith("__")}
    found: Counter[tuple[str, str]] = Counter()
    for name, room in known.items():
        beneath = {known[other] for other in _imported(rooms.read(name)[0]) if other in known}
        found.update((room, other) for other in beneath - {room})
    return dict(found)


def hall(module):
    """The room of a module; of what draws, which of its three parts; what has no room is one of its own."""
    path = module.name.replace(".", "/")
    return {"view": path.rpartition("/")[0], "top": path}.get(module.room, module.room)


def _imported(tree):
    """The modules of the package that are imported, by their names below `blkmodel`; not what is only for types."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("blkmodel"):
            module = node.module.removeprefix("blkmodel").removeprefix(".")
            yield from (module, *(f"{module}.{each.name}".removeprefix(".") for each in node.names))
        elif not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
            yield from _imported(node)
