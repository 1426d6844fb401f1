"""What happens where memory runs out: one allocation of a scenario fails, and the kernel takes back what it did.

    live(break_it, scenario=Choice(BREAKABLE), allocation=Steps(last_allocation, label="which allocation fails"))
"""

from html import escape

from blkmodel.services import KernelBug
from blkmodel.view.draw import frames, kernel_log, panel
from blkmodel.view.facts.allocation_faults import Story, Taken, alike, given_back, story_of
from blkmodel.view.facts.recorded import BREAKABLE as BREAKABLE, SCENARIOS, attempts

_MANY, _WINDOW, _BEFORE = 100, 32, 20  # rows


def last_allocation(scenario: str) -> int:
    """How many allocations a scenario makes."""
    return attempts(scenario)


def break_it(scenario: str = "tag-set", allocation: int = 12) -> str:
    """Draw how a scenario ends when its n-th allocation fails; 0: none does."""
    story = story_of(scenario, allocation)
    return panel("blk-break", _describe(story), "unwinding break_it", f'<p class="says">{_says(story)}</p>',
                 f'<div class="two"><div>{frames(story.path)}</div><div>{_ending(story)}</div></div>', _takes(story))


def _says(story: Story) -> str:
    title = escape(SCENARIOS[story.scenario].title)
    if not story.allocation:
        return f"{title}: {len(story.taken)} allocations, and none fails. Choose one that does."
    failed = story.taken[story.allocation - 1]
    what = f"<code>{escape(failed.kind)}</code>, {failed.size:,} bytes, for <code>{escape(failed.function)}</code>"
    if isinstance(story.error, KernelBug):
        end = f'<b class="bad">{story.error.name}</b>: {escape(str(story.error))}, and the kernel stops.'
    elif story.error and story.left:
        end = f'it ends in <b class="bad">{story.error.name}</b>, and Linux 5.4 does not give back all that was taken.'
    elif story.error:
        end = f'it ends in <b class="bad">{story.error.name}</b>, and all that was taken is given back.'
    else:
        end = f"the kernel does without, and goes on{story.made}."
    return f"{title}: allocation {story.allocation} fails ({what}); {end}"


def _ending(story: Story) -> str:
    if not story.allocation:
        return kernel_log(story.log)
    after = "" if story.error else "Undone afterwards: "
    left = f"{story.left} differ" if story.left else "the same, and nothing is left"
    return (f"{kernel_log(story.log)}<h4>What is left</h4>"
            f"<p>{after}{story.before} live allocations before, {story.after} after: {left}.</p>")


def _takes(story: Story) -> str:
    """Every allocation as a bar from when it was taken to when it was given back; what unwinds is a funnel."""
    back = sorted((each.until, each.number) for each in given_back(story))
    order = {number: i for i, (_, number) in enumerate(back, 1)}
    runs = alike(story.taken)
    first, last = 0, len(runs)
    if last > _MANY:  # of many rows, those around the one that fails
        at = next((i for i, run in enumerate(runs) if run[0].number == story.allocation), 0)
        first = max(0, min(at - _BEFORE, last - _WINDOW))
        last = first + _WINDOW
    before, after = (f'<li class="dim">{sum(map(len, left))} more</li>' if left else ""
                     for left in (runs[:first], runs[last:]))
    rows = "".join(_row(story, run, order) for run in runs[first:last])
    return (f"<h4>{len(story.taken)} allocations, each with how long it was held</h4>"
            f'<ul class="blk-takes">{before}{rows}{after}</ul>')


def _row(story: Story, run: list[Taken], order: dict[int, int]) -> str:
    first, last = run[0], run[-1]
    numbers = f"{first.number}–{last.number}" if len(run) > 1 else f"{first.number}"
    failed = first.number == story.allocation
    freed = [order[each.number] for each in run if each.number in order]
    where = '<span class="bad">fails</span>' if failed else "kept" if first.until is None else "held for a moment"
    if freed and not failed:
        places = f"{min(freed)}–{max(freed)}" if len(freed) > 1 else f"{freed[0]}"
        where = f"given back as no. {places} in <code>{escape(first.freed_in or 'the command')}</code>"
    size = f"{first.size:,}" + (f" × {len(run)}" if len(run) > 1 else "")
    what = (f"<b>{numbers}</b> <code>{escape(first.kind)}</code> {size} B<br/>"
            f'<small class="dim">{escape(first.function)} · {where}</small>')
    cut = "" if story.cut is None else f'<i class="cut" style="left:{100 * story.cut / story.length:.2f}%"></i>'
    ends = max(story.length if each.until is None else each.until for each in run)
    held = "" if failed else (f'<i class="held" style="left:{100 * first.at / story.length:.2f}%;'
                              f'width:{100 * max(1, ends - first.at) / story.length:.2f}%"></i>')
    state = "fails" if failed else "kept" if first.until is None else "back"
    return (f'<li class="{state}" data-key="a{first.number}"><div class="what">{what}</div>'
            f'<div class="track" aria-hidden="true">{held}{cut}</div></li>')


def _describe(story: Story) -> str:
    """The figure in words."""
    title = SCENARIOS[story.scenario].title
    if not story.allocation:
        return f"{title}: {len(story.taken)} allocations; none fails."
    failed = story.taken[story.allocation - 1]
    back = len(given_back(story))
    end = f"It ends in {story.error.name}." if story.error else f"The kernel does without and goes on{story.made}."
    return (f"{title}: allocation {story.allocation} of {last_allocation(story.scenario)} fails, {failed.kind} of "
            f"{failed.size} bytes, in {failed.function}. {end} {back} allocations are given back after it; "
            f"{story.left or 'nothing'} left in the end. Log: {' / '.join(story.log) or 'nothing'}.")
