"""One run of one of LVM's tools: its command line, what it says, and what it asks of device mapper."""

import re
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

from blkmodel.errors import NotModelled
from blkmodel.include.linux.dm_ioctl import DM_SKIP_LOCKFS_FLAG
from blkmodel.services import unlink, usleep_range
from blkmodel.sim import NULL
from blkmodel.userland.getopt import BadOption, getopt_long, saturated
from blkmodel.userland.libdm import Library, Refused, Task, targets
from blkmodel.userland.lvm.allocation import POLICIES
from blkmodel.userland.lvm.units import Size, parse_extents, parse_size
from blkmodel.userland.lvm.volumes import Device, LogicalVolume, device
from blkmodel.userland.tools import known, letters

FAILED, WRONG = 5, 3  # exit statuses: it could not be done; the command line makes no sense
RETRY = 200_000  # µs between two looks at whether a volume is still open


Change = tuple[str, str, str | None]
"""What changed the state of device mapper: what was done, the device's name, and the table of a load."""


class Outcome(NamedTuple):
    """What a process leaves behind: its exit status, and what it wrote to standard output and (lines) standard error.

    errno: that of the first ioctl that failed (positive), or 0.
    """

    exit: int
    output: str
    errors: list[str]
    ioctls: list[Change]
    errno: int


class Failed(Exception):
    """The command ends here, with this exit status; why is among its errors."""

    def __init__(self, status: int) -> None:
        self.status = status


@dataclass
class Process:
    """One run of a tool: its options (name → argument or True; and as they were typed), what it has said and done.

    suspended: the volumes that it suspended, and that still are.
    """

    command: str
    options: dict[str, Any] = field(default_factory=dict)
    typed: dict[str, str] = field(default_factory=dict)
    output: list[str] = field(default_factory=list)
    ioctls: list[Change] = field(default_factory=list)
    library: Library = field(default_factory=lambda: Library(indent="  "))
    suspended: set[LogicalVolume] = field(default_factory=set)

    def say(self, line: str) -> None:
        self.output.append(f"  {line}\n")

    def warn(self, line: str) -> None:
        self.library.error(line)

    def fail(self, *lines: str, status: int = FAILED) -> NoReturn:
        for line in lines:
            self.warn(line)
        raise Failed(status)

    def wrong(self, *lines: str) -> NoReturn:
        """Say what makes no sense in the command line, and end."""
        self.fail(*lines, f"Run `{self.command} --help' for more information.", status=WRONG)

    def no_zero(self) -> None:
        """End where a size or number is zero, which none may be."""
        for name in ("extents", "size", "stripes", "stripesize"):
            value = self.options.get(name)
            if value == 0 or (isinstance(value, Size) and not value.amount):
                self.wrong(f"--{name} may not be zero.")

    def no_syntax(self) -> NoReturn:
        self.fail(f"No command with matching syntax recognised.  Run '{self.command} --help' for more information.",
                  status=WRONG)

    def ask(self, question: str, otherwise: str) -> None:
        """Ask the user whether to go on; nobody is there to answer, but they may have said yes beforehand."""
        if "yes" not in self.options and "force" not in self.options:
            self.library.errors.append(f"{question}? [y/n]: [n]")
            self.fail(otherwise)

    # Device mapper

    def activate(self, lv: LogicalVolume, new: bool = False) -> None:
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

    def _activate(self, lv: LogicalVolume) -> None:
        if (there := device(lv)) is None:
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

    def _load(self, lv: LogicalVolume) -> None:
        """Load the table that a volume's segments make, unless the device has it, or another is loaded already."""
        there = device(lv) or NULL
        if there.loaded:
            return
        if there.live:
            table = Task("table", major=there.major, minor=there.minor)
            self.library.run(table)
            if targets(table) == lv.targets():
                return
        self._do("reload", lv, there, targets=lv.targets())

    def suspend(self, lv: LogicalVolume) -> None:
        """Load the table that an active volume's segments now make, and suspend the device if nobody has."""
        self._load(lv)
        there = device(lv) or NULL
        if there.suspended:
            return
        try:
            self._do("suspend", lv, there, f"Unable to suspend {called(lv, there)}", flags=DM_SKIP_LOCKFS_FLAG)
        except Refused:
            self._do("clear", lv, there)
            raise
        self.suspended.add(lv)

    def resume(self, lv: LogicalVolume) -> None:
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

    def _resume(self, lv: LogicalVolume) -> None:
        there = device(lv) or NULL
        self._do("resume", lv, there, f"Unable to resume {called(lv, there)}.")
        if there.suspended and lv not in self.suspended:
            self.warn("Attempted to decrement suspended device counter below zero.")
        self.suspended.discard(lv)

    def unused(self, lv: LogicalVolume) -> None:
        """End where another device is made of a volume, or where others still have it open after 24 looks at it."""
        there = device(lv) or NULL
        if there.held:
            self.fail(f"Logical volume {lv.full_name} is used by another device.")
        for _ in range(24):
            if not (device(lv) or NULL).open_count:
                return
            usleep_range(RETRY, RETRY)
        if (device(lv) or NULL).open_count:
            self.fail(f"Logical volume {lv.full_name} in use.")

    def deactivate(self, lv: LogicalVolume) -> None:
        """Let a volume be no mapped device any more."""
        there = device(lv) or NULL
        self._do("remove", lv, there, f"Unable to deactivate {called(lv, there)}.")
        unlink(f"/dev/mapper/{lv.dm_name}")

    def _do(self, kind: str, lv: LogicalVolume, there: Device | None = None, failing: str = "", **more: Any) -> None:
        """Do one ioctl, and note the change; `failing` is said where it fails. LVM names a device by its number."""
        if there is not None:
            more |= {"major": there.major, "minor": there.minor}
        try:
            self.library.run(Task(kind, **more))
        except Refused:
            if failing:
                self.warn(failing)
            raise
        self.ioctls.append(("load", lv.dm_name, lv.table()) if kind == "reload" else (kind, lv.dm_name, None))


