"""A queue pair as memory: the slots of both rings, head, tail, phase and doorbells, and whose each slot is.

    live(rings, depth=(2, 16), reads=(1, 12), in_order=True, shadow=False, seed=(1, 99), step=Steps(last_moment))
"""

from collections.abc import Callable
from html import escape
from typing import Any

from blkmodel.view.draw import panel
from blkmodel.view.facts.ring_story import Moment, command_owner, completion_owner, moments
from blkmodel.view.facts.words import within

_KEY = {"told": "the controller's turn", "mine": "the driver's turn", "old": "what lies there is over"}


def last_moment(depth: int = 6, reads: int = 4, in_order: bool = True, shadow: bool = False, seed: int = 1) -> int:
    """How many moments the story has."""
    return len(moments(depth, reads, in_order, shadow, seed)) - 1


def rings(depth: int = 6, reads: int = 4, in_order: bool = True, shadow: bool = False, seed: int = 1,
          step: int = 0) -> str:
    """Draw a queue pair of `depth` slots while so many reads at once are sent through it, again and again.

    in_order: whether the controller finishes commands in the order in which it got them; otherwise in one drawn from
    `seed`. shadow: whether the doorbells are in memory too.
    """
    told = moments(depth, reads, in_order, shadow, seed)
    within("step", step, len(told) - 1)
    now = told[step]
    commands = "".join(_command_slot(now, i) for i in range(now.depth))
    completions = "".join(_completion_slot(now, i) for i in range(now.depth))
    where = f" (<code>{escape(now.function)}</code>)" if now.function and now.said.startswith("The driver") else ""
    key = "".join(f'<span class="key"><span class="{state}"></span>{means}</span>' for state, means in _KEY.items())
    return panel("blk-rings", describe(now), "rings",
                 f'<p class="says">{escape(now.said)}{where}</p><div aria-hidden="true">',
                 f'<h4>Submission queue: commands, 64 bytes each</h4><div class="ring">{commands}</div>',
                 f'<h4>Completion queue: answers, 16 bytes each</h4><div class="ring">{completions}</div>',
                 f"<p>{key}</p>{_known(now)}</div>")


def _command_slot(now: Moment, slot: int) -> str:
    owner, held = command_owner(now, slot), now.commands[slot]
    what = f"<b>#{held[0]}</b> {escape(held[1])}" if held else "zeros"
    marks = _marks([("driver", "tail", now.tail), ("device", "head", now.fetched)], slot)
    return _slot("sq", slot, owner, what, marks, now, old=owner == "free")


def _completion_slot(now: Moment, slot: int) -> str:
    owner, held = completion_owner(now, slot), now.completions[slot]
    what = f"<b>#{held[0]}</b> {'done' if not held[1] else f'{held[1]:#x}'}<br/>phase {held[2]}" if held else "zeros"
    marks = _marks([("driver", f"head, wants {now.expected}", now.head),
                    ("device", f"tail, writes {now.phase}", now.written)], slot)
    return _slot("cq", slot, owner, what, marks, now, old=owner != "mine")


def _slot(ring: str, slot: int, owner: str, what: str, marks: str, now: Moment, old: Any) -> str:
    touched = " touched" if now.touched == (ring, slot) else ""
    return (f'<div class="slot {owner}{" old" if old else ""}{touched}" data-key="{ring}{slot}"><i>{slot}</i>'
            f"<div>{what}</div>{marks}</div>")


def _marks(places: list[tuple[str, str, int]], slot: int) -> str:
    names = {"driver": "driver", "device": "controller"}
    return "".join(f'<span class="mark {side}">{names[side]}: {what}</span>' for side, what, at in places if at == slot)


def _known(now: Moment) -> str:
    """The doorbells, and what the controller has under way."""
    rows: list[tuple[Any, ...]] = [("doorbells in memory", *now.shadow), ("the controller knows of", *now.enough)] \
        if now.shadow else [("doorbells, as last rung", now.told, now.heard)]
    body = "".join(f"<tr><th>{name}</th><td>tail {tail}</td><td>head {head}</td></tr>" for name, tail, head in rows)
    running = ", ".join(f"#{number}" for number in now.running) or "nothing"
    return f"<table><tbody>{body}</tbody></table><p>Under way in the controller: {running}.</p>"


def describe(now: Moment) -> str:
    """The figure in words."""
    def slots(owner_of: Callable[..., Any], wanted: str) -> str:
        return ", ".join(str(slot) for slot in range(now.depth) if owner_of(now, slot) == wanted) or "none"
    running = ", ".join(str(number) for number in now.running) or "none"
    return (f"{now.said} A queue pair of {now.depth} slots. Submission queue: the driver's tail is {now.tail}, the "
            f"controller's head {now.fetched}; to be fetched: {slots(command_owner, 'told')}; written and not told of: "
            f"{slots(command_owner, 'mine')}. Under way: commands {running}. Completion queue: the driver's head is "
            f"{now.head}, where it wants phase {now.expected}; the controller's tail is {now.written}, with phase "
            f"{now.phase}; to be taken: {slots(completion_owner, 'mine')}.")
