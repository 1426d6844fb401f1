"""What goes on in a controller: from a doorbell to the command, to its completion and the interrupt.

All of it runs in contexts of the device's own, never beneath the host's write of a doorbell.
"""

from collections import deque
from typing import Any, ClassVar

from blkmodel.device import admin, nvm
from blkmodel.device.faults import COMMAND, FAIL, FATAL, GONE, SILENT
from blkmodel.device.features import Features
from blkmodel.device.namespace import Namespace
from blkmodel.device.queues import CompletionQueue, SubmissionQueue
from blkmodel.device.service import Service
from blkmodel.device.transfer import Refused
from blkmodel.include.linux.nvme import (
    NVME_AER_ERROR, NVME_AER_NOTICE, NVME_CSTS_CFS, NVME_CSTS_RDY, NVME_LOG_CHANGED_NS, NVME_LOG_ERROR,
    NVME_SC_ABORT_QUEUE, NVME_SC_CMDID_CONFLICT, NVME_SC_INVALID_FIELD, NVME_SC_INVALID_OPCODE, NVME_SC_SUCCESS)
from blkmodel.services.devices.pci import PCI_COMMAND_MASTER
from blkmodel.sim import this
from blkmodel.sim.interrupts import interrupts
from blkmodel.sim.kernel import Context

FUSED = 3


class Running:
    """A command that the controller has fetched and not answered yet. event: when it will be done; None where that
    is not set off."""

    __slots__ = ("command", "event", "sq")

    def __init__(self, sq, command):
        self.sq = sq
        self.command = command
        self.event = None


