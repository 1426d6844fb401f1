"""Which test calls which functions of the mirror: only those can tell that one of them is hollow.

As a plugin of pytest (`-p tests.tools.hollow.calls`) it watches each test, and writes what it saw into the directory
that BLKMODEL_CALLS names, a file for each process.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from blkmodel.reference import mirror

DIRECTORY = "BLKMODEL_CALLS"


class Called(NamedTuple):
    """A test: its name to pytest, the seconds of a CPU that it took, and the functions of the mirror that it called."""

    test: str
    seconds: float
    functions: frozenset[str]


def find(tests, jobs):
    """Run tests (paths), so many at once; return a Called for each, the shortest first."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "pytest", "-q", "-n", str(jobs), "-p", "tests.tools.hollow.calls",
                   "-m", "not slow and not site", *tests]
        ran = subprocess.run(command, env={**os.environ, DIRECTORY: directory}, stdout=subprocess.PIPE, text=True)
        if ran.returncode:
            raise RuntimeError(f"the tests fail with nothing hollowed out:\n{ran.stdout[-2000:]}")
        found = [Called(test, seconds, frozenset(functions))
                 for path in Path(directory).iterdir() for test, seconds, functions in json.loads(path.read_text())]
    return sorted(found, key=lambda called: called.seconds)


def key(entry):
    return f"{entry.file}:{entry.name}"


class Watch:
    """Sees which functions of the mirror are called within `with`; one inside another sees what both see."""

    def __init__(self, keys):
        self.keys = keys
        self.codes = set()

    def __enter__(self):
        self.outer, self.start = sys.getprofile(), time.process_time()
        sys.setprofile(self._note)
        return self

    def _note(self, frame, event, argument):
        if event == "call":
            self.codes.add(frame.f_code)
        if self.outer:
            self.outer(frame, event, argument)

    def __exit__(self, *_):
        sys.setprofile(self.outer)
        self.seconds = time.process_time() - self.start
        self.functions = {self.keys[code] for code in self.codes & self.keys.keys()}


def keys_of_codes():
    return {entry.function.__code__: key(entry) for entry in mirror.functions()}


def of(checks):
    """Run functions; return function → names of the functions of the mirror that it called."""
    keys, found = keys_of_codes(), {}
    for check in checks:
        with Watch(keys) as watch:
            check()
        found[check] = watch.functions
    return found


class Plugin:
    def __init__(self):
        self.keys = keys_of_codes()
        self.seen = []
        self.shared = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        with Watch(self.keys) as watch:
            result = yield
        self.seen.append((item.nodeid, watch.seconds, watch.functions))
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef, request):
        """What a fixture that several tests share calls, each of these tests relies on."""
        if fixturedef.scope == "function":
            return (yield)
        with Watch(self.keys) as watch:
            result = yield
        self.shared.setdefault(request.node.nodeid.split("::")[0], set()).update(watch.functions)
        return result

    def pytest_sessionfinish(self, session):
        if self.seen:
            found = [(test, seconds, sorted(called | self.shared.get(test.split("::")[0], set())))
                     for test, seconds, called in self.seen]
            Path(os.environ[DIRECTORY], f"{os.getpid()}.json").write_text(json.dumps(found))


def pytest_configure(config):
    if DIRECTORY in os.environ:
        config.pluginmanager.register(Plugin(), "what the mirror is called by")
