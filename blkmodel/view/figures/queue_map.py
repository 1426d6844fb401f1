"""Which hardware queue each CPU uses, and what is behind it.

CPUs → software queues (ctx) → hardware queues (hctx) by type → tags → queue pairs → interrupt vectors → CPUs. The
columns have a fixed width; the lines between CPUs and queues take what room there is, so it fits a phone and a page.
"""

from html import escape
from itertools import pairwise
from typing import Any

from blkmodel.include.linux.blk_mq import blk_mq_hw_ctx
from blkmodel.include.linux.blkdev import request_queue
from blkmodel.sim import Kernel, format_cpulist
from blkmodel.view.draw import group, plain, rect, text
from blkmodel.view.facts.queue_facts import (TYPES, describe, hctxs, kinds_of, nodes_of, pair_of, path, served,
    spare_pairs, summary, vector_of)

_TOP, _CPU, _CTX = 22, 30, 26
_WIDE = {"hctx": 26, "tags": 35, "node": 25, "pair": 26, "vec": 24, "CPUs": 52}


def queue_map(q: request_queue, kernel: Kernel, focus: int | None = None) -> str:
    """Draw the map of a request queue. `focus`: a CPU whose path is lit while the others fade; None for none."""
    focus = focus if focus in kernel.machine.possible else None
    rows, queues = _cpu_rows(kernel), _queue_rows(q)
    height = max(rows["bottom"], queues["bottom"])
    for part in (rows, queues):
        part["shift"] = (height - part["bottom"]) / 2 if len(part["at"]) < 9 else 0
    lit = {hctx for _, hctx in kinds_of(q.queue_ctx[focus], q)} if focus is not None else set()
    said = ""
    if focus is not None:
        where, *ways = path(q, kernel, focus)
        said = f"<p><b>{escape(where)}</b>: {escape('; '.join(ways))}.</p>"
    field = (_left(q, kernel, rows, height, focus) + _lines(q, rows, queues, height, focus)
             + _right(q, kernel, queues, height, focus, lit))
    return plain(f'<div class="field" role="img" aria-label="{escape(describe(q, kernel, focus))}">{field}</div>'
                 f"{said}<p>{escape(summary(q, kernel))}</p>", "blk-map", "queue_map")


def _cpu_rows(kernel: Kernel) -> dict[str, Any]:
    """Give each CPU a place, node by node: at: CPU → y; bands: (node, y, height); row: the height of one."""
    count = len(kernel.machine.possible)
    row = 24 if count <= 16 else 19 if count <= 32 else 15
    at, bands, y = {}, [], _TOP
    for node, members in sorted(kernel.machine.nodes.items()):
        start, y = y, y + 3
        for cpu in sorted(members):
            at[cpu] = y
            y += row
        y += 2
        bands.append((node, start, y - start))
        y += 6
    return {"at": at, "bands": bands, "row": row, "bottom": y - 4}


def _queue_rows(q: request_queue) -> dict[str, Any]:
    """Give each hardware queue a place, type by type: at: number → y; heads: (type, y); row: the height of one."""
    row = 28 if q.nr_hw_queues <= 8 else 20 if q.nr_hw_queues <= 24 else 16
    at, heads, y, kind = {}, [], _TOP, None
    for hctx in hctxs(q):
        if hctx.type != kind:
            kind = hctx.type
            heads.append((TYPES[kind], y))
            y += 17
        at[hctx.queue_num] = y
        y += row
    return {"at": at, "heads": heads, "row": row, "bottom": y + (18 if spare_pairs(q) else 0)}


def _svg(width: int, height: int, parts: list[str], classes: str, box: int | None = None) -> str:
    size = f'width="{width:g}"' if width else 'preserveAspectRatio="none"'
    return (f'<svg xmlns="http://www.w3.org/2000/svg" class="{classes}" aria-hidden="true" style="height:{height:g}px" '
            f'viewBox="0 0 {box or width:g} {height:g}" {size}>{"".join(parts)}</svg>')


def _left(q: request_queue, kernel: Kernel, rows: dict[str, Any], height: int, focus: int | None) -> str:
    """Nodes, CPUs and their software queues."""
    width, shift = 18 + _CPU + 4 + _CTX, rows["shift"]
    parts = [text(18, 13, "CPU", "small head"), text(22 + _CPU, 13, "ctx", "small head")]
    for node, y, tall in rows["bands"]:
        parts.append(rect(0, y + shift, width, tall, "band"))
        label = f"node {node}" if tall > 40 else str(node)
        parts.append(f'<text class="small dim" text-anchor="middle" transform="translate(9 {y + shift + tall / 2:g}) '
                     f'rotate(-90)">{label}</text>')
    parts += [_cpu(q, kernel, cpu, y + shift, rows, focus) for cpu, y in rows["at"].items()]
    return _svg(width, height, parts, "blk-map-side")


def _cpu(q: request_queue, kernel: Kernel, cpu: int, y: float, rows: dict[str, Any], focus: int | None) -> str:
    on, row = kernel.machine, rows["row"]
    box = row - 3
    absent = "" if cpu in kernel.online else " absent"
    core = next((s for s in on.siblings if cpu in s and len(s) > 1), None)
    parts = [rect(18, y, _CPU, box, f"box cpu{absent}{' lit-box' if cpu == focus else ''}"),
             text(18 + _CPU / 2, y + box / 2 + 4, cpu, "num", "middle"),
             rect(22 + _CPU, y, _CTX, box, f"box ctx{absent}{' lit-box' if cpu == focus else ''}", radius=box / 2),
             text(22 + _CPU + _CTX / 2, y + box / 2 + 4, cpu, "num", "middle")]
    if core and cpu != min(core) and rows["at"][cpu] - row in [rows["at"][c] for c in core]:
        parts.append(f'<path class="edge-line" stroke-width="2.5" d="M15.5 {y - row + 4:g}V{y + box - 4:g}"/>')
    away = " away" if focus not in (None, cpu) else ""
    target, tip = "null" if cpu == focus else cpu, "; ".join(path(q, kernel, cpu))
    return f'<g class="part{away}" data-set="focus={target}"><title>{escape(tip)}</title>{"".join(parts)}</g>'


