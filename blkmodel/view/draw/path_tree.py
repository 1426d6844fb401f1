"""A call tree around one call: the way to it, unfolded; what is beside it, folded; what is still to come, faint."""

from collections.abc import Set
from html import escape
from itertools import groupby

from blkmodel.trace import Node
from blkmodel.trace.replay import Replay
from blkmodel.view.draw.call_tree import source_links, who

_LEVELS, _BEFORE, _AFTER = 3, 2, 2


def path_tree(replay: Replay, number: int, found: Set[int] = frozenset()) -> str:
    """Draw the calls around step `number`. Each call can be chosen: that leads to the step that it begins.

    found: numbers of steps whose calls are marked.
    """
    if not number:
        trees = [node for trees in replay.forest.values() for node in trees]
        return f'<div class="blk-path"><p>Before the first call</p>{_level(replay, trees, None, [], 0, found)}</div>'
    step = replay.steps[number - 1]
    head = f"<p>{escape(who(replay.recording.contexts[step.context]))}</p>"
    path, trees = list(step.path), replay.forest.get(step.context, [])
    way, shown = path[:-_LEVELS], path[-_LEVELS:]
    if way:
        head += f'<div class="way">{" › ".join(_button(replay, node) for node in way)} ›</div>'
        trees = way[-1].calls
    current = shown[0] if shown else None
    return f'<div class="blk-path">{head}{_level(replay, trees, current, shown[1:], step.end, found)}</div>'


def _level(replay: Replay, nodes: list[Node], current: Node | None, below: list[Node], end: int,
           found: Set[int]) -> str:
    """One list of calls: the current one, and some of those before and after it."""
    runs = [list(run) for _, run in groupby(nodes, lambda node: (node.function, node is current))]
    begun = sum(run[-1].start < end for run in runs)
    at = next((i for i, run in enumerate(runs) if run[0] is current), begun)
    low, high = max(0, at - _BEFORE), at + _AFTER + 1
    items = [_more(runs[:low], "before")]
    for run in runs[low:high]:
        inside = "" if run[0] is not current or not current.calls else \
            _level(replay, current.calls, below[0] if below else None, below[1:], end, found)
        items.append(_item(replay, run, current, bool(below), inside, end, found))
    items.append(_more(runs[high:], "after"))
    return f"<ul>{''.join(items)}</ul>"


def _item(replay: Replay, run: list[Node], current: Node | None, on_the_way: bool, inside: str, end: int,
          found: Set[int]) -> str:
    node = run[0]
    state = "way-in" if on_the_way else "now"
    if node is not current:
        state = "later" if node.start >= end else "done"
    state += " found" if {replay.first[each.start] for each in run} & found else ""
    note = f'<span class="note">× {len(run)}</span>' if len(run) > 1 else ""
    note += source_links(node.function, node.file) if node is current else ""
    mark = ' aria-current="step"' if state.startswith("now") else ""
    return f'<li class="{state}"{mark}>{_button(replay, node)}{note}{inside}</li>'


def _button(replay: Replay, node: Node) -> str:
    return (f'<button type="button" class="blk-call" data-set="step={replay.first[node.start]}">'
            f"{escape(node.function)}</button>")


def _more(runs: list[list[Node]], where: str) -> str:
    calls = sum(map(len, runs))
    return f'<li class="later"><span class="note">… {calls} {where}</span></li>' if calls else ""
