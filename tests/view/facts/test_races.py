"""Every interleaving of two CPUs in three places: the kernel's order is right in all, an order that lacks something is
wrong in one; and each step is where the kernel has it."""

import inspect
import re
from itertools import pairwise

import pytest

from blkmodel.block import blk_core, blk_mq, blk_mq_tag, elevator
from blkmodel.lib import sbitmap
from blkmodel.reference.source import definitions
from blkmodel.view.facts.races import KERNEL, PLACES, beginning, complaint, moves, walk

ORDERS = [(where, order) for where, place in PLACES.items() for order in place.orders]
HARMLESS = ("freeze and enter", "without smp_rmb"),
STATES = {"the last tag": 76, "freeze and enter": 91, "timeout and completion": 62}


@pytest.mark.parametrize(("where", "order"), ORDERS)
def test_all_interleavings(where, order):
    """Whoever sleeps in wait_event() looks again behind a barrier; so that of blk_queue_enter() alone saves nobody."""
    found = walk(where, order)
    assert bool(found.complaint) == (order != KERNEL and (where, order) not in HARMLESS)
    if order == KERNEL:
        assert found.states == STATES[where]


def runs(place, order, world, run="", seen=frozenset()):
    """Each run from a state to its end, without one that comes to a state twice."""
    following = {letter: after for letter, after in moves(place, order, world).items() if after not in seen}
    if not following:
        yield run, world
    for letter, after in following.items():
        yield from runs(place, order, after, run + letter, seen | {world})


@pytest.mark.parametrize(("where", "order"), [each for each in ORDERS if each[0] != "freeze and enter"])
def test_runs_one_by_one_end_as_the_walk_says(where, order):
    """The walk visits each state once; here every run is gone through, however many come to the same state."""
    place, wrong = PLACES[where], set()
    for run, world in runs(place, order, beginning(place)):
        if complaint(place, order, world):
            wrong.add(run)
    found = walk(where, order)
    assert bool(wrong) == bool(found.complaint)
    if wrong:
        assert min(map(len, wrong)) >= len(found.run)


@pytest.mark.parametrize(("where", "order"), ORDERS)
def test_the_run_that_goes_wrong_does(where, order):
    place, found = PLACES[where], walk(where, order)
    world = beginning(place)
    for letter in found.run:
        assert not complaint(place, order, world), "it was wrong before"
        world = moves(place, order, world)[letter]
    assert complaint(place, order, world) == found.complaint
    if not found.complaint:
        assert not moves(place, order, world)


def test_every_step_is_where_the_kernel_has_it():
    """Its line is within its function; and the model's function of that name makes the calls that it is about."""
    for place in PLACES.values():
        for step in place.steps.values():
            (found,) = definitions()[step.function]
            later = [each.line for of in definitions().values() for each in of
                     if each.file == found.file and each.line > found.line]
            assert found.line < step.line < min(later, default=step.line + 1), step


def test_every_step_is_in_an_order():
    for place in PLACES.values():
        used = {name for order in place.orders for letter in place.cpus for name in place.program(order, letter)}
        assert used == set(place.steps)


def source(function):
    return inspect.getsource(function)


@pytest.mark.parametrize(("function", "calls"), [
    (blk_mq_tag.blk_mq_get_tag, ["__blk_mq_get_tag", "sbitmap_prepare_to_wait", "__blk_mq_get_tag", "io_schedule"]),
    (sbitmap.sbitmap_queue_clear, ["sbitmap_deferred_clear_bit", "sbitmap_queue_wake_up"]),
    (blk_core.blk_queue_enter, ["percpu_ref_tryget_live", "wait_event"]),
    (blk_mq.blk_freeze_queue_start, ["mq_freeze_depth", "percpu_ref_kill"]),
    (blk_mq.blk_mq_unfreeze_queue, ["mq_freeze_depth", "percpu_ref_resurrect", "wake_up_all"]),
    (blk_mq.blk_mq_start_request, ["blk_add_timer", "MQ_RQ_IN_FLIGHT"]),
    (blk_mq.blk_mq_check_expired, ["blk_mq_req_expired", "rq.ref += 1", "blk_mq_req_expired", "blk_mq_rq_timed_out",
                                   "rq.ref -= 1"]),
    (blk_mq.blk_mq_free_request, ["MQ_RQ_IDLE", "ref -= 1"])], ids=lambda each: getattr(each, "__name__", ""))
def test_the_mirror_has_the_same_order(function, calls):
    text, at = source(function), 0
    for call in calls:
        found = re.search(re.escape(call), text[at:])
        assert found, call
        at += found.end()


def test_the_kernel_freezes_to_switch_schedulers():
    assert re.search(r"blk_mq_freeze_queue.*elevator_switch_mq.*blk_mq_unfreeze_queue",
                     source(elevator.elevator_switch), re.S)


def test_orders_differ():
    for place in PLACES.values():
        programs = [tuple(tuple(place.program(order, letter)) for letter in place.cpus) for order in place.orders]
        assert all(one != other for one, other in pairwise(sorted(programs)))


def test_a_queue_that_stands_in_line_without_a_barrier():
    """What 5.4 does in blk_mq_mark_tag_wait(): it is in line, tries once more, and is only then to be woken."""
    text = source(blk_mq.blk_mq_mark_tag_wait)
    assert re.search(r"__add_wait_queue\(wq, wait\)\n    if not blk_mq_get_driver_tag", text), "nothing is between"
    assert walk("the last tag", "without the waiter's barrier").complaint
