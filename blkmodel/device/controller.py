"""The NVMe controller: its registers and doorbells, its queues, and how a command goes through it.

It knows the host only by what the host writes into its registers and into memory. Whatever the host sets off by a
doorbell happens later, in a context of the device's own; what the controller has to say it writes to memory, and
interrupts. By default it is QEMU's controller, as the recordings show it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from blkmodel.device import admin, nvm
from blkmodel.device.engine import Engine, post
from blkmodel.device.faults import DISABLE, ENABLE, ENDS, FATAL, GONE, SHUTDOWN, STUCK, Fault
from blkmodel.device.namespace import Namespace
from blkmodel.device.queues import CompletionQueue, Running, SubmissionQueue
from blkmodel.device.service import Service
from blkmodel.device.transfer import Refused
from blkmodel.include.linux.nvme import (NVME_CC_ENABLE, NVME_CC_MPS_SHIFT, NVME_CC_SHN_MASK, NVME_CSTS_CFS,
    NVME_CSTS_RDY, NVME_CSTS_SHST_CMPLT, NVME_CSTS_SHST_MASK, NVME_CSTS_SHST_OCCUR, NVME_REG_ACQ, NVME_REG_AQA,
    NVME_REG_ASQ, NVME_REG_CAP, NVME_REG_CC, NVME_REG_CMBLOC, NVME_REG_CMBSZ, NVME_REG_CSTS, NVME_REG_DBS,
    NVME_REG_INTMC, NVME_REG_INTMS, NVME_REG_NSSR, NVME_REG_VS, NVME_SC_INVALID_FIELD, NVME_SC_INVALID_OPCODE, NVME_VS,
    nvme_admin_dbbuf, nvme_cmd_dsm, nvme_cmd_write_zeroes)
from blkmodel.services import (PCI_CLASS_STORAGE_EXPRESS, PCI_COMMAND, PCI_COMMAND_MASTER, PCI_DEVICE_ID, PCI_STATUS,
    PCI_VENDOR_ID, PCI_VENDOR_ID_REDHAT)
from blkmodel.sim import running, this
from blkmodel.sim.bus import ALL_ONES
from blkmodel.sim.interrupts import interrupts

PAGE, VECTOR_ENTRY, HAS_CAPABILITIES, FUSED = 4096, 16, 0x10, 3

REGISTERS = {NVME_REG_CAP: "CAP", NVME_REG_CAP + 4: "CAP.hi", NVME_REG_VS: "VS", NVME_REG_INTMS: "INTMS",
             NVME_REG_INTMC: "INTMC", NVME_REG_CC: "CC", NVME_REG_CSTS: "CSTS", NVME_REG_NSSR: "NSSR",
             NVME_REG_AQA: "AQA", NVME_REG_ASQ: "ASQ", NVME_REG_ASQ + 4: "ASQ.hi", NVME_REG_ACQ: "ACQ",
             NVME_REG_ACQ + 4: "ACQ.hi", NVME_REG_CMBLOC: "CMBLOC", NVME_REG_CMBSZ: "CMBSZ"}


@dataclass(eq=False)
class Controller:
    """A controller with so many I/O queue pairs and interrupt vectors (0: it has a pin instead).

    mqes: the entries that a queue can have, less one. usable: the pairs that it really can create; granted: those that
    it says it has; both are `queue_pairs` where negative. mdts: a command moves at most 2**mdts of the smallest pages
    (0: any number). stride: doorbells are 4 << stride bytes apart. page_min, page_max: the pages that the host can
    choose have 2**12 << that bytes. sgl, dbbuf, write_cache: whether it can use descriptors, doorbells in memory, and
    caches writes; dsm, write_zeroes: whether it has these commands (the first one: Dataset Management, for discard).
    aborts: whether it ends what it is told to abort; else it answers that it left the command alone. timeout: how long
    enabling may take, in half seconds, as it says; ready_time: how long it takes, in nanoseconds. events: how many
    asynchronous event requests it holds. vendor, device, class_code: whose it is and which, and of what kind, on the
    bus; serial, model, firmware: what it calls itself. namespaces: number → Namespace. faults: what goes wrong.

    admin, io: opcode → what executes that command. messages: for each vector what it writes to interrupt, (CPU, vector
    there); masked: those it holds back; pending: those of them that wait. engine: its queues, and what is under way;
    features: what the host has set; placed: what it wrote into the registers that say where the admin queues are;
    epoch: how often it was reset; errors: how many commands failed.
    """

    queue_pairs: int = 64
    vectors: int = 65
    mqes: int = 2047
    usable: int = -1
    granted: int = -1
    mdts: int = 7
    stride: int = 0
    page_min: int = 0
    page_max: int = 4
    sgl: bool = True
    dbbuf: bool = True
    write_cache: bool = True
    dsm: bool = True
    write_zeroes: bool = True
    aborts: bool = True
    timeout: int = 15
    ready_time: int = 0
    events: int = 4
    version: int = NVME_VS(1, 4, 0)
    vendor: int = PCI_VENDOR_ID_REDHAT
    device: int = 0x0010
    class_code: int = PCI_CLASS_STORAGE_EXPRESS
    serial: str = "0001"
    model: str = "QEMU NVMe Ctrl"
    firmware: str = "7.2"
    namespaces: dict[int, Namespace] = field(default_factory=lambda: {1: Namespace()})
    service: Service = field(default_factory=Service)
    faults: list[Fault] = field(default_factory=list)
    messages: dict[int, tuple[int, int]] = field(default_factory=dict)
    masked: set[int] = field(default_factory=set)
    pending: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Refuse values that make no sense, by ValueError."""
        for name, low, high in (("queue_pairs", 1, 65535), ("vectors", 0, 2048), ("mqes", 1, 65535), ("mdts", 0, 20),
                                ("stride", 0, 10), ("page_min", 0, 15), ("page_max", self.page_min, 15),
                                ("timeout", 0, 255), ("events", 1, 256), ("ready_time", 0, 1 << 62)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name}={value}: it must be at least {low} and at most {high}")
        if self.usable < 0:
            self.usable = self.queue_pairs
        if self.granted < 0:
            self.granted = self.queue_pairs
        if not 1 <= self.granted <= self.queue_pairs:
            raise ValueError(f"granted={self.granted}: it must be at least 1 and at most {self.queue_pairs}")
        optional = {nvme_cmd_dsm: self.dsm, nvme_cmd_write_zeroes: self.write_zeroes}
        self.admin = {code: fn for code, fn in admin.HANDLERS.items() if code != nvme_admin_dbbuf or self.dbbuf}
        self.io = {code: fn for code, fn in nvm.HANDLERS.items() if optional.get(code, True)}
        self.gone, self.configuration, self.status, self.interrupt_mask = False, 0, 0, 0
        self.placed = dict.fromkeys((NVME_REG_AQA, NVME_REG_ASQ, NVME_REG_ASQ + 4, NVME_REG_ACQ, NVME_REG_ACQ + 4), 0)
        self.pci_command = self.started = self.epoch = self.errors = 0
        self.features = admin.Features()
        self.engine = Engine(self)

    # What the host sees of it on the bus.

    @property
    def window(self) -> int:
        """Bytes of its register window: registers, two doorbells a queue pair, the vector table, its pending bits."""
        doorbells = -(-(NVME_REG_DBS + ((self.queue_pairs + 1) * 8 << self.stride)) // PAGE) * PAGE
        table = -(-self.vectors * VECTOR_ENTRY // PAGE) * PAGE
        size = doorbells + table + -(-self.vectors // 64) * 8
        return 1 << (size - 1).bit_length()

    @property
    def capabilities(self) -> int:
        """The register CAP: what the host must know before it can say anything."""
        contiguous, nvm_set, io_sets = 1 << 16, 1 << 37, 1 << 43
        return (self.mqes | contiguous | self.timeout << 24 | self.stride << 32 | nvm_set | io_sets
                | self.page_min << 48 | self.page_max << 52)

    @property
    def page(self) -> int:
        """Bytes of a page, as the host has configured it."""
        return PAGE << (self.configuration >> NVME_CC_MPS_SHIFT & 0xF)

    def too_long(self, length: int) -> bool:
        """Whether a command may not move so many bytes."""
        return self.mdts > 0 and length > PAGE << self.page_min + self.mdts

    def read_config(self, where: int) -> int:
        """Read 16 bits of its configuration space."""
        if self.gone:
            return ALL_ONES & 0xFFFF
        return {PCI_VENDOR_ID: self.vendor, PCI_DEVICE_ID: self.device, PCI_COMMAND: self.pci_command,
                PCI_STATUS: HAS_CAPABILITIES}.get(where, 0)

    def write_config(self, where: int, value: int) -> None:
        """Write 16 bits of its configuration space, of which only the command register takes any."""
        if where == PCI_COMMAND and not self.gone:
            self.pci_command = value

    def read_register(self, offset: int) -> int:
        """Read 32 bits of the register window, at a byte offset. All ones where the controller is gone."""
        value = ALL_ONES if self.gone else self._registers().get(offset, 0)
        if observer := this().observer:
            observer("register_read", device=self, time=this().now, offset=offset, value=value)
        return value

    def _registers(self) -> dict[int, int]:
        """What the host reads, by register."""
        cap = self.capabilities
        return {NVME_REG_CAP: cap & ALL_ONES, NVME_REG_CAP + 4: cap >> 32, NVME_REG_VS: self.version,
                NVME_REG_INTMS: self.interrupt_mask, NVME_REG_INTMC: self.interrupt_mask,
                NVME_REG_CC: self.configuration, NVME_REG_CSTS: self.status, **self.placed}

    def write_register(self, offset: int, value: int) -> None:
        """Write 32 bits of its window. Doorbells have no value to read."""
        observer = running.kernel.observer
        if offset >= NVME_REG_DBS:
            qid, odd = divmod(offset - NVME_REG_DBS >> 2 + self.stride, 2)
            if observer:
                observer("doorbell", device=self, time=this().now, queue=qid, side="cq" if odd else "sq", value=value)
            if self.gone:
                return
            if not odd:
                self.engine.tail_doorbell(qid, value & 0xFFFF)
                return
            self.engine.head_doorbell(qid, value & 0xFFFF)
            if not self.vectors:
                self._pin()
            return
        if observer:
            observer("register_write", device=self, time=this().now, offset=offset, value=value)
        if self.gone:
            return
        if offset == NVME_REG_CC:
            self._configure(value)
        elif offset == NVME_REG_INTMS:
            self.interrupt_mask |= value
        elif offset == NVME_REG_INTMC:
            self.interrupt_mask &= ~value
            if not self.vectors:
                self._pin()
        elif offset in self.placed:
            self.placed[offset] = value

    def _configure(self, value: int) -> None:
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

    def _enable(self) -> None:
        """Begin with empty admin queues where the host has placed them; or be broken, where that is impossible."""
        fault, _ = self.struck(ENABLE)
        if self.gone:
            return
        size = self.configuration >> NVME_CC_MPS_SHIFT & 0xF
        aqa, asq, asq_hi, acq, acq_hi = self.placed.values()
        sizes = aqa & 0xFFF, aqa >> 16 & 0xFFF
        misplaced = (asq | acq) & (self.page - 1)
        command_set = self.configuration >> 4 & 7
        if fault == FATAL or misplaced or not all(sizes) or not self.page_min <= size <= self.page_max or command_set:
            self.status |= NVME_CSTS_CFS
            return
        cq = CompletionQueue(0, acq_hi << 32 | acq, sizes[1] + 1, 0)
        self.engine.add_completions(cq)
        self.engine.add_submissions(SubmissionQueue(0, asq_hi << 32 | asq, sizes[0] + 1, cq))
        self.started = this().now
        if fault != STUCK:
            self._later(lambda: self._report(self.status | NVME_CSTS_RDY))

    def _disable(self) -> None:
        """Forget all queues and what is in them. Nothing of the host's memory is touched any more."""
        self._forget()
        fault, _ = self.struck(DISABLE)
        if fault not in (STUCK, *ENDS):
            self._later(lambda: self._report(0))

    def _report(self, status: int) -> None:
        """Say how it is from now on."""
        self.status = status

    def _shut_down(self) -> None:
        """Write what is cached back, and report that; the host has said that the power may go."""
        fault, _ = self.struck(SHUTDOWN)
        if fault in ENDS:
            return
        self.status = self.status & ~NVME_CSTS_SHST_MASK | NVME_CSTS_SHST_OCCUR
        for namespace in self.namespaces.values():
            namespace.flush()
        if fault != STUCK:
            self._later(lambda: self._report(self.status & ~NVME_CSTS_SHST_MASK | NVME_CSTS_SHST_CMPLT))

    def _later(self, report: Callable[[], object]) -> None:
        """Report something after ready_time, unless it is reset before; at once where that is 0."""
        if self.ready_time:
            epoch = self.epoch
            post(lambda: self.epoch == epoch and not self.gone and report(), self.ready_time)
        else:
            report()

    def _forget(self) -> None:
        """Be as after a reset: no queues, nothing under way, default features."""
        self.epoch += 1
        self.interrupt_mask = 0
        self.features = admin.Features()
        self.engine.reset()

    def unplug(self) -> None:
        """Take it off the bus without a word. What it had cached only is lost."""
        self._forget()
        self.gone = True
        for namespace in self.namespaces.values():
            namespace.lose_power()

    # What the engine asks.

    def alive(self) -> bool:
        """Whether it does anything: it is ready, not broken, and may use memory."""
        return (self.status & (NVME_CSTS_RDY | NVME_CSTS_CFS) == NVME_CSTS_RDY
                and self.pci_command & PCI_COMMAND_MASTER != 0 and not self.gone)

    def execute(self, running: Running) -> int | None:
        """Execute a command. Returns its result, None for one that is answered later; raises Refused."""
        command = running.command
        try:
            handler = (self.io if running.sq.qid else self.admin).get(command.opcode)
            if handler is None:
                raise Refused(NVME_SC_INVALID_OPCODE)
            if command.flags & FUSED:
                raise Refused(NVME_SC_INVALID_FIELD)  # commands that are executed in pairs: it has none
            return handler(self, running)
        except Refused:
            self.errors += 1
            raise

    def struck(self, at: str, queue: int | None = None, opcode: int | None = None) -> tuple[str | None, int]:
        """The effect of a fault that shows at a step, None where there is none; and the status to fail with. What ends
        the controller has ended it then."""
        for fault in self.faults:
            if fault.strikes(at, queue, opcode):
                if fault.effect == GONE:
                    self.unplug()
                elif fault.effect == FATAL:
                    self.status |= NVME_CSTS_CFS
                return fault.effect, fault.status
        return None, 0

    # Interrupts.

    def mask(self, vector: int, masked: bool) -> None:
        """Hold a vector's messages back, or send them, the one that waits first."""
        if masked:
            self.masked.add(vector)
            return
        self.masked.discard(vector)
        if vector in self.pending:
            self.pending.discard(vector)
            self.interrupt(vector)

    def interrupt(self, vector: int) -> None:
        """Raise an interrupt vector."""
        if vector in self.masked:
            self.pending.add(vector)
        elif vector in self.messages and (self.vectors or not self.interrupt_mask & 1):
            if observer := running.kernel.observer:
                observer("interrupt", device=self, time=this().now, vector=vector)
            interrupts().message(self.messages[vector])

    def _pin(self) -> None:
        """A pin is up as long as there are completions that the host has not taken."""
        if any(cq.vector is not None and cq.head != cq.tail for cq in self.engine.cqs.values()):
            self.interrupt(0)
