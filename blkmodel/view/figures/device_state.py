"""The life of a mapped device, ioctl by ioctl: which table is where, whether it is suspended, what was refused.

    live(device_state, step=Steps(last_command))
"""

from functools import lru_cache
from html import escape
from typing import NamedTuple

from blkmodel import scenario
from blkmodel.drivers.md import dm, dm_ioctl
from blkmodel.sim import this
from blkmodel.trace import Return, record
from blkmodel.userland import dmsetup
from blkmodel.view.draw.figure import panel
from blkmodel.view.draw.styles import sheets
from blkmodel.view.facts.mapped import another_machine, targets_of

_A, _B = "0 2048 linear /dev/nullb0 0", "0 4096 linear /dev/nullb1 8192"
STORY = (("create", "try", "--notable"), ("resume", "try"), ("load", "try", "--table", _A), ("resume", "try"),
         ("load", "try", "--table", _B), ("suspend", "try"), ("resume", "try"), ("load", "try", "--table", "0 8 zero"),
         ("clear", "try"), ("load", "try", "--table", "0 8 linear /dev/nosuch 0"), ("remove", "try"))
_STYLE = sheets("base", "mapped", "device_state")


class State(NamedTuple):
    """After a command: dmsetup's exit and its words, the ioctls that it did (name, result), the tables as text (None:
    there is none), and the device's flags; gone: there is no device."""

    exit: int
    said: list[str]
    ioctls: list[tuple[str, int]]
    live: str | None
    loaded: str | None
    suspended: bool
    events: int
    capacity: int
    gone: bool


def last_command():
    """How many commands the story has."""
    return len(STORY)


def device_state(step=4):
    """Draw a mapped device after the first `step` commands of a story; 0 is before it exists."""
    state = _story()[step - 1] if step else State(0, [], [], None, None, False, 0, 0, True)
    command = " ".join(("dmsetup", *STORY[step - 1])) if step else ""
    label = _describe(state, command)
    rows = "".join(f'<li{" class=now" if i == step else ""}><code>{escape(" ".join(("dmsetup", *words)))}</code></li>'
                   for i, words in enumerate(STORY, 1))
    body = (f'<p class="says">{_says(state, command)}</p>{_slots(state)}{_ioctls(state)}'
            f"<h4>The story</h4><ol>{rows}</ol>")
    return panel("blk-md blk-state", label, _STYLE, body)


@lru_cache(maxsize=1)
def _story():
    """The states of the story, command by command."""
    with another_machine(2):
        return [_after(words) for words in STORY]


def _after(words):
    before = len(this().log)
    recording = record()
    with recording:
        done = dmsetup.run(words)
    ioctls = [(event.function, event.value[0] if isinstance(event.value, tuple) else event.value)
              for event in recording.of(Return) if event.function in _HANDLERS]
    said = [*done.errors, *(line for line in this().log[before:] if "device-mapper" in line)]
    cell = dm_ioctl.__get_name_cell("try")
    if cell is None:
        return State(done.exit, said, ioctls, None, None, False, 0, 0, True)
    md = cell.md
    dm.dm_put(md)
    return State(done.exit, said, ioctls, _text(md.map), _text(cell.new_map), bool(dm.dm_suspended_md(md)),
                 dm.dm_get_event_nr(md), scenario.disk(md.disk.disk_name).part0.nr_sects, False)


_HANDLERS = frozenset(("dev_create", "table_load", "dev_suspend", "dev_remove", "table_clear"))
_IOCTLS = {"dev_create": "DM_DEV_CREATE", "table_load": "DM_TABLE_LOAD", "dev_suspend": "DM_DEV_SUSPEND",
           "dev_remove": "DM_DEV_REMOVE", "table_clear": "DM_TABLE_CLEAR"}


def _text(table):
    if table is None:
        return None
    return "; ".join(f"{target.begin} {target.len} {target.type.name}" for target in targets_of(table))


def _says(state, command):
    if not command:
        return "There is no device yet."
    end = "There is no device any more." if state.gone else (
        f"The device is {'suspended' if state.suspended else 'active'} and has {state.capacity} sectors.")
    verdict = "" if not state.exit else f' <span class="bad">It fails: {escape(" ".join(state.said))}</span>'
    return f"<code>{escape(command)}</code>{verdict}<br>{end}"


def _slots(state):
    def slot(kind, name, table, none):
        empty = "" if table else " empty"
        return f'<div class="slot {kind}{empty}"><b>{name}</b>{escape(table or none)}</div>'
    return ('<div class="slots">' + slot("live", "live table", state.live, "none: every read and write fails")
            + slot("next", "inactive table", state.loaded, "none") + "</div>"
            f'<p class="dim">Events so far: {state.events}.</p>')


def _ioctls(state):
    if not state.ioctls:
        return ""
    calls = ", ".join(f"<code>{_IOCTLS[name]}</code> ({name} returned {result})" for name, result in state.ioctls)
    return f'<p class="dim">ioctls: {calls}.</p>'


def _describe(state, command):
    if not command:
        return "A mapped device that does not exist yet."
    return (f"After {command}" + (f", which fails with: {' '.join(state.said)}" if state.exit else "") + ": "
            + ("no device." if state.gone else f"live table: {state.live or 'none'}; inactive table: "
               f"{state.loaded or 'none'}; {'suspended' if state.suspended else 'active'}, {state.capacity} sectors."))
