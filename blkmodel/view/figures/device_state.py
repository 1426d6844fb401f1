"""The life of a mapped device, ioctl by ioctl: which table is where, whether it is suspended, what was refused.

    live(device_state, step=Steps(last_command))
"""

from html import escape

from blkmodel.view.draw import panel
from blkmodel.view.facts.mapped_life import IOCTLS, STORY, State, states


def last_command() -> int:
    """How many commands the story has."""
    return len(STORY)


def device_state(step: int = 4) -> str:
    """Draw a mapped device after the first `step` commands of a story; 0 is before it exists."""
    state = states()[step - 1] if step else State(0, [], [], None, None, False, 0, 0, True)
    command = " ".join(("dmsetup", *STORY[step - 1])) if step else ""
    rows = "".join(f'<li{" class=now" if i == step else ""}><code>{escape(" ".join(("dmsetup", *words)))}</code></li>'
                   for i, words in enumerate(STORY, 1))
    calls = ", ".join(f"<code>{IOCTLS[name]}</code> ({name} returned {result})" for name, result in state.ioctls)
    return panel("blk-md blk-state", _describe(state, command), "mapped device_state",
                 f'<p class="says">{_says(state, command)}</p>{_slots(state)}',
                 f'<p class="dim">ioctls: {calls}.</p>' * bool(calls), f"<h4>The story</h4><ol>{rows}</ol>")


def _says(state: State, command: str) -> str:
    if not command:
        return "There is no device yet."
    end = "There is no device any more." if state.gone else (
        f"The device is {'suspended' if state.suspended else 'active'} and has {state.capacity} sectors.")
    verdict = "" if not state.exit else f' <span class="bad">It fails: {escape(" ".join(state.said))}</span>'
    return f"<code>{escape(command)}</code>{verdict}<br>{end}"


def _slots(state: State) -> str:
    def slot(kind: str, name: str, table: str | None, none: str) -> str:
        empty = "" if table else " empty"
        return f'<div class="slot {kind}{empty}"><b>{name}</b>{escape(table or none)}</div>'
    return ('<div class="slots">' + slot("live", "live table", state.live, "none: every bio fails")
            + slot("next", "inactive table", state.loaded, "none") + "</div>"
            f'<p class="dim">Events so far: {state.events}.</p>')


def _describe(state: State, command: str) -> str:
    if not command:
        return "A mapped device that does not exist yet."
    return (f"After {command}" + (f", which fails with: {' '.join(state.said)}" if state.exit else "") + ": "
            + ("no device." if state.gone else f"live table: {state.live or 'none'}; inactive table: "
               f"{state.loaded or 'none'}; {'suspended' if state.suspended else 'active'}, {state.capacity} sectors."))
