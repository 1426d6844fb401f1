"""Each CPU's vectors: who gets one, and that messages reach their CPU."""

from hypothesis import given, strategies as st

import blkmodel
from blkmodel.sim.interrupts import END, FIRST, SYSTEM, TIMER, interrupts


def test_the_cpu_with_most_vectors_left_is_taken_the_lowest_of_such():
    blkmodel.boot(3)
    state = interrupts()
    assert state.take({0}) == (0, 0x21)
    assert [state.take({0, 1, 2})[0] for _ in range(5)] == [1, 2, 1, 2, 0]
    state.give_back((1, 0x21))
    assert state.take({0, 1, 2}) == (1, 0x21)


def test_of_those_set_aside_the_cpu_with_fewest_in_use_is_taken_the_highest_of_such():
    blkmodel.boot(3)
    state = interrupts()
    for _ in range(3):
        assert state.set_aside({0, 1, 2})
    assert [state.take_aside({0, 1, 2})[0] for _ in range(4)] == [2, 1, 0, 2]
    assert state.take_aside({5}) is None


def test_only_cpus_that_run_are_taken():
    kernel = blkmodel.boot(2)
    kernel.online.discard(1)
    state = interrupts()
    assert state.set_aside({1})
    assert state.take({1}) is None
    assert state.take_aside({1}) is None


@given(st.integers(0, 300))
def test_vectors_run_out(aside):
    """What is set aside can't be taken; what the machine needs for itself never; and all can be given back."""
    blkmodel.boot(1)
    state = interrupts()
    room = END - FIRST - len(SYSTEM) - 1
    granted = sum(state.set_aside({0}) for _ in range(aside))
    assert granted == min(aside, room)
    taken = []
    while target := state.take({0}):
        taken.append(target)
    assert len(taken) == room - granted
    vectors = {vector for _, vector in taken}
    assert len(vectors) == len(taken)
    assert not vectors & (SYSTEM | {TIMER})
    for target in taken:
        state.give_back(target)
    state.drop_aside([0] * granted)
    assert state.cpus[0].free() == room


def test_setting_aside_is_all_or_nothing():
    blkmodel.boot(2)
    state = interrupts()
    while state.take({1}):
        pass
    assert not state.set_aside({0, 1})
    assert state.cpus[0].aside == 0


def test_what_is_given_up_half_way_is_the_lowest_that_is_idle():
    """As in the kernel: not the one that was just set aside, but there is one as before."""
    blkmodel.boot(2)
    state = interrupts()
    assert state.set_aside({0})
    assert state.cpus[0].aside == 1 << 0x21
    while state.take({1}):
        pass
    assert not state.set_aside({0, 1})
    assert state.cpus[0].aside == 1 << 0x22


def test_a_message_runs_on_its_cpu():
    kernel = blkmodel.boot(4)
    state = interrupts()
    seen = []
    state.connect((2, 40), "disk", lambda: seen.append((kernel.cpu, kernel.context.kind, kernel.context.name)))
    state.message((2, 40))
    state.message((2, 41))
    assert seen == []
    kernel.loop.run_due()
    assert seen == [(2, "irq", "disk")]
    state.give_back((2, 40))
    state.message((2, 40))
    kernel.loop.run_due()
    assert len(seen) == 1
