"""One read of 4 KiB from an NVMe disk: what each part of the stack has of it, and who is at work there."""

from functools import lru_cache
from typing import Any, NamedTuple

from blkmodel import scenario
from blkmodel.device import Controller
from blkmodel.services import page_address
from blkmodel.sim import booted, format_cpulist
from blkmodel.trace import Assign, Call, Command, Completion, ContextRecord, Doorbell, Interrupt, record, walk
from blkmodel.userland import dmsetup
from blkmodel.view.facts.queue_facts import served

LAYERS = ("process", "file", "block layer", "device mapper", "blk-mq", "NVMe driver", "device")


class Part(NamedTuple):
    """A part of the stack on the way of a read. layer: one of LAYERS, by number; says: what the part has of the read.

    call: the function, or the event, in which it was met first; who: what ran it. chapter: the one that tells of it.
    """

    layer: int
    name: str
    says: str
    call: str
    chapter: str
    who: ContextRecord


@lru_cache(maxsize=32)
def parts(cpu: int, queues: int, first: int, mapped: bool) -> list[Part]:
    """The parts that a read by this CPU passes, in order, on a machine of 4 CPUs whose disk has so many queues.

    first: KiB from the start of the disk; where `mapped`, of a linear volume on it.
    """
    with booted(4):
        disk = f"{scenario.nvme_probe(controller=Controller(queues, dbbuf=False))}n1"
        if mapped:
            scenario.dm_load()
            disk = dmsetup.create("vol", "0 65536 linear /dev/nvme0n1 2048")
        recording = record(scenario.io, disk, "read", first << 10, 4096, cpu=cpu)
    last: dict[str, Any] = {}  # field → what it was given last
    met, bios = dict[str, ContextRecord](), list[str]()
    for moment in walk(recording):
        event = moment.event
        if type(event) is Assign and event.new is not None:
            last[event.field] = event.new
        name = event.function if type(event) is Call else type(event).__name__
        met.setdefault(name, recording.contexts[moment.context])
        if name == "generic_make_request":
            end = last["bi_sector"] + (last["bi_size"] >> 9) - 1
            bios.append(f"{last['bi_disk'].disk_name}, sectors {last['bi_sector']} to {end}")
    command, completion, raised = (recording.of(kind)[0] for kind in (Command, Completion, Interrupt))
    tail = next(event.value for event in recording.of(Doorbell) if event.side == "sq")
    asked, answered, hctx = command.command, completion.completion.command_id, last["mq_hctx"]
    waits = "waits here" if "blk_mq_insert_requests" in met else "passed by"
    place = "the process's page" if page_address(last["bv_page"]) == asked.dptr.prp1 else "a page of the kernel"
    users = format_cpulist(served(hctx))
    number = f"tag {last['tag']}, of 0 to {hctx.tags.nr_tags - 1}"
    slot, doorbell = f"queue pair {command.queue}, slot", "through-the-doorbell"
    made = (
        (0, "A process", f"asks for 4096 bytes from {first} KiB on", "blkdev_read_iter", "a-bio-is-submitted"),
        (1, "A file", f"/dev/{disk}, past the page cache", "blkdev_direct_IO", "a-bio-is-submitted"),
        (2, "A bio", bios[0], "submit_bio", "a-bio-is-submitted"),
        (3, "A table", f"linear: {bios[-1]}", "dm_make_request", "bio-meets-table"),
        (4, "A tag, and its request", number, "blk_mq_rq_ctx_init", "getting-a-tag"),
        (4, "Scheduler", "mq-deadline: waits here", "dd_insert_request", "schedulers-and-plugs"),
        (4, "Software queue", f"of CPU {last['mq_ctx'].cpu}: {waits}", "nvme_queue_rq", "schedulers-and-plugs"),
        (4, "Hardware queue", f"{hctx.queue_num}, used by CPU {users}", "nvme_queue_rq", "which-queue"),
        (5, "Submission ring", f"{slot} {command.slot}: 64 bytes, tag {asked.command_id}", "nvme_submit_cmd", doorbell),
        (5, "Doorbell", f"4 bytes: the tail is now {tail}", "nvme_write_sq_db", doorbell),
        (6, "Controller", f"fetches: {asked.length + 1} blocks from {asked.slba}", "Command", "controller-appears"),
        (6, "Flash", f"namespace {asked.nsid}: 4096 bytes into {place}", "Completion", "namespaces"),
        (5, "Completion ring", f"{slot} {completion.slot}: 16 bytes, tag {answered}", "Completion", "the-way-back"),
        (5, "Interrupt", f"vector {raised.vector}, to CPU {met['nvme_irq'].cpu}", "nvme_irq", "the-way-back"),
        (4, "The request again", f"found by its tag, {answered}", "blk_update_request", "the-way-back"),
        (3, "The copy ends", "and the bio with it", "clone_endio", "bio-meets-table"),
        (2, "The bio ends", f"status {last['bi_status']}", "blkdev_bio_end_io_simple", "the-way-back"),
        (0, "The process goes on", f"with {len(recording.result)} bytes", "bio_release_pages", "the-way-back"),
    )
    return [Part(*each, met[each[3]]) for each in made if each[3] in met]
