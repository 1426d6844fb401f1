"""`python -m tests.hollow [--jobs N] [--quick] [--show] [NAME…]`: hollow out each mirror function in turn.

A function counts only if its result is used: with a shell in its place (see shell.py), some check of state must fail,
crash or hang. First the quick checks (checks.py) run; then, for what survived them, the tests of the function's own
module, the thorough checks, and the tests of the whole mirror. A shell that returns a value is tried with 0 and with
None, and must be caught with both. Survivors are listed with their place; those that are accepted stand in accepted.py,
each with its reason.
"""

import argparse
import os
import resource
import select
import signal
import sys
from pathlib import Path

from blkmodel import mirror
from tests.hollow.accepted import ACCEPTED
from tests.hollow.checks import QUICK, THOROUGH
from tests.hollow.shell import hollow_out, returns_value, shell

ROOT = Path(__file__).resolve().parents[2]
SURVIVED = "survived"
MEMORY = 2 << 30  # a shell can make its caller ask for memory without end
TESTS = [name for name in ("tests/sim", "tests/lib", "tests/kernel_irq", "tests/block", "tests/fs", "tests/drivers",
                           "tests/device", "tests/test_scenario.py") if (ROOT / name).exists()]


def quick_checks(entry):
    """Run the quick checks of checks.py until one fails; return its name, or SURVIVED."""
    return run_checks(QUICK)


def all_tests(entry):
    """Run the tests of a function's own module, the thorough checks, and the tests of the whole mirror, until one
    fails; return its name, or SURVIVED."""
    for run, what in ((run_tests, own_tests(entry)), (run_checks, THOROUGH), (run_tests, TESTS)):
        verdict = run(what) if what else SURVIVED
        if verdict != SURVIVED:
            break
    return verdict


def run_checks(checks):
    for check in checks:
        try:
            check()
        except BaseException:
            return check.__name__
    return SURVIVED


def own_tests(entry):
    """The tests of the module that a function is in, where there are files of their own (tests/kernel holds
    recordings)."""
    if entry is None:
        return []
    *directories, name = entry.function.__module__.split(".")[1:]
    places = [ROOT.joinpath("tests", *directories), ROOT / "tests" / "_".join(directories)]
    return [str(path) for place in places for pattern in (f"test_{name}.py", f"test_{name}_*.py")
            for path in sorted(place.glob(pattern))]


def run_tests(paths):
    import pytest

    class First:
        failed = None

        def pytest_runtest_logreport(self, report):
            if report.failed and First.failed is None:
                First.failed = report.nodeid.rpartition("/")[2]
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow and not site"]
    status = pytest.main([*options, *paths], plugins=[First()])
    return SURVIVED if status == 0 else First.failed or f"pytest, status {int(status)}"


class Trial:
    """One shell against one set of checks, in a child process that may use so many seconds of a CPU.

    `verdict` is the check that failed, or SURVIVED; `used` the CPU time that it took.
    """

    def __init__(self, entry, neutral, checks, limit):
        self.entry, self.neutral, self.checks, self.limit = entry, neutral, checks, limit
        self.verdict, self.used = "", 0.0
        self.reader, writer = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._run(writer)
        os.close(writer)

    def _run(self, writer):
        signal.setitimer(signal.ITIMER_PROF, self.limit)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        verdict = "crash"
        try:
            if self.entry:
                hollow_out(self.entry.function, shell(self.entry.function, self.neutral))
            verdict = self.checks(self.entry)
        finally:
            os.write(writer, verdict.encode())
            os._exit(0)

    def finish(self):
        said = os.read(self.reader, 4096).decode()
        os.close(self.reader)
        spent = os.wait4(self.pid, 0)[2]
        self.used = spent.ru_utime + spent.ru_stime
        self.verdict = said or f"no answer in {self.limit:.0f} s of a CPU"


