"""Reads of a disk with limits: their pages, the vectors of their bios, their requests, and the segments of each."""

from functools import lru_cache
from itertools import accumulate, cycle
from typing import Any, NamedTuple

from blkmodel import scenario
from blkmodel.block import blk_merge, blk_settings
from blkmodel.include.linux.blk_mq import blk_mq_hw_ctx, blk_mq_ops, blk_mq_queue_data
from blkmodel.include.linux.blkdev import (BIO_CLONED, BIO_QUEUE_ENTERED, bio, bio_flagged, bios_of, request,
    request_queue)
from blkmodel.services import scatterlist, sg_init_table, sg_next
from blkmodel.sim import PAGE_SIZE, booted

_MOST_KIB = 1024


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


def sizes_of(text: str) -> tuple[int, ...]:
    """The sizes of reads, in KiB, that a reader typed."""
    if sum(sizes := _numbers(text, "sizes", "KiB, such as 64 or 8 8 4")) > _MOST_KIB:
        raise ValueError(f"sizes: {sum(sizes)} KiB are more than the {_MOST_KIB} that are drawn")
    return sizes


def runs_of(text: str) -> tuple[int, ...]:
    """The lengths of runs of pages that a reader typed."""
    return _numbers(text, "runs", "pages, such as 1 or 1 3 2")


def _numbers(text: str, what: str, such: str) -> tuple[int, ...]:
    numbers = text.replace(",", " ").split()
    if not numbers or not all(each.isdecimal() and int(each) > 0 for each in numbers):
        raise ValueError(f"{what}: {text!r} is no list of {such}")
    return tuple(map(int, numbers))


@lru_cache(maxsize=64)
def transfer(sizes: tuple[int, ...], runs: tuple[int, ...], max_kib: int, max_segments: int, segment_kib: int,
             chunk_kib: int, gaps: bool, scheduler: str) -> Way:
    """Read so many KiB each, into memory in runs of so many pages, from a disk with these limits; return the Way."""
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
        ios: list[dict[str, Any]] = [
            {"op": "read", "offset": at << 10, "length": kib << 10, "page_runs": _cover(kib, runs)}
            for at, kib in zip(accumulate(sizes, initial=0), sizes, strict=False)]
        if len(ios) == 1:
            scenario.io("nullb0", cpu=1, **ios[0])
        else:
            scenario.aio("nullb0", ios, cpu=1)
    return Way(sum(sizes), tuple(seen.vectors), tuple(sorted(seen.requests, key=lambda each: each.sector)))


def _cover(kib: int, runs: tuple[int, ...]) -> list[int]:
    """The pages of so many KiB, in runs of these lengths again and again."""
    found: list[int] = []
    pages, turn = -(-kib * 1024 // PAGE_SIZE), cycle(runs)
    while sum(found) < pages:
        found.append(min(next(turn), pages - sum(found)))
    return found


class _Seen:
    """Notes every bio that reaches a queue for the first time, and every request that the driver gets."""

    def __init__(self, q: request_queue) -> None:
        self.q = q
        self.bios: dict[int, tuple[int, int]] = {}
        self.vectors: list[tuple[int, int, int]] = []
        self.requests: list[Request] = []
        make_request, driver = q.make_request_fn, q.mq_ops

        def take_bio(q: request_queue, bio: bio) -> int:
            if not (bio_flagged(bio, BIO_QUEUE_ENTERED) or bio_flagged(bio, BIO_CLONED)):
                number = len(self.bios)
                self.bios[number] = bio.bi_iter.bi_sector, bio.bi_iter.bi_size >> 9
                self.vectors += [(number, bv.bv_page._addr + bv.bv_offset, bv.bv_len)
                                 for bv in bio.bi_io_vec[:bio.bi_vcnt]]
            return make_request(q, bio)

        def take_request(hctx: blk_mq_hw_ctx, bd: blk_mq_queue_data) -> int:
            self.requests.append(self._request(bd.rq))
            return driver.queue_rq(hctx, bd)
        q.make_request_fn = take_bio
        q.mq_ops = blk_mq_ops(queue_rq=take_request, complete=driver.complete, timeout=driver.timeout)

    def _request(self, rq: request) -> Request:
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

    def _why(self, rq: request, last: int) -> str:
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
