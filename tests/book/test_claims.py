"""What the chapters say in words, asked of the model or of a recording.

A claim is words of a chapter, as they stand there, and a function that finds out whether they are so. A test looks for
the words in the chapter and asks the function, so whoever changes one has to change the other.
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from blkmodel import KernelError, boot, machine, scenario
from blkmodel.block import bio as bio_module, blk_core, blk_mq, blk_mq_sched, kyber_iosched
from blkmodel.capture.check import SKIPPED, check_file
from blkmodel.capture.maps import observe
from blkmodel.capture.sysfs import capture
from blkmodel.capture.vouched import KINDS, vouched
from blkmodel.device.controller import Controller
from blkmodel.device.faults import ENABLE, FAIL, FATAL, GONE, SHUTDOWN, SILENT, STUCK, Fault
from blkmodel.device.namespace import Namespace
from blkmodel.device.service import Service
from blkmodel.drivers.md import dm, dm_ioctl
from blkmodel.drivers.nvme.host import pci
from blkmodel.include.linux import dm_ioctl as dm_ioctl_h, nvme
from blkmodel.include.linux.blk_mq import BLK_MQ_REQ_NOWAIT, blk_mq_ops, blk_mq_tag_set
from blkmodel.include.linux.blk_types import BLK_STS_RESOURCE, REQ_OP_READ, REQ_OP_WRITE, REQ_PREFLUSH, REQ_RAHEAD
from blkmodel.include.linux.blkdev import READ, blk_queue_registered, blk_rq_pos, request
from blkmodel.include.linux.sbitmap import sbitmap_queue
from blkmodel.lib import sbitmap
from blkmodel.reference.source import definitions
from blkmodel.releases import CHANGES, FIRST, LAST, running, version
from blkmodel.services.base.err import IS_ERR
from blkmodel.services.cpus.interrupt import irq_desc_tree
from blkmodel.services.files.file import O_RDONLY, filp_open, new_sync_read
from blkmodel.services.files.uio import iov_iter, iov_iter_init, map_user_buffer, unmap_user_buffer
from blkmodel.services.memory.mm import alloc_page
from blkmodel.services.memory.slab import GFP_KERNEL
from blkmodel.sim import booted
from blkmodel.sim.events import HungTask
from blkmodel.sim.interrupts import interrupts
from blkmodel.sim.kernel import Context
from blkmodel.trace import (Alloc, Assign, Call, Command, Completion, Doorbell, Enter, Interrupt, RegisterRead,
    RegisterWrite, record)
from blkmodel.trace.on_bus import passings
from blkmodel.userland import dmsetup, lvm
from blkmodel.userland.blktrace import Blktrace
from blkmodel.view.facts import since
from blkmodel.view.facts.at_hand import MOST_TRIED, at_hand
from blkmodel.view.facts.incidents import CPU, LOST, MASKED, PULLED, RESET, SLOW, UNBOUND, ending, incident
from blkmodel.view.facts.irqs import interrupts_seen
from blkmodel.view.facts.load import arrivals, curve, load, readers
from blkmodel.view.facts.one_read import parts
from blkmodel.view.facts.queue_facts import hctxs, queue_of
from blkmodel.view.facts.races import KERNEL, PLACES as RACES, walk
from blkmodel.view.facts.waiting import contest, depths
from blkmodel.view.facts.writers import PLACES, writers
from blkmodel.view.figures import queue_map
from blkmodel.view.figures.lv_to_doorbell import lv_to_doorbell
from blkmodel.view.figures.machine_to_queues import RELEASES
from blkmodel.view.figures.races import race
from tests.block.simple_driver import Driver
from tests.drivers.md.ios import IO
from tests.tools.later import files as files_later
from tests.view.wellformed import words as words_of

ROOT = Path(__file__).resolve().parents[2]
RECORDINGS = ROOT / "tests" / "recordings" / "linux-5.4"
MILLISECOND = 1_000_000
CC, CSTS, VS = 0x14, 0x1C, 0x08
CLAIMS: list[Any] = []
LISTED_LATER = frozenset(files_later())


def claim(chapter, words):
    """Mark a function that returns whether these words of a chapter are so."""
    def mark(holds):
        CLAIMS.append(pytest.param(chapter, words, holds, id=f"{chapter}-{holds.__name__}"))
        return holds
    return mark


@cache
def prose(chapter):
    """Return the texts of a chapter, without code, on one line."""
    notebook = json.loads((ROOT / "book" / f"{chapter}.ipynb").read_text())
    return flat("\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown"))


def flat(text):
    return re.sub(r"\s+", " ", text)


# ---------------------------------------------------------------- how the model is asked


def calls(recording):
    """How often each function was called."""
    return Counter(event.function for event in recording.of(Call))


def admin(recording):
    return [event.command for event in recording.of(Command) if event.queue == 0]


def values(recording, function):
    """What the calls of a function returned."""
    found = []

    def walk(node):
        if node.function == function:
            found.append(node.value)
        for call in node.calls:
            walk(call)

    for nodes in recording.forest([function]).values():
        for node in nodes:
            walk(node)
    return found


def rings(recording, side="sq"):
    return sum(event.side == side for event in recording.of(Doorbell))


def traced(disk, step, *args, **kwargs):
    """Return what blktrace tells of a disk while a step of a scenario is done there."""
    with Blktrace(disk) as seen:
        step(disk, *args, **kwargs)
    return seen


def senders(seen):
    """Who gives requests to the driver, as often as each does."""
    return Counter(line.split()[-1] for line, action in zip(seen.lines, seen.actions, strict=True) if action == "D")


def errno_of(function, *args, **kwargs):
    """Return the name of the error that a call ends with, or None."""
    try:
        function(*args, **kwargs)
    except KernelError as error:
        return error.name
    return None


def probe(**params):
    """Bring a controller up with queues of 128 places: their requests are made sooner than those of 1024."""
    return scenario.nvme_probe(**{"io_queue_depth": 128, **params})


def failing(*faults, reads=1, dbbuf=True, before=0):
    """Read from NVMe while the controller has these faults; return what the read gave, the seconds and the log."""
    kernel = boot(4)
    controller = Controller(dbbuf=dbbuf, service=Service(least=10_000))
    probe(controller=controller)
    for _ in range(before):
        scenario.io("nvme0n1", "read", 0, 4096, cpu=1)
    controller.faults += faults
    begun, said = kernel.now, len(kernel.log)
    outcome: int | str
    try:
        outcome = len(scenario.io("nvme0n1", "read", 0, reads << 12, cpu=1))
    except KernelError as error:
        outcome = error.name
    return outcome, (kernel.now - begun) / 1e9, kernel.log[said:]


@cache
def probing():
    """A controller with four queues is brought up: the recording, which nobody changes."""
    boot(4)
    return record(probe)


@cache
def removing():
    boot(4)
    probe()
    return record(scenario.nvme_remove)


def line_of_queues(**params):
    kernel = boot(4)
    probe(**params)
    return next(line.split()[2] for line in kernel.log if "default/read/poll" in line)


def null_map(cpus, queues, **shape):
    boot(machine(cpus, **shape))
    scenario.null_blk_load(submit_queues=queues)
    return list(scenario.disk("nullb0").queue.tag_set.map[0].mq_map)


def nvme_map(cpus, queues, **shape):
    boot(machine(cpus, **shape))
    probe(max_ioqpairs=queues)
    return [ctx.hctxs[0].queue_num for ctx in scenario.disk("nvme0n1").queue.queue_ctx]


def shares(queues):
    """How many CPUs each queue serves, from the map."""
    return sorted(Counter(queues).values())


def recorded_calls(name):
    return (RECORDINGS / "calls" / f"{name}.json").read_text()


# ---------------------------------------------------------------- how to read this book


@claim("index", "calls some two hundred different functions")
def functions_of_a_set_up():
    boot(4)
    return 150 < len(calls(record(scenario.null_blk_load, submit_queues=3, hw_queue_depth=32))) < 250


@claim("index", "`blk_mq_alloc_rq_map` is in `block/blk-mq.c`, and here in `block/blk_mq.py`")
def where_a_function_is():
    return blk_mq.blk_mq_alloc_rq_map.__module__ == "blkmodel.block.blk_mq" and \
        definitions()["blk_mq_alloc_rq_map"][0].file == "block/blk-mq.c"


@claim("index", "Not for every function. Some occur in a recording of calls")
def recorded_functions():
    return set(vouched().values()) == set(KINDS)


@claim("index", "Where a recording has calls, it must make the same ones, in the same order")
def same_calls():
    return check_file(RECORDINGS / "calls" / "read-4k.json").result == "passed"


# ---------------------------------------------------------------- one read


@cache
def one_read(queues=4):
    """The book's own read: 4 KiB from the start of an NVMe disk, by CPU 1 of four."""
    boot(4)
    probe(controller=Controller(queues))
    return record(scenario.io, "nvme0n1", "read", 0, 4096, cpu=1)


@claim("start", "At last it writes four bytes into a register of the device.")
def four_bytes():
    return rings(one_read()) == 1 and not one_read().of(RegisterRead, RegisterWrite)


@claim("start", "puts the data where the process wants them")
def into_its_own_page():
    return [part.says for part in parts(1, 4, 0, False) if part.name == "Flash"] == [
        "namespace 1: 4096 bytes into the process's page"]


@claim("start", "The end comes in a *softirq*: work that an interrupt leaves for a moment later")
def ends_in_a_softirq():
    kinds = [who.kind for who in one_read(1).contexts]
    return kinds.index("irq") < kinds.index("softirq") and calls(one_read(1))["dd_insert_request"] == 1 and \
        any(who.name == "kblockd" for who in one_read(1).contexts) and not calls(one_read())["dd_insert_request"]


@claim("start", "and a table moves the sectors by 2048")
def moved_sectors():
    return [part.says for part in parts(1, 4, 0, True) if part.name == "A table"] == [
        "linear: nvme0n1, sectors 2048 to 2055"]


@claim("start", "Of all these calls, two ring a doorbell")
def two_doorbells():
    return [event.side for event in one_read().of(Doorbell)] == ["sq", "cq"]


@claim("start", "All eight write to the same tags and to the same ring, and one of them takes everything out of the "
       "completion ring")
def one_queue_for_eight():
    found = writers(8, 1, "none")
    return [len(found[place, 0]) for place in PLACES] == [8, 8, 1]


@claim("start", "**Nothing is shared any more.** Each CPU takes its tags, writes to a ring of its own, and gets the "
       "interrupt for what it asked.")
def a_queue_for_each():
    return writers(8, 8, "none") == {(place, cpu): {cpu} for place in PLACES for cpu in range(8)}


@claim("start", "(`blk_init_queue`, with which a driver once asked for a single queue with a single lock, is gone.)")
def no_older_layer():
    return "blk_mq_init_queue" in definitions() and "blk_init_queue" not in definitions()


@claim("start", "its lists are the disk's, with one lock")
def lists_of_a_scheduler():
    return writers(8, 8, "mq-deadline")["mq-deadline", -1] == set(range(8))


@claim("start", "A disk with several hardware queues has no scheduler unless you choose one")
def scheduler_by_default():
    chosen = []
    for queues in (1, 2):
        boot(4)
        scenario.null_blk_load(submit_queues=queues)
        chosen.append(scenario.scheduler("nullb0"))
    return chosen == ["mq-deadline", "none"]


@claim("start", "It has no rings, no registers and no bus, and unless it is told to it keeps no data.")
def no_disk():
    boot(4)
    scenario.null_blk_load()
    recording = record(scenario.io, "nullb0", "write", 0, 4096, data=b"x" * 4096)
    kept = b"x" in scenario.io("nullb0", "read", 0, 4096)
    return not kept and not recording.of(RegisterRead, RegisterWrite, Doorbell, Command, Completion)


@claim("start", "Two. Five queues for eight CPUs: three of them serve two CPUs each, and two serve one.")
def five_queues():
    return shares(nvme_map(8, 5)) == [1, 1, 2, 2, 2] and \
        sorted(len(who) for (place, _), who in writers(8, 5, "none").items() if place == PLACES[1]) == [1, 1, 2, 2, 2]


def test_the_key_names_each_column_of_a_queue_map():
    for column in ("CPU", "ctx", *queue_map._WIDE):
        assert f"| {column} | " in prose("start"), column


def test_the_map_of_chapters_has_them_all_in_their_order():
    cell = next(each for each in json.loads((ROOT / "book" / "start.ipynb").read_text())["cells"]
                if each["id"] == "chapter-map")
    shown = re.findall(r'<tr><td><a href=\"?([\w-]+)\.html', "".join(cell["outputs"][0]["data"]["text/html"]))
    listed = re.findall(r"file: book/([\w-]+)", (ROOT / "_toc.yml").read_text())
    looked_up = {"source-notes", "questions", "symptoms", "your-machine", "glossary", "names", "fidelity", "api",
                 "reading"}  # nobody reads these from top to end
    assert ["start", *shown] == [name for name in listed if name not in looked_up]


# ---------------------------------------------------------------- tag sets


def runs_of(tags):
    """The sizes of the page runs that requests were put into."""
    return [4096 << page.private for page in tags.page_list]


@claim("tag-sets", "Six runs hold 170 requests each. The last three requests have a page to themselves, and most of "
       "it stays empty.")
def runs_of_nvme():
    boot(1)
    scenario.nvme_probe()
    tags = scenario.nvme_controller("nvme0").tagset.tags[0]
    first, second = tags.static_rqs[0]._addr, tags.static_rqs[1]._addr
    return runs_of(tags) == [65536] * 6 + [4096] and 65536 // (second - first) == 170 and tags.nr_tags == 6 * 170 + 3


@claim("tag-sets", "Towards the end it asks for the smallest run that is larger than what is still needed.")
def smallest_runs():
    for depth in (1, 9, 10, 19, 40, 100, 146, 147):
        boot(1)
        scenario.null_blk_load(submit_queues=1, hw_queue_depth=depth)
        left, expected = depth * 448, []
        while left > 0:
            expected.append(next((4096 << order for order in range(5) if 4096 << order > left), 65536))
            left -= expected[-1] // 448 * 448
        if runs_of(scenario.disk("nullb0").queue.tag_set.tags[0]) != expected:
            return False
    return True


@claim("tag-sets", "a page holds nine requests")
def requests_of_a_page():
    boot(1)
    scenario.null_blk_load(submit_queues=1, hw_queue_depth=9)
    return runs_of(scenario.disk("nullb0").queue.tag_set.tags[0]) == [4096]


@claim("tag-sets", "With one map, the array has an element for each *possible CPU*")
def elements_of_tags():
    boot(4)
    scenario.null_blk_load(submit_queues=3)
    return len(scenario.disk("nullb0").queue.tag_set.tags) == 4


@claim("tag-sets", "The fourth element of `tags` is empty: there is no fourth queue. CPUs 0 and 3 share queue 0.")
def fourth_element():
    boot(4)
    scenario.null_blk_load(submit_queues=3)
    tag_set = scenario.disk("nullb0").queue.tag_set
    return not tag_set.tags[3] and list(tag_set.map[0].mq_map) == [0, 1, 2, 0]


@claim("tag-sets", "It cuts the depth to at most 10240.")
def deepest_set():
    kernel = boot(1)
    deep = blk_mq_tag_set(ops=blk_mq_ops(queue_rq=lambda hctx, bd: 0), nr_hw_queues=1, queue_depth=20000, numa_node=-1)
    return kernel.task("insmod", blk_mq.blk_mq_alloc_tag_set, deep) == 0 and deep.queue_depth == 10240


@claim("tag-sets", "and one whose reserved tags leave no other")
def only_reserved():
    kernel = boot(1)
    reserved = blk_mq_tag_set(ops=blk_mq_ops(queue_rq=lambda hctx, bd: 0), nr_hw_queues=1, queue_depth=4,
                              reserved_tags=4, numa_node=-1)
    return kernel.task("insmod", blk_mq.blk_mq_alloc_tag_set, reserved) == -22


@claim("tag-sets", "So queues that are only for reads or for polling find nobody there, and get memory on the node of "
       "the set.")
