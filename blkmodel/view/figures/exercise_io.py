"""Exercises on the way of an I/O, drawn from a seed, and checked by the model itself."""

import random

from blkmodel import scenario
from blkmodel.drivers.nvme.host.pci import nvme_cqe_pending, nvme_queue, nvme_update_cq_head
from blkmodel.include.linux.nvme import nvme_completion
from blkmodel.include.linux.sbitmap import sbitmap_queue
from blkmodel.lib import sbitmap
from blkmodel.services import GFP_KERNEL
from blkmodel.sim import Array, Context, booted
from blkmodel.trace import Assign, Call, record
from blkmodel.view.facts.data_pointers import described
from blkmodel.view.facts.deadline import driver_order
from blkmodel.view.figures.data_pointer import data_pointer
from blkmodel.view.figures.exercise import exercise, number_in, verdict
from blkmodel.view.figures.tag_map import bitmap


def how_many_requests(number: int = 1, answer: str = "") -> str:
    """Ask how many requests a read becomes; say whether the answer is right, and then how long each of them is.

    number: which exercise it is; each has a limit and a length of its own. answer: what the reader typed, or nothing.
    """
    draw = random.Random(number)
    limit = draw.choice((16, 20, 32, 48, 64, 100))
    kib = draw.choice((64, 96, 128, 200, 256, 300, 512))
    asked = (f"<code>max_sectors_kb</code> of a <code>null_blk</code> disk is {limit}. A process reads {kib} KiB, past "
             "the page cache, with one system call. How many requests does the driver get?")

    def check() -> tuple[str, str]:
        typed = number_in(answer, "number of requests: type one from 1 on")
        with booted(4):
            scenario.null_blk_load(submit_queues=4)
            scenario.set_queue_file("nullb0", "max_sectors_kb", limit)
            recording = record(scenario.io, "nullb0", "read", 0, kib << 10)
        right = sum(event.function == "null_queue_rq" for event in recording.of(Call))
        lengths = [event.new >> 10 for event in recording.of(Assign) if event.field == "_data_len" and event.new]
        return verdict(typed, right, f"{right} request{'s' * (right > 1)}, of {', '.join(map(str, lengths))} KiB"), ""
    return exercise(asked, answer, check)


def which_tag(number: int = 1, answer: str = "") -> str:
    """Ask which tag a CPU gets next from a bitmap; say whether the answer is right, and then how the bitmap looks.

    number: which exercise it is; each has a bitmap of its own. answer: what the reader typed, or nothing.
    """
    draw = random.Random(number)
    depth, cpu = draw.choice((16, 24, 32)), draw.randrange(4)
    with booted(4) as kernel:
        bits = sbitmap_queue()
        sbitmap.sbitmap_queue_init_node(bits, depth, -1, False, GFP_KERNEL, 0)
        hint = bits.alloc_hint[cpu] = draw.randrange(depth)
        full = draw.random() < 0.6
        for i, word in enumerate(bits.sb.map):
            near = i == hint >> bits.sb.shift
            word.word = sum(1 << bit for bit in range(word.depth) if (full and near) or draw.random() < 0.7)
            word.cleared = sum(1 << bit for bit in range(word.depth) if word.word >> bit & 1 and draw.random() < 0.4)

        def check() -> tuple[str, str]:
            otherwise = f"tag: type one from 0 to {depth - 1}, or −1 for none"
            typed = number_in(answer.replace("−", "-"), otherwise, least=-1)
            before = [word.cleared for word in bits.sb.map]
            right = kernel.run_in(Context("task", "reader", cpu), sbitmap.__sbitmap_queue_get, bits)
            freed = sum(was.bit_count() for was, word in zip(before, bits.sb.map, strict=True) if not word.cleared)
            why = (f"tag {right}. Its hint, {hint}, led to word {hint >> bits.sb.shift}"
                   + (f" first; tags in cleared that became free on the way: {freed}" if freed else " first")
                   if right >= 0 else "none: there is no free tag, and none that was given back")
            return verdict(typed, right, why), bitmap(bits, touched={right})
        asked = f"CPU {cpu} takes a tag from this bitmap. Which one does it get? Type −1 if it gets none."
        return exercise(asked, answer, check, bitmap(bits))


