"""How memory becomes requests: pages, the vectors of bios, requests, and the segments that the device is told of.

    live(split_merge, sizes="64", runs="1", max_kib=(4, 256, 4), max_segments=(1, 64), segment_kib=[4, 8, 16, 64],
         chunk_kib={"none": 0, "16 KiB": 16}, gaps=True, scheduler=["none", "mq-deadline"])
"""

from functools import lru_cache
from html import escape
from itertools import cycle
from typing import NamedTuple

from blkmodel import scenario
from blkmodel.block import blk_merge, blk_settings
from blkmodel.include.linux.blk_mq import blk_mq_ops
from blkmodel.include.linux.blk_types import BIO_CLONED, BIO_QUEUE_ENTERED, bio_flagged
from blkmodel.include.linux.blkdev import bios_of
from blkmodel.services.memory.scatterlist import scatterlist, sg_init_table, sg_next
from blkmodel.sim import booted
from blkmodel.sim.memory import PAGE_SIZE
from blkmodel.view.draw.figure import panel
from blkmodel.view.draw.styles import sheets
from blkmodel.view.facts.words import many

_MOST_KIB = 1024
_STYLE = sheets("base", "split_merge")


class Segment(NamedTuple):
    """A piece of memory that the device is told of: its address and length, and where its bytes are in the whole."""

    addr: int
    length: int
    offset: int


class Request(NamedTuple):
    """A request as the driver got it. sector, length (bytes) and bios: which bios it carries, by their numbers.

    offset is the place of its first byte in the whole transfer; why says what ended it, if it did not end by itself.
    """

    sector: int
    length: int
    bios: tuple[int, ...]
    segments: tuple[Segment, ...]
    offset: int
    why: str


class Way(NamedTuple):
    """What a transfer became. vectors: (bio, address, length) in order; requests in the order of their sectors."""

    kib: int
    vectors: tuple[tuple[int, int, int], ...]
    requests: tuple[Request, ...]


def split_merge(sizes="64", runs="1", max_kib=64, max_segments=16, segment_kib=64, chunk_kib=0, gaps=True,
                scheduler="none"):
    """Draw what becomes of reads of these sizes, in KiB, that one process begins at once, one behind the other on disk.

    runs: how many pages of its memory lie side by side, again and again. The disk takes max_kib and max_segments in a
    request, segments of segment_kib, no request across a multiple of chunk_kib (0: any), and, without `gaps`, only
    pieces that begin and end with pages, as NVMe does.
    """
    way = transfer(_sizes(sizes), _runs(runs), max_kib, max_segments, segment_kib, chunk_kib, gaps, scheduler)
    said = _summary(way, len(_sizes(sizes)))
    details = [_request(n, request) for n, request in enumerate(way.requests, 1)]
    label = " ".join([said, *(f"{n}. {text}." for n, text in enumerate(details, 1))])
    items = "".join(f"<li>{escape(text)}</li>" for text in details)
    return panel("blk-split", label, _STYLE, f'<p><b>{escape(said)}</b></p><div aria-hidden="true">', _pages(way),
                 _vectors(way), _segments(way), f'{_strip("Requests", way, _boxes(way))}</div><ol>{items}</ol>')


def _sizes(text):
    """The sizes that a reader typed."""
    sizes = _numbers(text, "sizes", "KiB, such as 64 or 8 8 4")
    if sum(sizes) > _MOST_KIB:
        raise ValueError(f"sizes: {sum(sizes)} KiB are more than the {_MOST_KIB} that are drawn")
    return sizes


def _runs(text):
    return _numbers(text, "runs", "pages, such as 1 or 1 3 2")


def _numbers(text, what, such):
    numbers = text.replace(",", " ").split()
    if not numbers or not all(each.isdecimal() and int(each) > 0 for each in numbers):
        raise ValueError(f"{what}: {text!r} is no list of {such}")
    return tuple(map(int, numbers))


