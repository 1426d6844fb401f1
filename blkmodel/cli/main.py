"""The command line: hold the model against recordings, draw a queue map, show what the kernel would call."""

import argparse
import json
import shlex
import sys

from blkmodel.capture import maps, sysfs
from blkmodel.capture.check import check
from blkmodel.cli import session
from blkmodel.cli.call_tree import call_tree
from blkmodel.cli.queue_table import queue_map
from blkmodel.cli.session import Session, SessionError, step_of
from blkmodel.errors import KernelError, NotModelled
from blkmodel.scenario import STEPS, run_step
from blkmodel.sim import MachineError, boot, machine
from blkmodel.trace import record
from blkmodel.userland import lvm
from blkmodel.userland.dmsetup import wants_stdin

SESSION = """a machine and what has been done on it: the command goes on from there, and is added. Where there is no
    such file yet, the machine has the disks nvme0n1 and nvme1n1 (default: the same, and it is forgotten afterwards)"""
TOOLS = (("dmsetup", "dmsetup, on a machine of the model", "create lin0 --table '0 2048 linear /dev/nvme0n1 0'"),
         ("lvm", "LVM's commands, on a machine of the model", "vgcreate vg0 /dev/nvme0n1 /dev/nvme1n1"))


def main(arguments=None):
    """Run one command; return the exit status: 2 for what cannot be done as it was asked for."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return options.command(options)
    except (MachineError, NotModelled, SessionError, UsageError) as why:
        print(f"blkmodel {options.name}: {why}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stdout = None
        return 0


class UsageError(ValueError):
    """A value on the command line that does not do; the message says which, and what would."""


def _parser():
    parser = argparse.ArgumentParser(prog="blkmodel", description="Linux 5.4's block layer as a model that runs.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="name")

    checking = commands.add_parser("check", help="hold the model against recordings of a kernel")
    checking.add_argument("files", nargs="+", metavar="FILE")
    checking.add_argument("-v", "--verbose", action="store_true", help="show every difference, not only the first")
    checking.add_argument("--json", action="store_true", help="report in JSON")
    checking.set_defaults(command=_check)

    mapping = commands.add_parser("map", help="which CPU uses which hardware queue")
    _add_machine(mapping)
    mapping.add_argument("--driver", choices=["nvme", "null_blk"], default="nvme")
    mapping.add_argument("--queues", type=int, metavar="N",
                         help="queue pairs that the controller has, or null_blk's submit_queues (default: one a CPU)")
    mapping.add_argument("--write-queues", type=int, default=0, metavar="N", help="nvme's write_queues")
    mapping.add_argument("--poll-queues", type=int, default=0, metavar="N", help="nvme's poll_queues")
    mapping.add_argument("--depth", type=int, metavar="N", help="nvme's io_queue_depth, null_blk's hw_queue_depth")
    mapping.add_argument("--json", action="store_true", help="as a case of a blkmodel-capture/1 recording has it")
    mapping.set_defaults(command=_map)

    tracing = commands.add_parser(
        "trace", help="which functions a step calls",
        epilog="Example: blkmodel trace null_blk.load submit_queues=3 hw_queue_depth=32 --cpus 4")
    _add_machine(tracing)
    tracing.add_argument("--all", action="store_true", help="also functions of files that the model does not stand for")
    tracing.add_argument("--allocations", action="store_true", help="also memory taken and given back, and the log")
    tracing.add_argument("--after", action="append", default=[], metavar="STEP",
                         help='what to do first, unseen: --after "null_blk.load submit_queues=3" (may be repeated)')
    tracing.add_argument("step", nargs="+", metavar="STEP",
                         help=f"one of {', '.join(STEPS)}, and its parameters as NAME=VALUE")
    tracing.set_defaults(command=_trace)

    for (name, what, example), command in zip(TOOLS, (_dmsetup, _lvm), strict=True):
        tool = commands.add_parser(name, help=what, epilog=f"Example: blkmodel {name} --session my.json {example}")
        tool.add_argument("--session", metavar="FILE", help=SESSION)
        tool.add_argument("words", nargs=argparse.REMAINDER, metavar="WORD", help="the tool's own command line")
        tool.set_defaults(command=command)

    showing = commands.add_parser("session", help="show what has been done in a session, and what came of it")
    showing.add_argument("session", metavar="FILE")
    showing.set_defaults(command=_show)

    capturing = commands.add_parser("capture", help="write a recording of the queues of this machine")
    capturing.add_argument("-o", "--output", metavar="FILE", help="write to FILE (default: standard output)")
    capturing.add_argument("--root", default="/", metavar="DIR", help="read sys and proc below DIR (default: /)")
    capturing.add_argument("--release", help="the kernel's release (default: that of the running kernel)")
    capturing.set_defaults(command=_capture)
    return parser


def _add_machine(parser):
    parser.add_argument("--cpus", type=int, default=4, metavar="N", help="CPUs that there can be (default: 4)")
    parser.add_argument("--present", type=int, metavar="N", help="how many of them are plugged in (default: all)")
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="NUMA nodes (default: 1)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="hardware threads a core (default: 1)")


def _machine(options):
    return machine(options.cpus, nodes=options.nodes, threads=options.threads, present=options.present)


def _check(options):
    return check(options.files, options.verbose, options.json)


def _map(options):
    on = _machine(options)
    queues = len(on.possible) if options.queues is None else options.queues
    for option, value, low, high in (("queues", queues, 1, 65535), ("write-queues", options.write_queues, 0, 65535),
                                     ("poll-queues", options.poll_queues, 0, 65535),
                                     ("depth", options.depth, 2 if options.driver == "nvme" else 1, 65536)):
        if value is not None and not low <= value <= high:
            raise UsageError(f"--{option} {value}: {options.driver} takes at least {low} and at most {high}")
    if options.driver == "nvme":
        params = {"write_queues": options.write_queues, "poll_queues": options.poll_queues}
        case = {"driver": "nvme", "params": params, "device": {"max_ioqpairs": queues}}
        depth = "io_queue_depth"
    else:
        for option in ("write_queues", "poll_queues"):
            if getattr(options, option):
                raise UsageError(f"--{option.replace('_', '-')}: null_blk of Linux 5.4 has none; use --driver nvme")
        params = {"submit_queues": queues}
        case = {"driver": "null_blk", "params": params}
        depth = "hw_queue_depth"
    if options.depth is not None:
        params[depth] = options.depth
    try:
        case["observed"] = maps.observe(on, case["driver"], params, case.get("device"))
    except (KernelError, ValueError) as why:
        raise UsageError(why) from why
    print(json.dumps(case) if options.json else queue_map(on, maps.describe(case), case["observed"]))
    return 0


def _trace(options):
    before, step = [step_of(shlex.split(words)) for words in options.after], step_of(options.step)
    boot(_machine(options))
    try:
        for each in before:
            run_step(each)
        recording = record(run_step, step)
    except (KeyError, OSError, TypeError, ValueError) as why:
        raise UsageError(why.args[0] if isinstance(why, KeyError) else why) from why
    print(call_tree(recording, options.all, options.allocations))
    return 0


def _dmsetup(options):
    words = _words(options)
    stdin = sys.stdin.read() if wants_stdin(words) else ""
    return _print(_session(options).run(["dmsetup", *words], stdin))


def _lvm(options):
    words = _words(options)
    if not words or words[0] not in lvm.COMMANDS:
        found = words[0] if words else "none"
        raise UsageError(f"expected one of LVM's commands, {', '.join(lvm.COMMANDS)}; found {found}")
    return _print(_session(options).run(words))


def _words(options):
    """A tool's words; they may stand behind --, so that the first can be an option."""
    return options.words[1:] if options.words[:1] == ["--"] else options.words


