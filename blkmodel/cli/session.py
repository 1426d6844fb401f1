"""A session: a machine, and what has been done on it, in a file from which the next command goes on.

The file (`blkmodel-session/1`) has a machine and steps. A step is a line, as it would be typed: one of scenario's, with
its parameters (`nvme.probe device=nvme0 sectors=131072`), dmsetup, or a command of LVM. Each command boots the machine
anew and does all steps again, and what comes of it is what came of it before; then it is done, and is a step itself.
"""

import json
import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from blkmodel.capture.shapes import ShapeError, count, fields, list_of, number_from, one_of, text
from blkmodel.errors import KernelError, NotModelled
from blkmodel.scenario import STEPS, dmsetup_run, lvm_run, run_step
from blkmodel.services.base.bug import KernelBug
from blkmodel.sim import MachineError, boot, machine
from blkmodel.sim.events import HungTask
from blkmodel.userland import dmsetup, lvm

FORMAT = "blkmodel-session/1"
DISKS = ("nvme.probe device=nvme0 sectors=131072", "nvme.probe device=nvme1 sectors=131072")
EXAMPLE = json.dumps({"format": FORMAT, "machine": {"cpus": 4}, "steps": DISKS[:1]})
_SHAPE = fields({"format": one_of(FORMAT), "machine": fields({"cpus": number_from(1)}, {
    "nodes": number_from(1), "threads": number_from(1), "present": count}), "steps": list_of(text)})


class SessionError(ValueError):
    """A session cannot be read or done; the message says why, and where."""


class Done(NamedTuple):
    """What came of a command: its exit status, and what it wrote to standard output and to standard error (lines)."""

    exit: int = 0
    output: str = ""
    errors: tuple[str, ...] = ()


@dataclass
class Session:
    """A machine, as sim.machine() is told of it, and the steps so far. path: the file it is kept in, or None."""

    path: Path | None = None
    machine: dict = field(default_factory=lambda: {"cpus": 4})
    steps: list[str] = field(default_factory=lambda: list(DISKS))

    def replay(self):
        """Boot the machine, and do all steps. Returns (line, Done) for each."""
        try:
            boot(machine(**self.machine))
        except MachineError as why:
            raise SessionError(f"{self.path}: machine: {why}") from why
        found = []
        for number, line in enumerate(self.steps, 1):
            try:
                found.append((line, do(shlex.split(line))))
            except (NotModelled, ValueError) as why:
                raise SessionError(f"{self.path or 'the machine'}: step {number} ({line}): {why}") from why
        return found

    def run(self, words, stdin=""):
        """Do a command after all steps; where it may have changed something, it is one of them from now on."""
        self.replay()
        done = do(words, stdin)
        if not _only_looks(words):
            self.steps.append(shlex.join(words if not stdin else [*words, "--table", stdin]))
            if self.path is not None:
                self._save()
        return done

    def _save(self):
        steps = ",\n".join(f"  {json.dumps(line)}" for line in self.steps)
        whole = (f'{{"format": {json.dumps(FORMAT)},\n "machine": {json.dumps(self.machine)},\n "steps": [\n{steps}\n'
                 " ]}\n")
        beside = self.path.with_name(f"{self.path.name}.new")
        try:
            beside.write_text(whole, "utf8")
            os.replace(beside, self.path)
        except OSError as why:
            raise SessionError(f"{self.path}: the step cannot be kept: {why.strerror}") from why


def opened(path):
    """The session in a file; where there is no such file, one that begins with a machine of two disks."""
    return read(path) if Path(path).exists() else Session(Path(path))


def read(path):
    """Read a session from a file."""
    path = Path(path)
    try:
        document = json.loads(path.read_text("utf8"))
        _SHAPE(document, "")
    except OSError as why:
        raise SessionError(f"{path}: {why.strerror}") from why
    except (UnicodeDecodeError, RecursionError, json.JSONDecodeError) as why:
        raise SessionError(f"{path}: expected JSON such as {EXAMPLE}: {why}") from why
    except ShapeError as why:
        raise SessionError(f"{path}: {why}") from why
    return Session(path, document["machine"], document["steps"])


def do(words, stdin=""):
    """Do a command or a step. Returns Done; SessionError where it is none, or where it ends the kernel."""
    name = words[0] if words else ""
    try:
        if name == "dmsetup" or name in lvm.COMMANDS:
            came: Any = dmsetup_run(*words[1:], stdin=stdin) if name == "dmsetup" else lvm_run(*words)
            return Done(came.exit, came.output, tuple(came.errors))
        run_step(step_of(words))
    except (KernelError, OSError, KeyError, TypeError) as why:
        raise SessionError(why.args[0] if isinstance(why, KeyError) else str(why)) from why
    except (HungTask, KernelBug) as why:
        raise SessionError(f"the kernel does not go on: {why}") from why
    return Done()


def step_of(words):
    """A step as a recording has it, of the words that stand for it."""
    name, *arguments = words or [""]
    if name not in STEPS:
        raise SessionError(f"{name}: not a step that the model has; expected one of {', '.join(STEPS)}")
    if name == "dmsetup":
        return [name, *arguments]
    values = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or not key:
            raise SessionError(f"{argument}: expected a parameter as NAME=VALUE")
        values[key] = _value(value, a_list=key == "page_runs")
    return [name, values]


def _value(text, a_list):
    """A number, several with commas between them, or the text itself."""
    if a_list and all(part.isdecimal() for part in text.split(",")):
        return [int(part) for part in text.split(",")]
    return int(text) if text.isdecimal() and not a_list else text


def _only_looks(words):
    """Whether a command leaves everything as it is."""
    return words[0] == "dmsetup" and dmsetup.only_looks(words[1:])
