"""How a command says where its data are: two words of it, and lists of pages (PRPs) or of pieces (SGLs) in memory.

    live(data_pointer, pages=(1, 1024), run=Slider(1, 512, label="side by side"), sgl=True,
         threshold=Choice(THRESHOLDS))
"""

from functools import lru_cache
from html import escape
from typing import Any, NamedTuple

from blkmodel import scenario
from blkmodel.device.controller import Controller
from blkmodel.include.linux.nvme import NVME_CMD_SGL_METABUF
from blkmodel.services.memory.gfp import PAGE_SIZE
from blkmodel.sim import booted
from blkmodel.trace import Call, Command, Item, record
from blkmodel.view.draw.figure import curve, group, panel, rect, text
from blkmodel.view.draw.styles import sheets

THRESHOLDS = {"4 KiB": 4096, "32 KiB": 32768, "128 KiB": 131072, "never": 0}
_LIST, _DATA, _BOX, _ROW, _SHOWN = 222, 452, 160, 19, 7
_STYLE = sheets("base", "data_pointer")


class Entry(NamedTuple):
    """An address. what: `page` or `piece` (of the data), `list` (more entries), with its length in bytes."""

    what: str
    addr: int
    length: int


class Described(NamedTuple):
    """How one request's data are described. how: the function that did it. words: the command's two entries, or one;
    lists: for each list its address and its entries. requests: how many requests the read became."""

    how: str
    sgl: bool
    words: list[Entry]
    lists: list[tuple[int, list[Entry]]]
    requests: int


def data_pointer(pages=6, run=1, sgl=True, threshold=32768):
    """Draw the data pointer of a read into so many pages, of which each `run` lie side by side.

    sgl: whether the controller can do SGLs; threshold: the driver's sgl_threshold, in bytes. The controller takes up to
    4 MiB in one command, which is also the most that the driver asks for.
    """
    told = described(pages, run, sgl, threshold)
    said = _summary(told, pages)
    label = " ".join([said, *_words(told)])
    return panel("blk-dptr", label, _STYLE, f"<p><b>{escape(said)}</b></p>",
                 f'<div class="wide" aria-hidden="true">{_map(told)}</div>')


