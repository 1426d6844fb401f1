"""dmsetup: the tool by which mapped devices are made, given tables, looked at and removed.

run() does one command, as a process of the running kernel, and returns what the process leaves behind: its exit
status, what it wrote, and which ioctl failed. Below it create(), load() and so on do the same as functions of Python,
which raise KernelError. What the tool says is what dmsetup 1.02.185 says, but for its help. Left out: statistics,
trees, udev's cookies, reports with columns of one's choice, and `measure`, which this kernel has not: NotModelled.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, NoReturn

from blkmodel.errors import NotModelled
from blkmodel.include.linux import dm_ioctl as uapi
from blkmodel.sim import this
from blkmodel.userland.getopt import BadOption, getopt_long, saturated
from blkmodel.userland.libdm import (LIBRARY_VERSION, Info, Library, Refused, Task, deps, find_disk, info, mangled,
    name_of_path, names, plain, read_ahead, targets, versions)
from blkmodel.userland.tools import known, letters, output_of

NAME_LEN, TYPE_LEN, UUID_LEN, U64_MAX = 128, 16, 129, (1 << 64) - 1
DEVICE_OPTIONS = ("devno", "blkdevname", "devname")


class Outcome(NamedTuple):
    """What a process of dmsetup leaves behind. ioctl and errno say which ioctl failed first, and how (positive)."""

    exit: int
    output: str
    errors: list[str]
    ioctl: str | None
    errno: int


# those of the tool's options that the model has, and whether they have an argument
OPTIONS = dict.fromkeys(("major", "minor", "options", "table", "target", "uuid"), True) | dict.fromkeys((
    "readonly", "checks", "columns", "deferred", "force", "inactive", "noflush", "noheadings", "nolockfs",
    "noopencount", "notable", "noudevrules", "noudevsync", "retry", "setuuid", "showkeys", "verbose", "verifyudev",
    "version", "yes", "addnodeonresume", "addnodeoncreate"), False)
FLAGS = {"readonly": uapi.DM_READONLY_FLAG, "noflush": uapi.DM_NOFLUSH_FLAG, "nolockfs": uapi.DM_SKIP_LOCKFS_FLAG,
         "inactive": uapi.DM_QUERY_INACTIVE_TABLE_FLAG, "noopencount": uapi.DM_SKIP_BDGET_FLAG,
         "deferred": uapi.DM_DEFERRED_REMOVE, "setuuid": uapi.DM_UUID_FLAG}
INCOMPATIBLE = (("table", "notable"), ("addnodeonresume", "addnodeoncreate"))


@dataclass
class Process:
    """One run of the tool: its options (name → argument, or how often it was given), and what it has written."""

    library: Library = field(default_factory=Library)
    options: dict[str, Any] = field(default_factory=dict)
    output: list[str] = field(default_factory=list)
    stdin: str = ""
    command: str = ""
    several: bool = False

    def print(self, text: str) -> None:
        self.output.append(text)

    def refuse(self, *lines: str) -> NoReturn:
        """Say why, and do not go on."""
        for line in lines:
            self.library.error(line)
        raise Refused

    def answered(self, kind: str, name: str = "") -> Task:
        """A task of that kind, done."""
        task = self.library.task(kind)
        task.name = name
        self.library.run(task)
        return task

    @property
    def by_option(self) -> bool:
        """Whether an option says which device is meant: --uuid, or --major and --minor."""
        return "uuid" in self.options or "major" in self.options

    def flags(self, *options: str) -> int:
        """What those of some options that were given ask of the kernel."""
        return sum(FLAGS[option] for option in options if option in self.options)

    def number(self, option: str) -> int:
        """An option's argument as C's atoi() has it."""
        return _atoi(str(self.options.get(option, "")))


# The command line

def run(words: Sequence[str], stdin: str = "") -> Outcome:
    """Do `dmsetup WORDS…` as a process of the running kernel, with all that it sets off. Returns its Outcome.

    A table comes from --table or, where there is none, from standard input.
    """
    process = Process(stdin=stdin)
    status = this().task("dmsetup", _main, process, list(words))
    failures = process.library.failures
    return Outcome(status, "".join(process.output), process.library.errors, *(failures[0] if failures else (None, 0)))


def only_looks(words: Sequence[str]) -> bool:
    """Whether `dmsetup WORDS…` asks, and changes nothing."""
    arguments = _options(Process(), words)
    return not arguments or arguments[0] in LOOKS or arguments[0] not in COMMANDS


def wants_stdin(words: Sequence[str]) -> bool:
    """Whether `dmsetup WORDS…` reads a table from standard input."""
    process = Process()
    arguments = _options(process, words) or [""]
    return (arguments[0] in ("create", "load", "reload") and len(arguments) <= 2
            and not {"table", "notable"} & set(process.options))


def _main(process: Process, line: Sequence[str]) -> int:
    try:
        if (arguments := _options(process, line)) is None:
            process.refuse("Couldn't process command line.")
        if "version" in process.options:
            _version(process, [])
            return 0
        return _command(process, arguments)
    except Refused:
        return 1
    finally:
        process.library.close()


def _options(process: Process, line: Sequence[str]) -> list[str] | None:
    """Take the options out of a command line; return the other words, or None where the options make no sense."""
    arguments: list[str] = []
    try:
        for name, value in getopt_long(line, arguments, {name: OPTIONS.get(name) for name in known("dmsetup options")},
                                       letters("dmsetup options")):
            if name not in OPTIONS:
                raise NotModelled(f"dmsetup's option --{name}")
            process.options[name] = process.options.get(name, 0) + 1 if value is None else value
    except BadOption as why:
        process.library.error(f"dmsetup: {why}")
        return None
    wrong = [f"--{one} and --{other} are incompatible." for one, other in INCOMPATIBLE
             if one in process.options and other in process.options]
    if ("major" in process.options) != ("minor" in process.options):
        wrong.insert(0, "Please specify both major number and minor number.")
    for why_not in wrong[:1]:
        process.library.error(why_not)
    return None if wrong else arguments


def _command(process: Process, arguments: list[str]) -> int:
    if not arguments:
        process.refuse("Usage: dmsetup COMMAND …")
    name, *arguments = arguments
    if name in known("dmsetup commands not modelled"):
        raise NotModelled(f"dmsetup {name}")
    if name not in COMMANDS:
        process.refuse("Unknown command.")
    command = COMMANDS[name]
    if len(arguments) < command.least or 0 <= command.most < len(arguments):
        process.refuse("Incorrect number of arguments.")
    process.command = name
    if "columns" not in process.options:
        _device_option(process)
    process.several = command.repeated and len(arguments) != 1 and (bool(arguments) or not process.by_option)
    try:
        for each in [[word] for word in arguments] or [[]] if command.repeated else [arguments]:
            command.function(process, each)
    except Refused:
        process.refuse("Command failed.")
    return 0


# Tasks

def _task(process: Process, kind: str, name: str | None = None) -> Task:
    """A task for the device that is meant: by name or, without one, by the options --uuid, or --major and --minor."""
    task = process.library.task(kind)
    if name is not None:
        task.name = _name(process, kind, name)
    elif "uuid" in process.options:
        task.uuid = mangled(process.options["uuid"])
    elif "major" in process.options and "minor" in process.options:
        task.major, task.minor = process.number("major"), process.number("minor")
    else:
        process.refuse("No device specified.")
    task.flags = process.flags("noopencount", "inactive")
    return task


def _only(arguments: list[str]) -> str | None:
    """The one argument of a command that is repeated for each, or None."""
    return arguments[0] if arguments else None


def _name(process: Process, kind: str, name: str) -> str:
    """The name that the kernel is told; it may have been given as the path of a node."""
    if "/" in name:
        if kind == "create":
            process.refuse(f'Name "{name}" invalid. It contains "/".')
        found, missing = name_of_path(name)
        if missing:
            process.refuse(f"Device {missing} not found")
        return found
    if len(uapi.bytes_of(name)) >= NAME_LEN:
        process.refuse(f'Name "{name}" too long.')
    return mangled(name)


def _parse_table(process: Process, task: Task) -> None:
    """Give a task the targets of the table, which is an option or comes from standard input."""
    text, place = (process.options["table"], "") if "table" in process.options else (process.stdin, "on stdin")
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if (found := re.match(r"([+-]?[0-9]++)\s*+([+-]?[0-9]++)\s*+(\S++)\s*+", line)) is None:
            process.refuse(f"Invalid format on line {number} of table {place}.")
        kind = found[3]
        if len(uapi.bytes_of(kind)) >= TYPE_LEN:
            process.refuse(f"Target type name {kind} is too long.")
        params = line[found.end():].partition("#")[0]
        task.targets.append((_unsigned(found[1]), _unsigned(found[2]), kind, params))


def _unsigned(text: str) -> int:
    """A number as C's %llu reads it: a negative one wraps, one that is too large is the largest."""
    value = saturated(text.lstrip("+-"), U64_MAX)
    return -value & U64_MAX if text.startswith("-") else value


