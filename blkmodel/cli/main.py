"""The command line: hold the model against recordings, draw a queue map, show what the kernel would call.

What follows `dmsetup` and `lvm` is read in userland/.
"""

import argparse
import json
import os
import re
import shlex
import sys
from collections.abc import Callable
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, NoReturn

from blkmodel.capture import maps, sysfs
from blkmodel.capture.check import check
from blkmodel.capture.files import FileError, parse_json, placed, printable, read_text
from blkmodel.capture.shapes import MOST_LONG_TEXT
from blkmodel.capture.steps import MOST_REQUESTS, null_blk_requests, nvme_requests
from blkmodel.cli import session
from blkmodel.cli.call_tree import call_tree, innermost
from blkmodel.cli.explain import explained
from blkmodel.cli.keeping import replace
from blkmodel.cli.queue_table import queue_map
from blkmodel.cli.session import Done, Session, SessionError, checked, step_of
from blkmodel.errors import KernelError, NotModelled
from blkmodel.reference.source import REFERENCE, RELEASE
from blkmodel.releases import LAST, version
from blkmodel.scenario import STEPS, VECTORS, nvme_service, run_workload
from blkmodel.services import KernelBug, dev_name, devices
from blkmodel.sim import NULL, Machine, MachineError, boot, machine, running
from blkmodel.trace import record
from blkmodel.userland import lvm, nvme
from blkmodel.userland.blktrace import Blktrace
from blkmodel.userland.dmsetup import wants_stdin
from blkmodel.userland.fio import service_of
from blkmodel.userland.tools import known
from blkmodel.view.facts.explained import lines_of

MOST_SAID = 2000  # characters of a complaint, which may repeat a word of any length


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status: 2 for what cannot be done as it was asked for."""
    for which in ("stdin", "stdout", "stderr"):
        if getattr(sys, which) is None:  # whoever began it has closed that
            setattr(sys, which, Path(os.devnull).open("r" if which == "stdin" else "w"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    words = sys.argv[1:] if arguments is None else arguments
    for number, word in enumerate(words, 1):
        if not word.isascii() and any("\ud800" <= c <= "\udfff" for c in word):
            return _complain("blkmodel", f"argument {number}: expected UTF-8 text, found {word!a}")
    name = "blkmodel"
    try:
        options = _parser().parse_args(_tool_last(words))
        name = f"blkmodel {options.name}"
        status: int = options.command(options)
        sys.stdout.flush()
        return status
    except (MachineError, NotModelled, SessionError, UsageError) as why:
        return _complain(name, str(why))
    except (MemoryError, RecursionError) as why:
        return _complain(name, f"the machine that this runs on is too small for it: {type(why).__name__}")
    except BrokenPipeError:
        sys.stdout = NULL
        return 0
    except KernelError:
        raise
    except OSError as why:
        sys.stdout = NULL
        return _complain(name, f"standard output: {why.strerror or why}")
    except KeyboardInterrupt:
        return 130


def _complain(name: str, why: str) -> int:
    said = printable(f"{name}: {why}")
    print(said if len(said) <= MOST_SAID else f"{said[:MOST_SAID - 3]}...", file=sys.stderr)
    return 2


MAPPED = {
    "nvme": {"queues": ("device", "max_ioqpairs", 1, 65535), "vectors": ("device", "vectors", 1, 2048),
             "mqes": ("device", "mqes", 1, 65535), "write_queues": ("params", "write_queues", 0, 65535),
             "poll_queues": ("params", "poll_queues", 0, 65535), "depth": ("params", "io_queue_depth", 2, 65536)},
    "null_blk": {"queues": ("params", "submit_queues", 1, 65535), "poll_queues": ("params", "poll_queues", 0, 65535),
                 "depth": ("params", "hw_queue_depth", 1, 65536)}}
"""Driver → option of `map` → of what it is a fact, controller or module, its name there, and its least and most."""


class UsageError(ValueError):
    """A value on the command line that does not do; the message says which, and what would."""


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one sentence."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end."""
        sys.exit(_complain(self.prog, printable(message, keep="")))


