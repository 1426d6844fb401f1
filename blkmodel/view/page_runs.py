"""The page runs that hold one hardware queue's requests: how many fit, and what is left over."""

from blkmodel.include.linux.gfp import PAGE_SIZE
from blkmodel.sim.structure import sizeof
from blkmodel.view.figure import figure, group, rect, text

_SHOWN = 12
_LEFT, _BAR, _NOTE = 108, 440, 150


def page_runs(tags, memory):
    """Draw the runs of a blk_mq_tags in the order in which they were allocated, to scale."""
    runs = contents(tags, memory)
    widest = max(run["size"] for run in runs)
    shown = runs if len(runs) <= _SHOWN else runs[:_SHOWN - 1] + runs[-1:]
    parts, y = [text(_LEFT, 14, f"{runs[0]['stride']} bytes a request", "small dim")], 24
    for run in shown:
        if run is runs[-1] and len(shown) < len(runs):
            parts.append(text(_LEFT, y + 10, f"… {len(runs) - len(shown)} runs more …", "small dim"))
            y += 20
        parts.append(_bar(run, y, _BAR / widest))
        y += 30
    waste = sum(run["waste"] for run in runs)
    parts.append(text(_LEFT, y + 12, f"{len(runs)} runs, {sum(run['size'] for run in runs) >> 10} KiB; "
                                     f"{waste} bytes are never used", "dim"))
    return figure(_LEFT + _BAR + _NOTE, y + 24, describe(runs), parts)


def contents(tags, memory):
    """Return one dict a run: addr, size, order, first and last tag, stride and waste; sizes in bytes."""
    requests = sorted((rq._addr, tag) for tag, rq in enumerate(tags.static_rqs) if rq is not None)
    stride = requests[1][0] - requests[0][0] if len(requests) > 1 else sizeof("u64")
    runs = []
    for page in tags.page_list:
        size = PAGE_SIZE << page.private
        inside = [tag for addr, tag in requests if page._addr <= addr < page._addr + size]
        runs.append({"addr": page._addr, "size": size, "order": page.private, "first": min(inside), "last": max(inside),
                     "stride": stride, "waste": size - len(inside) * stride,
                     "node": memory.live[page._addr].node})
    return runs


def describe(runs):
    """Say in words what the runs hold."""
    return " ".join([f"{len(runs)} page runs hold the requests of one hardware queue."]
                    + [f"Order {run['order']}, {run['size'] >> 10} KiB: requests {run['first']} to {run['last']}, "
                       f"{run['waste']} bytes left over." for run in runs[:_SHOWN]])


def _bar(run, y, scale):
    width, used = run["size"] * scale, (run["size"] - run["waste"]) * scale
    count = run["last"] - run["first"] + 1
    parts = [text(_LEFT - 8, y + 15, f"order {run['order']} · {run['size'] >> 10} KiB", "small", "end"),
             rect(_LEFT, y, width, 22, "box waste", 2), rect(_LEFT, y, used, 22, "box memory", 2)]
    step = max(1, count // 110)
    ticks = "".join(f"M{_LEFT + i * run['stride'] * scale:g} {y}v22" for i in range(step, count, step))
    parts.append(f'<path class="edge-line" stroke-width=".6" d="{ticks}"/>')
    parts.append(text(_LEFT + width + 8, y + 15, f"tags {run['first']}–{run['last']}", "small"))
    return group(parts, "part", f"{run['addr']:#x}, node {run['node']}: {count} requests of {run['stride']} bytes, "
                               f"{run['waste']} bytes left over")