@lru_cache(maxsize=32)
def described(pages, run, sgl=True, threshold=32768):
    """Read into such a buffer, and return how the first request's data were described."""
    runs = [run] * (pages // run) + ([pages % run] if pages % run else [])
    with booted(2):
        disk = scenario.nvme_probe(controller=Controller(2, mdts=10, sgl=sgl), sgl_threshold=threshold) + "n1"
        scenario.set_queue_file(disk, "max_sectors_kb", scenario.queue_file(disk, "max_hw_sectors_kb"))
        recording = record(scenario.io, disk, "read", 0, pages * PAGE_SIZE, page_runs=runs)
    hows = [event.function for event in recording.of(Call) if event.function in _HOW]
    command = recording.of(Command)[0].command
    by_pieces = bool(command.flags & NVME_CMD_SGL_METABUF)
    lists: dict[int, dict[int, Any]] = {}
    for event in recording.events[:_second_command(recording)]:
        if type(event) is Item and event.array.ctype in ("u64", "nvme_sgl_desc"):
            lists.setdefault(event.array._addr, {})[event.index] = event.new
    if by_pieces:
        words = [_piece(command.dptr.sgl)]
        tables = [(addr, [_piece(each) for each in entries.values()]) for addr, entries in lists.items()]
    else:
        words, tables = _pages(command.dptr, lists)
    return Described(hows[0], by_pieces, words, tables, len(hows))


_HOW = {"nvme_setup_prp_simple": "as one page, or two in a row", "nvme_setup_sgl_simple": "as a single piece",
        "nvme_pci_setup_prps": "page by page",
        "nvme_pci_setup_sgls": "piece by piece"}


def _second_command(recording):
    """Before which event the driver begins to describe the second request's data."""
    calls = [at for at, event in enumerate(recording.events) if type(event) is Call and event.function in _HOW]
    return calls[1] if len(calls) > 1 else len(recording.events)


def _piece(descriptor):
    if descriptor.type >> 4:  # a segment or the last one: what follows are descriptors
        return Entry("list", descriptor.addr, descriptor.length)
    return Entry("piece", descriptor.addr, descriptor.length)


def _pages(dptr, lists):
    """The two words of a command that lists pages, and the lists; the last entry of a full list leads to the next."""
    words = [Entry("page", dptr.prp1, PAGE_SIZE)]
    if dptr.prp2:
        length = 8 * len(lists[dptr.prp2]) if dptr.prp2 in lists else PAGE_SIZE
        words.append(Entry("list" if dptr.prp2 in lists else "page", dptr.prp2, length))
    tables = [(addr, [Entry("list", value, 8 * len(lists[value])) if value in lists else Entry("page", value, PAGE_SIZE)
                      for value in entries.values()]) for addr, entries in lists.items()]
    return words, tables


def _summary(told, pages):
    size = f"{pages * PAGE_SIZE >> 10} KiB"
    first = f"{size} are {told.requests} requests; the first is" if told.requests > 1 else f"{size} are"
    entries = sum(len(entries) for _, entries in told.lists)
    unit = 16 if told.sgl else 8
    lists = (f", in {len(told.lists)} list{'s' * (len(told.lists) > 1)} with {entries} entries of {unit} bytes"
             if told.lists else ", without a list")
    return f"{first} described {_HOW[told.how]}{lists}: {told.how}()."


def _words(told):
    """The entries, in words."""
    names = ["SGL"] if told.sgl else ["PRP1", "PRP2"]
    said = [f"{name}: {_entry(word)}." for name, word in zip(names, told.words, strict=False)]
    return said + [f"List at {addr:#x}: {'; '.join(_entry(entries[i]) for i in _some(len(entries)) if i is not None)}."
                   for addr, entries in told.lists]


def _entry(entry):
    return f"{entry.what} at {entry.addr:#x}" + ("" if entry.what == "page" else f", {entry.length} bytes")


def _some(count):
    """Which of so many entries are shown: the first few and the last; None stands for those between."""
    return list(range(count)) if count <= _SHOWN else [*range(_SHOWN - 2), None, count - 1]


def _map(told):
    """Command, lists and data from left to right, each address with an arrow to what is there."""
    boxes, arrows = [], []
    wanted, y = [], 24
    names = ["SGL"] if told.sgl else ["PRP1", "PRP2"]
    rows = [(name, entry) for name, entry in zip(names, told.words, strict=False)]
    boxes.append(_table(2, y, "nvme_command", "default", [(name, f"{entry.addr:#x}") for name, entry in rows]))
    wanted += [(2 + _BOX, y + 22 + _ROW * (i + .5), entry) for i, (_, entry) in enumerate(rows)]
    starts, left = {}, 24
    for addr, entries in told.lists:
        starts[addr] = left + 11
        shown = [(f"[{i}]", f"{entries[i].addr:#x}") if i is not None else ("…", f"{len(entries)} in all")
                 for i in _some(len(entries))]
        boxes.append(_table(_LIST, left, f"list, {len(entries) * (16 if told.sgl else 8)} bytes", "tags", shown))
        wanted += [(_LIST + _BOX, left + 22 + _ROW * (place + .5), entries[i])
                   for place, i in enumerate(_some(len(entries))) if i is not None]
        left += 22 + _ROW * len(shown) + 16
    data = [(x, at, entry) for x, at, entry in wanted if entry.what != "list"]
    down = 24.0
    for x, at, entry in sorted(data, key=lambda each: (each[0], each[1])):
        down = max(down, at - 9)
        size = f"{entry.length >> 10} KiB"
        boxes.append(group([rect(_DATA, down, _BOX + 30, 18, "box memory", 2),
                            text(_DATA + 7, down + 13, f"{entry.addr:#x}", "mono"),
                            text(_DATA + _BOX + 23, down + 13, size, "small", "end")], "part",
                           f"{size} of the data at {entry.addr:#x}"))
        arrows.append(curve(x, at, _DATA, down + 9, "edge-line edge"))
        down += 21
    for x, at, entry in wanted:
        if entry.what == "list":
            if x < _LIST:
                arrows.append(curve(x, at, _LIST, starts[entry.addr], "edge-tags edge"))
            else:  # the last entry of a list, which leads to the list below it
                arrows.append(f'<path class="edge-tags edge" d="M{x:g} {at:g}h12v{starts[entry.addr] - at:g}h-12"/>')
    heads = [text(x, 14, head, "head") for x, head in ((2, "the command"), (_LIST, "lists"), (_DATA, "the data"))
             if head != "lists" or told.lists]
    height = max(left, down, 24 + 22 + _ROW * len(rows) + 6) + 4
    return (f'<svg xmlns="http://www.w3.org/2000/svg" class="blk-dptr-map" '
            f'viewBox="0 0 {_DATA + _BOX + 34} {height:g}">{"".join(heads + arrows + boxes)}</svg>')


def _table(x, y, title, kind, rows):
    parts = [rect(x, y, _BOX, 22 + _ROW * len(rows), "box"), rect(x, y, _BOX, 22, f"box {kind}"),
             text(x + 8, y + 15, title, "head on")]
    for i, (name, value) in enumerate(rows):
        at = y + 22 + _ROW * i + 14
        parts += [text(x + 8, at, name, "mono dim"), text(x + _BOX - 7, at, value, "mono", "end")]
    return group(parts)
