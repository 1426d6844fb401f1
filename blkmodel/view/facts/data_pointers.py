"""How the driver tells a controller where the data of a read are: the entries of the command, and lists in memory."""

from functools import lru_cache
from typing import Any, NamedTuple

from blkmodel import scenario
from blkmodel.device import Controller
from blkmodel.include.linux.nvme import NVME_CMD_SGL_METABUF, nvme_data_ptr, nvme_sgl_desc
from blkmodel.services import PAGE_SIZE
from blkmodel.sim import Array, booted
from blkmodel.trace import Call, Command, Item, record

THRESHOLDS = {"4 KiB": 4096, "32 KiB": 32768, "128 KiB": 131072, "never": 0}


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


@lru_cache(maxsize=32)
def described(pages: int, run: int, sgl: bool = True, threshold: int = 32768) -> Described:
    """Read into such a buffer, and return how the first request's data were described."""
    runs = [run] * (pages // run) + ([pages % run] if pages % run else [])
    with booted(2):
        disk = scenario.nvme_probe(controller=Controller(2, mdts=10, sgl=sgl), sgl_threshold=threshold) + "n1"
        scenario.set_queue_file(disk, "max_sectors_kb", scenario.queue_file(disk, "max_hw_sectors_kb"))
        recording = record(scenario.io, disk, "read", 0, pages * PAGE_SIZE, page_runs=runs, watched=(Array,),
                           functions=HOW)
    command = recording.of(Command)[0].command
    by_pieces = bool(command.flags & NVME_CMD_SGL_METABUF)
    lists: dict[int, dict[int, Any]] = {}
    calls = [at for at, event in enumerate(recording.events) if type(event) is Call and event.function in HOW]
    for event in recording.events[:[*calls, None][1]]:  # before the driver describes the second request's data
        if type(event) is Item and event.array.ctype in ("u64", "nvme_sgl_desc"):
            lists.setdefault(event.array._addr, {})[event.index] = event.new
    if by_pieces:
        words = [_piece(command.dptr.sgl)]
        tables = [(addr, [_piece(each) for each in entries.values()]) for addr, entries in lists.items()]
    else:
        words, tables = _pages(command.dptr, lists)
    return Described(recording.events[calls[0]].function, by_pieces, words, tables, len(calls))


HOW = {"nvme_setup_prp_simple": "as one page, or two in a row", "nvme_setup_sgl_simple": "as a single piece",
        "nvme_pci_setup_prps": "page by page", "nvme_pci_setup_sgls": "piece by piece"}


def _piece(descriptor: nvme_sgl_desc) -> Entry:
    what = "list" if descriptor.type >> 4 else "piece"  # of a segment or the last one: what follows are descriptors
    return Entry(what, descriptor.addr, descriptor.length)


def _pages(dptr: nvme_data_ptr, lists: dict[int, dict[int, int]]) -> tuple[list[Entry], list[tuple[int, list[Entry]]]]:
    """The two words of a command that lists pages, and the lists; the last entry of a full list leads to the next."""
    words = [Entry("page", dptr.prp1, PAGE_SIZE)]
    if dptr.prp2:
        length = 8 * len(lists[dptr.prp2]) if dptr.prp2 in lists else PAGE_SIZE
        words.append(Entry("list" if dptr.prp2 in lists else "page", dptr.prp2, length))
    tables = [(addr, [Entry("list", value, 8 * len(lists[value])) if value in lists else Entry("page", value, PAGE_SIZE)
                      for value in entries.values()]) for addr, entries in lists.items()]
    return words, tables
