"""What happens where memory runs out: one allocation of a scenario fails, and the kernel takes back what it did.

    live(break_it, scenario=Choice(BREAKABLE), allocation=Steps(last_allocation, label="which allocation fails"))
"""

from collections import Counter
from functools import lru_cache
from html import escape
from typing import NamedTuple

from blkmodel.trace import Alloc, Free, Log
from blkmodel.trace.replay import steps_of
from blkmodel.view.draw.figure import panel
from blkmodel.view.draw.styles import sheets
from blkmodel.view.draw.unwinding import frames, kernel_log
from blkmodel.view.facts.recorded import BREAKABLE, SCENARIOS, attempts, live, recorded

__all__ = ["BREAKABLE", "break_it", "last_allocation"]

_MANY, _WINDOW, _BEFORE = 100, 32, 20  # rows
_STYLE = sheets("base", "unwinding", "break_it")


class Taken(NamedTuple):
    """An allocation: its number in the scenario, what and how much, in which function; when, and when it was given
    back and in which function, if it was. Times count allocations and releases."""

    number: int
    kind: str
    size: int
    function: str
    at: int
    until: int
    freed_in: str


def last_allocation(scenario):
    """How many allocations a scenario makes."""
    return attempts(scenario)


def break_it(scenario="tag-set", allocation=12):
    """Draw how a scenario ends when its n-th allocation fails; 0: none does."""
    story = _story(scenario, allocation)
    return panel("blk-break", _describe(story), _STYLE, f'<p class="says">{_says(story)}</p><div class="two"><div>',
                 frames(story.path), "</div><div>", _ending(story), "</div></div>", _takes(story))


class Story(NamedTuple):
    """What a figure tells. cut: at which time the allocation failed. path: the calls it was in. before, after: how many
    allocations are live before it, and once everything is undone; left: how many differ in kind or size. made: what
    came of it all the same."""

    scenario: str
    allocation: int
    taken: list
    cut: int
    path: tuple
    error: object
    log: list
    before: int
    after: int
    left: int
    length: int
    made: str


@lru_cache(maxsize=32)
def _story(scenario, allocation):
    done = recorded(scenario, allocation)
    after = _undone(scenario, done) if allocation else done.before
    events = done.recording.events
    taken, time, cut, path, open_ = [], 0, None, (), {}
    for step in steps_of(events, done.recording.forest()):
        for event in events[step.start:step.end]:
            if type(event) is Alloc:
                function = step.path[-1].function if step.path else ""
                taken.append(Taken(event.attempt - done.first + 1, event.kind, event.size, function, time, None, ""))
                if event.addr:
                    open_[event.addr] = len(taken) - 1
                else:
                    cut, path = time, step.path
            elif type(event) is Free and event.addr in open_:
                at = open_.pop(event.addr)
                function = step.path[-1].function if step.path else ""
                taken[at] = taken[at]._replace(until=time, freed_in=function)
            if type(event) in (Alloc, Free):
                time += 1
    log = [event.line for event in done.recording.of(Log)]
    return Story(scenario, allocation, taken, cut, path, done.error, log, len(done.before), len(after),
                 _differ(done.before, after), time, f", {done.made}" if done.made else "")


def _undone(scenario, done):
    """The live allocations at the end, after what succeeded has been undone."""
    if done.error is None:
        with done.kernel:
            SCENARIOS[scenario].undo()
    return live(done.kernel)


def _differ(before, after):
    """How many allocations are in one of the two only, by kind and size."""
    counts = Counter(before.values())
    counts.subtract(after.values())
    return sum(map(abs, counts.values()))


def _says(story):
    title = escape(SCENARIOS[story.scenario].title)
    if not story.allocation:
        return f"{title}: {len(story.taken)} allocations, and none fails. Choose one that does."
    failed = story.taken[story.allocation - 1]
    what = f"<code>{escape(failed.kind)}</code>, {failed.size:,} bytes, for <code>{escape(failed.function)}</code>"
    if story.error:
        end = f'it ends in <b class="bad">{story.error.name}</b>, and all that was taken is given back.'
    else:
        end = f"the kernel does without, and goes on{story.made}."
    return f"{title}: allocation {story.allocation} fails ({what}); {end}"


