"""The repository itself: what may lie where, and what may not be in it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOP = {"book", "blkmodel", "tests", "_config.yml", "_toc.yml", "requirements.txt", "README.md", "Makefile",
       "pyproject.toml", "LICENSE", "LICENSE-text", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md",
       "MANIFEST.in", "CITATION.cff"}
REGISTRY = re.compile(r"pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|deb\.debian\.org|index-url", re.IGNORECASE)
MACHINE = re.compile(r"/(?:work|home|root|Users)/\w")
HERE = "tests/test_repository.py"


@pytest.fixture(scope="module")
def files():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git work tree")
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [name for name in listing.split("\0") if name and (ROOT / name).exists()]


def test_top_level(files):
    top = {name.split("/")[0] for name in files}
    assert {name for name in top if not name.startswith(".")} <= TOP


def test_requirements_are_pinned():
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and not line.startswith("#")]
    loose = [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)]
    assert lines
    assert loose == []


@pytest.mark.parametrize("pattern", [REGISTRY, MACHINE], ids=["registries", "paths of a machine"])
def test_no_trace_of_a_machine(files, pattern):
    found = []
    for name in files:
        if name == HERE or name.startswith("book/_static/vendor/"):
            continue
        try:
            text = (ROOT / name).read_text("utf8")
        except UnicodeDecodeError:
            continue
        found += [f"{name}: {hit.group()}" for hit in pattern.finditer(text)]
    assert found == []


def test_the_package_needs_only_python():
    import tomllib

    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"] == []


def test_the_package_ships_all_of_itself():
    import tomllib

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "blkmodel").rglob("__init__.py")}
    assert set(listed) == there | {"blkmodel.recordings"}
