"""Errors in place of pointers (include/linux/err.h)."""

from typing import Any

from blkmodel.services.base.errno import NAMES


class ErrPtr:
    """What a function returns instead of a pointer when it failed; `errno` is negative, as in C."""

    __slots__ = ("errno",)

    def __init__(self, errno: int) -> None:
        self.errno = errno

    def __repr__(self) -> str:
        return f"ERR_PTR(-{NAMES.get(-self.errno, -self.errno)})"


def ERR_PTR(errno: int) -> Any:
    return ErrPtr(errno)


def IS_ERR(pointer: Any) -> bool:
    return isinstance(pointer, ErrPtr)


def IS_ERR_OR_NULL(pointer: Any) -> bool:
    return pointer is None or isinstance(pointer, ErrPtr)


def PTR_ERR(pointer: Any) -> int:
    return pointer.errno