def _number(text: str) -> int:
    if not re.fullmatch("-?[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"expected a number, found {text!r}")
    return int(text)


TYPES: dict[str, Callable[[str], Any]] = {"number": _number, "path": Path}


def _parser() -> Parser:
    """What commands.json says of commands and their options, as argparse has it."""
    words = {"VECTORS": VECTORS, "RELEASE": RELEASE, "LAST": LAST, "STEPS": ", ".join(STEPS),
             "NVME": ", ".join(nvme.COMMANDS)}
    said = json.loads(Template((files("blkmodel.cli") / "commands.json").read_text("utf8")).substitute(words))
    parser = Parser(prog="blkmodel", description="Linux 5.4's block layer as a model that runs.")
    try:
        version = metadata.version("blkmodel")
    except metadata.PackageNotFoundError:
        version = "(not installed)"
    parser.add_argument("--version", action="version", version=f"blkmodel {version}, a model of Linux {REFERENCE}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="name")

    for name, each in said["commands"].items():
        command = commands.add_parser(name, help=each["help"], epilog=each.get("epilog"))
        command.set_defaults(command=COMMANDS[name])
        for option in [*said["groups"].get(each.get("group"), ()), *each.get("options", ())]:
            values: dict[str, Any] = {key: value for key, value in option.items() if key != "words"}
            if "type" in values:
                values["type"] = TYPES[values["type"]]
            command.add_argument(*option["words"], **values)
    return parser


def _tool_last(words: list[str]) -> list[str]:
    """A command line in which what follows `trace … dmsetup` or a command of LVM is its own, as if -- stood before; and
    what follows a tool that reads."""
    at = 1
    if {*words[:1]} & session.READS.keys():
        while at < len(words) and words[at].partition("=")[0] == "--session":
            at += 1 if "=" in words[at] else 2
        return words if {*words[at:at + 1]} & {"-h", "--help", "--"} else [*words[:at], "--", *words[at:]]
    if words[:1] != ["trace"] or "--" in words:
        return words
    while at < len(words) and words[at].startswith("-"):
        with_value = any(f"--{name}".startswith(words[at]) and len(words[at]) > 2
                         for name in ("cpus", "present", "nodes", "threads", "after"))
        at += 2 if with_value else 1
    return [*words[:at], "--", *words[at:]] if {*words[at:at + 1]} & {"dmsetup", *lvm.COMMANDS} else words


def _machine(options: argparse.Namespace) -> Machine:
    return machine(options.cpus, nodes=options.nodes, threads=options.threads, present=options.present)


def _check(options: argparse.Namespace) -> int:
    return check(options.files, options.verbose, options.json)


def _map(options: argparse.Namespace) -> int:
    on, release, driver = _machine(options), version(options.release), options.driver
    cpus, takes = len(on.possible), dict(MAPPED[driver])
    if driver == "null_blk" and release < (5, 16, 0):
        del takes["poll_queues"]
    options.queues = cpus if options.queues is None else options.queues
    if driver == "nvme" and options.poll_queues is None:
        options.poll_queues = 0
    case: dict[str, Any] = {"driver": driver, "params": {}, **({"device": {}} if driver == "nvme" else {})}
    for option in MAPPED["nvme"]:
        value, said = getattr(options, option), f"--{option.replace('_', '-')}"
        where, name, low, high = takes.get(option, MAPPED["nvme"][option])
        if value is not None and not low <= value <= high:
            raise UsageError(f"{said} {value}: {driver} takes at least {low} and at most {high}")
        if value and option not in takes:
            raise UsageError(f"{said}: null_blk of Linux {options.release} has none; use --driver nvme")
        if value is not None and option in takes:
            case[where][name] = value
    requests = (nvme_requests(case["params"], case["device"], cpus) if driver == "nvme"
                else null_blk_requests(case["params"], cpus))
    if requests > MOST_REQUESTS:
        raise UsageError(f"{cpus} CPUs, {options.queues} queues: that makes {requests} requests; at most "
                         f"{MOST_REQUESTS}")
    try:
        case["observed"] = maps.observe(on, driver, case["params"], case.get("device"), options.release)
    except (KernelError, ValueError) as why:
        raise UsageError(why) from why
    described = maps.describe(case)
    if driver == "nvme":
        case["device"].setdefault("vectors", VECTORS)
    print(json.dumps(case) if options.json else queue_map(on, described, case["observed"]))
    return 0


def _trace(options: argparse.Namespace) -> int:
    words, on = options.step, _machine(options)
    if words[0] not in lvm.COMMANDS:
        checked(step_of(words))
    places = [printable(each, keep="") for each in (*(f"--after {line}" for line in options.after), " ".join(words))]
    session.hold_steps([*options.after, shlex.join(words)], len(on.possible), places)
    boot(on)
    for line, place in zip(options.after, places, strict=False):
        try:
            done = session.do(shlex.split(line))
        except (NotModelled, ValueError) as why:
            raise UsageError(f"{place}: {' '.join(str(why).split())}") from why
        if done.exit:
            raise UsageError(f"{place}: {' '.join(done.errors)}")
    failed, lacking, done = "", None, Done()
    with record() as recording:
        try:
            done = session.do(words)
        except NotModelled as why:
            lacking = why
        except session.Stopped as why:
            failed = str(why) + (f" (in {innermost(recording)})" if isinstance(why.__cause__, KernelBug) else "")
    if tree := call_tree(recording, options.all, options.allocations):
        print(printable(tree))
    if lacking:
        raise lacking
    if failed:
        _complain("blkmodel trace", failed)
    elif done.errors and words[0] in (*lvm.COMMANDS, "dmsetup"):
        _print(done._replace(output=""))
    elif done.errors:
        _complain("blkmodel trace", "\n".join(done.errors))
    return int(bool(failed or done.exit))


def _dmsetup(options: argparse.Namespace) -> int:
    words = _words(options)
    return _print(session.run(options.session, ["dmsetup", *words], _stdin() if wants_stdin(words) else ""))


def _read(options: argparse.Namespace) -> int:
    words = _words(options)
    if options.name == "blktrace" and len(words) == 1:
        with Blktrace(words[0].removeprefix("/dev/")) as seen:
            (Session() if options.session is None else session.read(options.session)).replay()
        if not seen.lines:
            session.disk_of(words[0])
        return _print(Done(output=seen.text))
    return _print(session.run(options.session, [options.name, *words]))


def _stdin() -> str:
    """The table that comes from standard input."""
    with placed("standard input: expected a table in UTF-8", UsageError, OSError, ValueError):
        text = sys.stdin.read(MOST_LONG_TEXT + 1)
    if len(text) > MOST_LONG_TEXT or "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise UsageError(f"standard input: expected a table of at most {MOST_LONG_TEXT} characters, in UTF-8")
    return text


def _lvm(options: argparse.Namespace) -> int:
    words = _words(options)
    if not words or words[0] not in lvm.COMMANDS:
        if words and words[0] in known("lvm commands not modelled"):
            raise NotModelled(f"LVM's command {words[0]}")
        found = words[0] if words else "none"
        raise UsageError(f"expected one of LVM's commands, {', '.join(lvm.COMMANDS)}; found {found}")
    return _print(session.run(options.session, words))


def _words(options: argparse.Namespace) -> list[str]:
    """A tool's words; they may stand behind --, so that the first can be an option."""
    words: list[str] = options.words
    return words[1:] if words[:1] == ["--"] else words


def _show(options: argparse.Namespace) -> int:
    def show(line: str, done: Done) -> None:
        print(printable(f"$ {line}"))
        _print(done)
    session.read(options.session).replay(show)
    return 0


def _fio(options: argparse.Namespace) -> int:
    with placed(str(options.file), UsageError, ValueError):
        (Session() if options.session is None else session.read(options.session)).replay()
        for name in map(dev_name, devices().of_class.get("nvme", ())):
            nvme_service(name, service_of(options.service, lambda file: parse_json(read_text(file)), options.seed))
        done = run_workload(options.disk, read_text(options.file))
    text = done.as_json() if options.output_format == "json" else done.text()
    sys.stdout.write(printable(text + done.more() * options.more))
    return int(any(job["error"] for job in done.json["jobs"]))


def _dmesg(options: argparse.Namespace) -> int:
    the, before = Session() if options.session is None else session.read(options.session), running.kernel
    try:
        the.replay()
    finally:  # also of a kernel that does not go on
        for line in running.kernel.log if running.kernel is not before else ():
            print(printable(line, keep="\t"))
    return 0


def _explain(options: argparse.Namespace) -> int:
    with placed(str(options.file), UsageError, ValueError):
        print(printable(explained(lines_of(read_text(options.file)))))
    return 0


def _print(done: Done) -> int:
    """Print what a command wrote, where it wrote it. Returns its exit status."""
    sys.stdout.write(printable(done.output))
    sys.stdout.flush()
    for line in done.errors:
        print(printable(line, keep="\t"), file=sys.stderr)
    return done.exit


def _capture(options: argparse.Namespace) -> int:
    with placed(f"--root {options.root}", UsageError, sysfs.CaptureError):
        recording, missing = sysfs.capture(options.root, options.release, options.names)
    head = ",".join(f"{json.dumps(key)}:{json.dumps(recording[key])}" for key in ("format", "kernel", "machine"))
    cases = ",\n".join(json.dumps(case, separators=(",", ":")) for case in recording["cases"])
    text = "{" + head + ',"cases":[\n' + cases + "\n]}\n"
    for line in dict.fromkeys(missing):
        print(printable(f"blkmodel capture: left out, as it cannot be read: {line}", keep=""), file=sys.stderr)
    if not recording["cases"]:
        where = printable(f"{options.root.rstrip('/')}/sys/block/DISK/mq", keep="")
        print(f"blkmodel capture: no disk here has hardware queues: there is no {where}", file=sys.stderr)
    if options.output is None:
        sys.stdout.write(text)
        return 0
    with placed(f"--output {options.output}", UsageError, FileError):
        replace(options.output, text)
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "check": _check, "map": _map, "trace": _trace, "dmsetup": _dmsetup, "lvm": _lvm, "fio": _fio, "session": _show,
    "dmesg": _dmesg, "explain": _explain, "capture": _capture, **dict.fromkeys(session.READS, _read)}
"""What does each command of commands.json."""
