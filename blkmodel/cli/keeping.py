"""Keeping a file: by one command at a time, as a whole or not at all, and never through a link."""

import contextlib
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from blkmodel.capture.files import FileError, must_be_regular

PATIENCE = 60  # seconds that a command waits for another one that is at work on the same file


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other commands from a file meanwhile: each holds the lock of PATH.lock, which stays where it is."""
    if path.is_dir():
        raise FileError("it is a directory")
    lock = path.with_name(f"{path.name}.lock")
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        number = os.open(lock, flags, 0o600)
    except OSError as why:
        raise FileError(f"{why.strerror} ({lock.name})") from why
    try:
        must_be_regular(number)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as why:
                if time.monotonic() > end:
                    raise FileError(f"another command has been at work on it for {PATIENCE} seconds") from why
                time.sleep(0.02)
        yield
    finally:
        os.close(number)


def may_be_replaced(path: Path) -> None:
    """FileError says why a file cannot be written: only a regular file is replaced, and no link."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as why:
        raise FileError(f"{why.strerror}") from why
    if not stat.S_ISREG(mode):
        what = "a link: name the file that it leads to" if stat.S_ISLNK(mode) else "no regular file"
        raise FileError(f"it is {what}")


def replace(path: Path, text: str) -> None:
    """Let a file hold this text: at once, from a new file beside it, with the permissions that it had."""
    may_be_replaced(path)
    beside = ""
    try:
        number, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(number, "w", encoding="utf8") as file:
            umask = os.umask(0)
            os.umask(umask)
            os.fchmod(number, stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~umask)
            file.write(text)
            file.flush()
            os.fsync(number)
        os.replace(beside, path)
    except OSError as why:
        if beside:
            with contextlib.suppress(OSError):
                os.unlink(beside)
        raise FileError(f"{why.strerror}") from why