def _show(options):
    for line, done in session.read(options.session).replay():
        print(f"$ {line}")
        _print(done)
    return 0


def _session(options):
    return Session() if options.session is None else session.opened(options.session)


def _print(done):
    """Print what a command wrote, where it wrote it. Returns its exit status."""
    sys.stdout.write(done.output)
    sys.stdout.flush()
    for line in done.errors:
        print(line, file=sys.stderr)
    return done.exit


def _capture(options):
    try:
        recording, missing = sysfs.capture(options.root, options.release)
    except sysfs.CaptureError as why:
        raise UsageError(f"--root {options.root}: {why}") from why
    head = ",".join(f"{json.dumps(key)}:{json.dumps(recording[key])}" for key in ("format", "kernel", "machine"))
    cases = ",\n".join(json.dumps(case, separators=(",", ":")) for case in recording["cases"])
    text = "{" + head + ',"cases":[\n' + cases + "\n]}\n"
    for line in missing:
        print(f"blkmodel capture: left out, as it cannot be read: {line}", file=sys.stderr)
    if not recording["cases"]:
        print(f"blkmodel capture: no disk of {' or '.join(sysfs.DRIVERS)} is here", file=sys.stderr)
    if options.output is None:
        sys.stdout.write(text)
        return 0
    try:
        with open(options.output, "w") as file:
            file.write(text)
    except OSError as why:
        raise UsageError(f"--output {options.output}: {why.strerror}") from why
    return 0
