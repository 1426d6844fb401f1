"""The life of a mapped device as a story of dmsetup's commands, and how the device is after each."""

from functools import lru_cache
from typing import NamedTuple

from blkmodel import scenario
from blkmodel.drivers.md import dm, dm_ioctl
from blkmodel.drivers.md.dm_table import dm_table
from blkmodel.sim import this
from blkmodel.trace import Return, record
from blkmodel.userland import dmsetup
from blkmodel.view.facts.mapped import another_machine, targets_of

_A, _B = "0 2048 linear /dev/nullb0 0", "0 4096 linear /dev/nullb1 8192"
STORY = (("create", "try", "--notable"), ("resume", "try"), ("load", "try", "--table", _A), ("resume", "try"),
         ("load", "try", "--table", _B), ("suspend", "try"), ("resume", "try"), ("load", "try", "--table", "0 8 zero"),
         ("clear", "try"), ("load", "try", "--table", "0 8 linear /dev/nosuch 0"), ("remove", "try"))


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


@lru_cache(maxsize=1)
def states() -> list[State]:
    """The states of the story, command by command."""
    with another_machine(2):
        return [_after(words) for words in STORY]


def _after(words: tuple[str, ...]) -> State:
    before = len(this().log)
    recording = record(dmsetup.run, words, watched=())
    done = recording.result
    ioctls = [(event.function, event.value[0] if isinstance(event.value, tuple) else event.value)
              for event in recording.of(Return) if event.function in IOCTLS]
    said = [*done.errors, *(line for line in this().log[before:] if "device-mapper" in line)]
    if (cell := dm_ioctl.__get_name_cell("try")) is None:
        return State(done.exit, said, ioctls, None, None, False, 0, 0, True)
    md = cell.md
    dm.dm_put(md)
    return State(done.exit, said, ioctls, _text(md.map), _text(cell.new_map), bool(dm.dm_suspended_md(md)),
                 dm.dm_get_event_nr(md), scenario.disk(md.disk.disk_name).part0.nr_sects, False)


IOCTLS = {"dev_create": "DM_DEV_CREATE", "table_load": "DM_TABLE_LOAD", "dev_suspend": "DM_DEV_SUSPEND",
           "dev_remove": "DM_DEV_REMOVE", "table_clear": "DM_TABLE_CLEAR"}


def _text(table: dm_table | None) -> str | None:
    return None if table is None else "; ".join(
        f"{target.begin} {target.len} {target.type.name}" for target in targets_of(table))
