"""What passes between a driver and its controller, event by event, and what it means in words."""

from collections.abc import Callable
from typing import Any, NamedTuple

from blkmodel.device import ADMIN, IO, REGISTERS
from blkmodel.include.linux import nvme
from blkmodel.trace.events import Command, Completion, Doorbell, Interrupt, RegisterRead, RegisterWrite
from blkmodel.trace.recorder import Recording
from blkmodel.trace.walk import walk

_FEATURES = {nvme.NVME_FEAT_NUM_QUEUES: "number of queues", nvme.NVME_FEAT_TIMESTAMP: "time of day",
             nvme.NVME_FEAT_ASYNC_EVENT: "events to be told of", nvme.NVME_FEAT_VOLATILE_WC: "write cache",
             nvme.NVME_FEAT_AUTO_PST: "power states", nvme.NVME_FEAT_HOST_MEM_BUF: "host memory buffer",
             nvme.NVME_FEAT_IRQ_COALESCE: "aggregation of interrupts"}
_IDENTIFY = {nvme.NVME_ID_CNS_NS: "namespace {nsid}", nvme.NVME_ID_CNS_CTRL: "the controller",
             nvme.NVME_ID_CNS_NS_ACTIVE_LIST: "the namespaces there are",
             nvme.NVME_ID_CNS_NS_DESC_LIST: "names of namespace {nsid}"}
_LOGS = {nvme.NVME_LOG_ERROR: "errors", nvme.NVME_LOG_SMART: "health", nvme.NVME_LOG_FW_SLOT: "firmware",
         nvme.NVME_LOG_CHANGED_NS: "changed namespaces", nvme.NVME_LOG_CMD_EFFECTS: "effects of commands"}


_SENDERS = ("nvme_features", "nvme_set_features", "nvme_get_features", "nvme_submit_sync_cmd", "__nvme_submit_sync_cmd")


class Passing(NamedTuple):
    """Something that passed. kind: `register`, `doorbell`, `command`, `completion` or `interrupt`. to_controller:
    which way. label: what it is; meaning: what that says. who: the context; path: the functions that it was beneath,
    outermost first (none, where the controller acts by itself). at: which event of the recording it is; time: ns."""

    kind: str
    to_controller: bool
    label: str
    meaning: str
    who: Any
    path: tuple[str, ...]
    at: int
    time: int
    event: Any

    def cause(self) -> str:
        """The function that wanted it: of an admin command the one that has it sent, of a register the one that uses
        it; of anything else the outermost. Empty where the controller acts by itself."""
        senders = [place for place, name in enumerate(self.path) if name in _SENDERS]
        if senders and senders[0]:
            return self.path[senders[0] - 1]
        if self.kind == "register":
            return next(name for name in reversed(self.path) if not name.startswith("nvme_pci_reg_"))
        return self.path[0] if self.path else ""

    def caller(self) -> str:
        """The functions in which the driver did it; of the controller's own doing there is none."""
        if not self.path:
            return "by itself"
        cause, last = self.cause(), self.path[-1]
        return cause if cause == last else f"{cause} … {last}"


def passings(recording: Recording) -> list[Passing]:
    """Everything that passed, in order."""
    found = []
    indexes = [at for at, event in enumerate(recording.events) if type(event) in _TELL]
    commands: dict[tuple[int, int], str] = {}
    for at, moment in zip(indexes, walk(recording, _TELL), strict=True):
        what, to_controller, tell = _TELL[type(moment.event)]
        label, meaning = tell(moment.event, commands)
        found.append(Passing(what, to_controller, label, meaning, recording.contexts[moment.context],
                             tuple(call.function for call in moment.path), at, moment.event.time, moment.event))
    return found


def _register(event: Any, commands: dict[tuple[int, int], str]) -> tuple[str, str]:
    name = REGISTERS.get(event.offset, f"{event.offset:#x}")
    meaning = _SAYS.get(name, lambda value: "")(event.value)
    if type(event) is RegisterWrite:
        return f"write {name} = {event.value:#x}", meaning
    return f"read {name}: {event.value:#x}", "nobody answers" if event.value == 0xFFFFFFFF else meaning


def _doorbell(event: Any, commands: dict[tuple[int, int], str]) -> tuple[str, str]:
    queue = "admin queue" if event.queue == 0 else f"queue {event.queue}"
    if event.side == "sq":
        return f"{queue}: tail is {event.value}", "commands lie in the slots before it"
    return f"{queue}: head is {event.value}", "the completions before it have been taken"


def _command(event: Any, commands: dict[tuple[int, int], str]) -> tuple[str, str]:
    said = describe_command(event.queue, event.command)
    commands[event.queue, event.command.command_id] = said
    queue = f"submission queue {event.queue}" if event.queue else "the admin submission queue"
    return f"fetch: {said}", f"from slot {event.slot} of {queue}"


def _completion(event: Any, commands: dict[tuple[int, int], str]) -> tuple[str, str]:
    entry = event.completion
    said = commands.pop((entry.sq_id, entry.command_id), "a command")
    status = entry.status >> 1
    outcome = "done" if not status else f"failed with status {status:#x}"
    result = f", result {entry.result:#x}" if entry.result else ""
    queue = f"completion queue {event.queue}" if event.queue else "the admin completion queue"
    return f"{outcome}: {said}{result}", f"into slot {event.slot} of {queue}, phase {entry.status & 1}"


