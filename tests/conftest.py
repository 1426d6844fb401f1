"""Properties have no deadline, nor do their examples: the machine that tests run on may be busy. They try the same
examples each time, so that what passed passes again; `HYPOTHESIS_PROFILE=new make unit` tries others."""

import gc
import os
import sys

import pytest
from hypothesis import HealthCheck, settings

# jsonschema would check addresses with it, which no schema here asks for; and to be imported takes it a second.
sys.modules["rfc3987_syntax"] = None

for profile, again in ("same", True), ("new", False):
    settings.register_profile(profile, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=again)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Tests of one group are run by one process: what they share is made once. pytest-xdist goes by the end of a test's
    name, which its release 3.8.0 writes where pytest 9.2 does not look."""
    for item in items if config.getoption("loadgroup", False) else ():
        group = item.get_closest_marker("xdist_group")
        if group and "@" not in item.nodeid:
            item._id = item.parent.id.child(f"{item.name}@{group.args[0]}")


def pytest_collection_finish():
    """What is imported and collected is never garbage: who looks for garbage after each kernel that a test has dropped
    need not look at it. So it is in the engine of the pages, too."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


def pytest_terminal_summary(terminalreporter, config):
    """What benchmarks found besides times. (Their plugin may not be loaded.)"""
    for each in config._benchmarksession.benchmarks if hasattr(config, "_benchmarksession") else ():
        if each.extra_info:
            terminalreporter.write_line(f"{each.name}: {', '.join(f'{k}: {v}' for k, v in each.extra_info.items())}")
