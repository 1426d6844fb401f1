"""LVM's commands by name, and how one is run."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from blkmodel.errors import NotModelled
from blkmodel.sim import this
from blkmodel.userland.libdm import Refused
from blkmodel.userland.lvm import groups, logical
from blkmodel.userland.lvm.process import FAILED, Failed, Outcome, Process, read_words
from blkmodel.userland.tools import known


class Command(NamedTuple):
    """A tool, and the options that it takes."""

    function: Callable[..., None]
    options: tuple[str, ...]


COMMANDS = {
    "pvcreate": Command(groups.pvcreate, ("yes", "force")),
    "vgcreate": Command(groups.vgcreate, ("physicalextentsize", "alloc", "yes", "force")),
    "vgextend": Command(groups.vgextend, ("yes", "force")),
    "lvcreate": Command(logical.lvcreate, ("size", "extents", "name", "stripes", "stripesize", "type", "alloc",
                                           "activate", "zero", "wipesignatures", "yes")),
    "lvextend": Command(logical.lvextend, ("size", "extents", "stripes", "stripesize", "alloc", "yes", "force")),
    "lvreduce": Command(logical.lvreduce, ("size", "extents", "yes", "force")),
    "lvchange": Command(logical.lvchange, ("activate", "yes")),
    "lvremove": Command(logical.lvremove, ("yes", "force")),
}


def run(words: Sequence[str]) -> Outcome:
    """Do a command, such as `["lvcreate", "-L", "10m", "vg0"]`, as a process of the running kernel."""
    name, *words = words
    if name in known("lvm commands not modelled"):
        raise NotModelled(f"LVM's command {name}")
    if name not in COMMANDS:
        raise ValueError(f"{name}: not a command of LVM that the model has; it has {', '.join(COMMANDS)}")
    process = Process(name)
    status = this().task(name, _main, process, words)
    failures = process.library.failures
    return Outcome(status, "".join(process.output), process.library.errors, process.ioctls,
                   failures[0].errno if failures else 0)


def _main(process: Process, words: Sequence[str]) -> int:
    command = COMMANDS[process.command]
    try:
        command.function(process, *read_words(process, command.options, words))
        return 0
    except Failed as why:
        return why.status
    except Refused:
        return FAILED
    finally:
        process.library.close()