def memory_of_read_queues():
    boot(machine(4, nodes=2))
    recording = record(probe, write_queues=2)
    dev = scenario.nvme_controller("nvme0")
    nodes = [event.node for event in recording.of(Alloc) if event.kind == "blk_mq_tags"][1:]
    return dev.tagset.numa_node == 0 and nodes[2:] == [0] * 4 and set(nodes[:2]) == {0, 1}


@claim("tag-sets", "You asked for 32 tags and got 16: no error, only a line in the log.")
def half_the_depth():
    for nth in range(8, 20):
        kernel = boot(4)
        kernel.memory.fail_nth(nth)
        if errno_of(scenario.null_blk_load, submit_queues=3, hw_queue_depth=32) is None and \
                scenario.disk("nullb0").queue.tag_set.queue_depth == 16:
            return "blk-mq: reduced tag depth (32 -> 16)" in kernel.log
    return False


@claim("tag-sets", "If a hardware queue itself cannot be had, `blk_mq_init_allocated_queue` forgets those that it has "
       "already: five allocations each.")
def lost_where_memory_ends():
    hctx = {"blk_mq_hw_ctx": 1, "pointer[]": 1, "sbitmap_word[]": 1, "blk_flush_queue": 1, "request": 1}
    seen = []
    kernel = boot(4)
    scenario.null_blk_load(submit_queues=3, hw_queue_depth=32)
    for nth in range(1, kernel.memory.count + 1):
        kernel = boot(4)
        before = set(kernel.memory.live)
        kernel.memory.fail_nth(nth)
        if errno_of(scenario.null_blk_load, submit_queues=3, hw_queue_depth=32) is None:
            scenario.null_blk_unload()
        lost = Counter(each.kind for addr, each in kernel.memory.live.items() if addr not in before)
        if lost and lost not in seen:
            seen.append(lost)
    return seen == [{"pages(4)": 1}, {"pages(4)": 2}, hctx, dict.fromkeys(hctx, 2), {"disk_part_tbl": 1}]


# ---------------------------------------------------------------- which queue


@claim("which-queue", "CPUs 0 and 1 are threads of one core, but do not share.")
def threads_apart():
    queues = null_map(8, 4, threads=2)
    recorded = json.loads((RECORDINGS / "maps" / "c8smt.json").read_text())
    case = next(case for case in recorded["cases"] if case["driver"] == "null_blk" and
                case["params"].get("submit_queues") == 4)
    return queues[0] != queues[1] and [hctx["cpus"] for hctx in case["observed"]["hctxs"]] == [
        [cpu for cpu in range(8) if queues[cpu] == number] for number in range(4)]


@claim("which-queue", "The other separates them at first, and only later lets the threads of a core share one.")
def neighbours():
    queues = null_map(8, 4, threads=2)
    return queues[:4] == [0, 1, 2, 3] and queues[4] == queues[5] and queues[6] == queues[7]


@claim("which-queue", "The one lets neighbours share a queue.")
def neighbours_of_nvme():
    return nvme_map(8, 4) == [0, 0, 1, 1, 2, 2, 3, 3]


@claim("which-queue", "Here four CPUs ask for 4 + 2 + 1 queues, and the controller has six.")
def asked_queues():
    boot(4)
    recording = record(probe, max_ioqpairs=6, write_queues=2, poll_queues=1)
    return values(recording, "nvme_max_io_queues")[-1] == 7 and values(recording, "nvme_set_queue_count") == [(0, 6)]


@claim("which-queue", "NVMe gives one node a queue to itself and the other node two. No queue serves CPUs of both.")
def nodes_apart():
    queues = nvme_map(8, 3, nodes=2)
    return len(set(queues[:4])) == 2 and len(set(queues[4:])) == 1 and not set(queues[:4]) & set(queues[4:])


@claim("which-queue", "with eight queues, dealing out gives some queues three CPUs and others one")
def eight_queues():
    return set(shares(null_map(12, 8, nodes=2, threads=2))) == {1, 3}


@claim("which-queue", "Where the number of queues divides the number of CPUs, spreading gives each queue as many as "
       "any other, unless it is three")
def even_spreading():
    return all((len(set(shares(nvme_map(12, queues, nodes=2, threads=2)))) == 1) == (queues != 3)
               for queues in (1, 2, 3, 4, 6, 12))


@claim("which-queue", "the node with one vector has six CPUs on it. Dealing out, which knows no nodes, does better "
       "there.")
def three_queues():
    spread, dealt = (shares(made(12, 3, nodes=2, threads=2)) for made in (nvme_map, null_map))
    return spread == [3, 3, 6] and max(dealt) < max(spread) and min(dealt) == min(spread)


def worst_share(driver, cpus):
    """What the CPU that is worst off has of what the best has, where queues have equally many tags."""
    queues = driver(cpus, 8, threads=2)
    return min(shares(queues)) / max(shares(queues))


@claim("which-queue", "With null_blk it has a third up to 22 CPUs, even on the machine with 16, and three fifths or "
       "all of it beyond.")
def thirds_and_fifths():
    return {worst_share(null_map, cpus) for cpus in range(10, 24, 2)} == {1 / 3} and \
        {worst_share(null_map, cpus) for cpus in range(24, 42, 2)} == {3 / 5, 1.0}


@claim("which-queue", "with NVMe the CPU that is worst off has half of what the best has, or more, and all are alike "
       "where eight divides their number")
def halves_or_more():
    found = {cpus: worst_share(nvme_map, cpus) for cpus in range(10, 42, 2)}
    return min(found.values()) == 1 / 2 and all((share == 1) == (cpus % 8 == 0) for cpus, share in found.items())


@claim("which-queue", "before the tag set of its disks is made")
def vectors_before_tags():
    order = [event.function for event in probing().of(Call)]
    return order.index("nvme_alloc_admin_tags") < order.index("nvme_setup_irqs") < order.index("nvme_dev_add")


@claim("which-queue", "Two, four, five and six queues are equally bad.")
def most_unfair():
    gaps = {}
    for queues in range(1, 9):
        of = shares(null_map(8, queues, threads=2))
        gaps[queues] = of[-1] - of[0]
    return [queues for queues, gap in gaps.items() if gap == max(gaps.values())] == [2, 4, 5, 6]


@claim("which-queue", "the worker's CPU interrupts the one that asked, and the request ends in that interrupt; with a "
       "single hardware queue, in a softirq.")
def where_it_ends():
    kinds = {}
    for queues in (1, 2):
        boot(8)
        scenario.null_blk_load(submit_queues=queues, irqmode=1)
        scenario.set_scheduler("nullb0", "mq-deadline")
        recording = record(scenario.io, "nullb0", "read", 0, 4096, cpu=5)
        kinds[queues] = [who.kind for who in recording.contexts if who.kind in ("irq", "softirq")]
    return kinds[1] == ["softirq"] and kinds[2] == ["irq"]


@claim("which-queue", "Without write and poll queues, NVMe asks for no more queues than there are possible CPUs.")
def no_more_than_cpus():
    return values(probing(), "nvme_max_io_queues")[-1] == 4


# ---------------------------------------------------------------- a controller appears


@claim("controller-appears", "the driver reads and writes a controller's registers fewer than twenty times")
def register_accesses():
    return len(probing().of(RegisterRead, RegisterWrite)) < 20


def accesses():
    return [(type(event), event.offset) for event in probing().of(RegisterRead, RegisterWrite)]


@claim("controller-appears", "`nvme_pci_enable` reads `CSTS` before any other register.")
def first_register():
    return accesses()[0] == (RegisterRead, CSTS)


@claim("controller-appears", "reads the version of the interface, `VS`. Then it writes 0 into `CC`")
def version_first():
    seen = accesses()
    return seen.index((RegisterRead, VS)) + 1 == seen.index((RegisterWrite, CC)) and \
        next(event.value for event in probing().of(RegisterWrite) if event.offset == CC) == 0


@claim("controller-appears", "The driver waits as long as `CAP` allows, and half a second more.")
def patience():
    kernel = boot(1)
    return errno_of(probe, controller=Controller(faults=[Fault(STUCK, ENABLE)])) == "ENODEV" and \
        8000 <= kernel.now / MILLISECOND <= 8200


@claim("controller-appears", "It answers with all bits set, and nobody waits.")
def pulled_out():
    kernel = boot(1)
    return errno_of(probe, controller=Controller(faults=[Fault(GONE, ENABLE)])) == "ENODEV" and \
        kernel.now < MILLISECOND


@claim("controller-appears", "*A controller that breaks* while it reads is reset, and the read is sent again.")
def broken_without_shadow():
    return failing(Fault(FATAL, queue=2), dbbuf=False)[0] == 4096


@claim("controller-appears", "*The same, with doorbells in memory*, ends with the controller removed.")
def broken_with_shadow():
    outcome, _, log = failing(Fault(FATAL, queue=2))
    return outcome == "EIO" and any("Removing after probe failure" in line for line in log)


@claim("controller-appears", "sees that there are two of four, deletes both and begins anew")
def begun_anew():
    boot(4)
    recording = record(probe, controller=Controller(usable=2))
    deleted = Counter(command.opcode for command in admin(recording))
    return deleted[nvme.nvme_admin_delete_sq] == deleted[nvme.nvme_admin_delete_cq] == 2 and \
        calls(recording)["nvme_setup_irqs"] == 2


@claim("controller-appears", "a controller that cannot use such pages is refused")
def page_size():
    boot(1)
    return errno_of(probe, controller=Controller(page_min=1)) == "ENODEV"


# ---------------------------------------------------------------- the admin queue


@claim("admin-queue", "**30 tags, for a ring of 32 slots.**")
def admin_tags():
    boot(1)
    probe()
    dev = scenario.nvme_controller("nvme0")
    return dev.admin_tagset.queue_depth == 30 and dev.queues[0].q_depth == 32


@claim("admin-queue", "a tick of the recorded kernel is 4 ms, so an admin command has 60 seconds")
def admin_timeout():
    boot(1)
    probe()
    return scenario.nvme_controller("nvme0").admin_tagset.timeout * 4 == 60_000


@claim("admin-queue", "but only for I/O queues: `nvme_dbbuf_init` leaves out the admin queue, so its bell always rings")
def admin_bell():
    boot(1)
    probe()
    queues = scenario.nvme_controller("nvme0").queues
    return not queues[0].dbbuf_cq_db and bool(queues[1].dbbuf_cq_db) and \
        rings(probing(), "cq") >= len([event for event in probing().of(Completion) if event.queue == 0])


@claim("admin-queue", "There are two of these trees: the scan of the namespaces identifies the controller once more, "
       "in a worker on another CPU.")
def identified_twice():
    trees = probing().forest(["nvme_identify_ctrl"])
    cpus = [probing().contexts[context].cpu for context, nodes in trees.items() for _ in nodes]
    return len(cpus) == 2 and cpus[0] != cpus[1]


@claim("admin-queue", "(What the driver asks for itself is not: `nvme_alloc_request` sets `REQ_FAILFAST_DRIVER`.)")
def asked_once():
    boot(2)
    with record() as probed:
        probe(controller=Controller(faults=[Fault(FAIL, nth=2, queue=0, status=0x2)]))  # without "do not retry"
    tried = Counter(command.opcode for command in admin(probed))
    return tried[nvme.nvme_admin_get_log_page] == 1


@claim("admin-queue", "Of the commands that fail above, only *identify* costs the controller.")
def which_is_fatal():
    fates = []
    for nth in range(1, 7):
        boot(2)
        fault = Fault(FAIL, nth=nth, queue=0, status=0x4002)
        fates.append(errno_of(probe, controller=Controller(faults=[fault])))
    return fates == ["EIO"] + [None] * 5


@claim("admin-queue", "is used with those that it has created, even if there are none")
def without_queues():
    boot(2)
    probe(controller=Controller(faults=[Fault(FAIL, opcode=nvme.nvme_admin_create_cq, status=0x4101)]))
    return scenario.nvme_controller("nvme0").online_queues == 1


# ---------------------------------------------------------------- I/O queues


@claim("io-queues", "(If poll queues would leave none, it asks for one in all: the admin queue and the only other "
       "queue share it.)")
def one_vector_in_all():
    boot(4)
    probe(controller=Controller(4), poll_queues=4)
    dev = scenario.nvme_controller("nvme0")
    return dev.num_vecs == 1 and dev.queues[1].cq_vector == 0


@claim("io-queues", "Without the rings of the admin queue or of the first I/O queue the probe ends; where a later "
       "queue's cannot be had, there are fewer queues, and no error.")
def without_a_ring():
    boot(2)
    asked = [event.kind for event in record(probe).of(Alloc)]
    ended = []
    for place in (nth for nth, kind in enumerate(asked, 1) if kind in ("nvme_command[]", "nvme_completion[]")):
        boot(2).memory.fail_nth(place)
        ended.append(errno_of(probe))
    return ended == ["ENOMEM"] * 4 + [None] * 2


@claim("io-queues", "The controller offers 64 queues, the machine has four CPUs, and the driver takes four.")
def four_queues():
    return Controller().queue_pairs == 64 and line_of_queues() == "4/0/0"


@claim("io-queues", "it asks for so many queues more, and it says how many of all of them are *default* queues. The "
       "rest is for reads.")
def write_queues():
    return line_of_queues(write_queues=1) == "1/4/0" and line_of_queues(write_queues=4) == "4/4/0"


@cache
def nine_write_queues():
    boot(4)
    return record(probe, write_queues=9)


@claim("io-queues", "The second attempt divides four: all but one for writes, and one for reads.")
def second_attempt():
    return line_of_queues(write_queues=9) == "3/1/0" and values(nine_write_queues(), "nvme_setup_irqs") == [5]


@claim("io-queues", "No queue has been created in vain.")
def none_in_vain():
    opcodes = Counter(command.opcode for command in admin(nine_write_queues()))
    return opcodes[nvme.nvme_admin_create_cq] == 4 and not opcodes[nvme.nvme_admin_delete_cq]


@claim("io-queues", "`timeout` is in ticks of 4 ms: 30 seconds")
def io_timeout():
    boot(1)
    probe()
    return scenario.nvme_controller("nvme0").tagset.timeout * 4 == 30_000


@claim("io-queues", "`queue_depth` is one less than the ring has slots")
def depth_of_io_queues():
    boot(1)
    scenario.nvme_probe()
    dev = scenario.nvme_controller("nvme0")
    return dev.tagset.queue_depth == dev.queues[1].q_depth - 1 == 1023


@claim("io-queues", "Whatever status it answers in steps 2 and 5, its admin queue works")
def kept_without_queues():
    for opcode in (nvme.nvme_admin_set_features, nvme.nvme_admin_create_cq, nvme.nvme_admin_create_sq):
        boot(2)
        nth = 2 if opcode == nvme.nvme_admin_set_features else 1
        fault = Fault(FAIL, opcode=opcode, nth=nth, status=0x4101)
        probe(controller=Controller(faults=[fault]))
        if scenario.nvme_file("nvme0", "state").strip() != "live":
            return False
    return True


@claim("io-queues", "A probe asks for it more than a hundred times, even with two queues of four.")
def allocations_of_a_probe():
    kernel = boot(2)
    scenario.nvme_load()
    before = kernel.memory.count
    scenario.nvme_probe(max_ioqpairs=2, io_queue_depth=4)
    return kernel.memory.count - before > 100


@claim("io-queues", "One vector is the admin queue's, the other is that of a single I/O queue.")
def two_vectors():
    return line_of_queues(controller=Controller(vectors=2)) == "1/0/0" and \
        line_of_queues(controller=Controller(vectors=2), poll_queues=3) == "1/0/3"


# ---------------------------------------------------------------- namespaces


@claim("namespaces", "the kernel has asked the controller six more questions")
def six_questions():
    opcodes = [command.opcode for command in admin(probing())]
    return opcodes[-6:] == [nvme.nvme_admin_identify] * 6 and opcodes[-7] == nvme.nvme_admin_async_event


@claim("namespaces", "Here the scan ran on CPU 2, while the reset worker ran on CPU 1.")
def where_workers_ran():
    where = {name: {probing().contexts[context].cpu for context in probing().forest([name])}
             for name in ("nvme_scan_work", "nvme_reset_work")}
    return where == {"nvme_scan_work": {2}, "nvme_reset_work": {1}}


@claim("namespaces", "It queues two work items. One sends the asynchronous event request")
def event_request():
    works = [set(probing().forest([name])) for name in ("nvme_reset_work", "nvme_scan_work", "nvme_async_event_work")]
    return all(works) and not works[2] & (works[0] | works[1])