def _atoi(text: str) -> int:
    """A number at the beginning of a text as C's atoi() has it: 0 where there is none."""
    found = re.match(r"\s*([+-]?)([0-9]+)", text)
    value = saturated(found[2], (1 << 63) - 1) if found else 0
    value = (-value if found and found[1] == "-" else value) & 0xFFFFFFFF
    return value - (value >> 31 << 32)


# Sub-commands. Each takes the process and its arguments.

def _create(process: Process, arguments: list[str]) -> None:
    if not arguments:
        process.refuse("Please provide a name for the new device.")
    task = _task(process, "create", arguments[0])
    if "uuid" in process.options:
        task.uuid = mangled(process.options["uuid"])
    if len(arguments) > 1 and not {"notable", "table"} & set(process.options):
        process.refuse(f"Couldn't open '{arguments[1]}' for reading.")
    if "notable" not in process.options:
        _parse_table(process, task)
    task.flags |= process.flags("readonly")
    task.major, task.minor = (process.number(which) if which in process.options else -1 for which in ("major", "minor"))
    task.add_node_on_create = "addnodeoncreate" in process.options
    _run(process, task)


def _first(process: Process, arguments: list[str], missing: str) -> tuple[str | None, list[str]]:
    """The first argument, a name, where no option says which device is meant (else None), and the others."""
    if not (process.by_option or arguments):
        process.refuse(missing)
    return (None, arguments) if process.by_option else (arguments[0], arguments[1:])


