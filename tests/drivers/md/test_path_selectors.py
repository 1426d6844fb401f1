"""Path selectors: registered by name; round robin takes turns, service time weighs what is under way."""

from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from blkmodel import boot
from blkmodel.drivers.md import dm_path_selector, dm_round_robin, dm_service_time
from blkmodel.drivers.md.dm_mpath_h import dm_path
from blkmodel.drivers.md.dm_path_selector_h import path_selector, path_selector_type
from blkmodel.include.linux.device_mapper import STATUSTYPE_INFO, STATUSTYPE_TABLE
from blkmodel.services.base.err import EEXIST, EINVAL, ENOMEM
from tests.drivers.md.machine import noting

MODULES = {"round-robin": dm_round_robin, "service-time": dm_service_time}
INIT = {"round-robin": dm_round_robin.dm_rr_init, "service-time": dm_service_time.dm_st_init}
EXIT = {"round-robin": dm_round_robin.dm_rr_exit, "service-time": dm_service_time.dm_st_exit}
SELECTORS = pytest.mark.parametrize("name", MODULES)


def selector(name, *paths):
    """A selector with a path for each list of arguments; returns both."""
    if dm_path_selector.dm_get_path_selector(name) is None:
        assert INIT[name]() == 0
    ps = path_selector()
    ps.type = dm_path_selector.dm_get_path_selector(name)
    assert ps.type.create(ps, []) == 0
    found = [dm_path() for _ in paths]
    for path, argv in zip(found, paths, strict=True):
        assert ps.type.add_path(ps, path, argv) == (0, None)
    return ps, found


@SELECTORS
def test_registering(name):
    kernel = boot(2)
    before = kernel.memory.totals()
    assert dm_path_selector.dm_get_path_selector(name) is None
    assert dm_path_selector.dm_get_path_selector(None) is None
    assert INIT[name]() == 0
    found = dm_path_selector.dm_get_path_selector(name)
    assert (found.name, found.table_args) == (name, len(MODULES) if name == "service-time" else 1)
    dm_path_selector.dm_put_path_selector(found)
    assert INIT[name]() == -EEXIST
    assert dm_path_selector.dm_get_path_selector(name) is found
    EXIT[name]()
    assert dm_path_selector.dm_get_path_selector(name) is None
    assert kernel.memory.totals() == before
    EXIT[name]()
    assert kernel.log[-1] == f"device-mapper: multipath {name}: unregister failed -22"
    assert f"device-mapper: multipath {name}: register failed -17" in kernel.log
    assert any(line.startswith(f"device-mapper: multipath {name}: version") for line in kernel.log)


def test_a_selectors_module_is_held_as_long_as_it_is_used(monkeypatch):
    boot(2)
    asked: list[tuple] = []
    for what in ("request_module", "try_module_get", "module_put"):
        monkeypatch.setattr(dm_path_selector, what, noting(asked, True))
    pst = path_selector_type(name="some", module="dm-some")
    assert dm_path_selector.dm_get_path_selector("some") is None
    assert dm_path_selector.dm_register_path_selector(pst) == 0
    dm_path_selector.dm_put_path_selector(dm_path_selector.dm_get_path_selector("some"))
    assert asked == [("dm-some",)] * 3
    for gone in (None, path_selector_type(name="other", module="dm-other")):
        dm_path_selector.dm_put_path_selector(gone)
    assert len(asked) == 3


@SELECTORS
def test_no_memory_to_register(name):
    kernel = boot(2)
    kernel.memory.fail_nth(1)
    assert INIT[name]() == -ENOMEM
    assert dm_path_selector.dm_get_path_selector(name) is None
    assert f"device-mapper: multipath {name}: register failed -12" in kernel.log
    assert INIT[name]() == 0