@claim("namespaces", "1016 sectors, 1016 sectors, and 16")
def pieces_of_a_mebibyte():
    boot(2)
    probe()
    reading = record(scenario.io, "nvme0n1", "read", 0, 1 << 20)
    return [event.command.length + 1 for event in reading.of(Command)] == [1016, 1016, 16] and \
        check_file(RECORDINGS / "calls" / "read-1m.json").result == "passed"


@claim("namespaces", "Its name is not `nvme0n4` but `nvme0n2`")
def names_of_disks():
    boot(1)
    probe(controller=Controller(namespaces={1: Namespace(), 4: Namespace(), 7: Namespace()}))
    found = {ns.head.ns_id: ns.disk.disk_name for ns in scenario.nvme_controller("nvme0").ctrl.namespaces}
    return found == {1: "nvme0n1", 4: "nvme0n2", 7: "nvme0n3"}


@claim("namespaces", "# 5.4 has no file for virt_boundary_mask")
def no_such_file():
    return "queue_max_segments_show" in definitions() and "queue_virt_boundary_mask_show" not in definitions()


@claim("namespaces", "Without its descriptors a namespace gets no disk in 5.4.120, if the controller is of a version "
       "that has them (1.3)")
def without_descriptors():
    found = []
    for spoken in (nvme.NVME_VS(1, 2, 1), nvme.NVME_VS(1, 3, 0)):
        boot(1)
        fault = Fault(FAIL, opcode=nvme.nvme_admin_identify, nth=5, status=0x4002)
        probe(controller=Controller(faults=[fault], version=spoken))
        found.append(len(list(scenario.nvme_controller("nvme0").ctrl.namespaces)))
    return found == [1, 0]


@claim("namespaces", "From one to six. (0 says that there is no limit.)")
def small_mdts():
    limited = []
    for mdts in (0, 1, 6, 7, 8):
        boot(1)
        probe(controller=Controller(mdts=mdts))
        limits = scenario.disk("nvme0n1").queue.limits
        limited.append(limits.max_hw_sectors >> 1 <= limits.max_segments * 4)
    return limited == [False, True, True, False, False]


# ---------------------------------------------------------------- taking it down


@claim("taking-it-down", "(In a reset it also freezes the disks' queues first; here the disks are gone.)")
def no_freeze():
    boot(2)
    probe()
    resetting = record(scenario.set_nvme_file, "nvme0", "reset_controller", "1")
    return not calls(removing())["nvme_start_freeze"] and "nvme_start_freeze" not in recorded_calls("nvme-remove") and \
        calls(resetting)["nvme_start_freeze"] == 1


@claim("taking-it-down", "It shuts the controller down all the same, and cancels what is still out.")
def still_shut_down():
    boot(2)
    probe(controller=Controller(faults=[Fault(SILENT, opcode=nvme.nvme_admin_delete_sq)]))
    recording = record(scenario.nvme_remove)
    return calls(recording)["nvme_cancel_request"] > 0 and any(
        event.offset == CC and event.value >> 14 & 3 == 1 for event in recording.of(RegisterWrite))


@claim("taking-it-down", "It sees its queues deleted, submission queues first, and then the shutdown bits in `CC`.")
def order_of_deletions():
    sq, cq = nvme.nvme_admin_delete_sq, nvme.nvme_admin_delete_cq
    last = removing().of(Command, RegisterWrite)[-1]
    return [command.opcode for command in admin(removing())] == [sq] * 4 + [cq] * 4 and last.offset == CC


@claim("taking-it-down", "The hardware queues of all types but the last are never freed.")
def leaked_queues():
    left = []
    for params in ({}, {"write_queues": 1}, {"poll_queues": 1}):
        kernel = boot(4)
        scenario.nvme_load(**params)
        before = set(kernel.memory.live)
        scenario.nvme_probe()
        scenario.nvme_remove()
        left.append([kernel.memory.live[addr].kind for addr in kernel.memory.live.keys() - before].count(
            "blk_mq_hw_ctx"))
    return left == [0, 1, 4]


@claim("taking-it-down", "The driver waits for 5 seconds, or longer where the controller asks for more")
def patience_at_the_end():
    kernel = boot(1)
    probe(controller=Controller(faults=[Fault(STUCK, SHUTDOWN)]))
    scenario.nvme_remove()
    return 5000 <= kernel.now / MILLISECOND <= 5200


@claim("taking-it-down", "Two for each queue pair.")
def deletions():
    return len(admin(removing())) == 2 * 4


# ---------------------------------------------------------------- a bio is submitted


@claim("a-bio-is-submitted", "Up to 256 of them, in a call that waits for its result, make a single bio")
def one_bio():
    boot(2)
    probe()
    made = [calls(record(scenario.io, "nvme0n1", "read", 0, pages << 12, page_runs=[1] * pages))
            for pages in (256, 257)]
    return [bool(each["__blkdev_direct_IO_simple"]) for each in made] == [True, False]


def submitted(kernel, disk, operation):
    """Submit a bio of one page to sector 0 of a disk, as a driver would; return a list that gets its status."""
    ended = []

    def submit():
        bio = bio_module.bio_alloc_bioset(GFP_KERNEL, 1, bio_module.variables().fs_bio_set)
        bio.bi_disk, bio.bi_opf = scenario.disk(disk), operation
        bio.bi_end_io = lambda each: ended.append(each.bi_status)
        bio_module.bio_add_page(bio, alloc_page(GFP_KERNEL), 4096, 0)
        blk_core.submit_bio(bio)

    kernel.task("submit", submit)
    return ended


@claim("a-bio-is-submitted", "(A write to a read-only disk is let through, with a warning in the log.")
def read_only_disk():
    kernel = boot(1)
    scenario.null_blk_load()
    scenario.disk("nullb0").part0.policy = 1
    return submitted(kernel, "nullb0", REQ_OP_WRITE) == [0] and any("read-only" in line for line in kernel.log)


@claim("a-bio-is-submitted", "A write of the same size does wait, twice, and another process sends it.")
def a_write_waits():
    boot(4)
    probe()
    writing, reading = (traced("nvme0n1", scenario.io, op, 0, 4096, cpu=1) for op in ("write", "read"))
    return {"P", "I"} <= set(writing.actions) and "[dio]" not in senders(writing) and \
        reading.actions == ["Q", "G", "D", "C"]


@claim("a-bio-is-submitted", "127 of them make 508 KiB.")
def segments():
    boot(1)
    probe()
    return scenario.disk("nvme0n1").queue.limits.max_segments * 4 == 508


@claim("a-bio-is-submitted", "But if it fails itself, its own status is written over that.")
def status_of_pieces():
    unread, too_far = 0x281 | 0x4000, 0x81 | 0x4000
    results = []
    for first, last in ((unread, too_far), (too_far, unread), (unread, None)):
        # the second fault counts what the first has left: the second of those is the third piece
        faults = [Fault(FAIL, status=status, queue=2, nth=nth) for status, nth in ((first, 1), (last, 2)) if status]
        results.append(failing(*faults, reads=256)[0])
    return results == ["ENOSPC", "ENODATA", "ENODATA"]


@claim("a-bio-is-submitted", "None of those that were refused was submitted: `__blkdev_direct_IO_simple` and its "
       "callers had refused them.")
def never_submitted():
    boot(1)
    probe()
    for op, offset, length in (("read", 100, 4096), ("read", 0, 100), ("write", 131072 * 512, 4096)):
        with record() as recording:
            if errno_of(scenario.io, "nvme0n1", op, offset, length) is None:
                return False
        if calls(recording)["submit_bio"]:
            return False
    return True


@claim("a-bio-is-submitted", "The read across the end was shortened first.")
def across_the_end():
    boot(1)
    probe()
    return len(scenario.io("nvme0n1", "read", 131072 * 512 - 4096, 8192)) == 4096 and \
        errno_of(scenario.io, "nvme0n1", "write", 131072 * 512, 4096) == "ENOSPC"


# ---------------------------------------------------------------- getting a tag


def takes(disk):
    """How many requests a disk gets until it is refused one."""
    q, taken = scenario.disk(disk).queue, 0
    while not IS_ERR(blk_mq.blk_mq_alloc_request(q, REQ_OP_READ, BLK_MQ_REQ_NOWAIT)):
        taken += 1
    return taken


def taken_by(disks):
    boot(1)
    scenario.null_blk_load(hw_queue_depth=32, nr_devices=disks, shared_tags=1, no_sched=1)
    return [takes(f"nullb{number}") for number in range(disks)]


@claim("getting-a-tag", "For three already: they get 11, 11 and 10 of 32.")
def three_disks():
    return taken_by(3) == [11, 11, 10]


@claim("getting-a-tag", "The share is rounded up, so the sum is larger unless 32 can be divided by the number of "
       "disks.")
def rounded_shares():
    return all((len(set(taken_by(disks))) == 1) == (32 % disks == 0) for disks in range(2, 9))


@claim("getting-a-tag", "because nobody's share is less than four")
def least_share():
    return taken_by(9) == [4] * 8 + [0]


@claim("getting-a-tag", "Why five? The first disk looked for its partition table before there was a second one, and "
       "had the tags to itself.")
def active_disks():
    boot(1)
    scenario.null_blk_load(hw_queue_depth=32, nr_devices=6, shared_tags=1, no_sched=1)
    return scenario.disk("nullb0").queue.queue_hw_ctx[0].tags.active_queues == 5


def bitmap(depth):
    boot(4)
    bits = sbitmap_queue()
    sbitmap.sbitmap_queue_init_node(bits, depth, -1, False, GFP_KERNEL, 0)
    return bits


