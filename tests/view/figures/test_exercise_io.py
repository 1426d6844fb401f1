"""Exercises on I/O: each number has its own, every right answer is called right, and nothing else is."""

from __future__ import annotations

import re

import pytest

from blkmodel.view.facts.deadline import driver_order
from blkmodel.view.figures.exercise_io import (deadline_order, how_many_entries, how_many_new, how_many_requests,
    which_tag)
from tests.view.wellformed import in_fresh_interpreters, words


def verdict(html):
    return re.search(r"<strong>(.*?)</strong>", html)[1]


@pytest.mark.parametrize("number", range(1, 13))
@pytest.mark.parametrize(("exercise", "least"), [(how_many_requests, 1), (which_tag, -1), (how_many_entries, 0),
                                                 (how_many_new, 0)])
def test_only_the_right_answer_is_right(exercise, least, number):
    assert "<strong>" not in exercise(number)
    said = verdict(exercise(number, "31"))
    right = -1 if ": none" in said else int(re.search(r": (?:tag |there is no list, )?(\d+)", said)[1])
    assert right >= least
    assert verdict(exercise(number, f" {right} ")).startswith("Right: ")
    assert verdict(exercise(number, str(right + 1))).startswith(f"Not {right + 1}: ")


def test_each_number_has_an_exercise_of_its_own():
    assert len({words(which_tag(number)) for number in range(1, 30)}) == 29
    assert len({words(how_many_requests(number)) for number in range(1, 60)}) > 20


def test_new_are_those_with_the_bit_that_is_expected():
    for number in range(1, 40):
        asked = words(how_many_new(number))
        bits = re.search(r"bits are (.*?) \.", asked)[1].split()
        head, phase = re.search(r"place (\d+) and expects (\d)", asked).groups()
        turned = bits[int(head):] + ["10"[int(bit)] for bit in bits[:int(head)]]
        new = next((i for i, bit in enumerate(turned) if bit != phase), len(bits))
        assert verdict(how_many_new(number, str(new))).startswith(f"Right: {new}.")


def test_how_many_requests_counts_what_the_limit_makes():
    for number in range(1, 20):
        asked = words(how_many_requests(number))
        limit, kib = int(re.search(r"is (\d+)\.", asked)[1]), int(re.search(r"reads (\d+) KiB", asked)[1])
        assert verdict(how_many_requests(number, str(-(-kib // limit)))).startswith("Right")


@pytest.mark.parametrize("number", range(1, 9))
def test_an_order_is_right_or_not(number):
    wanted = re.search(r"one page: (.*?) \(", words(deadline_order(number)))[1].split()
    said = verdict(deadline_order(number, ", ".join(wanted)))
    right = said.split(": ")[1].rstrip(".")
    assert sorted(right.split()) == sorted(wanted)
    assert said.startswith("Right") == (right.split() == wanted)
    assert verdict(deadline_order(number, right.upper())) == f"Right: {right}."


def test_reads_go_before_writes_and_up_the_sectors():
    assert driver_order("w50 w10 w30 r26 r6 r44") == "r26 r44 r6 w50 w10 w30"
    assert driver_order("w50 w10 r26 r6", {"fifo_batch": 1, "writes_starved": 1}) == "r26 w50 r6 w10"


@pytest.mark.parametrize(("exercise", "answer"), [
    (deadline_order, "r1 r2"), (how_many_requests, "many"), (how_many_requests, "-3"), (how_many_entries, "0.5"),
    (how_many_new, "all"), (which_tag, "x"), (which_tag, "-2")])
def test_what_is_no_answer(exercise, answer):
    with pytest.raises(ValueError, match=f"'{answer}' is no "):
        exercise(1, answer)


def test_a_minus_sign_may_be_a_real_one():
    assert verdict(which_tag(1, "−1")) == verdict(which_tag(1, "-1"))


@pytest.mark.parametrize("call", ["how_many_requests(3, '5')", "which_tag(3, '5')", "deadline_order(3, '')"])
def test_the_same_in_every_interpreter(call):
    assert len(in_fresh_interpreters(call, "blkmodel.view.figures.exercise_io")) == 1
