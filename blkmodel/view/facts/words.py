"""Numbers and outcomes as words."""

from collections.abc import Callable
from typing import Any

from blkmodel.errors import KernelError


def many(count: int, what: str) -> str:
    """So many of something: "1 read", "2 reads"."""
    return f"{count} {what}{'s' * (count != 1)}"


def within(name: str, value: int, last: int) -> None:
    """Refuse, as a ValueError, a number that is not one from 0 to `last`; name: of the parameter."""
    if not 0 <= value <= last:
        raise ValueError(f"{name}={value}: it is a number from 0 to {last}")


def caught(errors: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function; return what it does, or the error that it ends with, if it is of this type, or of these."""
    try:
        return function(*args, **kwargs)
    except errors as why:
        return why


def attempt(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function; return what it does, or the name of the kernel's error that it ends with."""
    done = caught(KernelError, function, *args, **kwargs)
    return done.name if isinstance(done, KernelError) else done


def got(result: Any) -> str:
    """What a process gets of an I/O: so many bytes, or an errno, as attempt() or together() brings it."""
    refused = result.name if isinstance(result, KernelError) else result
    return refused if isinstance(refused, str) else f"{len(result)} bytes"