def _ending(story):
    proof = ""
    if story.allocation:
        after = "" if story.error else "Undone afterwards: "
        left = f"{story.left} differ" if story.left else "the same, and nothing is left"
        proof = (f"<h4>What is left</h4><p>{after}{story.before} live allocations before, {story.after} after: {left}."
                 "</p>")
    return kernel_log(story.log) + proof


def _takes(story):
    """Every allocation as a bar from when it was taken to when it was given back; what unwinds is a funnel."""
    back = sorted((each.until, each.number) for each in _given_back(story))
    order = {number: i for i, (_, number) in enumerate(back, 1)}
    runs = _alike(story.taken)
    first, last = _shown(story, runs)
    before, after = (f'<li class="dim">{sum(map(len, left))} more</li>' if left else ""
                     for left in (runs[:first], runs[last:]))
    rows = "".join(_row(story, run, order) for run in runs[first:last])
    return (f"<h4>{len(story.taken)} allocations, each with how long it was held</h4>"
            f'<ul class="blk-takes">{before}{rows}{after}</ul>')


def _shown(story, runs):
    """Which rows are drawn, of many: those around the one that fails."""
    if len(runs) <= _MANY:
        return 0, len(runs)
    at = next((i for i, run in enumerate(runs) if run[0].number == story.allocation), 0)
    first = max(0, min(at - _BEFORE, len(runs) - _WINDOW))
    return first, first + _WINDOW


def _given_back(story):
    """The allocations that are given back after the failure."""
    return [each for each in story.taken if story.cut is not None and each.until is not None and each.until > story.cut]


def _alike(taken):
    """Allocations that follow each other and are alike, in one row: [[Taken, …], …]."""
    rows: list[list[Taken]] = []
    for each in taken:
        key = (each.kind, each.size, each.function, each.freed_in, each.until is None)
        if rows and key == (*rows[-1][-1][1:4], rows[-1][-1].freed_in, rows[-1][-1].until is None):
            rows[-1].append(each)
        else:
            rows.append([each])
    return rows


def _row(story, run, order):
    first, last = run[0], run[-1]
    numbers = f"{first.number}–{last.number}" if len(run) > 1 else f"{first.number}"
    failed = first.number == story.allocation
    freed = [order[each.number] for each in run if each.number in order]
    where = ""
    if failed:
        where = '<span class="bad">fails</span>'
    elif freed:
        places = f"{min(freed)}–{max(freed)}" if len(freed) > 1 else f"{freed[0]}"
        where = f"given back as no. {places} in <code>{escape(first.freed_in or 'the command')}</code>"
    elif first.until is not None:
        where = "held for a moment"
    else:
        where = "kept"
    size = f"{first.size:,}" + (f" × {len(run)}" if len(run) > 1 else "")
    tail = f" · {where}" if where else ""
    what = (f"<b>{numbers}</b> <code>{escape(first.kind)}</code> {size} B<br/>"
            f'<small class="dim">{escape(first.function)}{tail}</small>')
    cut = "" if story.cut is None else f'<i class="cut" style="left:{100 * story.cut / story.length:.2f}%"></i>'
    ends = max(story.length if each.until is None else each.until for each in run)
    held = "" if failed else (f'<i class="held" style="left:{100 * first.at / story.length:.2f}%;'
                              f'width:{100 * max(1, ends - first.at) / story.length:.2f}%"></i>')
    state = "fails" if failed else "kept" if first.until is None else "back"
    return (f'<li class="{state}" data-key="a{first.number}"><div class="what">{what}</div>'
            f'<div class="track" aria-hidden="true">{held}{cut}</div></li>')


def _describe(story):
    """The figure in words."""
    title = SCENARIOS[story.scenario].title
    if not story.allocation:
        return f"{title}: {len(story.taken)} allocations; none fails."
    failed = story.taken[story.allocation - 1]
    back = len(_given_back(story))
    end = f"It ends in {story.error.name}." if story.error else f"The kernel does without and goes on{story.made}."
    return (f"{title}: allocation {story.allocation} of {last_allocation(story.scenario)} fails, {failed.kind} of "
            f"{failed.size} bytes, in {failed.function}. {end} {back} allocations are given back after it; "
            f"{story.left or 'nothing'} left in the end. Log: {' / '.join(story.log) or 'nothing'}.")
