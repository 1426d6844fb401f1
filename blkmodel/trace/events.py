"""What a recording is made of: the events, plain tuples in the order in which they happened, and their contexts."""

from typing import Any, NamedTuple

from blkmodel.sim.structure import Array, Struct


class Call(NamedTuple):
    """A function of the mirror was called; depth counts its callers in the same context, from 0."""

    function: str
    file: str
    depth: int
    context: int


class Return(NamedTuple):
    """A function of the mirror came back, with a value (None also where an exception ended it)."""

    function: str
    file: str
    depth: int
    context: int
    value: Any


class Assign(NamedTuple):
    """A field of a structure was given a value."""

    object: Struct
    field: str
    old: Any
    new: Any


class Item(NamedTuple):
    """An item of an array was given a value; index is a number or a slice."""

    array: Array
    index: Any
    old: Any
    new: Any


class Alloc(NamedTuple):
    """Memory was asked for; addr is 0 where there was none. Attempts are numbered from boot on."""

    kind: str
    size: int
    node: int
    addr: int
    attempt: int


class Free(NamedTuple):
    """Memory was given back."""

    kind: str
    size: int
    node: int
    addr: int


class Enter(NamedTuple):
    """A context began to run, or one that slept goes on: a number of the recording's `contexts`.

    time: the kernel's virtual time, in nanoseconds since boot. posted: how many events there were when somebody queued
    it; None where nobody did while the recording was on.
    """

    context: int
    time: int
    posted: int | None


class Leave(NamedTuple):
    """A context ended or went to sleep, and the one below it goes on. time: virtual, in nanoseconds since boot."""

    context: int
    time: int


class Log(NamedTuple):
    """A line of the kernel's log."""

    line: str


class _Register(NamedTuple):
    """An access to 32 bits of a device's registers; offset: bytes from the beginning of its window.

    time, here and of what else passes between processor and device: virtual time, in nanoseconds since boot.
    """

    device: Any
    offset: int
    value: int
    time: int


class RegisterRead(_Register):
    """A processor read 32 bits of a device's registers."""


class RegisterWrite(_Register):
    """A processor wrote 32 bits of a device's registers, other than a doorbell."""


class Doorbell(NamedTuple):
    """A processor rang a doorbell of a queue: side `sq` says where its tail is now, side `cq` its head."""

    device: Any
    queue: int
    side: str
    value: int
    time: int


class Command(NamedTuple):
    """A device fetched the command in that slot of a submission queue."""

    device: Any
    queue: int
    slot: int
    command: Any
    time: int


class Completion(NamedTuple):
    """A device wrote a completion into that slot of a completion queue."""

    device: Any
    queue: int
    slot: int
    completion: Any
    time: int


class Interrupt(NamedTuple):
    """A device raised one of its vectors."""

    device: Any
    vector: int
    time: int


class ContextRecord(NamedTuple):
    """A context that ran: kind is `task`, `irq`, `softirq` or `device`; name is the task's, the handler's or the
    device's. A device has no CPU: -1."""

    kind: str
    name: str
    cpu: int