def _load(process: Process, arguments: list[str]) -> None:
    if "notable" in process.options:
        process.refuse("--notable only available when creating new device.")
    name, arguments = _first(process, arguments, "Please specify device.")
    if process.by_option and len(arguments) > 1:
        process.refuse("Too many command line arguments.")
    task = _task(process, "reload", name)
    if arguments and "table" not in process.options:
        process.refuse(f"Couldn't open '{arguments[0]}' for reading.")
    _parse_table(process, task)
    task.flags |= process.flags("readonly")
    _run(process, task)


def _run(process: Process, task: Task, display: bool = True) -> None:
    """Do a task; then, if so wanted by --verbose too, print how its device is."""
    process.library.run(task)
    if display and "verbose" in process.options:
        _display_info(process, task)


def _simple(process: Process, kind: str, name: str | None, event_nr: int = 0, display: bool = False) -> None:
    task = _task(process, kind, name)
    task.event_nr = event_nr
    task.flags |= process.flags("noflush", "nolockfs", *(["deferred"] if kind in ("remove", "remove_all") else []))
    task.add_node_on_create = "addnodeoncreate" in process.options
    task.retry_remove = "retry" in process.options and kind == "remove"
    _run(process, task, display)


def _named(process: Process, arguments: list[str]) -> None:
    """The command whose name is that of its task: suspend, resume, clear."""
    _simple(process, process.command, _only(arguments), display=True)


def _remove(process: Process, arguments: list[str]) -> None:
    if "force" in process.options and arguments:
        with suppress(Refused):
            _wipe_table(process, arguments[0])
    _simple(process, "remove", _only(arguments))


def _remove_all(process: Process, arguments: list[str]) -> None:
    _simple(process, "remove_all", "")
    process.library.mknodes()
    if "force" not in process.options or not _all_names(process):
        return
    with suppress(Refused):
        _all(process, _wipe_table)
    _simple(process, "remove_all", "")
    process.library.mknodes()
    if left := len(_all_names(process)):
        process.library.error(f"Unable to remove {left} device(s).")


def _wipe_table(process: Process, name: str | None) -> None:
    """Give a device a table that fails all I/O, of the size that it had, so that nothing waits for it any more."""
    if not name:
        process.refuse("No device specified.")
    size = 0  # where the device cannot be asked, loading is tried all the same
    with suppress(Refused):
        look = _task(process, "table", name)
        process.library.run(look)
        size = sum(length for _, length, _, _ in targets(look))
    load = _task(process, "reload", name)
    load.targets = [(0, size, "error", "")]
    load.flags |= process.flags("readonly")
    process.library.run(load)
    if "force" in process.options:
        process.options["nolockfs"] = process.options["noflush"] = 1
    try:
        _simple(process, "resume", name)
    except Refused:
        _simple(process, "clear", name)
        raise


