"""A queue pair as memory: the slots of both rings, head, tail, phase and doorbells, and whose each slot is.

    live(rings, depth=(2, 16), reads=(1, 12), in_order=True, shadow=False, seed=(1, 99), step=Steps(last_moment))
"""

from functools import lru_cache
from html import escape

from blkmodel.view.draw.figure import STYLE
from blkmodel.view.facts.ring_story import moments

_STYLE = (
    ".blk-rings{font-size:13px;line-height:1.4}.blk-rings p{margin:0 0 8px;max-width:44rem}"
    ".blk-rings .dim{color:var(--blk-dim)}.blk-rings .says{font-size:15px;min-height:4.2em}"
    ".blk-rings h4{font-size:13px;line-height:1.5;font-weight:600;margin:10px 0 2px}"
    ".blk-rings .ring{display:grid;grid-template-columns:repeat(auto-fill,minmax(5.3rem,1fr));gap:4px;margin:0 0 6px}"
    ".blk-rings .slot{border:2px solid var(--blk-line);border-radius:4px;padding:1px 5px 2px;min-height:4.7em;"
    "box-sizing:border-box;background:var(--blk-paper);overflow-wrap:break-word;font-size:11.5px}"
    ".blk-rings .slot b{font-weight:600;font-size:12.5px}.blk-rings .slot>i{float:right;font-style:normal;"
    "margin-left:.5em;color:var(--blk-dim)}"
    ".blk-rings .told{border-left:6px solid var(--blk-poll)}.blk-rings .mine{border-right:6px solid var(--blk-default)}"
    ".blk-rings .slot.old{color:var(--blk-dim);border-width:1px;border-style:dashed}"
    ".blk-rings .slot.told.old{border-left:6px solid var(--blk-poll)}"
    ".blk-rings .touched{outline:2px solid var(--blk-changed);outline-offset:1px}"
    ".blk-rings .mark{display:block;border-radius:3px;padding:0 .3em;margin:1px 0 0;font-size:11px;line-height:1.25;"
    "color:var(--blk-ink)}.blk-rings .mark.driver{background:var(--blk-ctx)}"
    ".blk-rings .mark.device{background:var(--blk-memory)}"
    ".blk-rings table{border-collapse:collapse;margin:4px 0 8px;font-size:12.5px}"
    ".blk-rings td,.blk-rings th{border:1px solid var(--blk-line);padding:1px 8px;text-align:left;font-weight:400}"
    ".blk-rings th{color:var(--blk-dim)}"
    ".blk-rings .key{display:inline-block;margin:0 1em 2px 0;white-space:nowrap}"
    ".blk-rings .key span{display:inline-block;width:1.6em;height:1em;box-sizing:border-box;vertical-align:-2px;"
    "border:2px solid var(--blk-line);border-radius:3px;margin-right:.4em}"
    ".blk-rings .key .told{border-left:6px solid var(--blk-poll)}"
    ".blk-rings .key .mine{border-right:6px solid var(--blk-default)}"
    ".blk-rings .key .old{border-width:1px;border-style:dashed}"
)


@lru_cache(maxsize=16)
def _story(depth, reads, in_order, shadow, seed):
    return moments(depth, reads, in_order, shadow, seed)


def last_moment(depth=6, reads=4, in_order=True, shadow=False, seed=1):
    """How many moments the story has."""
    return len(_story(depth, reads, in_order, shadow, seed)) - 1


def rings(depth=6, reads=4, in_order=True, shadow=False, seed=1, step=0):
    """Draw a queue pair of `depth` slots while so many reads at once are sent through it, again and again.

    in_order: whether the controller finishes commands in the order in which it got them; otherwise in one drawn from
    `seed`. shadow: whether the doorbells are in memory too.
    """
    told = _story(depth, reads, in_order, shadow, seed)
    if not 0 <= step < len(told):
        raise ValueError(f"step={step}: the story has {len(told) - 1}")
    now = told[step]
    label = escape(describe(now))
    return (f'<div class="blk blk-rings" role="group" aria-label="{label}"><style>{STYLE}{_STYLE}</style>'
            f'<p class="says">{_says(now)}</p><div aria-hidden="true">'
            f'<h4>Submission queue: commands, 64 bytes each</h4>'
            f'<div class="ring">{"".join(_command_slot(now, i) for i in range(now.depth))}</div>'
            f'<h4>Completion queue: answers, 16 bytes each</h4>'
            f'<div class="ring">{"".join(_completion_slot(now, i) for i in range(now.depth))}</div>'
            f"<p>{_key()}</p>{_known(now)}</div></div>")


