"""What a recording must look like, in parts: each shape checks a value and says where it is wrong, and what would be
right. A shape is a function of a value and its place in the file, such as `cases[3].params`. Every text, list, object
and number has a largest size.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from blkmodel.capture.files import printable, shown
from blkmodel.sim import MachineError, parse_cpulist

Shape = Callable[[Any, str], None]
MOST_CPUS = 1024  # of a machine that a file describes
MOST_TEXT, MOST_LONG_TEXT = 4096, 1 << 16  # characters; a long one is what a tool printed, or a table
MOST_ITEMS = 1 << 17  # of a list or an object
U64_MAX = (1 << 64) - 1


class ShapeError(ValueError):
    """A value is not what its place asks for."""

    def __init__(self, place: str, expected: str, found: object) -> None:
        self.place = printable(place, keep="") or "the file"
        self.expected = expected
        super().__init__(f"{self.place}: expected {expected}, found {shown(found)}")


def text(value: Any, place: str, most: int = MOST_TEXT) -> None:
    """A text without NUL."""
    if not isinstance(value, str):
        raise ShapeError(place, "a text", value)
    if len(value) > most or "\0" in value:
        raise ShapeError(place, f"a text of at most {most} characters, none of them NUL", value)


def long_text(value: Any, place: str) -> None:
    """A text that may have many lines."""
    text(value, place, MOST_LONG_TEXT)


def text_or_none(value: Any, place: str) -> None:
    """A text that may have many lines, or null."""
    if value is not None:
        long_text(value, place)


def name(value: Any, place: str) -> None:
    """A name as the kernel has them: of a function, a disk, a command of a controller."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_./ -]{1,128}", value):
        raise ShapeError(place, "a name", value)


def count(value: Any, place: str, least: int = 0, most: int = U64_MAX) -> None:
    """A number from 0 on."""
    if type(value) is not int or value < least:
        raise ShapeError(place, f"a number, at least {least}", value)
    if value > most:
        raise ShapeError(place, f"a number, at most {most}", value)


def number_from(least: int, most: int = U64_MAX) -> Shape:
    """Make the shape of a number in a range."""
    return lambda value, place: count(value, place, least, most)


def parameter(value: Any, place: str) -> None:
    """What a module's parameter can be given."""
    if type(value) not in (int, bool, str):
        raise ShapeError(place, "a number, true or false, or a text", value)
    if isinstance(value, str):
        text(value, place)
    else:
        number_from(-(1 << 63))(int(value), place)


def flag(value: Any, place: str) -> None:
    """Whether something is so: true or false, or 1 or 0."""
    if type(value) not in (bool, int) or value not in (0, 1):
        raise ShapeError(place, "true or false", value)


def cpulist(value: Any, place: str) -> None:
    """CPUs in the kernel's list syntax."""
    text(value, place, MOST_LONG_TEXT)
    try:
        cpus_of(value)
    except MachineError as why:
        raise ShapeError(place, "a list of CPUs such as 0-3,8", value) from why


def some_cpus(value: Any, place: str) -> None:
    """One CPU at least, in the kernel's list syntax."""
    cpulist(value, place)
    if not value.strip():
        raise ShapeError(place, "a list of CPUs such as 0-3,8", value)


def cpus_of(written: str) -> frozenset[int]:
    """The CPUs of a list, checked before it is expanded: ASCII digits, in order, none above MOST_CPUS."""
    last = -1
    for part in written.split(",") if written.strip() else []:
        if not (found := re.fullmatch(r"\s*([0-9]{1,20})(?:-([0-9]{1,20}))?\s*", part)):
            raise MachineError(f"CPU list {shown(written)}: {shown(part)} is neither a number nor a range such as 0-3")
        for number in map(int, filter(None, found.groups())):
            if number < last:
                raise MachineError(f"CPU list {shown(written)}: {number} stands behind {last}")
            if number >= MOST_CPUS:
                raise MachineError(f"CPU list {shown(written)}: {number} is above {MOST_CPUS - 1}")
            last = number
    return parse_cpulist(written)


def anything(value: Any, place: str) -> None:
    """No shape is asked for."""


def one_of(*values: str) -> Shape:
    """Make the shape of one of some texts."""
    def check(value: Any, place: str) -> None:
        if value not in values:
            raise ShapeError(place, f"one of {', '.join(values)}", value)
    return check


def list_of(shape: Shape, most: int = MOST_ITEMS) -> Shape:
    """Make the shape of a list."""
    def check(value: Any, place: str) -> None:
        if not isinstance(value, list):
            raise ShapeError(place, "a list", value)
        if len(value) > most:
            raise ShapeError(place, f"a list of at most {most}", len(value))
        for i, item in enumerate(value):
            shape(item, f"{place}[{i}]")
    return check


def one_or_list_of(shape: Shape, most: int = MOST_ITEMS) -> Shape:
    """Make the shape of a value, or of a list of such."""
    several = list_of(shape, most)
    return lambda value, place: (several if isinstance(value, list) else shape)(value, place)


def mapping(key: Callable[[str], bool], shape: Shape, least: int = 0, most: int = MOST_ITEMS) -> Shape:
    """Make the shape of an object whose keys are data; `key` says whether one is right, and is named in the message."""
    def check(value: Any, place: str) -> None:
        if not isinstance(value, dict):
            raise ShapeError(place, "an object", value)
        if not least <= len(value) <= most:
            raise ShapeError(place, f"an object of {least} to {most} fields", len(value))
        for name, item in value.items():
            if not key(name):
                raise ShapeError(place, f"keys that are {key.__doc__}", name)
            shape(item, f"{place}.{name}")
    return check


def plain_name(name: str) -> bool:
    """names of letters, digits and _"""
    return bool(re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", name))


def cpu_number(name: str) -> bool:
    """numbers"""
    return bool(re.fullmatch(r"0|[1-9][0-9]{0,4}", name)) and int(name) < MOST_CPUS


def device_path(name: str) -> bool:
    """names below /dev"""
    return bool(re.fullmatch(r"/dev/[A-Za-z0-9_/-]{1,64}", name))


def interrupt(name: str) -> bool:
    """`admin` or the number of an I/O queue"""
    return name == "admin" or bool(re.fullmatch(r"[1-9][0-9]{0,4}|0", name))


def fields(required: Mapping[str, Shape], optional: Mapping[str, Shape] | None = None, closed: bool = True) -> Shape:
    """Make the shape of an object with these fields. One that is not closed may have others, which mean nothing."""
    others = optional or {}

    def check(value: Any, place: str) -> None:
        if not isinstance(value, dict):
            raise ShapeError(place, f"an object with {', '.join(required)}", value)
        if len(value) > MOST_TEXT:
            raise ShapeError(place, f"an object of at most {MOST_TEXT} fields", len(value))
        for name, shape in required.items():
            if name not in value:
                raise ShapeError(place, f"the field {name}", sorted(value))
            shape(value[name], _join(place, name))
        for name, item in value.items():
            if name in others:
                others[name](item, _join(place, name))
            elif closed and name not in required:
                raise ShapeError(place, f"no fields but {', '.join((*required, *others))}", name)
    return check


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