def _rename(process: Process, arguments: list[str]) -> None:
    task = _task(process, "rename", arguments[0] if len(arguments) == 2 else None)
    new = arguments[-1]
    task.flags |= process.flags("setuuid")
    is_name = "setuuid" not in process.options
    what, most = ("Name", NAME_LEN) if is_name else ("Uuid", UUID_LEN)
    if is_name and "/" in new:
        process.refuse(f'Name "{new}" invalid. It contains "/".')
    if len(uapi.bytes_of(new)) >= most:
        process.refuse(f'{what} "{new}" too long')
    if is_name and not new:
        process.refuse("Non empty new name is required.")
    task.new_name = mangled(new)
    process.library.run(task)


def _task_of_first(process: Process, kind: str, arguments: list[str]) -> tuple[Task, list[str]]:
    """A task for the device that an option or else the first argument means; and the arguments that are left."""
    name, arguments = _first(process, arguments, "No device specified.")
    return _task(process, kind, name), arguments


def _message(process: Process, arguments: list[str]) -> None:
    task, arguments = _task_of_first(process, "message", arguments)
    found = re.fullmatch(r"\s*([+-]?[0-9]+)", arguments[0]) if arguments else None
    if found is None or saturated(found[1].lstrip("+-"), U64_MAX + 1) > U64_MAX:
        process.refuse("Invalid sector.")
    task.sector = _unsigned(found[1])
    if len(arguments) == 1:
        process.library.error("No message supplied.")
    task.message = " ".join(arguments[1:])
    process.library.run(task)


def _setgeometry(process: Process, arguments: list[str]) -> None:
    task, arguments = _task_of_first(process, "setgeometry", arguments)
    task.geometry = " ".join(arguments[:4])
    process.library.run(task)


def _wait(process: Process, arguments: list[str]) -> None:
    name, arguments = _first(process, arguments, "No device specified.")
    _simple(process, "waitevent", name, _atoi(arguments[-1]) & 0xFFFFFFFF if arguments else 0, display=True)


def _mknodes(process: Process, arguments: list[str]) -> None:
    process.library.mknodes(_name(process, "mknodes", arguments[0]) if arguments else None)


def _version(process: Process, arguments: list[str]) -> None:
    process.print(f"Library version:   {LIBRARY_VERSION}\n")
    process.print(f"Driver version:    {'.'.join(map(str, process.answered('version').answer.version))}\n")


def _targets(process: Process, arguments: list[str]) -> None:
    """The versions of all types of targets, or of one."""
    kind = "target-version" if arguments else "versions"
    task = process.answered(kind, _name(process, kind, arguments[0]) if arguments else "")
    for name, version in versions(task):
        process.print(f"{name:<16} v{'.'.join(map(str, version))}\n")


def _all_names(process: Process) -> list[tuple[str, tuple[int, int]]]:
    return names(process.answered("names"))


def _all(process: Process, function: Callable[[Process, str], None]) -> bool:
    """Do something for each device that there is; it fails where it fails for one, once all have had their turn.

    Returns whether there is any.
    """
    process.several = True
    done = []
    for name, _ in _all_names(process):
        done.append(False)
        with suppress(Refused):
            function(process, name)
            done[-1] = True
    if not all(done):
        raise Refused
    return bool(done)


def _shown(process: Process, arguments: list[str], show: Callable[[Process, str | None], None]) -> None:
    """Show the device that is meant; where none is, each that there is."""
    if arguments or process.by_option:
        show(process, _only(arguments))
    elif not _all(process, show):
        process.print("No devices found\n")


def _ls(process: Process, arguments: list[str]) -> None:
    if "target" in process.options:
        _shown(process, arguments, _status)
        return
    if not (found := _all_names(process)):
        process.print("No devices found\n")
    for name, (major, minor) in found:
        process.print(f"{name}\t({_device(process, major, minor) or f'{major}:{minor}'})\n")


def _status(process: Process, name: str | None) -> None:
    task = _task(process, "table" if process.command == "table" else "status", name)
    task.flags |= process.flags("noflush")
    process.library.run(task)
    device, matched = _there(process, task), False
    for start, length, kind, text in targets(task) or [(0, 0, "", "")]:
        if "target" in process.options and kind != process.options["target"]:
            continue
        if process.command == "ls":
            process.print(f"{device.name}\t({device.major}, {device.minor})\n")
            return
        if not matched and "verbose" in process.options:
            _display_info(process, task)
        if process.several and "verbose" not in process.options:
            process.print(f"{device.name}: ")
        if kind:
            process.print(f"{start} {length} {kind} {text}")
        process.print("\n")
        matched = True
    if process.several and "verbose" in process.options and matched:
        process.print("\n")


