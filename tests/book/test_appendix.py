"""The pages of the appendix: what is computed is all there, and what is written by hand agrees with it."""

from __future__ import annotations

import html
import importlib
import inspect
import re
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from blkmodel.capture.recordings import every
from blkmodel.reference import mirror
from blkmodel.reference.source import defects

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TITLE = re.search(r"^title: (.+)$", (ROOT / "_config.yml").read_text(), re.MULTILINE)[1]


@pytest.fixture(scope="module")
def appendix() -> Any:
    """The extension of Sphinx that makes the pages."""
    sys.path.insert(0, str(ROOT / "book" / "_ext"))
    try:
        return importlib.import_module("appendix")
    finally:
        sys.path.pop(0)


def shown(site: Path, page: str) -> str:
    """The text of a page, without its tags, on one line."""
    body = (site / "book" / f"{page}.html").read_text().partition("<article")[2].partition("</article>")[0]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


# ---------------------------------------------------------------- how true is it?


def test_no_folder_of_recordings_is_forgotten(appendix: Any) -> None:
    folders = {path.parent.name for path in (ROOT / "tests" / "recordings" / "linux-5.4").glob("*/*.json")}
    assert set(appendix.KINDS) == folders


@pytest.mark.site
def test_each_recording_stands_there_and_passes(appendix: Any, site: Path) -> None:
    text = shown(site, "fidelity")
    paths = [path for kind in appendix.KINDS for path in every(kind)]
    assert len(paths) >= 32
    assert [path.name for path in paths if f" {path.name} passed " not in text] == []
    assert text.count(" passed ") == len(paths)
    assert "dm-create.json passed 2 trees, 66 of 66 paths" in text


@pytest.mark.site
def test_what_is_left_out_is_counted(site: Path) -> None:
    text = shown(site, "fidelity")
    reasons = Counter(mirror.omitted().values())
    assert [reason.value for reason, number in reasons.items() if f" {reason.value} {number} " not in text] == []
    assert f" all {reasons.total()} " in text
    listed = set(re.findall(r"\w+", text.partition("What is left out")[2].partition("What is wrong in both")[0]))
    assert set(mirror.omitted()) <= listed
    assert f" all {len(defects())} {sum(each.mended != '-' for each in defects())}" in text


@pytest.mark.site
def test_what_the_recordings_call_chance_is_quoted(site: Path) -> None:
    text = shown(site, "fidelity").partition("What is chance")[2].partition("What is left out")[0]
    assert "The order of contexts is not an order in time" in text
    assert re.search(r"on which queue a command looks for partitions \d", text)
    assert "Each boot was made twice" in text
    assert [each for each in ("###", "|", "* ") if each in text] == []


# ---------------------------------------------------------------- the model as a library


def test_the_public_names_of_a_module(appendix: Any) -> None:
    scenario, trace = (importlib.import_module(f"blkmodel.{name}") for name in ("scenario", "trace"))
    assert appendix.public(trace) == trace.__all__
    assert {"io", "nvme_probe", "cat"} < set(appendix.public(scenario))
    assert not {"modules", "Asked", "KernelError", "signature"} & set(appendix.public(scenario))


def test_a_signature_is_as_one_writes_it(appendix: Any) -> None:
    trace = importlib.import_module("blkmodel.trace")
    assert appendix.signature("record", trace.record) == (
        "record(fn: Callable[..., Any] | None = None, *args: Any, watched: Sequence[type] | None = None, "
        "functions: Collection[str] | None = None, **kwargs: Any) -> Recording")
    boot = importlib.import_module("blkmodel").boot
    assert appendix.signature("boot", boot) == "boot(on: Machine | int = 4, seed: int = 0) -> Kernel"
    assert "self" not in appendix.signature("Recording.of", trace.Recording.of)


def test_each_public_name_says_what_it_is(appendix: Any) -> None:
    mute = [f"{module}.{name}" for module in modules_shown()
            for name in appendix.public(importlib.import_module(module))
            if not inspect.getdoc(getattr(importlib.import_module(module), name))]
    assert mute == []


def modules_shown() -> list[str]:
    return re.findall(r"^```\{api\} (\S+)", (ROOT / "book" / "api.md").read_text(), re.MULTILINE)


@pytest.mark.site
def test_each_public_name_has_a_place(appendix: Any, site: Path) -> None:
    page = (site / "book" / "api.html").read_text()
    wanted = {f"blkmodel.{name}" for name in ("scenario", "trace", "live", "errors")}
    assert wanted | {"blkmodel"} <= set(modules_shown())
    names = [f"{module}.{name}" for module in modules_shown() if module != "blkmodel.capture.check"
             for name in appendix.public(importlib.import_module(module))]
    assert [name for name in names if f'id="{name}"' not in page] == []
    assert 'id="blkmodel.capture.check.check_file"' in page
    assert 'id="blkmodel.trace.Recording.of"' in page


@pytest.mark.site
def test_each_command_has_its_help(appendix: Any, site: Path) -> None:
    text = shown(site, "api")
    assert {"check", "map", "trace", "capture", "explain", "dmsetup"} <= set(appendix.commands())
    assert [name for name in appendix.commands() if f"usage: blkmodel {name} " not in text] == []


# ---------------------------------------------------------------- reading list, and how to cite


def test_each_item_of_the_reading_list_leads_somewhere_and_says_what_it_adds() -> None:
    text = (ROOT / "book" / "reading.md").read_text().partition("## How to cite")[0]
    items = re.split(r"^\* ", text, flags=re.MULTILINE)[1:]
    assert len(items) >= 20
    for item in items:
        assert re.match(r"\[[^]]+\]\(https://\S+\)", item), item
        assert len(re.sub(r"\]\(\S+\)", "", item).split()) >= 8, f"what does it add? {item}"


def test_the_citation_has_the_title_and_the_version_of_the_book() -> None:
    cited = (ROOT / "CITATION.cff").read_text()
    fields = dict(re.findall(r"^([\w-]+): (.+)$", cited, re.MULTILINE))
    assert (fields["title"], fields["version"]) == (TITLE, PROJECT["version"])
    assert fields["cff-version"] == "1.2.0"
    assert f"- name: {PROJECT['authors'][0]['name']}" in cited
    assert f"- {PROJECT['license']}\n" in cited
    by_hand = (ROOT / "book" / "reading.md").read_text()
    year = re.search(r'^copyright: "(\d+)"$', (ROOT / "_config.yml").read_text(), re.MULTILINE)[1]
    assert f"*{TITLE}*. Version {PROJECT['version']}, {year}." in by_hand
    assert "{literalinclude} ../CITATION.cff" in by_hand
