"""Files of /proc that are written anew at each reading (proc_fs.h, fs/seq_file.c)."""

from collections.abc import Callable
from typing import Any

from blkmodel.sim import NULL, Struct, statics


class seq_file(Struct, size=136):
    """A file that is being read: what was written into it so far. private: what its functions keep meanwhile."""

    buf: str = ""
    private: Any = None


class seq_operations(Struct, size=32):
    """What writes a file: start(seqf, pos) finds a first thing, next(seqf, v, pos) one after the other, until there is
    none, and show(seqf, v) writes of each."""

    start: Callable[..., Any] = NULL
    stop: Callable[..., None] = NULL
    next: Callable[..., Any] = NULL
    show: Callable[..., int] = NULL


class proc(statics, dict[str, seq_operations]):
    """What there is below /proc, by name."""


def proc_create_seq(name: str, ops: seq_operations) -> None:
    proc()[name] = ops


def seq_puts(seqf: seq_file, text: str) -> None:
    seqf.buf += text


def seq_read(ops: seq_operations) -> str:
    """What a file says now."""
    seqf, pos = seq_file(), 0
    v = ops.start(seqf, pos)
    while v is not None:
        ops.show(seqf, v)
        pos += 1
        v = ops.next(seqf, v, pos)
    ops.stop(seqf, v)
    return seqf.buf
