"""Properties have no deadline: the machine that tests run on may be busy. They try the same examples each time, so that
what passed passes again; `HYPOTHESIS_PROFILE=new make unit` tries others."""

import os

from hypothesis import settings

settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("new", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_terminal_summary(terminalreporter, config):
    """What benchmarks found besides times. (Their plugin may not be loaded.)"""
    for each in config._benchmarksession.benchmarks if hasattr(config, "_benchmarksession") else ():
        if each.extra_info:
            terminalreporter.write_line(f"{each.name}: {', '.join(f'{k}: {v}' for k, v in each.extra_info.items())}")