def describe_command(queue: int, command: Any) -> str:
    """A command in words."""
    if queue:
        name = IO.get(command.opcode, f"opcode {command.opcode:#x}").replace("_", " ").lower()
        if hasattr(command, "slba"):
            count = command.length + 1
            return f"{name} {count} block{'s' * (count > 1)} from {command.slba}"
        return name
    name = ADMIN.get(command.opcode, f"opcode {command.opcode:#x}").replace("_", " ").lower()
    if command.opcode == nvme.nvme_admin_identify:
        return f"{name} {_IDENTIFY.get(command.cns, f'kind {command.cns}').format(nsid=command.nsid)}"
    if command.opcode in (nvme.nvme_admin_set_features, nvme.nvme_admin_get_features):
        what = _FEATURES.get(command.fid & 0xFF, f"{command.fid:#x}")
        if command.fid == nvme.NVME_FEAT_NUM_QUEUES:
            what += f", {(command.dword11 & 0xFFFF) + 1}"
        return f"{name.replace('features', 'feature')} {what}"
    if command.opcode == nvme.nvme_admin_get_log_page:
        return f"{name} {_LOGS.get(command.lid, f'{command.lid:#x}')}"
    if command.opcode == nvme.nvme_admin_create_cq:
        vector = f"vector {command.irq_vector}" if command.cq_flags & nvme.NVME_CQ_IRQ_ENABLED else "no vector"
        return f"create completion queue {command.cqid}, {command.qsize + 1} slots, {vector}"
    if command.opcode == nvme.nvme_admin_create_sq:
        return f"create submission queue {command.sqid}, {command.qsize + 1} slots"
    if command.opcode in (nvme.nvme_admin_delete_cq, nvme.nvme_admin_delete_sq):
        kind = "completion" if command.opcode == nvme.nvme_admin_delete_cq else "submission"
        return f"delete {kind} queue {command.qid}"
    if command.opcode == nvme.nvme_admin_abort_cmd:
        return f"abort command {command.cid} of queue {command.sqid}"
    return {"async ev req": "ask to be told of events", "dbbuf config": "keep doorbells in memory"}.get(name, name)


def _configuration(value: int) -> str:
    said = ["enable" if value & nvme.NVME_CC_ENABLE else "disable"]
    if value & nvme.NVME_CC_SHN_MASK:
        said = ["shut down"]
    elif value & nvme.NVME_CC_ENABLE:
        said.append(f"commands of {1 << (value >> nvme.NVME_CC_IOSQES_SHIFT & 15)} bytes, completions of "
                    f"{1 << (value >> nvme.NVME_CC_IOCQES_SHIFT & 15)}, pages of "
                    f"{4 << (value >> nvme.NVME_CC_MPS_SHIFT & 15)} KiB")
    return ": ".join(said)


def _status(value: int) -> str:
    said = ["ready" if value & nvme.NVME_CSTS_RDY else "not ready"]
    if value & nvme.NVME_CSTS_CFS:
        said.append("broken")
    if shutdown := value & nvme.NVME_CSTS_SHST_MASK:
        said.append("shut down" if shutdown == nvme.NVME_CSTS_SHST_CMPLT else "shutting down")
    return ", ".join(said)


_SAYS: dict[str, Callable[[int], str]] = {
    "CAP": lambda value: (f"queues of up to {nvme.NVME_CAP_MQES(value) + 1} slots; getting ready takes up to "
                          f"{nvme.NVME_CAP_TIMEOUT(value) / 2:g} s"),
    "CAP.hi": lambda high: (f"a doorbell every {4 << nvme.NVME_CAP_STRIDE(high << 32)} bytes; pages of "
                            f"{4 << nvme.NVME_CAP_MPSMIN(high << 32)} to {4 << nvme.NVME_CAP_MPSMAX(high << 32)} KiB"),
    "CC": _configuration, "CSTS": _status, "VS": lambda value: f"NVMe {value >> 16}.{value >> 8 & 0xFF}",
    "AQA": lambda value: f"admin queues of {(value & 0xFFF) + 1} and {(value >> 16 & 0xFFF) + 1} slots",
    "CMBSZ": lambda value: "memory of its own" if value else "no memory of its own that the host could use",
    "ASQ": lambda value: "where the admin submission queue is, lower half", "ASQ.hi": lambda value: "upper half",
    "ACQ": lambda value: "where the admin completion queue is, lower half", "ACQ.hi": lambda value: "upper half"}
_TELL: dict[type, tuple[str, bool, Callable[..., tuple[str, str]]]] = {
    RegisterRead: ("register", True, _register), RegisterWrite: ("register", True, _register),
    Doorbell: ("doorbell", True, _doorbell), Command: ("command", True, _command),
    Completion: ("completion", False, _completion), Interrupt: (
        "interrupt", False,
        lambda event, commands: (f"interrupt by vector {event.vector}", "there are completions to take"))}
