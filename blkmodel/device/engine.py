"""What goes on in a controller: from a doorbell to the command, to its completion and the interrupt.

All of it runs in contexts of the device's own, never beneath the host's write of a doorbell.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from blkmodel.device.faults import COMMAND, ENDS, FAIL
from blkmodel.device.queues import CompletionQueue, Running, SubmissionQueue
from blkmodel.device.transfer import Refused
from blkmodel.include.linux.nvme import NVME_SC_ABORT_QUEUE, NVME_SC_CMDID_CONFLICT, NVME_SC_SUCCESS
from blkmodel.sim import Context, Event, Kernel, this

if TYPE_CHECKING:
    from blkmodel.device.controller import Controller


SLOW = 1_000_000  # nanoseconds. What is chosen to be slow ends with a later one of these, and with others that are slow
LATER = Context("device", "what follows", -1)
"""What goes before the end of a command that is chosen to be slow."""


class Engine:
    """The queues, and what is under way in them.

    cqs, sqs: the queues that exist, by number; 0 is the admin queue. requests: asynchronous event requests that are
    held. shadow: where copies of the doorbells are in the host's memory, and where it says up to which value those will
    do. waiting: submission queues with commands to fetch; due: completion queues with completions to write; scheduled:
    the context in which that happens is on its way.
    """

    __slots__ = ("controller", "cqs", "due", "requests", "scheduled", "shadow", "sqs", "waiting")

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.cqs: dict[int, CompletionQueue] = {}
        self.sqs: dict[int, SubmissionQueue] = {}
        self.reset()

    def reset(self) -> None:
        """Be without queues, and with nothing under way."""
        for sq in self.sqs.values():
            for running in sq.running.values():
                if running.event:
                    running.event.cancelled = True
        self.cqs.clear()
        self.sqs.clear()
        self.requests: deque[Running] = deque()
        self.shadow: tuple[int, ...] = ()
        self.waiting: deque[SubmissionQueue] = deque()
        self.due: list[CompletionQueue] = []
        self.scheduled = False

    # Doorbells. One of no queue, or with a place beyond its queue, is ignored.

    def tail_doorbell(self, qid: int, tail: int) -> None:
        """The host has put commands into a submission queue, up to `tail`."""
        sq = self.sqs.get(qid)
        if sq is None or tail >= sq.size:
            return
        sq.tail = tail
        if not sq.queued:
            sq.queued = True
            self.waiting.append(sq)
        self._schedule()

    def head_doorbell(self, qid: int, head: int) -> None:
        """The host has taken completions from a queue, up to `head`."""
        cq = self.cqs.get(qid)
        if cq is None or head >= cq.size:
            return
        cq.head = head
        if cq.waiting and not cq.due:
            cq.due = True
            self.due.append(cq)
            post(self._deliver_due)

    def _schedule(self) -> None:
        """Have the queues looked at soon, once."""
        if not self.scheduled:
            self.scheduled = True
            post(self._work)

    # Commands: fetched, executed, answered.

    def _work(self) -> None:
        """Fetch a command from each queue in turn, until all are empty.

        An admin command ends the turn: the host hears of it before anything else is done.
        """
        self.scheduled = False
        controller = self.controller
        if not controller.alive():
            return
        kernel = this()
        fetched: list[Running] = []
        admin = False
        while self.waiting and not admin:
            sq = self.waiting.popleft()
            admin = sq.qid == 0
            if sq.shadow:
                sq.tail = self._shadowed(kernel, sq, sq.tail)
            if sq.head != sq.tail:
                if not self._fetch(kernel, sq, fetched):
                    return
                if sq.shadow:
                    sq.tail = self._shadowed(kernel, sq, sq.tail)
            if sq.head != sq.tail:
                self.waiting.append(sq)
            else:
                sq.queued = False
        if not controller.service.in_order:
            controller.service.random.shuffle(fetched)
        for running in fetched:
            if running.sq.running.get(running.command.command_id) is running:
                self._finish(running)
        self._deliver_due()
        if self.waiting:
            self._schedule()

    def _fetch(self, kernel: Kernel, sq: SubmissionQueue, fetched: list[Running]) -> bool:
        """Take the next command off a queue. What takes no time is put in `fetched`. False: that was the end of it."""
        slot, controller = sq.head, self.controller
        command = sq.command(kernel.memory, slot)
        sq.head = slot + 1 if slot + 1 < sq.size else 0
        if kernel.observer:
            kernel.observer("command", device=controller, time=kernel.now, queue=sq.qid, slot=slot, command=command)
        running = Running(sq, command)
        effect, status = controller.struck(COMMAND, sq.qid, command.opcode) if controller.faults else (None, 0)
        if effect in ENDS:
            return False
        if command.command_id in sq.running:
            self._answer(running, NVME_SC_CMDID_CONFLICT, 0)
            return True
        sq.running[command.command_id] = running
        if effect == FAIL:
            self._end(running, status, 0)
        elif effect is None and sq.qid:
            self._serve(kernel, running, fetched)
        elif effect is None:
            self._finish(running)
        return True

    def _serve(self, kernel: Kernel, running: Running, fetched: list[Running]) -> None:
        """Finish an I/O command when its time is up."""
        now = end = kernel.loop.now
        service = self.controller.service
        if not service.instant:
            end = service.end(now)
            if service.in_order:
                end = running.sq.last_end = max(end, running.sq.last_end + service.apart)
        if kernel.loop.choose:
            ends = Context("device", f"command {running.command.command_id} of queue {running.sq.qid}", -1)
            if kernel.loop.choose([ends, LATER]):
                end = (end // SLOW + 2) * SLOW
        if end == now:
            fetched.append(running)
        else:
            running.event = post(lambda: self._time_is_up(running), end - now)

    def _time_is_up(self, running: Running) -> None:
        """Finish a command that took time, and delete its queue where only that was waited for."""
        if self.controller.alive():
            self._finish(running)
            sq = running.sq
            if sq.ended_by and not any(each.event for each in sq.running.values()):
                self.remove_submissions(sq)
                self._end(sq.ended_by, NVME_SC_SUCCESS, 0)
            self._deliver_due()

    def _finish(self, running: Running) -> None:
        """Execute a command, and answer it, unless it is one that waits for something to happen."""
        try:
            result = self.controller.execute(running)
        except Refused as why:
            self._end(running, why.status, 0)
        else:
            if result is not None:
                self._end(running, NVME_SC_SUCCESS, result)

    def _end(self, running: Running, status: int, result: int) -> None:
        """Answer a command that was under way."""
        running.sq.running.pop(running.command.command_id, None)
        self._answer(running, status, result)

    def _answer(self, running: Running, status: int, result: int) -> None:
        """Have a completion written as soon as there is room for it."""
        cq = running.sq.cq
        cq.waiting.append((running.sq, running.command.command_id, status, result))
        if not cq.due:
            cq.due = True
            self.due.append(cq)

    def _deliver_due(self) -> None:
        """Write what completions there is room for, in each queue that has some, and interrupt."""
        kernel = this()
        while self.due:
            cq, written = self.due.pop(0), 0
            cq.due = False
            while cq.waiting and self.controller.alive() and self.cqs.get(cq.qid) is cq:
                if cq.shadow:
                    cq.head = self._shadowed(kernel, cq, cq.head)
                if (cq.tail + 1) % cq.size == cq.head:
                    break  # one more would make it look empty
                slot, entry = cq.tail, cq.write(kernel.memory, cq.waiting.popleft())
                written += 1
                if kernel.observer:
                    kernel.observer("completion", device=self.controller, time=kernel.now, queue=cq.qid, slot=slot,
                                    completion=entry)
            if written and cq.vector is not None:
                self.controller.interrupt(cq.vector)

    # Copies of the doorbells in the host's memory. (Linux keeps none of the admin queue's, so that is told apart.)

    def shadow_doorbells(self, doorbells: int, wanted: int) -> None:
        """Look at copies of the doorbells at one address; at the other, say up to where writing those is enough.

        What is said there stays until a queue is looked at the next time.
        """
        self.shadow = doorbells, wanted
        memory = this().memory
        for sq in self.sqs.values():
            if sq.qid:
                self._share(sq, 2 * sq.qid)
                memory.store(sq.shadow[0], sq.tail)
        for cq in self.cqs.values():
            if cq.qid:
                self._share(cq, 2 * cq.qid + 1)
                memory.store(cq.shadow[0], cq.head)

    def _share(self, queue: CompletionQueue | SubmissionQueue, doorbell: int) -> None:
        """Have a queue's doorbell looked for in the host's memory."""
        offset = doorbell * 4 << self.controller.stride
        queue.shadow = self.shadow[0] + offset, self.shadow[1] + offset

    def _shadowed(self, kernel: Kernel, queue: CompletionQueue | SubmissionQueue, place: int) -> int:
        """The tail or the head as the copy of the doorbell has it, where that makes sense; and say that this far it
        was seen."""
        memory = kernel.memory
        if queue.held[0] is not memory.seen:
            queue.held = memory.seen, *memory.item(queue.shadow[0]), *memory.item(queue.shadow[1])
        _, copies, n, wanted, m = queue.held
        if (value := copies[n]) < queue.size:
            place = value
        wanted[m] = place
        return place

    # Queues come and go.

    def add_completions(self, cq: CompletionQueue) -> None:
        """Begin a completion queue."""
        self.cqs[cq.qid] = cq
        if self.shadow:
            self._share(cq, 2 * cq.qid + 1)

    def add_submissions(self, sq: SubmissionQueue) -> None:
        """Begin a submission queue."""
        self.sqs[sq.qid] = sq
        if self.shadow:
            self._share(sq, 2 * sq.qid)

    def remove_submissions(self, sq: SubmissionQueue) -> None:
        """Delete a submission queue; what it had under way is answered as aborted."""
        del self.sqs[sq.qid]
        if sq in self.waiting:
            self.waiting.remove(sq)
        for running in tuple(sq.running.values()):
            self.abort(running, NVME_SC_ABORT_QUEUE)

    def abort(self, running: Running, status: int) -> None:
        """End a command that has not been executed yet."""
        if running in self.requests:
            self.requests.remove(running)
        if running.event:
            running.event.cancelled = True
        self._end(running, status, 0)


def post(fn: Callable[[], object], delay: int = 0) -> Event:
    """Have something done in a context of the device's own, after `delay` nanoseconds."""
    return this().loop.post(Context("device", "nvme", -1), fn, delay)
