"""Structures as cards: what their fields hold at one moment of a recording, and what has just changed in them."""

from html import escape

from blkmodel.sim.structure import Array, Struct

KINDS = {"blk_mq_tag_set": "ctx", "request_queue": "ctx", "blk_mq_ctx": "ctx", "blk_mq_hw_ctx": "default",
         "blk_mq_tags": "tags", "sbitmap_queue": "tags", "sbitmap": "tags", "sbitmap_word": "tags",
         "sbq_wait_state": "tags", "request": "memory", "page": "memory"}
"""Structure → the kind that it is drawn as. The same in every figure."""

STYLE = (
    ".blk-cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,15.5rem),1fr));gap:8px;"
    "align-items:start}"
    ".blk-card{border:1px solid var(--blk-line);border-radius:4px;font-size:12px;line-height:1.5;overflow:hidden;"
    "min-width:0;break-inside:avoid}"
    ".blk-card h5{margin:0;padding:2px 8px;font:600 12px/1.5 var(--blk-code);"
    "background:var(--blk-cpu);color:var(--blk-ink);overflow-wrap:anywhere}"
    ".blk-card h5 small{display:block;font-weight:400;font-size:10.5px}"
    + "".join(f".blk-card.kind-{kind} h5{{background:var(--blk-{kind})}}" for kind in ("ctx", "memory"))
    + "".join(f".blk-card.kind-{kind} h5{{background:var(--blk-{kind});color:var(--blk-on)}}"
              for kind in ("default", "tags"))
    + ".blk-card dl{margin:0;padding:3px 0}.blk-card dl>div{display:flex;flex-wrap:wrap;gap:0 8px;padding:0 8px;"
    "justify-content:space-between;font-family:var(--blk-code);font-size:11.5px}"
    ".blk-card dt,.blk-card dd{margin:0;font-weight:400;overflow-wrap:anywhere}"
    ".blk-card dd{color:var(--blk-dim);text-align:right;margin-left:auto}"
    ".blk-card .changed-now{box-shadow:inset 3px 0 var(--blk-changed);background:var(--blk-band)}"
    ".blk-card .changed-now dt,.blk-card .changed-now ins{font-weight:600;color:var(--blk-ink)}"
    ".blk-card del{text-decoration-color:var(--blk-changed)}.blk-card ins{text-decoration:none}"
)


def card(replay, thing, changes, at, room=8):
    """Draw one object once `at` events have happened. changes: field → (old, new), of what has just changed.

    Besides these, fields that changed earlier are shown, as long as there is room.
    """
    name, place = replay.name(thing)
    rows = [_changed(replay, field, *changes[field]) for field in list(changes)[:room]]
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


def shown(replay, field, value):
    """A value in a few letters."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:#x}" if abs(value) >= 1 << 20 or field.endswith(("flags", "bits", "mode")) else str(value)
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, Struct | Array):
        return f"→ {replay.name(value)[0]}"
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    if hasattr(value, "name") and isinstance(value.name, str):
        return value.name
    return type(value).__name__


def _changed(replay, field, old, new):
    return (f'<div class="changed-now"><dt>{escape(field)}</dt><dd><del>{escape(shown(replay, field, old))}</del> → '
            f"<ins>{escape(shown(replay, field, new).removeprefix('→ '))}</ins></dd></div>")
