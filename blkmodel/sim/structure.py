"""Structures and arrays: what the mirror's data is made of, so that it has addresses and can be watched.

A class below `Struct` becomes a slotted dataclass. Neither that nor an array does anything at an assignment; a
recording puts a hook on them and takes it off again.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, ClassVar, Self, TypeVar, cast, dataclass_transform

T = TypeVar("T", bound="Struct")
NULL: Any = None
"""A pointer to nothing: the default of a field that is a pointer. In C any pointer may be NULL, whatever its type."""


@cache
def layouts() -> dict[str, Any]:
    """Return what the reference build's debug information says of each structure: size, fields, offsets."""
    return json.loads((files("blkmodel.reference") / "structs.json").read_text())["structs"]


@cache
def sizeof(kind: type | str) -> int:
    """Size in bytes of a structure class, or of a C type by name (`"unsigned int"`, `"pointer"`).

    A class says it itself, with `size=`, where the debug information has none of that name, or another file's.
    """
    if isinstance(kind, str):
        return _SCALARS[kind]
    own = "SIZE" in vars(kind) or kind.__name__ not in layouts()
    return cast("Any", kind).SIZE if own else layouts()[kind.__name__]["size"]


_SCALARS = {"pointer": 8, "unsigned long": 8, "unsigned int": 4, "int": 4, "u64": 8, "u32": 4, "u16": 2, "u8": 1,
            "char": 1}


class _Placed:
    __slots__: ClassVar[tuple[str, ...]] = ("_addr",)
    _addr: int


@dataclass_transform(eq_default=False)
class _Laid(type):
    """Makes a class with fields a structure: slots, one argument a field, no comparison by value. A class that names
    its slots itself is left as it is."""

    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any], **said: Any) -> Any:
        made = super().__new__(cls, name, bases, body, **said)
        return made if "__slots__" in body else dataclass(slots=True, eq=False, repr=False)(made)


class Struct(_Placed, metaclass=_Laid):
    """Base of every structure. Its fields bear the kernel's names and, in order, their zeroed values as defaults.

    `_addr` is where it lies in the model's memory; 0 for what is not on the heap. Structures compare and hash by
    identity, as pointers do.
    """

    __slots__: ClassVar[tuple[str, ...]] = ()
    SIZE: ClassVar[int]

    def __init_subclass__(cls, size: int | None = None) -> None:
        """`class kref(Struct, size=4)`: so many bytes, where the debug information does not say it."""
        if size is not None:
            cls.SIZE = size

    def __repr__(self) -> str:
        addr = getattr(self, "_addr", 0)
        return f"<{type(self).__name__} {addr:#x}>" if addr else f"<{type(self).__name__}>"


class Array(list):
    """A C array of `len()` items of one `kind`: a structure class, or a C type by name. Its length never changes."""

    __slots__ = ("_addr", "kind")

    def __init__(self, kind: type | str, items: Iterable[Any]) -> None:
        super().__init__(items)
        self.kind = kind
        self._addr = 0

    @property
    def ctype(self) -> str:
        """The name of its items' type."""
        return self.kind if isinstance(self.kind, str) else self.kind.__name__

    def make(self, count: int) -> Self:
        """Make those of the first `count` structures that are None still, and return the array. To be created is no
        assignment."""
        for i in range(count):
            if self[i] is None:
                list.__setitem__(self, i, made := cast("Any", self.kind)())
                made._addr = self._addr + i * sizeof(self.kind)
        return self

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return self is other if isinstance(other, Array) else list.__eq__(self, other)


class Later(Array):
    """An array of pointers to structures that come into being when somebody first asks for them. Until then an item
    is a number, of which new() makes the structure."""

    __slots__ = ("new",)
    new: Callable[[int], Any]

    def __getitem__(self, at: Any) -> Any:
        item = list.__getitem__(self, at)
        if isinstance(item, int):
            item = self.new(item)
            list.__setitem__(self, at, item)
        return [self[n] for n in range(len(self))[at]] if isinstance(item, list) else item

    def __iter__(self) -> Iterator[Any]:
        return (self[n] for n in range(len(self)))
