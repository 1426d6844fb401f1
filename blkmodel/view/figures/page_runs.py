"""The page runs that hold one hardware queue's requests: how many fit, and what is left over."""

from html import escape
from itertools import pairwise

from blkmodel.include.linux.blkdev import request
from blkmodel.services.memory.gfp import PAGE_SIZE
from blkmodel.sim.structure import sizeof
from blkmodel.view.draw.figure import panel
from blkmodel.view.draw.styles import sheets
from blkmodel.view.facts.words import many

_ROW = 65536
_STYLE = sheets("base", "page_runs")


def page_runs(tags, memory, cmd_size=0):
    """Draw the runs of a blk_mq_tags in the order in which they were allocated, to scale: a full row is 64 KiB."""
    runs = contents(tags, memory, cmd_size)
    strip = "".join(_run(run) for run in runs)
    return panel("blk-runs", describe(runs), _STYLE,
                 f'<p>{escape(summary(runs))} <span class="dim">A full row is 64 KiB.</span></p>'
                 f'<div class="strip" aria-hidden="true">{strip}</div>')


def contents(tags, memory, cmd_size=0):
    """Return one dict a run: addr, size, order, first and last tag, stride and waste; sizes in bytes.

    cmd_size: bytes of the driver's data behind each request; needed only where there is a single request.
    """
    where = {rq._addr: tag for tag, rq in enumerate(tags.static_rqs) if rq is not None}
    stride = -(-(sizeof(request) + cmd_size) // 64) * 64
    if len(where) > 1:
        addresses = sorted(where)
        stride = min(b - a for a, b in pairwise(addresses))
    runs = []
    for page in tags.page_list:
        size, first, inside = PAGE_SIZE << page.private, where[page._addr], 1
        while where.get(page._addr + inside * stride) == first + inside and (inside + 1) * stride <= size:
            inside += 1
        runs.append({"addr": page._addr, "size": size, "order": page.private, "first": first,
                     "last": first + inside - 1, "stride": stride,
                     "waste": size - inside * stride, "node": memory.live[page._addr].node})
    return runs


def summary(runs):
    """How many requests in how many runs, and how much of them is never used."""
    size, waste = sum(run["size"] for run in runs), sum(run["waste"] for run in runs)
    count = sum(run["last"] - run["first"] + 1 for run in runs)
    return (f"{many(count, 'request')} of {runs[0]['stride']} bytes in {many(len(runs), 'page run')}, {size >> 10} "
            f"KiB; {waste} bytes ({waste / size:.0%}) are never used.")


def describe(runs):
    """Say in words what the runs hold."""
    alike: dict[tuple, list] = {}
    for run in runs:
        alike.setdefault((run["order"], run["waste"]), []).append(run)
    return " ".join([summary(runs)] + [
        f"{many(len(same), 'run')} of order {order}, {same[0]['size'] >> 10} KiB: tags {_spans(same)}, {waste} bytes "
        f"left over{' in each' if len(same) > 1 else ''}." for (order, waste), same in alike.items()])


def _spans(runs):
    """The tags in these runs, as ranges."""
    spans: list[list] = []
    for run in runs:
        if spans and spans[-1][1] + 1 == run["first"]:
            spans[-1][1] = run["last"]
        else:
            spans.append([run["first"], run["last"]])
    return ", ".join(f"{first} to {last}" if last > first else str(first) for first, last in spans)


def _run(run):
    used, count = run["size"] - run["waste"], run["last"] - run["first"] + 1
    ticks = "".join(f"M{i * run['stride'] / 64:g} 0v20" for i in range(1, count))
    tip = (f"{run['addr']:#x}, node {run['node']}: order {run['order']}, {run['size'] >> 10} KiB; "
           f"tags {run['first']} to {run['last']}, {run['waste']} bytes left over")
    tags = f"{run['first']}–{run['last']}" if count > 1 else f"{run['first']}"
    said = f"order {run['order']} · {run['size'] >> 10} KiB · tags {tags} · {run['waste']} bytes left over"
    if run["order"] < 4:
        said = (run["first"], tags, f"tags {tags}", f"order 3 · 32 KiB · tags {tags}")[run["order"]]
    wide = run["size"] / 64
    return (f'<div class="run" style="width:{100 * run["size"] / _ROW:g}%" data-key="{run["addr"]:x}" title="{tip}">'
            f'<span>{said}</span><svg xmlns="http://www.w3.org/2000/svg" class="blk-runs-bar" '
            f'preserveAspectRatio="none" viewBox="0 0 {wide:g} 20"><rect class="waste" width="{wide:g}" height="20"/>'
            f'<rect class="box memory" width="{used / 64:g}" height="20"/><path class="edge-line" d="{ticks}"/></svg>'
            "</div>")
