"""Holding what the controller saw against a recording of it (`blkmodel-device/1`).

The events of both sides are compared as streams: register accesses; commands by queue; submission tails by queue; of
completion heads only that the model's never pass what was completed, and that it reaches the recording's last one. How
the streams interleave is chance. So is the CPU, and with it the queue, on which the partitions are looked for: those
commands are compared for themselves, and what they moved on a queue is taken off its tails and heads on both sides.

A queue that is created anew has a new life, in which tails and heads begin at 0: an I/O queue with its CREATE_SQ and
CREATE_CQ, the admin queue when the controller is enabled. Heads are compared in each life.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from blkmodel.device import ADMIN, IO, REGISTERS
from blkmodel.include.linux import nvme
from blkmodel.include.linux.nvme import (NVME_AQ_DEPTH, NVME_CC_ENABLE, NVME_CQ_IRQ_ENABLED, NVME_FEAT_NUM_QUEUES,
    NVME_REG_ACQ, NVME_REG_ASQ)
from blkmodel.trace import Command, Completion, Doorbell, Recording, RegisterRead, RegisterWrite

Event = list[Any]
"""What a controller saw, as a recording has it: the kind, and what there is to say of it."""

ADDRESSES = frozenset({NVME_REG_ASQ, NVME_REG_ASQ + 4, NVME_REG_ACQ, NVME_REG_ACQ + 4})


def events(recording: Recording) -> list[Event]:
    """What the model's controllers saw, in the form of a recording's events, in order; a completion is
    ["completion", queue]."""
    shown: list[Any] = []
    # the queue and number of a command → its facts, for what is answered
    waiting: dict[tuple[int, int], dict[str, Any]] = {}
    for event in recording.events:
        if type(event) is RegisterRead:
            shown.append(["read", REGISTERS.get(event.offset, f"{event.offset:#x}")])
        elif type(event) is RegisterWrite:
            value = "address" if event.offset in ADDRESSES else f"{event.value:#x}"
            shown.append(["write", REGISTERS.get(event.offset, f"{event.offset:#x}"), value])
        elif type(event) is Doorbell:
            shown.append([f"{event.side}_doorbell", event.queue, event.value])
        elif type(event) is Command:
            facts = (_io if event.queue else _admin)(event.queue, event.command)
            waiting[event.queue, event.command.command_id] = facts
            shown.append(["io" if event.queue else "admin", facts])
        elif type(event) is Completion:
            entry = event.completion
            facts = waiting.pop((entry.sq_id, entry.command_id), {})
            if facts.get("fid") == NVME_FEAT_NUM_QUEUES and not entry.status >> 1:
                facts["granted"] = [(entry.result & 0xFFFF) + 1, (entry.result >> 16) + 1]
            shown.append(["completion", event.queue])
    return shown


_TOLD = {nvme.nvme_admin_identify: "cns", nvme.nvme_admin_get_log_page: "lid",
         nvme.nvme_admin_set_features: "fid cdw11=dword11", nvme.nvme_admin_get_features: "fid cdw11=dword11",
         nvme.nvme_admin_create_cq: "cqid vector=irq_vector qsize flags=cq_flags",
         nvme.nvme_admin_create_sq: "sqid cqid qsize flags=sq_flags", nvme.nvme_admin_delete_sq: "sqid=qid",
         nvme.nvme_admin_delete_cq: "cqid=qid", nvme.nvme_admin_abort_cmd: "sqid cid"}
"""Opcode → the facts of such a command as a recording calls them, each with the field that it is of, where that has
another name."""


def _admin(queue: int, command: Any) -> dict[str, Any]:
    """The facts of an admin command, with the names that a recording has for them."""
    facts = {"opcode": command.opcode, "name": ADMIN.get(command.opcode, "unknown")}
    for word in _TOLD.get(command.opcode, "").split():
        name, _, of = word.partition("=")
        facts[name] = getattr(command, of or name)
    if command.opcode == nvme.nvme_admin_create_cq:
        facts["ien"] = int(bool(command.cq_flags & NVME_CQ_IRQ_ENABLED))
    return facts


def _io(queue: int, command: Any) -> dict[str, Any]:
    """The facts of an I/O command. (Every namespace of a recording has blocks of 512 bytes.)"""
    opcode = command.opcode
    facts = {"opcode": opcode, "name": IO.get(opcode, "unknown"), "sqid": queue, "nsid": command.nsid}
    if opcode in (nvme.nvme_cmd_read, nvme.nvme_cmd_write, nvme.nvme_cmd_compare, nvme.nvme_cmd_write_zeroes):
        facts |= {"lba": command.slba, "nlb": command.length + 1, "len": (command.length + 1) * 512}
    elif opcode == nvme.nvme_cmd_dsm:
        facts |= {"nr": command.nr + 1, "attr": command.attributes}
    return facts


@dataclass
class Streams:
    """Events by what is compared of them. scan: the commands that looked for partitions. commands: queue → those of
    it. tails: queue → all values of its tail, in each life counted on instead of beginning anew with the ring; heads:
    queue → how far its head went in each life, likewise. depths: queue → places of its ring. passed: queues whose head
    passed what was completed."""

    registers: list[Any] = field(default_factory=list)
    scan: list[dict[str, Any]] = field(default_factory=list)
    commands: dict[int, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    tails: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    heads: dict[int, list[int]] = field(default_factory=dict)
    depths: dict[int, int] = field(default_factory=lambda: {0: NVME_AQ_DEPTH})
    passed: list[int] = field(default_factory=list)


def streams(seen: list[Event], scanned: int) -> Streams:
    """Sort events, of which the first `scanned` I/O commands looked for partitions."""
    found, enabled = Streams(), 0
    completed: dict[int, int] = defaultdict(int)
    moved: dict[int, int] = defaultdict(int)  # what the scan moved on each queue
    lives: dict[int, list[list[int]]] = defaultdict(lambda: [[]])  # of each queue the tails, by life
    for kind, *rest in seen:
        if kind in ("read", "write"):
            found.registers.append([kind, *rest])
            if kind == "write" and rest[0] == "CC" and rest[1] != "address":
                was, enabled = enabled, int(rest[1], 16) & NVME_CC_ENABLE
                if enabled and not was:
                    lives[0].append([])
                    _head_anew(found, completed, 0)
        elif kind == "admin":
            found.commands[0].append(rest[0])
            if rest[0].get("name") == "CREATE_SQ":
                found.depths[rest[0]["sqid"]] = rest[0]["qsize"] + 1
                lives[rest[0]["sqid"]].append([])
            elif rest[0].get("name") == "CREATE_CQ":
                _head_anew(found, completed, rest[0]["cqid"])
        elif kind == "io":
            facts = dict(rest[0])
            queue = facts["sqid"]
            if len(found.scan) < scanned:
                del facts["sqid"]
                found.scan.append(facts)
                moved[queue] += 1
            else:
                found.commands[queue].append(facts)
        elif kind == "completion":
            completed[rest[0]] += 1
        elif kind == "sq_doorbell":
            lives[rest[0]][-1].append(rest[1])
        else:
            queue, head = rest
            depth, heads = found.depths.get(queue, 1 << 16), found.heads.setdefault(queue, [0])
            heads[-1] += (head - heads[-1]) % depth
            if heads[-1] > completed[queue]:
                found.passed.append(queue)
    for queue, tails in lives.items():
        scan = moved[queue]
        for values in filter(None, tails):
            found.tails[queue] += _count_on(values, found.depths.get(queue, 1 << 16), scan)
            scan = 0
    for queue, heads in found.heads.items():
        heads[0] -= moved[queue]
    return found


def _head_anew(found: Streams, completed: dict[int, int], queue: int) -> None:
    """Let the head of a queue begin at 0, if it ever went further."""
    completed[queue] = 0
    if found.heads.get(queue, [0])[-1]:
        found.heads[queue].append(0)


def _count_on(tails: list[int], depth: int, scanned: int) -> list[int]:
    """Tails as if the ring were endless, without what the scan moved."""
    counted, at = [], 0
    for tail in tails:
        at += (tail - at) % depth
        if at > scanned:
            counted.append(at - scanned)
    return counted


def compare(document: dict[str, Any], seen: list[Event], scanned: int) -> list[str]:
    """Compare a recording, as read, with what the model's controllers saw (events()). Returns a line for each stream
    that differs."""
    theirs, ours = streams(document["events"], scanned), streams(seen, scanned)
    lines = [_first("register accesses", theirs.registers, ours.registers, " ".join),
             _first("commands that look for partitions", theirs.scan, ours.scan, _command)]
    for queue in sorted(theirs.commands.keys() | ours.commands.keys()):
        lines.append(_first(f"commands of queue {queue}", theirs.commands[queue], ours.commands[queue], _command))
    for queue in sorted(theirs.tails.keys() | ours.tails.keys()):
        lines.append(_first(f"submission tails of queue {queue}", theirs.tails[queue], ours.tails[queue], str))
    for queue, heads in sorted(theirs.heads.items()):
        depth = theirs.depths.get(queue, 1 << 16)
        for head, reached in zip_longest(heads, ours.heads.get(queue, []), fillvalue=0):
            if (reached - head) % depth and head:
                lines.append(f"completion head of queue {queue}: the recording's last is {head}, the model's {reached}")
    for queue in sorted(set(ours.passed)):
        lines.append(f"completion head of queue {queue}: the model's passes what was completed")
    return [line for line in lines if line]


def chance(document: dict[str, Any], scanned: int) -> dict[str, int]:
    """What of a recording is let pass whatever the model does, with how often."""
    theirs = streams(document["events"], scanned)
    heads = sum(event[0] == "cq_doorbell" for event in document["events"]) - sum(map(len, theirs.heads.values()))
    found = {"on which queue a command looks for partitions": len(theirs.scan),
             "completion heads before the last of their queue": heads}
    return {what: times for what, times in found.items() if times > 0}


def _first(what: str, theirs: list[Any], ours: list[Any], show: Callable[[Any], str]) -> str | None:
    """A line on where two streams begin to differ; None where they agree. Of a command only what the recording tells
    of it is compared."""
    for number, (their, our) in enumerate(zip_longest(theirs, ours)):
        if isinstance(their, dict) and isinstance(our, dict):
            our = {name: our.get(name) for name in their}
        if their != our:
            after = f" after {show(theirs[number - 1])}" if number and theirs[number - 1:] else ""
            return (f"{what}: number {number + 1}{after}: the recording has "
                    f"{'none' if their is None else show(their)}, the model {'none' if our is None else show(our)}")
    return None


def _command(facts: dict[str, Any]) -> str:
    rest = " ".join(f"{name}={value}" for name, value in facts.items() if name not in ("opcode", "name"))
    return f"{facts['name']} {rest}".rstrip()
