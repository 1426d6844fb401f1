"""What happens where a controller misbehaves while it is brought up: who notices, what each caller makes of it, what
the driver does next, and that nothing is left.

    live(break_controller, fault=Choice(FAULTS), where=Steps(last_place))
"""

from collections import Counter
from html import escape

from blkmodel.device import FAIL, SILENT, STUCK
from blkmodel.view.draw import frames, kernel_log, panel
from blkmodel.view.facts.controller_faults import FAULTS as FAULTS, QUEUES, Story, ending, places, sentence, story_of
from blkmodel.view.facts.words import within


def last_place(fault: str) -> int:
    """At how many places of a probe a fault can be: steps, commands, queues, vectors or CPUs."""
    return {"granted": QUEUES - 1, "usable": QUEUES - 1, "vectors": QUEUES, "cpu": QUEUES, STUCK: 1,
            FAIL: len(places()) - 1, SILENT: len(places()) - 1}.get(fault, len(places()))


def break_controller(fault: str = FAIL, where: int = 8, again: bool = True) -> str:
    """Draw how a probe goes when something is wrong with the controller; where=0: nothing is.

    again: a command that fails says nothing against trying it again.
    """
    within("where", where, last_place(fault))
    story = story_of(fault if where else "", where, again)
    usual = Counter(each.what for each in story_of("", 0, True).doings)
    return panel("blk-break", _describe(story, fault, where), "unwinding break_controller",
                 f'<p class="says">{_says(story, fault, where)}</p><div class="two"><div>{_noticed(story)}</div>',
                 f"<div>{kernel_log(story.log)}{_left(story, where)}</div></div>",
                 f'<h4>What they did; bold: only now</h4><ol class="blk-doings">{_doings(story, usual)}</ol>')


def _says(story: Story, fault: str, where: int) -> str:
    """The figure's first line."""
    if not where:
        return f"Nothing is wrong: {ending(story)}. Choose what is, and where."
    said, end = sentence(story, fault, where), escape(ending(story))
    if story.error:
        end = end.replace(story.error.name, f'<b class="bad">{story.error.name}</b>', 1)
    return f"{escape(said[0].upper() + said[1:])}; {end}."


def _noticed(story: Story) -> str:
    """Which calls hear of the trouble, and what each of them returned; or that nobody waits for it."""
    if story.trouble is None:
        return ""
    said = story.trouble.outcome
    status = int(said.split()[1].strip(","), 16) if said.startswith("status") else None
    return frames(story.path, status) or "<h4>Who hears of it</h4><p>Nobody waits for this command.</p>"


def _left(story: Story, where: int) -> str:
    if not where:
        return ""
    same = "the same, and nothing is left" if story.before == story.after else "not the same"
    before, after = (f"{live} live allocations and {irqs} interrupts" for live, irqs in (story.before, story.after))
    return (f"<h4>What is left</h4><p>{'' if story.error else 'Unplugged afterwards: '}{before} before, {after} after: "
            f"{same}.</p>")


def _doings(story: Story, usual: Counter[str]) -> str:
    """The steps as a list; what there would not be without a fault stands out."""
    rows, seen, time = [], Counter[str](), 0
    for each in story.doings:
        seen[each.what] += 1
        if each.time - time >= 100_000_000:
            rows.append(f'<li class="passes"><span>{(each.time - time) / 1e9:.3g} s pass</span><span></span></li>')
        time = each.time
        state = "failed" if each is story.trouble else "new" if seen[each.what] > usual[each.what] else ""
        what = f"<code>{each.what}</code>" if each.code else escape(each.what)
        tone = "bad" if each.outcome.startswith("status") or each is story.trouble else "dim"
        rows.append(f'<li class="{state}"><span>{what}</span><span class="{tone}">{escape(each.outcome)}</span></li>')
    return "".join(rows)


def _describe(story: Story, fault: str, where: int) -> str:
    """The figure in words."""
    if not where:
        return f"A controller is brought up in {len(story.doings)} steps, and nothing is wrong."
    after = [each.what for each in story.doings if each.at > story.trouble.at]
    heard = ", ".join(node.function for node in reversed(story.path)) or "nobody"
    return (f"A controller is brought up; {sentence(story, fault, where)}. Who hears of it: {heard}. Then: "
            f"{', '.join(after) or 'nothing'}. {ending(story)[0].upper() + ending(story)[1:]}. "
            f"Log: {' / '.join(story.log)}.")