def run(trials, jobs):
    """Run trials (made by calling each of a list), so many at once; yield each as it ends."""
    waiting = list(reversed(trials))
    running: dict[int, Trial] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            trial = waiting.pop()()
            running[trial.reader] = trial
        for reader in select.select(list(running), [], [])[0]:
            trial = running.pop(reader)
            trial.finish()
            yield trial


def survivors_of(checks, entries, limit, jobs, say):
    """Return the entries of which a shell survives the checks, whatever it returns for a value."""
    survivors = set()
    for neutral in (0, None):
        left = [entry for entry in entries
                if entry not in survivors and (neutral == 0 or returns_value(entry.function))]
        for trial in run([lambda e=entry, n=neutral: Trial(e, n, checks, limit) for entry in left], jobs):
            if trial.verdict == SURVIVED:
                survivors.add(trial.entry)
            say(trial)
    return [entry for entry in entries if entry in survivors]


def is_meant(entry, name):
    """Whether a name of the command line is the function's, its file's (block/blk-mq.c), or a directory's (block)."""
    return name in (entry.name, entry.file) or entry.file.startswith(f"{name.rstrip('/')}/")


def place(entry):
    code = entry.function.__code__
    return f"{Path(code.co_filename).relative_to(ROOT)}:{code.co_firstlineno}: {entry.name}"


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.hollow", description=__doc__.split("\n\n")[1])
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help="only these: functions, kernel files, or what lies below a directory (default: all)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="so many at once (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="only the quick checks, not the tests of the mirror")
    parser.add_argument("--show", action="store_true", help="print the shells, and run nothing")
    parser.add_argument("-v", "--verbose", action="store_true", help="say of each function what caught it")
    options = parser.parse_args()

    os.chdir(ROOT)
    everything = mirror.functions()
    unknown = [name for name in options.names if not any(is_meant(entry, name) for entry in everything)]
    if unknown:
        parser.error(f"{', '.join(unknown)}: no function of the mirror, and no file or directory that it stands for")
    entries = [entry for entry in everything
               if not options.names or any(is_meant(entry, name) for name in options.names)]
    if options.show:
        for entry in entries:
            print(f"# {place(entry)}\n{shell(entry.function) or '# only makes its calls'}\n")
        return 0

    hollowable = [entry for entry in entries if shell(entry.function)]
    print(f"{len(entries)} functions, of which {len(entries) - len(hollowable)} only make their calls", flush=True)
    stages = [quick_checks] if options.quick else [quick_checks, all_tests]

    def say(trial):
        if options.verbose and trial.verdict != SURVIVED:
            print(f"{place(trial.entry)} [{trial.neutral}]: {trial.verdict}", flush=True)
    for checks in stages:
        whole = Trial(None, 0, checks, 1800)
        whole.finish()
        if whole.verdict != SURVIVED:
            print(f"the checks fail with nothing hollowed out: {whole.verdict}")
            return 2
        print(f"{checks.__name__}: {whole.used:.1f} s for all of them", flush=True)
        hollowable = survivors_of(checks, hollowable, 3 * whole.used + 5, options.jobs, say)
        print(f"{len(hollowable)} survive them", flush=True)
    return report(hollowable, entries, complete=not options.names and not options.quick)


def report(survivors, entries, complete):
    """Print the survivors; return 1 where one is not accepted, or where an accepted one no longer survives."""
    names = {entry.name for entry in survivors}
    refused = [entry for entry in survivors if entry.name not in ACCEPTED]
    stale = sorted(ACCEPTED.keys() - names) if complete else []
    for entry in refused:
        print(f"{place(entry)}: survived")
    for entry in survivors:
        if entry.name in ACCEPTED:
            print(f"{place(entry)}: accepted: {ACCEPTED[entry.name]}")
    for name in stale:
        print(f"{name}: accepted, but it is caught now, or gone: take it out of accepted.py")
    print(f"{len(entries)} functions, {len(refused)} survived, {len(survivors) - len(refused)} accepted")
    return 1 if refused or stale else 0


if __name__ == "__main__":
    sys.exit(main())
