"""The command line: hold the model against recordings, draw a queue map, show what the kernel would call.

What follows `dmsetup` and `lvm` is read in userland/.
"""

import argparse
import json
import re
import shlex
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

from blkmodel.capture import maps, sysfs
from blkmodel.capture.check import check
from blkmodel.capture.files import FileError, parse_json, printable, read_text
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
from blkmodel.services.base.bug import KernelBug
from blkmodel.services.devices.device import dev_name, devices
from blkmodel.sim import Machine, MachineError, boot, machine
from blkmodel.sim.kernel import running
from blkmodel.sim.structure import NULL
from blkmodel.trace import record
from blkmodel.userland import lvm
from blkmodel.userland.dmsetup import wants_stdin
from blkmodel.userland.fio import service_of
from blkmodel.userland.tools import known
from blkmodel.view.facts.explained import lines_of

SESSION = """a machine and what has been done on it: the command goes on from there, and is added. Where there is no
    such file yet, the machine has the disks nvme0n1 and nvme1n1 (default: the same, and it is forgotten afterwards)"""
MOST_SAID = 2000  # characters of a complaint, which may repeat a word of any length
TOOLS = (("dmsetup", "dmsetup, on a machine of the model", "create lin0 --table '0 2048 linear /dev/nvme0n1 0'"),
         ("lvm", "LVM's commands, on a machine of the model", "vgcreate vg0 /dev/nvme0n1 /dev/nvme1n1"))


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status: 2 for what cannot be done as it was asked for."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    words = sys.argv[1:] if arguments is None else arguments
    for number, word in enumerate(words, 1):
        if not word.isascii() and any("\ud800" <= c <= "\udfff" for c in word):
            return _complain("blkmodel", f"argument {number}: expected UTF-8 text, found {word!a}")
    options = _parser().parse_args(_tool_last(words))
    name = f"blkmodel {options.name}"
    try:
        status: int = options.command(options)
        return status
    except (MachineError, NotModelled, SessionError, UsageError) as why:
        return _complain(name, str(why))
    except (MemoryError, RecursionError) as why:
        return _complain(name, f"the machine that this runs on is too small for it: {type(why).__name__}")
    except BrokenPipeError:
        sys.stdout = NULL
        return 0
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


