"""mq-deadline's lists: the requests by sector and by age, whose turn it is, and which one is given out next, and why.

    live(deadline_lists, wanted="r40 w12 r8 r24 w16 w4 r30", apart=(0, 300, 20), fifo_batch=(1, 16),
         writes_starved=(0, 4), step=Steps(last_step))
"""

from html import escape

from blkmodel.include.linux.blkdev import READ, WRITE
from blkmodel.view.draw import panel
from blkmodel.view.facts.deadline import State, Waiting, states
from blkmodel.view.facts.words import within


def last_step(wanted: str = "r40", apart: int = 0, fifo_batch: int = 16, writes_starved: int = 2) -> int:
    """How many requests there are to give out."""
    return len(states(wanted, apart, fifo_batch, writes_starved)) - 1


def deadline_lists(wanted: str = "r40 w12 r8 r24 w16 w4 r30", apart: int = 0, fifo_batch: int = 16,
                   writes_starved: int = 2, step: int = 0) -> str:
    """Draw mq-deadline's lists after `step` requests were given to the driver.

    wanted: one page each, as in "r40 w12": a read of page 40 of the disk, then a write of page 12, `apart` milliseconds
    later; the driver takes nothing meanwhile. Neighbours are merged. fifo_batch, writes_starved: settings.
    """
    told = states(wanted, apart, fifo_batch, writes_starved)
    within("step", step, len(told) - 1)
    now = told[step]
    nxt = told[step + 1].given[-1] if step + 1 < len(told) else None
    said = f"{now.given[-1].name} was given out: {now.why}. " if now.given else ""
    said += "Nothing waits any more." if nxt is None else f"Next is {nxt.name}."
    counts = (f"Batch: {now.batching} of {fifo_batch}. Reads went before waiting writes: {now.starved} of "
              f"{writes_starved} times.")
    columns = _direction(now, READ, nxt) + _direction(now, WRITE, nxt)
    given = "".join(f"<li>{_chip(each, 'age')}</li>" for each in now.given) or '<li class="dim">nothing yet</li>'
    label = " ".join([said, counts, *(_describe(now, direction) for direction in (READ, WRITE)),
                      f"Given to the driver: {_names(now.given)}."])
    return panel("blk-dd", label, "deadline_lists",
                 f'<p class="now">{escape(said)}</p><p>{escape(counts)}</p><div aria-hidden="true">'
                 '<p class="dim">Framed in red: next. Dashed: what follows the last one on the disk.</p>'
                 f'<div class="two">{columns}</div><h4>Given to the driver, in this order</h4>'
                 f'<ol class="given">{given}</ol></div>')


def _names(requests: tuple[Waiting, ...]) -> str:
    return ", ".join(each.name for each in requests) or "nothing"


def _describe(now: State, direction: int) -> str:
    return (f"{'Writes' if direction else 'Reads'} by sector: {_names(now.by_sector[direction])}; by age: "
            + (", ".join(f"{each.name} ({_left(each)})" for each in now.by_age[direction]) or "nothing") + ".")


def _left(each: Waiting) -> str:
    return f"{each.left} ms left" if each.left > 0 else f"{-each.left} ms late" if each.left else "late now"


def _direction(now: State, direction: int, nxt: Waiting | None) -> str:
    what = "Writes" if direction else "Reads"
    rows = ""
    for title, key, requests in ((f"{what}, by sector", "sector", now.by_sector[direction]),
                                 (f"{what}, the oldest first", "age", now.by_age[direction])):
        chips = "".join(_chip(each, key, _marks(each, next=nxt, follows=now.follows),
                              _left(each) if key == "age" else "") for each in requests)
        rows += f"""<h4>{title}</h4><div class="chips">{chips or '<span class="dim">none</span>'}</div>"""
    return f"<div>{rows}</div>"


def _marks(each: Waiting, **others: Waiting | None) -> str:
    """The names of those of the others that are this one."""
    return " ".join(mark for mark, other in others.items() if other and other[:2] == each[:2])


def _chip(each: Waiting, key: str, marks: str = "", below: str = "") -> str:
    """A request. The one in the list by age is the one that moves to what was given out."""
    late = " late" if below and each.left <= 0 else ""
    small = f"<small>{below}</small>" if below else ""
    return (f'<span class="rq {each.kind}{late}{f" {marks}" if marks else ""}" data-key="{key}-{each.name}">'
            f"<b>{each.name}</b>{small}</span>")