def _info(process: Process, arguments: list[str]) -> None:
    if "columns" in process.options:
        _columns(process, arguments)
    else:
        _shown(process, arguments, lambda process, name: _display_info(process, _asked(process, name)))


def _asked(process: Process, name: str | None) -> Task:
    """The task that asked how a device is."""
    task = _task(process, "info", name)
    process.library.run(task)
    return task


def _there(process: Process, task: Task) -> Info:
    """How the device of a task is, which must be there."""
    if not task.exists:
        process.refuse("Device does not exist.")
    return info(task)


def _display_info(process: Process, task: Task) -> None:
    """Print how a device is, in words."""
    device = _there(process, task)
    tables = " & ".join(word for word, flag in (("LIVE", uapi.DM_ACTIVE_PRESENT_FLAG),
                                                ("INACTIVE", uapi.DM_INACTIVE_PRESENT_FLAG)) if device.flags & flag)
    state = "SUSPENDED" if device.flags & uapi.DM_SUSPEND_FLAG else "ACTIVE"
    for word, flag in (("READ-ONLY", uapi.DM_READONLY_FLAG), ("DEFERRED REMOVE", uapi.DM_DEFERRED_REMOVE)):
        state += f" ({word})" * bool(device.flags & flag)
    lines = [f"Name:              {device.name}", f"State:             {state}"]
    if (sectors := read_ahead(device.major, device.minor)) is not None:
        lines.append(f"Read Ahead:        {sectors}")
    lines += [f"Tables present:    {tables or 'None'}", f"Open count:        {device.open_count}",
              f"Event number:      {device.event_nr}", f"Major, minor:      {device.major}, {device.minor}",
              f"Number of targets: {device.target_count}"]
    if device.uuid:
        lines.append(f"UUID: {device.uuid}")
    process.print("".join(f"{line}\n" for line in (*lines, "")))


def _columns(process: Process, arguments: list[str]) -> None:
    """Print how devices are, a line each, with the columns that are asked for."""
    asked = process.options.get("options", ",".join(COLUMNS)).split(",")
    if unknown := [column for column in asked if column not in COLUMNS]:
        process.refuse(f"Unrecognised field: {unknown[0]}", f"The columns are {', '.join(COLUMNS)}.")
    rows: list[list[str]] = []

    def show(process: Process, name: str | None) -> None:
        device = _there(process, _asked(process, name))
        rows.append([str(getattr(device, COLUMNS[column].shows)) for column in asked])
    _shown(process, arguments, show)
    if not rows:
        return
    if "noheadings" in process.options:
        process.print("".join(":".join(row) + "\n" for row in rows))
        return
    headings = [COLUMNS[column].heading for column in asked]
    widths = [max(COLUMNS[column].width, *(len(row[i]) for row in (headings, *rows))) for i, column in enumerate(asked)]
    process.print(" ".join(map(str.ljust, headings, widths)) + "\n")
    for row in rows:
        cells = [cell.rjust(width) if COLUMNS[column].number else cell.ljust(width)
                 for cell, width, column in zip(row, widths, asked, strict=True)]
        process.print(" ".join(cells) + "\n")


class Column(NamedTuple):
    """A column of `info -c`: its heading, its least width, whether it has numbers, and what of Info it shows."""

    heading: str
    width: int
    number: bool
    shows: str


COLUMNS = {"name": Column("Name", 16, False, "name"), "major": Column("Maj", 3, True, "major"),
           "minor": Column("Min", 3, True, "minor"), "attr": Column("Stat", 4, False, "stat"),
           "open": Column("Open", 4, True, "open_count"), "segments": Column("Targ", 4, True, "target_count"),
           "events": Column("Event", 6, True, "event_nr"), "uuid": Column("UUID", 32, False, "uuid")}


def _deps(process: Process, name: str | None) -> None:
    task = _task(process, "deps", name)
    _run(process, task)
    if process.several and "verbose" not in process.options:
        process.print(f"{plain(task.answer.name)}: ")
    found = deps(task)
    process.print(f"{len(found)} dependencies\t:")
    for major, minor in found:
        process.print(f" ({_device(process, major, minor) or f'{major}, {minor}'})")
    process.print("\n")
    if process.several and "verbose" in process.options:
        process.print("\n")


