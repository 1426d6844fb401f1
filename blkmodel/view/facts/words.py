"""Numbers and outcomes as words."""

from collections.abc import Callable
from typing import Any

from blkmodel.errors import KernelError


def many(count: int, what: str) -> str:
    """So many of something: "1 read", "2 reads"."""
    return f"{count} {what}{'s' * (count != 1)}"


def attempt(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function; return what it does, or the name of the kernel's error that it ends with."""
    try:
        return function(*args, **kwargs)
    except KernelError as why:
        return why.name


def got(result: Any) -> str:
    """What a process gets of an I/O: so many bytes, or an errno, as attempt() or together() brings it."""
    refused = result.name if isinstance(result, KernelError) else result
    return refused if isinstance(refused, str) else f"{len(result)} bytes"