@claim("getting-a-tag", "So the batch is an eighth of the tags, at least one and at most eight.")
def wake_batch():
    return all(bitmap(depth).wake_batch == min(max(depth // 8, 1), 8) for depth in (1, 4, 8, 16, 32, 64, 128, 1023))


@claim("getting-a-tag", "The kernel uses fewer, so that there are at least four words if it can")
def four_words():
    return all(bitmap(depth).sb.map_nr >= 4 for depth in (4, 8, 16, 32, 64, 128, 1023))


@claim("getting-a-tag", "There are eight wait queues, and a task stands in one of them.")
def wait_queues():
    return len(bitmap(64).ws) == 8


@claim("getting-a-tag", "**A tag that is given back is not free.**")
def given_back():
    bits = bitmap(16)
    tag = sbitmap.__sbitmap_queue_get(bits)
    sbitmap.sbitmap_queue_clear(bits, tag, 0)
    word, bit = bits.sb.map[tag >> bits.sb.shift], 1 << (tag & (1 << bits.sb.shift) - 1)
    return bool(word.word & bit and word.cleared & bit)


@claim("getting-a-tag", "That one tries three times before it sleeps")
def three_tries():
    boot(4)
    scenario.null_blk_load(submit_queues=4, hw_queue_depth=1, irqmode=2)
    waiting = record(scenario.io, "nullb0", "read", 0, 510 * 512, cpu=1)
    second = [node for nodes in waiting.forest(["blk_mq_get_tag"]).values() for node in nodes][1]
    made = [call.function for call in second.calls]
    return made[:made.index("sbitmap_finish_wait")].count("__blk_mq_get_tag") == 3 and len(waiting.of(Enter)) > 1


@claim("getting-a-tag", "So it gets one of the scheduler's own tags, and keeps it to the end.")
def two_sets_of_tags():
    boot(2)
    scenario.null_blk_load(submit_queues=1)
    hctx = scenario.disk("nullb0").queue.queue_hw_ctx[0]
    return (hctx.sched_tags.nr_tags, hctx.tags.nr_tags) == (128, 64)


@claim("getting-a-tag", "NVMe on PCI has none, except on one controller by Apple")
def reserved_tags():
    boot(1)
    probe()
    return scenario.nvme_controller("nvme0").tagset.reserved_tags == 0


# ---------------------------------------------------------------- through the doorbell


def read_at_once(reads, dbbuf):
    boot(2)
    probe(controller=Controller(dbbuf=dbbuf, service=Service(least=10_000)))
    wanted = [{"op": "read", "offset": number << 16, "length": 4096} for number in range(reads)]
    return record(scenario.aio, "nvme0n1", wanted, cpu=1)


@claim("through-the-doorbell", "**To start a read, the kernel writes four bytes into the device.**")
def one_bell():
    return rings(read_at_once(1, False)) == 1


@claim("through-the-doorbell", "Read 1 MiB, and the doorbell still rings once, for three commands")
def one_bell_for_three():
    found = []
    for dbbuf in (True, False):
        boot(4)
        probe(controller=Controller(dbbuf=dbbuf))
        reading = record(scenario.io, "nvme0n1", "read", 0, 1 << 20, cpu=1)
        found.append((rings(reading), len(reading.of(Command))))
    return found == [(1, 3), (3, 3)]


@claim("through-the-doorbell", "Two reads ring twice: `io_submit` begins a plug only for three and more. Sixteen "
       "requests fill a plug, so 64 reads ring four times.")
def bells_of_plugs():
    return [rings(read_at_once(reads, False)) for reads in (2, 3, 16, 64)] == [2, 1, 1, 4]


@claim("through-the-doorbell", "**there is one tag less than there are places**")
def one_tag_less():
    return depth_of_io_queues()


@claim("through-the-doorbell", "Up to 32 of them are put into a block of 256 bytes, more into a page of their own")
def lists_of_pages():
    kinds = {}
    for pages in (33, 34):
        boot(1)
        probe()
        reading = record(scenario.io, "nvme0n1", "read", 0, pages << 12, page_runs=[1] * pages)
        kinds[pages] = {event.kind for event in reading.of(Alloc) if "prp" in event.kind}
    return "256" in str(kinds[33]) and "256" not in str(kinds[34])


def unanswered(**kwargs):
    return failing(Fault(SILENT, queue=2), Fault(SILENT, queue=0, opcode=nvme.nvme_admin_abort_cmd), **kwargs)


@claim("through-the-doorbell", "Here the abort was enough: the command came back as aborted, and was sent a second "
       "time.")
def aborted():
    # the timer wheel counts half a minute in steps of two seconds
    return failing(Fault(SILENT, queue=2))[:2] == (4096, pytest.approx(31, abs=1.1))


@claim("through-the-doorbell", "With registers only, the read comes back.")
def reset_with_registers():
    return unanswered(dbbuf=False)[0] == 4096


@claim("through-the-doorbell", "With doorbells in memory, Linux 5.4.120 loses it, and then the whole disk.")
def reset_with_memory():
    outcome, _, log = unanswered()
    return outcome == "EIO" and log[-1] == "nvme nvme0: Removing after probe failure status: -19"


@claim("through-the-doorbell", "then the request that is sent again gets its bell")
def reset_after_reads():
    return unanswered(before=3)[0] == 4096


@claim("through-the-doorbell", "But a first read *after* an idle reset is lost, too, and the controller with it, once "
       "the queue was used before")
def read_after_reset():
    ends = []
    for reads in (0, 1, 3):
        kernel = boot(4)
        probe()
        for _ in range(reads):
            scenario.io("nvme0n1", "read", 0, 4096, cpu=1)
        scenario.set_nvme_file("nvme0", "reset_controller", "1")
        name = errno_of(scenario.io, "nvme0n1", "read", 0, 4096, cpu=1)
        ends.append((name, kernel.log[-1].startswith("nvme nvme0: Removing after probe failure status: -19")))
    return ends == [(None, False), ("EIO", True), ("EIO", True)]


# ---------------------------------------------------------------- the way back


@claim("the-way-back", "So the second answers `IRQ_NONE`: not mine.")
def nobody_wanted_it():
    kernel = boot(1)
    probe(controller=Controller(service=Service(least=10_000)))
    queue = scenario.nvme_controller("nvme0").queues[1]
    scenario.io("nvme0n1", "read", 0, 4096)
    return kernel.run_in(Context("irq", "nvme0q1", 0), pci.nvme_irq, 0, queue) == 0


@claim("the-way-back", "With one queue, the request is ended in a *softirq*.")
def ended_in_softirq():
    kinds = []
    for queues in (1, 4):
        boot(4)
        probe(max_ioqpairs=queues)
        scenario.set_scheduler("nvme0n1", "none")
        reading = record(scenario.io, "nvme0n1", "read", 0, 4096, cpu=1)
        kinds.append(any(who.kind == "softirq" for who in reading.contexts))
    return kinds == [True, False]


@claim("the-way-back", "it does so up to five times, unless the device says that this is useless (the *do not retry* "
       "bit)")
def retries():
    counts = []
    for status in (0x281, 0x281 | 0x4000):
        boot(2)
        controller = Controller()
        probe(controller=controller)
        controller.faults.append(Fault(FAIL, status=status, queue=1, nth=0))
        with record() as recording:
            if errno_of(scenario.io, "nvme0n1", "read", 0, 4096) != "ENODATA":
                return False
        counts.append(len(recording.of(Command)))
    return counts == [6, 1]


@claim("the-way-back", "A queue for polling has no vector")
def no_interrupts():
    boot(2)
    probe(poll_queues=1)
    return not record(scenario.io, "nvme0n1", "read", 0, 4096, cpu=1, flags=("hipri",)).of(Interrupt)


@claim("the-way-back", "In the seventh line `cq_head` is back at 0, and all bits are 1")
def phase_bits():
    boot(1)
    scenario.nvme_probe(io_queue_depth=8)
    queue = scenario.nvme_controller("nvme0").queues[1]
    for _ in range(7):
        scenario.io("nvme0n1", "read", 0, 4096)
    return (queue.cq_head, queue.cq_phase) == (0, 0) and all(entry.status & 1 for entry in queue.cqes)


@claim("the-way-back", "`nvme_handle_cqe` finds no request at that number, and the log says `invalid id … completed "
       "on queue …`.")
def no_such_command():
    kernel = boot(1)
    probe()
    queue = scenario.nvme_controller("nvme0").queues[1]
    tag = next(tag for tag, rq in enumerate(queue.dev.tagset.tags[0].rqs) if not rq)
    queue.cqes[0].command_id = tag
    kernel.run_in(Context("irq", "nvme0q1", 0), pci.nvme_handle_cqe, queue, 0)
    return f"invalid id {tag} completed on queue 1" in kernel.log[-1]


@claim("the-way-back", "This comes *before* the requests are ended")
def bell_before_end():
    boot(1)
    probe()
    order = [event.function for event in record(scenario.io, "nvme0n1", "read", 0, 4096).of(Call)]
    return order.index("nvme_ring_cq_doorbell") < order.index("bio_endio")


# ---------------------------------------------------------------- schedulers and plugs


def driver_order(wanted, **settings):
    """Submit a page each of these, as in "r25 w3", through mq-deadline; return them as the driver gets them."""
    boot(2)
    scenario.null_blk_load(submit_queues=1, irqmode=2)
    for name, value in settings.items():
        scenario.set_queue_file("nullb0", f"iosched/{name}", value)
    ios = [{"op": "read" if each[0] == "r" else "write", "offset": int(each[1:]) << 12, "length": 4096}
           for each in wanted.split()]
    recording = record(scenario.aio, "nullb0", ios, cpu=1)
    started = [event.object for event in recording.of(Assign) if event.field == "state" and event.new == 1
               and isinstance(event.object, request)]
    return " ".join(f"{'rw'[rq.cmd_flags & 1]}{blk_rq_pos(rq) >> 3}" for rq in started)


@claim("schedulers-and-plugs", "The oldest of them, 26, begins; 44 is further up. Then nothing is, so another batch "
       "of reads begins, with the oldest one left.")
def order_of_requests():
    return driver_order("w50 w10 w30 r26 r6 r44") == "r26 r44 r6 w50 w10 w30"


@claim("schedulers-and-plugs", "The new batch goes on where the last one ended, if that was of the same direction and "
       "there is something further up. Otherwise it begins with the oldest request")
def where_a_batch_begins():
    same = driver_order("r30 r10 r40", fifo_batch=1)
    return same == "r30 r40 r10" and driver_order("r30 w9 r10 r40", fifo_batch=1, writes_starved=1) == "r30 w9 r10 r40"


@claim("schedulers-and-plugs", "the driver's own commands, and what the flush machinery sends (flushes, and writes "
       "with FUA)")
def on_the_dispatch_list():
    commands = calls(probing())["blk_mq_request_bypass_insert"]  # on a kernel of its own, so first
    boot(2)
    probe(max_ioqpairs=1)
    sent = record(scenario.io, "nvme0n1", "write", 0, 4096, flags=("dsync",))
    return bool(commands and calls(sent)["blk_mq_request_bypass_insert"]) and \
        scenario.scheduler("nvme0n1") == "mq-deadline" and not calls(sent)["dd_insert_request"]


@claim("schedulers-and-plugs", "The recording of a real kernel has the same detour, in a task `dio` and a `kworker`")
def detour_of_a_write():
    recorded = json.loads(recorded_calls("write-4k"))["contexts"]
    return {each.get("task") for each in recorded} >= {"dio", "kworker"} and \
        check_file(RECORDINGS / "calls" / "write-4k.json").result == "passed"


@claim("schedulers-and-plugs", "A read's deadline is half a second after it came, a write's five seconds.")
def deadlines():
    boot(1)
    scenario.null_blk_load(submit_queues=1)
    return [int(scenario.queue_file("nullb0", f"iosched/{name}_expire")) for name in ("read", "write")] == [500, 5000]


@claim("schedulers-and-plugs", "Those with a single hardware queue.")
def default_schedulers():
    found = []
    for queues in (1, 2):
        boot(2)
        scenario.null_blk_load(submit_queues=queues)
        found.append(scenario.scheduler("nullb0"))
    return found == ["mq-deadline", "none"]


@claim("schedulers-and-plugs", "A hardware queue sends up to sixteen reads in a row, then up to eight writes, one "
       "discard, and one of the rest.")
def kyber_batches():
    return kyber_iosched.kyber_batch_size == (16, 8, 1, 1)


def kyber_tokens(reads, writes, written=128):
    """How many tokens Kyber's domains have after 500 reads and writes that took so many µs of 2000 and 10,000."""
    boot(4)
    scenario.null_blk_load(submit_queues=1)
    scenario.set_scheduler("nullb0", "kyber")
    kqd = scenario.disk("nullb0").queue.elevator.elevator_data
    kyber_iosched.kyber_resize_domain(kqd, kyber_iosched.KYBER_WRITE, written)
    for _ in range(500):
        for domain, latency in ((kyber_iosched.KYBER_READ, reads), (kyber_iosched.KYBER_WRITE, writes)):
            for kind in (kyber_iosched.KYBER_TOTAL_LATENCY, kyber_iosched.KYBER_IO_LATENCY):
                kyber_iosched.add_latency_sample(
                    kqd.cpu_latency[0], domain, kind, kqd.latency_targets[domain], latency * 1000)
    kyber_iosched.kyber_timer_fn(kqd.timer)
    return [tokens.sb.depth for tokens in kqd.domain_tokens]


@claim("schedulers-and-plugs", "domains that end nearly all requests within three quarters of their target get fewer "
       "tokens. One that misses its target, waiting included, gets more, up to what it began with.")
def kyber_throttles():
    return kyber_tokens(1000, 20_000, 64) == [128, 128, 64, 16] and kyber_tokens(1600, 20_000) == [256, 128, 64, 16] \
        and kyber_tokens(1000, 10_000) == [256, 128, 64, 16]


def joined(scheduler):
    """Read pages 0, 2 and 1 at once, so that two requests become neighbours; return who sent how many."""
    boot(4)
    scenario.null_blk_load(submit_queues=1, irqmode=2)
    scenario.set_scheduler("nullb0", scheduler)
    wanted = [{"op": "read", "offset": page << 12, "length": 4096} for page in (0, 2, 1, 9)]
    return senders(traced("nullb0", scenario.aio, wanted, cpu=1))


@claim("schedulers-and-plugs", "Of the schedulers, mq-deadline does that, and Kyber does not.")
def who_joins_requests():
    return [joined(name).total() for name in ("none", "mq-deadline", "kyber")] == [3, 2, 3]


@claim("schedulers-and-plugs", "with a scheduler, who submits without a plug does not send")
def who_sends():
    boot(4)
    scenario.null_blk_load(submit_queues=1, irqmode=2)
    alone = senders(traced("nullb0", scenario.io, "read", 0, 4096, cpu=1))
    return set(alone) == {"[kblockd]"} and set(joined("mq-deadline")) == {"[aio]"}


@claim("schedulers-and-plugs", "Without a scheduler, a driver that has refused is thought busy for a while")
def busy_without_a_scheduler():
    busy = []
    for scheduler in ("none", "mq-deadline"):
        boot(1)
        scenario.null_blk_load(submit_queues=1)
        scenario.set_scheduler("nullb0", scheduler)
        hctx = scenario.disk("nullb0").queue.queue_hw_ctx[0]
        blk_mq.blk_mq_update_dispatch_busy(hctx, True)
        busy.append(hctx.dispatch_busy)
    return busy == [2, 0]


@claim("schedulers-and-plugs", "the write path of a block device begins a plug, the read path, up to 1 MiB, does not.")
def who_begins_a_plug():
    begun = []
    for op, pages in (("write", 1), ("read", 256), ("read", 257)):
        boot(1)
        scenario.nvme_probe()
        begun.append(calls(record(scenario.io, "nvme0n1", op, 0, pages << 12))["blk_start_plug"] > 0)
    return begun == [True, False, True]


@claim("schedulers-and-plugs", "A worker runs the hardware queue again at once, unless it is marked for a restart "
       "(`blk_mq_sched_mark_restart_hctx`), as it is at a second refusal.")
def at_once_or_when_marked():
    waits = []
    for refusals in (1, 2):
        kernel = boot(1)
        driver = Driver()
        driver.refusals = [BLK_STS_RESOURCE] * refusals
        rq = blk_mq.blk_mq_alloc_request(driver.load(), REQ_OP_READ, BLK_MQ_REQ_NOWAIT)
        begun = kernel.now
        blk_mq_sched.blk_mq_sched_insert_request(rq, False, True, False)
        while not driver.taken:
            kernel.loop.advance(100_000)
        waits.append((kernel.now - begun) / 1e6)
    return waits[0] < 1 and 4 <= waits[1] <= 8


@claim("schedulers-and-plugs", "and with a write later still: a batch of reads may come first, deadline or not")
def late_write():
    reads = " ".join(f"r{page}" for page in range(20, 44, 2))
    late = [driver_order(f"w9 {reads}", fifo_batch=4, write_expire=expire).split().index("w9") for expire in (0, 5000)]
    return late == [8, 8]


@claim("schedulers-and-plugs", "When the seventeenth request comes, the plug has sixteen, and is pulled by the "
       "process itself. The other eleven are in it when the process goes to sleep.")
def burst_plug():
    boot(4)
    scenario.null_blk_load(submit_queues=1, irqmode=2, no_sched=1, hw_queue_depth=64)
    return senders(traced("nullb0", scenario.io, "write", 0, 3 << 20, cpu=1)) == {"[dio]": 16, "[kblockd]": 11}


@claim("schedulers-and-plugs", "So in the last line page 2 comes too late to join pages 0 and 1.")
def too_late():
    found = []
    for queues in (1, 4):
        boot(4)
        scenario.null_blk_load(submit_queues=queues, irqmode=2, no_sched=1)
        wanted = [{"op": "read", "offset": page << 12, "length": 4096} for page in (0, 1, 20, 2)]
        found.append(traced("nullb0", scenario.aio, wanted, cpu=1).actions.count("M"))
    return found == [2, 1]


# ---------------------------------------------------------------- device mapper


def disks(count=1, **params):
    """Boot with so many null_blk disks of 64 MiB that can be mapped."""
    kernel = boot(2)
    scenario.null_blk_load(nr_devices=0)
    for number in range(count):
        scenario.null_blk_create("ab"[number], size=64, memory_backed=1, **params)
    scenario.dm_load(dm_mq_queue_depth=64)
    return kernel


def loaded(words, table):
    return dmsetup.run((*words, "--table", table))


@claim("mapped-device", "A read of it returns nothing, and no error")
def read_without_table():
    disks()
    dmsetup.create("e")
    return len(scenario.io("dm-0", "read", 0, 4096)) == 0


@claim("mapped-device", "(A write gets `ENOSPC`.")
def write_without_table():
    disks()
    dmsetup.create("e")
    return errno_of(scenario.io, "dm-0", "write", 0, 4096) == "ENOSPC"


@claim("mapped-device", "A name that has no end is cut at 127 characters.")
def unended_name():
    kernel = boot(1)
    scenario.dm_load()
    param = dm_ioctl_h.dm_ioctl()
    param.name, param.uuid, param.flags = "n" * 128, "", 0
    result = kernel.task("x", dm_ioctl.validate_params, dm_ioctl_h.DM_DEV_CREATE_CMD, param)
    return result == 0 and len(param.name) == 127


@claim("mapped-device", "`check_version` looks at the version in it first")
def version_of_the_ioctl():
    boot(1)
    scenario.dm_load()
    order = [event.function for event in record(dmsetup.create, "x").of(Call)]
    return order.index("check_version") < order.index("copy_params")


@claim("mapped-device", "`dmsetup create lin0 --notable` does two ioctls.")
def two_ioctls():
    boot(1)
    scenario.dm_load()
    return calls(record(dmsetup.run, ("create", "lin0", "--notable")))["dm_ctl_ioctl"] == 2 and \
        len(json.loads(recorded_calls("dm-create"))["contexts"][0]["calls"]) == 2


@claim("mapped-device", "The lowest free number is taken, so `d` gets what `b` had.")
def lowest_number():
    boot(1)
    scenario.dm_load()
    for name in "abc":
        dmsetup.create(name)
    dmsetup.remove("b")
    return dmsetup.create("d") == "dm-1"


@claim("mapped-device", "Either the kernel can do without, or the device does not exist, and nothing of it is left but "
       "for one case")
def without_memory():
    left: list[str] = []
    for nth in range(1, 100):
        kernel = boot(1)
        scenario.dm_load()
        before, failed = set(kernel.memory.live), kernel.memory.failed
        kernel.memory.fail_nth(nth)
        created = dmsetup.run(("create", "lin0", "--notable")).exit == 0
        if kernel.memory.failed == failed:
            return nth > 20 and left == ["disk_part_tbl"]
        if not created:
            left += [each.kind for addr, each in kernel.memory.live.items() if addr not in before]
    return False


MULTIPATH = "0 2048 multipath {} 0 1 1 round-robin 0 {}"


def paths(features, *devices, repeat=1):
    return MULTIPATH.format(features, " ".join((f"{len(devices)} 1", *(f"{each} {repeat}" for each in devices))))


@claim("mapped-queue", "One hardware queue and 2048 tags, whatever the disks below have.")
def queue_of_multipath():
    boot(4)
    scenario.null_blk_load(submit_queues=4)
    scenario.dm_load()
    tag_set = scenario.disk(dmsetup.create("mp", paths(0, "/dev/nullb0"))).queue.tag_set
    return (tag_set.nr_hw_queues, tag_set.queue_depth) == (1, 2048)


@claim("mapped-queue", "For a logical volume the three assignments never happen.")
def queue_of_linear():
    disks()
    q = scenario.disk(dmsetup.create("lin", "0 2048 linear /dev/nullb0 0")).queue
    return not q.tag_set and q.make_request_fn is dm.dm_make_request


@claim("mapped-queue", "But one path that takes requests is enough for this check")
def one_path_is_enough():
    disks(2)
    dmsetup.create("lin", "0 2048 linear /dev/nullb0 0")
    return loaded(("create", "alone"), paths(0, "/dev/mapper/lin")).exit == 1 and \
        loaded(("create", "mp"), paths(0, "/dev/mapper/lin", "/dev/nullb1")).exit == 0


@claim("mapped-queue", "(The model ends with a Python `TypeError` at the same place.)")
def wrong_path():
    disks(2)
    dmsetup.create("lin", "0 2048 linear /dev/nullb0 0")
    name = dmsetup.create("mp", paths(0, "/dev/mapper/lin", "/dev/nullb1"))

    def read_by_each_path():
        for _ in range(2):
            scenario.io(name, "read", 0, 4096)

    with pytest.raises(TypeError):
        read_by_each_path()
    return True


@claim("tables", "Then it is thrown away, and the device stays *suspended* with its old one until it is resumed "
       "once more.")
def refused_at_the_swap():
    boot(1)
    scenario.null_blk_load(submit_queues=1, hw_queue_depth=4)
    scenario.dm_load()
    disk = dmsetup.create("vol", "0 2048 linear /dev/nullb0 0")
    size = scenario.disk("nullb0").part0.nr_sects
    dmsetup.load("vol", f"0 4096 linear /dev/nullb0 {size - 2048}")
    refused = dmsetup.run(("resume", "vol")).exit == 1
    suspended = "SUSPENDED" in dmsetup.dmsetup("info", "vol")
    dmsetup.resume("vol")
    return refused and suspended and len(scenario.io(disk, "read", 0, 4096)) == 4096 and \
        dmsetup.table("vol").split()[:2] == ["0", "2048"]


@claim("tables", "If no target has said which type the table is, `dm_table_determine_type` looks at what each of them "
       "can do.")
def type_of_a_table():
    disks()
    linear = calls(record(dmsetup.create, "lin", "0 2048 linear /dev/nullb0 0\n2048 2048 zero"))
    multi = calls(record(dmsetup.create, "mp", paths(0, "/dev/nullb0")))
    return linear["dm_table_determine_type"] == multi["dm_table_determine_type"] == 1 and \
        multi["dm_table_set_type"] == 1 and not linear["dm_table_set_type"]


@claim("tables", "Only a bio that reads ahead does not wait. It fails at once")
def read_ahead():
    kernel = disks()
    name = dmsetup.create("l", "0 2048 linear /dev/nullb0 0")
    dmsetup.run(("suspend", "l"))
    waits, ends = (submitted(kernel, name, REQ_OP_READ | flags) for flags in (0, REQ_RAHEAD))
    before = list(waits)
    dmsetup.resume("l")
    return before == [] and ends == [blk_core.errno_to_blk_status(-5)] and waits == [0]


@cache
def refused_first_table():
    """What is left of a device whose first table was refused, and then of a second table of the same type."""
    disks()
    dmsetup.create("v")
    md = scenario.disk("dm-0").private_data
    first = loaded(("load", "v"), "0 2048 linear /dev/nullb0 99999999").exit
    type_left = md.type
    other = loaded(("load", "v"), paths(0, "/dev/nullb0")).exit
    same = loaded(("load", "v"), "0 2048 linear /dev/nullb0 0").exit or dmsetup.run(("resume", "v")).exit
    return first, type_left, other, same, bool(blk_queue_registered(md.queue))


@claim("tables", "the table is dropped and the type stays. From then on a table of the other type is refused.")
def type_stays():
    first, type_left, other, _, _ = refused_first_table()
    return first == 1 and type_left != 0 and other == 1


@claim("tables", "so that the device never gets its `queue` directory in sysfs")
def no_queue_directory():
    return refused_first_table()[3:] == (0, False)


@claim("tables", "(A later table that reaches past the end of a disk is found only when it is to become live.")
def later_table():
    disks()
    dmsetup.create("v", "0 2048 linear /dev/nullb0 0")
    later = loaded(("load", "v"), "0 2048 linear /dev/nullb0 99999999")
    return later.exit == 0 and dmsetup.run(("resume", "v")).exit == 1


@claim("tables", "Even chunks are on the first disk, and chunk 6 is the fourth of them: three chunks of 16 sectors "
       "lie before it.")
def sector_of_a_stripe():
    boot(1)
    probe()
    probe()
    scenario.dm_load()
    name = dmsetup.create("s", "0 4096 striped 2 16 /dev/nvme0n1 1000 /dev/nvme1n1 2000")
    command = record(scenario.io, name, "read", 96 * 512, 4096).of(Command)[0]
    return command.device.serial == "0001" and command.command.slba == 1000 + 3 * 16


def clones(function, *args):
    return calls(record(function, *args))["alloc_tio"]


@claim("bio-meets-table", "*linear* one, *striped* one for each disk, *zero* and *error* none")
def clones_of_a_flush():
    boot(2)
    for _ in range(2):
        probe()
    scenario.dm_load()
    striped = "0 2048 striped 2 128 /dev/nvme0n1 0 /dev/nvme1n1 0"
    tables = ("0 2048 linear /dev/nvme0n1 0", striped, "0 2048 zero", "0 2048 error",
              "0 2048 linear /dev/nvme0n1 0\n2048 2048 zero")
    counts = []
    for number, table in enumerate(tables):
        disk = scenario.disk(dmsetup.create(f"f{number}", table))
        counts.append(sum(target.num_flush_bios for target in disk.private_data.map.targets
                          if target and target.type))
    return counts == [1, 2, 0, 0, 1] and clones(scenario.flush, "dm-4") == 1 and clones(scenario.flush, "dm-1") == 2


@claim("bio-meets-table", "A *discard* is cut only where a target ends, not at each chunk")
def pieces_of_a_discard():
    disks(2, discard=1)
    name = dmsetup.create("s", "0 4096 striped 2 128 /dev/nullb0 0 /dev/nullb1 0")
    return clones(scenario.io, name, "read", 0, 512 << 10) == 8 and clones(scenario.discard, name, 0, 512 << 10) == 2


@claim("bio-meets-table", "One that cannot keeps discards from the whole device")
def no_discard():
    disks(1, discard=1)
    for name, table in (("one", "0 2048 linear /dev/nullb0 0"), ("two", "0 2048 linear /dev/nullb0 0\n2048 2048 zero")):
        dmsetup.create(name, table)
    return errno_of(scenario.discard, "dm-0", 0, 4096) is None and \
        errno_of(scenario.discard, "dm-1", 0, 4096) == "EOPNOTSUPP"


@claim("bio-meets-table", "And one that begins at 2056?")
def pieces_of_a_read():
    disks(2)
    name = dmsetup.create("p", "0 2048 linear /dev/nullb0 0\n2048 4096 striped 2 128 /dev/nullb0 4096 /dev/nullb1 0")
    return [clones(scenario.io, name, "read", first * 512, 1024 * 512) for first in (2048, 2056)] == [8, 9]


# ---------------------------------------------------------------- multipath and LVM


@claim("multipath", "The selector is asked for every request")
def asked_each_time():
    disks(2)
    name = dmsetup.create("m", paths(0, "/dev/nullb0", "/dev/nullb1"))
    with record() as recording:
        for _ in range(4):
            scenario.io(name, "read", 0, 4096)
    return calls(recording)["rr_select_path"] == 4


@claim("multipath", "if the table asks for more, the kernel says in its log that it uses 1")
def repeat_count():
    kernel = disks(2)
    dmsetup.create("m", paths(0, "/dev/nullb0", "/dev/nullb1", repeat=1000))
    return any("repeat_count > 1 is deprecated, using 1 instead" in line for line in kernel.log) and \
        "1000" not in dmsetup.table("m")


def suspended_without_path(noflush):
    """Read from a device that has no path and queues, and suspend it meanwhile; return what came of each by then."""
    kernel = disks()
    name = dmsetup.create("mp", paths("1 queue_if_no_path", "/dev/nullb0"))
    below, md = scenario.disk("nullb0"), scenario.disk(name).private_data
    came: dict[str, Any] = {}
    dmsetup.message("mp", 0, f"fail_path {below.major}:{below.first_minor}")

    def read():
        came["read"] = None
        came["read"] = scenario._aio(name, [scenario._asked(name, "read", 0, 4096)])

    def suspend():
        came["suspend"] = dm.dm_suspend(md, dm.DM_SUSPEND_NOFLUSH_FLAG if noflush else dm.DM_SUSPEND_LOCKFS_FLAG)

    try:
        kernel.tasks([("reader", 0, read), ("suspend", 1, suspend)])
        kernel.loop.advance(5000 * MILLISECOND)
    except Exception as hung:
        came["hung"] = type(hung).__name__
    return came


@claim("multipath", "so what waits fails, and the suspend does not hang")
def flushing_suspend():
    came = suspended_without_path(noflush=False)
    return came["suspend"] == 0 and came["read"] == [-5]


@claim("multipath", "With `--noflush` nothing fails: what finds no path is put back, and its readers sleep on")
def suspend_without_flush():
    came = suspended_without_path(noflush=True)
    return came["suspend"] == 0 and came["read"] is None


@claim("multipath", "Without features, the I/O fails at once.")
def no_path():
    kernel = disks()
    name = dmsetup.create("mp", paths(0, "/dev/nullb0"))
    below, now = scenario.disk("nullb0"), kernel.now
    dmsetup.message("mp", 0, f"fail_path {below.major}:{below.first_minor}")
    return errno_of(scenario.io, name, "read", 0, 4096) == "EIO" and kernel.now - now < MILLISECOND


@claim("multipath", "An error of the medium does not count: it would be the same on every path.")
def medium_error():
    boot(2)
    controller = Controller()
    probe(controller=controller)
    probe()
    scenario.dm_load(dm_mq_queue_depth=64)
    name = dmsetup.create("mp", paths(0, "/dev/nvme0n1", "/dev/nvme1n1"))
    controller.faults.append(Fault(FAIL, status=0x281 | 0x4000, nth=0, opcode=2))
    outcomes = [errno_of(scenario.io, name, "read", 0, 4096) for _ in range(2)]
    return sorted(map(str, outcomes)) == ["ENODATA", "None"] and " F " not in dmsetup.status("mp")


def group():
    boot(2)
    for _ in range(2):
        scenario.nvme_probe()
    scenario.dm_load()
    lvm.run(["vgcreate", "vg0", "/dev/nvme0n1", "/dev/nvme1n1"])


@claim("lvm-is-tables", "10 MiB are two and a half extents; they become three.")
def whole_extents():
    group()
    done = lvm.run(["lvcreate", "-L", "10m", "-n", "data", "vg0"])
    return "0 24576 linear 259:0 2048" in str(done.ioctls)


@claim("lvm-is-tables", "Making a volume is create, load, resume. Changing one is load, suspend, resume.")
def order_of_ioctls():
    group()
    made = [what for what, *_ in lvm.run(["lvcreate", "-L", "10m", "-n", "data", "vg0"]).ioctls]
    changed = [what for what, *_ in lvm.run(["lvextend", "-L", "+8m", "vg0/data"]).ioctls]
    return made == ["create", "load", "resume"] and changed == ["load", "suspend", "resume"]


@claim("lvm-is-tables", "16 pieces, and only 4 requests")
def pieces_of_a_write():
    group()
    lvm.run(["lvcreate", "--type", "striped", "-i", "2", "-l", "4", "-n", "fast", "vg0"])
    made = {}
    for op in ("read", "write"):
        recording = record(scenario.io, "dm-0", op, 0, 1 << 20, cpu=1)
        made[op] = calls(recording)["alloc_tio"], len(recording.of(Command))
    return made == {"read": (16, 16), "write": (16, 4)}


@claim("lvm-is-tables", "an eighth chunk would be segments 113 to 128")
def seven_chunks():
    boot(1)
    probe()
    most, pages = scenario.disk("nvme0n1").queue.limits.max_segments, 65536 // 4096
    return 7 * pages < most < 8 * pages and 7 * pages + 1 == 113


@claim("lvm-is-tables", "two requests: neighbours in the volume, 3 MiB apart on the disk")
def apart_on_the_disk():
    label = lv_to_doorbell(volume="around", first=2040, kib=16)
    ends, begins = (int(number) for number in re.search(r"to 4095 → nvme0n1 from (\d+).*nvme0n1 from (\d+)",
                                                        label).groups())
    return (begins - (ends + 16)) * 512 == 3 << 20 and "2 requests on 1 disk" in label


# ---------------------------------------------------------------- where 5.4 itself errs


def defects():
    return [row.split("\t") for row in (ROOT / "blkmodel/reference/defects.tsv").read_text().splitlines()[1:]]


@claim("defects", "Where the C forgets memory, the model forgets it as well, and counts it.")
def forgets_as_well():
    leaks = r"never freed|nobody frees|but not (its|those)|but neither|give the disk's number back"
    said = [model for _, _, kernel, _, model, _ in defects() if re.search(leaks, kernel)]
    return len(said) == 6 and set(said) == {"does the same"}


# ---------------------------------------------------------------- the recordings' own words


@claim("which-queue", "Of a recording from another one it says only which kernel it is, and does not compare.")
def newer_kernel(tmp_path):
    document = json.loads((RECORDINGS / "maps" / "c1.json").read_text())
    document["kernel"]["release"] = "7.2.1"
    (tmp_path / "newer.json").write_text(json.dumps(document))
    outcome = check_file(tmp_path / "newer.json")
    return outcome.result == SKIPPED and "7.2.1" in outcome.summary


# ---------------------------------------------------------------- kernels after 5.4


def shared_out(release, on, driver="null_blk", queues=4, **more):
    """The CPUs of each queue of the default type, as a kernel of that release has them."""
    with running(release), booted(on):
        q = queue_of(driver, queues, depth=4, **more)
        return [sorted(hctx.cpumask) for hctx in hctxs(q) if hctx.type == 0]


@claim("since-which-queue", "Between 5.4 and 6.19 eight releases changed which CPU uses which queue")
def eight_releases():
    return len({change.since for change in CHANGES}) == 8 and (FIRST, LAST) == ("5.4", "6.19")


@claim("since-which-queue", "each queue has a vector, and four vectors on these two nodes were always spread so")
def always_spread_so():
    on = machine(8, nodes=2, threads=2)
    return len({str(shared_out(release, on, "nvme")) for release in RELEASES.values()}) == 1


@claim("since-which-queue", "Within one, every machine gets the same map from each of them.")
def ranges_are_those_of_the_changes():
    starts = {version(change.since)[:2] for change in CHANGES if "at most the possible" not in change.what}
    return sorted(version(release)[:2] for release in RELEASES.values()) == sorted({(5, 4), *starts})


@claim("since-which-queue", "the same groups, under other numbers")
def other_numbers():
    on = machine(12, nodes=3, threads=2)
    before, now = (shared_out(release, on, "nvme") for release in ("6.8", "6.11"))
    return before != now and sorted(before) == sorted(now)


@claim("since-which-queue", "Two nodes were swapped before, and are now. Three were reordered in 6.11, four and eight "
       "in 6.9, and five in both.")
def reordered():
    def changed(nodes):
        found = [shared_out(release, machine(2 * nodes, nodes=nodes), "nvme", nodes + 1)
                 for release in ("6.8", "6.9", "6.11")]
        return [a != b for a, b in pairwise(found)]
    return [changed(nodes) for nodes in (2, 3, 4, 8, 5)] == [
        [False, False], [False, True], [True, False], [True, False], [True, True]]


@claim("since-which-queue", "either could interrupt it, and the map of queues took the one that was written last")
def written_last():
    return shared_out("5.17", machine(6, nodes=2, present=5), "nvme", 2) == [[0, 1, 2], [3, 4, 5]]


@claim("since-which-queue", "with more the module is not loaded. 5.4 loads it, and trims.")
def too_many_queues():
    for release, params in (("5.4", True), ("5.8", False)):
        try:
            observe(machine(2), "nvme", {"write_queues": 3}, {"max_ioqpairs": 4}, release)
            loaded = True
        except KernelError:
            loaded = False
        if loaded != params:
            return False
    return True


@claim("since-which-queue", "In 5.4 it shares the vector of the admin queue.")
def shares_the_admins_vector():
    def vectors(release):
        with running(release), booted(4):
            scenario.nvme_probe(max_ioqpairs=3, poll_queues=3)
            return len(irq_desc_tree().descs)
    return (vectors("5.4"), vectors("5.10")) == (1, 2)


@claim("since-which-queue", "The check says so, and does not compare such a recording.")
def isolated_of_a_later_kernel(tmp_path):
    document = json.loads((RECORDINGS / "maps" / "c2.json").read_text())
    document["kernel"]["release"], document["machine"]["isolated"] = "6.12.1", "1"
    (tmp_path / "isolated.json").write_text(json.dumps(document))
    outcome = check_file(tmp_path / "isolated.json")
    return outcome.result == SKIPPED and "isolated" in outcome.summary


def later(scene):
    """The names of the calls that 6.12 was recorded to make."""
    return [line.name for line in since.now(scene) if line.depth]


def alike(scene):
    """How many of 5.4's calls are as they were, and of how many."""
    rows = [row for row in since.beside(scene) if row.then and row.then.depth]
    return sum(row.kind == "" for row in rows), len(rows)


@claim("since-down-and-back", "A read of 4 KiB makes 74 calls that a tracer sees in Linux 5.4, and 68 in 6.12. Only 29 "
       "of them are the same calls, under the same names.")
def calls_of_a_read():
    return (*alike("read-4k"), len(later("read-4k"))) == (29, 74, 68)


@claim("since-down-and-back", "It is the one name that no kernel after 5.8 has.")
def the_name_of_the_notes():
    return since.renamed("blk_mq_make_request")[0].since == "5.9" and "blk_mq_make_request" not in LISTED_LATER


@claim("since-down-and-back", "and the write is issued by another process")
def who_calls_the_driver():
    def tasks(op):
        boot(2)
        scenario.nvme_probe()
        recording = record(scenario.io, "nvme0n1", op, 0, 4096)
        return {recording.contexts[event.context].name for event in recording.of(Call)
                if event.function == "nvme_queue_rq"}
    return (tasks("read"), tasks("write")) == ({"dio"}, {"kblockd"})


@claim("since-down-and-back", "The plug of 5.4 is searched for a neighbour from end to end.")
def any_neighbour_in_the_plug():
    boot(1)
    scenario.nvme_probe()
    wanted = [{"op": "read", "offset": offset, "length": 4096} for offset in (0, 1 << 20, 2 << 20, 4096)]
    return len(record(scenario.aio, "nvme0n1", wanted).of(Command)) == 3


@claim("since-down-and-back", "No. 5.4 is told with each request whether it is the last of its plug, and rings only "
       "then.")
def one_doorbell_for_a_plug():
    boot(1)
    scenario.nvme_probe()
    wanted = [{"op": "read", "offset": n << 16, "length": 4096} for n in range(8)]
    return rings(record(scenario.aio, "nvme0n1", wanted)) == 1


@claim("since-down-and-back", "The driver of 5.4 takes at most 127 pieces of memory in a request")
def pieces_of_a_request():
    return pci.NVME_MAX_SEGS == 127


@claim("since-down-and-back", "are *not seen* in this read, and all of them are in 6.12.")
def the_old_way_is_there():
    old = {"nvme_pci_complete_rq", "blk_mq_end_request", "blk_mq_free_request"}
    unseen = {row.then.name for row in since.beside("read-4k") if row.kind == since.UNSEEN and row.then}
    return old <= unseen and old <= LISTED_LATER


@claim("since-down-and-back", "The file `io_poll` can be written in 5.4")
def io_poll_can_be_written():
    boot(2)
    scenario.nvme_probe(poll_queues=1)
    scenario.set_queue_file("nvme0n1", "io_poll", 0)
    return scenario.queue_file("nvme0n1", "io_poll") == "0"


@claim("since-down-and-back", "A process that reads with `preadv2` and `RWF_HIPRI` polls in 5.4")
def hipri_polls():
    boot(2)
    scenario.nvme_probe(poll_queues=1)
    polling = record(scenario.io, "nvme0n1", "read", 0, 4096, flags=("hipri",))
    return calls(polling)["blk_poll"] > 0 and not polling.of(Interrupt)


@claim("since-down-and-back", "`nvme_queue_rq` is there, and a plain read passes it by.")
def passed_by():
    there = {"nvme_queue_rq", "blk_mq_complete_request"}
    return there <= LISTED_LATER and there.isdisjoint(later("read-4k"))


@claim("since-down-and-back", "6.12 is the deeper by four")
def deeper_by_four():
    deep = [next(line.depth for line in lines if line.name == "nvme_dbbuf_update_and_check_event")
            for lines in (since.then("read-4k"), since.now("read-4k"))]
    return deep[1] - deep[0] == 4


@claim("since-down-and-back", "Of its function names fewer than half are left.")
def fewer_than_half():
    names = {line.name for line in since.then("read-4k") if line.depth}
    return 2 * len(names & set(later("read-4k"))) < len(names)


@claim("since-device-mapper", "`__split_and_process_bio` is in `dm.c` of Linux 5.4 and of 6.12, and it is not the same "
       "function.")
def one_name_two_functions():
    name = "__split_and_process_bio"
    callers = [next(line.above for line in lines if line.name == name)
               for lines in (since.then("dm-linear-read-4k"), since.now("dm-linear-read-4k"))]
    return callers == ["dm_process_bio", "dm_split_and_process_bio"] and \
        since.name_now("__split_and_process_non_flush") == name


@claim("since-device-mapper", "Of these four names 6.12 has none.")
def none_of_four():
    return LISTED_LATER.isdisjoint({"blk_alloc_queue_node", "blk_queue_make_request", "dm_make_request",
                                    "add_disk_no_queue_reg", "device_add_disk_no_queue_reg"})


@claim("since-device-mapper", "What stands around them is there: `dev_create`, `dm_create`, `alloc_dev`. So is all "
       "that they say of a device with requests: `dm_setup_md_queue`, `dm_mq_ops`, `dm_get_blk_mq_nr_hw_queues`.")
def what_stands_around_them():
    return {"dev_create", "dm_create", "alloc_dev", "dm_setup_md_queue", "dm_get_blk_mq_nr_hw_queues"} <= LISTED_LATER


@claim("since-device-mapper", "`dm-0` is in `/sys/block` before anybody has said what it maps to, and a read of it "
       "finds no byte.")
def a_disk_without_a_table():
    boot(1)
    scenario.dm_load()
    dmsetup.run(("create", "lin0", "--notable"))
    return scenario.disk("dm-0") is not None and scenario.io("dm-0", "read", 0, 4096) == b""


@claim("since-device-mapper", "Since 5.15 its disk comes with the first table.")
def no_disk_at_creation():
    adds = {"device_add_disk", "add_disk_final", "bdev_add", "register_disk"}
    return not adds & set(later("dm-create")) and "register_disk" in {line.name for line in since.then("dm-create")}


@claim("since-device-mapper", "from here on, down to `linear_map`, hardly a name is left")
def hardly_a_name():
    rows = [row for row in since.beside("dm-linear-read-4k") if row.then]
    names = [row.then.name for row in rows]
    between = rows[names.index("dm_make_request"):names.index("linear_map")]
    return 3 * sum(row.kind == "" for row in between) < len(between)


@claim("since-device-mapper", "Eleven of the rows are of 5.18.")
def rows_of_5_18():
    notebook = json.loads((ROOT / "book" / "since-device-mapper.ipynb").read_text())
    cell = next(cell for cell in notebook["cells"] if cell["id"] == "changes")
    return sum(line.startswith("5.18 ") for line in cell["outputs"][0]["text"]) == 11


@claim("since-device-mapper", "Why are two thirds of multipath's calls as they were, and not half of linear's?")
def two_thirds_and_not_half():
    (linear, of_linear), (multipath, of_multipath) = alike("dm-linear-read-4k"), alike("dm-multipath-read-4k")
    return 2 * linear < of_linear and 3 * multipath > 2 * of_multipath


@claim("since-device-mapper", "*The worker is gone.*")
def the_worker_is_gone():
    return [sum((line.depth, line.name) == (0, "task") for line in of("dm-multipath-read-4k"))
            for of in (since.then, since.now)] == [2, 1]


@claim("since-device-mapper", "They do for eight releases, 5.10 to 5.17: the first was renamed long before the other "
       "two.")
def eight_releases_of_one_stack():
    gone = {change.then: change.since for change in since.changes()}
    return (gone["dm_make_request"], gone["dm_process_bio"], gone["__split_and_process_non_flush"]) == (
        "5.9", "5.10", "5.18") and gone["__split_and_process_bio"] == "5.18"


@claim("since-device-mapper", "probe `__map_bio`, which is called once for each clone in both")
def map_bio_in_both():
    return [[line.name for line in of("dm-linear-read-4k")].count("__map_bio")
            for of in (since.then, since.now)] == [1, 1]


# ---------------------------------------------------------------- what people ask


def managed():
    """Name of each interrupt → whether its affinity is fixed."""
    return {"".join(desc.action.name): desc.irq_data._managed for desc in irq_desc_tree().descs.values()}


@claim("managed-interrupts", "pair* to 0 | the admin queue's interrupt moves; it is not managed")
def admin_moves():
    seen = interrupts_seen(8, 3, "4-7", False, None, 0)
    return seen.lines[0].may == "0" and not seen.lines[0].managed and all(line.managed for line in seen.lines[1:])


@claim("managed-interrupts", "that, and *a kernel from 5.6 on* | the interrupt of pair 2 goes to CPU 3, the one of its "
       "CPUs that is not isolated")
def spared():
    line = interrupts_seen(8, 3, "managed_irq,4-7", True, None, 1).lines[2]
    return (line.may, line.now, line.counts[3]) == ("3-5", 3, 1)


@claim("managed-interrupts", "That is done before it is requested.")
def set_aside_before():
    _, asked = "".join(event.function + " " for event in probing().of(Call)).rsplit("irq_create_affinity_masks", 1)
    return asked.count("queue_request_irq") == 1 + 4


@claim("managed-interrupts", "`nvme_setup_irqs` then has one vector for everything, it is the admin queue's, and so it "
       "is not managed and can be moved.")
def one_vector():
    boot(4)
    probe(controller=Controller(vectors=1))
    (irq, _), = irq_desc_tree().descs.items()
    scenario.set_irq_affinity(irq, "2")
    return list(managed().values()) == [False] and len(scenario.io("nvme0n1", "read", 0, 4096)) == 4096


@claim("managed-interrupts", "Had all of them moved to CPU 0, two such sets of disks would have used up its vectors.")
def vectors_of_a_cpu():
    boot(1)
    return 124 < interrupts().cpus[0].free() < 2 * 124


@claim("managed-interrupts", "the middle one of three: its interrupt goes to the highest of its CPUs.")
def middle_queue():
    return interrupts_seen(8, 3, "4-7", False, None, None).lines[2][4:] == ("3-5", 5)


@claim("flush-fua-discard", "`generic_make_request_checks` takes both flags off the bio where the queue has no cache "
       "(`QUEUE_FLAG_WC`). A bio without sectors has ended then.")
def filtered_early():
    boot(4)
    probe(write_cache=0)
    called = calls(record(scenario.flush, "nvme0n1"))
    return called["generic_make_request_checks"] == 1 and not called["blk_mq_get_request"]


@claim("flush-fua-discard", "It goes past plug and scheduler")
def past_the_scheduler():
    boot(1)
    probe()
    flags: tuple[tuple[str, ...], ...] = (), ("dsync",)
    plain, durable = (calls(record(scenario.io, "nvme0n1", "write", 0, 4096, flags=each)) for each in flags)
    return scenario.scheduler("nvme0n1") == "mq-deadline" and plain["dd_insert_request"] == 1 and \
        not durable["dd_insert_request"] and durable["blk_insert_flush"] == 2


@claim("flush-fua-discard", "Without a scheduler it borrows the tag of the first request that waits for it.")
def borrowed_tag():
    boot(4)
    probe()
    done = record(scenario.flush, "nvme0n1")
    return [event.command.command_id for event in done.of(Command)] == values(done, "blk_mq_get_tag") and \
        calls(done)["blk_mq_get_tag"] == 1


@claim("flush-fua-discard", "An NVMe command can always carry the bit.")
def write_cache_and_fua():
    found = []
    for cached in (0, 1):
        boot(4)
        probe(write_cache=cached)
        found.append([scenario.queue_file("nvme0n1", file) for file in ("write_cache", "fua")])
    return found == [["write through", "0"], ["write back", "1"]]


@claim("flush-fua-discard", "only when all of it has ended does `dec_pending` give the data to a worker (`kdmflush`), "
       "which submits them.")
def the_data_of_a_commit():
    kernel = boot(2)
    probe()
    scenario.dm_load()
    volume = dmsetup.create("lin", "0 2048 linear /dev/nvme0n1 0")
    with record() as committing:
        commit = IO(volume, REQ_OP_WRITE | REQ_PREFLUSH, 0, data=bytes(512))
        kernel.loop.advance(1_000_000_000)
    sent = [event.command.opcode for event in committing.of(Command)]
    taken = [committing.contexts[event.context].name for event in committing.of(Call)
             if event.function == "dm_process_bio"]
    return (commit.ends, commit.status, sent, taken) == (
        1, 0, [nvme.nvme_cmd_flush, nvme.nvme_cmd_write], ["io", "kdmflush"])


@claim("flush-fua-discard", "The recorded kernel did the same.")
def recorded_dsync():
    recorded = recorded_calls("nvme-write-dsync")
    return recorded.count('"blk_insert_flush"') == 2 and '"blkdev_issue_flush"' in recorded and \
        check_file(RECORDINGS / "calls" / "nvme-write-dsync.json").result == "passed"


@claim("flush-fua-discard", "all who want another wait together for the next. That one serves them all.")
def one_flush_for_all():
    found = []
    for processes in (2, 5, 8):
        boot(8)
        probe(controller=Controller(1, service=Service(least=100_000)))
        steps: list[dict[str, Any]] = [{"step": ["flush", {"disk": "nvme0n1", "cpu": cpu}]} for cpu in range(processes)]
        found.append(len(record(scenario.together, steps).of(Command)))
    return found == [2, 2, 2]


@claim("flush-fua-discard", "It drops flushes and FUA, `fsync` returns at once with success, and the disk caches as "
       "before.")
def write_through_keeps_the_cache():
    boot(4)
    controller = Controller()
    probe(controller=controller)
    scenario.set_queue_file("nvme0n1", "write_cache", "write through")
    scenario.io("nvme0n1", "write", 0, 4096, data=b"x" * 4096, flags=("dsync",))
    sent = record(scenario.flush, "nvme0n1").of(Command)
    return not sent and bool(controller.namespaces[1].cached)


@claim("flush-fua-discard", "To a disk `fdatasync` is the same as `fsync`: `blkdev_fsync` does not look at the "
       "difference.")
def fdatasync_is_fsync():
    boot(4)
    probe()
    both = [record(scenario.flush, "nvme0n1", datasync=only) for only in (False, True)]
    return [calls(each)["blkdev_issue_flush"] for each in both] == [1, 1] == [len(each.of(Command)) for each in both]


@claim("polling", "`generic_make_request_checks` takes it off again where the queue has no `QUEUE_FLAG_POLL`.")
def wish_taken_off():
    boot(4)
    probe(poll_queues=1)
    scenario.set_queue_file("nvme0n1", "io_poll", 0)
    done = record(scenario.io, "nvme0n1", "read", 0, 4096, cpu=1, flags=("hipri",))
    return {event.queue for event in done.of(Command)} == {2} and not calls(done)["nvme_poll"]


@claim("polling", "A polled read is not plugged.")
def polled_reads_are_not_plugged():
    boot(4)
    probe(poll_queues=1)
    write = {flags: calls(record(scenario.io, "nvme0n1", "read", 0, 4096, flags=flags)) for flags in ((), ("hipri",))}
    return not write["hipri",]["blk_add_rq_to_plug"] and write["hipri",]["blk_mq_try_issue_directly"] == 1


@claim("polling", "The data were there after 50 µs. But the queue has no interrupt, and so nobody to end the sleep.")
def nobody_ends_the_sleep():
    kernel = boot(4)
    probe(poll_queues=1, controller=Controller(service=Service(least=50_000)))
    scenario.set_queue_file("nvme0n1", "io_poll_delay", 300)
    begun = kernel.now
    done = record(scenario.io, "nvme0n1", "read", 0, 4096, flags=("hipri",))
    ended = next(event.time for event in done.of(Completion))
    return (ended - begun, kernel.now - begun) == (50_000, 300_000) and not done.of(Interrupt)


@claim("polling", "In `io_poll`, *invoked* far above *success* is time that was spent looking in vain.")
def looks_and_finds():
    boot(4)
    probe(poll_queues=1, controller=Controller(service=Service(least=50_000)))
    looked = values(record(scenario.io, "nvme0n1", "read", 0, 4096, flags=("hipri",)), "nvme_poll")
    return len(looked) > 1 and [bool(found) for found in looked] == [False] * (len(looked) - 1) + [True]


@claim("polling", "A real 5.4 was recorded in that state: `3/0/1 default/read/poll queues`, and three hardware queues "
       "in `/sys`.")
def poll_queue_of_a_reset():
    kernel = boot(4)
    probe()
    scenario.module_parameter("nvme", "poll_queues", 1)
    scenario.set_nvme_file("nvme0", "reset_controller", 1)
    kernel.loop.advance(1_000_000_000)
    q = scenario.disk("nvme0n1").queue
    return kernel.log[-1].endswith("3/0/1 default/read/poll queues") and [hctx.nr_ctx for hctx in q.queue_hw_ctx] == [
        2, 1, 1, 0] and q.tag_set.nr_maps == 2


@claim("page-cache-and-partitions", "**A process asks for one page of a disk, and the disk reads four.**")
def four_pages_for_one():
    boot(4)
    probe()
    done = record(scenario.buffered, "nvme0n1", "read", 0, 4096).of(Command)
    return [event.command.length + 1 for event in done] == [32] and \
        check_file(RECORDINGS / "calls" / "buffered-read-4k.json").result == "passed"


@claim("page-cache-and-partitions", "And who reads 128 KiB from the start causes two requests of 128 KiB each.")
def two_windows():
    boot(4)
    probe()
    done = record(scenario.buffered, "nvme0n1", "read", 0, 128 << 10).of(Command)
    return [event.command.length + 1 for event in done] == [256, 256]


@claim("page-cache-and-partitions", "or more pages right before it are in the cache than it asks for "
       "(`try_context_readahead`)")
def ahead_of_what_is_cached():
    kernel, ahead = boot(1), []
    probe()

    def read(page, pages):
        filp = kernel.task("reader", filp_open, "nvme0n1", O_RDONLY)
        buffer, into = map_user_buffer([pages]), iov_iter()
        iov_iter_init(into, READ, buffer, 0, pages * 4096)
        done = record(kernel.task, "reader", new_sync_read, filp, into, page * 4096, 0)
        unmap_user_buffer(buffer)
        return [(event.command.length + 1) // 8 for event in done.of(Command)]

    for place, cached in ((256, 1), (512, 2)):  # nobody closes the disk, so the pages stay
        read(place, cached)
        ahead.append(read(place + cached, 1))
    return ahead == [[1], [3]]


@claim("page-cache-and-partitions", "A write to one that is read-only gets a warning in 5.4, once, and goes on "
       "(`bio_check_ro`); a process that writes was refused before, with `EPERM`.")
def warned_of_only():
    kernel = boot(1)
    probe(partitions="mbr")
    scenario.dm_load(dm_mq_queue_depth=16)
    volume = dmsetup.create("vol", "0 2048 linear /dev/nvme0n1p1 0")
    scenario.disk("nvme0n1").part_tbl.part[1].policy = 1
    refused = errno_of(scenario.io, "nvme0n1p1", "write", 0, 4096)
    for _ in range(2):
        scenario.io(volume, "write", 0, 4096)
    return refused == "EPERM" and sum("read-only block-device" in line for line in kernel.log) == 1


@claim("page-cache-and-partitions", "A buffered write copies into pages, marks them dirty, and returns.")
def written_at_the_close():
    boot(4)
    probe()
    done = record(scenario.buffered, "nvme0n1", "write", 0, 4096)
    rung = [each.path[0] for each in passings(done) if each.kind == "doorbell" and each.event.side == "sq"]
    return rung == ["blkdev_close"]


@claim("page-cache-and-partitions", "So a read of the *disk* counts for the partition, too")
def counted_by_sector():
    boot(4)
    probe(partitions="mbr")
    scenario.io("nvme0n1", "read", 2048 * 512, 4096)
    rows = [line.split() for line in scenario.cat("/proc/diskstats").splitlines()]
    return {row[2]: row[3] for row in rows} == {"nvme0n1": "2", "nvme0n1p1": "1", "nvme0n1p2": "0"}


@claim("page-cache-and-partitions", "The kernel's recordings say the same.")
def recorded_ends():
    seen = {name: json.loads(recorded_calls(f"partition-read-{name}"))["observed"]["results"][0]["return"]
            for name in ("at-end", "past-end")}
    return seen == {"at-end": 4096, "past-end": 0}


@claim("page-cache-and-partitions", "`drop_partitions` refuses as long as *any* partition is open")
def an_open_partition():
    boot(4)
    probe(partitions="mbr")
    scenario.dm_load(dm_mq_queue_depth=16)
    dmsetup.create("vol", "0 2048 linear /dev/nvme0n1p2 0")
    return errno_of(scenario.rescan_partitions, "nvme0n1") == "EBUSY"


@claim("limits", "at first twice the queue depth, and at most 256")
def requests_of_a_scheduler():
    found = []
    for depth in (4, 100, 128, 500):
        boot(1)
        scenario.null_blk_load(submit_queues=1, hw_queue_depth=depth)
        found.append(int(scenario.queue_file("nullb0", "nr_requests")))
    return found == [8, 200, 256, 256]


@claim("limits", "With a scheduler 2048 is the most.")
def most_requests():
    boot(1)
    scenario.null_blk_load(submit_queues=1)
    return [errno_of(scenario.set_queue_file, "nullb0", "nr_requests", nr) for nr in (2048, 2049)] == [None, "EINVAL"]


@claim("limits", "A process for which there is no tag **sleeps in the middle of its `io_submit`**.")
def sleeps_while_it_submits():
    boot(1)
    scenario.null_blk_load(submit_queues=1, hw_queue_depth=2, irqmode=2, no_sched=1)
    wanted = [{"op": "read", "offset": page << 13, "length": 4096} for page in range(8)]
    recording = record(scenario.aio, "nullb0", wanted)
    order = [event.function for event in recording.of(Call)]
    begun = [at for at, function in enumerate(order) if function == "blk_mq_get_request"]
    return order.index("blk_mq_end_request") < begun[-1] and calls(recording)["sbitmap_prepare_to_wait"] > 0


@claim("limits", "a direct read that is not aligned to it gets `EINVAL`")
def unaligned():
    boot(1)
    scenario.null_blk_load(bs=4096)
    return errno_of(scenario.io, "nullb0", "read", 512, 4096) == "EINVAL"


@claim("limits", "What is above `max_hw_sectors_kb`, or below a page, is refused.")
def refused_sizes():
    boot(1)
    probe()
    return [errno_of(scenario.set_queue_file, "nvme0n1", "max_sectors_kb", kib) for kib in (513, 512, 4, 3)] == [
        "EINVAL", None, None, "EINVAL"]


@claim("limits", "With 0 in it, 5.4 sends discards all the same, and does not even cut them:")
def no_end_of_discards():
    sent = {}
    for most in (4096, 0):
        boot(1)
        probe()
        scenario.set_queue_file("nvme0n1", "discard_max_bytes", most)
        sent[most] = calls(record(scenario.discard, "nvme0n1", 0, 16384))["nvme_setup_discard"], \
            int(scenario.queue_file("nvme0n1", "discard_max_bytes"))
    return sent == {4096: (4, 4096), 0: (1, 0)}


@claim("limits", "A bio that the volume lets through in one piece is cut again at the disk.")
def cut_below():
    boot(1)
    probe()
    scenario.dm_load()
    volume = dmsetup.create("vol", "0 2048 linear /dev/nvme0n1 0")
    scenario.set_queue_file("nvme0n1", "max_sectors_kb", 64)
    recording = record(scenario.io, volume, "read", 0, 128 << 10, page_runs=[32])
    return calls(recording)["alloc_tio"] == 1 and sum(event.queue > 0 for event in recording.of(Command)) == 2


def order_of(scheduler, depth, writes):
    return "".join("wr"[each.read] for each in contest(scheduler, depth, writes).served)


@claim("choosing-a-scheduler", "*none* keeps the order of submission: the reads end last.")
def order_of_submission():
    none = contest("none", 4, 24)
    return order_of("none", 4, 24) == "w" * 24 + "r" * 4 and none.longest(True) > none.longest(False)


@claim("choosing-a-scheduler", "All three lines say the same: 100 µs for everything.")
def nothing_waits():
    found = [contest(name, 64, 24) for name in ("none", "mq-deadline", "kyber")]
    return {each.longest(read) for each in found for read in (False, True)} == {100}


@claim("choosing-a-scheduler", "The first sixteen writes were sent off before there was any read.")
def sixteen_of_a_plug():
    return [order_of(name, 64, 24).index("r") for name in ("mq-deadline", "kyber")] == [16, 16]


@claim("choosing-a-scheduler", "where it takes 24 commands, that is all there is, and the reads end alike.")
def from_24_on():
    return [len({contest(name, depth, 20).longest(True) for name in ("none", "mq-deadline", "kyber")})
            for depth in (4, 24, 32)] == [3, 1, 1]


@claim("choosing-a-scheduler", "mq-deadline leaves less than a third of the way")
def way_of_the_head():
    none, sorted_ = contest("none", 1, 24).travel, contest("mq-deadline", 1, 24).travel
    return none / 4 < sorted_ < none / 3


@claim("choosing-a-scheduler", "for a read of its own, too, it is `kblockd` that takes it out")
def taken_out_by_a_worker():
    recording = one_read(1)
    return {recording.contexts[event.context].name for event in recording.of(Call)
            if event.function == "dd_dispatch_request"} == {"kblockd"}


@claim("not-here", "`generic_make_request_checks` comes before `blk_mq_make_request`.")
def checked_before_it_is_a_request():
    order = [event.function for event in one_read().of(Call)]
    return order.index("generic_make_request_checks") < order.index("blk_mq_make_request") < \
        order.index("blk_mq_get_request")


@claim("not-here", "A tag, a hardware queue and `nvme_setup_cmd`, which is in `core.c`.")
def what_is_of_core():
    return [definitions()[name][0].file.rpartition("/")[2] for name in ("nvme_setup_cmd", "nvme_queue_rq")] == [
        "core.c", "pci.c"]


# ---------------------------------------------------------------- quizzes


@claim("tag-sets", "One for each tag of each hardware queue, whether it will ever be used or not.")
def a_request_for_each_tag():
    boot(4)
    scenario.null_blk_load(submit_queues=2, hw_queue_depth=64)
    tags = [each for each in scenario.disk("nullb0").queue.tag_set.tags if each]
    return sum(rq is not None for each in tags for rq in each.static_rqs) == 128


@claim("tag-sets", "The set belongs to the device, a queue to each disk.")
def three_queues_and_a_set():
    boot(2)
    probe(controller=Controller(2, namespaces={nsid: Namespace(2048) for nsid in (1, 2, 3)}))
    queues = [scenario.disk(f"nvme0n{nsid}").queue for nsid in (1, 2, 3)]
    return [len({id(each) for each in of}) for of in (queues, [q.tag_set for q in queues])] == [3, 1]


@claim("which-queue", "CPU 2 begins again with the first queue, and CPU 3 takes that of its core.")
def dealt_out_to_two_cores():
    boot(machine(4, threads=2))
    scenario.null_blk_load(submit_queues=2)
    return [ctx.hctxs[0].queue_num for ctx in scenario.disk("nullb0").queue.queue_ctx] == [0, 1, 0, 0]


@claim("namespaces", "127 pages, and then the last one alone.")
def two_commands():
    boot(2)
    probe()
    reading = record(scenario.io, "nvme0n1", "read", 0, 512 << 10)
    return [event.command.length + 1 for event in reading.of(Command) if event.queue] == [127 * 8, 8]


@claim("a-bio-is-submitted", "The outermost one, and one that notes the rest.")
def two_on_the_stack():
    boot(2)
    probe()
    forest = record(scenario.io, "nvme0n1", "read", 0, 1 << 20).forest(["generic_make_request"])

    def deepest(node):
        return (node.function == "generic_make_request") + max(map(deepest, node.calls), default=0)
    return max(deepest(node) for nodes in forest.values() for node in nodes) == 2


@claim("mapped-queue", "The volume has no tag set, and no requests of its own.")
def one_tag():
    boot(2)
    probe()
    scenario.dm_load()
    name = dmsetup.create("l", "0 2048 linear /dev/nvme0n1 0")
    reading = record(scenario.io, name, "read", 0, 4096)
    return not scenario.disk(name).queue.tag_set and calls(reading)["blk_mq_get_tag"] == 1


@claim("tables", "The live table was not touched. Who loaded gets the error, and the log has the reason.")
def a_load_that_fails():
    kernel = disks()
    name = dmsetup.create("l", "0 2048 linear /dev/nullb0 0")
    before, said = dmsetup.run(("table", "l")).output, len(kernel.log)
    refused = dmsetup.run(("load", "l", "--table", "0 8 zero\n8 8 zero\n16 8 linear /dev/none 0"))
    return (refused.exit, dmsetup.run(("table", "l")).output) == (1, before) and len(kernel.log) > said and \
        len(scenario.io(name, "read", 0, 4096)) == 4096


@claim("limits", "It has 16 tags, and they were all in use.")
def no_more_at_once():
    some, many = (depths(4, 32, 1, 16, "mq-deadline", number) for number in (32, 256))
    return some.inflight == many.inflight == 16 and some.sched[0] < many.sched[0]


@claim("choosing-a-scheduler", "With more than one hardware queue there is none, whatever the disk is.")
def none_for_many():
    chosen = []
    for queues in (1, 4):
        boot(4)
        scenario.null_blk_load(submit_queues=queues)
        chosen.append(scenario.scheduler("nullb0"))
    return chosen == ["mq-deadline", "none"]


# ---------------------------------------------------------------- when it goes wrong


def answered(what, timeout=1000, before=0, takes=3000, aborts=False):
    """What a read gets to which something happens, after how many milliseconds; and the lines of the log."""
    found = incident(what, timeout, before, takes, aborts)
    return found.result, found.took, [moment.said for moment in found.moments if moment.who == "the log"]


@claim("when-it-goes-wrong", "*times* to 5 | six commands, the data, and still an empty log")
def five_failures():
    found = ending(0x281, False, "read", 5)
    return (found.attempts, found.result, found.log) == (6, "4096 bytes", ())


@claim("when-it-goes-wrong", "*times* to 6 | the same six commands, an error, and one line for all of them")
def six_failures():
    found = ending(0x281, False, "read", 6)
    return (found.attempts, found.result, len(found.log)) == (6, "ENODATA", 1)


@claim("when-it-goes-wrong", "then *status* to `0x81`, `0x83`, `0x282` | `ENOSPC` of a **read**, `EBADE`, `EILSEQ`")
def strange_errors():
    return [ending(status, True, "read", 1).result for status in (0x81, 0x83, 0x282)] == ["ENOSPC", "EBADE", "EILSEQ"]


@claim("when-it-goes-wrong", "The line is rate-limited: ten in five seconds")
def lines_of_many_errors():
    kernel = boot(1)
    probe()
    scenario.nvme_fault_inject("nvme0n1", 0x281, True, 100, -1)
    said = len(kernel.log)
    for number in range(15):
        errno_of(scenario.io, "nvme0n1", "read", number << 12, 4096)
    return len(kernel.log) - said == 10


@claim("when-it-goes-wrong", "A read of multipath is sent with `REQ_FAILFAST_TRANSPORT`: somebody above has a better "
       "idea than trying the same path again, so the driver does not.")
def no_second_try_below_multipath():
    boot(2)
    probe()
    scenario.dm_load()
    disk = dmsetup.create("mp", "0 1024 multipath 0 0 1 1 round-robin 0 1 1 /dev/nvme0n1 1")
    scenario.nvme_fault_inject("nvme0n1", 0x281, False, 100, 1)
    with record() as reading:
        error = errno_of(scenario.io, disk, "read", 0, 4096)
    return error == "ENODATA" and len(reading.of(Command)) == 1


@claim("timeout-abort-reset", "*reads before* to 3 | the same, but the bell rings: 4096 bytes, and the disk stays")
def bell_rings():
    found = [incident(LOST, 1000, before, 3000, False) for before in (0, 3)]
    return [(each.result, each.states[-1]) for each in found] == [("EIO", "deleting"), ("4096 bytes", "live")]


@claim("timeout-abort-reset", "the driver looks into the ring itself, and finds the answer: *completion polled*")
def looked_into_the_ring():
    result, took, log = answered(MASKED)
    return result == "4096 bytes" and 1000 <= took <= 2100 and log[-1].endswith("completion polled")


@claim("timeout-abort-reset", "each try is aborted and sent again, six times, then `EIO`: **an obedient disk fails "
       "where a deaf one does not**")
def obedient_and_deaf():
    deaf, obedient = answered(SLOW), answered(SLOW, aborts=True)
    return (deaf[0], obedient[0]) == ("4096 bytes", "EIO") and sum("aborting" in line for line in obedient[2]) == 6


@claim("timeout-abort-reset", "the read ends well: the controller has until its queue is deleted")
def reset_waits():
    return answered(RESET, before=3)[:2] == ("4096 bytes", 3000)


@claim("timeout-abort-reset", "At first the timer is set at most five seconds ahead (`BLK_MAX_TIMEOUT`). It runs, "
       "finds nobody late")
def timer_of_five_seconds():
    boot(1)
    probe()
    scenario.nvme_mask_interrupt("nvme0", 1)
    reading = record(scenario.io, "nvme0n1", "read", 0, 4096)
    times = [(event.function, event.time) for event in timed(reading)
             if event.function in ("blk_mq_timeout_work", "nvme_timeout")]
    early, late = [each for each in times if each[1] < 7], [each for each in times if each[1] >= 7]
    return {name for name, _ in early} == {"blk_mq_timeout_work"} and min(time for _, time in early) >= 5 and \
        [name for name, _ in late] == ["blk_mq_timeout_work", "nvme_timeout"] and late[0][1] >= 30


def timed(recording):
    """The calls, each with the seconds since the recording began."""
    time, began = 0, None
    for event in recording.events:
        time = getattr(event, "time", time)
        began = time if began is None else began
        if type(event) is Call:
            yield At(event.function, (time - began) / 1e9)


class At(NamedTuple):
    """A call, and when it was."""

    function: str
    time: float


@claim("gone", "*somebody unbinds the driver* | 4096 bytes after 3 s; whoever unbinds has to wait as long")
def removed_in_order():
    found = incident(UNBOUND, 5000, 0, 3000, False)
    return (found.result, found.took) == ("4096 bytes", 3000) and found.moments[-1].ms >= 3000


@claim("gone", "a timeout while the controller is DELETING: *disable controller*, and still the data")
def timed_out_on_its_way_out():
    result, took, log = answered(UNBOUND)
    return (result, took) == ("4096 bytes", 3000) and log[0].endswith("disable controller")


@claim("gone", "the process gets `EIO`, at once.")
def pulled_out_at_once():
    result, took, _ = answered(PULLED, timeout=5000)
    return result == "EIO" and took < 800


@claim("gone", "*a command takes* at 500 | the answer came before, and nothing is in flight")
def pulled_out_too_late():
    return answered(PULLED, 5000, takes=500)[:2] == ("4096 bytes", 500)


@claim("cpus-come-and-go", "the answer came before the CPU went, and nothing happens")
def cpu_goes_late():
    early, late = answered(CPU, 5000, takes=500), answered(CPU, 5000)
    return early[:2] == ("4096 bytes", 500) and late[0] == "4096 bytes" and late[1] >= 5000


@claim("cpus-come-and-go", "it aborts the command, and finds the answer at its next look")
def asked_too_early():
    log = answered(CPU, 1000)[2]
    return [line.rsplit(", ")[-1] for line in log if "timeout" in line] == ["aborting", "completion polled"]


HOTPLUG = json.loads((RECORDINGS / "tables/cpu-hotplug.json").read_text())


@claim("cpus-come-and-go", "no CPU that goes changes a word of it")
def the_map_stays():
    cpus = HOTPLUG["hctx_cpus"]
    return cpus["before"] == cpus["offline"] == cpus["after"]


@claim("cpus-come-and-go", "so it moves, and *stays there* when the CPU is back")
def the_admin_interrupt_stays():
    boot(4)
    scenario.nvme_probe()
    admin, _, second = [desc.irq_data for desc in irq_desc_tree().descs.values()][:3]
    at = admin._target[0]
    scenario.cpu_offline(at)
    moved, down = admin._target[0], second._target
    scenario.cpu_online(at)
    recorded = [HOTPLUG["irq"][when]["nvme0q0"]["effective_affinity_list"] for when in ("before", "offline", "after")]
    return (at == 1 and down is None and second._target[0] == 1 and moved == admin._target[0] != at
            and recorded == ["2", "0", "0"])


@claim("cpus-come-and-go", "With fewer queues than CPUs it takes several CPUs to lose an interrupt.")
def several_cpus_for_an_interrupt():
    def down(queues):
        return sum(line.now is None for line in interrupts_seen(8, queues, "", False, 3, None).lines)
    return [down(queues) for queues in (8, 4, 3)] == [1, 0, 0]


@claim("cpus-come-and-go", "4096 bytes after 5.4 s, and the same two lines.")
def a_cpu_goes_in_flight():
    seen = json.loads((RECORDINGS / "calls/cpu-offline-in-flight.json").read_text())["observed"]
    result, took, log = answered(CPU, 5000)
    said = ["CPU 1 is now offline", "timeout, completion polled"]
    return ([(each["return"], round(each["ms"], -2)) for each in seen["results"]] == [(4096, 5400)]
            and all(line.endswith(end) for line, end in zip(seen["kernel_log"], said, strict=True))
            and result == "4096 bytes" and took >= 5000 and log[-1].endswith(said[1]))


@claim("cpus-come-and-go", "ends the read by that, at once")
def a_cpu_comes_back_in_time():
    kernel = boot(4)
    scenario.run_step(["nvme.device", {"device": "nvme0", "latency_ms": 3000}])
    scenario.nvme_probe(max_ioqpairs=4)
    begun, ended = kernel.now, []

    def read(step):
        scenario.run_step(step)
        ended.append(kernel.now - begun)
    kernel.loop.post(Context("task", "off", 0), lambda: scenario.cpu_offline(1), 700 * MILLISECOND)
    kernel.loop.post(Context("task", "on", 0), lambda: scenario.cpu_online(1), 10_000 * MILLISECOND)
    scenario.together([{"step": ["io", {"disk": "nvme0n1", "op": "read", "offset": 0, "length": 4096, "cpu": 1}]}],
                      read)
    return ended == [10_000 * MILLISECOND] and not any("timeout" in line for line in kernel.log)


@claim("cpus-come-and-go", "only if that one is online (`cpu_online()`); else it ends where the interrupt came.")
def a_completion_goes_home_if_it_can():
    kernel = boot(4)
    scenario.nvme_probe(controller=Controller(2, service=Service(least=MILLISECOND)))
    kernel.loop.post(Context("task", "off", 3), lambda: scenario.cpu_offline(1), MILLISECOND // 2)
    read = {"step": ["io", {"disk": "nvme0n1", "op": "read", "offset": 0, "length": 4096, "cpu": 1}]}
    with record() as recording:
        scenario.together([read])
    irqs = [each for each in recording.contexts if each.kind == "irq"]
    return [each.cpu for each in irqs] == [0] and calls(recording)["nvme_pci_complete_rq"] == 1


ORDERS = {(where, order): walk(where, order) for where, place in RACES.items() for order in place.orders}


@claim("three-races", "The kernel's own order is right in all of them.")
def the_kernels_order_is_right():
    return len(RACES) == 3 and not any(walk(where, KERNEL).complaint for where in RACES)


@claim("three-races", "Take one away, and there is a run in which each looks too early:")
def four_things_for_the_last_tag():
    found = [ORDERS["the last tag", order] for order in RACES["the last tag"].orders if order != KERNEL]
    return len(found) == 3 and all(each.complaint.startswith("The waiter sleeps") for each in found)


@claim("three-races", "| *step* to 4 | F has freed the tag, and nobody but F can see it |")
def freed_into_a_buffer():
    return "free tags 0 " in (seen := words_of(race(step=4))) and "free tags, as only F sees it 1" in seen


@claim("three-races", "The walk has both in the wrong order, and in both somebody sleeps for ever.")
def who_enters_may_sleep_for_ever():
    return all(ORDERS["freeze and enter", order].complaint.startswith("Who wants to enter sleeps")
               for order in ("without the second look", "woken too early"))


@claim("three-races", "**In our walk nothing goes wrong without it**, even if the depth is read much too early.")
def a_barrier_that_saves_nobody():
    harmless = [order for order, found in ORDERS.items() if not found.complaint and order[1] != KERNEL]
    return harmless == [("freeze and enter", "without smp_rmb")]


@claim("three-races", "Now the driver aborts an innocent I/O.")
def an_innocent_one_is_aborted():
    return all(ORDERS["timeout and completion", order].complaint.startswith("The driver is asked to abort an I/O that")
               for order in RACES["timeout and completion"].orders if order != KERNEL)


@claim("three-races", "It waits for itself, for ever, and the removal with it")
def a_flush_waits_for_itself():
    boot(2)
    controller = Controller(2, faults=[Fault(SILENT, opcode=nvme.nvme_cmd_flush)])
    scenario.nvme_probe(controller=controller)
    try:
        scenario.together([{"step": ["flush", {"disk": "nvme0n1"}]}, {"ms": 5, "step": ["nvme.remove", {}]}])
    except HungTask as why:
        return "submit_bio_wait" in str(why)
    return False


@claim("three-races", "That one is aborted. If its status comes without *do not retry*, as it should, it is sent again")
def an_aborted_command_is_sent_again():
    found = incident(SLOW, 1000, 0, 3000, True)
    sent = [each.said for each in found.moments if "into" in each.said and each.code == "nvme_queue_rq"]
    return sum("aborting" in each.said for each in found.moments) == 6 == len(sent)
# ---------------------------------------------------------------- load


def measured(processes=1, **disk):
    """What the chapter's figure draws of so many readers: thousand IOPS, and microseconds of a read waiting for a tag,
    in a scheduler, in the device."""
    found, = curve([processes], **disk)
    return round(found.iops / 1000), round(found.stages[0]), round(found.stages[1]), round(found.stages[3])


@claim("queue-depth", "They make each read wait, for as long as it takes.")
def more_depth_only_waits():
    return measured(4, tags=4)[0] == measured(8, tags=4)[0] == measured(16, tags=4)[0] == 40


@claim("queue-depth", "8 processes wait 92 µs for a tag, and 16 wait 278.")
def waits_for_tags():
    return (measured(8, tags=4), measured(16, tags=4)) == ((40, 92, 0, 100), (40, 278, 0, 100))


@claim("queue-depth", "Choose `kyber`: the scheduler has 8 tags of its own, and the reads of 8 processes wait in *it*.")
def waits_in_kyber():
    return measured(8, tags=4, scheduler="kyber") == (40, 0, 92, 100)


@claim("queue-depth", "Now give the queue 64 tags and let the disk serve 4 at once: the same IOPS, the same latency, "
                      "and the reads wait in the device.")
def waits_in_the_device():
    return [measured(n, tags=64, servers=4) for n in (8, 16)] == [(40, 0, 0, 192), (40, 0, 0, 378)]


@claim("queue-depth", "At the end of a run, who has waited stops last. So on average there are a few less than all.")
def little_at_the_end():
    four, eight, sixteen = (each.iops * each.latency / 1e6 for each in curve((4, 8, 16), tags=4))
    return round(four, 2) == 4 and 7.5 < eight < 8 and 15 < sixteen < 16


@claim("queue-depth", "With 937 reads of 100 µs in a second the disk is at work for a tenth of the time. "
                      "*%util* says 100, and *aqu-sz* 0.")
def iostat_says_busy():
    found, = arrivals([1000], 30, tags=30, least=100, servers=1)
    return (round(found.iops), round(found.columns["%util"]), found.columns["aqu-sz"]) == (937, 100, 0)


@claim("queue-depth", "So, on 5.4, take r/s × r_await: that is how many were there, by Little's law.")
def await_is_right():
    found = readers(8, tags=64)
    return round(found.columns["r/s"] * found.columns["r_await"] / 1000) == 8


@claim("queue-depth", "One read in each tick is enough for 100.")
def one_read_in_each_tick():
    found, = load("[a]\ndirect=1\nrw=randread\nsize=1m\nrate_iops=250\n", least=20)
    return round(found.columns["%util"]) == 100


@claim("queue-depth", "With a read of 100 ms every 16 ms, so that six or seven are always under way, it says "
                      "less than 50.")
def slow_reads_that_overlap():
    found, = load("[a]\nioengine=libaio\niodepth=32\ndirect=1\nrw=randread\nsize=4m\nio_size=800k\nrate_iops=62\n"
                  "io_submit_mode=offload\n", least=100_000)
    return 40 < found.columns["%util"] < 50 and round(found.columns["r_await"]) == 100


@claim("queue-depth", "50 µs at 0.5, and 450 µs at 0.9.")
def the_line_of_m_d_1():
    return [round(100 * load / (2 - 2 * load)) for load in (.5, .9)] == [50, 450]


@claim("queue-depth", "80,000 × 0.1 ms = 8 are at the disk; the other 24 wait where await does not count, for a tag.")
def await_begins_with_the_tag():
    found = readers(32, tags=8)
    return (round(found.columns["r_await"], 1), round(found.latency)) == (.1, 386)


# ---------------------------------------------------------------- your machine


def example():
    """The recording that the page begins with."""
    cells = json.loads((ROOT / "book" / "your-machine.ipynb").read_text())["cells"]
    shown = next("".join(cell["outputs"][0]["data"]["text/html"]) for cell in cells if cell["id"] == "box")
    return at_hand(json.loads(html.unescape(re.search('data-live="(.*?)"', shown)[1]))["values"]["pasted"])


@claim("your-machine", "five disks of a virtual machine of ten CPUs on three uneven nodes, as Debian's Linux 6.12 gave")
def the_example_of_the_page():
    found = example()
    sizes = sorted(len(cpus) for cpus in found.machine.nodes.values())
    return found.release == "6.12.117+deb12-amd64" and (len(found.cases), sum(sizes), sizes) == (5, 10, [2, 2, 6])


@claim("your-machine", "A file has at most two megabytes here.")
def a_file_of_two_megabytes():
    return "LARGEST = 2 << 20;" in (ROOT / "book" / "_static" / "live.js").read_text()


@claim("your-machine", "this page tries forty different cases.")
def forty_cases():
    return MOST_TRIED == 40


@claim("your-machine", "It only reads, and it needs no root:")
def a_capture_without_debugfs(tmp_path):
    cpu = tmp_path / "sys/devices/system/cpu"
    cpu.mkdir(parents=True)
    for name in ("possible", "present", "online"):
        (cpu / name).write_text("0-1\n")
    queue = tmp_path / "sys/block/vda/mq/0"
    queue.mkdir(parents=True)
    (queue / "cpu_list").write_text("0, 1\n")
    before = sorted(tmp_path.rglob("*"))
    made, _ = capture(tmp_path, "6.12")
    found = at_hand(json.dumps(made))
    return sorted(tmp_path.rglob("*")) == before and found.verdicts == [("agrees", [])]


@pytest.mark.parametrize(("chapter", "words", "holds"), CLAIMS)
def test_a_chapter_says_what_is_so(chapter, words, holds, tmp_path):
    assert flat(words) in prose(chapter), f"{chapter} does not say: {words}"
    needs_room = holds.__code__.co_argcount
    assert holds(tmp_path) if needs_room else holds()


LINE = re.compile(r"^\*\*Since 5\.4:\*\* .+\((\d\.\d+).*\): \[[\w ]+\]\(since-[\w-]+\.ipynb\)\.$", re.MULTILINE)


def test_what_became_of_it_since_is_said_in_one_place_and_form():
    """Before where to read on. A commit is of the release that stands before it, in one of the two tables."""
    known = {(each.commit, each.since) for each in since.changes()} | {(each.commit, each.since) for each in CHANGES}
    told = 0
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        cells = ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"]]
        for text in (text for text in cells if "**Since 5.4:**" in text):
            assert text.startswith("## Summary"), path.name
            line = LINE.search(text)[0]
            assert text.index("**What there is now:**") < text.index(line) < text.index("**Where to read on:**")
            found = re.findall(r"\((\d\.\d+), \[([0-9a-f]{12})\]", line)
            assert {(commit, release) for release, commit in found} <= known, path.name
            told += 1
    assert told >= 9


def test_there_is_no_claim_twice_and_none_without_a_chapter():
    assert len({case.id for case in CLAIMS}) == len(CLAIMS) >= 60
