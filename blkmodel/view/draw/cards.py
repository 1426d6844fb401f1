"""Structures as cards: what their fields hold at one moment of a recording, and what has just changed in them."""

from html import escape
from typing import Any

from blkmodel.sim import Array
from blkmodel.trace.replay import Replay, shown

KINDS = {"blk_mq_tag_set": "ctx", "request_queue": "ctx", "blk_mq_ctx": "ctx", "blk_mq_hw_ctx": "default",
         "blk_mq_tags": "tags", "sbitmap_queue": "tags", "sbitmap": "tags", "sbitmap_word": "tags",
         "sbq_wait_state": "tags", "request": "memory", "page": "memory"}
"""Structure → the kind that it is drawn as. The same in every figure."""


def card(replay: Replay, thing: Any, changes: dict[str, tuple[Any, Any]], at: int, room: int = 8) -> str:
    """Draw one object once `at` events have happened. changes: field → (old, new), of what has just changed.

    Besides these, fields that changed earlier are shown, as long as there is room.
    """
    name, place = replay.name(thing)
    rows = [f'<div class="changed-now"><dt>{escape(field)}</dt><dd><del>{escape(shown(replay, field, old))}</del> → '
            f"<ins>{escape(shown(replay, field, new).removeprefix('→ '))}</ins></dd></div>"
            for field, (old, new) in list(changes.items())[:room]]
    if len(changes) > room:
        rows.append(f'<div class="changed-now"><dt>…</dt><dd><ins>and {len(changes) - room} more</ins></dd></div>')
    values = {field: replay.value(thing, field, at) for field in replay.fields(thing) if field not in changes}
    if isinstance(thing, Array):
        values = {field: value for field, value in values.items() if value not in (None, 0)}
    left = max(0, (room // 2 if isinstance(thing, Array) else room) - len(rows))
    rows += [f"<div><dt>{escape(field)}</dt><dd>{escape(shown(replay, field, value))}</dd></div>"
             for field, value in list(values.items())[:left]]
    if isinstance(thing, Array) and len(values) > left:
        rows.append(f"<div><dt>…</dt><dd>{len(values) - left} more are set</dd></div>")
    kind = KINDS.get(type(thing).__name__, "plain")
    inside = f"<small>{escape(place)}</small>" if place else ""
    return (f'<section class="blk-card kind-{kind}" data-key="{escape(name)}"><h5>{escape(name)}{inside}</h5>'
            f"<dl>{''.join(rows)}</dl></section>")
