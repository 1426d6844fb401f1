"""The rings: every slot, head, tail and phase is what driver and controller had in memory at that moment."""

from itertools import pairwise

import pytest

from blkmodel import scenario
from blkmodel.device.controller import Controller
from blkmodel.device.service import Service
from blkmodel.sim import booted
from blkmodel.view.facts.ring_story import ROUNDS, command_owner, completion_owner, moments
from blkmodel.view.figures.rings import describe, last_moment, rings
from tests.view.wellformed import in_fresh_interpreters, label, parsed, words

CASES = [(2, 1, True, False, 1), (6, 4, True, False, 1), (6, 12, False, False, 3), (16, 12, False, True, 2),
         (3, 2, True, True, 1)]
NAMES = ("depth", "reads", "in_order", "shadow", "seed", "step")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_always_holds(case):
    depth, reads = case[:2]
    told = moments(*case)
    done = []
    for before, now in pairwise(told):
        assert len(now.commands) == len(now.completions) == depth
        under_way = (now.tail - now.head) % depth
        assert under_way < depth, "a full ring would look empty"
        assert len(now.running) == len(set(now.running)) <= depth - 1
        owners = [command_owner(now, slot) for slot in range(depth)]
        assert owners.count("told") + owners.count("mine") == (now.tail - now.fetched) % depth
        for slot in range(depth):
            if completion_owner(now, slot) == "mine":
                number, status, phase = now.completions[slot]
                assert status == 0
                assert (phase == now.expected) == (slot >= now.head)
        if now.said.startswith("The driver finds"):
            slot = now.touched[1]
            number, status, phase = now.completions[slot]
            assert phase == before.expected, "the driver takes what has the phase it wants, and nothing else"
            assert completion_owner(before, slot) == "mine"
            done.append(number)
        if now.said.startswith("The controller fetches"):
            assert command_owner(before, now.touched[1]) == "told"
        if now.said.startswith("The controller writes into slot"):
            assert completion_owner(before, now.touched[1]) == "told"
    assert len(done) == ROUNDS * reads
    assert told[-1].running == ()
    assert told[-1].tail == told[-1].fetched
    assert told[-1].head == told[-1].written


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_ends_as_the_model_does(case):
    depth, reads, in_order, shadow, seed = case
    last = moments(*case)[-1]
    with booted(2):
        controller = Controller(queue_pairs=2, dbbuf=shadow, service=Service(in_order=in_order, seed=seed))
        nvmeq = scenario.nvme_controller(scenario.nvme_probe(controller=controller, io_queue_depth=depth)).queues[1]
        for number in range(ROUNDS):
            scenario.aio("nvme0n1", [{"op": "read", "offset": (number * reads + i) << 20, "length": 4096}
                                     for i in range(reads)])
        assert (last.tail, last.head, last.expected) == (nvmeq.sq_tail, nvmeq.cq_head, nvmeq.cq_phase)
        sq, cq = controller.engine.sqs[1], controller.engine.cqs[1]
        assert (last.fetched, last.written, last.phase) == (sq.head, cq.tail, cq.phase)
        assert [entry and entry[0] for entry in last.commands] == [
            entry and entry.common.command_id for entry in nvmeq.sq_cmds]
        assert [entry and (entry[0], entry[2]) for entry in last.completions] == [
            entry and (entry.command_id, entry.status & 1) for entry in nvmeq.cqes]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_slot_is_drawn(case):
    told = moments(*case)
    assert last_moment(*case) == len(told) - 1
    for step in sorted({0, 1, len(told) // 2, len(told) - 1}):
        html = rings(**dict(zip(NAMES, (*case, step), strict=True)))
        assert html == rings(**dict(zip(NAMES, (*case, step), strict=True)))
        now, root = told[step], parsed(html)
        slots = {each.get("data-key"): each for each in root.iter() if each.get("data-key")}
        assert set(slots) == {f"{ring}{i}" for ring in ("sq", "cq") for i in range(case[0])}
        for slot in range(case[0]):
            assert command_owner(now, slot) in slots[f"sq{slot}"].get("class").split()
            assert completion_owner(now, slot) in slots[f"cq{slot}"].get("class").split()
        assert label(html) == describe(now)
        assert now.said.split(":")[0] in words(html)
        assert words(html).count("driver: tail") == words(html).count("controller: head") == 1


def test_the_phase_turns_when_the_ring_is_through():
    said = [now.said for now in moments(6, 4)]
    assert any("with phase 1. From the next slot on, which is 0, the phase is the other." in each for each in said)
    assert any(each.startswith("The driver finds phase 0") for each in said)


def test_a_batch_is_written_first_and_rung_once():
    told = moments(6, 4)
    assert [command_owner(told[4], slot) for slot in range(6)].count("mine") == 4
    assert told[5].said == f"The driver rings: the tail is {told[4].tail}."


def test_no_more_are_under_way_than_there_are_tags():
    """One less than slots: a full ring would look empty."""
    assert max(len(now.running) for now in moments(4, 12)) == 3


def test_doorbells_in_memory_are_told_apart():
    plain, shadow = moments(6, 4), moments(6, 4, shadow=True)
    assert plain[0].shadow is None
    assert any("into memory that its tail" in now.said for now in shadow)
    assert any("who goes beyond has to ring" in now.said for now in shadow)
    assert not any("memory" in now.said for now in plain)
    assert "doorbells in memory" in words(rings(shadow=True, step=3))
    assert "as last rung" in words(rings(step=3))


def test_a_step_that_there_is_not():
    with pytest.raises(ValueError, match="step=9999"):
        rings(step=9999)


def test_it_is_the_same_every_time():
    assert len(in_fresh_interpreters("rings(6, 4, False, True, 2, 30)", "blkmodel.view.figures.rings")) == 1
