"""The exercises: enough in each chapter, of every kind, each with its solution; and what they say is so. And quizzes.

A question that is drawn is drawn a hundred times, and what is worked out by hand must be what the model does;
`make seeds` draws each a thousand times, for a quarter of an hour. The test that a reader runs must pass what the
solution has, and refuse what answers nothing.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from blkmodel.errors import KernelError
from blkmodel.view.figures import exercise, exercise_io

ROOT = Path(__file__).resolve().parents[2]
LISTED = re.findall(r"file: book/([\w-]+)", (ROOT / "_toc.yml").read_text())
CHAPTERS = [name for name in LISTED if (ROOT / "book" / f"{name}.ipynb").exists()
            and name not in ("index", "read-the-model", "defects", "symptoms", "names", "your-machine")]
KINDS = ("choice", "task", "incident", "drawn")
SEEDS = int(os.environ.get("SEEDS", "100"))
LIVE = (exercise.which_queue, exercise_io.how_many_requests, exercise_io.which_tag, exercise_io.how_many_entries,
        exercise_io.how_many_new, exercise_io.deadline_order)


@cache
def cells(chapter):
    """(id, kind, text) of each cell."""
    notebook = json.loads((ROOT / "book" / f"{chapter}.ipynb").read_text())
    return [(cell["id"], cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]


def markdown(chapter):
    return "\n\n".join(text for _, kind, text in cells(chapter) if kind == "markdown")


def exercises(chapter):
    """Label → kinds, of all exercises."""
    found = re.findall(r"^:::\{exercise(?:-start)?\}[^\n]*\n:label: (\S+)\n(?::class: (\w+)\n)?", markdown(chapter),
                       re.MULTILINE)
    assert len({label for label, _ in found}) == len(found), "a label is there twice"
    return dict(found)


def code(chapter, name):
    return next(text for id_, kind, text in cells(chapter) if id_ == name and kind == "code")


def named(suffix):
    """(chapter, what stands before the suffix) of all code cells whose name ends so."""
    found = [(chapter, id_.removesuffix(suffix)) for chapter in CHAPTERS for id_, kind, _ in cells(chapter)
             if kind == "code" and id_.startswith("ex-") and id_.endswith(suffix)]
    return [pytest.param(chapter, label, id=f"{chapter}-{label}") for chapter, label in found]


def run(*sources):
    """Run cells one after the other; return their names and what they print."""
    names: dict[str, Any] = {}
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        for source in sources:
            exec(compile(source, "a cell", "exec"), names)
    return names, said.getvalue()


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_six_exercises_of_every_kind(chapter):
    found = exercises(chapter)
    assert len(found) >= 6
    assert set(KINDS) <= set(found.values()), "a kind is missing"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_each_exercise_has_one_solution_which_is_folded(chapter):
    solved = re.findall(r"^:::\{solution(?:-start)?\} (\S+)\n:class: dropdown$", markdown(chapter), re.MULTILINE)
    assert solved == list(exercises(chapter))
    assert markdown(chapter).count(":::{solution-start}") == markdown(chapter).count(":::{solution-end}")


def test_labels_are_those_of_one_exercise():
    labels = [label for chapter in CHAPTERS for label in exercises(chapter)]
    assert sorted(labels) == sorted(set(labels))


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_each_choice_is_answered_and_one_is_right(chapter):
    asked = re.findall(r"^:::\{exercise\}[^\n]*\n:label: \S+\n:class: choice\n(.*?)^:::$", markdown(chapter),
                       re.MULTILINE | re.DOTALL)
    assert asked
    for text in asked:
        answers_are_answered(text)


def answers_are_answered(text):
    """Each of the answers to choose from says what is wrong with it, but for the right one; they stand anywhere."""
    options = re.findall(r'^<details class="choice( right)?"><summary>(.+?)</summary><p>(.+?)</p></details>$', text,
                         re.MULTILINE)
    assert text.count("<details") == len(options) >= 3
    assert [bool(right) for right, _, _ in options].count(True) == 1
    for right, words, reply in options:
        assert reply.startswith("Yes. " if right else "No. "), words
        assert len(reply.split()) >= 4, f"{words}: says too little"
        assert not re.search("[`*]", words + reply), f"{words}: within HTML, `…` is no code; write <code>…</code>"


QUIZ = re.compile(r"^:::\{admonition\} Check yourself\n:class: quiz\n\n(.+?)\n\n(.*?)^:::$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_section_asks_what_it_said(chapter):
    """Short questions within the text, before the exercises: there is no solution, since each answer answers back."""
    text, _, after = markdown(chapter).partition("## Exercises")
    quizzes = QUIZ.findall(text)
    assert 1 <= len(quizzes) == markdown(chapter).count(":class: quiz") <= 2, "one or two, before the exercises"
    assert after
    for question, options in quizzes:
        assert question.endswith("?")
        answers_are_answered(options)


def test_the_right_answer_stands_anywhere():
    """Who has seen some quizzes cannot tell by the place."""
    places = [re.findall(r'"choice( right)?"', options).index(" right")
              for chapter in CHAPTERS for _, options in QUIZ.findall(markdown(chapter))]
    assert all(places.count(place) >= len(places) // 5 for place in range(3)), places


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_is_read_in_an_evening(chapter):
    assert len(markdown(chapter).split()) < 3000


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_an_incident_says_where_it_was(chapter):
    told = re.findall(r"^:::\{exercise\}[^\n]*\n:label: \S+\n:class: incident\n(.*?)^:::$", markdown(chapter),
                      re.MULTILINE | re.DOTALL)
    assert told
    assert all(re.search(r"\]\(https?://", text) for text in told)


def drawn_differently(chapter, label, seed):
    source, times = re.subn(r"^seed = \d+$", f"seed = {seed}", code(chapter, f"{label}-drawn"), flags=re.MULTILINE)
    assert times == 1
    names, said = run(source, code(chapter, f"{label}-solved"))
    return names["by_hand"], names["model"], said


@pytest.mark.slow
@pytest.mark.parametrize(("chapter", "label"), named("-drawn"))
def test_by_hand_is_what_the_model_does(chapter, label):
    seen = [drawn_differently(chapter, label, seed) for seed in range(1, SEEDS + 1)]
    assert [said for by_hand, model, said in seen if by_hand != model] == []
    assert len({said for *_, said in seen}) > 30, "it is nearly always the same question"


@pytest.mark.slow
@pytest.mark.parametrize("view", LIVE)
def test_a_live_question_takes_the_answer_that_it_gives(view):
    """What it says is right is right, whatever is asked: the model was asked, and a second time it says the same."""
    try_out = "0"
    for number in range(1, SEEDS + 1):
        if view is exercise_io.deadline_order:
            asked = view(number, "")
            try_out = re.search(r"of one page: ([rw\d ]+) \(", asked)[1]
        said = re.sub("<.*?>", "", re.search(r"<strong>(.*?)</strong>", view(number, try_out))[1])
        right = right_of(view, said)
        assert view(number, right).count("<strong>Right: ") == 1, (number, said)


def right_of(view, said):
    """The answer, as a reader would type it, in what a question says of another."""
    if view is exercise.which_queue:
        return re.search(r"uses queue (\d+)", said)[1]
    if view is exercise_io.deadline_order:
        return said.partition(": ")[2].rstrip(".")
    why = said.partition(": ")[2]
    if why.startswith(("none", "there is no list")):
        return "-1" if why.startswith("none") else "0"
    return re.search(r"\d+", why)[0]


@pytest.mark.parametrize(("chapter", "label"), named("-check"))
def test_a_task_says_with_which_parameters(chapter, label):
    """In the page, the reader's answer begins with them."""
    name = re.search(r"^def check_(\w+)\(", code(chapter, f"{label}-check"), re.MULTILINE)[1]
    text = markdown(chapter).partition(f":label: {label.replace('ex-', 'exercise-', 1)}\n")[2].partition("\n:::\n")[0]
    assert re.search(rf"`{name}\([^`]*\)`", text)


@pytest.mark.parametrize(("chapter", "label"), named("-check"))
def test_the_readers_test_takes_the_solution_and_nothing_else(chapter, label):
    check, solution = code(chapter, f"{label}-check"), code(chapter, f"{label}-solved")
    names, said = run(check, solution)
    assert said.splitlines()[-1] == "right"
    name = re.search(r"^check_(\w+)\(\1\)$", solution, re.MULTILINE)[1]
    nothings: list[Any] = [None, 0, []]
    for nothing in nothings:
        with pytest.raises((AssertionError, TypeError, AttributeError, KeyError, KernelError)), \
                contextlib.redirect_stdout(io.StringIO()):
            names[f"check_{name}"](lambda *_, nothing=nothing: nothing)
