"""`python -m tests.tools.hollow [--jobs N] [--quick] [--show] [NAME…]`: hollow out each mirror function in turn.

A function counts only if its result is used: with a shell in its place (see shell.py), some check of state must fail,
crash or hang. First the quick checks (checks.py) run; then, for what survived them, the thorough checks, and all tests
of the model that call the function. A shell that returns a value is tried with 0 and with
None, and must be caught with both. Survivors are listed with their place; those that are accepted stand in accepted.py,
each with its reason.
"""

import argparse
import os
import resource
import select
import signal
import sys
from functools import cache
from pathlib import Path

import pytest

from blkmodel.reference import mirror
from tests.tools.hollow import calls
from tests.tools.hollow.accepted import ACCEPTED
from tests.tools.hollow.checks import QUICK, THOROUGH
from tests.tools.hollow.shell import hollow_out, returns_value, shell

ROOT = Path(__file__).resolve().parents[3]
SURVIVED = "survived"
FIRST = 20
PYTEST = ["-q", "--disable-plugin-autoload", "-o", "addopts=--import-mode=importlib", "-p", "no:cacheprovider"]
MEMORY = 2 << 30  # a shell can make its caller ask for memory without end
TESTS = [f"tests/{name}" for name in (
    "sim", "lib", "kernel", "block", "fs", "drivers", "device", "test_scenario.py", "test_whole_io.py",
    "userland/test_dmsetup.py")]


def quick_checks(entry):
    """Run the quick checks that call a function until one fails; return its name, or SURVIVED."""
    return run_checks(QUICK, entry)


def its_tests(entry):
    """Run all else that calls a function, checks and tests, until one fails; return its name, or SURVIVED."""
    verdict = run_tests([called.test for called in tests_of(entry)])
    return run_checks(THOROUGH, entry) if verdict == SURVIVED else verdict


@cache
def called_by_checks():
    return calls.of((*QUICK, *THOROUGH))


@cache
def tests_by_length():
    return calls.find(TESTS, os.cpu_count() or 1)


def tests_of(entry):
    """The tests that call a function: its own module's, and then the others, the shortest first."""
    own = f"/test_{entry.function.__module__.rpartition('.')[2]}"
    return sorted((called for called in tests_by_length() if calls.key(entry) in called.functions),
                  key=lambda called: own not in called.test)


def run_checks(checks, entry):
    for check in checks:
        try:
            if calls.key(entry) in called_by_checks()[check]:
                check()
        except BaseException:
            return check.__name__
    return SURVIVED


def collect():
    """Let pytest import all tests, once for all trials."""
    pytest.main([*PYTEST, "--collect-only", *TESTS], plugins=[Chosen([])])


class Chosen:
    """A plugin of pytest: run these tests of those that it collects, in this order, and say which failed."""

    def __init__(self, names):
        self.place = {name: i for i, name in enumerate(names)}
        self.failed = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        chosen = [item for item in items if item.nodeid in self.place]
        items[:] = sorted(chosen, key=lambda item: self.place[item.nodeid])

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed = report.nodeid.rpartition("/")[2]


def run_tests(names):
    """Run tests in this order until one fails; return its name, or SURVIVED. The first are begun with by themselves:
    to collect all can take longer than to fail."""
    for some in (names[:FIRST], names[FIRST:]):
        chosen = Chosen(some)
        files = dict.fromkeys(name.split("::")[0] for name in some)
        if some and pytest.main([*PYTEST, "-x", *files], plugins=[chosen]):
            return chosen.failed or "pytest"
    return SURVIVED


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
    """Return the entries of which a shell survives the checks, whatever it returns for a value.

    limit: a function that gives the seconds of a CPU after which a shell of an entry is taken to hang.
    """
    survivors = set()
    for neutral in (0, None):
        left = [entry for entry in entries
                if entry not in survivors and (neutral == 0 or returns_value(entry.function))]
        for trial in run([lambda e=entry, n=neutral: Trial(e, n, checks, limit(e)) for entry in left], jobs):
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
    parser = argparse.ArgumentParser(prog="python -m tests.tools.hollow", description=__doc__.split("\n\n")[1])
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

    def say(trial):
        if options.verbose and trial.verdict != SURVIVED:
            print(f"{place(trial.entry)} [{trial.neutral}]: {trial.verdict}", flush=True)
    called_by_checks()  # before the shells are made; it raises what a check raises with nothing hollowed out
    survivors = survivors_of(quick_checks, hollowable, lambda _: 30, options.jobs, say)
    print(f"{len(survivors)} survive them", flush=True)
    if survivors and not options.quick:
        print(f"which of {len(tests_by_length())} tests calls what is known now", flush=True)
        survivors = survivors_of(its_tests, survivors, lambda entry: 15 + 3 * sum(
            called.seconds for called in tests_of(entry)), options.jobs, say)
    return report(survivors, entries, complete=not options.names and not options.quick)


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
