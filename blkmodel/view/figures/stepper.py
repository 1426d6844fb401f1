"""A scenario, call by call: where the kernel is, what it has just changed, what it has taken, and the model's source.

    live(stepper, scenario=Choice(STEPPED), step=Steps(last_step), find="")
"""

from html import escape
from typing import Any

from blkmodel.services import NAMES
from blkmodel.trace import Call, Return
from blkmodel.trace.replay import Replay, Step, shown
from blkmodel.view.draw import kernel_log, kernel_url, panel, who
from blkmodel.view.draw.bus_rows import rows
from blkmodel.view.draw.cards import card
from blkmodel.view.draw.model_source import line_of_call, model_source
from blkmodel.view.draw.path_tree import path_tree
from blkmodel.view.facts.recorded import SCENARIOS, STEPPED as STEPPED, live_sizes, passing_in, passings_of, replay_of
from blkmodel.view.facts.words import many

_CARDS, _HITS, _ROWS = 6, 8, 5


def last_step(scenario: str) -> int:
    """How many steps a scenario has."""
    return len(replay_of(scenario).steps)


def stepper(scenario: str = "tag-set", step: int = 1, find: str = "") -> str:
    """Draw a scenario after `step` steps; 0 is before the first. find: letters of functions to look for."""
    replay = replay_of(scenario)
    now = replay.steps[step - 1] if step else None
    at = replay.end(step)
    changes = replay.changes(now.start, now.end) if now else {}
    hits = replay.calls_of(find) if find else []
    tree = path_tree(replay, step, {number for number, _ in hits})
    parts = [f'<p class="says">{_says(replay, scenario, step)}</p>', _moves(replay, step), _found(find, hits, step),
             f'<div class="two way-and-source"><div>{tree}</div><div>{_source(now)}</div></div>',
             _bus(replay, scenario, now, at), "<h4>Structures</h4>", _structures(replay, now, changes, at),
             f'<div class="two"><div>{_memory(replay, at)}</div>',
             f'<div>{kernel_log(replay.log(at)[-6:], "nothing so far")}</div></div>']
    sheets = "stepper path_tree model_source cards" + " bus" * bool(passings_of(scenario))
    return panel("blk-stepper", _describe(replay, scenario, step, changes), sheets, *parts)


def _says(replay: Replay, scenario: str, number: int) -> str:
    """One sentence: which function does what in this step."""
    if not number:
        return f"{escape(SCENARIOS[scenario].title)}: {len(replay.steps)} steps, and nothing has happened yet."
    step = replay.steps[number - 1]
    ends = f", then calls <code>{escape(step.event.function)}</code>" if type(step.event) is Call else ""
    if type(step.event) is Return and step.path:
        ends = f", then returns {escape(_returned(replay, step.event.value))}".rstrip()
    if replay.recording.contexts[step.context].kind == "device":
        return f"The controller acts by itself{ends}."
    if not step.path:
        return f"Outside the functions that are modelled one by one{ends}."
    verb = "is called" if step.call else "goes on"
    return f"<code>{escape(step.path[-1].function)}</code> {verb}{ends}."


