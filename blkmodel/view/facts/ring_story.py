"""A queue pair in use, moment by moment: what lies in each slot of its rings, and what either side knows of it.

The moments come from a recording of the driver and the controller at work; nothing here decides anything.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from blkmodel import scenario
from blkmodel.device import IO, Controller, Service
from blkmodel.drivers.nvme.host.pci import nvme_queue
from blkmodel.include.linux.nvme import nvme_rw_command
from blkmodel.sim import Array, booted
from blkmodel.trace import Assign, Command, Completion, Doorbell, Interrupt, Item, Recording, record, walk
from blkmodel.trace.on_bus import describe_command

ROUNDS, QUEUE = 4, 1


@dataclass(frozen=True)
class Moment:
    """How a queue pair of `depth` slots is, after what `said` tells of. function: where the driver was, empty where
    the controller acted. touched: the slot that changed, as (`sq` or `cq`, number), or None.

    commands: slot → (number, what it is); completions: slot → (number, status, phase). tail, told: the driver's next
    slot, and what it last told the controller of that; head, heard: the driver's next completion, likewise; expected:
    the phase it will have. fetched, written, phase: the controller's next command, next completion and phase. running:
    the commands that it has fetched and not completed. In memory: doorbells (tail, head) and up to where they will do.
    """

    depth: int
    said: str = "Nothing is under way. What lies in the rings is over: head, tail and phase say so."
    function: str = ""
    touched: Any = None
    commands: tuple[Any, ...] = ()
    completions: tuple[Any, ...] = ()
    tail: int = 0
    told: int = 0
    head: int = 0
    heard: int = 0
    expected: int = 1
    fetched: int = 0
    written: int = 0
    phase: int = 1
    running: tuple[int, ...] = ()
    shadow: Any = None
    enough: Any = None


@lru_cache(maxsize=16)
def moments(depth: int, reads: int, in_order: bool = True, shadow: bool = False, seed: int = 1) -> list[Moment]:
    """Read so many pieces of a disk at once, ROUNDS times, through queues of `depth` slots; return the moments."""
    with booted(2):
        controller = Controller(queue_pairs=2, dbbuf=shadow, service=Service(in_order=in_order, seed=seed))
        name = scenario.nvme_probe(controller=controller, io_queue_depth=depth)
        nvmeq = scenario.nvme_controller(name).queues[QUEUE]
        start = _at_rest(nvmeq, depth, shadow)
        return _follow(record(_read, reads, watched=(nvme_queue, Array)), nvmeq, start)


def _read(reads: int) -> None:
    for number in range(ROUNDS):
        scenario.aio("nvme0n1", [{"op": "read", "offset": (number * reads + i) << 20, "length": 4096}
                                 for i in range(reads)])


def _at_rest(nvmeq: nvme_queue, depth: int, shadow: bool) -> Moment:
    """Where looking for partitions has left the queue, with nothing under way."""
    tail, head, phase = nvmeq.sq_tail, nvmeq.cq_head, nvmeq.cq_phase
    commands = [entry and (entry.common.command_id, _short(entry.common)) for entry in nvmeq.sq_cmds]
    completions = [entry and (entry.command_id, entry.status >> 1, entry.status & 1) for entry in nvmeq.cqes]
    in_memory = (tail, head) if shadow else None
    return Moment(depth, commands=tuple(commands), completions=tuple(completions), tail=tail, told=tail, fetched=tail,
                  head=head, heard=head, written=head, expected=phase, phase=phase, shadow=in_memory, enough=in_memory)


def _follow(recording: Recording, nvmeq: nvme_queue, now: Moment) -> list[Moment]:
    """The moments of a recording, from one on. What goes without saying belongs to the moment before it."""
    found = [now]
    for each in walk(recording, _TELL):
        made = _TELL[type(each.event)](each.event, nvmeq, now) if _concerns(each.event, nvmeq) else None
        if made and made.said:
            now = replace(made, function=each.path[-1].function if each.path else "")
            found.append(now)
        elif made:
            now = found[-1] = replace(made, said=now.said, touched=now.touched)
    return found


def _concerns(event: Any, nvmeq: nvme_queue) -> bool:
    """Whether an event is about this queue pair, as far as it says about which it is."""
    return getattr(event, "object", nvmeq) is nvmeq and getattr(event, "queue", QUEUE) == QUEUE \
        and getattr(event, "vector", nvmeq.cq_vector) == nvmeq.cq_vector


def _item(event: Item, nvmeq: nvme_queue, now: Moment) -> Moment | None:
    """The driver writes a command; or one side says in memory how far it is."""
    if event.array is nvmeq.sq_cmds:
        entry = event.new.common
        said = f"The driver writes command {entry.command_id} into slot {event.index}: " \
               f"{describe_command(QUEUE, entry)}."
        return replace(now, said=said, touched=("sq", event.index),
                       commands=_put(now.commands, event.index, (entry.command_id, _short(entry))))
    dev = nvmeq.dev
    if now.shadow is not None and event.array in (dev.dbbuf_dbs, dev.dbbuf_eis):
        if (side := event.index - 2 * QUEUE * dev.db_stride) not in (0, dev.db_stride):
            return None
        what = ("tail", "head")[side > 0]
        if event.array is dev.dbbuf_dbs:
            return replace(now, shadow=_put(now.shadow, side > 0, event.new), touched=None,
                           said=f"The driver writes into memory that its {what} is {event.new}.")
        told = f"The controller writes into memory that it knows of {what} {event.new}: who goes beyond has to ring."
        return replace(now, enough=_put(now.enough, side > 0, event.new), touched=None,
                       said=told if event.new != event.old else "")
    return None


def _assign(event: Assign, nvmeq: nvme_queue, now: Moment) -> Moment | None:
    """The driver moves one of its places."""
    if event.field == "sq_tail":
        return replace(now, tail=event.new % now.depth, said="")
    if event.field == "cq_phase":
        return replace(now, expected=event.new, said="")
    if event.field == "cq_head":
        number, status, phase = now.completions[event.old]
        outcome = "done" if not status else f"failed with status {status:#x}"
        said = f"The driver finds phase {phase} in slot {event.old}: command {number} is {outcome}. It goes on to " \
               f"slot {event.new}."
        return replace(now, head=event.new, said=said, touched=("cq", event.old))
    return None


def _doorbell(event: Doorbell, nvmeq: nvme_queue, now: Moment) -> Moment:
    if event.side == "sq":
        return replace(now, told=event.value, touched=None, said=f"The driver rings: the tail is {event.value}.")
    return replace(now, heard=event.value, touched=None,
                   said=f"The driver rings: the head is {event.value}. The slots before it may be written again.")


def _command(event: Command, nvmeq: nvme_queue, now: Moment) -> Moment:
    number = event.command.command_id
    told = now.told if now.shadow is None else now.shadow[0]
    return replace(now, fetched=(event.slot + 1) % now.depth, running=(*now.running, number), told=told,
                   touched=("sq", event.slot), said=f"The controller fetches command {number} from slot {event.slot}.")


def _completion(event: Completion, nvmeq: nvme_queue, now: Moment) -> Moment:
    entry = event.completion
    number, phase, slot = entry.command_id, entry.status & 1, event.slot
    last = slot == now.depth - 1
    turn = " From the next slot on, which is 0, the phase is the other." if last else ""
    return replace(now, written=0 if last else slot + 1, phase=phase ^ last, touched=("cq", slot),
                   running=tuple(each for each in now.running if each != number),
                   completions=_put(now.completions, slot, (number, entry.status >> 1, phase)),
                   said=f"The controller writes into slot {slot} that command {number} is over, with phase {phase}."
                        + turn)


_TELL: dict[type, Callable[..., Moment | None]] = {
    Item: _item, Assign: _assign, Doorbell: _doorbell, Command: _command, Completion: _completion,
    Interrupt: lambda event, nvmeq, now: replace(now, said="The controller interrupts.", touched=None)}


def _short(command: nvme_rw_command) -> str:
    """A command in few words: what, and from which block on."""
    return f"{IO[command.opcode].lower()} {command.slba}"


def _put(values: Any, place: int, value: Any) -> tuple[Any, ...]:
    return (*values[:place], value, *values[place + 1:])


def _between(place: int, first: int, last: int, depth: int) -> bool:
    """Whether a slot is one of those from first up to, without, last."""
    return (place - first) % depth < (last - first) % depth


def command_owner(now: Moment, slot: int) -> str:
    """Whose a slot of the submission queue is: `told`, the controller's, to fetch; `mine`, written by the driver and
    not told of; `free`, to be written next time round."""
    told = now.told if now.shadow is None else now.shadow[0]
    if _between(slot, now.fetched, told, now.depth):
        return "told"
    return "mine" if _between(slot, told, now.tail, now.depth) else "free"


def completion_owner(now: Moment, slot: int) -> str:
    """Whose a slot of the completion queue is: `mine`, for the driver to take; `free`, taken, but the controller does
    not know it; `told`, the controller's, to write."""
    heard = now.heard if now.shadow is None else now.shadow[1]
    if _between(slot, now.head, now.written, now.depth):
        return "mine"
    return "free" if _between(slot, heard, now.head, now.depth) else "told"
