"""The NVMe controller: its registers and doorbells, its queues, and how a command goes through it.

It knows the host only by what the host writes into its registers and into memory. Whatever the host sets off by a
doorbell happens later, in a context of the device's own; what the controller has to say it writes to memory, and
interrupts. By default it is QEMU's controller, as the recordings show it.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from blkmodel.device import admin, nvm
from blkmodel.device.faults import COMMAND, DISABLE, ENABLE, FAIL, FATAL, GONE, SHUTDOWN, SILENT, STUCK
from blkmodel.device.namespace import Namespace
from blkmodel.device.queues import CompletionQueue, SubmissionQueue
from blkmodel.device.service import Service
from blkmodel.device.transfer import Refused
from blkmodel.include.linux.nvme import (
    NVME_CC_ENABLE,
    NVME_CC_IOCQES,
    NVME_CC_IOSQES,
    NVME_CC_MPS_SHIFT,
    NVME_CC_SHN_MASK,
    NVME_CSTS_CFS,
    NVME_CSTS_RDY,
    NVME_CSTS_SHST_CMPLT,
    NVME_CSTS_SHST_MASK,
    NVME_CSTS_SHST_OCCUR,
    NVME_REG_ACQ,
    NVME_REG_AQA,
    NVME_REG_ASQ,
    NVME_REG_CAP,
    NVME_REG_CC,
    NVME_REG_CMBLOC,
    NVME_REG_CMBSZ,
    NVME_REG_CSTS,
    NVME_REG_DBS,
    NVME_REG_INTMC,
    NVME_REG_INTMS,
    NVME_REG_NSSR,
    NVME_REG_VS,
    NVME_SC_ABORT_QUEUE,
    NVME_SC_CMDID_CONFLICT,
    NVME_SC_INVALID_FIELD,
    NVME_SC_INVALID_OPCODE,
    NVME_SC_SUCCESS,
    NVME_VS,
)
from blkmodel.include.linux.pci import (
    PCI_COMMAND,
    PCI_COMMAND_MASTER,
    PCI_DEVICE_ID,
    PCI_STATUS,
    PCI_VENDOR_ID,
    PCI_VENDOR_ID_REDHAT,
)
from blkmodel.sim import this
from blkmodel.sim.bus import ALL_ONES
from blkmodel.sim.interrupts import interrupts
from blkmodel.sim.kernel import Context

PAGE = 4096
VECTOR_ENTRY = 16
DEVICE_ID = 0x0010
HAS_CAPABILITIES = 0x10
NO_MORE_THAN_ALLOWED = NVME_CC_IOSQES | NVME_CC_IOCQES

REGISTERS = {NVME_REG_CAP: "CAP", NVME_REG_CAP + 4: "CAP.hi", NVME_REG_VS: "VS", NVME_REG_INTMS: "INTMS",
             NVME_REG_INTMC: "INTMC", NVME_REG_CC: "CC", NVME_REG_CSTS: "CSTS", NVME_REG_NSSR: "NSSR",
             NVME_REG_AQA: "AQA", NVME_REG_ASQ: "ASQ", NVME_REG_ASQ + 4: "ASQ.hi", NVME_REG_ACQ: "ACQ",
             NVME_REG_ACQ + 4: "ACQ.hi", NVME_REG_CMBLOC: "CMBLOC", NVME_REG_CMBSZ: "CMBSZ"}


class Running:
    """A command that the controller has fetched and not answered yet. event: when it will be done; None where that
    is not set off."""

    __slots__ = ("command", "event", "sq")

    def __init__(self, sq, command):
        self.sq = sq
        self.command = command
        self.event = None


@dataclass(eq=False)
class Controller:
    """A controller with so many I/O queue pairs and interrupt vectors (0: it has a pin instead).

    mqes: the entries that a queue can have, less one. usable: the pairs that it really can create; granted: those that
    it says it has; both are `queue_pairs` where not given. mdts: a command moves at most 2**mdts of the smallest pages
    (0: any number). stride: doorbells are 4 << stride bytes apart. page_min, page_max: the pages that the host can
    choose have 2**12 << that bytes. sgl, dbbuf, write_cache: whether it can use descriptors, doorbells in memory, and
    caches writes. timeout: how long enabling may take, in half seconds, as it says; ready_time: how long it takes, in
    nanoseconds. events: how many asynchronous event requests it holds. power_states: what it says of each. apst: it
    can change between them by itself. host_memory: how much of the host's memory it would like, and needs at least,
    in pages of 4096 bytes. serial, model, firmware: what it calls itself. namespaces: number → Namespace. faults: what
    goes wrong.

    messages: for each vector what it writes to interrupt, (CPU, vector there); masked: those it holds back; pending:
    those of them that wait. cqs, sqs: the queues that exist, by number; 0 is the admin queue.
    """

    queue_pairs: int = 64
    vectors: int = 65
    mqes: int = 2047
    usable: int = None
    granted: int = None
    mdts: int = 7
    stride: int = 0
    page_min: int = 0
    page_max: int = 4
    sgl: bool = True
    dbbuf: bool = True
    write_cache: bool = True
    timeout: int = 15
    ready_time: int = 0
    events: int = 4
    version: int = NVME_VS(1, 4, 0)
    power_states: Any = ((2500, 16, 4),)
    apst: bool = False
    host_memory: Any = (0, 0)
    serial: str = "0001"
    model: str = "QEMU NVMe Ctrl"
    firmware: str = "7.2"
    namespaces: dict[int, Namespace] = field(default_factory=lambda: {1: Namespace()})
    service: Service = field(default_factory=Service)
    faults: list[Any] = field(default_factory=list)
    messages: dict[int, Any] = field(default_factory=dict)
    masked: set[int] = field(default_factory=set)
    pending: set[int] = field(default_factory=set)
    cqs: dict[int, CompletionQueue] = field(default_factory=dict)
    sqs: dict[int, SubmissionQueue] = field(default_factory=dict)

    def __post_init__(self):
        for name, low, high in (("queue_pairs", 1, 65535), ("vectors", 0, 2048), ("mqes", 1, 65535), ("mdts", 0, 20),
                                ("stride", 0, 10), ("page_min", 0, 15), ("page_max", self.page_min, 15),
                                ("timeout", 0, 255), ("events", 1, 256), ("ready_time", 0, 1 << 62)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name}={value}: it must be at least {low} and at most {high}")
        if self.usable is None:
            self.usable = self.queue_pairs
        if self.granted is None:
            self.granted = self.queue_pairs
        if not 1 <= self.granted <= self.queue_pairs:
            raise ValueError(f"granted={self.granted}: it must be at least 1 and at most {self.queue_pairs}")
        self.gone = False
        self.configuration = 0
        self.status = 0
        self.interrupt_mask = 0
        self.aqa = self.asq = self.acq = 0
        self.pci_command = 0
        self.started = 0
        self._forget()

    # What the host sees of it on the bus.

    @property
    def window(self):
        """Bytes of its register window: registers, two doorbells a queue pair, the vector table, its pending bits."""
        doorbells = -(-(NVME_REG_DBS + ((self.queue_pairs + 1) * 8 << self.stride)) // PAGE) * PAGE
        table = -(-self.vectors * VECTOR_ENTRY // PAGE) * PAGE
        size = doorbells + table + -(-self.vectors // 64) * 8
        return 1 << (size - 1).bit_length()

    @property
    def capabilities(self):
        """The register CAP: what the host must know before it can say anything."""
        contiguous, nvm_set, io_sets = 1 << 16, 1 << 37, 1 << 43
        return (self.mqes | contiguous | self.timeout << 24 | self.stride << 32 | nvm_set | io_sets
                | self.page_min << 48 | self.page_max << 52)

    @property
    def page(self):
        """Bytes of a page, as the host has configured it."""
        return PAGE << (self.configuration >> NVME_CC_MPS_SHIFT & 0xF)

    def read_config(self, where):
        """Read 16 bits of its configuration space."""
        if self.gone:
            return ALL_ONES & 0xFFFF
        return {PCI_VENDOR_ID: PCI_VENDOR_ID_REDHAT, PCI_DEVICE_ID: DEVICE_ID, PCI_COMMAND: self.pci_command,
                PCI_STATUS: HAS_CAPABILITIES}.get(where, 0)

    def write_config(self, where, value):
        """Write 16 bits of its configuration space, of which only the command register takes any."""
        if where == PCI_COMMAND and not self.gone:
            self.pci_command = value

    def read_register(self, offset):
        """Read 32 bits of its window."""
        value = ALL_ONES if self.gone else self._registers().get(offset, 0)
        if observer := this().observer:
            observer("register_read", device=self, offset=offset, value=value)
        return value

    def _registers(self):
        cap = self.capabilities
        return {NVME_REG_CAP: cap & ALL_ONES, NVME_REG_CAP + 4: cap >> 32, NVME_REG_VS: self.version,
                NVME_REG_INTMS: self.interrupt_mask, NVME_REG_INTMC: self.interrupt_mask,
                NVME_REG_CC: self.configuration, NVME_REG_CSTS: self.status, NVME_REG_AQA: self.aqa,
                NVME_REG_ASQ: self.asq & ALL_ONES, NVME_REG_ASQ + 4: self.asq >> 32,
                NVME_REG_ACQ: self.acq & ALL_ONES, NVME_REG_ACQ + 4: self.acq >> 32}

    def write_register(self, offset, value):
        """Write 32 bits of its window. Doorbells have no value to read."""
        observer = this().observer
        if offset >= NVME_REG_DBS:
            qid, odd = divmod(offset - NVME_REG_DBS >> 2 + self.stride, 2)
            if observer:
                observer("doorbell", device=self, queue=qid, side="cq" if odd else "sq", value=value)
            if not self.gone:
                (self._head_doorbell if odd else self._tail_doorbell)(qid, value & 0xFFFF)
            return
        if observer:
            observer("register_write", device=self, offset=offset, value=value)
        if self.gone:
            return
        if offset == NVME_REG_CC:
            self._configure(value)
        elif offset == NVME_REG_INTMS:
            self.interrupt_mask |= value
        elif offset == NVME_REG_INTMC:
            self.interrupt_mask &= ~value
            self._pin()
        elif offset == NVME_REG_AQA:
            self.aqa = value
        elif offset == NVME_REG_ASQ:
            self.asq = self.asq >> 32 << 32 | value
        elif offset == NVME_REG_ASQ + 4:
            self.asq = value << 32 | self.asq & ALL_ONES
        elif offset == NVME_REG_ACQ:
            self.acq = self.acq >> 32 << 32 | value
        elif offset == NVME_REG_ACQ + 4:
            self.acq = value << 32 | self.acq & ALL_ONES

    def _configure(self, value):
        """The host writes CC: it enables or disables the controller, or tells it to shut down."""
        before, self.configuration = self.configuration, value
        if value & NVME_CC_SHN_MASK and not before & NVME_CC_SHN_MASK:
            self._shut_down()
        elif not value & NVME_CC_SHN_MASK:
            self.status &= ~NVME_CSTS_SHST_MASK
        if value & NVME_CC_ENABLE and not before & NVME_CC_ENABLE:
            self._enable()
        elif not value & NVME_CC_ENABLE and before & NVME_CC_ENABLE:
            self._disable()

    def _enable(self):
        """Begin with empty admin queues where the host has placed them; or be broken, where that is impossible."""
        fault = self._fault(ENABLE)
        size = self.configuration >> NVME_CC_MPS_SHIFT & 0xF
        sizes = self.aqa & 0xFFF, self.aqa >> 16 & 0xFFF
        misplaced = (self.asq | self.acq) & (self.page - 1)
        command_set = self.configuration >> 4 & 7
        if fault == FATAL or misplaced or not all(sizes) or not self.page_min <= size <= self.page_max or command_set:
            self.status |= NVME_CSTS_CFS
            return
        self.cqs[0] = CompletionQueue(0, self.acq, sizes[1] + 1, 0)
        self.sqs[0] = SubmissionQueue(0, self.asq, sizes[0] + 1, self.cqs[0])
        self.started = this().now
        if fault != STUCK:
            self._later(self._ready, NVME_CSTS_RDY)

    def _disable(self):
        """Forget all queues and what is in them. Nothing of the host's memory is touched any more."""
        self._forget()
        fault = self._fault(DISABLE)
        if fault == FATAL:
            self.status |= NVME_CSTS_CFS
        elif fault != STUCK:
            self._later(self._ready, 0)

    def _ready(self, bit):
        if bit:
            self.status |= bit
        else:
            self.status = 0

    def _shut_down(self):
        """Let what is cached last."""
        fault = self._fault(SHUTDOWN)
        if fault == FATAL:
            self.status |= NVME_CSTS_CFS
            return
        self.status = self.status & ~NVME_CSTS_SHST_MASK | NVME_CSTS_SHST_OCCUR
        for namespace in self.namespaces.values():
            namespace.flush()
        if fault != STUCK:
            self._later(self._shut, None)

    def _shut(self, _):
        self.status = self.status & ~NVME_CSTS_SHST_MASK | NVME_CSTS_SHST_CMPLT

    def _later(self, fn, argument):
        """Do it after ready_time; at once where that is 0."""
        if self.ready_time:
            epoch = self.epoch
            self._post(lambda: self.epoch == epoch and not self.gone and fn(argument), self.ready_time)
        else:
            fn(argument)

    def _forget(self):
        """Be as after a reset: no queues, nothing under way, default features."""
        self.epoch = getattr(self, "epoch", 0) + 1
        for sq in self.sqs.values():
            for running in sq.running.values():
                if running.event:
                    running.event.cancelled = True
        self.cqs.clear()
        self.sqs.clear()
        self.interrupt_mask = 0
        self.features = admin.Features(self)
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
        was_full = cq.full()
        cq.head = head
        if was_full and cq.waiting:
            self._post(lambda: self._deliver(cq))
        self._pin()

    def _bad_doorbell(self, no_such_queue):
        """The host wrote a doorbell of no queue, or a place beyond its queue: that is ignored, and reported."""
        if self.requests:
            self.notify(admin.EVENT_ERROR, 0 if no_such_queue else 1, admin.LOG_ERROR)

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
        return (not self.gone and not self.status & NVME_CSTS_CFS and self.configuration & NVME_CC_ENABLE
                and self.pci_command & PCI_COMMAND_MASTER)

    def _work(self):
        """Fetch commands from the queues in turn, so many of each as a burst allows, until all are empty."""
        self._scheduled = False
        fetched: list[Running] = []
        while self._waiting and self._alive():
            sq = self._waiting.popleft()
            self._look_at_shadow(sq)
            for _ in range(self.features.burst()):
                if sq.head == sq.tail or not self._alive():
                    break
                self._fetch(sq, fetched)
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

    def _fetch(self, sq, fetched):
        """Take the next command off a queue. What takes no time is put in `fetched`."""
        memory = this().memory
        slot = sq.head
        command = sq.command(memory, slot)
        sq.head = (slot + 1) % sq.size
        if observer := this().observer:
            observer("command", device=self, queue=sq.qid, slot=slot, command=command)
        running = Running(sq, command)
        effect, status = self._struck(sq.qid, command.opcode)
        if effect in (GONE, FATAL):
            return
        if command.command_id in sq.running:
            self._answer(running, NVME_SC_CMDID_CONFLICT, 0)
            return
        sq.running[command.command_id] = running
        if effect == SILENT:
            return
        if effect == FAIL:
            self._end(running, status, 0)
        elif sq.qid == 0:
            self._finish(running)
        else:
            time = self.service.time()
            if not time:
                fetched.append(running)
                return
            end = this().now + time
            if self.service.in_order:
                end = sq.last_end = max(end, sq.last_end)
            running.event = self._post(lambda: self._time_is_up(running), end - this().now)

    def _time_is_up(self, running):
        if self._alive():
            self._finish(running)
            self._deliver_due()

    def _finish(self, running):
        """Execute a command, and answer it, unless it is one that waits for something to happen."""
        try:
            handlers = nvm.HANDLERS if running.sq.qid else admin.HANDLERS
            handler = handlers.get(running.command.opcode)
            if handler is None:
                raise Refused(NVME_SC_INVALID_OPCODE)
            if running.command.flags & 3:
                raise Refused(NVME_SC_INVALID_FIELD)  # commands that are executed in pairs: it has none
            result = handler(self, running)
        except Refused as why:
            self.features.errors += 1
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
        memory = this().memory
        observer = this().observer
        written = 0
        while cq.waiting:
            self._look_at_shadow_head(cq)
            if cq.full():
                break
            sq, command_id, status, result = cq.waiting.popleft()
            slot, entry = cq.tail, cq.write(memory, sq, command_id, status, result)
            written += 1
            if observer:
                observer("completion", device=self, queue=cq.qid, slot=slot, completion=entry)
        if written and cq.vector is not None:
            self.features.aggregate(cq, written)

    # Copies of the doorbells in the host's memory. (Linux keeps none of the admin queue's, so that is told apart.)

    def shadow_doorbells(self, doorbells, wanted):
        """Look at copies of the doorbells at one address; at the other, say up to where writing those is enough."""
        self.shadow = doorbells, wanted
        memory = this().memory
        for sq in self.sqs.values():
            if sq.qid:
                memory.store(doorbells + (sq.qid * 8 << self.stride), sq.tail)
                self._look_at_shadow(sq)
        for cq in self.cqs.values():
            if cq.qid:
                memory.store(doorbells + ((cq.qid * 2 + 1) * 4 << self.stride), cq.head)
                self._look_at_shadow_head(cq)

    def _look_at_shadow(self, sq):
        if self.shadow is None or not sq.qid:
            return
        memory = this().memory
        doorbells, wanted = (base + (sq.qid * 8 << self.stride) for base in self.shadow)
        memory.store(wanted, sq.tail)
        tail = memory.load(doorbells)
        if tail < sq.size:
            sq.tail = tail

    def _look_at_shadow_head(self, cq):
        if self.shadow is None or not cq.qid:
            return
        memory = this().memory
        doorbells, wanted = (base + ((cq.qid * 2 + 1) * 4 << self.stride) for base in self.shadow)
        memory.store(wanted, cq.head)
        head = memory.load(doorbells)
        if head < cq.size:
            cq.head = head

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
                observer("interrupt", device=self, vector=vector)
            interrupts().message(self.messages[vector])

    def _pin(self):
        """A pin is up as long as there are completions that the host has not taken."""
        if not self.vectors and any(cq.vector is not None and cq.head != cq.tail for cq in self.cqs.values()):
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
                self.notify(admin.EVENT_NOTICE, 0, admin.LOG_CHANGED)

    # Queues come and go.

    def add_queue(self, queue):
        (self.sqs if isinstance(queue, SubmissionQueue) else self.cqs)[queue.qid] = queue

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

    def execute(self, cmd):
        """Execute an admin command at once; return its status and its result."""
        try:
            running = Running(None, cmd.common)
            handler = admin.HANDLERS.get(cmd.common.opcode)
            if handler is None:
                raise Refused(NVME_SC_INVALID_OPCODE)
            return NVME_SC_SUCCESS, handler(self, running)
        except Refused as why:
            return why.status, 0
