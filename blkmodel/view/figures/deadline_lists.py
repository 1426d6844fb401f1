"""mq-deadline's lists: the requests by sector and by age, whose turn it is, and which one is given out next, and why.

    live(deadline_lists, wanted="r40 w12 r8 r24 w16 w4 r30", apart=(0, 300, 20), fifo_batch=(1, 16),
         writes_starved=(0, 4), step=Steps(last_step))
"""

from functools import lru_cache
from html import escape
from typing import NamedTuple

from blkmodel import scenario
from blkmodel.block import blk_mq
from blkmodel.fs.aio import io_submit, iocb, kioctx
from blkmodel.include.linux.blkdev import READ, WRITE, blk_rq_sectors, rq_data_dir
from blkmodel.include.linux.elevator import rb_entry_rq
from blkmodel.services.files.file import O_DIRECT, O_RDWR, filp_open
from blkmodel.services.files.uio import map_user_buffer
from blkmodel.services.tasks.jiffies import jiffies, jiffies_to_msecs, time_after_eq
from blkmodel.sim import booted
from blkmodel.sim.memory import PAGE_SIZE
from blkmodel.view.draw.figure import panel
from blkmodel.view.draw.styles import sheets

__all__ = ["deadline_lists", "last_step"]

_MOST = 16
_STYLE = sheets("base", "deadline_lists")


class Waiting(NamedTuple):
    """A request: `r` or `w`, its first page on the disk and the number of its pages, and the ms that it has left."""

    kind: str
    page: int
    pages: int
    left: int

    @property
    def name(self):
        """How a reader would write it."""
        return f"{self.kind}{self.page}" + (f"–{self.page + self.pages - 1}" if self.pages > 1 else "")


class State(NamedTuple):
    """The scheduler at a moment. by_sector and by_age: the waiting requests of each direction; follows: what comes
    after the last one given out, or None. given: what the driver has, in order; why: of the last of them."""

    now: int
    by_sector: tuple[tuple[Waiting, ...], ...]
    by_age: tuple[tuple[Waiting, ...], ...]
    follows: Waiting | None
    batching: int
    starved: int
    given: tuple[Waiting, ...]
    why: str


def last_step(wanted="r40", apart=0, fifo_batch=16, writes_starved=2):
    """How many requests there are to give out."""
    return len(states(wanted, apart, fifo_batch, writes_starved)) - 1


def deadline_lists(wanted="r40 w12 r8 r24 w16 w4 r30", apart=0, fifo_batch=16, writes_starved=2, step=0):
    """Draw mq-deadline's lists after `step` requests were given to the driver.

    wanted: one page each, as in "r40 w12": a read of page 40 of the disk, then a write of page 12, `apart` milliseconds
    later; the driver takes nothing meanwhile. Neighbours are merged. fifo_batch, writes_starved: settings.
    """
    told = states(wanted, apart, fifo_batch, writes_starved)
    if step >= len(told):
        raise ValueError(f"step {step}: there are only {len(told) - 1} requests to give out")
    now = told[step]
    nxt = told[step + 1].given[-1] if step + 1 < len(told) else None
    said = _says(now, nxt)
    counts = (f"Batch: {now.batching} of {fifo_batch}. Reads went before waiting writes: {now.starved} of "
              f"{writes_starved} times.")
    columns = "".join(_direction(now, direction, nxt) for direction in (READ, WRITE))
    given = "".join(f"<li>{_chip(each, 'age')}</li>" for each in now.given) or '<li class="dim">nothing yet</li>'
    label = " ".join([said, counts, *(_describe(now, direction) for direction in (READ, WRITE)),
                      f"Given to the driver: {_names(now.given)}."])
    return panel("blk-dd", label, _STYLE,
                 f'<p class="now">{escape(said)}</p><p>{escape(counts)}</p><div aria-hidden="true">'
                 '<p class="dim">Framed in red: next. Dashed: what follows the last one on the disk.</p>'
                 f'<div class="two">{columns}</div><h4>Given to the driver, in this order</h4>'
                 f'<ol class="given">{given}</ol></div>')


@lru_cache(maxsize=32)
def states(wanted, apart, fifo_batch, writes_starved):
    """The scheduler's State before any of these was given out, and after each."""
    asked = _asked(wanted)
    with booted(2) as kernel:
        scenario.null_blk_load(submit_queues=1)
        for name, value in (("fifo_batch", fifo_batch), ("writes_starved", writes_starved)):
            scenario.set_queue_file("nullb0", f"iosched/{name}", value)
        q = scenario.disk("nullb0").queue
        blk_mq.blk_mq_stop_hw_queues(q)
        filp, ctx = filp_open("nullb0", O_DIRECT | O_RDWR), kioctx()
        for n, (rw, page) in enumerate(asked):
            kernel.loop.advance(apart * 1_000_000 if n else 0)
            io_submit(ctx, [iocb(rw, filp, map_user_buffer([1]), page * PAGE_SIZE, PAGE_SIZE)])
        scheduler = q.elevator.elevator_data
        found = [_state(scheduler, (), "")]
        while q.elevator.type.ops.has_work(q.queue_hw_ctx[0]):
            before = _Before(scheduler)
            rq = q.elevator.type.ops.dispatch_request(q.queue_hw_ctx[0])
            given = (*found[-1].given, _waiting(rq))
            found.append(_state(scheduler, given, before.why(scheduler, rq)))
        return tuple(found)