def how_many_entries(number: int = 1, answer: str = "") -> str:
    """Ask how long the list of pages of a read is; say whether the answer is right, and then draw it.

    number: which exercise it is; each has a length of its own. answer: what the reader typed, or nothing yet.
    """
    draw = random.Random(number)
    pages = draw.choice((1, 2, 3, draw.randint(4, 32), draw.randint(33, 127), draw.randint(33, 127)))
    asked = (f"A process reads {pages * 4} KiB from an NVMe disk that can do no SGLs, into pages of 4 KiB of which no "
             "two lie side by side. How many entries has the list that PRP2 leads to? Type 0 if there is none.")

    def check() -> tuple[str, str]:
        typed = number_in(answer, "number of entries: type one from 0 on")
        entries = sum(len(entries) for _, entries in described(pages, 1, False).lists)
        why = f"{entries} {'entry' if entries == 1 else 'entries'}" if entries else "there is no list, 0 entries"
        return verdict(typed, entries, why), data_pointer(pages, 1, False)
    return exercise(asked, answer, check)


def how_many_new(number: int = 1, answer: str = "") -> str:
    """Ask how many completions in a ring are new; say whether the answer is right, and what the driver expects then.

    number: which exercise it is; each has a ring of its own. answer: what the reader typed, or nothing yet.
    """
    draw = random.Random(number)
    depth = draw.randint(6, 12)
    head, phase, new = draw.randrange(depth), draw.randrange(2), draw.randrange(depth)
    bits = [1 - phase if place >= head else phase for place in range(depth)]
    for i in range(new):
        bits[(head + i) % depth] ^= 1
    asked = (f"A completion ring has {depth} places, and their phase bits are <code>{' '.join(map(str, bits))}</code>. "
             f"The driver is at place {head} and expects {phase}. How many completions are new?")

    def check() -> tuple[str, str]:
        typed = number_in(answer, "number of completions: type one from 0 on")
        ring = nvme_queue(cqes=Array(nvme_completion, [nvme_completion(status=bit) for bit in bits]), q_depth=depth,
                          cq_head=head, cq_phase=phase)
        found = 0
        while nvme_cqe_pending(ring):
            nvme_update_cq_head(ring)
            found += 1
        why = f"{found}. Then the driver is at place {ring.cq_head}, and expects {ring.cq_phase}"
        return verdict(typed, found, why), ""
    return exercise(asked, answer, check)


def deadline_order(number: int = 1, answer: str = "") -> str:
    """Ask in which order mq-deadline gives requests to the driver; say whether the answer is right.

    number: which exercise it is; each has requests and settings of its own. answer: what the reader typed, or nothing.
    """
    draw = random.Random(number)
    places = draw.sample(range(2, 60, 2), draw.randint(5, 7))
    wanted = " ".join(f"{draw.choice('rrw')}{place}" for place in places)
    settings = {"fifo_batch": draw.choice((1, 2, 16)), "writes_starved": draw.choice((1, 2))}
    told = " and ".join(f"<code>{name}</code> {value}" for name, value in settings.items())
    asked = (f"A process submits these at once, each of one page: {wanted} (<code>r</code> is a read, "
             f"<code>w</code> a write, and the number is the page of the disk). The disk has one hardware queue, and "
             f"mq-deadline with {told}. In which order does the driver get them?")

    def check() -> tuple[str, str]:
        typed = answer.replace(",", " ").lower().split()
        if sorted(typed) != sorted(wanted.split()):
            raise ValueError(f"{answer.strip()!r} is no order of these: type {wanted} in another order")
        right = driver_order(wanted, settings)
        return verdict(" ".join(typed), right, right), ""
    return exercise(asked, answer, check)
