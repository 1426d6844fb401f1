"""Who runs where: CPU and context against time. A call tree hides this: it has one tree for each context, and no order.

    live(swimlane, irqmode=IRQMODES, scheduler=["none", "mq-deadline"], queues=(1, 4), cpu=(0, 7), reads=(1, 3))
    live(swimlane, driver=Fixed("nvme"), op=["read", "write"], queues=(1, 8), cpu=(0, 7))
"""

from html import escape

from blkmodel.trace.lanes import KINDS, Run, runs
from blkmodel.view.draw import panel
from blkmodel.view.facts.lanes import IRQMODES as IRQMODES, main_call, outermost, source_of
from blkmodel.view.facts.recorded import recorded_reads

_ROW, _TOP, _LEAST, _GAP = 44, 22, 7, 9


def swimlane(irqmode: int = 1, scheduler: str = "mq-deadline", queues: int = 2, cpu: int = 5, reads: int = 1,
             op: str = "read", driver: str = "null_blk", shared: bool = True) -> str:
    """Draw who runs where while a disk is read, or written.

    irqmode: how null_blk completes requests, a value of IRQMODES. cpu: the first reader's; each other read is by the
    next. shared: whether the CPUs of a node share a cache.
    """
    done = runs(recorded_reads(irqmode, scheduler, queues, cpu, reads, op, driver, shared))
    lanes = sorted({(run.cpu, KINDS.index(run.kind)) for run in done}, key=lambda lane: (lane[0] < 0, lane))
    places, waits, width = _places(done)
    body = [f'<div class="wait" style="{_across(x, span, width)}">{ns // 1000} µs</div>' for x, span, ns in waits]
    body += [_lane(lane, i > 0 and lanes[i - 1][0] == lane[0], done, places, width) for i, lane in enumerate(lanes)]
    body.append(_arrows(done, lanes, places, width))
    axis = "Left to right: the order of calls" + (", and gaps where virtual time passes." if waits else
                                                  "; no virtual time passes.")
    return panel("blk-swim", _describe(done, waits), "swimlane",
                 f'<div class="field" aria-hidden="true">{"".join(body)}</div><p class="dim">{axis}</p>'
                 f"<ol>{''.join(f'<li>{_line(done, i)}</li>' for i in range(len(done)))}</ol>")


def _places(done: list[Run]) -> tuple[list[tuple[float, float]], list[tuple[float, int, int]], float]:
    """Give each run its place from left to right: [(x, width)], the waits between, [(x, width, ns)], and the end."""
    places, waits, x, time = [], [], 0.0, done[0].time
    for run in done:
        if run.time > time:
            waits.append((x, _GAP, run.time - time))
            x += _GAP
        time = max(time, run.time)
        span = max(_LEAST, len(run.calls) / 2)
        places.append((x, span))
        x += span
    return places, waits, x


def _lane(lane: tuple[int, int], same: bool, done: list[Run], places: list[tuple[float, float]], width: float) -> str:
    cpu, kind = lane[0], KINDS[lane[1]]
    mine = [i for i, run in enumerate(done) if (run.cpu, run.kind) == (cpu, kind)]
    names = ", ".join(dict.fromkeys(done[i].name for i in mine))
    where = f"CPU {cpu} <span>{escape(kind)}" if kind != "device" else "<span>the device"
    parts = [f"<b>{where}{'' if names == kind else f' · {escape(names)}'}</span></b>"]
    for i in mine:
        x, span = places[i]
        later = next((j for j in mine if j > i and done[j].context == done[i].context), None)
        if done[i].asleep is not None and later is not None:
            parts.append(f'<div class="sleep" style="{_across(x + span, places[later][0] - x - span, width)}"></div>')
        parts.append(f'<div class="bar k-{kind}" style="{_across(x, span, width)}" title="{escape(_what(done, i))}">'
                     f"{i + 1} {escape(main_call(done[i]))}</div>")
    return f'<div class="lane{" same" if same else ""}">{"".join(parts)}</div>'


def _across(x: float, span: float, width: float) -> str:
    return f"left:{100 * x / width:.2f}%;width:{100 * span / width:.2f}%"


def _arrows(done: list[Run], lanes: list[tuple[int, int]], places: list[tuple[float, float]], width: float) -> str:
    """A line from where something was queued to where it begins."""
    parts = []
    for i, run in enumerate(done):
        if (source := source_of(done, run)) is not None and run.posted is not None:
            x, span = places[source]
            share = (run.posted - done[source].start) / max(1, done[source].end - done[source].start)
            rows = [_TOP + _ROW * lanes.index((each.cpu, KINDS.index(each.kind))) + 29 for each in (done[source], run)]
            from_x, to_x = 100 * (x + span * share) / width, 100 * places[i][0] / width
            parts.append(f'<line x1="{from_x:.2f}%" y1="{rows[0]}" x2="{to_x:.2f}%" y2="{rows[1]}"/>'
                         f'<circle cx="{from_x:.2f}%" cy="{rows[0]}" r="3"/>'
                         f'<circle cx="{to_x:.2f}%" cy="{rows[1]}" r="4.5"/>')
    return f'<svg class="blk-swim-arrows">{"".join(parts)}</svg>'


def _line(done: list[Run], i: int) -> str:
    run = done[i]
    names = outermost(run)
    calls = " → ".join(f"<code>{escape(name)}</code>" for name in names[:4]) + (" → …" if len(names) > 4 else "")
    queued = "" if run.woken is not None or not (run.queued and run.queued[1]) else \
        f", queued by <code>{escape(run.queued[1])}</code>"
    ends = f"; sleeps in <code>{escape(run.asleep)}</code>" if run.asleep else ""
    wakes = f" goes on in <code>{escape(run.woken)}</code>" if run.woken else ""
    did = run.did if run.kind == "device" else f"{len(run.calls)} calls{f', {calls}' if calls else ''}"
    return f"<b>{escape(_who(run))}</b>{wakes}{queued}: {did or 'looks, and has nothing to do'}{ends}."


def _who(run: Run) -> str:
    name = run.kind if run.kind == "softirq" else f"{run.kind} {run.name}"
    return name if run.kind == "device" else f"{name}, CPU {run.cpu}"


def _what(done: list[Run], i: int) -> str:
    run = done[i]
    queued = f", queued by {run.queued[1]}" if run.woken is None and run.queued and run.queued[1] else ""
    return f"{_who(run)}: {run.did if run.kind == 'device' else f'{len(run.calls)} calls'}{queued}"


def _describe(done: list[Run], waits: list[tuple[float, int, int]]) -> str:
    """The figure in words."""
    said = "; ".join(f"{i + 1}. {_what(done, i)}" + (f", then sleeps in {run.asleep}" if run.asleep else "")
                     for i, run in enumerate(done))
    cpus = sorted({run.cpu for run in done if run.kind != "device"})
    passed = sum(nanoseconds for *_, nanoseconds in waits) // 1000
    time = f"{passed} microseconds of virtual time pass" if passed else "no virtual time passes"
    return f"Who runs where: {len(done)} run{'s' * (len(done) > 1)} on CPU {', '.join(map(str, cpus))}; {time}. {said}."
