"""A read to which something happens: what was done when and by whom, from its beginning until all is at rest."""

import re
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

from blkmodel import scenario
from blkmodel.drivers.nvme.host.core import STATE_NAMES
from blkmodel.drivers.nvme.host.nvme_h import nvme_ctrl
from blkmodel.include.linux.blk_mq import BLK_EH_RESET_TIMER
from blkmodel.include.linux.nvme import nvme_admin_async_event
from blkmodel.services import sysfs
from blkmodel.sim import booted, machine
from blkmodel.trace import (Assign, Call, Command, Completion, ContextRecord, Doorbell, Log, Recording, Return, record,
    walk)
from blkmodel.trace.on_bus import describe_command
from blkmodel.view.facts.words import attempt, got

DEVICE, LOG = "the controller", "the log"
READ: list[Any] = ["io", {"disk": "nvme0n1", "op": "read", "offset": 0, "length": 4096, "cpu": 0}]
_SUBMIT = "nvme_queue_rq"
LATER = 700  # milliseconds after the read, in which something else is done
LOST, MASKED, SLOW, RESET, UNBOUND, PULLED, CPU = "lost", "masked", "slow", "reset", "unbound", "pulled", "cpu"
INCIDENTS = {"its completion gets lost": LOST, "its interrupt gets lost": MASKED, "the controller is slow": SLOW,
             "somebody resets the controller": RESET, "somebody unbinds the driver": UNBOUND,
             "the controller is pulled out": PULLED, "its CPU goes offline": CPU}
_MEANWHILE: dict[str, list[Any]] = {
    RESET: ["nvme_file", {"device": "nvme0", "file": "reset_controller", "value": "1"}],
    UNBOUND: ["nvme.unbind", {"device": "nvme0"}], PULLED: ["nvme.pull_out", {"device": "nvme0"}],
    CPU: ["cpu.offline", {"cpu": 0}]}
_SAID = {
    "blk_mq_requeue_request": "puts the request aside, to be sent again",
    "nvme_timeout": "is asked about a request that is late", "blkdev_read_iter": "begins to read",
    "abort_endio": "hears what became of the abort", "nvme_dev_disable": "disables the controller",
    "nvme_cancel_request": "takes a request back from the controller",
    "blk_freeze_queue_start": "lets no request begin", "blk_mq_unfreeze_queue": "lets requests begin again",
    "blk_mq_quiesce_queue": "lets no request go to the driver",
    "blk_mq_unquiesce_queue": "lets requests go to the driver again", "blk_set_queue_dying": "lets everything fail",
    "nvme_setup_io_queues": "sets the I/O queues up", "nvme_dev_remove_admin": "takes the admin queue away",
    "del_gendisk": "takes the disk away", "blk_mq_hctx_notify_dead": "moves what waits on a dead CPU",
    "pci_msi_mask_irq": "masks the vector of an interrupt", "bio_endio": "ends the bio"}
"""Function → what whoever calls it does."""


class Moment(NamedTuple):
    """Something that happened. ms: milliseconds since the read began. who: a context, the controller or the log; times:
    how often, one after the other. code: the function, if it was one."""

    ms: float
    who: str
    said: str
    code: str = ""
    times: int = 1


class Incident(NamedTuple):
    """What became of a read: its moments; what the process got, bytes or an errno, and after how many milliseconds; the
    states of the controller."""

    moments: list[Moment]
    result: str
    took: float
    states: list[str]


