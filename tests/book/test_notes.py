"""The source notes: every line of them is on its page, with the chapter that tells of it and a verdict."""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from blkmodel.reference.source import definitions
from tests.book.test_answers import wrong_with

ROOT = Path(__file__).resolve().parents[2]
NOTES = (ROOT / "book" / "notes" / "source-notes.md").read_text().split("\n")
PAGE = (ROOT / "book" / "source-notes.md").read_text()
CALLS = ROOT / "tests" / "recordings" / "linux-5.4" / "calls"
ROW = re.compile(r'^\| (\d+) \| <code lang="zh">(.*)</code> \| \[[^]]+\]\((\S+)\) \| \*(\w+)\*: (.+) \|$', re.MULTILINE)
ROWS = [(int(line), html.unescape(text), *rest) for line, text, *rest in ROW.findall(PAGE)]


def test_no_line_is_missing():
    lines = [(number, line.strip()) for number, line in enumerate(NOTES, 1)
             if line.strip() and not line.startswith(("```", "<!--"))]
    assert [(number, text) for number, text, *_ in ROWS] == lines


def test_the_notes_themselves_are_on_the_page():
    assert PAGE.count("```{include} notes/source-notes.md") == 2


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0]))
def test_a_line_has_a_place_and_a_verdict(row):
    _, text, link, verdict, remark = row
    assert not wrong_with(link)
    assert verdict in {"confirmed", "completed", "corrected"}
    if verdict == "confirmed":
        recorded = CALLS / f"{remark.strip('`')}.json"
        names = set(re.findall(r"\w+", text)) & set(definitions())
        assert names
        assert names <= called(json.loads(recorded.read_text()))


def called(recording):
    """The functions that a recording of calls has."""
    found: Counter[str] = Counter()

    def walk(calls):
        for call in calls:
            if isinstance(call, str):
                found[call] += 1
            elif "repeat" in call:
                walk(call["calls"])
            else:
                (name, beneath), = call.items()
                found[name] += 1
                walk(beneath)

    for context in recording["contexts"]:
        walk(context["calls"])
    return set(found)


def test_each_verdict_is_given():
    counted = Counter(verdict for *_, verdict, _ in ROWS)
    assert min(counted[each] for each in ("confirmed", "completed", "corrected")) >= 8
