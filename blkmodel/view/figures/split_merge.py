"""How memory becomes requests: pages, the vectors of bios, requests, and the segments that the device is told of.

    live(split_merge, sizes="64", runs="1", max_kib=(4, 256, 4), max_segments=(1, 64), segment_kib=[4, 8, 16, 64],
         chunk_kib={"none": 0, "16 KiB": 16}, gaps=True, scheduler=["none", "mq-deadline"])
"""

from html import escape

from blkmodel.sim import PAGE_SIZE
from blkmodel.view.draw import panel, stretched
from blkmodel.view.facts.transfers import Request, Way, runs_of, sizes_of, transfer
from blkmodel.view.facts.words import many


def split_merge(sizes: str = "64", runs: str = "1", max_kib: int = 64, max_segments: int = 16, segment_kib: int = 64,
                chunk_kib: int = 0, gaps: bool = True, scheduler: str = "none") -> str:
    """Draw what becomes of reads of these sizes, in KiB, that one process begins at once, one behind the other on disk.

    runs: how many pages of its memory lie side by side, again and again. The disk takes max_kib and max_segments in a
    request, segments of segment_kib, no request across a multiple of chunk_kib (0: any), and, without `gaps`, only
    pieces that begin and end with pages, as NVMe does.
    """
    way = transfer(sizes_of(sizes), runs_of(runs), max_kib, max_segments, segment_kib, chunk_kib, gaps, scheduler)
    said = _summary(way, len(sizes_of(sizes)))
    details = [_request(n, request) for n, request in enumerate(way.requests, 1)]
    label = " ".join([said, *(f"{n}. {text}." for n, text in enumerate(details, 1))])
    items = "".join(f"<li>{escape(text)}</li>" for text in details)
    return panel("blk-split", label, "split_merge", f'<p><b>{escape(said)}</b></p><div aria-hidden="true">',
                 _pages(way), _vectors(way), _segments(way), _strip("Requests", way, _boxes(way)),
                 f"</div><ol>{items}</ol>")


def _summary(way: Way, ios: int) -> str:
    pages = sum(-(-length // PAGE_SIZE) for _, _, length in way.vectors)
    bios = len({bio for bio, *_ in way.vectors})
    segments = sum(len(request.segments) for request in way.requests)
    size = f"{way.kib} KiB{' in all' if ios > 1 else ''}"
    return (f"{many(ios, 'read')} of {size}: {many(pages, 'page')} in {many(len(way.vectors), 'vector')} of "
            f"{many(bios, 'bio')}, which {'become' if bios > 1 else 'becomes'} "
            f"{many(len(way.requests), 'request')} of {many(segments, 'segment')}.")


def _request(number: int, request: Request) -> str:
    last = request.sector + (request.length >> 9) - 1
    bios = (f"bio {request.bios[0] + 1}" if len(request.bios) == 1
            else f"bios {request.bios[0] + 1} to {request.bios[-1] + 1}")
    why = f"; {request.why}" if request.why else ""
    return (f"sectors {request.sector} to {last}, {_kib(request.length)}, of {bios}: "
            f"{many(len(request.segments), 'segment')}{why}")


def _kib(length: int) -> str:
    return f"{length / 1024:g} KiB"


def _strip(title: str, way: Way, shapes: str) -> str:
    """One row: all of the transfer from left to right."""
    return f"<h4>{escape(title)}</h4>{stretched('strip', way.kib * 1024, 26, shapes)}"


def _box(offset: int, length: int, classes: str, tip: str, inset: int = 0) -> str:
    return (f'<rect x="{offset}" y="{2 + inset}" width="{length}" height="{22 - 2 * inset}" class="{classes}">'
            f"<title>{escape(tip)}</title></rect>")


def _pages(way: Way) -> str:
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


def _vectors(way: Way) -> str:
    shapes, offset = [], 0
    for bio, addr, length in way.vectors:
        shapes.append(_box(offset, length, f"ctx {'odd' if bio % 2 else 'even'}",
                           f"bio {bio + 1}: {_kib(length)} at {addr:#x}"))
        offset += length
    return _strip("Vectors of the bios (a change of shade: another bio)", way, "".join(shapes))


def _segments(way: Way) -> str:
    shapes = "".join(_box(segment.offset, segment.length, f"read {'odd' if n % 2 else 'even'}",
                          f"request {n + 1}: {_kib(segment.length)} at {segment.addr:#x}")
                     for n, request in enumerate(way.requests) for segment in request.segments)
    return _strip("Segments (a change of shade: another request)", way, shapes)


def _boxes(way: Way) -> str:
    """The requests, and a red line where a bio was cut."""
    boxes = [_box(request.offset, request.length, f"default {'odd' if n % 2 else 'even'}",
                  f"request {n + 1}: {_kib(request.length)}") for n, request in enumerate(way.requests)]
    return "".join(boxes + [f'<path class="cut" d="M{request.offset + request.length} 0V26"/>'
                            for request in way.requests if request.why])
