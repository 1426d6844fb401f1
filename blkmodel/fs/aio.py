"""Asynchronous I/O of a process: many reads and writes begun with one call, their ends collected with another."""

from collections.abc import Sequence
from dataclasses import field
from typing import Any

from blkmodel.block import blk_core
from blkmodel.include.linux.blkdev import READ, blk_plug
from blkmodel.services import (EBADF, EIOCBQUEUED, FMODE_READ, FMODE_WRITE, IOCB_HIPRI, file, init_sync_kiocb, iov_iter,
    iov_iter_init, kiocb, kiocb_set_rw_flags, wait_event, wait_queue_head, wake_up)
from blkmodel.sim import NULL, Struct

AIO_PLUG_THRESHOLD = 2


class iocb(Struct, size=64):
    """What a process asks for: to read (READ) or write `length` bytes from byte `pos` of an open file on, into or from
    a buffer. flags: RWF_*."""

    rw: int = READ
    filp: file = NULL
    buffer: Any = NULL
    pos: int = 0
    length: int = 0
    flags: int = 0


class io_event(Struct, size=32):
    """The end of one: what was asked for, and how many bytes were moved, or -errno."""

    obj: iocb = NULL
    res: int = 0


class kioctx(Struct, size=576):
    """Where a process collects the ends: `events` that it has not seen yet, oldest first."""

    events: list[io_event] = field(default_factory=list)
    wait: wait_queue_head = field(default_factory=wait_queue_head)


def aio_complete_rw(kiocb: kiocb, res: int, res2: int) -> None:
    """One has ended: tell its process."""
    ctx, asked = kiocb.private
    ctx.events.append(io_event(asked, res))
    wake_up(ctx.wait)


def aio_rw(ctx: kioctx, asked: iocb) -> int:
    """Begin one read or write. Returns 0, or -errno where it could not begin at all."""
    rw, filp = kiocb(), asked.filp
    init_sync_kiocb(rw, filp)
    rw.ki_complete = aio_complete_rw
    rw.private = ctx, asked
    rw.ki_pos = asked.pos
    if ret := kiocb_set_rw_flags(rw, asked.flags):
        return ret
    rw.ki_flags &= ~IOCB_HIPRI  # nobody is going to poll
    if not filp.f_mode & (FMODE_READ if asked.rw == READ else FMODE_WRITE):
        return -EBADF
    at = iov_iter()
    iov_iter_init(at, asked.rw, asked.buffer, 0, asked.length)
    if (ret := (filp.f_op.read_iter if asked.rw == READ else filp.f_op.write_iter)(rw, at)) != -EIOCBQUEUED:
        aio_complete_rw(rw, ret, 0)
    return 0


def io_submit(ctx: kioctx, iocbs: Sequence[iocb]) -> int:
    """Begin all of them, in order; more than two, behind a plug. Returns how many, or -errno where that is none."""
    plug = blk_plug()
    if len(iocbs) > AIO_PLUG_THRESHOLD:
        blk_core.blk_start_plug(plug)
    begun = ret = 0
    for asked in iocbs:
        if ret := aio_rw(ctx, asked):
            break
        begun += 1
    if len(iocbs) > AIO_PLUG_THRESHOLD:
        blk_core.blk_finish_plug(plug)
    return begun or ret


def io_getevents(ctx: kioctx, min_nr: int) -> list[io_event]:
    """Wait until `min_nr` of them have ended, and return all io_events there are."""
    wait_event(ctx.wait, lambda: len(ctx.events) >= min_nr, "asynchronous I/O to end")
    events, ctx.events = ctx.events, []
    return events