def _parser() -> Parser:
    parser = Parser(prog="blkmodel", description="Linux 5.4's block layer as a model that runs.")
    try:
        version = metadata.version("blkmodel")
    except metadata.PackageNotFoundError:
        version = "(not installed)"
    parser.add_argument("--version", action="version", version=f"blkmodel {version}, a model of Linux {REFERENCE}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="name")

    def command(name: str, run: Callable[[argparse.Namespace], int], what: str, **more: Any) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=what, **more)
        added.set_defaults(command=run)
        return added
    checking = command("check", _check, "hold the model against recordings of a kernel")
    checking.add_argument("files", nargs="+", metavar="FILE")
    checking.add_argument("-v", "--verbose", action="store_true",
                          help="show every difference, not only the first, and what is let pass as it is chance")
    checking.add_argument("--json", action="store_true", help="report in JSON")

    mapping = command("map", _map, "which CPU uses which hardware queue")
    _add_machine(mapping)
    mapping.add_argument("--driver", choices=["nvme", "null_blk"], default="nvme")
    mapping.add_argument("--queues", type=_number, metavar="N",
                         help="queue pairs that the controller has, or null_blk's submit_queues (default: one a CPU)")
    mapping.add_argument("--vectors", type=_number, metavar="N",
                         help=f"interrupt vectors that the controller has (default: {VECTORS}; QEMU's has 65)")
    mapping.add_argument("--mqes", type=_number, metavar="N", help="entries that a queue can have, less one (2047)")
    mapping.add_argument("--write-queues", type=_number, default=0, metavar="N", help="nvme's write_queues")
    mapping.add_argument("--poll-queues", type=_number, metavar="N",
                         help="nvme's poll_queues, and null_blk's since 5.16")
    mapping.add_argument("--depth", type=_number, metavar="N", help="nvme's io_queue_depth, null_blk's hw_queue_depth")
    mapping.add_argument("--release", default=RELEASE, metavar="R", help=f"of Linux, {RELEASE} (default) to {LAST}")
    mapping.add_argument("--json", action="store_true", help="as a case of a blkmodel-capture/1 recording has it")

    tracing = command("trace", _trace, "which functions a step calls",
                      epilog="Example: blkmodel trace null_blk.load submit_queues=3 hw_queue_depth=32 --cpus 4")
    _add_machine(tracing)
    tracing.add_argument("--all", action="store_true", help="also functions of files that the model does not stand for")
    tracing.add_argument("--allocations", action="store_true", help="also memory taken and given back, and the log")
    tracing.add_argument("--after", action="append", default=[], metavar="STEP",
                         help='what to do first, unseen: --after "null_blk.load submit_queues=3" (may be repeated)')
    tracing.add_argument("step", nargs="+", metavar="STEP",
                         help=f"one of {', '.join(STEPS)}, and its parameters as NAME=VALUE; or dmsetup or a command "
                              "of LVM, and its words")

    for (name, what, example), run in zip(TOOLS, (_dmsetup, _lvm), strict=True):
        tool = command(name, run, what, epilog=f"Example: blkmodel {name} --session my.json {example}")
        tool.add_argument("--session", type=Path, metavar="FILE", help=SESSION)
        tool.add_argument("words", nargs=argparse.REMAINDER, metavar="WORD", help="the tool's own command line")

    working = command("fio", _fio, "run fio's job file on a machine of the model",
                      epilog="Example: blkmodel fio --disk nvme0n1 --service least=80us,extra=20us my.fio")
    working.add_argument("--session", type=Path, metavar="FILE", help="the machine, which is left as it was "
                         "(default: one that has the disks nvme0n1 and nvme1n1)")
    working.add_argument("--disk", metavar="DISK", help="what a job reads and writes that names no disk of the machine")
    working.add_argument("--service", default="least=100us", metavar="WORDS", help="how long an NVMe controller takes "
                         "for a command: least=TIME and, drawn, extra=TIME on average, or like=FILE, as fio's own JSON "
                         "measured it; servers=N: so many at once (default: %(default)s)")
    working.add_argument("--seed", type=_number, default=0, metavar="N", help="of the times that are drawn (0)")
    working.add_argument("--output-format", choices=["normal", "json"], default="normal", help="as fio's (normal)")
    working.add_argument("--more", action="store_true", help="also where the time went, and what iostat -x would say")
    working.add_argument("file", type=Path, metavar="JOBFILE")

    showing = command("session", _show, "show what has been done in a session, and what came of it")
    showing.add_argument("session", type=Path, metavar="FILE")

    logging = command("dmesg", _dmesg, "show the kernel's log after all that has been done in a session")
    logging.add_argument("--session", type=Path, metavar="FILE",
                         help="the session (default: a machine that has the disks nvme0n1 and nvme1n1)")

    explaining = command("explain", _explain, "say what a kernel log, a hung task's stack or a trace is about")
    explaining.add_argument("file", type=Path, metavar="FILE")

    capturing = command("capture", _capture, "write a recording of the queues of this machine")
    capturing.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to FILE (default: standard output)")
    capturing.add_argument("--root", default="/", metavar="DIR", help="read sys and proc below DIR (default: /)")
    capturing.add_argument("--names", action="store_true", help="also say what the disks are called")
    capturing.add_argument("--release", help="the kernel's release (default: that of the running kernel)")
    return parser


def _add_machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cpus", type=_number, default=4, metavar="N", help="CPUs that there can be (default: 4)")
    parser.add_argument("--present", type=_number, metavar="N", help="how many of them are plugged in (default: all)")
    parser.add_argument("--nodes", type=_number, default=1, metavar="N", help="NUMA nodes (default: 1)")
    parser.add_argument("--threads", type=_number, default=1, metavar="N", help="hardware threads a core (default: 1)")


def _tool_last(words: list[str]) -> list[str]:
    """A command line in which what follows `trace … dmsetup` or a command of LVM is its own, as if -- stood before."""
    if words[:1] != ["trace"] or "--" in words:
        return words
    at = 1
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


def _stdin() -> str:
    """The table that comes from standard input."""
    try:
        text = sys.stdin.read(MOST_LONG_TEXT + 1)
    except (OSError, ValueError) as why:
        raise UsageError(f"standard input: expected a table in UTF-8: {why}") from why
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
    try:
        (Session() if options.session is None else session.read(options.session)).replay()
        for name in map(dev_name, devices().of_class.get("nvme", ())):
            nvme_service(name, service_of(options.service, lambda file: parse_json(read_text(file)), options.seed))
        done = run_workload(options.disk, read_text(options.file))
    except (FileError, ValueError) as why:
        raise UsageError(f"{options.file}: {why}") from why
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
    try:
        print(printable(explained(lines_of(read_text(options.file)))))
    except ValueError as why:
        raise UsageError(f"{options.file}: {why}") from why
    return 0


def _print(done: Done) -> int:
    """Print what a command wrote, where it wrote it. Returns its exit status."""
    sys.stdout.write(printable(done.output))
    sys.stdout.flush()
    for line in done.errors:
        print(printable(line, keep="\t"), file=sys.stderr)
    return done.exit


def _capture(options: argparse.Namespace) -> int:
    try:
        recording, missing = sysfs.capture(options.root, options.release, options.names)
    except sysfs.CaptureError as why:
        raise UsageError(f"--root {options.root}: {why}") from why
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
    try:
        replace(options.output, text)
    except FileError as why:
        raise UsageError(f"--output {options.output}: {why}") from why
    return 0
