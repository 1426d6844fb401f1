"""A session: a machine, and what has been done on it, in a file from which the next command goes on.

The file (`blkmodel-session/1`) has a machine and steps. A step is a line, as it would be typed: one of scenario's, with
its parameters (`nvme.probe device=nvme0 sectors=131072`), dmsetup, or a command of LVM. Each command boots the machine
anew and does all steps again, and what comes of it is what came of it before; then it is done, and is a step itself.
Two commands on one session wait for each other. The limits are those of capture/files.py and capture/steps.py.
"""

import json
import re
import shlex
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from blkmodel.capture import steps
from blkmodel.capture.files import MOST_BYTES, FileError, parse_json, placed, read_text, shown
from blkmodel.capture.shapes import MOST_CPUS, ShapeError, fields, list_of, long_text, number_from, one_of
from blkmodel.cli.keeping import locked, may_be_replaced, replace
from blkmodel.errors import KernelError, NotModelled
from blkmodel.scenario import LOOKS, STEPS, arguments_of, dmsetup_run, lvm_run, run_step
from blkmodel.services import KernelBug, whole_disks
from blkmodel.sim import HungTask, MachineError, boot, machine, this
from blkmodel.userland import dmsetup, iostat, look, lvm, nvme
from blkmodel.userland.blktrace import Blktrace
from blkmodel.userland.tools import known

FORMAT = "blkmodel-session/1"
DISKS = ("nvme.probe device=nvme0 sectors=131072", "nvme.probe device=nvme1 sectors=131072")
READS: dict[str, Callable[[list[str]], Any]] = {
    "iostat": iostat.run, "lsblk": look.lsblk_run, "nvme": nvme.run, "sysfs": look.sysfs,
    "blktrace": lambda words: traced(*words)}
"""Tools that print what is there: each takes its words."""
EXAMPLE = json.dumps({"format": FORMAT, "machine": {"cpus": 4}, "steps": DISKS[:1]})
_parts = number_from(1, MOST_CPUS)
_SHAPE = fields({"format": one_of(FORMAT), "machine": fields({"cpus": _parts}, {
    "nodes": _parts, "threads": _parts, "present": number_from(0, MOST_CPUS)}),
    "steps": list_of(long_text, steps.MOST_STEPS)})


class SessionError(ValueError):
    """A session cannot be read or done; the message says why, and where."""


class Stopped(SessionError):
    """A step did not come to its end: the kernel does not go on, or the model has a bug."""


class Done(NamedTuple):
    """What came of a command: its exit status, and what it wrote to standard output and to standard error (lines)."""

    exit: int = 0
    output: str = ""
    errors: tuple[str, ...] = ()


@dataclass
class Session:
    """A machine, as sim.machine() is told of it, and the steps so far. path: the file it is kept in, or None."""

    path: Path | None = None
    machine: dict[str, Any] = field(default_factory=lambda: {"cpus": 4})
    steps: list[str] = field(default_factory=lambda: list(DISKS))

    def replay(self, show: Callable[[str, Done], object] = lambda line, done: None) -> None:
        """Boot the machine, and do all steps; show(line, Done) is called after each. SessionError says which of them
        cannot be done; the kernel of those before it is the current one then."""
        with placed(f"{self.path}: machine", SessionError, MachineError):
            boot(machine(**self.machine))
        for number, line in enumerate(self.steps, 1):
            try:
                show(line, do(shlex.split(line)))
            except (NotModelled, ValueError) as why:
                said = " ".join(str(why).split())
                raise SessionError(f"{self.path or 'the machine'}: {_called(number, line)}: {said}") from why

    def with_step(self, line: str) -> str:
        """The text of the file with one more step, which must then be one that can be read."""
        lines = [*self.steps, line]
        text = (f'{{"format": {json.dumps(FORMAT)},\n "machine": {json.dumps(self.machine)},\n "steps": [\n'
                + ",\n".join(f"  {json.dumps(each)}" for each in lines) + "\n ]}\n")
        with placed(f"{self.path}: the step cannot be kept", SessionError, FileError, ShapeError, SessionError):
            if self.path is not None:
                may_be_replaced(self.path)
            if len(text) > MOST_BYTES:
                raise FileError(f"expected a file of at most {MOST_BYTES} bytes")
            _SHAPE({"format": FORMAT, "machine": self.machine, "steps": lines}, "")
            hold_steps(lines, self.machine["cpus"])
        return text


def run(path: Path | None, words: list[str], stdin: str = "") -> Done:
    """Do a command after all steps of a session; where it may have changed something, it is a step from now on."""
    line = shlex.join(words if not stdin else [*words, "--table", stdin])
    kept = path if not _only_looks(words) else None
    with (placed(f"{path}: the step cannot be kept", SessionError, FileError),
          locked(kept) if kept is not None else nullcontext()):
        session = opened(path)
        text = "" if _only_looks(words) else session.with_step(line)
        session.replay()
        done = do(words, stdin)
        if kept is not None:
            replace(kept, text)
    return done


def opened(path: Path | None) -> Session:
    """The session in a file; where there is no such file, or none is named, one that begins with a machine of two
    disks."""
    return read(path) if path is not None and path.exists() else Session(path)