def _device_option(process: Process) -> str:
    """How -o wants devices called (the last of its words counts, and a beginning does): one of DEVICE_OPTIONS."""
    wanted, words = DEVICE_OPTIONS[0], process.options.get("options", "")
    while words:
        word, _, rest = words.partition(",")
        if not (found := [option for option in DEVICE_OPTIONS if option.startswith(word)]):
            process.refuse(f"Option not recognised: {words}.", "Couldn't process command line.")
        wanted, words = found[0], rest
    return wanted


def _device(process: Process, major: int, minor: int) -> str | None:
    """What -o asks for in place of the number of a device; None where there is no such thing."""
    if (wanted := _device_option(process)) == "blkdevname":
        return find_disk(major, minor)
    if wanted == "devname":
        return next((name for name, number in _all_names(process) if number == (major, minor)), find_disk(major, minor))
    return None


class Command(NamedTuple):
    """A sub-command: how many arguments it takes (most: -1 for any number), whether it is repeated for each of them."""

    function: Callable[[Process, list[str]], None]
    least: int = 0
    most: int = -1
    repeated: bool = True


COMMANDS = {"create": Command(_create, 0, 2, False), "remove": Command(_remove),
            "remove_all": Command(_remove_all, 0, 0, False), "suspend": Command(_named), "resume": Command(_named),
            "load": Command(_load, 0, 2, False), "clear": Command(_named), "reload": Command(_load, 0, 2, False),
            "wipe_table": Command(lambda process, arguments: _wipe_table(process, _only(arguments))),
            "rename": Command(_rename, 1, 2, False), "message": Command(_message, 2, -1, False),
            "ls": Command(_ls, 0, 0, False), "info": Command(_info), "deps": Command(partial(_shown, show=_deps)),
            "status": Command(partial(_shown, show=_status)), "table": Command(partial(_shown, show=_status)),
            "wait": Command(_wait, 0, 2, False), "mknodes": Command(_mknodes), "target-version": Command(_targets, 1),
            "targets": Command(_targets, 0, 0, False), "version": Command(_version, 0, 0, False),
            "setgeometry": Command(_setgeometry, 5, 5, False)}
LOOKS = ("ls", "info", "deps", "status", "table", "wait", "target-version", "targets", "version")


# The same from Python

def dmsetup(*words: str, stdin: str = "") -> str:
    """Do a command and return its output.

    KernelError where an ioctl fails, with its errno; ValueError with dmsetup's own words where it comes to none.
    """
    return output_of(["dmsetup", *words], lambda: run(words, stdin))


def create(name: str, table: str | None = None, uuid: str | None = None) -> str:
    """Make a device with a table or (None) without one. Returns the name of its disk."""
    given = ["--notable"] if table is None else ["--table", table]
    dmsetup("create", name, *given, *(["--uuid", uuid] if uuid else []))
    return disk_of(name)


def load(name: str, table: str) -> None:
    """Load a table for a device, to be made live when it is resumed."""
    dmsetup("load", name, "--table", table)


def suspend(name: str, flush: bool = True) -> None:
    """Suspend a device."""
    dmsetup("suspend", name, *([] if flush else ["--noflush"]))


def resume(name: str) -> None:
    """Make the table that is loaded the live one, and resume the device."""
    dmsetup("resume", name)


def remove(name: str) -> None:
    """Remove a device."""
    dmsetup("remove", name)


def rename(name: str, new_name: str) -> None:
    """Give a device another name."""
    dmsetup("rename", name, new_name)


def message(name: str, sector: int, text: str) -> None:
    """Give a message to the target of a sector."""
    dmsetup("message", name, str(sector), text)


def status(name: str) -> str:
    """What the targets of a device say, a line each."""
    return dmsetup("status", name)


def table(name: str) -> str:
    """The live table of a device."""
    return dmsetup("table", name)


def disk_of(name: str) -> str:
    """The name of a device's disk, such as `"dm-0"`."""
    library, task = Library(), Task("info", name=mangled(name))
    try:
        this().task("dmsetup", library.run, task)
    finally:
        library.close()
    if not task.exists:
        raise KeyError(f"there is no mapped device {name!r}")
    return find_disk(info(task).major, info(task).minor) or ""
