"""README.md and the papers beside it: what they say is so."""

import json
import re
import shlex

import pytest

from blkmodel.capture.check import PASSED, Outcome, check_file
from blkmodel.cli.main import main
from tests.reference.test_rooms import LEVEL
from tests.tools.readme import BEGIN, END, PICTURE, README, ROOT, figures, in_readme, picture

PAGES = [README, *(ROOT / name for name in ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"))]


def taken_at_its_word(path):
    """A recording of maps takes seconds to check, and tests/capture/test_recordings.py does it."""
    if path.parent.name != "maps":
        return check_file(path)
    cases = len(json.loads(path.read_text())["cases"])
    return Outcome(str(path), PASSED, "", [], {"cases": cases, "passed": cases})


def test_the_figures_are_todays():
    text = README.read_text()
    assert in_readme(text, figures(taken_at_its_word)) == text, "`make readme` puts it right"
    assert in_readme(f"a{BEGIN}old\n{END}b", "new\n") == f"a{BEGIN}new\n{END}b"


def test_the_picture_is_what_the_model_draws():
    """Up to its colours."""
    def shapes(svg):
        return re.sub("<style>.*?</style>", "", svg)
    assert shapes(PICTURE.read_text()) == shapes(picture()), "`make readme` puts it right"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_targets_that_are_named_can_be_made(page):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b(?=`|,| {2,}|$)", page.read_text(), re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_paths_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#:]+)\)", re.sub("`[^`]*`", "", text))
    paths = re.findall(r"`((?:blkmodel|tests|book)/[\w./-]+)`", text)
    assert [path for path in [*links, *paths] if not (ROOT / path).exists()] == []


def rows(heading):
    """The cells of the table in ARCHITECTURE.md whose heading begins so."""
    table = (ROOT / "ARCHITECTURE.md").read_text().split(f"| {heading} |", 1)[1].split("\n\n")[0]
    return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]


def test_each_door_leads_where_it_says():
    """The files that a row of doors names exist, and define the names that stand beside them."""
    for _, cell in rows("what"):
        quoted = re.findall("`([^`]+)`", cell)
        files = [next(path for path in (ROOT / "blkmodel" / name, ROOT / name) if path.exists())
                 for name in quoted if "/" in name or name.endswith(".py")]
        text = "\n".join(path.read_text() for path in files if path.is_file())
        for name in quoted:
            if re.fullmatch(r"\w+", name):
                assert re.search(rf"^(def|class) {name}\b|^{name}\b.* =", text, re.MULTILINE), (name, cell)
    assert len(rows("what")) > 10


def test_the_rooms_are_told_from_the_top_floor_down():
    told = [name.strip("/").removesuffix(".py").replace("/", ".") for cell, _ in rows("room")
            for name in re.findall("`([^`]+)`", cell)]
    levels = [LEVEL[room.split(".")[0] if room.startswith("include") else room] for room in told if room != "reference"]
    assert levels == sorted(levels, reverse=True)
    assert len(levels) > 15


def commands():
    return re.findall(r"^\.venv/bin/blkmodel (map .*?)\s*(?:#.*)?$", README.read_text(), re.MULTILINE)


def test_commands_that_are_shown(capsys):
    assert commands()
    for command in commands():
        assert main(shlex.split(command)) == 0
    assert "hctx" in capsys.readouterr().out


def test_sessions_that_are_shown(capsys, tmp_path):
    """Each command of a console prints what stands under it."""
    shown = re.findall(r"^\$ \.venv/bin/blkmodel (.*)\n((?:(?!\$|```).*\n)*)", README.read_text(), re.MULTILINE)
    assert shown
    for command, output in shown:
        assert main(shlex.split(command.replace("my.json", str(tmp_path / "my.json")))) == 0
        assert capsys.readouterr().out == output, command