@lru_cache(maxsize=32)
def incident(what: str, timeout: int, before: int, takes: int, aborts: bool) -> Incident:
    """Let something happen to a read of 4 KiB, a value of INCIDENTS. timeout: the disk's io_timeout, ms. before: so
    many reads were on its queue before. takes: how long the controller needs for each command, ms, where that matters;
    aborts: whether it ends what it is told to abort. ValueError says what cannot be."""
    if what not in INCIDENTS.values():
        raise ValueError(f"what={what!r}: it is one of {', '.join(INCIDENTS.values())}")
    with booted(machine(4)) as kernel:
        sysfs().config.add("FAIL_IO_TIMEOUT")
        if what not in (LOST, MASKED):
            scenario.run_step(["nvme.device", {"device": "nvme0", "latency_ms": takes}])
        scenario.nvme_probe(aborts=int(aborts))
        for _ in range(before):
            scenario.run_step(READ)
        scenario.set_queue_file("nvme0n1", "io_timeout", timeout)
        if what == LOST:
            scenario.set_disk_file("nvme0n1", "io-timeout-fail", 1)
            scenario.fail_io_timeout(100, 1)
        elif what == MASKED:
            scenario.nvme_mask_interrupt("nvme0", 1)
        began = kernel.now
        steps: list[dict[str, Any]] = [{"step": READ}]
        if what in _MEANWHILE:
            steps.append({"ms": LATER, "step": _MEANWHILE[what]})
        ended = {}

        def do(step: list[Any]) -> Any:
            try:
                return scenario.run_step(step)
            finally:
                ended[step[0]] = kernel.now
        with record(watched=(nvme_ctrl,), functions=(*_SAID, _SUBMIT)) as recording:
            result = scenario.together(steps, do)[0]
            kernel.loop.advance(3 * timeout * 1_000_000)
    states = [STATE_NAMES.get(event.new, "") for event in recording.of(Assign)
              if event.field == "state"]
    return Incident(_moments(recording, began), got(result), (ended["io"] - began) / 1e6, ["live", *states])


def _moments(recording: Recording, began: int) -> list[Moment]:
    """What happened, in order; of the admin queue only what is asked of the controller, the same in one."""
    found, rung = list[Moment](), False
    for event, context, path, time in walk(recording):
        kind, said, code = type(event), "", ""
        who = _who(recording.contexts[context])
        if kind is Call and event.function == _SUBMIT:
            rung = False
        elif kind is Doorbell and any(call.function == _SUBMIT for call in path):
            rung, code = True, _SUBMIT
            said = f"puts a command into queue {event.queue}, and rings its doorbell" if event.queue else ""
        elif kind is Return and event.function == _SUBMIT and not rung:
            said = "sends nothing" if event.value else "puts a command into the ring, and rings no doorbell"
            code = _SUBMIT
        elif kind is Call and event.function in _SAID:
            said, code = _SAID[event.function], event.function
        elif kind is Return and event.function == "nvme_timeout":
            said = "gives it more time" if event.value == BLK_EH_RESET_TIMER else "has seen to it"
        elif kind is Assign and event.field == "state":
            said = f"controller: {STATE_NAMES[event.old]} → {STATE_NAMES[event.new]}"
        elif kind is Command and event.command.opcode != nvme_admin_async_event:
            what = describe_command(event.queue, event.command)
            who, said = DEVICE, f"fetches: {what if event.queue else re.sub(' queue [0-9].*', ' queue', what)}"
        elif kind is Completion and event.queue:
            status = event.completion.status >> 1
            who, said = DEVICE, f"answers on queue {event.queue}: {f'status {status:#x}' if status else 'success'}"
        elif kind is Log:
            who, said = LOG, event.line
        if said:
            found.append(Moment((time - began) / 1e6, who, said, code))
    runs = ([*alike] for _, alike in groupby(found, lambda each: each[1:4]))
    return [run[0]._replace(times=len(run)) for run in runs]


def _who(context: ContextRecord) -> str:
    """Whoever runs, as a reader knows him."""
    if context.kind != "task":
        return f"{context.kind}, CPU {context.cpu}"
    names = {"io": "the reader", **{each[0]: "somebody else" for each in _MEANWHILE.values()}}
    return f"{names.get(context.name, context.name)}, CPU {context.cpu}"


class Ending(NamedTuple):
    """What a status of a controller becomes. attempts: how often the command was sent; status: what the block layer
    calls it (BLK_STS_*, a number); result: bytes or an errno, for the process."""

    attempts: int
    status: int
    result: str
    log: tuple[str, ...]


@lru_cache(maxsize=128)
def ending(status: int, dont_retry: bool, op: str, times: int) -> Ending:
    """Let a read or write of 4 KiB end with a status in place of the controller's, so many times (-1: always)."""
    with booted(4) as kernel:
        disk = f"{scenario.nvme_probe()}n1"
        scenario.nvme_fault_inject(disk, status, dont_retry, 100, times)
        before = len(kernel.log)
        recording = record(attempt, scenario.io, disk, op, 0, 4096, watched=(), functions=("nvme_error_status",))
        made = [event.value for event in recording.of(Return) if event.function == "nvme_error_status"]
        return Ending(len(made), made[-1], got(recording.result), tuple(kernel.log[before:]))
