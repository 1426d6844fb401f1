"""Structures as bytes: how what the model keeps in fields lies in memory, for those that a device reads and writes.

A structure that is on a wire says the type of each field in its annotation: `nsze: u64 = 0`. A text or other bytes
are `Annotated[bytes, 20]`; numbers in a row `Annotated[Any, ("I", 256)]`; a structure within `Annotated[Any, class]`;
structures in a row `Annotated[Any, (class, 32)]`. Where a field lies is what the reference build says; of structures
that it does not describe, fields are declared in order and without gaps, up to the last that somebody uses. All numbers
are little endian.
"""

import struct
from functools import cache
from typing import Annotated, Any, get_type_hints

from blkmodel.sim.structure import Array, T, layouts, sizeof

u8 = Annotated[int, "B"]
u16 = Annotated[int, "H"]
u32 = Annotated[int, "I"]
u64 = Annotated[int, "Q"]

_CODES = {"u64": "Q", "u32": "I", "u16": "H", "u8": "B", "unsigned long": "Q", "unsigned int": "I", "int": "i"}


class NotBytes(AssertionError):
    """A device reads or writes what has no layout: a pointer, or what only the kernel uses."""


@cache
def layout(cls: Any) -> tuple:
    """Each field of a structure class that lies in its bytes: (name, offset, length, type)."""
    known = {each["name"]: each["offset"] for each in layouts().get(cls.__name__, {"fields": ()})["fields"]}
    fields, end = [], 0
    try:
        hints = get_type_hints(cls, include_extras=True)
    except NameError:  # the type of a pointer, which only a type checker imports
        hints = {}
    for name, hint in hints.items():
        if not hasattr(hint, "__metadata__"):
            continue
        of: Any = hint.__metadata__[0]
        kind, count = of if isinstance(of, tuple) else (of, 1)
        length = count * (kind if isinstance(kind, int) else _size(kind))
        offset = known.get(name, end)
        fields.append((name, offset, length, of))
        end = offset + length
    if not fields:
        raise NotBytes(f"struct {cls.__name__} is not laid out as bytes")
    return tuple(fields)


@cache
def codec(cls: Any) -> tuple[Any, tuple]:
    """How a structure's bytes are made in one go: what packs them all, and for each field (name, how many values its
    part has, whether they are a row, what makes bytes of each: a structure class, or None where they are numbers or
    bytes already)."""
    form, fields, end = ["<"], [], 0
    for name, offset, length, of in layout(cls):
        kind, count = of if isinstance(of, tuple) else (of, 1)
        inner = None if isinstance(kind, int | str) else kind
        code = f"{count}{kind}" if isinstance(kind, str) else f"{length // count}s" * count if inner else f"{length}s"
        form.append(f"{offset - end}x{code}")
        fields.append((name, count, isinstance(of, tuple), inner))
        end = offset + length
    form.append(f"{sizeof(cls) - end}x")
    return struct.Struct("".join(form)), tuple(fields)


def pack(thing: Any) -> bytes:
    """The bytes of a structure or an array; items that are None are zeros."""
    if isinstance(thing, Array):
        if isinstance(thing.kind, str):
            return struct.pack(f"<{len(thing)}{_code(thing.kind)}", *thing)
        return b"".join(bytes(sizeof(thing.kind)) if item is None else pack(item) for item in thing)
    if (own := getattr(thing, "to_bytes", None)) is not None:
        return own()
    whole, fields = codec(thing.__class__)
    values: list[Any] = []
    for name, _, row, inner in fields:
        value = getattr(thing, name)
        if inner is None:
            values += value if row else (value,)
        else:
            values += [b"" if each is None else pack(each) for each in (value if row else (value,))]
    return whole.pack(*values)


def unpack(thing: Any, data: bytes) -> None:
    """Give a structure or an array the values that such bytes hold."""
    if isinstance(thing, Array):
        if isinstance(thing.kind, str):
            thing[:] = struct.unpack(f"<{len(thing)}{_code(thing.kind)}", data)
            return
        size = sizeof(thing.kind)
        for i in range(len(thing)):
            if thing[i] is None:
                thing[i] = thing.kind()
            unpack(thing[i], data[i * size:(i + 1) * size])
        return
    if (own := getattr(thing, "from_bytes", None)) is not None:
        own(data)
        return
    whole, fields = codec(thing.__class__)
    values = whole.unpack(data)
    at = 0
    for name, count, row, inner in fields:
        found = values[at:at + count]
        at += count
        if inner is not None:
            found = [_made(inner, part) for part in found]
        setattr(thing, name, list(found) if row else found[0])


def _made(cls: type[T], data: bytes) -> T:
    thing = cls()
    unpack(thing, data)
    return thing


def view(cls: type[T], thing: Any) -> T:
    """A structure of class `cls` with the bytes of `thing`: itself, where it is one."""
    if isinstance(thing, cls):
        return thing
    seen = cls()
    unpack(seen, pack(thing))
    return seen


def peek(thing: Any, offset: int, length: int) -> bytes:
    """Bytes from `offset` of what lies in memory."""
    if hasattr(thing, "peek"):
        return thing.peek(offset, length)
    if isinstance(thing, Array) and thing:
        size = sizeof(thing.kind)
        first, last = offset // size, -(-(offset + length) // size)
        return pack(Array(thing.kind, thing[first:last]))[offset - first * size:][:length]
    return pack(thing)[offset:offset + length]


def poke(thing: Any, offset: int, data: bytes) -> None:
    """Store bytes from `offset` of what lies in memory."""
    if hasattr(thing, "poke"):
        thing.poke(offset, data)
    elif isinstance(thing, Array):
        size = sizeof(thing.kind)
        first, last = offset // size, -(-(offset + len(data)) // size)
        touched = Array(thing.kind, thing[first:last])
        unpack(touched, _patched(touched, (last - first) * size, offset - first * size, data))
        thing[first:last] = touched
    else:
        unpack(thing, _patched(thing, sizeof(thing.__class__), offset, data))


def _patched(thing: Any, size: int, offset: int, data: bytes) -> bytes:
    """The bytes of what lies in memory, `size` of them, with some changed."""
    if len(data) == size:
        return data
    held = pack(thing)
    return held[:offset] + data + held[offset + len(data):]


def _size(kind: Any) -> int:
    return struct.calcsize(f"<{kind}") if isinstance(kind, str) else sizeof(kind)


def _code(ctype: str) -> str:
    if ctype not in _CODES:
        raise NotBytes(f"an array of type {ctype} is not laid out as bytes")
    return _CODES[ctype]
