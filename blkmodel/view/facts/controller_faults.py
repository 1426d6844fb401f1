"""Probes of a controller that misbehaves: what driver and controller then do, who hears of it, and what is left."""

from functools import lru_cache
from itertools import takewhile
from typing import Any, NamedTuple

from blkmodel import scenario
from blkmodel.device import ENABLE, FAIL, FATAL, GONE, SILENT, STUCK, Controller, Fault, Namespace
from blkmodel.errors import KernelError
from blkmodel.include.linux import nvme
from blkmodel.services import irq_desc_tree
from blkmodel.sim import HungTask, booted, machine
from blkmodel.sim.interrupts import interrupts
from blkmodel.trace import Call, Command, Completion, Log, Node, Recording, RegisterWrite, Return, record, under_way
from blkmodel.trace.on_bus import describe_command
from blkmodel.view.facts.recorded import live, remove_controllers
from blkmodel.view.facts.words import caught

QUEUES = 4
FAULTS = {"a command fails with a status": FAIL, "a command is never answered": SILENT,
          "it says that it is broken": FATAL, "it is pulled out": GONE, "it never gets ready": STUCK,
          "it grants fewer queues": "granted", "it can create fewer queues": "usable",
          "it has fewer interrupt vectors": "vectors", "a CPU has no vector left": "cpu"}
_SHOWN = frozenset(("nvme_probe", "nvme_reset_work", "nvme_timeout", "nvme_dev_disable", "nvme_remove_dead_ctrl_work",
                    "nvme_remove", "nvme_scan_work"))
_COUNT, _VECTORS = "set feature number of queues", "pci_alloc_irq_vectors_affinity"


class Doing(NamedTuple):
    """What driver and controller do: `what` in words, and how it comes out; at: which event of the recording it is;
    time: ns since boot. code: whether it is a function of the driver. place: what a fault can strike at, from 1."""

    what: str
    outcome: str
    at: int
    time: int
    code: bool = False
    place: int = 0


class Story(NamedTuple):
    """What a figure tells. doings; trouble: which of them went wrong first, or None; path: the calls that it goes
    through. error: the KernelError of it all, or None; disks: those that there are then. before, after: how many
    allocations and interrupts there were before, and once everything is undone. hung: whoever undoes it waits for ever.
    """

    doings: list[Doing]
    trouble: Any
    path: tuple[Node, ...]
    error: Any
    disks: tuple[str, ...]
    log: list[str]
    before: tuple[int, int]
    after: tuple[int, int]
    hung: bool


def places() -> list[Doing]:
    """The steps of a probe at which a fault can be: the controller is enabled, and then every command."""
    return [each for each in story_of("", 0, True).doings if each.place]


@lru_cache(maxsize=32)
def story_of(fault: str, where: int, again: bool) -> Story:
    """Probe a controller with this fault at that place (an empty one: none), unplug it, and tell of it."""
    controller = Controller(queue_pairs=QUEUES, vectors=QUEUES + 1, namespaces={1: Namespace(64)})
    with booted(machine(QUEUES)) as kernel:
        scenario.nvme_load(io_queue_depth=8)
        _break(controller, fault, where, again)
        kernel.loop.run_due()
        before = len(live(kernel)), len(irq_desc_tree().descs)
        recording = record(caught, KernelError, scenario.nvme_probe, controller=controller, watched=())
        error = recording.result if isinstance(recording.result, KernelError) else None
        there = () if error else scenario.nvme_controller(recording.result).ctrl.namespaces
        disks = tuple(ns.disk.disk_name for ns in there)
        hung = isinstance(caught(HungTask, remove_controllers), HungTask)
        after = len(live(kernel)), len(irq_desc_tree().descs)
    doings = _told(recording)
    trouble = _trouble(doings, fault, where)
    return Story(doings, trouble, _path(recording, trouble), error, disks,
                 [event.line for event in recording.of(Log)], before, after, hung)


def _break(controller: Controller, fault: str, where: int, again: bool) -> None:
    """Give the controller (or, of `cpu`, the machine) what makes it misbehave from then on."""
    nth = where - (fault in (FATAL, GONE))  # of the commands; before the first of them the controller is enabled
    if fault == STUCK or (fault and nth == 0):
        controller.faults.append(Fault(fault, ENABLE))
    elif fault in (FATAL, GONE, SILENT):
        controller.faults.append(Fault(fault, nth=nth))
    elif fault == FAIL:
        status = nvme.NVME_SC_INTERNAL | (0 if again else nvme.NVME_SC_DNR)
        controller.faults.append(Fault(fault, nth=where, status=status))
    elif fault in ("granted", "usable", "vectors"):
        setattr(controller, fault, where)
    elif fault == "cpu":
        vectors = interrupts().cpus[where - 1]
        while vectors.free():
            vectors.taken |= 1 << vectors.lowest()