@lru_cache(maxsize=64)
def transfer(sizes, runs, max_kib, max_segments, segment_kib, chunk_kib, gaps, scheduler):
    """Read that from a disk with these limits. Returns the Way."""
    with booted(2):
        scenario.null_blk_load(submit_queues=1, irqmode=2, hw_queue_depth=128)
        q = scenario.disk("nullb0").queue
        scenario.set_scheduler("nullb0", scheduler)
        blk_settings.blk_queue_max_hw_sectors(q, max_kib * 2)
        blk_settings.blk_queue_max_segments(q, max_segments)
        if gaps:
            blk_settings.blk_queue_max_segment_size(q, segment_kib << 10)
        else:
            blk_settings.blk_queue_virt_boundary(q, PAGE_SIZE - 1)  # no limit to segments goes with it
        if chunk_kib:
            blk_settings.blk_queue_chunk_sectors(q, chunk_kib * 2)
        seen = _Seen(q)
        ios, at = [], 0
        for kib in sizes:
            pages = -(-kib * 1024 // PAGE_SIZE)
            ios.append({"op": "read", "offset": at << 10, "length": kib << 10, "page_runs": _cover(pages, runs)})
            at += kib
        if len(ios) == 1:
            scenario.io("nullb0", cpu=1, **ios[0])
        else:
            scenario.aio("nullb0", ios, cpu=1)
        return Way(sum(sizes), tuple(seen.vectors), tuple(sorted(seen.requests, key=lambda each: each.sector)))


def _cover(pages, runs):
    """So many pages, in runs of these lengths again and again."""
    found: list[int] = []
    for run in cycle(runs):
        if sum(found) >= pages:
            return found
        found.append(min(run, pages - sum(found)))


class _Seen:
    """Notes every bio that reaches a queue for the first time, and every request that the driver gets."""

    def __init__(self, q):
        self.q = q
        self.bios: dict[int, tuple[int, int]] = {}
        self.vectors: list[tuple[int, int, int]] = []
        self.requests: list[Request] = []
        make_request, driver = q.make_request_fn, q.mq_ops

        def take_bio(q, bio):
            if not (bio_flagged(bio, BIO_QUEUE_ENTERED) or bio_flagged(bio, BIO_CLONED)):
                number = len(self.bios)
                self.bios[number] = bio.bi_iter.bi_sector, bio.bi_iter.bi_size >> 9
                self.vectors += [(number, bv.bv_page._addr + bv.bv_offset, bv.bv_len)
                                 for bv in bio.bi_io_vec[:bio.bi_vcnt]]
            return make_request(q, bio)

        def take_request(hctx, bd):
            self.requests.append(self._request(bd.rq))
            return driver.queue_rq(hctx, bd)
        q.make_request_fn = take_bio
        q.mq_ops = blk_mq_ops(queue_rq=take_request, complete=driver.complete, timeout=driver.timeout)

    def _request(self, rq):
        table = [scatterlist() for _ in range(rq.nr_phys_segments)]
        sg_init_table(table, len(table))
        blk_merge.blk_rq_map_sg(self.q, rq, table)
        segments, sg, offset = [], table[0], rq._sector * 512
        while sg is not None:
            segments.append(Segment(sg.page._addr + sg.offset, sg.length, offset))
            offset += sg.length
            sg = sg_next(sg)
        numbers = [n for n, (first, count) in self.bios.items()
                   for bio in bios_of(rq) if first <= bio.bi_iter.bi_sector < first + count]
        return Request(rq._sector, rq._data_len, tuple(dict.fromkeys(numbers)), tuple(segments), rq._sector * 512,
                       self._why(rq, numbers[-1]))

    def _why(self, rq, last):
        """What ended a request before its last bio was at its end."""
        limits, end = self.q.limits, rq._sector + (rq._data_len >> 9)
        if end == sum(self.bios[last]):
            return ""
        if limits.chunk_sectors and end % limits.chunk_sectors == 0:
            return "cut where a chunk ends"
        if rq._data_len >> 9 == limits.max_sectors:
            return "cut at the most that a request may have"
        if rq.nr_phys_segments == limits.max_segments:
            return "cut at the most segments"
        return "cut before memory that would leave a gap"


def _summary(way, ios):
    pages = sum(-(-length // PAGE_SIZE) for _, _, length in way.vectors)
    bios = len({bio for bio, *_ in way.vectors})
    segments = sum(len(request.segments) for request in way.requests)
    size = f"{way.kib} KiB{' in all' if ios > 1 else ''}"
    return (f"{many(ios, 'read')} of {size}: {many(pages, 'page')} in {many(len(way.vectors), 'vector')} of "
            f"{many(bios, 'bio')}, which {'become' if bios > 1 else 'becomes'} "
            f"{many(len(way.requests), 'request')} of {many(segments, 'segment')}.")


def _request(number, request):
    last = request.sector + (request.length >> 9) - 1
    bios = (f"bio {request.bios[0] + 1}" if len(request.bios) == 1
            else f"bios {request.bios[0] + 1} to {request.bios[-1] + 1}")
    why = f"; {request.why}" if request.why else ""
    return (f"sectors {request.sector} to {last}, {_kib(request.length)}, of {bios}: "
            f"{many(len(request.segments), 'segment')}{why}")


def _kib(length):
    return f"{length / 1024:g} KiB"


def _strip(title, way, shapes):
    """One row: all of the transfer from left to right."""
    width = way.kib * 1024
    return (f'<h4>{escape(title)}</h4><svg xmlns="http://www.w3.org/2000/svg" class="strip" '
            f'preserveAspectRatio="none" viewBox="0 0 {width} 26">{shapes}</svg>')


def _box(offset, length, classes, tip, inset=0):
    return (f'<rect x="{offset}" y="{2 + inset}" width="{length}" height="{22 - 2 * inset}" class="{classes}">'
            f"<title>{escape(tip)}</title></rect>")


def _pages(way):
    """The pages, those side by side in memory with one colour; the next run has the other."""
    shapes, offset, end, run = [], 0, None, -1
    for _, addr, length in way.vectors:
        for start in range(0, length, PAGE_SIZE):
            if addr + start != end:
                run += 1
            size = min(PAGE_SIZE, length - start)
            end = addr + start + size
            shapes.append(_box(offset, size, f"memory {'odd' if run % 2 else 'even'}", f"page at {addr + start:#x}"))
            offset += size
    return _strip("Pages of the buffers (a change of shade: not side by side in memory)", way, "".join(shapes))


def _vectors(way):
    shapes, offset = [], 0
    for bio, addr, length in way.vectors:
        shapes.append(_box(offset, length, f"ctx {'odd' if bio % 2 else 'even'}",
                           f"bio {bio + 1}: {_kib(length)} at {addr:#x}"))
        offset += length
    return _strip("Vectors of the bios (a change of shade: another bio)", way, "".join(shapes))


def _segments(way):
    shapes = "".join(_box(segment.offset, segment.length, f"read {'odd' if n % 2 else 'even'}",
                          f"request {n + 1}: {_kib(segment.length)} at {segment.addr:#x}")
                     for n, request in enumerate(way.requests) for segment in request.segments)
    return _strip("Segments (a change of shade: another request)", way, shapes)


def _boxes(way):
    """The requests, and a red line where a bio was cut."""
    boxes = [_box(request.offset, request.length, f"default {'odd' if n % 2 else 'even'}",
                  f"request {n + 1}: {_kib(request.length)}") for n, request in enumerate(way.requests)]
    ends = [request.offset + request.length for request in way.requests if request.why]
    cuts = "".join(f'<path class="cut" d="M{end} 0V26"/>' for end in ends)
    return "".join(boxes) + cuts