def _says(now):
    where = f" (<code>{escape(now.function)}</code>)" if now.function and now.said.startswith("The driver") else ""
    return f"{escape(now.said)}{where}"


def _between(place, first, last, depth):
    """Whether a slot is one of those from first up to, without, last."""
    return (place - first) % depth < (last - first) % depth


def command_owner(now, slot):
    """Whose a slot of the submission queue is: `told`, the controller's, to fetch; `mine`, written by the driver and
    not told of; `free`, to be written next time round."""
    told = now.told if now.shadow is None else now.shadow[0]
    if _between(slot, now.fetched, told, now.depth):
        return "told"
    return "mine" if _between(slot, told, now.tail, now.depth) else "free"


def completion_owner(now, slot):
    """Whose a slot of the completion queue is: `mine`, for the driver to take; `free`, taken, but the controller does
    not know it; `told`, the controller's, to write."""
    heard = now.heard if now.shadow is None else now.shadow[1]
    if _between(slot, now.head, now.written, now.depth):
        return "mine"
    return "free" if _between(slot, heard, now.head, now.depth) else "told"


def _command_slot(now, slot):
    owner, held = command_owner(now, slot), now.commands[slot]
    what = f"<b>#{held[0]}</b> {escape(held[1])}" if held else "zeros"
    marks = _marks([("driver", "tail", now.tail), ("device", "head", now.fetched)], slot)
    return _slot("sq", slot, owner, what, marks, now, old=owner == "free")


def _completion_slot(now, slot):
    owner, held = completion_owner(now, slot), now.completions[slot]
    what = f"<b>#{held[0]}</b> {'done' if not held[1] else f'{held[1]:#x}'}<br/>phase {held[2]}" if held else "zeros"
    marks = _marks([("driver", f"head, wants {now.expected}", now.head),
                    ("device", f"tail, writes {now.phase}", now.written)], slot)
    return _slot("cq", slot, owner, what, marks, now, old=owner != "mine")


def _slot(ring, slot, owner, what, marks, now, old):
    touched = " touched" if now.touched == (ring, slot) else ""
    return (f'<div class="slot {owner}{" old" if old else ""}{touched}" data-key="{ring}{slot}"><i>{slot}</i>'
            f"<div>{what}</div>{marks}</div>")


def _marks(places, slot):
    names = {"driver": "driver", "device": "controller"}
    return "".join(f'<span class="mark {side}">{names[side]}: {what}</span>' for side, what, at in places if at == slot)


def _key():
    told = '<span class="told"></span>the controller\'s turn'
    mine = '<span class="mine"></span>the driver\'s turn'
    old = '<span class="old"></span>what lies there is over'
    return "".join(f'<span class="key">{each}</span>' for each in (told, mine, old))


def _known(now):
    """The doorbells, and what the controller has under way."""
    rows = [("doorbells, as last rung", now.told if now.shadow is None else "", now.heard)]
    if now.shadow is not None:
        rows = [("doorbells in memory", *now.shadow), ("the controller knows of", *now.enough)]
    body = "".join(f"<tr><th>{name}</th><td>tail {tail}</td><td>head {head}</td></tr>" for name, tail, head in rows)
    running = ", ".join(f"#{number}" for number in now.running) or "nothing"
    return f"<table><tbody>{body}</tbody></table><p>Under way in the controller: {running}.</p>"


def describe(now):
    """The figure in words."""
    def slots(owner_of, wanted):
        return ", ".join(str(slot) for slot in range(now.depth) if owner_of(now, slot) == wanted) or "none"
    running = ", ".join(str(number) for number in now.running) or "none"
    return (f"{now.said} A queue pair of {now.depth} slots. Submission queue: the driver's tail is {now.tail}, the "
            f"controller's head {now.fetched}; to be fetched: {slots(command_owner, 'told')}; written and not told of: "
            f"{slots(command_owner, 'mine')}. Under way: commands {running}. Completion queue: the driver's head is "
            f"{now.head}, where it wants phase {now.expected}; the controller's tail is {now.written}, with phase "
            f"{now.phase}; to be taken: {slots(completion_owner, 'mine')}.")
