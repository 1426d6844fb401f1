"""One run of one of LVM's tools: its command line, what it says, and what it asks of device mapper."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from blkmodel.services.files.node import unlink
from blkmodel.userland.libdm import Library, Refused, Task, targets
from blkmodel.userland.lvm.allocation import POLICIES
from blkmodel.userland.lvm.units import Size, parse_extents, parse_size
from blkmodel.userland.lvm.volumes import device

FAILED, WRONG = 5, 3  # exit statuses: it could not be done; the command line makes no sense


class Outcome(NamedTuple):
    """What a process leaves behind: its exit status, and what it wrote to standard output and (lines) standard error.

    ioctls: what changed the state of device mapper: (what, the device's name, the table of a load or None). errno:
    that of the first ioctl that failed (positive), or 0.
    """

    exit: int
    output: str
    errors: list[str]
    ioctls: list[tuple]
    errno: int


class Failed(Exception):
    """The command ends here, with this exit status; why is among its errors."""

    def __init__(self, status):
        self.status = status


class HeardLibrary(Library):
    """The library, in a tool that has its own way to write errors."""

    def error(self, line):
        super().error(f"  {line}")


@dataclass
class Process:
    """One run of a tool: its options (name → argument or True; and as they were typed), what it has said and done.

    suspended: the volumes that it suspended, and that still are.
    """

    command: str
    options: dict = field(default_factory=dict)
    typed: dict = field(default_factory=dict)
    output: list[str] = field(default_factory=list)
    ioctls: list[tuple] = field(default_factory=list)
    library: HeardLibrary = field(default_factory=HeardLibrary)
    suspended: set = field(default_factory=set)

    def say(self, line):
        self.output.append(f"  {line}\n")

    def warn(self, line):
        self.library.error(line)

    def fail(self, *lines, status=FAILED):
        for line in lines:
            self.warn(line)
        raise Failed(status)

    def wrong(self, *lines):
        """The command line makes no sense."""
        self.fail(*lines, f"Run `{self.command} --help' for more information.", status=WRONG)

    def no_zero(self):
        """No size or number may be zero."""
        for name in ("extents", "size", "stripes", "stripesize"):
            value = self.options.get(name)
            if value == 0 or (isinstance(value, Size) and not value.amount):
                self.wrong(f"--{name} may not be zero.")

    def no_option(self, name):
        """This option does not go with the others."""
        self.fail(f"Command does not accept option: --{name} {self.typed[name]}.", status=WRONG)

    def no_syntax(self):
        self.fail(f"No command with matching syntax recognised.  Run '{self.command} --help' for more information.",
                  status=WRONG)

    def ask(self, question, otherwise):
        """Ask the user whether to go on; nobody is there to answer, but they may have said yes beforehand."""
        if "yes" not in self.options and "force" not in self.options:
            self.library.errors.append(f"{question}? [y/n]: [n]")
            self.fail(otherwise)

    # Device mapper

    def activate(self, lv, new=False):
        """Make a volume a mapped device, or go on with one that is not ready. new: nothing is left where that fails;
        otherwise a device whose table has been loaded is."""
        try:
            self._activate(lv)
        except Refused:
            if new:
                self.warn(f"Failed to activate new LV {lv.full_name}.")
                if lv.active:
                    self.deactivate(lv)
            raise

    def _activate(self, lv):
        there = device(lv)
        if there is None:
            self._do("create", lv, name=lv.dm_name, uuid=lv.dm_uuid, add_node_on_create=True)
            try:
                self._load(lv)
            except Refused:
                self.deactivate(lv)
                raise
        elif there.live and not there.suspended:
            return
        else:
            self._load(lv)
        self._resume(lv)

    def _load(self, lv):
        """Load the table that a volume's segments make, unless the device has it, or another is loaded already."""
        there = device(lv)
        if there.loaded:
            return
        if there.live:
            table = Task("table", major=there.major, minor=there.minor)
            self.library.run(table)
            if targets(table) == lv.targets():
                return
        self._do("reload", lv, there, targets=lv.targets())

    def suspend(self, lv):
        """Load the table that an active volume's segments now make, and suspend the device if nobody has."""
        self._load(lv)
        there = device(lv)
        if there.suspended:
            return
        try:
            self._do("suspend", lv, there, skip_lockfs=True)
        except Refused:
            self.warn(f"Unable to suspend {called(lv, there)}")
            self._do("clear", lv, there)
            raise
        self.suspended.add(lv)

    def resume(self, lv):
        """Let its table be live, and its I/O go on."""
        try:
            self._resume(lv)
        except Refused:
            self.warn(f"Problem reactivating logical volume {lv.full_name}.")
            if lv in self.suspended:
                self.warn("Releasing activation in critical section.")
                self.warn("Releasing activation in critical section.")
                self.warn("libdevmapper exiting with 1 device(s) still suspended.")
            raise

    def _resume(self, lv):
        there = device(lv)
        try:
            self._do("resume", lv, there)
        except Refused:
            self.warn(f"Unable to resume {called(lv, there)}.")
            raise
        if there.suspended and lv not in self.suspended:
            self.warn("Attempted to decrement suspended device counter below zero.")
        self.suspended.discard(lv)

    def deactivate(self, lv):
        """Let a volume be no mapped device any more."""
        there = device(lv)
        try:
            self._do("remove", lv, there)
        except Refused:
            self.warn(f"Unable to deactivate {called(lv, there)}.")
            raise
        unlink(f"/dev/mapper/{lv.dm_name}")

    def _do(self, kind, lv, there=None, **more):
        """One ioctl. LVM says by its number which device it means."""
        if there is not None:
            more |= {"major": there.major, "minor": there.minor}
        self.library.run(Task(kind, **more))
        self.ioctls.append(("load", lv.dm_name, lv.table()) if kind == "reload" else (kind, lv.dm_name, None))


def called(lv, there):
    """A volume's device, in messages."""
    return f"{lv.dm_name} ({there.major}:{there.minor})"


# The command line

class Option(NamedTuple):
    """An option: its letter ("": none), and what reads its argument (None: it has none)."""

    letter: str
    read: Callable | None


def _number(text):
    if not re.fullmatch(r"\d+", text):
        raise ValueError
    return int(text)


def _policy(text):
    if text not in (*POLICIES, "inherit"):
        raise ValueError(f"Unrecognised allocation policy {text}")
    return text


def _kilobytes(text):
    size = parse_size(text, 2)
    if size.sign == "-":
        raise ValueError("Size may not be negative.")
    return size


def _one_of(*words):
    def read(text):
        if text not in words:
            raise ValueError
        return text
    return read


OPTIONS = {
    "size": Option("L", parse_size), "extents": Option("l", parse_extents), "name": Option("n", str),
    "stripes": Option("i", _number), "stripesize": Option("I", _kilobytes),
    "type": Option("", _one_of("linear", "striped")), "alloc": Option("", _policy),
    "activate": Option("a", _one_of("y", "n", "ay")), "zero": Option("Z", _one_of("y", "n")),
    "wipesignatures": Option("W", _one_of("y", "n")), "yes": Option("y", None), "force": Option("f", None),
    "physicalextentsize": Option("s", parse_size),
}


# the signs that a command's size may not have, and what is said then
SIGNS = {"lvcreate": ("-", "negative"), "lvextend": ("-", "negative"), "lvreduce": ("+", "positive"),
         "vgcreate": ("+-", "relative/signed")}


def read_words(process, allowed, words):
    """Take the options, which must be `allowed`, out of the words. Returns the other ones."""
    arguments = []
    words = list(words)
    while words:
        word = words.pop(0)
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            fitting = [option for option in allowed if option.startswith(name)]
            if len(fitting) != 1 and name not in fitting:
                if sum(option.startswith(name) for option in OPTIONS) == 1:
                    process.no_syntax()
                _unreadable(process, f"unrecognized option '{word}'")
            _option(process, name if name in fitting else fitting[0], value if equals else None, words)
        elif word.startswith("-") and len(word) > 1:
            letters = word[1:]
            while letters:
                letter, letters = letters[0], letters[1:]
                name = next((each for each in allowed if OPTIONS[each].letter == letter), None)
                if name is None:
                    _unreadable(process, f"invalid option -- '{letter}'")
                with_value = OPTIONS[name].read is not None
                _option(process, name, (letters or None) if with_value else None, words)
                if with_value:
                    break
        else:
            arguments.append(word)
    return arguments


def _option(process, name, value, words):
    """Note an option; its argument may be the next word."""
    read = OPTIONS[name].read
    if read is None:
        process.options[name] = True
        return
    if value is None:
        if not words:
            _unreadable(process, f"option '--{name}' requires an argument")
        value = words.pop(0)
    process.typed[name] = value
    try:
        process.options[name] = read(value)
        if name in ("size", "extents", "physicalextentsize"):
            signs, word = SIGNS[process.command]
            if process.options[name].sign and process.options[name].sign in signs:
                raise ValueError(f"{'Extents' if name == 'extents' else 'Size'} may not be {word}.")
    except ValueError as why:
        process.fail(*filter(None, [str(why)]), f"Invalid argument for --{name}: {value}",
                     "Error during parsing of command line.", status=WRONG)


def _unreadable(process, why):
    """The C library, which reads the options, writes its line itself."""
    process.library.errors.append(f"{process.command}: {why}")
    process.fail("Error during parsing of command line.", status=WRONG)