def _asked(text):
    asked = []
    for word in text.replace(",", " ").lower().split():
        if word[0] not in "rw" or not word[1:].isdecimal() or int(word[1:]) > 999:
            raise ValueError(f"{word!r} is no request: type r40 to read page 40, w12 to write page 12; up to page 999")
        asked.append((READ if word[0] == "r" else WRITE, int(word[1:])))
    if not 0 < len(asked) <= _MOST:
        raise ValueError(f"{len(asked)} requests: type from 1 to {_MOST}, such as r40 w12")
    return asked


class _Before:
    """The scheduler as it was, to say what made it choose."""

    def __init__(self, dd):
        self.next = dd.next_rq[WRITE] or dd.next_rq[READ]
        self.batching, self.starved = dd.batching, dd.starved
        self.there = [bool(each.entries) for each in dd.fifo_list]
        self.oldest = [next(iter(each.entries), None) for each in dd.fifo_list]

    def why(self, dd, rq):
        if rq is self.next and self.batching < dd.fifo_batch:
            return "it follows the last one, and the batch is not over"
        direction = rq_data_dir(rq)
        if not all(self.there):
            who = f"only {'writes' if direction else 'reads'} wait"
        elif direction == READ:
            who = "reads go first"
        else:
            who = "writes have waited long enough"
        if rq is self.next:
            return f"a new batch begins: {who}, and it follows the last one"
        if time_after_eq(jiffies(), rq.fifo_time):
            return f"a new batch begins: {who}, and their oldest is late"
        return f"a new batch begins: {who}, and it is their oldest"


def _state(dd, given, why):
    follows = dd.next_rq[WRITE] or dd.next_rq[READ]
    return State(jiffies_to_msecs(jiffies()),
                 tuple(tuple(_waiting(rb_entry_rq(node)) for node in root.nodes) for root in dd.sort_list),
                 tuple(tuple(map(_waiting, each)) for each in dd.fifo_list),
                 _waiting(follows) if follows is not None else None, dd.batching, dd.starved, given, why)


def _waiting(rq):
    left = jiffies_to_msecs(rq.fifo_time) - jiffies_to_msecs(jiffies())
    return Waiting("rw"[rq_data_dir(rq)], rq._sector >> 3, blk_rq_sectors(rq) >> 3, left)


def _says(now, nxt):
    last = f"{now.given[-1].name} was given out: {now.why}. " if now.given else ""
    if nxt is None:
        return f"{last}Nothing waits any more."
    return f"{last}Next is {nxt.name}."


def _names(requests):
    return ", ".join(each.name for each in requests) or "nothing"


def _describe(now, direction):
    return (f"{'Writes' if direction else 'Reads'} by sector: {_names(now.by_sector[direction])}; by age: "
            + (", ".join(f"{each.name} ({_left(each)})" for each in now.by_age[direction]) or "nothing") + ".")


def _left(each):
    return f"{each.left} ms left" if each.left > 0 else f"{-each.left} ms late" if each.left else "late now"


def _direction(now, direction, nxt):
    what = "Writes" if direction else "Reads"
    follows = now.follows
    rows = []
    for title, requests in ((f"{what}, by sector", now.by_sector[direction]),
                            (f"{what}, the oldest first", now.by_age[direction])):
        by_age = "oldest" in title
        chips = "".join(_chip(each, "age" if by_age else "sector", _marks(each, nxt, follows),
                              _left(each) if by_age else "") for each in requests)
        none = '<span class="dim">none</span>'
        rows.append(f'<h4>{title}</h4><div class="chips">{chips or none}</div>')
    return f"<div>{''.join(rows)}</div>"


def _marks(each, nxt, follows):
    marks = []
    if nxt is not None and (each.kind, each.page) == (nxt.kind, nxt.page):
        marks.append("next")
    if follows is not None and (each.kind, each.page) == (follows.kind, follows.page):
        marks.append("follows")
    return " ".join(marks)


def _chip(each, key, marks="", below=""):
    """A request. The one in the list by age is the one that moves to what was given out."""
    late = " late" if below and each.left <= 0 else ""
    small = f"<small>{below}</small>" if below else ""
    return (f'<span class="rq {each.kind}{late}{f" {marks}" if marks else ""}" data-key="{key}-{each.name}">'
            f"<b>{each.name}</b>{small}</span>")