def _lines(q: request_queue, rows: dict[str, Any], queues: dict[str, Any], height: int, focus: int | None) -> str:
    """A line from each software queue to each of its hardware queues."""
    parts = []
    for cpu, y in sorted(rows["at"].items(), key=lambda each: each[0] == focus):
        start = y + rows["shift"] + (rows["row"] - 3) / 2
        state = "" if focus is None else " lit" if cpu == focus else " faint"
        for kind, hctx in kinds_of(q.queue_ctx[cpu], q):
            end = queues["at"][hctx.queue_num] + queues["shift"] + (queues["row"] - 4) / 2
            parts.append(f'<path class="edge edge-{TYPES[kind]}{state}" '
                         f'd="M0 {start:g}C50 {start:g} 50 {end:g} 100 {end:g}"/>')
    return _svg(0, height, parts, f"blk-map-lines{' dense' if len(parts) > 96 and focus is None else ''}", 100)


def _right(q: request_queue, kernel: Kernel, queues: dict[str, Any], height: int, focus: int | None,
           lit: set[blk_mq_hw_ctx]) -> str:
    """Hardware queues, and what is behind each."""
    shown = [name for name in _WIDE if (name != "node" or len(kernel.machine.nodes) > 1)
             and (name in ("hctx", "tags", "node") or pair_of(q.queue_hw_ctx[0]))]
    x, left = {}, 0
    for name in shown:
        x[name] = left
        left += _WIDE[name] + 6
    parts = [text(x[name] + (0 if name == "CPUs" else _WIDE[name] / 2), 13, name, "small head",
                  "start" if name == "CPUs" else "middle") for name in shown]
    for kind, y in queues["heads"]:
        middle = y + queues["shift"] + 8
        parts += [f'<path class="edge edge-{kind}" stroke-width="2" d="M1 {middle:g}h24"/>',
                  text(32, middle + 4, f"type {kind}", "small dim")]
    for hctx in hctxs(q):
        parts.append(_hctx(hctx, kernel, x, queues["at"][hctx.queue_num] + queues["shift"], queues["row"] - 4,
                           " away" if focus is not None and hctx not in lit else "", " lit-box" if hctx in lit else ""))
    if spare_pairs(q):
        below = queues["bottom"] + queues["shift"] - 5
        parts.append(text(0, below, f"+ {spare_pairs(q)} pairs not created", "small dim"))
    return _svg(max(left + 4, 94 if queues["heads"] else 0), height, parts, "blk-map-side")


def _hctx(hctx: blk_mq_hw_ctx, kernel: Kernel, x: dict[str, int], y: float, tall: float, away: str, lit: str) -> str:
    used, pair = bool(hctx.nr_ctx), pair_of(hctx)
    middle = y + tall / 2 + 4

    def box(name: str, what: str | int, kind: str, on: str = "") -> list[str]:
        wide = _WIDE[name]
        return [rect(x[name], y, wide, tall, f"box {kind}{lit}"),
                text(x[name] + wide / 2, middle, what, f"num {on}".strip(), "middle")]

    links = [each for each in pairwise(x) if not {"node", "CPUs"} & set(each)]
    parts = [f'<path class="edge-line" stroke-width="1.5" d="M{x[a] + _WIDE[a]:g} {y + tall / 2:g}H{x[b]:g}"/>'
             for a, b in links]
    parts += box("hctx", hctx.queue_num, TYPES[hctx.type] if used else "absent", "on head" if used else "")
    parts += box("tags", hctx.tags.nr_tags if hctx.tags else "none", "edge-tags" if hctx.tags else "absent")
    tip = f"hctx {hctx.queue_num} ({TYPES[hctx.type]}): used by CPUs {format_cpulist(served(hctx)) or 'none'}"
    nodes = nodes_of(hctx, kernel)
    if "node" in x:
        others = [node for node in nodes if node != hctx.numa_node]
        parts.append(text(x["node"] + 12.5, middle, f"{hctx.numa_node}{'+' if others else ''}",
                          "num head" if others else "num dim", "middle"))
        tip += f", of nodes {format_cpulist(nodes)}; its memory is on node {hctx.numa_node}"
    if pair:
        vector = vector_of(pair)
        parts += box("pair", f"q{pair.qid}", "band")
        tip += f"; queue pair {pair.qid}"
        if vector:
            parts += box("vec", vector.number, "memory")
            cpus = format_cpulist(vector.cpus)
            parts.append(text(x["CPUs"], middle, cpus if len(cpus) < 10 else f"{cpus[:8].rpartition(',')[0]}…", "num"))
            tip += (f"; vector {vector.number}, IRQ {vector.irq}: may interrupt CPUs {cpus}, "
                    f"now {format_cpulist(vector.now)}")
        else:
            parts.append(text(x["vec"], middle, "polled", "num dim"))
            tip += ", polled"
    return group(parts, f"part{away}", tip)
