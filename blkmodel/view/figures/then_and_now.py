"""An I/O in Linux 5.4 beside the same in 6.12: which calls are as they were, and of each other one since when and why.

    live(then_and_now, scenario=SCENES, change=Steps(last_change, label="difference"), unfold=False)
"""

from collections import Counter
from collections.abc import Iterator
from html import escape
from itertools import groupby, zip_longest

from blkmodel.view.draw import panel, table
from blkmodel.view.facts.since import (ADDED, MOVED, REMOVED, RENAMED, SCENES, STILL, UNSEEN, Change, Line, Row, beside,
    differences)
from blkmodel.view.facts.words import many, within

MARKS = {RENAMED: "→", REMOVED: "−", ADDED: "+", STILL: "=", MOVED: "↕", UNSEEN: "·"}
MEANS = {RENAMED: "has another name", REMOVED: "is gone", ADDED: "is new",
         STILL: "is there in both, but inline or called by others", MOVED: "is called in both, at another place",
         UNSEEN: "not seen: the other kernel has it too, but did not call it, or had it compiled into its caller"}
_COMMIT = "https://git.kernel.org/linus/"
_FOLD = 3  # calls that are as they were, one after the other, are folded from so many on


def last_change(scenario: str = "read-4k") -> int:
    """How many differences there are to tell of."""
    return len(differences(scenario))


def then_and_now(scenario: str = "read-4k", change: int = 0, unfold: bool = False) -> str:
    """Draw the calls of both kernels. change: the difference that is told of, 0 for none."""
    told, rows = differences(scenario), beside(scenario)
    within("change", change, len(told))
    numbers = {each: number for number, each in enumerate(told, 1)}
    calls = [row for row in rows if any(line and line.depth for line in row[:2])]
    count = Counter(row.kind for row in calls)
    title = next(title for title, name in SCENES.items() if name == scenario)
    said = (f"To {title}: {many(sum(row.then is not None for row in calls), 'call')} in 5.4 and "
            f"{sum(row.now is not None for row in calls)} in 6.12; {count['']} are as they were"
            + "".join(f", {count[kind]} {kind}" for kind in MARKS if count[kind]) + ".")
    chosen = told[change - 1] if change else ()
    words = f"Difference {change} of {len(told)}: {' '.join(map(_words, chosen))}" if change else \
        f"{many(len(told), 'difference')} to step through; a click on one shows it."
    body = "</tbody><tbody>".join(_lines([*rows], numbers, change, unfold))
    keys = "".join(f"<li><b>{MARKS[kind]}</b> {means}</li>" for kind, means in MEANS.items() if count[kind])
    return panel("blk-since", f"{said} {words} {'Every call is shown.' if unfold else 'Calls alike are folded.'}",
                 "then_and_now", f'<p>{escape(said)}</p><div class="told">{_told(chosen) or f"<p>{words}</p>"}</div>',
                 f'<div class="box" tabindex="0">{table(("Linux 5.4", "Linux 6.12"), body)}</div>',
                 f'<ul class="keys">{keys}</ul>')


def _words(change: Change) -> str:
    name = f"{change.then} is {change.now} now" if change.kind == RENAMED else \
        f"{change.now if change.then == '-' else change.then} {MEANS[change.kind]}"
    return f"{name}, since {change.since}: {change.why}."


def _told(chosen: tuple[Change, ...]) -> str:
    """Each change with its release, and its commit where that is known."""
    return "".join(f"<p>{escape(_words(each))} " + (
        "We do not know the commit." if each.commit == "-" else
        f'<a href="{_COMMIT}{each.commit}">{each.commit}</a>') + "</p>" for each in chosen)


def _lines(rows: list[Row], numbers: dict[tuple[Change, ...], int], change: int, unfold: bool) -> Iterator[str]:
    """The table's rows, those that fold together at a time: they are a body of its own, and when one opens the others
    need not be laid out anew. What only one side has stands beside what only the other has, to save room."""
    for (alike, paired), found in groupby(rows, lambda row: (row.kind == "", row.then is not None is not row.now)):
        run = [*found]
        if alike and len(run) >= _FOLD and not unfold:
            names = f"{run[0].then.name} … {run[-1].then.name}" if run[0].then and run[-1].then else ""
            yield f'<tr class="fold"><td colspan="2">{len(run)} calls as they were: {names}</td></tr>'
            continue
        left = [row for row in run if row.then] if paired or alike else [row for row in run if row.then and not row.now]
        right = [row for row in run if row.now]
        yield "".join(f"<tr>{_cell(old, old and old.then, numbers, change)}"
                      f"{_cell(new, new and new.now, numbers, change)}</tr>" for old, new in zip_longest(left, right))


def _cell(row: Row | None, line: Line | None, numbers: dict[tuple[Change, ...], int], change: int) -> str:
    if row is None or line is None:
        return "<td></td>"
    number = numbers.get(row.changes, 0)
    kind = f"{row.kind.replace(' ', '-')}{' chosen' if number and number == change else ''}"
    to = f' data-set="change={number}"' if number else ""
    mark = f"<b>{MARKS[row.kind]}</b>" if row.kind else ""
    return (f'<td class="{kind}"{to} style="padding-left:{line.depth * .5 + .4:g}em">{mark}'
            f"<code>{escape(line.name)}</code></td>")
