"""Queues as the controller knows them: rings in the host's memory, at addresses that it was told."""

from __future__ import annotations

from collections import deque
from typing import Any

from blkmodel.include.linux.nvme import nvme_command, nvme_common_command, nvme_completion
from blkmodel.sim import Array, Event, Memory, sizeof, wire

COMMAND, COMPLETION = sizeof(nvme_command), sizeof(nvme_completion)


class Running:
    """A command that the controller has fetched and not answered yet. event: when it will be done; None where that
    is not set off."""

    __slots__ = ("command", "event", "sq")

    def __init__(self, sq: SubmissionQueue, command: nvme_common_command) -> None:
        self.sq, self.command = sq, command
        self.event: Event | None = None


class CompletionQueue:
    """A ring of `size` completions at address `base`. The controller writes at `tail`, with the phase bit of this time
    round; the host has read up to `head`. vector: what it raises, None where nothing. waiting: those still to be
    written, as (submission queue, command, status, result); due: the controller is to look at it. shadow: where a copy
    of its doorbell is in the host's memory, and where it says which value is still far enough; () without one.
    held: what lies at those two places, as array and number of the item each, behind the memory's `seen` then."""

    __slots__ = ("base", "due", "head", "held", "phase", "qid", "shadow", "size", "tail", "vector", "waiting")

    def __init__(self, qid: int, base: int, size: int, vector: int | None) -> None:
        self.qid, self.base, self.size, self.vector, self.head = qid, base, size, vector, 0
        self.tail, self.phase = 0, 1
        self.waiting: deque[tuple[SubmissionQueue, int, int, int]] = deque()
        self.due = False
        self.shadow: tuple[int, ...] = ()
        self.held: tuple[Any, ...] = (None,)

    def write(self, memory: Memory, answer: tuple[SubmissionQueue, int, int, int]) -> nvme_completion:
        """Write a completion, as it was `waiting`, into the next place, and return it."""
        sq, command_id, status, result = answer
        entry = nvme_completion(result, sq.head, sq.qid, command_id, status << 1 | self.phase)
        slot, ring = self.tail, memory.live.get(self.base)
        if ring is not None and type(ring.thing) is Array and ring.thing.kind is nvme_completion:
            ring.thing[slot] = entry
        else:
            memory.write(self.base + slot * COMPLETION, wire.pack(entry))
        if slot + 1 < self.size:
            self.tail = slot + 1
        else:
            self.tail = 0
            self.phase ^= 1
        return entry


class SubmissionQueue:
    """A ring of `size` commands at address `base`, which complete into `cq`. The controller has read up to `head`; the
    host has written up to `tail`. running: those under way, by command number. queued: the controller is to look at
    it. last_end: when the last of those under way will be done, where they are done in order. shadow: where a copy of
    its doorbell is in the host's memory, and where the controller says which value is still far enough; held: what lies
    there, as in a CompletionQueue. ended_by: the command that is to delete it, and waits for what is under way."""

    __slots__ = ("base", "cq", "ended_by", "head", "held", "last_end", "qid", "queued", "running", "shadow", "size",
                 "tail")

    def __init__(self, qid: int, base: int, size: int, cq: CompletionQueue) -> None:
        self.qid, self.base, self.size, self.cq = qid, base, size, cq
        self.head = self.tail = 0
        self.running: dict[int, Running] = {}
        self.queued = False
        self.shadow: tuple[int, ...] = ()
        self.held: tuple[Any, ...] = (None,)
        self.last_end = 0
        self.ended_by: Running | None = None

    def command(self, memory: Memory, slot: int) -> nvme_common_command:
        """Read the command in a place."""
        ring = memory.live.get(self.base)
        if ring is not None and type(ring.thing) is Array and ring.thing.kind is nvme_command:
            written = ring.thing[slot]
            return nvme_command().common if written is None else written.common
        read = nvme_command()
        wire.unpack(read, memory.read(self.base + slot * COMMAND, COMMAND))
        return read.common