def _returned(replay: Replay, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and -value in NAMES:
        return f"-{NAMES[-value]}"
    if isinstance(value, bytes | bytearray):
        return f"{len(value)} bytes"
    return "" if value is None else shown(replay, "", value).replace("→ ", "", 1)


def _moves(replay: Replay, number: int) -> str:
    """Buttons that lead to another step: into, over, out, and back to the caller."""
    into = number + 1 if number < len(replay.steps) else None
    moves = (("into", "Step into", into), ("over", "Step over", replay.over(number)),
             ("out", "Step out", replay.out(number)), ("caller", "Back to the caller", replay.caller(number)))
    return f'<div class="blk-moves">{"".join(_move(*move, number) for move in moves)}</div>'


def _move(key: str, label: str, target: int | None, number: int) -> str:
    to = f'"step={number}" aria-disabled="true"' if target is None else f'"step={target}"'
    return f'<button type="button" data-key="{key}" data-set={to}>{label}</button>'


def _found(find: str, hits: list[tuple[int, str]], number: int) -> str:
    """Where the functions that are looked for are called: the next few of these steps."""
    if not find:
        return ""
    if not hits:
        return f'<p class="dim">Nothing called here has “{escape(find)}” in its name.</p>'
    ahead = [hit for hit in hits if hit[0] > number] or hits
    buttons = "".join(f'<button type="button" class="blk-call" data-set="step={to}">{to} {escape(name)}</button> '
                      for to, name in ahead[:_HITS])
    where = "ahead" if ahead[0][0] > number else "from the start"
    return f'<p class="dim">{len(hits)} calls; {where}, at step: {buttons}</p>'


def _source(step: Step | None) -> str:
    if step is None or not step.path:
        return '<p class="dim">The source of the current function stands here.</p>'
    node = step.path[-1]
    called = step.event.function if type(step.event) is Call else None
    marked = line_of_call(node.function, node.file, called) if called else None
    url = kernel_url(node.function, node.file)
    kernel = f'<a href="{url}">{escape(node.file)} in the kernel</a>' if url else escape(node.file)
    return (f'<p class="links dim">The model\'s <b>{escape(node.function)}</b> · {kernel}</p>'
            + model_source(node.function, node.file, marked))


def _bus(replay: Replay, scenario: str, step: Step | None, at: int) -> str:
    """What passes in this step, between what passed before and what is still to come; nothing without a bus."""
    if not (passed := passings_of(scenario)):
        return ""
    now = passing_in(scenario, step, at)
    first = max(0, min(now.start - 2, len(passed) - _ROWS))
    shown = range(first, min(max(first + _ROWS, now.stop), len(passed)))
    drawn = rows(passed, shown, now, lambda number: replay.step_of(passed[number].at))
    count = f"{len(now)} pass{'es' * (len(now) == 1)} in this step; " if now else ""
    return (f'<h4>On the bus</h4><p>{count}{now.stop} of {len(passed)} have passed.</p>'
            f'<div class="blk-bus">{drawn}</div>')


def _structures(replay: Replay, step: Step | None, changes: dict[tuple[Any, str], tuple[Any, Any]], at: int) -> str:
    """Cards: what has just changed first, then what the current function and its callers changed last."""
    if step is None:
        return '<p class="dim">What changes is shown here.</p>'
    by_object: dict[int, tuple] = {}
    for (thing, field), pair in changes.items():
        by_object.setdefault(id(thing), (thing, {}))[1][field] = pair
    drawn, more = list(by_object.values())[:_CARDS], len(by_object) - _CARDS
    if more < 0:
        drawn += [(thing, {}) for thing in replay.own(step) if id(thing) not in by_object][:-more]
    note = f'<p class="dim">… and {more} more have changed.</p>' if more > 0 else ""
    if not drawn:
        return '<p class="dim">Nothing has changed yet.</p>'
    made = "".join(card(replay, thing, fields, at) for thing, fields in drawn)
    return f'<div class="blk-cards">{made}</div>{note}'


def _memory(replay: Replay, at: int) -> str:
    (taken, size), (freed, back), last = replay.memory(at)
    latest = f", the latest {escape(last.kind)}, {last.size:,} bytes on node {last.node}" if last else ""
    latest += ", refused" if last and not last.addr else ""
    return (f"<h4>Memory</h4><p>Taken so far: {many(taken, 'allocation')}, {size:,} bytes{latest}. Given back: "
            f"{freed}, {back:,} bytes.</p>" + _spark(replay, at))


def _spark(replay: Replay, at: int) -> str:
    """How many bytes more or less are live over all of the scenario, and where this step is."""
    sizes = live_sizes(replay)
    top, last = max(max(sizes), 1), max(1, len(sizes) - 1)
    points = " ".join(f"{i * 100 / last:.2f},{22 - 20 * size / top:.2f}" for i, size in enumerate(sizes))
    x = at * 100 / max(1, len(replay.events))
    return ('<svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">'
            f'<polygon class="memory" points="0,22 {points} 100,22"/>'
            f'<path class="edge-changed" stroke-width="2" vector-effect="non-scaling-stroke" d="M{x:.2f} 0V24"/></svg>')


def _describe(replay: Replay, scenario: str, number: int, changes: dict[tuple[Any, str], tuple[Any, Any]]) -> str:
    """The figure in words."""
    title = SCENARIOS[scenario].title
    if not number:
        return f"{title}: before the first of {len(replay.steps)} steps."
    step = replay.steps[number - 1]
    whose = replay.recording.contexts[step.context]
    (taken, size), (freed, _), _ = replay.memory(step.end)
    depth = f"{len(step.path)} call{'s' * (len(step.path) > 1)} deep,"
    where = f"{step.path[-1].function}, {depth}" if step.path else "outside the modelled functions,"
    what = ", ".join(f"{replay.name(thing)[0]}.{field} from {shown(replay, field, old)} to "
                     f"{shown(replay, field, new)}" for (thing, field), (old, new) in list(changes.items())[:4])
    rest = f" and {len(changes) - 4} more" if len(changes) > 4 else ""
    passed = [passings_of(scenario)[each].label for each in passing_in(scenario, step, step.end)]
    traffic = f" On the bus: {'; '.join(passed)}." if passed else ""
    return (f"{title}, step {number} of {len(replay.steps)}: {where} in {who(whose)}. "
            f"Changed: {what or 'nothing'}{rest}.{traffic} "
            f"{taken} allocations so far, {size} bytes; {freed} given back.")
