"""How a command says where its data are: two words of it, and lists of pages (PRPs) or of pieces (SGLs) in memory.

    live(data_pointer, pages=(1, 1024), run=Slider(1, 512, label="side by side"), sgl=True,
         threshold=Choice(THRESHOLDS))
"""

from html import escape

from blkmodel.services import PAGE_SIZE
from blkmodel.view.draw import curve, group, panel, rect, text
from blkmodel.view.facts.data_pointers import HOW, THRESHOLDS as THRESHOLDS, Described, Entry, described

_LIST, _DATA, _BOX, _ROW, _SHOWN = 222, 452, 160, 19, 7


def data_pointer(pages: int = 6, run: int = 1, sgl: bool = True, threshold: int = 32768) -> str:
    """Draw the data pointer of a read into so many pages, of which each `run` lie side by side.

    sgl: whether the controller can do SGLs; threshold: the driver's sgl_threshold, in bytes. The controller takes up to
    4 MiB in one command, which is also the most that the driver asks for.
    """
    told = described(pages, run, sgl, threshold)
    said = _summary(told, pages)
    words = [f"{name}: {_entry(word)}." for name, word in _named(told)]
    words += [f"List at {addr:#x}: {'; '.join(_entry(entries[i]) for i in _some(len(entries)) if i is not None)}."
              for addr, entries in told.lists]
    return panel("blk-dptr", " ".join([said, *words]), "data_pointer", f"<p><b>{escape(said)}</b></p>",
                 f'<div class="wide" aria-hidden="true">{_map(told)}</div>')


def _summary(told: Described, pages: int) -> str:
    size = f"{pages * PAGE_SIZE >> 10} KiB"
    first = f"{size} are {told.requests} requests; the first is" if told.requests > 1 else f"{size} are"
    entries = sum(len(entries) for _, entries in told.lists)
    unit = 16 if told.sgl else 8
    lists = (f", in {len(told.lists)} list{'s' * (len(told.lists) > 1)} with {entries} entries of {unit} bytes"
             if told.lists else ", without a list")
    return f"{first} described {HOW[told.how]}{lists}: {told.how}()."


def _named(told: Described) -> list[tuple[str, Entry]]:
    """The entries in the command, each with its name."""
    return list(zip(["SGL"] if told.sgl else ["PRP1", "PRP2"], told.words, strict=False))


def _entry(entry: Entry) -> str:
    return f"{entry.what} at {entry.addr:#x}" + ("" if entry.what == "page" else f", {entry.length} bytes")


def _some(count: int) -> list[int | None]:
    """Which of so many entries are shown: the first few and the last; None stands for those between."""
    return list(range(count)) if count <= _SHOWN else [*range(_SHOWN - 2), None, count - 1]


def _map(told: Described) -> str:
    """Command, lists and data from left to right, each address with an arrow to what is there."""
    arrows, starts, left, rows = [], {}, 24, _named(told)
    boxes = [_table(2, left, "nvme_command", "default", [(name, f"{entry.addr:#x}") for name, entry in rows])]
    wanted = [(2 + _BOX, left + 22 + _ROW * (i + .5), entry) for i, (_, entry) in enumerate(rows)]
    for addr, entries in told.lists:
        starts[addr] = left + 11
        shown = [(f"[{i}]", f"{entries[i].addr:#x}") if i is not None else ("…", f"{len(entries)} in all")
                 for i in _some(len(entries))]
        boxes.append(_table(_LIST, left, f"list, {len(entries) * (16 if told.sgl else 8)} bytes", "tags", shown))
        wanted += [(_LIST + _BOX, left + 22 + _ROW * (place + .5), entries[i])
                   for place, i in enumerate(_some(len(entries))) if i is not None]
        left += 22 + _ROW * len(shown) + 16
    down = 24.0
    for x, at, entry in sorted((each for each in wanted if each[2].what != "list"), key=lambda each: each[:2]):
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


def _table(x: int, y: int, title: str, kind: str, rows: list[tuple[str, str]]) -> str:
    parts = [rect(x, y, _BOX, 22 + _ROW * len(rows), "box"), rect(x, y, _BOX, 22, f"box {kind}"),
             text(x + 8, y + 15, title, "head on")]
    for i, (name, value) in enumerate(rows):
        at = y + 22 + _ROW * i + 14
        parts += [text(x + 8, at, name, "mono dim"), text(x + _BOX - 7, at, value, "mono", "end")]
    return group(parts)
