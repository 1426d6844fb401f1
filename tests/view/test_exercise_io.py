"""Exercises on I/O: each number has its own, every right answer is called right, and nothing else is."""

from __future__ import annotations

import re

import pytest

from blkmodel.view.exercise_io import how_many_requests, which_tag
from tests.view.figures import in_fresh_interpreters, words


def verdict(html):
    return re.search(r"<strong>(.*?)</strong>", html)[1]


@pytest.mark.parametrize("number", range(1, 13))
@pytest.mark.parametrize(("exercise", "least"), [(how_many_requests, 1), (which_tag, -1)])
def test_only_the_right_answer_is_right(exercise, least, number):
    assert "<strong>" not in exercise(number)
    said = verdict(exercise(number, "31"))
    right = -1 if ": none" in said else int(re.search(r": (?:tag )?(\d+)", said)[1])
    assert right >= least
    assert verdict(exercise(number, f" {right} ")).startswith("Right: ")
    assert verdict(exercise(number, str(right + 1))).startswith(f"Not {right + 1}: ")


def test_each_number_has_an_exercise_of_its_own():
    assert len({words(which_tag(number)) for number in range(1, 30)}) == 29
    assert len({words(how_many_requests(number)) for number in range(1, 60)}) > 20


def test_how_many_requests_counts_what_the_limit_makes():
    for number in range(1, 20):
        asked = words(how_many_requests(number))
        limit, kib = int(re.search(r"is (\d+)\.", asked)[1]), int(re.search(r"reads (\d+) KiB", asked)[1])
        assert verdict(how_many_requests(number, str(-(-kib // limit)))).startswith("Right")


@pytest.mark.parametrize(("exercise", "answer"), [(how_many_requests, "many"), (how_many_requests, "-3"),
                                                  (which_tag, "x"), (which_tag, "-2")])
def test_what_is_no_answer(exercise, answer):
    with pytest.raises(ValueError, match=f"'{answer}' is no "):
        exercise(1, answer)


def test_a_minus_sign_may_be_a_real_one():
    assert verdict(which_tag(1, "−1")) == verdict(which_tag(1, "-1"))


@pytest.mark.parametrize("call", ["how_many_requests(3, '5')", "which_tag(3, '5')"])
def test_the_same_in_every_interpreter(call):
    assert len(in_fresh_interpreters(call, "blkmodel.view.exercise_io")) == 1
