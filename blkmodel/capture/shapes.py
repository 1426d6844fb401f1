"""What a recording must look like, in parts: each shape checks a value and says where it is wrong, and what would be
right. A shape is a function of a value and its place in the file, such as `cases[3].params`.
"""

from blkmodel.sim.machine import MachineError, parse_cpulist


class ShapeError(ValueError):
    """A value is not what its place asks for."""

    def __init__(self, place, expected, found):
        self.place = place or "the file"
        self.expected = expected
        shown = repr(found)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        super().__init__(f"{self.place}: expected {expected}, found {shown}")


def text(value, place):
    if not isinstance(value, str):
        raise ShapeError(place, "a text", value)


def text_or_none(value, place):
    """A text, or null."""
    if value is not None:
        text(value, place)


def count(value, place, least=0):
    if type(value) is not int or value < least:
        raise ShapeError(place, f"a number, at least {least}", value)


def number_from(least):
    return lambda value, place: count(value, place, least)


def parameter(value, place):
    """What a module's parameter can be given."""
    if type(value) not in (int, bool, str):
        raise ShapeError(place, "a number, true or false, or a text", value)


def cpulist(value, place):
    """CPUs in the kernel's list syntax."""
    text(value, place)
    try:
        parse_cpulist(value)
    except MachineError as why:
        raise ShapeError(place, "a list of CPUs such as 0-3,8", value) from why


def anything(value, place):
    """No shape is asked for."""


def one_of(*values):
    def check(value, place):
        if value not in values:
            raise ShapeError(place, f"one of {', '.join(map(str, values))}", value)
    return check


def list_of(shape):
    def check(value, place):
        if not isinstance(value, list):
            raise ShapeError(place, "a list", value)
        for i, item in enumerate(value):
            shape(item, f"{place}[{i}]")
    return check


def mapping(key, shape):
    """An object whose keys are data; `key` says whether one is right, and is named in the message."""
    def check(value, place):
        if not isinstance(value, dict):
            raise ShapeError(place, "an object", value)
        for name, item in value.items():
            if not key(name):
                raise ShapeError(place, f"keys that are {key.__doc__}", name)
            shape(item, f"{place}.{name}")
    return check


def cpu_number(name):
    """numbers"""
    return name.isdecimal()


def device_path(name):
    """names below /dev"""
    return name.startswith("/dev/")


def interrupt(name):
    """`admin` or the number of an I/O queue"""
    return name == "admin" or name.isdecimal()


def fields(required, optional=None, closed=True):
    """An object with these fields. One that is not closed may have others, which then mean nothing."""
    optional = optional or {}

    def check(value, place):
        if not isinstance(value, dict):
            raise ShapeError(place, f"an object with {', '.join(required)}", value)
        for name, shape in required.items():
            if name not in value:
                raise ShapeError(place, f"the field {name}", sorted(value))
            shape(value[name], _join(place, name))
        for name, item in value.items():
            if name in optional:
                optional[name](item, _join(place, name))
            elif closed and name not in required:
                raise ShapeError(place, f"no fields but {', '.join((*required, *optional))}", name)
    return check


def _join(place, name):
    return f"{place}.{name}" if place else name
