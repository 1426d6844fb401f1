"""Which hardware queue each CPU uses: CPUs → software queues → hardware queues → tags."""

from blkmodel.sim.machine import format_cpulist
from blkmodel.view.figure import curve, figure, group, rect, text

TYPES = ("default", "read", "poll")
_LEFT, _CPU, _CTX, _LINKS, _HCTX = 26, 58, 34, 110, 150


def queue_map(q, kernel, focus=-1):
    """Draw the map of a request queue. `focus`: a CPU whose path is lit while the others fade; -1 for none."""
    cpus = sorted(kernel.machine.possible)
    row = 22 if len(cpus) <= 32 else 14
    hctxs = list(q.queue_hw_ctx[:q.nr_hw_queues])
    cpu_y, bands, bottom = _place_cpus(cpus, kernel, row)
    hctx_height = max(26, min(44, (bottom - 34) / len(hctxs) - 6))
    span = len(hctxs) * (hctx_height + 6)
    top = 34 + max(0, (bottom - 34 - span) / 2)
    hctx_y = [top + i * (hctx_height + 6) for i in range(len(hctxs))]
    x_cpu, x_ctx = _LEFT, _LEFT + _CPU + 4
    x_from, x_hctx = x_ctx + _CTX, x_ctx + _CTX + _LINKS
    width, height = x_hctx + _HCTX + 6, max(bottom, hctx_y[-1] + hctx_height) + 8
    parts = [text(x_cpu, 16, "CPU", "head"), text(x_ctx, 16, "ctx", "head"), text(x_hctx, 16, "hctx: tags", "head")]
    parts += bands
    edges, boxes = [], []
    for cpu in cpus:
        ctx = q.queue_ctx[cpu]
        kinds = _kinds_of(ctx, q)
        lit = "" if focus < 0 else " lit" if cpu == focus else " faint"
        middle = cpu_y[cpu] + row / 2
        edges += [curve(x_from, middle, x_hctx, hctx_y[hctx.queue_num] + hctx_height / 2,
                        f"edge edge-{TYPES[kind]}{lit}") for kind, hctx in kinds]
        boxes.append(_cpu_row(cpu, cpu_y[cpu], row, kernel, x_cpu, x_ctx, kinds))
    for hctx, y in zip(hctxs, hctx_y, strict=True):
        boxes.append(_hctx_box(hctx, x_hctx, y, hctx_height))
    return figure(width, height, describe(q, kernel), parts + edges + boxes)


def describe(q, kernel):
    """Say in words what the map shows."""
    lines = [f"{kernel.nr_cpu_ids} possible CPUs on {len(kernel.machine.nodes)} node(s) "
             f"use {q.nr_hw_queues} hardware queue(s)."]
    for hctx in q.queue_hw_ctx[:q.nr_hw_queues]:
        cpus = format_cpulist(c for c in kernel.machine.possible if hctx.cpumask.bits >> c & 1)
        tags = hctx.tags.nr_tags if hctx.tags else 0
        lines.append(f"Hardware queue {hctx.queue_num} ({TYPES[hctx.type]}): CPUs {cpus or 'none'}, {tags} tags.")
    return " ".join(lines)


def _kinds_of(ctx, q):
    """The (type, hctx) pairs of a software queue, without the types that fall back to another's queue."""
    maps = q.tag_set.map[:q.tag_set.nr_maps]
    return [(kind, ctx.hctxs[kind]) for kind, qmap in enumerate(maps)
            if qmap.nr_queues and ctx.hctxs[kind] is not None]


def _place_cpus(cpus, kernel, row):
    """Give each CPU a row, node by node; return the rows, the nodes' bands, and where they end."""
    places, bands, y = {}, [], 30
    for node, members in sorted(kernel.machine.nodes.items()):
        start = y
        for cpu in sorted(members):
            places[cpu] = y + 2
            y += row
        bands.append(rect(2, start, _LEFT + _CPU + _CTX + 6, y - start + 4, "band"))
        label = f'<text class="small dim" transform="translate(14 {(start + y) / 2 + 4:g}) rotate(-90)"'
        bands.append(f'{label} text-anchor="middle">node {node}</text>')
        y += 8
    return places, bands, y


def _cpu_row(cpu, y, row, kernel, x_cpu, x_ctx, kinds):
    machine, box = kernel.machine, row - 3
    state = "" if cpu in kernel.online else " absent"
    core = next((s for s in machine.siblings if cpu in s and len(s) > 1), None)
    tip = f"CPU {cpu}, node {machine.node_of[cpu]}" + (f", shares a core with {format_cpulist(core - {cpu})}" if core
                                                       else "")
    tip += "" if cpu in kernel.online else ", not there yet" if cpu not in machine.present else ", offline"
    tip += "".join(f"; {TYPES[kind]} → hctx {hctx.queue_num}" for kind, hctx in kinds)
    size = "small" if row < 20 else ""
    parts = [rect(x_cpu, y, _CPU, box, f"box cpu{state}"), text(x_cpu + 6, y + box - 4, f"CPU {cpu}", size),
             rect(x_ctx, y, _CTX, box, f"box ctx{state}", radius=box / 2),
             text(x_ctx + _CTX / 2, y + box - 4, cpu, size, "middle")]
    if core and cpu != min(core):
        parts.append(f'<path class="edge-line" stroke-width="2" d="M{x_cpu - 3:g} {y - row + 4:g}V{y + box - 4:g}"/>')
    return group(parts, "part", tip)


def _hctx_box(hctx, x, y, height):
    kind = TYPES[hctx.type]
    tags = hctx.tags.nr_tags if hctx.tags else 0
    label = f"{hctx.queue_num} {kind}" if hctx.nr_ctx else f"{hctx.queue_num} unused"
    return group([rect(x, y, 84, height, kind), text(x + 8, y + height / 2 + 4, label, "on head"),
                  rect(x + 88, y, 56, height, "box edge-tags"),
                  text(x + 116, y + height / 2 + 4, tags, "", "middle")],
                 "part", f"hctx {hctx.queue_num}: {hctx.nr_ctx} software queues, {tags} tags, node {hctx.numa_node}")