def test_the_newest_is_looked_at_first_and_only_names_count():
    boot(2)
    for init in INIT.values():
        assert init() == 0
    registered = [psi.pst.name for psi in dm_path_selector.variables()._path_selectors]
    assert registered == ["service-time", "round-robin"]
    assert dm_path_selector.dm_unregister_path_selector(dm_round_robin.rr_ps) == 0
    assert dm_path_selector.dm_unregister_path_selector(dm_round_robin.rr_ps) == -EINVAL


@SELECTORS
def test_every_allocation_failed(name):
    kernel = boot(2)
    assert INIT[name]() == 0
    pst = dm_path_selector.dm_get_path_selector(name)
    before = kernel.memory.totals()
    ps, path = path_selector(), dm_path()
    kernel.memory.fail_nth(1)
    assert pst.create(ps, []) == -ENOMEM
    kernel.memory.fail_nth(2)
    assert pst.create(ps, []) == 0
    assert pst.add_path(ps, path, []) == (-ENOMEM, f"{name} ps: Error allocating path context")
    assert pst.select_path(ps, 512) is None
    assert pst.add_path(ps, path, []) == (0, None)
    assert pst.select_path(ps, 512) is path
    pst.destroy(ps)
    assert ps.context is None
    assert kernel.memory.totals() == before


@pytest.mark.parametrize(("name", "argv", "words"), [
    ("round-robin", ["1", "2"], "incorrect number of arguments"),
    ("round-robin", ["x"], "invalid repeat count"),
    ("round-robin", ["1x"], "invalid repeat count"),
    ("service-time", ["1", "2", "3"], "incorrect number of arguments"),
    ("service-time", ["-1"], "invalid repeat count"),
    ("service-time", ["1", "101"], "invalid relative_throughput value"),
    ("service-time", ["1", "1.5"], "invalid relative_throughput value"),
    ("service-time", ["1", ""], "invalid relative_throughput value"),
])
def test_arguments_that_make_no_sense(name, argv, words):
    kernel = boot(2)
    ps, _ = selector(name)
    before = kernel.memory.totals()
    assert ps.type.add_path(ps, dm_path(), argv) == (-EINVAL, f"{name} ps: {words}")
    assert kernel.memory.totals() == before
    assert ps.type.select_path(ps, 512) is None


@pytest.mark.parametrize(("name", "argv", "table", "info"), [
    ("round-robin", [], "1 ", ""),
    ("round-robin", ["0"], "0 ", ""),
    ("round-robin", ["1000"], "1 ", ""),
    ("service-time", [], "1 1 ", "0 1 "),
    ("service-time", ["0"], "0 1 ", "0 1 "),
    ("service-time", ["7", "0"], "1 0 ", "0 0 "),
    ("service-time", ["1", "100"], "1 100 ", "0 100 "),
])
def test_status(name, argv, table, info):
    boot(2)
    ps, (path,) = selector(name, argv)
    assert ps.type.status(ps, None, STATUSTYPE_INFO) == ps.type.status(ps, None, STATUSTYPE_TABLE) == "0 "
    assert ps.type.status(ps, path, STATUSTYPE_TABLE) == table
    assert ps.type.status(ps, path, STATUSTYPE_INFO) == info
    assert len(table.split()) == ps.type.table_args
    assert len(info.split()) == ps.type.info_args


@SELECTORS
def test_repeat_counts_are_warned_of_ten_times_in_five_seconds(name):
    kernel = boot(2)
    ps, _ = selector(name)
    warning = f"device-mapper: multipath {name}: repeat_count > 1 is deprecated, using 1 instead"
    for _ in range(25):
        ps.type.add_path(ps, dm_path(), ["1000"])
    assert kernel.log.count(warning) == 10
    kernel.loop.advance(5_100_000_000)
    ps.type.add_path(ps, dm_path(), ["2"])
    assert kernel.log[-2:] == [f"{name[0]}{'r' if name[0] == 'r' else 't'}_add_path: 15 callbacks suppressed", warning]
    ps.type.add_path(ps, dm_path(), ["1"])
    assert kernel.log.count(warning) == 11