class Engine:
    """The queues, and what is under way. What a controller is and how the host has configured it, Controller adds.

    features: what the host has set. requests: asynchronous event requests that it holds; notices: the events that wait
    for one, as (kind, information, log); silenced: the kinds that the host was told of and has not looked into;
    changed: the namespaces that came or went since it asked. shadow: where copies of the doorbells are in the host's
    memory, and where it says up to which value those will do. epoch: how often it was reset; errors: how many commands
    failed.
    """

    ADMIN: ClassVar[dict[int, Any]] = admin.HANDLERS
    IO: ClassVar[dict[int, Any]] = nvm.HANDLERS

    vectors: int
    stride: int
    gone: bool
    configuration: int
    status: int
    interrupt_mask: int
    pci_command: int
    epoch: int
    errors: int
    namespaces: dict[int, Namespace]
    service: Service
    faults: list[Any]
    messages: dict[int, Any]
    masked: set[int]
    pending: set[int]
    cqs: dict[int, CompletionQueue]
    sqs: dict[int, SubmissionQueue]

    def _forget(self):
        """Be as after a reset: no queues, nothing under way, default features."""
        self.epoch += 1
        for sq in self.sqs.values():
            for running in sq.running.values():
                if running.event:
                    running.event.cancelled = True
        self.cqs.clear()
        self.sqs.clear()
        self._begin()

    def _begin(self):
        self.interrupt_mask = 0
        self.features = Features(self)
        self.requests: deque[Running] = deque()
        self.notices: deque[Any] = deque()
        self.silenced: set[int] = set()
        self.changed: set[int] = set()
        self.shadow: tuple[int, int] | None = None
        self._waiting: deque[SubmissionQueue] = deque()
        self._due: list[CompletionQueue] = []
        self._scheduled = False

    def unplug(self):
        """Take it off the bus without a word. What it had cached only is lost."""
        self._forget()
        self.gone = True
        for namespace in self.namespaces.values():
            namespace.lose_power()

    # Doorbells.

    def _tail_doorbell(self, qid, tail):
        sq = self.sqs.get(qid)
        if sq is None or tail >= sq.size:
            self._bad_doorbell(sq is None)
            return
        sq.tail = tail
        self._wake(sq)

    def _head_doorbell(self, qid, head):
        cq = self.cqs.get(qid)
        if cq is None or head >= cq.size:
            self._bad_doorbell(cq is None)
            return
        cq.head = head
        if cq.waiting and not cq.due:
            cq.due = True
            self._due.append(cq)
            self._post(self._deliver_due)
        if not self.vectors:
            self._pin()

    def _bad_doorbell(self, no_such_queue):
        """The host wrote a doorbell of no queue, or a place beyond its queue: that is ignored, and reported."""
        if self.requests:
            self.notify(NVME_AER_ERROR, 0 if no_such_queue else 1, NVME_LOG_ERROR)

    def _wake(self, sq):
        if not sq.queued:
            sq.queued = True
            self._waiting.append(sq)
        if not self._scheduled:
            self._scheduled = True
            self._post(self._work)

    def _post(self, fn, delay=0):
        return this().loop.post(Context("device", "nvme", -1), fn, delay)

    # Commands: fetched, executed, answered.

    def _alive(self):
        """Whether it does anything: it is ready, not broken, and may use memory."""
        return (self.status & (NVME_CSTS_RDY | NVME_CSTS_CFS) == NVME_CSTS_RDY
                and self.pci_command & PCI_COMMAND_MASTER and not self.gone)

    def _work(self):
        """Fetch commands from the queues in turn, so many of each as a burst allows, until all are empty.

        An admin command ends the turn: the host hears of it before anything else is done.
        """
        self._scheduled = False
        if not self._alive():
            return
        kernel = this()
        burst = self.features.burst()
        fetched: list[Running] = []
        admin = False
        while self._waiting and not admin:
            sq = self._waiting.popleft()
            admin = sq.qid == 0
            if sq.shadow:
                self._look_at_shadow(sq)
            left = 1 if admin else burst
            while left and sq.head != sq.tail:
                left -= 1
                if not self._fetch(kernel, sq, fetched):
                    return
                if sq.shadow:
                    self._look_at_shadow(sq)
            if sq.head != sq.tail:
                self._waiting.append(sq)
            else:
                sq.queued = False
        if not self.service.in_order:
            self.service.random.shuffle(fetched)
        for running in fetched:
            if running.sq.running.get(running.command.command_id) is running:
                self._finish(running)
        self._deliver_due()
        if self._waiting and not self._scheduled:
            self._scheduled = True
            self._post(self._work)

    def _fetch(self, kernel, sq, fetched):
        """Take the next command off a queue. What takes no time is put in `fetched`. False: that was the end of it."""
        slot = sq.head
        command = sq.command(kernel.memory, slot)
        sq.head = slot + 1 if slot + 1 < sq.size else 0
        if kernel.observer:
            kernel.observer("command", device=self, time=kernel.now, queue=sq.qid, slot=slot, command=command)
        running = Running(sq, command)
        effect, status = self._struck(sq.qid, command.opcode) if self.faults else (None, 0)
        if effect in (GONE, FATAL):
            return False
        if command.command_id in sq.running:
            self._answer(running, NVME_SC_CMDID_CONFLICT, 0)
            return True
        sq.running[command.command_id] = running
        if effect == SILENT:
            return True
        if effect == FAIL:
            self._end(running, status, 0)
        elif sq.qid == 0:
            self._finish(running)
        else:
            self._serve(kernel, running, fetched)
        return True

    def _serve(self, kernel, running, fetched):
        """Finish an I/O command when its time is up."""
        now = end = kernel.loop.now
        service = self.service
        if not service.instant:
            end += service.time()
            if service.in_order:
                end = running.sq.last_end = max(end, running.sq.last_end)
        if end == now:
            fetched.append(running)
        else:
            running.event = self._post(lambda: self._time_is_up(running), end - now)

    def _time_is_up(self, running):
        if self._alive():
            self._finish(running)
            self._deliver_due()

    def _finish(self, running):
        """Execute a command, and answer it, unless it is one that waits for something to happen."""
        command = running.command
        try:
            handler = (self.IO if running.sq.qid else self.ADMIN).get(command.opcode)
            if handler is None:
                raise Refused(NVME_SC_INVALID_OPCODE)
            if command.flags & FUSED:
                raise Refused(NVME_SC_INVALID_FIELD)  # commands that are executed in pairs: it has none
            result = handler(self, running)
        except Refused as why:
            self.errors += 1
            self._end(running, why.status, 0)
        else:
            if result is not None:
                self._end(running, NVME_SC_SUCCESS, result)

    def _end(self, running, status, result):
        running.sq.running.pop(running.command.command_id, None)
        self._answer(running, status, result)

    def _answer(self, running, status, result):
        """Have a completion written as soon as there is room for it."""
        cq = running.sq.cq
        cq.waiting.append((running.sq, running.command.command_id, status, result))
        if not cq.due:
            cq.due = True
            self._due.append(cq)

    def _deliver_due(self):
        while self._due:
            cq = self._due.pop(0)
            cq.due = False
            self._deliver(cq)

    def _deliver(self, cq):
        """Write what completions there is room for, and interrupt."""
        if not self._alive() or self.cqs.get(cq.qid) is not cq:
            return
        kernel = this()
        written = 0
        while cq.waiting:
            if cq.shadow:
                self._look_at_shadow_head(cq)
            if cq.full():
                break
            slot, entry = cq.tail, cq.write(kernel.memory, *cq.waiting.popleft())
            written += 1
            if kernel.observer:
                kernel.observer("completion", device=self, time=kernel.now, queue=cq.qid, slot=slot, completion=entry)
        if written and cq.vector is not None:
            self.features.aggregate(cq, written)

    # Copies of the doorbells in the host's memory. (Linux keeps none of the admin queue's, so that is told apart.)

    def shadow_doorbells(self, doorbells, wanted):
        """Look at copies of the doorbells at one address; at the other, say up to where writing those is enough."""
        self.shadow = doorbells, wanted
        memory = this().memory
        for sq in self.sqs.values():
            if sq.qid:
                self._share(sq, 2 * sq.qid)
                memory.store(sq.shadow[0], sq.tail)
                self._look_at_shadow(sq)
        for cq in self.cqs.values():
            if cq.qid:
                self._share(cq, 2 * cq.qid + 1)
                memory.store(cq.shadow[0], cq.head)
                self._look_at_shadow_head(cq)

    def _share(self, queue, doorbell):
        """Have a queue's doorbell looked for in the host's memory."""
        offset = doorbell * 4 << self.stride
        queue.shadow = self.shadow[0] + offset, self.shadow[1] + offset

    def _look_at_shadow(self, sq):
        memory = this().memory
        doorbell, wanted = sq.shadow
        tail = memory.load(doorbell)
        if tail < sq.size:
            sq.tail = tail
        memory.store(wanted, sq.tail)

    def _look_at_shadow_head(self, cq):
        memory = this().memory
        doorbell, wanted = cq.shadow
        head = memory.load(doorbell)
        if head < cq.size:
            cq.head = head
        memory.store(wanted, cq.head)

    # Interrupts.

    def mask(self, vector, masked):
        """Hold a vector's messages back, or send them, the one that waits first."""
        if masked:
            self.masked.add(vector)
            return
        self.masked.discard(vector)
        if vector in self.pending:
            self.pending.discard(vector)
            self.interrupt(vector)

    def interrupt(self, vector):
        """Raise an interrupt vector."""
        if vector in self.masked:
            self.pending.add(vector)
        elif vector in self.messages and not (not self.vectors and self.interrupt_mask & 1):
            if observer := this().observer:
                observer("interrupt", device=self, time=this().now, vector=vector)
            interrupts().message(self.messages[vector])

    def _pin(self):
        """A pin is up as long as there are completions that the host has not taken."""
        if any(cq.vector is not None and cq.head != cq.tail for cq in self.cqs.values()):
            self.interrupt(0)

    # Events that the host asked to be told of.

    def notify(self, kind, information, log):
        """Tell the host of an event, once: until it has read that log, others of the same kind wait."""
        self.notices.append((kind, information, log))
        self._tell()

    def _tell(self):
        for notice in tuple(self.notices):
            kind, information, log = notice
            if not self.requests:
                break
            if kind in self.silenced:
                continue
            self.notices.remove(notice)
            self.silenced.add(kind)
            request = self.requests.popleft()
            self._end(request, NVME_SC_SUCCESS, kind | information << 8 | log << 16)
            self._post(self._deliver_due)

    def hold(self, running):
        """Keep an asynchronous event request until there is something to tell."""
        self.requests.append(running)
        self._tell()

    def heard(self, kind):
        """The host has read the log of a kind of events, and may be told of the next."""
        self.silenced.discard(kind)
        self._tell()

    def attach(self, nsid, namespace):
        """Let a namespace appear, or (None) disappear, and tell the host where it asked for that."""
        if namespace is None:
            del self.namespaces[nsid]
        else:
            self.namespaces[nsid] = namespace
        if nsid not in self.changed:
            self.changed.add(nsid)
            if self.features.tells_of_namespaces():
                self.notify(NVME_AER_NOTICE, 0, NVME_LOG_CHANGED_NS)

    # Queues come and go.

    def add_queue(self, queue):
        submissions = isinstance(queue, SubmissionQueue)
        (self.sqs if submissions else self.cqs)[queue.qid] = queue
        if self.shadow:
            self._share(queue, 2 * queue.qid + (not submissions))

    def remove_submissions(self, sq):
        """Delete a submission queue; what it had under way is answered as aborted."""
        del self.sqs[sq.qid]
        if sq in self._waiting:
            self._waiting.remove(sq)
        for running in tuple(sq.running.values()):
            self.abort(running, NVME_SC_ABORT_QUEUE)

    def abort(self, running, status):
        """End a command that has not been executed yet."""
        if running.event:
            running.event.cancelled = True
        self._end(running, status, 0)

    # What goes wrong.

    def _fault(self, at):
        """The effect of a fault that shows at a step other than a command; None where there is none."""
        for fault in self.faults:
            if fault.strikes(at):
                if fault.effect == GONE:
                    self.unplug()
                return fault.effect
        return None

    def _struck(self, queue, opcode):
        """The same for a command, and the status that it is to fail with."""
        for fault in self.faults:
            if fault.strikes(COMMAND, queue, opcode):
                if fault.effect == GONE:
                    self.unplug()
                elif fault.effect == FATAL:
                    self.status |= NVME_CSTS_CFS
                return fault.effect, fault.status
        return None, 0
