"""LVM's commands by name, and how one is run."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from blkmodel.errors import NotModelled
from blkmodel.sim import this
from blkmodel.userland.libdm import Refused
from blkmodel.userland.lvm import groups, logical
from blkmodel.userland.lvm.process import FAILED, Failed, Outcome, Process, read_words
from blkmodel.userland.tools import known


class Command(NamedTuple):
    """A tool, the options that it takes, and how many other words at least (where it does not count them itself)."""

    function: Callable[..., None]
    options: tuple[str, ...]
    least: int = 1


COMMANDS = {
    "pvcreate": Command(groups.pvcreate, ("yes", "force")),
    "vgcreate": Command(groups.vgcreate, ("physicalextentsize", "alloc", "yes", "force"), 2),
    "vgextend": Command(groups.vgextend, ("yes", "force"), 2),
    "lvcreate": Command(logical.lvcreate, ("size", "extents", "name", "stripes", "stripesize", "type", "alloc",
                                           "activate", "zero", "wipesignatures", "yes"), 0),
    "lvextend": Command(partial(logical.resize, extend=True),
                        ("size", "extents", "stripes", "stripesize", "alloc", "yes", "force"), 0),
    "lvreduce": Command(partial(logical.resize, extend=False), ("size", "extents", "yes", "force"), 0),
    "lvchange": Command(logical.lvchange, ("activate", "yes")),
    "lvremove": Command(logical.lvremove, ("yes", "force"))}


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
        arguments = read_words(process, command.options, words)
        if len(arguments) < command.least:
            process.no_syntax()
        command.function(process, *arguments)
        return 0
    except Failed as why:
        return why.status
    except Refused:
        return FAILED
    finally:
        process.library.close()