@given(st.integers(1, 6), st.lists(st.tuples(st.sampled_from(["select", "fail", "reinstate"]), st.integers(0, 5)),
                                   max_size=40))
def test_round_robin_takes_turns(count, steps):
    """The next path is the one in use longest ago; a path that comes back is the next one."""
    boot(1)
    ps, paths = selector("round-robin", *[[] for _ in range(count)])
    line, failed = list(paths), []
    for step, which in steps:
        path = paths[which % count]
        if step == "select":
            chosen = ps.type.select_path(ps, 4096)
            assert chosen is (line[0] if line else None)
            line = line[1:] + line[:1]
        elif step == "fail" and path in line:
            ps.type.fail_path(ps, path)
            line.remove(path)
            failed.append(path)
        elif step == "reinstate" and path in failed:
            assert ps.type.reinstate_path(ps, path) == 0
            failed.remove(path)
            line.insert(0, path)


def time_of(path, incoming):
    """How long a path takes, as the selector reckons; one that can carry nothing takes for ever."""
    pi = path.pscontext
    return Fraction(pi.in_flight_size + incoming, pi.relative_throughput) if pi.relative_throughput else float("inf")


@given(st.lists(st.integers(0, 100), min_size=1, max_size=5),
       st.lists(st.tuples(st.sampled_from(["io", "end", "fail", "reinstate"]), st.integers(0, 4),
                          st.integers(1, 1 << 20)), max_size=40))
def test_service_time_chooses_the_fastest(throughputs, steps):
    """No path that could be chosen would be done sooner; of equals the one with more throughput, then the one in use
    longest ago. What is under way is what has begun and not ended."""
    boot(1)
    ps, paths = selector("service-time", *[["1", str(n)] for n in throughputs])
    usable, under_way = list(paths), []
    for step, which, size in steps:
        path = paths[which % len(paths)]
        if step == "io":
            chosen = ps.type.select_path(ps, size)
            if not usable:
                assert chosen is None
                continue
            assert chosen in usable
            assert time_of(chosen, size) == min(time_of(each, size) for each in usable)
            equals = [each for each in usable if time_of(each, size) == time_of(chosen, size)
                      and each.pscontext.relative_throughput == chosen.pscontext.relative_throughput]
            assert len({each.pscontext.in_flight_size for each in equals}) > 1 or chosen is equals[0]
            usable.remove(chosen)
            usable.append(chosen)
            assert ps.type.start_io(ps, chosen, size) == 0
            under_way.append((chosen, size))
        elif step == "end" and under_way:
            ended, of = under_way.pop(which % len(under_way))
            assert ps.type.end_io(ps, ended, of) == 0
        elif step == "fail" and path in usable:
            ps.type.fail_path(ps, path)
            usable.remove(path)
        elif step == "reinstate" and path not in usable:
            assert ps.type.reinstate_path(ps, path) == 0
            usable.append(path)
        for each in paths:
            assert each.pscontext.in_flight_size == sum(of for other, of in under_way if other is each)
            assert ps.type.status(ps, each, STATUSTYPE_INFO).startswith(f"{each.pscontext.in_flight_size} ")


def test_sizes_that_do_not_fit_are_shifted_before_they_are_multiplied():
    boot(1)
    ps, (slow, fast) = selector("service-time", ["1", "1"], ["1", "2"])
    huge = 1 << 62
    assert dm_service_time.st_compare_load(slow.pscontext, fast.pscontext, huge) > 0
    slow.pscontext.in_flight_size, fast.pscontext.in_flight_size = 0, 1 << 30
    # (0 + h) / 1 against (2^30 + h) / 2: the first takes longer while h is above 2^30
    assert ps.type.select_path(ps, 1 << 31) is fast
    assert ps.type.select_path(ps, 1 << 29) is slow