def read(path: Path) -> Session:
    """Read a session from a file."""
    try:
        document = parse_json(read_text(path))
        _SHAPE(document, "")
        hold_steps(document["steps"], document["machine"]["cpus"])
    except FileError as why:
        example = f"; a session is such as {EXAMPLE}" if "JSON" in str(why) else ""
        raise SessionError(f"{path}: {why}{example}") from why
    except (ShapeError, SessionError) as why:
        raise SessionError(f"{path}: {why}") from why
    return Session(path, document["machine"], document["steps"])


def _called(number: int, line: str) -> str:
    """A step in a message: its number, and as much of its line as fits."""
    return f"step {number} ({shown(line, 400)[1:-1]})"


def hold_steps(lines: list[str], cpus: int, places: list[str] | None = None) -> None:
    """Hold all steps of a session against what they may be. SessionError says what is wrong, and in which place."""
    values = []
    places = places or [_called(number, line) for number, line in enumerate(lines, 1)]
    for place, line in zip(places, lines, strict=True):
        with placed(place, SessionError, ValueError):
            words = shlex.split(line)
            tool = words and (words[0] in ("dmsetup", *READS) or words[0] in lvm.COMMANDS)
            values.append(["dmsetup"] if tool else checked(step_of(words)))
    try:
        steps.steps(values, places, cpus)
    except ShapeError as why:
        raise SessionError(str(why)) from why


def checked(value: list[Any]) -> list[Any]:
    """A step that is as it must be; SessionError says what about it is not."""
    try:
        arguments_of(value)
        steps.step(value, value[0])
    except (ShapeError, TypeError) as why:
        raise SessionError(str(why).replace(f"{value[0]}[1]", value[0], 1)) from why
    return value


def do(words: list[str], stdin: str = "") -> Done:
    """Do a command or a step. Returns Done, with exit status 1 where the kernel refuses; SessionError where it is none,
    or where it ends the kernel."""
    name = words[0] if words else ""
    try:
        if name == "dmsetup" or name in lvm.COMMANDS:
            before = len(this().log)
            came: Any = dmsetup_run(*words[1:], stdin=stdin) if name == "dmsetup" else lvm_run(*words)
            target_not_modelled(this().log[before:])
            return Done(came.exit, came.output, tuple(came.errors))
        if name in READS:
            came = READS[name](words[1:])
            return came if name == "blktrace" else Done(output=came)
        came = run_step(checked(step_of(words)))
        return Done(output=came if name in LOOKS else "")
    except (SessionError, NotModelled):
        raise
    except KernelError as why:
        return Done(1, errors=tuple(str(why).splitlines()))
    except (OSError, KeyError, TypeError, ValueError) as why:
        raise SessionError(why.args[0] if isinstance(why, KeyError) else str(why)) from why
    except (HungTask, KernelBug) as why:
        raise Stopped(f"the kernel does not go on: {why}") from why
    except Exception as why:  # a bug of the model
        raise Stopped(f"the model fails: {type(why).__name__}: {why}") from why


def traced(disk: str = "", *words: str) -> Done:
    """What blktrace tells of a disk while a step is done, and what comes of that."""
    name = disk_of(disk)
    if words[:1] == ("blktrace",):
        raise SessionError("blktrace: expected a step; found another blktrace")
    hold_steps([shlex.join(words)], len(this().machine.possible), ["the step"])
    with Blktrace(name) as seen:
        came = do(list(words))
    return came._replace(output=seen.text)


def disk_of(path: str) -> str:
    """The name of a disk that there is; SessionError says which there are."""
    if (name := path.removeprefix("/dev/")) not in whole_disks():
        there = " or ".join(sorted(whole_disks())) or "of which there is none"
        raise SessionError(f"expected a whole disk, {there}; found {path or 'none'}")
    return name


def target_not_modelled(log: list[str]) -> None:
    """NotModelled where the log says that a type of target is unknown, and Linux 5.4 has that type."""
    for line in log:
        found = re.search(r"(\S+): unknown target type", line)
        if found and found[1] in known("targets not modelled"):
            raise NotModelled(f"device mapper's target {found[1]}")


def step_of(words: list[str]) -> list[Any]:
    """A step as a recording has it, of the words that stand for it."""
    name, *arguments = words or [""]
    if name not in STEPS:
        raise SessionError(f"{shown(name)[1:-1]}: not a step that the model has; expected one of {', '.join(STEPS)}")
    if name == "dmsetup":
        return [name, *arguments]
    values = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or not key:
            raise SessionError(f"{shown(argument)[1:-1]}: expected a parameter as NAME=VALUE")
        if key in values:
            raise SessionError(f"{shown(key)[1:-1]}: it is given twice")
        values[key] = _value(key, value)
    return [name, values]


def _value(key: str, text: str) -> Any:
    """A number, several values with commas between them, what JSON makes of a list of objects, or the text itself."""
    if key in ("wanted", "steps"):
        with placed(key, SessionError, FileError):
            return parse_json(text)
    if key in ("page_runs", "flags"):
        return [_value("", part) for part in text.split(",")]
    return int(text) if re.fullmatch("-?[0-9]{1,20}", text) else text


def _only_looks(words: list[str]) -> bool:
    """Whether a command leaves everything as it is."""
    return words[0] in (*LOOKS, *READS) or (words[0] == "dmsetup" and dmsetup.only_looks(words[1:]))
