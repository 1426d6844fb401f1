"""Files that a stranger may have written: the one place that opens and reads them.

Only a regular file is read: never a pipe, a device or a directory. It has at most MOST_BYTES of strict UTF-8. JSON in
it is nested at most MOST_DEPTH deep, has no number of more than MOST_DIGITS digits, no number that is none (NaN), no
name twice in one object, and no half of a surrogate pair. FileError says what is wrong, and where.
"""

import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

MOST_BYTES, MOST_DEPTH, MOST_DIGITS = 16 << 20, 200, 20
_SURROGATE = re.compile("[\ud800-\udfff]")


class FileError(ValueError):
    """A file cannot be read or written; the message does not name the file, but the place in it."""


@contextmanager
def placed(place: str, error: type[Exception], *of: type[Exception]) -> Iterator[None]:
    """Let errors of these types be an `error` which says, before what they say, in which place that was."""
    try:
        yield
    except of as why:
        raise error(f"{place}: {why}") from why


def read_text(path: str | Path) -> str:
    """The text of a regular file."""
    try:
        return read_bytes(path).decode("utf8")
    except UnicodeDecodeError as why:
        raise FileError(f"byte {why.start}: expected UTF-8 text") from why


def read_bytes(path: str | Path, most: int = MOST_BYTES) -> bytes:
    """What is in a regular file."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError) as why:
        raise FileError(f"expected a file that can be read: {getattr(why, 'strerror', None) or why}") from why
    try:
        must_be_regular(number)
        with open(number, "rb", closefd=False) as file:
            data = file.read(most + 1)
    except OSError as why:
        raise FileError(f"expected a file that can be read: {why.strerror}") from why
    finally:
        os.close(number)
    if len(data) > most:
        raise FileError(f"expected a file of at most {most} bytes")
    return data


def must_be_regular(number: int) -> None:
    """FileError where an open file is a pipe, a device, a directory."""
    mode = os.fstat(number).st_mode
    if not stat.S_ISREG(mode):
        what = "Is a directory" if stat.S_ISDIR(mode) else "not a regular file"
        raise FileError(f"expected a file that can be read: {what}")


def parse_json(text: str) -> Any:
    """What JSON makes of a text, within the limits."""
    def number(digits: str) -> int:
        if len(digits.lstrip("-")) > MOST_DIGITS:
            raise FileError(f"{_line(text, digits)}: expected numbers of at most {MOST_DIGITS} digits")
        return int(digits)

    def fraction(digits: str) -> float:
        if len(digits) > 2 * MOST_DIGITS or not isfinite(float(digits)):
            raise FileError(f"{_line(text, digits)}: expected numbers of at most {2 * MOST_DIGITS} characters")
        return float(digits)

    def constant(name: str) -> float:
        raise FileError(f"{_line(text, name)}: expected a number, found {name}")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(pairs)) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise FileError(f"expected each name once in an object, found {shown(twice)} again")
        return found
    try:
        document = json.loads(text, parse_int=number, parse_float=fraction, parse_constant=constant,
                              object_pairs_hook=once)
    except json.JSONDecodeError as why:
        raise FileError(f"line {why.lineno}, column {why.colno}: expected JSON: {why.msg}") from why
    except RecursionError as why:
        raise FileError(f"expected values that are nested at most {MOST_DEPTH} deep") from why
    _check(document)
    return document


def _line(text: str, what: str) -> str:
    return f"line {text.count(chr(10), 0, text.find(what)) + 1}"


def _check(document: Any) -> None:
    """Hold a document against the limits to depth and to characters."""
    level, depth = [document], 0
    while level:
        depth += 1
        if depth > MOST_DEPTH + 1:
            raise FileError(f"expected values that are nested at most {MOST_DEPTH} deep")
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += value
                below += value.values()
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str) and _SURROGATE.search(value):
                raise FileError(f"expected text of whole characters, found {shown(value)}")
        level = below


def printable(text: str, keep: str = "\n\t") -> str:
    """A text with what could command a terminal, or cannot be printed, written as Python would (`\\x1b`)."""
    return text if text.isprintable() else "".join(c if c.isprintable() or c in keep else repr(c)[1:-1] for c in text)


def shown(value: object, most: int = 60) -> str:
    """A value for a message, in one line of at most so many characters."""
    text = repr(value[:most] if isinstance(value, str | list) else value)
    return text if len(text) <= most else f"{text[:most - 3]}..."