def _told(recording: Recording) -> list[Doing]:
    """What driver and controller do, in order."""
    doings, commands = list[Doing](), dict[tuple[int, int], int]()
    time = place = 0
    for at, event in enumerate(recording.events):
        kind, time = type(event), getattr(event, "time", time)
        if kind is Call and event.function in _SHOWN:
            doings.append(Doing(event.function, "", at, time, code=True))
        elif kind is Return and event.function == _VECTORS:
            doings.append(Doing("interrupt vectors", f"{event.value}" if event.value > 0 else "none", at, time))
        elif kind is RegisterWrite and event.offset == nvme.NVME_REG_CC:
            enabled = event.value & nvme.NVME_CC_ENABLE and not event.value & nvme.NVME_CC_SHN_MASK
            place += bool(enabled)
            what = "shut down" if event.value & nvme.NVME_CC_SHN_MASK else "enable" if enabled else "disable"
            doings.append(Doing(f"{what} the controller", "", at, time, place=place if enabled else 0))
        elif kind is Command:
            place += 1
            held = event.queue == 0 and event.command.opcode == nvme.nvme_admin_async_event
            commands[event.queue, event.command.command_id] = len(doings)
            doings.append(Doing(describe_command(event.queue, event.command), "kept" if held else "no answer", at, time,
                                place=place))
        elif kind is Completion:
            number = commands.pop((event.completion.sq_id, event.completion.command_id))
            status = event.completion.status >> 1
            outcome = f"granted: {(event.completion.result & 0xFFFF) + 1}" \
                if doings[number].what.startswith(_COUNT) else "done"
            if status:
                outcome = f"status {status:#x}" + (", do not retry" if status & nvme.NVME_SC_DNR else "")
            doings[number] = doings[number]._replace(outcome=outcome)
    return doings


def _trouble(doings: list[Doing], fault: str, where: int) -> Doing | None:
    """The first of them that goes wrong."""
    if fault in (FAIL, SILENT, FATAL, GONE, STUCK):
        place = where + (fault in (FAIL, SILENT))  # the first place is no command
        return next(each for each in doings if each.place == place)
    if fault == "granted":
        return next(each for each in doings if each.what.startswith(_COUNT))
    if fault == "usable":
        return next(each for each in doings if each.outcome.startswith("status"))
    return [each for each in doings if each.what == "interrupt vectors"][1] if fault in ("vectors", "cpu") else None


def _path(recording: Recording, trouble: Doing | None) -> tuple[Node, ...]:
    """The calls that the trouble goes through: those that wait for a command, or in which it shows."""
    if trouble is None:
        return ()
    events, forest = recording.events, recording.forest()
    if trouble.what == "interrupt vectors":
        at = next(at for at, event in enumerate(events) if type(event) is Return and event.value
                  and event.function in ("msix_capability_init", "__pci_enable_msix"))
        return tuple(under_way(forest[events[at].context], at))
    if type(events[trouble.at]) is RegisterWrite:
        at = next(at for at in range(trouble.at, 0, -1) if type(events[at]) is Call)
        path = [*takewhile(lambda node: "_reg_" not in node.function, under_way(forest[events[at].context], at))]
        return (*path, path[-1].calls[-1])
    # commands are fetched in the order in which they are submitted
    number = sum(type(event) is Command for event in events[:trouble.at])
    at = [at for at, event in enumerate(events) if type(event) is Call and event.function == "nvme_submit_cmd"][number]
    return tuple(node for node in under_way(forest[events[at].context], at) if not node.end or node.end > trouble.at)


def sentence(story: Story, fault: str, where: int) -> str:
    """What is wrong, in words without marks."""
    what = story.trouble.what
    return {FAIL: f"“{what}” fails, {story.trouble.outcome}", SILENT: f"“{what}” is never answered",
            FATAL: f"at “{what}” the controller says that it is broken",
            GONE: f"at “{what}” the controller is pulled out", STUCK: "the controller never gets ready",
            "granted": f"the controller grants {where} of the {QUEUES} queues",
            "usable": f"the controller can create {where} of the {QUEUES} queues",
            "vectors": f"the controller has {where} of the {QUEUES + 1} interrupt vectors",
            "cpu": f"CPU {where - 1} has no interrupt vector left"}[fault]


def ending(story: Story) -> str:
    """How a probe comes out, and when, in words without marks."""
    seconds = story.doings[-1].time / 1_000_000_000
    when = f" after {seconds:.0f} s" if seconds >= 1 else ""
    if story.error:
        return f"it ends in {story.error.name}{when}, and all that was taken is given back"
    counted = [line for line in story.log if line.endswith("default/read/poll queues")]
    queues = f"{counted[-1].split()[2]} default/read/poll queues" if counted else "no I/O queue"
    return f"the driver goes on{when}, with {queues} and {', '.join(story.disks) or 'no disk'}" + (
        "; but a reset and a scan have met, and who removes the controller waits for ever" if story.hung else "")