def called(lv: LogicalVolume, there: Device) -> str:
    """A volume's device, in messages."""
    return f"{lv.dm_name} ({there.major}:{there.minor})"


# The command line

def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]+", text) or saturated(text, 1 << 63) >> 63:
        raise ValueError
    return int(text) & 0xFFFFFFFF  # LVM keeps 32 bits of it


def _kilobytes(text: str) -> Size:
    size = parse_size(text, 2)
    if size.sign == "-":
        raise ValueError("Size may not be negative.")
    return size


def _one_of(*those: str, unknown: str = "", what: str = "", lacking: Container[str] = ()) -> Callable[[str], str]:
    """What reads one of those words; `lacking` has words for such a `what` that the model lacks."""
    def read(text: str) -> str:
        if text in lacking:
            raise NotModelled(f"the {what} {text}")
        if text not in those:
            raise ValueError(unknown and f"{unknown} {text}")
        return text
    return read


# the options that the model has, and what reads the argument (None: there is none)
OPTIONS: dict[str, Callable[[str], Any] | None] = {
    "size": parse_size, "extents": parse_extents, "name": str, "stripes": _number, "stripesize": _kilobytes,
    "type": _one_of("linear", "striped", unknown="WARNING: Unrecognised segment type", what="segment type",
                    lacking=known("lvm segment types not modelled")),
    "alloc": _one_of(*POLICIES, "inherit", unknown="Unrecognised allocation policy", what="allocation policy",
                     lacking=("cling_by_tags",)),
    "activate": _one_of("y", "n", "ay"), "zero": _one_of("y", "n"), "wipesignatures": _one_of("y", "n"),
    "yes": None, "force": None, "physicalextentsize": parse_size}
# the signs that a command's size may not have, and what is said then
SIGNS = {"lvcreate": ("-", "negative"), "lvextend": ("-", "negative"), "lvreduce": ("+", "positive"),
         "vgcreate": ("+-", "relative/signed")}


def read_words(process: Process, allowed: Sequence[str], line: Sequence[str]) -> list[str]:
    """Take the options out of a command line, of which the model has those that are `allowed`. Returns the others."""
    arguments: list[str] = []
    there = f"{process.command} options"
    options = {name: OPTIONS[name] is not None if name in allowed else None for name in known(there)}
    try:
        for name, value in getopt_long(line, arguments, options, letters(there)):
            if name not in allowed:
                raise NotModelled(f"{process.command}'s option --{name}")
            _option(process, name, value)
    except BadOption as why:  # the C library writes its line itself
        process.library.errors.append(f"{process.command}: {why}")
        process.fail("Error during parsing of command line.", status=WRONG)
    return arguments


def _option(process: Process, name: str, value: str | None) -> None:
    """Note an option."""
    if (read := OPTIONS[name]) is None or value is None:
        process.options[name] = True
        return
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
